// Issue of copies: TMA, bulk, cp.async, their groups, cluster launch control, tensormap.replace.
// PTX ISA "cp.async", "cp.async.bulk", "cp.async.bulk.tensor", "clusterlaunchcontrol", "tensormap".
#include "async.h"
#include "ptx.h"
#include "sync.h"
#include <stdlib.h>

static uint64_t value_64(const struct warp *w, uint32_t r, int64_t offset, int lane) {
    uint64_t a = (r & ADDRESS_32) != 0 ? ((const u32 *)row(w, r & ~ADDRESS_32))[lane]
                                       : ((const u64 *)row(w, r))[lane];
    return a + (uint64_t)offset;
}

static bool groups_of(struct warp *w) {
    if (w->bulk == NULL) {
        w->bulk = calloc(LANES, sizeof *w->bulk);
    }
    return w->bulk != NULL;
}

static bool is_load(enum op_kind k) {
    return k == ASYNC_BULK_LOAD || k == ASYNC_TMA_LOAD || k == ASYNC_BULK_DSMEM ||
           k == ASYNC_RED_DSMEM;
}

static bool set_signal(struct warp *w, const struct uop *u, struct async_op *op,
                       const struct copy_aux *x, int lane) {
    op->mbar = sim_shared_address(w, x->mbar, x->mbar_off, lane);
    op->pair_signal = x->pair;
    op->mask = x->multicast ? (uint16_t)value_32(w, x->mask, lane) : 0;
    uint32_t to = op->smem >> RANK_SHIFT;
    uint32_t at = op->mbar >> RANK_SHIFT;
    uint32_t size = w->cta->cluster->size;
    if (x->multicast && (op->mask == 0 || op->mask >> size != 0)) {
        sim_fault(w, u, "multicast mask 0x%x of a cluster of %u CTAs", op->mask, size);
        return false;
    }
    if (!x->multicast && !x->pair && to != at) {
        sim_fault(w, u,
                  "the copy goes to CTA %u, its mbarrier is CTA %u's: that needs .cta_group::2", to,
                  at);
        return false;
    }
    return true;
}

static bool fill_plain(struct warp *w, const struct uop *u, struct async_op *op,
                       const struct copy_aux *x, int lane) {
    op->bytes = value_32(w, x->size, lane);
    bool dsmem = x->kind == ASYNC_BULK_DSMEM || x->kind == ASYNC_RED_DSMEM;
    op->global = dsmem ? 0 : value_64(w, x->global, x->global_off, lane);
    if (dsmem) {
        op->smem2 = sim_shared_address(w, x->remote, x->remote_off, lane);
    }
    op->dtype = x->dtype;
    if ((op->smem | op->smem2 | op->bytes | (uint32_t)op->global) & 15) {
        sim_fault(
            w, u,
            "a bulk copy of %u bytes, shared address 0x%x, global address 0x%llx: all must be "
            "multiples of 16",
            op->bytes, op->smem, (unsigned long long)op->global);
        return false;
    }
    return true;
}

static bool fill_tensor(struct warp *w, const struct uop *u, struct async_op *op,
                        const struct copy_aux *x, int lane) {
    op->global = value_64(w, x->map, x->map_off, lane);
    op->bytes = (uint32_t)x->rank;
    op->dtype = (int)x->mode;
    for (int n = 0; n < x->n_coord; n++) {
        op->coord[n] = (int32_t)value_32(w, x->coord[n], lane);
    }
    if ((op->smem & 127) != 0) {
        sim_fault(w, u, "shared address 0x%x of a tensor copy is not aligned to 128 bytes",
                  op->smem);
        return false;
    }
    return true;
}

// The lanes from 'lane' on that issue the same tensor store. CUTLASS lets a whole warp store a tile; ptxas makes one
// UTMASTG of it, with no loop over the lanes as it puts around loads and reductions, and the bytes are the same.
static uint32_t same_store(struct warp *w, const struct uop *u, int lane) {
    const struct copy_aux *x = u->aux;
    uint32_t lanes = 0;
    FOR_LANES(l, exec_mask(w, u) & ~0u << lane) {
        bool same = sim_shared_address(w, x->smem, x->smem_off, l) ==
                        sim_shared_address(w, x->smem, x->smem_off, lane) &&
                    value_64(w, x->map, x->map_off, l) == value_64(w, x->map, x->map_off, lane);
        for (int n = 0; n < x->n_coord; n++) {
            same &= value_32(w, x->coord[n], l) == value_32(w, x->coord[n], lane);
        }
        lanes |= (uint32_t)same << l;
    }
    return lanes;
}

// The group of a store that several lanes issue has one number: lanes that have committed fewer groups than others
// (one alone stored something before) get empty groups, which are done.
static uint32_t common_group(struct warp *w, uint32_t lanes) {
    uint32_t most = 0;
    FOR_LANES(l, lanes) {
        most = w->bulk[l] > most ? w->bulk[l] : most;
    }
    FOR_LANES(l, lanes) {
        w->bulk[l] = most;
    }
    return most;
}

const struct uop *run_copy(struct warp *w, const struct uop *u) {
    const struct copy_aux *x = u->aux;
    bool tensor =
        x->kind == ASYNC_TMA_LOAD || x->kind == ASYNC_TMA_STORE || x->kind == ASYNC_TMA_REDUCE;
    uint32_t stored = 0; // lanes
    FOR_LANES(l, exec_mask(w, u)) {
        struct async_op op = {
            .kind = x->kind, .u = u, .warp = w, .cta = w->cta, .lane = (uint32_t)l};
        if ((stored >> l & 1) != 0) {
            continue;
        }
        op.lanes = x->kind == ASYNC_TMA_STORE ? same_store(w, u, l) : 1u << l;
        stored |= op.lanes;
        op.smem = sim_shared_address(w, x->smem, x->smem_off, l);
        op.red = x->red;
        bool ok = tensor ? fill_tensor(w, u, &op, x, l) : fill_plain(w, u, &op, x, l);
        if (ok && is_load(x->kind)) {
            ok = set_signal(w, u, &op, x, l);
        } else if (ok) {
            if (!groups_of(w)) {
                return sim_fault(w, u, "out of host memory");
            }
            op.group = common_group(w, op.lanes);
        }
        if (!ok || !async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

const struct uop *run_bulk_commit(struct warp *w, const struct uop *u) {
    if (!groups_of(w)) {
        return sim_fault(w, u, "out of host memory");
    }
    FOR_LANES(l, exec_mask(w, u)) {
        w->bulk[l]++;
    }
    return u + 1;
}

uint32_t bulk_groups_over(const struct warp *w, const struct uop *u, int lane) {
    uint32_t committed = w->bulk[lane];
    return committed - (committed < (uint32_t)u->imm ? committed : (uint32_t)u->imm);
}

// imm: groups that may stay
const struct uop *run_bulk_wait(struct warp *w, const struct uop *u) {
    if (w->bulk == NULL || w->x->n_async == 0) {
        return u + 1;
    }
    FOR_LANES(l, exec_mask(w, u)) {
        if (async_pending_bulk(w, (uint32_t)l, bulk_groups_over(w, u, l)) > 0) {
            return warp_park(w, u, (struct split){.state = SPLIT_BULK, .value = (uint32_t)u->imm});
        }
    }
    return u + 1;
}

// ---- cp.async -----------------------------------------------------------------------------------
const struct uop *run_cp_async(struct warp *w, const struct uop *u) {
    const struct copy_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        struct async_op op = {
            .kind = ASYNC_CP, .u = u, .warp = w, .cta = w->cta, .lane = (uint32_t)l};
        op.smem = sim_shared_address(w, x->smem, x->smem_off, l);
        op.global = value_64(w, x->global, x->global_off, l);
        op.bytes = x->cp_bytes;
        op.zero_from = x->src_size == 0 ? op.bytes : value_32(w, x->src_size, l);
        if (x->has_ignore && ((w->p[x->ignore] ^ (0u - x->ignore_negated)) >> l & 1) != 0) {
            op.zero_from = 0;
        }
        op.group = w->cp_committed;
        if (op.zero_from > op.bytes || ((op.smem | op.global) & (op.bytes - 1)) != 0) {
            return sim_fault(w, u,
                             "cp.async of %u bytes: shared address 0x%x, global address 0x%llx",
                             op.bytes, op.smem, (unsigned long long)op.global);
        }
        if (!async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

const struct uop *run_cp_commit(struct warp *w, const struct uop *u) {
    w->cp_committed += exec_mask(w, u) != 0;
    return u + 1;
}

// imm: groups that may stay, -1: none, the open one included
const struct uop *run_cp_wait(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t stay = (uint32_t)u->imm;
    uint32_t done = u->imm < 0 ? UINT32_MAX : w->cp_committed > stay ? w->cp_committed - stay : 0;
    if (async_pending_cp(w, done)) {
        return warp_park(w, u, (struct split){.state = SPLIT_CP_ASYNC, .value = stay});
    }
    return u + 1;
}

const struct uop *run_cp_arrive(struct warp *w, const struct uop *u) {
    const struct copy_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        struct async_op op = {
            .kind = ASYNC_CP_ARRIVE, .u = u, .warp = w, .cta = w->cta, .lane = (uint32_t)l};
        op.mbar = sim_shared_address(w, x->mbar, x->mbar_off, l);
        struct cta *c;
        struct mbar *b = mbar_at(w, u, op.mbar, &c);
        if (b == NULL) {
            return STOP;
        }
        b->pending += !x->noinc; // without .noinc the arrival is one more than the count
        if (!async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

// ---- cluster launch control ---------------------------------------------------------------------
const struct uop *run_clc_cancel(struct warp *w, const struct uop *u) {
    const struct copy_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        struct async_op op = {
            .kind = ASYNC_CLC, .u = u, .warp = w, .cta = w->cta, .lane = (uint32_t)l};
        op.smem = sim_shared_address(w, x->smem, x->smem_off, l);
        op.mbar = sim_shared_address(w, x->mbar, x->mbar_off, l);
        op.mask = (uint16_t)(x->multicast ? (1u << w->cta->cluster->size) - 1 : 0);
        if ((op.smem & 15) != 0) {
            return sim_fault(w, u, "shared address 0x%x of the response is not aligned to 16 bytes",
                             op.smem);
        }
        if (!async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

const struct uop *run_clc_query(struct warp *w, const struct uop *u) {
    const struct clc_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    const u64 *low = row(w, u->a);
    const u64 *high = row(w, u->a + 2);
    FOR_LANES(l, m) {
        uint8_t answer[UNIT_CLC_BYTES];
        uint32_t ctaid[3] = {0, 0, 0};
        memcpy(answer, &low[l], 8);
        memcpy(answer + 8, &high[l], 8);
        bool canceled = unit_clc_decode(answer, ctaid);
        if (x->what == CLC_IS_CANCELED) {
            w->p[u->d] = (w->p[u->d] & ~(1u << l)) | (uint32_t)canceled << l;
            continue;
        }
        if (!canceled) {
            return sim_fault(w, u,
                             "get_first_ctaid of a request that was not granted is undefined");
        }
        int from = x->what == CLC_V4 ? 0 : x->what - CLC_X;
        int n = x->what == CLC_V4 ? 3 : 1;
        for (int k = 0; k < n; k++) {
            ((u32 *)row(w, x->row[k]))[l] = ctaid[from + k];
        }
    }
    return u + 1;
}

// ---- tensor maps in memory ----------------------------------------------------------------------
const struct uop *run_tmap_replace(struct warp *w, const struct uop *u) {
    const struct replace_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        uint64_t a = value_64(w, u->a, u->imm, l);
        bool shared = x->shared || (a & WINDOW_MASK) == WINDOW_SHARED;
        void *map = shared ? sim_smem_at(w, u, (uint32_t)a, SIM_TMAP_BYTES)
                           : sim_gmem_at(w, u, a, SIM_TMAP_BYTES);
        if (map == NULL) {
            return STOP;
        }
        uint64_t v = x->wide ? ((const u64 *)row(w, x->value))[l] : value_32(w, x->value, l);
        struct sim_tmap copy;
        memcpy(&copy, map, sizeof copy);
        enum unit_status s = unit_tmap_replace(&copy, x->field, x->ord, v);
        if (s != UNIT_OK) {
            return sim_fault(w, u, "%s", unit_reason(s));
        }
        memcpy(map, &copy, sizeof copy);
    }
    return u + 1;
}

// tensormap.cp_fenceproxy: the whole warp copies 128 bytes from shared (b) to global (a) memory
const struct uop *run_tmap_copy(struct warp *w, const struct uop *u) {
    if (!warp_converge(w, u, FULL)) {
        return STOP;
    }
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    const struct copy_aux *x = u->aux;
    int l = first_lane(m);
    uint8_t *from =
        sim_smem_at(w, u, sim_shared_address(w, x->smem, x->smem_off, l), SIM_TMAP_BYTES);
    uint8_t *to = from == NULL
                      ? NULL
                      : sim_gmem_at(w, u, value_64(w, x->global, x->global_off, l), SIM_TMAP_BYTES);
    if (to == NULL) {
        return STOP;
    }
    memcpy(to, from, SIM_TMAP_BYTES);
    return u + 1;
}
