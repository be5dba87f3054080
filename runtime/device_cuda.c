// The GPU as a device.
#include "rt.h"

fp4_status rt_cuda_open(rt_heap *heap, int index, const rt_device_ops **ops, rt_device **device) {
    (void)heap;
    (void)ops;
    (void)device;
    return rt_fail(FP4_ERROR_UNAVAILABLE,
                   "cuda:%d: this version looks for no driver (libcuda.so.1) yet; use device sim",
                   index);
}
