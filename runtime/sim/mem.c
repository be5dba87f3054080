// Loads, stores and atomics: every lane's address becomes a host pointer (checked for range and
// alignment), then the elements are copied between memory and rows.
#include "mem.h"

struct cta *sim_cluster_cta(struct warp *w, const struct uop *u, uint32_t shared) {
    struct cluster *cl = w->cta->cluster;
    uint32_t rank = shared >> RANK_SHIFT;
    if (rank >= cl->size) {
        sim_fault(w, u, "shared address 0x%x names CTA %u of a cluster of %u", shared, rank,
                  cl->size);
        return NULL;
    }
    if (cl->cta[rank].warps_alive == 0) {
        sim_fault(w, u, "shared address 0x%x: CTA %u of the cluster has already exited", shared,
                  rank);
        return NULL;
    }
    return &cl->cta[rank];
}

uint8_t *sim_smem_at(struct warp *w, const struct uop *u, uint32_t shared, uint32_t bytes) {
    struct cta *c = sim_cluster_cta(w, u, shared);
    if (c == NULL) {
        return NULL;
    }
    uint32_t offset = shared & OFFSET_MASK;
    if (offset < SMEM_RESERVED || (uint64_t)offset + bytes > c->smem_bytes) {
        sim_fault(w, u,
                  "shared address 0x%x + %u bytes is outside the CTA's shared memory, 0x%x to 0x%x",
                  shared, bytes, SMEM_RESERVED, c->smem_bytes);
        return NULL;
    }
    return c->smem + offset;
}

uint8_t *sim_gmem_at(struct warp *w, const struct uop *u, uint64_t address, uint64_t bytes) {
    struct exec *x = w->x;
    const struct allocation *h = x->hit;
    if (h != NULL && address >= h->base && bytes <= h->bytes &&
        address - h->base <= h->bytes - bytes) {
        return h->host + (address - h->base);
    }
    uint8_t *p = devmem_at(&x->sim->mem, address, bytes);
    if (p != NULL) {
        x->hit = devmem_nearest(&x->sim->mem, address);
        return p;
    }
    const struct allocation *a = devmem_nearest(&x->sim->mem, address);
    if (a == NULL) {
        sim_fault(w, u, "global address 0x%llx + %llu bytes: nothing is allocated",
                  (unsigned long long)address, (unsigned long long)bytes);
        return NULL;
    }
    int64_t off = (int64_t)(address - a->base);
    sim_fault(w, u,
              "global address 0x%llx + %llu bytes is not allocated; the nearest allocation is "
              "0x%llx, %llu "
              "bytes, and the access begins at byte %lld of it",
              (unsigned long long)address, (unsigned long long)bytes, (unsigned long long)a->base,
              (unsigned long long)a->bytes, (long long)off);
    return NULL;
}

static uint8_t *local_at(struct warp *w, const struct uop *u, uint64_t offset, uint32_t bytes,
                         int lane) {
    uint32_t size = w->x->k->local_bytes;
    if (offset + bytes > size) {
        sim_fault(w, u, "local address 0x%llx + %u bytes, the thread has %u bytes",
                  (unsigned long long)offset, bytes, size);
        return NULL;
    }
    return w->local + (size_t)lane * size + offset;
}

static uint8_t *param_at(struct warp *w, const struct uop *u, uint64_t offset, uint32_t bytes) {
    uint32_t size = w->x->k->param_bytes;
    if (offset + bytes > size) {
        sim_fault(w, u, "parameter address 0x%llx + %u bytes, the parameters have %u bytes",
                  (unsigned long long)offset, bytes, size);
        return NULL;
    }
    return w->x->params + offset;
}

static uint8_t *shared_lane(struct warp *w, const struct uop *u, uint32_t a,
                            const struct access *x) {
    if (!x->cluster && a >> RANK_SHIFT != w->cta->rank) {
        sim_fault(w, u, "shared::cta address 0x%x lies in CTA %u, this is CTA %u of the cluster", a,
                  a >> RANK_SHIFT, w->cta->rank);
        return NULL;
    }
    return sim_smem_at(w, u, a, x->bytes);
}

uint8_t *sim_lane_pointer(struct warp *w, const struct uop *u, uint64_t a, int lane,
                          const struct access *x) {
    if ((a & (x->align - 1)) != 0) {
        sim_fault(w, u, "address 0x%llx of lane %d is not aligned to %u bytes",
                  (unsigned long long)a, lane, x->align);
        return NULL;
    }
    enum ptx_space space = x->space;
    if (space == SP_GENERIC || (space == SP_PARAM && (a & WINDOW_MASK) == WINDOW_LOCAL)) {
        uint64_t window = a & WINDOW_MASK;
        space = window == WINDOW_SHARED  ? SP_SHARED
                : window == WINDOW_LOCAL ? SP_LOCAL
                : window == WINDOW_PARAM ? SP_PARAM
                                         : SP_GLOBAL;
        if (space == SP_SHARED) {
            return sim_smem_at(w, u, (uint32_t)a, x->bytes);
        }
    }
    switch (space) {
    case SP_SHARED:
        return shared_lane(w, u, (uint32_t)a, x);
    case SP_LOCAL:
        return local_at(w, u, (uint32_t)a, x->bytes, lane);
    case SP_PARAM:
        return param_at(w, u, (uint32_t)a, x->bytes);
    default:
        return sim_gmem_at(w, u, a, x->bytes);
    }
}

// Addresses of all lanes; 32-bit address registers are zero-extended.
static void addresses(const struct warp *w, const struct uop *u, uint64_t out[LANES]) {
    uint64_t offset = (uint64_t)u->imm;
    if ((u->a & ADDRESS_32) != 0) {
        const u32 *a = row(w, u->a & ~ADDRESS_32);
        for (int i = 0; i < LANES; i++) {
            out[i] = (uint32_t)(a[i] + (uint32_t)offset);
        }
    } else {
        const u64 *a = row(w, u->a);
        for (int i = 0; i < LANES; i++) {
            out[i] = a[i] + offset;
        }
    }
}

bool sim_lane_pointers(struct warp *w, const struct uop *u, uint32_t m, uint8_t *ptr[LANES],
                       const struct access *x) {
    uint64_t a[LANES];
    addresses(w, u, a);
    if (x->space == SP_SHARED) { // all lanes in this CTA and in range: the usual case
        uint64_t base = (uint64_t)w->cta->rank << RANK_SHIFT;
        uint64_t last = w->cta->smem_bytes - x->bytes;
        uint64_t bad = 0;
        for (int i = 0; i < LANES; i++) {
            uint64_t off = a[i] - base;
            uint64_t wrong =
                (uint64_t)(off > last) | (uint64_t)(off < SMEM_RESERVED) | (off & (x->align - 1));
            bad |= (m >> i & 1) != 0 ? wrong : 0;
            ptr[i] = (uint8_t *)((uintptr_t)w->cta->smem + off);
        }
        if (bad == 0) {
            return true;
        }
    }
    FOR_LANES(l, m) {
        w->active = 1u << l; // a fault names the lane
        ptr[l] = sim_lane_pointer(w, u, a[l], l, x);
        if (ptr[l] == NULL) {
            return false;
        }
    }
    w->active = w->split[w->current].mask;
    return true;
}

// ---- element copies -----------------------------------------------------------------------------
static void load_lane(const uint8_t *p, const struct element *e, void *to, int lane) {
    uint64_t v = 0;
    switch (e->bytes) {
    case 1:
        v = e->sign ? (uint64_t)(int64_t)(int8_t)*p : *p;
        break;
    case 2: {
        uint16_t h;
        memcpy(&h, p, 2);
        v = e->sign ? (uint64_t)(int64_t)(int16_t)h : h;
        break;
    }
    case 4: {
        uint32_t x;
        memcpy(&x, p, 4);
        v = e->sign ? (uint64_t)(int64_t)(int32_t)x : x;
        break;
    }
    case 8:
        memcpy(&v, p, 8);
        break;
    default:
        memcpy((u64 *)to + lane, p, 8);
        memcpy((u64 *)to + LANES + lane, p + 8, 8);
        return;
    }
    if (e->reg_bits == 64) {
        ((u64 *)to)[lane] = v;
    } else {
        ((u32 *)to)[lane] = (uint32_t)v & e->mask;
    }
}

static void store_lane(uint8_t *p, const struct element *e, const void *from, int lane) {
    if (e->bytes == 16) {
        memcpy(p, (const u64 *)from + lane, 8);
        memcpy(p + 8, (const u64 *)from + LANES + lane, 8);
    } else if (e->reg_bits == 64) {
        memcpy(p, (const u64 *)from + lane, e->bytes);
    } else {
        memcpy(p, (const u32 *)from + lane, e->bytes);
    }
}

const struct uop *run_ld(struct warp *w, const struct uop *u) {
    const struct mem_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    uint8_t *ptr[LANES];
    if (m == 0) {
        return u + 1;
    }
    if (!sim_lane_pointers(w, u, m, ptr, &x->access)) {
        return STOP;
    }
    w->x->stats.order |= x->access.strong ? SIM_ORDER_FLAG : 0;
    for (int e = 0; e < x->n; e++) {
        void *to = row(w, x->row[e]);
        uint32_t at = (uint32_t)e * x->element.bytes;
        if (x->element.bytes == 4 && x->element.reg_bits == 32) {
            FOR_LANES(l, m) {
                memcpy((u32 *)to + l, ptr[l] + at, 4);
            }
            continue;
        }
        FOR_LANES(l, m) {
            load_lane(ptr[l] + at, &x->element, to, l);
        }
    }
    return u + 1;
}

const struct uop *run_st(struct warp *w, const struct uop *u) {
    const struct mem_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    uint8_t *ptr[LANES];
    if (m == 0) {
        return u + 1;
    }
    if (!sim_lane_pointers(w, u, m, ptr, &x->access)) {
        return STOP;
    }
    for (int e = 0; e < x->n; e++) {
        const void *from = row(w, x->row[e]);
        uint32_t at = (uint32_t)e * x->element.bytes;
        FOR_LANES(l, m) {
            store_lane(ptr[l] + at, &x->element, from, l);
        }
    }
    return u + 1;
}

// Offsets of one aligned 32-bit word a lane in the CTA's own shared memory, all lanes running; false
// where the general path must look.
static inline bool shared_words(struct warp *w, const struct uop *u, uint32_t off[LANES]) {
    if (exec_mask(w, u) != FULL || (u->a & ADDRESS_32) == 0) {
        return false;
    }
    const u32 *a = row(w, u->a & ~ADDRESS_32);
    uint32_t base = (w->cta->rank << RANK_SHIFT) - (uint32_t)u->imm + SMEM_RESERVED;
    uint32_t room = w->cta->smem_bytes - SMEM_RESERVED - 4;
    uint32_t bad = 0;
    for (int i = 0; i < LANES; i++) {
        off[i] = a[i] - base;
        bad |= (uint32_t)(off[i] > room) | (off[i] & 3);
    }
    return bad == 0;
}

// One 32-bit value a lane in shared memory, all lanes running: the loop that matters.
const struct uop *run_ld_shared_32(struct warp *w, const struct uop *u) {
    uint32_t off[LANES];
    if (!shared_words(w, u, off)) {
        return run_ld(w, u);
    }
    u32 *d = row(w, u->d);
    const uint8_t *s = w->cta->smem + SMEM_RESERVED;
    for (int i = 0; i < LANES; i++) {
        memcpy(&d[i], s + off[i], 4);
    }
    return u + 1;
}

const struct uop *run_st_shared_32(struct warp *w, const struct uop *u) {
    uint32_t off[LANES];
    if (!shared_words(w, u, off)) {
        return run_st(w, u);
    }
    const u32 *d = row(w, u->d);
    uint8_t *s = w->cta->smem + SMEM_RESERVED;
    for (int i = 0; i < LANES; i++) {
        memcpy(s + off[i], &d[i], 4);
    }
    return u + 1;
}

// ---- atomics ------------------------------------------------------------------------------------
static float atomic_f32(enum atom_op op, float old, float v) {
    (void)op;
    return num_add(old, v);
}

static uint32_t atomic_half(uint32_t old, uint32_t v, bool bf) {
    float a = bf ? num_of_bf16((uint16_t)old) : num_of_f16((uint16_t)old);
    float b = bf ? num_of_bf16((uint16_t)v) : num_of_f16((uint16_t)v);
    return bf ? num_bf16_of(a + b, NUM_RN) : num_f16_of(a + b, NUM_RN);
}

static uint64_t atomic_float(const struct atom_aux *x, uint64_t old, uint64_t v) {
    double a;
    double b;
    switch (x->type) {
    case W_F32:
        return num_bits(atomic_f32(x->op, num_f32((uint32_t)old), num_f32((uint32_t)v)));
    case W_F64:
        memcpy(&a, &old, 8);
        memcpy(&b, &v, 8);
        a += b;
        memcpy(&old, &a, 8);
        return old;
    case W_F16:
    case W_BF16:
        return atomic_half((uint32_t)old, (uint32_t)v, x->type == W_BF16);
    default: {
        bool bf = x->type == W_BF16X2;
        uint32_t low = atomic_half((uint32_t)old & 0xFFFF, (uint32_t)v & 0xFFFF, bf);
        return low | (uint64_t)atomic_half((uint32_t)old >> 16, (uint32_t)v >> 16, bf) << 16;
    }
    }
}

static bool less(const struct atom_aux *x, uint64_t a, uint64_t b) {
    if (x->type == W_S32) {
        return (int32_t)a < (int32_t)b;
    }
    return x->type == W_S64 ? (int64_t)a < (int64_t)b : a < b;
}

static uint64_t atomic_value(const struct atom_aux *x, uint64_t old, uint64_t v, uint64_t c) {
    switch (x->op) {
    case ATOM_ADD:
        return ptx_is_float(x->type) ? atomic_float(x, old, v) : old + v;
    case ATOM_MIN:
        return less(x, v, old) ? v : old;
    case ATOM_MAX:
        return less(x, old, v) ? v : old;
    case ATOM_AND:
        return old & v;
    case ATOM_OR:
        return old | v;
    case ATOM_XOR:
        return old ^ v;
    case ATOM_EXCH:
        return v;
    case ATOM_CAS:
        return old == v ? c : old;
    case ATOM_INC:
        return (uint32_t)old >= (uint32_t)v ? 0 : old + 1;
    default:
        return (uint32_t)old == 0 || (uint32_t)old > (uint32_t)v ? v : old - 1;
    }
}

static uint64_t lane_value(const struct warp *w, uint32_t r, int lane, int bytes) {
    return bytes == 8 ? ((const u64 *)row(w, r))[lane] : ((const u32 *)row(w, r))[lane];
}

// Lanes act one after the other, lowest first.
const struct uop *run_atom(struct warp *w, const struct uop *u) {
    const struct atom_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    uint8_t *ptr[LANES];
    if (m == 0) {
        return u + 1;
    }
    if (!sim_lane_pointers(w, u, m, ptr, &x->access)) {
        return STOP;
    }
    w->x->stats.order |= x->order;
    FOR_LANES(l, m) {
        for (int e = 0; e < x->n; e++) {
            uint64_t old = 0;
            uint8_t *p = ptr[l] + e * x->bytes;
            memcpy(&old, p, (size_t)x->bytes);
            uint64_t v = lane_value(w, x->value[e], l, x->bytes);
            uint64_t c = x->op == ATOM_CAS ? lane_value(w, x->swap, l, x->bytes) : 0;
            uint64_t new = atomic_value(x, old, v, c);
            memcpy(p, &new, (size_t)x->bytes);
            if (x->returns && x->bytes == 8) {
                ((u64 *)row(w, x->dst[e]))[l] = old;
            } else if (x->returns) {
                ((u32 *)row(w, x->dst[e]))[l] = (uint32_t)old;
            }
        }
    }
    return u + 1;
}

// ---- address queries ----------------------------------------------------------------------------
// mapa d, a, rank: the same offset in another CTA. flag 1: generic addresses. The address of a CTA that does not
// exist may be made (CUTLASS lets every lane make one), but not be used.
const struct uop *run_mapa(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const u32 *rank = row(w, u->b);
    FOR_LANES(l, m) {
        uint32_t to = rank[l] < 0xFF ? rank[l] : 0xFF; // the field has eight bits
        if (u->flag != 0) {
            uint64_t a = ((const u64 *)row(w, u->a))[l];
            ((u64 *)row(w, u->d))[l] = (a & ~0xFF000000ull) | (uint64_t)to << RANK_SHIFT;
        } else {
            uint32_t a = ((const u32 *)row(w, u->a))[l];
            ((u32 *)row(w, u->d))[l] = (a & OFFSET_MASK) | to << RANK_SHIFT;
        }
    }
    return u + 1;
}

const struct uop *run_getctarank(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    FOR_LANES(l, m) {
        uint32_t a = u->flag != 0 ? (uint32_t)((const u64 *)row(w, u->a))[l]
                                  : ((const u32 *)row(w, u->a))[l];
        ((u32 *)row(w, u->d))[l] = a >> RANK_SHIFT;
    }
    return u + 1;
}

const struct uop *run_isspacep(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const u64 *a = row(w, u->a);
    FOR_LANES(l, m) {
        uint64_t window = a[l] & WINDOW_MASK;
        bool other = window == WINDOW_SHARED || window == WINDOW_LOCAL || window == WINDOW_PARAM;
        bool yes = u->imm == 0 ? !other : window == (uint64_t)u->imm;
        if (yes && u->flag != 0) { // shared::cta
            yes = ((uint32_t)a[l] >> RANK_SHIFT) == w->cta->rank;
        }
        w->p[u->d] = (w->p[u->d] & ~(1u << l)) | (uint32_t)yes << l;
    }
    return u + 1;
}
