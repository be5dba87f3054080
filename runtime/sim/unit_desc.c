// Shared memory matrix descriptors and the operand bytes they name.
//
// In: the 64-bit descriptor of tcgen05.mma/cp or wgmma. Out: rows of 32 bytes in K order, which is
// one instruction's share of A or B. Layouts are the canonical ones of PTX ISA "Canonical Layouts";
// the swizzle XORs the final absolute shared address (measured on H200), so a descriptor may start
// in the middle of a swizzle row.
#include "units.h"

#define ADDRESS_MASK 0x3FFFFu

static uint32_t field_bytes(uint64_t bits, int low) {
    return (uint32_t)(bits >> low & 0x3FFF) << 4;
}

// PTX ISA "Shared memory descriptor" of tcgen05: bits 46-48 are 0b001, swizzle in bits 61-63.
enum unit_status unit_desc_tcgen05(struct unit_desc *out, uint64_t bits) {
    static const int8_t modes[8] = {UNIT_SW_NONE, UNIT_SW_128_ATOM32, UNIT_SW_128, -1, UNIT_SW_64,
                                    -1,           UNIT_SW_32,         -1};
    if ((bits >> 46 & 7) != 1 || (bits >> 14 & 3) || (bits >> 30 & 3) || (bits >> 53 & 0xFF)) {
        return UNIT_DESC_BITS;
    }
    if (bits >> 52 & 1) {
        return UNIT_DESC_MODE;
    }
    int mode = modes[bits >> 61];
    if (mode < 0) {
        return UNIT_DESC_SWIZZLE;
    }
    *out = (struct unit_desc){.start = field_bytes(bits, 0),
                              .lbo = field_bytes(bits, 16),
                              .sbo = field_bytes(bits, 32),
                              .base_offset = (uint32_t)(bits >> 49 & 7),
                              .swizzle = (enum unit_swizzle)mode};
    return UNIT_OK;
}

// PTX ISA "Matrix descriptor format" of wgmma: no version bits, swizzle in bits 62-63 (on H200).
enum unit_status unit_desc_wgmma(struct unit_desc *out, uint64_t bits) {
    static const enum unit_swizzle modes[4] = {UNIT_SW_NONE, UNIT_SW_128, UNIT_SW_64, UNIT_SW_32};
    if ((bits >> 14 & 3) || (bits >> 30 & 3) || (bits >> 46 & 7) || (bits >> 52 & 0x3FF)) {
        return UNIT_DESC_BITS;
    }
    *out = (struct unit_desc){.start = field_bytes(bits, 0),
                              .lbo = field_bytes(bits, 16),
                              .sbo = field_bytes(bits, 32),
                              .base_offset = (uint32_t)(bits >> 49 & 7),
                              .swizzle = modes[bits >> 62]};
    return UNIT_OK;
}

// 'base' shifts the pattern for buffers that do not start on a pattern boundary.
static uint32_t swizzled(uint32_t address, enum unit_swizzle s, uint32_t base) {
    uint32_t line = (address >> 7) - base;
    switch (s) {
    case UNIT_SW_32:
        return address ^ (line & 1) << 4;
    case UNIT_SW_64:
        return address ^ (line & 3) << 4;
    case UNIT_SW_128:
        return address ^ (line & 7) << 4;
    case UNIT_SW_128_ATOM32:
        return address ^ (line & 3) << 5;
    default:
        return address;
    }
}

static uint32_t span_of(enum unit_swizzle s) {
    return s == UNIT_SW_32 ? 32 : s == UNIT_SW_64 ? 64 : 128;
}

static uint32_t k_major_offset(const struct unit_desc *d, uint32_t row, uint32_t kb) {
    if (d->swizzle == UNIT_SW_NONE) {
        return row % 8 * 16 + row / 8 * d->sbo + kb % 16 + kb / 16 * d->lbo;
    }
    return row % 8 * span_of(d->swizzle) + row / 8 * d->sbo + kb;
}

// The 32-byte-atom swizzle repeats after 4 lines of 128 bytes, so its K groups are 4 deep.
static uint32_t mn_major_offset(const struct unit_fetch *f, uint32_t row, uint32_t kb) {
    const struct unit_desc *d = &f->desc;
    uint32_t elem = (uint32_t)f->elem_bytes;
    uint32_t k = kb / elem;
    uint32_t mb = row * elem;
    uint32_t inside = kb % elem;
    if (d->swizzle == UNIT_SW_NONE) {
        return mb % 16 + mb / 16 * d->sbo + k % 8 * 16 + k / 8 * d->lbo + inside;
    }
    uint32_t span = span_of(d->swizzle);
    uint32_t group = d->swizzle == UNIT_SW_128_ATOM32 ? 4 : 8;
    return mb % span + mb / span * d->lbo + k % group * span + k / group * d->sbo + inside;
}

uint32_t unit_operand_address(const struct unit_fetch *f, int row, int kb) {
    kb += f->first;
    uint32_t offset = f->mn_major ? mn_major_offset(f, (uint32_t)row, (uint32_t)kb)
                                  : k_major_offset(&f->desc, (uint32_t)row, (uint32_t)kb);
    uint32_t address = (f->desc.start + offset) & ADDRESS_MASK;
    return swizzled(address, f->desc.swizzle, f->desc.base_offset);
}

enum unit_status unit_fetch_operand(const struct unit_fetch *f, const struct unit_cta *cta,
                                    uint8_t (*out)[32]) {
    // Contiguous after swizzling: 16 bytes along K, or one element of a transposed operand.
    int run = f->mn_major ? f->elem_bytes : 16;
    for (int row = 0; row < f->rows; row++) {
        for (int kb = 0; kb < 32; kb += run) {
            uint32_t address = unit_operand_address(f, row, kb);
            if (address + (uint32_t)run > cta->smem_bytes) {
                return UNIT_SMEM_RANGE;
            }
            memcpy(&out[row][kb], cta->smem + address, (size_t)run);
        }
    }
    return UNIT_OK;
}
