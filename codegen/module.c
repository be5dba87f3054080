// The module file: metadata, PTX and cubin of several kernels, as runtime/module.h lays it out.
//
// In: per kernel its metadata object and texts. Out: bytes that depend on nothing else. The file
// appears under its name only when it is complete; after a failure neither it nor a rest is left.
#include "../runtime/module.h"
#include "artefact.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    uint32_t kind, index;
    const void *bytes;
    size_t len;
    size_t offset;
} section;

static size_t align16(size_t n) {
    return (n + 15) / 16 * 16;
}

static void put(unsigned char *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

uint64_t module_code_hash(const char *ptx, size_t len) {
    return fp4_module_hash(ptx, len);
}

// The META section: the kernels' objects, put together as text so that each stays as it was made.
static const char *meta_text(const char *source, const module_kernel *kernels, int n, arena *mem,
                             const char **text) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "fp4c", FP4C_VERSION);
    cJSON_AddStringToObject(root, "source", source);
    cJSON *list = cJSON_AddArrayToObject(root, "kernels");
    for (int i = 0; i < n; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateRaw(kernels[i].meta));
    }
    char *printed = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!printed) {
        return "out of memory";
    }
    *text = arena_strdup(mem, printed);
    free(printed);
    return NULL;
}

static int list_sections(const char *meta, const module_kernel *kernels, int n, section *out) {
    int used = 0;
    out[used++] = (section){.kind = FP4_MODULE_META, .bytes = meta, .len = strlen(meta)};
    for (int i = 0; i < n; i++) {
        out[used++] = (section){.kind = FP4_MODULE_PTX,
                                .index = (uint32_t)i,
                                .bytes = kernels[i].ptx,
                                .len = kernels[i].ptx_len};
        if (kernels[i].cubin) {
            out[used++] = (section){.kind = FP4_MODULE_CUBIN,
                                    .index = (uint32_t)i,
                                    .bytes = kernels[i].cubin,
                                    .len = kernels[i].cubin_len};
        }
    }
    return used;
}

const char *module_build(const module_source *source, const module_kernel *kernels, int n, arena *mem,
                         module_image *out) {
    const char *meta = NULL;
    const char *bad = meta_text(source->name, kernels, n, mem, &meta);
    if (bad) {
        return bad;
    }
    section *s = ARENA_ARRAY(mem, section, 2 + 2 * n);
    int count = list_sections(meta, kernels, n, s);
    if (source->tune) {
        s[count++] = (section){.kind = FP4_MODULE_TUNE, .bytes = source->tune, .len = strlen(source->tune)};
    }
    size_t at = align16(FP4_MODULE_HEADER_BYTES + FP4_MODULE_SECTION_BYTES * (size_t)count);
    for (int i = 0; i < count; i++) {
        s[i].offset = at;
        at = align16(at + s[i].len);
    }
    unsigned char *b = arena_alloc(mem, at);
    memcpy(b, FP4_MODULE_MAGIC, 8);
    put(b + 8, FP4_MODULE_VERSION, 4);
    put(b + 12, (uint64_t)count, 4);
    put(b + 16, at, 8);
    for (int i = 0; i < count; i++) {
        unsigned char *row = b + FP4_MODULE_HEADER_BYTES + FP4_MODULE_SECTION_BYTES * (size_t)i;
        put(row, s[i].kind, 4);
        put(row + 4, s[i].index, 4);
        put(row + 8, s[i].offset, 8);
        put(row + 16, s[i].len, 8);
        if (s[i].len) {
            memcpy(b + s[i].offset, s[i].bytes, s[i].len);
        }
    }
    put(b + 24, fp4_module_hash(b + FP4_MODULE_HEADER_BYTES, at - FP4_MODULE_HEADER_BYTES), 8);
    *out = (module_image){.bytes = b, .len = at};
    return NULL;
}

static bool write_all(int fd, const unsigned char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

// mkstemp gives 0600; a result has the mode that a plain open would have given it.
static bool finish_file(int fd, const void *bytes, size_t len) {
    mode_t mask = umask(0);
    umask(mask);
    bool ok = write_all(fd, bytes, len) && fchmod(fd, 0666 & ~mask) == 0;
    int err = errno;
    ok = (close(fd) == 0) && ok;
    errno = err ? err : errno;
    return ok;
}

static const char *write_special(const char *path, const void *bytes, size_t len, arena *mem) {
    int fd = open(path, O_WRONLY);
    bool ok = fd >= 0 && write_all(fd, bytes, len);
    int err = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        err = errno;
    }
    return ok ? NULL : arena_printf(mem, "'%s' could not be written: %s", path, strerror(err));
}

const char *module_write(const char *path, const void *bytes, size_t len, arena *mem) {
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return write_special(path, bytes, len, mem); // a pipe or device: nothing to replace
    }
    char *temp = arena_printf(mem, "%s.XXXXXX", path);
    int fd = mkstemp(temp);
    if (fd < 0) {
        return arena_printf(mem, "'%s' could not be written: %s", path, strerror(errno));
    }
    errno = 0;
    bool ok = finish_file(fd, bytes, len) && rename(temp, path) == 0;
    if (!ok) {
        const char *why = arena_printf(mem, "'%s' could not be written: %s", path, strerror(errno));
        unlink(temp);
        return why;
    }
    return NULL;
}
