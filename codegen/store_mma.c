// Results in matrix fragments (mma.sync, wgmma) on their way out: the runs that a lane holds of its
// warp's rectangle, 16 rows and at most 64 columns at a time.
//
// PTX ISA "Matrix fragments", C and D: register i of a fragment is row g + 8 * (i / 2), column
// 2q + i % 2 of lane 4g + q.
#include "mma_int.h"

#include <math.h>

enum { FRAG_M = FRAG_ROWS_A, FRAG_N = FRAG_ROWS_B, PIECE_COLS = 64, OTHER_REGS = 48 };

typedef struct {
    int sub; // sub-tile
    int m;   // row fragment
    int col; // first column in the sub-tile ...
    int n_n; // ... and number of column fragments
} piece;

// Registers of an accumulator may hold the sum times a power of two (tir_acc.exponent).
static ll_val sum_in(cg *c, int acc, ll_var reg) {
    int exponent = c->k->accs[acc].exponent;
    ll_val v = ll_get(c->b, reg);
    return exponent == 0 ? v : cg_math2(c, "mul.rn.f32", v, ll_f32(c->b, ldexp(1, exponent)));
}

static int row_registers(const cg *c, int store) {
    const tir_store *s = &c->k->stores[store];
    return s->scale != ELEM_NONE || cg_store_loads(c, s) > 1 ? TIR_ROW_REGS : 0;
}

// Whether a store before this one reads the same sums and the registers have no room for a value
// an element beside them: what both compute would be kept from one to the other.
static bool computes_anew(cg *c, int store, const cg_frag *f) {
    bool first = true;
    int need = OTHER_REGS + 2 * cg_role_accs(c) + row_registers(c, store);
    for (int i = 0; i < store; i++) {
        need += row_registers(c, i);
        int accs[4];
        int n = cg_store_accs(c, &c->k->stores[i], accs);
        for (int a = 0; a < n * f->n_accs; a++) {
            first = first && accs[a / f->n_accs] != f->accs[a % f->n_accs];
        }
    }
    return !first && need >= cg_role_regs(c);
}

// Per half (8 rows), a pair of columns of each column fragment.
static void fill_runs(cg *c, const cg_frag *f, const piece *p, cg_run *runs) {
    ll *b = c->b;
    ll_val g = ll_bini(b, LL_LSHR, c->lane, 2);
    ll_val q2 = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 3), 1);
    for (int half = 0; half < 2; half++) {
        ll_val box_row = ll_addi(b, g, p->m * FRAG_M + half * 8);
        ll_val row = ll_add(b, f->row, box_row); // one value: runs of a row are known by it
        for (int n = 0; n < p->n_n; n++) {
            int col = p->col + n * FRAG_N;
            cg_run *r = runs++;
            *r = (cg_run){.row = row,
                          .col = ll_add(b, ll_addi(b, f->col, col), q2),
                          .box_row = box_row,
                          .first_row = p->m * FRAG_M,
                          .box_col = col,
                          .box_col_lane = q2,
                          .n = 2};
            for (int a = 0; a < f->n_accs; a++) {
                const cg_acc *acc = &c->accs[f->accs[a]];
                int frag = (p->sub * f->cols + col) / FRAG_N;
                int at = (p->m * acc->n_n + frag) * 4 + half * 2;
                r->acc[a] = ARENA_ARRAY(c->mem, ll_val, 2);
                for (int i = 0; i < 2; i++) {
                    ll_val v = sum_in(c, f->accs[a], acc->regs[at + i]);
                    r->acc[a][i] = f->anew ? cg_keep(c, v, LL_F32) : v;
                }
            }
        }
    }
}

// Whether the registers have no room for what so many columns read beside the accumulators: ptxas
// moves the reads of all pieces to the front, but not across a warp barrier.
static bool is_tight(const cg *c, const tir_store *s, int rows, int cols) {
    int n = OTHER_REGS + cg_role_accs(c);
    int elements = rows * cols / 32;
    return n + elements * cg_store_loads(c, s) > cg_role_regs(c);
}

// Columns of a piece: two fragments at least where they are an even number (stmatrix), and whole
// rows where four lanes share the scales of a row.
static int piece_cols(const cg *c, const tir_store *s, int cols) {
    int step = cols % (2 * FRAG_N) == 0 ? 2 * FRAG_N : FRAG_N;
    int n = s->scale != ELEM_NONE || cols < PIECE_COLS ? cols : PIECE_COLS;
    while (cols % n != 0 || (s->scale == ELEM_NONE && n > step && is_tight(c, s, FRAG_M, n))) {
        n -= step;
    }
    return n;
}

static void store_sub(cg *c, int store, cg_frag *f, int sub) {
    const tir_store *s = &c->k->stores[store];
    int cols = piece_cols(c, s, f->cols);
    cg_run *runs = ARENA_ARRAY(c->mem, cg_run, 2 * (cols / FRAG_N));
    cg_sub *u = cg_sub_begin(c, store, f);
    bool tight = is_tight(c, s, f->box_rows, f->cols);
    for (int m = 0; m < f->box_rows / FRAG_M; m++) {
        for (int col = 0; col < f->cols && CG_OK(c); col += cols) {
            piece p = {.sub = sub, .m = m, .col = col, .n_n = cols / FRAG_N};
            if (tight) {
                cg_warp_sync(c);
            }
            fill_runs(c, f, &p, runs);
            if (c->reduced) {
                c->first_half = 2 * m;
                c->own_rows[0] = runs[0].row;
                c->own_rows[1] = runs[p.n_n].row;
            }
            cg_sub_piece(c, u, 2 * p.n_n, runs);
        }
    }
    cg_sub_end(c, u);
}

// What is reduced for the rows that a lane has parts of, once for all columns.
static void hoist(cg *c, const tir_store *s, const cg_frag *f) {
    ll *b = c->b;
    ll_val first = ll_add(b, f->row, ll_bini(b, LL_LSHR, c->lane, 2));
    for (int m = 0; m < f->box_rows / FRAG_M && CG_OK(c); m++) {
        c->first_half = 2 * m;
        for (int half = 0; half < 2; half++) {
            c->own_rows[half] = ll_addi(b, first, m * FRAG_M + half * 8);
        }
        for (int half = 0; half < 2; half++) {
            cg_elem at = {.row = c->own_rows[half], .col = f->col, .acc = f->acc};
            cg_reduce_hoist(c, s->value, &at);
            cg_reduce_hoist(c, s->divide, &at);
        }
    }
}

static bool check_shapes(cg *c, const tir_store *s, const cg_frag *f) {
    const char *name = c->k->params[s->param].name;
    if (CG_OK(c) && f->n_accs == 0) {
        cg_fail(
            c,
            "'%s' is made of no accumulator: a role that holds tiles in registers stores what it "
            "multiplied",
            name);
    }
    const cg_acc *first = CG_OK(c) ? cg_accumulator(c, f->accs[0]) : NULL;
    for (int i = 0; i < f->n_accs && CG_OK(c); i++) {
        const cg_acc *a = cg_accumulator(c, f->accs[i]);
        if (!a || a->rows != first->rows || a->cols != first->cols || a->cols % f->cols ||
            f->cols % FRAG_N) {
            cg_fail(c, "'%s' is stored in pieces of %d columns from accumulators whose warps hold "
                       "other shapes", name, f->cols);
        }
    }
    return CG_OK(c);
}

void cg_store_mma(cg *c, int store) {
    ll *b = c->b;
    const tir_store *s = &c->k->stores[store];
    cg_frag f = {.quad = true, .cols = s->warp_cols > 0 ? s->warp_cols : FRAG_N};
    f.n_accs = cg_store_accs(c, s, f.accs);
    if (!check_shapes(c, s, &f)) {
        return;
    }
    const cg_acc *first = cg_accumulator(c, f.accs[0]);
    const tir_acc *t = &c->k->accs[f.accs[0]];
    f.acc = t;
    f.box_rows = first->rows;
    f.row = ll_add(b, c->starts[t->row_loop], ll_muli(b, c->rank, t->row_rank_step));
    f.row = ll_add(b, f.row, mma_warp_row(c, first->rows));
    ll_val col = ll_add(b, c->starts[t->col_loop], ll_muli(b, c->rank, t->col_rank_step));
    col = ll_add(b, col, mma_warp_col(c, first->cols));
    f.anew = computes_anew(c, store, &f);
    if (f.anew) {
        f.row = cg_keep(c, f.row, LL_I32);
        col = cg_keep(c, col, LL_I32);
    }
    if (cg_reduces(s->value) || cg_reduces(s->divide)) {
        f.col = col;
        hoist(c, s, &f);
    }
    for (int sub = 0; sub < first->cols / f.cols && CG_OK(c); sub++) {
        f.col = ll_addi(b, col, (int64_t)sub * f.cols);
        store_sub(c, store, &f, sub);
    }
    cg_reduce_done(c);
}
