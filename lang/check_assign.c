// Assignments: what may be written, with which format, and that each element is written once.
//
// '+=' sums over the indices that the left side lacks; they are listed in the statement. An output
// has to name every loop index around it, so that no two iterations write the same element (C11).
#include "check.h"

#include <string.h>

static bool check_target_name(checker *c, ast_expr *target) {
    ast_expr *base = target->kind == EX_INDEX ? target->a : target;
    if (target->kind != EX_NAME && target->kind != EX_INDEX) {
        diag_report(c->d, DIAG_ERROR, "V102", target->span, "'%s' cannot be assigned to",
                    expr_text(c->mem, target));
        return false;
    }
    if (base->kind == EX_CALL) {
        return true; // peer(...), or check_index complains
    }
    if (base->kind != EX_NAME) {
        diag_report(c->d, DIAG_ERROR, "V102", base->span, "'%s' cannot be assigned to",
                    expr_text(c->mem, base));
        return false;
    }
    base->sym = scope_find(c, base->name);
    if (base->sym == NULL) {
        report_unknown(c, base->name, base->span, NULL);
        return false;
    }
    return true;
}

static bool refuse_let(checker *c, const ast_expr *target, const ast_sym *sym) {
    if (sym->is_acc || sym->is_bad) {
        return false;
    }
    diag_report(c->d, DIAG_ERROR, "V101", target->span, "'%s' has its value already", sym->name);
    diag_note(c->d, sym->span, "'let' gives it here, once");
    diag_help(c->d, "only an accumulator, made by 'zero', changes its value");
    return true;
}

static bool refuse_input(checker *c, const ast_expr *target, const ast_sym *sym) {
    if (sym->kind != SYM_PARAM || (sym->mode != MODE_IN && sym->mode != MODE_CONST)) {
        return false;
    }
    diag_report(c->d, DIAG_ERROR, "O102", target->span, "input '%s' is written", sym->name);
    diag_note(c->d, sym->type_span, "declare it 'out' or 'inout' here");
    return true;
}

// Resolves the left side; NULL after a report.
static ast_sym *check_target(checker *c, ast_stmt *s) {
    ast_expr *target = s->target;
    if (!check_target_name(c, target)) {
        return NULL;
    }
    ast_expr *base = target->kind == EX_INDEX ? target->a : target;
    if (base->kind == EX_NAME && base->sym->kind == SYM_LET) {
        if (refuse_let(c, target, base->sym)) {
            return NULL;
        }
        check_expr(c, target);
        return is_poison(target) ? NULL : base->sym;
    }
    if (base->kind == EX_NAME && refuse_input(c, target, base->sym)) {
        return NULL;
    }
    bool is_tensor =
        base->kind == EX_CALL || base->sym->kind == SYM_PARAM || base->sym->kind == SYM_TEMP;
    if (!is_tensor || (target->kind == EX_NAME && base->sym->n_dims == 0)) {
        diag_report(c->d, DIAG_ERROR, "V102", target->span, "'%s' cannot be assigned to",
                    expr_text(c->mem, target));
        diag_note(c->d, base->sym->span, "'%s' is declared here", base->sym->name);
        return NULL;
    }
    if (target->kind == EX_NAME) {
        check_expr(c, target); // says that subscripts are missing
        return NULL;
    }
    check_index(c, target, true);
    ast_sym *sym = tensor_of(target);
    return is_poison(target) || sym == NULL || refuse_input(c, target, sym) ? NULL : sym;
}

// --- formats ---

static void report_format(checker *c, const ast_stmt *s, const ast_format *want) {
    const ast_expr *value = s->value;
    const char *text = expr_text(c->mem, value);
    diag_report(c->d, DIAG_ERROR, "E103", value->span, "'%s' holds %s, but the value is %s",
                expr_text(c->mem, s->target), want->name, value->type->name);
    if (is_bool_type(want) || is_bool_type(value->type)) {
        return;
    }
    const char *fix = arena_printf(c->mem, "%s(%s)", want->name, text);
    if (value->kind == EX_CALL && value->call == CALL_CONVERT && value->n_args == 1) {
        fix = arena_printf(c->mem, "%s(%s)", want->name, expr_text(c->mem, value->args[0]));
    }
    diag_fix(c->d, value->span, fix, "convert it");
}

static void check_stored_format(checker *c, const ast_stmt *s, const ast_format *want) {
    const ast_expr *value = s->value;
    bool fits = format_equal(want, value->type);
    if (is_int_type(want) && is_int_type(value->type)) {
        fits = fits || value->is_const || size_is_static(value) || want->elem == ELEM_I64;
    } else if (want->elem == ELEM_F32 && !is_scaled(want) && is_int_type(value->type)) {
        fits = value->is_const || size_is_static(value);
    }
    if (!fits) {
        report_format(c, s, want);
    }
}

static void check_summed_format(checker *c, const ast_stmt *s, const ast_format *want) {
    const ast_expr *value = s->value;
    if (is_scaled(want)) {
        diag_report(c->d, DIAG_ERROR, "E105", s->target->span, "'%s' is %s: sums are kept in f32",
                    expr_text(c->mem, s->target), want->name);
    } else if (is_scaled(value->type)) {
        diag_report(c->d, DIAG_ERROR, "E104", value->span, "'%s' is %s, data and scales together",
                    expr_text(c->mem, value), value->type->name);
        diag_fix(c->d, value->span, arena_printf(c->mem, "f32(%s)", expr_text(c->mem, value)),
                 "multiply data and scales out");
    } else if (want->elem != ELEM_F32 || !is_plain_float(value->type)) {
        check_stored_format(c, s, want);
    }
}

// --- shapes ---

static void check_whole(checker *c, const ast_stmt *s) {
    const ast_expr *target = s->target;
    const ast_expr *value = s->value;
    if (value->n_whole != 0 && value->n_whole != target->n_whole) {
        diag_report(c->d, DIAG_ERROR, "D106", value->span,
                    "the value leaves %d axes whole with ':', the left side %d", value->n_whole,
                    target->n_whole);
        return;
    }
    for (int i = 0; i < value->n_whole; i++) {
        if (!size_equal(value->whole[i], target->whole[i])) {
            diag_report(c->d, DIAG_ERROR, "D106", s->span, "the axes behind ':' are %s and %s long",
                        expr_text(c->mem, target->whole[i]), expr_text(c->mem, value->whole[i]));
            return;
        }
    }
}

// The index that a subscript of the left side walks, alone, at half the pace or mapped; NULL: none.
static const ast_sym *walked_index(const ast_expr *arg, bool *halved) {
    *halved = arg->kind == EX_BINARY && arg->op == OP_DIV;
    const ast_expr *name = *halved ? arg->a : arg;
    bool is_index = name->kind == EX_NAME && name->sym != NULL && name->sym->kind == SYM_INDEX;
    if (!is_index && *halved) {
        *halved = false;
    }
    return is_index ? name->sym : mapped_index(arg);
}

// One value for all of a tile of the index: stored at 'k / BK', it writes each element once.
static bool is_one_a_tile(const ast_stmt *s, const ast_sym *index, const ast_expr *divisor) {
    for (int i = 0; i < s->value->n_axes; i++) {
        if (s->value->axes[i] == index) {
            return false;
        }
    }
    bool whole = index->walk != WALK_ALL && index->lo == NULL && index->group == NULL;
    return whole && size_equal(index->tile, divisor);
}

// Each pair of elements gives one (swiglu): the left side has to say so, with 'j / 2', and only
// then.
static void check_pairs(checker *c, const ast_stmt *s) {
    const ast_sym *paired = s->value->paired;
    bool found = paired == NULL;
    for (int i = 0; i < s->target->n_args && s->target->kind == EX_INDEX; i++) {
        const ast_expr *arg = s->target->args[i];
        bool halved;
        const ast_sym *index = walked_index(arg, &halved);
        int64_t by = 0;
        if (index == NULL) {
            continue;
        }
        bool by_two = halved && size_value(arg->b, NULL, &by) == SIZE_OK && by == 2;
        if (index == paired && by_two) {
            found = true;
        } else if (halved && !is_one_a_tile(s, index, arg->b)) {
            diag_report(c->d, DIAG_ERROR, "O107", arg->span,
                        "'%s' writes an element for several '%s'", expr_text(c->mem, arg),
                        index->name);
            diag_because(
                c->d,
                "a value that takes pairs of '%s', such as swiglu's, is stored at '%s / 2', one "
                "for a whole tile of '%s' at '%s' over the tile's elements",
                index->name, index->name, index->name, index->name);
            return;
        }
    }
    if (!found) {
        diag_report(c->d, DIAG_ERROR, "D106", s->value->span,
                    "the value has one element for each pair of '%s'", paired->name);
        diag_because(c->d, "it is stored at '%s / 2'", paired->name);
    }
}

static bool writes_through_peer(const ast_expr *target) {
    return target->kind == EX_INDEX && target->a->kind == EX_CALL;
}

// Subscripts of an output: indices, each once. Through peer(...) rows may be picked by tables.
static bool check_output_subscripts(checker *c, const ast_stmt *s, const ast_sym *sym) {
    const ast_expr *target = s->target;
    for (int i = 0; i < target->n_args; i++) {
        const ast_expr *arg = target->args[i];
        bool halved;
        const ast_sym *index = walked_index(arg, &halved);
        int64_t size;
        if (arg->kind == EX_ALL || writes_through_peer(target)) {
            continue;
        }
        if (index == NULL) {
            bool is_only = size_value(sym->dims[i], NULL, &size) == SIZE_OK && size == 1;
            if (!is_only || !arg->is_const) {
                diag_report(c->d, DIAG_ERROR, "O107", arg->span,
                            "an output is written through its indices, not at '%s'",
                            expr_text(c->mem, arg));
                diag_because(c->d, "each element has to be written exactly once");
                return false;
            }
            continue;
        }
        for (int k = 0; k < i; k++) {
            bool ignored;
            if (walked_index(target->args[k], &ignored) == index) {
                diag_report(c->d, DIAG_ERROR, "O107", arg->span,
                            "'%s' walks two axes of '%s', which writes its diagonal only",
                            index->name, sym->name);
                return false;
            }
        }
    }
    return true;
}

// True when the left side names the index, or an index inside of its group.
static bool names_index(const ast_expr *target, const ast_sym *index) {
    for (int i = 0; i < target->n_axes; i++) {
        if (target->axes[i] == index || target->axes[i]->group == index) {
            return true;
        }
    }
    return false;
}

// Two iterations of a loop whose index the left side lacks would write the same elements.
static void check_coverage(checker *c, const ast_stmt *s, const ast_sym *sym) {
    for (int i = 0; i < c->loops.n; i++) {
        const ast_sym *index = c->loops.items[i];
        if (names_index(s->target, index) || index->at ||
            (s->accumulate && index->walk == WALK_FOR)) {
            continue;
        }
        diag_report(c->d, DIAG_ERROR, "O104", s->target->span,
                    "each iteration of '%s' writes the same elements of '%s'", index->name,
                    sym->name);
        diag_label(c->d, "'%s' is not among the subscripts", index->name);
        diag_note(c->d, index->span, "the loop over '%s' begins here", index->name);
        if (index->walk == WALK_FOR) {
            diag_help(c->d,
                      "move the assignment behind the loop over '%s', or subscript '%s' with it",
                      index->name, sym->name);
        } else {
            diag_help(c->d, "subscript '%s' with '%s', or take '%s' out of the 'tile'", sym->name,
                      index->name, index->name);
        }
        return;
    }
}

static bool has_range(const ast_expr *target) {
    for (int i = 0; i < target->n_axes; i++) {
        if (target->axes[i]->lo != NULL) {
            return true;
        }
    }
    return false;
}

static void check_once(checker *c, const ast_stmt *s, ast_sym *sym) {
    if (sym->writer == NULL) {
        sym->writer = s;
        sym_add(c, &c->written, sym);
    } else if (!s->accumulate && !has_range(s->target) && sym->mode != MODE_INOUT) {
        diag_report(c->d, DIAG_ERROR, "O103", s->target->span, "'%s' is written twice", sym->name);
        diag_note(c->d, sym->writer->target->span, "it is written here already");
    }
}

static void check_output(checker *c, const ast_stmt *s, ast_sym *sym) {
    if (s->accumulate && sym->mode != MODE_INOUT) {
        diag_report(c->d, DIAG_ERROR, "O105", s->target->span, "'+=' reads '%s', which is %s",
                    sym->name, sym->mode == MODE_OUT ? "an output" : "a temp");
        diag_help(c->d, "sum in an accumulator (let s = zero f32[...]) and store it once");
    }
    if (check_output_subscripts(c, s, sym)) {
        check_coverage(c, s, sym);
    }
    check_once(c, s, sym);
}

// Axes of the value that the left side lacks: summed over by '+=', a mistake for '='.
static void check_axes(checker *c, ast_stmt *s, const ast_sym *sym) {
    sym_list lacking = {0};
    for (int i = 0; i < s->value->n_axes; i++) {
        ast_sym *axis = s->value->axes[i];
        if (has_axis(s->target, axis) || (!s->accumulate && names_index(s->target, axis))) {
            continue;
        }
        if (axis->tile == NULL && axis->walk != WALK_ALL &&
            (!s->accumulate || names_index(s->target, axis))) {
            continue; // one element at a time: the value does not vary inside of a tile
        }
        sym_add(c, &lacking, axis);
    }
    if (s->accumulate) {
        s->n_contracted = lacking.n;
        s->contracted = lacking.items;
        return;
    }
    if (lacking.n > 0) {
        const ast_sym *axis = lacking.items[0];
        diag_report(c->d, DIAG_ERROR, "D112", s->value->span,
                    "the value varies with '%s', which '%s' lacks", axis->name,
                    expr_text(c->mem, s->target));
        diag_because(c->d, "only '+=' into an accumulator sums over what the left side lacks");
        diag_help(c->d, "reduce it: sum[%s](...)%s", axis->name,
                  sym->kind == SYM_LET ? ", or use '+='" : "");
    }
}

void check_assign(checker *c, ast_stmt *s) {
    ast_sym *sym = check_target(c, s);
    c->product = s->accumulate ? s->value : NULL;
    bool ok = check_value(c, s->value);
    c->product = NULL;
    if (sym == NULL || !ok) {
        ast_sym *tensor = tensor_of(s->target);
        if (tensor != NULL &&
            tensor->writer == NULL) { // no second complaint that nothing writes it
            tensor->writer = s;
            sym_add(c, &c->written, tensor);
        }
        return;
    }
    const ast_format *want = s->target->type;
    if (s->accumulate) {
        check_summed_format(c, s, want);
    } else {
        check_stored_format(c, s, want);
    }
    check_whole(c, s);
    check_pairs(c, s);
    check_axes(c, s, sym);
    if (sym->kind != SYM_LET) {
        check_output(c, s, sym);
    }
}
