// fp4_gemm over the fake device: the right kernel, the right factor, the tensors in the right
// places.
#include "fake_device.h"
#include "fp4_gemm.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fake_device fake;
static fp4_ctx *ctx;
static fp4_module *module;

static int setup(void **state) {
    (void)state;
    fake = (fake_device){
        .properties = {.name = "fake", .arch = "any", .n_sms = 10, .runs_any_arch = true}};
    sample_file file = sample_of(sample_gemm_meta, sample_gemm_ptx);
    fp4_status status = fake_open(&fake, NULL, &ctx);
    if (status == FP4_OK) {
        status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    }
    free(file.bytes);
    return status;
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return 0;
}

static void multiplies(void **state) {
    (void)state;
    fp4_tensor a, b, d;
    assert_int_equal(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){1, 64}, &a), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){16, 64}, &b), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){1, 16}, &d), FP4_OK);
    a.global = 0.5f;
    b.global = 0; // of a caller who does not know the field
    assert_int_equal(fp4_gemm(module, &d, &a, &b, 3, &fake), FP4_OK);
    assert_ptr_equal(fake.launch.stream, &fake);
    float alpha;
    uint64_t address;
    memcpy(&alpha, fake.params[6], 4);
    memcpy(&address, fake.params[2], 8);
    assert_true(alpha == 1.5f);
    assert_int_equal(address, d.data);
    assert_int_equal(fake.map[0].address, a.data);
    assert_int_equal(fp4_gemm(module, &a, &d, &b, 1, NULL), FP4_ERROR_NOT_FOUND);
    assert_non_null(strstr(fp4_last_error(), "no kernel bf16_nvfp4_gemm"));
    assert_int_equal(fp4_gemm(module, &a, &a, &b, 1, NULL), FP4_ERROR_MISMATCH);
    assert_int_equal(fp4_gemm(NULL, &d, &a, &b, 1, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_gemm(module, NULL, &a, &b, 1, NULL), FP4_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(multiplies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
