// A loop whose steps a schedule divides. 'split k by s': each range of steps is summed from zero, the
// sums are added in order, in f32 on a machine; the n steps are divided as tir_for.split says. 'split
// k by s groups': the same inside of a range, where group g has steps g, g + s, ...
#include "eval_impl.h"

#include "facts.h"

#include <stdlib.h>

enum { MAX_SUMS = 32 };

// Sums that wait while others begin: of the ranges before, of the groups before in this range.
typedef enum { OF_RANGES, OF_GROUPS, N_KEPT } kept;

// What the loop adds to.
typedef struct {
    tile *sum; // of a let
    double *v[N_KEPT], *err[N_KEPT];
} split_sum;

typedef struct {
    split_sum at[MAX_SUMS];
    int n;
} split_sums;

static int64_t tile_count(const tile *t) {
    int64_t n = 1;
    for (int i = 0; i < t->axes.n; i++) {
        n *= t->extent[i];
    }
    return n;
}

static int added_to(eval *x, ast_stmt *const *body, int n, split_sum *out, int have) {
    for (int i = 0; i < n; i++) {
        const ast_stmt *s = body[i];
        if (s->kind == ST_FOR) {
            have = added_to(x, s->body, s->n_body, out, have);
        }
        if (s->kind != ST_ASSIGN || !s->accumulate) {
            continue;
        }
        tile *t = eval_place(x, s->target).tile;
        bool known = t == NULL;
        for (int j = 0; j < have; j++) {
            known |= out[j].sum == t;
        }
        if (!known && have < MAX_SUMS) {
            out[have++].sum = t;
        }
    }
    return have;
}

static void set_aside(eval *x, split_sum *s, kept as, ast_span at) {
    tile *t = s->sum;
    size_t n = (size_t)tile_count(t);
    if (s->v[as] == NULL) {
        s->v[as] = malloc((n + 1) * sizeof *s->v[as]);
        s->err[as] = malloc((n + 1) * sizeof *s->err[as]);
    }
    if (s->v[as] == NULL || s->err[as] == NULL) {
        eval_fail(x, EVAL_EMEMORY, at, "no memory for partial sums of %zu values", n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        s->v[as][i] = t->v[i];
        s->err[as][i] = t->err != NULL ? t->err[i] : 0;
        t->v[i] = 0;
        if (t->err != NULL) {
            t->err[i] = 0;
        }
    }
}

static void add_back(eval *x, split_sum *s, kept as) {
    tile *t = s->sum;
    for (int64_t i = 0; i < tile_count(t); i++) {
        val before = {.v = s->v[as][i], .err = s->err[as][i]};
        val part = {.v = t->v[i], .err = t->err != NULL ? t->err[i] : 0};
        val sum = val_binary(x, OP_ADD, before, part);
        t->v[i] = sum.v;
        if (t->err != NULL) {
            t->err[i] = sum.err;
        }
    }
}

static void begin_sums(eval *x, split_sums *sums, kept as, ast_span at) {
    for (int i = 0; i < sums->n && !x->failed; i++) {
        set_aside(x, &sums->at[i], as, at);
    }
}

static void end_sums(eval *x, split_sums *sums, kept as) {
    for (int i = 0; i < sums->n && !x->failed; i++) {
        add_back(x, &sums->at[i], as);
    }
}

// The groups' shares of a range of steps.
static void exec_groups(eval *x, const ast_stmt *s, step_range steps, split_sums *sums) {
    for (int64_t g = 0; g < steps.by && !x->failed; g++) {
        if (g > 0) {
            begin_sums(x, sums, OF_GROUPS, s->span);
        }
        if (!x->failed) {
            exec_steps(x, s, 0, (step_range){steps.first + g, steps.last, steps.by});
        }
        if (g > 0) {
            end_sums(x, sums, OF_GROUPS);
        }
    }
}

void exec_split(eval *x, const ast_stmt *s) {
    const ast_sym *index = s->indices[0];
    fact_sums by = facts_sums_of(x->job->schedule, index->name);
    int64_t lo, end;
    index_bounds(x, index, &lo, &end);
    int64_t step = index->tile != NULL ? eval_int(x, index->tile) : 1;
    int64_t steps = end > lo && step > 0 ? (end - lo + step - 1) / step : 0;
    split_sums sums = {0};
    if (by.ranges > 1 || by.groups > 1) {
        sums.n = added_to(x, s->body, s->n_body, sums.at, 0);
    }
    for (int r = 0; r < by.ranges && !x->failed; r++) {
        if (r > 0) {
            begin_sums(x, &sums, OF_RANGES, s->span);
        }
        step_range part = {steps * r / by.ranges, steps * (r + 1) / by.ranges, by.groups};
        if (!x->failed) {
            exec_groups(x, s, part, &sums);
        }
        if (r > 0) {
            end_sums(x, &sums, OF_RANGES);
        }
    }
    for (int i = 0; i < sums.n; i++) {
        for (int j = 0; j < N_KEPT; j++) {
            free(sums.at[i].v[j]);
            free(sums.at[i].err[j]);
        }
    }
}
