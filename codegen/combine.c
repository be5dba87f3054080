// Partial sums of a split loop (TS_COMBINE): groups of a role's warps summed steps of the same tile
// by turns, the CTAs of a cluster ranges of K. Lane and register of an element are the same in all
// groups and CTAs, so that a thread reads what its like wrote.
//
// Groups: each but the first leaves its sums in shared memory; all meet; the first adds in f32 in
// the order of the groups; all meet again, so that nobody overwrites what is still read, and nobody
// waits for a slot of the next tile while another group is still in this one (tir_role.shares).
// What follows is the first group's.
//
// CTAs that hold their sums in registers send them to CTA 0, which adds in f32 in the order of the
// ranks and stores: st.async, whose bytes complete a transaction on CTA 0's barrier (PTX ISA
// "st.async"), so that nobody waits for an acknowledgement. CTA 0 tells that it has read them,
// which the others wait for before they send the next ones, or leave. Nobody sends before CTA 0
// runs: the cluster barrier that all arrive at in the prologue.
//
// Sums in TMEM, or too large for CTA 0 to have all of them: each CTA but the first leaves them in
// its own shared memory and tells CTA 0, which reads them over the cluster and tells when their
// memory is free. Order: st.shared; bar.warp.sync; mbarrier.arrive.release.cluster by one lane ->
// mbarrier.try_wait.acquire.cluster; ld.shared::cluster (PTX ISA "Memory Consistency Model",
// causality order), and the same way back. Nobody leaves early: clusters meet at the kernel's end.
//
// Ranges of a streamed loop: stream.c.
#include "cg_int.h"

enum { WORDS = 4, WORD_BYTES = 4, CHUNK_BYTES = WORDS * WORD_BYTES, BARRIER_BYTES = 8 };

// The n-th tile of sums that the role leaves.
static int sums_offset(const cg *c, int acc, int n) {
    int role = cg_role_number(c);
    return c->role->sum_offset + n * tir_sum_bytes(c->k, role) + tir_sum_offset(c->k, role, acc);
}

static int chunk_pitch(const cg *c) {
    return tir_group_warps(c->role) * ARCH_LANES * CHUNK_BYTES;
}

static ll_val own_sums(cg *c, int acc, int n, ll_val chunk) {
    ll *b = c->b;
    ll_val thread = ll_add(b, ll_muli(b, c->role_warp, ARCH_LANES), c->lane);
    ll_val at = ll_add(b, cg_smem_at(c, sums_offset(c, acc, n)), ll_muli(b, thread, CHUNK_BYTES));
    return ll_add(b, at, ll_muli(b, chunk, chunk_pitch(c)));
}

// Offsets stand in the instruction: LLVM would compute an address for each outside
// of the loop of tiles.
static void put_chunk(cg *c, ll_val at, int offset, const ll_val *values) {
    ll_asm store = {.text =
                        arena_printf(c->mem, "st.shared.v4.f32 [$0+%d], {$1, $2, $3, $4};", offset),
                    .constraints = "r,f,f,f,f,~{memory}",
                    .effect = true};
    LL_ASM(c->b, &store, at, values[0], values[1], values[2], values[3]);
}

void cg_sums_put(cg *c, int acc, ll_val chunk, int n, const ll_val *values) {
    if (c->k->walk.stream >= 0) {
        cg_left_put(c, acc, chunk, n, values);
        return;
    }
    ll_val at = own_sums(c, acc, 0, chunk);
    for (int i = 0; i < n; i += WORDS) {
        put_chunk(c, at, i / WORDS * chunk_pitch(c), values + i);
    }
}

// 'space' is "::cluster" or "".
static void add_chunk(cg *c, ll_val at, int offset, const char *space, ll_val *values) {
    ll *b = c->b;
    ll_asm load = {.text = arena_printf(c->mem, "ld.shared%s.v4.f32 {$0, $1, $2, $3}, [$4+%d];",
                                        space, offset),
                   .constraints = "=f,=f,=f,=f,r,~{memory}",
                   .effect = true,
                   .n_out = WORDS,
                   .out = {LL_F32, LL_F32, LL_F32, LL_F32}};
    ll_val r = LL_ASM(b, &load, at);
    for (int i = 0; i < WORDS; i++) {
        values[i] = cg_math2(c, "add.rn.f32", values[i], ll_extract(b, r, i));
    }
}

// The place in another CTA of the cluster that has this address here.
static ll_val in_cta(cg *c, ll_val own, int rank) {
    ll_val there = LL_INTR(c->b, "llvm.nvvm.mapa.shared.cluster", own, ll_i32(c->b, rank));
    return ll_to(c->b, there, LL_I32);
}

void cg_sums_add(cg *c, int acc, ll_val chunk, int n, ll_val *values) {
    if (c->k->walk.stream >= 0) {
        cg_left_add(c, acc, chunk, n, values);
        return;
    }
    ll_val own = own_sums(c, acc, 0, chunk);
    for (int rank = 1; rank < tir_split(c->k); rank++) {
        ll_val there = in_cta(c, own, rank);
        for (int i = 0; i < n; i += WORDS) {
            add_chunk(c, there, i / WORDS * chunk_pitch(c), "::cluster", values + i);
        }
    }
}

// --- Accumulators in registers -------------------------------------------------------------------

static bool is_held(const cg *c, int acc) {
    return c->role->frag == FRAG_MMA && tir_combines(c->k, cg_role_number(c), acc);
}

static ll_val *values_of(cg *c, const cg_acc *a) {
    ll_val *values = ARENA_ARRAY(c->mem, ll_val, cg_registers(a));
    for (int i = 0; i < cg_registers(a); i++) {
        values[i] = ll_get(c->b, a->regs[i]);
    }
    return values;
}

static void put_registers(cg *c, int acc, const cg_acc *a) {
    cg_sums_put(c, acc, ll_i32(c->b, 0), cg_registers(a), values_of(c, a));
}

static void add_registers(cg *c, int acc, const cg_acc *a) {
    ll_val *values = values_of(c, a);
    cg_sums_add(c, acc, ll_i32(c->b, 0), cg_registers(a), values);
    for (int i = 0; i < cg_registers(a); i++) {
        ll_set(c->b, a->regs[i], values[i]);
    }
}

// Adds tiles 'first' .. 'last' - 1 of sums that lie in this CTA's memory.
static void add_tiles(cg *c, int acc, const cg_acc *a, int first, int last) {
    ll_val *values = values_of(c, a);
    for (int n = first; n < last; n++) {
        ll_val at = own_sums(c, acc, n, ll_i32(c->b, 0));
        for (int i = 0; i < cg_registers(a); i += WORDS) {
            add_chunk(c, at, i / WORDS * chunk_pitch(c), "", values + i);
        }
    }
    for (int i = 0; i < cg_registers(a); i++) {
        ll_set(c->b, a->regs[i], values[i]);
    }
}

// Tile n, counted at run time from the first tile in units of tiles.
static ll_val nth_sums(cg *c, int acc, int first, ll_val n) {
    ll *b = c->b;
    ll_val pitch = ll_i32(b, tir_sum_bytes(c->k, cg_role_number(c)));
    return ll_add(b, own_sums(c, acc, first, ll_i32(b, 0)), ll_mul(b, n, pitch));
}

static void each_held(cg *c, void (*act)(cg *c, int acc, const cg_acc *a)) {
    for (int i = 0; i < c->k->n_accs && CG_OK(c); i++) {
        const cg_acc *a = is_held(c, i) ? cg_accumulator(c, i) : NULL;
        if (a) {
            act(c, i, a);
        }
    }
}

// --- Groups --------------------------------------------------------------------------------------

// The tile of group 1: groups' sums stand behind those of the CTAs.
static int first_share(const cg *c) {
    return tir_sums(c->k, c->role) - (c->role->shares - 1);
}

static void leave_share(cg *c, int acc, const cg_acc *a) {
    ll_val at = nth_sums(c, acc, first_share(c), ll_addi(c->b, c->group, -1));
    ll_val *values = values_of(c, a);
    for (int i = 0; i < cg_registers(a); i += WORDS) {
        put_chunk(c, at, i / WORDS * chunk_pitch(c), values + i);
    }
}

static void add_shares(cg *c, int acc, const cg_acc *a) {
    add_tiles(c, acc, a, first_share(c), tir_sums(c->k, c->role));
}

// Whether this warp is of the group that has all sums of the CTA afterwards.
static ll_val gather_shares(cg *c) {
    ll *b = c->b;
    ll_val first = ll_cmpi(b, LL_EQ, c->group, 0);
    ll_if f = ll_if_begin(b, ll_not(b, first));
    each_held(c, leave_share);
    ll_if_end(b, f);
    cg_role_meet(c, false);
    f = ll_if_begin(b, first);
    each_held(c, add_shares);
    ll_if_end(b, f);
    cg_role_meet(c, false);
    return first;
}

// --- The meeting ---------------------------------------------------------------------------------

static ll_val full_bar(cg *c) {
    return cg_smem_at(c, c->role->sum_bar);
}

static ll_val empty_bar(cg *c) {
    return cg_smem_at(c, c->role->sum_bar + BARRIER_BYTES);
}

// All lanes have read: lane r tells CTA r.
static void hand_back(cg *c) {
    ll *b = c->b;
    cg_warp_sync(c);
    ll_val other = ll_cmp(b, LL_ULT, ll_addi(b, c->lane, -1), ll_i32(b, tir_split(c->k) - 1));
    ll_if f = ll_if_begin(b, other);
    cg_arrive_remote(c, empty_bar(c), c->lane);
    ll_if_end(b, f);
    cg_warp_sync(c);
}

static void send_registers(cg *c, int acc, const cg_acc *a) {
    ll *b = c->b;
    ll_val at = in_cta(c, nth_sums(c, acc, 0, ll_addi(b, c->rank, -1)), 0);
    ll_val bar = in_cta(c, full_bar(c), 0), *values = values_of(c, a);
    for (int i = 0; i < cg_registers(a); i += WORDS) {
        ll_asm send = {.text = arena_printf(c->mem,
                                            "st.async.shared::cluster.mbarrier::complete_tx::bytes"
                                            ".v4.f32 [$0+%d], {$1, $2, $3, $4}, [$5];",
                                            i / WORDS * chunk_pitch(c)),
                       .constraints = "r,f,f,f,f,r,~{memory}",
                       .effect = true};
        LL_ASM(b, &send, at, values[i], values[i + 1], values[i + 2], values[i + 3], bar);
    }
}

static void add_sent(cg *c, int acc, const cg_acc *a) {
    add_tiles(c, acc, a, 0, tir_split(c->k) - 1);
}

// All lanes have read what they add: lane r tells CTA r. No access but these reads is ordered by
// it.
static void tell_read(cg *c) {
    ll *b = c->b;
    cg_warp_sync(c);
    ll_val other = ll_cmp(b, LL_ULT, ll_addi(b, c->lane, -1), ll_i32(b, tir_split(c->k) - 1));
    ll_val rank = ll_select(b, other, c->lane, ll_i32(b, 0));
    cg_arrive_cluster_if(c, empty_bar(c), rank, other);
}

static void take_sent(cg *c, const tir_stmt *s, ll_val parity) {
    ll *b = c->b;
    ll_val first = ll_bin(b, LL_OR, c->role_warp, c->lane);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, first, 0));
    cg_expect(c, full_bar(c),
              ll_i32(b, tir_sum_bytes(c->k, cg_role_number(c)) * (tir_split(c->k) - 1)));
    ll_if_end(b, one);
    cg_wait(c, full_bar(c), parity, true);
    each_held(c, add_sent);
    tell_read(c);
    cg_stmts(c, s->n_body, s->body);
}

static void send(cg *c, ll_val parity) {
    cg_wait(c, empty_bar(c), ll_bini(c->b, LL_XOR, parity, 1), true);
    each_held(c, send_registers);
}

void cg_combine_end(cg *c) {
    if (!tir_sends(c->k)) {
        return;
    }
    ll *b = c->b;
    ll_val sent = ll_bin(b, LL_AND, ll_cmpi(b, LL_NE, c->rank, 0), ll_cmpi(b, LL_EQ, c->group, 0));
    ll_if f = ll_if_begin(b, sent);
    cg_wait(c, empty_bar(c), ll_bini(b, LL_XOR, ll_get(b, c->sums), 1), true);
    ll_if_end(b, f);
}

void cg_sums_leave(cg *c) {
    if (c->role->frag == FRAG_MMA) {
        each_held(c, put_registers);
    } else {
        cg_lane_give(c);
    }
}

void cg_sums_gather(cg *c) {
    if (c->role->frag == FRAG_MMA) {
        each_held(c, add_registers);
    }
}

static void take(cg *c, const tir_stmt *s, ll_val parity) {
    cg_wait(c, full_bar(c), parity, true);
    cg_sums_gather(c);
    if (c->role->frag == FRAG_MMA) {
        hand_back(c);
        cg_stmts(c, s->n_body, s->body);
    } else { // added where the stores read TMEM
        cg_stmts(c, s->n_body, s->body);
        hand_back(c);
    }
}

static void give(cg *c, ll_val parity) {
    ll *b = c->b;
    cg_wait(c, empty_bar(c), ll_bini(b, LL_XOR, parity, 1), true);
    cg_sums_leave(c);
    cg_warp_sync(c);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    cg_arrive_remote(c, full_bar(c), ll_i32(b, 0));
    ll_if_end(b, one);
    cg_warp_sync(c);
}

static void combine_ctas(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    ll_val parity = ll_get(b, c->sums);
    bool sends = tir_sends(c->k);
    ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->rank, 0));
    (sends ? take_sent : take)(c, s, parity);
    ll_if_else(b, &f);
    (sends ? send : give)(c, parity);
    ll_if_end(b, f);
    ll_set(b, c->sums, ll_bini(b, LL_XOR, parity, 1));
}

void cg_combine(cg *c, const tir_stmt *s) {
    cg_wgmma_results(c);
    ll_if f = {0};
    if (c->role->shares > 1) {
        f = ll_if_begin(c->b, gather_shares(c));
    }
    if (c->k->walk.stream >= 0) {
        cg_stream_combine(c, s);
    } else if (tir_split(c->k) > 1) {
        combine_ctas(c, s);
    } else {
        cg_stmts(c, s->n_body, s->body);
    }
    if (c->role->shares > 1) {
        ll_if_end(c->b, f);
    }
}

void cg_combine_barriers(cg *c, const tir_role *r) {
    int warps = tir_group_warps(r);
    int tellers = tir_sends(c->k) ? 1 : warps * (tir_split(c->k) - 1);
    LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, r->sum_bar), ll_i32(c->b, tellers));
    LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, r->sum_bar + BARRIER_BYTES),
            ll_i32(c->b, warps));
}
