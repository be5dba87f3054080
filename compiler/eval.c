// Statements, loops and the life of a run.
#include "eval_impl.h"

#include "lang.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void exec_block(eval *x, ast_stmt *const *body, int n);

void eval_fail(eval *x, eval_status status, ast_span at, const char *fmt, ...) {
    if (x->failed) {
        return;
    }
    x->failed = true;
    x->error->status = status;
    x->error->at = at;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(x->error->text, sizeof x->error->text, fmt, ap);
    va_end(ap);
}

// ---- points and axes

int64_t range_extent(const eval *x, const ast_sym *index) {
    const range *r = &x->ranges[index->id];
    return r->hi > r->lo ? r->hi - r->lo : 0;
}

bool points_begin(eval *x, const axis_list *axes) {
    bool any = true;
    for (int i = 0; i < axes->n; i++) {
        range *r = &x->ranges[axes->sym[i]->id];
        r->pos = r->lo;
        any = any && r->hi > r->lo;
    }
    return any;
}

bool points_next(eval *x, const axis_list *axes) {
    for (int i = axes->n - 1; i >= 0; i--) {
        range *r = &x->ranges[axes->sym[i]->id];
        if (++r->pos < r->hi) {
            return true;
        }
        r->pos = r->lo;
    }
    return false;
}

bool axes_have(const axis_list *l, const ast_sym *s) {
    for (int i = 0; i < l->n; i++) {
        if (l->sym[i] == s) {
            return true;
        }
    }
    return false;
}

void axes_add(eval *x, axis_list *l, ast_sym *s) {
    if (axes_have(l, s)) {
        return;
    }
    if (l->n == MAX_AXES) {
        eval_fail(x, EVAL_EPROGRAM, s->span, "a value varies with more than %d indices", MAX_AXES);
        return;
    }
    l->sym[l->n++] = s;
}

static void axes_of_name(eval *x, ast_sym *s, axis_list *out) {
    if (s->kind == SYM_INDEX) {
        axes_add(x, out, s);
    } else if (s->kind == SYM_LET) {
        const tile *t = &x->lets[s->id];
        for (int i = 0; i < t->axes.n; i++) {
            axes_add(x, out, t->axes.sym[i]);
        }
    }
}

// A reduction varies with what its body varies with, but for the index it reduces.
static void axes_of_reduce(eval *x, const ast_expr *e, axis_list *out) {
    axis_list body = {0};
    axes_of(x, e->a, &body);
    for (int i = 0; i < body.n; i++) {
        if (body.sym[i] != e->index) {
            axes_add(x, out, body.sym[i]);
        }
    }
}

void axes_of(eval *x, const ast_expr *e, axis_list *out) {
    switch (e->kind) {
    case EX_NAME: axes_of_name(x, e->sym, out); return;
    case EX_REDUCE: axes_of_reduce(x, e, out); return;
    case EX_INDEX: // the base counts only if it is peer(X, rank): its rank may vary
        if (e->a->kind == EX_CALL) {
            axes_of(x, e->a, out);
        }
        break;
    case EX_UNARY: axes_of(x, e->a, out); return;
    case EX_BINARY:
    case EX_SELECT:
        for (int i = 0; i < e->n_args; i++) {
            axes_of(x, e->args[i], out);
        }
        axes_of(x, e->a, out);
        axes_of(x, e->b, out);
        return;
    case EX_CALL:
    case EX_ZERO: break;
    default: return;
    }
    bool is_peer = e->kind == EX_CALL && e->call == CALL_PEER;
    for (int i = is_peer ? 1 : 0; i < e->n_args; i++) {
        axes_of(x, e->args[i], out);
    }
}

// ---- assignments

void target_begin(eval *x, const ast_stmt *s, const place *p, target_points *tp) {
    *tp = (target_points){0};
    const ast_expr *t = s->target;
    if (t->kind != EX_INDEX) { // a let by its bare name
        tp->axes = p->tile != NULL ? p->tile->axes : tp->axes;
        return;
    }
    for (int i = 0; i < t->n_args; i++) {
        if (t->args[i]->kind != EX_ALL) {
            axes_of(x, t->args[i], &tp->axes);
        } else if (p->st != NULL && i < p->st->t.n_dims) {
            tp->colon_extent[tp->n_colon++] = p->st->t.dims[i];
        } else {
            eval_fail(x, EVAL_EPROGRAM, t->args[i]->span,
                      "':' stands only for an axis of a tensor");
        }
    }
}

bool target_first(eval *x, target_points *tp) {
    bool any = points_begin(x, &tp->axes);
    for (int i = 0; i < tp->n_colon; i++) {
        x->colon[i] = 0;
        any = any && tp->colon_extent[i] > 0;
    }
    return any;
}

bool target_next(eval *x, target_points *tp) {
    for (int i = tp->n_colon - 1; i >= 0; i--) {
        if (++x->colon[i] < tp->colon_extent[i]) {
            return true;
        }
        x->colon[i] = 0;
    }
    return points_next(x, &tp->axes);
}

// Where the target lies at the current point; -1: outside.
static int64_t target_index(eval *x, const ast_stmt *s, const place *p) {
    int64_t coords[MAX_AXES];
    if (s->target->kind == EX_INDEX) {
        if (!eval_coords(x, s->target, p, coords)) {
            return -1;
        }
        return p->st != NULL ? linear_index(&p->st->t, coords) : tile_index(x, p->tile, coords);
    }
    return p->tile != NULL ? tile_index(x, p->tile, NULL) : 0;
}

static void put(eval *x, const place *p, int64_t i, val v) {
    if (p->tile != NULL) {
        p->tile->v[i] = val_num(v);
        if (p->tile->err != NULL) {
            p->tile->err[i] = v.err;
        }
        return;
    }
    elem_kind e = p->st->t.format->elem;
    if (elem_is_int(e) || e == ELEM_BOOL) {
        eval_set_code(&p->st->t, i, (uint64_t)val_round(x, v, e).i);
        return;
    }
    eval_set_code(&p->st->t, i, mach_encode(e, val_num(v)));
    if (p->st->bound != NULL) {
        p->st->bound[i] = val_round(x, v, e).err;
    }
}

bool update_add(eval *x, update_list *l, ast_span at, update u) {
    if (l->n == l->cap) {
        int64_t cap = l->cap == 0 ? 256 : l->cap * 2;
        update *v = realloc(l->v, (size_t)cap * sizeof *v);
        if (v == NULL) {
            eval_fail(x, EVAL_EMEMORY, at, "no memory for %lld values", (long long)cap);
            return false;
        }
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = u;
    return true;
}

// The whole tile is computed before any of it is stored. Of several points that name one element
// (H[p, j / 2]) the first counts.
static void exec_store(eval *x, const ast_stmt *s, const place *p) {
    target_points tp;
    target_begin(x, s, p, &tp);
    update_list l = {0};
    int64_t last = -1;
    for (bool more = target_first(x, &tp); more && !x->failed; more = target_next(x, &tp)) {
        int64_t at = target_index(x, s, p);
        if (at < 0 || at == last) {
            continue;
        }
        last = at;
        if (!update_add(x, &l, s->span, (update){at, eval_expr(x, s->value)})) {
            break;
        }
    }
    for (int64_t i = 0; i < l.n && !x->failed; i++) {
        put(x, p, l.v[i].at, l.v[i].v);
    }
    free(l.v);
}

static void exec_assign(eval *x, const ast_stmt *s) {
    quant_hoist(x, s->value, true);
    place p = eval_place(x, s->target);
    if (x->failed) {
        return;
    }
    if (s->accumulate) {
        exec_accumulate(x, s);
    } else if (p.st != NULL && p.st->t.format->scale != ELEM_NONE) {
        const ast_expr *conv = quant_root(s->value);
        if (conv != NULL) {
            quant_store(x, s, conv, p.st);
        } else {
            quant_copy(x, s, p.st);
        }
    } else {
        exec_store(x, s, &p);
    }
}

// ---- declarations

static const ast_format *rounded_format(const ast_expr *e) {
    return e->kind == EX_CALL && e->call == CALL_CONVERT ? e->format : NULL;
}

static void exec_let(eval *x, const ast_stmt *s) {
    tile *t = &x->lets[s->sym->id];
    const ast_expr *e = s->value;
    if (e->kind == EX_CALL && e->call == CALL_MODULE) {
        exec_record(x, s);
        return;
    }
    quant_hoist(x, e, true);
    if (quant_root(e) != NULL) {
        quant_tile(x, t, e);
        return;
    }
    axis_list axes = {0};
    axes_of(x, e, &axes);
    if (!tile_reset(x, t, &axes, s->span) || e->kind == EX_ZERO) {
        return;
    }
    t->format = rounded_format(e);
    int64_t i = 0;
    for (bool more = points_begin(x, &axes); more && !x->failed; more = points_next(x, &axes)) {
        val v = eval_expr(x, e);
        t->is_int = v.is_int;
        t->v[i] = val_num(v);
        if (t->err != NULL) {
            t->err[i] = v.err;
        }
        i++;
    }
}

static bool few_axes(eval *x, const ast_sym *sym) {
    if (sym->n_dims > EVAL_MAX_DIMS) {
        eval_fail(x, EVAL_EPROGRAM, sym->span, "'%s' has %d axes, at most %d can be evaluated",
                  sym->name, sym->n_dims, (int)EVAL_MAX_DIMS);
    }
    return !x->failed;
}

static bool make_storage(eval *x, const ast_sym *sym, storage *st) {
    if (!few_axes(x, sym)) {
        return false;
    }
    st->name = sym->name;
    st->t = (eval_tensor){.format = sym->format, .n_dims = sym->n_dims};
    for (int i = 0; i < sym->n_dims; i++) {
        st->t.dims[i] = eval_int(x, sym->dims[i]);
        if (!x->failed && st->t.dims[i] < 0) {
            eval_fail(x, EVAL_EDATA, sym->span, "axis %d of '%s' would have %lld elements", i,
                      sym->name, (long long)st->t.dims[i]);
        }
    }
    if (x->failed) {
        return false;
    }
    if (!storage_alloc(st)) {
        eval_fail(x, EVAL_EMEMORY, sym->span, "no memory for '%s'", sym->name);
        return false;
    }
    if (x->bounds) {
        st->bound = calloc((size_t)eval_count(&st->t) + 1, sizeof *st->bound);
        if (st->bound == NULL) {
            eval_fail(x, EVAL_EMEMORY, sym->span, "no memory for the bounds of '%s'", sym->name);
        }
    }
    return !x->failed;
}

static void exec_temp(eval *x, const ast_stmt *s) {
    storage *st = &x->temps[s->sym->id];
    storage_free(st);
    *st = (storage){0};
    make_storage(x, s->sym, st);
}

// ---- loops

// Entry 'group' of the offsets; of ends: where the group before it ends.
static int64_t group_offset(eval *x, const ast_ragged *r, int64_t group) {
    place p = eval_place(x, r->at);
    group -= r->to;
    if (x->failed || p.st == NULL || group < 0) {
        return 0;
    }
    if (p.st->t.n_dims != 1 || group >= p.st->t.dims[0]) {
        eval_fail(x, EVAL_EDATA, r->span, "'%s' has too few entries for these groups",
                  p.st->name != NULL ? p.st->name : "the offsets");
        return 0;
    }
    return eval_load(x, p.st, &group).i;
}

static void exec_ragged(eval *x, const ast_stmt *s) {
    const ast_ragged *r = s->ragged;
    int64_t groups = eval_int(x, r->by);
    int64_t rows = x->job->dims[r->dim->id];
    int64_t before = 0;
    for (int64_t g = 0; g <= groups && !x->failed; g++) {
        int64_t at = group_offset(x, r, g);
        if (!x->failed && (at < before || at > rows)) {
            eval_fail(x, EVAL_EDATA, r->span,
                      "offset %lld of group %lld is not within %lld .. %lld ('%s' has %lld rows)",
                      (long long)at, (long long)g, (long long)before, (long long)rows, r->dim->name,
                      (long long)rows);
        }
        before = at;
    }
}

static int64_t round_up(int64_t at, int64_t align) {
    return (at + align - 1) / align * align;
}

void index_bounds(eval *x, const ast_sym *index, int64_t *lo, int64_t *hi) {
    *lo = 0;
    *hi = eval_int(x, index->dim);
    if (index->group != NULL && index->ragged != NULL) {
        int64_t g = x->ranges[index->group->id].pos;
        const ast_ragged *r = index->ragged;
        int64_t align = r->align != NULL ? eval_int(x, r->align) : 1;
        *lo = round_up(group_offset(x, r, g), align);
        int64_t end = round_up(group_offset(x, r, g + 1), r->to ? 1 : align);
        *hi = end < *hi ? end : *hi;
    }
    if (index->lo != NULL) {
        int64_t from = eval_int(x, index->lo);
        int64_t to = eval_int(x, index->hi);
        *lo = from > *lo ? from : *lo;
        *hi = to < *hi ? to : *hi;
    }
}

static const step_range all_steps = {0, INT64_MAX, 1};

void exec_steps(eval *x, const ast_stmt *s, int level, step_range steps) {
    if (level == s->n_indices) {
        exec_block(x, s->body, s->n_body);
        return;
    }
    const ast_sym *index = s->indices[level];
    range *r = &x->ranges[index->id];
    int64_t lo, end;
    index_bounds(x, index, &lo, &end);
    int64_t step = index->tile != NULL ? eval_int(x, index->tile) : 1;
    if (step <= 0) {
        eval_fail(x, EVAL_EDATA, index->span, "a tile of '%s' has %lld elements", index->name,
                  (long long)step);
    }
    int64_t number = 0;
    for (int64_t at = lo; at < end && number < steps.last && !x->failed; at += step, number++) {
        if (number < steps.first || (number - steps.first) % steps.by != 0) {
            continue;
        }
        *r = (range){.lo = at, .hi = at + step < end ? at + step : end, .pos = at, .end = end};
        exec_steps(x, s, level + 1, all_steps);
    }
    *r = (range){0};
}

static void exec_all(eval *x, const ast_stmt *s) {
    for (int i = 0; i < s->n_indices; i++) {
        int64_t n = eval_int(x, s->indices[i]->dim);
        x->ranges[s->indices[i]->id] = (range){.hi = n, .end = n};
    }
}

static void exec_if(eval *x, const ast_stmt *s) {
    val c = eval_expr(x, s->value);
    if (x->failed) {
        return;
    }
    if (val_num(c) != 0) {
        exec_block(x, s->body, s->n_body);
    } else {
        exec_block(x, s->orelse, s->n_orelse);
    }
}

static void exec_stmt(eval *x, const ast_stmt *s) {
    switch (s->kind) {
    case ST_TILE:
        x->nest = s;
        exec_steps(x, s, 0, all_steps);
        break;
    case ST_FOR: exec_split(x, s); break;
    case ST_ALL: exec_all(x, s); break;
    case ST_RAGGED: exec_ragged(x, s); break;
    case ST_TEMP: exec_temp(x, s); break;
    case ST_LET: exec_let(x, s); break;
    case ST_IF: exec_if(x, s); break;
    case ST_MEET: break; // one rank has met
    case ST_ASSIGN: exec_assign(x, s); break;
    }
}

static void exec_block(eval *x, ast_stmt *const *body, int n) {
    for (int i = 0; i < n && !x->failed; i++) {
        exec_stmt(x, body[i]);
    }
}

// ---- a run

static bool make_tables(eval *x) {
    for (elem_kind e = 0; e < ELEM_COUNT; e++) {
        if (elem_bits(e) > 8 || e == ELEM_BOOL) {
            continue;
        }
        x->tables[e] = malloc(256 * sizeof(double));
        if (x->tables[e] == NULL) {
            return false;
        }
        uint32_t mask = (1u << elem_bits(e)) - 1;
        for (uint32_t c = 0; c < 256; c++) {
            x->tables[e][c] = mach_decode(e, c & mask);
        }
    }
    return true;
}

static bool make_state(eval *x) {
    const ast_kernel *k = x->k;
    x->tparams = calloc((size_t)k->n_tparams + 1, sizeof *x->tparams);
    x->ranges = calloc((size_t)k->n_indices + 1, sizeof *x->ranges);
    x->params = calloc((size_t)k->n_params + 1, sizeof *x->params);
    x->temps = calloc((size_t)k->n_temps + 1, sizeof *x->temps);
    x->lets = calloc((size_t)k->n_lets + 1, sizeof *x->lets);
    x->records = calloc((size_t)k->n_lets + 1, sizeof *x->records);
    return x->tparams != NULL && x->ranges != NULL && x->params != NULL && x->temps != NULL &&
           x->lets != NULL && x->records != NULL && make_tables(x);
}

static void free_state(eval *x) {
    const ast_kernel *k = x->k;
    for (int i = 0; x->params != NULL && i < k->n_params; i++) {
        storage_free(&x->params[i]);
    }
    for (int i = 0; x->temps != NULL && i < k->n_temps; i++) {
        storage_free(&x->temps[i]);
    }
    for (int i = 0; x->lets != NULL && i < k->n_lets; i++) {
        tile_free(&x->lets[i]);
    }
    for (int i = 0; x->records != NULL && i < k->n_lets; i++) {
        record_free(&x->records[i]);
    }
    for (hoisted *h = x->hoists; h != NULL;) {
        hoisted *next = h->next;
        tile_free(&h->value);
        free(h);
        h = next;
    }
    for (elem_kind e = 0; e < ELEM_COUNT; e++) {
        free(x->tables[e]);
    }
    free(x->tparams);
    free(x->ranges);
    free(x->params);
    free(x->temps);
    free(x->lets);
    free(x->records);
}

static bool shape_fits(eval *x, const ast_sym *s, const eval_tensor *t) {
    for (int i = 0; i < s->n_dims; i++) {
        int64_t n = eval_int(x, s->dims[i]);
        if (!x->failed && (t->n_dims != s->n_dims || t->dims[i] != n)) {
            eval_fail(x, EVAL_EDATA, s->span,
                      "axis %d of '%s' must have %lld elements, it has %lld", i, s->name,
                      (long long)n, (long long)(t->n_dims > i ? t->dims[i] : 0));
        }
    }
    return !x->failed;
}

static void bind_params(eval *x) {
    for (int i = 0; i < x->k->n_params && !x->failed; i++) {
        const ast_sym *s = x->k->params[i];
        if (s->n_dims == 0) {
            continue;
        }
        if (!few_axes(x, s)) {
            return;
        }
        storage *st = &x->params[s->id];
        const eval_tensor *t = &x->job->tensors[s->id];
        if (t->data == NULL && s->mode == MODE_TEMP) {
            make_storage(x, s, st);
            continue;
        }
        st->t = *t;
        st->name = s->name;
        st->is_const = s->mode == MODE_CONST && elem_is_int(s->format->elem);
        st->bound = x->bounds ? x->job->bounds[s->id] : NULL;
        shape_fits(x, s, t);
    }
}

eval_status eval_run(const eval_job *job, eval_error *err) {
    *err = (eval_error){0};
    eval x = {.job = job, .k = job->kernel, .error = err};
    x.machine = job->mode == EVAL_MACHINE;
    x.bounds = job->mode == EVAL_EXACT && job->bounds != NULL;
    if (!make_state(&x)) {
        eval_fail(&x, EVAL_EMEMORY, x.k->span, "no memory to run '%s'", x.k->name);
    } else {
        lang_tparam_values(x.k, job->schedule, x.tparams);
        for (int i = 0; job->tparams != NULL && i < x.k->n_tparams; i++) {
            x.tparams[i] = job->tparams[i];
        }
        bind_params(&x);
        exec_block(&x, x.k->body, x.k->n_body);
    }
    free_state(&x);
    return err->status;
}

// ---- sizes

static bool is_size(const ast_expr *e) {
    switch (e->kind) {
    case EX_INT: return true;
    case EX_NAME:
        return e->sym != NULL && (e->sym->kind == SYM_DIM || e->sym->kind == SYM_TPARAM ||
                                  (e->sym->kind == SYM_CONST && !e->sym->is_float));
    case EX_UNARY: return is_size(e->a);
    case EX_BINARY: return is_size(e->a) && is_size(e->b);
    case EX_SELECT: return is_size(e->args[0]) && is_size(e->a) && is_size(e->b);
    case EX_CALL:
        for (int i = 0; i < e->n_args; i++) {
            if (!is_size(e->args[i])) {
                return false;
            }
        }
        return e->call == CALL_BUILTIN;
    default: return false;
    }
}

bool eval_size(const ast_expr *e, const int64_t *tparams, const int64_t *dims, int64_t *out) {
    if (!is_size(e)) {
        return false;
    }
    eval_error err = {0};
    eval_job job = {.dims = (int64_t *)(uintptr_t)dims};
    eval x = {.job = &job, .error = &err, .tparams = (int64_t *)(uintptr_t)tparams};
    val v = eval_expr(&x, e);
    *out = v.i;
    return !x.failed && v.is_int;
}
