// The few functions and numbers of cuBLASLt that a plain product needs (cuBLAS 13 documentation, "Using
// the cuBLASLt API"); no header of CUDA is needed to build this.
//
// cuBLASLt is column-major: D [M, N] row-major is its N x M matrix, made of B (transposed) times A.
#include "cublas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMPUTE_32F = 68,
    R_32F = 0,
    DESC_TRANSA = 3,
    DESC_A_SCALE = 17,
    DESC_B_SCALE = 18,
    DESC_FAST_ACCUM = 25,
    DESC_A_SCALE_MODE = 31,
    DESC_B_SCALE_MODE = 32,
    PREF_WORKSPACE = 1,
    WORKSPACE = 64 << 20,
};

// cublasLtMatmulMatrixScale_t
typedef enum {
    SCALE_TENSOR,
    SCALE_16_UE4M3,
    SCALE_32_UE8M0,
    SCALE_ROW_F32,
    SCALE_128_F32,
    SCALE_128X128_F32,
    SCALE_UNKNOWN,
} scale_mode;

typedef struct {
    uint64_t algo[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} heuristic;

struct cublas {
    void *library, *handle;
    fp4_ctx *ctx;
    uint64_t workspace, one; // one: an f32 1 on the device, the scale of a tensor
    void *desc, *la, *lb, *ld;
    heuristic best;
    cublas_gemm gemm;
    char why[256];
    int (*create)(void **);
    int (*destroy)(void *);
    int (*desc_create)(void **, int, int);
    int (*desc_set)(void *, int, const void *, size_t);
    int (*desc_destroy)(void *);
    int (*layout_create)(void **, int, uint64_t, uint64_t, int64_t);
    int (*layout_destroy)(void *);
    int (*pref_create)(void **);
    int (*pref_set)(void *, int, const void *, size_t);
    int (*pref_destroy)(void *);
    int (*choose)(void *, void *, void *, void *, void *, void *, void *, int, heuristic *, int *);
    int (*matmul)(void *, void *, const void *, const void *, void *, const void *, void *, const void *,
                  const void *, void *, void *, void *, const void *, void *, size_t, void *);
};

static bool find_all(cublas *c) {
    struct {
        const char *name;
        void *slot;
    } all[] = {{"cublasLtCreate", &c->create},
               {"cublasLtDestroy", &c->destroy},
               {"cublasLtMatmulDescCreate", &c->desc_create},
               {"cublasLtMatmulDescSetAttribute", &c->desc_set},
               {"cublasLtMatmulDescDestroy", &c->desc_destroy},
               {"cublasLtMatrixLayoutCreate", &c->layout_create},
               {"cublasLtMatrixLayoutDestroy", &c->layout_destroy},
               {"cublasLtMatmulPreferenceCreate", &c->pref_create},
               {"cublasLtMatmulPreferenceSetAttribute", &c->pref_set},
               {"cublasLtMatmulPreferenceDestroy", &c->pref_destroy},
               {"cublasLtMatmulAlgoGetHeuristic", &c->choose},
               {"cublasLtMatmul", &c->matmul}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        void *f = dlsym(c->library, all[i].name);
        if (!f) {
            return false;
        }
        memcpy(all[i].slot, &f, sizeof f);
    }
    return true;
}

cublas *cublas_open(fp4_ctx *ctx, const char *path, const char **why) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    cublas *c = calloc(1, sizeof *c);
    *why = "no memory";
    if (!c) {
        return NULL;
    }
    c->ctx = ctx;
    c->library = path ? dlopen(path, RTLD_NOW) : NULL;
    for (int i = 0; i < 2 && !path && !c->library; i++) {
        c->library = dlopen(names[i], RTLD_NOW);
    }
    float one = 1;
    if (!c->library) {
        *why = dlerror();
    } else if (!find_all(c)) {
        *why = "the library lacks a function";
    } else if (c->create(&c->handle) != 0) {
        *why = "cublasLtCreate failed";
    } else if (fp4_alloc(ctx, WORKSPACE, &c->workspace) != FP4_OK ||
               fp4_alloc(ctx, sizeof one, &c->one) != FP4_OK ||
               fp4_copy_to(ctx, c->one, &one, sizeof one, NULL) != FP4_OK) {
        *why = fp4_last_error();
    } else {
        return c;
    }
    free(c);
    return NULL;
}

static void release(cublas *c) {
    if (c->desc) {
        c->desc_destroy(c->desc);
        c->layout_destroy(c->la);
        c->layout_destroy(c->lb);
        c->layout_destroy(c->ld);
    }
    c->desc = NULL;
}

void cublas_close(cublas *c) {
    if (c) {
        release(c);
        c->destroy(c->handle);
        fp4_free(c->ctx, c->workspace);
        fp4_free(c->ctx, c->one);
        free(c);
    }
}

static int cuda_type(fp4_elem e) { // cudaDataType; -1: none
    switch (e) {
    case FP4_ELEM_E4M3:
        return 28;
    case FP4_ELEM_E5M2:
        return 29;
    case FP4_ELEM_E2M1:
        return 33;
    case FP4_ELEM_BF16:
        return 14;
    case FP4_ELEM_F16:
        return 2;
    case FP4_ELEM_F32:
        return R_32F;
    default:
        return -1;
    }
}

static scale_mode mode_of(const fp4_format *f, uint64_t rows) {
    int granule = f->granule_cols;
    switch (f->scale) {
    case FP4_ELEM_NONE:
        return rows ? SCALE_ROW_F32 : SCALE_TENSOR;
    case FP4_ELEM_UE4M3:
        return granule == 16 && f->layout == FP4_SF_128X4 ? SCALE_16_UE4M3 : SCALE_UNKNOWN;
    case FP4_ELEM_UE8M0:
        return granule == 32 && f->layout == FP4_SF_128X4 ? SCALE_32_UE8M0 : SCALE_UNKNOWN;
    case FP4_ELEM_F32:
        return granule != 128           ? SCALE_UNKNOWN
               : f->granule_rows == 1   ? SCALE_128_F32
               : f->granule_rows == 128 ? SCALE_128X128_F32
                                        : SCALE_UNKNOWN;
    default:
        return SCALE_UNKNOWN;
    }
}

static const char *refuse(cublas *c, const char *what, int state) {
    char a[FP4_MAX_NAME], b[FP4_MAX_NAME];
    snprintf(c->why, sizeof c->why, "cuBLASLt %s %s by %s%s, status %d", what,
             fp4_format_name(&c->gemm.a, a), fp4_format_name(&c->gemm.b, b),
             c->gemm.add ? ", added to D" : "", state);
    return c->why;
}

// One operand: how it is scaled.
static void set_scale(cublas *c, int pointer, int mode, scale_mode how, uint64_t at) {
    int32_t value = (int32_t)how;
    uint64_t scale = at ? at : c->one;
    c->desc_set(c->desc, pointer, &scale, sizeof scale);
    if (how != SCALE_TENSOR) { // libraries older than the modes know this one only
        c->desc_set(c->desc, mode, &value, sizeof value);
    }
}

const char *cublas_prepare(cublas *c, const cublas_gemm *g) {
    release(c);
    c->gemm = *g;
    int transposed = 1, n_found = 0;
    scale_mode a = mode_of(&g->a, g->a_scale), b = mode_of(&g->b, g->b_scale);
    int8_t fast = g->fast && a <= SCALE_ROW_F32 && b <= SCALE_ROW_F32;
    size_t workspace = WORKSPACE;
    void *pref;
    if (a == SCALE_UNKNOWN || b == SCALE_UNKNOWN || cuda_type(g->a.elem) < 0 || cuda_type(g->b.elem) < 0 ||
        cuda_type(g->d) < 0) {
        return refuse(c, "has no such formats:", 0);
    }
    if (c->desc_create(&c->desc, COMPUTE_32F, R_32F) != 0 ||
        c->layout_create(&c->la, cuda_type(g->b.elem), (uint64_t)g->k, (uint64_t)g->n, g->k) != 0 ||
        c->layout_create(&c->lb, cuda_type(g->a.elem), (uint64_t)g->k, (uint64_t)g->m, g->k) != 0 ||
        c->layout_create(&c->ld, cuda_type(g->d), (uint64_t)g->n, (uint64_t)g->m, g->n) != 0 ||
        c->pref_create(&pref) != 0) {
        return refuse(c, "makes no descriptors of", 0);
    }
    c->desc_set(c->desc, DESC_TRANSA, &transposed, sizeof transposed);
    if (fp4_elem_bits(g->a.elem) <= 8 && fp4_elem_bits(g->b.elem) <= 8) {
        set_scale(c, DESC_A_SCALE, DESC_A_SCALE_MODE, b, g->b_scale);
        set_scale(c, DESC_B_SCALE, DESC_B_SCALE_MODE, a, g->a_scale);
        c->desc_set(c->desc, DESC_FAST_ACCUM, &fast, sizeof fast);
    }
    c->pref_set(pref, PREF_WORKSPACE, &workspace, sizeof workspace);
    int state = c->choose(c->handle, c->desc, c->la, c->lb, c->ld, c->ld, pref, 1, &c->best, &n_found);
    c->pref_destroy(pref);
    return state != 0 || n_found == 0 ? refuse(c, "has no algorithm on this device for", state) : NULL;
}

const char *cublas_launch(cublas *c) {
    const float one = 1, beta = c->gemm.add ? 1 : 0;
    const cublas_gemm *g = &c->gemm;
    void *d = (void *)(uintptr_t)g->d_at;
    int state = c->matmul(c->handle, c->desc, &one, (const void *)(uintptr_t)g->b_at, c->la,
                          (const void *)(uintptr_t)g->a_at, c->lb, &beta, d, c->ld, d, c->ld, c->best.algo,
                          (void *)(uintptr_t)c->workspace, WORKSPACE, NULL);
    return state != 0 ? refuse(c, "failed at", state) : NULL;
}
