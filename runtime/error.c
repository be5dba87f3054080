// Statuses and the sentence of the last failure, one a thread.
#include "rt.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_error[1024];

const char *fp4_last_error(void) {
    return last_error;
}

fp4_status fp4_fail(fp4_status status, const char *sentence) {
    return rt_fail(status, "%s", sentence ? sentence : fp4_status_name(status));
}

int fp4_version(void) {
    return FP4RT_VERSION;
}

const char *fp4_status_name(fp4_status status) {
    static const char *const names[FP4_STATUS_COUNT] = {
        // ORDER status
        "ok",        "bad argument", "out of memory", "file error",  "bad module",
        "not found", "mismatch",     "device error",  "unavailable", "unsupported",
    };
    return (unsigned)status < FP4_STATUS_COUNT ? names[status] : "unknown status";
}

fp4_status rt_fail(fp4_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char text[sizeof last_error]; // an argument may be the old sentence
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    memcpy(last_error, text, sizeof text);
    return status;
}

fp4_status rt_prefix(fp4_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char text[sizeof last_error];
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s", last_error);
    memcpy(last_error, text, sizeof text);
    return status;
}

fp4_status rt_check_size(const char *what, uint32_t size, size_t oldest, size_t newest) {
    if (size >= oldest && size <= newest) {
        return FP4_OK;
    }
    if (size > newest) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "%s.size is %u, this library knows %zu bytes: the program was compiled "
                       "against a newer fp4rt.h",
                       what, (unsigned)size, newest);
    }
    return rt_fail(FP4_ERROR_ARGUMENT, "%s.size is %u, expected %zu; was it initialised?", what,
                   (unsigned)size, newest);
}

fp4_status rt_give(const char *what, void *out, const void *full, size_t bytes) {
    uint32_t size;
    memcpy(&size, out, sizeof size);
    fp4_status status = rt_check_size(what, size, 2 * sizeof size, bytes);
    if (status == FP4_OK) {
        memcpy((char *)out + sizeof size, (const char *)full + sizeof size, size - sizeof size);
    }
    return status;
}
