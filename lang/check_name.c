// Scopes: one stack of visible symbols. A block marks its height and cuts it back at its end.
//
// A name has one meaning at a time: declaring a visible name again is an error, so shadowing cannot
// change what a subscript means.
#include "check.h"

#include <string.h>

void sym_add(checker *c, sym_list *list, ast_sym *sym) {
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        ast_sym **more = ARENA_ARRAY(c->mem, ast_sym *, list->cap);
        if (list->n > 0) {
            memcpy(more, list->items, sizeof *more * (size_t)list->n);
        }
        list->items = more;
    }
    list->items[list->n++] = sym;
}

int scope_mark(const checker *c) {
    return c->scope.n;
}

void scope_close(checker *c, int mark) {
    while (c->scope.n > mark) {
        sym_add(c, &c->closed, c->scope.items[--c->scope.n]);
    }
}

ast_sym *scope_find(const checker *c, const char *name) {
    for (int i = c->scope.n - 1; i >= 0; i--) {
        if (strcmp(c->scope.items[i]->name, name) == 0) {
            return c->scope.items[i];
        }
    }
    return NULL;
}

// What the language itself means by a name, NULL if nothing.
static const char *language_meaning(const char *name) {
    builtin_kind b;
    reduce_kind r;
    if (builtin_find(name, &b)) {
        return "a built-in function";
    }
    for (int e = 0; e < ELEM_COUNT; e++) {
        if (strcmp(name, elem_name((elem_kind)e)) == 0) {
            return "an element type";
        }
    }
    if (reduce_find(name, &r)) {
        return "a reduction";
    }
    return strcmp(name, "peer") == 0 || strcmp(name, "inf") == 0 ? "built in" : NULL;
}

void scope_declare(checker *c, ast_sym *sym) {
    const char *meaning = language_meaning(sym->name);
    const ast_sym *other = scope_find(c, sym->name);
    if (meaning != NULL) {
        diag_report(c->d, DIAG_ERROR, "D103", sym->span, "'%s' is %s and cannot be declared",
                    sym->name, meaning);
    } else if (other != NULL) {
        diag_report(c->d, DIAG_ERROR, "D103", sym->span, "'%s' is declared twice", sym->name);
        diag_note(c->d, other->span, "'%s' is declared here", sym->name);
        return; // the first meaning stays
    }
    sym_add(c, &c->scope, sym);
}

#define MAX_NAME 40

// Levenshtein distance, large for names that are too long to compare.
int name_distance(const char *a, const char *b) {
    size_t na = strlen(a);
    size_t nb = strlen(b);
    if (na > MAX_NAME || nb > MAX_NAME) {
        return MAX_NAME;
    }
    int row[MAX_NAME + 1];
    for (size_t j = 0; j <= nb; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int above = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[nb];
}

const char *closest_name(const checker *c, const char *name) {
    int limit = (int)strlen(name) / 3 + (strlen(name) > 1);
    const char *best = NULL;
    for (int i = c->scope.n - 1; i >= 0; i--) {
        int distance = name_distance(name, c->scope.items[i]->name);
        if (distance <= limit && distance > 0) {
            limit = distance - 1;
            best = c->scope.items[i]->name;
        }
    }
    return best;
}

static bool contains(const sym_list *list, const ast_sym *sym) {
    for (int i = 0; list != NULL && i < list->n; i++) {
        if (list->items[i] == sym) {
            return true;
        }
    }
    return false;
}

ast_sym *index_that_walks(const checker *c, const ast_expr *dim, const sym_list *used) {
    for (int i = c->scope.n - 1; i >= 0; i--) {
        ast_sym *sym = c->scope.items[i];
        if (sym->kind == SYM_INDEX && !contains(used, sym) && size_equal(sym->dim, dim)) {
            return sym;
        }
    }
    return NULL;
}

// A name that was visible in a block that has ended.
static const ast_sym *find_closed(const checker *c, const char *name) {
    for (int i = c->closed.n - 1; i >= 0; i--) {
        const ast_sym *sym = c->closed.items[i];
        if ((sym->kind == SYM_LET || sym->kind == SYM_INDEX) && strcmp(sym->name, name) == 0) {
            return sym;
        }
    }
    return NULL;
}

void report_unknown(checker *c, const char *name, ast_span at, const ast_expr *axis) {
    const ast_sym *closed = find_closed(c, name);
    if (closed != NULL && closed->kind == SYM_LET) {
        diag_report(c->d, DIAG_ERROR, "L101", at,
                    "the value '%s' does not leave the block that defines it", name);
        diag_note(c->d, closed->span, "'%s' is defined here", name);
        diag_help(c->d, "use '%s' inside its block, or define it before the loop", name);
        return;
    }
    diag_report(c->d, DIAG_ERROR, "D102", at, "'%s' is not declared", name);
    if (closed != NULL) {
        diag_note(c->d, closed->span, "the loop over '%s' ends before this place", name);
    }
    const ast_sym *index = axis == NULL ? NULL : index_that_walks(c, axis, NULL);
    if (index != NULL) {
        diag_label(c->d, "this axis is %s, and '%s' walks %s", expr_text(c->mem, axis), index->name,
                   expr_text(c->mem, axis));
        diag_fix(c->d, at, index->name, "the index that walks %s", expr_text(c->mem, axis));
        return;
    }
    const char *close = closest_name(c, name);
    if (close != NULL) {
        diag_fix(c->d, at, close, "a name like it is declared");
    }
}
