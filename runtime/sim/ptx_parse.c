// Recursive-descent parser of PTX: directives, scopes, symbols, statements. Instructions are read
// by ptx_operand.c and turned into micro-operations by the decoders as they come. Grammar rules
// stand above the functions that read them; see PTX ISA "Directives".
#include "ptx_parse.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

void ptx_fail(struct ptx_parser *p, uint32_t line, const char *format, ...) {
    char why[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    sim_set_error(p->sim, SIM_ERROR_PTX, "ptx:%u: %s", line, why);
    longjmp(p->fail, 1);
}

void *ptx_new(struct ptx_parser *p, size_t bytes) {
    void *m = sim_arena_alloc(p->arena, bytes);
    if (m == NULL) {
        ptx_fail(p, p->tok.line, "out of memory");
    }
    return m;
}

void *ptx_aux_alloc(struct ptx_parser *p, size_t bytes) {
    void *m = sim_arena_alloc(&p->module->arena, bytes);
    if (m == NULL) {
        ptx_fail(p, p->tok.line, "out of memory");
    }
    return m;
}

// ---- tokens -------------------------------------------------------------------------------------
void ptx_next(struct ptx_parser *p) {
    p->tok = p->ahead;
    p->ahead = ptx_lex(&p->lx);
}

void ptx_unexpected(struct ptx_parser *p, const char *wanted) {
    if (p->tok.kind == TK_EOF) {
        ptx_fail(p, p->tok.line, "the text ends where %s is expected", wanted);
    }
    int n = p->tok.length > 60 ? 60 : (int)p->tok.length;
    ptx_fail(p, p->tok.line, "found '%.*s' where %s is expected", n, p->tok.text, wanted);
}

bool ptx_is(const struct ptx_parser *p, char c) {
    return p->tok.kind == TK_PUNCT && p->tok.text[0] == c;
}

bool ptx_accept(struct ptx_parser *p, char c) {
    if (!ptx_is(p, c)) {
        return false;
    }
    ptx_next(p);
    return true;
}

void ptx_expect(struct ptx_parser *p, char c) {
    if (!ptx_accept(p, c)) {
        char wanted[4] = {'\'', c, '\'', '\0'};
        ptx_unexpected(p, wanted);
    }
}

static bool is_dot(const struct ptx_parser *p, const char *text) {
    size_t n = strlen(text);
    return p->tok.kind == TK_DOT && p->tok.length == n + 1 && memcmp(p->tok.text + 1, text, n) == 0;
}

static bool accept_dot(struct ptx_parser *p, const char *text) {
    if (!is_dot(p, text)) {
        return false;
    }
    ptx_next(p);
    return true;
}

static uint64_t expect_int(struct ptx_parser *p) {
    bool negative = ptx_accept(p, '-');
    if (p->tok.kind != TK_INT) {
        ptx_unexpected(p, "a number");
    }
    uint64_t v = p->tok.value;
    ptx_next(p);
    return negative ? 0 - v : v;
}

static uint32_t expect_u32(struct ptx_parser *p, uint32_t most, const char *what) {
    uint32_t line = p->tok.line;
    uint64_t v = expect_int(p);
    if (v > most) {
        ptx_fail(p, line, "%s is %llu, at most %u is possible", what, (unsigned long long)v, most);
    }
    return (uint32_t)v;
}

static void expect_word(struct ptx_parser *p, const char *what) {
    if (p->tok.kind != TK_WORD) {
        ptx_unexpected(p, what);
    }
}

static const char *keep(struct ptx_parser *p, const char *text, uint32_t length) {
    char *s = ptx_aux_alloc(p, length + 1);
    memcpy(s, text, length);
    return s;
}

// ---- variables ----------------------------------------------------------------------------------
struct declaration {
    enum ptx_space space;
    enum ptx_word type;
    uint32_t align, vector;
    bool is_extern;
};

// type = .b8 | .u64 | .v4 .f32 ... with .align n, .ptr, .attribute(...) around it in any order
static void parse_type(struct ptx_parser *p, struct declaration *d) {
    d->vector = 1;
    while (p->tok.kind == TK_DOT) {
        enum ptx_word w = ptx_word_find(p->tok.text + 1, p->tok.length - 1);
        if (accept_dot(p, "align")) {
            d->align = expect_u32(p, 1 << 20, ".align");
            if (d->align == 0 || (d->align & (d->align - 1)) != 0) {
                ptx_fail(p, p->tok.line, ".align %u is not a power of two", d->align);
            }
        } else if (accept_dot(p, "ptr")) {
            while (is_dot(p, "global") || is_dot(p, "shared") || is_dot(p, "const") ||
                   is_dot(p, "local") || is_dot(p, "generic")) {
                ptx_next(p);
            }
            if (accept_dot(p, "align")) {
                expect_int(p);
            }
        } else if (accept_dot(p, "attribute")) {
            ptx_expect(p, '(');
            while (!ptx_accept(p, ')')) {
                if (p->tok.kind == TK_EOF) {
                    ptx_unexpected(p, "')'");
                }
                ptx_next(p);
            }
        } else if (w == W_V2 || w == W_V4) {
            d->vector = w == W_V2 ? 2 : 4;
            ptx_next(p);
        } else if (w != W_NONE && w < W_TYPE_END) {
            d->type = w;
            ptx_next(p);
        } else {
            ptx_unexpected(p, "a type");
        }
    }
    if (d->type == W_NONE) {
        ptx_unexpected(p, "a type");
    }
}

static uint64_t type_bytes(const struct declaration *d) {
    int bits = ptx_type_bits(d->type);
    return (uint64_t)((bits + 7) / 8) * d->vector;
}

// name [n] [m] ...: the bytes of the variable; [] counts as 0 elements. Without a bracket: one
// element.
static uint64_t parse_extent(struct ptx_parser *p, const struct declaration *d, bool *open) {
    uint64_t bytes = type_bytes(d);
    *open = false;
    while (ptx_accept(p, '[')) {
        if (ptx_accept(p, ']')) {
            *open = true;
            continue;
        }
        uint64_t n = expect_int(p);
        ptx_expect(p, ']');
        if (n > (1ull << 32) || bytes * n > (1ull << 36)) {
            ptx_fail(p, p->tok.line, "the array has too many elements");
        }
        bytes *= n;
    }
    return *open ? 0 : bytes;
}

struct init_data {
    uint8_t *bytes;
    uint64_t size, at;
    uint32_t unit;
};

static void init_put(struct ptx_parser *p, struct init_data *x, uint64_t v) {
    if (x->bytes != NULL) {
        if (x->at + x->unit > x->size) {
            ptx_fail(p, p->tok.line, "more initial values than the variable has elements");
        }
        memcpy(x->bytes + x->at, &v, x->unit < 8 ? x->unit : 8); // the rest is zero
    }
    x->at += x->unit;
}

static uint64_t init_float(struct ptx_parser *p, const struct init_data *x) {
    uint64_t v = p->tok.value;
    if (p->tok.kind == TK_FLOAT && x->unit == 4) {
        double d;
        memcpy(&d, &v, 8);
        v = num_bits((float)d);
    }
    ptx_next(p);
    return v;
}

// value = number | symbol [+ number] | generic(symbol) | mask(symbol) | { value, ... }
static void parse_init(struct ptx_parser *p, struct init_data *x, int depth) {
    if (depth > 8) {
        ptx_fail(p, p->tok.line, "initial values are nested too deeply");
    }
    if (ptx_accept(p, '{')) {
        do {
            parse_init(p, x, depth + 1);
        } while (ptx_accept(p, ','));
        ptx_expect(p, '}');
        return;
    }
    if (p->tok.kind == TK_FLOAT || p->tok.kind == TK_FLOAT32) {
        init_put(p, x, init_float(p, x));
        return;
    }
    if (p->tok.kind != TK_WORD) {
        init_put(p, x, expect_int(p));
        return;
    }
    bool generic = p->tok.length == 7 && memcmp(p->tok.text, "generic", 7) == 0;
    if (generic) {
        ptx_next(p);
        ptx_expect(p, '(');
        expect_word(p, "a variable");
    }
    uint32_t index;
    const struct ptx_symbol *y = ptx_lookup(p, p->tok.text, p->tok.length, &index);
    const struct ptx_func *f = y == NULL ? ptx_find_func(p, p->tok.text, p->tok.length) : NULL;
    if (f == NULL && (y == NULL || y->kind != SYM_VAR || y->space != SP_GLOBAL)) {
        ptx_unexpected(p, "the name of a global variable or function");
    }
    ptx_next(p);
    if (generic) {
        ptx_expect(p, ')');
    }
    uint64_t v = f != NULL ? ptx_func_address(f) : y->address;
    if (ptx_accept(p, '+')) {
        v += expect_int(p);
    }
    init_put(p, x, v);
}

static void skip_init(struct ptx_parser *p) {
    int depth = 0;
    while (p->tok.kind != TK_EOF && !(depth == 0 && (ptx_is(p, ';') || ptx_is(p, ',')))) {
        depth += ptx_is(p, '{') - ptx_is(p, '}');
        ptx_next(p);
    }
}

static void place_global(struct ptx_parser *p, struct ptx_symbol *y, uint32_t unit) {
    y->address = sim_alloc(p->sim, y->bytes);
    if (y->address == 0) {
        ptx_fail(p, p->tok.line, "no memory for a .global variable of %llu bytes",
                 (unsigned long long)y->bytes);
    }
    struct module_global *g = ptx_aux_alloc(p, sizeof *g);
    g->name = keep(p, y->name, y->length);
    g->address = y->address;
    g->bytes = y->bytes;
    g->next = p->module->globals;
    p->module->globals = g;
    uint8_t *host = devmem_at(&p->sim->mem, y->address, y->bytes);
    if (y->bytes > 0) {
        memset(host, 0, y->bytes); // PTX ISA "Initializers": zero by default
    }
    if (ptx_accept(p, '=')) {
        struct init_data x = {host, y->bytes, 0, unit};
        parse_init(p, &x, 0);
    }
}

static void place_in_kernel(struct ptx_parser *p, struct ptx_symbol *y, struct sim_kernel *k) {
    if ((y->space != SP_LOCAL && y->space != SP_CALL_PARAM) || k == NULL) {
        return; // shared variables get their place when the kernel first names them
    }
    k->local_bytes = (k->local_bytes + y->align - 1) & ~(y->align - 1);
    y->address = k->local_bytes;
    if (y->bytes > (1u << 20) || k->local_bytes + y->bytes > (1u << 20)) {
        ptx_fail(p, p->tok.line, "more than 1 MiB of local memory a thread");
    }
    k->local_bytes += (uint32_t)y->bytes;
}

// The symbol of the name at hand. The body of a function is read again at each call, but its static
// variables are the same ones: the place of the name in the text tells them.
static struct ptx_symbol *variable(struct ptx_parser *p, enum ptx_space space, bool *made) {
    bool is_static = p->frame != NULL && (space == SP_GLOBAL || space == SP_SHARED);
    struct ptx_symbol *y = is_static ? p->statics : NULL;
    while (y != NULL && y->name != p->tok.text) {
        y = y->next_static;
    }
    *made = y == NULL;
    if (y != NULL) { // the scope that had it is closed: no function is open twice
        y->next = p->scope->symbols;
        p->scope->symbols = y;
        ptx_next(p);
        return y;
    }
    y = ptx_new_symbol(p, SYM_VAR);
    if (is_static) {
        y->next_static = p->statics;
        p->statics = y;
    }
    return y;
}

// variable = space type name extent [= initial values] { , name ... } ;
static void parse_variables(struct ptx_parser *p, enum ptx_space space, bool is_extern) {
    struct declaration d = {.space = space, .is_extern = is_extern};
    parse_type(p, &d);
    do {
        expect_word(p, "a name");
        bool made;
        struct ptx_symbol *y = variable(p, space, &made);
        bool open;
        y->space = space;
        y->type = d.type;
        y->align = d.align != 0 ? d.align : (uint32_t)type_bytes(&d);
        y->bytes = parse_extent(p, &d, &open);
        y->is_extern = is_extern;
        if (open && !(is_extern || space == SP_CALL_PARAM)) {
            ptx_fail(p, p->tok.line, "'%.*s' has no size", (int)y->length, y->name);
        }
        if (!made) {
            // it has its place
        } else if (space == SP_GLOBAL && !is_extern) {
            place_global(p, y, (uint32_t)(type_bytes(&d) / d.vector));
        } else {
            place_in_kernel(p, y, p->kernel);
        }
        if (ptx_accept(p, '=')) {
            skip_init(p);
        }
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

// registers = .reg [.vN] type name[<count>] { , name[<count>] } ;
static void parse_registers(struct ptx_parser *p) {
    struct declaration d = {.space = SP_GENERIC};
    parse_type(p, &d);
    if (d.vector * (uint32_t)ptx_type_bits(d.type) > 128 || (d.vector != 1 && d.type == W_PRED)) {
        ptx_fail(p, p->tok.line, "a register has at most 128 bits, and predicates form no vectors");
    }
    do {
        expect_word(p, "the name of a register");
        struct ptx_symbol *y = ptx_new_symbol(p, SYM_REG);
        y->type = d.type;
        y->vector = d.vector;
        uint32_t n = 1;
        if (ptx_accept(p, '<')) {
            y->count = expect_u32(p, 10000000, "the number of registers");
            n = y->count;
            ptx_expect(p, '>');
        }
        y->rows = ptx_new(p, ((size_t)n + 1) * y->vector * sizeof *y->rows);
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
}

// ---- statements ---------------------------------------------------------------------------------
// .loc file line column [, function_name label [+ n], inlined_at file line column]
static void parse_loc(struct ptx_parser *p) {
    expect_int(p);
    p->source_line = expect_u32(p, UINT32_MAX, ".loc");
    expect_int(p);
    while (ptx_accept(p, ',')) {
        expect_word(p, "function_name or inlined_at");
        bool function = p->tok.length == 13;
        ptx_next(p);
        if (function) {
            expect_word(p, "a label");
            ptx_next(p);
            if (ptx_accept(p, '+')) {
                expect_int(p);
            }
        } else {
            expect_int(p);
            expect_int(p);
            expect_int(p);
        }
    }
}

static void skip_to_semicolon(struct ptx_parser *p) {
    while (!ptx_is(p, ';')) {
        if (p->tok.kind == TK_EOF) {
            ptx_unexpected(p, "';'");
        }
        ptx_next(p);
    }
    ptx_next(p);
}

// .branchtargets label { , label } ;
static void parse_targets(struct ptx_parser *p, struct ptx_symbol *table) {
    struct ptx_token names[1024];
    uint32_t n = 0;
    do {
        expect_word(p, "a label");
        if (n == 1024) {
            ptx_fail(p, p->tok.line, "more than 1024 branch targets");
        }
        names[n++] = p->tok;
        ptx_next(p);
    } while (ptx_accept(p, ','));
    ptx_expect(p, ';');
    table->rows = ptx_aux_alloc(p, n * sizeof *table->rows);
    table->count = n;
    for (uint32_t i = 0; i < n; i++) {
        ptx_branch_to(p, &(struct ptx_fixup){.name = names[i].text,
                                             .length = names[i].length,
                                             .line = names[i].line,
                                             .slot = &table->rows[i]});
    }
}

static void parse_label(struct ptx_parser *p) {
    if (ptx_find_label(p->scope, p->tok.text, p->tok.length) != NULL) {
        ptx_fail(p, p->tok.line, "label '%.*s' is defined twice",
                 p->tok.length > 80 ? 80 : (int)p->tok.length, p->tok.text);
    }
    struct ptx_symbol *y = ptx_new(p, sizeof *y);
    y->kind = SYM_LABEL;
    y->name = p->tok.text;
    y->length = p->tok.length;
    y->target = p->kernel->n_code;
    y->next = p->scope->labels;
    p->scope->labels = y;
    ptx_next(p);
    ptx_next(p);
    if (accept_dot(p, "branchtargets")) {
        parse_targets(p, y);
    } else if (accept_dot(p, "callprototype") || accept_dot(p, "calltargets")) {
        skip_to_semicolon(p);
    }
}

static void parse_body_directive(struct ptx_parser *p) {
    if (accept_dot(p, "reg")) {
        parse_registers(p);
    } else if (accept_dot(p, "loc")) {
        parse_loc(p);
    } else if (accept_dot(p, "local")) {
        parse_variables(p, SP_LOCAL, false);
    } else if (accept_dot(p, "shared")) {
        parse_variables(p, SP_SHARED, false);
    } else if (accept_dot(p, "param")) {
        parse_variables(p, SP_CALL_PARAM, false);
    } else if (accept_dot(p, "global") || accept_dot(p, "const")) {
        parse_variables(p, SP_GLOBAL, false);
    } else if (accept_dot(p, "pragma")) {
        skip_to_semicolon(p);
    } else {
        ptx_unexpected(p, "a directive of a kernel body");
    }
}

// body = { statement* } ; statement = directive | label : | block | [@[!]p] instruction ;
void ptx_block(struct ptx_parser *p) {
    if (++p->depth > 64) {
        ptx_fail(p, p->tok.line, "blocks are nested more than 64 deep");
    }
    ptx_expect(p, '{');
    ptx_scope_open(p);
    p->scope->is_body = p->depth == 1;
    while (!ptx_is(p, '}')) {
        bool label = p->tok.kind == TK_WORD && p->ahead.kind == TK_PUNCT && *p->ahead.text == ':';
        if (p->tok.kind == TK_DOT) {
            parse_body_directive(p);
        } else if (ptx_is(p, '{')) {
            ptx_block(p);
        } else if (label) {
            parse_label(p);
        } else if (!ptx_accept(p, ';')) {
            ptx_instruction(p);
        }
    }
    ptx_scope_close(p);
    ptx_next(p);
    p->depth--;
}

// ---- entries ------------------------------------------------------------------------------------
// ( .param type name extent { , .param ... } )
static void parse_params(struct ptx_parser *p, struct sim_kernel *k) {
    sim_param list[1024];
    ptx_expect(p, '(');
    while (!ptx_is(p, ')')) {
        if (!accept_dot(p, "param")) {
            ptx_unexpected(p, "'.param'");
        }
        struct declaration d = {.space = SP_PARAM};
        parse_type(p, &d);
        expect_word(p, "the name of a parameter");
        struct ptx_symbol *y = ptx_new_symbol(p, SYM_VAR);
        bool open;
        uint64_t bytes = parse_extent(p, &d, &open);
        uint32_t align = d.align > type_bytes(&d) ? d.align : (uint32_t)type_bytes(&d);
        uint32_t offset = (k->param_bytes + align - 1) & ~(align - 1);
        if (open || bytes > 32764 || offset + bytes > 32764 || k->n_params == 1024) {
            ptx_fail(p, p->tok.line, "more than 32764 bytes or 1024 parameters");
        }
        y->space = SP_PARAM;
        y->type = d.type;
        y->address = offset;
        y->bytes = bytes;
        list[k->n_params++] = (sim_param){offset, (uint32_t)bytes, align};
        k->param_bytes = offset + (uint32_t)bytes;
        if (!ptx_accept(p, ',') && !ptx_is(p, ')')) {
            ptx_unexpected(p, "',' or ')'");
        }
    }
    ptx_next(p);
    k->params = ptx_aux_alloc(p, (k->n_params + 1) * sizeof *k->params);
    memcpy(k->params, list, k->n_params * sizeof *list);
}

static void parse_triple(struct ptx_parser *p, uint32_t out[3]) {
    out[0] = expect_u32(p, INT_MAX, "a size");
    out[1] = out[2] = 1;
    if (ptx_accept(p, ',')) {
        out[1] = expect_u32(p, INT_MAX, "a size");
        if (ptx_accept(p, ',')) {
            out[2] = expect_u32(p, INT_MAX, "a size");
        }
    }
}

static bool parse_attribute(struct ptx_parser *p, struct sim_kernel *k) {
    uint32_t ignore;
    if (accept_dot(p, "maxntid")) {
        parse_triple(p, k->max_threads);
    } else if (accept_dot(p, "reqntid")) {
        parse_triple(p, k->req_threads);
    } else if (accept_dot(p, "reqnctapercluster")) {
        parse_triple(p, k->cluster);
    } else if (accept_dot(p, "minnctapersm")) {
        k->min_ctas = expect_u32(p, 1024, ".minnctapersm");
    } else if (accept_dot(p, "maxnreg")) {
        k->max_regs = expect_u32(p, 65536, ".maxnreg");
    } else if (accept_dot(p, "maxclusterrank") || accept_dot(p, "maxnctapersm")) {
        ignore = expect_u32(p, INT_MAX, "a size");
        (void)ignore;
    } else if (accept_dot(p, "pragma")) {
        skip_to_semicolon(p);
    } else if (!accept_dot(p, "explicitcluster") && !accept_dot(p, "blocksareclusters") &&
               !accept_dot(p, "noreturn")) {
        return false;
    }
    return true;
}

static void check_cluster(struct ptx_parser *p, const struct sim_kernel *k) {
    uint64_t n = (uint64_t)k->cluster[0] * k->cluster[1] * k->cluster[2];
    if (k->cluster[0] > MAX_CLUSTER || k->cluster[1] > MAX_CLUSTER || k->cluster[2] > MAX_CLUSTER ||
        n > MAX_CLUSTER) {
        ptx_fail(p, p->tok.line, "a cluster has at most %d CTAs", MAX_CLUSTER);
    }
}

static struct sim_kernel *new_kernel(struct ptx_parser *p) {
    struct sim_module *m = p->module;
    struct sim_kernel *k = ptx_aux_alloc(p, sizeof *k);
    struct sim_kernel **list = realloc(m->kernels, (m->n_kernels + 1) * sizeof(void *));
    if (list == NULL) {
        ptx_fail(p, p->tok.line, "out of memory");
    }
    m->kernels = list;
    m->kernels[m->n_kernels++] = k;
    k->module = m;
    k->n_rows = 4;  // row 0 to 3: where results that nobody wants go
    k->n_preds = 3; // predicate 0 is true, 1 false, 2 a sink
    p->kernel = k;
    p->uop_capacity = p->const_capacity = p->use_capacity = 0;
    p->smem_used = 0;
    p->n_expanded = 0;
    p->read_again = 0;
    p->source_line = 0;
    return k;
}

// entry = .entry name [params] attributes body
static void parse_entry(struct ptx_parser *p) {
    expect_word(p, "the name of a kernel");
    struct sim_kernel *k = new_kernel(p);
    k->name = keep(p, p->tok.text, p->tok.length);
    ptx_next(p);
    ptx_scope_open(p);
    if (ptx_is(p, '(')) {
        parse_params(p, k);
    }
    while (parse_attribute(p, k)) {
    }
    check_cluster(p, k);
    if (ptx_accept(p, ';')) {
        ptx_fail(p, p->tok.line, "kernel '%s' has no body", k->name);
    }
    for (struct ptx_symbol *y = p->module_scope->symbols; y != NULL; y = y->next) {
        y->placed = false;
    }
    for (struct ptx_symbol *y = p->statics; y != NULL; y = y->next_static) {
        y->placed = false;
    }
    p->depth = 0;
    ptx_block(p);
    ptx_end_kernel(p);
    p->scope = p->scope->parent;
    p->kernel = NULL;
}

static void skip_braces(struct ptx_parser *p) {
    int depth = 0;
    do {
        if (p->tok.kind == TK_EOF) {
            ptx_unexpected(p, "'}'");
        }
        depth += ptx_is(p, '{') - ptx_is(p, '}');
        ptx_next(p);
    } while (depth > 0);
}

// Functions are read where they are called (ptx_call.c).
static void skip_func(struct ptx_parser *p) {
    while (!ptx_is(p, ';') && !ptx_is(p, '{')) {
        if (p->tok.kind == TK_EOF) {
            ptx_unexpected(p, "the end of a .func declaration");
        }
        ptx_next(p);
    }
    if (!ptx_accept(p, ';')) {
        skip_braces(p);
    }
}

struct ptx_symbol *ptx_formal(struct ptx_parser *p) {
    bool reg = accept_dot(p, "reg");
    if (!reg && !accept_dot(p, "param")) {
        ptx_unexpected(p, "'.param'");
    }
    struct declaration d = {.space = SP_CALL_PARAM};
    parse_type(p, &d);
    expect_word(p, "the name of a parameter");
    struct ptx_symbol *y = ptx_new_symbol(p, reg ? SYM_REG : SYM_VAR);
    bool open = false;
    y->type = d.type;
    y->bytes = reg ? 0 : parse_extent(p, &d, &open);
    return y;
}

static void parse_target(struct ptx_parser *p) {
    do {
        expect_word(p, "a target");
        if (p->tok.length > 3 && memcmp(p->tok.text, "sm_", 3) == 0) {
            p->module->target = atoi(p->tok.text + 3);
            char last = p->tok.text[p->tok.length - 1];
            p->module->target_a = last == 'a' || last == 'f';
        }
        ptx_next(p);
    } while (ptx_accept(p, ','));
}

static void parse_file(struct ptx_parser *p) {
    expect_int(p);
    if (p->tok.kind != TK_STRING) {
        ptx_unexpected(p, "a file name");
    }
    ptx_next(p);
    while (ptx_accept(p, ',')) {
        expect_int(p);
    }
}

// module = .version .target .address_size, then variables, functions, entries
static void parse_module_item(struct ptx_parser *p) {
    bool is_extern = false;
    for (;;) {
        is_extern |= is_dot(p, "extern");
        if (!accept_dot(p, "extern") && !accept_dot(p, "visible") && !accept_dot(p, "weak") &&
            !accept_dot(p, "common")) {
            break;
        }
    }
    if (accept_dot(p, "version")) {
        ptx_next(p);
    } else if (accept_dot(p, "target")) {
        parse_target(p);
    } else if (accept_dot(p, "address_size")) {
        if (expect_int(p) != 64) {
            ptx_fail(p, p->tok.line, "only .address_size 64 is supported");
        }
    } else if (accept_dot(p, "file")) {
        parse_file(p);
    } else if (accept_dot(p, "section")) {
        ptx_next(p);
        skip_braces(p);
    } else if (accept_dot(p, "pragma")) {
        skip_to_semicolon(p);
    } else if (accept_dot(p, "global") || accept_dot(p, "const")) {
        parse_variables(p, SP_GLOBAL, is_extern);
    } else if (accept_dot(p, "shared")) {
        parse_variables(p, SP_SHARED, is_extern);
    } else if (accept_dot(p, "entry")) {
        parse_entry(p);
    } else if (accept_dot(p, "func")) {
        skip_func(p);
    } else if (!ptx_accept(p, ';')) {
        ptx_unexpected(p, "a directive");
    }
}

int ptx_load(struct sim *s, const char *text, size_t length, struct sim_module *m) {
    struct arena arena = {NULL};
    struct ptx_parser *p = sim_arena_alloc(&arena, sizeof *p);
    struct ptx_ins *ins = sim_arena_alloc(&arena, sizeof *ins);
    struct ptx_scope *scope = sim_arena_alloc(&arena, sizeof *scope);
    if (p == NULL || ins == NULL || scope == NULL) {
        sim_arena_free(&arena);
        return sim_set_error(s, SIM_ERROR_MEMORY, "out of memory");
    }
    *p = (struct ptx_parser){.sim = s, .module = m, .lx = {text, text + length, 1}};
    p->arena = &arena;
    p->ins = ins;
    p->scope = p->module_scope = scope;
    int status = SIM_OK;
    if (setjmp(p->fail) == 0) {
        ptx_find_functions(p);
        ptx_next(p);
        ptx_next(p);
        while (p->tok.kind != TK_EOF) {
            parse_module_item(p);
        }
        if (m->target == 0) {
            ptx_fail(p, 1, "the text has no .target");
        }
    } else {
        status = SIM_ERROR_PTX;
    }
    sim_arena_free(&arena);
    return status;
}
