// The hazard detector: vector clocks over warps and asynchronous operations, shadow memory, rules.
//
// A launch with the detector on runs a copy of the kernel's code whose micro-operations first tell
// the detector what they are about to do; with it off none of this exists. A clock has one component
// for every way in which a warp's work can be known to be done (haz_comp) and one for every mbarrier
// (phases completed), in planes:
//   G  what happened before, in the usual sense
//   A  the part of it whose generic accesses are published to the async proxy (fence.proxy.async)
//   W  the same, but published by the warp that made the access
//   B  as A, for global memory; there only where fences name the space that they are of
// An access is a record: (component, epoch). It happened before a warp's next instruction when the
// warp's clock holds at least that epoch. Copies that signal an mbarrier get theirs as they signal.
// Between clusters a clock holds copies of the others' components (foreign), which only memory
// operations at gpu scope hand over.
#ifndef FP4_SIM_HAZ_H
#define FP4_SIM_HAZ_H

#include "async.h"
#include "exec.h"
#include "mem.h"
#include "sync.h"

// What happened before: for the generic proxy, for the async proxy, for it by the writer's own fence, for it and global
// memory, and for the tensormap proxy, where a kernel has fences of that (else clocks have no such plane).
enum haz_plane { PLANE_G, PLANE_A, PLANE_W, PLANE_B, PLANE_MAP, N_PLANES };

enum haz_comp {
    COMP_OWN,    // its own instructions
    COMP_MMA,    // tcgen05.mma, cp, shift that a commit has reported
    COMP_LD,     // tcgen05.ld up to wait::ld
    COMP_ST,     // tcgen05.st up to wait::st
    COMP_BEFORE, // tcgen05 operations before its fence::before_thread_sync
    COMP_STORED, // bulk stores up to wait_group: written
    COMP_SOURCE, // bulk stores up to wait_group.read: read
    COMP_CP,     // cp.async up to wait_group
    COMP_WGMMA,  // wgmma of its warpgroup up to wait_group
    COMP_INIT,   // mbarrier.init before its fence.mbarrier_init
    COMP_LANES,  // its own instructions that all its lanes know of (haz_lane.c)
    N_COMPS
};
#define UNRESOLVED UINT32_MAX // component of a copy that has not signalled

struct haz_foreign {
    uint32_t uid, n; // cluster, components
    u32 *v[3];       // PLANE_G, what is published of global memory, PLANE_MAP
};
struct haz_clock {
    struct haz_clock *next; // all of the cluster, for growing
    u32 *v;                 // [planes of the cluster][capacity]
    struct haz_foreign *foreign;
    uint32_t n_foreign;
};

enum haz_order { ORDER_WEAK, ORDER_RELAXED, ORDER_ACQUIRE, ORDER_RELEASE, ORDER_ACQ_REL };
enum haz_scope { SCOPE_CTA, SCOPE_CLUSTER, SCOPE_GPU };
enum haz_fence {
    FENCE_NONE,
    FENCE_MEMORY,
    FENCE_ASYNC,
    FENCE_ASYNC_SHARED, // of this space only
    FENCE_ASYNC_GLOBAL,
    FENCE_MBAR_INIT,
    FENCE_MAP_ACQUIRE,
    FENCE_BEFORE,
    FENCE_AFTER,
    FENCE_WGMMA,
    FENCE_PDL_WAIT
};
// What the detector knows of one micro-operation.
struct haz_ins {
    uop_fn *fn;   // the instruction itself
    uop_fn *with; // what tells the detector of it, or itself
    uop_fn *after; // of one that reads accumulators of wgmma: what comes after their check
    uint32_t watch, n_watch; // registers that may not have been written (haz_regs.c)
    uint32_t touch, n_touch; // registers of tensor instructions (haz_held.c), and what it would run without
    uop_fn *inner;
    uint8_t order, scope, fence;
    bool read, nc, store, says_cta;
    bool strong; // not weak
};

enum { // of a record
    REC_WRITE = 1,
    REC_ASYNC = 2,  // by the async proxy
    REC_STRONG = 4, // a memory operation with an order, an atomic or a reduction
    REC_CP = 8,     // cp.async: asynchronous, in the generic proxy
    REC_SET = 16,   // a list of readers: 'comp' is one, 'next' the others
    REC_MARK = 32,
    REC_MAP = 64 // of a tensor map, by a copy
};
enum haz_pipe { PIPE_NONE, PIPE_MMA, PIPE_CP, PIPE_SHIFT, PIPE_LD, PIPE_ST, PIPE_DEALLOC };
struct haz_rec {
    uint32_t comp, epoch;
    uint32_t uid;  // cluster
    uint32_t uop;  // index
    uint32_t next; // of a list of readers; of the copies of one multicast
    uint32_t issue; // COMP_OWN of the issuer as it was issued
    uint16_t warp; // in the cluster
    uint8_t flags, pipe, swizzle, scope, rank, lane;
};
// Lanes of accesses, as numbers + 1.
enum { LANE_UNKNOWN, LANE_SEVERAL = 33, LANE_CELL = 34 }; // CELL: each cell has its own
// Records of the last write and of the reads since, and which of the four bytes they touch; lanes.
struct haz_cell {
    uint32_t w, r;
    uint8_t w_lane, r_lane;
};
#define CELL_BITS 28
#define CELL_ID(x) ((x) & ((1u << CELL_BITS) - 1))
#define CELL_BYTES(x) ((x) >> CELL_BITS)
#define CELL(id, bytes) ((id) | (bytes) << CELL_BITS)
#define ALL_BYTES 15u
#define TMEM_PARTS 8 // lanes are told apart in groups of 16

struct haz_thread {
    struct haz_cluster *cluster;
    struct warp *warp;
    uint32_t base;            // of its components
    uint16_t index;           // in the cluster
    struct haz_clock now;     // what happened before its next instruction
    struct haz_clock fenced;  // ... before its last fence that releases
    struct haz_clock pending; // observed by relaxed operations, not acquired yet
    struct haz_clock active;  // what fence::after_thread_sync has let through
    struct haz_clock commits; // what happened before its last tcgen05.commit
    struct haz_clock issued;  // ... before the first wgmma of the last group
    uint32_t issued_group;    // that group, + 1
    struct haz_clock joined;  // what happened before a wgmma that all four warps have issued
    struct haz_clock late;    // ... before relaxed writes that it has seen: reads there are over
    struct haz_clock every;   // what all its lanes know, when 'part' of them know more
    uint32_t part, releasers; // lanes
    uint32_t copied[LANES];   // epoch of COMP_CP up to which a barrier told of a lane's cp.async
    uint32_t tcgen05;         // operations issued so far
    uint32_t committed;       // of them, when it last committed
    uint32_t stores;          // bulk stores issued
    struct haz_store {
        uint32_t seq, group, uop;
        uint32_t lanes; // all that have issued it
        bool read, written;
    } * open; // bulk stores not known to be written
    uint32_t n_open, open_capacity;
    uint32_t cp, n_commits;
    uint32_t commit[64]; // cp.async: epoch of the last commits
    uint32_t inits;
    bool wgmma_fenced; // it has executed wgmma.fence
    uint32_t waited;   // groups of wgmma that it has waited for
    uint32_t *owned;   // [rows] the group that owns an accumulator, + 1
    bool to_peer;      // it has stored to another CTA since its last fence
    bool pdl; // it has passed griddepcontrol.wait
    u32 *written; // [watched registers] lanes
    struct haz_touched {
        uint32_t uop;  // 1 + the micro-operation
        uint32_t load; // epoch of a tcgen05.ld
    } * touched;       // [registers watched by haz_held.c]
    struct {
        uint32_t uop, comp, epoch, id;
    } recent[64]; // records by uop
};
struct haz_bar {
    struct haz_clock cur, done;
    uint32_t comp;        // phases completed
    uint64_t arrivers[8]; // bit set of warps of the cluster
    uint32_t init_uop, init_epoch, init_seq, init_warp;
    uint32_t peer_phase, peer_uop; // the last signal of another CTA's operation: phase + 1
    uint32_t peer_comp, peer_epoch; // what it was the commit of, 0: none
    bool peer_own; // the CTA's own commit
    bool far, far_done; // a thread of another CTA released at cluster scope to this phase, or to one that is complete
    uint32_t *seen; // [warps of the cluster] phases completed at its last wait, + 1
};
struct haz_cta {
    struct cta *cta;
    struct haz_cell *smem;
    struct haz_cell *tmem; // [UNIT_TMEM_COLS][TMEM_PARTS]
    struct haz_bar **bar;  // by number of mbarrier
    uint32_t n_bars;
    struct haz_clock named[N_NAMED];
    // [warps of the cluster] the last arrival of another CTA's warp: its COMP_OWN, where
    uint32_t *remote, *remote_uop;
};
struct haz_cluster {
    struct haz *haz;
    struct cluster *cluster;
    uint32_t uid, n_comps, capacity, planes;
    struct haz_clock *clocks;
    uint32_t n_threads;
    struct haz_thread *thread; // [rank * warps of a CTA + warp]
    struct haz_cta cta[MAX_CLUSTER];
    struct haz_clock cur, done; // the cluster barrier
};

struct haz_page {
    uint64_t number;
    struct haz_cell cell[1024];
};
struct haz_place { // a location of memory that synchronises
    uint64_t key;
    struct haz_foreign *v;
    uint32_t n;
};
struct haz {
    struct sim *sim;
    struct exec *x;
    sim_hazards profile;
    bool failed; // out of memory
    struct sim_kernel kernel;
    struct haz_ins *ins;
    bool has_pdl, has_maps, of_space; // it has fences that say so
    struct haz_watch { // an instruction's use of a watched register
        uint32_t id;
        bool write, guard;
    } * watch;
    uint32_t n_watched;
    struct haz_touch { // an instruction's use of a register that haz_held.c watches
        uint32_t id;
        bool sets;
    } * touch;
    uint32_t n_touches, n_touched;
    uint32_t next_uid;
    struct haz_rec *rec;
    uint32_t n_rec, rec_capacity, rec_limit, spare;
    struct haz_page **page;
    uint32_t n_pages, page_capacity;
    struct haz_page *last_page;
    struct haz_place *place;
    uint32_t n_places, place_capacity;
    struct {
        uint32_t r, x, to;
    } memo[256];
};

// One access that is being checked.
struct haz_access {
    struct haz *h;
    struct haz_thread *t;
    uint32_t rec;
    bool write, read; // both: an atomic
    const char *space;
    uint64_t base; // added to offsets in messages
    bool check_initial, nc;
    bool load;   // into registers
    bool beside; // it reads lanes of tensor memory that have been written beside those that have not
    bool global; // of global memory
    const struct uop *store; // a plain store whose values may be compared with what is there, or NULL
    uint8_t lane;
    uint32_t lanes; // all that take part
};

enum haz_kind {
#define HAZARD(ID, name, severity, text) HAZ_##ID,
#include "haz_kinds.def"
#undef HAZARD
    HAZ_COUNT
};

// ---- hooks that the interpreter calls when a launch has a detector (haz_run.c) -----------------
bool haz_begin(struct exec *x); // false: out of memory
void haz_end(struct exec *x);
bool haz_failed(const struct exec *x); // out of memory
bool haz_cluster_start(struct cluster *cl);
void haz_cluster_end(struct cluster *cl);
void haz_cta_exit(struct cta *c);
void haz_phase(struct cta *c, const struct mbar *b);            // a phase is about to be over
void haz_init(struct warp *w, const struct uop *u, const struct mbar *b);
void haz_complete(const struct async_op *op, struct cta *c, const struct mbar *b);
void haz_arrive_op(const struct async_op *op, struct cta *c, const struct mbar *b);
void haz_named_complete(struct cta *c, uint32_t id);
void haz_cluster_complete(struct cluster *cl);
void haz_issue(struct warp *w, struct async_op *op); // before it is performed or queued
void haz_columns(struct cta *c, uint32_t column, uint32_t n);
void haz_explain(const struct cta *c, const struct mbar *b, char *out, size_t bytes);

// ---- clocks (haz_clock.c) ----------------------------------------------------------------------
// Is the mbarrier that op is going to signal initialised for it? (haz_run.c)
void haz_check_signal(struct haz_thread *t, const struct async_op *op, uint32_t uop);
bool haz_clock_make(struct haz_cluster *cl, struct haz_clock *k);
void haz_clock_free(struct haz_clock *k); // its foreign part; v goes with the cluster
void haz_join(struct haz_cluster *cl, struct haz_clock *to, const struct haz_clock *from);
void haz_copy(struct haz_cluster *cl, struct haz_clock *to, const struct haz_clock *from);
void haz_publish(struct haz_cluster *cl, struct haz_clock *k, uint32_t own, enum haz_fence f); // A := G
void haz_publish_maps(struct haz_cluster *cl, struct haz_clock *k); // MAP := G
bool haz_known(const struct haz_cluster *cl, const struct haz_clock *k, int plane,
               const struct haz_rec *x);
uint32_t haz_new_comp(struct haz_cluster *cl); // 0: out of memory
void haz_set(struct haz_cluster *cl, struct haz_clock *k, uint32_t comp, uint32_t epoch);
static inline uint32_t haz_get(const struct haz_cluster *cl, const struct haz_clock *k, int plane,
                               uint32_t comp) {
    return k->v[(size_t)plane * cl->capacity + comp];
}
void haz_tick(struct haz_thread *t); // its later accesses are not in what it has released
void haz_place_release(struct haz *h, uint64_t key, struct haz_thread *t,
                       const struct haz_clock *k);
void haz_place_acquire(struct haz *h, uint64_t key, struct haz_thread *t, struct haz_clock *k);

// ---- loads that guess what a compare-and-swap will find (haz_guess.c) ---------------------------
// Does memory hold what the store of 'a' is about to write? (haz_mem.c)
bool haz_unchanged(const struct haz_access *a);
bool haz_guesses_begin(struct haz *h); // once all instructions are read; false: out of memory

// ---- registers (haz_regs.c) ---------------------------------------------------------------------
bool haz_regs_begin(struct haz *h); // once the code has its wrappers; false: out of memory
uop_fn haz_registers;

// ---- registers of wgmma and tcgen05.ld (haz_held.c) ----------------------------------------------
bool haz_held_begin(struct haz *h); // after haz_regs_begin; false: out of memory
void haz_held_end(struct haz_thread *t); // wgmma.fence, tcgen05.wait::ld
uop_fn haz_touches;

// ---- lanes (haz_lane.c) -------------------------------------------------------------------------
void haz_acquire(struct haz_thread *t, const struct haz_clock *from, uint32_t m);
void haz_part(struct haz_thread *t, uint32_t m);
void haz_done(struct haz_thread *t, uint32_t m, uint32_t comp, uint32_t epoch);
void haz_release(struct haz_thread *t, struct haz_clock *to, const struct haz_clock *k, uint32_t m);
void haz_warp_met(struct haz_thread *t);
bool haz_lanes_matter(const struct haz_access *a, const struct haz_rec *x);
bool haz_lane_conflict(const struct haz_access *a, const struct haz_rec *x, uint8_t lane,
                       uint32_t bytes);
uint8_t haz_reader_lane(const struct haz_access *a, const struct haz_rec *r, uint8_t lane);

// ---- records and shadow memory (haz_shadow.c) --------------------------------------------------
struct haz_make {
    uint32_t uop, comp, epoch;
    uint8_t flags, pipe, swizzle, lane;
};
uint32_t haz_record(struct haz_thread *t, const struct haz_make *m);
void haz_shared(const struct haz_access *y, struct haz_cta *c, uint32_t offset, uint32_t bytes);
void haz_global(const struct haz_access *y, uint64_t address, uint64_t bytes);
void haz_tensor(const struct haz_access *y, struct haz_cta *c, uint32_t column, uint32_t columns,
                uint32_t parts); // parts: bit set of 16-lane groups
void haz_map_read(const struct haz_access *y, uint64_t address);

// ---- findings (haz_report.c) -------------------------------------------------------------------
void haz_report(struct haz *h, enum haz_kind kind, uint32_t uop, uint32_t other,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
struct haz_conflict {
    const struct haz_access *y;
    uint32_t x; // record
    uint64_t address;
};
void haz_report_conflict(enum haz_kind kind, const struct haz_conflict *c);
void haz_free_findings(struct sim *s);

// ---- instructions (haz_ins.c, haz_mem.c, haz_tensor.c) -----------------------------
void haz_read_ins(const struct sim_kernel *k, uint32_t n, struct haz_ins *out);
struct haz_thread *haz_thread_of(const struct warp *w);
static inline struct haz_ins *haz_ins_of(const struct warp *w, const struct uop *u) {
    return &w->x->haz->ins[u - w->code];
}
static inline const struct uop *haz_do(struct warp *w, const struct uop *u) {
    return haz_ins_of(w, u)->fn(w, u);
}
uop_fn haz_ld, haz_st, haz_st_bulk, haz_atom, haz_ldmatrix, haz_stmatrix;
uop_fn haz_mbar_arrive, haz_mbar_wait, haz_bar, haz_bar_warp, haz_cluster_arrive;
uop_fn haz_cluster_wait, haz_fence;
uop_fn haz_bulk_wait, haz_cp_commit, haz_cp_wait, haz_tmem_ld, haz_tmem_st, haz_tmem_wait;
uop_fn haz_tmem_alloc, haz_tmem_dealloc, haz_wgmma, haz_wgmma_wait, haz_wgmma_read, haz_tmap;
void haz_collect(struct haz *h);

#endif
