// Results of tcgen05: sub-tiles of an accumulator from TMEM into registers, one row a lane.
//
// Warp w reaches the lanes 32 * (w % 4) .. + 31 (PTX ISA "tcgen05.ld", access restrictions), which
// are the rows of its quarter of the CTA's tile; register r holds column r of a piece of the
// sub-tile. Where two slots share columns, slot 0 is walked downwards and slot 1 upwards, so that
// the shared columns are read first and the slot is handed back after 'release_after' sub-tiles.
//
// A store of no accumulator at all is the same without the reading: the role's accumulator of no
// channel says which rows and columns its warps cover.
#include "store_int.h"

enum { QUARTER_ROWS = 32, MAX_LD = 64, TIE = 8, GIVE_COLS = 16 };

typedef struct {
    const tir_store *s;
    const tir_acc *acc; // geometry, the same for all accumulators of the store
    int accs[4];
    int n_accs;
    int n_subs;
    int cols;       // of a piece
    ll_val base[4]; // TMEM address of each accumulator's first column, the warp's lanes included
} lane_store;

// What a lane needs beside the elements of a piece: addresses, bounds, loop state.
enum { OTHER_REGS = 72 };

// The widest piece of whole granules, of 16 bytes, or of a layout's words that fits the role's registers.
static int piece_cols(const cg *c, const lane_store *l) {
    const tir_store *s = l->s;
    bool laid = tir_laid(&c->k->params[s->param]) != LAYOUT_LINEAR;
    bool across = elem_bits(s->elem) == 6; // four make three bytes
    int unit = s->scale != ELEM_NONE ? s->granule : laid || across ? TIR_ATOM_COLS : 128 / elem_bits(s->elem);
    int column = l->n_accs + cg_store_loads(c, s);
    int room = (cg_role_regs(c) - OTHER_REGS) / (column > 0 ? column : 1);
    int best = s->sub_cols;
    for (int n = s->sub_cols; n >= unit && best > room; n -= unit) {
        if (s->sub_cols % n == 0 && n % unit == 0) {
            best = n;
        }
    }
    return best;
}

// The accumulator of the role that has no channel: what a store of none covers.
static const tir_acc *shape_of_role(const cg *c) {
    for (int i = 0; i < c->k->n_accs; i++) {
        const tir_acc *a = &c->k->accs[i];
        if (a->channel < 0 && &c->k->roles[a->role] == c->role) {
            return a;
        }
    }
    return NULL;
}

static void check_acc(cg *c, const lane_store *l, const tir_acc *a) {
    if (a->channel < 0 || a->rows != 128 || a->cols != l->acc->cols || a->cols % l->s->sub_cols) {
        cg_fail(c,
                "accumulator '%s' of %d x %d for '%s' in sub-tiles of %d columns: 128 rows in TMEM "
                "and whole sub-tiles are possible",
                a->name, a->rows, a->cols, c->k->params[l->s->param].name, l->s->sub_cols);
    }
}

static bool prepare(cg *c, const tir_store *s, lane_store *l) {
    *l = (lane_store){.s = s};
    const char *name = c->k->params[s->param].name;
    int group = tir_group_warps(c->role);
    l->n_accs = cg_store_accs(c, s, l->accs);
    l->acc = l->n_accs > 0 ? &c->k->accs[l->accs[0]] : shape_of_role(c);
    if (!l->acc) {
        cg_fail(c, "'%s' is made of no accumulator", name);
    } else if (l->n_accs > 0 && group != 4) {
        cg_fail(c, "role '%s' reads TMEM with groups of %d warps: 4 warps cover the 128 rows",
                c->role->name, group);
    } else if (l->n_accs == 0 &&
               (l->acc->rows != QUARTER_ROWS * group || l->acc->cols % s->sub_cols)) {
        cg_fail(c,
                "a tile of %d x %d for '%s' in sub-tiles of %d columns: the %d warps of role '%s' "
                "cover 32 rows each and whole sub-tiles",
                l->acc->rows, l->acc->cols, name, s->sub_cols, group, c->role->name);
    }
    for (int i = 0; i < l->n_accs && CG_OK(c); i++) {
        check_acc(c, l, &c->k->accs[l->accs[i]]);
    }
    if (CG_OK(c)) {
        l->n_subs = l->acc->cols / s->sub_cols;
        l->cols = piece_cols(c, l);
    }
    return CG_OK(c);
}

// --- Loading -------------------------------------------------------------------------------------

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

// True where this CTA accumulated anything at all; NULL where that is always so.
static ll_val has_value(cg *c, const tir_acc *a) {
    ll_val some = cg_has_products(c, (int)(a - c->k->accs));
    int64_t always = 0;
    return ll_is_const(some, &always) && always ? NULL : some;
}

// Steps in which instructions follow the columns that are there ('fit'); 0: they write all.
static int fit_of(const cg *c, const tir_acc *a) {
    for (int i = 0; i < c->k->n_mmas; i++) {
        if (&c->k->accs[c->k->mmas[i].acc] == a) {
            return c->k->mmas[i].fit;
        }
    }
    return 0;
}

// 'n' columns of one accumulator where 'some' holds, zeros elsewhere.
static void load_if(cg *c, ll_val some, ll_val at, int n, ll_val *out) {
    ll *b = c->b;
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

// The columns of a piece of one accumulator, or zeros when no k iteration or no instruction wrote them.
static void load_acc(cg *c, const lane_store *l, int i, ll_val first, ll_val *out) {
    ll *b = c->b;
    const tir_acc *a = &c->k->accs[l->accs[i]];
    ll_val some = has_value(c, a);
    int fit = fit_of(c, a);
    int n = fit > 0 ? fit : l->cols;
    while (l->cols % n != 0) {
        n /= 2;
    }
    for (int at = 0; at < l->cols; at += n) {
        ll_val column = ll_addi(b, first, at);
        ll_val there = fit > 0 ? ll_cmp(b, LL_SLT, column, cg_columns_there(c, a, fit)) : NULL;
        there = there && some ? ll_bin(b, LL_AND, there, some) : there ? there : some;
        load_if(c, there, ll_add(b, l->base[i], column), n, out + at);
    }
}

// --- Sub-tiles -----------------------------------------------------------------------------------

// Sub-tile that is the i-th to be read.
static ll_val order(cg *c, const lane_store *l, ll_val i) {
    ll *b = c->b;
    const tir_channel *ch = l->n_accs > 0 ? &c->k->channels[l->acc->channel] : NULL;
    if (!ch || ch->shared == 0) {
        return i;
    }
    ll_val down = ll_sub(b, ll_i32(b, l->n_subs - 1), i);
    ll_val even = ll_cmpi(b, LL_EQ, ll_get(b, c->chans[l->acc->channel].slot), 0);
    return ll_select(b, even, down, i);
}

// The piece from column 'first' of the accumulator on, 'at' in the sub-tile. Hands the slot back
// with the last piece of the last sub-tile that holds shared columns (without any: of the last of
// all).
static void load_piece(cg *c, const lane_store *l, ll_val sub, int at, ll_val first, cg_run *run) {
    ll *b = c->b;
    for (int a = 0; a < l->n_accs; a++) {
        run->acc[a] = ARENA_ARRAY(c->mem, ll_val, l->cols);
        load_acc(c, l, a, ll_addi(b, first, at), run->acc[a]);
    }
    if (l->n_accs > 0) {
        LL_INTR0(b, "llvm.nvvm.tcgen05.wait.ld");
    }
    for (int a = 0; a < l->n_accs; a++) {
        tie(c, run->acc[a], l->cols);
        for (int j = 0; j < l->cols; j++) {
            run->acc[a][j] = ll_to(b, run->acc[a][j], LL_F32);
        }
        if (tir_split(c->k) > 1 || c->k->walk.stream >= 0) {
            ll_val chunk = ll_bini(b, LL_LSHR, ll_addi(b, first, at), 2);
            cg_sums_add(c, l->accs[a], chunk, l->cols, run->acc[a]);
        }
    }
    if (l->s->release >= 0 && at + l->cols == l->s->sub_cols) {
        ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, sub, l->s->release_after - 1));
        cg_tmem_release(c, l->s->release);
        ll_if_end(b, f);
    }
}

static cg_frag frag_of(cg *c, const lane_store *l, ll_val first) {
    ll *b = c->b;
    const tir_acc *a = l->acc;
    cg_frag f = {.acc = a, .n_accs = l->n_accs, .cols = l->s->sub_cols, .box_rows = QUARTER_ROWS};
    for (int i = 0; i < l->n_accs; i++) {
        f.accs[i] = l->accs[i];
    }
    ll_val warp = l->n_accs > 0 ? ll_bini(b, LL_AND, c->warp, 3) : c->role_warp;
    f.row = ll_add(b, c->starts[a->row_loop], ll_muli(b, c->rank, a->row_rank_step));
    f.row = ll_add(b, f.row, ll_muli(b, warp, QUARTER_ROWS));
    f.col = ll_add(b, c->starts[a->col_loop], ll_muli(b, c->rank, a->col_rank_step));
    f.col = ll_add(b, f.col, first);
    return f;
}

static void store_sub(cg *c, int store, const lane_store *l, ll_val sub) {
    ll *b = c->b;
    ll_val first = ll_muli(b, order(c, l, sub), l->s->sub_cols);
    cg_frag f = frag_of(c, l, first);
    cg_sub *u = cg_sub_begin(c, store, &f);
    for (int at = 0; at < l->s->sub_cols && CG_OK(c); at += l->cols) {
        cg_run run = {.row = ll_add(b, f.row, c->lane),
                      .col = ll_addi(b, f.col, at),
                      .box_row = c->lane,
                      .box_col = at,
                      .n = l->cols};
        if (at > 0) {
            cg_warp_sync(c); // ptxas moves no reads across
        }
        load_piece(c, l, sub, at, first, &run);
        cg_sub_piece(c, u, 1, &run);
    }
    cg_sub_end(c, u);
}

// One element for the row of each lane, or for the tile: the first lane's.
static void store_single(cg *c, const lane_store *l) {
    ll *b = c->b;
    const tir_store *s = l->s;
    cg_frag f = frag_of(c, l, ll_i32(b, 0));
    cg_elem at = {.row = ll_add(b, f.row, c->lane), .col = f.col, .acc = l->acc};
    ll_val value = cg_expr(c, s->value, &at);
    ll_val ok;
    ll_val address = cg_element_address(c, s->param, s->n_axes, s->axes, &at, &ok);
    if (!tir_store_walks(c->k, s, l->acc->row_loop)) {
        ll_val first =
            ll_bin(b, LL_AND, ll_cmpi(b, LL_EQ, c->role_warp, 0), ll_cmpi(b, LL_EQ, c->lane, 0));
        ok = ll_bin(b, LL_AND, ok, first);
    }
    if (CG_OK(c)) {
        ll_val code = cg_pack(c, s->elem, 1, &value);
        if (tir_laid(&c->k->params[s->param]) != LAYOUT_LINEAR) {
            cg_layout_single(c, s, &at, code);
        } else {
            cg_store_global(c, elem_bits(s->elem), address, code, ok);
        }
    }
}

// What is reduced over the columns is the same for all of them.
static void hoist(cg *c, const lane_store *l) {
    cg_frag f = frag_of(c, l, ll_i32(c->b, 0));
    cg_elem at = {.row = ll_add(c->b, f.row, c->lane), .col = f.col, .acc = l->acc};
    cg_reduce_hoist(c, l->s->value, &at);
    cg_reduce_hoist(c, l->s->divide, &at);
}

static void store_subs(cg *c, int store, const lane_store *l) {
    ll *b = c->b;
    ll_var sub = ll_variable(b, LL_I32, "sub");
    ll_set(b, sub, ll_i32(b, 0));
    ll_loop loop = ll_loop_begin(b, "sub_tiles");
    ll_loop_while(b, &loop, ll_cmpi(b, LL_SLT, ll_get(b, sub), l->n_subs));
    store_sub(c, store, l, ll_get(b, sub));
    ll_set(b, sub, ll_addi(b, ll_get(b, sub), 1));
    ll_loop_end(b, loop);
}

void cg_store_lane(cg *c, int store) {
    lane_store l;
    if (!prepare(c, &c->k->stores[store], &l)) {
        return;
    }
    for (int i = 0; i < l.n_accs; i++) {
        l.base[i] = first_column(c, &c->k->accs[l.accs[i]]);
    }
    if (l.n_accs == 0 || cg_reduces(l.s->value) || cg_reduces(l.s->divide)) {
        hoist(c, &l);
    }
    if (l.n_accs == 0 && !tir_store_walks(c->k, l.s, l.acc->col_loop)) {
        store_single(c, &l);
    } else {
        store_subs(c, store, &l);
    }
    cg_reduce_done(c);
    if (l.s->release >= 0) {
        cg_advance(c, l.s->release);
    }
}

// --- Sums for another CTA ------------------------------------------------------------------------

static void give_acc(cg *c, int acc) {
    ll *b = c->b;
    const tir_acc *a = &c->k->accs[acc];
    lane_store l = {
        .acc = a, .accs = {acc}, .n_accs = 1, .cols = GIVE_COLS, .base = {first_column(c, a)}};
    ll_val values[GIVE_COLS];
    ll_var at = ll_variable(b, LL_I32, "column");
    ll_set(b, at, ll_i32(b, 0));
    ll_loop loop = ll_loop_begin(b, "columns");
    ll_val first = ll_get(b, at);
    ll_loop_while(b, &loop, ll_cmpi(b, LL_SLT, first, a->cols));
    load_acc(c, &l, 0, first, values);
    LL_INTR0(b, "llvm.nvvm.tcgen05.wait.ld");
    tie(c, values, GIVE_COLS);
    cg_sums_put(c, acc, ll_bini(b, LL_LSHR, first, 2), GIVE_COLS, values);
    ll_set(b, at, ll_addi(b, first, GIVE_COLS));
    ll_loop_end(b, loop);
}

void cg_lane_give(cg *c) {
    const tir_kernel *k = c->k;
    for (int i = 0; i < k->n_channels; i++) {
        if (k->channels[i].space != SPACE_TMEM || &k->roles[k->channels[i].to] != c->role) {
            continue;
        }
        for (int a = 0; a < k->n_accs; a++) {
            if (k->accs[a].channel == i) {
                give_acc(c, a);
            }
        }
        cg_tmem_release(c, i);
        cg_advance(c, i);
    }
}
