// An NVFP4 GEMM from C: five calls to the result, one to read it. Compiled kernels in gemm.tkm:
//
//   fp4c lib/gemm/gemm.tk -arch sm_100a -o gemm.tkm
//   gemm gemm.tkm                 on a GPU that the module fits, else in the simulator
//   gemm gemm.tkm sim 300 264 512
//
// Prints the largest difference from the exact product of the quantised operands, and fails when it
// is more than the rounding of the result to bf16 allows.
#include "fp4_gemm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                                                  \
    if ((call) != FP4_OK) {                                                                        \
        fprintf(stderr, "%s\n", fp4_last_error());                                                 \
        return 1;                                                                                  \
    }

static float *random_matrix(int64_t rows, int64_t cols) {
    float *x = malloc(sizeof(float) * (size_t)(rows * cols));
    for (int64_t i = 0; x && i < rows * cols; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 500;
    }
    return x;
}

// Every result against the sum in double precision; the largest difference in units of bf16's last
// place.
static double worst(const double *a, const double *b, const double *d, const int64_t size[3]) {
    double most = 0;
    for (int64_t m = 0; m < size[0]; m++) {
        for (int64_t n = 0; n < size[1]; n++) {
            double sum = 0;
            for (int64_t k = 0; k < size[2]; k++) {
                sum += a[m * size[2] + k] * b[n * size[2] + k];
            }
            double unit = ldexp(1, (sum == 0 ? -20 : ilogb(sum)) - 7);
            most = fmax(most, fabs(sum - d[m * size[1] + n]) / fmax(unit, ldexp(1, -20)));
        }
    }
    return most;
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3 && argc != 6) {
        fprintf(stderr, "usage: %s gemm.tkm [device [M N K]]\n", argv[0]);
        return 2;
    }
    int64_t m = argc > 3 ? atoll(argv[3]) : 300;
    int64_t n = argc > 3 ? atoll(argv[4]) : 264;
    int64_t k = argc > 3 ? atoll(argv[5]) : 512;
    if (m < 1 || n < 1 || k < 1 || m > 8192 || n > 8192 || k > 8192) {
        fprintf(stderr, "sizes from 1 to 8192, please\n");
        return 2;
    }
    float *x = random_matrix(m, k);
    float *w = random_matrix(n, k);
    double *values = malloc(sizeof(double) * (size_t)(m * k + n * k + m * n));
    if (!x || !w || !values) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }

    fp4_config config = FP4_CONFIG_INIT;
    config.device = argc > 2 ? argv[2] : "auto";
    fp4_ctx *ctx;
    fp4_module *kernels;
    fp4_tensor a, b, d;
    TRY(fp4_open_module(&config, argv[1], &ctx, &kernels));
    TRY(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){m, k}, x, &a));
    TRY(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){n, k}, w, &b));
    TRY(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, n}, &d));
    TRY(fp4_gemm(kernels, &d, &a, &b, 1.0f, NULL)); // D = A B^T
    TRY(fp4_tensor_values(ctx, &d, values + m * k + n * k));

    TRY(fp4_tensor_values(ctx, &a, values));
    TRY(fp4_tensor_values(ctx, &b, values + m * k));
    double most = worst(values, values + m * k, values + m * k + n * k, (int64_t[]){m, n, k});
    fp4_device_info info;
    TRY(fp4_get_device_info(ctx, &info));
    printf("%lld x %lld x %lld on %s: at most %.3f units in the last place of bf16\n", (long long)m,
           (long long)n, (long long)k, info.name, most);
    fp4_close(ctx); // and all that is on it
    free(x);
    free(w);
    free(values);
    return most <= 0.6 ? 0 : 1; // half a unit for bf16, the rest for sums in single precision
}
