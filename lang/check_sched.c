// Compile-time parameters and their values, schedules' heads, where clauses that need no run time.
#include "check.h"

#include <string.h>

static const char *const archs[] = {"sm_90a", "sm_100a", "sm_120a"};

#define N_ARCHS ((int)(sizeof archs / sizeof archs[0]))

// --- compile-time parameters ---

static const lang_define *find_define(const checker *c, const char *name) {
    const lang_define *found = NULL;
    for (int i = 0; i < c->n_defs; i++) {
        if (strcmp(c->defs[i].name, name) == 0) {
            found = &c->defs[i]; // the last one counts
        }
    }
    return found;
}

// Requires that the parameters before this one are declared: a default may be made of them.
static void check_tparam(checker *c, ast_sym *sym) {
    const lang_define *def = find_define(c, sym->name);
    if (sym->init != NULL && check_static(c, sym->init, "the value")) {
        sym->has_value = lang_const_int(sym->init, NULL, &sym->ivalue);
    } else {
        sym->is_bad = sym->init != NULL;
    }
    if (def != NULL) {
        sym->ivalue = def->value;
        sym->has_value = true;
        sym->is_defined = true;
    }
}

void check_tparams(checker *c, ast_kernel *k) {
    for (int i = 0; i < k->n_tparams; i++) {
        k->tparams[i]->id = i;
        check_tparam(c, k->tparams[i]);
        scope_declare(c, k->tparams[i]);
    }
}

static const ast_expr *binding_of(const ast_schedule *sched, const char *name) {
    for (int i = 0; sched != NULL && i < sched->n_with; i++) {
        if (strcmp(sched->with[i].name, name) == 0) {
            return sched->with[i].value;
        }
    }
    return NULL;
}

// A value is what 'with' binds, else what -D gave, else the default, under the values before it.
void lang_tparam_values(const ast_kernel *k, const ast_schedule *sched, int64_t *out) {
    for (int i = 0; i < k->n_tparams; i++) {
        const ast_sym *sym = k->tparams[i];
        const ast_expr *bound = binding_of(sched, sym->name);
        out[i] = sym->ivalue;
        if (bound != NULL) {
            lang_const_int(bound, out, &out[i]);
        } else if (!sym->is_defined && sym->init != NULL) {
            lang_const_int(sym->init, out, &out[i]);
        }
    }
}

// --- values under a schedule ---

static const char *list_values(checker *c, const ast_kernel *k, const int64_t *vals) {
    const char *text = "";
    for (int i = 0; i < k->n_tparams; i++) {
        text = arena_printf(c->mem, "%s%s%s = %lld", text, i > 0 ? ", " : "", k->tparams[i]->name,
                            (long long)vals[i]);
    }
    return text;
}

static void add_values(checker *c, const ast_kernel *k, const ast_schedule *sched,
                       const int64_t *vals) {
    diag_because(c->d, "%s", list_values(c, k, vals));
    if (sched != NULL) {
        diag_note(c->d, sched->arch_span, "with the values of this schedule");
    }
}

static void check_positive(checker *c, const ast_kernel *k, const ast_schedule *sched,
                           const int64_t *vals, const ast_expr *e) {
    int64_t value;
    if (e == NULL || is_poison(e) || !size_is_static(e)) {
        return;
    }
    size_status status = size_value(e, vals, &value);
    if (status != SIZE_OK) {
        diag_report(c->d, DIAG_ERROR, status == SIZE_DIV_ZERO ? "C103" : "C102", e->span, "'%s' %s",
                    expr_text(c->mem, e), size_complaint(status));
        add_values(c, k, sched, vals);
    } else if (value < 1) {
        diag_report(c->d, DIAG_ERROR, "C105", e->span, "'%s' is %lld, a size has to be positive",
                    expr_text(c->mem, e), (long long)value);
        add_values(c, k, sched, vals);
    }
}

static void check_clause(checker *c, const ast_kernel *k, const ast_schedule *sched,
                         const int64_t *vals, const ast_expr *e) {
    int64_t value;
    if (is_poison(e)) {
        return;
    }
    size_status status = size_value(e, vals, &value);
    if (status == SIZE_NOT_CONST) {
        return; // the launcher checks it
    }
    if (status != SIZE_OK) {
        diag_report(c->d, DIAG_ERROR, status == SIZE_DIV_ZERO ? "C103" : "C102", e->span, "'%s' %s",
                    expr_text(c->mem, e), size_complaint(status));
        add_values(c, k, sched, vals);
    } else if (value == 0) {
        diag_report(c->d, DIAG_ERROR, "C104", e->span, "'%s' does not hold", expr_text(c->mem, e));
        add_values(c, k, sched, vals);
    }
}

static void check_values_under(checker *c, const ast_kernel *k, const ast_schedule *sched) {
    int64_t *vals = ARENA_ARRAY(c->mem, int64_t, k->n_tparams);
    for (int i = 0; i < k->n_tparams; i++) {
        const ast_sym *sym = k->tparams[i];
        if (sym->is_bad) {
            return;
        }
        if (!sym->has_value && sym->init == NULL && binding_of(sched, sym->name) == NULL) {
            diag_report(c->d, DIAG_ERROR, "K104", sched != NULL ? sched->head_span : sym->span,
                        "compile-time parameter '%s' has no value", sym->name);
            diag_help(c->d, "give it a default, or -D %s=..., or 'with %s = ...' in the schedule",
                      sym->name, sym->name);
            return;
        }
    }
    lang_tparam_values(k, sched, vals);
    for (int i = 0; i < k->n_indices; i++) {
        check_positive(c, k, sched, vals, k->indices[i]->tile);
        check_positive(c, k, sched, vals, k->indices[i]->dim);
    }
    for (int p = 0; p < k->n_params; p++) {
        for (int i = 0; i < k->params[p]->n_dims; i++) {
            check_positive(c, k, sched, vals, k->params[p]->dims[i]);
        }
    }
    for (int i = 0; i < k->n_where; i++) {
        check_clause(c, k, sched, vals, k->where[i]);
    }
}

// Values that no launch admits are left out, unless they all are.
static void check_variants(checker *c, const ast_kernel *k, const ast_schedule *s) {
    int good = 0;
    diag *kept = c->d;
    for (int i = 0; i < s->n_variants; i++) {
        c->d = diag_new(NULL, 0); // printed nowhere
        check_values_under(c, k, s->variants[i]);
        if (diag_n_errors(c->d) > 0) {
            s->variants[i]->left_out = arena_strdup(c->mem, diag_first(c->d));
        }
        good += diag_n_errors(c->d) == 0;
        diag_free(c->d);
    }
    c->d = kept;
    if (good == 0) {
        check_values_under(c, k, s->variants[0]);
    }
}

void check_where_values(checker *c, ast_kernel *k) {
    bool scheduled = false;
    for (int i = 0; i < c->file->n_schedules; i++) {
        const ast_schedule *s = c->file->schedules[i];
        if (s->kernel == k) {
            scheduled = true;
            if (s->n_variants > 0) {
                check_variants(c, k, s);
            } else {
                check_values_under(c, k, s);
            }
        }
    }
    if (!scheduled) {
        check_values_under(c, k, NULL);
    }
}

// --- schedules ---

static void check_arch(checker *c, const ast_schedule *s) {
    const char *best = NULL;
    int limit = 4;
    for (int i = 0; i < N_ARCHS; i++) {
        int distance = name_distance(s->arch, archs[i]);
        if (distance == 0) {
            return;
        }
        if (distance < limit) {
            limit = distance;
            best = archs[i];
        }
    }
    diag_report(c->d, DIAG_ERROR, "K102", s->arch_span, "there is no target '%s'", s->arch);
    diag_because(c->d, "the targets are sm_90a, sm_100a and sm_120a");
    if (best != NULL) {
        diag_fix(c->d, s->arch_span, best, "a target like it is");
    }
}

static ast_kernel *find_kernel(const checker *c, const char *name) {
    for (int i = 0; i < c->file->n_kernels; i++) {
        if (strcmp(c->file->kernels[i]->name, name) == 0) {
            return c->file->kernels[i];
        }
    }
    return NULL;
}

static bool find_schedule_kernel(checker *c, ast_schedule *s) {
    s->kernel = find_kernel(c, s->kernel_name);
    if (s->kernel != NULL) {
        return true;
    }
    diag_report(c->d, DIAG_ERROR, "K101", s->kernel_span, "there is no kernel '%s'",
                s->kernel_name);
    const char *best = NULL;
    int limit = (int)strlen(s->kernel_name) / 3 + 2;
    for (int i = 0; i < c->file->n_kernels; i++) {
        int distance = name_distance(s->kernel_name, c->file->kernels[i]->name);
        if (distance < limit) {
            limit = distance;
            best = c->file->kernels[i]->name;
        }
    }
    if (best != NULL) {
        diag_fix(c->d, s->kernel_span, best, "a kernel like it is");
    }
    return false;
}

const ast_sym *check_find_tparam(const ast_kernel *k, const char *name) {
    for (int i = 0; i < k->n_tparams; i++) {
        if (strcmp(k->tparams[i]->name, name) == 0) {
            return k->tparams[i];
        }
    }
    return NULL;
}

static const char *tparam_list(checker *c, const ast_kernel *k) {
    const char *text = k->n_tparams == 0 ? "none" : k->tparams[0]->name;
    for (int i = 1; i < k->n_tparams; i++) {
        text = arena_printf(c->mem, "%s, %s", text, k->tparams[i]->name);
    }
    return text;
}

// Only parameters that come before the bound one may be in its value: values are found in order.
static bool uses_later(const ast_expr *e, int id) {
    if (e == NULL) {
        return false;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_TPARAM && e->sym->id >= id) {
        return true;
    }
    for (int i = 0; i < e->n_args; i++) {
        if (uses_later(e->args[i], id)) {
            return true;
        }
    }
    return e->kind != EX_CALL && (uses_later(e->a, id) || uses_later(e->b, id));
}

static void check_binding(checker *c, const ast_schedule *s, int at) {
    const ast_binding *b = &s->with[at];
    const ast_sym *sym = check_find_tparam(s->kernel, b->name);
    if (sym == NULL) {
        diag_report(c->d, DIAG_ERROR, "K103", b->span,
                    "kernel '%s' has no compile-time parameter '%s'", s->kernel->name, b->name);
        diag_because(c->d, "it has %s", tparam_list(c, s->kernel));
        return;
    }
    for (int i = 0; i < at; i++) {
        if (strcmp(s->with[i].name, b->name) == 0) {
            diag_report(c->d, DIAG_ERROR, "D103", b->span, "'%s' is given twice", b->name);
            diag_note(c->d, s->with[i].span, "it is given here already");
        }
    }
    if (!check_static(c, b->value, "the value")) {
        return;
    }
    if (uses_later(b->value, sym->id)) {
        diag_report(c->d, DIAG_ERROR, "C101", b->value->span,
                    "the value of '%s' may use the parameters before it only", b->name);
        set_poison(b->value);
    } else if (sym->is_defined) {
        diag_report(c->d, DIAG_WARNING, "W101", b->span,
                    "'-D %s=%lld' has no effect on this schedule", b->name, (long long)sym->ivalue);
    }
}

static void check_head(checker *c, ast_schedule *s) {
    int mark = scope_mark(c);
    sym_add(c, &c->scope, c->sms); // first: a kernel's own 'sms' hides it
    for (int i = 0; i < s->kernel->n_tparams; i++) {
        sym_add(c, &c->scope, s->kernel->tparams[i]);
    }
    for (int i = 0; i < s->n_with; i++) {
        check_binding(c, s, i);
    }
    for (int i = 0; i < s->kernel->n_dims; i++) {
        sym_add(c, &c->scope, s->kernel->dims[i]);
    }
    for (int i = 0; i < s->kernel->n_params; i++) {
        sym_add(c, &c->scope, s->kernel->params[i]);
    }
    if (s->cost != NULL) {
        check_size(c, s->cost);
    }
    if (s->when != NULL && check_value(c, s->when)) {
        if (!is_bool_type(s->when->type)) {
            diag_report(c->d, DIAG_ERROR, "E106", s->when->span, "'%s' is %s, not a condition",
                        expr_text(c->mem, s->when), s->when->type->name);
        }
    }
    c->scope.n = mark;
}

static void check_same_target(checker *c, const ast_schedule *s, int at) {
    for (int i = 0; i < at; i++) {
        const ast_schedule *other = c->file->schedules[i];
        if (other->kernel == s->kernel && strcmp(other->arch, s->arch) == 0 &&
            other->when == NULL && s->when == NULL && (other->cost == NULL || s->cost == NULL)) {
            diag_report(c->d, DIAG_ERROR, "K105", s->head_span,
                        "kernel '%s' has two schedules for %s", s->kernel->name, s->arch);
            diag_note(c->d, other->head_span, "the other one is here");
            diag_help(c->d,
                      "say which one counts where: schedule %s on %s when ..., or what each costs: "
                      "cost ceildiv(M, BM);",
                      s->kernel->name, s->arch);
            return;
        }
    }
}

static void check_defines(checker *c) {
    for (int d = 0; d < c->n_defs; d++) {
        bool found = c->file->n_kernels == 0;
        for (int i = 0; i < c->file->n_kernels && !found; i++) {
            found = check_find_tparam(c->file->kernels[i], c->defs[d].name) != NULL;
        }
        if (!found) {
            const ast_kernel *k = c->file->kernels[0];
            diag_report(c->d, DIAG_ERROR, "K106", k->name_span,
                        "'-D %s' names no compile-time parameter", c->defs[d].name);
            diag_because(c->d, "kernel '%s' has %s", k->name, tparam_list(c, k));
        }
    }
}

void check_schedules(checker *c) {
    for (int i = 0; i < c->file->n_schedules; i++) {
        ast_schedule *s = c->file->schedules[i];
        check_arch(c, s);
        if (find_schedule_kernel(c, s) && !s->kernel->is_bad) {
            bool expanded = tune_expand(c, s);
            for (int v = 0; v < s->n_variants; v++) {
                check_head(c, s->variants[v]);
            }
            if (expanded && s->n_variants == 0) {
                check_head(c, s);
            }
            check_same_target(c, s, i);
        }
    }
    check_defines(c);
}
