// The example programs against plain loops: exact runs in double, machine runs in f32 with the
// tensor-core chain, and the bounds that must lie between the two.
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// The machine run that t now holds lies within the bounds of the exact run in 'exact', and the
// bounds say something: none is larger than 'part' of the largest element.
static void check_bounds(trial *t, const char *name, const eval_tensor *exact, double part) {
    eval_difference d = eval_compare(exact, trial_bound(t, name), trial_tensor(t, name));
    double largest = 0;
    for (int64_t i = 0; i < eval_count(exact); i++) {
        largest = fmax(largest, fabs(ref_value(exact, i)));
    }
    assert_int_equal(d.n_outside, 0);
    assert_true(d.max_error <= d.max_bound);
    if (d.max_bound > part * largest + 1e-30) {
        fail_msg("%s: bound %g, largest element %g", name, d.max_bound, largest);
    }
}

static const double bf16_part = 0x1.1p-7; // a unit in the last place, and a little

static void check_gemm(int64_t m, int64_t n, int64_t k) {
    trial *t = trial_open("gemm.tk");
    trial_dim(t, "M", m);
    trial_dim(t, "N", n);
    trial_dim(t, "K", k);
    trial_prepare(t, 1);
    trial_scalar(t, "alpha", 0.3, 0);
    const eval_tensor *a = trial_tensor(t, "A");
    const eval_tensor *b = trial_tensor(t, "B");
    const eval_tensor *d = trial_tensor(t, "D");
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    for (int64_t i = 0; i < m * n; i++) {
        double v = (double)0.3f * ref_dot(a, i / n, b, i % n);
        assert_int_equal(eval_get_code(d, i), ref_bf16(v));
    }
    eval_tensor exact = trial_copy(t, "D");
    t->no_bounds = true; // another order of the loops inside, the same result
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    int64_t first;
    assert_int_equal(eval_diff_codes(&exact, d, &first), 0);
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int64_t i = 0; i < m * n; i++) {
        volatile float v = 0.3f * ref_chain(a, i / n, b, i % n, 64, MACH_SM120A);
        assert_int_equal(eval_get_code(d, i), ref_bf16((double)v));
    }
    check_bounds(t, "D", &exact, bf16_part);
    eval_tensor_free(&exact);
    trial_close(t);
}

static void test_gemm(void **state) {
    (void)state;
    check_gemm(37, 24, 160);
    check_gemm(1, 17, 64);
    check_gemm(33, 1, 16);
    check_gemm(32, 16, 128);
    check_gemm(5, 7, 71); // K ends inside a granule
    check_gemm(20, 20, 0);
    check_gemm(0, 5, 64);
}

static float ref_silu(float x) {
    volatile float t = mach_exp(-x);
    volatile float u = 1.0f + t;
    return x / u;
}

// The element of a quantised granule, nearest of all e2m1 values; ties to the even code.
static uint32_t nearest_e2m1(double x) {
    static const double v[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    uint32_t best = 0;
    for (uint32_t c = 1; c < 8; c++) {
        double d = fabs(fabs(x) - v[c]) - fabs(fabs(x) - v[best]);
        best = d < 0 || (d == 0 && c % 2 == 0) ? c : best;
    }
    return best | (signbit(x) ? 8 : 0);
}

static void check_nvfp4_rows(const eval_tensor *h, const float *v, float hs) {
    int64_t f = h->dims[1];
    int64_t per_row = (f + 15) / 16;
    for (int64_t g = 0; g < h->dims[0] * per_row; g++) {
        int64_t row = g / per_row;
        int64_t lo = g % per_row * 16;
        int64_t n = f - lo < 16 ? f - lo : 16;
        float amax = 0;
        for (int64_t i = 0; i < n; i++) {
            amax = fmaxf(amax, fabsf(v[row * f + lo + i]));
        }
        volatile float six = 6 * hs;
        volatile float r = 1 / six;
        volatile float s = amax * r;
        uint32_t sf = mach_encode(ELEM_E4M3, (double)s);
        assert_int_equal(h->scales[g], sf);
        volatile float d = (float)mach_decode(ELEM_E4M3, sf) * hs;
        volatile float q = d == 0 ? 0 : 1 / d;
        for (int64_t i = 0; i < n; i++) {
            volatile float y = v[row * f + lo + i] * q;
            assert_int_equal(eval_get_code(h, row * f + lo + i), nearest_e2m1((double)y));
        }
    }
}

static void check_gateup(int64_t m, int64_t f, int64_t k, float hs, double part) {
    trial *t = trial_open("gateup.tk");
    trial_dim(t, "M", m);
    trial_dim(t, "F", f);
    trial_dim(t, "K", k);
    trial_prepare(t, 7);
    trial_scalar(t, "ab", 0.01, 0);
    trial_scalar(t, "hs", (double)hs, 0);
    const eval_tensor *x = trial_tensor(t, "X");
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "H");
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    float *h = malloc((size_t)(m * f + 1) * sizeof *h);
    for (int64_t i = 0; i < m * f; i++) {
        volatile float g =
            0.01f * ref_chain(x, i / f, trial_tensor(t, "Wg"), i % f, 64, MACH_SM100A);
        volatile float u =
            0.01f * ref_chain(x, i / f, trial_tensor(t, "Wu"), i % f, 64, MACH_SM100A);
        h[i] = ref_silu(g) * u;
    }
    check_nvfp4_rows(trial_tensor(t, "H"), h, hs);
    check_bounds(t, "H", &exact, part);
    free(h);
    eval_tensor_free(&exact);
    trial_close(t);
}

static void test_gateup(void **state) {
    (void)state;
    check_gateup(9, 64, 96, 16.0f, 0.5);
    check_gateup(3, 40, 64, 0.001f, INFINITY); // scales saturate
    check_gateup(2, 7, 32, 1000.0f, INFINITY); // scales vanish
}

static void test_moe(void **state) {
    (void)state;
    static const int first[] = {0, 0, 21, 21, 22, 40}; // an empty group in front and between
    trial *t = trial_open("moe.tk");
    trial_dim(t, "T", 40);
    trial_dim(t, "E", 5);
    trial_dim(t, "N", 20);
    trial_dim(t, "K", 96);
    trial_prepare(t, 3);
    trial_set_ints(t, "first", first);
    const eval_tensor *x = trial_tensor(t, "X");
    const eval_tensor *w = trial_tensor(t, "W");
    const eval_tensor *y = trial_tensor(t, "Y");
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "Y");
    for (int pass = 0; pass < 2; pass++) {
        for (int e = 0; e < 5; e++) {
            for (int64_t i = first[e] * 20; i < first[e + 1] * 20; i++) {
                int64_t row = e * 20 + i % 20;
                double v = pass == 0 ? ref_dot(x, i / 20, w, row)
                                     : (double)ref_chain(x, i / 20, w, row, 32, MACH_SM100A);
                assert_int_equal(eval_get_code(y, i), ref_bf16(v));
            }
        }
        trial_run(t, EVAL_MACHINE, MACH_SM100A);
    }
    check_bounds(t, "Y", &exact, bf16_part);
    eval_tensor_free(&exact);
    trial_close(t);
}

static void test_moe_bad_offsets(void **state) {
    (void)state;
    static const int first[][3] = {{0, 9, 4}, {0, 4, 12}, {-1, 4, 10}};
    for (int i = 0; i < 3; i++) {
        trial *t = trial_open("moe.tk");
        trial_dim(t, "T", 10);
        trial_dim(t, "E", 2);
        trial_dim(t, "N", 4);
        trial_dim(t, "K", 32);
        trial_prepare(t, 3);
        trial_set_ints(t, "first", first[i]);
        assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM100A), EVAL_EDATA);
        assert_non_null(strstr(t->error.text, "offset"));
        trial_close(t);
    }
}

static void test_mqa(void **state) {
    (void)state;
    static const int lo[] = {0, 5, 17, 3, 30};
    static const int hi[] = {12, 33, 18, 3, 50}; // beyond T = 40: clipped
    trial *t = trial_open("mqa.tk");
    trial_dim(t, "S", 5);
    trial_dim(t, "T", 40);
    trial_prepare(t, 5);
    trial_set_ints(t, "lo", lo);
    trial_set_ints(t, "hi", hi);
    const eval_tensor *q = trial_tensor(t, "Q");
    const eval_tensor *kv = trial_tensor(t, "KV");
    const eval_tensor *w = trial_tensor(t, "w");
    eval_tensor *l = trial_tensor(t, "L");
    for (int64_t i = 0; i < eval_count(l); i++) {
        eval_set_code(l, i, 0x12345678);
    }
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "L");
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    for (int s = 0; s < 5; s++) {
        int s0 = s / 2 * 2;
        int s1 = s0 + 1 < 5 ? s0 + 1 : s0;
        int from = lo[s0] < lo[s1] ? lo[s0] : lo[s1];
        int to = hi[s0] > hi[s1] ? hi[s0] : hi[s1];
        for (int c = 0; c < 40; c++) {
            int64_t i = s * 40 + c;
            if (c < from || c >= to) {
                assert_int_equal(eval_get_code(l, i), 0x12345678);
                continue;
            }
            double sum = 0;
            float fsum = 0;
            for (int h = 0; h < 4; h++) {
                sum += fmax(ref_dot(q, s * 4 + h, kv, c), 0) * ref_value(w, s * 4 + h);
                float p = ref_chain(q, s * 4 + h, kv, c, 64, MACH_SM100A);
                volatile float term = (p > 0 ? p : 0) * ref_float(w, s * 4 + h);
                fsum = h == 0 ? term : fsum + term;
            }
            assert_true(ref_float(&exact, i) == (float)sum);
            assert_true(ref_float(l, i) == fsum);
        }
    }
    check_bounds(t, "L", &exact, 1e-5);
    eval_tensor_free(&exact);
    trial_close(t);
}

static double ref_of(trial *t, const char *name, int64_t i) {
    return ref_value(trial_tensor(t, name), i);
}

static void check_pointwise_exact(trial *t, int64_t i, int64_t n) {
    double x = ref_of(t, "X", i);
    double z = ref_of(t, "Z", i);
    double b = ref_of(t, "b", i % n);
    double c = (double)0.7f;
    assert_true(ref_of(t, "P", i) == (double)(float)((x + b) * c - z / (1.5 + fabs(x))));
    double f = exp(x * 0.25) + log(fabs(z) + 1) - tanh(x);
    assert_true(ref_of(t, "F", i) == (double)(float)f);
    double g = sqrt(fabs(x)) * (1 / sqrt(fabs(z) + 0.5)) + b * b * (b * b);
    assert_true(ref_of(t, "G", i) == (double)(float)g);
    double cl = fmin(fmax(z, -1), 0.75);
    assert_true(ref_of(t, "H", i) == (double)(float)(x > cl ? fmin(x, c) : fmax(cl, -b) + 6));
    uint32_t want = mach_encode(ELEM_E4M3, fmax(x, 0) * 100);
    assert_int_equal(eval_get_code(trial_tensor(t, "I"), i), want);
    want = mach_encode(ELEM_F16, -x / c);
    assert_int_equal(eval_get_code(trial_tensor(t, "J"), i), want);
}

static void check_pointwise_machine(trial *t, int64_t i, int64_t n) {
    float x = ref_float(trial_tensor(t, "X"), i);
    float z = ref_float(trial_tensor(t, "Z"), i);
    float b = ref_float(trial_tensor(t, "b"), i % n);
    volatile float c = 0.7f;
    volatile float p0 = x + b;
    volatile float p1 = p0 * c;
    volatile float p2 = 1.5f + fabsf(x);
    volatile float p3 = z / p2;
    volatile float p4 = p1 - p3;
    assert_true(ref_float(trial_tensor(t, "P"), i) == p4);
    volatile float f0 = x * 0.25f;
    volatile float f1 = fabsf(z) + 1;
    volatile float f2 = mach_exp(f0) + mach_log(f1);
    volatile float f3 = f2 - mach_tanh(x);
    assert_true(ref_float(trial_tensor(t, "F"), i) == f3);
    volatile float g0 = fabsf(z) + 0.5f;
    volatile float g1 = sqrtf(fabsf(x)) * mach_rsqrt(g0);
    volatile float b2 = b * b;
    volatile float b4 = b2 * b2;
    volatile float g2 = g1 + b4;
    assert_true(ref_float(trial_tensor(t, "G"), i) == g2);
    float cl = fminf(fmaxf(z, -1), 0.75f);
    volatile float h = fmaxf(cl, -b) + 6;
    assert_true(ref_float(trial_tensor(t, "H"), i) == (x > cl ? fminf(x, c) : h));
}

static void test_pointwise(void **state) {
    (void)state;
    trial *t = trial_open("pointwise.tk");
    trial_dim(t, "M", 7);
    trial_dim(t, "N", 19);
    trial_prepare(t, 11);
    trial_scalar(t, "c", 0.7, 0);
    trial_scalar(t, "n0", 0, 3);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    for (int64_t i = 0; i < 7 * 19; i++) {
        check_pointwise_exact(t, i, 19);
    }
    static const char *const names[] = {"P", "F", "G", "H", "I", "J"};
    eval_tensor exact[6];
    for (int i = 0; i < 6; i++) {
        exact[i] = trial_copy(t, names[i]);
    }
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int64_t i = 0; i < 7 * 19; i++) {
        check_pointwise_machine(t, i, 19);
    }
    static const double parts[] = {1e-5, 1e-3, 1e-5, 1e-5, 0.125, 1e-3}; // F has a tanh, which is off by 2^-11
    for (int i = 0; i < 6; i++) {
        check_bounds(t, names[i], &exact[i], parts[i]);
        eval_tensor_free(&exact[i]);
    }
    trial_close(t);
}

static void test_reduce(void **state) {
    (void)state;
    enum { M = 6, N = 37 };
    trial *t = trial_open("reduce.tk");
    trial_dim(t, "M", M);
    trial_dim(t, "N", N);
    trial_prepare(t, 13);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor y = trial_copy(t, "Y");
    eval_tensor s = trial_copy(t, "S");
    const eval_tensor *x = trial_tensor(t, "X");
    for (int m = 0; m < M; m++) {
        double top = -INFINITY;
        double least = INFINITY;
        double total = 0;
        for (int n = 0; n < N; n++) {
            top = fmax(top, ref_value(x, m * N + n));
            least = fmin(least, ref_value(x, m * N + n));
        }
        for (int n = 0; n < N; n++) {
            total += exp(ref_value(x, m * N + n) - top);
        }
        for (int n = 0; n < N; n++) {
            double v = exp(ref_value(x, m * N + n) - top) / total;
            assert_int_equal(eval_get_code(&y, m * N + n), ref_bf16(v));
        }
        assert_true(ref_float(&s, m) == (float)total);
        assert_true(ref_float(trial_tensor(t, "R"), m) == (float)(top - least));
    }
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int m = 0; m < M; m++) {
        float top = -INFINITY;
        float total = 0;
        for (int n = 0; n < N; n++) {
            top = fmaxf(top, (float)ref_value(x, m * N + n));
        }
        for (int n = 0; n < N; n++) {
            volatile float d = (float)ref_value(x, m * N + n) - top;
            total = n == 0 ? mach_exp(d) : total + mach_exp(d);
        }
        assert_true(ref_float(trial_tensor(t, "S"), m) == total);
    }
    check_bounds(t, "Y", &y, bf16_part);
    check_bounds(t, "S", &s, 1e-5);
    eval_tensor_free(&y);
    eval_tensor_free(&s);
    trial_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),   cmocka_unit_test(test_gateup),
        cmocka_unit_test(test_moe),    cmocka_unit_test(test_moe_bad_offsets),
        cmocka_unit_test(test_mqa),    cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_reduce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
