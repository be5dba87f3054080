// Mutated role programs. Whatever the reader takes, prints and reads back to the same text; whatever
// the verifier takes too, is lowered to PTX or refused with a sentence. Nothing may crash (run under
// AddressSanitizer).
//
//   tir_fuzz [iterations [seed [lowered]]]
//
// At most 'lowered' kernels go to code generation, which takes some 10 ms for each.
//
// Half of the mutants replace numbers and words by others of the same text (these reach deep), half
// change characters.

#include "arena.h"
#include "cg.h"
#include "fuzz_random.h"
#include "planned.h"
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long n_read, n_sound, n_lowered;
static long most_lowered;

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

// Start and length of a word of the text.
static const char *pick_word(const char *text, size_t n, size_t *len) {
    size_t at = fuzz_below(n);
    while (at > 0 && is_word(text[at - 1])) {
        at--;
    }
    while (at < n && !is_word(text[at])) {
        at++;
    }
    *len = 0;
    while (at + *len < n && is_word(text[at + *len])) {
        ++*len;
    }
    return text + at;
}

static const char *other_word(const char *text, size_t n, const char *word, size_t *len) {
    static const char *const numbers[] = {"0", "1", "2", "3", "7", "16", "64", "128", "256", "1024",
                                          "65536", "2147483647", "9223372036854775807", "-1"};
    if (isdigit((unsigned char)*word) && fuzz_below(3) == 0) {
        const char *number = numbers[fuzz_below(sizeof(numbers) / sizeof(numbers[0]))];
        *len = strlen(number);
        return number;
    }
    const char *other = word;
    for (int tries = 0; tries < 20; tries++) {
        other = pick_word(text, n, len);
        if (!isdigit((unsigned char)*other) == !isdigit((unsigned char)*word)) {
            break;
        }
    }
    return other;
}

static char *swap_word(const char *text, size_t n, size_t *out_n) {
    size_t word_len;
    size_t other_len;
    const char *word = pick_word(text, n, &word_len);
    const char *other = other_word(text, n, word, &other_len);
    size_t head = (size_t)(word - text);
    char *out = malloc(n - word_len + other_len + 1);
    memcpy(out, text, head);
    memcpy(out + head, other, other_len);
    memcpy(out + head + other_len, word + word_len, n - head - word_len);
    *out_n = n - word_len + other_len;
    return out;
}

static char *change_bytes(const char *text, size_t n, size_t *out_n) {
    static const char marks[] = "{}[]()=,+*/%\"#.:-_ \n\t\\0";
    char *out = malloc(n + 1);
    memcpy(out, text, n);
    for (size_t i = fuzz_below(3) + 1; i > 0; i--) {
        size_t at = fuzz_below(n);
        size_t from = fuzz_below(n);
        size_t len = fuzz_below(40) + 1;
        switch (fuzz_below(4)) {
        case 0:
            out[at] = marks[fuzz_below(sizeof(marks))];
            break;
        case 1:
            out[at] = (char)fuzz_below(256);
            break;
        case 2: // a stretch copied over another one
            len = len < n - at ? len : n - at;
            memmove(out + at, out + from, len < n - from ? len : n - from);
            break;
        default: // a line taken out
            while (at < n && out[at] != '\n') {
                at++;
            }
            for (from = at + (at < n); from < n && out[from] != '\n';) {
                from++;
            }
            memmove(out + at, out + from, n - from);
            n -= from - at;
            break;
        }
        if (n == 0) {
            break;
        }
    }
    *out_n = n;
    return out;
}

static void broken(const char *what, const char *text, size_t n) {
    fprintf(stderr, "%s:\n%.*s\n", what, (int)n, text);
    abort();
}

static void lower(const tir_kernel *k, arena *mem, const char *text, size_t n) {
    cg_result result = {0};
    const char *refusal = cg_compile(k, &(cg_options){0}, mem, &result);
    if (refusal == NULL ? result.ptx_len == 0 : strlen(refusal) < 10 || result.code == NULL) {
        broken("neither PTX nor a refusal", text, n);
    }
    n_lowered += refusal == NULL;
}

static void try_text(const char *mutant, size_t n) {
    char *text = malloc(n + (n == 0)); // of exactly its size, so that a read beyond the end is seen
    memcpy(text, mutant, n);
    arena *mem = arena_new();
    const char *why = NULL;
    tir_kernel *k = tir_read(text, n, mem, &why);
    if (k == NULL) {
        if (why == NULL || strncmp(why, "line ", 5) != 0) {
            broken("refused without a line", text, n);
        }
    } else {
        n_read++;
        size_t once_len;
        size_t twice_len;
        char *once = print_text(k, &once_len);
        tir_kernel *again = tir_read(once, once_len, mem, &why);
        if (again == NULL) {
            broken(why, once, once_len);
        }
        char *twice = print_text(again, &twice_len);
        if (once_len != twice_len || memcmp(once, twice, once_len) != 0) {
            broken("not the same when read back", once, once_len);
        }
        if (tir_verify(k, mem) == NULL) {
            n_sound++;
            if (n_sound <= most_lowered) {
                lower(k, mem, text, n);
            }
        }
        free(once);
        free(twice);
    }
    arena_free(mem);
    free(text);
}

int main(int argc, char **argv) {
    long iterations = argc > 1 ? atol(argv[1]) : 20000;
    fuzz_start(argc > 2 ? argv[2] : NULL);
    most_lowered = argc > 3 ? atol(argv[3]) : 100;
    int n_planned;
    planned *all = plan_all(&n_planned);
    for (long i = 0; i < iterations; i++) {
        const planned *p = &all[fuzz_below((size_t)n_planned)];
        size_t n = p->len;
        char *text = i % 2 ? swap_word(p->text, n, &n) : change_bytes(p->text, n, &n);
        if (n > 0 && fuzz_below(4) == 0) {
            char *once = text;
            text = swap_word(once, n, &n);
            free(once);
        }
        try_text(text, n);
        free(text);
    }
    planned_free(all, n_planned);
    printf("%ld texts: %ld read, %ld of them sound, %ld of the first %ld lowered\n", iterations, n_read,
           n_sound, n_lowered, most_lowered);
    return n_read > iterations / 20 && n_sound > iterations / 100 ? 0 : 1;
}
