// PTX text -> kernels: registers numbered, labels resolved, opcodes looked up. A reader of its own,
// so that a mistake in the simulator's cannot hide here. What it cannot read is refused with the
// line.
//
// A statement goes to its ';'. Blocks open a scope for registers and labels (inline assembly has
// them).
#include "v.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REGS = 65536, MOST_INS = 1 << 20, MOST_DEPTH = 64, MOST_OPERANDS = 600 };

// Addresses of symbols that are no shared memory.
#define PARAM_BASE 0x5000000000000000u
#define GLOBAL_BASE 0x4000000000000000u

typedef struct symbol {
    struct symbol *next;
    const char *name;
    size_t len;
    int scope;
    int reg;        // first register of a range, or -1: a variable
    uint32_t count; // of a range, 0: the one register 'name'
    uint64_t value; // of a variable
    bool shared;
} symbol;

typedef struct label {
    struct label *next;
    const char *name;
    int scope;
    uint32_t at;
} label;

typedef struct {
    v_exit *x;
    const char *s, *end; // statement at hand lies in [s, end)
    uint32_t line;
    symbol *symbols;
    label *labels;
    int *parents; // of scopes
    int *ins_scope;
    int scope, n_scopes, most_scopes, depth;
    v_kernel *k, *all, **last;
    uint32_t most_ins;
    uint64_t globals, smem;
    const char *extern_name; // dynamic shared memory
} reader;

_Noreturn void v_fail(v_exit *x, uint32_t line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(x->text, VERIFY_MOST_TEXT, format, args);
    va_end(args);
    x->line = line;
    longjmp(x->leave, 1);
}

// ---- characters ---------------------------------------------------------------------------------
static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == ':';
}

static void blank(reader *r) {
    for (; r->s < r->end; r->s++) {
        if (*r->s == '\n') {
            r->line++;
        } else if (!isspace((unsigned char)*r->s)) {
            return;
        }
    }
}

static bool take(reader *r, char c) {
    blank(r);
    if (r->s < r->end && *r->s == c) {
        r->s++;
        return true;
    }
    return false;
}

static void need(reader *r, char c) {
    if (!take(r, c)) {
        v_fail(r->x, r->line, "'%c' is expected before '%.*s'", c,
               (int)(r->end - r->s < 20 ? r->end - r->s : 20), r->s);
    }
}

// A name: letters, digits, _ $ % and ::. Labels end in one ':' that is not part of it.
static size_t word(reader *r, const char **start) {
    blank(r);
    *start = r->s;
    while (r->s < r->end && word_char(*r->s)) {
        if (*r->s == ':') {
            if (r->s + 1 >= r->end || r->s[1] != ':') {
                break;
            }
            r->s++;
        }
        r->s++;
    }
    return (size_t)(r->s - *start);
}

static char *need_word(reader *r, const char *what) {
    const char *w;
    size_t n = word(r, &w);
    if (n == 0) {
        v_fail(r->x, r->line, "%s is expected before '%.*s'", what,
               (int)(r->end - r->s < 20 ? r->end - r->s : 20), r->s);
    }
    return arena_strndup(r->x->mem, w, n);
}

// ---- numbers ------------------------------------------------------------------------------------
static bool number(reader *r, uint64_t *out) {
    blank(r);
    bool minus = r->s < r->end && *r->s == '-';
    const char *at = r->s + minus;
    if (at >= r->end || !isdigit((unsigned char)*at)) {
        return false;
    }
    char text[64];
    size_t n = 0;
    while (at + n < r->end && n < sizeof text - 1 &&
           (isalnum((unsigned char)at[n]) || at[n] == '.')) {
        text[n] = at[n];
        n++;
    }
    text[n] = '\0';
    char *rest;
    errno = 0;
    bool real = text[0] == '0' && strchr("fFdD", text[1]) != NULL && text[1] != '\0';
    if (real) { // the bits of a number in hexadecimal
        *out = strtoull(text + 2, &rest, 16);
    } else if (strchr(text, '.') != NULL) {
        *out = 0;
        (void)strtod(text, &rest);
    } else {
        bool binary = text[0] == '0' && (text[1] == 'b' || text[1] == 'B');
        *out = strtoull(binary ? text + 2 : text, &rest, binary ? 2 : 0);
        rest += *rest == 'U';
    }
    if (*rest != '\0' || errno != 0) {
        v_fail(r->x, r->line, "'%s' is no number", text);
    }
    *out = minus ? 0 - *out : *out;
    r->s = at + n;
    return true;
}

static uint32_t need_small(reader *r, uint32_t most, const char *what) {
    uint64_t v;
    if (!number(r, &v) || v > most) {
        v_fail(r->x, r->line, "%s: a number up to %u is expected", what, most);
    }
    return (uint32_t)v;
}

// ---- symbols ------------------------------------------------------------------------------------
static const symbol *find(const reader *r, const char *name, size_t len, uint32_t *index) {
    size_t stem = len;
    while (stem > 0 && isdigit((unsigned char)name[stem - 1])) {
        stem--;
    }
    uint64_t n = 0;
    for (size_t i = stem; i < len && n <= MOST_REGS; i++) {
        n = n * 10 + (uint64_t)(name[i] - '0');
    }
    for (const symbol *s = r->symbols; s != NULL; s = s->next) {
        if (s->count == 0 && s->len == len && memcmp(s->name, name, len) == 0) {
            *index = 0;
            return s;
        }
        if (s->count > n && stem < len && s->len == stem && memcmp(s->name, name, stem) == 0) {
            *index = (uint32_t)n;
            return s;
        }
    }
    return NULL;
}

static symbol *add_symbol(reader *r, const char *name, int reg, uint64_t value) {
    symbol *s = ARENA_NEW(r->x->mem, symbol);
    *s = (symbol){.next = r->symbols,
                  .name = name,
                  .len = strlen(name),
                  .scope = r->scope,
                  .reg = reg,
                  .value = value};
    r->symbols = s;
    return s;
}

// ---- operands -----------------------------------------------------------------------------------
static v_operand operand(reader *r, int depth);

static v_operand list(reader *r, char close, int depth) {
    v_operand o = {.kind = VO_VECTOR, .reg = -1, .pair = -1};
    v_operand *parts = ARENA_ARRAY(r->x->mem, v_operand, 4);
    int room = 4;
    do {
        if (o.n == room) {
            v_operand *more = ARENA_ARRAY(r->x->mem, v_operand, 2 * room);
            memcpy(more, parts, (size_t)room * sizeof *parts);
            parts = more;
            room *= 2;
        }
        if (o.n == MOST_OPERANDS) {
            v_fail(r->x, r->line, "more than %d operands", MOST_OPERANDS);
        }
        parts[o.n++] = operand(r, depth + 1);
    } while (take(r, ','));
    need(r, close);
    o.part = parts;
    return o;
}

static v_operand address(reader *r, int depth) {
    v_operand o = {.kind = VO_ADDRESS,
                   .reg = -1,
                   .pair = -1,
                   .part = ARENA_ARRAY(r->x->mem, v_operand, 2),
                   .n = 1};
    o.part[0] = operand(r, depth + 1);
    while (take(r, '+')) {
        uint64_t v;
        if (!number(r, &v)) {
            v_fail(r->x, r->line, "a number is expected behind '+'");
        }
        o.imm += v;
    }
    if (take(r, ',')) {
        o.part[1] = operand(r, depth + 1);
        o.n = 2;
    }
    need(r, ']');
    return o;
}

static v_operand named(reader *r) {
    v_operand o = {.kind = VO_LABEL, .reg = -1, .pair = -1, .name = need_word(r, "an operand")};
    uint32_t index;
    const symbol *s = find(r, o.name, strlen(o.name), &index);
    if (s != NULL && s->reg >= 0) {
        o.kind = VO_REG;
        o.reg = s->reg + (int)index;
    } else if (s != NULL) {
        o.kind = s->shared ? VO_SHARED : VO_IMM;
        o.imm = s->value;
        uint64_t more;
        if (take(r, '+') && number(r, &more)) {
            o.imm += more;
        }
    } else if (strcmp(o.name, "_") == 0) {
        o.kind = VO_SINK;
    } else if (o.name[0] == '%') {
        o.kind = VO_SREG;
        if (take(r, '.')) {
            o.name = arena_printf(r->x->mem, "%s.%s", o.name, need_word(r, "x, y or z"));
        }
    }
    return o;
}

static v_operand operand(reader *r, int depth) {
    v_operand o = {.kind = VO_IMM, .reg = -1, .pair = -1};
    if (depth > 4) {
        v_fail(r->x, r->line, "operands are nested too deep");
    }
    if (take(r, '{')) {
        return list(r, '}', depth);
    }
    if (take(r, '[')) {
        return address(r, depth);
    }
    if (take(r, '(')) {
        return list(r, ')', depth);
    }
    if (take(r, '!')) {
        o = named(r);
        o.negated = true;
        return o;
    }
    if (number(r, &o.imm)) {
        return o;
    }
    o = named(r);
    if (take(r, '|')) {
        v_operand q = named(r);
        o.pair = q.kind == VO_REG ? q.reg : -1;
    }
    return o;
}

// ---- opcodes ------------------------------------------------------------------------------------
static v_type type_of(const char *w, size_t n) {
    static const struct {
        const char *text;
        v_type type;
    } types[] = {{"pred", {VT_PRED, 1}}, {"bf16", {VT_F, 16}},   {"bf16x2", {VT_F, 32}},
                 {"f16x2", {VT_F, 32}},  {"tf32", {VT_F, 32}},   {"f32x2", {VT_F, 64}},
                 {"e4m3x2", {VT_F, 16}}, {"e5m2x2", {VT_F, 16}}, {"ue8m0x2", {VT_F, 16}},
                 {"e2m1x2", {VT_F, 8}},  {"e2m3x2", {VT_F, 16}}, {"e3m2x2", {VT_F, 16}},
                 {"e4m3x4", {VT_F, 32}}, {"e5m2x4", {VT_F, 32}}, {"e2m1x4", {VT_F, 16}},
                 {"u16x2", {VT_F, 32}},  {"s16x2", {VT_F, 32}}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].text) == n && memcmp(types[i].text, w, n) == 0) {
            return types[i].type;
        }
    }
    v_type t = {.kind = VT_NONE};
    unsigned bits = 0;
    for (size_t i = 1; i < n; i++) {
        if (!isdigit((unsigned char)w[i]) || n > 4) {
            return t;
        }
        bits = bits * 10 + (unsigned)(w[i] - '0');
    }
    static const char kinds[] = "usbf";
    const char *kind = n > 1 && w[0] != '\0' ? strchr(kinds, w[0]) : NULL;
    if (kind != NULL && (bits == 8 || bits == 16 || bits == 32 || bits == 64 || bits == 128)) {
        static const v_type_kind of[] = {VT_U, VT_S, VT_B, VT_F};
        t = (v_type){of[kind - kinds], (uint8_t)bits};
    }
    return t;
}

static const char *const word_text[] = {
#define X(w) [VW_##w] = #w,
    V_WORDS(X)
#undef X
        [VW_shared_cluster] = "shared::cluster",
    [VW_multicast] = "multicast::cluster",
    [VW_pair] = "cta_group::2",
    [VW_mbarrier] = "mbarrier::complete_tx::bytes",
    [VW_bulk_group] = "bulk_group",
    [VW_block_scale] = "block_scale",
};

static void opcode_word(v_ins *i, const char *w, size_t n) {
    for (int k = 0; k < VW_COUNT; k++) {
        if (strlen(word_text[k]) == n && memcmp(word_text[k], w, n) == 0) {
            i->words |= 1ull << k;
        }
    }
    if (n == 11 && memcmp(w, "shared::cta", n) == 0) {
        i->words |= 1ull << VW_shared;
    }
    if (n >= 14 && memcmp(w, "multicast::clu", 14) == 0) {
        i->words |= 1ull << VW_multicast;
    }
    v_type t = type_of(w, n);
    if (t.kind != VT_NONE && i->n_types < 3) {
        i->type[i->n_types++] = t;
    }
    bool digits = n > 1 && n < 5;
    int value = 0;
    for (size_t k = 1; k < n && digits; k++) {
        digits = isdigit((unsigned char)w[k]);
        value = value * 10 + (w[k] - '0');
    }
    if (digits && (w[0] == 'v' || w[0] == 'x') && value >= 1 && value <= 128) {
        i->vec = value;
    }
    if (n == 2 && w[1] == 'd' && w[0] >= '1' && w[0] <= '5') {
        i->dims = w[0] - '0';
    }
}

static void opcode(reader *r, v_ins *i) {
    blank(r);
    const char *start = r->s;
    while (r->s < r->end && (word_char(*r->s) || *r->s == '.')) {
        r->s++;
    }
    i->op = arena_strndup(r->x->mem, start, (size_t)(r->s - start));
    i->vec = 1;
    for (const char *w = i->op; *w != '\0';) {
        size_t n = strcspn(w, ".");
        if (w != i->op) {
            opcode_word(i, w, n);
        }
        w += n + (w[n] == '.');
    }
}

// ---- statements ---------------------------------------------------------------------------------
static v_ins *new_ins(reader *r) {
    v_kernel *k = r->k;
    if (k->n_ins == r->most_ins) {
        if (k->n_ins >= MOST_INS) {
            v_fail(r->x, r->line, "a kernel of more than %d instructions", MOST_INS);
        }
        uint32_t room = r->most_ins == 0 ? 256 : 2 * r->most_ins;
        v_ins *ins = ARENA_ARRAY(r->x->mem, v_ins, room);
        int *scopes = ARENA_ARRAY(r->x->mem, int, room);
        if (k->n_ins > 0) {
            memcpy(ins, k->ins, k->n_ins * sizeof *ins);
            memcpy(scopes, r->ins_scope, k->n_ins * sizeof *scopes);
        }
        k->ins = ins;
        r->ins_scope = scopes;
        r->most_ins = room;
    }
    r->ins_scope[k->n_ins] = r->scope;
    v_ins *i = &k->ins[k->n_ins++];
    *i = (v_ins){.line = r->line, .guard = -1};
    return i;
}

static void instruction(reader *r) {
    blank(r);
    v_ins *i = new_ins(r);
    if (take(r, '@')) {
        i->guard_not = take(r, '!');
        v_operand p = named(r);
        if (p.kind != VO_REG) {
            v_fail(r->x, r->line, "'%s' is no predicate", p.name);
        }
        i->guard = p.reg;
    }
    opcode(r, i);
    i->line = r->line;
    i->step = v_find_step(i->op, i);
    if (i->step == NULL) {
        v_fail(r->x, i->line,
               "'%s' is an instruction that the verifier does not know: it might synchronise",
               i->op);
    }
    v_operand args[16];
    blank(r);
    while (r->s < r->end && *r->s != ';') {
        if (i->n_args == 16) {
            v_fail(r->x, i->line, "more than 16 operands");
        }
        args[i->n_args++] = operand(r, 0);
        if (!take(r, ',')) {
            break;
        }
    }
    need(r, ';');
    i->arg = ARENA_ARRAY(r->x->mem, v_operand, 16); // those that are not there: VO_NONE
    if (i->n_args > 0) {
        memcpy(i->arg, args, (size_t)i->n_args * sizeof *args);
    }
}

static void registers(reader *r) {
    need(r, '.');
    (void)need_word(r, "a type");
    do {
        char *name = need_word(r, "a register");
        uint32_t count = 0;
        if (take(r, '<')) {
            count = need_small(r, MOST_REGS, "registers");
            need(r, '>');
        }
        symbol *s = add_symbol(r, name, r->k->n_regs, 0);
        s->count = count;
        r->k->n_regs += count == 0 ? 1 : (int)count;
        if (r->k->n_regs > MOST_REGS) {
            v_fail(r->x, r->line, "more than %d registers", MOST_REGS);
        }
    } while (take(r, ','));
    need(r, ';');
}

// .shared .align 8 .b8 name[16]; .extern .shared .align 1024 .b8 smem[];
static void variable(reader *r, bool shared) {
    uint64_t align = 1, width = 1;
    while (take(r, '.')) {
        const char *w;
        size_t n = word(r, &w);
        if (n == 5 && memcmp(w, "align", 5) == 0) {
            align = need_small(r, 4096, ".align");
        } else if (type_of(w, n).kind != VT_NONE) {
            width = type_of(w, n).bits / 8;
        }
    }
    char *name = need_word(r, "a variable");
    uint64_t bytes = width;
    bool sized = true;
    while (take(r, '[')) {
        sized = !take(r, ']');
        if (sized) {
            bytes *= need_small(r, 1 << 30, "an array");
            need(r, ']');
        }
    }
    while (r->s < r->end && *r->s != ';') { // initial values do not matter
        r->line += *r->s++ == '\n';
    }
    need(r, ';');
    uint64_t *next = shared ? &r->smem : &r->globals;
    align = align == 0 ? 1 : align;
    *next = (*next + align - 1) / align * align;
    add_symbol(r, name, -1, shared ? *next : GLOBAL_BASE + *next)->shared = shared;
    *next += sized ? bytes : 0;
    if (shared && r->smem > V_SMEM_BYTES) {
        v_fail(r->x, r->line, "%llu bytes of shared memory, the machine has %d",
               (unsigned long long)r->smem, V_SMEM_BYTES);
    }
}

static void skip_line(reader *r) {
    while (r->s < r->end && *r->s != '\n') {
        r->s++;
    }
}

static void skip_statement(reader *r) {
    while (r->s < r->end && *r->s != ';') {
        r->line += *r->s++ == '\n';
    }
    need(r, ';');
}

static void body_directive(reader *r) {
    char *w = need_word(r, "a directive");
    if (strcmp(w, "reg") == 0) {
        registers(r);
    } else if (strcmp(w, "shared") == 0) {
        variable(r, true);
    } else if (strcmp(w, "local") == 0 || strcmp(w, "global") == 0) {
        variable(r, false);
    } else if (strcmp(w, "loc") == 0) {
        skip_line(r);
    } else if (strcmp(w, "pragma") == 0 || strcmp(w, "param") == 0) {
        skip_statement(r);
    } else {
        v_fail(r->x, r->line, "the directive '.%s' is not one that the verifier knows here", w);
    }
}

static int open_scope(reader *r) {
    if (++r->depth > MOST_DEPTH) {
        v_fail(r->x, r->line, "more than %d nested blocks", MOST_DEPTH);
    }
    if (r->n_scopes == r->most_scopes) {
        int room = r->most_scopes == 0 ? 64 : 2 * r->most_scopes;
        int *parents = ARENA_ARRAY(r->x->mem, int, room);
        if (r->n_scopes > 0) {
            memcpy(parents, r->parents, (size_t)r->n_scopes * sizeof *parents);
        }
        r->parents = parents;
        r->most_scopes = room;
    }
    r->parents[r->n_scopes] = r->scope;
    return r->n_scopes++;
}

static void close_scope(reader *r) {
    while (r->symbols != NULL && r->symbols->scope == r->scope) {
        r->symbols = r->symbols->next;
    }
    r->scope = r->parents[r->scope];
    r->depth--;
}

static bool take_label(reader *r) {
    const char *before = r->s, *w;
    size_t n = word(r, &w);
    if (n > 0 && r->s < r->end && *r->s == ':') {
        r->s++;
        label *l = ARENA_NEW(r->x->mem, label);
        *l = (label){.next = r->labels,
                     .name = arena_strndup(r->x->mem, w, n),
                     .scope = r->scope,
                     .at = r->k->n_ins};
        r->labels = l;
        return true;
    }
    r->s = before;
    return false;
}

static void resolve(reader *r) {
    for (uint32_t n = 0; n < r->k->n_ins; n++) {
        v_ins *i = &r->k->ins[n];
        if (i->step != v_bra) {
            continue;
        }
        if (i->n_args != 1 || i->arg[0].kind != VO_LABEL) {
            v_fail(r->x, i->line, "a branch needs a label");
        }
        const label *best = NULL;
        for (int s = r->ins_scope[n]; s >= 0 && best == NULL; s = r->parents[s]) {
            for (const label *l = r->labels; l != NULL && best == NULL; l = l->next) {
                best = l->scope == s && strcmp(l->name, i->arg[0].name) == 0 ? l : NULL;
            }
        }
        if (best == NULL) {
            v_fail(r->x, i->line, "there is no label '%s'", i->arg[0].name);
        }
        i->target = best->at;
    }
}

static void body(reader *r) {
    int outer = r->scope;
    r->scope = open_scope(r);
    while (r->scope != outer) {
        blank(r);
        if (r->s >= r->end) {
            v_fail(r->x, r->line, "the kernel has no end");
        }
        if (take(r, '{')) {
            r->scope = open_scope(r);
        } else if (take(r, '}')) {
            close_scope(r);
        } else if (take(r, '.')) {
            body_directive(r);
        } else if (!take(r, ';') && !take_label(r)) {
            instruction(r);
        }
    }
    v_ins *end = new_ins(r); // falling out of the body ends a thread
    end->op = "ret";
    end->step = v_find_step("ret", end);
    end->arg = ARENA_ARRAY(r->x->mem, v_operand, 16);
    resolve(r);
}

// ---- kernels ------------------------------------------------------------------------------------
static void parameter(reader *r, uint32_t *offset) {
    need(r, '.');
    (void)need_word(r, ".param");
    uint32_t align = 0;
    v_type type = {VT_B, 8};
    while (take(r, '.')) {
        const char *w;
        size_t n = word(r, &w);
        if (n == 5 && memcmp(w, "align", 5) == 0) {
            align = need_small(r, 4096, ".align");
        } else if (type_of(w, n).kind != VT_NONE) {
            type = type_of(w, n);
        }
    }
    char *name = need_word(r, "a parameter");
    uint32_t bytes = type.bits / 8u;
    bool array = take(r, '[');
    if (array) {
        bytes *= need_small(r, 32768, "a parameter");
        need(r, ']');
    }
    align = align == 0 ? (type.bits < 8 ? 1 : type.bits / 8u) : align;
    *offset = (*offset + align - 1) / align * align;
    if (r->k->n_params == VERIFY_MOST_PARAMS || *offset > 32768) {
        v_fail(r->x, r->line, "more than %d parameters or 32768 bytes of them", VERIFY_MOST_PARAMS);
    }
    r->k->params[r->k->n_params++] = (v_param){*offset, bytes, type, array};
    add_symbol(r, name, -1, PARAM_BASE + *offset);
    *offset += bytes;
}

static void attribute(reader *r) {
    char *w = need_word(r, "a directive");
    uint32_t v[3] = {1, 1, 1};
    int n = 0;
    uint64_t value;
    while (n < 3 && number(r, &value)) {
        if (value > 0x7FFFFFFF) {
            v_fail(r->x, r->line, ".%s: %llu is too much", w, (unsigned long long)value);
        }
        v[n++] = (uint32_t)value;
        if (!take(r, ',')) {
            break;
        }
    }
    uint64_t product = (uint64_t)v[0] * v[1] > 65536 ? 65537 : (uint64_t)v[0] * v[1] * v[2];
    uint32_t p = product > 65536 ? 65537 : (uint32_t)product;
    if (strcmp(w, "maxntid") == 0 || strcmp(w, "reqntid") == 0) {
        r->k->threads = p;
    } else if (strcmp(w, "maxnreg") == 0) {
        r->k->max_regs = v[0];
    } else if (strcmp(w, "reqnctapercluster") == 0) {
        r->k->cluster = p;
    } else if (strcmp(w, "pragma") == 0) {
        skip_statement(r);
    }
}

static void entry(reader *r) {
    r->k = ARENA_NEW(r->x->mem, v_kernel);
    r->k->line = r->line;
    r->k->name = need_word(r, "the kernel's name");
    r->k->cluster = 1;
    r->most_ins = 0;
    r->labels = NULL;
    r->n_scopes = 0;
    symbol *outside = r->symbols;
    uint64_t static_before = r->smem;
    r->scope = -1;
    uint32_t offset = 0;
    if (take(r, '(') && !take(r, ')')) {
        do {
            parameter(r, &offset);
        } while (take(r, ','));
        need(r, ')');
    }
    while (take(r, '.')) {
        attribute(r);
    }
    if (take(r, '{')) {
        body(r);
        r->k->static_smem = (uint32_t)r->smem;
        *r->last = r->k;
        r->last = &r->k->next;
    } else {
        need(r, ';');
    }
    r->symbols = outside;
    r->smem = static_before;
}

static void skip_block(reader *r) {
    int depth = 0;
    do {
        blank(r);
        if (r->s >= r->end) {
            v_fail(r->x, r->line, "a block has no end");
        }
        depth += *r->s == '{' ? 1 : *r->s == '}' ? -1 : 0;
        r->s++;
    } while (depth > 0);
}

static void module_directive(reader *r) {
    char *w = need_word(r, "a directive");
    static const char *const lines[] = {"version", "target", "address_size", "file", "loc"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (strcmp(w, lines[i]) == 0) {
            skip_line(r);
            return;
        }
    }
    if (strcmp(w, "entry") == 0) {
        entry(r);
    } else if (strcmp(w, "shared") == 0 || strcmp(w, "global") == 0 || strcmp(w, "const") == 0) {
        variable(r, w[0] == 's');
    } else if (strcmp(w, "section") == 0) {
        while (r->s < r->end && *r->s != '{') {
            r->line += *r->s++ == '\n';
        }
        skip_block(r);
    } else if (strcmp(w, "pragma") == 0) {
        skip_statement(r);
    } else if (strcmp(w, "visible") != 0 && strcmp(w, "extern") != 0 && strcmp(w, "weak") != 0) {
        v_fail(r->x, r->line, "the directive '.%s' is not one that the verifier knows", w);
    }
}

// Comments become blanks: lines keep their numbers.
static char *without_comments(const char *text, size_t len, arena *mem) {
    char *s = arena_strndup(mem, text, len);
    for (size_t i = 0; i + 1 < len; i++) {
        if (s[i] == '/' && s[i + 1] == '/') {
            while (i < len && s[i] != '\n') {
                s[i++] = ' ';
            }
        } else if (s[i] == '/' && s[i + 1] == '*') {
            while (i < len && !(s[i] == '*' && i + 1 < len && s[i + 1] == '/')) {
                s[i] = s[i] == '\n' ? '\n' : ' ';
                i++;
            }
            for (size_t k = 0; k < 2 && i < len; k++) {
                s[i++] = ' ';
            }
            i--;
        }
    }
    return s;
}

v_kernel *v_parse(const char *text, size_t len, v_exit *x) {
    const char *zero = memchr(text, '\0', len);
    len = zero == NULL ? len : (size_t)(zero - text);
    reader r = {.x = x, .line = 1, .s = without_comments(text, len, x->mem), .scope = -1};
    r.end = r.s + len;
    r.last = &r.all;
    for (blank(&r); r.s < r.end; blank(&r)) {
        if (!take(&r, ';')) {
            need(&r, '.');
            module_directive(&r);
        }
    }
    return r.all;
}
