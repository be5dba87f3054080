// Conversions to scaled formats: nvfp4(x, hs), mxfp8(x), mxfp4(x). The values of a tile are
// gathered granule by granule, then each granule gets its scale and its elements their codes
// (mach.h).
//
// A granule must lie in one tile: its scale depends on all of its elements.
#include "eval_impl.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    int64_t at;   // element of the tensor
    int64_t cell; // its granule
    double v, err;
} entry;

typedef struct {
    entry *v;
    int64_t n, cap;
} entry_list;

const ast_expr *quant_root(const ast_expr *e) {
    bool converts = e->kind == EX_CALL && e->call == CALL_CONVERT;
    return converts && e->format->scale != ELEM_NONE ? e : NULL;
}

static bool add_entry(eval *x, entry_list *l, const ast_expr *conv, entry e) {
    if (l->n == l->cap) {
        int64_t cap = l->cap == 0 ? 1024 : l->cap * 2;
        entry *v = realloc(l->v, (size_t)cap * sizeof *v);
        if (v == NULL) {
            eval_fail(x, EVAL_EMEMORY, conv->span, "no memory for %lld values", (long long)cap);
            return false;
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = e;
    return true;
}

static bool begin_cells(eval *x, const ast_expr *conv, storage *st) {
    if (st->cells == NULL) {
        st->cells = calloc((size_t)eval_scale_count(&st->t) + 1, sizeof *st->cells);
        if (st->cells == NULL) {
            eval_fail(x, EVAL_EMEMORY, conv->span, "no memory for the scales of a tile");
            return false;
        }
    }
    st->stamp++;
    return true;
}

// The value to quantise at the current point, and the global scale.
static val source_value(eval *x, const ast_expr *conv, double *hs) {
    val v = eval_expr(x, conv->args[0]);
    v = v.is_int ? val_real(x, (double)v.i) : v;
    *hs = 1;
    if (conv->n_args > 1) {
        val s = eval_expr(x, conv->args[1]);
        if (conv->format->scale == ELEM_UE8M0) {
            return val_binary(x, OP_DIV, v, s);
        }
        *hs = val_num(s);
    }
    return v;
}

static bool gather_entry(eval *x, const ast_expr *conv, storage *st, entry_list *l,
                         const int64_t *coords) {
    int64_t at = linear_index(&st->t, coords);
    if (l->n > 0 && l->v[l->n - 1].at == at) {
        return true; // H[p, j / 2]: the first of the points that name an element counts
    }
    double hs;
    val v = source_value(x, conv, &hs);
    int64_t index = eval_scale_index(&st->t, coords);
    cell *c = &st->cells[index];
    if (c->stamp != st->stamp) {
        *c = (cell){.stamp = st->stamp, .hs = hs};
    }
    c->count++;
    c->amax = fabs(v.v) > c->amax ? fabs(v.v) : c->amax; // a NaN compares false
    c->err = fmax(c->err, v.err);
    return add_entry(x, l, conv, (entry){at, index, v.v, v.err});
}

// How many elements of the tensor share a scale.
static int64_t cell_size(const eval_tensor *t, int64_t index) {
    int64_t size = 1;
    for (int axis = t->n_dims - 1; axis >= 0; axis--) {
        int64_t n = eval_scale_dim(t, axis);
        int64_t c = index % n;
        index /= n;
        int at = axis - (t->n_dims - t->format->n_granule);
        int64_t g = at < 0 ? 1 : t->format->granule[at];
        int64_t left = t->dims[axis] - c * g;
        size *= left < g ? left : g;
    }
    return size;
}

// |machine - exact| of an element of a granule: the machine's input is off by err, its scale is
// computed from an amax that is off by err and rounded in f32; each side is at most half the widest
// gap of the element type times its scale from its input, or saturates.
static double cell_error(const ast_format *f, const cell *c) {
    double largest = mach_largest(f->elem);
    uint32_t top = mach_encode(f->elem, largest);
    double half_gap = (largest - mach_decode(f->elem, top - 1)) / 2;
    double slack = c->err + c->amax * 0x1p-20;
    double hs = fabs(c->hs);
    double lo_in = fmax(c->amax - slack, 0) / (largest * hs);
    double hi_in = (c->amax + slack) / (largest * hs);
    double lo = mach_decode(f->scale, mach_encode(f->scale, lo_in));
    double hi = mach_decode(f->scale, mach_encode(f->scale, hi_in));
    double over = fmax(0, (c->amax + slack) / hs - largest * lo);
    double e = c->err / hs + 2 * half_gap * hi + 2 * over;
    return isnan(e) ? INFINITY : e;
}

static void store_entries(eval *x, const ast_expr *conv, storage *st, const entry_list *l) {
    const ast_format *f = st->t.format;
    for (int64_t i = 0; i < l->n && !x->failed; i++) {
        const entry *e = &l->v[i];
        cell *c = &st->cells[e->cell];
        if (!c->ready) {
            int64_t size = cell_size(&st->t, e->cell);
            if (c->count != size) {
                eval_fail(x, EVAL_EPROGRAM, conv->span,
                          "a granule of %lld elements that share a scale is cut by the tile, which "
                          "holds %d of them",
                          (long long)size, (int)c->count);
                return;
            }
            c->g = mach_quantise(f->elem, f->scale, c->amax, c->hs, !x->machine);
            c->ready = true;
            st->t.scales[e->cell] = c->g.scale;
        }
        eval_set_code(&st->t, e->at, mach_quantise_elem(f->elem, e->v, c->g, !x->machine));
        if (st->bound != NULL) {
            st->bound[e->at] = cell_error(f, c);
        }
    }
}

void quant_store(eval *x, const ast_stmt *s, const ast_expr *conv, storage *st) {
    if (conv->format->elem != st->t.format->elem || conv->format->scale != st->t.format->scale) {
        eval_fail(x, EVAL_EPROGRAM, s->span, "%s(...) cannot be stored in '%s', which is %s",
                  conv->format->name, st->name, st->t.format->name);
        return;
    }
    if (!begin_cells(x, conv, st)) {
        return;
    }
    place p = {.st = st};
    target_points tp;
    target_begin(x, s, &p, &tp);
    entry_list l = {0};
    for (bool more = target_first(x, &tp); more && !x->failed; more = target_next(x, &tp)) {
        int64_t coords[MAX_AXES];
        if (eval_coords(x, s->target, &p, coords)) {
            gather_entry(x, conv, st, &l, coords);
        }
    }
    store_entries(x, conv, st, &l);
    free(l.v);
}

// ---- copies: P[p, :] = X[row[p], :] of one format moves codes and scales as they are.

// Where a copy reads at the current point. False: outside.
static bool copy_source(eval *x, const ast_expr *e, const place *src, int64_t *from) {
    const tile *t = src->tile;
    if (e->kind == EX_INDEX) {
        if (!eval_coords(x, e, src, from)) {
            return false;
        }
    } else {
        for (int i = 0; t != NULL && i < t->axes.n; i++) {
            from[i] = x->ranges[t->axes.sym[i]->id].pos;
        }
    }
    for (int i = 0; t != NULL && i < t->axes.n; i++) {
        from[i] -= t->origin[i];
    }
    return true;
}

// Elements may only move to a place of the same position in its granule.
static bool same_phase(const eval_tensor *a, const int64_t *ca, const eval_tensor *b,
                       const int64_t *cb) {
    const ast_format *f = a->format;
    for (int i = 1; i <= f->n_granule; i++) {
        int64_t g = f->granule[f->n_granule - i];
        if (ca[a->n_dims - i] % g != cb[b->n_dims - i] % g) {
            return false;
        }
    }
    return true;
}

static void copy_element(storage *to, const int64_t *ct, const storage *from, const int64_t *cf) {
    int64_t i = linear_index(&to->t, ct);
    int64_t j = linear_index(&from->t, cf);
    eval_set_code(&to->t, i, eval_get_code(&from->t, j));
    to->t.scales[eval_scale_index(&to->t, ct)] = from->t.scales[eval_scale_index(&from->t, cf)];
    if (to->bound != NULL) {
        to->bound[i] = from->bound != NULL ? from->bound[j] : 0;
    }
}

void quant_copy(eval *x, const ast_stmt *s, storage *st) {
    bool is_slice = s->value->kind == EX_INDEX || s->value->kind == EX_NAME;
    place src = is_slice ? eval_place(x, s->value) : (place){.st = NULL};
    bool scaled_tile = src.tile != NULL && src.tile->format != NULL;
    storage *from = scaled_tile ? &src.tile->q : src.st;
    if (x->failed) {
        return;
    }
    if (from == NULL || from->t.format == NULL || from->t.format->elem != st->t.format->elem ||
        from->t.format->scale != st->t.format->scale) {
        eval_fail(x, EVAL_EPROGRAM, s->span, "'%s' takes %s(...) or a slice of that format",
                  st->name, st->t.format->name);
        return;
    }
    place p = {.st = st};
    target_points tp;
    target_begin(x, s, &p, &tp);
    for (bool more = target_first(x, &tp); more && !x->failed; more = target_next(x, &tp)) {
        int64_t ct[MAX_AXES];
        int64_t cf[MAX_AXES];
        if (!eval_coords(x, s->target, &p, ct) || !copy_source(x, s->value, &src, cf)) {
            continue;
        }
        if (!same_phase(&st->t, ct, &from->t, cf)) {
            eval_fail(x, EVAL_EPROGRAM, s->span,
                      "elements of '%s' would move to another place in their granule", from->name);
            return;
        }
        copy_element(st, ct, from, cf);
    }
}

// ---- quantised tiles: let q = mxfp8(x), and conversions inside an expression

static bool tile_box(eval *x, tile *t, const ast_expr *conv) {
    const ast_format *f = conv->format;
    storage_free(&t->q);
    t->q = (storage){.name = f->name, .t = {.format = f, .n_dims = t->axes.n}};
    for (int i = 0; i < t->axes.n; i++) {
        t->q.t.dims[i] = t->extent[i];
        int at = i - (t->axes.n - f->n_granule);
        int64_t g = at < 0 ? 1 : f->granule[at];
        const range *r = &x->ranges[t->axes.sym[i]->id];
        if (r->lo % g != 0 || (r->hi % g != 0 && r->hi != r->end)) {
            eval_fail(x, EVAL_EPROGRAM, conv->span,
                      "the tile %lld .. %lld of '%s' cuts a granule of %lld elements",
                      (long long)r->lo, (long long)r->hi, t->axes.sym[i]->name, (long long)g);
            return false;
        }
    }
    if (t->axes.n < f->n_granule || t->axes.n > EVAL_MAX_DIMS || !storage_alloc(&t->q)) {
        eval_fail(x, EVAL_EPROGRAM, conv->span, "%s(...) needs a value with %d to %d indices",
                  f->name, f->n_granule, (int)EVAL_MAX_DIMS);
        return false;
    }
    if (x->bounds) {
        t->q.bound = calloc((size_t)eval_count(&t->q.t) + 1, sizeof *t->q.bound);
    }
    return true;
}

bool quant_tile(eval *x, tile *t, const ast_expr *conv) {
    axis_list axes = {0};
    axes_of(x, conv->args[0], &axes);
    if (!tile_reset(x, t, &axes, conv->span) || !tile_box(x, t, conv) ||
        !begin_cells(x, conv, &t->q)) {
        return false;
    }
    t->format = conv->format;
    entry_list l = {0};
    for (bool more = points_begin(x, &axes); more && !x->failed; more = points_next(x, &axes)) {
        int64_t coords[MAX_AXES];
        for (int i = 0; i < axes.n; i++) {
            coords[i] = x->ranges[axes.sym[i]->id].pos - t->origin[i];
        }
        gather_entry(x, conv, &t->q, &l, coords);
    }
    store_entries(x, conv, &t->q, &l);
    free(l.v);
    int64_t n = x->failed ? 0 : eval_count(&t->q.t);
    for (int64_t i = 0; i < n; i++) {
        double v = eval_value(&t->q.t, i);
        t->v[i] = x->machine ? (double)(float)v : v;
        if (t->err != NULL) {
            t->err[i] = t->q.bound != NULL ? t->q.bound[i] : INFINITY;
        }
    }
    return !x->failed;
}

tile *quant_hoisted(eval *x, const ast_expr *e) {
    for (hoisted *h = x->hoists; h != NULL; h = h->next) {
        if (h->e == e) {
            return &h->value;
        }
    }
    return NULL;
}

static void hoist_one(eval *x, const ast_expr *e) {
    tile *t = quant_hoisted(x, e);
    if (t == NULL) {
        hoisted *h = calloc(1, sizeof *h);
        if (h == NULL) {
            eval_fail(x, EVAL_EMEMORY, e->span, "no memory for a tile");
            return;
        }
        h->e = e;
        h->next = x->hoists;
        x->hoists = h;
        t = &h->value;
    }
    quant_tile(x, t, e);
}

void quant_hoist(eval *x, const ast_expr *e, bool is_root) {
    if (e == NULL || x->failed) {
        return;
    }
    quant_hoist(x, e->a, false);
    quant_hoist(x, e->b, false);
    for (int i = 0; i < e->n_args; i++) {
        quant_hoist(x, e->args[i], false);
    }
    if (!is_root && quant_root(e) != NULL) {
        hoist_one(x, e);
    }
}
