// One instruction at a time on a GPU and on the simulator: the same PTX, the same random operands, all
// bits of the results compared. probe_machine.c runs PTX on either; probe_lanes.c (arithmetic, conversions,
// shuffles, matrix moves), probe_dot.c (wgmma, mma.sync) and probe_copy.c (TMA) make the programs.
#ifndef FP4_TESTS_PROBE_H
#define FP4_TESTS_PROBE_H

#include "sim/sim.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROBE_IN = 64 << 20, PROBE_OUT = 64 << 20 }; // bytes of the buffers every machine has

typedef struct {
    uint32_t grid, block, smem;
    void *const *params;
} probe_launch;

// Functions return NULL, or a sentence that lives until the next call.
typedef struct machine {
    const char *name;
    uint64_t in, out; // device buffers of PROBE_IN and PROBE_OUT bytes
    const char *(*load)(struct machine *m, const char *ptx, const char *kernel);
    void (*unload)(struct machine *m);
    const char *(*launch)(struct machine *m, const probe_launch *l);
    const char *(*copy_to)(struct machine *m, uint64_t to, const void *from, size_t bytes);
    const char *(*copy_from)(struct machine *m, void *to, uint64_t from, size_t bytes);
    const char *(*map)(struct machine *m, uint8_t out[128], const sim_tensormap *map);
    void (*close)(struct machine *m);
} machine;

machine *machine_sim(sim_policy policy);
machine *machine_cuda(const char **why); // NULL and why

typedef struct {
    machine *m[2];
    uint64_t seed;
    size_t rows; // of each probe, about
    const char *only; // part of a probe's name, or NULL
    bool quiet;       // only what differs is printed
    int bad, done, absent;
    uint8_t *in, *out[2]; // host images of the buffers
} probe_run;

typedef struct {
    const char *name, *ptx, *kernel;
    probe_launch launch;
    size_t in_bytes, out_bytes;
    size_t row_bytes;  // what counts as one result
    size_t from_bytes; // of the input that a result comes from, or 0: printed with what differs
    int ulps;          // results are f32 that may differ by so much; 0: bits
    bool out_from_in;  // the output holds the input's first bytes before the run, not 0xEE
    const sim_tensormap *map; // or NULL: parameter 2 of the kernel, over the input or
    bool map_out;             // the output; parameters 3 to 7 are launch.params
} probe;

// Runs one probe on both machines from run->in and prints a line.
void probe_compare(probe_run *run, const probe *p);
bool probe_wanted(const probe_run *run, const char *name);

uint64_t probe_random(uint64_t *state);

void probe_lanes(probe_run *run);
void probe_dot(probe_run *run);
void probe_copy(probe_run *run);

#endif
