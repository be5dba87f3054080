// Diagnostics: collected while the stages run, printed at the end, sorted by place.
//
// A diagnostic has a stable code ("T201"), one sentence with the author's own names and numbers, a
// label under the caret, '=' lines with the derivation, notes at other places, and helps. A help
// may carry a fix: an edit of the source. A fix is tried before it is printed: the edited source
// goes through the same stages (diag_verify_fn), and the help is dropped if the mistake is still
// there or a new one appears.
#ifndef FP4_LANG_DIAG_H
#define FP4_LANG_DIAG_H

#include "ast.h"

#include <stdio.h>

typedef struct src_map src_map; // src.h: the texts of all files of a compilation
typedef struct diag diag;

typedef enum { DIAG_WARNING, DIAG_ERROR } diag_level;
typedef enum { DIAG_TEXT, DIAG_JSON } diag_form;

// Compiles an edited text of file 0 silently; returns its number of errors, or -1 if it cannot.
typedef int diag_verify_fn(void *user, const char *text, size_t len);

diag *diag_new(src_map *src, int error_limit);
void diag_free(diag *d);
void diag_set_verify(diag *d, diag_verify_fn *fn, void *user);

// Every diagnostic starts with diag_report; the calls after it add to the newest one.
#if defined(__GNUC__)
#define DIAG_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define DIAG_PRINTF(a, b)
#endif
void diag_report(diag *d, diag_level level, const char *code, ast_span at, const char *fmt, ...)
    DIAG_PRINTF(5, 6);
void diag_label(diag *d, const char *fmt, ...) DIAG_PRINTF(2, 3);              // under the caret
void diag_because(diag *d, const char *fmt, ...) DIAG_PRINTF(2, 3);            // '= ' line
void diag_note(diag *d, ast_span at, const char *fmt, ...) DIAG_PRINTF(3, 4);  // another place
void diag_help(diag *d, const char *fmt, ...) DIAG_PRINTF(2, 3); // advice without an edit
// Advice with an edit: the text at 'at' is replaced by 'replacement' (len 0 inserts). Printed as
// "help: <sentence>:   <replacement>".
void diag_fix(diag *d, ast_span at, const char *replacement, const char *fmt, ...)
    DIAG_PRINTF(4, 5);

int diag_n_errors(const diag *d);
int diag_n_warnings(const diag *d);
// Code of the i-th diagnostic, for tests and the verifier of fixes.
const char *diag_code(const diag *d, int i);
int diag_count(const diag *d);
ast_span diag_at(const diag *d, int i); // its place
// The first error as "R202: sentence"; "" without any.
const char *diag_first(const diag *d);

// What a code means: lang/diag_codes.def.
typedef struct {
    const char *code;
    const char *title;
    const char *explanation;
} diag_info;
const diag_info *diag_explain(const char *code); // NULL if there is no such code
const diag_info *diag_info_at(int i);            // NULL behind the last one

// Prints all; color only for DIAG_TEXT.
void diag_print(diag *d, FILE *out, diag_form form, bool color);
// 's' as a JSON string, quotes included.
void diag_json_string(FILE *out, const char *s);

#endif
