// Control flow of one warp. Lanes that part become splits: groups with a pc each. The split with
// the lowest pc runs, up to the pc of the next one, where both become one again; code that a
// compiler laid out in order reconverges at the earliest point. Blocked splits let others of the
// warp run, so that every lane makes progress (PTX ISA "Independent thread scheduling").
#include "core.h"

#define FUEL 2048 // backward branches before other warps have their turn
#define FUEL_POLLED 32

void warp_queue(struct warp *w) {
    struct exec *x = w->x;
    if (w->queued) {
        return;
    }
    w->queued = true;
    w->next_run = NULL;
    if (x->run_tail == NULL) {
        x->run_head = w;
    } else {
        x->run_tail->next_run = w;
    }
    x->run_tail = w;
    x->n_runnable++;
}

void warp_wake(struct warp *w, struct split *s) {
    s->state = SPLIT_RUN;
    warp_queue(w);
}

const struct uop *warp_park(struct warp *w, const struct uop *at, struct split how) {
    struct split *s = &w->split[w->current];
    how.mask = s->mask;
    how.pc = (uint32_t)(at - w->code);
    *s = how;
    return STOP;
}

// Splits at the pc of the running one that can run, or wait for others here, join it.
static void join_here(struct warp *w, uint32_t pc) {
    struct split *s = &w->split[w->current];
    for (int n = 0; n < w->n_splits; n++) {
        struct split *o = &w->split[n];
        if (o != s && o->pc == pc && (o->state == SPLIT_CONVERGE || o->state == SPLIT_RUN)) {
            s->mask |= o->mask;
            w->n_splits--;
            *o = w->split[w->n_splits];
            if (w->current == w->n_splits) {
                w->current = n;
                s = o;
            }
            n = -1;
        }
    }
    w->active = s->mask;
}

bool warp_converge(struct warp *w, const struct uop *u, uint32_t need) {
    need &= w->alive;
    if ((w->active & need) == need) {
        return true;
    }
    join_here(w, (uint32_t)(u - w->code));
    if ((w->active & need) == need) {
        return true;
    }
    warp_park(w, u, (struct split){.state = SPLIT_CONVERGE, .value = need});
    return false;
}

bool warp_whole(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return false;
    }
    if (exec_mask(w, u) != FULL) {
        sim_fault(w, u, "needs all 32 lanes of the warp, 0x%08x execute it", exec_mask(w, u));
        return false;
    }
    return true;
}

static void count(struct warp *w, const struct uop *upto) {
    if (upto > w->base) {
        w->x->steps += (uint64_t)(upto - w->base);
    }
    w->base = upto;
}

// The lowest pc that can run; -1 when every split waits. After a slice that was used up by looping
// it is another one's turn: the loop may wait for what the others do.
static int pick(const struct warp *w) {
    int best = -1;
    for (int n = 0; n < w->n_splits; n++) {
        if (w->split[n].state != SPLIT_RUN) {
            continue;
        }
        if (best < 0 || w->split[n].pc < w->split[best].pc) {
            best = n;
        }
    }
    return best;
}

static int pick_other(const struct warp *w) {
    for (int n = 1; n <= w->n_splits; n++) {
        int other = (w->current + n) % w->n_splits;
        if (w->split[other].state == SPLIT_RUN) {
            return other;
        }
    }
    return -1;
}

static void set_limit(struct warp *w) {
    uint32_t limit = UINT32_MAX;
    uint32_t pc = w->split[w->current].pc;
    for (int n = 0; n < w->n_splits; n++) {
        const struct split *s = &w->split[n];
        bool here = s->state == SPLIT_RUN || s->state == SPLIT_CONVERGE;
        if (n != w->current && here && s->pc > pc && s->pc < limit) {
            limit = s->pc;
        }
    }
    w->limit = limit == UINT32_MAX ? UINTPTR_MAX : (uintptr_t)(w->code + limit);
}

void warp_run(struct warp *w) {
    bool rotate = w->fuel <= 0;
    w->fuel = w->x->polled ? FUEL_POLLED : FUEL;
    while (!w->x->failed && w->fuel > 0) {
        int n = rotate ? pick_other(w) : pick(w);
        rotate = false;
        if (n < 0) {
            return;
        }
        w->current = n;
        join_here(w, w->split[n].pc);
        set_limit(w);
        const struct uop *u = w->code + w->split[w->current].pc;
        w->base = u;
        do {
            u = u->fn(w, u);
        } while ((uintptr_t)u < w->limit);
        if (u != STOP) {
            count(w, u);
            w->split[w->current].pc = (uint32_t)(u - w->code);
        } else if (w->current < w->n_splits) {
            count(w, w->code + w->split[w->current].pc);
        }
    }
    if (pick(w) >= 0 && !w->x->failed) {
        warp_queue(w);
    }
}

// The running split stops here and stays runnable: at a new pc.
static const struct uop *move_to(struct warp *w, const struct uop *u, uint32_t pc) {
    count(w, u + 1);
    w->split[w->current].pc = pc;
    w->base = w->code + pc;
    return STOP;
}

static const struct uop *jump(struct warp *w, const struct uop *u, uint32_t pc) {
    const struct uop *to = w->code + pc;
    if (to > u) {
        count(w, u + 1);
        w->base = to;
        return to;
    }
    if (--w->fuel <= 0 || w->limit != UINTPTR_MAX) {
        return move_to(w, u, pc);
    }
    count(w, u + 1);
    w->base = to;
    return to;
}

static void add_split(struct warp *w, uint32_t pc, uint32_t mask) {
    w->split[w->n_splits++] = (struct split){.pc = pc, .mask = mask, .state = SPLIT_RUN};
}

// The lanes m take the branch.
static const struct uop *branch(struct warp *w, const struct uop *u, uint32_t m) {
    if (m == w->active) {
        return jump(w, u, (uint32_t)u->imm);
    }
    if (m == 0) {
        return u + 1;
    }
    w->split[w->current].mask = w->active & ~m;
    add_split(w, (uint32_t)u->imm, m);
    w->fuel--;
    return move_to(w, u, (uint32_t)(u + 1 - w->code));
}

const struct uop *run_bra(struct warp *w, const struct uop *u) {
    return branch(w, u, exec_mask(w, u));
}

// The lanes that do not call function u->b go past its body.
const struct uop *run_call_skip(struct warp *w, const struct uop *u) {
    const u64 *a = row(w, u->a);
    uint32_t m = 0;
    FOR_LANES(l, w->active) {
        m |= (uint32_t)(a[l] != WINDOW_FUNCTION + 16 * (uint64_t)u->b) << l;
    }
    return branch(w, u, m);
}

const struct uop *run_brx(struct warp *w, const struct uop *u) {
    const uint32_t *table = u->aux;
    const u32 *index = row(w, u->a);
    uint32_t m = exec_mask(w, u);
    if (m != w->active) {
        w->split[w->current].mask = w->active & ~m;
        if ((w->active & ~m) != 0) {
            add_split(w, (uint32_t)(u - w->code), m);
            return move_to(w, u, (uint32_t)(u + 1 - w->code));
        }
    }
    uint32_t first = index[first_lane(m)];
    if (first >= u->b) {
        return sim_fault(w, u, "branch index %u, the table has %u entries", first, u->b);
    }
    uint32_t same = 0;
    FOR_LANES(l, m) {
        same |= (uint32_t)(index[l] == first) << l;
    }
    if (same == m) {
        return jump(w, u, table[first]);
    }
    w->split[w->current].mask = m & ~same; // the others look at the table again
    add_split(w, table[first], same);
    w->fuel--;
    return move_to(w, u, (uint32_t)(u - w->code));
}

static void drop_split(struct warp *w) {
    w->n_splits--;
    w->split[w->current] = w->split[w->n_splits];
    w->current = w->n_splits; // none
}

const struct uop *run_exit(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    count(w, u + 1);
    w->alive &= ~m;
    w->split[w->current].mask &= ~m;
    w->split[w->current].pc = (uint32_t)(u + 1 - w->code);
    w->base = u + 1;
    if (w->split[w->current].mask == 0) {
        drop_split(w);
    }
    for (int n = 0; n < w->n_splits; n++) {
        if (w->split[n].state == SPLIT_CONVERGE) { // it may have waited for the lanes that left
            w->split[n].state = SPLIT_RUN;
        }
    }
    bar_warp_exit(w->cta);
    return STOP;
}

const struct uop *run_trap(struct warp *w, const struct uop *u) {
    return exec_mask(w, u) == 0 ? u + 1 : sim_fault(w, u, "the kernel executed trap");
}

const struct uop *run_nop(struct warp *w, const struct uop *u) {
    (void)w;
    return u + 1;
}

const struct uop *run_policy(struct warp *w, const struct uop *u) {
    FOR_LANES(l, exec_mask(w, u)) {
        ((u64 *)row(w, u->d))[l] = 0;
    }
    return u + 1;
}
