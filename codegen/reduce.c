// Reductions over a side of the tile, in kernels without products, and over all of a dimension: a
// lane has a row, or of matrix fragments two for each of its row fragments.
//
//   along the columns   each lane walks its row in order, as the sequential program does, so that a
//                       sum rounds as that one's
//   along a loop that   each lane walks all of it in order for its row; nothing at all makes 0, or
//   is no side          the infinity that every number replaces
//   across the rows     every warp walks all rows of the tile, a row a lane, and the lanes meet in
//                       butterflies: maxima and minima only, which do not depend on the order
// Elements beyond the loop's extent do not count. A maximum begins with NaN, which max.f32 and
// min.f32 give way to (PTX ISA "max": if one input is NaN the result is the other).
//
// Loops are made once a store and not once an element: 'hoist' finds the reductions of an
// expression, those inside of others first where they are the same for all that the outer one
// walks; cg_expr then meets their values. Equal reductions share one loop.
#include "cg_int.h"

#include <math.h>

enum { STEP = 8 };

struct cg_reduced {
    const tir_expr *e;
    ll_val value;
    bool of_row; // differs between the rows: it is that of this lane's own
    int half;    // ... of several the one of this number
    struct cg_reduced *next;
};

// Number of the lane's row that an element lies in.
static int half_of(const cg *c, const cg_elem *at) {
    return c->first_half + (c->own_rows[1] && at->row == c->own_rows[1] ? 1 : 0);
}

static ll_val known(const cg *c, const tir_expr *e, const cg_elem *at) {
    for (const struct cg_reduced *r = c->reduced; r; r = r->next) {
        bool here = !r->of_row || (!c->across_rows && r->half == half_of(c, at));
        if (cg_same_expr(r->e, e) && here) {
            return r->value;
        }
    }
    return NULL;
}

static ll_val combine(cg *c, reduce_kind how, ll_val x, ll_val y) {
    static const char *const names[] = {
        [RED_SUM] = "add.rn.f32", [RED_MAX] = "max.f32", [RED_MIN] = "min.f32"};
    return cg_math2(c, names[how], x, y);
}

// Neutral: -0 + x is x, and NaN gives way.
static ll_val begin(cg *c, reduce_kind how) {
    return ll_to(c->b, ll_i32(c->b, how == RED_SUM ? INT32_MIN : 0x7FFFFFFF), LL_F32);
}

typedef struct {
    const tir_expr *e;
    cg_elem at;
    bool rows;     // across the rows, a lane each
    bool all;      // along fors[], which is no side of the tile
    ll_val start, extent; // of the loop: elements from 'start' to 'extent' - 1 exist
} reduction;

// One element of the tile; 'i' counts from the tile's start, 'ahead' is a constant part of it.
static ll_val step(cg *c, const reduction *r, ll_val sum, ll_val i, int ahead) {
    ll *b = c->b;
    cg_elem at = r->at;
    ll_val place = ll_add(b, r->start, i);
    if (r->rows) {
        at.row = ll_add(b, place, c->lane);
        place = at.row;
    } else if (r->all) {
        place = ll_addi(b, place, ahead);
        c->starts[r->e->ref] = place;
    } else {
        at.col = place;
        at.dcol = ahead;
        place = ll_addi(b, place, ahead);
    }
    ll_val x = combine(c, r->e->reduce, sum, cg_expr(c, r->e->args[0], &at));
    return ll_select(b, ll_cmp(b, LL_SLT, place, r->extent), x, sum);
}

// 'tile': elements at the most; 0: as many as there are.
static ll_val walk(cg *c, const reduction *r, int tile) {
    ll *b = c->b;
    ll_var sum = ll_variable(b, LL_F32, "reduced");
    ll_var i = ll_variable(b, LL_I32, "at");
    ll_set(b, sum, begin(c, r->e->reduce));
    ll_set(b, i, ll_i32(b, 0));
    ll_val left = ll_sub(b, r->extent, r->start);
    ll_val end = r->all ? left : ll_select(b, ll_cmpi(b, LL_SLT, left, tile), left, ll_i32(b, tile));
    ll_loop loop = ll_loop_begin(b, "reduce");
    ll_loop_while(b, &loop, ll_cmp(b, LL_SLT, ll_get(b, i), end));
    int unrolled = r->rows ? 1 : tile % STEP == 0 ? STEP : 1;
    ll_val x = ll_get(b, sum);
    for (int u = 0; u < unrolled && CG_OK(c); u++) {
        x = step(c, r, x, ll_get(b, i), u);
    }
    ll_set(b, sum, x);
    ll_set(b, i, ll_addi(b, ll_get(b, i), r->rows ? ARCH_LANES : unrolled));
    ll_loop_end(b, loop);
    return ll_get(b, sum);
}

static ll_val across_lanes(cg *c, reduce_kind how, ll_val x) {
    ll *b = c->b;
    for (int by = 1; by < ARCH_LANES; by *= 2) {
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.bfly.f32", ll_i32(b, -1), x, ll_i32(b, by),
                               ll_i32(b, ARCH_LANES - 1));
        x = combine(c, how, x, other);
    }
    return x;
}

ll_val cg_reduce(cg *c, const tir_expr *e, const cg_elem *at) {
    ll_val value = known(c, e, at);
    if (value) {
        return value;
    }
    const tir_acc *tile = at->acc;
    if (e->ref >= c->k->n_loops) {
        reduction r = {.e = e, .at = *at, .all = true, .start = ll_i32(c->b, 0),
                       .extent = cg_size(c, c->k->fors[e->ref - c->k->n_loops].extent)};
        ll_val outside = c->starts[e->ref];
        value = walk(c, &r, 0);
        c->starts[e->ref] = outside;
        ll_val none = ll_f32(c->b, e->reduce == RED_SUM ? 0 : e->reduce == RED_MAX ? -INFINITY : INFINITY);
        return ll_select(c->b, ll_cmpi(c->b, LL_SGT, r.extent, 0), value, none);
    }
    bool rows = tile && e->ref == tile->row_loop;
    if (!tile || (!rows && e->ref != tile->col_loop) || (rows && e->reduce == RED_SUM)) {
        cg_fail(c,
                "a reduction over '%s' in kernel '%s': over the columns of a tile, or a maximum "
                "over its "
                "rows, it can be generated",
                c->k->loops[e->ref].index, c->k->name);
        return ll_f32(c->b, 0);
    }
    int by = rows ? tile->row_rank_step : tile->col_rank_step;
    reduction r = {.e = e,
                   .at = *at,
                   .rows = rows,
                   .start = ll_add(c->b, c->starts[e->ref], ll_muli(c->b, c->rank, by)),
                   .extent = cg_size(c, c->k->loops[e->ref].dim)};
    bool outer = c->across_rows;
    c->across_rows |= rows;
    value = walk(c, &r, rows ? tile->rows : tile->cols);
    c->across_rows = outer;
    return rows ? across_lanes(c, e->reduce, value) : value;
}

static void hoist(cg *c, const tir_expr *e, const cg_elem *at);

static bool varies_in(const cg *c, const tir_expr *e, uint64_t loops) {
    bool found = false;
    for (int i = 0; i < c->k->n_loops + c->k->n_fors && i < TIR_REDUCE_LOOPS && !found; i++) {
        found = (loops >> i & 1) != 0 && tir_varies(e, i);
    }
    return found;
}

// The reductions inside an expression, those left out that differ along one of the loops 'walked'.
static void hoist_inside(cg *c, const tir_expr *e, const cg_elem *at, uint64_t walked) {
    for (int i = 0; i < e->n_args && CG_OK(c); i++) {
        const tir_expr *a = e->args[i];
        bool reduces = a->kind == TX_REDUCE;
        if (reduces && !varies_in(c, a, walked)) {
            hoist(c, a, at);
        } else {
            hoist_inside(c, a, at, walked | (reduces ? UINT64_C(1) << a->ref : 0));
        }
    }
}

static void hoist(cg *c, const tir_expr *e, const cg_elem *at) {
    if (tir_varies(e, at->acc->col_loop)) {
        int n = c->k->n_loops;
        cg_fail(c, "a reduction over '%s' in kernel '%s' differs between the columns of the tile",
                e->ref < n ? c->k->loops[e->ref].index : c->k->fors[e->ref - n].index, c->k->name);
        return;
    }
    hoist_inside(c, e, at, UINT64_C(1) << e->ref);
    if (!known(c, e, at) && CG_OK(c)) {
        struct cg_reduced *r = ARENA_ARRAY(c->mem, struct cg_reduced, 1);
        *r = (struct cg_reduced){e, cg_reduce(c, e, at), tir_varies(e, at->acc->row_loop),
                                 half_of(c, at), c->reduced};
        c->reduced = r;
    }
}

void cg_reduce_hoist(cg *c, const tir_expr *e, const cg_elem *at) {
    if (e && e->kind == TX_REDUCE) {
        hoist(c, e, at);
    } else if (e) {
        hoist_inside(c, e, at, 0);
    }
}

void cg_reduce_done(cg *c) {
    c->reduced = NULL;
    c->own_rows[0] = c->own_rows[1] = NULL;
    c->first_half = 0;
}

bool cg_reduces(const tir_expr *e) {
    bool found = e && e->kind == TX_REDUCE;
    for (int i = 0; e && i < e->n_args && !found; i++) {
        found = cg_reduces(e->args[i]);
    }
    return found;
}
