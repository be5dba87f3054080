// Elementwise expressions: syntax tree -> tir_expr, with functions and lets written out.
//
// The order of operations is kept exactly as written: results are compared bit for bit.
#include "plan_int.h"

#include <string.h>

// Arguments of the functions being written out, innermost first.
typedef struct frame {
    const ast_sym *fn;
    tir_expr **args;
    const struct frame *outer;
} frame;

typedef struct {
    planner *p;
    const frame *top;
    int depth;
    bool bound;   // of a loop: its entries of tensors count as they are
    bool covered; // what is made of this fits in 32 bits, or only its low ones count
} lowering;

static tir_expr *lower(lowering *l, const ast_expr *e);

static tir_expr *new_expr(planner *p, tir_expr_kind kind, elem_kind type) {
    tir_expr *x = ARENA_NEW(p->mem, tir_expr);
    *x = (tir_expr){.kind = kind, .type = type};
    return x;
}

static tir_expr *new_node(planner *p, tir_expr_kind kind, elem_kind type, int n) {
    tir_expr *x = new_expr(p, kind, type);
    x->n_args = n;
    x->args = ARENA_ARRAY(p->mem, tir_expr *, n + 1);
    return x;
}

static tir_expr *constant(planner *p, elem_kind type, double v) {
    tir_expr *x = new_expr(p, TX_CONST, type);
    x->value = v;
    return x;
}

static tir_expr *refuse(lowering *l, const ast_expr *e, const char *what) {
    PLAN_REFUSE(l->p, "X101", e->span, "%s has no lowering in an epilogue yet", what);
    return NULL;
}

tir_expr *plan_as_f32(planner *p, tir_expr *x) {
    if (x->type == ELEM_F32) {
        return x;
    }
    if (x->kind == TX_CONST) {
        return constant(p, ELEM_F32, x->value);
    }
    tir_expr *c = new_node(p, TX_CONVERT, ELEM_F32, 1);
    c->elem = ELEM_F32;
    c->args[0] = x;
    return c;
}

// --- Positions -----------------------------------------------------------------------------------

// Loops are numbered through, those of the tile first; -1: an index that no loop walks.
static int loop_of(const planner *p, const ast_sym *index) {
    int tile = graph_loop_of(p->g, index);
    int steps = graph_for_of(p->g, index);
    return tile >= 0 ? tile : steps >= 0 ? p->k->n_loops + steps : -1;
}

static bool axis_of(planner *p, const ast_expr *e, tir_axis *out) {
    int64_t v = 0;
    if (lang_const_int(e, p->g->tparams, &v)) {
        *out = (tir_axis){.loop = -1, .mul = 1, .div = 1, .add = (int)v};
        return v >= 0 && v <= INT32_MAX;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_INDEX) {
        *out = (tir_axis){.loop = loop_of(p, e->sym), .mul = 1, .div = 1};
        return out->loop >= 0;
    }
    if (e->kind != EX_BINARY || !lang_const_int(e->b, p->g->tparams, &v) || v < 1 || v > 65536 ||
        !axis_of(p, e->a, out)) {
        return false;
    }
    switch (e->op) {
    case OP_ADD:
        out->add += (int)v;
        return out->mul == 1 && out->div == 1 && out->floor == 0;
    case OP_MUL:
        if (out->div == v && v > 1 && out->floor == 0) { // x / v * v
            out->floor = (int)v;
            out->div = 1;
            return true;
        }
        out->mul *= (int)v;
        return out->div == 1 && out->mul <= 65536;
    case OP_DIV:
        out->div *= (int)v;
        return out->mul == 1 && out->div <= 65536;
    default:
        return false;
    }
}

// A subscript as of * index + add + times * ((index + shift) / piece); piece 0:
// without the last term.
typedef struct {
    int loop; // -1: no index so far
    int64_t of, add, times, shift, piece;
} index_map;

static bool map_of(planner *p, const ast_expr *e, index_map *out);

static bool fits(int64_t v) {
    return v >= -INT32_MAX && v <= INT32_MAX;
}

static bool map_sum(planner *p, const ast_expr *e, index_map *out) {
    index_map b;
    int64_t sign = e->op == OP_SUB ? -1 : 1;
    if (!map_of(p, e->a, out) || !map_of(p, e->b, &b)) {
        return false;
    }
    bool same = out->piece == 0 || b.piece == 0 || (out->piece == b.piece && out->shift == b.shift);
    out->loop = out->loop >= 0 ? out->loop : b.loop;
    out->of += sign * b.of;
    out->add += sign * b.add;
    out->times += sign * b.times;
    out->shift = out->piece > 0 ? out->shift : b.shift;
    out->piece = out->piece > 0 ? out->piece : b.piece;
    return same && fits(out->of) && fits(out->add) && fits(out->times);
}

static bool map_product(planner *p, const ast_expr *e, index_map *out) {
    int64_t v = 0;
    bool left = lang_const_int(e->a, p->g->tparams, &v);
    if ((!left && !lang_const_int(e->b, p->g->tparams, &v)) || !fits(v) ||
        !map_of(p, left ? e->b : e->a, out)) {
        return false;
    }
    out->of *= v;
    out->add *= v;
    out->times *= v;
    return fits(out->of) && fits(out->add) && fits(out->times);
}

// x / v, and x % v as x - x / v * v, of an index or one with a number added.
static bool map_quotient(planner *p, const ast_expr *e, index_map *out) {
    int64_t v = 0;
    if (!lang_const_int(e->b, p->g->tparams, &v) || v < 1 || v > 1 << 20 || !map_of(p, e->a, out) ||
        out->of != 1 || out->piece > 0 || out->add < 0 || out->add > 1 << 20) {
        return false;
    }
    out->shift = out->add;
    out->piece = v;
    out->times = e->op == OP_DIV ? 1 : -v;
    out->of = e->op == OP_DIV ? 0 : 1;
    out->add = e->op == OP_DIV ? 0 : out->add;
    return true;
}

static bool map_of(planner *p, const ast_expr *e, index_map *out) {
    int64_t v = 0;
    *out = (index_map){.loop = -1};
    if (lang_const_int(e, p->g->tparams, &v)) {
        out->add = v;
        return fits(v);
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_INDEX) {
        out->loop = loop_of(p, e->sym);
        out->of = 1;
        return out->loop >= 0;
    }
    if (e->kind != EX_BINARY) {
        return false;
    }
    switch (e->op) {
    case OP_ADD:
    case OP_SUB:
        return map_sum(p, e, out);
    case OP_MUL:
        return map_product(p, e, out);
    case OP_DIV:
    case OP_MOD:
        return map_quotient(p, e, out);
    default:
        return false;
    }
}

// A map that increases as an axis; else why not.
static const char *map_axis(planner *p, const ast_expr *e, tir_axis *out) {
    index_map m;
    if (!map_of(p, e, &m) || m.loop < 0) {
        return "is no map of one index with one divisor";
    }
    m.piece = m.times == 0 ? 0 : m.piece;
    if (m.of != 1) {
        return arena_printf(p->mem, "takes %lld steps from one element to the next%s",
                            (long long)m.of, m.of == 0 ? ": many lie at one place" : "");
    }
    if (m.times < 0 || m.times > 1 << 20) {
        return arena_printf(p->mem, "goes %lld places back after each %lld elements",
                            (long long)-m.times, (long long)m.piece);
    }
    if (m.add < 0) {
        return arena_printf(p->mem, "begins at %lld", (long long)m.add);
    }
    *out = (tir_axis){.loop = m.loop, .mul = 1, .div = 1, .add = (int)m.add, .piece = (int)m.piece};
    out->shift = m.piece > 0 ? (int)m.shift : 0;
    out->gap = m.piece > 0 ? (int)m.times : 0;
    return NULL;
}

// Where an output is written: an index, or a map of one that increases.
bool plan_target_axis(planner *p, const ast_expr *e, tir_axis *out) {
    if (axis_of(p, e, out) &&
        (e->kind != EX_BINARY || (out->mul == 1 && out->div != 1 && out->floor == 0))) {
        return true;
    }
    const char *why = map_axis(p, e, out);
    if (why != NULL) {
        PLAN_REFUSE(p, "O107", e->span, "'%s' %s", expr_text(p->mem, e), why);
        diag_because(p->d, "an element is written once: 'n + (n + SHIFT) / PIECE * GAP' with a gap "
                           "of 0 or more does");
    }
    return why == NULL;
}

bool plan_axes(planner *p, const ast_expr *slice, tir_axis *out) {
    for (int i = 0; i < slice->n_args; i++) {
        const ast_expr *e = slice->args[i];
        if (!axis_of(p, e, &out[i]) && map_axis(p, e, &out[i]) != NULL) {
            PLAN_REFUSE(p, "X101", slice->args[i]->span,
                        "this subscript has no lowering yet: tile indices, with a constant added, "
                        "multiplied or divided, do");
            return false;
        }
    }
    return true;
}

// --- Leaves --------------------------------------------------------------------------------------

static tir_expr *lower(lowering *l, const ast_expr *e);

// Lanes reduce in f32.
static bool is_real(planner *p, const ast_expr *e, const tir_expr *of) {
    if (of->type != ELEM_F32) {
        PLAN_REFUSE(p, "X101", e->span, "whole numbers are not reduced: no lowering yet");
        diag_help(p->d, "reduce f32(...) of them");
    }
    return of->type == ELEM_F32;
}

// Over all of a loop that is no side of the tile: each lane walks it for its row.
static tir_expr *whole_reduction(planner *p, const ast_expr *e, reduce_kind how, int loop,
                                 tir_expr *of) {
    if (!is_real(p, e, of)) {
        return NULL;
    }
    tir_expr *x = new_node(p, TX_REDUCE, ELEM_F32, 1);
    x->reduce = how;
    x->ref = loop;
    x->args[0] = of;
    for (int i = 0; i < (plan_is_elementwise(p) ? 1 : p->k->n_accs); i++) {
        const tir_acc *tile = &p->k->accs[i];
        if (!tir_varies(x, tile->col_loop)) {
            continue;
        }
        PLAN_REFUSE(p, "X101", e->span,
                    "this differs between the columns '%s' of the tile, and a lane has a row: no "
                    "lowering yet",
                    p->k->loops[tile->col_loop].index);
        if (plan_is_elementwise(p)) {
            diag_help(p->d, "store it by a kernel of its own, whose tile is along '%s' alone",
                      p->k->loops[tile->col_loop].index);
        } else {
            diag_help(p->d, "for the rows '%s' it has, and 'swap %s' makes them the columns",
                      p->k->loops[tile->row_loop].index, tile->name);
        }
        return NULL;
    }
    return x;
}

// All of its loop's steps in order are the loop's elements in order.
static tir_expr *lower_sum(lowering *l, const ast_expr *e, const graph_sum *sum) {
    planner *p = l->p;
    tir_expr *a = lower(l, sum->stmt->value);
    if (a == NULL) {
        return NULL;
    }
    // From +0 on, which only shows in the sign of a sum of zeros.
    tir_expr *x = new_node(p, TX_BINARY, ELEM_F32, 2);
    x->op = OP_ADD;
    x->args[0] = whole_reduction(p, e, RED_SUM, p->k->n_loops + sum->level, a);
    x->args[1] = constant(p, ELEM_F32, 0);
    return x->args[0] != NULL ? x : NULL;
}

// By its name, or with its own indices behind it.
static tir_expr *lower_acc(lowering *l, const ast_expr *e, const ast_sym *sym) {
    planner *p = l->p;
    int sum = graph_sum_of(p->g, sym);
    int acc = graph_acc_of(p->g, sym);
    const ast_expr *zero = (sum >= 0 ? p->g->sums[sum].zero : p->g->acc_stmts[acc])->value;
    for (int i = 0; e->kind == EX_INDEX && i < e->n_args; i++) {
        if (e->args[i]->kind != EX_NAME || e->args[i]->sym != zero->args[i]->sym) {
            return refuse(l, e, "an accumulator read at another place than its own element");
        }
    }
    if (sum >= 0) {
        return lower_sum(l, e, &p->g->sums[sum]);
    }
    tir_expr *x = new_expr(p, TX_ACC, ELEM_F32);
    x->ref = acc;
    return x;
}

// Why the scales of single elements have no place that is known; NULL if they have.
static const char *scales_wrong(const planner *p, const tir_param *t) {
    for (int i = 0; i < p->g->n_stores; i++) {
        if (p->g->stores[i].param->id == (int)(t - p->k->params)) {
            return "the kernel stores them too, and elements that are stored at another time share "
                   "a scale";
        }
    }
    return t->n_dims < 2       ? "its scales lie in tiles of 128 rows, of which it has none"
           : t->groups != NULL ? "its rows are ragged, and so are its scales"
                               : NULL;
}

// An element of a tensor, or its scale.
static tir_expr *load(planner *p, tir_expr_kind kind, const ast_expr *slice) {
    const ast_sym *sym = slice->a->sym;
    bool whole = kind == TX_LOAD && elem_is_int(sym->format->elem);
    tir_expr *x = new_expr(p, kind, whole ? ELEM_I32 : ELEM_F32);
    x->ref = sym->id;
    x->n_axes = slice->n_args;
    x->axes = ARENA_ARRAY(p->mem, tir_axis, slice->n_args + 1);
    return plan_axes(p, slice, x->axes) ? x : NULL;
}

static tir_expr *lower_slice(lowering *l, const ast_expr *e) {
    planner *p = l->p;
    if (e->a->kind != EX_NAME || e->a->sym == NULL) {
        return refuse(l, e, "this value");
    }
    const ast_sym *sym = e->a->sym;
    if (sym->kind == SYM_LET) {
        return sym->is_acc ? lower_acc(l, e, sym) : lower(l, sym->stmt->value);
    }
    if (sym->kind != SYM_PARAM) {
        return refuse(l, e, "this value");
    }
    tir_expr *x = load(p, TX_LOAD, e);
    if (x == NULL || sym->format->scale == ELEM_NONE) {
        return x;
    }
    const char *wrong = scales_wrong(p, &p->k->params[sym->id]);
    if (wrong != NULL) {
        PLAN_REFUSE(p, "X101", e->span, "elements of '%s' cannot be read one by one: %s", sym->name,
                    wrong);
        return NULL;
    }
    tir_expr *scaled = new_node(p, TX_BINARY, ELEM_F32, 2);
    scaled->op = OP_MUL;
    scaled->args[0] = x;
    scaled->args[1] = load(p, TX_SCALE, e);
    return scaled;
}

static tir_expr *lower_name(lowering *l, const ast_expr *e) {
    planner *p = l->p;
    const ast_sym *s = e->sym;
    tir_expr *x = NULL;
    switch (s->kind) {
    case SYM_PARAM:
        if (s->n_dims > 0) {
            return refuse(l, e, "a whole tensor");
        }
        if (s->format->elem == ELEM_I64) {
            return refuse(l, e, "a scalar of i64");
        }
        x = new_expr(p, TX_SCALAR, elem_is_int(s->format->elem) ? ELEM_I32 : ELEM_F32);
        x->ref = s->id;
        return x;
    case SYM_DIM:
        x = new_expr(p, TX_SIZE, ELEM_I32);
        for (int i = 0; i < p->k->n_dims; i++) {
            x->ref = strcmp(p->k->dims[i], s->name) == 0 ? i : x->ref;
        }
        return x;
    case SYM_INDEX:
        x = new_expr(p, TX_INDEX, ELEM_I32);
        x->ref = loop_of(p, s);
        return x->ref >= 0 ? x : refuse(l, e, "this index");
    case SYM_LET:
        return s->is_acc ? lower_acc(l, e, s) : lower(l, s->stmt->value);
    case SYM_FNARG:
        for (const frame *f = l->top; f != NULL; f = f->outer) {
            for (int i = 0; i < f->fn->n_args; i++) {
                if (f->fn->args[i] == s) {
                    return f->args[i];
                }
            }
        }
        return refuse(l, e, "this name");
    case SYM_CONST:
        return s->is_float ? constant(p, ELEM_F32, s->fvalue)
                           : constant(p, ELEM_I32, (double)s->ivalue);
    default:
        return refuse(l, e, "this name");
    }
}

// --- Operations ----------------------------------------------------------------------------------

static bool is_compare(ast_op op) {
    return op >= OP_LT && op <= OP_NE;
}

static tir_expr *lower_binary(lowering *l, const ast_expr *e) {
    planner *p = l->p;
    bool wraps = e->op == OP_ADD || e->op == OP_SUB || e->op == OP_MUL;
    bool outer = l->covered;
    bool wide = e->type != NULL && elem_is_int(e->type->elem) && (wraps || e->op == OP_SHL);
    if (wide && !outer && !plan_fits(p, e, l->bound)) {
        return NULL;
    }
    l->covered = wraps && (outer || (wide && !l->bound));
    tir_expr *a = lower(l, e->a);
    tir_expr *b = a != NULL ? lower(l, e->b) : NULL;
    l->covered = outer;
    if (b == NULL) {
        return NULL;
    }
    bool logical = e->op == OP_AND || e->op == OP_OR;
    if (!logical && (a->type == ELEM_F32 || b->type == ELEM_F32)) {
        a = plan_as_f32(p, a);
        b = plan_as_f32(p, b);
    }
    tir_expr *x = new_node(p, TX_BINARY, is_compare(e->op) || logical ? ELEM_BOOL : a->type, 2);
    x->op = e->op;
    x->args[0] = a;
    x->args[1] = b;
    return x;
}

static tir_expr *lower_fn(lowering *l, const ast_expr *e) {
    const ast_sym *fn = e->sym;
    frame f = {fn, ARENA_ARRAY(l->p->mem, tir_expr *, fn->n_args + 1), l->top};
    for (int i = 0; i < fn->n_args; i++) {
        f.args[i] = lower(l, e->args[i]);
        if (f.args[i] == NULL) {
            return NULL;
        }
    }
    // The body sees only its own arguments.
    frame own = {fn, f.args, NULL};
    const frame *outer = l->top;
    l->top = &own;
    tir_expr *x = lower(l, fn->init);
    l->top = outer;
    return x;
}

static tir_expr *lower_builtin(lowering *l, const ast_expr *e) {
    if (e->builtin == BI_SWIGLU) {
        return refuse(l, e, "swiglu, which pairs neighbouring columns,");
    }
    if (e->builtin == BI_CEILDIV) {
        return refuse(l, e, "'ceildiv', which is for sizes,");
    }
    bool whole = e->builtin == BI_MIN || e->builtin == BI_MAX || e->builtin == BI_ABS ||
                 e->builtin == BI_RELU || e->builtin == BI_CLAMP;
    tir_expr *x = new_node(l->p, TX_CALL, ELEM_F32, e->n_args);
    x->builtin = e->builtin;
    for (int i = 0; i < e->n_args; i++) {
        x->args[i] = lower(l, e->args[i]);
        if (x->args[i] == NULL) {
            return NULL;
        }
        whole = whole && x->args[i]->type == ELEM_I32;
    }
    for (int i = 0; i < e->n_args && !whole; i++) {
        x->args[i] = plan_as_f32(l->p, x->args[i]);
    }
    x->type = whole ? ELEM_I32 : ELEM_F32;
    return x;
}

static tir_expr *lower_convert(lowering *l, const ast_expr *e) {
    const ast_format *f = e->format;
    if (f->scale != ELEM_NONE || e->n_args != 1) {
        return refuse(l, e, "a scaled format inside an expression");
    }
    if (f->elem == ELEM_I64) {
        return refuse(l, e, "a conversion to i64");
    }
    bool outer = l->covered;
    l->covered = f->elem == ELEM_I32; // the low bits
    tir_expr *a = lower(l, e->args[0]);
    l->covered = outer;
    if (a == NULL || (f->elem == ELEM_F32 && a->type == ELEM_F32)) {
        return a;
    }
    tir_expr *x = new_node(l->p, TX_CONVERT, elem_is_int(f->elem) ? ELEM_I32 : ELEM_F32, 1);
    x->elem = f->elem;
    x->args[0] = elem_is_int(f->elem) ? a : plan_as_f32(l->p, a);
    return x;
}

static tir_expr *lower_call(lowering *l, const ast_expr *e) {
    switch (e->call) {
    case CALL_FN:
        return lower_fn(l, e);
    case CALL_BUILTIN:
        return lower_builtin(l, e);
    case CALL_CONVERT:
        return lower_convert(l, e);
    default:
        return refuse(l, e, "this call");
    }
}

static tir_expr *lower_select(lowering *l, const ast_expr *e) {
    tir_expr *c = lower(l, e->args[0]);
    tir_expr *a = c != NULL ? lower(l, e->a) : NULL;
    tir_expr *b = a != NULL ? lower(l, e->b) : NULL;
    if (b == NULL) {
        return NULL;
    }
    if (a->type != b->type) {
        a = plan_as_f32(l->p, a);
        b = plan_as_f32(l->p, b);
    }
    tir_expr *x = new_node(l->p, TX_SELECT, a->type, 3);
    x->args[0] = c;
    x->args[1] = a;
    x->args[2] = b;
    return x;
}

// Over the tile of an index that is a side of the tile. Lanes hold rows: along the columns each
// reduces its own in order, across the rows they meet, where only a maximum or minimum does not
// depend on the order.
static tir_expr *lower_reduce(lowering *l, const ast_expr *e) {
    planner *p = l->p;
    int loop = graph_loop_of(p->g, e->index);
    if (e->index->walk == WALK_ALL) {
        tir_expr *of = lower(l, e->a);
        tir_expr *x =
            of != NULL ? whole_reduction(p, e, e->reduce, loop_of(p, e->index), of) : NULL;
        return x != NULL && tir_reads_acc(x) ? refuse(l, e, "a reduction of an accumulator") : x;
    }
    const tir_acc *tile = plan_is_elementwise(p) ? &p->k->accs[0] : NULL;
    if (tile == NULL) {
        tir_expr *of = lower(l, e->a);
        PLAN_REFUSE(p, "X101", e->span,
                    "a reduction over the tile of '%s' beside products has no lowering yet",
                    e->index->name);
        diag_help(p->d,
                  of != NULL && tir_reads_acc(of)
                      ? "store the products, and a kernel behind this one reduces them"
                      : "over all of a dimension it has: all i of SIZE; %s[i](...)",
                  e->reduce == RED_SUM ? "sum" : e->reduce == RED_MAX ? "max" : "min");
        return NULL;
    }
    if (loop < 0 || (loop != tile->row_loop && loop != tile->col_loop)) {
        PLAN_REFUSE(
            p, "X101", e->span,
            "'%s' is no side of the tile of '%s' and '%s': a reduction over it has no lowering yet",
            e->index->name, p->k->loops[tile->row_loop].index, p->k->loops[tile->col_loop].index);
        return NULL;
    }
    if (p->k->loops[loop].hi != NULL) {
        return refuse(l, e, "a reduction over a part of a dimension");
    }
    tir_expr *a = lower(l, e->a);
    if (a == NULL || !is_real(p, e, a)) {
        return NULL;
    }
    if (e->reduce == RED_SUM && loop == tile->row_loop) {
        PLAN_REFUSE(p, "X101", e->span,
                    "a sum over '%s', which lanes of a warp hold, has no lowering yet",
                    e->index->name);
        diag_help(p->d, "a sum over the columns of the tile has; the order of the loops in the "
                        "'tile' says which they are");
        return NULL;
    }
    if (loop == tile->row_loop && tir_varies(a, tile->col_loop)) {
        PLAN_REFUSE(p, "X101", e->span,
                    "'%s' and '%s' are each reduced for the other's elements: a tile turned both "
                    "ways has no lowering yet",
                    e->index->name, p->k->loops[tile->col_loop].index);
        diag_help(p->d, "give one of them a kernel of its own");
        return NULL;
    }
    tir_expr *x = new_node(p, TX_REDUCE, ELEM_F32, 1);
    x->reduce = e->reduce;
    x->ref = loop;
    x->args[0] = a;
    return tir_reads_acc(x) ? refuse(l, e, "a reduction of an accumulator") : x;
}

// What takes all bits of its operands.
static tir_expr *lower_whole(lowering *l, const ast_expr *e) {
    bool outer = l->covered;
    l->covered = false;
    tir_expr *x = e->kind == EX_CALL     ? lower_call(l, e)
                  : e->kind == EX_SELECT ? lower_select(l, e)
                  : e->kind == EX_REDUCE ? lower_reduce(l, e)
                                         : refuse(l, e, "this expression");
    l->covered = outer;
    return x;
}

static tir_expr *lower_kind(lowering *l, const ast_expr *e) {
    switch (e->kind) {
    case EX_INT:
        return constant(l->p, ELEM_I32, (double)e->ivalue);
    case EX_FLOAT:
        return constant(l->p, ELEM_F32, e->fvalue);
    case EX_NAME:
        return lower_name(l, e);
    case EX_UNARY: {
        tir_expr *a = lower(l, e->a);
        if (a == NULL) {
            return NULL;
        }
        tir_expr *x = new_node(l->p, TX_UNARY, a->type, 1);
        x->op = e->op;
        x->args[0] = a;
        return x;
    }
    case EX_BINARY:
        return lower_binary(l, e);
    case EX_INDEX:
        return lower_slice(l, e);
    default:
        return lower_whole(l, e);
    }
}

static tir_expr *lower(lowering *l, const ast_expr *e) {
    int64_t v = 0;
    if (lang_const_int(e, l->p->g->tparams, &v)) {
        return constant(l->p, ELEM_I32, (double)v);
    }
    if (l->depth >= 200) {
        return refuse(l, e, "an expression nested 200 deep");
    }
    l->depth++;
    tir_expr *x = lower_kind(l, e);
    l->depth--;
    return x;
}

tir_expr *plan_expr(planner *p, const ast_expr *e) {
    lowering l = {.p = p, .bound = true};
    return lower(&l, e);
}

tir_expr *plan_value(planner *p, const ast_expr *e) {
    lowering l = {.p = p};
    return lower(&l, e);
}
