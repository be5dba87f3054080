// The block quantisers against a reference written block by block from the rules, over random
// tensors with tails in both directions; and bounds on the error that follow from the formats.
#include "fp4rt.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    fp4_host host;
    fp4_storage storage;
    float *x;
    double *y;
} fixture;

static fixture make(const fp4_format *format, int rank, const int64_t *dims, int spread) {
    fixture t;
    assert_int_equal(fp4_host_init(&t.host, format, rank, dims), FP4_OK);
    assert_int_equal(fp4_storage_of(format, rank, dims, 0, &t.storage), FP4_OK);
    int64_t n = t.storage.n_matrices * t.storage.rows * t.storage.cols;
    t.host.data = malloc((size_t)t.storage.data_bytes + 1);
    t.host.scale = malloc((size_t)t.storage.scale_bytes + 1);
    memset(t.host.data, 0xee, (size_t)t.storage.data_bytes);
    memset(t.host.scale, 0xee, (size_t)t.storage.scale_bytes);
    t.x = malloc(sizeof(float) * (size_t)n);
    t.y = malloc(sizeof(double) * (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        float sign = rand() % 2 ? 1.0f : -1.0f;
        float wide = ldexpf((float)rand() / (float)RAND_MAX, rand() % (2 * spread + 1) - spread);
        t.x[i] = rand() % 16 == 0 ? 0 : sign * wide;
    }
    return t;
}

static void drop(fixture *t) {
    free(t->host.data);
    free(t->host.scale);
    free(t->x);
    free(t->y);
}

static float amax_of(const float *x, int n) {
    float amax = 0;
    for (int i = 0; i < n; i++) {
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    return amax;
}

// E2M1 and E4M3 by their decision points and steps: hardware.md 1.1.
static double e2m1_round(double x) {
    double a = fabs(x);
    double r = a <= 0.25   ? 0
               : a < 0.75  ? 0.5
               : a <= 1.25 ? 1
               : a < 1.75  ? 1.5
               : a <= 2.5  ? 2
               : a < 3.5   ? 3
               : a <= 5    ? 4
                           : 6;
    return x < 0 ? -r : r;
}

static double e4m3_round(double x) {
    double a = fabs(x);
    int e = a > 0 ? ilogb(a) : -6;
    double step = ldexp(1, (e < -6 ? -6 : e) - 3);
    double r = nearbyint(a / step) * step;
    return copysign(r > 448 ? 448 : r, x);
}

static void nvfp4(void **state) {
    (void)state;
    fp4_format format;
    assert_int_equal(fp4_format_find("nvfp4", &format), FP4_OK);
    for (int run = 0; run < 40; run++) {
        format.layout = (fp4_sf_layout)(FP4_SF_LINEAR + run % 4);
        int rows = 1 + rand() % 150;
        int cols = 1 + rand() % 100;
        fixture t = make(&format, 3, (int64_t[]){2, rows, cols}, run % 12);
        float global;
        assert_int_equal(fp4_quantize(&t.host, t.x, NULL, &global), FP4_OK);
        assert_int_equal(fp4_host_decode(&t.host, t.y), FP4_OK);
        float amax = amax_of(t.x, 2 * rows * cols);
        float g = amax > 0 ? 448.0f * 6.0f / amax : 1;
        assert_true(global == g);
        for (int row = 0; row < 2 * rows; row++) {
            for (int col = 0; col < cols; col += 16) {
                const float *x = t.x + row * cols + col;
                int n = cols - col < 16 ? cols - col : 16;
                float sf = (float)e4m3_round(g * amax_of(x, n) / 6.0f);
                for (int i = 0; i < n; i++) {
                    double q = sf > 0 ? e2m1_round(x[i] * g / sf) : 0;
                    assert_true(t.y[row * cols + col + i] == q * sf);
                    // half a step of E2M1 at the top (1), the scale's own rounding (1/16), tiny
                    // blocks
                    assert_true(fabs(t.y[row * cols + col + i] / g - x[i]) <=
                                amax_of(x, n) * (1.0 / 6 + 1.0 / 14) + 6 * ldexp(1, -10) / g);
                }
            }
        }
        drop(&t);
    }
}

static void mx(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double max;
        int emax;
    } formats[] = {{"mxfp4", 6, 2}, {"mxfp8", 448, 8}, {"mxfp8_e5m2", 57344, 15}};
    for (int run = 0; run < 60; run++) {
        fp4_format format;
        assert_int_equal(fp4_format_find(formats[run % 3].name, &format), FP4_OK);
        format.layout = (fp4_sf_layout)(FP4_SF_LINEAR + run % 4);
        int rows = 1 + rand() % 40;
        int cols = 1 + rand() % 150;
        fixture t = make(&format, 2, (int64_t[]){rows, cols}, run % 20);
        fp4_quantize_options options = {.size = sizeof options,
                                        .mx_rule = run % 2 ? FP4_MX_FLOOR : FP4_MX_CEIL,
                                        .amax_floor = run % 5 == 0 ? 1e-4f : 0};
        float global;
        assert_int_equal(fp4_quantize(&t.host, t.x, &options, &global), FP4_OK);
        assert_true(global == 1);
        for (int row = 0; row < rows; row++) {
            for (int col = 0; col < cols; col += 32) {
                const float *x = t.x + row * cols + col;
                int n = cols - col < 32 ? cols - col : 32;
                float amax = amax_of(x, n);
                amax = amax > options.amax_floor ? amax : options.amax_floor;
                int e = -127;
                if (amax > 0 && run % 2) {
                    e = (int)floor(log2(amax)) - formats[run % 3].emax;
                } else if (amax > 0) {
                    e = (int)ceil(log2((float)(amax / (float)formats[run % 3].max)));
                }
                assert_int_equal(fp4_host_scale_code(&t.host, row, col), e + 127);
                for (int i = 0; i < n; i++) {
                    uint64_t code = fp4_encode(format.elem, ldexp(x[i], -e));
                    assert_int_equal(fp4_host_code(&t.host, row, col + i), code);
                    if (!(run % 2)) { // ceil: nothing saturates
                        assert_true(fabs(x[i]) <= formats[run % 3].max * ldexp(1, e));
                    }
                }
            }
        }
        drop(&t);
    }
}

// DeepSeek's weights: one scale a block of 128 x 128.
static void square_granules(void **state) {
    (void)state;
    fp4_format format = {FP4_ELEM_E4M3, FP4_ELEM_F32, 128, 128, FP4_SF_LINEAR};
    fixture t = make(&format, 2, (int64_t[]){150, 260}, 3);
    assert_int_equal(t.storage.scale_bytes, 2 * 3 * 4);
    assert_int_equal(fp4_quantize(&t.host, t.x, NULL, NULL), FP4_OK);
    assert_int_equal(fp4_host_decode(&t.host, t.y), FP4_OK);
    for (int row = 0; row < 150; row++) {
        for (int col = 0; col < 260; col++) {
            float amax = 0;
            for (int r = row / 128 * 128; r < 150 && r < row / 128 * 128 + 128; r++) {
                int c0 = col / 128 * 128;
                float m = amax_of(t.x + r * 260 + c0, 260 - c0 < 128 ? 260 - c0 : 128);
                amax = m > amax ? m : amax;
            }
            float sf = amax / 448.0f;
            assert_true(t.y[row * 260 + col] == e4m3_round(t.x[row * 260 + col] / sf) * sf);
        }
    }
    drop(&t);
}

static void options_and_refusals(void **state) {
    (void)state;
    fp4_format format;
    fp4_format_find("nvfp4", &format);
    fixture t = make(&format, 2, (int64_t[]){4, 64}, 0);
    fp4_quantize_options options = {.size = sizeof options, .global_scale = 2};
    float global;
    assert_int_equal(fp4_quantize(&t.host, t.x, &options, &global), FP4_OK);
    assert_true(global == 2);
    options.global_scale = NAN;
    assert_int_equal(fp4_quantize(&t.host, t.x, &options, &global), FP4_ERROR_ARGUMENT);
    options.size = 1;
    assert_int_equal(fp4_quantize(&t.host, t.x, &options, &global), FP4_ERROR_ARGUMENT);
    memset(t.x, 0, 4 * 64 * sizeof(float));
    assert_int_equal(fp4_quantize(&t.host, t.x, NULL, &global), FP4_OK);
    assert_true(global == 1);
    assert_int_equal(fp4_host_scale_code(&t.host, 3, 63), 0);
    t.x[65] = INFINITY;
    assert_int_equal(fp4_quantize(&t.host, t.x, NULL, NULL), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "value 65 is not finite"));
    assert_int_equal(fp4_quantize(NULL, t.x, NULL, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_quantize(&t.host, NULL, NULL, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_host_encode(&t.host, t.y), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_host_decode(&t.host, NULL), FP4_ERROR_ARGUMENT);
    drop(&t);
    fp4_format_find("bf16", &format);
    t = make(&format, 2, (int64_t[]){3, 5}, 0);
    assert_int_equal(fp4_quantize(&t.host, t.x, NULL, NULL), FP4_ERROR_ARGUMENT);
    for (int i = 0; i < 15; i++) {
        t.y[i] = i - 7.5;
    }
    assert_int_equal(fp4_host_encode(&t.host, t.y), FP4_OK);
    memset(t.y, 0, 15 * sizeof(double));
    assert_int_equal(fp4_host_decode(&t.host, t.y), FP4_OK);
    for (int i = 0; i < 15; i++) {
        assert_true(t.y[i] == i - 7.5);
    }
    drop(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nvfp4),
        cmocka_unit_test(mx),
        cmocka_unit_test(square_granules),
        cmocka_unit_test(options_and_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
