// The first half of a gated feed-forward layer from C: H = silu(X Wg^T) * (X Wu^T), quantised to
// NVFP4 in the kernel's epilogue, ready for fp4_gemm with the down projection. Kernels of
// gateup.tk.
#ifndef FP4_GATEUP_H
#define FP4_GATEUP_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

// X [M, K], Wg and Wu [F, K], H [M, F], all NVFP4; any M (0 too), other sizes as the kernel's
// 'where' says. H is quantised with the global factor that h->global says: about amax(H) / (6 *
// 448). Wg and Wu have one 'global', as the two halves of a fused weight do. The kernel is the
// module's "gateup_q" for its device; the rest is as in fp4_gemm.
FP4_API fp4_status fp4_gateup(fp4_module *module, const fp4_tensor *h, const fp4_tensor *x,
                              const fp4_tensor *wg, const fp4_tensor *wu, void *stream);

#ifdef __cplusplus
}
#endif

#endif
