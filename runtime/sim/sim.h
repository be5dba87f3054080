// A simulated GPU: executes PTX text bit for bit, with mbarriers, TMA, tcgen05 and mma.sync, and
// says why a kernel faults or hangs. No GPU, no driver, no CUDA toolkit.
//
//   sim *s = sim_open(NULL);
//   uint64_t d = sim_alloc(s, bytes);                       // device memory
//   sim_module *m; sim_module_load(s, ptx, strlen(ptx), &m);
//   const sim_kernel *k = sim_kernel_find(m, "gemm");
//   sim_launch(s, k, &(sim_launch_config){.grid = {8, 1, 1}, .block = {256, 1, 1}, .params =
//   args});
//
// Rules: functions that can fail return 0 for success, or another sim_status; sim_last_error() is
// then a sentence, kept until the next failing call on the same sim. Nothing is printed, nothing
// exits, there are no globals: sims are independent of each other. One thread at a time may use a
// sim; a launch uses more while it runs, where its clusters are independent (groups.c). Same inputs,
// options and seed: same bytes out, same statistics (but for 'ns').
#ifndef FP4_SIM_H
#define FP4_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sim sim;
typedef struct sim_module sim_module;
typedef struct sim_kernel sim_kernel;

typedef enum {
    SIM_OK = 0,
    SIM_ERROR_ARGUMENT, // a bad argument of the API
    SIM_ERROR_MEMORY,   // host memory or the simulated device's memory is used up
    SIM_ERROR_PTX,      // the PTX text is malformed or uses something the simulator does not know
    SIM_ERROR_FAULT, // the kernel did something illegal; the device keeps its memory as it was then
    SIM_ERROR_DEADLOCK, // every warp waits and no asynchronous operation is left
    SIM_ERROR_STEPS     // more warp instructions than the launch allows
} sim_status;

// When asynchronous operations (TMA, bulk copies, tcgen05, cp.async) take effect.
typedef enum {
    SIM_EAGER,  // as they are issued: fast
    SIM_LAZY,   // when every warp waits; until then destinations hold poison, sources are not read
    SIM_RANDOM, // whenever 'seed' says, and warps take turns at random
} sim_policy;

// The hazard detector: what it reports. It slows a launch down and changes no result.
typedef enum {
    SIM_HAZARDS_OFF,
    SIM_HAZARDS_PRACTICE, // what is wrong on hardware
    SIM_HAZARDS_STRICT,   // also what kernels in the field do against the manual's text
    SIM_HAZARDS_MANUAL    // also three rules that nobody keeps because they cost time
} sim_hazards;

typedef struct {
    int sms;               // 0 = 8. SMs of the device; %nsmid; what persistent grids are sized by
    int smem_per_sm;       // 0 = 233472 (sm_90, sm_100); sm_120: 102400
    int ctas_per_sm;       // 0 = as many as shared memory, threads and registers allow
    uint64_t memory_bytes; // 0 = 16 GiB. sim_alloc fails beyond it
    // Of a launch; 0 = a thread a processor. Results and statistics do not depend on it unless clusters
    // touch bytes that others write without a word of it (groups.c); after a fault memory is anything.
    int threads;
    sim_hazards hazards;
} sim_options;

sim *sim_open(const sim_options *options); // NULL: defaults. Returns NULL when out of memory
void sim_close(sim *s);                    // frees memory, modules, everything
const char *sim_last_error(const sim *s);  // "" when nothing failed
int sim_sm_count(const sim *s);

// ---- device memory ------------------------------------------------------------------------------
// Addresses are never reused; every allocation lies between red zones. Fresh memory holds 0xA5
// bytes.
uint64_t sim_alloc(sim *s, size_t bytes); // 256-byte aligned; 0 on failure. 0 bytes are allowed
int sim_free(sim *s, uint64_t address);   // the start of an allocation
int sim_copy_to(sim *s, uint64_t to, const void *from, size_t bytes);
int sim_copy_from(sim *s, void *to, uint64_t from, size_t bytes);
int sim_copy(sim *s, uint64_t to, uint64_t from, size_t bytes); // device to device, may overlap
int sim_fill(sim *s, uint64_t to, uint8_t value, size_t bytes);
uint64_t sim_memory_used(const sim *s); // bytes in live allocations

// ---- modules ------------------------------------------------------------------------------------
// 'text' need not end in 0 and is not kept. On failure *out is NULL and sim_last_error() names the
// line, as "ptx:LINE: ...".
int sim_module_load(sim *s, const char *text, size_t length, sim_module **out);
void sim_module_free(sim *s, sim_module *m);
int sim_module_target(const sim_module *m); // 90, 100, 120 ...
size_t sim_module_kernel_count(const sim_module *m);
const sim_kernel *sim_module_kernel(const sim_module *m, size_t index);
const sim_kernel *sim_kernel_find(const sim_module *m, const char *name); // NULL: no such entry
// Address and size of a .global variable; false when there is none of that name.
bool sim_module_global(const sim_module *m, const char *name, uint64_t *address, size_t *bytes);

typedef struct {
    uint32_t offset, bytes, align; // in the packed parameter buffer
} sim_param;
typedef struct {
    const char *name;
    uint32_t n_params;
    const sim_param *params;
    uint32_t param_bytes;    // of the packed buffer
    uint32_t static_smem;    // bytes of .shared variables (without .extern .shared)
    uint32_t max_threads[3]; // .maxntid, 0 0 0 when absent
    uint32_t req_threads[3]; // .reqntid
    uint32_t cluster[3];     // .reqnctapercluster, 0 0 0 when absent
    uint32_t max_regs;       // .maxnreg or 0
    uint32_t instructions;
    bool cooperative; // synchronises the whole grid, so it is for a cooperative launch
} sim_kernel_info;
void sim_kernel_get_info(const sim_kernel *k, sim_kernel_info *out);

// ---- launch -------------------------------------------------------------------------------------
typedef struct {
    uint32_t grid[3];    // CTAs; zeros count as 1
    uint32_t block[3];   // threads; zeros count as 1
    uint32_t cluster[3]; // zeros: what the kernel requires, else 1
    uint32_t dynamic_smem;
    void *const *params;      // one pointer a parameter, as cuLaunchKernel takes them; or NULL and
    const void *param_buffer; // all parameters packed at the offsets of sim_param
    size_t param_buffer_bytes;
    sim_policy policy;
    uint64_t seed;      // SIM_RANDOM
    uint64_t max_steps; // warp instructions; 0 = 2^40
    const struct sim_decisions *replay; // SIM_RANDOM: take these instead of drawing; 0 beyond them
    struct sim_decisions *record;       // the decisions of this run are appended; free its list
} sim_launch_config;

// What SIM_RANDOM decided, in order: numbers below the choices there were. A run is the function of
// its kernel, inputs and decisions; 0 is always the default (the first in line).
typedef struct sim_decisions {
    uint32_t *list; // malloc'ed
    size_t count, capacity;
} sim_decisions;

// Things a program can do whose result depends on the order in which warps, CTAs and asynchronous
// operations happen to run. A kernel without data races that did none of them gives the same result
// under every schedule.
enum {
    SIM_ORDER_ATOMIC = 1,    // an atomic operation whose old value is returned
    SIM_ORDER_FLOAT_SUM = 2, // floating-point sums in memory (atomics, reductions, TMA reductions)
    SIM_ORDER_CANCEL = 4,    // clusterlaunchcontrol.try_cancel
    SIM_ORDER_CLOCK = 8,     // %clock, %globaltimer
    SIM_ORDER_PLACE = 16,    // %smid
    SIM_ORDER_POLL = 32,     // mbarrier.test_wait that found its phase not over
    SIM_ORDER_FLAG = 64,     // volatile, relaxed or acquire loads of global memory
    SIM_ORDER_MASK = 128,    // activemask
    SIM_ORDER_KINDS = 8
};
const char *sim_order_text(int bit); // a sentence of one of them, 1 << n

// Runs the grid to its end. On a fault the sentence names the PTX line, the instruction, CTA, warp
// and lane, and for addresses the nearest allocation.
int sim_launch(sim *s, const sim_kernel *k, const sim_launch_config *config);

typedef struct {
    uint64_t warp_instructions;
    uint64_t macs;      // multiply-adds of tensor instructions
    uint64_t tma_bytes; // bytes of bulk and tensor copies, both ways
    uint64_t ctas;      // launched; canceled ones do not count
    uint64_t canceled;  // clusters that cluster launch control took out of the queue
    uint64_t order;     // bit set of SIM_ORDER_*: what the launch did of these
    uint64_t ns;        // host CPU time of the last launch
} sim_stats;
void sim_get_stats(const sim *s, sim_stats *out); // of the last launch
// What printf of the last launch has written, in the order in which the simulated threads did it;
// *lost: bytes beyond the first 1 MiB. "" when there is nothing.
const char *sim_printed(const sim *s, size_t *lost);

// ---- findings of the hazard detector ------------------------------------------------------------
typedef enum {
    SIM_SEVERITY_INFO,
    SIM_SEVERITY_MANUAL,
    SIM_SEVERITY_STRICT,
    SIM_SEVERITY_ERROR
} sim_severity;
typedef struct {
    const char *kind; // "data-race", "missing-proxy-fence" ...: haz_kinds.def
    sim_severity severity;
    uint32_t line[2];   // of the PTX: here, and the earlier instruction or 0
    uint32_t source[2]; // .loc lines, 0: unknown
    uint64_t address;
    const char *space; // of the address, "" when there is none
    uint64_t count;    // how often these two instructions did it
    char text[640];    // one sentence
} sim_finding;
// Findings of the last launch, in the order they were found; they do not make a launch fail.
size_t sim_finding_count(const sim *s, sim_severity least);
const sim_finding *sim_finding_at(const sim *s, size_t index); // of any severity; NULL behind the last
// Findings of this severity and above are what the profile asks for; others are worth a look.
sim_severity sim_hazards_least(sim_hazards profile);

// ---- tensor maps --------------------------------------------------------------------------------
// cuTensorMapEncodeTiled with its own arguments and codes: writes 128 bytes that kernels of this
// simulator take as their tensor map. elem_stride may be NULL (all 1).
typedef struct {
    int dtype; // CU_TENSOR_MAP_DATA_TYPE_*
    uint32_t rank;
    uint64_t address;
    const uint64_t *dim;    // [rank] elements, innermost first
    const uint64_t *stride; // [rank-1] bytes
    const uint32_t *box;    // [rank] elements
    const uint32_t *elem_stride;
    int interleave, swizzle, l2, oob_nan;
} sim_tensormap;
int sim_tensormap_encode(sim *s, uint8_t out[128], const sim_tensormap *map);

#endif
