// What every decoder needs: modifiers as a set, operands as rows, constants, micro-operations.
#include "ptx.h"
#include <stdlib.h>

// ---- words --------------------------------------------------------------------------------------
static const struct {
    const char *text;
    uint8_t length;
} words[W_COUNT] = {
#define TYPE(ID, text, bits) [W_##ID] = {text, sizeof text - 1},
#define MOD(ID, text) [W_##ID] = {text, sizeof text - 1},
#include "words.def"
#undef TYPE
#undef MOD
};

static const int type_bits[W_TYPE_END] = {
#define TYPE(ID, text, bits) [W_##ID] = bits,
#define MOD(ID, text)
#include "words.def"
#undef TYPE
#undef MOD
};

enum ptx_word ptx_word_find(const char *text, size_t length) {
    for (int w = 1; w < W_COUNT; w++) {
        if (words[w].length == length && words[w].text[0] == text[0] &&
            memcmp(words[w].text, text, length) == 0) {
            return (enum ptx_word)w;
        }
    }
    return W_NONE;
}

const char *ptx_word_text(enum ptx_word w) {
    return w == W_NONE || words[w].text == NULL ? "" : words[w].text;
}

int ptx_type_bits(enum ptx_word type) {
    return type < W_TYPE_END ? type_bits[type] : 0;
}

static const char *const sreg_text[SREG_COUNT] = {
#define X(ID, text) text,
    SREG_LIST(X)
#undef X
};

int ptx_find_sreg(const char *name, size_t length) {
    for (int s = 0; s < SREG_COUNT; s++) {
        if (strlen(sreg_text[s]) == length && memcmp(sreg_text[s], name, length) == 0) {
            return s;
        }
    }
    return -1;
}

static const struct {
    const char *text;
    ptx_decoder *decoder;
} opcodes[] = {
#define OPCODE(text, decoder) {text, decoder},
#include "ops.def"
#undef OPCODE
};

ptx_decoder *ptx_find_decoder(const char *opcode, size_t length) {
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        const char *t = opcodes[i].text;
        if (t[0] == opcode[0] && strlen(t) == length && memcmp(t, opcode, length) == 0) {
            return opcodes[i].decoder;
        }
    }
    return NULL;
}

// ---- modifiers ----------------------------------------------------------------------------------
bool ptx_take(struct ptx_ins *i, enum ptx_word w) {
    for (int n = 0; n < i->n_mods; n++) {
        if (i->mods[n] == w) {
            i->mods[n] = W_NONE;
            return true;
        }
    }
    return false;
}

enum ptx_word ptx_take_type(struct ptx_ins *i) {
    for (int n = 0; n < i->n_mods; n++) {
        if (i->mods[n] != W_NONE && i->mods[n] < W_TYPE_END) {
            enum ptx_word w = (enum ptx_word)i->mods[n];
            i->mods[n] = W_NONE;
            return w;
        }
    }
    return W_NONE;
}

enum ptx_word ptx_need_type(struct ptx_parser *p) {
    enum ptx_word t = ptx_take_type(p->ins);
    if (t == W_NONE) {
        ptx_refuse(p, "the instruction has no type");
    }
    return t;
}

int ptx_take_one(struct ptx_ins *i, const uint16_t *list, int n) {
    for (int w = 0; w < n; w++) {
        if (ptx_take(i, (enum ptx_word)list[w])) {
            return w;
        }
    }
    return -1;
}

void ptx_take_all(struct ptx_ins *i, const uint16_t *list, int n) {
    for (int w = 0; w < n; w++) {
        ptx_take(i, (enum ptx_word)list[w]);
    }
}

void ptx_take_order(struct ptx_ins *i) {
    static const uint16_t list[] = {W_VOLATILE, W_RELAXED, W_ACQUIRE, W_RELEASE, W_ACQ_REL,
                                    W_WEAK,     W_MMIO,    W_SC,      W_CTA,     W_CLUSTER,
                                    W_GPU,      W_SYS,     W_GL};
    ptx_take_all(i, list, sizeof list / sizeof *list);
}

void ptx_take_cache(struct ptx_ins *i) {
    static const uint16_t list[] = {W_CA,
                                    W_CG,
                                    W_CS,
                                    W_LU,
                                    W_CV,
                                    W_WB,
                                    W_WT,
                                    W_NC,
                                    W_L2_64B,
                                    W_L2_128B,
                                    W_L2_256B,
                                    W_L1_EVICT_NORMAL,
                                    W_L1_EVICT_UNCHANGED,
                                    W_L1_EVICT_FIRST,
                                    W_L1_EVICT_LAST,
                                    W_L1_NO_ALLOCATE,
                                    W_L2_EVICT_NORMAL,
                                    W_L2_EVICT_UNCHANGED,
                                    W_L2_EVICT_FIRST,
                                    W_L2_EVICT_LAST};
    ptx_take_all(i, list, sizeof list / sizeof *list);
}

void ptx_finish_ins(struct ptx_parser *p) {
    struct ptx_ins *i = p->ins;
    for (int n = 0; n < i->n_mods; n++) {
        if (i->mods[n] != W_NONE) {
            char why[120] = "unsupported modifier '.";
            size_t at = strlen(why);
            const char *t = ptx_word_text((enum ptx_word)i->mods[n]);
            size_t length = strlen(t);
            memcpy(why + at, t, length);
            memcpy(why + at + length, "'", 2);
            ptx_refuse(p, why);
        }
    }
}

enum ptx_space ptx_take_space(struct ptx_ins *i, bool *cluster) {
    *cluster = ptx_take(i, W_SHARED_CLUSTER);
    if (*cluster || ptx_take(i, W_SHARED) || ptx_take(i, W_SHARED_CTA)) {
        return SP_SHARED;
    }
    if (ptx_take(i, W_GLOBAL) || ptx_take(i, W_CONST)) {
        return SP_GLOBAL;
    }
    if (ptx_take(i, W_LOCAL)) {
        return SP_LOCAL;
    }
    if (ptx_take(i, W_PARAM_FUNC)) {
        return SP_CALL_PARAM;
    }
    return ptx_take(i, W_PARAM) || ptx_take(i, W_PARAM_ENTRY) ? SP_PARAM : SP_GENERIC;
}

// ---- rows ---------------------------------------------------------------------------------------
uint32_t ptx_new_row(struct ptx_parser *p, int bits) {
    struct sim_kernel *k = p->kernel;
    uint32_t r = k->n_rows;
    k->n_rows += bits <= 32 ? 1 : bits <= 64 ? 2 : 4;
    if (k->n_rows > 1000000) {
        ptx_fail(p, p->ins->line, "the kernel uses more than a million registers");
    }
    return r;
}

uint32_t ptx_new_pred(struct ptx_parser *p) {
    if (p->kernel->n_preds == UINT16_MAX) {
        ptx_fail(p, p->ins->line, "the kernel uses more than %d predicates", UINT16_MAX);
    }
    return p->kernel->n_preds++;
}

static void *grow(struct ptx_parser *p, void *list, uint32_t n, uint32_t *capacity, size_t bytes) {
    if (n < *capacity) {
        return list;
    }
    uint32_t more = *capacity == 0 ? 256 : *capacity * 2;
    void *bigger = realloc(list, more * bytes);
    if (bigger == NULL) {
        ptx_fail(p, p->ins->line, "out of memory");
    }
    *capacity = more;
    return bigger;
}

static uint32_t row_const_kind(struct ptx_parser *p, uint64_t bits, int width, int kind) {
    struct sim_kernel *k = p->kernel;
    bits = width == 32 ? (uint32_t)bits : bits;
    uint32_t back = k->n_consts > 512 ? k->n_consts - 512 : 0;
    for (uint32_t i = k->n_consts; i > back; i--) {
        const struct kernel_const *c = &k->consts[i - 1];
        if (c->value == bits && c->width == width && c->kind == kind) {
            return c->row;
        }
    }
    k->consts = grow(p, k->consts, k->n_consts, &p->const_capacity, sizeof *k->consts);
    uint32_t r = ptx_new_row(p, width);
    k->consts[k->n_consts++] = (struct kernel_const){
        .row = r, .width = (uint16_t)width, .kind = (uint16_t)kind, .value = bits};
    return r;
}

uint32_t ptx_row_const(struct ptx_parser *p, uint64_t bits, int width) {
    return row_const_kind(p, bits, width, CONST_PLAIN);
}

static uint32_t row_sreg(struct ptx_parser *p, uint32_t sreg, int bits) {
    struct sim_kernel *k = p->kernel;
    for (uint32_t i = 0; i < k->n_sregs; i++) {
        if (k->sregs[i].sreg == sreg) {
            return k->sregs[i].row;
        }
    }
    k->sregs[k->n_sregs] = (struct kernel_sreg){ptx_new_row(p, bits), sreg};
    k->cooperative |= sreg == SREG_ENVREG1 || sreg == SREG_ENVREG2;
    return k->sregs[k->n_sregs++].row;
}

// A static shared variable gets its offset when the kernel first names it.
static uint32_t row_shared(struct ptx_parser *p, const struct ptx_symbol *y, uint64_t offset,
                           int width) {
    struct ptx_symbol *v = (struct ptx_symbol *)y;
    if (v->is_extern) {
        if (v->align > p->kernel->dynamic_align) {
            p->kernel->dynamic_align = v->align;
        }
        return row_const_kind(p, offset, width, CONST_DYNAMIC);
    }
    if (!v->placed) {
        uint32_t at = SMEM_RESERVED + p->smem_used;
        at = (at + v->align - 1) & ~(v->align - 1);
        if (v->bytes > (1u << 20) || at + v->bytes > (1u << 20)) {
            ptx_fail(p, p->ins->line, "more than 1 MiB of shared variables");
        }
        v->address = at;
        v->placed = true;
        p->smem_used = at + (uint32_t)v->bytes - SMEM_RESERVED;
    }
    return row_const_kind(p, v->address + offset, width, CONST_SHARED);
}

static uint32_t row_var(struct ptx_parser *p, const struct ptx_operand *o, int width) {
    const struct ptx_symbol *y = o->symbol;
    if (y->space == SP_SHARED) {
        return row_shared(p, y, o->value, width);
    }
    if (y->space == SP_GLOBAL && y->is_extern) {
        ptx_refuse(p, "an .extern .global variable has no address here");
    }
    uint64_t window = y->space == SP_PARAM        ? WINDOW_PARAM
                      : y->space == SP_CALL_PARAM ? WINDOW_LOCAL
                                                  : 0;
    return ptx_row_const(p, window + y->address + o->value, width);
}

static double float_value(const struct ptx_operand *o) {
    double d;
    memcpy(&d, &o->value, 8);
    return o->kind == OP_FLOAT32 ? (double)num_f32((uint32_t)o->value) : d;
}

static uint64_t float_bits(const struct ptx_operand *o, enum ptx_word type) {
    if (type == W_F64) {
        double d = float_value(o);
        uint64_t u;
        memcpy(&u, &d, 8);
        return u;
    }
    if (o->kind == OP_FLOAT32) {
        return o->value;
    }
    return ptx_type_bits(type) == 64 ? o->value : num_bits((float)float_value(o));
}

// Immediates of narrow types keep only the bits of the type, as the registers do.
static uint64_t int_bits(uint64_t v, enum ptx_word type) {
    int bits = ptx_type_bits(type);
    return bits < 32 ? v & ((1ull << bits) - 1) : v;
}

static int row_width(enum ptx_word type) {
    int bits = ptx_type_bits(type);
    return bits <= 32 ? 32 : bits <= 64 ? 64 : 128;
}

static void need_declared(struct ptx_parser *p, const struct ptx_operand *o) {
    if (o->kind == OP_NAME) {
        ptx_fail(p, p->ins->line, "'%.*s' is not declared", o->length > 60 ? 60 : (int)o->length,
                 o->name);
    }
}

// An operand of the next micro-operation, for the hazard detector.
static uint32_t note_use(struct ptx_parser *p, const struct ptx_operand *o, bool write) {
    struct sim_kernel *k = p->kernel;
    k->uses = grow(p, k->uses, k->n_uses, &p->use_capacity, sizeof *k->uses);
    k->uses[k->n_uses++] = (struct kernel_use){k->n_code, o->row, o->kind == OP_PRED, write, false};
    return o->row;
}

void ptx_note_guard(struct ptx_parser *p, const struct ptx_operand *o) {
    note_use(p, o, false);
    p->kernel->uses[p->kernel->n_uses - 1].guard = true;
}

uint32_t ptx_row_src(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type) {
    int width = row_width(type);
    const struct ptx_func *f = o->kind == OP_NAME ? ptx_find_func(p, o->name, o->length) : NULL;
    if (f != NULL) {
        return ptx_row_const(p, ptx_func_address(f), width);
    }
    need_declared(p, o);
    switch (o->kind) {
    case OP_REG:
        if (row_width(o->type) != width) {
            ptx_refuse(p, "a register has another width than the instruction's type");
        }
        return note_use(p, o, false);
    case OP_INT:
        if (ptx_is_float(type) && type != W_F16X2 && type != W_BF16X2) {
            ptx_refuse(p, "an integer stands where a float is expected");
        }
        return ptx_row_const(p, int_bits(o->value, type), width);
    case OP_FLOAT:
    case OP_FLOAT32:
        return ptx_row_const(p, float_bits(o, type), width);
    case OP_VAR:
        return row_var(p, o, width);
    case OP_SREG:
        if (row_width(o->type) != width) {
            ptx_refuse(p, "the special register has another width than the instruction's type");
        }
        return row_sreg(p, o->sreg, row_width(o->type));
    default:
        ptx_refuse(p, "an operand is not of the kind that the instruction needs");
    }
}

uint32_t ptx_row_dst(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type) {
    if (o->kind == OP_SINK) {
        return 0;
    }
    need_declared(p, o);
    if (o->kind != OP_REG) {
        ptx_refuse(p, "the destination is not a register");
    }
    if (row_width(o->type) != row_width(type)) {
        ptx_refuse(p, "the destination has another width than the instruction's type");
    }
    return note_use(p, o, true);
}

uint32_t ptx_row_wide(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type,
                      int *bits, bool dst) {
    *bits = row_width(type);
    if (o->kind == OP_REG) {
        *bits = row_width(o->type);
        if (*bits < row_width(type)) {
            ptx_refuse(p, "a register is narrower than the instruction's type");
        }
        return note_use(p, o, dst);
    }
    return dst ? ptx_row_dst(p, o, type) : ptx_row_src(p, o, type);
}

uint32_t ptx_pred_src(struct ptx_parser *p, const struct ptx_operand *o, bool *negated) {
    *negated = o->negated;
    if (o->kind == OP_INT) {
        return o->value != 0 ? 0 : 1;
    }
    if (o->kind != OP_PRED) {
        ptx_refuse(p, "an operand is not a predicate");
    }
    return note_use(p, o, false);
}

uint32_t ptx_pred_dst(struct ptx_parser *p, const struct ptx_operand *o) {
    if (o->kind == OP_SINK) {
        return 2;
    }
    if (o->kind != OP_PRED || o->negated) {
        ptx_refuse(p, "the destination is not a predicate register");
    }
    return note_use(p, o, true);
}

uint32_t ptx_row_address(struct ptx_parser *p, const struct ptx_operand *o, int64_t *offset) {
    if (o->kind != OP_ADDRESS) {
        ptx_refuse(p, "an operand is not an address in brackets");
    }
    const struct ptx_operand *base = &p->ins->pool[o->first];
    *offset = (int64_t)o->value;
    if (base->kind == OP_REG) {
        if (row_width(base->type) == 64) {
            return note_use(p, base, false);
        }
        if (row_width(base->type) == 32 && ptx_type_bits(base->type) == 32) {
            return note_use(p, base, false) | ADDRESS_32;
        }
        ptx_refuse(p, "the address register has neither 32 nor 64 bits");
    }
    return ptx_row_src(p, base, W_U64);
}

uint64_t ptx_need_int(struct ptx_parser *p, const struct ptx_operand *o) {
    if (o->kind != OP_INT) {
        ptx_refuse(p, "an operand must be an immediate integer");
    }
    return o->value;
}

void ptx_need_args(struct ptx_parser *p, int least, int most) {
    if (p->ins->n_args < least || p->ins->n_args > most) {
        ptx_refuse(p, "wrong number of operands");
    }
}

struct ptx_operand *ptx_arg(struct ptx_ins *i, int n) {
    return &i->pool[i->arg[n]];
}

struct ptx_operand *ptx_part(struct ptx_ins *i, const struct ptx_operand *v, int n) {
    return &i->pool[v->first + n];
}

struct uop *ptx_emit(struct ptx_parser *p, uop_fn *fn) {
    struct sim_kernel *k = p->kernel;
    uint32_t before = p->uop_capacity;
    uint32_t capacity = before;
    k->code = grow(p, k->code, k->n_code, &p->uop_capacity, sizeof *k->code);
    k->source = grow(p, k->source, k->n_code, &capacity, sizeof *k->source);
    capacity = before;
    k->text_at = grow(p, k->text_at, k->n_code, &capacity, sizeof *k->text_at);
    const char *text = p->ins->opcode;
    k->text_at[k->n_code] = text == NULL ? 0 : (uint32_t)(text - p->module->text);
    k->source[k->n_code] = p->source_line;
    struct uop *u = &k->code[k->n_code++];
    *u = (struct uop){.fn = fn,
                      .guard = (uint16_t)p->ins->guard,
                      .negated = p->ins->guard_negated,
                      .line = p->ins->line};
    return u;
}

struct uop *ptx_emit_rows(struct ptx_parser *p, uop_fn *fn, uint32_t d, const uint32_t source[3]) {
    struct uop *u = ptx_emit(p, fn);
    u->d = d;
    u->a = source[0];
    u->b = source[1];
    u->c = source[2];
    return u;
}
