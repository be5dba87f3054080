// FP8 products with f32 scales on sm_90a: the tensor core sums one granule of k (its FP8
// accumulator keeps 13 fraction bits, so that longer chains lose precision), the warps scale the
// sum and add it in f32.
//
// Scales lie in the slot of their data (factor.c). A thread reads those of its rows and columns in front of a
// step's products, or those of blocks behind them (wgmma.c): they are there when the sums are, and the slot is
// free as soon as the products are done.
#include "wgmma_int.h"

enum { FRAG_COLS = 8 };

static ll_val read_scale(cg *c, int operand, int granule, ll_val number) {
    ll_val at = cg_factor_at(c, operand, granule, number);
    return ll_load(c->b, LL_F32, ll_to(c->b, at, LL_SHARED), TIR_SCALE_BYTES, false);
}

// Number of the scale of row 'row' (of the CTA's).
static ll_val number_of(cg *c, const tir_factor *f, ll_val row) {
    return f->share == 1 ? row : ll_bini(c->b, LL_UDIV, ll_add(c->b, cg_factor_into(c, f), row), f->share);
}

wgmma_factors wgmma_begin_factors(cg *c, const tir_mma *m) {
    const tir_acc *t = &c->k->accs[m->acc];
    wgmma_factors f = {.n_rows = 2 * c->accs[m->acc].n_m, .n_cols = t->cols / 4};
    f.side = tir_factors(c->k, m->b);
    if (f.side.step % FRAG_COLS == 0) { // the columns of a fragment share one
        f.n_blocks = f.n_cols = f.side.count;
        f.into = cg_factor_into(c, &f.side);
    }
    f.rows = ARENA_ARRAY(c->mem, ll_val, f.n_rows);
    f.cols = ARENA_ARRAY(c->mem, ll_val, f.n_cols);
    return f;
}

void wgmma_load_factors(cg *c, const tir_mma *m, int granule, wgmma_factors *f) {
    ll *b = c->b;
    tir_factor rows = tir_factors(c->k, m->a);
    ll_val of_lane = ll_bini(b, LL_LSHR, c->lane, 2);
    ll_val first = ll_add(b, mma_warp_row(c, c->accs[m->acc].rows), of_lane);
    for (int i = 0; i < f->n_rows; i++) {
        ll_val number = number_of(c, &rows, ll_addi(b, first, (int64_t)i * 8));
        f->rows[i] = read_scale(c, m->a, granule, number);
    }
    ll_val q2 = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 3), 1);
    for (int i = 0; i < f->n_cols; i++) {
        ll_val column = ll_addi(b, q2, i / 2 * FRAG_COLS + i % 2);
        ll_val number = f->n_blocks > 0 ? ll_i32(b, i) : number_of(c, &f->side, column);
        f->cols[i] = read_scale(c, m->b, granule, number);
    }
}

// Products of a row's scale and the blocks', and which block a column fragment lies in.
static void block_factors(cg *c, const wgmma_factors *f, int row, int n_n, ll_val *out) {
    ll *b = c->b;
    ll_val *s = ARENA_ARRAY(c->mem, ll_val, f->n_blocks);
    int share = f->side.share, step = f->side.step;
    for (int i = 0; i < f->n_blocks; i++) {
        s[i] = cg_math2(c, "mul.rn.f32", f->rows[row], f->cols[i]);
    }
    for (int n = 0; n < n_n; n++) {
        int at = n * FRAG_COLS / step * step; // 'into' is a multiple of the step
        int first = at / share, last = (at + share - step) / share;
        ll_val v = s[first];
        for (int i = first + 1; i <= last; i++) {
            v = ll_select(b, ll_cmpi(b, LL_SGE, f->into, (int64_t)i * share - at), s[i], v);
        }
        out[2 * n] = out[2 * n + 1] = v;
    }
}

// Row half h of instruction j is group per_group * h + j of 8 rows (wgmma.c).
void wgmma_promote(cg *c, const wgmma_factors *f, const cg_acc *acc, const wgmma_part *part) {
    ll *b = c->b;
    ll_val *s = ARENA_ARRAY(c->mem, ll_val, 2 * acc->n_n);
    for (int half = 0; half < 2; half++) {
        int row = part->per_group * half + part->number;
        if (f->n_blocks > 0) {
            block_factors(c, f, row, acc->n_n, s);
        }
        for (int i = 0; i < 2 * acc->n_n; i++) {
            int at = (row / 2 * acc->n_n + i / 2) * 4 + row % 2 * 2 + i % 2;
            ll_val scale = s[i];
            if (f->n_blocks == 0) {
                scale = cg_math2(c, "mul.rn.f32", f->rows[row], f->cols[i]);
            }
            ll_val sum = ll_get(b, part->regs[i / 2 * 4 + half * 2 + i % 2]);
            ll_val args[] = {sum, scale, ll_get(b, acc->regs[at])};
            ll_set(b, acc->regs[at], cg_math(c, "fma.rn.f32", 3, args));
        }
    }
}
