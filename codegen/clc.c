// Cluster launch control: tiles by asking the hardware for the next cluster of the grid.
//
// The grid has one cluster a tile; a running cluster takes over the tile of a cluster that was not
// launched yet (PTX ISA "clusterlaunchcontrol.try_cancel"). Responses go through a ring of 'depth'
// slots of 16 bytes in every CTA. Full barriers: 16 bytes, armed by the CTA's own scheduler. Empty
// barriers: in the leader, one arrival of every reading warp of the cluster; the schedulers read
// too, so that they know when to stop and that the slot's former phase is over in their CTA.
//
// A response is written by the async proxy and read by the generic one: readers fence before they
// hand the slot back, as the example in the PTX manual does.
#include "cg_int.h"

typedef struct {
    ll_val more; // i1: there is another tile ...
    ll_val tile; // ... this one (i32)
} clc_answer;

// The first CTA of a cancelled cluster is defined only when the request succeeded, so the
// question is predicated; as assembly, because LLVM takes it for an expression that may be
// computed at any time.
static clc_answer decode(cg *c, ll_val response) {
    ll *b = c->b;
    ll_asm a = {.text = "mov.b32 $1, 0; "
                        "clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 $0, $2; "
                        "@$0 clusterlaunchcontrol.query_cancel.get_first_ctaid::x.b32.b128 $1, $2;",
                .constraints = "=&b,=&r,q",
                .n_out = 2,
                .out = {LL_I1, LL_I32}};
    ll_val r = LL_ASM(b, &a, response);
    ll_val cta = ll_extract(b, r, 1);
    return (clc_answer){.more = ll_extract(b, r, 0),
                        .tile = ll_bini(b, LL_UDIV, cta, c->k->cluster)};
}

// Waits for the next response and gives the slot back, behind a fence: the next response is written
// by the async proxy.
static clc_answer ring_take(cg *c, const cg_ring *r) {
    ll *b = c->b;
    cg_ring_await(c, r);
    ll_val response = ll_load(b, LL_I128, cg_ring_response(c, r), TIR_CLC_BYTES, true);
    clc_answer answer = decode(c, response);
    LL_INTR0(b, "llvm.nvvm.fence.proxy.async.shared_cta");
    cg_ring_release(c, r);
    return answer;
}

void cg_clc_walk(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    cg_ring ring = cg_ring_begin(c);
    ll_var tile = ll_variable(b, LL_I32, "tile"), more = ll_variable(b, LL_I1, "more");
    ll_set(b, tile, c->cluster_id); // the tile this cluster was launched for
    ll_set(b, more, ll_i1(b, true));
    ll_loop loop = ll_loop_begin(b, "tiles");
    ll_loop_while(b, &loop, ll_get(b, more));
    cg_tile_starts(c, ll_get(b, tile));
    cg_tile_begin(c);
    cg_stmts(c, s->n_body, s->body);
    clc_answer next = ring_take(c, &ring);
    ll_set(b, tile, next.tile);
    ll_set(b, more, next.more);
    ll_loop_end(b, loop);
}

static void request(cg *c, const cg_ring *r) {
    ll *b = c->b;
    LL_INTR(b,
            c->k->cluster > 1 ? "llvm.nvvm.clusterlaunchcontrol.try_cancel.async.multicast.shared"
                              : "llvm.nvvm.clusterlaunchcontrol.try_cancel.async.shared",
            cg_ring_response(c, r), cg_ring_full(c, r));
}

// The scheduler of one CTA. Only the leader asks; with a cluster the response is written to every
// CTA and counted at every CTA's full barrier. No request follows one that failed.
void cg_clc_sched(cg *c) {
    ll *b = c->b;
    cg_ring ring = cg_ring_begin(c);
    ll_val leader = ll_cmpi(b, LL_EQ, c->rank, 0);
    ll_var more = ll_variable(b, LL_I1, "more");
    ll_set(b, more, ll_i1(b, true));
    ll_loop loop = ll_loop_begin(b, "requests");
    ll_loop_while(b, &loop, ll_get(b, more));
    cg_expect(c, cg_ring_full(c, &ring), ll_i32(b, TIR_CLC_BYTES));
    ll_if ask = ll_if_begin(b, leader);
    cg_ring_acquire(c, &ring);
    request(c, &ring);
    ll_if_end(b, ask);
    ll_set(b, more, ring_take(c, &ring).more);
    ll_loop_end(b, loop);
}
