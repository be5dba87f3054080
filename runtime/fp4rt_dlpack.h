// Tensors of PyTorch, CuPy, JAX and others, and ours for them: the DLPack ABI (1.x), nothing
// copied.
//
// A 'DLTensor *' is passed as 'void *', so that this header goes together with any dlpack.h or
// none. What is made here borrows the other side's memory and must not outlive it. Four-bit
// elements are counted one by one (type e2m1fn of one lane), in pairs (two lanes:
// torch.float4_e2m1fn_x2) or as bytes that hold two (uint8, int8: torch before 2.8, checkpoints);
// which of them is read off the DLTensor's type, and chosen for what goes out. Statuses and
// fp4_last_error() as in fp4rt.h.
#ifndef FP4RT_DLPACK_H
#define FP4RT_DLPACK_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

// The DLTensor inside a DLManagedTensorVersioned (a "dltensor_versioned" capsule's pointer), when
// its version is known and its elements are packed. A DLManagedTensor begins with its DLTensor.
FP4_API fp4_status fp4_dlpack_tensor(const void *managed, const void **tensor);

// A tensor over CUDA memory of the context's GPU: elements, and scales when the format has them
// (else NULL). Rows may have a pitch; the last axis is contiguous, the scales are.
FP4_API fp4_status fp4_tensor_from_dlpack(fp4_ctx *ctx, const fp4_format *format, const void *data,
                                          const void *scale, fp4_tensor *tensor);
// The same over host memory, for fp4_tensor_import and the packing functions, which read it only.
FP4_API fp4_status fp4_host_from_dlpack(const fp4_format *format, const void *data,
                                        const void *scale, fp4_host *host);

typedef enum {
    FP4_DLPACK_ELEMENTS, // dimensions count elements
    FP4_DLPACK_PAIRS,    // e2m1 in pairs: the last dimension is half
    FP4_DLPACK_BYTES,    // the bytes of a row as uint8
    FP4_DLPACK_SCALE,    // the scales: [.., rows, columns] in layout linear, else [matrices, bytes]
} fp4_dlpack_view;

// A new DLManagedTensorVersioned; its consumer calls its deleter, which frees what this function
// allocated and nothing of the tensor. A tensor in the simulator has no address that others could
// use and is refused.
FP4_API fp4_status fp4_tensor_to_dlpack(fp4_ctx *ctx, const fp4_tensor *tensor,
                                        fp4_dlpack_view view, void **managed);
// config: only its allocator is used; NULL: the C library's.
FP4_API fp4_status fp4_host_to_dlpack(const fp4_config *config, const fp4_host *host,
                                      fp4_dlpack_view view, void **managed);

#ifdef __cplusplus
}
#endif

#endif
