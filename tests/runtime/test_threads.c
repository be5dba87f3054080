// The thread rules of fp4rt.h: several threads share a context and its modules, each with tensors
// of its own, and every result is right. Built a second time with ThreadSanitizer, which must stay
// silent.
#include "fp4rt.h"
#include "sample.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// D[i] = A[i] + A[i], 32 elements a block.
static const char ptx[] =
    ".version 8.6\n.target sm_100a\n.address_size 64\n"
    ".visible .entry twice(.param .u64 pa, .param .u64 pd)\n"
    "{\n"
    "    .reg .b32 %r<5>;\n    .reg .f32 %f<2>;\n    .reg .b64 %d<6>;\n"
    "    mov.u32 %r1, %ctaid.x;\n    mov.u32 %r2, %tid.x;\n"
    "    mad.lo.s32 %r3, %r1, 32, %r2;\n    mul.wide.u32 %d1, %r3, 4;\n"
    "    ld.param.u64 %d2, [pa];\n    ld.param.u64 %d3, [pd];\n"
    "    add.u64 %d2, %d2, %d1;\n    add.u64 %d3, %d3, %d1;\n"
    "    ld.global.f32 %f1, [%d2];\n    add.f32 %f1, %f1, %f1;\n    st.global.f32 [%d3], %f1;\n"
    "    ret;\n"
    "}\n";

static const char meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"twice.tk\",\"kernels\":[{\"name\":\"twice\",\"arch\":\"sm_"
    "100a\","
    "\"entry\":\"twice\",\"dims\":[\"N\"],\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"elem\":\"f32\",\"dims\":[\"N\"]},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"elem\":\"f32\",\"dims\":[\"N\"]}],"
    "\"where\":[{\"expr\":[\"==\",[\"%\",\"N\",32],0],\"text\":\"N % 32 == 0\",\"line\":1}],"
    "\"args\":[{\"kind\":\"pointer\",\"tensor\":\"A\",\"part\":\"data\"},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"}],"
    "\"launch\":{\"threads\":32,\"smem\":0,\"cluster\":[1,1,1],"
    "\"grid\":{\"tiles\":[\"/\",\"N\",32],\"persistent\":false}}}]}";

enum { THREADS = 4, ROUNDS = 400, MAX = 32 * THREADS };

static fp4_ctx *ctx;
static fp4_module *shared;
static const char *problems[THREADS];

static const char *round_trip(fp4_kernel *kernel, int64_t n) {
    fp4_tensor a;
    fp4_tensor d;
    float x[MAX];
    float y[MAX];
    for (int i = 0; i < n; i++) {
        x[i] = (float)(rand() % 1000);
    }
    if (fp4_tensor_new(ctx, "f32", 1, &n, &a) != FP4_OK ||
        fp4_tensor_new(ctx, "f32", 1, &n, &d) != FP4_OK ||
        fp4_tensor_write(ctx, &a, x, NULL, NULL) != FP4_OK) {
        return "a tensor could not be made";
    }
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&d)};
    if (fp4_launch(kernel, args, 2, NULL) != FP4_OK ||
        fp4_tensor_read(ctx, &d, y, NULL, NULL) != FP4_OK) {
        return "a launch failed";
    }
    for (int i = 0; i < n; i++) {
        if (y[i] != 2 * x[i]) {
            return "a result is wrong";
        }
    }
    a.dims[0] = d.dims[0] = n - 1; // each thread has its own refusal
    char sentence[80];
    snprintf(sentence, sizeof sentence, "N = %d must be a multiple of 32", (int)n - 1);
    if (fp4_launch(kernel, args, 2, NULL) == FP4_OK || !strstr(fp4_last_error(), sentence)) {
        return "a refusal is wrong";
    }
    fp4_tensor_free(&a);
    fp4_tensor_free(&d);
    return NULL;
}

static void *work(void *argument) {
    int me = (int)(intptr_t)argument;
    sample_file file = sample_of(meta, ptx);
    for (int i = 0; i < ROUNDS && !problems[me]; i++) {
        fp4_module *own = NULL;
        fp4_kernel *kernel;
        fp4_stats stats;
        if (i % 5 == 0 && fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &own) != FP4_OK) {
            problems[me] = "a module could not be loaded";
            break;
        }
        if (fp4_module_kernel(own ? own : shared, "twice", NULL, &kernel) != FP4_OK) {
            problems[me] = "a kernel was not found";
            break;
        }
        problems[me] = round_trip(kernel, 32 * (me + 1));
        fp4_get_stats(ctx, &stats);
        fp4_module_free(own);
    }
    free(file.bytes);
    return NULL;
}

static void threads_share_a_context(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    sample_file file = sample_of(meta, ptx);
    assert_int_equal(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &shared), FP4_OK);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (problems[i]) {
            fail_msg("thread %d: %s", i, problems[i]);
        }
    }
    fp4_stats stats;
    assert_int_equal(fp4_get_stats(ctx, &stats), FP4_OK);
    assert_int_equal(stats.n_launches, THREADS * ROUNDS);
    assert_int_equal(stats.device_bytes, 0);
    fp4_close(ctx);
    free(file.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_context)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
