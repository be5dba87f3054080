// Tiles are matrices. In kernels without products each warp computes 32 rows of one, a row a lane,
// straight from the tensors that the values are made of.
//
// Requires: products. Provides: in kernels that have none, the one accumulator of no channel
// that tells which rows and columns the storing role covers (tir_acc with channel -1,
// referred to by no value).
#include "plan_int.h"

#include <string.h>

enum { ROWS_OF_WARP = 32, MAX_WARPS = 8 };

bool plan_is_elementwise(const planner *p) {
    return p->g->n_accs == 0;
}

int plan_elementwise_warps(const planner *p) {
    return p->k->accs[0].rows / ROWS_OF_WARP;
}

// A fact about products would be true of nothing.
static void check_facts(planner *p) {
    const facts *f = p->f;
    if (f->has_mma || f->has_cluster) {
        ast_span at = f->has_mma ? f->mma_span : f->cluster_span;
        PLAN_REFUSE(p, "F105", at, "kernel '%s' multiplies nothing: it has no use for '%s'",
                    p->req->kernel->name, f->has_mma ? "mma" : "cluster");
        diag_fix(p->d, plan_fact_span(p, at), "", "leave the fact out");
    }
}

// Bit i: the value is reduced over tile loop i.
static uint32_t reduced_loops(const planner *p, const ast_expr *e) {
    if (e == NULL) {
        return 0;
    }
    uint32_t found = reduced_loops(p, e->a) | reduced_loops(p, e->b);
    if (e->kind == EX_REDUCE && graph_loop_of(p->g, e->index) >= 0) {
        found |= UINT32_C(1) << graph_loop_of(p->g, e->index);
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET && !e->sym->is_acc) {
        found |= reduced_loops(p, e->sym->stmt->value);
    }
    for (int i = 0; i < e->n_args; i++) {
        found |= reduced_loops(p, e->args[i]);
    }
    return found;
}

// Whether an expression follows the index of a tile loop, through what it names.
static bool follows(const planner *p, const ast_expr *e, const ast_sym *index) {
    if (e == NULL) {
        return false;
    }
    bool found = e->kind == EX_NAME && e->sym == index;
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET && !e->sym->is_acc) {
        found = follows(p, e->sym->stmt->value, index);
    }
    found = found || follows(p, e->a, index) || follows(p, e->b, index);
    for (int i = 0; i < e->n_args && !found; i++) {
        found = follows(p, e->args[i], index);
    }
    return found;
}

// Whether a value is reduced over all of a dimension for each index of a tile loop.
static bool reduces_for(const planner *p, const ast_expr *e, const ast_sym *index) {
    if (e == NULL) {
        return false;
    }
    bool found = e->kind == EX_REDUCE && e->index->walk == WALK_ALL && follows(p, e->a, index);
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET && !e->sym->is_acc) {
        found = found || reduces_for(p, e->sym->stmt->value, index);
    }
    found = found || reduces_for(p, e->a, index) || reduces_for(p, e->b, index);
    for (int i = 0; i < e->n_args && !found; i++) {
        found = reduces_for(p, e->args[i], index);
    }
    return found;
}

static bool reduces_along(const planner *p, int loop) {
    const graph *g = p->g;
    const ast_sym *index = loop < g->n_loops ? g->loops[loop] : NULL;
    bool found = false;
    for (int i = 0; i < g->n_sums && index != NULL; i++) {
        found = found || g->sums[i].zero->value->args[0]->sym == index;
    }
    for (int i = 0; i < g->n_stores && index != NULL; i++) {
        found = found || reduces_for(p, g->stores[i].stmt->value, index);
    }
    return found;
}

static bool is_taken(const tir_kernel *k, const char *name) {
    bool taken = false;
    for (int i = 0; i < k->n_loops + k->n_fors; i++) {
        taken |=
            strcmp(i < k->n_loops ? k->loops[i].index : k->fors[i - k->n_loops].index, name) == 0;
    }
    return taken;
}

// A loop of one element that no index of the program walks.
static int add_lone_loop(planner *p) {
    tir_kernel *k = p->k;
    const char *name = "lone";
    while (is_taken(k, name)) {
        name = arena_printf(p->mem, "%s_", name);
    }
    tir_size *one = ARENA_NEW(p->mem, tir_size);
    *one = (tir_size){.op = SZ_INT, .value = 1};
    k->loops[k->n_loops] = (tir_loop){.index = name, .dim = one, .tile = 1, .group = -1};
    return k->n_loops++;
}

// The last subscript walks the columns, the nearest other tile index before it the rows. A lane
// reduces along its row: what is reduced over the rows alone is turned around.
static bool find_loops(planner *p, const ast_expr *target, int *row, int *col) {
    tir_axis *axes = ARENA_ARRAY(p->mem, tir_axis, target->n_args + 1);
    for (int i = 0; i < target->n_args; i++) {
        if (!plan_target_axis(p, target->args[i], &axes[i])) {
            return false;
        }
    }
    *row = -1;
    *col = axes[target->n_args - 1].loop;
    for (int i = target->n_args - 2; i >= 0 && *row < 0; i--) {
        if (axes[i].loop >= 0 && axes[i].loop != *col && p->k->loops[axes[i].loop].tile > 1) {
            *row = axes[i].loop;
        }
    }
    if (*row < 0 && *col >= 0) { // a vector: a column of one
        *row = *col;
        *col = add_lone_loop(p);
    }
    if (*row < 0 || *col < 0) {
        PLAN_REFUSE(p, "X101", target->span,
                    "'%s' is walked by no tile index: no lowering yet",
                    target->a->sym->name);
        return false;
    }
    uint32_t reduced = 0;
    for (int i = 0; i < p->g->n_stores; i++) {
        reduced |= reduced_loops(p, p->g->stores[i].stmt->value);
    }
    bool turned = reduces_along(p, *col) && !reduces_along(p, *row);
    if (turned || ((reduced >> *row & 1) != 0 && (reduced >> *col & 1) == 0)) {
        int rows = *row;
        *row = *col;
        *col = rows;
    }
    return true;
}

static void check_rows(planner *p, int row) {
    int rows = p->k->loops[row].tile;
    if (rows % ROWS_OF_WARP == 0 && rows <= ROWS_OF_WARP * MAX_WARPS) {
        return;
    }
    PLAN_REFUSE(
        p, "A111", p->at,
        "a warp takes 32 rows of a kernel without products, a CTA up to %d warps: tile '%s' has %d",
        MAX_WARPS, p->k->loops[row].index, rows);
    plan_help_with(p, p->g->loops[row], rows > 128 ? 128 : round_up(rows, ROWS_OF_WARP),
                   "whole warps");
}

static void check_mixed(planner *p) {
    for (int i = 0; i < p->g->n_stores && p->ok; i++) {
        const graph_store *s = &p->g->stores[i];
        if (s->n_accs == 0) {
            PLAN_REFUSE(p, "X101", s->stmt->span,
                        "the value of '%s' comes from no accumulator, others do: give it a kernel "
                        "of its own",
                        s->param->name);
        }
    }
}

// A tile is a matrix: the other tile indices number matrices, so they walk one by one.
static void check_others(planner *p) {
    const tir_kernel *k = p->k;
    for (int i = 0; i < k->n_loops && p->ok; i++) {
        for (int a = 0; a < k->n_accs && p->ok && k->loops[i].tile > 1; a++) {
            if (k->accs[a].row_loop == i || k->accs[a].col_loop == i) {
                continue;
            }
            PLAN_REFUSE(p, "A111", p->g->loops[i]->span,
                        "'%s' walks %d at a time, but a tile is a matrix, here of '%s' and '%s'",
                        k->loops[i].index, k->loops[i].tile, k->loops[k->accs[a].row_loop].index,
                        k->loops[k->accs[a].col_loop].index);
            diag_help(p->d, "walk it one by one: %s:1", k->loops[i].index);
        }
    }
}

static void plan_shape(planner *p) {
    tir_kernel *k = p->k;
    if (p->g->n_stores == 0) {
        PLAN_REFUSE(p, "X101", p->req->kernel->name_span, "kernel '%s' stores nothing",
                    p->req->kernel->name);
        return;
    }
    int row = -1;
    int col = -1;
    check_facts(p);
    if (!p->ok || !find_loops(p, p->g->stores[0].stmt->target, &row, &col)) {
        return;
    }
    check_rows(p, row);
    k->accs[0] = (tir_acc){.name = "tile",
                           .channel = -1,
                           .role = -1,
                           .rows = k->loops[row].tile,
                           .cols = k->loops[col].tile,
                           .row_loop = row,
                           .col_loop = col};
    k->n_accs = 1;
}

void plan_tiles(planner *p) {
    if (plan_is_elementwise(p)) {
        plan_shape(p);
    } else {
        check_mixed(p);
    }
    check_others(p);
}
