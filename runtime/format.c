// Formats by name, and how many bytes a tensor of a format takes.
#include "format.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    fp4_elem elem, scale;
    int32_t rows, cols;
} format_row;

static const format_row known[] = {
#define FP4_FORMAT(name, elem, scale, rows, cols)                                                  \
    {name, FP4_ELEM_##elem, FP4_ELEM_##scale, rows, cols},
#include "format.def"
#undef FP4_FORMAT
};

enum { N_KNOWN = sizeof known / sizeof known[0] };

// "elem*scale/RxC", as fp4_format_name writes it; f32 scales are linear, others sf128x4.
static bool parse_format(const char *name, fp4_format *format) {
    char elem[16];
    char scale[16];
    int rows;
    int cols;
    int end = 0;
    fp4_format f;
    if (strlen(name) >= FP4_MAX_NAME ||
        sscanf(name, "%15[a-z0-9]*%15[a-z0-9]/%5dx%5d%n", elem, scale, &rows, &cols, &end) != 4 ||
        name[end] != 0 || fp4_elem_find(elem, &f.elem) != FP4_OK ||
        fp4_elem_find(scale, &f.scale) != FP4_OK) {
        return false;
    }
    f.granule_rows = rows;
    f.granule_cols = cols;
    f.layout = f.scale == FP4_ELEM_F32 ? FP4_SF_LINEAR : FP4_SF_128X4;
    if (rt_format_check(&f) != FP4_OK) {
        return false;
    }
    *format = f;
    return true;
}

static fp4_status find_format(const char *name, fp4_format *format) {
    for (int i = 0; i < N_KNOWN; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *format = (fp4_format){known[i].elem, known[i].scale, known[i].rows, known[i].cols,
                                   FP4_SF_128X4};
            return FP4_OK;
        }
    }
    fp4_elem elem;
    if (parse_format(name, format)) {
        return FP4_OK;
    }
    if (fp4_elem_find(name, &elem) != FP4_OK) {
        return rt_fail(FP4_ERROR_NOT_FOUND,
                       "there is no format '%.40s'; known are nvfp4, mxfp4, mxfp8, mxfp8_e5m2, the "
                       "element types and what is written like e4m3*f32/128x128",
                       name);
    }
    *format = (fp4_format){elem, FP4_ELEM_NONE, 1, 1, FP4_SF_NONE};
    return FP4_OK;
}

// "NAME" or "NAME @ LAYOUT"; *format is left alone unless it is one.
fp4_status fp4_format_find(const char *name, fp4_format *format) {
    if (!name || !format) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_format_find(): NULL argument");
    }
    char plain[FP4_MAX_NAME];
    fp4_format f;
    const char *at = strstr(name, " @ ");
    if (!at || at - name >= FP4_MAX_NAME) {
        return find_format(name, format);
    }
    snprintf(plain, sizeof plain, "%.*s", (int)(at - name), name);
    fp4_status status = find_format(plain, &f);
    if (status == FP4_OK) {
        status = fp4_sf_layout_find(at + 3, &f.layout);
    }
    if (status == FP4_OK) {
        status = rt_format_check(&f);
    }
    if (status == FP4_OK) {
        *format = f;
    }
    return status;
}

bool rt_format_scaled(const fp4_format *format) {
    return format->scale != FP4_ELEM_NONE;
}

bool rt_format_laid(const fp4_format *format) {
    return format->scale == FP4_ELEM_NONE && format->layout != FP4_SF_NONE && format->layout != FP4_SF_LINEAR;
}

const char *fp4_format_name(const fp4_format *format, char buffer[FP4_MAX_NAME]) {
    if (!rt_format_scaled(format)) {
        snprintf(buffer, FP4_MAX_NAME, "%s", fp4_elem_name(format->elem));
        return buffer;
    }
    for (int i = 0; i < N_KNOWN; i++) {
        if (known[i].elem == format->elem && known[i].scale == format->scale &&
            known[i].rows == format->granule_rows && known[i].cols == format->granule_cols) {
            snprintf(buffer, FP4_MAX_NAME, "%s", known[i].name);
            return buffer;
        }
    }
    snprintf(buffer, FP4_MAX_NAME, "%s*%s/%dx%d", fp4_elem_name(format->elem),
             fp4_elem_name(format->scale), (int)format->granule_rows, (int)format->granule_cols);
    return buffer;
}

const char *rt_format_text(const fp4_format *format, char buffer[FP4_MAX_NAME]) {
    char name[FP4_MAX_NAME];
    fp4_format_name(format, name);
    if (rt_format_scaled(format) || rt_format_laid(format)) {
        snprintf(buffer, FP4_MAX_NAME, "%.46s @ %s", name, fp4_sf_layout_name(format->layout));
    } else {
        snprintf(buffer, FP4_MAX_NAME, "%s", name);
    }
    return buffer;
}

bool rt_format_equal(const fp4_format *a, const fp4_format *b) {
    if (a->elem != b->elem || a->scale != b->scale) {
        return false;
    }
    if (!rt_format_scaled(a)) {
        return rt_format_laid(a) == rt_format_laid(b) && (!rt_format_laid(a) || a->layout == b->layout);
    }
    return a->granule_rows == b->granule_rows && a->granule_cols == b->granule_cols && a->layout == b->layout;
}

// ggml-common.h: block_nvfp4 is 4 scales and 64 elements, block_mxfp4 a scale and 32.
bool rt_gguf_block(const fp4_format *format, int64_t *elems, int64_t *bytes) {
    bool e2m1 = format->elem == FP4_ELEM_E2M1 && format->granule_rows == 1;
    bool nvfp4 = e2m1 && format->scale == FP4_ELEM_UE4M3 && format->granule_cols == 16;
    *elems = nvfp4 ? 64 : 32;
    *bytes = nvfp4 ? 36 : 17;
    return nvfp4 || (e2m1 && format->scale == FP4_ELEM_UE8M0 && format->granule_cols == 32);
}

fp4_status rt_format_check(const fp4_format *format) {
    if ((unsigned)format->elem >= FP4_ELEM_COUNT || format->elem == FP4_ELEM_BOOL) {
        return rt_fail(FP4_ERROR_ARGUMENT, "element type %d (%s) cannot be stored in a tensor",
                       (int)format->elem, fp4_elem_name(format->elem));
    }
    if (rt_format_laid(format) &&
        ((unsigned)format->layout >= FP4_SF_GGUF || !rt_layout_holds(format->layout, fp4_elem_bits(format->elem)))) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "%s elements cannot lie in layout %s: sf128x4, sf8x4 and mn_packed take those of a byte, "
                       "mn_major whole bytes", fp4_elem_name(format->elem), fp4_sf_layout_name(format->layout));
    }
    if (!rt_format_scaled(format)) {
        return FP4_OK;
    }
    if (format->scale != FP4_ELEM_UE4M3 && format->scale != FP4_ELEM_UE8M0 &&
        format->scale != FP4_ELEM_F32) {
        return rt_fail(FP4_ERROR_ARGUMENT, "scale type %d (%s) is none of ue4m3, ue8m0, f32",
                       (int)format->scale, fp4_elem_name(format->scale));
    }
    if (format->granule_rows < 1 || format->granule_cols < 1) {
        return rt_fail(FP4_ERROR_ARGUMENT, "granule [%d,%d] must be positive",
                       (int)format->granule_rows, (int)format->granule_cols);
    }
    if (format->layout <= FP4_SF_NONE || format->layout >= FP4_SF_COUNT) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "scale layout %d of a scaled format is none of linear, "
                       "sf128x4, sf8x4, mn_packed, mn_major, gguf",
                       (int)format->layout);
    }
    if (format->scale == FP4_ELEM_F32 && format->layout != FP4_SF_LINEAR &&
        format->layout != FP4_SF_MN_MAJOR) {
        return rt_fail(FP4_ERROR_UNSUPPORTED,
                       "f32 scales are stored in layout linear or mn_major, not %s",
                       fp4_sf_layout_name(format->layout));
    }
    int64_t elems;
    int64_t bytes;
    if (format->layout == FP4_SF_GGUF && !rt_gguf_block(format, &elems, &bytes)) {
        char name[FP4_MAX_NAME];
        return rt_fail(FP4_ERROR_UNSUPPORTED, "ggml has blocks of nvfp4 and mxfp4, not of %s",
                       fp4_format_name(format, name));
    }
    return FP4_OK;
}

static fp4_status too_large(void) {
    return rt_fail(FP4_ERROR_ARGUMENT, "the tensor's size in bytes does not fit 63 bits");
}

// Product of all axes but the last two, and those two (an absent axis counts 1).
static fp4_status split_dims(int rank, const int64_t *dims, fp4_storage *s) {
    s->n_matrices = 1;
    s->rows = rank >= 2 ? dims[rank - 2] : 1;
    s->cols = rank >= 1 ? dims[rank - 1] : 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0) {
            return rt_fail(FP4_ERROR_ARGUMENT, "dimension %d is %lld; sizes are not negative", i,
                           (long long)dims[i]);
        }
        if (i < rank - 2 && !rt_mul(s->n_matrices, dims[i], &s->n_matrices)) {
            return too_large();
        }
    }
    return FP4_OK;
}

static fp4_status scale_storage(const fp4_format *format, fp4_storage *s) {
    s->scale_rows = rt_ceildiv(s->rows, format->granule_rows);
    s->scale_cols = rt_ceildiv(s->cols, format->granule_cols);
    s->scale_matrix_bytes = fp4_scale_bytes(format->layout, s->scale_rows, s->scale_cols);
    int64_t width = fp4_elem_bits(format->scale) / 8;
    if (s->scale_matrix_bytes < 0 ||
        !rt_mul(s->scale_matrix_bytes, width, &s->scale_matrix_bytes) ||
        !rt_mul(s->scale_matrix_bytes, s->n_matrices, &s->scale_bytes)) {
        return too_large();
    }
    return FP4_OK;
}

// Elements by a layout: padding included, no pitch.
static fp4_status laid_storage(const fp4_format *format, int64_t pitch, fp4_storage *s) {
    int64_t bytes = fp4_scale_bytes(format->layout, s->rows, s->cols);
    s->pitch = s->row_bytes;
    if (pitch && pitch != s->row_bytes) {
        return rt_fail(FP4_ERROR_ARGUMENT, "a pitch of %lld bytes: rows in layout %s have none",
                       (long long)pitch, fp4_sf_layout_name(format->layout));
    }
    return bytes >= 0 && rt_mul(bytes, fp4_elem_bits(format->elem) / 8, &bytes) &&
                   rt_mul(bytes, s->n_matrices, &s->data_bytes)
               ? FP4_OK
               : too_large();
}

static fp4_status row_storage(const fp4_format *format, fp4_storage *s) {
    int64_t elems;
    int64_t bytes;
    if (format->layout == FP4_SF_GGUF && rt_gguf_block(format, &elems, &bytes)) {
        if (s->cols % elems != 0) {
            return rt_fail(FP4_ERROR_ARGUMENT,
                           "a row of %lld elements does not fill ggml's blocks of %lld",
                           (long long)s->cols, (long long)elems);
        }
        return rt_mul(s->cols / elems, bytes, &s->row_bytes) ? FP4_OK : too_large();
    }
    int64_t bits;
    if (!rt_mul(s->cols, fp4_elem_bits(format->elem), &bits)) {
        return too_large();
    }
    s->row_bytes = rt_ceildiv(bits, 8);
    return FP4_OK;
}

fp4_status fp4_storage_of(const fp4_format *format, int rank, const int64_t *dims, int64_t pitch,
                          fp4_storage *storage) {
    if (!format || !storage || (rank > 0 && !dims)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_storage_of(): NULL argument");
    }
    if (rank < 0 || rank > FP4_MAX_RANK) {
        return rt_fail(FP4_ERROR_ARGUMENT, "rank %d is outside 0 .. %d", rank, FP4_MAX_RANK);
    }
    fp4_status status = rt_format_check(format);
    fp4_storage s = {.size = sizeof s};
    if (status == FP4_OK) {
        status = split_dims(rank, dims, &s);
    }
    if (status == FP4_OK) {
        status = row_storage(format, &s);
    }
    if (status == FP4_OK && rt_format_laid(format)) {
        status = laid_storage(format, pitch, &s);
        if (status == FP4_OK) {
            *storage = s;
        }
        return status;
    }
    if (status != FP4_OK) {
        return status;
    }
    s.pitch = pitch ? pitch : s.row_bytes;
    if (s.pitch < s.row_bytes) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "pitch is %lld bytes, but a row of %lld %s elements takes %lld",
                       (long long)pitch, (long long)s.cols, fp4_elem_name(format->elem),
                       (long long)s.row_bytes);
    }
    if (!rt_mul(s.rows, s.pitch, &s.data_bytes) ||
        !rt_mul(s.data_bytes, s.n_matrices, &s.data_bytes)) {
        return too_large();
    }
    if (rt_format_scaled(format) && (status = scale_storage(format, &s)) != FP4_OK) {
        return status;
    }
    *storage = s;
    return FP4_OK;
}
