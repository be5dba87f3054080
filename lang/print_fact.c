// Facts as text, in columns.
//
// In: the tokens of a schedule's facts. Out: one line a fact. The arguments of all facts begin in
// one column; in a stretch of facts with the same word, the parts that begin with ':', 'regs' and
// '{' are aligned as well.
#include "lang.h"

#include <string.h>

#define WORD_COLUMN 7
#define MAX_PARTS 5

typedef struct {
    int n;
    const char *text[MAX_PARTS];
} fact_parts;

// Blanks: none before ',' and ']', none around '..', one elsewhere.
static bool blank_between(const char *a, const char *b) {
    static const char *const glued_left[] = {",", "]", ")", "..", "["};
    static const char *const glued_right[] = {"[", "(", ".."};
    for (size_t i = 0; i < sizeof glued_left / sizeof glued_left[0]; i++) {
        if (strcmp(b, glued_left[i]) == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof glued_right / sizeof glued_right[0]; i++) {
        if (strcmp(a, glued_right[i]) == 0) {
            return false;
        }
    }
    return true;
}

static bool begins_part(const char *text) {
    return strcmp(text, ":") == 0 || strcmp(text, "regs") == 0 || strcmp(text, "{") == 0;
}

static fact_parts split(arena *mem, const ast_fact *fact) {
    fact_parts parts = {.n = 1, .text = {""}};
    for (int i = 1; i < fact->n_toks; i++) {
        const char *text = fact->toks[i].text;
        if (i > 1 && begins_part(text) && parts.n < MAX_PARTS) {
            parts.text[parts.n++] = text;
            continue;
        }
        const char **last = &parts.text[parts.n - 1];
        bool blank = i > 1 && blank_between(fact->toks[i - 1].text, text);
        *last = arena_printf(mem, "%s%s%s", *last, blank ? " " : "", text);
    }
    return parts;
}

static bool same_word(const ast_fact *a, const ast_fact *b) {
    return strcmp(a->toks[0].text, b->toks[0].text) == 0;
}

// Widths of the parts of a stretch; a part that ends its line needs none.
static void measure(const fact_parts *parts, int n, size_t *width) {
    memset(width, 0, sizeof *width * MAX_PARTS);
    for (int f = 0; f < n; f++) {
        for (int i = 0; i + 1 < parts[f].n; i++) {
            size_t len = strlen(parts[f].text[i]);
            width[i] = len > width[i] ? len : width[i];
        }
    }
}

static const char *join(arena *mem, const ast_fact *fact, const fact_parts *parts,
                        const size_t *width) {
    const char *text = fact->toks[0].text;
    if (fact->n_toks > 1) {
        text = arena_printf(mem, "%-*s", WORD_COLUMN, text);
    }
    for (int i = 0; i < parts->n && fact->n_toks > 1; i++) {
        int pad = i + 1 < parts->n ? (int)width[i] : 0;
        text = arena_printf(mem, "%s %-*s", text, pad, parts->text[i]);
    }
    return text;
}

const char **ast_fact_texts(const ast_file *file, const ast_schedule *s) {
    const char **texts = ARENA_ARRAY(file->mem, const char *, s->n_facts);
    fact_parts *parts = ARENA_ARRAY(file->mem, fact_parts, s->n_facts);
    for (int i = 0; i < s->n_facts; i++) {
        parts[i] = split(file->mem, &s->facts[i]);
    }
    for (int begin = 0; begin < s->n_facts;) {
        int end = begin + 1;
        while (end < s->n_facts && same_word(&s->facts[begin], &s->facts[end])) {
            end++;
        }
        size_t width[MAX_PARTS];
        measure(parts + begin, end - begin, width);
        for (int i = begin; i < end; i++) {
            texts[i] = join(file->mem, &s->facts[i], &parts[i], width);
        }
        begin = end;
    }
    return texts;
}
