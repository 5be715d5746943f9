# The HDF5 library within a program. Debian's shared one brings libcurl along, for files in Amazon's S3, and with it
# TLS, Kerberos and LDAP: 27 libraries, whose loading takes longer than many a command runs. The static one has the same
# sources, and what nothing calls is not linked.
#
# RUNRIG_STATIC_HDF5_LIBRARIES is what to link, empty where there is no such library that can be linked so;
# runrig_link_hdf5_within(target) does it.
find_library(RUNRIG_HDF5_ARCHIVE libhdf5.a HINTS ${hdf5_LIBRARY_DIRS} ${hdf5_LIBDIR})
find_library(RUNRIG_HDF5_HL_ARCHIVE libhdf5_hl.a HINTS ${hdf5_LIBRARY_DIRS} ${hdf5_LIBDIR})
find_library(RUNRIG_SZIP sz)
mark_as_advanced(RUNRIG_HDF5_ARCHIVE RUNRIG_HDF5_HL_ARCHIVE RUNRIG_SZIP)
set(RUNRIG_STATIC_HDF5_LIBRARIES "")
if(RUNRIG_HDF5_ARCHIVE AND RUNRIG_HDF5_HL_ARCHIVE AND RUNRIG_SZIP)
  include(CheckCXXSourceCompiles)
  set(static_hdf5 "${RUNRIG_HDF5_HL_ARCHIVE}" "${RUNRIG_HDF5_ARCHIVE}" "${RUNRIG_SZIP}" ZLIB::ZLIB ${CMAKE_DL_LIBS} m)
  set(CMAKE_REQUIRED_INCLUDES ${hdf5_INCLUDE_DIRS})
  set(CMAKE_REQUIRED_LIBRARIES ${static_hdf5})
  check_cxx_source_compiles("#include <hdf5.h>
    #include <hdf5_hl.h>
    int main() { return H5open() + H5DSis_scale(H5Fopen(\"\", H5F_ACC_RDWR, H5P_DEFAULT)); }" RUNRIG_STATIC_HDF5_LINKS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
  if(RUNRIG_STATIC_HDF5_LINKS)
    set(RUNRIG_STATIC_HDF5_LIBRARIES ${static_hdf5})
  endif()
endif()

# Filter plugins that are linked with the shared library find the program's functions first, and must: a second library
# in the process would not know the identifiers of the first.
function(runrig_link_hdf5_within target)
  if(RUNRIG_STATIC_HDF5_LIBRARIES)
    set_target_properties(${target} PROPERTIES RUNRIG_STATIC_HDF5 ON)
    target_link_options(${target} PRIVATE "LINKER:--export-dynamic-symbol=H5*")
  else()
    message(STATUS "No static HDF5 library that can be linked: ${target} takes the shared one")
  endif()
endfunction()
