// A loop whose steps a schedule divides ('split k by s'): each range of steps is summed from zero,
// the sums are added in order, in f32 on a machine. The n steps are divided as tir_for.split says.
#include "eval_impl.h"

#include "facts.h"

#include <stdlib.h>

enum { MAX_SUMS = 32 };

int split_of(const eval *x, const ast_stmt *s) {
    return facts_split_of(x->job->schedule, s->indices[0]->name);
}

// What the loop adds to.
typedef struct {
    tile *sum; // of a let
    double *v, *err; // of the ranges before
} split_sum;

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

static void set_aside(eval *x, split_sum *s, ast_span at) {
    tile *t = s->sum;
    size_t n = (size_t)tile_count(t);
    if (s->v == NULL) {
        s->v = malloc((n + 1) * sizeof *s->v);
        s->err = malloc((n + 1) * sizeof *s->err);
    }
    if (s->v == NULL || s->err == NULL) {
        eval_fail(x, EVAL_EMEMORY, at, "no memory for partial sums of %zu values", n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        s->v[i] = t->v[i];
        s->err[i] = t->err != NULL ? t->err[i] : 0;
        t->v[i] = 0;
        if (t->err != NULL) {
            t->err[i] = 0;
        }
    }
}

static void add_back(eval *x, split_sum *s) {
    tile *t = s->sum;
    for (int64_t i = 0; i < tile_count(t); i++) {
        val before = {.v = s->v[i], .err = s->err[i]};
        val part = {.v = t->v[i], .err = t->err != NULL ? t->err[i] : 0};
        val sum = val_binary(x, OP_ADD, before, part);
        t->v[i] = sum.v;
        if (t->err != NULL) {
            t->err[i] = sum.err;
        }
    }
}

void exec_split(eval *x, const ast_stmt *s, int ranges) {
    const ast_sym *index = s->indices[0];
    int64_t lo, end;
    index_bounds(x, index, &lo, &end);
    int64_t step = index->tile != NULL ? eval_int(x, index->tile) : 1;
    int64_t steps = end > lo && step > 0 ? (end - lo + step - 1) / step : 0;
    split_sum sums[MAX_SUMS] = {0};
    int n = added_to(x, s->body, s->n_body, sums, 0);
    for (int r = 0; r < ranges && !x->failed; r++) {
        for (int i = 0; i < n && r > 0 && !x->failed; i++) {
            set_aside(x, &sums[i], s->span);
        }
        if (!x->failed) {
            exec_steps(x, s, 0, (step_range){steps * r / ranges, steps * (r + 1) / ranges});
        }
        for (int i = 0; i < n && r > 0 && !x->failed; i++) {
            add_back(x, &sums[i]);
        }
    }
    for (int i = 0; i < n; i++) {
        free(sums[i].v);
        free(sums[i].err);
    }
}
