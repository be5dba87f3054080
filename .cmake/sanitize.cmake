# Preset: AddressSanitizer and UndefinedBehaviorSanitizer over everything.
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(FP4_TESTS ON CACHE BOOL "")
set(FP4_SANITIZE ON CACHE BOOL "")
set(FP4_WERROR ON CACHE BOOL "")
