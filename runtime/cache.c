// The cache of compiled modules on disk.
//
//   ROOT/v1/ab/cdef.../key          what the entry belongs to, compared in full (the name is a hash
//   of it)
//                     /deps         "hash bytes path" of every file that the source used
//                     /module.tkm   has a checksum of its own
//   ROOT/v1/tmp/XXXXXX              entries under construction
//
// An entry appears by the renaming of its folder and is read through one descriptor of that folder,
// so that a reader sees one entry, whole, whatever others do meanwhile. What is wrong with an entry
// makes it a miss; the next publisher moves it away.
#define _GNU_SOURCE // mkdtemp, O_DIRECTORY
#include "cache.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STALE_SECONDS = 24 * 3600 }; // age of a folder under construction whose builder has died

fp4_status rt_cache_open(rt_cache *cache, const char *folder) {
    cache->root = NULL;
    if (!folder) {
        return FP4_OK;
    }
    uint64_t a = rt_hash(UINT64_C(0xcbf29ce484222325), cache->key.bytes, cache->key.n);
    uint64_t b = rt_hash(UINT64_C(0x84222325cbf29ce4), cache->key.bytes, cache->key.n);
    cache->root = rt_pool_printf(cache->pool, "%s/v1", folder);
    cache->entry = rt_pool_printf(cache->pool, "%s/v1/%02x/%014" PRIx64 "%016" PRIx64, folder,
                                  (unsigned)(a >> 56), a & UINT64_C(0xffffffffffffff), b);
    return cache->root && cache->entry ? FP4_OK : FP4_ERROR_MEMORY;
}

// One line "hash bytes path": whether the file is still that.
static bool is_unchanged(rt_cache *cache, const char *line, fp4_status *status) {
    unsigned long long hash;
    unsigned long long bytes;
    int used = 0;
    if (sscanf(line, "%llx %llu %n", &hash, &bytes, &used) != 2 || used == 0) {
        return false;
    }
    rt_text text;
    return rt_read_file(cache->pool, AT_FDCWD, line + used, &text, status) && text.n == bytes &&
           rt_hash(UINT64_C(0xcbf29ce484222325), text.bytes, text.n) == hash;
}

static bool all_unchanged(rt_cache *cache, rt_text deps, fp4_status *status) {
    char *line = deps.bytes;
    while (*line) {
        char *end = strchr(line, '\n');
        if (!end) {
            return false; // cut off
        }
        *end = 0;
        if (!is_unchanged(cache, line, status)) {
            return false;
        }
        line = end + 1;
    }
    return line == deps.bytes + deps.n;
}

fp4_status rt_cache_find(rt_cache *cache, rt_text *module) {
    *module = (rt_text){NULL, 0};
    if (!cache->root) {
        return FP4_OK;
    }
    int dir = open(cache->entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return FP4_OK;
    }
    fp4_status status = FP4_OK;
    rt_text key, deps;
    bool ok = rt_read_file(cache->pool, dir, "key", &key, &status) && key.n == cache->key.n &&
              memcmp(key.bytes, cache->key.bytes, key.n) == 0 &&
              rt_read_file(cache->pool, dir, "deps", &deps, &status) &&
              all_unchanged(cache, deps, &status) &&
              rt_read_file(cache->pool, dir, "module.tkm", module, &status);
    close(dir);
    if (!ok) {
        *module = (rt_text){NULL, 0};
        rt_log(cache->ctx, FP4_LOG_INFO, "%s: not what is wanted now", cache->entry);
    }
    return status;
}

// ---- building -----------------------------------------------------------------------------------

// A folder and those above it.
static bool make_folders(char *path) {
    for (char *p = path + 1; *p; p++) {
        if (*p == '/') {
            *p = 0;
            bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
            *p = '/';
            if (!ok) {
                return false;
            }
        }
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

// What builders left that were killed long ago.
static void sweep(rt_cache *cache, const char *tmp) {
    DIR *dir = opendir(tmp);
    if (!dir) {
        return;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        struct stat st;
        if (e->d_name[0] != '.' && fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_mtime + STALE_SECONDS < time(NULL)) {
            const char *path = rt_pool_printf(cache->pool, "%s/%s", tmp, e->d_name);
            if (path) {
                rt_remove_folder(path);
            }
        }
    }
    closedir(dir);
}

static char *new_folder(rt_cache *cache, const char *parent) {
    char *path = rt_pool_printf(cache->pool, "%s/fp4-XXXXXX", parent);
    return path && mkdtemp(path) ? path : NULL;
}

fp4_status rt_cache_build_in(rt_cache *cache, const char **folder, bool *in_cache) {
    *folder = NULL;
    *in_cache = false;
    if (cache->root) {
        char *tmp = rt_pool_printf(cache->pool, "%s/tmp", cache->root);
        if (!tmp) {
            return FP4_ERROR_MEMORY;
        }
        if (make_folders(tmp)) {
            sweep(cache, tmp);
            *folder = new_folder(cache, tmp);
            *in_cache = *folder != NULL;
        }
        if (!*folder) {
            rt_log(cache->ctx, FP4_LOG_WARN, "%s cannot be written (%s): nothing is kept", tmp,
                   strerror(errno));
        }
    }
    if (!*folder) {
        const char *tmp = getenv("TMPDIR");
        *folder = new_folder(cache, tmp && *tmp ? tmp : "/tmp");
    }
    return *folder
               ? FP4_OK
               : rt_fail(FP4_ERROR_FILE, "no temporary folder can be made: %s", strerror(errno));
}

// Moves what is at the entry's place out of the way, and away.
static void displace(rt_cache *cache) {
    char *tmp = rt_pool_printf(cache->pool, "%s/tmp", cache->root);
    char *trash = tmp ? new_folder(cache, tmp) : NULL;
    char *old = trash ? rt_pool_printf(cache->pool, "%s.old", trash) : NULL;
    if (old && rename(cache->entry, old) == 0) {
        rt_remove_folder(old);
    }
    if (trash) {
        rmdir(trash);
    }
}

void rt_cache_publish(rt_cache *cache, const char *folder) {
    char *key = rt_pool_printf(cache->pool, "%s/key", folder);
    char *parent = rt_pool_printf(cache->pool, "%s", cache->entry);
    bool ok = key && parent && rt_write_file(key, cache->key.bytes, cache->key.n);
    if (ok) {
        *strrchr(parent, '/') = 0;
        ok = chmod(folder, 0755) == 0 && (mkdir(parent, 0777) == 0 || errno == EEXIST);
    }
    for (int attempt = 0; ok && attempt < 3; attempt++) {
        if (rename(folder, cache->entry) == 0) {
            return;
        }
        // Another process was faster, or what is there was refused: this one is as good, and newer.
        ok = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
        if (ok) {
            displace(cache);
        }
    }
    rt_log(cache->ctx, FP4_LOG_WARN, "%s: not kept: %s", cache->entry, strerror(errno));
    rt_remove_folder(folder);
}
