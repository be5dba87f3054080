// Calls: what their expansion (ptx_call.c) tells their code (calls.c).
#ifndef FP4_SIM_CALL_H
#define FP4_SIM_CALL_H

#include "core.h"

#define MOST_CALL_PARAMS 64

// Places of the parameters of a function of the toolkit, in the thread's local memory.
struct builtin_aux {
    uint32_t arg[5], ret;
};
// Functions that a call through a register may reach.
struct call_targets {
    uint32_t n;
    uint64_t address[];
};

uop_fn run_vprintf, run_assertfail, run_heap_alloc, run_heap_free; // aux: builtin_aux
uop_fn run_recursion, run_no_function;                    // aux: its name
uop_fn run_call_check; // a: row of addresses; faults where one is none of aux, call_targets

#endif
