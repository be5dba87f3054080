// Programs of several nests, slices, conditions, operand kinds and tile values as operands, against
// plain loops; run-time mistakes and their sentences.
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Quantises rows of v as mxfp8 or mxfp4 from the definition: the least power of two under which the
// largest element fits, elements to nearest.
static void check_mx_rows(const eval_tensor *t, const float *v) {
    elem_kind e = t->format->elem;
    double largest = e == ELEM_E4M3 ? 448 : 6;
    int64_t cols = t->dims[t->n_dims - 1];
    int64_t per_row = (cols + 31) / 32;
    int64_t rows = eval_count(t) / (cols > 0 ? cols : 1);
    for (int64_t g = 0; g < rows * per_row; g++) {
        int64_t row = g / per_row;
        int64_t lo = g % per_row * 32;
        int64_t n = cols - lo < 32 ? cols - lo : 32;
        double amax = 0;
        for (int64_t i = 0; i < n; i++) {
            amax = fmax(amax, fabs((double)v[row * cols + lo + i]));
        }
        int s = t->scales[g];
        double scale = pow(2, s - 127);
        assert_true(amax == 0 ? s == 0 : amax <= largest * scale && amax > largest * scale / 2);
        for (int64_t i = 0; i < n; i++) {
            double x = (double)v[row * cols + lo + i] / scale;
            assert_int_equal(eval_get_code(t, row * cols + lo + i), mach_encode(e, x));
        }
    }
}

static void check_nests(int64_t m, int64_t n, int64_t k) {
    trial *t = trial_open("nests.tk");
    trial_dim(t, "M", m);
    trial_dim(t, "N", n);
    trial_dim(t, "K", k);
    trial_prepare(t, 21);
    const eval_tensor *x = trial_tensor(t, "X");
    const eval_tensor *w = trial_tensor(t, "W");
    float *v = malloc((size_t)(m * k + 1) * sizeof *v);
    for (int64_t i = 0; i < m * k; i++) {
        v[i] = (float)ref_value(x, i) * 3;
    }
    // The temp cannot be seen; the same quantiser on the same values, unpacked.
    double *q = malloc((size_t)(m * k + 1) * sizeof *q);
    for (int64_t g = 0; g < m * ((k + 31) / 32); g++) {
        int64_t lo = g / ((k + 31) / 32) * k + g % ((k + 31) / 32) * 32;
        int64_t len = k - g % ((k + 31) / 32) * 32;
        len = len < 32 ? len : 32;
        double amax = 0;
        for (int64_t i = 0; i < len; i++) {
            amax = fmax(amax, fabs(ref_value(x, lo + i)));
        }
        double scale = pow(2, ceil(log2(amax / 448)));
        for (int64_t i = 0; i < len; i++) {
            uint32_t c = mach_encode(ELEM_E4M3, ref_value(x, lo + i) / scale);
            q[lo + i] = mach_decode(ELEM_E4M3, c) * scale;
        }
    }
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    check_mx_rows(trial_tensor(t, "Xq"), v);
    const eval_tensor *d = trial_tensor(t, "D");
    for (int64_t i = 0; i < m * n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            sum += q[i / n * k + j] * ref_value(w, i % n * k + j);
        }
        assert_true(ref_float(d, i) == (float)sum);
    }
    eval_tensor exact = trial_copy(t, "D");
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    check_mx_rows(trial_tensor(t, "Xq"), v);
    eval_difference diff = eval_compare(&exact, trial_bound(t, "D"), d);
    assert_int_equal(diff.n_outside, 0);
    eval_tensor_free(&exact);
    free(q);
    free(v);
    trial_close(t);
}

static void test_nests(void **state) {
    (void)state;
    check_nests(11, 9, 96);
    check_nests(1, 8, 40);
    check_nests(8, 1, 32);
}

static void check_choose(int64_t mode) {
    static const int first[] = {2, 0, 3};
    enum { M = 21 };
    trial *t = trial_open("choose.tk");
    trial_dim(t, "M", M);
    trial_dim(t, "G", 3);
    trial_prepare(t, 31);
    trial_set_ints(t, "first", first);
    trial_scalar(t, "mode", 0, mode);
    eval_tensor before = trial_copy(t, "D");
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int m = 0; m < M; m++) {
        float x = ref_float(trial_tensor(t, "X"), m);
        volatile float want = ref_float(&before, m);
        for (int g = 0; g < 3; g++) {
            volatile float add = x * (float)first[g];
            if (mode == 1 && first[g] > 0) {
                want = want + add;
            } else if (mode == 2) {
                want = x - 1;
            }
        }
        assert_true(ref_float(trial_tensor(t, "D"), m) == want);
    }
    eval_tensor_free(&before);
    trial_close(t);
}

static void test_choose(void **state) {
    (void)state;
    check_choose(0);
    check_choose(1);
    check_choose(2);
}

static double largest_of(const eval_tensor *t) {
    double largest = 0;
    for (int64_t i = 0; i < eval_count(t); i++) {
        largest = fmax(largest, fabs(ref_value(t, i)));
    }
    return largest;
}

static void test_mixed(void **state) {
    (void)state;
    static const char *const names[][3] = {
        {"U", "A", "B"}, {"V", "C", "D"}, {"W", "E", "F"}, {"X", "G", "H"}};
    trial *t = trial_open("mixed.tk");
    trial_dim(t, "M", 13);
    trial_dim(t, "N", 10);
    trial_dim(t, "K", 80);
    trial_prepare(t, 41);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor exact[4];
    for (int p = 0; p < 4; p++) {
        exact[p] = trial_copy(t, names[p][0]);
        for (int64_t i = 0; i < 130; i++) {
            double v =
                ref_dot(trial_tensor(t, names[p][1]), i / 10, trial_tensor(t, names[p][2]), i % 10);
            assert_true(ref_float(&exact[p], i) == (float)v);
        }
    }
    trial_run(t, EVAL_MACHINE, MACH_SM120A);
    for (int p = 0; p < 4; p++) {
        const eval_tensor *d = trial_tensor(t, names[p][0]);
        for (int64_t i = 0; i < 130; i++) {
            float v = ref_chain(trial_tensor(t, names[p][1]), i / 10, trial_tensor(t, names[p][2]),
                                i % 10, 32, MACH_SM120A);
            assert_true(ref_float(d, i) == v);
        }
        eval_difference diff = eval_compare(&exact[p], trial_bound(t, names[p][0]), d);
        assert_int_equal(diff.n_outside, 0);
        assert_true(diff.max_bound < 1e-5 * largest_of(&exact[p]));
        eval_tensor_free(&exact[p]);
    }
    trial_close(t);
}

// sm_90a has no block-scaled product: the machine run is refused, the exact one is not.
static void test_no_instruction(void **state) {
    (void)state;
    trial *t = trial_open("gemm.tk");
    trial_dim(t, "M", 4);
    trial_dim(t, "N", 4);
    trial_dim(t, "K", 64);
    trial_prepare(t, 1);
    trial_scalar(t, "alpha", 1, 0);
    assert_int_equal(trial_try(t, EVAL_MACHINE, MACH_SM90A), EVAL_EPROGRAM);
    assert_non_null(strstr(t->error.text, "sm_90a has no instruction that multiplies nvfp4"));
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM90A), EVAL_OK);
    trial_close(t);
}

static void test_slices(void **state) {
    (void)state;
    static const int row[] = {4, 0, 0, 6, 2};
    enum { T = 5, C = 70 };
    trial *t = trial_open("slices.tk");
    trial_dim(t, "R", 7);
    trial_dim(t, "C", C);
    trial_dim(t, "T", T);
    trial_prepare(t, 51);
    trial_set_ints(t, "row", row);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    const eval_tensor *x = trial_tensor(t, "X");
    const eval_tensor *p = trial_tensor(t, "P");
    const eval_tensor *a = trial_tensor(t, "A");
    for (int r = 0; r < T; r++) {
        for (int c = 0; c < C; c++) {
            assert_int_equal(eval_get_code(p, r * C + c), eval_get_code(x, row[r] * C + c));
            double sum = 0;
            for (int i = 0; i < 3; i++) {
                sum += ref_value(a, (r * 3 + i) * C + c);
            }
            assert_int_equal(eval_get_code(trial_tensor(t, "Y"), r * C + c), ref_bf16(sum));
        }
        assert_memory_equal(p->scales + r * 3, x->scales + row[r] * 3, 3);
    }
    int bad[] = {4, 0, 7, 6, 2};
    trial_set_ints(t, "row", bad);
    assert_int_equal(trial_try(t, EVAL_EXACT, MACH_SM120A), EVAL_EDATA);
    assert_non_null(strstr(t->error.text, "subscript 7"));
    trial_close(t);
}

static float ref_swiglu(float gate, float up) {
    volatile float e = mach_exp(-gate);
    volatile float below = 1 + e;
    volatile float s = gate / below;
    return s * up;
}

static void test_swiglu(void **state) {
    (void)state;
    enum { M = 9, J = 128, I = 64, K = 96 };
    trial *t = trial_open("swiglu.tk");
    trial_dim(t, "M", M);
    trial_dim(t, "J", J);
    trial_dim(t, "I", I);
    trial_dim(t, "K", K);
    trial_prepare(t, 61);
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_tensor exact = trial_copy(t, "H");
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    static float v[M * I];
    for (int m = 0; m < M; m++) {
        for (int i = 0; i < I; i++) {
            const eval_tensor *x = trial_tensor(t, "X");
            const eval_tensor *w = trial_tensor(t, "W");
            float gate = ref_chain(x, m, w, 2 * i, 64, MACH_SM100A);
            float up = ref_chain(x, m, w, 2 * i + 1, 64, MACH_SM100A);
            volatile float h = ref_swiglu(gate, up) * ref_float(trial_tensor(t, "g"), m);
            v[m * I + i] = h;
        }
    }
    check_mx_rows(trial_tensor(t, "H"), v);
    eval_difference d = eval_compare(&exact, trial_bound(t, "H"), trial_tensor(t, "H"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

typedef struct {
    int token, slot;
} pair;

// Rows sorted by expert, tokens in order.
static int route_pairs(const int *route, int tokens, int expert, pair *out) {
    int n = 0;
    for (int t = 0; t < tokens; t++) {
        for (int s = 0; s < 2; s++) {
            if (route[t * 2 + s] == expert) {
                out[n++] = (pair){t, s};
            }
        }
    }
    return n;
}

// One expert's row: up, swiglu * gate, quantised per 32 as mxfp8, down.
static void mega_row(trial *t, int token, int expert, float gate, float *y) {
    enum { HID = 64, INT = 32 };
    eval_tensor h = {.format = trial_tensor(t, "X")->format, .n_dims = 2, .dims = {1, INT}};
    assert_true(eval_tensor_alloc(&h));
    float v[INT];
    float amax = 0;
    for (int i = 0; i < INT; i++) {
        int64_t row = expert * 2 * INT + 2 * i;
        const eval_tensor *x = trial_tensor(t, "X");
        const eval_tensor *w1 = trial_tensor(t, "W1");
        float g = ref_chain(x, token, w1, row, 32, MACH_SM100A);
        float u = ref_chain(x, token, w1, row + 1, 32, MACH_SM100A);
        volatile float p = ref_swiglu(g, u) * gate;
        v[i] = p;
        amax = fmaxf(amax, fabsf(v[i]));
    }
    int s = amax == 0 ? 0 : (int)ceil(log2((double)amax / 448)) + 127;
    h.scales[0] = (uint8_t)s;
    for (int i = 0; i < INT; i++) {
        eval_set_code(&h, i, mach_encode(ELEM_E4M3, (double)v[i] * pow(2, 127 - s)));
    }
    for (int n = 0; n < HID; n++) {
        y[n] = ref_chain(&h, 0, trial_tensor(t, "W2"), expert * HID + n, 32, MACH_SM100A);
    }
    eval_tensor_free(&h);
}

static float bf16_float(float x) {
    uint32_t u = ref_bf16((double)x) << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static void test_mega(void **state) {
    (void)state;
    enum { T = 6, E = 4, HID = 64 };
    static const int route[T * 2] = {1, 3, 3, 0, 1,  -1,
                                     3, 1, 0, 1, -1, -1}; // expert 2 gets nothing
    trial *t = trial_open("mega.tk");
    trial_dim(t, "T", T);
    trial_dim(t, "E", E);
    trial_dim(t, "INT2", 64);
    trial_prepare(t, 71);
    trial_set_ints(t, "route", route);
    trial_run(t, EVAL_MACHINE, MACH_SM100A);
    static float c[T][2][HID];
    memset(c, 0, sizeof c);
    for (int e = 0; e < E; e++) {
        pair rows[2 * T];
        int n = route_pairs(route, T, e, rows);
        for (int p = 0; p < n; p++) {
            float gate = ref_float(trial_tensor(t, "gate"), rows[p].token * 2 + rows[p].slot);
            mega_row(t, rows[p].token, e, gate, c[rows[p].token][rows[p].slot]);
        }
    }
    for (int i = 0; i < T * HID; i++) {
        volatile float sum =
            bf16_float(c[i / HID][0][i % HID]) + bf16_float(c[i / HID][1][i % HID]);
        assert_int_equal(eval_get_code(trial_tensor(t, "Y"), i), ref_bf16((double)sum));
    }
    eval_tensor machine = trial_copy(t, "Y");
    trial_run(t, EVAL_EXACT, MACH_SM100A);
    eval_difference d = eval_compare(trial_tensor(t, "Y"), trial_bound(t, "Y"), &machine);
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&machine);
    trial_close(t);
}

static void test_attend(void **state) {
    (void)state;
    enum { M = 11, T = 40, DIM = 32 };
    trial *t = trial_open("attend.tk");
    trial_dim(t, "M", M);
    trial_dim(t, "T", T);
    trial_prepare(t, 81);
    const eval_tensor *q = trial_tensor(t, "Q");
    const eval_tensor *k = trial_tensor(t, "K");
    const eval_tensor *v = trial_tensor(t, "V");
    trial_run(t, EVAL_EXACT, MACH_SM90A);
    for (int m = 0; m < M; m++) {
        double o[DIM] = {0};
        double top = 0;
        for (int c = 0; c < T; c++) {
            double s = ref_dot(q, m, k, c);
            top = fmax(top, s);
            double p = mach_decode(ELEM_BF16, ref_bf16(exp(s * 0.125 - 4)));
            for (int d = 0; d < DIM; d++) {
                o[d] += p * ref_value(v, d * T + c);
            }
        }
        for (int d = 0; d < DIM; d++) {
            assert_true(ref_float(trial_tensor(t, "O"), m * DIM + d) == (float)o[d]);
        }
        assert_true(ref_float(trial_tensor(t, "top"), m) == (float)top);
    }
    eval_tensor exact = trial_copy(t, "O");
    trial_run(t, EVAL_MACHINE, MACH_SM90A);
    eval_difference d = eval_compare(&exact, trial_bound(t, "O"), trial_tensor(t, "O"));
    assert_int_equal(d.n_outside, 0);
    eval_tensor_free(&exact);
    trial_close(t);
}

// The same seed gives the same contents; another seed, others; all values finite.
static void test_random(void **state) {
    (void)state;
    static const ast_format nv = {"nvfp4", ELEM_E2M1, ELEM_UE4M3, 2, {1, 16}, "sf128x4", {0, 0, 0}};
    eval_tensor t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = (eval_tensor){.format = &nv, .n_dims = 2, .dims = {30, 70}};
        assert_true(eval_tensor_alloc(&t[i]));
        eval_random(&t[i], i < 2 ? 5 : 6);
    }
    int64_t first;
    assert_int_equal(eval_diff_codes(&t[0], &t[1], &first), 0);
    assert_int_equal(first, -1);
    assert_true(eval_diff_codes(&t[0], &t[2], &first) > 1000);
    int seen[16] = {0};
    for (int64_t i = 0; i < eval_count(&t[0]); i++) {
        seen[eval_get_code(&t[0], i)]++;
        assert_true(isfinite(eval_value(&t[0], i)));
        assert_true(eval_value(&t[0], i) == ref_value(&t[0], i));
    }
    for (int c = 0; c < 16; c++) {
        assert_true(seen[c] > 0);
    }
    for (int i = 0; i < 3; i++) {
        eval_tensor_free(&t[i]);
    }
}

// A planted error is seen by both comparisons.
static void test_compare(void **state) {
    (void)state;
    trial *t = trial_open("gemm.tk");
    trial_dim(t, "M", 16);
    trial_dim(t, "N", 16);
    trial_dim(t, "K", 64);
    trial_prepare(t, 1);
    trial_scalar(t, "alpha", 1, 0);
    trial_run(t, EVAL_EXACT, MACH_SM120A);
    eval_tensor *d = trial_tensor(t, "D");
    eval_tensor wrong = trial_copy(t, "D");
    eval_set_code(&wrong, 37, eval_get_code(d, 37) ^ 0x8000);
    int64_t first;
    assert_int_equal(eval_diff_codes(d, &wrong, &first), 1);
    assert_int_equal(first, 37);
    eval_difference diff = eval_compare(d, trial_bound(t, "D"), &wrong);
    assert_int_equal(diff.n_outside, 1);
    assert_int_equal(diff.first, 37);
    eval_tensor_free(&wrong);
    trial_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nests),  cmocka_unit_test(test_choose),
        cmocka_unit_test(test_mixed),  cmocka_unit_test(test_no_instruction),
        cmocka_unit_test(test_slices), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_mega),   cmocka_unit_test(test_attend),
        cmocka_unit_test(test_random), cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
