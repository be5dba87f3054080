// Dense block-scaled GEMM from C: D = alpha * A * B^T, the kernels of gemm.tk.
//
//   fp4_open_module(NULL, "gemm.tkm", &ctx, &module);              1 a device and the compiled
//   kernels fp4_tensor_import(ctx, &checkpoint, s, FP4_GLOBAL_MULTIPLY, &w); 2 weights: codes and
//   scales fp4_tensor_quantize(ctx, "nvfp4", 2, dims, x, &a);             3 activations
//   fp4_tensor_new(ctx, "bf16", 2, d_dims, &d);                    4 the result
//   fp4_gemm(module, &d, &a, &w, 1.0f, stream);                    5 enqueued on the caller's
//   stream
#ifndef FP4_GEMM_H
#define FP4_GEMM_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

// A [M, K] and B [N, K] in one scaled format, D [M, N]; any M, other sizes as the kernel's 'where'
// says. The tensors' 'global' factors are part of alpha. The kernel is "<format>_gemm" of the
// module
// ("nvfp4_gemm"), for the module's device; its code is loaded by the first call, later calls
// allocate nothing. Refusals are sentences (fp4_last_error), as in fp4_launch.
FP4_API fp4_status fp4_gemm(fp4_module *module, const fp4_tensor *d, const fp4_tensor *a,
                            const fp4_tensor *b, float alpha, void *stream);

#ifdef __cplusplus
}
#endif

#endif
