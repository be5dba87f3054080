// Channels: which values share a pipe, what one slot holds, how many slots, where everything lies.
//
// Requires: products, roles, stores (staging bytes).
// Provides: k->channels with boxes and tensor maps, k->operands, TMEM columns, depths; then
// (plan_barriers) arrival counts, transaction bytes, offsets of slots, staging and barriers.
//
// Shared memory: barriers and responses, slots of each channel, staging buffers, tables of scales,
// the f32 scales of slots.
// TMEM: slots of the accumulators from column 0, then the scale factors.
#include "plan_int.h"

#include <string.h>

// --- Boxes and maps ------------------------------------------------------------------------------

static tir_size *pitch_of(planner *p, int param) {
    tir_size *s = ARENA_NEW(p->mem, tir_size);
    *s = (tir_size){.op = SZ_PITCH, .dim = param};
    return s;
}

static int loop_number(const planner *p, const ast_sym *index) {
    int loop = graph_loop_of(p->g, index);
    return loop >= 0 ? loop : p->k->n_loops + graph_for_of(p->g, index);
}

// Where a box lies along an axis of which it has one element.
static tir_coord coord_of(const planner *p, const ast_expr *subscript) {
    graph_place at;
    graph_subscript(p->g, subscript, &at);
    int loop = at.index != NULL ? loop_number(p, at.index) : -1;
    return (tir_coord){loop, 1, at.div, at.add, 0};
}

// The subscript that loop 'loop' walks, other than the last one.
static int axis_of(const planner *p, int number, int loop) {
    const ast_expr *e = p->g->operands[number].expr;
    int i = e->n_args - 2;
    while (i > 0 && coord_of(p, e->args[i]).loop != loop) {
        i--;
    }
    return i;
}

// Scale factors are tiled over the innermost matrix: its rows must be those of the product.
static void check_scaled_rows(planner *p, int number) {
    const graph_operand *go = &p->g->operands[number];
    int n = go->expr->n_args;
    if (go->param->format->scale != ELEM_NONE &&
        axis_of(p, number, p->operands[number].row_loop) != n - 2) {
        PLAN_REFUSE(p, "A111", go->expr->span,
                    "scale factors of '%s' are tiled over '%s' and '%s', but its rows in this "
                    "product are '%s'",
                    go->param->name, expr_text(p->mem, go->expr->args[n - 2]),
                    expr_text(p->mem, go->expr->args[n - 1]),
                    p->k->loops[p->operands[number].row_loop].index);
    }
}

// A box begins at whole 16 bytes of a line (else: an illegal instruction on an H200).
static void check_line_start(planner *p, int number) {
    const plan_operand *po = &p->operands[number];
    const graph_operand *go = &p->g->operands[number];
    const tir_loop *l = &p->k->loops[po->row_loop];
    int step = 128 / elem_bits(go->param->format->elem);
    if (po->mn_major && l->lo != NULL && !tir_is_multiple(l->lo, step)) {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "tiles of '%s' begin anywhere, but '%s' has them along its last axis, where a "
                    "copy begins at a multiple of %d elements",
                    l->index, go->param->name, step);
        diag_help(
            p->d,
            "turn '%s' around, or let groups begin at such places: ragged ... to ... align %d;",
            go->param->name, step);
    }
}

// Whether the last step of a part that the summed loop walks can end before all it covers.
static bool cuts_steps(const planner *p, const plan_operand *po) {
    const tir_for *f = po->k_loop >= p->k->n_loops ? &p->k->fors[po->k_loop - p->k->n_loops] : NULL;
    return f != NULL && f->hi != NULL &&
           !(tir_is_multiple(f->lo, f->step) && tir_is_multiple(f->hi, f->step));
}

// Elements of a line that a copy can leave out: whole 16 bytes, the unit of a map's strides. That
// these may be shorter than a line the driver and an H200 take.
static int piece_of(const ast_format *f) {
    return TIR_CUT_BYTES * 8 / elem_bits(f->elem);
}

// Whether a part of a line can be copied. Not of padded elements, which come by 128, nor beside
// scales of one byte: those behind the end of a part may be NaN, and count.
static bool has_pieces(const plan_operand *po, const ast_format *format) {
    return (format->scale == ELEM_NONE || format->scale == ELEM_F32) &&
           po->container == elem_bits(format->elem);
}

// Whether copies end where parts do within a line.
static bool cuts_lines(const planner *p, const plan_operand *po, const ast_format *format) {
    const tir_for *f = &p->k->fors[po->k_loop - p->k->n_loops];
    int piece = piece_of(format);
    return has_pieces(po, format) && tir_is_multiple(f->lo, piece) &&
           tir_is_multiple(f->hi, piece) && tir_is_whole(p->k, f->extent, piece);
}

// An f32 scale is that of one part's elements.
static void check_part_scales(planner *p, const graph_operand *go, const tir_for *f) {
    const ast_format *format = go->param->format;
    int granule = format->scale == ELEM_F32 ? (int)format->granule[format->n_granule - 1] : 1;
    if (granule > 1 && !tir_is_multiple(f->lo, granule)) {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "parts of '%s' begin within granules of '%s', of which %d elements share a "
                    "scale with another part",
                    f->index, go->param->name, granule);
        diag_help(p->d,
                  "begin them at whole granules: 'ragged ... align %d', or 'in lo[g] / %d * %d .. "
                  "hi[g] / %d * %d'",
                  granule, granule, granule, piece_of(format), piece_of(format));
    }
}

// What such a step covers behind the part is another part's, and must not be added: lines can be
// left out of a box, elements of a line in whole pieces.
static void check_part(planner *p, int number) {
    const plan_operand *po = &p->operands[number];
    const graph_operand *go = &p->g->operands[number];
    if (!cuts_steps(p, po)) {
        return;
    }
    const tir_for *f = &p->k->fors[po->k_loop - p->k->n_loops];
    const ast_format *format = go->param->format;
    if (!po->mn_major && !cuts_lines(p, po, format)) {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "'%s' walks a part of its dimension, which is the last axis of '%s': the last "
                    "step of %d would bring elements of the next part",
                    f->index, go->param->name, f->step);
        diag_because(p->d,
                     "copies leave out whole lines; '%s' would have a line for each '%s' if it "
                     "were turned around",
                     go->param->name, f->index);
        diag_help(p->d,
                  "or let parts begin and end at whole steps: ragged ... by ... at ... align %d;",
                  f->step);
        if (has_pieces(po, format)) {
            diag_help(p->d,
                      "or at multiples of %d: ragged ... by ... at ... align %d; and a dimension that "
                      "is one, too: where .. %% %d == 0",
                      piece_of(format), piece_of(format), piece_of(format));
        }
    } else if (go->expr->n_args == PLAN_MAX_AXES) {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "'%s' walks a part of its dimension, for which a tensor map has an axis more "
                    "than '%s': %d are possible",
                    f->index, go->param->name, PLAN_MAX_AXES);
    } else {
        check_part_scales(p, go, f);
    }
}

// A map's axis 'at' ends within the tensor: a window on its lines, or on the bytes of each line (0),
// one axis more.
static void open_window(planner *p, int at, tir_map *m, tir_box *b) {
    for (int i = m->rank; i > at; i--) {
        m->dims[i] = m->dims[i - 1];
        m->strides[i] = m->strides[i - 1];
        m->box[i] = m->box[i - 1];
        b->coords[i] = b->coords[i - 1];
    }
    m->rank++;
    m->window = at;
    m->cuts = at == 0;
    m->dims[at] = size_int(p->mem, m->box[at]);
    if (m->cuts) {
        m->dims[1] = size_bin(p->mem, SZ_DIV, m->dims[1], size_int(p->mem, TIR_CUT_BYTES));
        m->strides[1] = size_int(p->mem, TIR_CUT_BYTES);
    }
    // behind the last line
    m->dims[at + 1] = size_bin(p->mem, SZ_ADD, m->dims[at + 1], size_int(p->mem, 1));
    m->box[at + 1] = 1;
}

// A slot holds an operand's tile as slabs of lines: a line is one swizzle span along the
// tensor's last axis, a slab has one for each row (or, where the rows lie along that axis,
// for each k of a step).
static tir_box data_box(planner *p, int number, tir_operand *op) {
    const graph_operand *go = &p->g->operands[number];
    const plan_operand *po = &p->operands[number];
    const tir_kernel *k = p->k;
    int param = go->param->id;
    int n = go->expr->n_args;
    int packed = elem_bits(go->param->format->elem);
    bool padded = po->container > packed; // map elements are then tensor elements, else bytes
    bool along = k->cluster > 1 && k->cluster_loop == po->row_loop; // each CTA has other rows
    // A pair's N side is halved too: each CTA holds half of it (PTX ISA, cta_group::2 operands).
    bool halved = along || (k->pair && !po->is_m_side);
    int rows = halved ? po->tile_rows / 2 : po->tile_rows;
    int lines = po->mn_major ? po->k_elems : rows;
    bool multicast = !halved && k->cluster_loop >= 0 && lines % 16 == 0;
    int box_lines = multicast ? lines / 2 : lines;
    int bytes = (po->mn_major ? rows : po->k_elems) * po->container / 8;
    int span = bytes % 128 == 0 ? 128 : bytes % 64 == 0 ? 64 : 32;
    tir_map m = {.param = param, .part = PART_DATA, .elem_bytes = 1, .rank = n};
    m.dtype = !padded ? 0 : packed == 4 ? TIR_PAD4 : TIR_PAD6;
    m.swizzle = span == 128 ? SWZ_128B : span == 64 ? SWZ_64B : SWZ_32B;
    m.dims[0] = k->params[param].dims[n - 1];
    if (!padded) {
        m.dims[0] = packed == 4
                        ? size_bin(p->mem, SZ_CEILDIV, m.dims[0], size_int(p->mem, 2))
                        : size_bin(p->mem, SZ_DIV,
                                   size_bin(p->mem, SZ_MUL, m.dims[0], size_int(p->mem, packed)),
                                   size_int(p->mem, 8));
    }
    m.box[0] = span;
    tir_box b = {.n_boxes = bytes / span,
                 .box_step = span,
                 .box_bytes = span * box_lines,
                 .box_pitch = span * lines,
                 .mask = multicast ? 3 : 0,
                 .rank_offset = multicast ? span * box_lines : 0};
    int inner = po->mn_major ? po->row_loop : po->k_loop;
    int outer = po->mn_major ? po->k_loop : po->row_loop;
    b.coords[0] = padded ? (tir_coord){inner, 1, 1, 0, 0}
                         : (tir_coord){inner, packed, 8, 0, po->mn_major && halved ? bytes : 0};
    int line = axis_of(p, number, outer);
    for (int axis = 1; axis < n; axis++) {
        int i = n - 1 - axis; // the map's axes begin with the innermost one
        m.dims[axis] = k->params[param].dims[i];
        m.strides[axis] =
            axis == 1 ? pitch_of(p, param)
                      : size_bin(p->mem, SZ_MUL, m.strides[axis - 1], k->params[param].dims[i + 1]);
        m.box[axis] = i == line ? box_lines : 1;
        bool split = multicast || (halved && !po->mn_major);
        b.coords[axis] = i == line
                             ? (tir_coord){outer, 1, 1, 0, split ? box_lines : 0}
                             : coord_of(p, go->expr->args[i]);
    }
    if (cuts_steps(p, po)) {
        open_window(p, po->mn_major ? n - 1 - line : 0, &m, &b);
    }
    if (padded) {
        // cuda.h "cuTensorMapEncodeTiled": addresses and strides of padded types
        k->params[param].align = 32;
    }
    b.map = plan_add_map(p, &m);
    op->rows = rows;
    op->swizzle = m.swizzle;
    op->row_bytes = span;
    op->mn_major = po->mn_major;
    return b;
}

// Matrices of scales lie one behind the other: map axes from 3 on.
static void outer_scales(planner *p, const graph_operand *go, tir_map *m, tir_box *b) {
    const tir_param *t = &p->k->params[go->param->id];
    int axis = 3;
    for (int i = go->expr->n_args - 3; i >= 0; i--, axis++) {
        m->dims[axis] = t->dims[i];
        if (axis == 3) {
            m->strides[axis] = ARENA_NEW(p->mem, tir_size);
            *m->strides[axis] = (tir_size){.op = SZ_SF_BYTES, .dim = go->param->id};
        } else {
            m->strides[axis] = size_bin(p->mem, SZ_MUL, m->strides[axis - 1], t->dims[i + 1]);
        }
        m->box[axis] = 1;
        b->coords[axis] = coord_of(p, go->expr->args[i]);
    }
}

// Tiles of 128x4 scales must begin where rows do: with the tensor, or with each
// group of ragged rows.
static bool check_scale_rows(planner *p, const graph_operand *go, int loop) {
    const tir_loop *l = &p->k->loops[loop];
    const tir_param *t = &p->k->params[go->param->id];
    bool fixed = l->lo == NULL || tir_is_multiple(l->lo, TIR_ATOM_ROWS);
    if (t->groups == NULL ? fixed : l->group >= 0) {
        return true;
    }
    if (t->groups != NULL) {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "the rows of '%s' are ragged, and so are its scales: walk them group by group, "
                    "'%s of %s[...]'",
                    t->name, l->index, go->param->dims[go->param->n_dims - 2]->name);
    } else {
        PLAN_REFUSE(p, "X101", go->expr->span,
                    "tiles of '%s' begin anywhere, but the scales of '%s' lie in tiles of 128 rows",
                    l->index, t->name);
        diag_help(p->d, "begin at 0, or cut the dimension: ragged ... by ... at ...;");
    }
    return false;
}

// Rows of the scale tensor in tiles of 128.
static tir_size *scale_blocks(planner *p, const tir_param *t) {
    tir_size *rows = t->dims[t->n_dims - 2];
    if (t->groups == NULL) {
        return size_bin(p->mem, SZ_CEILDIV, rows, size_int(p->mem, TIR_ATOM_ROWS));
    }
    tir_size *room = size_bin(p->mem, SZ_MUL, t->groups, size_int(p->mem, TIR_ATOM_ROWS - 1));
    return size_bin(p->mem, SZ_DIV, size_bin(p->mem, SZ_ADD, rows, room),
                    size_int(p->mem, TIR_ATOM_ROWS));
}

// Scales come as whole 128x4 tiles. A tile that starts inside one brings it whole; 'sf_loop' says
// whose start shifts into it.
static tir_box scale_box(planner *p, int number, tir_operand *op) {
    const graph_operand *go = &p->g->operands[number];
    const plan_operand *po = &p->operands[number];
    const tir_kernel *k = p->k;
    int param = go->param->id;
    int n = go->expr->n_args;
    int granule = k->params[param].granule;
    int atoms = tir_scale_words(po->k_elems, granule);
    bool along = k->cluster > 1 && k->cluster_loop == po->row_loop;
    // The N side of a pair multiplies all N columns in both CTAs: both need all its scales.
    bool own = along && !(k->pair && !po->is_m_side);
    int rows = own ? po->tile_rows / 2 : po->tile_rows;
    int step = tir_gcd(rows, TIR_ATOM_ROWS);
    int blocks = (TIR_ATOM_ROWS - step + rows + TIR_ATOM_ROWS - 1) / TIR_ATOM_ROWS;
    bool multicast = k->cluster_loop >= 0 && !own && blocks % 2 == 0;
    int box_blocks = multicast ? blocks / 2 : blocks;
    op->sf_rows = blocks * TIR_ATOM_ROWS;
    op->sf_loop = step < TIR_ATOM_ROWS ? po->row_loop : -1;
    tir_size *sf_cols = size_bin(p->mem, SZ_CEILDIV, k->params[param].dims[n - 1],
                                 size_int(p->mem, granule * TIR_ATOM_COLS));
    tir_map m = {.param = param, .part = PART_SCALE, .dtype = 2, .elem_bytes = 4, .rank = n + 1};
    m.dims[0] = size_int(p->mem, TIR_ATOM_BYTES / 4);
    m.dims[1] = sf_cols;
    m.dims[2] = scale_blocks(p, &k->params[param]);
    m.strides[1] = size_int(p->mem, TIR_ATOM_BYTES);
    m.strides[2] = size_bin(p->mem, SZ_MUL, sf_cols, size_int(p->mem, TIR_ATOM_BYTES));
    m.box[0] = TIR_ATOM_BYTES / 4;
    m.box[1] = atoms;
    m.box[2] = box_blocks;
    int bytes = box_blocks * atoms * TIR_ATOM_BYTES;
    tir_box b = {.n_boxes = 1,
                 .box_bytes = bytes,
                 .box_pitch = bytes,
                 .mask = multicast ? 3 : 0,
                 .rank_offset = multicast ? bytes : 0};
    b.coords[0] = (tir_coord){-1, 1, 1, 0, 0};
    b.coords[1] =
        (tir_coord){loop_number(p, go->expr->args[n - 1]->sym), 1, granule * TIR_ATOM_COLS, 0, 0};
    b.coords[2] = (tir_coord){po->row_loop, 1, TIR_ATOM_ROWS, 0,
                              own ? rows / TIR_ATOM_ROWS : multicast ? box_blocks : 0};
    outer_scales(p, go, &m, &b);
    b.map = plan_add_map(p, &m);
    return b;
}

// --- Channels of operands ------------------------------------------------------------------------

static bool same_channel(const planner *p, const plan_channel *c, int operand,
                         const fact_pipe *pipe) {
    const plan_operand *first = &p->operands[c->values[0]];
    return c->stated == pipe && c->level == p->g->operands[operand].level &&
           first->role == p->operands[operand].role;
}

static void group_operands(planner *p) {
    for (int i = 0; i < p->g->n_operands; i++) {
        const fact_pipe *pipe = facts_pipe_of(p->f, p->g->operands[i].param->name);
        int c = 0;
        while (c < p->n_channels && !same_channel(p, &p->channels[c], i, pipe)) {
            c++;
        }
        if (c == p->n_channels) {
            p->channels[p->n_channels++] =
                (plan_channel){.stated = pipe, .level = p->g->operands[i].level};
        }
        plan_channel *ch = &p->channels[c];
        ch->values[ch->n_values++] = i;
        p->operands[i].channel = c;
    }
}

// The role that consumes an operand: that of the products it feeds.
static int consumer_of(const planner *p, int operand) {
    for (int i = 0; i < p->k->n_mmas; i++) {
        if (p->k->mmas[i].a == operand || p->k->mmas[i].b == operand) {
            return p->mma_role[i];
        }
    }
    return -1;
}

static const char *joined(planner *p, const char *so_far, const char *name) {
    return so_far == NULL ? name : arena_printf(p->mem, "%s_%s", so_far, name);
}

static int box_total(const tir_box *b) {
    return b->n_boxes * b->box_pitch;
}

// All scales of a tensor one behind the other: with a single axis a run of them may begin within a
// row of scales, and rows need not be whole 16 bytes apart.
static int run_map(planner *p, int param, const tir_factor *f) {
    const tir_param *t = &p->k->params[param];
    tir_size *bytes = ARENA_NEW(p->mem, tir_size);
    *bytes = (tir_size){.op = SZ_SF_BYTES, .dim = param};
    for (int i = 0; i < t->n_dims - 2; i++) {
        bytes = size_bin(p->mem, SZ_MUL, bytes, t->dims[i]);
    }
    tir_map m = {.param = param, .part = PART_SCALE, .dtype = 2, .rank = 1,
                 .elem_bytes = TIR_SCALE_BYTES};
    m.dims[0] = size_bin(p->mem, SZ_DIV, bytes, size_int(p->mem, TIR_SCALE_BYTES));
    m.box[0] = f->run;
    return plan_add_map(p, &m);
}

// The f32 scales of a slot, one operand's behind the other's.
static void fill_factors(planner *p, plan_channel *pc) {
    for (int i = 0; i < pc->n_values; i++) {
        tir_operand *op = &p->k->operands[pc->values[i]];
        tir_factor f = tir_factors(p->k, pc->values[i]);
        if (f.mma >= 0) {
            op->factors = pc->factor_bytes;
            op->factor_map = f.run > 0 ? run_map(p, op->param, &f) : -1;
            pc->factor_bytes += tir_factor_bytes(&f);
        }
    }
}

// Boxes of one slot: data first (they are multiples of the swizzle's alignment), then scales.
static void fill_slot(planner *p, int number) {
    plan_channel *pc = &p->channels[number];
    tir_channel *c = &p->k->channels[number];
    *c = (tir_channel){.space = SPACE_SMEM, .from = p->operands[pc->values[0]].role};
    c->boxes = ARENA_ARRAY(p->mem, tir_box, 2 * pc->n_values);
    c->to = consumer_of(p, pc->values[0]);
    int at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < pc->n_values; i++) {
            int o = pc->values[i];
            check_scaled_rows(p, o);
            check_line_start(p, o);
            check_part(p, o);
            if (!p->ok) {
                return;
            }
            tir_operand *op = &p->k->operands[o];
            if (consumer_of(p, o) != c->to) {
                PLAN_REFUSE(p, "X101", p->g->operands[o].expr->span,
                            "operands of one pipe are used by one role; '%s' goes to another",
                            p->g->operands[o].param->name);
                return;
            }
            if (pass == 1 && !p->operands[o].scaled) {
                continue;
            }
            if (pass == 1 && !check_scale_rows(p, &p->g->operands[o], p->operands[o].row_loop)) {
                return;
            }
            tir_box b = pass == 0 ? data_box(p, o, op) : scale_box(p, o, op);
            b.offset = at;
            *(pass == 0 ? &op->data : &op->scale) = c->n_boxes;
            c->boxes[c->n_boxes++] = b;
            int parts = pass == 1 && b.mask != 0 ? 2 : 1;
            at += pass == 0 ? round_up(box_total(&b), PLAN_ALIGN) : parts * box_total(&b);
            if (pass == 0) {
                c->name = joined(p, c->name, p->g->operands[o].param->name);
            }
        }
    }
    pc->stage_bytes = round_up(at, PLAN_ALIGN);
    fill_factors(p, pc);
    c->factor_bytes = pc->factor_bytes;
}

// --- Accumulators --------------------------------------------------------------------------------

static void group_accs(planner *p) {
    if (p->arch->family != MMA_TCGEN05) {
        return;
    }
    for (int i = 0; i < p->g->n_accs; i++) {
        const fact_pipe *pipe = facts_pipe_of(p->f, p->g->accs[i]->name);
        int c = 0;
        for (c = 0; c < p->n_channels; c++) {
            bool tmem = p->channels[c].columns > 0;
            if (tmem && p->channels[c].stated == pipe &&
                p->accs[p->channels[c].values[0]].role == p->accs[i].role) {
                break;
            }
        }
        if (c == p->n_channels) {
            p->channels[p->n_channels++] =
                (plan_channel){.stated = pipe, .level = GRAPH_TILE_LEVEL};
        }
        plan_channel *ch = &p->channels[c];
        p->k->accs[i].channel = c;
        p->k->accs[i].column = ch->columns;
        ch->columns += p->k->accs[i].cols;
        ch->values[ch->n_values++] = i;
        p->accs[i].channel = c;
    }
}

// The role that reads an accumulator; all its stores must be in one.
static int reader_of(planner *p, int acc) {
    int reader = -1;
    for (int i = 0; i < p->g->n_stores; i++) {
        for (int j = 0; j < p->g->stores[i].n_accs; j++) {
            if (p->g->stores[i].accs[j] != p->g->accs[acc]) {
                continue;
            }
            if (reader >= 0 && reader != p->store_role[i]) {
                PLAN_REFUSE(p, "X101", p->g->stores[i].stmt->span,
                            "'%s' is read by two roles: no lowering yet", p->g->accs[acc]->name);
            }
            reader = p->store_role[i];
        }
    }
    return reader;
}

static void fill_acc_channel(planner *p, int number) {
    plan_channel *pc = &p->channels[number];
    tir_channel *c = &p->k->channels[number];
    *c = (tir_channel){.space = SPACE_TMEM, .from = p->accs[pc->values[0]].role, .to = -1};
    for (int i = 0; i < pc->n_values; i++) {
        int reader = reader_of(p, pc->values[i]);
        if (reader < 0) {
            PLAN_REFUSE(p, "X101", p->g->acc_stmts[pc->values[i]]->span,
                        "accumulator '%s' is never stored", p->g->accs[pc->values[i]]->name);
            return;
        }
        if (c->to >= 0 && reader != c->to) {
            PLAN_REFUSE(p, "X101", p->at, "accumulators of one pipe go to one role");
        }
        c->to = reader;
        c->name = joined(p, c->name, p->g->accs[pc->values[i]]->name);
    }
}

static void plan_scale_columns(planner *p) {
    for (int i = 0; i < p->g->n_operands; i++) {
        tir_operand *op = &p->k->operands[i];
        if (op->scale >= 0 && p->arch->family == MMA_TCGEN05) {
            int granule = p->k->params[op->param].granule;
            op->sf_column = p->sf_columns;
            p->sf_columns += op->sf_rows / 32 * tir_scale_words(p->operands[i].k_elems, granule);
        }
    }
}

void plan_channels(planner *p) {
    tir_kernel *k = p->k;
    group_operands(p);
    if (!p->ok) {
        return;
    }
    int smem_channels = p->n_channels;
    group_accs(p);
    k->channels = ARENA_ARRAY(p->mem, tir_channel, p->n_channels + 1);
    k->operands = ARENA_ARRAY(p->mem, tir_operand, p->g->n_operands + 1);
    k->n_operands = p->g->n_operands;
    for (int i = 0; i < k->n_operands; i++) {
        k->operands[i] = (tir_operand){.param = p->g->operands[i].param->id,
                                       .channel = p->operands[i].channel,
                                       .scale = -1,
                                       .factors = -1,
                                       .factor_map = -1,
                                       .sf_loop = -1};
    }
    for (int i = 0; i < p->n_channels && p->ok; i++) {
        if (i < smem_channels) {
            fill_slot(p, i);
        } else {
            fill_acc_channel(p, i);
        }
        k->n_channels++;
    }
    if (p->ok) {
        plan_scale_columns(p);
    }
}

// --- Barriers and places -------------------------------------------------------------------------

// Bytes that arrive on one full barrier in a phase.
static int full_bytes(const tir_kernel *k, const tir_channel *c) {
    int bytes = 0;
    for (int i = 0; i < c->n_boxes; i++) {
        const tir_box *b = &c->boxes[i];
        int ctas = 1;
        if (k->pair) { // everything that reaches either CTA is counted by the leader
            ctas = b->mask != 0 ? 4 : 2;
        } else if (b->mask != 0) {
            ctas = k->cluster;
        }
        bytes += b->n_boxes * tir_arriving(&k->maps[b->map], b->box_bytes) * ctas;
    }
    for (int i = 0; i < k->n_operands; i++) {
        if (&k->channels[k->operands[i].channel] == c && k->operands[i].factor_map >= 0) {
            tir_factor f = tir_factors(k, i);
            bytes += f.runs * f.run * TIR_SCALE_BYTES;
        }
    }
    return bytes;
}

static bool has_multicast(const tir_channel *c) {
    for (int i = 0; i < c->n_boxes; i++) {
        if (c->boxes[i].mask != 0) {
            return true;
        }
    }
    return false;
}

static int take_barriers(planner *p, int n) {
    int at = p->barrier_bytes;
    p->barrier_bytes += 8 * n;
    return at;
}

static void channel_barriers(planner *p, tir_channel *c) {
    const tir_kernel *k = p->k;
    const tir_role *to = &k->roles[c->to];
    c->full_bar = take_barriers(p, c->depth);
    c->empty_bars = c->shared > 0 ? 1 : c->depth;
    c->empty_bar = take_barriers(p, c->empty_bars);
    // the arming arrival, or the commit; lanes' copies
    c->full_count = 1 + (tir_lanes_bring(k, (int)(c - k->channels)) ? ARCH_LANES : 0);
    if (c->space == SPACE_SMEM) {
        c->full_bytes = full_bytes(k, c);
        bool shared = k->pair || has_multicast(c);
        c->release_mask = shared ? 3 : 0;
        if (p->arch->family == MMA_TCGEN05) {
            c->empty_count = shared && !k->pair ? k->cluster : 1; // commits
            c->empty_count += k->pair && tir_is_read_in_part(k, (int)(c - k->channels));
        } else {
            c->empty_count = tir_group_warps(to) * (shared ? k->cluster : 1);
        }
    } else {
        c->empty_count = to->n_warps * (k->pair ? 2 : 1);
    }
}

static void walk_barriers(planner *p) {
    tir_kernel *k = p->k;
    tir_walk *w = &k->walk;
    if (!tir_has_scheduler(k)) {
        return;
    }
    w->depth = w->kind == WALK_CLC ? PLAN_CLC_DEPTH : PLAN_ONE_DEPTH;
    w->full_bar = take_barriers(p, w->depth);
    w->empty_bar = take_barriers(p, w->depth);
    p->barrier_bytes = round_up(p->barrier_bytes, 16);
    w->resp_offset = p->barrier_bytes;
    p->barrier_bytes += tir_response_bytes(k) * w->depth;
}

// The type of scales whose table a product reads; ELEM_NONE: none.
static elem_kind table_of(const planner *p, const tir_mma *m) {
    return mma_folds(m->kind, m->decode) ? p->g->operands[m->a].param->format->scale : ELEM_NONE;
}

// The first product that reads the same table: one of the same role, which fills it.
static int first_with(const planner *p, int mma) {
    for (int i = 0; i < mma; i++) {
        if (p->mma_role[i] == p->mma_role[mma] &&
            table_of(p, &p->k->mmas[i]) == table_of(p, &p->k->mmas[mma])) {
            return i;
        }
    }
    return mma;
}

int plan_table_bytes(const planner *p) {
    int bytes = 0;
    for (int i = 0; i < p->k->n_mmas; i++) {
        elem_kind scale = table_of(p, &p->k->mmas[i]);
        bytes += scale != ELEM_NONE && first_with(p, i) == i
                     ? round_up(mma_table_bytes(scale), PLAN_ALIGN)
                     : 0;
    }
    return bytes;
}

// Returns the end of the tables that begin at 'at'.
static int place_tables(planner *p, int at) {
    for (int i = 0; i < p->k->n_mmas; i++) {
        tir_mma *m = &p->k->mmas[i];
        elem_kind scale = table_of(p, m);
        int first = first_with(p, i);
        if (scale != ELEM_NONE && first == i) {
            m->table = at;
            at += round_up(mma_table_bytes(scale), PLAN_ALIGN);
        } else if (scale != ELEM_NONE) {
            m->table = p->k->mmas[first].table;
        }
    }
    return at;
}

void plan_barriers(planner *p) {
    tir_kernel *k = p->k;
    p->barrier_bytes = 0;
    for (int i = 0; i < k->n_channels; i++) {
        channel_barriers(p, &k->channels[i]);
    }
    for (int i = 0; i < k->n_roles; i++) {
        bool staged = false;
        for (int j = 0; j < k->n_stores; j++) {
            staged |= p->store_role[j] == i && k->stores[j].via_smem;
        }
        if (k->roles[i].turns > 1 && staged) {
            k->roles[i].turn_bar = take_barriers(p, k->roles[i].turns);
        }
        if (p->sum_bytes[i] > 0 && tir_split(k) > 1) {
            k->roles[i].sum_bar = take_barriers(p, 2);
        }
    }
    walk_barriers(p);
    k->tmem_slot = p->barrier_bytes;
    int at = PLAN_BARRIER_BYTES;
    for (int i = 0; i < k->n_channels; i++) {
        if (k->channels[i].space == SPACE_SMEM) {
            k->channels[i].offset = at;
            k->channels[i].stride = p->channels[i].stage_bytes;
            at += k->channels[i].depth * p->channels[i].stage_bytes;
        }
    }
    for (int i = 0; i < k->n_stores; i++) {
        if (k->stores[i].via_smem) {
            k->stores[i].stage_offset = at;
            at += round_up(k->stores[i].stages * k->stores[i].stage_bytes, PLAN_ALIGN);
        }
    }
    for (int i = 0; i < p->n_roles; i++) {
        k->roles[i].sum_offset = p->sum_bytes[i] > 0 ? at : 0;
        at += p->sum_bytes[i];
    }
    at = round_up(place_tables(p, at), TIR_FACTOR_ALIGN);
    for (int i = 0; i < k->n_channels; i++) {
        tir_channel *c = &k->channels[i];
        c->factors = c->factor_bytes > 0 ? at : 0;
        at += c->depth * c->factor_bytes;
    }
    k->smem_bytes = at;
    if (p->barrier_bytes + 8 > PLAN_BARRIER_BYTES) {
        PLAN_REFUSE(p, "S201", p->at, "%d bytes of barriers exceed the %d reserved for them",
                    p->barrier_bytes + 8, PLAN_BARRIER_BYTES);
        diag_help(p->d, "less deep pipes");
    }
}
