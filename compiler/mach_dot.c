// Tensor-core products of mach.h: which instruction multiplies two formats, operands unpacked once
// into panels, and the chain of instruction steps over K.
//
// Both rules add terms as integers in units of 2^(emax - F), each truncated towards zero, and round
// the sum towards zero to f32. Exponents are those of the codes, never normalised: 1.5 * 1.5 keeps
// exponent 0, a subnormal keeps the least exponent of its format.
#include "mach.h"
#include "mma.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP = 16,         // FP4 products that are summed exactly before they are scaled
    MAX_K = 64,         // the longest instruction
    ZERO_EXP = -8000,   // exponent of a zero: below every sum of two real ones
    FLOOR_TFDPA = -133, // least emax
    FLOOR_GST = -139,
};

static const uint32_t canonical_nan = 0x7FFFFFFFu;

struct mach_panel {
    mach_instr in;
    elem_kind elem, scale;
    bool decode; // codes are of e2m1 with scales
    int64_t rows, k, steps;
    double *value; // T-FDPA: elements times their scales, rows * steps * in.k; Inf and NaN as +-1
    int16_t *exp;  // T-FDPA: raw exponents with the scale's, ZERO_EXP for zeros
    uint8_t *special; // T-FDPA: a step holds an Inf or NaN; GST: a scale of the step is NaN
    int8_t *fp4;      // GST: values in halves
    uint16_t *live;   // GST: which elements of a group are not zero
    int16_t *gexp;    // GST: exponent of the group's scale
    uint8_t *gsig;    // GST: significand of it with three fraction bits
    uint8_t *cls;     // T-FDPA, rows with specials: class of each element; NULL until one appears
    float *factor;    // f32 scales, one for in.promote elements
};

// Classes of elements.
enum { CLS_FINITE, CLS_INF, CLS_NAN };

static int man_bits(elem_kind e) {
    switch (e) {
    case ELEM_E2M1: return 1;
    case ELEM_E2M3:
    case ELEM_E4M3: return 3;
    case ELEM_E3M2:
    case ELEM_E5M2: return 2;
    case ELEM_BF16: return 7;
    default: return 10; // f16, tf32
    }
}

static int exp_bits(elem_kind e) {
    switch (e) {
    case ELEM_E2M1:
    case ELEM_E2M3: return 2;
    case ELEM_E3M2: return 3;
    case ELEM_E4M3: return 4;
    case ELEM_E5M2:
    case ELEM_F16: return 5;
    default: return 8; // bf16, tf32
    }
}

static int exp_bias(elem_kind e) {
    return (1 << (exp_bits(e) - 1)) - 1;
}

static bool is_narrow(elem_kind e) {
    return e <= ELEM_E5M2;
}

// PTX ISA "mma.sync ... .block_scale" and "tcgen05.mma" tables of kinds.
static bool choose_scaled(const ast_format *a, const ast_format *b, mach_instr *out) {
    int64_t ga = a->scale != ELEM_NONE ? a->granule[a->n_granule - 1] : 0;
    int64_t gb = b->scale != ELEM_NONE ? b->granule[b->n_granule - 1] : 0;
    out->sa = a->scale;
    out->sb = b->scale;
    if (a->elem == ELEM_E2M1 && b->elem == ELEM_E2M1 && a->scale == b->scale && ga == gb) {
        bool nv = a->scale == ELEM_UE4M3 && ga == 16;
        bool mx = a->scale == ELEM_UE8M0 && (ga == 32 || ga == 16);
        *out = (mach_instr){MACH_GST, ga == 32 ? "mxf4" : "mxf4nvf4",
                            64,       35,
                            23,       a->elem,
                            b->elem,  a->scale,
                            b->scale, (int)ga, false, false, 0, 0, 0};
        return nv || mx;
    }
    // An instruction has a scale for its 32 elements; the same may serve several.
    bool a_fits = a->scale == ELEM_NONE || (a->scale == ELEM_UE8M0 && ga % 32 == 0);
    bool b_fits = b->scale == ELEM_NONE || (b->scale == ELEM_UE8M0 && gb % 32 == 0);
    *out = (mach_instr){MACH_TFDPA, "mxf8f6f4", 32,       25,       23,
                        a->elem,    b->elem,    a->scale, b->scale, ga ? (int)ga : 32,
                        false,      false,      0,        0,        gb ? (int)gb : 32};
    return a_fits && b_fits && is_narrow(a->elem) && is_narrow(b->elem);
}

// Elements of K under one f32 scale; 0: unscaled, -1: scaled otherwise.
static int factor_granule(const ast_format *f) {
    if (f->scale == ELEM_NONE) {
        return 0;
    }
    return f->scale == ELEM_F32 ? (int)f->granule[f->n_granule - 1] : -1;
}

// FP8 with f32 scales: plain products, promoted once a granule.
static bool choose_promoted(mach_target t, const ast_format *a, const ast_format *b,
                            mach_instr *out) {
    int ga = factor_granule(a);
    int gb = factor_granule(b);
    int g = ga > 0 ? ga : gb;
    ast_format plain_a = *a;
    ast_format plain_b = *b;
    plain_a.scale = plain_b.scale = ELEM_NONE;
    if (t != MACH_SM90A || g <= 0 || (ga > 0 && gb > 0 && ga != gb) || ga < 0 || gb < 0 ||
        !mach_choose(t, &plain_a, &plain_b, out) || out->k != 32 || g % out->k != 0) {
        return false;
    }
    out->promote = g;
    return true;
}

static bool is_weight(const ast_format *f) {
    return f->elem == ELEM_E2M1 && (f->scale == ELEM_UE4M3 || f->scale == ELEM_UE8M0);
}

// 4-bit weights by a 16-bit type, which they are decoded to, or by FP8, decoded to e4m3.
static bool choose_decoded(const ast_format *a, const ast_format *b, mach_instr *out) {
    const ast_format *w = is_weight(a) ? a : b;
    const ast_format *x = is_weight(a) ? b : a;
    bool folded = x->elem == ELEM_E4M3 || x->elem == ELEM_E5M2;
    elem_kind to = folded ? ELEM_E4M3 : x->elem;
    *out = (mach_instr){.rule = MACH_TFDPA,
                        .name = folded ? "f8f6f4" : "f16",
                        .k = folded ? 32 : 16,
                        .frac = folded ? 13 : 25,
                        .out_frac = folded ? 13 : 23,
                        .a = w == a ? to : x->elem,
                        .b = w == b ? to : x->elem,
                        .sa = w == a ? w->scale : ELEM_NONE,
                        .sb = w == b ? w->scale : ELEM_NONE,
                        .granule = (int)w->granule[w->n_granule - 1],
                        .decode_a = w == a,
                        .decode_b = w == b,
                        .fold = folded ? mma_fold(w->scale) : 0};
    return x->scale == ELEM_NONE && (folded || x->elem == ELEM_BF16 || x->elem == ELEM_F16);
}

static bool is_tf32(mach_target t, elem_kind e) {
    return e == ELEM_TF32 || (e == ELEM_F32 && t == MACH_SM90A);
}

bool mach_choose(mach_target t, const ast_format *a, const ast_format *b, mach_instr *out) {
    if (t == MACH_SM90A && is_weight(a) != is_weight(b)) {
        return choose_decoded(a, b, out);
    }
    if (a->scale == ELEM_F32 || b->scale == ELEM_F32) {
        return choose_promoted(t, a, b, out);
    }
    if (a->scale != ELEM_NONE || b->scale != ELEM_NONE) {
        return t != MACH_SM90A && choose_scaled(a, b, out);
    }
    *out = (mach_instr){MACH_TFDPA, "f16", 16,    25,    23, a->elem, b->elem, ELEM_NONE,
                        ELEM_NONE,  0,     false, false, 0,  0,       0};
    if (is_narrow(a->elem) && is_narrow(b->elem)) {
        out->name = "f8f6f4";
        out->k = 32;
        if (t == MACH_SM90A) { // wgmma keeps 13 bits of FP8 products and of their sum
            out->frac = out->out_frac = 13;
            return a->elem >= ELEM_E4M3 && b->elem >= ELEM_E4M3;
        }
        return true;
    }
    // f32 on sm_90a: the planner takes it where 'mma wgmma tf32' is stated.
    if (is_tf32(t, a->elem) && is_tf32(t, b->elem)) {
        out->name = "tf32";
        out->k = 8;
        out->a = out->b = ELEM_TF32;
        return true;
    }
    return a->elem == b->elem && (a->elem == ELEM_BF16 || a->elem == ELEM_F16);
}

static int64_t chunks_of(const mach_panel *p) {
    return (p->k + p->in.promote - 1) / p->in.promote;
}

mach_panel *mach_panel_new(const mach_instr *in, bool is_a, int64_t rows, int64_t k) {
    mach_panel *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->in = *in;
    p->elem = is_a ? in->a : in->b;
    p->scale = is_a ? in->sa : in->sb;
    p->decode = is_a ? in->decode_a : in->decode_b;
    p->in.granule = !is_a && in->granule_b != 0 ? in->granule_b : in->granule;
    p->rows = rows;
    p->k = k;
    p->steps = (k + in->k - 1) / in->k;
    size_t steps = (size_t)(rows * p->steps) + 1; // never zero bytes
    size_t elems = steps * (size_t)in->k;
    p->special = calloc(steps, 1);
    bool ok = p->special != NULL;
    if (in->rule == MACH_GST) {
        p->fp4 = calloc(elems, sizeof *p->fp4);
        p->live = calloc(elems / GROUP, sizeof *p->live);
        p->gexp = calloc(elems / GROUP, sizeof *p->gexp);
        p->gsig = calloc(elems / GROUP, sizeof *p->gsig);
        ok = ok && p->fp4 != NULL && p->live != NULL && p->gexp != NULL && p->gsig != NULL;
    } else {
        p->value = calloc(elems, sizeof *p->value);
        p->exp = calloc(elems, sizeof *p->exp);
        p->cls = calloc(elems, 1);
        ok = ok && p->value != NULL && p->exp != NULL && p->cls != NULL;
    }
    if (in->promote > 0) {
        size_t n = (size_t)(rows * chunks_of(p)) + 1;
        p->factor = malloc(n * sizeof *p->factor);
        for (size_t i = 0; p->factor != NULL && i < n; i++) {
            p->factor[i] = 1;
        }
        ok = ok && p->factor != NULL;
    }
    if (!ok) {
        mach_panel_free(p);
        return NULL;
    }
    return p;
}

void mach_panel_free(mach_panel *p) {
    if (p == NULL) {
        return;
    }
    free(p->value);
    free(p->exp);
    free(p->special);
    free(p->fp4);
    free(p->live);
    free(p->gexp);
    free(p->gsig);
    free(p->cls);
    free(p->factor);
    free(p);
}

// One element as significand * 2^(exp - man_bits).
typedef struct {
    int32_t sig;
    int16_t exp;
    uint8_t cls;
} unpacked;

static unpacked unpack(elem_kind e, uint32_t code) {
    int man = man_bits(e);
    int bits = exp_bits(e);
    code = e == ELEM_TF32 ? code >> 13 : code;
    int field = (int)(code >> man & ((1u << bits) - 1));
    int frac = (int)(code & ((1u << man) - 1));
    bool neg = (code >> (man + bits) & 1) != 0;
    bool ieee = e == ELEM_E5M2 || !is_narrow(e);
    int top = (1 << bits) - 1;
    if (ieee && field == top) {
        return (unpacked){neg ? -1 : 1, 0, frac != 0 ? CLS_NAN : CLS_INF};
    }
    if (e == ELEM_E4M3 && field == top && frac == 7) {
        return (unpacked){0, 0, CLS_NAN};
    }
    int sig = field == 0 ? frac : frac | 1 << man;
    int exp = (field == 0 ? 1 : field) - exp_bias(e);
    return (unpacked){neg ? -sig : sig, (int16_t)(sig == 0 ? ZERO_EXP : exp), CLS_FINITE};
}

static void set_tfdpa(mach_panel *p, int64_t row, const uint32_t *codes, const uint8_t *scales) {
    int64_t base = row * p->steps * p->in.k;
    for (int64_t k = 0; k < p->steps * p->in.k; k++) {
        unpacked u = {0, ZERO_EXP, CLS_FINITE};
        if (k < p->k) {
            u = unpack(p->elem, codes[k]);
        }
        int scale = scales != NULL && k < p->k ? scales[k / p->in.granule] : 127;
        if (scale == 0xFF) { // NaN whatever the elements are
            u.cls = CLS_NAN;
        }
        p->value[base + k] =
            u.sig * mach_power_of_two(scale - 127 + (u.sig != 0 ? u.exp - man_bits(p->elem) : 0));
        p->exp[base + k] = (int16_t)(u.exp + scale - 127);
        p->cls[base + k] = u.cls;
        if (u.cls != CLS_FINITE) {
            p->special[row * p->steps + k / p->in.k] = 1;
        }
    }
}

// PTX ISA "Packing formats": e2m1 values, here in halves.
static const int8_t fp4_halves[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void set_group_scale(mach_panel *p, int64_t row, int64_t group, uint8_t code) {
    int64_t at = row * p->steps * (p->in.k / GROUP) + group;
    bool nan = false;
    if (p->scale == ELEM_UE8M0) {
        nan = code == 0xFF;
        p->gexp[at] = (int16_t)(code - 127);
        p->gsig[at] = 8;
    } else { // ue4m3: bit 7 is ignored
        int field = code >> 3 & 15;
        int frac = code & 7;
        nan = (code & 0x7F) == 0x7F;
        p->gexp[at] = (int16_t)((field == 0 ? 1 : field) - 7);
        p->gsig[at] = (uint8_t)(field == 0 ? frac : frac | 8);
    }
    if (nan) {
        p->special[row * p->steps + group / (p->in.k / GROUP)] = 1;
    }
}

static void set_gst(mach_panel *p, int64_t row, const uint32_t *codes, const uint8_t *scales) {
    int64_t base = row * p->steps * p->in.k;
    for (int64_t k = 0; k < p->k; k++) {
        int8_t v = fp4_halves[codes[k] & 15];
        p->fp4[base + k] = v;
        if (v != 0) {
            int64_t group = (base + k) / GROUP;
            p->live[group] = (uint16_t)(p->live[group] | 1u << (k % GROUP));
        }
    }
    for (int64_t g = 0; g * GROUP < p->k; g++) {
        set_group_scale(p, row, g, scales[g * GROUP / p->in.granule]);
    }
}

// 4-bit codes as those of the type that is multiplied.
static void set_decoded(mach_panel *p, int64_t row, const uint32_t *codes, const uint8_t *scales) {
    uint32_t *wide = malloc((size_t)(p->k + 1) * sizeof *wide);
    for (int64_t k = 0; wide != NULL && k < p->k; k++) {
        double scale = mach_decode(p->scale, scales[k / p->in.granule]);
        wide[k] =
            mach_encode(p->elem, ldexp(mach_decode(ELEM_E2M1, codes[k] & 15) * scale, -p->in.fold));
    }
    if (wide != NULL) {
        set_tfdpa(p, row, wide, NULL);
    }
    free(wide);
}

void mach_panel_set(mach_panel *p, int64_t row, const uint32_t *codes, const uint8_t *scales) {
    if (p->in.rule == MACH_GST) {
        set_gst(p, row, codes, scales);
    } else if (p->decode) {
        set_decoded(p, row, codes, scales);
    } else {
        set_tfdpa(p, row, codes, scales);
    }
}

// The accumulator as a signed integer times 2^(exp - 23).
typedef struct {
    int64_t sig;
    int exp;
    bool inf, nan, neg;
} accumulator;

static accumulator unpack_acc(uint32_t bits) {
    int field = (int)(bits >> 23 & 255);
    int64_t frac = bits & 0x7FFFFF;
    bool neg = bits >> 31 != 0;
    if (field == 255) {
        return (accumulator){0, 0, frac == 0, frac != 0, neg};
    }
    int64_t sig = field == 0 ? frac : frac | 0x800000;
    return (accumulator){neg ? -sig : sig, (field == 0 ? 1 : field) - 127, false, false, neg};
}

// sum * 2^q rounded towards zero to an f32 with out_frac fraction bits; overflow gives Inf.
static uint32_t round_toward_zero(int64_t sum, int q, int out_frac) {
    if (sum == 0) {
        return 0;
    }
    uint32_t sign = sum < 0 ? 0x80000000u : 0;
    uint64_t mag = sum < 0 ? 0 - (uint64_t)sum : (uint64_t)sum;
    int top = 63 - __builtin_clzll(mag);
    int exp = top + q;
    if (exp > 127) {
        return sign | 0x7F800000u;
    }
    int unit = exp < -126 ? -149 : exp - 23; // weight of the last fraction bit
    int shift = unit - q;
    uint64_t kept = shift >= 64 ? 0 : shift > 0 ? mag >> shift : mag << -shift;
    kept &= ~((UINT64_C(1) << (23 - out_frac)) - 1);
    if (kept == 0) {
        return 0; // truncated to nothing: +0
    }
    uint32_t bits =
        exp < -126 ? (uint32_t)kept : (uint32_t)(kept & 0x7FFFFF) | (uint32_t)(exp + 127) << 23;
    return sign | bits;
}

// value * 2^shift, truncated towards zero.
static inline int64_t scale_trunc(int64_t value, int shift) {
    if (shift >= 0) {
        return (int64_t)((uint64_t)value << shift);
    }
    if (shift < -62) {
        return 0;
    }
    int64_t below = value >> 63 & ((INT64_C(1) << -shift) - 1); // negative values round up
    return (value + below) >> -shift;
}

// The result of a step with an Inf or NaN among its inputs.
static uint32_t special_step(const mach_panel *a, int64_t ia, const mach_panel *b, int64_t ib,
                             accumulator c) {
    bool nan = c.nan;
    bool pinf = c.inf && !c.neg;
    bool ninf = c.inf && c.neg;
    for (int k = 0; k < a->in.k; k++) {
        uint8_t ca = a->cls[ia + k];
        uint8_t cb = b->cls[ib + k];
        double sa = a->value[ia + k];
        double sb = b->value[ib + k];
        nan |= ca == CLS_NAN || cb == CLS_NAN;
        if (ca == CLS_INF || cb == CLS_INF) {
            nan |= sa == 0 || sb == 0; // Inf * 0
            bool neg = (sa < 0) != (sb < 0);
            pinf |= !neg;
            ninf |= neg;
        }
    }
    if (nan || (pinf && ninf)) {
        return canonical_nan;
    }
    return pinf ? 0x7F800000u : 0xFF800000u;
}

// A product of two operands is exact in a double, and so is its scaling by a power of two; the
// conversion to an integer then truncates towards zero. |product| < 4 * 2^emax, so it fits 32 bits.
// Compiled for each length of an instruction.
static inline __attribute__((always_inline)) uint32_t
step_of(int n, const mach_panel *a, int64_t ia, const mach_panel *b, int64_t ib, accumulator c) {
    const int16_t *ea = a->exp + ia;
    const int16_t *eb = b->exp + ib;
    const double *va = a->value + ia;
    const double *vb = b->value + ib;
    int16_t most = FLOOR_TFDPA;
    for (int k = 0; k < n; k++) {
        int16_t x = (int16_t)(ea[k] + eb[k]);
        most = x > most ? x : most;
    }
    int emax = c.sig != 0 && c.exp > most ? c.exp : most;
    int frac = a->in.frac;
    double unit = mach_power_of_two(frac - emax);
    int32_t t[MAX_K];
    for (int k = 0; k < n; k++) {
        t[k] = (int32_t)(va[k] * vb[k] * unit);
    }
    int64_t sum = scale_trunc(c.sig, c.exp - 23 - emax + frac);
    for (int k = 0; k < n; k++) {
        sum += t[k];
    }
    return round_toward_zero(sum, emax - frac, a->in.out_frac);
}

static uint32_t step_tfdpa(const mach_panel *a, int64_t ia, const mach_panel *b, int64_t ib,
                           accumulator c) {
    switch (a->in.k) {
    case 8: return step_of(8, a, ia, b, ib, c);
    case 16: return step_of(16, a, ia, b, ib, c);
    default: return step_of(32, a, ia, b, ib, c);
    }
}

static inline int32_t group_sum(const int8_t *a, const int8_t *b) {
    int32_t d = 0;
    for (int k = 0; k < GROUP; k++) {
        d += a[k] * b[k];
    }
    return d;
}

static uint32_t step_gst(const mach_panel *a, int64_t ia, const mach_panel *b, int64_t ib,
                         accumulator c) {
    int64_t ga = ia / GROUP;
    int64_t gb = ib / GROUP;
    int n = a->in.k / GROUP;
    int64_t value[MAX_K / GROUP];
    int x[MAX_K / GROUP];
    int emax = FLOOR_GST;
    for (int g = 0; g < n; g++) {
        int32_t s = a->gsig[ga + g] * b->gsig[gb + g];
        x[g] = a->gexp[ga + g] + b->gexp[gb + g];
        value[g] = (int64_t)group_sum(a->fp4 + ia + g * GROUP, b->fp4 + ib + g * GROUP) * s;
        bool live = (a->live[ga + g] & b->live[gb + g]) != 0 && s != 0;
        emax = live && x[g] > emax ? x[g] : emax;
    }
    if (c.sig != 0 && c.exp > emax) {
        emax = c.exp;
    }
    int frac = a->in.frac;
    int64_t sum = scale_trunc(c.sig, c.exp - 23 - emax + frac);
    for (int g = 0; g < n; g++) { // halves * halves: 2 fraction bits; scales: 3 and 3
        if (value[g] != 0) {
            sum += scale_trunc(value[g], x[g] - 8 - emax + frac);
        }
    }
    return round_toward_zero(sum, emax - frac, a->in.out_frac);
}

// Inf in the accumulator of the FP4 kinds stays; any NaN wins.
static uint32_t special_gst(bool scale_nan, accumulator c) {
    if (scale_nan || c.nan) {
        return canonical_nan;
    }
    return c.neg ? 0xFF800000u : 0x7F800000u;
}

void mach_panel_factors(mach_panel *p, int64_t row, const uint32_t *factors) {
    memcpy(p->factor + row * chunks_of(p), factors, (size_t)chunks_of(p) * sizeof *factors);
}

static float f32_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t dot_steps(const mach_panel *a, int64_t ra, const mach_panel *b, int64_t rb,
                          int64_t first, int64_t last, uint32_t c) {
    int64_t sa = ra * a->steps;
    int64_t sb = rb * b->steps;
    for (int64_t s = first; s < last; s++) {
        accumulator acc = unpack_acc(c);
        bool bad = a->special[sa + s] != 0 || b->special[sb + s] != 0;
        int64_t ia = (sa + s) * a->in.k;
        int64_t ib = (sb + s) * b->in.k;
        if (a->in.rule == MACH_GST) {
            c = bad || acc.inf || acc.nan ? special_gst(bad, acc) : step_gst(a, ia, b, ib, acc);
        } else {
            c = bad || acc.inf || acc.nan ? special_step(a, ia, b, ib, acc)
                                          : step_tfdpa(a, ia, b, ib, acc);
        }
    }
    return c;
}

// c * 2^by; a NaN stays the one it is.
static uint32_t scaled_by(uint32_t c, int by) {
    float f = ldexpf(f32_of(c), by);
    memcpy(&c, &f, sizeof c);
    return isnan(f) ? canonical_nan : c;
}

uint32_t mach_dot(const mach_panel *a, int64_t ra, const mach_panel *b, int64_t rb, uint32_t c) {
    if (a->in.fold != 0) {
        return scaled_by(dot_steps(a, ra, b, rb, 0, a->steps, scaled_by(c, -a->in.fold)),
                         a->in.fold);
    }
    if (a->in.promote == 0) {
        return dot_steps(a, ra, b, rb, 0, a->steps, c);
    }
    int64_t per = a->in.promote / a->in.k;
    for (int64_t i = 0; i < chunks_of(a); i++) {
        int64_t last = (i + 1) * per < a->steps ? (i + 1) * per : a->steps;
        float part = f32_of(dot_steps(a, ra, b, rb, i * per, last, 0));
        float scale = a->factor[ra * chunks_of(a) + i] * b->factor[rb * chunks_of(b) + i];
        float sum = fmaf(part, scale, f32_of(c));
        memcpy(&c, &sum, sizeof c);
        c = isnan(sum) ? canonical_nan : c;
    }
    return c;
}
