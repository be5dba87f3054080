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
char *replaced(const char *text, const char *what, const char *with); // the first; free it
// A simulator with the module of 'text'; fails the test with the error's sentence.
sim *open_with(const char *text, sim_module **m);
sim *open_file(const char *path, sim_module **m);
uint64_t upload(sim *s, const void *data, size_t bytes);
// Launches and fails the test when the launch does.
void launch(sim *s, const sim_module *m, const char *kernel, const sim_launch_config *c);

#define HEAD ".version 8.8\n.target sm_100a\n.address_size 64\n"
// A kernel k(in, out): lane, d1 = in + 4 * tid, d2 = out + 4 * tid
#define KERNEL                                                                                     \
    HEAD ".extern .shared .align 1024 .b8 dyn[];\n"                                                \
         ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"                                 \
         " .reg .pred p<8>; .reg .b32 r<64>; .reg .b64 d<32>; .reg .b16 h<16>; .reg .f32 f<16>;\n" \
         " mov.u32 r1, %tid.x; mul.wide.u32 d0, r1, 4; ld.param.u64 d1, [in]; add.u64 d1, d1, "    \
         "d0;\n"                                                                                   \
         " ld.param.u64 d2, [out]; add.u64 d2, d2, d0; mov.u32 r2, %laneid;\n"
#define END "\n ret;\n}\n"

struct io {
    const void *in;
    size_t in_bytes;
    void *out;
    size_t out_bytes;
    uint32_t threads, grid, smem, cluster;
};

// Runs kernel k under every policy; fails the test when the outputs differ.
void run_all(const char *ptx, const struct io *io);

#endif
