// Weights of a checkpoint as the kernels read them, whoever wrote it:
//
//   fp4_safetensors_open_file(NULL, "model.safetensors", &file);   // or the index of several files
//   fp4_prepack(ctx, file, "model.layers.0.mlp.up_proj", &w);   // a tensor for fp4_gemm
//
// Once, when weights are loaded: it works on the host and copies. fp4_prepack.c has the table of
// what is known in safetensors files, fp4_prepack_gguf.c says what a GGUF file's layers are. The
// command fp4-prepack does it once and for all: what it writes is one of the layouts that
// fp4_prepack knows, and copied as it is.
#ifndef FP4_PREPACK_H
#define FP4_PREPACK_H

#include "gguf.h"
#include "safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FP4_PREPACK_NAME = 512 }; // bytes of a layer's name, with its final 0

// The weights called 'layer' (without ".weight" and its like) as a new tensor [.., N, K] of 2 to 5
// axes: scales sf128x4, or linear when they are f32; ue8m0 ones of 128 x 128 (DeepSeek) become
// those of 1 x 128; tensor->global is the factor of its numbers, whether the file says to multiply
// or to divide. Types and shapes of all parts are checked before anything is allocated. Everything
// is copied: the file may be closed afterwards; free the tensor with fp4_tensor_free.
// FP4_ERROR_NOT_FOUND: the file has no such layer in a layout that is known; FP4_ERROR_MISMATCH:
// its parts do not fit each other.
FP4_API fp4_status fp4_prepack(fp4_ctx *ctx, const fp4_safetensors *file, const char *layer,
                               fp4_tensor *tensor);
FP4_API fp4_status fp4_prepack_gguf(fp4_ctx *ctx, const fp4_gguf *file, const char *layer,
                                    fp4_tensor *tensor);

// The same without a device: a layer as the file holds it.
typedef struct fp4_prepack_layer {
    const char *writer; // "ModelOpt NVFP4"
    fp4_host host;      // its bytes are only read, and there until the file is closed
    float global;       // factor of its numbers
} fp4_prepack_layer;

FP4_API fp4_status fp4_prepack_find(const fp4_safetensors *file, const char *layer, fp4_prepack_layer *out);
FP4_API fp4_status fp4_prepack_find_gguf(const fp4_gguf *file, const char *layer, fp4_prepack_layer *out);

// A layer that was found as a tensor in another format, for the kernels of another machine: of
// other types of elements and scales, when these hold every number, and of granules that the file's
// are whole numbers of. FP8 with f32 scales of 128 x 128 that are powers of two as "mxfp8", with
// ue8m0 ones as "e4m3*f32/128x128", MXFP4 as "mxfp8".
FP4_API fp4_status fp4_prepack_import(fp4_ctx *ctx, const fp4_prepack_layer *layer,
                                      const char *format, fp4_tensor *tensor);

// Which layer a file's tensor number 'index' is a part of, and whether it holds the elements (parts
// of a layer follow no order). FP4_ERROR_NOT_FOUND: of none; FP4_ERROR_MISMATCH: of none, and it looks
// like the elements or the scales of one whose other parts are of another type or not there.
FP4_API fp4_status fp4_prepack_part(const fp4_safetensors *file, int index, char layer[FP4_PREPACK_NAME],
                                    int *is_data);
FP4_API fp4_status fp4_prepack_part_gguf(const fp4_gguf *file, int index, char layer[FP4_PREPACK_NAME],
                                         int *is_data);

#ifdef __cplusplus
}
#endif

#endif
