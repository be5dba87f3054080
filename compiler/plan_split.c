// split k by s: the CTAs of a cluster of s share the steps of a loop, each in a range of its own,
// from zero. CTA 0 adds the partial sums in f32 in the order of the ranges and stores.
//
// Requires: products; for the sums: roles, stores. Provides: k->cluster, the loop's split; then
// p->sum_bytes, which count as staging.
// One loop around all products, directly in the tile, is divided: every other CTA would repeat what
// stands outside of it.
#include "plan_int.h"

#include <string.h>

static int named_loop(const planner *p) {
    for (int i = 0; i < p->g->n_fors; i++) {
        if (strcmp(p->g->fors[i].sym->name, p->f->split.text) == 0) {
            return i;
        }
    }
    return -1;
}

static bool stands_in(const planner *p, const graph_mma *m, int loop) {
    int level = m->level;
    while (level != GRAPH_TILE_LEVEL && level != loop) {
        level = p->g->fors[level].parent;
    }
    return level == loop;
}

static void check_products(planner *p, int loop) {
    for (int i = 0; i < p->g->n_mmas; i++) {
        const graph_mma *m = &p->g->mmas[i];
        if (!stands_in(p, m, loop)) {
            PLAN_REFUSE(p, "X101", m->stmt->span,
                        "'%s' is added to outside of the loop '%s' that is split by %d",
                        m->acc->name, p->f->split.text, p->f->split_by);
            diag_because(p->d,
                         "each of the %d CTAs would add this product: it would count %d times",
                         p->f->split_by, p->f->split_by);
            diag_fix(p->d, plan_fact_span(p, p->f->split_span), "", "leave the fact out");
            return;
        }
    }
}

static void check_nest(planner *p, int loop) {
    int outer = loop;
    while (p->g->fors[outer].parent != GRAPH_TILE_LEVEL) {
        outer = p->g->fors[outer].parent;
    }
    if (outer != loop) {
        const char *name = p->g->fors[outer].sym->name;
        PLAN_REFUSE(p, "X101", p->f->split.span,
                    "'%s' runs inside of the loop '%s': the outermost loop is divided",
                    p->f->split.text, name);
        diag_fix(p->d, plan_fact_span(p, p->f->split_span),
                 arena_printf(p->mem, "split %s by %d;", name, p->f->split_by), "its steps");
    }
}

void plan_split(planner *p) {
    const facts *f = p->f;
    tir_kernel *k = p->k;
    if (f->split_by <= 1) {
        return;
    }
    int loop = named_loop(p);
    if (loop < 0) {
        PLAN_REFUSE(p, "F103", f->split.span, "'%s' is not the index of a 'for' in kernel '%s'",
                    f->split.text, p->req->kernel->name);
        return;
    }
    if (k->cluster > 1) {
        PLAN_REFUSE(p, "X101", f->split_span,
                    "the CTAs of a cluster take the %d ranges of '%s', but those of this one have "
                    "rows of '%s' each",
                    f->split_by, f->split.text, k->loops[k->cluster_loop].index);
        diag_fix(p->d, plan_fact_span(p, f->cluster_span), "", "leave the cluster out");
        return;
    }
    check_nest(p, loop);
    if (p->ok) {
        check_products(p, loop);
    }
    k->cluster = f->split_by;
    k->fors[loop].split = f->split_by;
}

// Whether a role adds up an accumulator: the one that holds it, or that reads it from TMEM to store
// it.
static bool adds_up(const planner *p, int role, int acc) {
    if (plan_acc_in_regs(p)) {
        return p->k->accs[acc].role == role;
    }
    for (int i = 0; i < p->g->n_stores; i++) {
        for (int j = 0; p->store_role[i] == role && j < p->g->stores[i].n_accs; j++) {
            if (p->g->stores[i].accs[j] == p->g->accs[acc]) {
                return true;
            }
        }
    }
    return false;
}

void plan_sums(planner *p) {
    tir_kernel *k = p->k;
    for (int i = 0; i < p->g->n_stores && tir_split(k) > 1; i++) {
        int role = p->store_role[i];
        const tir_role *r = &k->roles[role];
        if (p->sum_bytes[role] > 0) {
            continue;
        }
        if (r->turns > 1) {
            PLAN_REFUSE(p, "X101", p->roles[role].span,
                        "'%s' takes tiles by turns of %d groups, but the CTAs of 'split %s by %d' "
                        "meet tile by tile",
                        r->name, r->turns, p->f->split.text, p->f->split_by);
            diag_help(p->d, "%d warps without 'pingpong %d'", r->n_warps, r->turns);
            return;
        }
        for (int a = 0; a < k->n_accs; a++) {
            bool adds = adds_up(p, role, a);
            p->sum_bytes[role] += adds ? k->accs[a].rows * k->accs[a].cols * (int)sizeof(float) : 0;
        }
        p->sum_bytes[role] = round_up(p->sum_bytes[role], PLAN_ALIGN);
        p->staging_bytes += p->sum_bytes[role];
    }
}
