// Files in memory, read-only.
#include "rt.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

fp4_status rt_map_file(const char *path, rt_mapping *mapping) {
    *mapping = (rt_mapping){NULL, 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return rt_fail(FP4_ERROR_FILE, "cannot be opened: %s", strerror(errno));
    }
    struct stat info;
    fp4_status status = FP4_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
        status = rt_fail(FP4_ERROR_FILE, "is empty or no regular file");
    } else {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = rt_fail(FP4_ERROR_FILE, "cannot be mapped: %s", strerror(errno));
        } else {
            *mapping = (rt_mapping){bytes, (size_t)info.st_size};
        }
    }
    close(fd);
    return status;
}

void rt_unmap(rt_mapping *mapping) {
    if (mapping->bytes) {
        munmap(mapping->bytes, mapping->n);
    }
}
