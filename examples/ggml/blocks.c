// A ggml-style block tensor: an NVFP4 weight of a GGUF file, its blocks taken apart once,
// multiplied on the device, and compared with what ggml's own formula reads from the blocks.
//
//   blocks weights.gguf gemm.tkm [device]
#include "fp4_gemm.h"
#include "gguf.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 5, MAX_N = 256, MAX_K = 512 };

typedef struct { // ggml-common.h
    uint8_t d[4];
    uint8_t qs[32];
} block_nvfp4;

static void need(fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "%s\n", fp4_last_error());
        exit(1);
    }
}

// ggml_ue4m3_to_fp32: half of the scale, for elements that the table holds doubled.
static double half_scale(uint8_t x) {
    int exponent = x >> 3 & 15;
    int mantissa = x & 7;
    return x == 0 || x == 0x7f ? 0
           : exponent == 0     ? ldexp(mantissa, -10)
                               : ldexp(1 + mantissa / 8.0, exponent - 8);
}

// dequantize_row_nvfp4: byte j of a sub-block holds elements j and j + 8.
static double ggml_value(const block_nvfp4 *blocks, int64_t i) {
    static const int table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const block_nvfp4 *b = &blocks[i / 64];
    int sub = (int)(i % 64 / 16);
    int j = (int)(i % 16);
    uint8_t byte = b->qs[sub * 8 + j % 8];
    return table[j < 8 ? byte & 15 : byte >> 4] * half_scale(b->d[sub]);
}

int main(int argc, char **argv) {
    static float x[M * MAX_K];
    static double vx[M * MAX_K], vd[M * MAX_N];
    if (argc < 3) {
        fprintf(stderr, "usage: %s weights.gguf gemm.tkm [device]\n", argv[0]);
        return 2;
    }
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_module *kernels;
    fp4_gguf *file;
    fp4_gguf_tensor weight, scale;
    fp4_host host;
    fp4_tensor a, w, d;
    config.device = argc > 3 ? argv[3] : "auto";
    need(fp4_open_module(&config, argv[2], &ctx, &kernels));
    need(fp4_gguf_open_file(NULL, argv[1], &file));
    need(fp4_gguf_find(file, "blk.0.ffn_up.weight", &weight));
    need(fp4_gguf_find(file, "blk.0.ffn_up.scale", &scale));
    int64_t n = weight.dims[0];
    int64_t k = weight.dims[1];
    if (weight.rank != 2 || n > MAX_N || k > MAX_K || scale.format.elem != FP4_ELEM_F32) {
        fprintf(stderr, "the weight is not what this example expects\n");
        return 1;
    }

    float factor = *(const float *)scale.data;
    need(fp4_gguf_host(&weight, &host)); // the file's bytes, in layout gguf
    need(fp4_tensor_import(ctx, &host, factor, FP4_GLOBAL_MULTIPLY, &w));
    for (int64_t i = 0; i < M * k; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 500;
    }
    need(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){M, k}, x, &a));
    need(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){M, n}, &d));
    need(fp4_gemm(kernels, &d, &a, &w, 1, NULL));
    need(fp4_tensor_values(ctx, &a, vx));
    need(fp4_tensor_values(ctx, &d, vd));

    double most = 0; // in units of bf16's last place
    for (int64_t i = 0; i < M * n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            sum += vx[i / n * k + j] * factor * ggml_value(weight.data, i % n * k + j);
        }
        double unit = ldexp(1, (sum == 0 ? -20 : ilogb(sum)) - 7);
        most = fmax(most, fabs(sum - vd[i]) / fmax(unit, ldexp(1, -20)));
    }
    printf("%lld x %lld of %s: at most %.3f units in the last place of bf16\n", (long long)n,
           (long long)k, weight.type, most);
    fp4_gguf_close(file);
    fp4_close(ctx);
    return most <= 0.6 ? 0 : 1; // half a unit for bf16, the rest for sums in single precision
}
