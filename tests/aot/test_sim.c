// Embedded kernels over libfp4rt, in the simulator: results against sums in double precision of the
// quantised operands, on both machines' code paths through one generated function; refusals.
#include "gemm.h"
#include "names.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef fp4_status (*call_fn)(const void *kernels, const fp4_tensor *a, const fp4_tensor *b,
                              const fp4_tensor *d, float alpha);

static fp4_status call_gemm(const void *kernels, const fp4_tensor *a, const fp4_tensor *b,
                            const fp4_tensor *d, float alpha) {
    return gemm_nvfp4_gemm(kernels, a, b, d, alpha, NULL);
}

static fp4_status call_names(const void *kernels, const fp4_tensor *a, const fp4_tensor *b,
                             const fp4_tensor *d, float alpha) {
    return names_the_open(kernels, a, b, d, alpha, NULL);
}

static fp4_ctx *open_sim(void) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    fp4_ctx *ctx;
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    return ctx;
}

static fp4_tensor random_tensor(fp4_ctx *ctx, int64_t rows, int64_t cols) {
    float *x = malloc(sizeof *x * (size_t)(rows * cols));
    assert_non_null(x);
    for (int64_t i = 0; i < rows * cols; i++) {
        // rows of very different sizes, so that scales differ
        x[i] = (float)(rand() % 2001 - 1000) / 500 * ldexpf(1, (int)(i / 16 % 7) - 3);
    }
    fp4_tensor t;
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){rows, cols}, x, &t), FP4_OK);
    free(x);
    return t;
}

static double *values_of(fp4_ctx *ctx, const fp4_tensor *t, int64_t n) {
    double *v = malloc(sizeof *v * (size_t)n);
    assert_non_null(v);
    fp4_tensor plain = *t;
    plain.global = 1; // what the kernel multiplies
    assert_int_equal(fp4_tensor_values(ctx, &plain, v), FP4_OK);
    return v;
}

// bf16 has 8 bits: half a unit for its rounding, and what sums in single precision may lose.
static void check_product(fp4_ctx *ctx, call_fn call, const void *kernels, const int64_t size[3]) {
    int64_t m = size[0];
    int64_t n = size[1];
    int64_t k = size[2];
    const float alpha = 0.375f;
    fp4_tensor a = random_tensor(ctx, m, k);
    fp4_tensor b = random_tensor(ctx, n, k);
    fp4_tensor d;
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, n}, &d), FP4_OK);
    if (call(kernels, &a, &b, &d, alpha) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    double *x = values_of(ctx, &a, m * k);
    double *y = values_of(ctx, &b, n * k);
    double *z = values_of(ctx, &d, m * n);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            double magnitude = 0;
            for (int64_t l = 0; l < k; l++) {
                double p = x[i * k + l] * y[j * k + l];
                sum += p;
                magnitude += fabs(p);
            }
            double bound = fabs(alpha * sum) * ldexp(1, -8) + alpha * magnitude * ldexp(1, -18);
            if (!(fabs(alpha * sum - z[i * n + j]) <= bound)) {
                fail_msg("element %d, %d is %g, expected %g", (int)i, (int)j, z[i * n + j],
                         alpha * sum);
            }
        }
    }
    free(x);
    free(y);
    free(z);
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
}

static void products(void **state) {
    (void)state;
    fp4_ctx *ctx = open_sim();
    gemm_kernels kernels;
    assert_int_equal(gemm_open(ctx, &kernels), FP4_OK);
    check_product(ctx, call_gemm, &kernels, (int64_t[]){1, 8, 32});
    check_product(ctx, call_gemm, &kernels, (int64_t[]){129, 264, 288});
    gemm_close(&kernels);
    gemm_close(&kernels);
    gemm_close(NULL);
    fp4_close(ctx);
}

// The first variant serves 64 rows and more.
static void variants_and_names(void **state) {
    (void)state;
    fp4_ctx *ctx = open_sim();
    names_kernels kernels;
    assert_int_equal(names_open(ctx, &kernels), FP4_OK);
    check_product(ctx, call_names, &kernels, (int64_t[]){63, 24, 64});
    check_product(ctx, call_names, &kernels, (int64_t[]){64, 24, 64});
    names_close(&kernels);
    fp4_close(ctx);
}

static void refusals(void **state) {
    (void)state;
    fp4_ctx *ctx = open_sim();
    gemm_kernels kernels;
    assert_int_equal(gemm_open(ctx, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(gemm_open(NULL, &kernels), FP4_ERROR_ARGUMENT);
    assert_int_equal(gemm_open(ctx, &kernels), FP4_OK);
    fp4_tensor a = random_tensor(ctx, 4, 64);
    fp4_tensor b = random_tensor(ctx, 16, 64);
    fp4_tensor d, short_d;
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){4, 16}, &d), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){3, 16}, &short_d), FP4_OK);
    assert_int_equal(gemm_nvfp4_gemm(NULL, &a, &b, &d, 1, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(gemm_nvfp4_gemm(&kernels, NULL, &b, &d, 1, NULL), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "(A) is a NULL tensor"));
    assert_int_equal(gemm_nvfp4_gemm(&kernels, &a, &b, &short_d, 1, NULL), FP4_ERROR_MISMATCH);
    assert_string_equal(fp4_last_error(), "nvfp4_gemm(): M = 4 in A, but 3 in D");
    assert_int_equal(gemm_nvfp4_gemm(&kernels, &d, &b, &a, 1, NULL), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "A is bf16, expected nvfp4"));
    assert_int_equal(gemm_nvfp4_gemm(&kernels, &a, &b, &d, 1, NULL), FP4_OK);
    gemm_close(&kernels);
    assert_int_equal(gemm_nvfp4_gemm(&kernels, &a, &b, &d, 1, NULL), FP4_ERROR_ARGUMENT);
    fp4_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(variants_and_names),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
