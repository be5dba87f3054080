// Tensors from checkpoints and from floats: the device's bytes are those of a tensor quantised
// directly, whatever layout and direction of the global scale the file had.
#include "fake_device.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { B = 2, R = 150, C = 128 };
static fake_device fake;
static fp4_ctx *ctx;
static float x[B * R * C];
static const int64_t dims[] = {B, R, C};

static int setup(void **state) {
    (void)state;
    fake = (fake_device){.properties = {.name = "fake", .arch = "any", .n_sms = 1}};
    for (int i = 0; i < B * R * C; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 37;
    }
    return fake_open(&fake, NULL, &ctx);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return fake.n_blocks;
}

static void quantises(void **state) {
    (void)state;
    static const char *const formats[] = {"nvfp4", "mxfp4", "mxfp8", "bf16", "f32", "e4m3"};
    // the largest error for x up to 27.1: half a step at the top of the range, scale rounding
    // included
    static const double bound[] = {27.1 / 6 + 2, 27.1 / 2, 27.1 / 8, 27.1 / 256, 0, 1};
    for (int i = 0; i < 6; i++) {
        fp4_tensor t;
        assert_int_equal(fp4_tensor_quantize(ctx, formats[i], 3, dims, x, &t), FP4_OK);
        double *y = malloc(sizeof(double) * B * R * C);
        assert_int_equal(fp4_tensor_values(ctx, &t, y), FP4_OK);
        double worst = 0;
        for (int j = 0; j < B * R * C; j++) {
            worst = fmax(worst, fabs(y[j] - x[j]));
        }
        assert_true(worst <= bound[i]);
        free(y);
        fp4_tensor_free(&t);
    }
    assert_int_equal(fake.n_blocks, 0);
    fp4_tensor t;
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp5", 3, dims, x, &t), FP4_ERROR_NOT_FOUND);
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 9, dims, x, &t), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 3, dims, NULL, &t), FP4_ERROR_ARGUMENT);
}

static void imports_every_layout(void **state) {
    (void)state;
    fp4_tensor direct;
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 3, dims, x, &direct), FP4_OK);
    fp4_storage want;
    assert_int_equal(fp4_tensor_storage(&direct, &want), FP4_OK);
    for (int layout = FP4_SF_LINEAR; layout < FP4_SF_COUNT; layout++) {
        fp4_format format;
        fp4_host host;
        fp4_storage s;
        assert_int_equal(fp4_format_find("nvfp4", &format), FP4_OK);
        format.layout = (fp4_sf_layout)layout;
        assert_int_equal(fp4_host_init(&host, &format, 3, dims), FP4_OK);
        host.pitch = layout == FP4_SF_GGUF ? 0 : C / 2 + 16 * (layout % 2);
        assert_int_equal(fp4_storage_of(&format, 3, dims, host.pitch, &s), FP4_OK);
        host.data = malloc((size_t)s.data_bytes);
        host.scale = malloc((size_t)s.scale_bytes + 1);
        float g;
        assert_int_equal(fp4_quantize(&host, x, NULL, &g), FP4_OK);
        fp4_tensor t;
        bool divide = layout % 2;
        assert_int_equal(fp4_tensor_import(ctx, &host, divide ? g : 1 / g,
                                           divide ? FP4_GLOBAL_DIVIDE : FP4_GLOBAL_MULTIPLY, &t),
                         FP4_OK);
        assert_true(t.global == direct.global);
        assert_int_equal(t.format.layout, FP4_SF_128X4);
        assert_memory_equal((void *)(uintptr_t)t.data, (void *)(uintptr_t)direct.data,
                            want.data_bytes);
        assert_memory_equal((void *)(uintptr_t)t.scale, (void *)(uintptr_t)direct.scale,
                            want.scale_bytes);
        assert_int_equal(fp4_tensor_import(ctx, &host, 0, FP4_GLOBAL_DIVIDE, &t),
                         FP4_ERROR_ARGUMENT);
        void *data = host.data;
        host.data = NULL;
        assert_int_equal(fp4_tensor_import(ctx, &host, 1, FP4_GLOBAL_MULTIPLY, &t),
                         FP4_ERROR_ARGUMENT);
        free(data);
        free(host.scale);
        fp4_tensor_free(&t);
    }
}

static void failures_leave_nothing(void **state) {
    (void)state;
    int n = 1;
    for (;; n++) {
        fp4_tensor t;
        fake.fail_at = n;
        fp4_status status = fp4_tensor_quantize(ctx, "mxfp8", 3, dims, x, &t);
        if (fake.fail_at > 0) {
            fake.fail_at = 0;
            assert_int_equal(status, FP4_OK);
            break;
        }
        assert_int_not_equal(status, FP4_OK);
        assert_int_equal(fake.n_blocks, 0);
    }
    assert_int_equal(n, 7); // two blocks, two fills, two copies
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(quantises, setup, teardown),
        cmocka_unit_test_setup_teardown(imports_every_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_leave_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
