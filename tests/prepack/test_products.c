// From a checkpoint to a product: a layer of random codes and scales as each producer writes it, fp4_prepack, a kernel
// of lib/ that reads what comes out, in the simulator, and the sum that the layer's numbers give in double.
//
//   products_test FOLDER     modules FOLDER/KERNEL.tkm
//
// Numbers come from codes by the rules written down here. The weights are the last of the matrices where there are
// several: one expert's, at its place among the others. Scales differ by up to 2^8, so that one in a wrong place shows
// (FP8 instructions fold ue8m0 scales of 2^-11 to 2^3 exactly).
#include "fp4_prepack.h"
#include "need.h"
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { E = 2, N = 136, K = 256, M = 5, MOST = E * N * K };

static uint8_t codes[E][N][K];   // e2m1 or e4m3
static uint8_t scales[E][N][K];  // of granules
static float floats[N][K];       // the same as f32
static uint8_t data[MOST], scale[MOST];
static int n_data, n_scale;

// --- Numbers -------------------------------------------------------------------------------------

static double small_float(int code, int exp_bits, int man_bits, int bias) {
    int field = code >> man_bits & ((1 << exp_bits) - 1);
    double frac = (double)(code & ((1 << man_bits) - 1)) / (1 << man_bits);
    double v = field == 0 ? ldexp(frac, 1 - bias) : ldexp(1 + frac, field - bias);
    return code >> (exp_bits + man_bits) & 1 ? -v : v;
}

typedef enum { UE4M3, UE8M0, F32_ANY, F32_POWER } scale_kind;

typedef struct {
    const char *writer;
    const char *data, *data_dtype, *data_shape;
    const char *scale, *scale_dtype, *scale_shape;
    const char *global_name;
    float global, factor; // as the file says it, and what numbers are multiplied by
    scale_kind kind;
    int rows, cols; // of a granule
    int bits, matrices;
    int gguf; // ggml's type
} checkpoint;

static double scale_value(const checkpoint *c, int e, int n, int k) {
    int row = n / c->rows, col = k / c->cols;
    switch (c->kind) {
    case UE4M3:
        return small_float(scales[e][row][col], 4, 3, 7);
    case UE8M0:
        return ldexp(1, scales[e][row][col] - 127);
    default:
        return (double)floats[row][col];
    }
}

static double weight(const checkpoint *c, int e, int n, int k) {
    double v = c->bits == 4 ? small_float(codes[e][n][k], 2, 1, 1) : small_float(codes[e][n][k], 4, 3, 7);
    return v * scale_value(c, e, n, k) * (double)c->factor;
}

static void draw(const checkpoint *c) {
    for (int e = 0; e < E; e++) {
        for (int n = 0; n < N; n++) {
            for (int k = 0; k < K; k++) {
                int code = rand() >> 8 & ((1 << c->bits) - 1);
                codes[e][n][k] = (uint8_t)((code & 0x7f) == 0x7f ? 0 : code); // no NaN
                scales[e][n][k] = (uint8_t)(c->kind == UE4M3 ? 0x20 + rand() % 0x40 : 121 + rand() % 9);
                floats[n][k] = c->kind == F32_POWER ? ldexpf(1, rand() % 10 - 5) : (float)(1 + rand() % 999) / 250;
            }
        }
    }
}

// --- Files ---------------------------------------------------------------------------------------

static void put(uint8_t *to, int *n, int byte) {
    to[(*n)++] = (uint8_t)byte;
}

// ggml: blocks of the scales of one or four granules, then each one's first half in the low nibbles.
static void lay_out_blocks(const checkpoint *c, int e, int n) {
    int per = c->cols == 16 ? 4 : 1, half = c->cols / 2;
    for (int b = 0; b < K / c->cols; b += per) {
        for (int g = b; g < b + per; g++) {
            put(data, &n_data, scales[e][n][g]);
        }
        for (int i = 0; i < per * half; i++) {
            int at = (b + i / half) * c->cols + i % half;
            put(data, &n_data, codes[e][n][at] | codes[e][n][at + half] << 4);
        }
    }
}

static void lay_out(const checkpoint *c) {
    n_data = n_scale = 0;
    for (int e = 0; e < c->matrices; e++) {
        for (int n = 0; n < N && c->gguf != 0; n++) {
            lay_out_blocks(c, e, n);
        }
        for (int i = 0; i < N * K && c->gguf == 0; i += 8 / c->bits) {
            const uint8_t *code = &codes[e][0][0] + i;
            put(data, &n_data, c->bits == 4 ? code[0] | code[1] << 4 : code[0]);
        }
        for (int i = 0; i < (N + c->rows - 1) / c->rows * (K / c->cols); i++) {
            int row = i / (K / c->cols), col = i % (K / c->cols);
            uint8_t bytes[sizeof(float)] = {scales[e][row][col]};
            bool wide = c->kind == F32_ANY || c->kind == F32_POWER;
            memcpy(bytes, wide ? (const void *)&floats[row][col] : bytes, wide ? sizeof bytes : 1);
            for (size_t j = 0; j < (wide ? sizeof bytes : 1); j++) {
                put(scale, &n_scale, bytes[j]);
            }
        }
    }
}

static uint8_t file[2 * MOST];

static size_t write_safetensors(const checkpoint *c) {
    char *h = (char *)file + 8;
    int n = sprintf(h, "{\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[0,%d]},\"%s\":{\"dtype\":\"%s\","
                       "\"shape\":[%s],\"data_offsets\":[%d,%d]}", c->data, c->data_dtype, c->data_shape, n_data,
                    c->scale, c->scale_dtype, c->scale_shape, n_data, n_data + n_scale);
    int end = n_data + n_scale;
    if (c->global_name) {
        n += sprintf(h + n, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[%d,%d]}", c->global_name, end,
                     end + 4);
    }
    h[n++] = '}';
    uint64_t bytes = (uint64_t)n;
    memcpy(file, &bytes, 8);
    memcpy(h + n, data, (size_t)n_data);
    memcpy(h + n + n_data, scale, (size_t)n_scale);
    memcpy(h + n + end, &c->global, 4);
    return 8 + (size_t)n + (size_t)end + (c->global_name ? 4 : 0);
}

static size_t write_gguf(const checkpoint *c) {
    uint8_t *p = file;
    uint32_t version = 3, rank = 2, kind = (uint32_t)c->gguf;
    uint64_t words[] = {1, 0}, name = strlen(c->data), dims[] = {K, N}, offset = 0;
    memset(file, 0, 256);
    memcpy(p, "GGUF", 4);
    memcpy(p + 4, &version, 4);
    memcpy(p + 8, words, 16);
    memcpy(p + 24, &name, 8);
    memcpy(p + 32, c->data, name);
    p += 32 + name;
    memcpy(p, &rank, 4);
    memcpy(p + 4, dims, 16);
    memcpy(p + 20, &kind, 4);
    memcpy(p + 24, &offset, 8);
    size_t at = (size_t)(p + 32 - file + 31) / 32 * 32;
    memcpy(file + at, data, (size_t)n_data);
    return (at + (size_t)n_data + 31) / 32 * 32;
}

static fp4_status load(fp4_ctx *ctx, const checkpoint *c, const char *as, fp4_tensor *w) {
    fp4_safetensors *st = NULL;
    fp4_gguf *gg = NULL;
    fp4_prepack_layer layer;
    fp4_status status;
    if (c->gguf != 0) {
        NEED(fp4_gguf_open_memory(NULL, file, write_gguf(c), &gg) == FP4_OK);
        status = fp4_prepack_gguf(ctx, gg, "l", w);
    } else {
        NEED(fp4_safetensors_open_memory(NULL, file, write_safetensors(c), &st) == FP4_OK);
        NEED(fp4_prepack_find(st, "l", &layer) == FP4_OK && strcmp(layer.writer, c->writer) == 0);
        status = as ? fp4_prepack_import(ctx, &layer, as, w) : fp4_prepack(ctx, st, "l", w);
    }
    fp4_gguf_close(gg);
    fp4_safetensors_close(st);
    return status;
}

// --- Products ------------------------------------------------------------------------------------

// The last of the matrices.
static fp4_tensor expert(const fp4_tensor *all) {
    fp4_tensor one = *all;
    fp4_storage s = {.size = sizeof s};
    NEED(all->rank == 2 || all->rank == 3);
    if (all->rank == 3) {
        NEED(fp4_tensor_storage(all, &s) == FP4_OK);
        one.rank = 2;
        one.dims[0] = all->dims[1];
        one.dims[1] = all->dims[2];
        one.data += (uint64_t)(s.data_bytes / all->dims[0] * (all->dims[0] - 1));
        one.scale += (uint64_t)(s.scale_bytes / all->dims[0] * (all->dims[0] - 1));
    }
    return one;
}

typedef struct {
    const char *kernel, *activations;
    bool alpha;
} user;

static void multiply(fp4_module *module, fp4_ctx *ctx, const user *u, const checkpoint *c, const fp4_tensor *w) {
    static float x[M * K];
    static double xs[M * K], d[M * N];
    fp4_tensor a, y, one = expert(w);
    fp4_kernel *kernel;
    for (int i = 0; i < M * K; i++) {
        x[i] = (float)(rand() % 2001 - 1000) / 500;
    }
    NEED(fp4_tensor_quantize(ctx, u->activations, 2, (int64_t[]){M, K}, x, &a) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &a, xs) == FP4_OK);
    NEED(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){M, N}, &y) == FP4_OK);
    NEED(fp4_module_kernel(module, u->kernel, NULL, &kernel) == FP4_OK);
    const fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&one), fp4_arg_tensor(&y),
                            fp4_arg_f32((a.global == 0 ? 1 : a.global) * w->global)};
    NEED(fp4_launch(kernel, args, u->alpha ? 4 : 3, NULL) == FP4_OK);
    NEED(fp4_tensor_values(ctx, &y, d) == FP4_OK);
    for (int i = 0; i < M * N; i++) {
        double sum = 0, most = 0;
        for (int k = 0; k < K; k++) {
            double p = xs[i / N * K + k] * weight(c, c->matrices - 1, i % N, k);
            sum += p;
            most += fabs(p);
        }
        if (!(fabs(d[i] - sum) <= 0x1p-8 * fabs(sum) + 0x1p-11 * most)) {
            fprintf(stderr, "%s, %s: element (%d, %d) is %g, expected %g\n", c->writer, u->kernel, i / N, i % N, d[i],
                    sum);
            exit(1);
        }
    }
    fp4_tensor_free(&a);
    fp4_tensor_free(&y);
}

static const checkpoint modelopt = {
    "ModelOpt NVFP4", "l.weight", "U8", "136,128", "l.weight_scale", "F8_E4M3", "136,16", "l.weight_scale_2", 0.75f,
    0.75f, UE4M3, 1, 16, 4, 1, 0};
static const checkpoint compressed_nv = {
    "compressed-tensors NVFP4", "l.weight_packed", "U8", "136,128", "l.weight_scale", "F8_E4M3", "136,16",
    "l.weight_global_scale", 8, 0.125f, UE4M3, 1, 16, 4, 1, 0};
static const checkpoint compressed_mx = {
    "compressed-tensors MXFP4", "l.weight_packed", "U8", "136,128", "l.weight_scale", "U8", "136,8", NULL, 0, 1, UE8M0,
    1, 32, 4, 1, 0};
static const checkpoint gpt_oss = {
    "gpt-oss MXFP4", "l_blocks", "U8", "2,136,8,16", "l_scales", "U8", "2,136,8", NULL, 0, 1, UE8M0, 1, 32, 4, 2, 0};
static const checkpoint deepseek_mx = {
    "DeepSeek MXFP4", "l.weight", "I8", "136,128", "l.scale", "F8_E8M0", "136,8", NULL, 0, 1, UE8M0, 1, 32, 4, 1, 0};
static const checkpoint deepseek_fp8 = {
    "DeepSeek FP8", "l.weight", "F8_E4M3", "136,256", "l.weight_scale_inv", "F32", "2,2", NULL, 0, 1, F32_ANY, 128, 128,
    8, 1, 0};
static const checkpoint deepseek_powers = {
    "DeepSeek FP8", "l.weight", "F8_E4M3", "136,256", "l.weight_scale_inv", "F32", "2,2", NULL, 0, 1, F32_POWER, 128,
    128, 8, 1, 0};
static const checkpoint deepseek_ue8m0 = {
    "DeepSeek FP8 of powers of two", "l.weight", "F8_E4M3", "136,256", "l.scale", "F8_E8M0", "2,2", NULL, 0, 1, UE8M0,
    128, 128, 8, 1, 0};
static const checkpoint gguf_nv = {
    "GGUF NVFP4", "l.weight", "", "", "", "", "", NULL, 0, 1, UE4M3, 1, 16, 4, 1, 40};
static const checkpoint gguf_mx = {
    "GGUF MXFP4", "l.weight", "", "", "", "", "", NULL, 0, 1, UE8M0, 1, 32, 4, 1, 39};

static const user nvfp4 = {"nvfp4_gemm", "nvfp4", true};
static const user mxfp4 = {"mxfp4_gemm", "mxfp4", true};
static const user mxfp8 = {"mxfp8_gemm", "mxfp8", true};
static const user k128 = {"mxfp8_k128_gemm", "e4m3*ue8m0/1x128", false};
static const user w4a16 = {"w4a16_gemm", "bf16", true};
static const user w4a8_mx = {"w4a8_mx_gemm", "e4m3", true};
static const user blocks = {"fp8_block_gemm", "e4m3*f32/1x128 @ mn_major", false};

static const struct {
    const checkpoint *from;
    const char *as; // NULL: fp4_prepack's own choice
    const user *by;
} products[] = {
    {&modelopt, NULL, &nvfp4},         {&modelopt, NULL, &w4a16},
    {&compressed_nv, NULL, &nvfp4},    {&compressed_nv, NULL, &w4a16},
    {&gguf_nv, NULL, &nvfp4},          {&gguf_nv, NULL, &w4a16},
    {&compressed_mx, NULL, &mxfp4},    {&compressed_mx, NULL, &w4a8_mx},
    {&gpt_oss, NULL, &mxfp4},          {&gpt_oss, NULL, &w4a8_mx},
    {&deepseek_mx, NULL, &mxfp4},      {&deepseek_mx, NULL, &w4a8_mx},
    {&gguf_mx, NULL, &mxfp4},          {&gguf_mx, NULL, &w4a8_mx},
    {&gpt_oss, "mxfp8", &mxfp8},       {&deepseek_fp8, NULL, &blocks},
    {&deepseek_powers, "mxfp8", &mxfp8}, {&deepseek_powers, "e4m3*ue8m0/1x128", &k128},
    {&deepseek_ue8m0, NULL, &k128},    {&deepseek_ue8m0, "e4m3*f32/128x128", &blocks},
};

static void try_product(const char *folder, size_t i) {
    char path[4096];
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_module *module;
    fp4_tensor w;
    config.device = "sim";
    snprintf(path, sizeof path, "%s/%s.tkm", folder, products[i].by->kernel);
    NEED(fp4_open_module(&config, path, &ctx, &module) == FP4_OK);
    draw(products[i].from);
    lay_out(products[i].from);
    NEED(load(ctx, products[i].from, products[i].as, &w) == FP4_OK);
    multiply(module, ctx, products[i].by, products[i].from, &w);
    fp4_tensor_free(&w);
    fp4_close(ctx);
}

// Scales that are no powers of two are not rounded on the way, coarser granules not guessed.
static void refuses(void) {
    fp4_config config = FP4_CONFIG_INIT;
    fp4_ctx *ctx;
    fp4_tensor w;
    config.device = "sim";
    NEED(fp4_open(&config, &ctx) == FP4_OK);
    draw(&deepseek_fp8);
    floats[1][1] = 3;
    lay_out(&deepseek_fp8);
    NEED(load(ctx, &deepseek_fp8, "mxfp8", &w) != FP4_OK && strstr(fp4_last_error(), "which ue8m0 cannot hold"));
    draw(&deepseek_mx);
    lay_out(&deepseek_mx);
    NEED(load(ctx, &deepseek_mx, "e4m3*ue8m0/1x128", &w) != FP4_OK);
    NEED(strstr(fp4_last_error(), "do not consist of whole ones of"));
    fp4_close(ctx);
}

int main(int argc, char **argv) {
    NEED(argc == 2);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        try_product(argv[1], i);
    }
    refuses();
    return 0;
}
