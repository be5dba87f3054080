// Host memory through the caller's allocator, and pools: pieces of one lifetime, freed together.
#include "rt.h"
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *user, void *old, size_t old_bytes, size_t new_bytes) {
    (void)user;
    (void)old_bytes;
    if (new_bytes == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, new_bytes);
}

void rt_heap_init(rt_heap *heap, fp4_alloc_fn alloc, void *user) {
    heap->alloc = alloc ? alloc : libc_alloc;
    heap->user = alloc ? user : NULL;
}

void *rt_resize(rt_heap *heap, void *old, size_t old_bytes, size_t new_bytes) {
    void *block = heap->alloc(heap->user, old, old_bytes, new_bytes);
    if (!block) {
        rt_fail(FP4_ERROR_MEMORY, "out of host memory: %zu bytes asked for", new_bytes);
    }
    return block;
}

void rt_release(rt_heap *heap, void *block, size_t bytes) {
    if (block) {
        heap->alloc(heap->user, block, bytes, 0);
    }
}

struct rt_pool_block {
    rt_pool_block *next;
    size_t bytes; // of the whole block
    size_t used;  // this header included
};

enum { POOL_BLOCK = 4096, POOL_ALIGN = 16 };

static size_t align_up(size_t n) {
    return (n + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
}

void rt_pool_init(rt_pool *pool, rt_heap *heap) {
    *pool = (rt_pool){.heap = heap};
}

void *rt_pool_new(rt_pool *pool, size_t bytes) {
    size_t header = align_up(sizeof(rt_pool_block));
    if (bytes > SIZE_MAX / 2) {
        rt_fail(FP4_ERROR_MEMORY, "out of host memory: %zu bytes asked for", bytes);
        return NULL;
    }
    bytes = align_up(bytes ? bytes : 1);
    rt_pool_block *block = pool->blocks;
    if (!block || block->bytes - block->used < bytes) {
        size_t total = header + bytes > POOL_BLOCK ? header + bytes : POOL_BLOCK;
        block = rt_resize(pool->heap, NULL, 0, total);
        if (!block) {
            return NULL;
        }
        *block = (rt_pool_block){.next = pool->blocks, .bytes = total, .used = header};
        pool->blocks = block;
    }
    void *piece = (char *)block + block->used;
    block->used += bytes;
    return memset(piece, 0, bytes);
}

char *rt_pool_text(rt_pool *pool, const char *text, size_t bytes) {
    char *copy = rt_pool_new(pool, bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void rt_pool_free(rt_pool *pool) {
    while (pool->blocks) {
        rt_pool_block *block = pool->blocks;
        pool->blocks = block->next;
        rt_release(pool->heap, block, block->bytes);
    }
}
