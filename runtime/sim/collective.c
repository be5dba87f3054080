// Warp collectives: shuffles, votes, match, redux, elect. All need the lanes of their mask
// together. PTX ISA "shfl.sync", "vote.sync", "match.sync", "redux.sync", "elect.sync".
#include "ptx.h"
#include "sync.h"

// What the instruction does for the lanes m; false after a fault.
typedef bool collective(struct warp *w, const struct uop *u, uint32_t m);

uint32_t sim_member_masks(const struct warp *w, uint32_t m, uint32_t mask_row) {
    const u32 *mask = row(w, mask_row);
    uint32_t need = 0;
    FOR_LANES(l, m) {
        need |= mask[l];
    }
    return need;
}

// The lanes with the member mask of the first of m; 0 after a fault.
static uint32_t group_of(struct warp *w, const struct uop *u, uint32_t m, uint32_t mask_row) {
    const u32 *mask = row(w, mask_row);
    uint32_t need = mask[first_lane(m)];
    uint32_t group = 0;
    FOR_LANES(l, m) {
        group |= (uint32_t)(mask[l] == need) << l;
    }
    if ((group & ~need) != 0) {
        sim_fault(w, u, "lanes 0x%08x execute it but are not in their mask 0x%08x", group, need);
        return 0;
    }
    return group;
}

// Once the lanes of all masks stand here. Lanes that execute it together may have different masks:
// each mask makes a group of its own (tiles of a warp).
static const struct uop *for_groups(struct warp *w, const struct uop *u, uint32_t mask_row,
                                    collective *act) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    do { // those who have come may wait for more
        m = exec_mask(w, u);
        if (!warp_converge(w, u, sim_member_masks(w, m, mask_row))) {
            return STOP;
        }
    } while (m != exec_mask(w, u));
    for (m = exec_mask(w, u); m != 0;) {
        uint32_t group = group_of(w, u, m, mask_row);
        if (group == 0 || !act(w, u, group)) {
            return STOP;
        }
        m &= ~group;
    }
    return u + 1;
}

// d, a, b: source lane operand, c: clamp and segment mask, imm: row of the member mask,
// flag: mode | predicate << 2 (predicate number in aux)
static bool shfl_group(struct warp *w, const struct uop *u, uint32_t m) {
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
            sim_fault(w, u, "lane %d reads lane %d, which does not take part", lane, j);
            return false;
        }
        result[l] = src[j];
        ok |= (uint32_t)valid << l;
    }
    FOR_LANES(l, m) {
        d[l] = result[l];
    }
    uint32_t p = (uint32_t)(uintptr_t)u->aux;
    w->p[p] = (w->p[p] & ~m) | ok;
    return true;
}

const struct uop *run_shfl(struct warp *w, const struct uop *u) {
    return for_groups(w, u, (uint32_t)u->imm, shfl_group);
}

// a: predicate, b: row of the member mask, flag: mode | negation << 2
static bool vote_group(struct warp *w, const struct uop *u, uint32_t m) {
    uint32_t yes = (w->p[u->a] ^ (0u - (u->flag >> 2 & 1u))) & m;
    int mode = u->flag & 3;
    if (mode == VOTE_BALLOT) {
        FOR_LANES(l, m) {
            ((u32 *)row(w, u->d))[l] = yes;
        }
        return true;
    }
    bool r = mode == VOTE_ALL ? yes == m : mode == VOTE_ANY ? yes != 0 : yes == m || yes == 0;
    w->p[u->d] = (w->p[u->d] & ~m) | (r ? m : 0);
    return true;
}

const struct uop *run_vote(struct warp *w, const struct uop *u) {
    return for_groups(w, u, u->b, vote_group);
}

// match.any (flag 0) / match.all (flag 1, predicate in imm); b: member mask, c: 64-bit values
static bool match_group(struct warp *w, const struct uop *u, uint32_t m) {
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
    return true;
}

const struct uop *run_match(struct warp *w, const struct uop *u) {
    return for_groups(w, u, u->b, match_group);
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
static bool redux_group(struct warp *w, const struct uop *u, uint32_t m) {
    const struct redux_aux *x = u->aux;
    const u32 *a = row(w, u->a);
    uint32_t strip = x->abs ? 0x7FFFFFFF : FULL;
    uint32_t r = a[first_lane(m)] & strip;
    FOR_LANES(l, m & (m - 1)) {
        r = redux_two(x, r, a[l] & strip);
    }
    FOR_LANES(l, m) {
        ((u32 *)row(w, u->d))[l] = r;
    }
    return true;
}

const struct uop *run_redux(struct warp *w, const struct uop *u) {
    return for_groups(w, u, u->b, redux_group);
}

// elect.sync d|p, mask: the lowest lane of the mask
static bool elect_group(struct warp *w, const struct uop *u, uint32_t m) {
    uint32_t leader = (uint32_t)first_lane(m);
    FOR_LANES(l, m) {
        ((u32 *)row(w, u->d))[l] = leader;
    }
    w->p[u->c] = (w->p[u->c] & ~m) | 1u << leader;
    return true;
}

const struct uop *run_elect(struct warp *w, const struct uop *u) {
    return for_groups(w, u, u->b, elect_group);
}
