// From any packing to any other: nothing is lost on the way, ggml's blocks hold the numbers that
// ggml reads from them, and what cannot be carried is refused.
#include "fp4rt.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    fp4_host host;
    fp4_storage storage;
} packing;

static packing new_packing(const char *format, fp4_sf_layout layout, const int64_t dims[3],
                           int64_t extra_pitch) {
    packing p;
    fp4_format f;
    assert_int_equal(fp4_format_find(format, &f), FP4_OK);
    f.layout = layout;
    assert_int_equal(fp4_host_init(&p.host, &f, 3, dims), FP4_OK);
    assert_int_equal(fp4_storage_of(&f, 3, dims, 0, &p.storage), FP4_OK);
    p.host.pitch = p.storage.row_bytes + extra_pitch;
    assert_int_equal(fp4_storage_of(&f, 3, dims, p.host.pitch, &p.storage), FP4_OK);
    p.host.data = malloc((size_t)p.storage.data_bytes + 1);
    p.host.scale = malloc((size_t)p.storage.scale_bytes + 1);
    memset(p.host.data, 0xee, (size_t)p.storage.data_bytes);
    memset(p.host.scale, 0xee, (size_t)p.storage.scale_bytes);
    return p;
}

static void free_packing(packing *p) {
    free(p->host.data);
    free(p->host.scale);
}

static void randomise(packing *p) {
    for (int64_t i = 0; i < p->storage.data_bytes; i++) {
        ((uint8_t *)p->host.data)[i] = (uint8_t)rand();
    }
    for (int64_t i = 0; i < p->storage.scale_bytes; i++) {
        ((uint8_t *)p->host.scale)[i] = (uint8_t)(rand() % 127);
    }
}

static void there_and_back(void **state) {
    (void)state;
    static const char *const formats[] = {"nvfp4", "mxfp4", "mxfp8"};
    static const int64_t dims[] = {2, 37, 192};
    for (int f = 0; f < 3; f++) {
        packing plain = new_packing(formats[f], FP4_SF_LINEAR, dims, 0);
        packing back = new_packing(formats[f], FP4_SF_LINEAR, dims, 0);
        randomise(&plain);
        for (int i = FP4_SF_LINEAR; i < (f < 2 ? FP4_SF_COUNT : FP4_SF_GGUF); i++) {
            for (int j = FP4_SF_LINEAR; j < (f < 2 ? FP4_SF_COUNT : FP4_SF_GGUF); j++) {
                packing a = new_packing(formats[f], (fp4_sf_layout)i, dims, 7 * (i % 2));
                packing b = new_packing(formats[f], (fp4_sf_layout)j, dims, 5 * (j % 2));
                memset(back.host.data, 0xee, (size_t)back.storage.data_bytes);
                assert_int_equal(fp4_host_repack(&plain.host, &a.host), FP4_OK);
                assert_int_equal(fp4_host_repack(&a.host, &b.host), FP4_OK);
                assert_int_equal(fp4_host_repack(&b.host, &back.host), FP4_OK);
                assert_memory_equal(plain.host.data, back.host.data, plain.storage.data_bytes);
                assert_memory_equal(plain.host.scale, back.host.scale, plain.storage.scale_bytes);
                free_packing(&a);
                free_packing(&b);
            }
        }
        free_packing(&plain);
        free_packing(&back);
    }
}

// ggml's numbers (ggml-quants.c, dequantize_row_nvfp4 and _mxfp4): doubled elements, halved scales.
static const int doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static double half_ue4m3(uint8_t x) {
    int exponent = x >> 3 & 15;
    int mantissa = x & 7;
    return x == 0x7f       ? 0
           : exponent == 0 ? ldexp(mantissa, -10)
                           : ldexp(1 + mantissa / 8.0, exponent - 8);
}

static void ggml_reads(const uint8_t *block, int n_scales, int granule, double *out) {
    for (int s = 0; s < n_scales; s++) {
        double d = granule == 16 ? half_ue4m3(block[s]) : ldexp(1, block[s] - 128);
        for (int j = 0; j < granule / 2; j++) {
            uint8_t byte = block[n_scales + s * granule / 2 + j];
            out[s * granule + j] = doubled[byte & 15] * d;
            out[s * granule + j + granule / 2] = doubled[byte >> 4] * d;
        }
    }
}

static void ggml_agrees(void **state) {
    (void)state;
    enum { ROWS = 5, COLS = 256 };
    static const int64_t dims[] = {1, ROWS, COLS};
    for (int nv = 0; nv < 2; nv++) {
        int elems = nv ? 64 : 32;
        int bytes = nv ? 36 : 17;
        packing p = new_packing(nv ? "nvfp4" : "mxfp4", FP4_SF_GGUF, dims, 0);
        assert_int_equal(p.storage.data_bytes, ROWS * COLS / elems * bytes);
        assert_int_equal(p.storage.scale_bytes, 0);
        for (int i = 0; i < p.storage.data_bytes; i++) {
            // a scale with its highest bit is none that ggml writes
            ((uint8_t *)p.host.data)[i] =
                (uint8_t)(i % bytes < (nv ? 4 : 1) ? rand() % 128 : rand());
        }
        ((uint8_t *)p.host.data)[0] = 0x7f; // NaN of ue4m3
        double have[ROWS * COLS];
        double want[64];
        assert_int_equal(fp4_host_decode(&p.host, have), FP4_OK);
        for (int i = 0; i < ROWS * COLS / elems; i++) {
            ggml_reads((const uint8_t *)p.host.data + i * bytes, nv ? 4 : 1, nv ? 16 : 32, want);
            for (int j = 0; j < elems; j++) {
                assert_true(have[i * elems + j] == want[j]);
            }
        }
        // and what the quantiser writes into blocks is what it writes elsewhere
        packing q = new_packing(nv ? "nvfp4" : "mxfp4", FP4_SF_128X4, dims, 0);
        float x[ROWS * COLS];
        double other[ROWS * COLS];
        for (int i = 0; i < ROWS * COLS; i++) {
            x[i] = (float)(rand() % 4001 - 2000) / 77;
        }
        assert_int_equal(fp4_quantize(&p.host, x, NULL, NULL), FP4_OK);
        assert_int_equal(fp4_quantize(&q.host, x, NULL, NULL), FP4_OK);
        assert_int_equal(fp4_host_decode(&p.host, have), FP4_OK);
        assert_int_equal(fp4_host_decode(&q.host, other), FP4_OK);
        assert_memory_equal(have, other, sizeof have);
        free_packing(&p);
        free_packing(&q);
    }
}

// DeepSeek's f32 scales, one for 128 x 128 elements, linear and by columns.
static void wide_scales(void **state) {
    (void)state;
    static const int64_t dims[] = {2, 300, 400};
    fp4_format f = {FP4_ELEM_E4M3, FP4_ELEM_F32, 128, 128, FP4_SF_LINEAR};
    fp4_host a, b;
    assert_int_equal(fp4_host_init(&a, &f, 3, dims), FP4_OK);
    f.layout = FP4_SF_MN_MAJOR;
    assert_int_equal(fp4_host_init(&b, &f, 3, dims), FP4_OK);
    fp4_storage s;
    assert_int_equal(fp4_storage_of(&f, 3, dims, 0, &s), FP4_OK);
    assert_int_equal(s.scale_bytes, 2 * 4 * 4 * 4); // 3 rows of scales padded to 4, 4 columns
    a.data = malloc((size_t)s.data_bytes);
    b.data = malloc((size_t)s.data_bytes);
    float scales[2][3][4];
    float columns[2][4][4];
    a.scale = scales;
    b.scale = columns;
    for (int i = 0; i < 24; i++) {
        scales[i / 12][i / 4 % 3][i % 4] = (float)rand();
    }
    memset(a.data, 0x38, (size_t)s.data_bytes);
    assert_int_equal(fp4_host_repack(&a, &b), FP4_OK);
    for (int i = 0; i < 2; i++) {
        for (int m = 0; m < 4; m++) {
            for (int k = 0; k < 4; k++) {
                assert_true(columns[i][k][m] == (m < 3 ? scales[i][m][k] : 0));
            }
        }
    }
    free(a.data);
    free(b.data);
}

static void other_elements(void **state) {
    (void)state;
    static const int64_t dims[] = {1, 3, 64};
    packing four = new_packing("mxfp4", FP4_SF_LINEAR, dims, 0);
    packing eight = new_packing("mxfp8", FP4_SF_128X4, dims, 0);
    packing back = new_packing("mxfp4", FP4_SF_GGUF, dims, 0);
    double x[3 * 64];
    double y[3 * 64];
    randomise(&four);
    assert_int_equal(fp4_host_repack(&four.host, &eight.host), FP4_OK);
    assert_int_equal(fp4_host_repack(&eight.host, &back.host), FP4_OK);
    assert_int_equal(fp4_host_decode(&four.host, x), FP4_OK);
    assert_int_equal(fp4_host_decode(&eight.host, y), FP4_OK);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(fp4_host_decode(&back.host, y), FP4_OK);
    assert_memory_equal(x, y, sizeof x);
    fp4_host_set_code(&eight.host, 2, 5, 0x39); // 1.125
    assert_int_equal(fp4_host_repack(&eight.host, &back.host), FP4_ERROR_ARGUMENT);
    assert_string_equal(fp4_last_error(),
                        "fp4_host_repack(): element (2, 5) is 1.125, which e2m1 cannot hold");
    free_packing(&four);
    free_packing(&eight);
    free_packing(&back);
}

static void refusals(void **state) {
    (void)state;
    packing a = new_packing("nvfp4", FP4_SF_LINEAR, (int64_t[]){1, 3, 64}, 0);
    packing b = new_packing("mxfp4", FP4_SF_LINEAR, (int64_t[]){1, 3, 64}, 0);
    packing c = new_packing("nvfp4", FP4_SF_LINEAR, (int64_t[]){3, 1, 64}, 0);
    fp4_storage s;
    assert_int_equal(fp4_host_repack(&a.host, &b.host), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "nvfp4 @ linear do not consist of whole ones of mxfp4"));
    assert_int_equal(fp4_host_repack(&a.host, &c.host), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "different shapes"));
    assert_int_equal(fp4_host_repack(NULL, &a.host), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_host_repack(&a.host, NULL), FP4_ERROR_ARGUMENT);
    void *scale = c.host.scale;
    c.host.scale = NULL;
    assert_int_equal(fp4_host_repack(&c.host, &a.host), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "no memory for scales"));
    c.host.scale = scale;
    a.host.size = 3;
    assert_int_equal(fp4_host_repack(&a.host, &a.host), FP4_ERROR_ARGUMENT);
    fp4_format f = a.host.format;
    f.layout = FP4_SF_GGUF;
    assert_int_equal(fp4_storage_of(&f, 1, (int64_t[]){96}, 0, &s), FP4_ERROR_ARGUMENT);
    assert_string_equal(fp4_last_error(), "a row of 96 elements does not fill ggml's blocks of 64");
    f.elem = FP4_ELEM_E4M3;
    assert_int_equal(fp4_storage_of(&f, 1, (int64_t[]){96}, 0, &s), FP4_ERROR_UNSUPPORTED);
    assert_string_equal(fp4_last_error(),
                        "ggml has blocks of nvfp4 and mxfp4, not of e4m3*ue4m3/1x16");
    free_packing(&a);
    free_packing(&b);
    free_packing(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(ggml_agrees),
        cmocka_unit_test(wide_scales),    cmocka_unit_test(other_elements),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
