// sm_120a kernels from source to simulator, bit for bit against plain C: every instruction kind, tile
// shape and warp grid, pingpong and plain, all epilogues and stores, tails in every dimension.
#include "gemm_trial.h"

#include <math.h>

static float with_bias(float acc, float alpha, float bias, float c) {
    (void)c;
    return fmaxf(alpha * acc + bias, 0);
}
static float residual(float acc, float alpha, float bias, float c) {
    float x = acc / 3.0f - c;
    return x > bias ? x : alpha;
}
static const gemm_epilogue bias_relu = {"relu(alpha * acc[m, n] + bias[n])", with_bias};
static const gemm_epilogue select = {
    "(acc[m, n] / 3.0 - f32(C[m, n]) > bias[n]) ? acc[m, n] / 3.0 - f32(C[m, n]) : alpha", residual};

// D^T = B A^T: the N side of the source feeds the M side of the instruction, results leave transposed.
// A warp's box of D has its columns in lines.
static void swap(tir_kernel *k) {
    tir_mma *m = &k->mmas[0];
    tir_acc *acc = &k->accs[0];
    tir_store *s = &k->stores[0];
    int a = m->a, rows = acc->rows, row_loop = acc->row_loop;
    m->a = m->b;
    m->b = a;
    acc->rows = acc->cols;
    acc->cols = rows;
    acc->row_loop = acc->col_loop;
    acc->col_loop = row_loop;
    if (s->via_smem) {
        tir_map *map = &k->maps[s->map];
        int bytes = acc->rows / k->roles[acc->role].warps_m * map->elem_bytes;
        map->box[0] = bytes < 128 ? bytes / map->elem_bytes : 128 / map->elem_bytes;
        map->box[1] = s->warp_cols;
        map->swizzle = bytes >= 128 ? SWZ_128B : bytes == 64 ? SWZ_64B : SWZ_32B;
    }
}

#define PINGPONG                                                                                   \
    "walk static raster n by 2; pipe A, B : 2 in smem; role load : 4 warps regs 40 { A, B };"      \
    "role math : 8 warps regs 232 { acc, D } pingpong 2;"
#define EIGHT "role math : 8 warps regs 232 { acc, D };"
#define FOUR "role math : 4 warps regs 232 { acc, D };"

static const gemm_variant variants[] = {
    {"gemm.tk", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG "store D via smem by 64 x 1;", 300, 520,
     544, 0, 0, false, 0},
    {"one tile", "nvfp4", "nvfp4", 128, 128, 256, FOUR, 128, 128, 256, 0, 0, false, 0},
    {"long k", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG, 200, 392, 2080, 0, 0, false, 0},
    {"64 high", "nvfp4", "nvfp4", 64, 128, 256, FOUR, 200, 264, 544, 0, 0, false, 0},
    {"64 wide", "nvfp4", "nvfp4", 128, 64, 256, PINGPONG, 200, 200, 320, 0, 0, false, 0},
    {"96 wide", "nvfp4", "nvfp4", 128, 96, 256, FOUR "store D via regs;", 200, 392, 320, 0, 0, false, 0},
    {"k 128", "nvfp4", "nvfp4", 128, 128, 128, PINGPONG, 200, 136, 416, 0, 0, false, 0},
    {"k 512", "nvfp4", "nvfp4", 64, 64, 512, FOUR, 136, 136, 1056, 0, 0, false, 0},
    {"k 0", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG, 200, 264, 0, "bf16", &bias_relu, false, 0},
    {"any n", "nvfp4", "nvfp4", 128, 64, 256, FOUR "store D via regs;", 131, 201, 320, "f32",
     &bias_relu, false, 0},
    {"tiny", "mxfp8", "mxfp8", 128, 128, 128, PINGPONG, 1, 8, 32, 0, 0, false, 0},
    {"swapped", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG "store D via smem by 64 x 1;", 200, 264,
     320, 0, &bias_relu, false, swap},
    {"swapped f32", "mxfp4", "mxfp4", 64, 64, 256, FOUR "store D via smem by 64 x 2;", 200, 264,
     320, "f32", &select, false, swap},
    {"swapped fp8", "mxfp8", "mxfp8", 128, 128, 128, FOUR "store D via smem by 64 x 1;", 208, 272,
     320, "e4m3", &select, false, swap},
    {"swapped regs", "bf16", "bf16", 64, 128, 64, FOUR "store D via regs;", 200, 264, 208, "f32", 0,
     false, swap},
    {"transposed fp8", "mxfp8", "mxfp8", 128, 64, 128, FOUR, 208, 264, 320, "e4m3", &select, true, 0},
    {"transposed regs", "nvfp4", "nvfp4", 128, 128, 256, FOUR "store D via regs;", 200, 264, 320,
     "f16", &select, true, 0},
    {"eight warps", "nvfp4", "nvfp4", 128, 128, 256, EIGHT, 200, 264, 544, 0, 0, false, 0},
    {"two stages", "nvfp4", "nvfp4", 128, 64, 256, FOUR "store D via smem by 32 x 2;", 200, 264,
     288, 0, 0, false, 0},
    {"mxfp4", "mxfp4", "mxfp4", 128, 128, 256, PINGPONG, 200, 264, 544, 0, 0, false, 0},
    {"mxfp8", "mxfp8", "mxfp8", 128, 128, 128, PINGPONG, 200, 264, 416, 0, 0, false, 0},
    {"fp8", "e4m3", "e4m3", 128, 128, 128, PINGPONG, 200, 264, 416, 0, 0, false, 0},
    {"fp8 mixed", "e5m2", "e4m3", 128, 64, 128, FOUR, 200, 136, 208, 0, 0, false, 0},
    {"bf16", "bf16", "bf16", 128, 128, 64, PINGPONG, 200, 264, 208, 0, 0, false, 0},
    {"f16", "f16", "f16", 64, 128, 32, FOUR, 136, 136, 176, 0, 0, false, 0},
    {"bias relu", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG, 200, 264, 320, "bf16", &bias_relu, false, 0},
    {"residual f32", "nvfp4", "nvfp4", 128, 64, 256, FOUR, 200, 264, 320, "f32", &select, false, 0},
    {"to f16", "mxfp4", "mxfp4", 128, 128, 256, FOUR "store D via regs;", 200, 264, 320, "f16",
     &bias_relu, false, 0},
    {"to e4m3", "mxfp8", "mxfp8", 128, 128, 128, FOUR, 200, 272, 160, "e4m3", &bias_relu, false, 0},
    {"to nvfp4", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG, 200, 288, 320, "nvfp4", &bias_relu, false, 0},
    {"to mxfp8", "nvfp4", "nvfp4", 128, 128, 256, PINGPONG, 200, 288, 320, "mxfp8", 0, false, 0},
    {"to mxfp4", "nvfp4", "nvfp4", 128, 128, 256, FOUR, 200, 288, 320, "mxfp4", 0, false, 0},
};

// An argument picks the variants whose names hold it.
int main(int argc, char **argv) {
    int n = sizeof variants / sizeof variants[0];
    return gemm_trials("sm_120a", variants, n, argc > 1 ? argv[1] : NULL);
}
