// Global memory in which the blocks of one launch hand something to each other: memory of one pointer that is stored
// plainly and where this kernel also sets flags, by stores of a memory order or by atomics. What other blocks do is not
// followed; each side of the hand-over is checked by itself (PTX ISA "Memory Consistency Model", release and acquire
// patterns at gpu scope):
//   a plain store has to be known to a thread that releases afterwards, before the block ends;
//   a plain load has to be behind an acquiring load.
// A fence acquires for a thread that looked at a flag before it, and releases with the flag that
// its thread sets behind it. Flags go up as they are looked at, so that waits for them end. Which
// hand-over a load needs is not known: one acquire that its thread knows of serves until the next
// one. Stores of a block that sets no flag there are taken for results.
#include "v.h"

#include <string.h>

struct v_region {
    bool flags;            // some are set in it
    uint32_t *put, *got;   // by thread, one more than when it stored what nobody was told of, and acquired; 0: never
    bool *saw;             // by thread: a flag, and did not acquire
    uint32_t *fenced;      // by thread, one more than when its last fence was; 0: none
    v_clock **fenced_g;    // by thread, what it knew then
    const v_ins **stored;  // by thread
    const v_ins *early;    // a load that no acquire came before ...
    const v_warp *early_by;
    bool any_put, any_got, looked; // looked: at a flag
};

enum { PARAM_SHIFT = 40 }; // see set_params: pointers are so far apart

static v_region *region_of(v_machine *m, uint64_t address) {
    uint64_t n = address >> PARAM_SHIFT;
    if (n == 0 || n > VERIFY_MOST_PARAMS) {
        return NULL;
    }
    v_region **r = &m->regions[n - 1];
    if (*r == NULL) {
        *r = ARENA_NEW(m->mem, v_region);
        (*r)->put = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
        (*r)->got = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
        (*r)->saw = ARENA_ARRAY(m->mem, bool, m->n_threads);
        (*r)->fenced = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
        (*r)->fenced_g = ARENA_ARRAY(m->mem, v_clock *, m->n_threads);
        (*r)->stored = ARENA_ARRAY(m->mem, const v_ins *, m->n_threads);
    }
    return *r;
}

static bool other_blocks(const v_ins *i) {
    return strstr(i->op, ".gpu") != NULL || strstr(i->op, ".sys") != NULL;
}

static bool is_strong(const v_ins *i) {
    return v_has(i, VW_relaxed) || v_has(i, VW_release) || v_has(i, VW_acquire) || v_has(i, VW_acq_rel) ||
           v_has(i, VW_volatile) || v_has(i, VW_mmio);
}

// Strong accesses that other blocks take part in; atomics without a scope have .gpu, .volatile and
// .mmio have .sys.
static bool is_flag(const v_ins *i) {
    bool atomic = strncmp(i->op, "atom.", 5) == 0 || strncmp(i->op, "red.", 4) == 0;
    bool near = strstr(i->op, ".cta") != NULL || strstr(i->op, ".cluster") != NULL;
    return atomic ? !near
                  : v_has(i, VW_volatile) || v_has(i, VW_mmio) || (is_strong(i) && other_blocks(i));
}

static void acquire(v_region *r, const v_warp *w, uint32_t lane) {
    r->got[w->first + lane] = w->now + 1;
    r->saw[w->first + lane] = false;
    r->any_got = true;
}

static bool has_acquired(v_machine *m, const v_region *r, uint32_t thread) {
    bool ok = r->got[thread] != 0;
    for (int t = 0; t < m->n_threads && !ok && r->any_got; t++) {
        ok = r->got[t] != 0 && v_knows(m, thread, (uint32_t)t, r->got[t] - 1);
    }
    return ok;
}

// What this thread knows of is handed over with what it releases.
static void release(v_machine *m, v_region *r, uint32_t thread) {
    for (int t = 0; t < m->n_threads && r->any_put; t++) {
        if (r->put[t] != 0 && v_knows(m, thread, (uint32_t)t, r->put[t] - 1)) {
            r->put[t] = 0;
        }
    }
}

// What it knew of when it fenced is handed over with the flag that it sets.
static void release_fenced(v_region *r, int n_threads, uint32_t thread) {
    for (int t = 0; t < n_threads && r->any_put && r->fenced[thread] != 0; t++) {
        bool before = (uint32_t)t == thread
                          ? r->put[t] <= r->fenced[thread]
                          : v_clock_of(r->fenced_g[thread], (uint32_t)t) >= r->put[t] - 1;
        if (r->put[t] != 0 && before) {
            r->put[t] = 0;
        }
    }
}

bool v_global_load(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address) {
    v_region *r = region_of(m, address);
    if (r == NULL) {
        return false;
    }
    r->saw[w->first + lane] |= is_flag(i);
    if (v_has(i, VW_acquire) && other_blocks(i)) {
        acquire(r, w, lane);
        w->now++;
    }
    if (!is_strong(i) && r->early == NULL && !has_acquired(m, r, w->first + lane)) {
        r->early = i;
        r->early_by = w;
    }
    bool looks = (v_has(i, VW_acquire) || v_has(i, VW_relaxed)) && other_blocks(i);
    r->looked |= looks;
    return looks;
}

// A flag is set: by a store, or by an atomic.
static void set_flag(v_machine *m, v_region *r, v_warp *w, uint32_t lane, const v_ins *i) {
    r->flags = true;
    if (!is_flag(i)) {
        return;
    }
    if (v_has(i, VW_release) || v_has(i, VW_acq_rel)) {
        release(m, r, w->first + lane);
        w->now++;
    } else {
        release_fenced(r, m->n_threads, w->first + lane);
    }
}

void v_global_store(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address) {
    v_region *r = region_of(m, address);
    if (r == NULL) {
        return;
    }
    if (!is_strong(i)) {
        r->put[w->first + lane] = w->now + 1;
        r->stored[w->first + lane] = i;
        r->any_put = true;
        return;
    }
    set_flag(m, r, w, lane, i);
}

void v_global_atomic(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address) {
    v_region *r = region_of(m, address);
    if (r == NULL) {
        return;
    }
    set_flag(m, r, w, lane, i);
    r->saw[w->first + lane] |= is_flag(i);
    if ((v_has(i, VW_acquire) || v_has(i, VW_acq_rel)) && is_flag(i)) {
        acquire(r, w, lane);
    }
    w->now++;
}

// fence.acq_rel.gpu and its like.
void v_global_fence(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool far = other_blocks(i) || strncmp(i->op, "membar.gl", 9) == 0;
    if (!far || strstr(i->op, "proxy") != NULL) {
        return;
    }
    for (int n = 0; n < VERIFY_MOST_PARAMS; n++) {
        v_region *r = m->regions[n];
        V_EACH(lane, r != NULL ? mask : 0) {
            uint32_t thread = w->first + lane;
            v_clock_drop(m, r->fenced_g[thread]);
            r->fenced_g[thread] = v_clock_ref(m->thread[thread].g);
            r->fenced[thread] = w->now + 1;
            if (r->saw[thread]) {
                acquire(r, w, lane);
            }
        }
    }
}

void v_global_end(v_machine *m, const v_warp *w) {
    for (int n = 0; n < VERIFY_MOST_PARAMS; n++) {
        v_region *r = m->regions[n];
        if (r == NULL || !r->flags) {
            continue;
        }
        if (r->early != NULL && (r->any_put || r->looked)) {
            v_refuse(m, r->early_by, r->early,
                     "%s reads what other blocks may still write: ld.acquire.gpu of the flag that they set comes first, "
                     "and a barrier for threads that did not look at it", r->early->op);
        }
        uint32_t first = (uint32_t)w->cta * m->per_cta;
        for (uint32_t t = first; t < first + m->per_cta; t++) {
            if (r->put[t] != 0) {
                v_refuse(m, &m->warp[t / V_LANES], r->stored[t],
                         "the block ends, and no other may read what %s wrote: st.release.gpu of a flag comes behind it, "
                         "and a barrier before that by threads that do not set the flag", r->stored[t]->op);
            }
        }
    }
}
