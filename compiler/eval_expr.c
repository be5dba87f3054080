// The value of an expression at the current positions of its indices.
#include "eval_impl.h"
#include "lang.h"

#include <math.h>
#include <stdlib.h>

int64_t linear_index(const eval_tensor *t, const int64_t *coords) {
    int64_t at = 0;
    for (int i = 0; i < t->n_dims; i++) {
        at = at * t->dims[i] + coords[i];
    }
    return at;
}

double eval_code_value(const eval *x, elem_kind e, uint32_t code) {
    return x->tables[e] != NULL ? x->tables[e][code & 255] : mach_decode(e, code);
}

val eval_load(eval *x, storage *s, const int64_t *coords) {
    int64_t i = linear_index(&s->t, coords);
    elem_kind e = s->t.format->elem;
    uint64_t code = eval_get_code(&s->t, i);
    if (elem_is_int(e) || e == ELEM_BOOL) {
        x->n_data_loads++;
        return val_int(e == ELEM_I64 ? (int64_t)code : (int64_t)(int32_t)(uint32_t)code);
    }
    val r = {.v = eval_code_value(x, e, (uint32_t)code)};
    if (s->t.format->scale != ELEM_NONE) {
        r.v *= eval_code_value(x, s->t.format->scale,
                               eval_scale_code(&s->t, eval_scale_index(&s->t, coords)));
        r.v = x->machine ? (double)(float)r.v : r.v;
    }
    r.err = s->bound != NULL ? s->bound[i] : 0;
    r.rounded = (uint8_t)(s->t.format->scale == ELEM_NONE ? e + 1 : 0);
    return r;
}

bool tile_reset(eval *x, tile *t, const axis_list *axes, ast_span at) {
    int64_t n = 1;
    t->axes = *axes;
    for (int i = 0; i < axes->n; i++) {
        const range *r = &x->ranges[axes->sym[i]->id];
        t->origin[i] = r->lo;
        t->extent[i] = r->hi > r->lo ? r->hi - r->lo : 0;
        n *= t->extent[i];
    }
    if (n > t->cap) {
        free(t->v);
        free(t->err);
        t->v = malloc((size_t)n * sizeof *t->v);
        t->err = x->bounds ? malloc((size_t)n * sizeof *t->err) : NULL;
        t->cap = n;
        if (t->v == NULL || (x->bounds && t->err == NULL)) {
            t->cap = 0;
            eval_fail(x, EVAL_EMEMORY, at, "no memory for a tile of %lld values", (long long)n);
            return false;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        t->v[i] = 0;
    }
    for (int64_t i = 0; i < n && t->err != NULL; i++) {
        t->err[i] = 0;
    }
    t->is_int = false;
    t->format = NULL;
    return true;
}

void tile_free(tile *t) {
    free(t->v);
    free(t->err);
    storage_free(&t->q);
}

int64_t tile_index(const eval *x, const tile *t, const int64_t *coords) {
    int64_t at = 0;
    for (int i = 0; i < t->axes.n; i++) {
        int64_t c = coords != NULL ? coords[i] : x->ranges[t->axes.sym[i]->id].pos;
        c -= t->origin[i];
        if (c < 0 || c >= t->extent[i]) {
            return -1;
        }
        at = at * t->extent[i] + c;
    }
    return at;
}

val tile_load(const eval *x, const tile *t, int64_t i) {
    (void)x;
    if (t->is_int) {
        return val_int((int64_t)t->v[i]);
    }
    bool plain = t->format != NULL && t->format->scale == ELEM_NONE;
    return (val){.v = t->v[i],
                 .err = t->err != NULL ? t->err[i] : 0,
                 .rounded = (uint8_t)(plain ? t->format->elem + 1 : 0)};
}

static place place_of_name(eval *x, const ast_expr *e) {
    const ast_sym *s = e->sym;
    switch (s->kind) {
    case SYM_PARAM: return (place){.st = &x->params[s->id]};
    case SYM_TEMP: return (place){.st = &x->temps[s->id]};
    case SYM_LET: return (place){.tile = &x->lets[s->id]};
    default:
        eval_fail(x, EVAL_EPROGRAM, e->span, "'%s' has no elements", s->name);
        return (place){.st = NULL};
    }
}

// peer(X, r): with one rank, X itself.
static place place_of_peer(eval *x, const ast_expr *e) {
    int64_t rank = eval_int(x, e->args[1]);
    if (rank != 0) {
        eval_fail(x, EVAL_EPROGRAM, e->span,
                  "rank %lld does not exist: the evaluator runs one rank", (long long)rank);
    }
    return eval_place(x, e->args[0]);
}

place eval_place(eval *x, const ast_expr *e) {
    switch (e->kind) {
    case EX_NAME: return place_of_name(x, e);
    case EX_INDEX: return eval_place(x, e->a);
    case EX_MEMBER: return (place){.st = record_field(x, e)};
    case EX_CALL:
        if (e->call == CALL_PEER) {
            return place_of_peer(x, e);
        }
        break;
    default: break;
    }
    eval_fail(x, EVAL_EPROGRAM, e->span, "this expression cannot be subscripted");
    return (place){.st = NULL};
}

static void bounds_of_axis(const place *p, int axis, int64_t *lo, int64_t *hi) {
    if (p->st != NULL) {
        *lo = 0;
        *hi = p->st->t.dims[axis];
    } else {
        *lo = p->tile->origin[axis];
        *hi = *lo + p->tile->extent[axis];
    }
}

static const char *place_name(const place *p) {
    return p->st != NULL && p->st->name != NULL ? p->st->name : "a tile";
}

bool eval_coords(eval *x, const ast_expr *e, const place *p, int64_t *coords) {
    int n_axes = p->st != NULL ? p->st->t.n_dims : p->tile->axes.n;
    if (e->n_args != n_axes) {
        eval_fail(x, EVAL_EPROGRAM, e->span, "'%s' has %d axes, %d subscripts are given",
                  place_name(p), n_axes, e->n_args);
        return false;
    }
    bool inside = true;
    int n_colon = 0;
    for (int i = 0; i < n_axes; i++) {
        if (e->args[i]->kind == EX_ALL) {
            coords[i] = x->colon[n_colon++];
            continue;
        }
        int64_t before = x->n_data_loads;
        coords[i] = eval_int(x, e->args[i]);
        int64_t lo, hi;
        bounds_of_axis(p, i, &lo, &hi);
        if (coords[i] >= lo && coords[i] < hi) {
            continue;
        }
        inside = false;
        bool from_data = x->n_data_loads != before;
        if (from_data || (p->st != NULL && p->st->is_const)) {
            eval_fail(x, EVAL_EDATA, e->args[i]->span,
                      "subscript %lld%s is outside axis %d of '%s', which has %lld entries",
                      (long long)coords[i], from_data ? ", read from a tensor," : "", i,
                      place_name(p), (long long)hi);
        }
    }
    return inside;
}

static val load_place(eval *x, const place *p, const int64_t *coords) {
    if (p->st != NULL) {
        return eval_load(x, p->st, coords);
    }
    int64_t i = tile_index(x, p->tile, coords);
    if (i < 0) {
        x->outside = true;
        return (val){.is_int = p->tile->is_int};
    }
    return tile_load(x, p->tile, i);
}

static val eval_index(eval *x, const ast_expr *e) {
    place p = eval_place(x, e->a);
    int64_t coords[MAX_AXES];
    if (x->failed || !eval_coords(x, e, &p, coords)) {
        x->outside = true;
        return (val){0};
    }
    return load_place(x, &p, coords);
}

static val eval_fnarg(eval *x, const ast_expr *e) {
    const call_frame *f = x->n_calls > 0 ? &x->calls[x->n_calls - 1] : NULL;
    for (int i = 0; f != NULL && i < f->fn->n_args; i++) {
        if (f->fn->args[i] == e->sym) {
            return f->args[i];
        }
    }
    eval_fail(x, EVAL_EPROGRAM, e->span, "'%s' is no argument of the running function",
              e->sym->name);
    return (val){0};
}

static val eval_scalar_param(eval *x, const ast_expr *e) {
    const ast_sym *s = e->sym;
    if (s->n_dims > 0) {
        eval_fail(x, EVAL_EPROGRAM, e->span, "tensor '%s' is used without subscripts", s->name);
        return (val){0};
    }
    const eval_scalar *v = &x->job->scalars[s->id];
    if (elem_is_int(s->format->elem) || s->format->elem == ELEM_BOOL) {
        return val_int(v->i);
    }
    return (val){.v = mach_decode(s->format->elem, mach_encode(s->format->elem, v->f))};
}

static val eval_name(eval *x, const ast_expr *e) {
    const ast_sym *s = e->sym;
    switch (s->kind) {
    case SYM_CONST: return s->is_float ? val_real(x, s->fvalue) : val_int(s->ivalue);
    case SYM_TPARAM: return val_int(x->tparams[s->id]);
    case SYM_DIM: return val_int(x->job->dims[s->id]);
    case SYM_INDEX: return val_int(x->ranges[s->id].pos);
    case SYM_FNARG: return eval_fnarg(x, e);
    case SYM_PARAM: return eval_scalar_param(x, e);
    case SYM_LET: return load_place(x, &(place){.tile = &x->lets[s->id]}, NULL);
    default: eval_fail(x, EVAL_EPROGRAM, e->span, "'%s' is not a value", s->name); return (val){0};
    }
}

static val eval_call_fn(eval *x, const ast_expr *e) {
    if (x->n_calls >= MAX_CALLS || e->n_args > MAX_ARGS) {
        eval_fail(x, EVAL_EPROGRAM, e->span, "calls nest deeper than %d, or more than %d arguments",
                  MAX_CALLS, MAX_ARGS);
        return (val){0};
    }
    call_frame f = {.fn = e->sym};
    for (int i = 0; i < e->n_args; i++) {
        f.args[i] = eval_expr(x, e->args[i]);
    }
    x->calls[x->n_calls++] = f;
    val r = eval_expr(x, e->sym->init);
    x->n_calls--;
    return r;
}

// Columns 2i and 2i + 1 of the last axis of x, whichever of the two the position is at.
static val eval_swiglu(eval *x, const ast_expr *e) {
    axis_list axes = {0};
    axes_of(x, e->args[0], &axes);
    if (axes.n == 0) {
        eval_fail(x, EVAL_EPROGRAM, e->span, "swiglu needs a value with a column index");
        return (val){0};
    }
    range *r = &x->ranges[axes.sym[axes.n - 1]->id];
    int64_t pos = r->pos;
    if ((pos & 1 ? pos == r->lo : pos + 1 == r->hi && r->hi < r->end)) {
        eval_fail(x, EVAL_EDATA, e->span, "the tile of '%s' cuts the column pair %lld, %lld",
                  axes.sym[axes.n - 1]->name, (long long)(pos & ~INT64_C(1)), (long long)(pos | 1));
    }
    r->pos = pos & ~INT64_C(1);
    val gate = eval_expr(x, e->args[0]);
    r->pos = pos | 1;
    val up = eval_expr(x, e->args[0]);
    r->pos = pos;
    return val_swiglu(x, gate, up);
}

static val eval_convert(eval *x, const ast_expr *e) {
    if (e->format->scale != ELEM_NONE) {
        tile *t = quant_hoisted(x, e);
        int64_t i = t != NULL ? tile_index(x, t, NULL) : -1;
        if (i < 0) {
            eval_fail(x, EVAL_EPROGRAM, e->span, "%s(...) is not possible here", e->format->name);
            return (val){0};
        }
        return tile_load(x, t, i);
    }
    val a = eval_expr(x, e->args[0]);
    if (e->n_args > 1) {
        a = val_binary(x, OP_DIV, a.is_int ? val_real(x, (double)a.i) : a,
                       eval_expr(x, e->args[1]));
    }
    if (!elem_is_int(e->format->elem) && a.is_int) {
        a = val_real(x, (double)a.i);
    }
    return val_round(x, a, e->format->elem);
}

static val eval_call(eval *x, const ast_expr *e) {
    switch (e->call) {
    case CALL_FN: return eval_call_fn(x, e);
    case CALL_CONVERT: return eval_convert(x, e);
    case CALL_BUILTIN: {
        if (e->builtin == BI_SWIGLU) {
            return eval_swiglu(x, e);
        }
        val args[3] = {{0}};
        for (int i = 0; i < e->n_args && i < 3; i++) {
            args[i] = eval_expr(x, e->args[i]);
        }
        int64_t quotient = 0;
        if (e->builtin == BI_CEILDIV) {
            if (!lang_ceildiv(args[0].i, args[1].i, &quotient)) {
                eval_fail(x, EVAL_EDATA, e->span, "ceildiv(%lld, %lld) has no value",
                          (long long)args[0].i, (long long)args[1].i);
            }
            return val_int(quotient);
        }
        return val_builtin(x, e->builtin, args);
    }
    default: eval_fail(x, EVAL_EPROGRAM, e->span, "this call has no value"); return (val){0};
    }
}

static val reduce_step(const eval *x, reduce_kind kind, val acc, val v) {
    if (kind == RED_SUM) {
        return val_binary(x, OP_ADD, acc, v);
    }
    val args[2] = {acc, v};
    return val_builtin(x, kind == RED_MAX ? BI_MAX : BI_MIN, args);
}

// Ascending, from the first element; elements loaded from outside a tensor are no part of a max.
static val eval_reduce(eval *x, const ast_expr *e) {
    axis_list axes = {.n = 1, .sym = {e->index}};
    bool outside = x->outside;
    // of a reduction or store around it over the same index
    int64_t before = x->ranges[e->index->id].pos;
    bool any = false;
    val acc = {.v = e->reduce == RED_SUM ? 0 : e->reduce == RED_MAX ? -INFINITY : INFINITY};
    for (bool more = points_begin(x, &axes); more && !x->failed; more = points_next(x, &axes)) {
        x->outside = false;
        val v = eval_expr(x, e->a);
        if (e->reduce == RED_SUM || !x->outside) {
            acc = any ? reduce_step(x, e->reduce, acc, v) : v;
            any = true;
        }
    }
    x->outside = outside;
    x->ranges[e->index->id].pos = before;
    return acc;
}

static val eval_select(eval *x, const ast_expr *e) {
    val c = eval_expr(x, e->args[0]);
    bool taken = val_num(c) != 0;
    val r = eval_expr(x, taken ? e->a : e->b);
    if (c.err > 0) { // the machine may take the other side
        val other = eval_expr(x, taken ? e->b : e->a);
        r = (val){.v = val_num(r), .err = fabs(val_num(r) - val_num(other)) + r.err + other.err};
    }
    return r;
}

static val eval_binary(eval *x, const ast_expr *e) {
    val a = eval_expr(x, e->a);
    if ((e->op == OP_AND || e->op == OP_OR) && a.err == 0 &&
        (val_num(a) != 0) == (e->op == OP_OR)) {
        return val_int(e->op == OP_OR);
    }
    val b = eval_expr(x, e->b);
    if ((e->op == OP_DIV || e->op == OP_MOD) && a.is_int && b.is_int && b.i == 0) {
        eval_fail(x, EVAL_EDATA, e->span, "integer division by zero");
        return val_int(0);
    }
    val r = val_binary(x, e->op, a, b);
    return r.is_int && e->type != NULL && e->type->elem == ELEM_I32 ? val_round(x, r, ELEM_I32) : r;
}

static val eval_unary(eval *x, const ast_expr *e) {
    val a = eval_expr(x, e->a);
    if (e->op == OP_NEG) {
        return val_neg(a);
    }
    if (e->op == OP_NOT) {
        val r = val_int(val_num(a) == 0);
        r.err = a.err > 0;
        return r;
    }
    return val_int(~a.i);
}

// A constant expression of floats is folded in double and rounded once.
static val eval_constant(eval *x, const ast_expr *e) {
    bool machine = x->machine;
    bool bounds = x->bounds;
    x->machine = x->bounds = false;
    val a = e->kind == EX_UNARY ? eval_unary(x, e) : eval_binary(x, e);
    x->machine = machine;
    x->bounds = bounds;
    return a.is_int ? a : val_real(x, a.v);
}

val eval_expr(eval *x, const ast_expr *e) {
    if (x->failed) {
        return (val){0};
    }
    if (e->is_const && (e->kind == EX_BINARY || e->kind == EX_UNARY)) {
        return eval_constant(x, e);
    }
    switch (e->kind) {
    case EX_INT: return val_int(e->ivalue);
    case EX_FLOAT: return val_real(x, e->fvalue);
    case EX_NAME: return eval_name(x, e);
    case EX_UNARY: return eval_unary(x, e);
    case EX_BINARY: return eval_binary(x, e);
    case EX_CALL: return eval_call(x, e);
    case EX_INDEX: return eval_index(x, e);
    case EX_REDUCE: return eval_reduce(x, e);
    case EX_SELECT: return eval_select(x, e);
    default:
        eval_fail(x, EVAL_EPROGRAM, e->span, "this expression has no value of its own");
        return (val){0};
    }
}

int64_t eval_int(eval *x, const ast_expr *e) {
    val a = eval_expr(x, e);
    if (!a.is_int && !x->failed) {
        eval_fail(x, EVAL_EPROGRAM, e->span, "an integer is needed here");
    }
    return a.i;
}
