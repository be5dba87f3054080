// The planner's passes in order. This function is the map of the folder:
//
//   facts.c        what the author stated
//   graph.c        what is loaded, multiplied, stored (and the theorem's conditions)
//   plan_params.c  sizes, parameters, tile space
//   plan_mma.c     instruction, cluster, which operand is which side, tile shapes
//   plan_split.c   a loop whose steps the CTAs of a cluster share, and where their sums meet
//   plan_tiles.c   kernels without products: who covers which rows
//   plan_roles.c   values -> roles -> warps
//   plan_stores.c  how results leave: fragments, sub-tiles, staging
//   plan_memory.c  channels: slots, boxes, tensor maps, depths, barriers
//   plan_budget.c  shared memory, TMEM and registers proved to fit
//   project.c      the program projected on each role
#include "plan_int.h"

#include <stdlib.h>
#include <string.h>

int round_up(int value, int step) {
    return (value + step - 1) / step * step;
}

bool plan_acc_in_regs(const planner *p) {
    return p->arch->family != MMA_TCGEN05;
}

ast_span plan_fact_span(const planner *p, ast_span fact) {
    size_t len = 0;
    const char *text = src_text(p->req->src, fact.file, &len);
    size_t end = (size_t)fact.off + fact.len;
    while (end < len && (text[end] == ' ' || text[end] == '\t')) {
        end++;
    }
    if (end < len && text[end] == ';') {
        fact.len = (uint32_t)(end + 1 - fact.off);
    }
    return fact;
}

// From the first byte of one to the last of the other.
static ast_span span_to(ast_span from, ast_span to) {
    from.len = (uint32_t)(to.off + to.len - from.off);
    return from;
}

void plan_help_with(planner *p, const ast_sym *index, int value, const char *sentence) {
    const ast_schedule *s = p->f->sched;
    const ast_expr *tile = index->tile;
    bool parameter = tile != NULL && tile->kind == EX_NAME && tile->sym->kind == SYM_TPARAM;
    if (tile != NULL && tile->kind == EX_INT) {
        diag_fix(p->d, span_to(index->span, tile->span),
                 arena_printf(p->mem, "%s:%d", index->name, value), "%s", sentence);
    } else if (s == NULL && parameter && !tile->sym->is_defined && tile->sym->init != NULL) {
        diag_fix(p->d, span_to(tile->sym->span, tile->sym->init->span),
                 arena_printf(p->mem, "%s = %d", tile->sym->name, value), "%s", sentence);
    }
    if (s == NULL || !parameter) {
        return;
    }
    const char *name = tile->sym->name;
    for (int i = 0; i < s->n_with; i++) {
        if (strcmp(s->with[i].name, name) == 0) {
            diag_fix(p->d, s->with[i].span, arena_printf(p->mem, "%s = %d", name, value), "%s",
                     sentence);
            return;
        }
    }
    // Before the '{' that ends the head.
    size_t len = 0;
    const char *text = src_text(p->req->src, s->head_span.file, &len);
    ast_span at = s->head_span;
    at.off += at.len;
    while (at.off > s->head_span.off && strchr(" \t\r\n{", text[at.off - 1]) != NULL) {
        at.off--;
    }
    at.len = 0;
    diag_fix(p->d, at,
             arena_printf(p->mem, "%s %s = %d", s->n_with > 0 ? "," : " with", name, value), "%s",
             sentence);
}

static bool run_passes(planner *p) {
    static void (*const passes[])(planner *) = {
        plan_params,   plan_products, plan_split,    plan_tiles,   plan_roles,
        plan_stores,   plan_sums,     plan_channels, plan_budgets, plan_shares,
        plan_barriers, plan_project,  plan_launch};
    for (size_t i = 0; i < sizeof passes / sizeof passes[0] && p->ok; i++) {
        passes[i](p);
    }
    return p->ok;
}

static planner *plan_run(const plan_request *r) {
    planner *p = ARENA_NEW(r->mem, planner);
    facts *f = ARENA_NEW(r->mem, facts);
    graph *g = ARENA_NEW(r->mem, graph);
    bool ok = facts_read(r->sched, r->d, f);
    ok &= graph_build(r->kernel, r->sched, r->mem, r->d, g);
    if (!ok || !plan_order(f, r->d, g)) {
        return NULL;
    }
    *p = (planner){.req = r,
                   .g = g,
                   .f = f,
                   .arch = &arch_infos[r->arch],
                   .d = r->d,
                   .mem = r->mem,
                   .k = ARENA_NEW(r->mem, tir_kernel),
                   .ok = true,
                   .at = r->sched != NULL ? r->sched->head_span : r->kernel->name_span};
    p->k->name = r->kernel->name;
    p->k->source = src_name(r->src, 0);
    p->k->arch = r->arch;
    return run_passes(p) ? p : NULL;
}

tir_kernel *plan_kernel(const plan_request *r) {
    planner *p = plan_run(r);
    return p != NULL ? p->k : NULL;
}

int plan_schedules(const ast_file *file, const ast_kernel *kernel, tir_arch arch,
                   const ast_schedule **out, int max) {
    int n = 0;
    for (int i = 0; i < file->n_schedules && n < max; i++) {
        const ast_schedule *s = file->schedules[i];
        if (s->kernel != kernel || arch_find(s->arch) != (int)arch) {
            continue;
        }
        for (int v = 0; v < s->n_variants && n < max; v++) {
            out[n] = s->variants[v];
            n += s->variants[v]->left_out == NULL;
        }
        if (s->n_variants == 0) {
            out[n++] = s;
        }
    }
    return n;
}

// explain.c
bool explain_print(FILE *out, const planner *p);

bool plan_explain(FILE *out, const plan_request *r) {
    planner *p = plan_run(r);
    return p != NULL && explain_print(out, p);
}
