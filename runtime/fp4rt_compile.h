// Compiling at run time: a program hands over a .tk file and gets a module. fp4c does the work, as
// a child process; what it made is kept on disk and found again.
//
//   fp4_compile_options how = FP4_COMPILE_OPTIONS_INIT;
//   how.arch = "sm_100a";
//   fp4_module_compile(ctx, "gemm.tk", NULL, &how, &module);
//
// The rules of fp4rt.h hold. What fp4c says of a program becomes the sentence of fp4_last_error().
//
// The cache is a folder: $FP4_CACHE, else $XDG_CACHE_HOME/fp4, else ~/.cache/fp4. An entry belongs
// to a source text, its place, the options, the versions of this library and of fp4c and of ptxas;
// it serves as long as every file that the source uses is what it was. Any number of processes may
// use a cache at once: an entry appears whole, by the renaming of its folder. What is damaged is
// built again; where no cache can be written, nothing is kept and the call works all the same.
#ifndef FP4RT_COMPILE_H
#define FP4RT_COMPILE_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fp4_compile_options {
    uint32_t size;
    const char
        *compiler;     // fp4c. NULL: $FP4C, else beside this library or in ../bin, else on the PATH
    const char *cache; // the folder; "": none; NULL: as above (an empty $FP4_CACHE: none)
    const char *arch;  // "sm_100a", "sm_100a,sm_120a"; NULL: the device's, sm_100a on the simulator
    const char *const *defines; // "BM=128": compile-time parameters
    int32_t n_defines;
    const char *const *includes; // folders where 'use' looks
    int32_t n_includes;
} fp4_compile_options;

#ifdef __cplusplus
#define FP4_COMPILE_OPTIONS_INIT                                                                   \
    { sizeof(fp4_compile_options), NULL, NULL, NULL, NULL, 0, NULL, 0 }
#else
#define FP4_COMPILE_OPTIONS_INIT                                                                   \
    { .size = sizeof(fp4_compile_options) }
#endif

// Compiles the file at 'path'; with 'text', that text instead, and path is only what it is called.
// options NULL: all defaults. FP4_ERROR_FILE: the source or the cache's parent cannot be read;
// FP4_ERROR_UNAVAILABLE: there is no fp4c; FP4_ERROR_MODULE: fp4c refuses the program, or fails.
FP4_API fp4_status fp4_module_compile(fp4_ctx *ctx, const char *path, const char *text,
                                      const fp4_compile_options *options, fp4_module **out);

#ifdef __cplusplus
}
#endif

#endif
