// wgmma of warpgroups. The four warps of a group issue one by one; an operation may begin when all
// have. Until it is performed its accumulator registers hold poison, their values wait in a shadow.
// PTX ISA "wgmma.wait_group" leaves open what reads them before the wait; ptxas puts in a wait of its
// own (its messages C7514, C7517) or gives a copy the same register, so such a read waits here.
#include "async.h"
#include "exec.h"
#include "sync.h"
#include <stdlib.h>

#define ALL_JOINED 15u
#define NO_SLOT 0

// Accumulators of one warp that operations in flight own.
struct reg_shadow {
    uint16_t *slot_of; // [rows of the kernel], NO_SLOT: the register holds its value
    uint32_t *users;   // [slots] operations in flight on it
    uint32_t (*data)[LANES];
    uint16_t *spare;
    uint32_t n_spare, n_slots;
};

void wgmma_free_shadow(struct warp *w) {
    if (w->shadow != NULL) {
        free(w->shadow->slot_of);
        free(w->shadow->users);
        free(w->shadow->data);
        free(w->shadow->spare);
        free(w->shadow);
        w->shadow = NULL;
    }
}

static bool make_shadow(struct warp *w) {
    if (w->shadow != NULL) {
        return true;
    }
    struct reg_shadow *s = calloc(1, sizeof *s);
    w->shadow = s;
    if (s != NULL) {
        s->slot_of = calloc(w->x->k->n_rows, sizeof *s->slot_of);
    }
    return s != NULL && s->slot_of != NULL;
}

static bool more_slots(struct reg_shadow *s) {
    uint32_t n = s->n_slots == 0 ? 256 : 2 * s->n_slots;
    if (n > UINT16_MAX) {
        return false;
    }
    uint32_t *users = realloc(s->users, n * sizeof *users);
    s->users = users != NULL ? users : s->users;
    uint32_t(*data)[LANES] = realloc(s->data, n * sizeof *data);
    s->data = data != NULL ? data : s->data;
    uint16_t *spare = realloc(s->spare, n * sizeof *spare);
    s->spare = spare != NULL ? spare : s->spare;
    if (users == NULL || data == NULL || spare == NULL) {
        return false;
    }
    for (uint32_t k = n; k > (s->n_slots == 0 ? 1 : s->n_slots); k--) { // slot 0 is none
        s->spare[s->n_spare++] = (uint16_t)(k - 1);
    }
    s->n_slots = n;
    return true;
}

// The registers of D become poison until the operation is performed.
static bool shadow_take(struct warp *w, const struct wgmma_aux *x) {
    if (!make_shadow(w)) {
        return false;
    }
    struct reg_shadow *s = w->shadow;
    int n = unit_wgmma_regs(&x->op);
    for (int r = 0; r < n; r++) {
        uint16_t *slot = &s->slot_of[x->d[r]];
        if (*slot == NO_SLOT) {
            if (s->n_spare == 0 && !more_slots(s)) {
                return false;
            }
            *slot = s->spare[--s->n_spare];
            s->users[*slot] = 0;
            memcpy(s->data[*slot], row(w, x->d[r]), ROW_BYTES);
            memset(row(w, x->d[r]), 0xFF, ROW_BYTES);
        }
        s->users[*slot]++;
    }
    return true;
}

static void shadow_give(struct warp *w, const struct wgmma_aux *x) {
    struct reg_shadow *s = w->shadow;
    int n = unit_wgmma_regs(&x->op);
    for (int r = 0; r < n; r++) {
        uint16_t *slot = &s->slot_of[x->d[r]];
        if (--s->users[*slot] == 0) {
            memcpy(row(w, x->d[r]), s->data[*slot], ROW_BYTES);
            s->spare[s->n_spare++] = *slot;
            *slot = NO_SLOT;
        }
    }
}

// ---- issue --------------------------------------------------------------------------------------
static bool uniform_64(struct warp *w, const struct uop *u, uint32_t r, uint64_t *value) {
    const u64 *v = row(w, r);
    *value = v[0];
    for (int l = 1; l < LANES; l++) {
        if (v[l] != v[0]) {
            sim_fault(w, u, "the lanes of the warp give different matrix descriptors");
            return false;
        }
    }
    return true;
}

static bool read_issue(struct warp *w, const struct uop *u, struct wgmma_issue *out) {
    const struct wgmma_aux *x = u->aux;
    *out = (struct wgmma_issue){.a = 0};
    if (!uniform_64(w, u, x->bdesc, &out->b) ||
        (!x->op.a_in_regs && !uniform_64(w, u, x->adesc, &out->a))) {
        return false;
    }
    uint32_t p = w->p[x->pred] ^ (0u - x->pred_negated);
    if (p != 0 && p != FULL) {
        sim_fault(w, u, "the lanes of the warp give different values of scale-d");
        return false;
    }
    out->scale_d = p != 0;
    return true;
}

// The metadata of a sparse A, a row of lanes a warp, lies behind the operation.
static uint32_t *metadata_of(const struct async_op *o, uint32_t warp) {
    return (uint32_t *)(o + 1) + warp * LANES;
}

// The oldest operation of the warpgroup that this warp has not issued; a new one when it is first.
static struct async_op *find_or_add(struct warp *w, const struct uop *u,
                                    const struct wgmma_issue *in) {
    struct op_queue *q = &w->cta->wgmma[w->index / 4];
    for (struct async_op *o = q->head; o != NULL; o = o->next) {
        if ((o->wg.joined >> w->index % 4 & 1) == 0) {
            if (o->u != u || o->wg.a != in->a || o->wg.b != in->b || o->wg.scale_d != in->scale_d) {
                sim_fault(w, u,
                          "warps of one warpgroup differ in their wgmma: warp %u issued that of "
                          "line %u with descriptors 0x%llx, 0x%llx",
                          o->warp->index, o->u->line, (unsigned long long)o->wg.a,
                          (unsigned long long)o->wg.b);
                return NULL;
            }
            return o;
        }
    }
    bool sparse = ((const struct wgmma_aux *)u->aux)->op.sparse;
    struct async_op *o = calloc(1, sizeof *o + (sparse ? 4 * ROW_BYTES : 0));
    if (o == NULL) {
        sim_fault(w, u, "out of host memory");
        return NULL;
    }
    *o = (struct async_op){
        .kind = ASYNC_WGMMA, .u = u, .warp = w, .cta = w->cta, .smem = w->cta->rank << RANK_SHIFT};
    o->seq = w->x->n_pending_seq++;
    o->wg = *in;
    async_push(q, o);
    w->x->n_async++;
    return o;
}

bool wgmma_completes(const struct warp *w) {
    uint32_t bit = 1u << w->index % 4;
    const struct async_op *o = w->cta->wgmma[w->index / 4].head;
    while (o != NULL && (o->wg.joined & bit) != 0) {
        o = o->next;
    }
    return o != NULL && (o->wg.joined | bit) == ALL_JOINED;
}

bool wgmma_ready(const struct async_op *op) {
    return op->wg.joined == ALL_JOINED;
}

const struct uop *run_wgmma(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    if (!warp_whole(w, u)) {
        return STOP;
    }
    if ((w->index | 3) >= w->cta->n_warps) {
        return sim_fault(w, u, "wgmma needs a warpgroup of four warps, the CTA has %u warps",
                         w->cta->n_warps);
    }
    struct wgmma_issue in;
    struct async_op *o = read_issue(w, u, &in) ? find_or_add(w, u, &in) : NULL;
    if (o == NULL) {
        return STOP;
    }
    uint32_t at = w->index % 4;
    o->wg.joined |= (uint8_t)(1u << at);
    o->wg.warp[at] = w;
    o->wg.group[at] = w->wgmma_committed;
    const struct wgmma_aux *aux = u->aux;
    if (aux->op.sparse) { // read as it is issued: unlike D and A no wait guards it
        memcpy(metadata_of(o, at), row(w, aux->meta), ROW_BYTES);
    }
    struct exec *x = w->x;
    if (x->config.policy != SIM_EAGER) {
        return shadow_take(w, u->aux) ? u + 1 : sim_fault(w, u, "out of host memory");
    }
    if (!wgmma_ready(o)) {
        return u + 1;
    }
    struct op_queue *q = &w->cta->wgmma[w->index / 4]; // in order: the last to be issued is first
    q->head = o->next;
    q->tail = q->head == NULL ? NULL : q->tail;
    x->n_async--;
    bool ok = wgmma_perform(o);
    free(o);
    return ok ? u + 1 : STOP;
}

const struct uop *run_wgmma_commit(struct warp *w, const struct uop *u) {
    w->wgmma_committed += exec_mask(w, u) != 0;
    return u + 1;
}

// imm: groups that may stay
const struct uop *run_wgmma_wait(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    if (!warp_whole(w, u)) { // .aligned, also when there is nothing to wait for
        return STOP;
    }
    uint64_t stay = (uint64_t)u->imm;
    uint32_t done = w->wgmma_committed > stay ? w->wgmma_committed - (uint32_t)stay : 0;
    uint32_t at = w->index % 4;
    for (const struct async_op *o = w->cta->wgmma[w->index / 4].head; o != NULL; o = o->next) {
        if ((o->wg.joined >> at & 1) != 0 && o->wg.group[at] < done) {
            return warp_park(w, u, (struct split){.state = SPLIT_WGMMA, .value = (uint32_t)stay});
        }
    }
    return u + 1;
}

// ---- reads before the wait ----------------------------------------------------------------------
static bool add_under(struct sim_kernel *k) {
    if (k->under == NULL) {
        k->under = sim_arena_alloc(&k->module->arena, k->n_code * sizeof(uop_fn *));
    }
    return k->under != NULL;
}

bool wgmma_find_reads(struct sim_kernel *k) {
    uint8_t *owned = NULL; // rows that are accumulators
    for (uint32_t n = 0; n < k->n_code; n++) {
        const struct wgmma_aux *x = k->code[n].aux;
        int count = k->code[n].fn == run_wgmma ? unit_wgmma_regs(&x->op) : 0;
        owned = owned == NULL && count > 0 ? calloc(k->n_rows + 1, sizeof *owned) : owned;
        if (count > 0 && (owned == NULL || !add_under(k))) {
            free(owned);
            return false;
        }
        for (int r = 0; r < count; r++) {
            owned[x->d[r]] = 1;
        }
    }
    for (uint32_t i = 0; owned != NULL && i < k->n_uses; i++) {
        const struct kernel_use *u = &k->uses[i];
        struct uop *at = &k->code[u->uop];
        if (!u->write && !u->pred && owned[u->row] && at->fn != run_wgmma &&
            at->fn != run_wgmma_read) {
            k->under[u->uop] = at->fn;
            at->fn = run_wgmma_read;
        }
    }
    free(owned);
    return true;
}

uint32_t sim_first_use(const struct sim_kernel *k, uint32_t uop) {
    uint32_t low = 0;
    for (uint32_t high = k->n_uses; low < high;) {
        uint32_t half = low + (high - low) / 2;
        if (k->uses[half].uop < uop) {
            low = half + 1;
        } else {
            high = half;
        }
    }
    return low;
}

static bool reads(const struct sim_kernel *k, uint32_t uop, const struct wgmma_aux *x) {
    int n = unit_wgmma_regs(&x->op);
    for (uint32_t i = sim_first_use(k, uop); i < k->n_uses && k->uses[i].uop == uop; i++) {
        const struct kernel_use *u = &k->uses[i];
        for (int r = 0; r < n && !u->write && !u->pred; r++) {
            if (x->d[r] == u->row) {
                return true;
            }
        }
    }
    return false;
}

// The operation in flight that owns a register which this instruction reads.
const struct async_op *wgmma_owner(const struct warp *w, const struct uop *u) {
    for (const struct async_op *o = w->cta->wgmma[w->index / 4].head; o != NULL; o = o->next) {
        if ((o->wg.joined >> w->index % 4 & 1) != 0 &&
            reads(w->x->k, (uint32_t)(u - w->code), o->u->aux)) {
            return o;
        }
    }
    return NULL;
}

const struct uop *run_wgmma_read(struct warp *w, const struct uop *u) {
    if (w->cta->wgmma[w->index / 4].head != NULL && exec_mask(w, u) != 0 &&
        wgmma_owner(w, u) != NULL) {
        return warp_park(w, u, (struct split){.state = SPLIT_WGMMA});
    }
    return w->x->k->under[u - w->code](w, u);
}

// ---- execution ----------------------------------------------------------------------------------
static uint32_t *accumulator(const struct warp *w, uint32_t r) {
    const struct reg_shadow *s = w->shadow;
    return s == NULL || s->slot_of[r] == NO_SLOT ? row(w, r) : s->data[s->slot_of[r]];
}

bool wgmma_perform(const struct async_op *op) {
    const struct wgmma_aux *x = op->u->aux;
    int n = unit_wgmma_regs(&x->op);
    uint32_t *d[4 * 128];
    const uint32_t *a[16] = {NULL};
    const uint32_t *meta[4] = {NULL};
    for (int k = 0; k < 4; k++) {
        const struct warp *w = op->wg.warp[k];
        for (int r = 0; r < n; r++) {
            d[k * n + r] = accumulator(w, x->d[r]);
        }
        for (int r = 0; r < 4 && x->op.a_in_regs; r++) {
            a[4 * k + r] = accumulator(w, x->a[r]);
        }
        meta[k] = x->op.sparse ? metadata_of(op, (uint32_t)k) : NULL;
    }
    struct unit_wgmma form = x->op;
    form.adesc = op->wg.a;
    form.bdesc = op->wg.b;
    form.scale_d = op->wg.scale_d;
    struct unit_wgmma_regs regs = {d, a, meta};
    enum unit_status s = unit_wgmma(&form, &op->cta->unit, &regs);
    if (s != UNIT_OK) {
        sim_fault_op(op, "%s (descriptors 0x%016llx, 0x%016llx)", unit_reason(s),
                     (unsigned long long)op->wg.a, (unsigned long long)op->wg.b);
        return false;
    }
    struct exec *e = op->cta->x;
    e->stats.macs += (uint64_t)(64 * x->op.n) * (uint64_t)(256 / num_bits_of(x->op.a));
    for (int k = 0; k < 4; k++) {
        struct warp *w = op->wg.warp[k];
        if (e->config.policy != SIM_EAGER) {
            shadow_give(w, x);
        }
        for (int n_split = 0; n_split < w->n_splits; n_split++) {
            if (w->split[n_split].state == SPLIT_WGMMA) {
                warp_wake(w, &w->split[n_split]);
            }
        }
    }
    return true;
}
