// References of a role program's text: noted while reading, numbered when all records are known.
//
// Names of maps, operands, stores and matrix instructions are made of the names of what they refer
// to, so references are numbered kind after kind, in the order of tir_ref_kind.
#include "tir_read_int.h"

#include <string.h>

static const char *const kind_words[TREF_COUNT] = {
    [TREF_PARAM] = "param",     [TREF_DIM] = "dim",         [TREF_LOOP] = "loop",
    [TREF_FOR] = "for",         [TREF_AXIS] = "loop or for", [TREF_ROLE] = "role",
    [TREF_CHANNEL] = "channel", [TREF_ACC] = "acc",         [TREF_MAP] = "map",
    [TREF_OPERAND] = "operand", [TREF_STORE] = "store",     [TREF_MMA] = "mma",
};

static void note(tir_reader *r, const tir_fixup *f) {
    if (r->n_fixups == r->max_fixups) {
        int more = r->max_fixups == 0 ? 64 : 2 * r->max_fixups;
        tir_fixup *bigger = ARENA_ARRAY(r->mem, tir_fixup, more);
        if (r->n_fixups > 0) {
            memcpy(bigger, r->fixups, sizeof(*bigger) * (size_t)r->n_fixups);
        }
        r->fixups = bigger;
        r->max_fixups = more;
    }
    r->fixups[r->n_fixups++] = *f;
}

void *tir_read_room(tir_reader *r, void *array, int n, size_t bytes) {
    bool full = n == 0 || (n >= 4 && (n & (n - 1)) == 0);
    if (!full) {
        return array;
    }
    char *bigger = arena_alloc(r->mem, bytes * (size_t)(n == 0 ? 4 : 2 * n));
    size_t used = bytes * (size_t)n;
    if (n == 0) {
        return bigger;
    }
    memcpy(bigger, array, used);
    uintptr_t old = (uintptr_t)array;
    for (int i = 0; i < r->n_fixups; i++) {
        uintptr_t to = (uintptr_t)r->fixups[i].to;
        if (to >= old && to < old + used) {
            r->fixups[i].to = (int *)(void *)(bigger + (to - old));
        }
    }
    return bigger;
}

// A name or "#3" as text.
static const char *one_ref(tir_reader *r, const char *what) {
    if (tir_scan_take(&r->s, '#')) {
        return arena_printf(r->mem, "#%lld",
                            (long long)tir_scan_int(&r->s, what, 0, TIR_READ_DIGITS));
    }
    const char *word = tir_scan_word(&r->s);
    if (word == NULL) {
        tir_scan_expected(&r->s, arena_printf(r->mem, "a %s", what));
        return "";
    }
    return word;
}

void tir_read_ref(tir_reader *r, tir_ref_kind kind, int *to) {
    *to = -1;
    tir_fixup f = {.to = to, .kind = kind, .line = r->s.line};
    tir_scan_peek(&r->s);
    f.line = r->s.line;
    if (tir_scan_take(&r->s, '#')) {
        f.number = (int)tir_scan_int(&r->s, kind_words[kind], 0, TIR_READ_DIGITS);
    } else {
        f.name = one_ref(r, kind_words[kind]);
    }
    if (kind == TREF_MMA && tir_scan_take_text(&r->s, "+=")) {
        const char *acc = f.name != NULL ? f.name : arena_printf(r->mem, "#%d", f.number);
        const char *a = one_ref(r, "operand");
        tir_scan_need(&r->s, '*');
        const char *b = one_ref(r, "operand");
        f.name = arena_printf(r->mem, "%s += %s * %s", acc, a, b);
    }
    if (!tir_scan_ok(&r->s) || (f.name != NULL && strcmp(f.name, "none") == 0)) {
        return;
    }
    note(r, &f);
}

typedef struct {
    int n;
    const char *names[2 * TIR_READ_LIST]; // of one kind; loops and fors together
} key_list;

static void collect(tir_reader *r, const tir_kernel *k, tir_ref_kind kind, key_list *keys) {
    keys->n = tir_ref_count(k, kind);
    for (int i = 0; i < keys->n; i++) {
        keys->names[i] = tir_ref_key(k, kind, i, r->mem);
    }
}

static void resolve(tir_reader *r, const tir_fixup *f, const key_list *keys) {
    r->s.line = f->line;
    if (f->name == NULL) {
        if (f->number >= keys->n) {
            tir_scan_fail(&r->s, "there is no %s #%d: there are %d", kind_words[f->kind], f->number,
                          keys->n);
        }
        *f->to = f->number;
        return;
    }
    int found = -1;
    for (int i = 0; i < keys->n; i++) {
        if (keys->names[i] != NULL && strcmp(keys->names[i], f->name) == 0) {
            if (found >= 0) {
                tir_scan_fail(&r->s, "'%s' is the name of %s #%d and #%d: give the number", f->name,
                              kind_words[f->kind], found, i);
                return;
            }
            found = i;
        }
    }
    if (found < 0) {
        tir_scan_fail(&r->s, "there is no %s called '%s'", kind_words[f->kind], f->name);
    }
    *f->to = found;
}

void tir_read_resolve(tir_reader *r, const tir_kernel *k) {
    key_list *keys = ARENA_NEW(r->mem, key_list);
    for (int kind = 0; kind < TREF_COUNT; kind++) {
        collect(r, k, (tir_ref_kind)kind, keys);
        for (int i = 0; i < r->n_fixups && tir_scan_ok(&r->s); i++) {
            if (r->fixups[i].kind == (tir_ref_kind)kind) {
                resolve(r, &r->fixups[i], keys);
            }
        }
    }
}
