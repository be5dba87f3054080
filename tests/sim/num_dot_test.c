// The reference dot products of runtime/sim/num_dot.c against golden vectors and against the second
// reference in num_ref.c.
#include "num_ref.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

struct golden {
    const char *id;
    uint32_t a[4], b[4]; // the first pairs; the rest of the row is zero
    uint32_t c, d;
};

static const struct num_dot bf16 = {
    .a = NUM_BF16, .b = NUM_BF16, .k = 16, .frac = 25, .floor = -133, .out = NUM_OUT_F32};
static const struct num_dot tf32 = {
    .a = NUM_TF32, .b = NUM_TF32, .k = 8, .frac = 25, .floor = -133, .out = NUM_OUT_F32};
static const struct num_dot f16 = {
    .a = NUM_F16, .b = NUM_F16, .k = 16, .frac = 25, .floor = -22, .out = NUM_OUT_F16};
static const struct num_dot hopper = {
    .a = NUM_E4M3, .b = NUM_E4M3, .k = 32, .frac = 13, .floor = -133, .out = NUM_OUT_E8M13};
static const struct num_dot hopper_e5m2 = {
    .a = NUM_E5M2, .b = NUM_E5M2, .k = 32, .frac = 13, .floor = -133, .out = NUM_OUT_E8M13};
static const struct num_dot blackwell = {
    .a = NUM_E4M3, .b = NUM_E4M3, .k = 32, .frac = 25, .floor = -133, .out = NUM_OUT_F32};

static void check(const struct num_dot *p, const struct golden *g, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t a[32] = {0};
        uint32_t b[32] = {0};
        memcpy(a, g[i].a, sizeof g[i].a);
        memcpy(b, g[i].b, sizeof g[i].b);
        uint32_t d = num_tfdpa(p, a, b, g[i].c);
        if (d != g[i].d) {
            fail_msg("%s: %08X, expected %08X", g[i].id, d, g[i].d);
        }
    }
}
#define CHECK(p, g) check(p, g, sizeof(g) / sizeof((g)[0]))

static void test_golden_16bit(void **state) {
    (void)state;
    static const struct golden b[] = {
        {"bf16-1", {0x3F80, 0xBF80, 0x3300}, {0x3F80, 0x3F80, 0x3F80}, 0, 0x33000000},
        {"bf16-2", {0x3F80, 0xBF80, 0x3280}, {0x3F80, 0x3F80, 0x3F80}, 0, 0},
        {"bf16-3", {0x3FC0, 0xBFC0, 0x3300}, {0x3FC0, 0x3FC0, 0x3F80}, 0, 0x33000000},
        {"bf16-4", {0x3380, 0x3300}, {0x3F80, 0x3F80}, 0x3F800000, 0x3F800000},
        {"bf16-5", {0xB380, 0xB300}, {0x3F80, 0x3F80}, 0xBF800000, 0xBF800000},
        {"bf16-6", {0x7F00}, {0x4000}, 0, 0x7F800000},
        {"bf16-7", {0x80}, {0x3B00}, 0, 0x00004000},
        {"bf16-8", {0x3F80, 0xBF80}, {0x3F80, 0x3F80}, 0x80000000, 0},
        {"bf16-9", {0x7F80}, {0}, 0x3F800000, 0x7FFFFFFF},
        {"bf16-10", {0xFF80}, {0x3F80}, 0x3F800000, 0xFF800000},
        {"bf16-11", {0, 0x2400}, {0x7180, 0x3F80}, 0, 0x24000000},
    };
    CHECK(&bf16, b);
    static const struct golden t[] = {
        {"tf32-1", {0x7F800001}, {0x3F800000}, 0, 0x7F800000},
        {"tf32-2", {0x3F803000}, {0x3F800000}, 0, 0x3F802000},
    };
    CHECK(&tf32, t);
    static const struct golden h[] = {
        {"f16-1", {0x1000, 0x400}, {0x3C00, 0x1400}, 0x3C00, 0x3C01},
        {"f16-2", {0x1000}, {0x3C00}, 0x3C00, 0x3C00},
        {"f16-3", {0x5000}, {0x3C00}, 0x7BFF, 0x7C00},
    };
    CHECK(&f16, h);
}

static void test_golden_fp8(void **state) {
    (void)state;
    static const struct golden h[] = {
        {"h8-1", {0}, {0}, 0x3F800600, 0x3F800400},
        {"h8-2", {0x38, 0xB8}, {0x38, 0x38}, 0x39000000, 0x39000000},
        {"h8-3", {0x38, 0xB8}, {0x38, 0x38}, 0x38800000, 0},
        {"h8-4", {0x01, 0x81}, {0x38, 0x38}, 0x35800000, 0},
        {"h8-5", {0x01, 0x81}, {0x38, 0x38}, 0x36000000, 0x36000000},
        {"h8-6", {0x7E, 0x7E, 0x7E, 0x7E}, {0x7E, 0x7E, 0x7E, 0x7E}, 0x3F800000, 0x49440000},
        {"h8-7", {0x7F}, {0x38}, 0, 0x7FFFFFFF},
    };
    CHECK(&hopper, h);
    static const struct golden h5[] = {
        {"h8-8", {0x7C, 0xFC}, {0x3C, 0x3C}, 0, 0x7FFFFFFF},
    };
    CHECK(&hopper_e5m2, h5);
    static const struct golden b[] = {
        {"b8-1", {0}, {0}, 0x3F800601, 0x3F800601},
        {"b8-2", {0x7E, 0x7E, 0x7E, 0x7E}, {0x7E, 0x7E, 0x7E, 0x7E}, 0x3F800000, 0x49440010},
        {"b8-3", {0x38, 0xB8}, {0x38, 0x38}, 0x33000000, 0x33000000},
    };
    CHECK(&blackwell, b);
    uint32_t one[32] = {0x38};
    assert_int_equal(num_legacy_fp8(&blackwell, one, one, 0x33000000), 0x3F800000); // hm8-1
    assert_int_equal(num_legacy_fp8(&blackwell, one, one, 0x33C00000), 0x3F800001); // hm8-2
}

struct golden_nv {
    const char *id;
    int k[2];
    uint32_t a[2], b[2];
    uint8_t sa[4], sb[4];
    uint32_t c, d;
};

static void test_golden_nvfp4(void **state) {
    (void)state;
    static const struct golden_nv rows[] = {
        {"nv-1", {0, 1}, {2, 0}, {2, 0}, {0x38, 0x38}, {0x38, 0x38}, 0, 0x3F800000},
        {"nv-2", {0, 16}, {7, 15}, {7, 7}, {0x7E, 0x7E}, {0x7E, 0x7E}, 0x36000000, 0x36000000},
        {"nv-3", {0, 16}, {7, 15}, {7, 7}, {0x7E, 0x7E}, {0x7E, 0x7E}, 0x35800000, 0},
        {"nv-4", {0, 1}, {7, 15}, {7, 7}, {0x7E, 0x38}, {0x7E, 0x38}, 0x35800000, 0},
        {"nv-5", {16, 17}, {2, 10}, {2, 2}, {0x7E, 0x38}, {0x7E, 0x38}, 0x35800000, 0x35800000},
        {"nv-6", {0, 1}, {2, 0}, {2, 0}, {0x7F, 0x38}, {0x38, 0x38}, 0, 0x7FFFFFFF},
        {"nv-7", {0, 1}, {2, 0}, {2, 0}, {0xB8, 0x38}, {0x38, 0x38}, 0, 0x3F800000},
        {"nv-8", {0, 1}, {1, 0}, {1, 0}, {0x01, 0x38}, {0x01, 0x38}, 0, 0x35800000},
    };
    struct num_gst p = {.scale = NUM_UE4M3, .block = 16};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct golden_nv *g = &rows[i];
        uint32_t a[64] = {0};
        uint32_t b[64] = {0};
        for (int j = 0; j < 2; j++) {
            a[g->k[j]] = g->a[j];
            b[g->k[j]] = g->b[j];
        }
        uint32_t d = num_gst_fdpa(&p, a, b, g->c, g->sa, g->sb);
        if (d != g->d) {
            fail_msg("%s: %08X, expected %08X", g->id, d, g->d);
        }
    }
}

static void test_golden_mx(void **state) {
    (void)state;
    static const struct {
        uint8_t scale[2];
        uint32_t c, d;
    } rows[] = {{{0x80, 0x81}, 0, 0x41000000}, // mx-1 .. mx-5
                {{0x80, 0x81}, 0x34800000, 0x41000000},
                {{0xFF, 0x7F}, 0, 0x7FFFFFFF},
                {{0x00, 0x00}, 0, 0},
                {{0xFE, 0xFE}, 0, 0x7F800000}};
    uint32_t one[32] = {0x38};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(num_tfdpa_scaled(&blackwell, one, one, rows[i].c, rows[i].scale),
                         rows[i].d);
    }
}

// ---- against the second reference -------------------------------------------------------------

// Half of the rows get cancelling pairs: b of an odd k is that of the even k, a its negative.
static void cancel(struct ref_random *r, enum num_fmt f, int k, uint32_t *a, uint32_t *b) {
    int bits = f == NUM_TF32 ? 32 : num_bits_of(f);
    for (int i = 0; i + 1 < k; i += 2) {
        if (ref_below(r, 8)) {
            a[i + 1] = a[i] ^ 1u << (bits - 1);
            b[i + 1] = b[i];
        }
    }
}

static void compare_dot(const struct num_dot *p, bool scaled, int rows) {
    struct ref_random r = {0x9E3779B97F4A7C15ull + (uint64_t)p->a * 77 + (uint64_t)p->b};
    for (int i = 0; i < rows; i++) {
        uint32_t a[32];
        uint32_t b[32];
        ref_row(&r, p->a, (enum ref_style)ref_below(&r, REF_STYLES), p->k, a);
        ref_row(&r, p->b, (enum ref_style)ref_below(&r, REF_STYLES), p->k, b);
        if (i & 1) {
            cancel(&r, p->a, p->k, a, b);
        }
        uint32_t c = p->out == NUM_OUT_F16 ? ref_u32(&r) & 0xFFFF : ref_f32(&r);
        uint8_t scale[2] = {(uint8_t)ref_below(&r, 255), (uint8_t)ref_below(&r, 255)};
        struct ref_dot q = {p->a, p->b, p->k, p->frac, p->floor, p->out, 0};
        q.scale = scaled ? scale[0] + scale[1] - 254 : 0;
        uint32_t want = ref_tfdpa(&q, a, b, c);
        uint32_t got = scaled ? num_tfdpa_scaled(p, a, b, c, scale) : num_tfdpa(p, a, b, c);
        if (want != got) {
            fail_msg("formats %d x %d, F=%d, row %d: %08X, reference %08X", p->a, p->b, p->frac, i,
                     got, want);
        }
    }
}

static void test_second_reference(void **state) {
    (void)state;
    const int rows = 6000;
    compare_dot(&bf16, false, rows);
    compare_dot(&tf32, false, rows);
    compare_dot(&f16, false, rows);
    compare_dot(&hopper, false, rows);
    compare_dot(&hopper_e5m2, false, rows);
    for (int a = NUM_E2M1; a <= NUM_E5M2; a++) {
        for (int b = NUM_E2M1; b <= NUM_E5M2; b++) {
            struct num_dot p = blackwell;
            p.a = (enum num_fmt)a;
            p.b = (enum num_fmt)b;
            compare_dot(&p, false, rows / 4);
            compare_dot(&p, true, rows / 4);
            p.out = NUM_OUT_F16;
            compare_dot(&p, false, rows / 4);
        }
    }
}

static void test_second_gst(void **state) {
    (void)state;
    struct ref_random r = {12345};
    for (int i = 0; i < 60000; i++) {
        struct num_gst p = {.scale = i % 3 == 0 ? NUM_UE8M0 : NUM_UE4M3,
                            .block = i % 6 == 0 ? 32 : 16};
        uint32_t a[64];
        uint32_t b[64];
        uint8_t s[2][4];
        ref_row(&r, NUM_E2M1, (enum ref_style)ref_below(&r, REF_STYLES), 64, a);
        ref_row(&r, NUM_E2M1, (enum ref_style)ref_below(&r, REF_STYLES), 64, b);
        if (i & 1) {
            cancel(&r, NUM_E2M1, 64, a, b);
        }
        for (int j = 0; j < 8; j++) {
            uint32_t code = ref_u32(&r) & 0xFF;
            s[j / 4][j % 4] = (uint8_t)(code == 0xFF && ref_below(&r, 8) ? 0 : code);
        }
        uint32_t c = ref_f32(&r);
        uint32_t want = ref_gst(p.scale, p.block, a, b, c, s[0], s[1]);
        uint32_t got = num_gst_fdpa(&p, a, b, c, s[0], s[1]);
        if (want != got) {
            fail_msg("row %d: %08X, reference %08X", i, got, want);
        }
    }
}

static void test_integer(void **state) {
    (void)state;
    struct num_dot p = {.a = NUM_S8, .b = NUM_U8, .k = 32};
    uint32_t a[32];
    uint32_t b[32];
    for (int i = 0; i < 32; i++) {
        a[i] = 0x80; // -128
        b[i] = 255;
    }
    int32_t sum = -128 * 255 * 32;
    assert_int_equal(num_idot(&p, a, b, 7, false), sum + 7);
    assert_int_equal(num_idot(&p, a, b, INT32_MIN + 5, true), INT32_MIN);
    assert_int_equal(num_idot(&p, a, b, INT32_MIN, false), (int32_t)(0x80000000u + (uint32_t)sum));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_16bit),     cmocka_unit_test(test_golden_fp8),
        cmocka_unit_test(test_golden_nvfp4),     cmocka_unit_test(test_golden_mx),
        cmocka_unit_test(test_second_reference), cmocka_unit_test(test_second_gst),
        cmocka_unit_test(test_integer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
