// Mutated safetensors files: none may crash the reader (run under AddressSanitizer), every refusal
// has a sentence, and of an accepted file every byte that it promises can be read.
//
//   safetensors_fuzz [iterations [seed]]
#include "fuzz_random.h"
#include "safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"w\":{\"dtype\":\"F4\",\"shape\":[3,4],\"data_offsets\":[8,14]},"
    "\"w.scale\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,1],\"data_offsets\":[14,17]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[17,18]}}   ";
enum { DATA = 18 };

static uint64_t seen; // keeps the reads

static int load(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n + (n == 0)); // exactly as long: reading on would be seen
    memcpy(copy, bytes, n);
    fp4_safetensors *file;
    fp4_status status = fp4_safetensors_open_memory(NULL, copy, n, &file);
    if (status == FP4_OK) {
        for (int i = 0; i < fp4_safetensors_count(file); i++) {
            fp4_safetensor t;
            fp4_safetensors_at(file, i, &t);
            for (int64_t j = 0; j < t.bytes; j++) {
                seen += ((const uint8_t *)t.data)[j];
            }
            seen += strlen(t.name);
        }
        fp4_safetensors_close(file);
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
    if (seed % 64 == 0 && 8 + sizeof header + DATA <= most) {
        size = 8 + sizeof header + DATA;
        memset(data, 0, size);
        memcpy(data + 8, header, sizeof header);
    }
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 4 != 0 && size > 8 + DATA) {
        memcpy(data, &(uint64_t){size - 8 - DATA}, 8);
    }
    return size;
}

#else

int main(int argc, char **argv) {
    long iterations = argc > 1 ? atol(argv[1]) : 50000;
    fuzz_start(argc > 2 ? argv[2] : NULL);
    static const char alphabet[] = "0123456789,:[]{}\"-e. FUB";
    long n_loaded = 0;
    for (long i = 0; i < iterations; i++) {
        uint8_t bytes[8 + sizeof header + DATA];
        uint64_t length = sizeof header - 1;
        size_t n = 8 + length + DATA;
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes + 8, header, length);
        if (fuzz_below(8) == 0) {
            length += fuzz_below(40) - 20;
        }
        memcpy(bytes, &length, 8);
        for (uint64_t m = fuzz_below(4); m > 0; m--) {
            bytes[fuzz_below(4) ? 8 + fuzz_below(length < 300 ? length : 300) : fuzz_below(n)] =
                fuzz_below(4) ? (uint8_t)alphabet[fuzz_below(sizeof alphabet - 1)] : (uint8_t)fuzz_below(256);
        }
        n_loaded += load(bytes, fuzz_below(8) ? n : fuzz_below(n + 1));
    }
    printf("%ld files, %ld loaded\n", iterations, n_loaded);
    return n_loaded > iterations / 20 && n_loaded < iterations ? 0 : 1;
}

#endif
