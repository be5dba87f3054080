// Fuzzing of lexer, parser, checker and printer.
//
//   fuzz_lang --seconds N --seed S DIR...   mutates the .tk files of the directories; the same seed
//   gives
//                                           the same inputs in the same order
// Built with -DFP4_LIBFUZZER the same check is libFuzzer's entry point instead.
//
// What must hold for every input: no crash, no sanitizer report, no hang (10 s alarm), and an input
// without errors prints to a text that parses without errors and prints to itself. A failure prints
// the iteration and the input.
#define _GNU_SOURCE
#include "lang.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *print_file(const ast_file *file, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL) {
        abort();
    }
    ast_print_file(out, file);
    fclose(out);
    return text;
}

// Compiles a text; returns its printed form if it has no errors, else NULL.
static char *compile(const char *text, size_t len, bool verify, size_t *out_len) {
    src_map *src = src_new();
    src_add_text(src, "fuzz.tk", text, len);
    arena *mem = arena_new();
    diag *d = diag_new(src, 20);
    lang_verifier v = {.src = src};
    if (verify) {
        diag_set_verify(d, lang_verify_fix, &v);
    }
    ast_file *file = lang_parse(src, d, mem);
    bool ok = lang_check(file, d, mem, NULL, 0);
    FILE *sink = fopen("/dev/null", "w");
    if (sink != NULL) {
        diag_print(d, sink, verify ? DIAG_TEXT : DIAG_JSON, verify);
        if (ok) {
            ast_dump(sink, file);
        }
        fclose(sink);
    }
    char *printed = ok ? print_file(file, out_len) : NULL;
    diag_free(d);
    arena_free(mem);
    src_free(src);
    return printed;
}

// False when the printed form of a correct program is not a fixed point.
static bool check_one(const char *text, size_t len, bool verify) {
    size_t n1;
    char *once = compile(text, len, verify, &n1);
    if (once == NULL) {
        return true;
    }
    size_t n2 = 0;
    char *twice = compile(once, n1, false, &n2);
    bool same = twice != NULL && n1 == n2 && memcmp(once, twice, n1) == 0;
    if (!same) {
        fprintf(stderr, "--- printed once\n%s\n--- printed twice\n%s\n", once,
                twice == NULL ? "(errors)" : twice);
    }
    free(once);
    free(twice);
    return same;
}

#ifdef FP4_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!check_one((const char *)data, size, size < 4096)) {
        abort();
    }
    return 0;
}

#else

#define MAX_INPUTS 256
#define MAX_BYTES 16384

typedef struct {
    char *text;
    size_t len;
} input;

static input inputs[MAX_INPUTS];
static int n_inputs;
static char current[MAX_BYTES * 2 + 1];
static size_t current_len;
static uint64_t state;

static uint64_t next_random(void) { // splitmix64
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n) {
    return n == 0 ? 0 : (size_t)(next_random() % n);
}

static const char *const words[] = {
    "use",
    "format",
    "const",
    "fn",
    "kernel",
    "schedule",
    "tile",
    "for",
    "all",
    "ragged",
    "temp",
    "let",
    "if",
    "else",
    "meet",
    "zero",
    "where",
    "out",
    "inout",
    "of",
    "in",
    "by",
    "at",
    "on",
    "when",
    "with",
    "per",
    "shared",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "?",
    ".",
    "..",
    "@",
    "=",
    "+=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "<",
    "<=",
    ">",
    "==",
    "!=",
    "&&",
    "||",
    "&",
    "|",
    "^",
    "<<",
    ">>",
    "!",
    "~",
    "0",
    "1",
    "1.5",
    "inf",
    "0x7fffffffffffffff",
    "sum[k]",
    "max[m]",
    "f32(",
    "bf16(",
    "nvfp4(",
    "peer(",
    "moe.route",
    "swiglu(",
    "A",
    "B",
    "D",
    "acc",
    "m",
    "n",
    "k",
    "M",
    "N",
    "K",
    "BM",
    "// c\n",
    "/* c */",
    "\n",
    " ",
};

static void insert(size_t at, const char *text, size_t n) {
    if (current_len + n > MAX_BYTES) {
        return;
    }
    memmove(current + at + n, current + at, current_len - at);
    memcpy(current + at, text, n);
    current_len += n;
}

static void delete (size_t at, size_t n) {
    n = at + n > current_len ? current_len - at : n;
    memmove(current + at, current + at + n, current_len - at - n);
    current_len -= n;
}

static bool is_word_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// The token around a random place: [*at, *at + *n)
static void pick_token(size_t *at, size_t *n) {
    *at = below(current_len);
    *n = current_len > 0;
    if (current_len > 0 && is_word_byte(current[*at])) {
        while (*at > 0 && is_word_byte(current[*at - 1])) {
            (*at)--;
        }
        while (*at + *n < current_len && is_word_byte(current[*at + *n])) {
            (*n)++;
        }
    }
}

static void mutate(void) {
    const char *word = words[below(sizeof words / sizeof words[0])];
    size_t at;
    size_t n;
    pick_token(&at, &n);
    switch (below(9)) {
    case 0: // another byte
        if (current_len > 0) {
            current[at] = (char)next_random();
        }
        break;
    case 1:
        delete (at, n);
        break;
    case 2: // another token
        delete (at, n);
        insert(at, word, strlen(word));
        break;
    case 3:
        insert(at, word, strlen(word));
        break;
    case 4: { // the same token elsewhere
        char copy[64];
        n = n > sizeof copy ? sizeof copy : n;
        memcpy(copy, current + at, n);
        size_t to;
        size_t m;
        pick_token(&to, &m);
        delete (to, m);
        insert(to, copy, n);
        break;
    }
    case 5:
        delete (at, below(60));
        break;
    case 6: { // a piece of another program
        const input *other = &inputs[below((size_t)n_inputs)];
        size_t from = below(other->len);
        size_t len = below(200);
        insert(at, other->text + from, from + len > other->len ? other->len - from : len);
        break;
    }
    case 7: // a line twice, or many times: nests
        n = below(40) + 1;
        n = at + n > current_len ? current_len - at : n;
        for (size_t i = below(8) == 0 ? 250 : 1; i > 0; i--) {
            char copy[64];
            memcpy(copy, current + at, n);
            insert(at, copy, n);
        }
        break;
    default: // cut off
        if (below(10) == 0) {
            current_len = at;
        }
        break;
    }
}

static long iteration;

static void on_alarm(int signal_number) {
    (void)signal_number;
    char text[64];
    int n = snprintf(text, sizeof text, "fuzz_lang: hang in iteration %ld\n", iteration);
    if (write(2, text, (size_t)n) < 0 || write(2, current, current_len) < 0) {
        _exit(3);
    }
    _exit(2);
}

static void add_input(const char *path) {
    FILE *in = fopen(path, "rb");
    if (in == NULL || n_inputs == MAX_INPUTS) {
        exit(2);
    }
    input *i = &inputs[n_inputs++];
    i->text = malloc(MAX_BYTES);
    if (i->text == NULL) {
        exit(2);
    }
    i->len = fread(i->text, 1, MAX_BYTES, in);
    fclose(in);
}

static void add_dir(const char *dir) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(names[i]->d_name);
        if (len > 3 && strcmp(names[i]->d_name + len - 3, ".tk") == 0) {
            char path[512];
            snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
            add_input(path);
        }
        free(names[i]);
    }
    if (n >= 0) {
        free(names);
    }
}

int main(int argc, char **argv) {
    long seconds = 5;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            seconds = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            state = strtoull(argv[++i], NULL, 10);
        } else {
            add_dir(argv[i]);
        }
    }
    if (n_inputs == 0) {
        fprintf(stderr, "fuzz_lang: no inputs\n");
        return 2;
    }
    signal(SIGALRM, on_alarm);
    time_t end = time(NULL) + seconds;
    long accepted = 0;
    for (; time(NULL) < end; iteration++) {
        const input *from = &inputs[below((size_t)n_inputs)];
        current_len = from->len;
        memcpy(current, from->text, from->len);
        for (size_t i = below(6); i > 0; i--) {
            mutate();
        }
        alarm(10);
        if (!check_one(current, current_len, below(4) == 0)) {
            fprintf(stderr, "fuzz_lang: iteration %ld\n%.*s\n", iteration, (int)current_len,
                    current);
            return 1;
        }
        accepted++;
    }
    printf("%ld inputs, no failure\n", accepted);
    for (int i = 0; i < n_inputs; i++) {
        free(inputs[i].text);
    }
    return 0;
}

#endif
