// Measured times: the choice they make, the section that carries them, measuring and saving, and
// what happens when memory runs out on the way.
#include "counted.h"
#include "fake_device.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static fake_device fake;
static fp4_ctx *ctx;
static fp4_kernel *kernel;
static fp4_module *module;
static counted memory;

// One of three variants that differ in their threads; the second is for M <= 64 alone.
static char *variant_text(int i, const char *cost) {
    static const char *const threads[] = {"\"threads\":192", "\"threads\":64", "\"threads\":384"};
    const char *dims = "\"dims\":[\"M\",\"N\",\"K\"]";
    char head[300];
    snprintf(head, sizeof head, "%s%s%s%s%s", i == 1 ? "\"when\":[\"<=\",\"M\",64]," : "",
             cost ? "\"cost\":" : "", cost ? cost : "", cost ? "," : "", dims);
    char *text = sample_replace(strstr(sample_gemm_meta, "[{\"name\"") + 1, dims, head);
    char *out = sample_replace(text, threads[0], threads[i]);
    free(text);
    return out;
}

static sample_file file_with(const char *tune, const char *const cost[3]) {
    char meta[9000];
    char *text[3];
    for (int i = 0; i < 3; i++) {
        text[i] = variant_text(i, cost ? cost[i] : NULL);
    }
    snprintf(meta, sizeof meta, "%.*s%.*s,%.*s,%s",
             (int)(strstr(sample_gemm_meta, "[{\"name\"") + 1 - sample_gemm_meta), sample_gemm_meta,
             (int)strlen(text[0]) - 2, text[0], (int)strlen(text[1]) - 2, text[1], text[2]);
    sample_section sections[] = {{1, 0, meta, strlen(meta)},
                                 {2, 0, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {2, 1, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {2, 2, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {4, 0, tune, tune ? strlen(tune) : 0}};
    sample_file file = sample_write(sections, tune ? 5 : 4);
    for (int i = 0; i < 3; i++) {
        free(text[i]);
    }
    return file;
}

static void load_costs(const char *const cost[3], const char *tune) {
    sample_file file = file_with(tune, cost);
    if (fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module) != FP4_OK ||
        fp4_module_kernel(module, NULL, NULL, &kernel) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    free(file.bytes);
}

static void load(const char *tune) {
    load_costs(NULL, tune);
}

static int setup(void **state) {
    (void)state;
    fake = (fake_device){
        .properties = {.name = "fake", .arch = "any", .n_sms = 132, .runs_any_arch = true}};
    fp4_config config = FP4_CONFIG_INIT;
    config.alloc = counted_alloc;
    config.alloc_user = &memory;
    return fake_open(&fake, &config, &ctx);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return fake.n_images || fake.n_blocks || memory.live;
}

// Each variant by itself, whatever is cheapest, fastest or admitted.
static void check_each(const fp4_arg *args) {
    for (int i = 0; i < fp4_module_count(module); i++) {
        fp4_kernel *variant;
        fp4_kernel_info info;
        assert_int_equal(fp4_module_kernel_at(module, i, &variant), FP4_OK);
        assert_int_equal(fp4_kernel_get_info(variant, &info), FP4_OK);
        assert_int_equal(fp4_launch_variant(variant, args, 4, NULL), FP4_OK);
        assert_int_equal(info.threads, fake.launch.block[0]);
    }
}

// The threads of the variant that serves M x 264 x 512.
static int threads_for(int64_t m) {
    fp4_tensor a, b, d;
    fp4_kernel *variant;
    fp4_kernel_info info;
    fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){m, 512}, &a);
    fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){264, 512}, &b);
    fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, 264}, &d);
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    check_each(args);
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    assert_int_equal(fp4_kernel_variant(kernel, args, 4, &variant), FP4_OK);
    assert_int_equal(fp4_kernel_get_info(variant, &info), FP4_OK);
    assert_int_equal(info.threads, fake.launch.block[0]);
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
    return info.threads;
}

static void chooses(void **state) {
    (void)state;
    load(NULL);
    assert_int_equal(threads_for(16), 192); // without times the first that admits
    load("0 132 900 4096 264 512\n"
         "2 132 800 4096 264 512\n" // at large M the third is faster
         "0 132 100 512 264 512\n"
         "2 132 200 512 264 512\n" // at 512 the first
         "1 132 50 32 264 512\n"
         "0 132 60 32 264 512\n" // at 32 the second
         "2 8 1 512 264 512\n"); // measured on another, smaller device: further away
    assert_int_equal(threads_for(16), 64);
    assert_int_equal(threads_for(64), 64);
    assert_int_equal(threads_for(100), 192); // near 32, but 'when' keeps the second out
    assert_int_equal(threads_for(500), 192);
    assert_int_equal(threads_for(1400), 192);
    assert_int_equal(threads_for(1600), 384);
    assert_int_equal(threads_for(100000), 384);
    load("2 132 5 300 264 512\n0 132 5 300 264 512\n");
    assert_int_equal(threads_for(300), 192); // equally fast: the file's first
}

static void costs(void **state) {
    (void)state;
    load_costs((const char *const[]){"[\"+\",\"M\",\"device.sms\"]", "[\"*\",\"M\",4]", "200"}, NULL);
    assert_int_equal(threads_for(16), 64);   // 148, 64, 200
    assert_int_equal(threads_for(50), 192);  // 182, 200, 200
    assert_int_equal(threads_for(68), 192);  // 200, not admitted, 200: the first
    assert_int_equal(threads_for(69), 384);
    load_costs((const char *const[]){"1", NULL, "[\"-\",\"M\",100]"}, NULL);
    assert_int_equal(threads_for(64), 384); // 1, 0, -36
    assert_int_equal(threads_for(100), 384);
    assert_int_equal(threads_for(101), 192);
    load_costs((const char *const[]){"[\"/\",1,[\"-\",\"M\",7]]", NULL, "[\"*\",\"M\",9007199254740992]"}, NULL);
    assert_int_equal(threads_for(7), 64);      // dearest of all: the division by 0
    assert_int_equal(threads_for(100), 192);   // 0
    assert_int_equal(threads_for(100000), 192); // the third does not fit 64 bits
    // What was measured goes before costs, as far as one doubling.
    load_costs((const char *const[]){"3", "2", "1"}, "0 132 900 1023 264 512\n2 132 950 1023 264 512\n");
    assert_int_equal(threads_for(1023), 192);
    assert_int_equal(threads_for(2000), 192);
    assert_int_equal(threads_for(2100), 384);
    assert_int_equal(threads_for(60), 384);
}

static void refuses(void **state) {
    (void)state;
    static const char *const bad[] = {
        "3 132 900 4096 264 512\n",
        "0 132 900 4096 264\n",
        "0 132 900 4096 264 512 1\n",
        "0 132 900 4096 264 512",
        "0 -1 900 1 1 1\n",
        "0 132 99999999999999999999 1 1 1\n",
        "x\n",
        "\n",
        "0  132 900 4096 264 512\n",
        "0 70000 9 1 1 1\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "0 132 900 4096 264 512\n%s", bad[i]);
        sample_file file = file_with(text, NULL);
        fp4_status status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
        if (status != FP4_ERROR_MODULE || !strstr(fp4_last_error(), "line 2 of TUNE is not")) {
            fail_msg("'%s': %d, %s", bad[i], (int)status, fp4_last_error());
        }
        free(file.bytes);
    }
    load(NULL);
    assert_int_equal(fp4_tune(NULL, NULL, 0, 1, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_tune(kernel, NULL, 0, 0, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_tune(kernel, NULL, 0, 1, NULL), FP4_ERROR_MISMATCH);
    assert_int_equal(fp4_tune_save(module, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_tune_save(module, "no such folder/x"), FP4_ERROR_FILE);
}

static void write_file(char *name, const char *tune) {
    sample_file file = file_with(tune, NULL);
    strcpy(name, "runtime_tune_XXXXXX");
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file.bytes, file.n_bytes), file.n_bytes);
    close(fd);
    free(file.bytes);
}

static fp4_status measure(int64_t m, int runs) {
    fp4_tensor a = {.size = 0};
    fp4_tensor b = a;
    fp4_tensor d = a;
    fp4_status status = fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){m, 512}, &a);
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){264, 512}, &b);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, 264}, &d);
    }
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    if (status == FP4_OK) {
        status = fp4_tune(kernel, args, 4, runs, NULL);
    }
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
    return status;
}

static void measures_and_saves(void **state) {
    (void)state;
    char name[32];
    write_file(name, "1 132 7 1 1 1\n"); // is replaced
    load(NULL);
    assert_int_equal(measure(300, 5), FP4_OK);
    assert_int_equal(fake.n_launches, 2 * 6); // two variants, a first run and five
    assert_int_equal(measure(8, 4), FP4_OK);
    assert_int_equal(fake.n_launches, 2 * 6 + 3 * 5);
    if (fp4_tune_save(module, name) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    FILE *stream = fopen(name, "rb");
    char bytes[32000] = "";
    size_t n = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    // the fake's clock says 1 microsecond between two events
    static const char want[] = "0 132 200 300 264 512\n0 132 250 8 264 512\n1 132 250 8 264 512\n"
                               "2 132 200 300 264 512\n2 132 250 8 264 512\n";
    assert_memory_equal(bytes + n - strlen(want), want, strlen(want));
    assert_int_equal(fp4_module_load_file(ctx, name, &module), FP4_OK);
    assert_int_equal(fp4_tune_save(module, name), FP4_OK); // the same again
    char again[32000];
    stream = fopen(name, "rb");
    assert_int_equal(fread(again, 1, sizeof again, stream), n);
    fclose(stream);
    assert_memory_equal(again, bytes, n);
    // another module's file is left alone
    char *meta = sample_replace(sample_gemm_meta, "\"name\":\"nvfp4_gemm\"", "\"name\":\"other\"");
    sample_file other = sample_of(meta, sample_gemm_ptx);
    stream = fopen(name, "wb");
    assert_int_equal(fwrite(other.bytes, 1, other.n_bytes, stream), other.n_bytes);
    fclose(stream);
    assert_int_equal(fp4_tune_save(module, name), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "holds other kernels"));
    unlink(name);
    free(other.bytes);
    free(meta);
}

static void memory_may_run_out(void **state) {
    (void)state;
    char name[32];
    write_file(name, "0 132 900 4096 264 512\n");
    int n = 1;
    for (;; n++) {
        module = NULL;
        memory.countdown = n;
        fp4_status status = fp4_module_load_file(ctx, name, &module);
        if (status == FP4_OK) {
            status = fp4_module_kernel(module, NULL, NULL, &kernel);
        }
        if (status == FP4_OK) {
            status = measure(8, 1);
        }
        if (status == FP4_OK) {
            status = fp4_tune_save(module, name);
        }
        bool failed = memory.countdown == 0;
        memory.countdown = 0;
        fp4_module_free(module);
        assert_int_equal(status, failed ? FP4_ERROR_MEMORY : FP4_OK);
        if (!failed) {
            break;
        }
    }
    assert_true(n > 8);
    unlink(name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chooses, setup, teardown),
        cmocka_unit_test_setup_teardown(costs, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(measures_and_saves, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_may_run_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
