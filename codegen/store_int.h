// Inside of stores: what store.c and store_scale.c share.
#ifndef FP4_CODEGEN_STORE_INT_H
#define FP4_CODEGEN_STORE_INT_H

#include "cg_int.h"

enum { SF_LINE = 16, SF_MAX_ATOMS = 16, MAX_CODES = SF_MAX_ATOMS * TIR_ATOM_COLS };

// Where a sub-tile is staged.
typedef struct {
    const tir_map *map;
    int pitch;     // bytes from line to line of a box
    int box_bytes;
    int cols;      // of the tensor's last axis in a box
    int n_boxes;   // of one warp, one after another
    ll_val buffer; // i32: address of the current buffer ...
    ll_val region; // ... and of this warp's first box in it
} cg_staging;

// One sub-tile on its way out.
struct cg_sub {
    const tir_store *s;
    const tir_param *p;
    const tir_acc *acc;
    cg_frag f;
    bool transposed; // the tensor's last axis runs along the accumulator's rows
    // the current piece
    int n_runs;
    const cg_run *runs;
    ll_val **x; // [run][element]
    // scales of this lane's row that are not stored yet; the first one belongs to code_run
    int n_codes;
    ll_val codes[MAX_CODES];
    cg_run code_run;
    // staging, begun with the first piece
    bool staged;
    cg_staging g;
    int n_words;     // staged scales: one word of four scales an atom, of this lane's row
    ll_val words[SF_MAX_ATOMS];
};

// --- store.c -------------------------------------------------------------------------------------
// Position in the tensor.
void cg_store_axes(cg *c, const cg_sub *u, const cg_elem *at, ll_val *out);
void cg_store_global(cg *c, int bits, ll_val address, ll_val value, ll_val when);

// --- layout.c ------------------------------------------------------------------------------------
// Elements of a padded layout: zeros behind the ends of the matrix.
void cg_layout_store(cg *c, const cg_sub *u, const cg_run *r, const ll_val *x);
// The code of one element a lane, and behind a row's last one zeros.
void cg_layout_single(cg *c, const tir_store *s, const cg_elem *at, ll_val code);

// --- store_stage.c -------------------------------------------------------------------------------
void cg_stage_check(cg *c, const cg_sub *u);
void cg_stage_piece(cg *c, cg_sub *u); // waits for a free buffer before the first one
void cg_stage_end(cg *c, cg_sub *u);

// --- store_scale.c -------------------------------------------------------------------------------
bool cg_scales_staged(const cg_sub *u);
// The scales (codes) of n <= 4 granules of one row, the first one at run r's first column.
void cg_scales(cg *c, cg_sub *u, const cg_run *r, const ll_val *scales, int n);
// Staged scales: all warps of the role before a buffer is written and before its copy is issued;
// this lane's words into the buffer at address 'buffer'; the copies, by lane 0 of one warp.
void cg_scales_meet(cg *c);
void cg_scales_stage(cg *c, const cg_sub *u, ll_val buffer);
void cg_scales_issue(cg *c, const cg_sub *u, ll_val buffer);

#endif
