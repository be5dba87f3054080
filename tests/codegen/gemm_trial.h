// Test support: a GEMM with any formats, tiles, schedule and epilogue, from source to the simulator,
// bit for bit against plain C. Operands are drawn so that the sums are exact (ref.h).
#ifndef FP4_TESTS_CODEGEN_GEMM_TRIAL_H
#define FP4_TESTS_CODEGEN_GEMM_TRIAL_H

#include "ref.h"
#include "tk.h"

// Tables of variants leave the last members out.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// What the element of D is before its conversion, twice: as the language says it and as C does.
typedef struct {
    const char *expr; // over acc[m, n], alpha, bias[n], C[m, n]
    float (*value)(float acc, float alpha, float bias, float c);
} gemm_epilogue;

typedef struct {
    const char *name;
    const char *a, *b;  // formats
    int bm, bn, bk;     // cluster tile
    const char *facts;
    int m, n, k;
    const char *out;    // format of D, NULL: bf16
    const gemm_epilogue *epilogue; // NULL: alpha * acc
    bool transposed;    // D is [N, M]
    void (*change)(tir_kernel *k); // NULL, or what is done to the role program before code generation
} gemm_variant;

// Compiles (ptxas included, where there is one) and runs it under three interleavings of warps; fails
// the running cmocka test where an element differs.
void gemm_trial(const gemm_variant *v, const char *arch);
// The .tk text.
const char *gemm_source(const gemm_variant *v, const char *arch, arena *mem);
// One cmocka test a variant whose name holds 'only' (NULL: all). Returns the number of failures.
int gemm_trials(const char *arch, const gemm_variant *v, int n, const char *only);

#endif
