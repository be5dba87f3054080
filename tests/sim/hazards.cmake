# Hazards: small programs that must be reported, and their corrected twins that must not.
add_executable(hazards_test ${CMAKE_CURRENT_LIST_DIR}/hazards_test.c)
target_link_libraries(hazards_test PRIVATE core_util sim_ref)
file(GLOB hazards CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/hazards/*.ptx)
add_test(NAME sim.hazards COMMAND hazards_test ${hazards})

# Mutants of the synchronisation of our own kernels: mutation/mutation.py, whose scores stand in
# mutation/scores.tsv. Samples here; its judge is fp4c's run and verify around the PTX of a module, without LLVM.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET fp4c)
    file(GLOB judge_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/compiler/driver/*.c)
    list(FILTER judge_sources EXCLUDE REGEX "/main\\.c$")
    add_executable(mutation_judge ${CMAKE_CURRENT_LIST_DIR}/mutation/judge.c ${judge_sources})
    target_include_directories(mutation_judge PRIVATE ${CMAKE_SOURCE_DIR}/compiler/driver)
    target_link_libraries(mutation_judge PRIVATE fp4_codegen fp4_verify fp4rt)
    target_link_options(mutation_judge PRIVATE -Wl,--as-needed)
    set(mutation ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/mutation/mutation.py)
    set(mutants mutation.lib)
    add_test(NAME mutation.holes COMMAND ${mutation} holes ${CMAKE_SOURCE_DIR})
    add_test(NAME mutation.lib COMMAND ${mutation} lib $<TARGET_FILE:mutation_judge> $<TARGET_FILE:fp4c>
        ${CMAKE_SOURCE_DIR} --every 56 --only "fp8_token sm_90a|moe_up sm_120a|nvfp4_masked sm_100a")
    foreach(arch sm_100a sm_120a)
        add_test(NAME sim.mutation.${arch} COMMAND ${mutation} one $<TARGET_FILE:mutation_judge> $<TARGET_FILE:fp4c>
            ${arch} ${CMAKE_SOURCE_DIR}/lib/gemm/gemm.tk --tool detector --every 17)
        add_test(NAME verify.mutants.${arch} COMMAND ${mutation} one $<TARGET_FILE:mutation_judge> $<TARGET_FILE:fp4c>
            ${arch} ${CMAKE_SOURCE_DIR}/lib/gemm/gemm.tk --tool verifier --every 11)
        list(APPEND mutants sim.mutation.${arch} verify.mutants.${arch})
        foreach(order eager lazy random) # the kernel itself runs without a word
            add_test(NAME sim.silent.${arch}.${order} COMMAND fp4c run
                ${CMAKE_SOURCE_DIR}/lib/gemm/gemm.tk -arch ${arch} --shapes 3 --seed 5 --check
                --schedule ${order} --hazards strict)
        endforeach()
    endforeach()
    add_test(NAME mutation.anybody COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/mutation/anybody.py
        $<TARGET_FILE:fp4sim> ${CMAKE_CURRENT_LIST_DIR}/fp4sim/tile.ptx ${CMAKE_CURRENT_LIST_DIR}/fp4sim/tile.json
        --hazards strict) # a kernel may end when its stores have been read
    set_tests_properties(mutation.anybody PROPERTIES PASS_REGULAR_EXPRESSION
        "survived  ptx:35 wait_group waits for reads only.*15 mutants: 7 fault, 7 reported, 1 survived")
    set_tests_properties(${mutants} PROPERTIES LABELS long)
endif()
