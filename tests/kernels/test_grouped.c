// Grouped kernels against sums in double precision, written from what the kernels promise: which rows belong to
// which group, which results there are and which bytes stay as they were.
//
//   grouped_test module.tkm KERNEL FORMAT rows|zeros|ends|sums
//
// rows: KERNEL(X[T, K], W[E, N, K], group[T], alpha[E], Y[T, N]), row t belongs to group[t], experts begin at
//       multiples of 128 rows, -1 is padding: also in front, behind an expert's rows, and whole tiles of it.
// zeros: KERNEL(X[T, K], W[E, N, K], group[T], Y[T, N]), the same, but tiles of padding become 0.
// ends: KERNEL(X[T, K], W[E, N, K], ends[E], alpha[E], Y[T, N]), experts begin at multiples of 128 behind the
//       end of the one before.
// sums: KERNEL(A[K, M], B[K, N], first[G + 1], D[G, M, N]), D[g] += A_g^T B_g over rows first[g] .. first[g + 1]; rows of
//       one group are NaN, which the others must not notice; of none, D keeps its bits.
#include "fp4rt.h"
#include "need.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 128, POISON = 0x7f, ROUNDS = 6 };

static fp4_ctx *ctx;

typedef struct {
    fp4_tensor tensor;
    double *values;
} matrix;

static int64_t count(int rank, const int64_t *dims) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) {
        n *= dims[i];
    }
    return n;
}

static matrix random_matrix(const char *format, int rank, const int64_t *dims) {
    matrix m;
    int64_t n = count(rank, dims);
    float *x = malloc(sizeof *x * (size_t)(n + 1));
    m.values = malloc(sizeof *m.values * (size_t)(n + 1));
    NEED(x && m.values);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(exp2((double)(i / dims[rank - 1] * 7 % 5)) * (rand() % 2001 - 1000) / 1000);
    }
    NEED(fp4_tensor_quantize(ctx, format, rank, dims, x, &m.tensor) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &m.tensor, m.values) == FP4_OK);
    free(x);
    return m;
}

static void free_matrix(matrix *m) {
    fp4_tensor_free(&m->tensor);
    free(m->values);
}

static fp4_tensor table(const char *format, int64_t n, const void *entries) {
    fp4_tensor t;
    NEED(fp4_tensor_new(ctx, format, 1, &n, &t) == FP4_OK);
    NEED(fp4_tensor_write(ctx, &t, entries, NULL, NULL) == FP4_OK);
    return t;
}

// owner[t]: the expert of row t, or -1.
typedef struct {
    int64_t rows, groups, n_entries;
    int32_t *owner, *entries;
} layout;

static layout lay_out(bool by_rows, int64_t groups) {
    enum { MOST = 8 * 3 * ALIGN + 300 }; // a tile of padding, at most two of rows; room behind
    layout l = {.groups = groups};
    l.owner = malloc(sizeof *l.owner * MOST);
    l.entries = malloc(sizeof *l.entries * MOST);
    NEED(l.owner && l.entries && groups <= 8);
    memset(l.owner, -1, sizeof *l.owner * MOST);
    int64_t at = 0, end = 0;
    for (int64_t e = 0; e < groups; e++) {
        int64_t n = rand() % 4 == 0 ? 0 : rand() % 3 == 0 ? ALIGN : 1 + rand() % 200;
        at += by_rows && rand() % 4 == 0 ? ALIGN : 0; // a tile of padding
        for (int64_t t = at; t < at + n; t++) {
            l.owner[t] = (int32_t)e;
        }
        end = n > 0 ? at + n : end;
        l.entries[e] = (int32_t)end;
        at += (n + ALIGN - 1) / ALIGN * ALIGN;
    }
    l.rows = end + rand() % 2 * (rand() % 300); // without room behind the last rows, or with some
    l.n_entries = by_rows ? l.rows : groups;
    if (by_rows) {
        memcpy(l.entries, l.owner, sizeof *l.owner * (size_t)l.rows);
    }
    return l;
}

static void compare(const layout *l, const matrix *x, const matrix *w, const float *alpha, const double *y,
                    int64_t n, int64_t k, double padding_is) {
    for (int64_t t = 0; t < l->rows; t++) {
        int64_t first = t / ALIGN * ALIGN;
        bool padding = l->owner[t] < 0;
        for (int64_t j = 0; j < n; j++) {
            double got = y[t * n + j], want = 0, size = 0;
            if (padding && l->owner[first] < 0) {
                NEED(got == padding_is);
            }
            if (padding) {
                continue; // behind an expert's rows: anything
            }
            for (int64_t i = 0; i < k; i++) {
                double p = x->values[t * k + i] * w->values[(l->owner[t] * n + j) * k + i];
                want += p;
                size += fabs(p);
            }
            want *= alpha[l->owner[t]];
            size *= alpha[l->owner[t]];
            NEED(fabs(got - want) <= fabs(want) * 0x1p-8 + size * 0x1p-13);
        }
    }
}

static void round_of(fp4_kernel *kernel, const char *format, bool by_rows, bool zeros) {
    layout l = lay_out(by_rows, 1 + rand() % 8);
    int64_t n = 8 * (1 + rand() % 24), k = 32 * (rand() % 9);
    matrix x = random_matrix(format, 2, (int64_t[]){l.rows, k});
    matrix w = random_matrix(format, 3, (int64_t[]){l.groups, n, k});
    float alpha[8], given[8]; // the kernel knows nothing of the tensors' own factors
    for (int e = 0; e < 8; e++) {
        alpha[e] = zeros ? 1 : (float)(1 + rand() % 31) / 8;
        given[e] = alpha[e] * x.tensor.global * w.tensor.global;
    }
    fp4_tensor entries = table("i32", l.n_entries, l.entries), factors = table("f32", l.groups, given), y;
    NEED(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){l.rows, n}, &y) == FP4_OK);
    NEED(fp4_fill(ctx, y.data, POISON, l.rows * n * 2, NULL) == FP4_OK);
    fp4_arg args[5] = {fp4_arg_tensor(&x.tensor), fp4_arg_tensor(&w.tensor), fp4_arg_tensor(&entries),
                       fp4_arg_tensor(&factors), fp4_arg_tensor(&y)};
    args[3] = zeros ? args[4] : args[3];
    NEED(fp4_launch(kernel, args, zeros ? 4 : 5, NULL) == FP4_OK);
    double *got = malloc(sizeof *got * (size_t)(l.rows * n + 1));
    NEED(got && fp4_tensor_values(ctx, &y, got) == FP4_OK);
    compare(&l, &x, &w, alpha, got, n, k, zeros ? 0 : ldexp(255, 120)); // 0x7f7f
    free(got);
    free_matrix(&x);
    free_matrix(&w);
    fp4_tensor_free(&entries);
    fp4_tensor_free(&factors);
    fp4_tensor_free(&y);
    free(l.owner);
    free(l.entries);
}

// --- sums ------------------------------------------------------------------------------------------

static matrix rows_of_groups(int64_t rows, int64_t cols, const int32_t *first, int bad) {
    matrix m;
    int64_t dims[] = {rows, cols}, n = rows * cols;
    float *x = malloc(sizeof *x * (size_t)(n + 1));
    m.values = malloc(sizeof *m.values * (size_t)(n + 1));
    NEED(x && m.values);
    for (int64_t i = 0; i < n; i++) {
        bool is_bad = i / cols >= first[bad] && i / cols < first[bad + 1];
        x[i] = is_bad ? NAN : (float)(rand() % 2001 - 1000) / 256;
    }
    NEED(fp4_tensor_quantize(ctx, "bf16", 2, dims, x, &m.tensor) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &m.tensor, m.values) == FP4_OK);
    free(x);
    return m;
}

static void compare_sums(const matrix *a, const matrix *b, const int32_t *first, int g, const int64_t size[2],
                         const float *before, const float *after) {
    for (int64_t i = 0; i < size[0] * size[1]; i++) {
        double want = before[i], sum = 0;
        for (int64_t k = first[g]; k < first[g + 1]; k++) {
            double p = a->values[k * size[0] + i / size[1]] * b->values[k * size[1] + i % size[1]];
            want += p;
            sum += fabs(p);
        }
        if (first[g] == first[g + 1]) {
            NEED(memcmp(&before[i], &after[i], sizeof *after) == 0);
        } else if (isnan(want)) {
            NEED(isnan(after[i]));
        } else {
            NEED(fabs(after[i] - want) <= fabs(want) * 0x1p-20 + sum * 0x1p-16);
        }
    }
}

static void round_of_sums(fp4_kernel *kernel) {
    enum { GROUPS = 5 };
    static const int sizes[] = {0, 0, 1, 63, 64, 65, 130};
    int32_t first[GROUPS + 1] = {0};
    for (int g = 0; g < GROUPS; g++) {
        first[g + 1] = first[g] + sizes[rand() % 7];
    }
    int64_t size[2] = {8 * (1 + rand() % 20), 8 * (1 + rand() % 20)}, n = size[0] * size[1];
    int bad = rand() % GROUPS;
    matrix a = rows_of_groups(first[GROUPS], size[0], first, bad);
    matrix b = rows_of_groups(first[GROUPS], size[1], first, bad);
    float *before = malloc(sizeof *before * (size_t)(GROUPS * n));
    float *after = malloc(sizeof *after * (size_t)(GROUPS * n));
    NEED(before && after);
    for (int64_t i = 0; i < GROUPS * n; i++) {
        before[i] = (float)(1 + rand() % 1000) / 64;
    }
    fp4_tensor offsets = table("i32", GROUPS + 1, first), d;
    NEED(fp4_tensor_new(ctx, "f32", 3, (int64_t[]){GROUPS, size[0], size[1]}, &d) == FP4_OK);
    NEED(fp4_tensor_write(ctx, &d, before, NULL, NULL) == FP4_OK);
    const fp4_arg args[] = {fp4_arg_tensor(&a.tensor), fp4_arg_tensor(&b.tensor), fp4_arg_tensor(&offsets),
                            fp4_arg_tensor(&d)};
    NEED(fp4_launch(kernel, args, 4, NULL) == FP4_OK);
    NEED(fp4_tensor_read(ctx, &d, after, NULL, NULL) == FP4_OK);
    for (int g = 0; g < GROUPS; g++) {
        compare_sums(&a, &b, first, g, size, before + g * n, after + g * n);
    }
    free_matrix(&a);
    free_matrix(&b);
    free(before);
    free(after);
    fp4_tensor_free(&offsets);
    fp4_tensor_free(&d);
}

int main(int argc, char **argv) {
    NEED(argc == 5);
    fp4_config config = FP4_CONFIG_INIT;
    fp4_module *module;
    fp4_kernel *kernel;
    config.device = "sim";
    NEED(fp4_open_module(&config, argv[1], &ctx, &module) == FP4_OK);
    NEED(fp4_module_kernel(module, argv[2], NULL, &kernel) == FP4_OK);
    for (int i = 0; i < ROUNDS; i++) {
        if (strcmp(argv[4], "sums") == 0) {
            round_of_sums(kernel);
        } else {
            bool zeros = strcmp(argv[4], "zeros") == 0;
            round_of(kernel, argv[3], zeros || strcmp(argv[4], "rows") == 0, zeros);
        }
    }
    fp4_close(ctx);
    return 0;
}
