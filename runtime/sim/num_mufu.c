// The special function unit as an H200 has it, bit for bit (runtime/mufu.def has the tables and how
// they were found), and the instructions that ptxas makes of it: it works on normal numbers, so
// that the forms without .ftz scale what is subnormal before and after (seen in the machine code of
// sm_90).
#include "num.h"

struct mufu_row {
    int32_t c0, c1, c2;
};
static const struct mufu_row rows[] = {
#define MUFU_ROW(c0, c1, c2) {c0, c1, c2},
#include "../mufu.def"
#undef MUFU_ROW
};
struct mufu_table {
    uint16_t rows;
    uint8_t x_bits, unit;
    int32_t bias;
};
enum {
#define MUFU_FUNCTION(name, n, x_bits, unit, bias) T_##name,
#include "../mufu.def"
#undef MUFU_FUNCTION
    TABLES
};
static const struct mufu_table tables[TABLES] = {
#define MUFU_FUNCTION(name, n, x_bits, unit, bias) {n, x_bits, unit, bias},
#include "../mufu.def"
#undef MUFU_FUNCTION
};
enum {
#define MUFU_FUNCTION(name, n, x_bits, unit, bias) FIRST_##name, LAST_##name = FIRST_##name + (n)-1,
#include "../mufu.def"
#undef MUFU_FUNCTION
};
static const uint16_t first_row[TABLES] = {
#define MUFU_FUNCTION(name, n, x_bits, unit, bias) FIRST_##name,
#include "../mufu.def"
#undef MUFU_FUNCTION
};

#define FRACTION 0x7FFFFFu
#define INF 0x7F800000u
#define SIGN 0x80000000u

// The truncated square: with h the upper 8 bits of x, h * h and the rows h * (a lower bit) of the
// partial products, each cut at the same column; products of two lower bits lie below it.
static int64_t square(uint32_t x, int bits) {
    int low = bits - 8;
    uint32_t h = x >> low;
    uint32_t sum = h * h >> 1;
    for (int k = 0; k < low; k++) {
        sum += (x >> k & 1) * (h >> (low - k));
    }
    return sum;
}

// In units of 2^-16 of the table's unit. 'fraction' counts from the start of the table's row 'row'.
static int64_t interpolate(int table, uint32_t row, uint32_t fraction) {
    const struct mufu_table *t = &tables[table];
    row += fraction >> t->x_bits;
    uint32_t x = fraction & ((1u << t->x_bits) - 1);
    const struct mufu_row *c = &rows[first_row[table] + row];
    return (int64_t)c->c0 * (t->unit == 23 ? 1 << 13 : 1 << 14) + (int64_t)c->c1 * x +
           2 * c->c2 * square(x, t->x_bits) + t->bias;
}

// The float of value * 2^-places, truncated to 24 bits.
static uint32_t normalised(uint64_t value, int places) {
    if (value == 0) {
        return 0;
    }
    int top = 63 - __builtin_clzll(value);
    uint64_t m = top > 23 ? value >> (top - 23) : value << (23 - top);
    return (uint32_t)(top - places + 127) << 23 | ((uint32_t)m & FRACTION);
}

// A float of the fraction's bits and an exponent, infinity or 0 beyond the normal numbers.
static uint32_t packed(int exponent, uint32_t fraction) {
    return exponent > 127    ? INF
           : exponent < -126 ? 0
                             : (uint32_t)(exponent + 127) << 23 | (fraction & FRACTION);
}

// |x| to fixed point with 'places' places, truncated; x below 2^8.
static uint32_t fixed(uint32_t x, int places) {
    int shift = (int)(x >> 23 & 255) - 150 + places;
    uint32_t m = (x & FRACTION) | 1u << 23;
    return shift >= 0 ? m << shift : shift > -24 ? m >> -shift : 0;
}

// Of a negative argument the unit takes the ones' complement of what truncation leaves.
static uint32_t mufu_ex2(uint32_t x) {
    bool negative = (x & SIGN) != 0;
    if ((x & ~SIGN) >= 0x43000000) { // 128
        return negative ? 0 : INF;
    }
    uint32_t t = fixed(x, 23);
    if ((t & FRACTION) == 0) {
        int n = (int)(t >> 23);
        return packed(negative ? -n : n, 0);
    }
    int32_t n = negative ? (int32_t)~t : (int32_t)t;
    return packed(n >> 23, (uint32_t)(interpolate(T_EX2, 0, (uint32_t)n & FRACTION) >> 16));
}

static uint32_t mufu_lg2(uint32_t x) {
    if (x == 0x3F800000) {
        return 0;
    }
    if ((x & ~SIGN) == 0) {
        return INF | SIGN;
    }
    if ((x & SIGN) != 0 || x == INF) {
        return x == INF ? INF : NUM_NAN_F32;
    }
    int64_t exponent = (int64_t)(x >> 23) - 127;
    // 36 places are kept
    int64_t v = ((exponent - 1) * (1ll << 36)) + (interpolate(T_LG2, 0, x & FRACTION) >> 3);
    return v < 0 ? normalised((uint64_t)~v, 36) | SIGN : normalised((uint64_t)v, 36);
}

static uint32_t mufu_rcp(uint32_t x) {
    uint32_t sign = x & SIGN;
    int exponent = (int)(x >> 23 & 255) - 127;
    if ((x & ~SIGN) == INF || (x & ~SIGN) == 0) {
        return (x ^ INF) & (INF | SIGN);
    }
    if ((x & FRACTION) == 0) {
        return sign | packed(-exponent, 0);
    }
    return sign | packed(-exponent - 1, (uint32_t)(interpolate(T_RCP, 0, x & FRACTION) >> 16));
}

static uint32_t mufu_rsqrt(uint32_t x) {
    if ((x & ~SIGN) == 0) {
        return INF | (x & SIGN);
    }
    if ((x & SIGN) != 0) {
        return NUM_NAN_F32;
    }
    if (x == INF) {
        return 0;
    }
    int exponent = (int)(x >> 23) - 127;
    int half = exponent >> 1;
    if ((exponent & 1) == 0 && (x & FRACTION) == 0) {
        return packed(-half, 0);
    }
    uint32_t row = (exponent & 1) != 0 ? 64 : 0;
    return packed(-half - 1, (uint32_t)(interpolate(T_RSQ, row, x & FRACTION) >> 16));
}

static uint32_t mufu_sqrt(uint32_t x) {
    if ((x & ~SIGN) == 0 || x == INF) {
        return x;
    }
    if ((x & SIGN) != 0) {
        return NUM_NAN_F32;
    }
    int exponent = (int)(x >> 23) - 127;
    if ((exponent & 1) == 0 && (x & FRACTION) == 0) {
        return packed(exponent / 2, 0);
    }
    uint32_t row = (exponent & 1) != 0 ? 64 : 0;
    return packed(exponent >> 1, (uint32_t)(interpolate(T_SQRT, row, x & FRACTION) >> 17));
}

// Below 2^-8 the argument itself; 17 bits of a row's interval are looked at.
static uint32_t mufu_tanh(uint32_t x) {
    static const struct {
        uint8_t row, log2_rows;
    } binade[] = {{0, 0},  {1, 0},  {2, 0},  {3, 1},  {5, 1}, {7, 2},
                  {11, 2}, {15, 2}, {19, 3}, {27, 4}, {43, 3}};
    int exponent = (int)(x >> 23 & 255) - 127;
    if (exponent < -8) {
        return x;
    }
    if (exponent > 2) {
        return 0x3F800000 | (x & SIGN);
    }
    uint32_t fraction = (x & FRACTION) >> (6 - binade[exponent + 8].log2_rows);
    int64_t v = interpolate(T_TANH, binade[exponent + 8].row, fraction);
    return normalised((uint64_t)v, 39) | (x & SIGN);
}

// sin and cos of x turns: two bits of quadrant and 23 of it.
static uint32_t mufu_turns(uint32_t x, bool cosine) {
    if ((x & ~SIGN) == INF) {
        return NUM_NAN_F32;
    }
    uint32_t sign = cosine ? 0 : x & SIGN;
    int shift = (int)(x >> 23 & 255) - 150 + 25;
    uint64_t m = (x & FRACTION) | 1u << 23;
    uint32_t t = shift > 24    ? 0
                 : shift >= 0  ? (uint32_t)(m << shift)
                 : shift > -24 ? (uint32_t)(m >> -shift)
                               : 0;
    t += cosine ? 1u << 23 : 0;
    sign ^= (t >> 24 & 1) << 31;
    uint32_t fraction = ((t >> 23 & 1) != 0 ? ~t : t) & FRACTION;
    return normalised((uint64_t)interpolate(T_SIN, 0, fraction), 39) | sign;
}

// The unit itself: subnormal arguments count as 0 but in tanh.
static uint32_t mufu(enum num_mufu op, uint32_t x) {
    if ((x & ~SIGN) > INF) {
        return NUM_NAN_F32;
    }
    if ((x & INF) == 0 && op != NUM_TANH) {
        x &= SIGN;
    }
    switch (op) {
    case NUM_EX2:
        return mufu_ex2(x);
    case NUM_LG2:
        return mufu_lg2(x);
    case NUM_RCP:
        return mufu_rcp(x);
    case NUM_RSQRT:
        return mufu_rsqrt(x);
    case NUM_SQRT:
        return mufu_sqrt(x);
    case NUM_TANH:
        return mufu_tanh(x);
    case NUM_SIN:
    case NUM_COS:
        break;
    }
    return mufu_turns(x, op == NUM_COS);
}

static float unit(enum num_mufu op, float x) {
    return num_f32(mufu(op, num_bits(x)));
}

#define LEAST 0x1p-126f // normal

float num_mufu(enum num_mufu op, float x, bool ftz) {
    bool small = !ftz && fabsf(x) < LEAST;
    float scale = small ? 0x1p24f : 1.0f;
    switch (op) {
    case NUM_EX2:
        if (!ftz && x < -126.0f) {
            float r = unit(op, x * 0.5f);
            return r * r;
        }
        return unit(op, x);
    case NUM_LG2:
        return small ? num_add(unit(op, x * scale), -24.0f) : unit(op, x);
    case NUM_RCP:
        scale = !ftz && fabsf(x) > 0x1p126f ? 0.25f : scale;
        return num_mul(scale, unit(op, x * scale));
    case NUM_RSQRT:
        return num_mul(unit(op, x * scale), small ? 0x1p12f : 1.0f);
    case NUM_SQRT:
        return num_mul(unit(op, x * scale), small ? 0x1p-12f : 1.0f);
    case NUM_SIN:
    case NUM_COS: // in turns: times 1 / (2 pi)
        return unit(op, num_mul_r(x, num_f32(0x3E22F983), NUM_RZ));
    case NUM_TANH:
        break;
    }
    return unit(op, x);
}

// f16 and bf16: the result for f32, truncated, but infinity where f16 overflows.
uint32_t num_mufu_half(enum num_mufu op, float x, enum num_fmt f) {
    float r = unit(op, x);
    return num_encode(f, r, f == NUM_F16 && r >= 0x1p16f ? NUM_RN : NUM_RZ, false);
}

// rcp.approx.ftz.f64, rsqrt.approx.ftz.f64: of the upper words, the rows of f32; the lower word of
// the result is 0.
uint64_t num_mufu_64(enum num_mufu op, uint64_t bits) {
    uint32_t x = (uint32_t)(bits >> 32);
    uint32_t sign = x & SIGN;
    int exponent = (int)(x >> 20 & 0x7FF) - 1023;
    uint32_t fraction = (x & 0xFFFFF) << 3;
    bool root = op == NUM_RSQRT;
    uint32_t r;
    if ((exponent == 1024 && fraction != 0) || (root && sign != 0 && exponent > -1023)) {
        r = NUM_NAN_F32;
    } else if (exponent == 1024 || exponent == -1023) {
        r = exponent == 1024 ? sign : sign | 0x7FF00000;
    } else {
        uint32_t odd = root ? (uint32_t)exponent & 1 : 0;
        int half = root ? exponent >> 1 : exponent;
        bool one = odd == 0 && fraction == 0;
        uint32_t v =
            one ? 0 : (uint32_t)(interpolate(root ? T_RSQ : T_RCP, odd * 64, fraction) >> 16);
        int biased = 1023 - half - !one;
        r = biased > 0 ? sign | (uint32_t)biased << 20 | (v & FRACTION) >> 3 : sign;
    }
    return (uint64_t)r << 32;
}

// a * rcp(b), with both scaled where rcp alone would not do.
float num_div_approx(float a, float b, bool full, bool ftz) {
    float scale = full && fabsf(b) > 0x1p126f ? 0.25f : !ftz && fabsf(b) < LEAST ? 0x1p24f : 1.0f;
    float r = unit(NUM_RCP, b * scale);
    return ftz ? num_mul_ftz(r, num_ftz(a * scale), NUM_RN) : num_mul(r, a * scale);
}
