// split k by s: the CTAs of a cluster of s share the steps of a loop, each in a range of its own,
// from zero. CTA 0 adds the partial sums in f32 in the order of the ranges and stores.
// split k by s groups: groups of the warps that multiply take the steps of a CTA by turns, each
// from zero. Group 0 adds in f32 in the order of the groups; then come the CTAs of a cluster, if
// any. split k over sms: stream-K. The steps of all tiles, one tile behind the other, are one row
// of units, of which each cluster takes the same number (codegen/stream.c says how their sums
// meet). It is a way to divide a loop, not a walk: tiles keep the order that 'walk' gives them, and
// what is summed where, hence the bits, depends on the number of multiprocessors. It may be said
// together with 'by s groups'.
//
// Requires: products; for the sums: roles, stores; for the shares: channels, budgets. Provides:
// k->cluster, the loop's split, k->walk.stream; then p->sum_bytes, which count as staging,
// p->meets. One loop around all products, directly in the tile, is divided: every other CTA (or
// group) would repeat what stands outside of it.
#include "plan_int.h"

#include <string.h>

// What a fact divides, and among whom.
typedef struct {
    const fact_name *name;
    ast_span span;
    const char *how; // "by 2 groups"
    const char *who; // "each of the 2 groups"
} division;

static int named_loop(const planner *p, const char *name) {
    for (int i = 0; i < p->g->n_fors; i++) {
        if (strcmp(p->g->fors[i].sym->name, name) == 0) {
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

static void check_products(planner *p, const division *s, int loop) {
    for (int i = 0; i < p->g->n_mmas; i++) {
        const graph_mma *m = &p->g->mmas[i];
        if (!stands_in(p, m, loop)) {
            PLAN_REFUSE(p, "X101", m->stmt->span,
                        "'%s' is added to outside of the loop '%s' that is split %s",
                        m->acc->name, s->name->text, s->how);
            diag_because(p->d, "%s would add this product: it would count several times", s->who);
            diag_fix(p->d, plan_fact_span(p, s->span), "", "leave the fact out");
            return;
        }
    }
}

static void check_nest(planner *p, const division *s, int loop) {
    int outer = loop;
    while (p->g->fors[outer].parent != GRAPH_TILE_LEVEL) {
        outer = p->g->fors[outer].parent;
    }
    if (outer != loop) {
        const char *name = p->g->fors[outer].sym->name;
        PLAN_REFUSE(p, "X101", s->name->span,
                    "'%s' runs inside of the loop '%s': the outermost loop is divided",
                    s->name->text, name);
        diag_fix(p->d, plan_fact_span(p, s->span),
                 arena_printf(p->mem, "split %s %s;", name, s->how), "its steps");
    }
}

// The loop that is divided, or -1.
static int divided(planner *p, const division *s) {
    int loop = named_loop(p, s->name->text);
    if (loop < 0 || p->g->fors[loop].sym->walk == WALK_ALL) {
        PLAN_REFUSE(p, "F103", s->name->span, "'%s' is not the index of a 'for' in kernel '%s'",
                    s->name->text, p->req->kernel->name);
        if (loop >= 0) {
            diag_help(p->d, "'all %s' has no steps to divide, 'for %s:STEP of ...' has",
                      s->name->text, s->name->text);
        }
        return -1;
    }
    if (p->g->n_mmas == 0) {
        PLAN_REFUSE(p, "F105", s->span,
                    "kernel '%s' multiplies nothing: 'split' divides the steps of products",
                    p->req->kernel->name);
        diag_fix(p->d, plan_fact_span(p, s->span), "", "leave the fact out");
        return -1;
    }
    check_nest(p, s, loop);
    for (int i = 0; i < p->g->n_sums && p->ok; i++) {
        if (p->g->sums[i].level == loop) {
            PLAN_REFUSE(p, "X101", p->g->sums[i].stmt->span,
                        "'%s' is summed up in the loop '%s' that is split %s, and takes no "
                        "products: no lowering divides it",
                        p->g->sums[i].acc->name, s->name->text, s->how);
            diag_help(p->d, "give it a loop of its own over '%s'",
                      expr_text(p->mem, p->g->fors[loop].sym->dim));
        }
    }
    if (p->ok) {
        check_products(p, s, loop);
    }
    return p->ok ? loop : -1;
}

static void split_among_ctas(planner *p) {
    const facts *f = p->f;
    tir_kernel *k = p->k;
    division s = {&f->split, f->split_span, arena_printf(p->mem, "by %d", f->split_by),
                  arena_printf(p->mem, "each of the %d CTAs", f->split_by)};
    if (k->cluster > 1 && named_loop(p, f->split.text) >= 0) {
        PLAN_REFUSE(p, "X101", f->split_span,
                    "the CTAs of a cluster take the %d ranges of '%s', but those of this one have "
                    "rows of '%s' each",
                    f->split_by, f->split.text, k->loops[k->cluster_loop].index);
        diag_fix(p->d, plan_fact_span(p, f->cluster_span), "", "leave the cluster out");
        return;
    }
    int loop = divided(p, &s);
    if (loop >= 0) {
        k->cluster = f->split_by;
        k->fors[loop].split = f->split_by;
    }
}

static void split_among_groups(planner *p) {
    const facts *f = p->f;
    division s = {&f->groups, f->groups_span, arena_printf(p->mem, "by %d groups", f->groups_by),
                  arena_printf(p->mem, "each of the %d groups", f->groups_by)};
    if (divided(p, &s) >= 0 && p->arch->family != MMA_WGMMA) {
        PLAN_REFUSE(p, "X101", f->groups_span,
                    "groups of warps share the steps of a tile on sm_90a only");
        diag_because(p->d, p->arch->family == MMA_TCGEN05
                               ? "one thread issues the products of %s, no group of warps does"
                               : "'mma sync' of %s has no lowering of it yet",
                     p->arch->name);
        diag_fix(p->d, plan_fact_span(p, f->groups_span), "", "leave the fact out");
    } else if (p->ok && f->groups_by * ARCH_WG_WARPS > PLAN_MATH_WARPS) {
        PLAN_REFUSE(p, "X101", f->groups_span,
                    "%d groups of %d warps: a role that multiplies has %d warps at most",
                    f->groups_by, ARCH_WG_WARPS, PLAN_MATH_WARPS);
        diag_fix(p->d, plan_fact_span(p, f->groups_span),
                 arena_printf(p->mem, "split %s by %d groups;", f->groups.text,
                              PLAN_MATH_WARPS / ARCH_WG_WARPS),
                 "as many as there can be");
    }
}

// Ranges are found from the sizes of the launch, before anything else is read.
static bool is_counted(planner *p, int loop) {
    const tir_kernel *k = p->k;
    const char *bounded = k->fors[loop].hi != NULL ? k->fors[loop].index : NULL;
    for (int i = 0; i < k->n_loops; i++) {
        bounded = k->loops[i].hi != NULL ? k->loops[i].index : bounded;
    }
    if (bounded != NULL) {
        PLAN_REFUSE(p, "X101", p->f->over_span,
                    "'split %s over sms' divides the steps of all tiles when the kernel is "
                    "launched, but only the device knows how far '%s' goes",
                    p->f->over.text, bounded);
        diag_fix(p->d, plan_fact_span(p, p->f->over_span), "", "leave the fact out");
    }
    return p->ok;
}

static void split_over_sms(planner *p) {
    const facts *f = p->f;
    division s = {&f->over, f->over_span, "over sms",
                  "each of the CTAs that have a part of a tile"};
    int loop = divided(p, &s);
    if (loop < 0 || !is_counted(p, loop)) {
        return;
    }
    if (f->split_by > 1) {
        PLAN_REFUSE(p, "X101", f->split_span,
                    "the steps of '%s' are divided over the multiprocessors already, by 'split %s "
                    "over sms'",
                    f->split.text, f->over.text);
        diag_fix(p->d, plan_fact_span(p, f->split_span), "", "leave this one out");
    } else if (f->has_walk && strcmp(f->walk, "clc") == 0) {
        PLAN_REFUSE(p, "X101", f->over_span,
                    "'walk clc' hands tiles out as clusters come, 'split %s over sms' gives each a "
                    "range of steps that it knows from the start",
                    f->over.text);
        diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static;", "tiles in order");
    } else if (f->from_one) {
        PLAN_REFUSE(p, "X101", f->over_span,
                    "'from one' hands out tiles that one warp counts, 'split %s over sms' gives "
                    "each cluster a range of steps that it knows from the start",
                    f->over.text);
        diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static;", "tiles in order");
    } else {
        p->k->walk.stream = loop;
    }
}

void plan_split(planner *p) {
    p->k->walk.stream = -1;
    if (p->f->over.text != NULL) {
        split_over_sms(p);
    }
    if (p->ok && p->f->split_by > 1) {
        split_among_ctas(p);
    }
    if (p->ok && p->f->groups_by > 1) {
        split_among_groups(p);
    }
}

// A slot is of one group: pipes of the divided loop have as many slots for each.
void plan_shares(planner *p) {
    const facts *f = p->f;
    int loop = f->groups_by > 1 ? named_loop(p, f->groups.text) : -1;
    for (int i = 0; i < p->n_channels && loop >= 0 && p->ok; i++) {
        const plan_channel *pc = &p->channels[i];
        int depth = p->k->channels[i].depth;
        if (pc->level != loop) {
            PLAN_REFUSE(p, "X101", pc->stated != NULL ? pc->stated->span : f->groups_span,
                        "'%s' is not brought step by step of '%s', which is split by %d groups",
                        p->k->channels[i].name, f->groups.text, f->groups_by);
            diag_because(p->d, "each group would wait for it, and free it");
        } else if (depth % f->groups_by != 0) {
            int most = depth - depth % f->groups_by;
            PLAN_REFUSE(p, "X101", pc->stated != NULL ? pc->stated->depth_span : f->groups_span,
                        "%d slot%s for %d groups that take steps by turns: as many for each", depth,
                        depth == 1 ? "" : "s", f->groups_by);
            if (pc->stated != NULL) {
                diag_fix(p->d, pc->stated->depth_span,
                         arena_printf(p->mem, "%d", most > 0 ? most : f->groups_by), "slots");
            } else {
                diag_help(p->d, "a shorter step leaves room for more slots");
            }
        }
    }
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
    for (int i = 0; i < p->g->n_stores; i++) {
        int role = p->store_role[i];
        const tir_role *r = &k->roles[role];
        bool streams = k->walk.stream >= 0;
        if (p->meets[role] || (tir_sums(k, r) == 0 && !streams)) {
            continue;
        }
        if (r->turns > 1) {
            PLAN_REFUSE(p, "X101", p->roles[role].span,
                        "'%s' takes tiles by turns of %d groups, but the CTAs of 'split %s' meet "
                        "tile by tile",
                        r->name, r->turns,
                        streams
                            ? arena_printf(p->mem, "%s over sms", p->f->over.text)
                            : arena_printf(p->mem, "%s by %d", p->f->split.text, p->f->split_by));
            diag_help(p->d, "%d warps without 'pingpong %d'", r->n_warps, r->turns);
            return;
        }
        p->meets[role] = true;
        for (int a = 0; a < k->n_accs; a++) {
            bool adds = adds_up(p, role, a);
            p->sum_bytes[role] += adds ? k->accs[a].rows * k->accs[a].cols * (int)sizeof(float) : 0;
        }
        p->sum_bytes[role] = round_up(p->sum_bytes[role] * tir_sums(k, r), PLAN_ALIGN);
        p->staging_bytes += p->sum_bytes[role];
    }
}
