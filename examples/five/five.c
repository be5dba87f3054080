// y = x W^T in NVFP4, or what the second word says: five calls to the result, one to look at it.
#include "fp4_gemm.h"
#include <stdio.h>
#include <stdlib.h>

enum { M = 3, N = 8, K = 64 };

static void need(fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "%s\n", fp4_last_error()); // a sentence: what, where, with numbers
        exit(1);
    }
}

int main(int argc, char **argv) {
    static const float values[N] = {0, 0.375f, 0.75f, 1.5f, 3, 6, -3, -6};
    static float x[M * K], w[N * K];
    for (int i = 0; i < M * K; i++) {
        x[i] = 1;
    }
    for (int i = 0; i < N * K; i++) {
        w[i] = values[i / K];
    }
    fp4_ctx *ctx;
    fp4_module *kernels;
    fp4_tensor a, b, d;
    const char *path = argc > 1 ? argv[1] : "gemm.tkm";
    const char *format = argc > 2 ? argv[2] : "nvfp4"; // "e4m3": lib/fp8 on Hopper
    need(fp4_open_module(NULL, path, &ctx, &kernels)); // a GPU that it fits, else the simulator
    need(fp4_tensor_quantize(ctx, format, 2, (int64_t[]){M, K}, x, &a));
    need(fp4_tensor_quantize(ctx, format, 2, (int64_t[]){N, K}, w, &b));
    need(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){M, N}, &d));
    need(fp4_gemm(kernels, &d, &a, &b, 1.0f, NULL)); // any M; enqueued on the caller's stream

    double y[M * N];
    need(fp4_tensor_values(ctx, &d, y));
    for (int n = 0; n < N; n++) {
        printf("%g ", y[n]); // 0 24 48 96 192 384 -192 -384
    }
    printf("\n");
    fp4_close(ctx); // and all that is on it
    return 0;
}
