// The planner: checked kernel + schedule -> role programs, or refusals with numbers and a way out.
#ifndef FP4_COMPILER_PLAN_H
#define FP4_COMPILER_PLAN_H

#include "../lang/lang.h"
#include "tir.h"

typedef struct {
    const ast_file *file;
    const ast_kernel *kernel;
    const ast_schedule *sched; // NULL: everything is derived
    tir_arch arch;
    src_map *src;
    diag *d;
    arena *mem;
} plan_request;

// The plan, verified (tir_verify); NULL if a diagnostic was reported.
tir_kernel *plan_kernel(const plan_request *r);

// Prints the complete schedule as source, derived facts included, with what follows from them as
// comments. Putting it in the place of the schedule changes nothing in the generated code. False if
// a diagnostic was reported.
bool plan_explain(FILE *out, const plan_request *r);

// The schedules of a kernel for a machine, in file order, one with 'tune' as those that it stands
// for and some launch may use; returns their number.
int plan_schedules(const ast_file *file, const ast_kernel *kernel, tir_arch arch,
                   const ast_schedule **out, int max);

#endif
