// Whole files and flat folders, for the cache.
#include "cache.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *rt_pool_printf(rt_pool *pool, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = n < 0 ? NULL : rt_pool_new(pool, (size_t)n + 1);
    if (text) {
        va_start(list, format);
        vsnprintf(text, (size_t)n + 1, format, list);
        va_end(list);
    }
    return text;
}

static bool read_all(int fd, rt_text *out) {
    size_t done = 0;
    while (done < out->n) {
        ssize_t n = read(fd, out->bytes + done, out->n - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        if (n == 0) {
            break; // it became shorter
        }
        done += (size_t)n;
    }
    out->n = done;
    out->bytes[done] = 0;
    return true;
}

bool rt_read_file(rt_pool *pool, int dir, const char *path, rt_text *out, fp4_status *status) {
    *out = (rt_text){NULL, 0};
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (ok && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        ok = false;
    }
    if (ok) {
        out->n = (size_t)st.st_size;
        out->bytes = rt_pool_new(pool, out->n + 1);
        if (!out->bytes) {
            *status = FP4_ERROR_MEMORY;
        }
        ok = out->bytes && read_all(fd, out);
    }
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}

bool rt_write_file(const char *path, const void *bytes, size_t n) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return false;
    }
    const char *p = bytes;
    bool ok = true;
    while (n > 0 && ok) {
        ssize_t done = write(fd, p, n);
        if (done >= 0) {
            p += done;
            n -= (size_t)done;
        } else {
            ok = errno == EINTR;
        }
    }
    ok = ok && fsync(fd) == 0;
    int why = errno;
    ok = close(fd) == 0 && ok;
    errno = why;
    return ok;
}

void rt_remove_folder(const char *path) {
    if (unlink(path) == 0) {
        return; // something put a file there
    }
    DIR *dir = opendir(path);
    if (!dir) {
        return;
    }
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            unlinkat(dirfd(dir), e->d_name, 0);
        }
    }
    closedir(dir);
    rmdir(path);
}

uint64_t rt_hash(uint64_t seed, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    uint64_t hash = seed;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}
