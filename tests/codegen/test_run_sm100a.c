// sm_100a kernels from source to simulator, bit for bit against plain C: every instruction kind, one
// CTA and pairs, tiles that start inside a tile of scales, all walks, tails in every dimension.
#include "fp4rt.h"
#include "ref.h"
#include "tk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *name;
    const char *a, *b;  // formats
    int bm, bn, bk;     // cluster tile
    const char *facts;
    int m, n, k;
} variant;

#define PAIR "cluster 2 along m; mma tcgen05.pair; "
static const variant variants[] = {
    {"gemm.tk", "nvfp4", "nvfp4", 256, 256, 256,
     PAIR "walk clc raster n by 8; pipe A, B : 5 in smem; pipe acc : 2 in tmem overlap;"
          "store D via smem by 64 x 2;", 600, 520, 544},
    {"one tile", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk static;", 128, 128, 256},
    {"static", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk static raster n by 2;", 300, 520, 800},
    {"clc alone", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk clc;", 300, 520, 288},
    {"64 wide", "nvfp4", "nvfp4", 128, 64, 256, "mma tcgen05;", 200, 200, 320},
    {"192 wide", "nvfp4", "nvfp4", 128, 192, 256, "mma tcgen05; pipe acc : 2 in tmem;", 200, 584, 320},
    {"96 wide", "nvfp4", "nvfp4", 128, 96, 256, "mma tcgen05;", 128, 584, 256},
    {"pair 192", "nvfp4", "nvfp4", 256, 192, 256, PAIR "walk clc;", 300, 584, 320},
    {"pair 64", "nvfp4", "nvfp4", 256, 64, 256, PAIR "walk static;", 300, 200, 320},
    {"two slabs", "nvfp4", "nvfp4", 128, 128, 512, "mma tcgen05;", 200, 136, 1056},
    {"half slab", "nvfp4", "nvfp4", 128, 128, 128, "mma tcgen05;", 200, 136, 288},
    {"mxfp4", "mxfp4", "mxfp4", 128, 128, 256, "mma tcgen05;", 200, 264, 544},
    {"mxfp4 pair", "mxfp4", "mxfp4", 256, 256, 256, PAIR "walk clc;", 300, 264, 544},
    {"mxfp8", "mxfp8", "mxfp8", 128, 128, 128, "mma tcgen05;", 200, 264, 416},
    {"mxfp8 pair", "mxfp8", "mxfp8", 256, 192, 256, PAIR "walk clc;", 300, 400, 416},
    {"fp8", "e4m3", "e4m3", 128, 128, 128, "mma tcgen05;", 200, 264, 416},
    {"bf16", "bf16", "bf16", 128, 256, 64, "mma tcgen05; pipe acc : 2 in tmem;", 200, 264, 208},
    {"bf16 pair", "bf16", "bf16", 256, 256, 64, PAIR "walk static;", 300, 264, 208},
    {"along m", "nvfp4", "nvfp4", 256, 128, 256, "cluster 2 along m; mma tcgen05; walk clc;", 600, 264, 544},
    {"along n", "nvfp4", "nvfp4", 128, 192, 256, "cluster 2 along n; mma tcgen05; walk static;", 200, 584, 544},
    {"f16", "f16", "f16", 128, 128, 32, "mma tcgen05;", 200, 136, 176},
};

static const char *source_of(const variant *v, arena *mem) {
    return arena_printf(mem,
                        "use std.formats;\n"
                        "kernel g<BM = %d, BN = %d, BK = %d>(A : %s[M, K], B : %s[N, K],\n"
                        "    D : out bf16[M, N], alpha : f32)\n"
                        "where N %% 8 == 0, K %% 16 == 0\n"
                        "{\n"
                        "    tile m:BM of M, n:BN of N {\n"
                        "        let acc = zero f32[m, n];\n"
                        "        for k:BK of K\n"
                        "            acc[m, n] += A[m, k] * B[n, k];\n"
                        "        D[m, n] = bf16(alpha * acc[m, n]);\n"
                        "    }\n"
                        "}\n"
                        "schedule g on sm_100a { %s }\n",
                        v->bm, v->bn, v->bk, v->a, v->b, v->facts);
}

static void expect(fp4_status status) {
    if (status) {
        fail_msg("%s: %s", fp4_status_name(status), fp4_last_error());
    }
}

// D against alpha * A B^T; products are summed exactly (see ref.h).
static void compare(fp4_ctx *ctx, const ref_matrix *a, const ref_matrix *b, const fp4_tensor *d,
                    float alpha, double unit) {
    fp4_storage st = {.size = sizeof st};
    expect(fp4_tensor_storage(d, &st));
    uint8_t *got = malloc((size_t)st.data_bytes);
    expect(fp4_tensor_read(ctx, d, got, NULL, NULL));
    int wrong = 0;
    for (int i = 0; i < a->rows; i++) {
        for (int j = 0; j < b->rows; j++) {
            const double *x = a->value + (size_t)i * (size_t)a->cols;
            const double *y = b->value + (size_t)j * (size_t)a->cols;
            double sum = 0, most = 0;
            for (int k = 0; k < a->cols; k++) {
                sum += x[k] * y[k];
                most = fmax(most, fabs(sum));
            }
            assert_true(most < unit * 16777216.0);
            uint16_t want = ref_bf16(alpha * (float)sum), code;
            memcpy(&code, got + i * st.pitch + j * 2, 2);
            if (code != want && wrong++ < 4) {
                print_error("D[%d,%d] = %04x, want %04x (%g)\n", i, j, code, want, sum);
            }
        }
    }
    free(got);
    assert_int_equal(wrong, 0);
}

static void run(const variant *v, const tk_artefact *t, fp4_schedule order, uint64_t seed) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    config.sim_sms = 4;
    config.sim_schedule = order;
    config.sim_seed = seed;
    fp4_ctx *ctx = NULL;
    fp4_module *module = NULL;
    fp4_kernel *kernel = NULL;
    expect(fp4_open(&config, &ctx));
    expect(fp4_module_load_memory(ctx, t->module.bytes, t->module.len, &module));
    expect(fp4_module_kernel(module, "g", "sm_100a", &kernel));
    ref_rng rng = {.state = seed * 77 + 5};
    ref_matrix a, b;
    double unit_a = 1, unit_b = 1;
    assert_true(ref_operand(ctx, v->a, v->m, v->k, &rng, &a, &unit_a));
    assert_true(ref_operand(ctx, v->b, v->n, v->k, &rng, &b, &unit_b));
    int64_t dims[2] = {v->m, v->n};
    fp4_tensor d;
    expect(fp4_tensor_new(ctx, "bf16", 2, dims, &d));
    fp4_arg args[] = {fp4_arg_tensor(&a.tensor), fp4_arg_tensor(&b.tensor), fp4_arg_tensor(&d),
                      fp4_arg_f32(0.37f)};
    expect(fp4_launch(kernel, args, 4, NULL));
    compare(ctx, &a, &b, &d, 0.37f, unit_a * unit_b);
    ref_free(&a);
    ref_free(&b);
    fp4_tensor_free(&d);
    fp4_close(ctx);
}

static void test_variant(void **state) {
    const variant *v = *state;
    arena *mem = arena_new();
    tk_artefact t;
    const char *why = tk_compile(source_of(v, mem), "sm_100a", mem, &t);
    if (why) {
        fail_msg("%s: %s", v->name, why);
    }
    run(v, &t, FP4_SCHEDULE_EAGER, 1);
    run(v, &t, FP4_SCHEDULE_LAZY, 2);
    run(v, &t, FP4_SCHEDULE_RANDOM, 3);
    arena_free(mem);
}

// An argument picks the variants whose names hold it.
int main(int argc, char **argv) {
    enum { N = sizeof variants / sizeof variants[0] };
    struct CMUnitTest tests[N];
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        if (argc < 2 || strstr(variants[i].name, argv[1])) {
            tests[n++] = (struct CMUnitTest){.name = variants[i].name, .test_func = test_variant,
                                             .initial_state = (void *)&variants[i]};
        }
    }
    return _cmocka_run_group_tests("sm_100a", tests, n, NULL, NULL);
}
