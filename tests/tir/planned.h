// Role programs of the test programs, as text: what the reader and the verifier are tried on.
#ifndef TESTS_TIR_PLANNED_H
#define TESTS_TIR_PLANNED_H

#include "tir.h"

#include <stddef.h>

typedef struct {
    char name[96]; // "gemm.tk sm_100a nvfp4_gemm"
    char *text;    // what tir_print writes
    size_t len;
} planned;

// Plans every kernel of every program of the repository for the machines that have a lowering, with
// each of its schedules. A kernel that a machine refuses is left out. The array and texts are malloc'ed.
planned *plan_all(int *n);
void planned_free(planned *p, int n);
// The one of that name; ends the test run if there is none.
const planned *planned_find(const planned *p, int n, const char *name);
char *print_text(const tir_kernel *k, size_t *len);

#endif
