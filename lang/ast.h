// The syntax tree of a .tk file and what the checker adds to it.
//
// Nodes live in the arena of their ast_file and are never freed one by one. The parser fills the
// syntactic fields; the checker (check.c) resolves names to ast_sym and fills the fields marked
// [checked]. Every later stage reads only trees that checked without an error.
#ifndef FP4_LANG_AST_H
#define FP4_LANG_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct arena arena;     // arena.h
typedef struct src_map src_map; // src.h

// A range of source text. File 0 is the main file, others came by 'use'.
typedef struct {
    uint32_t file;
    uint32_t off; // byte offset of the first character
    uint32_t len; // bytes
} ast_span;

typedef enum {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls) ELEM_##id,
#include "../runtime/elem.def"
#undef FP4_ELEM
    ELEM_COUNT,
    ELEM_NONE = ELEM_COUNT, // no type: an error was reported, or a value without elements
} elem_kind;

typedef enum {
#define FP4_LAYOUT(id, name, rows, cols, bytes) LAYOUT_##id,
#include "../runtime/layout.def"
#undef FP4_LAYOUT
    LAYOUT_COUNT,
} layout_kind;

// LAYOUT_COUNT: there is none of that name.
layout_kind layout_find(const char *name);
int layout_rows(layout_kind l); // rows and columns are rounded up to these
int layout_cols(layout_kind l);
bool layout_holds(layout_kind l, elem_kind e); // plain elements can lie like that

const char *elem_name(elem_kind e);
int elem_bits(elem_kind e);
bool elem_is_float(elem_kind e); // class F or S
bool elem_is_int(elem_kind e);

typedef struct ast_expr ast_expr;
typedef struct ast_stmt ast_stmt;
typedef struct ast_sym ast_sym;
typedef struct ast_format ast_format;
typedef struct ast_record ast_record;

// The type of a tensor's elements: a plain element, or a scaled format (elem * scale per granule).
struct ast_format {
    const char *name; // "nvfp4", or the element's name for a plain one
    elem_kind elem;
    elem_kind scale;    // ELEM_NONE when unscaled
    int n_granule;      // number of entries in granule; they speak of the last n_granule axes
    int64_t granule[4]; // elements that share a scale along each of these axes: [1,16]
    const char *layout; // canonical scale layout, "sf128x4", or NULL
    ast_span span;
};

typedef enum {
    SYM_FORMAT,
    SYM_CONST,  // const NAME = expr;                           value: integer or float constant
    SYM_FN,     // fn NAME(args) = expr;
    SYM_FNARG,  // argument of a fn
    SYM_TPARAM, // kernel<NAME = expr>: a compile-time integer
    SYM_DIM,    // a run-time size that a parameter's type introduced: M in nvfp4[M, K]
    SYM_PARAM,  // kernel parameter: tensor or scalar
    SYM_INDEX,  // loop or 'all' index
    SYM_LET,    // let NAME = expr: a tile value, an accumulator, or a record (moe.route)
    SYM_TEMP,   // temp NAME : type: global scratch
    SYM_MODULE, // name of a used module: moe
    SYM_SMS,    // sms, in 'when' and 'cost': multiprocessors of the device that launches
} sym_kind;

typedef enum { MODE_IN, MODE_OUT, MODE_INOUT, MODE_CONST, MODE_TEMP } param_mode;

// How an index walks its dimension.
typedef enum {
    WALK_TILE, // a loop of a 'tile' statement: independent iterations
    WALK_FOR,  // a 'for' loop: ordered iterations
    WALK_ALL,  // 'all h of HEADS': the whole dimension at once
} walk_kind;

struct ast_sym {
    sym_kind kind;
    const char *name;
    ast_span span; // where it was declared
    int id; // position in its kernel's (or the file's) list of symbols of this kind [checked]

    // SYM_CONST, SYM_TPARAM: the value; a tparam's is its default unless -D or 'with' sets it.
    // SYM_FN: the body. SYM_PARAM: the default of a scalar.
    ast_expr *init;
    bool is_float;
    int64_t ivalue; // [checked]
    double fvalue;  // [checked]

    // SYM_FN
    int n_args;
    ast_sym **args;

    // SYM_PARAM, SYM_TEMP
    param_mode mode;
    bool shared; // visible to the other ranks
    const ast_format *format;
    int n_dims;      // 0: scalar
    ast_expr **dims; // size of each axis

    // SYM_INDEX
    walk_kind walk;
    ast_expr *tile;        // elements of a (cluster) tile; NULL: one element, or all (WALK_ALL)
    ast_expr *dim;         // the dimension that is walked
    ast_sym *group;        // 'of P[e]': the group index e, else NULL
    ast_expr *lo, *hi;     // 'in lo .. hi' [half open], else NULL
    bool at;               // 'at lo': hi is lo + 1 [checked]
    struct ast_ragged *ragged; // the 'ragged' declaration behind 'of P[e]' [checked]

    // SYM_LET
    bool is_acc;    // made by 'zero', updated by +=
    ast_stmt *stmt; // the 'let' that defines it

    // SYM_FORMAT
    const ast_format *fmt;

    // As written; resolved by the checker.
    ast_span decl_span;     // the whole declaration, where it has one of its own
    const char *type_name;  // SYM_PARAM, SYM_TEMP: name of the format
    ast_span type_span;
    const char *layout;     // '@ NAME' behind the type, or NULL
    const char *group_name; // SYM_INDEX: e in 'of P[e]', or NULL
    ast_span group_span;
    bool has_value;           // SYM_CONST, SYM_TPARAM: ivalue/fvalue hold a value [checked]
    bool is_defined;          // SYM_TPARAM: the value came from -D [checked]
    const ast_record *record; // SYM_LET: the record that it names, else NULL [checked]
    bool reads_const;         // SYM_LET: made of arguments and const tensors only [checked]
    bool is_bad;              // an error was reported about it: followers stay silent [checked]
    const ast_stmt *writer;   // SYM_PARAM, SYM_TEMP: the first statement that writes it [checked]
    int weight;               // SYM_FN: nodes of its value with all calls inlined [checked]
};

// What moe.route gives: a value with named fields, each a one-dimensional i32 or f32 table.
typedef enum {
    OVER_GROUPS, // one entry a group and one more: offsets
    OVER_ROWS,   // one entry a row of the dimension that is ragged at this record's offsets
} record_over;

typedef struct {
    const char *name;
    elem_kind elem;
    record_over over;
} ast_record_field;

struct ast_record {
    const char *name; // "moe.route"
    int n_args;
    int n_fields;
    const ast_record_field *fields;
};

// 'ragged T by E at first;', 'ragged T by E to ends align 128;'
typedef struct ast_ragged {
    ast_sym *dim;    // T: SYM_DIM (the rows that are cut)
    ast_expr *by;    // E: number of groups
    ast_expr *at;    // offsets: a const i32 tensor of E + 1 entries, or a record field
    bool to;         // 'at' holds the E ends: a group begins where the one before it ends, or at 0
    ast_expr *align; // offsets, or with 'to' where groups begin, are rounded up to multiples of
                     // this [static]; NULL: they are not
    ast_span span;
} ast_ragged;

enum { RAGGED_MOST_ALIGN = 65536 };

// The groups lie behind each other without a gap. Scales in 128x4 tiles then begin with a fresh one
// in every group; else they lie where their rows do.
static inline bool ragged_is_packed(const ast_ragged *r) {
    return !r->to && r->align == NULL;
}

typedef enum {
    EX_INT,     // ivalue
    EX_FLOAT,   // fvalue
    EX_NAME,    // sym
    EX_MEMBER,  // a.name: a field of a record, or a function of a module (plan.first, moe.route)
    EX_UNARY,   // op a
    EX_BINARY,  // a op b
    EX_CALL,    // callee(args): see callee kinds below
    EX_INDEX,   // a[args]; an argument may be EX_ALL
    EX_ALL,     // ':' as a subscript
    EX_REDUCE,  // sum|max|min [index] (a)
    EX_ZERO,    // zero f32[m, n]: args are the axes (EX_NAME of indices)
    EX_SELECT,  // c ? a : b  (args[0], a, b)
    EX_ERROR,   // an error was reported here
} expr_kind;

typedef enum {
    OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_MOD,
    OP_LT, OP_LE, OP_GT, OP_GE, OP_EQ, OP_NE,
    OP_AND, OP_OR,          // && ||
    OP_BITAND, OP_BITOR, OP_BITXOR, OP_SHL, OP_SHR, // integers only
    OP_NEG, OP_NOT, OP_BITNOT,
} ast_op;

typedef enum { RED_SUM, RED_MAX, RED_MIN } reduce_kind;

// Built-in elementwise functions: lang/builtins.def gives name, arity and meaning.
typedef enum {
#define FP4_BUILTIN(id, name, arity) BI_##id,
#include "builtins.def"
#undef FP4_BUILTIN
    BI_COUNT,
} builtin_kind;

typedef enum {
    CALL_FN,      // a user's fn: sym; the checker leaves the call, later stages inline it
    CALL_BUILTIN, // builtin
    CALL_CONVERT, // bf16(x), nvfp4(x, scale), f32(x): format; the second argument divides
    CALL_PEER,    // peer(X, rank): the same tensor on another rank
    CALL_MODULE,  // moe.route(x): a record
} call_kind;

struct ast_expr {
    expr_kind kind;
    ast_span span;
    int64_t ivalue;
    double fvalue;
    const char *name; // EX_NAME, EX_MEMBER: as written
    ast_sym *sym;     // EX_NAME, CALL_FN: what it stands for [checked]
    ast_op op;
    reduce_kind reduce;
    ast_sym *index; // EX_REDUCE: the index that is reduced [checked]
    const char *index_name;
    ast_expr *a, *b;
    int n_args;
    ast_expr **args;
    call_kind call; // [checked]
    builtin_kind builtin;
    const ast_format *format; // CALL_CONVERT, EX_ZERO: target format

    // [checked] What the expression is:
    const ast_format *type; // element or scaled format of the value; NULL for records and modules
    int n_axes;             // the indices that the value varies with, each once, by first use
    ast_sym **axes;
    bool is_const; // an integer or float constant known at compile time, in ivalue / fvalue
    // Axes that ':' subscripts leave whole, in order: their sizes. They are not in 'axes'.
    int n_whole;
    ast_expr **whole;
    ast_sym *paired; // swiglu: the value stands for pairs of this index (j / 2), else NULL
    const ast_record *record;      // a record (moe.route(...), a let that names one), else NULL
    const ast_record_field *field; // EX_MEMBER of a record: the field
    int depth;                     // height of the tree, bounded by the parser
    ast_span name_span;            // EX_MEMBER, EX_REDUCE, EX_ZERO: the name inside
};

typedef enum {
    ST_TILE,   // indices[n_indices], body
    ST_FOR,    // indices[0], body
    ST_ALL,    // indices[n_indices]
    ST_RAGGED, // ragged
    ST_TEMP,   // sym
    ST_LET,    // sym, value
    ST_IF,     // value, body, orelse
    ST_MEET,   // name ("ranks")
    ST_ASSIGN, // target = value (or += when accumulate)
} stmt_kind;

struct ast_stmt {
    stmt_kind kind;
    ast_span span;
    int n_indices;
    ast_sym **indices;
    ast_sym *sym;
    ast_ragged *ragged;
    const char *name;
    ast_expr *target; // an EX_NAME or EX_INDEX (over a tensor, accumulator, temp or peer(...))
    ast_expr *value;
    bool accumulate; // +=
    int n_body;
    ast_stmt **body;
    int n_orelse;
    ast_stmt **orelse;
    ast_span body_span;   // from '{' to '}', or the one statement
    ast_span orelse_span; // likewise; len 0 without 'else'
    // [checked] ST_ASSIGN with accumulate: the indices of the value that the target lacks, which
    // are summed over.
    int n_contracted;
    ast_sym **contracted;
};

// One token of a fact. The meaning of a fact is the business of compiler/facts.c.
typedef enum { FT_WORD, FT_INT, FT_PUNCT, FT_EXPR } fact_tok_kind;
typedef struct {
    fact_tok_kind kind;
    const char *text; // spelling; FT_PUNCT: "{", "}", ",", ":", "..", "[", "]", "<=", ...
    int64_t ivalue;
    ast_expr *expr; // FT_EXPR: behind a word that takes an expression (cost)
    ast_span span;
} fact_tok;

// 'WORD ... ;' inside a schedule. toks[0] is the WORD. Names with dots ("load.P0") are one FT_WORD.
typedef struct {
    ast_span span; // whole fact without ';'
    int n_toks;
    fact_tok *toks;
} ast_fact;

typedef struct {
    const char *name;
    ast_expr *value;
    ast_span span;
} ast_binding;

typedef struct ast_schedule ast_schedule;
struct ast_schedule {
    ast_span span;      // 'schedule' .. '}'
    ast_span head_span; // up to the '{'
    const char *kernel_name;
    ast_span kernel_span;
    const char *arch; // "sm_100a"
    ast_span arch_span;
    ast_expr *when; // condition over dims and constants, or NULL
    ast_expr *cost; // of the fact 'cost', or NULL: that of the variant, the least is launched
    int n_with;
    ast_binding *with; // with BM = 128, BN = 128
    int n_facts;
    ast_fact *facts;
    struct ast_kernel *kernel; // [checked]
    // With 'tune' (tune.c): the schedules that it stands for, in order; they take its place.
    int n_variants;
    ast_schedule **variants;
    const ast_schedule *of; // a variant: the schedule that stands for it
    const char *tuned;      // a variant: "BN = 192, d = 4"
    const char *left_out;   // a variant that no launch can use: why
};

typedef struct ast_kernel {
    const char *name;
    ast_span span;
    ast_span name_span;
    int n_tparams;
    ast_sym **tparams;
    int n_dims; // run-time sizes in order of first appearance [checked]
    ast_sym **dims;
    int n_params;
    ast_sym **params;
    int n_where; // clauses as written, then the ones that subscripts imply (j / 2) [checked]
    ast_expr **where;
    int n_where_written;
    int n_body;
    ast_stmt **body;
    int n_indices; // every index of the kernel, 'all' included [checked]
    ast_sym **indices;
    int n_lets; // every let [checked]
    ast_sym **lets;
    int n_temps;
    ast_sym **temps;
    ast_span body_span; // from '{' to '}'
    bool is_bad;        // it has syntax errors: not checked
} ast_kernel;

// 'use std.formats;'
typedef struct {
    const char *path; // "std.formats"
    ast_span span;
} ast_use;

// A comment, kept for the printer.
typedef struct {
    ast_span span;
} ast_comment;

typedef struct ast_file {
    arena *mem;
    int n_kernels;
    ast_kernel **kernels;
    int n_schedules;
    ast_schedule **schedules;
    int n_syms; // file scope: formats, consts, fns, modules; those of used files come first
    ast_sym **syms;
    const src_map *src;
    int n_uses; // of file 0
    ast_use *uses;
    int n_comments; // of file 0, in order
    ast_comment *comments;
} ast_file;

#endif
