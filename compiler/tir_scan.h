// Cursor over the text of a role program: words, numbers, strings, punctuation, and the first
// error.
//
// After an error every function fails at once and leaves the cursor where it is, so that callers
// need not look at each result: they stop at the next loop that asks tir_scan_ok.
#ifndef FP4_COMPILER_TIR_SCAN_H
#define FP4_COMPILER_TIR_SCAN_H

#include "arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *text;
    size_t len, at;
    int line;
    arena *mem;
    const char *why; // the first error, "line 12: ..."
} tir_scan;

bool tir_scan_ok(const tir_scan *s);
void tir_scan_fail(tir_scan *s, const char *fmt, ...);
// "expected WHAT, found ..."
void tir_scan_expected(tir_scan *s, const char *what);

// Skips blanks and comments; the next character, or -1 at the end.
int tir_scan_peek(tir_scan *s);
bool tir_scan_take(tir_scan *s, char c);  // takes c if it is next
void tir_scan_need(tir_scan *s, char c);  // c, or an error
bool tir_scan_take_text(tir_scan *s, const char *text); // takes punctuation of several characters

// The word at the cursor (letter or '_', then letters, digits, '_', '.'), or NULL.
const char *tir_scan_word(tir_scan *s);
// The same, left where it is; *next is the first character behind it and the blanks there.
const char *tir_scan_peek_word(tir_scan *s, int *next);
// A word or a string in quotes.
const char *tir_scan_name(tir_scan *s);
// A whole number from lo to hi; 'what' is for the message.
int64_t tir_scan_int(tir_scan *s, const char *what, int64_t lo, int64_t hi);
// A decimal number, nan, inf; signs allowed.
bool tir_scan_at_number(tir_scan *s);
double tir_scan_double(tir_scan *s);

#endif
