// A hand-written CUDA counterpart of gemm.tk on sm_120a, for timing nvcc against fp4c: the same tile,
// pipeline and instructions (TMA, mbarriers, ldmatrix, block-scaled mma.sync), one math group. It is
// compiled, never run.
#include <cstdint>
#include <cuda.h>
#include <cuda_bf16.h>

constexpr int BM = 128, BN = 128, STAGES = 2;
constexpr int DATA = 128 * 128, SF = 2048, STAGE = 2 * (DATA + SF);

__device__ inline uint32_t smem_addr(const void *p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ inline void wait(uint32_t bar, uint32_t parity) {
    asm volatile("{ .reg .pred p;\n"
                 "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra again; }" ::"r"(bar), "r"(parity) : "memory");
}

__device__ inline void tma_2d(uint32_t dst, const CUtensorMap *map, int x, int y, uint32_t bar) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(dst), "l"(map), "r"(x), "r"(y), "r"(bar) : "memory");
}

__device__ inline void tma_3d(uint32_t dst, const CUtensorMap *map, int x, int y, int z, uint32_t bar) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(dst), "l"(map), "r"(x), "r"(y), "r"(z), "r"(bar)
                 : "memory");
}

__device__ inline void ldmatrix4(uint32_t (&r)[4], uint32_t addr) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(addr));
}

__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, uint32_t sfa,
                           uint32_t sfb) {
    asm volatile("mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X"
                 ".f32.e2m1.e2m1.f32.ue4m3 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3}, %10, {0, 0}, %11, {0, 0};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(sfa), "r"(sfb));
}

__device__ inline uint32_t swizzled(uint32_t base, int row, int chunk) {
    return base + row * 128 + ((chunk ^ (row & 7)) << 4);
}

__device__ inline uint32_t scale_word(uint32_t base, int row, int word) {
    uint32_t v;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v)
                 : "r"(base + word * 512 + (row % 32) * 16 + (row / 32) * 4));
    return v;
}

extern "C" __global__ void __launch_bounds__(256, 1)
nvfp4_gemm(const __grid_constant__ CUtensorMap A, const __grid_constant__ CUtensorMap B,
           const __grid_constant__ CUtensorMap SFA, const __grid_constant__ CUtensorMap SFB,
           __nv_bfloat16 *D, int M, int N, int K, float alpha) {
    extern __shared__ __align__(1024) uint8_t smem[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t base = smem_addr(smem), slots = base + 1024;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(base + 8 * i));
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 4;" ::"r"(base + 64 + 8 * i));
        }
        asm volatile("fence.mbarrier_init.release.cluster;");
    }
    __syncthreads();
    const int tiles_n = (N + BN - 1) / BN, tiles = (M + BM - 1) / BM * tiles_n, steps = (K + 255) / 256;
    int slot = 0, phase = 0;
    if (warp >= 4) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (warp == 4 && lane == 0) {
            for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
                const int m0 = t / tiles_n * BM, n0 = t % tiles_n * BN;
                for (int k = 0; k < steps; k++) {
                    const uint32_t full = base + 8 * slot, at = slots + slot * STAGE;
                    wait(base + 64 + 8 * slot, phase ^ 1);
                    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(full),
                                 "r"(STAGE) : "memory");
                    tma_2d(at, &A, k * 128, m0, full);
                    tma_2d(at + DATA, &B, k * 128, n0, full);
                    tma_3d(at + 2 * DATA, &SFA, 0, k * 4, m0 / 128, full);
                    tma_3d(at + 2 * DATA + SF, &SFB, 0, k * 4, n0 / 128, full);
                    slot = slot + 1 == STAGES ? 0 : slot + 1;
                    phase ^= slot == 0;
                }
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    const int g = lane / 4, q = lane % 4, wm = warp / 2 * 64, wn = warp % 2 * 64;
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
        const int m0 = t / tiles_n * BM, n0 = t % tiles_n * BN;
        float acc[4][8][4] = {};
        for (int k = 0; k < steps; k++) {
            const uint32_t at = slots + slot * STAGE;
            wait(base + 8 * slot, phase);
#pragma unroll
            for (int s = 0; s < 4; s += 2) {
                uint32_t b[8][4];
#pragma unroll
                for (int n = 0; n < 8; n++) {
                    ldmatrix4(b[n], swizzled(at + DATA, wn + n * 8 + lane % 8, s * 2 + lane / 8));
                }
#pragma unroll
                for (int h = 0; h < 2; h++) {
#pragma unroll
                    for (int m = 0; m < 4; m++) {
                        uint32_t a[4];
                        ldmatrix4(a, swizzled(at, wm + m * 16 + lane % 16, (s + h) * 2 + lane / 16));
                        const uint32_t sfa =
                            scale_word(at + 2 * DATA, wm + m * 16 + g + 8 * (q & 1), s + h);
#pragma unroll
                        for (int n = 0; n < 8; n++) {
                            const uint32_t sfb = scale_word(at + 2 * DATA + SF, wn + n * 8 + g, s + h);
                            mma(acc[m][n], a, b[n][2 * h], b[n][2 * h + 1], sfa, sfb);
                        }
                    }
                }
            }
            __syncwarp();
            if (lane == 0) {
                asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(base + 64 + 8 * slot)
                             : "memory");
            }
            slot = slot + 1 == STAGES ? 0 : slot + 1;
            phase ^= slot == 0;
        }
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int r = 0; r < 2; r++) {
                    const int row = m0 + wm + m * 16 + g + 8 * r, col = n0 + wn + n * 8 + 2 * q;
                    if (row < M && col < N) {
                        *reinterpret_cast<__nv_bfloat162 *>(D + static_cast<int64_t>(row) * N + col) =
                            __floats2bfloat162_rn(alpha * acc[m][n][2 * r], alpha * acc[m][n][2 * r + 1]);
                    }
                }
            }
        }
    }
}
