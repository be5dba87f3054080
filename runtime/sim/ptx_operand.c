// Reads one instruction: guard, opcode, modifiers (a set), operands. Registers get their rows here,
// at their first use. The decoder then emits the micro-operation.
#include "ptx_parse.h"
#include <stdlib.h>

void ptx_refuse(struct ptx_parser *p, const char *why) {
    const struct ptx_ins *i = p->ins;
    char text[200];
    size_t n = 0;
    for (uint32_t c = 0; c < i->length && n < sizeof text - 1; c++) {
        char ch = i->text[c];
        ch = ch == '\n' || ch == '\t' || ch == '\r' ? ' ' : ch;
        if (!(ch == ' ' && n > 0 && text[n - 1] == ' ')) {
            text[n++] = ch;
        }
    }
    text[n] = '\0';
    ptx_fail(p, i->line, "%s: %s", why, text);
}

static struct ptx_operand *new_operand(struct ptx_parser *p, uint16_t *number) {
    struct ptx_ins *i = p->ins;
    if (i->n_pool == PTX_MAX_OPERANDS) {
        ptx_fail(p, i->line, "the instruction has more than %d operands", PTX_MAX_OPERANDS);
    }
    *number = (uint16_t)i->n_pool++;
    struct ptx_operand *o = &i->pool[*number];
    *o = (struct ptx_operand){.pair = -1};
    return o;
}

static uint32_t row_of(struct ptx_parser *p, const struct ptx_symbol *y, uint32_t index) {
    if (y->rows[index] == 0) {
        y->rows[index] =
            y->type == W_PRED ? ptx_new_pred(p) : ptx_new_row(p, ptx_type_bits(y->type));
    }
    return y->rows[index];
}

// %tid.x and its like: the component is a token of its own
static bool special_register(struct ptx_parser *p, struct ptx_operand *o) {
    if (p->tok.text[0] != '%') {
        return false;
    }
    char name[64];
    size_t n = p->tok.length;
    bool dotted = p->ahead.kind == TK_DOT && p->ahead.text == p->tok.text + n;
    size_t more = dotted ? p->ahead.length : 0;
    if (n + more >= sizeof name) {
        return false;
    }
    memcpy(name, p->tok.text, n + more);
    int sreg = ptx_find_sreg(name, n + more);
    if (sreg < 0) {
        return false;
    }
    if (dotted) {
        ptx_next(p);
    }
    o->kind = OP_SREG;
    o->sreg = (uint32_t)sreg;
    o->type =
        sreg == SREG_CLOCK64 || sreg == SREG_GLOBALTIMER || sreg == SREG_GRIDID ? W_U64 : W_U32;
    return true;
}

static void read_register(struct ptx_parser *p, struct ptx_operand *o, const struct ptx_symbol *y,
                          uint32_t index) {
    o->kind = y->type == W_PRED ? OP_PRED : OP_REG;
    o->type = y->type;
    o->row = row_of(p, y, index);
}

// A vector of registers: v.x, .r and so on, or all of it. PTX ISA "Vectors as Operands".
static void read_components(struct ptx_parser *p, struct ptx_operand *o, const struct ptx_symbol *y,
                            uint32_t index) {
    static const char names[] = "xyzwrgba";
    const struct ptx_token *next = &p->ahead;
    if (next->kind == TK_DOT && next->text == p->tok.text + p->tok.length) {
        const char *at = next->length == 2 ? memchr(names, next->text[1], 8) : NULL;
        uint32_t part = at == NULL ? 4 : (uint32_t)(at - names) % 4;
        ptx_next(p);
        if (part >= y->vector) {
            ptx_fail(p, p->tok.line, "the vector has no such component");
        }
        read_register(p, o, y, index * y->vector + part);
        return;
    }
    o->kind = OP_VECTOR;
    o->first = (uint16_t)p->ins->n_pool;
    o->n = (uint16_t)y->vector;
    for (uint32_t part = 0; part < y->vector; part++) {
        uint16_t number;
        read_register(p, new_operand(p, &number), y, index * y->vector + part);
    }
}

static void read_word(struct ptx_parser *p, struct ptx_operand *o) {
    o->name = p->tok.text;
    o->length = p->tok.length;
    uint32_t index;
    const struct ptx_symbol *y = ptx_lookup(p, o->name, o->length, &index);
    if (y != NULL && y->kind == SYM_REG && y->vector > 1) {
        read_components(p, o, y, index);
    } else if (y != NULL && y->kind == SYM_REG) {
        read_register(p, o, y, index);
    } else if (y != NULL && y->kind == SYM_VAR) {
        o->kind = OP_VAR;
        o->symbol = y;
    } else if (o->length == 1 && o->name[0] == '_') {
        o->kind = OP_SINK;
    } else if (!special_register(p, o)) {
        if (o->name[0] == '%') {
            ptx_fail(p, p->tok.line, "register '%.*s' is not declared",
                     o->length > 60 ? 60 : (int)o->length, o->name);
        }
        o->kind = OP_NAME;
    }
    ptx_next(p);
    if (o->kind == OP_VAR && ptx_is(p, '+') && p->ahead.kind == TK_INT) {
        ptx_next(p);
        o->value = p->tok.value;
        ptx_next(p);
    }
}

static uint16_t read_operand(struct ptx_parser *p, int depth);

// { operand, ... }
static void read_vector(struct ptx_parser *p, struct ptx_operand *o, int depth) {
    uint16_t parts[PTX_MAX_OPERANDS];
    int n = 0;
    ptx_next(p);
    while (!ptx_is(p, '}')) {
        if (n == PTX_MAX_OPERANDS) {
            ptx_fail(p, p->ins->line, "a vector has too many elements");
        }
        parts[n++] = read_operand(p, depth + 1);
        if (!ptx_accept(p, ',') && !ptx_is(p, '}')) {
            ptx_unexpected(p, "',' or '}'");
        }
    }
    ptx_next(p);
    // elements follow each other in the pool unless one is itself compound: copy them behind
    uint16_t first = (uint16_t)p->ins->n_pool;
    for (int i = 0; i < n; i++) {
        uint16_t number;
        struct ptx_operand *copy = new_operand(p, &number);
        *copy = p->ins->pool[parts[i]];
    }
    o->kind = OP_VECTOR;
    o->first = first;
    o->n = (uint16_t)n;
}

// [ base { + number } { , coordinates { , more } } ]
static void read_address(struct ptx_parser *p, struct ptx_operand *o, int depth) {
    ptx_next(p);
    o->kind = OP_ADDRESS;
    o->first = read_operand(p, depth + 1);
    if (ptx_accept(p, '+')) {
        bool negative = ptx_accept(p, '-');
        if (p->tok.kind != TK_INT) {
            ptx_unexpected(p, "a number");
        }
        o->value = negative ? 0 - p->tok.value : p->tok.value;
        ptx_next(p);
    } else if (ptx_is(p, '-') && p->ahead.kind == TK_INT) {
        ptx_next(p);
        o->value = 0 - p->tok.value;
        ptx_next(p);
    }
    if (ptx_accept(p, ',')) {
        o->has_coords = true;
        o->second = read_operand(p, depth + 1);
    }
    if (!ptx_accept(p, ']')) {
        ptx_unexpected(p, "']'");
    }
}

static void read_number(struct ptx_parser *p, struct ptx_operand *o, bool negative) {
    o->value = p->tok.value;
    if (p->tok.kind == TK_INT) {
        o->kind = OP_INT;
        o->value = negative ? 0 - o->value : o->value;
    } else {
        o->kind = p->tok.kind == TK_FLOAT ? OP_FLOAT : OP_FLOAT32;
        o->value ^= negative ? (p->tok.kind == TK_FLOAT ? 1ull << 63 : 1ull << 31) : 0;
    }
    ptx_next(p);
}

static uint16_t read_operand(struct ptx_parser *p, int depth) {
    uint16_t number;
    struct ptx_operand *o = new_operand(p, &number);
    if (depth > 4) {
        ptx_fail(p, p->ins->line, "operands are nested too deeply");
    }
    bool not = ptx_accept(p, '!');
    bool negative = !not &&ptx_accept(p, '-');
    if (p->tok.kind == TK_INT || p->tok.kind == TK_FLOAT || p->tok.kind == TK_FLOAT32) {
        read_number(p, o, negative);
    } else if (negative) {
        ptx_unexpected(p, "a number");
    } else if (p->tok.kind == TK_WORD) {
        read_word(p, o);
    } else if (ptx_is(p, '{')) {
        read_vector(p, o, depth);
    } else if (ptx_is(p, '[')) {
        read_address(p, o, depth);
    } else {
        ptx_unexpected(p, "an operand");
    }
    if (not &&o->kind != OP_PRED) {
        ptx_fail(p, p->ins->line, "'!' stands before something that is no predicate");
    }
    o->negated = not ;
    if (ptx_accept(p, '|')) {
        uint16_t second = read_operand(p, depth + 1);
        p->ins->pool[number].pair = (int16_t)second;
    }
    return number;
}

static void read_guard(struct ptx_parser *p, struct ptx_ins *i) {
    i->guard = 0;
    i->guard_negated = false;
    if (!ptx_accept(p, '@')) {
        return;
    }
    i->guard_negated = ptx_accept(p, '!');
    if (p->tok.kind != TK_WORD) {
        ptx_unexpected(p, "a predicate");
    }
    struct ptx_operand o = {.pair = -1};
    read_word(p, &o);
    if (o.kind != OP_PRED) {
        ptx_fail(p, p->tok.line, "the guard is not a predicate register");
    }
    i->guard = o.row;
    ptx_note_guard(p, &o);
}

static const char *shape_number(const char *s, const char *end, int *value) {
    *value = 0;
    while (s < end && *s >= '0' && *s <= '9' && *value < 1000) {
        *value = *value * 10 + (*s++ - '0');
    }
    return s;
}

// .m64nNkK: the shapes of wgmma are too many for a table.
static enum ptx_word wgmma_shape(struct ptx_ins *i, const struct ptx_token *t) {
    const char *end = t->text + t->length;
    if (t->length < 8 || memcmp(t->text, ".m64n", 5) != 0) {
        return W_NONE;
    }
    const char *s = shape_number(t->text + 5, end, &i->shape_n);
    if (s == end || *s != 'k') {
        return W_NONE;
    }
    return shape_number(s + 1, end, &i->shape_k) == end ? W_M64NK : W_NONE;
}

static void read_modifiers(struct ptx_parser *p, struct ptx_ins *i) {
    while (p->tok.kind == TK_DOT) {
        enum ptx_word w = ptx_word_find(p->tok.text + 1, p->tok.length - 1);
        w = w == W_NONE ? wgmma_shape(i, &p->tok) : w;
        if (w == W_NONE || i->n_mods == PTX_MAX_MODS) {
            ptx_fail(p, p->tok.line, "unsupported: modifier '%.*s' of '%.*s'",
                     p->tok.length > 60 ? 60 : (int)p->tok.length, p->tok.text,
                     i->opcode_length > 40 ? 40 : (int)i->opcode_length, i->opcode);
        }
        i->mods[i->n_mods++] = (uint16_t)w;
        ptx_next(p);
    }
}

uint16_t ptx_read_operand(struct ptx_parser *p) {
    return read_operand(p, 0);
}

static void set_text(struct ptx_parser *p, struct ptx_ins *i, const char *start) {
    const char *s = p->tok.text;
    const char *end = s + p->tok.length;
    while (s < p->lx.end && *s != ';' && *s != '\n') {
        s++;
    }
    i->text = start;
    i->length = (uint32_t)((s > end ? s : end) - start);
}

void ptx_instruction(struct ptx_parser *p) {
    struct ptx_ins *i = p->ins;
    i->n_mods = i->n_pool = i->n_args = 0;
    i->line = p->tok.line;
    const char *start = p->tok.text;
    read_guard(p, i);
    if (p->tok.kind != TK_WORD) {
        ptx_unexpected(p, "an instruction");
    }
    i->line = p->tok.line;
    i->opcode = p->tok.text;
    i->opcode_length = p->tok.length;
    set_text(p, i, start);
    ptx_next(p);
    read_modifiers(p, i);
    ptx_decoder *decode = ptx_find_decoder(i->opcode, i->opcode_length);
    if (decode == NULL) {
        ptx_refuse(p, "unsupported instruction");
    }
    if (decode == dec_call) {
        ptx_call(p);
        return;
    }
    while (!ptx_is(p, ';')) {
        if (i->n_args == PTX_MAX_ARGS) {
            ptx_refuse(p, "too many operands");
        }
        i->arg[i->n_args++] = read_operand(p, 0);
        if (!ptx_accept(p, ',') && !ptx_is(p, ';')) {
            ptx_unexpected(p, "',' or ';'");
        }
    }
    i->length = (uint32_t)(p->tok.text - start);
    ptx_next(p);
    decode(p, i);
    ptx_finish_ins(p);
}

static void dynamic_base(struct sim_kernel *k, uint32_t smem_used) {
    k->static_smem = smem_used;
    uint32_t align = k->dynamic_align > 16 ? k->dynamic_align : 16;
    uint32_t base = (SMEM_RESERVED + smem_used + align - 1) & ~(align - 1);
    for (uint32_t i = 0; i < k->n_consts; i++) {
        if (k->consts[i].kind == CONST_DYNAMIC) {
            k->consts[i].value += base;
            k->consts[i].kind = CONST_SHARED;
        }
    }
    k->dynamic_align = align;
}

void ptx_end_kernel(struct ptx_parser *p) {
    struct sim_kernel *k = p->kernel;
    p->ins->line = p->tok.line;
    p->ins->guard = 0;
    p->ins->guard_negated = false;
    ptx_emit(p, run_exit); // falling off the end returns
    dynamic_base(k, p->smem_used);
    if (!wgmma_find_reads(k)) {
        ptx_fail(p, p->tok.line, "out of host memory");
    }
}
