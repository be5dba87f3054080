// Module files: a good one is read completely, every malformed one is refused with a sentence that
// says what is wrong.
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

static int setup(void **state) {
    (void)state;
    fake = (fake_device){
        .properties = {.name = "fake", .arch = "any", .n_sms = 10, .runs_any_arch = true}};
    return fake_open(&fake, NULL, &ctx);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return fake.n_images;
}

static void reads_all_fields(void **state) {
    (void)state;
    sample_file file = sample_of(sample_gemm_meta, sample_gemm_ptx);
    fp4_module *module;
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module), FP4_OK);
    free(file.bytes); // the module keeps no pointer into the caller's bytes
    assert_string_equal(fp4_module_source(module), "gemm.tk");
    assert_int_equal(fp4_module_count(module), 1);
    fp4_kernel *kernel;
    assert_int_equal(fp4_module_kernel(module, "nvfp4_gemm", "sm_100a", &kernel), FP4_OK);
    assert_int_equal(fake.n_images, 1);
    fp4_kernel_info info;
    assert_int_equal(fp4_kernel_get_info(kernel, &info), FP4_OK);
    assert_string_equal(info.entry, "nvfp4_gemm");
    assert_int_equal(info.n_params, 4);
    assert_int_equal(info.n_dims, 3);
    assert_int_equal(info.n_where, 2);
    assert_int_equal(info.threads, 192);
    assert_int_equal(info.cluster, 2);
    assert_int_equal(info.smem_bytes, 200000);
    assert_int_equal(info.regs, 128);
    assert_int_equal(info.spill_bytes, 0);
    assert_string_equal(info.ptx, sample_gemm_ptx);
    assert_string_equal(fp4_kernel_dim(kernel, 2), "K");
    assert_null(fp4_kernel_dim(kernel, 3));
    assert_string_equal(fp4_kernel_where(kernel, 1), "K % 32 == 0");
    fp4_param_info param;
    assert_int_equal(fp4_kernel_param(kernel, 1, &param), FP4_OK);
    assert_string_equal(param.name, "B");
    assert_int_equal(param.format.elem, FP4_ELEM_E2M1);
    assert_int_equal(param.format.scale, FP4_ELEM_UE4M3);
    assert_int_equal(param.format.granule_cols, 16);
    assert_int_equal(param.format.layout, FP4_SF_128X4);
    assert_int_equal(param.rank, 2);
    assert_int_equal(param.align, 16);
    assert_int_equal(fp4_kernel_param(kernel, 2, &param), FP4_OK);
    assert_int_equal(param.mode, FP4_MODE_OUT);
    assert_int_equal(fp4_kernel_param(kernel, 4, &param), FP4_ERROR_NOT_FOUND);
    fp4_module_free(module);
    assert_int_equal(fake.n_images, 0);
}

static void finds_kernels(void **state) {
    (void)state;
    // two kernels: the sample, and the same for sm_120a
    const char *list = strstr(sample_gemm_meta, "[{\"name\"") + 1;
    size_t n = strlen(list) - 2;
    char *meta = malloc(2 * strlen(sample_gemm_meta));
    sprintf(meta, "%.*s,%.*s]}", (int)(list - sample_gemm_meta + (ptrdiff_t)n), sample_gemm_meta,
            (int)n, list);
    char *second = strstr(strstr(meta, "sm_100a") + 1, "sm_100a");
    memcpy(second, "sm_120a", 7);
    sample_section sections[] = {{2, 1, sample_gemm_ptx, strlen(sample_gemm_ptx)},
                                 {1, 0, meta, strlen(meta)},
                                 {2, 0, sample_gemm_ptx, strlen(sample_gemm_ptx) + 1},
                                 {3, 1, "cubin", 5}};
    sample_file file = sample_write(sections, 4);
    fp4_module *module;
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module), FP4_OK);
    assert_int_equal(fp4_module_count(module), 2);
    fp4_kernel *kernel;
    fp4_kernel_info info;
    assert_int_equal(fp4_module_kernel(module, NULL, NULL, &kernel), FP4_OK);
    fp4_kernel_get_info(kernel, &info);
    assert_string_equal(info.arch, "sm_100a");
    assert_int_equal(fp4_module_kernel(module, "nvfp4_gemm", "sm_120a", &kernel), FP4_OK);
    fp4_kernel_get_info(kernel, &info);
    assert_string_equal(info.arch, "sm_120a");
    assert_int_equal(fp4_module_kernel(module, "nvfp4_gemm", "sm_90a", &kernel),
                     FP4_ERROR_NOT_FOUND);
    assert_non_null(strstr(fp4_last_error(),
                           "nvfp4_gemm for sm_90a in gemm.tk; it has nvfp4_gemm for "
                           "sm_100a, nvfp4_gemm for sm_120a"));
    assert_int_equal(fp4_module_kernel(module, "gem", NULL, &kernel), FP4_ERROR_NOT_FOUND);
    assert_int_equal(fp4_module_kernel_at(module, 2, &kernel), FP4_ERROR_NOT_FOUND);
    free(file.bytes);
    free(meta);
}

static void refuse_file(const sample_file *file, const char *sentence) {
    fp4_module *module = (fp4_module *)&fake;
    fp4_status status = fp4_module_load_memory(ctx, file->bytes, file->n_bytes, &module);
    if (status != FP4_ERROR_MODULE || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
    assert_null(module);
}

static void refuses_files(void **state) {
    (void)state;
    sample_file good = sample_of(sample_gemm_meta, sample_gemm_ptx);
    sample_file bad = good;
    for (size_t n = 0; n < good.n_bytes; n++) {
        bad.n_bytes = n;
        refuse_file(&bad, n < 32 ? "not a module" : "cut off");
    }
    bad.n_bytes = good.n_bytes + 1;
    refuse_file(&bad, "grown");
    for (size_t bit = 0; bit < 8 * good.n_bytes; bit++) {
        good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fp4_module *module = NULL;
        assert_int_equal(fp4_module_load_memory(ctx, good.bytes, good.n_bytes, &module),
                         FP4_ERROR_MODULE);
        assert_true(strlen(fp4_last_error()) > 10);
        good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bad.n_bytes = good.n_bytes;
    static const struct {
        size_t at;
        uint8_t to;
        const char *sentence;
    } cases[] = {
        {0, 'X', "not a module"},
        {8, 2, "version 2, this library reads version 1"},
        {12, 200, "200 sections"},
        {15, 200, "sections"},
        {24, 0, "checksum"},
        {32, 9, "kind 9"},
        {36, 1, "no META section"},
        {40, 0x51, "offset"},
        {41, 0xff, "outside the file"},
        {47, 0x80, "outside the file"},
        {55, 0xff, "outside the file"},
        {64, 0, "overlap"},
        {60, 3, "code for kernel 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t old = good.bytes[cases[i].at];
        assert_int_not_equal(old, cases[i].to);
        good.bytes[cases[i].at] = cases[i].to;
        if (cases[i].at >= 32) {
            sample_seal(&good);
        }
        if (cases[i].at == 64) { // PTX over META
            memcpy(good.bytes + 64, good.bytes + 40, 8);
            sample_seal(&good);
        }
        refuse_file(&good, cases[i].sentence);
        free(good.bytes);
        good = sample_of(sample_gemm_meta, sample_gemm_ptx);
    }
    free(good.bytes);
    sample_section none[] = {{1, 0, sample_gemm_meta, strlen(sample_gemm_meta)}};
    good = sample_write(none, 1);
    refuse_file(&good, "neither PTX nor cubin");
    free(good.bytes);
    sample_section zero[] = {none[0], {2, 0, "a\0b", 3}};
    good = sample_write(zero, 2);
    refuse_file(&good, "0 byte");
    free(good.bytes);
}

static void refuses_meta(void **state) {
    (void)state;
    static const struct {
        const char *old, *new, *sentence;
    } cases[] = {
        {"{\"fp4c\"", "{{\"fp4c\"", "no JSON"},
        {"}]}", "}]} x", "behind its end"},
        {"\"source\"", "\"sauce\"", "META: 'source' is missing"},
        {"\"gemm.tk\"", "\"ge\\u0001mm\"", "control character"},
        {"\"kernels\":[", "\"kernels\":[],\"k\":[", "'kernels' is missing or no list of 1"},
        {"\"name\":\"nvfp4_gemm\"", "\"name\":\"nv fp4\"", "kernels[0]: 'name' is \"nv fp4\""},
        {"\"name\":\"nvfp4_gemm\"", "\"name\":3", "kernels[0]: 'name' is missing"},
        {"\"arch\"", "\"a\"", "'arch' is missing"},
        {"\"entry\":", "\"e\":", "'entry' is missing"},
        {"\"dims\":[\"M\",\"N\",\"K\"]", "\"dims\":[\"M\",\"N\",7]", ".dims[2]: expected a name"},
        {"\"dims\":[\"M\",\"N\",\"K\"]", "\"dims\":[\"M\",\"N\"]", "'K', which is no size"},
        {"\"params\"", "\"p\"", "'params' is missing"},
        {"\"name\":\"B\"", "\"name\":\"A\"", ".params[1]: a second parameter 'A'"},
        {"\"kind\":\"tensor\"", "\"kind\":\"matrix\"", ".params[0]: 'kind'"},
        {"\"elem\":\"e2m1\"", "\"elem\":\"e9m9\"", ".params[0]: 'elem'"},
        {"\"elem\":\"bf16\"", "\"elem\":\"bool\"", "cannot be stored"},
        {"\"scale\":\"ue4m3\"", "\"scale\":\"bf16\"", "scale type"},
        {"\"granule\":[1,16]", "\"granule\":[1,0]", "'granule'"},
        {"\"granule\":[1,16]", "\"granule\":[2,1,16]", "'granule'"},
        {"\"granule\":[1,16]", "\"granule\":16", "'granule'"},
        {"\"sf128x4\"", "\"sf129x4\"", "'layout'"},
        {"\"mode\":\"in\"", "\"mode\":\"through\"", "'mode'"},
        {"\"align\":16", "\"align\":12", "no power of two"},
        {"\"align\":16", "\"align\":1e300", "'align'"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",\"K\",1,1,1,1]", "'dims'"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",0.5]",
         ".params[0].dims[1]: expression holds 0.5"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",1e17]", "below 2^53"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",[\"^\",1,2]]", "operator '^'"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",[\"+\",1]]", "[op, a, b]"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",{}]", "[op, a, b]"},
        {"\"dims\":[\"M\",\"K\"]", "\"dims\":[\"M\",\"alpha\"]", "'alpha', which is no size"},
        {"\"elem\":\"f32\"", "\"elem\":\"bf16\"", "a scalar is f32, i32 or i64, not bf16"},
        {"\"text\"", "\"txet\"", ".where[0]: 'text'"},
        {"\"line\":9", "\"line\":-1", ".where[0]: 'line'"},
        {"[\"%\",\"N\",8]", "[\"%\",\"Q\",8]", ".where[0].expr: expression names 'Q'"},
        {"\"kind\":\"tensormap\"", "\"kind\":\"texture\"", ".args[0]: 'kind'"},
        {"\"tensor\":\"A\"", "\"tensor\":\"alpha\"", "'tensor' names no tensor"},
        {"\"part\":\"data\"", "\"part\":\"all\"", "'part'"},
        {"\"dtype\":0", "\"dtype\":16", "'dtype'"},
        {"\"swizzle\":3", "\"swizzle\":7", "'swizzle'"},
        {"\"box\":[128,128]", "\"box\":[128,257]", "'box'"},
        {"\"box\":[128,128]", "\"box\":[1,1,1,1,1,1]", "'box'"},
        {"\"strides\":[\"A.pitch\"]", "\"strides\":[]", "'strides'"},
        {"\"strides\":[\"A.pitch\"]", "\"strides\":[\"A.pitches\"]", "'A.pitches'"},
        {"\"tensor\":\"D\",\"part\":\"data\"", "\"tensor\":\"D\",\"part\":\"scale\"", "no scales"},
        {"\"type\":\"i64\"", "\"type\":\"f32\"", "a size has type"},
        {"\"type\":\"f32\"", "\"type\":\"i32\"", "another type"},
        {"\"name\":\"alpha\",\"type\"", "\"name\":\"A\",\"type\"", "names no scalar"},
        {"\"threads\":192", "\"threads\":1025", ".launch: 'threads'"},
        {"\"smem\":200000", "\"smem\":300000", ".launch: 'smem'"},
        {"\"cluster\":[2,1,1]", "\"cluster\":[2,1]", "'cluster'"},
        {"\"cluster\":[2,1,1]", "\"cluster\":[2,2,1]", "expected [n,1,1]"},
        {"\"tiles\"", "\"t\"", ".launch: 'tiles' is missing"},
        {"\"persistent\":true", "\"persistent\":1", "grid.persistent"},
        {"\"persistent\":true", "\"persistent\":true,\"per_sm\":0", "'per_sm'"},
        {"\"launch\"", "\"l\"", ".launch: 'threads'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *meta = sample_replace(sample_gemm_meta, cases[i].old, cases[i].new);
        sample_file file = sample_of(meta, sample_gemm_ptx);
        refuse_file(&file, cases[i].sentence);
        free(file.bytes);
        free(meta);
    }
}

static void refuses_deep_expressions(void **state) {
    (void)state;
    enum { DEPTH = 400 };
    char deep[DEPTH * 10] = "";
    for (int i = 0; i < DEPTH; i++) {
        strcat(deep, "[\"+\",1,");
    }
    strcat(deep, "1");
    for (int i = 0; i < DEPTH; i++) {
        strcat(deep, "]");
    }
    char *meta = sample_replace(sample_gemm_meta, "[\"ceildiv\",\"K\",\"BN\"]", deep);
    sample_file file = sample_of(meta, sample_gemm_ptx);
    refuse_file(&file, "nested deeper than 64");
    free(file.bytes);
    free(meta);
}

static void loads_files(void **state) {
    (void)state;
    fp4_module *module;
    assert_int_equal(fp4_module_load_file(ctx, "no/such/file.tkm", &module), FP4_ERROR_FILE);
    assert_non_null(strstr(fp4_last_error(), "no/such/file.tkm: cannot be opened"));
    assert_int_equal(fp4_module_load_file(ctx, ".", &module), FP4_ERROR_FILE);
    char name[] = "runtime_module_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    sample_file file = sample_of(sample_gemm_meta, sample_gemm_ptx);
    assert_int_equal(write(fd, file.bytes, file.n_bytes), file.n_bytes);
    assert_int_equal(fp4_module_load_file(ctx, name, &module), FP4_OK);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(fp4_module_load_file(ctx, name, &module), FP4_ERROR_MODULE);
    assert_non_null(strstr(fp4_last_error(), name));
    close(fd);
    unlink(name);
    free(file.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_all_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_kernels, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_files, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_deep_expressions, setup, teardown),
        cmocka_unit_test_setup_teardown(loads_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
