// Weights of a checkpoint as the kernels read them, whoever wrote it:
//
//   fp4_safetensors_open_file(NULL, "model.safetensors", &file);
//   fp4_prepack(ctx, file, "model.layers.0.mlp.up_proj", &w);   // a tensor for fp4_gemm
//
// Once, when weights are loaded: it works on the host and copies. fp4_prepack.c has the table of what is
// known; GGUF files: fp4_gguf_host and fp4_tensor_import.
#ifndef FP4_PREPACK_H
#define FP4_PREPACK_H

#include "safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

// The weights called 'layer' (without ".weight" and its like) as a new tensor [.., N, K] of 2 to 5 axes: scales
// sf128x4, or linear when they are f32; tensor->global is the factor of its numbers, whether the file says to
// multiply or to divide. Types and shapes of all parts are checked before anything is allocated. Everything is
// copied: the file may be closed afterwards; free the tensor with fp4_tensor_free. FP4_ERROR_NOT_FOUND: the
// file has no such layer in a layout that is known; FP4_ERROR_MISMATCH: its parts do not fit each other.
FP4_API fp4_status fp4_prepack(fp4_ctx *ctx, const fp4_safetensors *file, const char *layer,
                               fp4_tensor *tensor);

#ifdef __cplusplus
}
#endif

#endif
