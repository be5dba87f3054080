// mma.sync, ldmatrix, stmatrix, movmatrix: whole-warp instructions on rows, done by the units.
#include "async.h"
#include "sync.h"

static int uniform(const struct warp *w, uint32_t r) {
    return (int)((const u32 *)row(w, r))[0];
}

const struct uop *run_msync(struct warp *w, const struct uop *u) {
    const struct msync_aux *x = u->aux;
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    if (!warp_whole(w, u)) {
        return STOP;
    }
    uint32_t *d[4];
    const uint32_t *a[4];
    const uint32_t *b[4];
    const uint32_t *c[4];
    for (int n = 0; n < x->nd; n++) {
        d[n] = row(w, x->d[n]);
        c[n] = row(w, x->c[n]);
    }
    for (int n = 0; n < x->na; n++) {
        a[n] = row(w, x->a[n]);
    }
    for (int n = 0; n < x->nb; n++) {
        b[n] = row(w, x->b[n]);
    }
    struct unit_msync op = x->op;
    struct unit_msync_regs r = {d, a, b, c, NULL, NULL, op.sparse ? row(w, x->meta) : NULL};
    if (x->scaled) {
        r.sfa = row(w, x->sfa);
        r.sfb = row(w, x->sfb);
        op.byte_a = uniform(w, x->sel[0]);
        op.thread_a = uniform(w, x->sel[1]);
        op.byte_b = uniform(w, x->sel[2]);
        op.thread_b = uniform(w, x->sel[3]);
    }
    enum unit_status s = unit_msync(&op, &r);
    if (s != UNIT_OK) {
        return sim_fault(w, u, "%s", unit_reason(s));
    }
    w->x->stats.macs += (uint64_t)(16 * 8 * op.k);
    return u + 1;
}

// Addresses of rows: the 32-bit offset in this CTA.
static bool matrix_addresses(struct warp *w, const struct uop *u, uint32_t out[LANES], int rows) {
    for (int l = 0; l < LANES; l++) {
        uint32_t a = sim_shared_address(w, u->a, u->imm, l);
        out[l] = a & OFFSET_MASK;
        if (l >= rows) {
            continue;
        }
        if (a >> RANK_SHIFT != w->cta->rank) {
            sim_fault(w, u, "shared address 0x%x of lane %d is not in this CTA", a, l);
            return false;
        }
        if (out[l] < SMEM_RESERVED || out[l] + 16 > w->cta->smem_bytes || (a & 15) != 0) {
            sim_fault(
                w, u,
                "shared address 0x%x of lane %d: 16 bytes, aligned to 16, between 0x%x and 0x%x", a,
                l, SMEM_RESERVED, w->cta->smem_bytes);
            return false;
        }
    }
    return true;
}

static const struct uop *matrix_move(struct warp *w, const struct uop *u, bool load) {
    const struct lm_aux *x = u->aux;
    uint32_t address[LANES];
    uint32_t *rows[4];
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    if (!warp_whole(w, u) || !matrix_addresses(w, u, address, unit_lm_rows(&x->op))) {
        return STOP;
    }
    for (int n = 0; n < unit_lm_regs(&x->op); n++) {
        rows[n] = row(w, x->row[n]);
    }
    enum unit_status s =
        load ? unit_ldmatrix(&x->op, &w->cta->unit, address, rows)
             : unit_stmatrix(&x->op, &w->cta->unit, address, (const uint32_t *const *)rows);
    return s == UNIT_OK ? u + 1 : sim_fault(w, u, "%s", unit_reason(s));
}

const struct uop *run_ldmatrix(struct warp *w, const struct uop *u) {
    return matrix_move(w, u, true);
}

const struct uop *run_stmatrix(struct warp *w, const struct uop *u) {
    return matrix_move(w, u, false);
}

const struct uop *run_movmatrix(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    if (!warp_whole(w, u)) {
        return STOP;
    }
    uint32_t copy[LANES];
    memcpy(copy, row(w, u->a), sizeof copy);
    unit_movmatrix(row(w, u->d), copy);
    return u + 1;
}
