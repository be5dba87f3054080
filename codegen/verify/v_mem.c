// Loads, stores and atomics of threads. Values go through shared memory (addresses of TMEM,
// responses of cluster launch control, tickets); what is loaded from global memory is data, of
// which integers get small values that depend on the address alone, so that every role sees the
// same.
#include "v.h"

#include <string.h>

#define PARAM_WINDOW 0x5u
#define SHARED_WINDOW 0x6u

// Generic address: the window in the four highest bits.
typedef enum { AT_GLOBAL, AT_SHARED, AT_PARAM, AT_LOCAL } space;

static space space_of(const v_ins *i, uint64_t address) {
    if (v_has(i, VW_shared) || v_has(i, VW_shared_cluster)) {
        return AT_SHARED;
    }
    if (v_has(i, VW_local)) {
        return AT_LOCAL;
    }
    unsigned window = (unsigned)(address >> 60);
    if (v_has(i, VW_param) || window == PARAM_WINDOW) {
        return AT_PARAM;
    }
    return window == SHARED_WINDOW && !v_has(i, VW_global) ? AT_SHARED : AT_GLOBAL;
}

static uint32_t bytes_each(const v_ins *i) {
    return i->n_types > 0 ? (i->type[i->n_types - 1].bits + 7u) / 8u : 4u;
}

void v_put_value(v_machine *m, v_place at, uint64_t value, uint32_t bytes, bool known) {
    v_cta *c = &m->cta[at.cta];
    for (uint32_t n = 0; n < bytes && at.offset + n < V_SMEM_BYTES; n++) {
        c->value[at.offset + n] = (uint8_t)(n < 8 ? value >> (8 * n) : 0);
        c->known[at.offset + n] = (uint8_t)(known && n < 8);
    }
}

static uint64_t take_value(const v_machine *m, v_place at, uint32_t bytes, bool *known) {
    const v_cta *c = &m->cta[at.cta];
    uint64_t v = 0;
    for (uint32_t n = 0; n < bytes && n < 8; n++) {
        bool in = at.offset + n < V_SMEM_BYTES;
        *known &= in && c->known[at.offset + n];
        v |= in ? (uint64_t)c->value[at.offset + n] << (8 * n) : 0;
    }
    return v;
}

static uint64_t parameter(v_machine *m, uint64_t address, bool *known) {
    uint64_t offset = address & 0xFFFFFF;
    for (int n = 0; n < m->k->n_params; n++) {
        const v_param *p = &m->k->params[n];
        if (offset >= p->offset && offset < p->offset + p->bytes) {
            bool in = offset - p->offset < 8; // of what is given
            *known &= !p->array && p->type.kind != VT_F && in;
            return in ? m->param[n] >> (8 * (offset - p->offset)) : 0;
        }
    }
    *known = false;
    return 0;
}

static uint64_t loaded(v_machine *m, v_warp *w, const v_ins *i, uint64_t address, bool *known) {
    uint32_t bytes = bytes_each(i);
    switch (space_of(i, address)) {
    case AT_PARAM:
        return parameter(m, address, known);
    case AT_SHARED:
        return take_value(m, v_shared(m, w, i, address), bytes, known);
    case AT_GLOBAL:
        *known &= i->type[0].kind != VT_F;
        return ((address & 0xFFFFF) / bytes + m->given.first) *
               (m->given.apart != 0 ? m->given.apart : m->given.size) / 4;
    default:
        *known = false;
        return 0;
    }
}

// What a load brings is data; of fewer bits than a register it is a small number.
static void set_loaded(v_machine *m, v_warp *w, const v_ins *i, const v_operand *to, uint32_t lane) {
    uint32_t bytes = bytes_each(i);
    v_type t = i->n_types > 0 ? i->type[i->n_types - 1] : (v_type){VT_B, 32};
    int reg = to->kind == VO_REG ? to->reg : -1;
    if (bytes < 4 && (t.kind == VT_U || t.kind == VT_B)) {
        v_set_within(m, w, reg, lane, 0, (1ull << (8 * bytes)) - 1);
    } else {
        v_set(m, w, reg, lane, 0, false);
    }
}

// A look into a table: the address depends on data, and its bounds do not.
static bool look_up(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    const v_operand *d = &i->arg[0], *a = &i->arg[1];
    int n = d->kind == VO_VECTOR ? d->n : 1;
    uint64_t from = UINT64_MAX, to = 0, least, most;
    bool data = false;
    V_EACH(l, mask) {
        if (a->kind != VO_ADDRESS || !v_bounds(m, w, &a->part[0], l, &least, &most)) {
            return false;
        }
        from = least + a->imm < from ? least + a->imm : from;
        to = most + a->imm > to ? most + a->imm : to;
        data |= least != most;
    }
    if (!data || space_of(i, from) != AT_SHARED || to >> V_RANK_SHIFT != from >> V_RANK_SHIFT) {
        return false;
    }
    v_place at = v_shared(m, w, i, from);
    (void)v_shared(m, w, i, to);
    v_touch_somewhere(m, w, i, mask, at, (uint32_t)(to - from) + bytes_each(i) * (uint32_t)n);
    V_EACH(lane, mask) {
        for (int p = 0; p < n; p++) {
            set_loaded(m, w, i, d->kind == VO_VECTOR ? &d->part[p] : d, lane);
        }
    }
    return true;
}

// Lanes that read the same bytes are noted as one reader: what was done to a block of shared memory
// is a list, and every access walks along it.
static void read_shared(v_machine *m, v_warp *w, const v_ins *i, const uint64_t address[V_LANES],
                        uint32_t mask, uint32_t bytes) {
    for (uint32_t left = mask; left != 0;) {
        uint64_t at = address[__builtin_ctz(left)];
        uint32_t alike = 0;
        V_EACH(lane, left) {
            alike |= (uint32_t)(address[lane] == at) << lane;
        }
        v_touch_somewhere(m, w, i, alike, v_shared(m, w, i, at), bytes);
        left &= ~alike;
    }
}

bool v_load(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    const v_operand *d = &i->arg[0];
    int n = d->kind == VO_VECTOR ? d->n : 1;
    uint32_t bytes = bytes_each(i);
    if (look_up(m, w, i, mask)) {
        return true;
    }
    uint64_t address[V_LANES];
    uint32_t known_at = 0, shared = 0, flag = m->tickets;
    V_EACH(l, mask) {
        bool where = true;
        address[l] = i->arg[1].kind == VO_ADDRESS
                         ? v_get(m, w, &i->arg[1].part[0], l, &where) + i->arg[1].imm
                         : 0;
        known_at |= (uint32_t)where << l;
        shared |= (uint32_t)(space_of(i, address[l]) == AT_SHARED) << l;
        if (!where && (shared >> l & 1) != 0) {
            (void)v_address(m, w, i, &i->arg[1], l); // refused
        }
    }
    read_shared(m, w, i, address, shared, bytes * (uint32_t)n);
    V_EACH(lane, mask) {
        bool where = (known_at >> lane & 1) != 0, looks = false;
        if (space_of(i, address[lane]) == AT_GLOBAL) {
            v_grid_access(m, w, i, 1u << lane);
            looks = where && v_global_load(m, w, i, lane, address[lane]);
            m->tickets = flag + looks;
        }
        for (int p = 0; p < n; p++) {
            bool known = where;
            uint64_t v = looks   ? flag
                         : where ? loaded(m, w, i, address[lane] + (uint64_t)p * bytes, &known)
                                 : 0;
            const v_operand *to = d->kind == VO_VECTOR ? &d->part[p] : d;
            if (known) {
                v_set(m, w, to->kind == VO_REG ? to->reg : -1, lane, v, true);
            } else {
                set_loaded(m, w, i, to, lane);
            }
        }
    }
    return true;
}

bool v_store(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    const v_operand *s = &i->arg[1];
    int n = s->kind == VO_VECTOR ? s->n : 1;
    uint32_t bytes = bytes_each(i);
    V_EACH(lane, mask) {
        bool where = true;
        uint64_t address = i->arg[0].kind == VO_ADDRESS
                               ? v_get(m, w, &i->arg[0].part[0], lane, &where) + i->arg[0].imm
                               : 0;
        if (space_of(i, address) == AT_GLOBAL) {
            v_grid_access(m, w, i, 1u << lane);
            if (where) {
                v_global_store(m, w, i, lane, address);
            }
        }
        if (space_of(i, address) != AT_SHARED) {
            continue;
        }
        v_place at = v_shared(m, w, i, v_address(m, w, i, &i->arg[0], lane));
        v_touch(m, w, i, lane, at, bytes * (uint32_t)n, true);
        for (int p = 0; p < n; p++) {
            bool known = true;
            uint64_t v = v_get(m, w, s->kind == VO_VECTOR ? &s->part[p] : s, lane, &known);
            v_put_value(m, (v_place){at.cta, at.offset + (uint32_t)p * bytes}, v, bytes, known);
        }
    }
    return true;
}

// Tickets of a global counter are numbers in turn; other results are data. On shared memory atomics
// would be accesses that race by design.
bool v_atomic(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool result = i->arg[0].kind != VO_ADDRESS;
    bool counts = strstr(i->op, ".add") != NULL || strstr(i->op, ".inc") != NULL;
    V_EACH(lane, mask) {
        bool where = true;
        const v_operand *o = &i->arg[result ? 1 : 0];
        uint64_t address =
            o->kind == VO_ADDRESS ? v_get(m, w, &o->part[0], lane, &where) + o->imm : 0;
        if (space_of(i, address) == AT_SHARED) {
            v_refuse(m, w, i, "atomics on shared memory are not followed");
        }
        v_grid_access(m, w, i, 1u << lane);
        if (where) {
            v_global_atomic(m, w, i, lane, address);
        }
        if (result && i->arg[0].kind == VO_REG) {
            v_set(m, w, i->arg[0].reg, lane, m->tickets++, counts && i->type[0].kind != VT_F);
        }
    }
    return true;
}

static void matrix_rows(v_machine *m, v_warp *w, const v_ins *i, const v_operand *address,
                        bool write) {
    V_EACH(lane, w->live) { // rows are addressed by lanes 0 to 8 n - 1 (PTX ISA "ldmatrix")
        if (lane < 8u * (uint32_t)i->vec) {
            v_place at = v_shared(m, w, i, v_address(m, w, i, address, lane));
            if (at.offset % 16 != 0) {
                v_refuse(m, w, i, "a row at %u: rows are aligned to 16 bytes", at.offset);
            }
            v_touch(m, w, i, lane, at, 16, write);
            if (write) {
                v_put_value(m, at, 0, 16, false);
            }
        }
    }
}

bool v_ldmatrix(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    matrix_rows(m, w, i, &i->arg[1], false);
    v_set_unknown(m, w, &i->arg[0], mask);
    return true;
}

bool v_stmatrix(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    matrix_rows(m, w, i, &i->arg[0], true);
    return true;
}

// ---- addresses ----------------------------------------------------------------------------------
bool v_mapa(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        bool known = true; // it may be asked for and not used
        uint64_t v = v_get(m, w, &i->arg[1], lane, &known),
                 rank = v_get(m, w, &i->arg[2], lane, &known);
        if (known) {
            v_place at = v_shared(m, w, i, v);
            if (rank >= (uint64_t)m->n_ctas) {
                v_refuse(m, w, i, "mapa to CTA %llu of a cluster of %d", (unsigned long long)rank,
                         m->n_ctas);
            }
            v = (v_has(i, VW_shared_cluster) ? 0 : (uint64_t)SHARED_WINDOW << 60) |
                rank << V_RANK_SHIFT | at.offset;
        }
        v_set(m, w, i->arg[0].reg, lane, v, known);
    }
    return true;
}

bool v_getctarank(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    V_EACH(lane, mask) {
        v_place at = v_shared(m, w, i, v_need(m, w, i, &i->arg[1], lane));
        v_set(m, w, i->arg[0].reg, lane, (uint64_t)at.cta, true);
    }
    return true;
}

// Addresses of shared memory get their window or lose it; those of global memory and parameters
// have it.
bool v_cvta(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    bool shared = v_has(i, VW_shared) || v_has(i, VW_shared_cluster);
    V_EACH(lane, mask) {
        bool known = true;
        uint64_t v = v_get(m, w, &i->arg[1], lane, &known);
        if (shared) {
            v = (v & 0xFFFFFFFFu) | (v_has(i, VW_to) ? 0 : (uint64_t)SHARED_WINDOW << 60);
        }
        v_set(m, w, i->arg[0].reg, lane, v, known);
    }
    return true;
}
