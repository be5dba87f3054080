// Number formats: code -> exact float, float -> code under PTX's cvt rules.
//
// Everything works on bit fields, so the result does not depend on the host's rounding mode.
// Rounding happens once: the float's 24-bit significand is cut to the target's quantum.
#include "num.h"

// What the end of a format's code range means.
enum num_top { TOP_IEEE, TOP_E4M3, TOP_FINITE };

struct num_format {
    int bits, ebits, mbits, bias;
    enum num_top top;
};

static const struct num_format formats[NUM_FMT_COUNT] = {
#define FP4_ELEM(ID, name, bits_, ebits_, mbits_, bias_, class)                                    \
    [NUM_##ID] = {.bits = bits_, .ebits = ebits_, .mbits = mbits_, .bias = bias_},
#include "elem.def"
#undef FP4_ELEM
    [NUM_S8] = {.bits = 8},
    [NUM_U8] = {.bits = 8},
};

static enum num_top top_of(enum num_fmt f) {
    switch (f) {
    case NUM_E4M3:
    case NUM_UE4M3:
        return TOP_E4M3;
    case NUM_E2M1:
    case NUM_E2M3:
    case NUM_E3M2:
        return TOP_FINITE;
    default:
        return TOP_IEEE;
    }
}

int num_bits_of(enum num_fmt f) {
    return formats[f].bits;
}

static float decode_ue8m0(uint32_t code) {
    code &= 0xFF;
    if (code == 0xFF) {
        return num_f32(NUM_NAN_F32);
    }
    return num_f32(code == 0 ? 0x00400000u : code << 23); // 0x00 is 2^-127, a subnormal float
}

// 2^e for -149 <= e <= 127.
static float pow2(int e) {
    return num_f32(e < -126 ? 1u << (e + 149) : (uint32_t)(e + 127) << 23);
}

float num_decode(enum num_fmt f, uint32_t code) {
    if (f == NUM_UE8M0) {
        return decode_ue8m0(code);
    }
    if (f == NUM_F32) {
        return num_canon(num_f32(code));
    }
    if (f == NUM_TF32) {
        return num_canon(num_f32(code & 0xFFFFE000u));
    }
    if (f == NUM_UE4M3) {
        code &= 0x7F;
    }
    const struct num_format *t = &formats[f];
    uint32_t frac = code & ((1u << t->mbits) - 1);
    uint32_t field = code >> t->mbits & ((1u << t->ebits) - 1);
    uint32_t sign = (code >> (t->mbits + t->ebits) & 1) << 31;
    uint32_t last = (1u << t->ebits) - 1;
    enum num_top top = top_of(f);
    if (top == TOP_IEEE && field == last) {
        return num_f32(frac ? NUM_NAN_F32 : sign | 0x7F800000u);
    }
    if (top == TOP_E4M3 && field == last && frac == 7) {
        return num_f32(NUM_NAN_F32);
    }
    if (field == 0) {
        float x = (float)frac * pow2(1 - t->bias - t->mbits);
        return num_f32(num_bits(x) | sign);
    }
    uint32_t e = (uint32_t)((int)field - t->bias + 127);
    return num_f32(sign | e << 23 | frac << (23 - t->mbits));
}

// sig >> shift under a rounding mode; sig < 2^24, shift may exceed 31.
static uint32_t round_shift(uint32_t sig, int shift, bool neg, enum num_round round) {
    if (shift <= 0) {
        return sig << -shift;
    }
    if (shift > 30) {
        shift = 30; // sig < 2^24: still below half of the quantum, still not zero
    }
    uint32_t kept = sig >> shift;
    uint32_t rest = sig & ((1u << shift) - 1);
    uint32_t half = 1u << (shift - 1);
    switch (round) {
    case NUM_RN:
        return kept + (rest > half || (rest == half && (kept & 1)));
    case NUM_RNA:
        return kept + (rest >= half);
    case NUM_RM:
        return kept + (rest != 0 && neg);
    case NUM_RP:
        return kept + (rest != 0 && !neg);
    default:
        return kept;
    }
}

// PTX ISA "cvt": .rz takes the exponent, .rp the next power of two; NaN is 0xFF, the rest stops at
// 0xFE. The sign is not described there; the magnitude is taken.
static uint32_t encode_ue8m0(float x, enum num_round round) {
    uint32_t u = num_bits(x) & 0x7FFFFFFFu;
    uint32_t e = u >> 23;
    uint32_t frac = u & 0x7FFFFFu;
    if (e == 255) {
        return frac ? 0xFF : 0xFE;
    }
    if (round != NUM_RP) {
        return e;
    }
    e += e == 0 ? frac > 0x400000u : frac != 0;
    return e > 0xFE ? 0xFE : e;
}

static uint32_t max_code(enum num_fmt f) {
    const struct num_format *t = &formats[f];
    uint32_t all = (1u << (t->ebits + t->mbits)) - 1;
    switch (top_of(f)) {
    case TOP_FINITE:
        return all;
    case TOP_E4M3:
        return all - 1;
    default:
        return all - (1u << t->mbits);
    }
}

static uint32_t nan_code(enum num_fmt f) {
    const struct num_format *t = &formats[f];
    return (1u << (t->ebits + t->mbits)) - 1; // also +max where there is no NaN
}

static bool always_saturates(enum num_fmt f) {
    return f < NUM_BF16 || f == NUM_UE4M3;
}

// The generic formats: sign, exponent, fraction with implicit one and gradual underflow.
static uint32_t encode_generic(enum num_fmt f, float x, enum num_round round, bool sat) {
    const struct num_format *t = &formats[f];
    uint32_t u = num_bits(x);
    bool neg = u >> 31;
    uint32_t sign = neg ? 1u << (t->ebits + t->mbits) : 0;
    uint32_t field = u >> 23 & 0xFF;
    uint32_t frac = u & 0x7FFFFFu;
    if (field == 0xFF && frac) {
        return nan_code(f);
    }
    uint32_t top = max_code(f);
    uint32_t over = sat || always_saturates(f) ? top : top + 1; // top + 1 is Inf
    if (field == 0xFF) {
        return sign | over;
    }
    int e = field ? (int)field - 127 : -126;
    uint32_t sig = field ? frac | 0x800000u : frac;
    int emin = 1 - t->bias;
    int quantum = e < emin ? emin : e; // exponent whose last fraction bit is kept
    uint32_t r = round_shift(sig, (quantum - t->mbits) - (e - 23), neg, round);
    uint32_t code = ((uint32_t)(quantum - emin) << t->mbits) + r; // a carry runs into the exponent
    if (code > top) {
        bool away = round == NUM_RN || round == NUM_RNA || (round == NUM_RP && !neg) ||
                    (round == NUM_RM && neg);
        code = away ? over : top;
    }
    return sign | code;
}

uint32_t num_encode(enum num_fmt f, float x, enum num_round round, bool sat) {
    switch (f) {
    case NUM_UE8M0:
        return encode_ue8m0(x, round);
    case NUM_UE4M3:
        return x != x ? 0x7F : encode_generic(NUM_E4M3, x > 0 ? x : 0, round, true);
    case NUM_F32:
        return num_bits(num_canon(x));
    case NUM_TF32:
        return num_tf32_of(x, round);
    default:
        return encode_generic(f, x, round, sat);
    }
}

uint32_t num_encode_x2(enum num_fmt f, float hi, float lo, enum num_round round, bool sat,
                       bool relu) {
    if (relu) {
        hi = hi > 0 || hi != hi ? hi : 0;
        lo = lo > 0 || lo != lo ? lo : 0;
    }
    int half = f == NUM_E2M1 ? 4 : formats[f].bits <= 8 ? 8 : 16;
    return num_encode(f, hi, round, sat) << half | num_encode(f, lo, round, sat);
}

uint32_t num_narrow_to_f16x2(enum num_fmt f, uint32_t pair) {
    int half = f == NUM_E2M1 ? 4 : 8;
    uint32_t lo = num_f16_of(num_decode(f, pair & ((1u << half) - 1)), NUM_RN);
    uint32_t hi = num_f16_of(num_decode(f, pair >> half & ((1u << half) - 1)), NUM_RN);
    return hi << 16 | lo;
}

uint32_t num_ue8m0x2_to_bf16x2(uint32_t pair) {
    uint32_t lo = num_bf16_of(decode_ue8m0(pair), NUM_RN);
    uint32_t hi = num_bf16_of(decode_ue8m0(pair >> 8), NUM_RN);
    return hi << 16 | lo;
}

uint16_t num_f16_of(float x, enum num_round round) {
    return (uint16_t)encode_generic(NUM_F16, x, round, false);
}

uint16_t num_bf16_of(float x, enum num_round round) {
    return (uint16_t)encode_generic(NUM_BF16, x, round, false);
}

uint32_t num_tf32_of(float x, enum num_round round) {
    if (x != x) { // .rna cuts the payload, others give one NaN (H200)
        return round == NUM_RNA ? num_bits(x) & 0xFFFFE000u : 0x7FFFE000u;
    }
    return encode_generic(NUM_TF32, x, round, false) << 13;
}

float num_of_f16(uint16_t h) {
    return num_decode(NUM_F16, h);
}
