// target += value: the indices that the target lacks are summed over, within their current tiles.
//
// A product of two factors goes through matrices: exact mode gathers each factor once as doubles
// and sums in ascending order; machine mode, when both factors are operands of a tensor-core
// instruction, gathers codes into panels and runs the instruction's steps (mach.h). Anything else
// is added point by point with the elementwise arithmetic.
#include "eval_impl.h"

#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One factor of the product, gathered: a row for each point of its own target axes, a column for
// each point of the contracted axes.
typedef struct {
    const ast_expr *e;
    place p;                  // what it reads, when it is a plain slice; else both NULL
    const ast_format *format; // of a plain slice; NULL otherwise
    bool folded; // the machine rounds element times scale to e4m3 (mach.h)
    bool cut;    // the machine drops the 13 low bits of an f32 element
    axis_list own;
    int64_t stride[MAX_AXES]; // rows per step of each target axis
    int64_t rows;
    double *v;   // rows * cols
    double *err; // NULL when all are exact
    double *top; // a bound of 2^exponent over each row (error bounds only)
} factor;

typedef struct {
    const ast_stmt *s;
    place target;
    target_points tp;
    axis_list sum;  // contracted
    ast_sym *inner; // K of the instruction: the last of sum
    int64_t cols;
    factor f[2];
    int side;      // the factor that moves along the target's last axis, where the columns go SIDE
                   // at a time
    double *sides; // its rows SIDE at a time: element k of all of them, then element k + 1
} product;

enum { SIDE = 8 };

static void factor_free(factor *f) {
    free(f->v);
    free(f->err);
    free(f->top);
}

// ---- what is multiplied

static void contracted_axes(eval *x, const ast_expr *value, const target_points *tp,
                            axis_list *out) {
    axis_list all = {0};
    axes_of(x, value, &all);
    for (int i = 0; i < all.n; i++) {
        if (!axes_have(&tp->axes, all.sym[i])) {
            axes_add(x, out, all.sym[i]);
        }
    }
}

static bool is_slice(const ast_expr *e) {
    if (e->kind == EX_NAME) {
        return e->sym->kind == SYM_LET;
    }
    return e->kind == EX_INDEX;
}

static void factor_place(eval *x, factor *f) {
    if (!is_slice(f->e)) {
        return;
    }
    f->p = eval_place(x, f->e);
    if (f->p.st != NULL) {
        f->format = f->p.st->t.format;
    } else if (f->p.tile != NULL) {
        f->format = f->p.tile->format;
    }
}

static void factor_rows(eval *x, product *m, factor *f) {
    axis_list axes = {0};
    axes_of(x, f->e, &axes);
    f->rows = 1;
    for (int i = m->tp.axes.n - 1; i >= 0; i--) {
        ast_sym *s = m->tp.axes.sym[i];
        if (axes_have(&axes, s)) {
            f->stride[i] = f->rows;
            f->rows *= range_extent(x, s);
        }
    }
    for (int i = 0; i < m->tp.axes.n; i++) {
        if (f->stride[i] != 0) {
            axes_add(x, &f->own, m->tp.axes.sym[i]);
        }
    }
}

// The contracted index that is innermost in memory, or else the one that walks the most at once,
// becomes the last of the sum: the instruction's K.
static void choose_inner(eval *x, product *m) {
    m->inner = m->sum.sym[0];
    for (int i = 1; i < m->sum.n; i++) {
        m->inner =
            range_extent(x, m->sum.sym[i]) > range_extent(x, m->inner) ? m->sum.sym[i] : m->inner;
    }
    for (int i = 1; i >= 0; i--) {
        const ast_expr *e = m->f[i].e;
        const ast_expr *last = e->kind == EX_INDEX && e->n_args > 0 ? e->args[e->n_args - 1] : NULL;
        if (last != NULL && last->kind == EX_NAME && axes_have(&m->sum, last->sym)) {
            m->inner = last->sym;
        }
    }
    int at = 0;
    while (m->sum.sym[at] != m->inner) {
        at++;
    }
    for (; at + 1 < m->sum.n; at++) {
        m->sum.sym[at] = m->sum.sym[at + 1];
    }
    m->sum.sym[at] = m->inner;
}

static int64_t row_of(const eval *x, const product *m, const factor *f) {
    int64_t row = 0;
    for (int i = 0; i < m->tp.axes.n; i++) {
        const range *r = &x->ranges[m->tp.axes.sym[i]->id];
        row += (r->pos - r->lo) * f->stride[i];
    }
    return row;
}

// ---- runs of elements along K

// n elements of a slice for inner = lo .. lo + n at the other current positions.
typedef struct {
    const eval_tensor *t;
    const storage *st;
    int64_t first;     // linear index of the first
    int64_t step;      // linear distance
    int64_t inside;    // how many lie in the tensor, from the start
    int64_t scale;     // index of the first scale
    bool scales_along; // the scales follow K
} run;

// The one subscript that names 'inner', and nothing else does; -1 if there is no such.
static int inner_axis(eval *x, const ast_expr *e, const ast_sym *inner) {
    int found = -1;
    for (int i = 0; i < e->n_args; i++) {
        axis_list axes = {0};
        axes_of(x, e->args[i], &axes);
        if (!axes_have(&axes, inner)) {
            continue;
        }
        if (found >= 0 || e->args[i]->kind != EX_NAME) {
            return -1;
        }
        found = i;
    }
    return found;
}

// False: not a run (the caller goes element by element). An empty run has inside = 0.
static bool find_run(eval *x, const factor *f, const ast_sym *inner, run *r) {
    if (f->e->kind != EX_INDEX || f->p.st == NULL) {
        return false;
    }
    int axis = inner_axis(x, f->e, inner);
    if (axis < 0) {
        return false;
    }
    const eval_tensor *t = &f->p.st->t;
    *r = (run){.t = t, .st = f->p.st, .step = 1};
    int64_t coords[MAX_AXES];
    if (!eval_coords(x, f->e, &f->p, coords)) {
        return true;
    }
    for (int i = axis + 1; i < t->n_dims; i++) {
        r->step *= t->dims[i];
    }
    r->first = linear_index(t, coords);
    int64_t left = t->dims[axis] - coords[axis];
    int64_t n = range_extent(x, inner);
    r->inside = n < left ? n : left;
    if (t->format->scale != ELEM_NONE) {
        int64_t g = t->format->granule[t->format->n_granule - 1];
        r->scale = eval_scale_index(t, coords);
        r->scales_along = axis == t->n_dims - 1 && coords[axis] % g == 0;
    }
    return true;
}

// ---- exact products

// How far the value that the machine multiplies may be from the factor's.
static double operand_error(const factor *f, double w) {
    return f->folded ? bound_fold_error(f->format->scale, w)
           : f->cut  ? fabs(w) * 0x1p-10 + 0x1p-136
                     : 0;
}

// The same over a row of values whose codes are not at hand.
static double row_top(const factor *f, const double *v, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(v[i]));
    }
    if (f->format == NULL) {
        return most;
    }
    if (f->folded) {
        return bound_fold_top(f->format->scale, most);
    }
    if (f->format->scale == ELEM_NONE) {
        return fmax(most, bound_least_normal(f->format->elem));
    }
    // A subnormal element is at most 2^3 below its exponent, a subnormal scale as well.
    return most * 64;
}

static double gather_run(const eval *x, const factor *f, const run *r, double *out, double *err) {
    const ast_format *fm = r->t->format;
    int64_t g = fm->scale != ELEM_NONE ? fm->granule[fm->n_granule - 1] : 1;
    double scale = 1;
    double top = 0;
    for (int64_t k = 0; k < r->inside; k++) {
        int64_t at = r->first + k * r->step;
        if (fm->scale != ELEM_NONE && k % g == 0) {
            scale = eval_code_value(x, fm->scale, eval_scale_code(r->t, r->scale + k / g));
        }
        double elem = eval_code_value(x, fm->elem, (uint32_t)eval_get_code(r->t, at));
        out[k] = elem * scale;
        double most =
            f->folded ? bound_fold_top(fm->scale, out[k]) : bound_element_top(fm, elem, scale);
        top = x->bounds ? fmax(top, most) : 0;
        if (err != NULL) {
            err[k] = r->st->bound != NULL ? r->st->bound[at] : 0;
            err[k] += operand_error(f, out[k]);
        }
    }
    return top;
}

static void gather_points(eval *x, const product *m, const factor *f, double *out, double *err) {
    int64_t at = 0;
    for (bool more = points_begin(x, &m->sum); more && !x->failed; more = points_next(x, &m->sum)) {
        val v = eval_expr(x, f->e);
        out[at] = val_num(v);
        if (err != NULL) {
            err[at] = v.err + operand_error(f, out[at]);
        }
        at++;
    }
}

// Returns the row's top.
static double gather_row(eval *x, const product *m, factor *f, int64_t row) {
    double *out = f->v + row * m->cols;
    double *err = f->err != NULL ? f->err + row * m->cols : NULL;
    int64_t n = range_extent(x, m->inner);
    axis_list outer = m->sum;
    outer.n--;
    run r;
    points_begin(x, &m->sum);
    if (!find_run(x, f, m->inner, &r) || (r.t->format->scale != ELEM_NONE && !r.scales_along) ||
        elem_is_int(r.t->format->elem)) {
        gather_points(x, m, f, out, err);
        return row_top(f, out, m->cols);
    }
    double top = 0;
    for (bool more = points_begin(x, &outer); more; more = points_next(x, &outer)) {
        find_run(x, f, m->inner, &r);
        top = fmax(top, gather_run(x, f, &r, out, err));
        out += n;
        err = err != NULL ? err + n : NULL;
    }
    return top;
}

static bool has_errors(const eval *x, const factor *f) {
    return x->bounds && (f->p.st == NULL || f->p.st->bound != NULL || f->folded || f->cut);
}

static bool gather(eval *x, product *m, factor *f) {
    size_t n = (size_t)(f->rows * m->cols) + 1;
    f->v = calloc(n, sizeof *f->v);
    f->err = has_errors(x, f) ? calloc(n, sizeof *f->err) : NULL;
    f->top = x->bounds ? calloc((size_t)f->rows + 1, sizeof *f->top) : NULL;
    if (f->v == NULL || (has_errors(x, f) && f->err == NULL) || (x->bounds && f->top == NULL)) {
        eval_fail(x, EVAL_EMEMORY, f->e->span, "no memory for %zu values", n);
        return false;
    }
    int64_t row = 0;
    for (bool more = points_begin(x, &f->own); more && !x->failed; more = points_next(x, &f->own)) {
        double top = gather_row(x, m, f, row);
        if (f->top != NULL) {
            f->top[row] = top;
        }
        row++;
    }
    return !x->failed;
}

// What a machine may add to the error of one sum of n products.
typedef struct {
    int64_t steps; // instructions, or products of the f32 chain
    double align;  // terms of a step * 2^-F: truncation of each term
    double result; // 2^-out_frac: rounding of each step's result
} machine_error;

static machine_error error_of(const eval *x, const product *m) {
    const ast_format *a = m->f[0].format;
    const ast_format *b = m->f[1].format;
    mach_instr in;
    if (a != NULL && b != NULL && mach_choose(x->job->target, a, b, &in)) {
        int64_t inner = range_extent(x, m->inner);
        int64_t outer = inner > 0 ? m->cols / inner : 0;
        int terms = in.rule == MACH_GST ? 5 : in.k + 1;
        return (machine_error){outer * ((inner + in.k - 1) / in.k), terms * ldexp(1, -in.frac),
                               ldexp(1, -in.out_frac)};
    }
    return (machine_error){m->cols, 0, 0x1p-22}; // mul.rn, add.rn
}

// |machine - exact| of acc + sum p q: errors of the operands, then every step truncates its terms
// at 2^-F of the greatest one and its result at 2^-out_frac; M bounds every intermediate result.
typedef struct {
    double v;    // acc + sum p q
    double size; // sum |p q|
} exact_sum;

static double sum_error(const product *m, machine_error me, double acc, double acc_err, double size,
                        const int64_t rows[2]) {
    const double *p = m->f[0].v + rows[0] * m->cols;
    const double *q = m->f[1].v + rows[1] * m->cols;
    const double *ep = m->f[0].err != NULL ? m->f[0].err + rows[0] * m->cols : NULL;
    const double *eq = m->f[1].err != NULL ? m->f[1].err + rows[1] * m->cols : NULL;
    double err = acc_err;
    for (int64_t k = 0; k < m->cols && (ep != NULL || eq != NULL); k++) {
        double dp = ep != NULL ? ep[k] : 0;
        double dq = eq != NULL ? eq[k] : 0;
        err += fabs(p[k]) * dq + fabs(q[k]) * dp + dp * dq;
    }
    double most = fabs(acc) + err + size;
    double top = fmax(m->f[0].top[rows[0]] * m->f[1].top[rows[1]], most);
    err += (double)me.steps * (me.align * fmax(top, 0x1p-133) + me.result * most + 0x1p-139);
    return isnan(err) ? INFINITY : err;
}

static exact_sum dot(const double *p, const double *q, int64_t n, double acc) {
    exact_sum s = {acc, 0};
    for (int64_t k = 0; k < n; k++) {
        s.v += p[k] * q[k];
        s.size += fabs(p[k] * q[k]);
    }
    return s;
}

// SIDE sums at once hide the latency of the additions; each keeps its own ascending order.
static void dot_sides(const double *p, const double *sides, int64_t n, double acc[SIDE],
                      double size[SIDE]) {
    typedef double two __attribute__((vector_size(16)));
    typedef int64_t two_words __attribute__((vector_size(16)));
    two_words magnitude = {INT64_MAX, INT64_MAX};
    two v[SIDE / 2], s[SIDE / 2] = {{0}};
    memcpy(v, acc, sizeof v);
    for (int64_t k = 0; k < n; k++) {
        two x = {p[k], p[k]};
        two q[SIDE / 2];
        memcpy(q, sides + k * SIDE, sizeof q);
        _Pragma("GCC unroll 4") for (int i = 0; i < SIDE / 2; i++) {
            two t = x * q[i];
            v[i] += t;
            s[i] += (two)((two_words)t & magnitude);
        }
    }
    memcpy(acc, v, sizeof v);
    memcpy(size, s, sizeof s);
}

// The accumulator's element at the current point; -1 if it lies outside.
static int64_t acc_index(eval *x, const product *m) {
    int64_t coords[MAX_AXES];
    if (m->s->target->kind != EX_INDEX) {
        return tile_index(x, m->target.tile, NULL);
    }
    bool inside = eval_coords(x, m->s->target, &m->target, coords);
    return inside ? tile_index(x, m->target.tile, coords) : -1;
}

static void add_exact(eval *x, product *m, machine_error me) {
    tile *t = m->target.tile;
    int64_t rows[2] = {row_of(x, m, &m->f[0]), row_of(x, m, &m->f[1])};
    int64_t at = acc_index(x, m);
    if (at < 0) {
        return;
    }
    exact_sum s =
        dot(m->f[0].v + rows[0] * m->cols, m->f[1].v + rows[1] * m->cols, m->cols, t->v[at]);
    if (t->err != NULL) {
        t->err[at] = sum_error(m, me, t->v[at], t->err[at], s.size, rows);
    }
    t->v[at] = s.v;
}

// Whether the target is a row of the accumulator's box at each point of all axes but the last, and
// only one factor moves along that: then its columns can go several at a time.
static bool find_side(const eval *x, product *m) {
    const tile *t = m->target.tile;
    const ast_expr *e = m->s->target;
    int last = m->tp.axes.n - 1;
    if (e->kind != EX_INDEX || e->n_args != last + 1 || t->axes.n != last + 1) {
        return false;
    }
    for (int i = 0; i <= last; i++) {
        if (e->args[i]->kind != EX_NAME || e->args[i]->sym != t->axes.sym[i] ||
            t->axes.sym[i] != m->tp.axes.sym[i]) {
            return false;
        }
    }
    const range *r = &x->ranges[t->axes.sym[last]->id];
    m->side = m->f[1].stride[last] != 0;
    return m->f[1 - m->side].stride[last] == 0 && m->f[m->side].stride[last] == 1 &&
           r->lo >= t->origin[last] && r->hi <= t->origin[last] + t->extent[last];
}

// Blocks of SIDE rows, for each of the other points of the factor; the last is
// filled up with zeros.
static bool fill_sides(eval *x, product *m, int64_t rows) {
    const factor *f = &m->f[m->side];
    int64_t blocks = (rows + SIDE - 1) / SIDE;
    m->sides = calloc((size_t)(f->rows / rows * blocks * SIDE * m->cols) + 1, sizeof *m->sides);
    if (m->sides == NULL) {
        eval_fail(x, EVAL_EMEMORY, f->e->span, "no memory for a tile of '%s'", m->inner->name);
        return false;
    }
    for (int64_t row = 0; row < f->rows; row++) {
        int64_t at = row / rows * blocks * SIDE + row % rows;
        double *out = m->sides + at / SIDE * SIDE * m->cols + at % SIDE;
        for (int64_t k = 0; k < m->cols; k++) {
            out[k * SIDE] = f->v[row * m->cols + k];
        }
    }
    return true;
}

static void add_exact_row(eval *x, product *m, machine_error me, int64_t cols) {
    tile *t = m->target.tile;
    int64_t at = acc_index(x, m);
    if (at < 0) {
        return;
    }
    int64_t rows[2] = {row_of(x, m, &m->f[0]), row_of(x, m, &m->f[1])};
    const double *p = m->f[1 - m->side].v + rows[1 - m->side] * m->cols;
    const double *q = m->sides + rows[m->side] / cols * ((cols + SIDE - 1) / SIDE) * SIDE * m->cols;
    for (int64_t j = 0; j < cols; j += SIDE) {
        double acc[SIDE] = {0};
        double size[SIDE];
        int64_t n = cols - j < SIDE ? cols - j : SIDE;
        memcpy(acc, t->v + at + j, (size_t)n * sizeof *acc);
        dot_sides(p, q + j * m->cols, m->cols, acc, size);
        for (int64_t i = 0; i < n && t->err != NULL; i++, rows[m->side]++) {
            t->err[at + j + i] =
                sum_error(m, me, t->v[at + j + i], t->err[at + j + i], size[i], rows);
        }
        memcpy(t->v + at + j, acc, (size_t)n * sizeof *acc);
    }
}

// Which factors, if any, the machine rounds before it multiplies.
static void find_rounded(const eval *x, product *m) {
    const ast_format *a = m->f[0].format;
    const ast_format *b = m->f[1].format;
    mach_instr in;
    if (a == NULL || b == NULL || !mach_choose(x->job->target, a, b, &in)) {
        return;
    }
    m->f[0].folded = in.fold != 0 && in.decode_a;
    m->f[1].folded = in.fold != 0 && in.decode_b;
    m->f[0].cut = a->elem == ELEM_F32;
    m->f[1].cut = b->elem == ELEM_F32;
}

static void exec_exact(eval *x, product *m) {
    find_rounded(x, m);
    if (!gather(x, m, &m->f[0]) || !gather(x, m, &m->f[1])) {
        return;
    }
    points_begin(x, &m->sum);
    machine_error me = error_of(x, m);
    if (!find_side(x, m)) {
        for (bool more = target_first(x, &m->tp); more; more = target_next(x, &m->tp)) {
            add_exact(x, m, me);
        }
        return;
    }
    axis_list outer = m->tp.axes;
    int64_t cols = range_extent(x, outer.sym[--outer.n]);
    if (!points_begin(x, &m->tp.axes) || !fill_sides(x, m, cols)) {
        return;
    }
    for (bool more = points_begin(x, &outer); more; more = points_next(x, &outer)) {
        add_exact_row(x, m, me, cols);
    }
}

// ---- tensor-core products

// A type that tensor cores read.
static bool is_operand(const ast_format *f) {
    return f != NULL && elem_is_float(f->elem) && f->elem != ELEM_F32 && elem_bits(f->elem) <= 32;
}

// Whether the tensor core multiplies the two, or should.
static bool is_multiplied(const eval *x, const ast_format *a, const ast_format *b) {
    mach_instr in;
    return (is_operand(a) && is_operand(b)) ||
           (a != NULL && b != NULL && mach_choose(x->job->target, a, b, &in));
}

// Codes of a row of a tile value, rounded to its type when it was made.
static bool tile_codes(eval *x, const product *m, const factor *f, uint32_t *codes,
                       uint8_t *scales) {
    tile *t = f->p.tile;
    range *r = &x->ranges[m->inner->id];
    int64_t n = r->hi - r->lo;
    for (r->pos = r->lo; r->pos < r->hi; r->pos++) {
        int64_t coords[MAX_AXES];
        int64_t at = -1;
        if (f->e->kind != EX_INDEX) {
            at = tile_index(x, t, NULL);
        } else if (eval_coords(x, f->e, &f->p, coords)) {
            at = tile_index(x, t, coords);
        }
        bool scaled = t->format->scale != ELEM_NONE;
        int64_t k = r->pos - r->lo;
        codes[k] = at < 0   ? 0
                   : scaled ? (uint32_t)eval_get_code(&t->q.t, at)
                            : mach_encode(t->format->elem, t->v[at]);
        if (scaled && at >= 0) {
            int64_t g = t->format->granule[t->format->n_granule - 1];
            int64_t cols = t->q.t.dims[t->q.t.n_dims - 1];
            int64_t per_row = (cols + g - 1) / g;
            scales[k / g] = t->q.t.scales[at / cols * per_row + at % cols / g];
        }
    }
    r->pos = r->lo;
    return n > 0;
}

static void panel_row(eval *x, const product *m, factor *f, uint32_t *codes, uint8_t *scales) {
    int64_t n = range_extent(x, m->inner);
    for (int64_t k = 0; k < n; k++) {
        codes[k] = 0;
        scales[k] = f->format->scale == ELEM_UE8M0 ? 127 : 0;
    }
    if (f->p.tile != NULL) {
        tile_codes(x, m, f, codes, scales);
        return;
    }
    run r;
    if (!find_run(x, f, m->inner, &r)) {
        eval_fail(x, EVAL_EPROGRAM, f->e->span, "'%s' must be a plain subscript of one axis here",
                  m->inner->name);
        return;
    }
    for (int64_t k = 0; k < r.inside; k++) {
        codes[k] = (uint32_t)eval_get_code(r.t, r.first + k * r.step);
    }
    if (f->format->scale == ELEM_NONE || f->format->scale == ELEM_F32 || r.inside == 0) {
        return;
    }
    int64_t g = f->format->granule[f->format->n_granule - 1];
    if (!r.scales_along) {
        eval_fail(x, EVAL_EPROGRAM, f->e->span,
                  "the tiles of '%s' must start at multiples of %lld along the last axis, where "
                  "elements share their scales",
                  m->inner->name, (long long)g);
        return;
    }
    for (int64_t j = 0; j * g < r.inside; j++) {
        scales[j] = r.t->scales[r.scale + j];
    }
}

// f32 scales of a row; what lies outside is multiplied by zeros.
static void panel_factors(eval *x, const product *m, const factor *f, mach_panel *p, int64_t row) {
    run r;
    int64_t g = f->format->granule[f->format->n_granule - 1];
    int64_t n = (range_extent(x, m->inner) + g - 1) / g;
    if (!find_run(x, f, m->inner, &r)) {
        return;
    }
    if (r.inside > 0 && !r.scales_along) {
        eval_fail(x, EVAL_EPROGRAM, f->e->span, "the tiles of '%s' must start at multiples of %lld",
                  m->inner->name, (long long)g);
        return;
    }
    uint32_t *factors = malloc((size_t)(n + 1) * sizeof *factors);
    for (int64_t j = 0; factors != NULL && j < n; j++) {
        factors[j] = j * g < r.inside ? eval_scale_code(r.t, r.scale + j) : 0;
    }
    if (factors != NULL) {
        mach_panel_factors(p, row, factors);
    }
    free(factors);
}

static bool fill_panel(eval *x, const product *m, factor *f, mach_panel *p) {
    size_t n = (size_t)range_extent(x, m->inner) + 1;
    uint32_t *codes = malloc(n * sizeof *codes);
    uint8_t *scales = malloc(n);
    int64_t row = 0;
    bool ok = p != NULL && codes != NULL && scales != NULL;
    if (!ok) {
        eval_fail(x, EVAL_EMEMORY, f->e->span, "no memory for a tile of '%s'", m->inner->name);
    }
    for (bool more = points_begin(x, &f->own); ok && more && !x->failed;
         more = points_next(x, &f->own)) {
        panel_row(x, m, f, codes, scales);
        bool wide = f->format->scale == ELEM_F32;
        mach_panel_set(p, row, codes, f->format->scale != ELEM_NONE && !wide ? scales : NULL);
        if (wide && !x->failed) {
            panel_factors(x, m, f, p, row);
        }
        row++;
    }
    points_begin(x, &f->own);
    free(codes);
    free(scales);
    return !x->failed;
}

static void run_panels(eval *x, product *m, const mach_panel *a, const mach_panel *b) {
    tile *t = m->target.tile;
    for (bool more = target_first(x, &m->tp); more; more = target_next(x, &m->tp)) {
        int64_t at = acc_index(x, m);
        if (at < 0) {
            continue;
        }
        uint32_t c = mach_encode(ELEM_F32, t->v[at]);
        c = mach_dot(a, row_of(x, m, &m->f[0]), b, row_of(x, m, &m->f[1]), c);
        t->v[at] = mach_decode(ELEM_F32, c);
    }
}

static void exec_machine(eval *x, product *m) {
    mach_instr in;
    if (!mach_choose(x->job->target, m->f[0].format, m->f[1].format, &in)) {
        eval_fail(x, EVAL_EPROGRAM, m->s->span, "%s has no instruction that multiplies %s by %s",
                  mach_target_name(x->job->target), m->f[0].format->name, m->f[1].format->name);
        return;
    }
    axis_list outer = m->sum;
    outer.n--;
    int64_t k = range_extent(x, m->inner);
    points_begin(x, &m->sum);
    for (bool more = k > 0 && points_begin(x, &outer); more && !x->failed;
         more = points_next(x, &outer)) {
        mach_panel *a = mach_panel_new(&in, true, m->f[0].rows, k);
        mach_panel *b = mach_panel_new(&in, false, m->f[1].rows, k);
        if (fill_panel(x, m, &m->f[0], a) && fill_panel(x, m, &m->f[1], b)) {
            run_panels(x, m, a, b);
        }
        mach_panel_free(a);
        mach_panel_free(b);
    }
}

// ---- everything else

static val target_load(eval *x, const product *m, const int64_t *coords, int64_t at) {
    if (m->target.tile != NULL) {
        return tile_load(x, m->target.tile, at);
    }
    return eval_load(x, m->target.st, coords);
}

static void target_put(eval *x, const product *m, int64_t at, val v) {
    tile *t = m->target.tile;
    if (t != NULL) {
        t->v[at] = val_num(v);
        if (t->err != NULL) {
            t->err[at] = v.err;
        }
        return;
    }
    storage *st = m->target.st;
    elem_kind e = st->t.format->elem;
    val r = val_round(x, v, e);
    eval_set_code(&st->t, at, elem_is_int(e) ? (uint64_t)r.i : mach_encode(e, val_num(v)));
    if (st->bound != NULL) {
        st->bound[at] = r.err;
    }
}

// False: outside, or in memory where the point before lies.
static bool add_point(eval *x, const product *m, update *u) {
    int64_t coords[MAX_AXES];
    int64_t at;
    if (m->s->target->kind == EX_INDEX) {
        if (!eval_coords(x, m->s->target, &m->target, coords)) {
            return false;
        }
        at = m->target.st != NULL ? linear_index(&m->target.st->t, coords)
                                  : tile_index(x, m->target.tile, coords);
    } else {
        at = tile_index(x, m->target.tile, NULL);
    }
    if (at < 0 || (at == u->at && m->target.st != NULL)) {
        return false;
    }
    val acc = target_load(x, m, coords, at);
    for (bool more = points_begin(x, &m->sum); more && !x->failed; more = points_next(x, &m->sum)) {
        acc = val_binary(x, OP_ADD, acc, eval_expr(x, m->s->value));
    }
    *u = (update){at, acc};
    return true;
}

// Memory is added to as it is stored to (eval.c): once for all points that name an
// element (D[m, n / BN]).
static void exec_points(eval *x, product *m) {
    update_list l = {0};
    update u = {.at = -1};
    for (bool more = target_first(x, &m->tp); more && !x->failed; more = target_next(x, &m->tp)) {
        if (!add_point(x, m, &u)) {
            continue;
        }
        if (m->target.tile != NULL) {
            target_put(x, m, u.at, u.v);
        } else if (!update_add(x, &l, m->s->span, u)) {
            break;
        }
    }
    for (int64_t i = 0; i < l.n && !x->failed; i++) {
        target_put(x, m, l.v[i].at, l.v[i].v);
    }
    free(l.v);
}

void exec_accumulate(eval *x, const ast_stmt *s) {
    product m = {.s = s, .target = eval_place(x, s->target)};
    if (x->failed) {
        return;
    }
    if (m.target.st != NULL && m.target.st->t.format->scale != ELEM_NONE) {
        eval_fail(x, EVAL_EPROGRAM, s->span, "'%s' is quantised: it cannot be added to",
                  m.target.st->name);
        return;
    }
    target_begin(x, s, &m.target, &m.tp);
    contracted_axes(x, s->value, &m.tp, &m.sum);
    // Products of matrices are for the tensor cores; what is summed up in a vector
    // is added one by one.
    bool is_product = s->value->kind == EX_BINARY && s->value->op == OP_MUL && m.sum.n > 0 &&
                      m.target.tile != NULL && m.tp.n_colon == 0 && m.tp.axes.n > 1;
    if (!is_product) {
        exec_points(x, &m);
        return;
    }
    m.f[0].e = graph_factor(s->value->a);
    m.f[1].e = graph_factor(s->value->b);
    choose_inner(x, &m);
    m.cols = 1;
    for (int i = 0; i < m.sum.n; i++) {
        m.cols *= range_extent(x, m.sum.sym[i]);
    }
    for (int i = 0; i < 2; i++) {
        factor_place(x, &m.f[i]);
        factor_rows(x, &m, &m.f[i]);
    }
    if (!x->machine) {
        exec_exact(x, &m);
    } else if (is_multiplied(x, m.f[0].format, m.f[1].format)) {
        exec_machine(x, &m);
    } else {
        exec_points(x, &m);
    }
    factor_free(&m.f[0]);
    factor_free(&m.f[1]);
    free(m.sides);
}
