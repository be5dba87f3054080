// The matrix instructions as a table: mma.def.
#ifndef FP4_COMPILER_MMA_H
#define FP4_COMPILER_MMA_H

#include "../lang/ast.h"

typedef enum {
#define FP4_MMA(id, fam, a, b, s, g, k, sfb, ta, tb) MMA_##id,
#include "mma.def"
#undef FP4_MMA
    MMA_KINDS,
} mma_kind;

enum { MMA_TCGEN05 = 1, MMA_SYNC = 2, MMA_WGMMA = 4 };

typedef struct {
    const char *name;
    int families;
    elem_kind a, b, scale;
    int granule;  // elements along k that share a scale, 0: unscaled
    int k;        // elements along k of one instruction
    int sf_bytes; // scale bytes a row and instruction (tcgen05: 4X, 2X, 1X)
    int type_a, type_b; // tcgen05 instruction descriptor
} mma_info;

extern const mma_info mma_kinds[MMA_KINDS];
enum { MMA_MX_GRANULE = 32 }; // elements along k that share a ue8m0 scale in the instructions that
                              // take one of them
enum { MMA_STEP_BYTES = 32 }; // of a row in shared memory that an instruction reads, whatever its
                              // kind
// Bits of shared memory that an element takes.
static inline int mma_container(const mma_info *kind) {
    return 8 * MMA_STEP_BYTES / kind->k;
}

// Weights of 4 bits that FP8 instructions multiply ('mma wgmma dequant e4m3'): element times
// scale times 2^-MMA_FOLD becomes an e4m3 number, rounded; sums are multiplied by 2^MMA_FOLD
// when they are read.
//   ue4m3 scales: 6 * 448 * 2^-3 = 336 is below 448, the largest e4m3; nothing saturates.
//   ue8m0 scales: 2^-11 to 2^3 are exact; numbers beyond 448 * 2^-3 = 56 saturate.
enum { MMA_FOLD_UE4M3 = 3, MMA_FOLD_UE8M0 = -3 };
int mma_fold(elem_kind scale);
bool mma_folds(int kind, bool decode); // whether products of this kind and decoding are such
// Their magnitudes stand in a table in shared memory: 8 bytes for each code of the scale's type,
// the copies of a code side by side, one for each of the eight rows that a warp reads at once.
enum { MMA_TABLE_ENTRY = 8, MMA_TABLE_COPIES = 8 };
int mma_table_codes(elem_kind scale);
int mma_table_bytes(elem_kind scale);
// Whether it multiplies operands with a scale for 'granule' elements: where an instruction takes
// one scale of a row, several in turn may take the same.
bool mma_takes(const mma_info *kind, int granule);
// The row for these operand formats, or -1.
int mma_find(elem_kind a, elem_kind b, elem_kind scale, int granule, int family);

#endif
