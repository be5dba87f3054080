// Tiles whose number only the device knows: loops that walk a part of their dimension (tir_loop.lo,
// hi).
//
// Tiles are numbered group after group, where a group is one combination of tiles of the first loops
// (tir_walk.groups; of single elements mostly), inside a group as in walk.c. The number of a group's tiles follows from const
// tensors alone, so every warp finds the tile of a number by itself, and all find the same one. A
// warp looks at 32 groups at once, a lane each: the lanes add up their tiles, and the lane in whose
// range the number lies tells the others its bounds. A role visits tiles in increasing order, so it
// keeps what its lanes know and reads on only when it leaves the 32 groups.
#include "cg_int.h"

// What a lane keeps of its group, and the warp of the 32 groups.
struct cg_groups {
    ll_var first;   // number of lane 0's group
    ll_var before;  // tiles of all groups before it ...
    ll_var tiles;   // ... and of these 32
    ll_var upto;    // tiles of the groups up to the lane's own one, that one included
    ll_var *lo, *hi; // bounds of each loop that has some, for the lane's group
};

bool cg_has_groups(const cg *c) {
    bool bounded = false;
    for (int i = 0; i < c->k->n_loops; i++) {
        bounded = bounded || c->k->loops[i].hi != NULL;
    }
    return bounded;
}

ll_val cg_shuffle(cg *c, ll_val v, ll_val lane) {
    ll *b = c->b;
    return LL_INTR(b, "llvm.nvvm.shfl.sync.idx.i32", ll_i32(b, -1), v, lane,
                   ll_i32(b, ARCH_LANES - 1));
}

static ll_val n_groups(cg *c) {
    ll_val n = ll_i32(c->b, 1);
    for (int i = 0; i < c->k->walk.groups; i++) {
        n = ll_mul(c->b, n, cg_loop_tiles(c, i));
    }
    return n;
}

// The indices that a group's number stands for.
static void name_group(cg *c, ll_val number) {
    ll *b = c->b;
    for (int i = c->k->walk.groups - 1; i >= 0; i--) {
        ll_val n = cg_loop_tiles(c, i);
        ll_val at = i == 0 ? number : ll_bin(b, LL_UREM, number, n);
        c->starts[i] = ll_muli(b, at, c->k->loops[i].tile);
        number = i == 0 ? number : ll_bin(b, LL_UDIV, number, n);
    }
}

ll_val cg_bound(cg *c, const tir_size *dim, const tir_expr *e) {
    ll *b = c->b;
    ll_val size = cg_size(c, dim);
    ll_val v = cg_expr(c, e, &(cg_elem){0});
    v = ll_select(b, ll_cmpi(b, LL_SGT, v, 0), v, ll_i32(b, 0));
    return ll_select(b, ll_cmp(b, LL_SLT, v, size), v, size);
}

// The part of a loop: its bounds and its tiles.
void cg_set_part(cg *c, int l, ll_val lo, ll_val hi) {
    ll *b = c->b;
    int tile = c->k->loops[l].tile;
    ll_val length = ll_sub(b, hi, lo);
    length = ll_select(b, ll_cmpi(b, LL_SGT, length, 0), length, ll_i32(b, 0));
    c->parts[l] = (cg_part){lo, hi, ll_bini(b, LL_UDIV, ll_addi(b, length, tile - 1), tile)};
}

// --- Thirty-two groups ---------------------------------------------------------------------------

// Tiles of the groups up to this lane's, of which each has n.
static ll_val add_up(cg *c, ll_val n) {
    ll *b = c->b;
    for (int step = 1; step < ARCH_LANES; step *= 2) {
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.up.i32", ll_i32(b, -1), n, ll_i32(b, step),
                               ll_i32(b, 0));
        ll_val more = ll_select(b, ll_cmpi(b, LL_UGE, c->lane, step), other, ll_i32(b, 0));
        n = ll_add(b, n, more);
    }
    return n;
}

// The lanes' groups are no tile of the role's: what it knows of its own stays.
static void read_groups(cg *c, ll_val all) {
    ll *b = c->b;
    cg_groups *g = c->groups;
    ll_val *starts = c->starts;
    cg_part *parts = c->parts;
    c->starts = ARENA_ARRAY(c->mem, ll_val, c->k->n_loops + 1);
    c->parts = ARENA_ARRAY(c->mem, cg_part, c->k->n_loops + 1);
    ll_val number = ll_add(b, ll_get(b, g->first), c->lane);
    ll_if is_one = ll_if_begin(b, ll_cmp(b, LL_SLT, number, all));
    name_group(c, number);
    for (int i = 0; i < c->k->n_loops; i++) {
        const tir_loop *l = &c->k->loops[i];
        if (l->hi) {
            cg_set_part(c, i, cg_bound(c, l->dim, l->lo), cg_bound(c, l->dim, l->hi));
            ll_set(b, g->lo[i], c->parts[i].lo);
            ll_set(b, g->hi[i], c->parts[i].hi);
        }
    }
    ll_set(b, g->upto, cg_tiles_of_group(c));
    c->starts = starts;
    c->parts = parts;
    ll_if_else(b, &is_one);
    ll_set(b, g->upto, ll_i32(b, 0));
    ll_if_end(b, is_one);
    cg_warp_sync(c);
    ll_set(b, g->upto, add_up(c, ll_get(b, g->upto)));
    ll_set(b, g->tiles, cg_shuffle(c, ll_get(b, g->upto), ll_i32(b, ARCH_LANES - 1)));
}

void cg_groups_begin(cg *c) {
    ll *b = c->b;
    cg_groups *g = ARENA_ARRAY(c->mem, cg_groups, 1);
    *g = (cg_groups){.first = ll_variable(b, LL_I32, "group"),
                     .before = ll_variable(b, LL_I32, "before"),
                     .tiles = ll_variable(b, LL_I32, "tiles"),
                     .upto = ll_variable(b, LL_I32, "upto"),
                     .lo = ARENA_ARRAY(c->mem, ll_var, c->k->n_loops),
                     .hi = ARENA_ARRAY(c->mem, ll_var, c->k->n_loops)};
    ll_set(b, g->first, ll_i32(b, -ARCH_LANES));
    ll_set(b, g->before, ll_i32(b, 0));
    ll_set(b, g->tiles, ll_i32(b, 0));
    ll_set(b, g->upto, ll_i32(b, 0));
    for (int i = 0; i < c->k->n_loops; i++) {
        if (c->k->loops[i].hi) {
            g->lo[i] = ll_variable(b, LL_I32, "lo");
            g->hi[i] = ll_variable(b, LL_I32, "hi");
            ll_set(b, g->lo[i], ll_i32(b, 0));
            ll_set(b, g->hi[i], ll_i32(b, 0));
        }
    }
    c->groups = g;
}

ll_val cg_groups_reach(cg *c, ll_val tile) {
    ll *b = c->b;
    cg_groups *g = c->groups;
    ll_val all = n_groups(c);
    ll_loop l = ll_loop_begin(b, "groups");
    ll_val behind = ll_add(b, ll_get(b, g->before), ll_get(b, g->tiles));
    ll_val next = ll_addi(b, ll_get(b, g->first), ARCH_LANES);
    ll_val on = ll_bin(b, LL_AND, ll_cmp(b, LL_UGE, tile, behind), ll_cmp(b, LL_SLT, next, all));
    ll_loop_while(b, &l, on);
    ll_set(b, g->before, behind);
    ll_set(b, g->first, next);
    read_groups(c, all);
    ll_loop_end(b, l);
    return ll_cmp(b, LL_ULT, tile, ll_add(b, ll_get(b, g->before), ll_get(b, g->tiles)));
}

// A loop of one element, of a number that a tensor says: bounds x .. x + 1.
static bool picks_one(const tir_loop *l) {
    const tir_expr *hi = l->hi;
    return l->tile == 1 && hi && hi->kind == TX_BINARY && hi->op == OP_ADD && cg_same_expr(hi->args[0], l->lo) &&
           hi->args[1]->kind == TX_CONST && hi->args[1]->value == 1;
}

bool cg_groups_are_rows(const cg *c) {
    const tir_kernel *k = c->k;
    bool rows = k->walk.raster >= k->walk.groups;
    for (int i = k->walk.groups; i < k->n_loops && rows; i++) {
        rows = i == k->walk.raster ? k->loops[i].hi == NULL : picks_one(&k->loops[i]);
    }
    return rows;
}

// Tile 'in' of the 32 groups along the stripes of a raster, numbered group after group.
static ll_val along_stripes(cg *c, ll_val in) {
    ll *b = c->b;
    ll_val n = cg_loop_tiles(c, c->k->walk.raster), tile, row;
    cg_raster(c, in, ll_bin(b, LL_UDIV, ll_get(b, c->groups->tiles), n), &tile, &row);
    return ll_add(b, ll_mul(b, row, n), tile);
}

ll_val cg_groups_enter(cg *c, ll_val tile) {
    ll *b = c->b;
    cg_groups *g = c->groups;
    ll_val in = ll_sub(b, tile, ll_get(b, g->before)); // of the tiles of the 32 groups
    if (cg_groups_are_rows(c)) {
        in = along_stripes(c, in);
    }
    ll_val upto = ll_get(b, g->upto);
    ll_val behind =
        LL_INTR(b, "llvm.nvvm.vote.ballot.sync", ll_i32(b, -1), ll_cmp(b, LL_ULE, upto, in));
    ll_val lane =
        ll_intr(b, "llvm.ctpop", LL_I32, 1, &behind); // lanes whose groups lie before the tile's
    ll_val before = cg_shuffle(c, upto, ll_bini(b, LL_AND, ll_addi(b, lane, -1), ARCH_LANES - 1));
    before = ll_select(b, ll_cmpi(b, LL_EQ, lane, 0), ll_i32(b, 0), before);
    name_group(c, ll_add(b, ll_get(b, g->first), lane));
    for (int i = 0; i < c->k->n_loops; i++) {
        if (c->k->loops[i].hi) {
            cg_set_part(c, i, cg_shuffle(c, ll_get(b, g->lo[i]), lane),
                        cg_shuffle(c, ll_get(b, g->hi[i]), lane));
        }
    }
    return ll_sub(b, in, before);
}

// --- Scales --------------------------------------------------------------------------------------

ll_val cg_scale_shift(cg *c, int loop) {
    ll *b = c->b;
    const tir_loop *l = loop >= 0 && loop < c->k->n_loops ? &c->k->loops[loop] : NULL;
    if (!l || !l->hi || l->group < 0) {
        return ll_i32(b, 0);
    }
    ll_val lo = c->parts[loop].lo;
    ll_val first = ll_add(b, lo, ll_muli(b, c->starts[l->group], 127));
    return ll_sub(b, ll_bini(b, LL_AND, first, -128), lo);
}
