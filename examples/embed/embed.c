// Kernels inside the program: gemm.h and gemm.c come from fp4c, the program needs no file at run
// time and calls a function with a type.
//
//   fp4c lib/gemm/gemm.tk -arch sm_100a,sm_120a --emit=c,h -o gemm
//   cc embed.c gemm.c $(pkg-config --cflags --libs fp4)
//   embed [device]
#include "fp4rt.h"
#include "gemm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 33, N = 40, K = 96 };

static void need(fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "%s\n", fp4_last_error());
        exit(1);
    }
}

// A random tensor, and the numbers that it holds after rounding to NVFP4.
static void random_tensor(fp4_ctx *ctx, int64_t rows, double *values, fp4_tensor *t) {
    static float x[N * K];
    for (int64_t i = 0; i < rows * K; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 500;
    }
    need(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){rows, K}, x, t));
    need(fp4_tensor_values(ctx, t, values));
}

int main(int argc, char **argv) {
    static double va[M * K], vb[N * K], vd[M * N];
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_tensor a, b, d;
    gemm_kernels kernels;
    config.device = argc > 1 ? argv[1] : "auto";
    need(fp4_open(&config, &ctx));
    need(gemm_open(ctx, &kernels));
    random_tensor(ctx, M, va, &a);
    random_tensor(ctx, N, vb, &b);
    need(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){M, N}, &d));
    need(gemm_nvfp4_gemm(&kernels, &a, &b, &d, a.global * b.global, NULL));
    need(fp4_tensor_values(ctx, &d, vd));

    double most = 0; // in units of bf16's last place
    for (int i = 0; i < M * N; i++) {
        double sum = 0;
        for (int k = 0; k < K; k++) {
            sum += va[i / N * K + k] * vb[i % N * K + k];
        }
        double unit = ldexp(1, (sum == 0 ? -20 : ilogb(sum)) - 7);
        most = fmax(most, fabs(sum - vd[i]) / fmax(unit, ldexp(1, -20)));
    }
    // what does not fit is refused before anything is launched
    d.dims[1] = N - 1;
    if (gemm_nvfp4_gemm(&kernels, &a, &b, &d, 1, NULL) == FP4_OK) {
        return 1;
    }
    printf("at most %.3f units in the last place of bf16; refused: %s\n", most, fp4_last_error());
    gemm_close(&kernels);
    fp4_close(ctx);
    return most <= 0.6 ? 0 : 1; // half a unit for bf16, the rest for sums in single precision
}
