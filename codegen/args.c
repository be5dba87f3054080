// Which parameters a kernel's PTX entry has: see args.h.
#include "args.h"

static bool expr_has(const tir_expr *e, tir_expr_kind kind, int param) {
    if (!e) {
        return false;
    }
    if (e->kind == kind && e->ref == param) {
        return true;
    }
    for (int i = 0; i < e->n_args; i++) {
        if (expr_has(e->args[i], kind, param)) {
            return true;
        }
    }
    return false;
}

static bool expr_loads(const tir_expr *e, int param) {
    return expr_has(e, TX_LOAD, param);
}

static bool needs_data_pointer(const tir_kernel *k, int param) {
    for (int i = 0; i < k->n_loops; i++) {
        if (expr_loads(k->loops[i].lo, param) || expr_loads(k->loops[i].hi, param)) {
            return true;
        }
    }
    for (int i = 0; i < k->n_fors; i++) {
        if (expr_loads(k->fors[i].lo, param) || expr_loads(k->fors[i].hi, param)) {
            return true;
        }
    }
    for (int i = 0; i < k->n_stores; i++) {
        const tir_store *s = &k->stores[i];
        if ((s->param == param && !s->via_smem) || expr_loads(s->value, param) ||
            expr_loads(s->divide, param)) {
            return true;
        }
    }
    return false;
}

static bool needs_scale_pointer(const tir_kernel *k, int param) {
    for (int i = 0; i < k->n_operands; i++) { // f32 scales of operands are brought by lanes
        if (k->operands[i].param == param && k->params[param].scale == ELEM_F32) {
            return true;
        }
    }
    for (int i = 0; i < k->n_stores; i++) {
        const tir_store *s = &k->stores[i];
        if ((s->param == param && s->scale != ELEM_NONE) || expr_has(s->value, TX_SCALE, param) ||
            expr_has(s->divide, TX_SCALE, param)) {
            return true;
        }
    }
    return false;
}

static void push(cg_args *a, cg_arg_kind kind, int ref, tir_part part) {
    a->args[a->n++] = (cg_arg){.kind = kind, .ref = ref, .part = part};
}

static void push_pointers(cg_args *a, const tir_kernel *k, int param) {
    int rank = k->params[param].n_dims;
    if (needs_data_pointer(k, param)) {
        push(a, ARG_POINTER, param, PART_DATA);
        if (rank >= 2) {
            push(a, ARG_PITCH, param, PART_DATA);
        }
    }
    if (needs_scale_pointer(k, param)) {
        push(a, ARG_POINTER, param, PART_SCALE);
        if (rank >= 3) {
            push(a, ARG_SF_BYTES, param, PART_SCALE);
        }
    }
}

cg_args cg_args_of(const tir_kernel *k, arena *mem) {
    cg_args a = {.args = ARENA_ARRAY(mem, cg_arg, k->n_maps + 5 * k->n_params + k->n_dims + 1)};
    for (int i = 0; i < k->n_maps; i++) {
        push(&a, ARG_MAP, i, k->maps[i].part);
    }
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i].is_tensor) {
            push_pointers(&a, k, i);
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        push(&a, ARG_DIM, i, PART_DATA);
    }
    for (int i = 0; i < k->n_params; i++) {
        if (!k->params[i].is_tensor) {
            push(&a, ARG_SCALAR, i, PART_DATA);
        }
    }
    if (k->walk.stream >= 0) {
        push(&a, ARG_WORKSPACE, 0, PART_DATA);
    }
    return a;
}

int cg_args_find(const cg_args *a, cg_arg_kind kind, int ref, tir_part part) {
    for (int i = 0; i < a->n; i++) {
        const cg_arg *g = &a->args[i];
        if (g->kind == kind && g->ref == ref &&
            ((kind != ARG_POINTER && kind != ARG_SF_BYTES) || g->part == part)) {
            return i;
        }
    }
    return -1;
}

static tir_size *size(arena *mem, size_op op, tir_size *a, tir_size *b) {
    tir_size *s = ARENA_NEW(mem, tir_size);
    *s = (tir_size){.op = op, .a = a, .b = b};
    return s;
}

static tir_size *number(arena *mem, int64_t v) {
    tir_size *s = ARENA_NEW(mem, tir_size);
    *s = (tir_size){.op = SZ_INT, .value = v};
    return s;
}

// Groups that one dimension is cut in have together at most a tile each more than the whole has.
static const tir_loop *ragged_by(const tir_kernel *k, int loop) {
    const tir_loop *found = NULL;
    for (int i = 0; i < k->n_loops; i++) {
        bool by = k->loops[i].hi && k->loops[i].group == loop;
        found = by && !found ? &k->loops[i] : found;
    }
    return found;
}

tir_size *cg_most_tiles(const tir_kernel *k, arena *mem) {
    tir_size *all = NULL;
    for (int i = 0; i < k->n_loops; i++) {
        const tir_loop *l = &k->loops[i];
        const tir_loop *cut = ragged_by(k, i);
        if (l->hi && l->group >= 0 && ragged_by(k, l->group) == l) {
            continue; // counted with its groups
        }
        tir_size *n = l->tile == 1 ? l->dim : size(mem, SZ_CEILDIV, l->dim, number(mem, l->tile));
        if (cut) {
            n = size(mem, SZ_ADD, l->dim, size(mem, SZ_DIV, cut->dim, number(mem, cut->tile)));
        }
        all = all ? size(mem, SZ_MUL, all, n) : n;
    }
    return all ? all : number(mem, 1);
}

tir_size *cg_most_clusters(const tir_kernel *k, arena *mem) {
    tir_size *tiles = cg_most_tiles(k, mem);
    if (k->walk.stream < 0) {
        return tiles;
    }
    const tir_for *t = &k->fors[k->walk.stream];
    tir_size *steps = size(mem, SZ_CEILDIV, t->extent, number(mem, t->step));
    return size(mem, SZ_MUL, tiles, size(mem, SZ_MAX, steps, number(mem, 1)));
}

tir_size *cg_map_offset(const tir_map *m, arena *mem) {
    if (!tir_has_window(m)) {
        return NULL;
    }
    tir_size *before = m->cuts ? m->dims[0] // bytes
                               : size(mem, SZ_MUL, m->dims[m->window], m->strides[m->window]);
    return size(mem, SZ_SUB, number(mem, 0), before);
}
