// A GGUF file written byte by byte, for tests and the fuzzer.
#ifndef FP4_TESTS_GGUF_SAMPLE_H
#define FP4_TESTS_GGUF_SAMPLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t bytes[4096];
    size_t n;
} gguf_sample;

static inline void gguf_put(gguf_sample *f, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        f->bytes[f->n++] = (uint8_t)(i < 8 ? value >> 8 * i : 0);
    }
}

static inline void gguf_text(gguf_sample *f, const char *text) {
    gguf_put(f, strlen(text), 8);
    memcpy(f->bytes + f->n, text, strlen(text));
    f->n += strlen(text);
}

static inline void gguf_tensor(gguf_sample *f, const char *name, const uint64_t *dims, int rank,
                               uint32_t type) {
    gguf_text(f, name);
    gguf_put(f, (uint64_t)rank, 4);
    for (int i = 0; i < rank; i++) {
        gguf_put(f, dims[i], 8);
    }
    gguf_put(f, type, 4);
}

// Pairs of every kind; the tensors w (nvfp4, 3 x 64, 108 bytes), x (mxfp4, 2 x 32, 34 bytes),
// s (f32, scalar) and q (q4_0, 1 x 32, 18 bytes), 64-aligned; byte i of the data is i.
static inline gguf_sample gguf_make(void) {
    gguf_sample f = {.n = 0};
    memcpy(f.bytes, "GGUF", 4);
    f.n = 4;
    gguf_put(&f, 3, 4);
    gguf_put(&f, 4, 8); // tensors
    gguf_put(&f, 6, 8); // pairs
    gguf_text(&f, "general.alignment");
    gguf_put(&f, 4, 4);
    gguf_put(&f, 64, 4);
    gguf_text(&f, "general.name");
    gguf_put(&f, 8, 4);
    gguf_text(&f, "sample");
    gguf_text(&f, "words");
    gguf_put(&f, 9, 4);
    gguf_put(&f, 8, 4);
    gguf_put(&f, 2, 8);
    gguf_text(&f, "one");
    gguf_text(&f, "two");
    gguf_text(&f, "numbers");
    gguf_put(&f, 9, 4);
    gguf_put(&f, 3, 4);
    gguf_put(&f, 3, 8);
    gguf_put(&f, 0x332211, 6);
    gguf_text(&f, "flag");
    gguf_put(&f, 7, 4);
    gguf_put(&f, 1, 1);
    gguf_text(&f, "less");
    gguf_put(&f, 5, 4);
    gguf_put(&f, (uint32_t)-7, 4);
    gguf_tensor(&f, "w", (const uint64_t[]){64, 3}, 2, 40);
    gguf_put(&f, 0, 8);
    gguf_tensor(&f, "x", (const uint64_t[]){32, 2}, 2, 39);
    gguf_put(&f, 128, 8);
    gguf_tensor(&f, "s", NULL, 0, 0);
    gguf_put(&f, 192, 8);
    gguf_tensor(&f, "q", (const uint64_t[]){32}, 1, 2);
    gguf_put(&f, 256, 8);
    gguf_put(&f, 0, (64 - f.n % 64) % 64);
    for (uint64_t i = 0; i < 256 + 18; i++) {
        gguf_put(&f, i, 1);
    }
    return f;
}

#endif
