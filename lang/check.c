// The checker: names, indices, formats, shapes. In: the parser's tree. Out: the same tree with the
// fields marked [checked], or diagnostics. Requires nothing else; leaves the syntactic fields
// alone.
//
// Order: declarations of the file, then each kernel, then the schedules (their heads only), then
// what depends on the values of compile-time parameters under each schedule.
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FN_WEIGHT 10000 // nodes of a function's value, once the calls in it are put in place

// --- constants and functions ---

static void check_const(checker *c, ast_sym *sym) {
    check_expr(c, sym->init);
    if (!is_poison(sym->init) && !sym->init->is_const) {
        diag_report(c->d, DIAG_ERROR, "C101", sym->init->span,
                    "the value of '%s' is not known at compile time", sym->name);
        set_poison(sym->init);
    }
    if (is_poison(sym->init)) {
        sym->is_bad = true;
        return;
    }
    sym->is_float = !is_int_type(sym->init->type) && !is_bool_type(sym->init->type);
    sym->ivalue = sym->init->ivalue;
    sym->fvalue = sym->init->fvalue;
    sym->has_value = true;
}

static int weight_of(const ast_expr *e) {
    if (e == NULL) {
        return 0;
    }
    long weight = 1 + (e->kind == EX_CALL ? 0 : weight_of(e->a)) + weight_of(e->b);
    for (int i = 0; i < e->n_args; i++) {
        weight += weight_of(e->args[i]);
    }
    if (e->kind == EX_CALL && e->call == CALL_FN && e->sym != NULL) {
        weight += e->sym->weight;
    }
    return weight > 2 * MAX_FN_WEIGHT ? 2 * MAX_FN_WEIGHT : (int)weight;
}

static void check_fn(checker *c, ast_sym *sym) {
    int mark = scope_mark(c);
    for (int i = 0; i < sym->n_args; i++) {
        sym->args[i]->id = i;
        scope_declare(c, sym->args[i]);
    }
    c->fn = sym;
    sym->is_bad = !check_value(c, sym->init);
    c->fn = NULL;
    scope_close(c, mark);
    sym->weight = weight_of(sym->init);
    if (!sym->is_bad && sym->weight > MAX_FN_WEIGHT) {
        diag_report(c->d, DIAG_ERROR, "N104", sym->span,
                    "'%s' grows to more than %d operations when its calls are put in place",
                    sym->name, MAX_FN_WEIGHT);
        sym->is_bad = true;
    }
}

static void check_file_syms(checker *c) {
    for (int i = 0; i < c->file->n_syms; i++) {
        ast_sym *sym = c->file->syms[i];
        sym->id = i;
        if (sym->kind == SYM_CONST) {
            check_const(c, sym);
        } else if (sym->kind == SYM_FN) {
            sym_add(c, &c->scope, sym); // visible inside, so that recursion can be named
            check_fn(c, sym);
            c->scope.n--;
        }
        scope_declare(c, sym);
    }
}

// --- parameters ---

static ast_sym *new_dim(checker *c, const ast_expr *e) {
    ast_sym *dim = ARENA_NEW(c->mem, ast_sym);
    dim->kind = SYM_DIM;
    dim->name = e->name;
    dim->span = e->span;
    dim->decl_span = e->span;
    dim->id = c->dims.n;
    sym_add(c, &c->dims, dim);
    scope_declare(c, dim);
    return dim;
}

// Sizes that stand alone as an axis, and that nothing declares, are run-time dimensions.
static void introduce_dims(checker *c, const ast_sym *tensor) {
    for (int i = 0; i < tensor->n_dims; i++) {
        ast_expr *e = tensor->dims[i];
        if (e->kind == EX_NAME && scope_find(c, e->name) == NULL) {
            new_dim(c, e);
        }
    }
}

// The layout of plain elements is that of their matrices, where scales are read and
// written as numbers.
static void check_plain_layout(checker *c, ast_sym *sym) {
    const ast_format *f = sym->format;
    layout_kind l = layout_find(sym->layout);
    bool matrices = sym->n_dims >= 2 || l == LAYOUT_LINEAR;
    if (l == LAYOUT_COUNT || !layout_holds(l, f->elem) || !matrices) {
        diag_report(c->d, DIAG_ERROR, "E108", sym->type_span,
                    "'%s' of %s with %d ax%s cannot lie as '%s'", sym->name, f->name, sym->n_dims,
                    sym->n_dims == 1 ? "is" : "es", sym->layout);
        diag_because(c->d, "matrices of one-byte elements can lie as sf128x4, sf8x4, mn_packed and "
                           "mn_major, wider ones as mn_major, all as linear");
        sym->is_bad = true;
    }
}

// Scales of one byte lie in any layout, f32 ones row by row or column by column.
static void check_scale_layout(checker *c, ast_sym *sym, const ast_format *f) {
    layout_kind l = f->layout != NULL ? layout_find(f->layout) : LAYOUT_LINEAR;
    if (!layout_holds(l, f->scale) && (l != LAYOUT_GGUF || elem_bits(f->scale) != 8)) {
        diag_report(c->d, DIAG_ERROR, "E108", sym->type_span,
                    "the %s scales of '%s' cannot lie as '%s'", elem_name(f->scale), sym->name,
                    f->layout);
        diag_because(c->d, "scales of one byte can lie as sf128x4, sf8x4, mn_packed, mn_major and "
                           "linear, f32 ones as mn_major and linear");
        sym->is_bad = true;
    }
}

static void check_tensor(checker *c, ast_sym *sym) {
    const ast_format *f = find_format(c, sym->type_name, sym->type_span);
    sym->is_bad = f == &poison;
    sym->format = f;
    if (sym->layout != NULL && !sym->is_bad) {
        ast_format *own = ARENA_NEW(c->mem, ast_format);
        *own = *f;
        own->layout = sym->layout;
        sym->format = own;
        if (!is_scaled(f)) {
            check_plain_layout(c, sym);
            own->layout = strcmp(sym->layout, "linear") == 0 ? NULL : sym->layout;
        }
    }
    if (!sym->is_bad && is_scaled(f)) {
        check_scale_layout(c, sym, sym->format);
    }
    for (int i = 0; i < sym->n_dims; i++) {
        check_size(c, sym->dims[i]);
    }
    if (!sym->is_bad && sym->n_dims < f->n_granule) {
        diag_report(c->d, DIAG_ERROR, "E107", sym->type_span,
                    "scales of %s cover %d axes, '%s' has %d", f->name, f->n_granule, sym->name,
                    sym->n_dims);
        sym->is_bad = true;
    }
    if (!sym->is_bad && is_bool_type(f) && sym->n_dims > 0) {
        diag_report(c->d, DIAG_ERROR, "E107", sym->type_span,
                    "tensors of bool have no layout in memory");
        sym->is_bad = true;
    }
}

static void check_scalar_param(checker *c, ast_sym *sym) {
    if (sym->n_dims == 0 && sym->mode != MODE_IN && sym->mode != MODE_CONST) {
        diag_report(c->d, DIAG_ERROR, "E107", sym->span, "scalar '%s' can only be read", sym->name);
        diag_because(c->d, "it is passed by value");
        sym->is_bad = true;
    }
    if (sym->init == NULL) {
        return;
    }
    check_expr(c, sym->init);
    bool same = !is_poison(sym->init) && sym->init->is_const && !sym->is_bad && sym->n_dims == 0 &&
                (is_int_type(sym->init->type) || is_plain_float(sym->format));
    if (!is_poison(sym->init) && !same) {
        diag_report(c->d, DIAG_ERROR, "C101", sym->init->span,
                    "a default is a constant of the type of a scalar");
    }
}

static void check_params(checker *c, ast_kernel *k) {
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i]->mode != MODE_TEMP) {
            introduce_dims(c, k->params[i]);
        }
    }
    for (int i = 0; i < k->n_params; i++) {
        ast_sym *sym = k->params[i];
        sym->id = i;
        check_tensor(c, sym);
        check_scalar_param(c, sym);
    }
    for (int i = 0; i < k->n_params; i++) {
        scope_declare(c, k->params[i]);
    }
}

// --- temps ---

// Temps may have a dimension that only 'ragged' gives a size: mark it until that is seen.
static void check_temps(checker *c, ast_kernel *k) {
    int known = c->dims.n;
    for (int i = 0; i < k->n_body; i++) {
        if (k->body[i]->kind == ST_TEMP) {
            ast_sym *sym = k->body[i]->sym;
            introduce_dims(c, sym);
            check_tensor(c, sym);
            sym->id = c->temps.n;
            sym_add(c, &c->temps, sym);
        }
    }
    for (int d = known; d < c->dims.n; d++) {
        ast_sym *dim = c->dims.items[d];
        bool is_ragged = false;
        for (int i = 0; i < k->n_body; i++) {
            is_ragged = is_ragged || (k->body[i]->kind == ST_RAGGED && k->body[i]->name != NULL &&
                                      strcmp(k->body[i]->name, dim->name) == 0);
        }
        if (!is_ragged) {
            diag_report(c->d, DIAG_ERROR, "D108", dim->span, "the size of '%s' is not known",
                        dim->name);
            diag_because(c->d, "no parameter has an axis of this size, and no 'ragged' cuts it");
            dim->is_bad = true;
        }
    }
}

// --- kernels ---

static void check_where(checker *c, ast_kernel *k) {
    for (int i = 0; i < k->n_where_written; i++) {
        ast_expr *e = k->where[i];
        if (!check_value(c, e)) {
            continue;
        }
        if (!is_bool_type(e->type)) {
            diag_report(c->d, DIAG_ERROR, "E106", e->span, "'%s' is %s, not a condition",
                        expr_text(c->mem, e), e->type->name);
            set_poison(e);
        }
    }
}

static void check_outputs_written(checker *c, const ast_kernel *k) {
    for (int i = 0; i < k->n_params; i++) {
        const ast_sym *sym = k->params[i];
        bool is_output = sym->mode == MODE_OUT || sym->mode == MODE_INOUT;
        if (is_output && sym->writer == NULL && !sym->is_bad) {
            diag_report(c->d, DIAG_ERROR, "O101", sym->span, "nothing writes output '%s'",
                        sym->name);
        }
    }
}

static void reset_kernel(checker *c, ast_kernel *k) {
    c->kernel = k;
    c->dims = c->indices = c->lets = c->temps = c->written = c->closed = c->loops = (sym_list){0};
    c->ragged = NULL;
    c->n_ragged = c->cap_ragged = c->cap_where = c->block_depth = 0;
    k->n_where = k->n_where_written;
}

static void check_kernel(checker *c, ast_kernel *k) {
    reset_kernel(c, k);
    int mark = scope_mark(c);
    check_tparams(c, k);
    check_params(c, k);
    check_where(c, k);
    check_temps(c, k);
    check_body(c, k->body, k->n_body);
    check_outputs_written(c, k);
    scope_close(c, mark);
    k->n_dims = c->dims.n;
    k->dims = c->dims.items;
    k->n_indices = c->indices.n;
    k->indices = c->indices.items;
    k->n_lets = c->lets.n;
    k->lets = c->lets.items;
    k->n_temps = c->temps.n;
    k->temps = c->temps.items;
}

static void check_kernel_names(checker *c) {
    for (int i = 0; i < c->file->n_kernels; i++) {
        const ast_kernel *k = c->file->kernels[i];
        for (int j = 0; j < i; j++) {
            if (strcmp(k->name, c->file->kernels[j]->name) == 0) {
                diag_report(c->d, DIAG_ERROR, "D103", k->name_span, "'%s' is declared twice",
                            k->name);
                diag_note(c->d, c->file->kernels[j]->name_span, "'%s' is declared here", k->name);
                break;
            }
        }
    }
}

bool lang_check(ast_file *file, diag *d, arena *mem, const lang_define *defs, int n_defs) {
    checker c = {.file = file, .d = d, .mem = mem, .defs = defs, .n_defs = n_defs};
    c.sms = ARENA_NEW(mem, ast_sym);
    c.sms->kind = SYM_SMS;
    c.sms->name = "sms";
    check_file_syms(&c);
    check_kernel_names(&c);
    for (int i = 0; i < file->n_kernels; i++) {
        if (!file->kernels[i]->is_bad) {
            check_kernel(&c, file->kernels[i]);
        }
    }
    check_schedules(&c);
    for (int i = 0; i < file->n_kernels; i++) {
        if (!file->kernels[i]->is_bad) {
            check_where_values(&c, file->kernels[i]);
        }
    }
    return diag_n_errors(d) == 0;
}

int lang_verify_fix(void *user, const char *text, size_t len) {
    const lang_verifier *v = user;
    src_map *src = src_new();
    for (int i = 0; i < src_n_include_dirs(v->src); i++) {
        src_add_include_dir(src, src_include_dir(v->src, i));
    }
    src_add_text(src, src_name(v->src, 0), text, len);
    arena *mem = arena_new();
    diag *d = diag_new(src, 0);
    ast_file *file = lang_parse(src, d, mem);
    lang_check(file, d, mem, v->defs, v->n_defs);
    int errors = diag_n_errors(d);
    diag_free(d);
    arena_free(mem);
    src_free(src);
    return errors;
}
