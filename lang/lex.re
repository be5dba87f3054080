// Text -> tokens (lex.h).
//
// The text ends with a NUL that the source map put behind it, which is the sentinel of the scanner.
// A text with a NUL of its own or with broken UTF-8 is refused as a whole before scanning, so that
// the scanner may trust what it reads: bytes above 0x7f form whole characters.
#include "lex.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const src_map *src;
    uint32_t file;
    diag *d;
    arena *mem;
    const unsigned char *text;
    const unsigned char *end;
    token_list out;
    int cap_tokens;
    int cap_comments;
    bool at_line_start;
} lexer;

static const char *const names[TOK_COUNT] = {
#define FP4_TOKEN(id, text) [TOK_##id] = text,
#define FP4_KEYWORD(id, text) [TOK_##id] = "'" text "'",
#define FP4_PUNCT(id, text) [TOK_##id] = "'" text "'",
#include "tokens.def"
#undef FP4_TOKEN
#undef FP4_KEYWORD
#undef FP4_PUNCT
};

const char *tok_name(tok_kind kind) {
    return names[kind];
}

bool tok_is_keyword(tok_kind kind) {
    return kind >= TOK_USE && kind <= TOK_INOUT; // ORDER tokens.def
}

static tok_kind word_kind(const unsigned char *word, size_t n) {
    static const char *const words[TOK_COUNT] = {
#define FP4_TOKEN(id, text)
#define FP4_KEYWORD(id, text) [TOK_##id] = text,
#define FP4_PUNCT(id, text)
#include "tokens.def"
#undef FP4_TOKEN
#undef FP4_KEYWORD
#undef FP4_PUNCT
    };
    for (int k = TOK_USE; k <= TOK_INOUT; k++) { // ORDER tokens.def
        if (strlen(words[k]) == n && memcmp(words[k], word, n) == 0) {
            return (tok_kind)k;
        }
    }
    return TOK_NAME;
}

static ast_span span_of(const lexer *lx, const unsigned char *from, const unsigned char *to) {
    uint32_t off = (uint32_t)(from - lx->text);
    return (ast_span){.file = lx->file, .off = off, .len = (uint32_t)(to - from)};
}

static token *add_token(lexer *lx, tok_kind kind, const unsigned char *from,
                        const unsigned char *to) {
    token_list *out = &lx->out;
    if (out->n_tokens == lx->cap_tokens) {
        lx->cap_tokens = lx->cap_tokens == 0 ? 256 : lx->cap_tokens * 2;
        token *more = ARENA_ARRAY(lx->mem, token, lx->cap_tokens);
        if (out->n_tokens > 0) {
            memcpy(more, out->tokens, sizeof *more * (size_t)out->n_tokens);
        }
        out->tokens = more;
    }
    token *t = &out->tokens[out->n_tokens++];
    *t = (token){.kind = kind, .line_start = lx->at_line_start, .span = span_of(lx, from, to)};
    lx->at_line_start = false;
    return t;
}

static void add_comment(lexer *lx, const unsigned char *from, const unsigned char *to) {
    token_list *out = &lx->out;
    if (out->n_comments == lx->cap_comments) {
        lx->cap_comments = lx->cap_comments == 0 ? 32 : lx->cap_comments * 2;
        ast_comment *more = ARENA_ARRAY(lx->mem, ast_comment, lx->cap_comments);
        if (out->n_comments > 0) {
            memcpy(more, out->comments, sizeof *more * (size_t)out->n_comments);
        }
        out->comments = more;
    }
    out->comments[out->n_comments++].span = span_of(lx, from, to);
}

// Length of the UTF-8 sequence at p, 0 if it is not one (overlong, a surrogate, cut off).
static int utf8_length(const unsigned char *p, const unsigned char *end) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    int n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    if (n <= 1) {
        return n;
    }
    if (end - p < n) {
        return 0;
    }
    uint32_t c = *p & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3fu);
    }
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static bool text_is_readable(lexer *lx) {
    for (const unsigned char *p = lx->text; p < lx->end;) {
        int n = utf8_length(p, lx->end);
        if (*p == 0 || n == 0) {
            diag_report(lx->d, DIAG_ERROR, "P103", span_of(lx, p, p + 1),
                        "byte 0x%02x does not belong in a text", *p);
            diag_label(lx->d, "%s", *p == 0 ? "a zero byte" : "not UTF-8");
            return false;
        }
        p += n;
    }
    return true;
}

static void bad_character(lexer *lx, const unsigned char *from, const unsigned char *to) {
    ast_span span = span_of(lx, from, to);
    if (*from < ' ' || *from == 127) {
        diag_report(lx->d, DIAG_ERROR, "P102", span, "byte 0x%02x is not part of the language",
                    *from);
    } else {
        diag_report(lx->d, DIAG_ERROR, "P102", span, "'%.*s' is not part of the language",
                    (int)(to - from), (const char *)from);
    }
    add_token(lx, TOK_BAD, from, to);
}

static void bad_number(lexer *lx, const unsigned char *from, const unsigned char *to,
                       const char *why) {
    int n = to - from > 40 ? 40 : (int)(to - from);
    diag_report(lx->d, DIAG_ERROR, "P105", span_of(lx, from, to), "the number '%.*s' %s", n,
                (const char *)from, why);
}

static void add_int(lexer *lx, const unsigned char *from, const unsigned char *to) {
    bool hex = to - from > 2 && (from[1] == 'x' || from[1] == 'X');
    const unsigned char *p = hex ? from + 2 : from;
    int base = hex ? 16 : 10;
    int64_t value = 0;
    bool over = false;
    for (; p < to; p++) {
        int digit = *p <= '9' ? *p - '0' : (*p | 32) - 'a' + 10;
        over = over || __builtin_mul_overflow(value, base, &value) ||
               __builtin_add_overflow(value, digit, &value);
    }
    if (over) {
        bad_number(lx, from, to, "does not fit in 64 bits");
        value = 1;
    }
    add_token(lx, TOK_INT, from, to)->ivalue = value;
}

static void add_float(lexer *lx, const unsigned char *from, const unsigned char *to) {
    char *text = arena_strndup(lx->mem, (const char *)from, (size_t)(to - from));
    double value = strtod(text, NULL);
    if (value > 3.4028234663852886e38) {
        bad_number(lx, from, to, "is larger than f32 can hold");
        value = 1.0;
    }
    add_token(lx, TOK_FLOAT, from, to)->fvalue = value;
}

// Scans one token or a stretch of blanks; returns where the next begins, NULL at the end.
static const unsigned char *scan(lexer *lx, const unsigned char *p) {
    const unsigned char *marker;
    const unsigned char *from = p;
#define PUNCT(id) (add_token(lx, TOK_##id, from, p), p)
    /*!re2c
    re2c:define:YYCTYPE = "unsigned char";
    re2c:define:YYCURSOR = p;
    re2c:define:YYMARKER = marker;
    re2c:yyfill:enable = 0;
    re2c:eof = -1;

    name  = [a-zA-Z_][a-zA-Z_0-9]*;
    digit = [0-9];
    exp   = [eE][+-]?digit+;
    wide  = [\x80-\xff]+;

    [ \t\r\f\v]+    { return p; }
    "\n"            { lx->at_line_start = true; return p; }
    "\xef\xbb\xbf"  {
        if (from != lx->text) {
            bad_character(lx, from, p);
        }
        return p;
    }
    "//" [^\n\x00]* { add_comment(lx, from, p - (p[-1] == '\r')); return p; }
    "/" "*"         { goto block_comment; }

    digit+ "." digit+ exp?         { add_float(lx, from, p); return p; }
    digit+ exp                     { add_float(lx, from, p); return p; }
    digit+                         { add_int(lx, from, p); return p; }
    "0" [xX] [0-9a-fA-F]+          { add_int(lx, from, p); return p; }
    digit+ [a-zA-Z_] [a-zA-Z_0-9]* {
        bad_number(lx, from, p, "runs into a name");
        add_token(lx, TOK_BAD, from, p);
        return p;
    }

    name { add_token(lx, word_kind(from, (size_t)(p - from)), from, p); return p; }

    "{"  { return PUNCT(LBRACE); }
    "}"  { return PUNCT(RBRACE); }
    "("  { return PUNCT(LPAREN); }
    ")"  { return PUNCT(RPAREN); }
    "["  { return PUNCT(LBRACKET); }
    "]"  { return PUNCT(RBRACKET); }
    ","  { return PUNCT(COMMA); }
    ";"  { return PUNCT(SEMI); }
    ":"  { return PUNCT(COLON); }
    "?"  { return PUNCT(QUESTION); }
    "."  { return PUNCT(DOT); }
    ".." { return PUNCT(DOTDOT); }
    "@"  { return PUNCT(AT); }
    "="  { return PUNCT(ASSIGN); }
    "+=" { return PUNCT(ADDTO); }
    "+"  { return PUNCT(PLUS); }
    "-"  { return PUNCT(MINUS); }
    "*"  { return PUNCT(STAR); }
    "/"  { return PUNCT(SLASH); }
    "%"  { return PUNCT(PERCENT); }
    "<"  { return PUNCT(LT); }
    "<=" { return PUNCT(LE); }
    ">"  { return PUNCT(GT); }
    ">=" { return PUNCT(GE); }
    "==" { return PUNCT(EQ); }
    "!=" { return PUNCT(NE); }
    "&&" { return PUNCT(ANDAND); }
    "||" { return PUNCT(OROR); }
    "&"  { return PUNCT(AMP); }
    "|"  { return PUNCT(PIPE); }
    "^"  { return PUNCT(CARET); }
    "<<" { return PUNCT(SHL); }
    ">>" { return PUNCT(SHR); }
    "!"  { return PUNCT(NOT); }
    "~"  { return PUNCT(TILDE); }

    ["] [^"\n\x00]* ["] { bad_character(lx, from, p); return p; }
    "\x00" { return NULL; }
    wide   { bad_character(lx, from, p); return p; }
    *      { bad_character(lx, from, p); return p; }
    */
block_comment:;
    const unsigned char *close = (const unsigned char *)strstr((const char *)p, "*" "/");
    if (close == NULL) {
        diag_report(lx->d, DIAG_ERROR, "P104", span_of(lx, from, from + 2),
                    "a comment begins here and does not end");
        return NULL;
    }
    add_comment(lx, from, close + 2);
    return close + 2;
}

token_list lex_file(const src_map *src, uint32_t file, diag *d, arena *mem) {
    size_t len;
    const unsigned char *text = (const unsigned char *)src_text(src, file, &len);
    lexer lx = {.src = src, .file = file, .d = d, .mem = mem, .text = text, .end = text + len,
                .at_line_start = true};
    if (text_is_readable(&lx)) {
        for (const unsigned char *p = lx.text; p != NULL;) {
            p = scan(&lx, p);
        }
    }
    add_token(&lx, TOK_EOF, lx.end, lx.end);
    return lx.out;
}
