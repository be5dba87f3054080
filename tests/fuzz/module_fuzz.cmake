add_executable(module_fuzz ${CMAKE_CURRENT_LIST_DIR}/module_fuzz.c)
target_link_libraries(module_fuzz PRIVATE runtime_test_help)
add_test(NAME fuzz.module COMMAND module_fuzz 20000)
fuzz_cov(module_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/module_fuzz.c TARGETS runtime_test_help fp4rt fp4_sim LINK ${CMOCKA})
