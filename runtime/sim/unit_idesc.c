// The 32-bit instruction descriptor of tcgen05.mma (PTX ISA "Instruction descriptor" and the table
// of shapes per kind). Every reserved bit is checked: on hardware a wrong one is an illegal
// instruction.
#include "units.h"

static bool is_scaled(enum unit_kind kind) {
    return kind >= UNIT_KIND_MXF8F6F4;
}

static bool is_packed_fp4(enum unit_kind kind) {
    return kind == UNIT_KIND_MXF4 || kind == UNIT_KIND_MXF4NVF4;
}

static int k_of(enum unit_kind kind) {
    switch (kind) {
    case UNIT_KIND_TF32:
        return 8;
    case UNIT_KIND_F16:
        return 16;
    case UNIT_KIND_MXF4:
    case UNIT_KIND_MXF4NVF4:
        return 64;
    default:
        return 32;
    }
}

// The type code of an operand; false when the kind has no such code.
static bool type_of(enum num_fmt *out, enum unit_kind kind, uint32_t code) {
    static const enum num_fmt f8[8] = {NUM_E4M3, NUM_E5M2, NUM_FMT_COUNT, NUM_E2M3,
                                       NUM_E3M2, NUM_E2M1, NUM_FMT_COUNT, NUM_FMT_COUNT};
    *out = NUM_FMT_COUNT;
    switch (kind) {
    case UNIT_KIND_F16:
        *out = code == 0 ? NUM_F16 : code == 1 ? NUM_BF16 : NUM_FMT_COUNT;
        break;
    case UNIT_KIND_TF32:
        *out = code == 2 ? NUM_TF32 : NUM_FMT_COUNT;
        break;
    case UNIT_KIND_I8:
        *out = code == 0 ? NUM_U8 : code == 1 ? NUM_S8 : NUM_FMT_COUNT;
        break;
    case UNIT_KIND_F8F6F4:
    case UNIT_KIND_MXF8F6F4:
        *out = f8[code];
        break;
    default:
        *out = code == 1 ? NUM_E2M1 : NUM_FMT_COUNT;
        break;
    }
    return *out != NUM_FMT_COUNT;
}

static bool d_type_of(struct unit_idesc *r, enum unit_kind kind, uint32_t code) {
    static const enum num_fmt types[4] = {NUM_F16, NUM_F32, NUM_I32, NUM_FMT_COUNT};
    r->d = types[code];
    switch (kind) {
    case UNIT_KIND_I8:
        return r->d == NUM_I32;
    case UNIT_KIND_TF32:
        return r->d == NUM_F32;
    case UNIT_KIND_F16:
        return r->d == NUM_F32 || (r->d == NUM_F16 && r->a == NUM_F16 && r->b == NUM_F16);
    default:
        return r->d == NUM_F32 || r->d == NUM_F16;
    }
}

static enum unit_status decode_types(struct unit_idesc *r, const struct unit_mma_form *form,
                                     uint32_t bits) {
    if (!type_of(&r->a, form->kind, bits >> 7 & 7) || !type_of(&r->b, form->kind, bits >> 10 & 7)) {
        return UNIT_IDESC_TYPE;
    }
    if (is_scaled(form->kind)) {
        r->d = NUM_F32;
        return UNIT_OK;
    }
    return d_type_of(r, form->kind, bits >> 4 & 3) ? UNIT_OK : UNIT_IDESC_TYPE;
}

static enum unit_status decode_scales(struct unit_idesc *r, const struct unit_mma_form *form,
                                      uint32_t bits) {
    r->scale = bits >> 23 & 1 ? NUM_UE8M0 : NUM_UE4M3;
    r->block = form->block;
    r->sfb_id = (int)(bits >> 4 & 3);
    r->sfa_id = (int)(bits >> 29 & 3);
    bool block_ok = form->block == 32 || (form->block == 16 && form->kind == UNIT_KIND_MXF4NVF4);
    bool ue4m3_ok = form->kind == UNIT_KIND_MXF4NVF4 && form->block == 16;
    if (!block_ok || (r->scale == NUM_UE4M3 && !ue4m3_ok)) {
        return UNIT_IDESC_SCALE;
    }
    int step = form->kind == UNIT_KIND_MXF8F6F4 ? 1 : form->block == 32 ? 2 : 4;
    return r->sfa_id % step || r->sfb_id % step ? UNIT_IDESC_SF_ID : UNIT_OK;
}

// Reserved bits: 0 and 1 but for the selector of a sparse A, 6 everywhere, 23 and 29 (no scales) or 0, 1, 3, 24-26 (scales), 30-31 but for .ws.
static enum unit_status check_bits(const struct unit_mma_form *form, uint32_t bits) {
    if ((bits >> 2 & 1) != form->sparse) {
        return UNIT_IDESC_SPARSE;
    }
    uint32_t reserved = is_scaled(form->kind) ? 0x0700004Bu : 0x20800043u;
    if (form->sparse && k_of(form->kind) <= 16) {
        reserved &= ~1u; // the sparsity selector, 0 or 1
    }
    if (!is_scaled(form->kind)) {
        reserved |= form->kind == UNIT_KIND_I8 ? 0x00006000u : 0x00000008u; // negate; saturate
        reserved |= form->ws ? 0 : 0xC0000000u;
    }
    if (is_packed_fp4(form->kind)) {
        reserved |= 0x00019000u; // both transposes, bit 12
    }
    if (bits & reserved) {
        return UNIT_IDESC_BITS;
    }
    bool k96 = is_scaled(form->kind) && bits >> 31;
    return k96 ? UNIT_UNSUPPORTED : UNIT_OK;
}

static bool m_allowed(const struct unit_mma_form *form, int m) {
    if (form->ws) {
        return m == 32 || m == 64 || m == 128;
    }
    if (form->cta_group == 2) {
        return m == 256 || (m == 128 && !(form->sparse && is_scaled(form->kind)));
    }
    return m == 128 || (m == 64 && !is_scaled(form->kind));
}

static bool n_allowed(const struct unit_mma_form *form, const struct unit_idesc *r) {
    int n = r->n;
    if (form->ws) {
        return n == 64 || n == 128 || n == 256;
    }
    int step = form->cta_group == 2 ? 16 : 8;
    if (form->kind == UNIT_KIND_I8) {
        step = form->cta_group == 2 ? 32 : n > 32 ? 16 : 8;
    }
    bool bytes = form->kind == UNIT_KIND_F8F6F4 || form->kind == UNIT_KIND_MXF8F6F4 ||
                 form->kind == UNIT_KIND_I8;
    if (bytes && r->mn_b) {
        step = 16 * form->cta_group;
    }
    return n >= step && n <= UNIT_MAX_N && n % step == 0;
}

// 4- and 6-bit elements in 8-bit kinds are K-major only.
static bool majors_allowed(const struct unit_idesc *r) {
    bool a_bytes = num_bits_of(r->a) >= 8;
    bool b_bytes = num_bits_of(r->b) >= 8;
    return (!r->mn_a || a_bytes) && (!r->mn_b || b_bytes);
}

enum unit_status unit_idesc_decode(struct unit_idesc *out, const struct unit_mma_form *form,
                                   uint32_t bits) {
    struct unit_idesc r = {.k = k_of(form->kind),
                           .m = (int)(bits >> 24 & 31) << 4,
                           .n = (int)(bits >> 17 & 63) << 3,
                           .neg_a = bits >> 13 & 1,
                           .neg_b = bits >> 14 & 1,
                           .mn_a = bits >> 15 & 1,
                           .mn_b = bits >> 16 & 1,
                           .saturate = bits >> 3 & 1,
                           .sparse = form->sparse,
                           .selector = (int)(bits & 1)};
    if (form->ws && (form->cta_group != 1 || is_scaled(form->kind))) {
        return UNIT_SHAPE;
    }
    enum unit_status s = check_bits(form, bits);
    if (s == UNIT_OK && is_scaled(form->kind)) {
        r.m = (int)(bits >> 27 & 3) << 7;
        s = decode_scales(&r, form, bits);
    }
    if (s == UNIT_OK) {
        s = decode_types(&r, form, bits);
    }
    if (s != UNIT_OK) {
        return s;
    }
    if (!m_allowed(form, r.m)) {
        return UNIT_IDESC_M;
    }
    if (!n_allowed(form, &r)) {
        return UNIT_IDESC_N;
    }
    if (!majors_allowed(&r)) {
        return UNIT_DESC_MAJOR;
    }
    *out = r;
    return UNIT_OK;
}
