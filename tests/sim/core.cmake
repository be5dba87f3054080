# The PTX simulator: whole kernels, small programs, protocol errors, speed.
add_library(core_util STATIC ${CMAKE_CURRENT_LIST_DIR}/core_util.c)
target_include_directories(core_util PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(core_util PUBLIC fp4_sim cmocka)
target_compile_definitions(core_util PUBLIC PTX_DIR="${CMAKE_CURRENT_LIST_DIR}/ptx")

foreach(name core_gemm_test core_ptx_test core_mem_test core_async_test core_error_test
        core_wgmma_test core_remote_test core_call_test core_threads_test core_bench)
    add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
    target_link_libraries(${name} PRIVATE core_util sim_ref)
    add_test(NAME sim.${name} COMMAND ${name})
endforeach()
set_tests_properties(sim.core_bench PROPERTIES LABELS bench)

# What the programs of core_alu.def look like to the real assembler, where there is one.
find_program(PTXAS ptxas HINTS /usr/local/cuda/bin ENV CUDA_PATH PATH_SUFFIXES bin)
if(PTXAS)
    set(dump ${CMAKE_CURRENT_BINARY_DIR}/core_alu.ptx)
    add_test(NAME sim.core_ptxas COMMAND sh -c
        "'$<TARGET_FILE:core_ptx_test>' --dump '${dump}' && '${PTXAS}' -arch sm_100a -o '${dump}.cubin' '${dump}'")
endif()

# Every instruction family: the reader takes it, and the real assembler says that it exists.
add_executable(core_forms_test ${CMAKE_CURRENT_LIST_DIR}/core_forms_test.c)
target_link_libraries(core_forms_test PRIVATE fp4_sim)
set(forms ${CMAKE_CURRENT_LIST_DIR}/core_forms.txt)
add_test(NAME sim.core_forms COMMAND core_forms_test ${forms})
if(PTXAS)
    foreach(target 90 100 120)
        set(dump ${CMAKE_CURRENT_BINARY_DIR}/core_forms_${target}.ptx)
        add_test(NAME sim.core_forms_ptxas_${target} COMMAND sh -c
            "'$<TARGET_FILE:core_forms_test>' '${forms}' --dump ${target} > '${dump}' && '${PTXAS}' -arch sm_${target}a -o '${dump}.cubin' '${dump}'")
    endforeach()
endif()
