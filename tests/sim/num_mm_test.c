// The vector paths against the portable reference, bit for bit, on tiles of random and hostile
// operands: cancelling rows, zero groups, specials, any scale, addends of any size.
#include "num_mm.h"
#include "num_ref.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#define MAX_M 40
#define MAX_N 24

struct tile {
    uint8_t a[MAX_M][32], b[MAX_N][32];
    uint8_t sa[MAX_M][4], sb[MAX_N][4];
    uint32_t d[MAX_N][MAX_M], want[MAX_N][MAX_M];
};

static void put(enum num_fmt f, bool packed, uint8_t row[32], int k, uint32_t code) {
    if (packed) {
        row[k / 2] = (uint8_t)(k % 2 ? (row[k / 2] & 15) | code << 4 : code);
        return;
    }
    int bytes = num_bits_of(f) > 8 ? num_bits_of(f) / 8 : 1;
    memcpy(row + k * bytes, &code, (size_t)bytes);
}

struct fill {
    enum num_fmt f;
    int k;
    bool wild, negate;
    int distance;
};

// Hostile rows: a large pair that cancels exactly sets the exponent, and a tiny rest survives next
// to it, so that every bit at the cut is seen. Their first scale is large, the others are small.
static bool is_hostile(int row) {
    return row % 4 == 2;
}

static const uint32_t large_codes[] = {
    [NUM_E2M1] = 7,    [NUM_E2M3] = 0x1F,  [NUM_E3M2] = 0x1F,   [NUM_E4M3] = 0x78,
    [NUM_E5M2] = 0x78, [NUM_F16] = 0x7800, [NUM_BF16] = 0x4000, [NUM_TF32] = 0x41000000u,
};

static uint32_t hostile_code(struct ref_random *r, const struct fill *p, int j) {
    int sign = num_bits_of(p->f) - 1;
    int exponent_low = p->f == NUM_E2M1 ? 1 : 0;
    if (j < 2) {
        uint32_t large = large_codes[p->f];
        return large | (j && p->negate ? 1u << sign : 0);
    }
    if (j < 16 && p->k == 64) {
        return 0;
    }
    if (p->f == NUM_BF16 || p->f == NUM_TF32) {
        uint32_t near = (p->f == NUM_BF16 ? 0x3900u : 0x39000000u) + (ref_u32(r) & 0x3FF);
        return p->f == NUM_TF32 ? near + (ref_u32(r) & 0x7FFFFF) : near;
    }
    return ref_u32(r) & ((2u << exponent_low) - 1) & (ref_below(r, 3) ? ~0u : 0u);
}

// Rows of one operand. Odd rows repeat their own elements at a distance, A's with the other sign,
// so that products cancel pairwise but for a few; every fifth row has zero groups.
static void fill_rows(struct ref_random *r, const struct fill *p, uint8_t (*rows)[32], int n) {
    enum num_fmt f = p->f;
    int k = p->k;
    bool wild = p->wild;
    int group = p->distance;
    uint32_t flip = p->negate ? 1u << (num_bits_of(f) - 1) : 0;
    for (int i = 0; i < n; i++) {
        uint32_t codes[64];
        enum ref_style style =
            (enum ref_style)(wild ? ref_below(r, REF_STYLES) : REF_MILD + ref_below(r, 3));
        ref_row(r, f, style, k, codes);
        for (int j = 0; j < k; j++) {
            if (i % 2 && j % (2 * group) >= group && ref_below(r, 32)) {
                codes[j] = codes[j - group] ^ flip;
            }
            if (i % 5 == 4 && j / 16 % 2) {
                codes[j] = 0; // a zero group
            }
            if (is_hostile(i)) {
                codes[j] = hostile_code(r, p, j);
            }
            put(f, k == 64, rows[i], j, codes[j]);
        }
    }
}

static void fill_scales(struct ref_random *r, enum num_fmt f, uint8_t (*s)[4], int n) {
    uint32_t narrow = ref_below(r, 3);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < 4; j++) {
            uint32_t code = narrow ? 110 + ref_below(r, 30 / narrow) : ref_u32(r) & 0xFF;
            if (f == NUM_UE4M3) {
                code = narrow ? 0x30 + ref_below(r, 24 / narrow) : code;
            }
            if (is_hostile(i)) {
                code = f == NUM_UE4M3 ? (j ? ref_below(r, 16) : 0x78 + ref_below(r, 7))
                                      : (j ? 108 + ref_below(r, 6) : 127);
            }
            bool nan = f == NUM_UE4M3 ? (code & 0x7F) == 0x7F : code == 0xFF;
            s[i][j] = (uint8_t)(nan && ref_below(r, 50) ? 0 : code);
        }
    }
}

// Random tiles until 'outputs' elements were compared.
static void compare_tiles(struct num_mm mm, int outputs) {
    struct ref_random r = {0xD1B54A32D192ED03ull ^ (uint64_t)mm.op << 9 ^ (uint64_t)mm.dot.a << 4 ^
                           (uint64_t)mm.dot.b};
    static struct tile t;
    int k = mm.op == NUM_MM_GST ? 64 : mm.dot.k;
    enum num_fmt fa = mm.op == NUM_MM_GST ? NUM_E2M1 : mm.dot.a;
    enum num_fmt fb = mm.op == NUM_MM_GST ? NUM_E2M1 : mm.dot.b;
    enum num_fmt fs = mm.op == NUM_MM_GST ? mm.gst.scale : NUM_UE8M0;
    for (int done = 0; done < outputs; done += mm.m * mm.n) {
        mm.m = 1 + (int)ref_below(&r, MAX_M);
        mm.n = 1 + (int)ref_below(&r, MAX_N);
        mm.accumulate = ref_below(&r, 4) != 0;
        bool wild = ref_below(&r, 3) == 0;
        int distance = 1 << ref_below(&r, 6);
        fill_rows(&r, &(struct fill){fa, k, wild, true, distance}, t.a, mm.m);
        fill_rows(&r, &(struct fill){fb, k, wild, false, distance}, t.b, mm.n);
        fill_scales(&r, fs, t.sa, mm.m);
        fill_scales(&r, fs, t.sb, mm.n);
        for (int n = 0; n < mm.n; n++) {
            for (int m = 0; m < mm.m; m++) {
                bool half = mm.op != NUM_MM_GST && mm.dot.out == NUM_OUT_F16;
                t.d[n][m] = half ? ref_u32(&r) & (wild ? 0xFFFF : 0xBFFF) : ref_f32(&r);
                t.want[n][m] = t.d[n][m];
            }
        }
        mm.a = (const uint8_t(*)[32])t.a;
        mm.b = (const uint8_t(*)[32])t.b;
        mm.sa = (const uint8_t(*)[4])t.sa;
        mm.sb = (const uint8_t(*)[4])t.sb;
        num_mm_portable(&mm, &t.want[0][0], MAX_M);
        num_mm_run(&mm, &t.d[0][0], MAX_M);
        for (int n = 0; n < mm.n; n++) {
            for (int m = 0; m < mm.m; m++) {
                if (t.d[n][m] != t.want[n][m]) {
                    fail_msg("op %d formats %d %d: (%d,%d) of %dx%d is %08X, reference %08X", mm.op,
                             mm.dot.a, mm.dot.b, m, n, mm.m, mm.n, t.d[n][m], t.want[n][m]);
                }
            }
        }
    }
}

static void test_gst(void **state) {
    (void)state;
    struct num_mm mm = {.op = NUM_MM_GST, .gst = {NUM_UE4M3, 16}};
    compare_tiles(mm, 500000);
    mm.gst = (struct num_gst){NUM_UE8M0, 32};
    compare_tiles(mm, 300000);
    mm.gst = (struct num_gst){NUM_UE8M0, 16};
    compare_tiles(mm, 300000);
}

static struct num_mm dot(enum num_fmt a, enum num_fmt b, int k, int frac, enum num_out out) {
    struct num_mm mm = {.op = NUM_MM_DOT, .dot = {a, b, k, frac, -133, out}};
    return mm;
}

static void test_bytes(void **state) {
    (void)state;
    for (int a = NUM_E2M1; a <= NUM_E5M2; a++) {
        for (int b = NUM_E2M1; b <= NUM_E5M2; b++) {
            int rows = a == b ? 60000 : 15000;
            struct num_mm mm = dot((enum num_fmt)a, (enum num_fmt)b, 32, 25, NUM_OUT_F32);
            compare_tiles(mm, rows);
            mm.op = NUM_MM_SCALED;
            compare_tiles(mm, rows);
            mm.op = NUM_MM_DOT;
            mm.dot.out = NUM_OUT_F16;
            mm.dot.floor = a & 1 ? -22 : -133;
            compare_tiles(mm, rows / 2);
        }
    }
}

static void test_hopper(void **state) {
    (void)state;
    compare_tiles(dot(NUM_E4M3, NUM_E4M3, 32, 13, NUM_OUT_E8M13), 100000);
    compare_tiles(dot(NUM_E5M2, NUM_E4M3, 32, 13, NUM_OUT_E8M13), 100000);
    compare_tiles(dot(NUM_E4M3, NUM_E5M2, 32, 13, NUM_OUT_F16), 50000);
}

static void test_wide(void **state) {
    (void)state;
    compare_tiles(dot(NUM_BF16, NUM_BF16, 16, 25, NUM_OUT_F32), 150000);
    compare_tiles(dot(NUM_F16, NUM_F16, 16, 25, NUM_OUT_F32), 150000);
    compare_tiles(dot(NUM_F16, NUM_F16, 16, 25, NUM_OUT_F16), 50000);
    compare_tiles(dot(NUM_F16, NUM_F16, 8, 25, NUM_OUT_F32), 50000);
    compare_tiles(dot(NUM_TF32, NUM_TF32, 8, 25, NUM_OUT_F32), 150000);
    compare_tiles(dot(NUM_TF32, NUM_TF32, 4, 25, NUM_OUT_F32), 50000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gst),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_hopper),
        cmocka_unit_test(test_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
