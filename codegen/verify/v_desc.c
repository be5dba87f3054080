// Matrix descriptors (PTX ISA, "Shared memory descriptor", "Matrix descriptor format"): start,
// leading and stride byte offsets in units of 16 bytes, and the swizzle.
#include "v_desc.h"

static int add(v_span *out, int n, uint32_t from, uint32_t bytes) {
    if (n < V_MOST_SPANS) {
        out[n++] = (v_span){from, bytes};
    }
    return n;
}

// Bytes of a swizzled row: 0 none, 128, 64, 32.
static uint32_t row_bytes(uint64_t desc, int bit) {
    if (bit == 61) {
        static const uint32_t of[8] = {0, 128, 128, 0, 64, 0, 32, 0};
        return of[desc >> 61];
    }
    static const uint32_t of[4] = {0, 128, 64, 32};
    return of[desc >> 62];
}

int v_desc_spans(uint64_t desc, const v_operand_shape *s, v_span out[V_MOST_SPANS]) {
    uint32_t start = (uint32_t)(desc & 0x3FFF) << 4;
    uint32_t lead = (uint32_t)(desc >> 16 & 0x3FFF) << 4, stride = (uint32_t)(desc >> 32 & 0x3FFF)
                                                                   << 4;
    uint32_t row = row_bytes(desc, s->swizzle_bit), groups = (s->rows + 7) / 8;
    int n = 0;
    if (s->elem == 0) { // groups of 8 rows of 16 bytes
        for (uint32_t g = 0; g < groups; g++) {
            n = add(out, n, start + g * stride, 128);
        }
        return n;
    }
    if (row == 0) { // core matrices of 128 bytes, two along K
        for (uint32_t g = 0; g < groups; g++) {
            n = add(out, n, start + g * stride, 128);
            n = add(out, n, start + g * stride + lead, 128);
        }
        return n;
    }
    uint32_t atom = 8 * row;
    if (!s->mn_major) {
        for (uint32_t g = 0; g < groups; g++) {
            n = add(out, n, start / row * row + g * stride, atom);
        }
        return n;
    }
    uint32_t across = (s->rows * s->elem + row - 1) / row, deep = 32 / s->elem / 8;
    for (uint32_t a = 0; a < across; a++) {
        for (uint32_t k = 0; k < (deep == 0 ? 1 : deep); k++) {
            n = add(out, n, start / atom * atom + a * lead + k * stride, atom);
        }
    }
    return n;
}
