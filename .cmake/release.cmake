# Preset: optimised build with tests. cmake -C .cmake/release.cmake -G Ninja -B build
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(FP4_TESTS ON CACHE BOOL "")
set(FP4_WERROR ON CACHE BOOL "")
