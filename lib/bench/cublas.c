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
    PREF_WORKSPACE = 1,
    WORKSPACE = 64 << 20,
};

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

static int cuda_type(fp4_elem e) { // cudaDataType
    switch (e) {
    case FP4_ELEM_E4M3:
        return 28;
    case FP4_ELEM_E5M2:
        return 29;
    case FP4_ELEM_BF16:
        return 14;
    case FP4_ELEM_F16:
        return 2;
    default:
        return R_32F;
    }
}

const char *cublas_prepare(cublas *c, const cublas_gemm *g) {
    release(c);
    c->gemm = *g;
    int transposed = 1, n_found = 0;
    bool fp8 = g->a == FP4_ELEM_E4M3 || g->a == FP4_ELEM_E5M2;
    int8_t fast = g->fast;
    size_t workspace = WORKSPACE;
    void *pref;
    if (c->desc_create(&c->desc, COMPUTE_32F, R_32F) != 0 ||
        c->layout_create(&c->la, cuda_type(g->b), (uint64_t)g->k, (uint64_t)g->n, g->k) != 0 ||
        c->layout_create(&c->lb, cuda_type(g->a), (uint64_t)g->k, (uint64_t)g->m, g->k) != 0 ||
        c->layout_create(&c->ld, cuda_type(g->d), (uint64_t)g->n, (uint64_t)g->m, g->n) != 0 ||
        c->pref_create(&pref) != 0) {
        return "cuBLASLt makes no descriptors of this product";
    }
    c->desc_set(c->desc, DESC_TRANSA, &transposed, sizeof transposed);
    if (fp8) {
        c->desc_set(c->desc, DESC_A_SCALE, &c->one, sizeof c->one);
        c->desc_set(c->desc, DESC_B_SCALE, &c->one, sizeof c->one);
        c->desc_set(c->desc, DESC_FAST_ACCUM, &fast, sizeof fast);
    }
    c->pref_set(pref, PREF_WORKSPACE, &workspace, sizeof workspace);
    int state = c->choose(c->handle, c->desc, c->la, c->lb, c->ld, c->ld, pref, 1, &c->best, &n_found);
    c->pref_destroy(pref);
    return state != 0 || n_found == 0 ? "cuBLASLt has no algorithm for this product" : NULL;
}

const char *cublas_launch(cublas *c) {
    const float one = 1, zero = 0;
    const cublas_gemm *g = &c->gemm;
    void *d = (void *)(uintptr_t)g->d_at;
    int state = c->matmul(c->handle, c->desc, &one, (const void *)(uintptr_t)g->b_at, c->la,
                          (const void *)(uintptr_t)g->a_at, c->lb, &zero, d, c->ld, d, c->ld, c->best.algo,
                          (void *)(uintptr_t)c->workspace, WORKSPACE, NULL);
    return state != 0 ? "cublasLtMatmul failed" : NULL;
}
