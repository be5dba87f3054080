// One kernel of tests/eval on random operands: open, size, prepare, run, look.
//
// The ref_ functions are a second opinion written from the formats' definitions; nothing of the
// evaluator is used in them but the tensor struct.
#ifndef FP4_TESTS_EVAL_TRIAL_H
#define FP4_TESTS_EVAL_TRIAL_H

#include "eval.h"
#include "lang.h"

enum { TRIAL_MAX = 16 };

typedef struct {
    arena *mem;
    src_map *src;
    diag *d;
    ast_file *file;
    const ast_kernel *kernel;
    int64_t tparams[TRIAL_MAX];
    int64_t dims[TRIAL_MAX];
    eval_tensor tensors[TRIAL_MAX];
    eval_scalar scalars[TRIAL_MAX];
    double *bounds[TRIAL_MAX];
    bool no_bounds; // exact runs without error bounds
    eval_error error;
} trial;

// Parses and checks tests/eval/<name>; a diagnostic fails the test.
trial *trial_open(const char *name);
trial *trial_open_text(const char *text);
void trial_close(trial *t);
void trial_dim(trial *t, const char *name, int64_t value);
void trial_scalar(trial *t, const char *name, double f, int64_t i);
// Allocates every tensor for the dims; random contents but for outputs, which are zero.
void trial_prepare(trial *t, uint64_t seed);
eval_tensor *trial_tensor(trial *t, const char *name);
const double *trial_bound(trial *t, const char *name);
void trial_set_ints(trial *t, const char *name, const int *values);
// Runs; outputs keep what the program does not write. The status is in t->error.
eval_status trial_try(trial *t, eval_mode mode, mach_target target);
void trial_run(trial *t, eval_mode mode, mach_target target);
// A copy of a tensor's codes, to compare a later run with.
eval_tensor trial_copy(trial *t, const char *name);

// Element i (row-major) of a tensor times its scale.
double ref_value(const eval_tensor *t, int64_t i);
uint32_t ref_bf16(double x);
float ref_float(const eval_tensor *t, int64_t i); // the code of an f32 tensor
// The tensor-core chain of rows of a and b (K = last axis) in tiles of bk, from c.
float ref_chain(const eval_tensor *a, int64_t row_a, const eval_tensor *b, int64_t row_b,
                int64_t bk, mach_target target);
// Sum over K of the decoded products, ascending.
double ref_dot(const eval_tensor *a, int64_t row_a, const eval_tensor *b, int64_t row_b);

#endif
