# The PTX reader, the machine and the verifier under mutated programs, with sanitizers whatever the build type.
get_target_property(sim_dir fp4_sim SOURCE_DIR)
file(GLOB sim_c CONFIGURE_DEPENDS ${sim_dir}/sim/*.c)
file(GLOB verify_c CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/codegen/verify/*.c)
add_executable(ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_fuzz.c ${sim_c} ${verify_c} ${CMAKE_SOURCE_DIR}/lang/arena.c)
target_include_directories(ptx_fuzz PRIVATE ${sim_dir}/sim ${sim_dir} ${CMAKE_SOURCE_DIR}/codegen/verify
    ${CMAKE_SOURCE_DIR}/lang)
target_link_libraries(ptx_fuzz PRIVATE m pthread cjson)
target_compile_options(ptx_fuzz PRIVATE -O1 -fsanitize=address,undefined -fno-sanitize-recover=all)
target_link_options(ptx_fuzz PRIVATE -fsanitize=address,undefined)
add_test(NAME fuzz.ptx COMMAND ptx_fuzz ${CMAKE_CURRENT_LIST_DIR}/ptx_seeds.ptx 2500)
