# fp4_add_kernels(target SOURCES a.tk ... ARCH sm_100a ... [DEFINES BM=128 ...] [INCLUDES dir ...]
#                 [DRIVER_ONLY | STATIC_RUNTIME])
#
# A static library of the kernels, compiled when the program is built: of each a.tk the files a.c and a.h
# (fp4c --emit=c,h), whose folder becomes an include directory of what links the target. It brings
# libfp4rt with it: shared, with STATIC_RUNTIME static; with DRIVER_ONLY none, for libcuda alone. A
# kernel is built again when its source or a file that it uses changes.
function(fp4_add_kernels target)
    cmake_parse_arguments(PARSE_ARGV 1 FP4 "DRIVER_ONLY;STATIC_RUNTIME" "" "SOURCES;ARCH;DEFINES;INCLUDES")
    if(NOT FP4_SOURCES OR NOT FP4_ARCH OR FP4_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "fp4_add_kernels(target SOURCES a.tk ... ARCH sm_100a ...): "
            "SOURCES or ARCH is missing, or '${FP4_UNPARSED_ARGUMENTS}' is no argument")
    endif()
    set(dir ${CMAKE_CURRENT_BINARY_DIR}/${target}_kernels)
    file(MAKE_DIRECTORY ${dir})
    list(JOIN FP4_ARCH "," archs)
    set(options -arch ${archs})
    foreach(define ${FP4_DEFINES})
        list(APPEND options -D${define})
    endforeach()
    foreach(include ${FP4_INCLUDES})
        get_filename_component(include ${include} ABSOLUTE)
        list(APPEND options -I${include})
    endforeach()
    if(FP4_DRIVER_ONLY)
        list(APPEND options --driver-only)
    endif()
    set(made "")
    foreach(source ${FP4_SOURCES})
        get_filename_component(stem ${source} NAME_WE)
        get_filename_component(source ${source} ABSOLUTE)
        set(out ${dir}/${stem})
        add_custom_command(OUTPUT ${out}.c ${out}.h
            COMMAND fp4::fp4c ${source} --emit=c,h ${options} -o ${out} -MD -MF ${out}.d -MT ${out}.c
            DEPENDS ${source} DEPFILE ${out}.d COMMENT "Compiling kernels of ${stem}.tk" VERBATIM)
        list(APPEND made ${out}.c ${out}.h)
    endforeach()
    add_library(${target} STATIC ${made})
    target_include_directories(${target} PUBLIC ${dir})
    if(FP4_DRIVER_ONLY)
        target_link_libraries(${target} PUBLIC ${CMAKE_DL_LIBS})
    elseif(FP4_STATIC_RUNTIME)
        target_link_libraries(${target} PUBLIC fp4::rt_static)
    else()
        target_link_libraries(${target} PUBLIC fp4::rt)
    endif()
endfunction()
