# Installs the build BUILD into PREFIX, from scratch: a file that is no longer installed must not be found there.
file(REMOVE_RECURSE "${PREFIX}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${PREFIX}" COMMAND_ERROR_IS_FATAL ANY
  OUTPUT_QUIET)
