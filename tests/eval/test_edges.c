// Corners: subscripts outside, operands in every orientation, quantised tiles as operands, cut
// granules and pairs, wrong shapes, integers, negative global scales, bounds of decisions.
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USE "use std.formats;\n"

// Reads beyond an axis give 0 and take no part in a maximum; writes beyond it are dropped.
static void test_outside(void **state) {
    (void)state;
    enum { M = 6, N = 6, C = 2 };
    trial *t = trial_open_text(
        "kernel k<BM = 4>(X : f32[M, N], Y : out f32[M], Z : out f32[M, C]) {\n"
        "    all n of N;\n"
        "    tile m:BM of M {\n"
        "        Y[m] = X[m, 1] * 2 + X[m, 6] - max[n](min(X[m, n], X[m, 7]));\n"
        "        Z[m, n / 2] = swiglu(X[m, n]);\n"
        "    }\n"
        "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N); // X[m, 6] and X[m / 2, 7] lie outside
    trial_dim(t, "C", C); // and Z[m, 2]
    trial_prepare(t, 1);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    const eval_tensor *x = trial_tensor(t, "X");
    for (int m = 0; m < M; m++) {
        assert_true(ref_float(trial_tensor(t, "Y"), m) ==
                    INFINITY); // no element is left in the max
        for (int c = 0; c < C; c++) {
            double g = ref_value(x, m * N + 2 * c);
            double u = ref_value(x, m * N + 2 * c + 1);
            float want = (float)(g / (1 + exp(-g)) * u);
            assert_true(ref_float(trial_tensor(t, "Z"), m * C + c) == want);
        }
    }
    trial_close(t);
}

// A[k, m]: K is not the innermost axis in memory.
static void test_k_outermost(void **state) {
    (void)state;
    enum { M = 9, N = 6, K = 40 };
    trial *t = trial_open_text("kernel k<BM = 4, BN = 4, BK = 16>(A : bf16[K, M], B : bf16[K, N],\n"
                               "    D : out f32[M, N]) {\n"
                               "    tile m:BM of M, n:BN of N {\n"
                               "        let acc = zero f32[m, n];\n"
                               "        for k:BK of K acc[m, n] += A[k, m] * B[k, n];\n"
                               "        D[m, n] = acc[m, n];\n"
                               "    }\n"
                               "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_dim(t, "K", K);
    trial_prepare(t, 2);
    const eval_tensor *a = trial_tensor(t, "A");
    const eval_tensor *b = trial_tensor(t, "B");
    eval_tensor ta = {.format = a->format, .n_dims = 2, .dims = {M, K}};
    eval_tensor tb = {.format = b->format, .n_dims = 2, .dims = {N, K}};
    assert_true(eval_tensor_alloc(&ta) && eval_tensor_alloc(&tb));
    for (int k = 0; k < K; k++) {
        for (int m = 0; m < M; m++) {
            eval_set_code(&ta, m * K + k, eval_get_code(a, k * M + m));
        }
        for (int n = 0; n < N; n++) {
            eval_set_code(&tb, n * K + k, eval_get_code(b, k * N + n));
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        trial_run(t, pass == 0 ? EVAL_EXACT : EVAL_MACHINE, MACH_SM90A);
        for (int i = 0; i < M * N; i++) {
            float want = pass == 0 ? (float)ref_dot(&ta, i / N, &tb, i % N)
                                   : ref_chain(&ta, i / N, &tb, i % N, 16, MACH_SM90A);
            assert_true(ref_float(trial_tensor(t, "D"), i) == want);
        }
    }
    eval_tensor_free(&ta);
    eval_tensor_free(&tb);
    trial_close(t);
}

// Two summed indices: the inner one is the instruction's K, the outer one chains.
static void test_two_sums(void **state) {
    (void)state;
    enum { S = 3, M = 5, N = 4, K = 32 };
    trial *t =
        trial_open_text("kernel k<BM = 4, BN = 4, BK = 16>(A : f16[S, M, K], B : f16[S, N, K],\n"
                        "    D : out f32[M, N]) {\n"
                        "    all s of S;\n"
                        "    tile m:BM of M, n:BN of N {\n"
                        "        let acc = zero f32[m, n];\n"
                        "        for k:BK of K acc[m, n] += A[s, m, k] * B[s, n, k];\n"
                        "        D[m, n] = acc[m, n];\n"
                        "    }\n"
                        "}\n");
    trial_dim(t, "S", S);
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_dim(t, "K", K);
    trial_prepare(t, 3);
    const eval_tensor *a = trial_tensor(t, "A");
    const eval_tensor *b = trial_tensor(t, "B");
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "D");
    for (int i = 0; i < M * N; i++) {
        double sum = 0;
        for (int k = 0; k < K * S; k++) { // tile, then s, then k inside the tile
            int s = k / 16 % S;
            int at = k / (16 * S) * 16 + k % 16;
            sum += ref_value(a, (s * M + i / N) * K + at) * ref_value(b, (s * N + i % N) * K + at);
        }
        assert_true(ref_float(&exact, i) == (float)sum);
    }
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    eval_difference d = eval_compare(&exact, trial_bound(t, "D"), trial_tensor(t, "D"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

// A quantised tile multiplies in the same iteration; its codes also leave through an output.
static void test_quantised_operand(void **state) {
    (void)state;
    enum { M = 7, N = 9, K = 96 };
    trial *t =
        trial_open_text(USE "kernel k<BM = 4, BN = 4, BK = 32>(X : bf16[M, K], W : mxfp4[N, K],\n"
                            "    D : out f32[M, N], Q : out mxfp8[M, K]) {\n"
                            "    tile m:BM of M {\n"
                            "        for k:BK of K {\n"
                            "            let q = mxfp8(f32(X[m, k]) + 1);\n"
                            "            Q[m, k] = q[m, k];\n"
                            "        }\n"
                            "    }\n"
                            "    tile m:BM of M, n:BN of N {\n"
                            "        let acc = zero f32[m, n];\n"
                            "        for k:BK of K {\n"
                            "            let q = mxfp8(f32(X[m, k]) + 1);\n"
                            "            acc[m, n] += q[m, k] * W[n, k];\n"
                            "        }\n"
                            "        D[m, n] = acc[m, n];\n"
                            "    }\n"
                            "}\n");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_dim(t, "K", K);
    trial_prepare(t, 4);
    const eval_tensor *x = trial_tensor(t, "X");
    const eval_tensor *q = trial_tensor(t, "Q");
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "D");
    for (int i = 0; i < M * N; i++) {
        assert_true(ref_float(&exact, i) == (float)ref_dot(q, i / N, trial_tensor(t, "W"), i % N));
    }
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    for (int i = 0; i < M * N; i++) {
        float want = ref_chain(q, i / N, trial_tensor(t, "W"), i % N, 32, MACH_SM100A);
        assert_true(ref_float(trial_tensor(t, "D"), i) == want);
    }
    for (int i = 0; i < M * K; i++) { // each element within half a gap of what was quantised
        volatile float v = (float)ref_value(x, i) + 1;
        assert_true(fabs(ref_value(q, i) - (double)v) <= fabs((double)v) * 0x1p-4 + 0x1p-10);
    }
    eval_difference d = eval_compare(&exact, trial_bound(t, "D"), trial_tensor(t, "D"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

static void test_cut_granule(void **state) {
    (void)state;
    trial *t =
        trial_open_text(USE "kernel k<BM = 2, BN = 24>(X : bf16[M, N], H : out nvfp4[M, N]) {\n"
                            "    tile m:BM of M, n:BN of N\n"
                            "        H[m, n] = nvfp4(f32(X[m, n]));\n"
                            "}\n");
    trial_dim(t, "M", 2);
    trial_dim(t, "N", 48);
    trial_prepare(t, 5);
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM100A), EVAL_EPROGRAM);
    assert_non_null(strstr(t->error.text, "granule"));
    trial_close(t);
}

static void test_cut_pair(void **state) {
    (void)state;
    trial *t = trial_open_text("kernel k<BM = 2, BJ = 3>(X : f32[M, J], H : out f32[M, I]) {\n"
                               "    tile m:BM of M, j:BJ of J\n"
                               "        H[m, j / 2] = swiglu(X[m, j]);\n"
                               "}\n");
    trial_dim(t, "M", 2);
    trial_dim(t, "J", 12);
    trial_dim(t, "I", 6);
    trial_prepare(t, 6);
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM100A), EVAL_EDATA);
    assert_non_null(strstr(t->error.text, "pair"));
    trial_close(t);
}

static void test_wrong_shape(void **state) {
    (void)state;
    trial *t = trial_open("gemm.tk");
    trial_dim(t, "M", 4);
    trial_dim(t, "N", 4);
    trial_dim(t, "K", 64);
    trial_prepare(t, 1);
    trial_tensor(t, "B")->dims[1] = 32;
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM100A), EVAL_EDATA);
    assert_non_null(strstr(t->error.text, "axis 1 of 'B' must have 64 elements, it has 32"));
    trial_close(t);
}

static void test_integers(void **state) {
    (void)state;
    static const int values[] = {-7, 3, 0, 12, 5};
    trial *t = trial_open_text(
        "kernel k<BM = 2>(A : const i32[M], X : f32[M], B : out i32[M],\n"
        "    C : out i32[M], n : i32) {\n"
        "    tile m:BM of M {\n"
        "        B[m] = i32(((A[m] * 3 - n) / 2 % 5) ^ (A[m] & 6 | 1 << m));\n"
        "        C[m] = i32(X[m] * 10) + max(A[m], n) + (A[m] < n || m == 2 ? 1 : ~n);\n"
        "    }\n"
        "}\n");
    trial_dim(t, "M", 5);
    trial_prepare(t, 7);
    trial_scalar(t, "n", 0, 4);
    trial_set_ints(t, "A", values);
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int m = 0; m < 5; m++) {
        int a = values[m];
        int b = ((a * 3 - 4) / 2 % 5) ^ ((a & 6) | 1 << m);
        assert_int_equal((int32_t)eval_get_code(trial_tensor(t, "B"), m), b);
        volatile float ten = ref_float(trial_tensor(t, "X"), m) * 10;
        int c = (int)rintf(ten) + (a > 4 ? a : 4) + (a < 4 || m == 2 ? 1 : ~4);
        assert_int_equal((int32_t)eval_get_code(trial_tensor(t, "C"), m), c);
    }
    trial_close(t);
}

static void test_division_by_zero(void **state) {
    (void)state;
    static const int values[] = {1, 0, 2, 4};
    trial *t = trial_open_text("kernel k<BM = 2>(A : const i32[M], B : out i32[M]) {\n"
                               "    tile m:BM of M\n"
                               "        B[m] = 8 / A[m];\n"
                               "}\n");
    trial_dim(t, "M", 4);
    trial_prepare(t, 8);
    trial_set_ints(t, "A", values);
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM120A), EVAL_EDATA);
    assert_non_null(strstr(t->error.text, "division by zero"));
    trial_close(t);
}

// Quantising with a negative global scale turns the elements' signs, not the scales'.
static void test_negative_scale(void **state) {
    (void)state;
    eval_tensor runs[2];
    trial *both[2];
    for (int i = 0; i < 2; i++) {
        trial *t = both[i] = trial_open_text(
            USE "kernel k<BM = 2>(X : bf16[M, N], H : out nvfp4[M, N], hs : f32) {\n"
                "    all n of N;\n"
                "    tile m:BM of M\n"
                "        H[m, n] = nvfp4(f32(X[m, n]), hs);\n"
                "}\n");
        trial_dim(t, "M", 3);
        trial_dim(t, "N", 40);
        trial_prepare(t, 9);
        trial_scalar(t, "hs", i == 0 ? 0.01 : -0.01, 0);
        trial_run(t, EVAL_MACHINE, MACH_SM120A);
        runs[i] = trial_copy(t, "H");
    }
    for (int64_t i = 0; i < 120; i++) {
        assert_int_equal(eval_get_code(&runs[0], i), eval_get_code(&runs[1], i) ^ 8);
    }
    assert_memory_equal(runs[0].scales, runs[1].scales, 9);
    for (int i = 0; i < 2; i++) {
        eval_tensor_free(&runs[i]);
        trial_close(both[i]);
    }
}

// Small integers fall on the middles between codes, where f32 and double part: the codes differ,
// and stay within the bounds.
static void test_quantised_bound(void **state) {
    (void)state;
    trial *t =
        trial_open_text(USE "kernel k<BM = 8>(X : bf16[M, N], H : out nvfp4[M, N], hs : f32) {\n"
                            "    all n of N;\n"
                            "    tile m:BM of M\n"
                            "        H[m, n] = nvfp4(f32(X[m, n]), hs);\n"
                            "}\n");
    trial_dim(t, "M", 64);
    trial_dim(t, "N", 128);
    trial_prepare(t, 12);
    trial_scalar(t, "hs", 0.1, 0);
    eval_tensor *x = trial_tensor(t, "X");
    for (int64_t i = 0; i < eval_count(x); i++) {
        eval_set_code(x, i, mach_encode(ELEM_BF16, (double)(i * 7919 % 49) - 24));
    }
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor exact = trial_copy(t, "H");
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    int64_t first;
    assert_true(eval_diff_codes(&exact, trial_tensor(t, "H"), &first) > 0);
    eval_difference d = eval_compare(&exact, trial_bound(t, "H"), trial_tensor(t, "H"));
    assert_int_equal(d.n_outside, 0);
    assert_true(d.max_error > 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

// Values next to a threshold: the machine may decide otherwise, and the bound says by how much.
static void test_decision_bound(void **state) {
    (void)state;
    trial *t = trial_open_text("kernel k<BM = 4>(X : f32[M], Y : out f32[M]) {\n"
                               "    tile m:BM of M {\n"
                               "        let e = exp(X[m]) / exp(X[m]);\n"
                               "        Y[m] = e >= 1 ? 5 * X[m] : -X[m];\n"
                               "    }\n"
                               "}\n");
    trial_dim(t, "M", 8);
    trial_prepare(t, 10);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    for (int m = 0; m < 8; m++) {
        assert_true(trial_bound(t, "Y")[m] >= 6 * fabs(ref_value(trial_tensor(t, "X"), m)));
    }
    trial_close(t);
}

static void test_size(void **state) {
    (void)state;
    trial *t = trial_open("moe.tk");
    trial_dim(t, "E", 6);
    trial_prepare(t, 1);
    assert_int_equal(trial_tensor(t, "first")->dims[0], 7);
    trial_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outside),          cmocka_unit_test(test_k_outermost),
        cmocka_unit_test(test_two_sums),         cmocka_unit_test(test_quantised_operand),
        cmocka_unit_test(test_cut_granule),      cmocka_unit_test(test_cut_pair),
        cmocka_unit_test(test_wrong_shape),      cmocka_unit_test(test_integers),
        cmocka_unit_test(test_division_by_zero), cmocka_unit_test(test_negative_scale),
        cmocka_unit_test(test_decision_bound),   cmocka_unit_test(test_size),
        cmocka_unit_test(test_quantised_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
