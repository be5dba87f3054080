// The special function unit against results of an H200 (vectors/mufu.def).
#include "num.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static uint64_t fnv(uint64_t h, uint32_t word) {
    return (h ^ word) * 0x100000001B3u;
}
#define FNV_START 0xCBF29CE484222325u

static void test_points(void **state) {
    (void)state;
    static const struct {
        enum num_mufu op;
        bool ftz;
        uint32_t x, y;
    } points[] = {
#define MUFU_POINT(op, ftz, x, y) {NUM_##op, ftz, x, y},
#include "vectors/mufu.def"
#undef MUFU_POINT
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        float x = num_f32(points[i].x);
        assert_int_equal(num_bits(num_mufu(points[i].op, x, points[i].ftz)), points[i].y);
    }
}

static void test_binades(void **state) {
    (void)state;
    static const struct {
        enum num_mufu op;
        uint32_t base;
        uint64_t hash;
    } binades[] = {
#define MUFU_BINADE(op, base, hash) {NUM_##op, base, hash},
#include "vectors/mufu.def"
#undef MUFU_BINADE
    };
    for (size_t i = 0; i < sizeof binades / sizeof *binades; i++) {
        uint64_t h = FNV_START;
        for (uint32_t n = 0; n < 1u << 23; n += 37) {
            h = fnv(h, num_bits(num_mufu(binades[i].op, num_f32(binades[i].base + n), true)));
        }
        assert_true(h == binades[i].hash);
    }
}

static void test_halves(void **state) {
    (void)state;
    static const struct {
        enum num_mufu op;
        enum num_fmt f;
        uint64_t hash;
    } halves[] = {
#define MUFU_HALF(op, type, hash) {NUM_##op, NUM_##type, hash},
#include "vectors/mufu.def"
#undef MUFU_HALF
    };
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        uint64_t h = FNV_START;
        for (uint32_t n = 0; n < 65536; n++) {
            h = fnv(h, num_mufu_half(halves[i].op, num_decode(halves[i].f, n), halves[i].f));
        }
        assert_true(h == halves[i].hash);
    }
}

static void test_f64(void **state) {
    (void)state;
    static const struct {
        enum num_mufu op;
        uint32_t count;
        uint64_t hash;
    } wide[] = {
#define MUFU_64(op, count, hash) {NUM_##op, count, hash},
#include "vectors/mufu.def"
#undef MUFU_64
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        uint64_t h = FNV_START;
        for (uint32_t n = 0; n < wide[i].count; n += 37) {
            h = fnv(
                h, (uint32_t)(num_mufu_64(wide[i].op, (uint64_t)(0x3FF00000 + n) << 32 | 5) >> 32));
        }
        assert_true(h == wide[i].hash);
    }
    assert_true(num_mufu_64(NUM_RCP, 0xFFF0000000000000) == 0x8000000000000000);
    assert_true(num_mufu_64(NUM_RSQRT, 0xC010000000000000) == 0x7FFFFFFF00000000);
    assert_true(num_mufu_64(NUM_RCP, 0x8000000000000000) == 0xFFF0000000000000);
}

// What a quotient's parts are, by hand: powers of two have no error.
static void test_quotients(void **state) {
    (void)state;
    assert_true(num_div_approx(3, 0x1p-140f, false, false) == INFINITY);
    assert_true(num_div_approx(0x1p-120f, 0x1p-140f, false, false) == 0x1p20f);
    assert_true(isinf(num_div_approx(0x1p-120f, 0, false, true)));
    assert_true(num_div_approx(0x1p126f, 0x1p127f, true, false) == 0.5f);
    assert_true(num_div_approx(0x1p126f, 0x1p127f, false, true) == 0); // rcp alone flushes
    assert_int_equal(num_bits(num_div_approx(0, 0, true, false)), NUM_NAN_F32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),    cmocka_unit_test(test_binades),
        cmocka_unit_test(test_halves),    cmocka_unit_test(test_f64),
        cmocka_unit_test(test_quotients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
