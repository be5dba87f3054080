// fp4c run: pieces of one run. A run compiles once and then launches one shape or many.
#ifndef FP4_DRIVER_RUN_H
#define FP4_DRIVER_RUN_H

#include "driver.h"
#include "eval.h"
#include "fp4rt.h"

enum { RUN_MAX_PARAMS = 64, RUN_MAX_DIMS = 32, RUN_GUARD = 1024, RUN_POISON = 0xA5 };

// One tensor on its way: codes for the evaluator, bytes for the device with guards around them.
typedef struct {
    eval_tensor codes;    // operands; for outputs what came back
    eval_tensor before;   // outputs: codes before the launch
    fp4_tensor device;
    fp4_host host;        // over data and scale
    fp4_storage storage;
    uint64_t data_base, scale_base; // allocations, RUN_GUARD bytes before the tensor
    const int32_t *first; // ragged scales: the offsets ...
    int64_t groups;       // ... of so many groups
    void *ragged;         // ... and the bytes on the device, of which 'host' has the plain matrix
    int64_t scale_bytes;  // on the device
} run_tensor;

typedef struct {
    double upload, simulate, compose, evaluate;
} run_times;

typedef struct {
    int64_t elements;  // of all outputs
    int64_t n_differ;  // codes that differ from the composition
    int64_t first;     // element of the first
    const char *tensor;
    double max_error, max_bound;
    int64_t n_outside;
    bool guards_hurt;
    int64_t padding_hurt; // bytes of scale padding that are not 0
} run_result;

typedef struct {
    unit *u;
    const built *b;
    fp4_ctx *ctx;
    fp4_kernel *kernel;
    int sms; // of the device
    int n_params;
    run_tensor tensors[RUN_MAX_PARAMS];
    eval_scalar scalars[RUN_MAX_PARAMS];
    int64_t dims[RUN_MAX_DIMS];
    bool given[RUN_MAX_DIMS];      // by NAME=VALUE
    int n_assigns;
    const assign *assigns;         // NAME=VALUES
    double assigned[MAX_ASSIGNS];  // the values of this combination
    int64_t *tparams;
    bool dense; // rows without gaps
    run_times times;
    run_result result;
} run_state;

// run.c. A state for this build of a kernel; NULL after a sentence.
run_state *run_new(unit *u, const built *b);
bool run_open_device(run_state *r);
// What the kernels of this module keep between their blocks, on the default stream. False: a sentence was printed.
bool run_give_workspace(run_state *r, const fp4_module *module);
// Whether all that was built are schedules of one kernel; a sentence says why not.
bool run_one_kernel(const unit *u, const builds *b);
// Calls 'one' for every combination of the values that were given, the last name's fastest, until it returns
// another code than EXIT_DONE, which is the result.
int run_combinations(run_state *r, int (*one)(run_state *r, void *data), void *data);

// Draws operands, uploads, poisons outputs, launches, reads back. False: a sentence was printed.
bool run_launch(run_state *r, uint64_t seed);
// Its first two parts: all that comes before the launch; the launch (false: fp4_last_error() says why).
bool run_prepare(run_state *r, uint64_t seed);
bool run_start(run_state *r);
// What the launch is called with once all is prepared; r stays where it is.
void run_arguments(const run_state *r, fp4_arg *args);
// Compares what came back with the machine composition and the exact evaluation.
bool run_check(run_state *r);
void run_free(run_state *r);
// Whether the sizes are admitted; the reason is fp4_last_error().
bool run_admits(const run_state *r);
// Draws sizes that the kernel admits; sizes that were given stay. False if none was found.
bool run_draw_sizes(run_state *r, uint64_t *seed);
uint64_t run_random(uint64_t *state);

// run_index.c: const tensors that bound loops. Draws entries that the program may be run with.
bool run_draw_index(const run_state *r, const ast_sym *param, eval_tensor *codes, uint64_t seed);
// The declaration that cuts the rows of a tensor whose scales are ragged, or NULL.
const ast_ragged *run_ragged_of(const run_state *r, int param);

#endif
