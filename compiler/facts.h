// Facts of a schedule, read from their tokens: what the author stated, nothing derived yet.
#ifndef FP4_COMPILER_FACTS_H
#define FP4_COMPILER_FACTS_H

#include "../lang/lang.h"

#define FACTS_MAX_NAMES 16
#define FACTS_MAX_EACH 16

typedef struct {
    const char *text;
    ast_span span;
} fact_name;

typedef struct {
    int n;
    fact_name at[FACTS_MAX_NAMES];
} fact_names;

typedef enum { PIPE_ANY, PIPE_SMEM, PIPE_TMEM, PIPE_REGS } pipe_space;

typedef struct {
    ast_span span;
    fact_names values;
    int depth;
    ast_span depth_span;
    pipe_space space;
    bool overlap;
} fact_pipe;

typedef struct {
    ast_span span;
    fact_name name;
    int warps;
    int regs; // 0: not stated
    ast_span regs_span;
    fact_names values;
    int pingpong; // groups, 1: not stated
} fact_role;

typedef struct {
    ast_span span;
    fact_names values;
    bool via_smem;
    int cols;   // 'by COLS x STAGES', 0: not stated
    int stages;
    ast_span size_span;
} fact_store;

typedef struct {
    const ast_schedule *sched; // NULL: nothing stated
    bool has_cluster;
    ast_span cluster_span;
    int n_cluster;
    int cluster_size[4];
    fact_names cluster_along;
    bool has_mma;
    ast_span mma_span;
    const char *mma; // "tcgen05", "sync", "wgmma"
    bool pair;
    bool tf32; // f32 operands are multiplied as TF32
    bool has_dequant;
    fact_name dequant; // type that 4-bit operands are decoded to
    bool has_walk;
    ast_span walk_span;
    const char *walk; // "clc", "static", "atomic"
    bool has_raster;
    fact_name raster;
    int raster_group;
    bool from_one;   // one warp of a cluster hands tiles out
    ast_span from_span;
    fact_names order; // of the tile loops, outermost first; none: as the program has them
    int n_pipes;
    fact_pipe pipes[FACTS_MAX_EACH];
    int n_roles;
    fact_role roles[FACTS_MAX_EACH];
    int n_stores;
    fact_store stores[FACTS_MAX_EACH];
    ast_span split_span;
    fact_name split; // index of the loop whose steps are divided ...
    int split_by;    // ... in so many ranges; 0: not stated
    ast_span groups_span;
    fact_name groups; // index of the loop whose steps groups of warps take by turns ...
    int groups_by;    // ... so many groups; 0: not stated
    ast_span over_span;
    fact_name over; // index of the loop of which all tiles' steps are divided over the SMs; no
                    // text: not stated
    ast_span swap_span;
    fact_names swap; // accumulators whose N index feeds the M side of the instruction
    ast_span pdl_span;
    fact_names pdl;  // tensors that kernels before may still write; none: not stated
    bool pdl_first;  // the kernel behind may begin at once
    fact_names keep, stream; // tensors that the L2 cache keeps, or lets go first
    ast_span fit_span;
    fact_name fit; // index whose rows present decide the size of an instruction ...
    int fit_by;    // ... in steps of this; 0: not stated
    ast_span cost_span;
    const ast_expr *cost; // what a launch of this variant costs, or NULL
} facts;

// Reads all facts of a schedule; false if any is malformed, unknown, stated twice or unsupported.
bool facts_read(const ast_schedule *sched, diag *d, facts *out);

// Sums in which the schedule (or NULL) divides the steps of a loop: what it says of values.
typedef struct {
    int ranges; // of steps, in order ...
    int groups; // ... of each of which group g takes steps g, g + groups, ...
    bool stream; // the ranges are those that SMs have of the steps of all tiles
} fact_sums;
fact_sums facts_sums_of(const ast_schedule *sched, const char *index);

// The order in which the schedule (or NULL) takes tiles: names of loops, as it has them.
typedef struct {
    const char *raster; // NULL: none
    int group;
    int n;              // loops that are named, outermost first; 0: as the program has them
    const char *order[FACTS_MAX_NAMES];
} fact_order;
fact_order facts_order_of(const ast_schedule *sched);

const fact_pipe *facts_pipe_of(const facts *f, const char *value);
// Role whose braces name the value, or NULL.
const fact_role *facts_role_of(const facts *f, const char *value);
const fact_store *facts_store_of(const facts *f, const char *value);

#endif
