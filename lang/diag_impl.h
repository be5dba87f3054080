// What diag.c collects and diag_print.c prints. For these two files only.
#ifndef FP4_LANG_DIAG_IMPL_H
#define FP4_LANG_DIAG_IMPL_H

#include "arena.h"
#include "diag.h"
#include "src.h"

typedef enum { LINE_BECAUSE, LINE_NOTE, LINE_HELP, LINE_FIX } diag_line_kind;

typedef struct diag_line diag_line;
struct diag_line {
    diag_line *next;
    diag_line_kind kind;
    const char *text;
    ast_span at;             // LINE_NOTE: the other place; LINE_FIX: what is replaced
    const char *replacement; // LINE_FIX
};

typedef struct diag_item diag_item;
struct diag_item {
    diag_item *next;
    diag_level level;
    const char *code;
    const char *sentence;
    const char *label; // under the caret, or NULL
    ast_span at;
    diag_line *lines;
};

struct diag {
    arena *mem;
    src_map *src;
    int error_limit; // errors printed at most; 0: no limit
    diag_verify_fn *verify;
    void *verify_user;
    diag_item *first, *last;
    diag_item *newest; // what the calls after diag_report add to; NULL after a repetition
    int n_items;
    int n_errors; // of all reports
    int n_warnings;
};

#endif
