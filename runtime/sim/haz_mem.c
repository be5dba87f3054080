// Loads, stores and atomics of threads as the detector sees them: the addresses of the lanes become
// visits of shadow cells; operations with an order hand clocks over through their location.
#include "haz.h"

static void addresses(const struct warp *w, const struct uop *u, uint64_t out[LANES]) {
    uint64_t offset = (uint64_t)u->imm;
    if ((u->a & ADDRESS_32) != 0) {
        const u32 *a = row(w, u->a & ~ADDRESS_32);
        for (int i = 0; i < LANES; i++) {
            out[i] = (uint32_t)(a[i] + (uint32_t)offset);
        }
        return;
    }
    const u64 *a = row(w, u->a);
    for (int i = 0; i < LANES; i++) {
        out[i] = a[i] + offset;
    }
}

static enum ptx_space space_of(const struct access *x, uint64_t a) {
    if (x->space != SP_GENERIC) {
        return x->space;
    }
    uint64_t window = a & WINDOW_MASK;
    return window == WINDOW_SHARED  ? SP_SHARED
           : window == WINDOW_LOCAL ? SP_LOCAL
           : window == WINDOW_PARAM ? SP_PARAM
                                    : SP_GLOBAL;
}

static struct haz_cta *cta_at(struct haz_thread *t, uint64_t shared) {
    uint32_t rank = (uint32_t)shared >> RANK_SHIFT;
    return rank < t->cluster->cluster->size ? &t->cluster->cta[rank] : NULL;
}

static uint64_t key_of(const struct haz_thread *t, enum ptx_space space, uint64_t a) {
    return space == SP_SHARED ? 1ull << 63 | (uint64_t)t->cluster->uid << 32 | (uint32_t)a : a;
}

// A relaxed write hands nothing over, by the manual. But what its thread had read by then, or knew to
// have been read, has been read on hardware: rings in global memory are given back like this.
#define LATE (1ull << 62) // of a key

static void late(struct haz_thread *t, uint64_t key, bool read, bool write) {
    if (t->cluster->haz->profile != SIM_HAZARDS_PRACTICE) {
        return;
    }
    if (read) {
        haz_place_acquire(t->cluster->haz, key | LATE, t, &t->late);
    }
    if (write) {
        haz_place_release(t->cluster->haz, key | LATE, t, &t->now);
    }
}

static void synchronise(struct haz_thread *t, const struct haz_ins *i, uint64_t key, bool write,
                        bool all) {
    struct haz *h = t->cluster->haz;
    bool read = i->fn == run_ld || i->fn == run_ld_shared_32 || i->fn == run_atom;
    late(t, key, read, write);
    if (read) {
        bool acquire = i->order == ORDER_ACQUIRE || i->order == ORDER_ACQ_REL;
        haz_place_acquire(h, key, t, acquire ? &t->now : &t->pending);
        if (acquire && t->part != 0 && all) {
            haz_place_acquire(h, key, t, &t->every);
        }
    }
    if (write) {
        bool release = i->order == ORDER_RELEASE || i->order == ORDER_ACQ_REL;
        haz_place_release(h, key, t, release ? &t->now : &t->fenced);
    }
}

// A location that a flag lives in is synchronised through; polls do not race.
static void strong(struct haz_thread *t, const struct haz_ins *i, const struct access *x,
                   const uint64_t a[LANES], uint32_t m) {
    bool write = i->fn != run_ld && i->fn != run_ld_shared_32;
    uint64_t last = 0;
    struct haz_clock *k = i->order >= ORDER_RELEASE ? &t->now : &t->fenced;
    uint32_t floor = k->v[t->base + COMP_LANES];
    if (i->order == ORDER_ACQUIRE || i->order == ORDER_ACQ_REL) {
        haz_part(t, m);
    }
    if (write) {
        haz_release(t, NULL, k, m);
        k->v[t->base + COMP_LANES] = m == t->warp->alive ? k->v[t->base + COMP_OWN] : floor;
    }
    FOR_LANES(l, m) {
        enum ptx_space space = space_of(x, a[l]);
        uint64_t key = key_of(t, space, a[l]);
        if (key != last && (space == SP_SHARED || space == SP_GLOBAL)) {
            synchronise(t, i, key, write, m == t->warp->alive);
        }
        last = key;
    }
    k->v[t->base + COMP_LANES] = floor;
}

static void check_global(struct haz_access *y, const struct access *x, const uint64_t a[LANES],
                         uint32_t m) {
    uint64_t from = 0;
    uint64_t end = 0;
    y->space = "global memory";
    y->check_initial = false;
    FOR_LANES(l, m) { // neighbours in one go
        if (space_of(x, a[l]) != SP_GLOBAL) {
            continue;
        }
        if (a[l] != end) {
            haz_global(y, from, end - from);
            from = a[l];
        }
        end = a[l] + x->bytes;
    }
    haz_global(y, from, end - from);
}

static bool holds(const struct warp *w, const struct mem_aux *x, const uint8_t *p, int lane) {
    for (int e = 0; e < x->n; e++, p += x->element.bytes) {
        const uint8_t *r = row(w, x->row[e]);
        size_t bytes = x->element.bytes;
        size_t each = x->element.reg_bits >= 64 ? 8 : 4;
        size_t low = bytes < each ? bytes : each;
        bool same = memcmp(p, r + (size_t)lane * each, low) == 0 &&
                    (bytes <= 8 || memcmp(p + 8, r + (LANES + (size_t)lane) * 8, 8) == 0);
        if (!same) {
            return false;
        }
    }
    return true;
}

bool haz_unchanged(const struct haz_access *a) {
    struct warp *w = a->t->warp;
    const struct mem_aux *x = a->store->aux;
    uint32_t m = exec_mask(w, a->store);
    uint8_t *ptr[LANES];
    if (!sim_lane_pointers(w, a->store, m, ptr, &x->access)) {
        return false;
    }
    FOR_LANES(l, m) {
        if (!holds(w, x, ptr[l], l)) {
            return false;
        }
    }
    return true;
}

static void check(struct haz_thread *t, const struct uop *u, const struct access *x,
                  const uint64_t a[LANES], uint32_t m, bool write) {
    struct haz *h = t->cluster->haz;
    const struct warp *w = t->warp;
    const struct haz_ins *i = haz_ins_of(w, u);
    bool both = i->fn == run_atom;
    bool together = i->fn == run_ldmatrix || i->fn == run_stmatrix; // a row belongs to all lanes
    bool single = (m & (m - 1)) == 0;
    struct haz_make make = {.uop = (uint32_t)(u - w->code),
                            .comp = t->base + COMP_OWN,
                            .epoch = t->now.v[t->base + COMP_OWN],
                            .flags = (uint8_t)((write ? REC_WRITE : 0) | (i->strong ? REC_STRONG
                                                                                    : 0)),
                            .lane = together ? LANE_SEVERAL
                                    : single ? (uint8_t)(first_lane(m) + 1)
                                             : LANE_CELL};
    struct haz_access y = {.h = h,
                           .t = t,
                           .rec = haz_record(t, &make),
                           .write = write,
                           .read = !write || both,
                           .space = "shared memory",
                           .check_initial = true,
                           .store = i->fn == run_st || i->fn == run_st_shared_32 ? u : NULL,
                           .load = i->fn == run_ld || i->fn == run_ld_shared_32,
                           .lane = LANE_SEVERAL,
                           .lanes = together ? w->alive : m};
    bool global = false;
    FOR_LANES(l, m) {
        y.lane = together ? y.lane : (uint8_t)(l + 1);
        enum ptx_space space = space_of(x, a[l]);
        if (space == SP_SHARED) {
            struct haz_cta *c = cta_at(t, a[l]);
            if (c != NULL) {
                t->to_peer |= write && c->cta != w->cta;
                haz_shared(&y, c, (uint32_t)a[l] & OFFSET_MASK, x->bytes);
            }
        }
        global |= space == SP_GLOBAL;
    }
    if (!global || (!write && h->n_pages == 0)) {
        return;
    }
    if (h->has_pdl && !t->pdl) {
        haz_report(h, HAZ_PDL, make.uop, UINT32_MAX, "global memory");
    }
    y.nc = i->nc;
    y.lane = single ? y.lane : LANE_UNKNOWN;
    check_global(&y, x, a, m);
}

static const struct uop *memory(struct warp *w, const struct uop *u, const struct access *x,
                                bool write) {
    uint32_t m = exec_mask(w, u);
    bool shadowed = x->space == SP_SHARED || x->space == SP_GLOBAL || x->space == SP_GENERIC;
    if (m == 0 || !shadowed) {
        return haz_do(w, u);
    }
    struct haz_thread *t = haz_thread_of(w);
    const struct haz_ins *i = haz_ins_of(w, u);
    uint64_t a[LANES];
    addresses(w, u, a);
    check(t, u, x, a, m, write);
    if (i->strong) {
        bool releases = write && i->order >= ORDER_RELEASE;
        strong(t, i, x, a, m);
        if (releases) {
            haz_tick(t);
        }
    }
    return haz_do(w, u);
}

const struct uop *haz_ld(struct warp *w, const struct uop *u) {
    const struct mem_aux *x = u->aux;
    return memory(w, u, &x->access, false);
}

const struct uop *haz_st(struct warp *w, const struct uop *u) {
    const struct mem_aux *x = u->aux;
    return memory(w, u, &x->access, true);
}

// Each lane has a size of its own.
const struct uop *haz_st_bulk(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    uint64_t a[LANES];
    FOR_LANES(l, next == STOP ? 0 : m) {
        uint64_t n = u->flag != 0 ? ((const u64 *)row(w, u->b))[l] : ((const u32 *)row(w, u->b))[l];
        struct access x = {.space = SP_SHARED, .bytes = (uint32_t)n};
        a[l] = sim_shared_address(w, u->a, u->imm, l);
        check(haz_thread_of(w), u, &x, a, 1u << l, true);
    }
    return next;
}

const struct uop *haz_atom(struct warp *w, const struct uop *u) {
    const struct atom_aux *x = u->aux;
    return memory(w, u, &x->access, true);
}

// ldmatrix and stmatrix: 16 bytes a row, of as many lanes as the form has rows.
static const struct uop *matrix(struct warp *w, const struct uop *u, bool write) {
    const struct lm_aux *x = u->aux;
    int rows = unit_lm_rows(&x->op);
    uint64_t a[LANES];
    addresses(w, u, a);
    const struct uop *next = haz_do(w, u);
    if (next != STOP && exec_mask(w, u) != 0) {
        uint32_t m = rows >= LANES ? FULL : (1u << rows) - 1;
        struct access as = {.space = SP_SHARED, .bytes = 16};
        check(haz_thread_of(w), u, &as, a, m, write);
    }
    return next;
}

const struct uop *haz_ldmatrix(struct warp *w, const struct uop *u) {
    return matrix(w, u, false);
}

const struct uop *haz_stmatrix(struct warp *w, const struct uop *u) {
    return matrix(w, u, true);
}
