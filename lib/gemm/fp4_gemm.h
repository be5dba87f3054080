// Dense GEMM from C: D = alpha * A * B^T, the kernels of gemm.tk, mx.tk, bf16.tk and ../fp8/fp8.tk.
// Five calls:
//
//   fp4_open_module(NULL, "gemm.tkm", &ctx, &module);              a device and compiled kernels
//   fp4_tensor_import(ctx, &host, s, FP4_GLOBAL_MULTIPLY, &w);     weights of a checkpoint
//   fp4_tensor_quantize(ctx, "nvfp4", 2, dims, x, &a);             activations
//   fp4_tensor_new(ctx, "bf16", 2, d_dims, &d);                    the result
//   fp4_gemm(module, &d, &a, &w, 1.0f, stream);                    enqueued on the caller's stream
#ifndef FP4_GEMM_H
#define FP4_GEMM_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

// A [M, K] and B [N, K] in one format or two, D [M, N]; any M (0 too), other sizes as the kernel's
// 'where' says; K = 0 gives zeros. The tensors' 'global' factors are part of alpha. The kernel is
// the module's "<format>_gemm" ("nvfp4_gemm", of two "mxfp8_mxfp4_gemm") for its device, in the
// variant that 'when' and the measured times of the module choose for (M, N, K) and the device's
// multiprocessors. Its code is loaded by the first call, later calls allocate nothing. Refusals are
// sentences (fp4_last_error), as in fp4_launch. The tensors' memory stays the caller's and must live
// until the stream has run the kernel; its alignment is checked, fp4_tensor_new's is enough.
FP4_API fp4_status fp4_gemm(fp4_module *module, const fp4_tensor *d, const fp4_tensor *a,
                            const fp4_tensor *b, float alpha, void *stream);

#ifdef __cplusplus
}
#endif

#endif
