// A real layer from real files: the first feed-forward block of all-MiniLM-L6-v2, its weights NVFP4
// as ModelOpt writes them (quantize.py), its inputs the normalised embeddings of words, quantised
// here.
//
//   layer model.safetensors nvfp4.safetensors gemm.tkm [device]
//
// y = gelu(x W1^T + b1) W2^T + b2: the two products by fp4_gemm, the rest on the host. Prints the
// error against the same layer in FP32 with the original weights, and fails when it is larger than
// FP4 explains.
#include "fp4_gemm.h"
#include "safetensors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 40, FIRST_WORD = 2000, WIDTH = 384, HIDDEN = 1536 };
#define LAYER "encoder.layer.0."

static void need(fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "%s\n", fp4_last_error());
        exit(1);
    }
}

// A tensor of the file that has this type and number of bytes.
static const void *find(const fp4_safetensors *file, const char *name, const char *dtype,
                        int64_t bytes) {
    fp4_safetensor t;
    need(fp4_safetensors_find(file, name, &t));
    if (strcmp(t.dtype, dtype) != 0 || t.bytes != bytes) {
        fprintf(stderr, "%s is not %lld bytes of %s\n", name, (long long)bytes, dtype);
        exit(1);
    }
    return t.data;
}

static const float *floats(const fp4_safetensors *file, const char *name, int64_t n) {
    return find(file, name, "F32", 4 * n);
}

// Input: the model's embedding of WORDS words, layer-normalised as the model does it.
static void embed(const fp4_safetensors *model, float (*x)[WIDTH]) {
    const float *words = floats(model, "embeddings.word_embeddings.weight", 30522 * WIDTH);
    const float *places = floats(model, "embeddings.position_embeddings.weight", 512 * WIDTH);
    const float *kinds = floats(model, "embeddings.token_type_embeddings.weight", 2 * WIDTH);
    const float *gain = floats(model, "embeddings.LayerNorm.weight", WIDTH);
    const float *shift = floats(model, "embeddings.LayerNorm.bias", WIDTH);
    for (int i = 0; i < WORDS; i++) {
        double sum = 0;
        double squares = 0;
        for (int k = 0; k < WIDTH; k++) {
            x[i][k] = words[(FIRST_WORD + i) * WIDTH + k] + places[i * WIDTH + k] + kinds[k];
            sum += x[i][k];
            squares += (double)x[i][k] * x[i][k];
        }
        double mean = sum / WIDTH;
        double deviation = sqrt(squares / WIDTH - mean * mean + 1e-12);
        for (int k = 0; k < WIDTH; k++) {
            x[i][k] = (float)((x[i][k] - mean) / deviation) * gain[k] + shift[k];
        }
    }
}

static void gelu(float *x) {
    for (int i = 0; i < WORDS * HIDDEN; i++) {
        x[i] *= 0.5f * (1 + erff(x[i] / sqrtf(2)));
    }
}

// out[i][n] = sum over k of in[i][k] * w[n][k], + bias[n]; all in FP32.
static void dense(const float *in, const float *w, const float *bias, int n_out, int n_in,
                  float *out) {
    for (int i = 0; i < WORDS; i++) {
        for (int n = 0; n < n_out; n++) {
            float sum = 0;
            for (int k = 0; k < n_in; k++) {
                sum += in[i * n_in + k] * w[n * n_in + k];
            }
            out[i * n_out + n] = sum + bias[n];
        }
    }
}

// The same on the device: the quantised weights called 'name', the inputs quantised on the way.
static void dense_fp4(fp4_module *kernels, const fp4_safetensors *file, const char *name,
                      const float *in, const float *bias, int64_t n_out, int64_t n_in, float *out) {
    char part[120];
    fp4_ctx *ctx = fp4_module_ctx(kernels);
    fp4_format format;
    fp4_host host;
    fp4_tensor w, x, d;
    need(fp4_format_find("nvfp4", &format));
    format.layout = FP4_SF_LINEAR;
    need(fp4_host_init(&host, &format, 2, (int64_t[]){n_out, n_in}));
    snprintf(part, sizeof part, "%s.weight", name);
    host.data = (void *)find(file, part, "U8", n_out * n_in / 2);
    snprintf(part, sizeof part, "%s.weight_scale", name);
    host.scale = (void *)find(file, part, "F8_E4M3", n_out * n_in / 16);
    snprintf(part, sizeof part, "%s.weight_scale_2", name);
    need(fp4_tensor_import(ctx, &host, *floats(file, part, 1), FP4_GLOBAL_MULTIPLY, &w));
    need(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){WORDS, n_in}, in, &x));
    need(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){WORDS, n_out}, &d));
    need(fp4_gemm(kernels, &d, &x, &w, 1.0f, NULL));
    static double values[WORDS * HIDDEN];
    need(fp4_tensor_values(ctx, &d, values));
    for (int64_t i = 0; i < WORDS * n_out; i++) {
        out[i] = (float)values[i] + bias[i % n_out];
    }
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: layer model.safetensors nvfp4.safetensors gemm.tkm [device]\n");
        return 2;
    }
    static float x[WORDS][WIDTH], h[WORDS * HIDDEN], y[WORDS * WIDTH], want[WORDS * WIDTH];
    fp4_safetensors *model, *quantised;
    fp4_ctx *ctx;
    fp4_module *kernels;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = argc == 5 ? argv[4] : "auto";
    need(fp4_safetensors_open_file(NULL, argv[1], &model));
    need(fp4_safetensors_open_file(NULL, argv[2], &quantised));
    need(fp4_open_module(&config, argv[3], &ctx, &kernels));
    const float *b1 = floats(model, LAYER "intermediate.dense.bias", HIDDEN);
    const float *b2 = floats(model, LAYER "output.dense.bias", WIDTH);
    embed(model, x);
    dense(x[0], floats(model, LAYER "intermediate.dense.weight", HIDDEN * WIDTH), b1, HIDDEN, WIDTH,
          h);
    gelu(h);
    dense(h, floats(model, LAYER "output.dense.weight", HIDDEN * WIDTH), b2, WIDTH, HIDDEN, want);
    dense_fp4(kernels, quantised, LAYER "intermediate.dense", x[0], b1, HIDDEN, WIDTH, h);
    gelu(h);
    dense_fp4(kernels, quantised, LAYER "output.dense", h, b2, WIDTH, HIDDEN, y);

    double error = 0, norm = 0;
    for (int i = 0; i < WORDS * WIDTH; i++) {
        error += ((double)y[i] - want[i]) * ((double)y[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    double relative = sqrt(error / norm);
    printf("feed-forward block of %d words: relative error %.4f against FP32\n", WORDS, relative);
    fp4_close(ctx); // and all that is on it
    fp4_safetensors_close(model);
    fp4_safetensors_close(quantised);
    return relative < 0.25 ? 0 : 1; // two products, weights and inputs of 4 bits: about 0.1 each
}
