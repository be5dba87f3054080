// Launching against the fake device: what reaches it is exactly what the module describes, and
// every wrong argument is refused, in words, before anything reaches it.
#include "fake_device.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static fake_device fake;
static fp4_ctx *ctx;
static fp4_kernel *kernel;
static fp4_tensor a, b, d;
static fp4_arg args[8];
static int n_args;

static fp4_kernel *load(const char *meta) {
    sample_file file = sample_of(meta, sample_gemm_ptx);
    fp4_module *module = NULL;
    if (fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    free(file.bytes);
    fp4_kernel *k;
    assert_int_equal(fp4_module_kernel_at(module, 0, &k), FP4_OK);
    return k;
}

static fp4_kernel *load_edited(const char *old, const char *new) {
    char *meta = sample_replace(sample_gemm_meta, old, new);
    fp4_kernel *k = load(meta);
    free(meta);
    return k;
}

static void make_tensors(int64_t m, int64_t n, int64_t k) {
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
    assert_int_equal(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){m, k}, &a), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){n, k}, &b), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, n}, &d), FP4_OK);
    args[0] = fp4_arg_tensor(&a);
    args[1] = fp4_arg_tensor(&b);
    args[2] = fp4_arg_tensor(&d);
    args[3] = fp4_arg_f32(1.5f);
    n_args = 4;
}

static int setup(void **state) {
    (void)state;
    fake = (fake_device){
        .properties = {.name = "fake", .arch = "any", .n_sms = 10, .runs_any_arch = true}};
    if (fake_open(&fake, NULL, &ctx) != FP4_OK) {
        return 1;
    }
    kernel = load(sample_gemm_meta);
    make_tensors(300, 264, 512);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
    fp4_close(ctx);
    return fake.n_blocks || fake.n_images;
}

static uint64_t param(int i) {
    uint64_t value;
    memcpy(&value, fake.params[i], 8);
    return value;
}

static void device_gets_what_the_module_says(void **state) {
    (void)state;
    assert_int_equal(fp4_launch(kernel, args, n_args, &fake), FP4_OK);
    assert_int_equal(fake.n_launches, 1);
    const rt_launch *l = &fake.launch;
    // ceil(300/256) * ceil(264/256) = 4 tiles of 2 thread blocks; 10 SMs hold 5 clusters
    assert_int_equal(l->grid[0], 8);
    assert_int_equal(l->grid[1], 1);
    assert_int_equal(l->block[0], 192);
    assert_int_equal(l->cluster[0], 2);
    assert_int_equal(l->smem_bytes, 200000);
    assert_ptr_equal(l->stream, &fake);
    assert_int_equal(l->n_params, 7);
    static const size_t bytes[] = {128, 128, 8, 8, 4, 4, 4};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(l->params[i].bytes, bytes[i]);
    }
    assert_int_equal((uintptr_t)l->params[0].value % 64, 0);
    assert_int_equal((uintptr_t)l->params[1].value % 64, 0);
    assert_int_equal(fake.params[0][0], 0x40); // the first map that was encoded
    assert_int_equal(fake.params[1][127], 0x41);
    assert_int_equal(param(2), d.data);
    assert_int_equal(param(3), 528);
    assert_int_equal((uint32_t)param(4), 300);
    assert_int_equal((uint32_t)param(5), 2);
    float alpha;
    memcpy(&alpha, fake.params[6], 4);
    assert_true(alpha == 1.5f);
    const rt_tensormap *map = fake.map;
    assert_int_equal(map[0].address, a.data);
    assert_int_equal(map[0].rank, 2);
    assert_int_equal(map[0].dims[0], 256); // bytes of a row: 512 / 2
    assert_int_equal(map[0].dims[1], 300);
    assert_int_equal(map[0].strides[0], 256);
    assert_int_equal(map[0].box[1], 128);
    assert_int_equal(map[0].swizzle, 3);
    assert_int_equal(map[1].address, a.scale);
    assert_int_equal(map[1].dims[0], 384 * 32); // 300 rows padded to 384, 32 scales a row
    fp4_stats stats;
    assert_int_equal(fp4_get_stats(ctx, &stats), FP4_OK);
    assert_int_equal(stats.n_launches, 1);
}

static void persistent_grid_fits_the_device(void **state) {
    (void)state;
    make_tensors(256 * 7, 256, 32);
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.grid[0], 10); // 7 tiles, 5 clusters fit
    fp4_kernel *k = load_edited("\"persistent\":true", "\"persistent\":false");
    assert_int_equal(fp4_launch(k, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.grid[0], 14);
    make_tensors(256 * 17, 256, 32);
    k = load_edited("\"persistent\":true", "\"persistent\":true,\"per_sm\":3");
    assert_int_equal(fp4_launch(k, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.grid[0], 30); // 17 tiles, 15 clusters fit
}

static void own_pitch_reaches_the_map(void **state) {
    (void)state;
    fp4_tensor part = a;
    part.ctx = NULL;
    part.pitch = 272;
    uint64_t memory;
    assert_int_equal(fp4_alloc(ctx, 272 * 300, &memory), FP4_OK);
    part.data = memory;
    args[0].v.tensor = &part;
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.map[0].strides[0], 272);
    assert_int_equal(fp4_free(ctx, memory), FP4_OK);
}

static void no_tile_launches_nothing(void **state) {
    (void)state;
    make_tensors(0, 264, 512);
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    make_tensors(300, 0, 512);
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.n_launches, 0);
    assert_int_equal(fake.n_maps, 0);
    make_tensors(300, 264, 0); // a sum over nothing still writes D
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.n_launches, 1);
    assert_int_equal(fake.map[0].dims[0], 1);
    assert_int_equal(fake.map[0].strides[0], 16);
}

static void refuse(const char *sentence) {
    fp4_status status = fp4_launch(kernel, args, n_args, NULL);
    if (status == FP4_OK || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
    assert_int_equal(fake.n_launches, 0);
    assert_int_equal(fake.n_maps, 0);
}

// What blocks walk is counted in 32 bits, also where few blocks are launched.
static void refuses_too_many_tiles(void **state) {
    (void)state;
    const char *tiles = "[\"*\",[\"ceildiv\",\"M\",256],[\"ceildiv\",\"N\",256]]";
    kernel = load_edited(tiles, "[\"*\",\"M\",7158279]"); // 300 of them: 52 more than 2^31
    refuse("nvfp4_gemm(): 2147483700 tiles, at most 2147483647 are counted");
    kernel = load_edited(tiles, "[\"*\",\"M\",7158278]"); // 248 fewer
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.grid[0], 10);
}

static void refuses_bad_calls(void **state) {
    (void)state;
    assert_int_equal(fp4_launch(NULL, args, n_args, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_launch(kernel, NULL, 4, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_launch(kernel, args, -1, NULL), FP4_ERROR_ARGUMENT);
    n_args = 3;
    refuse("nvfp4_gemm(): 3 arguments, expected 4 (the next one is alpha)");
    args[4] = fp4_arg_f32(2);
    n_args = 5;
    refuse("nvfp4_gemm(): 5 arguments, expected 4");
    args[4] = fp4_arg_dim("Q", 2);
    refuse("nvfp4_gemm(): there is no size 'Q'");
    args[4] = fp4_arg_dim("M", 299);
    refuse("M = 299 in the call, but 300 in A");
    args[4] = fp4_arg_dim("M", -1);
    refuse("M = -1; sizes are not negative");
    n_args = 4;
    args[3] = fp4_arg_i32(1);
    refuse("argument 4 is an i32, expected an f32 for alpha");
    args[3] = fp4_arg_tensor(&a);
    refuse("argument 4 is a tensor, expected an f32 for alpha");
    args[3].kind = (fp4_arg_kind)77;
    refuse("argument 4 is of no known kind");
    args[3] = fp4_arg_f32(1);
    args[3].name = "beta";
    refuse("argument 4 is given as 'beta', but is alpha");
    args[3].name = "alpha";
    args[0].v.tensor = NULL;
    refuse("argument 1 (A) is a NULL tensor");
}

static void refuses_bad_tensors(void **state) {
    (void)state;
    fp4_tensor t = a;
    args[0].v.tensor = &t;
    t.size = 3;
    refuse("nvfp4_gemm(): A: fp4_tensor.size is 3");
    t = a;
    t.size = 4000;
    refuse("newer fp4rt.h");
    t = a;
    t.format.layout = FP4_SF_LINEAR;
    refuse("A is nvfp4 @ linear, expected nvfp4 @ sf128x4; fp4_relayout");
    t = a;
    fp4_format_find("mxfp4", &t.format);
    refuse("A is mxfp4 @ sf128x4, expected nvfp4 @ sf128x4");
    t.format = d.format;
    refuse("A is bf16, expected nvfp4 @ sf128x4");
    t = a;
    t.format.elem = (fp4_elem)99;
    refuse("element type 99");
    t = a;
    t.rank = 3;
    t.dims[2] = 32;
    refuse("A has 3 dimensions, expected 2");
    t.rank = -1;
    refuse("rank -1");
    t = a;
    t.dims[0] = -5;
    refuse("dimension 0 is -5");
    t.dims[0] = INT64_MAX;
    refuse("does not fit 63 bits");
    t = a;
    t.pitch = 100;
    refuse("pitch is 100 bytes, but a row of 512 e2m1 elements takes 256");
    t.pitch = 264;
    refuse("A: its row pitch of 264 bytes must be a multiple of 16");
    t = a;
    t.data += 8;
    refuse("of its data must be a multiple of 16");
    t = a;
    t.scale += 1;
    refuse("of its scales must be a multiple of 16");
    t = a;
    t.scale = 0;
    refuse("A has no memory for its scales (12288 bytes)");
    t = a;
    t.data = 0;
    refuse("A has no memory for its data (76800 bytes)");
    t = a;
    t.data = UINT64_MAX - 15;
    refuse("beyond the address space");
    t = a;
    t.dims[0] = 299;
    refuse("M = 299 in A, but 300 in D");
    t = a;
    t.dims[1] = 480;
    refuse("K = 480 in A, but 512 in B");
}

static void refuses_foreign_memory(void **state) {
    (void)state;
    fake_device other = {.properties = {.name = "other", .n_sms = 1}};
    fp4_ctx *second;
    assert_int_equal(fake_open(&other, NULL, &second), FP4_OK);
    fp4_tensor t;
    assert_int_equal(fp4_tensor_new(second, "nvfp4", 2, (int64_t[]){300, 512}, &t), FP4_OK);
    args[0].v.tensor = &t;
    refuse("A lies in another context's memory (device other)");
    assert_int_equal(fp4_tensor_read(ctx, &t, &t, NULL, NULL), FP4_ERROR_ARGUMENT);
    fp4_close(second); // frees the tensor's memory
    assert_int_equal(other.n_blocks, 0);
}

static void refuses_by_where(void **state) {
    (void)state;
    make_tensors(300, 264, 4112);
    refuse("nvfp4_gemm(): K = 4112 must be a multiple of 32 (gemm.tk:9 'where K % 32 == 0')");
    make_tensors(300, 256, 512);
    kernel = load_edited("[\"==\",[\"%\",\"N\",8],0],\"text\":\"N % 8 == 0\"",
                         "[\"and\",[\"<\",\"M\",100],[\">\",\"N\",\"M\"]],\"text\":\"M < 100\"");
    refuse("gemm.tk:9 'where M < 100' does not hold for M = 300, N = 256");
    kernel = load_edited("[\"%\",\"N\",8]", "[\"%\",\"N\",[\"-\",\"M\",300]]");
    refuse("N % 8 == 0 cannot be computed: '%' by 0");
    kernel =
        load_edited("[\"%\",\"N\",8]", "[\"*\",[\"*\",[\"*\",\"N\",9000000000000000],9000],9]");
    refuse("the result of '*' does not fit 64 bits");
    // 'and' does not look at its second operand when the first is false
    kernel = load_edited("[\"==\",[\"%\",\"N\",8],0]",
                         "[\"or\",[\">\",\"N\",1],[\"/\",1,[\"-\",\"M\",300]]]");
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
}

static void refuses_grids_and_sizes(void **state) {
    (void)state;
    kernel = load_edited("[\"ceildiv\",\"M\",256]", "[\"*\",\"M\",100000000]");
    refuse("60000000000 tiles, at most 2147483647 are counted");
    char *text = sample_replace(sample_gemm_meta, "\"persistent\":true", "\"persistent\":false");
    char *meta = sample_replace(text, "[\"ceildiv\",\"M\",256]", "[\"*\",\"M\",100000000]");
    kernel = load(meta);
    refuse("60000000000 tiles, of 0 .. 1073741823 that one launch can have");
    free(meta);
    meta = sample_replace(text, "[\"ceildiv\",\"M\",256]", "[\"-\",0,\"M\"]");
    kernel = load(meta);
    refuse("-600 tiles");
    free(meta);
    free(text);
    kernel = load_edited("\"expr\":\"M\"", "\"expr\":[\"*\",\"M\",100000000]");
    fake.n_maps = 0;
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "a size of 30000000000, of at most"));
    kernel = load_edited("\"dims\":[\"M\",\"N\"]", "\"dims\":[\"M\",[\"/\",\"N\",2]]");
    fake.n_maps = 0;
    refuse("dimension 2 of D is 264, expected 132");
}

// A kernel rounds a size up to its tiles in 32 bits: that must not wrap.
static void refuses_sizes_near_2_31(void **state) {
    (void)state;
    static const char size[] = "\"expr\":\"M\",\"type\":\"i32\"";
    kernel = load_edited(size, "\"expr\":[\"+\",\"M\",2147417812],\"type\":\"i32\"");
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK); // M is 300
    kernel = load_edited(size, "\"expr\":[\"+\",\"M\",2147417813],\"type\":\"i32\"");
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "a size of 2147418113, of at most 2147418112: the kernel rounds it up"));
}

static void unknown_size_is_asked_for(void **state) {
    (void)state;
    kernel = load_edited("[\"M\",\"N\",\"K\"]", "[\"M\",\"N\",\"K\",\"S\"]");
    refuse("size S is not known; give it, for example with fp4_arg_dim(\"S\", n)");
    args[4] = fp4_arg_dim("S", 3);
    n_args = 5;
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
}

static void refuses_another_target(void **state) {
    (void)state;
    ctx->properties.runs_any_arch = false;
    strcpy(ctx->properties.arch, "sm_90a");
    refuse("nvfp4_gemm(): compiled for sm_100a, the device fake is sm_90a");
}

// Two variants; the second serves small M.
static void takes_the_variant_whose_when_holds(void **state) {
    (void)state;
    const char *list = strstr(sample_gemm_meta, "[{\"name\"") + 1;
    char *first = sample_replace(sample_gemm_meta, "\"dims\":[\"M\",\"N\",\"K\"]",
                                 "\"when\":[\">\",\"M\",64],\"dims\":[\"M\",\"N\",\"K\"]");
    char *small = sample_replace(list, "\"dims\":[\"M\",\"N\",\"K\"]",
                                 "\"when\":[\">\",\"M\",8],\"dims\":[\"M\",\"N\",\"K\"]");
    char *threads = sample_replace(small, "\"threads\":192", "\"threads\":64");
    char meta[8000];
    snprintf(meta, sizeof meta, "%.*s,%s", (int)strlen(first) - 2, first, threads);
    sample_section sections[] = {{1, 0, meta, strlen(meta)},
                                 {2, 0, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {2, 1, sample_gemm_ptx, strlen(sample_gemm_ptx)}};
    sample_file file = sample_write(sections, 3);
    fp4_module *module;
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module), FP4_OK);
    assert_int_equal(fp4_module_kernel(module, NULL, NULL, &kernel), FP4_OK);
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.block[0], 192);
    make_tensors(64, 264, 512);
    assert_int_equal(fp4_launch(kernel, args, n_args, NULL), FP4_OK);
    assert_int_equal(fake.launch.block[0], 64);
    make_tensors(8, 264, 512);
    fake.n_launches = 0;
    refuse("nvfp4_gemm(): no variant for sm_100a admits these sizes");
    free(file.bytes);
    free(first);
    free(small);
    free(threads);
}

static void tells_shapes(void **state) {
    (void)state;
    fp4_dim dims[] = {{"K", 512}, {"M", 3}, {"N", 16}};
    int rank;
    int64_t shape[FP4_MAX_RANK];
    assert_int_equal(fp4_kernel_shape(kernel, 2, dims, 3, &rank, shape), FP4_OK);
    assert_int_equal(rank, 2);
    assert_int_equal(shape[0], 3);
    assert_int_equal(shape[1], 16);
    assert_int_equal(fp4_kernel_shape(kernel, 3, dims, 3, &rank, shape), FP4_OK);
    assert_int_equal(rank, 0);
    assert_int_equal(fp4_kernel_shape(kernel, 2, dims, 2, &rank, shape), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "size N is not known"));
    assert_int_equal(fp4_kernel_shape(kernel, 4, dims, 3, &rank, shape), FP4_ERROR_NOT_FOUND);
    assert_int_equal(fp4_kernel_admits(kernel, dims, 3), FP4_OK);
    dims[0].value = 513;
    assert_int_equal(fp4_kernel_admits(kernel, dims, 3), FP4_ERROR_MISMATCH);
    assert_non_null(strstr(fp4_last_error(), "K = 513 must be a multiple of 32"));
    dims[0].name = "J";
    assert_int_equal(fp4_kernel_admits(kernel, dims, 3), FP4_ERROR_MISMATCH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(device_gets_what_the_module_says, setup, teardown),
        cmocka_unit_test_setup_teardown(persistent_grid_fits_the_device, setup, teardown),
        cmocka_unit_test_setup_teardown(own_pitch_reaches_the_map, setup, teardown),
        cmocka_unit_test_setup_teardown(no_tile_launches_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_too_many_tiles, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_sizes_near_2_31, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_foreign_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_by_where, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_grids_and_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_size_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_another_target, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_the_variant_whose_when_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_shapes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
