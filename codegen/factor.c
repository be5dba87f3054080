// f32 scales of operands on their way: from memory, [rows / granule_rows][k / granule] of a matrix
// row by row (layout "linear") or column by column, columns padded (layout "mn_major"),
// into the slots whose data they belong to, at tir_channel.factors.
//
// Runs of neighbours in memory (tir_factor) come as the data do, by copies of the thread that loads
// the channel. Other scales the lanes of its warp bring, a scale a copy (PTX ISA "cp.async"), and
// every lane arrives on the slot's full barrier when its copies are there
// ("cp.async.mbarrier.arrive", .noinc: the barrier counts these arrivals): the warp itself waits
// for no memory. A slot is free when the lanes of all readers have read it.
#include "cg_int.h"

// The first axis of a map of data behind those of a matrix: a window is one more of these.
static int outer_axes(const tir_map *m) {
    return tir_has_window(m) ? 3 : 2;
}

// Number of the matrix: the outer axes of the operand, which its box moves along.
static ll_val matrix_number(cg *c, const tir_operand *o) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    const tir_map *map = &c->k->maps[box->map];
    ll_val number = ll_i32(c->b, 0);
    for (int axis = map->rank - 1; axis >= outer_axes(map); axis--) {
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

static ll_val columns_of(cg *c, const tir_param *p) {
    ll_val columns = ll_addi(c->b, cg_size(c, p->dims[p->n_dims - 1]), p->granule - 1);
    return ll_bini(c->b, LL_UDIV, columns, p->granule);
}

// Scales in memory from one to that of the next row ...
static ll_val row_step(cg *c, const tir_param *p, const tir_factor *f) {
    return f->mn_major ? ll_i32(c->b, 1) : columns_of(c, p);
}

// ... and to that of the next granule of k.
static ll_val granule_step(cg *c, const tir_param *p, const tir_factor *f) {
    if (!f->mn_major) {
        return ll_i32(c->b, 1);
    }
    int unit = layout_rows(LAYOUT_MN_MAJOR), rows = unit * f->share;
    ll_val size = ll_addi(c->b, cg_size(c, p->dims[p->n_dims - 2]), rows - 1);
    return ll_muli(c->b, ll_bini(c->b, LL_UDIV, size, rows), unit);
}

static ll_val bytes_of(cg *c, ll_val scales) {
    return ll_bini(c->b, LL_SHL, ll_to(c->b, scales, LL_I64), 2);
}

static const tir_param *param_of(const cg *c, int operand) {
    return &c->k->params[c->k->operands[operand].param];
}

// The scale that covers the CTA's first row, counted along the rows.
static ll_val first_row(cg *c, const tir_factor *f) {
    ll_val start = ll_sub(c->b, factor_start(c, f), cg_factor_into(c, f));
    return ll_bini(c->b, LL_UDIV, start, f->share);
}

// The step's first granule of k.
static ll_val first_granule(cg *c, int operand, const tir_factor *f) {
    ll_val k = c->starts[c->k->n_loops + c->k->mmas[f->mma].loop];
    return ll_bini(c->b, LL_UDIV, k, param_of(c, operand)->granule);
}

// A step may reach behind the last granule of what its loop walks: there its elements are zeros,
// and the last one's scale will do.
static ll_val granule_at(cg *c, int operand, const tir_factor *f, int granule) {
    ll *b = c->b;
    ll_val first = first_granule(c, operand, f);
    if (granule == 0) {
        return first;
    }
    const tir_param *p = param_of(c, operand);
    int loop = c->k->mmas[f->mma].loop;
    ll_val end = columns_of(c, p);
    if (c->k->fors[loop].hi) {
        end = ll_bini(b, LL_UDIV, ll_addi(b, c->spans[loop].hi, p->granule - 1), p->granule);
    }
    return smaller(c, ll_addi(b, first, granule), ll_addi(b, end, -1));
}

// --- By lanes ------------------------------------------------------------------------------------

// Addresses of the first granule of k for the scales that a lane brings: its own number, 32 further
// and so on. Rows behind the last one have no result, they get the last one's.
static ll_val *lines_of(cg *c, int operand, const tir_factor *f) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    const tir_param *p = param_of(c, operand);
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, o->param, PART_SCALE), LL_I64);
    if (p->n_dims > 2) {
        ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, o->param, PART_SCALE);
        base = ll_add(b, base, ll_mul(b, ll_to(b, matrix_number(c, o), LL_I64), bytes));
    }
    ll_val pitch = bytes_of(c, row_step(c, p, f));
    ll_val last = ll_addi(b, cg_size(c, p->dims[p->n_dims - 2]), -1);
    last = ll_bini(b, LL_UDIV, last, f->share);
    ll_val first = ll_add(b, first_row(c, f), c->lane);
    ll_val *lines = ARENA_ARRAY(c->mem, ll_val, f->count / ARCH_LANES + 1);
    for (int i = 0; i * ARCH_LANES < f->count; i++) {
        ll_val row = smaller(c, ll_addi(b, first, (int64_t)i * ARCH_LANES), last);
        ll_val line = ll_add(b, base, ll_mul(b, ll_to(b, row, LL_I64), pitch));
        lines[i] = cg_keep(c, line, LL_I64); // not in every step: that holds up warps that multiply
    }
    return lines;
}

static void copy(cg *c, ll_val to, ll_val from) {
    LL_INTR(c->b, "llvm.nvvm.cp.async.ca.shared.global.4", ll_to(c->b, to, LL_SHARED),
            ll_to(c->b, from, LL_GLOBAL));
}

static void bring(cg *c, int operand, const tir_factor *f) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    ll_val *lines = c->lines && c->lines[operand] ? c->lines[operand] : lines_of(c, operand, f);
    ll_val pitch = bytes_of(c, granule_step(c, param_of(c, operand), f));
    for (int granule = 0; granule < f->granules; granule++) {
        ll_val at = ll_mul(b, ll_to(b, granule_at(c, operand, f, granule), LL_I64), pitch);
        int offset = o->factors + granule * f->count * TIR_SCALE_BYTES;
        ll_val to = ll_add(b, ll_addi(b, cg_factor_slot(c, o->channel), offset),
                           ll_muli(b, c->lane, TIR_SCALE_BYTES));
        for (int i = 0; i < f->count; i += ARCH_LANES) {
            int left = f->count - i;
            ll_if some = {0};
            if (left < ARCH_LANES) {
                some = ll_if_begin(b, ll_cmpi(b, LL_ULT, c->lane, left));
            }
            ll_val from = ll_add(b, lines[i / ARCH_LANES], at);
            copy(c, ll_addi(b, to, (int64_t)i * TIR_SCALE_BYTES), from);
            if (left < ARCH_LANES) {
                ll_if_end(b, some);
            }
        }
    }
}

// --- By runs -------------------------------------------------------------------------------------

// Number among all scales of the tensor, fewer than 2^31 as coordinates of a map are: of the CTA's
// first row and the first granule of k.
static ll_val line_of(cg *c, int operand, const tir_factor *f) {
    ll *b = c->b;
    const tir_param *p = param_of(c, operand);
    ll_val at = ll_mul(b, first_row(c, f), row_step(c, p, f));
    if (p->n_dims > 2) {
        ll_val rows = ll_addi(b, cg_size(c, p->dims[p->n_dims - 2]), f->share - 1);
        rows = f->mn_major ? granule_step(c, p, f) : ll_bini(b, LL_UDIV, rows, f->share);
        ll_val scales = ll_mul(b, rows, columns_of(c, p));
        at = ll_add(b, at, ll_mul(b, matrix_number(c, &c->k->operands[operand]), scales));
    }
    return at;
}

// In front of the steps: that, and the scales of a row.
static ll_val *kept_line(cg *c, int operand, const tir_factor *f) {
    ll_val *line = ARENA_ARRAY(c->mem, ll_val, 2);
    line[0] = cg_keep(c, line_of(c, operand, f), LL_I32);
    line[1] = cg_keep(c, columns_of(c, param_of(c, operand)), LL_I32);
    return line;
}

static void bring_runs(cg *c, int operand, const tir_factor *f) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    const tir_param *p = param_of(c, operand);
    ll_val *kept = c->lines ? c->lines[operand] : NULL;
    ll_val line = kept ? kept[0] : line_of(c, operand, f);
    ll_val columns = kept ? kept[1] : columns_of(c, p);
    ll_val to = ll_addi(b, cg_factor_slot(c, o->channel), o->factors);
    int pitch = tir_run_pitch(f);
    for (int i = 0; i < f->runs; i++) {
        ll_val granule = granule_at(c, operand, f, f->mn_major ? i : 0);
        ll_val at = ll_add(b, line, ll_mul(b, granule, granule_step(c, p, f)));
        if (!f->mn_major) {
            at = ll_add(b, at, ll_muli(b, columns, i));
        }
        at = f->aligned ? at : ll_bini(b, LL_AND, at, -TIR_RUN_STEP);
        cg_load_run(c, o->channel, o->factor_map, ll_addi(b, to, (int64_t)i * pitch), at);
    }
}

// --- In a slot -----------------------------------------------------------------------------------

// How many scales of its run stand in front of the first one wanted.
static ll_val skew_of(cg *c, int operand, const tir_factor *f, ll_val number) {
    ll *b = c->b;
    const tir_param *p = param_of(c, operand);
    ll_val at;
    if (f->mn_major) { // columns and matrices are whole steps long
        at = f->aligned ? ll_i32(b, 0) : first_row(c, f);
    } else if (tir_is_whole(c->k, p->dims[p->n_dims - 1], TIR_RUN_STEP * p->granule)) { // and rows here
        at = first_granule(c, operand, f);
    } else {
        ll_val *kept = c->lines ? c->lines[operand] : NULL;
        ll_val row = ll_mul(b, number, kept ? kept[1] : columns_of(c, p));
        at = ll_add(b, kept ? kept[0] : line_of(c, operand, f), row);
        at = ll_add(b, at, first_granule(c, operand, f));
    }
    return ll_bini(b, LL_AND, at, TIR_RUN_STEP - 1);
}

static ll_val in_run(cg *c, int operand, const tir_factor *f, int granule, ll_val number) {
    ll *b = c->b;
    ll_val skew = skew_of(c, operand, f, number);
    ll_val run = ll_i32(b, granule * tir_run_pitch(f)), at = number;
    if (!f->mn_major) {
        run = ll_muli(b, number, tir_run_pitch(f));
        at = ll_sub(b, granule_at(c, operand, f, granule), first_granule(c, operand, f));
    }
    return ll_add(b, run, ll_muli(b, ll_add(b, skew, at), TIR_SCALE_BYTES));
}

ll_val cg_factor_at(cg *c, int operand, int granule, ll_val number) {
    ll *b = c->b;
    const tir_operand *o = &c->k->operands[operand];
    tir_factor f = tir_factors(c->k, operand);
    ll_val slot = ll_addi(b, cg_factor_slot(c, o->channel), o->factors);
    if (f.run > 0) {
        return ll_add(b, slot, in_run(c, operand, &f, granule, number));
    }
    ll_val at = ll_addi(b, slot, (int64_t)granule * f.count * TIR_SCALE_BYTES);
    return ll_add(b, at, ll_muli(b, number, TIR_SCALE_BYTES));
}

// Whether the matrix of an operand follows from the tile and from loops around loop 'f'.
static bool is_fixed(const cg *c, const tir_operand *o, int f) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    const tir_map *map = &c->k->maps[box->map];
    for (int axis = outer_axes(map); axis < map->rank; axis++) {
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
        const tir_channel *ch = &c->k->channels[op->channel];
        bool from = ch->from == cg_role_number(c), to = ch->to == cg_role_number(c);
        if (here && (from || (to && t.run > 0)) && is_fixed(c, op, f)) {
            c->lines[o] = t.run > 0 ? kept_line(c, o, &t) : lines_of(c, o, &t);
        } else if (outer) {
            c->lines[o] = outer[o];
        }
    }
}

void cg_factors_load(cg *c, int ch, bool lanes) {
    for (int o = 0; o < c->k->n_operands; o++) {
        const tir_operand *op = &c->k->operands[o];
        if (op->channel != ch || op->factors < 0 || lanes != (op->factor_map < 0)) {
            continue;
        }
        tir_factor f = tir_factors(c->k, o);
        if (lanes) {
            bring(c, o, &f);
        } else {
            bring_runs(c, o, &f);
        }
    }
    if (lanes) {
        LL_INTR(c->b, "llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared",
                ll_to(c->b, cg_full_bar(c, ch), LL_SHARED));
    }
}
