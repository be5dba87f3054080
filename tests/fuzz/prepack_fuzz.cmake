add_executable(prepack_fuzz ${CMAKE_CURRENT_LIST_DIR}/prepack_fuzz.c)
target_link_libraries(prepack_fuzz PRIVATE fp4_kernels)
add_test(NAME fuzz.prepack COMMAND prepack_fuzz 20000)
