// What the printer and the reader of role programs share: the table of records and fields
// (tir_fields.def), the names of enumerators, and the names by which records refer to each other.
//
// The text, one record a line, '//' comments, fields that have their default left out:
//
//   tir 1
//   kernel NAME arch=sm_100a ... {
//       launch ...            walk ...
//       tparam, dim, param, where, map, loop, for, channel, operand, acc, mma, store: see the .def
//       channel NAME ... {
//           box map=A.data ...
//       }
//       role NAME ... {
//           walk {
//               for k {
//                   acquire A_B
//                   load A_B
//       ...
//
// A reference is the name of what it refers to, "none", or "#3" where two bear the same name. Maps
// are called PARAM.data and PARAM.scale, operands and stores by their param, a matrix instruction
// "acc += A * B".
#ifndef FP4_COMPILER_TIR_TEXT_H
#define FP4_COMPILER_TIR_TEXT_H

#include "arena.h"
#include "tir.h"

// A dim is a plain name; as a struct it is a record like the others.
typedef struct {
    const char *name;
} tir_dim_name;

typedef enum {
    TREC_kernel,
    TREC_launch,
    TREC_walk,
    TREC_box,
#define TIR_LIST(record, type, count, field) TREC_##record,
#include "tir_fields.def"
    TREC_COUNT,
} tir_record;

typedef enum {
    TFK_NAME,
    TFK_INT,
    TFK_I64,
    TFK_FLAG,
    TFK_ENUM,
    TFK_REF,
    TFK_SIZE,
    TFK_SIZES,
    TFK_FIXED_SIZES,
    TFK_EXPR,
    TFK_AXES,
    TFK_INTS,
    TFK_COORDS,
} tir_field_kind;

// What a reference counts. ORDER: a kind's name is made of references of earlier kinds only.
typedef enum {
    TREF_PARAM,
    TREF_DIM,
    TREF_LOOP,
    TREF_FOR,
    TREF_AXIS, // loops[], then fors[]
    TREF_ROLE,
    TREF_CHANNEL,
    TREF_ACC,
    TREF_MAP,
    TREF_OPERAND,
    TREF_STORE,
    TREF_MMA,
    TREF_COUNT,
} tir_ref_kind;

typedef enum {
    TEN_ARCH,
    TEN_WALK,
    TEN_MODE,
    TEN_ELEM,
    TEN_PART,
    TEN_SWIZZLE,
    TEN_SPACE,
    TEN_MMA,
    TEN_FRAG,
    TEN_CACHE,
    TEN_DEPENDENTS,
} tir_enum;

typedef struct {
    tir_record record;
    tir_field_kind kind;
    const char *name;
    size_t offset; // in the record's struct
    size_t aux;
    int dflt; // of INT, ENUM and REF
} tir_field;

extern const tir_field tir_fields[];
extern const int tir_n_fields;
// Whether a text without the field is refused.
bool tir_is_needed(const tir_field *f);

typedef struct {
    tir_record record;
    const char *name;
    size_t bytes;        // of one element
    size_t count, array; // offsets in tir_kernel: the number of elements, the pointer to them
} tir_list;

extern const tir_list tir_lists[];
extern const int tir_n_lists;

// Statements: the word, and what ref counts (TREF_COUNT: no reference).
typedef struct {
    const char *word;
    tir_ref_kind ref;
    bool body;
} tir_stmt_info;

enum { TIR_STMT_KINDS = TS_SCHED + 1 };
extern const tir_stmt_info tir_stmts[TIR_STMT_KINDS];

// Operations of sizes and of elementwise expressions; NULL for leaves.
const char *tir_size_word(size_op op);
const char *tir_op_word(ast_op op);
const char *tir_builtin_word(builtin_kind b);
enum { TIR_OPS = OP_BITNOT + 1 };

// The i-th word of a table of names, or NULL behind its end.
const char *tir_enum_word(tir_enum table, int i);
// Its number, or -1.
int tir_enum_find(tir_enum table, const char *word);

bool tir_is_word(const char *s);
int tir_ref_count(const tir_kernel *k, tir_ref_kind kind);
// What record i (a number below tir_ref_count) would be called were it alone, or NULL.
const char *tir_ref_key(const tir_kernel *k, tir_ref_kind kind, int i, arena *mem);
// The text of reference i, in the arena.
const char *tir_ref_text(const tir_kernel *k, tir_ref_kind kind, int i, arena *mem);
// The number of the record called 'name', or -1; -2 if several are.
int tir_ref_find(const tir_kernel *k, tir_ref_kind kind, const char *name, arena *mem);

#endif
