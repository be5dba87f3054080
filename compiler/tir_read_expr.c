// Sizes, elementwise expressions and positions of a role program's text, as
// tir_print.c writes them.
#include "std.h"
#include "tir_read_int.h"

#include <limits.h>
#include <string.h>

static int plain_int(tir_reader *r, const char *what) {
    return (int)tir_scan_int(&r->s, what, INT_MIN + 1, INT_MAX);
}

static bool too_deep(tir_reader *r, int depth) {
    if (depth > TIR_READ_DEPTH) {
        tir_scan_fail(&r->s, "an expression nested more than %d deep", TIR_READ_DEPTH);
    }
    return !tir_scan_ok(&r->s);
}

// --- Sizes ---------------------------------------------------------------------------------------

static int size_op_called(const char *word) {
    for (int op = 0; op <= (int)SZ_SMS; op++) {
        const char *w = tir_size_word((size_op)op);
        if (w != NULL && strcmp(w, word) == 0) {
            return op;
        }
    }
    return -1;
}

tir_size *tir_read_size(tir_reader *r, int depth) {
    tir_size *s = ARENA_NEW(r->mem, tir_size);
    if (too_deep(r, depth)) {
        return s;
    }
    int c = tir_scan_peek(&r->s);
    if ((c >= '0' && c <= '9') || c == '-') {
        s->op = SZ_INT;
        s->value = tir_scan_int(&r->s, "a size", INT64_MIN, INT64_MAX);
        return s;
    }
    int next = 0;
    const char *word = tir_scan_peek_word(&r->s, &next);
    if (word == NULL || next != '(') {
        s->op = SZ_DIM;
        tir_read_ref(r, TREF_DIM, &s->dim);
        return s;
    }
    int op = size_op_called(word);
    if (op < 0) {
        tir_scan_fail(&r->s, "sizes have no operation '%s'", word);
        return s;
    }
    tir_scan_word(&r->s);
    tir_scan_need(&r->s, '(');
    s->op = (size_op)op;
    if (s->op == SZ_PITCH || s->op == SZ_SF_BYTES) {
        tir_read_ref(r, TREF_PARAM, &s->dim);
    } else if (s->op != SZ_SMS) {
        s->a = tir_read_size(r, depth + 1);
        tir_scan_need(&r->s, ',');
        s->b = tir_read_size(r, depth + 1);
    }
    tir_scan_need(&r->s, ')');
    return s;
}

int tir_read_enum(tir_reader *r, tir_enum table, const char *what) {
    const char *word = tir_scan_word(&r->s);
    if (word == NULL) {
        tir_scan_expected(&r->s, arena_printf(r->mem, "a word for '%s'", what));
        return 0;
    }
    int i = tir_enum_find(table, word);
    if (i < 0) {
        tir_scan_fail(&r->s, "'%s' cannot be '%s'", what, word);
        return 0;
    }
    return i;
}

// --- Positions -----------------------------------------------------------------------------------

static bool at_sign(tir_reader *r) {
    int c = tir_scan_peek(&r->s);
    return c == '+' || c == '-';
}

static bool at_constant(tir_reader *r) {
    int c = tir_scan_peek(&r->s);
    return c == '-' || (c >= '0' && c <= '9');
}

static void read_factors(tir_reader *r, int *mul, int *div) {
    *mul = tir_scan_take(&r->s, '*') ? plain_int(r, "a factor") : 1;
    *div = tir_scan_take(&r->s, '/') ? plain_int(r, "a divisor") : 1;
}

// m*1/2+64+rank*128
void tir_read_coord(tir_reader *r, tir_coord *out) {
    *out = (tir_coord){.loop = -1, .mul = 1, .div = 1};
    bool more = true;
    if (at_constant(r)) {
        out->add = plain_int(r, "a coordinate");
    } else {
        tir_read_ref(r, TREF_AXIS, &out->loop);
        read_factors(r, &out->mul, &out->div);
        more = !tir_scan_take_text(&r->s, "+rank*");
        if (more && at_sign(r)) {
            out->add = plain_int(r, "what is added to a coordinate");
        }
    }
    if (!more || tir_scan_take_text(&r->s, "+rank*")) {
        out->rank_mul = plain_int(r, "a factor of the rank");
    }
}

// n, (n+1)*2/3, (5)*2, n~64, n|256+128:64
static void read_axis(tir_reader *r, tir_axis *out) {
    *out = (tir_axis){.loop = -1};
    if (!tir_scan_take(&r->s, '(')) {
        tir_read_ref(r, TREF_AXIS, &out->loop);
    } else {
        bool constant = at_constant(r);
        if (!constant) {
            tir_read_ref(r, TREF_AXIS, &out->loop);
        }
        if (constant || at_sign(r)) {
            out->add = plain_int(r, "what is added to an index");
        }
        tir_scan_need(&r->s, ')');
    }
    out->floor = tir_scan_take(&r->s, '~') ? plain_int(r, "what an index is rounded down to") : 0;
    if (tir_scan_take(&r->s, '|')) {
        out->piece = plain_int(r, "the length of a piece");
        tir_scan_need(&r->s, '+');
        out->shift = plain_int(r, "what the first piece lacks");
        tir_scan_need(&r->s, ':');
        out->gap = plain_int(r, "the gap between pieces");
    }
    read_factors(r, &out->mul, &out->div);
}

tir_axis *tir_read_axes(tir_reader *r, int *n) {
    tir_axis *axes = ARENA_ARRAY(r->mem, tir_axis, TIR_READ_ARGS);
    *n = 0;
    tir_scan_need(&r->s, '[');
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, ']')) {
        if (*n > 0) {
            tir_scan_need(&r->s, ',');
        }
        if (*n == TIR_READ_ARGS) {
            tir_scan_fail(&r->s, "more than %d axes", TIR_READ_ARGS);
            break;
        }
        read_axis(r, &axes[(*n)++]);
    }
    return axes;
}

// --- Expressions ---------------------------------------------------------------------------------

static void read_type(tir_reader *r, tir_expr *e) {
    e->type = ELEM_F32;
    if (tir_scan_take(&r->s, ':')) {
        e->type = (elem_kind)tir_read_enum(r, TEN_ELEM, "the type of an expression");
    }
}

static bool head_is_op(tir_expr *e, const char *word) {
    for (int op = 0; op < TIR_OPS; op++) {
        const char *w = tir_op_word((ast_op)op);
        if (w != NULL && strcmp(w, word) == 0) {
            e->op = (ast_op)op;
            e->kind = op == OP_NEG || op == OP_NOT || op == OP_BITNOT ? TX_UNARY : TX_BINARY;
            return true;
        }
    }
    return false;
}

static void read_builtin(tir_reader *r, tir_expr *e) {
    const char *word = tir_scan_word(&r->s);
    e->kind = TX_CALL;
    for (int i = 0; i < BI_COUNT && word != NULL; i++) {
        if (strcmp(tir_builtin_word((builtin_kind)i), word) == 0) {
            e->builtin = (builtin_kind)i;
            return;
        }
    }
    tir_scan_fail(&r->s, "there is no function '%s'", word != NULL ? word : "");
}

// Nodes that begin with a reference.
static const struct {
    const char *word;
    tir_expr_kind kind;
    tir_ref_kind ref;
} heads[] = {
    {"scalar", TX_SCALAR, TREF_PARAM}, {"acc", TX_ACC, TREF_ACC},
    {"load", TX_LOAD, TREF_PARAM},     {"index", TX_INDEX, TREF_AXIS},
    {"size", TX_SIZE, TREF_DIM},       {"convert", TX_CONVERT, TREF_COUNT},
    {"select", TX_SELECT, TREF_COUNT}, {"scale_of", TX_SCALE, TREF_PARAM},
};

// The word in front of the parenthesis; what the reference behind it counts.
static tir_ref_kind read_head(tir_reader *r, tir_expr *e) {
    const char *word = tir_scan_word(&r->s);
    if (word == NULL) {
        tir_scan_expected(&r->s, "an expression");
        return TREF_COUNT;
    }
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strcmp(heads[i].word, word) == 0) {
            e->kind = heads[i].kind;
            return heads[i].ref;
        }
    }
    if (reduce_find(word, &e->reduce)) {
        e->kind = TX_REDUCE;
        return TREF_AXIS;
    }
    if (strcmp(word, "call") == 0) {
        read_builtin(r, e);
    } else if (!head_is_op(e, word)) {
        tir_scan_fail(&r->s, "expressions have no operation '%s'", word);
    }
    return TREF_COUNT;
}

static void read_args(tir_reader *r, tir_expr *e, bool first, int depth) {
    e->args = ARENA_ARRAY(r->mem, tir_expr *, TIR_READ_ARGS);
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, ')')) {
        if (!first) {
            tir_scan_need(&r->s, ',');
        }
        first = false;
        if (e->n_args == TIR_READ_ARGS) {
            tir_scan_fail(&r->s, "more than %d arguments", TIR_READ_ARGS);
            return;
        }
        e->args[e->n_args++] = tir_read_expr(r, depth + 1);
    }
}

tir_expr *tir_read_expr(tir_reader *r, int depth) {
    tir_expr *e = ARENA_NEW(r->mem, tir_expr);
    if (too_deep(r, depth)) {
        return e;
    }
    if (tir_scan_at_number(&r->s)) {
        e->kind = TX_CONST;
        e->value = tir_scan_double(&r->s);
        read_type(r, e);
        return e;
    }
    tir_ref_kind ref = read_head(r, e);
    read_type(r, e);
    tir_scan_need(&r->s, '(');
    bool first = true;
    if (e->kind == TX_CONVERT) {
        e->elem = (elem_kind)tir_read_enum(r, TEN_ELEM, "convert");
        first = false;
    } else if (ref != TREF_COUNT) {
        tir_read_ref(r, ref, &e->ref);
        first = false;
    }
    if (tir_is_load(e)) {
        tir_scan_need(&r->s, ',');
        e->axes = tir_read_axes(r, &e->n_axes);
    }
    read_args(r, e, first, depth);
    return e;
}
