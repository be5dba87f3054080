// What a launch costs on the host: fp4_launch with all its checks and two tensor maps, beside a
// bare cuLaunchKernelEx of the same kernel with parameters made beforehand. Needs a GPU.
//
//   runtime_bench_launch [device]
//
// Prints the medians of 201 batches of 50 launches, alternating, in microseconds, and their ratio.
// Measured on an H200, driver 580.159, two runs: 3.06 and 3.01 us, bare 2.60 and 2.38 us:
// ratio 1.18 and 1.26. The goal is at most 1.5.
#include "cuda_driver.h"
#include "fp4rt.h"
#include "kernel.h"
#include "sample.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 201, BATCH = 50 };

static const char ptx[] =
    ".version 8.0\n.target sm_100a\n.address_size 64\n"
    ".visible .entry nvfp4_gemm(.param .align 64 .b8 a[128], .param .align 64 .b8 b[128],\n"
    "    .param .u64 c, .param .u64 d, .param .u32 e, .param .u32 f, .param .f32 g)\n"
    "{\n    ret;\n}\n";

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x) {
    qsort(x, BATCHES, sizeof *x, by_value);
    return x[BATCHES / 2];
}

#define TRY(call)                                                                                  \
    if ((call) != FP4_OK) {                                                                        \
        fprintf(stderr, "%s\n", fp4_last_error());                                                 \
        return 1;                                                                                  \
    }

int main(int argc, char **argv) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = argc > 1 ? argv[1] : "cuda:0";
    fp4_ctx *ctx;
    TRY(fp4_open(&config, &ctx));
    fp4_device_info info;
    TRY(fp4_get_device_info(ctx, &info));
    char *meta = sample_replace(sample_gemm_meta, "sm_100a", info.arch);
    char *code = sample_replace(ptx, "sm_100a", info.arch);
    sample_file file = sample_of(meta, code);
    fp4_module *module;
    fp4_kernel *kernel;
    TRY(fp4_module_load_memory(ctx, file.bytes, file.n_bytes, &module));
    TRY(fp4_module_kernel(module, NULL, NULL, &kernel));
    fp4_tensor a, b, d;
    TRY(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){300, 512}, &a));
    TRY(fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){264, 512}, &b));
    TRY(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){300, 264}, &d));
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    TRY(fp4_launch(kernel, args, 4, NULL));

    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    cu_result (*launch)(const cu_launch_config *, void *, void **, void **);
    cu_result (*retain)(void **, cu_device);
    cu_result (*push)(void *);
    *(void **)&launch = dlsym(driver, "cuLaunchKernelEx");
    *(void **)&retain = dlsym(driver, "cuDevicePrimaryCtxRetain");
    *(void **)&push = dlsym(driver, "cuCtxPushCurrent_v2");
    static unsigned char values[7][128] __attribute__((aligned(64)));
    void *params[7];
    for (int i = 0; i < 7; i++) {
        params[i] = values[i];
    }
    cu_launch_attribute cluster = {.id = CU_LAUNCH_CLUSTER, .value.cluster = {2, 1, 1}};
    cu_launch_config bare = {.grid = {8, 1, 1},
                             .block = {192, 1, 1},
                             .smem_bytes = 200000,
                             .attributes = &cluster,
                             .n_attributes = 1};
    void *context;
    if (retain(&context, 0) != 0 || push(context) != 0) {
        fprintf(stderr, "no context\n");
        return 1;
    }
    static double ours[BATCHES];
    static double theirs[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        double start = now_us();
        for (int j = 0; j < BATCH; j++) {
            TRY(fp4_launch(kernel, args, 4, NULL));
        }
        ours[i] = (now_us() - start) / BATCH;
        TRY(fp4_sync(ctx, NULL));
        start = now_us();
        for (int j = 0; j < BATCH; j++) {
            if (launch(&bare, atomic_load(&kernel->function), params, NULL) != 0) {
                fprintf(stderr, "the bare launch failed\n");
                return 1;
            }
        }
        theirs[i] = (now_us() - start) / BATCH;
        TRY(fp4_sync(ctx, NULL));
    }
    double x = median(ours);
    double y = median(theirs);
    printf("%s: fp4_launch %.2f us, bare cuLaunchKernelEx %.2f us, ratio %.2f\n", info.name, x, y,
           x / y);
    free(meta);
    free(code);
    free(file.bytes);
    fp4_close(ctx);
    return 0;
}
