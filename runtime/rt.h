// What the files of libfp4rt share: errors, host memory, checked arithmetic, the context.
//
// Locking: ctx->lock guards the list of modules, the list of device memory and the loading of code;
// everything else in a context and a module is constant once it is open or loaded.
#ifndef FP4_RUNTIME_RT_H
#define FP4_RUNTIME_RT_H

#include "device.h"
#include "fp4rt.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- error.c ----

// Keeps the sentence for fp4_last_error and returns the status.
__attribute__((format(printf, 2, 3))) fp4_status rt_fail(fp4_status status, const char *format,
                                                         ...);
// Puts text before this thread's sentence ("gemm.tkm: " + what is wrong); returns the status.
__attribute__((format(printf, 2, 3))) fp4_status rt_prefix(fp4_status status, const char *format,
                                                           ...);
// Whether a caller's struct is at least as large as the smallest version and no larger than ours.
fp4_status rt_check_size(const char *what, uint32_t size, size_t oldest, size_t newest);

// Answers a question: as much of our struct as the caller's 'size' says it has.
fp4_status rt_give(const char *what, void *out, const void *full, size_t bytes);

// ---- memory.c ----

typedef struct {
    fp4_alloc_fn alloc;
    void *user;
} rt_heap;

// The C library's, for a NULL function.
void rt_heap_init(rt_heap *heap, fp4_alloc_fn alloc, void *user);
void *rt_resize(rt_heap *heap, void *old, size_t old_bytes, size_t new_bytes); // NULL: failed
void rt_release(rt_heap *heap, void *block, size_t bytes);

// Memory of one lifetime: many small pieces, freed at once.
typedef struct rt_pool_block rt_pool_block;
typedef struct {
    rt_heap *heap;
    rt_pool_block *blocks;
} rt_pool;

void rt_pool_init(rt_pool *pool, rt_heap *heap);
void *rt_pool_new(rt_pool *pool, size_t bytes); // zeroed, 16-aligned; NULL and rt_fail: failed
char *rt_pool_text(rt_pool *pool, const char *text, size_t bytes); // copy, with a final 0
void rt_pool_free(rt_pool *pool);

// ---- mapping.c ----

typedef struct {
    void *bytes; // NULL: nothing is mapped
    size_t n;
} rt_mapping;

// A whole file, read-only; an empty one is refused. The sentence lacks the name.
fp4_status rt_map_file(const char *path, rt_mapping *mapping);
void rt_unmap(rt_mapping *mapping);

// ---- arithmetic: false when the result does not fit ----

static inline bool rt_add(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool rt_sub(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_sub_overflow(a, b, out);
}
static inline bool rt_mul(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline int64_t rt_ceildiv(int64_t a, int64_t b) { // a >= 0, b > 0
    return a / b + (a % b != 0);
}

// ---- context.c ----

typedef struct {
    uint64_t address;
    uint64_t bytes;
} rt_device_block;

typedef struct rt_workspace rt_workspace; // workspace.c

struct fp4_ctx {
    rt_heap heap;
    fp4_log_fn log;
    void *log_user;
    fp4_log_level log_level;
    const rt_device_ops *ops;
    rt_device *device;
    rt_properties properties;
    atomic_uint_fast64_t n_launches;
    pthread_mutex_t lock;
    fp4_module *modules;     // open ones, linked by 'next'
    fp4_event *events;       // likewise
    rt_device_block *blocks; // device memory that fp4_alloc gave out
    size_t n_blocks, cap_blocks;
    uint64_t device_bytes;
    rt_workspace *workspaces; // linked, one a stream
};

__attribute__((format(printf, 3, 4))) void rt_log(const fp4_ctx *ctx, fp4_log_level level,
                                                  const char *format, ...);

// A context without a device, for fp4_open and for tests with a device of their own.
fp4_status rt_context_new(const fp4_config *config, fp4_ctx **out);

// ---- workspace.c ----

// Bytes of the stream's workspace and where it is; 0: none.
int64_t rt_workspace_of(fp4_ctx *ctx, const void *stream, uint64_t *address);
void rt_workspace_close(fp4_ctx *ctx); // its memory goes with the context's

// ---- device_sim.c, device_cuda.c ----

fp4_status rt_sim_open(rt_heap *heap, const fp4_config *config, const rt_device_ops **ops,
                       rt_device **device);
// FP4_ERROR_UNAVAILABLE, with what was looked for, where there is no driver or no such GPU.
fp4_status rt_cuda_open(rt_heap *heap, int index, const rt_device_ops **ops, rt_device **device);

#endif
