// Cuts PTX text into tokens. Comments and blanks vanish; every token knows its line.
// Malformed characters become TK_BAD tokens, which the parser refuses.
#include "ptx.h"
#include <ctype.h>
#include <stdlib.h>

static bool is_word_start(char c) {
    return isalpha((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static void skip_blanks(struct ptx_lexer *lx) {
    while (lx->at < lx->end) {
        char c = *lx->at;
        if (c == '\n') {
            lx->line++;
            lx->at++;
        } else if (isspace((unsigned char)c) || c == '\0') {
            lx->at++;
        } else if (c == '/' && lx->end - lx->at > 1 && lx->at[1] == '/') {
            while (lx->at < lx->end && *lx->at != '\n') {
                lx->at++;
            }
        } else if (c == '/' && lx->end - lx->at > 1 && lx->at[1] == '*') {
            lx->at += 2;
            while (lx->at < lx->end &&
                   !(*lx->at == '*' && lx->end - lx->at > 1 && lx->at[1] == '/')) {
                lx->line += *lx->at == '\n';
                lx->at++;
            }
            lx->at = lx->end - lx->at > 2 ? lx->at + 2 : lx->end;
        } else {
            return;
        }
    }
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 99;
}

// Digits of 'base' from t->text + skip on, at most 'most' (0: any number).
static void lex_digits(struct ptx_lexer *lx, struct ptx_token *t, int base, int exactly) {
    int n = 0;
    while (lx->at < lx->end && digit_value(*lx->at) < base && (exactly == 0 || n < exactly)) {
        t->value = t->value * (uint64_t)base + (uint64_t)digit_value(*lx->at);
        lx->at++;
        n++;
    }
    if (n == 0 || n < exactly) {
        t->kind = TK_BAD;
    }
}

static void lex_decimal_float(struct ptx_lexer *lx, struct ptx_token *t) {
    char buffer[64];
    size_t n = 0;
    while (lx->at < lx->end && n < sizeof buffer - 1 &&
           (isdigit((unsigned char)*lx->at) || *lx->at == '.' || *lx->at == 'e' || *lx->at == 'E' ||
            ((*lx->at == '-' || *lx->at == '+') && (lx->at[-1] == 'e' || lx->at[-1] == 'E')))) {
        buffer[n++] = *lx->at++;
    }
    buffer[n] = '\0';
    double x = strtod(buffer, NULL);
    memcpy(&t->value, &x, 8);
    t->kind = TK_FLOAT;
}

// integer = decimal | 0[0-7]* | 0x hex | 0b binary, with an optional U
// float   = 0f 8 hex digits | 0d 16 hex digits | decimal with a point
static void lex_number(struct ptx_lexer *lx, struct ptx_token *t) {
    t->kind = TK_INT;
    char second = lx->end - lx->at > 1 ? lx->at[1] : ' ';
    if (lx->at[0] == '0' && (second == 'f' || second == 'F')) {
        lx->at += 2;
        t->kind = TK_FLOAT32;
        lex_digits(lx, t, 16, 8);
    } else if (lx->at[0] == '0' && (second == 'd' || second == 'D')) {
        lx->at += 2;
        t->kind = TK_FLOAT;
        lex_digits(lx, t, 16, 16);
    } else if (lx->at[0] == '0' && (second == 'x' || second == 'X')) {
        lx->at += 2;
        lex_digits(lx, t, 16, 0);
    } else if (lx->at[0] == '0' && (second == 'b' || second == 'B')) {
        lx->at += 2;
        lex_digits(lx, t, 2, 0);
    } else {
        const char *s = lx->at;
        while (s < lx->end && isdigit((unsigned char)*s)) {
            s++;
        }
        if (lx->end - s > 1 && *s == '.' && isdigit((unsigned char)s[1])) {
            lex_decimal_float(lx, t);
        } else {
            lex_digits(lx, t, lx->at[0] == '0' ? 8 : 10, 0);
        }
    }
    if (lx->at < lx->end && *lx->at == 'U') {
        lx->at++;
    }
}

// .word(::word)*
static void lex_dot(struct ptx_lexer *lx, struct ptx_token *t) {
    t->kind = TK_DOT;
    lx->at++;
    for (;;) {
        while (lx->at < lx->end && is_word(*lx->at)) {
            lx->at++;
        }
        if (lx->end - lx->at > 2 && lx->at[0] == ':' && lx->at[1] == ':' && is_word(lx->at[2])) {
            lx->at += 2;
        } else {
            return;
        }
    }
}

static void lex_string(struct ptx_lexer *lx, struct ptx_token *t) {
    lx->at++;
    while (lx->at < lx->end && *lx->at != '"' && *lx->at != '\n') {
        lx->at += *lx->at == '\\' && lx->end - lx->at > 1 ? 2 : 1;
    }
    if (lx->at >= lx->end || *lx->at != '"') {
        t->kind = TK_BAD;
        lx->at = lx->at > lx->end ? lx->end : lx->at;
        return;
    }
    lx->at++;
    t->kind = TK_STRING;
}

struct ptx_token ptx_lex(struct ptx_lexer *lx) {
    skip_blanks(lx);
    struct ptx_token t = {.kind = TK_EOF, .text = lx->at, .line = lx->line};
    if (lx->at >= lx->end) {
        return t;
    }
    char c = *lx->at;
    if (is_word_start(c)) {
        t.kind = TK_WORD;
        lx->at++;
        while (lx->at < lx->end && is_word(*lx->at)) {
            lx->at++;
        }
    } else if (isdigit((unsigned char)c)) {
        lex_number(lx, &t);
    } else if (c == '.' && lx->end - lx->at > 1 && is_word(lx->at[1])) {
        lex_dot(lx, &t);
    } else if (c == '"') {
        lex_string(lx, &t);
    } else {
        t.kind = strchr("{}[]()<>,;:@!|+-=", c) != NULL ? TK_PUNCT : TK_BAD;
        lx->at++;
    }
    t.length = (uint32_t)(lx->at - t.text);
    return t;
}
