// Values of a whole host tensor: decoding, encoding and the block quantisers.
//
// Rules (hardware.md 1.3, kernels.md 2.3), in single precision as the device kernels compute:
//   ue4m3 and f32 scales   g = 448 * max / amax(tensor) unless given (f32: 1);
//                          sf = encode(g * amax(block) / max), q = encode(x * g / sf)
//   ue8m0 scales           sf = 2^e by the rule that was asked for, q = encode(x / sf), exact
//   division
// max is the largest number of the element type. A block whose scale is 0 holds zeros.
// FP4_ARITH_KERNEL (mach_quantise of the compiler; f32 scales as DeepGEMM's host code):
//   ue4m3 scales           sf = encode(amax * (1 / (max * hs))), q = encode(x * (1 / (sf * hs)))
//   ue8m0 scales           sf = encode(amax * (1 / max)), q = encode(x / sf)
//   f32 scales             sf = amax / max, q = encode(x * (1 / sf))
#include "format.h"
#include <math.h>
#include <string.h>

fp4_status fp4_host_decode(const fp4_host *host, double *values) {
    fp4_storage s;
    fp4_status status = rt_host_check(host, "fp4_host_decode", &s);
    if (status != FP4_OK) {
        return status;
    }
    if (!values && s.data_bytes) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_decode(): NULL argument");
    }
    const fp4_format *format = &host->format;
    for (int64_t row = 0; row < s.n_matrices * s.rows; row++) {
        double scale = 1;
        for (int64_t col = 0; col < s.cols; col++) {
            if (rt_format_scaled(format) && col % format->granule_cols == 0) {
                scale = fp4_decode(format->scale, fp4_host_scale_code(host, row, col));
            }
            double x = fp4_decode(format->elem, fp4_host_code(host, row, col));
            values[row * s.cols + col] = x * scale;
        }
    }
    return FP4_OK;
}

// One granule of a matrix: rows row0.., columns col0.., cut off at the matrix' edge.
typedef struct {
    int64_t row0, row1; // counted through the batch
    int64_t col0, col1;
} block;

typedef struct {
    const fp4_host *host;
    const float *x; // dense
    int64_t cols;
    float global;
    fp4_quantize_options options;
} quantizer;

static float block_amax(const quantizer *z, const block *b) {
    float amax = z->options.amax_floor;
    for (int64_t row = b->row0; row < b->row1; row++) {
        for (int64_t col = b->col0; col < b->col1; col++) {
            amax = fmaxf(amax, fabsf(z->x[row * z->cols + col]));
        }
    }
    return amax;
}

static float elem_max(fp4_elem elem) {
    return (float)fp4_decode(elem, fp4_encode(elem, 0x1p1000));
}

static bool as_kernel(const quantizer *z) {
    return z->options.arith == FP4_ARITH_KERNEL;
}

// The scale's code for a block of that amax.
static uint64_t scale_code(const quantizer *z, float amax) {
    const fp4_format *format = &z->host->format;
    float max = elem_max(format->elem);
    if (as_kernel(z) && format->scale == FP4_ELEM_UE4M3) {
        float factor = 1 / (max * z->global);
        return fp4_encode(format->scale, amax * factor);
    }
    if (as_kernel(z) && format->scale == FP4_ELEM_UE8M0) {
        float factor = 1 / max;
        return fp4_encode(format->scale, amax * factor);
    }
    if (format->scale != FP4_ELEM_UE8M0) {
        return fp4_encode(format->scale, z->global * amax / max);
    }
    if (z->options.mx_rule == FP4_MX_CEIL || amax == 0) {
        return fp4_encode(FP4_ELEM_UE8M0, amax / max);
    }
    return fp4_encode(FP4_ELEM_UE8M0, ldexp(1.0, ilogbf(amax) - ilogbf(max)));
}

// What is rounded to the element's code.
static double scaled(const quantizer *z, float x, double scale) {
    fp4_elem type = z->host->format.scale;
    if (type == FP4_ELEM_UE8M0) {
        return (double)x / scale;
    }
    if (as_kernel(z)) { // of a scale 0 the signs stay
        float unit = (float)scale * (type == FP4_ELEM_UE4M3 ? z->global : 1);
        float factor = unit == 0 ? 0 : 1 / unit;
        return x * factor;
    }
    return scale == 0 ? 0 : x * z->global / (float)scale;
}

// Of E2M1: the smaller of two codes at the same distance.
static uint64_t element_code(const quantizer *z, double q) {
    static const float thresholds[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    if (z->options.ties == FP4_TIES_EVEN) {
        return fp4_encode(z->host->format.elem, q);
    }
    uint64_t code = 0;
    while (code < 7 && fabs(q) > thresholds[code]) {
        code++;
    }
    return code == 0 || q > 0 ? code : code | 8;
}

static void quantize_block(const quantizer *z, const block *b) {
    const fp4_format *format = &z->host->format;
    uint64_t code = scale_code(z, block_amax(z, b));
    double scale = fp4_decode(format->scale, code);
    fp4_host_set_scale_code(z->host, b->row0, b->col0, code);
    for (int64_t row = b->row0; row < b->row1; row++) {
        for (int64_t col = b->col0; col < b->col1; col++) {
            double q = scaled(z, z->x[row * z->cols + col], scale);
            fp4_host_set_code(z->host, row, col, element_code(z, q));
        }
    }
}

static void quantize_matrix(const quantizer *z, int64_t first_row, int64_t rows) {
    int64_t step_rows = z->host->format.granule_rows;
    int64_t step_cols = z->host->format.granule_cols;
    for (int64_t row = 0; row < rows; row += step_rows) {
        for (int64_t col = 0; col < z->cols; col += step_cols) {
            int64_t row1 = rows - row < step_rows ? rows : row + step_rows;
            int64_t col1 = z->cols - col < step_cols ? z->cols : col + step_cols;
            block b = {first_row + row, first_row + row1, col, col1};
            quantize_block(z, &b);
        }
    }
}

static fp4_status check_values(const float *x, int64_t n, float *amax) {
    *amax = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return rt_fail(FP4_ERROR_ARGUMENT,
                           "fp4_quantize(): value %lld is not finite; a block scale cannot hold it",
                           (long long)i);
        }
        *amax = fmaxf(*amax, fabsf(x[i]));
    }
    return FP4_OK;
}

static fp4_status choose_global(quantizer *z, float amax) {
    const fp4_format *format = &z->host->format;
    float given = z->options.global_scale;
    if (!(given >= 0) || isinf(given) || !(z->options.amax_floor >= 0)) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_quantize(): global_scale and amax_floor are finite and not negative");
    }
    if ((unsigned)z->options.arith > FP4_ARITH_KERNEL || (unsigned)z->options.ties > FP4_TIES_LOW ||
        (z->options.ties == FP4_TIES_LOW && format->elem != FP4_ELEM_E2M1)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_quantize(): no such arithmetic, or ties toward zero of "
                                           "elements that are not e2m1 but %s",
                       fp4_elem_name(format->elem));
    }
    if (as_kernel(z) && format->scale == FP4_ELEM_UE4M3 && given == 0) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_quantize(): a kernel is given the global factor; global_scale is 0");
    }
    z->global = 1;
    if (format->scale == FP4_ELEM_UE4M3 && given > 0) {
        z->global = given;
    } else if (format->scale == FP4_ELEM_UE4M3 && amax > 0) {
        float g = elem_max(format->scale) * elem_max(format->elem) / amax;
        z->global = isinf(g) ? 1 : g; // an amax below 2^-117: the blocks become zeros
    }
    return FP4_OK;
}

fp4_status fp4_quantize(const fp4_host *host, const float *values,
                        const fp4_quantize_options *options, float *global_scale) {
    fp4_storage s;
    fp4_status status = rt_host_check(host, "fp4_quantize", &s);
    if (status == FP4_OK && options) {
        status =
            rt_check_size("fp4_quantize_options", options->size,
                          offsetof(fp4_quantize_options, arith), sizeof *options);
    }
    if (status != FP4_OK) {
        return status;
    }
    if (!rt_format_scaled(&host->format)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_quantize(): format %s has no scales",
                       fp4_elem_name(host->format.elem));
    }
    if (!values && s.data_bytes) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_quantize(): NULL argument");
    }
    quantizer z = {.host = host, .x = values, .cols = s.cols};
    z.options = (fp4_quantize_options){.size = sizeof z.options};
    if (options) {
        memcpy(&z.options, options, options->size);
    }
    float amax;
    status = check_values(values, s.n_matrices * s.rows * s.cols, &amax);
    if (status == FP4_OK) {
        status = choose_global(&z, amax);
    }
    if (status != FP4_OK) {
        return status;
    }
    if (s.scale_bytes) {
        memset(host->scale, 0, (size_t)s.scale_bytes);
    }
    for (int64_t matrix = 0; matrix < s.n_matrices; matrix++) {
        quantize_matrix(&z, matrix * s.rows, s.rows);
    }
    if (global_scale) {
        *global_scale = z.global;
    }
    return FP4_OK;
}

fp4_status fp4_host_encode(const fp4_host *host, const double *values) {
    fp4_storage s;
    fp4_status status = rt_host_check(host, "fp4_host_encode", &s);
    if (status != FP4_OK) {
        return status;
    }
    if (rt_format_scaled(&host->format)) {
        return rt_fail(FP4_ERROR_ARGUMENT,
                       "fp4_host_encode(): format %s has block scales; use fp4_quantize",
                       fp4_elem_name(host->format.elem));
    }
    if (!values && s.data_bytes) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_host_encode(): NULL argument");
    }
    for (int64_t row = 0; row < s.n_matrices * s.rows; row++) {
        for (int64_t col = 0; col < s.cols; col++) {
            uint64_t code = fp4_encode(host->format.elem, values[row * s.cols + col]);
            fp4_host_set_code(host, row, col, code);
        }
    }
    return FP4_OK;
}
