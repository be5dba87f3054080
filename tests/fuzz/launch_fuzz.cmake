get_target_property(tool_dir fp4_sim SOURCE_DIR)
set(tool_dir ${tool_dir}/sim/tool)
set(launch_fuzz_c ${CMAKE_CURRENT_LIST_DIR}/launch_fuzz.c ${tool_dir}/job.c ${tool_dir}/buffers.c
    ${tool_dir}/hardware.c ${tool_dir}/params.c ${tool_dir}/report.c)
add_executable(launch_fuzz ${launch_fuzz_c})
target_include_directories(launch_fuzz PRIVATE ${tool_dir})
target_link_libraries(launch_fuzz PRIVATE fp4rt cjson)
add_test(NAME fuzz.launch COMMAND launch_fuzz ${CMAKE_SOURCE_DIR}/tests/sim/fp4sim 1000)
fuzz_cov(launch_fuzz SOURCES ${launch_fuzz_c} TARGETS fp4rt fp4_sim INCLUDE ${tool_dir})
