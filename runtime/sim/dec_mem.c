// Decoders of loads, stores, atomics and address queries.
#include "mem.h"

static void take_level(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take_order(i);
    ptx_take_cache(i);
    if (ptx_take(i, W_UNIFIED) || ptx_take(i, W_FRACTIONAL)) {
        ptx_refuse(p, "unsupported modifier");
    }
}

static int take_vector(struct ptx_ins *i) {
    static const uint16_t list[] = {W_V2, W_V4, W_V8};
    int v = ptx_take_one(i, list, 3);
    return v < 0 ? 1 : 2 << v;
}

// Parameters of calls are local memory.
static bool call_param(struct ptx_ins *i, int address) {
    const struct ptx_operand *o = ptx_arg(i, address);
    return o->kind == OP_ADDRESS && i->pool[o->first].kind == OP_VAR &&
           i->pool[o->first].symbol->space == SP_CALL_PARAM;
}

static void set_element(struct mem_aux *x, enum ptx_word type, int reg_bits) {
    int bits = ptx_type_bits(type);
    x->element.bytes = (uint32_t)bits / 8;
    x->element.reg_bits = (uint32_t)reg_bits;
    x->element.sign = ptx_is_signed(type);
    x->element.mask = FULL;
    x->access.bytes = x->access.align = x->element.bytes * (uint32_t)x->n;
}

// The rows of one register or a vector of them; registers of all elements have one width.
static void read_rows(struct ptx_parser *p, struct mem_aux *x, const struct ptx_operand *o,
                      enum ptx_word type, bool dst) {
    struct ptx_ins *i = p->ins;
    int bits = 0;
    if (o->kind != OP_VECTOR) {
        if (x->n != 1) {
            ptx_refuse(p, "a vector of registers is expected");
        }
        x->row[0] = ptx_row_wide(p, o, type, &bits, dst);
        set_element(x, type, bits);
        if (dst && o->kind == OP_REG && ptx_type_bits(o->type) == 16) {
            x->element.mask = 0xFFFF;
        }
        return;
    }
    if (o->n != x->n) {
        ptx_refuse(p, "the vector has another length than the instruction");
    }
    int width = 0;
    uint32_t mask = FULL;
    for (int n = 0; n < x->n; n++) {
        const struct ptx_operand *e = ptx_part(i, o, n);
        x->row[n] = ptx_row_wide(p, e, type, &bits, dst);
        if (e->kind == OP_REG) {
            if (width != 0 && bits != width) {
                ptx_refuse(p, "the registers of the vector have different widths");
            }
            width = bits;
            mask = dst && ptx_type_bits(e->type) == 16 ? 0xFFFF : FULL;
        }
    }
    set_element(x, type, width != 0 ? width : bits);
    x->element.mask = mask;
}

static struct uop *emit_access(struct ptx_parser *p, uop_fn *fn, const struct ptx_operand *address,
                               const void *aux) {
    int64_t offset;
    uint32_t a = ptx_row_address(p, address, &offset);
    struct uop *u = ptx_emit(p, fn);
    u->a = a;
    u->imm = offset;
    u->aux = aux;
    return u;
}

static bool plain_shared(const struct mem_aux *x) {
    return x->access.space == SP_SHARED && !x->access.cluster && x->n == 1 &&
           x->element.bytes == 4 && x->element.reg_bits == 32;
}

// A cache policy operand may follow; it has no effect.
static void check_args(struct ptx_parser *p, struct ptx_ins *i) {
    bool hint = ptx_take(i, W_CACHE_HINT);
    ptx_need_args(p, hint ? 3 : 2, hint ? 3 : 2);
}

static bool is_strong(const struct ptx_ins *i) {
    for (int n = 0; n < i->n_mods; n++) {
        uint16_t w = i->mods[n];
        if (w == W_VOLATILE || w == W_RELAXED || w == W_ACQUIRE || w == W_RELEASE || w == W_MMIO) {
            return true;
        }
    }
    return false;
}

// ld.cv fetches again each time: who polls with it waits for another cluster.
static bool fetches_again(const struct ptx_ins *i) {
    for (int n = 0; n < i->n_mods; n++) {
        if (i->mods[n] == W_CV) {
            return true;
        }
    }
    return false;
}

void dec_ld(struct ptx_parser *p, struct ptx_ins *i) {
    struct mem_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool strong = is_strong(i);
    x->access.space = ptx_take_space(i, &x->access.cluster);
    x->access.strong = strong && (x->access.space == SP_GLOBAL || x->access.space == SP_GENERIC);
    p->kernel->meets |= x->access.strong || fetches_again(i);
    take_level(p, i);
    x->n = take_vector(i);
    enum ptx_word type = ptx_need_type(p);
    check_args(p, i);
    if (call_param(i, 1) || x->access.space == SP_CALL_PARAM) {
        x->access.space = SP_LOCAL;
    }
    read_rows(p, x, ptx_arg(i, 0), type, true);
    struct uop *u = emit_access(p, plain_shared(x) ? run_ld_shared_32 : run_ld, ptx_arg(i, 1), x);
    u->d = x->row[0];
}

void dec_st(struct ptx_parser *p, struct ptx_ins *i) {
    if (ptx_take(i, W_ASYNC)) {
        dec_st_async(p);
        return;
    }
    if (ptx_take(i, W_BULK)) {
        dec_st_bulk(p);
        return;
    }
    struct mem_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool strong = is_strong(i);
    x->access.space = ptx_take_space(i, &x->access.cluster);
    p->kernel->meets |= strong && (x->access.space == SP_GLOBAL || x->access.space == SP_GENERIC);
    take_level(p, i);
    x->n = take_vector(i);
    enum ptx_word type = ptx_need_type(p);
    check_args(p, i);
    if (call_param(i, 0) || x->access.space == SP_CALL_PARAM) {
        x->access.space = SP_LOCAL;
    }
    if (x->access.space == SP_PARAM) {
        ptx_refuse(p, "parameters cannot be written");
    }
    read_rows(p, x, ptx_arg(i, 1), type, false);
    struct uop *u = emit_access(p, plain_shared(x) ? run_st_shared_32 : run_st, ptx_arg(i, 0), x);
    u->d = x->row[0];
}

static void atom_values(struct ptx_parser *p, struct atom_aux *x, const struct ptx_operand *o,
                        bool dst) {
    uint32_t *rows = dst ? x->dst : x->value;
    if (o->kind == OP_VECTOR && o->n != x->n) {
        ptx_refuse(p, "the vector has another length than the instruction");
    }
    for (int n = 0; n < x->n; n++) {
        const struct ptx_operand *e = o->kind == OP_VECTOR ? ptx_part(p->ins, o, n) : o;
        rows[n] = dst ? ptx_row_dst(p, e, x->type) : ptx_row_src(p, e, x->type);
    }
}

// atom.sem.scope.space.op.type d, [a], b[, c];  red without d
void dec_atom(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t ops[] = {W_ADD, W_MIN, W_MAX, W_INC,  W_DEC,
                                   W_AND, W_OR,  W_XOR, W_EXCH, W_CAS};
    struct atom_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->returns = i->opcode[0] == 'a';
    if (!x->returns && ptx_take(i, W_ASYNC)) {
        dec_red_async(p);
        return;
    }
    x->access.space = ptx_take_space(i, &x->access.cluster);
    x->access.cluster |= x->access.space == SP_SHARED;
    p->kernel->meets |= x->access.space == SP_GLOBAL || x->access.space == SP_GENERIC;
    ptx_take_order(i);
    ptx_take(i, W_NOFTZ);
    int op = ptx_take_one(i, ops, 10);
    x->n = take_vector(i);
    x->type = ptx_need_type(p);
    int policy = ptx_take(i, W_CACHE_HINT);
    x->op = (enum atom_op)op;
    x->bytes = ptx_type_bits(x->type) / 8;
    bool plain =
        x->op == ATOM_EXCH || x->op == ATOM_CAS || !ptx_is_float(x->type) || x->op == ATOM_ADD;
    if (op < 0 || !plain || x->bytes > 8 || x->bytes < 2) {
        ptx_refuse(p, "unsupported atomic operation");
    }
    int at = x->returns ? 1 : 0;
    int sources = at + 2 + (x->op == ATOM_CAS) + policy;
    ptx_need_args(p, sources, sources);
    if (x->returns) {
        atom_values(p, x, ptx_arg(i, 0), true);
    }
    atom_values(p, x, ptx_arg(i, at + 1), false);
    x->swap = x->op == ATOM_CAS ? ptx_row_src(p, ptx_arg(i, at + 2), x->type) : 0;
    x->access.bytes = x->access.align = (uint32_t)(x->bytes * x->n);
    bool sum = x->op == ATOM_ADD && ptx_is_float(x->type);
    x->order = (x->returns && ptx_arg(i, 0)->kind != OP_SINK ? SIM_ORDER_ATOMIC : 0) |
               (sum ? SIM_ORDER_FLOAT_SUM : 0);
    emit_access(p, run_atom, ptx_arg(i, at), x);
}

// prefetch and its like change no result
void dec_hint(struct ptx_parser *p, struct ptx_ins *i) {
    bool cluster;
    ptx_take_space(i, &cluster);
    take_level(p, i);
    ptx_take(i, W_TENSORMAP);
    ptx_take(i, W_L1);
    ptx_take(i, W_L2);
    ptx_need_args(p, 1, 2);
    int64_t offset;
    ptx_row_address(p, ptx_arg(i, 0), &offset);
    ptx_emit(p, run_nop);
}

// The policy is a number that only cache hints read: any value does.
void dec_createpolicy(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_FRACTIONAL);
    ptx_take(i, W_RANGE);
    ptx_take(i, W_CVT);
    take_level(p, i);
    take_level(p, i); // a primary and a secondary priority may be the same
    ptx_take(i, W_GLOBAL);
    ptx_take(i, W_L2);
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 1, 5);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    uint32_t zero = ptx_row_const(p, 0, 64);
    struct uop *u = ptx_emit(p, run_policy);
    u->d = d;
    u->a = zero;
}

void dec_isspacep(struct ptx_parser *p, struct ptx_ins *i) {
    bool cluster;
    bool cta = false;
    for (int n = 0; n < i->n_mods; n++) {
        cta |= i->mods[n] == W_SHARED || i->mods[n] == W_SHARED_CTA;
    }
    enum ptx_space space = ptx_take_space(i, &cluster);
    ptx_need_args(p, 2, 2);
    uint32_t d = ptx_pred_dst(p, ptx_arg(i, 0));
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), W_U64);
    struct uop *u = ptx_emit(p, run_isspacep);
    u->d = d;
    u->a = a;
    u->flag = cta;
    u->imm = space == SP_SHARED  ? (int64_t)WINDOW_SHARED
             : space == SP_LOCAL ? (int64_t)WINDOW_LOCAL
             : space == SP_PARAM ? (int64_t)WINDOW_PARAM
                                 : 0;
}

// mapa[.shared::cluster].type d, a, rank;  getctarank likewise
void dec_mapa(struct ptx_parser *p, struct ptx_ins *i) {
    bool cluster;
    bool rank = i->opcode[0] == 'g';
    enum ptx_space space = ptx_take_space(i, &cluster);
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, rank ? 2 : 3, rank ? 2 : 3);
    bool wide = ptx_type_bits(type) == 64;
    const struct ptx_operand *o = ptx_arg(i, 1);
    bool wide_src =
        rank ? space == SP_GENERIC || (o->kind == OP_REG && ptx_type_bits(o->type) == 64) : wide;
    uint32_t a = ptx_row_src(p, o, wide_src ? W_U64 : W_U32);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), rank ? W_U32 : type);
    uint32_t b = rank ? 0 : ptx_row_src(p, ptx_arg(i, 2), W_U32);
    struct uop *u = ptx_emit(p, rank ? run_getctarank : run_mapa);
    u->d = d;
    u->a = a;
    u->b = b;
    u->flag = wide_src;
}
