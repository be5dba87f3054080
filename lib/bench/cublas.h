// cuBLASLt as the other side of a comparison, found by dlopen: D = A B^T or D += A B^T on the device of the
// calling thread's context, timed by the same events as our own kernels. Operands: BF16, F16, FP8 with one
// scale a tensor, a row, 1 x 128 or 128 x 128 elements (f32), MXFP8, NVFP4; what the device's library
// refuses is refused here, by name.
#ifndef FP4_BENCH_CUBLAS_H
#define FP4_BENCH_CUBLAS_H

#include "fp4rt.h"

#include <stdbool.h>

typedef struct cublas cublas;

typedef struct {
    int64_t m, n, k;
    fp4_format a, b;     // of A [M, K] and B [N, K]
    fp4_elem d;          // of D [M, N]
    bool fast;           // FP8: accumulate without promotion (not with scales of blocks)
    bool add;            // D +=
    uint64_t a_at, b_at, d_at;
    uint64_t a_scale, b_scale; // as the library lays them out (its manual, "Scaling factors layouts"), or
                               // a value for each row of A and of B; 0: 1
} cublas_gemm;

// path NULL: libcublasLt.so.13, then .so.12. NULL and a sentence if there is none.
cublas *cublas_open(fp4_ctx *ctx, const char *path, const char **why);
void cublas_close(cublas *c);
// Chooses an algorithm by the library's heuristic; NULL, or what was refused (valid until the next call).
const char *cublas_prepare(cublas *c, const cublas_gemm *g);
const char *cublas_launch(cublas *c); // the prepared product, on the default stream

#endif
