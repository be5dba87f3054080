// Partial sums of a split loop (TS_COMBINE): the CTAs of a cluster summed ranges of K of the same
// tile.
//
// Each CTA but the first leaves its sums in its own shared memory and tells CTA 0, which reads them
// over the cluster in the order of the ranks, adds in f32, tells them that their memory is free,
// and stores. Lane and register of an element are the same in all CTAs, so that a thread reads what
// its like wrote.
//
// Order: st.shared; bar.warp.sync; mbarrier.arrive.release.cluster by one lane -> mbarrier.try_wait
// .acquire.cluster; ld.shared::cluster (PTX ISA "Memory Consistency Model", causality order), and
// the same way back. Nobody leaves early: clusters meet at the kernel's end.
#include "cg_int.h"

enum { WORDS = 4, WORD_BYTES = 4, CHUNK_BYTES = WORDS * WORD_BYTES, BARRIER_BYTES = 8 };

static int sums_offset(const cg *c, int acc) {
    int at = c->role->sum_offset;
    for (int i = 0; i < acc; i++) {
        const tir_acc *a = &c->k->accs[i];
        at += tir_combines(c->k, cg_role_number(c), i) ? a->rows * a->cols * WORD_BYTES : 0;
    }
    return at;
}

static int chunk_pitch(const cg *c) {
    return c->role->n_warps * ARCH_LANES * CHUNK_BYTES;
}

static ll_val own_sums(cg *c, int acc, ll_val chunk) {
    ll *b = c->b;
    ll_val thread = ll_add(b, ll_muli(b, c->role_warp, ARCH_LANES), c->lane);
    ll_val at = ll_add(b, cg_smem_at(c, sums_offset(c, acc)), ll_muli(b, thread, CHUNK_BYTES));
    return ll_add(b, at, ll_muli(b, chunk, chunk_pitch(c)));
}

// Offsets stand in the instruction: LLVM would compute an address for each outside of the loop of
// tiles.
static void put_chunk(cg *c, ll_val at, int offset, const ll_val *values) {
    ll_asm store = {.text =
                        arena_printf(c->mem, "st.shared.v4.f32 [$0+%d], {$1, $2, $3, $4};", offset),
                    .constraints = "r,f,f,f,f,~{memory}",
                    .effect = true};
    LL_ASM(c->b, &store, at, values[0], values[1], values[2], values[3]);
}

void cg_sums_put(cg *c, int acc, ll_val chunk, int n, const ll_val *values) {
    ll_val at = own_sums(c, acc, chunk);
    for (int i = 0; i < n; i += WORDS) {
        put_chunk(c, at, i / WORDS * chunk_pitch(c), values + i);
    }
}

static void add_chunk(cg *c, ll_val at, int offset, ll_val *values) {
    ll *b = c->b;
    ll_asm load = {.text = arena_printf(
                       c->mem, "ld.shared::cluster.v4.f32 {$0, $1, $2, $3}, [$4+%d];", offset),
                   .constraints = "=f,=f,=f,=f,r,~{memory}",
                   .effect = true,
                   .n_out = WORDS,
                   .out = {LL_F32, LL_F32, LL_F32, LL_F32}};
    ll_val r = LL_ASM(b, &load, at);
    for (int i = 0; i < WORDS; i++) {
        values[i] = cg_math2(c, "add.rn.f32", values[i], ll_extract(b, r, i));
    }
}

static ll_val sums_of(cg *c, ll_val own, int rank) {
    ll_val there = LL_INTR(c->b, "llvm.nvvm.mapa.shared.cluster", own, ll_i32(c->b, rank));
    return ll_to(c->b, there, LL_I32);
}

void cg_sums_add(cg *c, int acc, ll_val chunk, int n, ll_val *values) {
    ll_val own = own_sums(c, acc, chunk);
    for (int rank = 1; rank < tir_split(c->k); rank++) {
        ll_val there = sums_of(c, own, rank);
        for (int i = 0; i < n; i += WORDS) {
            add_chunk(c, there, i / WORDS * chunk_pitch(c), values + i);
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

static void each_held(cg *c, void (*act)(cg *c, int acc, const cg_acc *a)) {
    for (int i = 0; i < c->k->n_accs && CG_OK(c); i++) {
        const cg_acc *a = is_held(c, i) ? cg_accumulator(c, i) : NULL;
        if (a) {
            act(c, i, a);
        }
    }
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

static void take(cg *c, const tir_stmt *s, ll_val parity) {
    cg_wait(c, full_bar(c), parity, true);
    if (c->role->frag == FRAG_MMA) {
        each_held(c, add_registers);
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
    if (c->role->frag == FRAG_MMA) {
        each_held(c, put_registers);
    } else {
        cg_lane_give(c);
    }
    cg_warp_sync(c);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    cg_arrive_remote(c, full_bar(c), ll_i32(b, 0));
    ll_if_end(b, one);
    cg_warp_sync(c);
}

void cg_combine(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    cg_wgmma_results(c);
    ll_val parity = ll_get(b, c->sums);
    ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->rank, 0));
    take(c, s, parity);
    ll_if_else(b, &f);
    give(c, parity);
    ll_if_end(b, f);
    ll_set(b, c->sums, ll_bini(b, LL_XOR, parity, 1));
}

void cg_combine_barriers(cg *c, const tir_role *r) {
    int warps = r->n_warps;
    LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, r->sum_bar),
            ll_i32(c->b, (int64_t)warps * (tir_split(c->k) - 1)));
    LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, r->sum_bar + BARRIER_BYTES),
            ll_i32(c->b, warps));
}
