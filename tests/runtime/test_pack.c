// Layouts of scales, sizes of storage, packed codes. The expected places come from drawings of the
// layouts (nested loops in memory order), not from the offset formulas.
#include "fp4rt.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    int64_t rows, kblocks;
} shapes[] = {{1, 1},   {1, 4},   {2, 3},   {7, 5},    {8, 4},    {31, 9},
              {127, 2}, {128, 4}, {129, 5}, {300, 32}, {257, 13}, {1, 130}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

// Writes the byte order of a layout as a list of (m, kb), -1 for padding; returns how many bytes.
static int64_t draw(fp4_sf_layout layout, int64_t rows, int64_t kblocks, int64_t (*at)[2]) {
    int64_t n = 0;
    int64_t words = (kblocks + 3) / 4;
#define CELL(row, col)                                                                             \
    do {                                                                                           \
        int64_t cell_row = (row);                                                                  \
        int64_t cell_col = (col);                                                                  \
        int inside = cell_row < rows && cell_col < kblocks;                                        \
        at[n][0] = inside ? cell_row : -1;                                                         \
        at[n][1] = inside ? cell_col : -1;                                                         \
        n++;                                                                                       \
    } while (0)
    switch (layout) {
    case FP4_SF_LINEAR:
        for (int64_t m = 0; m < rows; m++) {
            for (int64_t kb = 0; kb < kblocks; kb++) {
                CELL(m, kb);
            }
        }
        break;
    case FP4_SF_128X4: // atoms of 512 bytes: 32 lines of 4 groups of 4 scales; group g holds row
                       // 32g + line
        for (int64_t tile = 0; tile < (rows + 127) / 128; tile++) {
            for (int64_t word = 0; word < words; word++) {
                for (int64_t line = 0; line < 32; line++) {
                    for (int64_t group = 0; group < 4; group++) {
                        for (int64_t i = 0; i < 4; i++) {
                            CELL(tile * 128 + group * 32 + line, word * 4 + i);
                        }
                    }
                }
            }
        }
        break;
    case FP4_SF_8X4:
        for (int64_t tile = 0; tile < (rows + 7) / 8; tile++) {
            for (int64_t word = 0; word < words; word++) {
                for (int64_t line = 0; line < 8; line++) {
                    for (int64_t i = 0; i < 4; i++) {
                        CELL(tile * 8 + line, word * 4 + i);
                    }
                }
            }
        }
        break;
    case FP4_SF_MN_MAJOR: // a column after the other
        for (int64_t kb = 0; kb < kblocks; kb++) {
            for (int64_t m = 0; m < (rows + 3) / 4 * 4; m++) {
                CELL(m, kb);
            }
        }
        break;
    default: // mn_packed: a column of words after the other
        for (int64_t word = 0; word < words; word++) {
            for (int64_t m = 0; m < (rows + 3) / 4 * 4; m++) {
                for (int64_t i = 0; i < 4; i++) {
                    CELL(m, word * 4 + i);
                }
            }
        }
    }
#undef CELL
    return n;
}

static void layouts_are_as_drawn(void **state) {
    (void)state;
    int64_t(*at)[2] = malloc(sizeof *at * 200000);
    for (int layout = FP4_SF_LINEAR; layout < FP4_SF_GGUF; layout++) {
        for (int s = 0; s < N_SHAPES; s++) {
            int64_t rows = shapes[s].rows;
            int64_t kblocks = shapes[s].kblocks;
            int64_t n = draw((fp4_sf_layout)layout, rows, kblocks, at);
            assert_int_equal(fp4_scale_bytes((fp4_sf_layout)layout, rows, kblocks), n);
            int64_t found = 0;
            for (int64_t i = 0; i < n; i++) {
                if (at[i][0] >= 0) {
                    found++;
                    int64_t offset =
                        fp4_scale_offset((fp4_sf_layout)layout, rows, kblocks, at[i][0], at[i][1]);
                    assert_int_equal(offset, i);
                }
            }
            assert_int_equal(found, rows * kblocks);
            assert_int_equal(fp4_scale_offset((fp4_sf_layout)layout, rows, kblocks, rows, 0), -1);
            assert_int_equal(fp4_scale_offset((fp4_sf_layout)layout, rows, kblocks, 0, kblocks),
                             -1);
            assert_int_equal(fp4_scale_offset((fp4_sf_layout)layout, rows, kblocks, -1, 0), -1);
        }
    }
    free(at);
}

static void relayout_there_and_back(void **state) {
    (void)state;
    for (int from = FP4_SF_LINEAR; from < FP4_SF_GGUF; from++) {
        for (int to = FP4_SF_LINEAR; to < FP4_SF_GGUF; to++) {
            for (int s = 0; s < N_SHAPES; s++) {
                int64_t rows = shapes[s].rows;
                int64_t kblocks = shapes[s].kblocks;
                size_t linear = (size_t)(rows * kblocks);
                size_t n_from = (size_t)fp4_scale_bytes((fp4_sf_layout)from, rows, kblocks);
                size_t n_to = (size_t)fp4_scale_bytes((fp4_sf_layout)to, rows, kblocks);
                uint8_t *plain = malloc(linear);
                uint8_t *a = malloc(n_from);
                uint8_t *b = malloc(n_to);
                uint8_t *back = malloc(linear);
                for (size_t i = 0; i < linear; i++) {
                    plain[i] = (uint8_t)(rand() % 255 + 1);
                }
                memset(b, 0xee, n_to);
                assert_int_equal(
                    fp4_relayout(FP4_SF_LINEAR, plain, (fp4_sf_layout)from, a, rows, kblocks),
                    FP4_OK);
                assert_int_equal(
                    fp4_relayout((fp4_sf_layout)from, a, (fp4_sf_layout)to, b, rows, kblocks),
                    FP4_OK);
                assert_int_equal(
                    fp4_relayout((fp4_sf_layout)to, b, FP4_SF_LINEAR, back, rows, kblocks), FP4_OK);
                assert_memory_equal(plain, back, linear);
                size_t zeros = 0;
                for (size_t i = 0; i < n_to; i++) {
                    zeros += b[i] == 0;
                }
                assert_int_equal(zeros, n_to - linear); // the padding, and nothing else
                free(plain);
                free(a);
                free(b);
                free(back);
            }
        }
    }
    uint8_t byte = 0;
    assert_int_equal(fp4_relayout(FP4_SF_NONE, &byte, FP4_SF_LINEAR, &byte, 1, 1),
                     FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_relayout(FP4_SF_LINEAR, &byte, FP4_SF_GGUF, &byte, 1, 1),
                     FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_relayout(FP4_SF_LINEAR, NULL, FP4_SF_LINEAR, &byte, 1, 1),
                     FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_relayout(FP4_SF_LINEAR, &byte, FP4_SF_LINEAR, &byte, -1, 1),
                     FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_relayout(FP4_SF_LINEAR, NULL, FP4_SF_128X4, NULL, 0, 5), FP4_OK);
    assert_int_equal(fp4_scale_bytes(FP4_SF_128X4, INT64_MAX, 1), -1);
    assert_int_equal(fp4_scale_bytes(FP4_SF_LINEAR, INT64_MAX / 2, 4), -1);
}

static void storage_sizes(void **state) {
    (void)state;
    fp4_format f;
    fp4_storage s;
    assert_int_equal(fp4_format_find("nvfp4", &f), FP4_OK);
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){300, 520}, 0, &s), FP4_OK);
    assert_int_equal(s.row_bytes, 260);
    assert_int_equal(s.data_bytes, 300 * 260);
    assert_int_equal(s.scale_rows, 300);
    assert_int_equal(s.scale_cols, 33);
    assert_int_equal(s.scale_bytes, 384 * 36);
    // a batch: every matrix has its own block of scales
    assert_int_equal(fp4_storage_of(&f, 4, (int64_t[]){2, 3, 5, 33}, 32, &s), FP4_OK);
    assert_int_equal(s.n_matrices, 6);
    assert_int_equal(s.row_bytes, 17);
    assert_int_equal(s.data_bytes, 6 * 5 * 32);
    assert_int_equal(s.scale_matrix_bytes, 512);
    assert_int_equal(s.scale_bytes, 6 * 512);
    f.layout = FP4_SF_LINEAR;
    f.granule_rows = 128;
    f.granule_cols = 128;
    f.scale = FP4_ELEM_F32;
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){129, 300}, 0, &s), FP4_OK);
    assert_int_equal(s.scale_bytes, 2 * 3 * 4);
    assert_int_equal(fp4_format_find("e2m3", &f), FP4_OK);
    assert_int_equal(fp4_storage_of(&f, 1, (int64_t[]){5}, 0, &s), FP4_OK);
    assert_int_equal(s.data_bytes, 4); // 30 bits
    assert_int_equal(fp4_storage_of(&f, 0, NULL, 0, &s), FP4_OK);
    assert_int_equal(s.data_bytes, 1);
    assert_int_equal(fp4_format_find("i64", &f), FP4_OK);
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){0, 7}, 0, &s), FP4_OK);
    assert_int_equal(s.data_bytes, 0);
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){INT64_MAX, 7}, 0, &s), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_storage_of(&f, 6, (int64_t[]){1, 1, 1, 1, 1, 1}, 0, &s),
                     FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){2, 7}, 55, &s), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){2, 7}, 56, &s), FP4_OK);
    f.layout = FP4_SF_8X4; // of bytes
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){2, 7}, 0, &s), FP4_ERROR_ARGUMENT);
    fp4_format_find("mxfp8", &f);
    f.granule_cols = 0;
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){2, 7}, 0, &s), FP4_ERROR_ARGUMENT);
    fp4_format_find("mxfp8", &f);
    f.layout = FP4_SF_NONE;
    assert_int_equal(fp4_storage_of(&f, 2, (int64_t[]){2, 7}, 0, &s), FP4_ERROR_ARGUMENT);
}

static void names(void **state) {
    (void)state;
    char text[FP4_MAX_NAME];
    fp4_format f;
    static const char *const known[] = {"nvfp4",      "mxfp4",          "mxfp8",
                                        "mxfp8_e5m2", "e2m1",           "bf16",
                                        "i64",        "e4m3*f32/1x128", "e4m3*ue8m0/128x128"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(fp4_format_find(known[i], &f), FP4_OK);
        assert_string_equal(fp4_format_name(&f, text), known[i]);
    }
    assert_int_equal(fp4_format_find("nvfp5", &f), FP4_ERROR_NOT_FOUND);
    static const char *const wrong[] = {"e4m3*f32/1x128 ",
                                        "e4m3*f32/0x128",
                                        "e4m3*f32/1x-1",
                                        "e4m3*bf16/1x16",
                                        "e9m3*f32/1x128",
                                        "e4m3*f32/1",
                                        "e4m3*f32/1x1000000",
                                        "",
                                        "*"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(fp4_format_find(wrong[i], &f), FP4_ERROR_NOT_FOUND);
    }
    f = (fp4_format){FP4_ELEM_E4M3, FP4_ELEM_F32, 128, 128, FP4_SF_LINEAR};
    assert_string_equal(fp4_format_name(&f, text), "e4m3*f32/128x128");
    fp4_sf_layout layout;
    for (int i = 0; i < FP4_SF_COUNT; i++) {
        assert_int_equal(fp4_sf_layout_find(fp4_sf_layout_name((fp4_sf_layout)i), &layout), FP4_OK);
        assert_int_equal(layout, i);
    }
    for (int i = 0; i < FP4_ELEM_COUNT; i++) {
        fp4_elem elem;
        assert_int_equal(fp4_elem_find(fp4_elem_name((fp4_elem)i), &elem), FP4_OK);
        assert_int_equal(elem, i);
    }
    for (int i = 0; i < FP4_STATUS_COUNT; i++) {
        assert_true(strlen(fp4_status_name((fp4_status)i)) > 1);
    }
}

// Every code of a tensor on its own: what is set is read back, and no neighbour changes.
static void codes(void **state) {
    (void)state;
    static const fp4_elem elems[] = {FP4_ELEM_E2M1, FP4_ELEM_E3M2, FP4_ELEM_E4M3,
                                     FP4_ELEM_BF16, FP4_ELEM_F32,  FP4_ELEM_I64};
    for (size_t e = 0; e < sizeof elems / sizeof elems[0]; e++) {
        enum { ROWS = 6, COLS = 13 };
        fp4_format f = {elems[e], FP4_ELEM_UE4M3, 1, 4, FP4_SF_8X4};
        fp4_host h;
        fp4_storage s;
        assert_int_equal(fp4_host_init(&h, &f, 3, (int64_t[]){2, ROWS / 2, COLS}), FP4_OK);
        h.pitch = 120;
        assert_int_equal(fp4_storage_of(&f, 3, h.dims, h.pitch, &s), FP4_OK);
        h.data = calloc(1, (size_t)s.data_bytes);
        h.scale = calloc(1, (size_t)s.scale_bytes);
        uint64_t mask = fp4_elem_bits(elems[e]) == 64
                            ? ~UINT64_C(0)
                            : (UINT64_C(1) << fp4_elem_bits(elems[e])) - 1;
        uint64_t want[ROWS][COLS];
        uint8_t want_scale[ROWS][(COLS + 3) / 4];
        for (int pass = 0; pass < 2000; pass++) {
            int row = rand() % ROWS;
            int col = rand() % COLS;
            if (pass < ROWS * COLS) {
                row = pass / COLS;
                col = pass % COLS;
            }
            want[row][col] = ((uint64_t)rand() << 33 ^ (uint64_t)rand()) & mask;
            want_scale[row][col / 4] = (uint8_t)rand();
            fp4_host_set_code(&h, row, col, want[row][col] | ~mask);
            fp4_host_set_scale_code(&h, row, col, want_scale[row][col / 4]);
        }
        for (int row = 0; row < ROWS; row++) {
            for (int col = 0; col < COLS; col++) {
                assert_true(fp4_host_code(&h, row, col) == want[row][col]);
                assert_int_equal(fp4_host_scale_code(&h, row, col), want_scale[row][col / 4]);
            }
            const uint8_t *bytes = (const uint8_t *)h.data + row * 120;
            for (int64_t i = s.row_bytes; i < 120; i++) {
                assert_int_equal(bytes[i], 0);
            }
            if (elems[e] == FP4_ELEM_E2M1) { // the low nibble is the even element
                assert_int_equal(bytes[2], want[row][4] | want[row][5] << 4);
            }
        }
        free(h.data);
        free(h.scale);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_are_as_drawn),
        cmocka_unit_test(relayout_there_and_back),
        cmocka_unit_test(storage_sizes),
        cmocka_unit_test(names),
        cmocka_unit_test(codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
