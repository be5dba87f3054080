// The first tile, from source to numbers: a kernel of twelve lines (first.tk), its arguments by
// hand, its result against sums in whole numbers.
//
//   fp4c first.tk -arch sm_90a,sm_100a,sm_120a -o first.tkm
//   first first.tkm [device [target]]      device: auto, sim, cuda:0; target: sm_120a, ...
#include "fp4rt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 100, N = 72, K = 80 };

static void need(fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "%s\n", fp4_last_error());
        exit(1);
    }
}

// Whole numbers from -4 to 4, so that every sum is exact whatever the order.
static void fill(float *x, int n) {
    for (int i = 0; i < n; i++) {
        x[i] = (float)(rand() % 9 - 4);
    }
}

int main(int argc, char **argv) {
    static float a[M][K], b[N][K], d[M][N];
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_module *module;
    fp4_kernel *kernel;
    fp4_tensor ta, tb, td;
    if (argc < 2) {
        fprintf(stderr, "usage: %s first.tkm [device [target]]\n", argv[0]);
        return 2;
    }
    fill(a[0], M * K);
    fill(b[0], N * K);

    // A device that the module fits, the kernel for it.
    config.device = argc > 2 ? argv[2] : "auto";
    need(fp4_open_module(&config, argv[1], &ctx, &module));
    need(fp4_module_kernel(module, "first", argc > 3 ? argv[3] : NULL, &kernel));

    // Two tensors with values, one without.
    need(fp4_tensor_quantize(ctx, "e4m3", 2, (int64_t[]){M, K}, a[0], &ta));
    need(fp4_tensor_quantize(ctx, "e4m3", 2, (int64_t[]){N, K}, b[0], &tb));
    need(fp4_tensor_new(ctx, "f32", 2, (int64_t[]){M, N}, &td));

    // The arguments in the order of the source; formats, shapes and clauses are checked.
    const fp4_arg args[] = {fp4_arg_tensor(&ta), fp4_arg_tensor(&tb), fp4_arg_tensor(&td)};
    need(fp4_launch(kernel, args, 3, NULL));
    need(fp4_tensor_read(ctx, &td, d, NULL, NULL));

    int wrong = 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); // of the result's bits, to compare devices
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            float sum = 0;
            uint32_t bits;
            for (int k = 0; k < K; k++) {
                sum += a[m][k] * b[n][k];
            }
            wrong += d[m][n] != sum;
            memcpy(&bits, &d[m][n], sizeof bits);
            hash = (hash ^ bits) * UINT64_C(0x100000001b3);
        }
    }
    fp4_device_info info;
    fp4_kernel_info k;
    need(fp4_get_device_info(ctx, &info));
    need(fp4_kernel_get_info(kernel, &k));
    printf("%s for %s on %s: %d of %d sums are wrong, bits %016llx\n", k.name, k.arch, info.name,
           wrong, M * N, (unsigned long long)hash);
    fp4_close(ctx); // and all that is on it
    return wrong != 0;
}
