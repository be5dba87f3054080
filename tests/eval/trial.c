// See trial.h.
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static trial *check(trial *t) {
    t->file = lang_parse(t->src, t->d, t->mem);
    bool ok = diag_n_errors(t->d) == 0 && lang_check(t->file, t->d, t->mem, NULL, 0);
    if (!ok) {
        diag_print(t->d, stderr, DIAG_TEXT, false);
        fail_msg("the program is not accepted");
    }
    t->kernel = t->file->kernels[0];
    assert_true(t->kernel->n_params <= TRIAL_MAX && t->kernel->n_dims <= TRIAL_MAX);
    lang_tparam_values(t->kernel, NULL, t->tparams);
    return t;
}

static trial *fresh(void) {
    trial *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->mem = arena_new();
    t->src = src_new();
    t->d = diag_new(t->src, 20);
    return t;
}

trial *trial_open(const char *name) {
    trial *t = fresh();
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TRIAL_DIR, name);
    uint32_t file;
    const char *why;
    if (!src_add_file(t->src, path, &file, &why)) {
        fail_msg("%s: %s", path, why);
    }
    return check(t);
}

trial *trial_open_text(const char *text) {
    trial *t = fresh();
    src_add_text(t->src, "text.tk", text, strlen(text));
    return check(t);
}

void trial_close(trial *t) {
    for (int i = 0; i < TRIAL_MAX; i++) {
        eval_tensor_free(&t->tensors[i]);
        free(t->bounds[i]);
    }
    diag_free(t->d);
    src_free(t->src);
    arena_free(t->mem);
    free(t);
}

void trial_dim(trial *t, const char *name, int64_t value) {
    for (int i = 0; i < t->kernel->n_dims; i++) {
        if (strcmp(t->kernel->dims[i]->name, name) == 0) {
            t->dims[t->kernel->dims[i]->id] = value;
            return;
        }
    }
    fail_msg("no dimension '%s'", name);
}

static const ast_sym *param(const trial *t, const char *name) {
    for (int i = 0; i < t->kernel->n_params; i++) {
        if (strcmp(t->kernel->params[i]->name, name) == 0) {
            return t->kernel->params[i];
        }
    }
    fail_msg("no parameter '%s'", name);
    return NULL;
}

void trial_scalar(trial *t, const char *name, double f, int64_t i) {
    t->scalars[param(t, name)->id] = (eval_scalar){f, i};
}

eval_tensor *trial_tensor(trial *t, const char *name) {
    return &t->tensors[param(t, name)->id];
}

const double *trial_bound(trial *t, const char *name) {
    return t->bounds[param(t, name)->id];
}

void trial_prepare(trial *t, uint64_t seed) {
    for (int i = 0; i < t->kernel->n_params; i++) {
        const ast_sym *s = t->kernel->params[i];
        if (s->n_dims == 0 || s->mode == MODE_TEMP) {
            continue;
        }
        eval_tensor *x = &t->tensors[s->id];
        x->format = s->format;
        x->n_dims = s->n_dims;
        for (int a = 0; a < s->n_dims; a++) {
            assert_true(eval_size(s->dims[a], t->tparams, t->dims, &x->dims[a]));
        }
        assert_true(eval_tensor_alloc(x));
        if (s->mode != MODE_OUT) {
            eval_random(x, seed + (uint64_t)i);
        }
        t->bounds[s->id] = calloc((size_t)eval_count(x) + 1, sizeof(double));
    }
}

void trial_set_ints(trial *t, const char *name, const int *values) {
    eval_tensor *x = trial_tensor(t, name);
    for (int64_t i = 0; i < eval_count(x); i++) {
        eval_set_code(x, i, (uint32_t)values[i]);
    }
}

eval_status trial_try(trial *t, eval_mode mode, mach_target target) {
    eval_job job = {
        .kernel = t->kernel,
        .dims = t->dims,
        .tensors = t->tensors,
        .scalars = t->scalars,
        .mode = mode,
        .target = target,
        .bounds = mode == EVAL_EXACT && !t->no_bounds ? t->bounds : NULL,
    };
    return eval_run(&job, &t->error);
}

void trial_run(trial *t, eval_mode mode, mach_target target) {
    if (trial_try(t, mode, target) != EVAL_OK) {
        fail_msg("run-time error: %s", t->error.text);
    }
}

eval_tensor trial_copy(trial *t, const char *name) {
    eval_tensor *x = trial_tensor(t, name);
    eval_tensor copy = *x;
    assert_true(eval_tensor_alloc(&copy));
    for (int64_t i = 0; i < eval_count(x); i++) {
        eval_set_code(&copy, i, eval_get_code(x, i));
    }
    for (int64_t i = 0; i < eval_scale_count(x); i++) {
        copy.scales[i] = x->scales[i];
    }
    return copy;
}

// (-1)^s 2^(e - bias) (1 + m / 2^bits), by its definition.
static double ref_decode(elem_kind e, uint32_t code) {
    static const struct {
        int exp, man, bias;
    } shape[] = {[ELEM_E2M1] = {2, 1, 1},  [ELEM_E2M3] = {2, 3, 1},  [ELEM_E3M2] = {3, 2, 3},
                 [ELEM_E4M3] = {4, 3, 7},  [ELEM_E5M2] = {5, 2, 15}, [ELEM_BF16] = {8, 7, 127},
                 [ELEM_F16] = {5, 10, 15}, [ELEM_F32] = {8, 23, 127}};
    int man = shape[e].man;
    double sign = code >> (shape[e].exp + man) & 1 ? -1 : 1;
    int field = (int)(code >> man & ((1u << shape[e].exp) - 1));
    double frac = (double)(code & ((1u << man) - 1)) / (double)(1u << man);
    if (field == 0) {
        return sign * frac * pow(2, 1 - shape[e].bias);
    }
    return sign * (1 + frac) * pow(2, field - shape[e].bias);
}

double ref_value(const eval_tensor *t, int64_t i) {
    double v = ref_decode(t->format->elem, (uint32_t)eval_get_code(t, i));
    if (t->format->scale == ELEM_NONE) {
        return v;
    }
    int64_t cols = t->dims[t->n_dims - 1];
    int64_t g = t->format->granule[1];
    uint8_t s = t->scales[i / cols * ((cols + g - 1) / g) + i % cols / g];
    return v *
           (t->format->scale == ELEM_UE8M0 ? pow(2, (double)s - 127) : ref_decode(ELEM_E4M3, s));
}

float ref_float(const eval_tensor *t, int64_t i) {
    uint32_t u = (uint32_t)eval_get_code(t, i);
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint32_t ref_bf16(double x) {
    if (x == 0) {
        return signbit(x) ? 0x8000 : 0;
    }
    int e;
    frexp(x, &e);
    double unit = ldexp(1, (e < -125 ? -125 : e) - 8);
    float f = (float)(nearbyint(x / unit) * unit);
    uint32_t u;
    memcpy(&u, &f, 4);
    return u >> 16;
}

static void fill(mach_panel *p, const eval_tensor *t, int64_t row, int64_t lo, int64_t n) {
    uint32_t codes[512];
    uint8_t scales[512];
    int64_t cols = t->dims[t->n_dims - 1];
    int64_t g = t->format->scale != ELEM_NONE ? t->format->granule[1] : 1;
    assert_true(n <= 512);
    for (int64_t k = 0; k < n; k++) {
        codes[k] = (uint32_t)eval_get_code(t, row * cols + lo + k);
        if (t->scales != NULL) {
            scales[k / g] = t->scales[row * ((cols + g - 1) / g) + (lo + k) / g];
        }
    }
    mach_panel_set(p, 0, codes, t->scales != NULL ? scales : NULL);
}

float ref_chain(const eval_tensor *a, int64_t row_a, const eval_tensor *b, int64_t row_b,
                int64_t bk, mach_target target) {
    mach_instr in;
    assert_true(mach_choose(target, a->format, b->format, &in));
    int64_t k = a->dims[a->n_dims - 1];
    uint32_t c = 0;
    for (int64_t lo = 0; lo < k; lo += bk) {
        int64_t n = k - lo < bk ? k - lo : bk;
        mach_panel *pa = mach_panel_new(&in, true, 1, n);
        mach_panel *pb = mach_panel_new(&in, false, 1, n);
        fill(pa, a, row_a, lo, n);
        fill(pb, b, row_b, lo, n);
        c = mach_dot(pa, 0, pb, 0, c);
        mach_panel_free(pa);
        mach_panel_free(pb);
    }
    float f;
    memcpy(&f, &c, 4);
    return f;
}

double ref_dot(const eval_tensor *a, int64_t row_a, const eval_tensor *b, int64_t row_b) {
    int64_t k = a->dims[a->n_dims - 1];
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
        sum += ref_value(a, row_a * k + i) * ref_value(b, row_b * k + i);
    }
    return sum;
}
