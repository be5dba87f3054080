// Decoders of mov, cvt, cvta and of control flow.
#include "alu.h"
#include "ptx.h"

static struct uop *emit1(struct ptx_parser *p, enum alu_key key, uint32_t d, uint32_t a) {
    struct uop *u = ptx_emit(p, alu_fn(key));
    u->d = d;
    u->a = a;
    return u;
}

void ptx_emit_mov(struct ptx_parser *p, uint32_t d, uint32_t a, int bits) {
    emit1(p, bits > 32 ? ALU_MOV_64 : ALU_MOV_32, d, a);
}

static void emit2(struct ptx_parser *p, enum alu_key key, uint32_t d, const uint32_t src[2]) {
    struct uop *u = ptx_emit(p, alu_fn(key));
    u->d = d;
    u->a = src[0];
    u->b = src[1];
}

// ---- mov ----------------------------------------------------------------------------------------
static enum ptx_word half_type(int bits) {
    return bits == 8 ? W_B8 : bits == 16 ? W_B16 : bits == 32 ? W_B32 : W_B64;
}

// d of 'bits' bits = the elements e[0..n-1], lowest first
static void pack(struct ptx_parser *p, uint32_t d, int bits, const uint32_t *e, int n) {
    if (bits == 128) {
        uint32_t half[2] = {e[0], e[n / 2]};
        for (int h = 0; h < 2; h++) {
            uint32_t to = d + 2 * (uint32_t)h;
            if (n == 2) {
                emit1(p, ALU_MOV_64, to, half[h]);
            } else {
                pack(p, to, 64, e + h * (n / 2), n / 2);
            }
        }
        return;
    }
    static const enum alu_key keys[3] = {ALU_PACK_16, ALU_PACK_32, ALU_PACK_64};
    enum alu_key key = keys[bits == 16 ? 0 : bits == 32 ? 1 : 2];
    if (n == 2) {
        emit2(p, key, d, e);
        return;
    }
    uint32_t half[2] = {ptx_new_row(p, bits / 2), ptx_new_row(p, bits / 2)};
    pack(p, half[0], bits / 2, e, n / 2);
    pack(p, half[1], bits / 2, e + n / 2, n / 2);
    emit2(p, key, d, half);
}

static bool fits(int bits, int n) {
    return (n == 2 || n == 4) && bits / n >= 8 && bits / n <= 64;
}

static void mov_pack(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type) {
    const struct ptx_operand *v = ptx_arg(i, 1);
    int bits = ptx_type_bits(type);
    if (!fits(bits, v->n)) {
        ptx_refuse(p, "the vector does not fit the type");
    }
    uint32_t e[4];
    for (int n = 0; n < v->n; n++) {
        e[n] = ptx_row_src(p, ptx_part(i, v, n), half_type(bits / v->n));
    }
    pack(p, ptx_row_dst(p, ptx_arg(i, 0), type), bits, e, v->n);
}

static void mov_unpack(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type) {
    const struct ptx_operand *v = ptx_arg(i, 0);
    int bits = ptx_type_bits(type);
    if (!fits(bits, v->n)) {
        ptx_refuse(p, "the vector does not fit the type");
    }
    uint32_t src = ptx_row_src(p, ptx_arg(i, 1), type);
    int each = bits / v->n;
    for (int n = 0; n < v->n; n++) {
        if (ptx_part(i, v, n)->kind == OP_SINK) {
            continue;
        }
        uint32_t d = ptx_row_dst(p, ptx_part(i, v, n), half_type(each));
        uint32_t from = bits == 128 ? src + 2 * (uint32_t)(n * each / 64) : src;
        if (each == 64) {
            emit1(p, ALU_MOV_64, d, from);
            continue;
        }
        struct uop *u = emit1(p, bits >= 64 ? ALU_FIELD_64 : ALU_FIELD_32, d, from);
        int64_t mask = each == 32 ? 0xFFFFFFFF : (1ll << each) - 1;
        u->imm = (int64_t)((uint64_t)mask << 32) | (n * each % (bits == 128 ? 64 : bits));
    }
}

static const struct uop *run_clock(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    w->x->stats.order |= m != 0 ? SIM_ORDER_CLOCK : 0;
    uint64_t now = w->x->steps + (uint64_t)(u - w->base);
    now = u->imm == 0 ? now : now >> 32;
    FOR_LANES(l, m) {
        if (u->flag != 0) {
            ((u64 *)row(w, u->d))[l] = now;
        } else {
            ((u32 *)row(w, u->d))[l] = (uint32_t)now;
        }
    }
    return u + 1;
}

static const struct uop *run_mov_pred(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    uint32_t v = w->p[u->a] ^ (0u - u->flag);
    w->p[u->d] = (w->p[u->d] & ~m) | (v & m);
    return u + 1;
}

static bool is_high(const struct ptx_operand *o) {
    return o->sreg == SREG_CLOCK_HI || o->sreg == SREG_GLOBALTIMER_HI;
}

static bool is_clock(const struct ptx_operand *o) {
    return o->kind == OP_SREG &&
           (o->sreg == SREG_CLOCK || o->sreg == SREG_CLOCK64 || o->sreg == SREG_GLOBALTIMER ||
            o->sreg == SREG_GLOBALTIMER_LO || is_high(o));
}

void dec_mov(struct ptx_parser *p, struct ptx_ins *i) {
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 2, 2);
    const struct ptx_operand *s = ptx_arg(i, 1);
    if (type == W_PRED) {
        bool negated;
        uint32_t d = ptx_pred_dst(p, ptx_arg(i, 0));
        uint32_t a = ptx_pred_src(p, s, &negated);
        struct uop *u = ptx_emit(p, run_mov_pred);
        u->d = d;
        u->a = a;
        u->flag = negated;
    } else if (s->kind == OP_VECTOR) {
        mov_pack(p, i, type);
    } else if (ptx_arg(i, 0)->kind == OP_VECTOR) {
        mov_unpack(p, i, type);
    } else if (is_clock(s)) {
        uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
        struct uop *u = ptx_emit(p, run_clock);
        u->d = d;
        u->flag = ptx_type_bits(type) == 64;
        u->imm = is_high(s);
    } else if (ptx_type_bits(type) == 128) {
        uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
        uint32_t a = ptx_row_src(p, s, type);
        emit1(p, ALU_MOV_64, d, a);
        emit1(p, ALU_MOV_64, d + 2, a + 2);
    } else {
        // a 64-bit special register may be read as 32 bits and the other way round
        enum ptx_word from = s->kind == OP_SREG ? s->type : type;
        uint32_t a = ptx_row_src(p, s, from);
        uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
        bool wide = ptx_type_bits(type) == 64;
        bool wide_src = ptx_type_bits(from) == 64;
        struct uop *u = emit1(p,
                              wide ? (wide_src ? ALU_MOV_64 : ALU_ZEXT_64)
                                   : (wide_src ? ALU_TRUNC_64 : ALU_MOV_32),
                              d, a);
        u->imm = 0xFFFFFFFF;
    }
}

// ---- cvt ----------------------------------------------------------------------------------------
struct cvt {
    enum ptx_word to, from;
    int round;    // num_round, or -1
    int integral; // num_round of rni rzi rmi rpi, or -1
    bool ftz, sat, satfinite, relu;
    uint32_t d, a;
    int d_bits, a_bits; // of the rows
    int d_reg;          // bits of the destination register
};

static int format_of(enum ptx_word w) {
    switch (w) {
    case W_E4M3X2:
        return NUM_E4M3;
    case W_E5M2X2:
        return NUM_E5M2;
    case W_E2M3X2:
        return NUM_E2M3;
    case W_E3M2X2:
        return NUM_E3M2;
    case W_E2M1X2:
        return NUM_E2M1;
    case W_UE8M0X2:
        return NUM_UE8M0;
    case W_F16X2:
        return NUM_F16;
    case W_BF16X2:
        return NUM_BF16;
    default:
        return -1;
    }
}

static void cvt_pair(struct ptx_parser *p, struct ptx_ins *i, const struct cvt *c) {
    int to = format_of(c->to);
    int from = format_of(c->from);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), c->to);
    int64_t how =
        to | c->round << 8 | (int64_t)(c->satfinite || c->sat) << 16 | (int64_t)c->relu << 17;
    if (c->from == W_F32 && to >= 0) {
        ptx_need_args(p, 3, 3);
        uint32_t src[2] = {ptx_row_src(p, ptx_arg(i, 1), W_F32),
                           ptx_row_src(p, ptx_arg(i, 2), W_F32)};
        emit2(p, ALU_CVT_X2, d, src);
        p->kernel->code[p->kernel->n_code - 1].imm = how;
        return;
    }
    ptx_need_args(p, 2, 2);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), c->from);
    bool narrow_to = to >= 0 && to != NUM_F16 && to != NUM_BF16;
    bool narrow_from = from >= 0 && from != NUM_F16 && from != NUM_BF16;
    bool floats = narrow_from && from != NUM_UE8M0;
    if ((c->to == W_F16X2 || c->to == W_BF16X2) && floats) {
        emit1(p, ALU_NARROW_F16X2, d, a)->imm = from;
        if (c->to == W_BF16X2) { // no value of a narrow type is lost in either
            emit1(p, ALU_F16X2_BF16X2, d, d);
        }
        if (c->relu) {
            emit1(p, ALU_RELU_16X2, d, d);
        }
    } else if (c->to == W_BF16X2 && from == NUM_UE8M0) {
        emit1(p, ALU_UE8M0_BF16X2, d, a);
    } else if (narrow_to && (c->from == W_F16X2 || c->from == W_BF16X2)) {
        emit1(p, c->from == W_F16X2 ? ALU_CVT_X2_F16X2 : ALU_CVT_X2_BF16X2, d, a)->imm = how;
    } else {
        ptx_refuse(p, "unsupported pair of types");
    }
}

// d = the low n bits of a, extended by their top bit when sign is set, as a register of 'reg' bits
static void extend(struct ptx_parser *p, const struct cvt *c, int n, bool sign, uint32_t a) {
    int64_t mask = n >= 64 ? -1 : (1ll << n) - 1;
    if (c->a_bits == 64 && c->d_bits == 64) {
        if (n == 64) {
            emit1(p, ALU_MOV_64, c->d, a);
            return;
        }
        uint32_t t = ptx_new_row(p, 32);
        emit1(p, ALU_TRUNC_64, t, a)->imm = 0xFFFFFFFF;
        struct cvt next = *c;
        next.a_bits = 32;
        extend(p, &next, n, sign, t);
    } else if (c->a_bits == 64) {
        emit1(p, ALU_TRUNC_64, c->d, a)->imm = n < 32 ? mask : 0xFFFFFFFF;
        if (sign && n < 32) {
            struct cvt next = *c;
            next.a_bits = 32;
            extend(p, &next, n, sign, c->d);
        }
    } else if (c->d_bits == 64) {
        enum alu_key key = !sign     ? ALU_ZEXT_64
                           : n == 8  ? ALU_SEXT8_64
                           : n == 16 ? ALU_SEXT16_64
                                     : ALU_SEXT32_64;
        emit1(p, key, c->d, a)->imm = mask;
    } else if (sign && n == 8) {
        emit1(p, ALU_SEXT8_32, c->d, a)->imm = c->d_reg < 32 ? (1ll << c->d_reg) - 1 : 0xFFFFFFFF;
    } else if (sign && n == 16 && c->d_reg == 32) {
        emit1(p, ALU_SEXT16_32, c->d, a);
    } else {
        emit1(p, ALU_MASK_32, c->d, a)->imm = mask;
    }
}

static void cvt_int(struct ptx_parser *p, const struct cvt *c) {
    int to = ptx_type_bits(c->to);
    int from = ptx_type_bits(c->from);
    if (!c->sat) {
        bool narrow = to < from;
        extend(p, c, narrow ? to : from, ptx_is_signed(narrow ? c->to : c->from), c->a);
        return;
    }
    uint32_t wide = ptx_new_row(p, 64);
    struct cvt up = *c;
    up.d = wide;
    up.d_bits = up.d_reg = 64;
    extend(p, &up, from, ptx_is_signed(c->from), c->a);
    emit1(p, ptx_is_signed(c->from) ? ALU_SAT_INT : ALU_SAT_UINT, wide, wide)->imm =
        to | ptx_is_signed(c->to) << 8;
    struct cvt down = *c;
    down.a_bits = 64;
    extend(p, &down, to, ptx_is_signed(c->to), wide);
}

// An f32 row with the value of a source of type f16, bf16 or f32.
static uint32_t to_f32(struct ptx_parser *p, enum ptx_word type, uint32_t a, bool ftz) {
    uint32_t d = ptx_new_row(p, 32);
    if (type == W_F16 || type == W_BF16) {
        emit1(p, type == W_F16 ? ALU_CVT_F32_F16 : ALU_CVT_F32_BF16, d, a);
    } else {
        emit1(p, ALU_MOV_32, d, a);
    }
    if (ftz) {
        emit1(p, ALU_FTZ_F32, d, d);
    }
    return d;
}

static void cvt_float_int(struct ptx_parser *p, const struct cvt *c) {
    uint32_t wide = ptx_new_row(p, 64);
    int to = ptx_type_bits(c->to);
    int mode = c->integral >= 0 ? c->integral : c->round >= 0 ? c->round : NUM_RN;
    uint32_t from = c->a;
    if (c->from != W_F64) {
        emit1(p, ALU_CVT_F64_F32, wide, to_f32(p, c->from, c->a, c->ftz));
        from = wide;
    }
    emit1(p, ptx_is_signed(c->to) ? ALU_CVT_S64_F64 : ALU_CVT_U64_F64, wide, from)->imm =
        mode | to << 8;
    struct cvt down = *c;
    down.a_bits = 64;
    extend(p, &down, to, ptx_is_signed(c->to), wide);
}

static void from_f32(struct ptx_parser *p, const struct cvt *c, uint32_t a) {
    int round = c->round >= 0 ? c->round : NUM_RN;
    enum alu_key key = c->to == W_F16    ? ALU_CVT_F16_F32
                       : c->to == W_BF16 ? ALU_CVT_BF16_F32
                       : c->to == W_TF32 ? ALU_CVT_TF32_F32
                       : c->to == W_F64  ? ALU_CVT_F64_F32
                                         : ALU_MOV_32;
    if (c->sat && c->to != W_F64) {
        uint32_t t = ptx_new_row(p, 32);
        emit1(p, ALU_SAT_F32, t, a);
        a = t;
    }
    emit1(p, key, c->d, a)->imm = round;
    if (c->relu) {
        emit1(p, ALU_RELU_16, c->d, c->d);
    }
    if (c->ftz && c->to == W_F32) {
        emit1(p, ALU_FTZ_F32, c->d, c->d);
    }
}

static void cvt_int_float(struct ptx_parser *p, const struct cvt *c) {
    bool sign = ptx_is_signed(c->from);
    uint32_t wide = ptx_new_row(p, 64);
    struct cvt up = *c;
    up.d = wide;
    up.d_bits = up.d_reg = 64;
    extend(p, &up, ptx_type_bits(c->from), sign, c->a);
    int round = c->round >= 0 ? c->round : NUM_RN;
    if (c->to == W_F32 && round == NUM_RN) {
        emit1(p, sign ? ALU_CVT_F32_S64 : ALU_CVT_F32_U64, c->d, wide);
        return;
    }
    uint32_t d64 = c->to == W_F64 ? c->d : wide;
    emit1(p, sign ? ALU_CVT_F64_S64 : ALU_CVT_F64_U64, d64, wide)->imm =
        c->to == W_F64 ? round : ROUND_ODD;
    if (c->to == W_F32) {
        emit1(p, ALU_CVT_F32_F64, c->d, d64)->imm = round;
    } else if (c->to != W_F64) {
        uint32_t t = ptx_new_row(p, 32);
        emit1(p, ALU_CVT_ODD_F32_F64, t, d64);
        from_f32(p, c, t);
    }
}

static void cvt_float(struct ptx_parser *p, const struct cvt *c) {
    if (c->from == W_F64 && c->to == W_F64) {
        if (c->integral >= 0) {
            emit1(p, ALU_ROUND_F64, c->d, c->a)->imm = c->integral;
        } else {
            emit1(p, ALU_MOV_64, c->d, c->a);
        }
    } else if (c->from == W_F64 && c->to == W_F32) {
        emit1(p, ALU_CVT_F32_F64, c->d, c->a)->imm = c->round >= 0 ? c->round : NUM_RN;
        if (c->ftz) {
            emit1(p, ALU_FTZ_F32, c->d, c->d);
        }
    } else if (c->from == W_F64) {
        uint32_t t = ptx_new_row(p, 32);
        emit1(p, ALU_CVT_ODD_F32_F64, t, c->a);
        from_f32(p, c, t);
    } else {
        uint32_t t = to_f32(p, c->from, c->a, c->ftz);
        if (c->integral >= 0) {
            emit1(p, ALU_ROUND_F32, t, t)->imm = c->integral;
        }
        from_f32(p, c, t);
    }
}

// cvt[.rounding][.ftz][.sat|.satfinite][.relu].to.from d, a[, b]
void dec_cvt(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t rounds[] = {W_RN, W_RZ, W_RM, W_RP, W_RNA};
    static const uint16_t integrals[] = {W_RNI, W_RZI, W_RMI, W_RPI};
    struct cvt c = {.to = ptx_need_type(p), .from = ptx_need_type(p)};
    c.round = ptx_take_one(i, rounds, 5);
    c.integral = ptx_take_one(i, integrals, 4);
    c.ftz = ptx_take(i, W_FTZ);
    c.sat = ptx_take(i, W_SAT);
    c.satfinite = ptx_take(i, W_SATFINITE);
    c.relu = ptx_take(i, W_RELU);
    if (format_of(c.to) >= 0 || format_of(c.from) >= 0) {
        c.round = c.round < 0 ? NUM_RN : c.round;
        cvt_pair(p, i, &c);
        return;
    }
    ptx_need_args(p, 2, 2);
    c.a = ptx_row_wide(p, ptx_arg(i, 1), c.from, &c.a_bits, false);
    c.d = ptx_row_wide(p, ptx_arg(i, 0), c.to, &c.d_bits, true);
    const struct ptx_operand *d = ptx_arg(i, 0);
    c.d_reg = d->kind == OP_REG ? ptx_type_bits(d->type) : c.d_bits;
    bool to = ptx_is_float(c.to);
    bool from = ptx_is_float(c.from);
    if (!to && !from) {
        cvt_int(p, &c);
    } else if (!to) {
        cvt_float_int(p, &c);
    } else if (!from) {
        cvt_int_float(p, &c);
    } else {
        cvt_float(p, &c);
    }
}

// cvta.space d, a: to generic; cvta.to.space d, a: back. Global memory has the same address in
// both.
void dec_cvta(struct ptx_parser *p, struct ptx_ins *i) {
    bool to = ptx_take(i, W_TO);
    bool cluster;
    enum ptx_space space = ptx_take_space(i, &cluster);
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 2, 2);
    if (ptx_type_bits(type) != 64 || space == SP_GENERIC) {
        ptx_refuse(p, "unsupported address conversion");
    }
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), type);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    uint64_t window = space == SP_SHARED  ? WINDOW_SHARED
                      : space == SP_LOCAL ? WINDOW_LOCAL
                                          : 0;
    if (space == SP_PARAM) { // a parameter's address is generic already, unless it came by 32 bits
        emit1(p, to ? ALU_MOV_64 : ALU_WINDOW_64, d, a)->imm = (int64_t)WINDOW_PARAM;
        return;
    }
    struct uop *u = emit1(p, window == 0 ? ALU_MOV_64 : to ? ALU_MASK_64 : ALU_OR_IMM_64, d, a);
    u->imm = to ? 0xFFFFFFFF : (int64_t)window;
}

// ---- control ------------------------------------------------------------------------------------
void dec_bra(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_UNI);
    ptx_need_args(p, 1, 1);
    const struct ptx_operand *o = ptx_arg(i, 0);
    if (o->kind != OP_NAME) {
        ptx_refuse(p, "the target of a branch is not a label");
    }
    ptx_emit(p, run_bra);
    ptx_branch_to(p, &(struct ptx_fixup){.name = o->name,
                                         .length = o->length,
                                         .line = i->line,
                                         .uop = p->kernel->n_code - 1});
}

// brx.idx index, table
void dec_brx(struct ptx_parser *p, struct ptx_ins *i) {
    if (!ptx_take(i, W_IDX)) {
        ptx_refuse(p, "unsupported branch");
    }
    ptx_take(i, W_UNI);
    ptx_need_args(p, 2, 2);
    const struct ptx_operand *o = ptx_arg(i, 1);
    const struct ptx_symbol *t = o->kind == OP_NAME ? ptx_find_table(p, o->name, o->length) : NULL;
    if (t == NULL) {
        ptx_refuse(p, "the branch table is not defined before its use");
    }
    uint32_t a = ptx_row_src(p, ptx_arg(i, 0), W_U32);
    struct uop *u = ptx_emit(p, run_brx);
    u->a = a;
    u->b = t->count;
    u->aux = t->rows;
}

void dec_exit(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_UNI);
    ptx_need_args(p, 0, 0);
    if (i->opcode[0] == 'r' && p->frame != NULL) {
        ptx_return(p);
    } else {
        ptx_emit(p, run_exit);
    }
}

void dec_trap(struct ptx_parser *p, struct ptx_ins *i) {
    (void)i;
    ptx_need_args(p, 0, 0);
    ptx_emit(p, run_trap);
}

// Calls have operands of their own: ptx_call.c reads them.
void dec_call(struct ptx_parser *p, struct ptx_ins *i) {
    (void)i;
    ptx_call(p);
}
