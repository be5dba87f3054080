// cuBLASLt as the other side of a comparison, found by dlopen: FP8 (or BF16) D = A B^T on the device of the
// calling thread's context, timed by the same events as our own kernels.
#ifndef FP4_BENCH_CUBLAS_H
#define FP4_BENCH_CUBLAS_H

#include "fp4rt.h"

#include <stdbool.h>

typedef struct cublas cublas;

typedef struct {
    int64_t m, n, k;
    fp4_elem a, b, d;    // of A [M, K], B [N, K], D [M, N], all dense
    bool fast;           // FP8: accumulate without promotion
    uint64_t a_at, b_at, d_at;
} cublas_gemm;

// path NULL: libcublasLt.so.13, then .so.12. NULL and a sentence if there is none.
cublas *cublas_open(fp4_ctx *ctx, const char *path, const char **why);
void cublas_close(cublas *c);
// Chooses an algorithm by the library's heuristic; NULL, or what was refused.
const char *cublas_prepare(cublas *c, const cublas_gemm *g);
const char *cublas_launch(cublas *c); // the prepared product, on the default stream

#endif
