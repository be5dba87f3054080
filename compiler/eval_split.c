// A loop whose steps a schedule divides. 'split k by s': each range of steps is summed from zero,
// the sums are added in order, in f32 on a machine; the n steps are divided as tir_for.split says.
// 'split k by s groups': the same inside of a range, where group g has steps g, g + s, ... 'split k
// over sms': the ranges are those into which the steps of all tiles are cut, in the order of the
// walk (codegen/stream.c).
#include "eval_impl.h"

#include "facts.h"

#include <stdlib.h>
#include <string.h>

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

// --- Steps of all tiles --------------------------------------------------------------------------

typedef struct {
    int64_t at, n; // tile that is run, of so many
} tile_place;

// A loop around the tile that is run.
static tile_place place_of(eval *x, const ast_sym *index) {
    int64_t lo, end, step = index->tile != NULL ? eval_int(x, index->tile) : 1;
    index_bounds(x, index, &lo, &end);
    return (tile_place){(x->ranges[index->id].lo - lo) / step,
                        end > lo ? (end - lo + step - 1) / step : 0};
}

// Loops as the walk has them, outermost first.
static int ordered_loops(const eval *x, const fact_order *o, const ast_sym **out) {
    const ast_stmt *nest = x->nest;
    int n = nest->n_indices < FACTS_MAX_NAMES ? nest->n_indices : FACTS_MAX_NAMES;
    for (int i = 0; i < n; i++) {
        out[i] = nest->indices[i];
        for (int j = 0; i < o->n && j < nest->n_indices; j++) {
            out[i] = strcmp(nest->indices[j]->name, o->order[i]) == 0 ? nest->indices[j] : out[i];
        }
    }
    return n;
}

// The tile's number: the last loop fastest; 'raster i by g' cuts the tiles of i in groups of g,
// inside of which i runs faster than the innermost other loop j.
static tile_place tile_number(eval *x) {
    fact_order o = facts_order_of(x->job->schedule);
    const ast_sym *loops[FACTS_MAX_NAMES];
    tile_place number = {0, 1}, plane = {0, 1};
    int n = ordered_loops(x, &o, loops), i = -1;
    for (int l = 0; l < n && o.raster != NULL && n > 1; l++) {
        i = strcmp(loops[l]->name, o.raster) == 0 ? l : i;
    }
    int j = i == n - 1 ? i - 1 : n - 1;
    if (i >= 0) {
        tile_place ti = place_of(x, loops[i]), tj = place_of(x, loops[j]);
        int64_t first = ti.at / o.group * o.group,
                size = ti.n - first < o.group ? ti.n - first : o.group;
        plane = (tile_place){first * tj.n + tj.at * size + ti.at - first, ti.n * tj.n};
    }
    for (int l = 0; l < n; l++) {
        if (i < 0 || (l != i && l != j)) {
            tile_place t = place_of(x, loops[l]);
            number = (tile_place){number.at * t.n + t.at, number.n * t.n};
        }
    }
    return (tile_place){number.at * plane.n + plane.at, number.n * plane.n};
}

// Where the range that has a unit ends, of 'ranges' ranges that have 'all' units: as many in each,
// one more in each of the first ones.
static int64_t range_end(int64_t unit, int64_t all, int64_t ranges) {
    int64_t each = all / ranges, longer = all % ranges;
    if (unit < longer * (each + 1)) {
        return (unit / (each + 1) + 1) * (each + 1);
    }
    return longer * (each + 1) + ((unit - longer * (each + 1)) / each + 1) * each;
}

static void exec_stream(eval *x, const ast_stmt *s, int64_t steps, int groups, split_sums *sums) {
    if (x->job->clusters < 1) {
        eval_fail(x, EVAL_EPROGRAM, s->span,
                  "'split over sms': how many clusters there are was not given");
        return;
    }
    tile_place here = tile_number(x);
    int64_t units = steps > 0 ? steps : 1, all = here.n * units, first = here.at * units;
    int64_t ranges = all < x->job->clusters ? all : x->job->clusters;
    for (int64_t at = first; at < first + units && !x->failed;) {
        int64_t end = range_end(at, all, ranges);
        end = end < first + units ? end : first + units;
        if (at > first) {
            begin_sums(x, sums, OF_RANGES, s->span);
        }
        int64_t last = end - first < steps ? end - first : steps;
        if (!x->failed) {
            exec_groups(x, s, (step_range){at - first, last, groups}, sums);
        }
        if (at > first) {
            end_sums(x, sums, OF_RANGES);
        }
        at = end;
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
    if (by.ranges > 1 || by.groups > 1 || by.stream) {
        sums.n = added_to(x, s->body, s->n_body, sums.at, 0);
    }
    if (by.stream) {
        exec_stream(x, s, steps, by.groups, &sums);
    }
    for (int r = 0; r < by.ranges && !by.stream && !x->failed; r++) {
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
