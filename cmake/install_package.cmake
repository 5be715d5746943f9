# The installed package: find_package(runrig CONFIG), target_link_libraries(app runrig::runrig).
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/runrig")
install(EXPORT runrig-targets NAMESPACE runrig:: DESTINATION "${package_dir}")
configure_package_config_file(cmake/runrigConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/runrigConfig.cmake"
  INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/runrigConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/runrigConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/runrigConfigVersion.cmake" cmake/dependencies.cmake DESTINATION "${package_dir}")
