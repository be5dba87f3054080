// Names: scopes of registers and variables, labels and the branches that wait for them.
#include "ptx_parse.h"

void ptx_scope_open(struct ptx_parser *p) {
    struct ptx_scope *s = ptx_new(p, sizeof *s);
    s->parent = p->scope;
    p->scope = s;
}

struct ptx_symbol *ptx_find_label(struct ptx_scope *s, const char *name, uint32_t length) {
    for (struct ptx_symbol *y = s->labels; y != NULL; y = y->next) {
        if (y->length == length && memcmp(y->name, name, length) == 0) {
            return y;
        }
    }
    return NULL;
}

struct ptx_symbol *ptx_find_table(struct ptx_parser *p, const char *name, uint32_t length) {
    for (struct ptx_scope *s = p->scope; s != NULL; s = s->parent) {
        struct ptx_symbol *y = ptx_find_label(s, name, length);
        if (y != NULL && y->rows != NULL) {
            return y;
        }
    }
    return NULL;
}

// Branches to labels of this scope get their targets; the others wait in the parent.
void ptx_scope_close(struct ptx_parser *p) {
    struct ptx_scope *s = p->scope;
    p->scope = s->parent;
    struct ptx_fixup *f = s->fixups;
    while (f != NULL) {
        struct ptx_fixup *next = f->next;
        const struct ptx_symbol *label = ptx_find_label(s, f->name, f->length);
        if (label == NULL && (s->parent == NULL || s->is_body)) {
            int n = f->length > 80 ? 80 : (int)f->length;
            ptx_fail(p, f->line, "label '%.*s' is not defined", n, f->name);
        } else if (label == NULL) {
            f->next = s->parent->fixups;
            s->parent->fixups = f;
        } else if (f->slot != NULL) {
            *f->slot = label->target;
        } else {
            p->kernel->code[f->uop].imm = label->target;
        }
        f = next;
    }
}

void ptx_branch_to(struct ptx_parser *p, const struct ptx_fixup *what) {
    struct ptx_fixup *f = ptx_new(p, sizeof *f);
    *f = *what;
    f->next = p->scope->fixups;
    p->scope->fixups = f;
}

struct ptx_symbol *ptx_new_symbol(struct ptx_parser *p, enum ptx_symbol_kind kind) {
    struct ptx_symbol *y = ptx_new(p, sizeof *y);
    y->kind = kind;
    y->name = p->tok.text;
    y->length = p->tok.length;
    y->next = p->scope->symbols;
    p->scope->symbols = y;
    ptx_next(p);
    return y;
}

static bool names_register(const struct ptx_symbol *y, const char *name, uint32_t length,
                           uint32_t *index) {
    if (length <= y->length || length > y->length + 8 || memcmp(name, y->name, y->length) != 0) {
        return false;
    }
    uint32_t n = 0;
    for (uint32_t i = y->length; i < length; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        n = n * 10 + (uint32_t)(name[i] - '0');
    }
    *index = n;
    return n < y->count;
}

const struct ptx_symbol *ptx_lookup(struct ptx_parser *p, const char *name, uint32_t length,
                                    uint32_t *index) {
    *index = 0;
    for (struct ptx_scope *s = p->scope; s != NULL; s = s->parent) {
        for (struct ptx_symbol *y = s->symbols; y != NULL; y = y->next) {
            if (y->count > 0 && y->kind == SYM_REG) {
                if (names_register(y, name, length, index)) {
                    return y;
                }
            } else if (y->length == length && memcmp(y->name, name, length) == 0) {
                return y;
            }
        }
    }
    return NULL;
}
