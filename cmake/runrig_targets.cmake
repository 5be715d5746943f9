# How every target of ours is compiled: warnings are errors, and the bits of a result may not depend on
# whether the compiler fused a multiplication with an addition.
add_library(runrig_warnings INTERFACE)
add_library(runrig::warnings ALIAS runrig_warnings)
# In sources that are compiled together a name in one's unnamed namespace is no mistake beside a local one of another.
target_compile_options(runrig_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion
  $<IF:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>,-Wshadow=local,-Wshadow> -Werror -ffp-contract=off
  # False in GCC 12 for std::string's operator+ at -O3 (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Fields that only keep a layout.
  $<$<CXX_COMPILER_ID:Clang>:-Wno-unused-private-field>)
target_compile_definitions(runrig_warnings INTERFACE $<$<BOOL:${RUNRIG_KILLPOINTS}>:RUNRIG_KILLPOINTS=1>)
if(RUNRIG_SANITIZE)
  # GCC says of itself that with a sanitizer it warns of what is no mistake, of values that may not be initialized above all.
  add_compile_options(-fsanitize=${RUNRIG_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${RUNRIG_SANITIZE})
endif()

# runrig_room(<room> [SOURCES file...] [HEADERS file...] [PUBLIC target...] [PRIVATE target...])
# A library target runrig_<room>, alias runrig::<room>, with its public headers in a file set and installed.
function(runrig_room room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;HEADERS;PUBLIC;PRIVATE")
  add_library(runrig_${room} STATIC ${arg_SOURCES})
  add_library(runrig::${room} ALIAS runrig_${room})
  set_target_properties(runrig_${room} PROPERTIES EXPORT_NAME ${room} POSITION_INDEPENDENT_CODE ON)
  target_sources(runrig_${room} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${arg_HEADERS})
  target_compile_features(runrig_${room} PUBLIC cxx_std_20)
  target_link_libraries(runrig_${room} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:runrig::warnings>)
  install(TARGETS runrig_${room} EXPORT runrig-targets FILE_SET HEADERS)
endfunction()
