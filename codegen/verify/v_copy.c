// Copies: TMA and bulk copies in both directions, cp.async, cluster launch control. Bytes of a
// tensor copy are those of its box (out of bounds the box is filled, PTX ISA "Tensor dimension,
// size and format").
#include "v.h"
#include "v_boxes.h"

#include <string.h>

// ---- groups -------------------------------------------------------------------------------------
void v_pend(v_machine *m, v_pending *p, uint32_t op) {
    if (p->n == p->most) {
        uint32_t room = p->most == 0 ? 8 : 2 * p->most;
        uint32_t *ops = ARENA_ARRAY(m->mem, uint32_t, room),
                 *groups = ARENA_ARRAY(m->mem, uint32_t, room);
        if (p->n > 0) {
            memcpy(ops, p->op, p->n * sizeof *ops);
            memcpy(groups, p->group, p->n * sizeof *groups);
        }
        p->op = ops;
        p->group = groups;
        p->most = room;
    }
    p->op[p->n] = op;
    p->group[p->n++] = p->groups + 1;
}

void v_finish(v_machine *m, v_pending *p, uint32_t left, uint32_t thread) {
    uint32_t upto = p->groups > left ? p->groups - left : 0, kept = 0;
    for (uint32_t n = 0; n < p->n; n++) {
        if (p->group[n] <= upto) {
            v_async *a = &m->async[p->op[n]];
            a->done = true;
            a->comp = thread;
            a->at = *v_now(m, thread);
        } else {
            p->op[kept] = p->op[n];
            p->group[kept++] = p->group[n];
        }
    }
    p->n = kept;
}

bool v_bulk_commit(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)i;
    V_EACH(lane, mask) {
        m->bulk[w->first + lane].groups++;
    }
    return true;
}

bool v_bulk_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t left = (uint32_t)v_need_same(m, w, i, &i->arg[0], mask);
    V_EACH(lane, mask) {
        v_finish(m, &m->bulk[w->first + lane], left, w->first + lane);
    }
    return true;
}

bool v_cp_commit(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)i;
    V_EACH(lane, mask) {
        m->cp_async[w->first + lane].groups++;
    }
    return true;
}

bool v_cp_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool all = i->n_args == 0;
    uint32_t left = all ? 0 : (uint32_t)v_need_same(m, w, i, &i->arg[0], mask);
    V_EACH(lane, mask) {
        m->cp_async[w->first + lane].groups += all;
        v_finish(m, &m->cp_async[w->first + lane], left, w->first + lane);
    }
    return true;
}

// cp.async.ca.shared.global [dst], [src], bytes{, src-size}
bool v_cp_async(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        v_grid_access(m, w, i, 1u << lane);
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        uint32_t bytes = (uint32_t)v_need(m, w, i, &i->arg[2], lane);
        uint32_t op = v_async_new(m, VA_CP_ASYNC, w->first + lane, i);
        v_touch_async(m, w, op, lane, at, bytes > 16 ? 16 : bytes, true);
        v_pend(m, &m->cp_async[w->first + lane], op);
    }
    return true;
}

bool v_cp_arrive(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_has(i, VW_noinc)) {
        v_refuse(m, w, i, "cp.async.mbarrier.arrive without .noinc is not followed");
    }
    V_EACH(lane, mask) {
        uint32_t id = w->first + lane;
        v_mbar *b = v_mbar_at(m, w, i, v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane)));
        v_mbar_seen(m, w, i, b, lane, false);
        m->cp_async[id].groups++;
        v_finish(m, &m->cp_async[id], 0, id);
        v_release(m, b->cur, w, 1u << lane);
        v_mbar_arrive(m, w, i, b, 1);
    }
    return true;
}

// ---- into shared memory -------------------------------------------------------------------------
typedef struct {
    v_place to, bar;
    uint32_t bytes, tx, mask; // tx: as counted; mask: CTAs, 0: the one of 'to'
    v_async_kind kind;
    int box; // parameter of the tensor map, -1: none
} load;

static void arrives(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, const load *l,
                    int cta) {
    v_place to = {cta, l->to.offset}, bar = {cta, l->bar.offset};
    if (l->mask == 0) {
        bar = l->bar;
    } else if (v_has(i, VW_pair)) { // of the pair, the one that the barrier's address names
        bar.cta = (cta & ~1) | (l->bar.cta & 1);
    }
    uint32_t op = v_async_new(m, l->kind, w->first + lane, i);
    v_touch_async(m, w, op, lane, to, l->bytes, true);
    v_mbar *b = v_mbar_at(m, w, i, bar);
    v_mbar_seen(m, w, i, b, lane, true);
    v_async *a = &m->async[op];
    *a = (v_async){
        l->kind, true, (uint32_t)(m->n_threads + b->index), (uint32_t)b->phase + 1, w->first + lane,
        0,       i};
    v_remote(m, w, i, bar.cta, a->comp, a->at);
    if (bar.cta != cta) {
        v_remote(m, w, i, cta, a->comp, a->at);
    }
    if (m->learn && l->box >= 0) {
        v_boxes_load(m, l->box, to, b, i);
    }
    v_mbar_bytes(m, b, -(int64_t)l->tx);
    m->report->copies++;
}

static void into_shared(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, const load *l) {
    uint32_t mask = l->mask != 0 ? l->mask : 1u << l->to.cta;
    for (int cta = 0; cta < V_MOST_CTAS; cta++) {
        if ((mask >> cta & 1) == 0) {
            continue;
        }
        if (cta >= m->n_ctas) {
            v_refuse(m, w, i, "a multicast to CTAs 0x%x of a cluster of %d", mask, m->n_ctas);
        }
        arrives(m, w, i, lane, l, cta);
    }
}

static int box_of(v_machine *m, v_warp *w, const v_ins *i, const v_operand *map, uint32_t lane) {
    uint64_t address = v_address(m, w, i, map, lane);
    for (int n = 0; address >> 60 == 5 && n < m->k->n_params; n++) {
        const v_param *p = &m->k->params[n];
        uint64_t at = address & 0xFFFFFF;
        if (at >= p->offset && at < p->offset + p->bytes) {
            if (at != p->offset || p->bytes != 128) {
                v_refuse(m, w, i, "parameter %d is no tensor map", n);
            }
            return n;
        }
    }
    v_refuse(m, w, i, "a tensor map that is no parameter: its box is not known");
}

static uint32_t box_bytes(const v_machine *m, int box, bool counted) {
    if (m->facts != NULL && m->facts->box_bytes[box] != 0) {
        return counted ? m->facts->box_tx[box] : m->facts->box_bytes[box];
    }
    return m->boxes != NULL && !m->learn ? m->boxes->bytes[box] : 0;
}

static void from_shared(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, v_place from,
                        uint32_t bytes) {
    uint32_t op = v_async_new(m, VA_STORE, w->first + lane, i);
    v_touch_async(m, w, op, lane, from, bytes, false);
    v_pend(m, &m->bulk[w->first + lane], op);
    m->report->copies++;
}

// [to], [map, {..}], [mbar]{, mask}{, hint} and [map, {..}], [from]{, hint}
bool v_tensor_copy(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        bool into = v_has(i, VW_mbarrier);
        int box = box_of(m, w, i, &i->arg[into ? 1 : 0], lane);
        if (!into || m->facts == NULL || !m->facts->early[box]) {
            v_grid_access(m, w, i, 1u << lane);
        }
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[into ? 0 : 1], lane));
        if (at.offset % 128 != 0) {
            v_refuse(m, w, i, "a box at shared memory %u: boxes are aligned to 128 bytes",
                     at.offset);
        }
        uint32_t bytes = box_bytes(m, box, false);
        if (!into) {
            from_shared(m, w, i, lane, at, bytes != 0 ? bytes : V_GRANULE);
            continue;
        }
        load l = {
            .to = at, .bytes = bytes, .tx = box_bytes(m, box, true), .kind = VA_COPY, .box = box};
        l.bar = v_shared(m, w, i, v_address(m, w, i, &i->arg[2], lane));
        if (v_has(i, VW_multicast)) {
            l.mask = (uint32_t)v_need(m, w, i, &i->arg[3], lane) & 0xFFFF;
        }
        into_shared(m, w, i, lane, &l);
    }
    return true;
}

// cp.async.bulk.shared.global [to], [from], bytes, [mbar]{, mask}; .shared::cluster.shared::cta the
// same; .global.shared [to], [from], bytes
bool v_bulk_copy(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool into = v_has(i, VW_mbarrier);
    V_EACH(lane, mask) {
        uint64_t bytes = v_need(m, w, i, &i->arg[2], lane);
        if (bytes % 16 != 0 || bytes > V_SMEM_BYTES) {
            v_refuse(m, w, i, "a bulk copy of %llu bytes: multiples of 16",
                     (unsigned long long)bytes);
        }
        if (!into) {
            v_grid_access(m, w, i, 1u << lane);
            from_shared(m, w, i, lane, v_shared(m, w, i, v_address(m, w, i, &i->arg[1], lane)),
                        (uint32_t)bytes);
            continue;
        }
        load l = {.bytes = (uint32_t)bytes, .tx = (uint32_t)bytes, .kind = VA_COPY, .box = -1};
        l.to = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        l.bar = v_shared(m, w, i, v_address(m, w, i, &i->arg[3], lane));
        if (v_has(i, VW_multicast)) {
            l.mask = (uint32_t)v_need(m, w, i, &i->arg[4], lane) & 0xFFFF;
        }
        if (v_has(i, VW_global)) {
            v_grid_access(m, w, i, 1u << lane);
        } else { // from one's own shared memory: read until the barrier's phase is over
            uint32_t op = v_async_new(m, VA_COPY, w->first + lane, i);
            v_mbar *b = v_mbar_at(m, w, i, l.bar);
            v_touch_async(m, w, op, lane, v_shared(m, w, i, v_address(m, w, i, &i->arg[1], lane)),
                          l.bytes, false);
            m->async[op].done = true;
            m->async[op].comp = (uint32_t)(m->n_threads + b->index);
            m->async[op].at = (uint32_t)b->phase + 1;
        }
        into_shared(m, w, i, lane, &l);
    }
    return true;
}

// st.async [to], value, [mbar]: a store that signals.
bool v_st_async(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    uint32_t each = i->n_types > 0 ? i->type[0].bits / 8u : 4u;
    V_EACH(lane, mask) {
        load l = {.bytes = each * (uint32_t)i->vec,
                  .tx = each * (uint32_t)i->vec,
                  .kind = VA_COPY,
                  .box = -1};
        l.to = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        l.bar = v_shared(m, w, i, v_address(m, w, i, &i->arg[2], lane));
        into_shared(m, w, i, lane, &l);
    }
    return true;
}

// ---- cluster launch control ---------------------------------------------------------------------
bool v_try_cancel(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        load l = {.bytes = 16, .tx = 16, .kind = VA_CANCEL, .box = -1};
        l.to = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        l.bar = v_shared(m, w, i, v_address(m, w, i, &i->arg[1], lane));
        l.mask = v_has(i, VW_multicast) ? (1u << m->n_ctas) - 1 : 0;
        into_shared(m, w, i, lane, &l);
        uint64_t more = ++m->cancels <= m->given.more_tiles;
        uint64_t ctaid = (m->given.first_cluster + m->cancels) * (uint64_t)m->n_ctas;
        for (int cta = 0; cta < m->n_ctas; cta++) {
            if (l.mask != 0 || cta == l.to.cta) {
                v_put_value(m, (v_place){cta, l.to.offset}, more | ctaid << 32, 16, true);
            }
        }
    }
    return true;
}

bool v_query_cancel(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        bool known = true;
        uint64_t v = v_get(m, w, &i->arg[1], lane, &known);
        const v_operand *d = &i->arg[0];
        if (d->kind == VO_VECTOR) {
            for (int n = 0; n < d->n; n++) {
                v_set(m, w, d->part[n].kind == VO_REG ? d->part[n].reg : -1, lane,
                      n == 0 ? v >> 32 : 0, known);
            }
            continue;
        }
        bool first = strstr(i->op, "ctaid::y") == NULL && strstr(i->op, "ctaid::z") == NULL;
        v_set(m, w, d->kind == VO_REG ? d->reg : -1, lane,
              v_has(i, VW_is_canceled) ? v & 1
              : first                  ? v >> 32
                                       : 0,
              known);
    }
    return true;
}
