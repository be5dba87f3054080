// Checks of operands, accumulators, matrix instructions and stores: that the pieces which copies
// bring, instructions read and warps hold are the same pieces.
#include "tir_verify_int.h"

enum { MAX_TILE = 256, TCGEN05_ROWS = 128, WARP_ROWS = 32, FRAG_ROWS = 16, FRAG_COLS = 8 };

// --- Operands ------------------------------------------------------------------------------------

// The box of one part of an operand, or NULL and a message.
static const tir_box *box_of(verifier *v, const tir_operand *o, tir_part part) {
    const tir_kernel *k = v->k;
    const tir_channel *c = &k->channels[o->channel];
    int number = part == PART_DATA ? o->data : o->scale;
    if (!tir_in(number, 0, c->n_boxes - 1)) {
        tir_wrong(v, "operand '%s': channel '%s' has no box %d", verify_param_name(k, o->param),
                  c->name, number);
        return NULL;
    }
    const tir_box *b = &c->boxes[number];
    const tir_map *m = &k->maps[b->map];
    if (m->param != o->param || m->part != part) {
        tir_wrong(v, "operand '%s': box %d of channel '%s' brings something else",
                  verify_param_name(k, o->param), number, c->name);
        return NULL;
    }
    return b;
}

// The map's axis that the lines of a slab lie along: that of which a box holds the most.
static int line_axis(const tir_map *m) {
    int best = 1;
    for (int i = 2; i < m->rank; i++) {
        best = m->box[i] > m->box[best] ? i : best;
    }
    return best;
}

// The map's axis that the rows of a tile lie along.
static int row_axis(const tir_operand *o, const tir_map *m) {
    return o->mn_major ? 0 : line_axis(m);
}

// Bits of shared memory that an element takes.
static int container(const tir_kernel *k, const tir_operand *o) {
    const tir_map *m = &k->maps[k->channels[o->channel].boxes[o->data].map];
    return m->dtype == TIR_PAD4 || m->dtype == TIR_PAD6 ? 8 : elem_bits(k->params[o->param].elem);
}

static bool verify_data(verifier *v, const tir_operand *o, const char *name) {
    const tir_box *b = box_of(v, o, PART_DATA);
    if (b == NULL) {
        return false;
    }
    const tir_map *m = &v->k->maps[b->map];
    VERIFY(v, m->rank >= 2, "operand '%s': its map has rank %d", name, m->rank);
    int box_lines = m->box[line_axis(m)];
    int rows = o->mn_major ? b->n_boxes * o->row_bytes * 8 / container(v->k, o)
                           : box_lines * verify_shares(v->k, b);
    VERIFY(v, o->rows == rows, "operand '%s': %d rows, but its boxes bring %d", name, o->rows,
           rows);
    VERIFY(v, o->swizzle == m->swizzle && o->swizzle != SWZ_NONE,
           "operand '%s': swizzle of %d bytes, its map's is %d", name,
           (unsigned)o->swizzle <= SWZ_128B ? verify_span(o->swizzle) : -1,
           verify_span(m->swizzle));
    VERIFY(v, o->row_bytes == verify_span(o->swizzle),
           "operand '%s': rows of %d bytes in a swizzle of %d", name, o->row_bytes,
           verify_span(o->swizzle));
    VERIFY(v, b->box_bytes == o->row_bytes * box_lines, "operand '%s': boxes of more than a matrix",
           name);
    VERIFY(v, b->mask == 0 || b->rank_offset == b->box_bytes,
           "operand '%s': shares %d bytes apart are %d long", name, b->rank_offset, b->box_bytes);
    return true;
}

static bool verify_scale(verifier *v, const tir_operand *o, const char *name) {
    const tir_kernel *k = v->k;
    elem_kind scale = k->params[o->param].scale; // f32 scales are no box: verify_factors
    bool scaled = scale != ELEM_NONE && scale != ELEM_F32;
    VERIFY(v, scaled == (o->scale >= 0) && o->scale >= -1,
           "operand '%s': box %d brings its scales; it %s", name, o->scale,
           scaled ? "has some" : "has none");
    if (!scaled) {
        return true;
    }
    const tir_box *b = box_of(v, o, PART_SCALE);
    if (b == NULL) {
        return false;
    }
    const tir_map *m = &k->maps[b->map];
    VERIFY(v,
           m->rank >= 3 && m->swizzle == SWZ_NONE && m->box[0] * m->elem_bytes == TIR_ATOM_BYTES &&
               b->n_boxes == 1,
           "operand '%s': its scales do not come in one box of whole tiles of %d bytes", name,
           TIR_ATOM_BYTES);
    int rows = m->box[2] * verify_shares(k, b) * TIR_ATOM_ROWS;
    VERIFY(v, o->sf_rows == rows, "operand '%s': sf_rows is %d, but its boxes bring %d", name,
           o->sf_rows, rows);
    VERIFY(v, b->box_bytes == m->box[2] * m->box[1] * TIR_ATOM_BYTES,
           "operand '%s': scales of more than a matrix", name);
    VERIFY(v, b->mask == 0 || b->rank_offset == b->box_bytes,
           "operand '%s': shares of scales %d bytes apart are %d long", name, b->rank_offset,
           b->box_bytes);
    return true;
}

static bool verify_operand(verifier *v, const tir_operand *o, int number) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(o->param, 0, k->n_params - 1) && k->params[o->param].is_tensor,
           "operand #%d is no tensor", number);
    const char *name = k->params[o->param].name;
    VERIFY(v, tir_in(o->channel, 0, k->n_channels - 1) &&
                  k->channels[o->channel].space == SPACE_SMEM,
           "operand '%s' comes by no channel in shared memory", name);
    VERIFY(v, tir_in(o->sf_loop, -1, k->n_loops - 1), "operand '%s': no loop #%d", name,
           o->sf_loop);
    return verify_data(v, o, name) && verify_scale(v, o, name);
}

// --- Accumulators --------------------------------------------------------------------------------

static bool verify_acc_side(verifier *v, const tir_acc *a, bool rows) {
    const tir_kernel *k = v->k;
    int loop = rows ? a->row_loop : a->col_loop;
    int size = rows ? a->rows : a->cols;
    int step = rows ? a->row_rank_step : a->col_rank_step;
    const char *side = rows ? "rows" : "cols";
    VERIFY(v, tir_in(loop, 0, k->n_loops - 1), "acc '%s': its %s follow no loop", a->name, side);
    VERIFY(v, tir_in(size, 1, MAX_TILE), "acc '%s': %d %s; 1 to %d", a->name, size, side, MAX_TILE);
    bool split = k->cluster > 1 && k->cluster_loop == loop;
    int tile = k->loops[loop].tile;
    VERIFY(v, tile == size * (split ? k->cluster : 1),
           "acc '%s': %d %s a CTA of tiles of %d along '%s'", a->name, size, side, tile,
           k->loops[loop].index);
    VERIFY(v, step == (split ? size : 0), "acc '%s': its %s are %d a rank apart, not %d", a->name,
           side, step, split ? size : 0);
    return true;
}

static const tir_role *reader_of(const tir_kernel *k, const tir_acc *a) {
    bool in_channel = tir_in(a->channel, 0, k->n_channels - 1);
    return in_channel && tir_in(k->channels[a->channel].to, 0, k->n_roles - 1)
               ? &k->roles[k->channels[a->channel].to]
               : NULL;
}

static bool verify_acc_home(verifier *v, const tir_acc *a) {
    const tir_kernel *k = v->k;
    const tir_role *r = &k->roles[a->role];
    if (a->channel == -1 && r->frag == FRAG_LANE_ROW) { // the tile of a role without products
        VERIFY(v, a->rows == WARP_ROWS * r->warps_m, "acc '%s': %d rows over %d warps of 32 lanes",
               a->name, a->rows, r->warps_m);
        return true;
    }
    if (v->arch->family == MMA_TCGEN05) {
        const tir_role *reader = reader_of(k, a);
        VERIFY(v, reader == NULL || (reader->n_warps == 4 && reader->turns == 1),
               "acc '%s': 4 warps, one for each quarter of the lanes, read TMEM; role '%s' has %d",
               a->name, reader->name, reader->n_warps);
        VERIFY(v, tir_in(a->channel, 0, k->n_channels - 1) &&
                      k->channels[a->channel].space == SPACE_TMEM,
               "acc '%s' lies in no TMEM channel", a->name);
        VERIFY(v, k->channels[a->channel].from == a->role,
               "acc '%s' is of role '%s', its channel not", a->name, r->name);
        VERIFY(v, tir_in(a->column, 0, v->arch->tmem_columns), "acc '%s' starts at column %d",
               a->name, a->column);
        VERIFY(v, a->rows == TCGEN05_ROWS && a->cols % 16 == 0,
               "acc '%s': %d x %d; tcgen05 takes 128 rows a CTA and columns in steps of 16",
               a->name, a->rows, a->cols);
        return true;
    }
    VERIFY(v, a->channel == -1, "acc '%s' lies in a channel; here it is in registers", a->name);
    VERIFY(v, r->frag == FRAG_MMA, "acc '%s': role '%s' holds no fragments", a->name, r->name);
    VERIFY(v, a->rows % (FRAG_ROWS * r->warps_m) == 0 && a->cols % (FRAG_COLS * r->warps_n) == 0,
           "acc '%s': %d x %d over %d x %d warps in pieces of %d x %d", a->name, a->rows, a->cols,
           r->warps_m, r->warps_n, FRAG_ROWS, FRAG_COLS);
    VERIFY(v, v->arch->family != MMA_WGMMA || (r->warps_n == 1 && r->warps_m % ARCH_WG_WARPS == 0),
           "acc '%s': a grid of %d x %d warps; warpgroups of wgmma lie below each other", a->name,
           r->warps_m, r->warps_n);
    return true;
}

static bool verify_acc(verifier *v, const tir_acc *a, int number) {
    const tir_kernel *k = v->k;
    VERIFY(v, a->name != NULL, "acc #%d has no name", number);
    VERIFY(v, tir_in(a->role, 0, k->n_roles - 1), "acc '%s' is of no role", a->name);
    VERIFY(v, a->row_loop != a->col_loop, "acc '%s': rows and columns follow the same loop",
           a->name);
    return verify_acc_side(v, a, true) && verify_acc_side(v, a, false) && verify_acc_home(v, a);
}

// --- Products ------------------------------------------------------------------------------------

typedef struct {
    const tir_mma *m;
    const mma_info *kind;
    const tir_acc *acc;
    const tir_operand *o;
    bool m_side;
    const char *name;
} side;

static bool verify_side_format(verifier *v, const side *s) {
    const tir_param *p = &v->k->params[s->o->param];
    elem_kind elem = s->m_side ? s->kind->a : s->kind->b;
    if (s->m->decode && s->m_side) {
        VERIFY(v, p->elem == ELEM_E2M1 && (p->scale == ELEM_UE4M3 || p->scale == ELEM_UE8M0),
               "mma %s: operand '%s' is %s, which is not decoded", s->kind->name, s->name,
               elem_name(p->elem));
        return true;
    }
    bool wide = s->m->promote > 0 && p->scale == ELEM_F32 && p->granule == s->m->promote;
    bool cut = elem == ELEM_TF32 && p->elem == ELEM_F32; // its low bits are not looked at
    VERIFY(v,
           (p->elem == elem || cut) &&
               (wide || (p->scale == s->kind->scale && mma_takes(s->kind, p->granule))),
           "mma %s: operand '%s' is %s with scales %s by %d", s->kind->name, s->name,
           elem_name(p->elem), p->scale == ELEM_NONE ? "none" : elem_name(p->scale), p->granule);
    return true;
}

// The rows: as many as the accumulator's side has, and walked by the same loop.
static bool verify_side_rows(verifier *v, const side *s) {
    const tir_kernel *k = v->k;
    const tir_box *b = &k->channels[s->o->channel].boxes[s->o->data];
    int loop = s->m_side ? s->acc->row_loop : s->acc->col_loop;
    int size = s->m_side ? s->acc->rows : s->acc->cols;
    int ctas = k->pair && !s->m_side ? 2 : 1; // a pair multiplies by both CTAs' rows of the N side
    VERIFY(v, s->o->rows * ctas == size, "operand '%s': %d rows over %d CTAs for %d of '%s'",
           s->name, s->o->rows, ctas, size, s->acc->name);
    const tir_map *m = &k->maps[b->map];
    const tir_coord *row = &b->coords[row_axis(s->o, m)];
    bool scaled = s->o->mn_major ? row->mul == container(k, s->o) && row->div == 8
                                 : row->mul == 1 && row->div == 1;
    VERIFY(v, row->loop == loop && scaled && row->add == 0,
           "operand '%s': its rows are not those of loop '%s'", s->name, k->loops[loop].index);
    bool split = k->cluster > 1 && (k->cluster_loop == loop || ctas == 2);
    // each CTA of the cluster brings some of the lines
    bool shared = k->cluster > 1 && b->mask != 0;
    int own = s->o->mn_major ? b->n_boxes * m->box[0] : m->box[row_axis(s->o, m)];
    int step = split || (shared && !s->o->mn_major) ? own : 0;
    VERIFY(v, row->rank_mul == step, "operand '%s': its rows are %d a rank apart, not %d", s->name,
           row->rank_mul, step);
    const tir_coord *line = &b->coords[line_axis(m)];
    step = shared ? m->box[line_axis(m)] : step;
    VERIFY(v, s->o->mn_major ? line->rank_mul == (shared ? step : 0) : line->rank_mul == step,
           "operand '%s': its lines are %d a rank apart, not %d", s->name, line->rank_mul, step);
    return true;
}

// The k side: what a step brings is what the instructions of a step take.
static bool verify_side_k(verifier *v, const side *s) {
    const tir_kernel *k = v->k;
    const tir_box *b = &k->channels[s->o->channel].boxes[s->o->data];
    const tir_map *m = &k->maps[b->map];
    int taken =
        s->m->decode && s->m_side ? elem_bits(k->params[s->o->param].elem) : mma_container(s->kind);
    VERIFY(v, container(k, s->o) == taken,
           "operand '%s': %d bits an element in shared memory, %s reads %d", s->name,
           container(k, s->o), s->kind->name, taken);
    if (s->o->mn_major) {
        VERIFY(v, taken >= 8, "operand '%s': elements of %d bits along the rows", s->name, taken);
        VERIFY(v, s->m->k_elems == m->box[line_axis(m)] * verify_shares(k, b),
               "operand '%s': %d elements of k a step, but its boxes bring %d", s->name,
               s->m->k_elems, m->box[line_axis(m)] * verify_shares(k, b));
    }
    int64_t bytes = (int64_t)s->m->k_elems * taken / 8;
    int64_t brought = (int64_t)b->n_boxes * s->o->row_bytes;
    VERIFY(v, s->o->mn_major || bytes == brought,
           "operand '%s': %lld bytes of k a step, but its boxes bring %lld", s->name,
           (long long)bytes, (long long)brought);
    const tir_coord *at = &b->coords[s->o->mn_major ? line_axis(m) : 0];
    if (at->loop < k->n_loops) {
        return true;
    }
    const tir_for *f = &k->fors[at->loop - k->n_loops];
    VERIFY(v, f->step == s->m->k_elems, "operand '%s': steps of %d along '%s' for %d elements",
           s->name, f->step, f->index, s->m->k_elems);
    if (s->o->mn_major) {
        VERIFY(v, at->mul == 1 && at->div == 1, "operand '%s': its lines are not those of '%s'",
               s->name, f->index);
        return true;
    }
    VERIFY(v, (int64_t)f->step * at->mul == (int64_t)b->n_boxes * m->box[0] * at->div,
           "operand '%s': a step of '%s' moves its boxes by %d x %d / %d elements, not %d", s->name,
           f->index, f->step, at->mul, at->div, b->n_boxes * m->box[0]);
    return true;
}

static bool has_loop(const tir_kernel *k, const tir_box *b, int loop) {
    for (int i = 0; i < k->maps[b->map].rank; i++) {
        if (b->coords[i].loop == loop) {
            return true;
        }
    }
    return false;
}

// Scales come in tiles of 128 rows: a tile of rows that can start inside one needs a loop that says
// where, and one tile more.
static bool verify_side_scales(verifier *v, const side *s) {
    if (s->o->scale < 0) {
        return true;
    }
    const tir_kernel *k = v->k;
    const tir_channel *c = &k->channels[s->o->channel];
    const tir_box *data = &c->boxes[s->o->data];
    const tir_box *scale = &c->boxes[s->o->scale];
    int granule = k->params[s->o->param].granule;
    int words = tir_scale_words(s->m->k_elems, granule);
    VERIFY(v, words > 0, "operand '%s': a step of %d elements cuts its scales, one for %d", s->name,
           s->m->k_elems, granule);
    VERIFY(v, k->maps[scale->map].box[1] == words,
           "operand '%s': %d scale tiles along k, a step has %d", s->name,
           k->maps[scale->map].box[1], words);
    const tir_coord *row = &data->coords[row_axis(s->o, &k->maps[data->map])];
    const tir_loop *rows_of = &k->loops[row->loop];
    bool fixed = rows_of->lo == NULL || tir_is_multiple(rows_of->lo, TIR_ATOM_ROWS);
    VERIFY(v, k->params[s->o->param].groups != NULL ? rows_of->group >= 0 : fixed,
           "operand '%s': loop '%s' does not begin where tiles of its scales do", s->name,
           rows_of->index);
    bool whole = (k->pair && !s->m_side) || data->rank_offset != 0;
    int start = tir_gcd(k->loops[row->loop].tile, whole ? 0 : row->rank_mul);
    int step = tir_gcd(start, TIR_ATOM_ROWS);
    VERIFY(v, step == TIR_ATOM_ROWS || s->o->sf_loop == row->loop,
           "operand '%s': tiles of %d rows start inside a tile of scales, and no loop says where",
           s->name, start);
    VERIFY(v, s->o->sf_loop < 0 || has_loop(k, scale, s->o->sf_loop),
           "operand '%s': the loop of its scales moves none of their boxes", s->name);
    int rows = s->o->rows * (k->pair && !s->m_side ? 2 : 1) + TIR_ATOM_ROWS - step;
    VERIFY(v, s->o->sf_rows >= rows, "operand '%s': scales of %d rows are read, %d are brought",
           s->name, rows, s->o->sf_rows);
    return true;
}

static bool verify_side(verifier *v, const side *s) {
    return verify_side_format(v, s) && verify_side_rows(v, s) && verify_side_k(v, s) &&
           verify_side_scales(v, s);
}

static bool verify_mma(verifier *v, const tir_mma *m, int number) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(m->acc, 0, k->n_accs - 1) && tir_in(m->a, 0, k->n_operands - 1) &&
                  tir_in(m->b, 0, k->n_operands - 1),
           "mma #%d: no acc #%d or operands #%d, #%d", number, m->acc, m->a, m->b);
    VERIFY(v, tir_in(m->kind, 0, MMA_KINDS - 1), "mma #%d: no instruction #%d", number, m->kind);
    VERIFY(v, tir_in(m->loop, -1, k->n_fors - 1), "mma #%d: no for #%d", number, m->loop);
    const mma_info *kind = &mma_kinds[m->kind];
    const tir_acc *acc = &k->accs[m->acc];
    VERIFY(v, (kind->families & v->arch->family) != 0, "mma #%d: %s has no %s", number,
           v->arch->name, kind->name);
    VERIFY(v, tir_in(m->k_elems, 1, 1 << 16) && m->k_elems % kind->k == 0,
           "mma #%d: a step of %d elements of k in instructions of %d", number, m->k_elems,
           kind->k);
    VERIFY(v,
           m->promote == 0 || (v->arch->family == MMA_WGMMA && tir_in(m->promote, 1, m->k_elems) &&
                               m->promote % kind->k == 0 && m->k_elems % m->promote == 0),
           "mma #%d: sums of %d elements of k are promoted in steps of %d", number, m->promote,
           m->k_elems);
    int granule = k->params[k->operands[m->a].param].granule;
    bool folds = mma_folds(m->kind, m->decode);
    VERIFY(v,
           !m->decode || (v->arch->family == MMA_WGMMA && (kind->k == 16 || folds) && granule > 0 &&
                          granule % 16 == 0 && m->k_elems % (TIR_ATOM_COLS * granule) == 0),
           "mma #%d: %d elements of k with scales by %d are not decoded for %s", number, m->k_elems,
           granule, kind->name);
    int exponent = folds ? mma_fold(k->params[k->operands[m->a].param].scale) : 0;
    VERIFY(v, acc->exponent == exponent,
           "mma #%d: sums times 2^%d are added to '%s', which holds them times 2^%d", number,
           -exponent, acc->name, -acc->exponent);
    VERIFY(v, folds == (m->table > 0), "mma #%d: a table of scales at %d", number, m->table);
    if (v->arch->family == MMA_TCGEN05) {
        int rows = acc->rows * (k->pair ? 2 : 1);
        VERIFY(v, m->inst_m == rows && m->inst_n == acc->cols,
               "mma #%d: instructions of %d x %d for %d x %d of '%s'", number, m->inst_m, m->inst_n,
               rows, acc->cols, acc->name);
    }
    const tir_operand *n_side = &k->operands[m->b];
    int step =
        k->pair && n_side->mn_major && elem_bits(k->params[n_side->param].elem) == 8 ? 32 : 16;
    VERIFY(v,
           m->fit == 0 || (v->arch->family == MMA_TCGEN05 && tir_in(m->fit, 16, 256) &&
                           m->fit % step == 0 && acc->cols % m->fit == 0),
           "mma #%d: columns of '%s' in steps of %d", number, acc->name, m->fit);
    side a = {.m = m, .kind = kind, .acc = acc, .o = &k->operands[m->a], .m_side = true};
    side b = {.m = m, .kind = kind, .acc = acc, .o = &k->operands[m->b], .m_side = false};
    a.name = verify_param_name(k, a.o->param);
    b.name = verify_param_name(k, b.o->param);
    return verify_side(v, &a) && verify_side(v, &b);
}

// Runs come by a map of one axis, as long as a box.
static bool verify_runs(verifier *v, const tir_operand *o, const tir_factor *f, const char *name) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(o->factor_map, f->run > 0 ? 0 : -1, f->run > 0 ? k->n_maps - 1 : -1),
           "operand '%s': map #%d of f32 scales, whose runs are of %d", name, o->factor_map, f->run);
    if (f->run == 0) {
        return true;
    }
    const tir_map *m = &k->maps[o->factor_map];
    VERIFY(v, m->param == o->param && m->part == PART_SCALE && m->rank == 1 &&
                  m->elem_bytes == TIR_SCALE_BYTES && m->swizzle == SWZ_NONE,
           "operand '%s': map #%d is not one of its f32 scales", name, o->factor_map);
    VERIFY(v, m->box[0] == f->run, "operand '%s': boxes of %d f32 scales for runs of %d", name,
           m->box[0], f->run);
    return true;
}

// f32 scales lie among those of the slot, apart from each other.
static bool verify_factors(verifier *v, int number) {
    const tir_kernel *k = v->k;
    const tir_operand *o = &k->operands[number];
    const char *name = verify_param_name(k, o->param);
    tir_factor f = tir_factors(k, number);
    VERIFY(v, (f.mma >= 0) == (o->factors >= 0),
           "operand '%s': f32 scales at %d of a slot; a product %s them", name, o->factors,
           f.mma >= 0 ? "takes" : "does not take");
    if (f.mma < 0) {
        VERIFY(v, o->factor_map == -1, "operand '%s': a map of f32 scales without them", name);
        return true;
    }
    VERIFY(v, k->mmas[f.mma].loop >= 0, "operand '%s': f32 scales outside of a loop", name);
    const tir_channel *c = &k->channels[o->channel];
    int64_t bytes = tir_factor_bytes(&f);
    VERIFY(v, o->factors % TIR_FACTOR_ALIGN == 0 && o->factors + bytes <= c->factor_bytes,
           "operand '%s': f32 scales at %d .. %lld of %d bytes of a slot", name, o->factors,
           (long long)(o->factors + bytes), c->factor_bytes);
    for (int i = 0; i < number; i++) {
        const tir_operand *other = &k->operands[i];
        tir_factor g = tir_factors(k, i);
        VERIFY(v,
               other->channel != o->channel || g.mma < 0 || other->factors >= o->factors + bytes ||
                   other->factors + (int64_t)tir_factor_bytes(&g) <= o->factors,
               "operand '%s': its f32 scales and those of '%s' overlap", name,
               verify_param_name(k, other->param));
    }
    return verify_runs(v, o, &f, name);
}

bool verify_products(verifier *v) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_operands; i++) {
        if (!verify_operand(v, &k->operands[i], i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_accs; i++) {
        if (!verify_acc(v, &k->accs[i], i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_mmas; i++) {
        if (!verify_mma(v, &k->mmas[i], i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_operands; i++) {
        if (!verify_factors(v, i)) {
            return false;
        }
    }
    return true;
}
