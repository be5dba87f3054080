// Inside of stores: what store.c and store_scale.c share.
#ifndef FP4_CODEGEN_STORE_INT_H
#define FP4_CODEGEN_STORE_INT_H

#include "cg_int.h"

enum { SF_ATOM_ROWS = 128, SF_ATOM_COLS = 4, SF_ATOM_BYTES = 512, SF_LINE = 16, SF_MAX_ATOMS = 16 };

// One sub-tile on its way out.
typedef struct {
    const tir_store *s;
    const tir_param *p;
    const tir_acc *acc;
    const cg_frag *f;
    bool transposed; // the tensor's last axis runs along the accumulator's rows
    ll_val **x;      // [run][element]
    int n_words;     // staged scales: one word of four scales an atom, of this lane's row
    ll_val words[SF_MAX_ATOMS];
} cg_sub;

// --- store.c
// ---------------------------------------------------------------------------------------
void cg_store_axes(cg *c, const cg_sub *u, const cg_elem *at,
                   ll_val *out); // position in the tensor
void cg_store_global(cg *c, int bits, ll_val address, ll_val value, ll_val when);

// --- store_scale.c
// ---------------------------------------------------------------------------------
bool cg_scales_staged(const cg_sub *u);
// The scales (codes) of n <= 4 granules of one row, the first one at run r's first column.
void cg_scales(cg *c, cg_sub *u, const cg_run *r, const ll_val *scales, int n);
// Staged scales: all warps of the role before a buffer is written and before its copy is issued;
// this lane's words into the buffer at address 'buffer'; the copies, by lane 0 of one warp.
void cg_scales_meet(cg *c);
void cg_scales_stage(cg *c, const cg_sub *u, ll_val buffer);
void cg_scales_issue(cg *c, const cg_sub *u, ll_val buffer);

#endif
