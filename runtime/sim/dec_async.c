// Decoders of copies (cp.*), cluster launch control and tensormap.
#include "async.h"
#include "ptx.h"

static void set_address(struct ptx_parser *p, int n, uint32_t *r, int64_t *offset) {
    *r = ptx_row_address(p, ptx_arg(p->ins, n), offset);
}

static struct uop *emit_aux(struct ptx_parser *p, uop_fn *fn, const void *aux) {
    struct uop *u = ptx_emit(p, fn);
    u->aux = aux;
    return u;
}

// [map, {c0, c1, ...}]
static void read_map(struct ptx_parser *p, int n, struct copy_aux *x) {
    struct ptx_ins *i = p->ins;
    const struct ptx_operand *o = ptx_arg(i, n);
    x->map = ptx_row_address(p, o, &x->map_off);
    if (!o->has_coords || i->pool[o->second].kind != OP_VECTOR) {
        ptx_refuse(p, "a tensor map with coordinates is expected");
    }
    const struct ptx_operand *v = &i->pool[o->second];
    x->n_coord = v->n;
    int want = x->mode == TMA_GATHER4 ? 5 : x->rank;
    if (v->n != want) {
        ptx_refuse(p, "wrong number of coordinates");
    }
    for (int c = 0; c < v->n; c++) {
        x->coord[c] = ptx_row_src(p, ptx_part(i, v, c), W_S32);
    }
}

static int take_rank(struct ptx_ins *i) {
    static const uint16_t list[] = {W_D1, W_D2, W_D3, W_D4, W_D5};
    return ptx_take_one(i, list, 5) + 1;
}

static enum unit_red take_red(struct ptx_parser *p) {
    static const uint16_t list[] = {W_ADD, W_MIN, W_MAX, W_INC, W_DEC, W_AND, W_OR, W_XOR};
    int r = ptx_take_one(p->ins, list, 8);
    if (r < 0) {
        ptx_refuse(p, "the reduction has no operation");
    }
    return (enum unit_red)r; // ORDER unit_red
}

// The two spaces of a copy, destination first.
struct route {
    bool to_global, from_global, to_cluster;
};
static struct route take_route(struct ptx_parser *p) {
    struct route r = {false, false, false};
    struct ptx_ins *i = p->ins;
    int seen = 0;
    for (int n = 0; n < i->n_mods; n++) {
        uint16_t w = i->mods[n];
        if (w == W_GLOBAL || w == W_SHARED_CTA || w == W_SHARED_CLUSTER || w == W_SHARED) {
            r.to_global |= seen == 0 && w == W_GLOBAL;
            r.from_global |= seen == 1 && w == W_GLOBAL;
            r.to_cluster |= seen == 0 && w == W_SHARED_CLUSTER;
            i->mods[n] = W_NONE;
            seen++;
        }
    }
    if (seen != 2 || (r.to_global && r.from_global)) {
        ptx_refuse(p, "unsupported pair of state spaces");
    }
    return r;
}

static void read_options(struct ptx_parser *p, struct copy_aux *x, int at) {
    struct ptx_ins *i = p->ins;
    x->multicast = ptx_take(i, W_MULTICAST);
    x->pair = ptx_take(i, W_CTA_GROUP_2);
    ptx_take(i, W_CTA_GROUP_1);
    ptx_take(i, W_MBAR_BYTES);
    ptx_take(i, W_BULK_GROUP);
    bool hint = ptx_take(i, W_CACHE_HINT);
    if (i->n_args != at + x->multicast + hint) {
        ptx_refuse(p, "wrong number of operands");
    }
    if (x->multicast) {
        const struct ptx_operand *o = ptx_arg(i, at);
        x->mask = ptx_row_src(p, o, W_U16);
    }
}

static void dec_bulk_tensor(struct ptx_parser *p, struct ptx_ins *i, bool reduce) {
    struct copy_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->rank = take_rank(i);
    bool gather = ptx_take(i, W_GATHER4) || ptx_take(i, W_SCATTER4);
    ptx_take(i, W_TILE);
    x->mode = gather ? TMA_GATHER4 : TMA_TILE;
    if (x->rank == 0 || (gather && x->rank != 2)) {
        ptx_refuse(p, "unsupported tensor copy");
    }
    x->red = reduce ? take_red(p) : UNIT_RED_ADD;
    if (ptx_take(i, W_PREFETCH)) {
        ptx_take(i, W_L2);
        ptx_take(i, W_GLOBAL);
        ptx_take(i, W_CACHE_HINT);
        read_map(p, 0, x);
        ptx_emit(p, run_nop);
        return;
    }
    struct route r = take_route(p);
    ptx_need_args(p, 2, 5);
    if (r.to_global) {
        x->kind = reduce ? ASYNC_TMA_REDUCE : ASYNC_TMA_STORE;
        p->kernel->meets |= reduce;
        read_map(p, 0, x);
        set_address(p, 1, &x->smem, &x->smem_off);
        read_options(p, x, 2);
    } else {
        ptx_need_args(p, 3, 5);
        x->kind = ASYNC_TMA_LOAD;
        set_address(p, 0, &x->smem, &x->smem_off);
        read_map(p, 1, x);
        set_address(p, 2, &x->mbar, &x->mbar_off);
        read_options(p, x, 3);
    }
    emit_aux(p, run_copy, x);
}

// Element types of cp.reduce.async.bulk, as the codes of tensor maps.
static int reduce_type(struct ptx_parser *p, enum ptx_word t) {
    switch (t) {
    case W_F32:
        return TMAP_F32;
    case W_F16:
        return TMAP_F16;
    case W_BF16:
        return TMAP_BF16;
    case W_F64:
        return TMAP_F64;
    case W_S32:
        return TMAP_S32;
    case W_U32:
    case W_B32:
        return TMAP_U32;
    case W_S64:
        return TMAP_S64;
    case W_U64:
    case W_B64:
        return TMAP_U64;
    default:
        ptx_refuse(p, "unsupported type of a reduction");
    }
}

static void dec_bulk_plain(struct ptx_parser *p, struct ptx_ins *i, bool reduce) {
    struct copy_aux *x = ptx_aux_alloc(p, sizeof *x);
    if (ptx_take(i, W_PREFETCH)) {
        ptx_take(i, W_L2);
        ptx_take(i, W_GLOBAL);
        ptx_take(i, W_CACHE_HINT);
        ptx_need_args(p, 2, 3);
        ptx_emit(p, run_nop);
        return;
    }
    struct route r = take_route(p);
    if (reduce) {
        x->red = take_red(p);
        ptx_take(i, W_NOFTZ);
        x->dtype = reduce_type(p, ptx_need_type(p));
    }
    ptx_need_args(p, 3, 6);
    if (r.to_global) {
        x->kind = reduce ? ASYNC_BULK_REDUCE : ASYNC_BULK_STORE;
        p->kernel->meets |= reduce;
        set_address(p, 0, &x->global, &x->global_off);
        set_address(p, 1, &x->smem, &x->smem_off);
        x->size = ptx_row_src(p, ptx_arg(i, 2), W_U32);
        read_options(p, x, 3);
    } else if (!reduce || !r.from_global) {
        ptx_need_args(p, 4, 6);
        x->kind = reduce ? ASYNC_RED_DSMEM : r.from_global ? ASYNC_BULK_LOAD : ASYNC_BULK_DSMEM;
        set_address(p, 0, &x->smem, &x->smem_off);
        if (r.from_global) {
            set_address(p, 1, &x->global, &x->global_off);
        } else {
            set_address(p, 1, &x->remote, &x->remote_off);
        }
        x->size = ptx_row_src(p, ptx_arg(i, 2), W_U32);
        set_address(p, 3, &x->mbar, &x->mbar_off);
        read_options(p, x, 4);
    } else {
        ptx_refuse(p, "unsupported reduction");
    }
    emit_aux(p, run_copy, x);
}

static void dec_bulk(struct ptx_parser *p, struct ptx_ins *i, bool reduce) {
    if (ptx_take(i, W_COMMIT_GROUP)) {
        ptx_need_args(p, 0, 0);
        ptx_emit(p, run_bulk_commit);
    } else if (ptx_take(i, W_WAIT_GROUP)) {
        ptx_take(i, W_READ);
        ptx_need_args(p, 1, 1);
        int64_t n = (int64_t)ptx_need_int(p, ptx_arg(i, 0));
        ptx_emit(p, run_bulk_wait)->imm = n;
    } else if (ptx_take(i, W_TENSOR)) {
        dec_bulk_tensor(p, i, reduce);
    } else {
        dec_bulk_plain(p, i, reduce);
    }
}

// cp.async.ca|cg.shared.global [dst], [src], bytes[, src bytes][, policy]
static void dec_cp_async(struct ptx_parser *p, struct ptx_ins *i) {
    struct copy_aux *x = ptx_aux_alloc(p, sizeof *x);
    if (ptx_take(i, W_COMMIT_GROUP)) {
        ptx_need_args(p, 0, 0);
        ptx_emit(p, run_cp_commit);
    } else if (ptx_take(i, W_WAIT_ALL)) {
        ptx_need_args(p, 0, 0);
        ptx_emit(p, run_cp_wait)->imm = -1;
    } else if (ptx_take(i, W_WAIT_GROUP)) {
        ptx_need_args(p, 1, 1);
        int64_t n = (int64_t)ptx_need_int(p, ptx_arg(i, 0));
        ptx_emit(p, run_cp_wait)->imm = n;
    } else if (ptx_take(i, W_MBARRIER)) {
        bool cluster;
        ptx_take(i, W_ARRIVE);
        x->noinc = ptx_take(i, W_NOINC);
        ptx_take_space(i, &cluster);
        ptx_need_type(p);
        ptx_need_args(p, 1, 1);
        set_address(p, 0, &x->mbar, &x->mbar_off);
        emit_aux(p, run_cp_arrive, x);
    } else {
        take_route(p);
        ptx_take_cache(i);
        bool hint = ptx_take(i, W_CACHE_HINT);
        ptx_need_args(p, 3, 5);
        set_address(p, 0, &x->smem, &x->smem_off);
        set_address(p, 1, &x->global, &x->global_off);
        uint64_t bytes = ptx_need_int(p, ptx_arg(i, 2));
        if (bytes != 4 && bytes != 8 && bytes != 16) {
            ptx_refuse(p, "cp.async copies 4, 8 or 16 bytes");
        }
        x->cp_bytes = (uint32_t)bytes;
        if (i->n_args - hint > 3 && ptx_arg(i, 3)->kind == OP_PRED) {
            x->has_ignore = true;
            x->ignore = ptx_pred_src(p, ptx_arg(i, 3), &x->ignore_negated);
        } else if (i->n_args - hint > 3) {
            x->src_size = ptx_row_src(p, ptx_arg(i, 3), W_U32);
        }
        emit_aux(p, run_cp_async, x);
    }
}

void dec_cp(struct ptx_parser *p, struct ptx_ins *i) {
    bool reduce = ptx_take(i, W_REDUCE);
    if (!ptx_take(i, W_ASYNC)) {
        ptx_refuse(p, "unsupported copy");
    }
    if (ptx_take(i, W_BULK)) {
        dec_bulk(p, i, reduce);
    } else {
        dec_cp_async(p, i);
    }
}

// ---- cluster launch control ---------------------------------------------------------------------
static void dec_query(struct ptx_parser *p, struct ptx_ins *i) {
    struct clc_aux *x = ptx_aux_alloc(p, sizeof *x);
    ptx_need_args(p, 2, 2);
    uint32_t d = 0;
    static const uint16_t axes[] = {W_GET_FIRST_CTAID_X, W_GET_FIRST_CTAID_Y, W_GET_FIRST_CTAID_Z};
    int axis = ptx_take_one(i, axes, 3);
    if (ptx_take(i, W_IS_CANCELED)) {
        ptx_take(i, W_PRED);
        x->what = CLC_IS_CANCELED;
        d = ptx_pred_dst(p, ptx_arg(i, 0));
    } else if (axis >= 0) {
        ptx_take(i, W_B32);
        x->what = CLC_X + axis;
        x->row[0] = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    } else if (ptx_take(i, W_GET_FIRST_CTAID)) {
        ptx_take(i, W_V4);
        ptx_take(i, W_B32);
        x->what = CLC_V4;
        const struct ptx_operand *v = ptx_arg(i, 0);
        if (v->kind != OP_VECTOR || v->n != 4) {
            ptx_refuse(p, "a vector of four registers is expected");
        }
        for (int n = 0; n < 4; n++) {
            x->row[n] = ptx_row_dst(p, ptx_part(i, v, n), W_B32);
        }
    }
    ptx_take(i, W_B128);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), W_B128);
    struct uop *u = emit_aux(p, run_clc_query, x);
    u->d = d;
    u->a = a;
}

void dec_clc(struct ptx_parser *p, struct ptx_ins *i) {
    if (ptx_take(i, W_QUERY_CANCEL)) {
        dec_query(p, i);
        return;
    }
    struct copy_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool cluster;
    if (!ptx_take(i, W_TRY_CANCEL) || !ptx_take(i, W_ASYNC)) {
        ptx_refuse(p, "unsupported instruction");
    }
    ptx_take_space(i, &cluster);
    ptx_take(i, W_MBAR_BYTES);
    x->multicast = ptx_take(i, W_MULTICAST_ALL);
    ptx_take(i, W_B128);
    ptx_need_args(p, 2, 2);
    set_address(p, 0, &x->smem, &x->smem_off);
    set_address(p, 1, &x->mbar, &x->mbar_off);
    p->kernel->meets = true;
    emit_aux(p, run_clc_cancel, x);
}

// ---- tensormap ----------------------------------------------------------------------------------
static void dec_replace(struct ptx_parser *p, struct ptx_ins *i) {
    // ORDER unit_tmap_field
    static const uint16_t fields[] = {
        W_GLOBAL_ADDRESS, W_RANK,     W_BOX_DIM,           W_GLOBAL_DIM,   W_GLOBAL_STRIDE,
        W_ELEMENT_STRIDE, W_ELEMTYPE, W_INTERLEAVE_LAYOUT, W_SWIZZLE_MODE, W_SWIZZLE_ATOMICITY,
        W_FILL_MODE};
    struct replace_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool cluster;
    ptx_take(i, W_TILE);
    int field = ptx_take_one(i, fields, 11);
    x->shared = ptx_take_space(i, &cluster) == SP_SHARED;
    ptx_take(i, W_B1024);
    enum ptx_word type = ptx_need_type(p);
    bool ord = field >= TMAP_FIELD_BOX_DIM && field <= TMAP_FIELD_ELEMENT_STRIDE;
    ptx_need_args(p, ord ? 3 : 2, ord ? 3 : 2);
    if (field < 0) {
        ptx_refuse(p, "unsupported field");
    }
    x->field = (enum unit_tmap_field)field;
    x->ord = ord ? (int)(ptx_need_int(p, ptx_arg(i, 1)) & 7) : 0;
    x->wide = ptx_type_bits(type) == 64;
    x->value = ptx_row_src(p, ptx_arg(i, ord ? 2 : 1), type);
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    struct uop *u = emit_aux(p, run_tmap_replace, x);
    u->a = a;
    u->imm = offset;
}

void dec_tensormap(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t list[] = {W_TENSORMAP_GENERIC, W_RELEASE, W_GPU,  W_CTA,
                                    W_CLUSTER,           W_SYS,     W_SYNC, W_ALIGNED};
    if (ptx_take(i, W_REPLACE)) {
        dec_replace(p, i);
        return;
    }
    if (!ptx_take(i, W_CP_FENCEPROXY)) {
        ptx_refuse(p, "unsupported instruction");
    }
    struct copy_aux *x = ptx_aux_alloc(p, sizeof *x);
    take_route(p);
    ptx_take_all(i, list, sizeof list / sizeof *list);
    ptx_need_args(p, 3, 3);
    set_address(p, 0, &x->global, &x->global_off);
    set_address(p, 1, &x->smem, &x->smem_off);
    emit_aux(p, run_tmap_copy, x);
}
