// Whole numbers that the language counts in 64 bits and the machine in 32.
//
// Sizes and indices are less than 2^31; what is made of them may not be. In: an operation of a
// stored value, or of a bound of a loop. Out: nothing where its result fits for all sizes; a check
// of the launch where the sizes decide, so that a tensor too large is refused instead of counted
// wrong; a refusal else. What is made of i32 alone wraps, as the language says; so does what a bound
// makes of an entry of a tensor, which lies within a dimension unless the caller errs.
#include "plan_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MOST_SIZE = 0x1p31 - 0x1p16; // of a dimension (runtime/launch.c)

static tir_size *most(planner *p, const ast_expr *e);

static tir_size *most_of_two(planner *p, size_op op, const ast_expr *x, const ast_expr *y) {
    tir_size *a = most(p, x);
    tir_size *b = a != NULL ? most(p, y) : NULL;
    return b != NULL ? size_bin(p->mem, op, a, b) : NULL;
}

static tir_size *most_of_name(planner *p, const ast_expr *e, const ast_sym *s) {
    switch (s->kind) {
    case SYM_INDEX:
        return plan_size(p, s->dim);
    case SYM_DIM:
        return plan_size(p, e);
    case SYM_LET:
        return s->is_acc ? NULL : most(p, s->stmt->value);
    default:
        return NULL;
    }
}

// What |e| is at most, from the sizes of the launch; NULL: they do not say.
static tir_size *most(planner *p, const ast_expr *e) {
    int64_t v = 0;
    if (lang_const_int(e, p->g->tparams, &v)) {
        return v > -INT32_MAX ? size_int(p->mem, v < 0 ? -v : v) : NULL;
    }
    switch (e->kind) {
    case EX_NAME:
        return e->sym != NULL ? most_of_name(p, e, e->sym) : NULL;
    case EX_INDEX: // of a value of the tile
        return e->a->kind == EX_NAME && e->a->sym != NULL && e->a->sym->kind == SYM_LET
                   ? most_of_name(p, e->a, e->a->sym)
                   : NULL;
    case EX_UNARY:
        return e->op == OP_NEG ? most(p, e->a) : NULL;
    case EX_SELECT:
        return most_of_two(p, SZ_MAX, e->a, e->b);
    case EX_BINARY:
        if (e->op == OP_ADD || e->op == OP_SUB) {
            return most_of_two(p, SZ_ADD, e->a, e->b);
        }
        return e->op == OP_MUL                        ? most_of_two(p, SZ_MUL, e->a, e->b)
               : e->op == OP_DIV || e->op == OP_MOD ? most(p, e->a)
                                                      : NULL;
    default:
        return NULL;
    }
}

// The same with every size as large as it can be.
static double worst(const tir_size *s) {
    switch (s->op) {
    case SZ_INT:
        return (double)s->value;
    case SZ_DIM:
        return MOST_SIZE;
    case SZ_ADD:
        return worst(s->a) + worst(s->b);
    case SZ_MUL:
        return worst(s->a) * worst(s->b);
    case SZ_MAX:
        return fmax(worst(s->a), worst(s->b));
    case SZ_DIV:
    case SZ_CEILDIV:
        return worst(s->a);
    default:
        return INFINITY;
    }
}

bool plan_fits(planner *p, const ast_expr *e, bool bound) {
    tir_kernel *k = p->k;
    tir_size *size = most(p, e);
    bool unsized = e->type->elem == ELEM_I32 || (bound && e->op != OP_SHL);
    if (size == NULL ? unsized : worst(size) <= INT32_MAX) {
        return true;
    }
    const char *text = expr_text(p->mem, e);
    bool room = k->n_where < p->req->kernel->n_where + GRAPH_MAX;
    if (size == NULL || size->op == SZ_INT || !room) {
        PLAN_REFUSE(p, "X101", e->span, "'%s' may take 64 bits: no lowering yet", text);
        diag_help(p->d, "count in f32, or in 32 bits: i32(...) of it keeps the low ones");
        return false;
    }
    tir_where w = {.cond = size_bin(p->mem, SZ_LE, size, size_int(p->mem, INT32_MAX)),
                   .text = arena_printf(p->mem, "%s in 32 bits", text)};
    int col = 0;
    src_place(p->req->src, e->span.file, e->span.off, &w.line, &col);
    for (int i = 0; i < k->n_where; i++) {
        if (strcmp(k->where[i].text, w.text) == 0) {
            return true;
        }
    }
    k->where[k->n_where++] = w;
    return true;
}
