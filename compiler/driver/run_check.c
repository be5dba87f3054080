// What came back against two other roads to the same result: the composition of the tensor-core
// formulas in K order (bit for bit), and the program evaluated in double (within a stated bound).
#include "run.h"

#include <stdlib.h>

static bool evaluate(run_state *r, eval_mode mode, eval_tensor *out, double **bounds) {
    const ast_kernel *k = r->b->ast;
    mach_target target = MACH_SM100A;
    mach_target_parse(arch_infos[r->b->tir->arch].name, &target);
    eval_job job = {.kernel = k,
                    .schedule = r->b->sched,
                    .tparams = r->tparams,
                    .dims = r->dims,
                    .tensors = out,
                    .scalars = r->scalars,
                    .mode = mode,
                    .target = target,
                    .clusters = r->sms / r->b->tir->cluster,
                    .bounds = bounds};
    eval_error err = {0};
    if (eval_run(&job, &err) != EVAL_OK) {
        int line = 0;
        int col = 0;
        src_place(r->u->src, err.at.file, err.at.off, &line, &col);
        fprintf(stderr, "%s:%d:%d: error: %s\n", src_name(r->u->src, err.at.file), line, col, err.text);
        return false;
    }
    return true;
}

static bool is_output(const ast_sym *sym) {
    return sym->n_dims > 0 && (sym->mode == MODE_OUT || sym->mode == MODE_INOUT);
}

// Operands are shared with the run, outputs get memory of their own (for inout: the codes before).
static bool make_outputs(const run_state *r, eval_tensor *out) {
    for (int i = 0; i < r->n_params; i++) {
        const run_tensor *t = &r->tensors[i];
        out[i] = t->codes;
        if (!is_output(r->b->ast->params[i])) {
            continue;
        }
        out[i].data = NULL;
        out[i].scales = NULL;
        if (!eval_tensor_alloc(&out[i])) {
            fprintf(stderr, "fp4c: out of memory for the check\n");
            return false;
        }
        for (int64_t j = 0; t->before.data != NULL && j < eval_count(&out[i]); j++) {
            eval_set_code(&out[i], j, eval_get_code(&t->before, j));
        }
        for (int64_t j = 0; t->before.scales != NULL && j < eval_scale_count(&out[i]); j++) {
            eval_set_scale_code(&out[i], j, eval_scale_code(&t->before, j));
        }
    }
    return true;
}

static void free_outputs(const run_state *r, eval_tensor *out) {
    for (int i = 0; i < r->n_params; i++) {
        if (is_output(r->b->ast->params[i])) {
            eval_tensor_free(&out[i]);
        }
    }
}

static void compare_bits(run_state *r, const eval_tensor *out) {
    for (int i = 0; i < r->n_params; i++) {
        if (!is_output(r->b->ast->params[i])) {
            continue;
        }
        int64_t first = -1;
        int64_t n = eval_diff_codes(&out[i], &r->tensors[i].codes, &first);
        if (n > 0 && r->result.n_differ == 0) {
            r->result.first = first;
            r->result.tensor = r->b->ast->params[i]->name;
        }
        r->result.n_differ += n;
    }
}

static void compare_values(run_state *r, const eval_tensor *out, double **bounds) {
    for (int i = 0; i < r->n_params; i++) {
        if (is_output(r->b->ast->params[i])) {
            eval_difference d = eval_compare(&out[i], bounds[i], &r->tensors[i].codes);
            run_result *s = &r->result;
            s->max_error = d.max_error > s->max_error ? d.max_error : s->max_error;
            s->max_bound = d.max_bound > s->max_bound ? d.max_bound : s->max_bound;
            s->n_outside += d.n_outside;
        }
    }
}

static bool compose(run_state *r) {
    eval_tensor out[RUN_MAX_PARAMS];
    double start = now_seconds();
    bool ok = make_outputs(r, out) && evaluate(r, EVAL_MACHINE, out, NULL);
    r->times.compose += now_seconds() - start;
    if (ok) {
        compare_bits(r, out);
    }
    free_outputs(r, out);
    return ok;
}

static bool exact(run_state *r) {
    eval_tensor out[RUN_MAX_PARAMS];
    double *bounds[RUN_MAX_PARAMS] = {NULL};
    double start = now_seconds();
    bool ok = make_outputs(r, out);
    for (int i = 0; ok && i < r->n_params; i++) {
        if (is_output(r->b->ast->params[i])) {
            bounds[i] = calloc((size_t)eval_count(&out[i]) + 1, sizeof(double));
            ok = bounds[i] != NULL;
        }
    }
    ok = ok && evaluate(r, EVAL_EXACT, out, bounds);
    r->times.evaluate += now_seconds() - start;
    if (ok) {
        compare_values(r, out, bounds);
    }
    free_outputs(r, out);
    for (int i = 0; i < r->n_params; i++) {
        free(bounds[i]);
    }
    return ok;
}

bool run_check(run_state *r) {
    return compose(r) && exact(r);
}
