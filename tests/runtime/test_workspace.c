// Workspaces: who gets one, who is refused without, what a launch is told, and what happens when memory runs out or the
// device fails.
#include "counted.h"
#include "fake_device.h"
#include "module.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAMED = 64, PLAIN = 192, A_BLOCK = 4096, SMS = 132, NEED = 131072 + SMS * A_BLOCK };

static fake_device fake;
static fp4_ctx *ctx;
static fp4_kernel *kernel;
static fp4_module *module;
static fp4_tensor a, b, d;
static counted memory;
static int marks[2]; // whose addresses stand for streams

// The kernel with a workspace, cheap, and, if asked, the same without one.
static char *meta_of(const char *workspace, bool both) {
    const char *kernels = strstr(sample_gemm_meta, "[{\"name\"") + 1;
    char *cheap = sample_replace(kernels, "\"threads\":192", workspace);
    char *cost = sample_replace(cheap, "\"dims\":[\"M\",\"N\",\"K\"]", "\"cost\":1,\"dims\":[\"M\",\"N\",\"K\"]");
    char *arg = sample_replace(cost, "\"type\":\"f32\"}],", "\"type\":\"f32\"},{\"kind\":\"workspace\"}],");
    char *dear = sample_replace(kernels, "\"dims\":[\"M\",\"N\",\"K\"]", "\"cost\":2,\"dims\":[\"M\",\"N\",\"K\"]");
    char *text = malloc(9000);
    snprintf(text, 9000, "%.*s%.*s%s%s", (int)(kernels - sample_gemm_meta), sample_gemm_meta, (int)strlen(arg) - 2, arg,
             both ? "," : "]}", both ? dear : "");
    free(cheap);
    free(cost);
    free(arg);
    free(dear);
    return text;
}

static fp4_status load(const char *workspace, bool both) {
    char *meta = meta_of(workspace, both);
    sample_section sections[] = {{1, 0, meta, strlen(meta)},
                                 {2, 0, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {2, 1, sample_gemm_ptx, strlen(sample_gemm_ptx)}};
    sample_file file = sample_write(sections, both ? 3 : 2);
    fp4_status status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    if (status == FP4_OK) {
        status = fp4_module_kernel(module, NULL, NULL, &kernel);
    }
    free(file.bytes);
    free(meta);
    return status;
}

static int setup(void **state) {
    (void)state;
    fake = (fake_device){.properties = {.name = "fake", .arch = "any", .n_sms = SMS, .runs_any_arch = true}};
    fp4_config config = FP4_CONFIG_INIT;
    config.alloc = counted_alloc;
    config.alloc_user = &memory;
    if (fake_open(&fake, &config, &ctx) != FP4_OK || load("\"workspace\":4096,\"threads\":64", true) != FP4_OK) {
        return 1;
    }
    fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){600, 512}, &a);
    fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){264, 512}, &b);
    return fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){600, 264}, &d);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return fake.n_images || fake.n_blocks || memory.live;
}

// The threads of the variant that a launch on the stream takes; 0: refused.
static uint32_t taken(void *stream) {
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    return fp4_launch(kernel, args, 4, stream) == FP4_OK ? fake.launch.block[0] : 0;
}

static uint64_t told(void) {
    uint64_t at;
    memcpy(&at, fake.params[fake.launch.n_params - 1], sizeof at);
    return at;
}

static void assert_said(const char *text) {
    if (!strstr(fp4_last_error(), text)) {
        fail_msg("'%s' lacks '%s'", fp4_last_error(), text);
    }
}

static void is_chosen_where_there_is_one(void **state) {
    (void)state;
    assert_int_equal(fp4_module_workspace(module), NEED);
    assert_int_equal(fp4_module_workspace(NULL), 0);
    assert_int_equal(taken(NULL), PLAIN);
    assert_int_equal(fp4_workspace(ctx, NULL, NEED - 1), FP4_OK);
    assert_int_equal(taken(NULL), PLAIN); // too small
    assert_int_equal(fp4_workspace(ctx, NULL, NEED), FP4_OK);
    assert_int_equal(taken(NULL), STREAMED);
    uint64_t first = told();
    for (int i = 0; i < NEED; i++) {
        assert_int_equal(((const uint8_t *)(uintptr_t)first)[i], 0);
    }
    assert_int_equal(taken(&marks[0]), PLAIN); // that stream has none
    assert_int_equal(fp4_workspace(ctx, &marks[0], 2 * NEED), FP4_OK);
    assert_int_equal(fp4_workspace(ctx, &marks[1], NEED), FP4_OK);
    assert_int_equal(taken(&marks[0]), STREAMED);
    uint64_t second = told();
    assert_int_equal(taken(&marks[1]), STREAMED);
    assert_true(first != second && second != told() && first != told());
    assert_int_equal(fp4_workspace(ctx, &marks[0], NEED), FP4_OK); // large enough: the same
    assert_int_equal(taken(&marks[0]), STREAMED);
    assert_int_equal(told(), second);
    assert_int_equal(fp4_workspace(ctx, &marks[0], 0), FP4_OK);
    assert_int_equal(taken(&marks[0]), PLAIN);
    assert_int_equal(taken(NULL), STREAMED);
    assert_int_equal(told(), first);
}

// What is refused takes no device memory and leaves what was there.
static void assert_refused(void *stream, int64_t bytes, const char *why) {
    int blocks = fake.n_blocks;
    assert_int_not_equal(fp4_workspace(ctx, stream, bytes), FP4_OK);
    assert_said(why);
    assert_int_equal(fake.n_blocks, blocks);
}

static void refuses(void **state) {
    (void)state;
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    int launches = fake.n_launches;
    assert_int_equal(fp4_launch_variant(kernel, args, 4, &marks[0]), FP4_ERROR_MISMATCH);
    assert_said("nvfp4_gemm(): needs a workspace of 671744 bytes on this stream, which has none: "
                "fp4_workspace(ctx, stream, 671744) gives it one");
    assert_int_equal(fp4_workspace(ctx, &marks[0], 4096), FP4_OK);
    assert_int_equal(fp4_launch_variant(kernel, args, 4, &marks[0]), FP4_ERROR_MISMATCH);
    assert_said("which has one of 4096");
    assert_refused(&marks[0], -1, "a negative size");
    assert_refused((void *)2, NEED, "CU_STREAM_PER_THREAD is another stream in each thread, and streams do not share a "
                                    "workspace: make a stream");
    assert_int_equal(fp4_workspace(NULL, &marks[0], 1), FP4_ERROR_ARGUMENT);
    fake.capturing = true;
    assert_refused(&marks[0], NEED, "capture");
    assert_refused(&marks[0], 0, "capture");
    assert_int_equal(fp4_workspace(ctx, &marks[0], 4096), FP4_OK); // nothing to do
    fake.capturing = false;
    assert_int_equal(load("\"workspace\":4096,\"threads\":64", false), FP4_OK);
    assert_int_equal(taken(NULL), 0); // no variant does without
    assert_said("needs a workspace");
    assert_int_equal(fake.n_launches, launches);
    assert_int_equal(load("\"workspace\":0,\"threads\":64", false), FP4_ERROR_MODULE);
    assert_int_equal(load("\"threads\":64", false), FP4_ERROR_MODULE);
    assert_said("is a workspace");
    static const char *const grids[] = {"\"persistent\":false", "\"persistent\":true,\"per_sm\":2"};
    for (int i = 0; i < 2; i++) {
        char launch[200];
        snprintf(launch, sizeof launch, "\"workspace\":4096,\"threads\":64,\"grid\":{\"tiles\":1,%s}", grids[i]);
        assert_int_equal(load(launch, false), FP4_ERROR_MODULE);
        assert_said(".launch: a workspace without a persistent grid of one thread block a multiprocessor");
    }
}

// On a device with more multiprocessors than a launch has flags for.
static void counts_blocks(void **state) {
    (void)state;
    const char *launch = "\"workspace\":4096,\"threads\":64,\"grid\":{\"tiles\":5000,\"persistent\":true}";
    assert_int_equal(load(launch, false), FP4_OK);
    ctx->properties.n_sms = FP4_MODULE_FLAG_BLOCKS + 1; // clusters of two: the last one has no place
    assert_int_equal(fp4_workspace(ctx, NULL, 2 * fp4_module_workspace(module)), FP4_OK);
    assert_int_equal(taken(NULL), STREAMED);
    assert_int_equal(fake.launch.grid[0], FP4_MODULE_FLAG_BLOCKS);
    ctx->properties.n_sms++;
    assert_int_equal(taken(NULL), 0);
    assert_said("nvfp4_gemm(): 1026 thread blocks, of at most 1024");
}

// After a launch that broke off no flag is left.
static void clears_flags(void **state) {
    (void)state;
    assert_int_equal(fp4_workspace(ctx, NULL, NEED), FP4_OK);
    assert_int_equal(taken(NULL), STREAMED);
    uint32_t *flags = (uint32_t *)(uintptr_t)told();
    flags[5] = flags[FP4_MODULE_FLAGS * FP4_MODULE_FLAG_BLOCKS] = 1;
    uint32_t n = 0;
    for (fake.fail_at = 1; taken(NULL) == 0; fake.fail_at = ++n + 1) {
    }
    fake.fail_at = 0;
    assert_true(n > 0);
    assert_int_equal(flags[5], 0);
    assert_int_equal(flags[FP4_MODULE_FLAGS * FP4_MODULE_FLAG_BLOCKS], 1);
}

// The times that the device fails before the call does as told; each leaves all as it was.
static int failures(void *stream, int64_t bytes) {
    uint32_t had = taken(stream);
    uint64_t at = had == STREAMED ? told() : 0;
    int blocks = fake.n_blocks;
    int n = 0;
    fake.fail_at = 1;
    while (fp4_workspace(ctx, stream, bytes) != FP4_OK) {
        assert_said("the fake device");
        assert_int_equal(fake.n_blocks, blocks);
        fake.fail_at = 0;
        assert_int_equal(taken(stream), had);
        assert_true(had != STREAMED || told() == at);
        fake.fail_at = ++n + 1;
    }
    fake.fail_at = 0;
    assert_int_equal(fake.n_blocks, blocks + (bytes > 0 && had != STREAMED) - (bytes == 0));
    return n;
}

static void survives_failures(void **state) {
    (void)state;
    memory.countdown = 1;
    assert_int_equal(fp4_workspace(ctx, &marks[0], NEED), FP4_ERROR_MEMORY);
    assert_int_equal(taken(&marks[0]), PLAIN);
    assert_int_equal(fp4_workspace(ctx, &marks[0], NEED), FP4_OK);
    assert_int_equal(taken(&marks[0]), STREAMED);
    uint64_t first = told();
    memory.countdown = 1;
    assert_refused(&marks[0], 2 * NEED, "");
    memory.countdown = 0;
    assert_int_equal(failures(&marks[0], 2 * NEED), 3); // memory, zeros, the end of the stream's work
    assert_int_equal(taken(&marks[0]), STREAMED);
    assert_true(told() != first);
    assert_int_equal(failures(&marks[1], NEED), 3);
    assert_int_equal(failures(&marks[0], 0), 1);
    assert_int_equal(taken(&marks[0]), PLAIN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_chosen_where_there_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(clears_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_failures, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
