// Inside of code generation: what the recipes share. One 'cg' lives for one kernel; the role fields
// change as the roles are emitted one after another.
//
// Refusals: cg_fail keeps the first sentence; a recipe returns at once after it and everything
// downstream stays harmless, cg_compile returns the sentence.
#ifndef FP4_CODEGEN_CG_INT_H
#define FP4_CODEGEN_CG_INT_H

#include "arch.h"
#include "args.h"
#include "cg.h"
#include "llvm.h"
#include "mma.h"

// A role's view of a channel: which slot comes next. 'phase' is pass & 1.
typedef struct {
    bool used;
    ll_var slot, phase;
    ll_val per_tile; // instances of one tile of the walk (role.turns > 1 skips others'), or NULL
} cg_chan;

// An accumulator in registers (FRAG_MMA): [row fragment][column fragment][4] of the warp's tile.
typedef struct {
    bool used;
    int rows, cols; // of one warp
    int n_m, n_n;   // fragments of 16 rows and 8 columns
    ll_var *regs;   // f32, (m * n_n + n) * 4 + i
} cg_acc;

static inline int cg_registers(const cg_acc *a) {
    return a->n_m * a->n_n * 4;
}

// The part of its dimension that a loop walks in the current group, and how many tiles that is.
typedef struct {
    ll_val lo, hi, tiles; // i32
} cg_part;

typedef struct cg_groups cg_groups; // groups.c

// Streamed loops (stream.c), i32.
typedef struct {
    ll_val steps, units; // of a tile: units are steps, at least one
    ll_val each, longer; // units of a range; so many ranges, the first ones, have one more
    ll_val range;        // this cluster's
    ll_val first, last;  // steps of the current tile that it has
    ll_val behind;       // the first unit of the next tile
    ll_var parts;        // ranges that have steps of the tile, of whom the sums are there
} cg_stream;

typedef struct cg {
    ll *b;
    const tir_kernel *k;
    arena *mem;
    bool shallow; // cg_options
    const char *err;
    const char *err_code;

    // kernel
    cg_args args;
    ll_val smem;   // i32 base address
    ll_val tid, warp, lane; // i32; warp is uniform
    ll_val rank;   // CTA rank in the cluster (0 for cluster 1)
    ll_val tmem;   // i32 TMEM base address after the prologue
    ll_val *dims;  // i32
    ll_val cluster_id, n_clusters; // i32

    // role
    const tir_role *role;
    ll_val policies[CACHE_STREAM + 1]; // i64: what the L2 cache is told (PTX ISA "createpolicy")
    ll_val role_warp; // warp within its group
    ll_val group;     // of this warp, among those that take tiles or steps by turns (0 without)
    ll_val *starts;   // tile start of loops[], then of fors[]; NULL outside
    cg_part *parts;   // of loops[] with bounds, inside of a tile
    cg_part *spans;   // the same of fors[], whose 'tiles' are iterations
    cg_groups *groups; // the walk's place among groups
    cg_stream stream;
    ll_val one; // i1: the lane that works in a role of one thread whose whole warp walks, or NULL
    ll_val **lines; // per operand: where its f32 scales lie for the tile's rows (factor.c), or NULL
    bool lanes; // ... and whose lanes go through its statements together: that one copies, arrives
    cg_chan *chans;   // per channel
    cg_acc *accs;     // per accumulator
    ll_var *fresh;    // per accumulator (tcgen05, wgmma): i1, the next MMA overwrites
    ll_var *stage;    // per store: i32, staging buffer that comes next
    struct cg_reduced *reduced; // reductions of the current store that are known (reduce.c)
    bool across_rows;           // inside a reduction that walks the tile's rows
    ll_val own_rows[2];         // rows of a lane's fragment: what is known of rows is known of these,
    int first_half;             // numbers first_half and on; NULL: a lane has one row
    ll_var turn;      // i32: parity to wait for on the own turn barrier
    ll_var sums;      // i32: parity of the role's next meeting (combine.c)
    void *umma;       // private to umma.c
    struct cg_wgmma *wgmma; // private to wgmma.c
    ll_val halves;          // of the role, where it reads tables (wgmma_table.c): 0x40404040
} cg;

static inline int cg_role_number(const cg *c) {
    return (int)(c->role - c->k->roles);
}

// Whether an accumulator belongs to the role that is being generated.
static inline bool cg_is_mine(const cg *c, int acc) {
    return c->k->accs[acc].role == cg_role_number(c);
}

void cg_fail(cg *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define CG_OK(c) ((c)->err == NULL)

// --- kernel.c ------------------------------------------------------------------------------------
ll_val cg_map(cg *c, int map);                              // address of a tensor map (LL_PTR)
ll_val cg_arg_of(cg *c, cg_arg_kind kind, int ref, tir_part part);
ll_val cg_size(cg *c, const tir_size *s);                   // i32
ll_val cg_smem_at(cg *c, int offset);                       // i32 address
// The policy of a tensor's bulk copies, and whether there is one: operands of the intrinsics.
ll_val cg_policy(cg *c, int param, ll_val *has);
ll_val cg_elect(cg *c);                                     // i1: one lane of the converged warp
int cg_role_regs(const cg *c);                              // registers of the role's threads ...
int cg_role_accs(const cg *c); // ... and of its accumulators among them
bool cg_is_umma(const cg *c);                               // the role issues tcgen05.mma

// --- sync.c: mbarriers and fences ----------------------------------------------------------------
void cg_wait(cg *c, ll_val bar, ll_val parity, bool cluster_scope); // loops on try_wait
void cg_arrive(cg *c, ll_val bar);                          // own CTA
void cg_arrive_if(cg *c, ll_val bar, ll_val when);          // the same where 'when' holds
void cg_arrive_remote(cg *c, ll_val bar, ll_val rank);      // release.cluster on another CTA's
// Any CTA's, orders no access.
void cg_arrive_cluster_if(cg *c, ll_val bar, ll_val rank, ll_val when);
void cg_expect(cg *c, ll_val bar, ll_val bytes);            // arrive.expect_tx
void cg_warp_sync(cg *c);
void cg_role_meet(cg *c, bool group); // all warps of the role, or of its turn group
void cg_fence_async_smem(cg *c);                            // fence.proxy.async.shared::cta

// --- channel.c -----------------------------------------------------------------------------------
void cg_channels_begin(cg *c);                              // state of the role's channels
void cg_channels_turn(cg *c, const tir_stmt *walk);         // turns: before the first tile
void cg_channels_skip(cg *c);                               // turns: after a tile
void cg_channels_pass(cg *c, const tir_stmt *walk);         // turns: a tile of another group
// Steps that groups of the role take by turns (or one does all of them): the others' instances are
// stepped over.
typedef struct {
    const tir_stmt *loop; // NULL: one group does all steps
    ll_val *slots, *phases; // per channel of the role: where the loop began
} cg_shared_loop;
cg_shared_loop cg_shared_begin(cg *c, const tir_stmt *loop); // stands at the group's first step
void cg_shared_step(cg *c, const cg_shared_loop *s);         // behind a step: at its next one
void cg_shared_end(cg *c, const cg_shared_loop *s);          // behind all steps of the CTA
ll_val cg_full_bar(cg *c, int ch); // address of the current slot's barriers
ll_val cg_empty_bar(cg *c, int ch);
ll_val cg_slot_times(cg *c, int ch, int bytes);             // number of the current slot * bytes
ll_val cg_slot_addr(cg *c, int ch);                         // smem: i32 address of the current slot
ll_val cg_factor_slot(cg *c, int ch);                       // the same of its f32 scales
void cg_advance(cg *c, int ch);
void cg_acquire(cg *c, int ch);
void cg_await(cg *c, int ch);
void cg_load(cg *c, int ch);
// A box of a map of one axis to shared address 'to', for the channel's full barrier.
void cg_load_run(cg *c, int ch, int map, ll_val to, ll_val at);
void cg_publish(cg *c, int ch);
void cg_release(cg *c, int ch);
// One arrival of this warp on the empty barrier at 'bar' in each CTA that fills the slot, where
// 'when' (i1, NULL: always) holds. All lanes have read the slot.
void cg_signal_empty(cg *c, int ch, ll_val bar, ll_val when);
ll_val cg_coord(cg *c, const tir_coord *x);                 // i32
ll_val cg_scale_coord(cg *c, const tir_coord *x, int param); // of rows of a tensor's 128x4 scales

// --- factor.c: f32 scales of operands in slots ---------------------------------------------------
void cg_factors_begin(cg *c, int f); // in front of a loop: what stays the same in its steps
// Of the slot that is acquired: those that all lanes bring, or the runs that one thread copies.
void cg_factors_load(cg *c, int ch, bool lanes);
// i32 address of scale 'number' of a granule in the current slot; rows before the CTA's first one
// that the first scale has.
ll_val cg_factor_at(cg *c, int operand, int granule, ll_val number);
ll_val cg_factor_into(cg *c, const tir_factor *f);

// --- walk.c --------------------------------------------------------------------------------------
void cg_stmts(cg *c, int n, tir_stmt *const *body);         // the statements of a body
void cg_walk(cg *c, const tir_stmt *s);
ll_val cg_for_trips(cg *c, int f);                          // i32: iterations of fors[f]
typedef struct {
    ll_val from, to; // i32: elements; steps begin at 'from' and go on while below 'to' ...
    int by;          // ... every so many elements
} cg_range;
cg_range cg_for_range(cg *c, int f);         // what this CTA does of fors[f], or this group of its warps
ll_val cg_for_steps(cg *c, int f);           // i32: steps that this CTA does of fors[f]
int cg_shares_of(const cg *c, int f);        // groups of the role that take the loop's steps by turns
ll_val cg_has_products(cg *c, int acc); // i1: this CTA adds anything to the accumulator in this tile
void cg_tile_starts(cg *c, ll_val tile);                    // tile number -> c->starts (raster)
// A number below count(i) * rows in stripes, as 'raster i by g' says: the tile of loop i and the row.
void cg_raster(cg *c, ll_val number, ll_val rows, ll_val *tile, ll_val *row);
void cg_tile_begin(cg *c);                                  // start of a tile's body
ll_val cg_loop_tiles(cg *c, int l); // i32: of loops[l]; with bounds: in the tile's group
ll_val cg_n_tiles(cg *c);
// i1: there is a tile of this number (n: of all, without groups); numbers are asked for in
// increasing order.
ll_val cg_has_tile(cg *c, ll_val n, ll_val tile);
void cg_set_span(cg *c, int f, ll_val lo, ll_val hi); // the bounds of fors[f], and its steps
// The scales of a step of k that begins at 'k' (tcgen05, mma.sync): which of a row's four its first
// elements have, i32, where it is a part of a 128x4 tile, else NULL; and how many scales behind
// those of its first elements the ones of instruction 'step' are.
ll_val cg_first_scale(cg *c, const tir_mma *m, const tir_operand *o, ll_val k);
int cg_scale_number(const cg *c, const mma_info *info, const tir_operand *o, int step);
// Columns of an accumulator that are there of this CTA's tile, at least one, in whole steps.
ll_val cg_columns_there(cg *c, const tir_acc *a, int step);
ll_val cg_tiles_of_group(cg *c); // i32: tiles of all loops behind the groups

// --- groups.c: walks of loops with bounds --------------------------------------------------------
bool cg_has_groups(const cg *c);              // the walk is one
void cg_groups_begin(cg *c);                // before the first tile; by whole warps, like the rest
ll_val cg_groups_reach(cg *c, ll_val tile); // goes on to the tile's group; i1: there is such a tile
ll_val cg_groups_enter(cg *c, ll_val tile); // sets starts of groups and parts; number in the group
// Stripes of a raster go through several groups: a group has one row of them, or no tile at all.
bool cg_groups_are_rows(const cg *c);
void cg_set_part(cg *c, int l, ll_val lo, ll_val hi); // the bounds of loops[l], and its tiles
// i32: rows between a row of a tile of the loop and its scales' row in 128x4 tiles (0: not ragged)
ll_val cg_scale_shift(cg *c, int loop);
// i32: a bound, cut off at the ends of the dimension: whatever the tensor holds, no
// other memory is met.
ll_val cg_bound(cg *c, const tir_size *dim, const tir_expr *e);
ll_val cg_shuffle(cg *c, ll_val v, ll_val lane); // i32: the lane's

// --- expr.c: one element. Values are f32, i32 or i1 as tir_expr.type says. -----------------------
bool cg_same_expr(const tir_expr *x, const tir_expr *y);
typedef struct {
    ll_val row, col;     // i32: element indices along the accumulator's row_loop and col_loop
    int dcol; // added to col: elements of one row share the arithmetic on the variable part
    const tir_acc *acc;  // geometry
    ll_val *accs;        // value of accumulator i at (row, col), NULL where unused
} cg_elem;
ll_val cg_expr(cg *c, const tir_expr *e, const cg_elem *at);
// Index of loop 'loop' (or -1) at an element, then (x + add) * mul / div.
ll_val cg_axis(cg *c, const tir_axis *a, const cg_elem *at);

// i1: the element lies in the parts of their dimensions that its loops walk.
ll_val cg_in_bounds(cg *c, const cg_elem *at);

// Reductions (reduce.c). 'hoist': those of an expression, for the row of 'at', before its elements
// are evaluated one by one; cg_expr finds them until 'done'.
void cg_reduce_hoist(cg *c, const tir_expr *e, const cg_elem *at);
void cg_reduce_done(cg *c);
bool cg_reduces(const tir_expr *e); // there is one in it
ll_val cg_reduce(cg *c, const tir_expr *e, const cg_elem *at);

// Address (i64) of the element of a tensor that 'axes' name; 'inside': it exists.
// Bytes from a plain tensor's address to the element at a position, where its layout says so.
ll_val cg_layout_offset(cg *c, int param, const ll_val *at);
// Bytes from the first scale of a scaled tensor to that of the element at these positions.
ll_val cg_scale_offset(cg *c, int param, const ll_val *at);
// Bytes to the scale of a row and granule column in 128x4 tiles, 'atoms' of them side by side.
ll_val cg_atom_offset(cg *c, ll_val row, ll_val col, ll_val atoms);
ll_val cg_element_address(cg *c, int param, int n_axes, const tir_axis *axes, const cg_elem *at,
                          ll_val *inside);

// --- convert.c: element formats and the arithmetic of mach.h -------------------------------------
ll_val cg_math(cg *c, const char *op, int n, const ll_val *args); // "add.rn.f32": f32 x n -> f32
ll_val cg_math2(cg *c, const char *op, ll_val x, ll_val y);
// The same i32 or i64, found here: LLVM would find it anew where it is used.
ll_val cg_keep(cg *c, ll_val x, ll_type type);
// n values (n * bits <= 32) as the low bits of an i32, element 0 lowest; f32, i32: the value
// itself.
ll_val cg_pack(cg *c, elem_kind e, int n, const ll_val *values);
ll_val cg_unpack(cg *c, elem_kind e, ll_val bits); // one element in the low bits of an i32 -> f32
// The same by integer code and exact f32 arithmetic, where the machine has no such conversion
// (soft.c).
bool cg_has_narrow(const cg *c);
ll_val cg_soft_encode(cg *c, elem_kind e, ll_val x);
ll_val cg_soft_decode(cg *c, elem_kind e, ll_val bits);
ll_val cg_soft_ue8m0(cg *c, ll_val x);
ll_val cg_max_abs(cg *c, int n, const ll_val *values); // f32, NaN ignored
typedef struct {
    ll_val scale;  // i32: code in the low byte
    ll_val factor; // f32: elements are multiplied with it before rounding
} cg_granule;
cg_granule cg_quantise(cg *c, elem_kind elem, elem_kind scale, ll_val amax, ll_val hs);
double cg_largest(elem_kind e);

// --- store.c -------------------------------------------------------------------------------------
// n elements of one row in consecutive columns held by one lane. FRAG_MMA: pairs; FRAG_LANE_ROW:
// the whole width of the sub-tile.
typedef struct {
    ll_val row;  // i32, element index along row_loop (tile start, rank, warp and lane included)
    ll_val col;  // i32, element index along col_loop of the first element
    ll_val box_row; // i32: row inside the warp's staging box, of a fragment that begins at ...
    int first_row;  // ... this row of the box (quad)
    int box_col;    // first column inside the warp's box, known at compile time ...
    ll_val box_col_lane; // ... plus this lane's share (i32, NULL: 0)
    int n;
    ll_val *acc[4]; // acc[a][i]: accumulator number accs[a] at element i
} cg_run;

// What one warp stores of a sub-tile: a box of 'box_rows' rows by 'cols' columns
// from (row, col) on.
typedef struct {
    const tir_acc *acc; // geometry
    int n_accs;
    int accs[4];
    int cols;
    int box_rows;
    ll_val row, col; // i32: element indices along row_loop and col_loop
    // FRAG_MMA: four lanes (lane & ~3 ..) share each row, granules are reduced over them. A piece
    // is 16 rows; its runs are ordered by half of it, 8-column fragment.
    bool quad;
    bool anew; // nothing that a store before this one computed is used again
} cg_frag;

void cg_store(cg *c, int store);
// Accumulators that the expressions of a store read; returns their number, fails above 4.
int cg_store_accs(cg *c, const tir_store *s, int accs[4]);
// Registers that what is read for one element of it takes, addresses in layouts included.
int cg_store_loads(const cg *c, const tir_store *s);
// A sub-tile, in pieces: evaluate, quantise, convert, stage; all is issued at the end.
typedef struct cg_sub cg_sub;
cg_sub *cg_sub_begin(cg *c, int store, const cg_frag *f);
void cg_sub_piece(cg *c, cg_sub *u, int n_runs, const cg_run *runs);
void cg_sub_end(cg *c, cg_sub *u);
// The sub-tiles of a store, one fragment kind each: store_lane.c, store_mma.c.
void cg_store_lane(cg *c, int store);
void cg_store_mma(cg *c, int store);

// The registers of an accumulator of the role; made when it is first met. NULL: refused.
cg_acc *cg_accumulator(cg *c, int acc);

// --- combine.c: partial sums of a split loop -----------------------------------------------------
void cg_combine_barriers(cg *c, const tir_role *r);  // prologue
void cg_combine(cg *c, const tir_stmt *s);
// n sums (a multiple of 4) of this thread, registers 4 * chunk (i32) and on of an accumulator: left
// for CTA 0, or with what the other CTAs left added to them in the order of ranks.
void cg_sums_put(cg *c, int acc, ll_val chunk, int n, const ll_val *values);
void cg_sums_add(cg *c, int acc, ll_val chunk, int n, ll_val *values);
// store_lane.c: puts what the role's warps read from TMEM and frees the slots.
void cg_lane_give(cg *c);
void cg_combine_end(cg *c); // behind the last tile of a role that combines
// All sums of the tile that the role has: left for others; or, in registers, with
// those of others added.
void cg_sums_leave(cg *c);
void cg_sums_gather(cg *c);

// --- stream.c: loops of which all tiles' steps are divided ---------------------------------------
void cg_stream_walk(cg *c, const tir_stmt *s);
void cg_stream_combine(cg *c, const tir_stmt *s);
// What cg_sums_put and cg_sums_add are there: the workspace, in the order of the ranges.
void cg_left_put(cg *c, int acc, ll_val chunk, int n, const ll_val *values);
void cg_left_add(cg *c, int acc, ll_val chunk, int n, ll_val *values);

// --- mma_sync.c (sm_120a) ------------------------------------------------------------------------
void cg_mma_sync_zero(cg *c, int acc);
void cg_mma_sync(cg *c, const tir_mma *m, int release); // release: channel released after it, or -1
// The loop 'for (...) { await ch; m; release ch }' that reads operands ahead across iterations, and
// whether the role's registers allow it.
bool cg_mma_sync_ahead(cg *c, const tir_mma *m);
void cg_mma_sync_loop(cg *c, int loop, const tir_mma *m, int ch); // fors[loop]

// --- wgmma.c (sm_90a) ----------------------------------------------------------------------------
void cg_wgmma_tables(cg *c);                   // a role begins: tables of scales (wgmma_table.c)
void cg_wgmma_begin(cg *c, int acc);           // a tile begins
void cg_wgmma(cg *c, const tir_mma *m);        // one step, its operands are free afterwards
bool cg_wgmma_loop(cg *c, const tir_stmt *s);  // a loop of such steps that overlap; false: not one
void cg_wgmma_settle(cg *c);                   // waits for all products: their slots are free
void cg_wgmma_results(cg *c);                  // before accumulators are read

// --- ring.c: tiles that a scheduler tells --------------------------------------------------------
typedef struct {
    ll_var slot, phase; // the place in the ring of a role or of the scheduler
} cg_ring;
cg_ring cg_ring_begin(cg *c);
void cg_ring_barriers(cg *c); // prologue
void cg_ring_await(cg *c, const cg_ring *r);   // until the slot is full
void cg_ring_acquire(cg *c, const cg_ring *r); // until it is empty; in the leader
void cg_ring_release(cg *c, const cg_ring *r); // this warp, or elected thread, has read it: goes on
void cg_ring_advance(cg *c, const cg_ring *r);
ll_val cg_ring_full(cg *c, const cg_ring *r);     // i32 address of the slot's full barrier ...
ll_val cg_ring_response(cg *c, const cg_ring *r); // ... and of the slot

// --- handout.c: tiles that one warp of the cluster hands out -------------------------------------
typedef struct {
    ll_val some, more; // i1: there is a tile; another one comes behind it
} cg_handed;
cg_handed cg_take_tile(cg *c, const cg_ring *r); // sets starts, parts and spans
void cg_hand_out(cg *c);                         // TS_SCHED when walk.kind is WALK_ONE

// --- implemented by cg100: umma.c, tmem.c, clc.c, store_lane.c -----------------------------------
void cg_tmem_alloc(cg *c);    // prologue, all warps run it; only tmem_warp allocates
void cg_tmem_base(cg *c);     // after the prologue's barrier: sets c->tmem
void cg_tmem_free(cg *c);     // after all roles, before the last barrier / at the end
void cg_umma_begin(cg *c);    // at the start of a role with TS_MMA on sm_100a
void cg_umma(cg *c, const tir_mma *m);
void cg_umma_release(cg *c, int ch); // operands: commit to empty (release_mask), no advance
void cg_tmem_publish(cg *c, int ch); // accumulators: commit to full, no advance
void cg_tmem_release(cg *c, int ch); // readers: wait::ld, fence, arrive on empty, no advance
void cg_umma_tail(cg *c); // at the end of every role's body: waits for commits that still signal
void cg_clc_walk(cg *c, const tir_stmt *s);  // TS_WALK of any role when walk.kind is WALK_CLC
void cg_clc_sched(cg *c);                    // TS_SCHED

#endif
