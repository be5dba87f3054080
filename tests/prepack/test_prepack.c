// fp4_prepack against descriptions of each layout, byte by byte: a layer of random codes and scales is
// written as each producer writes it, imported into the simulator, and the device bytes are compared with
// where the kernels' layouts put each code. Then files with one mistake each.
//
// 128 x 4 tiles of scales: scale kb of row m at ((m / 128) * ceil(KB / 4) + kb / 4) * 512 + m % 32 * 16 +
// m % 128 / 32 * 4 + kb % 4, a tile set for each matrix.
#include "fp4_prepack.h"
#include "need.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fp4_ctx *ctx;

// A file under construction.
typedef struct {
    char header[4096];
    int n_header;
    uint8_t data[1 << 18];
    int n_data;
    uint8_t file[(1 << 18) + 8192];
} writer;

static writer w;

static void begin(void) {
    w.n_header = 0;
    w.n_data = 0;
}

static void add(const char *name, const char *dtype, const char *shape, const void *bytes, int n) {
    w.n_header += snprintf(w.header + w.n_header, sizeof w.header - (size_t)w.n_header,
                           "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%d,%d]}",
                           w.n_header > 0 ? "," : "{", name, dtype, shape, w.n_data, w.n_data + n);
    memcpy(w.data + w.n_data, bytes, (size_t)n);
    w.n_data += n;
}

static size_t finish(void) { // bytes of the file
    w.header[w.n_header] = '}';
    uint64_t n = (uint64_t)w.n_header + 1;
    memcpy(w.file, &n, 8);
    memcpy(w.file + 8, w.header, n);
    memcpy(w.file + 8 + n, w.data, (size_t)w.n_data);
    return 8 + n + (size_t)w.n_data;
}

static fp4_status pack(const char *layer, fp4_tensor *t) {
    fp4_safetensors *file;
    NEED(fp4_safetensors_open_memory(NULL, w.file, finish(), &file) == FP4_OK);
    fp4_status status = fp4_prepack(ctx, file, layer, t);
    fp4_safetensors_close(file);
    return status;
}

// A layer: E matrices of N x K codes, a scale for 'granule' of K.
enum { E = 2, N = 130, K = 160 };
static uint8_t codes[E][N][K];
static uint8_t scales[E][N][K / 16];

static void draw(int granule, int bits) {
    for (int i = 0; i < E * N * K; i++) {
        (&codes[0][0][0])[i] = (uint8_t)(rand() >> 8 & ((1 << bits) - 1));
    }
    for (int e = 0; e < E; e++) {
        for (int n = 0; n < N; n++) {
            for (int kb = 0; kb < K / granule; kb++) {
                scales[e][n][kb] = (uint8_t)(rand() % 127);
            }
        }
    }
}

// Linear bytes of the first 'matrices': two codes a byte, the even one low; scales row after row.
static uint8_t packed[E * N * K];
static uint8_t linear[E * N * K / 16];

static void lay_out(int matrices, int granule) {
    int at = 0;
    int s = 0;
    for (int e = 0; e < matrices; e++) {
        for (int n = 0; n < N; n++) {
            for (int k = 0; k < K; k += 2) {
                packed[at++] = (uint8_t)(codes[e][n][k] | codes[e][n][k + 1] << 4);
            }
            for (int kb = 0; kb < K / granule; kb++) {
                linear[s++] = scales[e][n][kb];
            }
        }
    }
}

static void compare(const fp4_tensor *t, int matrices, int granule, float global) {
    NEED(t->rank == (matrices > 1 ? 3 : 2) && t->dims[t->rank - 2] == N && t->dims[t->rank - 1] == K);
    NEED(t->format.layout == FP4_SF_128X4 && t->global == global);
    int kbs = K / granule;
    int tiles = (kbs + 3) / 4;
    int each = (N + 127) / 128 * tiles * 512;
    uint8_t *data = malloc((size_t)(matrices * N * K / 2));
    uint8_t *scale = malloc((size_t)(matrices * each));
    uint8_t *want = calloc(1, (size_t)(matrices * each));
    NEED(data && scale && want && fp4_tensor_read(ctx, t, data, scale, NULL) == FP4_OK);
    NEED(memcmp(data, packed, (size_t)(matrices * N * K / 2)) == 0);
    for (int e = 0; e < matrices; e++) {
        for (int n = 0; n < N; n++) {
            for (int kb = 0; kb < kbs; kb++) {
                int tile = n / 128 * tiles + kb / 4;
                want[e * each + tile * 512 + n % 32 * 16 + n % 128 / 32 * 4 + kb % 4] = scales[e][n][kb];
            }
        }
    }
    NEED(memcmp(scale, want, (size_t)(matrices * each)) == 0);
    free(data);
    free(scale);
    free(want);
}

// The writers whose elements are e2m1. 'global' is what the file holds.
typedef struct {
    const char *data, *data_dtype, *data_shape;
    const char *scale, *scale_dtype, *scale_shape;
    const char *global_name;
    float global, factor;
    int granule, matrices;
} sample;

static const sample samples[] = {
    {"l.weight", "U8", "130,80", "l.weight_scale", "F8_E4M3", "130,10", "l.weight_scale_2", 0.75f, 0.75f, 16, 1},
    {"l.weight", "U8", "2,130,80", "l.weight_scale", "F8_E4M3", "2,130,10", "l.weight_scale_2", 3, 3, 16, 2},
    {"l.weight_packed", "U8", "130,80", "l.weight_scale", "F8_E4M3", "130,10", "l.weight_global_scale", 8,
     0.125f, 16, 1},
    {"l.weight_packed", "U8", "130,80", "l.weight_scale", "U8", "130,5", NULL, 0, 1, 32, 1},
    {"l_blocks", "U8", "2,130,5,16", "l_scales", "U8", "2,130,5", NULL, 0, 1, 32, 2},
    {"l.weight", "I8", "130,80", "l.scale", "F8_E8M0", "130,5", NULL, 0, 1, 32, 1},
};

static void write_sample(const sample *s) {
    draw(s->granule, 4);
    lay_out(s->matrices, s->granule);
    begin();
    add(s->data, s->data_dtype, s->data_shape, packed, s->matrices * N * K / 2);
    add(s->scale, s->scale_dtype, s->scale_shape, linear, s->matrices * N * K / s->granule);
    if (s->global_name) {
        add(s->global_name, "F32", "", &s->global, 4);
    }
}

static void reads_samples(void) {
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        fp4_tensor t;
        write_sample(&samples[i]);
        NEED(pack("l", &t) == FP4_OK);
        compare(&t, samples[i].matrices, samples[i].granule, samples[i].factor);
        fp4_tensor_free(&t);
    }
}

// DeepSeek's FP8: bytes as they are, f32 scales of 128 x 128 as they are.
static void reads_blocks(void) {
    static float block[2][2] = {{0.5f, 2}, {3, 0.125f}};
    draw(16, 7); // no NaN: 0x7f is drawn, but only copied
    begin();
    add("l.weight", "F8_E4M3", "130,160", codes[0], N * K);
    add("l.weight_scale_inv", "F32", "2,2", block, sizeof block);
    fp4_tensor t;
    NEED(pack("l", &t) == FP4_OK);
    NEED(t.rank == 2 && t.format.granule_rows == 128 && t.format.granule_cols == 128 && t.global == 1);
    uint8_t data[N * K];
    float scale[2][2];
    NEED(fp4_tensor_read(ctx, &t, data, scale, NULL) == FP4_OK);
    NEED(memcmp(data, codes[0], sizeof data) == 0 && memcmp(scale, block, sizeof scale) == 0);
    fp4_tensor_free(&t);
}

// The same with powers of two: each of the 128 rows gets them, in tiles of 128 x 4.
static void reads_powers(void) {
    static const uint8_t block[2][2] = {{120, 131}, {127, 1}};
    static uint8_t data[N * K], scale[2 * 512];
    draw(16, 7);
    begin();
    add("l.weight", "F8_E4M3", "130,160", codes[0], N * K);
    add("l.scale", "F8_E8M0", "2,2", block, sizeof block);
    fp4_tensor t;
    NEED(pack("l", &t) == FP4_OK);
    NEED(t.format.granule_rows == 1 && t.format.granule_cols == 128 && t.format.layout == FP4_SF_128X4);
    NEED(fp4_tensor_read(ctx, &t, data, scale, NULL) == FP4_OK && memcmp(data, codes[0], sizeof data) == 0);
    for (int n = 0; n < N; n++) {
        NEED(memcmp(&scale[n / 128 * 512 + n % 32 * 16 + n % 128 / 32 * 4], block[n / 128], 2) == 0);
    }
    fp4_tensor_free(&t);
}

static void refuses(const char *sentence) {
    fp4_tensor t;
    NEED(pack("l", &t) != FP4_OK);
    if (!strstr(fp4_last_error(), sentence)) {
        fprintf(stderr, "'%s' is not in: %s\n", sentence, fp4_last_error());
        exit(1);
    }
}

static void refuses_mistakes(void) {
    static const float bad[] = {0, -1, 1e38f * 10};
    sample s = samples[0];
    s.scale_shape = "65,20"; // as many bytes, another shape
    write_sample(&s);
    refuses("one for each 1 x 16 elements of [.., 130, 160]");
    s = samples[0];
    s.scale_dtype = "BF16"; // half as many
    s.scale_shape = "65,10";
    write_sample(&s);
    refuses("'l' is not written as ModelOpt NVFP4 (.weight of U8, .weight_scale of F8_E4M3, .weight_scale_2)");
    for (int i = 0; i < 3; i++) {
        s = samples[0];
        s.global = bad[i];
        write_sample(&s);
        refuses("not a positive finite number");
    }
    s = samples[0];
    s.global_name = NULL;
    write_sample(&s);
    refuses("is not written as");
    s = samples[4];
    s.data_shape = "2,130,10,8";
    write_sample(&s);
    refuses("that of a granule's 16 bytes");
    s = samples[3];
    s.data_shape = "80,130";
    write_sample(&s);
    refuses("end with a whole granule");
    s = samples[3];
    s.data_shape = "10400";
    write_sample(&s);
    refuses("too few axes");
    NEED(fp4_prepack(ctx, NULL, "l", NULL) == FP4_ERROR_ARGUMENT);
}

// A file that ends early does not open; one digit of its header changed may, and then a layer is imported or
// refused. The bytes lie in a block of their own, so that a sanitizer sees a read behind them.
static void reads_torn_files(void) {
    for (size_t i = 0; i < 600; i++) {
        write_sample(&samples[i % (sizeof samples / sizeof *samples)]);
        size_t bytes = finish();
        bool cut = i % 2 == 0;
        size_t kept = cut ? (size_t)rand() % bytes : bytes;
        uint8_t *digit = w.file + 8 + (size_t)rand() % (size_t)w.n_header;
        if (!cut && *digit >= '0' && *digit <= '9') {
            *digit = (uint8_t)('0' + rand() % 10);
        }
        uint8_t *block = malloc(kept + (kept == 0));
        fp4_safetensors *file;
        fp4_tensor t;
        NEED(block);
        memcpy(block, w.file, kept);
        bool opens = fp4_safetensors_open_memory(NULL, block, kept, &file) == FP4_OK;
        NEED(!(cut && opens));
        if (opens) {
            if (fp4_prepack(ctx, file, "l", &t) == FP4_OK) {
                fp4_tensor_free(&t);
            }
            fp4_safetensors_close(file);
        }
        free(block);
    }
}

int main(void) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    NEED(fp4_open(&config, &ctx) == FP4_OK);
    reads_samples();
    reads_blocks();
    reads_powers();
    refuses_mistakes();
    reads_torn_files();
    fp4_stats stats;
    NEED(fp4_get_stats(ctx, &stats) == FP4_OK && stats.device_bytes == 0);
    fp4_close(ctx);
    return 0;
}
