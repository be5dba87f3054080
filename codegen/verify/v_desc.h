// Which bytes of shared memory a matrix descriptor reaches (v_desc.c).
#ifndef FP4_V_DESC_H
#define FP4_V_DESC_H

#include <stdbool.h>
#include <stdint.h>

enum { V_MOST_SPANS = 512 };

typedef struct {
    uint32_t from, bytes;
} v_span;

typedef struct {
    uint32_t rows,
        elem; // rows along M or N; bytes of an element, 0: rows of 16 bytes in core matrices
    bool mn_major;
    int swizzle_bit; // 61 of tcgen05, 62 of wgmma
} v_operand_shape;

// An instruction takes 32 bytes of K. Whole swizzle atoms are named, as swizzling spreads a row
// over one.
int v_desc_spans(uint64_t desc, const v_operand_shape *shape, v_span out[V_MOST_SPANS]);

#endif
