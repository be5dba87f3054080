// sm_100a kernels from source to simulator, bit for bit against plain C: every instruction kind,
// one CTA and pairs, clusters that share operands, tiles that start inside a tile of scales, all
// walks, every output format, tails in every dimension.
#include "gemm_trial.h"

#include <math.h>

static float with_bias(float acc, float alpha, float bias, float c) {
    (void)c;
    float scaled = alpha * acc;
    return fmaxf(scaled + bias, 0);
}
static float with_rest(float acc, float alpha, float bias, float c) {
    (void)bias;
    float scaled = alpha * acc;
    return scaled + c;
}
// Largest outside the tensor, where the accumulator is 0: those elements must not set a scale (900 is
// a little more than twice the largest e4m3).
static float under(float acc, float alpha, float bias, float c) {
    (void)bias;
    (void)c;
    float scaled = alpha * acc;
    return 900.0f - fabsf(scaled);
}
static const gemm_epilogue peak = {"900.0 - abs(alpha * acc[m, n])", under};
static const gemm_epilogue bias_relu = {"relu(alpha * acc[m, n] + bias[n])", with_bias};
static const gemm_epilogue residual = {"alpha * acc[m, n] + f32(C[m, n])", with_rest};

// D^T = B A^T: the N side of the source feeds the M side of the instruction. A warp's box of D has its
// columns in lines of 32 elements.
static void swap(tir_kernel *k) {
    tir_mma *m = &k->mmas[0];
    tir_acc *acc = &k->accs[0];
    int a = m->a, row_loop = acc->row_loop;
    m->a = m->b;
    m->b = a;
    acc->row_loop = acc->col_loop;
    acc->col_loop = row_loop;
    if (k->stores[0].via_smem) {
        tir_map *map = &k->maps[k->stores[0].map];
        map->box[0] = 32;
        map->box[1] = k->stores[0].warp_cols;
        map->swizzle = map->elem_bytes == 1   ? SWZ_32B
                       : map->elem_bytes == 2 ? SWZ_64B
                                              : SWZ_128B;
    }
}

#define PAIR "cluster 2 along m; mma tcgen05.pair; "
static const gemm_variant variants[] = {
    {"gemm.tk", "nvfp4", "nvfp4", 256, 256, 256,
     PAIR "walk clc raster n by 8; pipe A, B : 5 in smem; pipe acc : 2 in tmem overlap;"
          "store D via smem by 64 x 2;",
     600, 520, 544, 0, 0},
    {"one tile", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk static;", 128, 128, 256, 0, 0},
    {"static", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk static raster n by 2;", 300, 520,
     800, 0, 0},
    {"clc alone", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; walk clc;", 300, 520, 288, 0, 0},
    {"64 wide", "nvfp4", "nvfp4", 128, 64, 256, "mma tcgen05;", 200, 200, 320, 0, 0},
    {"192 wide", "nvfp4", "nvfp4", 128, 192, 256, "mma tcgen05; pipe acc : 2 in tmem;", 200, 584,
     320, 0, 0},
    {"96 wide", "nvfp4", "nvfp4", 128, 96, 256, "mma tcgen05;", 128, 584, 256, 0, 0},
    {"pair 192", "nvfp4", "nvfp4", 256, 192, 256, PAIR "walk clc;", 300, 584, 320, 0, 0},
    {"pair 64", "nvfp4", "nvfp4", 256, 64, 256, PAIR "walk static;", 300, 200, 320, 0, 0},
    {"two slabs", "nvfp4", "nvfp4", 128, 128, 512, "mma tcgen05;", 200, 136, 1056, 0, 0},
    {"half slab", "nvfp4", "nvfp4", 128, 128, 128, "mma tcgen05;", 200, 136, 288, 0, 0},
    {"mxfp4", "mxfp4", "mxfp4", 128, 128, 256, "mma tcgen05;", 200, 264, 544, 0, 0},
    {"mxfp4 pair", "mxfp4", "mxfp4", 256, 256, 256, PAIR "walk clc;", 300, 264, 544, 0, 0},
    {"mxfp8", "mxfp8", "mxfp8", 128, 128, 128, "mma tcgen05;", 200, 264, 416, 0, 0},
    {"mxfp8 pair", "mxfp8", "mxfp8", 256, 192, 256, PAIR "walk clc;", 300, 400, 416, 0, 0},
    {"fp8", "e4m3", "e4m3", 128, 128, 128, "mma tcgen05;", 200, 264, 416, 0, 0},
    {"bf16", "bf16", "bf16", 128, 256, 64, "mma tcgen05; pipe acc : 2 in tmem;", 200, 264, 208, 0,
     0},
    {"bf16 pair", "bf16", "bf16", 256, 256, 64, PAIR "walk static;", 300, 264, 208, 0, 0},
    {"along m", "nvfp4", "nvfp4", 256, 128, 256, "cluster 2 along m; mma tcgen05; walk clc;", 600,
     264, 544, 0, 0},
    {"along n", "nvfp4", "nvfp4", 128, 192, 256, "cluster 2 along n; mma tcgen05; walk static;",
     200, 584, 544, 0, 0},
    {"fp8 mixed", "e5m2", "e4m3", 128, 128, 128, "mma tcgen05;", 200, 136, 208, 0, 0},
    {"long k", "nvfp4", "nvfp4", 256, 256, 256,
     PAIR "walk clc raster n by 2; pipe A, B : 3 in smem; pipe acc : 2 in tmem overlap;", 300, 520,
     2080, 0, 0},
    {"k 0", "nvfp4", "nvfp4", 256, 256, 256,
     PAIR "walk clc; pipe acc : 2 in tmem overlap;", 300, 264, 0, "bf16", &bias_relu},
    {"any n", "nvfp4", "nvfp4", 128, 64, 256, "mma tcgen05; store D via regs;", 131, 201, 320, "f32",
     &bias_relu},
    {"tiny", "mxfp8", "mxfp8", 256, 128, 128, PAIR "walk clc;", 1, 8, 32, 0, 0},
    {"swapped", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; store D via smem by 64 x 2;", 200,
     264, 320, 0, &bias_relu, false, swap},
    {"swapped f32", "mxfp4", "mxfp4", 128, 128, 256, "mma tcgen05; store D via smem by 32 x 1;", 200,
     264, 320, "f32", &residual, false, swap},
    {"transposed", "mxfp8", "mxfp8", 128, 64, 128, "mma tcgen05;", 208, 264, 320, "e4m3", &residual,
     true, 0},
    {"f16", "f16", "f16", 128, 128, 32, "mma tcgen05;", 200, 136, 176, 0, 0},
    {"bias relu", "nvfp4", "nvfp4", 256, 128, 256, PAIR "walk clc;", 300, 264, 320, "bf16",
     &bias_relu},
    {"residual f32", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05;", 200, 264, 320, "f32",
     &residual},
    {"wide f32", "nvfp4", "nvfp4", 128, 256, 256, "mma tcgen05; store D via smem by 64 x 1;", 200,
     264, 320, "f32", 0},
    {"wide bf16", "nvfp4", "nvfp4", 128, 256, 256, "mma tcgen05; store D via smem by 128 x 1;", 200,
     520, 320, 0, 0},
    {"narrow", "nvfp4", "nvfp4", 128, 256, 256, "mma tcgen05; store D via smem by 16 x 3;", 200,
     520, 320, 0, 0},
    {"no smem", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05; store D via regs;", 200, 264, 320,
     "f16", 0},
    {"to e4m3", "mxfp8", "mxfp8", 128, 128, 128, "mma tcgen05;", 200, 272, 160, "e4m3", &bias_relu},
    {"to nvfp4", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05;", 200, 224, 320, "nvfp4",
     &bias_relu},
    {"to nvfp4 wide", "nvfp4", "nvfp4", 256, 256, 256,
     PAIR "walk clc; store D via smem by 128 x 1;", 300, 416, 256, "nvfp4", 0},
    {"to mxfp8", "nvfp4", "nvfp4", 128, 128, 256, "mma tcgen05;", 200, 304, 320, "mxfp8", &peak},
    {"to mxfp4", "nvfp4", "nvfp4", 256, 256, 256, PAIR "walk clc;", 300, 352, 320, "mxfp4", 0},
};

// An argument picks the variants whose names hold it.
int main(int argc, char **argv) {
    return gemm_trials("sm_100a", variants, sizeof variants / sizeof variants[0],
                       argc > 1 ? argv[1] : NULL);
}
