// A chain of small products, back to back on one stream: what programmatic dependent launch and hints to the L2
// cache are worth.
//
//   chain_bench MODULE.tkm ...     kernels (X, W, D) or (X, W, D, alpha) in bf16, all of the same numbers
//
// LAYERS launches in a row, each reading what the one before wrote; the weights are as many matrices (cold: more than
// L2 holds) or two (warm). A fill before gives the host time to enqueue them all. Medians of ROUNDS, the modules by
// turns; the last result is compared bit for bit with the first module's.
#include "fp4rt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 21, LAYERS = 48, MAX_MODULES = 16, FILL = 1 << 30, NOISE = 1 << 20 };

typedef struct {
    const char *name;
    fp4_module *module;
    fp4_kernel *kernel;
    int n_args;
    double us[ROUNDS];
} side;

static fp4_ctx *ctx;
static uint64_t fill;
static fp4_event *start, *stop;
static side sides[MAX_MODULES];
static int n_sides;

static void check(fp4_status s, const char *what) {
    if (s != FP4_OK) {
        fprintf(stderr, "chain_bench: %s: %s\n", what, fp4_last_error());
        exit(1);
    }
}

// Numbers of 2^-6 to 2^-5 with random signs and fractions: sums stay where they began.
static void make_tensor(fp4_tensor *t, int64_t rows, int64_t cols, uint32_t seed, uint16_t exponent) {
    static uint16_t noise[NOISE / 2];
    check(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){rows, cols}, t), "memory");
    for (size_t i = 0; i < NOISE / 2; i++) {
        seed = seed * 1664525u + 1013904223u;
        noise[i] = (uint16_t)(exponent | (seed >> 16 & 0x807F));
    }
    for (int64_t at = 0, bytes = 2 * rows * cols; at < bytes; at += NOISE) {
        int64_t left = bytes - at;
        check(fp4_copy_to(ctx, t->data + (uint64_t)at, noise, left < NOISE ? left : NOISE, NULL), "copy");
    }
}

static double one_round(const side *s, const fp4_tensor x[2], const fp4_tensor *w, int n_weights) {
    double us;
    check(fp4_fill(ctx, fill, 0, FILL, NULL), "fill");
    check(fp4_event_record(start, NULL), "event");
    for (int i = 0; i < LAYERS; i++) {
        const fp4_arg args[] = {fp4_arg_tensor(&x[i % 2]), fp4_arg_tensor(&w[i % n_weights]),
                                fp4_arg_tensor(&x[(i + 1) % 2]), fp4_arg_f32(1)};
        check(fp4_launch(s->kernel, args, s->n_args, NULL), "launch");
    }
    check(fp4_event_record(stop, NULL), "event");
    check(fp4_event_wait(stop), "event");
    check(fp4_event_elapsed(start, stop, &us), "event");
    return us / LAYERS;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(int64_t m, int64_t k, int n_weights) {
    fp4_tensor x[2], w[LAYERS];
    size_t bytes = (size_t)(2 * m * k);
    char *begin = malloc(bytes), *want = malloc(bytes), *have = malloc(bytes);
    int wrong[MAX_MODULES] = {0};
    make_tensor(&x[0], m, k, 1, 0x3F80);
    make_tensor(&x[1], m, k, 2, 0x3F80);
    for (int i = 0; i < n_weights; i++) {
        make_tensor(&w[i], k, k, (uint32_t)i + 3, 0x3C80);
    }
    check(begin && want && have ? FP4_OK : FP4_ERROR_MEMORY, "memory");
    check(fp4_tensor_read(ctx, &x[0], begin, NULL, NULL), "read");
    for (int round = -2; round < ROUNDS; round++) {
        for (int i = 0; i < n_sides; i++) {
            check(fp4_tensor_write(ctx, &x[0], begin, NULL, NULL), "write");
            sides[i].us[round < 0 ? 0 : round] = one_round(&sides[i], x, w, n_weights);
            check(fp4_tensor_read(ctx, &x[LAYERS % 2], i == 0 ? want : have, NULL, NULL), "read");
            wrong[i] += i > 0 && memcmp(want, have, bytes) != 0;
        }
    }
    for (int i = 0; i < n_sides; i++) {
        qsort(sides[i].us, ROUNDS, sizeof sides[i].us[0], by_time);
        double us = sides[i].us[ROUNDS / 2];
        printf("%5lld %6lld %5s  %-28s %7.2f us a layer (%.2f to %.2f)  %5.2f TB/s  %5.3f  %s\n", (long long)m,
               (long long)k, n_weights > 2 ? "cold" : "warm", sides[i].name, us, sides[i].us[ROUNDS / 10],
               sides[i].us[ROUNDS - 1 - ROUNDS / 10], 2e-6 * (double)(k * k) / us, sides[0].us[ROUNDS / 2] / us,
               wrong[i] ? "OTHER BITS" : "same bits");
    }
    fflush(stdout);
    fp4_tensor_free(&x[0]);
    fp4_tensor_free(&x[1]);
    for (int i = 0; i < n_weights; i++) {
        fp4_tensor_free(&w[i]);
    }
    free(begin);
    free(want);
    free(have);
}

int main(int argc, char **argv) {
    static const int64_t shapes[][2] = {{1, 2048}, {16, 1024}, {16, 2048}, {16, 4096}, {64, 2048}};
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "cuda:0";
    if (argc < 2 || argc > MAX_MODULES + 1) {
        fprintf(stderr, "usage: chain_bench MODULE.tkm ...\n");
        return 2;
    }
    check(fp4_open(&config, &ctx), "cuda:0");
    for (n_sides = 0; n_sides < argc - 1; n_sides++) {
        side *s = &sides[n_sides];
        const char *slash = strrchr(argv[n_sides + 1], '/');
        s->name = slash ? slash + 1 : argv[n_sides + 1];
        check(fp4_module_load_file(ctx, argv[n_sides + 1], &s->module), argv[n_sides + 1]);
        check(fp4_module_kernel(s->module, NULL, "sm_90a", &s->kernel), "kernel");
        fp4_kernel_info info;
        check(fp4_kernel_get_info(s->kernel, &info), "kernel");
        s->n_args = info.n_params;
    }
    check(fp4_alloc(ctx, FILL, &fill), "memory");
    check(fp4_event_new(ctx, &start), "event");
    check(fp4_event_new(ctx, &stop), "event");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run(shapes[i][0], shapes[i][1], LAYERS);
        run(shapes[i][0], shapes[i][1], 2);
    }
    fp4_close(ctx);
    return 0;
}
