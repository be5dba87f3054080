// Decoders of arithmetic: tables choose the key; .ftz and .sat become micro-operations of their own
// before and after (flushing sources and result, clamping the result), so that no key knows of
// them.
#include "alu.h"
#include "ptx.h"

struct alu_ins {
    const char *opcode;
    uint16_t type, mod[2], key;
};
static const struct alu_ins table[] = {
#define W_0 W_NONE
#define INS(op, type, m1, m2, KEY) {#op, W_##type, {W_##m1, W_##m2}, ALU_##KEY},
#include "alu_ins.def"
#undef INS
};

static bool has(const struct ptx_ins *i, uint16_t w) {
    for (int n = 0; n < i->n_mods; n++) {
        if (i->mods[n] == w) {
            return true;
        }
    }
    return w == W_NONE;
}

static bool is_op(const struct ptx_ins *i, const char *text) {
    return strlen(text) == i->opcode_length && memcmp(text, i->opcode, i->opcode_length) == 0;
}

static enum alu_key choose(struct ptx_parser *p, enum ptx_word type) {
    struct ptx_ins *i = p->ins;
    for (size_t n = 0; n < sizeof table / sizeof *table; n++) {
        const struct alu_ins *t = &table[n];
        if (t->type == type && is_op(i, t->opcode) && has(i, t->mod[0]) && has(i, t->mod[1])) {
            ptx_take(i, (enum ptx_word)t->mod[0]);
            ptx_take(i, (enum ptx_word)t->mod[1]);
            return (enum alu_key)t->key;
        }
    }
    ptx_refuse(p, "unsupported type or modifiers");
}

// The type an operand of 'bytes' a lane is read with when the instruction's type is 'type'.
static enum ptx_word type_for(enum ptx_word type, int bytes) {
    bool wide = ptx_type_bits(type) == 64;
    if (bytes == 8) {
        return wide ? type : W_U64;
    }
    return wide ? W_U32 : type;
}

static struct uop *emit_alu(struct ptx_parser *p, enum alu_key key) {
    return ptx_emit(p, alu_fn(key));
}

static enum alu_key ftz_key(enum ptx_word type) {
    return type == W_F32 ? ALU_FTZ_F32 : ALU_FTZ_F16X2; // the upper half of a lone f16 is 0
}

static uint32_t flushed(struct ptx_parser *p, enum ptx_word type, uint32_t r) {
    struct uop *u = emit_alu(p, ftz_key(type));
    u->a = r;
    return u->d = ptx_new_row(p, 32);
}

static void emit_on(struct ptx_parser *p, enum alu_key key, uint32_t d, int64_t imm) {
    struct uop *u = emit_alu(p, key);
    u->d = u->a = d;
    u->imm = imm;
}

static const uint16_t round_modes[] = {W_RN, W_RZ, W_RM, W_RP, W_RNA}; // ORDER num_round

// The rounding mode, before choose() takes the word because it has a row of its own.
static int round_of(const struct ptx_ins *i) {
    for (int m = 0; m < 5; m++) {
        if (has(i, round_modes[m])) {
            return m;
        }
    }
    return NUM_RN;
}

static void take_round(struct ptx_ins *i) {
    ptx_take_one(i, round_modes, 5);
}

static int64_t immediate_of(const struct ptx_ins *i, int round) {
    static const struct {
        const char *op;
        enum num_mufu mufu;
    } special[] = {{"ex2", NUM_EX2},   {"lg2", NUM_LG2},   {"rcp", NUM_RCP}, {"rsqrt", NUM_RSQRT},
                   {"sqrt", NUM_SQRT}, {"tanh", NUM_TANH}, {"sin", NUM_SIN}, {"cos", NUM_COS}};
    for (size_t n = 0; n < sizeof special / sizeof *special; n++) {
        if (is_op(i, special[n].op)) {
            return round != NUM_RN ? round : (int64_t)special[n].mufu;
        }
    }
    return round;
}

struct after {
    bool ftz, sat, relu;
    enum ptx_word type;
};

static void finish(struct ptx_parser *p, uint32_t d, const struct after *x) {
    if (x->ftz) {
        emit_on(p, ftz_key(x->type), d, 0);
    }
    if (x->sat) {
        emit_on(p, x->type == W_F32 ? ALU_SAT_F32 : ALU_SAT_F16X2, d, 0);
    }
    if (x->relu) {
        bool two = x->type == W_F16X2 || x->type == W_BF16X2;
        emit_on(p, two ? ALU_RELU_16X2 : ALU_RELU_16, d, 0);
    }
}

// Predicates: and or xor not. imm: 0 and, 1 or, 2 xor, 3 not; c holds the negations of a and b.
static const struct uop *run_pred(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    uint32_t a = w->p[u->a] ^ (0u - (u->c & 1));
    uint32_t b = w->p[u->b] ^ (0u - (u->c >> 1));
    uint32_t r = u->imm == 0 ? a & b : u->imm == 1 ? a | b : u->imm == 2 ? a ^ b : ~a;
    w->p[u->d] = (w->p[u->d] & ~m) | (r & m);
    return u + 1;
}

static void emit_pred(struct ptx_parser *p, int op, const struct ptx_operand *a,
                      const struct ptx_operand *b) {
    bool na;
    bool nb = false;
    uint32_t d = ptx_pred_dst(p, ptx_arg(p->ins, 0));
    uint32_t ra = ptx_pred_src(p, a, &na);
    uint32_t rb = b == NULL ? 0 : ptx_pred_src(p, b, &nb);
    struct uop *u = ptx_emit(p, run_pred);
    u->d = d;
    u->a = ra;
    u->b = rb;
    u->c = (uint32_t)na | (uint32_t)nb << 1;
    u->imm = op;
}

static void dec_pred(struct ptx_parser *p, struct ptx_ins *i) {
    int op = is_op(i, "and")   ? 0
             : is_op(i, "or")  ? 1
             : is_op(i, "xor") ? 2
             : is_op(i, "not") ? 3
                               : -1;
    if (op < 0) {
        ptx_refuse(p, "unsupported predicate instruction");
    }
    ptx_need_args(p, op == 3 ? 2 : 3, op == 3 ? 2 : 3);
    emit_pred(p, op, ptx_arg(i, 1), op == 3 ? NULL : ptx_arg(i, 2));
}

// add/sub with a carry that runs through a predicate of the kernel's own.
static const struct uop *run_carry(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    uint32_t cc = w->p[u->c];
    bool subtract = (u->flag & 1) != 0;
    FOR_LANES(l, m) {
        uint64_t in = (u->flag & 2) != 0 ? cc >> l & 1 : 0;
        if ((u->flag & 8) != 0) {
            u64 *d = row(w, u->d);
            uint64_t a = ((const u64 *)row(w, u->a))[l];
            uint64_t b = ((const u64 *)row(w, u->b))[l];
            unsigned __int128 s =
                subtract ? (unsigned __int128)a - b - in : (unsigned __int128)a + b + in;
            d[l] = (uint64_t)s;
            in = (uint64_t)(s >> 64) & 1;
        } else {
            u32 *d = row(w, u->d);
            uint64_t a = ((const u32 *)row(w, u->a))[l];
            uint64_t b = ((const u32 *)row(w, u->b))[l];
            uint64_t s = subtract ? a - b - in : a + b + in;
            d[l] = (uint32_t)s;
            in = s >> 32 & 1;
        }
        cc = (cc & ~(1u << l)) | (uint32_t)in << l;
    }
    if ((u->flag & 4) != 0) {
        w->p[u->c] = cc;
    }
    return u + 1;
}

// The low or high half of the product of a mad with a carry.
static uint32_t product(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type) {
    bool high = ptx_take(i, W_HI);
    bool sign = ptx_is_signed(type);
    bool wide = ptx_type_bits(type) == 64;
    if (!high && !ptx_take(i, W_LO)) {
        ptx_refuse(p, "mad with a carry needs .lo or .hi");
    }
    enum alu_key key = wide ? (!high  ? ALU_MUL_LO_I64
                               : sign ? ALU_MUL_HI_S64
                                      : ALU_MUL_HI_U64)
                            : (!high  ? ALU_MUL_LO_I32
                               : sign ? ALU_MUL_HI_S32
                                      : ALU_MUL_HI_U32);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), type);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), type);
    struct uop *u = emit_alu(p, key);
    u->a = a;
    u->b = b;
    return u->d = ptx_new_row(p, ptx_type_bits(type));
}

// add, sub, mad with .cc, and addc, subc, madc
static bool dec_carry(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type) {
    bool out = ptx_take(i, W_CC);
    bool in = is_op(i, "addc") || is_op(i, "subc") || is_op(i, "madc");
    if (!out && !in) {
        return false;
    }
    int bits = ptx_type_bits(type);
    if (bits != 32 && bits != 64) {
        ptx_refuse(p, "arithmetic with a carry has 32 or 64 bits");
    }
    bool mad = i->opcode[0] == 'm';
    ptx_need_args(p, 3 + mad, 3 + mad);
    uint32_t a = mad ? product(p, i, type) : ptx_row_src(p, ptx_arg(i, 1), type);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2 + mad), type);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    if (p->kernel->carry == 0) {
        p->kernel->carry = ptx_new_pred(p);
    }
    struct uop *u = ptx_emit(p, run_carry);
    u->d = d;
    u->a = a;
    u->b = b;
    u->c = p->kernel->carry;
    u->flag =
        (uint8_t)((i->opcode[0] == 's') | in << 1 | out << 2 | (bits == 64) << 3);
    return true;
}

// min/max with three sources: two micro-operations
static uint32_t first_of_three(struct ptx_parser *p, enum alu_key key, enum ptx_word type) {
    uint32_t a = ptx_row_src(p, ptx_arg(p->ins, 1), type);
    uint32_t b = ptx_row_src(p, ptx_arg(p->ins, 2), type);
    struct uop *u = emit_alu(p, key);
    u->a = a;
    u->b = b;
    return u->d = ptx_new_row(p, 32);
}

void dec_alu(struct ptx_parser *p, struct ptx_ins *i) {
    enum ptx_word type = ptx_take_type(i);
    enum ptx_word narrow = ptx_take_type(i); // add.f32.bf16: mixed operands
    if (type == W_NONE) {
        ptx_refuse(p, "the instruction has no type");
    }
    if (narrow != W_NONE) {
        dec_mixed(p, i, type, narrow);
        return;
    }
    if (type == W_PRED) {
        dec_pred(p, i);
        return;
    }
    if (dec_carry(p, i, type)) {
        return;
    }
    bool single = type == W_F32 || type == W_F32X2;
    bool least = is_op(i, "min") || is_op(i, "max");
    bool absolute = single && least && !has(i, W_XORSIGN) && ptx_take(i, W_ABS);
    int round = ptx_is_float(type) ? round_of(i) : NUM_RN;
    bool flushable = type == W_F32 || type == W_F16 || type == W_F16X2;
    struct after x = {.ftz = flushable && has(i, W_FTZ), .type = type};
    bool xorsign = least && has(i, W_XORSIGN);
    if (xorsign && !ptx_take(i, W_ABS)) {
        ptx_refuse(p, ".xorsign needs .abs");
    }
    enum alu_key key = choose(p, type);
    ptx_take(i, W_FTZ);
    x.sat = flushable && ptx_take(i, W_SAT);
    x.relu = ptx_is_float(type) && ptx_take(i, W_RELU);
    if (ptx_is_float(type)) {
        take_round(i);
        ptx_take(i, W_APPROX);
    }
    const struct alu_sig *sig = &alu_sigs[key];
    bool three = sig->n == 2 && i->n_args == 4 && type == W_F32 && !xorsign;
    ptx_need_args(p, three ? 4 : sig->n + 1, three ? 4 : sig->n + 1);
    if (absolute) {
        ptx_refuse(p, "unsupported modifier '.abs'");
    }
    uint32_t r[3] = {0, 0, 0};
    const uint8_t bytes[3] = {sig->a, sig->b, sig->c};
    for (int n = 0; n < sig->n; n++) {
        bool done = three && n == 0;
        r[n] = done ? first_of_three(p, key, type)
                    : ptx_row_src(p, ptx_arg(i, n + 1 + three), type_for(type, bytes[n]));
        r[n] = x.ftz ? flushed(p, type, r[n]) : r[n];
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type_for(type, sig->d));
    ptx_emit_rows(p, alu_fn(key), d, r)->imm = immediate_of(i, round);
    finish(p, d, &x);
}

// add.rn.f32.bf16 d, a, c and fma.rn.f32.bf16 d, a, b, c: all but the last source are narrow
void dec_mixed(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type, enum ptx_word narrow) {
    bool ok = type == W_F32 && (narrow == W_BF16 || narrow == W_F16);
    if (!ok || !(is_op(i, "add") || is_op(i, "sub") || is_op(i, "fma"))) {
        ptx_refuse(p, "unsupported pair of types");
    }
    int round = round_of(i);
    enum alu_key key = choose(p, type);
    take_round(i);
    int sources = alu_sigs[key].n;
    ptx_need_args(p, sources + 1, sources + 1);
    uint32_t r[3] = {0, 0, 0};
    for (int n = 0; n < sources; n++) {
        bool last = n == sources - 1;
        uint32_t src = ptx_row_src(p, ptx_arg(i, n + 1), last ? W_F32 : narrow);
        if (!last) {
            struct uop *u = emit_alu(p, narrow == W_BF16 ? ALU_CVT_F32_BF16 : ALU_CVT_F32_F16);
            u->a = src;
            src = u->d = ptx_new_row(p, 32);
        }
        r[n] = src;
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_F32);
    struct after x = {.sat = ptx_take(i, W_SAT), .type = W_F32};
    ptx_emit_rows(p, alu_fn(key), d, r)->imm = round;
    finish(p, d, &x);
}

static void dec_ternary(struct ptx_parser *p, enum alu_key key, int64_t imm) {
    struct ptx_ins *i = p->ins;
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    uint32_t r[3];
    for (int n = 0; n < 3; n++) {
        r[n] = ptx_row_src(p, ptx_arg(i, n + 1), W_B32);
    }
    ptx_emit_rows(p, alu_fn(key), d, r)->imm = imm;
}

void dec_dp4a(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_need_args(p, 4, 4);
    enum ptx_word a = ptx_need_type(p);
    enum ptx_word b = ptx_need_type(p);
    int sign = (a == W_S32) * 2 + (b == W_S32);
    static const enum alu_key keys[] = {ALU_DP4A_UU, ALU_DP4A_US, ALU_DP4A_SU, ALU_DP4A_SS};
    (void)i;
    dec_ternary(p, keys[sign], 0);
}

// dp2a.mode.atype.btype d, a, b, c
void dec_dp2a(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t modes[] = {W_LO, W_HI};
    int mode = ptx_take_one(i, modes, 2);
    ptx_need_args(p, 4, 4);
    bool a = ptx_is_signed(ptx_need_type(p));
    bool b = ptx_is_signed(ptx_need_type(p));
    if (mode < 0) {
        ptx_refuse(p, "dp2a needs .lo or .hi");
    }
    dec_ternary(p, ALU_DP2A, mode | b << 1 | a << 2);
}

// lop3.b32 d, a, b, c, lut
void dec_lop3(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_need_type(p);
    ptx_need_args(p, 5, 5);
    dec_ternary(p, ALU_LOP3, (int64_t)(ptx_need_int(p, ptx_arg(i, 4)) & 255));
}

void dec_prmt(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t modes[] = {W_F4E, W_B4E, W_RC8, W_ECL, W_ECR, W_RC16};
    int mode = ptx_take_one(i, modes, 6);
    ptx_need_type(p);
    ptx_need_args(p, 4, 4);
    dec_ternary(p, mode < 0 ? ALU_PRMT : ALU_PRMT_MODE, mode);
}

// bfi: four sources; d = b with bits c .. c+len-1 replaced by the low bits of a
static const struct uop *run_bfi(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const u32 *pos = row(w, u->c);
    const u32 *len = row(w, (uint32_t)u->imm);
    FOR_LANES(l, m) {
        uint32_t width = u->flag;
        uint32_t from = pos[l] & 255;
        uint32_t n = len[l] & 255;
        uint64_t field =
            from >= width || n == 0 ? 0 : (n >= 64 ? UINT64_MAX : (1ull << n) - 1) << from;
        if (width == 64) {
            uint64_t a = from >= 64 ? 0 : ((const u64 *)row(w, u->a))[l] << from;
            uint64_t b = ((const u64 *)row(w, u->b))[l];
            ((u64 *)row(w, u->d))[l] = (b & ~field) | (a & field);
        } else {
            uint64_t a = from >= 32 ? 0 : (uint64_t)((const u32 *)row(w, u->a))[l] << from;
            uint64_t b = ((const u32 *)row(w, u->b))[l];
            ((u32 *)row(w, u->d))[l] = (uint32_t)((b & ~field) | (a & field));
        }
    }
    return u + 1;
}

void dec_bfi(struct ptx_parser *p, struct ptx_ins *i) {
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 5, 5);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    uint32_t r[4];
    for (int n = 0; n < 4; n++) {
        r[n] = ptx_row_src(p, ptx_arg(i, n + 1), n < 2 ? type : W_U32);
    }
    struct uop *u = ptx_emit_rows(p, run_bfi, d, r);
    u->imm = r[3];
    u->flag = ptx_type_bits(type) == 64 ? 64 : 32;
}

// ---- comparisons --------------------------------------------------------------------------------
#define CMP_FLOAT(op, W)                                                                           \
    {                                                                                              \
        W_##W, ALU_NONE, ALU_NONE, ALU_NONE, ALU_NONE, ALU_NONE, ALU_CMP_##op##_F32,               \
            ALU_CMP_##op##_F64                                                                     \
    }
static const struct {
    uint16_t word, u32, s32, s16, u64, s64, f32, f64;
} compare[] = {
    {W_EQ, ALU_CMP_EQ_32, ALU_CMP_EQ_32, ALU_CMP_EQ_32, ALU_CMP_EQ_64, ALU_CMP_EQ_64,
     ALU_CMP_EQ_F32, ALU_CMP_EQ_F64},
    {W_NE, ALU_CMP_NE_32, ALU_CMP_NE_32, ALU_CMP_NE_32, ALU_CMP_NE_64, ALU_CMP_NE_64,
     ALU_CMP_NE_F32, ALU_CMP_NE_F64},
    {W_LT, ALU_CMP_LT_U32, ALU_CMP_LT_S32, ALU_CMP_LT_S16, ALU_CMP_LT_U64, ALU_CMP_LT_S64,
     ALU_CMP_LT_F32, ALU_CMP_LT_F64},
    {W_LE, ALU_CMP_LE_U32, ALU_CMP_LE_S32, ALU_CMP_LE_S16, ALU_CMP_LE_U64, ALU_CMP_LE_S64,
     ALU_CMP_LE_F32, ALU_CMP_LE_F64},
    {W_GT, ALU_CMP_GT_U32, ALU_CMP_GT_S32, ALU_CMP_GT_S16, ALU_CMP_GT_U64, ALU_CMP_GT_S64,
     ALU_CMP_GT_F32, ALU_CMP_GT_F64},
    {W_GE, ALU_CMP_GE_U32, ALU_CMP_GE_S32, ALU_CMP_GE_S16, ALU_CMP_GE_U64, ALU_CMP_GE_S64,
     ALU_CMP_GE_F32, ALU_CMP_GE_F64},
    {W_LO, ALU_CMP_LT_U32, ALU_NONE, ALU_NONE, ALU_CMP_LT_U64, ALU_NONE, ALU_NONE, ALU_NONE},
    {W_LS, ALU_CMP_LE_U32, ALU_NONE, ALU_NONE, ALU_CMP_LE_U64, ALU_NONE, ALU_NONE, ALU_NONE},
    {W_HI, ALU_CMP_GT_U32, ALU_NONE, ALU_NONE, ALU_CMP_GT_U64, ALU_NONE, ALU_NONE, ALU_NONE},
    {W_HS, ALU_CMP_GE_U32, ALU_NONE, ALU_NONE, ALU_CMP_GE_U64, ALU_NONE, ALU_NONE, ALU_NONE},
    CMP_FLOAT(EQU, EQU),
    CMP_FLOAT(NEU, NEU),
    CMP_FLOAT(LTU, LTU),
    CMP_FLOAT(LEU, LEU),
    CMP_FLOAT(GTU, GTU),
    CMP_FLOAT(GEU, GEU),
    CMP_FLOAT(NUM, NUM),
    CMP_FLOAT(NAN, ISNAN),
};

static enum alu_key compare_key(struct ptx_parser *p, enum ptx_word type) {
    for (size_t n = 0; n < sizeof compare / sizeof *compare; n++) {
        if (!ptx_take(p->ins, (enum ptx_word)compare[n].word)) {
            continue;
        }
        bool half = type == W_F16 || type == W_BF16 || type == W_F16X2 || type == W_BF16X2;
        uint16_t key = type == W_F32 || half                            ? compare[n].f32
                       : type == W_F64                                  ? compare[n].f64
                       : type == W_S16                                  ? compare[n].s16
                       : type == W_S32                                  ? compare[n].s32
                       : type == W_S64                                  ? compare[n].s64
                       : ptx_type_bits(type) == 64                      ? compare[n].u64
                                                                        : compare[n].u32;
        if (key == ALU_NONE) {
            break;
        }
        return (enum alu_key)key;
    }
    ptx_refuse(p, "unsupported comparison");
}

static uint32_t compare_source(struct ptx_parser *p, int n, enum ptx_word type, bool ftz) {
    uint32_t r = ptx_row_src(p, ptx_arg(p->ins, n), type);
    if (type == W_F16 || type == W_BF16) {
        struct uop *u = emit_alu(p, type == W_F16 ? ALU_CVT_F32_F16 : ALU_CVT_F32_BF16);
        u->a = r;
        return u->d = ptx_new_row(p, 32);
    }
    return ftz && type == W_F32 ? flushed(p, type, r) : r;
}

struct comparison {
    enum alu_key key;
    uint32_t d, a, b;
    struct cmp_out out;
};

static void emit_compare(struct ptx_parser *p, const struct comparison *x) {
    struct uop *u = emit_alu(p, x->key);
    u->d = x->d;
    u->a = x->a;
    u->b = x->b;
    memcpy(&u->imm, &x->out, sizeof x->out);
}

// Comparison, combining operation and its predicate; not yet the sources.
static bool read_how(struct ptx_parser *p, struct comparison *x, enum ptx_word type) {
    static const uint16_t ops[] = {W_AND, W_OR, W_XOR};
    struct ptx_ins *i = p->ins;
    if (type == W_PRED || ptx_type_bits(type) > 64) {
        ptx_refuse(p, "unsupported type of a comparison");
    }
    x->out = (struct cmp_out){.q = 2};
    x->out.op = (uint8_t)(ptx_take_one(i, ops, 3) + 1);
    x->key = compare_key(p, type);
    bool ftz = ptx_take(i, W_FTZ);
    ptx_need_args(p, x->out.op != 0 ? 4 : 3, x->out.op != 0 ? 4 : 3);
    if (x->out.op != 0) {
        bool negated;
        x->out.c = (uint16_t)ptx_pred_src(p, ptx_arg(i, 3), &negated);
        x->out.negated = negated;
    }
    return ftz;
}

static void read_compare(struct ptx_parser *p, struct comparison *x, enum ptx_word type) {
    bool ftz = read_how(p, x, type);
    x->a = compare_source(p, 1, type, ftz);
    x->b = compare_source(p, 2, type, ftz);
}

static bool is_pair(enum ptx_word type) {
    return type == W_F16X2 || type == W_BF16X2;
}

// The lower or upper half of source n as f32.
static uint32_t half_source(struct ptx_parser *p, uint32_t from, enum ptx_word type, int half) {
    uint32_t d = ptx_new_row(p, 32);
    struct uop *u = emit_alu(p, ALU_FIELD_32);
    u->a = from;
    u->d = d;
    u->imm = (int64_t)((uint64_t)0xFFFF << 32) | 16 * half;
    u = emit_alu(p, type == W_F16X2 ? ALU_CVT_F32_F16 : ALU_CVT_F32_BF16);
    u->a = u->d = d;
    return d;
}

// .f16x2, .bf16x2: two comparisons, into predicates of their own.
static void compare_pair(struct ptx_parser *p, enum ptx_word type, uint32_t out[2]) {
    struct comparison x;
    bool ftz = read_how(p, &x, type);
    uint32_t src[2];
    for (int n = 0; n < 2; n++) {
        src[n] = ptx_row_src(p, ptx_arg(p->ins, n + 1), type);
        src[n] = ftz && type == W_F16X2 ? flushed(p, type, src[n]) : src[n];
    }
    for (int half = 0; half < 2; half++) {
        x.a = half_source(p, src[0], type, half);
        x.b = half_source(p, src[1], type, half);
        x.d = out[half] = ptx_new_pred(p);
        emit_compare(p, &x);
    }
}

static void copy_pred(struct ptx_parser *p, uint32_t d, uint32_t from) {
    struct uop *u = ptx_emit(p, run_pred);
    u->d = d;
    u->a = u->b = from;
}

// setp.cmp[.bool][.ftz].type p[|q], a, b[, [!]c]
void dec_setp(struct ptx_parser *p, struct ptx_ins *i) {
    struct comparison x;
    enum ptx_word type = ptx_need_type(p);
    const struct ptx_operand *d = ptx_arg(i, 0);
    if (is_pair(type)) {
        uint32_t out[2];
        if (d->pair < 0) {
            ptx_refuse(p, "a comparison of pairs has two results, p|q");
        }
        compare_pair(p, type, out);
        copy_pred(p, ptx_pred_dst(p, d), out[0]);
        copy_pred(p, ptx_pred_dst(p, &i->pool[d->pair]), out[1]);
        return;
    }
    read_compare(p, &x, type);
    x.d = ptx_pred_dst(p, d);
    x.out.q = d->pair < 0 ? 2 : (uint16_t)ptx_pred_dst(p, &i->pool[d->pair]);
    emit_compare(p, &x);
}

static void emit_select(struct ptx_parser *p, const struct comparison *x, enum ptx_word type) {
    struct uop *u = emit_alu(p, ptx_type_bits(type) == 64 ? ALU_SELP_64 : ALU_SELP_32);
    u->d = x->d;
    u->a = x->a;
    u->b = x->b;
    u->c = x->out.c;
    u->flag = x->out.negated;
}

// All ones, or 1.0 in the type 'to', in each half where its comparison holds.
static void set_pair(struct ptx_parser *p, enum ptx_word to, enum ptx_word type) {
    uint32_t one = to == W_F16X2 ? 0x3C00 : to == W_BF16X2 ? 0x3F80 : 0xFFFF;
    if (!is_pair(to) && to != W_U32 && to != W_S32) {
        ptx_refuse(p, "unsupported destination type");
    }
    uint32_t out[2], half[2];
    compare_pair(p, type, out);
    for (int n = 0; n < 2; n++) {
        struct comparison s = {.d = half[n] = ptx_new_row(p, 32), .out = {.c = (uint16_t)out[n]}};
        s.a = ptx_row_const(p, one << 16 * n, 32);
        s.b = ptx_row_const(p, 0, 32);
        emit_select(p, &s, W_U32);
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(p->ins, 0), to);
    struct uop *u = emit_alu(p, ALU_OR_32);
    u->d = d;
    u->a = half[0];
    u->b = half[1];
}

// set: all ones (or 1.0) where the comparison holds
void dec_set(struct ptx_parser *p, struct ptx_ins *i) {
    enum ptx_word to = ptx_need_type(p);
    enum ptx_word type = ptx_need_type(p);
    if (is_pair(type)) {
        set_pair(p, to, type);
        return;
    }
    struct comparison x;
    read_compare(p, &x, type);
    x.d = ptx_new_pred(p);
    emit_compare(p, &x);
    struct comparison s = {.d = ptx_row_dst(p, ptx_arg(i, 0), to), .out = {.c = (uint16_t)x.d}};
    bool narrow = to == W_U16 || to == W_S16 || to == W_F16 || to == W_BF16;
    if (!narrow && to != W_U32 && to != W_S32 && to != W_F32) {
        ptx_refuse(p, "unsupported destination type");
    }
    uint32_t one = to == W_F32    ? 0x3F800000
                   : to == W_F16  ? 0x3C00
                   : to == W_BF16 ? 0x3F80
                   : narrow       ? 0xFFFF
                                  : FULL;
    s.a = ptx_row_const(p, one, 32);
    s.b = ptx_row_const(p, 0, 32);
    emit_select(p, &s, to);
}

void dec_testp(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t what[] = {W_FINITE,     W_INFINITE, W_NUMBER,
                                    W_NOTANUMBER, W_NORMAL,   W_SUBNORMAL};
    int w = ptx_take_one(i, what, 6);
    ptx_need_args(p, 2, 2);
    if (w < 0 || ptx_need_type(p) != W_F32) {
        ptx_refuse(p, "unsupported test");
    }
    struct comparison x = {
        .key = ALU_CMP_TESTP_F32, .d = ptx_pred_dst(p, ptx_arg(i, 0)), .out = {.q = 2}};
    x.a = x.b = ptx_row_src(p, ptx_arg(i, 1), W_F32);
    emit_compare(p, &x);
    p->kernel->code[p->kernel->n_code - 1].c = (uint32_t)w;
}

// selp d, a, b, p
void dec_selp(struct ptx_parser *p, struct ptx_ins *i) {
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 4, 4);
    bool negated;
    struct comparison x = {.d = ptx_row_dst(p, ptx_arg(i, 0), type)};
    x.a = ptx_row_src(p, ptx_arg(i, 1), type);
    x.b = ptx_row_src(p, ptx_arg(i, 2), type);
    x.out.c = (uint16_t)ptx_pred_src(p, ptx_arg(i, 3), &negated);
    x.out.negated = negated;
    emit_select(p, &x, type);
}
