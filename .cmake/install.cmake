# cmake --install: the compiler, libfp4rt in both forms, the kernel family (sources and C), a CMake
# package, a pkg-config file, manual pages, completions. What is installed finds the rest relative to
# itself, so that a prefix can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(made ${CMAKE_BINARY_DIR}/install)
# The public headers are those that declare something FP4_API.
set(public_headers "")
file(GLOB headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} runtime/*.h lib/*/*.h)
foreach(header ${headers})
    file(STRINGS ${header} declares REGEX "^FP4_API " LIMIT_COUNT 1)
    if(declares)
        list(APPEND public_headers ${header})
    endif()
endforeach()

# The static library: one object, in which everything but the API is local, so that no name of the
# runtime meets a name of the program.
set(whole ${made}/libfp4rt.a)
add_custom_command(OUTPUT ${whole}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${made}
    COMMAND ${CMAKE_LINKER} -r -o ${made}/fp4rt.o $<TARGET_OBJECTS:fp4rt> $<TARGET_OBJECTS:fp4_sim>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${made}/fp4rt.o
    COMMAND ${CMAKE_COMMAND} -E rm -f ${whole}
    COMMAND ${CMAKE_AR} rcs ${whole} ${made}/fp4rt.o
    DEPENDS fp4rt fp4_sim COMMAND_EXPAND_LISTS VERBATIM)

# Manual pages and completions, from the one table of options and from the headers.
set(pages ${made}/fp4c.1)
add_custom_command(OUTPUT ${made}/fp4c.1 ${made}/fp4c.bash ${made}/_fp4c ${made}/fp4c.fish
    COMMAND ${CMAKE_COMMAND} -E make_directory ${made}
    COMMAND fp4c --help=man > ${made}/fp4c.1
    COMMAND fp4c --help=bash > ${made}/fp4c.bash
    COMMAND fp4c --help=zsh > ${made}/_fp4c
    COMMAND fp4c --help=fish > ${made}/fp4c.fish
    DEPENDS fp4c VERBATIM)
find_program(AWK awk REQUIRED)
foreach(header ${public_headers})
    get_filename_component(stem ${header} NAME_WE)
    string(REGEX REPLACE "^(safetensors|gguf)$" "fp4_\\1" page ${stem})
    add_custom_command(OUTPUT ${made}/${page}.3
        COMMAND ${CMAKE_COMMAND} -E make_directory ${made}
        COMMAND ${AWK} -v name=${page} -v header=${stem}.h -v version=${PROJECT_VERSION}
            -f ${CMAKE_SOURCE_DIR}/.cmake/header_man.awk ${CMAKE_SOURCE_DIR}/${header} > ${made}/${page}.3
        DEPENDS ${header} .cmake/header_man.awk VERBATIM)
    list(APPEND pages ${made}/${page}.3)
endforeach()
add_custom_target(fp4_install ALL DEPENDS ${whole} ${pages})

configure_package_config_file(.cmake/fp4Config.cmake.in ${made}/fp4Config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fp4
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_BINDIR CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(${made}/fp4ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH prefix_of_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(.cmake/fp4.pc.in ${made}/fp4.pc @ONLY)

set_target_properties(fp4_kernels PROPERTIES OUTPUT_NAME fp4k POSITION_INDEPENDENT_CODE ON)
set_target_properties(fp4c PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS fp4c fp4-prepack fp4sim RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS fp4rt_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS fp4_kernels ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${whole} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY lib/ DESTINATION ${CMAKE_INSTALL_DATADIR}/fp4 FILES_MATCHING PATTERN "*.tk" PATTERN bench EXCLUDE)
install(FILES ${made}/fp4Config.cmake ${made}/fp4ConfigVersion.cmake .cmake/fp4AddKernels.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/fp4)
install(FILES ${made}/fp4.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
foreach(page ${pages})
    string(REGEX REPLACE ".*\\." "" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
install(FILES ${made}/fp4c.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME fp4c)
install(FILES ${made}/_fp4c DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${made}/fp4c.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
