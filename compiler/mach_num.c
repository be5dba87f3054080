// Number formats and f32 functions of mach.h: codes to values and back, quantisation of one
// granule. Values travel as doubles, which hold every format exactly. Formats: PTX ISA "Alternate
// floating-point data formats"; rounding: PTX ISA "cvt".
#include "mach.h"

#include <math.h>
#include <string.h>

typedef enum { CLASS_F, CLASS_S, CLASS_I, CLASS_B } elem_class;

typedef struct {
    int bits, exp, man, bias;
    elem_class cls;
} elem_shape;

static const elem_shape shapes[ELEM_COUNT] = {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls) {bits, exp, man, bias, CLASS_##cls},
#include "../runtime/elem.def"
#undef FP4_ELEM
};

const char *mach_target_name(mach_target t) {
    static const char *const names[] = {"sm_90a", "sm_100a", "sm_120a"};
    return names[t];
}

bool mach_target_parse(const char *name, mach_target *out) {
    for (mach_target t = MACH_SM90A; t <= MACH_SM120A; t++) {
        if (strcmp(name, mach_target_name(t)) == 0) {
            *out = t;
            return true;
        }
    }
    return false;
}

// Formats with Inf and NaN where IEEE 754 puts them.
static bool is_ieee(elem_kind e) {
    return e == ELEM_E5M2 || e == ELEM_BF16 || e == ELEM_F16 || e == ELEM_TF32 || e == ELEM_F32;
}

// tf32 lies in the upper 19 bits of its word; the others start at bit 0.
static uint32_t narrow_code(elem_kind e, uint32_t code) {
    return e == ELEM_TF32 ? code >> 13 : code;
}

double mach_decode(elem_kind e, uint32_t code) {
    const elem_shape *s = &shapes[e];
    if (e == ELEM_F32) {
        float f;
        memcpy(&f, &code, sizeof f);
        return isnan(f) ? NAN : (double)f;
    }
    if (s->cls == CLASS_I || s->cls == CLASS_B) {
        return s->cls == CLASS_B ? (double)(code & 1) : (double)(int32_t)code;
    }
    if (e == ELEM_UE8M0) {
        return code == 0xFF ? NAN : mach_power_of_two((int)code - 127);
    }
    code = narrow_code(e, code);
    uint32_t field = code >> s->man & ((1u << s->exp) - 1);
    uint32_t frac = code & ((1u << s->man) - 1);
    bool neg = s->cls == CLASS_F && (code >> (s->exp + s->man) & 1) != 0;
    uint32_t top = (1u << s->exp) - 1;
    if (is_ieee(e) && field == top) {
        return frac != 0 ? NAN : (neg ? -INFINITY : INFINITY);
    }
    if ((e == ELEM_E4M3 || e == ELEM_UE4M3) && field == top && frac == 7) {
        return NAN;
    }
    double sig = field == 0 ? (double)frac : (double)(frac | 1u << s->man);
    double mag = sig * mach_power_of_two((field == 0 ? 1 : (int)field) - s->bias - s->man);
    return neg ? -mag : mag;
}

// Code of the largest finite magnitude, in the low bits.
static uint32_t largest_code(elem_kind e) {
    const elem_shape *s = &shapes[e];
    uint32_t all = (1u << (s->exp + s->man)) - 1;
    if (is_ieee(e)) {
        return all - (1u << s->man);
    }
    return e == ELEM_E4M3 || e == ELEM_UE4M3 ? all - 1 : all;
}

double mach_largest(elem_kind e) {
    if (e == ELEM_UE8M0) {
        return mach_power_of_two(127);
    }
    uint32_t code = largest_code(e);
    return mach_decode(e, e == ELEM_TF32 ? code << 13 : code);
}

// cvt.rp.satfinite.ue8m0: the exponent rounded up.
static uint32_t encode_ue8m0(double x) {
    if (isnan(x)) {
        return 0xFF;
    }
    if (!(x > 0)) {
        return 0;
    }
    if (isinf(x)) {
        return 254;
    }
    int e;
    double m = frexp(x, &e);
    int code = (m == 0.5 ? e - 1 : e) + 127;
    return (uint32_t)(code < 0 ? 0 : code > 254 ? 254 : code);
}

// PTX ISA "cvt": NaN to e2m1, e2m3, e3m2 gives +largest; to e4m3, e5m2 0x7F; bf16 and f16 0x7FFF.
static uint32_t nan_code(elem_kind e) {
    return e == ELEM_F32 || e == ELEM_TF32 ? 0x7FFFFFFFu : (1u << (shapes[e].bits - 1)) - 1;
}

static uint32_t overflow_code(elem_kind e) {
    bool saturates = shapes[e].bits <= 8;
    return saturates ? largest_code(e) : largest_code(e) + 1;
}

static uint32_t encode_magnitude(elem_kind e, double a) {
    const elem_shape *s = &shapes[e];
    if (a == 0) {
        return 0;
    }
    if (isinf(a)) {
        return overflow_code(e);
    }
    int emin = 1 - s->bias;
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    int x = (int)(bits >> 52) - 1023; // a subnormal double is far below emin
    x = x < emin ? emin : x;
    if (x > emin + (1 << s->exp)) {
        return overflow_code(e);
    }
    // In units of the last place: nearest, ties to even (the default rounding mode of rint).
    double units = rint(a * mach_power_of_two(s->man - x));
    // A carry out of the fraction moves into the exponent field by itself.
    uint32_t code = ((uint32_t)(x - emin + 1) << s->man) + (uint32_t)units - (1u << s->man);
    return code > largest_code(e) ? overflow_code(e) : code;
}

static uint32_t encode_int(elem_kind e, double x) {
    if (e == ELEM_BOOL) {
        return x != 0;
    }
    double r = isnan(x) ? 0 : rint(x);
    r = r > INT32_MAX ? INT32_MAX : r < INT32_MIN ? INT32_MIN : r;
    return (uint32_t)(int32_t)r;
}

uint32_t mach_encode(elem_kind e, double x) {
    const elem_shape *s = &shapes[e];
    if (s->cls == CLASS_I || s->cls == CLASS_B) {
        return encode_int(e, x);
    }
    if (e == ELEM_UE8M0) {
        return encode_ue8m0(x);
    }
    if (isnan(x)) {
        return nan_code(e);
    }
    if (s->cls == CLASS_S) {
        return x > 0 ? encode_magnitude(e, x) : 0;
    }
    if (e == ELEM_F32) {
        float f = (float)x;
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        return u;
    }
    uint32_t code = encode_magnitude(e, fabs(x));
    code |= signbit(x) ? 1u << (s->exp + s->man) : 0;
    return e == ELEM_TF32 ? code << 13 : code;
}

float mach_exp(float x) {
    return mach_ex2(x * 0x1.715476p+0f); // 0x3FB8AA3B, log2(e)
}

float mach_log(float x) {
    return mach_lg2(x) * 0x1.62e430p-1f; // 0x3F317218, ln(2)
}

float mach_min(float a, float b) {
    if (isnan(a) || isnan(b)) {
        return isnan(a) ? b : a;
    }
    return a < b || (a == b && signbit(a)) ? a : b;
}

float mach_max(float a, float b) {
    if (isnan(a) || isnan(b)) {
        return isnan(a) ? b : a;
    }
    return a > b || (a == b && !signbit(a)) ? a : b;
}

// A negative hs gives a positive scale and a negative divisor: the elements turn their signs.
static mach_granule quantise_exact(elem_kind elem, elem_kind scale, double amax, double hs) {
    uint32_t code = mach_encode(scale, fabs(amax / (mach_largest(elem) * hs)));
    return (mach_granule){(uint8_t)code, mach_decode(scale, code) * hs};
}

static mach_granule quantise_ue4m3(elem_kind elem, float amax, float hs) {
    float r = 1.0f / ((float)mach_largest(elem) * hs);
    uint32_t code = mach_encode(ELEM_E4M3, (double)(amax * r)) & 0x7F;
    float d = (float)mach_decode(ELEM_UE4M3, code) * hs;
    return (mach_granule){(uint8_t)code, d == 0 ? 0 : (double)(1.0f / d)};
}

static mach_granule quantise_ue8m0(elem_kind elem, float amax) {
    float inv = 1.0f / (float)mach_largest(elem);
    uint32_t code = mach_encode(ELEM_UE8M0, (double)(amax * inv));
    return (mach_granule){(uint8_t)code, mach_power_of_two(127 - (int)code)};
}

mach_granule mach_quantise(elem_kind elem, elem_kind scale, double amax, double hs, bool exact) {
    if (exact) {
        return quantise_exact(elem, scale, amax, hs);
    }
    return scale == ELEM_UE8M0 ? quantise_ue8m0(elem, (float)amax)
                               : quantise_ue4m3(elem, (float)amax, (float)hs);
}

uint32_t mach_quantise_elem(elem_kind elem, double x, mach_granule g, bool exact) {
    if (exact) {
        return mach_encode(elem, g.factor == 0 ? 0 : x / g.factor);
    }
    float y = (float)x * (float)g.factor;
    return mach_encode(elem, (double)y);
}
