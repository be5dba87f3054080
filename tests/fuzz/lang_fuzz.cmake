# The front end under libFuzzer, for long runs by hand: fuzz_lang_cov CORPUS. The short deterministic
# run that is part of ctest is tests/lang/fuzz_lang.
if(CMAKE_C_COMPILER_ID MATCHES Clang)
    get_target_property(lang_dir fp4_lang SOURCE_DIR)
    get_target_property(lang_bin fp4_lang BINARY_DIR)
    file(GLOB lang_c ${lang_dir}/*.c)
    set_source_files_properties(${lang_bin}/lex.c PROPERTIES GENERATED TRUE)
    add_executable(fuzz_lang_cov ${CMAKE_SOURCE_DIR}/tests/lang/fuzz_lang.c ${lang_c} ${lang_bin}/lex.c)
    add_dependencies(fuzz_lang_cov fp4_lang)
    target_include_directories(fuzz_lang_cov PRIVATE ${lang_dir})
    target_compile_definitions(fuzz_lang_cov PRIVATE FP4_LIBFUZZER)
    target_compile_options(fuzz_lang_cov PRIVATE -fsanitize=fuzzer,address,undefined)
    target_link_options(fuzz_lang_cov PRIVATE -fsanitize=fuzzer,address,undefined)
endif()
