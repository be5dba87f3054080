// explain: the complete schedule of a plan, as source. What was derived stands as a fact like the
// rest; what follows from facts (edges, bytes, columns, counts) stands as comments.
#include "plan_int.h"

#include <string.h>

bool explain_print(FILE *out, const planner *p);

static void print_head(FILE *out, const planner *p) {
    const ast_schedule *s = p->f->sched;
    fprintf(out, "schedule %s on %s", p->k->name, p->arch->name);
    if (s != NULL && s->when != NULL) {
        fprintf(out, " when ");
        ast_print_expr(out, s->when);
    }
    for (int i = 0; s != NULL && i < s->n_with; i++) {
        fprintf(out, "%s %s = ", i == 0 ? " with" : ",", s->with[i].name);
        ast_print_expr(out, s->with[i].value);
    }
    fprintf(out, " {\n");
}

static const char *value_name(const planner *p, const plan_channel *pc, int i) {
    return pc->columns > 0 ? p->g->accs[pc->values[i]]->name
                           : p->g->operands[pc->values[i]].param->name;
}

static bool share_name(const planner *p, const plan_channel *a, const plan_channel *b) {
    for (int i = 0; i < a->n_values; i++) {
        for (int j = 0; j < b->n_values; j++) {
            if (strcmp(value_name(p, a, i), value_name(p, b, j)) == 0) {
                return true;
            }
        }
    }
    return false;
}

// Channels that one pipe fact stands for: a stated pipe may have become several (other producers or
// loops); derived ones that load slices of one tensor can only be stated together.
static void group_channels(const planner *p, int *group) {
    for (int i = 0; i < p->n_channels; i++) {
        group[i] = i;
        for (int j = 0; j < i; j++) {
            const plan_channel *a = &p->channels[i];
            const plan_channel *b = &p->channels[j];
            if (a->stated != NULL ? a->stated == b->stated
                                  : b->stated == NULL && share_name(p, a, b)) {
                int one = group[i] < group[j] ? group[i] : group[j];
                int other = group[i] + group[j] - one;
                for (int n = 0; n <= i; n++) {
                    group[n] = group[n] == other ? one : group[n];
                }
            }
        }
    }
}

// A tensor may be loaded in several slices: each name once in a fact.
static bool is_named(const planner *p, const int *group, int channel, int value) {
    const char *name = value_name(p, &p->channels[channel], value);
    for (int c = 0; c <= channel; c++) {
        const plan_channel *pc = &p->channels[c];
        for (int v = 0; group[c] == group[channel] && v < (c < channel ? pc->n_values : value);
             v++) {
            if (strcmp(value_name(p, pc, v), name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void print_edge(FILE *out, const planner *p, int number) {
    const tir_channel *c = &p->k->channels[number];
    const plan_channel *pc = &p->channels[number];
    const char *from = p->k->roles[c->from].name;
    const char *to = p->k->roles[c->to].name;
    const char *every = pc->level == GRAPH_TILE_LEVEL ? "tile" : p->k->fors[pc->level].index;
    if (c->space == SPACE_SMEM) {
        fprintf(out,
                "    // edge %s -> %s once per %s: %d slots of %d bytes at %d; full: 1 arrival, %d "
                "bytes; empty: %d arrival%s\n",
                from, to, every, c->depth, c->stride, c->offset, c->full_bytes, c->empty_count,
                c->empty_count == 1 ? "" : "s");
        return;
    }
    fprintf(out, "    // edge %s -> %s once per %s: slots at TMEM columns %d", from, to, every,
            c->offset);
    for (int i = 1; i < c->depth; i++) {
        fprintf(out, "%s %d", i + 1 == c->depth ? " and" : ",", c->offset + i * c->stride);
    }
    if (c->shared > 0) {
        fprintf(out, " sharing %d", c->shared);
    }
    fprintf(out, "; empty: %d arrivals\n", c->empty_count);
}

static void print_pipe(FILE *out, const planner *p, const int *group, int first_channel) {
    const tir_channel *c = &p->k->channels[first_channel];
    bool first = true;
    fprintf(out, "    pipe ");
    for (int j = first_channel; j < p->n_channels; j++) {
        for (int v = 0; group[j] == first_channel && v < p->channels[j].n_values; v++) {
            if (!is_named(p, group, j, v)) {
                fprintf(out, "%s%s", first ? "" : ", ", value_name(p, &p->channels[j], v));
                first = false;
            }
        }
    }
    bool overlap = c->space == SPACE_TMEM && c->shared > 0;
    fprintf(out, " : %d in %s%s;\n", c->depth, c->space == SPACE_SMEM ? "smem" : "tmem",
            overlap ? " overlap" : "");
}

static void print_pipes(FILE *out, const planner *p) {
    int group[GRAPH_MAX];
    group_channels(p, group);
    for (int i = 0; i < p->n_channels; i++) {
        if (group[i] == i) {
            print_pipe(out, p, group, i);
        }
        print_edge(out, p, i);
    }
}

static void print_value(FILE *out, bool *first, const char *name) {
    fprintf(out, "%s%s", *first ? "{ " : ", ", name);
    *first = false;
}

static void print_role(FILE *out, const planner *p, int number) {
    const plan_role *r = &p->roles[number];
    fprintf(out, "    role %s : %d warp%s regs %d ", r->name, r->warps, r->warps == 1 ? "" : "s",
            r->regs);
    bool first = true;
    for (int i = 0; i < p->g->n_operands; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) {
            seen |= p->g->operands[j].param == p->g->operands[i].param;
        }
        if (p->operands[i].role == number && !seen) {
            print_value(out, &first, p->g->operands[i].param->name);
        }
    }
    for (int i = 0; i < p->g->n_accs; i++) {
        if (p->accs[i].role == number) {
            print_value(out, &first, p->g->accs[i]->name);
        }
    }
    for (int i = 0; i < p->g->n_stores; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) {
            seen |= p->g->stores[j].param == p->g->stores[i].param;
        }
        if (p->store_role[i] == number && !seen) {
            print_value(out, &first, p->g->stores[i].param->name);
        }
    }
    fprintf(out, " }");
    if (r->turns > 1) {
        fprintf(out, " pingpong %d", r->turns);
    }
    const tir_role *t = &p->k->roles[number];
    fprintf(out, ";\n    // warp%s %d", t->n_warps == 1 ? "" : "s", t->first_warp);
    if (t->n_warps > 1) {
        fprintf(out, "..%d", t->first_warp + t->n_warps - 1);
    }
    fprintf(out, "%s%s\n", t->one_thread ? ", one elected thread" : "",
            t->leader_only ? " of the leader CTA" : "");
}

static void print_store(FILE *out, const planner *p, int number) {
    const tir_store *s = &p->k->stores[number];
    const char *name = p->k->params[s->param].name;
    for (int i = 0; i < number; i++) {
        if (p->k->stores[i].param == s->param) {
            return;
        }
    }
    if (!s->via_smem) {
        fprintf(out, "    store %s via regs;\n", name);
        return;
    }
    fprintf(out, "    store %s via smem by %d x %d;\n", name, s->sub_cols, s->stages);
    fprintf(out, "    // staging of %d bytes", s->stage_bytes);
    if (s->scale_offset >= 0) {
        fprintf(out, ": %d of data, %d of scales", s->scale_offset,
                s->stage_bytes - s->scale_offset);
    }
    fprintf(out, "%s\n", s->add ? ", added by the copy engine" : "");
}

static void print_launch(FILE *out, const planner *p) {
    const tir_kernel *k = p->k;
    const facts *f = p->f;
    for (int i = 0; i < f->pdl.n; i++) {
        fprintf(out, "%s%s", i == 0 ? "    pdl wait " : ", ", f->pdl.at[i].text);
    }
    if (f->pdl.n > 0) {
        fprintf(out, " launch %s;\n    // the kernel before is over for",
                f->pdl_first ? "first" : "last");
        bool first = true;
        for (int i = 0; i < k->n_roles; i++) {
            if (k->roles[i].waits) {
                fprintf(out, "%s %s", first ? "" : ",", k->roles[i].name);
                first = false;
            }
        }
        for (int i = 0; i < k->n_roles; i++) {
            if (k->roles[i].launches != LAUNCH_NONE) {
                fprintf(out, "; %s lets the one behind begin\n", k->roles[i].name);
            }
        }
    }
    const fact_names *const hints[] = {&f->keep, &f->stream};
    for (int h = 0; h < 2; h++) {
        for (int i = 0; i < hints[h]->n; i++) {
            fprintf(out, "%s%s", i == 0 ? "    cache " : ", ", hints[h]->at[i].text);
        }
        fprintf(out, "%s", hints[h]->n == 0 ? "" : h == 0 ? " keep;\n" : " stream;\n");
    }
}

static void print_totals(FILE *out, const planner *p) {
    const tir_kernel *k = p->k;
    int regs = 0;
    for (int i = 0; i < k->threads / 128; i++) {
        regs += 128 * (k->wg_regs[i] > 0 ? k->wg_regs[i] : k->entry_regs);
    }
    fprintf(out, "    // shared memory %d of %d bytes", k->smem_bytes, p->arch->smem_bytes);
    if (k->tmem_columns > 0) {
        fprintf(out, "; TMEM %d of %d columns", p->sf_first_column + p->sf_columns,
                p->arch->tmem_columns);
        if (p->sf_columns > 0) {
            fprintf(out, ", scales at %d..%d", p->sf_first_column,
                    p->sf_first_column + p->sf_columns - 1);
        }
    }
    fprintf(out, "\n    // registers %d of %d, %d threads, %d registers each at launch\n", regs,
            ARCH_REGS, k->threads, k->entry_regs);
}

// The order of the tile loops, where it is not that of the program.
static void print_order(FILE *out, const planner *p) {
    bool same = p->f->order.n == 0;
    for (int i = 0; i < p->g->n_loops; i++) {
        same = same && p->g->loops[i] == p->g->tile->indices[i];
    }
    for (int i = 0; i < p->g->n_loops && !same; i++) {
        fprintf(out, "%s%s", i == 0 ? " order " : ", ", p->g->loops[i]->name);
    }
}

static void print_bounds(FILE *out, const tir_kernel *k) {
    for (int i = 0; i < k->n_loops; i++) {
        if (k->loops[i].hi != NULL) {
            fprintf(out, "    // %s finds the tiles of '%s', one group after the other\n",
                    k->walk.kind == WALK_ONE ? "the scheduler" : "every role by itself",
                    k->loops[i].index);
        }
    }
}

bool explain_print(FILE *out, const planner *p) {
    const tir_kernel *k = p->k;
    print_head(out, p);
    if (p->f->cost != NULL) {
        fprintf(out, "    cost ");
        ast_print_expr(out, p->f->cost);
        fprintf(out, ";\n");
    }
    if (k->cluster_loop >= 0) {
        fprintf(out, "    cluster %d along %s;\n", k->cluster, k->loops[k->cluster_loop].index);
    }
    for (int i = 0; i < k->n_fors; i++) {
        if (k->fors[i].split > 1) {
            fprintf(out, "    split %s by %d;\n", k->fors[i].index, k->fors[i].split);
            fprintf(out,
                    "    // clusters of %d: CTA r does steps r * n / %d up to (r + 1) * n / %d; "
                    "CTA 0 adds up and stores\n",
                    k->cluster, k->cluster, k->cluster);
        }
    }
    if (k->walk.stream >= 0) {
        const tir_for *t = &k->fors[k->walk.stream];
        fprintf(out, "    split %s over sms;\n", t->index);
        fprintf(out,
                "    // the steps of all tiles in equal ranges, the last cluster has the first "
                "one; who has a tile's first step adds up, in order,\n    // and stores; %d bytes "
                "of workspace a CTA\n",
                tir_left_bytes(k));
    }
    if (p->f->groups_by > 1) {
        fprintf(out, "    split %s by %d groups;\n", p->f->groups.text, p->f->groups_by);
        fprintf(out,
                "    // group g of the warps that multiply does steps g, g + %d, ...; group 0 adds "
                "up\n",
                p->f->groups_by);
    }
    if (!plan_is_elementwise(p)) {
        fprintf(out, "    mma %s%s%s%s%s;\n", p->arch->mma_fact, k->pair ? ".pair" : "",
                p->f->tf32 ? " tf32" : "", p->f->has_dequant ? " dequant " : "",
                p->f->has_dequant ? p->f->dequant.text : "");
    }
    for (int i = 0; i < p->f->swap.n; i++) {
        fprintf(out, "%s%s%s", i == 0 ? "    swap " : ", ", p->f->swap.at[i].text,
                i + 1 == p->f->swap.n ? ";\n" : "");
    }
    if (p->f->fit_by > 0) {
        fprintf(out, "    fit %s by %d;\n", p->f->fit.text, p->f->fit_by);
    }
    for (int i = 0; i < k->n_mmas; i++) {
        const tir_mma *m = &k->mmas[i];
        fprintf(out, "    // %s: %s, %d elements of %s a step in instructions of %d\n",
                k->accs[m->acc].name, mma_kinds[m->kind].name, m->k_elems, k->fors[m->loop].index,
                mma_kinds[m->kind].k);
    }
    fprintf(out, "    walk %s", k->walk.kind == WALK_CLC ? "clc" : "static");
    if (k->walk.raster >= 0) {
        fprintf(out, " raster %s by %d", k->loops[k->walk.raster].index, k->walk.group);
    }
    print_order(out, p);
    fprintf(out, "%s;\n", k->walk.kind == WALK_ONE ? " from one" : "");
    print_bounds(out, k);
    if (tir_has_scheduler(k)) {
        fprintf(out,
                "    // scheduler: warp %d%s; %d responses of %d bytes, each read by %d warps\n",
                k->roles[k->n_roles - 1].first_warp,
                k->roles[k->n_roles - 1].leader_only ? " of CTA 0" : "", k->walk.depth,
                tir_response_bytes(k), k->walk.empty_count);
    }
    print_pipes(out, p);
    for (int i = 0; i < p->n_roles; i++) {
        print_role(out, p, i);
    }
    for (int i = 0; i < k->n_stores; i++) {
        print_store(out, p, i);
    }
    print_launch(out, p);
    print_totals(out, p);
    fprintf(out, "}\n");
    return true;
}
