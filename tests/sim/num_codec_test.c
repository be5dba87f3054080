// Formats and f32 arithmetic: encodings against nearest-value search over every code, decodings
// against the second reference, directed roundings against neighbours in doubles.
#include "num_ref.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static const enum num_fmt all[] = {NUM_E2M1, NUM_E2M3, NUM_E3M2, NUM_E4M3,
                                   NUM_E5M2, NUM_BF16, NUM_F16};
#define N_ALL (sizeof all / sizeof all[0])

static void test_decode_all_codes(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        for (uint32_t code = 0; code < 1u << num_bits_of(all[i]); code++) {
            double want = ref_value(all[i], code);
            float got = num_decode(all[i], code);
            if (want != want) {
                assert_int_equal(num_bits(got), NUM_NAN_F32);
            } else {
                assert_true((double)got == want && !signbit(got) == !signbit(want));
            }
        }
    }
    for (uint32_t code = 0; code < 255; code++) {
        assert_true((double)num_decode(NUM_UE8M0, code) == ldexp(1, (int)code - 127));
    }
    assert_int_equal(num_bits(num_decode(NUM_UE8M0, 255)), NUM_NAN_F32);
    for (uint32_t code = 0; code < 127; code++) {
        assert_true(num_decode(NUM_UE4M3, code | 0x80) == num_decode(NUM_E4M3, code));
    }
    assert_int_equal(num_bits(num_decode(NUM_TF32, 0x7F800001)), 0x7F800000);
}

// Every finite code comes back from its value under every rounding.
static void test_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < N_ALL; i++) {
        for (uint32_t code = 0; code < 1u << num_bits_of(all[i]); code++) {
            float x = num_decode(all[i], code);
            bool overflow = all[i] == NUM_E5M2 && isinf(x); // saturates
            for (int r = NUM_RN; x == x && !overflow && r <= NUM_RP; r++) {
                assert_int_equal(num_encode(all[i], x, (enum num_round)r, false), code);
            }
        }
    }
}

// Nearest code by brute force: smallest distance, ties to the even code.
static uint32_t nearest(enum num_fmt f, double x) {
    uint32_t best = 0;
    double distance = INFINITY;
    uint32_t half = 1u << (num_bits_of(f) - 1);
    for (uint32_t code = 0; code < half; code++) {
        double v = ref_value(f, code);
        double d = fabs(fabs(x) - v);
        if (isfinite(v) && (d < distance || (d == distance && code % 2 == 0))) {
            best = code;
            distance = d;
        }
    }
    return best | (signbit(x) ? half : 0);
}

static void test_nearest(void **state) {
    (void)state;
    struct ref_random r = {99};
    for (size_t i = 0; i < 5; i++) { // the saturating formats
        enum num_fmt f = all[i];
        for (int n = 0; n < 20000; n++) {
            uint32_t exponent = 100 + ref_below(&r, 50);
            float x = num_f32((ref_u32(&r) & 0x807FFFFFu) | exponent << 23);
            if (n % 4 == 0) { // an exact tie
                uint32_t code = ref_below(&r, (1u << (num_bits_of(f) - 1)) - 2);
                double mid = (ref_value(f, code) + ref_value(f, code + 1)) / 2;
                x = isfinite(mid) ? (float)mid : 1;
            }
            assert_int_equal(num_encode(f, x, NUM_RN, true), nearest(f, (double)x));
        }
    }
}

static void test_specials(void **state) {
    (void)state;
    assert_int_equal(num_encode(NUM_E4M3, -NAN, NUM_RN, true), 0x7F);
    assert_int_equal(num_encode(NUM_E4M3, INFINITY, NUM_RN, true), 0x7E);
    assert_int_equal(num_encode(NUM_E4M3, -INFINITY, NUM_RN, true), 0xFE);
    assert_int_equal(num_encode(NUM_E4M3, 464.1f, NUM_RN, true), 0x7E);
    assert_int_equal(num_encode(NUM_E4M3, -0.0f, NUM_RN, true), 0x80);
    assert_int_equal(num_encode(NUM_E4M3, 0x1p-10f, NUM_RN, true), 0x00);
    assert_int_equal(num_encode(NUM_E5M2, INFINITY, NUM_RN, true), 0x7B);
    assert_int_equal(num_encode(NUM_E5M2, NAN, NUM_RN, true), 0x7F);
    assert_int_equal(num_encode(NUM_E2M1, NAN, NUM_RN, true), 0x7);
    assert_int_equal(num_encode(NUM_E2M1, -1e9f, NUM_RN, true), 0xF);
    assert_int_equal(num_encode(NUM_E3M2, -NAN, NUM_RN, true), 0x1F);
    assert_int_equal(num_encode(NUM_E2M3, -0.0f, NUM_RN, true), 0x20);
    assert_int_equal(num_encode(NUM_UE4M3, -3, NUM_RN, true), 0);
    assert_int_equal(num_f16_of(65520, NUM_RN), 0x7C00);
    assert_int_equal(num_f16_of(65519, NUM_RN), 0x7BFF);
    assert_int_equal(num_f16_of(1e9f, NUM_RZ), 0x7BFF);
    assert_int_equal(num_bf16_of(num_f32(0x7F7FFFFF), NUM_RN), 0x7F80);
    assert_int_equal(num_tf32_of(num_f32(0x3F801000), NUM_RN), 0x3F800000);
    assert_int_equal(num_tf32_of(num_f32(0x3F801000), NUM_RNA), 0x3F802000);
    // The first source lands in the upper half.
    assert_int_equal(num_encode_x2(NUM_E2M1, 6, -1, NUM_RN, true, false), 0x7A);
    assert_int_equal(num_encode_x2(NUM_E2M1, 6, -1, NUM_RN, true, true), 0x70);
    assert_int_equal(num_encode_x2(NUM_E4M3, 1, 2, NUM_RN, true, false), 0x3840);
    assert_int_equal(num_narrow_to_f16x2(NUM_E4M3, 0x7F38), 0x7FFF3C00);
    assert_int_equal(num_narrow_to_f16x2(NUM_E5M2, 0xFC7D), 0xFC007FFF);
    assert_int_equal(num_narrow_to_f16x2(NUM_E2M1, 0xF1), 0xC6003800);
    assert_int_equal(num_ue8m0x2_to_bf16x2(0xFF7F), 0x7FFF3F80);
}

// rp: the smallest power of two not below |x|; rz: the largest not above.
static void test_ue8m0(void **state) {
    (void)state;
    struct ref_random r = {5};
    for (int i = 0; i < 100000; i++) {
        float x = num_f32(ref_u32(&r) & 0x7FFFFFFFu);
        if (!isfinite(x)) {
            continue;
        }
        int up = 0;
        while (up < 254 && ldexp(1, up - 127) < (double)x) {
            up++;
        }
        int down = up;
        while (down > 0 && ldexp(1, down - 127) > (double)x) {
            down--;
        }
        assert_int_equal(num_encode(NUM_UE8M0, x, NUM_RP, true), up);
        assert_int_equal(num_encode(NUM_UE8M0, x, NUM_RZ, true), down);
    }
    assert_int_equal(num_encode(NUM_UE8M0, NAN, NUM_RP, true), 0xFF);
    assert_int_equal(num_encode(NUM_UE8M0, INFINITY, NUM_RZ, true), 0xFE);
}

// A directed rounding of x is the neighbour of the nearest on the right side of the exact value;
// 'exact' compares a float with the exact value in long doubles.
static void check_directed(long double exact, float rz, float rm, float rp) {
    float lo = (float)exact;
    float hi = lo;
    if ((long double)lo > exact) {
        lo = nextafterf(lo, -INFINITY);
    } else if ((long double)hi < exact) {
        hi = nextafterf(hi, INFINITY);
    }
    assert_true(rm == lo && rp == hi && rz == (exact > 0 ? lo : hi));
}

static void test_directed(void **state) {
    (void)state;
    struct ref_random r = {7};
    for (int i = 0; i < 200000; i++) {
        float x[3];
        for (int j = 0; j < 3; j++) { // near exponents: the long double result is exact
            uint32_t exponent = 127 - 6 + ref_below(&r, 12);
            x[j] = num_f32((ref_u32(&r) & 0x807FFFFFu) | exponent << 23);
        }
        long double a = (long double)x[0];
        long double b = (long double)x[1];
        check_directed(a + b, num_add_r(x[0], x[1], NUM_RZ), num_add_r(x[0], x[1], NUM_RM),
                       num_add_r(x[0], x[1], NUM_RP));
        check_directed(a * b, num_mul_r(x[0], x[1], NUM_RZ), num_mul_r(x[0], x[1], NUM_RM),
                       num_mul_r(x[0], x[1], NUM_RP));
        long double f = a * b + (long double)x[2];
        check_directed(f, num_fma_r(x[0], x[1], x[2], NUM_RZ), num_fma_r(x[0], x[1], x[2], NUM_RM),
                       num_fma_r(x[0], x[1], x[2], NUM_RP));
        check_directed(a / b, num_div_r(x[0], x[1], NUM_RZ), num_div_r(x[0], x[1], NUM_RM),
                       num_div_r(x[0], x[1], NUM_RP));
    }
    assert_int_equal(num_bits(num_add_r(1, -1, NUM_RM)), 0x80000000);
    assert_int_equal(num_bits(num_add_r(1, -1, NUM_RP)), 0);
    assert_int_equal(num_bits(num_mul_r(3e38f, 2, NUM_RZ)), 0x7F7FFFFF);
    assert_int_equal(num_bits(num_mul_r(3e38f, 2, NUM_RP)), 0x7F800000);
    assert_int_equal(num_bits(num_add_r(1, 0x1p-60f, NUM_RP)), 0x3F800001);
    assert_int_equal(num_bits(num_add_r(1, -0x1p-60f, NUM_RZ)), 0x3F7FFFFF);
}

static void test_nan_and_ftz(void **state) {
    (void)state;
    assert_int_equal(num_bits(num_add(INFINITY, -INFINITY)), NUM_NAN_F32);
    assert_int_equal(num_bits(num_fma(num_f32(0xFFC00001), 1, 1)), NUM_NAN_F32);
    assert_int_equal(num_bits(num_ftz(num_f32(0x807FFFFF))), 0x80000000);
    assert_int_equal(num_bits(num_ftz(num_f32(0x00800000))), 0x00800000);
    assert_true(num_min(NAN, 2, false) == 2 && num_max(2, NAN, false) == 2);
    assert_int_equal(num_bits(num_max(2, NAN, true)), NUM_NAN_F32);
    assert_int_equal(num_bits(num_min(0.0f, -0.0f, false)), 0x80000000);
    assert_int_equal(num_bits(num_max(-0.0f, 0.0f, false)), 0);
    assert_true(num_mufu(NUM_EX2, 3, false) == 8 && num_mufu(NUM_RCP, 4, true) == 0.25f);
    assert_int_equal(num_bits(num_mufu(NUM_LG2, -1, false)), NUM_NAN_F32);
    assert_int_equal(num_bits(num_mufu(NUM_EX2, -140, true)), 0);
    assert_true(num_mufu(NUM_EX2, -140, false) == 0x1p-140f);
    assert_int_equal(num_bits(num_mufu(NUM_RSQRT, -0.0f, false)), 0xFF800000);
    assert_true(isinf(num_mufu(NUM_RCP, num_f32(1), true)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_all_codes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_ue8m0),
        cmocka_unit_test(test_directed),
        cmocka_unit_test(test_nan_and_ftz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
