// A step of k may reach behind the last granule: scales that stand there belong to other rows or
// matrices and must not count, whatever they are. scales_test MODULE KERNEL: FP8 with f32 scales,
// whose second operand has NaN scales in rows 128 to 255 of its matrices; exactly the columns of
// those are NaN.
#include "fp4rt.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// K has three granules: an odd number, of steps of two.
enum { ROWS = 200, COLS = 200, K = 384, GRANULE = 128, EXPERTS = 2, BAD = 1 };

static fp4_ctx *ctx;

static void need(fp4_status s, const char *what) {
    if (s != FP4_OK) {
        fprintf(stderr, "scales_test: %s: %s\n", what, fp4_last_error());
        exit(1);
    }
}

static uint32_t noise(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

// Elements are powers of two from 2^-6 to 1, scales from 0.5 to 1; of blocks, those of row BAD are NaN.
static void fill(const fp4_tensor *t, const fp4_storage *s) {
    uint8_t *data = malloc((size_t)s->data_bytes);
    float *scale = malloc((size_t)s->scale_bytes);
    for (int64_t i = 0; i < s->data_bytes; i++) {
        data[i] = (uint8_t)((noise() % 7 + 1) << 3 | (noise() & 1) << 7);
    }
    bool blocks = t->format.granule_rows > 1;
    for (int64_t i = 0; i < s->scale_bytes / 4; i++) {
        bool bad = blocks && i / s->scale_cols % s->scale_rows == BAD;
        scale[i] = bad ? NAN : 0.5f + (float)(noise() % 1024) / 2048;
    }
    need(fp4_copy_to(ctx, t->data, data, s->data_bytes, NULL), "copy");
    if (s->scale_bytes > 0) {
        need(fp4_copy_to(ctx, t->scale, scale, s->scale_bytes, NULL), "copy");
    }
    free(data);
    free(scale);
}

static fp4_tensor operand(const fp4_format *format, int rank, const int64_t *dims) {
    fp4_tensor t = {.size = sizeof t};
    fp4_storage s = {.size = sizeof s};
    need(fp4_tensor_init(&t, "e4m3*f32/1x128", rank, dims), "tensor");
    t.format = *format;
    need(fp4_tensor_alloc(ctx, &t), "memory");
    need(fp4_tensor_storage(&t, &s), "storage");
    fill(&t, &s);
    return t;
}

static fp4_tensor plain(const char *format, int rank, const int64_t *dims) {
    fp4_tensor t = {.size = sizeof t};
    need(fp4_tensor_init(&t, format, rank, dims), "tensor");
    need(fp4_tensor_alloc(ctx, &t), "memory");
    return t;
}

static fp4_format format_of(const fp4_kernel *kernel, int param) {
    fp4_param_info info = {.size = sizeof info};
    need(fp4_kernel_param(kernel, param, &info), "parameter");
    return info.format;
}

static int wrong_columns(const fp4_tensor *d) {
    static uint16_t results[ROWS * COLS];
    int wrong = 0;
    need(fp4_copy_from(ctx, results, d->data, sizeof results, NULL), "copy");
    for (int i = 0; i < ROWS * COLS; i++) {
        bool is_nan = (results[i] & 0x7FFF) > 0x7F80;
        bool should = i % COLS / GRANULE == BAD;
        wrong += is_nan != should;
    }
    return wrong;
}

// Scales in another layout are refused, with what would turn them.
static bool takes_other_layout(fp4_kernel *kernel, const fp4_arg *args, int n, fp4_tensor *x) {
    fp4_sf_layout layout = x->format.layout;
    x->format.layout = layout == FP4_SF_LINEAR ? FP4_SF_MN_MAJOR : FP4_SF_LINEAR;
    bool refused = fp4_launch(kernel, args, n, NULL) != FP4_OK && strstr(fp4_last_error(), "fp4_host_repack");
    x->format.layout = layout;
    return !refused;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: scales_test MODULE KERNEL\n");
        return 1;
    }
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    fp4_module *module;
    fp4_kernel *kernel;
    need(fp4_open(&config, &ctx), "simulator");
    need(fp4_module_load_file(ctx, argv[1], &module), argv[1]);
    need(fp4_module_kernel(module, argv[2], "sm_90a", &kernel), argv[2]);
    bool grouped = strcmp(argv[2], "runs") == 0;
    fp4_format a = format_of(kernel, 0), b = format_of(kernel, 1);
    fp4_tensor tensors[4];
    int n = 0;
    tensors[n++] = operand(&a, 2, (int64_t[]){ROWS, K});
    tensors[n++] = operand(&b, 2 + grouped, (int64_t[]){grouped ? EXPERTS : COLS, grouped ? COLS : K, K});
    if (grouped) {
        int32_t first[EXPERTS + 1] = {0, 77, ROWS};
        tensors[n++] = plain("i32", 1, (int64_t[]){EXPERTS + 1});
        need(fp4_copy_to(ctx, tensors[n - 1].data, first, sizeof first, NULL), "copy");
    }
    tensors[n++] = plain("bf16", 2, (int64_t[]){ROWS, COLS});
    fp4_arg args[4];
    for (int i = 0; i < n; i++) {
        args[i] = fp4_arg_tensor(&tensors[i]);
    }
    if (takes_other_layout(kernel, args, n, &tensors[0])) {
        fprintf(stderr, "scales_test: scales in another layout: %s\n", fp4_last_error());
        return 1;
    }
    need(fp4_launch(kernel, args, n, NULL), "launch");
    need(fp4_sync(ctx, NULL), "run");
    int wrong = wrong_columns(&tensors[n - 1]);
    printf("%s: %d of %d results are NaN, or none, in the wrong place\n", argv[2], wrong, ROWS * COLS);
    for (int i = 0; i < n; i++) {
        fp4_tensor_free(&tensors[i]);
    }
    fp4_close(ctx);
    return wrong != 0;
}
