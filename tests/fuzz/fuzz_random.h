// The fuzzers' random numbers (xorshift64): the same seed gives the same inputs on any machine.
#ifndef FP4C_TESTS_FUZZ_RANDOM_H
#define FP4C_TESTS_FUZZ_RANDOM_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t fuzz_state;

// 'text': the seed on the command line, or NULL.
static inline void fuzz_start(const char *text) {
    fuzz_state = text != NULL ? strtoull(text, NULL, 10) * 2654435761u + 1 : 1;
}

// 0 .. n - 1; 0 of nothing.
static inline uint64_t fuzz_below(uint64_t n) {
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return n == 0 ? 0 : fuzz_state % n;
}

#endif
