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

enum { RESPONSE_BYTES = 16, BARRIER_BYTES = 8 };

// A reader's place in the ring.
typedef struct {
    ll_var slot, phase;
} clc_ring;

static clc_ring ring_begin(cg *c) {
    clc_ring r = {.slot = ll_variable(c->b, LL_I32, "clc_slot"),
                  .phase = ll_variable(c->b, LL_I32, "clc_phase")};
    ll_set(c->b, r.slot, ll_i32(c->b, 0));
    ll_set(c->b, r.phase, ll_i32(c->b, 0));
    return r;
}

static void ring_advance(cg *c, const clc_ring *r) {
    ll *b = c->b;
    ll_val next = ll_addi(b, ll_get(b, r->slot), 1);
    ll_val wrap = ll_cmpi(b, LL_EQ, next, c->k->walk.depth);
    ll_set(b, r->slot, ll_select(b, wrap, ll_i32(b, 0), next));
    ll_set(b, r->phase, ll_bin(b, LL_XOR, ll_get(b, r->phase), ll_to(b, wrap, LL_I32)));
}

static ll_val ring_at(cg *c, const clc_ring *r, int offset, int bytes) {
    return ll_add(c->b, cg_smem_at(c, offset), ll_muli(c->b, ll_get(c->b, r->slot), bytes));
}

static void init_ring(cg *c, int offset, int count) {
    for (int i = 0; i < c->k->walk.depth; i++) {
        LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, offset + BARRIER_BYTES * i),
                ll_i32(c->b, count));
    }
}

void cg_clc_barriers(cg *c) {
    init_ring(c, c->k->walk.full_bar, 1);
    init_ring(c, c->k->walk.empty_bar, c->k->walk.empty_count);
}

// One arrival of this warp (or elected thread) at the leader's empty barrier.
static void hand_back(cg *c, const clc_ring *r) {
    ll *b = c->b;
    ll_val empty = ring_at(c, r, c->k->walk.empty_bar, BARRIER_BYTES);
    LL_INTR0(b, "llvm.nvvm.fence.proxy.async.shared_cta");
    ll_if one = {0};
    if (!c->role->one_thread) {
        cg_warp_sync(c);
        one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    }
    if (c->k->cluster > 1) {
        cg_arrive_remote(c, empty, ll_i32(b, 0));
    } else {
        cg_arrive(c, empty);
    }
    if (!c->role->one_thread) {
        ll_if_end(b, one);
    }
}

typedef struct {
    ll_val more; // i1: there is another tile ...
    ll_val tile; // ... this one (i32)
} clc_answer;

// The first CTA of a cancelled cluster is defined only when the request succeeded, so the question
// is predicated; as assembly, because LLVM takes it for an expression that may be computed at any
// time.
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

// Waits for the next response and gives the slot back.
static clc_answer ring_take(cg *c, const clc_ring *r) {
    ll *b = c->b;
    cg_wait(c, ring_at(c, r, c->k->walk.full_bar, BARRIER_BYTES), ll_get(b, r->phase),
            c->k->cluster > 1);
    ll_val response = ll_load(b, LL_I128, ring_at(c, r, c->k->walk.resp_offset, RESPONSE_BYTES),
                              RESPONSE_BYTES, true);
    clc_answer answer = decode(c, response);
    hand_back(c, r);
    ring_advance(c, r);
    return answer;
}

void cg_clc_walk(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    clc_ring ring = ring_begin(c);
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

static void request(cg *c, const clc_ring *r) {
    ll *b = c->b;
    LL_INTR(b,
            c->k->cluster > 1 ? "llvm.nvvm.clusterlaunchcontrol.try_cancel.async.multicast.shared"
                              : "llvm.nvvm.clusterlaunchcontrol.try_cancel.async.shared",
            ring_at(c, r, c->k->walk.resp_offset, RESPONSE_BYTES),
            ring_at(c, r, c->k->walk.full_bar, BARRIER_BYTES));
}

// The scheduler of one CTA. Only the leader asks; with a cluster the response is written to every
// CTA and counted at every CTA's full barrier. No request follows one that failed.
void cg_clc_sched(cg *c, const tir_stmt *s) {
    (void)s;
    ll *b = c->b;
    clc_ring ring = ring_begin(c);
    ll_val leader = ll_cmpi(b, LL_EQ, c->rank, 0);
    ll_var more = ll_variable(b, LL_I1, "more");
    ll_set(b, more, ll_i1(b, true));
    ll_loop loop = ll_loop_begin(b, "requests");
    ll_loop_while(b, &loop, ll_get(b, more));
    cg_expect(c, ring_at(c, &ring, c->k->walk.full_bar, BARRIER_BYTES), ll_i32(b, RESPONSE_BYTES));
    ll_if ask = ll_if_begin(b, leader);
    ll_val parity = ll_bini(b, LL_XOR, ll_get(b, ring.phase), 1);
    cg_wait(c, ring_at(c, &ring, c->k->walk.empty_bar, BARRIER_BYTES), parity, c->k->cluster > 1);
    request(c, &ring);
    ll_if_end(b, ask);
    ll_set(b, more, ring_take(c, &ring).more);
    ll_loop_end(b, loop);
}
