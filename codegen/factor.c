// f32 scales of operands on their way: from memory, [rows / granule_rows][k / granule] of a matrix
// row by row (layout "linear") or column by column, columns padded (layout "mn_major"),
// into the slots whose data they belong to, at tir_channel.factors.
//
// The lanes of the warp that loads a channel bring them, a scale a copy or, where four lie side by
// side on a boundary of 16 bytes, four (PTX ISA "cp.async"), and every lane arrives on the slot's
// full barrier when its copies are there ("cp.async.mbarrier.arrive", .noinc: the barrier counts
// these arrivals): the warp itself waits for no memory. A slot is free when the lanes of all
// readers have read it.
#include "cg_int.h"

enum { SCALE_BYTES = 4, WIDE = 4 }; // scales of the widest copy, 16 bytes

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

// The first row of the CTA.
static ll_val factor_start(cg *c, const tir_factor *f) {
    return ll_add(c->b, c->starts[f->loop], ll_muli(c->b, c->rank, f->rank_step));
}

ll_val cg_factor_into(cg *c, const tir_factor *f) {
    if (f->step % f->share == 0) {
        return ll_i32(c->b, 0);
    }
    return ll_bini(c->b, LL_UREM, factor_start(c, f), f->share);
}

static bool is_mn_major(const tir_param *p) {
    return p->layout != NULL && layout_find(p->layout) == LAYOUT_MN_MAJOR;
}

// Scales that a lane brings at once: those of neighbouring rows where they lie and go side by side.
static int together(const tir_param *p, const tir_factor *f) {
    bool aligned = f->start % (WIDE * f->share) == 0 && f->count % WIDE == 0;
    return is_mn_major(p) && aligned ? WIDE : 1;
}

static ll_val columns_of(cg *c, const tir_param *p) {
    ll_val columns = ll_addi(c->b, cg_size(c, p->dims[p->n_dims - 1]), p->granule - 1);
    return ll_bini(c->b, LL_UDIV, columns, p->granule);
}

// Bytes from a scale to that of the next row ...
static ll_val row_pitch(cg *c, const tir_param *p) {
    if (is_mn_major(p)) {
        return ll_i64(c->b, SCALE_BYTES);
    }
    return ll_bini(c->b, LL_SHL, ll_to(c->b, columns_of(c, p), LL_I64), 2);
}

// ... and to that of the next granule of k.
static ll_val granule_pitch(cg *c, const tir_param *p, const tir_factor *f) {
    if (!is_mn_major(p)) {
        return ll_i64(c->b, SCALE_BYTES);
    }
    int unit = layout_rows(LAYOUT_MN_MAJOR), rows = unit * f->share;
    ll_val size = cg_size(c, p->dims[p->n_dims - 2]);
    ll_val padded = ll_bini(c->b, LL_UDIV, ll_addi(c->b, size, rows - 1), rows);
    return ll_muli(c->b, ll_to(c->b, padded, LL_I64), unit * SCALE_BYTES);
}

// Addresses of the first granule of k for the scales that a lane brings: from number 'each' * lane
// on, 'each' * 32 further and so on. Rows behind the last one have no result, they get the last
// one's.
static ll_val *lines_of(cg *c, int operand, const tir_factor *f) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    const tir_param *p = &c->k->params[o->param];
    int each = together(p, f);
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, o->param, PART_SCALE), LL_I64);
    if (p->n_dims > 2) {
        ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, o->param, PART_SCALE);
        base = ll_add(b, base, ll_mul(b, ll_to(b, matrix_number(c, o), LL_I64), bytes));
    }
    ll_val pitch = row_pitch(c, p);
    ll_val last = ll_addi(b, cg_size(c, p->dims[p->n_dims - 2]), -1);
    last = ll_bini(b, LL_UDIV, last, f->share);
    if (each > 1) {
        last = ll_bini(b, LL_AND, last, -each); // those behind the last row are padding
    }
    ll_val start = ll_sub(b, factor_start(c, f), cg_factor_into(c, f));
    ll_val of_lane = ll_muli(b, c->lane, each);
    ll_val first = ll_add(b, ll_bini(b, LL_UDIV, start, f->share), of_lane);
    ll_val *lines = ARENA_ARRAY(c->mem, ll_val, f->count / ARCH_LANES + 1);
    for (int i = 0; i * each * ARCH_LANES < f->count; i++) {
        ll_val row = smaller(c, ll_addi(b, first, (int64_t)i * each * ARCH_LANES), last);
        ll_val line = ll_add(b, base, ll_mul(b, ll_to(b, row, LL_I64), pitch));
        lines[i] = cg_keep(c, line, LL_I64); // not in every step: that holds up warps that multiply
    }
    return lines;
}

// Whether the matrix of an operand follows from the tile and from loops around loop 'f'.
static bool is_fixed(const cg *c, const tir_operand *o, int f) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    for (int axis = 2; axis < c->k->maps[box->map].rank; axis++) {
        if (box->coords[axis].loop >= c->k->n_loops + f) {
            return false;
        }
    }
    return true;
}

void cg_factors_begin(cg *c, int f) {
    ll_val **outer = c->lines;
    c->lines = ARENA_ARRAY(c->mem, ll_val *, c->k->n_operands + 1);
    for (int o = 0; o < c->k->n_operands; o++) {
        const tir_operand *op = &c->k->operands[o];
        tir_factor t = tir_factors(c->k, o);
        bool here = t.mma >= 0 && c->k->mmas[t.mma].loop == f;
        bool mine = c->k->channels[op->channel].from == cg_role_number(c);
        if (here && mine && is_fixed(c, op, f)) {
            c->lines[o] = lines_of(c, o, &t);
        } else if (outer) {
            c->lines[o] = outer[o];
        }
    }
}

static void copy(cg *c, int bytes, ll_val to, ll_val from) {
    // Four scales are read once: they pass by L1 (".cg").
    const char *name = bytes == SCALE_BYTES ? "llvm.nvvm.cp.async.ca.shared.global.4"
                                            : "llvm.nvvm.cp.async.cg.shared.global.16";
    LL_INTR(c->b, name, ll_to(c->b, to, LL_SHARED), ll_to(c->b, from, LL_GLOBAL));
}

static void bring(cg *c, int operand) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[c->k->operands[operand].param];
    tir_factor f = tir_factors(c->k, operand);
    int each = together(p, &f), bytes = each * SCALE_BYTES;
    ll_val *lines = c->lines && c->lines[operand] ? c->lines[operand] : lines_of(c, operand, &f);
    ll_val k = ll_bini(b, LL_UDIV, c->starts[c->k->n_loops + c->k->mmas[f.mma].loop], p->granule);
    ll_val last = ll_addi(b, columns_of(c, p), -1), pitch = granule_pitch(c, p, &f);
    for (int granule = 0; granule < f.granules; granule++) {
        // A step may reach behind the last granule: there its elements are zeros.
        ll_val at = granule > 0 ? smaller(c, ll_addi(b, k, granule), last) : k;
        at = ll_mul(b, ll_to(b, at, LL_I64), pitch);
        ll_val of_lane = ll_muli(b, c->lane, bytes);
        ll_val to = ll_add(b, cg_factor_addr(c, operand, granule), of_lane);
        for (int i = 0; i * each < f.count; i += ARCH_LANES) {
            int left = f.count / each - i;
            ll_if some = {0};
            if (left < ARCH_LANES) {
                some = ll_if_begin(b, ll_cmpi(b, LL_ULT, c->lane, left));
            }
            ll_val from = ll_add(b, lines[i / ARCH_LANES], at);
            copy(c, bytes, ll_addi(b, to, (int64_t)i * bytes), from);
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
    LL_INTR(c->b, "llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared",
            ll_to(c->b, cg_full_bar(c, ch), LL_SHARED));
}
