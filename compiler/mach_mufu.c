// The approximate functions of mach.h as the special function unit of sm_90 computes them: ex2,
// lg2, rsqrt, tanh. runtime/mufu.def has the rows, measured on an H200, and what is summed. Every
// sum here is exact in double.
#include "mach.h"

#include <math.h>
#include <string.h>

typedef struct {
    double c0, c1, c2;
} coefficients;

static const coefficients rows[] = {
#define MUFU_ROW(c0, c1, c2) {c0, c1, c2},
#include "../runtime/mufu.def"
#undef MUFU_ROW
};

typedef struct {
    int rows, low_bits, unit, bias;
} curve;

enum {
#define MUFU_FUNCTION(name, n, low_bits, unit, bias) CURVE_##name,
#include "../runtime/mufu.def"
#undef MUFU_FUNCTION
    CURVES
};

static const curve curves[CURVES] = {
#define MUFU_FUNCTION(name, n, low_bits, unit, bias) {n, low_bits, unit, bias},
#include "../runtime/mufu.def"
#undef MUFU_FUNCTION
};

// x * x without the partial products below 2^cut.
static double square_above(uint32_t x, int cut) {
    double sum = 0;
    for (int i = 0; x >> i != 0; i++) {
        if ((x >> i & 1) == 0) {
            continue;
        }
        sum += 2 * i >= cut ? ldexp(1, 2 * i) : 0;
        int least = cut - 1 - i > i + 1 ? cut - 1 - i : i + 1; // of the partners above bit i
        sum += ldexp((double)(x >> least), least + i + 1);
    }
    return sum;
}

// 'at' counts in 2^-low_bits rows from the first row of the curve.
static double on_curve(int which, uint32_t at) {
    const curve *f = &curves[which];
    const coefficients *c = rows + (at >> f->low_bits);
    for (int i = 0; i < which; i++) {
        c += curves[i].rows;
    }
    uint32_t x = at & ((1u << f->low_bits) - 1);
    int cut = 2 * f->low_bits - 15;
    double sum = c->c1 * x + 2 * c->c2 * ldexp(square_above(x, cut), -cut) + f->bias;
    return ldexp(c->c0, -26) + ldexp(sum, -f->unit - 16);
}

// Toward zero to 24 significant bits.
static float cut_to_f32(double v) {
    int e;
    double m = frexp(v, &e);
    return (float)ldexp(trunc(ldexp(m, 24)), e - 24);
}

// |x| = m * 2^e, 1 <= m < 2: the 23 bits behind the point of m.
static uint32_t fraction_of(float x, int *exponent) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    *exponent = (int)(bits >> 23 & 255) - 127;
    return bits & 0x7FFFFF;
}

static float nan_f32(void) {
    uint32_t bits = 0x7FFFFFFF;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// For x >= -126. The argument is cut to 23 places behind the point; a negative one is then one unit
// further down (ones' complement) unless nothing but its integer part is left.
static float unit_ex2(float x) {
    double t = trunc(ldexp(fabs((double)x), 23));
    bool integral = fmod(t, 0x1p23) == 0;
    t = x < 0 ? (integral ? -t : -t - 1) : t;
    double whole = floor(ldexp(t, -23));
    uint32_t part = (uint32_t)(t - ldexp(whole, 23));
    return ldexpf(part == 0 ? 1.0f : cut_to_f32(on_curve(CURVE_EX2, part)), (int)whole);
}

float mach_ex2(float x) {
    if (isnan(x)) {
        return nan_f32();
    }
    if (x >= 128) {
        return INFINITY;
    }
    if (x < -300) {
        return 0;
    }
    if (x < -126) { // as the assembler does it
        float r = unit_ex2(x * 0.5f);
        return r * r;
    }
    return unit_ex2(x);
}

float mach_lg2(float x) {
    if (isnan(x) || x < 0) {
        return nan_f32();
    }
    if (x == 0 || isinf(x) || x == 1) {
        return x == 0 ? -INFINITY : x == 1 ? 0 : x;
    }
    bool scaled = x < 0x1p-126f;
    int e;
    uint32_t f = fraction_of(scaled ? x * 0x1p24f : x, &e);
    double v = floor(ldexp(on_curve(CURVE_LG2, f), 36)) + ldexp(e - 1, 36); // the rows are 1 + lg2
    float r = v < 0 ? -cut_to_f32(ldexp(-v - 1, -36)) : cut_to_f32(ldexp(v, -36));
    return scaled ? r - 24 : r;
}

float mach_rsqrt(float x) {
    if (isnan(x) || x < 0) {
        return nan_f32();
    }
    if (x == 0 || isinf(x)) {
        return x == 0 ? copysignf(INFINITY, x) : 0;
    }
    bool scaled = x < 0x1p-126f;
    int e;
    uint32_t f = fraction_of(scaled ? x * 0x1p24f : x, &e);
    uint32_t odd = (uint32_t)e & 1;
    float r = odd == 0 && f == 0 ? 1 : cut_to_f32(on_curve(CURVE_RSQ, f + (odd << 23)));
    return ldexpf(r, -((e - (int)odd) / 2) + (scaled ? 12 : 0));
}

float mach_tanh(float x) {
    static const int log2_rows[] = {0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 3}; // of the binades from 2^-8
    int e;
    uint32_t f = fraction_of(x, &e);
    if (isnan(x)) {
        return nan_f32();
    }
    if (e < -8) {
        return x;
    }
    if (e > 2) {
        return copysignf(1, x);
    }
    uint32_t before = 0;
    for (int i = 0; i < e + 8; i++) {
        before += 1u << log2_rows[i];
    }
    uint32_t at = (before << 17) + (f >> (6 - log2_rows[e + 8]));
    return copysignf(cut_to_f32(on_curve(CURVE_TANH, at)), x);
}
