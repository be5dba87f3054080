// Words, numbers and strings of a role program's text. The text is not zero-terminated and may hold
// any bytes.
#include "tir_scan.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 4096, MAX_NUMBER = 64 };

bool tir_scan_ok(const tir_scan *s) {
    return s->why == NULL;
}

void tir_scan_fail(tir_scan *s, const char *fmt, ...) {
    if (s->why != NULL) {
        return;
    }
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    s->why = arena_printf(s->mem, "line %d: %s", s->line, text);
}

int tir_scan_peek(tir_scan *s) {
    if (s->why != NULL) {
        return -1;
    }
    while (s->at < s->len) {
        char c = s->text[s->at];
        if (c == '/' && s->at + 1 < s->len && s->text[s->at + 1] == '/') {
            while (s->at < s->len && s->text[s->at] != '\n') {
                s->at++;
            }
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            s->line += c == '\n';
            s->at++;
        } else {
            return (unsigned char)c;
        }
    }
    return -1;
}

void tir_scan_expected(tir_scan *s, const char *what) {
    int c = tir_scan_peek(s);
    size_t n = 0;
    while (c >= 0 && n < 32 && s->at + n < s->len && isgraph((unsigned char)s->text[s->at + n])) {
        n++;
    }
    if (c < 0) {
        tir_scan_fail(s, "expected %s, found the end of the text", what);
    } else if (n == 0) {
        tir_scan_fail(s, "expected %s, found byte 0x%02x", what, (unsigned)c);
    } else {
        tir_scan_fail(s, "expected %s, found '%.*s'", what, (int)n, s->text + s->at);
    }
}

bool tir_scan_take(tir_scan *s, char c) {
    if (tir_scan_peek(s) != (unsigned char)c) {
        return false;
    }
    s->at++;
    return true;
}

void tir_scan_need(tir_scan *s, char c) {
    if (!tir_scan_take(s, c)) {
        tir_scan_expected(s, (char[]){'\'', c, '\'', '\0'});
    }
}

bool tir_scan_take_text(tir_scan *s, const char *text) {
    size_t n = strlen(text);
    if (tir_scan_peek(s) < 0 || s->len - s->at < n || memcmp(s->text + s->at, text, n) != 0) {
        return false;
    }
    s->at += n;
    return true;
}

// Length of the word at the cursor.
static size_t word_length(tir_scan *s) {
    int c = tir_scan_peek(s);
    if (c < 0 || (!isalpha(c) && c != '_')) {
        return 0;
    }
    size_t n = 1;
    while (s->at + n < s->len) {
        unsigned char w = (unsigned char)s->text[s->at + n];
        if (!isalnum(w) && w != '_' && w != '.') {
            break;
        }
        n++;
    }
    if (n > MAX_NAME) {
        tir_scan_fail(s, "a word of %zu characters; at most %d", n, MAX_NAME);
        return 0;
    }
    return n;
}

const char *tir_scan_word(tir_scan *s) {
    size_t n = word_length(s);
    if (n == 0) {
        return NULL;
    }
    const char *word = arena_strndup(s->mem, s->text + s->at, n);
    s->at += n;
    return word;
}

const char *tir_scan_peek_word(tir_scan *s, int *next) {
    tir_scan ahead = *s;
    const char *word = tir_scan_word(&ahead);
    *next = word != NULL ? tir_scan_peek(&ahead) : -1;
    return word;
}

static int hex_digit(int c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Behind a backslash: the quote, the backslash, or xHH.
static int escaped(tir_scan *s) {
    int c = s->at < s->len ? (unsigned char)s->text[s->at++] : -1;
    if (c == '"' || c == '\\') {
        return c;
    }
    if (c == 'x' && s->len - s->at >= 2) {
        int high = hex_digit((unsigned char)s->text[s->at]);
        int low = hex_digit((unsigned char)s->text[s->at + 1]);
        s->at += 2;
        if (high >= 0 && low >= 0 && high + low > 0) {
            return 16 * high + low;
        }
    }
    tir_scan_fail(s, "a string has \\\\, \\\" and \\x01 to \\xff behind a backslash");
    return -1;
}

static const char *quoted(tir_scan *s) {
    char *out = arena_alloc(s->mem, MAX_NAME + 1);
    size_t n = 0;
    while (s->at < s->len && s->text[s->at] != '"' && s->text[s->at] != '\n' && n < MAX_NAME) {
        int c = (unsigned char)s->text[s->at++];
        c = c == '\\' ? escaped(s) : c;
        if (c <= 0) {
            tir_scan_fail(s, "a string with a zero byte");
            return NULL;
        }
        out[n++] = (char)c;
    }
    if (s->at == s->len || s->text[s->at] != '"') {
        tir_scan_fail(s, "a string does not end on its line or within %d characters", MAX_NAME);
        return NULL;
    }
    s->at++;
    return out;
}

const char *tir_scan_name(tir_scan *s) {
    if (tir_scan_take(s, '"')) {
        return quoted(s);
    }
    const char *word = tir_scan_word(s);
    if (word == NULL) {
        tir_scan_expected(s, "a name");
    }
    return word;
}

int64_t tir_scan_int(tir_scan *s, const char *what, int64_t lo, int64_t hi) {
    int c = tir_scan_peek(s);
    bool minus = c == '-';
    if (c == '-' || c == '+') {
        s->at++;
    }
    if (s->why != NULL || s->at >= s->len || !isdigit((unsigned char)s->text[s->at])) {
        tir_scan_expected(s, what);
        return lo;
    }
    int64_t v = 0;
    bool over = false;
    while (s->at < s->len && isdigit((unsigned char)s->text[s->at])) {
        int digit = s->text[s->at++] - '0';
        over |= __builtin_mul_overflow(v, 10, &v) ||
                __builtin_add_overflow(v, minus ? -digit : digit, &v);
    }
    if (over || v < lo || v > hi) {
        tir_scan_fail(s, "%s must be a number from %lld to %lld", what, (long long)lo,
                      (long long)hi);
        return lo;
    }
    return v;
}

bool tir_scan_at_number(tir_scan *s) {
    int next = 0;
    int c = tir_scan_peek(s);
    if (c >= 0 && (isdigit(c) || c == '-' || c == '+' || c == '.')) {
        return true;
    }
    const char *word = c == 'n' || c == 'i' ? tir_scan_peek_word(s, &next) : NULL;
    return word != NULL && (strcmp(word, "nan") == 0 || strcmp(word, "inf") == 0);
}

double tir_scan_double(tir_scan *s) {
    char text[MAX_NUMBER];
    size_t n = 0;
    tir_scan_peek(s);
    while (s->at + n < s->len && n < MAX_NUMBER - 1) {
        char c = s->text[s->at + n];
        bool sign = (c == '-' || c == '+') && (n == 0 || text[n - 1] == 'e');
        if (!sign && !isalnum((unsigned char)c) && c != '.') {
            break;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    char *end = text;
    double v = strtod(text, &end);
    bool plain = strspn(text, "+-.0123456789einfa") == n; // no hexadecimal, no nan(...)
    if (n == 0 || *end != '\0' || !plain) {
        tir_scan_expected(s, "a number");
        return 0;
    }
    s->at += n;
    return v;
}
