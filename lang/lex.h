// Text -> tokens and comments.
#ifndef FP4_LANG_LEX_H
#define FP4_LANG_LEX_H

#include "arena.h"
#include "ast.h"
#include "diag.h"
#include "src.h"

typedef enum {
#define FP4_TOKEN(id, text) TOK_##id,
#define FP4_KEYWORD(id, text) TOK_##id,
#define FP4_PUNCT(id, text) TOK_##id,
#include "tokens.def"
#undef FP4_TOKEN
#undef FP4_KEYWORD
#undef FP4_PUNCT
    TOK_COUNT,
} tok_kind;

typedef struct {
    tok_kind kind;
    bool line_start; // the first token of its line
    ast_span span;
    int64_t ivalue; // TOK_INT
    double fvalue;  // TOK_FLOAT
} token;

typedef struct {
    int n_tokens; // the last is TOK_EOF
    token *tokens;
    int n_comments;
    ast_comment *comments;
} token_list;

// Reads a whole file. Errors go to d; the list is always usable.
token_list lex_file(const src_map *src, uint32_t file, diag *d, arena *mem);
const char *tok_name(tok_kind kind);
bool tok_is_keyword(tok_kind kind);

#endif
