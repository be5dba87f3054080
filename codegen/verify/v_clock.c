// Who knows what. A clock holds a number for each thread and each mbarrier: the accesses of a
// thread up to that moment, the phases of a barrier up to that one. A thread has one for what
// happened before (PTX ISA, "Causality order"), one for the part of it that the async proxy sees
// ("Proxies"), and three for tcgen05 ("Specialized Inter-thread Synchronization"). Threads that
// meet share one clock.
#include "v.h"

#include <stdlib.h>
#include <string.h>

v_clock *v_clock_ref(v_clock *c) {
    if (c != NULL) {
        c->refs++;
    }
    return c;
}

void v_clock_drop(v_machine *m, v_clock *c) {
    if (c != NULL && --c->refs == 0) {
        c->next = m->free_clocks;
        m->free_clocks = c;
    }
}

static v_clock *copy_of(v_machine *m, const v_clock *c) {
    size_t bytes = (size_t)m->n_comps * sizeof(uint32_t);
    v_clock *n = m->free_clocks;
    if (n != NULL) {
        m->free_clocks = n->next;
    } else {
        n = arena_alloc(m->mem, sizeof(v_clock) + bytes);
    }
    if (c != NULL) {
        memcpy(n->at, c->at, bytes);
    } else {
        memset(n->at, 0, bytes);
    }
    n->refs = 1;
    return n;
}

// The one in *into, to be changed.
static v_clock *own(v_machine *m, v_clock **into) {
    if (*into == NULL || (*into)->refs > 1) {
        v_clock *n = copy_of(m, *into);
        v_clock_drop(m, *into);
        *into = n;
    }
    return *into;
}

void v_clock_at(v_machine *m, v_clock **into, uint32_t comp, uint32_t at) {
    if (v_clock_of(*into, comp) < at) {
        own(m, into)->at[comp] = at;
    }
}

static bool covers(const v_machine *m, const v_clock *a, const v_clock *b) {
    for (int i = 0; i < m->n_comps; i++) {
        if (a->at[i] < b->at[i]) {
            return false;
        }
    }
    return true;
}

static void put(v_machine *m, v_clock **into, v_clock *c) {
    v_clock *old = *into;
    *into = v_clock_ref(c);
    v_clock_drop(m, old);
}

void v_clock_join(v_machine *m, v_clock **into, v_clock *from) {
    if (from == NULL || *into == from) {
        return;
    }
    if (*into == NULL || covers(m, from, *into)) {
        put(m, into, from);
    } else if (!covers(m, *into, from)) {
        v_clock *c = own(m, into);
        for (int i = 0; i < m->n_comps; i++) {
            c->at[i] = c->at[i] < from->at[i] ? from->at[i] : c->at[i];
        }
    }
}

bool v_knows(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at) {
    return comp == thread || v_clock_of(m->thread[thread].g, comp) >= at;
}

bool v_shows(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at) {
    const v_thread *t = &m->thread[thread];
    return comp == thread ? t->a_now >= at : v_clock_of(t->a, comp) >= at;
}

bool v_orders(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at) {
    return comp == thread || v_clock_of(m->thread[thread].t, comp) >= at;
}

// TMEM is loaded and stored lane by lane: others have to know it of each. A product of wgmma is
// over for all when it is over for one, as its wait_group holds the warp together. One's own warp
// has waited.
static bool over_for_warp(const v_machine *m, uint32_t thread, const v_async *a, bool tmem) {
    uint32_t first = a->comp - a->comp % V_LANES; // warps begin at multiples of 32 threads
    bool any = thread / V_LANES == a->comp / V_LANES, all = true;
    for (uint32_t l = 0; l < V_LANES; l++) {
        bool knows =
            tmem ? v_orders(m, thread, first + l, a->at) : v_knows(m, thread, first + l, a->at);
        any |= knows;
        all &= knows;
    }
    return a->kind == VA_WGMMA ? any : all || thread / V_LANES == a->comp / V_LANES;
}

// Whether the operation has ended as far as the thread can know.
bool v_knows_async(const v_machine *m, uint32_t thread, const v_async *a, bool tmem) {
    if (a->kind ==
        VA_TENSOR) { // any commit behind it (PTX ISA, "tcgen05.commit": all prior operations)
        const v_commit *c = m->commits[a->thread];
        for (uint32_t n = m->n_commits[a->thread]; n > 0 && c[n - 1].order >= a->order; n--) {
            if (tmem ? v_orders(m, thread, c[n - 1].comp, c[n - 1].at)
                     : v_knows(m, thread, c[n - 1].comp, c[n - 1].at)) {
                return true;
            }
        }
        return false;
    }
    if (!a->done) {
        return false;
    }
    if (a->kind == VA_WGMMA || a->kind == VA_TMEM_LD || a->kind == VA_TMEM_ST) {
        return over_for_warp(m, thread, a, tmem);
    }
    return v_knows(m, thread, a->comp, a->at);
}

// ---- release and acquire ------------------------------------------------------------------------
void v_release(v_machine *m, v_clock *into[3], const v_warp *w, uint32_t mask) {
    V_EACH(lane, mask) {
        uint32_t id = w->first + lane;
        v_thread *t = &m->thread[id];
        v_clock_join(m, &into[0], t->g);
        v_clock_join(m, &into[1], t->a);
        v_clock_join(m, &into[2], t->to);
    }
    V_EACH(lane, mask) {
        uint32_t id = w->first + lane;
        v_thread *t = &m->thread[id];
        v_clock_at(m, &into[0], id, w->now);
        v_clock_at(m, &into[1], id, t->a_now);
        v_clock_at(m, &into[2], id, t->to_now);
    }
    ++*v_now(m, w->first);
}

// Lanes that had one clock have one afterwards.
static void join_lanes(v_machine *m, const v_warp *w, uint32_t mask, size_t member, v_clock *from) {
    v_clock *before = NULL, *after = NULL;
    if (from == NULL) {
        return;
    }
    V_EACH(lane, mask) {
        v_clock **c = (v_clock **)(void *)((char *)&m->thread[w->first + lane] + member);
        if (after != NULL && *c == before) {
            put(m, c, after);
            continue;
        }
        v_clock_ref(*c); // the others still hold it
        before = *c;
        v_clock_join(m, c, from);
        v_clock_drop(m, before);
        after = *c;
    }
}

void v_acquire(v_machine *m, v_clock *const from[3], const v_warp *w, uint32_t mask) {
    join_lanes(m, w, mask, offsetof(v_thread, g), from[0]);
    join_lanes(m, w, mask, offsetof(v_thread, a), from[1]);
    join_lanes(m, w, mask, offsetof(v_thread, tp), from[2]);
    join_lanes(m, w, mask, offsetof(v_thread, to), from[2]); // and it is passed on
}

// ---- fences -------------------------------------------------------------------------------------
static void publish_inits(v_machine *m, uint32_t thread) {
    for (int n = 0; n < m->n_mbars; n++) {
        v_mbar *b = m->mbars[n];
        b->init_fenced |= b->init_thread == thread && b->init_at == *v_now(m, thread);
    }
}

bool v_fence(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    // PTX ISA "membar/fence": a fence.proxy.async that names a state space is restricted to it.
    bool shared = strncmp(i->op, "fence.proxy.async", 17) == 0 && strstr(i->op, ".global") == NULL;
    V_EACH(lane, mask) {
        v_thread *t = &m->thread[w->first + lane];
        if (shared) {
            // The fence table: by each writer. What others wrote is not published by this one.
            publish_inits(m, w->first + lane);
            t->a_now = w->now;
        } else if (strncmp(i->op, "fence.mbarrier_init", 19) == 0) {
            publish_inits(m, w->first + lane);
        }
    }
    v_global_fence(m, w, i, mask);
    w->now++;
    return true;
}

bool v_fence_tcgen05(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool after = strstr(i->op, "after_thread_sync") != NULL;
    V_EACH(lane, mask) {
        v_thread *t = &m->thread[w->first + lane];
        if (after) {
            v_clock_join(m, &t->t, t->tp);
        } else {
            v_clock_join(m, &t->to, t->t);
            t->to_now = w->now;
        }
    }
    w->now++;
    return true;
}
