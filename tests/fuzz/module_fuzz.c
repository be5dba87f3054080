// Mutated module files. Each is loaded; those that load anyway are asked everything and launched on
// the fake device. Nothing may crash (run under AddressSanitizer), and every refusal has a
// sentence.
//
//   module_fuzz [iterations [seed]]
//
// Half of the mutants change bytes of the file, half the metadata text by pieces of JSON; most are
// sealed again with a right checksum, so that they get past the first door.
#include "fake_device.h"
#include "fuzz_random.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static long n_loaded, n_launched, n_refused;

static void mutate_bytes(uint8_t *bytes, size_t n, size_t from) {
    for (uint64_t i = fuzz_below(4) + 1; i > 0; i--) {
        size_t at = from + fuzz_below(n - from);
        switch (fuzz_below(4)) {
        case 0:
            bytes[at] ^= (uint8_t)(1u << fuzz_below(8));
            break;
        case 1:
            bytes[at] = (uint8_t)fuzz_below(256);
            break;
        case 2:
            bytes[at] = fuzz_below(2) ? 0xff : 0;
            break;
        default:
            bytes[at] = bytes[from + fuzz_below(n - from)];
        }
    }
}

// Replaces a stretch between two marks of the text by a piece of JSON or by another such stretch.
static char *mutate_text(const char *text) {
    static const char *const pieces[] = {
        "0",
        "-1",
        "1e400",
        "9007199254740993",
        "0.5",
        "null",
        "true",
        "\"\"",
        "\"K\"",
        "[]",
        "{}",
        "[\"%\",\"K\",0]",
        "[\"*\",9e15,9e15]",
        "[\"-\",\"M\",\"N\"]",
        "\"A.pitch\"",
        "\"D.sf_bytes\"",
        "[[[[[[[[[[",
        "\"\\u0000\"",
        "[\"/\",-9007199254740992,[\"-\",0,1]]",
        "[1,1,1,1,1]",
        "257",
    };
    size_t n = strlen(text);
    size_t from = fuzz_below(n);
    from += strcspn(text + from, ":,[");
    from += from < n;
    size_t to = from + strcspn(text + from, ",]}");
    const char *piece = pieces[fuzz_below(sizeof pieces / sizeof pieces[0])];
    size_t piece_bytes = strlen(piece);
    if (fuzz_below(3) == 0) {
        piece = text + fuzz_below(n);
        piece_bytes = strcspn(piece, "}") % 60;
    }
    char *out = malloc(n + piece_bytes + 1);
    memcpy(out, text, from);
    memcpy(out + from, piece, piece_bytes);
    strcpy(out + from + piece_bytes, text + to);
    return out;
}

static void ask(fp4_kernel *k, int *rank, int64_t *shape) {
    fp4_kernel_info info;
    fp4_kernel_get_info(k, &info);
    fp4_dim dims[FP4_MAX_DIMS];
    for (int i = 0; i < info.n_dims; i++) {
        dims[i] = (fp4_dim){fp4_kernel_dim(k, i), (int64_t)fuzz_below(2000)};
    }
    for (int i = 0; i < info.n_params; i++) {
        fp4_kernel_shape(k, i, dims, info.n_dims, rank, shape);
    }
    fp4_kernel_admits(k, dims, info.n_dims);
}

static void launch(fp4_ctx *ctx, fp4_kernel *k) {
    fp4_tensor a, b, d;
    int64_t m = (int64_t)fuzz_below(600);
    int64_t n = 8 * (int64_t)fuzz_below(80);
    int64_t kk = 32 * (int64_t)fuzz_below(20);
    if (fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){m, kk}, &a) != FP4_OK ||
        fp4_tensor_new(ctx, "nvfp4", 2, (int64_t[]){n, kk}, &b) != FP4_OK ||
        fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){m, n}, &d) != FP4_OK) {
        abort();
    }
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d), fp4_arg_f32(1)};
    n_launched += fp4_launch(k, args, 4, NULL) == FP4_OK;
    fp4_tensor_free(&a);
    fp4_tensor_free(&b);
    fp4_tensor_free(&d);
}

static void load(const sample_file *file) {
    fake_device fake = {
        .properties = {.name = "fake", .arch = "any", .n_sms = 10, .runs_any_arch = true}};
    fp4_ctx *ctx;
    fp4_module *module;
    if (fake_open(&fake, NULL, &ctx) != FP4_OK) {
        abort();
    }
    // a copy of exactly its size, so that a read beyond the end is seen
    uint8_t *bytes = malloc(file->n_bytes + (file->n_bytes == 0));
    memcpy(bytes, file->bytes, file->n_bytes);
    fp4_status status = fp4_module_load_memory(ctx, bytes, file->n_bytes, &module);
    free(bytes);
    if (status == FP4_OK) {
        n_loaded++;
        for (int i = 0; i < fp4_module_count(module); i++) {
            fp4_kernel *k;
            int rank;
            int64_t shape[FP4_MAX_RANK];
            fp4_module_kernel_at(module, i, &k);
            ask(k, &rank, shape);
            launch(ctx, k);
        }
    } else if (status != FP4_ERROR_MODULE || strlen(fp4_last_error()) < 10) {
        fprintf(stderr, "status %d, \"%s\"\n", (int)status, fp4_last_error());
        abort();
    } else {
        n_refused++;
    }
    fp4_close(ctx);
}

#ifdef FP4_LIBFUZZER
#include "fuzz_cov.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_state = 1 + size;
    load(&(sample_file){(uint8_t *)(uintptr_t)data, size});
    return 0;
}

// A file with another text of metadata or with other bytes; sealed again, or no reader would go on.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    fuzz_state = (seed + 1) * 0x9E3779B97F4A7C15u;
    if (fuzz_below(8) == 0) {
        char *meta = mutate_text(sample_gemm_meta);
        sample_file good = sample_of(meta, sample_gemm_ptx);
        size = good.n_bytes < most ? good.n_bytes : most;
        memcpy(data, good.bytes, size);
        free(meta);
        free(good.bytes);
    }
    size = LLVMFuzzerMutate(data, size, most);
    if (size >= 32) {
        sample_seal(&(sample_file){data, size});
    }
    return size;
}

#else

int main(int argc, char **argv) {
    long iterations = argc > 1 ? atol(argv[1]) : 20000;
    fuzz_start(argc > 2 ? argv[2] : NULL);
    for (long i = 0; i < iterations; i++) {
        sample_file file;
        if (i % 2) {
            char *meta = mutate_text(sample_gemm_meta);
            if (fuzz_below(4) == 0) {
                char *again = mutate_text(meta);
                free(meta);
                meta = again;
            }
            file = sample_of(meta, sample_gemm_ptx);
            free(meta);
        } else {
            file = sample_of(sample_gemm_meta, sample_gemm_ptx);
            bool table = fuzz_below(2) == 0; // only header and section table
            mutate_bytes(file.bytes, table ? 80 : file.n_bytes, fuzz_below(8) ? 32 : 0);
            if (fuzz_below(4) == 0) {
                file.n_bytes = fuzz_below(file.n_bytes + 1);
            }
            if (fuzz_below(8) && file.n_bytes >= 32) {
                sample_seal(&file);
            }
        }
        load(&file);
        free(file.bytes);
    }
    printf("%ld files: %ld loaded, %ld launched, %ld refused\n", iterations, n_loaded, n_launched,
           n_refused);
    return n_loaded > iterations / 100 && n_refused > iterations / 4 ? 0 : 1;
}

#endif
