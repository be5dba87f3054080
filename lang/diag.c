// Diagnostics, collected (diag.h). diag_print.c prints them.
//
// Reports are kept in their order; the limit is applied when printing, so that the number of errors
// is the true one. The same sentence at the same place is kept once. A file of garbage may give any
// number of reports: from MAX_KEPT on they are only counted.
#include "diag_impl.h"

#include <stdarg.h>
#include <string.h>

#define MAX_KEPT 1000

diag *diag_new(src_map *src, int error_limit) {
    arena *mem = arena_new();
    diag *d = ARENA_NEW(mem, diag);
    d->mem = mem;
    d->src = src;
    d->error_limit = error_limit;
    return d;
}

void diag_free(diag *d) {
    if (d != NULL) {
        arena_free(d->mem);
    }
}

void diag_set_verify(diag *d, diag_verify_fn *fn, void *user) {
    d->verify = fn;
    d->verify_user = user;
}

static const char *format_text(diag *d, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = arena_alloc(d->mem, (size_t)(n < 0 ? 0 : n) + 1);
    vsnprintf(text, (size_t)(n < 0 ? 0 : n) + 1, fmt, again);
    va_end(again);
    return text;
}

static bool same_place(ast_span a, ast_span b) {
    return a.file == b.file && a.off == b.off && a.len == b.len;
}

static bool is_repeated(const diag *d, const char *code, ast_span at, const char *sentence) {
    for (const diag_item *it = d->first; it != NULL; it = it->next) {
        if (same_place(it->at, at) && strcmp(it->code, code) == 0 &&
            strcmp(it->sentence, sentence) == 0) {
            return true;
        }
    }
    return false;
}

void diag_report(diag *d, diag_level level, const char *code, ast_span at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const char *sentence = format_text(d, fmt, args);
    va_end(args);
    d->newest = NULL;
    if (d->n_items >= MAX_KEPT) {
        d->n_errors += level == DIAG_ERROR;
        return;
    }
    if (is_repeated(d, code, at, sentence)) {
        return;
    }
    diag_item *it = ARENA_NEW(d->mem, diag_item);
    it->level = level;
    it->code = arena_strdup(d->mem, code);
    it->at = at;
    it->sentence = sentence;
    if (d->last == NULL) {
        d->first = it;
    } else {
        d->last->next = it;
    }
    d->last = it;
    d->newest = it;
    d->n_items++;
    d->n_errors += level == DIAG_ERROR;
    d->n_warnings += level == DIAG_WARNING;
}

// Adds a line to the newest diagnostic; NULL when that was a repetition.
static diag_line *add_line(diag *d, diag_line_kind kind, const char *text) {
    if (d->newest == NULL) {
        return NULL;
    }
    diag_line *line = ARENA_NEW(d->mem, diag_line);
    line->kind = kind;
    line->text = text;
    diag_line **end = &d->newest->lines;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = line;
    return line;
}

const char *diag_first(const diag *d) {
    for (const diag_item *it = d->first; it != NULL; it = it->next) {
        if (it->level == DIAG_ERROR) {
            return arena_printf(d->mem, "%s: %s", it->code, it->sentence);
        }
    }
    return "";
}

void diag_label(diag *d, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const char *text = format_text(d, fmt, args);
    va_end(args);
    if (d->newest != NULL) {
        d->newest->label = text;
    }
}

void diag_because(diag *d, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add_line(d, LINE_BECAUSE, format_text(d, fmt, args));
    va_end(args);
}

void diag_note(diag *d, ast_span at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    diag_line *line = add_line(d, LINE_NOTE, format_text(d, fmt, args));
    va_end(args);
    if (line != NULL) {
        line->at = at;
    }
}

void diag_help(diag *d, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    add_line(d, LINE_HELP, format_text(d, fmt, args));
    va_end(args);
}

void diag_fix(diag *d, ast_span at, const char *replacement, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    diag_line *line = add_line(d, LINE_FIX, format_text(d, fmt, args));
    va_end(args);
    if (line != NULL) {
        line->at = at;
        line->replacement = arena_strdup(d->mem, replacement);
    }
}

int diag_n_errors(const diag *d) {
    return d->n_errors;
}

int diag_n_warnings(const diag *d) {
    return d->n_warnings;
}

int diag_count(const diag *d) {
    return d->n_items;
}

static const diag_item *item_at(const diag *d, int i) {
    const diag_item *it = d->first;
    while (it != NULL && i-- > 0) {
        it = it->next;
    }
    return it;
}

const char *diag_code(const diag *d, int i) {
    const diag_item *it = item_at(d, i);
    return it == NULL ? NULL : it->code;
}

ast_span diag_at(const diag *d, int i) {
    const diag_item *it = item_at(d, i);
    return it == NULL ? (ast_span){0} : it->at;
}
