// How fast the simulator is: a mixed arithmetic and shared memory loop in warp instructions a
// second, and the tensor core GEMM of the handbook in multiply-adds a second. Prints the numbers
// and fails only when they are far below what the design needs.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char loop_ptx[] =
    ".version 8.8\n.target sm_100a\n.address_size 64\n"
    ".visible .entry loop(.param .u64 out, .param .u32 n)\n{\n"
    " .reg .pred %p<4>; .reg .b32 %r<32>; .reg .f32 %f<8>; .reg .b64 %d<4>;\n"
    " .shared .align 16 .b8 buffer[4096];\n"
    " mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2; mov.u32 %r3, buffer; add.u32 %r4, %r3, %r2;\n"
    " st.shared.u32 [%r4], %r1; mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f3F000000; mov.u32 %r5, 0;\n"
    " ld.param.u32 %r6, [n]; mov.u32 %r10, %r1;\n"
    "LOOP:\n"
    " ld.shared.u32 %r7, [%r4]; add.u32 %r8, %r7, %r5; xor.b32 %r9, %r8, %r10; shl.b32 %r11, %r9, "
    "1;\n"
    " fma.rn.f32 %f1, %f1, %f2, %f2; mad.lo.u32 %r10, %r11, 3, %r8; and.b32 %r12, %r10, 255;\n"
    " fma.rn.f32 %f3, %f1, %f2, %f1; lop3.b32 %r13, %r12, %r11, %r9, 0x96; add.f32 %f1, %f3, %f2;\n"
    " st.shared.u32 [%r4], %r13; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, %r6; @%p1 bra LOOP;\n"
    " ld.param.u64 %d1, [out]; mul.wide.u32 %d2, %r1, 4; add.u64 %d1, %d1, %d2; cvt.rzi.u32.f32 "
    "%r14, %f1;\n"
    " add.u32 %r14, %r14, %r13; st.global.u32 [%d1], %r14; ret;\n}\n";

static void mixed_loop(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(loop_ptx, &m);
    uint64_t out = sim_alloc(s, 1024);
    uint32_t n = 100000;
    void *params[] = {&out, &n};
    launch(s, m, "loop", &(sim_launch_config){.block = {256}, .params = params});
    sim_stats st;
    sim_get_stats(s, &st);
    double rate = (double)st.warp_instructions / (double)st.ns * 1e3;
    printf("mixed loop: %.1f M warp instructions a second (%llu in %.0f ms)\n", rate,
           (unsigned long long)st.warp_instructions, (double)st.ns / 1e6);
    assert_true(rate > 8);
    sim_close(s);
}

// 1024 x 1024 x 1024 NVFP4, tile by tile with the handbook's kernel.
static void gemm_sm100(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_file(PTX_DIR "/nvfp4_sm100.ptx", &m);
    size_t bytes = 1024 * 512;
    uint8_t *data = malloc(bytes);
    struct rng r = {1};
    rng_bytes(&r, data, bytes);
    uint64_t a = upload(s, data, bytes);
    for (size_t i = 0; i < bytes; i++) {
        data[i] &= 0x77; // finite scales
    }
    uint64_t sf = upload(s, data, bytes);
    free(data);
    uint64_t d = sim_alloc(s, 128 * 128 * 4);
    uint32_t tiles = 4;
    float alpha = 1;
    uint64_t ns = 0;
    uint64_t macs = 0;
    for (uint64_t tile = 0; tile < 64; tile++) {
        uint8_t map[2][128];
        for (int side = 0; side < 2; side++) {
            uint64_t dim[2] = {512, 128};
            uint64_t stride[1] = {512};
            uint32_t box[2] = {128, 128};
            uint64_t at = a + (side == 0 ? tile / 8 : tile % 8) * 128 * 512;
            sim_tensormap t = {
                .rank = 2, .address = at, .dim = dim, .stride = stride, .box = box, .swizzle = 3};
            assert_int_equal(sim_tensormap_encode(s, map[side], &t), SIM_OK);
        }
        void *params[] = {map[0], map[1], &sf, &sf, &d, &tiles, &alpha};
        launch(s, m, "nvfp4",
               &(sim_launch_config){.block = {256}, .dynamic_smem = 73984, .params = params});
        sim_stats st;
        sim_get_stats(s, &st);
        ns += st.ns;
        macs += st.macs;
    }
    printf("nvfp4 1024^3 on sm_100a: %.0f ms, %.2f GMAC/s\n", (double)ns / 1e6,
           (double)macs / (double)ns);
    assert_true(ns < 20000000000u);
    sim_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(mixed_loop), cmocka_unit_test(gemm_sm100)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
