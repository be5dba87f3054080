// The CUDA Driver API as far as this library uses it, declared here so that no NVIDIA header is
// needed. The only file that knows its types and numbers (CUDA 13.0 cuda.h; a test compares them
// with it).
#ifndef FP4_RUNTIME_CUDA_DRIVER_H
#define FP4_RUNTIME_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int cu_result; // 0 is success
typedef int cu_device;
typedef unsigned long long cu_address;

enum {
    CU_ERROR_OUT_OF_MEMORY = 2,
    CU_ERROR_NO_DEVICE = 100,
    CU_DEVICE_SM_COUNT = 16, // CU_DEVICE_ATTRIBUTE_...
    CU_DEVICE_CC_MAJOR = 75,
    CU_DEVICE_CC_MINOR = 76,
    CU_FUNCTION_MAX_DYNAMIC_SMEM = 8, // CU_FUNC_ATTRIBUTE_...
    CU_FUNCTION_ANY_CLUSTER_SIZE = 14,
    CU_LAUNCH_COOPERATIVE = 2, // CU_LAUNCH_ATTRIBUTE_...
    CU_LAUNCH_CLUSTER = 4,
    CU_LAUNCH_PDL = 6, // programmatic stream serialization
    CU_CAPTURE_NONE = 0,
    CU_JIT_LOG = 5, // CU_JIT_ERROR_LOG_BUFFER
    CU_JIT_LOG_BYTES = 6,
    CU_MAP_L2_PROMOTION_256B = 3,
};

typedef struct {
    int id;
    char pad[4];
    union {
        char pad[64];
        unsigned cluster[3];
        int flag; // cooperative, programmatic stream serialization
    } value;
} cu_launch_attribute;

typedef struct {
    unsigned grid[3];
    unsigned block[3];
    unsigned smem_bytes;
    void *stream;
    cu_launch_attribute *attributes;
    unsigned n_attributes;
} cu_launch_config;

// CU(field, exported symbol, parameters): every function that is looked up.
#define CU_FUNCTIONS(CU)                                                                           \
    CU(init, cuInit, (unsigned flags))                                                             \
    CU(error_name, cuGetErrorName, (cu_result result, const char **text))                          \
    CU(error_text, cuGetErrorString, (cu_result result, const char **text))                        \
    CU(device_count, cuDeviceGetCount, (int *count))                                               \
    CU(device_get, cuDeviceGet, (cu_device * device, int index))                                   \
    CU(device_name, cuDeviceGetName, (char *name, int bytes, cu_device device))                    \
    CU(device_attribute, cuDeviceGetAttribute, (int *value, int attribute, cu_device device))      \
    CU(context_retain, cuDevicePrimaryCtxRetain, (void **context, cu_device device))               \
    CU(context_release, cuDevicePrimaryCtxRelease_v2, (cu_device device))                          \
    CU(context_push, cuCtxPushCurrent_v2, (void *context))                                         \
    CU(context_pop, cuCtxPopCurrent_v2, (void **context))                                          \
    CU(alloc, cuMemAlloc_v2, (cu_address * address, size_t bytes))                                 \
    CU(free, cuMemFree_v2, (cu_address address))                                                   \
    CU(copy_to, cuMemcpyHtoDAsync_v2,                                                              \
       (cu_address dst, const void *src, size_t bytes, void *stream))                              \
    CU(copy_from, cuMemcpyDtoHAsync_v2, (void *dst, cu_address src, size_t bytes, void *stream))   \
    CU(fill, cuMemsetD8Async, (cu_address dst, unsigned char byte, size_t bytes, void *stream))    \
    CU(stream_sync, cuStreamSynchronize, (void *stream))                                           \
    CU(stream_capturing, cuStreamIsCapturing, (void *stream, int *status))                         \
    CU(event_new, cuEventCreate, (void **event, unsigned flags))                                   \
    CU(event_free, cuEventDestroy_v2, (void *event))                                               \
    CU(event_record, cuEventRecord, (void *event, void *stream))                                   \
    CU(event_wait, cuEventSynchronize, (void *event))                                              \
    CU(event_elapsed, cuEventElapsedTime, (float *ms, void *from, void *to))                       \
    CU(library_load, cuLibraryLoadData,                                                            \
       (void **library, const void *code, int *jit_options, void **jit_values, unsigned n_jit,     \
        int *options, void **values, unsigned n))                                                  \
    CU(library_unload, cuLibraryUnload, (void *library))                                           \
    CU(library_kernel, cuLibraryGetKernel, (void **kernel, void *library, const char *name))       \
    CU(kernel_function, cuKernelGetFunction, (void **function, void *kernel))                      \
    CU(function_set, cuFuncSetAttribute, (void *function, int attribute, int value))               \
    CU(launch, cuLaunchKernelEx,                                                                   \
       (const cu_launch_config *config, void *function, void **params, void **extra))              \
    CU(tensormap, cuTensorMapEncodeTiled,                                                          \
       (void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,                  \
        const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,             \
        int interleave, int swizzle, int l2_promotion, int oob_fill))

typedef struct {
#define CU(field, symbol, parameters) cu_result(*field) parameters;
    CU_FUNCTIONS(CU)
#undef CU
} cu_driver;

#endif
