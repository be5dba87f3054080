# Arithmetic and data-moving units of the simulator.
find_package(ZLIB REQUIRED)

add_library(sim_ref STATIC ${CMAKE_CURRENT_LIST_DIR}/num_ref.c)
target_include_directories(sim_ref PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(sim_ref PUBLIC fp4_sim)
target_compile_options(sim_ref PRIVATE -O2)

foreach(name num_codec_test num_mufu_test num_dot_test num_mm_test unit_desc_test unit_tma_test unit_tmem_test
        unit_mma_test unit_warp_test)
    add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
    target_link_libraries(${name} PRIVATE sim_ref cmocka)
    target_compile_options(${name} PRIVATE -O2)
    add_test(NAME sim.${name} COMMAND ${name})
endforeach()

add_executable(num_vectors_test ${CMAKE_CURRENT_LIST_DIR}/num_vectors_test.c)
target_link_libraries(num_vectors_test PRIVATE fp4_sim cmocka ZLIB::ZLIB)
add_test(NAME sim.num_vectors_test COMMAND num_vectors_test ${CMAKE_CURRENT_LIST_DIR}/vectors)

# The toolkit's own host conversions, where a toolkit is installed.
find_path(CUDA_FP8_DIR cuda_fp8.h HINTS /usr/local/cuda/include ENV CUDA_PATH PATH_SUFFIXES include)
if(CUDA_FP8_DIR AND EXISTS ${CUDA_FP8_DIR}/cuda_fp4.h)
    add_executable(num_cuda_test ${CMAKE_CURRENT_LIST_DIR}/num_cuda_test.c)
    target_include_directories(num_cuda_test SYSTEM PRIVATE ${CUDA_FP8_DIR})
    target_link_libraries(num_cuda_test PRIVATE fp4_sim cmocka)
    add_test(NAME sim.num_cuda_test COMMAND num_cuda_test)
endif()

add_executable(num_bench ${CMAKE_CURRENT_LIST_DIR}/num_bench.c)
target_link_libraries(num_bench PRIVATE sim_ref)
target_compile_options(num_bench PRIVATE -O2)
add_test(NAME sim.num_bench COMMAND num_bench)
set_tests_properties(sim.num_bench PROPERTIES LABELS bench)
