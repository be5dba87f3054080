// mbarriers (PTX ISA, "Parallel Synchronization: mbarrier"): counts, bytes, phases. A phase ends
// when no arrival and no byte is missing; what its arrivals released is what its waiters acquire.
#include "v.h"

#include <stdio.h>
#include <string.h>

v_mbar *v_mbar_at(v_machine *m, const v_warp *w, const v_ins *i, v_place at) {
    v_mbar *b = at.offset % 8 == 0 ? m->cta[at.cta].mbar[at.offset / 8] : NULL;
    if (b == NULL || !b->valid) {
        v_refuse(m, w, i, "%s uses the mbarrier at %u of CTA %d, which nobody has initialised",
                 i->op, at.offset, at.cta);
    }
    return b;
}

// Initialisation is known to whoever uses it; the async proxy and other CTAs need the fence. It
// releases initialisations alone: they are also known behind a cluster barrier that the same thread
// arrived at .relaxed afterwards (PTX ISA "membar / fence", the example of fence.mbarrier_init).
void v_mbar_seen(v_machine *m, v_warp *w, const v_ins *i, v_mbar *b, uint32_t lane, bool async) {
    uint32_t id = w->first + lane;
    bool away = b->init_thread / m->per_cta != (uint32_t)w->cta;
    bool met = b->init_generation > 0 && w->cluster_known >= b->init_generation;
    if (!met && !v_knows(m, id, b->init_thread, b->init_at)) {
        v_refuse(
            m, w, i,
            "%s uses the mbarrier at %u, and no barrier orders its mbarrier.init at line %u before",
            i->op, b->offset, b->init->line);
    }
    if ((async || away) && !b->init_fenced) {
        v_refuse(m, w, i,
                 "%s: %s to the mbarrier at %u needs fence.mbarrier_init.release.cluster behind "
                 "its mbarrier.init at line %u",
                 i->op, away ? "an access of another CTA" : "an asynchronous arrival", b->offset,
                 b->init->line);
    }
}

bool v_mbar_init(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        uint64_t count = v_need(m, w, i, &i->arg[1], lane);
        v_mbar **slot = &m->cta[at.cta].mbar[at.offset / 8];
        if (at.cta != w->cta || at.offset % 8 != 0 || count == 0 || count >= 1 << 20) {
            v_refuse(m, w, i, "mbarrier.init at %u of CTA %d with a count of %llu", at.offset,
                     at.cta, (unsigned long long)count);
        }
        if (*slot != NULL && (*slot)->valid) {
            v_refuse(m, w, i, "the mbarrier at %u is initialised twice", at.offset);
        }
        if (m->n_mbars == m->most_mbars) {
            v_refuse(m, w, i, "more than %d mbarriers", m->most_mbars);
        }
        v_touch(m, w, i, lane, at, 8, true);
        v_mbar *b = ARENA_NEW(m->mem, v_mbar);
        uint32_t id = w->first + lane;
        *b = (v_mbar){.valid = true,
                      .index = m->n_mbars,
                      .offset = at.offset,
                      .count = (uint32_t)count,
                      .pending = (uint32_t)count,
                      .init_thread = id,
                      .init_at = w->now,
                      .init = i};
        b->waited = ARENA_ARRAY(m->mem, int64_t, m->n_threads);
        m->mbars[m->n_mbars++] = b;
        *slot = b;
    }
    return true;
}

bool v_mbar_inval(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        v_mbar_at(m, w, i, at)->valid = false;
        v_touch(m, w, i, lane, at, 8, true);
    }
    return true;
}

static void turn(v_machine *m, v_mbar *b) {
    b->phase++;
    b->pending = b->count;
    b->tx = 0;
    b->loaded = false;
    b->far_done |= b->far;
    b->far = false;
    for (int n = 0; n < 3; n++) {
        v_clock_drop(m, b->done[n]);
        b->done[n] = b->cur[n];
        b->cur[n] = v_clock_ref(b->done[n]); // what a phase released stays released
    }
    m->report->phases++;
}

static void turn_if_whole(v_machine *m, v_mbar *b) {
    if (b->pending == 0 && b->tx == 0) {
        turn(m, b);
    }
}

bool v_mbar_all_loaded(v_machine *m) {
    bool any = false;
    for (int n = 0; n < m->n_mbars; n++) {
        if (m->mbars[n]->loaded && m->mbars[n]->pending == 0) {
            turn(m, m->mbars[n]);
            any = true;
        }
    }
    return any;
}

void v_mbar_arrive(v_machine *m, const v_warp *w, const v_ins *i, v_mbar *b, uint32_t n) {
    if (n > b->pending) {
        v_refuse(m, w, i,
                 "%s: %u arrivals at the mbarrier at %u, and only %u of %u are still awaited in "
                 "this phase",
                 i->op, n, b->offset, b->pending, b->count);
    }
    b->pending -= n;
    turn_if_whole(m, b);
}

void v_mbar_bytes(v_machine *m, v_mbar *b, int64_t bytes) {
    b->tx += bytes;
    b->expected += m->learn ? bytes : 0; // of copies whose size is written in the text
    turn_if_whole(m, b);
}

static uint32_t arrivals(v_machine *m, v_warp *w, const v_ins *i, int arg, uint32_t lane) {
    uint64_t n = i->n_args > arg ? v_need(m, w, i, &i->arg[arg], lane) : 1;
    if (n == 0 || n >= 1 << 20) {
        v_refuse(m, w, i, "%llu arrivals", (unsigned long long)n);
    }
    return (uint32_t)n;
}

static void expect_bytes(v_mbar *b, int64_t bytes) {
    b->tx += bytes;
    b->expected += bytes;
}

// A release and an acquire meet when the scope of each includes the other's thread (PTX ISA
// "Morally strong operations"). Mbarrier operations without a scope have .cta; an arrival without
// one at a barrier of another CTA is everywhere in use (at cluster scope ptxas puts a membar.gl in
// front), and is taken for a release.
static bool spans_blocks(const v_ins *i) {
    return strstr(i->op, ".cluster") != NULL || strstr(i->op, ".gpu") != NULL ||
           strstr(i->op, ".sys") != NULL;
}

// mbarrier.arrive[.expect_tx][.sem.scope][.shared] state, [address]{, n or bytes}
bool v_mbar_arrives(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool state = i->arg[0].kind != VO_ADDRESS; // before the address
    bool expect = v_has(i, VW_expect_tx);
    V_EACH(lane, mask) {
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[state], lane));
        v_mbar *b = v_mbar_at(m, w, i, at);
        uint32_t n = expect ? 1 : arrivals(m, w, i, state + 1, lane);
        v_mbar_seen(m, w, i, b, lane, false);
        if (expect) {
            expect_bytes(b, (int64_t)(int32_t)v_need(m, w, i, &i->arg[state + 1], lane));
        }
        uint32_t id = w->first + lane;
        if (at.cta != w->cta) {
            v_remote(m, w, i, at.cta, id, w->now);
            b->far |= !v_has(i, VW_relaxed) && spans_blocks(i);
            if (!v_has(i, VW_relaxed) && strstr(i->op, ".release.cta") != NULL) {
                v_refuse(m, w, i,
                         "%s of a barrier of CTA %d has the scope of its own block: "
                         ".release.cluster", i->op, at.cta);
            }
        }
        if (!v_has(i, VW_relaxed)) {
            v_release(m, b->cur, w, 1u << lane);
        }
        v_mbar_arrive(m, w, i, b, n);
    }
    if (state) {
        v_set_unknown(m, w, &i->arg[0], mask);
    }
    return true;
}

bool v_mbar_expects(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        v_mbar *b = v_mbar_at(m, w, i, v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane)));
        v_mbar_seen(m, w, i, b, lane, false);
        expect_bytes(b, (int64_t)(int32_t)v_need(m, w, i, &i->arg[1], lane));
    }
    return true;
}

// A phase that a thread has waited for before is over: waiting for it again holds nothing back.
static void stale(v_machine *m, v_warp *w, const v_ins *i, v_mbar *b, uint32_t lane) {
    int64_t *last =
        &b->waited[w->first + lane]; // 1 + the phase; 0: the one before the first, or none
    int64_t now = (int64_t)b->phase;
    if (now != 0 ? now == *last : *last < 0) {
        v_refuse(m, w, i,
                 "waits for parity %d of the mbarrier at %u, and has waited for that phase before: "
                 "it passes at once",
                 (int)((now + 1) & 1), b->offset);
    }
    *last = now != 0 ? now : -1;
}

// A parity says which phase modulo two: whoever could come here while the phase before last was the
// last one completed would pass at once. A thread that knows of the one before, or has waited for
// it, cannot.
static void too_early(v_machine *m, v_warp *w, const v_ins *i, const v_mbar *b, uint32_t lane) {
    uint32_t id = w->first + lane;
    int64_t own = b->waited[id];
    uint64_t known = v_clock_of(m->thread[id].g, (uint32_t)(m->n_threads + b->index));
    if (b->phase >= 2 && known + 1 < b->phase && own + 1 < (int64_t)b->phase) {
        v_refuse(m, w, i,
                 "waits for phase %llu of the mbarrier at %u by its parity, and nothing says that phase "
                 "%llu is over: it may pass two phases too early",
                 (unsigned long long)b->phase, b->offset, (unsigned long long)b->phase - 1);
    }
}

bool v_mbar_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    v_place at = v_shared(m, w, i, v_address_same(m, w, i, &i->arg[1], mask));
    uint32_t parity = (uint32_t)v_need_same(m, w, i, &i->arg[2], mask);
    v_mbar *b = v_mbar_at(m, w, i, at);
    if (parity > 1) {
        v_refuse(m, w, i, "a parity of %u", parity);
    }
    if (at.cta != w->cta) {
        v_refuse(m, w, i, "waits for an mbarrier of CTA %d: only one's own can be waited for",
                 at.cta);
    }
    V_EACH(first, mask) {
        v_mbar_seen(m, w, i, b, first, false);
    }
    if (((b->phase + 1) & 1) != parity) {
        w->stuck = i;
        w->stuck_barrier = b->index;
        w->stuck_parity = parity;
        return false;
    }
    V_EACH(l, mask) {
        too_early(m, w, i, b, l);
    }
    if (b->far_done && !v_has(i, VW_relaxed) && !spans_blocks(i)) {
        v_refuse(m, w, i,
                 "threads of other CTAs arrived at the mbarrier at %u, and %s has the scope of its "
                 "own block: .acquire.cluster",
                 b->offset, i->op);
    }
    if (!v_has(i, VW_relaxed)) {
        v_clock *told = NULL;
        v_clock_at(m, &told, (uint32_t)(m->n_threads + b->index), (uint32_t)b->phase);
        v_acquire(m, b->done, w, mask);
        v_acquire(m, (v_clock *const[3]){told, told, told}, w, mask);
    }
    V_EACH(lane, mask) {
        stale(m, w, i, b, lane);
        v_set(m, w, i->arg[0].reg, lane, 1, true);
    }
    return true;
}

// ---- deadlock -----------------------------------------------------------------------------------
void v_mbar_tell(const v_machine *m, char *out, size_t n) {
    size_t at = 0;
    out[0] = '\0';
    int told = 0;
    for (int k = 0; k < m->n_warps && told < 4; k++) {
        const v_warp *w = &m->warp[k];
        if (w->live == 0 || w->stuck == NULL || at >= n) {
            continue;
        }
        int wrote;
        if (w->stuck_barrier >= 0) {
            const v_mbar *b = m->mbars[w->stuck_barrier];
            wrote = snprintf(out + at, n - at,
                             "%s%s %d of CTA %d at line %u for the mbarrier at %u (phase %llu, %u "
                             "of %u arrivals and %lld bytes missing)",
                             told ? "; " : "", "warp", w->index, w->cta, w->stuck->line, b->offset,
                             (unsigned long long)b->phase, b->pending, b->count, (long long)b->tx);
        } else {
            wrote = snprintf(out + at, n - at, "%swarp %d of CTA %d at line %u in '%s'",
                             told ? "; " : "", w->index, w->cta, w->stuck->line, w->stuck->op);
        }
        at += wrote > 0 ? (size_t)wrote : 0;
        told++;
    }
}
