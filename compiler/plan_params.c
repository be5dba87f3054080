// Sizes, parameters, 'where' clauses and the tile space.
//
// Provides: k->dims, params, where, loops, fors, tparams, when.
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
        *out = b > 0 && a >= 0 ? (a + b - 1) / b : 0;
        return b > 0 && a >= 0;
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
    if (e->kind == EX_BINARY && size_op_of(e->op) >= 0) {
        tir_size *a = plan_size(p, e->a);
        tir_size *b = a != NULL ? plan_size(p, e->b) : NULL;
        return b != NULL ? size_bin(p->mem, (size_op)size_op_of(e->op), a, b) : NULL;
    }
    PLAN_REFUSE(p, "X101", e->span, "this is not a size that the launch can compute");
    return NULL;
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
                PLAN_REFUSE(p, "X101", sym->span, "'%s' shares scales between rows: no lowering yet",
                            sym->name);
                return false;
            }
        }
        out->granule = (int)f->granule[f->n_granule - 1];
    }
    if (sym->shared || sym->mode == MODE_TEMP) {
        PLAN_REFUSE(p, "X101", sym->span, "'%s': shared and temp tensors have no lowering yet",
                    sym->name);
        return false;
    }
    out->dims = ARENA_ARRAY(p->mem, tir_size *, sym->n_dims + 1);
    for (int i = 0; i < sym->n_dims; i++) {
        out->dims[i] = plan_size(p, sym->dims[i]);
        if (out->dims[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void add_where(planner *p, const ast_expr *e) {
    tir_where *w = &p->k->where[p->k->n_where];
    w->cond = plan_size(p, e);
    if (w->cond == NULL) {
        return;
    }
    size_t len = 0;
    const char *text = src_text(p->req->src, e->span.file, &len);
    int col = 0;
    src_place(p->req->src, e->span.file, e->span.off, &w->line, &col);
    w->text = arena_strndup(p->mem, text + e->span.off, e->span.len);
    if (w->cond->op != SZ_INT) { // a constant clause was proved by the checker
        p->k->n_where++;
    }
}

static void add_loops(planner *p) {
    tir_kernel *k = p->k;
    const graph *g = p->g;
    k->loops = ARENA_ARRAY(p->mem, tir_loop, g->n_loops + 1);
    for (int i = 0; i < g->n_loops; i++) {
        tir_size *dim = plan_size(p, g->loops[i]->dim);
        k->loops[k->n_loops++] = (tir_loop){g->loops[i]->name, dim, g->tiles[i]};
    }
    k->fors = ARENA_ARRAY(p->mem, tir_for, g->n_fors + 1);
    for (int i = 0; i < g->n_fors; i++) {
        const ast_sym *index = g->fors[i].sym;
        k->fors[k->n_fors++] = (tir_for){index->name, plan_size(p, index->dim), g->steps[i], 1};
    }
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
    k->where = ARENA_ARRAY(p->mem, tir_where, a->n_where + 1);
    for (int i = 0; i < a->n_where && p->ok; i++) {
        add_where(p, a->where[i]);
    }
    if (p->ok && p->f->sched != NULL && p->f->sched->when != NULL) {
        k->when = plan_size(p, p->f->sched->when);
    }
    if (p->ok) {
        add_loops(p);
    }
}
