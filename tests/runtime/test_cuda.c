// The cuda device over the fake libcuda.so.1, which ctest puts in front of the library path. What
// the driver is told is compared with the module; every driver call is made to fail in turn.
//
//   runtime_test_cuda          the fake of two GPUs
//   runtime_test_cuda old      a driver that lacks a function
//   runtime_test_cuda none     no driver (skipped where there is one)
#include "fake_cuda.h"
#include "fp4rt.h"
#include "sample.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fake_cuda_state *fake;
static sample_file file;
static char logged[2000];

static void keep_log(void *user, fp4_log_level level, const char *message) {
    (void)user;
    (void)level;
    strncat(logged, message, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
}

static fp4_config config_of(const char *device) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = device;
    config.log = keep_log;
    config.log_level = FP4_LOG_INFO;
    logged[0] = 0;
    return config;
}

static int setup(void **state) {
    (void)state;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    fake = library ? dlsym(library, "fake_cuda") : NULL;
    if (!fake) {
        print_message("the fake libcuda.so.1 is not on the library path\n");
        return 1;
    }
    char *meta = sample_replace(sample_gemm_meta, "sm_100a", "sm_90a");
    file = sample_of(meta, sample_gemm_ptx);
    free(meta);
    fake->n_params = 7;
    memcpy(fake->param_bytes, (size_t[]){128, 128, 8, 8, 4, 4, 4}, 7 * sizeof(size_t));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(file.bytes);
    return 0;
}

// What a program does, up to the first failure; *data is the address of D, *address of A.
static fp4_status scenario(void *stream, uint64_t *d_data, uint64_t *a_data) {
    fp4_config config = config_of("cuda:0");
    fp4_ctx *ctx = NULL;
    fp4_module *module;
    fp4_kernel *kernel = NULL;
    fp4_tensor a, b, d;
    fp4_status status = fp4_open(&config, &ctx);
    if (status == FP4_OK) {
        status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    }
    if (status == FP4_OK) {
        status = fp4_module_kernel(module, "nvfp4_gemm", NULL, &kernel);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){300, 512}, &a);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){264, 512}, &b);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){300, 264}, &d);
    }
    static char bytes[300 * 264 * 2];
    strcpy(bytes, "in");
    if (status == FP4_OK) {
        status = fp4_tensor_write(ctx, &d, bytes, NULL, stream);
    }
    if (status == FP4_OK) {
        *d_data = d.data;
        *a_data = a.data;
        fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d),
                          fp4_arg_f32(0.25f)};
        int syncs = fake->n_syncs;
        status = fp4_launch(kernel, args, 4, stream);
        assert_int_equal(fake->n_syncs, syncs); // a launch only enqueues
    }
    if (status == FP4_OK) {
        memset(bytes, 0, sizeof bytes);
        status = fp4_tensor_read(ctx, &d, bytes, NULL, stream);
        assert_true(status != FP4_OK || strcmp(bytes, "in") == 0);
    }
    fp4_event *event[2] = {NULL};
    double us = 0;
    for (int i = 0; i < 2 && status == FP4_OK; i++) {
        status = fp4_event_new(ctx, &event[i]);
    }
    for (int i = 0; i < 2 && status == FP4_OK; i++) {
        status = fp4_event_record(event[i], stream);
    }
    if (status == FP4_OK) {
        assert_ptr_equal(fake->record_stream, stream);
        status = fp4_event_wait(event[1]);
    }
    if (status == FP4_OK) {
        status = fp4_event_elapsed(event[0], event[1], &us);
        assert_true(status != FP4_OK || us == 1000);
    }
    fp4_event_free(event[0]); // the other goes with the context
    if (status == FP4_OK) {
        status = fp4_sync(ctx, stream);
    }
    fp4_close(ctx);
    return status;
}

static void assert_all_given_back(void) {
    assert_int_equal(fake->retained, 0);
    assert_int_equal(fake->pushed, 0);
    assert_int_equal(fake->n_memory, 0);
    assert_int_equal(fake->n_libraries, 0);
    assert_int_equal(fake->n_events, 0);
    assert_int_equal(fake->without_context, 0);
    // without its context the device cannot give back what it has
    assert_true(fake->n_swept == 0 || fake->push_failed);
}

static void launches_as_the_module_says(void **state) {
    (void)state;
    int stream;
    uint64_t d_data;
    uint64_t a_data;
    if (scenario(&stream, &d_data, &a_data) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    assert_all_given_back();
    assert_int_equal(fake->misaligned_maps, 0);
    assert_non_null(strstr(logged, "device Fake H200, sm_90a, 132 SMs"));
    assert_string_equal(fake->attributes, "8=200000;");
    assert_int_equal(fake->launch.grid[0], 8);
    assert_int_equal(fake->launch.grid[2], 1);
    assert_int_equal(fake->launch.block[0], 192);
    assert_int_equal(fake->launch.smem_bytes, 200000);
    assert_ptr_equal(fake->launch.stream, &stream);
    assert_int_equal(fake->launch.n_attributes, 1);
    assert_int_equal(fake->attributes_of[0].id, 4);
    assert_int_equal(fake->attributes_of[0].value.cluster[0], 2);
    assert_int_equal(fake->attributes_of[0].value.cluster[1], 1);
    uint64_t words[16];
    memcpy(words, fake->params[0], sizeof words);
    // dtype, rank, address, dims, stride, box, element stride, interleave, swizzle, promotion, fill
    const uint64_t want[13] = {0, 2, a_data, 256, 300, 256, 128, 128, 1, 0, 3, 3, 0};
    assert_memory_equal(words, want, sizeof want);
    memcpy(words, fake->params[2], 8);
    assert_int_equal(words[0], d_data);
    float alpha;
    memcpy(&alpha, fake->params[6], 4);
    assert_true(alpha == 0.25f);
}

static void every_call_may_fail(void **state) {
    (void)state;
    int n = 1;
    for (;; n++) {
        uint64_t unused;
        fake->fail_at = n;
        fake->fail_with = n % 2 ? 2 : 999;
        fp4_status status = scenario(NULL, &unused, &unused);
        bool failed = fake->fail_at == 0;
        fake->fail_at = 0;
        assert_all_given_back();
        bool hidden = fake->n_hidden || fake->n_swept;
        fake->n_hidden = fake->n_swept = fake->push_failed = 0;
        if (!failed) {
            assert_int_equal(status, FP4_OK);
            break;
        }
        if (hidden) {
            assert_int_equal(status, FP4_OK);
        } else {
            assert_int_not_equal(status, FP4_OK);
            assert_non_null(strstr(fp4_last_error(), "cuda"));
            assert_true(status == FP4_ERROR_UNAVAILABLE ||
                        strstr(fp4_last_error(), "as asked for"));
        }
    }
    assert_true(n > 60);
    print_message("%d calls\n", n - 1);
}

static void refusals(void **state) {
    (void)state;
    fp4_config config = config_of("cuda:5");
    fp4_ctx *ctx;
    assert_int_equal(fp4_open(&config, &ctx), FP4_ERROR_UNAVAILABLE);
    assert_string_equal(fp4_last_error(), "cuda:5: the driver shows 2 GPUs");
    config = config_of("cuda:1"); // sm_100a; the module is for sm_90a
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    fp4_module *module;
    fp4_kernel *kernel;
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module), FP4_OK);
    assert_int_equal(fp4_module_kernel(module, NULL, NULL, &kernel), FP4_ERROR_NOT_FOUND);
    assert_non_null(
        strstr(fp4_last_error(), "for sm_100a in gemm.tk; it has nvfp4_gemm for sm_90a"));
    assert_int_equal(fp4_module_kernel(module, NULL, "sm_90a", &kernel), FP4_ERROR_MODULE);
    assert_non_null(
        strstr(fp4_last_error(), "compiled for sm_90a, the device Fake B200 is sm_100a"));
    fp4_close(ctx);
    config = config_of("cuda");
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module), FP4_OK);
    fake->jit_log = "ptxas error: line 3\nmore";
    fake->fail_at = 2; // the push, the load
    fake->fail_with = 218;
    assert_int_equal(fp4_module_kernel(module, NULL, NULL, &kernel), FP4_ERROR_DEVICE);
    assert_string_equal(fp4_last_error(), "nvfp4_gemm(): cuda: compiling the PTX: "
                                          "CUDA_ERROR_OF_THE_FAKE 218 (as asked for): "
                                          "ptxas error: line 3");
    fake->jit_log = NULL;
    assert_int_equal(fp4_module_kernel(module, NULL, NULL, &kernel), FP4_OK);
    fp4_close(ctx);
    assert_all_given_back();
}

static fp4_ctx *gpu;
static fp4_tensor in_a, in_b, out_d;

// A context on the fake GPU with the module loaded and three tensors.
static fp4_kernel *begin(const char *meta) {
    fp4_config config = config_of("cuda");
    fp4_module *module;
    fp4_kernel *kernel;
    sample_file edited = sample_of(meta, sample_gemm_ptx);
    assert_int_equal(fp4_open(&config, &gpu), FP4_OK);
    assert_int_equal(fp4_module_load_memory(gpu, edited.bytes, edited.n_bytes, &module), FP4_OK);
    assert_int_equal(fp4_module_kernel_at(module, 0, &kernel), FP4_OK);
    assert_int_equal(fp4_tensor_new(gpu, "nvfp4", 2, (int64_t[]){300, 512}, &in_a), FP4_OK);
    assert_int_equal(fp4_tensor_new(gpu, "nvfp4", 2, (int64_t[]){264, 512}, &in_b), FP4_OK);
    assert_int_equal(fp4_tensor_new(gpu, "bf16", 2, (int64_t[]){300, 264}, &out_d), FP4_OK);
    free(edited.bytes);
    return kernel;
}

static void launch_attributes(void **state) {
    (void)state;
    char *meta = sample_replace(sample_gemm_meta, "sm_100a", "sm_90a");
    char *more = sample_replace(meta, "\"smem\":", "\"pdl\":true,\"cooperative\":true,\"smem\":");
    fp4_kernel *kernel = begin(more);
    fp4_arg args[] = {fp4_arg_tensor(&in_a), fp4_arg_tensor(&in_b), fp4_arg_tensor(&out_d),
                      fp4_arg_f32(1)};
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    assert_int_equal(fake->launch.n_attributes, 3);
    const int want[] = {4, 6, 2}; // cluster, programmatic stream serialization, cooperative
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fake->attributes_of[i].id, want[i]);
        assert_int_equal(fake->attributes_of[i].value.flag, i == 0 ? 2 : 1);
    }
    fp4_close(gpu);
    free(more);
    more = sample_replace(meta, "\"smem\":", "\"pdl\":1,\"smem\":");
    sample_file edited = sample_of(more, sample_gemm_ptx);
    fp4_config config = config_of("cuda");
    fp4_module *module;
    assert_int_equal(fp4_open(&config, &gpu), FP4_OK);
    assert_int_equal(fp4_module_load_memory(gpu, edited.bytes, edited.n_bytes, &module),
                     FP4_ERROR_MODULE);
    assert_non_null(strstr(fp4_last_error(), ".launch: 'pdl' is neither true nor false"));
    fp4_close(gpu);
    free(edited.bytes);
    free(more);
    free(meta);
    assert_all_given_back();
}

// Into a graph go launches and fills; what would spoil the capture is refused before it does.
static void capture(void **state) {
    (void)state;
    char *meta = sample_replace(sample_gemm_meta, "sm_100a", "sm_90a");
    fp4_kernel *kernel = begin(meta);
    fp4_arg args[] = {fp4_arg_tensor(&in_a), fp4_arg_tensor(&in_b), fp4_arg_tensor(&out_d),
                      fp4_arg_f32(1)};
    char bytes[16] = "";
    fake->spoiled = 0;
    fake->capture = 1;
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "cannot hold the first launch of a kernel"));
    assert_int_equal(fp4_copy_to(gpu, out_d.data, bytes, 16, NULL), FP4_ERROR_ARGUMENT);
    assert_non_null(strstr(fp4_last_error(), "cannot hold a copy from host memory"));
    assert_int_equal(fp4_copy_from(gpu, bytes, out_d.data, 16, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_sync(gpu, NULL), FP4_ERROR_ARGUMENT);
    fake->capture = 0;
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    fake->capture = 1;
    int n_memory = fake->n_memory;
    int n_calls = fake->n_calls;
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    assert_int_equal(fp4_fill(gpu, out_d.data, 0, 16, NULL), FP4_OK);
    // two maps, the launch and the fill, each between a push and a pop
    assert_int_equal(fake->n_calls - n_calls, 12);
    assert_int_equal(fake->n_memory, n_memory);
    assert_int_equal(fake->spoiled, 0);
    fake->capture = 0;
    fp4_close(gpu);
    free(meta);
    assert_all_given_back();
}

static void auto_takes_what_fits(void **state) {
    (void)state;
    fp4_config config = config_of("auto");
    fp4_ctx *ctx;
    fp4_device_info info;
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    fp4_get_device_info(ctx, &info);
    assert_string_equal(info.arch, "sm_90a");
    fp4_close(ctx);
    config = config_of("auto");
    config.arch = "sm_100a";
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    fp4_get_device_info(ctx, &info);
    assert_string_equal(info.name, "Fake B200");
    assert_non_null(strstr(logged, "cuda:0, Fake H200, is sm_90a, not sm_100a"));
    fp4_close(ctx);
    config = config_of(NULL);
    config.arch = "sm_120a";
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    fp4_get_device_info(ctx, &info);
    assert_string_equal(info.name, "sim");
    assert_non_null(
        strstr(logged, "the simulator runs the kernels: cuda:2: the driver shows 2 GPUs"));
    fp4_close(ctx);
    assert_all_given_back();
}

static void check_no_driver(const char *sentence) {
    fp4_config config = config_of("cuda:0");
    fp4_ctx *ctx;
    assert_int_equal(fp4_open(&config, &ctx), FP4_ERROR_UNAVAILABLE);
    assert_non_null(strstr(fp4_last_error(), "libcuda.so.1"));
    assert_non_null(strstr(fp4_last_error(), sentence));
    config = config_of("auto");
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    assert_non_null(strstr(logged, sentence));
    fp4_device_info info;
    fp4_get_device_info(ctx, &info);
    assert_string_equal(info.name, "sim");
    fp4_close(ctx);
}

static void no_driver(void **state) {
    (void)state;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library) {
        dlclose(library);
        skip();
    }
    check_no_driver("cannot be loaded");
}

static void old_driver(void **state) {
    (void)state;
    check_no_driver("has no cuTensorMapEncodeTiled: the driver is older than CUDA 12.0");
}

int main(int argc, char **argv) {
    const struct CMUnitTest fake_tests[] = {
        cmocka_unit_test(launches_as_the_module_says),
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(refusals),
        cmocka_unit_test(launch_attributes),
        cmocka_unit_test(capture),
        cmocka_unit_test(auto_takes_what_fits),
    };
    const struct CMUnitTest none_tests[] = {cmocka_unit_test(no_driver)};
    const struct CMUnitTest old_tests[] = {cmocka_unit_test(old_driver)};
    if (argc > 1 && strcmp(argv[1], "none") == 0) {
        return cmocka_run_group_tests(none_tests, NULL, NULL);
    }
    if (argc > 1 && strcmp(argv[1], "old") == 0) {
        return cmocka_run_group_tests(old_tests, NULL, NULL);
    }
    return cmocka_run_group_tests(fake_tests, setup, teardown);
}
