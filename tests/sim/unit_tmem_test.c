// Tensor memory moves: the register maps of tcgen05.ld are bijections with the documented corners,
// st is their inverse, and every tcgen05.cp shape lands where the manual's figure puts it.
#include "num_ref.h"
#include "units.h"
#include <stdlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static uint32_t tmem[UNIT_TMEM_COLS][UNIT_TMEM_LANES];
static uint8_t smem[32 * 1024];
static struct unit_cta cta = {.smem = smem, .smem_bytes = sizeof smem, .tmem = tmem};
static uint32_t regs[128][32];
static uint32_t *rows[128];

static void number_cells(void) {
    for (uint32_t c = 0; c < UNIT_TMEM_COLS; c++) {
        for (uint32_t l = 0; l < UNIT_TMEM_LANES; l++) {
            tmem[c][l] = c << 8 | l;
        }
    }
    for (int i = 0; i < 128; i++) {
        rows[i] = regs[i];
    }
}

static const struct {
    enum unit_tmem_shape shape;
    int lanes, cols_per_num, regs_per_num, max;
} forms[] = {{UNIT_T32X32B, 32, 1, 1, 128},
             {UNIT_T16X64B, 16, 2, 1, 128},
             {UNIT_T16X128B, 16, 4, 2, 64},
             {UNIT_T16X256B, 16, 8, 4, 32},
             {UNIT_T16X32BX2, 16, 2, 1, 128}};

// Every cell of the rectangle is read once.
static void test_bijection(void **state) {
    (void)state;
    number_cells();
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (int num = 1; num <= forms[i].max; num *= 2) {
            for (int pack = 0; pack < 2; pack++) {
                struct unit_ldst op = {.shape = forms[i].shape,
                                       .num = num,
                                       .half_split = num,
                                       .pack = pack,
                                       .warp = 6,
                                       .taddr = 64u << 16 | 8};
                int cols = num * forms[i].cols_per_num * (pack ? 2 : 1);
                assert_int_equal(unit_ldst_regs(&op), num * forms[i].regs_per_num);
                assert_int_equal(unit_ldst_cols(&op), cols);
                if (8 + cols > UNIT_TMEM_COLS) {
                    assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_TMEM_RANGE);
                    continue;
                }
                assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_OK);
                static uint8_t seen[UNIT_TMEM_COLS][UNIT_TMEM_LANES];
                memset(seen, 0, sizeof seen);
                for (int r = 0; r < num * forms[i].regs_per_num; r++) {
                    for (int t = 0; t < 32; t++) {
                        uint32_t v = regs[r][t];
                        if (!pack) {
                            seen[v >> 8][v & 255]++;
                        } else { // both halves: neighbouring columns of one lane
                            assert_int_equal((v & 0xFFFF) + 256, v >> 16);
                            seen[(v & 0xFFFF) >> 8][v & 255]++;
                            seen[v >> 24][v & 255]++;
                        }
                    }
                }
                for (int c = 0; c < UNIT_TMEM_COLS; c++) {
                    for (int l = 0; l < UNIT_TMEM_LANES; l++) {
                        bool inside = c >= 8 && c < 8 + cols && l >= 64 && l < 64 + forms[i].lanes;
                        if (!pack) {
                            assert_int_equal(seen[c][l], inside);
                        } else { // a 16-bit value shows the column modulo 256
                            assert_true(!inside || seen[c & 255][l]);
                        }
                    }
                }
            }
        }
    }
}

// 16x256b is the mma accumulator fragment: (t/4 + 8*(r/2%2), 2*(t%4) + r%2 + 8*(r/4)).
static void test_fragment(void **state) {
    (void)state;
    number_cells();
    struct unit_ldst op = {.shape = UNIT_T16X256B, .num = 2, .warp = 1, .taddr = 48u << 16 | 100};
    assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_OK);
    assert_int_equal(regs[0][0], 100 << 8 | 48);
    assert_int_equal(regs[1][5], (100 + 3) << 8 | (48 + 1));
    assert_int_equal(regs[2][31], (100 + 6) << 8 | (48 + 15));
    assert_int_equal(regs[7][30], (100 + 13) << 8 | (48 + 15));
    // The lane field may be left out: the warp's quarter is forced.
    op = (struct unit_ldst){.shape = UNIT_T32X32B, .num = 1, .warp = 7, .taddr = 3};
    assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_OK);
    assert_int_equal(regs[0][2], 3 << 8 | 98);
    op.taddr = 32u << 16;
    assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_TMEM_LANE);
    op.num = 3;
    assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_SHAPE);
}

static void test_store_is_inverse(void **state) {
    (void)state;
    struct ref_random r = {77};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        for (int pack = 0; pack < 2; pack++) {
            struct unit_ldst op = {
                .shape = forms[i].shape, .num = 4, .half_split = 16, .pack = pack, .warp = 2};
            uint32_t in[128][32];
            int n = unit_ldst_regs(&op);
            number_cells();
            for (int k = 0; k < n * 32; k++) {
                in[k / 32][k % 32] = ref_u32(&r);
                regs[k / 32][k % 32] = in[k / 32][k % 32];
            }
            assert_int_equal(unit_tmem_st(&op, &cta, (const uint32_t *const *)rows), UNIT_OK);
            memset(regs, 0, sizeof regs);
            assert_int_equal(unit_tmem_ld(&op, &cta, rows), UNIT_OK);
            assert_memory_equal(regs, in, (size_t)n * 128);
            assert_int_equal(tmem[0][0], 0); // another warp's quarter
            assert_int_equal(tmem[300][64], 300 << 8 | 64);
        }
    }
}

static uint32_t smem_word(uint32_t at) {
    uint32_t v;
    memcpy(&v, smem + at, 4);
    return v;
}

// Image without swizzle: row r at (r % 8) * 16 + (r / 8) * SBO, the second 16 bytes LBO further.
static void test_cp(void **state) {
    (void)state;
    struct ref_random r = {123};
    for (size_t i = 0; i < sizeof smem; i++) {
        smem[i] = (uint8_t)ref_u32(&r);
    }
    uint64_t desc = (2048 >> 4) | (4096ull >> 4) << 16 | (256ull >> 4) << 32 | 1ull << 46;
    for (int shape = 0; shape <= UNIT_CP_4X256B; shape++) {
        number_cells();
        struct unit_cp op = {.shape = (enum unit_cp_shape)shape, .taddr = 40, .desc = desc};
        assert_int_equal(unit_cp(&op, &cta), UNIT_OK);
        int words = shape >= UNIT_CP_128X256B ? 8 : 4;
        for (int lane = 0; lane < 128; lane++) {
            int row = lane;
            bool written = true;
            switch (shape) {
            case UNIT_CP_32X128B_WARPX4:
                row = lane % 32;
                break;
            case UNIT_CP_64X128B_WARPX2_02_13: // rows 0-63 in warps 0,1 and again in 2,3
                row = lane % 64;
                break;
            case UNIT_CP_64X128B_WARPX2_01_23: // rows 0-31 in warps 0 and 1, the rest in 2 and 3
                row = lane % 32 + (lane >= 64 ? 32 : 0);
                break;
            case UNIT_CP_4X256B:
                row = lane / 32;
                written = lane % 32 == 0;
                break;
            default:
                break;
            }
            for (int w = 0; w < 8; w++) {
                uint32_t at =
                    2048 + (uint32_t)(row % 8 * 16 + row / 8 * 256 + w % 4 * 4 + w / 4 * 4096);
                uint32_t old = (uint32_t)(40 + w) << 8 | (uint32_t)lane;
                assert_int_equal(tmem[40 + w][lane], written && w < words ? smem_word(at) : old);
            }
        }
    }
    struct unit_cp op = {.taddr = 510, .desc = desc};
    assert_int_equal(unit_cp(&op, &cta), UNIT_TMEM_RANGE);
    op.taddr = 32u << 16;
    assert_int_equal(unit_cp(&op, &cta), UNIT_TMEM_LANE);
}

static void test_shift(void **state) {
    (void)state;
    number_cells();
    assert_int_equal(unit_tmem_shift(16, &cta), UNIT_OK);
    for (uint32_t lane = 0; lane < 128; lane++) {
        uint32_t from = lane == 127 ? 127 : lane + 1;
        assert_int_equal(tmem[16][lane], 16 << 8 | from);
        assert_int_equal(tmem[23][lane], 23 << 8 | from);
        assert_int_equal(tmem[24][lane], 24 << 8 | lane);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bijection),
                                       cmocka_unit_test(test_fragment),
                                       cmocka_unit_test(test_store_is_inverse),
                                       cmocka_unit_test(test_cp), cmocka_unit_test(test_shift)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
