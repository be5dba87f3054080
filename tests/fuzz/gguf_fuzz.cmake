add_executable(gguf_fuzz ${CMAKE_CURRENT_LIST_DIR}/gguf_fuzz.c)
target_link_libraries(gguf_fuzz PRIVATE fp4rt)
target_include_directories(gguf_fuzz PRIVATE ${PROJECT_SOURCE_DIR}/tests/runtime)
add_test(NAME fuzz.gguf COMMAND gguf_fuzz 50000)
fuzz_cov(gguf_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/gguf_fuzz.c TARGETS fp4rt fp4_sim
    INCLUDE ${PROJECT_SOURCE_DIR}/tests/runtime)
