// How results leave: fragments of the storing role, sub-tiles, staging buffers.
//
// Requires: roles. Provides: k->stores, the maps of TMA stores, roles' fragments, p->staging_bytes
// (places in shared memory are given by plan_memory.c).
//
// A sub-tile is 'cols' columns of the CTA's tile. It is staged as one box a warp: the rows that the
// warp holds by its share of the columns, so that a warp stores what it wrote and waits for no
// other. Rows of the tile are lines of the box, or, where the tile's rows run along the tensor's
// innermost axis (a swapped product, a transposed result), its columns are.
#include "plan_int.h"

#include <string.h>

int plan_dtype(elem_kind e) {
    switch (e) { // CUtensorMapDataType
    case ELEM_BF16:
        return 9;
    case ELEM_F16:
        return 6;
    case ELEM_F32:
        return 7;
    case ELEM_I32:
        return 3;
    default:
        return 0; // bytes
    }
}

int plan_add_map(planner *p, const tir_map *map) {
    tir_kernel *k = p->k;
    if (k->maps == NULL) {
        k->maps = ARENA_ARRAY(p->mem, tir_map, 3 * GRAPH_MAX);
    }
    k->maps[k->n_maps] = *map;
    return k->n_maps++;
}

// Warpgroups of wgmma lie one below the other, and so do their warps: each has a
// quarter of the rows.
static bool choose_column(planner *p, tir_role *r, const tir_acc *a, ast_span at) {
    r->warps_m = tir_group_warps(r);
    r->warps_n = 1;
    for (int i = 0; i < p->k->n_mmas; i++) {
        const tir_mma *m = &p->k->mmas[i];
        if (&p->k->accs[m->acc] == a && p->operands[m->a].mn_major && a->rows != 16 * r->warps_m) {
            PLAN_REFUSE(p, "A111", at,
                        "'%s' lies along '%s' in memory: each warpgroup takes 64 rows of it, %d of "
                        "them take %d, the tile has %d",
                        p->g->operands[m->a].param->name, p->k->loops[a->row_loop].index,
                        r->warps_m / 4, 16 * r->warps_m, a->rows);
            plan_help_with(p, p->g->loops[a->row_loop],
                           16 * r->warps_m *
                               (p->k->cluster_loop == a->row_loop ? p->k->cluster : 1),
                           "64 rows for each");
            return false;
        }
    }
    if (a->rows % (16 * r->warps_m) == 0) {
        return true;
    }
    PLAN_REFUSE(p, "A111", at,
                "a tile of %d rows does not divide among %d warpgroups, which take 64 each",
                a->rows, r->warps_m / 4);
    plan_help_with(p, p->g->loops[a->row_loop],
                   round_up(a->rows, 16 * r->warps_m) *
                       (p->k->cluster_loop == a->row_loop ? p->k->cluster : 1),
                   "rows for all of them");
    return false;
}

// Warps of one group as a grid over the tile: nearly square warp tiles read the least.
static bool choose_grid(planner *p, tir_role *r, const tir_acc *a, ast_span at) {
    if (p->arch->family == MMA_WGMMA) {
        return choose_column(p, r, a, at);
    }
    int warps = tir_group_warps(r);
    int best = 0;
    for (int m = 1; m <= warps; m++) {
        int n = warps / m;
        if (warps % m != 0 || a->rows % (16 * m) != 0 || a->cols % (16 * n) != 0) {
            continue;
        }
        int cost = a->rows / m + a->cols / n;
        if (best == 0 || cost < best) {
            best = cost;
            r->warps_m = m;
            r->warps_n = n;
        }
    }
    if (best == 0) {
        PLAN_REFUSE(p, "A111", at,
                    "a tile of %d x %d does not divide among %d warps in pieces of 16 x 16",
                    a->rows, a->cols, warps);
        return false;
    }
    return true;
}

static bool plan_fragments(planner *p, int role, const tir_acc *a, ast_span at) {
    tir_role *r = &p->k->roles[role];
    if (p->arch->family == MMA_TCGEN05 || plan_is_elementwise(p)) {
        r->frag = FRAG_LANE_ROW;
        r->warps_m = r->n_warps;
        r->warps_n = 1;
        return true;
    }
    tir_frag_kind before = r->frag;
    int m = r->warps_m;
    r->frag = FRAG_MMA;
    if (!choose_grid(p, r, a, at)) {
        return false;
    }
    if (before == FRAG_MMA && m != r->warps_m) {
        PLAN_REFUSE(p, "X101", at,
                    "accumulators of different shapes in one role have no lowering yet");
        return false;
    }
    return true;
}

// The stored format: the last conversion of the value, or none for a tensor of the value's type.
static bool stored_value(planner *p, const graph_store *g, tir_store *s) {
    const ast_expr *e = g->stmt->value;
    const ast_format *f = g->param->format;
    s->elem = f->elem;
    s->scale = f->scale;
    s->granule = f->scale != ELEM_NONE ? (int)f->granule[f->n_granule - 1] : 0;
    if (f->scale == ELEM_F32) {
        PLAN_REFUSE(p, "X101", g->stmt->span,
                    "'%s' would be quantised with f32 scales: stores make scales of one byte",
                    g->param->name);
        diag_help(p->d,
                  "elements and scales in two tensors, by a kernel without products, as those of "
                  "lib/quant/fp8.tk: 'let s = max[n](abs(x)) / 448; Q[m, n] = %s(x / s); "
                  "S[m, n / BN] = s;'",
                  elem_name(f->elem));
        return false;
    }
    bool converts = e->kind == EX_CALL && e->call == CALL_CONVERT;
    if (converts && f->scale != ELEM_NONE && e->n_args == 2) {
        s->divide = plan_value(p, e->args[1]);
        if (s->divide == NULL) {
            return false;
        }
        s->divide = plan_as_f32(p, s->divide);
    }
    // What is added is rounded before, the sum once more; whole numbers are stored as they are.
    bool bare = converts && !g->stmt->accumulate && !elem_is_int(f->elem);
    s->value = plan_value(p, bare ? e->args[0] : e);
    if (s->value == NULL) {
        return false;
    }
    s->value = elem_is_int(f->elem) ? s->value : plan_as_f32(p, s->value);
    if (g->stmt->accumulate && f->scale != ELEM_NONE) {
        PLAN_REFUSE(p, "X101", g->stmt->span, "'+=' on a scaled tensor has no lowering yet");
        return false;
    }
    return true;
}

static bool value_loads(const tir_expr *e, int param) {
    bool found = e != NULL && tir_is_load(e) && e->ref == param;
    for (int i = 0; e != NULL && i < e->n_args && !found; i++) {
        found = value_loads(e->args[i], param);
    }
    return found;
}

// Another store of the tile writes the tensor, or a later one reads it: its elements must be there
// when this one's statement is over, which a bulk copy does not wait for.
static bool is_crossed(const planner *p, int number) {
    int param = p->k->stores[number].param;
    bool crossed = false;
    for (int i = 0; i < p->g->n_stores; i++) {
        const tir_store *s = &p->k->stores[i];
        crossed |= i != number && s->param == param;
        crossed |= i > number && (value_loads(s->value, param) || value_loads(s->divide, param));
    }
    return crossed;
}

// '+=': the copy engine adds f32 where they lie (PTX ISA "cp.reduce.async.bulk.tensor"; a map of
// type FLOAT32 keeps subnormals), which is one rounding to nearest, as add.rn is. Other elements
// round once more, so that warps read, add and write.
static bool plan_sum(planner *p, const graph_store *g, tir_store *s) {
    s->add = s->via_smem && s->elem == ELEM_F32 && s->value->type == ELEM_F32;
    if (s->add) {
        return true;
    }
    tir_expr *old = plan_expr(p, g->stmt->target);
    tir_expr *sum = ARENA_NEW(p->mem, tir_expr);
    *sum = (tir_expr){.kind = TX_BINARY, .type = s->value->type, .op = OP_ADD, .n_args = 2};
    sum->args = ARENA_ARRAY(p->mem, tir_expr *, 2);
    sum->args[0] = old;
    sum->args[1] = s->value;
    s->value = sum;
    return old != NULL;
}

// All accumulators of one store cover the same tile.
static const tir_acc *common_acc(planner *p, const graph_store *g) {
    if (plan_is_elementwise(p)) {
        return &p->k->accs[0];
    }
    const tir_acc *first = &p->k->accs[graph_acc_of(p->g, g->accs[0])];
    for (int i = 1; i < g->n_accs; i++) {
        const tir_acc *a = &p->k->accs[graph_acc_of(p->g, g->accs[i])];
        if (a->row_loop != first->row_loop || a->col_loop != first->col_loop) {
            PLAN_REFUSE(p, "X101", g->stmt->span, "'%s' and '%s' lie differently: no lowering yet",
                        first->name, a->name);
            return NULL;
        }
    }
    return first;
}

// Rows of the tile run along the tensor's innermost axis.
static bool is_transposed(const tir_store *s, const tir_acc *a) {
    return s->axes[s->n_axes - 1].loop == a->row_loop;
}

// Whether row and column of the tile are plain positions of the tensor, one of them innermost.
// Lines end where the index's bounds do by a window in the map, one axis more; a
// line itself cannot.
static bool tma_can_store(const tir_kernel *k, const tir_store *s, const tir_acc *a) {
    const tir_axis *last = &s->axes[s->n_axes - 1];
    int across = is_transposed(s, a) ? a->col_loop : a->row_loop; // numbers the lines
    int along = is_transposed(s, a) ? a->row_loop : a->col_loop;
    bool lines = false;
    if (k->loops[along].hi != NULL || s->n_axes + (k->loops[across].hi != NULL) > PLAN_MAX_AXES) {
        return false;
    }
    for (int i = 0; i < s->n_axes; i++) {
        const tir_axis *x = &s->axes[i];
        if (x->mul != 1 || x->div != 1) {
            return false;
        }
        if (lines && x->loop == across) {
            return false;
        }
        lines |= x->loop == across;
    }
    return lines && last->loop == along && last->add == 0;
}

// Why columns of the tile cannot be the lines of a box; NULL if they can.
static const char *lines_wrong(planner *p, const tir_store *s, int warp_rows, int warp_cols) {
    int bits = elem_bits(s->elem);
    int line = warp_rows * bits / 8;
    if (bits < 8) {
        return arena_printf(p->mem, "%d-bit results cannot be staged along the tile's rows", bits);
    }
    if (line != 32 && line != 64 && line != 128) {
        return arena_printf(p->mem,
                            "a warp's %d rows give lines of %d bytes along the tile's rows: 32, 64 "
                            "or 128 can be staged",
                            warp_rows, line);
    }
    if (warp_cols > 256) {
        return arena_printf(p->mem, "a warp has %d columns, a TMA box at most 256 lines",
                            warp_cols);
    }
    return NULL;
}

// Four warps that hold a row a lane gather the 128 rows of a scale tile and store it whole, where
// all of it belongs to them.
static bool stages_scales(const tir_kernel *k, const tir_store *s, const tir_acc *a,
                          const tir_role *r) {
    const tir_loop *rows = &k->loops[a->row_loop];
    return s->granule > 0 && r->frag == FRAG_LANE_ROW && a->rows == TIR_ATOM_ROWS &&
           (rows->hi == NULL || rows->group >= 0);
}

// Whether a box of so many elements (or lines) along the axis lies in one piece: boxes
// begin at multiples.
static bool is_in_one_piece(const tir_axis *x, int elements) {
    return x->piece == 0 || x->gap == 0 || (x->piece % elements == 0 && x->shift % elements == 0);
}

// Why a box of the sub-tile would cross from one piece of a mapped index into the
// next; NULL if none does.
static const char *pieces_wrong(planner *p, const tir_store *s, const tir_acc *a, int warp_rows,
                                int warp_cols) {
    bool transposed = is_transposed(s, a);
    int line = 128 * 8 / elem_bits(s->elem);
    for (int i = 0; i < s->n_axes; i++) {
        const tir_axis *x = &s->axes[i];
        int n = x->loop == a->row_loop ? warp_rows : x->loop == a->col_loop ? warp_cols : 1;
        bool along = i == s->n_axes - 1;
        n = along && n > line ? line : n;
        if (!is_in_one_piece(x, n)) {
            return arena_printf(
                p->mem, "a box of %d %s would cross pieces of %d (the first %d shorter) of '%s'", n,
                along != transposed ? "columns" : "rows", x->piece, x->shift,
                p->k->params[s->param].name);
        }
    }
    return NULL;
}

// Why a sub-tile of this many columns cannot be staged; NULL if it can.
static const char *sub_tile_wrong(planner *p, const tir_store *s, const tir_acc *a,
                                  const tir_role *r, int cols) {
    if (a->cols % cols != 0 || cols % (8 * r->warps_n) != 0) {
        return arena_printf(p->mem,
                            "%d columns do not divide into sub-tiles of %d with 8 or more for each "
                            "of %d warps side by side",
                            a->cols, cols, r->warps_n);
    }
    int warp_cols = cols / r->warps_n;
    const char *wrong = pieces_wrong(p, s, a, a->rows / r->warps_m, warp_cols);
    if (wrong != NULL) {
        return wrong;
    }
    if (is_transposed(s, a)) {
        return lines_wrong(p, s, a->rows / r->warps_m, warp_cols);
    }
    int row_bytes = warp_cols * elem_bits(s->elem) / 8;
    if (row_bytes < 16 ||
        (row_bytes > 128 ? row_bytes % 128 != 0 : (row_bytes & (row_bytes - 1)) != 0)) {
        return arena_printf(p->mem,
                            "a sub-tile of %d columns gives a warp rows of %d bytes: TMA takes 16, "
                            "32, 64 or multiples of 128",
                            cols, row_bytes);
    }
    if (s->granule > 0 && warp_cols % s->granule != 0) {
        return arena_printf(p->mem,
                            "a sub-tile of %d columns gives a warp %d: scales are shared by %d",
                            cols, warp_cols, s->granule);
    }
    if (stages_scales(p->k, s, a, r) && cols % (TIR_ATOM_COLS * s->granule) != 0) {
        return arena_printf(p->mem,
                            "a sub-tile of %d columns cuts a 128x4 scale tile of %d columns", cols,
                            TIR_ATOM_COLS * s->granule);
    }
    if (a->rows / r->warps_m > 256) {
        return arena_printf(p->mem, "a warp holds %d rows, a TMA box at most 256",
                            a->rows / r->warps_m);
    }
    return NULL;
}

// One 128-byte row a warp, or whole tiles of scales; else the nearest that can be staged; 0: none.
static int default_cols(planner *p, const tir_store *s, const tir_acc *a, const tir_role *r) {
    int best = s->granule > 0 ? TIR_ATOM_COLS * s->granule : 128 * 8 / elem_bits(s->elem);
    best = best > a->cols ? a->cols : best;
    for (int cols = best; cols <= a->cols; cols += 8) {
        if (sub_tile_wrong(p, s, a, r, cols) == NULL) {
            return cols;
        }
    }
    for (int cols = best; cols > 0; cols -= 8) {
        if (sub_tile_wrong(p, s, a, r, cols) == NULL) {
            return cols;
        }
    }
    return 0;
}

// Bytes of a box's line along the tensor's innermost axis.
static int line_bytes(const tir_store *s, const tir_acc *a, int warp_rows) {
    int bytes = (is_transposed(s, a) ? warp_rows : s->warp_cols) * elem_bits(s->elem) / 8;
    return bytes < 128 ? bytes : 128;
}

static void store_map(planner *p, const tir_store *s, const tir_acc *a, int warp_rows, tir_map *m) {
    const tir_param *t = &p->k->params[s->param];
    int bits = elem_bits(s->elem);
    bool transposed = is_transposed(s, a);
    int across = transposed ? a->col_loop : a->row_loop;
    int lines = transposed ? s->warp_cols : warp_rows;
    *m = (tir_map){
        .param = s->param, .part = PART_DATA, .dtype = plan_dtype(s->elem), .rank = s->n_axes};
    m->elem_bytes = m->dtype == 0 ? 1 : bits / 8;
    int span = line_bytes(s, a, warp_rows);
    m->swizzle = span == 128 ? SWZ_128B : span == 64 ? SWZ_64B : span == 32 ? SWZ_32B : SWZ_NONE;
    tir_size *stride = NULL;
    for (int i = 0; i < s->n_axes; i++) {
        int axis = s->n_axes - 1 - i;
        bool is_across = i > 0 && s->axes[axis].loop == across;
        tir_size *dim = t->dims[axis];
        if (i == 0 && bits < 8) {
            dim = size_bin(p->mem, SZ_CEILDIV, dim, size_int(p->mem, 8 / bits));
        }
        if (i == 1) {
            stride = ARENA_NEW(p->mem, tir_size);
            *stride = (tir_size){.op = SZ_PITCH, .dim = s->param};
        } else if (i > 1) {
            stride = size_bin(p->mem, SZ_MUL, stride, t->dims[axis + 1]);
        }
        int to = m->window > 0 ? i + 1 : i;
        m->dims[to] = dim;
        m->strides[to] = stride;
        m->box[to] = i == 0 ? span / m->elem_bytes : is_across ? lines : 1;
        if (is_across && p->k->loops[across].hi != NULL) { // a window on the lines
            m->window = i;
            // behind the last line
            m->dims[i + 1] = size_bin(p->mem, SZ_ADD, dim, size_int(p->mem, 1));
            m->strides[i + 1] = stride;
            m->box[i + 1] = 1;
            m->dims[i] = size_int(p->mem, lines);
            m->rank++;
        }
    }
}

static void plan_staging(planner *p, tir_store *s, const tir_acc *a, const tir_role *r) {
    int bits = elem_bits(s->elem);
    int warp_rows = a->rows / r->warps_m;
    s->stage_bytes = a->rows * s->sub_cols * bits / 8;
    if (stages_scales(p->k, s, a, r)) {
        s->scale_offset = s->stage_bytes;
        s->stage_bytes += s->sub_cols / (TIR_ATOM_COLS * s->granule) * TIR_ATOM_BYTES;
    }
    int span = line_bytes(s, a, warp_rows);
    s->stage_bytes = round_up(s->stage_bytes, span < 16 ? 128 : 8 * span); // the swizzle's period
    tir_map m;
    store_map(p, s, a, warp_rows, &m);
    s->map = plan_add_map(p, &m);
}

// Elements that one 16-byte step of a TMA store takes: lines end at whole steps, whatever the
// map says (measured on an H200), so that a line's end elsewhere would overwrite what follows
// in a pitched tensor.
static int line_step(const tir_store *s) {
    return 128 / elem_bits(s->elem);
}

static bool lines_are_whole(const tir_kernel *k, const tir_store *s) {
    return tir_is_whole(k, k->params[s->param].dims[s->n_axes - 1], line_step(s));
}

// A check of the launch, where the program's clauses do not say it.
static void demand_whole_lines(planner *p, const graph_store *g, const tir_store *s) {
    tir_kernel *k = p->k;
    const tir_param *t = &k->params[s->param];
    if (lines_are_whole(k, s)) {
        return;
    }
    tir_size *dim = t->dims[s->n_axes - 1];
    tir_where *w = &k->where[k->n_where++];
    int col = 0;
    src_place(p->req->src, g->stmt->span.file, g->stmt->span.off, &w->line, &col);
    tir_size *rest = size_bin(p->mem, SZ_MOD, dim, size_int(p->mem, line_step(s)));
    w->cond = size_bin(p->mem, SZ_EQ, rest, size_int(p->mem, 0));
    w->text = arena_printf(p->mem, "%s %% %d == 0, as TMA stores %s",
                           dim->op == SZ_DIM ? k->dims[dim->dim] : "the last axis", line_step(s),
                           t->name);
}

// The sub-tile: as stated, or derived.
static bool plan_sub_tile(planner *p, tir_store *s, const fact_store *stated, const tir_acc *a,
                          const tir_role *r) {
    if (stated != NULL && stated->via_smem && stated->cols > 0) {
        s->sub_cols = stated->cols;
        s->stages = stated->stages;
        const char *wrong = sub_tile_wrong(p, s, a, r, s->sub_cols);
        if (wrong != NULL) {
            PLAN_REFUSE(p, "A111", stated->size_span, "%s", wrong);
            int cols = default_cols(p, s, a, r);
            if (cols > 0) {
                diag_fix(p->d, plan_fact_span(p, stated->span),
                         arena_printf(p->mem, "store %s via smem by %d x %d;",
                                      p->k->params[s->param].name, cols, stated->stages),
                         "a sub-tile that can");
            }
            return false;
        }
    } else {
        s->sub_cols = default_cols(p, s, a, r);
        s->stages = p->arch->family == MMA_SYNC ? 1 : 2; // shared memory is the scarcer there
        if (s->sub_cols == 0) {
            s->via_smem = false;
        }
    }
    if (!s->via_smem) { // any width serves that keeps granules whole
        s->sub_cols = s->sub_cols == 0 ? a->cols : s->sub_cols;
        s->stages = 0;
    }
    s->warp_cols = s->sub_cols / r->warps_n;
    return true;
}

// Scales of ragged rows are known by their group; a row of them does not end inside of the tensor.
static bool check_ragged_scales(planner *p, const graph_store *g, const tir_store *s,
                                const tir_acc *a) {
    const tir_kernel *k = p->k;
    int rows = s->n_axes > 1 ? s->axes[s->n_axes - 2].loop : -1;
    if (k->loops[a->col_loop].hi != NULL) {
        PLAN_REFUSE(p, "X101", g->stmt->span,
                    "'%s' has scales along '%s', which ends within the tensor: no lowering yet",
                    g->param->name, k->loops[a->col_loop].index);
        return false;
    }
    if (k->params[s->param].groups != NULL && (rows < 0 || k->loops[rows].group < 0)) {
        PLAN_REFUSE(p, "X101", g->stmt->span,
                    "the rows of '%s' are ragged, and so are its scales: walk them group by group",
                    g->param->name);
        return false;
    }
    return true;
}

// One element for all columns of the tile, such as a scale at 'k / BK': each lane stores its row's.
static bool is_single(const tir_kernel *k, const tir_store *s, const tir_acc *a) {
    return a->channel < 0 && !tir_store_walks(k, s, a->col_loop);
}

static void plan_single(planner *p, tir_store *s, const tir_acc *a, const graph_store *g) {
    if (s->scale != ELEM_NONE || elem_bits(s->elem) < 8) {
        PLAN_REFUSE(p, "X101", g->stmt->span,
                    "'%s' is stored one element a row, its elements of %s do not stand alone",
                    g->param->name, g->param->format->name);
    }
    s->via_smem = false;
    s->sub_cols = s->warp_cols = a->cols;
}

// What lies between the pieces of a mapped index keeps its value, which is the caller's.
static bool check_pieces(planner *p, const graph_store *g, const tir_store *s, int axis) {
    const tir_axis *x = &s->axes[axis];
    const ast_expr *at = g->stmt->target->args[axis];
    bool mapped = at->kind == EX_BINARY && x->div == 1 && x->mul == 1;
    if (!mapped) {
        return true;
    }
    if (g->param->mode == MODE_OUT && (x->gap > 0 || x->add > 0)) {
        PLAN_REFUSE(p, "O107", at->span,
                    "'%s' leaves %d elements out%s, and '%s' is an output: all of it is written",
                    expr_text(p->mem, at), x->gap > 0 ? x->gap : x->add,
                    x->gap > 0 ? arena_printf(p->mem, " after each %d", x->piece)
                               : " before the first",
                    g->param->name);
        diag_help(p->d, "declare it inout: what is left out keeps its value");
        return false;
    }
    if (g->param->format->scale != ELEM_NONE || elem_bits(g->param->format->elem) < 8) {
        PLAN_REFUSE(p, "X101", at->span,
                    "'%s' is %s: its elements do not stand alone, a mapped index has no lowering",
                    g->param->name, g->param->format->name);
        return false;
    }
    return true;
}

// What is stored where.
static bool plan_target(planner *p, int number) {
    const graph_store *g = &p->g->stores[number];
    tir_store *s = &p->k->stores[number];
    *s = (tir_store){.param = g->param->id, .release = -1, .map = -1, .scale_offset = -1};
    const ast_expr *t = g->stmt->target;
    s->n_axes = t->n_args;
    s->axes = ARENA_ARRAY(p->mem, tir_axis, t->n_args + 1);
    if (t->n_args > 5) {
        PLAN_REFUSE(p, "X101", t->span, "a stored tensor has at most 5 axes");
        return false;
    }
    for (int i = 0; i < s->n_axes; i++) {
        if (!plan_target_axis(p, t->args[i], &s->axes[i]) || !check_pieces(p, g, s, i)) {
            return false;
        }
    }
    return stored_value(p, g, s);
}

// A padded layout is stored whole: zeros up to its next block. Each axis is walked by a side of the
// tile that has whole blocks; the columns may have one element a tile, where lanes hold the rows.
static bool check_laid(planner *p, const graph_store *g, const tir_store *s, const tir_acc *a) {
    const tir_kernel *k = p->k;
    layout_kind l = tir_laid(&k->params[s->param]);
    for (int i = s->n_axes - 2; l != LAYOUT_LINEAR && i < s->n_axes; i++) {
        const tir_axis *x = &s->axes[i];
        int block = i == s->n_axes - 1 ? layout_cols(l) : layout_rows(l);
        bool side = x->loop == a->row_loop || x->loop == a->col_loop;
        const tir_loop *loop = side ? &k->loops[x->loop] : NULL;
        bool lone = i == s->n_axes - 1 && is_single(k, s, a) &&
                    s->axes[s->n_axes - 2].loop == a->row_loop && x->loop == a->col_loop &&
                    x->div == loop->tile;
        if (!side || x->mul != 1 || x->add != 0 || x->piece > 0 || (x->div != 1 && !lone) ||
            loop->hi != NULL) {
            PLAN_REFUSE(p, "X101", g->stmt->target->args[i]->span,
                        "'%s' lies as %s, in blocks of %d x %d: only a whole side of the tile can "
                        "walk this axis",
                        g->param->name, k->params[s->param].layout, layout_rows(l), layout_cols(l));
            return false;
        }
        if (!lone && loop->tile % block != 0) {
            PLAN_REFUSE(p, "X101", g->stmt->target->args[i]->span,
                        "tiles of %d along '%s' cut the blocks of %d x %d in which '%s' lies (%s)",
                        loop->tile, loop->index, layout_rows(l), layout_cols(l), g->param->name,
                        k->params[s->param].layout);
            plan_help_with(p, p->g->loops[x->loop], round_up(loop->tile, block), "whole blocks");
            return false;
        }
    }
    return true;
}

// Why TMA cannot store it; NULL if it can.
static const char *bulk_wrong(planner *p, int number, const tir_acc *a) {
    const tir_store *s = &p->k->stores[number];
    const char *name = p->k->params[s->param].name;
    int along = is_transposed(s, a) ? a->row_loop : a->col_loop;
    if (tir_laid(&p->k->params[s->param]) != LAYOUT_LINEAR) {
        return arena_printf(p->mem, "'%s' lies as %s, not row by row: TMA cannot store it", name,
                            p->k->params[s->param].layout);
    }
    if (elem_bits(s->elem) == 6) {
        return arena_printf(
            p->mem, "elements of '%s' lie across bytes, which is not done in shared memory", name);
    }
    if (p->k->loops[along].hi != NULL) {
        return arena_printf(
            p->mem,
            "lines of '%s' end where '%s' does, within the tensor: a bulk copy has whole ones",
            name, p->k->loops[along].index);
    }
    if (!tma_can_store(p->k, s, a)) {
        return arena_printf(p->mem, "'%s' is not stored row by row: TMA cannot store it", name);
    }
    if (is_crossed(p, number)) {
        return arena_printf(p->mem,
                            "'%s' is stored and read again, or stored twice, in one tile: a bulk "
                            "copy is not over by then",
                            name);
    }
    return NULL;
}

// How it leaves.
static void plan_way(planner *p, int number) {
    const graph_store *g = &p->g->stores[number];
    const fact_store *stated = facts_store_of(p->f, g->param->name);
    ast_span at = stated != NULL ? stated->span : g->stmt->span;
    tir_store *s = &p->k->stores[number];
    const tir_acc *a = common_acc(p, g);
    if (a == NULL || !plan_fragments(p, p->store_role[number], a, g->stmt->span)) {
        return;
    }
    const tir_role *r = &p->k->roles[p->store_role[number]];
    const char *wrong = bulk_wrong(p, number, a);
    if (stated != NULL && stated->via_smem && wrong != NULL) {
        PLAN_REFUSE(p, "A111", at, "%s", wrong);
        diag_fix(p->d, plan_fact_span(p, at),
                 arena_printf(p->mem, "store %s via regs;", g->param->name),
                 "straight from registers");
        return;
    }
    if (!check_laid(p, g, s, a)) {
        return;
    }
    if (is_single(p->k, s, a)) {
        plan_single(p, s, a, g);
        if (p->ok && g->stmt->accumulate) {
            p->ok = plan_sum(p, g, s);
        }
        return;
    }
    s->via_smem = stated != NULL ? stated->via_smem : wrong == NULL && lines_are_whole(p->k, s);
    if (s->granule > 0 && s->axes[s->n_axes - 1].loop != a->col_loop) {
        PLAN_REFUSE(p, "X101", g->stmt->span, "scales along '%s' have no lowering yet",
                    p->k->loops[a->row_loop].index);
        return;
    }
    if (s->granule > 0 && !check_ragged_scales(p, g, s, a)) {
        return;
    }
    if (plan_sub_tile(p, s, stated, a, r) && s->via_smem) {
        plan_staging(p, s, a, r);
        demand_whole_lines(p, g, s);
    }
    if (p->ok && g->stmt->accumulate) {
        p->ok = plan_sum(p, g, s);
    }
}

void plan_stores(planner *p) {
    tir_kernel *k = p->k;
    k->stores = ARENA_ARRAY(p->mem, tir_store, p->g->n_stores + 1);
    for (int i = 0; i < p->g->n_stores && p->ok; i++) {
        p->ok = plan_target(p, i);
    }
    for (int i = 0; i < p->g->n_stores && p->ok; i++) {
        plan_way(p, i);
        k->n_stores++;
    }
    for (int i = 0; i < k->n_stores; i++) {
        const tir_store *s = &k->stores[i];
        p->staging_bytes += round_up(s->stages * s->stage_bytes, PLAN_ALIGN);
    }
}
