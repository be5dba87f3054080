// Copies and other asynchronous operations: what the decoders tell their code.
#ifndef FP4_SIM_ASYNC_H
#define FP4_SIM_ASYNC_H

#include "core.h"

// Operands of one copy instruction; rows as in uop, ADDRESS_32 possible on addresses.
struct copy_aux {
    enum op_kind kind;
    uint32_t smem, mbar, global, remote; // rows of addresses
    int64_t smem_off, mbar_off, global_off, remote_off;
    uint32_t map; // row of the generic address of a tensor map
    int64_t map_off;
    uint32_t coord[5];
    int n_coord, rank;
    enum unit_tma_mode mode;
    uint32_t size, mask; // rows; 0: none
    bool multicast, pair;
    enum unit_red red;
    int dtype;
    // cp.async
    uint32_t cp_bytes;
    uint32_t src_size; // row, 0: all
    uint32_t ignore;   // predicate: the source is not read
    bool has_ignore, ignore_negated;
    bool noinc;
};
uop_fn run_copy, run_bulk_commit, run_bulk_wait, run_cp_async, run_cp_commit, run_cp_wait,
    run_cp_arrive;
// The lane's bulk groups before this number are over after the wait u.
uint32_t bulk_groups_over(const struct warp *w, const struct uop *u, int lane);
uop_fn run_clc_cancel, run_clc_query, run_tmap_replace, run_tmap_copy;

enum { CLC_IS_CANCELED, CLC_X, CLC_Y, CLC_Z, CLC_V4 };
struct clc_aux {
    int what;
    uint32_t row[4];
};
struct replace_aux {
    enum unit_tmap_field field;
    int ord;
    bool shared;
    uint32_t value; // row
    bool wide;      // 64-bit value
};

// Tensor core instructions (tensor.c).
struct tensor_aux {
    enum op_kind kind;
    struct unit_mma mma; // form and constants
    struct unit_cp cp;
    int group;                         // cta_group
    uint32_t d, a, b, meta, idesc, sfa, sfb; // rows
    int64_t d_off, a_off, meta_off, sfa_off, sfb_off;
    uint32_t pred;
    bool pred_negated;
    uint32_t disable[8];
    int n_disable;
    uint32_t mbar, mask; // rows, commit
    int64_t mbar_off;
    bool multicast;
};
uop_fn run_tensor, run_tmem_ld, run_tmem_st, run_tmem_alloc, run_tmem_dealloc, run_tmem_relinquish;
uop_fn run_tmem_wait;
struct ldst_aux {
    struct unit_ldst op;
    uint32_t row[128];
};

// mma.sync and matrix moves (matrix.c).
struct msync_aux {
    struct unit_msync op;
    uint32_t d[4], a[4], b[4], c[4];
    int nd, na, nb;
    uint32_t meta; // row of the metadata of a sparse A
    bool scaled;
    uint32_t sfa, sfb, sel[4]; // rows of scales and of selectors byte-a thread-a byte-b thread-b
};
struct lm_aux {
    struct unit_lm op;
    uint32_t row[4];
};
// wgmma (wgmma.c).
struct wgmma_aux {
    struct unit_wgmma op; // form and constants
    uint32_t d[128], a[4], meta;
    uint32_t adesc, bdesc; // rows
    uint32_t pred;
    bool pred_negated;
};
uop_fn run_wgmma, run_wgmma_commit, run_wgmma_wait, run_wgmma_read;
uint32_t sim_first_use(const struct sim_kernel *k, uint32_t uop); // in k->uses, or the next one
bool wgmma_completes(const struct warp *w); // the three others of its warpgroup have issued its next wgmma
const struct async_op *wgmma_owner(const struct warp *w, const struct uop *u);

uop_fn run_msync, run_ldmatrix, run_stmatrix, run_movmatrix;

#endif
