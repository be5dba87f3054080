// A libcuda.so.1 for tests: two GPUs whose memory is host memory. Built twice; with FAKE_CUDA_OLD
// it lacks cuTensorMapEncodeTiled, as drivers before CUDA 12 do.
#include "fake_cuda.h"
#include <stdlib.h>
#include <string.h>

#define EXPORT(field, symbol, parameters) cu_result symbol parameters;
CU_FUNCTIONS(EXPORT)
#undef EXPORT

extern fake_cuda_state fake_cuda;
fake_cuda_state fake_cuda = {.n_devices = 2, .fail_with = 999};

static char contexts[2];
static void *owned[64]; // memory and libraries of the contexts

static void *own(void *block) {
    for (int i = 0; i < 64; i++) {
        if (!owned[i]) {
            return owned[i] = block;
        }
    }
    abort();
}

static void disown(void *block) {
    for (int i = 0; i < 64; i++) {
        if (owned[i] == block) {
            owned[i] = NULL;
            free(block);
            return;
        }
    }
    abort();
}

// A library is its code behind its length. PTX ends with a 0; a cubin is an ELF file that ends with
// its section table or its program headers (System V ABI, "ELF Header").
static size_t code_bytes(const unsigned char *code) {
    if (memcmp(code, "\177ELF", 4) != 0) {
        return strlen((const char *)code) + 1;
    }
    uint64_t at[2];
    uint16_t size[4];
    memcpy(at, code + 0x20, sizeof at);
    memcpy(size, code + 0x36, sizeof size);
    size_t segments = (size_t)(at[0] + (uint64_t)size[0] * size[1]);
    size_t sections = (size_t)(at[1] + (uint64_t)size[2] * size[3]);
    return segments > sections ? segments : sections;
}

// Where a library's code holds a name; NULL: nowhere.
static void *find_name(unsigned char *library, const char *name) {
    size_t bytes;
    memcpy(&bytes, library, sizeof bytes);
    size_t n = strlen(name);
    for (size_t i = 0; i + n <= bytes; i++) {
        if (memcmp(library + sizeof bytes + i, name, n) == 0) {
            return library + sizeof bytes + i;
        }
    }
    return NULL;
}

// The result of a call: 0 unless it was chosen to fail.
static cu_result next_call(void) {
    fake_cuda.n_calls++;
    return fake_cuda.fail_at > 0 && --fake_cuda.fail_at == 0 ? fake_cuda.fail_with : 0;
}

// A call that undoes something: its failure changes nothing.
static cu_result undo_call(void) {
    cu_result result = next_call();
    fake_cuda.n_hidden += result != 0;
    return result;
}

static cu_result context_call(void) {
    fake_cuda.without_context += fake_cuda.pushed != 1;
    return next_call();
}

cu_result cuInit(unsigned flags) {
    (void)flags;
    return next_call();
}

cu_result cuGetErrorName(cu_result result, const char **text) {
    *text = result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_FAKE";
    return 0;
}

cu_result cuGetErrorString(cu_result result, const char **text) {
    (void)result;
    *text = "as asked for";
    return 0;
}

cu_result cuDeviceGetCount(int *count) {
    *count = fake_cuda.n_devices;
    return next_call();
}

cu_result cuDeviceGet(cu_device *device, int index) {
    *device = index;
    return next_call();
}

cu_result cuDeviceGetName(char *name, int bytes, cu_device device) {
    strncpy(name, device == 0 ? "Fake H200" : "Fake B200", (size_t)bytes);
    return next_call();
}

cu_result cuDeviceGetAttribute(int *value, int attribute, cu_device device) {
    *value = attribute == 16   ? (device == 0 ? 132 : 148)
             : attribute == 75 ? (device == 0 ? 9 : 10)
                               : 0;
    return next_call();
}

cu_result cuDevicePrimaryCtxRetain(void **context, cu_device device) {
    cu_result result = next_call();
    fake_cuda.retained += result == 0;
    *context = result == 0 ? &contexts[device] : NULL;
    return result;
}

cu_result cuDevicePrimaryCtxRelease_v2(cu_device device) {
    (void)device;
    if (--fake_cuda.retained == 0) { // the primary context ends, and with it all that it owns
        for (int i = 0; i < 64; i++) {
            fake_cuda.n_swept += owned[i] != NULL;
            free(owned[i]);
            owned[i] = NULL;
        }
        fake_cuda.n_memory = 0;
        fake_cuda.n_libraries = 0;
        fake_cuda.n_events = 0;
    }
    return 0;
}

cu_result cuCtxPushCurrent_v2(void *context) {
    cu_result result = next_call();
    fake_cuda.pushed += result == 0 && context != NULL;
    fake_cuda.push_failed += result != 0;
    return result;
}

cu_result cuCtxPopCurrent_v2(void **context) {
    *context = NULL;
    fake_cuda.pushed--; // the pop takes place even when it reports an earlier error
    return undo_call();
}

cu_result cuMemAlloc_v2(cu_address *address, size_t bytes) {
    cu_result result = context_call();
    if (result == 0) {
        *address = (cu_address)(uintptr_t)own(aligned_alloc(256, (bytes + 255) / 256 * 256));
        fake_cuda.n_memory++;
    }
    return result;
}

cu_result cuMemFree_v2(cu_address address) {
    disown((void *)(uintptr_t)address);
    fake_cuda.n_memory--;
    fake_cuda.without_context += fake_cuda.pushed != 1;
    return undo_call();
}

cu_result cuMemcpyHtoDAsync_v2(cu_address dst, const void *src, size_t bytes, void *stream) {
    (void)stream;
    memcpy((void *)(uintptr_t)dst, src, bytes);
    return context_call();
}

cu_result cuMemcpyDtoHAsync_v2(void *dst, cu_address src, size_t bytes, void *stream) {
    (void)stream;
    memcpy(dst, (const void *)(uintptr_t)src, bytes);
    return context_call();
}

cu_result cuMemsetD8Async(cu_address dst, unsigned char byte, size_t bytes, void *stream) {
    (void)stream;
    memset((void *)(uintptr_t)dst, byte, bytes);
    return context_call();
}

cu_result cuStreamSynchronize(void *stream) {
    (void)stream;
    fake_cuda.n_syncs++;
    fake_cuda.spoiled += fake_cuda.capture != 0;
    return context_call();
}

cu_result cuStreamIsCapturing(void *stream, int *status) {
    (void)stream;
    *status = fake_cuda.capture;
    return context_call();
}

// An event is the number of its record among all records; 0: never recorded.
cu_result cuEventCreate(void **event, unsigned flags) {
    (void)flags;
    cu_result result = context_call();
    if (result == 0) {
        *event = own(calloc(1, sizeof(int)));
        fake_cuda.n_events++;
    }
    return result;
}

cu_result cuEventDestroy_v2(void *event) {
    disown(event);
    fake_cuda.n_events--;
    return undo_call();
}

cu_result cuEventRecord(void *event, void *stream) {
    cu_result result = context_call();
    if (result == 0) {
        *(int *)event = ++fake_cuda.n_records;
        fake_cuda.record_stream = stream;
    }
    return result;
}

cu_result cuEventSynchronize(void *event) {
    fake_cuda.waited = event;
    return context_call();
}

cu_result cuEventElapsedTime(float *ms, void *from, void *to) {
    *ms = (float)(*(int *)to - *(int *)from);
    cu_result result = context_call();
    return result ? result : *(int *)from && *(int *)to ? 0 : 400;
}

cu_result cuLibraryLoadData(void **library, const void *code, int *jit_options, void **jit_values,
                            unsigned n_jit, int *options, void **values, unsigned n) {
    (void)options;
    (void)values;
    (void)n;
    fake_cuda.spoiled += fake_cuda.capture != 0;
    cu_result result = context_call();
    if (result != 0) {
        for (unsigned i = 0; i < n_jit && fake_cuda.jit_log; i++) {
            if (jit_options[i] == 5) {
                strcpy(jit_values[i], fake_cuda.jit_log);
            }
        }
        return result;
    }
    size_t bytes = code_bytes(code);
    *library = own(malloc(sizeof bytes + bytes));
    memcpy(*library, &bytes, sizeof bytes);
    memcpy((char *)*library + sizeof bytes, code, bytes);
    fake_cuda.n_libraries++;
    return 0;
}

cu_result cuLibraryUnload(void *library) {
    disown(library);
    fake_cuda.n_libraries--;
    return undo_call();
}

cu_result cuLibraryGetKernel(void **kernel, void *library, const char *name) {
    *kernel = find_name(library, name);
    cu_result result = context_call();
    return result ? result : *kernel ? 0 : 500;
}

cu_result cuKernelGetFunction(void **function, void *kernel) {
    *function = kernel;
    return context_call();
}

cu_result cuFuncSetAttribute(void *function, int attribute, int value) {
    (void)function;
    size_t used = strlen(fake_cuda.attributes);
    if (used < sizeof fake_cuda.attributes - 40) {
        char digits[16];
        int n = 0;
        for (; value; value /= 10) {
            digits[n++] = (char)('0' + value % 10);
        }
        char *p = fake_cuda.attributes + used;
        *p++ = (char)('0' + attribute % 10);
        *p++ = '=';
        while (n > 0) {
            *p++ = digits[--n];
        }
        strcpy(p, ";");
    }
    return context_call();
}

cu_result cuLaunchKernelEx(const cu_launch_config *config, void *function, void **params,
                           void **extra) {
    (void)extra;
    cu_result result = context_call();
    if (result == 0) {
        fake_cuda.launch = *config;
        fake_cuda.function = function;
        for (unsigned i = 0; i < config->n_attributes; i++) {
            fake_cuda.attributes_of[i] = config->attributes[i];
        }
        for (int i = 0; i < fake_cuda.n_params; i++) {
            memcpy(fake_cuda.params[i], params[i], fake_cuda.param_bytes[i]);
        }
    }
    return result;
}

#ifndef FAKE_CUDA_OLD
cu_result cuTensorMapEncodeTiled(void *map, int dtype, uint32_t rank, void *address,
                                 const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                                 const uint32_t *element_strides, int interleave, int swizzle,
                                 int l2_promotion, int oob_fill) {
    uint64_t words[16] = {(uint64_t)dtype,
                          rank,
                          (uintptr_t)address,
                          dims[0],
                          dims[1],
                          strides[0],
                          box[0],
                          box[1],
                          element_strides[rank - 1],
                          (uint64_t)interleave,
                          (uint64_t)swizzle,
                          (uint64_t)l2_promotion,
                          (uint64_t)oob_fill};
    fake_cuda.misaligned_maps += (uintptr_t)map % 64 != 0;
    memcpy(map, words, sizeof words);
    return context_call();
}
#endif
