// Records of accesses, shadow cells, and the rules that decide whether two accesses conflict
// (PTX ISA "Memory Consistency Model", "Async proxy", "tcgen05 memory consistency model").
#include "haz.h"
#include <stdlib.h>

#define FIRST_LIMIT (1u << 20) // records before unused ones are looked for

static struct haz_rec *rec_at(const struct haz *h, uint32_t id) {
    return &h->rec[id];
}

// ---- records ------------------------------------------------------------------------------------
static void mark(struct haz *h, uint32_t id) {
    while (id != 0 && (h->rec[id].flags & REC_MARK) == 0) {
        struct haz_rec *r = &h->rec[id];
        r->flags |= REC_MARK;
        if ((r->flags & REC_SET) != 0) {
            mark(h, r->comp);
        }
        id = r->next;
    }
}

static void mark_cells(struct haz *h, const struct haz_cell *c, size_t n) {
    for (size_t i = 0; c != NULL && i < n; i++) {
        mark(h, CELL_ID(c[i].w));
        mark(h, CELL_ID(c[i].r));
    }
}

static void mark_all(struct haz *h) {
    for (struct cluster *cl = h->x->live; cl != NULL; cl = cl->next) {
        for (uint32_t r = 0; cl->haz != NULL && r < cl->size; r++) {
            const struct haz_cta *c = &cl->haz->cta[r];
            mark_cells(h, c->smem, (h->x->smem_bytes + 16) / 4);
            mark_cells(h, c->tmem, (size_t)UNIT_TMEM_COLS * TMEM_PARTS);
        }
        for (uint32_t n = 0; cl->haz != NULL && n < cl->haz->n_threads; n++) {
            memset(cl->haz->thread[n].recent, 0, sizeof cl->haz->thread[n].recent);
        }
    }
    for (uint32_t p = 0; p < h->page_capacity; p++) {
        mark_cells(h, h->page[p] == NULL ? NULL : h->page[p]->cell, 1024);
    }
    for (uint32_t id = 1; id < h->n_rec; id++) { // copies in flight are found by their signal
        if (h->rec[id].comp == UNRESOLVED) {
            mark(h, id);
        }
    }
}

// Puts records that no cell names any more on the list of spare ones, when there are many. Called
// between instructions: nobody holds a record of his own.
void haz_collect(struct haz *h) {
    if (h->rec_limit == 0) {
        h->rec_limit = FIRST_LIMIT;
    }
    if (h->spare != 0 || h->n_rec < h->rec_limit) {
        return;
    }
    mark_all(h);
    uint32_t used = 0;
    h->spare = 0;
    memset(h->memo, 0, sizeof h->memo);
    for (uint32_t id = h->n_rec - 1; id > 0; id--) {
        struct haz_rec *r = &h->rec[id];
        if ((r->flags & REC_MARK) != 0) {
            r->flags &= (uint8_t)~REC_MARK;
            used++;
        } else {
            *r = (struct haz_rec){.next = h->spare};
            h->spare = id;
        }
    }
    h->rec_limit = used > h->rec_limit / 2 ? h->rec_limit * 2 : h->rec_limit;
}

// A new record; 0 when out of memory.
static uint32_t new_rec(struct haz *h) {
    if (h->spare != 0) {
        uint32_t id = h->spare;
        h->spare = h->rec[id].next;
        return id;
    }
    if (h->n_rec >> CELL_BITS != 0) {
        h->failed = true;
        return 0;
    }
    if (h->n_rec == h->rec_capacity) {
        uint32_t more = h->rec_capacity == 0 ? 1024 : h->rec_capacity * 2;
        struct haz_rec *list = realloc(h->rec, more * sizeof *list);
        if (list == NULL) {
            h->failed = true;
            return 0;
        }
        h->rec = list;
        h->rec_capacity = more;
        h->n_rec = h->n_rec == 0 ? 1 : h->n_rec; // 0 is none
        h->rec[0] = (struct haz_rec){.comp = 0};
    }
    return h->n_rec++;
}

uint32_t haz_record(struct haz_thread *t, const struct haz_make *m) {
    struct haz *h = t->cluster->haz;
    uint32_t slot = (m->uop * 4 + m->pipe + (m->flags & REC_WRITE)) % 64;
    bool reuse = m->comp != UNRESOLVED;
    if (reuse && t->recent[slot].id != 0 && t->recent[slot].uop == m->uop &&
        t->recent[slot].epoch == m->epoch && t->recent[slot].comp == m->comp) {
        const struct haz_rec *r = &h->rec[t->recent[slot].id];
        if (r->flags == m->flags && r->pipe == m->pipe && r->swizzle == m->swizzle &&
            r->lane == m->lane) {
            return t->recent[slot].id;
        }
    }
    uint32_t id = new_rec(h);
    if (id == 0) {
        return 0;
    }
    h->rec[id] = (struct haz_rec){.comp = m->comp,
                                  .epoch = m->epoch,
                                  .uid = t->cluster->uid,
                                  .uop = m->uop,
                                  .issue = t->now.v[t->base + COMP_OWN],
                                  .warp = t->index,
                                  .flags = m->flags,
                                  .pipe = m->pipe,
                                  .swizzle = m->swizzle,
                                  .lane = m->lane,
                                  .scope = h->ins[m->uop].scope,
                                  .rank = (uint8_t)t->warp->cta->rank};
    if (reuse) {
        t->recent[slot].uop = m->uop;
        t->recent[slot].epoch = m->epoch;
        t->recent[slot].comp = m->comp;
        t->recent[slot].id = id;
    }
    return id;
}

// ---- lists of readers ---------------------------------------------------------------------------
static uint32_t set_head(const struct haz *h, uint32_t id) {
    const struct haz_rec *r = rec_at(h, id);
    return (r->flags & REC_SET) != 0 ? r->comp : id;
}

static uint32_t set_next(const struct haz *h, uint32_t id) {
    const struct haz_rec *r = rec_at(h, id);
    return (r->flags & REC_SET) != 0 ? r->next : 0;
}

// Later work of the same kind by the same warp stands for the earlier: it is complete no sooner.
static bool supersedes(const struct haz_rec *x, const struct haz_rec *old) {
    return x->comp == old->comp && x->comp != UNRESOLVED && x->uid == old->uid &&
           x->flags == old->flags && x->pipe == old->pipe && x->epoch >= old->epoch;
}

static uint32_t add_reader(struct haz *h, uint32_t r, uint32_t x) {
    if (r == 0 || r == x) {
        return x;
    }
    uint32_t slot = (r * 31 + x) % 256;
    if (h->memo[slot].r == r && h->memo[slot].x == x) {
        return h->memo[slot].to;
    }
    uint32_t to = 0;
    uint32_t keep[64];
    uint32_t n = 0;
    for (uint32_t at = r; at != 0; at = set_next(h, at)) {
        uint32_t old = set_head(h, at);
        if (old != x && n < 64 && !supersedes(rec_at(h, x), rec_at(h, old))) {
            keep[n++] = old;
        }
    }
    keep[n == 64 ? 63 : n] = x;
    n = n == 64 ? 64 : n + 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = i == 0 ? keep[0] : new_rec(h);
        if (id != 0 && i > 0) {
            h->rec[id] = (struct haz_rec){.comp = keep[i], .next = to, .flags = REC_SET};
        }
        to = id != 0 ? id : to;
    }
    h->memo[slot].r = r;
    h->memo[slot].x = x;
    h->memo[slot].to = to;
    return to;
}

// ---- rules --------------------------------------------------------------------------------------
static bool morally_strong(const struct haz_rec *x, const struct haz_rec *y) {
    if ((x->flags & y->flags & REC_STRONG) == 0) {
        return false;
    }
    bool same_cta = x->uid == y->uid && x->rank == y->rank;
    bool same_cluster = x->uid == y->uid;
    uint8_t need = same_cta ? SCOPE_CTA : same_cluster ? SCOPE_CLUSTER : SCOPE_GPU;
    return x->scope >= need && y->scope >= need;
}

static bool known_as_issued(const struct haz_access *a, const struct haz_rec *x) {
    struct haz_rec issue = *x;
    issue.comp = x->warp * N_COMPS + COMP_OWN;
    issue.epoch = x->issue;
    return haz_known(a->t->cluster, &a->t->now, PLANE_G, &issue);
}

// A copy takes its tensor map as it is issued on hardware; the manual says no more than that the
// map must not change before the copy is complete.
static enum haz_kind unordered(const struct haz_access *a, const struct haz_rec *x) {
    bool in_flight = (x->flags & (REC_ASYNC | REC_CP)) != 0;
    if ((x->flags & REC_MAP) != 0 && known_as_issued(a, x)) {
        return HAZ_MAP_READ;
    }
    const struct haz_rec *y = rec_at(a->h, a->rec);
    uint8_t both = x->flags & y->flags;
    if ((both & REC_WRITE) != 0 && (both & REC_ASYNC) != 0 && !a->global) {
        return HAZ_OVERWRITE;
    }
    return !in_flight ? HAZ_RACE : (x->flags & REC_WRITE) != 0 ? HAZ_INCOMPLETE : HAZ_SOURCE;
}

// HAZ_COUNT: no conflict.
static enum haz_kind judge_memory(const struct haz_access *a, const struct haz_rec *x) {
    const struct haz_cluster *cl = a->t->cluster;
    const struct haz_rec *y = rec_at(a->h, a->rec);
    const struct haz_clock *now = &a->t->now;
    if (morally_strong(x, y)) {
        return HAZ_COUNT;
    }
    if ((x->flags & REC_WRITE) == 0 && haz_known(cl, &a->t->late, PLANE_G, x)) {
        return HAZ_COUNT;
    }
    bool x_async = (x->flags & REC_ASYNC) != 0;
    bool y_async = (y->flags & REC_ASYNC) != 0;
    if (!y_async || x_async) {
        return haz_known(cl, now, PLANE_G, x) ? HAZ_COUNT : unordered(a, x);
    }
    bool wrote = (x->flags & REC_WRITE) != 0;
    int published = a->global && a->h->of_space ? PLANE_B : PLANE_A;
    if (haz_known(cl, now, published, x)) {
        bool by_writer = x->uid != cl->uid || published == PLANE_B || haz_known(cl, now, PLANE_W, x);
        return wrote && !by_writer ? HAZ_PROXY_PLACE : HAZ_COUNT;
    }
    if (!haz_known(cl, now, PLANE_G, x)) {
        return unordered(a, x);
    }
    return !wrote                         ? HAZ_PROXY_READ
           : (x->flags & REC_CP) != 0     ? HAZ_PROXY_CP
           : (y->flags & REC_WRITE) != 0  ? HAZ_PROXY_WRITE
           : a->global                    ? HAZ_PROXY_GLOBAL
                                          : HAZ_PROXY;
}

// Pairs that the tensor pipe keeps in order (PTX ISA "Implicitly pipelined tcgen05 instructions").
static bool pipelined(const struct haz_rec *x, const struct haz_rec *y) {
    switch (y->pipe) {
    case PIPE_MMA:
        return x->pipe == PIPE_MMA || x->pipe == PIPE_CP || x->pipe == PIPE_SHIFT;
    case PIPE_SHIFT:
        return x->pipe == PIPE_MMA;
    case PIPE_CP:
        return x->pipe == PIPE_SHIFT;
    default:
        return false;
    }
}

static enum haz_kind judge_tensor(const struct haz_access *a, const struct haz_rec *x) {
    const struct haz_cluster *cl = a->t->cluster;
    const struct haz_rec *y = rec_at(a->h, a->rec);
    const struct haz_clock *now = &a->t->now;
    const struct haz_clock *active = &a->t->active;
    bool same = x->warp == y->warp;
    if (haz_known(cl, now, PLANE_G, x)) {
        if (same) {
            return HAZ_COUNT;
        }
        struct haz_rec before = *x;
        before.comp = x->warp * N_COMPS + COMP_BEFORE;
        bool ldst = x->pipe == PIPE_LD || x->pipe == PIPE_ST;
        if (ldst && !haz_known(cl, now, PLANE_G, &before)) {
            return HAZ_TENSOR_BEFORE;
        }
        return haz_known(cl, active, PLANE_G, x) ? HAZ_COUNT : HAZ_TENSOR_AFTER;
    }
    if (!pipelined(x, y)) {
        bool moves = (x->pipe == PIPE_LD || x->pipe == PIPE_ST) &&
                     (y->pipe == PIPE_LD || y->pipe == PIPE_ST);
        if (moves && !same && known_as_issued(a, x)) {
            return HAZ_TENSOR_WAIT;
        }
        bool reuse = x->pipe <= PIPE_SHIFT && y->pipe <= PIPE_SHIFT && y->pipe != PIPE_NONE;
        return reuse && same ? HAZ_TENSOR_PIPE : HAZ_TENSOR;
    }
    if (same) {
        return HAZ_COUNT;
    }
    struct haz_rec order = *x;
    order.comp = x->warp * N_COMPS + COMP_BEFORE;
    if (haz_known(cl, now, PLANE_G, &order)) {
        return haz_known(cl, active, PLANE_G, &order) ? HAZ_COUNT : HAZ_TENSOR_AFTER;
    }
    return known_as_issued(a, x) ? HAZ_TENSOR_BEFORE : HAZ_TENSOR;
}

// Where two accesses meet: bytes of a cell, the lane of it that the cell knows.
struct spot {
    uint64_t address;
    uint32_t bytes;
    uint8_t lane;
    bool tensor;
};

// Warps that hold copies of the same values store them all (Triton's layouts): whichever is last, the
// memory is the same.
static bool writes_the_same(const struct haz_access *a, const struct haz_rec *x) {
    bool plain = (x->flags & (REC_WRITE | REC_ASYNC | REC_STRONG | REC_CP | REC_SET)) == REC_WRITE;
    return a->h->profile == SIM_HAZARDS_PRACTICE && plain && a->store != NULL && !a->read &&
           haz_unchanged(a);
}

static void judge(const struct haz_access *a, uint32_t id, const struct spot *at) {
    if (id == 0 || id == a->rec) {
        return;
    }
    const struct haz_rec *x = rec_at(a->h, id);
    enum haz_kind k = at->tensor ? judge_tensor(a, x) : judge_memory(a, x);
    bool lanes = (k == HAZ_COUNT || k == HAZ_PROXY_READ) && // which only one profile wants
                 !morally_strong(x, rec_at(a->h, a->rec)) &&
                 haz_lane_conflict(a, x, at->lane, at->bytes);
    if (lanes) {
        haz_report_conflict(HAZ_LANES, &(struct haz_conflict){a, id, at->address});
    }
    if (k == HAZ_RACE && !at->tensor && writes_the_same(a, x)) {
        return;
    }
    if (k != HAZ_COUNT) {
        haz_report_conflict(k, &(struct haz_conflict){a, id, at->address});
    }
}

static void swizzles(const struct haz_access *a, uint32_t id, uint64_t address) {
    uint8_t x = id == 0 ? 0 : rec_at(a->h, id)->swizzle;
    uint8_t y = rec_at(a->h, a->rec)->swizzle;
    if (x != 0 && y != 0 && x != y) {
        haz_report_conflict(HAZ_SWIZZLE, &(struct haz_conflict){a, id, address});
    }
}

// Does a reader stand between the last write and this one? What it waited for has been done. Fences that are missing
// between the reader and here are told of when the reader is judged.
static bool through_reader(const struct haz_access *a, uint32_t readers, bool tensor) {
    for (uint32_t at = readers; at != 0; at = set_next(a->h, at)) {
        const struct haz_rec *x = rec_at(a->h, set_head(a->h, at));
        enum haz_kind k = tensor ? judge_tensor(a, x) : judge_memory(a, x);
        bool done = k == HAZ_COUNT || k == HAZ_TENSOR_BEFORE || k == HAZ_TENSOR_AFTER;
        if (done && (x->flags & REC_WRITE) == 0) {
            return true;
        }
    }
    return false;
}

// The cell knows the lane of the last of the readers, which stands first.
static void judge_readers(const struct haz_access *a, uint32_t readers, const struct spot *at) {
    struct spot here = *at;
    for (uint32_t r = readers; r != 0; r = set_next(a->h, r)) {
        judge(a, set_head(a->h, r), &here);
        here.lane = LANE_UNKNOWN;
    }
}

static struct haz_cell read_cell(const struct haz_access *a, struct haz_cell c, uint32_t bytes) {
    uint32_t r = CELL_ID(c.r);
    const struct haz_rec *last = r == 0 ? NULL : rec_at(a->h, set_head(a->h, r));
    uint8_t lane = haz_reader_lane(a, last, c.r_lane);
    return (struct haz_cell){c.w, CELL(add_reader(a->h, r, a->rec), CELL_BYTES(c.r) | bytes),
                             c.w_lane, lane};
}

// Bytes that others wrote before stay known as written, in the name of the last writer.
static struct haz_cell write_cell(const struct haz_access *a, struct haz_cell c, uint32_t bytes) {
    uint32_t w = CELL_ID(c.w);
    bool whole = bytes == ALL_BYTES || w == a->rec;
    uint8_t lane = c.w_lane == a->lane || (bytes == ALL_BYTES && w != a->rec) || c.w == 0
                       ? a->lane
                   : w == a->rec ? LANE_SEVERAL
                                 : LANE_UNKNOWN;
    return (struct haz_cell){CELL(a->rec, CELL_BYTES(c.w) | bytes), whole ? 0 : c.r, lane,
                             c.r_lane};
}

// What is loaded into registers may stay unused, and does in practice: the rows beyond the last of a
// tile, of a matrix in shared or in tensor memory.
static enum haz_kind unwritten(const struct haz_access *a, bool tensor) {
    bool unused = a->load && a->h->profile == SIM_HAZARDS_PRACTICE;
    if (!tensor) {
        return unused ? HAZ_UNINIT_READ : HAZ_UNINIT_SHARED;
    }
    return a->beside ? HAZ_UNINIT_LANES : unused ? HAZ_UNINIT_LOAD : HAZ_UNINIT_TENSOR;
}

// What an access to some bytes does to one cell.
static struct haz_cell visit(const struct haz_access *a, struct haz_cell c, uint32_t bytes,
                             uint64_t address, bool tensor) {
    uint32_t w = CELL_ID(c.w);
    uint32_t r = CELL_ID(c.r);
    bool touched = (CELL_BYTES(c.w) & bytes) != 0;
    if (a->read && (~CELL_BYTES(c.w) & bytes) != 0 && a->check_initial) {
        haz_report_conflict(unwritten(a, tensor), &(struct haz_conflict){a, 0, address});
    }
    struct spot at = {address, bytes, c.w_lane, tensor};
    if (touched && !(a->write && r != 0 && through_reader(a, r, tensor))) {
        judge(a, w, &at);
    }
    if (a->nc && touched) {
        haz_report_conflict(HAZ_NC, &(struct haz_conflict){a, w, address});
    }
    if (a->read && !tensor) {
        swizzles(a, w, address);
    }
    if (!a->write) {
        return read_cell(a, c, bytes);
    }
    if ((CELL_BYTES(c.r) & bytes) != 0) {
        at.lane = c.r_lane;
        judge_readers(a, r, &at);
    }
    return write_cell(a, c, bytes);
}

// May what 'a' does to a cell depend on its lanes?
static bool by_lane(const struct haz_access *a, const struct haz_cell *c) {
    uint32_t w = CELL_ID(c->w);
    uint32_t r = CELL_ID(c->r);
    return (w != 0 && haz_lanes_matter(a, rec_at(a->h, w))) ||
           (r != 0 && haz_lanes_matter(a, rec_at(a->h, set_head(a->h, r))));
}

// 'first' and 'last': which bytes of the cells at the ends.
struct run_of_cells {
    struct haz_cell *cell;
    size_t n;
    uint64_t address;
    uint32_t first, last;
};

static void visit_run(const struct haz_access *a, const struct run_of_cells *run) {
    struct haz_cell *c = run->cell;
    struct haz_cell old = {UINT32_MAX, UINT32_MAX, 0, 0};
    struct haz_cell to = old;
    uint32_t before = 0;
    bool lanes = false;
    for (size_t i = 0; i < run->n; i++) {
        uint32_t bytes = (i == 0 ? run->first : ALL_BYTES) &
                         (i + 1 == run->n ? run->last : ALL_BYTES);
        bool same = c[i].w == old.w && c[i].r == old.r && bytes == before &&
                    (!lanes || (c[i].w_lane == old.w_lane && c[i].r_lane == old.r_lane));
        if (!same) {
            old = c[i];
            before = bytes;
            lanes = by_lane(a, &old);
            to = visit(a, old, bytes, run->address + 4 * i, false);
        }
        to.w_lane = a->write ? to.w_lane : c[i].w_lane;
        c[i] = to;
    }
}

static struct run_of_cells cells_of(struct haz_cell *base, uint64_t offset, uint64_t bytes) {
    uint64_t end = offset + bytes;
    return (struct run_of_cells){.cell = base + offset / 4,
                                 .n = (size_t)((end + 3) / 4 - offset / 4),
                                 .first = ALL_BYTES << offset % 4 & ALL_BYTES,
                                 .last = ALL_BYTES >> (3 - (end - 1) % 4)};
}

void haz_shared(const struct haz_access *y, struct haz_cta *c, uint32_t offset, uint32_t bytes) {
    uint64_t end = (uint64_t)offset + bytes;
    if (y->rec == 0 || bytes == 0 || c->smem == NULL || end > c->cta->smem_bytes) {
        return; // the instruction itself is going to fault
    }
    struct run_of_cells run = cells_of(c->smem, offset, bytes);
    run.address = ((uint64_t)c->cta->rank << RANK_SHIFT) + offset;
    visit_run(y, &run);
}

// ---- global memory ------------------------------------------------------------------------------
static struct haz_page *page_of(struct haz *h, uint64_t number, bool make) {
    if (h->last_page != NULL && h->last_page->number == number) {
        return h->last_page;
    }
    if (h->n_pages * 2 >= h->page_capacity && make) {
        uint32_t more = h->page_capacity == 0 ? 256 : h->page_capacity * 2;
        struct haz_page **list = calloc(more, sizeof(struct haz_page *));
        if (list == NULL) {
            h->failed = true;
            return NULL;
        }
        for (uint32_t i = 0; i < h->page_capacity; i++) {
            if (h->page[i] != NULL) {
                uint64_t at = h->page[i]->number * 0x9E3779B97F4A7C15ull >> 32;
                while (list[at % more] != NULL) {
                    at++;
                }
                list[at % more] = h->page[i];
            }
        }
        free(h->page);
        h->page = list;
        h->page_capacity = more;
    }
    uint64_t at = number * 0x9E3779B97F4A7C15ull >> 32;
    for (; h->page_capacity > 0; at++) {
        struct haz_page **p = &h->page[at % h->page_capacity];
        if (*p == NULL && !make) {
            return NULL;
        }
        if (*p == NULL) {
            *p = calloc(1, sizeof **p);
            h->failed |= *p == NULL;
            if (*p == NULL) {
                return NULL;
            }
            (*p)->number = number;
            h->n_pages++;
        }
        if ((*p)->number == number) {
            h->last_page = *p;
            return *p;
        }
    }
    return NULL;
}

// Memory that this launch has not written is not shadowed: reading it is not a conflict.
void haz_global(const struct haz_access *y, uint64_t address, uint64_t bytes) {
    if (y->rec == 0 || (!y->write && y->h->n_pages == 0)) {
        return;
    }
    struct haz_access a = *y;
    a.global = true;
    uint64_t at = address;
    while (at < address + bytes) {
        uint64_t end = (at | 4095) + 1;
        end = end < address + bytes ? end : address + bytes;
        struct haz_page *p = page_of(y->h, at >> 12, y->write);
        if (p != NULL) {
            struct run_of_cells run = cells_of(p->cell, at & 4095, end - at);
            run.address = at;
            visit_run(&a, &run);
        }
        at = end;
    }
}

// A copy reads its tensor map: what wrote it must have been acquired for the tensormap proxy.
void haz_map_read(const struct haz_access *y, uint64_t address) {
    struct haz_page *p = y->h->n_pages == 0 ? NULL : page_of(y->h, address >> 12, false);
    for (uint32_t i = 0; p != NULL && i < SIM_TMAP_BYTES / 4; i++) {
        struct haz_cell *c = &p->cell[(address & 4095) / 4 + i];
        if (c->w == 0) {
            continue;
        }
        uint32_t w = CELL_ID(c->w);
        const struct haz_rec *x = rec_at(y->h, w);
        bool acquired = y->h->has_maps && haz_known(y->t->cluster, &y->t->now, PLANE_MAP, x);
        bool ordered = haz_known(y->t->cluster, &y->t->now, PLANE_G, x);
        if (!acquired) {
            haz_report_conflict(ordered ? HAZ_MAP : HAZ_RACE,
                                &(struct haz_conflict){y, w, address});
            return;
        }
        c->r = CELL(add_reader(y->h, CELL_ID(c->r), y->rec), ALL_BYTES);
    }
}

// ---- tensor memory ------------------------------------------------------------------------------
// A load reads all 32 lanes of its warp, also where a product of 64 rows fills half of them.
static bool any_written(const struct haz_cell *column, uint32_t parts) {
    for (uint32_t p = 0; p < TMEM_PARTS; p++) {
        if ((parts >> p & 1) != 0 && column[p].w != 0) {
            return true;
        }
    }
    return false;
}

void haz_tensor(const struct haz_access *y, struct haz_cta *c, uint32_t column, uint32_t columns,
                uint32_t parts) {
    if (y->rec == 0 || column + columns > UNIT_TMEM_COLS) {
        return;
    }
    if (c->tmem == NULL) {
        c->tmem = calloc((size_t)UNIT_TMEM_COLS * TMEM_PARTS, sizeof *c->tmem);
        if (c->tmem == NULL) {
            y->h->failed = true;
            return;
        }
    }
    struct haz_cell old = {UINT32_MAX, UINT32_MAX, 0, 0};
    struct haz_cell to = old;
    struct haz_access a = *y;
    a.load = rec_at(y->h, y->rec)->pipe == PIPE_LD;
    for (uint32_t i = column; i < column + columns; i++) {
        bool beside = a.load && any_written(&c->tmem[i * TMEM_PARTS], parts);
        for (uint32_t p = 0; p < TMEM_PARTS; p++) {
            struct haz_cell *at = &c->tmem[i * TMEM_PARTS + p];
            if ((parts >> p & 1) == 0) {
                continue;
            }
            if (at->w != old.w || at->r != old.r || beside != a.beside) {
                old = *at;
                a.beside = beside;
                to = visit(&a, old, ALL_BYTES, i | (uint64_t)p << 20, true);
            }
            *at = to;
        }
    }
}
