// Codecs without NVIDIA's headers: small formats by searching the nearest of all codes written down
// from their definitions, 16- and 32-bit formats against the compiler's own arithmetic.
#include "fp4rt.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 88172645463325252u;
static uint64_t random64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// A format written out: mantissa m and exponent field e of a code without sign.
typedef struct {
    fp4_elem elem;
    int exp, man, bias;
    int n;         // finite codes without sign
    bool negative; // there are negative numbers
} small_format;

static double value_of(const small_format *f, int code) {
    int e = code >> f->man;
    int m = code & ((1 << f->man) - 1);
    double fraction = (double)m / (1 << f->man);
    return e ? pow(2, e - f->bias) * (1 + fraction) : pow(2, 1 - f->bias) * fraction;
}

static uint64_t nearest(const small_format *f, double x) {
    int best = 0;
    for (int code = 1; code < f->n; code++) {
        double old = fabs(fabs(x) - value_of(f, best));
        double new = fabs(fabs(x) - value_of(f, code));
        if (new < old || (new == old &&code % 2 == 0)) {
            best = code;
        }
    }
    uint64_t sign = signbit(x) ? 1u << (f->exp + f->man) : 0;
    return f->negative ? sign | (uint64_t)best : signbit(x) ? 0 : (uint64_t)best;
}

static void small_formats(void **state) {
    (void)state;
    static const small_format formats[] = {
        {FP4_ELEM_E2M1, 2, 1, 1, 8, true},    {FP4_ELEM_E2M3, 2, 3, 1, 32, true},
        {FP4_ELEM_E3M2, 3, 2, 3, 32, true},   {FP4_ELEM_E4M3, 4, 3, 7, 127, true},
        {FP4_ELEM_E5M2, 5, 2, 15, 124, true}, {FP4_ELEM_UE4M3, 4, 3, 7, 127, false},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const small_format *f = &formats[i];
        for (int code = 0; code < f->n; code++) {
            double x = value_of(f, code);
            assert_true(fp4_decode(f->elem, (uint64_t)code) == x);
            assert_int_equal(fp4_encode(f->elem, x), code);
            double next = value_of(f, code + 1 < f->n ? code + 1 : code);
            double tie = (x + next) / 2;
            assert_int_equal(fp4_encode(f->elem, tie), nearest(f, tie));
            assert_int_equal(fp4_encode(f->elem, nextafter(tie, 1e9)),
                             nearest(f, nextafter(tie, 1e9)));
            assert_int_equal(fp4_encode(f->elem, nextafter(tie, 0)), nearest(f, nextafter(tie, 0)));
        }
        double max = value_of(f, f->n - 1);
        for (int j = 0; j < 20000; j++) {
            double x = ((double)(int64_t)random64() / 9.3e18) * max * (j % 2 ? 1.2 : 0.05);
            assert_int_equal(fp4_encode(f->elem, x), nearest(f, x));
        }
        assert_int_equal(fp4_encode(f->elem, INFINITY), f->n - 1);
        assert_int_equal(fp4_encode(f->elem, 1e300), f->n - 1);
        assert_int_equal(fp4_encode(f->elem, -INFINITY), nearest(f, -2 * max));
    }
}

static void specials(void **state) {
    (void)state;
    assert_int_equal(fp4_encode(FP4_ELEM_E2M1, NAN), 7);
    assert_int_equal(fp4_encode(FP4_ELEM_E2M3, NAN), 0x1f);
    assert_int_equal(fp4_encode(FP4_ELEM_E4M3, NAN), 0x7f);
    assert_int_equal(fp4_encode(FP4_ELEM_E5M2, -NAN), 0x7f);
    assert_int_equal(fp4_encode(FP4_ELEM_UE4M3, NAN), 0x7f);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, NAN), 0xff);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, 0), 0);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, -3), 0);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, 1), 127);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, nextafter(1, 2)), 128);
    assert_int_equal(fp4_encode(FP4_ELEM_UE8M0, 1e300), 0xfe);
    assert_true(fp4_decode(FP4_ELEM_UE8M0, 0) == ldexp(1, -127));
    assert_true(isnan(fp4_decode(FP4_ELEM_UE8M0, 0xff)));
    assert_true(isnan(fp4_decode(FP4_ELEM_E4M3, 0xff)));
    assert_true(fp4_decode(FP4_ELEM_E5M2, 0xfc) == -INFINITY);
    assert_true(isnan(fp4_decode(FP4_ELEM_E5M2, 0x7d)));
    assert_true(fp4_decode(FP4_ELEM_UE4M3, 0xb8) == 1); // bit 7 is ignored
    assert_int_equal(fp4_encode(FP4_ELEM_E2M1, -0.0), 8);
    assert_true(isnan(fp4_decode(FP4_ELEM_NONE, 0)));
}

// bf16: round to even by adding to the 32-bit pattern. f16: the compiler's conversion.
static void wide_formats(void **state) {
    (void)state;
    for (int i = 0; i < 3000000; i++) {
        uint32_t bits = (uint32_t)random64();
        if (i < 131072) {
            bits = (uint32_t)i << 15; // all bf16 numbers and the ties between them
        }
        float x = float_of(bits);
        if (isnan(x)) {
            assert_int_equal(fp4_encode(FP4_ELEM_BF16, x), 0x7fff);
            assert_int_equal(fp4_encode(FP4_ELEM_F16, x), 0x7fff);
            assert_true(isnan(fp4_decode(FP4_ELEM_F32, bits)));
            continue;
        }
        uint32_t bf16 = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        assert_int_equal(fp4_encode(FP4_ELEM_BF16, x), bf16);
        uint32_t tf32 = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
        assert_int_equal(fp4_encode(FP4_ELEM_TF32, x), tf32);
        assert_int_equal(fp4_encode(FP4_ELEM_F32, x), bits);
        assert_true(fp4_decode(FP4_ELEM_F32, bits) == x);
        assert_true(fp4_decode(FP4_ELEM_BF16, bits >> 16) == float_of(bits & 0xffff0000));
        _Float16 half = (_Float16)x;
        uint16_t f16;
        memcpy(&f16, &half, 2);
        assert_int_equal(fp4_encode(FP4_ELEM_F16, x), f16);
        if (!isnan((float)half)) {
            assert_true(fp4_decode(FP4_ELEM_F16, f16) == (double)half);
        }
    }
    for (int i = 0; i < 1000000; i++) {
        uint64_t wide = random64();
        double x;
        memcpy(&x, &wide, sizeof x);
        if (!isnan(x)) {
            assert_int_equal(fp4_encode(FP4_ELEM_F32, x), bits_of((float)x));
        }
        x = (double)(int64_t)wide * ldexp(1, -(i % 120)); // mostly ordinary numbers
        assert_int_equal(fp4_encode(FP4_ELEM_F32, x), bits_of((float)x));
    }
}

static void integers(void **state) {
    (void)state;
    assert_int_equal(fp4_encode(FP4_ELEM_I32, -2.5), (uint32_t)-2);
    assert_int_equal(fp4_encode(FP4_ELEM_I32, 3.5), 4);
    assert_int_equal(fp4_encode(FP4_ELEM_I32, 2147483647.5), INT32_MAX);
    assert_int_equal(fp4_encode(FP4_ELEM_I32, -1e30), (uint32_t)INT32_MIN);
    assert_int_equal(fp4_encode(FP4_ELEM_I64, 1e30), INT64_MAX);
    assert_int_equal(fp4_encode(FP4_ELEM_I64, -0x1p62), (uint64_t) - (INT64_C(1) << 62));
    assert_true(fp4_decode(FP4_ELEM_I32, 0xffffffff) == -1);
    assert_true(fp4_decode(FP4_ELEM_I64, (uint64_t)-7) == -7);
    assert_int_equal(fp4_encode(FP4_ELEM_I32, NAN), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_formats),
        cmocka_unit_test(specials),
        cmocka_unit_test(wide_formats),
        cmocka_unit_test(integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
