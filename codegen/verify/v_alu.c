// Integer arithmetic, conversions, comparisons and selections, as the PTX ISA defines them
// ("Integer Arithmetic Instructions", "Logic and Shift Instructions", "Comparison and Selection").
// Arithmetic on floating-point numbers gives unknown values: it is data.
#include "v.h"

#include <string.h>

enum {
    A_ADD, A_SUB, A_MUL, A_MAD, A_DIV, A_REM, A_MIN, A_MAX, A_ABS, A_NEG, A_AND, A_OR, A_XOR,
    A_NOT, A_CNOT, A_SHL, A_SHR, A_MOV, A_CVT, A_SETP, A_SELP, A_BFE, A_BFI, A_PRMT, A_LOP3,
    A_CLZ, A_POPC, A_BREV, A_SHF, A_SZEXT, A_OPAQUE, A_COUNT
};

static const struct {
    const char *name;
    int base;
} bases[] = {{"add", A_ADD},         {"sub", A_SUB},      {"mul", A_MUL},        {"mul24", A_MUL},
             {"mad", A_MAD},         {"div", A_DIV},      {"rem", A_REM},        {"min", A_MIN},
             {"max", A_MAX},         {"abs", A_ABS},      {"neg", A_NEG},        {"and", A_AND},
             {"or", A_OR},           {"xor", A_XOR},      {"not", A_NOT},        {"cnot", A_CNOT},
             {"shl", A_SHL},         {"shr", A_SHR},      {"mov", A_MOV},        {"cvt", A_CVT},
             {"setp", A_SETP},       {"selp", A_SELP},    {"bfe", A_BFE},        {"bfi", A_BFI},
             {"prmt", A_PRMT},       {"lop3", A_LOP3},    {"clz", A_CLZ},        {"popc", A_POPC},
             {"brev", A_BREV},       {"shf", A_SHF},      {"szext", A_SZEXT},    {"fma", A_OPAQUE},
             {"rcp", A_OPAQUE},      {"sqrt", A_OPAQUE},  {"rsqrt", A_OPAQUE},   {"ex2", A_OPAQUE},
             {"lg2", A_OPAQUE},      {"sin", A_OPAQUE},   {"cos", A_OPAQUE},     {"tanh", A_OPAQUE},
             {"copysign", A_OPAQUE}, {"testp", A_OPAQUE}, {"set", A_OPAQUE},     {"slct", A_OPAQUE},
             {"dp4a", A_OPAQUE},     {"dp2a", A_OPAQUE},  {"sad", A_OPAQUE},     {"addc", A_OPAQUE},
             {"subc", A_OPAQUE},     {"madc", A_OPAQUE},  {"fns", A_OPAQUE},     {"bmsk", A_OPAQUE},
             {"bfind", A_OPAQUE},    {"vadd4", A_OPAQUE}, {"isspacep", A_OPAQUE}};

static const char *const compares[] = {"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"};

bool v_alu_decode(const char *op, v_ins *i) {
    size_t n = strcspn(op, ".");
    i->base = -1;
    for (size_t k = 0; k < sizeof bases / sizeof *bases; k++) {
        if (strlen(bases[k].name) == n && memcmp(bases[k].name, op, n) == 0) {
            i->base = bases[k].base;
        }
    }
    if (i->base == A_SETP) {
        const char *c = op + n + (op[n] == '.');
        size_t len = strcspn(c, ".");
        i->cmp = -1;
        for (int k = 0; k < 10; k++) {
            if (strlen(compares[k]) == len && memcmp(compares[k], c, len) == 0) {
                i->cmp = k;
            }
        }
        const char *rest = c + len;
        i->base = i->cmp < 0 || strstr(rest, ".and") || strstr(rest, ".or") || strstr(rest, ".xor")
                      ? A_OPAQUE
                      : i->base;
    }
    bool moves = i->base == A_MOV || i->base == A_SELP;
    for (int k = 0; k < i->n_types; k++) {
        if (i->type[k].kind == VT_F && !moves) {
            i->base = A_OPAQUE;
        }
    }
    return i->base >= 0;
}

static uint64_t low(uint64_t v, unsigned bits) { return bits >= 64 ? v : v & ((1ull << bits) - 1); }
static int64_t extend(uint64_t v, unsigned bits) {
    return bits >= 64 || bits == 0 ? (int64_t)v : (int64_t)(v << (64 - bits)) >> (64 - bits);
}

static uint64_t divide(uint64_t a, uint64_t b, v_type t, bool rest) {
    uint64_t ua = low(a, t.bits), ub = low(b, t.bits);
    if (ub == 0) {
        return rest ? ua : UINT64_MAX;
    }
    if (t.kind == VT_S) {
        int64_t sa = extend(a, t.bits), sb = extend(b, t.bits);
        if (sb == -1) { // no overflow of INT64_MIN
            return rest ? 0 : 0 - (uint64_t)sa;
        }
        return (uint64_t)(rest ? sa % sb : sa / sb);
    }
    return rest ? ua % ub : ua / ub;
}

static uint64_t product(const v_ins *i, uint64_t a, uint64_t b, v_type t) {
    bool is_signed = t.kind == VT_S;
    if (v_has(i, VW_wide)) {
        return is_signed ? (uint64_t)extend(a, t.bits) * (uint64_t)extend(b, t.bits)
                         : low(a, t.bits) * low(b, t.bits);
    }
    if (v_has(i, VW_hi)) {
        __int128 p = is_signed ? (__int128)extend(a, t.bits) * extend(b, t.bits)
                               : (__int128)((unsigned __int128)low(a, t.bits) * low(b, t.bits));
        return (uint64_t)((unsigned __int128)p >> t.bits);
    }
    return a * b;
}

static bool compare(int cmp, uint64_t a, uint64_t b, v_type t) {
    uint64_t ua = low(a, t.bits), ub = low(b, t.bits);
    bool less = ua < ub, same = ua == ub;
    if (t.kind == VT_S) {
        less = extend(a, t.bits) < extend(b, t.bits);
    }
    switch (cmp) {
    case 0:
        return same;
    case 1:
        return !same;
    case 2:
    case 6:
        return less;
    case 3:
    case 7:
        return less || same;
    case 4:
    case 8:
        return !less && !same;
    default:
        return !less;
    }
}

static uint64_t shift(const v_ins *i, uint64_t a, uint64_t b, v_type t) {
    uint64_t by = low(b, 32);
    if (i->base == A_SHL) {
        return by >= t.bits ? 0 : a << by;
    }
    if (t.kind == VT_S) {
        return (uint64_t)(extend(a, t.bits) >> (by >= t.bits ? t.bits - 1u : by));
    }
    return by >= t.bits ? 0 : low(a, t.bits) >> by;
}

static uint64_t permute(uint64_t a, uint64_t b, uint64_t sel) {
    uint64_t bytes = low(a, 32) | b << 32, out = 0;
    for (unsigned k = 0; k < 4; k++) {
        unsigned s = sel >> (4 * k) & 15;
        uint64_t byte = bytes >> (8 * (s & 7)) & 255;
        out |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * k);
    }
    return out;
}

static uint64_t field(const v_ins *i, uint64_t a, uint64_t b, uint64_t c, v_type t) {
    unsigned pos = b & 255, len = c & 255;
    if (len == 0 || pos >= t.bits) {
        return 0;
    }
    len = len > t.bits - pos ? t.bits - pos : len;
    (void)i;
    uint64_t v = low(low(a, t.bits) >> pos, len);
    return t.kind == VT_S ? (uint64_t)extend(v, len) : v;
}

static uint64_t logic3(uint64_t a, uint64_t b, uint64_t c, uint64_t table) {
    uint64_t out = 0;
    for (unsigned k = 0; k < 8; k++) {
        if (table >> k & 1) {
            out |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
        }
    }
    return out;
}

static uint64_t funnel(const v_ins *i, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t both = low(a, 32) | b << 32;
    unsigned n = v_has(i, VW_wrap) ? c & 31 : (low(c, 32) > 32 ? 32 : (unsigned)c);
    return v_has(i, VW_l) ? (both << n) >> 32 : both >> n;
}

static uint64_t unary(const v_ins *i, uint64_t a, v_type t) {
    switch (i->base) {
    case A_ABS:
        return extend(a, t.bits) < 0 ? 0 - a : a;
    case A_NEG:
        return 0 - a;
    case A_NOT:
        return t.bits == 1 || t.kind == VT_PRED ? !a : ~a;
    case A_CNOT:
        return low(a, t.bits) == 0;
    case A_CLZ:
        return low(a, t.bits) == 0 ? t.bits
                                   : (uint64_t)__builtin_clzll(low(a, t.bits)) - (64u - t.bits);
    case A_POPC:
        return (uint64_t)__builtin_popcountll(low(a, t.bits));
    case A_BREV: {
        uint64_t out = 0;
        for (unsigned k = 0; k < t.bits; k++) {
            out |= (a >> k & 1) << (t.bits - 1 - k);
        }
        return out;
    }
    default:
        return a;
    }
}

static uint64_t scalar(const v_ins *i, uint64_t a, uint64_t b, uint64_t c) {
    v_type t = i->type[0];
    switch (i->base) {
    case A_ADD:
        return a + b;
    case A_SUB:
        return a - b;
    case A_MUL:
        return product(i, a, b, t);
    case A_MAD:
        return product(i, a, b, t) + c;
    case A_DIV:
    case A_REM:
        return divide(a, b, t, i->base == A_REM);
    case A_MIN:
        return compare(2, a, b, t) ? a : b;
    case A_MAX:
        return compare(2, a, b, t) ? b : a;
    case A_AND:
        return a & b;
    case A_OR:
        return a | b;
    case A_XOR:
        return a ^ b;
    case A_SHL:
    case A_SHR:
        return shift(i, a, b, t);
    case A_CVT: {
        v_type from = i->type[1];
        return from.kind == VT_S ? (uint64_t)extend(a, from.bits) : low(a, from.bits);
    }
    case A_SETP:
        return compare(i->cmp, a, b, t);
    case A_SELP:
        return c ? a : b;
    case A_BFE:
        return field(i, a, b, c, t);
    case A_PRMT:
        return permute(a, b, c);
    case A_SHF:
        return funnel(i, a, b, c);
    default:
        return unary(i, a, t);
    }
}

// ---- bounds -------------------------------------------------------------------------------------
// Of a value that depends on data: an index into a table is a few bits of it, shifted and added to an
// address. Bounds are of non-negative numbers; what may wrap has none.
typedef struct {
    uint64_t least, most;
} bounds;

static bool of_product(bounds a, bounds b, bounds *out) {
    *out = (bounds){a.least * b.least, a.most * b.most};
    return a.most == 0 || b.most <= UINT64_MAX / a.most;
}

static bool of_shift(const v_ins *i, bounds a, bounds by, bounds *out) {
    uint64_t n = by.least;
    if (by.most != n || n >= i->type[0].bits) {
        return false;
    }
    *out = i->base == A_SHR ? (bounds){a.least >> n, a.most >> n} : (bounds){a.least << n, a.most << n};
    return i->base == A_SHR || a.most <= UINT64_MAX >> n;
}

static bool of_two(const v_ins *i, bounds a, bounds b, bounds *out) {
    switch (i->base) {
    case A_ADD:
        *out = (bounds){a.least + b.least, a.most + b.most};
        return a.most <= UINT64_MAX - b.most;
    case A_SUB:
        *out = (bounds){a.least - b.most, a.most - b.least};
        return a.least >= b.most;
    case A_MUL:
        return !v_has(i, VW_hi) && of_product(a, b, out);
    case A_OR: // no more than the sum, no less than either
        *out = (bounds){a.least > b.least ? a.least : b.least, a.most + b.most};
        return a.most <= UINT64_MAX - b.most;
    case A_XOR:
        *out = (bounds){0, a.most + b.most};
        return a.most <= UINT64_MAX - b.most;
    case A_SHL:
    case A_SHR:
        return of_shift(i, a, b, out);
    case A_SELP:
        *out = (bounds){a.least < b.least ? a.least : b.least, a.most > b.most ? a.most : b.most};
        return true;
    default:
        return false;
    }
}

// The operand's, if it is a number that a register of so many bits holds as it is.
static bool of_operand(const v_machine *m, const v_warp *w, const v_operand *o, uint32_t lane,
                       unsigned bits, bounds *out) {
    return v_bounds(m, w, o, lane, &out->least, &out->most) && out->most == low(out->most, bits);
}

static bool bounded(const v_machine *m, const v_warp *w, const v_ins *i, uint32_t lane, bounds *out) {
    v_type t = i->type[0];
    unsigned bits = t.bits, result = t.kind == VT_S ? bits - 1u : bits;
    bounds a, b, c;
    bool has_a = of_operand(m, w, &i->arg[1], lane, bits, &a);
    bool has_b = i->arg[2].kind != VO_NONE && of_operand(m, w, &i->arg[2], lane, bits, &b);
    switch (i->base) {
    case A_MOV:
        *out = a;
        return has_a;
    case A_CVT: {
        v_type from = i->type[1];
        bool fits = of_operand(m, w, &i->arg[1], lane, from.bits, out);
        if (!fits && from.kind != VT_S && from.bits < 32) {
            *out = (bounds){0, low(UINT64_MAX, from.bits)};
            fits = true;
        }
        return fits && out->most == low(out->most, result);
    }
    case A_AND: // no more than either
        *out = (bounds){0, has_a && (!has_b || a.most < b.most) ? a.most : has_b ? b.most : 0};
        return has_a || has_b;
    case A_REM:
        *out = (bounds){0, has_b ? b.least - 1 : 0};
        return t.kind != VT_S && has_b && b.least == b.most && b.least > 0;
    case A_BFE:
        return t.kind != VT_S && i->arg[3].kind == VO_IMM && i->arg[3].imm < 32 &&
               (*out = (bounds){0, low(UINT64_MAX, (unsigned)i->arg[3].imm)}, true);
    case A_MAD:
        return !v_has(i, VW_hi) && has_a && has_b && of_product(a, b, &a) &&
               of_operand(m, w, &i->arg[3], lane, 64, &c) && c.most <= UINT64_MAX - a.most &&
               (*out = (bounds){a.least + c.least, a.most + c.most}, true) &&
               out->most == low(out->most, v_has(i, VW_wide) ? 2 * result : result);
    default:
        return has_a && has_b && of_two(i, a, b, out) &&
               out->most == low(out->most, v_has(i, VW_wide) ? 2 * result : result);
    }
}

static unsigned result_bits(const v_ins *i) {
    v_type t = i->type[0];
    if (i->base == A_SETP || t.kind == VT_PRED) {
        return 1;
    }
    if (i->base == A_CLZ || i->base == A_POPC) {
        return 32;
    }
    return v_has(i, VW_wide) ? t.bits * 2u : t.bits;
}

// mov {a, b}, c and mov c, {a, b}: parts of equal width, low first.
static void unpack(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    const v_operand *d = &i->arg[0], *s = &i->arg[1];
    unsigned bits = i->type[0].bits;
    bool known = true;
    if (d->kind == VO_VECTOR) {
        uint64_t v = v_get(m, w, s, lane, &known);
        unsigned each = bits / (unsigned)d->n;
        for (int p = 0; p < d->n; p++) {
            unsigned at = (unsigned)p * each;
            v_set(m, w, d->part[p].kind == VO_REG ? d->part[p].reg : -1, lane,
                  at >= 64 ? 0 : low(v >> at, each), known && at < 64);
        }
        return;
    }
    unsigned each = bits / (unsigned)s->n;
    uint64_t v = 0;
    for (int p = 0; p < s->n && (unsigned)p * each < 64; p++) {
        v |= low(v_get(m, w, &s->part[p], lane, &known), each) << ((unsigned)p * each);
    }
    v_set(m, w, d->kind == VO_REG ? d->reg : -1, lane, v, known);
}

static void lane_value(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane) {
    bool known = true;
    uint64_t v;
    if (i->base == A_SELP) { // what is not chosen may be unknown
        uint64_t p = v_get(m, w, &i->arg[3], lane, &known);
        v = v_get(m, w, &i->arg[p ? 1 : 2], lane, &known);
    } else if (i->base == A_LOP3 || i->base == A_BFI) {
        uint64_t a = v_get(m, w, &i->arg[1], lane, &known),
                 b = v_get(m, w, &i->arg[2], lane, &known);
        uint64_t c = v_get(m, w, &i->arg[3], lane, &known),
                 d = v_get(m, w, &i->arg[4], lane, &known);
        unsigned pos = c & 255, len = d & 255;
        uint64_t mask = pos > 63 ? 0 : low(UINT64_MAX, len) << pos;
        v = i->base == A_LOP3 ? logic3(a, b, c, d) : pos > 63 ? b : (b & ~mask) | (a << pos & mask);
    } else {
        uint64_t a = v_get(m, w, &i->arg[1], lane, &known);
        uint64_t b = i->arg[2].kind != VO_NONE ? v_get(m, w, &i->arg[2], lane, &known) : 0;
        uint64_t c = i->arg[3].kind != VO_NONE ? v_get(m, w, &i->arg[3], lane, &known) : 0;
        v = scalar(i, a, b, c);
        bool zero = i->arg[1].kind == VO_IMM ? a == 0 : i->arg[2].kind == VO_IMM && b == 0;
        known |= zero && i->base == A_AND;
        if (i->base == A_MOV && i->arg[1].kind == VO_LABEL) {
            known = false;
        }
    }
    v = low(v, result_bits(i));
    int to = i->arg[0].kind == VO_REG ? i->arg[0].reg : -1;
    bounds within;
    if (!known && i->type[0].kind != VT_PRED && i->base != A_SETP && bounded(m, w, i, lane, &within)) {
        v_set_within(m, w, to, lane, within.least, within.most);
    } else {
        v_set(m, w, to, lane, v, known);
    }
    if (i->base == A_SETP && i->arg[0].pair >= 0) {
        v_set(m, w, i->arg[0].pair, lane, !v, known);
    }
}

static bool uniform(const v_warp *w, const v_operand *o) {
    if (o->kind == VO_REG) {
        return w->reg[o->reg].same && w->reg[o->reg].known == UINT32_MAX;
    }
    return o->kind == VO_IMM || o->kind == VO_SHARED || o->kind == VO_NONE;
}

v_step v_alu;
bool v_alu(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (i->base == A_OPAQUE) {
        v_set_unknown(m, w, &i->arg[0], mask);
        return true;
    }
    if (i->base == A_MOV && (i->arg[0].kind == VO_VECTOR || i->arg[1].kind == VO_VECTOR)) {
        if (i->arg[0].n > 16 || i->arg[1].n > 16 ||
            (i->arg[0].kind == VO_VECTOR && i->arg[1].kind == VO_VECTOR)) {
            v_refuse(m, w, i, "a mov of this many parts");
        }
        V_EACH(lane, mask) {
            unpack(m, w, i, lane);
        }
        return true;
    }
    bool same = mask == UINT32_MAX;
    for (int k = 1; k < 5 && same; k++) {
        same = uniform(w, &i->arg[k]);
    }
    if (same && i->arg[0].kind == VO_REG) {
        lane_value(m, w, i, 0);
        v_set_same(m, w, i->arg[0].reg, mask, w->reg[i->arg[0].reg].v[0]);
        if (i->base == A_SETP && i->arg[0].pair >= 0) {
            v_set_same(m, w, i->arg[0].pair, mask, !w->reg[i->arg[0].reg].v[0]);
        }
        return true;
    }
    V_EACH(lane, mask) {
        lane_value(m, w, i, lane);
    }
    return true;
}
