// Expressions: operator precedence for the binary operators, recursive descent for the rest.
//
// The tree's height is bounded here (PARSE_MAX_DEPTH), for nests and for long chains alike, so that
// later stages may recurse over it.
#include "parse.h"
#include "std.h"

#include <math.h>
#include <string.h>

ast_expr *expr_new(parser *ps, expr_kind kind, ast_span span) {
    ast_expr *e = ARENA_NEW(ps->mem, ast_expr);
    e->kind = kind;
    e->span = span;
    e->depth = 1;
    return e;
}

static ast_expr *error_expr(parser *ps) {
    return expr_new(ps, EX_ERROR, ps_peek(ps)->span);
}

// Makes the parent's height follow from its child's.
static void grow(parser *ps, ast_expr *parent, const ast_expr *child) {
    if (child == NULL || child->depth < parent->depth) {
        return;
    }
    parent->depth = child->depth + 1;
    if (parent->depth > PARSE_MAX_DEPTH && !ps->bad) {
        diag_report(ps->d, DIAG_ERROR, "P106", ps_peek(ps)->span,
                    "the expression is nested more than %d levels deep", PARSE_MAX_DEPTH);
        diag_help(ps->d, "name a part of it with 'let'");
        ps->bad = true;
    }
}

static void add_arg(parser *ps, ast_expr *parent, ptr_list *list, ast_expr *arg) {
    ptr_add(ps->mem, list, arg);
    grow(ps, parent, arg);
    parent->n_args = list->n;
    parent->args = (ast_expr **)list->items;
}

// args = expr {"," expr} .
static void parse_args(parser *ps, ast_expr *parent, tok_kind close, const char *where) {
    ptr_list list = {0};
    if (!ps_at(ps, close)) {
        do {
            if (close == TOK_RBRACKET && ps_at(ps, TOK_COLON)) {
                add_arg(ps, parent, &list, expr_new(ps, EX_ALL, ps_next(ps)->span));
            } else {
                add_arg(ps, parent, &list, parse_expr(ps));
            }
        } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    }
    ps_expect(ps, close, where);
}

// reduce = ( "sum" | "max" | "min" ) "[" NAME "]" "(" expr ")" .
static ast_expr *parse_reduce(parser *ps, reduce_kind op) {
    ast_expr *e = expr_new(ps, EX_REDUCE, ps_next(ps)->span);
    e->reduce = op;
    ps_expect(ps, TOK_LBRACKET, "before the index of a reduction");
    e->index_name = ps_name(ps, "the index that is reduced", &e->name_span);
    ps_expect(ps, TOK_RBRACKET, "behind the index of a reduction");
    ps_expect(ps, TOK_LPAREN, "before what is reduced");
    if (!ps->bad) {
        e->a = parse_expr(ps);
        grow(ps, e, e->a);
    }
    ps_expect(ps, TOK_RPAREN, "behind what is reduced");
    e->span = ps_since(ps, e->span);
    return e;
}

// zero = "zero" NAME [ "[" NAME {"," NAME} "]" ] .
static ast_expr *parse_zero(parser *ps) {
    ast_expr *e = expr_new(ps, EX_ZERO, ps_next(ps)->span);
    e->name = ps_name(ps, "the format of the accumulator", &e->name_span);
    if (!ps->bad && ps_accept(ps, TOK_LBRACKET)) {
        ptr_list list = {0};
        do {
            ast_span span;
            const char *name = ps_name(ps, "an index", &span);
            if (name != NULL) {
                ast_expr *axis = expr_new(ps, EX_NAME, span);
                axis->name = name;
                add_arg(ps, e, &list, axis);
            }
        } while (!ps->bad && ps_accept(ps, TOK_COMMA));
        ps_expect(ps, TOK_RBRACKET, "behind the axes of the accumulator");
    }
    e->span = ps_since(ps, e->span);
    return e;
}

static bool is_reduce(const parser *ps, reduce_kind *op) {
    for (int i = RED_SUM; i <= RED_MIN; i++) {
        if (ps_at_word(ps, reduce_name((reduce_kind)i)) &&
            ps_peek_at(ps, 1)->kind == TOK_LBRACKET) {
            *op = (reduce_kind)i;
            return true;
        }
    }
    return false;
}

// primary = INT | FLOAT | "inf" | NAME | "(" expr ")" | zero | reduce .
static ast_expr *parse_primary(parser *ps) {
    const token *t = ps_peek(ps);
    reduce_kind op;
    if (t->kind == TOK_INT) {
        ast_expr *e = expr_new(ps, EX_INT, ps_next(ps)->span);
        e->ivalue = t->ivalue;
        return e;
    }
    if (t->kind == TOK_FLOAT) {
        ast_expr *e = expr_new(ps, EX_FLOAT, ps_next(ps)->span);
        e->fvalue = t->fvalue;
        return e;
    }
    if (t->kind == TOK_ZERO) {
        return parse_zero(ps);
    }
    if (is_reduce(ps, &op)) {
        return parse_reduce(ps, op);
    }
    if (ps_at_word(ps, "inf")) {
        ast_expr *e = expr_new(ps, EX_FLOAT, ps_next(ps)->span);
        e->fvalue = INFINITY;
        return e;
    }
    if (t->kind == TOK_NAME) {
        ast_expr *e = expr_new(ps, EX_NAME, t->span);
        e->name = ps_name(ps, "a name", &e->name_span);
        return e;
    }
    if (ps_accept(ps, TOK_LPAREN)) {
        ast_expr *e = parse_expr(ps);
        ps_expect(ps, TOK_RPAREN, "to match '('");
        return e;
    }
    ps_fail(ps, "an expression");
    return error_expr(ps);
}

// postfix = primary { "." NAME | "[" subscripts "]" | "(" [ args ] ")" } .
static ast_expr *parse_postfix(parser *ps) {
    ast_expr *e = parse_primary(ps);
    while (!ps->bad) {
        ast_expr *outer;
        if (ps_accept(ps, TOK_DOT)) {
            outer = expr_new(ps, EX_MEMBER, e->span);
            outer->a = e;
            grow(ps, outer, e);
            outer->name = ps_name(ps, "the name of a field", &outer->name_span);
        } else if (ps_accept(ps, TOK_LBRACKET)) {
            outer = expr_new(ps, EX_INDEX, e->span);
            outer->a = e;
            grow(ps, outer, e);
            if (ps_at(ps, TOK_RBRACKET)) {
                ps_fail(ps, "a subscript");
            } else {
                parse_args(ps, outer, TOK_RBRACKET, "behind the subscripts");
            }
        } else if (ps_accept(ps, TOK_LPAREN)) {
            outer = expr_new(ps, EX_CALL, e->span);
            outer->a = e;
            outer->name = e->name;
            grow(ps, outer, e);
            parse_args(ps, outer, TOK_RPAREN, "behind the arguments");
        } else {
            return e;
        }
        outer->span = ps_since(ps, e->span);
        e = outer;
    }
    return e;
}

// unary = { "-" | "!" | "~" } postfix .
static ast_expr *parse_unary(parser *ps) {
    ast_op op;
    if (ps_at(ps, TOK_MINUS)) {
        op = OP_NEG;
    } else if (ps_at(ps, TOK_NOT)) {
        op = OP_NOT;
    } else if (ps_at(ps, TOK_TILDE)) {
        op = OP_BITNOT;
    } else {
        return parse_postfix(ps);
    }
    ast_expr *e = expr_new(ps, EX_UNARY, ps_next(ps)->span);
    e->op = op;
    if (!ps_enter(ps)) {
        return e;
    }
    e->a = parse_unary(ps);
    ps_leave(ps);
    grow(ps, e, e->a);
    e->span = ps_since(ps, e->span);
    return e;
}

// Precedence of the operator that a token is, 0 if it is none.
static int binary_op(tok_kind kind, ast_op *op) {
    switch (kind) {
#define FP4_BINARY(id, token, text, precedence)                                                    \
    case TOK_##token:                                                                              \
        *op = OP_##id;                                                                             \
        return precedence;
#include "ops.def"
#undef FP4_BINARY
    default:
        return 0;
    }
}

#define SIZE_PRECEDENCE 9 // shifts, sums and products

// binary = unary { operator binary } , for operators that bind at least as tightly as 'least'.
static ast_expr *parse_binary(parser *ps, int least) {
    ast_expr *left = parse_unary(ps);
    for (;;) {
        ast_op op;
        int precedence = binary_op(ps_peek(ps)->kind, &op);
        if (ps->bad || precedence == 0 || precedence < least) {
            return left;
        }
        ps_next(ps);
        ast_expr *e = expr_new(ps, EX_BINARY, left->span);
        e->op = op;
        e->a = left;
        e->b = parse_binary(ps, precedence + 1);
        grow(ps, e, e->a);
        grow(ps, e, e->b);
        e->span = ps_since(ps, left->span);
        left = e;
    }
}

// expr = binary [ "?" expr ":" expr ] .
ast_expr *parse_expr(parser *ps) {
    if (ps->bad || !ps_enter(ps)) {
        return error_expr(ps);
    }
    ast_expr *e = parse_binary(ps, 1);
    if (!ps->bad && ps_accept(ps, TOK_QUESTION)) {
        ast_expr *select = expr_new(ps, EX_SELECT, e->span);
        ptr_list list = {0};
        add_arg(ps, select, &list, e);
        select->a = parse_expr(ps);
        ps_expect(ps, TOK_COLON, "between the two values of '?'");
        select->b = parse_expr(ps);
        grow(ps, select, select->a);
        grow(ps, select, select->b);
        select->span = ps_since(ps, e->span);
        e = select;
    }
    ps_leave(ps);
    return e;
}

// size = expr without comparisons, logic and '?', unless in parentheses .
ast_expr *parse_size(parser *ps) {
    if (ps->bad || !ps_enter(ps)) {
        return error_expr(ps);
    }
    ast_expr *e = parse_binary(ps, SIZE_PRECEDENCE);
    ps_leave(ps);
    return e;
}

// lhs = postfix .
ast_expr *parse_target(parser *ps) {
    return parse_postfix(ps);
}
