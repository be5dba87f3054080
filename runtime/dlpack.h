// The DLPack ABI as far as this library uses it (dlpack.h 1.1), declared here because the packaged
// header knows no four-bit types. Names are ours, so that both can be included.
#ifndef FP4_RUNTIME_DLPACK_H
#define FP4_RUNTIME_DLPACK_H

#include <stddef.h>
#include <stdint.h>

enum {
    DL_MAJOR = 1,
    DL_MINOR = 1,
    DL_CPU = 1, // DLDeviceType
    DL_CUDA = 2,
    DL_CUDA_HOST = 3,
    DL_CUDA_MANAGED = 13,
    DL_FLAG_SUBBYTE_PADDED = 1 << 2, // DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED
};

typedef enum { // DLDataTypeCode
    DL_INT = 0,
    DL_UINT = 1,
    DL_FLOAT = 2,
    DL_BFLOAT = 4,
    DL_E4M3FN = 10,
    DL_E5M2 = 12,
    DL_E8M0FNU = 14,
    DL_E2M3FN = 15,
    DL_E3M2FN = 16,
    DL_E2M1FN = 17,
} dl_code;

typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} dl_type;

typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    dl_type dtype;
    int64_t *shape;
    int64_t *strides; // in elements; NULL: dense
    uint64_t byte_offset;
} dl_tensor;

typedef struct dl_managed {
    uint32_t major, minor;
    void *manager_ctx;
    void (*deleter)(struct dl_managed *self);
    uint64_t flags;
    dl_tensor tensor;
} dl_managed;

_Static_assert(sizeof(dl_tensor) == 48 && offsetof(dl_tensor, shape) == 24, "DLTensor");
_Static_assert(sizeof(dl_managed) == 80 && offsetof(dl_managed, tensor) == 32,
               "DLManagedTensorVersioned");

#endif
