// Warps: which lanes are where, branches, what a warp or a block does together, registers handed
// over. Lanes at the lowest instruction go first, so that they meet again behind loops and
// branches.
#include "v.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Noreturn void v_refuse(v_machine *m, const v_warp *w, const v_ins *i, const char *format, ...) {
    char why[VERIFY_MOST_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    v_fail(m->x, i->line, "warp %d of CTA %d: %s", w->index, w->cta, why);
}

// ---- lanes --------------------------------------------------------------------------------------
// What is told of a warp when nothing goes on: the lanes that wait for an mbarrier come first.
static bool stuck_at(v_warp *w, const v_ins *i) {
    if (w->stuck == NULL) {
        w->stuck = i;
        w->stuck_barrier = -1;
    }
    return false;
}

bool v_together(v_warp *w, const v_ins *i, uint32_t mask) {
    if (mask == w->live) {
        return true;
    }
    return stuck_at(w, i);
}

static uint32_t guarded(v_machine *m, const v_warp *w, const v_ins *i, uint32_t mask) {
    if (i->guard < 0) {
        return mask;
    }
    const v_reg *p = &w->reg[i->guard];
    uint32_t on = 0;
    V_EACH(lane, mask) {
        bool known = p->known >> lane & 1;
        bool v = known ? (p->v[p->same ? 0 : lane] != 0) != i->guard_not : m->given.data;
        on |= v ? 1u << lane : 0;
    }
    return on;
}

static void jump(v_warp *w, uint32_t mask, uint32_t to) {
    V_EACH(lane, mask) {
        w->pc[lane] = to;
    }
}

static void matrix_reads(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, bool result) {
    for (int p = 0; (o->kind == VO_VECTOR || o->kind == VO_ADDRESS) && p < o->n; p++) {
        matrix_reads(m, w, i, &o->part[p], result && o->kind == VO_VECTOR);
    }
    if (o->kind != VO_REG) {
        return;
    }
    v_matrix_reg *r = &w->mreg[o->reg];
    if (r->group > w->done_groups && (r->result || result) && i->step != v_wgmma) {
        v_refuse(m, w, i,
                 "%s %s a register of a wgmma.mma_async that may still run: wgmma.commit_group and "
                 "wgmma.wait_group "
                 "come first",
                 i->op, result ? "writes" : "reads");
    }
    if (i->step != v_wgmma) {
        r->touched_at = w->steps;
    }
}

// PTX ISA "tcgen05.wait::ld": before it the registers have not been written.
static void loaded(v_machine *m, const v_warp *w, const v_ins *i, const v_operand *o) {
    for (int p = 0; (o->kind == VO_VECTOR || o->kind == VO_ADDRESS) && p < o->n; p++) {
        loaded(m, w, i, &o->part[p]);
    }
    if (o->kind == VO_REG && w->loading[o->reg]) {
        v_refuse(m, w, i, "%s uses a register that a tcgen05.ld has yet to write: tcgen05.wait::ld comes first",
                 i->op);
    }
}

// False: the lanes wait.
static bool follow(v_machine *m, v_warp *w, uint32_t pc, uint32_t mask) {
    const v_ins *i = &m->k->ins[pc];
    uint32_t on = guarded(m, w, i, mask);
    if (++m->steps > m->most_steps) {
        m->x->too_long = true;
        v_refuse(m, w, i, "more than %llu instructions are needed to follow the kernel",
                 (unsigned long long)m->most_steps);
    }
    w->steps++;
    if (i->step == v_bra) {
        jump(w, on, i->target);
        jump(w, mask & ~on, pc + 1);
        return true;
    }
    jump(w, mask & ~on, pc + 1);
    if (on == 0) {
        return true;
    }
    if (m->has_wgmma) {
        for (int a = 0; a < i->n_args; a++) {
            matrix_reads(m, w, i, &i->arg[a], a == 0);
        }
    }
    for (int a = 0; a < i->n_args && w->n_loading > 0; a++) {
        loaded(m, w, i, &i->arg[a]);
    }
    if (!i->step(m, w, i, on)) {
        return false;
    }
    jump(w, on, pc + 1);
    return true;
}

static bool run_warp(v_machine *m, v_warp *w) {
    bool moved = false;
    uint32_t tried = 0;
    while ((w->live & ~tried) != 0) {
        uint32_t pc = UINT32_MAX, mask = 0;
        V_EACH(lane, w->live & ~tried) {
            pc = w->pc[lane] < pc ? w->pc[lane] : pc;
        }
        V_EACH(l, w->live) {
            mask |= w->pc[l] == pc ? 1u << l : 0;
        }
        if (follow(m, w, pc, mask)) {
            moved = true;
            tried = 0;
        } else {
            tried |= mask;
            V_EACH(gone, mask) { // lanes whose predicate is false went on
                moved |= w->pc[gone] != pc;
                tried &= w->pc[gone] != pc ? ~(1u << gone) : UINT32_MAX;
            }
        }
    }
    return moved;
}

void v_run(v_machine *m) {
    bool moved, live;
    do {
        moved = live = false;
        for (int n = 0; n < m->n_warps; n++) {
            m->warp[n].stuck = NULL;
            moved |= run_warp(m, &m->warp[n]);
            live |= m->warp[n].live != 0;
        }
        moved = moved || (m->learn && v_mbar_all_loaded(m));
    } while (moved && live);
    for (int n = 0; live && n < m->n_warps; n++) {
        v_warp *w = &m->warp[n];
        if (w->live != 0 && w->stuck != NULL) {
            char who[VERIFY_MOST_TEXT];
            v_mbar_tell(m, who, sizeof who);
            v_fail(m->x, w->stuck->line, "deadlock: %s", who);
        }
    }
}

bool v_bra(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) { // see follow
    (void)m, (void)w, (void)i, (void)mask;
    return true;
}

bool v_nothing(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)m, (void)w, (void)i, (void)mask;
    return true;
}

bool v_opaque(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    v_set_unknown(m, w, &i->arg[0], mask);
    return true;
}

bool v_trap(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)mask;
    v_refuse(m, w, i, "a trap is reached");
}

// ---- the end of a thread ------------------------------------------------------------------------
static bool known_in_cta(const v_machine *m, int cta, uint32_t comp, uint32_t at) {
    for (uint32_t t = 0; t < m->per_cta; t++) {
        if (v_knows(m, (uint32_t)cta * m->per_cta + t, comp, at)) {
            return true;
        }
    }
    return false;
}

// Shared memory goes with the block: whatever comes into it from outside must be known to have
// come.
static void block_ends(v_machine *m, v_warp *w, const v_ins *i) {
    v_cta *c = &m->cta[w->cta];
    c->exited = true;
    for (int n = 0; n < m->n_comps; n++) {
        if (c->remote[n] != 0 && !known_in_cta(m, w->cta, (uint32_t)n, c->remote[n])) {
            v_refuse(m, w, i,
                     "the block ends, and '%s' at line %u may still reach its shared memory: "
                     "nobody in the block "
                     "waits for it",
                     c->remote_ins[n]->op, c->remote_ins[n]->line);
        }
    }
    v_global_end(m, w);
    if (c->allocs != 0) {
        v_refuse(m, w, i, "the block ends with %u columns of TMEM allocated", c->allocs);
    }
    uint32_t total = 0;
    for (uint32_t n = 0; n < m->warps_per_cta; n++) {
        const v_warp *other = &m->warp[(uint32_t)w->cta * m->warps_per_cta + n];
        if (other->regs != m->warp[(uint32_t)w->cta * m->warps_per_cta + n / 4 * 4].regs) {
            v_refuse(m, w, i, "setmaxnreg leaves warps of one warpgroup with %u and %u registers",
                     other->regs, m->warp[(uint32_t)w->cta * m->warps_per_cta + n / 4 * 4].regs);
        }
        total += other->regs * V_LANES;
    }
    if (m->k->max_regs != 0 && total > m->k->max_regs * m->per_cta) {
        v_refuse(m, w, i, "setmaxnreg asks for %u registers in all, the block was launched with %u",
                 total, m->k->max_regs * m->per_cta);
    }
}

static void lane_ends(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    uint32_t id = w->first + lane;
    const v_pending *p = &m->bulk[id];
    if (p->n != 0) {
        const v_ins *at = m->async[p->op[0]].ins;
        v_refuse(m, w, i,
                 "a thread ends before its '%s' at line %u has read shared memory: "
                 "cp.async.bulk.commit_group and "
                 "wait_group come first",
                 at->op, at->line);
    }
}

bool v_ret(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        lane_ends(m, w, i, lane);
    }
    w->live &= ~mask;
    if (w->live == 0 && w->wgmma.n != 0) {
        v_refuse(m, w, i, "a warp ends before its wgmma.mma_async at line %u",
                 m->async[w->wgmma.op[0]].ins->line);
    }
    if (w->live == 0 && w->in_cluster_bar) {
        v_refuse(m, w, i, "a warp ends between barrier.cluster.arrive and barrier.cluster.wait");
    }
    bool last = true;
    for (uint32_t n = 0; n < m->warps_per_cta; n++) {
        last &= m->warp[(uint32_t)w->cta * m->warps_per_cta + n].live == 0;
    }
    if (last && !m->learn) {
        block_ends(m, w, i);
    }
    return true;
}

bool v_setmaxnreg(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    w->regs = (uint32_t)v_need_same(m, w, i, &i->arg[0], mask);
    if (w->regs < 24 || w->regs > 256 || w->regs % 8 != 0) {
        v_refuse(m, w, i, "setmaxnreg of %u: multiples of 8 from 24 to 256", w->regs);
    }
    return true;
}

// ---- a warp together ----------------------------------------------------------------------------
static bool all_here(v_machine *m, v_warp *w, const v_ins *i, int arg, uint32_t mask,
                     uint32_t *member) {
    *member = (uint32_t)v_need_same(m, w, i, &i->arg[arg], mask) & w->live;
    if ((mask & *member) == *member) {
        return true;
    }
    return stuck_at(w, i);
}

bool v_elect(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t member;
    if (!all_here(m, w, i, 1, mask, &member)) {
        return false;
    }
    uint32_t leader = member == 0 ? 0 : (uint32_t)__builtin_ctz(member);
    V_EACH(lane, mask) {
        v_set(m, w, i->arg[0].reg, lane, leader, true);
        v_set(m, w, i->arg[0].pair, lane, lane == leader, true);
    }
    return true;
}

static uint32_t shuffle_from(const v_ins *i, uint32_t lane, uint32_t b, uint32_t c) {
    uint32_t segment = c >> 8 & 31, clamp = c & 31, most = (lane & segment) | (clamp & ~segment), j;
    bool in;
    if (v_has(i, VW_up)) {
        j = lane - b;
        in = lane >= b && j >= most;
    } else if (v_has(i, VW_down)) {
        j = lane + b;
        in = j <= most;
    } else if (v_has(i, VW_bfly)) {
        j = lane ^ b;
        in = j <= most;
    } else {
        j = (lane & segment) | (b & ~segment);
        in = j <= most;
    }
    return in && j < V_LANES ? j : lane;
}

bool v_shfl(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t member;
    if (!all_here(m, w, i, 4, mask, &member)) {
        return false;
    }
    uint64_t out[V_LANES];
    bool known[V_LANES], same = true;
    V_EACH(lane, mask) {
        known[lane] = true;
        uint32_t b = (uint32_t)v_get(m, w, &i->arg[2], lane, &known[lane]) & 31;
        uint32_t c = (uint32_t)v_get(m, w, &i->arg[3], lane, &known[lane]);
        out[lane] = v_get(m, w, &i->arg[1], shuffle_from(i, lane, b, c), &known[lane]);
        same &= known[lane] && out[lane] == out[__builtin_ctz(mask)];
    }
    if (same && i->arg[0].kind == VO_REG) {
        v_set_same(m, w, i->arg[0].reg, mask, out[__builtin_ctz(mask)]);
    } else {
        V_EACH(to, mask) {
            v_set(m, w, i->arg[0].reg, to, out[to], known[to]);
        }
    }
    if (i->arg[0].pair >= 0) {
        w->reg[i->arg[0].pair].known &= ~mask;
    }
    return true;
}

bool v_vote(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t member;
    if (!all_here(m, w, i, 2, mask, &member)) {
        return false;
    }
    bool known = true;
    uint32_t votes = 0;
    V_EACH(lane, mask & member) {
        votes |= v_get(m, w, &i->arg[1], lane, &known) ? 1u << lane : 0;
    }
    uint64_t v = v_has(i, VW_ballot) ? votes
                 : v_has(i, VW_any)  ? votes != 0
                 : v_has(i, VW_all)  ? votes == (mask & member)
                                     : votes == 0 || votes == (mask & member);
    if (known) {
        v_set_same(m, w, i->arg[0].reg, mask, v);
    } else {
        v_set_unknown(m, w, &i->arg[0], mask);
    }
    return true;
}

bool v_activemask(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    v_set_same(m, w, i->arg[0].reg, mask, mask);
    return true;
}

// Matrix products of registers, reductions of a warp: data.
bool v_collective(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    v_set_unknown(m, w, &i->arg[0], mask);
    return true;
}

// Lanes may stand at different bar.warp.sync: it is executing one that counts, not which.
bool v_bar_warp(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t member = (uint32_t)v_need_same(m, w, i, &i->arg[0], mask) & w->live, here = 0;
    V_EACH(lane, member) {
        here |= m->k->ins[w->pc[lane]].step == v_bar_warp ? 1u << lane : 0;
    }
    if (here != member) {
        return stuck_at(w, i);
    }
    v_clock *all[3] = {NULL, NULL, NULL};
    v_release(m, all, w, member);
    v_acquire(m, all, w, member);
    for (int n = 0; n < 3; n++) {
        v_clock_drop(m, all[n]);
    }
    V_EACH(other, member & ~mask) {
        w->pc[other]++;
    }
    return true;
}

// ---- a block or cluster together ----------------------------------------------------------------
static void turn(v_machine *m, v_bar *b) {
    b->generation++;
    b->arrived = 0;
    b->expected = 0;
    for (int n = 0; n < 3; n++) {
        v_clock_drop(m, b->done[n]);
        b->done[n] = b->cur[n];
        b->cur[n] = v_clock_ref(b->done[n]);
    }
}

// barrier{.cta}.sync/arrive a{, b}: PTX ISA "barrier{.cta}".
bool v_bar_cta(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    uint64_t id = v_need_same(m, w, i, &i->arg[0], mask);
    uint64_t n = i->n_args > 1 ? v_need_same(m, w, i, &i->arg[1], mask) : m->per_cta;
    if (id > 15 || n == 0 || n % V_LANES != 0 || n > m->per_cta) {
        v_refuse(m, w, i, "named barrier %llu for %llu threads, of a block of %u",
                 (unsigned long long)id, (unsigned long long)n, m->per_cta);
    }
    v_bar *b = &m->cta[w->cta].bar[id];
    if (!w->in_bar) {
        if (b->expected != 0 && b->expected != n) {
            v_refuse(
                m, w, i,
                "named barrier %llu for %llu threads, and others have come to it as one for %u",
                (unsigned long long)id, (unsigned long long)n, b->expected);
        }
        v_release(m, b->cur, w, mask);
        b->expected = (uint32_t)n;
        b->arrived += V_LANES;
        w->bar_generation = b->generation;
        if (b->arrived == b->expected) {
            turn(m, b);
        }
        if (v_has(i, VW_arrive)) {
            return true;
        }
        w->in_bar = true;
    }
    if (b->generation == w->bar_generation) {
        return stuck_at(w, i);
    }
    w->in_bar = false;
    v_acquire(m, b->done, w, mask);
    return true;
}

bool v_cluster_arrive(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    v_bar *b = &m->cluster_bar;
    if (w->in_cluster_bar) {
        v_refuse(m, w, i, "arrives at the cluster's barrier twice without barrier.cluster.wait");
    }
    if (!v_has(i, VW_relaxed)) {
        v_release(m, b->cur, w, mask);
    }
    for (int n = 0; n < m->n_mbars; n++) {
        v_mbar *x = m->mbars[n];
        if (x->init_fenced && x->init_generation == 0 && x->init_thread - w->first < V_LANES) {
            x->init_generation = b->generation + 1;
        }
    }
    w->in_cluster_bar = true;
    w->cluster_generation = b->generation;
    if (++b->arrived == (uint32_t)m->n_warps) {
        turn(m, b);
    }
    return true;
}

bool v_cluster_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    v_bar *b = &m->cluster_bar;
    if (!v_together(w, i, mask)) {
        return false;
    }
    if (!w->in_cluster_bar) {
        v_refuse(m, w, i, "waits for the cluster's barrier without barrier.cluster.arrive");
    }
    if (b->generation == w->cluster_generation) {
        return stuck_at(w, i);
    }
    w->in_cluster_bar = false;
    if (!v_has(i, VW_relaxed)) {
        w->cluster_known = w->cluster_generation + 1;
        v_acquire(m, b->done, w, mask);
    }
    return true;
}

// ---- the kernel before this one (PTX ISA, "griddepcontrol")
// --------------------------------------
bool v_grid_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)i;
    V_EACH(lane, mask) {
        m->grid_waited[w->first + lane] = w->now + 1;
    }
    w->now++;
    return true;
}

void v_grid_access(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!m->has_grid_wait) {
        return;
    }
    V_EACH(lane, mask) {
        bool ok = m->grid_waited[w->first + lane] != 0;
        for (int t = 0; t < m->n_threads && !ok; t++) {
            ok = m->grid_waited[t] != 0 && v_knows(m, w->first + lane, (uint32_t)t, m->grid_waited[t] - 1);
        }
        if (!ok) {
            v_refuse(m, w, i,
                     "%s reaches global memory before griddepcontrol.wait: the kernel before may "
                     "not be over",
                     i->op);
        }
    }
}
