# Preset: the same with clang, for its warnings.
set(CMAKE_C_COMPILER clang CACHE STRING "")
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(FP4_TESTS ON CACHE BOOL "")
set(FP4_WERROR ON CACHE BOOL "")
