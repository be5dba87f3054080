// The whole way on the simulator, with the public header alone: open, load a module made by hand
// around a small PTX kernel, make tensors, launch, read back.
#include "fp4rt.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// D[i] = alpha * A[i] + base for i < N, one thread an element.
static const char scale_ptx[] =
    ".version 8.6\n"
    ".target sm_100a\n"
    ".address_size 64\n"
    ".visible .entry scale(.param .u64 pa, .param .u64 pd, .param .u32 pn, .param .f32 palpha,\n"
    "                      .param .u64 pbase)\n"
    "{\n"
    "    .reg .pred %p;\n"
    "    .reg .b32 %r<6>;\n"
    "    .reg .f32 %f<4>;\n"
    "    .reg .b64 %d<6>;\n"
    "    mov.u32 %r1, %ctaid.x;\n"
    "    mov.u32 %r2, %ntid.x;\n"
    "    mov.u32 %r3, %tid.x;\n"
    "    mad.lo.s32 %r4, %r1, %r2, %r3;\n"
    "    ld.param.u32 %r5, [pn];\n"
    "    setp.ge.u32 %p, %r4, %r5;\n"
    "    @%p bra done;\n"
    "    ld.param.u64 %d1, [pa];\n"
    "    ld.param.u64 %d2, [pd];\n"
    "    ld.param.u64 %d5, [pbase];\n"
    "    mul.wide.u32 %d3, %r4, 4;\n"
    "    add.u64 %d4, %d1, %d3;\n"
    "    ld.global.f32 %f1, [%d4];\n"
    "    ld.param.f32 %f2, [palpha];\n"
    "    cvt.rn.f32.s64 %f3, %d5;\n"
    "    fma.rn.f32 %f1, %f1, %f2, %f3;\n"
    "    add.u64 %d4, %d2, %d3;\n"
    "    st.global.f32 [%d4], %f1;\n"
    "done:\n"
    "    ret;\n"
    "}\n";

static const char scale_meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"scale.tk\",\"kernels\":[{\"name\":\"scale\",\"arch\":\"sm_"
    "100a\","
    "\"entry\":\"scale\",\"dims\":[\"N\"],\"tparams\":{\"B\":64},\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"format\":\"f32\",\"elem\":\"f32\","
    "\"scale\":null,\"layout\":null,\"dims\":[\"N\"],\"align\":4},"
    "{\"name\":\"alpha\",\"kind\":\"scalar\",\"elem\":\"f32\"},"
    "{\"name\":\"base\",\"kind\":\"scalar\",\"elem\":\"i64\"},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"format\":\"f32\",\"elem\":\"f32\","
    "\"scale\":null,\"layout\":null,\"dims\":[\"N\"],\"align\":4}],"
    "\"where\":[{\"expr\":[\"<\",\"N\",1000],\"text\":\"N < 1000\",\"line\":3}],"
    "\"args\":[{\"kind\":\"pointer\",\"tensor\":\"A\",\"part\":\"data\"},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"},"
    "{\"kind\":\"dim\",\"expr\":\"N\",\"type\":\"i32\"},"
    "{\"kind\":\"scalar\",\"name\":\"alpha\",\"type\":\"f32\"},"
    "{\"kind\":\"scalar\",\"name\":\"base\",\"type\":\"i64\"}],"
    "\"launch\":{\"threads\":64,\"smem\":0,\"cluster\":[1,1,1],"
    "\"grid\":{\"tiles\":[\"ceildiv\",\"N\",\"B\"],\"persistent\":false}}}]}";

// Box i of A, 16 rows of 32 bytes, to D[i], by tensor map: what lies outside A becomes 0.
static const char boxes_ptx[] =
    ".version 8.6\n"
    ".target sm_100a\n"
    ".address_size 64\n"
    ".visible .entry boxes(.param .align 64 .b8 pmap[128], .param .u64 pd, .param .u32 pcols)\n"
    "{\n"
    "    .reg .pred %p;\n"
    "    .reg .pred %q;\n"
    "    .reg .b32 %r<12>;\n"
    "    .reg .b64 %d<6>;\n"
    "    .shared .align 128 .b8 box[512];\n"
    "    .shared .align 8 .b64 bar;\n"
    "    mov.u32 %r1, %tid.x;\n"
    "    mov.u32 %r2, %ctaid.x;\n"
    "    mov.u32 %r3, bar;\n"
    "    mov.u32 %r4, box;\n"
    "    setp.ne.u32 %p, %r1, 0;\n"
    "    @%p bra ready;\n"
    "    mbarrier.init.shared::cta.b64 [%r3], 1;\n"
    "    fence.proxy.async.shared::cta;\n"
    "    ld.param.u32 %r5, [pcols];\n"
    "    div.u32 %r6, %r2, %r5;\n"
    "    rem.u32 %r7, %r2, %r5;\n"
    "    shl.b32 %r6, %r6, 4;\n"
    "    shl.b32 %r7, %r7, 5;\n"
    "    mov.b64 %d1, pmap;\n"
    "    cvta.param.u64 %d2, %d1;\n"
    "    mbarrier.arrive.expect_tx.shared::cta.b64 %d3, [%r3], 512;\n"
    "    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes\n"
    "        [%r4], [%d2, {%r7, %r6}], [%r3];\n"
    "ready:\n"
    "    bar.sync 0;\n"
    "wait:\n"
    "    mbarrier.try_wait.parity.shared::cta.b64 %q, [%r3], 0;\n"
    "    @!%q bra wait;\n"
    "    shl.b32 %r8, %r1, 2;\n"
    "    add.u32 %r9, %r4, %r8;\n"
    "    ld.shared.u32 %r10, [%r9];\n"
    "    shl.b32 %r11, %r2, 9;\n"
    "    add.u32 %r11, %r11, %r8;\n"
    "    ld.param.u64 %d4, [pd];\n"
    "    cvt.u64.u32 %d5, %r11;\n"
    "    add.u64 %d4, %d4, %d5;\n"
    "    st.global.u32 [%d4], %r10;\n"
    "    ret;\n"
    "}\n";

static const char boxes_meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"boxes.tk\",\"kernels\":[{\"name\":\"boxes\",\"arch\":\"sm_"
    "100a\","
    "\"entry\":\"boxes\",\"dims\":[\"M\",\"K\"],\"tparams\":{},\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"format\":\"e4m3\",\"elem\":\"e4m3\","
    "\"scale\":null,\"layout\":null,\"dims\":[\"M\",\"K\"],\"align\":16},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"format\":\"e4m3\",\"elem\":\"e4m3\","
    "\"scale\":null,\"layout\":null,"
    "\"dims\":[[\"*\",[\"ceildiv\",\"M\",16],[\"ceildiv\",\"K\",32]],16,32],\"align\":16}],"
    "\"args\":[{\"kind\":\"tensormap\",\"tensor\":\"A\",\"part\":\"data\",\"dtype\":0,"
    "\"dims\":[\"K\",\"M\"],\"strides\":[\"A.pitch\"],\"box\":[32,16],\"swizzle\":0},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"},"
    "{\"kind\":\"dim\",\"expr\":[\"ceildiv\",\"K\",32],\"type\":\"i32\"}],"
    "\"launch\":{\"threads\":128,\"smem\":0,\"cluster\":[1,1,1],"
    "\"grid\":{\"tiles\":[\"*\",[\"ceildiv\",\"M\",16],[\"ceildiv\",\"K\",32]],"
    "\"persistent\":false}}}]}";

static const char *device_name = "sim";
static fp4_ctx *ctx;
static fp4_device_info device;

static int setup(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = device_name;
    config.sim_sms = 4;
    fp4_status status = fp4_open(&config, &ctx);
    if (status != FP4_OK) {
        print_message("%s\n", fp4_last_error());
        return status;
    }
    return fp4_get_device_info(ctx, &device);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return 0;
}

static fp4_status load(const char *meta, const char *ptx, fp4_kernel **kernel) {
    const char *arch = strcmp(device.arch, "any") == 0 ? "sm_100a" : device.arch;
    char *our_meta = sample_replace(meta, "sm_100a", arch);
    char *our_ptx = sample_replace(ptx, "sm_100a", arch);
    sample_file file = sample_of(our_meta, our_ptx);
    fp4_module *module;
    fp4_status status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    free(file.bytes);
    free(our_meta);
    free(our_ptx);
    return status == FP4_OK ? fp4_module_kernel(module, NULL, NULL, kernel) : status;
}

static void runs(void **state) {
    (void)state;
    fp4_kernel *kernel;
    if (load(scale_meta, scale_ptx, &kernel) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    static const int64_t sizes[] = {1, 63, 64, 65, 500, 0};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t n = sizes[s];
        fp4_tensor a;
        fp4_tensor d;
        assert_int_equal(fp4_tensor_new(ctx, "f32", 1, &n, &a), FP4_OK);
        assert_int_equal(fp4_tensor_new(ctx, "f32", 1, &n, &d), FP4_OK);
        float x[500];
        float y[500];
        for (int i = 0; i < 500; i++) {
            x[i] = (float)(i - 250) / 3;
        }
        assert_int_equal(fp4_tensor_write(ctx, &a, x, NULL, NULL), FP4_OK);
        fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_f32(0.5f), fp4_arg_i64(-3),
                          fp4_arg_tensor(&d)};
        if (fp4_launch(kernel, args, 4, NULL) != FP4_OK) {
            fail_msg("%s", fp4_last_error());
        }
        assert_int_equal(fp4_sync(ctx, NULL), FP4_OK);
        assert_int_equal(fp4_tensor_read(ctx, &d, y, NULL, NULL), FP4_OK);
        for (int i = 0; i < n; i++) {
            assert_true(y[i] == x[i] * 0.5f - 3); // exact: the product of a halving is
        }
        fp4_tensor_free(&a);
        fp4_tensor_free(&d);
    }
    fp4_stats stats;
    assert_int_equal(fp4_get_stats(ctx, &stats), FP4_OK);
    assert_int_equal(stats.n_launches, 5);
    assert_int_equal(stats.device_bytes, 0);
    if (strcmp(device_name, "sim") == 0) {
        assert_string_equal(device.name, "sim");
        assert_int_equal(device.n_sms, 4);
        assert_int_equal(stats.thread_blocks, 1 + 1 + 1 + 2 + 8);
        assert_true(stats.warp_instructions > 100);
    }
}

static void copies_boxes_by_tensor_map(void **state) {
    (void)state;
    fp4_kernel *kernel;
    if (load(boxes_meta, boxes_ptx, &kernel) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    enum { M = 37, K = 50, PITCH = 64, BOXES = 3 * 2 };
    fp4_tensor a;
    fp4_tensor d;
    assert_int_equal(fp4_tensor_init(&a, "e4m3", 2, (int64_t[]){M, K}), FP4_OK);
    a.pitch = PITCH;
    assert_int_equal(fp4_tensor_alloc(ctx, &a), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "e4m3", 3, (int64_t[]){BOXES, 16, 32}, &d), FP4_OK);
    uint8_t x[M * PITCH];
    uint8_t y[BOXES][16][32];
    for (int i = 0; i < M * PITCH; i++) {
        x[i] = (uint8_t)(rand() % 255 + 1);
    }
    assert_int_equal(fp4_tensor_write(ctx, &a, x, NULL, NULL), FP4_OK);
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&d)};
    if (fp4_launch(kernel, args, 2, NULL) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    assert_int_equal(fp4_tensor_read(ctx, &d, y, NULL, NULL), FP4_OK);
    for (int box = 0; box < BOXES; box++) {
        for (int row = 0; row < 16; row++) {
            for (int col = 0; col < 32; col++) {
                int m = box / 2 * 16 + row;
                int k = box % 2 * 32 + col;
                assert_int_equal(y[box][row][col], m < M && k < K ? x[m * PITCH + k] : 0);
            }
        }
    }
    a.pitch = 56;
    if (fp4_launch(kernel, args, 2, NULL) == FP4_OK) {
        fail_msg("a pitch of 56 bytes was taken");
    }
    assert_non_null(strstr(fp4_last_error(), "row pitch of 56 bytes must be a multiple of 16"));
}

static void a_tensors_storage_is_zero(void **state) {
    (void)state;
    fp4_tensor t;
    assert_int_equal(fp4_tensor_new(ctx, "mxfp8", 2, (int64_t[]){3, 40}, &t), FP4_OK);
    uint8_t data[120];
    uint8_t scale[512];
    memset(data, 1, sizeof data);
    memset(scale, 1, sizeof scale);
    assert_int_equal(fp4_tensor_read(ctx, &t, data, scale, NULL), FP4_OK);
    for (size_t i = 0; i < sizeof scale; i++) {
        assert_int_equal(scale[i] | data[i % sizeof data], 0);
    }
    assert_int_equal(t.data % 256, 0);
    assert_int_equal(t.scale % 256, 0);
}

static void refuse(fp4_status status, const char *sentence) {
    if (status == FP4_OK || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
}

static void refusals_are_sentences(void **state) {
    (void)state;
    fp4_kernel *kernel;
    refuse(load(scale_meta, ".version 8.6\n.target sm_100a\n.visible .entry scale( {\n", &kernel),
           "simulator: scale: ptx:");
    refuse(load(scale_meta, ".version 8.6\n.target sm_100a\n.address_size 64\n", &kernel),
           "no entry 'scale'");
    char *meta = sample_replace(scale_meta, "\"expr\":\"N\",\"type\":\"i32\"",
                                "\"expr\":\"N\",\"type\":\"i64\"");
    assert_int_equal(load(meta, scale_ptx, &kernel), FP4_OK);
    fp4_tensor a;
    int64_t n = 10;
    assert_int_equal(fp4_tensor_new(ctx, "f32", 1, &n, &a), FP4_OK);
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_f32(0.5f), fp4_arg_i64(-3), fp4_arg_tensor(&a)};
    refuse(fp4_launch(kernel, args, 4, NULL),
           "parameter 2 of entry 'scale' has 4 bytes, the module describes 8");
    free(meta);
    assert_int_equal(load(scale_meta, scale_ptx, &kernel), FP4_OK);
    fp4_tensor wild = a; // an address that is nobody's
    wild.data = 4096;
    args[0].v.tensor = &wild;
    refuse(fp4_launch(kernel, args, 4, NULL), "simulator: scale: ");
    args[0].v.tensor = &a; // and the device goes on
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    n = 1000;
    fp4_tensor big;
    assert_int_equal(fp4_tensor_new(ctx, "f32", 1, &n, &big), FP4_OK);
    args[0].v.tensor = args[3].v.tensor = &big;
    refuse(fp4_launch(kernel, args, 4, NULL),
           "scale(): scale.tk:3 'where N < 1000' does not hold for N = 1000");
    uint64_t address;
    refuse(fp4_alloc(ctx, INT64_C(1) << 50, &address), "simulator: allocation: ");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_boxes_by_tensor_map, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tensors_storage_is_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_sentences, setup, teardown),
    };
    const struct CMUnitTest gpu_tests[] = {
        cmocka_unit_test_setup_teardown(runs, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_boxes_by_tensor_map, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tensors_storage_is_zero, setup, teardown),
    };
    if (argc > 1) {
        device_name = argv[1];
        return cmocka_run_group_tests_name("device", gpu_tests, NULL, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
