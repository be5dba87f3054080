// fp4_gemm: picks the kernel by the operands' formats; fp4_launch checks all the rest.
#include "fp4_gemm.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// 0 is what a tensor that was filled in by hand may hold; it means no factor.
static float factor(const fp4_tensor *tensor) {
    return tensor->global == 0 ? 1 : tensor->global;
}

fp4_status fp4_gemm(fp4_module *module, const fp4_tensor *d, const fp4_tensor *a,
                    const fp4_tensor *b, float alpha, void *stream) {
    fp4_kernel *kernel = NULL;
    if (!module || !d || !a || !b) {
        return fp4_fail(FP4_ERROR_ARGUMENT, "fp4_gemm(): NULL argument");
    }
    char left[FP4_MAX_NAME];
    char right[FP4_MAX_NAME];
    char name[2 * FP4_MAX_NAME + 8];
    fp4_format_name(&a->format, left);
    fp4_format_name(&b->format, right);
    bool same = strcmp(left, right) == 0;
    snprintf(name, sizeof name, "%s%s%s_gemm", left, same ? "" : "_", same ? "" : right);
    fp4_status status = fp4_module_kernel(module, name, NULL, &kernel);
    if (status != FP4_OK) {
        return status;
    }
    const fp4_arg args[] = {fp4_arg_tensor(a), fp4_arg_tensor(b), fp4_arg_tensor(d),
                            fp4_arg_f32(alpha * factor(a) * factor(b))};
    return fp4_launch(kernel, args, 4, stream);
}
