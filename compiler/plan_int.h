// What the passes of the planner share. plan.c lists the passes in order.
#ifndef FP4_COMPILER_PLAN_INT_H
#define FP4_COMPILER_PLAN_INT_H

#include "arch.h"
#include "facts.h"
#include "graph.h"
#include "plan.h"

enum {
    PLAN_BARRIER_BYTES = 1024, // start of shared memory: barriers, responses, the TMEM address
    PLAN_ALIGN = 1024,         // of every swizzled tile (the 128-byte swizzle's pattern repeats
                               // there)
    PLAN_MAX_AXES = 5,         // of a tensor map
    PLAN_MAX_DEPTH = 8,        // of a derived pipe
    PLAN_CLC_DEPTH = 2,        // responses a clc walk keeps
    PLAN_ONE_DEPTH = 4,        // tiles that one warp hands out before all have begun the first
    PLAN_MATH_WARPS = 16,      // of a role that multiplies, at most
    PLAN_WGMMA_REGS = 40,      // beside accumulators of wgmma: scales, addresses, counters
    PLAN_WORK_REGS = 64,       // beside accumulators: fragments, scale words, addresses (ptxas: 8 x
                               // 4 fragment registers of B for two k steps, 16 of A, scales,
                               // counters)
    PLAN_BOUNDS_REGS = 48,     // for finding tiles by bounds and for stores that read: with both, 128 sums of 232
                               // registers spill, with either they do not (ptxas); no finer bound is known
};

// A group of warps with what the projection puts on it.
typedef struct {
    const char *name;
    const fact_role *stated; // NULL: derived
    int warps;               // as stated: warps reserved
    int regs;
    int turns;
    bool loads, multiplies, stores;
    ast_span span; // for messages
} plan_role;

typedef struct {
    bool scaled;
    bool is_m_side; // feeds the MMA's M side
    int role;       // that loads it
    int channel;
    int tile_rows;  // rows of the cluster tile
    int k_elems;    // elements along k of one step
    int k_loop;     // number of the loop over k, as tir_coord.loop
    int container;  // bits an element takes in shared memory
    bool mn_major;  // the rows lie along the tensor's last axis
    int row_loop;
} plan_operand;

typedef struct {
    int role;
    int channel; // tmem, or -1
    const char *name;
} plan_acc;

// Operands that share a pipe, or accumulators of one.
typedef struct {
    const fact_pipe *stated;
    int level; // for loop it is filled in, or GRAPH_TILE_LEVEL
    int n_values;
    int values[GRAPH_MAX]; // operands or accs
    int stage_bytes;       // smem: one slot
    int factor_bytes;      // and the f32 scales that come with it
    int columns;           // tmem: one slot
} plan_channel;

typedef struct {
    const plan_request *req;
    const graph *g;
    const facts *f;
    const arch_info *arch;
    diag *d;
    arena *mem;
    tir_kernel *k;
    bool ok;
    ast_span at; // where to complain about derived things: the schedule's head or the kernel's name

    int n_roles;
    plan_role roles[TIR_MAX_WGS * 4];
    plan_operand operands[GRAPH_MAX];
    plan_acc accs[GRAPH_MAX];
    int mma_role[GRAPH_MAX];
    int store_role[GRAPH_MAX];
    int n_channels;
    plan_channel channels[GRAPH_MAX];
    int sf_columns;      // tmem: all scale factors
    int sf_first_column; // where they begin
    int staging_bytes;
    int sum_bytes[TIR_MAX_WGS * 4]; // of them, a role's: partial sums of a split loop
    bool meets[TIR_MAX_WGS * 4];    // partial sums of the role meet before its stores
    int barrier_bytes;
} planner;

#define PLAN_REFUSE(p, code, span, ...)                                                            \
    do {                                                                                           \
        diag_report((p)->d, DIAG_ERROR, (code), (span), __VA_ARGS__);                              \
        (p)->ok = false;                                                                           \
    } while (0)

// The passes, in order; each requires that p->ok held after the one before.
bool plan_order(const facts *f, diag *d, graph *g); // the tile loops as 'walk ... order' has them
void plan_params(planner *p);   // dims, params, where, loops
void plan_products(planner *p); // instruction, cluster, sides, tile shapes
void plan_split(planner *p);    // the loop whose steps are divided
void plan_tiles(planner *p);    // the tile of a kernel without products
void plan_roles(planner *p);    // who does what, warps
void plan_stores(planner *p);   // fragments, sub-tiles, staging
void plan_sums(planner *p);     // room for partial sums
void plan_shares(planner *p);   // slots of pipes whose steps groups take by turns
void plan_channels(planner *p); // slots, boxes, tensor maps, depths
void plan_budgets(planner *p);  // shared memory, TMEM, registers
void plan_barriers(planner *p); // counts, bytes, places
void plan_project(planner *p);  // role bodies
void plan_launch(planner *p);   // the kernels before and behind, the L2 cache

// Shared by passes.
bool plan_acc_in_regs(const planner *p); // accumulators are in registers, not in TMEM
bool plan_is_elementwise(const planner *p); // no products: values come straight from tensors
int plan_elementwise_warps(const planner *p); // that cover its tile, a row a lane
tir_size *plan_size(planner *p, const ast_expr *e); // of dims; NULL after a diagnostic
tir_size *size_int(arena *mem, int64_t v);
tir_size *size_bin(arena *mem, size_op op, tir_size *a, tir_size *b); // folds constants
tir_expr *plan_expr(planner *p, const ast_expr *e);  // of a bound
tir_expr *plan_value(planner *p, const ast_expr *e); // that is stored
// Whether an operation of a value, or of a bound, fits in 32 bits: by a check of the launch where sizes
// decide.
bool plan_fits(planner *p, const ast_expr *e, bool bound);
tir_expr *plan_as_f32(planner *p, tir_expr *x); // converts what is i32
bool plan_target_axis(planner *p, const ast_expr *subscript, tir_axis *out);
bool plan_axes(planner *p, const ast_expr *slice, tir_axis *out); // subscripts as positions
int plan_add_map(planner *p, const tir_map *map);                 // the same map once
int plan_table_bytes(const planner *p); // tables of folded weights, one a role and type of scales
int plan_dtype(elem_kind e); // cuTensorMapEncodeTiled code of a whole-byte element type
ast_span plan_fact_span(const planner *p, ast_span fact); // with its ';'
// "help: <sentence>: with NAME = value": sets a compile-time parameter in the schedule's head.
void plan_help_with(planner *p, const ast_sym *index, int value, const char *sentence);
int round_up(int value, int step);

#endif
