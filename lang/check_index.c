// Subscripts: which index may walk which axis (D101), and what else may stand between '[' and ']'.
//
// An axis is walked by an index of its dimension, left whole by ':', or picked by a number: a
// constant, a 'const' scalar, an entry of a 'const' tensor or of a record. 'j / 2' walks an axis at
// half the pace; that the sizes fit, and that a constant lies inside, become where clauses of the
// kernel. 'm / S * S' is the first of the S places that 'm' lies among.
#include "check.h"

#include <string.h>

void check_reads(checker *c, const ast_expr *e, ast_sym *sym) {
    bool is_temp = sym->kind == SYM_TEMP || sym->mode == MODE_TEMP;
    if (is_temp && sym->writer == NULL && !sym->is_bad) {
        diag_report(c->d, DIAG_ERROR, "O106", e->span,
                    "temp '%s' is read before anything writes it", sym->name);
        diag_note(c->d, sym->span, "'%s' is declared here", sym->name);
        sym->is_bad = true;
    } else if (sym->kind == SYM_PARAM && sym->mode == MODE_OUT) {
        diag_report(c->d, DIAG_ERROR, "O105", e->span, "output '%s' is read", sym->name);
        diag_note(c->d, sym->type_span, "declare it 'inout' to read what the caller left in it");
        diag_help(c->d, "keep the value in a 'let', or make '%s' inout", sym->name);
    }
}

ast_sym *tensor_of(const ast_expr *e) {
    const ast_expr *base = e->kind == EX_INDEX ? e->a : e;
    if (base->kind == EX_CALL && base->call == CALL_PEER && base->n_args == 2) {
        base = base->args[0];
    }
    bool named = base->kind == EX_NAME && base->sym != NULL;
    return named && (base->sym->kind == SYM_PARAM || base->sym->kind == SYM_TEMP) ? base->sym
                                                                                  : NULL;
}

// What is subscripted: its axes as sizes (tensors, fields) or as indices (tile values).
typedef struct {
    const char *text; // for messages
    int n_axes;
    ast_expr **dims;   // tensors and fields
    ast_sym **indices; // tile values
    ast_sym *sym;      // where it is declared, or NULL
    bool is_target;
} subject;

// 'j / 2': the index and the divisor; NULL if the subscript has another form.
static ast_sym *divided_index(const ast_expr *e, const ast_expr **divisor) {
    if (e->kind != EX_BINARY || e->op != OP_DIV || e->a->kind != EX_NAME || e->a->sym == NULL ||
        e->a->sym->kind != SYM_INDEX) {
        return NULL;
    }
    *divisor = e->b;
    return e->a->sym;
}

// 'm / S * S': the index; NULL if the subscript has another form.
static ast_sym *rounded_index(const ast_expr *e) {
    const ast_expr *divisor;
    if (e->kind != EX_BINARY || e->op != OP_MUL || !size_is_static(e->b)) {
        return NULL;
    }
    ast_sym *index = divided_index(e->a, &divisor);
    return index != NULL && size_equal(divisor, e->b) ? index : NULL;
}

// 'n + (n + R) / (L + R) * G': made of one index and numbers known at compile time;
// NULL: of anything else.
ast_sym *mapped_index(const ast_expr *e) {
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_INDEX) {
        return e->sym;
    }
    bool arithmetic =
        e->kind == EX_BINARY && (e->op == OP_ADD || e->op == OP_SUB || e->op == OP_MUL ||
                                 e->op == OP_DIV || e->op == OP_MOD);
    if (!arithmetic || is_poison(e)) {
        return NULL;
    }
    ast_sym *a = mapped_index(e->a);
    ast_sym *b = mapped_index(e->b);
    bool known = (a != NULL || size_is_static(e->a)) && (b != NULL || size_is_static(e->b));
    if (!known || (a != NULL && b != NULL && a != b)) {
        return NULL;
    }
    return a != NULL ? a : b;
}

// Proposes the subscripts with an index of the right dimension on each axis that has a wrong one.
static void propose_subscripts(checker *c, const ast_expr *e, const subject *s) {
    sym_list used = {0};
    for (int i = 0; i < e->n_args; i++) {
        const ast_sym *sym = e->args[i]->kind == EX_NAME ? e->args[i]->sym : NULL;
        if (sym != NULL && sym->kind == SYM_INDEX && size_equal(sym->dim, s->dims[i])) {
            sym_add(c, &used, (ast_sym *)sym);
        }
    }
    const char *text = arena_printf(c->mem, "%s[", expr_text(c->mem, e->a));
    for (int i = 0; i < e->n_args; i++) {
        const ast_expr *arg = e->args[i];
        const char *part = expr_text(c->mem, arg);
        bool is_index = arg->kind == EX_NAME && arg->sym != NULL && arg->sym->kind == SYM_INDEX;
        if (is_index && !size_equal(arg->sym->dim, s->dims[i])) {
            ast_sym *right = index_that_walks(c, s->dims[i], &used);
            if (right == NULL) {
                diag_because(c->d, "no index here walks %s", expr_text(c->mem, s->dims[i]));
                return;
            }
            sym_add(c, &used, right);
            part = right->name;
        }
        text = arena_printf(c->mem, "%s%s%s", text, i > 0 ? ", " : "", part);
    }
    diag_fix(c->d, e->span, arena_printf(c->mem, "%s]", text),
             "subscript each axis with an index of its dimension");
}

static void report_walk(checker *c, ast_expr *e, int axis, const subject *s, const ast_sym *index) {
    ast_expr *arg = e->args[axis];
    diag_report(c->d, DIAG_ERROR, "D101", arg->span,
                "'%s' walks dimension %s, but axis %d of '%s' is %s", index->name,
                expr_text(c->mem, index->dim), axis, s->text, expr_text(c->mem, s->dims[axis]));
    diag_label(c->d, "an index of %s is needed", expr_text(c->mem, s->dims[axis]));
    propose_subscripts(c, e, s);
    set_poison(e);
}

static ast_expr *new_binary(checker *c, ast_op op, ast_expr *a, ast_expr *b) {
    ast_expr *e = check_new_expr(c, EX_BINARY, b->span);
    e->op = op;
    e->a = a;
    e->b = b;
    bool tells = (op >= OP_LT && op <= OP_NE) || op == OP_AND;
    e->type = std_plain_format(tells ? ELEM_BOOL : ELEM_I64);
    return e;
}

static void imply_where(checker *c, ast_expr *clause) {
    ast_kernel *k = c->kernel;
    for (int i = 0; i < k->n_where; i++) {
        if (size_equal(k->where[i], clause)) {
            return;
        }
    }
    if (k->n_where >= c->cap_where) {
        c->cap_where = k->n_where * 2 + 4;
        ast_expr **more = ARENA_ARRAY(c->mem, ast_expr *, c->cap_where);
        for (int i = 0; i < k->n_where; i++) {
            more[i] = k->where[i];
        }
        k->where = more;
    }
    k->where[k->n_where++] = clause;
}

// 'j / 2' on an axis of size d stays inside, and reaches all of it, where d * 2 == J. An index that
// walks in tiles of BK names a place a tile at 'k / BK', the last one perhaps cut: K <= d * BK < K
// + BK; and so may the last place be that is only read.
static void add_implied_where(checker *c, const ast_expr *arg, ast_expr *dim, const ast_sym *index,
                              bool is_target) {
    ast_expr *reached = new_binary(c, OP_MUL, dim, arg->b);
    ast_expr *clause = new_binary(c, OP_EQ, reached, index->dim);
    if (!is_target || size_equal(index->tile, arg->b)) {
        ast_expr *most = new_binary(c, OP_ADD, index->dim, arg->b);
        clause = new_binary(c, OP_AND, new_binary(c, OP_GE, reached, index->dim),
                            new_binary(c, OP_LT, reached, most));
    }
    clause->span = arg->span;
    imply_where(c, clause);
}

static ast_expr *at_the_end(checker *c, const ast_expr *e, const ast_sym *index) {
    ast_expr *out = ARENA_NEW(c->mem, ast_expr);
    *out = e->kind == EX_NAME && e->sym == index ? *index->dim : *e;
    out->n_axes = 0;
    if (e->kind == EX_BINARY) {
        out->a = at_the_end(c, e->a, index);
        out->b = at_the_end(c, e->b, index);
    }
    return out;
}

// A map of an index reaches the place of its dimension's end just behind the axis: what a tile
// covers beyond the dimension then lies beyond the axis as well, as maps that are admitted increase
// (plan_expr.c, map_axis).
static bool check_mapped(checker *c, const ast_expr *arg, ast_expr *dim, const ast_sym *index) {
    if (index->tile == NULL || index->lo != NULL || index->group != NULL ||
        index->walk != WALK_TILE) {
        diag_report(c->d, DIAG_ERROR, "O107", arg->span,
                    "'%s' maps '%s', which does not walk all of a dimension in tiles",
                    expr_text(c->mem, arg), index->name);
        return false;
    }
    ast_expr *end = at_the_end(c, arg, index);
    if (!size_equal(dim, end)) {
        ast_expr *clause = new_binary(c, OP_EQ, dim, end);
        clause->span = arg->span;
        imply_where(c, clause);
    }
    return true;
}

// An index that walks an axis at a fraction of its pace; false after a report.
static bool check_divided(checker *c, ast_expr *e, int axis, const subject *s, ast_sym *index) {
    const ast_expr *arg = e->args[axis];
    int64_t by;
    bool is_one = size_value(arg->b, NULL, &by) == SIZE_OK && by == 1;
    if (size_equal(index->dim, s->dims[axis]) && !is_one) {
        diag_report(c->d, DIAG_ERROR, "D101", arg->span,
                    "'%s' walks %s / %s places, but axis %d of '%s' is %s", expr_text(c->mem, arg),
                    expr_text(c->mem, index->dim), expr_text(c->mem, arg->b), axis, s->text,
                    expr_text(c->mem, s->dims[axis]));
        diag_fix(c->d, arg->span, index->name, "walk all of the axis");
        return false;
    }
    add_implied_where(c, arg, s->dims[axis], index, s->is_target);
    return true;
}

static bool name_is_const(const ast_sym *sym) {
    if (sym == NULL || sym->kind == SYM_TEMP) {
        return sym == NULL;
    }
    if (sym->kind == SYM_LET) {
        return sym->reads_const;
    }
    return sym->kind != SYM_PARAM || sym->mode == MODE_CONST || sym->n_dims == 0;
}

// True when the value comes from tables that nothing changes while the kernel runs.
bool reads_only_const(const ast_expr *e) {
    switch (e->kind) {
    case EX_NAME:
        return name_is_const(e->sym);
    case EX_MEMBER:
        return true;
    case EX_INDEX:
    case EX_CALL:
        for (int i = 0; i < e->n_args; i++) {
            if (!reads_only_const(e->args[i])) {
                return false;
            }
        }
        return e->kind == EX_CALL || reads_only_const(e->a);
    case EX_UNARY:
    case EX_REDUCE:
        return reads_only_const(e->a);
    case EX_BINARY:
        return reads_only_const(e->a) && reads_only_const(e->b);
    case EX_SELECT:
        return reads_only_const(e->args[0]) && reads_only_const(e->a) && reads_only_const(e->b);
    default:
        return true;
    }
}

// Whether an expression is the same all over a tile of the index: it asks for the tile's number
// only, 'index / TILE'.
static bool is_of_tile(const ast_expr *e, const ast_sym *index) {
    const ast_expr *divisor = NULL;
    if (e == NULL || (divided_index(e, &divisor) == index && size_equal(index->tile, divisor))) {
        return true;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET) {
        return is_of_tile(e->sym->stmt->value, index);
    }
    bool is = (e->kind != EX_NAME || e->sym != index) && is_of_tile(e->a, index) &&
              is_of_tile(e->b, index);
    for (int i = 0; i < e->n_args && is; i++) {
        is = is_of_tile(e->args[i], index);
    }
    return is;
}

void check_uniform(checker *c, ast_expr *e, const char *what) {
    if (is_poison(e)) {
        return;
    }
    if (!reads_only_const(e)) {
        diag_report(c->d, DIAG_ERROR, "L104", e->span,
                    "%s '%s' is read from memory that may change", what, expr_text(c->mem, e));
        diag_because(c->d, "several roles compute it, and all must see the same value");
        diag_help(c->d, "declare the tensor 'const'");
        set_poison(e);
        return;
    }
    for (int i = 0; i < e->n_axes; i++) {
        const ast_sym *axis = e->axes[i];
        if ((axis->tile != NULL && !is_of_tile(e, axis)) || axis->walk == WALK_ALL) {
            diag_report(c->d, DIAG_ERROR, "V105", e->span,
                        "%s '%s' differs between the elements of a tile", what,
                        expr_text(c->mem, e));
            diag_because(c->d, "'%s' has many values in one tile", axis->name);
            diag_help(c->d, "reduce it: min[%s](...), max[%s](...)", axis->name, axis->name);
            if (axis->tile != NULL) {
                const char *tile = expr_text(c->mem, axis->tile);
                diag_help(c->d, "or take that of the tile's first: '%s / %s * %s'", axis->name,
                          tile, tile);
            }
            set_poison(e);
            return;
        }
    }
}

// A number that picks one place of an axis.
static bool check_pick(checker *c, ast_expr *e, int axis, const subject *s) {
    ast_expr *arg = e->args[axis];
    if (!is_int_type(arg->type)) {
        diag_report(c->d, DIAG_ERROR, "D109", arg->span,
                    "a subscript is an index or a whole number, '%s' is %s", expr_text(c->mem, arg),
                    arg->type->name);
        return false;
    }
    bool gathers = arg->kind == EX_INDEX || arg->kind == EX_NAME || size_is_static(arg);
    if (!gathers || !reads_only_const(arg)) {
        diag_report(c->d, DIAG_ERROR, "D109", arg->span, "'%s' cannot be a subscript",
                    expr_text(c->mem, arg));
        diag_because(c->d, "an axis takes an index, 'index / number', 'index / number * number', "
                           "':', a number, or an entry of a 'const' tensor");
        return false;
    }
    int64_t at;
    int64_t size;
    bool known = size_value(arg, NULL, &at) == SIZE_OK;
    bool sized = size_value(s->dims[axis], NULL, &size) == SIZE_OK;
    if (known && (at < 0 || (sized && at >= size))) {
        diag_report(c->d, DIAG_ERROR, "D111", arg->span,
                    "%lld lies outside of axis %d of '%s', which has %s elements", (long long)at,
                    axis, s->text, expr_text(c->mem, s->dims[axis]));
        return false;
    }
    if (s->sym != NULL && size_is_static(arg) && !(known && sized)) {
        ast_expr *clause = new_binary(c, OP_LT, arg, s->dims[axis]);
        clause->span = arg->span;
        imply_where(c, clause);
    }
    return true;
}

// One subscript of a tensor or a field.
static bool check_subscript(checker *c, ast_expr *e, int axis, const subject *s) {
    ast_expr *arg = e->args[axis];
    if (arg->kind == EX_ALL) {
        ast_expr **whole = ARENA_ARRAY(c->mem, ast_expr *, e->n_whole + 1);
        for (int i = 0; i < e->n_whole; i++) {
            whole[i] = e->whole[i];
        }
        whole[e->n_whole++] = s->dims[axis];
        e->whole = whole;
        return true;
    }
    if (arg->kind == EX_NAME && arg->sym == NULL && scope_find(c, arg->name) == NULL) {
        report_unknown(c, arg->name, arg->span, s->dims[axis]);
        set_poison(arg);
        return false;
    }
    if (!check_value(c, arg)) {
        return false;
    }
    const ast_expr *divisor;
    ast_sym *index = arg->kind == EX_NAME && arg->sym->kind == SYM_INDEX ? arg->sym : NULL;
    if (index != NULL) {
        if (!size_equal(index->dim, s->dims[axis])) {
            report_walk(c, e, axis, s, index);
            return false;
        }
        return true;
    }
    index = divided_index(arg, &divisor);
    if (index != NULL && size_is_static(divisor)) {
        return check_divided(c, e, axis, s, index);
    }
    index = rounded_index(arg);
    if (index != NULL && size_equal(index->dim, s->dims[axis])) {
        return true;
    }
    index = s->is_target ? mapped_index(arg) : NULL;
    if (index != NULL) {
        return check_mapped(c, arg, s->dims[axis], index);
    }
    return check_pick(c, e, axis, s);
}

static void resolve_all(checker *c, ast_expr *e) {
    for (int i = 0; i < e->n_args; i++) { // so that a proposal can name every index
        ast_expr *arg = e->args[i];
        if (arg->kind == EX_NAME && arg->sym == NULL) {
            arg->sym = scope_find(c, arg->name);
        }
    }
}

static void check_subscripts(checker *c, ast_expr *e, const subject *s) {
    resolve_all(c, e);
    bool ok = true;
    for (int i = 0; i < e->n_args && ok; i++) {
        ok = check_subscript(c, e, i, s);
    }
    if (!ok) {
        set_poison(e);
        return;
    }
    for (int i = 0; i < e->n_args; i++) {
        const ast_expr *arg = e->args[i];
        for (int a = 0; a < arg->n_axes; a++) {
            add_axis(c, e, arg->axes[a]);
        }
    }
}

static bool count_axes(checker *c, ast_expr *e, const subject *s) {
    if (e->n_args == s->n_axes) {
        return true;
    }
    diag_report(c->d, DIAG_ERROR, "D104", e->span, "'%s' has %d ax%s, found %d subscript%s",
                s->text, s->n_axes, s->n_axes == 1 ? "is" : "es", e->n_args,
                e->n_args == 1 ? "" : "s");
    if (s->sym != NULL) {
        diag_note(c->d, s->sym->span, "'%s' is declared here", s->sym->name);
    }
    set_poison(e);
    return false;
}

// Subscripts of a tile value are its own indices, in the order in which it has them.
static void check_tile_value(checker *c, ast_expr *e, const subject *s) {
    resolve_all(c, e);
    for (int i = 0; i < e->n_args; i++) {
        ast_expr *arg = e->args[i];
        if (arg->kind == EX_NAME && arg->sym == s->indices[i]) {
            arg->type = std_plain_format(ELEM_I64);
            add_axis(c, arg, arg->sym);
            add_axis(c, e, arg->sym);
            continue;
        }
        if (arg->kind == EX_NAME && arg->sym == NULL) {
            report_unknown(c, arg->name, arg->span, s->indices[i]->dim);
            set_poison(e);
            return;
        }
        diag_report(
            c->d, DIAG_ERROR, "D101", arg->span, "'%s' is not '%s', the index of axis %d of '%s'",
            arg->kind == EX_ALL ? ":" : expr_text(c->mem, arg), s->indices[i]->name, i, s->text);
        const char *text = arena_printf(c->mem, "%s[", s->text);
        for (int k = 0; k < s->n_axes; k++) {
            text = arena_printf(c->mem, "%s%s%s", text, k > 0 ? ", " : "", s->indices[k]->name);
        }
        diag_fix(c->d, e->span, arena_printf(c->mem, "%s]", text),
                 "a tile value keeps its indices");
        set_poison(e);
        return;
    }
}

static void index_let(checker *c, ast_expr *e) {
    ast_sym *sym = e->a->sym;
    const ast_expr *value = sym->stmt->value;
    if (sym->is_bad || is_poison(value)) {
        set_poison(e);
        return;
    }
    if (sym->record != NULL || value->n_whole > 0) {
        diag_report(c->d, DIAG_ERROR, "D105", e->span, "'%s' cannot be subscripted", sym->name);
        set_poison(e);
        return;
    }
    subject s = {.text = sym->name, .n_axes = value->n_axes, .indices = value->axes, .sym = sym};
    e->a->type = value->type;
    if (count_axes(c, e, &s)) {
        e->type = value->type;
        e->paired = value->paired;
        check_tile_value(c, e, &s);
    }
}

static void index_tensor(checker *c, ast_expr *e, ast_sym *sym, bool is_target) {
    subject s = {.text = sym->name,
                 .n_axes = sym->n_dims,
                 .dims = sym->dims,
                 .sym = sym,
                 .is_target = is_target};
    if (sym->is_bad) {
        set_poison(e);
        return;
    }
    if (sym->n_dims == 0) {
        diag_report(c->d, DIAG_ERROR, "D105", e->span, "'%s' is a scalar and has no subscripts",
                    sym->name);
        set_poison(e);
        return;
    }
    if (!count_axes(c, e, &s)) {
        return;
    }
    if (!is_target) {
        check_reads(c, e, sym);
    }
    e->type = sym->format;
    e->a->type = sym->format;
    check_subscripts(c, e, &s);
}

// The ragged dimension that a record's offsets cut; NULL if no 'ragged' uses it.
static const ast_ragged *ragged_by_record(const checker *c, const ast_sym *record) {
    for (int i = 0; i < c->n_ragged; i++) {
        const ast_expr *at = c->ragged[i]->at;
        if (at->kind == EX_MEMBER && at->a->kind == EX_NAME && at->a->sym == record &&
            at->field != NULL && at->field->over == OVER_GROUPS) {
            return c->ragged[i];
        }
    }
    return NULL;
}

// plan.rank[p]
static void index_field(checker *c, ast_expr *e) {
    check_member(c, e->a);
    if (is_poison(e->a)) {
        set_poison(e);
        return;
    }
    const ast_record_field *field = e->a->field;
    const ast_ragged *ragged = ragged_by_record(c, e->a->a->sym);
    if (field == NULL || ragged == NULL) {
        diag_report(c->d, DIAG_ERROR, "D107", e->span,
                    "nothing is ragged at the offsets of '%s' yet", expr_text(c->mem, e->a->a));
        diag_because(c->d, "its tables have an entry for each row of that dimension");
        set_poison(e);
        return;
    }
    ast_expr *size = check_new_expr(c, EX_NAME, e->span);
    size->name = ragged->dim->name;
    size->sym = ragged->dim;
    size->type = std_plain_format(ELEM_I64);
    if (field->over == OVER_GROUPS) {
        ast_expr *one = check_new_expr(c, EX_INT, e->span);
        one->ivalue = 1;
        check_expr(c, one);
        size = check_new_expr(c, EX_BINARY, e->span);
        size->op = OP_ADD;
        size->a = ragged->by;
        size->b = one;
        size->type = std_plain_format(ELEM_I64);
    }
    ast_expr **dims = ARENA_ARRAY(c->mem, ast_expr *, 1);
    dims[0] = size;
    subject s = {.text = expr_text(c->mem, e->a), .n_axes = 1, .dims = dims};
    if (count_axes(c, e, &s)) {
        e->type = std_plain_format(field->elem);
        check_subscripts(c, e, &s);
    }
}

void check_index(checker *c, ast_expr *e, bool is_target) {
    ast_expr *base = e->a;
    if (base->kind == EX_MEMBER) {
        index_field(c, e);
        return;
    }
    if (base->kind == EX_CALL) {
        check_expr(c, base);
        if (is_poison(base)) {
            set_poison(e);
            return;
        }
    } else if (base->kind == EX_NAME) {
        base->sym = base->sym != NULL ? base->sym : scope_find(c, base->name);
        if (base->sym == NULL) {
            report_unknown(c, base->name, base->span, NULL);
            set_poison(e);
            return;
        }
    }
    ast_sym *tensor = tensor_of(e);
    if (tensor != NULL) {
        index_tensor(c, e, tensor, is_target);
        if (base->kind == EX_CALL && !is_poison(e)) {
            add_axes_of(c, e, base);
        }
    } else if (base->kind == EX_NAME && base->sym->kind == SYM_LET) {
        index_let(c, e);
    } else {
        diag_report(c->d, DIAG_ERROR, "D105", base->span, "'%s' cannot be subscripted",
                    expr_text(c->mem, base));
        set_poison(e);
    }
}

// plan.first, module.NAME
void check_member(checker *c, ast_expr *e) {
    ast_sym *sym = e->a->kind == EX_NAME ? scope_find(c, e->a->name) : NULL;
    if (sym != NULL && sym->kind == SYM_MODULE) {
        e->a->sym = sym;
        ast_sym *member = scope_find(c, e->name);
        if (member != NULL && member->kind == SYM_CONST &&
            member->span.file == (uint32_t)sym->ivalue) {
            e->kind = EX_NAME; // a constant by its full name
            e->name = arena_printf(c->mem, "%s.%s", sym->name, e->name);
            e->a = NULL;
            e->sym = member;
            check_expr(c, e);
            return;
        }
        diag_report(c->d, DIAG_ERROR, "D102", e->name_span, "module '%s' has no value '%s'",
                    sym->name, e->name);
        set_poison(e);
        return;
    }
    check_expr(c, e->a);
    if (is_poison(e->a)) {
        set_poison(e);
        return;
    }
    const ast_record *record = e->a->record;
    if (record == NULL) {
        diag_report(c->d, DIAG_ERROR, "D105", e->span, "'%s' has no fields",
                    expr_text(c->mem, e->a));
        set_poison(e);
        return;
    }
    const char *names = "";
    for (int i = 0; i < record->n_fields; i++) {
        if (strcmp(record->fields[i].name, e->name) == 0) {
            e->field = &record->fields[i];
            e->type = std_plain_format(e->field->elem);
            return;
        }
        names = arena_printf(c->mem, "%s%s%s", names, i > 0 ? ", " : "", record->fields[i].name);
    }
    diag_report(c->d, DIAG_ERROR, "D102", e->name_span, "'%s' has no field '%s'", record->name,
                e->name);
    diag_help(c->d, "its fields are %s", names);
    set_poison(e);
}
