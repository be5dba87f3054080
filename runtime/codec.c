// Numbers to codes and back, for every element type of elem.def, on the host.
//
// One rule serves all binary formats: with m mantissa bits and smallest normal exponent e0, a code
// without its sign is (e - e0) * 2^m + q, where q = value / 2^(e - m) rounded to even; that covers
// subnormal numbers (e = e0, q < 2^m) and lets a carry of the rounding move into the exponent.
// What lies beyond the largest finite number is told apart by each format's specials
// (PTX ISA 9.0 "Alternate floating-point data formats", "cvt"; OCP MX 1.0 section 5).
#include "rt.h"
#include <math.h>
#include <string.h>

typedef struct {
    const char *name;
    int bits, exp, man, bias;
    char class;
} elem_row;

enum { F, S, I, B };
static const elem_row rows[FP4_ELEM_COUNT] = {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls)                                              \
    [FP4_ELEM_##id] = {name, bits, exp, man, bias, cls},
#include "elem.def"
#undef FP4_ELEM
};

const char *fp4_elem_name(fp4_elem elem) {
    return (unsigned)elem < FP4_ELEM_COUNT ? rows[elem].name : "none";
}

int fp4_elem_bits(fp4_elem elem) {
    return (unsigned)elem < FP4_ELEM_COUNT ? rows[elem].bits : 0;
}

fp4_status fp4_elem_find(const char *name, fp4_elem *elem) {
    if (!name || !elem) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_elem_find(): NULL argument");
    }
    for (int i = 0; i < FP4_ELEM_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *elem = (fp4_elem)i;
            return FP4_OK;
        }
    }
    return rt_fail(FP4_ERROR_NOT_FOUND, "there is no element type '%.40s'", name);
}

// The largest finite code without sign.
static uint64_t max_code(fp4_elem elem) {
    switch (elem) {
    case FP4_ELEM_E2M1:
        return 0x7;
    case FP4_ELEM_E2M3:
    case FP4_ELEM_E3M2:
        return 0x1f;
    case FP4_ELEM_E4M3:
    case FP4_ELEM_UE4M3:
        return 0x7e; // 0x7f is NaN, there is no infinity
    case FP4_ELEM_E5M2:
        return 0x7b;
    case FP4_ELEM_UE8M0:
        return 0xfe;
    default: { // IEEE: the code below infinity
        uint64_t one = 1;
        return (((one << rows[elem].exp) - 1) << rows[elem].man) - 1;
    }
    }
}

static bool has_infinity(fp4_elem elem) {
    return elem == FP4_ELEM_BF16 || elem == FP4_ELEM_F16 || elem == FP4_ELEM_TF32 ||
           elem == FP4_ELEM_F32;
}

// A TF32 number is the upper 19 bits of a word; all others fill their code from bit 0.
static int low_bits(fp4_elem elem) {
    return elem == FP4_ELEM_TF32 ? 13 : 0;
}

static uint64_t nan_code(fp4_elem elem) {
    switch (elem) {
    case FP4_ELEM_E2M1:
    case FP4_ELEM_E2M3:
    case FP4_ELEM_E3M2:
        return max_code(elem); // hardware.md 1.2: no NaN, the conversion gives +max
    case FP4_ELEM_E4M3:
    case FP4_ELEM_UE4M3:
    case FP4_ELEM_E5M2:
        return 0x7f;
    case FP4_ELEM_UE8M0:
        return 0xff;
    default:
        return (UINT64_C(1) << (rows[elem].exp + rows[elem].man)) - 1;
    }
}

static double decode_int(fp4_elem elem, uint64_t code) {
    switch (elem) {
    case FP4_ELEM_I32:
        return (double)(int32_t)(uint32_t)code;
    case FP4_ELEM_I64:
        return (double)(int64_t)code;
    default:
        return code & 1 ? 1.0 : 0.0;
    }
}

double fp4_decode(fp4_elem elem, uint64_t code) {
    if ((unsigned)elem >= FP4_ELEM_COUNT) {
        return NAN;
    }
    const elem_row *row = &rows[elem];
    if (row->class == I || row->class == B) {
        return decode_int(elem, code);
    }
    if (elem == FP4_ELEM_UE8M0) {
        code &= 0xff;
        return code == 0xff ? NAN : ldexp(1.0, (int)code - row->bias);
    }
    code >>= low_bits(elem);
    uint64_t body = code & ((UINT64_C(1) << (row->exp + row->man)) - 1);
    bool negative = row->class == F && (code >> (row->exp + row->man) & 1);
    double value;
    if (body > max_code(elem)) {
        bool infinite = body == max_code(elem) + 1 && (has_infinity(elem) || elem == FP4_ELEM_E5M2);
        value = infinite ? INFINITY : NAN;
    } else {
        uint64_t field = body >> row->man;
        uint64_t q = body & ((UINT64_C(1) << row->man) - 1);
        q += field ? UINT64_C(1) << row->man : 0;
        value = ldexp((double)q, (field ? (int)field : 1) - row->bias - row->man);
    }
    return negative ? -value : value;
}

// Round half to even, independent of the rounding mode of the thread. 0 <= x < 2^52.
static uint64_t round_even(double x) {
    double below = floor(x);
    double rest = x - below;
    uint64_t n = (uint64_t)below;
    return n + (rest > 0.5 || (rest == 0.5 && (n & 1)));
}

static uint64_t encode_int(fp4_elem elem, double value) {
    if (elem == FP4_ELEM_BOOL) {
        return value != 0;
    }
    if (isnan(value)) {
        return 0;
    }
    double limit = elem == FP4_ELEM_I32 ? 0x1p31 : 0x1p63;
    int64_t n;
    if (value >= limit) {
        n = elem == FP4_ELEM_I32 ? INT32_MAX : INT64_MAX;
    } else if (value <= -limit) {
        n = elem == FP4_ELEM_I32 ? INT32_MIN : INT64_MIN;
    } else if (fabs(value) >= 0x1p52) {
        n = (int64_t)value; // an integer already
    } else {
        n = (int64_t)round_even(fabs(value));
        n = value < 0 ? -n : n;
        if (elem == FP4_ELEM_I32 && n > INT32_MAX) {
            n = INT32_MAX;
        }
    }
    return elem == FP4_ELEM_I32 ? (uint32_t)(int32_t)n : (uint64_t)n;
}

// hardware.md 1.2: the exponent, plus one when the mantissa is not zero. PTX cvt.rp.ue8m0x2.
static uint64_t encode_ue8m0(double value) {
    if (!(value > 0)) {
        return 0;
    }
    int e;
    double mantissa = frexp(value, &e); // value = mantissa * 2^e, mantissa in [0.5, 1)
    int code = e - 1 + (mantissa != 0.5) + rows[FP4_ELEM_UE8M0].bias;
    return code < 0 ? 0 : code > 0xfe ? 0xfe : (uint64_t)code;
}

uint64_t fp4_encode(fp4_elem elem, double value) {
    if ((unsigned)elem >= FP4_ELEM_COUNT) {
        return 0;
    }
    const elem_row *row = &rows[elem];
    if (row->class == I || row->class == B) {
        return encode_int(elem, value);
    }
    if (isnan(value)) {
        return nan_code(elem) << low_bits(elem);
    }
    if (elem == FP4_ELEM_UE8M0) {
        return isinf(value) && value > 0 ? 0xfe : encode_ue8m0(value);
    }
    bool negative = signbit(value);
    if (row->class == S && negative) {
        return 0;
    }
    double a = fabs(value);
    uint64_t body = max_code(elem) + (has_infinity(elem) ? 1 : 0);
    int e0 = 1 - row->bias;
    int e;
    frexp(a, &e);
    e = a == 0 || e - 1 < e0 ? e0 : e - 1;
    if (!isinf(a) && e - e0 < 1 << row->exp) {
        uint64_t code = ((uint64_t)(e - e0) << row->man) + round_even(ldexp(a, row->man - e));
        body = code < body ? code : body;
    }
    uint64_t sign = negative ? UINT64_C(1) << (row->exp + row->man) : 0;
    return (sign | body) << low_bits(elem);
}
