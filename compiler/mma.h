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
// Bits of shared memory that an element takes: an instruction reads 32 bytes of a row.
static inline int mma_container(const mma_info *kind) {
    return 256 / kind->k;
}
// The row for these operand formats, or -1.
int mma_find(elem_kind a, elem_kind b, elem_kind scale, int granule, int family);

#endif
