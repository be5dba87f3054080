// Where elements and scales lie: layouts of scale factors, packed codes of a host tensor.
//
// The layouts of one-byte scales, m the scale's row, kb its column, KB columns (hardware.md 2.7,
// kernels.md 2.1):
//   linear     m * KB + kb
//   sf128x4    ((m/128) * ceil(KB/4) + kb/4) * 512 + (m%32) * 16 + (m%128)/32 * 4 + kb%4
//   sf8x4      ((m/8) * ceil(KB/4) + kb/4) * 32 + (m%8) * 4 + kb%4
//   mn_packed  (kb/4 * R4 + m) * 4 + kb%4, R4 the rows rounded up to 4
//   mn_major   kb * R4 + m
// Elements of a plain tensor that has a layout lie by the same formulas, a matrix behind the other.
// Elements of less than a byte fill a row from bit 0 of its first byte.
#include "format.h"
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "codes are copied as stored");

typedef struct {
    const char *name;
    int row_pad, col_pad; // rows and columns are rounded up to these
    int bytes;            // of an element, 0: any
} layout_row;

static const layout_row layouts[FP4_SF_COUNT] = {
#define FP4_LAYOUT(id, name, rows, cols, bytes) [FP4_SF_##id] = {name, rows, cols, bytes},
#include "layout.def"
#undef FP4_LAYOUT
};

const char *fp4_sf_layout_name(fp4_sf_layout layout) {
    return (unsigned)layout < FP4_SF_COUNT ? layouts[layout].name : "unknown";
}

bool rt_layout_holds(fp4_sf_layout layout, int bits) {
    return bits >= 8 && (layouts[layout].bytes == 0 || layouts[layout].bytes * 8 == bits);
}

fp4_status fp4_sf_layout_find(const char *name, fp4_sf_layout *layout) {
    if (!name || !layout) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_sf_layout_find(): NULL argument");
    }
    for (int i = 0; i < FP4_SF_COUNT; i++) {
        if (strcmp(layouts[i].name, name) == 0) {
            *layout = (fp4_sf_layout)i;
            return FP4_OK;
        }
    }
    return rt_fail(FP4_ERROR_NOT_FOUND,
                   "there is no scale layout '%.40s'; known are linear, sf128x4, sf8x4, "
                   "mn_packed, mn_major, gguf",
                   name);
}

int64_t fp4_scale_bytes(fp4_sf_layout layout, int64_t rows, int64_t kblocks) {
    if ((unsigned)layout >= FP4_SF_COUNT || rows < 0 || kblocks < 0) {
        return -1;
    }
    if (layout == FP4_SF_NONE || layout == FP4_SF_GGUF) {
        return 0;
    }
    const layout_row *l = &layouts[layout];
    int64_t bytes;
    if (!rt_mul(rt_ceildiv(rows, l->row_pad), l->row_pad, &rows) ||
        !rt_mul(rt_ceildiv(kblocks, l->col_pad), l->col_pad, &kblocks) ||
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
    case FP4_SF_MN_MAJOR:
        return kb * (rt_ceildiv(rows, 4) * 4) + m;
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
    if (src_bytes < 0 || dst_bytes < 0 || from == FP4_SF_NONE || to == FP4_SF_NONE ||
        from == FP4_SF_GGUF || to == FP4_SF_GGUF) {
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

fp4_status rt_host_check(const fp4_host *host, const char *function, fp4_storage *storage) {
    if (!host) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
    }
    fp4_status status = rt_check_size("fp4_host", host->size, sizeof(fp4_host), sizeof(fp4_host));
    if (status == FP4_OK) {
        status = fp4_storage_of(&host->format, host->rank, host->dims, host->pitch, storage);
    }
    if (status != FP4_OK) {
        return rt_prefix(status, "%s(): ", function);
    }
    if (storage->data_bytes && (!host->data || (storage->scale_bytes && !host->scale))) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): the host tensor has no memory for %s", function,
                       host->data ? "scales" : "data");
    }
    return FP4_OK;
}

static int64_t host_axis(const fp4_host *host, int from_last) {
    return host->rank >= from_last ? host->dims[host->rank - from_last] : 1;
}

static bool in_blocks(const fp4_host *host) {
    return rt_format_scaled(&host->format) && host->format.layout == FP4_SF_GGUF;
}

static int64_t host_pitch(const fp4_host *host) {
    int64_t cols = host_axis(host, 1);
    int64_t elems;
    int64_t bytes;
    if (host->pitch) {
        return host->pitch;
    }
    if (in_blocks(host) && rt_gguf_block(&host->format, &elems, &bytes)) {
        return cols / elems * bytes;
    }
    return (cols * fp4_elem_bits(host->format.elem) + 7) / 8;
}

// The block that holds an element of layout gguf, and which of its granules.
static uint8_t *gguf_block(const fp4_host *host, int64_t row, int64_t col, int64_t *granule) {
    int64_t elems = 0;
    int64_t bytes = 0;
    rt_gguf_block(&host->format, &elems, &bytes);
    *granule = col % elems / host->format.granule_cols;
    return (uint8_t *)host->data + row * host_pitch(host) + col / elems * bytes;
}

// The bytes that hold an element and the bit in the first of them where its code begins.
static uint8_t *element(const fp4_host *host, int64_t row, int64_t col, int bits, int *shift) {
    if (in_blocks(host)) {
        int64_t granule;
        uint8_t *block = gguf_block(host, row, col, &granule);
        int64_t n = host->format.granule_cols; // the granule's elements: n / 2 bytes
        int64_t n_scales = n == 16 ? 4 : 1;
        *shift = col % n < n / 2 ? 0 : 4;
        return block + n_scales + granule * (n / 2) + col % (n / 2);
    }
    if (rt_format_laid(&host->format)) {
        int64_t rows = host_axis(host, 2);
        int64_t cols = host_axis(host, 1);
        fp4_sf_layout layout = host->format.layout;
        int64_t at = row / rows * fp4_scale_bytes(layout, rows, cols) +
                     scale_at(layout, rows, cols, row % rows, col);
        *shift = 0;
        return (uint8_t *)host->data + at * (bits / 8);
    }
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
    *width = (size_t)fp4_elem_bits(format->scale) / 8;
    if (format->layout == FP4_SF_GGUF) {
        int64_t granule;
        uint8_t *block = gguf_block(host, row, col, &granule);
        return block + granule;
    }
    int64_t rows = host_axis(host, 2);
    int64_t scale_rows = rt_ceildiv(rows, format->granule_rows);
    int64_t scale_cols = rt_ceildiv(host_axis(host, 1), format->granule_cols);
    int64_t matrix = row / rows;
    int64_t offset = matrix * fp4_scale_bytes(format->layout, scale_rows, scale_cols) +
                     scale_at(format->layout, scale_rows, scale_cols,
                              row % rows / format->granule_rows, col / format->granule_cols);
    return (uint8_t *)host->scale + offset * (int64_t)*width;
}

uint64_t fp4_host_scale_code(const fp4_host *host, int64_t row, int64_t col) {
    size_t width;
    const uint8_t *bytes = scale(host, row, col, &width);
    uint64_t code = 0;
    memcpy(&code, bytes, width);
    bool ggml = host->format.layout == FP4_SF_GGUF && host->format.scale == FP4_ELEM_UE4M3;
    return ggml && code == 0x7f ? 0 : code; // ggml_ue4m3_to_fp32 reads the NaN as 0
}

void fp4_host_set_scale_code(const fp4_host *host, int64_t row, int64_t col, uint64_t code) {
    size_t width;
    uint8_t *bytes = scale(host, row, col, &width);
    memcpy(bytes, &code, width);
}

// ---- from one packing to another ----------------------------------------------------------------

static fp4_status check_same(const fp4_host *from, const fp4_host *to) {
    bool same = from->rank == to->rank;
    for (int i = 0; i < from->rank && same; i++) {
        same = from->dims[i] == to->dims[i];
    }
    if (!same) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_repack(): the tensors have different shapes");
    }
    const fp4_format *a = &from->format;
    const fp4_format *b = &to->format;
    bool scaled = rt_format_scaled(a);
    if (scaled != rt_format_scaled(b) ||
        (scaled && (a->granule_rows % b->granule_rows != 0 || a->granule_cols % b->granule_cols != 0))) {
        char have[FP4_MAX_NAME];
        char want[FP4_MAX_NAME];
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_host_repack(): granules of %s do not consist of whole ones of %s",
                       rt_format_text(a, have), rt_format_text(b, want));
    }
    return FP4_OK;
}

// The code of the same number in another type; false where there is none, *value is the number.
static bool recode(fp4_elem old, fp4_elem new, uint64_t *code, double *value) {
    *value = fp4_decode(old, *code);
    *code = fp4_encode(new, *value);
    double back = fp4_decode(new, *code);
    return back == *value || (*value != *value && back != back);
}

static fp4_status convert(const fp4_host *from, const fp4_host *to, int64_t row, int64_t col) {
    double value;
    uint64_t code = fp4_host_code(from, row, col);
    if (!recode(from->format.elem, to->format.elem, &code, &value)) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_host_repack(): element (%lld, %lld) is %g, which %s cannot hold",
                       (long long)row, (long long)col, value, fp4_elem_name(to->format.elem));
    }
    fp4_host_set_code(to, row, col, code);
    return FP4_OK;
}

// The scale of an element, in another type where that is to be.
static fp4_status copy_scale(const fp4_host *from, const fp4_host *to, int64_t row, int64_t col) {
    fp4_elem old = from->format.scale;
    fp4_elem new = to->format.scale;
    double value;
    uint64_t code = fp4_host_scale_code(from, row, col);
    if (old != new && !recode(old, new, &code, &value)) {
        return rt_fail(
            FP4_ERROR_ARGUMENT,
            "fp4_host_repack(): the scale of element (%lld, %lld) is %g, which %s cannot hold",
            (long long)row, (long long)col, value, fp4_elem_name(new));
    }
    fp4_host_set_scale_code(to, row, col, code);
    return FP4_OK;
}

static fp4_status copy_row(const fp4_host *from, const fp4_host *to, const fp4_storage *s,
                           int64_t row) {
    bool rows = !in_blocks(from) && !in_blocks(to) && !rt_format_laid(&from->format) &&
                !rt_format_laid(&to->format);
    if (from->format.elem == to->format.elem && rows) {
        memcpy((uint8_t *)to->data + row * host_pitch(to),
               (const uint8_t *)from->data + row * host_pitch(from), (size_t)s->row_bytes);
        return FP4_OK;
    }
    fp4_status status = FP4_OK;
    for (int64_t col = 0; col < s->cols && status == FP4_OK; col++) {
        if (from->format.elem == to->format.elem) {
            fp4_host_set_code(to, row, col, fp4_host_code(from, row, col));
        } else {
            status = convert(from, to, row, col);
        }
    }
    return status;
}

fp4_status fp4_host_repack(const fp4_host *from, const fp4_host *to) {
    fp4_storage theirs;
    fp4_storage ours;
    fp4_status status = rt_host_check(from, "fp4_host_repack", &theirs);
    if (status == FP4_OK) {
        status = rt_host_check(to, "fp4_host_repack", &ours);
    }
    if (status == FP4_OK) {
        status = check_same(from, to);
    }
    if (status != FP4_OK || ours.data_bytes == 0) {
        return status;
    }
    memset(to->data, 0, (size_t)ours.data_bytes);
    if (ours.scale_bytes) {
        memset(to->scale, 0, (size_t)ours.scale_bytes);
    }
    int64_t step_rows = rt_format_scaled(&to->format) ? to->format.granule_rows : 1;
    for (int64_t row = 0; row < ours.n_matrices * ours.rows && status == FP4_OK; row++) {
        status = copy_row(from, to, &theirs, row);
        bool first = rt_format_scaled(&to->format) && row % ours.rows % step_rows == 0;
        for (int64_t col = 0; first && status == FP4_OK && col < ours.cols; col += to->format.granule_cols) {
            status = copy_scale(from, to, row, col);
        }
    }
    return status;
}
