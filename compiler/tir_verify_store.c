// Checks of stores: what is stored where, sub-tiles, staging buffers, and when a TMEM slot is given
// back.
#include "tir_verify_int.h"

enum { STORE_ACCS = 4, MAX_STAGES = 64 };

typedef struct {
    const tir_store *s;
    const char *name;
    const tir_role *role;
    int n_accs;
    int accs[STORE_ACCS];
    const tir_acc *acc; // the first: all have its shape
} store;

static bool body_has(int n, tir_stmt *const *body, int number) {
    for (int i = 0; i < n; i++) {
        if ((body[i]->kind == TS_STORE && body[i]->ref == number) ||
            body_has(body[i]->n_body, body[i]->body, number)) {
            return true;
        }
    }
    return false;
}

int verify_role_of_store(const tir_kernel *k, int number) {
    for (int i = 0; i < k->n_roles; i++) {
        if (body_has(k->roles[i].n_body, k->roles[i].body, number)) {
            return i;
        }
    }
    return -1;
}

static bool verify_target(verifier *v, const store *t) {
    const tir_store *s = t->s;
    const tir_param *p = &v->k->params[s->param];
    VERIFY(v, p->mode != MODE_IN && p->mode != MODE_CONST, "store '%s': the tensor is not written",
           t->name);
    VERIFY(v, s->n_axes == p->n_dims && s->n_axes <= TIR_MAX_AXES,
           "store '%s': %d axes of a tensor of %d, at most %d", t->name, s->n_axes, p->n_dims,
           TIR_MAX_AXES);
    VERIFY(v, s->elem == p->elem && s->scale == p->scale && s->granule == p->granule,
           "store '%s': %s by %d into %s by %d", t->name, elem_name(s->elem), s->granule,
           elem_name(p->elem), p->granule);
    return verify_axes(v, s->axes, s->n_axes, arena_printf(v->mem, "store '%s'", t->name));
}

static bool verify_value(verifier *v, store *t) {
    const tir_store *s = t->s;
    const char *what = arena_printf(v->mem, "store '%s'", t->name);
    if (!verify_expr(v, s->value, what) ||
        (s->divide != NULL && !verify_expr(v, s->divide, what))) {
        return false;
    }
    VERIFY(v, s->value->type == (s->elem == ELEM_I32 ? ELEM_I32 : ELEM_F32),
           "%s: a value of type %s for %s", what, elem_name(s->value->type), elem_name(s->elem));
    VERIFY(v, s->divide == NULL || (s->scale != ELEM_NONE && s->divide->type == ELEM_F32),
           "%s: a divisor of type %s %s scales", what,
           s->divide != NULL ? elem_name(s->divide->type) : "",
           s->scale != ELEM_NONE ? "with" : "without");
    t->n_accs = verify_accs_of(s->value, t->accs, 0, STORE_ACCS);
    t->n_accs = verify_accs_of(s->divide, t->accs, t->n_accs, STORE_ACCS);
    VERIFY(v, t->n_accs >= 0, "%s reads more than %d accumulators", what, STORE_ACCS);
    return true;
}

// A role without products has an accumulator of no channel that tells what it covers.
static const tir_acc *tile_of_role(const tir_kernel *k, int role) {
    for (int i = 0; i < k->n_accs; i++) {
        if (k->accs[i].role == role && k->accs[i].channel == -1 &&
            k->roles[role].frag == FRAG_LANE_ROW) {
            return &k->accs[i];
        }
    }
    return NULL;
}

// The accumulators have one shape and are within the role's reach.
static bool verify_sources(verifier *v, store *t) {
    const tir_kernel *k = v->k;
    int role = (int)(t->role - k->roles);
    t->acc = t->n_accs > 0 ? &k->accs[t->accs[0]] : tile_of_role(k, role);
    VERIFY(v, t->acc != NULL, "store '%s' reads no accumulator, and role '%s' covers no tile",
           t->name, t->role->name);
    for (int i = 0; i < t->n_accs; i++) {
        const tir_acc *a = &k->accs[t->accs[i]];
        int reader = a->channel >= 0 ? k->channels[a->channel].to : a->role;
        VERIFY(v, reader == role, "store '%s': role '%s' does not hold acc '%s'", t->name,
               t->role->name, a->name);
        VERIFY(v, a->row_loop == t->acc->row_loop && a->col_loop == t->acc->col_loop,
               "store '%s': accs '%s' and '%s' lie differently", t->name, t->acc->name, a->name);
    }
    VERIFY(v, t->role->frag != FRAG_NONE, "store '%s': role '%s' holds no fragments", t->name,
           t->role->name);
    return true;
}

static bool verify_sub_tile(verifier *v, const store *t) {
    const tir_store *s = t->s;
    int across = t->role->warps_n;
    VERIFY(v, tir_in(s->sub_cols, 1, t->acc->cols) && t->acc->cols % s->sub_cols == 0,
           "store '%s': sub-tiles of %d columns of %d", t->name, s->sub_cols, t->acc->cols);
    VERIFY(v, s->sub_cols % across == 0 && s->warp_cols == s->sub_cols / across,
           "store '%s': %d columns a warp, %d warps side by side in sub-tiles of %d", t->name,
           s->warp_cols, across, s->sub_cols);
    VERIFY(v, t->role->frag != FRAG_MMA || s->warp_cols % 8 == 0,
           "store '%s': %d columns a warp; fragments have 8", t->name, s->warp_cols);
    return true;
}

// Lines that a loop with bounds walks are stored through a window of the map, and others are not.
static bool verify_window(verifier *v, const store *t, const tir_map *m) {
    const tir_store *s = t->s;
    const tir_axis *last = &s->axes[s->n_axes - 1];
    bool swapped = last->loop >= 0 && last->loop == t->acc->row_loop;
    int across = swapped ? t->acc->col_loop : t->acc->row_loop;
    int along = swapped ? t->acc->row_loop : t->acc->col_loop;
    const tir_loop *loops = v->k->loops;
    VERIFY(v, loops[along].hi == NULL, "store '%s': its lines along '%s' end within the tensor",
           t->name, loops[along].index);
    VERIFY(v, (loops[across].hi != NULL) == (m->window > 0),
           "store '%s': loop '%s' and the window of its map", t->name, loops[across].index);
    VERIFY(v, m->window == 0 || s->axes[s->n_axes - 1 - m->window].loop == across,
           "store '%s': the window of its map is on another axis than '%s'", t->name,
           loops[across].index);
    return true;
}

// Scales of a store: the rows of a ragged tensor are known by their group, and lines
// end with the tensor.
static bool verify_store_scales(verifier *v, const store *t) {
    const tir_kernel *k = v->k;
    const tir_store *s = t->s;
    if (s->scale == ELEM_NONE) {
        return true;
    }
    int rows = s->n_axes > 1 ? s->axes[s->n_axes - 2].loop : -1;
    const tir_loop *acc_rows = &k->loops[t->acc->row_loop];
    VERIFY(v, k->loops[t->acc->col_loop].hi == NULL,
           "store '%s': scales along '%s', which ends within the tensor", t->name,
           k->loops[t->acc->col_loop].index);
    VERIFY(v, k->params[s->param].groups == NULL || (rows >= 0 && k->loops[rows].group >= 0),
           "store '%s': its rows are ragged, but not walked by group", t->name);
    VERIFY(v, s->scale_offset < 0 || acc_rows->hi == NULL || k->params[s->param].groups != NULL,
           "store '%s': whole tiles of scales, of which loop '%s' has a part", t->name,
           acc_rows->index);
    return true;
}

// One warp's box: its rows of the tile by its columns of the sub-tile, in lines of a swizzle's
// span.
static bool verify_store_map(verifier *v, const store *t) {
    const tir_kernel *k = v->k;
    const tir_store *s = t->s;
    VERIFY(v, tir_in(s->map, 0, k->n_maps - 1), "store '%s': no map #%d", t->name, s->map);
    const tir_map *m = &k->maps[s->map];
    VERIFY(v,
           m->param == s->param && m->part == PART_DATA && m->rank == s->n_axes + (m->window > 0),
           "store '%s': its map is of another tensor or of rank %d", t->name, m->rank);
    if (!verify_window(v, t, m)) {
        return false;
    }
    int64_t lines = 1;
    for (int i = 1; i < m->rank; i++) {
        lines = lines > INT32_MAX ? lines : lines * m->box[i];
    }
    int line = m->box[0] * m->elem_bytes;
    int rows = t->acc->rows / t->role->warps_m;
    int warp_bytes = s->warp_cols * elem_bits(s->elem) / 8;
    const tir_axis *last = &s->axes[s->n_axes - 1];
    bool swapped = last->loop >= 0 && last->loop == t->acc->row_loop;
    if (swapped) { // columns of the tile are lines of the box
        VERIFY(v, lines == s->warp_cols && line == rows * elem_bits(s->elem) / 8,
               "store '%s': a box of %lld lines of %d bytes for %d x %d", t->name, (long long)lines,
               line, rows, s->warp_cols);
    } else {
        VERIFY(v, lines == rows && warp_bytes % line == 0,
               "store '%s': a box of %lld lines of %d bytes for a warp's %d rows of %d bytes",
               t->name, (long long)lines, line, rows, warp_bytes);
    }
    int span = verify_span(m->swizzle);
    VERIFY(v, span == 0 || line == span, "store '%s': lines of %d bytes in a swizzle of %d",
           t->name, line, span);
    VERIFY(v, lines * line % 128 == 0,
           "store '%s': boxes of %lld bytes; TMA takes them from multiples of 128", t->name,
           (long long)(lines * line));
    int pattern = span > 0 ? 8 * span : 128;
    VERIFY(v, s->stage_offset % pattern == 0 && s->stage_bytes % pattern == 0,
           "store '%s': buffers of %d bytes at %d; its swizzle wants multiples of %d", t->name,
           s->stage_bytes, s->stage_offset, pattern);
    return true;
}

static bool verify_staging(verifier *v, const store *t) {
    const tir_store *s = t->s;
    VERIFY(v, !s->add || (s->via_smem && s->elem == ELEM_F32 && s->value->type == ELEM_F32 &&
                          v->k->params[s->param].mode == MODE_INOUT),
           "store '%s': adding is for f32 values staged for an inout tensor", t->name);
    if (!s->via_smem) {
        VERIFY(v, s->scale_offset == -1, "store '%s': scales are staged, the data is not", t->name);
        return true;
    }
    VERIFY(v, tir_in(s->stages, 1, MAX_STAGES) && tir_in(s->stage_bytes, 1, v->arch->smem_bytes),
           "store '%s': %d staging buffers of %d bytes", t->name, s->stages, s->stage_bytes);
    int bytes = t->acc->rows * s->sub_cols * elem_bits(s->elem) / 8;
    VERIFY(v, bytes <= s->stage_bytes, "store '%s': staging of %d bytes for sub-tiles of %d",
           t->name, s->stage_bytes, bytes);
    if (s->scale_offset != -1) {
        VERIFY(v, s->scale != ELEM_NONE, "store '%s': staging for scales it has not", t->name);
        int columns = TIR_ATOM_COLS * s->granule;
        int scales = (s->sub_cols + columns - 1) / columns * TIR_ATOM_BYTES;
        VERIFY(v,
               s->scale_offset >= bytes && s->scale_offset % 16 == 0 &&
                   (int64_t)s->scale_offset + scales <= s->stage_bytes,
               "store '%s': %d bytes of scales at %d in buffers of %d with %d of data", t->name,
               scales, s->scale_offset, s->stage_bytes, bytes);
    }
    return verify_store_map(v, t);
}

// Sub-tiles that must be in registers before a slot's shared columns, or all, are read.
static int subs_to_read(const tir_kernel *k, const tir_store *s, int subs) {
    const tir_channel *c = &k->channels[s->release];
    int least = 1;
    if (c->shared == 0) {
        return subs;
    }
    for (int i = 0; i < k->n_accs; i++) {
        const tir_acc *a = &k->accs[i];
        if (a->channel != s->release) {
            continue;
        }
        int low = c->stride - a->column; // slot 0 shares its columns from here on, walked downwards
        low = low < 0 ? 0 : low / s->sub_cols;
        int down = subs - (low > subs ? subs : low);
        int up = (c->shared - a->column + s->sub_cols - 1) / s->sub_cols; // slot 1, walked upwards
        up = up > subs ? subs : up;
        least = down > least ? down : least;
        least = up > least ? up : least;
    }
    return least;
}

static bool verify_release(verifier *v, const store *t) {
    const tir_kernel *k = v->k;
    const tir_store *s = t->s;
    VERIFY(v, tir_in(s->release, -1, k->n_channels - 1), "store '%s' releases channel #%d", t->name,
           s->release);
    if (s->release < 0) {
        return true;
    }
    const tir_channel *c = &k->channels[s->release];
    VERIFY(v, c->space == SPACE_TMEM && c->to == (int)(t->role - k->roles),
           "store '%s' releases channel '%s', which role '%s' does not read from TMEM", t->name,
           c->name, t->role->name);
    bool reads = false;
    for (int i = 0; i < t->n_accs; i++) {
        reads |= k->accs[t->accs[i]].channel == s->release;
    }
    VERIFY(v, reads, "store '%s' releases channel '%s' and reads nothing of it", t->name, c->name);
    int subs = t->acc->cols / s->sub_cols;
    int least = subs_to_read(k, s, subs);
    VERIFY(
        v, tir_in(s->release_after, least, subs),
        "store '%s' releases channel '%s' after %d sub-tiles; %d to %d hold what others wait for",
        t->name, c->name, s->release_after, least, subs);
    return true;
}

bool verify_stores(verifier *v) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_stores; i++) {
        const tir_store *s = &k->stores[i];
        VERIFY(v, tir_in(s->param, 0, k->n_params - 1) && k->params[s->param].is_tensor,
               "store #%d is to no tensor", i);
        store t = {.s = s, .name = k->params[s->param].name};
        int role = verify_role_of_store(k, i);
        VERIFY(v, role >= 0, "store '%s' is executed by no role", t.name);
        t.role = &k->roles[role];
        if (!verify_target(v, &t) || !verify_value(v, &t) || !verify_sources(v, &t) ||
            !verify_sub_tile(v, &t) || !verify_store_scales(v, &t) || !verify_staging(v, &t) ||
            !verify_release(v, &t)) {
            return false;
        }
    }
    return true;
}
