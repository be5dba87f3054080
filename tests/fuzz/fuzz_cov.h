// What libFuzzer calls of a fuzzer, and gives it: for the forms that are built with -DFP4_LIBFUZZER.
#ifndef FP4C_TESTS_FUZZ_COV_H
#define FP4C_TESTS_FUZZ_COV_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

#endif
