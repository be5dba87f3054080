// Schedules. A fact is read as a list of tokens; what it means is the business of the planner.
#include "parse.h"

#include <string.h>

// with = NAME "=" size {"," NAME "=" size} .
static void parse_with(parser *ps, ast_schedule *s) {
    ptr_list list = {0};
    do {
        ast_binding *b = ARENA_NEW(ps->mem, ast_binding);
        b->name = ps_name(ps, "a compile-time parameter", &b->span);
        ps_expect(ps, TOK_ASSIGN, "before its value");
        b->value = parse_size(ps);
        b->span = ps_since(ps, b->span);
        ptr_add(ps->mem, &list, b);
    } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    s->n_with = list.n;
    s->with = ARENA_ARRAY(ps->mem, ast_binding, list.n);
    for (int i = 0; i < list.n; i++) {
        s->with[i] = *(ast_binding *)list.items[i];
    }
}

typedef struct {
    fact_tok *toks;
    int n;
    int cap;
} tok_list;

static fact_tok *add_tok(parser *ps, tok_list *list) {
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        fact_tok *more = ARENA_ARRAY(ps->mem, fact_tok, list->cap);
        if (list->n > 0) {
            memcpy(more, list->toks, sizeof *more * (size_t)list->n);
        }
        list->toks = more;
    }
    return &list->toks[list->n++];
}

static bool is_word(const token *t) {
    return t->kind == TOK_NAME || tok_is_keyword(t->kind);
}

// word = NAME {"." NAME} . Names with dots are one word: load.P0, tcgen05.pair
static void read_word(parser *ps, fact_tok *out) {
    const token *first = ps_next(ps);
    const char *text = ps_spelling(ps, first);
    while (ps_at(ps, TOK_DOT) && is_word(ps_peek_at(ps, 1))) {
        ps_next(ps);
        text = arena_printf(ps->mem, "%s.%s", text, ps_spelling(ps, ps_next(ps)));
    }
    *out = (fact_tok){.kind = FT_WORD, .text = text, .span = ps_since(ps, first->span)};
}

// Behind 'cost': one expression, a token of its own.
static void read_expr(parser *ps, tok_list *list) {
    ast_expr *e = parse_expr(ps);
    if (!ps->bad) {
        *add_tok(ps, list) =
            (fact_tok){.kind = FT_EXPR, .text = expr_text(ps->mem, e), .expr = e, .span = e->span};
    }
}

// fact = "cost" expr | WORD { NAME | NUMBER | "," | ":" | "{" names "}" | ... } .
static void parse_fact(parser *ps, ast_fact *fact) {
    if (!is_word(ps_peek(ps))) {
        ps_fail(ps, "a fact");
        return;
    }
    ast_span begin = ps_peek(ps)->span;
    tok_list list = {0};
    int braces = 0;
    bool takes_expr = strcmp(ps_spelling(ps, ps_peek(ps)), "cost") == 0;
    if (takes_expr) {
        read_word(ps, add_tok(ps, &list));
        if (!ps_at(ps, TOK_SEMI)) {
            read_expr(ps, &list);
        }
        if (ps->bad) {
            return;
        }
    }
    while (!takes_expr && !ps_at(ps, TOK_EOF) && !ps_at(ps, TOK_SEMI)) {
        const token *t = ps_peek(ps);
        if (t->kind == TOK_RBRACE && braces == 0) {
            break;
        }
        if (t->kind == TOK_BAD) {
            ps->bad = true; // the lexer has reported it
            return;
        }
        if (t->kind == TOK_FLOAT) {
            ps_fail(ps, "a whole number, a name or ';'");
            return;
        }
        braces += (t->kind == TOK_LBRACE) - (t->kind == TOK_RBRACE);
        fact_tok *out = add_tok(ps, &list);
        if (is_word(t)) {
            read_word(ps, out);
            continue;
        }
        *out = (fact_tok){.kind = t->kind == TOK_INT ? FT_INT : FT_PUNCT,
                          .text = ps_spelling(ps, t),
                          .ivalue = t->ivalue,
                          .span = t->span};
        ps_next(ps);
    }
    fact->span = ps_since(ps, begin);
    fact->n_toks = list.n;
    fact->toks = list.toks;
    if (braces != 0 && !ps_at(ps, TOK_EOF)) {
        ps_fail(ps, "'}'");
    }
    ps_expect(ps, TOK_SEMI, "behind the fact");
}

// "{" { fact ";" } "}"
static void parse_facts(parser *ps, ast_schedule *s) {
    ptr_list list = {0};
    ast_span open = ps_peek(ps)->span;
    ps_expect(ps, TOK_LBRACE, "before the facts");
    while (!ps->bad && !ps_at(ps, TOK_RBRACE) && !ps_at(ps, TOK_EOF)) {
        if (ps_at(ps, TOK_KERNEL) || ps_at(ps, TOK_SCHEDULE)) {
            break; // the '}' is missing
        }
        ast_fact *fact = ARENA_NEW(ps->mem, ast_fact);
        parse_fact(ps, fact);
        if (ps->bad) {
            ps_recover(ps);
        } else {
            ptr_add(ps->mem, &list, fact);
            if (fact->n_toks > 1 && fact->toks[1].kind == FT_EXPR) {
                s->cost = fact->toks[1].expr;
            }
        }
    }
    if (!ps->bad && !ps_expect(ps, TOK_RBRACE, "behind the facts")) {
        diag_note(ps->d, open, "the schedule begins here");
    }
    s->n_facts = list.n;
    s->facts = ARENA_ARRAY(ps->mem, ast_fact, list.n);
    for (int i = 0; i < list.n; i++) {
        s->facts[i] = *(ast_fact *)list.items[i];
    }
}

// schedule = "schedule" NAME "on" ARCH [ "when" expr ] [ "with" with ] "{" { fact ";" } "}" .
ast_schedule *parse_schedule(parser *ps) {
    ast_schedule *s = ARENA_NEW(ps->mem, ast_schedule);
    ast_span begin = ps_next(ps)->span;
    s->kernel_name = ps_name(ps, "the kernel that is scheduled", &s->kernel_span);
    ps_expect_word(ps, "on", "and a target");
    s->arch = ps_name(ps, "a target", &s->arch_span);
    if (!ps->bad && ps_accept_word(ps, "when")) {
        s->when = parse_expr(ps);
    }
    if (!ps->bad && ps_accept_word(ps, "with")) {
        parse_with(ps, s);
    }
    s->head_span = ps_since(ps, begin);
    if (!ps->bad) {
        parse_facts(ps, s);
    }
    s->span = ps_since(ps, begin);
    return s;
}
