// Statements.
//
// After a mistake in a statement the parser goes on behind its ';'. When the head of a loop is
// broken its body is read all the same, so that mistakes in there are found in the same run.
#include "parse.h"

#include <string.h>

static ast_stmt *parse_stmt(parser *ps);

static ast_stmt *stmt_new(parser *ps, stmt_kind kind, ast_span span) {
    ast_stmt *s = ARENA_NEW(ps->mem, ast_stmt);
    s->kind = kind;
    s->span = span;
    return s;
}

// block = "{" { stmt } "}" .
ast_stmt **parse_block(parser *ps, int *n, ast_span *span) {
    ptr_list list = {0};
    ast_span open = ps_peek(ps)->span;
    *span = open;
    *n = 0;
    if (!ps_expect(ps, TOK_LBRACE, "before the statements")) {
        return NULL;
    }
    while (!ps_at(ps, TOK_RBRACE) && !ps_at(ps, TOK_EOF)) {
        int before = ps->pos;
        ast_stmt *s = parse_stmt(ps);
        if (ps->bad) {
            ps_recover(ps);
        } else if (s != NULL) {
            ptr_add(ps->mem, &list, s);
        }
        if (ps->pos == before) { // a top-level word: the '}' is missing
            break;
        }
    }
    if (!ps_expect(ps, TOK_RBRACE, "behind the statements")) {
        diag_note(ps->d, open, "the block begins here");
    }
    *span = ps_since(ps, open);
    *n = list.n;
    return (ast_stmt **)list.items;
}

// body = block | stmt .
static ast_stmt **parse_body(parser *ps, int *n, ast_span *span) {
    if (ps_at(ps, TOK_LBRACE)) {
        return parse_block(ps, n, span);
    }
    *n = 0;
    ast_span begin = ps_peek(ps)->span;
    ptr_list list = {0};
    ast_stmt *s = parse_stmt(ps);
    *span = ps_since(ps, begin);
    if (s != NULL) {
        ptr_add(ps->mem, &list, s);
        *n = 1;
    }
    return (ast_stmt **)list.items;
}

// Body of a loop whose head may be broken: goes on at the '{', if one comes before the ';'.
static void parse_loop_body(parser *ps, ast_stmt *s) {
    bool was_bad = ps->bad;
    if (was_bad) {
        while (!ps_at(ps, TOK_LBRACE)) {
            if (ps_at(ps, TOK_SEMI) || ps_at(ps, TOK_RBRACE) || ps_at(ps, TOK_EOF)) {
                return;
            }
            ps_next(ps);
        }
        ps->bad = false;
    }
    s->body = parse_body(ps, &s->n_body, &s->body_span);
}

// Splits 'P[e]' into the dimension and the group index.
static void take_group(parser *ps, ast_sym *index) {
    ast_expr *dim = index->dim;
    if (dim->kind != EX_INDEX || dim->a->kind != EX_NAME) {
        return;
    }
    if (dim->n_args != 1 || dim->args[0]->kind != EX_NAME) {
        diag_report(ps->d, DIAG_ERROR, "P101", dim->span,
                    "a group is named by one index, as in '%s[e]'", dim->a->name);
        ps->bad = true;
        return;
    }
    index->group_name = dim->args[0]->name;
    index->group_span = dim->args[0]->span;
    index->dim = dim->a;
}

// loop = NAME [ ":" size ] "of" dim [ "[" NAME "]" ] [ "in" expr ".." expr | "at" expr ] .
// 'all' walks the whole dimension: it has no bounds.
static ast_sym *parse_loop(parser *ps, walk_kind walk) {
    ast_span span;
    const char *name = ps_name(ps, "the index of a loop", &span);
    if (name == NULL) {
        return NULL;
    }
    ast_sym *index = sym_new(ps, SYM_INDEX, name, span);
    index->walk = walk;
    if (walk != WALK_ALL && ps_accept(ps, TOK_COLON)) {
        index->tile = parse_size(ps);
    }
    ps_expect_word(ps, "of", "and the dimension that the index walks");
    index->dim = parse_size(ps);
    if (!ps->bad) {
        take_group(ps, index);
    }
    if (!ps->bad && walk != WALK_ALL && ps_accept_word(ps, "in")) {
        index->lo = parse_expr(ps);
        ps_expect(ps, TOK_DOTDOT, "between the bounds of a loop");
        index->hi = parse_expr(ps);
    } else if (!ps->bad && walk != WALK_ALL && ps_accept_word(ps, "at")) {
        index->lo = parse_expr(ps);
        index->at = true;
        if (index->tile != NULL && !ps->bad) {
            diag_report(ps->d, DIAG_ERROR, "P101", index->tile->span,
                        "'%s' stands at one place, it walks no tiles", name);
            ps->bad = true;
        }
    }
    index->decl_span = ps_since(ps, span);
    return index;
}

static void add_index(parser *ps, ast_stmt *s, ptr_list *list, ast_sym *index) {
    if (index != NULL) {
        ptr_add(ps->mem, list, index);
        s->n_indices = list->n;
        s->indices = (ast_sym **)list->items;
    }
}

// "tile" loop {"," loop} body
static void parse_tile(parser *ps, ast_stmt *s) {
    ptr_list list = {0};
    do {
        add_index(ps, s, &list, parse_loop(ps, WALK_TILE));
    } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    parse_loop_body(ps, s);
}

// "for" loop body
static void parse_for(parser *ps, ast_stmt *s) {
    ptr_list list = {0};
    add_index(ps, s, &list, parse_loop(ps, WALK_FOR));
    parse_loop_body(ps, s);
}

// "all" NAME "of" dim {"," NAME "of" dim} ";"
static void parse_all(parser *ps, ast_stmt *s) {
    ptr_list list = {0};
    do {
        add_index(ps, s, &list, parse_loop(ps, WALK_ALL));
    } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    ps_expect(ps, TOK_SEMI, "behind 'all'");
}

// "ragged" dim "by" dim ("at" | "to") expr ["align" size] ";"
static void parse_ragged(parser *ps, ast_stmt *s) {
    ast_ragged *r = ARENA_NEW(ps->mem, ast_ragged);
    s->ragged = r;
    ast_span span;
    s->name = ps_name(ps, "the dimension that is cut", &span);
    s->sym = NULL;
    ps_expect_word(ps, "by", "and the number of groups");
    r->by = parse_size(ps);
    r->to = ps_accept_word(ps, "to");
    if (!r->to) {
        ps_expect_word(ps, "at", "and the offsets of the groups");
    }
    r->at = parse_expr(ps);
    if (!ps->bad && ps_accept_word(ps, "align")) {
        r->align = parse_size(ps);
    }
    ps_expect(ps, TOK_SEMI, "behind 'ragged'");
    r->span = span;
}

// "temp" NAME ":" type ";"
static void parse_temp(parser *ps, ast_stmt *s) {
    ast_span span;
    const char *name = ps_name(ps, "the name of a temp", &span);
    if (name == NULL) {
        return;
    }
    s->sym = sym_new(ps, SYM_TEMP, name, span);
    s->sym->mode = MODE_TEMP;
    s->sym->stmt = s;
    ps_expect(ps, TOK_COLON, "before the type of a temp");
    parse_type(ps, s->sym);
    s->sym->shared = ps_accept_word(ps, "shared");
    ps_expect(ps, TOK_SEMI, "behind 'temp'");
}

// "let" NAME "=" expr ";"
static void parse_let(parser *ps, ast_stmt *s) {
    ast_span span;
    const char *name = ps_name(ps, "the name of a value", &span);
    if (name == NULL) {
        return;
    }
    s->sym = sym_new(ps, SYM_LET, name, span);
    s->sym->stmt = s;
    ps_expect(ps, TOK_ASSIGN, "before the value");
    s->value = parse_expr(ps);
    s->sym->is_acc = s->value->kind == EX_ZERO;
    ps_expect(ps, TOK_SEMI, "behind 'let'");
}

// "if" expr body [ "else" body ]
static void parse_if(parser *ps, ast_stmt *s) {
    s->value = parse_expr(ps);
    parse_loop_body(ps, s);
    if (!ps->bad && ps_accept(ps, TOK_ELSE)) {
        s->orelse = parse_body(ps, &s->n_orelse, &s->orelse_span);
    }
}

// lhs ( "=" | "+=" ) expr ";"
static void parse_assign(parser *ps, ast_stmt *s) {
    s->target = parse_target(ps);
    if (ps->bad) {
        return;
    }
    if (ps_accept(ps, TOK_ADDTO)) {
        s->accumulate = true;
    } else if (!ps_accept(ps, TOK_ASSIGN)) {
        ps_fail(ps, "'=' or '+='");
        return;
    }
    s->value = parse_expr(ps);
    ps_expect(ps, TOK_SEMI, "behind the assignment");
}

typedef struct {
    tok_kind word;
    stmt_kind kind;
    void (*parse)(parser *ps, ast_stmt *s);
} stmt_rule;

static void parse_meet(parser *ps, ast_stmt *s) {
    ast_span span;
    s->name = ps_name(ps, "who meets ('ranks')", &span);
    ps_expect(ps, TOK_SEMI, "behind 'meet'");
}

static const stmt_rule rules[] = {
    {TOK_TILE, ST_TILE, parse_tile}, {TOK_FOR, ST_FOR, parse_for},
    {TOK_ALL, ST_ALL, parse_all},    {TOK_RAGGED, ST_RAGGED, parse_ragged},
    {TOK_TEMP, ST_TEMP, parse_temp}, {TOK_LET, ST_LET, parse_let},
    {TOK_IF, ST_IF, parse_if},       {TOK_MEET, ST_MEET, parse_meet},
};

// Skips the rest of a block that is nested too deeply, up to its '}'.
static void skip_block(parser *ps) {
    int braces = 0;
    while (!ps_at(ps, TOK_EOF) && (braces > 0 || !ps_at(ps, TOK_RBRACE))) {
        braces += ps_at(ps, TOK_LBRACE) - ps_at(ps, TOK_RBRACE);
        ps_next(ps);
    }
    ps->bad = false;
}

// stmt = "tile" ... | "for" ... | "all" ... | "ragged" ... | "temp" ... | "let" ... | "if" ...
//      | "meet" NAME ";" | lhs ( "=" | "+=" ) expr ";" .
static ast_stmt *parse_stmt(parser *ps) {
    if (ps->bad) {
        return NULL;
    }
    if (!ps_enter(ps)) {
        skip_block(ps);
        return NULL;
    }
    ast_span begin = ps_peek(ps)->span;
    const stmt_rule *rule = NULL;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (ps_at(ps, rules[i].word)) {
            rule = &rules[i];
        }
    }
    ast_stmt *s = stmt_new(ps, rule != NULL ? rule->kind : ST_ASSIGN, begin);
    if (rule != NULL) {
        ps_next(ps);
        rule->parse(ps, s);
    } else if (ps_at(ps, TOK_NAME)) {
        parse_assign(ps, s);
    } else {
        ps_fail(ps, "a statement");
    }
    s->span = ps_since(ps, begin);
    ps_leave(ps);
    return s;
}
