// Reading a module or the metadata of a kernel for the verifier. NULL or a sentence.
#ifndef FP4_VERIFY_FACTS_H
#define FP4_VERIFY_FACTS_H

#include "verify.h"

typedef struct {
    verify_facts facts;
    const char *ptx; // in the module's bytes, NULL: none
    size_t len;
} facts_kernel;

const char *facts_of_kernel(const char *json, size_t len, facts_kernel *out);
const char *facts_of_module(const void *bytes, size_t len, facts_kernel *out, int most, int *n);

#endif
