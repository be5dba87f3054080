// Stores and reductions into the shared memory of a cluster that complete on an mbarrier there, and
// st.bulk. PTX ISA "st.async", "red.async", "st.bulk".
#include "async.h"
#include "mem.h"
#include "ptx.h"
#include "sync.h"

struct remote_aux {
    enum op_kind kind;
    enum unit_red red;
    int dtype;
    int n, bytes; // elements and bytes of one
    uint32_t value[4];
    uint32_t mbar; // row
    int64_t mbar_off;
};

static void take_values(struct ptx_parser *p, struct remote_aux *x, enum ptx_word type) {
    const struct ptx_operand *o = ptx_arg(p->ins, 1);
    if ((o->kind == OP_VECTOR ? o->n : 1) != x->n) {
        ptx_refuse(p, "the vector has another length than the instruction");
    }
    for (int n = 0; n < x->n; n++) {
        const struct ptx_operand *e = o->kind == OP_VECTOR ? ptx_part(p->ins, o, n) : o;
        x->value[n] = ptx_row_src(p, e, type);
    }
}

// a: destination in shared::cluster
static const struct uop *run_remote(struct warp *w, const struct uop *u) {
    const struct remote_aux *x = u->aux;
    uint32_t total = (uint32_t)(x->n * x->bytes);
    FOR_LANES(l, exec_mask(w, u)) {
        struct async_op op = {
            .kind = x->kind, .u = u, .warp = w, .cta = w->cta, .lane = (uint32_t)l};
        op.smem = sim_shared_address(w, u->a, u->imm, l);
        op.mbar = sim_shared_address(w, x->mbar, x->mbar_off, l);
        op.bytes = total;
        op.red = x->red;
        op.dtype = x->dtype;
        if (op.smem % total != 0) {
            return sim_fault(w, u, "shared address 0x%x is not aligned to %u bytes", op.smem,
                             total);
        }
        if (op.smem >> RANK_SHIFT != op.mbar >> RANK_SHIFT) {
            return sim_fault(w, u, "the destination lies in CTA %u, its mbarrier in CTA %u",
                             op.smem >> RANK_SHIFT, op.mbar >> RANK_SHIFT);
        }
        for (int n = 0; n < x->n; n++) {
            const void *from = x->bytes == 8 ? (const void *)((u64 *)row(w, x->value[n]) + l)
                                             : (const void *)((u32 *)row(w, x->value[n]) + l);
            memcpy((uint8_t *)op.disable + n * x->bytes, from, (size_t)x->bytes);
        }
        if (!async_submit(w, &op)) {
            return STOP;
        }
    }
    return u + 1;
}

static int vector_of(struct ptx_ins *i) {
    return ptx_take(i, W_V4) ? 4 : ptx_take(i, W_V2) ? 2 : 1;
}

static void emit_remote(struct ptx_parser *p, struct remote_aux *x) {
    struct ptx_ins *i = p->ins;
    bool cluster;
    int64_t offset;
    ptx_take_order(i);
    ptx_take(i, W_MBAR_BYTES);
    if (ptx_take_space(i, &cluster) != SP_SHARED && ptx_take(i, W_GLOBAL)) {
        ptx_refuse(p, "unsupported state space");
    }
    x->n = vector_of(i);
    enum ptx_word type = ptx_need_type(p);
    x->bytes = ptx_type_bits(type) / 8;
    ptx_need_args(p, 3, 3);
    if ((x->bytes != 4 && x->bytes != 8) || x->n * x->bytes > 16) {
        ptx_refuse(p, "unsupported type");
    }
    if (x->kind == ASYNC_RED_REMOTE) {
        x->dtype = type == W_S32   ? TMAP_S32
                   : type == W_S64 ? TMAP_S64
                   : x->bytes == 8 ? TMAP_U64
                                   : TMAP_U32;
    }
    take_values(p, x, type);
    x->mbar = ptx_row_address(p, ptx_arg(i, 2), &x->mbar_off);
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    struct uop *u = ptx_emit(p, run_remote);
    u->a = a;
    u->imm = offset;
    u->aux = x;
}

void dec_st_async(struct ptx_parser *p) {
    struct remote_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->kind = ASYNC_ST_REMOTE;
    emit_remote(p, x);
}

void dec_red_async(struct ptx_parser *p) {
    static const uint16_t ops[] = {W_ADD, W_MIN, W_MAX, W_INC, W_DEC, W_AND, W_OR, W_XOR};
    struct remote_aux *x = ptx_aux_alloc(p, sizeof *x);
    int op = ptx_take_one(p->ins, ops, 8); // ORDER unit_red
    if (op < 0) {
        ptx_refuse(p, "the reduction has no operation");
    }
    x->kind = ASYNC_RED_REMOTE;
    x->red = (enum unit_red)op;
    emit_remote(p, x);
}

// a: address, b: size (64 bits when flag is set)
const struct uop *run_st_bulk(struct warp *w, const struct uop *u) {
    FOR_LANES(l, exec_mask(w, u)) {
        uint64_t n = u->flag != 0 ? ((const u64 *)row(w, u->b))[l] : ((const u32 *)row(w, u->b))[l];
        uint32_t at = sim_shared_address(w, u->a, u->imm, l);
        if (n % 8 != 0 || at % 8 != 0 || n > OFFSET_MASK) {
            return sim_fault(w, u, "st.bulk of %llu bytes at 0x%x: multiples of 8",
                             (unsigned long long)n, at);
        }
        uint8_t *to = sim_smem_at(w, u, at, (uint32_t)n);
        if (to == NULL) {
            return STOP;
        }
        memset(to, 0, n);
    }
    return u + 1;
}

// st.bulk{.weak}{.shared::cta} [a], size, 0
void dec_st_bulk(struct ptx_parser *p) {
    struct ptx_ins *i = p->ins;
    bool cluster;
    int64_t offset;
    ptx_take_order(i);
    ptx_take_space(i, &cluster);
    ptx_need_args(p, 3, 3);
    if (ptx_need_int(p, ptx_arg(i, 2)) != 0) {
        ptx_refuse(p, "st.bulk writes zeros");
    }
    const struct ptx_operand *size = ptx_arg(i, 1);
    bool wide = size->kind != OP_REG || ptx_type_bits(size->type) == 64;
    uint32_t b = ptx_row_src(p, size, wide ? W_U64 : W_U32);
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    struct uop *u = ptx_emit(p, run_st_bulk);
    u->a = a;
    u->b = b;
    u->imm = offset;
    u->flag = wide;
}
