// Inside of mma.sync: operands in shared memory as a warp reads them (mma_operand.c), products of
// register fragments (mma_sync.c).
#ifndef FP4_CODEGEN_MMA_INT_H
#define FP4_CODEGEN_MMA_INT_H

#include "cg_int.h"

enum { FRAG_ROWS_A = 16, FRAG_ROWS_B = 8 };

// Where a warp reads one operand, prepared once a K tile.
typedef struct {
    const tir_operand *op;
    const tir_box *data, *scale;
    ll_val slot;      // i32: address of the slot
    int rows;         // rows of the warp's tile
    int frag_rows;    // 16 or 8
    ll_val first_row; // of the warp in the CTA's tile
    ll_val lane_line; // i32: the lane's line in the slab of the warp's first row, from the tile's first byte
    ll_val lane_xor;  // i32: the lane's chunk with its swizzle, in bytes
    int elem;         // mn_major: bytes of an element; else 0
    int padded;       // bits of elements that are padded to bytes, 4 or 6; else 0
    ll_val sf_base;   // i32: address of the lane's scale word of the first 32 rows, K atom 0
    int sf_vec;       // words a lane reads at once: rows 32 apart
    ll_val sf_shift;  // i32: bits of a word before the step's first scale; NULL: none
} mma_operand;

// First row and column of this warp in the CTA's tile, whose warps hold 'rows' by 'cols'.
ll_val mma_warp_row(cg *c, int rows);
ll_val mma_warp_col(cg *c, int cols);
// Addresses in the slot at 'slot'; 'rows' of this warp. frag_rows is set before: 16 for A, 8 for B.
void mma_operand_begin(cg *c, mma_operand *o, int index, ll_val slot, int rows);
// One K step of the 16 rows (8 at the end of an odd B) from fragment 'frag' on into out: four
// registers a fragment of A, two a fragment of B.
void mma_load_fragment(cg *c, const mma_operand *o, int step, int frag, ll_val *out);
// Scale words of a warp's rows: the lanes of one have those of 32 rows.
int mma_scale_words(int rows);
// Where the scales of a fragment are: the word, and which lanes of each four have them (thread-id).
typedef struct {
    int word, thread;
} mma_scale_place;
mma_scale_place mma_scale_of(const mma_operand *o, int frag);
// Scale words for K atom 'word' (four scales a row) of the fragments that share what is read at once,
// when 'frag' is the last of them.
void mma_load_scale(cg *c, const mma_operand *o, int word, int frag, ll_val *out);

#endif
