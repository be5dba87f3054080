// Codes, conversions, f32 functions and the quantising sequences of mach.h against the encodings'
// definitions: nearest of all values by search, the manual's table of e2m1 decision points, f32
// sequences written out with fmaf-free C.
#include "mach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static uint64_t rng_state = 99;

static uint32_t rng(void) {
    rng_state = rng_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(rng_state >> 32);
}

static float bits_float(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static void test_values(void **state) {
    (void)state;
    static const double fp4[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    for (uint32_t c = 0; c < 8; c++) {
        assert_true(mach_decode(ELEM_E2M1, c) == fp4[c]);
        assert_true(mach_decode(ELEM_E2M1, c | 8) == -fp4[c]);
    }
    assert_true(mach_largest(ELEM_E2M1) == 6 && mach_largest(ELEM_E2M3) == 7.5);
    assert_true(mach_largest(ELEM_E3M2) == 28 && mach_largest(ELEM_E4M3) == 448);
    assert_true(mach_largest(ELEM_E5M2) == 57344 && mach_largest(ELEM_F16) == 65504);
    assert_true(mach_decode(ELEM_E4M3, 1) == 0x1p-9 && mach_decode(ELEM_E5M2, 1) == 0x1p-16);
    assert_true(mach_decode(ELEM_UE8M0, 0) == 0x1p-127 && isnan(mach_decode(ELEM_UE8M0, 0xFF)));
    assert_true(isnan(mach_decode(ELEM_E4M3, 0xFF)) && isinf(mach_decode(ELEM_E5M2, 0xFC)));
    assert_true(mach_decode(ELEM_UE4M3, 0xB8) == 1);
    assert_true(mach_decode(ELEM_BF16, 0x3F80) == 1 && mach_decode(ELEM_F16, 0x3C00) == 1);
    assert_true(mach_decode(ELEM_TF32, 0x3F803FFF) == 1 + 0x1p-10);
}

// The nearest value by search over all codes; of two equally near the even code.
static uint32_t nearest(elem_kind e, double x) {
    uint32_t best = 0;
    double best_d = INFINITY;
    uint32_t half = 1u << (elem_bits(e) - 1);
    for (uint32_t c = 0; c < half; c++) {
        double v = mach_decode(e, c);
        double d = fabs(v - fabs(x));
        if (isfinite(v) && (d < best_d || (d == best_d && c % 2 == 0))) {
            best = c;
            best_d = d;
        }
    }
    return best | (signbit(x) ? half : 0);
}

static void test_rounding_small(void **state) {
    (void)state;
    static const elem_kind kinds[] = {ELEM_E2M1, ELEM_E2M3, ELEM_E3M2, ELEM_E4M3, ELEM_E5M2};
    for (int i = 0; i < 5; i++) {
        elem_kind e = kinds[i];
        uint32_t half = 1u << (elem_bits(e) - 1);
        for (uint32_t c = 0; c < half; c++) { // values, middles and their neighbours
            double v = mach_decode(e, c);
            double w = c + 1 < half ? mach_decode(e, c + 1) : v;
            double mid = (v + w) / 2;
            double tries[] = {v, mid, nextafter(mid, 0), nextafter(mid, INFINITY), -mid, -v};
            for (int t = 0; t < 6 && isfinite(v) && isfinite(w); t++) {
                assert_int_equal(mach_encode(e, tries[t]), nearest(e, tries[t]));
            }
        }
        for (int t = 0; t < 2000; t++) {
            double x = (double)bits_float((rng() & 0x807FFFFF) | (105 + rng() % 40) << 23);
            assert_int_equal(mach_encode(e, x), nearest(e, x));
        }
    }
    static const float edge[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f, 1e30f};
    static const uint32_t code[] = {0, 2, 2, 4, 4, 6, 6, 7};
    for (int i = 0; i < 8; i++) {
        assert_int_equal(mach_encode(ELEM_E2M1, (double)edge[i]), code[i]);
    }
}

static void test_special_codes(void **state) {
    (void)state;
    assert_int_equal(mach_encode(ELEM_E4M3, NAN), 0x7F);
    assert_int_equal(mach_encode(ELEM_E5M2, -NAN), 0x7F);
    assert_int_equal(mach_encode(ELEM_E2M1, NAN), 7);
    assert_int_equal(mach_encode(ELEM_E3M2, NAN), 0x1F);
    assert_int_equal(mach_encode(ELEM_E4M3, INFINITY), 0x7E);
    assert_int_equal(mach_encode(ELEM_E4M3, -INFINITY), 0xFE);
    assert_int_equal(mach_encode(ELEM_E4M3, 1e9), 0x7E);
    assert_int_equal(mach_encode(ELEM_E5M2, INFINITY), 0x7B);
    assert_int_equal(mach_encode(ELEM_E4M3, -0.0), 0x80);
    assert_int_equal(mach_encode(ELEM_BF16, INFINITY), 0x7F80);
    assert_int_equal(mach_encode(ELEM_BF16, 3.4e38), 0x7F80);
    assert_int_equal(mach_encode(ELEM_BF16, NAN), 0x7FFF);
    assert_int_equal(mach_encode(ELEM_F16, 65520), 0x7C00);
    assert_int_equal(mach_encode(ELEM_F16, 65519), 0x7BFF);
    assert_int_equal(mach_encode(ELEM_F16, NAN), 0x7FFF);
    assert_int_equal(mach_encode(ELEM_F32, NAN), 0x7FFFFFFF);
    assert_int_equal(mach_encode(ELEM_UE4M3, -3), 0);
}

static void test_rounding_wide(void **state) {
    (void)state;
    for (int t = 0; t < 200000; t++) {
        uint32_t u = rng();
        float f = bits_float(u);
        if (!isfinite(f)) {
            continue;
        }
        // bf16 keeps the upper half; nearest even by adding just below half a unit.
        uint32_t bf = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
        assert_int_equal(mach_encode(ELEM_BF16, (double)f), bf);
        uint32_t tf = (u + 0xFFF + (u >> 13 & 1)) & ~0x1FFFu;
        assert_int_equal(mach_encode(ELEM_TF32, (double)f), tf);
#ifdef __FLT16_MANT_DIG__
        float small = bits_float((u & 0x807FFFFF) | (98 + (u >> 23) % 48) << 23);
        _Float16 h = (_Float16)small;
        uint16_t hb;
        memcpy(&hb, &h, 2);
        assert_int_equal(mach_encode(ELEM_F16, (double)small), hb);
#endif
    }
}

// The exponent of an f32, one more when the fraction is not zero.
static uint32_t rp_reference(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t e = u >> 23 & 255;
    uint32_t m = u & 0x7FFFFF;
    if (e == 255) {
        return m != 0 ? 255 : 254;
    }
    if (e == 0) {
        return m > 0x400000;
    }
    e += m != 0;
    return e > 254 ? 254 : e;
}

static void test_ue8m0(void **state) {
    (void)state;
    for (int t = 0; t < 100000; t++) {
        float x = bits_float(rng() & 0x7FFFFFFF);
        assert_int_equal(mach_encode(ELEM_UE8M0, (double)x), rp_reference(x));
    }
    static const float edge[] = {0, 0x1p-149f, 0x1p-127f, 0x1.8p-127f, 0x1p-126f, 1, 0x1p127f};
    static const uint32_t code[] = {0, 0, 0, 1, 1, 127, 254};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(mach_encode(ELEM_UE8M0, (double)edge[i]), code[i]);
    }
}

static void test_nvfp4_sequence(void **state) {
    (void)state;
    for (int t = 0; t < 20000; t++) {
        float hs = bits_float((rng() & 0x7FFFFF) | (110 + rng() % 30) << 23);
        float amax = t % 50 == 0 ? 0 : bits_float((rng() & 0x7FFFFF) | (110 + rng() % 30) << 23);
        mach_granule g = mach_quantise(ELEM_E2M1, ELEM_UE4M3, (double)amax, (double)hs, false);
        volatile float six = 6.0f * hs;
        volatile float r = 1.0f / six;
        volatile float s = amax * r;
        assert_int_equal(g.scale, nearest(ELEM_E4M3, (double)s));
        volatile float d = (float)mach_decode(ELEM_E4M3, g.scale) * hs;
        volatile float q = d == 0 ? 0 : 1.0f / d;
        for (int i = 0; i < 4; i++) {
            volatile float x = amax * ((float)(rng() % 2001) / 1000.0f - 1.0f);
            volatile float y = x * q;
            assert_int_equal(mach_quantise_elem(ELEM_E2M1, (double)x, g, false),
                             nearest(ELEM_E2M1, (double)y));
        }
    }
}

static void test_mx_sequence(void **state) {
    (void)state;
    static const elem_kind kinds[] = {ELEM_E4M3, ELEM_E2M1};
    static const uint32_t inverse[] = {0x3B124925, 0x3E2AAAAB};
    for (int t = 0; t < 20000; t++) {
        elem_kind e = kinds[t % 2];
        float amax = t % 50 == 0 ? 0 : bits_float((rng() & 0x7FFFFF) | (60 + rng() % 120) << 23);
        mach_granule g = mach_quantise(e, ELEM_UE8M0, (double)amax, 1, false);
        volatile float s = amax * bits_float(inverse[t % 2]);
        assert_int_equal(g.scale, rp_reference(s));
        assert_true(g.factor == ldexp(1, 127 - g.scale));
        // The scale is the least power of two that lets the largest element fit.
        assert_true((double)amax <= mach_largest(e) * mach_decode(ELEM_UE8M0, g.scale) * 1.000001);
    }
    mach_granule top = mach_quantise(ELEM_E4M3, ELEM_UE8M0, INFINITY, 1, false);
    assert_int_equal(top.scale, 254);
    assert_true(top.factor == 0x1p-127);
}

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

// Against results of an H200; the forms without .ftz.
static void test_measured(void **state) {
    (void)state;
    enum { EX2, LG2, RCP, RSQRT, SQRT, TANH, SIN, COS };
    static float (*const functions[])(float) = {
        [EX2] = mach_ex2, [LG2] = mach_lg2, [RSQRT] = mach_rsqrt, [TANH] = mach_tanh, [COS] = NULL};
    static const struct {
        int f, ftz;
        uint32_t x, y;
    } points[] = {
#define MUFU_POINT(f, ftz, x, y) {f, ftz, x, y},
#include "../sim/vectors/mufu.def"
#undef MUFU_POINT
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        if (functions[points[i].f] != NULL && (!points[i].ftz || points[i].f == TANH)) {
            assert_int_equal(float_bits(functions[points[i].f](bits_float(points[i].x))), points[i].y);
        }
    }
    static const struct {
        int f;
        uint32_t base;
        uint64_t hash;
    } binades[] = {
#define MUFU_BINADE(f, base, hash) {f, base, hash},
#include "../sim/vectors/mufu.def"
#undef MUFU_BINADE
    };
    for (size_t i = 0; i < sizeof binades / sizeof *binades; i++) {
        uint64_t h = 0xCBF29CE484222325u;
        for (uint32_t n = 0; functions[binades[i].f] != NULL && n < 1u << 23; n += 37) {
            h = (h ^ float_bits(functions[binades[i].f](bits_float(binades[i].base + n)))) * 0x100000001B3u;
        }
        assert_true(functions[binades[i].f] == NULL || h == binades[i].hash);
    }
}

static void test_functions(void **state) {
    (void)state;
    for (int t = 0; t < 20000; t++) {
        float x = bits_float((rng() & 0x807FFFFF) | (100 + rng() % 34) << 23);
        volatile float y = x * bits_float(0x3FB8AA3B);
        assert_true(mach_exp(x) == mach_ex2(y));
        float p = fabsf(x);
        volatile float ln = mach_lg2(p) * bits_float(0x3F317218);
        assert_true(mach_log(p) == ln);
        // within what the manual promises
        long double e = exp2l((long double)y);
        assert_true(y >= 128 || fabsl((long double)mach_ex2(y) - e) <= 0x1p-21L * e + 0x1p-149L);
        long double l = log2l((long double)p);
        assert_true(fabsl((long double)mach_lg2(p) - l) <= 0x1p-22L * (fabsl(l) + 1));
        long double r = 1 / sqrtl((long double)p);
        assert_true(fabsl((long double)mach_rsqrt(p) - r) <= 0x1p-22L * r);
        long double h = tanhl((long double)x);
        assert_true(fabsl((long double)mach_tanh(x) - h) <= 0x1p-11L * fabsl(h));
    }
    assert_true(mach_exp(-INFINITY) == 0 && isinf(mach_exp(200)));
    assert_true(mach_exp(-100.0f) > 0 && mach_exp(-100.0f) < 0x1p-126f); // subnormals stay
    assert_true(mach_max(NAN, 2) == 2 && mach_min(2, NAN) == 2 && isnan(mach_max(NAN, NAN)));
    assert_false(signbit(mach_max(-0.0f, 0.0f)));
    assert_false(signbit(mach_max(0.0f, -0.0f)));
    assert_true(signbit(mach_min(0.0f, -0.0f)) && signbit(mach_min(-0.0f, 0.0f)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_rounding_small),
        cmocka_unit_test(test_special_codes), cmocka_unit_test(test_rounding_wide),
        cmocka_unit_test(test_ue8m0),         cmocka_unit_test(test_nvfp4_sequence),
        cmocka_unit_test(test_mx_sequence),   cmocka_unit_test(test_measured),
        cmocka_unit_test(test_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
