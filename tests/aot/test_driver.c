// Embedded kernels that need libcuda alone, over the fake libcuda.so.1: what reaches the driver is
// what libfp4rt sends it for the same tensors; every driver call is made to fail in turn; bad
// arguments are refused by both. The fake's GPU 1 is a B200 (sm_100a), GPU 0 an H200, for which
// there is no code.
//
//   aot_driver          the fake
//   aot_driver none     no driver (skipped where there is one)
#include "batched.h"
#include "blocks.h"
#include "drv_batched.h"
#include "choice.h"
#include "drv_blocks.h"
#include "drv_choice.h"
#include "drv_free.h"
#include "drv_gemm.h"
#include "drv_names.h"
#include "drv_quantise.h"
#include "fake_cuda.h"
#include "free.h"
#include "gemm.h"
#include "quantise.h"
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fake_cuda_state *fake;

static int setup(void **state) {
    (void)state;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    fake = library ? dlsym(library, "fake_cuda") : NULL;
    if (!fake) {
        print_message("the fake libcuda.so.1 is not on the library path\n");
        return 1;
    }
    return 0;
}

static void assert_all_given_back(void) {
    assert_int_equal(fake->retained, 0);
    assert_int_equal(fake->pushed, 0);
    assert_int_equal(fake->n_libraries, 0);
    assert_int_equal(fake->without_context, 0);
    assert_true(fake->n_swept == 0 || fake->push_failed);
}

// What a launch told the driver.
typedef struct {
    cu_launch_config launch;
    cu_launch_attribute attributes_of[3];
    char attributes[200];
    char function[32];
    unsigned char params[16][128];
} record;

static void expect_params(const size_t *bytes, int n) {
    fake->n_params = n;
    memcpy(fake->param_bytes, bytes, (size_t)n * sizeof *bytes);
    memset(&fake->launch, 0, sizeof fake->launch);
    memset(fake->attributes_of, 0, sizeof fake->attributes_of);
    memset(fake->params, 0, sizeof fake->params);
    fake->attributes[0] = 0;
    fake->function = NULL; // that of the last launch may be unloaded by now
}

static record taken(void) {
    record r;
    memset(&r, 0, sizeof r);
    r.launch = fake->launch;
    r.launch.attributes = NULL;
    memcpy(r.attributes_of, fake->attributes_of, sizeof r.attributes_of);
    strcpy(r.attributes, fake->attributes);
    memcpy(r.params, fake->params, sizeof r.params);
    if (fake->function) { // the entry's name inside the library
        memcpy(r.function, fake->function, 8);
    }
    return r;
}

static void assert_same(const record *lib, const record *alone) {
    assert_true(lib->launch.grid[0] > 0);
    assert_memory_equal(&lib->launch, &alone->launch, sizeof lib->launch);
    assert_memory_equal(lib->attributes_of, alone->attributes_of, sizeof lib->attributes_of);
    assert_string_equal(lib->attributes, alone->attributes);
    assert_memory_equal(lib->function, alone->function, 8);
    assert_memory_equal(lib->params, alone->params, sizeof lib->params);
    assert_int_equal(fake->misaligned_maps, 0);
}

static fp4_ctx *open_gpu(const char *device) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = device;
    fp4_ctx *ctx;
    if (fp4_open(&config, &ctx) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    return ctx;
}

// Tensors at addresses of nobody: a launch of the fake reads none.
static fp4_tensor tensor_at(uint64_t address, const char *format, int rank, const int64_t *dims,
                            int64_t pitch) {
    fp4_tensor t;
    assert_int_equal(fp4_tensor_init(&t, format, rank, dims), FP4_OK);
    t.pitch = pitch;
    t.data = address;
    t.scale = t.format.scale != FP4_ELEM_NONE ? address + (1 << 20) : 0;
    return t;
}

#define SAME_TENSOR(type, t)                                                                       \
    {                                                                                              \
        (t).data, (t).scale, {(t).dims[0], (t).dims[1], (t).dims[2], (t).dims[3], (t).dims[4]},    \
            (t).pitch                                                                              \
    }

static void gemm_is_the_same(int64_t m, int64_t n, int64_t k, int64_t pitch) {
    const size_t bytes[] = {128, 128, 128, 128, 128, 4, 4, 4, 4};
    int stream;
    fp4_ctx *ctx = open_gpu("cuda:1");
    gemm_kernels kernels;
    fp4_tensor a = tensor_at(0x7f0000000000, "nvfp4", 2, (int64_t[]){m, k}, pitch);
    fp4_tensor b = tensor_at(0x7f0010000000, "nvfp4", 2, (int64_t[]){n, k}, 0);
    fp4_tensor d = tensor_at(0x7f0020000000, "bf16", 2, (int64_t[]){m, n}, 0);
    expect_params(bytes, 9);
    assert_int_equal(gemm_open(ctx, &kernels), FP4_OK);
    if (gemm_nvfp4_gemm(&kernels, &a, &b, &d, 0.5f, &stream) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    record lib = taken();
    fp4_close(ctx);
    drv_gemm_kernels *alone;
    drv_gemm_tensor x = SAME_TENSOR(drv_gemm_tensor, a);
    drv_gemm_tensor y = SAME_TENSOR(drv_gemm_tensor, b);
    drv_gemm_tensor z = SAME_TENSOR(drv_gemm_tensor, d);
    expect_params(bytes, 9);
    if (drv_gemm_open(1, &alone) != DRV_GEMM_OK ||
        drv_gemm_nvfp4_gemm(alone, &x, &y, &z, 0.5f, &stream) != DRV_GEMM_OK) {
        fail_msg("%s", drv_gemm_last_error());
    }
    record own = taken();
    drv_gemm_close(alone);
    assert_same(&lib, &own);
    assert_ptr_equal(own.launch.stream, &stream);
    assert_int_equal(own.attributes_of[0].value.cluster[0], 2);
    assert_all_given_back();
}

static void gemm(void **state) {
    (void)state;
    gemm_is_the_same(300, 264, 512, 0);
    gemm_is_the_same(1, 8, 32, 0);
    gemm_is_the_same(4097, 8192, 7168, 4096);
    gemm_is_the_same(257, 16, 96, 64);
}

static void batched(void **state) {
    (void)state;
    const int64_t e = 5, m = 130, n = 264, k = 160;
    const size_t bytes[] = {128, 128, 128, 128, 128, 8, 4, 4, 4, 4};
    fp4_ctx *ctx = open_gpu("cuda:1");
    batched_kernels kernels;
    fp4_tensor x = tensor_at(0x7f0000000000, "nvfp4", 3, (int64_t[]){e, m, k}, 96);
    fp4_tensor w = tensor_at(0x7f0010000000, "nvfp4", 3, (int64_t[]){e, n, k}, 0);
    fp4_tensor gain = tensor_at(0x7f0030000000, "f32", 1, (int64_t[]){e}, 0);
    fp4_tensor y = tensor_at(0x7f0020000000, "bf16", 3, (int64_t[]){e, m, n}, 0);
    expect_params(bytes, 10);
    assert_int_equal(batched_open(ctx, &kernels), FP4_OK);
    if (batched_batched(&kernels, &x, &w, &gain, &y, NULL) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    record lib = taken();
    fp4_close(ctx);
    drv_batched_kernels *alone;
    drv_batched_tensor x2 = SAME_TENSOR(drv_batched_tensor, x);
    drv_batched_tensor w2 = SAME_TENSOR(drv_batched_tensor, w);
    drv_batched_tensor gain2 = SAME_TENSOR(drv_batched_tensor, gain);
    drv_batched_tensor y2 = SAME_TENSOR(drv_batched_tensor, y);
    expect_params(bytes, 10);
    if (drv_batched_open(1, &alone) != DRV_BATCHED_OK ||
        drv_batched_batched(alone, &x2, &w2, &gain2, &y2, NULL) != DRV_BATCHED_OK) {
        fail_msg("%s", drv_batched_last_error());
    }
    record own = taken();
    drv_batched_close(alone);
    assert_same(&lib, &own);
    assert_all_given_back();
}

// Scales of 128 x 128, on the H200.
static void blocks(void **state) {
    (void)state;
    const int64_t m = 130, n = 264, k = 160;
    const size_t bytes[] = {128, 128, 128, 8, 8, 4, 4, 4};
    const fp4_format rows = {FP4_ELEM_E4M3, FP4_ELEM_F32, 1, 128, FP4_SF_LINEAR};
    const fp4_format squares = {FP4_ELEM_E4M3, FP4_ELEM_F32, 128, 128, FP4_SF_LINEAR};
    fp4_ctx *ctx = open_gpu("cuda:0");
    blocks_kernels kernels;
    fp4_tensor a = tensor_at(0x7f0000000000, "e4m3", 2, (int64_t[]){m, k}, 0);
    fp4_tensor b = tensor_at(0x7f0010000000, "e4m3", 2, (int64_t[]){n, k}, 176);
    fp4_tensor d = tensor_at(0x7f0020000000, "bf16", 2, (int64_t[]){m, n}, 0);
    a.format = rows;
    b.format = squares;
    a.scale = a.data + (1 << 20);
    b.scale = b.data + (1 << 20);
    expect_params(bytes, 8);
    assert_int_equal(blocks_open(ctx, &kernels), FP4_OK);
    if (blocks_blocks(&kernels, &a, &b, &d, NULL) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    record lib = taken();
    b.scale = 0;
    assert_int_equal(blocks_blocks(&kernels, &a, &b, &d, NULL), FP4_ERROR_MISMATCH);
    const char *want =
        strstr(fp4_last_error(), "(24 bytes)"); // ceil(264 / 128) x ceil(160 / 128) x 4
    assert_non_null(want);
    b.scale = b.data + (1 << 20);
    fp4_close(ctx);
    drv_blocks_kernels *alone;
    drv_blocks_tensor a2 = SAME_TENSOR(drv_blocks_tensor, a);
    drv_blocks_tensor b2 = SAME_TENSOR(drv_blocks_tensor, b);
    drv_blocks_tensor d2 = SAME_TENSOR(drv_blocks_tensor, d);
    expect_params(bytes, 8);
    if (drv_blocks_open(0, &alone) != DRV_BLOCKS_OK ||
        drv_blocks_blocks(alone, &a2, &b2, &d2, NULL) != DRV_BLOCKS_OK) {
        fail_msg("%s", drv_blocks_last_error());
    }
    record own = taken();
    b2.scale = 0;
    assert_int_equal(drv_blocks_blocks(alone, &a2, &b2, &d2, NULL), DRV_BLOCKS_ERROR_MISMATCH);
    assert_non_null(strstr(drv_blocks_last_error(), "(24 bytes)"));
    drv_blocks_close(alone);
    assert_same(&lib, &own);
    assert_int_equal(own.launch.n_attributes, 0);
    assert_int_equal(own.launch.grid[0], 6); // 2 x 3 tiles, fewer than SMs
    assert_all_given_back();
}

// Thread blocks that a variant needs, and what it costs on the fake's 148 multiprocessors.
static int64_t tiles_of(int64_t m, int64_t n, int64_t bn) {
    return (m + 127) / 128 * ((n + bn - 1) / bn);
}

static void chosen_alike(int64_t m, int64_t n) {
    const size_t bytes[] = {8, 8, 8, 8, 4, 4};
    int stream;
    fp4_ctx *ctx = open_gpu("cuda:1");
    choice_kernels kernels;
    int64_t dims[] = {m, n};
    fp4_tensor x = tensor_at(0x7f0000000000, "f32", 2, dims, 0);
    fp4_tensor d = tensor_at(0x7f0020000000, "f32", 2, dims, 0);
    expect_params(bytes, 6);
    assert_int_equal(choice_open(ctx, &kernels), FP4_OK);
    if (choice_twice(&kernels, &x, &d, &stream) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    record lib = taken();
    fp4_close(ctx);
    drv_choice_kernels *alone;
    drv_choice_tensor y = SAME_TENSOR(drv_choice_tensor, x);
    drv_choice_tensor z = SAME_TENSOR(drv_choice_tensor, d);
    expect_params(bytes, 6);
    if (drv_choice_open(1, &alone) != DRV_CHOICE_OK ||
        drv_choice_twice(alone, &y, &z, &stream) != DRV_CHOICE_OK) {
        fail_msg("%s", drv_choice_last_error());
    }
    record own = taken();
    drv_choice_close(alone);
    assert_same(&lib, &own);
    int64_t wide = (tiles_of(m, n, 128) + 147) / 148 * 128;
    int64_t narrow = m == 3 ? INT64_MAX : (tiles_of(m, n, 64) + 147) / 148 * 66 + 9 / (m - 3);
    int64_t tiles = tiles_of(m, n, m > 1 && wide <= narrow ? 128 : 64);
    assert_int_equal(own.launch.grid[0], tiles < 4 * 148 ? tiles : 4 * 148);
    assert_all_given_back();
}

static void choice(void **state) {
    (void)state;
    chosen_alike(1, 512);  // the cheaper one alone admits it
    chosen_alike(2, 512);  // 9 / (2 - 3) makes the narrow one cheaper
    chosen_alike(3, 512);  // a division by 0 is dearer than all
    chosen_alike(4, 512);
    chosen_alike(300, 512);
    chosen_alike(128, 74 * 128);
    chosen_alike(128, 148 * 128); // one wave of wide tiles, two of narrow ones
    chosen_alike(1024, 148 * 64);
}

// A size that no tensor tells, and clauses over it: those of free.sh in C.
static void free_sizes(void **state) {
    (void)state;
    const int64_t m = 3, n = 16, k = 64;
    const size_t bytes[] = {128, 128, 128, 128, 128, 4, 4, 4, 4, 4};
    fp4_ctx *ctx = open_gpu("cuda:1");
    free_kernels kernels;
    drv_free_kernels *alone;
    fp4_tensor a = tensor_at(0x7f0000000000, "nvfp4", 2, (int64_t[]){m, k}, 0);
    fp4_tensor b = tensor_at(0x7f0010000000, "nvfp4", 2, (int64_t[]){n, k}, 0);
    fp4_tensor d = tensor_at(0x7f0020000000, "bf16", 2, (int64_t[]){m, n}, 0);
    drv_free_tensor a2 = SAME_TENSOR(drv_free_tensor, a);
    drv_free_tensor b2 = SAME_TENSOR(drv_free_tensor, b);
    drv_free_tensor d2 = SAME_TENSOR(drv_free_tensor, d);
    assert_int_equal(free_open(ctx, &kernels), FP4_OK);
    assert_int_equal(drv_free_open(1, &alone), DRV_FREE_OK);
    for (int64_t l = -2; l < 12; l++) {
        bool holds = l >= 0 && (l - 2 < 3 || l == 7);
        holds = holds && (l < 4 ? l : 4) <= (l + 1 > l / 2 ? l + 1 : l / 2);
        expect_params(bytes, 10);
        assert_int_equal(free_nvfp4_gemm(&kernels, &a, &b, &d, 1, l, NULL) == FP4_OK, holds);
        record lib = taken();
        expect_params(bytes, 10);
        assert_int_equal(drv_free_nvfp4_gemm(alone, &a2, &b2, &d2, 1, l, NULL) == DRV_FREE_OK,
                         holds);
        record own = taken();
        strcpy(own.attributes, lib.attributes); // of the loading
        if (holds) {
            assert_same(&lib, &own);
        }
    }
    assert_int_equal(drv_free_nvfp4_gemm(alone, &a2, &b2, &d2, 1, INT64_MIN, NULL),
                     DRV_FREE_ERROR_ARGUMENT);
    assert_int_equal(drv_free_nvfp4_gemm(alone, &a2, &b2, &d2, 1, INT64_MAX, NULL),
                     DRV_FREE_ERROR_MISMATCH);
    drv_free_close(alone);
    fp4_close(ctx);
    assert_all_given_back();
}

// The rest is about drv_gemm.

static drv_gemm_status scenario(void) {
    drv_gemm_kernels *kernels = NULL;
    drv_gemm_tensor a = {0x1000, 0x2000, {300, 512, 0, 0, 0}, 0};
    drv_gemm_tensor b = {0x3000, 0x4000, {264, 512, 0, 0, 0}, 0};
    drv_gemm_tensor d = {0x5000, 0, {300, 264, 0, 0, 0}, 0};
    fake->n_params = 0;
    drv_gemm_status status = drv_gemm_open(1, &kernels);
    if (status == DRV_GEMM_OK) {
        status = drv_gemm_nvfp4_gemm(kernels, &a, &b, &d, 1, NULL);
    }
    drv_gemm_close(kernels);
    return status;
}

static void every_call_may_fail(void **state) {
    (void)state;
    int n = 1;
    for (;; n++) {
        fake->fail_at = n;
        fake->fail_with = n % 2 ? 2 : 999;
        drv_gemm_status status = scenario();
        bool failed = fake->fail_at == 0;
        fake->fail_at = 0;
        assert_all_given_back();
        bool hidden = fake->n_hidden || fake->n_swept;
        fake->n_hidden = fake->n_swept = fake->push_failed = 0;
        if (!failed) {
            assert_int_equal(status, DRV_GEMM_OK);
            break;
        }
        if (!hidden) {
            assert_int_equal(status, DRV_GEMM_ERROR_DEVICE);
            assert_non_null(
                strstr(drv_gemm_last_error(), n % 2 ? "OUT_OF_MEMORY 2" : "OF_THE_FAKE 999"));
        }
    }
    assert_true(n > 20);
    print_message("%d calls\n", n - 1);
}

static void assert_refused(drv_gemm_status status, drv_gemm_status want, const char *sentence) {
    if (status != want || !strstr(drv_gemm_last_error(), sentence)) {
        fail_msg("status %d, '%s', expected %d, '%s'", (int)status, drv_gemm_last_error(),
                 (int)want, sentence);
    }
}

static void refusals(void **state) {
    (void)state;
    drv_gemm_kernels *k;
    assert_refused(drv_gemm_open(1, NULL), DRV_GEMM_ERROR_ARGUMENT, "NULL argument");
    assert_refused(drv_gemm_open(7, &k), DRV_GEMM_ERROR_UNAVAILABLE,
                   "cuda:7: the driver shows 2 GPUs");
    assert_refused(drv_gemm_open(-1, &k), DRV_GEMM_ERROR_UNAVAILABLE, "cuda:-1");
    assert_refused(drv_gemm_open(0, &k), DRV_GEMM_ERROR_UNAVAILABLE,
                   "gemm.tk was not compiled for sm_90a, which Fake H200 is");
    assert_null(k);
    drv_names_kernels *names;
    assert_int_equal(drv_names_open(1, &names), DRV_NAMES_ERROR_UNAVAILABLE);
    assert_int_equal(drv_gemm_open(1, &k), DRV_GEMM_OK);
    const drv_gemm_tensor a = {0x1000, 0x2000, {300, 512, 0, 0, 0}, 0};
    const drv_gemm_tensor b = {0x3000, 0x4000, {264, 512, 0, 0, 0}, 0};
    const drv_gemm_tensor d = {0x5000, 0, {300, 264, 0, 0, 0}, 0};
    fake->n_params = 0;
    int calls = fake->n_calls;
    drv_gemm_tensor t = a;
#define REFUSED(a, b, d, status, sentence)                                                         \
    assert_refused(drv_gemm_nvfp4_gemm(k, a, b, d, 1, NULL), DRV_GEMM_ERROR_##status, sentence)
    assert_refused(drv_gemm_nvfp4_gemm(NULL, &a, &b, &d, 1, NULL), DRV_GEMM_ERROR_ARGUMENT,
                   "NULL argument");
    REFUSED(NULL, &b, &d, MISMATCH, "nvfp4_gemm(): A is a NULL tensor");
    t.dims[0] = 301;
    REFUSED(&t, &b, &d, MISMATCH, "nvfp4_gemm(): dimension 1 of D is 300, expected 301");
    t.dims[0] = -1;
    REFUSED(&t, &b, &d, ARGUMENT, "sizes are not negative");
    t.dims[0] = INT64_MAX;
    REFUSED(&t, &b, &d, ARGUMENT, "does not fit 63 bits");
    t = a;
    t.dims[1] = 520;
    drv_gemm_tensor u = b;
    u.dims[1] = 520;
    REFUSED(&t, &u, &d, MISMATCH, "gemm.tk:9 'where K % 32 == 0' does not hold");
    t = a;
    t.data = 0x1008;
    REFUSED(&t, &b, &d, MISMATCH, "the address 0x1008 of its data must be a multiple of 16");
    t = a;
    t.scale = 0;
    REFUSED(&t, &b, &d, MISMATCH, "A has no memory for its scales (12288 bytes)");
    t = a;
    t.pitch = 255;
    REFUSED(&t, &b, &d, ARGUMENT, "its pitch is less than a row takes");
    t.pitch = 264;
    REFUSED(&t, &b, &d, MISMATCH, "its row pitch of 264 bytes must be a multiple of 16");
    t.pitch = INT64_C(1) << 40;
    assert_int_equal(fake->n_calls, calls); // nothing reached the driver so far
    REFUSED(&t, &b, &d, MISMATCH, "must be a multiple of 16 below 2^40");
    // No tile: success, and nothing reaches the driver.
    t = a;
    u = d;
    t.dims[0] = u.dims[0] = 0;
    calls = fake->n_calls;
    assert_int_equal(drv_gemm_nvfp4_gemm(k, &t, &b, &u, 1, NULL), DRV_GEMM_OK);
    assert_int_equal(fake->n_calls, calls);
    // K = 0: a product of zeros, over maps of one element.
    t = a;
    u = b;
    t.dims[1] = u.dims[1] = 0;
    assert_int_equal(drv_gemm_nvfp4_gemm(k, &t, &u, &d, 1, NULL), DRV_GEMM_OK);
    drv_gemm_close(k);
    drv_gemm_close(NULL);
    assert_all_given_back();
}

static void quantise(void **state) {
    (void)state;
    drv_quantise_kernels *k;
    assert_int_equal(drv_quantise_open(1, &k), DRV_QUANTISE_OK);
    drv_quantise_close(k);
    assert_all_given_back();
}

static void no_driver(void **state) {
    (void)state;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library) {
        dlclose(library);
        skip();
    }
    drv_gemm_kernels *k;
    assert_refused(drv_gemm_open(0, &k), DRV_GEMM_ERROR_UNAVAILABLE,
                   "libcuda.so.1 cannot be loaded");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm),
        cmocka_unit_test(batched),
        cmocka_unit_test(blocks),
        cmocka_unit_test(choice),
        cmocka_unit_test(quantise),
        cmocka_unit_test(free_sizes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_call_may_fail),
    };
    const struct CMUnitTest none_tests[] = {cmocka_unit_test(no_driver)};
    if (argc > 1 && strcmp(argv[1], "none") == 0) {
        return cmocka_run_group_tests(none_tests, NULL, NULL);
    }
    return cmocka_run_group_tests(tests, setup, NULL);
}
