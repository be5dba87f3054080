// Results of tcgen05: sub-tiles of an accumulator from TMEM into registers, one row a lane.
//
// Warp w reaches the lanes 32 * (w % 4) .. + 31 (PTX ISA "tcgen05.ld", access restrictions), which
// are the rows of its quarter of the CTA's tile; register r holds column r of the sub-tile. Where
// two slots share columns, slot 0 is walked downwards and slot 1 upwards, so that the shared
// columns are read first and the slot is handed back after 'release_after' sub-tiles.
#include "cg_int.h"

enum { QUARTER_ROWS = 32, MAX_LD = 64, TIE = 8 };

typedef struct {
    const tir_store *s;
    const tir_acc *acc; // geometry, the same for all accumulators of the store
    int accs[4];
    int n_accs;
    int n_subs;
    ll_val base[4]; // TMEM address of each accumulator's first column, the warp's lanes included
} lane_store;

static bool prepare(cg *c, const tir_store *s, lane_store *l) {
    *l = (lane_store){.s = s};
    const char *name = c->k->params[s->param].name;
    int group = c->role->n_warps / c->role->turns;
    l->n_accs = cg_store_accs(c, s, l->accs);
    if (l->n_accs == 0) {
        cg_fail(c, "'%s' is made of no accumulator", name);
    } else if (group != 4) {
        cg_fail(c, "role '%s' reads TMEM with groups of %d warps: 4 warps cover the 128 rows",
                c->role->name, group);
    }
    if (!CG_OK(c)) {
        return false;
    }
    l->acc = &c->k->accs[l->accs[0]];
    l->n_subs = l->acc->cols / s->sub_cols;
    for (int i = 0; i < l->n_accs; i++) {
        const tir_acc *a = &c->k->accs[l->accs[i]];
        if (a->channel < 0 || a->rows != 128 || a->cols != l->acc->cols || a->cols % s->sub_cols) {
            cg_fail(c,
                    "accumulator '%s' of %d x %d for '%s' in sub-tiles of %d columns: 128 rows in "
                    "TMEM and whole sub-tiles are possible",
                    a->name, a->rows, a->cols, name, s->sub_cols);
        }
    }
    return CG_OK(c);
}

// --- Loading
// -----------------------------------------------------------------------------------------

static ll_val first_column(cg *c, const tir_acc *a) {
    ll *b = c->b;
    const tir_channel *ch = &c->k->channels[a->channel];
    ll_val slot = ll_muli(b, ll_get(b, c->chans[a->channel].slot), ch->stride);
    ll_val lanes = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->warp, 3), 16 + 5);
    return ll_add(b, ll_add(b, c->tmem, lanes), ll_addi(b, slot, ch->offset + a->column));
}

// Columns of one load: the largest form 32x32b.xN that divides the sub-tile.
static int load_width(int cols) {
    int n = MAX_LD;
    while (cols % n != 0) {
        n /= 2;
    }
    return n;
}

static void load_columns(cg *c, ll_val at, int cols, ll_val *out) {
    int n = load_width(cols);
    char name[64];
    snprintf(name, sizeof name, "llvm.nvvm.tcgen05.ld.32x32b.x%d", n);
    for (int i = 0; i < cols; i += n) {
        ll_val v = LL_INTR(c->b, name, ll_addi(c->b, at, i), ll_i1(c->b, false));
        for (int j = 0; j < n; j++) {
            out[i + j] = n == 1 ? v : ll_extract(c->b, v, j);
        }
    }
}

// Values pass through an empty statement behind the wait: nothing that uses them can move before
// it.
static void tie(cg *c, ll_val *v, int n) {
    static const char *const constraints[] = {
        [1] = "=r,0",
        [2] = "=r,=r,0,1",
        [4] = "=r,=r,=r,=r,0,1,2,3",
        [8] = "=r,=r,=r,=r,=r,=r,=r,=r,0,1,2,3,4,5,6,7",
    };
    int step = n % TIE == 0 ? TIE : n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
    ll_asm a = {.text = "", .constraints = constraints[step], .effect = true, .n_out = step};
    for (int i = 0; i < step; i++) {
        a.out[i] = LL_I32;
    }
    for (int i = 0; i < n; i += step) {
        ll_val r = ll_call_asm(c->b, &a, step, v + i);
        for (int j = 0; j < step; j++) {
            v[i + j] = step == 1 ? r : ll_extract(c->b, r, j);
        }
    }
}

// True where something was accumulated at all; NULL where that is always so.
static ll_val has_value(cg *c, const tir_acc *a) {
    ll_val trips = cg_size(c, a->trips);
    int64_t n = 0;
    if (ll_is_const(trips, &n) && n > 0) {
        return NULL;
    }
    return ll_cmpi(c->b, LL_SGT, trips, 0);
}

// The columns of one accumulator, or zeros when no k iteration wrote them.
static void load_acc(cg *c, const lane_store *l, int i, ll_val first, ll_val *out) {
    ll *b = c->b;
    int n = l->s->sub_cols;
    ll_val at = ll_add(b, l->base[i], first);
    ll_val some = has_value(c, &c->k->accs[l->accs[i]]);
    if (!some) {
        load_columns(c, at, n, out);
        return;
    }
    ll_var *vars = ARENA_ARRAY(c->mem, ll_var, n);
    for (int j = 0; j < n; j++) {
        vars[j] = ll_variable(b, LL_I32, "sum");
    }
    ll_if f = ll_if_begin(b, some);
    load_columns(c, at, n, out);
    for (int j = 0; j < n; j++) {
        ll_set(b, vars[j], out[j]);
    }
    ll_if_else(b, &f);
    for (int j = 0; j < n; j++) {
        ll_set(b, vars[j], ll_i32(b, 0));
    }
    ll_if_end(b, f);
    for (int j = 0; j < n; j++) {
        out[j] = ll_get(b, vars[j]);
    }
}

// --- Sub-tiles
// ---------------------------------------------------------------------------------------

// Sub-tile that is the i-th to be read.
static ll_val order(cg *c, const lane_store *l, ll_val i) {
    ll *b = c->b;
    const tir_channel *ch = &c->k->channels[l->acc->channel];
    if (ch->shared == 0) {
        return i;
    }
    ll_val down = ll_sub(b, ll_i32(b, l->n_subs - 1), i);
    ll_val even = ll_cmpi(b, LL_EQ, ll_get(b, c->chans[l->acc->channel].slot), 0);
    return ll_select(b, even, down, i);
}

static void fill_run(cg *c, const lane_store *l, ll_val first, cg_run *run) {
    ll *b = c->b;
    const tir_acc *a = l->acc;
    ll_val quarter = ll_muli(b, ll_bini(b, LL_AND, c->warp, 3), QUARTER_ROWS);
    ll_val row = ll_add(b, c->starts[a->row_loop], ll_muli(b, c->rank, a->row_rank_step));
    ll_val col = ll_add(b, c->starts[a->col_loop], ll_muli(b, c->rank, a->col_rank_step));
    run->row = ll_add(b, ll_add(b, row, quarter), c->lane);
    run->col = ll_add(b, col, first);
    run->box_row = c->lane;
    run->n = l->s->sub_cols;
}

// Loads, and hands the slot back when the sub-tile was the last that holds shared columns (without
// any: the last of all).
static void load_sub(cg *c, const lane_store *l, ll_val i, cg_run *run) {
    ll *b = c->b;
    ll_val first = ll_muli(b, order(c, l, i), l->s->sub_cols);
    fill_run(c, l, first, run);
    for (int a = 0; a < l->n_accs; a++) {
        run->acc[a] = ARENA_ARRAY(c->mem, ll_val, l->s->sub_cols);
        load_acc(c, l, a, first, run->acc[a]);
    }
    LL_INTR0(b, "llvm.nvvm.tcgen05.wait.ld");
    for (int a = 0; a < l->n_accs; a++) {
        tie(c, run->acc[a], l->s->sub_cols);
        for (int j = 0; j < l->s->sub_cols; j++) {
            run->acc[a][j] = ll_to(b, run->acc[a][j], LL_F32);
        }
    }
    if (l->s->release >= 0) {
        ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, i, l->s->release_after - 1));
        cg_tmem_release(c, l->s->release);
        ll_if_end(b, f);
    }
}

void cg_store_lane(cg *c, int store) {
    ll *b = c->b;
    lane_store l;
    if (!prepare(c, &c->k->stores[store], &l)) {
        return;
    }
    for (int i = 0; i < l.n_accs; i++) {
        l.base[i] = first_column(c, &c->k->accs[l.accs[i]]);
    }
    ll_var sub = ll_variable(b, LL_I32, "sub");
    ll_set(b, sub, ll_i32(b, 0));
    ll_loop loop = ll_loop_begin(b, "sub_tiles");
    ll_loop_while(b, &loop, ll_cmpi(b, LL_SLT, ll_get(b, sub), l.n_subs));
    cg_run run = {0};
    load_sub(c, &l, ll_get(b, sub), &run);
    cg_frag frag = {.n_runs = 1,
                    .runs = &run,
                    .n_accs = l.n_accs,
                    .cols = l.s->sub_cols,
                    .box_rows = QUARTER_ROWS};
    for (int i = 0; i < l.n_accs; i++) {
        frag.accs[i] = l.accs[i];
    }
    cg_store_sub(c, store, &frag);
    ll_set(b, sub, ll_addi(b, ll_get(b, sub), 1));
    ll_loop_end(b, loop);
    if (l.s->release >= 0) {
        cg_advance(c, l.s->release);
    }
}
