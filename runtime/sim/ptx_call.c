// Functions of a module. A call is expanded where it stands: the text of the function is read again
// with its formal parameters bound to the caller's (.param variables are local memory), so that
// divergence, waits and the hazard detector see plain code. A call through a register becomes a
// chain over the functions whose address the module takes. What has no body is one of the functions
// that the toolkit's device runtime brings (calls.c). A function that calls itself cannot be
// expanded: the call faults when it is reached.
#include "call.h"
#include "ptx_parse.h"

#define MOST_DEEP 48
#define MOST_CODE (1u << 23)
#define MOST_EXPANDED (1u << 16)
#define MOST_READ_AGAIN (1u << 26)

struct call {
    struct ptx_operand ret[MOST_CALL_PARAMS], arg[MOST_CALL_PARAMS];
    struct ptx_operand target;
    int n_ret, n_arg;
    uint32_t guard, line;
    bool negated;
};
// The function that is being expanded.
struct ptx_frame {
    struct ptx_frame *up;
    const struct ptx_func *f;
    struct ret_fixup {
        struct ret_fixup *next;
        uint32_t uop;
    } * rets;
    int depth;
};

// ---- the functions of a module ------------------------------------------------------------------
static bool is_word(const struct ptx_token *t, enum ptx_token_kind kind, const char *text) {
    size_t n = strlen(text);
    return t->kind == kind && t->length == n && memcmp(t->text, text, n) == 0;
}

// After '.func': [.attribute( list )] [( returns )] name [( parameters )] attributes, then ';' or a body.
static struct ptx_func read_head(struct ptx_lexer *lx) {
    struct ptx_func f = {.header = *lx};
    int parens = 0;
    bool attribute = false; // in the list in front
    for (;;) {
        struct ptx_token t = ptx_lex(lx);
        bool punct = t.kind == TK_PUNCT && parens == 0;
        if (t.kind == TK_EOF || (punct && *t.text == ';')) {
            return f;
        }
        if (punct && *t.text == '{') {
            f.has_body = true;
            return f;
        }
        if (t.kind == TK_WORD && parens == 0 && f.name == NULL) {
            f.name = t.text;
            f.length = t.length;
        } else if (is_word(&t, TK_DOT, ".attribute") && f.name == NULL) {
            attribute = true;
        } else if (t.kind == TK_PUNCT) {
            parens += (*t.text == '(') - (*t.text == ')');
            if (attribute && parens == 0) {
                attribute = false;
                f.header = *lx;
            }
        } else if (is_word(&t, TK_DOT, ".param") || is_word(&t, TK_DOT, ".reg")) {
            f.n_ret += f.name == NULL;
            f.n_arg += f.name != NULL;
        }
    }
}

// The functions whose names have this one's hash (FNV-1a), the last one first.
static struct ptx_func **named(struct ptx_parser *p, const char *name, uint32_t length) {
    uint32_t h = 2166136261u;
    for (uint32_t n = 0; n < length; n++) {
        h = (h ^ (uint8_t)name[n]) * 16777619u;
    }
    return &p->func_named[h % PTX_FUNC_LISTS];
}

struct ptx_func *ptx_find_func(struct ptx_parser *p, const char *name, uint32_t length) {
    struct ptx_func *declared = NULL;
    for (struct ptx_func *f = *named(p, name, length); f != NULL; f = f->next_named) {
        if (f->length == length && memcmp(f->name, name, length) == 0) {
            declared = f;
            if (f->has_body) {
                return f;
            }
        }
    }
    return declared;
}

void ptx_find_functions(struct ptx_parser *p) {
    struct ptx_lexer lx = p->lx;
    struct ptx_token t;
    while ((t = ptx_lex(&lx)).kind != TK_EOF) {
        if (!is_word(&t, TK_DOT, ".func")) {
            continue;
        }
        struct ptx_func head = read_head(&lx);
        if (head.name != NULL) {
            struct ptx_func *f = ptx_new(p, sizeof *f);
            *f = head;
            struct ptx_func **list = named(p, f->name, f->length);
            f->next_named = *list;
            *list = f;
            f->next = p->funcs;
            f->number = p->funcs == NULL ? 0 : p->funcs->number + 1;
            p->funcs = f;
        }
    }
}

uint64_t ptx_func_address(const struct ptx_func *f) {
    return WINDOW_FUNCTION + 16 * (uint64_t)(f->number + 1);
}

// Functions named elsewhere than in their own head or as the target of a call.
static void find_taken(struct ptx_parser *p) {
    struct ptx_lexer lx = {p->module->text, p->module->text + p->module->length, 1};
    bool skip = false;
    struct ptx_token t;
    while ((t = ptx_lex(&lx)).kind != TK_EOF) {
        bool ends = t.kind == TK_PUNCT && (*t.text == ';' || *t.text == '{');
        if (is_word(&t, TK_DOT, ".func") || is_word(&t, TK_WORD, "call")) {
            skip = true;
        } else if (ends) {
            skip = false;
        } else if (t.kind == TK_WORD && !skip && *t.text != '%') {
            struct ptx_func *f = ptx_find_func(p, t.text, t.length);
            if (f != NULL) {
                f->taken = true;
            }
        }
    }
    p->funcs_searched = true;
}

// ---- parameters ---------------------------------------------------------------------------------
// [( .param type name extent { , ... } )]; how many, the first of them in y
static int read_formals(struct ptx_parser *p, struct ptx_symbol *y[MOST_CALL_PARAMS]) {
    int n = 0;
    bool list = ptx_accept(p, '(');
    while (list && !ptx_is(p, ')')) {
        struct ptx_symbol *formal = ptx_formal(p);
        if (n < MOST_CALL_PARAMS) {
            y[n] = formal;
        }
        n++;
        if (!ptx_accept(p, ',') && !ptx_is(p, ')')) {
            ptx_unexpected(p, "',' or ')'");
        }
    }
    if (list) {
        ptx_next(p);
    }
    return n;
}

// A formal parameter in .param space is the caller's variable, which may be larger.
static bool is_variable(const struct ptx_operand *actual) {
    return actual->kind == OP_VAR && actual->symbol->space == SP_CALL_PARAM;
}

static bool fits(const struct ptx_symbol *y, const struct ptx_operand *actual) {
    if (y->kind == SYM_REG) {
        return y->type != W_PRED && ptx_type_bits(y->type) <= 64;
    }
    return is_variable(actual) && actual->value == 0 && actual->symbol->bytes >= y->bytes;
}

static _Noreturn void misfit(struct ptx_parser *p, const struct ptx_symbol *y,
                             const struct ptx_operand *actual) {
    if (y->kind == SYM_REG) {
        ptx_fail(p, p->tok.line, "a parameter register of this type is not supported");
    }
    bool variable = is_variable(actual);
    if (variable && actual->value != 0) {
        ptx_fail(p, p->tok.line, "a parameter of a call is a whole variable, not a place in it");
    }
    ptx_fail(p, p->tok.line, "a parameter of %llu bytes of the call does not fit '%.*s'",
             variable ? (unsigned long long)actual->symbol->bytes : 0ull,
             y->length > 60 ? 60 : (int)y->length, y->name);
}

static void bind_register(struct ptx_parser *p, struct ptx_symbol *y,
                          const struct ptx_operand *actual, bool returns) {
    int bits = ptx_type_bits(y->type);
    y->rows = ptx_new(p, sizeof *y->rows);
    y->rows[0] = ptx_new_row(p, bits);
    if (!returns) {
        uint32_t a = ptx_row_src(p, actual, y->type);
        ptx_emit_mov(p, y->rows[0], a, bits);
    }
}

// The list of parameters that stands here, bound to the operands of the call.
static void bind(struct ptx_parser *p, const struct ptx_operand *actual, int n, bool returns) {
    struct ptx_symbol *y[MOST_CALL_PARAMS];
    int formals = read_formals(p, y);
    const char *what = returns ? "returns" : "parameters";
    if (formals > n) {
        ptx_fail(p, p->tok.line, "the call has %d %s, fewer than the function", n, what);
    }
    if (formals < n) {
        ptx_fail(p, p->tok.line, "the call has %d %s, the function %d", n, what, formals);
    }
    for (int at = 0; at < n; at++) {
        if (!fits(y[at], &actual[at])) {
            misfit(p, y[at], &actual[at]);
        }
        if (y[at]->kind == SYM_REG) {
            bind_register(p, y[at], &actual[at], returns);
        } else {
            y[at]->space = SP_CALL_PARAM;
            y[at]->address = actual[at].symbol->address;
        }
    }
}

static bool all_fit(struct ptx_parser *p, const struct ptx_operand *actual, int n) {
    struct ptx_symbol *y[MOST_CALL_PARAMS];
    bool fit = read_formals(p, y) == n;
    for (int at = 0; at < n && fit; at++) {
        fit = fits(y[at], &actual[at]);
    }
    return fit;
}

// Returns in registers go to those of the call.
static void copy_returns(struct ptx_parser *p, const struct call *c) {
    int at = c->n_ret;
    for (struct ptx_symbol *y = p->scope->symbols; y != NULL; y = y->next) {
        at -= y->is_return; // the list has the last one first
        if (y->kind == SYM_REG && y->is_return) {
            uint32_t d = ptx_row_dst(p, &c->ret[at], y->type);
            ptx_emit_mov(p, d, y->rows[0], ptx_type_bits(y->type));
        }
    }
}

// ---- expansion ----------------------------------------------------------------------------------
static void emit_fault(struct ptx_parser *p, uop_fn *fn, const struct ptx_func *f) {
    char *name = ptx_aux_alloc(p, f->length + 1);
    memcpy(name, f->name, f->length);
    ptx_emit(p, fn)->aux = name;
}

static bool is_open(const struct ptx_parser *p, const struct ptx_func *f) {
    for (const struct ptx_frame *up = p->frame; up != NULL; up = up->up) {
        if (up->f == f) {
            return true;
        }
    }
    return false;
}

// Where the parser stands.
struct place {
    struct ptx_lexer lx;
    struct ptx_token tok, ahead;
    struct ptx_scope *scope;
    uint32_t source;
    int depth;
};

// Goes to the head of f, in a scope of its own; where it was.
static struct place go_to(struct ptx_parser *p, const struct ptx_func *f) {
    struct place from = {p->lx, p->tok, p->ahead, p->scope, p->source_line, p->depth};
    p->lx = f->header;
    ptx_next(p);
    ptx_next(p);
    p->scope = p->module_scope;
    ptx_scope_open(p);
    return from;
}

static void go_back(struct ptx_parser *p, const struct ptx_func *f, const struct place *to) {
    p->read_again += (uint64_t)(p->lx.at - f->header.at);
    p->lx = to->lx;
    p->tok = to->tok;
    p->ahead = to->ahead;
    p->scope = to->scope;
    p->source_line = to->source;
    p->depth = to->depth;
}

static void read_body(struct ptx_parser *p, const struct ptx_func *f, const struct call *c) {
    bind(p, c->ret, c->n_ret, true);
    for (struct ptx_symbol *y = p->scope->symbols; y != NULL; y = y->next) {
        y->is_return = true;
    }
    ptx_next(p); // its name
    bind(p, c->arg, c->n_arg, false);
    while (!ptx_is(p, '{')) {
        ptx_next(p); // attributes; find_functions has seen the body
    }
    struct ptx_frame frame = {.up = p->frame, .f = f};
    frame.depth = p->frame == NULL ? 1 : p->frame->depth + 1;
    p->frame = &frame;
    p->depth = 0;
    ptx_block(p);
    p->ins->guard = 0;
    p->ins->guard_negated = false;
    for (const struct ret_fixup *r = frame.rets; r != NULL; r = r->next) {
        p->kernel->code[r->uop].imm = p->kernel->n_code;
    }
    p->frame = frame.up;
    copy_returns(p, c);
}

static void expand(struct ptx_parser *p, const struct ptx_func *f, const struct call *c) {
    if (is_open(p, f)) {
        emit_fault(p, run_recursion, f);
        return;
    }
    if (p->frame != NULL && p->frame->depth == MOST_DEEP) {
        ptx_fail(p, c->line, "calls are nested more than %d deep", MOST_DEEP);
    }
    if (p->kernel->n_code > MOST_CODE) {
        ptx_fail(p, c->line, "the kernel has more than %u instructions with its calls expanded",
                 MOST_CODE);
    }
    if (++p->n_expanded > MOST_EXPANDED || p->read_again > MOST_READ_AGAIN) {
        ptx_fail(p, c->line, "the kernel has more than %u calls or %u bytes of text with its calls "
                             "expanded: functions that call each other twice double it at each step",
                 MOST_EXPANDED, MOST_READ_AGAIN);
    }
    struct place from = go_to(p, f);
    read_body(p, f, c);
    go_back(p, f, &from);
    p->ins->line = c->line;
}

// ---- functions of the toolkit -------------------------------------------------------------------
static uint32_t place_of(struct ptx_parser *p, const struct ptx_operand *o, uint32_t bytes) {
    if (o->kind != OP_VAR || o->symbol->space != SP_CALL_PARAM || o->symbol->bytes < bytes ||
        o->value != 0) {
        ptx_refuse(p, "a parameter is not of the type that the function takes");
    }
    return (uint32_t)o->symbol->address;
}

static void call_builtin(struct ptx_parser *p, const struct ptx_func *f, const struct call *c) {
    static const struct {
        const char *name;
        uop_fn *fn;
        int n_arg;
        uint8_t bytes[5], ret;
    } table[] = {
        {"vprintf", run_vprintf, 2, {8, 8}, 4},
        {"__assertfail", run_assertfail, 5, {8, 8, 4, 8, 8}, 0},
        {"malloc", run_heap_alloc, 1, {8}, 8},
        {"free", run_heap_free, 1, {8}, 0},
    };
    p->ins->guard = c->guard;
    p->ins->guard_negated = c->negated;
    for (size_t n = 0; n < sizeof table / sizeof *table; n++) {
        if (strlen(table[n].name) != f->length || memcmp(table[n].name, f->name, f->length) != 0) {
            continue;
        }
        if (c->n_arg != table[n].n_arg || c->n_ret != (table[n].ret != 0)) {
            ptx_refuse(p, "wrong number of parameters of a function of the toolkit");
        }
        struct builtin_aux *x = ptx_aux_alloc(p, sizeof *x);
        for (int a = 0; a < c->n_arg; a++) {
            x->arg[a] = place_of(p, &c->arg[a], table[n].bytes[a]);
        }
        x->ret = c->n_ret != 0 ? place_of(p, &c->ret[0], table[n].ret) : 0;
        p->kernel->meets = true; // one thread runs the device: a common text, a common heap
        ptx_emit(p, table[n].fn)->aux = x;
        return;
    }
    emit_fault(p, run_no_function, f);
}

// ---- calls --------------------------------------------------------------------------------------
// A call through a register may be one of f.
static bool may_reach(const struct ptx_parser *p, const struct ptx_func *f, const struct call *c) {
    return f->has_body && f->taken && f->n_ret == c->n_ret && f->n_arg == c->n_arg &&
           !is_open(p, f);
}

// Functions of another type, whose address the module takes for other calls, are none of its targets.
static bool takes_these(struct ptx_parser *p, const struct ptx_func *f, const struct call *c) {
    struct place from = go_to(p, f);
    bool fit = all_fit(p, c->ret, c->n_ret);
    ptx_next(p); // its name
    fit = all_fit(p, c->arg, c->n_arg) && fit;
    go_back(p, f, &from);
    return fit;
}

static void call_register(struct ptx_parser *p, const struct call *c) {
    if (!p->funcs_searched) {
        find_taken(p);
    }
    uint32_t target = ptx_row_src(p, &c->target, W_U64);
    struct uop *u = ptx_emit(p, run_call_check);
    u->a = target;
    uint32_t check = p->kernel->n_code - 1;
    uint32_t count = 0;
    for (const struct ptx_func *f = p->funcs; f != NULL; f = f->next) {
        count += may_reach(p, f, c);
    }
    struct call_targets *list =
        ptx_aux_alloc(p, sizeof *list + (size_t)count * sizeof *list->address);
    for (const struct ptx_func *f = p->funcs; f != NULL; f = f->next) {
        if (!may_reach(p, f, c) || !takes_these(p, f, c)) {
            continue;
        }
        list->address[list->n++] = ptx_func_address(f);
        u = ptx_emit(p, run_call_skip);
        uint32_t skip = p->kernel->n_code - 1;
        u->a = target;
        u->b = f->number + 1;
        expand(p, f, c);
        p->kernel->code[skip].imm = p->kernel->n_code;
    }
    p->kernel->code[check].aux = list;
}

// The branch over a call whose guard is false; its number.
static uint32_t emit_over(struct ptx_parser *p, const struct call *c) {
    p->ins->guard = c->guard;
    p->ins->guard_negated = !c->negated;
    ptx_emit(p, run_bra);
    p->ins->guard = 0;
    p->ins->guard_negated = false;
    return p->kernel->n_code - 1;
}

static void read_list(struct ptx_parser *p, struct ptx_operand *out, int *n) {
    ptx_expect(p, '(');
    while (!ptx_is(p, ')')) {
        if (*n == MOST_CALL_PARAMS) {
            ptx_fail(p, p->tok.line, "a call has more than %d parameters", MOST_CALL_PARAMS);
        }
        out[(*n)++] = p->ins->pool[ptx_read_operand(p)];
        if (!ptx_accept(p, ',') && !ptx_is(p, ')')) {
            ptx_unexpected(p, "',' or ')'");
        }
    }
    ptx_next(p);
}

// [( returns ) ,] target [, ( parameters )] [, prototype or targets] ;
static void read_call(struct ptx_parser *p, struct call *c) {
    if (ptx_is(p, '(')) {
        read_list(p, c->ret, &c->n_ret);
        ptx_expect(p, ',');
    }
    c->target = p->ins->pool[ptx_read_operand(p)];
    while (ptx_accept(p, ',')) {
        if (ptx_is(p, '(')) {
            read_list(p, c->arg, &c->n_arg);
        } else {
            ptx_read_operand(p);
        }
    }
}

void ptx_call(struct ptx_parser *p) {
    struct ptx_ins *i = p->ins;
    struct call c = {.n_ret = 0};
    c.guard = i->guard;
    c.negated = i->guard_negated;
    c.line = i->line;
    ptx_take(i, W_UNI);
    read_call(p, &c);
    const char *text = i->text;
    if (!ptx_is(p, ';')) {
        ptx_unexpected(p, "';'");
    }
    i->length = (uint32_t)(p->tok.text - text);
    ptx_next(p);
    ptx_finish_ins(p);
    const struct ptx_func *f =
        c.target.kind == OP_NAME ? ptx_find_func(p, c.target.name, c.target.length) : NULL;
    if (f == NULL && c.target.kind != OP_REG) {
        ptx_refuse(p, "the target of the call is no function of the module");
    }
    if (f != NULL && !f->has_body) {
        call_builtin(p, f, &c);
        return;
    }
    uint32_t over = c.guard != 0 ? emit_over(p, &c) : 0;
    if (f != NULL) {
        expand(p, f, &c);
    } else {
        call_register(p, &c);
    }
    if (c.guard != 0) {
        p->kernel->code[over].imm = p->kernel->n_code;
    }
}

void ptx_return(struct ptx_parser *p) {
    struct ret_fixup *r = ptx_new(p, sizeof *r);
    ptx_emit(p, run_bra);
    r->uop = p->kernel->n_code - 1;
    r->next = p->frame->rets;
    p->frame->rets = r;
}
