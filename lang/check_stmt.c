// Statements: loops and their indices, declarations inside a kernel, conditions.
#include "check.h"

#include <string.h>

static void misplaced(checker *c, ast_span at, const char *what) {
    diag_report(c->d, DIAG_ERROR, "V103", at,
                "%s stands at the top level of a kernel, not inside of a statement", what);
}

// --- indices ---

// 'of P[e]': finds the declaration that cuts P, and e.
static void check_group(checker *c, ast_sym *index) {
    index->group = scope_find(c, index->group_name);
    const ast_sym *dim = index->dim->sym;
    for (int i = 0; i < c->n_ragged; i++) {
        if (c->ragged[i]->dim == dim && dim != NULL) {
            index->ragged = c->ragged[i];
        }
    }
    if (index->ragged == NULL) {
        diag_report(c->d, DIAG_ERROR, "D107", index->dim->span, "'%s' is not ragged",
                    expr_text(c->mem, index->dim));
        diag_help(c->d, "cut it first: ragged %s by GROUPS at OFFSETS;",
                  expr_text(c->mem, index->dim));
        return;
    }
    if (index->group == NULL) {
        report_unknown(c, index->group_name, index->group_span, index->ragged->by);
        return;
    }
    const ast_sym *group = index->group;
    if (group->kind != SYM_INDEX || group->tile != NULL || group->walk == WALK_ALL) {
        diag_report(c->d, DIAG_ERROR, "D107", index->group_span,
                    "'%s' is not an index that walks one group at a time", group->name);
    } else if (!size_equal(group->dim, index->ragged->by)) {
        diag_report(c->d, DIAG_ERROR, "D101", index->group_span,
                    "'%s' walks dimension %s, but '%s' is ragged by %s", group->name,
                    expr_text(c->mem, group->dim), index->ragged->dim->name,
                    expr_text(c->mem, index->ragged->by));
    }
}

// 'in lo .. hi', or 'at lo': the one iteration of that number, none where it lies outside.
static void check_bounds(checker *c, ast_sym *index) {
    ast_expr *bounds[2] = {index->lo, index->hi};
    for (int i = 0; i < (index->at ? 1 : 2); i++) {
        if (!check_value(c, bounds[i])) {
            continue;
        }
        if (!is_int_type(bounds[i]->type)) {
            diag_report(c->d, DIAG_ERROR, "E103", bounds[i]->span,
                        "a bound is a whole number, '%s' is %s", expr_text(c->mem, bounds[i]),
                        bounds[i]->type->name);
            continue;
        }
        check_uniform(c, bounds[i], "the bound");
    }
    if (index->at) {
        ast_expr *one = check_new_expr(c, EX_INT, index->lo->span);
        one->ivalue = 1;
        check_expr(c, one);
        index->hi = check_new_expr(c, EX_BINARY, index->lo->span);
        index->hi->op = OP_ADD;
        index->hi->a = index->lo;
        index->hi->b = one;
        index->hi->type = index->lo->type;
    }
}

static void declare_index(checker *c, ast_sym *index) {
    if (index->tile != NULL) {
        check_static(c, index->tile, "the tile size");
    }
    check_size(c, index->dim);
    if (index->group_name != NULL && !is_poison(index->dim)) {
        check_group(c, index);
    }
    if (index->lo != NULL) {
        check_bounds(c, index);
    }
    index->id = c->indices.n;
    sym_add(c, &c->indices, index);
    scope_declare(c, index);
}

// --- statements ---

static void check_block(checker *c, ast_stmt **body, int n) {
    int mark = scope_mark(c);
    c->block_depth++;
    check_body(c, body, n);
    c->block_depth--;
    scope_close(c, mark);
}

static void check_loop(checker *c, ast_stmt *s) {
    if (s->kind == ST_TILE && c->loops.n > 0) {
        misplaced(c, s->span, "'tile'");
        diag_because(c->d, "its iterations are handed out to CTAs, and those run no others inside");
        diag_help(c->d, "name all its indices in one 'tile', or use 'for'");
    }
    int mark = scope_mark(c);
    int loops = c->loops.n;
    for (int i = 0; i < s->n_indices; i++) {
        declare_index(c, s->indices[i]);
        sym_add(c, &c->loops, s->indices[i]);
    }
    check_block(c, s->body, s->n_body);
    c->loops.n = loops;
    scope_close(c, mark);
}

static void add_ragged(checker *c, ast_ragged *r) {
    if (c->n_ragged == c->cap_ragged) {
        c->cap_ragged = c->cap_ragged * 2 + 4;
        ast_ragged **more = ARENA_ARRAY(c->mem, ast_ragged *, c->cap_ragged);
        for (int i = 0; i < c->n_ragged; i++) {
            more[i] = c->ragged[i];
        }
        c->ragged = more;
    }
    c->ragged[c->n_ragged++] = r;
}

// E + 1 offsets, or E ends.
static void check_count(checker *c, const ast_ragged *r, const ast_sym *sym) {
    ast_expr *one = check_new_expr(c, EX_INT, r->at->span);
    one->ivalue = 1;
    check_expr(c, one);
    ast_expr *count = check_new_expr(c, EX_BINARY, r->at->span);
    count->op = OP_ADD;
    count->a = r->by;
    count->b = one;
    if (size_equal(r->to ? r->by : count, sym->dims[0])) {
        return;
    }
    const char *by = expr_text(c->mem, r->by);
    diag_report(c->d, DIAG_ERROR, "D107", r->at->span,
                r->to ? "%s groups have %s ends, but '%s' has %s entries"
                      : "%s groups have %s + 1 offsets, but '%s' has %s entries",
                by, by, sym->name, expr_text(c->mem, sym->dims[0]));
    diag_note(c->d, sym->span, "'%s' is declared here", sym->name);
}

// Offsets are a const tensor of one entry more than there are groups, or the offsets of a record;
// ends a const tensor of one entry a group.
static void check_offsets(checker *c, ast_ragged *r) {
    ast_expr *at = r->at;
    if (at->kind == EX_MEMBER) {
        check_member(c, at);
        bool holds = at->field != NULL && at->field->over == OVER_GROUPS && ragged_is_packed(r);
        if (!is_poison(at) && !holds) {
            diag_report(c->d, DIAG_ERROR, "D107", at->span, "'%s' does not hold offsets",
                        expr_text(c->mem, at));
        }
        return;
    }
    if (at->kind == EX_NAME) {
        at->sym = scope_find(c, at->name);
        if (at->sym == NULL) {
            report_unknown(c, at->name, at->span, NULL);
            return;
        }
    }
    const ast_sym *sym = at->kind == EX_NAME ? at->sym : NULL;
    if (sym == NULL || sym->kind != SYM_PARAM || sym->n_dims != 1 ||
        (!sym->is_bad && !is_int_type(sym->format))) {
        diag_report(c->d, DIAG_ERROR, "D107", at->span,
                    "offsets are a tensor of whole numbers with one axis, '%s' is none",
                    expr_text(c->mem, at));
        return;
    }
    at->type = sym->format;
    if (sym->mode != MODE_CONST) {
        diag_report(c->d, DIAG_ERROR, "L104", at->span,
                    "the offsets '%s' are in memory that may change", sym->name);
        diag_because(c->d,
                     "every role computes its loops from them, and all must see the same values");
        diag_note(c->d, sym->type_span, "declare it 'const' here");
    }
    check_count(c, r, sym);
}

static void check_align(checker *c, ast_ragged *r) {
    int64_t n = 1;
    if (r->align != NULL && check_static(c, r->align, "the alignment of groups") &&
        size_value(r->align, NULL, &n) == SIZE_OK && (n < 1 || n > RAGGED_MOST_ALIGN)) {
        diag_report(c->d, DIAG_ERROR, "D107", r->align->span,
                    "groups begin at multiples of %lld: 1 to %d is possible", (long long)n,
                    RAGGED_MOST_ALIGN);
    }
}

static void check_ragged(checker *c, ast_stmt *s) {
    ast_ragged *r = s->ragged;
    if (c->block_depth > 0) {
        misplaced(c, s->span, "'ragged'");
    }
    r->dim = scope_find(c, s->name);
    if (r->dim == NULL) {
        report_unknown(c, s->name, r->span, NULL);
        return;
    }
    if (r->dim->kind != SYM_DIM) {
        diag_report(c->d, DIAG_ERROR, "D107", r->span, "'%s' is not a dimension", s->name);
        diag_note(c->d, r->dim->span, "'%s' is declared here", s->name);
        return;
    }
    for (int i = 0; i < c->n_ragged; i++) {
        if (c->ragged[i]->dim == r->dim) {
            diag_report(c->d, DIAG_ERROR, "D107", r->span, "'%s' is cut twice", s->name);
            diag_note(c->d, c->ragged[i]->span, "it is ragged here already");
        }
    }
    check_size(c, r->by);
    check_offsets(c, r);
    check_align(c, r);
    r->dim->is_bad = false; // its size is known now: the last offset
    add_ragged(c, r);
}

static void check_let(checker *c, ast_stmt *s) {
    ast_sym *sym = s->sym;
    c->zero = s->value;
    check_expr(c, s->value);
    if (s->value->kind == EX_MEMBER && s->value->field != NULL) {
        check_value(c, s->value);
    }
    sym->is_bad = is_poison(s->value);
    sym->record = s->value->record;
    sym->reads_const = !sym->is_bad && !sym->is_acc && reads_only_const(s->value);
    if (sym->record != NULL && c->block_depth > 0) {
        misplaced(c, s->span, "a record");
    }
    if (!sym->is_bad && is_scaled(s->value->type) && s->value->kind != EX_CALL) {
        check_value(c, s->value);
    }
    sym->id = c->lets.n;
    sym_add(c, &c->lets, sym);
    scope_declare(c, sym);
}

// Outputs that one branch writes are not written yet in the other one.
static void check_if(checker *c, ast_stmt *s) {
    if (check_value(c, s->value)) {
        if (!is_bool_type(s->value->type)) {
            diag_report(c->d, DIAG_ERROR, "E106", s->value->span, "'%s' is %s, not a condition",
                        expr_text(c->mem, s->value), s->value->type->name);
        } else {
            check_uniform(c, s->value, "the condition");
        }
    }
    int before = c->written.n;
    check_block(c, s->body, s->n_body);
    int n = c->written.n - before;
    ast_sym **first = ARENA_ARRAY(c->mem, ast_sym *, n);
    const ast_stmt **writers = ARENA_ARRAY(c->mem, const ast_stmt *, n);
    for (int i = 0; i < n; i++) {
        first[i] = c->written.items[before + i];
        writers[i] = first[i]->writer;
        first[i]->writer = NULL;
    }
    c->written.n = before;
    check_block(c, s->orelse, s->n_orelse);
    for (int i = 0; i < n; i++) {
        if (first[i]->writer == NULL) {
            first[i]->writer = writers[i];
            sym_add(c, &c->written, first[i]);
        }
    }
}

static void check_meet(checker *c, ast_stmt *s) {
    if (c->block_depth > 0) {
        misplaced(c, s->span, "'meet'");
    }
    if (s->name != NULL && strcmp(s->name, "ranks") != 0) {
        diag_report(c->d, DIAG_ERROR, "V106", s->span, "only 'ranks' can meet, not '%s'", s->name);
    }
}

static void check_stmt(checker *c, ast_stmt *s) {
    switch (s->kind) {
    case ST_TILE:
    case ST_FOR:
        check_loop(c, s);
        break;
    case ST_ALL:
        for (int i = 0; i < s->n_indices; i++) {
            declare_index(c, s->indices[i]);
        }
        break;
    case ST_RAGGED:
        check_ragged(c, s);
        break;
    case ST_TEMP: // declared with the kernel; it becomes visible here
        if (c->block_depth > 0) {
            misplaced(c, s->span, "'temp'");
            s->sym->is_bad = true;
        }
        scope_declare(c, s->sym);
        break;
    case ST_LET:
        check_let(c, s);
        break;
    case ST_IF:
        check_if(c, s);
        break;
    case ST_MEET:
        check_meet(c, s);
        break;
    case ST_ASSIGN:
        check_assign(c, s);
        break;
    }
}

void check_body(checker *c, ast_stmt **body, int n) {
    for (int i = 0; i < n; i++) {
        check_stmt(c, body[i]);
    }
}
