// Scales of ragged tensors: every group must lie as a matrix of its own would, in tiles that no other group
// has, within the room that the size promises.
#include "fp4rt.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TILE = 512 };

typedef struct {
    fp4_host host;
    fp4_format format;
    int64_t rows, cols, kblocks;
} matrix;

static matrix make(int64_t rows, int64_t cols) {
    matrix m = {.rows = rows, .cols = cols};
    int64_t dims[2] = {rows, cols};
    assert_int_equal(fp4_format_find("nvfp4", &m.format), FP4_OK);
    m.format.layout = FP4_SF_LINEAR; // any layout of the host's may be packed
    m.kblocks = (cols + 15) / 16;
    m.host = (fp4_host){.size = sizeof m.host};
    assert_int_equal(fp4_host_init(&m.host, &m.format, 2, dims), FP4_OK);
    m.host.data = calloc(1, (size_t)(rows * ((cols + 1) / 2) + 1));
    m.host.scale = calloc(1, (size_t)(rows * m.kblocks + 1));
    for (int64_t i = 0; i < rows * m.kblocks; i++) {
        ((uint8_t *)m.host.scale)[i] = (uint8_t)(1 + i * 37 % 251);
    }
    return m;
}

static void release(matrix *m) {
    free(m->host.data);
    free(m->host.scale);
}

// Group after group by fp4_relayout of its rows alone; returns the tiles of the last one's end.
static int64_t compare(const matrix *m, const int32_t *first, int64_t groups, const uint8_t *bytes, int64_t size) {
    int64_t tile_bytes = (m->kblocks + 3) / 4 * TILE;
    int64_t end = 0;
    for (int64_t g = 0; g < groups; g++) {
        int64_t rows = first[g + 1] - first[g];
        int64_t at = (first[g] + 127 * g) / 128; // the rule that others use too
        int64_t n = fp4_scale_bytes(FP4_SF_128X4, rows, m->kblocks);
        uint8_t *alone = malloc((size_t)n + 1);
        assert_int_equal(fp4_ragged_row(first[g], g), at * 128);
        if (rows > 0) {
            const uint8_t *from = (const uint8_t *)m->host.scale + first[g] * m->kblocks;
            assert_int_equal(fp4_relayout(FP4_SF_LINEAR, from, FP4_SF_128X4, alone, rows, m->kblocks), FP4_OK);
            assert_true(at >= end); // no tile is shared
            assert_true(at * tile_bytes + n <= size);
            assert_memory_equal(bytes + at * tile_bytes, alone, (size_t)n);
            end = at + (rows + 127) / 128;
        }
        free(alone);
    }
    return end;
}

static void check_groups(const int32_t *first, int64_t groups, int64_t rows, int64_t cols) {
    matrix m = make(rows, cols);
    int64_t size = fp4_ragged_scale_bytes(&m.format, rows, cols, groups);
    assert_int_equal(size, (rows + 127 * groups) / 128 * 128 * ((m.kblocks + 3) / 4 * 4));
    uint8_t *bytes = malloc((size_t)size + 8);
    memset(bytes, 0xEE, (size_t)size + 8);
    assert_int_equal(fp4_ragged_pack(&m.host, first, groups, bytes), FP4_OK);
    compare(&m, first, groups, bytes, size);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(bytes[size + i], 0xEE);
    }
    uint8_t *before = malloc((size_t)(rows * m.kblocks) + 1);
    memcpy(before, m.host.scale, (size_t)(rows * m.kblocks));
    for (int64_t g = 0; g < groups; g++) { // the groups' rows come back, others stay
        memset((uint8_t *)m.host.scale + first[g] * m.kblocks, 0, (size_t)((first[g + 1] - first[g]) * m.kblocks));
    }
    assert_int_equal(fp4_ragged_unpack(bytes, first, groups, &m.host), FP4_OK);
    assert_memory_equal(before, m.host.scale, (size_t)(rows * m.kblocks));
    free(before);
    free(bytes);
    release(&m);
}

static void groups_are_matrices(void **state) {
    (void)state;
    check_groups((int32_t[]){0, 300}, 1, 300, 100);
    check_groups((int32_t[]){0, 0, 1, 1, 129, 257, 257}, 6, 257, 64);
    check_groups((int32_t[]){5, 6, 133, 400}, 3, 500, 272); // rows of no group at both ends
    check_groups((int32_t[]){0, 0, 0}, 2, 0, 64);
    check_groups(NULL, 0, 3, 64);
}

static void any_cut_has_room(void **state) {
    (void)state;
    uint32_t x = 1;
    for (int round = 0; round < 300; round++) {
        int32_t first[41] = {0};
        int64_t groups = 1 + round % 40;
        for (int64_t g = 0; g < groups; g++) {
            x = x * 1664525u + 1013904223u;
            static const int32_t lengths[] = {0, 1, 127, 128, 129, 1};
            first[g + 1] = first[g] + (x >> 28 < 6 ? lengths[x >> 28] : (int32_t)(x >> 24) % 61);
        }
        matrix m = make(first[groups], 16);
        int64_t size = fp4_ragged_scale_bytes(&m.format, m.rows, m.cols, groups);
        uint8_t *bytes = malloc((size_t)size + 1);
        assert_int_equal(fp4_ragged_pack(&m.host, first, groups, bytes), FP4_OK);
        assert_true(compare(&m, first, groups, bytes, size) * TILE <= size);
        free(bytes);
        release(&m);
    }
}

static void refusals(void **state) {
    (void)state;
    uint8_t bytes[4096];
    matrix m = make(10, 64);
    assert_int_equal(fp4_ragged_pack(&m.host, (int32_t[]){0, 4, 3}, 2, bytes), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "offset 3 of group 2 is not within 4 .. 10"));
    assert_int_equal(fp4_ragged_pack(&m.host, (int32_t[]){0, 11}, 1, bytes), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_ragged_pack(&m.host, NULL, 1, bytes), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_ragged_pack(&m.host, (int32_t[]){0, 10}, -1, bytes), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_ragged_pack(&m.host, (int32_t[]){0, 10}, 1, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_ragged_unpack(NULL, (int32_t[]){0, 10}, 1, &m.host), FP4_ERROR_ARGUMENT);
    m.host.rank = 1;
    assert_int_equal(fp4_ragged_pack(&m.host, (int32_t[]){0, 10}, 1, bytes), FP4_ERROR_UNSUPPORTED);
    assert_int_equal(fp4_ragged_scale_bytes(&m.format, -1, 64, 1), -1);
    assert_int_equal(fp4_ragged_scale_bytes(&m.format, 1, 64, INT64_MAX / 2), -1);
    release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_matrices),
        cmocka_unit_test(any_cut_has_room),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
