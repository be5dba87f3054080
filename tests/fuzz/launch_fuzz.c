// Mutated launch files of fp4sim. Each is refused with a sentence or its launches run, end or fault; what they ask
// to be saved is not written.
//
//   launch_fuzz FOLDER [iterations [seed]]
//
// FOLDER holds the examples of the page, NAME.ptx with NAME.json. Mutants exchange values of the text by others or by
// extremes, or change bytes. Built with -DFP4_LIBFUZZER the same trials serve libFuzzer; LAUNCH_FUZZ_FOLDER names the
// folder.
#include "fuzz_random.h"
#include "job.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_TEXT 16384

static const char *const names[] = {"groups", "order", "scale", "tile"};
enum { N_NAMES = sizeof names / sizeof *names };
static char *texts[N_NAMES];
static char ptx[N_NAMES][500];
static char launch_path[] = "/tmp/launch_fuzzXXXXXX";
static long n_refused, n_ran, n_faulted;

static void read_examples(const char *folder) {
    for (int n = 0; n < N_NAMES; n++) {
        char path[500];
        size_t bytes;
        snprintf(ptx[n], sizeof ptx[n], "%.400s/%s.ptx", folder, names[n]);
        snprintf(path, sizeof path, "%.400s/%s.json", folder, names[n]);
        texts[n] = (char *)read_file(path, &bytes);
        if (texts[n] == NULL || bytes >= MOST_TEXT) {
            fprintf(stderr, "cannot read '%s'\n", path);
            exit(2);
        }
    }
    close(mkstemp(launch_path));
}

// A value: from behind a mark to before the next.
static const char *value_in(const char *text, size_t *bytes) {
    const char *at = text + fuzz_below(strlen(text));
    at += strcspn(at, ":[");
    at += *at != '\0';
    *bytes = strcspn(at, ",]}");
    return at;
}

static void mutate(char *text, size_t room) {
    static const char *const pieces[] = {"0", "-1", "1e400", "0.5", "null", "true", "\"\"", "[]", "{}", "\"x\"", "70000000000",
                                         "18446744073709551615", "\"0xFFFFFFFFFFFFFFFF\"", "[1, 1, 1, 1]", "\"u64\"",
                                         "{\"buffer\": \"x\"}", "\"nan\"", "\"random\"", "[[[[[[", "9007199254740993"};
    size_t bytes;
    char *at = text + (value_in(text, &bytes) - text);
    if (*at == '\0') {
        return;
    }
    if (fuzz_below(8) == 0) {
        *at = (char)(1 + fuzz_below(127));
        return;
    }
    size_t piece_bytes;
    const char *piece = value_in(texts[fuzz_below(N_NAMES)], &piece_bytes);
    if (fuzz_below(2) == 0) {
        piece = pieces[fuzz_below(sizeof pieces / sizeof *pieces)];
        piece_bytes = strlen(piece);
    }
    if (strlen(text) + piece_bytes < room) {
        memmove(at + piece_bytes, at + bytes, strlen(at + bytes) + 1);
        memcpy(at, piece, piece_bytes);
    }
}

// Of the text, with the program 'which'.
static void trial(const char *text, size_t bytes, int which) {
    FILE *f = fopen(launch_path, "wb");
    if (f == NULL || fwrite(text, 1, bytes, f) != bytes || fclose(f) != 0) {
        exit(2);
    }
    struct job j = {.error = ""};
    struct options o = {.ptx = ptx[which], .launch = launch_path, .policy = -1, .hazards = -1, .threads = 1};
    bool ok = job_read(&j, &o);
    j.max_steps = j.max_steps == 0 || j.max_steps > 2000 ? 2000 : j.max_steps;
    ok = ok && buffers_make(&j) && job_run(&j);
    if (!ok && strlen(j.error) < strlen(launch_path) + 5) {
        fprintf(stderr, "refused without a sentence: '%s'\n", j.error);
        abort();
    }
    n_refused += !ok;
    for (int n = 0; n < j.n_results; n++) {
        n_ran += j.results[n].status == SIM_OK;
        n_faulted += j.results[n].status != SIM_OK;
    }
    job_free(&j);
}

#ifdef FP4_LIBFUZZER
#include "fuzz_cov.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    read_examples(getenv("LAUNCH_FUZZ_FOLDER"));
    return 0;
}

// The first byte says which program.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && memchr(data, '/', size) == NULL) { // no file elsewhere
        trial((const char *)data + 1, size - 1, data[0] % N_NAMES);
    }
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    fuzz_state = (seed + 1) * 0x9E3779B97F4A7C15u;
    if (fuzz_below(8) == 0 && size > 1) {
        return LLVMFuzzerMutate(data, size, most);
    }
    char text[2 * MOST_TEXT] = "";
    if (size < 2 || size >= sizeof text || fuzz_below(16) == 0) {
        data[0] = (uint8_t)fuzz_below(N_NAMES);
        snprintf(text, sizeof text, "%s", texts[data[0]]);
    } else {
        memcpy(text, data + 1, size - 1);
    }
    for (size_t n = fuzz_below(3) + 1; n > 0; n--) {
        mutate(text, sizeof text);
    }
    size = strlen(text) < most ? strlen(text) : most - 1;
    memcpy(data + 1, text, size);
    return size + 1;
}

#else

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: launch_fuzz FOLDER [iterations [seed]]\n");
        return 2;
    }
    read_examples(argv[1]);
    long iterations = argc > 2 ? atol(argv[2]) : 2000;
    fuzz_start(argc > 3 ? argv[3] : NULL);
    for (long i = 0; i < iterations; i++) {
        char text[2 * MOST_TEXT];
        int which = (int)fuzz_below(N_NAMES);
        snprintf(text, sizeof text, "%s", texts[which]);
        for (uint64_t n = i < N_NAMES ? 0 : fuzz_below(2) + 1; n > 0; n--) {
            mutate(text, sizeof text);
        }
        trial(text, strlen(text), which);
    }
    unlink(launch_path);
    printf("%ld launch files: %ld refused, %ld launches ended, %ld did not\n", iterations, n_refused, n_ran, n_faulted);
    for (int n = 0; n < N_NAMES; n++) {
        free(texts[n]);
    }
    return n_ran > iterations / 20 && n_refused > iterations / 4 ? 0 : 1;
}

#endif
