// f32 scales of operands on their way: from memory, row-major [rows / granule_rows][k / granule] of a matrix
// (layout "linear"), into the slots whose data they belong to, at tir_channel.factors.
//
// The lanes of the warp that loads a channel bring them, four bytes a copy (PTX ISA "cp.async"), and every lane
// arrives on the slot's full barrier when its copies are there ("cp.async.mbarrier.arrive", .noinc: the barrier
// counts these arrivals). Nobody waits for memory here: with plain loads and stores, one step ahead, the loading
// warp waited for the L2 cache in every step. Readers' lanes are done
// before their warp says that the slot is free.
#include "cg_int.h"

enum { SCALE_BYTES = 4 };

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

static ll_val smaller(cg *c, ll_val x, ll_val y) {
    return ll_select(c->b, ll_cmp(c->b, LL_ULT, x, y), x, y);
}

ll_val cg_factor_into(cg *c, const tir_factor *f) {
    if (f->step % f->share == 0) {
        return ll_i32(c->b, 0);
    }
    return ll_bini(c->b, LL_UREM, cg_factor_start(c, f), f->share);
}

ll_val cg_factor_start(cg *c, const tir_factor *f) {
    return ll_add(c->b, c->starts[f->loop], ll_muli(c->b, c->rank, f->rank_step));
}

// Scales of one granule of the step.
typedef struct {
    ll_val base;  // i64: global address of the matrix's scales of the granule
    ll_val pitch; // i64: bytes from one row of scales to the next
    ll_val last;  // i32: the last row of scales
    ll_val first; // i32: the row of the slot's first scale
} source;

static source source_of(cg *c, int operand, const tir_factor *f, int granule) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    const tir_param *p = &c->k->params[o->param];
    ll_val columns = ll_addi(b, cg_size(c, p->dims[p->n_dims - 1]), p->granule - 1);
    columns = ll_bini(b, LL_UDIV, columns, p->granule);
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, o->param, PART_SCALE), LL_I64);
    if (p->n_dims > 2) {
        ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, o->param, PART_SCALE);
        base = ll_add(b, base, ll_mul(b, ll_to(b, matrix_number(c, o), LL_I64), bytes));
    }
    // A step may reach behind the last granule: there its elements are zeros.
    ll_val at = ll_bini(b, LL_UDIV, c->starts[c->k->n_loops + c->k->mmas[f->mma].loop], p->granule);
    at = smaller(c, ll_addi(b, at, granule), ll_addi(b, columns, -1));
    ll_val rows = ll_addi(b, cg_size(c, p->dims[p->n_dims - 2]), -1);
    ll_val start = ll_sub(b, cg_factor_start(c, f), cg_factor_into(c, f));
    return (source){
        .base = ll_add(b, base, ll_bini(b, LL_SHL, ll_to(b, at, LL_I64), 2)),
        .pitch = ll_bini(b, LL_SHL, ll_to(b, columns, LL_I64), 2),
        .last = ll_bini(b, LL_UDIV, rows, f->share),
        .first = ll_bini(b, LL_UDIV, start, f->share),
    };
}

// Rows behind the last one have no result, they get the last one's.
static void copy_one(cg *c, const source *s, ll_val number, ll_val to) {
    ll *b = c->b;
    ll_val row = smaller(c, ll_add(b, s->first, number), s->last);
    ll_val at = ll_add(b, s->base, ll_mul(b, ll_to(b, row, LL_I64), s->pitch));
    LL_INTR(b, "llvm.nvvm.cp.async.ca.shared.global.4", ll_to(b, to, LL_SHARED), ll_to(b, at, LL_GLOBAL));
}

// Scales lane, lane + 32, ... of each granule.
static void bring(cg *c, int operand) {
    ll *b = c->b;
    tir_factor f = tir_factors(c->k, operand);
    for (int granule = 0; granule < f.granules; granule++) {
        source s = source_of(c, operand, &f, granule);
        ll_val to = ll_add(b, cg_factor_addr(c, operand, granule), ll_muli(b, c->lane, SCALE_BYTES));
        for (int i = 0; i < f.count; i += ARCH_LANES) {
            int left = f.count - i;
            ll_if some = {0};
            if (left < ARCH_LANES) {
                some = ll_if_begin(b, ll_cmpi(b, LL_ULT, c->lane, left));
            }
            copy_one(c, &s, ll_addi(b, c->lane, i), ll_addi(b, to, (int64_t)i * SCALE_BYTES));
            if (left < ARCH_LANES) {
                ll_if_end(b, some);
            }
        }
    }
}

ll_val cg_factor_addr(cg *c, int operand, int granule) {
    const tir_operand *o = &c->k->operands[operand];
    int offset = o->factors + granule * tir_factors(c->k, operand).count * SCALE_BYTES;
    return ll_addi(c->b, cg_factor_slot(c, o->channel), offset);
}

void cg_factors_load(cg *c, int ch) {
    for (int o = 0; o < c->k->n_operands; o++) {
        if (c->k->operands[o].channel == ch && c->k->operands[o].factors >= 0) {
            bring(c, o);
        }
    }
    LL_INTR(c->b, "llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared", ll_to(c->b, cg_full_bar(c, ch), LL_SHARED));
}
