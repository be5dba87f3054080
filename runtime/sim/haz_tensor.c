// Asynchronous operations as the detector sees them, as they are issued: copies, tcgen05, wgmma,
// cp.async, and the waits that tell that they are done. What an operation touches is checked against
// the clock of its issuer (PTX ISA "Asynchronous operations", "tcgen05 memory consistency model",
// "Asynchronous Warpgroup Level Matrix Instructions: async proxy").
#include "haz.h"
#include "unit_tma.h"
#include <stdlib.h>

#define WGMMA_BASE(t) (((t)->index & ~3u) * N_COMPS) // of its warpgroup

struct issue {
    struct haz *h;
    struct haz_thread *t;
    struct async_op *op;
    uint32_t uop;
    uint32_t lanes; // that take part
};

static struct issue issue_of(struct warp *w, const struct uop *u, uint32_t m) {
    return (struct issue){.h = w->x->haz,
                          .t = haz_thread_of(w),
                          .uop = (uint32_t)(u - w->code),
                          .lanes = m};
}

static uint32_t record(const struct issue *s, uint32_t comp, uint32_t epoch, uint8_t flags) {
    struct haz_make m = {.uop = s->uop, .comp = comp, .epoch = epoch, .flags = flags};
    return haz_record(s->t, &m);
}

static struct haz_access access_of(const struct issue *s, uint32_t rec, const char *space) {
    return (struct haz_access){
        .h = s->h,
        .t = s->t,
        .rec = rec,
        .write = (s->h->rec[rec].flags & REC_WRITE) != 0,
        .read = (s->h->rec[rec].flags & REC_WRITE) == 0,
        .space = space,
        .check_initial = true,
        .lane = (s->lanes & (s->lanes - 1)) != 0 ? LANE_SEVERAL
                                                 : (uint8_t)(first_lane(s->lanes) + 1),
        .lanes = s->lanes,
    };
}

static void shared(const struct issue *s, uint32_t rec, uint32_t address, uint32_t bytes) {
    uint32_t rank = address >> RANK_SHIFT;
    if (rec != 0 && rank < s->t->cluster->cluster->size) {
        struct haz_access y = access_of(s, rec, "shared memory");
        haz_shared(&y, &s->t->cluster->cta[rank], address & OFFSET_MASK, bytes);
    }
}

static void global(const struct issue *s, uint32_t rec, uint64_t address, uint64_t bytes) {
    if (rec != 0) {
        struct haz_access y = access_of(s, rec, "global memory");
        y.check_initial = false;
        if (s->h->has_pdl && !s->t->pdl) {
            haz_report(s->h, HAZ_PDL, s->uop, UINT32_MAX, "global memory");
        }
        haz_global(&y, address, bytes);
    }
}

// ---- tensor maps --------------------------------------------------------------------------------
static const struct sim_tmap *map_of(const struct issue *s) {
    uint64_t a = s->op->global;
    struct exec *x = s->h->x;
    if ((a & WINDOW_MASK) == WINDOW_PARAM) {
        uint32_t off = (uint32_t)a;
        bool ok = off <= x->k->param_bytes && x->k->param_bytes - off >= SIM_TMAP_BYTES;
        return ok ? (const struct sim_tmap *)(const void *)(x->params + off) : NULL;
    }
    return (const struct sim_tmap *)(const void *)devmem_at(&s->h->sim->mem, a, SIM_TMAP_BYTES);
}

struct rows {
    const struct issue *s;
    uint32_t rec;
};

static void one_row(void *user, uint64_t address, uint64_t bytes) {
    const struct rows *r = user;
    global(r->s, r->rec, address, bytes);
}

// A copy reads its tensor map; in parameters nothing can write it.
static void map_read(const struct issue *s, uint32_t rec) {
    if ((s->op->global & WINDOW_MASK) == WINDOW_PARAM || s->h->n_pages == 0) {
        return;
    }
    const struct haz_rec r = s->h->rec[rec];
    uint32_t map = record(s, r.comp, r.epoch, REC_ASYNC | REC_MAP);
    if (map != 0) {
        s->h->rec[rec].next = r.comp == UNRESOLVED ? map : 0; // haz_complete finds it
        struct haz_access y = access_of(s, map, "global memory");
        haz_map_read(&y, s->op->global);
    }
}

static void box_rows(const struct issue *s, const struct sim_tmap *map, uint32_t rec) {
    struct rows r = {s, rec};
    map_read(s, rec);
    bool write = (s->h->rec[rec].flags & REC_WRITE) != 0;
    if (!write && s->h->n_pages == 0) {
        return;
    }
    struct unit_tma t = {map, (int)s->op->bytes, s->op->coord, s->op->smem & OFFSET_MASK,
                         (enum unit_tma_mode)s->op->dtype};
    unit_tma_rows(&t, one_row, &r);
}

// Swizzles of tensor maps and of descriptors as one number, 0: not known.
static uint8_t map_swizzle(const struct sim_tmap *map) {
    switch (map->swizzle) {
    case TMAP_SW_NONE:
        return 1 + UNIT_SW_NONE;
    case TMAP_SW_32:
        return 1 + UNIT_SW_32;
    case TMAP_SW_64:
        return 1 + UNIT_SW_64;
    case TMAP_SW_128:
        return 1 + UNIT_SW_128;
    case TMAP_SW_128_ATOM32:
        return 1 + UNIT_SW_128_ATOM32;
    default:
        return 0;
    }
}

// ---- copies -------------------------------------------------------------------------------------
static void issue_load(const struct issue *s) {
    struct async_op *op = s->op;
    bool tensor = op->kind == ASYNC_TMA_LOAD;
    const struct sim_tmap *map = tensor ? map_of(s) : NULL;
    if (tensor && (map == NULL || !unit_tmap_is_sound(map))) {
        return;
    }
    uint32_t bytes = tensor ? unit_tma_smem_bytes(map, (enum unit_tma_mode)op->dtype)
                     : op->kind == ASYNC_CLC ? UNIT_CLC_BYTES
                                             : op->bytes;
    uint32_t mask = op->mask != 0 ? op->mask : 1u << (op->smem >> RANK_SHIFT);
    uint32_t last = 0;
    haz_check_signal(s->t, op, s->uop);
    for (uint32_t rank = 0; rank < s->t->cluster->cluster->size; rank++) {
        if ((mask >> rank & 1) == 0) {
            continue;
        }
        uint8_t flags = REC_ASYNC | REC_WRITE;
        uint32_t rec = record(s, UNRESOLVED, 0, op->kind == ASYNC_RED_REMOTE ? flags | REC_STRONG : flags);
        if (rec == 0) {
            return;
        }
        if (tensor && map->box[0] * (uint32_t)unit_tmap_elem_bits(map->dtype) / 8 > 16) {
            s->h->rec[rec].swizzle = map_swizzle(map);
        }
        if (last == 0) {
            op->haz = rec;
        } else {
            s->h->rec[last].next = rec;
        }
        last = rec;
        shared(s, rec, (op->smem & OFFSET_MASK) | rank << RANK_SHIFT, bytes);
    }
    if (op->kind == ASYNC_ST_REMOTE || op->kind == ASYNC_RED_REMOTE) {
        return; // what is sent was in registers
    }
    // The reading side is done when the first of the copies has signalled.
    uint32_t read = record(s, UNRESOLVED, 0, REC_ASYNC);
    if (read == 0 || op->haz == 0) {
        return;
    }
    op->haz_read = read;
    if (op->kind == ASYNC_BULK_LOAD) {
        global(s, read, op->global, op->bytes);
    } else if (op->kind == ASYNC_BULK_DSMEM) {
        shared(s, read, op->smem2, op->bytes);
    } else if (tensor) {
        box_rows(s, map, read);
    }
}

static void issue_store(const struct issue *s) {
    struct async_op *op = s->op;
    struct haz_thread *t = s->t;
    bool tensor = op->kind == ASYNC_TMA_STORE || op->kind == ASYNC_TMA_REDUCE;
    bool reduces = op->kind == ASYNC_TMA_REDUCE || op->kind == ASYNC_BULK_REDUCE;
    const struct sim_tmap *map = tensor ? map_of(s) : NULL;
    if (tensor && (map == NULL || !unit_tmap_is_sound(map))) {
        return;
    }
    if (t->n_open == t->open_capacity) {
        uint32_t more = t->open_capacity == 0 ? 16 : t->open_capacity * 2;
        struct haz_store *list = realloc(t->open, more * sizeof *list);
        if (list == NULL) {
            s->h->failed = true;
            return;
        }
        t->open = list;
        t->open_capacity = more;
    }
    uint32_t seq = ++t->stores;
    t->open[t->n_open++] = (struct haz_store){
        .seq = seq, .group = op->group, .uop = s->uop, .lanes = op->lanes};
    uint32_t bytes =
        tensor ? unit_tma_smem_bytes(map, (enum unit_tma_mode)op->dtype) : op->bytes;
    uint32_t read = record(s, t->base + COMP_SOURCE, seq, REC_ASYNC);
    uint8_t flags = REC_ASYNC | REC_WRITE;
    uint32_t write = record(s, t->base + COMP_STORED, seq,
                            (uint8_t)(reduces ? flags | REC_STRONG : flags));
    if (read == 0 || write == 0) {
        return;
    }
    s->h->rec[write].scope = SCOPE_GPU;
    if (tensor && map->box[0] * (uint32_t)unit_tmap_elem_bits(map->dtype) / 8 > 16) {
        s->h->rec[read].swizzle = map_swizzle(map);
    }
    shared(s, read, op->smem, bytes);
    if (tensor) {
        box_rows(s, map, write);
    } else {
        global(s, write, op->global, op->bytes);
    }
}

static void issue_cp(const struct issue *s) {
    struct haz_thread *t = s->t;
    const struct async_op *op = s->op;
    uint32_t comp = t->base + COMP_CP;
    struct haz_make m = {.uop = s->uop, .comp = comp, .epoch = t->cp + 1,
                         .flags = REC_CP | REC_WRITE, .lane = LANE_CELL};
    shared(s, haz_record(t, &m), op->smem, op->bytes);
    global(s, record(s, comp, t->cp + 1, REC_CP), op->global, op->zero_from);
}

// ---- tcgen05 ------------------------------------------------------------------------------------
static uint32_t tensor_record(const struct issue *s, enum haz_comp comp, enum haz_pipe pipe,
                              uint8_t flags) {
    struct haz_make m = {.uop = s->uop,
                         .comp = s->t->base + comp,
                         .epoch = s->t->tcgen05,
                         .flags = flags,
                         .pipe = (uint8_t)pipe,
                         .lane = LANE_SEVERAL};
    return haz_record(s->t, &m);
}

// Shared memory that a descriptor names: rows of 32 bytes (16 of a narrow tcgen05.cp).
struct operand {
    struct unit_fetch fetch;
    int bytes;
    uint32_t rank;
    uint32_t used; // of each 16 bytes, the first ones that hold elements; the others pad them
};

// PTX ISA "Packing formats of 6-bit and 4-bit elements": kinds of 8-bit containers in shared memory.
static uint32_t used_bytes(const struct unit_mma_form *form, enum num_fmt f) {
    if (form->kind == UNIT_KIND_MXF4 || form->kind == UNIT_KIND_MXF4NVF4) {
        return 16;
    }
    return f == NUM_E2M1 ? 8 : f == NUM_E2M3 || f == NUM_E3M2 ? 12 : 16;
}

// How much of 16 bytes counts as read: padding that came with the elements, in one copy, may be overwritten when they
// may, as the copy is seen to be done as a whole.
static uint32_t read_bytes(const struct issue *s, const struct operand *o, uint32_t offset) {
    if (o->used == 0 || o->used == 16 || o->fetch.mn_major) {
        return 16;
    }
    const struct haz_cta *c = &s->t->cluster->cta[o->rank];
    if (c->smem == NULL || offset + 16 > c->cta->smem_bytes) {
        return o->used;
    }
    uint32_t elements = CELL_ID(c->smem[offset / 4].w);
    return elements != 0 && elements == CELL_ID(c->smem[offset / 4 + 3].w) ? 16 : o->used;
}

static void operand(const struct issue *s, const struct operand *o, enum haz_pipe pipe) {
    struct haz_make m = {.uop = s->uop,
                         .comp = s->t->base + COMP_MMA,
                         .epoch = s->t->tcgen05,
                         .flags = REC_ASYNC,
                         .pipe = (uint8_t)pipe,
                         .swizzle = (uint8_t)(1 + o->fetch.desc.swizzle)};
    if (pipe == PIPE_NONE) { // wgmma
        m.comp = WGMMA_BASE(s->t) + COMP_WGMMA;
        m.epoch = s->t->warp->wgmma_committed + 1;
    }
    uint32_t rec = haz_record(s->t, &m);
    uint32_t run = o->fetch.mn_major ? (uint32_t)o->fetch.elem_bytes : 16;
    uint32_t last = UINT32_MAX;
    for (int row = 0; row < o->fetch.rows; row++) {
        for (int kb = 0; kb < o->bytes; kb += (int)run) {
            uint32_t a = unit_operand_address(&o->fetch, row, kb);
            uint32_t cell = a / 16;
            if (o->fetch.mn_major && cell == last) {
                continue;
            }
            last = cell;
            a &= ~15u;
            shared(s, rec, a | o->rank << RANK_SHIFT, read_bytes(s, o, a));
        }
    }
}

static void tensor_access(const struct issue *s, uint32_t rec, uint32_t rank, uint32_t taddr,
                          uint32_t columns, uint32_t parts) {
    if (rec != 0) {
        struct haz_access y = access_of(s, rec, "tensor memory column");
        haz_tensor(&y, &s->t->cluster->cta[rank], taddr & 0xFFFF, columns, parts);
    }
}

// 16-lane groups of D: all, or with 64 rows of one CTA every other one.
static uint32_t parts_of(const struct unit_mma *mma, const struct unit_idesc *id) {
    bool quarters = id->m == 64 * mma->form.cta_group && !mma->form.ws &&
                    (mma->form.cta_group == 1 || id->sparse);
    return !quarters ? 0xFF : mma->d >> 16 == 16 ? 0xAA : 0x55;
}

static void issue_mma(const struct issue *s) {
    const struct unit_mma *mma = &s->op->mma;
    struct unit_idesc id;
    if (unit_idesc_decode(&id, &mma->form, mma->idesc) != UNIT_OK) {
        return;
    }
    uint32_t own = s->t->warp->cta->rank;
    uint32_t first = mma->form.cta_group == 2 ? own & ~1u : own;
    int rows = id.m / mma->form.cta_group;
    int elem = id.k == 8 ? 4 : id.k == 16 ? 2 : 1;
    bool wide = mma->form.cta_group == 2 && id.m == 128 && !id.sparse;
    uint32_t columns = (uint32_t)id.n / (wide || (mma->form.ws && rows < 128)
                                             ? (uint32_t)(UNIT_TMEM_LANES / rows)
                                             : 1u);
    for (uint32_t rank = first; rank < first + (uint32_t)mma->form.cta_group; rank++) {
        struct operand o = {.fetch = {.rows = rows, .elem_bytes = elem, .mn_major = id.mn_a},
                            .bytes = 32,
                            .rank = rank,
                            .used = used_bytes(&mma->form, id.a)};
        if (!mma->a_in_tmem && unit_desc_tcgen05(&o.fetch.desc, mma->a) == UNIT_OK) {
            operand(s, &o, PIPE_MMA);
        }
        o.fetch.rows = id.n / mma->form.cta_group;
        o.fetch.mn_major = id.mn_b;
        o.bytes = id.sparse ? 64 : 32;
        o.used = used_bytes(&mma->form, id.b);
        if (unit_desc_tcgen05(&o.fetch.desc, mma->b) == UNIT_OK) {
            operand(s, &o, PIPE_MMA);
        }
        uint32_t read = tensor_record(s, COMP_MMA, PIPE_MMA, REC_ASYNC);
        uint32_t write = tensor_record(s, COMP_MMA, PIPE_MMA, REC_ASYNC | REC_WRITE);
        if (mma->a_in_tmem) {
            tensor_access(s, read, rank, (uint32_t)mma->a, 8, parts_of(mma, &id));
        }
        if (id.sparse) {
            tensor_access(s, read, rank, mma->meta, (uint32_t)unit_meta_cols(&id), parts_of(mma, &id));
        }
        if (mma->form.block != 0) {
            tensor_access(s, read, rank, mma->sfa & 0x3FFFFFFF, (uint32_t)(rows + 31) / 32, 0xFF);
            tensor_access(s, read, rank, mma->sfb & 0x3FFFFFFF, (uint32_t)(id.n + 31) / 32, 0xFF);
        }
        if (mma->enable_d) {
            tensor_access(s, read, rank, mma->d, columns, parts_of(mma, &id));
        }
        tensor_access(s, write, rank, mma->d, columns, parts_of(mma, &id));
    }
}

static void issue_tensor_copy(const struct issue *s) {
    static const struct {
        int rows, bytes;
    } forms[] = {[UNIT_CP_32X128B_WARPX4] = {32, 16},       [UNIT_CP_64X128B_WARPX2_02_13] = {64, 16},
                 [UNIT_CP_64X128B_WARPX2_01_23] = {64, 16}, [UNIT_CP_128X128B] = {128, 16},
                 [UNIT_CP_128X256B] = {128, 32},            [UNIT_CP_4X256B] = {4, 32}};
    const struct async_op *op = s->op;
    uint32_t own = s->t->warp->cta->rank;
    uint32_t first = op->group == 2 ? own & ~1u : own;
    bool shift = op->kind == ASYNC_TSHIFT;
    enum haz_pipe pipe = shift ? PIPE_SHIFT : PIPE_CP;
    for (uint32_t rank = first; rank < first + op->group; rank++) {
        uint32_t columns = shift ? 8 : (uint32_t)forms[op->cp.shape].bytes / 4;
        struct operand o = {.fetch = {.elem_bytes = 1}, .rank = rank};
        if (!shift && unit_desc_tcgen05(&o.fetch.desc, op->cp.desc) == UNIT_OK) {
            o.fetch.rows = forms[op->cp.shape].rows;
            o.bytes = forms[op->cp.shape].bytes;
            operand(s, &o, pipe);
        }
        if (shift) {
            tensor_access(s, tensor_record(s, COMP_MMA, pipe, REC_ASYNC), rank, op->cp.taddr,
                          columns, 0xFF);
        }
        tensor_access(s, tensor_record(s, COMP_MMA, pipe, REC_ASYNC | REC_WRITE), rank,
                      op->cp.taddr, columns, 0xFF);
    }
}

static void issue_tcgen05(const struct issue *s) {
    struct haz_thread *t = s->t;
    if (s->op->kind == ASYNC_COMMIT) {
        haz_check_signal(t, s->op, s->uop);
        if (t->committed == t->tcgen05) {
            haz_report(s->h, HAZ_COMMIT, s->uop, UINT32_MAX, "warp %u", t->warp->index);
        }
        t->committed = t->tcgen05;
        s->op->haz = t->tcgen05;
        // The manual orders the tensor operations before the arrival; kernels in the field also hand
        // over what their issuer had waited for (rows that other warps have moved to tensor memory).
        if (s->h->profile == SIM_HAZARDS_PRACTICE) {
            haz_copy(t->cluster, &t->commits, &t->now);
        }
        return;
    }
    if ((s->lanes & (s->lanes - 1)) != 0) {
        haz_report(s->h, HAZ_SEVERAL, s->uop, UINT32_MAX, "lanes 0x%08x of warp %u", s->lanes,
                   t->warp->index);
    }
    t->tcgen05++;
    if (s->op->kind == ASYNC_MMA) {
        issue_mma(s);
    } else {
        issue_tensor_copy(s);
    }
}

void haz_issue(struct warp *w, struct async_op *op) {
    uint32_t m = exec_mask(w, op->u);
    struct issue s = issue_of(w, op->u, op->kind < ASYNC_WGMMA ? 1u << op->lane : m);
    s.op = op;
    switch (op->kind) {
    case ASYNC_BULK_LOAD:
    case ASYNC_TMA_LOAD:
    case ASYNC_BULK_DSMEM:
    case ASYNC_ST_REMOTE:
    case ASYNC_RED_REMOTE:
    case ASYNC_CLC:
        issue_load(&s);
        break;
    case ASYNC_BULK_STORE:
    case ASYNC_BULK_REDUCE:
    case ASYNC_TMA_STORE:
    case ASYNC_TMA_REDUCE:
        issue_store(&s);
        break;
    case ASYNC_CP:
        issue_cp(&s);
        break;
    case ASYNC_CP_ARRIVE:
        op->haz = ++s.t->cp;
        break;
    default:
        issue_tcgen05(&s);
        break;
    }
}

void haz_columns(struct cta *c, uint32_t column, uint32_t n) {
    struct haz_cta *hc = &c->cluster->haz->cta[c->rank];
    if (hc->tmem != NULL) {
        memset(&hc->tmem[column * TMEM_PARTS], 0, (size_t)n * TMEM_PARTS * sizeof *hc->tmem);
    }
}

// ---- waits --------------------------------------------------------------------------------------
// Stores are waited for in groups of a lane; the clock holds how many of the warp are done without a
// gap.
const struct uop *haz_bulk_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || w->bulk == NULL) {
        return next;
    }
    struct haz_thread *t = haz_thread_of(w);
    bool read_only = haz_ins_of(w, u)->read;
    uint32_t read = t->stores;
    uint32_t written = t->stores;
    uint32_t kept = 0;
    uint32_t owners = 0; // lanes that have waited for something of theirs
    for (uint32_t n = 0; n < t->n_open; n++) {
        struct haz_store *o = &t->open[n];
        uint32_t waited = 0; // lanes
        FOR_LANES(l, o->lanes & m) {
            waited |= (uint32_t)(o->group < bulk_groups_over(w, u, l)) << l;
        }
        bool over = waited != 0;
        owners |= waited;
        o->read |= over;
        o->written |= over && !read_only;
        read = !o->read && o->seq <= read ? o->seq - 1 : read;
        written = !o->written && o->seq <= written ? o->seq - 1 : written;
        if (!o->written) {
            t->open[kept++] = *o;
        }
    }
    t->n_open = kept;
    if (owners != 0) {
        haz_done(t, owners, t->base + COMP_SOURCE, read);
        haz_done(t, owners, t->base + COMP_STORED, written);
    }
    return next;
}

const struct uop *haz_cp_commit(struct warp *w, const struct uop *u) {
    if (exec_mask(w, u) != 0) {
        struct haz_thread *t = haz_thread_of(w);
        t->commit[t->n_commits++ % 64] = ++t->cp;
    }
    return haz_do(w, u);
}

const struct uop *haz_cp_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    struct haz_thread *t = haz_thread_of(w);
    if (u->imm < 0) {
        t->cp++;
        haz_done(t, m, t->base + COMP_CP, t->cp);
    } else if (t->n_commits > (uint64_t)u->imm && u->imm < 64) {
        uint32_t epoch = t->commit[(t->n_commits - 1 - (uint32_t)u->imm) % 64];
        haz_done(t, m, t->base + COMP_CP, epoch);
    }
    return next;
}

// ---- tensor memory of threads -------------------------------------------------------------------
static const struct uop *ldst(struct warp *w, const struct uop *u, bool load) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    const struct ldst_aux *x = u->aux;
    struct issue s = issue_of(w, u, m);
    s.t->tcgen05++;
    s.t->committed++; // no commit tracks it
    uint32_t taddr = ((const u32 *)row(w, u->a))[first_lane(m)] + (uint32_t)u->imm;
    uint32_t rec = tensor_record(&s, load ? COMP_LD : COMP_ST, load ? PIPE_LD : PIPE_ST,
                                 (uint8_t)(REC_ASYNC | (load ? 0 : REC_WRITE)));
    bool half = x->op.shape != UNIT_T32X32B;
    uint32_t lanes = half ? ((taddr >> 16) % 32 == 16 ? 2u : 1u) : 3u;
    tensor_access(&s, rec, w->cta->rank, taddr, (uint32_t)unit_ldst_cols(&x->op),
                  lanes << 2 * (w->index % 4));
    return next;
}

const struct uop *haz_tmem_ld(struct warp *w, const struct uop *u) {
    return ldst(w, u, true);
}

const struct uop *haz_tmem_st(struct warp *w, const struct uop *u) {
    return ldst(w, u, false);
}

const struct uop *haz_tmem_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next != STOP && m != 0) {
        struct haz_thread *t = haz_thread_of(w);
        enum haz_comp comp = haz_ins_of(w, u)->store ? COMP_ST : COMP_LD;
        haz_done(t, m, t->base + comp, t->tcgen05);
        if (comp == COMP_LD) {
            haz_held_end(t);
        }
    }
    return next;
}

// The word that the column number is written to.
const struct uop *haz_tmem_alloc(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next != STOP && m != 0) {
        struct issue s = issue_of(w, u, m);
        uint32_t rec = record(&s, s.t->base + COMP_OWN, s.t->now.v[s.t->base + COMP_OWN], REC_WRITE);
        struct haz_access y = access_of(&s, rec, "shared memory");
        uint32_t a = sim_shared_address(w, u->a, u->imm, first_lane(m));
        y.lane = LANE_UNKNOWN; // the manual does not say which
        haz_shared(&y, &s.t->cluster->cta[w->cta->rank], a & OFFSET_MASK, 4);
    }
    return next;
}

const struct uop *haz_tmem_dealloc(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return haz_do(w, u);
    }
    struct issue s = issue_of(w, u, m);
    uint32_t taddr = ((const u32 *)row(w, u->a))[first_lane(m)] + (uint32_t)u->imm;
    uint32_t n = ((const u32 *)row(w, u->b))[first_lane(m)];
    const struct uop *next = haz_do(w, u);
    if (next != STOP) {
        s.t->tcgen05++;
        s.t->committed++;
        uint32_t rec = tensor_record(&s, COMP_ST, PIPE_DEALLOC, REC_WRITE);
        tensor_access(&s, rec, w->cta->rank, taddr, n, 0xFF);
        haz_columns(w->cta, taddr & 0xFFFF, n);
    }
    return next;
}

// ---- wgmma --------------------------------------------------------------------------------------
static int elem_bytes_of(enum num_fmt f) {
    return f == NUM_TF32 ? 4 : f == NUM_F16 || f == NUM_BF16 ? 2 : 1;
}

// Shared memory that a wgmma reads.
static void wgmma_operands(const struct issue *s, struct warp *w, const struct wgmma_aux *x) {
    struct operand o = {.fetch = {.rows = x->op.n,
                                  .elem_bytes = elem_bytes_of(x->op.b),
                                  .mn_major = x->op.mn_b},
                        .bytes = x->op.sparse ? 64 : 32,
                        .rank = w->cta->rank};
    if (unit_desc_wgmma(&o.fetch.desc, ((const u64 *)row(w, x->bdesc))[0]) == UNIT_OK) {
        operand(s, &o, PIPE_NONE);
    }
    o.bytes = 32;
    o.fetch.rows = 64;
    o.fetch.elem_bytes = elem_bytes_of(x->op.a);
    o.fetch.mn_major = x->op.mn_a;
    if (!x->op.a_in_regs &&
        unit_desc_wgmma(&o.fetch.desc, ((const u64 *)row(w, x->adesc))[0]) == UNIT_OK) {
        operand(s, &o, PIPE_NONE);
    }
}

// What they hold; each stays where it is in the list of the cluster's clocks.
static void swap_clocks(struct haz_clock *a, struct haz_clock *b) {
    struct haz_clock was = *a;
    struct haz_clock *next = b->next;
    *a = *b;
    a->next = was.next;
    *b = was;
    b->next = next;
}

// A wgmma begins only once all four warps of its warpgroup have issued it, and what each of them did before comes
// before it: kernels in the field hand over shared memory within a warpgroup so (CUTLASS, backward attention).
static void wgmma_of_all(const struct issue *s, struct warp *w, const struct wgmma_aux *x) {
    struct haz_thread *t = s->t;
    haz_copy(t->cluster, &t->joined, &t->now);
    for (uint32_t n = 0; n < 4; n++) {
        const struct haz_thread *peer = &t->cluster->thread[(t->index & ~3u) + n];
        if (peer->issued_group >= w->wgmma_committed + 1) { // it may be ahead
            haz_join(t->cluster, &t->joined, &peer->issued);
        }
    }
    swap_clocks(&t->now, &t->joined);
    wgmma_operands(s, w, x);
    swap_clocks(&t->now, &t->joined);
}

const struct uop *haz_wgmma(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    bool last = wgmma_completes(w);
    const struct wgmma_aux *x = u->aux;
    struct haz_thread *t = haz_thread_of(w);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    struct issue s = issue_of(w, u, m);
    int n_owned = unit_wgmma_regs(&x->op);
    for (int r = 0; r < n_owned; r++) {
        t->owned[x->d[r]] = w->wgmma_committed + 1;
    }
    // A wgmma is done only once all four warps of its warpgroup have issued it. Kernels in the field build on
    // that: one warp waits and gives the stage back for all (CUTLASS, with scales that all have read before).
    if (s.h->profile == SIM_HAZARDS_PRACTICE && t->issued_group != w->wgmma_committed + 1) {
        t->issued_group = w->wgmma_committed + 1;
        haz_copy(t->cluster, &t->issued, &t->now);
        haz_tick(t);
    }
    if (!t->wgmma_fenced) { // PTX ISA "wgmma.fence": before the first one in any case
        haz_report(s.h, HAZ_WGMMA_FENCE, s.uop, UINT32_MAX, "warp %u", w->index);
    }
    if (s.h->profile != SIM_HAZARDS_PRACTICE) {
        wgmma_operands(&s, w, x);
    } else if (last) {
        wgmma_of_all(&s, w, x);
    }
    return next;
}

const struct uop *haz_wgmma_wait(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    struct haz_thread *t = haz_thread_of(w);
    if (m != w->alive) {
        haz_report(w->x->haz, HAZ_CONVERGE, (uint32_t)(u - w->code), UINT32_MAX,
                   "lanes 0x%08x of 0x%08x", m, w->alive);
    }
    uint32_t stay = (uint32_t)u->imm;
    uint32_t done = w->wgmma_committed > stay ? w->wgmma_committed - stay : 0;
    haz_done(t, m, WGMMA_BASE(t) + COMP_WGMMA, done);
    t->waited = done > t->waited ? done : t->waited;
    for (uint32_t n = 0; w->x->haz->profile == SIM_HAZARDS_PRACTICE && done > 0 && n < 4; n++) {
        const struct haz_thread *peer = &t->cluster->thread[(t->index & ~3u) + n];
        if (peer != t && peer->issued_group != 0) {
            haz_acquire(t, &peer->issued, m);
        }
    }
    return next;
}

const struct uop *haz_wgmma_read(struct warp *w, const struct uop *u) {
    struct haz *h = w->x->haz;
    uint32_t uop = (uint32_t)(u - w->code);
    struct haz_thread *t = haz_thread_of(w);
    const struct sim_kernel *k = &h->kernel;
    if (exec_mask(w, u) == 0) {
        return haz_ins_of(w, u)->after(w, u);
    }
    for (uint32_t i = sim_first_use(k, uop); i < k->n_uses && k->uses[i].uop == uop; i++) {
        const struct kernel_use *x = &k->uses[i];
        if (!x->write && !x->pred && t->owned[x->row] > t->waited) {
            haz_report(h, HAZ_ACCUMULATOR, uop, UINT32_MAX, "warp %u", w->index);
        }
    }
    if (wgmma_owner(w, u) != NULL) {
        return warp_park(w, u, (struct split){.state = SPLIT_WGMMA});
    }
    return haz_ins_of(w, u)->after(w, u);
}

// ---- tensor maps in memory ----------------------------------------------------------------------
// tensormap.replace writes 128 bytes; cp_fenceproxy copies them from shared to global memory.
const struct uop *haz_tmap(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next == STOP || m == 0) {
        return next;
    }
    struct issue s = issue_of(w, u, m);
    struct haz_thread *t = s.t;
    uint32_t epoch = t->now.v[t->base + COMP_OWN];
    uint32_t write = record(&s, t->base + COMP_OWN, epoch, REC_WRITE);
    int l = first_lane(m);
    if (haz_ins_of(w, u)->fn == run_tmap_copy) {
        const struct copy_aux *x = u->aux;
        uint64_t to = ((const u64 *)row(w, x->global & ~ADDRESS_32))[l] + (uint64_t)x->global_off;
        shared(&s, record(&s, t->base + COMP_OWN, epoch, 0),
               sim_shared_address(w, x->smem, x->smem_off, l), SIM_TMAP_BYTES);
        global(&s, write, to, SIM_TMAP_BYTES);
        return next;
    }
    const struct replace_aux *x = u->aux;
    uint64_t a = (u->a & ADDRESS_32) != 0 ? sim_shared_address(w, u->a, u->imm, l)
                                          : ((const u64 *)row(w, u->a))[l] + (uint64_t)u->imm;
    if (x->shared || (a & WINDOW_MASK) == WINDOW_SHARED) {
        shared(&s, write, (uint32_t)a, SIM_TMAP_BYTES);
    } else {
        global(&s, write, a, SIM_TMAP_BYTES);
    }
    return next;
}
