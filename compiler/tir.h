// Role programs (TIR): what a schedule makes of a kernel. Between the planner (plan_*.c), which
// proves the budgets and fixes every number, and code generation, which only spells it out.
//
// A tir_kernel is self-contained: no pointer leads back to the syntax tree. It prints as text
// (.tir) and the text reads back to the same kernel (tir_print.c, tir_read.c).
//
// Shape of a kernel:
//   tile space      loops[]: which index walks which dimension in tiles of how many elements. A
//                   "tile" here is a cluster tile; with a pair each CTA does its share of it.
//   params, maps    kernel arguments; maps[] are tensor maps over them, in units of map elements.
//   channels        values that cross from one role to another: slots (smem or TMEM), a full and an
//                   empty mbarrier per slot, with arrival counts and transaction bytes.
//   accs            accumulators: where they live (a TMEM channel, or registers of one role).
//   roles           warps, registers, and a body of statements: the projection of the program.
//
// Phases: instance i of a channel uses slot i % depth and pass i / depth. A consumer waits for
// parity (i / depth) & 1 on full; a producer for parity ((i / depth) & 1) ^ 1 on empty (a fresh
// mbarrier lets parity 1 pass, PTX ISA "mbarrier.test_wait").
#ifndef FP4_COMPILER_TIR_H
#define FP4_COMPILER_TIR_H

#include "../lang/ast.h"

#include <stdio.h>

#define TIR_VERSION 1
#define TIR_MAX_WGS 8
#define TIR_REDUCE_LOOPS 64 // reductions are over one of the first so many loops, fors behind them

typedef enum { ARCH_SM90A, ARCH_SM100A, ARCH_SM120A } tir_arch; // arch.def gives names and limits

// --- Sizes: integer expressions over run-time dims -----------------------------------------------

typedef enum {
    SZ_INT, SZ_DIM, SZ_ADD, SZ_SUB, SZ_MUL, SZ_DIV, SZ_MOD, SZ_CEILDIV, SZ_MIN, SZ_MAX,
    SZ_EQ, SZ_NE, SZ_LT, SZ_LE, SZ_GT, SZ_GE, SZ_AND, SZ_OR,
    SZ_PITCH,    // bytes from one row of tensor 'dim' (a param number) to the next
    SZ_SF_BYTES, // bytes of the scales of one innermost matrix of tensor 'dim'
    SZ_SMS,      // multiprocessors of the device, in 'when' and 'cost' only
} size_op;

typedef struct tir_size {
    size_op op;
    int64_t value; // SZ_INT
    int dim;       // SZ_DIM: number in dims[]; SZ_PITCH, SZ_SF_BYTES: number in params[]
    struct tir_size *a, *b;
} tir_size;

// --- Parameters and tensor maps ------------------------------------------------------------------

typedef enum { CACHE_ANY, CACHE_KEEP, CACHE_STREAM } tir_cache;
typedef enum { LAUNCH_NONE, LAUNCH_FIRST, LAUNCH_LAST } tir_dependents;

typedef struct {
    const char *name;
    bool is_tensor;
    param_mode mode;
    const char *format; // "nvfp4", "bf16"
    elem_kind elem;     // data elements; for a scalar its type
    elem_kind scale;    // ELEM_NONE: unscaled
    int granule;        // elements along the last axis that share a scale (0 unscaled)
    int granule_rows;   // ... and along the last but one; 1 but for f32 scales
    const char *layout; // "sf128x4" or NULL; without scales: how the matrices of the last two axes
                        // lie
    int n_dims;
    tir_size **dims; // outermost first
    int align;       // required byte alignment of the data address
    bool previous;   // kernels before this one may still write it (tir_kernel.pdl)
    tir_cache cache; // what the L2 cache is told of it, by bulk copies
    tir_size *groups; // its rows (last axis but one) are ragged: the number of groups; else NULL.
                      // Group e's scales in 128x4 tiles begin with row (first + 127 e) / 128 * 128
                      // of the padded rows, (rows + 127 groups) / 128 * 128 in all.
} tir_param;

typedef enum { PART_DATA, PART_SCALE } tir_part;
// codes of cuTensorMapEncodeTiled
typedef enum { SWZ_NONE, SWZ_32B, SWZ_64B, SWZ_128B } tir_swizzle;

// Data types of tensor maps that pad on the way: 16 packed elements of 4 or 6 bits become 16 bytes
// of shared memory, of which the first 8 or 12 hold them (CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B,
// 16U6_ALIGN16B).
enum { TIR_PAD4 = 14, TIR_PAD6 = 15, TIR_PAD_ELEMS = 128 }; // a box is 128 elements wide

// A tile of scale factors (layout sf128x4 of runtime/fp4rt.h): 128 rows by 4 along k, a byte each;
// the four of row r are word r % 32 * 4 + r / 32.
enum { TIR_ATOM_ROWS = 128, TIR_ATOM_COLS = 4, TIR_ATOM_BYTES = TIR_ATOM_ROWS * TIR_ATOM_COLS };

enum { TIR_MAX_BOX = 256 }; // elements of a box along an axis (cuTensorMapEncodeTiled)

// A tensor map (hardware: cuTensorMapEncodeTiled). Axis 0 is innermost.
typedef struct {
    int param;
    tir_part part;
    int dtype;      // cuTensorMapEncodeTiled data type code
    int elem_bytes; // bytes of one map element in shared memory
    int rank;
    tir_size *dims[5];
    tir_size *strides[5]; // bytes; [0] unused
    int box[5];
    tir_swizzle swizzle;
    // A window on lines, so that a box ends where a group does: axes 'window' and 'window' + 1 both
    // step by a line, the first has as many as a box, and the map begins that many before the
    // tensor. A box at (lines of a box - n, line + n) has n lines of the tensor from 'line' on; the
    // others lie outside of the map: they are not stored, and loaded as zeros. 0: none.
    int window;
    // The same within lines: axis 0 has as many bytes as a box, axis 1 steps by TIR_CUT_BYTES, the
    // unit of strides, and the map begins a box before the tensor. A box at (bytes of a box - n,
    // (at + n) / TIR_CUT_BYTES) has n bytes of each line, from 'at' on.
    bool cuts;
} tir_map;

enum { TIR_CUT_BYTES = 16 };

static inline bool tir_has_window(const tir_map *m) {
    return m->window > 0 || m->cuts;
}

// --- Tile space ----------------------------------------------------------------------------------

struct tir_expr;

// A loop may walk only lo .. hi - 1 of its dimension (NULL: all of it): whole numbers made of
// entries of const tensors, which may depend on the loops that number the groups (tir_walk.groups).
// What lies outside 0 .. dim is cut off. Tiles start at lo + i * tile, the last one ends at hi:
// what it covers beyond is never stored.
typedef struct {
    const char *index; // "m"
    tir_size *dim;     // extent walked
    int tile;          // elements of a cluster tile along it (1: one element an iteration)
    struct tir_expr *lo, *hi;
    int group; // the loop whose index says which group of a ragged dimension this is, or -1: scales
               // in 128x4 tiles begin with a fresh tile in every group (tir_param.groups)
} tir_loop;

// Static: every role counts through the tiles of its cluster, and reads the bounds of loops, by
// itself. One: one warp of the cluster does, in the same order, and hands each tile to all roles of
// all its CTAs.
typedef enum { WALK_STATIC, WALK_CLC, WALK_ONE } tir_walk_kind;

typedef struct {
    tir_walk_kind kind;
    int groups; // the first loops, that number the groups other loops' bounds depend on (by the
                // first element of a tile): the walk takes one group after the other
    int raster; // loop number of 'raster i by g', or -1
    int group;  // g: tiles of that loop that are visited before the other loop advances far
    int stream; // static only: number in fors[] of the loop of which the steps of all tiles, one
                // tile behind the other, are divided evenly in as many ranges as there are
                // clusters; -1: tiles are divided
    // clc, one: a ring of 'depth' responses of 16 bytes, or records of tir_record_words, its
    // barriers, and who reads
    int depth;
    int resp_offset;  // smem
    int full_bar;     // smem offset of depth mbarriers in every CTA: count 1; clc: and 16 bytes
    int empty_bar;    // in the leader CTA
    int empty_count;  // reading warps of the whole cluster
} tir_walk;

// --- Values --------------------------------------------------------------------------------------

// Coordinate of a box along one map axis, or of a tile along one tensor axis:
//   (start of loop's tile) * mul / div + add + (CTA rank in the cluster) * rank_mul
typedef struct {
    int loop; // number in loops[]; n_loops + j for the j-th 'for' loop (fors[]); -1: 0
    int mul, div, add, rank_mul;
} tir_coord;

typedef struct {
    const char *index;
    tir_size *extent; // elements walked, from 0
    int step;         // elements an iteration: ceil(extent / step) iterations
    int split;        // CTAs of the cluster that share the n iterations: CTA r does r * n / split
                      // up to (r + 1) * n / split; 1: every CTA does all
    struct tir_expr *lo, *hi; // as those of a tir_loop, the same all over a tile; NULL: all of
                              // 'extent'. Steps begin at lo; what the last one covers behind hi
                              // counts as zero
} tir_for;

// What TMA brings into a slot for one operand part.
typedef struct {
    int map;
    int offset;      // bytes from the slot's start; 1024-aligned for swizzled data
    int n_boxes;     // boxes along map axis 0 ("slabs" of one swizzle span)
    int box_step;    // map elements along axis 0 from one box to the next
    int box_bytes;   // bytes of one box in shared memory; tir_arriving gives the transaction count
    int box_pitch;   // bytes from one box to the next in shared memory
    int mask;        // multicast: CTAs of the cluster that get the box, 0: the issuing one only
    int rank_offset; // bytes added to 'offset': CTA rank * this (each CTA brings its share of a
                     // multicast tile)
    tir_coord coords[5];
} tir_box;

// Bytes that a box counts on its barrier: those of the packed elements.
static inline int tir_arriving(const tir_map *m, int box_bytes) {
    return m->dtype == TIR_PAD4 ? box_bytes / 2 : m->dtype == TIR_PAD6 ? box_bytes / 4 * 3 : box_bytes;
}

typedef enum { SPACE_SMEM, SPACE_TMEM } tir_space;

typedef struct {
    const char *name;   // "A_B", "acc"
    tir_space space;
    int depth;
    int from, to;       // role numbers: producer, consumer
    int offset, stride; // smem: bytes; tmem: columns
    int shared;         // tmem: columns that slot 0 and slot 1 share ('overlap'), else 0
    int n_boxes;        // smem: what is loaded
    tir_box *boxes;
    int full_bar;       // smem offset of the barriers (one of 8 bytes a slot)
    int full_count;     // arrivals a phase
    int full_bytes;     // transaction bytes a phase on that barrier (both CTAs of a pair)
    int empty_bar;
    int empty_bars;     // barriers behind 'empty': depth, or 1 when 'shared': then an instance may
                        // start once the shared columns of the one before it were read, which is
                        // after the last read of the one before that (same reading role, in order)
    int empty_count;
    int release_mask;   // smem: CTAs whose empty barrier a release signals (a pair, or multicast),
                        // 0: the own one
    int factors;        // smem: where the f32 scales of slot 0 lie, for every CTA its own, the next
                        // slot's behind them. Runs of them come as the boxes do, others by the lanes
                        // of the loading warp, with an arrival each (tir_factor.run)
    int factor_bytes;   // of a slot, 0: none (tir_operand.factors)
} tir_channel;

// An operand of an MMA in a slot of a smem channel.
typedef struct {
    int param;
    int channel;
    int data;       // box number in the channel
    int scale;      // box number, or -1
    int rows;       // rows this CTA holds (M side: of one CTA; N side: of one CTA)
    int sf_rows;    // rows whose scales are present, a multiple of 128 (N side of a pair: all of N)
    tir_swizzle swizzle;
    int row_bytes;  // bytes of one line of a slab (the swizzle span): elements of one row along k,
                    // or
    bool mn_major;  // ... of one k along the rows: then a slab has a line for each k of a step
    int sf_loop;    // loop whose tile start modulo 128 shifts into the first scale atom, or -1
    int sf_column;  // tmem: first column of its scales (sm_100a)
    int factors;    // f32 scales: offset among those of the slot, or -1; tir_factors says how many
    int factor_map; // the tensor map of one axis that their runs come by; -1: lanes bring them
} tir_operand;

typedef struct {
    const char *name; // "acc"
    int channel;      // tmem channel, or -1: registers of 'role'
    int role;         // role that accumulates
    int column;       // tmem: first column inside the slot
    int rows, cols;   // of one CTA: M side and N side elements
    int row_loop, col_loop; // loops that the M side and the N side walk
    int exponent;           // the registers hold the sum times 2^-exponent (folded weights)
    int row_rank_step;      // elements by which a CTA's rows are offset: rank * this
    int col_rank_step;      // the same for its columns
} tir_acc;

// --- Elementwise expressions ---------------------------------------------------------------------

typedef enum {
    TX_CONST,   // value
    TX_SCALAR,  // param
    TX_ACC,     // acc
    TX_LOAD,    // element of tensor 'param' at coords (axes[]): read from global memory, 0 outside
    TX_SCALE,   // the scale of that element, in f32; 0 outside
    TX_INDEX,   // the index of loop 'ref' itself, as i32
    TX_SIZE,    // the run-time size dims[ref], as i32
    TX_UNARY,   // op a
    TX_BINARY,  // a op b
    TX_CALL,    // builtin(args)
    TX_CONVERT, // rounds to 'elem' (nearest even, saturating for the narrow formats) and comes back
                // as 'type': f32(bf16(x)) has elem bf16 and type f32; i32 -> f32 has elem f32
    TX_SELECT,  // args[0] ? args[1] : args[2]
    TX_REDUCE,  // the sum, maximum or minimum ('reduce') of args[0] over the tile of loop 'ref', in
                // index order; elements of the tile beyond the loop's extent do not count. 'ref' of
                // n_loops + f: over all of fors[f], from 0 on, which no role's body need walk; its
                // index is known inside
} tir_expr_kind;

// Position of an element along one tensor axis: (element's index along loop + add), rounded down to
// a multiple of 'floor', * mul / div; or index + add + (index + shift) / piece * gap, where pieces
// of the index lie 'gap' apart
typedef struct {
    int loop; // -1: constant 'add'
    int mul, div, add;
    int floor; // 0: not rounded
    int piece; // 0: all of the index is one piece
    int shift, gap;
} tir_axis;

typedef struct tir_expr {
    tir_expr_kind kind;
    elem_kind type; // f32, i32 or bool
    double value;
    int ref; // TX_SCALAR, TX_LOAD, TX_SCALE: param; TX_ACC: acc; TX_INDEX, TX_REDUCE: loop; TX_SIZE: dim
    ast_op op;
    builtin_kind builtin;
    reduce_kind reduce;
    elem_kind elem; // TX_CONVERT
    int n_args;
    struct tir_expr **args;
    int n_axes; // TX_LOAD, TX_SCALE
    tir_axis *axes;
} tir_expr;

typedef struct {
    int param;
    int n_axes;
    tir_axis *axes;     // where element (row, col) of the tile goes, outermost axis first
    tir_expr *value;    // f32 (or i32) before the final conversion; '+=' is 'add', or a TX_LOAD
                        // plus
    elem_kind elem;     // stored element
    elem_kind scale;    // ELEM_NONE: plain conversion; else quantise per granule of the last axis
    int granule;
    tir_expr *divide;   // second argument of nvfp4(x, s), or NULL for 1
    bool via_smem;      // else straight from registers
    bool add;           // via_smem, f32: the copy engine adds to what is there
    int map;            // tensor map for the TMA store of one warp's box (via_smem)
    int sub_cols;       // columns of the CTA tile that one sub-tile covers
    int warp_cols;      // columns of one warp's box; box rows = rows of the warp's tile
    int stage_offset;   // smem: staging, 'stages' buffers of stage_bytes
    int stage_bytes;
    int stages;
    int scale_offset;   // offset inside a staging buffer of the scales' 128x4 atoms, or -1
    // The TMEM channel whose slot this store is the last to read, or -1: it is released as soon as
    // 'release_after' sub-tiles are in registers. When that channel has 'shared' columns, even
    // instances (slot 0) walk the sub-tiles downwards and odd ones (slot 1) upwards, so that the
    // shared columns are read first; 'release_after' counts the sub-tiles that hold them.
    int release;
    int release_after;
} tir_store;

// --- Roles ---------------------------------------------------------------------------------------

typedef enum {
    TS_WALK,    // body for every tile of this CTA (of this role's turn)
    TS_FOR,     // body for every step of fors[ref]
    TS_ACQUIRE, // wait until channel ref's next slot is empty
    TS_LOAD,    // arm the slot's full barrier and issue its boxes
    TS_PUBLISH, // signal full
    TS_AWAIT,   // wait until channel ref's next slot is full
    TS_RELEASE, // signal empty, advance
    TS_MMA,     // mma ref
    TS_STORE,   // store ref; releases a TMEM channel itself (tir_store.release)
    TS_COMBINE, // partial sums of a split loop meet: those of a role's shares in the first one,
                // those of a cluster's CTAs then in CTA 0, those of ranges of a streamed loop
                // (tir_walk.stream) in the cluster that has the tile's first step. Who has them all
                // runs the body, the stores of the role; others give their TMEM slots back
    TS_SCHED,   // the scheduler: of each CTA for a clc walk, of the leader where one warp hands
                // tiles out
} tir_stmt_kind;

typedef struct tir_stmt {
    tir_stmt_kind kind;
    int ref;
    int n_body;
    struct tir_stmt **body;
} tir_stmt;

// One accumulation step: acc += a * b over one k tile.
typedef struct {
    int acc;
    int kind;     // row of mma_kinds (mma.def)
    int a, b;     // operand numbers: a is the M side
    int k_elems;  // k elements of the tile
    int inst_m, inst_n; // one instruction (of the pair): tcgen05 only
    int fit;            // tcgen05: the instruction has only as many columns, in steps of this, as
                        // are there of the tile; 0: all. The others keep what they held, nothing of
                        // them is stored. CTA 1 of a pair then brings its half of these columns
    bool decode;        // wgmma: a has 4-bit elements and scales; warps decode them to the type
                        // that the instruction takes
    int table;          // decode to e4m3: smem offset of the magnitudes of each scale (mma_fold);
                        // else 0
    int promote;        // operands with f32 scales: elements of k whose sum is scaled and added in
                        // f32; 0: the instruction adds to the accumulator itself
    int loop;     // number in fors[]: the loop along k, whose steps have k_elems each; the product
                  // may stand in loops inside of it
} tir_mma;

// How the warps of a role hold the tile of an accumulator.
typedef enum {
    FRAG_NONE,
    FRAG_LANE_ROW, // tcgen05.ld 32x32b: warp w%4 has rows 32*(w%4).., lane = row
    FRAG_MMA,      // mma.sync C fragments: warps in a grid of warps_m x warps_n
} tir_frag_kind;

typedef struct {
    const char *name;
    int first_warp, n_warps;
    int regs;       // as stated; the warpgroup's setmaxnreg is tir_kernel.wg_regs
    int turns;      // pingpong: groups of n_warps / turns that take tiles by turns; 1: none
    int shares;     // groups of n_warps / shares that take the steps of a tile by turns: of the
                    // outermost loop's steps that the CTA does, group g has steps g, g + shares,
                    // ..., and sums them from zero. Channels filled there have a multiple of
                    // 'shares' slots: a slot is of one group, else a group could wait for a pass
                    // that lies two phases ahead. 1: none
    bool one_thread; // only an elected lane of the first warp works (load, mma)
    bool leader_only; // only the leader CTA of a pair (mma)
    tir_frag_kind frag;
    int warps_m, warps_n; // FRAG_MMA: grid of one group
    int turn_bar;   // smem offset of 'turns' mbarriers that order the epilogues, or -1
    int sum_bar;    // TS_COMBINE: smem offset of two mbarriers, 'full' (CTA 0: the bytes that are
                    // sent, or an arrival of each warp of the other CTAs) and 'empty' (others: one
                    // of each warp of CTA 0); or -1
    int sum_offset; // TS_COMBINE: smem offset of partial sums, f32: where a cluster splits a loop
                    // those that CTAs 1, 2, ... send, or else the CTA's own (tir_sends); then those
                    // of shares 1, 2, ... Each is one accumulator behind the other: four registers
                    // of all threads, then the next four
    bool waits;     // griddepcontrol.wait comes before its body (tir_role_waits)
    tir_dependents launches; // griddepcontrol.launch_dependents: before the body, or behind it
    int n_body;
    tir_stmt **body;
} tir_role;

// --- The kernel ----------------------------------------------------------------------------------

typedef struct {
    tir_size *cond;
    const char *text;
    int line;
} tir_where;

typedef struct {
    const char *name;
    int64_t value;
} tir_tparam;

typedef struct tir_kernel {
    const char *name;
    const char *source; // file name, for messages
    tir_arch arch;
    tir_size *when;     // condition of the schedule, or NULL
    tir_size *cost;     // what a launch costs, or NULL: 0; of the variants whose 'when' holds the
                        // cheapest is launched, the first of equally cheap ones
    int n_tparams;
    tir_tparam *tparams;
    int n_dims;
    const char **dims;
    int n_params;
    tir_param *params;
    int n_where;
    tir_where *where;
    int n_maps;
    tir_map *maps;
    int n_loops;
    tir_loop *loops;
    int n_fors;
    tir_for *fors;
    tir_walk walk;
    int cluster;      // CTAs in the cluster: 1 or 2, along loops[cluster_loop], or up to 8 of a
                      // split loop
    int cluster_loop; // -1: none; the CTAs of a larger cluster then share the steps of a split loop
    bool pair;        // tcgen05 cta_group::2
    bool pdl;         // may begin before the stream's last kernel has ended (PTX ISA
                      // "griddepcontrol")
    int n_channels;
    tir_channel *channels;
    int n_operands;
    tir_operand *operands;
    int n_accs;
    tir_acc *accs;
    int n_mmas;
    tir_mma *mmas;
    int n_stores;
    tir_store *stores;
    int n_roles;
    tir_role *roles;
    int threads;
    int entry_regs;   // .maxnreg: registers a thread at launch
    int wg_regs[TIR_MAX_WGS]; // setmaxnreg of each warpgroup (4 warps, spare ones included), 0:
                              // none
    int smem_bytes;   // dynamic shared memory
    int tmem_columns; // allocated (a power of two), 0: none
    int tmem_warp;    // warp that allocates and frees
    int tmem_slot;    // smem offset of the word tcgen05.alloc writes
} tir_kernel;

// A record of a tile that one warp hands out, in words of 32 bits: TIR_RECORD_SOME when there is a
// tile, with TIR_RECORD_MORE when one comes behind it, or 0; where it starts along each loop, and
// where a loop has bounds they; the bounds of each 'for' loop that has some.
enum { TIR_RECORD_SOME = 1, TIR_RECORD_MORE = 2, TIR_RECORD_MOST = 32 };
int tir_record_words(const tir_kernel *k); // a multiple of 4
// Whether one warp of a cluster tells the roles their tiles.
static inline bool tir_has_scheduler(const tir_kernel *k) {
    return k->walk.kind != WALK_STATIC;
}
enum { TIR_CLC_BYTES = 16 }; // PTX ISA "clusterlaunchcontrol.try_cancel": of a response
// Bytes of a slot of the walk's ring.
static inline int tir_response_bytes(const tir_kernel *k) {
    return k->walk.kind == WALK_CLC ? TIR_CLC_BYTES : 4 * tir_record_words(k);
}
// Arrivals that free a slot of the walk's ring: one of each warp that reads it, of
// each CTA. From bodies.
int tir_walk_readers(const tir_kernel *k);
// CTAs among which the steps of a loop are divided.
static inline int tir_split(const tir_kernel *k) {
    return k->cluster_loop < 0 ? k->cluster : 1;
}
// Whether a role reaches global memory in a way that the kernel before must be over for: it stores,
// reads by plain loads, or copies tensors in that the kernel before may write. Copies of others may
// come earlier.
bool tir_role_waits(const tir_kernel *k, int role);
// Warps that hold a tile together, or a share of its sums.
static inline int tir_group_warps(const tir_role *r) {
    return r->n_warps / (r->turns * r->shares);
}
// Whether TS_COMBINE of a role adds up an accumulator: the role holds it or reads it from TMEM.
bool tir_combines(const tir_kernel *k, int role, int acc);
int tir_sum_bytes(const tir_kernel *k, int role); // of the role's accumulators, once
int tir_sum_offset(const tir_kernel *k, int role, int acc); // of them, those before this one
// Whether CTAs send partial sums to CTA 0, which has room for those of all others (accumulators in
// registers), or leave them in their own memory for it to read.
enum { TIR_SENT_BYTES = 16384 }; // room that they may take
bool tir_sends(const tir_kernel *k);
// Tiles of partial sums that the role has in shared memory.
static inline int tir_sums(const tir_kernel *k, const tir_role *r) {
    return (tir_sends(k) ? tir_split(k) - 1 : tir_split(k) > 1) + r->shares - 1;
}
// Whether products of fewer columns than its slots have rows read a channel (tir_mma.fit). Their
// commits say nothing of the copies that wrote the bytes that they leave unread: whoever writes
// those again has to know of the copies' end, from its own barrier, or of a pair by an arrival of
// the thread that has waited for them.
bool tir_is_read_in_part(const tir_kernel *k, int channel);
// Whether partial sums of the role's accumulators meet somewhere.
bool tir_meets(const tir_kernel *k, const tir_role *r);
// Streamed loops: where the role's sums lie in what a CTA leaves in the workspace for others to
// read, and how many bytes all roles' take.
int tir_left_offset(const tir_kernel *k, int role);
int tir_left_bytes(const tir_kernel *k);
// Registers of a store's row that waits for its granules' scales, or for what it reads (ptxas).
enum { TIR_ROW_REGS = 40 };
int tir_sum_registers(const tir_kernel *k, int role);  // of a thread, for accumulators in registers
// Whether a product into an accumulator is promoted (tir_mma.promote).
bool tir_is_promoted(const tir_kernel *k, int acc);

// 128x4 tiles of scales along k that a step of 'k_elems' brings: whole ones, or the one that it is
// a part of. 0: it is neither, or cuts a granule.
int tir_scale_words(int k_elems, int granule);

// The f32 scales of an operand of a promoted product, 'count' for each granule of k. Scale i of a
// granule is that of rows (start - into) + i * share and on, 'start' the first of the CTA's rows.
//
// Where few copies bring all of them they come as runs of neighbours in memory, that are scales of
// one granule (mn_major) or of one row, from a multiple of TIR_RUN_STEP of the tensor's scales on: a
// copy begins at whole 16 bytes (an H200 says so). A slot has [runs][run], each run at a multiple of
// TIR_FACTOR_ALIGN, else [granule][count].
typedef struct {
    int mma;       // a product that takes it, or -1: it has no such scales
    int loop;      // along which its rows lie ...
    int rank_step; // ... and how far the rows of the cluster's CTAs are apart
    int rows;      // of a CTA
    int share;     // rows that share a scale
    int start;     // 'start' is a multiple of this ...
    int step;      // ... and start % share of this
    int count;     // scales that a granule of k has at most
    int granules;  // of a K step
    bool mn_major; // neighbours in memory are scales of one granule, else of one row
    bool aligned;  // the first scale of a run is the first one wanted
    int runs;      // copies that bring a slot's ...
    int run;       // ... and how many scales each brings; 0: lanes bring them, one a copy
} tir_factor;
tir_factor tir_factors(const tir_kernel *k, int operand);
// Bytes at which scales of an operand, of a run and of a slot begin (PTX ISA "cp.async.bulk.tensor":
// shared memory address), those of a scale, and the scales of the 16 bytes that copies begin at.
enum { TIR_FACTOR_ALIGN = 128, TIR_SCALE_BYTES = 4, TIR_RUN_STEP = 16 / TIR_SCALE_BYTES };
int tir_run_pitch(const tir_factor *f);    // bytes from one run to the next in a slot
int tir_factor_bytes(const tir_factor *f); // of all of them in a slot
bool tir_brings_factors(const tir_kernel *k, int role); // into slots of a channel that it fills
bool tir_lanes_bring(const tir_kernel *k, int channel); // some of a channel's by lanes

// Whether an expression is read from a tensor, element by element.
static inline bool tir_is_load(const tir_expr *e) {
    return e->kind == TX_LOAD || e->kind == TX_SCALE;
}
// How plain elements lie: LAYOUT_LINEAR (row by row) unless the tensor says something else.
layout_kind tir_laid(const tir_param *p);
// Whether the position of a stored element moves along the tile of a loop: by 'k', not by
// 'k / BK' nor without 'k'. Along a loop by which it stands still only the first element of
// the tile is stored.
bool tir_store_walks(const tir_kernel *k, const tir_store *s, int loop);
// Whether an expression differs between elements along a loop of the tile.
bool tir_varies(const tir_expr *e, int loop);
// Whether a whole number is a multiple of 'of' whatever tensors hold.
bool tir_is_multiple(const tir_expr *e, int of);
bool tir_reads_acc(const tir_expr *e);
int tir_gcd(int a, int b);

void tir_print(FILE *out, const tir_kernel *k);
// Reads one kernel; NULL and a diagnostic-like sentence in *why ("line 12: ...") if malformed.
tir_kernel *tir_read(const char *text, size_t len, struct arena *mem, const char **why);
// True if the kernel's where clauses say that 'of' divides 'size' whatever the sizes are.
bool tir_is_whole(const tir_kernel *k, const tir_size *size, int64_t of);
// Checks what code generation relies on (ranges of all numbers and references); NULL if fine.
const char *tir_verify(const tir_kernel *k, struct arena *mem);

#endif
