// What a kernel reads of tensors that it also stores.
//
// Requires: a whole graph. Sums and lets are computed where they are used (plan_expr.c), tiles in
// any order. Refuses: a let or a sum that reads a tensor which is stored between it and its use: it
// would see the new value; and reads of a stored tensor at other elements than the stored ones:
// another lane or tile may have stored them already, or not yet.
#include "graph.h"

typedef struct {
    const graph *g;
    diag *d;
    const graph_store *of; // whose value is walked; NULL: the operands of products
    const ast_sym *held;   // the let or sum that is walked, the innermost; NULL: none
    uint32_t from;         // where that stands
    ast_span used;         // its name in the stored value
    bool ok;
} order;

static bool same_tree(const ast_expr *x, const ast_expr *y) {
    if (x == NULL || y == NULL) {
        return x == y;
    }
    bool same = x->kind == y->kind && x->op == y->op && x->sym == y->sym &&
                x->ivalue == y->ivalue && x->n_args == y->n_args && x->kind != EX_ALL &&
                same_tree(x->a, y->a) && same_tree(x->b, y->b);
    for (int i = 0; same && i < x->n_args; i++) {
        same = same_tree(x->args[i], y->args[i]);
    }
    return same;
}

// Two slices of one tensor: the same element for each point of a tile, or never one in common.
static bool apart_or_same(const ast_expr *x, const ast_expr *y) {
    bool same = x->n_args == y->n_args;
    for (int i = 0; i < x->n_args && i < y->n_args; i++) {
        const ast_expr *p = x->args[i];
        const ast_expr *q = y->args[i];
        if (p->kind == EX_INT && q->kind == EX_INT && p->ivalue != q->ivalue) {
            return true;
        }
        same = same && same_tree(p, q);
    }
    return same;
}

static void check_elements(order *o, const ast_expr *e, const graph_store *st) {
    const ast_expr *t = st->stmt->target;
    const char *name = st->param->name;
    if (apart_or_same(e, t)) {
        return;
    }
    o->ok = false;
    diag_report(o->d, DIAG_ERROR, "X101", e->span,
                "'%s' is read here at other elements than a point of the tile stores: another tile "
                "may have stored them before, or not yet",
                name);
    diag_note(o->d, t->span, "stored here");
    diag_help(o->d, "store into an output of its own, and '%s' is an input", name);
}

static void check_held(order *o, const graph_store *st) {
    const ast_span at = st->stmt->span;
    if (o->held == NULL || o->of == NULL || st >= o->of || at.off < o->from) {
        return;
    }
    o->ok = false;
    diag_report(o->d, DIAG_ERROR, "X101", o->used,
                "'%s' reads '%s', which is stored between '%s' and here: it is computed where it "
                "is used, no lowering keeps it",
                o->held->name, st->param->name, o->held->name);
    diag_note(o->d, at, "'%s' is stored here", st->param->name);
    diag_help(o->d, "store '%s' last", st->param->name);
}

static void walk(order *o, const ast_expr *e);

// The value behind a name, as of where its statement stands.
static void walk_held(order *o, const ast_expr *e, const ast_stmt *s) {
    order inner = *o;
    inner.held = e->sym;
    inner.from = s->span.off;
    inner.used = o->held != NULL ? o->used : e->span;
    walk(&inner, s->value);
    o->ok = inner.ok;
}

static void walk_name(order *o, const ast_expr *e) {
    int sum = graph_sum_of(o->g, e->sym);
    if (sum >= 0 && o->g->sums[sum].stmt != NULL) {
        walk_held(o, e, o->g->sums[sum].stmt);
    } else if (e->sym->kind == SYM_LET && !e->sym->is_acc) {
        walk_held(o, e, e->sym->stmt);
    }
}

static void walk(order *o, const ast_expr *e) {
    if (e == NULL || !o->ok) {
        return;
    }
    if (e->kind == EX_NAME && e->sym != NULL) {
        walk_name(o, e);
    }
    if (e->kind == EX_INDEX && e->a->kind == EX_NAME) {
        for (int i = 0; i < o->g->n_stores && o->ok; i++) {
            if (o->g->stores[i].param == e->a->sym) {
                check_held(o, &o->g->stores[i]);
            }
            if (o->g->stores[i].param == e->a->sym && o->ok) {
                check_elements(o, e, &o->g->stores[i]);
            }
        }
    }
    walk(o, e->a);
    walk(o, e->b);
    for (int i = 0; i < e->n_args; i++) {
        walk(o, e->args[i]);
    }
}

bool graph_check_order(const graph *g, diag *d) {
    order o = {.g = g, .d = d, .ok = true};
    for (int i = 0; i < g->n_operands; i++) {
        walk(&o, g->operands[i].expr);
    }
    for (int i = 0; i < g->n_stores; i++) {
        o.of = &g->stores[i];
        walk(&o, o.of->stmt->value);
        if (o.of->stmt->accumulate) {
            walk(&o, o.of->stmt->target);
        }
    }
    return o.ok;
}
