// Where elements and scales lie: layouts of scale factors, packed codes of a host tensor.
//
// The layouts of one-byte scales, m the scale's row, kb its column, KB columns (hardware.md 2.7,
// kernels.md 2.1):
//   linear     m * KB + kb
//   sf128x4    ((m/128) * ceil(KB/4) + kb/4) * 512 + (m%32) * 16 + (m%128)/32 * 4 + kb%4
//   sf8x4      ((m/8) * ceil(KB/4) + kb/4) * 32 + (m%8) * 4 + kb%4
//   mn_packed  (kb/4 * R4 + m) * 4 + kb%4, R4 the rows rounded up to 4
// Elements of less than a byte fill a row from bit 0 of its first byte.
#include "format.h"
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "codes are copied as stored");

static const char *const layout_names[FP4_SF_COUNT] = {
    // ORDER sf_layout
    "none", "linear", "sf128x4", "sf8x4", "mn_packed",
};

const char *fp4_sf_layout_name(fp4_sf_layout layout) {
    return (unsigned)layout < FP4_SF_COUNT ? layout_names[layout] : "unknown";
}

fp4_status fp4_sf_layout_find(const char *name, fp4_sf_layout *layout) {
    if (!name || !layout) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_sf_layout_find(): NULL argument");
    }
    for (int i = 0; i < FP4_SF_COUNT; i++) {
        if (strcmp(layout_names[i], name) == 0) {
            *layout = (fp4_sf_layout)i;
            return FP4_OK;
        }
    }
    return rt_fail(FP4_ERROR_NOT_FOUND,
                   "there is no scale layout '%.40s'; known are linear, sf128x4, sf8x4, mn_packed",
                   name);
}

int64_t fp4_scale_bytes(fp4_sf_layout layout, int64_t rows, int64_t kblocks) {
    static const int64_t row_pad[FP4_SF_COUNT] = {1, 1, 128, 8, 4}; // ORDER sf_layout
    if ((unsigned)layout >= FP4_SF_COUNT || rows < 0 || kblocks < 0) {
        return -1;
    }
    if (layout == FP4_SF_NONE) {
        return 0;
    }
    int64_t col_pad = layout == FP4_SF_LINEAR ? 1 : 4;
    int64_t bytes;
    if (!rt_mul(rt_ceildiv(rows, row_pad[layout]), row_pad[layout], &rows) ||
        !rt_mul(rt_ceildiv(kblocks, col_pad), col_pad, &kblocks) ||
        !rt_mul(rows, kblocks, &bytes)) {
        return -1;
    }
    return bytes;
}

static int64_t scale_at(fp4_sf_layout layout, int64_t rows, int64_t kblocks, int64_t m,
                        int64_t kb) {
    int64_t kwords = rt_ceildiv(kblocks, 4);
    switch (layout) {
    case FP4_SF_LINEAR:
        return m * kblocks + kb;
    case FP4_SF_128X4:
        return (m / 128 * kwords + kb / 4) * 512 + m % 32 * 16 + m % 128 / 32 * 4 + kb % 4;
    case FP4_SF_8X4:
        return (m / 8 * kwords + kb / 4) * 32 + m % 8 * 4 + kb % 4;
    case FP4_SF_MN_PACKED:
        return (kb / 4 * (rt_ceildiv(rows, 4) * 4) + m) * 4 + kb % 4;
    default:
        return -1;
    }
}

int64_t fp4_scale_offset(fp4_sf_layout layout, int64_t rows, int64_t kblocks, int64_t m,
                         int64_t kb) {
    if (m < 0 || kb < 0 || m >= rows || kb >= kblocks ||
        fp4_scale_bytes(layout, rows, kblocks) < 0) {
        return -1;
    }
    return scale_at(layout, rows, kblocks, m, kb);
}

fp4_status fp4_relayout(fp4_sf_layout from, const void *src, fp4_sf_layout to, void *dst,
                        int64_t rows, int64_t kblocks) {
    int64_t src_bytes = fp4_scale_bytes(from, rows, kblocks);
    int64_t dst_bytes = fp4_scale_bytes(to, rows, kblocks);
    if (src_bytes < 0 || dst_bytes < 0 || from == FP4_SF_NONE || to == FP4_SF_NONE) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_relayout(): cannot carry %lld x %lld scales from layout %s to %s",
                       (long long)rows, (long long)kblocks, fp4_sf_layout_name(from),
                       fp4_sf_layout_name(to));
    }
    if (dst_bytes == 0) {
        return FP4_OK;
    }
    if (!src || !dst) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_relayout(): NULL argument");
    }
    const uint8_t *in = src;
    uint8_t *out = dst;
    memset(out, 0, (size_t)dst_bytes);
    for (int64_t m = 0; m < rows; m++) {
        for (int64_t kb = 0; kb < kblocks; kb++) {
            out[scale_at(to, rows, kblocks, m, kb)] = in[scale_at(from, rows, kblocks, m, kb)];
        }
    }
    return FP4_OK;
}

// ---- codes of a host tensor ---------------------------------------------------------------------

fp4_status fp4_host_init(fp4_host *host, const fp4_format *format, int rank, const int64_t *dims) {
    if (!host) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_init(): NULL argument");
    }
    fp4_storage storage;
    fp4_status status = fp4_storage_of(format, rank, dims, 0, &storage);
    if (status == FP4_OK) {
        *host = (fp4_host){.size = sizeof *host, .rank = rank, .format = *format};
        for (int i = 0; i < rank; i++) {
            host->dims[i] = dims[i];
        }
    }
    return status;
}

static int64_t host_axis(const fp4_host *host, int from_last) {
    return host->rank >= from_last ? host->dims[host->rank - from_last] : 1;
}

static int64_t host_pitch(const fp4_host *host) {
    return host->pitch ? host->pitch
                       : (host_axis(host, 1) * fp4_elem_bits(host->format.elem) + 7) / 8;
}

// The bytes that hold an element and the bit in the first of them where its code begins.
static uint8_t *element(const fp4_host *host, int64_t row, int64_t col, int bits, int *shift) {
    int64_t bit = col * bits;
    *shift = (int)(bit % 8);
    return (uint8_t *)host->data + row * host_pitch(host) + bit / 8;
}

static uint64_t load_bits(const uint8_t *bytes, int shift, int bits) {
    uint64_t word = 0;
    memcpy(&word, bytes, (size_t)(shift + bits + 7) / 8);
    word >>= shift;
    return bits == 64 ? word : word & ((UINT64_C(1) << bits) - 1);
}

static void store_bits(uint8_t *bytes, int shift, int bits, uint64_t code) {
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    uint64_t word = 0;
    size_t n = (size_t)(shift + bits + 7) / 8;
    memcpy(&word, bytes, n);
    word = (word & ~(mask << shift)) | (code & mask) << shift;
    memcpy(bytes, &word, n);
}

uint64_t fp4_host_code(const fp4_host *host, int64_t row, int64_t col) {
    int bits = fp4_elem_bits(host->format.elem);
    int shift;
    const uint8_t *bytes = element(host, row, col, bits, &shift);
    return load_bits(bytes, shift, bits);
}

void fp4_host_set_code(const fp4_host *host, int64_t row, int64_t col, uint64_t code) {
    int bits = fp4_elem_bits(host->format.elem);
    int shift;
    uint8_t *bytes = element(host, row, col, bits, &shift);
    store_bits(bytes, shift, bits, code);
}

static uint8_t *scale(const fp4_host *host, int64_t row, int64_t col, size_t *width) {
    const fp4_format *format = &host->format;
    int64_t rows = host_axis(host, 2);
    int64_t scale_rows = rt_ceildiv(rows, format->granule_rows);
    int64_t scale_cols = rt_ceildiv(host_axis(host, 1), format->granule_cols);
    int64_t matrix = row / rows;
    int64_t offset = matrix * fp4_scale_bytes(format->layout, scale_rows, scale_cols) +
                     scale_at(format->layout, scale_rows, scale_cols,
                              row % rows / format->granule_rows, col / format->granule_cols);
    *width = (size_t)fp4_elem_bits(format->scale) / 8;
    return (uint8_t *)host->scale + offset * (int64_t)*width;
}

uint64_t fp4_host_scale_code(const fp4_host *host, int64_t row, int64_t col) {
    size_t width;
    const uint8_t *bytes = scale(host, row, col, &width);
    uint64_t code = 0;
    memcpy(&code, bytes, width);
    return code;
}

void fp4_host_set_scale_code(const fp4_host *host, int64_t row, int64_t col, uint64_t code) {
    size_t width;
    uint8_t *bytes = scale(host, row, col, &width);
    memcpy(bytes, &code, width);
}
