// Shared by the files of the parser: parse.c (declarations), parse_stmt.c, parse_expr.c,
// parse_schedule.c. Nobody else includes it.
#ifndef FP4_LANG_PARSE_H
#define FP4_LANG_PARSE_H

#include "lang.h"
#include "lex.h"

#define PARSE_MAX_DEPTH 200 // of nested statements, and of the height of an expression

// A growing array of pointers in an arena.
typedef struct {
    void **items;
    int n;
    int cap;
} ptr_list;

void ptr_add(arena *mem, ptr_list *list, void *item);

typedef struct {
    src_map *src;
    diag *d;
    arena *mem;
    uint32_t file;
    const char *text;
    token_list in;
    int pos;       // of the token that comes next
    bool bad;      // an error was reported; nothing more is, until a place to go on was found
    int failures;  // how often something else was expected
    int depth;     // of statements and expressions
    bool too_deep; // reported once for a nest
} parser;

// Tokens
const token *ps_peek(const parser *ps);
const token *ps_peek_at(const parser *ps, int ahead);
bool ps_at(const parser *ps, tok_kind kind);
bool ps_at_word(const parser *ps, const char *word); // a name with a meaning here only: of, by, in
const token *ps_next(parser *ps);
bool ps_accept(parser *ps, tok_kind kind);
bool ps_accept_word(parser *ps, const char *word);
bool ps_expect(parser *ps, tok_kind kind, const char *where); // 'where' ends "expected ';' ..."
bool ps_expect_word(parser *ps, const char *word, const char *where);
const char *ps_name(parser *ps, const char *what, ast_span *span); // NULL after an error
void ps_fail(parser *ps, const char *expected);
const char *ps_spelling(const parser *ps, const token *t);
ast_span ps_since(const parser *ps, ast_span begin); // from 'begin' to the last token that was read
// Skips to ';' (taken) or '}' (left), over whole blocks; then errors are reported again.
void ps_recover(parser *ps);
bool ps_enter(parser *ps); // one level deeper; false, with a report, when too deep
void ps_leave(parser *ps);

// Expressions
ast_expr *parse_expr(parser *ps);
ast_expr *parse_size(parser *ps); // without comparisons: inside '<' '>' and in dims
ast_expr *parse_target(parser *ps);
ast_expr *expr_new(parser *ps, expr_kind kind, ast_span span);

// Types, statements, schedules
void parse_type(parser *ps, ast_sym *sym);
ast_sym *sym_new(parser *ps, sym_kind kind, const char *name, ast_span span);
ast_stmt **parse_block(parser *ps, int *n, ast_span *span);
ast_schedule *parse_schedule(parser *ps);

#endif
