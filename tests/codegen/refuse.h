// Test support: role programs that the recipes cannot spell. A good one is planned from source, one of
// its numbers is changed, and code generation must name it in a sentence with X101.
#ifndef FP4_TESTS_CODEGEN_REFUSE_H
#define FP4_TESTS_CODEGEN_REFUSE_H

#include "tk.h"

typedef struct {
    const char *name;
    const char *part; // of the sentence; NULL: compiles
    void (*change)(tir_kernel *k);
} refuse_case;

// Runs all as cmocka tests; returns the number of failures.
int refuse_cases(const char *arch, const char *source, const refuse_case *cases, int n);

#endif
