// Tiles that one warp of a cluster hands out (WALK_ONE).
//
// The warp counts through the tiles of the cluster as any role of a static walk would, with the
// bounds that it reads from const tensors, and writes what follows from a tile's number into the
// ring of every CTA: where the tile starts along each loop, and the bounds of loops that have some
// (tir_record_words). Behind the last tile comes a record that says so. Roles read nothing else;
// those that take tiles by turns read every record.
//
// Order, generic proxy alone: st.shared::cluster by the lanes of the warp; bar.warp.sync;
// mbarrier.arrive.release.cluster by a lane a CTA -> mbarrier.try_wait.acquire.cluster; ld.shared
// (PTX ISA "Memory Consistency Model", causality order), and the same way back. Nobody leaves
// early: clusters meet at the kernel's end.
#include "cg_int.h"

enum { WORD_BYTES = 4, VECTOR = 4 };

// --- Records -------------------------------------------------------------------------------------

// Where the words of a record go to or come from, one after another.
typedef struct {
    ll_val words[TIR_RECORD_MOST];
    int n;
} record;

static void put(record *r, ll_val v) {
    r->words[r->n++] = v;
}

static void put_tile(cg *c, record *r) {
    for (int i = 0; i < c->k->n_loops; i++) {
        put(r, c->starts[i]);
        if (c->k->loops[i].hi) {
            put(r, c->parts[i].lo);
            put(r, c->parts[i].hi);
        }
    }
    for (int i = 0; i < c->k->n_fors; i++) {
        if (c->k->fors[i].hi) {
            put(r, c->spans[i].lo);
            put(r, c->spans[i].hi);
        }
    }
}

static void take_tile(cg *c, record *r) {
    for (int i = 0; i < c->k->n_loops; i++) {
        c->starts[i] = r->words[r->n++];
        if (c->k->loops[i].hi) {
            cg_set_part(c, i, r->words[r->n], r->words[r->n + 1]);
            r->n += 2;
        }
    }
    for (int i = 0; i < c->k->n_fors; i++) {
        if (c->k->fors[i].hi) {
            cg_set_span(c, i, r->words[r->n], r->words[r->n + 1]);
            r->n += 2;
        }
    }
}

// --- The warp that hands out ---------------------------------------------------------------------

// Lane i has word i.
static ll_val word_of_lane(cg *c, const record *r) {
    ll_val word = r->words[0];
    for (int i = 1; i < r->n; i++) {
        word = ll_select(c->b, ll_cmpi(c->b, LL_EQ, c->lane, i), r->words[i], word);
    }
    return word;
}

static void write_record(cg *c, const cg_ring *ring, const record *r) {
    ll *b = c->b;
    ll_val word = word_of_lane(c, r);
    ll_val at = ll_add(b, cg_ring_response(c, ring), ll_muli(b, c->lane, WORD_BYTES));
    ll_if has_word = ll_if_begin(b, ll_cmpi(b, LL_ULT, c->lane, r->n));
    if (c->k->cluster == 1) {
        ll_store(b, word, at, WORD_BYTES);
    }
    for (int rank = 0; rank < c->k->cluster && c->k->cluster > 1; rank++) {
        ll_asm store = {.text = "st.shared::cluster.b32 [$0], $1;",
                        .constraints = "r,r,~{memory}",
                        .effect = true};
        ll_val there = LL_INTR(b, "llvm.nvvm.mapa.shared.cluster", at, ll_i32(b, rank));
        LL_ASM(b, &store, ll_to(b, there, LL_I32), word);
    }
    ll_if_end(b, has_word);
    cg_warp_sync(c);
    ll_if tells = ll_if_begin(b, ll_cmpi(b, LL_ULT, c->lane, c->k->cluster));
    if (c->k->cluster == 1) {
        cg_arrive(c, cg_ring_full(c, ring));
    } else {
        cg_arrive_remote(c, cg_ring_full(c, ring), c->lane);
    }
    ll_if_end(b, tells);
    cg_warp_sync(c);
    cg_ring_advance(c, ring);
}

// What a role needs to know of the tile of this number, or zeros where there is none; no flags yet.
static record describe(cg *c, ll_val some, ll_val tile) {
    ll *b = c->b;
    int words = tir_record_words(c->k);
    ll_var vars[TIR_RECORD_MOST];
    record r = {.n = 0};
    for (int i = 0; i < words; i++) {
        vars[i] = ll_variable(b, LL_I32, "word");
        ll_set(b, vars[i], ll_i32(b, 0));
    }
    ll_if f = ll_if_begin(b, some);
    cg_tile_starts(c, c->groups ? cg_groups_enter(c, tile) : tile);
    put(&r, ll_i32(b, 0)); // flags
    put_tile(c, &r);
    for (int i = 1; i < r.n; i++) {
        ll_set(b, vars[i], r.words[i]);
    }
    ll_if_end(b, f);
    for (int i = 0; i < words; i++) {
        r.words[i] = ll_get(b, vars[i]);
    }
    r.n = words;
    return r;
}

static ll_val have_tile(cg *c, ll_val n, ll_val tile) {
    return ll_to(c->b, cg_has_tile(c, n, tile), LL_I32);
}

void cg_hand_out(cg *c) {
    ll *b = c->b;
    if (cg_has_groups(c)) {
        cg_groups_begin(c);
    }
    ll_val n = c->groups ? NULL : cg_n_tiles(c);
    cg_ring ring = cg_ring_begin(c);
    ll_var tile = ll_variable(b, LL_I32, "tile"), some = ll_variable(b, LL_I32, "some"),
           on = ll_variable(b, LL_I32, "on");
    ll_set(b, tile, c->cluster_id);
    ll_set(b, some, have_tile(c, n, c->cluster_id));
    ll_set(b, on, ll_i32(b, 1));
    ll_loop loop = ll_loop_begin(b, "tiles");
    ll_loop_while(b, &loop, ll_cmpi(b, LL_NE, ll_get(b, on), 0));
    ll_val t = ll_get(b, tile), is_tile = ll_get(b, some), next = ll_add(b, t, c->n_clusters);
    record r = describe(c, ll_cmpi(b, LL_NE, is_tile, 0), t);
    ll_val more = have_tile(c, n, next); // none behind none
    r.words[0] = ll_add(b, ll_muli(b, is_tile, TIR_RECORD_SOME), ll_muli(b, more, TIR_RECORD_MORE));
    cg_ring_acquire(c, &ring);
    write_record(c, &ring, &r);
    ll_set(b, tile, next);
    ll_set(b, on, is_tile);
    ll_set(b, some, more);
    ll_loop_end(b, loop);
}

// --- The roles -----------------------------------------------------------------------------------

cg_handed cg_take_tile(cg *c, const cg_ring *ring) {
    ll *b = c->b;
    int words = tir_record_words(c->k);
    record r = {.n = 1};
    cg_ring_await(c, ring);
    ll_val at = cg_ring_response(c, ring);
    for (int i = 0; i < words; i += VECTOR) {
        ll_asm load = {.text = arena_printf(c->mem, "ld.shared.v4.b32 {$0, $1, $2, $3}, [$4+%d];",
                                            i * WORD_BYTES),
                       .constraints = "=r,=r,=r,=r,r,~{memory}",
                       .effect = true,
                       .n_out = VECTOR,
                       .out = {LL_I32, LL_I32, LL_I32, LL_I32}};
        ll_val v = LL_ASM(b, &load, at);
        for (int j = 0; j < VECTOR; j++) {
            ll_val word = ll_extract(b, v, j);
            // Whole warps: that all lanes have the same is seen to be so.
            bool alone = c->role->one_thread && !c->lanes;
            r.words[i + j] = alone ? word : cg_shuffle(c, word, ll_i32(b, 0));
        }
    }
    cg_ring_release(c, ring);
    take_tile(c, &r);
    ll_val flags = r.words[0];
    return (cg_handed){.some = ll_cmpi(b, LL_NE, flags, 0),
                       .more = ll_cmpi(b, LL_NE, ll_bini(b, LL_AND, flags, TIR_RECORD_MORE), 0)};
}
