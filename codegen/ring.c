// The ring through which a scheduler tells the roles of a cluster their tiles: what clc.c and handout.c share.
//
// Slots and full barriers are in every CTA, empty barriers in the leader: one arrival of every reading warp
// of the cluster frees a slot.
#include "cg_int.h"

enum { BARRIER_BYTES = 8 };

cg_ring cg_ring_begin(cg *c) {
    cg_ring r = {.slot = ll_variable(c->b, LL_I32, "ring_slot"),
                 .phase = ll_variable(c->b, LL_I32, "ring_phase")};
    ll_set(c->b, r.slot, ll_i32(c->b, 0));
    ll_set(c->b, r.phase, ll_i32(c->b, 0));
    return r;
}

void cg_ring_advance(cg *c, const cg_ring *r) {
    ll *b = c->b;
    ll_val next = ll_addi(b, ll_get(b, r->slot), 1);
    ll_val wrap = ll_cmpi(b, LL_EQ, next, c->k->walk.depth);
    ll_set(b, r->slot, ll_select(b, wrap, ll_i32(b, 0), next));
    ll_set(b, r->phase, ll_bin(b, LL_XOR, ll_get(b, r->phase), ll_to(b, wrap, LL_I32)));
}

static ll_val ring_at(cg *c, const cg_ring *r, int offset, int bytes) {
    return ll_add(c->b, cg_smem_at(c, offset), ll_muli(c->b, ll_get(c->b, r->slot), bytes));
}

ll_val cg_ring_full(cg *c, const cg_ring *r) {
    return ring_at(c, r, c->k->walk.full_bar, BARRIER_BYTES);
}

ll_val cg_ring_response(cg *c, const cg_ring *r) {
    return ring_at(c, r, c->k->walk.resp_offset, tir_response_bytes(c->k));
}

void cg_ring_barriers(cg *c) {
    const tir_walk *w = &c->k->walk;
    for (int i = 0; i < w->depth; i++) {
        ll_val full = cg_smem_at(c, w->full_bar + BARRIER_BYTES * i);
        ll_val empty = cg_smem_at(c, w->empty_bar + BARRIER_BYTES * i);
        LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", full, ll_i32(c->b, 1));
        LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", empty, ll_i32(c->b, w->empty_count));
    }
}

void cg_ring_await(cg *c, const cg_ring *r) {
    cg_wait(c, cg_ring_full(c, r), ll_get(c->b, r->phase), c->k->cluster > 1);
}

void cg_ring_acquire(cg *c, const cg_ring *r) {
    ll_val parity = ll_bini(c->b, LL_XOR, ll_get(c->b, r->phase), 1);
    cg_wait(c, ring_at(c, r, c->k->walk.empty_bar, BARRIER_BYTES), parity, c->k->cluster > 1);
}

void cg_ring_release(cg *c, const cg_ring *r) {
    ll *b = c->b;
    ll_val empty = ring_at(c, r, c->k->walk.empty_bar, BARRIER_BYTES);
    bool alone = c->role->one_thread && !c->lanes;
    ll_if one = {0};
    if (!alone) {
        cg_warp_sync(c);
        one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    }
    if (c->k->cluster > 1) {
        cg_arrive_remote(c, empty, ll_i32(b, 0));
    } else {
        cg_arrive(c, empty);
    }
    if (!alone) {
        ll_if_end(b, one);
    }
    cg_ring_advance(c, r);
}
