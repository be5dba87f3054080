// One output element of a tensor core, bit by bit: the reference that the fast paths must equal.
//
// Truncated fused dot-product-add: all products and the addend are cut toward zero to multiples of
// one quantum, 2^(emax - F), and summed exactly; the sum is rounded once. Exponents are the
// operands' own (a product is not renormalised, a subnormal keeps the lowest exponent), which
// decides what is cut. Requires: F - (fraction bits of a product) <= 40, so that every term fits 64
// bits.
#include "num.h"

enum num_class { FINITE, INFINITE, NOT_A_NUMBER };

// value = (-1)^neg * m * 2^(e - fb)
struct num_parts {
    enum num_class cls;
    bool neg;
    int e;
    int fb;
    int64_t m;
};

static struct num_parts split_ieee(uint32_t code, int ebits, int mbits, enum num_fmt f) {
    uint32_t frac = code & ((1u << mbits) - 1);
    uint32_t field = code >> mbits & ((1u << ebits) - 1);
    int bias = (1 << (ebits - 1)) - 1;
    struct num_parts r = {.neg = code >> (ebits + mbits) & 1, .fb = mbits};
    bool has_inf = f != NUM_E4M3 && f != NUM_E2M3 && f != NUM_E3M2 && f != NUM_E2M1;
    if (has_inf && field == (1u << ebits) - 1) {
        r.cls = frac ? NOT_A_NUMBER : INFINITE;
    } else if (f == NUM_E4M3 && field == 15 && frac == 7) {
        r.cls = NOT_A_NUMBER;
    }
    r.m = field ? (int64_t)(frac | 1u << mbits) : (int64_t)frac;
    r.e = field ? (int)field - bias : 1 - bias;
    return r;
}

static struct num_parts split(enum num_fmt f, uint32_t code) {
    switch (f) {
    case NUM_E2M1:
        return split_ieee(code & 0xF, 2, 1, f);
    case NUM_E2M3:
        return split_ieee(code & 0x3F, 2, 3, f);
    case NUM_E3M2:
        return split_ieee(code & 0x3F, 3, 2, f);
    case NUM_E4M3:
        return split_ieee(code & 0xFF, 4, 3, f);
    case NUM_UE4M3: // the sign bit is ignored
        return split_ieee(code & 0x7F, 4, 3, NUM_E4M3);
    case NUM_E5M2:
        return split_ieee(code & 0xFF, 5, 2, f);
    case NUM_F16:
        return split_ieee(code & 0xFFFF, 5, 10, f);
    case NUM_BF16:
        return split_ieee(code & 0xFFFF, 8, 7, f);
    case NUM_TF32: // the low 13 bits go first: a NaN that lives only there becomes Inf
        return split_ieee(code >> 13, 8, 10, f);
    case NUM_UE8M0:
        code &= 0xFF;
        return (struct num_parts){
            .cls = code == 0xFF ? NOT_A_NUMBER : FINITE, .e = (int)code - 127, .m = 1};
    default:
        return split_ieee(code, 8, 23, f);
    }
}

// m * 2^e in units of 2^q, cut toward zero. Dead terms come with m = 0 and any exponent.
static int64_t align(int64_t m, int e, int q) {
    int shift = e - q;
    if (m == 0 || shift < -62) {
        return 0;
    }
    return shift >= 0 ? m << shift : m >> -shift;
}

// s * 2^q to f32 toward zero with 'fbits' fraction bits (23, or 13 for e8m13).
static uint32_t finish_f32(int64_t s, int q, int fbits) {
    if (s == 0) {
        return 0;
    }
    uint32_t sign = s < 0 ? 0x80000000u : 0;
    uint64_t u = s < 0 ? -(uint64_t)s : (uint64_t)s;
    int e = 63 - __builtin_clzll(u) + q;
    if (e > 127) {
        return sign | 0x7F800000u;
    }
    e = e < -126 ? -126 : e;
    int shift = e - fbits - q;
    u = shift > 63 ? 0 : shift > 0 ? u >> shift : u << -shift;
    if (u == 0) {
        return 0; // a result cut to zero is +0
    }
    uint32_t sig = (uint32_t)u << (23 - fbits);
    uint32_t field = sig >> 23 ? (uint32_t)(e + 127) << 23 : 0;
    return sign | field | (sig & 0x7FFFFFu);
}

// s * 2^q to f16, nearest even.
static uint32_t finish_f16(int64_t s, int q) {
    if (s == 0) {
        return 0;
    }
    uint32_t sign = s < 0 ? 0x8000u : 0;
    uint64_t u = s < 0 ? -(uint64_t)s : (uint64_t)s;
    int e = 63 - __builtin_clzll(u) + q;
    e = e < -14 ? -14 : e;
    int shift = e - 10 - q;
    uint64_t sig = 0;
    if (shift <= 0) {
        sig = u << -shift;
    } else if (shift < 63) {
        uint64_t rest = u & ((1ull << shift) - 1);
        uint64_t half = 1ull << (shift - 1);
        sig = u >> shift;
        sig += rest > half || (rest == half && (sig & 1));
    }
    if (sig == 0) {
        return 0;
    }
    uint32_t code = ((uint32_t)(e + 14) << 10) + (uint32_t)sig; // a carry runs into the exponent
    return sign | (code >= 0x7C00u ? 0x7C00u : code);
}

static uint32_t finish(enum num_out out, int64_t s, int q) {
    switch (out) {
    case NUM_OUT_F16:
        return finish_f16(s, q);
    case NUM_OUT_E8M13:
        return finish_f32(s, q, 13);
    default:
        return finish_f32(s, q, 23);
    }
}

static uint32_t nan_of(enum num_out out) {
    return out == NUM_OUT_F16 ? NUM_NAN_F16 : NUM_NAN_F32;
}

static uint32_t inf_of(enum num_out out, bool neg) {
    return out == NUM_OUT_F16 ? (neg ? 0xFC00u : 0x7C00u) : (neg ? 0xFF800000u : 0x7F800000u);
}

// What the specials of a row amount to.
struct num_specials {
    bool nan, pinf, ninf;
};

static void see_product(struct num_specials *s, const struct num_parts *a,
                        const struct num_parts *b) {
    if (a->cls == FINITE && b->cls == FINITE) {
        return;
    }
    bool zero = (a->cls == FINITE && a->m == 0) || (b->cls == FINITE && b->m == 0);
    if (a->cls == NOT_A_NUMBER || b->cls == NOT_A_NUMBER || zero) {
        s->nan = true;
    } else if (a->neg != b->neg) {
        s->ninf = true;
    } else {
        s->pinf = true;
    }
}

static void see_addend(struct num_specials *s, const struct num_parts *c) {
    s->nan |= c->cls == NOT_A_NUMBER;
    s->pinf |= c->cls == INFINITE && !c->neg;
    s->ninf |= c->cls == INFINITE && c->neg;
}

// True when the specials decide the result.
static bool special_result(const struct num_specials *s, enum num_out out, uint32_t *result) {
    if (s->nan || (s->pinf && s->ninf)) {
        *result = nan_of(out);
        return true;
    }
    if (s->pinf || s->ninf) {
        *result = inf_of(out, s->ninf);
        return true;
    }
    return false;
}

static int64_t signed_of(bool neg, int64_t magnitude) {
    return neg ? -magnitude : magnitude;
}

static uint32_t tfdpa(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t cbits,
                      int xs) {
    struct num_parts c = split(p->out == NUM_OUT_F16 ? NUM_F16 : NUM_F32, cbits);
    struct num_specials special = {0};
    int emax = p->floor;
    see_addend(&special, &c);
    if (c.m != 0 && c.e > emax) {
        emax = c.e;
    }
    for (int k = 0; k < p->k; k++) {
        struct num_parts x = split(p->a, a[k]);
        struct num_parts y = split(p->b, b[k]);
        see_product(&special, &x, &y);
        if (x.m != 0 && y.m != 0 && x.e + y.e + xs > emax) {
            emax = x.e + y.e + xs;
        }
    }
    uint32_t result;
    if (special_result(&special, p->out, &result)) {
        return result;
    }
    int q = emax - p->frac;
    int64_t sum = signed_of(c.neg, align(c.m, c.e - c.fb, q));
    for (int k = 0; k < p->k; k++) {
        struct num_parts x = split(p->a, a[k]);
        struct num_parts y = split(p->b, b[k]);
        int64_t t = align(x.m * y.m, x.e + y.e + xs - x.fb - y.fb, q);
        sum += signed_of(x.neg != y.neg, t);
    }
    return finish(p->out, sum, q);
}

uint32_t num_tfdpa(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c) {
    return tfdpa(p, a, b, c, 0);
}

uint32_t num_tfdpa_scaled(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c,
                          const uint8_t scale[2]) {
    if (scale[0] == 0xFF || scale[1] == 0xFF) {
        return nan_of(p->out);
    }
    return tfdpa(p, a, b, c, (int)scale[0] + (int)scale[1] - 254);
}

// A group of 16 e2m1 products: the exact sum in quarters, and whether any product is not zero.
static int64_t group_dot(const uint32_t *a, const uint32_t *b, bool *live) {
    int64_t sum = 0;
    for (int k = 0; k < 16; k++) {
        struct num_parts x = split(NUM_E2M1, a[k]);
        struct num_parts y = split(NUM_E2M1, b[k]);
        int64_t t = (x.m * y.m) << (x.e + y.e);
        *live |= t != 0;
        sum += signed_of(x.neg != y.neg, t);
    }
    return sum;
}

uint32_t num_gst_fdpa(const struct num_gst *p, const uint32_t *a, const uint32_t *b, uint32_t cbits,
                      const uint8_t *sa, const uint8_t *sb) {
    struct num_parts c = split(NUM_F32, cbits);
    struct num_specials special = {0};
    see_addend(&special, &c);
    int emax = c.m != 0 ? c.e : -139;
    int64_t term[4];
    int exponent[4];
    for (int g = 0; g < 4; g++) {
        struct num_parts x = split(p->scale, sa[16 * g / p->block]);
        struct num_parts y = split(p->scale, sb[16 * g / p->block]);
        special.nan |= x.cls != FINITE || y.cls != FINITE;
        bool live = false;
        term[g] = group_dot(a + 16 * g, b + 16 * g, &live) * x.m * y.m;
        exponent[g] = x.e + y.e - 2 - x.fb - y.fb;
        // The group's exponent is that of its scales alone, even when the products cancel.
        if (live && x.m != 0 && y.m != 0 && x.e + y.e > emax) {
            emax = x.e + y.e;
        }
    }
    uint32_t result;
    if (special_result(&special, NUM_OUT_F32, &result)) {
        return result;
    }
    int q = emax - 35;
    int64_t sum = signed_of(c.neg, align(c.m, c.e - c.fb, q));
    for (int g = 0; g < 4; g++) {
        bool neg = term[g] < 0;
        sum += signed_of(neg, align(neg ? -term[g] : term[g], exponent[g], q));
    }
    return finish(NUM_OUT_F32, sum, q);
}

// sm_90 and sm_100 have no FP8 mma.sync: ptxas converts to f16 and issues two steps of half of K, the
// products with k%4 in {0,1} and those with k%4 in {2,3}, from a zero addend; C is added last,
// rounded to nearest (measured on H100, H200, B200).
uint32_t num_legacy_fp8(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c) {
    struct num_dot half = {
        .a = p->a, .b = p->b, .k = p->k / 2, .frac = 25, .floor = p->floor, .out = p->out};
    uint32_t sum = 0;
    for (int part = 0; part < 2; part++) {
        uint32_t x[16];
        uint32_t y[16];
        for (int i = 0; i < half.k; i++) {
            int k = 4 * (i / 2) + 2 * part + i % 2;
            x[i] = a[k];
            y[i] = b[k];
        }
        sum = num_tfdpa(&half, x, y, sum);
    }
    if (p->out != NUM_OUT_F16) {
        return num_bits(num_add(num_f32(sum), num_f32(c)));
    }
    // The f32 sum of two f16 values is exact or far from an f16 tie: one rounding decides.
    float wide = num_of_f16((uint16_t)sum) + num_of_f16((uint16_t)c);
    return num_f16_of(wide, NUM_RN);
}

static int64_t int_of(enum num_fmt f, uint32_t code) {
    return f == NUM_S8 ? (int64_t)(int8_t)(code & 0xFF) : (int64_t)(code & 0xFF);
}

int32_t num_idot(const struct num_dot *p, const uint32_t *a, const uint32_t *b, int32_t c,
                 bool sat) {
    int64_t sum = c;
    for (int k = 0; k < p->k; k++) {
        sum += int_of(p->a, a[k]) * int_of(p->b, b[k]);
    }
    if (sat) {
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    }
    return (int32_t)(uint32_t)(uint64_t)sum;
}
