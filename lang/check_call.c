// Calls. The callee decides what a call is: a function of the file, a built-in function, a format
// (a conversion), peer(X, rank), or a function of a module.
#include "check.h"

#include <string.h>

static bool count_is(checker *c, ast_expr *e, int least, int most, const char *name) {
    if (e->n_args >= least && e->n_args <= most) {
        return true;
    }
    if (least == most) {
        diag_report(c->d, DIAG_ERROR, "N102", e->span, "'%s' takes %d argument%s, found %d", name,
                    most, most == 1 ? "" : "s", e->n_args);
    } else {
        diag_report(c->d, DIAG_ERROR, "N102", e->span, "'%s' takes %d or %d arguments, found %d",
                    name, least, most, e->n_args);
    }
    set_poison(e);
    return false;
}

// Checks the arguments and unites their axes; false if one is wrong.
static bool check_args(checker *c, ast_expr *e) {
    bool ok = true;
    for (int i = 0; i < e->n_args; i++) {
        ok = check_value(c, e->args[i]) && ok;
    }
    for (int i = 0; i < e->n_args && ok; i++) {
        add_axes_of(c, e, e->args[i]);
        ok = !is_poison(e);
    }
    if (!ok) {
        set_poison(e);
    }
    return ok;
}

// An argument that has to be a float: a float, or a whole number known at compile time.
static bool is_float_arg(checker *c, ast_expr *e, const ast_expr *arg) {
    if (is_plain_float(arg->type) || (is_int_type(arg->type) && size_is_static(arg))) {
        return true;
    }
    const char *text = expr_text(c->mem, arg);
    const char *fix = arena_printf(c->mem, "f32(%s)", text);
    if (is_scaled(arg->type)) {
        diag_report(c->d, DIAG_ERROR, "E104", arg->span, "'%s' is %s, data and scales together",
                    text, arg->type->name);
        diag_fix(c->d, arg->span, fix, "multiply data and scales out");
    } else {
        diag_report(c->d, DIAG_ERROR, "E103", arg->span, "'%s' is %s, not a float", text,
                    arg->type->name);
        if (!is_bool_type(arg->type)) {
            diag_fix(c->d, arg->span, fix, "convert it");
        }
    }
    set_poison(e);
    return false;
}

static void check_fn_call(checker *c, ast_expr *e, ast_sym *fn) {
    e->call = CALL_FN;
    e->sym = fn;
    if (fn == c->fn) {
        diag_report(c->d, DIAG_ERROR, "N101", e->span, "'%s' calls itself", fn->name);
        diag_because(c->d, "functions are put in place of their calls, so they cannot recur");
        set_poison(e);
        return;
    }
    if (!count_is(c, e, fn->n_args, fn->n_args, fn->name) || !check_args(c, e)) {
        return;
    }
    for (int i = 0; i < e->n_args; i++) {
        if (!is_float_arg(c, e, e->args[i])) {
            return;
        }
    }
    if (fn->is_bad) {
        set_poison(e);
        return;
    }
    e->type = fn->init->type;
}

static void check_builtin(checker *c, ast_expr *e, builtin_kind b) {
    e->call = CALL_BUILTIN;
    e->builtin = b;
    int arity = builtin_arity(b);
    if (!count_is(c, e, arity, arity, builtin_name(b)) || !check_args(c, e)) {
        return;
    }
    bool ints = b == BI_MIN || b == BI_MAX || b == BI_ABS || b == BI_CLAMP || b == BI_RELU ||
                b == BI_CEILDIV;
    bool wide = false;
    for (int i = 0; i < arity && ints; i++) {
        ints = is_int_type(e->args[i]->type);
        wide = wide || e->args[i]->type->elem == ELEM_I64;
    }
    if (ints) {
        e->type = std_plain_format(wide ? ELEM_I64 : ELEM_I32);
        e->is_const = lang_const_int(e, NULL, &e->ivalue);
        for (int i = 0; i < arity; i++) {
            e->is_const = e->is_const && e->args[i]->is_const;
        }
        return;
    }
    if (b == BI_CEILDIV) {
        diag_report(c->d, DIAG_ERROR, "E103", e->span, "'ceildiv' takes whole numbers");
        set_poison(e);
        return;
    }
    for (int i = 0; i < arity; i++) {
        if (!is_float_arg(c, e, e->args[i])) {
            return;
        }
    }
    e->type = std_plain_format(ELEM_F32);
    if (b == BI_SWIGLU) { // pairs of the last axis: gate and up lie next to each other
        if (e->n_axes == 0 || e->paired != NULL) {
            diag_report(c->d, DIAG_ERROR, "E103", e->span,
                        "'swiglu' takes pairs along an axis, and '%s' has no %s",
                        expr_text(c->mem, e->args[0]), e->n_axes == 0 ? "axis" : "pairs left");
            set_poison(e);
            return;
        }
        e->paired = e->axes[e->n_axes - 1];
    }
}

// bf16(x), nvfp4(x), nvfp4(x, scale)
static void check_convert(checker *c, ast_expr *e, const ast_format *format) {
    e->call = CALL_CONVERT;
    e->format = format;
    bool quantizes = elem_bits(format->elem) <= 8;
    if (!count_is(c, e, 1, quantizes ? 2 : 1, e->name) || !check_args(c, e)) {
        return;
    }
    const ast_expr *x = e->args[0];
    if (is_bool_type(x->type) || is_bool_type(format)) {
        diag_report(c->d, DIAG_ERROR, "E103", e->span, "no conversion from %s to %s", x->type->name,
                    format->name);
        set_poison(e);
        return;
    }
    if (e->n_args == 2 && !is_float_arg(c, e, e->args[1])) {
        return;
    }
    e->type = format;
}

// peer(X, rank): X on another rank. Only a subscript may follow; check_index calls this.
static void check_peer(checker *c, ast_expr *e) {
    e->call = CALL_PEER;
    e->name = "peer";
    if (!count_is(c, e, 2, 2, "peer")) {
        return;
    }
    ast_expr *x = e->args[0];
    if (x->kind == EX_NAME) {
        x->sym = scope_find(c, x->name);
    }
    if (x->kind == EX_NAME && x->sym == NULL) {
        report_unknown(c, x->name, x->span, NULL);
        set_poison(e);
        return;
    }
    if (x->kind != EX_NAME || (x->sym->kind != SYM_PARAM && x->sym->kind != SYM_TEMP) ||
        x->sym->n_dims == 0) {
        diag_report(c->d, DIAG_ERROR, "D105", x->span, "'%s' is not a tensor",
                    expr_text(c->mem, x));
        set_poison(e);
        return;
    }
    if (x->sym->is_bad) {
        set_poison(e);
        return;
    }
    if (!x->sym->shared) {
        diag_report(c->d, DIAG_ERROR, "D105", x->span,
                    "'%s' is not shared: other ranks cannot reach it", x->name);
        diag_note(c->d, x->sym->span, "declare it 'shared' here");
        set_poison(e);
        return;
    }
    ast_expr *rank = e->args[1];
    if (!check_value(c, rank)) {
        set_poison(e);
        return;
    }
    if (!is_int_type(rank->type)) {
        diag_report(c->d, DIAG_ERROR, "E103", rank->span, "a rank is a whole number, '%s' is %s",
                    expr_text(c->mem, rank), rank->type->name);
        set_poison(e);
        return;
    }
    x->type = x->sym->format;
    e->type = x->sym->format;
    add_axes_of(c, e, rank);
}

static void check_module_call(checker *c, ast_expr *e, const ast_record *record) {
    e->call = CALL_MODULE;
    e->record = record;
    if (!count_is(c, e, record->n_args, record->n_args, record->name)) {
        return;
    }
    for (int i = 0; i < e->n_args; i++) { // whole tensors
        ast_expr *x = e->args[i];
        if (x->kind == EX_NAME) {
            x->sym = scope_find(c, x->name);
        }
        if (x->kind != EX_NAME || x->sym == NULL || x->sym->kind != SYM_PARAM ||
            x->sym->mode != MODE_CONST || !is_int_type(x->sym->format)) {
            diag_report(c->d, DIAG_ERROR, "E103", x->span,
                        "'%s' takes a 'const' tensor of whole numbers", record->name);
            set_poison(e);
            return;
        }
        x->type = x->sym->format;
    }
}

static void report_callee(checker *c, ast_expr *e, const char *text) {
    const ast_sym *sym = e->a->kind == EX_NAME ? scope_find(c, e->a->name) : NULL;
    diag_report(c->d, DIAG_ERROR, "N103", e->a->span,
                sym == NULL ? "there is no function '%s'" : "'%s' is not a function", text);
    if (sym != NULL) {
        diag_note(c->d, sym->span, "'%s' is declared here", sym->name);
    }
    const char *best = NULL;
    int limit = (int)strlen(text) / 3 + 2;
    for (int b = 0; b < BI_COUNT && e->a->kind == EX_NAME; b++) {
        int distance = name_distance(text, builtin_name((builtin_kind)b));
        if (distance < limit) {
            limit = distance;
            best = builtin_name((builtin_kind)b);
        }
    }
    if (best != NULL) {
        diag_fix(c->d, e->a->span, best, "a built-in function like it is");
    }
    for (int i = 0; i < e->n_args; i++) {
        if (e->args[i]->kind !=
            EX_NAME) { // a name may be a whole tensor, which is right or wrong as the function is
            check_expr(c, e->args[i]);
        }
    }
    set_poison(e);
}

// A call of module.name(...): the symbol that the module declares, or a record.
static void check_member_call(checker *c, ast_expr *e) {
    const ast_expr *callee = e->a;
    const ast_sym *module = callee->a->kind == EX_NAME ? scope_find(c, callee->a->name) : NULL;
    if (module == NULL || module->kind != SYM_MODULE) {
        report_callee(c, e, expr_text(c->mem, callee));
        return;
    }
    const ast_record *record = std_record(module->name, callee->name);
    if (record != NULL) {
        check_module_call(c, e, record);
        return;
    }
    ast_sym *sym = scope_find(c, callee->name);
    if (sym != NULL && sym->span.file == (uint32_t)module->ivalue && sym->kind == SYM_FN) {
        check_fn_call(c, e, sym);
    } else if (sym != NULL && sym->span.file == (uint32_t)module->ivalue &&
               sym->kind == SYM_FORMAT) {
        check_convert(c, e, sym->fmt);
    } else {
        report_callee(c, e, expr_text(c->mem, callee));
    }
}

void check_call(checker *c, ast_expr *e) {
    const ast_expr *callee = e->a;
    if (callee->kind == EX_MEMBER) {
        check_member_call(c, e);
        return;
    }
    if (callee->kind != EX_NAME) {
        report_callee(c, e, expr_text(c->mem, callee));
        return;
    }
    builtin_kind b;
    for (int i = 0; i < ELEM_COUNT; i++) {
        if (strcmp(callee->name, elem_name((elem_kind)i)) == 0) {
            check_convert(c, e, std_plain_format((elem_kind)i));
            return;
        }
    }
    ast_sym *sym = scope_find(c, callee->name);
    if (builtin_find(callee->name, &b)) {
        check_builtin(c, e, b);
    } else if (strcmp(callee->name, "peer") == 0) {
        check_peer(c, e);
    } else if (sym != NULL && sym->kind == SYM_FN) {
        check_fn_call(c, e, sym);
    } else if (sym != NULL && sym->kind == SYM_FORMAT) {
        check_convert(c, e, sym->fmt);
    } else {
        report_callee(c, e, callee->name);
    }
}
