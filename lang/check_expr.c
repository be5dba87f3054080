// Types and axes of expressions.
//
// An elementwise operation on floats is computed in f32 and gives f32; narrow floats widen to it
// silently, because that is exact. Scaled values (data and scales together) take part in products
// that a '+=' sums, and in conversions, in nothing else. A mistake gives the type 'poison', about
// which nothing more is said.
#include "check.h"

#include <string.h>

const ast_format poison = {.name = "<error>", .elem = ELEM_NONE, .scale = ELEM_NONE};

bool is_poison(const ast_expr *e) {
    return e->type == &poison;
}

void set_poison(ast_expr *e) {
    e->type = &poison;
    e->is_const = false;
}

bool is_scaled(const ast_format *f) {
    return f != NULL && f->scale != ELEM_NONE;
}

bool is_plain_float(const ast_format *f) {
    return f != NULL && f->scale == ELEM_NONE && elem_is_float(f->elem);
}

bool is_int_type(const ast_format *f) {
    return f != NULL && elem_is_int(f->elem);
}

bool is_bool_type(const ast_format *f) {
    return f != NULL && f->elem == ELEM_BOOL;
}

bool format_equal(const ast_format *a, const ast_format *b) {
    if (a->elem != b->elem || a->scale != b->scale || a->n_granule != b->n_granule) {
        return false;
    }
    for (int i = 0; i < a->n_granule; i++) {
        if (a->granule[i] != b->granule[i]) {
            return false;
        }
    }
    if (a->scale == ELEM_NONE) {
        return true; // numbers, wherever they lie
    }
    if (a->layout == NULL || b->layout == NULL) {
        return a->layout == b->layout;
    }
    return strcmp(a->layout, b->layout) == 0;
}

ast_expr *check_new_expr(checker *c, expr_kind kind, ast_span span) {
    ast_expr *e = ARENA_NEW(c->mem, ast_expr);
    e->kind = kind;
    e->span = span;
    e->depth = 1;
    return e;
}

bool has_axis(const ast_expr *e, const ast_sym *axis) {
    for (int i = 0; i < e->n_axes; i++) {
        if (e->axes[i] == axis) {
            return true;
        }
    }
    return false;
}

void add_axis(checker *c, ast_expr *e, ast_sym *axis) {
    if (has_axis(e, axis)) {
        return;
    }
    ast_sym **axes = ARENA_ARRAY(c->mem, ast_sym *, e->n_axes + 1);
    for (int i = 0; i < e->n_axes; i++) {
        axes[i] = e->axes[i];
    }
    axes[e->n_axes++] = axis;
    e->axes = axes;
}

static void report_shapes(checker *c, ast_expr *e, const ast_expr *child) {
    diag_report(c->d, DIAG_ERROR, "D106", e->span,
                "the operands leave %d and %d axes whole with ':'", e->n_whole, child->n_whole);
    set_poison(e);
}

// The ':' axes of two operands have to be the same ones; a value without any goes with every one.
static void merge_whole(checker *c, ast_expr *e, const ast_expr *child) {
    if (child->n_whole == 0) {
        return;
    }
    if (e->n_whole == 0) {
        e->n_whole = child->n_whole;
        e->whole = child->whole;
        return;
    }
    if (e->n_whole != child->n_whole) {
        report_shapes(c, e, child);
        return;
    }
    for (int i = 0; i < e->n_whole; i++) {
        if (!size_equal(e->whole[i], child->whole[i])) {
            diag_report(c->d, DIAG_ERROR, "D106", e->span, "the axes behind ':' are %s and %s long",
                        expr_text(c->mem, e->whole[i]), expr_text(c->mem, child->whole[i]));
            set_poison(e);
            return;
        }
    }
}

static void merge_paired(checker *c, ast_expr *e, const ast_expr *child) {
    bool had_axis = child->paired != NULL && has_axis(e, child->paired);
    bool has_other = e->paired != NULL && has_axis(child, e->paired);
    if (child->paired != e->paired && ((child->paired != NULL && had_axis) || has_other)) {
        const ast_sym *index = child->paired != NULL ? child->paired : e->paired;
        diag_report(c->d, DIAG_ERROR, "D106", e->span,
                    "one operand has an element for each pair of '%s', the other one for each '%s'",
                    index->name, index->name);
        set_poison(e);
        return;
    }
    if (child->paired != NULL) {
        e->paired = child->paired;
    }
}

void add_axes_of(checker *c, ast_expr *e, const ast_expr *child) {
    if (is_poison(child)) {
        set_poison(e);
        return;
    }
    merge_whole(c, e, child);
    merge_paired(c, e, child);
    for (int i = 0; i < child->n_axes; i++) {
        add_axis(c, e, child->axes[i]);
    }
}

const ast_format *find_format(checker *c, const char *name, ast_span at) {
    for (int e = 0; e < ELEM_COUNT; e++) {
        if (strcmp(name, elem_name((elem_kind)e)) == 0) {
            return std_plain_format((elem_kind)e);
        }
    }
    const ast_sym *sym = scope_find(c, name);
    if (sym != NULL && sym->kind == SYM_FORMAT) {
        return sym->fmt;
    }
    diag_report(c->d, DIAG_ERROR, "E101", at, "'%s' is not a format", name);
    if (sym != NULL) {
        diag_note(c->d, sym->span, "'%s' is declared here", name);
        return &poison;
    }
    const char *declaration = arena_printf(c->mem, "format %s =", name);
    if (strstr(std_module_text("std.formats"), declaration) != NULL) {
        diag_fix(c->d, (ast_span){0}, "use std.formats; ", "the standard formats come with");
    }
    const char *close = closest_name(c, name);
    if (close != NULL) {
        diag_fix(c->d, at, close, "a name like it is declared");
    }
    return &poison;
}

// --- leaves ---

static void set_int(ast_expr *e, int64_t value) {
    e->ivalue = value;
    e->is_const = true;
    e->type = std_plain_format(value >= INT32_MIN && value <= INT32_MAX ? ELEM_I32 : ELEM_I64);
}

static void set_float(ast_expr *e, double value) {
    e->fvalue = value;
    e->is_const = true;
    e->type = std_plain_format(ELEM_F32);
}

static void wrong_use(checker *c, ast_expr *e, const char *what) {
    diag_report(c->d, DIAG_ERROR, "E103", e->span, "'%s' is %s, not a value", e->name, what);
    diag_note(c->d, e->sym->span, "'%s' is declared here", e->name);
    set_poison(e);
}

static void check_tensor_name(checker *c, ast_expr *e) {
    ast_sym *sym = e->sym;
    if (sym->n_dims > 0) {
        diag_report(c->d, DIAG_ERROR, "D104", e->span, "'%s' has %d ax%s: it needs subscripts",
                    e->name, sym->n_dims, sym->n_dims == 1 ? "is" : "es");
        set_poison(e);
        return;
    }
    check_reads(c, e, sym);
    e->type = sym->format;
}

static void check_let_name(checker *c, ast_expr *e) {
    const ast_sym *sym = e->sym;
    const ast_expr *value = sym->stmt->value;
    e->type = value->type;
    e->record = sym->record;
    add_axes_of(c, e, value);
    if (value->is_const && !sym->is_acc) {
        e->is_const = true;
        e->ivalue = value->ivalue;
        e->fvalue = value->fvalue;
    }
}

// The symbol's meaning, once e->sym is known.
static void check_symbol(checker *c, ast_expr *e) {
    ast_sym *sym = e->sym;
    if (sym->is_bad) {
        set_poison(e);
        return;
    }
    switch (sym->kind) {
    case SYM_CONST:
        if (!sym->has_value) {
            set_poison(e);
        } else if (sym->is_float) {
            set_float(e, sym->fvalue);
        } else {
            set_int(e, sym->ivalue);
            e->type = is_bool_type(sym->init->type) ? sym->init->type : e->type;
        }
        break;
    case SYM_TPARAM:
        e->type = std_plain_format(ELEM_I32);
        break;
    case SYM_DIM:
    case SYM_SMS:
        e->type = std_plain_format(ELEM_I64);
        break;
    case SYM_FNARG:
        e->type = std_plain_format(ELEM_F32);
        break;
    case SYM_INDEX:
        e->type = std_plain_format(ELEM_I64);
        add_axis(c, e, sym);
        break;
    case SYM_PARAM:
    case SYM_TEMP:
        check_tensor_name(c, e);
        break;
    case SYM_LET:
        check_let_name(c, e);
        break;
    case SYM_FORMAT:
        wrong_use(c, e, "a format");
        break;
    case SYM_FN:
        wrong_use(c, e, "a function");
        break;
    case SYM_MODULE:
        wrong_use(c, e, "a module");
        break;
    }
}

static void check_name(checker *c, ast_expr *e) {
    if (e->sym == NULL) {
        e->sym = scope_find(c, e->name);
    }
    if (e->sym == NULL) {
        report_unknown(c, e->name, e->span, NULL);
        set_poison(e);
        return;
    }
    check_symbol(c, e);
}

// --- operators ---

bool check_value(checker *c, ast_expr *e) {
    check_expr(c, e);
    if (is_poison(e)) {
        return false;
    }
    if (e->type == NULL) {
        diag_report(c->d, DIAG_ERROR, "E103", e->span,
                    "'%s' is a record, not a value: name one of its fields", expr_text(c->mem, e));
        set_poison(e);
        return false;
    }
    if (e->kind == EX_MEMBER && e->field != NULL) {
        diag_report(c->d, DIAG_ERROR, "D104", e->span, "'%s' is a table: it needs a subscript",
                    expr_text(c->mem, e));
        set_poison(e);
        return false;
    }
    return true;
}

static void report_scaled(checker *c, ast_expr *e, const ast_expr *operand) {
    const char *text = expr_text(c->mem, operand);
    diag_report(
        c->d, DIAG_ERROR, "E104", operand->span,
        "'%s' is %s, data and scales together: only a product that a '+=' sums may use it as it is",
        text, operand->type->name);
    diag_fix(c->d, operand->span, arena_printf(c->mem, "f32(%s)", text),
             "multiply data and scales out");
    set_poison(e);
}

// A whole number that is not known at compile time does not turn into a float by itself.
static bool refuse_int(checker *c, ast_expr *e, const ast_expr *operand) {
    if (!is_int_type(operand->type) || operand->is_const || size_is_static(operand)) {
        return false;
    }
    const char *text = expr_text(c->mem, operand);
    diag_report(c->d, DIAG_ERROR, "E103", operand->span, "'%s' is %s, the other operand a float",
                text, operand->type->name);
    diag_fix(c->d, operand->span, arena_printf(c->mem, "f32(%s)", text), "convert it");
    set_poison(e);
    return true;
}

static const ast_format *wider_int(const ast_expr *a, const ast_expr *b) {
    bool a_fits = size_is_static(a) || a->type->elem == ELEM_I32;
    bool b_fits = size_is_static(b) || b->type->elem == ELEM_I32;
    return std_plain_format(a_fits && b_fits ? ELEM_I32 : ELEM_I64);
}

// Type of two operands that meet in one operation; NULL after a report.
static const ast_format *unify(checker *c, ast_expr *e, const ast_expr *a, const ast_expr *b) {
    if (is_scaled(a->type) || is_scaled(b->type)) {
        report_scaled(c, e, is_scaled(a->type) ? a : b);
        return NULL;
    }
    if (is_int_type(a->type) && is_int_type(b->type)) {
        return wider_int(a, b);
    }
    if (is_bool_type(a->type) != is_bool_type(b->type)) {
        diag_report(c->d, DIAG_ERROR, "E103", e->span, "'%s' and '%s' are of types %s and %s",
                    expr_text(c->mem, a), expr_text(c->mem, b), a->type->name, b->type->name);
        set_poison(e);
        return NULL;
    }
    if (is_bool_type(a->type)) {
        return a->type;
    }
    return refuse_int(c, e, a) || refuse_int(c, e, b) ? NULL : std_plain_format(ELEM_F32);
}

static bool is_logic(ast_op op) {
    return op == OP_AND || op == OP_OR || op == OP_NOT;
}

static bool is_comparison(ast_op op) {
    return op >= OP_LT && op <= OP_NE; // ORDER ast_op
}

static bool is_int_only(ast_op op) {
    return op == OP_MOD || (op >= OP_BITAND && op <= OP_SHR) || op == OP_BITNOT; // ORDER ast_op
}

static void wrong_operand(checker *c, ast_expr *e, const ast_expr *operand, const char *wanted) {
    diag_report(c->d, DIAG_ERROR, "E103", operand->span, "'%s' is %s, but the operator takes %s",
                expr_text(c->mem, operand), operand->type->name, wanted);
    set_poison(e);
}

static void fold_int(checker *c, ast_expr *e, const ast_expr *a, const ast_expr *b) {
    int64_t value;
    size_status status = size_apply(e->op, a->ivalue, b == NULL ? 0 : b->ivalue, &value);
    if (status != SIZE_OK) {
        diag_report(c->d, DIAG_ERROR, status == SIZE_DIV_ZERO ? "C103" : "C102", e->span, "'%s' %s",
                    expr_text(c->mem, e), size_complaint(status));
        set_poison(e);
        return;
    }
    const ast_format *type = e->type;
    set_int(e, value);
    if (is_bool_type(type)) {
        e->type = type;
    }
}

static double as_float(const ast_expr *e) {
    return is_int_type(e->type) ? (double)e->ivalue : e->fvalue;
}

static void fold_float(ast_expr *e, const ast_expr *a, const ast_expr *b) {
    double x = as_float(a);
    double y = b == NULL ? 0 : as_float(b);
    switch (e->op) {
    case OP_ADD:
        set_float(e, (float)(x + y));
        break;
    case OP_SUB:
        set_float(e, (float)(x - y));
        break;
    case OP_MUL:
        set_float(e, (float)(x * y));
        break;
    case OP_DIV:
        set_float(e, (float)(x / y));
        break;
    case OP_NEG:
        set_float(e, -x);
        break;
    default:
        break;
    }
}

// Replaces a constant operation by its value. A division by a zero that is only known later is
// found when the sizes get their values.
static void fold(checker *c, ast_expr *e) {
    const ast_expr *b = e->kind == EX_BINARY ? e->b : NULL;
    bool divides = e->op == OP_DIV || e->op == OP_MOD;
    if (divides && b != NULL && b->is_const && is_int_type(b->type) && b->ivalue == 0 &&
        is_int_type(e->type)) {
        diag_report(c->d, DIAG_ERROR, "C103", e->span, "'%s' divides by zero",
                    expr_text(c->mem, e));
        set_poison(e);
        return;
    }
    if (!e->a->is_const || (b != NULL && !b->is_const)) {
        return;
    }
    bool ints = !is_plain_float(e->a->type) && (b == NULL || !is_plain_float(b->type));
    if (ints && (is_int_type(e->type) || is_bool_type(e->type))) {
        fold_int(c, e, e->a, b);
    } else if (is_plain_float(e->type)) {
        fold_float(e, e->a, b);
    }
}

static void check_unary(checker *c, ast_expr *e) {
    if (!check_value(c, e->a)) {
        set_poison(e);
        return;
    }
    const ast_format *type = e->a->type;
    add_axes_of(c, e, e->a);
    if (is_scaled(type)) {
        report_scaled(c, e, e->a);
    } else if (is_logic(e->op) != is_bool_type(type)) {
        wrong_operand(c, e, e->a, is_logic(e->op) ? "a condition" : "a number");
    } else if (is_int_only(e->op) && !is_int_type(type)) {
        wrong_operand(c, e, e->a, "whole numbers");
    } else {
        e->type = is_plain_float(type) ? std_plain_format(ELEM_F32) : type;
        fold(c, e);
    }
}

// A product of two slices that a '+=' sums: the one place for scaled operands.
static bool is_summed_product(const checker *c, const ast_expr *e) {
    return e == c->product && e->op == OP_MUL;
}

static bool is_data(const ast_format *f) {
    return is_scaled(f) || is_plain_float(f);
}

static void check_binary(checker *c, ast_expr *e) {
    bool a_ok = check_value(c, e->a);
    bool b_ok = check_value(c, e->b);
    if (!a_ok || !b_ok) {
        set_poison(e);
        return;
    }
    const ast_expr *a = e->a;
    const ast_expr *b = e->b;
    add_axes_of(c, e, a);
    add_axes_of(c, e, b);
    if (is_poison(e)) {
        return;
    }
    if (is_summed_product(c, e) && is_data(a->type) && is_data(b->type)) {
        e->type = std_plain_format(ELEM_F32);
        fold(c, e);
        return;
    }
    const ast_format *type = unify(c, e, a, b);
    if (type == NULL) {
        return;
    }
    if (is_logic(e->op) != is_bool_type(type) &&
        !(is_bool_type(type) && (e->op == OP_EQ || e->op == OP_NE))) {
        wrong_operand(c, e, a, is_logic(e->op) ? "conditions" : "numbers");
        return;
    }
    if (is_int_only(e->op) && !is_int_type(type)) {
        wrong_operand(c, e, is_int_type(a->type) ? b : a, "whole numbers");
        return;
    }
    e->type = is_comparison(e->op) ? std_plain_format(ELEM_BOOL) : type;
    fold(c, e);
}

// c ? a : b
static void check_select(checker *c, ast_expr *e) {
    bool ok = check_value(c, e->args[0]);
    ok = check_value(c, e->a) && ok;
    ok = check_value(c, e->b) && ok;
    if (!ok) {
        set_poison(e);
        return;
    }
    add_axes_of(c, e, e->args[0]);
    add_axes_of(c, e, e->a);
    add_axes_of(c, e, e->b);
    if (is_poison(e)) {
        return;
    }
    if (!is_bool_type(e->args[0]->type)) {
        diag_report(c->d, DIAG_ERROR, "E106", e->args[0]->span, "'%s' is %s, not a condition",
                    expr_text(c->mem, e->args[0]), e->args[0]->type->name);
        set_poison(e);
        return;
    }
    const ast_format *type = unify(c, e, e->a, e->b);
    if (type == NULL) {
        return;
    }
    e->type = type;
    if (e->args[0]->is_const && e->a->is_const && e->b->is_const) {
        const ast_expr *chosen = e->args[0]->ivalue != 0 ? e->a : e->b;
        e->is_const = true;
        e->ivalue = chosen->ivalue;
        e->fvalue = as_float(chosen);
    }
}

// sum[i](a), max[i](a), min[i](a)
static void check_reduce(checker *c, ast_expr *e) {
    bool ok = check_value(c, e->a);
    e->index = scope_find(c, e->index_name);
    if (e->index == NULL) {
        report_unknown(c, e->index_name, e->name_span, NULL);
        set_poison(e);
        return;
    }
    if (e->index->kind != SYM_INDEX) {
        diag_report(c->d, DIAG_ERROR, "D110", e->name_span, "'%s' is not an index", e->index_name);
        diag_note(c->d, e->index->span, "'%s' is declared here", e->index_name);
        ok = false;
    }
    if (!ok) {
        set_poison(e);
        return;
    }
    if (is_scaled(e->a->type) || is_bool_type(e->a->type)) {
        if (is_scaled(e->a->type)) {
            report_scaled(c, e, e->a);
        } else {
            wrong_operand(c, e, e->a, "numbers");
        }
        return;
    }
    if (!has_axis(e->a, e->index)) {
        diag_report(c->d, DIAG_ERROR, "D110", e->name_span, "'%s' does not vary with '%s'",
                    expr_text(c->mem, e->a), e->index_name);
        set_poison(e);
        return;
    }
    e->type = is_int_type(e->a->type) ? e->a->type : std_plain_format(ELEM_F32);
    e->n_whole = e->a->n_whole;
    e->whole = e->a->whole;
    e->paired = e->a->paired == e->index ? NULL : e->a->paired;
    for (int i = 0; i < e->a->n_axes; i++) {
        if (e->a->axes[i] != e->index) {
            add_axis(c, e, e->a->axes[i]);
        }
    }
}

static bool is_accumulator_format(const ast_format *f) {
    return !is_scaled(f) && (f->elem == ELEM_F32 || elem_is_int(f->elem));
}

// zero f32[m, n]
static void check_zero(checker *c, ast_expr *e) {
    if (e != c->zero) {
        diag_report(c->d, DIAG_ERROR, "V104", e->span, "an accumulator needs a name");
        diag_help(c->d, "let NAME = %s;", expr_text(c->mem, e));
        set_poison(e);
        return;
    }
    e->format = find_format(c, e->name, e->name_span);
    e->type = e->format;
    if (e->type != &poison && !is_accumulator_format(e->format)) {
        diag_report(c->d, DIAG_ERROR, "E105", e->name_span, "an accumulator cannot be %s", e->name);
        diag_because(c->d, "sums are kept in f32, i32 or i64 and converted when they are stored");
        diag_fix(c->d, e->name_span, "f32", "accumulate in");
        set_poison(e);
    }
    for (int i = 0; i < e->n_args; i++) {
        ast_expr *axis = e->args[i];
        check_expr(c, axis);
        if (is_poison(axis)) {
            set_poison(e);
        } else if (axis->sym->kind != SYM_INDEX || has_axis(e, axis->sym)) {
            diag_report(c->d, DIAG_ERROR, "D110", axis->span,
                        axis->sym->kind != SYM_INDEX ? "'%s' is not an index"
                                                     : "'%s' is an axis already",
                        axis->name);
            set_poison(e);
        } else {
            add_axis(c, e, axis->sym);
        }
    }
}

void check_expr(checker *c, ast_expr *e) {
    switch (e->kind) {
    case EX_INT:
        set_int(e, e->ivalue);
        break;
    case EX_FLOAT:
        set_float(e, e->fvalue);
        break;
    case EX_NAME:
        check_name(c, e);
        break;
    case EX_MEMBER:
        check_member(c, e);
        break;
    case EX_UNARY:
        check_unary(c, e);
        break;
    case EX_BINARY:
        check_binary(c, e);
        break;
    case EX_CALL:
        check_call(c, e);
        break;
    case EX_INDEX:
        check_index(c, e, false);
        break;
    case EX_REDUCE:
        check_reduce(c, e);
        break;
    case EX_SELECT:
        check_select(c, e);
        break;
    case EX_ZERO:
        check_zero(c, e);
        break;
    case EX_ALL:
    case EX_ERROR:
        set_poison(e);
        break;
    }
}
