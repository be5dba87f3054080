// The arithmetic of runtime/sim/num_dot.c against dot products taken on H200 and B200 GPUs: every
// row of tests/sim/vectors (5,000 a file) must come out bit for bit. Argument: the folder.
#include "num.h"
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#define ROWS 5000

static const char *folder;

// 'words' little-endian words of one file; the caller frees.
static uint32_t *load(const char *gpu, const char *type, const char *what, size_t words) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s_%s_%s.bin.gz", folder, gpu, type, what);
    uint32_t *data = malloc(words * 4);
    gzFile f = gzopen(path, "rb");
    if (!f || !data || gzread(f, data, (unsigned)(words * 4)) != (int)(words * 4)) {
        fail_msg("cannot read %s", path);
    }
    gzclose(f);
    return data;
}

enum path { FUSED, FUSED_NO_ADDEND, LEGACY };

struct vector_set {
    const char *gpu, *type, *d;
    enum num_fmt format;
    int k, frac;
    enum num_out out;
    enum path path;
};

static uint32_t one_row(const struct vector_set *v, const uint32_t *a, const uint32_t *b, float c) {
    struct num_dot p = {.a = v->format,
                        .b = v->format,
                        .k = v->k,
                        .frac = v->frac,
                        .floor = v->out == NUM_OUT_F16 ? -22 : -133,
                        .out = v->out};
    uint32_t x[32];
    uint32_t y[32];
    for (int k = 0; k < v->k; k++) {
        x[k] = num_encode(v->format, num_f32(a[k]), NUM_RN, false);
        y[k] = num_encode(v->format, num_f32(b[k]), NUM_RN, false);
        assert_int_equal(num_bits(num_decode(v->format, x[k])), a[k]);
    }
    uint32_t addend = v->path == FUSED_NO_ADDEND ? 0
                      : v->out == NUM_OUT_F16    ? num_f16_of(c, NUM_RN)
                                                 : num_bits(c);
    uint32_t d = v->path == LEGACY ? num_legacy_fp8(&p, x, y, addend) : num_tfdpa(&p, x, y, addend);
    return v->out == NUM_OUT_F16 ? num_bits(num_of_f16((uint16_t)d)) : d;
}

static void test_set(const struct vector_set *v) {
    uint32_t *a = load(v->gpu, v->type, "a", (size_t)(ROWS * v->k));
    uint32_t *b = load(v->gpu, v->type, "b", (size_t)(ROWS * v->k));
    uint32_t *c = load(v->gpu, v->type, "c", ROWS);
    uint32_t *d = load(v->gpu, v->type, v->d, ROWS);
    int wrong = 0;
    for (int i = 0; i < ROWS; i++) {
        uint32_t got = one_row(v, a + i * v->k, b + i * v->k, num_f32(c[i]));
        wrong += got != d[i] && !((got | d[i]) << 1 == 0); // the sign of zero is not compared
    }
    free(a);
    free(b);
    free(c);
    free(d);
    if (wrong) {
        fail_msg("%s %s %s: %d of %d rows differ", v->gpu, v->type, v->d, wrong, ROWS);
    }
}

static void test_all(void **state) {
    (void)state;
    static const struct vector_set sets[] = {
        {"h200", "bf16", "d_fp32", NUM_BF16, 16, 25, NUM_OUT_F32, FUSED},
        {"b200", "bf16", "d_fp32", NUM_BF16, 16, 25, NUM_OUT_F32, FUSED},
        {"h200", "fp16", "d_fp32", NUM_F16, 16, 25, NUM_OUT_F32, FUSED},
        {"b200", "fp16", "d_fp32", NUM_F16, 16, 25, NUM_OUT_F32, FUSED},
        {"h200", "fp16", "d_fp16", NUM_F16, 16, 25, NUM_OUT_F16, FUSED},
        {"b200", "fp16", "d_fp16", NUM_F16, 16, 25, NUM_OUT_F16, FUSED},
        {"h200", "tf32", "d_fp32", NUM_TF32, 4, 25, NUM_OUT_F32, FUSED},
        {"b200", "tf32", "d_fp32", NUM_TF32, 4, 25, NUM_OUT_F32, FUSED},
        {"h200", "e4m3", "d_fp32", NUM_E4M3, 32, 13, NUM_OUT_E8M13, FUSED_NO_ADDEND},
        {"h200", "e5m2", "d_fp32", NUM_E5M2, 32, 13, NUM_OUT_E8M13, FUSED_NO_ADDEND},
        {"h200", "e4m3", "d_fp16", NUM_E4M3, 32, 25, NUM_OUT_F16, LEGACY},
        {"h200", "e5m2", "d_fp16", NUM_E5M2, 32, 25, NUM_OUT_F16, LEGACY},
        {"b200", "e4m3", "d_fp16", NUM_E4M3, 32, 25, NUM_OUT_F16, LEGACY},
        {"b200", "e5m2", "d_fp16", NUM_E5M2, 32, 25, NUM_OUT_F16, LEGACY},
        {"b200", "e4m3", "d_fp32", NUM_E4M3, 32, 25, NUM_OUT_F32, LEGACY},
        {"b200", "e5m2", "d_fp32", NUM_E5M2, 32, 25, NUM_OUT_F32, LEGACY},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        test_set(&sets[i]);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    folder = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
