// Inside of wgmma: products (wgmma.c) and the f32 scales of operands (wgmma_scale.c).
#ifndef FP4_CODEGEN_WGMMA_INT_H
#define FP4_CODEGEN_WGMMA_INT_H

#include "mma_int.h"

// f32 scales of one granule of k, as a thread needs them for its elements.
typedef struct {
    int n_rows, n_cols;
    ll_val *rows; // of each of the thread's rows, 8 apart: 2 a row fragment
    ll_val
        *cols; // of its columns: 2 a column fragment, or one a block of columns that share a scale
    int n_blocks; // blocks of columns that fragments do not cut; 0: a scale a column
    ll_val into;  // i32: columns of the tile's first block before the tile
    tir_factor side; // of the columns
} wgmma_factors;

// Which ones a tile needs: everything but rows[i], cols[i].
wgmma_factors wgmma_begin_factors(cg *c, const tir_mma *m);
// Reads them from the current slot, for a granule of the step.
void wgmma_load_factors(cg *c, const tir_mma *m, int granule, wgmma_factors *f);
// The sums of one of a warpgroup's instructions.
typedef struct {
    const ll_var *regs; // as the instruction orders them: [column fragment][4]
    int per_group;      // instructions of a step ...
    int number;         // ... and this one
} wgmma_part;
// acc += part * (row scale * column scale), fma.rn of a mul.rn (mach.h), in the part's rows.
void wgmma_promote(cg *c, const wgmma_factors *f, const cg_acc *acc, const wgmma_part *part);

typedef struct {
    const tir_mma *m;
    int per_group; // instructions of 64 rows that a warpgroup issues a K step
} wgmma_decoding;

// Decodes this warp's rows of K steps first .. last - 1 (16-bit types: both even) of the current
// tile of 4-bit weights: registers of operand A, ordered [K step][instruction of the step][4] from
// step 0 (wgmma_decode.c).
void wgmma_decode(cg *c, const wgmma_decoding *d, int first, int last, ll_val *out);

#endif
