// Named barriers, the cluster barrier, bar.warp.sync, setmaxnreg.
// PTX ISA "bar, barrier", "barrier.cluster", "setmaxnreg".
#include "haz.h"
#include "sync.h"

void sim_wake_cta(struct cta *c, enum split_state state, uint32_t what) {
    for (uint32_t n = 0; n < c->n_warps; n++) {
        struct warp *w = &c->warp[n];
        for (int s = 0; s < w->n_splits; s++) {
            if (w->split[s].state == state && w->split[s].what == what) {
                warp_wake(w, &w->split[s]);
            }
        }
    }
}

static uint32_t threads_alive(const struct cta *c) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_warps; i++) {
        n += c->warp[i].alive != 0 ? LANES : 0;
    }
    return n;
}

// Results of bar.red for one split.
static void write_red(struct warp *w, uint32_t mask, const struct uop *u,
                      const struct named_bar *b) {
    uint32_t m = mask;
    if ((u->flag & BAR_POPC) != 0) {
        FOR_LANES(l, m) {
            ((u32 *)row(w, u->d))[l] = b->reduced;
        }
    } else if ((u->flag & (BAR_AND | BAR_OR)) != 0) {
        bool yes = (u->flag & BAR_AND) != 0 ? b->reduced == b->voters : b->reduced > 0;
        w->p[u->d] = (w->p[u->d] & ~m) | (yes ? m : 0);
    }
}

static void complete(struct cta *c, uint32_t id) {
    struct named_bar *b = &c->bar[id];
    if (c->x->haz != NULL) {
        haz_named_complete(c, id);
    }
    for (uint32_t n = 0; n < c->n_warps; n++) {
        struct warp *w = &c->warp[n];
        for (int s = 0; s < w->n_splits; s++) {
            if (w->split[s].state == SPLIT_BAR && w->split[s].what == id) {
                write_red(w, w->split[s].mask, &w->code[w->split[s].pc - 1], b);
                warp_wake(w, &w->split[s]);
            }
        }
    }
    *b = (struct named_bar){.generation = b->generation + 1};
}

static bool is_complete(const struct cta *c, const struct named_bar *b) {
    uint32_t expected = b->expected != 0 ? b->expected : threads_alive(c);
    return b->arrived > 0 && b->arrived >= expected;
}

// a: barrier number, b: threads (BAR_COUNTED), c: predicate of a reduction
const struct uop *run_bar(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    if ((u->flag & BAR_ALIGNED) != 0 && !warp_converge(w, u, FULL)) {
        return STOP;
    }
    m = exec_mask(w, u);
    struct cta *c = w->cta;
    int lane = first_lane(m);
    uint32_t id = ((const u32 *)row(w, u->a))[lane];
    uint32_t n = (u->flag & BAR_COUNTED) != 0 ? ((const u32 *)row(w, u->b))[lane] : 0;
    if (id >= N_NAMED) {
        return sim_fault(w, u, "barrier %u, there are %d", id, N_NAMED);
    }
    if (n % LANES != 0 || n > c->n_warps * LANES) {
        return sim_fault(
            w, u, "barrier %u for %u threads: not a multiple of 32, or more than the CTA has", id,
            n);
    }
    struct named_bar *b = &c->bar[id];
    if (b->arrived > 0 && b->expected != n) {
        return sim_fault(w, u,
                         "barrier %u for %u threads, but earlier arrivals of this phase said %u",
                         id, n, b->expected);
    }
    b->expected = n;
    b->arrived += m == w->alive ? LANES : (uint32_t)__builtin_popcount(m);
    b->voters += (uint32_t)__builtin_popcount(m);
    if ((u->flag & (BAR_POPC | BAR_AND | BAR_OR)) != 0) {
        uint32_t votes = w->p[u->c] ^ (uint32_t)u->imm;
        b->reduced += (uint32_t)__builtin_popcount(votes & m);
    }
    if (is_complete(c, b)) {
        if ((u->flag & BAR_ARRIVE) == 0) {
            write_red(w, m, u, b);
        }
        complete(c, id);
        return u + 1;
    }
    if ((u->flag & BAR_ARRIVE) != 0) {
        return u + 1;
    }
    return warp_park(w, u + 1, (struct split){.state = SPLIT_BAR, .what = id, .value = n});
}

const struct uop *run_bar_warp(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    return warp_converge(w, u, sim_member_masks(w, m, u->a)) ? u + 1 : STOP;
}

// ---- cluster barrier ----------------------------------------------------------------------------
static uint32_t cluster_threads(const struct cluster *cl) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < cl->size; c++) {
        for (uint32_t i = 0; i < cl->cta[c].n_warps; i++) {
            n += (uint32_t)__builtin_popcount(cl->cta[c].warp[i].alive);
        }
    }
    return n;
}

void cluster_bar_check(struct cluster *cl) {
    if (cl->arrived == 0 || cl->arrived < cluster_threads(cl)) {
        return;
    }
    cl->arrived = 0;
    cl->phase++;
    if (cl->x->haz != NULL) {
        haz_cluster_complete(cl);
    }
    for (uint32_t c = 0; c < cl->size; c++) {
        sim_wake_cta(&cl->cta[c], SPLIT_CLUSTER, 0);
    }
}

const struct uop *run_cluster_arrive(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    if ((u->flag & BAR_ALIGNED) != 0 && !warp_converge(w, u, FULL)) {
        return STOP;
    }
    m = exec_mask(w, u);
    struct cluster *cl = w->cta->cluster;
    if (w->cluster_arrived && w->cluster_phase == cl->phase && m == w->alive) {
        return sim_fault(w, u, "the warp arrives twice at the cluster barrier without waiting");
    }
    w->cluster_phase = cl->phase;
    w->cluster_arrived = true;
    cl->arrived += (uint32_t)__builtin_popcount(m);
    cluster_bar_check(cl);
    return u + 1;
}

const struct uop *run_cluster_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    if ((u->flag & BAR_ALIGNED) != 0 && !warp_converge(w, u, FULL)) {
        return STOP;
    }
    if (!w->cluster_arrived) {
        return sim_fault(w, u, "barrier.cluster.wait without an arrive before it");
    }
    if (w->cta->cluster->phase > w->cluster_phase) {
        return u + 1;
    }
    return warp_park(w, u, (struct split){.state = SPLIT_CLUSTER, .phase = w->cluster_phase});
}

void bar_warp_exit(struct cta *c) {
    uint32_t alive = 0;
    for (uint32_t n = 0; n < c->n_warps; n++) {
        alive += c->warp[n].alive != 0;
    }
    bool ended = alive == 0 && c->warps_alive != 0;
    c->warps_alive = alive;
    for (uint32_t id = 0; id < N_NAMED; id++) {
        if (c->bar[id].expected == 0 && is_complete(c, &c->bar[id])) {
            complete(c, id);
        }
    }
    cluster_bar_check(c->cluster);
    if (ended) {
        exec_cta_ended(c);
    }
}

// ---- registers ----------------------------------------------------------------------------------
// setmaxnreg: a warpgroup's registers go back to the CTA's pool, or come from it as soon as they
// are there. Counted per warp; the pool starts empty.
const struct uop *run_setmaxnreg(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t want = (uint32_t)u->imm;
    struct cta *c = w->cta;
    if (w->n_regs == 0) {
        return u + 1; // the kernel does not say how many registers it starts with
    }
    if (u->flag == 0) {
        if (want > w->n_regs) {
            return sim_fault(w, u, "setmaxnreg.dec to %u, the warp has %u registers a thread", want,
                             w->n_regs);
        }
        c->free_regs += w->n_regs - want;
        w->n_regs = want;
        sim_wake_cta(c, SPLIT_REGS, 0);
        return u + 1;
    }
    if (want < w->n_regs) {
        return sim_fault(w, u, "setmaxnreg.inc to %u, the warp has %u registers a thread", want,
                         w->n_regs);
    }
    if (want - w->n_regs > c->free_regs) {
        return warp_park(w, u, (struct split){.state = SPLIT_REGS, .value = want - w->n_regs});
    }
    c->free_regs -= want - w->n_regs;
    w->n_regs = want;
    return u + 1;
}

// nanosleep: others go first
const struct uop *run_yield(struct warp *w, const struct uop *u) {
    w->fuel -= 256;
    return u + 1;
}
