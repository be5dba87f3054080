// tcgen05: allocation of tensor memory, issue and execution of mma, cp, shift and commit, loads and
// stores. PTX ISA "TensorCore 5th Generation Family Instructions".
#include "async.h"
#include "haz.h"
#include "ptx.h"
#include "sync.h"
#include <stdlib.h>

#define UNIT_COLS 32 // columns are given out in multiples of this

// ---- allocation ---------------------------------------------------------------------------------
bool tmem_owned(const struct cta *c, uint32_t column, uint32_t n) {
    if (n == 0 || column + n > UNIT_TMEM_COLS) {
        return false;
    }
    for (uint32_t b = column / UNIT_COLS; b <= (column + n - 1) / UNIT_COLS; b++) {
        if (c->sm->owner[b] != c->slot + 1) {
            return false;
        }
    }
    return true;
}

static bool is_free(const struct sm *s, uint32_t block, uint32_t blocks) {
    for (uint32_t b = 0; b < blocks; b++) {
        if (s->owner[block + b] != 0) {
            return false;
        }
    }
    return true;
}

// The lowest free range that both SMs have; -1 when there is none.
static int find_columns(const struct sm *s, const struct sm *other, uint32_t columns) {
    uint32_t blocks = columns / UNIT_COLS;
    for (uint32_t b = 0; b + blocks <= UNIT_TMEM_COLS / UNIT_COLS; b++) {
        if (is_free(s, b, blocks) && (other == NULL || is_free(other, b, blocks))) {
            return (int)(b * UNIT_COLS);
        }
    }
    return -1;
}

static bool give_columns(struct cta *c, uint32_t column, uint32_t n) {
    struct sm *s = c->sm;
    if (s->tmem == NULL) {
        s->tmem = malloc(sizeof(u32[UNIT_TMEM_COLS][UNIT_TMEM_LANES]));
        if (s->tmem == NULL) {
            return false;
        }
    }
    c->unit.tmem = (uint32_t(*)[UNIT_TMEM_LANES])s->tmem;
    memset(s->tmem[column], 0xFF, n * sizeof s->tmem[0]); // undefined after alloc: NaN
    for (uint32_t b = column / UNIT_COLS; b < (column + n) / UNIT_COLS; b++) {
        s->owner[b] = (uint8_t)(c->slot + 1);
    }
    c->tmem_cols += n;
    if (c->x->haz != NULL) {
        haz_columns(c, column, n);
    }
    return true;
}

// a: shared address of the word that gets the column, b: columns, flag: cta_group
const struct uop *run_tmem_alloc(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    struct cta *c = w->cta;
    int lane = first_lane(m);
    uint32_t n = value_32(w, u->b, lane);
    uint8_t *to = sim_smem_at(w, u, sim_shared_address(w, u->a, u->imm, lane), 4);
    if (to == NULL) {
        return STOP;
    }
    if (n < 32 || n > 512 || (n & (n - 1)) != 0) {
        return sim_fault(w, u, "%u columns: a power of two from 32 to 512 is possible", n);
    }
    if (c->relinquished) {
        return sim_fault(w, u, "the CTA has given up its permit to allocate");
    }
    if (u->flag == 2 && (c->rank ^ 1) >= c->cluster->size) {
        return sim_fault(w, u, ".cta_group::2 in a cluster of %u CTAs", c->cluster->size);
    }
    struct cta *peer = u->flag == 2 ? &c->cluster->cta[c->rank ^ 1] : NULL;
    struct pair_alloc *pair = &c->cluster->pair[c->rank / 2];
    uint32_t column;
    if (peer != NULL && pair->waiting && pair->by != c->rank) { // the peer has reserved for both
        if (pair->columns != n) {
            return sim_fault(w, u, "%u columns, the other CTA of the pair allocated %u", n,
                             pair->columns);
        }
        pair->waiting = false;
        column = pair->column;
    } else {
        int found = find_columns(c->sm, peer != NULL ? peer->sm : NULL, n);
        if (found < 0 || (peer != NULL && pair->waiting)) {
            return warp_park(w, u, (struct split){.state = SPLIT_TMEM_ALLOC, .value = n});
        }
        column = (uint32_t)found;
        bool ok = give_columns(c, column, n) && (peer == NULL || give_columns(peer, column, n));
        if (!ok) {
            return sim_fault(w, u, "out of host memory");
        }
        if (peer != NULL) {
            *pair = (struct pair_alloc){true, c->rank, column, n};
        }
    }
    memcpy(to, &column, 4);
    if (peer != NULL) {
        sim_wake_cta(peer, SPLIT_TMEM_ALLOC, 0);
    }
    return u + 1;
}

static void wake_allocators(struct exec *x) {
    for (struct cluster *cl = x->live; cl != NULL; cl = cl->next) {
        for (uint32_t r = 0; r < cl->size; r++) {
            sim_wake_cta(&cl->cta[r], SPLIT_TMEM_ALLOC, 0);
        }
    }
}

// a: address, b: columns
const struct uop *run_tmem_dealloc(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    struct cta *c = w->cta;
    uint32_t column = value_32(w, u->a, first_lane(m)) + (uint32_t)u->imm;
    uint32_t n = value_32(w, u->b, first_lane(m));
    if (column % UNIT_COLS != 0 || n % UNIT_COLS != 0 || !tmem_owned(c, column, n)) {
        return sim_fault(w, u, "%u columns from column %u on were not allocated by this CTA", n,
                         column);
    }
    for (uint32_t b = column / UNIT_COLS; b < (column + n) / UNIT_COLS; b++) {
        c->sm->owner[b] = 0;
    }
    c->tmem_cols -= n;
    wake_allocators(w->x);
    return u + 1;
}

const struct uop *run_tmem_relinquish(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    w->cta->relinquished = true;
    return u + 1;
}

// ---- issue --------------------------------------------------------------------------------------
static void fill_mma(const struct warp *w, struct async_op *op, const struct tensor_aux *x, int l) {
    op->mma = x->mma;
    op->mma.d = value_32(w, x->d, l) + (uint32_t)x->d_off;
    op->mma.a = x->mma.a_in_tmem ? value_32(w, x->a, l) + (uint32_t)x->a_off
                                 : ((const u64 *)row(w, x->a))[l];
    op->mma.b = ((const u64 *)row(w, x->b))[l];
    op->mma.idesc = value_32(w, x->idesc, l);
    uint32_t p = w->p[x->pred] ^ (0u - x->pred_negated);
    op->mma.enable_d = (p >> l & 1) != 0;
    if (x->mma.form.block != 0) {
        op->mma.sfa = value_32(w, x->sfa, l) + (uint32_t)x->sfa_off;
        op->mma.sfb = value_32(w, x->sfb, l) + (uint32_t)x->sfb_off;
    }
    if (x->mma.form.sparse) {
        op->mma.meta = value_32(w, x->meta, l) + (uint32_t)x->meta_off;
    }
    for (int n = 0; n < x->n_disable; n++) {
        op->disable[n] = value_32(w, x->disable[n], l); // set: the lane keeps what it has
    }
}

const struct uop *run_tensor(struct warp *w, const struct uop *u) {
    const struct tensor_aux *x = u->aux;
    struct cta *c = w->cta;
    uint32_t m = exec_mask(w, u);
    if (m != 0 && x->group == 2 && (c->rank ^ 1) >= c->cluster->size) {
        return sim_fault(w, u, ".cta_group::2 in a cluster of %u CTAs", c->cluster->size);
    }
    FOR_LANES(l, m) {
        struct async_op op = {.kind = x->kind, .u = u, .warp = w, .cta = c};
        op.lane = x->group == 2 ? c->rank & ~1u : c->rank; // the pipe
        op.group = (uint32_t)x->group;
        if (x->kind == ASYNC_MMA) {
            fill_mma(w, &op, x, l);
            op.bytes = (uint32_t)x->n_disable;
        } else if (x->kind == ASYNC_COMMIT) {
            op.mbar = sim_shared_address(w, x->mbar, x->mbar_off, l);
            op.mask = x->multicast ? (uint16_t)value_32(w, x->mask, l) : 0;
        } else {
            op.cp = x->cp;
            op.cp.taddr = value_32(w, x->d, l) + (uint32_t)x->d_off;
            op.cp.desc = x->kind == ASYNC_UTCCP ? ((const u64 *)row(w, x->a))[l] : 0;
        }
        if (!async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

// ---- execution ----------------------------------------------------------------------------------
static bool owned(const struct async_op *op, const struct cta *c, uint32_t taddr, uint32_t n,
                  const char *what) {
    uint32_t column = taddr & 0xFFFF;
    if (tmem_owned(c, column, n)) {
        return true;
    }
    sim_fault_op(op, "%s: tensor memory columns %u to %u are not allocated by CTA %u", what, column,
                 column + n - 1, c->rank);
    return false;
}

static bool perform_mma(const struct async_op *op) {
    struct cluster *cl = op->cta->cluster;
    bool two = op->mma.form.cta_group == 2;
    struct cta *c0 = two ? &cl->cta[op->cta->rank & ~1u] : op->cta;
    struct cta *c1 = two ? &cl->cta[op->cta->rank | 1u] : NULL;
    if (two && (c0->warps_alive == 0 || c1->warps_alive == 0)) {
        sim_fault_op(op, "the other CTA of the pair has exited");
        return false;
    }
    struct unit_mma mma = op->mma;
    mma.disable_lanes = op->bytes > 0 ? op->disable : NULL;
    struct unit_idesc id;
    enum unit_status s = unit_idesc_decode(&id, &mma.form, mma.idesc);
    const struct unit_cta *cta[2] = {&c0->unit, c1 == NULL ? NULL : &c1->unit};
    if (s == UNIT_OK) {
        uint32_t sf = (uint32_t)(id.n + 31) / 32;
        bool ok = owned(op, c0, mma.d, (uint32_t)id.n, "D") &&
                  (!two || owned(op, c1, mma.d, (uint32_t)id.n, "D"));
        if (ok && mma.form.block != 0) {
            ok = owned(op, c0, mma.sfa & 0x3FFFFFFF, 1, "scales of A") &&
                 owned(op, c0, mma.sfb & 0x3FFFFFFF, sf, "scales of B");
        }
        if (ok && mma.form.sparse) {
            uint32_t n = (uint32_t)unit_meta_cols(&id);
            ok = owned(op, c0, mma.meta, n, "metadata") && (!two || owned(op, c1, mma.meta, n, "metadata"));
        }
        if (!ok) {
            return false;
        }
        s = unit_mma(&mma, cta);
    }
    if (s != UNIT_OK) {
        sim_fault_op(op, "%s (instruction descriptor 0x%08x, A 0x%016llx, B 0x%016llx, D 0x%x)",
                     unit_reason(s), mma.idesc, (unsigned long long)mma.a,
                     (unsigned long long)mma.b, mma.d);
        return false;
    }
    op->cta->x->stats.macs += (uint64_t)id.m * (uint64_t)id.n * (uint64_t)id.k;
    return true;
}

static bool perform_cp(const struct async_op *op) {
    struct cluster *cl = op->cta->cluster;
    uint32_t first = op->group == 2 ? op->cta->rank & ~1u : op->cta->rank;
    for (uint32_t r = first; r < first + op->group; r++) {
        struct cta *c = &cl->cta[r];
        if (c->unit.tmem == NULL || !tmem_owned(c, op->cp.taddr & 0xFFFF, 1)) {
            sim_fault_op(op, "tensor memory column %u is not allocated by CTA %u",
                         op->cp.taddr & 0xFFFF, r);
            return false;
        }
        enum unit_status s = op->kind == ASYNC_UTCCP ? unit_cp(&op->cp, &c->unit)
                                                     : unit_tmem_shift(op->cp.taddr, &c->unit);
        if (s != UNIT_OK) {
            sim_fault_op(op, "%s (tensor memory 0x%x, descriptor 0x%016llx)", unit_reason(s),
                         op->cp.taddr, (unsigned long long)op->cp.desc);
            return false;
        }
    }
    return true;
}

static bool perform_commit(const struct async_op *op) {
    if (op->mask == 0) {
        return mbar_arrive_op(op, op->mbar, 1);
    }
    for (uint32_t r = 0; r < MAX_CLUSTER; r++) {
        bool to = (op->mask >> r & 1) != 0;
        if (to && !mbar_arrive_op(op, (op->mbar & OFFSET_MASK) | r << RANK_SHIFT, 1)) {
            return false;
        }
    }
    return true;
}

bool tensor_perform(const struct async_op *op) {
    switch (op->kind) {
    case ASYNC_MMA:
        return perform_mma(op);
    case ASYNC_COMMIT:
        return perform_commit(op);
    default:
        return perform_cp(op);
    }
}

// ---- loads and stores ---------------------------------------------------------------------------
// The whole warp passes one address; its lanes are those of the warp's quarter.
static bool ldst_prepare(struct warp *w, const struct uop *u, struct unit_ldst *op, uint32_t m) {
    const struct ldst_aux *x = u->aux;
    *op = x->op;
    const u32 *a = row(w, u->a);
    int first = first_lane(m);
    FOR_LANES(l, m) {
        if (a[l] != a[first]) {
            sim_fault(w, u, "the lanes of the warp give different tensor memory addresses");
            return false;
        }
    }
    op->taddr = a[first] + (uint32_t)u->imm;
    op->warp = (int)w->index;
    uint32_t columns = (uint32_t)unit_ldst_cols(op);
    if (!tmem_owned(w->cta, op->taddr & 0xFFFF, columns)) {
        sim_fault(w, u, "tensor memory columns %u to %u are not allocated by this CTA",
                  op->taddr & 0xFFFF, (op->taddr & 0xFFFF) + columns - 1);
        return false;
    }
    return true;
}

static const struct uop *ldst(struct warp *w, const struct uop *u, bool load) {
    const struct ldst_aux *x = u->aux;
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t m = exec_mask(w, u);
    struct unit_ldst op;
    uint32_t *rows[128];
    if (m == 0) {
        return u + 1;
    }
    if (m != FULL) {
        return sim_fault(w, u, "needs all 32 lanes of the warp, 0x%08x execute it", m);
    }
    if (!ldst_prepare(w, u, &op, m)) {
        return STOP;
    }
    int n = unit_ldst_regs(&op);
    for (int r = 0; r < n; r++) {
        rows[r] = row(w, x->row[r]);
    }
    enum unit_status s = load ? unit_tmem_ld(&op, &w->cta->unit, rows)
                              : unit_tmem_st(&op, &w->cta->unit, (const uint32_t *const *)rows);
    if (s != UNIT_OK) {
        return sim_fault(w, u, "%s (address 0x%x, warp %u)", unit_reason(s), op.taddr, w->index);
    }
    return u + 1;
}

const struct uop *run_tmem_ld(struct warp *w, const struct uop *u) {
    return ldst(w, u, true);
}

const struct uop *run_tmem_st(struct warp *w, const struct uop *u) {
    return ldst(w, u, false);
}

// Loads and stores of tensor memory take effect at once; the wait only needs the warp together.
const struct uop *run_tmem_wait(struct warp *w, const struct uop *u) {
    return warp_converge(w, u, FULL) ? u + 1 : STOP;
}
