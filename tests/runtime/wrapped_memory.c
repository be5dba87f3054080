// A launch in the simulator while the n-th call of malloc, calloc, realloc or their like fails,
// for every n: the runtime and the simulator say so, give everything back and work again. The
// linker puts these functions in the place of the library's (--wrap); the program counts what is
// alive.
#include "fp4rt.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
int __real_posix_memalign(void **out, size_t align, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
int __wrap_posix_memalign(void **out, size_t align, size_t bytes);
void __wrap_free(void *block);

static long countdown; // > 0: the allocation that counts it down to 0 fails
static long n_live;

static bool fails(void) {
    return countdown > 0 && --countdown == 0;
}

static void *counted(void *block) {
    n_live += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes) {
    return fails() ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t n, size_t bytes) {
    return fails() ? NULL : counted(__real_calloc(n, bytes));
}

void *__wrap_realloc(void *old, size_t bytes) {
    void *block = fails() ? NULL : __real_realloc(old, bytes);
    n_live += block && !old;
    return block;
}

void *__wrap_aligned_alloc(size_t align, size_t bytes) {
    return fails() ? NULL : counted(__real_aligned_alloc(align, bytes));
}

int __wrap_posix_memalign(void **out, size_t align, size_t bytes) {
    int result = fails() ? 12 : __real_posix_memalign(out, align, bytes); // ENOMEM
    n_live += result == 0;
    return result;
}

void __wrap_free(void *block) {
    n_live -= block != NULL;
    __real_free(block);
}

// D[i] = A[i] + A[i] through shared memory.
static const char ptx[] =
    ".version 8.6\n.target sm_100a\n.address_size 64\n"
    ".visible .entry twice(.param .u64 pa, .param .u64 pd)\n"
    "{\n"
    "    .reg .b32 %r<6>;\n    .reg .f32 %f<2>;\n    .reg .b64 %d<6>;\n    .shared .f32 s[32];\n"
    "    mov.u32 %r1, %ctaid.x;\n    mov.u32 %r2, %tid.x;\n"
    "    mad.lo.s32 %r3, %r1, 32, %r2;\n    mul.wide.u32 %d1, %r3, 4;\n"
    "    ld.param.u64 %d2, [pa];\n    ld.param.u64 %d3, [pd];\n"
    "    add.u64 %d2, %d2, %d1;\n    add.u64 %d3, %d3, %d1;\n"
    "    mov.u32 %r4, s;\n    shl.b32 %r5, %r2, 2;\n    add.s32 %r4, %r4, %r5;\n"
    "    ld.global.f32 %f1, [%d2];\n    st.shared.f32 [%r4], %f1;\n    bar.sync 0;\n"
    "    ld.shared.f32 %f1, [%r4];\n    add.f32 %f1, %f1, %f1;\n    st.global.f32 [%d3], %f1;\n"
    "    ret;\n"
    "}\n";

static const char meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"twice.tk\",\"kernels\":[{\"name\":\"twice\",\"arch\":\"sm_"
    "100a\",\"entry\":\"twice\",\"dims\":[\"N\"],\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"elem\":\"f32\",\"dims\":[\"N\"]},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"elem\":\"f32\",\"dims\":[\"N\"]}],"
    "\"args\":[{\"kind\":\"pointer\",\"tensor\":\"A\",\"part\":\"data\"},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"}],"
    "\"launch\":{\"threads\":32,\"smem\":0,\"cluster\":[1,1,1],"
    "\"grid\":{\"tiles\":[\"/\",\"N\",32],\"persistent\":false}}}]}";

enum { N = 96 };
static sample_file file;

static fp4_status scenario(void) {
    static float x[N];
    static float y[N];
    const int64_t n = N;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    fp4_ctx *ctx = NULL;
    fp4_module *module;
    fp4_kernel *kernel = NULL;
    fp4_tensor a, d;
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
    }
    fp4_status status = fp4_open(&config, &ctx);
    if (status == FP4_OK) {
        status = fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module);
    }
    if (status == FP4_OK) {
        status = fp4_module_kernel(module, NULL, NULL, &kernel);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_quantize(ctx, "f32", 1, &n, x, &a);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_new(ctx, "f32", 1, &n, &d);
    }
    if (status == FP4_OK) {
        const fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&d)};
        status = fp4_launch(kernel, args, 2, NULL);
    }
    if (status == FP4_OK) {
        status = fp4_tensor_read(ctx, &d, y, NULL, NULL);
    }
    for (int i = 0; i < N && status == FP4_OK; i++) {
        assert_true(y[i] == 2 * x[i]);
    }
    fp4_close(ctx);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    long n = 1;
    for (;; n++) {
        long before = n_live;
        countdown = n;
        fp4_status status = scenario();
        bool failed = countdown == 0;
        countdown = 0;
        assert_int_equal(n_live, before);
        if (!failed) {
            assert_int_equal(status, FP4_OK);
            break;
        }
        if (status == FP4_OK || !strstr(fp4_last_error(), "memory")) {
            fail_msg("allocation %ld: status %d, %s", n, (int)status, fp4_last_error());
        }
    }
    print_message("%ld places to fail\n", n - 1);
    assert_true(n > 30);
}

int main(void) {
    file = sample_of(meta, ptx);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    free(file.bytes);
    return result;
}
