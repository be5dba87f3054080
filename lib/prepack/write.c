// See write.h. The header is JSON with names escaped by cJSON, filled up with blanks to a multiple of 8 bytes,
// as the reference writer does (huggingface safetensors, tensor.rs).
#include "write.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct out_file {
    const char *path;
    char *temporary;
    int fd;
    int n;
    int64_t *places; // of each tensor in the file
    int64_t *bytes;
};

static fp4_status failed(const char *path, const char *doing) {
    char text[600];
    snprintf(text, sizeof text, "%.400s: %s: %s", path, doing, strerror(errno));
    return fp4_fail(FP4_ERROR_FILE, text);
}

static fp4_status put(const out_file *f, const void *bytes, int64_t n, int64_t at) {
    const char *from = bytes;
    while (n > 0) {
        ssize_t done = pwrite(f->fd, from, (size_t)n, at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return failed(f->temporary, "cannot be written");
        }
        from += done;
        at += done;
        n -= done;
    }
    return FP4_OK;
}

static int add_tensor(cJSON *header, const out_tensor *t, int64_t begin) {
    cJSON *o = cJSON_AddObjectToObject(header, t->name);
    cJSON *shape = o && cJSON_AddStringToObject(o, "dtype", t->dtype) ? cJSON_AddArrayToObject(o, "shape") : NULL;
    for (int i = 0; i < t->rank && shape; i++) {
        shape = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->dims[i])) ? shape : NULL;
    }
    cJSON *offsets = shape ? cJSON_AddArrayToObject(o, "data_offsets") : NULL;
    return offsets && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin)) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(begin + t->bytes)));
}

// The header's text, padded, and the places of all tensors behind it.
static char *header_of(out_file *f, const out_tensor *tensors, size_t *length) {
    cJSON *header = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(header, "__metadata__");
    int fine = metadata && cJSON_AddStringToObject(metadata, "format", "fp4-prepack 1");
    int64_t at = 0;
    for (int i = 0; i < f->n && fine; i++) {
        fine = add_tensor(header, &tensors[i], at);
        f->places[i] = at;
        f->bytes[i] = tensors[i].bytes;
        at += tensors[i].bytes;
    }
    char *text = fine ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    size_t n = text ? strlen(text) : 0;
    *length = (n + 7) / 8 * 8;
    char *padded = text ? malloc(*length + 1) : NULL;
    if (padded) {
        memset(padded, ' ', *length);
        memcpy(padded, text, n);
    }
    cJSON_free(text);
    for (int i = 0; i < f->n; i++) {
        f->places[i] += 8 + (int64_t)*length;
    }
    return padded;
}

static fp4_status write_header(out_file *f, const out_tensor *tensors) {
    size_t length;
    char *text = header_of(f, tensors, &length);
    if (!text) {
        return fp4_fail(FP4_ERROR_MEMORY, "memory is used up");
    }
    uint64_t n = length;
    fp4_status status = put(f, &n, sizeof n, 0);
    if (status == FP4_OK) {
        status = put(f, text, (int64_t)length, sizeof n);
    }
    free(text);
    return status;
}

static void release(out_file *f) {
    if (f) {
        free(f->temporary);
        free(f->places);
        free(f->bytes);
        free(f);
    }
}

fp4_status out_open(const char *path, const out_tensor *tensors, int n, out_file **out) {
    size_t length = strlen(path) + 32;
    out_file *f = calloc(1, sizeof *f);
    if (f) {
        *f = (out_file){.path = path, .fd = -1, .n = n, .temporary = malloc(length)};
        f->places = calloc((size_t)n + 1, sizeof *f->places);
        f->bytes = calloc((size_t)n + 1, sizeof *f->bytes);
    }
    if (!f || !f->temporary || !f->places || !f->bytes) {
        release(f);
        return fp4_fail(FP4_ERROR_MEMORY, "memory is used up");
    }
    snprintf(f->temporary, length, "%s.%ld.part", path, (long)getpid());
    f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    fp4_status status = f->fd < 0 ? failed(f->temporary, "cannot be made") : write_header(f, tensors);
    if (status == FP4_OK) {
        *out = f;
        return FP4_OK;
    }
    if (f->fd >= 0) {
        (void)out_close(f, 0);
    } else {
        release(f);
    }
    return status;
}

fp4_status out_write(out_file *f, int tensor, const void *bytes) {
    return put(f, bytes, f->bytes[tensor], f->places[tensor]);
}

fp4_status out_close(out_file *f, int whole) {
    fp4_status status = FP4_OK;
    if (whole && fsync(f->fd) != 0) {
        status = failed(f->temporary, "cannot be written");
    }
    if (close(f->fd) != 0 && whole && status == FP4_OK) {
        status = failed(f->temporary, "cannot be written");
    }
    if (whole && status == FP4_OK && rename(f->temporary, f->path) != 0) {
        status = failed(f->path, "cannot be made");
    }
    if (!whole || status != FP4_OK) {
        (void)unlink(f->temporary);
    }
    release(f);
    return status;
}
