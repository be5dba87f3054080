// A launch: clusters of CTAs are placed on SMs as far as shared memory, threads, registers and
// slots allow; resident warps run round-robin until they block; asynchronous operations go when
// they must (or at random); the grid ends when its last CTA does. Nothing runnable and nothing
// asynchronous left is a deadlock, which report.c explains.
#include "exec.h"
#include "haz.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_CTAS_PER_SM 32
#define WORKSPACE_BYTES 256 // of cooperative launches: a word of size and the barrier

static uint64_t draw(struct exec *x) { // splitmix64
    uint64_t z = x->random += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

static void record(struct exec *x, uint32_t decision) {
    sim_decisions *r = x->config.record;
    if (r->count == r->capacity) {
        size_t more = r->capacity == 0 ? 1024 : 2 * r->capacity;
        uint32_t *list = realloc(r->list, more * sizeof *list);
        if (list == NULL) {
            return; // the log ends here
        }
        r->list = list;
        r->capacity = more;
    }
    r->list[r->count++] = decision;
}

uint32_t exec_choice(struct exec *x, uint32_t n) {
    if (n <= 1) {
        return 0;
    }
    const sim_decisions *r = x->config.replay;
    uint32_t d = r == NULL                ? (uint32_t)(draw(x) % n)
                 : x->replayed < r->count ? r->list[x->replayed++] % n
                                          : 0;
    if (x->config.record != NULL) {
        record(x, d);
    }
    return d;
}

// ---- warps --------------------------------------------------------------------------------------
struct warp_memory {
    struct warp_memory *next;
};

static size_t row_bytes(const struct sim_kernel *k) {
    return (size_t)k->n_rows * ROW_BYTES;
}

static size_t warp_bytes(const struct sim_kernel *k) {
    size_t preds = ((size_t)k->n_preds * 4 + 127) & ~(size_t)127;
    size_t local = ((size_t)k->local_bytes * LANES + 127) & ~(size_t)127;
    return row_bytes(k) + preds + local + 128;
}

static uint32_t sreg_lane(const struct warp *w, enum sreg s, uint32_t lane) {
    const struct exec *x = w->x;
    const uint32_t *block = x->config.block;
    uint32_t t = w->index * LANES + lane;
    switch (s) {
    case SREG_TID_X:
        return t % block[0];
    case SREG_TID_Y:
        return t / block[0] % block[1];
    case SREG_TID_Z:
        return t / block[0] / block[1];
    case SREG_LANEID:
        return lane;
    case SREG_LANEMASK_EQ:
        return 1u << lane;
    case SREG_LANEMASK_LT:
        return (1u << lane) - 1;
    case SREG_LANEMASK_LE:
        return (2u << lane) - 1;
    case SREG_LANEMASK_GT:
        return ~((2u << lane) - 1);
    default:
        return ~((1u << lane) - 1);
    }
}

static uint32_t sreg_axis(const struct warp *w, enum sreg s) {
    const struct exec *x = w->x;
    const struct cta *c = w->cta;
    uint32_t axis = (s - SREG_TID_X) % 3; // the triples stand first, in one row: ORDER sreg
    switch ((enum sreg)(s - axis)) {
    case SREG_NTID_X:
        return x->config.block[axis];
    case SREG_CTAID_X:
        return c->ctaid[axis];
    case SREG_NCTAID_X:
        return x->config.grid[axis];
    case SREG_CLUSTERID_X:
        return c->cluster->id[axis];
    case SREG_NCLUSTERID_X:
        return x->n_clusters[axis];
    case SREG_CLUSTER_CTAID_X:
        return c->ctaid[axis] - c->cluster->id[axis] * x->config.cluster[axis];
    default:
        return x->config.cluster[axis];
    }
}

static uint32_t sreg_uniform(const struct warp *w, enum sreg s) {
    const struct exec *x = w->x;
    switch (s) {
    case SREG_CLUSTER_CTARANK:
        return w->cta->rank;
    case SREG_CLUSTER_NCTARANK:
        return x->cluster_size;
    case SREG_IS_EXPLICIT_CLUSTER:
        return x->cluster_size > 1;
    case SREG_WARPID:
        return w->index;
    case SREG_NWARPID:
        return w->cta->n_warps;
    case SREG_SMID:
        return w->cta->sm->id;
    case SREG_NSMID:
        return (uint32_t)sim_sm_count(x->sim);
    case SREG_DYNAMIC_SMEM_SIZE:
        return x->config.dynamic_smem;
    case SREG_TOTAL_SMEM_SIZE:
        return x->smem_bytes - SMEM_RESERVED;
    case SREG_AGGR_SMEM_SIZE:
        return x->smem_bytes;
    case SREG_RESERVED_SMEM_OFFSET_BEGIN:
    case SREG_ENVREG0:
        return 0;
    case SREG_RESERVED_SMEM_OFFSET_END:
    case SREG_RESERVED_SMEM_OFFSET_CAP:
        return SMEM_RESERVED;
    case SREG_ENVREG1: // cooperative_groups/details/driver_abi.h: the address of the grid's workspace
        return (uint32_t)(x->workspace >> 32);
    case SREG_ENVREG2:
        return (uint32_t)x->workspace;
    default:
        return 1; // %gridid
    }
}

static void set_sreg(struct warp *w, const struct kernel_sreg *k) {
    enum sreg s = (enum sreg)k->sreg;
    bool lanes =
        s == SREG_LANEID || (s >= SREG_LANEMASK_EQ && s <= SREG_LANEMASK_GE) || s <= SREG_TID_Z;
    u32 *d = row(w, k->row);
    for (uint32_t l = 0; l < LANES; l++) {
        uint32_t v = lanes                        ? sreg_lane(w, s, l)
                     : s <= SREG_CLUSTER_NCTAID_Z ? sreg_axis(w, s)
                                                  : sreg_uniform(w, s);
        if (s == SREG_GRIDID) {
            ((u64 *)d)[l] = v;
        } else {
            d[l] = v;
        }
    }
}

static void set_const(struct warp *w, const struct kernel_const *c) {
    uint64_t v = c->value;
    if (c->kind == CONST_SHARED) {
        v += (uint64_t)w->cta->rank << RANK_SHIFT;
    }
    void *d = row(w, c->row);
    for (int l = 0; l < LANES; l++) {
        if (c->width == 32) {
            ((u32 *)d)[l] = (uint32_t)v;
        } else {
            ((u64 *)d)[l] = v;
            if (c->width == 128) {
                ((u64 *)d)[LANES + l] = 0;
            }
        }
    }
}

static bool start_warp(struct cta *c, uint32_t index) {
    struct exec *x = c->x;
    const struct sim_kernel *k = x->k;
    struct warp *w = &c->warp[index];
    struct warp_memory *m = x->pool;
    if (m != NULL) {
        x->pool = m->next;
    } else if (posix_memalign((void **)&m, 128, x->warp_bytes) != 0) {
        return false;
    }
    memset(m, 0, x->warp_bytes);
    *w = (struct warp){.cta = c, .x = x, .index = index, .code = k->code, .memory = (uint8_t *)m};
    w->r = w->memory;
    w->p = (u32 *)(void *)(w->memory + row_bytes(k));
    w->local = w->memory + row_bytes(k) + (((size_t)k->n_preds * 4 + 127) & ~(size_t)127);
    w->p[0] = FULL;
    for (uint32_t n = 0; n < k->n_consts; n++) {
        set_const(w, &k->consts[n]);
    }
    for (uint32_t n = 0; n < k->n_sregs; n++) {
        set_sreg(w, &k->sregs[n]);
    }
    uint32_t left = x->threads - index * LANES;
    w->exists = w->alive = left >= LANES ? FULL : (1u << left) - 1;
    w->n_regs = x->regs;
    w->split[0] = (struct split){.mask = w->alive, .state = SPLIT_RUN};
    w->n_splits = 1;
    warp_queue(w);
    return true;
}

// ---- CTAs and clusters --------------------------------------------------------------------------
static bool has_room(const struct exec *x, const struct sm *s) {
    uint32_t most =
        x->sim->options.ctas_per_sm > 0 ? (uint32_t)x->sim->options.ctas_per_sm : MAX_CTAS_PER_SM;
    uint32_t threads = (x->threads + LANES - 1) & ~(LANES - 1u);
    return s->ctas < most && s->free_smem >= x->smem_bytes && s->free_threads >= threads &&
           s->free_regs >= x->regs * threads;
}

// SMs for the CTAs of one cluster, different ones as far as there are enough.
static bool find_sms(struct exec *x, struct sm **out) {
    uint32_t found = 0;
    for (uint32_t n = 0; n < x->n_sms && found < x->cluster_size; n++) {
        struct sm *s = &x->sm[(x->next_sm + n) % x->n_sms];
        if (has_room(x, s)) {
            out[found++] = s;
        }
    }
    if (found < x->cluster_size) {
        return false;
    }
    x->next_sm = (x->next_sm + x->cluster_size) % x->n_sms;
    return true;
}

static void take_slot(struct exec *x, struct cta *c, struct sm *s) {
    uint32_t threads = (x->threads + LANES - 1) & ~(LANES - 1u);
    c->sm = s;
    c->slot = (uint32_t)__builtin_ctz(~s->slots);
    s->slots |= 1u << c->slot;
    s->ctas++;
    s->free_smem -= x->smem_bytes;
    s->free_threads -= threads;
    s->free_regs -= x->regs * threads;
}

static void leave_slot(struct cta *c) {
    struct exec *x = c->x;
    uint32_t threads = (x->threads + LANES - 1) & ~(LANES - 1u);
    struct sm *s = c->sm;
    s->slots &= ~(1u << c->slot);
    s->ctas--;
    s->free_smem += x->smem_bytes;
    s->free_threads += threads;
    s->free_regs += x->regs * threads;
}

static bool start_cta(struct cluster *cl, uint32_t rank, struct sm *s) {
    struct exec *x = cl->x;
    struct cta *c = &cl->cta[rank];
    const uint32_t *size = x->config.cluster;
    uint32_t at[3] = {rank % size[0], rank / size[0] % size[1], rank / size[0] / size[1]};
    c->cluster = cl;
    c->x = x;
    c->rank = rank;
    for (int a = 0; a < 3; a++) {
        c->ctaid[a] = cl->id[a] * size[a] + at[a];
    }
    take_slot(x, c, s);
    c->smem_bytes = x->smem_bytes;
    c->smem = malloc(x->smem_bytes + 16);
    c->mbar_index = calloc(x->smem_bytes / 8 + 1, sizeof *c->mbar_index);
    c->n_warps = c->warps_alive = (x->threads + LANES - 1) / LANES;
    c->threads = x->threads;
    c->warp = calloc(c->n_warps, sizeof *c->warp);
    if (c->smem == NULL || c->mbar_index == NULL || c->warp == NULL) {
        return false;
    }
    memset(c->smem, 0xFF, x->smem_bytes + 16);
    c->unit = (struct unit_cta){c->smem, x->smem_bytes, (uint32_t(*)[UNIT_TMEM_LANES])s->tmem};
    for (uint32_t n = 0; n < c->n_warps; n++) {
        if (!start_warp(c, n)) {
            return false;
        }
    }
    x->stats.ctas++;
    return true;
}

static void cluster_id(const struct exec *x, uint64_t n, uint32_t id[3]) {
    id[0] = (uint32_t)(n % x->n_clusters[0]);
    id[1] = (uint32_t)(n / x->n_clusters[0] % x->n_clusters[1]);
    id[2] = (uint32_t)(n / x->n_clusters[0] / x->n_clusters[1]);
}

static bool start_cluster(struct exec *x, struct sm **sms) {
    struct cluster *cl = calloc(1, sizeof *cl);
    if (cl == NULL) {
        return false;
    }
    cl->x = x;
    cl->size = cl->ctas_alive = x->cluster_size;
    cl->tensor = calloc(cl->size, sizeof *cl->tensor);
    cluster_id(x, x->clusters_next, cl->id);
    x->clusters_next += x->clusters_step;
    cl->next = x->live;
    if (x->live != NULL) {
        x->live->prev = cl;
    }
    x->live = cl;
    if (cl->tensor == NULL) {
        return false;
    }
    for (uint32_t r = 0; r < cl->size; r++) {
        if (!start_cta(cl, r, sms[r])) {
            return false;
        }
    }
    return x->haz == NULL || haz_cluster_start(cl);
}

static void out_of_memory(struct exec *x) {
    if (!x->failed) {
        x->failed = true;
        x->status = SIM_ERROR_MEMORY;
        snprintf(x->message, sizeof x->message, "out of host memory");
    }
}

static void fill_sms(struct exec *x) {
    struct sm *sms[MAX_CLUSTER];
    while (!x->failed && x->clusters_next < x->clusters_total && find_sms(x, sms)) {
        if (!start_cluster(x, sms)) {
            out_of_memory(x);
        }
    }
}

static void free_warp(struct exec *x, struct warp *w) {
    if (w->memory != NULL) {
        struct warp_memory *m = (struct warp_memory *)(void *)w->memory;
        m->next = x->pool;
        x->pool = m;
    }
    free(w->bulk);
    wgmma_free_shadow(w);
}

static void free_queue(struct op_queue *q) {
    while (q->head != NULL) {
        struct async_op *o = q->head;
        q->head = o->next;
        free(o);
    }
}

static void free_cluster(struct exec *x, struct cluster *cl) {
    haz_cluster_end(cl);
    for (uint32_t r = 0; r < cl->size; r++) {
        struct cta *c = &cl->cta[r];
        for (uint32_t n = 0; c->warp != NULL && n < c->n_warps; n++) {
            free_warp(x, &c->warp[n]);
        }
        free(c->warp);
        free(c->smem);
        free(c->mbar_index);
        free(c->mbar);
        if (cl->tensor != NULL) {
            free_queue(&cl->tensor[r]);
        }
        for (uint32_t g = 0; g < MAX_WARPS / 4; g++) {
            free_queue(&c->wgmma[g]);
        }
    }
    free_queue(&cl->loose);
    free(cl->tensor);
    free(cl);
}

// Called from inside the last warp: memory goes later, in sweep.
void exec_cta_ended(struct cta *c) {
    struct warp *w = &c->warp[0];
    async_drain_stores(c);
    async_drain_commits(c);
    const struct async_op *o = async_uses(c);
    if (o != NULL) {
        sim_fault_op(o, "CTA %u,%u,%u exits while this operation still uses its memory",
                     c->ctaid[0], c->ctaid[1], c->ctaid[2]);
        return;
    }
    if (c->tmem_cols > 0) {
        sim_fault(w, w->code + w->x->k->n_code - 1,
                  "the CTA exits with %u columns of tensor memory allocated", c->tmem_cols);
        return;
    }
    if (c->x->haz != NULL) {
        haz_cta_exit(c);
    }
    leave_slot(c);
    c->cluster->ctas_alive--;
    c->x->ended |= c->cluster->ctas_alive == 0;
}

static void sweep(struct exec *x) {
    struct cluster *cl = x->live;
    while (cl != NULL) {
        struct cluster *next = cl->next;
        if (cl->ctas_alive == 0) {
            if (cl->prev != NULL) {
                cl->prev->next = next;
            } else {
                x->live = next;
            }
            if (next != NULL) {
                next->prev = cl->prev;
            }
            free_cluster(x, cl);
        }
        cl = next;
    }
    x->ended = false;
    fill_sms(x);
}

bool exec_cancel_next(struct exec *x, uint32_t ctaid[3]) {
    if (x->clusters_next >= x->clusters_total) {
        return false;
    }
    uint32_t id[3];
    cluster_id(x, x->clusters_next, id);
    x->clusters_next += x->clusters_step;
    for (int a = 0; a < 3; a++) {
        ctaid[a] = id[a] * x->config.cluster[a];
    }
    x->stats.canceled++;
    return true;
}

// ---- the loop -----------------------------------------------------------------------------------
static struct warp *next_warp(struct exec *x) {
    struct warp *before = NULL;
    struct warp *w = x->run_head;
    if (x->config.policy == SIM_RANDOM && x->n_runnable > 1) {
        for (uint32_t n = exec_choice(x, x->n_runnable); n > 0; n--) {
            before = w;
            w = w->next_run;
        }
    }
    if (before == NULL) {
        x->run_head = w->next_run;
    } else {
        before->next_run = w->next_run;
    }
    if (x->run_tail == w) {
        x->run_tail = before;
    }
    x->n_runnable--;
    w->queued = false;
    return w;
}

// Warps that poll memory are never idle: once all that can run have had turns enough without one of
// them coming to a wait, a lazy schedule moves on, or nothing ever would.
static bool all_poll(const struct exec *x) {
    return x->config.policy == SIM_LAZY && x->n_async > 0 && x->turns > 2 * x->n_runnable;
}

static void turn(struct exec *x) {
    struct warp *w = next_warp(x);
    warp_run(w);
    x->turns = w->queued ? x->turns + 1 : 0;
}

// A group before it has failed.
static bool overtaken(const struct exec *x) {
    return x->first_failed != NULL && atomic_load(x->first_failed) < x->index;
}

void exec_run(struct exec *x) {
    fill_sms(x);
    while (!x->failed && x->live != NULL && !overtaken(x)) {
        bool idle = x->run_head == NULL;
        bool chance =
            !idle && x->config.policy == SIM_RANDOM && x->n_async > 0 && exec_choice(x, 4) == 3;
        bool poll = all_poll(x);
        if (idle || chance || poll) {
            x->polled = poll || (x->polled && !idle);
            x->turns = 0;
            if (!async_step(x) && idle && !mbar_time_out(x)) {
                report_deadlock(x);
            }
        } else {
            turn(x);
        }
        if (x->haz != NULL && haz_failed(x)) {
            out_of_memory(x);
        }
        if (x->steps > x->max_steps) {
            report_steps(x);
        }
        if (x->ended && !x->failed) {
            sweep(x);
        }
    }
}

void exec_drop(struct exec *x) {
    while (x->live != NULL) {
        struct cluster *cl = x->live;
        x->live = cl->next;
        free_cluster(x, cl);
    }
    while (x->pool != NULL) {
        struct warp_memory *m = x->pool;
        x->pool = m->next;
        free(m);
    }
}

static void clean_up(struct exec *x) {
    exec_drop(x);
    for (uint32_t n = 0; x->sm != NULL && n < x->n_sms; n++) {
        free(x->sm[n].tmem);
    }
    free(x->sm);
    free(x->params);
    if (x->workspace != 0) {
        sim_free(x->sim, x->workspace);
    }
}

// ---- launch -------------------------------------------------------------------------------------
static void default_sizes(const struct sim_kernel *k, sim_launch_config *c) {
    for (int a = 0; a < 3; a++) {
        c->grid[a] = c->grid[a] == 0 ? 1 : c->grid[a];
        c->block[a] = c->block[a] == 0 ? 1 : c->block[a];
        uint32_t need = k->cluster[0] != 0 ? k->cluster[a] : 1;
        c->cluster[a] = c->cluster[a] == 0 ? need : c->cluster[a];
    }
}

static int check_block(struct sim *s, const struct sim_kernel *k, const sim_launch_config *c) {
    uint64_t threads = (uint64_t)c->block[0] * c->block[1] * c->block[2];
    uint64_t most = (uint64_t)k->max_threads[0] * k->max_threads[1] * k->max_threads[2];
    if (threads > 1024) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "%llu threads a CTA, 1024 are possible",
                             (unsigned long long)threads);
    }
    if (k->max_threads[0] != 0 && threads > most) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT,
                             "%llu threads a CTA, kernel '%s' allows %llu (.maxntid)",
                             (unsigned long long)threads, k->name, (unsigned long long)most);
    }
    for (int a = 0; a < 3; a++) {
        if (k->req_threads[0] != 0 && c->block[a] != k->req_threads[a]) {
            return sim_set_error(s, SIM_ERROR_ARGUMENT,
                                 "block size %u, kernel '%s' requires %u (.reqntid)", c->block[a],
                                 k->name, k->req_threads[a]);
        }
    }
    return SIM_OK;
}

static int check_grid(struct sim *s, const struct sim_kernel *k, const sim_launch_config *c) {
    uint64_t size = 1;
    for (int a = 0; a < 3; a++) {
        size = c->cluster[a] > MAX_CLUSTER ? MAX_CLUSTER + 1 : size * c->cluster[a];
        if (k->cluster[0] != 0 && c->cluster[a] != k->cluster[a]) {
            return sim_set_error(s, SIM_ERROR_ARGUMENT, "cluster size %u, kernel '%s' requires %u",
                                 c->cluster[a], k->name, k->cluster[a]);
        }
        if (size <= MAX_CLUSTER && c->grid[a] % c->cluster[a] != 0) {
            return sim_set_error(s, SIM_ERROR_ARGUMENT,
                                 "grid size %u is not a multiple of the cluster size %u",
                                 c->grid[a], c->cluster[a]);
        }
    }
    if (size > MAX_CLUSTER) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "a cluster has at most %d CTAs", MAX_CLUSTER);
    }
    return SIM_OK;
}

static int check_memory(struct sim *s, const struct sim_kernel *k, const struct exec *x) {
    uint32_t most = x->smem_per_sm;
    if (x->config.dynamic_smem > most || x->smem_bytes > most) {
        return sim_set_error(
            s, SIM_ERROR_ARGUMENT,
            "kernel '%s' needs %u bytes of static and %u of dynamic shared memory, a CTA has %u",
            k->name, k->static_smem, x->config.dynamic_smem, most - SMEM_RESERVED);
    }
    if (x->cluster_size > x->n_sms) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "a cluster of %u CTAs does not fit %u SMs",
                             x->cluster_size, x->n_sms);
    }
    return SIM_OK;
}

static int read_params(struct sim *s, const struct sim_kernel *k, struct exec *x) {
    const sim_launch_config *c = &x->config;
    x->params = calloc(1, k->param_bytes + 16);
    if (x->params == NULL) {
        return sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory");
    }
    if (c->params == NULL && c->param_buffer_bytes < k->param_bytes) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT,
                             "kernel '%s' takes %u bytes of parameters, got %zu", k->name,
                             k->param_bytes, c->param_buffer_bytes);
    }
    if (c->params == NULL) {
        if (k->param_bytes > 0) {
            memcpy(x->params, c->param_buffer, k->param_bytes);
        }
        return SIM_OK;
    }
    for (uint32_t n = 0; n < k->n_params; n++) {
        memcpy(x->params + k->params[n].offset, c->params[n], k->params[n].bytes);
    }
    return SIM_OK;
}

static int prepare(struct sim *s, const struct sim_kernel *k, struct exec *x) {
    sim_launch_config *c = &x->config;
    default_sizes(k, c);
    int status = check_block(s, k, c);
    status = status == SIM_OK ? check_grid(s, k, c) : status;
    if (status != SIM_OK) {
        return status;
    }
    x->threads = c->block[0] * c->block[1] * c->block[2];
    x->cluster_size = c->cluster[0] * c->cluster[1] * c->cluster[2];
    x->n_sms = (uint32_t)sim_sm_count(s);
    uint32_t align = k->dynamic_align;
    uint32_t base = (SMEM_RESERVED + k->static_smem + align - 1) & ~(align - 1);
    x->smem_bytes = (base + c->dynamic_smem + 15) & ~15u;
    x->smem_per_sm = s->options.smem_per_sm > 0 ? (uint32_t)s->options.smem_per_sm
                     : k->module->target >= 120 ? 102400
                                                : 233472;
    status = check_memory(s, k, x);
    if (status != SIM_OK) {
        return status;
    }
    x->clusters_total = x->clusters_step = 1;
    for (int a = 0; a < 3; a++) {
        x->n_clusters[a] = c->grid[a] / c->cluster[a];
        x->clusters_total *= x->n_clusters[a];
    }
    for (uint32_t n = 0; n < k->n_sregs; n++) {
        x->stats.order |= k->sregs[n].sreg == SREG_SMID ? SIM_ORDER_PLACE : 0;
    }
    if (k->cooperative) {
        x->workspace = sim_alloc(s, WORKSPACE_BYTES);
        if (x->workspace == 0) {
            return SIM_ERROR_MEMORY;
        }
        sim_fill(s, x->workspace, 0, WORKSPACE_BYTES);
    }
    x->regs = k->max_regs;
    x->max_steps = c->max_steps > 0 ? c->max_steps : 1ull << 40;
    x->random = c->seed;
    x->warp_bytes = warp_bytes(k);
    x->sm = calloc(x->n_sms, sizeof *x->sm);
    if (x->sm == NULL) {
        return sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory");
    }
    for (uint32_t n = 0; n < x->n_sms; n++) {
        x->sm[n].id = n;
        x->sm[n].free_smem = x->smem_per_sm;
        x->sm[n].free_threads = 2048;
        x->sm[n].free_regs = 65536;
    }
    return read_params(s, k, x);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int sim_launch(sim *s, const sim_kernel *k, const sim_launch_config *config) {
    if (k == NULL || config == NULL || k->module->sim != s) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "the kernel is not one of this simulator's");
    }
    struct exec *x = calloc(1, sizeof *x);
    if (x == NULL) {
        return sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory");
    }
    uint64_t start = now_ns();
    x->sim = s;
    x->k = k;
    x->config = *config;
    int status = prepare(s, k, x);
    haz_free_findings(s);
    s->n_printed = s->printed_lost = 0;
    if (status == SIM_OK && s->options.hazards != SIM_HAZARDS_OFF && !haz_begin(x)) {
        status = sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory");
    }
    if (status == SIM_OK) {
        if (!groups_apply(x)) {
            exec_run(x);
        } else if (!groups_run(x)) {
            out_of_memory(x);
        }
        if (x->failed) {
            status = sim_set_error(s, x->status, "%s", x->message);
        }
    }
    x->stats.warp_instructions = x->steps;
    x->stats.ns = now_ns() - start;
    s->stats = x->stats;
    clean_up(x);
    haz_end(x);
    free(x);
    return status;
}
