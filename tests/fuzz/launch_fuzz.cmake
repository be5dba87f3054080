# With sanitizers whatever the build type, as the PTX reader's.
get_target_property(sim_dir fp4_sim SOURCE_DIR)
set(tool_dir ${sim_dir}/sim/tool)
add_executable(launch_fuzz ${CMAKE_CURRENT_LIST_DIR}/launch_fuzz.c ${tool_dir}/job.c ${tool_dir}/buffers.c
    ${tool_dir}/params.c ${tool_dir}/report.c)
target_include_directories(launch_fuzz PRIVATE ${tool_dir})
target_link_libraries(launch_fuzz PRIVATE fp4_sim cjson)
target_compile_options(launch_fuzz PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all)
target_link_options(launch_fuzz PRIVATE -fsanitize=address,undefined)
add_test(NAME fuzz.launch COMMAND launch_fuzz ${CMAKE_SOURCE_DIR}/tests/sim/fp4sim 2000)
