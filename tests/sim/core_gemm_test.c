// The two complete kernels of the hardware handbook, run by the simulator under every policy and
// compared bit for bit with a plain-C composition of the tensor core's definition, on random
// elements and random scales.
#include "core_util.h"
#include "num_ref.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 128, K_TILES = 3, K = 256 * K_TILES };

static uint32_t nibble(const uint8_t *p, size_t i) {
    return p[i / 2] >> (i % 2 * 4) & 15;
}

// Byte of the scale of row m, block kb in the 128 x 4 image.
static size_t scale_at(size_t m, size_t kb) {
    return kb / 4 * 512 + m % 32 * 16 + m / 32 * 4 + kb % 4;
}

static void random_scales(struct rng *r, uint8_t *sf, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sf[i] = (uint8_t)rng_below(r, 0x7F); // every finite one, subnormals and 0 too
    }
}

struct problem {
    uint8_t a[ROWS * K / 2], b[ROWS * K / 2], sfa[ROWS * K / 16], sfb[ROWS * K / 16];
    uint32_t d[ROWS * ROWS];
};

static uint32_t reference(const struct problem *p, size_t m, size_t n) {
    uint32_t acc = 0;
    for (size_t k = 0; k < K; k += 64) {
        uint32_t a[64];
        uint32_t b[64];
        uint8_t sa[4];
        uint8_t sb[4];
        for (size_t i = 0; i < 64; i++) {
            a[i] = nibble(p->a, m * K + k + i);
            b[i] = nibble(p->b, n * K + k + i);
        }
        for (size_t i = 0; i < 4; i++) {
            sa[i] = p->sfa[scale_at(m, k / 16 + i)];
            sb[i] = p->sfb[scale_at(n, k / 16 + i)];
        }
        acc = ref_gst(NUM_UE4M3, 16, a, b, acc, sa, sb);
    }
    return acc;
}

static void make_map(sim *s, uint8_t map[128], uint64_t address) {
    uint64_t dim[2] = {K / 2, ROWS};
    uint64_t stride[1] = {K / 2};
    uint32_t box[2] = {128, 128};
    sim_tensormap t = {.dtype = 0,
                       .rank = 2,
                       .address = address,
                       .dim = dim,
                       .stride = stride,
                       .box = box,
                       .swizzle = 3};
    if (sim_tensormap_encode(s, map, &t) != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
}

static void run_sm100(sim_policy policy, uint64_t seed) {
    static struct problem p;
    struct rng r = {seed + 1};
    rng_bytes(&r, p.a, sizeof p.a);
    rng_bytes(&r, p.b, sizeof p.b);
    random_scales(&r, p.sfa, sizeof p.sfa);
    random_scales(&r, p.sfb, sizeof p.sfb);
    sim_module *m;
    sim *s = open_file(PTX_DIR "/nvfp4_sm100.ptx", &m);
    uint8_t map[2][128];
    make_map(s, map[0], upload(s, p.a, sizeof p.a));
    make_map(s, map[1], upload(s, p.b, sizeof p.b));
    uint64_t sfa = upload(s, p.sfa, sizeof p.sfa);
    uint64_t sfb = upload(s, p.sfb, sizeof p.sfb);
    uint64_t d = sim_alloc(s, sizeof p.d);
    uint32_t tiles = K_TILES;
    float alpha = 0.5f;
    void *params[] = {map[0], map[1], &sfa, &sfb, &d, &tiles, &alpha};
    launch(s, m, "nvfp4",
           &(sim_launch_config){.block = {256},
                                .dynamic_smem = 73984,
                                .params = params,
                                .policy = policy,
                                .seed = seed});
    assert_int_equal(sim_copy_from(s, p.d, d, sizeof p.d), SIM_OK);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < ROWS; j++) {
            uint32_t want = num_bits(num_f32(reference(&p, i, j)) * alpha);
            if (p.d[i * ROWS + j] != want) {
                fail_msg("d[%zu][%zu] = %08x, %08x expected", i, j, p.d[i * ROWS + j], want);
            }
        }
    }
    sim_stats st;
    sim_get_stats(s, &st);
    assert_int_equal(st.macs, (uint64_t)ROWS * ROWS * K);
    assert_int_equal(st.tma_bytes, (uint64_t)K_TILES * 36864);
    sim_close(s);
}

static void sm100_eager(void **state) {
    (void)state;
    run_sm100(SIM_EAGER, 1);
}

static void sm100_lazy(void **state) {
    (void)state;
    run_sm100(SIM_LAZY, 2);
}

static void sm100_random(void **state) {
    (void)state;
    for (uint64_t seed = 3; seed < 8; seed++) {
        run_sm100(SIM_RANDOM, seed);
    }
}

// The fragment kernel reads its operands from shared memory, which nobody fills: it is preceded by
// code that copies them from global memory, one word a lane and pass.
static const char prologue[] =
    " .reg .b32 z<4>; .reg .b64 y<4>; .reg .pred q;\n"
    " ld.param.u64 y0, [SRC]; mov.u32 z0, %tid.x; shl.b32 z0, z0, 2;\n"
    "COPY: cvt.u64.u32 y1, z0; add.u64 y1, y1, y0; ld.global.u32 z1, [y1];\n"
    " mov.u32 z2, smem; add.u32 z2, z2, z0; st.shared.u32 [z2], z1;\n"
    " add.u32 z0, z0, 128; setp.lt.u32 q, z0, 896; @q bra COPY; bar.warp.sync -1;\n";

static char *with_prologue(void) {
    size_t n;
    char *text = read_text(PTX_DIR "/nvfp4_sm120.ptx", &n);
    assert_non_null(text);
    char *out = malloc(n + sizeof prologue + 64);
    const char *param = strstr(text, ".param .u64 D");
    const char *body = strchr(text, '{');
    assert_non_null(param);
    assert_non_null(body);
    size_t at = (size_t)(param - text);
    memcpy(out, text, at);
    strcpy(out + at, ".param .u64 SRC, ");
    strncat(out, param, (size_t)(body + 1 - param));
    strcat(out, "\n");
    strcat(out, prologue);
    strcat(out, body + 1);
    free(text);
    return out;
}

static void sm120_fragment(void **state) {
    (void)state;
    char *text = with_prologue();
    sim_module *m;
    sim *s = open_with(text, &m);
    free(text);
    struct rng r = {9};
    for (int round = 0; round < 20; round++) {
        uint8_t image[896];
        rng_bytes(&r, image, sizeof image);
        random_scales(&r, image + 768, 128);
        uint64_t src = upload(s, image, sizeof image);
        uint64_t d = sim_alloc(s, 512);
        void *params[] = {&src, &d};
        launch(s, m, "frag",
               &(sim_launch_config){.block = {32}, .dynamic_smem = 1024, .params = params});
        uint32_t out[16][8];
        assert_int_equal(sim_copy_from(s, out, d, sizeof out), SIM_OK);
        for (size_t i = 0; i < 16; i++) {
            for (size_t j = 0; j < 8; j++) {
                uint32_t a[64];
                uint32_t b[64];
                for (size_t k = 0; k < 64; k++) {
                    a[k] = nibble(image + 32 * i, k);
                    b[k] = nibble(image + 512 + 32 * j, k);
                }
                uint32_t want =
                    ref_gst(NUM_UE4M3, 16, a, b, 0, image + 768 + 4 * i, image + 832 + 4 * j);
                assert_int_equal(out[i][j], want);
            }
        }
    }
    sim_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sm100_eager),
        cmocka_unit_test(sm100_lazy),
        cmocka_unit_test(sm100_random),
        cmocka_unit_test(sm120_fragment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
