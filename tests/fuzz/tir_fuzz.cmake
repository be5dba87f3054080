add_executable(tir_fuzz ${CMAKE_CURRENT_LIST_DIR}/tir_fuzz.c)
target_link_libraries(tir_fuzz PRIVATE tir_planned fp4_codegen)
add_test(NAME fuzz.tir COMMAND tir_fuzz 10000)
