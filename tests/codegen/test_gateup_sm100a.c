// gateup.tk on sm_100a, from source to simulator against plain C, codes and scales bit for bit: two
// accumulators in one slot, an epilogue with exp, scales gathered in 128x4 tiles in shared memory.
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
    const char *facts;
    int bm, bn;
    int m, n, k;
} variant;

static const variant variants[] = {
    {"gateup.tk",
     "cluster 2 along m; mma tcgen05.pair; walk clc raster f by 8;"
     "pipe X, Wg, Wu : 5 in smem; pipe g, u : 2 in tmem overlap;"
     "role load : 1 warp regs 40 { X, Wg, Wu }; role math : 1 warp regs 40 { g, u };"
     "role epi : 4 warps regs 216 { h, H }; store H via smem by 64 x 2;",
     256, 128, 300, 320, 544},
    {"one CTA", "mma tcgen05; walk static;", 128, 64, 200, 224, 320},
};

static const char *source_of(const variant *v, arena *mem) {
    return arena_printf(mem,
                        "use std.formats;\n"
                        "fn silu(x) = x / (1 + exp(-x));\n"
                        "kernel q<BM = %d, BF = %d, BK = 256>(X : nvfp4[M, K], Wg : nvfp4[F, K],\n"
                        "    Wu : nvfp4[F, K], ab : f32, H : out nvfp4[M, F], hs : f32)\n"
                        "where F %% 8 == 0, K %% 32 == 0\n"
                        "{\n"
                        "    tile m:BM of M, f:BF of F {\n"
                        "        let g = zero f32[m, f];\n"
                        "        let u = zero f32[m, f];\n"
                        "        for k:BK of K {\n"
                        "            g[m, f] += X[m, k] * Wg[f, k];\n"
                        "            u[m, f] += X[m, k] * Wu[f, k];\n"
                        "        }\n"
                        "        let h = silu(ab * g[m, f]) * (ab * u[m, f]);\n"
                        "        H[m, f] = nvfp4(h, hs);\n"
                        "    }\n"
                        "}\n"
                        "schedule q on sm_100a { %s }\n",
                        v->bm, v->bn, v->facts);
}

static const float AB = 0.0078125f * 1.1f, HS = 0.31f;

static void expect(fp4_status status) {
    if (status) {
        fail_msg("%s: %s", fp4_status_name(status), fp4_last_error());
    }
}

static float dot(const ref_matrix *a, int i, const ref_matrix *b, int j) {
    double sum = 0;
    for (int k = 0; k < a->cols; k++) {
        sum += a->value[(size_t)i * (size_t)a->cols + (size_t)k] *
               b->value[(size_t)j * (size_t)b->cols + (size_t)k];
    }
    return (float)sum;
}

// exp as the machine computes it: 2^x correctly rounded, of the rounded product with log2 e.
static float machine_exp(float x) {
    float y = x * 0x1.715476p+0f;
    return (float)exp2((double)y);
}

static float value_at(const ref_matrix *x, const ref_matrix w[2], int i, int j) {
    float g = AB * dot(x, i, &w[0], j);
    float d = 1 + machine_exp(-g);
    float s = g / d;
    float u = AB * dot(x, i, &w[1], j);
    return s * u;
}

static void compare(const variant *v, const ref_matrix *x, const ref_matrix w[2],
                    const fp4_host *h) {
    int granule = h->format.granule_cols;
    int wrong = 0;
    for (int i = 0; i < v->m; i++) {
        for (int j = 0; j < v->n; j += granule) {
            int n = v->n - j < granule ? v->n - j : granule;
            float values[16];
            float amax = 0;
            for (int e = 0; e < n; e++) {
                values[e] = value_at(x, w, i, j + e);
                amax = fmaxf(amax, fabsf(values[e]));
            }
            ref_granule g = ref_quantise(h->format.elem, h->format.scale, amax, HS);
            uint64_t got = fp4_host_scale_code(h, i, j);
            if (got != g.scale && wrong++ < 4) {
                print_error("scale[%d,%d] = %02x, want %02x\n", i, j, (unsigned)got, g.scale);
            }
            for (int e = 0; e < n; e++) {
                uint32_t want = ref_encode(h->format.elem, values[e] * g.factor);
                got = fp4_host_code(h, i, j + e);
                if (got != want && wrong++ < 4) {
                    print_error("H[%d,%d] = %02x, want %02x\n", i, j + e, (unsigned)got, want);
                }
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void read_back(fp4_ctx *ctx, const variant *v, const fp4_tensor *t, const ref_matrix *x,
                      const ref_matrix w[2]) {
    fp4_storage st = {.size = sizeof st};
    expect(fp4_tensor_storage(t, &st));
    fp4_host h;
    int64_t dims[2] = {v->m, v->n};
    expect(fp4_host_init(&h, &t->format, 2, dims));
    h.pitch = st.pitch;
    h.data = malloc((size_t)st.data_bytes);
    h.scale = malloc((size_t)st.scale_bytes);
    expect(fp4_tensor_read(ctx, t, h.data, h.scale, NULL));
    compare(v, x, w, &h);
    free(h.data);
    free(h.scale);
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
    expect(fp4_module_kernel(module, "q", "sm_100a", &kernel));
    ref_rng rng = {.state = seed * 99 + 7};
    ref_matrix x, w[2] = {{0}, {0}};
    double unit;
    assert_true(ref_operand(ctx, "nvfp4", v->m, v->k, &rng, &x, &unit));
    assert_true(ref_operand(ctx, "nvfp4", v->n, v->k, &rng, &w[0], &unit));
    assert_true(ref_operand(ctx, "nvfp4", v->n, v->k, &rng, &w[1], &unit));
    int64_t dims[2] = {v->m, v->n};
    fp4_tensor h;
    expect(fp4_tensor_new(ctx, "nvfp4", 2, dims, &h));
    fp4_arg args[] = {fp4_arg_tensor(&x.tensor),    fp4_arg_tensor(&w[0].tensor),
                      fp4_arg_tensor(&w[1].tensor), fp4_arg_f32(AB),
                      fp4_arg_tensor(&h),           fp4_arg_f32(HS)};
    expect(fp4_launch(kernel, args, 6, NULL));
    read_back(ctx, v, &h, &x, w);
    ref_free(&x);
    ref_free(&w[0]);
    ref_free(&w[1]);
    fp4_tensor_free(&h);
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
    run(v, &t, FP4_SCHEDULE_RANDOM, 2);
    arena_free(mem);
}

// An argument picks the variants whose names hold it.
int main(int argc, char **argv) {
    enum { N = sizeof variants / sizeof variants[0] };
    struct CMUnitTest tests[N];
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        if (argc < 2 || strstr(variants[i].name, argv[1])) {
            tests[n++] = (struct CMUnitTest){.name = variants[i].name,
                                             .test_func = test_variant,
                                             .initial_state = (void *)&variants[i]};
        }
    }
    return _cmocka_run_group_tests("sm_100a quantising", tests, n, NULL, NULL);
}
