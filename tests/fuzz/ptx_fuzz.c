// Mutated PTX. No text may crash the reader or the machine: it is refused with a sentence that
// names a line, or it runs and ends, faults, hangs or uses up its steps. The verifier gets each text as
// well. Deterministic; meant to be built with sanitizers.
//
//   ptx_fuzz FILE [iterations [seed]]
//
// FILE holds programs between lines "//---- target". Mutants change tokens (others of the corpus,
// extreme numbers, brackets), lines (gone, twice, from another program) or bytes, or end early.
// Built with -DFP4_LIBFUZZER the same mutations and trials serve libFuzzer; PTX_FUZZ_CORPUS names FILE.
#include "fuzz_random.h"
#include "sim.h"
#include "verify.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SEEDS 512
#define MOST_BYTES (1 << 23)

struct text {
    char *s;
    size_t n;
};
static struct text seeds[MOST_SEEDS];
static size_t n_seeds;
static struct text *tokens; // of the whole corpus
static size_t n_tokens;
static long n_refused, n_ran, n_faulted, n_accepted;

static struct text copy_of(const char *s, size_t n) {
    struct text t = {malloc(n + 1), n};
    if (t.s == NULL) {
        exit(2);
    }
    memcpy(t.s, s, n);
    t.s[n] = '\0';
    return t;
}

// Replaces [from, to) of t.
static void splice(struct text *t, size_t from, size_t to, const char *with, size_t n) {
    char *old = t->s; // 'with' may lie in it
    size_t rest = t->n - to;
    t->n = from + n + rest;
    t->s = malloc(t->n + 1);
    if (t->s == NULL) {
        exit(2);
    }
    memcpy(t->s, old, from);
    memcpy(t->s + from, with, n);
    memcpy(t->s + from + n, old + to, rest);
    t->s[t->n] = '\0';
    free(old);
}

// ---- the corpus ---------------------------------------------------------------------------------
static size_t token_end(const char *s, size_t at, size_t n) {
    size_t e = at + 1;
    bool word = isalnum((unsigned char)s[at]) || strchr("._%$:", s[at]) != NULL;
    while (word && e < n && (isalnum((unsigned char)s[e]) || strchr("_:$", s[e]) != NULL)) {
        e++;
    }
    return e;
}

static void add_tokens(const struct text *t) {
    for (size_t at = 0; at < t->n;) {
        size_t e = token_end(t->s, at, t->n);
        if (!isspace((unsigned char)t->s[at])) {
            if ((n_tokens & (n_tokens - 1)) == 0) {
                tokens = realloc(tokens, (2 * n_tokens + 1) * sizeof *tokens);
            }
            tokens[n_tokens++] = copy_of(t->s + at, e - at);
        }
        at = e;
    }
}

static void add_seed(const char *section, size_t n) {
    size_t name = strcspn(section, "\n");
    char head[200];
    int h = snprintf(head, sizeof head, ".version 8.8\n.target %.*s\n.address_size 64\n", (int)name,
                     section);
    struct text t = copy_of(section + name, n - name);
    splice(&t, 0, 0, head, (size_t)h);
    add_tokens(&t);
    seeds[n_seeds++] = t;
}

static bool read_corpus(const char *path) {
    static char all[MOST_BYTES];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return false;
    }
    size_t n = fread(all, 1, sizeof all - 1, f);
    fclose(f);
    all[n] = '\0';
    char *at = strstr(all, "//---- ");
    while (at != NULL && n_seeds < MOST_SEEDS) {
        char *next = strstr(at + 7, "//---- ");
        add_seed(at + 7, next == NULL ? strlen(at + 7) : (size_t)(next - at - 7));
        at = next;
    }
    return n_seeds > 0;
}

// ---- mutations ----------------------------------------------------------------------------------
static size_t token_start(const struct text *t) {
    size_t at = fuzz_below(t->n);
    while (at < t->n && isspace((unsigned char)t->s[at])) {
        at++;
    }
    while (at > 0 && at < t->n && isalnum((unsigned char)t->s[at]) &&
           isalnum((unsigned char)t->s[at - 1])) {
        at--;
    }
    return at;
}

static void change_token(struct text *t) {
    static const char *const extremes[] = {"0",
                                           "-1",
                                           "4294967295",
                                           "0xFFFFFFFFFFFFFFFF",
                                           "99999999999999999999999",
                                           "-9223372036854775808",
                                           "0f7FC00000",
                                           "0fXYZ",
                                           "1e999",
                                           "{",
                                           "}",
                                           "[",
                                           "]",
                                           "(",
                                           ";",
                                           ",",
                                           "\"",
                                           "/*",
                                           "<1000000>",
                                           "@p1",
                                           "@!",
                                           "_",
                                           "|p1",
                                           "{{{{{{{{",
                                           "[[[[[[[[",
                                           "{r1,r2,r3,r4,r5,r6,r7,r8}",
                                           "%tid.x",
                                           "dyn+4096",
                                           ".reg .b32 z<100>;",
                                           ".align 1048576",
                                           "\001"};
    size_t at = token_start(t);
    if (at >= t->n) {
        return;
    }
    size_t end = token_end(t->s, at, t->n);
    size_t from = fuzz_below(4) == 0 ? end : at; // sometimes beside it
    struct text with = tokens[fuzz_below(n_tokens)];
    if (fuzz_below(3) == 0) {
        with.s = (char *)(uintptr_t)extremes[fuzz_below(sizeof extremes / sizeof *extremes)];
        with.n = strlen(with.s);
    }
    splice(t, from, end, with.s, fuzz_below(8) == 0 ? 0 : with.n);
}

// A statement: from behind one ';' to behind the next.
static size_t statement(const struct text *t, size_t *end) {
    size_t at = fuzz_below(t->n);
    while (at > 0 && t->s[at - 1] != ';' && t->s[at - 1] != '\n') {
        at--;
    }
    size_t e = at + strcspn(t->s + at, ";\n");
    *end = e < t->n ? e + 1 : e;
    return at;
}

static void change_statement(struct text *t) {
    size_t end;
    size_t at = statement(t, &end);
    switch (fuzz_below(3)) {
    case 0:
        splice(t, at, end, "", 0);
        break;
    case 1:
        splice(t, at, at, t->s + at, end - at);
        break;
    default: {
        const struct text *other = &seeds[fuzz_below(n_seeds)];
        size_t other_end;
        size_t from = statement(other, &other_end);
        splice(t, at, at, other->s + from, other_end - from);
    }
    }
}

static void mutate(struct text *t) {
    if (t->n == 0) {
        return;
    }
    switch (fuzz_below(12)) {
    case 0:
        t->s[fuzz_below(t->n)] = (char)fuzz_below(256);
        break;
    case 1:
        t->n = fuzz_below(20) == 0 ? fuzz_below(t->n) : t->n;
        t->s[t->n] = '\0';
        break;
    case 2:
    case 3:
    case 4:
        change_statement(t);
        break;
    default:
        change_token(t);
    }
}

// ---- the trial ----------------------------------------------------------------------------------
static void fill_params(sim *s, const sim_kernel_info *info, uint64_t memory, uint8_t *out) {
    uint64_t dim[2] = {64, 32};
    uint64_t stride[1] = {256};
    uint32_t box[2] = {32, 16};
    uint8_t map[128];
    sim_tensormap t = {.dtype = 2,
                       .rank = 2,
                       .address = memory,
                       .dim = dim,
                       .stride = stride,
                       .box = box,
                       .swizzle = 3};
    if (sim_tensormap_encode(s, map, &t) != SIM_OK) {
        exit(2);
    }
    for (uint32_t n = 0; n < info->n_params; n++) {
        const sim_param *p = &info->params[n];
        if (p->bytes == 128) {
            memcpy(out + p->offset, map, 128);
        } else if (p->bytes < 8) {
            memcpy(out + p->offset, &(uint32_t){1u << fuzz_below(9)}, p->bytes < 4 ? p->bytes : 4);
        } else {
            memcpy(out + p->offset, &memory, 8);
        }
    }
}

static void run(sim *s, const sim_kernel *k) {
    sim_kernel_info info;
    sim_kernel_get_info(k, &info);
    if (info.param_bytes > 65536) {
        return;
    }
    uint64_t memory = sim_alloc(s, 16384);
    uint8_t *params = calloc(1, info.param_bytes + 8);
    fill_params(s, &info, memory, params);
    bool odd = fuzz_below(4) == 0; // not the block that the kernel says
    sim_launch_config c = {.grid = {2, 1, 1},
                           .block = {odd ? 33 : info.req_threads[0] != 0 ? info.req_threads[0] : 128},
                           .cluster = {fuzz_below(4) == 0 ? 2 : 0},
                           .dynamic_smem = fuzz_below(4) == 0 ? 98304 : 8192,
                           .param_buffer = params,
                           .param_buffer_bytes = info.param_bytes,
                           .policy = (sim_policy)fuzz_below(3),
                           .seed = fuzz_below(1000),
                           .max_steps = 3000};
    int status = sim_launch(s, k, &c);
    n_ran += status == SIM_OK;
    n_faulted += status != SIM_OK;
    if (status != SIM_OK && strlen(sim_last_error(s)) < 10) {
        fprintf(stderr, "status %d without a sentence\n", status);
        abort();
    }
    free(params);
}

// The verifier accepts it or says why not.
static void verify(const struct text *t) {
    static verify_report reports[4];
    int n = verify_ptx(&(verify_job){.ptx = t->s, .len = t->n, .most_steps = 2000}, reports, 4);
    for (int i = 0; i < n; i++) {
        n_accepted += reports[i].accepted;
        if (!reports[i].accepted && strlen(reports[i].sentence) < 10) {
            fprintf(stderr, "refused without a sentence: \"%s\"\n", reports[i].sentence);
            abort();
        }
    }
}

static void trial(const struct text *t, bool whole) {
    sim *s = sim_open(&(sim_options){.sms = 2,
                                     .memory_bytes = 64 << 20,
                                     .threads = fuzz_below(8) == 0 ? 2 : 1,
                                     .hazards = (sim_hazards)fuzz_below(4)});
    if (s == NULL) {
        exit(2);
    }
    sim_module *m;
    char *exact = malloc(t->n + (t->n == 0)); // without a 0 behind it: reading on is seen
    memcpy(exact, t->s, t->n);
    int status = sim_module_load(s, exact, t->n, &m);
    free(exact);
    if (status == SIM_OK) {
        for (size_t n = 0; n < sim_module_kernel_count(m) && n < 3; n++) {
            run(s, sim_module_kernel(m, n));
        }
    } else if (status != SIM_ERROR_PTX || strncmp(sim_last_error(s), "ptx:", 4) != 0) {
        fprintf(stderr, "status %d: \"%s\"\n", status, sim_last_error(s));
        abort();
    } else if (whole) {
        fprintf(stderr, "a program of the corpus is refused: %s\n", sim_last_error(s));
        exit(1);
    } else {
        n_refused++;
    }
    sim_close(s);
}

#ifdef FP4_LIBFUZZER
#include "fuzz_cov.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *path = getenv("PTX_FUZZ_CORPUS");
    return path != NULL && read_corpus(path) ? 0 : (exit(2), 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    fuzz_state = (seed + 1) * 0x9E3779B97F4A7C15u;
    if (fuzz_below(16) == 0) {
        return LLVMFuzzerMutate(data, size, most);
    }
    struct text t = copy_of((const char *)data, size);
    if (fuzz_below(64) == 0 || size < 2) {
        const struct text *s = &seeds[fuzz_below(n_seeds)];
        free(t.s);
        t = copy_of(s->s, s->n);
    }
    for (size_t n = fuzz_below(4) + 1; n > 0; n--) {
        mutate(&t);
    }
    size = t.n < most ? t.n : most;
    memcpy(data, t.s, size);
    free(t.s);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_state = 14695981039346656037u; // what is drawn in a trial depends on the text alone
    for (size_t n = 0; n < size; n++) {
        fuzz_state = (fuzz_state ^ data[n]) * 1099511628211u;
    }
    fuzz_state |= 1;
    struct text t = copy_of((const char *)data, size);
    trial(&t, false);
    if (fuzz_below(10) == 0) {
        verify(&t);
    }
    free(t.s);
    return 0;
}

#else

int main(int argc, char **argv) {
    if (argc < 2 || !read_corpus(argv[1])) {
        fprintf(stderr, "usage: ptx_fuzz FILE [iterations [seed]]\n");
        return 2;
    }
    long iterations = argc > 2 ? atol(argv[2]) : 5000;
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    bool show = getenv("PTX_FUZZ_SHOW") != NULL; // the text of the first trial
    for (long i = 0; i < iterations; i++) {
        fuzz_state = (first + (uint64_t)i + 1) * 0x9E3779B97F4A7C15u; // each trial stands by itself
        fuzz_below(1);
        const struct text *seed = &seeds[fuzz_below(n_seeds)];
        struct text t = copy_of(seed->s, seed->n);
        bool whole = first == 1 && i < (long)n_seeds; // the corpus itself comes first
        if (whole) {
            free(t.s);
            t = copy_of(seeds[i].s, seeds[i].n);
        }
        for (size_t n = whole ? 0 : fuzz_below(4) + 1; n > 0; n--) {
            mutate(&t);
        }
        if (show && i == 0) {
            printf("%.*s\n", (int)t.n, t.s);
        }
        FILE *f = getenv("PTX_FUZZ_LAST") != NULL ? fopen(getenv("PTX_FUZZ_LAST"), "wb") : NULL;
        if (f != NULL) {
            fprintf(f, "%llu\n", (unsigned long long)(first + (uint64_t)i));
            fclose(f);
        }
        trial(&t, whole);
        if (whole || i % 10 == 0) {
            verify(&t);
        }
        free(t.s);
    }
    printf("%ld texts: %ld refused, %ld launches ended, %ld faulted; the verifier accepts %ld kernels\n",
           iterations, n_refused, n_ran, n_faulted, n_accepted);
    for (size_t n = 0; n < n_seeds; n++) {
        free(seeds[n].s);
    }
    for (size_t n = 0; n < n_tokens; n++) {
        free(tokens[n].s);
    }
    free(tokens);
    return iterations < 1000 || (n_refused > iterations / 10 && n_ran + n_faulted > iterations / 20)
               ? 0
               : 1;
}

#endif
