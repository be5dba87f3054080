// Memory that is freed all at once: symbols and tables of a module under construction and for life.
#include "core.h"
#include <stdlib.h>

struct arena_block {
    struct arena_block *next;
    size_t used, bytes;
};

#define BLOCK_BYTES ((size_t)64 * 1024)
#define HEADER ((sizeof(struct arena_block) + 15) & ~(size_t)15)

void *sim_arena_alloc(struct arena *a, size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    struct arena_block *b = a->head;
    if (b == NULL || b->bytes - b->used < bytes) {
        size_t room = bytes > BLOCK_BYTES - HEADER ? bytes : BLOCK_BYTES - HEADER;
        b = calloc(1, HEADER + room);
        if (b == NULL) {
            return NULL;
        }
        b->bytes = room;
        b->next = a->head;
        a->head = b;
    }
    void *p = (uint8_t *)b + HEADER + b->used;
    b->used += bytes;
    return p;
}

void sim_arena_free(struct arena *a) {
    while (a->head != NULL) {
        struct arena_block *b = a->head;
        a->head = b->next;
        free(b);
    }
}
