// Bump allocation (arena.h).
//
// Chunks form a list; an allocation that does not fit the newest chunk starts a new one, at least
// as large as the allocation. Nothing is given back before arena_free, so a pointer stays valid as
// long as its arena.
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 * 1024)

typedef struct chunk chunk;
struct chunk {
    chunk *older;
    size_t used;  // bytes of data handed out
    size_t bytes; // bytes of data in all
    max_align_t data[];
};

struct arena {
    chunk *newest;
};

static void out_of_memory(size_t bytes) {
    fprintf(stderr, "fp4c: out of memory (%zu bytes asked for)\n", bytes);
    exit(70);
}

static void *get_memory(size_t bytes) {
    void *p = calloc(1, bytes);
    if (p == NULL) {
        out_of_memory(bytes);
    }
    return p;
}

arena *arena_new(void) {
    return get_memory(sizeof(arena));
}

void arena_free(arena *a) {
    if (a == NULL) {
        return;
    }
    for (chunk *c = a->newest; c != NULL;) {
        chunk *older = c->older;
        free(c);
        c = older;
    }
    free(a);
}

void *arena_alloc(arena *a, size_t bytes) {
    const size_t align = _Alignof(max_align_t);
    if (bytes > SIZE_MAX / 2) {
        out_of_memory(bytes);
    }
    size_t need = bytes == 0 ? align : (bytes + align - 1) / align * align;
    chunk *c = a->newest;
    if (c == NULL || c->bytes - c->used < need) {
        size_t size = need > CHUNK_BYTES ? need : CHUNK_BYTES;
        c = get_memory(sizeof(chunk) + size);
        c->bytes = size;
        c->older = a->newest;
        a->newest = c;
    }
    void *p = (char *)c->data + c->used;
    c->used += need;
    return p;
}

char *arena_strndup(arena *a, const char *s, size_t n) {
    char *copy = arena_alloc(a, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *arena_strdup(arena *a, const char *s) {
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(arena *a, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        n = 0;
    }
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}
