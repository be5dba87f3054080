// The simulated machine: micro-operations, warps, CTAs, clusters, SMs, asynchronous operations.
//
// A warp's whole state is its registers, predicates and splits (groups of lanes with one pc), so
// blocking is returning STOP and resuming is calling the micro-operation at the saved pc again.
// Registers are rows of 32 lanes: 32-bit values one 128-byte row, 64-bit values two, b128 four.
// 8- and 16-bit values live zero-extended in 32-bit rows; predicates are one mask a warp.
#ifndef FP4_SIM_CORE_H
#define FP4_SIM_CORE_H

#include "sim.h"
#include "units.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#define LANES 32
#define FULL 0xFFFFFFFFu
#define ROW_BYTES 128
#define SMEM_RESERVED 1024u // bytes the system keeps at the start of shared memory, as on hardware
#define RANK_SHIFT 24       // shared::cluster address = rank << 24 | offset
#define OFFSET_MASK 0xFFFFFFu
#define MAX_CLUSTER 16
#define MAX_WARPS 32
#define ADDRESS_32 0x80000000u // of a row number: the address register has 32 bits

// Windows of the generic address space. Device memory lies below them.
#define WINDOW_SHARED 0x700000000000ull
#define WINDOW_LOCAL 0x700100000000ull
#define WINDOW_PARAM 0x700200000000ull
#define WINDOW_FUNCTION 0x700300000000ull // addresses of functions
#define WINDOW_MASK 0xFFFFFFFF00000000ull

typedef uint32_t __attribute__((may_alias)) u32;
typedef int32_t __attribute__((may_alias)) s32;
typedef uint64_t __attribute__((may_alias)) u64;
typedef int64_t __attribute__((may_alias)) s64;
typedef float __attribute__((may_alias)) f32;
typedef double __attribute__((may_alias)) f64;

struct warp;
struct uop;
struct haz; // the hazard detector (haz.h)
struct haz_cluster;
// Executes u for the lanes of w->active and returns the next micro-operation, or STOP.
typedef const struct uop *uop_fn(struct warp *w, const struct uop *u);
#define STOP ((const struct uop *)UINTPTR_MAX)

struct uop {
    uop_fn *fn;
    uint32_t d, a, b, c; // rows, predicates or small numbers, as fn wants them
    uint16_t guard;      // predicate number; 0 is always true
    uint8_t negated;     // 1: execute where the guard is false
    uint8_t flag;
    uint32_t line; // of the PTX text
    int64_t imm;
    const void *aux; // operands that do not fit here
};

// ---- arenas (arena.c) ---------------------------------------------------------------------------
struct arena_block;
struct arena {
    struct arena_block *head;
};
void *sim_arena_alloc(struct arena *a, size_t bytes); // zeroed; NULL when out of memory
void sim_arena_free(struct arena *a);

// ---- modules and kernels ------------------------------------------------------------------------
enum const_kind { CONST_PLAIN, CONST_SHARED, CONST_DYNAMIC };
struct kernel_const {
    uint32_t row;
    uint16_t width; // bits
    uint16_t kind;  // CONST_SHARED: + rank << 24; CONST_DYNAMIC: + end of static memory too
    uint64_t value;
};
struct kernel_sreg {
    uint32_t row;
    uint32_t sreg; // enum sreg
};
struct kernel_use { // an operand: register (row of values, or number of a predicate) of 'uop'
    uint32_t uop, row;
    bool pred, write, guard;
};
struct sim_kernel {
    struct sim_module *module;
    const char *name;
    sim_param *params;
    uint32_t n_params, param_bytes;
    struct uop *code;
    uint32_t *source; // .loc line of each micro-operation, 0 when unknown
    uint32_t *text_at; // where its instruction begins in the text
    uint32_t n_code;
    uint32_t n_rows, n_preds;
    uint32_t carry; // predicate of the .cc flag, 0 when the kernel has none
    int cta_group;  // of its tcgen05 instructions, 0 when it has none
    bool meets;     // clusters may meet in device memory, or in the queue of clusters
    struct kernel_const *consts;
    uint32_t n_consts;
    uop_fn **under; // of instructions that read accumulators of wgmma, what they do; NULL: no wgmma
    struct kernel_use *uses; // in the order of the code
    uint32_t n_uses;
    struct kernel_sreg sregs[64];
    uint32_t n_sregs;
    bool cooperative; // reads where the workspace of the grid is
    uint32_t static_smem, dynamic_align, local_bytes;
    uint32_t max_threads[3], req_threads[3], cluster[3], max_regs, min_ctas;
};
struct sim_module {
    struct sim_module *next;
    struct sim *sim;
    struct arena arena;
    int target; // 90, 100, 120
    bool target_a;
    struct sim_kernel **kernels;
    size_t n_kernels;
    char *text; // the PTX, for messages
    size_t length;
    struct module_global {
        struct module_global *next;
        const char *name;
        uint64_t address;
        size_t bytes;
    } * globals;
};
int ptx_load(struct sim *s, const char *text, size_t length, struct sim_module *m);

#define SREG_LIST(X)                                                                               \
    X(TID_X, "%tid.x")                                                                             \
    X(TID_Y, "%tid.y")                                                                             \
    X(TID_Z, "%tid.z")                                                                             \
    X(NTID_X, "%ntid.x")                                                                           \
    X(NTID_Y, "%ntid.y")                                                                           \
    X(NTID_Z, "%ntid.z")                                                                           \
    X(CTAID_X, "%ctaid.x")                                                                         \
    X(CTAID_Y, "%ctaid.y")                                                                         \
    X(CTAID_Z, "%ctaid.z")                                                                         \
    X(NCTAID_X, "%nctaid.x")                                                                       \
    X(NCTAID_Y, "%nctaid.y")                                                                       \
    X(NCTAID_Z, "%nctaid.z")                                                                       \
    X(CLUSTERID_X, "%clusterid.x")                                                                 \
    X(CLUSTERID_Y, "%clusterid.y")                                                                 \
    X(CLUSTERID_Z, "%clusterid.z")                                                                 \
    X(NCLUSTERID_X, "%nclusterid.x")                                                               \
    X(NCLUSTERID_Y, "%nclusterid.y")                                                               \
    X(NCLUSTERID_Z, "%nclusterid.z")                                                               \
    X(CLUSTER_CTAID_X, "%cluster_ctaid.x")                                                         \
    X(CLUSTER_CTAID_Y, "%cluster_ctaid.y")                                                         \
    X(CLUSTER_CTAID_Z, "%cluster_ctaid.z")                                                         \
    X(CLUSTER_NCTAID_X, "%cluster_nctaid.x")                                                       \
    X(CLUSTER_NCTAID_Y, "%cluster_nctaid.y")                                                       \
    X(CLUSTER_NCTAID_Z, "%cluster_nctaid.z")                                                       \
    X(CLUSTER_CTARANK, "%cluster_ctarank")                                                         \
    X(CLUSTER_NCTARANK, "%cluster_nctarank")                                                       \
    X(IS_EXPLICIT_CLUSTER, "%is_explicit_cluster")                                                 \
    X(LANEID, "%laneid")                                                                           \
    X(WARPID, "%warpid")                                                                           \
    X(NWARPID, "%nwarpid")                                                                         \
    X(SMID, "%smid")                                                                               \
    X(NSMID, "%nsmid")                                                                             \
    X(GRIDID, "%gridid")                                                                           \
    X(LANEMASK_EQ, "%lanemask_eq")                                                                 \
    X(LANEMASK_LT, "%lanemask_lt")                                                                 \
    X(LANEMASK_LE, "%lanemask_le")                                                                 \
    X(LANEMASK_GT, "%lanemask_gt")                                                                 \
    X(LANEMASK_GE, "%lanemask_ge")                                                                 \
    X(DYNAMIC_SMEM_SIZE, "%dynamic_smem_size")                                                     \
    X(TOTAL_SMEM_SIZE, "%total_smem_size")                                                         \
    X(AGGR_SMEM_SIZE, "%aggr_smem_size")                                                           \
    X(RESERVED_SMEM_OFFSET_BEGIN, "%reserved_smem_offset_begin")                                   \
    X(RESERVED_SMEM_OFFSET_END, "%reserved_smem_offset_end")                                       \
    X(RESERVED_SMEM_OFFSET_CAP, "%reserved_smem_offset_cap")                                       \
    X(ENVREG0, "%envreg0")                                                                         \
    X(ENVREG1, "%envreg1")                                                                         \
    X(ENVREG2, "%envreg2")                                                                         \
    X(CLOCK, "%clock")                                                                             \
    X(CLOCK_HI, "%clock_hi")                                                                       \
    X(GLOBALTIMER_LO, "%globaltimer_lo")                                                           \
    X(GLOBALTIMER_HI, "%globaltimer_hi")                                                           \
    X(CLOCK64, "%clock64")                                                                         \
    X(GLOBALTIMER, "%globaltimer")
enum sreg {
#define X(ID, text) SREG_##ID,
    SREG_LIST(X)
#undef X
        SREG_COUNT
};

// ---- device memory (devmem.c) -------------------------------------------------------------------
struct allocation {
    uint64_t base, bytes;
    uint8_t *host;
    bool heap; // malloc of a kernel has made it
};
struct devmem {
    struct allocation *list; // sorted by base
    size_t n, capacity;
    uint64_t next; // address of the next allocation
    uint64_t used, limit;
    uint64_t heap_used; // by blocks of the kernels' malloc, rounded
};
// Host pointer of 'bytes' bytes at 'address', NULL unless one allocation holds them all.
uint8_t *devmem_at(const struct devmem *m, uint64_t address, uint64_t bytes);
// malloc (0: no room) and free (false: malloc has not returned it) of a kernel.
uint64_t devmem_heap_alloc(struct sim *s, uint64_t bytes);
bool devmem_heap_free(struct sim *s, uint64_t address);
const struct allocation *devmem_nearest(const struct devmem *m, uint64_t address);

// ---- warps --------------------------------------------------------------------------------------
enum split_state {
    SPLIT_RUN,
    SPLIT_CONVERGE,   // waits at an instruction that needs other lanes of the warp
    SPLIT_MBAR,       // waits for a phase of an mbarrier
    SPLIT_BAR,        // waits at a named barrier
    SPLIT_CLUSTER,    // waits for the cluster barrier
    SPLIT_BULK,       // waits for bulk groups of its own
    SPLIT_CP_ASYNC,   // waits for cp.async groups of its own
    SPLIT_TMEM_ALLOC, // waits for free tensor memory columns
    SPLIT_REGS,       // setmaxnreg.inc waits for registers
    SPLIT_WGMMA,      // waits for wgmma groups of its own
};
struct split {
    uint32_t pc, mask;
    enum split_state state;
    uint32_t what;  // barrier address, barrier number, columns, registers
    uint32_t value; // wanted parity, groups that may stay, wanted mask
    uint64_t phase; // cluster barrier: phase to pass; mbarrier: the one that was current
    uint32_t lanes; // that wait for 'what', an mbarrier, or have given way
    bool gave_way;  // before it passes a wait that need not wait
    bool timed_out; // the wait returns, although its phase is not over
};
struct warp {
    uint8_t *r;             // rows
    u32 *p;                 // predicates
    uint32_t active;        // lanes of the split that runs
    uintptr_t limit;        // run while the pc is below
    const struct uop *base; // instructions from here on are not counted yet
    const struct uop *code;
    struct cta *cta;
    struct exec *x;
    int64_t fuel;
    uint32_t index;  // in the CTA
    uint32_t alive;  // lanes that have not exited
    uint32_t exists; // lanes that the block has
    int n_splits, current;
    struct split split[LANES];
    bool queued;
    struct warp *next_run;
    uint64_t cluster_phase; // phase of the cluster barrier that its last arrive belongs to
    bool cluster_arrived;
    uint32_t n_regs; // of a thread, for setmaxnreg
    uint32_t cp_committed;
    uint32_t cp_before; // lanes with a cp.async in the part of the queue that look number cp_look went through
    uint64_t cp_look;
    uint32_t wgmma_committed;
    struct reg_shadow *shadow; // accumulators of wgmma in flight (wgmma.c), NULL: none yet
    uint32_t *bulk; // [LANES] bulk groups committed, made at the first use
    uint8_t *local;
    uint8_t *memory; // what r, p and local lie in
};

struct mbar {
    uint32_t address; // in the CTA
    uint32_t expected, pending;
    int32_t tx;
    uint64_t phase; // phases completed; the parity of the running phase is phase & 1
    uint32_t line;  // of the init
    bool valid;
};
struct named_bar {
    uint32_t expected; // threads, 0: all of the CTA
    uint32_t arrived;
    uint32_t reduced, voters; // true predicates, and threads that brought one
    uint32_t generation;
};
#define N_NAMED 16

struct async_op;
struct op_queue {
    struct async_op *head, *tail;
};

struct cta {
    struct cluster *cluster;
    struct sm *sm;
    struct exec *x;
    uint32_t rank, ctaid[3], slot;
    uint8_t *smem;
    uint32_t smem_bytes; // SMEM_RESERVED included
    struct unit_cta unit;
    struct mbar *mbar;
    uint32_t n_mbar, mbar_capacity;
    uint16_t *mbar_index; // by address / 8: number + 1
    struct named_bar bar[N_NAMED];
    struct warp *warp;
    uint32_t n_warps, threads, warps_alive;
    uint32_t free_regs; // of the CTA's pool, per 32 threads
    uint32_t tmem_cols; // columns it owns
    struct op_queue wgmma[MAX_WARPS / 4]; // FIFO of each warpgroup
    bool relinquished;
};
struct cluster {
    struct cluster *next, *prev;
    struct exec *x;
    uint32_t id[3], size;
    struct cta cta[MAX_CLUSTER];
    uint32_t ctas_alive;
    uint32_t arrived; // threads at the cluster barrier
    uint64_t phase;
    struct pair_alloc { // a cta_group::2 allocation that one CTA of the pair has executed
        bool waiting;
        uint32_t by, column, columns;
    } pair[MAX_CLUSTER / 2];
    struct haz_cluster *haz;
    struct op_queue *tensor; // [MAX_CLUSTER] FIFO of tcgen05 operations, by the leader's rank
    struct op_queue loose;   // operations without an order among them, the oldest first
};
struct sm {
    u32 (*tmem)[UNIT_TMEM_LANES];
    uint8_t owner[UNIT_TMEM_COLS / 32]; // CTA slot + 1 of each 32 columns
    uint32_t id, ctas, free_smem, free_threads, free_regs;
    uint32_t slots; // bit set of CTA slots in use
};

// ---- asynchronous operations (async.c) ----------------------------------------------------------
enum op_kind {
    ASYNC_BULK_LOAD,  // global -> shared
    ASYNC_BULK_STORE, // shared -> global
    ASYNC_BULK_REDUCE,
    ASYNC_BULK_DSMEM, // shared -> shared::cluster
    ASYNC_TMA_LOAD,
    ASYNC_TMA_STORE,
    ASYNC_TMA_REDUCE,
    ASYNC_CP,        // cp.async of one lane
    ASYNC_CP_ARRIVE, // cp.async.mbarrier.arrive
    ASYNC_CLC,       // the answer of try_cancel
    ASYNC_ST_REMOTE, // st.async, red.async: the values lie in 'disable'
    ASYNC_RED_REMOTE,
    ASYNC_RED_DSMEM, // shared -> shared::cluster, added there
    ASYNC_WGMMA,
    ASYNC_MMA,
    ASYNC_UTCCP,
    ASYNC_TSHIFT,
    ASYNC_COMMIT,
};
// A wgmma.mma_async of four warps; it may begin once all of them have issued it.
struct wgmma_issue {
    uint64_t a, b; // descriptors
    bool scale_d;
    uint8_t joined; // bit set of warps
    struct warp *warp[4];
    uint32_t group[4];
};
struct async_op {
    struct async_op *next;
    enum op_kind kind;
    const struct uop *u;
    struct warp *warp;
    struct cta *cta; // of the issuer
    uint32_t lane, group;
    uint32_t lanes; // of a tensor store: all that issue it
    uint32_t seq;
    uint32_t mbar;        // shared::cluster address to signal
    uint16_t mask;        // destination CTAs; 0: dst
    bool pair_signal;     // cta_group::2 on a copy
    uint32_t smem, smem2; // shared::cluster addresses
    uint64_t global;
    uint32_t bytes, zero_from; // cp.async: bytes to read, the rest is zero
    int32_t coord[5];
    bool has_map; // 'map' holds what its tensor map was when it was issued
    enum unit_red red;
    int dtype;
    uint32_t ctaid[3];
    bool canceled;
    union {
        struct unit_mma mma;
        struct unit_cp cp;
        struct wgmma_issue wg;
        struct sim_tmap map; // of a tensor copy that waits
    };
    uint32_t disable[8];
    uint32_t haz, haz_read; // what the hazard detector knows it by
};

// ---- a launch (exec.c) --------------------------------------------------------------------------
struct exec {
    struct sim *sim;
    const struct sim_kernel *k;
    sim_launch_config config;
    uint8_t *params;
    uint32_t n_clusters[3];
    uint64_t clusters_total, clusters_next, clusters_step; // next in launch order
    uint32_t index;                   // of its group (groups.c)
    const atomic_uint *first_failed; // group, or NULL
    struct cluster *live;
    struct sm *sm;
    uint32_t n_sms, next_sm;
    uint32_t smem_bytes, smem_per_sm, threads, cluster_size;
    uint64_t workspace; // of a cooperative launch, 0: the kernel does not ask for it
    uint32_t regs; // of a thread at the start, 0 unknown
    bool ended;    // a cluster has ended and is to be swept
    struct warp *run_head, *run_tail;
    uint32_t n_runnable;
    uint32_t turns; // in a row that ended with the warp still running
    uint32_t timeouts; // of waits, since a phase of an mbarrier was over
    bool polled;    // a lazy schedule had to move on although warps were running
    uint32_t n_async;
    uint32_t n_pending_seq;
    uint64_t n_looks; // how often a queue was gone through
    uint64_t random;
    size_t replayed; // decisions taken from the log
    uint64_t steps, max_steps;
    const struct allocation *hit; // of the last global access
    bool failed;
    int status;
    char message[2048];
    sim_stats stats;
    struct haz *haz; // NULL: off
    struct warp_memory *pool; // memory of warps that have ended
    size_t warp_bytes;
};
struct sim {
    sim_options options;
    struct devmem mem;
    struct sim_module *modules;
    sim_stats stats;
    sim_finding *finding;
    size_t n_findings, finding_capacity;
    char *printed; // by printf of the last launch
    size_t n_printed, printed_capacity, printed_lost;
    char error[2304];
};

// A fault of the kernel at u: records the sentence and returns STOP. The first one counts.
const struct uop *sim_fault(struct warp *w, const struct uop *u, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_fault_op(const struct async_op *op, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int sim_set_error(struct sim *s, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline uint32_t exec_mask(const struct warp *w, const struct uop *u) {
    return w->active & (w->p[u->guard] ^ (0u - u->negated));
}
static inline void *row(const struct warp *w, uint32_t r) {
    return w->r + (size_t)r * ROW_BYTES;
}
static inline uint32_t value_32(const struct warp *w, uint32_t r, int lane) {
    return ((const u32 *)row(w, r))[lane];
}
static inline int first_lane(uint32_t m) {
    return __builtin_ctz(m);
}
#define FOR_LANES(lane, m)                                                                         \
    for (uint32_t rest_ = (m); rest_ != 0; rest_ &= rest_ - 1)                                     \
        for (int lane = __builtin_ctz(rest_), once_ = 1; once_; once_ = 0)

// ---- control (warp.c) ---------------------------------------------------------------------------
void warp_run(struct warp *w); // until no split of it can run, or its fuel is used up
// Parks the running split; it resumes at 'at'.
const struct uop *warp_park(struct warp *w, const struct uop *at, struct split how);
void warp_wake(struct warp *w, struct split *s);
// True when all lanes of 'need' that are alive stand at u; else parks (return STOP).
bool warp_converge(struct warp *w, const struct uop *u, uint32_t need);
// The same of all 32 lanes; false and a fault if one has ended or its guard is off.
bool warp_whole(struct warp *w, const struct uop *u);
void warp_queue(struct warp *w); // make it runnable
uop_fn run_bra, run_exit, run_brx, run_trap, run_nop, run_policy;
uop_fn run_call_skip; // a: row of addresses; branches where one is not function b

// ---- resolving addresses (mem.c) ----------------------------------------------------------------
struct cta *sim_cluster_cta(struct warp *w, const struct uop *u, uint32_t shared);
// Host pointer to shared memory at a shared::cluster address, NULL after a fault.
uint8_t *sim_smem_at(struct warp *w, const struct uop *u, uint32_t shared, uint32_t bytes);
uint8_t *sim_gmem_at(struct warp *w, const struct uop *u, uint64_t address, uint64_t bytes);

// ---- synchronisation (mbar.c, bar.c) ------------------------------------------------------------
struct mbar *mbar_find(const struct cta *c, uint32_t offset);
// The barrier at a shared::cluster address, NULL after a fault.
struct mbar *mbar_at(struct warp *w, const struct uop *u, uint32_t shared, struct cta **owner);
bool mbar_arrive(struct cta *c, struct mbar *b, uint32_t count, char why[160]);
bool mbar_tx(struct cta *c, struct mbar *b, int64_t delta, char why[160]);
// Completion of an asynchronous copy; false after a fault.
bool mbar_complete(const struct async_op *op, uint32_t shared, uint32_t bytes);
void bar_warp_exit(struct cta *c); // a warp of it has ended
void cluster_bar_check(struct cluster *cl);

// ---- asynchronous operations --------------------------------------------------------------------
// Takes the operation: performs it at once (eager) or queues a copy. False after a fault.
bool async_submit(struct warp *w, struct async_op *op);
bool async_step(struct exec *x); // performs one pending operation; false when there is none
bool async_perform(const struct async_op *op);
uint32_t async_pending_bulk(const struct warp *w, uint32_t lane, uint32_t upto);
bool async_pending_cp(const struct warp *w, uint32_t upto);
bool tensor_perform(const struct async_op *op);
bool wgmma_perform(const struct async_op *op);
bool wgmma_ready(const struct async_op *op);
bool wgmma_find_reads(struct sim_kernel *k); // once all code is there; false: out of memory
void wgmma_free_shadow(struct warp *w);
bool tmem_owned(const struct cta *c, uint32_t column, uint32_t n);

// ---- launch (exec.c) ----------------------------------------------------------------------------
void exec_cta_ended(struct cta *c);
bool exec_cancel_next(struct exec *x, uint32_t ctaid[3]); // cluster launch control
// A scheduling decision: one of n (drawn, or replayed), 0 the default.
uint32_t exec_choice(struct exec *x, uint32_t n);
// Wakes the splits of the CTA (cluster) that wait for 'what' in 'state'.
void sim_wake_cta(struct cta *c, enum split_state state, uint32_t what);

#endif
