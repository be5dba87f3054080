// Shared memory descriptors: tiles that a tensor copy has swizzled into shared memory come back as
// the matrix rows, for K-major and MN-major operands, every swizzle, every K step, both encodings.
#include "num_ref.h"
#include "units.h"
#include <stdlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#define SMEM_BYTES (64u * 1024)
#define BASE 0x10000ull

static uint8_t gmem[64 * 1024];
static uint8_t smem[SMEM_BYTES];
static struct unit_cta cta = {.smem = smem, .smem_bytes = SMEM_BYTES};

static void *translate(void *user, uint64_t address, uint64_t bytes, bool write) {
    (void)user;
    (void)write;
    return address >= BASE && address + bytes <= BASE + sizeof gmem ? gmem + (address - BASE)
                                                                    : NULL;
}

static void fill(void) {
    struct ref_random r = {31337};
    for (size_t i = 0; i < sizeof gmem; i++) {
        gmem[i] = (uint8_t)ref_u32(&r);
    }
    memset(smem, 0xEE, sizeof smem);
}

// Copies a box of 'rows' rows of 'bytes' bytes from (row0, byte0) of a matrix with this pitch.
static void copy_box(uint32_t to, int swizzle, uint32_t bytes, uint32_t rows, uint64_t pitch,
                     int32_t byte0) {
    uint64_t dim[2] = {pitch, 256};
    uint64_t stride[1] = {pitch};
    uint32_t box[2] = {bytes, rows};
    int32_t coord[2] = {byte0, 0};
    struct unit_tmap_args in = {.dtype = TMAP_U8,
                                .rank = 2,
                                .address = BASE,
                                .dim = dim,
                                .stride = stride,
                                .box = box,
                                .swizzle = swizzle};
    struct sim_tmap map;
    assert_true(unit_tmap_encode(&map, &in, NULL, 0));
    struct unit_tma t = {.map = &map, .rank = 2, .coord = coord, .smem = to};
    struct unit_gmem g = {translate, NULL};
    assert_int_equal(unit_tma_load(&t, &g, &cta), UNIT_OK);
}

static const int tma_modes[4] = {TMAP_SW_NONE, TMAP_SW_32, TMAP_SW_64, TMAP_SW_128};
static const uint32_t widths[4] = {16, 32, 64, 128};
static const uint64_t tcgen05_modes[4] = {0, 6, 4, 2};
static const uint64_t wgmma_modes[4] = {0, 3, 2, 1};

static uint64_t descriptor(bool hopper, int mode, uint32_t start, uint32_t lbo, uint32_t sbo) {
    uint64_t d = (uint64_t)(start >> 4) | (uint64_t)(lbo >> 4) << 16 | (uint64_t)(sbo >> 4) << 32;
    return hopper ? d | wgmma_modes[mode] << 62 : d | 1ull << 46 | tcgen05_modes[mode] << 61;
}

static void read(bool hopper, uint64_t bits, struct unit_fetch *f, uint8_t (*out)[32]) {
    enum unit_status s =
        hopper ? unit_desc_wgmma(&f->desc, bits) : unit_desc_tcgen05(&f->desc, bits);
    assert_int_equal(s, UNIT_OK);
    assert_int_equal(unit_fetch_operand(f, &cta, out), UNIT_OK);
}

// K-major: rows of 'width' bytes; without swizzle one 16-byte column of the matrix a box.
static void test_k_major(void **state) {
    (void)state;
    fill();
    uint8_t out[256][32];
    for (int mode = 0; mode < 4; mode++) {
        for (int rows = 8; rows <= 256; rows *= 2) {
            uint32_t width = widths[mode];
            uint32_t base = 1024 * (uint32_t)(mode + 1);
            uint32_t chunks = mode ? 1 : 4;
            for (uint32_t c = 0; c < chunks; c++) {
                copy_box(base + c * 16 * (uint32_t)rows, tma_modes[mode], width, (uint32_t)rows,
                         128, (int32_t)(16 * c));
            }
            uint32_t lbo = mode ? 16 : 16 * (uint32_t)rows;
            uint32_t k_bytes = mode ? width : 64;
            for (uint32_t k = 0; k < k_bytes; k += 32) {
                uint32_t start = base + (mode ? k : k / 16 * lbo);
                struct unit_fetch f = {.rows = rows, .elem_bytes = 1};
                read(k / 32 % 2, descriptor(k / 32 % 2, mode, start, lbo, 8 * width), &f, out);
                for (int r = 0; r < rows; r++) {
                    assert_memory_equal(out[r], gmem + 128 * r + k, 32);
                }
            }
        }
    }
}

// A descriptor may start at any row of a pattern that lies on absolute addresses.
static void test_row_offset(void **state) {
    (void)state;
    fill();
    copy_box(1024, TMAP_SW_128, 128, 64, 128, 0);
    uint8_t out[32][32];
    for (uint32_t row = 0; row < 8; row++) {
        struct unit_fetch f = {.rows = 8, .elem_bytes = 1};
        read(false, descriptor(false, 3, 1024 + 128 * row + 32, 0, 1024), &f, out);
        for (uint32_t r = 0; r < 8; r++) {
            assert_memory_equal(out[r], gmem + 128 * (row + r) + 32, 32);
        }
    }
}

// MN-major: the matrix is stored k row by k row; boxes of 'width' bytes along M side by side.
static void test_mn_major(void **state) {
    (void)state;
    fill();
    uint8_t out[128][32];
    for (int elem = 1; elem <= 2; elem++) {
        for (int mode = 0; mode < 4; mode++) {
            uint32_t width = widths[mode];
            uint32_t k_rows = 64;
            uint32_t mn = 128; // elements
            uint32_t boxes = mn * (uint32_t)elem / width;
            for (uint32_t b = 0; b < boxes; b++) {
                copy_box(1024 + b * width * k_rows, tma_modes[mode], width, k_rows, 256,
                         (int32_t)(b * width));
            }
            uint32_t apart = width * k_rows; // neighbours along M
            uint32_t group = 8 * width;      // eight k further
            uint32_t k_step = 32 / (uint32_t)elem;
            for (uint32_t k0 = 0; k0 < k_rows; k0 += k_step) {
                uint32_t start = 1024 + k0 / 8 * group;
                bool hopper = k0 & 16;
                struct unit_fetch f = {.rows = (int)mn, .elem_bytes = elem, .mn_major = true};
                uint32_t lbo = mode ? apart : group;
                uint32_t sbo = mode ? group : apart;
                read(hopper, descriptor(hopper, mode, start, lbo, sbo), &f, out);
                for (uint32_t m = 0; m < mn; m++) {
                    for (uint32_t k = 0; k < k_step; k++) {
                        assert_memory_equal(&out[m][k * (uint32_t)elem],
                                            gmem + 256 * (k0 + k) + m * (uint32_t)elem,
                                            (size_t)elem);
                    }
                }
            }
        }
    }
}

static void test_words(void **state) {
    (void)state;
    static const struct {
        uint32_t high;
        enum unit_swizzle swizzle;
        uint32_t sbo;
        bool hopper;
    } rows[] = {{0x40004040, UNIT_SW_128, 1024, false}, {0x80004020, UNIT_SW_64, 512, false},
                {0xC0004010, UNIT_SW_32, 256, false},   {0x00004008, UNIT_SW_NONE, 128, false},
                {0x40000040, UNIT_SW_128, 1024, true},  {0x80000020, UNIT_SW_64, 512, true},
                {0xC0000010, UNIT_SW_32, 256, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bits = (uint64_t)rows[i].high << 32 | 0x00040123u;
        struct unit_desc d;
        assert_int_equal(rows[i].hopper ? unit_desc_wgmma(&d, bits) : unit_desc_tcgen05(&d, bits),
                         UNIT_OK);
        assert_true(d.swizzle == rows[i].swizzle && d.sbo == rows[i].sbo);
        assert_true(d.start == 0x1230 && d.lbo == 64 && d.base_offset == 0);
    }
    struct unit_desc d;
    assert_int_equal(unit_desc_tcgen05(&d, 0x4000004000000000ull), UNIT_DESC_BITS); // no version
    assert_int_equal(unit_desc_wgmma(&d, 0x4000404000000000ull), UNIT_DESC_BITS);
    assert_int_equal(unit_desc_tcgen05(&d, 0x6000404000000000ull), UNIT_DESC_SWIZZLE);
    assert_int_equal(unit_desc_tcgen05(&d, 0x4010404000000000ull), UNIT_DESC_MODE);
    struct unit_fetch f = {.rows = 8, .elem_bytes = 1};
    assert_int_equal(unit_desc_tcgen05(&f.desc, descriptor(false, 3, SMEM_BYTES - 512, 0, 1024)),
                     0);
    uint8_t out[8][32];
    assert_int_equal(unit_fetch_operand(&f, &cta, out), UNIT_SMEM_RANGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_k_major), cmocka_unit_test(test_row_offset),
        cmocka_unit_test(test_mn_major), cmocka_unit_test(test_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
