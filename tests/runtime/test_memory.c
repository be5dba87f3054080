// Running out of memory at the n-th allocation, host or device, JSON parser included, for every n:
// the call that fails says so, nothing leaks (the allocator counts) and the next try works.
#include "fake_device.h"
#include "sample.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int countdown; // > 0: the allocation that counts it down to 0 fails
static long live_blocks, live_bytes;

static bool fails(void) {
    return countdown > 0 && --countdown == 0;
}

static void *counting_alloc(void *user, void *old, size_t old_bytes, size_t new_bytes) {
    assert_ptr_equal(user, &countdown);
    if (new_bytes == 0) {
        live_blocks -= old != NULL;
        live_bytes -= (long)old_bytes;
        free(old);
        return NULL;
    }
    void *block = fails() ? NULL : malloc(new_bytes); // always moves: stale pointers are found
    if (!block) {
        return NULL;
    }
    memset(block, 0xcd, new_bytes);
    if (old) {
        memcpy(block, old, old_bytes < new_bytes ? old_bytes : new_bytes);
        free(old);
    }
    live_blocks += old == NULL;
    live_bytes += (long)new_bytes - (long)old_bytes;
    return block;
}

static void *json_malloc(size_t bytes) {
    return fails() ? NULL : malloc(bytes);
}

static const fp4_config config = {
    .size = sizeof config, .alloc = counting_alloc, .alloc_user = &countdown};
static sample_file file;

// What a program does, up to the first failure.
static fp4_status scenario(fake_device *fake, bool close) {
    fp4_ctx *ctx = NULL;
    fp4_module *module = NULL;
    fp4_kernel *kernel = NULL;
    enum { N = 20 };
    fp4_tensor a[N] = {0};
    fp4_tensor d = {0};
    fp4_status status = fake_open(fake, &config, &ctx);
    if (status == FP4_OK) {
        status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    }
    if (status == FP4_OK) {
        status = fp4_module_kernel(module, "nvfp4_gemm", "sm_100a", &kernel);
    }
    for (int i = 0; i < N && status == FP4_OK; i++) {
        status = fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){16, 32}, &a[i]);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){16, 16}, &d);
    }
    if (status == FP4_OK) {
        fp4_arg args[] = {fp4_arg_tensor(&a[0]), fp4_arg_tensor(&a[1]), fp4_arg_tensor(&d),
                          fp4_arg_f32(1)};
        int before = countdown;
        status = fp4_launch(kernel, args, 4, NULL);
        assert_int_equal(countdown, before); // a launch allocates nothing
    }
    if (close) { // else fp4_close frees it all
        for (int i = 0; i < N; i++) {
            fp4_tensor_free(&a[i]);
        }
        fp4_tensor_free(&d);
        fp4_module_free(module);
        assert_int_equal(fake->n_blocks, 0);
        assert_int_equal(fake->n_images, 0);
    }
    fp4_close(ctx);
    return status;
}

static void run(bool host, bool close) {
    int n = 1;
    for (;; n++) {
        fake_device fake = {
            .properties = {.name = "fake", .arch = "any", .n_sms = 4, .runs_any_arch = true},
            .fail_at = host ? 0 : n};
        countdown = host ? n : 0;
        fp4_status status = scenario(&fake, close);
        bool failed = host ? countdown == 0 : fake.fail_at == 0;
        countdown = 0;
        assert_int_equal(live_blocks, 0);
        assert_int_equal(live_bytes, 0);
        assert_int_equal(fake.n_blocks, 0);
        assert_int_equal(fake.n_images, 0);
        if (!failed) {
            assert_int_equal(status, FP4_OK);
            break;
        }
        assert_int_not_equal(status, FP4_OK);
        assert_true(strlen(fp4_last_error()) > 10);
    }
    print_message("%d places to fail\n", n - 1);
    assert_true(n > 40);
}

static void host_memory(void **state) {
    (void)state;
    run(true, true);
    run(true, false);
}

static void device_calls(void **state) {
    (void)state;
    run(false, true);
    run(false, false);
}

// Tensors from floats and from packed bytes, read back as values.
static fp4_status tensors(fake_device *fake) {
    fp4_ctx *ctx = NULL;
    fp4_tensor a = {0};
    fp4_tensor b = {0};
    fp4_format format = {0};
    fp4_host host;
    enum { ROWS = 20, COLS = 64 };
    static float x[ROWS * COLS];
    static double y[ROWS * COLS];
    static uint8_t codes[ROWS * COLS / 2];
    static uint8_t scales[ROWS * COLS / 16];
    fp4_status status = fake_open(fake, &config, &ctx);
    if (status == FP4_OK) {
        status = fp4_tensor_quantize(ctx, "mxfp8", 2, (int64_t[]){ROWS, COLS}, x, &a);
    }
    if (status == FP4_OK) {
        assert_int_equal(fp4_format_find("nvfp4", &format), FP4_OK);
        format.layout = FP4_SF_LINEAR;
        assert_int_equal(fp4_host_init(&host, &format, 2, (int64_t[]){ROWS, COLS}), FP4_OK);
        host.data = codes;
        host.scale = scales;
        status = fp4_tensor_import(ctx, &host, 2, FP4_GLOBAL_DIVIDE, &b);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_values(ctx, &b, y);
    }
    if (status != FP4_OK) { // what was not made is not there
        assert_true(a.data == 0 || b.data == 0 || b.global == 0.5f);
    }
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    assert_int_equal(fake->n_blocks, 0);
    fp4_close(ctx);
    return status;
}

static void tensors_of_values(void **state) {
    (void)state;
    for (int host = 0; host < 2; host++) {
        for (int n = 1;; n++) {
            fake_device fake = {.properties = {.name = "fake"}, .fail_at = host ? 0 : n};
            countdown = host ? n : 0;
            fp4_status status = tensors(&fake);
            bool failed = host ? countdown == 0 : fake.fail_at == 0;
            countdown = 0;
            assert_int_equal(live_blocks, 0);
            assert_int_equal(live_bytes, 0);
            assert_int_equal(fake.n_blocks, 0);
            assert_int_equal(status == FP4_OK, !failed);
            if (!failed) {
                assert_true(n > 4);
                break;
            }
        }
    }
}

static void open_fails(void **state) {
    (void)state;
    fp4_ctx *ctx = (fp4_ctx *)&countdown;
    fp4_config bad = config;
    bad.size = 8;
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    assert_null(ctx);
    bad.size = sizeof bad + 8;
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "newer fp4rt.h"));
    bad = config;
    bad.device = "tpu";
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    assert_non_null(
        strstr(fp4_last_error(), "there is no device 'tpu'; known are sim, cuda:N, auto"));
    bad.device = "cuda:x";
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    bad.device = "sim";
    bad.sim_sms = -1;
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    bad.sim_sms = 0;
    bad.sim_schedule = (fp4_schedule)9;
    assert_int_equal(fp4_open(&bad, &ctx), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_open(&config, NULL), FP4_ERROR_ARGUMENT);
    countdown = 1;
    assert_int_equal(fp4_open(&config, &ctx), FP4_ERROR_MEMORY);
    assert_int_equal(live_blocks, 0);
}

static void raw_memory(void **state) {
    (void)state;
    fake_device fake = {.properties = {.name = "fake", .n_sms = 4}};
    fp4_ctx *ctx;
    assert_int_equal(fake_open(&fake, NULL, &ctx), FP4_OK);
    uint64_t address = 7;
    assert_int_equal(fp4_alloc(ctx, -1, &address), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_alloc(ctx, 0, &address), FP4_OK);
    assert_int_equal(address, 0);
    assert_int_equal(fp4_alloc(ctx, INT64_MAX, &address), FP4_ERROR_MEMORY);
    assert_int_equal(fp4_alloc(ctx, 100, &address), FP4_OK);
    assert_int_equal(fp4_fill(ctx, address, 0x5a, 100, NULL), FP4_OK);
    uint8_t bytes[100] = {1, 2, 3};
    assert_int_equal(fp4_copy_to(ctx, address, bytes, 3, NULL), FP4_OK);
    assert_int_equal(fp4_copy_from(ctx, bytes, address, 100, NULL), FP4_OK);
    assert_int_equal(bytes[2], 3);
    assert_int_equal(bytes[99], 0x5a);
    assert_int_equal(fp4_copy_to(ctx, address, NULL, 3, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_copy_to(ctx, address, bytes, -3, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_copy_to(ctx, 0, NULL, 0, NULL), FP4_OK);
    fp4_stats stats;
    assert_int_equal(fp4_get_stats(ctx, &stats), FP4_OK);
    assert_int_equal(stats.device_bytes, 100);
    assert_int_equal(fp4_free(ctx, address + 1), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_free(ctx, address), FP4_OK);
    assert_int_equal(fp4_free(ctx, address), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_free(ctx, 0), FP4_OK);
    fp4_close(ctx);
    fp4_close(NULL);
}

// An older program's struct is filled as far as it goes; a newer one's is refused.
static void answers_have_the_callers_size(void **state) {
    (void)state;
    fake_device fake = {.properties = {.name = "fake", .n_sms = 4}};
    fp4_ctx *ctx;
    assert_int_equal(fake_open(&fake, NULL, &ctx), FP4_OK);
    struct {
        fp4_stats stats;
        uint64_t more;
    } s;
    memset(&s, 0x77, sizeof s);
    s.stats.size = offsetof(fp4_stats, device_bytes);
    assert_int_equal((fp4_get_stats)(ctx, &s.stats), FP4_OK);
    assert_int_equal(s.stats.size, offsetof(fp4_stats, device_bytes));
    assert_int_equal(s.stats.n_launches, 0);
    assert_int_equal(s.stats.device_bytes, 0x7777777777777777);
    s.stats.size = sizeof s;
    assert_int_equal((fp4_get_stats)(ctx, &s.stats), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "newer fp4rt.h"));
    s.stats.size = 0;
    assert_int_equal((fp4_get_stats)(ctx, &s.stats), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "fp4_stats.size is 0"));
    assert_int_equal(fp4_get_stats(ctx, &s.stats), FP4_OK);
    assert_int_equal(s.stats.size, sizeof s.stats);
    assert_int_equal(s.stats.sim_ns, 0);
    assert_int_equal(s.more, 0x7777777777777777);
    assert_int_equal(fp4_get_stats(ctx, NULL), FP4_ERROR_ARGUMENT);
    fp4_close(ctx);
}

static int setup(void **state) {
    (void)state;
    cJSON_Hooks hooks = {json_malloc, free};
    cJSON_InitHooks(&hooks);
    file = sample_of(sample_gemm_meta, sample_gemm_ptx);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(file.bytes);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_memory),       cmocka_unit_test(device_calls),
        cmocka_unit_test(tensors_of_values), cmocka_unit_test(open_fails),
        cmocka_unit_test(raw_memory),        cmocka_unit_test(answers_have_the_callers_size),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
