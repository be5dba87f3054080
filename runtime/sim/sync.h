// Synchronisation instructions: what decoders tell their code.
#ifndef FP4_SIM_SYNC_H
#define FP4_SIM_SYNC_H

#include "core.h"

struct mbar_aux {
    bool arrive, expect, counted, drop, state;
};
// A shared::cluster address from a 32-bit register or the low half of a 64-bit one.
uint32_t sim_shared_address(const struct warp *w, uint32_t r, int64_t offset, int lane);
bool mbar_arrive_op(const struct async_op *op, uint32_t shared, uint32_t count);
uop_fn run_mbar_init, run_mbar_inval, run_mbar_arrive, run_mbar_complete, run_mbar_wait;
uop_fn run_mbar_pending;

enum { BAR_ALIGNED = 1, BAR_ARRIVE = 2, BAR_POPC = 4, BAR_AND = 8, BAR_OR = 16, BAR_COUNTED = 32 };
uop_fn run_bar, run_bar_warp, run_cluster_arrive, run_cluster_wait;
uop_fn run_setmaxnreg, run_yield;

// All lanes that the member masks of the lanes m name.
uint32_t sim_member_masks(const struct warp *w, uint32_t m, uint32_t mask_row);
uop_fn run_shfl, run_vote, run_match, run_activemask, run_redux, run_elect;
enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };
enum { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };
struct redux_aux {
    int op;   // add min max and or xor
    int type; // ptx_word
    bool abs, nan;
};
bool mbar_time_out(struct exec *x); // nothing can happen: waits return; false when that has not helped
#endif
