// Shared by the matrix units: from the containers of one instruction's operand rows to plain codes,
// and from a kind to its arithmetic.
#ifndef FP4_SIM_UNIT_OPERAND_H
#define FP4_SIM_UNIT_OPERAND_H

#include "num_mm.h"
#include "units.h"

// tcgen05 8-bit kinds: 16 elements in 16 bytes, e2m1 in the first 8, e2m3/e3m2 in the first 12.
// In place; 8-, 16- and 32-bit formats and packed FP4 stay as they are.
void unit_unpack_containers(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n);

// b4x16_p64 / b6x16_p32: one 16-byte container to 16 codes, one a byte.
void unit_expand_16(enum unit_unpack how, const uint8_t in[16], uint8_t out[16]);

// Flips the sign of every element.
void unit_negate(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n);

// A sparse A, compressed to 32 bytes a row, and B, 64 bytes a row. 'indices' of a row of A: 2 bits a unit, in K order.
struct unit_sparse {
    const uint64_t *indices; // [m]
    int unit;                // bytes: 1 or 2
    const uint8_t (*b)[64];  // [n]
};
// Of row 'row' (0..15) of a warp, from its metadata register of 32 lanes (mma.sp, wgmma.mma_async.sp).
struct unit_sparse_form {
    int unit, bytes; // bytes of a row of A: 32, or 16 of the short forms of mma.sp
    int selector;
};
uint64_t unit_sparse_indices(const struct unit_sparse_form *f, const uint32_t *meta, int row);
// As num_mm_run, but that mm->b is not looked at.
void unit_sparse_run(const struct num_mm *mm, const struct unit_sparse *s, uint32_t *d, size_t ldd);
// What of one row of B meets one row of A.
void unit_sparse_choose(uint64_t indices, int unit, const uint8_t wide[64], uint8_t out[32]);

// The arithmetic of a kind at its native width (k products, F = 25); 'packed' kinds give GST.
struct num_mm unit_arithmetic(const struct unit_idesc *d);

#endif
