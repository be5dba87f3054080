// mbarriers: phases of arrivals and transaction bytes. The object lives beside shared memory (its
// bytes are opaque to programs); its state is pending, expected, tx and the number of completed
// phases. PTX ISA "Parallel Synchronization and Communication Instructions: mbarrier".
#include "haz.h"
#include "sync.h"
#include <stdio.h>
#include <stdlib.h>

#define PHASE_BITS 40 // of the state that an arrival returns; the pending count lies above
#define PHASE_MASK ((1ull << PHASE_BITS) - 1)
#define MOST ((1 << 20) - 1) // pending count and tx-count

struct mbar *mbar_find(const struct cta *c, uint32_t offset) {
    if (offset >= c->smem_bytes || (offset & 7) != 0 || c->mbar_index[offset / 8] == 0) {
        return NULL;
    }
    return &c->mbar[c->mbar_index[offset / 8] - 1];
}

struct mbar *mbar_at(struct warp *w, const struct uop *u, uint32_t shared, struct cta **owner) {
    if (sim_smem_at(w, u, shared, 8) == NULL) {
        return NULL;
    }
    struct cta *c = &w->cta->cluster->cta[shared >> RANK_SHIFT];
    uint32_t offset = shared & OFFSET_MASK;
    struct mbar *b = mbar_find(c, offset);
    if ((offset & 7) != 0) {
        sim_fault(w, u, "mbarrier address 0x%x is not aligned to 8 bytes", shared);
        return NULL;
    }
    if (b == NULL) {
        sim_fault(w, u, "there is no initialised mbarrier at shared address 0x%x", shared);
        return NULL;
    }
    *owner = c;
    return b;
}

static void check_phase(struct cta *c, struct mbar *b) {
    if (b->pending == 0 && b->tx == 0) {
        if (c->x->haz != NULL) {
            haz_phase(c, b);
        }
        b->phase++;
        c->x->timeouts = 0;
        b->pending = b->expected;
        sim_wake_cta(c, SPLIT_MBAR, b->address);
    }
}

bool mbar_arrive(struct cta *c, struct mbar *b, uint32_t count, char why[160]) {
    if (count > b->pending) {
        snprintf(why, 160,
                 "%u arrivals on the mbarrier at 0x%x, its phase %llu expects only %u more "
                 "(tx-count %d)",
                 count, b->address, (unsigned long long)b->phase, b->pending, b->tx);
        return false;
    }
    b->pending -= count;
    if (b->pending == 0 && b->tx < 0) {
        snprintf(why, 160, "the mbarrier at 0x%x got %d bytes more than its phase %llu expects",
                 b->address, -b->tx, (unsigned long long)b->phase);
        return false;
    }
    check_phase(c, b);
    return true;
}

bool mbar_tx(struct cta *c, struct mbar *b, int64_t delta, char why[160]) {
    int64_t tx = b->tx + delta;
    if (tx > MOST || tx < -MOST) {
        snprintf(why, 160, "tx-count %lld of the mbarrier at 0x%x is beyond 2^20-1", (long long)tx,
                 b->address);
        return false;
    }
    if (tx < 0 && b->pending == 0) {
        snprintf(why, 160, "the mbarrier at 0x%x got %lld bytes more than its phase %llu expects",
                 b->address, (long long)-tx, (unsigned long long)b->phase);
        return false;
    }
    b->tx = (int32_t)tx;
    check_phase(c, b);
    return true;
}

bool mbar_complete(const struct async_op *op, uint32_t shared, uint32_t bytes) {
    struct cluster *cl = op->cta->cluster;
    uint32_t rank = shared >> RANK_SHIFT;
    if (rank >= cl->size || cl->cta[rank].warps_alive == 0) {
        sim_fault_op(op, "its mbarrier at 0x%x lies in CTA %u, which has exited or does not exist",
                     shared, rank);
        return false;
    }
    struct mbar *b = mbar_find(&cl->cta[rank], shared & OFFSET_MASK);
    if (b == NULL) {
        sim_fault_op(op, "there is no initialised mbarrier at shared address 0x%x", shared);
        return false;
    }
    char why[160];
    if (cl->x->haz != NULL) {
        haz_complete(op, &cl->cta[rank], b);
    }
    if (!mbar_tx(&cl->cta[rank], b, -(int64_t)bytes, why)) {
        sim_fault_op(op, "%s", why);
        return false;
    }
    return true;
}

bool mbar_arrive_op(const struct async_op *op, uint32_t shared, uint32_t count) {
    struct cluster *cl = op->cta->cluster;
    uint32_t rank = shared >> RANK_SHIFT;
    struct mbar *b = rank < cl->size ? mbar_find(&cl->cta[rank], shared & OFFSET_MASK) : NULL;
    char why[160];
    if (b == NULL || cl->cta[rank].warps_alive == 0) {
        sim_fault_op(op, "there is no initialised mbarrier at shared address 0x%x", shared);
        return false;
    }
    if (cl->x->haz != NULL) {
        haz_arrive_op(op, &cl->cta[rank], b);
    }
    if (!mbar_arrive(&cl->cta[rank], b, count, why)) {
        sim_fault_op(op, "%s", why);
        return false;
    }
    return true;
}

// ---- instructions -------------------------------------------------------------------------------
uint32_t sim_shared_address(const struct warp *w, uint32_t r, int64_t offset, int lane) {
    uint32_t a = (r & ADDRESS_32) != 0 ? ((const u32 *)row(w, r & ~ADDRESS_32))[lane]
                                       : (uint32_t)((const u64 *)row(w, r))[lane];
    return a + (uint32_t)offset;
}

static bool add_mbar(struct cta *c, const struct mbar *b) {
    if (c->n_mbar == c->mbar_capacity) {
        uint32_t more = c->mbar_capacity == 0 ? 32 : c->mbar_capacity * 2;
        struct mbar *list = realloc(c->mbar, more * sizeof *list);
        if (list == NULL || more > 65535) {
            return false;
        }
        c->mbar = list;
        c->mbar_capacity = more;
    }
    c->mbar[c->n_mbar++] = *b;
    c->mbar_index[b->address / 8] = (uint16_t)c->n_mbar;
    return true;
}

const struct uop *run_mbar_init(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const u32 *n = row(w, u->b);
    FOR_LANES(l, m) {
        uint32_t a = sim_shared_address(w, u->a, u->imm, l);
        if (sim_smem_at(w, u, a, 8) == NULL) {
            return STOP;
        }
        struct cta *c = w->cta;
        if ((a & 7) != 0 || a >> RANK_SHIFT != c->rank) {
            return sim_fault(w, u, "mbarrier address 0x%x is not 8-byte aligned in this CTA", a);
        }
        if (n[l] == 0 || n[l] > MOST) {
            return sim_fault(w, u, "mbarrier count %u, 1 to 2^20-1 are possible", n[l]);
        }
        struct mbar *old = mbar_find(c, a & OFFSET_MASK);
        if (old != NULL) {
            return sim_fault(w, u, "the mbarrier at 0x%x is already initialised, by line %u", a,
                             old->line);
        }
        struct mbar b = {
            .address = a & OFFSET_MASK, .expected = n[l], .pending = n[l], .line = u->line};
        if (!add_mbar(c, &b)) {
            return sim_fault(w, u, "too many mbarriers");
        }
        if (w->x->haz != NULL) {
            haz_init(w, u, &b);
        }
    }
    return u + 1;
}

const struct uop *run_mbar_inval(struct warp *w, const struct uop *u) {
    FOR_LANES(l, exec_mask(w, u)) {
        struct cta *c;
        struct mbar *b = mbar_at(w, u, sim_shared_address(w, u->a, u->imm, l), &c);
        if (b == NULL) {
            return STOP;
        }
        c->mbar_index[b->address / 8] = 0;
    }
    return u + 1;
}

// arrive: expect_tx first, then the arrivals. d: row of the state.
const struct uop *run_mbar_arrive(struct warp *w, const struct uop *u) {
    const struct mbar_aux *x = u->aux;
    char why[160];
    FOR_LANES(l, exec_mask(w, u)) {
        struct cta *c;
        struct mbar *b = mbar_at(w, u, sim_shared_address(w, u->a, u->imm, l), &c);
        if (b == NULL) {
            return STOP;
        }
        uint64_t state = (b->phase & PHASE_MASK) | (uint64_t)b->pending << PHASE_BITS;
        uint32_t n = x->counted ? ((const u32 *)row(w, u->b))[l] : 1;
        bool ok = true;
        if (x->expect) {
            ok = mbar_tx(c, b, ((const u32 *)row(w, u->c))[l], why);
        }
        if (ok && x->drop) {
            b->expected -= n <= b->expected ? n : b->expected;
        }
        if (ok && x->arrive) {
            ok = mbar_arrive(c, b, n, why);
        }
        if (!ok) {
            return sim_fault(w, u, "%s", why);
        }
        if (x->state) {
            ((u64 *)row(w, u->d))[l] = state;
        }
    }
    return u + 1;
}

const struct uop *run_mbar_complete(struct warp *w, const struct uop *u) {
    char why[160];
    FOR_LANES(l, exec_mask(w, u)) {
        struct cta *c;
        struct mbar *b = mbar_at(w, u, sim_shared_address(w, u->a, u->imm, l), &c);
        if (b == NULL) {
            return STOP;
        }
        if (!mbar_tx(c, b, -(int64_t)((const u32 *)row(w, u->c))[l], why)) {
            return sim_fault(w, u, "%s", why);
        }
    }
    return u + 1;
}

// Under the eager schedule what is asynchronous takes no time; on hardware it takes longer than a warp that can run
// needs to reach its next wait. So others have a turn before a wait is passed.
static bool gives_way(struct warp *w) {
    struct exec *x = w->x;
    struct split *s = &w->split[w->current];
    if (x->config.policy != SIM_EAGER || x->run_head == NULL || s->lanes != 0) {
        return false;
    }
    w->fuel = 0;
    return true;
}

// Has the lane given way here, or waited for the phase that 'state' names, and is that over now? PTX ISA
// "mbarrier.try_wait": a suspended thread resumes when its phase completes, even though the next one may be over
// too by the time it runs.
static bool woken(const struct split *s, const struct mbar *b, uint64_t state, int lane) {
    bool waited = s->what == b->address && s->value == state && b->phase > s->phase;
    return (s->lanes >> lane & 1) != 0 && (s->gave_way || waited);
}

struct mbar_wait {
    uint32_t passed, blocked; // lanes
    struct split park;        // for the barrier of the first that is blocked
};

// False after a fault.
static bool look(struct warp *w, const struct uop *u, struct mbar_wait *v) {
    bool parity = (u->flag & 1) != 0;
    FOR_LANES(l, exec_mask(w, u)) {
        struct cta *c;
        uint32_t a = sim_shared_address(w, u->a, u->imm, l);
        struct mbar *b = mbar_at(w, u, a, &c);
        if (b == NULL) {
            return false;
        }
        if (c != w->cta) {
            sim_fault(w, u, "a CTA can only wait on its own mbarriers, 0x%x is CTA %u's", a, c->rank);
            return false;
        }
        uint64_t state = parity ? ((const u32 *)row(w, u->b))[l] : ((const u64 *)row(w, u->b))[l];
        if (parity && state > 1) {
            sim_fault(w, u, "parity %llu of a wait, 0 or 1 is possible", (unsigned long long)state);
            return false;
        }
        bool over = parity ? (b->phase & 1) != state : b->phase > (state & PHASE_MASK);
        if (over || woken(&w->split[w->current], b, state, l)) {
            v->passed |= 1u << l;
            continue;
        }
        if (v->blocked == 0) {
            v->park.what = b->address;
            v->park.value = (uint32_t)state;
            v->park.phase = b->phase;
        }
        v->blocked |= 1u << l;
        bool same = v->park.what == b->address && v->park.value == (uint32_t)state;
        v->park.lanes |= (uint32_t)(same && parity) << l;
    }
    return true;
}

#define TIMEOUTS 16 // without a phase that ends: nobody does but poll

// PTX ISA "mbarrier.try_wait": a thread is suspended until the phase is over or for a system-dependent time. When
// nothing else can happen that time is over: a kernel may have something to do before it waits again (CUTLASS looks at
// the next stage of its ring before it fills this one, which is the same stage when there is one). False when
// all have only come back to their waits.
bool mbar_time_out(struct exec *x) {
    bool any = false;
    for (struct cluster *cl = x->timeouts < TIMEOUTS ? x->live : NULL; cl != NULL; cl = cl->next) {
        for (uint32_t n = 0; n < cl->size * cl->cta[0].n_warps; n++) {
            struct warp *w = &cl->cta[n / cl->cta[0].n_warps].warp[n % cl->cta[0].n_warps];
            for (int s = 0; s < w->n_splits; s++) {
                if (w->split[s].state == SPLIT_MBAR) {
                    w->split[s].timed_out = true;
                    warp_wake(w, &w->split[s]);
                    any = true;
                }
            }
        }
    }
    x->timeouts++;
    return any;
}

// try_wait parks the warp until the phase is over. flag: 1 parity operand, 2 test_wait.
const struct uop *run_mbar_wait(struct warp *w, const struct uop *u) {
    struct mbar_wait v = {.park = {.state = SPLIT_MBAR}};
    uint32_t m = exec_mask(w, u);
    if (!look(w, u, &v)) {
        return STOP;
    }
    if (v.blocked != 0 && (u->flag & 2) == 0 && !w->split[w->current].timed_out) {
        return warp_park(w, u, v.park);
    }
    if (v.blocked == 0 && m != 0 && gives_way(w)) {
        return warp_park(w, u, (struct split){.state = SPLIT_RUN, .lanes = m, .gave_way = true});
    }
    w->split[w->current].lanes = 0;
    w->split[w->current].gave_way = false;
    w->split[w->current].timed_out = false;
    w->p[u->d] = (w->p[u->d] & ~m) | v.passed;
    if (v.blocked != 0) { // a poll that fails lets others go on
        w->x->stats.order |= SIM_ORDER_POLL;
        w->fuel -= 256;
    }
    return u + 1;
}

// a: state of an arrival; the pending count before it
const struct uop *run_mbar_pending(struct warp *w, const struct uop *u) {
    FOR_LANES(l, exec_mask(w, u)) {
        ((u32 *)row(w, u->d))[l] = (uint32_t)(((const u64 *)row(w, u->a))[l] >> PHASE_BITS);
    }
    return u + 1;
}
