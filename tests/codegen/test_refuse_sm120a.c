// Role programs that the sm_120a recipes cannot spell come back as a sentence with X101: a good role
// program is planned from source, one of its numbers is changed, and the sentence must name it.
#include "mma.h"
#include "refuse.h"

static const char source[] =
    "use std.formats;\n"
    "kernel g<BM = 128, BN = 128, BK = 256>(A : nvfp4[M, K], B : nvfp4[N, K],\n"
    "    D : out nvfp4[M, N], alpha : f32, hs : f32)\n"
    "where N % 64 == 0, K % 32 == 0\n"
    "{\n"
    "    tile m:BM of M, n:BN of N {\n"
    "        let acc = zero f32[m, n];\n"
    "        for k:BK of K\n"
    "            acc[m, n] += A[m, k] * B[n, k];\n"
    "        D[m, n] = nvfp4(alpha * acc[m, n], hs);\n"
    "    }\n"
    "}\n"
    "schedule g on sm_120a {\n"
    "    pipe A, B : 2 in smem; role load : 4 warps regs 40 { A, B };\n"
    "    role math : 8 warps regs 232 { acc, D } pingpong 2;\n"
    "}\n";

static tir_role *math(tir_kernel *k) {
    return &k->roles[k->accs[0].role];
}

static void nothing(tir_kernel *k) {
    (void)k;
}
static void hopper(tir_kernel *k) {
    k->arch = ARCH_SM90A;
}
static void cluster(tir_kernel *k) {
    k->cluster = 2;
    k->cluster_loop = 0;
}
static void threads(tir_kernel *k) {
    k->threads = 1040;
}
static void odd_rows(tir_kernel *k) {
    k->accs[0].rows = 120;
}
static void odd_columns(tir_kernel *k) {
    k->accs[0].cols = 24;
}
static void cut_k(tir_kernel *k) {
    k->mmas[0].k_elems = 96;
}
static void short_rows(tir_kernel *k) {
    k->operands[k->mmas[0].a].row_bytes = 16;
}
static void no_scales(tir_kernel *k) {
    k->operands[k->mmas[0].b].scale = -1;
}
static void clc(tir_kernel *k) {
    k->walk.kind = WALK_CLC;
}
static void budgets(tir_kernel *k) {
    k->wg_regs[math(k)->first_warp / 4] = 200;
}
static void narrow_store(tir_kernel *k) {
    k->stores[0].warp_cols = 8;
}
static void no_tile(tir_kernel *k) {
    math(k)->frag = FRAG_NONE;
}
static void constant(tir_kernel *k) {
    k->stores[0].value->kind = TX_CONST;
    k->stores[0].value->n_args = 0;
}
static void ragged_scale(tir_kernel *k) {
    static tir_axis axes[2];
    tir_expr *e = k->stores[0].value->args[0];
    *e = (tir_expr){.kind = TX_SCALE, .type = ELEM_F32, .ref = 0, .n_axes = 2, .axes = axes};
    k->params[0].groups = k->params[0].dims[0];
}
static void transposed(tir_kernel *k) {
    tir_axis last = k->stores[0].axes[1];
    k->stores[0].axes[1] = k->stores[0].axes[0];
    k->stores[0].axes[0] = last;
}
static void halved(tir_kernel *k) {
    k->stores[0].axes[1].div = 2;
}
static void swiglu(tir_kernel *k) {
    k->stores[0].value->kind = TX_CALL;
    k->stores[0].value->builtin = BI_SWIGLU;
    k->stores[0].value->args[0] = k->stores[0].value->args[1];
    k->stores[0].value->n_args = 1;
}
static void multicast(tir_kernel *k) {
    k->channels[0].release_mask = 3;
}

static const refuse_case cases[] = {
    {"as planned", NULL, nothing},
    {"hopper", "sm_90a has no MXF4NVF4_4X", hopper},
    {"cluster", "a cluster of 2 CTAs on sm_120a", cluster},
    {"threads", "has 1040 threads; at most 1024", threads},
    {"rows", "accumulator 'acc' of 120 x 128 over 2 x 2 warps", odd_rows},
    {"columns", "accumulator 'acc' of 128 x 24 over 2 x 2 warps", odd_columns},
    {"k step", "the K tile of 'A' has 96 elements; MXF4NVF4_4X takes 64", cut_k},
    {"row bytes", "'A' brings 1 slabs of 16 bytes a row", short_rows},
    {"no scales", "'B' is loaded without the scales", no_scales},
    {"clc turns", "needs a static walk", clc},
    {"budgets", "share a role but not a register budget", budgets},
    {"narrow", "a warp stores 8 columns at once", narrow_store},
    {"no tile", "role 'math' multiplies, but its warps hold no tile", no_tile},
    {"constant", "'D' is made of no accumulator", constant},
    {"ragged scale", "elements of 'A' (nvfp4) cannot be read one by one", ragged_scale},
    {"transposed", "its granules lie along the rows", transposed},
    {"halved", "an index that is not a plain one (times 1, over 2)", halved},
    {"swiglu", "swiglu of single elements is not generated", swiglu},
    {"multicast", "is released in CTAs outside the cluster", multicast},
};

int main(void) {
    return refuse_cases("sm_120a", source, cases, sizeof cases / sizeof cases[0]);
}
