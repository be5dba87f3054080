// The C functions of lib/ on the simulator: sizes from 0 on, random operands of random magnitude,
// compared with sums in double precision of the dequantised operands.
//
//   kernels_test gemm|mx|bf16|gateup module.tkm
//
// gemm, mx, bf16: every element within 0.6 units in bf16's last place (half for the rounding, the rest for
// sums in single precision). gateup: the scale of every block is the code nearest to amax / 6 or
// its neighbour, every element within half a step of E2M1 there.
#include "fp4_gateup.h"
#include "fp4_gemm.h"
#include "need.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fp4_ctx *ctx;
static fp4_module *module;

typedef struct {
    fp4_tensor tensor;
    double *values;
    int64_t rows, cols;
} matrix;

// 'global' 0: of its own values.
static matrix random_format(const char *format, int64_t rows, int64_t cols, double magnitude) {
    matrix m = {.rows = rows, .cols = cols};
    size_t n = (size_t)(rows * cols);
    float *x = malloc(sizeof *x * (n + 1));
    m.values = malloc(sizeof *m.values * (n + 1));
    NEED(x && m.values);
    for (size_t i = 0; i < n; i++) {
        double row_factor = exp2((double)(i / (size_t)cols * 7 % 5));
        x[i] = (float)(magnitude * row_factor * (rand() % 2001 - 1000) / 1000);
    }
    NEED(fp4_tensor_quantize(ctx, format, 2, (int64_t[]){rows, cols}, x, &m.tensor) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &m.tensor, m.values) == FP4_OK);
    free(x);
    return m;
}

static matrix random_matrix(int64_t rows, int64_t cols, double magnitude) {
    return random_format("nvfp4", rows, cols, magnitude);
}

static matrix empty_matrix(const char *format, int64_t rows, int64_t cols) {
    matrix m = {.rows = rows, .cols = cols};
    m.values = malloc(sizeof *m.values * (size_t)(rows * cols + 1));
    NEED(m.values);
    NEED(fp4_tensor_new(ctx, format, 2, (int64_t[]){rows, cols}, &m.tensor) == FP4_OK);
    int64_t bytes = rows * cols * fp4_elem_bits(m.tensor.format.elem) / 8;
    NEED(fp4_fill(ctx, m.tensor.data, 0x7f, bytes, NULL) == FP4_OK); // to be overwritten
    return m;
}

static void free_matrix(matrix *m) {
    fp4_tensor_free(&m->tensor);
    free(m->values);
}

static double dot(const matrix *a, int64_t row, const matrix *b, int64_t col) {
    double sum = 0;
    for (int64_t k = 0; k < a->cols; k++) {
        sum += a->values[row * a->cols + k] * b->values[col * b->cols + k];
    }
    return sum;
}

static void try_gemm(const char *const format[2], int64_t m, int64_t n, int64_t k) {
    matrix a = random_format(format[0], m, k, 3);
    matrix b = random_format(format[1], n, k, 0.01);
    matrix d = empty_matrix("bf16", m, n);
    float alpha = (float)(rand() % 100 + 1) / 16;
    NEED(fp4_gemm(module, &d.tensor, &a.tensor, &b.tensor, alpha, NULL) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &d.tensor, d.values) == FP4_OK);
    double most = 0;
    for (int64_t i = 0; i < m * n; i++) {
        double want = alpha * dot(&a, i / n, &b, i % n);
        double unit = ldexp(1, (want == 0 ? -60 : ilogb(want)) - 7);
        // sums that cancel keep the rounding of their largest parts
        unit = fmax(unit, alpha * 1e-5 * sqrt((double)k));
        most = fmax(most, fabs(want - d.values[i]) / unit);
    }
    printf("%lld x %lld x %lld: %.3f units\n", (long long)m, (long long)n, (long long)k, most);
    NEED(most <= 0.6);
    free_matrix(&a);
    free_matrix(&b);
    free_matrix(&d);
}

static void gemm(void) {
    static const int64_t sizes[][3] = {{0, 64, 64}, {1, 8, 32},    {1, 264, 512},
                                       {5, 64, 0},  {129, 8, 96},  {300, 136, 288},
                                       {7, 0, 64},  {257, 264, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        try_gemm((const char *[]){"nvfp4", "nvfp4"}, sizes[i][0], sizes[i][1], sizes[i][2]);
    }
    matrix a = random_matrix(3, 64, 1);
    matrix b = random_matrix(8, 64, 1);
    matrix d = empty_matrix("bf16", 3, 8);
    NEED(fp4_gemm(module, &d.tensor, &a.tensor, &a.tensor, 1, NULL) == FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "N = 3 in B, but 8 in D"));
    NEED(fp4_gemm(module, &d.tensor, &d.tensor, &b.tensor, 1, NULL) == FP4_ERROR_NOT_FOUND);
    NEED(strstr(fp4_last_error(), "no kernel bf16_nvfp4_gemm"));
    NEED(fp4_gemm(NULL, &d.tensor, &a.tensor, &b.tensor, 1, NULL) == FP4_ERROR_ARGUMENT);
    NEED(strstr(fp4_last_error(), "fp4_gemm(): NULL argument"));
    free_matrix(&a);
    free_matrix(&b);
    free_matrix(&d);
}

// All pairs of formats of a module.
static void pairs(int n, const char *const (*format)[2]) {
    static const int64_t sizes[][3] = {{0, 64, 128}, {1, 264, 384}, {5, 64, 0}, {129, 8, 128}, {140, 136, 256}, {7, 0, 128}};
    for (int f = 0; f < n; f++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            try_gemm(format[f], sizes[i][0], sizes[i][1], sizes[i][2]);
        }
    }
}

static void mx(void) {
    static const char *const format[][2] = {{"mxfp4", "mxfp4"},      {"mxfp8", "mxfp8"},      {"mxfp8_e5m2", "mxfp8_e5m2"},
                                            {"mxfp8", "mxfp8_e5m2"}, {"mxfp8_e5m2", "mxfp8"}, {"mxfp8", "mxfp4"},
                                            {"mxfp4", "mxfp8"}};
    pairs(7, format);
    matrix a = random_format("mxfp8", 3, 96, 1);
    matrix b = random_format("mxfp4", 8, 96, 1);
    matrix d = empty_matrix("bf16", 3, 8);
    NEED(fp4_gemm(module, &d.tensor, &a.tensor, &b.tensor, 1, NULL) == FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "K = 96 must be a multiple of 128"));
    free_matrix(&a);
    free_matrix(&b);
    // Elements that are padded on the way begin at multiples of 32 bytes, and so do their rows.
    a = random_format("mxfp8", 3, 128, 1);
    b = random_format("mxfp4", 8, 128, 1);
    fp4_tensor odd = b.tensor;
    odd.pitch = 80;
    NEED(fp4_gemm(module, &d.tensor, &a.tensor, &odd, 1, NULL) == FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "B: its row pitch of 80 bytes must be a multiple of 32"));
    odd = b.tensor;
    odd.data += 16;
    NEED(fp4_gemm(module, &d.tensor, &a.tensor, &odd, 1, NULL) == FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "must be a multiple of 32"));
    free_matrix(&a);
    free_matrix(&b);
    free_matrix(&d);
}

// Half the distance between neighbours of E2M1 around x: 0 0.5 1 1.5 2 3 4 6.
static double half_step(double x) {
    return x < 2 ? 0.25 : x < 4 ? 0.5 : 1;
}

static void check_block(const double *want, const double *have, float global) {
    double amax = 0;
    for (int i = 0; i < 16; i++) {
        amax = fmax(amax, fabs(want[i]));
    }
    uint64_t code = fp4_encode(FP4_ELEM_UE4M3, amax / global / 6);
    double slack = INFINITY; // by the best of the scale's neighbours
    for (uint64_t c = code ? code - 1 : 0; c <= code + 1 && c < 0x7f; c++) {
        double sf = fp4_decode(FP4_ELEM_UE4M3, c) * global;
        double worst = 0;
        for (int i = 0; i < 16 && sf > 0; i++) {
            double q = fmin(fabs(want[i]) / sf, 6);
            double cut = (fabs(want[i]) - q * sf) / sf; // beyond 6 all is 6
            double error = fabs(want[i] - have[i]) / sf;
            worst = fmax(worst, error - cut - half_step(q) * 1.001);
        }
        slack = fmin(slack, sf > 0 ? worst : fabs(have[0]));
    }
    NEED(slack <= 0.01);
}

static void try_gateup(int64_t m, int64_t f, int64_t k) {
    matrix x = random_matrix(m, k, 1);
    matrix wg = random_matrix(f, k, 0.05);
    matrix wu = random_matrix(f, k, 0.05);
    wu.tensor.global = wg.tensor.global;
    NEED(fp4_tensor_values(ctx, &wu.tensor, wu.values) == FP4_OK);
    double *want = malloc(sizeof *want * (size_t)(m * f + 1));
    double amax = 0;
    for (int64_t i = 0; i < m * f; i++) {
        double g = dot(&x, i / f, &wg, i % f);
        want[i] = g / (1 + exp(-g)) * dot(&x, i / f, &wu, i % f);
        amax = fmax(amax, fabs(want[i]));
    }
    matrix h = empty_matrix("nvfp4", m, f);
    h.tensor.global = amax > 0 ? (float)(amax / (6 * 448)) : 1;
    NEED(fp4_gateup(module, &h.tensor, &x.tensor, &wg.tensor, &wu.tensor, NULL) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &h.tensor, h.values) == FP4_OK);
    for (int64_t i = 0; i < m * f; i += 16) {
        check_block(want + i, h.values + i, h.tensor.global);
    }
    printf("gateup %lld x %lld x %lld\n", (long long)m, (long long)f, (long long)k);
    wu.tensor.global *= 2;
    NEED(fp4_gateup(module, &h.tensor, &x.tensor, &wg.tensor, &wu.tensor, NULL) ==
         FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "different 'global' factors"));
    NEED(fp4_gateup(module, NULL, &x.tensor, &wg.tensor, &wu.tensor, NULL) == FP4_ERROR_ARGUMENT);
    free_matrix(&x);
    free_matrix(&wg);
    free_matrix(&wu);
    free_matrix(&h);
    free(want);
}

int main(int argc, char **argv) {
    NEED(argc == 3);
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    NEED(fp4_open_module(&config, argv[2], &ctx, &module) == FP4_OK);
    if (strcmp(argv[1], "gemm") == 0) {
        gemm();
    } else if (strcmp(argv[1], "mx") == 0) {
        mx();
    } else if (strcmp(argv[1], "bf16") == 0) {
        pairs(1, (const char *const[][2]){{"bf16", "bf16"}});
    } else {
        try_gateup(0, 64, 64);
        try_gateup(1, 64, 32);
        try_gateup(130, 192, 288);
        try_gateup(3, 128, 0);
    }
    fp4_stats stats;
    NEED(fp4_get_stats(ctx, &stats) == FP4_OK);
    NEED(stats.device_bytes == 0);
    fp4_close(ctx);
    return 0;
}
