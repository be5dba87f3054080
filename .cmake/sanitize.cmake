# Preset: AddressSanitizer and UndefinedBehaviorSanitizer over everything. Functions and lines are all that their
# reports want of debug information.
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG" CACHE STRING "")
set(FP4_TESTS ON CACHE BOOL "")
set(FP4_SANITIZE ON CACHE BOOL "")
set(FP4_WERROR ON CACHE BOOL "")
