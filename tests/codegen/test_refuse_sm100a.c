// Role programs that the sm_100a recipes cannot spell come back as a sentence with X101: a good
// role program is planned from source, one of its numbers is changed, and the sentence must name
// it.
#include "mma.h"
#include "refuse.h"

static const char source[] =
    "use std.formats;\n"
    "kernel g<BM = 256, BN = 192, BK = 256>(A : nvfp4[M, K], B : nvfp4[N, K],\n"
    "    D : out bf16[M, N], alpha : f32)\n"
    "where N % 8 == 0, K % 32 == 0\n"
    "{\n"
    "    tile m:BM of M, n:BN of N {\n"
    "        let acc = zero f32[m, n];\n"
    "        for k:BK of K\n"
    "            acc[m, n] += A[m, k] * B[n, k];\n"
    "        D[m, n] = bf16(alpha * acc[m, n]);\n"
    "    }\n"
    "}\n"
    "schedule g on sm_100a { cluster 2 along m; mma tcgen05.pair; walk clc raster n by 8; }\n";

static tir_operand *side_b(tir_kernel *k) {
    return &k->operands[k->mmas[0].b];
}

static tir_role *reader(tir_kernel *k) {
    return &k->roles[k->channels[k->accs[0].channel].to];
}

static void nothing(tir_kernel *k) {
    (void)k;
}
static void no_swizzle(tir_kernel *k) {
    side_b(k)->swizzle = SWZ_NONE;
}
static void short_rows(tir_kernel *k) {
    k->operands[k->mmas[0].a].row_bytes = 64;
}
static void few_scales(tir_kernel *k) {
    side_b(k)->sf_rows = 64;
}
static void half_rows(tir_kernel *k) {
    k->accs[0].rows = 64;
}
static void one_cta_instruction(tir_kernel *k) {
    k->mmas[0].inst_m = 128;
}
static void split_columns(tir_kernel *k) {
    k->mmas[0].inst_n = 96;
}
static void cut_k(tir_kernel *k) {
    k->mmas[0].k_elems = 96;
}
static void fine_scales(tir_kernel *k) {
    k->mmas[0].kind = MMA_MXF4;
    k->mmas[0].k_elems = 64;
}
static void no_scales(tir_kernel *k) {
    side_b(k)->scale = -1;
}
static void scales_of_f8(tir_kernel *k) {
    k->mmas[0].kind = MMA_F8_E4E4;
}
static void crooked_tiles(tir_kernel *k) {
    k->loops[k->accs[0].col_loop].tile = 200;
}
static void other_loop(tir_kernel *k) {
    side_b(k)->sf_loop = k->accs[0].row_loop;
}
static void two_warps(tir_kernel *k) {
    reader(k)->n_warps = 2;
}
static void turns_with_clc(tir_kernel *k) {
    reader(k)->turns = 2;
}
static void odd_staging(tir_kernel *k) {
    k->stores[0].stage_bytes += 512;
}
static void odd_sub_tiles(tir_kernel *k) {
    k->stores[0].sub_cols = 80;
}

static const refuse_case cases[] = {
    {"as planned", NULL, nothing},
    {"no swizzle", "N side operand rows of 128 bytes with swizzle 0", no_swizzle},
    {"row bytes", "M side operand rows of 64 bytes", short_rows},
    {"scale rows", "N side operand of 96 rows with scales of 64", few_scales},
    {"64 rows", "64 rows of 'acc' a CTA", half_rows},
    {"inst_m", "instructions of 128 rows", one_cta_instruction},
    {"inst_n", "192 columns of 'acc' by instructions of 96", split_columns},
    {"k step", "a step of 96 along k is not a number of instructions of 64", cut_k},
    {"granule", "has a scale for 16 elements: MXF4 takes one for 32", fine_scales},
    {"one sided", "MXF4NVF4_4X needs the scales of both operands", no_scales},
    {"unwanted", "F8_E4E4 needs no scales of both operands", scales_of_f8},
    {"tiles of 200", "tiles of 200 rows start inside a group of 32 scale factors", crooked_tiles},
    {"scale loop", "the loop of the scales' rows moves no axis of 'B'", other_loop},
    {"2 warps", "groups of 2 warps: 4 warps cover the 128 rows", two_warps},
    {"turns", "which needs a static walk", turns_with_clc},
    {"sub-tiles", "in sub-tiles of 80 columns", odd_sub_tiles},
    {"staging", "both must be multiples of 1024", odd_staging},
};

int main(void) {
    return refuse_cases("sm_100a", source, cases, sizeof cases / sizeof cases[0]);
}
