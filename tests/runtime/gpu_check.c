// What only a real driver can tell, in one run. Needs a GPU, so no ctest entry.
//
//   runtime_gpu_check [device]
//
// Results of a launch; the same launch captured in a graph and replayed; copies during the capture
// refused without spoiling it; dependent and cooperative launches; events; running out of device
// memory. Exits with 0 when all of it holds, as it did on an H200 with driver 580.159.
#include "cuda_driver.h"
#include "fp4rt.h"
#include "sample.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1024 };

// D[i] += A[i], 32 elements a block; waits for the kernel before it.
static const char ptx[] = ".version 8.0\n.target sm_90a\n.address_size 64\n"
                          ".visible .entry add(.param .u64 pa, .param .u64 pd)\n"
                          "{\n"
                          "    .reg .b32 %r<5>;\n    .reg .f32 %f<3>;\n    .reg .b64 %d<6>;\n"
                          "    mov.u32 %r1, %ctaid.x;\n    mov.u32 %r2, %tid.x;\n"
                          "    mad.lo.s32 %r3, %r1, 32, %r2;\n    mul.wide.u32 %d1, %r3, 4;\n"
                          "    ld.param.u64 %d2, [pa];\n    ld.param.u64 %d3, [pd];\n"
                          "    add.u64 %d2, %d2, %d1;\n    add.u64 %d3, %d3, %d1;\n"
                          "    griddepcontrol.wait;\n"
                          "    ld.global.f32 %f1, [%d2];\n    ld.global.f32 %f2, [%d3];\n"
                          "    add.f32 %f1, %f1, %f2;\n    st.global.f32 [%d3], %f1;\n"
                          "    ret;\n"
                          "}\n";

static const char meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"add.tk\",\"kernels\":[{\"name\":\"add\",\"arch\":\"sm_90a\","
    "\"entry\":\"add\",\"dims\":[\"N\"],\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"elem\":\"f32\",\"dims\":[\"N\"]},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"elem\":\"f32\",\"dims\":[\"N\"]}],"
    "\"args\":[{\"kind\":\"pointer\",\"tensor\":\"A\",\"part\":\"data\"},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"}],"
    "\"launch\":{\"threads\":32,\"smem\":0,\"cluster\":[1,1,1],"
    "\"grid\":{\"tiles\":[\"/\",\"N\",32],\"persistent\":false}}}]}";

static int bad;
static fp4_ctx *ctx;
static fp4_tensor a, d;
static float values[N];

static void check(int holds, const char *what) {
    printf("%s: %s%s%s\n", what, holds ? "ok" : "FAILED", holds ? "" : ", ",
           holds ? "" : fp4_last_error());
    bad |= !holds;
}

static fp4_kernel *load(const char *old, const char *new) {
    char *text = sample_replace(meta, old, new);
    sample_file file = sample_of(text, ptx);
    fp4_module *module;
    fp4_kernel *kernel = NULL;
    check(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module) == FP4_OK &&
              fp4_module_kernel(module, NULL, NULL, &kernel) == FP4_OK,
          "the module is loaded");
    free(file.bytes);
    free(text);
    return kernel;
}

static fp4_status launch(fp4_kernel *kernel, void *stream) {
    const fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&d)};
    return fp4_launch(kernel, args, 2, stream);
}

// Whether D holds so many times A.
static int is_times(int n) {
    float have[N];
    if (fp4_tensor_read(ctx, &d, have, NULL, NULL) != FP4_OK) {
        return 0;
    }
    for (int i = 0; i < N; i++) {
        if (have[i] != (float)n * values[i]) {
            return 0;
        }
    }
    return 1;
}

static void *driver;

static cu_result call_graph(void *stream, void *graph) {
    cu_result (*instantiate)(void **, void *, unsigned long long);
    cu_result (*replay)(void *, void *);
    *(void **)&instantiate = dlsym(driver, "cuGraphInstantiateWithFlags");
    *(void **)&replay = dlsym(driver, "cuGraphLaunch");
    void *ready = NULL;
    cu_result result = instantiate(&ready, graph, 0);
    for (int i = 0; i < 3 && result == 0; i++) {
        result = replay(ready, stream);
    }
    return result;
}

static void graphs(fp4_kernel *kernel) {
    cu_result (*retain)(void **, cu_device);
    cu_result (*push)(void *);
    cu_result (*create)(void **, unsigned);
    cu_result (*begin)(void *, int);
    cu_result (*end)(void *, void **);
    *(void **)&retain = dlsym(driver, "cuDevicePrimaryCtxRetain");
    *(void **)&push = dlsym(driver, "cuCtxPushCurrent_v2");
    *(void **)&create = dlsym(driver, "cuStreamCreate");
    *(void **)&begin = dlsym(driver, "cuStreamBeginCapture_v2");
    *(void **)&end = dlsym(driver, "cuStreamEndCapture");
    void *context;
    void *stream;
    void *graph = NULL;
    float unused[1];
    check(retain(&context, 0) == 0 && push(context) == 0 && create(&stream, 1) == 0, "a stream");
    fp4_fill(ctx, d.data, 0, N * 4, NULL);
    fp4_sync(ctx, NULL);
    check(begin(stream, 2) == 0, "the capture begins"); // CU_STREAM_CAPTURE_MODE_RELAXED
    check(launch(kernel, stream) == FP4_OK, "a launch is captured");
    check(fp4_copy_from(ctx, unused, d.data, 4, stream) == FP4_ERROR_ARGUMENT &&
              strstr(fp4_last_error(), "being captured") != NULL,
          "a copy is refused");
    check(fp4_sync(ctx, stream) == FP4_ERROR_ARGUMENT, "a wait is refused");
    check(launch(kernel, stream) == FP4_OK, "another launch is captured");
    check(end(stream, &graph) == 0 && graph, "the capture ends well");
    check(call_graph(stream, graph) == 0 && fp4_sync(ctx, stream) == FP4_OK, "three replays");
    check(is_times(6), "D is six times A");
}

static void events(fp4_kernel *kernel) {
    fp4_event *from, *to;
    double us = -1;
    check(fp4_event_new(ctx, &from) == FP4_OK && fp4_event_new(ctx, &to) == FP4_OK, "events");
    fp4_event_record(from, NULL);
    for (int i = 0; i < 100; i++) {
        launch(kernel, NULL);
    }
    fp4_event_record(to, NULL);
    check(fp4_event_wait(to) == FP4_OK && fp4_event_elapsed(from, to, &us) == FP4_OK && us > 10,
          "100 launches take time");
    printf("%.2f us a launch\n", us / 100);
}

int main(int argc, char **argv) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = argc > 1 ? argv[1] : "cuda:0";
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver || fp4_open(&config, &ctx) != FP4_OK) {
        fprintf(stderr, "%s\n", driver ? fp4_last_error() : "no driver");
        return 1;
    }
    for (int i = 0; i < N; i++) {
        values[i] = (float)(rand() % 1000);
    }
    const int64_t n = N;
    uint64_t address;
    check(fp4_tensor_quantize(ctx, "f32", 1, &n, values, &a) == FP4_OK, "a tensor");
    check(fp4_tensor_new(ctx, "f32", 1, &n, &d) == FP4_OK, "another");
    fp4_kernel *plain = load("\"smem\":0", "\"smem\":0");
    check(launch(plain, NULL) == FP4_OK && is_times(1), "D is A");
    fp4_kernel *pdl = load("\"smem\":0", "\"pdl\":true,\"smem\":0");
    int fine = 1;
    for (int i = 0; i < 50; i++) {
        fine &= launch(pdl, NULL) == FP4_OK;
    }
    check(fine && is_times(51), "50 dependent launches");
    fp4_kernel *together = load("\"smem\":0", "\"cooperative\":true,\"smem\":0");
    check(launch(together, NULL) == FP4_OK && is_times(52), "a cooperative launch");
    fp4_kernel *many = load("\"smem\":0", "\"cooperative\":true,\"smem\":200000");
    a.dims[0] = d.dims[0] = N * 1024; // more blocks than the device holds at once
    check(launch(many, NULL) == FP4_ERROR_DEVICE, "a cooperative launch that does not fit");
    a.dims[0] = d.dims[0] = N;
    graphs(plain);
    events(plain);
    check(fp4_alloc(ctx, INT64_C(1) << 50, &address) == FP4_ERROR_MEMORY, "no memory");
    fp4_close(ctx);
    return bad;
}
