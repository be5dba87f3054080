// The asynchronous agents: queues of operations that have been issued and not yet performed, and
// what performing them does. Eager performs at issue; lazy when every warp waits, what somebody
// waits for; random whenever the generator says. Operations on one tensor pipe keep their order,
// all others have none.
#include "async.h"
#include "exec.h"
#include "haz.h"
#include "sync.h"
#include <stdlib.h>

#define POISON 0xFF // NaN in every format that has one

// ---- memory of operations -----------------------------------------------------------------------
static void *translate(void *user, uint64_t address, uint64_t bytes, bool write) {
    (void)write;
    struct exec *x = user;
    const struct allocation *h = x->hit;
    if (h != NULL && address >= h->base && bytes <= h->bytes &&
        address - h->base <= h->bytes - bytes) {
        return h->host + (address - h->base);
    }
    uint8_t *p = devmem_at(&x->sim->mem, address, bytes);
    if (p != NULL) {
        x->hit = devmem_nearest(&x->sim->mem, address);
    }
    return p;
}

static struct cta *op_cta(const struct async_op *op, uint32_t shared) {
    struct cluster *cl = op->cta->cluster;
    uint32_t rank = shared >> RANK_SHIFT;
    if (rank >= cl->size || cl->cta[rank].warps_alive == 0) {
        sim_fault_op(op, "shared address 0x%x lies in CTA %u, which has exited or does not exist",
                     shared, rank);
        return NULL;
    }
    return &cl->cta[rank];
}

static uint8_t *op_smem(const struct async_op *op, uint32_t shared, uint32_t bytes) {
    struct cta *c = op_cta(op, shared);
    uint32_t off = shared & OFFSET_MASK;
    if (c == NULL) {
        return NULL;
    }
    if (off < SMEM_RESERVED || (uint64_t)off + bytes > c->smem_bytes) {
        sim_fault_op(
            op, "shared address 0x%x + %u bytes is outside the CTA's shared memory, 0x%x to 0x%x",
            shared, bytes, SMEM_RESERVED, c->smem_bytes);
        return NULL;
    }
    return c->smem + off;
}

static uint8_t *op_gmem(const struct async_op *op, uint64_t address, uint32_t bytes, bool write) {
    uint8_t *p = translate(op->cta->x, address, bytes, write);
    if (p == NULL) {
        const struct allocation *a = devmem_nearest(&op->cta->x->sim->mem, address);
        sim_fault_op(
            op,
            "global address 0x%llx + %u bytes is not allocated; the nearest allocation is 0x%llx, "
            "%llu bytes",
            (unsigned long long)address, bytes, a == NULL ? 0 : (unsigned long long)a->base,
            a == NULL ? 0 : (unsigned long long)a->bytes);
    }
    return p;
}

// ---- performing ---------------------------------------------------------------------------------
// The destinations of a load: CTAs of the mask, or the one that the address names.
static uint16_t destinations(const struct async_op *op) {
    return (uint16_t)(op->mask != 0 ? op->mask : 1u << (op->smem >> RANK_SHIFT));
}

static uint32_t in_cta(uint32_t shared, uint32_t rank) {
    return (shared & OFFSET_MASK) | rank << RANK_SHIFT;
}

// The barrier that the copy into CTA 'rank' signals (PTX ISA "cp.async.bulk.tensor": .cta_group).
static uint32_t signal_of(const struct async_op *op, uint32_t rank) {
    if (op->mask == 0) {
        return op->mbar;
    }
    if (op->pair_signal) {
        return in_cta(op->mbar, (rank & ~1u) | (op->mbar >> RANK_SHIFT & 1));
    }
    return in_cta(op->mbar, rank);
}

static bool bulk_load(const struct async_op *op) {
    const uint8_t *from = op_gmem(op, op->global, op->bytes, false);
    if (from == NULL) {
        return false;
    }
    uint16_t mask = destinations(op);
    for (uint32_t rank = 0; rank < MAX_CLUSTER; rank++) {
        if ((mask >> rank & 1) == 0) {
            continue;
        }
        uint8_t *to = op_smem(op, in_cta(op->smem, rank), op->bytes);
        if (to == NULL) {
            return false;
        }
        memcpy(to, from, op->bytes);
        op->cta->x->stats.tma_bytes += op->bytes;
        if (!mbar_complete(op, signal_of(op, rank), op->bytes)) {
            return false;
        }
    }
    return true;
}

static void note_sum(const struct async_op *op, int dtype) {
    bool floating = dtype == TMAP_F16 || dtype == TMAP_BF16 || dtype == TMAP_F32 ||
                    dtype == TMAP_F32_FTZ || dtype == TMAP_F64;
    if (floating && op->red == UNIT_RED_ADD) {
        op->cta->x->stats.order |= SIM_ORDER_FLOAT_SUM;
    }
}

static bool bulk_store(const struct async_op *op) {
    const uint8_t *from = op_smem(op, op->smem, op->bytes);
    uint8_t *to = from == NULL ? NULL : op_gmem(op, op->global, op->bytes, true);
    if (to == NULL) {
        return false;
    }
    op->cta->x->stats.tma_bytes += op->bytes;
    if (op->kind == ASYNC_BULK_STORE) {
        memcpy(to, from, op->bytes);
        return true;
    }
    note_sum(op, op->dtype);
    enum unit_status s =
        unit_bulk_reduce(to, from, op->bytes, (enum unit_tmap_dtype)op->dtype, op->red);
    if (s != UNIT_OK) {
        sim_fault_op(op, "%s", unit_reason(s));
    }
    return s == UNIT_OK;
}

static bool bulk_dsmem(const struct async_op *op) {
    const uint8_t *from = op_smem(op, op->smem2, op->bytes);
    uint8_t *to = from == NULL ? NULL : op_smem(op, op->smem, op->bytes);
    if (to == NULL) {
        return false;
    }
    if (op->kind == ASYNC_BULK_DSMEM) {
        memmove(to, from, op->bytes);
        return mbar_complete(op, op->mbar, op->bytes);
    }
    note_sum(op, op->dtype);
    enum unit_status s =
        unit_bulk_reduce(to, from, op->bytes, (enum unit_tmap_dtype)op->dtype, op->red);
    if (s != UNIT_OK) {
        sim_fault_op(op, "%s", unit_reason(s));
        return false;
    }
    return mbar_complete(op, op->mbar, op->bytes);
}

static bool store_remote(const struct async_op *op) {
    uint8_t *to = op_smem(op, op->smem, op->bytes);
    enum unit_status s = UNIT_OK;
    if (to == NULL) {
        return false;
    }
    if (op->kind == ASYNC_ST_REMOTE) {
        memcpy(to, op->disable, op->bytes);
    } else {
        s = unit_bulk_reduce(to, (const uint8_t *)op->disable, op->bytes,
                             (enum unit_tmap_dtype)op->dtype, op->red);
    }
    if (s != UNIT_OK) {
        sim_fault_op(op, "%s", unit_reason(s));
        return false;
    }
    return mbar_complete(op, op->mbar, op->bytes);
}

static const struct sim_tmap *op_map(const struct async_op *op) {
    struct exec *x = op->cta->x;
    if (op->has_map) {
        return &op->map;
    }
    if ((op->global & 63) != 0) {
        sim_fault_op(op, "the tensor map at 0x%llx is not aligned to 64 bytes",
                     (unsigned long long)op->global);
        return NULL;
    }
    if ((op->global & WINDOW_MASK) == WINDOW_PARAM) {
        uint32_t off = (uint32_t)op->global;
        if ((uint64_t)off + SIM_TMAP_BYTES > x->k->param_bytes) {
            sim_fault_op(op, "the tensor map at parameter offset %u leaves the parameters", off);
            return NULL;
        }
        return (const struct sim_tmap *)(const void *)(x->params + off);
    }
    return (const struct sim_tmap *)(const void *)op_gmem(op, op->global, SIM_TMAP_BYTES, false);
}

static bool tma_status(const struct async_op *op, enum unit_status s, const struct sim_tmap *map) {
    if (s == UNIT_OK) {
        return true;
    }
    sim_fault_op(op,
                 "%s (tensor of rank %u at 0x%llx, box %u x %u, coordinates %d, %d, %d, shared "
                 "address 0x%x)",
                 unit_reason(s), map->rank, (unsigned long long)map->address, map->box[0],
                 map->box[1], op->coord[0], op->coord[1], op->coord[2], op->smem);
    return false;
}

static bool tma_load(const struct async_op *op) {
    struct exec *x = op->cta->x;
    const struct sim_tmap *map = op_map(op);
    if (map == NULL) {
        return false;
    }
    const struct unit_gmem g = {translate, x};
    uint16_t mask = destinations(op);
    uint32_t tx = unit_tma_tx_bytes(map, (enum unit_tma_mode)op->dtype);
    for (uint32_t rank = 0; rank < MAX_CLUSTER; rank++) {
        if ((mask >> rank & 1) == 0) {
            continue;
        }
        struct cta *c = op_cta(op, in_cta(op->smem, rank));
        if (c == NULL) {
            return false;
        }
        struct unit_tma t = {map, (int)op->bytes, op->coord, op->smem & OFFSET_MASK,
                             (enum unit_tma_mode)op->dtype};
        if (!tma_status(op, unit_tma_load(&t, &g, &c->unit), map)) {
            return false;
        }
        x->stats.tma_bytes += tx;
        if (!mbar_complete(op, signal_of(op, rank), tx)) {
            return false;
        }
    }
    return true;
}

static bool tma_store(const struct async_op *op) {
    struct exec *x = op->cta->x;
    const struct sim_tmap *map = op_map(op);
    struct cta *c = map == NULL ? NULL : op_cta(op, op->smem);
    if (c == NULL) {
        return false;
    }
    const struct unit_gmem g = {translate, x};
    if (op->kind == ASYNC_TMA_REDUCE) {
        note_sum(op, map->dtype);
    }
    struct unit_tma t = {map, (int)op->bytes, op->coord, op->smem & OFFSET_MASK,
                         (enum unit_tma_mode)op->dtype};
    enum unit_status s = op->kind == ASYNC_TMA_STORE ? unit_tma_store(&t, &g, &c->unit)
                                                     : unit_tma_reduce(&t, &g, &c->unit, op->red);
    x->stats.tma_bytes += unit_tma_tx_bytes(map, (enum unit_tma_mode)op->dtype);
    return tma_status(op, s, map);
}

static bool cp_async(const struct async_op *op) {
    uint8_t *to = op_smem(op, op->smem, op->bytes);
    uint32_t read = op->zero_from;
    const uint8_t *from = read == 0 ? to : to == NULL ? NULL : op_gmem(op, op->global, read, false);
    if (from == NULL) {
        return false;
    }
    if (read > 0) {
        memcpy(to, from, read);
    }
    memset(to + read, 0, op->bytes - read);
    return true;
}

static bool clc_answer(const struct async_op *op) {
    struct cluster *cl = op->cta->cluster;
    uint32_t ctaid[3] = {0, 0, 0};
    uint8_t answer[UNIT_CLC_BYTES];
    bool canceled = exec_cancel_next(op->cta->x, ctaid);
    op->cta->x->stats.order |= SIM_ORDER_CANCEL;
    unit_clc_encode(answer, canceled, ctaid);
    for (uint32_t rank = 0; rank < cl->size; rank++) {
        if (op->mask == 0 && rank != op->smem >> RANK_SHIFT) {
            continue;
        }
        uint8_t *to = op_smem(op, in_cta(op->smem, rank), UNIT_CLC_BYTES);
        if (to == NULL) {
            return false;
        }
        memcpy(to, answer, UNIT_CLC_BYTES);
        if (!mbar_complete(op, in_cta(op->mbar, op->mask == 0 ? op->mbar >> RANK_SHIFT : rank),
                           UNIT_CLC_BYTES)) {
            return false;
        }
    }
    return true;
}

static void wake_warp(struct warp *w, enum split_state state) {
    for (int s = 0; s < w->n_splits; s++) {
        if (w->split[s].state == state) {
            warp_wake(w, &w->split[s]);
        }
    }
}

bool async_perform(const struct async_op *op) {
    switch (op->kind) {
    case ASYNC_BULK_LOAD:
        return bulk_load(op);
    case ASYNC_BULK_STORE:
    case ASYNC_BULK_REDUCE:
        return bulk_store(op);
    case ASYNC_BULK_DSMEM:
    case ASYNC_RED_DSMEM:
        return bulk_dsmem(op);
    case ASYNC_ST_REMOTE:
    case ASYNC_RED_REMOTE:
        return store_remote(op);
    case ASYNC_TMA_LOAD:
        return tma_load(op);
    case ASYNC_TMA_STORE:
    case ASYNC_TMA_REDUCE:
        return tma_store(op);
    case ASYNC_CP:
        return cp_async(op);
    case ASYNC_CP_ARRIVE:
        return mbar_arrive_op(op, op->mbar, 1);
    case ASYNC_CLC:
        return clc_answer(op);
    case ASYNC_WGMMA:
        return wgmma_perform(op);
    default:
        return tensor_perform(op);
    }
}

// ---- queues -------------------------------------------------------------------------------------
static bool is_tensor(const struct async_op *op) {
    return op->kind >= ASYNC_MMA;
}

// What an operation in flight will write: its destinations' bytes hold poison until it is performed.
static void poison(const struct async_op *op) {
    const struct sim_tmap *map = op->kind == ASYNC_TMA_LOAD ? op_map(op) : NULL;
    enum unit_tma_mode mode = (enum unit_tma_mode)op->dtype;
    uint32_t bytes = op->kind == ASYNC_BULK_LOAD || op->kind == ASYNC_CP ? op->bytes
                     : op->kind == ASYNC_CLC                             ? UNIT_CLC_BYTES
                     : map != NULL                                       ? unit_tma_smem_bytes(map, mode)
                                                                         : 0;
    uint16_t mask = bytes > 0 ? destinations(op) : 0;
    for (uint32_t rank = 0; rank < op->cta->cluster->size; rank++) {
        uint32_t at = in_cta(op->smem, rank);
        uint8_t *to = (mask >> rank & 1) != 0 ? op_smem(op, at, bytes) : NULL;
        if (to != NULL && map != NULL) {
            unit_tma_fill(map, mode, to - (at & OFFSET_MASK), at & OFFSET_MASK, POISON);
        } else if (to != NULL) {
            memset(to, POISON, bytes);
        }
    }
}

void async_push(struct op_queue *q, struct async_op *op) {
    op->next = NULL;
    if (q->tail == NULL) {
        q->head = op;
    } else {
        q->tail->next = op;
    }
    q->tail = op;
}

// The hardware reads the tensor map as it takes the copy; programs in the field write the map of
// the next group while copies of the last one are under way.
static bool keep_map(struct async_op *op) {
    if (op->kind != ASYNC_TMA_LOAD && op->kind != ASYNC_TMA_STORE && op->kind != ASYNC_TMA_REDUCE) {
        return true;
    }
    const struct sim_tmap *map = op_map(op);
    if (map != NULL) {
        op->map = *map;
        op->has_map = true;
    }
    return map != NULL;
}

bool async_submit(struct warp *w, struct async_op *op) {
    struct exec *x = w->x;
    if (x->haz != NULL) {
        haz_issue(w, op);
    }
    if (x->config.policy == SIM_EAGER) {
        return async_perform(op);
    }
    struct async_op *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        sim_fault_op(op, "out of host memory");
        return false;
    }
    *copy = *op;
    copy->seq = x->n_pending_seq++;
    if (!keep_map(copy)) {
        free(copy);
        return false;
    }
    poison(op);
    struct cluster *cl = w->cta->cluster;
    async_push(is_tensor(op) ? &cl->tensor[op->lane] : &cl->loose, copy);
    x->n_async++;
    return !x->failed;
}

// An arrival on behalf of cp.async stays behind the copies of its lane: whether one of those stands before
// it in the queue, which is gone through from its head.
static bool may_go(const struct exec *x, const struct async_op *op) {
    struct warp *w = op->warp;
    if (op->kind == ASYNC_CP) {
        w->cp_before = (w->cp_look == x->n_looks ? w->cp_before : 0) | 1u << op->lane;
        w->cp_look = x->n_looks;
    }
    return op->kind != ASYNC_CP_ARRIVE || w->cp_look != x->n_looks || !(w->cp_before >> op->lane & 1);
}

struct choice {
    struct op_queue *queue;
    struct async_op *op, *before;
};

// Does a split of the warp (of a warp of the cluster) wait in this state, for this?
static bool warp_waits(const struct warp *w, enum split_state state, uint32_t what) {
    for (int s = 0; s < w->n_splits; s++) {
        if (w->split[s].state == state && w->split[s].what == what) {
            return true;
        }
    }
    return false;
}

static bool cluster_waits(const struct cluster *cl, enum split_state state, uint32_t what) {
    for (uint32_t r = 0; r < cl->size; r++) {
        const struct cta *c = &cl->cta[r];
        for (uint32_t n = 0; n < c->n_warps; n++) {
            if (warp_waits(&c->warp[n], state, what)) {
                return true;
            }
        }
    }
    return false;
}

// Is somebody blocked until this operation is done?
static bool wanted(const struct async_op *op) {
    switch (op->kind) {
    case ASYNC_BULK_STORE:
    case ASYNC_BULK_REDUCE:
    case ASYNC_TMA_STORE:
    case ASYNC_TMA_REDUCE:
        return warp_waits(op->warp, SPLIT_BULK, 0);
    case ASYNC_CP:
        return warp_waits(op->warp, SPLIT_CP_ASYNC, 0);
    case ASYNC_WGMMA:
        for (int k = 0; k < 4; k++) {
            if (warp_waits(op->wg.warp[k], SPLIT_WGMMA, 0)) {
                return true;
            }
        }
        return false;
    default:
        return cluster_waits(op->cta->cluster, SPLIT_MBAR, op->mbar & OFFSET_MASK);
    }
}

// A pipe works in order: its head is wanted when a commit behind it is.
static bool pipe_wanted(const struct op_queue *q) {
    for (const struct async_op *o = q->head; o != NULL; o = o->next) {
        if (o->kind == ASYNC_COMMIT && wanted(o)) {
            return true;
        }
    }
    return false;
}

// Goes through the operations that may be performed now: counts them, keeps the one of number
// 'want'; when lazy the oldest one that somebody waits for, or the oldest of all.
struct search {
    struct choice found;
    uint32_t count, want;
    bool lazy, found_wanted;
};

static void consider(struct search *s, const struct choice *c, bool is_wanted) {
    bool take = s->count == s->want;
    if (s->lazy) {
        take = s->found.op == NULL || (is_wanted && !s->found_wanted) ||
               (is_wanted == s->found_wanted && c->op->seq < s->found.op->seq);
    }
    s->count++;
    if (take) {
        s->found = *c;
        s->found_wanted = is_wanted;
    }
}

static void look(struct search *s, struct cluster *cl) {
    cl->x->n_looks++;
    struct async_op *before = NULL;
    for (struct async_op *o = cl->loose.head; o != NULL; before = o, o = o->next) {
        if (may_go(cl->x, o)) {
            bool is_wanted = s->lazy && wanted(o);
            consider(s, &(struct choice){&cl->loose, o, before}, is_wanted);
            if (is_wanted) {
                break; // they stand in the order of their age
            }
        }
    }
    for (uint32_t q = 0; q < cl->size; q++) {
        if (cl->tensor[q].head != NULL) {
            consider(s, &(struct choice){&cl->tensor[q], cl->tensor[q].head, NULL},
                     s->lazy && pipe_wanted(&cl->tensor[q]));
        }
        struct cta *c = &cl->cta[q];
        for (uint32_t g = 0; g < (c->n_warps + 3) / 4; g++) {
            struct async_op *o = c->wgmma[g].head;
            if (o != NULL && wgmma_ready(o)) {
                consider(s, &(struct choice){&c->wgmma[g], o, NULL}, s->lazy && wanted(o));
            }
        }
    }
}

static struct choice choose_lazy(const struct exec *x) {
    struct search s = {.lazy = true};
    for (struct cluster *cl = x->live; cl != NULL; cl = cl->next) {
        look(&s, cl);
    }
    return s.found;
}

// First the cluster, the next one where that has nothing to choose; then one of its operations. So the queues
// of the others need not be gone through, which are very many copies on a large GPU.
static struct choice choose_random(struct exec *x) {
    uint32_t n = 0;
    for (const struct cluster *cl = x->live; cl != NULL; cl = cl->next) {
        n++;
    }
    struct cluster *cl = x->live;
    for (uint32_t skip = exec_choice(x, n); skip > 0; skip--) {
        cl = cl->next;
    }
    for (uint32_t tried = 0; tried < n; tried++) {
        struct search s = {.want = UINT32_MAX};
        look(&s, cl);
        if (s.count > 0) {
            s = (struct search){.want = exec_choice(x, s.count)};
            look(&s, cl);
            return s.found;
        }
        cl = cl->next == NULL ? x->live : cl->next;
    }
    return (struct choice){NULL, NULL, NULL};
}

static void take_out(struct exec *x, const struct choice *c) {
    if (c->before == NULL) {
        c->queue->head = c->op->next;
    } else {
        c->before->next = c->op->next;
    }
    if (c->queue->tail == c->op) {
        c->queue->tail = c->before;
    }
    x->n_async--;
}

bool async_step(struct exec *x) {
    if (x->n_async == 0) {
        return false;
    }
    struct choice c = x->config.policy == SIM_RANDOM ? choose_random(x) : choose_lazy(x);
    if (c.op == NULL) {
        return false;
    }
    struct warp *w = c.op->warp;
    bool more;
    do { // the lanes of one cp.async together: there may be very many
        take_out(x, &c);
        async_perform(c.op);
        struct async_op *next = c.before == NULL ? c.queue->head : c.before->next;
        more = c.op->kind == ASYNC_CP && next != NULL && next->kind == ASYNC_CP &&
               next->warp == w && next->u == c.op->u && next->group == c.op->group && !x->failed;
        free(c.op);
        c.op = next;
    } while (more);
    wake_warp(w, SPLIT_BULK);
    wake_warp(w, SPLIT_CP_ASYNC);
    return true;
}

static bool is_store(const struct async_op *o) {
    return o->kind == ASYNC_BULK_STORE || o->kind == ASYNC_BULK_REDUCE ||
           o->kind == ASYNC_TMA_STORE || o->kind == ASYNC_TMA_REDUCE;
}

uint32_t async_pending_bulk(const struct warp *w, uint32_t lane, uint32_t upto) {
    uint32_t n = 0;
    for (const struct async_op *o = w->cta->cluster->loose.head; o != NULL; o = o->next) {
        n += is_store(o) && o->warp == w && (o->lanes >> lane & 1) != 0 && o->group < upto;
    }
    return n;
}

bool async_pending_cp(const struct warp *w, uint32_t upto) {
    for (const struct async_op *o = w->cta->cluster->loose.head; o != NULL; o = o->next) {
        if (o->kind == ASYNC_CP && o->warp == w && o->group < upto) {
            return true;
        }
    }
    return false;
}

// A load of an exiting CTA into its own memory: an error, but one that kernels in the field get away with.
static bool is_own_load(const struct async_op *o, const struct cta *c) {
    bool load = o->kind == ASYNC_TMA_LOAD || o->kind == ASYNC_BULK_LOAD;
    uint32_t to = o->mask != 0 ? o->mask : 1u << (o->smem >> RANK_SHIFT);
    return load && o->cta == c && to == 1u << c->rank && c->x->haz != NULL &&
           c->x->haz->profile == SIM_HAZARDS_PRACTICE;
}

// Performs an operation of a CTA whose threads have ended.
static void finish(struct cta *c, const struct choice *o) {
    take_out(c->x, o);
    c->warps_alive = 1; // its memory is still there
    async_perform(o->op);
    c->warps_alive = 0;
    free(o->op);
}

// Stores of a CTA whose threads have ended: the hardware keeps its shared memory until they have
// read it, kernels in the field rely on that.
void async_drain_stores(struct cta *c) {
    struct exec *x = c->x;
    struct op_queue *q = &c->cluster->loose;
    struct async_op *before = NULL;
    for (struct async_op *o = q->head; o != NULL && !x->failed;) {
        struct async_op *next = o->next;
        bool load = is_own_load(o, c);
        if (load) {
            haz_report(x->haz, HAZ_EXIT_LOAD, (uint32_t)(o->u - o->warp->code), UINT32_MAX,
                       "no wait of CTA %u for its mbarrier", c->rank);
        }
        if (!load && (o->cta != c || !is_store(o))) {
            before = o;
            o = next;
            continue;
        }
        finish(c, &(struct choice){q, o, before});
        o = next;
    }
}

// An operation of a tensor pipe works on the memory of its CTA, with cta_group::2 of the pair; a commit signals where
// its address or its multicast mask say.
static bool tensor_uses(const struct async_op *o, const struct cta *c) {
    if (o->cta == c) {
        return true;
    }
    if (o->kind == ASYNC_COMMIT) {
        return (o->mask != 0 ? o->mask : 1u << (o->mbar >> RANK_SHIFT)) >> c->rank & 1;
    }
    return o->group == 2 && (o->cta->rank ^ c->rank) == 1;
}

// Commits that are first in line have nothing left to wait for: hardware lets them arrive before the
// memory of the CTA goes to another.
void async_drain_commits(struct cta *c) {
    struct exec *x = c->x;
    for (uint32_t r = 0; r < c->cluster->size; r++) {
        struct op_queue *q = &c->cluster->tensor[r];
        while (q->head != NULL && q->head->kind == ASYNC_COMMIT && tensor_uses(q->head, c) &&
               !x->failed) {
            finish(c, &(struct choice){q, q->head, NULL});
        }
    }
}

// An operation that still uses the CTA.
const struct async_op *async_uses(const struct cta *c) {
    for (const struct async_op *o = c->cluster->loose.head; o != NULL; o = o->next) {
        if (o->cta == c || o->smem >> RANK_SHIFT == c->rank) {
            return o;
        }
    }
    for (uint32_t q = 0; q < c->cluster->size; q++) {
        for (const struct async_op *o = c->cluster->tensor[q].head; o != NULL; o = o->next) {
            if (tensor_uses(o, c)) {
                return o;
            }
        }
    }
    for (uint32_t g = 0; g < (c->n_warps + 3) / 4; g++) {
        if (c->wgmma[g].head != NULL) {
            return c->wgmma[g].head;
        }
    }
    return NULL;
}
