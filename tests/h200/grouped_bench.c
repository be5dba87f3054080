// Grouped FP8 products beside the dense ones of the same rows, in one process: what the walk over groups costs.
//
//   grouped_bench FOLDER     the modules lib_KERNEL.tkm of carry.sh
//
// Four kinds: rows sorted by group, by offsets, with a factor a group; row indices, masked groups and sums over
// groups of k, with f32 scales of blocks. Groups have 0.7 to 1.3 times the rows of the shape (kernels.md 3.2), in
// whole tiles of 128 for row indices and k. The dense side multiplies as many rows by one matrix of weights. A round
// flushes L2 and times one launch of each with events; the figures are medians of 20 rounds, and the 10th and 90th
// percentile of the grouped ones.
#include "fp4rt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 20, FLUSH = 256 << 20, NOISE = 1 << 22, MASKED_ROWS = 4096, GROUPS = 256, ALIGN = 128 };

typedef enum { OFFSETS, ROWS, MASKED, FEW, SUMS, KINDS } kind;

static const struct {
    const char *name, *grouped, *dense;
} kinds[KINDS] = {
    [OFFSETS] = {"offsets", "e4m3_grouped", "e4m3_gemm"},
    [ROWS] = {"rows", "fp8_block_indexed", "fp8_block_gemm"},
    [MASKED] = {"masked", "fp8_block_masked", "fp8_block_gemm"},
    [FEW] = {"few", "fp8_block_masked_few", "fp8_block_gemm"}, // masked, about 20 rows of 4096 a group
    [SUMS] = {"k, +=", "fp8_tokens_grouped_wgrad", "fp8_tokens_gemm"},
};

// Of SUMS: 'rows' is what a group has of k, and k is M.
typedef struct {
    kind kind;
    int64_t groups, rows, n, k;
} shape;

typedef struct {
    fp4_kernel *kernel;
    fp4_tensor tensors[5];
    fp4_arg args[5];
    int n_tensors, n;
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

static void fill(uint64_t at, int64_t bytes, const uint32_t *noise) {
    for (int64_t done = 0; done < bytes; done += NOISE) {
        int64_t left = bytes - done;
        check(fp4_copy_to(ctx, at + (uint64_t)done, noise, left < NOISE ? left : NOISE, NULL), "copy");
    }
}

static uint32_t mixed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    return x ^ x >> 16;
}

// Elements of 2^-3 to 2^0 in e4m3, scales of 0.5 to 1.
static void laid_tensor(side *s, const char *format, fp4_sf_layout layout, int rank, const int64_t *dims) {
    static uint32_t elements[NOISE / 4], scales[NOISE / 4];
    static bool made;
    for (uint32_t i = 0; i < NOISE / 4 && !made; i++) {
        elements[i] = (mixed(2 * i) & 0x9F9F9F9F) | 0x20202020;
        scales[i] = 0x3F000000 | mixed(2 * i + 1) >> 9;
    }
    made = true;
    fp4_tensor *t = &s->tensors[s->n_tensors++];
    *t = (fp4_tensor){.size = sizeof *t};
    check(fp4_tensor_init(t, format, rank, dims), "tensor");
    if (layout != FP4_SF_NONE) {
        t->format.layout = layout;
    }
    check(fp4_tensor_alloc(ctx, t), "memory");
    s->args[s->n++] = fp4_arg_tensor(t);
    fp4_storage st = {.size = sizeof st};
    check(fp4_tensor_storage(t, &st), "storage");
    fill(t->data, st.data_bytes, elements);
    if (t->scale) {
        fill(t->scale, st.scale_bytes, scales);
    }
}

static void tensor(side *s, const char *format, int rank, const int64_t *dims) {
    laid_tensor(s, format, FP4_SF_NONE, rank, dims);
}

static void ints(side *s, int64_t n, const int32_t *values) {
    tensor(s, "i32", 1, &n);
    check(fp4_copy_to(ctx, s->tensors[s->n_tensors - 1].data, values, 4 * n, NULL), "copy");
}

#define BLOCK_A "e4m3*f32/1x128"
#define BLOCK_B "e4m3*f32/128x128"

// Where groups begin, from their sizes; returns the end of the last one.
static int64_t firsts(const int32_t *sizes, int64_t groups, int32_t *first) {
    first[0] = 0;
    for (int64_t g = 0; g < groups; g++) {
        first[g + 1] = first[g] + sizes[g];
    }
    return first[groups];
}

static void make_grouped(side *s, const shape *p, const int32_t *sizes) {
    int32_t first[GROUPS + 1];
    int64_t total = firsts(sizes, p->groups, first);
    const char *a = p->kind == OFFSETS ? "e4m3" : BLOCK_A;
    const char *b = p->kind == OFFSETS ? "e4m3" : BLOCK_B;
    if (p->kind == SUMS) {
        laid_tensor(s, BLOCK_A, FP4_SF_MN_MAJOR, 2, (int64_t[]){p->k, total});
        laid_tensor(s, BLOCK_A, FP4_SF_MN_MAJOR, 2, (int64_t[]){p->n, total});
        ints(s, p->groups + 1, first);
        tensor(s, "f32", 3, (int64_t[]){p->groups, p->k, p->n});
        return;
    }
    bool masked = p->kind == MASKED || p->kind == FEW;
    int64_t rows = masked ? MASKED_ROWS : total;
    int64_t x[] = {p->groups, rows, p->k}, y[] = {p->groups, rows, p->n};
    laid_tensor(s, a, p->kind == OFFSETS ? FP4_SF_NONE : FP4_SF_MN_MAJOR, 2 + masked, x + !masked);
    tensor(s, b, 3, (int64_t[]){p->groups, p->n, p->k});
    if (p->kind == ROWS) {
        int32_t *group = malloc(sizeof *group * (size_t)rows);
        for (int64_t g = 0; g < p->groups; g++) {
            for (int32_t i = first[g]; i < first[g + 1]; i++) {
                group[i] = (int32_t)g;
            }
        }
        ints(s, rows, group);
        free(group);
    } else {
        ints(s, p->groups + !masked, masked ? sizes : first);
    }
    if (p->kind == OFFSETS) {
        tensor(s, "f32", 1, (int64_t[]){p->groups});
    }
    tensor(s, "bf16", 2 + masked, y + !masked);
}

static void make_dense(side *s, const shape *p, int64_t total) {
    bool sums = p->kind == SUMS;
    int64_t m = sums ? p->k : total, k = sums ? total : p->k;
    bool laid = p->kind != OFFSETS && !sums; // as fp8_block_gemm takes them
    laid_tensor(s, p->kind == OFFSETS ? "e4m3" : BLOCK_A, laid ? FP4_SF_MN_MAJOR : FP4_SF_NONE, 2,
                (int64_t[]){m, k});
    tensor(s, p->kind == OFFSETS ? "e4m3" : sums ? BLOCK_A : BLOCK_B, 2, (int64_t[]){p->n, k});
    tensor(s, sums ? "f32" : "bf16", 2, (int64_t[]){m, p->n});
    if (p->kind == OFFSETS) {
        s->args[s->n++] = fp4_arg_f32(1);
    }
}

static void begin_round(int round) {
    check(fp4_fill(ctx, flush, (uint8_t)round, FLUSH, NULL), "flush");
    check(fp4_event_record(start, NULL), "event");
}

static void end_round(double *us, int round) {
    check(fp4_event_record(stop, NULL), "event");
    check(fp4_event_wait(stop), "event");
    check(fp4_event_elapsed(start, stop, &us[round < 0 ? 0 : round]), "event");
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *us) {
    qsort(us, ROUNDS, sizeof us[0], by_time);
    return us[ROUNDS / 2];
}

static void free_side(side *s) {
    for (int i = 0; i < s->n_tensors; i++) {
        fp4_tensor_free(&s->tensors[i]);
    }
}

// What must be moved: operands with their scales, results once (twice where they are added to).
static double bytes_of(const shape *p, int64_t total) {
    double a = (double)total * (double)p->k, b = (double)total * (double)p->n;
    double w = (double)p->groups * (double)p->n * (double)p->k;
    double scaled = p->kind == OFFSETS ? 0 : 1 / 32.0;
    return p->kind == SUMS ? (a + b) * (1 + scaled) + 8 * w : a * (1 + scaled) + w + 2 * b;
}

static void sizes_of(const shape *p, int32_t *sizes) {
    uint32_t state = 1;
    int align = p->kind == ROWS || p->kind == SUMS ? ALIGN : 1;
    for (int64_t g = 0; g < p->groups; g++) {
        state = state * 1664525u + 1013904223u;
        int32_t n = (int32_t)((double)p->rows * (0.7 + 0.6 * (state >> 8) / 16777216.0));
        sizes[g] = (n + align - 1) / align * align;
    }
}

static void run(fp4_kernel *grouped, fp4_kernel *dense, const shape *p) {
    side g = {.kernel = grouped}, d = {.kernel = dense};
    int32_t sizes[GROUPS], first[GROUPS + 1];
    sizes_of(p, sizes);
    int64_t total = firsts(sizes, p->groups, first);
    make_grouped(&g, p, sizes);
    make_dense(&d, p, total);
    for (int i = -3; i < ROUNDS; i++) {
        begin_round(i);
        check(fp4_launch(g.kernel, g.args, g.n, NULL), "launch");
        end_round(g.us, i);
        begin_round(i);
        check(fp4_launch(d.kernel, d.args, d.n, NULL), "launch");
        end_round(d.us, i);
    }
    double ours = median(g.us), theirs = median(d.us);
    double flops = 2.0 * (double)total * (double)p->n * (double)p->k;
    printf("%-7s %6lld %6lld %6lld %6lld  %9.1f %8.1f %8.1f %7.0f %6.2f  %9.1f %7.0f  %5.2f\n", kinds[p->kind].name,
           (long long)p->groups, (long long)total, (long long)p->n, (long long)p->k, ours, g.us[ROUNDS / 10],
           g.us[ROUNDS - ROUNDS / 10 - 1], flops / ours * 1e-6, bytes_of(p, total) / ours * 1e-6, theirs,
           flops / theirs * 1e-6, theirs / ours);
    fflush(stdout);
    free_side(&g);
    free_side(&d);
}

static fp4_kernel *load(const char *folder, const char *name) {
    char path[1024];
    fp4_module *module;
    fp4_kernel *kernel;
    snprintf(path, sizeof path, "%s/lib_%s.tkm", folder, name);
    check(fp4_module_load_file(ctx, path, &module), path);
    check(fp4_module_kernel(module, NULL, "sm_90a", &kernel), path);
    return kernel;
}

static const shape shapes[] = {
    {OFFSETS, 4, 8192, 6144, 7168}, {OFFSETS, 4, 8192, 7168, 3072}, {OFFSETS, 4, 8192, 4096, 4096},
    {OFFSETS, 4, 8192, 4096, 2048}, {OFFSETS, 8, 4096, 6144, 7168}, {OFFSETS, 8, 4096, 7168, 3072},
    {OFFSETS, 8, 4096, 4096, 4096}, {OFFSETS, 8, 4096, 4096, 2048}, {OFFSETS, 32, 192, 4096, 4096},
    {OFFSETS, 256, 8, 4096, 7168},  {OFFSETS, 256, 32, 4096, 7168}, {OFFSETS, 256, 128, 4096, 7168},
    {ROWS, 4, 8192, 6144, 7168},    {ROWS, 4, 8192, 7168, 3072},    {ROWS, 4, 8192, 4096, 4096},
    {ROWS, 4, 8192, 4096, 2048},    {ROWS, 8, 4096, 6144, 7168},    {ROWS, 8, 4096, 7168, 3072},
    {ROWS, 8, 4096, 4096, 4096},    {ROWS, 8, 4096, 4096, 2048},    {MASKED, 32, 192, 6144, 7168},
    {MASKED, 32, 192, 7168, 3072},  {MASKED, 32, 192, 4096, 4096},  {MASKED, 32, 192, 4096, 2048},
    {MASKED, 6, 1024, 6144, 7168},  {MASKED, 6, 1024, 7168, 3072},  {MASKED, 6, 1024, 4096, 4096},
    {MASKED, 6, 1024, 4096, 2048},  {FEW, 32, 20, 6144, 7168},   {FEW, 32, 20, 7168, 3072},
    {FEW, 32, 20, 4096, 4096},   {FEW, 32, 20, 4096, 2048},   {FEW, 6, 20, 6144, 7168},
    {FEW, 6, 20, 7168, 3072},    {FEW, 6, 20, 4096, 4096},    {FEW, 6, 20, 4096, 2048},
    {SUMS, 4, 8192, 7168, 4096},    {SUMS, 4, 8192, 2048, 7168},    {SUMS, 8, 4096, 7168, 4096},
    {SUMS, 8, 4096, 2048, 7168},    {SUMS, 16, 2048, 7168, 4096},   {SUMS, 16, 2048, 2048, 7168},
};

static void open_device(void) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "cuda:0";
    check(fp4_open(&config, &ctx), "cuda:0");
    check(fp4_alloc(ctx, FLUSH, &flush), "memory");
    check(fp4_event_new(ctx, &start), "event");
    check(fp4_event_new(ctx, &stop), "event");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: grouped_bench FOLDER\n");
        return 1;
    }
    open_device();
    fp4_kernel *grouped[KINDS], *dense[KINDS];
    for (int i = 0; i < KINDS; i++) {
        grouped[i] = load(argv[1], kinds[i].grouped);
        dense[i] = load(argv[1], kinds[i].dense);
    }
    printf("# rows: all groups' together, of 'k, +=' those of k, and M stands under K\n");
    printf("kind    groups   rows      N      K         us      p10      p90  TFLOP/s   TB/s   dense us TFLOP/s  dense / grouped\n");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        run(grouped[shapes[i].kind], dense[shapes[i].kind], &shapes[i]);
    }
    fp4_close(ctx);
    return 0;
}
