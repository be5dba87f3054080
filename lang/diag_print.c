// Diagnostics, printed: the text form for people, the JSON form for tools.
//
// In: the collected items of a diag. Out: the items sorted by place, at most error_limit errors.
// Fixes are verified here, because only now the number of errors of the unedited text is known: an
// edit is offered when the edited text has fewer errors (or, for a warning, no more).
#include "diag_impl.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const diag_item *item;
    int order; // of the report
} sorted_item;

static int compare_items(const void *pa, const void *pb) {
    const sorted_item *a = pa;
    const sorted_item *b = pb;
    if (a->item->at.file != b->item->at.file) {
        return a->item->at.file < b->item->at.file ? -1 : 1;
    }
    if (a->item->at.off != b->item->at.off) {
        return a->item->at.off < b->item->at.off ? -1 : 1;
    }
    return a->order - b->order;
}

static sorted_item *sort_items(const diag *d) {
    sorted_item *all = ARENA_ARRAY(d->mem, sorted_item, d->n_items);
    int n = 0;
    for (const diag_item *it = d->first; it != NULL; it = it->next) {
        all[n] = (sorted_item){.item = it, .order = n};
        n++;
    }
    qsort(all, (size_t)n, sizeof *all, compare_items);
    return all;
}

// True when the edit may be shown.
static bool fix_is_good(const diag *d, const diag_item *it, const diag_line *fix) {
    if (d->verify == NULL) {
        return true;
    }
    size_t len;
    const char *text = src_text(d->src, fix->at.file, &len);
    if (fix->at.file != 0 || fix->at.off > len || fix->at.len > len - fix->at.off) {
        return false;
    }
    size_t n_new = strlen(fix->replacement);
    size_t total = len - fix->at.len + n_new;
    char *edited = arena_alloc(d->mem, total + 1);
    memcpy(edited, text, fix->at.off);
    memcpy(edited + fix->at.off, fix->replacement, n_new);
    size_t behind = fix->at.off + fix->at.len;
    memcpy(edited + fix->at.off + n_new, text + behind, len - behind);
    int errors = d->verify(d->verify_user, edited, total);
    return errors >= 0 && errors < d->n_errors + (it->level == DIAG_WARNING);
}

// --- text ---

static const char *paint(bool color, const char *code) {
    return color ? code : "";
}

#define BOLD "\033[1m"
#define RED "\033[1;31m"
#define YELLOW "\033[1;35m"
#define BLUE "\033[1;34m"
#define GREEN "\033[1;32m"
#define PLAIN "\033[0m"

static int digits(int n) {
    int count = 1;
    while (n >= 10) {
        n /= 10;
        count++;
    }
    return count;
}

// One source line without its line end; control characters become spaces, so that the caret fits.
static void print_source(FILE *out, const char *line, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)line[i];
        fputc((c < ' ' && c != '\t') || c == 127 ? ' ' : c, out);
    }
    fputc('\n', out);
}

static void print_snippet(const diag *d, FILE *out, const diag_item *it, bool color) {
    size_t len;
    const char *text = src_text(d->src, it->at.file, &len);
    size_t off = it->at.off > len ? len : it->at.off;
    size_t begin = off;
    while (begin > 0 && text[begin - 1] != '\n') {
        begin--;
    }
    size_t end = off;
    while (end < len && text[end] != '\n' && text[end] != '\r') {
        end++;
    }
    int line;
    int col;
    src_place(d->src, it->at.file, (uint32_t)off, &line, &col);
    int width = digits(line);
    const char *bar = paint(color, BLUE);
    const char *plain = paint(color, PLAIN);
    fprintf(out, "%s%*s |%s\n", bar, width, "", plain);
    fprintf(out, "%s%d |%s ", bar, line, plain);
    print_source(out, text + begin, end - begin);
    fprintf(out, "%s%*s |%s ", bar, width, "", plain);
    for (size_t i = begin; i < off; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) { // one column for a character of many bytes
            fputc(text[i] == '\t' ? '\t' : ' ', out);
        }
    }
    size_t stop = off + it->at.len < end ? off + it->at.len : end;
    fputs(paint(color, it->level == DIAG_ERROR ? RED : YELLOW), out);
    int carets = 0;
    for (size_t i = off; i < stop; i++) {
        carets += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    for (int i = 0; i < (carets > 0 ? carets : 1); i++) {
        fputc('^', out);
    }
    fprintf(out, "%s%s%s\n", it->label != NULL ? " " : "", it->label != NULL ? it->label : "",
            plain);
}

static void print_place(const diag *d, FILE *out, ast_span at) {
    int line;
    int col;
    src_place(d->src, at.file, at.off, &line, &col);
    fprintf(out, "%s:%d:%d: ", src_name(d->src, at.file), line, col);
}

static void print_lines(const diag *d, FILE *out, const diag_item *it, bool color) {
    int line;
    int col;
    src_place(d->src, it->at.file, it->at.off, &line, &col);
    for (const diag_line *l = it->lines; l != NULL; l = l->next) {
        if (l->kind == LINE_BECAUSE) {
            fprintf(out, "%s%*s =%s %s\n", paint(color, BLUE), digits(line), "",
                    paint(color, PLAIN), l->text);
        }
    }
    const char *green = paint(color, GREEN);
    const char *plain = paint(color, PLAIN);
    for (const diag_line *l = it->lines; l != NULL; l = l->next) {
        if (l->kind == LINE_NOTE) {
            print_place(d, out, l->at);
            fprintf(out, "%snote:%s %s\n", paint(color, BLUE), plain, l->text);
        } else if (l->kind == LINE_HELP) {
            fprintf(out, "%shelp:%s %s\n", green, plain, l->text);
        } else if (l->kind == LINE_FIX && fix_is_good(d, it, l)) {
            fprintf(out, "%shelp:%s %s%s%s\n", green, plain, l->text,
                    l->replacement[0] != '\0' ? ":   " : "", l->replacement);
        }
    }
}

static void print_text(const diag *d, FILE *out, const diag_item *it, bool color) {
    fputs(paint(color, BOLD), out);
    print_place(d, out, it->at);
    bool is_error = it->level == DIAG_ERROR;
    fprintf(out, "%s%s[%s]:%s %s%s\n", paint(color, is_error ? RED : YELLOW),
            is_error ? "error" : "warning", it->code, paint(color, PLAIN BOLD), it->sentence,
            paint(color, PLAIN));
    print_snippet(d, out, it, color);
    print_lines(d, out, it, color);
}

// --- JSON ---

void diag_json_string(FILE *out, const char *s) {
    fputc('"', out);
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c == '\n') {
            fputs("\\n", out);
        } else if (c < ' ' || c == 127) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

static void json_place(const diag *d, FILE *out, ast_span at) {
    int line;
    int col;
    src_place(d->src, at.file, at.off, &line, &col);
    int end_line;
    int end_col;
    src_place(d->src, at.file, at.off + at.len, &end_line, &end_col);
    fputs("\"file\":", out);
    diag_json_string(out, src_name(d->src, at.file));
    fprintf(
        out,
        ",\"line\":%d,\"column\":%d,\"end_line\":%d,\"end_column\":%d,\"offset\":%u,\"length\":%u",
        line, col, end_line, end_col, at.off, at.len);
}

static void json_texts(FILE *out, const diag_item *it, diag_line_kind kind) {
    const char *comma = "";
    for (const diag_line *l = it->lines; l != NULL; l = l->next) {
        if (l->kind == kind) {
            fputs(comma, out);
            diag_json_string(out, l->text);
            comma = ",";
        }
    }
}

static void json_notes(const diag *d, FILE *out, const diag_item *it) {
    const char *comma = "";
    for (const diag_line *l = it->lines; l != NULL; l = l->next) {
        if (l->kind == LINE_NOTE) {
            fprintf(out, "%s{", comma);
            json_place(d, out, l->at);
            fputs(",\"message\":", out);
            diag_json_string(out, l->text);
            fputc('}', out);
            comma = ",";
        }
    }
}

static void json_helps(const diag *d, FILE *out, const diag_item *it) {
    const char *comma = "";
    for (const diag_line *l = it->lines; l != NULL; l = l->next) {
        bool is_fix = l->kind == LINE_FIX;
        if (l->kind != LINE_HELP && !(is_fix && fix_is_good(d, it, l))) {
            continue;
        }
        fprintf(out, "%s{\"message\":", comma);
        diag_json_string(out, l->text);
        if (is_fix) {
            fputs(",\"edit\":{", out);
            json_place(d, out, l->at);
            fputs(",\"replacement\":", out);
            diag_json_string(out, l->replacement);
            fputc('}', out);
        }
        fputc('}', out);
        comma = ",";
    }
}

static void print_json(const diag *d, FILE *out, const diag_item *it) {
    fprintf(out, "{\"code\":\"%s\",\"level\":\"%s\",", it->code,
            it->level == DIAG_ERROR ? "error" : "warning");
    json_place(d, out, it->at);
    fputs(",\"message\":", out);
    diag_json_string(out, it->sentence);
    if (it->label != NULL) {
        fputs(",\"label\":", out);
        diag_json_string(out, it->label);
    }
    fputs(",\"because\":[", out);
    json_texts(out, it, LINE_BECAUSE);
    fputs("],\"notes\":[", out);
    json_notes(d, out, it);
    fputs("],\"helps\":[", out);
    json_helps(d, out, it);
    fputs("]}", out);
}

void diag_print(diag *d, FILE *out, diag_form form, bool color) {
    sorted_item *all = sort_items(d);
    int errors = 0;
    int shown = 0;
    if (form == DIAG_JSON) {
        fputs("{\"diagnostics\":[", out);
    }
    for (int i = 0; i < d->n_items; i++) {
        const diag_item *it = all[i].item;
        errors += it->level == DIAG_ERROR;
        if (d->error_limit > 0 && errors > d->error_limit) {
            break;
        }
        if (form == DIAG_JSON) {
            fputs(shown > 0 ? ",\n" : "\n", out);
            print_json(d, out, it);
        } else {
            print_text(d, out, it, color);
        }
        shown++;
    }
    int hidden =
        d->error_limit > 0 && d->n_errors > d->error_limit ? d->n_errors - d->error_limit : 0;
    if (form == DIAG_JSON) {
        fprintf(out, "\n],\"errors\":%d,\"warnings\":%d}\n", d->n_errors, diag_n_warnings(d));
    } else if (hidden > 0) {
        fprintf(out, "%d more error%s not shown\n", hidden, hidden == 1 ? "" : "s");
    }
}
