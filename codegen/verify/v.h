// Inside the verifier: the kernel as read (v_parse.c), the threads that follow it (v_warp.c), what
// they know of each other (v_clock.c) and what was done to memory (v_shadow.c).
#ifndef FP4_V_H
#define FP4_V_H

#include "arena.h"
#include "verify.h"

#include <setjmp.h>

enum {
    V_LANES = 32,
    V_MOST_CTAS = 16,
    V_MOST_THREADS = 1024,
    V_SMEM_BYTES = 233472, // of an SM of sm_90 and sm_100: no block has more
    V_GRANULE = 16, // of boxes
    V_BLOCK = 64,   // of shared memory: accesses are kept by block, their bytes in one word
    V_TMEM_COLUMNS = 512,
    V_ANSWERS = 64,
    V_RANK_SHIFT = 24 // a shared address: the rank of the CTA, then the offset (of hardware, hence
                      // of peer masks)
};

// ---- the kernel as read -------------------------------------------------------------------------
typedef enum {
    VO_NONE,
    VO_REG,
    VO_IMM,
    VO_SHARED,
    VO_LABEL,
    VO_SREG,
    VO_VECTOR,
    VO_ADDRESS,
    VO_SINK
} v_operand_kind;

typedef struct v_operand {
    v_operand_kind kind;
    bool negated; // !p
    int reg, pair; // pair: q of p|q, or -1
    uint64_t imm;  // value; offset of an address
    struct v_operand *part; // of a vector; of an address: base, then coordinates
    int n;
    const char *name; // label, special register
} v_operand;

// Words of an opcode that change what it does.
#define V_WORDS(X)                                                                                 \
    X(relaxed) X(expect_tx) X(read) X(arrive) X(wait) X(sync) X(red) X(noinc) X(lo) X(hi)          \
    X(wide) X(to) X(pred) X(idx) X(up) X(down) X(bfly) X(dec) X(inc) X(trans) X(volatile) X(l)     \
    X(r) X(wrap) X(clamp) X(global) X(shared) X(param) X(local) X(ld) X(st) X(is_canceled)         \
    X(ballot) X(any) X(all) X(uni) X(reduce) X(tensormap) X(async) X(tile) X(ashift) X(ws)         \
    X(acquire) X(release) X(acq_rel) X(mmio)
enum v_word {
#define X(w) VW_##w,
    V_WORDS(X)
#undef X
        VW_shared_cluster,
    VW_multicast,
    VW_pair,
    VW_mbarrier,
    VW_bulk_group,
    VW_block_scale,
    VW_COUNT
};

typedef enum { VT_NONE, VT_U, VT_S, VT_B, VT_F, VT_PRED } v_type_kind;
typedef struct {
    v_type_kind kind;
    uint8_t bits;
} v_type;

struct v_machine;
struct v_warp;
struct v_ins;
// Follows an instruction in the lanes of 'mask'; false: it waits.
typedef bool v_step(struct v_machine *m, struct v_warp *w, const struct v_ins *i, uint32_t mask);

typedef struct v_ins {
    uint32_t line;
    const char *op;   // the whole opcode
    v_step *step;
    uint64_t words;   // 1 << enum v_word
    v_type type[3];   // in order of the opcode
    int n_types;
    int vec;          // v2, v4 of loads and stores; x1 to x128 of matrix and TMEM loads; 1
    int dims;         // 2 of "2d"
    int base, cmp;    // of scalar arithmetic (v_alu.c)
    int guard;        // register of the predicate, -1: none
    bool guard_not;
    v_operand *arg;
    int n_args;
    uint32_t target; // of a branch
} v_ins;

static inline bool v_has(const v_ins *i, enum v_word w) { return i->words >> w & 1; }

typedef struct {
    uint32_t offset, bytes;
    v_type type;
    bool array;
} v_param;

typedef struct v_kernel {
    struct v_kernel *next;
    const char *name;
    uint32_t line;
    v_param params[VERIFY_MOST_PARAMS];
    int n_params;
    uint32_t threads, max_regs, cluster, static_smem;
    v_ins *ins;
    uint32_t n_ins;
    int n_regs;
} v_kernel;

// ---- where refusals leave -----------------------------------------------------------------------
typedef struct {
    jmp_buf leave;
    arena *mem;
    uint32_t line;
    bool too_long; // more instructions than were to be followed
    char *text;    // VERIFY_MOST_TEXT
} v_exit;

_Noreturn void v_fail(v_exit *x, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

v_kernel *v_parse(const char *text, size_t len, v_exit *x);
v_step *v_find_step(const char *opcode, v_ins *i); // NULL: unknown (v_ops.c)
bool v_alu_decode(const char *base, v_ins *i);

// ---- knowledge ----------------------------------------------------------------------------------
// One number for each thread and each mbarrier: everything up to then is known. Shared, copied when
// one that others hold is changed.
typedef struct v_clock {
    struct v_clock *next; // of those not in use
    int refs;
    uint32_t at[];
} v_clock;

// ---- the machine --------------------------------------------------------------------------------
typedef struct {
    uint64_t v[V_LANES];
    uint32_t known;   // lanes whose value does not depend on data
    bool same;        // v[0] is the value of every lane
    uint32_t bounded; // lanes whose value depends on data and lies from v to v + span
    uint64_t span;
} v_reg;

typedef struct {
    v_clock *g, *a;       // what happened before; what of it the async proxy sees
    v_clock *t, *tp, *to; // tcgen05: usable, received, published
    uint32_t a_now, to_now; // moments of its warp: of the last fences that published
} v_thread;

// A register as wgmma sees it.
typedef struct {
    uint32_t touched_at; // step of the warp that wrote or read it, other than wgmma
    uint32_t group;      // last group that it takes part in
    bool result;         // as D, else as A
} v_matrix_reg;

// Asynchronous operations of a thread (bulk, cp.async) or warp (wgmma, TMEM) that it has to wait
// for.
typedef struct {
    uint32_t *op, *group;
    uint32_t n, most, groups;
} v_pending;

typedef struct v_warp {
    int cta, index;
    uint32_t first;          // number of the thread of lane 0
    uint32_t live;           // lanes that have not left
    uint32_t now;            // moment; goes on when a lane releases or fences
    uint32_t pc[V_LANES];
    bool in_bar;             // in a named barrier, since this generation of it
    uint64_t bar_generation;
    uint64_t cluster_generation, cluster_known; // known: the last one that was waited for, plus 1
    bool in_cluster_bar;
    v_reg *reg;
    v_matrix_reg *mreg;
    uint32_t steps, fence_at;   // wgmma.fence
    uint32_t done_groups;       // of wgmma
    v_pending wgmma, tmem_ld, tmem_st;
    uint8_t *loading;           // registers that a tcgen05.ld may still write ...
    int *loads;                 // ... so many of them
    int n_loading;
    uint32_t regs;              // after setmaxnreg
    const v_ins *stuck;         // where it waits
    int stuck_barrier;
    uint32_t stuck_parity;
} v_warp;

// An asynchronous operation that reads or writes memory.
typedef enum {
    VA_COPY,
    VA_STORE,
    VA_TENSOR,
    VA_WGMMA,
    VA_CP_ASYNC,
    VA_TMEM_LD,
    VA_TMEM_ST,
    VA_CANCEL
} v_async_kind;
typedef struct {
    v_async_kind kind;
    bool done;
    uint32_t comp, at; // known by whoever knows this component up to 'at'
    uint32_t thread;   // that issued it
    uint32_t order;    // tcgen05: number among those of the thread
    const v_ins *ins;
} v_async;

typedef struct {
    uint32_t order, comp, at;
} v_commit;

// What was done to a block of shared memory or a cell of TMEM.
typedef struct v_access {
    struct v_access *next;
    const v_ins *ins;
    uint32_t async;    // 0: a thread's own access, else number of a v_async
    uint32_t comp, at; // a thread's own
    uint32_t lanes;    // 1; more: of those behind it in its warp too, together
    uint64_t mask;     // bytes of the block
    bool write;
    uint8_t role;      // TMEM: enum v_tmem_use
} v_access;

typedef struct {
    bool valid;
    int index; // component n_threads + index
    uint32_t count, pending;
    int64_t tx;
    int64_t expected; // in all, and by which boxes: see v_boxes.h
    uint32_t *loads;
    bool loaded; // in this phase
    uint64_t phase;
    v_clock *cur[3], *done[3]; // g, a, t
    bool far, far_done; // a thread of another CTA released at cluster scope to this phase, or to
                        // one that is over
    uint32_t init_thread, init_at;
    uint32_t offset;
    bool init_fenced;
    uint64_t init_generation; // of the cluster barrier that makes a fenced one known, plus 1; 0: none
    const v_ins *init;
    int64_t *waited; // by thread: see v_mbar.c
} v_mbar;

typedef struct {
    uint64_t generation;
    uint32_t expected, arrived; // threads
    v_clock *cur[3], *done[3];
} v_bar;

typedef struct {
    v_access **smem;      // by block
    uint8_t *value;       // V_SMEM_BYTES
    uint8_t *known;       // bytes whose value is known
    v_mbar **mbar;        // by offset / 8
    v_access **tmem;      // by column * 4 + quarter
    bool allocated[V_TMEM_COLUMNS];
    uint32_t allocs;      // columns held
    bool exited;
    v_bar bar[16];
    uint32_t *remote;     // by component: what others did here last
    const v_ins **remote_ins;
} v_cta;

typedef struct {
    uint64_t size;         // of integer parameters, but
    int big, also;         // this one, and this one
    uint64_t big_size;
    uint32_t clusters, first_cluster, more_tiles;
    bool data; // what a predicate says that depends on data
    // Number i of an array in global memory is (first + i) * size / 4: offsets that ascend, or counts.
    // With size 1 and one of them, first 3 is a group of one row (offsets), first 4 as well (counts).
    uint32_t first;
    uint64_t apart; // 0, or in place of size: times 4, the distance of these numbers
} v_case;

typedef struct v_region v_region;

// Whether an operation is over as far as a thread knows, during one step.
typedef struct {
    uint64_t step;
    uint32_t thread, async;
    bool over;
} v_answer;

typedef struct v_machine {
    v_exit *x;
    arena *mem; // of this run
    const v_kernel *k;
    const verify_facts *facts;
    v_case given;
    uint64_t param[VERIFY_MOST_PARAMS];
    int n_ctas, n_threads, n_comps, n_mbars, most_mbars;
    uint32_t per_cta, warps_per_cta;
    v_cta *cta;
    v_warp *warp;
    int n_warps;
    v_thread *thread;
    v_mbar **mbars;
    v_async *async;
    uint32_t n_async, most_async;
    v_answer answers[V_ANSWERS];
    v_commit **commits; // by thread
    uint32_t *n_commits, *most_commits, *orders;
    v_access *free;
    v_clock *free_clocks;
    uint32_t cancels;
    v_bar cluster_bar;
    bool has_wgmma, has_grid_wait;
    uint32_t *grid_waited; // by thread: one more than the time of its griddepcontrol.wait; 0: none yet
    uint32_t tickets; // that atomics have given out, and flags of other blocks
    v_region *regions[VERIFY_MOST_PARAMS]; // v_global.c
    uint64_t steps, most_steps;
    bool learn;              // sizes of boxes are looked for; nothing else is checked
    struct v_boxes *boxes;
    v_pending *bulk, *cp_async; // by thread
    verify_report *report;
} v_machine;

_Noreturn void v_refuse(v_machine *m, const v_warp *w, const v_ins *i, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define V_EACH(lane, mask)                                                                         \
    for (uint32_t left_##lane = (mask), lane = 0;                                                  \
         left_##lane != 0 && ((lane = (uint32_t)__builtin_ctz(left_##lane)), true);                \
         left_##lane &= left_##lane - 1)

// ---- values (v_value.c) -------------------------------------------------------------------------
uint64_t v_get(const v_machine *m, const v_warp *w, const v_operand *o, uint32_t lane, bool *known);
void v_set(v_machine *m, v_warp *w, int reg, uint32_t lane, uint64_t value, bool known);
void v_set_within(v_machine *m, v_warp *w, int reg, uint32_t lane, uint64_t least, uint64_t most);
// Between which numbers a value lies, whatever the data are; false: nothing is known of it.
bool v_bounds(const v_machine *m, const v_warp *w, const v_operand *o, uint32_t lane,
              uint64_t *least, uint64_t *most);
void v_set_unknown(v_machine *m, v_warp *w, const v_operand *o, uint32_t mask);
void v_set_same(v_machine *m, v_warp *w, int reg, uint32_t mask, uint64_t value);
// An operand that must not depend on data, refused otherwise.
uint64_t v_need(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t lane);
// The same in each lane of the mask, refused otherwise.
uint64_t v_need_same(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t mask);
// base + offset of [base + offset].
uint64_t v_address(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t lane);
uint64_t v_address_same(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, uint32_t mask);

// A place in shared memory. 'cta' in the cluster.
typedef struct {
    int cta;
    uint32_t offset;
} v_place;
v_place v_shared(v_machine *m, const v_warp *w, const v_ins *i, uint64_t address);

// ---- clocks (v_clock.c) -------------------------------------------------------------------------
v_clock *v_clock_ref(v_clock *c);
void v_clock_drop(v_machine *m, v_clock *c);
void v_clock_join(v_machine *m, v_clock **into, v_clock *from);
void v_clock_at(v_machine *m, v_clock **into, uint32_t comp, uint32_t at);
static inline uint32_t v_clock_of(const v_clock *c, uint32_t comp) {
    return c == NULL ? 0 : c->at[comp];
}
bool v_knows(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at);
bool v_shows(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at); // to the async proxy
bool v_orders(const v_machine *m, uint32_t thread, uint32_t comp, uint32_t at); // for tcgen05
void v_release(v_machine *m, v_clock *into[3], const v_warp *w, uint32_t mask);
void v_acquire(v_machine *m, v_clock *const from[3], const v_warp *w, uint32_t mask);
bool v_fence(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask);
bool v_fence_tcgen05(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask);
bool v_knows_async(const v_machine *m, uint32_t thread, const v_async *a, bool tmem);

// ---- memory (v_shadow.c) ------------------------------------------------------------------------
uint32_t v_async_new(v_machine *m, v_async_kind kind, uint32_t thread, const v_ins *i);
// A generic access by one lane.
void v_touch(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, v_place at, uint32_t bytes,
             bool write);
// A read of something in this range by each lane of the mask: all of it must be ordered.
void v_touch_somewhere(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask, v_place at,
                       uint32_t bytes);
// An access of an asynchronous operation issued by one lane.
void v_touch_async(v_machine *m, v_warp *w, uint32_t async, uint32_t lane, v_place at,
                   uint32_t bytes, bool write);
typedef enum {
    VU_ACCUMULATE,
    VU_SCALES,
    VU_OPERAND,
    VU_COPY,
    VU_LOAD,
    VU_STORE,
    VU_FREE
} v_tmem_use;
void v_touch_tmem(v_machine *m, v_warp *w, uint32_t async, uint32_t mask, int cta, uint32_t column,
                  v_tmem_use use, uint32_t quarters);
// A warp reaches the shared memory of CTA 'to'.
void v_remote(v_machine *m, const v_warp *w, const v_ins *i, int to, uint32_t comp, uint32_t at);

// ---- global memory that blocks share (v_global.c) -----------------------------------------------
// By one lane. A load: whether it looks at a flag, and will see another number every time.
bool v_global_load(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address);
void v_global_store(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address);
void v_global_atomic(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, uint64_t address);
void v_global_fence(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask);
void v_global_end(v_machine *m, const v_warp *w); // the last thread of the block leaves

// ---- mbarriers (v_mbar.c) -----------------------------------------------------------------------
v_mbar *v_mbar_at(v_machine *m, const v_warp *w, const v_ins *i, v_place at);
void v_mbar_arrive(v_machine *m, const v_warp *w, const v_ins *i, v_mbar *b, uint32_t n);
void v_mbar_bytes(v_machine *m, v_mbar *b, int64_t bytes); // negative: they have come
void v_mbar_seen(v_machine *m, v_warp *w, const v_ins *i, v_mbar *b, uint32_t lane, bool async);
// While sizes of boxes are looked for: nobody can go on, so that every copy of a phase has been
// issued.
bool v_mbar_all_loaded(v_machine *m);
void v_mbar_tell(const v_machine *m, char *out, size_t n); // who waits for what

// ---- the rest -----------------------------------------------------------------------------------
// The warp has to come here together; false: the others are not there yet.
bool v_together(v_warp *w, const v_ins *i, uint32_t mask);
void v_pend(v_machine *m, v_pending *p, uint32_t op);
// The groups up to the last but 'left' are over, known by 'thread' now.
void v_finish(v_machine *m, v_pending *p, uint32_t left, uint32_t thread);
void v_run(v_machine *m);
void v_grid_access(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask);
void v_put_value(v_machine *m, v_place at, uint64_t value, uint32_t bytes, bool known);
v_machine *v_machine_new(v_exit *x, const v_kernel *k, const verify_facts *facts,
                         const v_case *given);
static inline uint32_t *v_now(const v_machine *m, uint32_t thread) {
    return &m->warp[thread / V_LANES].now;
}
v_step v_alu;

#define V_OP(prefix, step) v_step step;
#include "v_ops.def"
#undef V_OP

#endif
