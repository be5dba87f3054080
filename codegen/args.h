// The parameters of the PTX entry in order. The generated code and the metadata both follow this
// list: all tensor maps, then per tensor what plain loads and stores need, all dims, all scalars, the workspace.
#ifndef FP4_CODEGEN_ARGS_H
#define FP4_CODEGEN_ARGS_H

#include "arena.h"
#include "tir.h"

typedef enum {
    ARG_MAP,      // maps[ref]: 128 bytes, align 64
    ARG_POINTER,  // u64 address of 'part' of params[ref]
    ARG_PITCH,    // i64 bytes from row to row of params[ref] (tensors of rank >= 2)
    ARG_SF_BYTES, // i64 bytes of the scales of one innermost matrix of params[ref] (rank >= 3)
    ARG_DIM,      // i32 dims[ref]
    ARG_SCALAR,   // params[ref]
    ARG_WORKSPACE, // u64 address of the stream's workspace (runtime/module.h)
} cg_arg_kind;

typedef struct {
    cg_arg_kind kind;
    int ref;
    tir_part part;
} cg_arg;

typedef struct {
    int n;
    cg_arg *args;
} cg_args;

cg_args cg_args_of(const tir_kernel *k, arena *mem);
// Position of an argument in the list, or -1.
int cg_args_find(const cg_args *a, cg_arg_kind kind, int ref, tir_part part);

// The number of tiles, or with bounds on the device a number that it does not exceed.
tir_size *cg_most_tiles(const tir_kernel *k, arena *mem);
// What is handed out to clusters: tiles, or the units of a streamed loop (stream.c).
tir_size *cg_most_clusters(const tir_kernel *k, arena *mem);
// Bytes from the tensor to where the map begins, or NULL: there.
tir_size *cg_map_offset(const tir_map *m, arena *mem);

#endif
