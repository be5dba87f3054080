// Checks of sizes, positions and elementwise expressions: shape, references, types, arity.
#include "tir_verify_int.h"

#include <math.h>

// --- Sizes ---------------------------------------------------------------------------------------

// What besides numbers and dims a size may speak of.
enum { USES_PITCHES = 1, USES_SMS = 2 };

static bool size_node(verifier *v, const tir_size *s, int uses, int depth, const char *what) {
    const tir_kernel *k = v->k;
    VERIFY(v, s != NULL, "%s: a size is missing", what);
    VERIFY(v, depth <= TIR_MAX_DEPTH, "%s: a size nested more than %d deep", what, TIR_MAX_DEPTH);
    VERIFY(v, (unsigned)s->op <= SZ_SMS, "%s: no such size operation", what);
    switch (s->op) {
    case SZ_INT:
        return true;
    case SZ_DIM:
        VERIFY(v, tir_in(s->dim, 0, k->n_dims - 1), "%s: no dim #%d", what, s->dim);
        return true;
    case SZ_PITCH:
    case SZ_SF_BYTES:
        VERIFY(v, (uses & USES_PITCHES) != 0,
               "%s: pitches of tensors are known to tensor maps only", what);
        VERIFY(v, tir_in(s->dim, 0, k->n_params - 1) && k->params[s->dim].is_tensor,
               "%s: param #%d is no tensor", what, s->dim);
        VERIFY(v, s->op == SZ_PITCH || k->params[s->dim].scale != ELEM_NONE,
               "%s: tensor '%s' has no scales", what, k->params[s->dim].name);
        return true;
    case SZ_SMS:
        VERIFY(v, (uses & USES_SMS) != 0,
               "%s: the multiprocessors are known to 'when' and 'cost' only", what);
        return true;
    default:
        return size_node(v, s->a, uses, depth + 1, what) &&
               size_node(v, s->b, uses, depth + 1, what);
    }
}

bool verify_size(verifier *v, const tir_size *s, bool pitches, const char *what) {
    return size_node(v, s, pitches ? USES_PITCHES : 0, 0, what);
}

bool verify_choice(verifier *v, const tir_size *s, const char *what) {
    return s == NULL || size_node(v, s, USES_SMS, 0, what);
}

// --- Positions -----------------------------------------------------------------------------------

// The index of a tile loop, or of a loop that a reduction around it walks.
static bool is_index(const verifier *v, int loop) {
    return tir_in(loop, 0, v->k->n_loops - 1) ||
           (tir_in(loop, 0, TIR_REDUCE_LOOPS - 1) && (v->walked >> loop & 1) != 0);
}

bool verify_axes(verifier *v, const tir_axis *axes, int n, const char *what) {
    for (int i = 0; i < n; i++) {
        const tir_axis *a = &axes[i];
        VERIFY(v, a->loop == -1 || is_index(v, a->loop), "%s: axis %d follows no tile loop", what,
               i);
        VERIFY(v, tir_in(a->mul, 1, 1 << 20) && tir_in(a->div, 1, 1 << 20),
               "%s: axis %d: times %d, over %d", what, i, a->mul, a->div);
        VERIFY(v, tir_in(a->floor, 0, 1 << 20) && (a->floor == 0 || a->add >= 0),
               "%s: axis %d: multiples of %d from %d on", what, i, a->floor, a->add);
        VERIFY(v,
               tir_in(a->piece, 0, 1 << 20) && tir_in(a->shift, 0, 1 << 20) &&
                   tir_in(a->gap, 0, 1 << 20) &&
                   (a->piece > 0
                        ? a->loop >= 0 && a->mul == 1 && a->div == 1 && a->floor == 0 && a->add >= 0
                        : a->shift == 0 && a->gap == 0),
               "%s: axis %d: pieces of %d from %d on, %d apart", what, i, a->piece, a->shift,
               a->gap);
    }
    return true;
}

// --- Expressions ---------------------------------------------------------------------------------

static bool is_value(elem_kind t) {
    return t == ELEM_F32 || t == ELEM_I32;
}

static elem_kind value_type(elem_kind e) {
    return elem_is_int(e) ? ELEM_I32 : ELEM_F32;
}

// Scales of one byte lie in tiles of 128 x 4 that begin with the matrix, f32 ones row by row or
// column by column.
static bool verify_scale(verifier *v, const tir_expr *e, const tir_param *p, const char *what) {
    VERIFY(v, e->type == ELEM_F32, "%s: a scale of type %s", what, elem_name(e->type));
    VERIFY(v, p->is_tensor && p->scale != ELEM_NONE && p->n_dims >= 2 && p->groups == NULL,
           "%s: scales of '%s' cannot be read one by one", what, p->name);
    layout_kind l = p->layout != NULL ? (layout_kind)layout_find(p->layout) : LAYOUT_LINEAR;
    VERIFY(v,
           elem_bits(p->scale) == 8 ? l == LAYOUT_128X4 && p->granule_rows == 1
                                    : p->scale == ELEM_F32 && (l == LAYOUT_LINEAR || l == LAYOUT_MN_MAJOR),
           "%s: scales of '%s' lie as %s", what, p->name, p->layout != NULL ? p->layout : "linear");
    return true;
}

static bool leaf_param(verifier *v, const tir_expr *e, const char *what) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(e->ref, 0, k->n_params - 1), "%s: no param #%d", what, e->ref);
    const tir_param *p = &k->params[e->ref];
    if (e->kind == TX_SCALE && !verify_scale(v, e, p, what)) {
        return false;
    }
    VERIFY(v, e->kind == TX_SCALE || e->type == value_type(p->elem), "%s: '%s' of %s read as %s", what, p->name,
           elem_name(p->elem), elem_name(e->type));
    if (e->kind == TX_SCALAR) {
        VERIFY(v, !p->is_tensor, "%s: tensor '%s' read as a scalar", what, p->name);
        return true;
    }
    int bits = elem_bits(p->elem);
    VERIFY(v, p->is_tensor, "%s: scalar '%s' read as a tensor", what, p->name);
    VERIFY(v, bits == 4 || bits == 6 || bits == 8 || bits == 16 || bits == 32,
           "%s: elements of '%s' have %d bits", what, p->name, bits);
    VERIFY(v, e->n_axes == p->n_dims && e->n_axes <= 8,
           "%s: %d subscripts of '%s', which has %d axes", what, e->n_axes, p->name, p->n_dims);
    return verify_axes(v, e->axes, e->n_axes, what);
}

static bool leaf(verifier *v, const tir_expr *e, const char *what) {
    const tir_kernel *k = v->k;
    switch (e->kind) {
    case TX_CONST:
        VERIFY(v, is_value(e->type) || e->type == ELEM_BOOL, "%s: a constant of type %s", what,
               elem_name(e->type));
        VERIFY(v, e->type == ELEM_F32 || (e->value == floor(e->value) && fabs(e->value) < 0x1p53),
               "%s: %g is no whole number", what, e->value);
        return true;
    case TX_ACC:
        VERIFY(v, tir_in(e->ref, 0, k->n_accs - 1), "%s: no acc #%d", what, e->ref);
        VERIFY(v, e->type == ELEM_F32, "%s: an accumulator of type %s", what, elem_name(e->type));
        return true;
    case TX_INDEX:
        VERIFY(v, is_index(v, e->ref), "%s: no tile loop #%d", what, e->ref);
        VERIFY(v, e->type == ELEM_I32, "%s: an index of type %s", what, elem_name(e->type));
        return true;
    case TX_SIZE:
        VERIFY(v, tir_in(e->ref, 0, k->n_dims - 1), "%s: no dim #%d", what, e->ref);
        VERIFY(v, e->type == ELEM_I32, "%s: a size of type %s", what, elem_name(e->type));
        return true;
    default:
        return leaf_param(v, e, what);
    }
}

static bool unary(verifier *v, const tir_expr *e, const char *what) {
    elem_kind a = e->args[0]->type;
    bool fits = e->op == OP_NOT      ? a == ELEM_BOOL
                : e->op == OP_NEG    ? is_value(a)
                : e->op == OP_BITNOT ? a == ELEM_I32
                                     : false;
    VERIFY(v, fits && e->type == a, "%s: a sign or negation gives %s of %s", what,
           elem_name(e->type), elem_name(a));
    return true;
}

static bool binary(verifier *v, const tir_expr *e, const char *what) {
    elem_kind a = e->args[0]->type;
    elem_kind b = e->args[1]->type;
    bool fits = a == b;
    elem_kind type = a;
    if (e->op >= OP_LT && e->op <= OP_NE) {
        fits &= is_value(a) || (a == ELEM_BOOL && (e->op == OP_EQ || e->op == OP_NE));
        type = ELEM_BOOL;
    } else if (e->op == OP_AND || e->op == OP_OR) {
        fits &= a == ELEM_BOOL;
    } else if (e->op <= OP_DIV) {
        fits &= is_value(a);
    } else {
        fits &= a == ELEM_I32 && e->op <= OP_SHR;
    }
    VERIFY(v, fits && e->type == type, "%s: an operation on %s and %s gives %s", what, elem_name(a),
           elem_name(b), elem_name(e->type));
    return true;
}

static int arity_of(builtin_kind b) {
    static const int arity[BI_COUNT] = {
#define FP4_BUILTIN(id, name, n) [BI_##id] = n,
#include "builtins.def"
#undef FP4_BUILTIN
    };
    return (unsigned)b < BI_COUNT ? arity[b] : -1;
}

static bool call(verifier *v, const tir_expr *e, const char *what) {
    VERIFY(v, e->builtin != BI_SWIGLU, "%s: swiglu of single elements", what);
    VERIFY(v, is_value(e->type), "%s: a function gives %s", what, elem_name(e->type));
    bool whole = e->builtin == BI_MIN || e->builtin == BI_MAX || e->builtin == BI_ABS ||
                 e->builtin == BI_RELU || e->builtin == BI_CLAMP;
    VERIFY(v, e->type == ELEM_F32 || whole, "%s: this function is of f32 only", what);
    for (int i = 0; i < e->n_args; i++) {
        VERIFY(v, e->args[i]->type == e->type, "%s: argument %d of a function is %s, its value %s",
               what, i + 1, elem_name(e->args[i]->type), elem_name(e->type));
    }
    return true;
}

static bool convert(verifier *v, const tir_expr *e, const char *what) {
    VERIFY(v, (unsigned)e->elem < ELEM_COUNT && e->elem != ELEM_BOOL,
           "%s: a conversion to no type of data", what);
    VERIFY(v, e->type == value_type(e->elem), "%s: a conversion to %s gives %s", what,
           elem_name(e->elem), elem_name(e->type));
    return true;
}

static bool select(verifier *v, const tir_expr *e, const char *what) {
    VERIFY(v, e->args[0]->type == ELEM_BOOL && e->args[1]->type == e->type &&
                  e->args[2]->type == e->type,
           "%s: select of %s ? %s : %s gives %s", what, elem_name(e->args[0]->type),
           elem_name(e->args[1]->type), elem_name(e->args[2]->type), elem_name(e->type));
    return true;
}

static bool reduction(verifier *v, const tir_expr *e, const char *what) {
    VERIFY(v, (unsigned)e->reduce <= RED_MIN, "%s: no such reduction", what);
    VERIFY(v, e->ref < v->k->n_loops || v->k->fors[e->ref - v->k->n_loops].lo == NULL,
           "%s: a reduction over a part of for #%d", what, e->ref - v->k->n_loops);
    VERIFY(v, e->type == ELEM_F32 && e->args[0]->type == ELEM_F32, "%s: a reduction of %s gives %s",
           what, elem_name(e->args[0]->type), elem_name(e->type));
    VERIFY(v, !tir_reads_acc(e->args[0]), "%s: a reduction of an accumulator", what);
    return true;
}

static int args_wanted(const tir_expr *e) {
    switch (e->kind) {
    case TX_UNARY:
    case TX_CONVERT:
    case TX_REDUCE:
        return 1;
    case TX_BINARY:
        return 2;
    case TX_SELECT:
        return 3;
    case TX_CALL:
        return arity_of(e->builtin);
    default:
        return 0;
    }
}

static bool expr_node(verifier *v, const tir_expr *e, int depth, const char *what) {
    VERIFY(v, e != NULL, "%s: an expression is missing", what);
    VERIFY(v, depth <= TIR_MAX_DEPTH, "%s: an expression nested more than %d deep", what,
           TIR_MAX_DEPTH);
    VERIFY(v, (unsigned)e->kind <= TX_REDUCE && (unsigned)e->type < ELEM_COUNT,
           "%s: no such expression", what);
    int wanted = args_wanted(e);
    VERIFY(v, e->n_args == wanted, "%s: %d arguments where %d are taken", what, e->n_args, wanted);
    uint64_t walked = v->walked;
    if (e->kind == TX_REDUCE) {
        VERIFY(v, tir_in(e->ref, 0, v->k->n_loops + v->k->n_fors - 1) && e->ref < TIR_REDUCE_LOOPS,
               "%s: a reduction over no loop #%d", what, e->ref);
        v->walked |= UINT64_C(1) << e->ref;
    }
    for (int i = 0; i < e->n_args; i++) {
        if (!expr_node(v, e->args[i], depth + 1, what)) {
            return false;
        }
    }
    v->walked = walked;
    switch (e->kind) {
    case TX_UNARY:
        return unary(v, e, what);
    case TX_BINARY:
        return binary(v, e, what);
    case TX_CALL:
        return call(v, e, what);
    case TX_CONVERT:
        return convert(v, e, what);
    case TX_SELECT:
        return select(v, e, what);
    case TX_REDUCE:
        return reduction(v, e, what);
    default:
        return leaf(v, e, what);
    }
}

bool verify_expr(verifier *v, const tir_expr *e, const char *what) {
    return expr_node(v, e, 0, what);
}

int verify_accs_of(const tir_expr *e, int *accs, int n, int most) {
    if (e == NULL || n < 0) {
        return n;
    }
    if (e->kind == TX_ACC) {
        for (int i = 0; i < n; i++) {
            if (accs[i] == e->ref) {
                return n;
            }
        }
        if (n == most) {
            return -1;
        }
        accs[n++] = e->ref;
    }
    for (int i = 0; i < e->n_args; i++) {
        n = verify_accs_of(e->args[i], accs, n, most);
    }
    return n;
}
