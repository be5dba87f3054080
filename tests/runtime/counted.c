#include "counted.h"

#include <stdlib.h>

bool counted_fails(counted *memory) {
    return memory->countdown > 0 && --memory->countdown == 0;
}

void *counted_alloc(void *user, void *old, size_t old_bytes, size_t new_bytes) {
    counted *memory = user;
    (void)old_bytes;
    if (new_bytes == 0) {
        memory->live -= old != NULL;
        free(old);
        return NULL;
    }
    void *block = counted_fails(memory) ? NULL : realloc(old, new_bytes);
    memory->live += block && !old;
    return block;
}
