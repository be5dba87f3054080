// Values of registers, lane by lane: a number, or unknown because it depends on data. Addresses and
// counts must be numbers. A register that is the same in every lane is kept once.
#include "v.h"

#include <string.h>

static uint64_t special(const v_machine *m, const v_warp *w, const char *name, uint32_t lane,
                        bool *known) {
    uint32_t tid = (uint32_t)w->index * V_LANES + lane;
    uint32_t n_ctas = (uint32_t)m->n_ctas;
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"%tid.x", tid},
               {"%ntid.x", m->per_cta},
               {"%ntid.y", 1},
               {"%ntid.z", 1},
               {"%laneid", lane},
               {"%warpid", (uint64_t)w->index},
               {"%nwarpid", m->warps_per_cta},
               {"%ctaid.x", m->given.first_cluster * n_ctas + (uint32_t)w->cta},
               {"%nctaid.x", m->given.clusters * n_ctas},
               {"%nctaid.y", 1},
               {"%nctaid.z", 1},
               {"%clusterid.x", m->given.first_cluster},
               {"%nclusterid.x", m->given.clusters},
               {"%cluster_ctarank", (uint64_t)w->cta},
               {"%cluster_ctaid.x", (uint64_t)w->cta},
               {"%cluster_nctarank", n_ctas},
               {"%cluster_nctaid.x", n_ctas},
               {"%cluster_nctaid.y", 1},
               {"%cluster_nctaid.z", 1},
               {"%lanemask_eq", 1ull << lane},
               {"%lanemask_lt", (1ull << lane) - 1},
               {"%lanemask_le", (2ull << lane) - 1},
               {"%lanemask_gt", 0xFFFFFFFFull & ~((2ull << lane) - 1)},
               {"%lanemask_ge", 0xFFFFFFFFull & ~((1ull << lane) - 1)},
               {"%tid.y", 0},
               {"%tid.z", 0},
               {"%ctaid.y", 0},
               {"%ctaid.z", 0},
               {"%cluster_ctaid.y", 0},
               {"%cluster_ctaid.z", 0}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return all[i].value;
        }
    }
    *known = false; // clocks and their like
    return 0;
}

uint64_t v_get(const v_machine *m, const v_warp *w, const v_operand *o, uint32_t lane,
               bool *known) {
    switch (o->kind) {
    case VO_REG: {
        const v_reg *r = &w->reg[o->reg];
        *known &= (r->known >> lane & 1) != 0;
        uint64_t v = r->v[r->same ? 0 : lane];
        return o->negated ? !v : v;
    }
    case VO_IMM:
        return o->imm;
    case VO_SHARED:
        return (uint64_t)w->cta << V_RANK_SHIFT | o->imm;
    case VO_SREG:
        return special(m, w, o->name, lane, known);
    case VO_VECTOR: // a 128-bit value: its low half
        return o->n > 0 ? v_get(m, w, &o->part[0], lane, known) : 0;
    default:
        *known = false;
        return 0;
    }
}

static void spread(v_reg *r) {
    if (r->same) {
        for (int l = 1; l < V_LANES; l++) {
            r->v[l] = r->v[0];
        }
        r->same = false;
    }
}

void v_set(v_machine *m, v_warp *w, int reg, uint32_t lane, uint64_t value, bool known) {
    (void)m;
    if (reg < 0) {
        return;
    }
    v_reg *r = &w->reg[reg];
    spread(r);
    r->v[lane] = value;
    r->known = (r->known & ~(1u << lane)) | (known ? 1u << lane : 0);
    r->bounded &= ~(1u << lane);
}

// One span serves all lanes: bounds may only become wider.
void v_set_within(v_machine *m, v_warp *w, int reg, uint32_t lane, uint64_t least, uint64_t most) {
    v_set(m, w, reg, lane, least, false);
    if (reg >= 0) {
        v_reg *r = &w->reg[reg];
        r->span = r->bounded == 0 || r->span < most - least ? most - least : r->span;
        r->bounded |= 1u << lane;
    }
}

bool v_bounds(const v_machine *m, const v_warp *w, const v_operand *o, uint32_t lane,
              uint64_t *least, uint64_t *most) {
    bool known = true;
    *least = *most = v_get(m, w, o, lane, &known);
    if (!known && o->kind == VO_REG && (w->reg[o->reg].bounded >> lane & 1) != 0 && !o->negated) {
        *most += w->reg[o->reg].span;
        known = *most >= *least;
    }
    return known;
}

void v_set_same(v_machine *m, v_warp *w, int reg, uint32_t mask, uint64_t value) {
    if (reg >= 0 && mask == UINT32_MAX) {
        w->reg[reg].v[0] = value;
        w->reg[reg].same = true;
        w->reg[reg].known = mask;
        return;
    }
    V_EACH(lane, mask) {
        v_set(m, w, reg, lane, value, true);
    }
}

void v_set_unknown(v_machine *m, v_warp *w, const v_operand *o, uint32_t mask) {
    if (o->kind == VO_REG) {
        w->reg[o->reg].known &= ~mask;
        w->reg[o->reg].bounded &= ~mask;
        if (o->pair >= 0) {
            w->reg[o->pair].known &= ~mask;
            w->reg[o->pair].bounded &= ~mask;
        }
    }
    for (int i = 0; o->kind == VO_VECTOR && i < o->n; i++) {
        v_set_unknown(m, w, &o->part[i], mask);
    }
}

uint64_t v_need(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t lane) {
    bool known = true;
    uint64_t v = v_get(m, w, o, lane, &known);
    if (!known) {
        v_refuse(m, w, i,
                 "an operand depends on data or was never set, so that what it synchronises or "
                 "reaches cannot be "
                 "followed");
    }
    return v;
}

uint64_t v_need_same(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t mask) {
    uint64_t v = 0;
    bool first = true;
    V_EACH(lane, mask) {
        uint64_t other = v_need(m, w, i, o, lane);
        if (!first && other != v) {
            v_refuse(m, w, i, "lanes of one warp give different operands, 0x%llx and 0x%llx",
                     (unsigned long long)v, (unsigned long long)other);
        }
        v = other;
        first = false;
    }
    return v;
}

uint64_t v_address(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t lane) {
    if (o->kind != VO_ADDRESS) {
        v_refuse(m, w, i, "an address in brackets is expected");
    }
    return v_need(m, w, i, &o->part[0], lane) + o->imm;
}

uint64_t v_address_same(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o,
                        uint32_t mask) {
    if (o->kind != VO_ADDRESS) {
        v_refuse(m, w, i, "an address in brackets is expected");
    }
    return v_need_same(m, w, i, &o->part[0], mask) + o->imm;
}

v_place v_shared(v_machine *m, const v_warp *w, const v_ins *i, uint64_t address) {
    address &= 0xFFFFFFFFu; // generic addresses of shared memory: see v_cvta
    uint32_t rank = (uint32_t)(address >> V_RANK_SHIFT);
    v_place p = {(int)rank, (uint32_t)address & ((1u << V_RANK_SHIFT) - 1)};
    uint32_t limit = m->facts != NULL && m->facts->smem_bytes != 0
                         ? m->k->static_smem + m->facts->smem_bytes
                         : V_SMEM_BYTES;
    if (rank >= (uint32_t)m->n_ctas || p.offset >= limit) {
        v_refuse(m, w, i, "0x%llx is no shared memory of a cluster of %d with %u bytes each",
                 (unsigned long long)address, m->n_ctas, limit);
    }
    return p;
}
