// Shared by the files of the checker; nobody else includes it.
//
//   check.c        files, constants, functions, kernels: the order of everything
//   check_name.c   scopes, look-up, proposals for unknown names
//   check_size.c   sizes: constant values, equality of symbolic sizes
//   check_expr.c   types and axes of expressions
//   check_call.c   calls: functions, built-ins, conversions, peers, modules
//   check_index.c  subscripts: which index may walk which axis
//   check_stmt.c   statements
//   check_assign.c assignments: formats, contraction, coverage of outputs
//   check_sched.c  schedules, compile-time parameters, where clauses
//   tune.c         schedules with open parameters
#ifndef FP4_LANG_CHECK_H
#define FP4_LANG_CHECK_H

#include "lang.h"
#include "std.h"

typedef struct {
    ast_sym **items;
    int n;
    int cap;
} sym_list;

typedef struct {
    ast_file *file;
    diag *d;
    arena *mem;
    const lang_define *defs;
    int n_defs;

    sym_list scope;  // what is visible, innermost last
    sym_list closed; // lets and indices of blocks that have ended, for better messages
    sym_list loops;  // indices of the loops around the current statement, outermost first

    ast_kernel *kernel; // NULL outside of kernels
    sym_list dims, indices, lets, temps;
    sym_list written; // outputs and temps written so far
    ast_ragged **ragged;
    int n_ragged, cap_ragged;
    int n_where, cap_where;
    int block_depth;         // 0: top level of a kernel
    const ast_sym *fn;       // the function that is being checked
    const ast_expr *zero;    // the one place where a 'zero' may stand: value of a 'let'
    const ast_expr *product; // the product that may have scaled operands: value of a '+='
    ast_sym *sms;            // 'sms' of schedules' conditions and costs
} checker;

void sym_add(checker *c, sym_list *list, ast_sym *sym);
ast_expr *check_new_expr(checker *c, expr_kind kind, ast_span span);

// --- check_name.c ---
int scope_mark(const checker *c);
void scope_close(checker *c, int mark);
// Makes a name visible; reports a second declaration.
void scope_declare(checker *c, ast_sym *sym);
ast_sym *scope_find(const checker *c, const char *name);
// Reports a name that nothing declares. 'axis': the size of the axis that it subscripts, or NULL.
void report_unknown(checker *c, const char *name, ast_span at, const ast_expr *axis);
// Best of the visible names that look like 'name', NULL if none does.
const char *closest_name(const checker *c, const char *name);
int name_distance(const char *a, const char *b);
// Innermost loop or 'all' index that walks a dimension and is none of 'used'; NULL if there is
// none.
ast_sym *index_that_walks(const checker *c, const ast_expr *dim, const sym_list *used);

// --- check_size.c ---
typedef enum { SIZE_OK, SIZE_NOT_CONST, SIZE_OVERFLOW, SIZE_DIV_ZERO, SIZE_BAD_SHIFT } size_status;
size_status size_value(const ast_expr *e, const int64_t *vals, int64_t *out);
bool size_equal(const ast_expr *a, const ast_expr *b);
bool size_is_static(const ast_expr *e); // of literals, constants and compile-time parameters only
// Applies an operator; used for sizes and for folding.
size_status size_apply(ast_op op, int64_t a, int64_t b, int64_t *out);
const char *size_complaint(size_status status);
// Checks an expression of sizes: integer, no data, no index.
void check_size(checker *c, ast_expr *e);
// The same, and it has a value; false after a report.
bool check_static(checker *c, ast_expr *e, const char *what);

// --- check_expr.c ---
extern const ast_format poison; // type of an expression about which an error was reported
bool is_poison(const ast_expr *e);
void set_poison(ast_expr *e);
bool is_scaled(const ast_format *f);
bool is_plain_float(const ast_format *f);
bool is_int_type(const ast_format *f);
bool is_bool_type(const ast_format *f);
bool format_equal(const ast_format *a, const ast_format *b);
void add_axis(checker *c, ast_expr *e, ast_sym *axis);
void add_axes_of(checker *c, ast_expr *e, const ast_expr *child);
bool has_axis(const ast_expr *e, const ast_sym *axis);
void check_expr(checker *c, ast_expr *e);
// A value with elements: not a record; false (with a report) otherwise.
bool check_value(checker *c, ast_expr *e);
// The same value in every element of a tile, and read from 'const' tensors only.
void check_uniform(checker *c, ast_expr *e, const char *what);
const ast_format *find_format(checker *c, const char *name, ast_span at);

// --- check_call.c ---
void check_call(checker *c, ast_expr *e);

// --- check_index.c ---
// The tensor behind a name or a peer(...) call; NULL if it is none.
ast_sym *tensor_of(const ast_expr *e);
void check_index(checker *c, ast_expr *e, bool is_target);
void check_member(checker *c, ast_expr *e);
// The index of a subscript that is made of it and of numbers known at compile time; NULL: another
// one.
ast_sym *mapped_index(const ast_expr *e);
bool reads_only_const(const ast_expr *e);
void check_reads(checker *c, const ast_expr *e, ast_sym *sym);

// --- check_stmt.c, check_assign.c ---
void check_body(checker *c, ast_stmt **body, int n);
void check_assign(checker *c, ast_stmt *s);

// --- tune.c ---
// Makes the variants of a schedule that states 'tune'; false after a report.
bool tune_expand(checker *c, ast_schedule *s);

// --- check_sched.c ---
void check_tparams(checker *c, ast_kernel *k);
void check_schedules(checker *c);
// NULL: it has none of that name
const ast_sym *check_find_tparam(const ast_kernel *k, const char *name);
void check_where_values(checker *c, ast_kernel *k);

#endif
