// Operand containers and the arithmetic of each kind.
#include "unit_operand.h"

void unit_expand_16(enum unit_unpack how, const uint8_t in[16], uint8_t out[16]) {
    for (int i = 0; i < 16; i++) {
        if (how == UNIT_UNPACK_B4X16_P64) {
            out[i] = in[i / 2] >> 4 * (i % 2) & 0xF;
        } else if (how == UNIT_UNPACK_B6X16_P32) {
            int bit = 6 * i;
            uint32_t pair = (uint32_t)in[bit / 8] | (uint32_t)in[bit / 8 + 1] << 8;
            out[i] = (uint8_t)(pair >> bit % 8 & 0x3F);
        } else {
            out[i] = in[i];
        }
    }
}

void unit_unpack_containers(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n) {
    int bits = num_bits_of(f);
    if (packed || bits >= 8) {
        return;
    }
    enum unit_unpack how = bits == 4 ? UNIT_UNPACK_B4X16_P64 : UNIT_UNPACK_B6X16_P32;
    for (int row = 0; row < n; row++) {
        for (int half = 0; half < 32; half += 16) {
            uint8_t codes[16];
            unit_expand_16(how, &rows[row][half], codes);
            memcpy(&rows[row][half], codes, 16);
        }
    }
}

void unit_negate(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n) {
    int bits = num_bits_of(f);
    int step = bits > 8 ? bits / 8 : 1;
    uint8_t flip = (uint8_t)(packed ? 0x88 : bits >= 8 ? 0x80 : 1u << (bits - 1));
    for (int row = 0; row < n; row++) {
        for (int i = step - 1; i < 32; i += step) {
            rows[row][i] ^= flip;
        }
    }
}

struct num_mm unit_arithmetic(const struct unit_idesc *d) {
    struct num_mm r = {.op = NUM_MM_DOT,
                       .saturate = d->saturate,
                       .dot = {.a = d->a,
                               .b = d->b,
                               .k = d->k,
                               .frac = 25,
                               .floor = -133,
                               .out = d->d == NUM_F16 ? NUM_OUT_F16 : NUM_OUT_F32},
                       .gst = {.scale = d->scale, .block = d->block}};
    if (d->d == NUM_I32) {
        r.op = NUM_MM_INT;
    } else if (d->k == 64) {
        r.op = NUM_MM_GST;
    } else if (d->block) {
        r.op = NUM_MM_SCALED;
    }
    return r;
}
