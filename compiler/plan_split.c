// split k by s: the CTAs of a cluster of s share the steps of a loop, each in a range of its own,
// from zero. CTA 0 adds the partial sums in f32 in the order of the ranges and stores.
// split k by s groups: groups of the warps that multiply take the steps of a CTA by turns, each from
// zero. Group 0 adds in f32 in the order of the groups; then come the CTAs of a cluster, if any.
//
// Requires: products; for the sums: roles, stores; for the shares: channels, budgets. Provides:
// k->cluster, the loop's split; then p->sum_bytes, which count as staging.
// One loop around all products, directly in the tile, is divided: every other CTA (or group) would
// repeat what stands outside of it.
#include "plan_int.h"

#include <string.h>

// What a fact divides, and among whom.
typedef struct {
    const fact_name *name;
    int by;
    ast_span span;
    const char *who, *more; // "CTAs", " groups" behind the number
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
                        "'%s' is added to outside of the loop '%s' that is split by %d%s",
                        m->acc->name, s->name->text, s->by, s->more);
            diag_because(p->d,
                         "each of the %d %s would add this product: it would count %d times",
                         s->by, s->who, s->by);
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
                 arena_printf(p->mem, "split %s by %d%s;", name, s->by, s->more), "its steps");
    }
}

// The loop that is divided, or -1.
static int divided(planner *p, const division *s) {
    int loop = named_loop(p, s->name->text);
    if (loop < 0) {
        PLAN_REFUSE(p, "F103", s->name->span, "'%s' is not the index of a 'for' in kernel '%s'",
                    s->name->text, p->req->kernel->name);
        return -1;
    }
    check_nest(p, s, loop);
    if (p->ok) {
        check_products(p, s, loop);
    }
    return p->ok ? loop : -1;
}

static void split_among_ctas(planner *p) {
    const facts *f = p->f;
    tir_kernel *k = p->k;
    division s = {&f->split, f->split_by, f->split_span, "CTAs", ""};
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
    division s = {&f->groups, f->groups_by, f->groups_span, "groups", " groups"};
    if (divided(p, &s) >= 0 && p->arch->family != MMA_WGMMA) {
        PLAN_REFUSE(p, "X101", f->groups_span, "groups of warps share the steps of a tile on sm_90a only");
        diag_because(p->d, p->arch->family == MMA_TCGEN05
                               ? "one thread issues the products of %s, no group of warps does"
                               : "'mma sync' of %s has no lowering of it yet",
                     p->arch->name);
        diag_fix(p->d, plan_fact_span(p, f->groups_span), "", "leave the fact out");
    } else if (p->ok && f->groups_by * ARCH_WG_WARPS > PLAN_MATH_WARPS) {
        PLAN_REFUSE(p, "X101", f->groups_span, "%d groups of %d warps: a role that multiplies has %d warps at most",
                    f->groups_by, ARCH_WG_WARPS, PLAN_MATH_WARPS);
        diag_fix(p->d, plan_fact_span(p, f->groups_span),
                 arena_printf(p->mem, "split %s by %d groups;", f->groups.text, PLAN_MATH_WARPS / ARCH_WG_WARPS),
                 "as many as there can be");
    }
}

void plan_split(planner *p) {
    if (p->f->split_by > 1) {
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
        if (p->sum_bytes[role] > 0 || tir_sums(k, r) == 0) {
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
        p->sum_bytes[role] = round_up(p->sum_bytes[role] * tir_sums(k, r), PLAN_ALIGN);
        p->staging_bytes += p->sum_bytes[role];
    }
}
