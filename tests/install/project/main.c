// Runs embedded kernels in the simulator and, unless EMBEDDED_ONLY, one that it compiles itself;
// exits with 0 when every result is the sum in double precision, rounded.
#ifndef EMBEDDED_ONLY
#include <fp4_gemm.h>
#include <fp4rt_compile.h>
#endif
#include <gemm.h>
#include <math.h>
#include <own.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 33, N = 40, K = 96 };

#define TRY(call)                                                                                  \
    if ((call) != FP4_OK) {                                                                        \
        fprintf(stderr, #call ": %s\n", fp4_last_error());                                         \
        return 1;                                                                                  \
    }

static double a[M * K], b[N * K], d[M * N];

// In units of 2^-bits of each sum's magnitude.
static int is_product(const char *what, int bits) {
    for (int i = 0; i < M * N; i++) {
        double sum = 0;
        double magnitude = 0;
        for (int k = 0; k < K; k++) {
            sum += a[i / N * K + k] * b[i % N * K + k];
            magnitude += fabs(a[i / N * K + k] * b[i % N * K + k]);
        }
        if (!(fabs(sum - d[i]) <= ldexp(fabs(sum), -bits) + ldexp(magnitude, -18))) {
            fprintf(stderr, "%s: element %d is %g, expected %g\n", what, i, d[i], sum);
            return 0;
        }
    }
    return 1;
}

static fp4_status random_tensor(fp4_ctx *ctx, const char *format, int64_t rows, double *values,
                                fp4_tensor *t) {
    static float x[N * K];
    const int64_t dims[] = {rows, K};
    for (int i = 0; i < rows * K; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 250;
    }
    fp4_status status = fp4_tensor_quantize(ctx, format, 2, dims, x, t);
    return status == FP4_OK ? fp4_tensor_values(ctx, t, values) : status;
}

int main(int argc, char **argv) {
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_tensor x, y, z;
    gemm_kernels gemm;
    own_kernels own;
    const int64_t dims[] = {M, N};
    config.device = "sim";
    TRY(fp4_open(&config, &ctx));
    TRY(gemm_open(ctx, &gemm));
    TRY(random_tensor(ctx, "nvfp4", M, a, &x));
    TRY(random_tensor(ctx, "nvfp4", N, b, &y));
    TRY(fp4_tensor_new(ctx, "bf16", 2, dims, &z));
    TRY(gemm_nvfp4_gemm(&gemm, &x, &y, &z, x.global * y.global, NULL));
    TRY(fp4_tensor_values(ctx, &z, d));
    int good = is_product("gemm", 8);
#ifndef EMBEDDED_ONLY
    fp4_module *module;
    fp4_compile_options how = FP4_COMPILE_OPTIONS_INIT;
    how.arch = "sm_120a";
    TRY(fp4_module_compile(ctx, argc > 1 ? argv[1] : "gemm.tk", NULL, &how, &module));
    TRY(fp4_tensor_new(ctx, "bf16", 2, dims, &z));
    TRY(fp4_gemm(module, &z, &x, &y, 1.0f, NULL));
    TRY(fp4_tensor_values(ctx, &z, d));
    good &= is_product("fp4_gemm", 8);
#else
    (void)argc;
    (void)argv;
#endif
    TRY(own_open(ctx, &own));
    TRY(random_tensor(ctx, "mxfp8", M, a, &x));
    TRY(random_tensor(ctx, "mxfp8", N, b, &y));
    TRY(fp4_tensor_new(ctx, "f32", 2, dims, &z));
    TRY(own_own(&own, &x, &y, &z, NULL));
    TRY(fp4_tensor_values(ctx, &z, d));
    good &= is_product("own", 20);
    fp4_close(ctx);
    printf(good ? "three products\n" : "wrong\n");
    return !good;
}
