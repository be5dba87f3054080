// Grouped FP8 products beside the dense one of the same rows, in one process: what the walk over groups
// costs.
//
//   grouped_bench GROUPED.tkm DENSE.tkm     kernels (X, W, first, alpha, Y) and (A, B, D, alpha)
//
// Groups have 0.7 to 1.3 times the rows of the shape (kernels.md 3.2). The dense side multiplies as many
// rows by one matrix of weights. A round flushes L2 and times one launch of each with events; the figures
// are medians of 20 rounds.
#include "fp4rt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 20, FLUSH = 256 << 20, NOISE = 1 << 22 };

typedef struct {
    int64_t groups, rows, n, k;
} shape;

typedef struct {
    fp4_kernel *kernel;
    fp4_tensor tensors[5];
    fp4_arg args[5];
    int n;
    double us[ROUNDS];
} side;

static fp4_ctx *ctx;
static uint64_t flush;
static fp4_event *start, *stop;

static void check(fp4_status s, const char *what) {
    if (s != FP4_OK) {
        fprintf(stderr, "grouped_bench: %s: %s\n", what, fp4_last_error());
        exit(1);
    }
}

static void tensor(side *s, const char *format, int rank, const int64_t *dims) {
    fp4_tensor *t = &s->tensors[s->n];
    *t = (fp4_tensor){.size = sizeof *t};
    check(fp4_tensor_init(t, format, rank, dims), "tensor");
    check(fp4_tensor_alloc(ctx, t), "memory");
    s->args[s->n++] = fp4_arg_tensor(t);
    fp4_storage st = {.size = sizeof st};
    check(fp4_tensor_storage(t, &st), "storage");
    static uint32_t noise[NOISE / 4];
    for (size_t i = 0; i < NOISE / 4; i++) { // e4m3 of 2^-3 to 2^0
        noise[i] = ((uint32_t)(i * 2654435761u) & 0x9F9F9F9F) | 0x20202020;
    }
    for (int64_t at = 0; at < st.data_bytes; at += NOISE) {
        int64_t left = st.data_bytes - at;
        check(fp4_copy_to(ctx, t->data + (uint64_t)at, noise, left < NOISE ? left : NOISE, NULL), "copy");
    }
}

static int64_t make_grouped(side *s, const shape *p) {
    int32_t *first = malloc(sizeof *first * (size_t)(p->groups + 1));
    float *alpha = malloc(sizeof *alpha * (size_t)p->groups);
    uint32_t state = 1;
    first[0] = 0;
    for (int64_t g = 0; g < p->groups; g++) {
        state = state * 1664525u + 1013904223u;
        first[g + 1] = first[g] + (int32_t)((double)p->rows * (0.7 + 0.6 * (state >> 8) / 16777216.0));
        alpha[g] = 1;
    }
    int64_t rows = first[p->groups];
    tensor(s, "e4m3", 2, (int64_t[]){rows, p->k});
    tensor(s, "e4m3", 3, (int64_t[]){p->groups, p->n, p->k});
    tensor(s, "i32", 1, (int64_t[]){p->groups + 1});
    tensor(s, "f32", 1, (int64_t[]){p->groups});
    tensor(s, "bf16", 2, (int64_t[]){rows, p->n});
    check(fp4_tensor_write(ctx, &s->tensors[2], first, NULL, NULL), "offsets");
    check(fp4_tensor_write(ctx, &s->tensors[3], alpha, NULL, NULL), "factors");
    free(first);
    free(alpha);
    return rows;
}

static void make_dense(side *s, const shape *p, int64_t rows) {
    tensor(s, "e4m3", 2, (int64_t[]){rows, p->k});
    tensor(s, "e4m3", 2, (int64_t[]){p->n, p->k});
    tensor(s, "bf16", 2, (int64_t[]){rows, p->n});
    s->args[s->n++] = fp4_arg_f32(1);
}

static void one_round(side *s, int round) {
    check(fp4_fill(ctx, flush, (uint8_t)round, FLUSH, NULL), "flush");
    check(fp4_event_record(start, NULL), "event");
    check(fp4_launch(s->kernel, s->args, s->n, NULL), "launch");
    check(fp4_event_record(stop, NULL), "event");
    check(fp4_event_wait(stop), "event");
    double us;
    check(fp4_event_elapsed(start, stop, &us), "event");
    s->us[round < 0 ? 0 : round] = us;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(side *s) {
    qsort(s->us, ROUNDS, sizeof s->us[0], by_time);
    return s->us[ROUNDS / 2];
}

static void free_side(side *s) {
    for (int i = 0; i < 5; i++) {
        if (s->tensors[i].data) {
            fp4_tensor_free(&s->tensors[i]);
        }
    }
}

static void run(fp4_module *grouped, fp4_module *dense, const shape *p) {
    side g = {0}, d = {0};
    check(fp4_module_kernel(grouped, NULL, "sm_90a", &g.kernel), "kernel");
    check(fp4_module_kernel(dense, NULL, "sm_90a", &d.kernel), "kernel");
    int64_t rows = make_grouped(&g, p);
    make_dense(&d, p, rows);
    for (int i = -3; i < ROUNDS; i++) {
        one_round(&g, i);
        one_round(&d, i);
    }
    double ours = median(&g), theirs = median(&d);
    double flops = 2.0 * (double)rows * (double)p->n * (double)p->k;
    double bytes = (double)(rows * p->k + p->groups * p->n * p->k + 2 * rows * p->n);
    printf("%6lld %6lld %6lld %6lld  %9.1f %7.0f %6.2f  %9.1f %7.0f  %5.2f\n", (long long)p->groups,
           (long long)p->rows, (long long)p->n, (long long)p->k, ours, flops / ours * 1e-6, bytes / ours * 1e-6,
           theirs, flops / theirs * 1e-6, theirs / ours);
    fflush(stdout);
    free_side(&g);
    free_side(&d);
}

int main(int argc, char **argv) {
    static const shape shapes[] = {
        {4, 8192, 6144, 7168}, {4, 8192, 7168, 3072}, {4, 8192, 4096, 4096}, {4, 8192, 4096, 2048},
        {8, 4096, 6144, 7168}, {8, 4096, 7168, 3072}, {8, 4096, 4096, 4096}, {8, 4096, 4096, 2048},
        {32, 192, 4096, 4096}, {256, 8, 4096, 7168},  {256, 32, 4096, 7168}, {256, 128, 4096, 7168},
    };
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "cuda:0";
    fp4_module *grouped, *dense;
    if (argc != 3) {
        fprintf(stderr, "usage: grouped_bench GROUPED.tkm DENSE.tkm\n");
        return 1;
    }
    check(fp4_open(&config, &ctx), "cuda:0");
    check(fp4_module_load_file(ctx, argv[1], &grouped), argv[1]);
    check(fp4_module_load_file(ctx, argv[2], &dense), argv[2]);
    check(fp4_alloc(ctx, FLUSH, &flush), "memory");
    check(fp4_event_new(ctx, &start), "event");
    check(fp4_event_new(ctx, &stop), "event");
    printf("groups   rows      N      K  grouped us TFLOP/s   TB/s   dense us TFLOP/s  dense / grouped\n");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run(grouped, dense, &shapes[i]);
    }
    fp4_close(ctx);
    return 0;
}
