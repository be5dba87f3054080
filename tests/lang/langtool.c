// Drives the front end for the tests:
//   langtool check FILE [-DNAME=VALUE ...]   diagnostics as text; exit 1 on errors
//   langtool json FILE                       diagnostics as JSON
//   langtool ast FILE                        the checked tree
//   langtool print FILE                      the canonical source
//   langtool identity FILE                   print(parse(print(parse(x)))) == print(parse(x)), and
//   the
//                                            tree of the printed text is the tree of the text
//   langtool expect FILE                     the codes in '// expect CODE ...' comments are
//   reported on
//                                            their lines, and no others
#include "lang.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    src_map *src;
    arena *mem;
    diag *d;
    lang_verifier verifier;
    ast_file *file;
    bool ok;
} unit;

static void compile(unit *u, const lang_define *defs, int n_defs) {
    u->mem = arena_new();
    u->d = diag_new(u->src, 20);
    u->verifier = (lang_verifier){.src = u->src, .defs = defs, .n_defs = n_defs};
    diag_set_verify(u->d, lang_verify_fix, &u->verifier);
    u->file = lang_parse(u->src, u->d, u->mem);
    u->ok = lang_check(u->file, u->d, u->mem, defs, n_defs);
}

static void close_unit(unit *u) {
    diag_free(u->d);
    arena_free(u->mem);
    src_free(u->src);
}

static unit compile_text(const char *name, const char *text, size_t len) {
    unit u = {.src = src_new()};
    src_add_text(u.src, name, text, len);
    compile(&u, NULL, 0);
    return u;
}

typedef void print_fn(FILE *out, const ast_file *file);

static char *print_text(const unit *u, print_fn *fn, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    if (out == NULL) {
        exit(2);
    }
    fn(out, u->file);
    fclose(out);
    return text;
}

// Number of comment bytes other than blanks: none may be lost.
static size_t comment_bytes(const unit *u) {
    size_t n = 0;
    size_t len;
    const char *text = src_text(u->src, 0, &len);
    for (int i = 0; i < u->file->n_comments; i++) {
        ast_span s = u->file->comments[i].span;
        for (uint32_t k = 0; k < s.len; k++) {
            n += strchr(" \t\r", text[s.off + k]) == NULL;
        }
    }
    return n;
}

static int identity(const unit *u, const char *name) {
    size_t n1;
    size_t n2;
    char *once = print_text(u, ast_print_file, &n1);
    unit again = compile_text(name, once, n1);
    char *twice = print_text(&again, ast_print_file, &n2);
    int bad = 0;
    if (n1 != n2 || memcmp(once, twice, n1) != 0) {
        fprintf(stderr, "%s: printing twice differs\n--- once\n%s--- twice\n%s", name, once, twice);
        bad = 1;
    }
    if (comment_bytes(u) != comment_bytes(&again)) {
        fprintf(stderr, "%s: comments were lost\n", name);
        bad = 1;
    }
    if (u->ok != again.ok) {
        fprintf(stderr, "%s: the printed text checks differently\n", name);
        diag_print(again.d, stderr, DIAG_TEXT, false);
        bad = 1;
    }
    if (u->ok && again.ok) {
        size_t m1;
        size_t m2;
        char *tree = print_text(u, ast_dump, &m1);
        char *same = print_text(&again, ast_dump, &m2);
        if (m1 != m2 || memcmp(tree, same, m1) != 0) {
            fprintf(stderr, "%s: the tree of the printed text differs\n", name);
            bad = 1;
        }
        free(tree);
        free(same);
    }
    free(once);
    free(twice);
    close_unit(&again);
    return bad;
}

typedef struct {
    int line;
    char code[8];
} expectation;

#define MAX_EXPECTED 64

// Reads the '// expect CODE CODE' comments.
static int read_expected(const unit *u, expectation *all) {
    int n = 0;
    size_t len;
    const char *text = src_text(u->src, 0, &len);
    for (int i = 0; i < u->file->n_comments; i++) {
        ast_span s = u->file->comments[i].span;
        char *copy = strndup(text + s.off, s.len);
        int line;
        int col;
        src_place(u->src, 0, s.off, &line, &col);
        char *word = strtok(copy, " /*");
        if (word != NULL && strcmp(word, "expect") == 0) {
            while ((word = strtok(NULL, " /*")) != NULL && n < MAX_EXPECTED) {
                all[n].line = line;
                snprintf(all[n].code, sizeof all[n].code, "%s", word);
                n++;
            }
        }
        free(copy);
    }
    return n;
}

static int expect(const unit *u, const char *name) {
    expectation all[MAX_EXPECTED];
    int n = read_expected(u, all);
    int bad = n == 0;
    for (int i = 0; i < diag_count(u->d); i++) {
        int line;
        int col;
        src_place(u->src, diag_at(u->d, i).file, diag_at(u->d, i).off, &line, &col);
        int found = -1;
        for (int k = 0; k < n; k++) {
            if (all[k].line == line && strcmp(all[k].code, diag_code(u->d, i)) == 0) {
                found = k;
            }
        }
        if (found < 0) {
            fprintf(stderr, "%s:%d: %s was not expected\n", name, line, diag_code(u->d, i));
            bad = 1;
        } else {
            all[found].line = -all[found].line;
        }
    }
    for (int k = 0; k < n; k++) {
        if (all[k].line > 0) {
            fprintf(stderr, "%s:%d: %s was expected\n", name, all[k].line, all[k].code);
            bad = 1;
        }
    }
    return bad;
}

static int run(unit *u, const char *mode, const char *name) {
    if (strcmp(mode, "check") == 0 || strcmp(mode, "json") == 0) {
        diag_print(u->d, stdout, mode[0] == 'j' ? DIAG_JSON : DIAG_TEXT, false);
        return u->ok ? 0 : 1;
    }
    if (strcmp(mode, "ast") == 0 && u->ok) {
        ast_dump(stdout, u->file);
        return 0;
    }
    if (strcmp(mode, "print") == 0) {
        ast_print_file(stdout, u->file);
        return 0;
    }
    if (strcmp(mode, "identity") == 0) {
        return identity(u, name);
    }
    if (strcmp(mode, "expect") == 0) {
        return expect(u, name);
    }
    diag_print(u->d, stderr, DIAG_TEXT, false);
    return 1;
}

#define MAX_DEFINES 16

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "langtool MODE FILE [-DNAME=VALUE ...]\n");
        return 2;
    }
    lang_define defs[MAX_DEFINES];
    int n_defs = 0;
    for (int i = 3; i < argc && n_defs < MAX_DEFINES; i++) {
        char *equals = strchr(argv[i], '=');
        if (strncmp(argv[i], "-D", 2) == 0 && equals != NULL) {
            *equals = '\0';
            defs[n_defs++] =
                (lang_define){.name = argv[i] + 2, .value = strtoll(equals + 1, NULL, 10)};
        }
    }
    unit u = {.src = src_new()};
    uint32_t file;
    const char *why;
    if (!src_add_file(u.src, argv[2], &file, &why)) {
        fprintf(stderr, "%s: %s\n", argv[2], why);
        src_free(u.src);
        return 2;
    }
    compile(&u, defs, n_defs);
    int rc = run(&u, argv[1], argv[2]);
    close_unit(&u);
    return rc;
}
