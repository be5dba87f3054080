# fp4sim and the examples of its page.
add_executable(fp4sim_test ${CMAKE_CURRENT_LIST_DIR}/fp4sim_test.c)
target_link_libraries(fp4sim_test PRIVATE cmocka)
add_test(NAME sim.fp4sim_test
    COMMAND fp4sim_test $<TARGET_FILE:fp4sim> ${CMAKE_CURRENT_LIST_DIR}/fp4sim
        ${CMAKE_BINARY_DIR}/tests/runtime/fake_cuda)
add_dependencies(fp4sim_test fake_cuda)
