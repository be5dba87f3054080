// Scales of ragged tensors: rows of one matrix cut in groups, each of which begins with a fresh tile of
// layout sf128x4, so that a group's scales lie as if it were a matrix of its own.
//
// Group g's first row has the scales of row (first[g] + 127 g) / 128 * 128 of the padded rows; there are
// (rows + 127 groups) / 128 * 128 of them. That leaves room for every way to cut the rows: a group takes
// at most 127 rows more than it has.
#include "format.h"

#include <string.h>

enum { TILE_ROWS = 128, SPARE_ROWS = TILE_ROWS - 1 };

int64_t fp4_ragged_row(int64_t first, int64_t group) {
    return (first + SPARE_ROWS * group) / TILE_ROWS * TILE_ROWS;
}

int64_t fp4_ragged_scale_bytes(const fp4_format *format, int64_t rows, int64_t cols, int64_t groups) {
    int64_t spare;
    if (!format || format->granule_cols < 1 || rows < 0 || cols < 0 || groups < 0 ||
        !rt_mul(groups, SPARE_ROWS, &spare) || spare > INT64_MAX - rows) {
        return -1;
    }
    return fp4_scale_bytes(FP4_SF_128X4, (rows + spare) / TILE_ROWS * TILE_ROWS,
                           rt_ceildiv(cols, format->granule_cols));
}

static fp4_status check(const fp4_host *host, const int32_t *first, int64_t groups, const char *function) {
    fp4_storage s;
    fp4_status status = rt_host_check(host, function, &s);
    if (status != FP4_OK) {
        return status;
    }
    if (groups < 0 || (groups > 0 && !first)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): %s", function,
                       groups < 0 ? "a negative number of groups" : "NULL argument");
    }
    const fp4_format *f = &host->format;
    if (host->rank != 2 || (f->scale != FP4_ELEM_UE4M3 && f->scale != FP4_ELEM_UE8M0) || f->granule_rows != 1) {
        char name[FP4_MAX_NAME];
        return rt_fail(FP4_ERROR_UNSUPPORTED,
                       "%s(): a tensor of %d axes in %s; matrices with one-byte scales of single rows have "
                       "ragged ones", function, (int)host->rank, fp4_format_name(f, name));
    }
    int64_t before = 0;
    for (int64_t g = 0; g <= groups && first; g++) {
        if (first[g] < before || first[g] > s.rows) {
            return rt_fail(FP4_ERROR_ARGUMENT, "%s(): offset %lld of group %lld is not within %lld .. %lld",
                           function, (long long)first[g], (long long)g, (long long)before, (long long)s.rows);
        }
        before = first[g];
    }
    return FP4_OK;
}

// Every scale of the groups' rows, from the host tensor to the ragged bytes or back.
static void carry(const fp4_host *host, const int32_t *first, int64_t groups, uint8_t *bytes, bool back) {
    int64_t rows = (host->dims[0] + SPARE_ROWS * groups) / TILE_ROWS * TILE_ROWS;
    int64_t cols = rt_ceildiv(host->dims[1], host->format.granule_cols);
    for (int64_t g = 0; g < groups; g++) {
        int64_t to = fp4_ragged_row(first[g], g);
        for (int64_t row = first[g]; row < first[g + 1]; row++, to++) {
            for (int64_t kb = 0; kb < cols; kb++) {
                uint8_t *at = bytes + fp4_scale_offset(FP4_SF_128X4, rows, cols, to, kb);
                int64_t col = kb * host->format.granule_cols;
                if (back) {
                    fp4_host_set_scale_code(host, row, col, *at);
                } else {
                    *at = (uint8_t)fp4_host_scale_code(host, row, col);
                }
            }
        }
    }
}

fp4_status fp4_ragged_pack(const fp4_host *host, const int32_t *first, int64_t groups, void *scale) {
    fp4_status status = check(host, first, groups, "fp4_ragged_pack");
    int64_t bytes = status == FP4_OK ? fp4_ragged_scale_bytes(&host->format, host->dims[0], host->dims[1], groups) : 0;
    if (status != FP4_OK || bytes == 0) {
        return status;
    }
    if (!scale || bytes < 0) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_ragged_pack(): %s",
                       scale ? "the size of the scales does not fit 63 bits" : "NULL argument");
    }
    memset(scale, 0, (size_t)bytes);
    carry(host, first, groups, scale, false);
    return FP4_OK;
}

fp4_status fp4_ragged_unpack(const void *scale, const int32_t *first, int64_t groups, const fp4_host *host) {
    fp4_status status = check(host, first, groups, "fp4_ragged_unpack");
    if (status == FP4_OK && host->dims[0] > 0 && host->dims[1] > 0) {
        if (!scale) {
            return rt_fail(FP4_ERROR_ARGUMENT, "fp4_ragged_unpack(): NULL argument");
        }
        carry(host, first, groups, (uint8_t *)(uintptr_t)scale, true);
    }
    return status;
}
