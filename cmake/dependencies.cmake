# Everything Runrig is built on, as Debian packages it. The same list serves the installed package
# (runrigConfig.cmake includes this file), so what a static library links privately is found again there.
include(CMakeFindDependencyMacro)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(TBB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(ZLIB REQUIRED)
# Header-only parts of Boost; BoostConfig.cmake of Debian has the target without asking for components.
find_package(Boost 1.74 REQUIRED)
# FindHDF5 would need the C language in every project that uses us; Debian's pkg-config file does not.
pkg_check_modules(hdf5 REQUIRED IMPORTED_TARGET GLOBAL hdf5-serial)
# It leaves out the high-level library (dimension scales), which lies beside it.
find_library(RUNRIG_HDF5_HL hdf5_hl HINTS ${hdf5_LIBRARY_DIRS} ${hdf5_LIBDIR} REQUIRED)
mark_as_advanced(RUNRIG_HDF5_HL)
pkg_check_modules(libdeflate REQUIRED IMPORTED_TARGET GLOBAL libdeflate)
pkg_check_modules(sleef REQUIRED IMPORTED_TARGET GLOBAL sleef)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET GLOBAL libisal)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET GLOBAL libzstd)
pkg_check_modules(lz4 REQUIRED IMPORTED_TARGET GLOBAL liblz4)
pkg_check_modules(blosc REQUIRED IMPORTED_TARGET GLOBAL blosc)
pkg_check_modules(nettle REQUIRED IMPORTED_TARGET GLOBAL nettle)
