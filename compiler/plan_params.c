// Sizes, parameters, 'where' clauses and the tile space.
//
// Provides: k->dims, params, where, loops, fors, tparams, when, cost.
#include "plan_int.h"

#include <string.h>

tir_size *size_int(arena *mem, int64_t v) {
    tir_size *s = ARENA_NEW(mem, tir_size);
    *s = (tir_size){.op = SZ_INT, .value = v};
    return s;
}

static bool fold(size_op op, int64_t a, int64_t b, int64_t *out) {
    switch (op) {
    case SZ_ADD:
        return !__builtin_add_overflow(a, b, out);
    case SZ_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case SZ_MUL:
        return !__builtin_mul_overflow(a, b, out);
    case SZ_DIV:
        *out = b > 0 ? a / b : 0;
        return b > 0;
    case SZ_CEILDIV:
        return lang_ceildiv(a, b, out);
    default:
        return false;
    }
}

tir_size *size_bin(arena *mem, size_op op, tir_size *a, tir_size *b) {
    int64_t v = 0;
    if (a->op == SZ_INT && b->op == SZ_INT && fold(op, a->value, b->value, &v)) {
        return size_int(mem, v);
    }
    bool unit = b->op == SZ_INT && b->value == 1;
    if (unit && (op == SZ_MUL || op == SZ_DIV || op == SZ_CEILDIV)) {
        return a;
    }
    tir_size *s = ARENA_NEW(mem, tir_size);
    *s = (tir_size){.op = op, .a = a, .b = b};
    return s;
}

static int dim_number(planner *p, const ast_sym *dim) {
    for (int i = 0; i < p->k->n_dims; i++) {
        if (strcmp(p->k->dims[i], dim->name) == 0) {
            return i;
        }
    }
    return -1;
}

static int size_op_of(ast_op op) {
    switch (op) {
    case OP_ADD:
        return SZ_ADD;
    case OP_SUB:
        return SZ_SUB;
    case OP_MUL:
        return SZ_MUL;
    case OP_DIV:
        return SZ_DIV;
    case OP_MOD:
        return SZ_MOD;
    case OP_EQ:
        return SZ_EQ;
    case OP_NE:
        return SZ_NE;
    case OP_LT:
        return SZ_LT;
    case OP_LE:
        return SZ_LE;
    case OP_GT:
        return SZ_GT;
    case OP_GE:
        return SZ_GE;
    case OP_AND:
        return SZ_AND;
    case OP_OR:
        return SZ_OR;
    default:
        return -1;
    }
}

static int size_call_of(builtin_kind b) {
    return b == BI_MIN ? SZ_MIN : b == BI_MAX ? SZ_MAX : b == BI_CEILDIV ? SZ_CEILDIV : -1;
}

tir_size *plan_size(planner *p, const ast_expr *e) {
    int64_t v = 0;
    if (lang_const_int(e, p->g->tparams, &v)) {
        return size_int(p->mem, v);
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_DIM) {
        tir_size *s = ARENA_NEW(p->mem, tir_size);
        *s = (tir_size){.op = SZ_DIM, .dim = dim_number(p, e->sym)};
        return s;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_SMS) {
        tir_size *s = ARENA_NEW(p->mem, tir_size);
        *s = (tir_size){.op = SZ_SMS};
        return s;
    }
    int call = e->kind == EX_CALL && e->call == CALL_BUILTIN ? size_call_of(e->builtin) : -1;
    if (call >= 0) {
        tir_size *a = plan_size(p, e->args[0]);
        tir_size *b = a != NULL ? plan_size(p, e->args[1]) : NULL;
        return b != NULL ? size_bin(p->mem, (size_op)call, a, b) : NULL;
    }
    if (e->kind == EX_BINARY && size_op_of(e->op) >= 0) {
        tir_size *a = plan_size(p, e->a);
        tir_size *b = a != NULL ? plan_size(p, e->b) : NULL;
        return b != NULL ? size_bin(p->mem, (size_op)size_op_of(e->op), a, b) : NULL;
    }
    if (e->kind == EX_UNARY && (e->op == OP_NEG || e->op == OP_NOT)) {
        tir_size *a = plan_size(p, e->a);
        tir_size *zero = size_int(p->mem, 0);
        return a == NULL         ? NULL
               : e->op == OP_NEG ? size_bin(p->mem, SZ_SUB, zero, a)
                                 : size_bin(p->mem, SZ_EQ, a, zero);
    }
    PLAN_REFUSE(p, "X101", e->span, "this is not a size that the launch can compute");
    diag_help(p->d, "sizes, numbers and, of 'when' and 'cost', sms, by + - * / %% == != < <= > >= && || ! "
                    "ceildiv min max");
    return NULL;
}

// What groups begin at multiples of.
static int64_t align_of(planner *p, const ast_ragged *r) {
    int64_t n = 1;
    if (r->align != NULL && !lang_const_int(r->align, p->g->tparams, &n)) {
        n = 0;
    }
    if (n < 1 || n > RAGGED_MOST_ALIGN) {
        PLAN_REFUSE(p, "D107", r->align->span,
                    "groups begin at multiples of %lld: 1 to %d is possible", (long long)n,
                    RAGGED_MOST_ALIGN);
        return 1;
    }
    return n;
}

static bool in_tiles(const ast_format *f) {
    return f->layout != NULL && layout_find(f->layout) == LAYOUT_128X4;
}

static bool add_param(planner *p, const ast_sym *sym, tir_param *out) {
    const ast_format *f = sym->format;
    *out = (tir_param){.name = sym->name,
                       .is_tensor = sym->n_dims > 0,
                       .mode = sym->mode,
                       .format = f->name,
                       .elem = f->elem,
                       .scale = f->scale,
                       .layout = f->layout,
                       .granule_rows = 1,
                       .n_dims = sym->n_dims,
                       .align = 16};
    if (f->scale != ELEM_NONE) {
        bool rows = f->scale == ELEM_F32 && f->n_granule > 1; // may be shared between rows
        out->granule_rows = rows ? (int)f->granule[f->n_granule - 2] : 1;
        for (int i = 0; i + (rows ? 2 : 1) < f->n_granule; i++) {
            if (f->granule[i] != 1) {
                PLAN_REFUSE(p, "X101", sym->span,
                            "'%s' shares scales between rows: no lowering yet", sym->name);
                diag_help(p->d,
                          f->scale == ELEM_F32
                              ? "along the last two axes they may be shared: per [128, 128]"
                              : "scales of one byte are shared along the last axis, the one that "
                                "products sum over: store the tensor turned around, per [1, %lld]; "
                                "f32 ones may be shared between rows as well",
                          (long long)(f->granule[i] > 1 ? f->granule[i] : 32));
                return false;
            }
        }
        out->granule = (int)f->granule[f->n_granule - 1];
    }
    if (elem_bits(f->scale) == 8 && !in_tiles(f)) {
        PLAN_REFUSE(p, "X101", sym->type_span,
                    "the %s scales of '%s' lie as '%s': kernels read and write scales of one byte "
                    "as sf128x4, the tiles that tensor cores take",
                    elem_name(f->scale), sym->name, f->layout != NULL ? f->layout : "linear");
        diag_help(p->d,
                  "'%s : %s[..] @ sf128x4', or '@ sf128x4' behind the format; lib/quant/scales.tk "
                  "has the kernels that bring others there",
                  sym->name, f->name);
        return false;
    }
    if (sym->shared || sym->mode == MODE_TEMP) {
        PLAN_REFUSE(p, "X101", sym->span, "'%s': shared and temp tensors have no lowering yet",
                    sym->name);
        return false;
    }
    if (sym->n_dims > 0 && elem_bits(f->elem) > 32) {
        PLAN_REFUSE(p, "X101", sym->span, "'%s': tensors of %s have no lowering yet", sym->name,
                    f->name);
        return false;
    }
    if (sym->n_dims == 0 && f->elem == ELEM_BOOL) {
        PLAN_REFUSE(p, "X101", sym->span, "'%s': scalars of bool have no lowering yet", sym->name);
        diag_help(p->d, "'%s : i32', and '%s != 0' where it is asked", sym->name, sym->name);
        return false;
    }
    out->dims = ARENA_ARRAY(p->mem, tir_size *, sym->n_dims + 1);
    for (int i = 0; i < sym->n_dims; i++) {
        out->dims[i] = plan_size(p, sym->dims[i]);
        if (out->dims[i] == NULL) {
            return false;
        }
    }
    const ast_ragged *r =
        sym->n_dims > 1 ? graph_ragged_of(p->req->kernel, sym->dims[sym->n_dims - 2]) : NULL;
    bool tiled = r != NULL && in_tiles(f);
    if (tiled && !ragged_is_packed(r) && align_of(p, r) % TIR_ATOM_ROWS != 0) {
        PLAN_REFUSE(p, "X101", r->span,
                    "groups of '%s' begin at multiples of %lld, but the scales of '%s' lie in "
                    "tiles of %d rows",
                    r->dim->name, (long long)align_of(p, r), sym->name, TIR_ATOM_ROWS);
        diag_help(p->d, "align %d, or offsets without 'align'", TIR_ATOM_ROWS);
    } else if (tiled && ragged_is_packed(r)) {
        out->groups = plan_size(p, r->by);
        if (sym->n_dims != 2) {
            PLAN_REFUSE(p, "X101", sym->span,
                        "'%s' has ragged scales in more than one matrix: no lowering yet",
                        sym->name);
        }
    }
    return p->ok;
}

// A clause as written; what subscripts imply stands nowhere.
static void add_where(planner *p, const ast_expr *e, bool implied) {
    tir_where *w = &p->k->where[p->k->n_where];
    w->cond = plan_size(p, e);
    if (w->cond == NULL) {
        return;
    }
    size_t len = 0;
    const char *text = src_text(p->req->src, e->span.file, &len);
    int col = 0;
    src_place(p->req->src, e->span.file, e->span.off, &w->line, &col);
    w->text = implied ? expr_text(p->mem, e)
                      : arena_strndup(p->mem, text + e->span.off, e->span.len);
    if (w->cond->op != SZ_INT) { // a constant clause was proved by the checker
        p->k->n_where++;
    }
}

// --- Loops ---------------------------------------------------------------------------------------

// An entry of the offsets or ends of a ragged dimension: that of group 'index', or of one beside
// it.
static tir_expr *offset_of(planner *p, const ast_sym *index, int behind) {
    tir_expr *x = ARENA_NEW(p->mem, tir_expr);
    *x = (tir_expr){
        .kind = TX_LOAD, .type = ELEM_I32, .ref = index->ragged->at->sym->id, .n_axes = 1};
    x->axes = ARENA_ARRAY(p->mem, tir_axis, 1);
    x->axes[0] =
        (tir_axis){.loop = graph_loop_of(p->g, index->group), .mul = 1, .div = 1, .add = behind};
    return x;
}

static tir_expr *int_node(planner *p, tir_expr_kind kind, int n, tir_expr *const *args) {
    tir_expr *x = ARENA_NEW(p->mem, tir_expr);
    *x = (tir_expr){.kind = kind, .type = ELEM_I32, .n_args = n};
    x->args = ARENA_ARRAY(p->mem, tir_expr *, n + 1);
    for (int i = 0; i < n; i++) {
        x->args[i] = args[i];
    }
    return x;
}

static tir_expr *int_binary(planner *p, ast_op op, tir_expr *a, tir_expr *b) {
    tir_expr *x = int_node(p, TX_BINARY, 2, (tir_expr *[]){a, b});
    x->op = op;
    x->type = op == OP_LT ? ELEM_BOOL : ELEM_I32;
    return x;
}

static tir_expr *int_const(planner *p, int64_t v) {
    tir_expr *x = int_node(p, TX_CONST, 0, NULL);
    x->value = (double)v;
    return x;
}

// The same rounded up. What lies behind the dimension is cut off before that, so that nothing
// overflows unless the dimension itself is within 'align' of 2^31.
static tir_expr *rounded_offset(planner *p, const ast_sym *index, int behind) {
    tir_expr *at = offset_of(p, index, behind);
    int64_t align = align_of(p, index->ragged);
    if (align == 1) {
        return at;
    }
    tir_expr *size = plan_expr(p, index->dim);
    if (size == NULL) {
        return NULL;
    }
    tir_expr *in =
        int_node(p, TX_SELECT, 3, (tir_expr *[]){int_binary(p, OP_LT, at, size), at, size});
    tir_expr *up = int_binary(p, OP_ADD, in, int_const(p, align - 1));
    return int_binary(p, OP_MUL, int_binary(p, OP_DIV, up, int_const(p, align)),
                      int_const(p, align));
}

static tir_expr *bound_of(planner *p, const ast_expr *e) {
    tir_expr *x = plan_expr(p, e);
    if (x != NULL && x->type != ELEM_I32) {
        PLAN_REFUSE(p, "X101", e->span, "a bound that is no i32 has no lowering yet");
        return NULL;
    }
    return x;
}

// The part of its dimension that an index walks.
static void add_bounds(planner *p, const ast_sym *index, tir_loop *l) {
    if (index->group != NULL) {
        l->group = graph_loop_of(p->g, index->group);
        if (l->group < 0) {
            PLAN_REFUSE(
                p, "X101", index->group_span,
                "'%s' is no index of the tile loop: groups that a 'for' walks have no lowering yet",
                index->group->name);
            return;
        }
        // where the group before this one ends: 0 outside of the tensor
        bool to = index->ragged->to;
        l->lo = rounded_offset(p, index, to ? -1 : 0);
        l->hi = to ? offset_of(p, index, 0) : rounded_offset(p, index, 1);
        l->group = ragged_is_packed(index->ragged) ? l->group : -1;
    }
    if (index->lo != NULL && index->group != NULL) {
        PLAN_REFUSE(p, "X101", index->span, "bounds inside of a group have no lowering yet");
    } else if (index->lo != NULL) {
        l->lo = bound_of(p, index->lo);
        l->hi = p->ok ? bound_of(p, index->hi) : NULL;
    }
}

static void add_loops(planner *p) {
    tir_kernel *k = p->k;
    const graph *g = p->g;
    k->walk.groups = g->n_groups;
    k->loops = ARENA_ARRAY(p->mem, tir_loop, g->n_loops + 1); // one more: plan_tiles.c
    for (int i = 0; i < g->n_loops && p->ok; i++) {
        const ast_sym *index = g->loops[i];
        tir_loop *l = &k->loops[k->n_loops++];
        *l = (tir_loop){.index = index->name,
                        .dim = plan_size(p, index->dim),
                        .tile = g->tiles[i],
                        .group = -1};
        add_bounds(p, index, l);
    }
    k->fors = ARENA_ARRAY(p->mem, tir_for, g->n_fors + 1);
    for (int i = 0; i < g->n_fors && p->ok; i++) {
        const ast_sym *index = g->fors[i].sym;
        tir_loop part = {.group = -1};
        add_bounds(p, index, &part);
        k->fors[k->n_fors++] = (tir_for){.index = index->name,
                                         .extent = plan_size(p, index->dim),
                                         .step = g->steps[i],
                                         .split = 1,
                                         .lo = part.lo,
                                         .hi = part.hi};
    }
}

// 'walk ... order e, t, n': all tile loops, those that number groups first.
bool plan_order(const facts *f, diag *d, graph *g) {
    const ast_sym *loops[GRAPH_MAX];
    int tiles[GRAPH_MAX];
    for (int i = 0; i < f->order.n; i++) {
        const fact_name *name = &f->order.at[i];
        int at = 0;
        while (at < g->n_loops && strcmp(g->loops[at]->name, name->text) != 0) {
            at++;
        }
        bool twice = false;
        for (int j = 0; j < i; j++) {
            twice = twice || strcmp(f->order.at[j].text, name->text) == 0;
        }
        if (at == g->n_loops || twice || f->order.n != g->n_loops) {
            diag_report(d, DIAG_ERROR, "F103", name->span,
                        at == g->n_loops ? "'%s' is not an index of the tile loop"
                        : twice          ? "'%s' stands twice in the order"
                                         : "the order from '%s' on names other indices than the tile loop",
                        name->text);
            return false;
        }
        if (i < g->n_groups && at >= g->n_groups) {
            diag_report(d, DIAG_ERROR, "X101", name->span,
                        "'%s' comes before '%s', but bounds depend on '%s': the walk takes one "
                        "group after the other",
                        name->text, g->loops[i]->name, g->loops[i]->name);
            return false;
        }
        loops[i] = g->loops[at];
        tiles[i] = g->tiles[at];
    }
    if (f->order.n > 0) {
        memcpy(g->loops, loops, sizeof loops[0] * (size_t)f->order.n);
        memcpy(g->tiles, tiles, sizeof tiles[0] * (size_t)f->order.n);
    }
    return true;
}

void plan_params(planner *p) {
    const ast_kernel *a = p->req->kernel;
    tir_kernel *k = p->k;
    k->dims = ARENA_ARRAY(p->mem, const char *, a->n_dims + 1);
    for (int i = 0; i < a->n_dims; i++) {
        k->dims[k->n_dims++] = a->dims[i]->name;
    }
    k->tparams = ARENA_ARRAY(p->mem, tir_tparam, a->n_tparams + 1);
    for (int i = 0; i < a->n_tparams; i++) {
        k->tparams[k->n_tparams++] =
            (tir_tparam){a->tparams[i]->name, p->g->tparams[a->tparams[i]->id]};
    }
    k->params = ARENA_ARRAY(p->mem, tir_param, a->n_params + 1);
    for (int i = 0; i < a->n_params && p->ok; i++) {
        if (add_param(p, a->params[i], &k->params[k->n_params])) {
            k->n_params++;
        }
    }
    // And those of stores (plan_stores.c) and of their values (plan_wide.c).
    k->where = ARENA_ARRAY(p->mem, tir_where, a->n_where + 2 * GRAPH_MAX);
    for (int i = 0; i < a->n_where && p->ok; i++) {
        add_where(p, a->where[i], i >= a->n_where_written);
    }
    if (p->ok && p->f->sched != NULL && p->f->sched->when != NULL) {
        k->when = plan_size(p, p->f->sched->when);
    }
    if (p->ok && p->f->cost != NULL) {
        k->cost = plan_size(p, p->f->cost);
    }
    if (p->ok) {
        add_loops(p);
    }
}
