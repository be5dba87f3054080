// Inside of fp4_module_compile: files, child processes, the cache on disk.
#ifndef FP4_RUNTIME_CACHE_H
#define FP4_RUNTIME_CACHE_H

#include "rt.h"

// A text with its length; in pool memory, with a 0 behind it.
typedef struct {
    char *bytes;
    size_t n;
} rt_text;

// ---- file.c ----

// "a/b", formatted; NULL: out of memory (rt_fail).
__attribute__((format(printf, 2, 3))) char *rt_pool_printf(rt_pool *pool, const char *format, ...);
// Reads a file of the folder 'dir' (AT_FDCWD: a path as usual). False: cannot, errno says why; when
// memory ran out *status is FP4_ERROR_MEMORY.
bool rt_read_file(rt_pool *pool, int dir, const char *path, rt_text *out, fp4_status *status);
// Writes and syncs a file. False: errno says why.
bool rt_write_file(const char *path, const void *bytes, size_t n);
// Removes a folder of files (no folders in it), if it is there.
void rt_remove_folder(const char *path);
uint64_t rt_hash(uint64_t seed, const void *bytes, size_t n); // FNV-1a

// ---- spawn.c ----

typedef struct {
    int code; // exit code; -1: ended by a signal
    int signal;
    char said[800]; // the beginning of what it wrote to both streams
} rt_child;

// Runs a program and waits for it. argv ends with NULL; its first entry is a path. No shell, no
// input.
fp4_status rt_spawn(const char *const *argv, rt_child *child);

// ---- cache.c ----

// A place in the cache, under a key. Without a cache (root NULL) every look-up is a miss.
typedef struct {
    rt_pool *pool;
    const fp4_ctx *ctx; // for the log
    const char *root;   // ".../v1", or NULL
    rt_text key;
    const char *entry; // folder of the entry
} rt_cache;

// Opens the cache at 'folder' (NULL: none) for a key.
fp4_status rt_cache_open(rt_cache *cache, const char *folder);
// The module kept under the key, if it is whole and the files it was made from are what they were;
// module->bytes NULL: a miss.
fp4_status rt_cache_find(rt_cache *cache, rt_text *module);
// A new folder to build in: in the cache if it can be written, else a temporary one (*in_cache
// says).
fp4_status rt_cache_build_in(rt_cache *cache, const char **folder, bool *in_cache);
// Puts the folder, which holds module.tkm and deps, into its place, instead of what may be there.
void rt_cache_publish(rt_cache *cache, const char *folder);

#endif
