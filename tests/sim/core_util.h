// Helpers of the simulator's tests: a simulator with a module, files, random bits.
#ifndef CORE_UTIL_H
#define CORE_UTIL_H

#include "sim.h"
#include <stdint.h>

struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);
void rng_bytes(struct rng *r, void *to, size_t bytes);

char *read_text(const char *path, size_t *length); // NULL when there is no such file; free it
// A simulator with the module of 'text'; fails the test with the error's sentence.
sim *open_with(const char *text, sim_module **m);
sim *open_file(const char *path, sim_module **m);
uint64_t upload(sim *s, const void *data, size_t bytes);
// Launches and fails the test when the launch does.
void launch(sim *s, const sim_module *m, const char *kernel, const sim_launch_config *c);

#endif
