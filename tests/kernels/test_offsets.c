// Grouped kernels with offsets that nobody checked: whatever the entries hold, a launch succeeds and
// touches nothing outside its tensors. The simulator faults on any byte that is not allocated, and
// allocations are exact.
//
//   offsets_test module.tkm KERNEL FORMAT offsets|ends|rows|zeros|sums
//
// KERNEL(X : FORMAT[T, K], W : FORMAT[E, N, K], entries, alpha[E], Y[T, N]): entries are E + 1 offsets, E ends or
// an expert a row; zeros: the same without alpha; sums: KERNEL(A : FORMAT[K, M], B : FORMAT[K, N], first[E + 1], D[E, M, N])
#include "fp4rt.h"
#include "need.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 24, MAX_GROUPS = 4, MAX_ROWS = 200 };

static fp4_ctx *ctx;

// Ends of the tensor, of the type, and anything.
static int32_t draw(int32_t rows) {
    switch (rand() % 7) {
    case 0:
        return INT32_MIN;
    case 1:
        return INT32_MAX;
    case 2:
        return -1 - rand() % 200;
    case 3:
        return rows + rand() % 200;
    case 4:
        return (int32_t)((uint32_t)rand() * 2654435761u);
    default:
        return rand() % (rows + 1);
    }
}

static fp4_tensor tensor(const char *format, int rank, const int64_t *dims) {
    fp4_tensor t;
    NEED(fp4_tensor_new(ctx, format, rank, dims, &t) == FP4_OK);
    return t;
}

static void launch(fp4_kernel *kernel, const char *format, const char *kind) {
    int64_t rows = 1 + rand() % MAX_ROWS;
    int64_t groups = 1 + rand() % MAX_GROUPS;
    int64_t n = 8 * (1 + rand() % 20);
    int64_t k = 32 * (1 + rand() % 9);
    fp4_tensor x = tensor(format, 2, (int64_t[]){rows, k});
    fp4_tensor w = tensor(format, 3, (int64_t[]){groups, n, k});
    bool zeros = strcmp(kind, "zeros") == 0, by_rows = zeros || strcmp(kind, "rows") == 0;
    bool packed = strcmp(kind, "offsets") == 0; // groups begin anywhere, their scales in tiles of their own
    int64_t n_entries = by_rows ? rows : packed ? groups + 1 : groups;
    fp4_tensor first = tensor("i32", 1, &n_entries);
    fp4_tensor alpha = tensor("f32", 1, (int64_t[]){groups});
    fp4_tensor y = tensor("bf16", 2, (int64_t[]){rows, n});
    uint64_t ragged = 0; // scales of x
    int32_t at[MAX_ROWS];
    for (int64_t i = 0; i < n_entries; i++) {
        at[i] = draw(by_rows ? (int32_t)groups : (int32_t)rows);
    }
    NEED(fp4_tensor_write(ctx, &first, at, NULL, NULL) == FP4_OK);
    fp4_tensor seen = x;
    if (x.scale != 0 && packed) {
        int64_t bytes = fp4_ragged_scale_bytes(&x.format, rows, k, groups);
        NEED(fp4_alloc(ctx, bytes, &ragged) == FP4_OK);
        NEED(fp4_fill(ctx, ragged, 0, bytes, NULL) == FP4_OK);
        seen.scale = ragged;
    }
    fp4_arg args[5] = {fp4_arg_tensor(&seen), fp4_arg_tensor(&w), fp4_arg_tensor(&first), fp4_arg_tensor(&alpha),
                       fp4_arg_tensor(&y)};
    args[3] = zeros ? args[4] : args[3];
    NEED(fp4_launch(kernel, args, zeros ? 4 : 5, NULL) == FP4_OK);
    int32_t after[MAX_ROWS];
    NEED(fp4_tensor_read(ctx, &first, after, NULL, NULL) == FP4_OK);
    NEED(memcmp(at, after, (size_t)n_entries * sizeof *at) == 0);
    NEED(fp4_free(ctx, ragged) == FP4_OK);
    fp4_tensor_free(&x);
    fp4_tensor_free(&w);
    fp4_tensor_free(&first);
    fp4_tensor_free(&alpha);
    fp4_tensor_free(&y);
}

static void launch_sums(fp4_kernel *kernel, const char *format) {
    int64_t k = 1 + rand() % MAX_ROWS, m = 8 * (1 + rand() % 20), n = 8 * (1 + rand() % 20);
    int64_t groups = 1 + rand() % MAX_GROUPS, n_entries = groups + 1;
    fp4_tensor a = tensor(format, 2, (int64_t[]){k, m}), b = tensor(format, 2, (int64_t[]){k, n});
    fp4_tensor first = tensor("i32", 1, &n_entries), d = tensor("f32", 3, (int64_t[]){groups, m, n});
    int32_t at[MAX_GROUPS + 1];
    for (int64_t i = 0; i < n_entries; i++) {
        at[i] = draw((int32_t)k);
    }
    NEED(fp4_tensor_write(ctx, &first, at, NULL, NULL) == FP4_OK);
    const fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&first), fp4_arg_tensor(&d)};
    NEED(fp4_launch(kernel, args, 4, NULL) == FP4_OK);
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&first);
    fp4_tensor_free(&d);
}

int main(int argc, char **argv) {
    NEED(argc == 5);
    fp4_config config = FP4_CONFIG_INIT;
    fp4_module *module;
    fp4_kernel *kernel;
    fp4_stats stats;
    config.device = "sim";
    NEED(fp4_open_module(&config, argv[1], &ctx, &module) == FP4_OK);
    NEED(fp4_module_kernel(module, argv[2], NULL, &kernel) == FP4_OK);
    for (int i = 0; i < ROUNDS; i++) {
        if (strcmp(argv[4], "sums") == 0) {
            launch_sums(kernel, argv[3]);
        } else {
            launch(kernel, argv[3], argv[4]);
        }
    }
    NEED(fp4_get_stats(ctx, &stats) == FP4_OK && stats.device_bytes == 0);
    NEED(stats.n_launches == ROUNDS && stats.tma_bytes > 0); // some groups had tiles
    fp4_close(ctx);
    return 0;
}
