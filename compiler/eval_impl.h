// Shared by the files of the evaluator, and by nobody else.
//
// eval.c           statements and loops
// eval_expr.c      the value of an expression at one point
// eval_bound.c     error bounds of elementwise arithmetic, and of operands of products
// eval_split.c     loops whose steps a schedule divides
// eval_contract.c  sums of products over an index: exact, and by tensor-core steps
// eval_quant.c     conversions to scaled formats, granule by granule
// eval_route.c     records of modules (moe.route)
// eval_tensor.c    tensors of codes
//
// Every index of the kernel has a current range [lo, hi), the tile, and a position in it. An
// expression is evaluated at the positions of its indices. Between loops over points every position
// is lo.
#ifndef FP4_COMPILER_EVAL_IMPL_H
#define FP4_COMPILER_EVAL_IMPL_H

#include "eval.h"

enum { MAX_AXES = 8, MAX_CALLS = 64, MAX_ARGS = 8 };

// A value of an expression. In machine mode v is always an f32. err bounds |machine - exact|; of a
// truth value it is 1 if the machine may see the other one.
typedef struct {
    double v;
    double err;
    int64_t i;
    bool is_int;
    uint8_t rounded; // both values are of this elem_kind, plus one; 0: of none known
} val;

typedef struct {
    int64_t lo, hi; // the tile
    int64_t pos;
    int64_t end;    // of the dimension, group or 'in' range that is walked
} range;

typedef struct {
    int n;
    ast_sym *sym[MAX_AXES];
} axis_list;

// What a granule gathers while it is quantised.
typedef struct {
    double amax, err, hs;
    mach_granule g;
    int32_t count;
    uint32_t stamp; // of the statement execution that filled it
    bool ready;
} cell;

// A tensor in memory: parameter, temp, record field, or the codes of a quantised tile.
typedef struct {
    eval_tensor t;
    const char *name;
    double *bound;  // error bounds of the elements; NULL: exact
    bool own;       // t and bound are ours to free
    bool is_const;  // an index tensor: subscripts must lie inside
    cell *cells;    // by scale index, made when first quantised into
    uint32_t stamp;
} storage;

// A let: values over the box of its axes' ranges when it was computed.
typedef struct {
    axis_list axes;
    int64_t origin[MAX_AXES];
    int64_t extent[MAX_AXES];
    double *v;
    double *err; // NULL unless bounds are wanted
    int64_t cap;
    bool is_int;
    const ast_format *format; // rounded to it, or NULL
    storage q;                // scaled formats: codes over the box
} tile;

typedef struct {
    storage first, rank, row, slot, gate;
    bool set;
} record;

typedef struct {
    const ast_sym *fn;
    val args[MAX_ARGS];
} call_frame;

// A quantising conversion inside an expression, computed before the statement.
typedef struct hoisted {
    const ast_expr *e;
    tile value;
    struct hoisted *next;
} hoisted;

typedef struct {
    const eval_job *job;
    const ast_kernel *k;
    eval_error *error;
    bool failed;
    bool machine; // EVAL_MACHINE
    bool bounds;  // errors are tracked
    int64_t *tparams;
    range *ranges;   // by index id
    storage *params; // by parameter id
    storage *temps;  // by temp id
    tile *lets;      // by let id
    record *records; // by let id
    hoisted *hoists;
    call_frame calls[MAX_CALLS];
    int n_calls;
    int64_t colon[MAX_AXES]; // positions of ':' subscripts, by their order in a subscript list
    bool outside;            // a load since this was cleared lay outside its tensor
    int64_t n_data_loads;    // loads from integer tensors so far
    const ast_stmt *nest;    // the tile loops that are run
    double *tables[ELEM_COUNT]; // values of the codes of types up to 8 bits
} eval;

// eval.c
void eval_fail(eval *x, eval_status status, ast_span at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool points_begin(eval *x, const axis_list *axes); // false: no points
bool points_next(eval *x, const axis_list *axes);  // after the last, positions are lo again
void axes_add(eval *x, axis_list *l, ast_sym *s);
bool axes_have(const axis_list *l, const ast_sym *s);
// The indices an expression varies with, in order of first use.
void axes_of(eval *x, const ast_expr *e, axis_list *out);
int64_t range_extent(const eval *x, const ast_sym *index);
void index_bounds(eval *x, const ast_sym *index, int64_t *lo, int64_t *hi);
typedef struct {
    int64_t first, last; // last: behind the last one
    int64_t by;          // from first
} step_range;
// Steps of the index at 'level' of a loop, all of the inner ones.
void exec_steps(eval *x, const ast_stmt *s, int level, step_range steps);

// eval_split.c
void exec_split(eval *x, const ast_stmt *s); // a loop whose steps may be divided

// eval_expr.c
val eval_expr(eval *x, const ast_expr *e);
int64_t eval_int(eval *x, const ast_expr *e);
// What an EX_INDEX or EX_NAME stands on: exactly one of the two is set.
typedef struct {
    storage *st;
    tile *tile;
} place;
place eval_place(eval *x, const ast_expr *e);
// Coordinates of an EX_INDEX (args), false when one lies outside. The number of axes must fit.
bool eval_coords(eval *x, const ast_expr *e, const place *p, int64_t *coords);
val eval_load(eval *x, storage *s, const int64_t *coords);
int64_t linear_index(const eval_tensor *t, const int64_t *coords);
bool tile_reset(eval *x, tile *t, const axis_list *axes, ast_span at);
void tile_free(tile *t);
// Element of a tile at the current positions of its axes (coords NULL) or at coords; -1: outside.
int64_t tile_index(const eval *x, const tile *t, const int64_t *coords);
val tile_load(const eval *x, const tile *t, int64_t i);
double eval_code_value(const eval *x, elem_kind e, uint32_t code);
val val_round(const eval *x, val a, elem_kind e);

// eval_bound.c: results with their error bounds; in machine mode the f32 operation.
val val_int(int64_t i);
val val_real(const eval *x, double v);
val val_binary(const eval *x, ast_op op, val a, val b);
val val_neg(val a);
val val_builtin(const eval *x, builtin_kind f, const val *args);
val val_swiglu(const eval *x, val gate, val up);
double val_num(val a);
// Of operands of products.
double bound_least_normal(elem_kind e);
double bound_element_top(const ast_format *f, double elem, double scale);
double bound_fold_error(elem_kind scale, double w);
double bound_fold_top(elem_kind scale, double w);

// eval_contract.c: target += sum over the indices that the target lacks.
void exec_accumulate(eval *x, const ast_stmt *s);

// eval_quant.c
const ast_expr *quant_root(const ast_expr *e); // the conversion if e is one to a scaled format
void quant_store(eval *x, const ast_stmt *s, const ast_expr *conv, storage *st);
void quant_copy(eval *x, const ast_stmt *s, storage *st);
bool quant_tile(eval *x, tile *t, const ast_expr *conv);
void quant_hoist(eval *x, const ast_expr *e, bool is_root);
tile *quant_hoisted(eval *x, const ast_expr *e);
// The points of an assignment: indices of the target, and ':' axes.
typedef struct {
    axis_list axes;
    int n_colon;
    int64_t colon_extent[MAX_AXES];
} target_points;
void target_begin(eval *x, const ast_stmt *s, const place *p, target_points *tp);
bool target_first(eval *x, target_points *tp);
bool target_next(eval *x, target_points *tp);

// Values that a statement has computed and not stored yet.
typedef struct {
    int64_t at;
    val v;
} update;

typedef struct {
    update *v;
    int64_t n, cap;
} update_list;

bool update_add(eval *x, update_list *l, ast_span at, update u); // the list's owner frees l->v

// eval_route.c
void exec_record(eval *x, const ast_stmt *s);
void record_free(record *r);
storage *record_field(eval *x, const ast_expr *member);

// eval_tensor.c
bool storage_alloc(storage *s);
void storage_free(storage *s);

#endif
