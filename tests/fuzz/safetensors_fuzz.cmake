add_executable(safetensors_fuzz ${CMAKE_CURRENT_LIST_DIR}/safetensors_fuzz.c)
target_link_libraries(safetensors_fuzz PRIVATE fp4rt)
add_test(NAME fuzz.safetensors COMMAND safetensors_fuzz 50000)
fuzz_cov(safetensors_fuzz SOURCES ${CMAKE_CURRENT_LIST_DIR}/safetensors_fuzz.c TARGETS fp4rt fp4_sim)
