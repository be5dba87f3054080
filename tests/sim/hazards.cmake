# Hazards: small programs that must be reported, and their corrected twins that must not.
add_executable(hazards_test ${CMAKE_CURRENT_LIST_DIR}/hazards_test.c)
target_link_libraries(hazards_test PRIVATE core_util sim_ref)
file(GLOB hazards CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/hazards/*.ptx)
add_test(NAME sim.hazards COMMAND hazards_test ${hazards})
