// Ahead of time: C source that holds compiled kernels.
//
//   emit_h, emit_c   NAME.h and NAME.c. Over libfp4rt: the module as words, one typed function a
//                    kernel. Driver only: cubins as words and the launch spelled out (checks,
//                    sizes, tensor maps, grid), so that libcuda is all it needs.
//   emit_ffi         NAME_ffi.c: the kernels of NAME.h as functions of the TVM FFI, for Python
//                    frameworks.
//
// The text around the generated parts is in templates/; what is generated comes from the role
// programs alone. The same input gives the same text. A function returns NULL or a sentence.
#ifndef FP4_CODEGEN_EMIT_H
#define FP4_CODEGEN_EMIT_H

#include "artefact.h"

#include <stdio.h>

typedef struct {
    const tir_kernel *tir;
    const char *ptx; // for a driver without a cubin
    size_t ptx_len;
    const void *cubin; // NULL: none
    size_t cubin_len;
} emit_kernel;

typedef struct {
    const char *stem;   // "gemm": names of the files and, made an identifier, of the functions
    const char *source; // "gemm.tk"
    const emit_kernel *kernels;
    int n_kernels;
    module_image image; // over libfp4rt
    bool driver_only;
    arena *mem;
} emit_job;

const char *emit_h(const emit_job *job, FILE *out);
const char *emit_c(const emit_job *job, FILE *out);
const char *emit_ffi(const emit_job *job, FILE *out);

#endif
