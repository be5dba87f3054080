# The PTX reader, the machine and the verifier under mutated programs.
add_executable(ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_fuzz.c)
target_link_libraries(ptx_fuzz PRIVATE fp4_sim fp4_verify)
add_test(NAME fuzz.ptx COMMAND ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_seeds.ptx 2500)
fuzz_cov(ptx_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/ptx_fuzz.c ${CMAKE_SOURCE_DIR}/lang/arena.c
    TARGETS fp4_sim fp4_verify INCLUDE ${CMAKE_SOURCE_DIR}/lang)
