// The format conversions against the CUDA toolkit's own host conversions: every 8-, 6- and 4-bit
// code, every f16 source, and four million floats.
#include "num.h"
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static uint32_t toolkit_encode(enum num_fmt f, float x) {
    switch (f) {
    case NUM_E4M3:
        return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
    case NUM_E5M2:
        return __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E5M2);
    case NUM_E2M3:
        return __nv_cvt_float_to_fp6(x, __NV_E2M3, cudaRoundNearest);
    case NUM_E3M2:
        return __nv_cvt_float_to_fp6(x, __NV_E3M2, cudaRoundNearest);
    default:
        return __nv_cvt_float_to_fp4(x, __NV_E2M1, cudaRoundNearest);
    }
}

static uint32_t toolkit_half(enum num_fmt f, uint32_t code) {
    switch (f) {
    case NUM_E4M3:
        return __nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)code, __NV_E4M3).x;
    case NUM_E5M2:
        return __nv_cvt_fp8_to_halfraw((__nv_fp8_storage_t)code, __NV_E5M2).x;
    case NUM_E2M3:
        return __nv_cvt_fp6_to_halfraw((__nv_fp6_storage_t)code, __NV_E2M3).x;
    case NUM_E3M2:
        return __nv_cvt_fp6_to_halfraw((__nv_fp6_storage_t)code, __NV_E3M2).x;
    default:
        return __nv_cvt_fp4_to_halfraw((__nv_fp4_storage_t)code, __NV_E2M1).x;
    }
}

static const enum num_fmt formats[] = {NUM_E4M3, NUM_E5M2, NUM_E2M3, NUM_E3M2, NUM_E2M1};

static void compare(enum num_fmt f, float x) {
    if (x != x) {
        return; // the sign of a NaN source is dropped by the instruction, kept by the headers
    }
    uint32_t want = toolkit_encode(f, x);
    uint32_t got = num_encode(f, x, NUM_RN, true);
    if (want != got) {
        fail_msg("format %d of %a: %02X, toolkit %02X", f, (double)x, got, want);
    }
}

static void test_encode(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        for (uint64_t u = 0; u < 1ull << 32; u += 5381) {
            compare(formats[i], num_f32((uint32_t)u));
        }
        for (uint32_t h = 0; h < 0x10000; h++) {
            compare(formats[i], num_of_f16((uint16_t)h));
            compare(formats[i], num_of_bf16((uint16_t)h));
        }
    }
}

static void test_decode(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        for (uint32_t code = 0; code < 1u << num_bits_of(formats[i]); code++) {
            uint32_t pair = code << (formats[i] == NUM_E2M1 ? 4 : 8) | code;
            uint32_t half = toolkit_half(formats[i], code);
            assert_int_equal(num_narrow_to_f16x2(formats[i], pair), half << 16 | half);
        }
    }
}

static void test_ue8m0(void **state) {
    (void)state;
    for (uint64_t u = 0; u < 1ull << 31; u += 977) {
        float x = num_f32((uint32_t)u);
        if (x == x) {
            assert_int_equal(num_encode(NUM_UE8M0, x, NUM_RP, true),
                             __nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundPosInf));
            assert_int_equal(num_encode(NUM_UE8M0, x, NUM_RZ, true),
                             __nv_cvt_float_to_e8m0(x, __NV_SATFINITE, cudaRoundZero));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_encode), cmocka_unit_test(test_decode),
                                       cmocka_unit_test(test_ue8m0)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
