// Layers of a GGUF file: "x.weight" of ggml's type NVFP4 or MXFP4, whose blocks hold elements and scales, and
// perhaps "x.scale", an F32 that the product is multiplied by. Names and shapes were checked by the reader.
#include "fp4_prepack.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char weight[] = ".weight";
static const char factor[] = ".scale";

static fp4_status refuse(const char *layer, const char *sentence) {
    char text[2 * FP4_PREPACK_NAME];
    snprintf(text, sizeof text, "fp4_prepack_gguf(): %s: %s", layer, sentence);
    return fp4_fail(FP4_ERROR_MISMATCH, text);
}

static int is_blocks(const fp4_gguf_tensor *t) {
    return t->format.scale != FP4_ELEM_NONE && t->format.elem == FP4_ELEM_E2M1;
}

static fp4_status find_factor(const fp4_gguf *file, const char *layer, float *global) {
    char name[FP4_PREPACK_NAME + sizeof factor];
    fp4_gguf_tensor t;
    *global = 1;
    snprintf(name, sizeof name, "%s%s", layer, factor);
    if (fp4_gguf_find(file, name, &t) != FP4_OK) {
        return FP4_OK;
    }
    if (strcmp(t.type, "F32") != 0 || t.bytes != sizeof *global) {
        return refuse(layer, "its '.scale' is not one F32 number; experts with one each are tensors of their own");
    }
    memcpy(global, t.data, sizeof *global);
    return isfinite(*global) && *global > 0 ? FP4_OK
                                            : refuse(layer, "its '.scale' is not a positive finite number");
}

fp4_status fp4_prepack_find_gguf(const fp4_gguf *file, const char *layer, fp4_prepack_layer *out) {
    char name[FP4_PREPACK_NAME + sizeof weight];
    fp4_gguf_tensor t;
    if (!file || !layer || !out) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_find_gguf(): NULL argument");
    }
    int n = snprintf(name, sizeof name, "%s%s", layer, weight);
    if (n >= (int)sizeof name || fp4_gguf_find(file, name, &t) != FP4_OK || !is_blocks(&t)) {
        char text[2 * FP4_PREPACK_NAME];
        snprintf(text, sizeof text, "fp4_prepack_gguf(): there is no '%.400s.weight' of type NVFP4 or MXFP4", layer);
        return fp4_fail(FP4_ERROR_NOT_FOUND, text);
    }
    if (t.rank < 2) {
        return refuse(layer, "its weights have one axis; a matrix has two");
    }
    fp4_status status = find_factor(file, layer, &out->global);
    if (status == FP4_OK) {
        status = fp4_gguf_host(&t, &out->host);
    }
    out->writer = t.format.scale == FP4_ELEM_UE4M3 ? "GGUF NVFP4" : "GGUF MXFP4";
    return status;
}

fp4_status fp4_prepack_gguf(fp4_ctx *ctx, const fp4_gguf *file, const char *layer, fp4_tensor *tensor) {
    if (!ctx || !file || !layer || !tensor) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_gguf(): NULL argument");
    }
    fp4_prepack_layer l;
    fp4_status status = fp4_prepack_find_gguf(file, layer, &l);
    return status == FP4_OK ? fp4_tensor_import(ctx, &l.host, l.global, FP4_GLOBAL_MULTIPLY, tensor) : status;
}

fp4_status fp4_prepack_part_gguf(const fp4_gguf *file, int index, char layer[FP4_PREPACK_NAME], int *is_data) {
    fp4_gguf_tensor t;
    fp4_status status = layer && is_data ? fp4_gguf_at(file, index, &t)
                                         : fp4_fail(FP4_ERROR_ARGUMENT, "fp4_prepack_part_gguf(): NULL argument");
    const char *const endings[] = {weight, factor};
    for (int e = 0; e < 2 && status == FP4_OK; e++) {
        size_t n = strlen(t.name);
        size_t cut = strlen(endings[e]);
        if (n <= cut || n - cut >= FP4_PREPACK_NAME || strcmp(t.name + n - cut, endings[e]) != 0) {
            continue;
        }
        memcpy(layer, t.name, n - cut);
        layer[n - cut] = 0;
        char name[FP4_PREPACK_NAME + sizeof weight];
        snprintf(name, sizeof name, "%s%s", layer, weight);
        if (fp4_gguf_find(file, name, &t) == FP4_OK && is_blocks(&t)) {
            *is_data = e == 0;
            return FP4_OK;
        }
        status = fp4_gguf_at(file, index, &t);
    }
    return status == FP4_OK
               ? fp4_fail(FP4_ERROR_NOT_FOUND, "fp4_prepack_part_gguf(): the tensor is no part of a layer")
               : status;
}
