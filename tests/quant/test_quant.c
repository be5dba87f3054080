// The quantisers of lib/quant in the simulator, byte by byte against fp4_quantize on the host.
//
//   quant_test fp8.tkm fp4.tkm
//
// Operands: BF16 codes of random sign and exponent, rows and blocks of zeros, subnormals, magnitudes that
// lie halfway between codes once scaled. Sizes with tails in both directions. What the host refuses (NaN,
// infinity) is compared with what the heads of fp8.tk and fp4.tk say.
#include "fp4rt.h"
#include "need.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAN_CODE = 0x7fc0, INF_CODE = 0x7f80 };

static fp4_ctx *ctx;
static fp4_module *module;

typedef struct {
    int64_t rows, cols;
    uint16_t *codes; // BF16
    float *values;
    fp4_tensor tensor;
} operand;

static uint16_t draw(int64_t row, int64_t col) {
    int r = rand();
    if (row % 7 == 3 || (col / 32) % 5 == 4) {
        return (uint16_t)(r % 2 << 15); // zeros of both signs
    }
    int exponent = row % 5 == 1 ? 0 : 120 + (int)(row % 11) + r % 5; // subnormal rows
    int mantissa = r % 3 == 0 ? r / 16 % 2 << 6 : r / 16 % 128;       // often 1 or 1.5: ties
    return (uint16_t)((r / 4096 % 2) << 15 | exponent << 7 | mantissa);
}

static operand new_operand(int64_t rows, int64_t cols) {
    operand x = {.rows = rows, .cols = cols};
    size_t n = (size_t)(rows * cols);
    x.codes = malloc((n + 1) * sizeof *x.codes);
    x.values = malloc((n + 1) * sizeof *x.values);
    NEED(x.codes && x.values);
    for (int64_t i = 0; i < rows * cols; i++) {
        x.codes[i] = draw(i / cols, i % cols);
        x.values[i] = (float)fp4_decode(FP4_ELEM_BF16, x.codes[i]);
    }
    NEED(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){rows, cols}, &x.tensor) == FP4_OK);
    NEED(fp4_tensor_write(ctx, &x.tensor, x.codes, NULL, NULL) == FP4_OK);
    return x;
}

static void free_operand(operand *x) {
    fp4_tensor_free(&x->tensor);
    free(x->codes);
    free(x->values);
}

// A host tensor of the format, quantised from x.
static fp4_host reference(const char *format, fp4_sf_layout layout, const operand *x,
                          const fp4_quantize_options *options) {
    fp4_host host = {.size = sizeof host};
    fp4_format f;
    fp4_storage s = {.size = sizeof s};
    int64_t dims[] = {x->rows, x->cols};
    NEED(fp4_format_find(format, &f) == FP4_OK);
    f.layout = layout;
    NEED(fp4_host_init(&host, &f, 2, dims) == FP4_OK);
    NEED(fp4_storage_of(&f, 2, dims, 0, &s) == FP4_OK);
    host.data = calloc(1, (size_t)s.data_bytes + 1);
    host.scale = calloc(1, (size_t)s.scale_bytes + 1);
    NEED(host.data && host.scale);
    NEED(fp4_quantize(&host, x->values, options, NULL) == FP4_OK);
    return host;
}

static void free_host(fp4_host *host) {
    free(host->data);
    free(host->scale);
}

// An output full of a byte that nothing writes.
static fp4_tensor output(const char *format, int64_t rows, int64_t cols, int64_t *bytes) {
    fp4_tensor t;
    NEED(fp4_tensor_new(ctx, format, 2, (int64_t[]){rows, cols}, &t) == FP4_OK);
    fp4_storage s = {.size = sizeof s};
    NEED(fp4_tensor_storage(&t, &s) == FP4_OK);
    *bytes = s.data_bytes;
    NEED(fp4_fill(ctx, t.data, 0xa5, *bytes, NULL) == FP4_OK);
    return t;
}

static void same_bytes(const char *what, const void *have, const void *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (((const uint8_t *)have)[i] != ((const uint8_t *)want)[i]) {
            fprintf(stderr, "%s: byte %lld is %02x, the host's %02x\n", what, (long long)i,
                    ((const uint8_t *)have)[i], ((const uint8_t *)want)[i]);
            exit(1);
        }
    }
}

static void launch(const char *name, const fp4_arg *args, int n) {
    fp4_kernel *kernel;
    NEED(fp4_module_kernel(module, name, NULL, &kernel) == FP4_OK);
    NEED(fp4_launch(kernel, args, n, NULL) == FP4_OK);
}

// Kernels with elements and scales as two plain tensors.
typedef struct {
    const char *kernel, *format; // of the host
    const char *elem, *scale;
    int rows, cols; // of a granule
    bool turned;    // the kernel's scales are [cols, rows]
    fp4_quantize_options options;
} apart;

static const apart aparts[] = {
    {"fp8_token", "e4m3*f32/1x128", "e4m3", "f32", 1, 128, false,
     {.amax_floor = 1e-4f, .arith = FP4_ARITH_KERNEL}},
    {"fp8_token_mn", "e4m3*f32/1x128", "e4m3", "f32", 1, 128, true,
     {.amax_floor = 1e-4f, .arith = FP4_ARITH_KERNEL}},
    {"fp8_channel", "e4m3*f32/128x1", "e4m3", "f32", 128, 1, false,
     {.amax_floor = 1e-4f, .arith = FP4_ARITH_KERNEL}},
    {"fp8_block", "e4m3*f32/128x128", "e4m3", "f32", 128, 128, false,
     {.amax_floor = 1e-4f, .arith = FP4_ARITH_KERNEL}},
    {"fp8_token_ue8m0", "e4m3*ue8m0/1x128", "e4m3", "ue8m0", 1, 128, false, {.amax_floor = 1e-4f}},
    {"fp8_token_words", "e4m3*ue8m0/1x128", "e4m3", "ue8m0 @ mn_packed", 1, 128, false, {.amax_floor = 1e-4f}},
    {"mxfp4_low", "e2m1*ue8m0/1x32", "e2m1", "ue8m0", 1, 32, false,
     {.amax_floor = 1e-4f, .ties = FP4_TIES_LOW}},
};

static void try_apart(const apart *t, int64_t rows, int64_t cols) {
    operand x = new_operand(rows, cols);
    int64_t sr = (rows + t->rows - 1) / t->rows;
    int64_t sc = (cols + t->cols - 1) / t->cols;
    int64_t data_bytes;
    int64_t scale_bytes;
    fp4_tensor q = output(t->elem, rows, cols, &data_bytes);
    fp4_tensor s = output(t->scale, t->turned ? sc : sr, t->turned ? sr : sc, &scale_bytes);
    const fp4_arg args[] = {fp4_arg_tensor(&x.tensor), fp4_arg_tensor(&q), fp4_arg_tensor(&s)};
    launch(t->kernel, args, 3);
    fp4_quantize_options options = t->options;
    options.size = sizeof options;
    fp4_host want = reference(t->format, FP4_SF_LINEAR, &x, &options);
    uint8_t *have = malloc((size_t)(data_bytes + scale_bytes) + 1);
    NEED(have);
    NEED(fp4_tensor_read(ctx, &q, have, NULL, NULL) == FP4_OK);
    same_bytes(t->kernel, have, want.data, data_bytes);
    NEED(fp4_tensor_read(ctx, &s, have, NULL, NULL) == FP4_OK);
    int64_t unit = fp4_elem_bits(s.format.elem) / 8;
    for (int64_t i = 0; i < sr * sc; i++) {
        int64_t at = t->turned ? i % sc * sr + i / sc : i;
        at = s.format.layout == FP4_SF_NONE ? at : fp4_scale_offset(s.format.layout, sr, sc, i / sc, i % sc);
        same_bytes(t->kernel, have + at * unit, (const uint8_t *)want.scale + i * unit, unit);
    }
    printf("%s %lld x %lld: %lld bytes\n", t->kernel, (long long)rows, (long long)cols,
           (long long)(data_bytes + scale_bytes));
    free(have);
    free_host(&want);
    fp4_tensor_free(&q);
    fp4_tensor_free(&s);
    free_operand(&x);
}

// The numbers of x with rows and columns exchanged, for the host alone.
static operand turn(const operand *x) {
    operand t = {.rows = x->cols, .cols = x->rows};
    t.values = malloc((size_t)(x->rows * x->cols + 1) * sizeof *t.values);
    NEED(t.values);
    for (int64_t i = 0; i < x->rows * x->cols; i++) {
        t.values[i % x->cols * x->rows + i / x->cols] = x->values[i];
    }
    return t;
}

// Kernels whose result is one scaled tensor; those of channels give it turned around.
static void try_scaled(const char *kernel, const char *format, float global, int64_t rows, int64_t cols) {
    bool turned = strstr(kernel, "_channel") != NULL;
    operand x = turned ? new_operand(cols, rows) : new_operand(rows, cols);
    operand seen = turned ? turn(&x) : x;
    fp4_tensor y;
    fp4_storage st = {.size = sizeof st};
    int64_t dims[] = {rows, cols};
    NEED(fp4_tensor_new(ctx, format, 2, dims, &y) == FP4_OK);
    NEED(fp4_storage_of(&y.format, 2, dims, 0, &st) == FP4_OK);
    fp4_arg args[3] = {fp4_arg_tensor(&x.tensor), fp4_arg_f32(global), fp4_arg_tensor(&y)};
    if (global == 0) {
        args[1] = args[2];
    }
    launch(kernel, args, global == 0 ? 2 : 3);
    fp4_quantize_options options = {.size = sizeof options, .global_scale = global, .arith = FP4_ARITH_KERNEL};
    fp4_host want = reference(format, FP4_SF_128X4, &seen, &options);
    uint8_t *data = malloc((size_t)st.data_bytes + 1);
    uint8_t *scale = malloc((size_t)st.scale_bytes + 1);
    NEED(data && scale && fp4_tensor_read(ctx, &y, data, scale, NULL) == FP4_OK);
    same_bytes(kernel, data, want.data, st.data_bytes);
    same_bytes(kernel, scale, want.scale, st.scale_bytes);
    printf("%s %lld x %lld: %lld bytes\n", kernel, (long long)rows, (long long)cols,
           (long long)(st.data_bytes + st.scale_bytes));
    free(data);
    free(scale);
    free_host(&want);
    fp4_tensor_free(&y);
    if (turned) {
        free(seen.values);
    }
    free_operand(&x);
}

// A NaN does not count; an infinity takes its granule with it.
static void try_not_finite(void) {
    operand x = new_operand(3, 256);
    x.codes[5] = NAN_CODE;
    x.codes[256 + 130] = INF_CODE;
    NEED(fp4_tensor_write(ctx, &x.tensor, x.codes, NULL, NULL) == FP4_OK);
    int64_t bytes;
    fp4_tensor q = output("e4m3", 3, 256, &bytes);
    fp4_tensor s = output("f32", 3, 2, &bytes);
    const fp4_arg args[] = {fp4_arg_tensor(&x.tensor), fp4_arg_tensor(&q), fp4_arg_tensor(&s)};
    launch("fp8_token", args, 3);
    uint8_t codes[3 * 256];
    float scales[3 * 2];
    NEED(fp4_tensor_read(ctx, &q, codes, NULL, NULL) == FP4_OK);
    NEED(fp4_tensor_read(ctx, &s, scales, NULL, NULL) == FP4_OK);
    float amax = 1e-4f;
    for (int i = 0; i < 128; i++) {
        amax = fmaxf(amax, i == 5 ? 0 : fabsf(x.values[i]));
    }
    NEED(scales[0] == amax / 448 && codes[5] == 0x7f && isinf(scales[3]) && codes[256 + 130] == 0x7f);
    for (int i = 128; i < 256; i++) {
        NEED(i == 130 || (codes[256 + i] & 0x7f) == 0);
    }
    fp4_tensor_free(&q);
    fp4_tensor_free(&s);
    free_operand(&x);
}

static void open_module(const char *path) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    NEED(fp4_open_module(&config, path, &ctx, &module) == FP4_OK);
}

static void try_all(bool fp8) {
    static const int64_t sizes[][2] = {{0, 128}, {1, 32}, {3, 256}, {130, 160}, {257, 384}, {64, 0}, {129, 144}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t t = 0; t < sizeof aparts / sizeof *aparts; t++) {
            if ((strncmp(aparts[t].kernel, "fp8", 3) == 0) == fp8 && (fp8 || sizes[i][1] % 32 == 0)) {
                try_apart(&aparts[t], sizes[i][0], sizes[i][1]);
            }
        }
        if (!fp8 && sizes[i][1] % 32 == 0) {
            try_scaled("nvfp4_quantise", "nvfp4", 0.0078f, sizes[i][0], sizes[i][1]);
            try_scaled("mxfp4_quantise", "mxfp4", 0, sizes[i][0], sizes[i][1]);
            try_scaled("mxfp6_quantise", "e2m3*ue8m0/1x32", 0, sizes[i][0], sizes[i][1]);
            try_scaled("mxfp8_quantise", "mxfp8", 0, sizes[i][0], sizes[i][1]);
            try_scaled("mxfp8_channel", "mxfp8", 0, sizes[i][0], sizes[i][1]);
            try_scaled("nvfp4_channel", "nvfp4", 0.0078f, sizes[i][0], sizes[i][1]);
        }
    }
}

int main(int argc, char **argv) {
    NEED(argc == 3);
    open_module(argv[1]);
    try_all(true);
    try_not_finite();
    fp4_close(ctx);
    open_module(argv[2]);
    try_all(false);
    fp4_stats stats;
    NEED(fp4_get_stats(ctx, &stats) == FP4_OK && stats.device_bytes == 0);
    fp4_close(ctx);
    return 0;
}
