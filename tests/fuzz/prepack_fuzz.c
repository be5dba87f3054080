// Mutated checkpoints: what the readers accept is taken apart into layers. None may crash (run under
// AddressSanitizer), every refusal has a sentence, and of a layer every code and scale can be read.
//
//   prepack_fuzz [iterations [seed]]
#include "fp4_prepack.h"
#include "fuzz_random.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One layer of each kind, two rows of 32 or 64 elements.
static const char header[] =
    "{\"a.weight\":{\"dtype\":\"U8\",\"shape\":[2,16],\"data_offsets\":[4,36]},"
    "\"a.weight_scale\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[36,40]},"
    "\"a.weight_scale_2\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
    "\"b_blocks\":{\"dtype\":\"U8\",\"shape\":[2,1,16],\"data_offsets\":[40,72]},"
    "\"b_scales\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[72,74]},"
    "\"c.weight\":{\"dtype\":\"I8\",\"shape\":[1,16],\"data_offsets\":[74,90]},"
    "\"c.scale\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,1],\"data_offsets\":[90,91]},"
    "\"d.fp4_data\":{\"dtype\":\"F4\",\"shape\":[1,32],\"data_offsets\":[91,107]},"
    "\"d.fp4_scale\":{\"dtype\":\"F8_E8M0\",\"shape\":[1,512],\"data_offsets\":[107,619]},"
    "\"d.fp4_global\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[619,623]}}";

enum { DATA = 623, MOST = 4096 };

static uint64_t seen; // keeps the reads

static void read_layer(const fp4_prepack_layer *l) {
    const fp4_host *h = &l->host;
    int64_t rows = 1;
    for (int i = 0; i < h->rank - 1; i++) {
        rows *= h->dims[i];
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < h->dims[h->rank - 1]; k++) {
            seen += fp4_host_code(h, i, k) + fp4_host_scale_code(h, i, k);
        }
    }
}

static void need_sentence(fp4_status status) {
    if (status != FP4_OK && strlen(fp4_last_error()) < 10) {
        fprintf(stderr, "status %d, \"%s\"\n", (int)status, fp4_last_error());
        abort();
    }
}

// Layers of either file, by its parts.
static int take_apart(const fp4_safetensors *file, const fp4_gguf *gguf) {
    char name[FP4_PREPACK_NAME];
    fp4_prepack_layer l;
    int is_data;
    int n = 0;
    int count = gguf ? fp4_gguf_count(gguf) : fp4_safetensors_count(file);
    for (int i = 0; i < count; i++) {
        fp4_status status = gguf ? fp4_prepack_part_gguf(gguf, i, name, &is_data)
                                 : fp4_prepack_part(file, i, name, &is_data);
        need_sentence(status);
        if (status != FP4_OK || !is_data) {
            continue;
        }
        status = gguf ? fp4_prepack_find_gguf(gguf, name, &l) : fp4_prepack_find(file, name, &l);
        need_sentence(status);
        if (status == FP4_OK) {
            read_layer(&l);
            n++;
        }
    }
    return n;
}

static int load(const uint8_t *bytes, size_t n, bool gguf) {
    uint8_t *copy = malloc(n + (n == 0)); // exactly as long: reading on would be seen
    fp4_safetensors *file = NULL;
    fp4_gguf *blocks = NULL;
    memcpy(copy, bytes, n);
    fp4_status status = gguf ? fp4_gguf_open_memory(NULL, copy, n, &blocks)
                             : fp4_safetensors_open_memory(NULL, copy, n, &file);
    need_sentence(status);
    int layers = status == FP4_OK ? take_apart(file, blocks) : 0;
    fp4_safetensors_close(file);
    fp4_gguf_close(blocks);
    free(copy);
    return layers;
}

static size_t put(uint8_t *out, size_t at, const void *bytes, size_t n) {
    memcpy(out + at, bytes, n);
    return at + n;
}

static size_t put_number(uint8_t *out, size_t at, uint64_t x, size_t n) {
    return put(out, at, &x, n);
}

// "w.weight" of type NVFP4, [2, 64], with its factor.
static size_t gguf_file(uint8_t *out) {
    size_t at = put(out, 0, "GGUF", 4);
    at = put_number(out, at, 3, 4);
    at = put_number(out, at, 2, 8);
    at = put_number(out, at, 0, 8);
    at = put_number(out, at, 8, 8);
    at = put(out, at, "w.weight", 8);
    at = put_number(out, at, 2, 4);
    at = put_number(out, at, 64, 8);
    at = put_number(out, at, 2, 8);
    at = put_number(out, at, 40, 4);
    at = put_number(out, at, 0, 8);
    at = put_number(out, at, 7, 8);
    at = put(out, at, "w.scale", 7);
    at = put_number(out, at, 1, 4);
    at = put_number(out, at, 1, 8);
    at = put_number(out, at, 0, 4);
    at = put_number(out, at, 96, 8);
    while (at % 32 != 0) {
        out[at++] = 0;
    }
    memset(out + at, 0x3c, 128); // 72 bytes of blocks, then a factor
    return at + 128;
}

static size_t safetensors_file(uint8_t *out) {
    size_t at = put_number(out, 0, sizeof header - 1, 8);
    at = put(out, at, header, sizeof header - 1);
    memset(out + at, 0x3c, DATA);
    return at + DATA;
}

int main(int argc, char **argv) {
    static const char alphabet[] = "0123456789,:[]{}\"-e. FUB";
    long iterations = argc > 1 ? atol(argv[1]) : 20000;
    fuzz_start(argc > 2 ? argv[2] : NULL);
    long n_layers[2] = {0, 0};
    for (long i = 0; i < iterations; i++) {
        uint8_t bytes[MOST];
        bool gguf = fuzz_below(3) == 0;
        size_t n = gguf ? gguf_file(bytes) : safetensors_file(bytes);
        for (uint64_t m = fuzz_below(4); m > 0; m--) {
            size_t at = gguf ? fuzz_below(160) : 8 + fuzz_below(sizeof header - 1);
            bool text = fuzz_below(4) && !gguf;
            bytes[at] = text ? (uint8_t)alphabet[fuzz_below(sizeof alphabet - 1)] : (uint8_t)fuzz_below(256);
        }
        n_layers[gguf] += load(bytes, fuzz_below(8) ? n : fuzz_below(n + 1), gguf);
    }
    printf("%ld files, %ld layers, %ld of GGUF\n", iterations, n_layers[0] + n_layers[1], n_layers[1]);
    return n_layers[0] > iterations / 4 && n_layers[1] > iterations / 40 ? 0 : 1;
}
