// Test support: see gemm_trial.h.
#include "gemm_trial.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const float ALPHA = 0.37f, HS = 0.013f;

const char *gemm_source(const gemm_variant *v, const char *arch, arena *mem) {
    const char *expr = v->epilogue ? v->epilogue->expr : "alpha * acc[m, n]";
    const char *out = v->out ? v->out : "bf16";
    bool scaled = strcmp(out, "nvfp4") == 0; // takes a global scale
    const char *value = strcmp(out, "f32") == 0
                            ? expr
                            : arena_printf(mem, "%s(%s%s)", out, expr, scaled ? ", hs" : "");
    return arena_printf(mem,
                        "use std.formats;\n"
                        "kernel g<BM = %d, BN = %d, BK = %d>(A : %s[M, K], B : %s[N, K],\n"
                        "    D : out %s[%s], alpha : f32, bias : f32[N], C : bf16[M, N], hs : f32)\n"
                        "where N %% %d == 0, K %% 16 == 0\n"
                        "{\n"
                        "    tile m:BM of M, n:BN of N {\n"
                        "        let acc = zero f32[m, n];\n"
                        "        for k:BK of K\n"
                        "            acc[m, n] += A[m, k] * B[n, k];\n"
                        "        D[%s] = %s;\n"
                        "    }\n"
                        "}\n"
                        "schedule g on %s { %s }\n",
                        v->bm, v->bn, v->bk, v->a, v->b, out, v->transposed ? "N, M" : "M, N",
                        v->n % 8 ? 1 : 8, v->transposed ? "n, m" : "m, n", value, arch, v->facts);
}

static void expect(fp4_status status) {
    if (status) {
        fail_msg("%s: %s", fp4_status_name(status), fp4_last_error());
    }
}

// --- What D must be --------------------------------------------------------------------------------

typedef struct {
    const gemm_variant *v;
    ref_matrix a, b, c, bias;
    fp4_tensor d;
    float *want; // before conversion
} trial;

static void fill_want(trial *t, double unit) {
    const gemm_variant *v = t->v;
    t->want = malloc(sizeof(float) * (size_t)(v->m * v->n + 1));
    for (int i = 0; i < v->m; i++) {
        for (int j = 0; j < v->n; j++) {
            const double *x = t->a.value + (size_t)i * (size_t)v->k;
            const double *y = t->b.value + (size_t)j * (size_t)v->k;
            double sum = 0, most = 0;
            for (int k = 0; k < v->k; k++) {
                sum += x[k] * y[k];
                most = fmax(most, fabs(sum));
            }
            assert_true(most < unit * 16777216.0); // exact in any order
            float acc = (float)sum;
            t->want[i * v->n + j] =
                v->epilogue ? v->epilogue->value(acc, ALPHA, (float)t->bias.value[j],
                                                 (float)t->c.value[i * v->n + j])
                            : ALPHA * acc;
        }
    }
}

static void report(int *wrong, int i, int j, uint32_t got, uint32_t want, const char *what) {
    if ((*wrong)++ < 4) {
        print_error("%s[%d,%d] = %02x, want %02x\n", what, i, j, got, want);
    }
}

static void compare_plain(const trial *t, const fp4_host *h, int *wrong) {
    for (int i = 0; i < t->v->m; i++) {
        for (int j = 0; j < t->v->n; j++) {
            uint32_t want = ref_encode(h->format.elem, t->want[i * t->v->n + j]);
            bool across = t->v->transposed;
            uint32_t got = (uint32_t)fp4_host_code(h, across ? j : i, across ? i : j);
            if (got != want) {
                report(wrong, i, j, got, want, "D");
            }
        }
    }
}

static void compare_scaled(const trial *t, const fp4_host *h, int *wrong) {
    int n = t->v->n, granule = h->format.granule_cols;
    bool e4m3 = h->format.scale == FP4_ELEM_UE4M3;
    for (int i = 0; i < t->v->m; i++) {
        for (int j0 = 0; j0 < n; j0 += granule) {
            int last = j0 + granule < n ? j0 + granule : n;
            const float *x = t->want + i * n;
            float amax = 0;
            for (int j = j0; j < last; j++) {
                amax = fmaxf(amax, fabsf(x[j]));
            }
            ref_granule g = ref_quantise(h->format.elem, h->format.scale, amax, e4m3 ? HS : 1);
            uint32_t scale = (uint32_t)fp4_host_scale_code(h, i, j0);
            if (scale != g.scale) {
                report(wrong, i, j0, scale, g.scale, "scale of D");
            }
            for (int j = j0; j < last; j++) {
                uint32_t want = ref_encode(h->format.elem, x[j] * g.factor);
                uint32_t got = (uint32_t)fp4_host_code(h, i, j);
                if (got != want) {
                    report(wrong, i, j, got, want, "D");
                }
            }
        }
    }
}

static void compare(fp4_ctx *ctx, const trial *t) {
    fp4_storage st = {.size = sizeof st};
    fp4_host h;
    int64_t dims[2] = {t->d.dims[0], t->d.dims[1]};
    expect(fp4_tensor_storage(&t->d, &st));
    expect(fp4_host_init(&h, &t->d.format, 2, dims));
    h.pitch = st.pitch;
    h.data = calloc(1, (size_t)st.data_bytes + 1);
    h.scale = calloc(1, (size_t)st.scale_bytes + 1);
    expect(fp4_tensor_read(ctx, &t->d, h.data, st.scale_bytes ? h.scale : NULL, NULL));
    int wrong = 0;
    if (h.format.scale == FP4_ELEM_NONE) {
        compare_plain(t, &h, &wrong);
    } else {
        compare_scaled(t, &h, &wrong);
    }
    free(h.data);
    free(h.scale);
    assert_int_equal(wrong, 0);
}

// --- Running ---------------------------------------------------------------------------------------

static void run(const gemm_variant *v, const char *arch, const tk_artefact *art, int seed) {
    static const fp4_schedule orders[] = {FP4_SCHEDULE_EAGER, FP4_SCHEDULE_LAZY,
                                          FP4_SCHEDULE_RANDOM};
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    config.sim_sms = 4;
    config.sim_schedule = orders[seed % 3];
    config.sim_seed = (uint64_t)seed;
    fp4_ctx *ctx = NULL;
    fp4_module *module = NULL;
    fp4_kernel *kernel = NULL;
    expect(fp4_open(&config, &ctx));
    expect(fp4_module_load_memory(ctx, art->module.bytes, art->module.len, &module));
    expect(fp4_module_kernel(module, "g", arch, &kernel));
    ref_rng rng = {.state = (uint64_t)seed * 77 + 5};
    trial t = {.v = v};
    double unit_a = 1, unit_b = 1, unit = 1;
    assert_true(ref_operand(ctx, v->a, v->m, v->k, &rng, &t.a, &unit_a));
    assert_true(ref_operand(ctx, v->b, v->n, v->k, &rng, &t.b, &unit_b));
    assert_true(ref_operand(ctx, "bf16", v->m, v->n, &rng, &t.c, &unit));
    assert_true(ref_vector(ctx, v->n, &rng, &t.bias));
    fill_want(&t, unit_a * unit_b);
    int64_t dims[2] = {v->transposed ? v->n : v->m, v->transposed ? v->m : v->n};
    expect(fp4_tensor_new(ctx, v->out ? v->out : "bf16", 2, dims, &t.d));
    fp4_arg args[] = {fp4_arg_tensor(&t.a.tensor), fp4_arg_tensor(&t.b.tensor),
                      fp4_arg_tensor(&t.d), fp4_arg_f32(ALPHA), fp4_arg_tensor(&t.bias.tensor),
                      fp4_arg_tensor(&t.c.tensor), fp4_arg_f32(HS)};
    expect(fp4_launch(kernel, args, 7, NULL));
    compare(ctx, &t);
    ref_free(&t.a);
    ref_free(&t.b);
    ref_free(&t.c);
    ref_free(&t.bias);
    fp4_tensor_free(&t.d);
    free(t.want);
    fp4_close(ctx);
}

void gemm_trial(const gemm_variant *v, const char *arch) {
    arena *mem = arena_new();
    tk_artefact t;
    const char *why = NULL;
    t = (tk_artefact){.kernel = tk_plan(gemm_source(v, arch, mem), arch, mem, &why)};
    if (t.kernel && v->change) {
        v->change(t.kernel);
    }
    why = t.kernel ? tk_build(arch, mem, &t) : why;
    if (why) {
        fail_msg("%s: %s", v->name, why);
    }
    for (int seed = 0; seed < 3; seed++) {
        run(v, arch, &t, seed);
    }
    arena_free(mem);
}

typedef struct {
    const gemm_variant *v;
    const char *arch;
} trial_case;

static void run_case(void **state) {
    const trial_case *t = *state;
    gemm_trial(t->v, t->arch);
}

int gemm_trials(const char *arch, const gemm_variant *v, int n, const char *only) {
    struct CMUnitTest *tests = calloc((size_t)n, sizeof tests[0]);
    trial_case *cases = calloc((size_t)n, sizeof cases[0]);
    size_t count = 0;
    for (int i = 0; i < n; i++) {
        if (!only || strstr(v[i].name, only)) {
            cases[i] = (trial_case){.v = &v[i], .arch = arch};
            tests[count++] = (struct CMUnitTest){.name = v[i].name, .test_func = run_case,
                                                 .initial_state = &cases[i]};
        }
    }
    int failed = _cmocka_run_group_tests(arch, tests, count, NULL, NULL);
    free(tests);
    free(cases);
    return failed;
}
