// FP8 products with f32 scales on sm_90a: the tensor core sums one granule of k (its FP8
// accumulator keeps 13 fraction bits, so that longer chains lose precision), the warps scale the
// sum and add it in f32.
//
// Scales lie row-major, [rows / granule_rows][k / granule] of a matrix (layout "linear"). In a loop
// a thread reads those of its rows and columns a K step ahead, behind the step's own products, and
// moves them on at the end of the step: a copy between registers waits for the load, so that none
// may stand before the products.
#include "wgmma_int.h"

enum { FRAG_COLS = 8 };

// Where the scales of an operand lie for a granule of k.
typedef struct {
    ll_val base;  // global pointer to the matrix's scales of that granule
    ll_val pitch; // i64: bytes from one row of scales to the next
    ll_val last;  // i32: last row of the operand
    int share;    // rows that share a scale
} scale_place;

// Number of the matrix: the outer axes of the operand, which its box moves along.
static ll_val matrix_number(cg *c, const tir_operand *o) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    const tir_map *map = &c->k->maps[box->map];
    ll_val number = ll_i32(c->b, 0);
    for (int axis = map->rank - 1; axis >= 2; axis--) {
        number = ll_mul(c->b, number, cg_size(c, map->dims[axis]));
        number = ll_add(c->b, number, cg_coord(c, &box->coords[axis]));
    }
    return number;
}

static ll_val ceil_div(cg *c, ll_val x, int by) {
    return ll_bini(c->b, LL_UDIV, ll_addi(c->b, x, by - 1), by);
}

static scale_place place_of(cg *c, const tir_operand *o, ll_val k) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[o->param];
    ll_val per_row = ceil_div(c, cg_size(c, p->dims[p->n_dims - 1]), p->granule);
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, o->param, PART_SCALE), LL_I64);
    if (p->n_dims > 2) {
        ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, o->param, PART_SCALE);
        base = ll_add(b, base, ll_mul(b, ll_to(b, matrix_number(c, o), LL_I64), bytes));
    }
    ll_val granule = ll_bini(b, LL_UDIV, k, p->granule);
    return (scale_place){
        .base = ll_add(b, base, ll_bini(b, LL_SHL, ll_to(b, granule, LL_I64), 2)),
        .pitch = ll_bini(b, LL_SHL, ll_to(b, per_row, LL_I64), 2),
        .last = ll_addi(b, cg_size(c, p->dims[p->n_dims - 2]), -1),
        .share = p->granule_rows,
    };
}

// The scale of a row; rows behind the last one have no result, they read the last one's.
static ll_val scale_of(cg *c, const scale_place *s, ll_val row) {
    ll *b = c->b;
    ll_val in = ll_select(b, ll_cmp(b, LL_ULT, row, s->last), row, s->last);
    in = ll_bini(b, LL_UDIV, in, s->share);
    ll_val at = ll_add(b, s->base, ll_mul(b, ll_to(b, in, LL_I64), s->pitch));
    return ll_load(b, LL_F32, ll_to(b, at, LL_GLOBAL), 4, false);
}

static ll_val start_of(cg *c, int loop, int rank_step) {
    return ll_add(c->b, c->starts[loop], ll_muli(c->b, c->rank, rank_step));
}

// Blocks of columns that share a scale; how many a tile can meet depends on where it can start.
static void begin_blocks(cg *c, const tir_acc *t, int share, wgmma_factors *f) {
    int start = c->k->loops[t->col_loop].tile | t->col_rank_step;
    int step = start & -start; // the largest power of two in every start
    f->block = share;
    f->n_blocks = (t->cols + share - 1) / share;
    if (step < share || step % share != 0) {
        f->n_blocks = (t->cols + share - FRAG_COLS + share - 1) / share;
        f->into = ll_bini(c->b, LL_UREM, start_of(c, t->col_loop, t->col_rank_step), share);
    }
    f->n_cols = f->n_blocks;
}

wgmma_factors wgmma_begin_factors(cg *c, const tir_mma *m) {
    const tir_acc *t = &c->k->accs[m->acc];
    wgmma_factors f = {.n_rows = 2 * c->accs[m->acc].n_m, .n_cols = t->cols / 4};
    int share = c->k->params[c->k->operands[m->b].param].granule_rows;
    if (share % FRAG_COLS == 0) {
        begin_blocks(c, t, share, &f);
    }
    f.rows = ARENA_ARRAY(c->mem, ll_val, f.n_rows);
    f.cols = ARENA_ARRAY(c->mem, ll_val, f.n_cols);
    return f;
}

static void load_blocks(cg *c, const tir_acc *t, const scale_place *s, wgmma_factors *f) {
    ll *b = c->b;
    ll_val first = start_of(c, t->col_loop, t->col_rank_step);
    first = f->into ? ll_sub(b, first, f->into) : first;
    // Any column of a block serves. The lane's own keeps the value out of uniform registers, which
    // ptxas would move it to, and wait for it, in the step that loads it.
    first = ll_add(b, first, ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 3), 1));
    for (int i = 0; i < f->n_blocks; i++) {
        f->cols[i] = scale_of(c, s, ll_addi(b, first, (int64_t)i * s->share));
    }
}

static void load_columns(cg *c, const tir_acc *t, const scale_place *s, wgmma_factors *f) {
    ll *b = c->b;
    ll_val q2 = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 3), 1);
    ll_val first = ll_add(b, start_of(c, t->col_loop, t->col_rank_step), q2);
    for (int i = 0; i < f->n_cols; i++) {
        f->cols[i] = scale_of(c, s, ll_addi(b, first, i / 2 * FRAG_COLS + i % 2));
    }
}

void wgmma_load_factors(cg *c, const tir_mma *m, ll_val k, wgmma_factors *f) {
    ll *b = c->b;
    const tir_acc *t = &c->k->accs[m->acc];
    const cg_acc *acc = &c->accs[m->acc];
    scale_place rows = place_of(c, &c->k->operands[m->a], k);
    scale_place cols = place_of(c, &c->k->operands[m->b], k);
    ll_val first =
        ll_add(b, start_of(c, t->row_loop, t->row_rank_step), mma_warp_row(c, acc->rows));
    first = ll_add(b, first, ll_bini(b, LL_LSHR, c->lane, 2));
    for (int i = 0; i < f->n_rows; i++) {
        f->rows[i] = scale_of(c, &rows, ll_addi(b, first, (int64_t)i * 8));
    }
    if (f->n_blocks > 0) {
        load_blocks(c, t, &cols, f);
    } else {
        load_columns(c, t, &cols, f);
    }
}

// Products of a row's scale and the blocks', and which block a column fragment lies in.
static void block_factors(cg *c, const wgmma_factors *f, int row, int n_n, ll_val *out) {
    ll *b = c->b;
    ll_val *s = ARENA_ARRAY(c->mem, ll_val, f->n_blocks);
    for (int i = 0; i < f->n_blocks; i++) {
        s[i] = cg_math2(c, "mul.rn.f32", f->rows[row], f->cols[i]);
    }
    for (int n = 0; n < n_n; n++) {
        int at = n * FRAG_COLS;
        ll_val v = f->into ? s[0] : s[at / f->block];
        for (int i = 1; i < f->n_blocks && f->into; i++) {
            ll_val inside = ll_cmpi(b, LL_SGE, f->into, (int64_t)i * f->block - at);
            v = ll_select(b, inside, s[i], v);
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
