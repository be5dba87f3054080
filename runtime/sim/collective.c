// Warp collectives: shuffles, votes, match, redux, elect. All need the lanes of their mask
// together. PTX ISA "shfl.sync", "vote.sync", "match.sync", "redux.sync", "elect.sync".
#include "ptx.h"
#include "sync.h"

// The lanes that take part; 0 when the split had to stop.
static uint32_t gather(struct warp *w, const struct uop *u, uint32_t mask_row) {
    uint32_t m = exec_mask(w, u);
    uint32_t need = ((const u32 *)row(w, mask_row))[first_lane(m)];
    if (!warp_converge(w, u, need)) {
        return 0;
    }
    m = exec_mask(w, u);
    if ((m & ~need) != 0) {
        sim_fault(w, u, "lanes 0x%08x execute it but are not in its mask 0x%08x", m, need);
        return 0;
    }
    return m;
}

// d, a, b: source lane operand, c: clamp and segment mask, imm: row of the member mask,
// flag: mode | predicate << 2 (predicate number in aux)
const struct uop *run_shfl(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t m = gather(w, u, (uint32_t)u->imm);
    if (m == 0) {
        return STOP;
    }
    u32 src[LANES];
    memcpy(src, row(w, u->a), sizeof src);
    const u32 *b = row(w, u->b);
    const u32 *c = row(w, u->c);
    u32 *d = row(w, u->d);
    uint32_t ok = 0;
    u32 result[LANES];
    FOR_LANES(l, m) {
        int lane = l;
        int bval = (int)(b[l] & 31);
        int segmask = (int)(c[l] >> 8 & 31);
        int cval = (int)(c[l] & 31);
        int max = (lane & segmask) | (cval & ~segmask & 31);
        int min = lane & segmask;
        int mode = u->flag & 3;
        int j = mode == SHFL_UP     ? lane - bval
                : mode == SHFL_DOWN ? lane + bval
                : mode == SHFL_BFLY ? lane ^ bval
                                    : min | (bval & ~segmask & 31);
        bool valid = mode == SHFL_UP ? j >= max : j <= max;
        j = valid ? j : lane;
        if ((m >> j & 1) == 0) {
            return sim_fault(w, u, "lane %d reads lane %d, which does not take part", lane, j);
        }
        result[l] = src[j];
        ok |= (uint32_t)valid << l;
    }
    FOR_LANES(l, m) {
        d[l] = result[l];
    }
    uint32_t p = (uint32_t)(uintptr_t)u->aux;
    w->p[p] = (w->p[p] & ~m) | ok;
    return u + 1;
}

// a: predicate, b: row of the member mask, flag: mode | negation << 2
const struct uop *run_vote(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t m = gather(w, u, u->b);
    if (m == 0) {
        return STOP;
    }
    uint32_t yes = (w->p[u->a] ^ (0u - (u->flag >> 2 & 1u))) & m;
    int mode = u->flag & 3;
    if (mode == VOTE_BALLOT) {
        FOR_LANES(l, m) {
            ((u32 *)row(w, u->d))[l] = yes;
        }
        return u + 1;
    }
    bool r = mode == VOTE_ALL ? yes == m : mode == VOTE_ANY ? yes != 0 : yes == m || yes == 0;
    w->p[u->d] = (w->p[u->d] & ~m) | (r ? m : 0);
    return u + 1;
}

// match.any (flag 0) / match.all (flag 1, predicate in imm); b: member mask, c: 64-bit values
const struct uop *run_match(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t m = gather(w, u, u->b);
    if (m == 0) {
        return STOP;
    }
    uint64_t v[LANES] = {0};
    FOR_LANES(l, m) {
        v[l] = u->c != 0 ? ((const u64 *)row(w, u->a))[l] : ((const u32 *)row(w, u->a))[l];
    }
    uint32_t all = 0;
    FOR_LANES(l, m) {
        uint32_t same = 0;
        for (int o = 0; o < LANES; o++) {
            same |= (uint32_t)((m >> o & 1) != 0 && v[o] == v[l]) << o;
        }
        all = same;
        ((u32 *)row(w, u->d))[l] = u->flag == 0 ? same : 0;
    }
    if (u->flag != 0) {
        bool yes = all == m;
        FOR_LANES(l, m) {
            ((u32 *)row(w, u->d))[l] = yes ? m : 0;
        }
        uint32_t p = (uint32_t)u->imm;
        w->p[p] = (w->p[p] & ~m) | (yes ? m : 0);
    }
    return u + 1;
}

const struct uop *run_activemask(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    w->x->stats.order |= m != 0 ? SIM_ORDER_MASK : 0;
    FOR_LANES(l, m) {
        ((u32 *)row(w, u->d))[l] = m;
    }
    return u + 1;
}

static uint32_t redux_two(const struct redux_aux *x, uint32_t a, uint32_t b) {
    if (x->type == W_F32) {
        float fa = num_f32(a);
        float fb = num_f32(b);
        return num_bits(x->op == W_MIN ? num_min(fa, fb, x->nan) : num_max(fa, fb, x->nan));
    }
    bool sign = x->type == W_S32;
    bool less = sign ? (int32_t)a < (int32_t)b : a < b;
    switch (x->op) {
    case W_ADD:
        return a + b;
    case W_MIN:
        return less ? a : b;
    case W_MAX:
        return less ? b : a;
    case W_AND:
        return a & b;
    case W_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

// a: values, b: member mask
const struct uop *run_redux(struct warp *w, const struct uop *u) {
    const struct redux_aux *x = u->aux;
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t m = gather(w, u, u->b);
    if (m == 0) {
        return STOP;
    }
    const u32 *a = row(w, u->a);
    uint32_t strip = x->abs ? 0x7FFFFFFF : FULL;
    uint32_t r = a[first_lane(m)] & strip;
    FOR_LANES(l, m & (m - 1)) {
        r = redux_two(x, r, a[l] & strip);
    }
    FOR_LANES(l, m) {
        ((u32 *)row(w, u->d))[l] = r;
    }
    return u + 1;
}

// elect.sync d|p, mask: the lowest lane of the mask
const struct uop *run_elect(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) == 0) {
        return u + 1;
    }
    uint32_t m = gather(w, u, u->b);
    if (m == 0) {
        return STOP;
    }
    uint32_t leader = (uint32_t)first_lane(m);
    FOR_LANES(l, m) {
        ((u32 *)row(w, u->d))[l] = leader;
    }
    w->p[u->c] = (w->p[u->c] & ~m) | 1u << leader;
    return u + 1;
}
