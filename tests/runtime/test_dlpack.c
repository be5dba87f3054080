// DLPack in and out: shapes, pitches and types of both sides, a way there and back, and refusals.
// The struct is laid out here once more, after the specification's text.
#include "fake_device.h"
#include "fp4rt_dlpack.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    void *data;
    int32_t device[2]; // type, id
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} view;

typedef struct managed {
    uint32_t version[2];
    void *context;
    void (*deleter)(struct managed *self);
    uint64_t flags;
    view tensor;
} managed;

static fake_device fake;
static fp4_ctx *ctx;
static fp4_format nvfp4, bf16;

static int setup(void **state) {
    (void)state;
    fake = (fake_device){
        .properties = {.name = "fake", .arch = "any", .n_sms = 1, .is_cuda = true, .index = 1}};
    fp4_format_find("nvfp4", &nvfp4);
    fp4_format_find("bf16", &bf16);
    return fake_open(&fake, NULL, &ctx);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return fake.n_blocks;
}

static int64_t pairs[] = {2, 5, 32};     // 64 elements in a row
static int64_t pitched[] = {240, 48, 1}; // in pairs
static int64_t scales[] = {2, 512};

static view data_view(void) {
    return (view){(void *)0x1000, {2, 1}, 3, 17, 4, 2, pairs, pitched, 0x200};
}

static view scale_view(void) {
    return (view){(void *)0x8000, {2, 1}, 2, 10, 8, 1, scales, NULL, 0};
}

static void comes_in(void **state) {
    (void)state;
    view data = data_view();
    view scale = scale_view();
    fp4_tensor t;
    assert_int_equal(fp4_tensor_from_dlpack(ctx, &nvfp4, &data, &scale, &t), FP4_OK);
    assert_int_equal(t.rank, 3);
    assert_int_equal(t.dims[0], 2);
    assert_int_equal(t.dims[1], 5);
    assert_int_equal(t.dims[2], 64);
    assert_int_equal(t.pitch, 48);
    assert_int_equal(t.data, 0x1200);
    assert_int_equal(t.scale, 0x8000);
    assert_true(t.global == 1);
    assert_null(t.ctx);
    data.code = 1; // bytes
    data.bits = 8;
    data.lanes = 1;
    scale.code = 1;
    assert_int_equal(fp4_tensor_from_dlpack(ctx, &nvfp4, &data, &scale, &t), FP4_OK);
    assert_int_equal(t.dims[2], 64);
    data.code = 17; // elements
    data.bits = 4;
    pairs[2] = 64;
    pitched[1] = 96;
    pitched[0] = 480;
    assert_int_equal(fp4_tensor_from_dlpack(ctx, &nvfp4, &data, &scale, &t), FP4_OK);
    assert_int_equal(t.dims[2], 64);
    assert_int_equal(t.pitch, 48);
    pairs[2] = 32;
    pitched[1] = 48;
    pitched[0] = 240;
    view plain = {(void *)0x1000, {2, 1}, 0, 4, 16, 1, NULL, NULL, 0};
    assert_int_equal(fp4_tensor_from_dlpack(ctx, &bf16, &plain, NULL, &t), FP4_OK);
    assert_int_equal(t.rank, 0);
}

static void refuse(const view *data, const view *scale, const char *sentence) {
    fp4_tensor t = {.rank = 77};
    fp4_status status = fp4_tensor_from_dlpack(ctx, &nvfp4, data, scale, &t);
    if (status == FP4_OK || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
    assert_int_equal(t.rank, 77);
}

static void refusals(void **state) {
    (void)state;
    view data = data_view();
    view scale = scale_view();
    refuse(NULL, &scale, "NULL argument");
    refuse(&data, NULL, "format e2m1 has block scales");
    data.device[0] = 1;
    refuse(&data, &scale, "data: lies on DLPack device type 1, expected a CUDA device");
    data = data_view();
    data.device[1] = 0;
    refuse(&data, &scale, "memory of cuda:0, but the context's device is fake");
    data = data_view();
    data.ndim = 6;
    refuse(&data, &scale, "6 dimensions, at most 5");
    data = data_view();
    data.lanes = 4;
    refuse(&data, &scale, "(code 17, 4 bits, 4 lanes) does not hold e2m1");
    data = data_view();
    pitched[2] = 2;
    refuse(&data, &scale, "axis 2 has stride 2");
    pitched[2] = 1;
    pitched[0] = 250;
    refuse(&data, &scale, "axis 0 has stride 250");
    pitched[0] = 240;
    pitched[1] = 20;
    pitched[0] = 100;
    refuse(&data, &scale, "pitch is 20 bytes, but a row of 64 e2m1 elements takes 32");
    pitched[1] = -48;
    pitched[0] = -240;
    refuse(&data, &scale, "a row stride of -48 is no pitch");
    pitched[1] = 48;
    pitched[0] = 240;
    pairs[1] = -5;
    refuse(&data, &scale, "dimension 1 is -5");
    pairs[1] = 5;
    scale.code = 14;
    refuse(&data, &scale, "scale: DLPack type (code 14, 8 bits, 1 lanes) does not hold ue4m3");
    scale = scale_view();
    scales[1] = 511;
    refuse(&data, &scale, "scale: it has 1022 bytes, layout sf128x4 takes 1024");
    scales[1] = INT64_MAX;
    refuse(&data, &scale, "scale: it has -1 bytes");
    scales[1] = 512;
    fp4_ctx *sim;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    fp4_tensor t;
    void *out = &t;
    assert_int_equal(fp4_open(&config, &sim), FP4_OK);
    assert_int_equal(fp4_tensor_from_dlpack(sim, &nvfp4, &data, &scale, &t), FP4_ERROR_MISMATCH);
    assert_int_equal(fp4_tensor_new(sim, "bf16", 1, (int64_t[]){3}, &t), FP4_OK);
    assert_int_equal(fp4_tensor_to_dlpack(sim, &t, FP4_DLPACK_ELEMENTS, &out),
                     FP4_ERROR_UNSUPPORTED);
    assert_null(out);
    fp4_close(sim);
    managed m = {.version = {2, 0}, .tensor = data};
    const void *inner;
    assert_int_equal(fp4_dlpack_tensor(&m, &inner), FP4_ERROR_UNSUPPORTED);
    assert_string_equal(fp4_last_error(), "a DLPack tensor of version 2.0, expected 1.x");
    m.version[0] = 1;
    assert_int_equal(fp4_dlpack_tensor(&m, &inner), FP4_OK);
    assert_ptr_equal(inner, &m.tensor);
    m.flags = 4;
    assert_int_equal(fp4_dlpack_tensor(&m, &inner), FP4_ERROR_UNSUPPORTED);
}

static void goes_out(void **state) {
    (void)state;
    fp4_tensor t;
    void *out;
    assert_int_equal(fp4_tensor_new(ctx, "nvfp4", 3, (int64_t[]){2, 5, 64}, &t), FP4_OK);
    t.pitch = 32;
    static const struct {
        fp4_dlpack_view view;
        int64_t shape[3], strides[3];
        int ndim, code, bits, lanes;
    } want[] = {
        {FP4_DLPACK_ELEMENTS, {2, 5, 64}, {320, 64, 1}, 3, 17, 4, 1},
        {FP4_DLPACK_PAIRS, {2, 5, 32}, {160, 32, 1}, 3, 17, 4, 2},
        {FP4_DLPACK_BYTES, {2, 5, 32}, {160, 32, 1}, 3, 1, 8, 1},
        {FP4_DLPACK_SCALE, {2, 512, 0}, {512, 1, 0}, 2, 10, 8, 1},
    };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fp4_tensor_to_dlpack(ctx, &t, want[i].view, &out), FP4_OK);
        managed *m = out;
        const view *v = &m->tensor;
        assert_int_equal(m->version[0], 1);
        assert_int_equal(m->flags, 0);
        assert_int_equal(v->device[0], 2);
        assert_int_equal(v->device[1], 1);
        assert_int_equal(v->ndim, want[i].ndim);
        assert_int_equal(v->code, want[i].code);
        assert_int_equal(v->bits, want[i].bits);
        assert_int_equal(v->lanes, want[i].lanes);
        assert_memory_equal(v->shape, want[i].shape, want[i].ndim * sizeof(int64_t));
        assert_memory_equal(v->strides, want[i].strides, want[i].ndim * sizeof(int64_t));
        assert_ptr_equal(v->data, i == 3 ? t.scale : t.data);
        m->deleter(m);
    }
    assert_int_equal(fp4_tensor_to_dlpack(ctx, &t, (fp4_dlpack_view)9, &out), FP4_ERROR_ARGUMENT);
    fp4_tensor_free(&t);
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 1, (int64_t[]){7}, &t), FP4_OK);
    assert_int_equal(fp4_tensor_to_dlpack(ctx, &t, FP4_DLPACK_PAIRS, &out), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_tensor_to_dlpack(ctx, &t, FP4_DLPACK_SCALE, &out), FP4_ERROR_ARGUMENT);
    assert_string_equal(fp4_last_error(), "fp4_tensor_to_dlpack(): format bf16 has no scales");
    fp4_tensor_free(&t);
}

static int n_live;
static bool no_memory;

static void *counting_alloc(void *user, void *old, size_t old_bytes, size_t new_bytes) {
    (void)user;
    (void)old_bytes;
    if (new_bytes == 0) {
        n_live -= old != NULL;
        free(old);
        return NULL;
    }
    void *block = no_memory ? NULL : realloc(old, new_bytes);
    n_live += block && !old;
    return block;
}

// A host tensor goes out and comes back as the same struct, in every view that says all of it.
static void there_and_back(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.alloc = counting_alloc;
    static uint8_t bytes[2 * 5 * 48];
    static uint8_t scale_bytes[1024];
    for (int linear = 0; linear < 2; linear++) {
        fp4_format format = nvfp4;
        format.layout = linear ? FP4_SF_LINEAR : FP4_SF_128X4;
        fp4_host host, back;
        assert_int_equal(fp4_host_init(&host, &format, 3, (int64_t[]){2, 5, 64}), FP4_OK);
        host.pitch = 48;
        host.data = bytes;
        host.scale = scale_bytes;
        for (int v = FP4_DLPACK_ELEMENTS; v <= FP4_DLPACK_BYTES; v++) {
            void *data;
            void *scale;
            const void *data_view_in;
            const void *scale_view_in;
            assert_int_equal(fp4_host_to_dlpack(&config, &host, (fp4_dlpack_view)v, &data), FP4_OK);
            assert_int_equal(fp4_host_to_dlpack(&config, &host, FP4_DLPACK_SCALE, &scale), FP4_OK);
            assert_int_equal(fp4_dlpack_tensor(data, &data_view_in), FP4_OK);
            assert_int_equal(fp4_dlpack_tensor(scale, &scale_view_in), FP4_OK);
            assert_int_equal(((const view *)scale_view_in)->ndim, linear ? 3 : 2);
            assert_int_equal(fp4_host_from_dlpack(&format, data_view_in, scale_view_in, &back),
                             FP4_OK);
            assert_int_equal(back.rank, 3);
            assert_memory_equal(back.dims, host.dims, 3 * sizeof host.dims[0]);
            assert_int_equal(back.pitch, 48);
            assert_ptr_equal(back.data, bytes);
            assert_ptr_equal(back.scale, scale_bytes);
            ((managed *)data)->deleter(data);
            ((managed *)scale)->deleter(scale);
        }
    }
    assert_int_equal(n_live, 0);
    fp4_host host;
    void *out;
    assert_int_equal(fp4_host_init(&host, &bf16, 0, NULL), FP4_OK);
    host.data = bytes;
    no_memory = true;
    assert_int_equal(fp4_host_to_dlpack(&config, &host, FP4_DLPACK_BYTES, &out), FP4_ERROR_MEMORY);
    assert_null(out);
    no_memory = false;
    assert_int_equal(fp4_host_to_dlpack(&config, NULL, FP4_DLPACK_BYTES, &out), FP4_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_in, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_out, setup, teardown),
        cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
