// Mutated GGUF files: none may crash the reader (run under AddressSanitizer), every refusal has a
// sentence, and of an accepted file every byte that it promises can be read.
//
//   gguf_fuzz [iterations [seed]]
#include "fuzz_random.h"
#include "gguf.h"
#include "gguf_sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seen; // keeps the reads

static void read_all(const fp4_gguf *file) {
    static const char *const keys[] = {"general.name", "general.alignment", "flag", "less",
                                       "words"};
    for (int i = 0; i < fp4_gguf_count(file); i++) {
        fp4_gguf_tensor t;
        fp4_host host;
        fp4_gguf_at(file, i, &t);
        for (int64_t j = 0; j < t.bytes; j++) {
            seen += ((const uint8_t *)t.data)[j];
        }
        double values[512];
        int64_t n = 1;
        for (int axis = 0; axis < t.rank && n <= 512; axis++) {
            n *= t.dims[axis] < 513 ? t.dims[axis] : 513;
        }
        if (n <= 512 && fp4_gguf_host(&t, &host) == FP4_OK &&
            fp4_host_decode(&host, values) == FP4_OK && n > 0) {
            seen += values[n - 1];
        }
        seen += (double)strlen(t.name);
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text;
        size_t bytes;
        double number;
        if (fp4_gguf_text(file, keys[i], &text, &bytes) == FP4_OK && bytes > 0) {
            seen += text[bytes - 1];
        }
        if (fp4_gguf_number(file, keys[i], &number) == FP4_OK) {
            seen += number;
        }
    }
}

static int load(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n + (n == 0)); // exactly as long: reading on would be seen
    memcpy(copy, bytes, n);
    fp4_gguf *file;
    fp4_status status = fp4_gguf_open_memory(NULL, copy, n, &file);
    if (status == FP4_OK) {
        read_all(file);
        fp4_gguf_close(file);
    } else if (status != FP4_ERROR_FILE || strlen(fp4_last_error()) < 10) {
        fprintf(stderr, "status %d, \"%s\"\n", (int)status, fp4_last_error());
        abort();
    }
    free(copy);
    return status == FP4_OK;
}

#ifdef FP4_LIBFUZZER
#include "fuzz_cov.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    load(data, size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    const gguf_sample good = gguf_make();
    if (seed % 64 == 0 && good.n <= most) {
        memcpy(data, good.bytes, good.n);
        size = good.n;
    }
    return LLVMFuzzerMutate(data, size, most);
}

#else

int main(int argc, char **argv) {
    long iterations = argc > 1 ? atol(argv[1]) : 50000;
    fuzz_start(argc > 2 ? argv[2] : NULL);
    const gguf_sample good = gguf_make();
    size_t header = good.n - 256 - 18;
    long n_loaded = 0;
    for (long i = 0; i < iterations; i++) {
        gguf_sample f = good;
        for (uint64_t m = fuzz_below(4); m > 0; m--) {
            size_t at = fuzz_below(header);
            switch (fuzz_below(4)) {
            case 0:
                f.bytes[at] ^= (uint8_t)(1u << fuzz_below(8));
                break;
            case 1:
                f.bytes[at] = (uint8_t)fuzz_below(256);
                break;
            case 2: // a number at its limits
                memset(f.bytes + at, fuzz_below(2) ? 0xff : 0, 1 + fuzz_below(8));
                break;
            default:
                f.bytes[at] = (uint8_t)(f.bytes[at] + fuzz_below(3) - 1);
            }
        }
        n_loaded += load(f.bytes, fuzz_below(8) ? f.n : fuzz_below(f.n + 1));
    }
    printf("%ld files, %ld loaded\n", iterations, n_loaded);
    return n_loaded > iterations / 20 && n_loaded < iterations ? 0 : 1;
}

#endif
