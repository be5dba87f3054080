// tcgen05 (PTX ISA, "TensorCore 5th Generation Family Instructions"): allocation of TMEM, products,
// copies of scales, loads and stores, and what orders them. Products and copies are asynchronous
// and end with a later commit of the same thread; loads and stores with tcgen05.wait of their warp.
#include "v.h"
#include "v_desc.h"

#include <string.h>

// ---- allocation ---------------------------------------------------------------------------------
bool v_tmem_alloc(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    v_place at = v_shared(m, w, i, v_address_same(m, w, i, &i->arg[0], mask));
    uint64_t n = v_need_same(m, w, i, &i->arg[1], mask);
    v_cta *c = &m->cta[w->cta];
    uint32_t from = c->allocs; // handed out in order
    if (n < 32 || n > V_TMEM_COLUMNS || (n & (n - 1)) != 0 || from + n > V_TMEM_COLUMNS) {
        v_refuse(m, w, i,
                 "tcgen05.alloc of %llu columns with %u of 512 in use: a power of two from 32 on "
                 "that fits",
                 (unsigned long long)n, from);
    }
    for (uint64_t col = from; col < from + n; col++) {
        c->allocated[col] = true;
    }
    c->allocs += (uint32_t)n;
    v_touch(m, w, i, (uint32_t)__builtin_ctz(mask), at, 4, true);
    v_put_value(m, at, from, 4, true);
    return true;
}

bool v_tmem_relinquish(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)m;
    return v_together(w, i, mask);
}

static void need_columns(v_machine *m, v_warp *w, const v_ins *i, int cta, uint32_t from,
                         uint32_t n) {
    for (uint32_t col = from; col < from + n; col++) {
        if (col >= V_TMEM_COLUMNS || !m->cta[cta].allocated[col]) {
            v_refuse(m, w, i, "TMEM column %u of CTA %d is not allocated", col, cta);
        }
    }
}

bool v_tmem_dealloc(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    uint32_t from = (uint32_t)v_need_same(m, w, i, &i->arg[0], mask) & 0xFFFF;
    uint32_t n = (uint32_t)v_need_same(m, w, i, &i->arg[1], mask);
    v_cta *c = &m->cta[w->cta];
    if (n > c->allocs) {
        v_refuse(m, w, i, "tcgen05.dealloc of %u columns, %u are allocated", n, c->allocs);
    }
    need_columns(m, w, i, w->cta, from, n);
    uint32_t op = v_async_new(m, VA_TMEM_ST, w->first, i);
    for (uint32_t col = from; col < from + n; col++) {
        v_touch_tmem(m, w, op, mask, w->cta, col, VU_FREE, 15);
        c->allocated[col] = false;
        memset(&c->tmem[4 * col], 0, 4 * sizeof *c->tmem);
    }
    c->allocs -= n;
    return true;
}

// ---- products and copies ------------------------------------------------------------------------
static uint32_t tensor_op(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    uint32_t op = v_async_new(m, VA_TENSOR, w->first + lane, i);
    m->async[op].order = ++m->orders[w->first + lane];
    return op;
}

typedef struct {
    uint32_t op, lane;
    int first, last; // CTAs
} issue;

static issue issue_of(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    issue s = {tensor_op(m, w, i, lane), lane, w->cta, w->cta};
    if (v_has(i, VW_pair)) {
        s.first = w->cta & ~1;
        s.last = s.first + 1;
        if (s.last >= m->n_ctas) {
            v_refuse(m, w, i, "%s in a cluster of %d: a pair is needed", i->op, m->n_ctas);
        }
    }
    return s;
}

static void tmem(v_machine *m, v_warp *w, const v_ins *i, const issue *s, uint32_t address,
                 uint32_t columns, v_tmem_use use) {
    uint32_t from = address & 0xFFFF;
    for (int cta = s->first; cta <= s->last; cta++) {
        need_columns(m, w, i, cta, from, columns);
        for (uint32_t col = from; col < from + columns; col++) {
            v_touch_tmem(m, w, s->op, 1u << s->lane, cta, col, use, 15);
        }
    }
}

static void operand(v_machine *m, v_warp *w, const issue *s, uint64_t desc,
                    const v_operand_shape *shape) {
    v_span spans[V_MOST_SPANS];
    int n = v_desc_spans(desc, shape, spans);
    for (int cta = s->first; cta <= s->last; cta++) {
        for (int k = 0; k < n; k++) {
            v_touch_async(m, w, s->op, s->lane, (v_place){cta, spans[k].from}, spans[k].bytes,
                          false);
        }
    }
}

static uint32_t address_of(v_machine *m, v_warp *w, const v_ins *i, int arg, uint32_t lane) {
    return (uint32_t)v_address(m, w, i, &i->arg[arg], lane);
}

// [d], a-desc or [a], b-desc, idesc{, [sfa], [sfb]}...: PTX ISA "Instruction descriptor"
static void product(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    issue s = issue_of(m, w, i, lane);
    uint32_t idesc = (uint32_t)v_need(m, w, i, &i->arg[3], lane);
    uint32_t n = (idesc >> 17 & 63) * 8;
    uint32_t rows = v_has(i, VW_block_scale) ? (idesc >> 27 & 3) * 128 : (idesc >> 24 & 31) * 16;
    uint32_t pair = v_has(i, VW_pair) ? 2 : 1;
    bool half = strstr(i->op, "kind::f16") != NULL, tf32 = strstr(i->op, "kind::tf32") != NULL;
    uint32_t elem = tf32 ? 4 : half ? 2 : 1;
    tmem(m, w, i, &s, address_of(m, w, i, 0, lane), n, VU_ACCUMULATE);
    if (i->arg[1].kind == VO_ADDRESS) {
        tmem(m, w, i, &s, address_of(m, w, i, 1, lane), 8, VU_OPERAND);
    } else {
        operand(m, w, &s, v_need(m, w, i, &i->arg[1], lane),
                &(v_operand_shape){rows / pair, elem, (idesc >> 15 & 1) != 0, 61});
    }
    operand(m, w, &s, v_need(m, w, i, &i->arg[2], lane),
            &(v_operand_shape){n / pair, elem, (idesc >> 16 & 1) != 0, 61});
    if (v_has(i, VW_block_scale)) {
        uint32_t a_columns = rows / pair <= 32 ? 1 : rows / pair / 32;
        tmem(m, w, i, &s, address_of(m, w, i, 4, lane), a_columns, VU_SCALES);
        tmem(m, w, i, &s, address_of(m, w, i, 5, lane), n < 32 ? 1 : n / 32, VU_SCALES);
    }
}

bool v_tcgen05_mma(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (v_has(i, VW_ws) || strstr(i->op, ".sp") != NULL) {
        v_refuse(m, w, i, "%s is not followed", i->op);
    }
    if ((mask & (mask - 1)) != 0) {
        v_refuse(m, w, i, "%d lanes issue a product that one should", __builtin_popcount(mask));
    }
    product(m, w, i, (uint32_t)__builtin_ctz(mask));
    return true;
}

// Rows and columns of TMEM by shape (PTX ISA "tcgen05.cp").
bool v_tcgen05_cp(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    static const struct {
        const char *shape;
        uint32_t rows, bytes;
    } shapes[] = {{"32x128b", 32, 16},
                  {"128x256b", 128, 32},
                  {"4x256b", 4, 32},
                  {"128x128b", 128, 16},
                  {"64x128b", 64, 16}};
    V_EACH(lane, mask) {
        issue s = issue_of(m, w, i, lane);
        bool found = false;
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes && !found; k++) {
            found = strstr(i->op, shapes[k].shape) != NULL;
            if (found) {
                tmem(m, w, i, &s, address_of(m, w, i, 0, lane), shapes[k].bytes / 4, VU_COPY);
                operand(m, w, &s, v_need(m, w, i, &i->arg[1], lane),
                        &(v_operand_shape){shapes[k].rows, 0, false, 61});
            }
        }
        if (!found) {
            v_refuse(m, w, i, "a shape of tcgen05.cp that is not followed");
        }
    }
    return true;
}

// [mbar]{, mask}: an arrival when all that this thread has issued is over.
bool v_tcgen05_commit(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        uint32_t id = w->first + lane;
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        uint32_t ctas = v_has(i, VW_multicast)
                            ? (uint32_t)v_need(m, w, i, &i->arg[1], lane) & 0xFFFF
                            : 1u << at.cta;
        for (int cta = 0; cta < V_MOST_CTAS; cta++) {
            if ((ctas >> cta & 1) == 0) {
                continue;
            }
            if (cta >= m->n_ctas) {
                v_refuse(m, w, i, "a commit to CTAs 0x%x of a cluster of %d", ctas, m->n_ctas);
            }
            v_mbar *b = v_mbar_at(m, w, i, (v_place){cta, at.offset});
            v_mbar_seen(m, w, i, b, lane, true);
            if (m->n_commits[id] == m->most_commits[id]) {
                uint32_t room = m->most_commits[id] == 0 ? 64 : 2 * m->most_commits[id];
                v_commit *more = ARENA_ARRAY(m->mem, v_commit, room);
                if (m->n_commits[id] > 0) {
                    memcpy(more, m->commits[id], m->n_commits[id] * sizeof *more);
                }
                m->commits[id] = more;
                m->most_commits[id] = room;
            }
            v_commit *c = &m->commits[id][m->n_commits[id]++];
            *c = (v_commit){m->orders[id], (uint32_t)(m->n_threads + b->index),
                            (uint32_t)b->phase + 1};
            v_remote(m, w, i, cta, c->comp, c->at);
            v_mbar_arrive(m, w, i, b, 1);
        }
    }
    return true;
}

// ---- loads and stores ---------------------------------------------------------------------------
static void registers(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask, bool store) {
    uint32_t address = (uint32_t)v_address_same(m, w, i, &i->arg[store ? 0 : 1], mask);
    uint32_t quarter = (uint32_t)w->index % 4;
    bool narrow = strstr(i->op, "16x") != NULL;
    uint32_t unit = strstr(i->op, "16x64b")    ? 2
                    : strstr(i->op, "16x128b") ? 4
                    : strstr(i->op, "16x256b") ? 8
                                               : 1;
    if ((address >> 16) / 32 != quarter || (!narrow && (address >> 16) % 32 != 0)) {
        v_refuse(m, w, i, "%s at lane %u of TMEM: this warp reaches lanes %u to %u", i->op,
                 address >> 16, 32 * quarter, 32 * quarter + 31);
    }
    uint32_t from = address & 0xFFFF, n = unit * (uint32_t)i->vec;
    need_columns(m, w, i, w->cta, from, n);
    uint32_t op = v_async_new(m, store ? VA_TMEM_ST : VA_TMEM_LD, w->first, i);
    for (uint32_t col = from; col < from + n; col++) {
        v_touch_tmem(m, w, op, mask, w->cta, col, store ? VU_STORE : VU_LOAD, 1u << quarter);
    }
    v_pend(m, store ? &w->tmem_st : &w->tmem_ld, op);
}

bool v_tcgen05_ld(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    registers(m, w, i, mask, false);
    v_set_unknown(m, w, &i->arg[0], mask);
    for (int p = 0; p < i->arg[0].n; p++) {
        int reg = i->arg[0].part[p].kind == VO_REG ? i->arg[0].part[p].reg : -1;
        if (reg >= 0 && !w->loading[reg]) {
            w->loading[reg] = 1;
            w->loads[w->n_loading++] = reg;
        }
    }
    return true;
}

bool v_tcgen05_st(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    registers(m, w, i, mask, true);
    return true;
}

bool v_tcgen05_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    v_pending *p = strstr(i->op, "wait::st") != NULL ? &w->tmem_st : &w->tmem_ld;
    while (p == &w->tmem_ld && w->n_loading > 0) {
        w->loading[w->loads[--w->n_loading]] = 0;
    }
    p->groups++; // all of them
    v_finish(m, p, 0, w->first);
    return true;
}
