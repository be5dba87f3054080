// Rare constructs: conversions inside expressions, scaled tensors read elementwise, sums that are
// no products, f32 products, infinite accumulators, tiles that cut granules along K, wrong
// routings.
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USE "use std.formats;\n"

// The values an mxfp8 row has after quantising v / s, by the definition.
static void mx_round(const float *v, int n, float s, float *out) {
    for (int lo = 0; lo < n; lo += 32) {
        int len = n - lo < 32 ? n - lo : 32;
        float y[32];
        float amax = 0;
        for (int i = 0; i < len; i++) {
            y[i] = v[lo + i] / s;
            amax = fmaxf(amax, fabsf(y[i]));
        }
        double scale = pow(2, ceil(log2((double)amax / 448)));
        for (int i = 0; i < len; i++) {
            uint32_t c = mach_encode(ELEM_E4M3, (double)y[i] / scale);
            out[lo + i] = (float)(mach_decode(ELEM_E4M3, c) * scale);
        }
    }
}

static void test_inner_conversion(void **state) {
    (void)state;
    enum { M = 5, N = 70 };
    trial *t = trial_open_text(
        USE "kernel k<BM = 2>(X : f32[M, N], Y : out f32[M, N], Z : out f32[M], s : f32) {\n"
            "    all n of N;\n"
            "    tile m:BM of M {\n"
            "        let q = mxfp8(X[m, n], s);\n"
            "        Y[m, n] = f32(q) * 2 + f32(mxfp8(X[m, n] * 3));\n"
            "        Z[m] = sum[n](f32(q[m, n]));\n"
            "    }\n"
            "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_prepare(t, 1);
    trial_scalar(t, "s", 0.37, 0);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor exact = trial_copy(t, "Y");
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    const eval_tensor *x = trial_tensor(t, "X");
    for (int m = 0; m < M; m++) {
        float v[N], w[N], a[N], b[N];
        float sum = 0;
        for (int n = 0; n < N; n++) {
            v[n] = ref_float(x, m * N + n);
            w[n] = v[n] * 3;
        }
        mx_round(v, N, 0.37f, a);
        mx_round(w, N, 1, b);
        for (int n = 0; n < N; n++) {
            volatile float two = a[n] * 2;
            assert_true(ref_float(trial_tensor(t, "Y"), m * N + n) == two + b[n]);
            sum = n == 0 ? a[0] : sum + a[n];
        }
        assert_true(ref_float(trial_tensor(t, "Z"), m) == sum);
    }
    eval_difference d = eval_compare(&exact, trial_bound(t, "Y"), trial_tensor(t, "Y"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

static void test_scaled_elementwise(void **state) {
    (void)state;
    enum { M = 3, N = 40 };
    trial *t = trial_open_text(
        USE "kernel k<BM = 2>(X : nvfp4[M, N], Y : out f32[M, N], R : out f32[M]) {\n"
            "    all n of N;\n"
            "    tile m:BM of M {\n"
            "        Y[m, n] = f32(X[m, n]) * 3;\n"
            "        let r = zero f32[m];\n"
            "        r[m] += f32(X[m, n]);\n"
            "        R[m] = r[m];\n"
            "    }\n"
            "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_prepare(t, 2);
    const eval_tensor *x = trial_tensor(t, "X");
    for (int pass = 0; pass < 2; pass++) {
        trial_run(t, pass == 0 ? EVAL_EXACT : EVAL_MACHINE, MACH_SM120A);
        for (int m = 0; m < M; m++) {
            double sum = 0;
            float fsum = 0;
            for (int n = 0; n < N; n++) {
                double v = ref_value(x, m * N + n);
                sum += v;
                fsum += (float)v;
                assert_true(ref_float(trial_tensor(t, "Y"), m * N + n) == (float)(v * 3));
            }
            assert_true(ref_float(trial_tensor(t, "R"), m) == (pass == 0 ? (float)sum : fsum));
        }
    }
    trial_close(t);
}

// Products of f32 tensors are no tensor-core products: multiply, add, ascending.
static void test_f32_product(void **state) {
    (void)state;
    enum { M = 6, N = 5, K = 20 };
    trial *t = trial_open_text("kernel k<BM = 4, BN = 4, BK = 8>(A : f32[M, K], B : f32[N, K],\n"
                               "    b : f32[N], D : out f32[M, N]) {\n"
                               "    tile m:BM of M, n:BN of N {\n"
                               "        let acc = zero f32[m, n];\n"
                               "        acc[m, n] += b[n];\n"
                               "        for k:BK of K acc[m, n] += A[m, k] * B[n, k];\n"
                               "        D[m, n] = acc[m, n];\n"
                               "    }\n"
                               "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_dim(t, "K", K);
    trial_prepare(t, 3);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor exact = trial_copy(t, "D");
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int i = 0; i < M * N; i++) {
        volatile float acc = ref_float(trial_tensor(t, "b"), i % N);
        double sum = (double)acc;
        for (int k = 0; k < K; k++) {
            float a = ref_float(trial_tensor(t, "A"), i / N * K + k);
            float b = ref_float(trial_tensor(t, "B"), i % N * K + k);
            volatile float p = a * b;
            acc = acc + p;
            sum += (double)a * (double)b;
        }
        assert_true(ref_float(trial_tensor(t, "D"), i) == acc);
        assert_true(ref_float(&exact, i) == (float)sum);
    }
    eval_difference d = eval_compare(&exact, trial_bound(t, "D"), trial_tensor(t, "D"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

// Overflow in the accumulator stays Inf, Inf - Inf becomes NaN; the f32 NaN has one code.
static void test_infinite_accumulator(void **state) {
    (void)state;
    static const uint32_t row[4][2] = {
        {0x7F00, 0x7F00}, {0x7F00, 0xFF00}, {0x7F80, 0x3F80}, {0x7F80, 0xFF80}};
    static const uint32_t want[4] = {0x7F800000, 0x7FFFFFFF, 0x7F800000, 0x7FFFFFFF};
    trial *t = trial_open_text("kernel k<BM = 4, BN = 4, BK = 16>(A : bf16[M, K], B : bf16[N, K],\n"
                               "    D : out f32[M, N]) {\n"
                               "    tile m:BM of M, n:BN of N {\n"
                               "        let acc = zero f32[m, n];\n"
                               "        for k:BK of K acc[m, n] += A[m, k] * B[n, k];\n"
                               "        D[m, n] = acc[m, n];\n"
                               "    }\n"
                               "}\n");
    trial_dim(t, "M", 4);
    trial_dim(t, "N", 1);
    trial_dim(t, "K", 48);
    trial_prepare(t, 4);
    eval_tensor *a = trial_tensor(t, "A");
    for (int i = 0; i < 48; i++) {
        eval_set_code(trial_tensor(t, "B"), i, 0x4000);
    }
    for (int i = 0; i < 4 * 48; i++) {
        int k = i % 48;
        eval_set_code(a, i, k == 0 ? row[i / 48][0] : k == 16 ? row[i / 48][1] : 0);
    }
    // Row 1: the first step overflows to Inf, the second step adds -Inf.
    eval_set_code(a, 48 + 16, 0xFF80);
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(eval_get_code(trial_tensor(t, "D"), i), want[i]);
    }
    trial_close(t);
}

// A K tile that is no multiple of the granule: the exact meaning is clear, no instruction does it.
static void test_k_tile_cuts_granule(void **state) {
    (void)state;
    trial *t =
        trial_open_text(USE "kernel k<BM = 4, BN = 4, BK = 24>(A : nvfp4[M, K], B : nvfp4[N, K],\n"
                            "    D : out f32[M, N]) {\n"
                            "    tile m:BM of M, n:BN of N {\n"
                            "        let acc = zero f32[m, n];\n"
                            "        for k:BK of K acc[m, n] += A[m, k] * B[n, k];\n"
                            "        D[m, n] = acc[m, n];\n"
                            "    }\n"
                            "}\n");
    trial_dim(t, "M", 5);
    trial_dim(t, "N", 6);
    trial_dim(t, "K", 64);
    trial_prepare(t, 5);
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    for (int i = 0; i < 30; i++) {
        double v = ref_dot(trial_tensor(t, "A"), i / 6, trial_tensor(t, "B"), i % 6);
        assert_true(ref_float(trial_tensor(t, "D"), i) == (float)v);
    }
    assert_int_equal(trial_try(t, EVAL_MACHINE, MACH_SM100A), EVAL_EPROGRAM);
    assert_non_null(strstr(t->error.text, "multiples of 16"));
    trial_close(t);
}

static void test_bad_route(void **state) {
    (void)state;
    static const int route[] = {1, 3, 0, 4};
    trial *t = trial_open("mega.tk");
    trial_dim(t, "T", 2);
    trial_dim(t, "E", 4);
    trial_dim(t, "INT2", 64);
    trial_prepare(t, 6);
    trial_set_ints(t, "route", route);
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM100A), EVAL_EDATA);
    assert_non_null(strstr(t->error.text, "names expert 4 of 4"));
    trial_close(t);
}

// A value that is kept over a loop and updated by its bare name; integer functions; comparisons.
static void test_running_values(void **state) {
    (void)state;
    enum { M = 7, T = 21 };
    trial *t = trial_open_text(
        "kernel k<BM = 4, BT = 8>(X : f32[M, T], A : const i32[M], Y : out f32[M],\n"
        "    C : out i32[M]) {\n"
        "    tile m:BM of M {\n"
        "        let top = zero f32[m];\n"
        "        let n = zero f32[m];\n"
        "        for t:BT of T {\n"
        "            top[m] = max(top[m], max[t](X[m, t]));\n"
        "            n[m] += X[m, t] >= 0.5 ? 1 : X[m, t] <= -0.5 ? 0.25 : 0;\n"
        "        }\n"
        "        Y[m] = top[m] + n[m] * 100;\n"
        "        C[m] = clamp(abs(A[m]), 2, 5) + relu(A[m]) + (A[m] != 3 ? 10 : 0);\n"
        "    }\n"
        "}\n");
    static const int values[M] = {-7, -3, 0, 3, 4, 9, -1};
    trial_dim(t, "M", M);
    trial_dim(t, "T", T);
    trial_prepare(t, 7);
    trial_set_ints(t, "A", values);
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int m = 0; m < M; m++) {
        float top = 0;
        float n = 0;
        for (int c = 0; c < T; c++) {
            float x = ref_float(trial_tensor(t, "X"), m * T + c);
            top = fmaxf(top, x);
            n += x >= 0.5f ? 1.0f : x <= -0.5f ? 0.25f : 0.0f;
        }
        volatile float hundred = n * 100;
        assert_true(ref_float(trial_tensor(t, "Y"), m) == top + hundred);
        int a = abs(values[m]);
        int want = (a < 2 ? 2 : a > 5 ? 5 : a) + (values[m] > 0 ? values[m] : 0);
        want += values[m] != 3 ? 10 : 0;
        assert_int_equal((int32_t)eval_get_code(trial_tensor(t, "C"), m), want);
    }
    trial_close(t);
}

// Compile-time parameters: a schedule's 'with', and values given by the caller, change tiles only.
static void test_tparams(void **state) {
    (void)state;
    trial *t = trial_open_text("kernel k<BM = 4, STEP = BM / 2>(X : f32[M], Y : out f32[M]) {\n"
                               "    tile m:BM of M\n"
                               "        Y[m] = X[m] * f32(BM + STEP);\n"
                               "}\n");
    trial_dim(t, "M", 11);
    trial_prepare(t, 8);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    const eval_tensor *x = trial_tensor(t, "X");
    assert_true(ref_float(trial_tensor(t, "Y"), 5) == ref_float(x, 5) * 6);
    eval_job job = {.kernel = t->kernel,
                    .tparams = (int64_t[]){8, 3},
                    .dims = t->dims,
                    .tensors = t->tensors,
                    .scalars = t->scalars,
                    .mode = EVAL_MACHINE};
    assert_int_equal(eval_run(&job, &t->error), EVAL_OK);
    assert_true(ref_float(trial_tensor(t, "Y"), 5) == ref_float(x, 5) * 11);
    trial_close(t);
}

static void test_targets(void **state) {
    (void)state;
    mach_target target;
    assert_true(mach_target_parse("sm_100a", &target));
    assert_int_equal(target, MACH_SM100A);
    assert_false(mach_target_parse("sm_80", &target));
    ast_format f = {.name = "i64", .elem = ELEM_I64, .scale = ELEM_NONE};
    eval_tensor big = {.format = &f, .n_dims = 3, .dims = {INT64_C(1) << 40, INT64_C(1) << 40, 4}};
    assert_false(eval_tensor_alloc(&big));
    eval_tensor t = {.format = &f, .n_dims = 1, .dims = {3}};
    assert_true(eval_tensor_alloc(&t));
    eval_set_code(&t, 2, (uint64_t)-5);
    assert_true(eval_value(&t, 2) == -5);
    eval_tensor_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inner_conversion),
        cmocka_unit_test(test_scaled_elementwise),
        cmocka_unit_test(test_f32_product),
        cmocka_unit_test(test_infinite_accumulator),
        cmocka_unit_test(test_k_tile_cuts_granule),
        cmocka_unit_test(test_bad_route),
        cmocka_unit_test(test_running_values),
        cmocka_unit_test(test_tparams),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
