// What the parts of the reader share: tir_read.c (records, fields), tir_read_expr.c (sizes,
// expressions, positions), tir_read_ref.c (references).
#ifndef FP4_COMPILER_TIR_READ_INT_H
#define FP4_COMPILER_TIR_READ_INT_H

#include "tir_scan.h"
#include "tir_text.h"

enum {
    TIR_READ_LIST = 256,  // records of one kind, statements of a body, boxes of a channel
    TIR_READ_DEPTH = 400, // of sizes and expressions
    TIR_READ_NEST = 64,   // of bodies
    TIR_READ_ARGS = 8,    // of an expression, axes of a tensor
    TIR_READ_DIGITS = 1 << 30,
};

// A reference that is still a name: records may be referred to before they are read.
typedef struct {
    int *to;
    tir_ref_kind kind;
    const char *name;
    int number; // where the text has "#3"; name is NULL
    int line;
} tir_fixup;

typedef struct {
    tir_scan s;
    arena *mem;
    int n_fixups, max_fixups;
    tir_fixup *fixups;
} tir_reader;

// Room for one more element behind n of them, zeroed; the array moves, references in it follow.
void *tir_read_room(tir_reader *r, void *array, int n, size_t bytes);

void tir_read_ref(tir_reader *r, tir_ref_kind kind, int *to);
// Gives every reference its number, once all records are there.
void tir_read_resolve(tir_reader *r, const tir_kernel *k);

tir_size *tir_read_size(tir_reader *r, int depth);
tir_expr *tir_read_expr(tir_reader *r, int depth);
int tir_read_enum(tir_reader *r, tir_enum table, const char *what);
void tir_read_coord(tir_reader *r, tir_coord *out);
tir_axis *tir_read_axes(tir_reader *r, int *n);

#endif
