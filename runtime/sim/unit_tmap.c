// Tensor maps: the rules of cuTensorMapEncodeTiled, our 128-byte image, and tensormap.replace.
//
// The driver's image is opaque and changes; the runtime encodes this one for the simulator instead.
// Rules after the CUDA driver API ("Tensor Map Object Management"), those for boxes, strides,
// swizzles and the Hopper refusals measured on an H200. Each refusal says the offending number and
// the limit.
#include "unit_tma.h"
#include <stdarg.h>
#include <stdio.h>

struct encode {
    const struct unit_tmap_args *in;
    char *reason;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct encode *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (e->reason && e->bytes) {
        vsnprintf(e->reason, e->bytes, fmt, ap);
    }
    va_end(ap);
    return false;
}

int unit_tmap_elem_bits(int dtype) {
    switch (dtype) {
    case TMAP_U8:
        return 8;
    case TMAP_U16:
    case TMAP_F16:
    case TMAP_BF16:
        return 16;
    case TMAP_U64:
    case TMAP_S64:
    case TMAP_F64:
        return 64;
    case TMAP_B4X16:
    case TMAP_B4X16_P64:
        return 4;
    case TMAP_B6X16_P32:
        return 6;
    default:
        return 32;
    }
}

uint32_t unit_tmap_swizzle_span(int mode) {
    switch (mode) {
    case TMAP_SW_NONE:
        return 0;
    case TMAP_SW_32:
        return 32;
    case TMAP_SW_64:
        return 64;
    default:
        return 128;
    }
}

bool unit_tmap_is_float(int dtype) {
    return dtype >= TMAP_F16 && dtype <= TMAP_TF32_FTZ;
}

bool unit_tmap_is_padded(int dtype) {
    return dtype == TMAP_B4X16_P64 || dtype == TMAP_B6X16_P32;
}

bool unit_tmap_is_sound(const struct sim_tmap *map) {
    bool sound = map->magic == SIM_TMAP_MAGIC && map->dtype < TMAP_DTYPE_COUNT &&
                 map->swizzle < TMAP_SW_COUNT && map->interleave < 3 && map->rank >= 1 &&
                 map->rank <= 5;
    for (int i = 0; i < 5; i++) {
        sound &= map->box[i] >= 1 && map->box[i] <= 256 && map->elem_stride[i] >= 1 &&
                 map->elem_stride[i] <= 8 && map->dim[i] <= 1ull << 32;
    }
    return sound;
}

static bool check_modes(struct encode *e) {
    const struct unit_tmap_args *in = e->in;
    int last_dtype = in->hopper ? TMAP_TF32_FTZ : TMAP_B6X16_P32;
    int last_swizzle = in->hopper ? TMAP_SW_128 : TMAP_SW_128_ATOM64;
    const char *machine = in->hopper ? " on sm_90" : "";
    if (in->dtype < 0 || in->dtype > last_dtype) {
        return refuse(e, "element type code %d is not one of 0..%d%s", in->dtype, last_dtype,
                      machine);
    }
    if (in->swizzle < 0 || in->swizzle > last_swizzle) {
        return refuse(e, "swizzle code %d is not one of 0..%d%s", in->swizzle, last_swizzle,
                      machine);
    }
    if (in->interleave < 0 || in->interleave > 2 || in->l2 < 0 || in->l2 > 3) {
        return refuse(e, "interleave code %d (0..2) or L2 promotion code %d (0..3) is out of range",
                      in->interleave, in->l2);
    }
    if (in->rank < 1 || in->rank > 5 || (in->interleave && in->rank < 3)) {
        return refuse(e, "rank %u is not one of %d..5", in->rank, in->interleave ? 3 : 1);
    }
    if (in->interleave == 2 && in->swizzle != TMAP_SW_32) {
        return refuse(e, "interleave 32B needs swizzle 32B, not swizzle code %d", in->swizzle);
    }
    bool padded = unit_tmap_is_padded(in->dtype);
    if (padded && in->swizzle != TMAP_SW_NONE && in->swizzle != TMAP_SW_128 &&
        in->swizzle != TMAP_SW_128_ATOM32 && in->swizzle != TMAP_SW_128_ATOM64) {
        return refuse(e, "element type %d takes swizzle none or 128B only, not swizzle code %d",
                      in->dtype, in->swizzle);
    }
    if (in->oob_nan && !unit_tmap_is_float(in->dtype)) {
        return refuse(e, "NaN fill needs a floating-point type, not type code %d", in->dtype);
    }
    return true;
}

static bool check_tensor(struct encode *e) {
    const struct unit_tmap_args *in = e->in;
    uint64_t align = in->interleave == 2 || unit_tmap_is_padded(in->dtype) ? 32 : 16;
    if (in->address % align) {
        return refuse(e, "global address 0x%llx is not a multiple of %llu",
                      (unsigned long long)in->address, (unsigned long long)align);
    }
    for (uint32_t i = 0; i < in->rank; i++) {
        if (in->dim[i] < 1 || in->dim[i] > 1ull << 32) {
            return refuse(e, "size %llu of axis %u is not in 1..2^32",
                          (unsigned long long)in->dim[i], i);
        }
    }
    uint64_t step = unit_tmap_is_padded(in->dtype) ? 128 : in->dtype == TMAP_B4X16 ? 2 : 1;
    if (in->dim[0] % step) {
        return refuse(e, "size %llu of axis 0 is not a multiple of %llu elements",
                      (unsigned long long)in->dim[0], (unsigned long long)step);
    }
    for (uint32_t i = 0; i + 1 < in->rank; i++) {
        if (in->stride[i] % align || in->stride[i] >= 1ull << 40) {
            return refuse(e, "stride %llu bytes of axis %u is not a multiple of %llu below 2^40",
                          (unsigned long long)in->stride[i], i + 1, (unsigned long long)align);
        }
    }
    return true;
}

static bool check_box(struct encode *e) {
    const struct unit_tmap_args *in = e->in;
    for (uint32_t i = 0; i < in->rank; i++) {
        if (in->box[i] < 1 || in->box[i] > 256) {
            return refuse(e, "box size %u of axis %u is not in 1..256", in->box[i], i);
        }
        if (in->elem_stride && (in->elem_stride[i] < 1 || in->elem_stride[i] > 8)) {
            return refuse(e, "element stride %u of axis %u is not in 1..8", in->elem_stride[i], i);
        }
    }
    if (unit_tmap_is_padded(in->dtype)) {
        return in->box[0] == 128
                   ? true
                   : refuse(e, "box size %u of axis 0 must be 128 for element type %d", in->box[0],
                            in->dtype);
    }
    uint32_t bits = in->box[0] * (uint32_t)unit_tmap_elem_bits(in->dtype);
    if (bits % 128 && in->interleave == 0) {
        return refuse(e, "box axis 0 is %u bits, not a multiple of 16 bytes", bits);
    }
    uint32_t span = unit_tmap_swizzle_span(in->swizzle);
    if (span && in->interleave == 0 && bits / 8 > span) {
        return refuse(e, "box axis 0 is %u bytes, more than the %u bytes of the swizzle", bits / 8,
                      span);
    }
    return true;
}

bool unit_tmap_encode(struct sim_tmap *out, const struct unit_tmap_args *in, char *reason,
                      size_t reason_bytes) {
    struct encode e = {.in = in, .reason = reason, .bytes = reason_bytes};
    if (!check_modes(&e) || !check_tensor(&e) || !check_box(&e)) {
        return false;
    }
    struct sim_tmap map = {.magic = SIM_TMAP_MAGIC,
                           .address = in->address,
                           .dtype = (uint8_t)in->dtype,
                           .rank = (uint8_t)in->rank,
                           .interleave = (uint8_t)in->interleave,
                           .swizzle = (uint8_t)in->swizzle,
                           .l2 = (uint8_t)in->l2,
                           .oob_nan = in->oob_nan != 0};
    for (uint32_t i = 0; i < 5; i++) {
        bool used = i < in->rank;
        map.dim[i] = used ? in->dim[i] : 1;
        map.box[i] = (uint16_t)(used ? in->box[i] : 1);
        map.elem_stride[i] = (uint8_t)(used && in->elem_stride ? in->elem_stride[i] : 1);
        if (i + 1 < in->rank) {
            map.stride[i] = in->stride[i];
        }
    }
    *out = map;
    return true;
}

// PTX ISA "tensormap.replace": its element types differ from the driver's from f32.ftz on.
static const uint8_t replace_types[] = {TMAP_U8,       TMAP_U16,   TMAP_U32,       TMAP_S32,
                                        TMAP_U64,      TMAP_S64,   TMAP_F16,       TMAP_F32,
                                        TMAP_F32_FTZ,  TMAP_F64,   TMAP_BF16,      TMAP_TF32,
                                        TMAP_TF32_FTZ, TMAP_B4X16, TMAP_B4X16_P64, TMAP_B6X16_P32};

static enum unit_status replace_axis(struct sim_tmap *map, enum unit_tmap_field field, int ord,
                                     uint64_t value) {
    int axes = field == TMAP_FIELD_GLOBAL_STRIDE ? 4 : 5;
    if (ord < 0 || ord >= axes) {
        return UNIT_MAP_MODE;
    }
    switch (field) {
    case TMAP_FIELD_BOX_DIM:
        if (value < 1 || value > 256) {
            return UNIT_MAP_MODE;
        }
        map->box[ord] = (uint16_t)value;
        return UNIT_OK;
    case TMAP_FIELD_GLOBAL_DIM:
        map->dim[ord] = value;
        return UNIT_OK;
    case TMAP_FIELD_ELEMENT_STRIDE:
        if (value < 1 || value > 8) {
            return UNIT_MAP_MODE;
        }
        map->elem_stride[ord] = (uint8_t)value;
        return UNIT_OK;
    default:
        if (value % 16 || value >= 1ull << 40) {
            return UNIT_MAP_MODE;
        }
        map->stride[ord] = value;
        return UNIT_OK;
    }
}

// The 128B swizzle's atom; the other spans have one atom only.
static enum unit_status replace_atom(struct sim_tmap *map, uint64_t value) {
    static const uint8_t modes[4] = {TMAP_SW_128, TMAP_SW_128_ATOM32, TMAP_SW_128_ATOM32_FLIP8,
                                     TMAP_SW_128_ATOM64};
    if (value > 3 || (value && map->swizzle < TMAP_SW_128)) {
        return UNIT_MAP_MODE;
    }
    if (map->swizzle >= TMAP_SW_128) {
        map->swizzle = modes[value];
    }
    return UNIT_OK;
}

static bool is_blank(const struct sim_tmap *map) {
    static const struct sim_tmap zero;
    return memcmp(map, &zero, sizeof zero) == 0;
}

enum unit_status unit_tmap_replace(struct sim_tmap *map, enum unit_tmap_field field, int ord,
                                   uint64_t value) {
    if (is_blank(map)) { // made from nothing: kernels clear 128 bytes and replace every field
        map->magic = SIM_TMAP_MAGIC;
        map->rank = 1;
        for (int i = 0; i < 5; i++) {
            map->dim[i] = map->box[i] = map->elem_stride[i] = 1;
        }
    }
    if (map->magic != SIM_TMAP_MAGIC) {
        return UNIT_MAP_MAGIC;
    }
    bool ok = true;
    switch (field) {
    case TMAP_FIELD_GLOBAL_ADDRESS:
        ok = value % 16 == 0;
        map->address = ok ? value : map->address;
        break;
    case TMAP_FIELD_RANK:
        ok = value < 5;
        map->rank = (uint8_t)(ok ? value + 1 : map->rank);
        break;
    case TMAP_FIELD_ELEMTYPE:
        ok = value < sizeof replace_types;
        map->dtype = ok ? replace_types[value] : map->dtype;
        break;
    case TMAP_FIELD_INTERLEAVE:
        ok = value < 3;
        map->interleave = (uint8_t)(ok ? value : map->interleave);
        break;
    case TMAP_FIELD_SWIZZLE:
        ok = value < 4;
        map->swizzle = (uint8_t)(ok ? value : map->swizzle);
        break;
    case TMAP_FIELD_SWIZZLE_ATOMICITY:
        return replace_atom(map, value);
    case TMAP_FIELD_FILL_MODE:
        ok = value < 2;
        map->oob_nan = (uint8_t)(ok ? value : map->oob_nan);
        break;
    default:
        return replace_axis(map, field, ord, value);
    }
    return ok ? UNIT_OK : UNIT_MAP_MODE;
}
