// Sizes: integer expressions over literals, constants, compile-time parameters and run-time
// dimensions. Their value where they have one, and when two of them are the same size.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

size_status size_apply(ast_op op, int64_t a, int64_t b, int64_t *out) {
    bool over = false;
    switch (op) {
    case OP_ADD:
        over = __builtin_add_overflow(a, b, out);
        break;
    case OP_SUB:
        over = __builtin_sub_overflow(a, b, out);
        break;
    case OP_MUL:
        over = __builtin_mul_overflow(a, b, out);
        break;
    case OP_DIV:
    case OP_MOD:
        if (b == 0) {
            return SIZE_DIV_ZERO;
        }
        if (a == INT64_MIN && b == -1) {
            return SIZE_OVERFLOW;
        }
        *out = op == OP_DIV ? a / b : a % b;
        break;
    case OP_SHL:
    case OP_SHR:
        if (b < 0 || b > 63) {
            return SIZE_BAD_SHIFT;
        }
        if (op == OP_SHR) {
            *out = a >> b;
        } else {
            *out = (int64_t)((uint64_t)a << b);
            over = *out >> b != a;
        }
        break;
    case OP_LT:
        *out = a < b;
        break;
    case OP_LE:
        *out = a <= b;
        break;
    case OP_GT:
        *out = a > b;
        break;
    case OP_GE:
        *out = a >= b;
        break;
    case OP_EQ:
        *out = a == b;
        break;
    case OP_NE:
        *out = a != b;
        break;
    case OP_AND:
        *out = a && b;
        break;
    case OP_OR:
        *out = a || b;
        break;
    case OP_BITAND:
        *out = a & b;
        break;
    case OP_BITOR:
        *out = a | b;
        break;
    case OP_BITXOR:
        *out = a ^ b;
        break;
    case OP_NEG:
        over = __builtin_sub_overflow((int64_t)0, a, out);
        break;
    case OP_NOT:
        *out = !a;
        break;
    case OP_BITNOT:
        *out = ~a;
        break;
    }
    return over ? SIZE_OVERFLOW : SIZE_OK;
}

const char *size_complaint(size_status status) {
    switch (status) {
    case SIZE_OVERFLOW:
        return "does not fit in 64 bits";
    case SIZE_DIV_ZERO:
        return "divides by zero";
    case SIZE_BAD_SHIFT:
        return "shifts by less than 0 or more than 63 bits";
    default:
        return "is not known at compile time";
    }
}

static size_status name_value(const ast_sym *sym, const int64_t *vals, int64_t *out) {
    if (sym == NULL || (sym->kind != SYM_CONST && sym->kind != SYM_TPARAM) || sym->is_float) {
        return SIZE_NOT_CONST;
    }
    if (sym->kind == SYM_TPARAM && vals != NULL) {
        *out = vals[sym->id];
        return SIZE_OK;
    }
    *out = sym->ivalue;
    return sym->has_value ? SIZE_OK : SIZE_NOT_CONST;
}

static size_status binary_value(const ast_expr *e, const int64_t *vals, int64_t *out) {
    int64_t a;
    int64_t b;
    size_status status = size_value(e->a, vals, &a);
    if (status != SIZE_OK) {
        bool divides = e->op == OP_DIV || e->op == OP_MOD;
        bool by_zero = divides && size_value(e->b, vals, &b) == SIZE_OK && b == 0;
        return by_zero ? SIZE_DIV_ZERO : status;
    }
    if ((e->op == OP_AND && !a) || (e->op == OP_OR && a)) {
        *out = a != 0;
        return SIZE_OK;
    }
    status = size_value(e->b, vals, &b);
    return status != SIZE_OK ? status : size_apply(e->op, a, b, out);
}

static size_status ceildiv(int64_t a, int64_t b, int64_t *out) {
    int64_t rest = 0;
    size_status status = size_apply(OP_DIV, a, b, out);
    if (status == SIZE_OK) {
        size_apply(OP_MOD, a, b, &rest);
        *out += rest != 0 && (a > 0) == (b > 0);
    }
    return status;
}

bool lang_ceildiv(int64_t a, int64_t b, int64_t *out) {
    return ceildiv(a, b, out) == SIZE_OK;
}

// min(a, b), max(a, b), ceildiv(a, b), abs(a)
static size_status call_value(const ast_expr *e, const int64_t *vals, int64_t *out) {
    bool two = e->builtin == BI_MIN || e->builtin == BI_MAX || e->builtin == BI_CEILDIV;
    if (e->call != CALL_BUILTIN || (!two && e->builtin != BI_ABS) || e->n_args != (two ? 2 : 1)) {
        return SIZE_NOT_CONST;
    }
    int64_t a;
    int64_t b = 0;
    size_status status = size_value(e->args[0], vals, &a);
    if (status == SIZE_OK && two) {
        status = size_value(e->args[1], vals, &b);
    }
    if (status != SIZE_OK) {
        return status;
    }
    if (e->builtin == BI_CEILDIV) {
        return ceildiv(a, b, out);
    }
    if (two) {
        *out = (e->builtin == BI_MIN) == (a < b) ? a : b;
        return SIZE_OK;
    }
    *out = a;
    return a < 0 ? size_apply(OP_NEG, a, 0, out) : SIZE_OK;
}

size_status size_value(const ast_expr *e, const int64_t *vals, int64_t *out) {
    int64_t a;
    size_status status;
    switch (e->kind) {
    case EX_INT:
        *out = e->ivalue;
        return SIZE_OK;
    case EX_NAME:
    case EX_MEMBER:
        return name_value(e->sym, vals, out);
    case EX_UNARY:
        status = size_value(e->a, vals, &a);
        return status != SIZE_OK ? status : size_apply(e->op, a, 0, out);
    case EX_BINARY:
        return binary_value(e, vals, out);
    case EX_SELECT:
        status = size_value(e->args[0], vals, &a);
        return status != SIZE_OK ? status : size_value(a ? e->a : e->b, vals, out);
    case EX_CALL:
        return call_value(e, vals, out);
    default:
        return SIZE_NOT_CONST;
    }
}

bool lang_const_int(const ast_expr *e, const int64_t *vals, int64_t *out) {
    return size_value(e, vals, out) == SIZE_OK;
}

bool size_is_static(const ast_expr *e) {
    switch (e->kind) {
    case EX_INT:
        return true;
    case EX_NAME:
    case EX_MEMBER:
        return e->sym != NULL && (e->sym->kind == SYM_CONST || e->sym->kind == SYM_TPARAM) &&
               !e->sym->is_float;
    case EX_UNARY:
        return size_is_static(e->a);
    case EX_BINARY:
        return size_is_static(e->a) && size_is_static(e->b);
    case EX_SELECT:
        return size_is_static(e->args[0]) && size_is_static(e->a) && size_is_static(e->b);
    case EX_CALL:
        for (int i = 0; i < e->n_args; i++) {
            if (!size_is_static(e->args[i])) {
                return false;
            }
        }
        return e->call == CALL_BUILTIN && is_int_type(e->type);
    default:
        return false;
    }
}

// A named constant is its value; a compile-time parameter is not: two of them with equal values
// are two sizes, because a schedule may change either.
static bool fixed_value(const ast_expr *e, int64_t *out) {
    if (e->kind == EX_INT) {
        *out = e->ivalue;
        return true;
    }
    if (e->is_const && is_int_type(e->type)) {
        *out = e->ivalue;
        return true;
    }
    return false;
}

bool size_equal(const ast_expr *a, const ast_expr *b) {
    int64_t x = 0;
    int64_t y = 0;
    if (a == NULL || b == NULL) {
        return false;
    }
    if (is_poison(a) || is_poison(b)) {
        return true; // reported already
    }
    bool x_known = fixed_value(a, &x);
    bool y_known = fixed_value(b, &y);
    if (x_known || y_known) {
        return x_known && y_known && x == y;
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case EX_NAME:
    case EX_MEMBER:
        return a->sym == b->sym && a->sym != NULL;
    case EX_UNARY:
        return a->op == b->op && size_equal(a->a, b->a);
    case EX_BINARY:
        if (a->op != b->op) {
            return false;
        }
        if (size_equal(a->a, b->a) && size_equal(a->b, b->b)) {
            return true;
        }
        return (a->op == OP_ADD || a->op == OP_MUL) && size_equal(a->a, b->b) &&
               size_equal(a->b, b->a);
    default:
        return false;
    }
}

// Names of run-time data have no place in a size.
static bool is_size(const ast_expr *e) {
    switch (e->kind) {
    case EX_INT:
        return true;
    case EX_NAME:
    case EX_MEMBER:
        return e->sym != NULL && (e->sym->kind == SYM_CONST || e->sym->kind == SYM_TPARAM ||
                                  e->sym->kind == SYM_DIM || e->sym->kind == SYM_SMS);
    case EX_UNARY:
        return is_size(e->a);
    case EX_BINARY:
        return is_size(e->a) && is_size(e->b);
    case EX_SELECT:
        return is_size(e->args[0]) && is_size(e->a) && is_size(e->b);
    case EX_CALL:
        for (int i = 0; i < e->n_args; i++) {
            if (!is_size(e->args[i])) {
                return false;
            }
        }
        return e->call == CALL_BUILTIN;
    default:
        return false;
    }
}

void check_size(checker *c, ast_expr *e) {
    check_expr(c, e);
    if (is_poison(e)) {
        return;
    }
    if (e->type == NULL || !is_int_type(e->type) || !is_size(e)) {
        diag_report(c->d, DIAG_ERROR, "C101", e->span, "'%s' is not a size", expr_text(c->mem, e));
        diag_because(
            c->d,
            "sizes are made of whole numbers, constants, compile-time parameters and dimensions");
        set_poison(e);
        return;
    }
    int64_t value;
    size_status status = size_value(e, NULL, &value);
    if (status == SIZE_OVERFLOW || status == SIZE_DIV_ZERO || status == SIZE_BAD_SHIFT) {
        diag_report(c->d, DIAG_ERROR, status == SIZE_DIV_ZERO ? "C103" : "C102", e->span, "'%s' %s",
                    expr_text(c->mem, e), size_complaint(status));
        set_poison(e);
    }
}

bool check_static(checker *c, ast_expr *e, const char *what) {
    check_size(c, e);
    if (is_poison(e)) {
        return false;
    }
    if (!size_is_static(e)) {
        diag_report(c->d, DIAG_ERROR, "C101", e->span, "%s '%s' is not known at compile time", what,
                    expr_text(c->mem, e));
        set_poison(e);
        return false;
    }
    return true;
}

const char *expr_text(arena *mem, const ast_expr *e) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return "?";
    }
    ast_print_expr(out, e);
    fclose(out);
    const char *copy = arena_strndup(mem, text, len);
    free(text);
    return copy;
}
