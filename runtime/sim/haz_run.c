// The detector of a launch: the instrumented copy of the code, the state of clusters, and what
// barriers, mbarriers and fences do to clocks (PTX ISA "Memory Consistency Model: causality order",
// "Release and acquire patterns").
#include "haz.h"
#include <stdlib.h>

#define FIRST_COMPS 64 // for mbarriers; more are added as they are initialised

static const struct {
    uop_fn *fn, *with;
} instrumented[] = {
    {run_ld, haz_ld},
    {run_ld_shared_32, haz_ld},
    {run_st, haz_st},
    {run_st_shared_32, haz_st},
    {run_st_bulk, haz_st_bulk},
    {run_atom, haz_atom},
    {run_ldmatrix, haz_ldmatrix},
    {run_stmatrix, haz_stmatrix},
    {run_mbar_arrive, haz_mbar_arrive},
    {run_mbar_complete, haz_mbar_arrive},
    {run_mbar_wait, haz_mbar_wait},
    {run_bar, haz_bar},
    {run_bar_warp, haz_bar_warp},
    {run_cluster_arrive, haz_cluster_arrive},
    {run_cluster_wait, haz_cluster_wait},
    {run_bulk_wait, haz_bulk_wait},
    {run_cp_commit, haz_cp_commit},
    {run_cp_wait, haz_cp_wait},
    {run_tmem_ld, haz_tmem_ld},
    {run_tmem_st, haz_tmem_st},
    {run_tmem_wait, haz_tmem_wait},
    {run_tmem_alloc, haz_tmem_alloc},
    {run_tmem_dealloc, haz_tmem_dealloc},
    {run_wgmma, haz_wgmma},
    {run_wgmma_wait, haz_wgmma_wait},
    {run_tmap_replace, haz_tmap},
    {run_tmap_copy, haz_tmap},
};

static uop_fn *wrapper_of(const struct haz_ins *i) {
    if (i->fence != FENCE_NONE) {
        return haz_fence;
    }
    for (size_t n = 0; n < sizeof instrumented / sizeof *instrumented; n++) {
        if (instrumented[n].fn == i->fn) {
            return instrumented[n].with;
        }
    }
    return i->fn;
}

bool haz_begin(struct exec *x) {
    const struct sim_kernel *k = x->k;
    struct haz *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return false;
    }
    x->haz = h;
    h->sim = x->sim;
    h->x = x;
    h->profile = x->sim->options.hazards;
    h->kernel = *k;
    h->kernel.code = malloc((k->n_code + 1) * sizeof *k->code);
    h->ins = calloc(k->n_code + 1, sizeof *h->ins);
    if (h->kernel.code == NULL || h->ins == NULL) {
        return false;
    }
    for (uint32_t n = 0; n < k->n_code; n++) {
        haz_read_ins(k, n, &h->ins[n]);
        h->kernel.code[n] = k->code[n];
        h->ins[n].with = wrapper_of(&h->ins[n]);
        h->kernel.code[n].fn = h->ins[n].with;
        h->has_pdl |= h->ins[n].fence == FENCE_PDL_WAIT;
        h->has_maps |= h->ins[n].fence == FENCE_MAP_ACQUIRE;
        h->of_space |= h->ins[n].fence == FENCE_ASYNC_SHARED || h->ins[n].fence == FENCE_ASYNC_GLOBAL;
    }
    bool practice = h->profile == SIM_HAZARDS_PRACTICE;
    bool ok = (!practice || haz_guesses_begin(h)) && haz_regs_begin(h) && haz_held_begin(h);
    for (uint32_t n = 0; n < k->n_code; n++) { // outermost: they may have to wait
        if (k->code[n].fn == run_wgmma_read) {
            h->ins[n].after = h->kernel.code[n].fn;
            h->kernel.code[n].fn = haz_wgmma_read;
        }
    }
    x->k = &h->kernel;
    return ok;
}

bool haz_failed(const struct exec *x) {
    return x->haz->failed;
}

void haz_end(struct exec *x) {
    struct haz *h = x->haz;
    if (h == NULL) {
        return;
    }
    free(h->kernel.code);
    free(h->ins);
    free(h->watch);
    free(h->touch);
    free(h->rec);
    for (uint32_t p = 0; p < h->page_capacity; p++) {
        free(h->page[p]);
    }
    free(h->page);
    for (uint32_t p = 0; p < h->place_capacity; p++) {
        for (uint32_t f = 0; f < h->place[p].n; f++) {
            free(h->place[p].v[f].v[0]);
            free(h->place[p].v[f].v[1]);
            free(h->place[p].v[f].v[2]);
        }
        free(h->place[p].v);
    }
    free(h->place);
    free(h);
    x->haz = NULL;
}

struct haz_thread *haz_thread_of(const struct warp *w) {
    struct haz_cluster *cl = w->cta->cluster->haz;
    haz_collect(cl->haz);
    return &cl->thread[w->cta->rank * w->cta->n_warps + w->index];
}

// ---- clusters -----------------------------------------------------------------------------------
static bool start_thread(struct haz_cluster *cl, uint32_t index, struct warp *w) {
    struct haz_thread *t = &cl->thread[index];
    t->cluster = cl;
    t->warp = w;
    t->index = (uint16_t)index;
    t->base = index * N_COMPS;
    t->written = calloc(cl->haz->n_watched + 1, sizeof *t->written);
    t->touched = calloc(cl->haz->n_touched + 1, sizeof *t->touched);
    const struct sim_kernel *k = cl->haz->x->k;
    t->owned = k->under == NULL ? NULL : calloc(k->n_rows + 1, sizeof *t->owned);
    bool ok = t->written != NULL && t->touched != NULL && (k->under == NULL || t->owned != NULL) &&
              haz_clock_make(cl, &t->now) && haz_clock_make(cl, &t->fenced) &&
              haz_clock_make(cl, &t->pending) && haz_clock_make(cl, &t->active) &&
              haz_clock_make(cl, &t->every) && haz_clock_make(cl, &t->commits) &&
              haz_clock_make(cl, &t->issued) && haz_clock_make(cl, &t->joined) &&
              haz_clock_make(cl, &t->late);
    if (ok) {
        t->now.v[t->base + COMP_OWN] = 1;
    }
    return ok;
}

static bool start_cta(struct haz_cluster *cl, uint32_t rank) {
    struct haz_cta *c = &cl->cta[rank];
    struct exec *x = cl->haz->x;
    c->cta = &cl->cluster->cta[rank];
    c->smem = calloc(x->smem_bytes / 4 + 8, sizeof *c->smem);
    c->remote = calloc(cl->n_threads, sizeof *c->remote);
    c->remote_uop = calloc(cl->n_threads, sizeof *c->remote_uop);
    bool ok = c->smem != NULL && c->remote != NULL && c->remote_uop != NULL;
    for (uint32_t n = 0; ok && n < N_NAMED; n++) {
        ok = haz_clock_make(cl, &c->named[n]);
    }
    for (uint32_t n = 0; ok && n < c->cta->n_warps; n++) {
        ok = start_thread(cl, rank * c->cta->n_warps + n, &c->cta->warp[n]);
    }
    return ok;
}

bool haz_cluster_start(struct cluster *c) {
    struct haz *h = c->x->haz;
    struct haz_cluster *cl = calloc(1, sizeof *cl);
    if (cl == NULL) {
        return false;
    }
    c->haz = cl;
    cl->haz = h;
    cl->cluster = c;
    cl->uid = ++h->next_uid;
    cl->n_threads = c->size * c->cta[0].n_warps;
    cl->n_comps = cl->n_threads * N_COMPS;
    cl->capacity = cl->n_comps + FIRST_COMPS;
    cl->planes = cl->haz->has_maps ? N_PLANES : cl->haz->of_space ? PLANE_MAP : PLANE_B;
    cl->thread = calloc(cl->n_threads, sizeof *cl->thread);
    bool ok = cl->thread != NULL && haz_clock_make(cl, &cl->cur) && haz_clock_make(cl, &cl->done);
    for (uint32_t r = 0; ok && r < c->size; r++) {
        ok = start_cta(cl, r);
    }
    return ok;
}

void haz_cluster_end(struct cluster *c) {
    struct haz_cluster *cl = c->haz;
    if (cl == NULL) {
        return;
    }
    for (struct haz_clock *k = cl->clocks; k != NULL;) {
        struct haz_clock *next = k->next;
        haz_clock_free(k);
        k = next;
    }
    for (uint32_t n = 0; cl->thread != NULL && n < cl->n_threads; n++) {
        free(cl->thread[n].open);
        free(cl->thread[n].written);
        free(cl->thread[n].owned);
        free(cl->thread[n].touched);
    }
    for (uint32_t r = 0; r < c->size; r++) {
        free(cl->cta[r].smem);
        free(cl->cta[r].tmem);
        for (uint32_t b = 0; b < cl->cta[r].n_bars; b++) {
            free(cl->cta[r].bar[b]->seen);
            free(cl->cta[r].bar[b]);
        }
        free(cl->cta[r].bar);
        free(cl->cta[r].remote);
        free(cl->cta[r].remote_uop);
    }
    free(cl->thread);
    free(cl);
    c->haz = NULL;
}

// Does one of the CTA's warps know of this?
static bool known_in(const struct haz_cluster *cl, const struct cta *c, uint32_t comp,
                     uint32_t epoch) {
    bool known = epoch == 0;
    for (uint32_t n = 0; n < c->n_warps && !known; n++) {
        const struct haz_thread *own = &cl->thread[c->rank * c->n_warps + n];
        known = haz_get(cl, &own->now, PLANE_G, comp) >= epoch;
    }
    return known;
}

// Arrivals of a thread's commits come in the order of the commits on hardware, and on a barrier of
// the CTA itself before its memory is given away.
static void check_peer_signal(struct haz_cluster *cl, const struct cta *c,
                              const struct haz_bar *hb) {
    if (!known_in(cl, c, hb->comp, hb->peer_phase)) {
        bool later = hb->peer_own ||
                     (hb->peer_epoch != 0 && known_in(cl, c, hb->peer_comp, hb->peer_epoch));
        haz_report(cl->haz, later ? HAZ_EXIT_COMMIT : HAZ_EXIT, hb->peer_uop, hb->init_uop,
                   "it signals a barrier of CTA %u, which has not waited for it", c->rank);
    }
}

// Whatever other CTAs have done to this one must have been waited for by one of its warps: they may
// come later on hardware, when its shared memory is gone.
void haz_cta_exit(struct cta *c) {
    struct haz_cluster *cl = c->cluster->haz;
    struct haz_cta *hc = &cl->cta[c->rank];
    for (uint32_t n = 0; n < c->n_warps; n++) {
        const struct haz_thread *t = &cl->thread[c->rank * c->n_warps + n];
        for (uint32_t o = 0; o < t->n_open; o++) {
            if (!t->open[o].read) {
                haz_report(cl->haz, HAZ_EXIT_STORE, t->open[o].uop, UINT32_MAX,
                           "no cp.async.bulk.wait_group waits for it");
            }
        }
    }
    for (uint32_t i = 0; i < hc->n_bars; i++) {
        check_peer_signal(cl, c, hc->bar[i]);
    }
    for (uint32_t t = 0; t < cl->n_threads; t++) {
        if (!known_in(cl, c, t * N_COMPS + COMP_OWN, hc->remote[t])) {
            const struct warp *w = cl->thread[t].warp;
            haz_report(cl->haz, HAZ_EXIT, hc->remote_uop[t], UINT32_MAX,
                       "warp %u of CTA %u of the cluster uses CTA %u, which has not waited for it",
                       w->index, w->cta->rank, c->rank);
        }
    }
}

// ---- mbarriers ----------------------------------------------------------------------------------
static struct haz_bar *bar_of(struct cta *c, const struct mbar *b) {
    struct haz_cta *hc = &c->cluster->haz->cta[c->rank];
    uint32_t index = (uint32_t)(b - c->mbar);
    return index < hc->n_bars ? hc->bar[index] : NULL;
}

static struct haz_bar *add_bar(struct haz_cluster *cl, struct haz_cta *hc) {
    struct haz_bar **list = realloc(hc->bar, (hc->n_bars + 1) * sizeof *list);
    struct haz_bar *hb = calloc(1, sizeof *hb);
    if (list != NULL) {
        hc->bar = list;
    }
    bool ok = list != NULL && hb != NULL && haz_clock_make(cl, &hb->cur) &&
              haz_clock_make(cl, &hb->done);
    if (ok) {
        hb->seen = calloc(cl->n_threads, sizeof *hb->seen);
    }
    if (!ok || hb->seen == NULL) {
        cl->haz->failed = true;
        return NULL;
    }
    hb->comp = haz_new_comp(cl);
    hc->bar[hc->n_bars++] = hb;
    return hb->comp == 0 ? NULL : hb;
}

// A new mbarrier; they are numbered as the interpreter numbers them.
void haz_init(struct warp *w, const struct uop *u, const struct mbar *b) {
    struct haz_thread *t = haz_thread_of(w);
    struct haz_cluster *cl = t->cluster;
    struct haz_cta *hc = &cl->cta[w->cta->rank];
    struct haz_bar *hb = add_bar(cl, hc);
    if (hb == NULL) {
        return;
    }
    hb->init_uop = (uint32_t)(u - w->code);
    hb->init_warp = t->index;
    hb->init_epoch = t->now.v[t->base + COMP_OWN];
    hb->init_seq = ++t->inits;
    struct haz_make make = {
        .uop = hb->init_uop, .comp = t->base + COMP_OWN, .epoch = hb->init_epoch,
        .flags = REC_WRITE};
    struct haz_access y = {
        .h = cl->haz, .t = t, .rec = haz_record(t, &make), .write = true, .space = "shared memory"};
    haz_shared(&y, hc, b->address, 8);
}

// Is the initialisation ordered before what t does now? 'remote': by the async proxy or from
// another CTA, which needs a fence by the thread that initialised (PTX ISA "fence.mbarrier_init").
static void check_init(struct haz_thread *t, const struct haz_bar *hb, uint32_t uop, bool remote) {
    struct haz_cluster *cl = t->cluster;
    uint32_t base = hb->init_warp * N_COMPS;
    bool fenced = haz_get(cl, &t->now, PLANE_G, base + COMP_INIT) >= hb->init_seq ||
                  haz_get(cl, &t->now, PLANE_A, base + COMP_OWN) >= hb->init_epoch;
    bool known = haz_get(cl, &t->now, PLANE_G, base + COMP_OWN) >= hb->init_epoch;
    if (fenced || (known && !remote)) {
        return;
    }
    if (known) {
        haz_report(cl->haz, HAZ_INIT_FENCE, uop, hb->init_uop,
                   "its threads know of the initialisation, the async proxy need not");
    } else {
        haz_report(cl->haz, HAZ_INIT, uop, hb->init_uop, "no barrier stands between the two");
    }
}

void haz_check_signal(struct haz_thread *t, const struct async_op *op, uint32_t uop) {
    struct cluster *cl = op->cta->cluster;
    uint32_t rank = op->mbar >> RANK_SHIFT;
    struct mbar *b = rank < cl->size ? mbar_find(&cl->cta[rank], op->mbar & OFFSET_MASK) : NULL;
    struct haz_bar *hb = b == NULL ? NULL : bar_of(&cl->cta[rank], b);
    if (hb != NULL) {
        check_init(t, hb, uop, true);
    }
}

static void note(uint64_t set[8], uint32_t warp) {
    if (warp < 512) {
        set[warp / 64] |= 1ull << warp % 64;
    }
}

static void release(struct haz_thread *t, struct haz_clock *to, uint8_t order, uint32_t m) {
    haz_release(t, to, order == ORDER_RELAXED ? &t->fenced : &t->now, m);
}

// PTX ISA "mbarrier.complete_tx" is relaxed: by the manual it hands nothing over. On hardware what the thread stored to
// its own CTA is there by then, and kernels in the field build on it (a scheduler that stores the next tile and
// completes its bytes); what it stored to a peer may still be under way.
static bool completion_releases(const struct haz_thread *t, const struct haz_ins *i) {
    return i->fn == run_mbar_complete && !t->to_peer &&
           t->cluster->haz->profile == SIM_HAZARDS_PRACTICE;
}

// Arrivals, and what only changes the tx-count.
const struct uop *haz_mbar_arrive(struct warp *w, const struct uop *u) {
    const struct mbar_aux *x = u->aux;
    const struct haz_ins *i = haz_ins_of(w, u);
    struct haz_thread *t = haz_thread_of(w);
    uint32_t uop = (uint32_t)(u - w->code);
    uint32_t last = UINT32_MAX;
    bool any = false;
    uint32_t m = exec_mask(w, u);
    FOR_LANES(l, m) {
        uint32_t a = sim_shared_address(w, u->a, u->imm, l);
        struct cluster *cl = w->cta->cluster;
        uint32_t rank = a >> RANK_SHIFT;
        struct mbar *b =
            a == last || rank >= cl->size ? NULL : mbar_find(&cl->cta[rank], a & OFFSET_MASK);
        struct haz_bar *hb = b == NULL ? NULL : bar_of(&cl->cta[rank], b);
        last = a;
        if (hb == NULL) {
            continue;
        }
        bool remote = rank != w->cta->rank;
        check_init(t, hb, uop, remote);
        if (completion_releases(t, i)) {
            release(t, &hb->cur, ORDER_RELEASE, m);
            any = true;
        }
        if (!x->arrive) {
            continue;
        }
        note(hb->arrivers, t->index);
        release(t, &hb->cur, i->order, m);
        any = true;
        if (remote) {
            struct haz_cta *hc = &t->cluster->cta[rank];
            hc->remote[t->index] = t->now.v[t->base + COMP_OWN];
            hc->remote_uop[t->index] = uop;
            hb->far |= i->order >= ORDER_RELEASE && i->scope != SCOPE_CTA;
            if (i->scope == SCOPE_CTA) {
                haz_report(t->cluster->haz, i->says_cta ? HAZ_SCOPE_CTA : HAZ_SCOPE, uop, UINT32_MAX,
                           "it arrives on a barrier of CTA %u of the cluster", rank);
            }
        }
    }
    const struct uop *next = haz_do(w, u);
    if (any) {
        haz_tick(t);
    }
    return next;
}

void haz_phase(struct cta *c, const struct mbar *b) {
    struct haz_cluster *cl = c->cluster->haz;
    struct haz_bar *hb = bar_of(c, b);
    if (hb != NULL) {
        haz_set(cl, &hb->cur, hb->comp, (uint32_t)b->phase + 1);
        haz_copy(cl, &hb->done, &hb->cur);
        hb->far_done |= hb->far;
        hb->far = false;
    }
}

// Operations of other CTAs signal in an order of their own: each must have been waited for when the
// CTA exits.
static void note_peer(const struct async_op *op, const struct cta *c, const struct mbar *b,
                      struct haz_bar *hb) {
    bool commit = op->kind == ASYNC_COMMIT;
    if (c != op->cta || commit) {
        hb->peer_own = c == op->cta;
        hb->peer_phase = (uint32_t)b->phase + 1;
        hb->peer_uop = (uint32_t)(op->u - op->warp->code);
        hb->peer_comp = commit ? haz_thread_of(op->warp)->base + COMP_MMA : 0;
        hb->peer_epoch = commit ? op->haz : 0;
    }
}

// A copy signals: its records are known to whoever waits for this phase of the barrier.
void haz_complete(const struct async_op *op, struct cta *c, const struct mbar *b) {
    struct haz *h = c->x->haz;
    struct haz_bar *hb = bar_of(c, b);
    if (hb != NULL) {
        note_peer(op, c, b, hb);
    }
    for (uint32_t id = op->haz_read; id != 0 && hb != NULL; id = h->rec[id].next) {
        if (h->rec[id].comp == UNRESOLVED) { // what it reads: its source, its tensor map
            h->rec[id].comp = hb->comp;
            h->rec[id].epoch = (uint32_t)b->phase + 1;
        }
    }
    for (uint32_t id = op->haz; id != 0 && hb != NULL; id = h->rec[id].next) {
        struct haz_rec *r = &h->rec[id];
        if (r->comp == UNRESOLVED) {
            r->comp = hb->comp;
            r->epoch = (uint32_t)b->phase + 1;
            return;
        }
    }
}

// An arrival of a commit or of cp.async.mbarrier.arrive: what it tracks is complete.
void haz_arrive_op(const struct async_op *op, struct cta *c, const struct mbar *b) {
    struct haz_cluster *cl = c->cluster->haz;
    struct haz_bar *hb = bar_of(c, b);
    struct haz_thread *t = haz_thread_of(op->warp);
    if (hb == NULL) {
        return;
    }
    note(hb->arrivers, t->index);
    note_peer(op, c, b, hb);
    if (op->kind == ASYNC_CP_ARRIVE) {
        haz_set(cl, &hb->cur, t->base + COMP_CP, op->haz);
        if (t->copied[op->lane] < op->haz) {
            t->copied[op->lane] = op->haz;
        }
        return;
    }
    haz_set(cl, &hb->cur, t->base + COMP_MMA, op->haz);
    haz_set(cl, &hb->cur, t->base + COMP_BEFORE, op->haz);
    if (cl->haz->profile == SIM_HAZARDS_PRACTICE) {
        haz_join(cl, &hb->cur, &t->commits);
    }
}

static void acquire(struct haz_thread *t, const struct haz_clock *from, uint8_t order, uint32_t m) {
    if (order == ORDER_RELAXED) {
        haz_join(t->cluster, &t->pending, from);
    } else {
        haz_acquire(t, from, m);
    }
}

// Waits of one warp on one barrier are expected to see every phase once.
static void check_phase(struct haz_thread *t, struct haz_bar *hb, uint32_t uop, uint32_t now) {
    uint32_t before = hb->seen[t->index];
    if (before == now) {
        haz_report(t->cluster->haz, HAZ_PHASE_STALE, uop, UINT32_MAX, "%u phases are complete",
                   now - 1);
    } else if (now > before + 1 && before > 0) {
        haz_report(t->cluster->haz, HAZ_PHASE_MISSED, uop, UINT32_MAX,
                   "%u phases are complete, %u were at its last wait", now - 1, before - 1);
    }
    hb->seen[t->index] = now;
}

const struct uop *haz_mbar_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    const struct haz_ins *i = haz_ins_of(w, u);
    struct haz_thread *t = haz_thread_of(w);
    uint32_t uop = (uint32_t)(u - w->code);
    uint32_t last = UINT32_MAX;
    m &= w->p[u->d];
    FOR_LANES(l, m) {
        uint32_t a = sim_shared_address(w, u->a, u->imm, l);
        struct mbar *b = a == last ? NULL : mbar_find(w->cta, a & OFFSET_MASK);
        struct haz_bar *hb = b == NULL ? NULL : bar_of(w->cta, b);
        last = a;
        if (hb == NULL) {
            continue;
        }
        check_init(t, hb, uop, false);
        acquire(t, &hb->done, i->order, m);
        if (hb->far_done && i->order != ORDER_RELAXED && i->scope == SCOPE_CTA) {
            haz_report(t->cluster->haz, HAZ_SCOPE_CTA, uop, UINT32_MAX,
                       "threads of other CTAs of the cluster arrived on the barrier that it waits for");
        }
        check_phase(t, hb, uop, (uint32_t)b->phase + 1);
        if ((u->flag & 1) != 0 && (b->phase & 1) == ((const u32 *)row(w, u->b))[l]) {
            haz_report(t->cluster->haz, HAZ_PHASE_LATE, uop, UINT32_MAX,
                       "%u phases are complete, it waits for the one before the last",
                       (uint32_t)b->phase);
        }
    }
    return next;
}

// ---- barriers of the CTA and of the cluster -----------------------------------------------------
// The lanes of a warp that wait at a barrier. They may have come one after the other, as when one of them waited
// for its copies first, and go on knowing the same.
static uint32_t waiting_lanes(const struct warp *w, uint32_t id) {
    uint32_t lanes = 0;
    for (int s = 0; s < w->n_splits; s++) {
        lanes |= w->split[s].state == SPLIT_BAR && w->split[s].what == id ? w->split[s].mask : 0;
    }
    return lanes;
}

void haz_named_complete(struct cta *c, uint32_t id) {
    struct haz_cluster *cl = c->cluster->haz;
    struct haz_clock *k = &cl->cta[c->rank].named[id];
    for (uint32_t n = 0; n < c->n_warps; n++) {
        uint32_t lanes = waiting_lanes(&c->warp[n], id);
        if (lanes != 0) {
            haz_acquire(haz_thread_of(&c->warp[n]), k, lanes);
        }
    }
}

const struct uop *haz_bar(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return haz_do(w, u);
    }
    // The lanes of an aligned barrier take part together, whichever came last.
    if ((u->flag & BAR_ALIGNED) != 0 && !warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t m = exec_mask(w, u);
    struct haz_thread *t = haz_thread_of(w);
    uint32_t id = ((const u32 *)row(w, u->a))[first_lane(m)];
    struct haz_clock *k =
        id < N_NAMED ? &t->cluster->cta[w->cta->rank].named[id] : NULL;
    if (k != NULL) {
        haz_release(t, k, &t->now, m);
        haz_tick(t);
    }
    uint32_t before = k != NULL ? w->cta->bar[id].generation : 0;
    uint32_t parked = waiting_lanes(w, id);
    const struct uop *next = haz_do(w, u);
    // Parked warps are served by haz_named_complete.
    if (k != NULL && (u->flag & BAR_ARRIVE) == 0 && w->cta->bar[id].generation != before) {
        haz_acquire(t, k, m | parked);
    }
    return next;
}

void haz_cluster_complete(struct cluster *c) {
    haz_copy(c->haz, &c->haz->done, &c->haz->cur);
}

// The manual gives a relaxed arrival no order. On hardware what a CTA did to memory of its own is
// done by then, and kernels in the field build on it; what it stored to a peer may still be under
// way.
const struct uop *haz_cluster_arrive(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m != 0) {
        struct haz_thread *t = haz_thread_of(w);
        bool practice = t->cluster->haz->profile == SIM_HAZARDS_PRACTICE && !t->to_peer;
        release(t, &t->cluster->cur, practice ? ORDER_RELEASE : haz_ins_of(w, u)->order,
                m);
        haz_tick(t);
    }
    return haz_do(w, u);
}

const struct uop *haz_cluster_wait(struct warp *w, const struct uop *u) {
    const struct uop *next = haz_do(w, u);
    if (next != STOP && exec_mask(w, u) != 0) {
        struct haz_thread *t = haz_thread_of(w);
        acquire(t, &t->cluster->done, haz_ins_of(w, u)->order, exec_mask(w, u));
    }
    return next;
}

// ---- fences -------------------------------------------------------------------------------------
const struct uop *haz_fence(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return haz_do(w, u);
    }
    struct haz_thread *t = haz_thread_of(w);
    struct haz_cluster *cl = t->cluster;
    const struct haz_ins *i = haz_ins_of(w, u);
    switch (i->fence) {
    case FENCE_MEMORY:
        if (i->order != ORDER_RELEASE) {
            haz_acquire(t, &t->pending, m);
        }
        if (i->order != ORDER_ACQUIRE) {
            haz_copy(cl, &t->fenced, &t->now);
            t->to_peer = false;
            haz_tick(t);
        }
        break;
    case FENCE_ASYNC:
    case FENCE_ASYNC_SHARED:
        haz_set(cl, &t->now, t->base + COMP_INIT, t->inits);
        // fall through
    case FENCE_ASYNC_GLOBAL:
        haz_publish(cl, &t->now, t->base, (enum haz_fence)i->fence);
        if (t->part != 0 && m == w->alive) {
            haz_publish(cl, &t->every, t->base, (enum haz_fence)i->fence);
        }
        haz_tick(t);
        break;
    case FENCE_MBAR_INIT:
        haz_set(cl, &t->now, t->base + COMP_INIT, t->inits);
        haz_set(cl, &t->fenced, t->base + COMP_INIT, t->inits);
        break;
    case FENCE_MAP_ACQUIRE:
        haz_publish_maps(cl, &t->now);
        haz_tick(t);
        break;
    case FENCE_BEFORE:
        haz_set(cl, &t->now, t->base + COMP_BEFORE, t->tcgen05);
        break;
    case FENCE_AFTER:
        haz_copy(cl, &t->active, &t->now);
        break;
    case FENCE_WGMMA:
        t->wgmma_fenced = true;
        haz_held_end(t);
        break;
    case FENCE_PDL_WAIT:
        t->pdl = true;
        break;
    default:
        break;
    }
    return haz_do(w, u);
}
