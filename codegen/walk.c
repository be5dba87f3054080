// Loops: the tiles of a CTA, the steps of a tile, and taking tiles by turns.
//
// Static walk: cluster i of n takes tiles i, i + n, i + 2n, ... Tile numbers count with the last
// loop fastest. 'raster i by g' changes the order of loop i and the innermost other loop j: the
// tiles of i are cut in groups of g (the last one may be smaller); inside a group i runs fastest,
// then j; then comes the next group. Every number still names one tile. With bounds, j is the number of
// the group itself where a group has but one tile along it: stripes cross 32 groups (groups.c).
//
// Streamed loops: stream.c.
//
// Loops with bounds: how many tiles there are follows from const tensors; groups.c finds the tile
// of a number. Lanes work together there, so the whole warp of a role of one thread walks, and one
// lane does what stands inside.
//
// Turns (pingpong): group g of a role takes the local tiles g, g + T, ... Two orders hold between
// the groups. Main loops: group g starts after group g - 1 has seen its last operand; without that,
// group g could wait for a pass of a full barrier that lies two phases ahead, which a parity cannot
// name (PTX ISA "mbarrier.test_wait": only the current and the preceding phase). Named barriers 1
// .. T. Epilogues: staging is shared, the turn barriers of the role pass it on.
#include "cg_int.h"

void cg_set_span(cg *c, int f, ll_val lo, ll_val hi) {
    ll *b = c->b;
    int step = c->k->fors[f].step;
    ll_val length = ll_sub(b, hi, lo);
    length = ll_select(b, ll_cmpi(b, LL_SGT, length, 0), length, ll_i32(b, 0));
    ll_val steps = ll_bini(b, LL_UDIV, ll_addi(b, length, step - 1), step);
    c->spans[f] = (cg_part){lo, hi, steps};
}

// What loops with bounds walk in this tile.
static void set_spans(cg *c) {
    ll *b = c->b;
    for (int i = 0; i < c->k->n_fors; i++) {
        const tir_for *t = &c->k->fors[i];
        if (!t->hi) {
            continue;
        }
        ll_val lo = cg_bound(c, t->extent, t->lo), hi = cg_bound(c, t->extent, t->hi);
        if (c->role->frag != FRAG_NONE) { // whole warps: that all lanes have the same is seen to be so
            lo = cg_shuffle(c, lo, ll_i32(b, 0));
            hi = cg_shuffle(c, hi, ll_i32(b, 0));
        }
        cg_set_span(c, i, lo, hi);
    }
}

ll_val cg_for_trips(cg *c, int f) {
    const tir_for *t = &c->k->fors[f];
    if (t->hi) {
        return c->spans[f].tiles;
    }
    ll_val up = ll_addi(c->b, cg_size(c, t->extent), t->step - 1);
    return ll_bini(c->b, LL_UDIV, up, t->step);
}

int cg_shares_of(const cg *c, int f) {
    const tir_stmt *walk = c->role->body[0];
    for (int i = 0; i < walk->n_body; i++) {
        if (walk->body[i]->kind == TS_FOR && walk->body[i]->ref == f) {
            return c->role->shares;
        }
    }
    return 1;
}

// Numbers of the steps of this CTA: CTA r of s takes steps r * n / s up to (r + 1) * n / s.
// Clusters have 16 CTAs at the most: r * n stays below 2^32 up to 2^28 steps, and steps of less
// than 8 can be more.
static void steps_of_cta(cg *c, int f, ll_val *first, ll_val *last) {
    ll *b = c->b;
    if (f == c->k->walk.stream) {
        *first = c->stream.first;
        *last = c->stream.last;
        return;
    }
    int split = c->k->fors[f].split;
    ll_val n = cg_for_trips(c, f), from = ll_mul(b, n, c->rank);
    *first = ll_bini(b, LL_UDIV, from, split);
    *last = ll_bini(b, LL_UDIV, ll_add(b, from, n), split);
}

// Whether the CTA does only some of the steps.
static bool is_divided(const cg *c, int f) {
    return c->k->fors[f].split > 1 || f == c->k->walk.stream;
}

ll_val cg_for_steps(cg *c, int f) {
    if (!is_divided(c, f)) {
        return cg_for_trips(c, f);
    }
    ll_val first, last;
    steps_of_cta(c, f, &first, &last);
    return ll_sub(c->b, last, first);
}

cg_range cg_for_range(cg *c, int f) {
    ll *b = c->b;
    const tir_for *t = &c->k->fors[f];
    int by = cg_shares_of(c, f);
    ll_val lo = t->hi ? c->spans[f].lo : ll_i32(b, 0);
    cg_range r = {lo, NULL, by * t->step};
    if (!is_divided(c, f)) {
        r.to = t->hi ? c->spans[f].hi : cg_size(c, t->extent);
    } else {
        ll_val first, last;
        steps_of_cta(c, f, &first, &last);
        r.from = ll_add(b, lo, ll_muli(b, first, t->step));
        r.to = ll_add(b, lo, ll_muli(b, last, t->step));
    }
    if (by > 1) {
        r.from = ll_add(b, r.from, ll_muli(b, c->group, t->step));
    }
    return r;
}

static ll_val runs(cg *c, int n, tir_stmt *const *body, int acc) {
    ll *b = c->b;
    ll_val any = ll_i1(b, false);
    for (int i = 0; i < n; i++) {
        const tir_stmt *s = body[i];
        ll_val now = ll_i1(b, s->kind == TS_MMA && c->k->mmas[s->ref].acc == acc);
        if (s->n_body > 0) {
            now = runs(c, s->n_body, s->body, acc);
        }
        if (s->kind == TS_FOR) {
            cg_range r = cg_for_range(c, s->ref);
            now = ll_bin(b, LL_AND, now, ll_cmp(b, LL_SLT, r.from, r.to));
        }
        any = ll_bin(b, LL_OR, any, now);
    }
    return any;
}

ll_val cg_has_products(cg *c, int acc) {
    const tir_role *r = &c->k->roles[c->k->accs[acc].role];
    return runs(c, r->n_body, r->body, acc);
}

ll_val cg_loop_tiles(cg *c, int l) {
    const tir_loop *t = &c->k->loops[l];
    if (t->hi) {
        return c->parts[l].tiles;
    }
    ll_val up = ll_addi(c->b, cg_size(c, t->dim), t->tile - 1);
    return ll_bini(c->b, LL_UDIV, up, t->tile);
}

ll_val cg_tiles_of_group(cg *c) {
    ll_val n = ll_i32(c->b, 1);
    for (int i = c->k->walk.groups; i < c->k->n_loops; i++) {
        n = ll_mul(c->b, n, cg_loop_tiles(c, i));
    }
    return n;
}

ll_val cg_n_tiles(cg *c) {
    ll_val n = ll_i32(c->b, 1);
    for (int i = 0; i < c->k->n_loops; i++) {
        n = ll_mul(c->b, n, cg_loop_tiles(c, i));
    }
    return n;
}

void cg_raster(cg *c, ll_val number, ll_val rows, ll_val *tile, ll_val *row) {
    ll *b = c->b;
    ll_val n = cg_loop_tiles(c, c->k->walk.raster);
    ll_val span = ll_muli(b, rows, c->k->walk.group);
    ll_val first = ll_muli(b, ll_bin(b, LL_UDIV, number, span), c->k->walk.group);
    ll_val left = ll_sub(b, n, first);
    ll_val group = ll_i32(b, c->k->walk.group);
    ll_val size = ll_select(b, ll_cmp(b, LL_ULT, left, group), left, group);
    ll_val in = ll_bin(b, LL_UREM, number, span);
    *tile = ll_add(b, first, ll_bin(b, LL_UREM, in, size));
    *row = ll_bin(b, LL_UDIV, in, size);
}

void cg_tile_starts(cg *c, ll_val number) {
    const tir_kernel *k = c->k;
    ll *b = c->b;
    ll_val *tile = ARENA_ARRAY(c->mem, ll_val, k->n_loops + 1);
    int first = c->groups ? k->walk.groups : 0;
    bool rows = c->groups && cg_groups_are_rows(c); // groups.c has followed the stripes
    int i = k->n_loops - first > 1 && !rows ? k->walk.raster : -1;
    int j = i == k->n_loops - 1 ? i - 1 : k->n_loops - 1;
    ll_val rem = number;
    if (i >= 0) {
        ll_val n_j = cg_loop_tiles(c, j), plane = ll_mul(b, cg_loop_tiles(c, i), n_j);
        cg_raster(c, ll_bin(b, LL_UREM, rem, plane), n_j, &tile[i], &tile[j]);
        rem = ll_bin(b, LL_UDIV, rem, plane);
    }
    int outer = i == first || j == first ? -1 : first; // whose number is what is left
    for (int l = k->n_loops - 1; l >= first; l--) {
        if (i >= 0 && (l == i || l == j)) {
            continue;
        }
        ll_val n = cg_loop_tiles(c, l);
        tile[l] = l == outer ? rem : ll_bin(b, LL_UREM, rem, n);
        rem = l == outer ? rem : ll_bin(b, LL_UDIV, rem, n);
    }
    for (int l = first; l < k->n_loops; l++) {
        ll_val in = ll_muli(b, tile[l], k->loops[l].tile);
        c->starts[l] = k->loops[l].hi ? ll_add(b, c->parts[l].lo, in) : in;
    }
    set_spans(c);
}

// Accumulators of warps start a tile at zero (others are overwritten by their first MMA).
void cg_tile_begin(cg *c) {
    if (c->k->arch == ARCH_SM90A && c->role->frag == FRAG_MMA) {
        cg_warp_sync(c); // one lane issued stores; wgmma instructions are for converged warps
    }
    for (int i = 0; i < c->k->n_accs; i++) {
        bool mine = cg_is_mine(c, i) && c->role->frag == FRAG_MMA;
        if (mine && c->k->arch == ARCH_SM90A) {
            cg_wgmma_begin(c, i);
        } else if (mine) {
            cg_mma_sync_zero(c, i);
        }
    }
}

// --- Turns ---------------------------------------------------------------------------------------

static int turn_threads(const tir_role *r) {
    return 2 * ARCH_LANES * r->n_warps / r->turns; // those who wait and those who pass on
}

static void main_loop_wait(cg *c, ll_val ordinal) {
    ll *b = c->b;
    ll_if later = ll_if_begin(b, ll_cmpi(b, LL_NE, ordinal, 0));
    LL_INTR(b, "llvm.nvvm.barrier.cta.sync.aligned.count", ll_addi(b, c->group, 1),
            ll_i32(b, turn_threads(c->role)));
    ll_if_end(b, later);
}

static ll_val next_group(cg *c) {
    ll_val next = ll_addi(c->b, c->group, 1);
    return ll_select(c->b, ll_cmpi(c->b, LL_EQ, next, c->role->turns), ll_i32(c->b, 0), next);
}

static void main_loop_pass(cg *c, ll_val more) {
    ll *b = c->b;
    ll_if f = ll_if_begin(b, more);
    LL_INTR(b, "llvm.nvvm.barrier.cta.arrive.aligned.count", ll_addi(b, next_group(c), 1),
            ll_i32(b, turn_threads(c->role)));
    ll_if_end(b, f);
}

static void epilogue_wait(cg *c) {
    ll *b = c->b;
    if (c->role->turn_bar < 0) {
        return;
    }
    ll_val bar = ll_add(b, cg_smem_at(c, c->role->turn_bar), ll_muli(b, c->group, 8));
    ll_val parity = ll_get(b, c->turn);
    cg_wait(c, bar, parity, false);
    ll_set(b, c->turn, ll_bini(b, LL_XOR, parity, 1));
}

// Staging was read when the bulk stores that one lane issued have read it; the same lane arrives.
static void epilogue_pass(cg *c) {
    ll *b = c->b;
    if (c->role->turn_bar < 0) {
        return;
    }
    ll_val bar = ll_add(b, cg_smem_at(c, c->role->turn_bar), ll_muli(b, next_group(c), 8));
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    LL_INTR(b, "llvm.nvvm.cp.async.bulk.wait.group.read", ll_i32(b, 0));
    cg_arrive(c, bar);
    ll_if_end(b, one);
}

static void tile_by_turn(cg *c, const tir_stmt *s, ll_val ordinal, ll_val more) {
    int n = s->n_body;
    while (n > 0 && s->body[n - 1]->kind == TS_STORE) {
        n--;
    }
    main_loop_wait(c, ordinal);
    cg_stmts(c, n, s->body);
    main_loop_pass(c, more);
    epilogue_wait(c);
    cg_stmts(c, s->n_body - n, s->body + n);
    epilogue_pass(c);
}

// --- Walks ---------------------------------------------------------------------------------------

// Tiles differ in what they take from channels: loops have bounds.
static bool tiles_differ(const cg *c) {
    bool differ = false;
    for (int i = 0; i < c->k->n_fors; i++) {
        differ = differ || c->k->fors[i].hi != NULL;
    }
    return differ;
}

static void begin_turns(cg *c) {
    ll *b = c->b;
    c->turn = ll_variable(b, LL_I32, "turn");
    // Nobody passes staging to group 0 before its first tile: parity 1 of a fresh barrier passes.
    ll_set(b, c->turn, ll_to(b, ll_cmpi(b, LL_EQ, c->group, 0), LL_I32));
}

ll_val cg_has_tile(cg *c, ll_val n, ll_val t) {
    return c->groups ? cg_groups_reach(c, t) : ll_cmp(c->b, LL_ULT, t, n);
}

static void one_tile(cg *c, const tir_stmt *s) {
    ll_if one = {0};
    bool guards = c->one && !c->lanes;
    if (guards) {
        one = ll_if_begin(c->b, c->one);
    }
    cg_tile_begin(c);
    cg_stmts(c, s->n_body, s->body);
    if (guards) {
        ll_if_end(c->b, one);
        cg_warp_sync(c);
    }
}

// Turns of a role that goes through every tile of the CTA in order, its group's own ones and those
// of which it only counts what they take.
typedef struct {
    ll_var ordinal; // of the tile in the CTA
    ll_var until;   // tiles before the next own one
} turn_count;

static turn_count count_turns(cg *c) {
    ll *b = c->b;
    turn_count u = {ll_variable(b, LL_I32, "ordinal"), ll_variable(b, LL_I32, "until")};
    ll_set(b, u.ordinal, ll_i32(b, 0));
    ll_set(b, u.until, c->group);
    begin_turns(c);
    return u;
}

static void tile_or_pass(cg *c, const tir_stmt *s, const turn_count *u, ll_val more) {
    ll *b = c->b;
    ll_val left = ll_get(b, u->until), mine = ll_cmpi(b, LL_EQ, left, 0);
    ll_if own = ll_if_begin(b, mine);
    cg_tile_begin(c);
    tile_by_turn(c, s, ll_get(b, u->ordinal), more);
    ll_if_else(b, &own);
    cg_channels_pass(c, s);
    ll_if_end(b, own);
    ll_set(b, u->until, ll_select(b, mine, ll_i32(b, c->role->turns - 1), ll_addi(b, left, -1)));
    ll_set(b, u->ordinal, ll_addi(b, ll_get(b, u->ordinal), 1));
}

static void walk_all(cg *c, const tir_stmt *s, ll_val n) {
    ll *b = c->b;
    ll_var tile = ll_variable(b, LL_I32, "tile");
    ll_set(b, tile, c->cluster_id);
    turn_count turns = count_turns(c);
    ll_loop l = ll_loop_begin(b, "tiles");
    ll_val t = ll_get(b, tile);
    ll_loop_while(b, &l, cg_has_tile(c, n, t));
    cg_tile_starts(c, c->groups ? cg_groups_enter(c, t) : t);
    ll_val next = ll_add(b, t, c->n_clusters);
    tile_or_pass(c, s, &turns, cg_has_tile(c, n, next));
    ll_set(b, tile, next);
    ll_loop_end(b, l);
}

// Tiles as one warp of the cluster hands them out.
static void handed_walk(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    bool by_turns = c->role->turns > 1;
    cg_ring ring = cg_ring_begin(c);
    turn_count turns = by_turns ? count_turns(c) : (turn_count){0};
    ll_loop l = ll_loop_begin(b, "tiles");
    cg_handed handed = cg_take_tile(c, &ring);
    ll_loop_while(b, &l, handed.some);
    if (by_turns) {
        tile_or_pass(c, s, &turns, handed.more);
    } else {
        one_tile(c, s);
    }
    ll_loop_end(b, l);
}

static void static_walk(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    bool turns = c->role->turns > 1;
    if (cg_has_groups(c)) {
        cg_groups_begin(c);
    }
    ll_val n = c->groups ? NULL : cg_n_tiles(c);
    if (turns && tiles_differ(c)) {
        walk_all(c, s, n);
        return;
    }
    ll_var tile = ll_variable(b, LL_I32, "tile");
    ll_var ordinal = ll_variable(b, LL_I32, "ordinal");
    ll_val turn = turns ? c->group : ll_i32(b, 0);
    ll_set(b, ordinal, turn);
    ll_set(b, tile, ll_add(b, c->cluster_id, ll_mul(b, turn, c->n_clusters)));
    if (turns) {
        cg_channels_turn(c, s);
        begin_turns(c);
    }
    ll_loop l = ll_loop_begin(b, "tiles");
    ll_val t = ll_get(b, tile);
    ll_loop_while(b, &l, cg_has_tile(c, n, t));
    cg_tile_starts(c, c->groups ? cg_groups_enter(c, t) : t);
    if (turns) {
        cg_tile_begin(c);
        tile_by_turn(c, s, ll_get(b, ordinal), cg_has_tile(c, n, ll_add(b, t, c->n_clusters)));
        cg_channels_skip(c);
    } else {
        one_tile(c, s);
    }
    ll_set(b, ordinal, ll_addi(b, ll_get(b, ordinal), c->role->turns));
    ll_set(b, tile, ll_add(b, t, ll_muli(b, c->n_clusters, c->role->turns)));
    ll_loop_end(b, l);
}

void cg_walk(cg *c, const tir_stmt *s) {
    if (c->k->walk.stream >= 0) {
        cg_stream_walk(c, s);
    } else if (c->k->walk.kind == WALK_STATIC) {
        static_walk(c, s);
    } else if (c->k->walk.kind == WALK_ONE) {
        handed_walk(c, s);
    } else if (c->role->turns > 1) {
        cg_fail(c, "role '%s' takes tiles by turns of %d groups, which needs a static walk; the "
                   "walk of kernel '%s' is clc", c->role->name, c->role->turns, c->k->name);
    } else {
        cg_clc_walk(c, s);
    }
}

// A loop of warps that only multiplies what one channel brings is a recipe of its
// own. Returns the MMA.
static const tir_mma *plain_product(cg *c, const tir_stmt *s) {
    if (c->role->frag != FRAG_MMA || s->n_body != 3 || s->body[0]->kind != TS_AWAIT ||
        s->body[1]->kind != TS_MMA || s->body[2]->kind != TS_RELEASE ||
        s->body[0]->ref != s->body[2]->ref) {
        return NULL;
    }
    const tir_mma *m = &c->k->mmas[s->body[1]->ref];
    int ch = s->body[0]->ref;
    bool one = c->k->operands[m->a].channel == ch && c->k->operands[m->b].channel == ch;
    return one && cg_mma_sync_ahead(c, m) ? m : NULL;
}

static void for_loop(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    const tir_for *f = &c->k->fors[s->ref];
    if (c->k->arch == ARCH_SM90A && cg_wgmma_loop(c, s)) {
        return;
    }
    const tir_mma *product = c->k->arch == ARCH_SM120A ? plain_product(c, s) : NULL;
    if (product) {
        cg_mma_sync_loop(c, s->ref, product, s->body[0]->ref);
        return;
    }
    cg_range steps = cg_for_range(c, s->ref);
    ll_var at = ll_variable(b, LL_I32, f->index);
    cg_shared_loop shared = cg_shared_begin(c, s);
    ll_val **outer = c->lines;
    if (tir_brings_factors(c->k, cg_role_number(c))) {
        cg_factors_begin(c, s->ref);
    }
    ll_set(b, at, steps.from);
    ll_loop l = ll_loop_begin(b, "steps");
    ll_val i = ll_get(b, at);
    ll_loop_while(b, &l, ll_cmp(b, LL_SLT, i, steps.to));
    c->starts[c->k->n_loops + s->ref] = i;
    cg_stmts(c, s->n_body, s->body);
    cg_shared_step(c, &shared);
    ll_set(b, at, ll_addi(b, i, steps.by));
    ll_loop_end(b, l);
    cg_shared_end(c, &shared);
    c->starts[c->k->n_loops + s->ref] = NULL;
    c->lines = outer;
}

// --- Statements ----------------------------------------------------------------------------------

// An MMA of warps reads its operands into registers: the slot is free before the last products are
// computed, so a release that follows is handed to the recipe. Returns the statements consumed.
static int emit_mma(cg *c, const tir_stmt *s, const tir_stmt *next) {
    const tir_mma *m = &c->k->mmas[s->ref];
    if (cg_is_umma(c)) {
        cg_umma(c, m);
        return 1;
    }
    if (c->role->frag != FRAG_MMA) {
        cg_fail(c, "role '%s' multiplies, but its warps hold no tile in registers", c->role->name);
        return 1;
    }
    if (c->k->arch == ARCH_SM90A) {
        cg_wgmma(c, m);
        return 1;
    }
    bool fused = next && next->kind == TS_RELEASE &&
                 (next->ref == c->k->operands[m->a].channel ||
                  next->ref == c->k->operands[m->b].channel);
    cg_mma_sync(c, m, fused ? next->ref : -1);
    return fused ? 2 : 1;
}

void cg_stmts(cg *c, int n, tir_stmt *const *body) {
    for (int i = 0; i < n && CG_OK(c); i++) {
        const tir_stmt *s = body[i];
        switch (s->kind) {
        case TS_WALK:
            cg_walk(c, s);
            break;
        case TS_FOR:
            for_loop(c, s);
            break;
        case TS_ACQUIRE:
            cg_acquire(c, s->ref);
            break;
        case TS_LOAD:
            cg_load(c, s->ref);
            break;
        case TS_PUBLISH:
            cg_publish(c, s->ref);
            break;
        case TS_AWAIT:
            cg_await(c, s->ref);
            break;
        case TS_RELEASE:
            cg_release(c, s->ref);
            break;
        case TS_MMA:
            i += emit_mma(c, s, i + 1 < n ? body[i + 1] : NULL) - 1;
            break;
        case TS_STORE:
            cg_store(c, s->ref);
            break;
        case TS_COMBINE:
            cg_combine(c, s);
            break;
        case TS_SCHED:
            if (c->k->walk.kind == WALK_CLC) {
                cg_clc_sched(c);
            } else {
                cg_hand_out(c);
            }
            break;
        }
    }
}
