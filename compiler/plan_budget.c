// Budgets: depths of pipes, shared memory, TMEM, registers, threads. Exact, before any code exists.
//
// Requires: channels (sizes of slots), staging. Provides: depths, TMEM layout, walk, entry_regs.
// A stated fact that does not fit is refused with the sum and with edits that do fit.
#include "plan_int.h"

#include <string.h>

// --- Registers and threads -----------------------------------------------------------------------

// What setmaxnreg may move about is what the launch took: every thread the same multiple of 8 (PTX
// ISA "setmaxnreg": from the CTA's own pool).
static int register_pool(int threads, int total) {
    int pool = ARCH_REGS / threads / 8 * 8 * threads;
    return total > ARCH_REGS ? ARCH_REGS : pool;
}

static void budget_registers(planner *p) {
    tir_kernel *k = p->k;
    int groups = k->threads / 128;
    int total = 0;
    bool differ = false;
    for (int i = 0; i < groups; i++) {
        total += k->wg_regs[i] * 128;
        differ |= k->wg_regs[i] != k->wg_regs[0];
    }
    int have = register_pool(k->threads, total);
    if (total > have) {
        const fact_role *most = NULL;
        const tir_role *big = NULL;
        for (int i = 0; i < p->n_roles; i++) {
            if (p->roles[i].stated != NULL &&
                (most == NULL || p->roles[i].regs * p->roles[i].warps > most->regs * most->warps)) {
                most = p->roles[i].stated;
                big = &k->roles[i];
            }
        }
        PLAN_REFUSE(p, "R201", most != NULL && most->regs > 0 ? most->regs_span : p->at,
                    "registers over by %d on %s", total - have, p->arch->name);
        char sum[256] = "";
        size_t n = 0;
        for (int i = 0; i < groups && n < sizeof sum - 40; i++) {
            n += (size_t)snprintf(sum + n, sizeof sum - n, "%s128 x %d", i > 0 ? " + " : "",
                                  k->wg_regs[i]);
        }
        diag_because(p->d, "%s = %d of %d", sum, total, have);
        int share = big != NULL ? (big->n_warps + 3) / 4 : 1;
        int less = most != NULL
                       ? most->regs - round_up((total - have + share * 128 - 1) / (share * 128), 8)
                       : 0;
        if (most != NULL && most->regs > 0 && less >= 24) {
            diag_fix(p->d, most->regs_span, arena_printf(p->mem, "%d", less),
                     "registers for role '%s'", most->name.text);
        }
        return;
    }
    // Launched with an even share; setmaxnreg moves registers between warpgroups afterwards. A
    // kernel whose groups want the same asks for it at launch.
    int each = round_up((total / 128 + groups - 1) / groups, 8);
    k->entry_regs = each > ARCH_MAX_REGS ? ARCH_MAX_REGS : each;
    for (int i = 0; i < groups && !differ; i++) {
        k->wg_regs[i] = 0;
    }
}

// What a thread needs beside accumulators; operands of wgmma need no registers.
static int work_regs(const planner *p) {
    return p->arch->family == MMA_WGMMA ? PLAN_WGMMA_REGS : PLAN_WORK_REGS;
}

// Accumulators in registers (mma.sync, wgmma): what a thread of the role holds, beside fragments
// and addresses, must fit what the role has.
static void budget_accumulators(planner *p) {
    tir_kernel *k = p->k;
    for (int r = 0; r < p->n_roles && p->ok && plan_acc_in_regs(p) && !plan_is_elementwise(p);
         r++) {
        const tir_role *role = &k->roles[r];
        int threads = tir_group_warps(role) * 32;
        int held = 0;
        const tir_acc *last = NULL;
        for (int i = 0; i < k->n_accs; i++) {
            if (k->accs[i].role == r) {
                held += k->accs[i].rows * k->accs[i].cols / threads;
                // beside it the sums of one instruction: 64 rows over 128 threads
                held += tir_is_promoted(k, i) ? k->accs[i].cols / 2 : 0;
                last = &k->accs[i];
            }
        }
        if (last == NULL || held + work_regs(p) <= p->roles[r].regs) {
            continue;
        }
        PLAN_REFUSE(p, "R201", p->roles[r].stated != NULL ? p->roles[r].stated->span : p->at,
                    "accumulators of role '%s' need %d registers a thread, it has %d", role->name,
                    held, p->roles[r].regs);
        diag_because(
            p->d, "%d x %d elements a tile over %d threads, and at least %d registers to work with",
            last->rows, last->cols, threads, work_regs(p));
        bool wide = last->cols >= last->rows;
        int loop = wide ? last->col_loop : last->row_loop;
        int tile = k->loops[loop].tile;
        for (int left = held; left + work_regs(p) > p->roles[r].regs && tile % 32 == 0; left /= 2) {
            tile /= 2;
        }
        plan_help_with(p, p->g->loops[loop], tile, "a smaller tile");
        if (p->f->sched == NULL) {
            diag_help(p->d, "write a schedule for %s with a smaller tile", p->arch->name);
        }
    }
}

// --- TMEM ----------------------------------------------------------------------------------------

static const char *pipe_fact(planner *p, const plan_channel *pc, int depth, bool overlap,
                             const char *space) {
    const char *names = NULL;
    for (int i = 0; i < pc->n_values; i++) {
        const char *v = pc->columns > 0 ? p->g->accs[pc->values[i]]->name
                                        : p->g->operands[pc->values[i]].param->name;
        names = names == NULL ? v : arena_printf(p->mem, "%s, %s", names, v);
    }
    return arena_printf(p->mem, "pipe %s : %d in %s%s;", names, depth, space,
                        overlap ? " overlap" : "");
}

static const char *scale_sum(planner *p) {
    const char *sum = NULL;
    for (int i = 0; i < p->k->n_operands; i++) {
        const tir_operand *op = &p->k->operands[i];
        if (op->scale < 0) {
            continue;
        }
        int granule = p->k->params[op->param].granule;
        int atoms = tir_scale_words(p->operands[i].k_elems, granule);
        int blocks = op->sf_rows / TIR_ATOM_ROWS;
        const char *name = p->k->params[op->param].name;
        const char *one = blocks > 1 ? arena_printf(p->mem, "%s %d x %d", name, blocks, 4 * atoms)
                                     : arena_printf(p->mem, "%s %d", name, 4 * atoms);
        sum = sum == NULL ? one : arena_printf(p->mem, "%s + %s", sum, one);
    }
    return sum == NULL ? "none" : sum;
}

static const char *count_word(int n) {
    static const char *const words[] = {"no", "one", "two", "three", "four"};
    return n < 5 ? words[n] : "many";
}

static void tmem_over(planner *p, const plan_channel *pc, int depth, int total) {
    int have = p->arch->tmem_columns;
    int acc = pc->columns;
    PLAN_REFUSE(p, "T201", pc->stated != NULL ? pc->stated->values.at[0].span : p->at,
                "tensor memory over by %d columns on %s", total - have, p->arch->name);
    diag_label(p->d, "%s accumulator%s of %d columns", count_word(depth), depth == 1 ? "" : "s",
               acc);
    diag_because(p->d, "scales: %s = %d columns; %d x %d + %d = %d of %d", scale_sum(p),
                 p->sf_columns, depth, acc, p->sf_columns, depth * acc + p->sf_columns, have);
    int shared = 2 * acc + p->sf_columns - have;
    ast_span fact = pc->stated != NULL ? plan_fact_span(p, pc->stated->span) : p->at;
    if (pc->stated != NULL && depth == 2 && shared > 0 && shared <= acc / 2) {
        diag_fix(p->d, fact, pipe_fact(p, pc, 2, true, "tmem"),
                 "share %d columns (the epilogue reads them first)", shared);
    }
    if (pc->stated != NULL && depth > 1 && acc + p->sf_columns <= have) {
        diag_fix(p->d, fact, pipe_fact(p, pc, 1, false, "tmem"),
                 "or one accumulator (epilogue not overlapped)");
    }
    const tir_acc *a = &p->k->accs[pc->values[0]];
    int tile = p->k->loops[a->col_loop].tile;
    int narrow = (tile - 1) / 64 * 64;
    int columns = acc / a->cols * narrow;
    if (narrow > 0 && depth * columns + p->sf_columns <= have) {
        plan_help_with(p, p->g->loops[a->col_loop], narrow,
                       arena_printf(p->mem, "or a narrower tile, %d x %d + %d = %d", depth, columns,
                                    p->sf_columns, depth * columns + p->sf_columns));
    }
}

static void budget_tmem(planner *p) {
    tir_kernel *k = p->k;
    int have = p->arch->tmem_columns;
    int used = 0;
    int n_accs = 0;
    for (int i = 0; i < p->n_channels && p->ok; i++) {
        plan_channel *pc = &p->channels[i];
        tir_channel *c = &k->channels[i];
        if (c->space != SPACE_TMEM) {
            continue;
        }
        if (pc->stated != NULL && pc->stated->space != PIPE_TMEM && pc->stated->space != PIPE_ANY) {
            PLAN_REFUSE(p, "A110", pc->stated->span, "tcgen05 accumulates in tmem only");
            diag_fix(p->d, plan_fact_span(p, pc->stated->span),
                     pipe_fact(p, pc, pc->stated->depth, pc->stated->overlap, "tmem"), "its place");
            return;
        }
        n_accs++;
        int acc = pc->columns;
        int shared = 2 * acc + p->sf_columns + used - have;
        bool can_share = shared > 0 && shared <= acc / 2;
        bool overlap = pc->stated != NULL ? pc->stated->overlap : can_share;
        c->depth = pc->stated != NULL ? pc->stated->depth : shared <= 0 || can_share ? 2 : 1;
        c->offset = used;
        c->shared = overlap && c->depth == 2 && can_share ? shared : 0;
        c->stride = acc - c->shared;
        if (overlap && pc->stated != NULL && c->depth != 2) {
            PLAN_REFUSE(p, "F105", pc->stated->span,
                        "'overlap' shares columns between 2 slots, not %d", c->depth);
            return;
        }
        int total = used + c->depth * acc - c->shared + p->sf_columns;
        if (total > have) {
            tmem_over(p, pc, c->depth, total);
            return;
        }
        used += c->depth * acc - c->shared;
    }
    if (n_accs == 0) {
        return;
    }
    p->sf_first_column = used;
    for (int i = 0; i < k->n_operands; i++) {
        k->operands[i].sf_column += used;
    }
    k->tmem_columns = 32; // PTX ISA "tcgen05.alloc": a power of two from 32 to 512
    while (k->tmem_columns < used + p->sf_columns) {
        k->tmem_columns *= 2;
    }
}

// The last store that reads a channel releases it, once its shared columns (or all) are in
// registers.
static void plan_release(planner *p) {
    tir_kernel *k = p->k;
    for (int i = 0; i < k->n_channels; i++) {
        const tir_channel *c = &k->channels[i];
        if (c->space != SPACE_TMEM) {
            continue;
        }
        int last = -1;
        for (int s = 0; s < k->n_stores; s++) {
            for (int j = 0; j < p->g->stores[s].n_accs; j++) {
                if (k->accs[graph_acc_of(p->g, p->g->stores[s].accs[j])].channel == i) {
                    last = s;
                }
            }
        }
        if (k->stores[last].release >= 0) {
            PLAN_REFUSE(p, "X101", p->g->stores[last].stmt->span,
                        "'%s' is the last reader of two pipes: give their accumulators one pipe",
                        k->params[k->stores[last].param].name);
            return;
        }
        tir_store *st = &k->stores[last];
        int subs = k->accs[p->channels[i].values[0]].cols / st->sub_cols;
        st->release = i;
        st->release_after = subs;
        if (c->shared == 0) {
            continue;
        }
        // Slot 0 is walked from its last sub-tile, slot 1 from its first.
        st->release_after = 1;
        for (int j = 0; j < p->channels[i].n_values; j++) {
            const tir_acc *a = &k->accs[p->channels[i].values[j]];
            int low = (c->stride - a->column) / st->sub_cols; // first shared sub-tile of slot 0
            int down = subs - (low < 0 ? 0 : low > subs ? subs : low);
            int up = (c->shared - a->column + st->sub_cols - 1) / st->sub_cols;
            int need = down > up ? down : up;
            need = need > subs ? subs : need;
            st->release_after = need > st->release_after ? need : st->release_after;
        }
    }
}

// --- Shared memory -------------------------------------------------------------------------------

// Partial sums of a split loop are a tile in f32, which a narrower tile makes smaller.
static void sums_over(planner *p, int over) {
    int sums = 0;
    for (int i = 0; i < p->n_roles; i++) {
        sums += p->sum_bytes[i];
    }
    if (sums == 0) {
        return;
    }
    diag_because(p->d, "%d bytes of the staging are partial sums of 'split %s by %d%s'", sums,
                 p->f->split_by > 1 ? p->f->split.text : p->f->groups.text,
                 p->f->split_by > 1 ? p->f->split_by : p->f->groups_by,
                 p->f->split_by > 1 ? "" : " groups");
    const tir_acc *a = &p->k->accs[0];
    int parts = 2;
    while (sums - sums / parts < over && a->cols % (32 * parts) == 0) {
        parts *= 2;
    }
    if (sums - sums / parts >= over && a->cols % (16 * parts) == 0) {
        plan_help_with(p, p->g->loops[a->col_loop], p->k->loops[a->col_loop].tile / parts,
                       "a tile of fewer sums");
    }
}

// With the f32 scales that come along.
static int slot_bytes(const plan_channel *pc) {
    return pc->stage_bytes + pc->factor_bytes;
}

static void smem_over(planner *p, const plan_channel *pc, int depth, int total) {
    int have = p->arch->smem_bytes;
    PLAN_REFUSE(p, "S201", pc->stated != NULL ? pc->stated->depth_span : p->at,
                "shared memory over by %d bytes on %s", total - have, p->arch->name);
    diag_label(p->d, "%d slot%s of %d bytes", depth, depth == 1 ? "" : "s", slot_bytes(pc));
    int tables = plan_table_bytes(p);
    diag_because(p->d, "barriers %d + slots %d x %d + staging %d%s%s = %d of %d bytes",
                 PLAN_BARRIER_BYTES, depth, slot_bytes(pc), p->staging_bytes,
                 tables > 0 ? arena_printf(p->mem, " + table of scales %d", tables) : "",
                 total == PLAN_BARRIER_BYTES + depth * slot_bytes(pc) + p->staging_bytes + tables
                     ? ""
                     : " + other pipes",
                 total, have);
    sums_over(p, total - have);
    int fewer = depth - (total - have + slot_bytes(pc) - 1) / slot_bytes(pc);
    if (pc->stated != NULL && fewer >= 1) {
        diag_fix(p->d, plan_fact_span(p, pc->stated->span), pipe_fact(p, pc, fewer, false, "smem"),
                 "the deepest that fits");
    }
    for (int i = 0; i < p->k->n_stores; i++) {
        const tir_store *s = &p->k->stores[i];
        const fact_store *f = facts_store_of(p->f, p->k->params[s->param].name);
        if (f != NULL && s->stages > 1 && total - (s->stages - 1) * s->stage_bytes <= have) {
            diag_fix(p->d, plan_fact_span(p, f->span),
                     arena_printf(p->mem, "store %s via smem by %d x 1;",
                                  p->k->params[s->param].name, s->sub_cols),
                     "or one staging buffer");
        }
    }
    if (fewer < 1) {
        int o = pc->values[0];
        plan_help_with(p, p->g->operands[o].expr->args[p->g->operands[o].expr->n_args - 1]->sym,
                       p->operands[o].k_elems / 2, "or a shorter step");
    }
}

static void budget_smem(planner *p) {
    tir_kernel *k = p->k;
    int fixed = PLAN_BARRIER_BYTES + p->staging_bytes + plan_table_bytes(p);
    int derived = 0;
    int derived_stage = 0;
    for (int i = 0; i < p->n_channels; i++) {
        const plan_channel *pc = &p->channels[i];
        if (k->channels[i].space != SPACE_SMEM) {
            continue;
        }
        if (pc->stated != NULL) {
            k->channels[i].depth = pc->stated->depth;
            fixed += pc->stated->depth * slot_bytes(pc);
        } else {
            derived++;
            derived_stage += slot_bytes(pc);
        }
    }
    int left = p->arch->smem_bytes - fixed;
    int depth = derived > 0 && left > 0 ? left / derived_stage : 0;
    depth = depth > PLAN_MAX_DEPTH ? PLAN_MAX_DEPTH : depth < 1 ? 1 : depth;
    if (p->f->groups_by > 1 && depth > p->f->groups_by) {
        depth -= depth % p->f->groups_by;
    }
    int total = fixed + depth * derived_stage;
    const plan_channel *biggest = NULL;
    int biggest_depth = 0;
    for (int i = 0; i < p->n_channels; i++) {
        const plan_channel *pc = &p->channels[i];
        if (k->channels[i].space != SPACE_SMEM) {
            continue;
        }
        k->channels[i].depth = pc->stated != NULL ? pc->stated->depth : depth;
        int bytes = k->channels[i].depth * slot_bytes(pc);
        if (biggest == NULL || bytes > biggest_depth * slot_bytes(biggest)) {
            biggest = pc;
            biggest_depth = k->channels[i].depth;
        }
    }
    if (total > p->arch->smem_bytes && biggest != NULL) {
        smem_over(p, biggest, biggest_depth, total);
    }
}

// --- The walk ------------------------------------------------------------------------------------

static void plan_walk(planner *p) {
    const facts *f = p->f;
    tir_walk *w = &p->k->walk;
    w->kind = WALK_STATIC;
    w->raster = -1; // 'stream' is plan_split's
    if (f->has_walk && strcmp(f->walk, "atomic") == 0) {
        PLAN_REFUSE(p, "X101", f->walk_span, "'walk atomic' has no lowering yet");
        diag_help(p->d, "walk static | walk clc");
        return;
    }
    if (f->has_walk && strcmp(f->walk, "clc") == 0) {
        w->kind = WALK_CLC;
        // PTX ISA "clusterlaunchcontrol.try_cancel": from sm_100 on
        if (p->arch->family == MMA_WGMMA) {
            PLAN_REFUSE(p, "A110", f->walk_span, "%s has no cluster launch control", p->arch->name);
            diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static;", "a fixed walk");
            return;
        }
    }
    if (w->kind == WALK_CLC && f->from_one) {
        PLAN_REFUSE(p, "F105", f->from_span,
                    "'walk clc' has the hardware hand out tiles: 'from one' is of a static walk");
        diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static from one;",
                 "tiles from one warp");
        return;
    }
    w->kind = f->from_one ? WALK_ONE : w->kind;
    if (w->kind == WALK_ONE && tir_record_words(p->k) > TIR_RECORD_MOST) {
        PLAN_REFUSE(p, "X101", f->from_span,
                    "a tile takes %d words to hand out, a warp hands out %d",
                    tir_record_words(p->k), TIR_RECORD_MOST);
        diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static;",
                 "every role counts by itself");
        return;
    }
    const tir_loop *bounded = NULL;
    for (int i = 0; i < p->k->n_loops; i++) {
        bounded = p->k->loops[i].hi != NULL ? &p->k->loops[i] : bounded;
    }
    if (w->kind == WALK_CLC && bounded != NULL) {
        PLAN_REFUSE(p, "X101", f->walk_span,
                    "'walk clc' launches a cluster a tile, but only the device knows how many "
                    "tiles '%s' has",
                    bounded->index);
        diag_fix(p->d, plan_fact_span(p, f->walk_span), "walk static;",
                 "clusters that take tiles by turns");
        return;
    }
    if (!f->has_raster) {
        return;
    }
    for (int i = 0; i < p->k->n_loops; i++) {
        if (strcmp(p->k->loops[i].index, f->raster.text) == 0) {
            w->raster = i;
        }
    }
    if (w->raster < 0) {
        PLAN_REFUSE(p, "F103", f->raster.span, "'%s' is not an index of the tile loop",
                    f->raster.text);
        return;
    }
    if (w->raster < w->groups) {
        PLAN_REFUSE(p, "A111", f->raster.span,
                    "'%s' numbers the groups that bounds depend on: the walk takes one group after "
                    "the other",
                    f->raster.text);
        return;
    }
    w->group = f->raster_group;
    if (p->k->n_loops - w->groups < 2) {
        w->raster = -1; // one loop has one order
    }
}

void plan_budgets(planner *p) {
    plan_walk(p);
    budget_registers(p);
    budget_accumulators(p);
    budget_tmem(p);
    budget_smem(p);
    if (p->ok) {
        plan_release(p);
    }
}
