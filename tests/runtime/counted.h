// Host memory that counts its blocks and of which one allocation can be made to fail.
#ifndef FP4_TESTS_COUNTED_H
#define FP4_TESTS_COUNTED_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int countdown; // > 0: the allocation that counts it down to 0 fails
    long live;     // blocks
} counted;

// fp4_config.alloc; user: a counted.
void *counted_alloc(void *user, void *old, size_t old_bytes, size_t new_bytes);
// Counts one allocation: whether it fails.
bool counted_fails(counted *memory);

#endif
