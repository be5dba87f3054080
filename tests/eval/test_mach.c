// Tensor-core steps: vectors computed by hand from the rules (truncation at 2^-F of the greatest
// exponent, unnormalised products, truncating results), and a comparison with sums in wide
// integers.
#include "mach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PLAIN(e)                                                                                   \
    { .name = #e, .elem = ELEM_##e, .scale = ELEM_NONE }
static const ast_format f_bf16 = PLAIN(BF16);
static const ast_format f_f16 = PLAIN(F16);
static const ast_format f_tf32 = PLAIN(TF32);
static const ast_format f_e4m3 = PLAIN(E4M3);
static const ast_format f_e5m2 = PLAIN(E5M2);
static const ast_format f_nvfp4 = {"nvfp4", ELEM_E2M1, ELEM_UE4M3, 2,
                                   {1, 16}, "sf128x4", {0, 0, 0}};
static const ast_format f_mxfp4 = {"mxfp4", ELEM_E2M1, ELEM_UE8M0, 2,
                                   {1, 32}, "sf128x4", {0, 0, 0}};
static const ast_format f_mxfp8 = {"mxfp8", ELEM_E4M3, ELEM_UE8M0, 2,
                                   {1, 32}, "sf128x4", {0, 0, 0}};

typedef struct {
    int k;
    uint32_t a, b;
} pair;

typedef struct {
    const char *name;
    mach_target target;
    const ast_format *fa, *fb;
    pair p[4];
    int n;
    uint8_t sa[4], sb[4]; // scales by granule; unused when unscaled
    uint32_t c, d;
} vector;

static uint32_t run_vector(const vector *v) {
    mach_instr in;
    assert_true(mach_choose(v->target, v->fa, v->fb, &in));
    uint32_t a[64] = {0};
    uint32_t b[64] = {0};
    for (int i = 0; i < v->n; i++) {
        a[v->p[i].k] = v->p[i].a;
        b[v->p[i].k] = v->p[i].b;
    }
    mach_panel *pa = mach_panel_new(&in, true, 1, in.k);
    mach_panel *pb = mach_panel_new(&in, false, 1, in.k);
    mach_panel_set(pa, 0, a, v->fa->scale != ELEM_NONE ? v->sa : NULL);
    mach_panel_set(pb, 0, b, v->fb->scale != ELEM_NONE ? v->sb : NULL);
    uint32_t d = mach_dot(pa, 0, pb, 0, v->c);
    mach_panel_free(pa);
    mach_panel_free(pb);
    return d;
}

#define BF .target = MACH_SM100A, .fa = &f_bf16, .fb = &f_bf16
#define TF .target = MACH_SM90A, .fa = &f_tf32, .fb = &f_tf32
#define H8 .target = MACH_SM90A, .fa = &f_e4m3, .fb = &f_e4m3
#define H5 .target = MACH_SM90A, .fa = &f_e5m2, .fb = &f_e5m2
#define B8 .target = MACH_SM120A, .fa = &f_e4m3, .fb = &f_e4m3
#define NV .target = MACH_SM120A, .fa = &f_nvfp4, .fb = &f_nvfp4
#define MX .target = MACH_SM100A, .fa = &f_mxfp8, .fb = &f_mxfp8

static const vector vectors[] = {
    {"bf16-1",
     BF,
     {{0, 0x3F80, 0x3F80}, {1, 0xBF80, 0x3F80}, {2, 0x3300, 0x3F80}},
     3,
     .d = 0x33000000},
    {"bf16-2", BF, {{0, 0x3F80, 0x3F80}, {1, 0xBF80, 0x3F80}, {2, 0x3280, 0x3F80}}, 3, .d = 0},
    {"bf16-3",
     BF,
     {{0, 0x3FC0, 0x3FC0}, {1, 0xBFC0, 0x3FC0}, {2, 0x3300, 0x3F80}},
     3,
     .d = 0x33000000},
    {"bf16-4", BF, {{0, 0x3380, 0x3F80}, {1, 0x3300, 0x3F80}}, 2, .c = 0x3F800000, .d = 0x3F800000},
    {"bf16-5", BF, {{0, 0xB380, 0x3F80}, {1, 0xB300, 0x3F80}}, 2, .c = 0xBF800000, .d = 0xBF800000},
    {"bf16-6", BF, {{0, 0x7F00, 0x4000}}, 1, .d = 0x7F800000},
    {"bf16-7", BF, {{0, 0x80, 0x3B00}}, 1, .d = 0x4000},
    {"bf16-8", BF, {{0, 0x3F80, 0x3F80}, {1, 0xBF80, 0x3F80}}, 2, .c = 0x80000000, .d = 0},
    {"bf16-9", BF, {{0, 0x7F80, 0}}, 1, .c = 0x3F800000, .d = 0x7FFFFFFF},
    {"bf16-10", BF, {{0, 0xFF80, 0x3F80}}, 1, .c = 0x3F800000, .d = 0xFF800000},
    {"bf16-11", BF, {{0, 0, 0x7180}, {1, 0x2400, 0x3F80}}, 2, .d = 0x24000000},
    {"tf32-1", TF, {{0, 0x7F800001, 0x3F800000}}, 1, .d = 0x7F800000},
    {"tf32-2", TF, {{0, 0x3F803000, 0x3F800000}}, 1, .d = 0x3F802000},
    {"h8-1", H8, {{0, 0, 0}}, 1, .c = 0x3F800600, .d = 0x3F800400},
    {"h8-2", H8, {{0, 0x38, 0x38}, {1, 0xB8, 0x38}}, 2, .c = 0x39000000, .d = 0x39000000},
    {"h8-3", H8, {{0, 0x38, 0x38}, {1, 0xB8, 0x38}}, 2, .c = 0x38800000, .d = 0},
    {"h8-4", H8, {{0, 1, 0x38}, {1, 0x81, 0x38}}, 2, .c = 0x35800000, .d = 0},
    {"h8-5", H8, {{0, 1, 0x38}, {1, 0x81, 0x38}}, 2, .c = 0x36000000, .d = 0x36000000},
    {"h8-6",
     H8,
     {{0, 0x7E, 0x7E}, {1, 0x7E, 0x7E}, {2, 0x7E, 0x7E}, {3, 0x7E, 0x7E}},
     4,
     .c = 0x3F800000,
     .d = 0x49440000},
    {"h8-7", H8, {{0, 0x7F, 0x38}}, 1, .d = 0x7FFFFFFF},
    {"h8-8", H5, {{0, 0x7C, 0x3C}, {1, 0xFC, 0x3C}}, 2, .d = 0x7FFFFFFF},
    {"b8-1", B8, {{0, 0, 0}}, 1, .c = 0x3F800601, .d = 0x3F800601},
    {"b8-2",
     B8,
     {{0, 0x7E, 0x7E}, {1, 0x7E, 0x7E}, {2, 0x7E, 0x7E}, {3, 0x7E, 0x7E}},
     4,
     .c = 0x3F800000,
     .d = 0x49440010},
    {"b8-3", B8, {{0, 0x38, 0x38}, {1, 0xB8, 0x38}}, 2, .c = 0x33000000, .d = 0x33000000},
    {"nv-1", NV, {{0, 2, 2}}, 1, {0x38, 0x38}, {0x38, 0x38}, 0, 0x3F800000},
    {"nv-2", NV, {{0, 7, 7}, {16, 0xF, 7}}, 2, {0x7E, 0x7E}, {0x7E, 0x7E}, 0x36000000, 0x36000000},
    {"nv-3", NV, {{0, 7, 7}, {16, 0xF, 7}}, 2, {0x7E, 0x7E}, {0x7E, 0x7E}, 0x35800000, 0},
    {"nv-4", NV, {{0, 7, 7}, {1, 0xF, 7}}, 2, {0x7E, 0x38}, {0x7E, 0x38}, 0x35800000, 0},
    {"nv-5", NV, {{16, 2, 2}, {17, 0xA, 2}}, 2, {0x7E, 0x38}, {0x7E, 0x38}, 0x35800000, 0x35800000},
    {"nv-6", NV, {{0, 2, 2}}, 1, {0x7F, 0x38}, {0x38, 0x38}, 0, 0x7FFFFFFF},
    {"nv-7", NV, {{0, 2, 2}}, 1, {0xB8, 0x38}, {0x38, 0x38}, 0, 0x3F800000},
    {"nv-8", NV, {{0, 1, 1}}, 1, {0x01, 0x38}, {0x01, 0x38}, 0, 0x35800000},
    {"mx-1", MX, {{0, 0x38, 0x38}}, 1, {0x80}, {0x81}, 0, 0x41000000},
    {"mx-2", MX, {{0, 0x38, 0x38}}, 1, {0x80}, {0x81}, 0x34800000, 0x41000000},
    {"mx-3", MX, {{0, 0x38, 0x38}}, 1, {0xFF}, {0x7F}, 0, 0x7FFFFFFF},
    {"mx-4", MX, {{0, 0x38, 0x38}}, 1, {0x00}, {0x00}, 0, 0},
    {"mx-4n", MX, {{0, 0xB8, 0x38}}, 1, {0x00}, {0x00}, 0, 0},
    {"mx-5", MX, {{0, 0x38, 0x38}}, 1, {0xFE}, {0xFE}, 0, 0x7F800000},
};

static void test_vectors(void **state) {
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t d = run_vector(&vectors[i]);
        if (d != vectors[i].d) {
            print_error("%s: %08X, expected %08X\n", vectors[i].name, d, vectors[i].d);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static uint64_t rng_state = 12345;

static uint32_t rng(void) {
    rng_state = rng_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(rng_state >> 33);
}

// value * 2^(exp), truncated to a multiple of 2^q, in units of 2^q: by way of exact doubles.
static double truncate_to(double v, int q) {
    return trunc(ldexp(v, -q));
}

static int raw_exp(elem_kind e, uint32_t code) {
    int man = e == ELEM_E4M3 ? 3 : e == ELEM_E5M2 ? 2 : e == ELEM_F16 ? 10 : 7;
    int field = (int)(code >> man & (e == ELEM_E4M3 ? 15 : e == ELEM_BF16 ? 255 : 31));
    int bias = e == ELEM_E4M3 ? 7 : e == ELEM_BF16 ? 127 : 15;
    return (field == 0 ? 1 : field) - bias;
}

static float rz_float(double v) { // v has few enough bits to be exact
    float f = (float)v;
    if (fabs((double)f) > fabs(v)) {
        f = nextafterf(f, 0);
    }
    return f;
}

// One step by doubles: emax from the raw exponents, every term truncated, the exact sum rounded to
// 0.
static uint32_t reference_step(elem_kind e, const uint32_t *a, const uint32_t *b, int n,
                               const int *scale_exp, uint32_t c, int frac) {
    float cf;
    memcpy(&cf, &c, 4);
    int emax = -133;
    for (int k = 0; k < n; k++) {
        if (mach_decode(e, a[k]) * mach_decode(e, b[k]) != 0) {
            int x = raw_exp(e, a[k]) + raw_exp(e, b[k]) + *scale_exp;
            emax = x > emax ? x : emax;
        }
    }
    if (cf != 0) {
        int ec = ilogbf(cf) < -126 ? -126 : ilogbf(cf);
        emax = ec > emax ? ec : emax;
    }
    double sum = truncate_to((double)cf, emax - frac);
    for (int k = 0; k < n; k++) {
        double p = ldexp(mach_decode(e, a[k]) * mach_decode(e, b[k]), *scale_exp);
        sum += truncate_to(p, emax - frac);
    }
    float r = rz_float(ldexp(sum, emax - frac));
    uint32_t bits;
    memcpy(&bits, &r, 4);
    return r == 0 ? 0 : bits; // what is truncated to nothing is +0
}

static uint32_t finite_code(elem_kind e) {
    for (;;) {
        uint32_t c = rng() & (elem_bits(e) == 8 ? 0xFF : 0xFFFF);
        if (e == ELEM_BF16) { // exponents within 2^+-30 so that f32 neither over- nor underflows
            c = (c & 0x807F) | (97 + rng() % 60) << 7;
        }
        if (isfinite(mach_decode(e, c))) {
            return rng() % 8 == 0 ? 0 : c;
        }
    }
}

static void check_random(const ast_format *f, mach_target t, int steps, int frac) {
    mach_instr in;
    assert_true(mach_choose(t, f, f, &in));
    for (int trial = 0; trial < 4000; trial++) {
        int n = in.k * steps;
        uint32_t a[96];
        uint32_t b[96];
        uint8_t sa[4];
        uint8_t sb[4];
        for (int k = 0; k < n; k++) {
            a[k] = finite_code(f->elem);
            b[k] = finite_code(f->elem);
        }
        for (int s = 0; s < steps; s++) {
            sa[s] = (uint8_t)(f->scale == ELEM_NONE ? 127 : 120 + rng() % 15);
            sb[s] = (uint8_t)(f->scale == ELEM_NONE ? 127 : 120 + rng() % 15);
        }
        uint32_t c = (rng() & 0x807FFFFF) | (117 + rng() % 20) << 23;
        mach_panel *pa = mach_panel_new(&in, true, 1, n);
        mach_panel *pb = mach_panel_new(&in, false, 1, n);
        mach_panel_set(pa, 0, a, f->scale == ELEM_NONE ? NULL : sa);
        mach_panel_set(pb, 0, b, f->scale == ELEM_NONE ? NULL : sb);
        uint32_t want = c;
        for (int s = 0; s < steps; s++) {
            int e = sa[s] + sb[s] - 254;
            want = reference_step(f->elem, a + s * in.k, b + s * in.k, in.k, &e, want, frac);
            want &= frac == 13 ? 0xFFFFFC00 : 0xFFFFFFFF;
        }
        assert_int_equal(mach_dot(pa, 0, pb, 0, c), want);
        mach_panel_free(pa);
        mach_panel_free(pb);
    }
}

static void test_random_products(void **state) {
    (void)state;
    check_random(&f_e4m3, MACH_SM100A, 1, 25);
    check_random(&f_e4m3, MACH_SM120A, 3, 25);
    check_random(&f_e5m2, MACH_SM100A, 2, 25);
    check_random(&f_mxfp8, MACH_SM120A, 3, 25);
    check_random(&f_bf16, MACH_SM90A, 2, 25);
    check_random(&f_f16, MACH_SM100A, 2, 25);
    check_random(&f_e4m3, MACH_SM90A, 2, 13);
}

// The e4m3 number nearest to x, of two the one with the even code; beyond the largest the largest.
static uint32_t nearest_e4m3(double x) {
    uint32_t best = 0;
    for (uint32_t c = 0; c < 0x7F; c++) {
        double here = fabs(mach_decode(ELEM_E4M3, c) - fabs(x));
        double before = fabs(mach_decode(ELEM_E4M3, best) - fabs(x));
        best = here < before || (here == before && c % 2 == 0) ? c : best;
    }
    return x < 0 ? best | 0x80 : best;
}

// 4-bit weights by e4m3: two steps, a chain that is scaled by 2^-c.
static void check_folded(const ast_format *f, int c, uint8_t least, uint8_t most) {
    mach_instr in;
    assert_true(mach_choose(MACH_SM90A, &f_e4m3, f, &in));
    for (int trial = 0; trial < 400; trial++) {
        uint32_t x[64];
        uint32_t w[64];
        uint32_t folded[64];
        uint8_t scales[4];
        int per = (int)f->granule[1];
        for (int k = 0; k < 64; k++) {
            x[k] = finite_code(ELEM_E4M3);
            w[k] = rng() % 16;
            if (k % per == 0) {
                scales[k / per] = (uint8_t)(least + rng() % (uint32_t)(most - least + 1));
            }
            double value = mach_decode(ELEM_E2M1, w[k]) * mach_decode(f->scale, scales[k / per]);
            folded[k] = nearest_e4m3(ldexp(value, -c));
        }
        uint32_t sum = (rng() & 0x807FFFFF) | (117 + rng() % 20) << 23;
        mach_panel *px = mach_panel_new(&in, true, 1, 64);
        mach_panel *pw = mach_panel_new(&in, false, 1, 64);
        mach_panel_set(px, 0, x, NULL);
        mach_panel_set(pw, 0, w, scales);
        uint32_t want = sum - (uint32_t)(c * (1 << 23));
        for (int s = 0; s < 2; s++) {
            int e = 0;
            want = reference_step(ELEM_E4M3, x + s * 32, folded + s * 32, 32, &e, want, 13) & 0xFFFFFC00;
        }
        want += want << 1 == 0 ? 0 : (uint32_t)(c * (1 << 23));
        assert_int_equal(mach_dot(px, 0, pw, 0, sum), want);
        mach_panel_free(px);
        mach_panel_free(pw);
    }
}

static void test_random_folded(void **state) {
    (void)state;
    check_folded(&f_nvfp4, 3, 0, 0x7E);
    check_folded(&f_mxfp4, -3, 127 - 11, 127 + 3);
    check_folded(&f_mxfp4, -3, 127 - 30, 127 + 30);
}

// What mach.h says of one number's error, over all elements and scales.
static void check_fold_error(const ast_format *f, int c, int codes) {
    int inexact = 0;
    for (int s = 0; s < codes; s++) {
        for (uint32_t e = 0; e < 16; e++) {
            double w = mach_decode(ELEM_E2M1, e) * mach_decode(f->scale, (uint32_t)s);
            double got = ldexp(mach_decode(ELEM_E4M3, mach_encode(ELEM_E4M3, ldexp(w, -c))), c);
            double size = fabs(w);
            double bound = size < ldexp(1, c - 6) ? ldexp(1, c - 10) : f->scale == ELEM_UE4M3 ? size / 16 : 0;
            bound = size > ldexp(448, c) ? size - ldexp(448, c) : bound;
            assert_true(fabs(got - w) <= bound);
            inexact += got != w;
        }
    }
    assert_true(inexact > 0);
}

static void test_fold_errors(void **state) {
    (void)state;
    check_fold_error(&f_nvfp4, 3, 0x7F);
    check_fold_error(&f_mxfp4, -3, 0xFF);
    for (uint32_t s = 127 - 11; s <= 127 + 3; s++) { // exact
        for (uint32_t e = 0; e < 16; e++) {
            double w = ldexp(mach_decode(ELEM_E2M1, e) * mach_decode(ELEM_UE8M0, s), 3);
            assert_true(mach_decode(ELEM_E4M3, mach_encode(ELEM_E4M3, w)) == w);
        }
    }
}

// FP4 groups by doubles: a group is exact, its exponent that of the scales alone.
static uint32_t reference_fp4(const uint32_t *a, const uint32_t *b, const uint8_t *sa,
                              const uint8_t *sb, const ast_format *f, uint32_t c) {
    float cf;
    memcpy(&cf, &c, 4);
    int per = (int)f->granule[1];
    double term[4];
    int emax = -139;
    for (int g = 0; g < 4; g++) {
        uint8_t ca = sa[g * 16 / per];
        uint8_t cb = sb[g * 16 / per];
        int x = f->scale == ELEM_UE8M0 ? ca + cb - 254
                                       : raw_exp(ELEM_E4M3, ca) + raw_exp(ELEM_E4M3, cb);
        double s = mach_decode(f->scale, ca) * mach_decode(f->scale, cb);
        bool live = false;
        term[g] = 0;
        for (int k = 16 * g; k < 16 * g + 16; k++) {
            double p = mach_decode(ELEM_E2M1, a[k]) * mach_decode(ELEM_E2M1, b[k]);
            live |= p != 0;
            term[g] += p;
        }
        term[g] *= s;
        emax = live && s != 0 && x > emax ? x : emax;
    }
    if (cf != 0) {
        int ec = ilogbf(cf) < -126 ? -126 : ilogbf(cf);
        emax = ec > emax ? ec : emax;
    }
    double sum = truncate_to((double)cf, emax - 35);
    for (int g = 0; g < 4; g++) {
        sum += truncate_to(term[g], emax - 35);
    }
    float r = rz_float(ldexp(sum, emax - 35));
    uint32_t bits;
    memcpy(&bits, &r, 4);
    return r == 0 ? 0 : bits; // what is truncated to nothing is +0
}

// Scales about 'middle' (ue8m0), accumulators of the size of the products.
static void check_fp4(const ast_format *f, uint32_t middle) {
    mach_instr in;
    assert_true(mach_choose(MACH_SM120A, f, f, &in));
    for (int trial = 0; trial < 20000; trial++) {
        uint32_t a[64];
        uint32_t b[64];
        uint8_t sa[4];
        uint8_t sb[4];
        bool sparse = rng() % 2 == 0;
        for (int k = 0; k < 64; k++) {
            a[k] = sparse && rng() % 4 != 0 ? 0 : rng() % 16;
            b[k] = sparse && rng() % 4 != 0 ? 0 : rng() % 16;
        }
        for (int g = 0; g < 4; g++) {
            sa[g] = (uint8_t)(f->scale == ELEM_UE8M0 ? middle - 20 + rng() % 40 : rng() % 0x7F);
            sb[g] = (uint8_t)(f->scale == ELEM_UE8M0 ? middle - 20 + rng() % 40 : rng() % 0x7F);
        }
        uint32_t size = middle > 100 ? 97 + rng() % 40 : rng() % 30;
        uint32_t c = rng() % 4 == 0 ? 0 : (rng() & 0x807FFFFF) | size << 23;
        mach_panel *pa = mach_panel_new(&in, true, 1, 64);
        mach_panel *pb = mach_panel_new(&in, false, 1, 64);
        mach_panel_set(pa, 0, a, sa);
        mach_panel_set(pb, 0, b, sb);
        assert_int_equal(mach_dot(pa, 0, pb, 0, c), reference_fp4(a, b, sa, sb, f, c));
        mach_panel_free(pa);
        mach_panel_free(pb);
    }
}

static void test_random_fp4(void **state) {
    (void)state;
    check_fp4(&f_nvfp4, 127);
    check_fp4(&f_mxfp4, 127);
    check_fp4(&f_mxfp4, 60); // results about the least f32
}

// A K that ends inside an instruction is filled with zeros.
static void test_k_tail(void **state) {
    (void)state;
    mach_instr in;
    assert_true(mach_choose(MACH_SM100A, &f_nvfp4, &f_nvfp4, &in));
    uint32_t a[128] = {0};
    uint32_t b[128] = {0};
    uint8_t s[8] = {0x38, 0x30, 0x48, 0x3C, 0x31, 0x7E, 0x7E, 0x7E};
    for (int k = 0; k < 71; k++) {
        a[k] = rng() % 16;
        b[k] = rng() % 16;
    }
    mach_panel *pa = mach_panel_new(&in, true, 1, 71);
    mach_panel *pb = mach_panel_new(&in, false, 1, 71);
    mach_panel_set(pa, 0, a, s);
    mach_panel_set(pb, 0, b, s);
    uint32_t want = reference_fp4(a, b, s, s, &f_nvfp4, 0);
    want = reference_fp4(a + 64, b + 64, s + 4, s + 4, &f_nvfp4, want);
    assert_int_equal(mach_dot(pa, 0, pb, 0, 0), want);
    mach_panel_free(pa);
    mach_panel_free(pb);
}

static void test_choice(void **state) {
    (void)state;
    mach_instr in;
    assert_false(mach_choose(MACH_SM90A, &f_nvfp4, &f_nvfp4, &in));
    assert_false(mach_choose(MACH_SM100A, &f_nvfp4, &f_mxfp4, &in));
    assert_false(mach_choose(MACH_SM100A, &f_nvfp4, &f_bf16, &in));
    assert_false(mach_choose(MACH_SM120A, &f_bf16, &f_f16, &in));
    assert_true(mach_choose(MACH_SM100A, &f_mxfp8, &f_mxfp4, &in));
    assert_string_equal(in.name, "mxf8f6f4");
    assert_true(mach_choose(MACH_SM100A, &f_mxfp4, &f_mxfp4, &in));
    assert_int_equal(in.k, 64);
    assert_true(mach_choose(MACH_SM90A, &f_e4m3, &f_e5m2, &in));
    assert_int_equal(in.out_frac, 13);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),    cmocka_unit_test(test_random_products),
        cmocka_unit_test(test_random_folded),
        cmocka_unit_test(test_fold_errors),
        cmocka_unit_test(test_random_fp4), cmocka_unit_test(test_k_tail),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
