# The PTX reader, the machine and the verifier under mutated programs.
add_executable(ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_fuzz.c)
target_link_libraries(ptx_fuzz PRIVATE fp4_sim fp4_verify)
add_test(NAME fuzz.ptx COMMAND ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_seeds.ptx 2500)

# The same under libFuzzer, for long runs by hand: PTX_FUZZ_CORPUS=ptx_seeds.ptx ptx_fuzz_cov CORPUS
if(CMAKE_C_COMPILER_ID MATCHES Clang)
    get_target_property(ptx_fuzz_c ptx_fuzz SOURCES)
    get_target_property(ptx_fuzz_dirs ptx_fuzz INCLUDE_DIRECTORIES)
    add_executable(ptx_fuzz_cov ${ptx_fuzz_c})
    target_include_directories(ptx_fuzz_cov PRIVATE ${ptx_fuzz_dirs})
    target_compile_definitions(ptx_fuzz_cov PRIVATE FP4_LIBFUZZER)
    target_compile_options(ptx_fuzz_cov PRIVATE -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
    target_link_options(ptx_fuzz_cov PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_libraries(ptx_fuzz_cov PRIVATE m pthread cjson)
endif()
