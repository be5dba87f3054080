// fp4_gateup: the factors of the call; fp4_launch checks all the rest.
#include "fp4_gateup.h"

// 0 is what a tensor that was filled in by hand may hold; it means no factor.
static float factor(const fp4_tensor *tensor) {
    return tensor->global == 0 ? 1 : tensor->global;
}

fp4_status fp4_gateup(fp4_module *module, const fp4_tensor *h, const fp4_tensor *x,
                      const fp4_tensor *wg, const fp4_tensor *wu, void *stream) {
    fp4_kernel *kernel = NULL;
    if (!module || !h || !x || !wg || !wu) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_gateup(): NULL argument");
    }
    if (factor(wg) != factor(wu)) {
        return fp4_fail(FP4_ERROR_MISMATCH,
                        "fp4_gateup(): Wg and Wu have different 'global' factors; the kernel has "
                        "one for both, so quantise them as one weight");
    }
    fp4_status status = fp4_module_kernel(module, "gateup_q", NULL, &kernel);
    if (status != FP4_OK) {
        return status;
    }
    const fp4_arg args[] = {fp4_arg_tensor(x),  fp4_arg_tensor(wg),
                            fp4_arg_tensor(wu), fp4_arg_f32(factor(x) * factor(wg)),
                            fp4_arg_tensor(h),  fp4_arg_f32(factor(h))};
    return fp4_launch(kernel, args, 6, stream);
}
