// Codecs against NVIDIA's host conversions (cuda_fp8.h, cuda_fp4.h): every code decoded, and every
// bf16 number, every midpoint of two neighbouring codes with its neighbours, and random floats
// encoded.
#include "fp4rt.h"
#include <cuda_fp4.h>
#include <cuda_fp8.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float half_value(__half_raw h) {
    _Float16 x;
    memcpy(&x, &h.x, sizeof h.x);
    return (float)x;
}

static uint64_t theirs(fp4_elem elem, float x) {
    switch (elem) {
    case FP4_ELEM_E2M1:
        return __nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest) & 0xf;
    case FP4_ELEM_E4M3:
        return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
    case FP4_ELEM_E5M2:
        return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E5M2);
    default:
        return __nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundPosInf);
    }
}

static long n_checked;

static void check(fp4_elem elem, float x) {
    if (isnan(x) && signbit(x)) {
        x = NAN; // PTX cvt gives 0x7f for every NaN, the host function keeps its sign
    }
    uint64_t want = theirs(elem, x);
    uint64_t have = fp4_encode(elem, x);
    n_checked++;
    if (have != want) {
        fail_msg("%s(%a) is 0x%llx, NVIDIA has 0x%llx", fp4_elem_name(elem), (double)x,
                 (unsigned long long)have, (unsigned long long)want);
    }
}

static void check_around(fp4_elem elem, double x) {
    float f = (float)x;
    check(elem, f);
    check(elem, nextafterf(f, INFINITY));
    check(elem, nextafterf(f, -INFINITY));
    check(elem, -f);
    check(elem, -nextafterf(f, INFINITY));
    check(elem, -nextafterf(f, -INFINITY));
}

static void encodes(fp4_elem elem) {
    bool negative = elem != FP4_ELEM_UE8M0; // whose conversion does not say what it makes of a sign
    n_checked = 0;
    for (uint32_t i = 0; i < 1u << 16; i++) {
        if (negative || i < 1u << 15) {
            check(elem, float_of(i << 16));
        }
    }
    uint32_t last = elem == FP4_ELEM_E2M1 ? 7 : negative ? 0x7f : 0xfe;
    for (uint32_t code = 0; code < last && negative; code++) {
        double a = fp4_decode(elem, code);
        double b = fp4_decode(elem, code + 1);
        if (isfinite(a) && isfinite(b)) {
            check_around(elem, (a + b) / 2);
            check_around(elem, a);
        }
    }
    uint32_t random = 1;
    for (int i = 0; i < 2000000; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        uint32_t bits = random;
        if (elem == FP4_ELEM_E2M1 && i % 2) { // the few numbers that are not saturated or 0
            bits = (bits & 0x83ffffff) | 0x3c000000;
        }
        check(elem, float_of(negative ? bits : bits & 0x7fffffff));
    }
    print_message("%s: %ld floats\n", fp4_elem_name(elem), n_checked);
}

static void e2m1(void **state) {
    (void)state;
    for (unsigned code = 0; code < 16; code++) {
        float want = half_value(__nv_cvt_fp4_to_halfraw((__nv_fp4_storage_t)code, __NV_E2M1));
        assert_true(fp4_decode(FP4_ELEM_E2M1, code) == want);
        assert_int_equal(signbit(fp4_decode(FP4_ELEM_E2M1, code)) != 0, signbit(want) != 0);
    }
    encodes(FP4_ELEM_E2M1);
}

static void decodes_fp8(fp4_elem elem, __nv_fp8_interpretation_t kind) {
    for (unsigned code = 0; code < 256; code++) {
        float want = half_value(__nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)code, kind));
        double have = fp4_decode(elem, code);
        assert_true(isnan(want) ? isnan(have) : have == want);
        assert_true(isnan(want) || !signbit(have) == !signbit(want));
    }
}

static void e4m3(void **state) {
    (void)state;
    decodes_fp8(FP4_ELEM_E4M3, __NV_E4M3);
    encodes(FP4_ELEM_E4M3);
}

static void e5m2(void **state) {
    (void)state;
    decodes_fp8(FP4_ELEM_E5M2, __NV_E5M2);
    encodes(FP4_ELEM_E5M2);
}

static void ue8m0(void **state) {
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        __nv_bfloat16_raw raw = __nv_cvt_e8m0_to_bf16raw((__nv_fp8_storage_t)code);
        float want = float_of((uint32_t)raw.x << 16);
        double have = fp4_decode(FP4_ELEM_UE8M0, code);
        assert_true(isnan(want) ? isnan(have) : have == want);
    }
    encodes(FP4_ELEM_UE8M0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e2m1),
        cmocka_unit_test(e4m3),
        cmocka_unit_test(e5m2),
        cmocka_unit_test(ue8m0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
