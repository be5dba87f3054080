// Element-wise reductions of cp.reduce.async.bulk: dst = dst op src (PTX ISA
// "cp.reduce.async.bulk"). Floating-point additions round to nearest once an element; f16 and bf16
// keep subnormals (.noftz).
#include "unit_tma.h"

static uint64_t load(const uint8_t *p, int bytes) {
    uint64_t v = 0;
    memcpy(&v, p, (size_t)bytes);
    return v;
}

static float narrow_in(enum unit_tmap_dtype t, uint64_t v) {
    return t == TMAP_F16 ? num_of_f16((uint16_t)v) : num_of_bf16((uint16_t)v);
}

static uint64_t narrow_out(enum unit_tmap_dtype t, float x) {
    return t == TMAP_F16 ? num_f16_of(x, NUM_RN) : num_bf16_of(x, NUM_RN);
}

// The f32 sum of two 11- or 8-bit significands rounds again without harm (24 >= 2 * 11 + 2).
static uint64_t combine_narrow(enum unit_tmap_dtype t, enum unit_red op, uint64_t a, uint64_t b) {
    float x = narrow_in(t, a);
    float y = narrow_in(t, b);
    float r = op == UNIT_RED_ADD   ? num_add(x, y)
              : op == UNIT_RED_MIN ? num_min(x, y, false)
                                   : num_max(x, y, false);
    return narrow_out(t, r);
}

static uint64_t add_f64(uint64_t a, uint64_t b) {
    double x;
    double y;
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    x += y;
    memcpy(&a, &x, 8);
    return a;
}

static bool less(enum unit_tmap_dtype t, uint64_t a, uint64_t b) {
    switch (t) {
    case TMAP_S32:
        return (int32_t)a < (int32_t)b;
    case TMAP_S64:
        return (int64_t)a < (int64_t)b;
    default:
        return a < b;
    }
}

static uint64_t combine_int(enum unit_tmap_dtype t, enum unit_red op, uint64_t a, uint64_t b) {
    switch (op) {
    case UNIT_RED_ADD:
        return a + b;
    case UNIT_RED_MIN:
        return less(t, b, a) ? b : a;
    case UNIT_RED_MAX:
        return less(t, a, b) ? b : a;
    case UNIT_RED_INC:
        return a >= b ? 0 : a + 1;
    case UNIT_RED_DEC:
        return a == 0 || a > b ? b : a - 1;
    case UNIT_RED_AND:
        return a & b;
    case UNIT_RED_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

static bool is_defined(enum unit_tmap_dtype t, enum unit_red op) {
    bool wide = t == TMAP_U32 || t == TMAP_S32 || t == TMAP_U64 || t == TMAP_S64;
    switch (op) {
    case UNIT_RED_ADD:
        return wide || t == TMAP_F16 || t == TMAP_BF16 || t == TMAP_F32 || t == TMAP_F64 ||
               t == TMAP_F32_FTZ;
    case UNIT_RED_MIN:
    case UNIT_RED_MAX:
        return wide || t == TMAP_F16 || t == TMAP_BF16;
    case UNIT_RED_INC:
    case UNIT_RED_DEC:
        return t == TMAP_U32;
    default:
        return wide;
    }
}

static uint64_t combine(enum unit_tmap_dtype t, enum unit_red op, uint64_t a, uint64_t b) {
    switch (t) {
    case TMAP_F16:
    case TMAP_BF16:
        return combine_narrow(t, op, a, b);
    case TMAP_F32:
        return num_bits(num_add(num_f32((uint32_t)a), num_f32((uint32_t)b)));
    case TMAP_F32_FTZ: {
        float x = num_ftz(num_f32((uint32_t)a));
        return num_bits(num_ftz(num_add(x, num_ftz(num_f32((uint32_t)b)))));
    }
    case TMAP_F64:
        return add_f64(a, b);
    default:
        return combine_int(t, op, a, b);
    }
}

enum unit_status unit_bulk_reduce(uint8_t *dst, const uint8_t *src, size_t bytes,
                                  enum unit_tmap_dtype dtype, enum unit_red op) {
    if (!is_defined(dtype, op)) {
        return UNIT_REDUCE_TYPE;
    }
    int size = unit_tmap_elem_bits(dtype) / 8;
    for (size_t i = 0; i + (size_t)size <= bytes; i += (size_t)size) {
        uint64_t r = combine(dtype, op, load(dst + i, size), load(src + i, size));
        memcpy(dst + i, &r, (size_t)size);
    }
    return UNIT_OK;
}
