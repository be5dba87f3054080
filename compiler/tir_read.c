// Text -> role program, driven by tir_fields.def: reads what tir_print.c writes, with free white
// space and '//' comments.
//
// In: any bytes. Out: a kernel whose counts and pointers agree and whose references are -1 or in
// range, or one sentence with the line of the first mistake. Whether the numbers make sense is for
// tir_verify to say. Lists, nesting and lengths are bounded, so that no text takes long.
#include "tir_read_int.h"

#include <limits.h>
#include <string.h>

static void set_int(void *at, int v) {
    memcpy(at, &v, sizeof(v));
}

static void set_defaults(tir_record record, void *data) {
    for (int i = 0; i < tir_n_fields; i++) {
        const tir_field *f = &tir_fields[i];
        bool number = f->kind == TFK_INT || f->kind == TFK_ENUM || f->kind == TFK_REF;
        if (f->record == record && number) {
            set_int((char *)data + f->offset, f->dflt);
        }
    }
}

// --- Values of fields ----------------------------------------------------------------------------

static void read_ints(tir_reader *r, const tir_field *f, int *out) {
    size_t n = 0;
    tir_scan_need(&r->s, '[');
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, ']')) {
        if (n > 0) {
            tir_scan_need(&r->s, ',');
        }
        if (n == f->aux) {
            tir_scan_fail(&r->s, "'%s' has more than %zu numbers", f->name, f->aux);
            return;
        }
        out[n++] = (int)tir_scan_int(&r->s, f->name, INT_MIN + 1, INT_MAX);
    }
}

// '_' stands for an entry that is not there, which only maps have.
static int read_sizes(tir_reader *r, const tir_field *f, tir_size **out, int most) {
    int n = 0;
    tir_scan_need(&r->s, '[');
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, ']')) {
        if (n > 0) {
            tir_scan_need(&r->s, ',');
        }
        if (n == most) {
            tir_scan_fail(&r->s, "'%s' has more than %d sizes", f->name, most);
            return n;
        }
        int next = 0;
        const char *word = tir_scan_peek_word(&r->s, &next);
        if (f->kind == TFK_FIXED_SIZES && word != NULL && strcmp(word, "_") == 0) {
            tir_scan_word(&r->s);
            out[n++] = NULL;
        } else {
            out[n++] = tir_read_size(r, 0);
        }
    }
    return n;
}

static void read_coords(tir_reader *r, const tir_field *f, tir_coord *out) {
    size_t n = 0;
    tir_scan_need(&r->s, '[');
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, ']')) {
        if (n > 0) {
            tir_scan_need(&r->s, ',');
        }
        if (n == f->aux) {
            tir_scan_fail(&r->s, "'%s' has more than %zu entries", f->name, f->aux);
            return;
        }
        tir_read_coord(r, &out[n++]);
    }
}

static void read_size_list(tir_reader *r, const tir_field *f, void *record) {
    tir_size **sizes = ARENA_ARRAY(r->mem, tir_size *, TIR_READ_ARGS);
    int n = read_sizes(r, f, sizes, TIR_READ_ARGS);
    memcpy((char *)record + f->offset, &sizes, sizeof(sizes));
    set_int((char *)record + f->aux, n);
}

static void read_axis_list(tir_reader *r, const tir_field *f, void *record) {
    int n = 0;
    tir_axis *axes = tir_read_axes(r, &n);
    memcpy((char *)record + f->offset, &axes, sizeof(axes));
    set_int((char *)record + f->aux, n);
}

static void read_value(tir_reader *r, const tir_field *f, void *record) {
    void *at = (char *)record + f->offset;
    switch (f->kind) {
    case TFK_NAME:
        *(const char **)at = tir_scan_name(&r->s);
        break;
    case TFK_INT:
        set_int(at, (int)tir_scan_int(&r->s, f->name, INT_MIN + 1, INT_MAX));
        break;
    case TFK_I64:
        *(int64_t *)at = tir_scan_int(&r->s, f->name, INT64_MIN, INT64_MAX);
        break;
    case TFK_FLAG:
        *(bool *)at = true;
        break;
    case TFK_ENUM:
        set_int(at, tir_read_enum(r, (tir_enum)f->aux, f->name));
        break;
    case TFK_REF:
        tir_read_ref(r, (tir_ref_kind)f->aux, at);
        break;
    case TFK_SIZE:
        *(tir_size **)at = tir_read_size(r, 0);
        break;
    case TFK_SIZES:
        read_size_list(r, f, record);
        break;
    case TFK_FIXED_SIZES:
        read_sizes(r, f, at, (int)f->aux);
        break;
    case TFK_EXPR:
        *(tir_expr **)at = tir_read_expr(r, 0);
        break;
    case TFK_AXES:
        read_axis_list(r, f, record);
        break;
    case TFK_INTS:
        read_ints(r, f, at);
        break;
    case TFK_COORDS:
        read_coords(r, f, at);
        break;
    }
}

// --- Records -------------------------------------------------------------------------------------

static int find_field(tir_record record, const char *word, bool flag) {
    for (int i = 0; i < tir_n_fields; i++) {
        const tir_field *f = &tir_fields[i];
        bool leading = f->kind == TFK_NAME && f->aux == 1;
        if (f->record == record && !leading && (f->kind == TFK_FLAG) == flag &&
            strcmp(f->name, word) == 0) {
            return i;
        }
    }
    return -1;
}

static void check_needed(tir_reader *r, tir_record record, const char *word, const bool *seen) {
    for (int i = 0; i < tir_n_fields; i++) {
        if (tir_fields[i].record == record && !seen[i] && tir_is_needed(&tir_fields[i])) {
            tir_scan_fail(&r->s, "'%s' lacks '%s='", word, tir_fields[i].name);
        }
    }
}

enum { MOST_FIELDS = 256 };

// The fields behind a record's word, up to the first thing that is none.
static void read_fields(tir_reader *r, tir_record record, const char *word, void *data) {
    bool seen[MOST_FIELDS] = {false};
    int line = r->s.line;
    for (int i = 0; i < tir_n_fields; i++) {
        const tir_field *f = &tir_fields[i];
        if (f->record == record && f->kind == TFK_NAME && f->aux == 1) {
            read_value(r, f, data);
        }
    }
    while (tir_scan_ok(&r->s)) {
        int next = 0;
        const char *name = tir_scan_peek_word(&r->s, &next);
        int i = name != NULL ? find_field(record, name, next != '=') : -1;
        if (i < 0 && name != NULL && next == '=') {
            tir_scan_fail(&r->s, "'%s' has no '%s='", word, name);
        }
        if (i < 0) {
            break;
        }
        if (seen[i]) {
            tir_scan_fail(&r->s, "'%s' has '%s' twice", word, name);
            return;
        }
        seen[i] = true;
        tir_scan_word(&r->s);
        if (next == '=') {
            tir_scan_need(&r->s, '=');
        }
        read_value(r, &tir_fields[i], data);
    }
    int here = r->s.line;
    r->s.line = line;
    check_needed(r, record, word, seen);
    r->s.line = here;
}

static void *new_record(tir_reader *r, const tir_list *l, tir_kernel *k) {
    char *array = NULL;
    int n = 0;
    memcpy(&array, (char *)k + l->array, sizeof(array));
    memcpy(&n, (char *)k + l->count, sizeof(n));
    if (n == TIR_READ_LIST) {
        tir_scan_fail(&r->s, "more than %d records '%s'", TIR_READ_LIST, l->name);
        return array;
    }
    array = tir_read_room(r, array, n, l->bytes);
    memcpy((char *)k + l->array, &array, sizeof(array));
    set_int((char *)k + l->count, n + 1);
    void *data = array + (size_t)n * l->bytes;
    set_defaults(l->record, data);
    return data;
}

static void read_boxes(tir_reader *r, tir_channel *c) {
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, '}')) {
        const char *word = tir_scan_word(&r->s);
        if (word == NULL || strcmp(word, "box") != 0) {
            tir_scan_fail(&r->s, "a channel holds 'box' records up to its '}'");
            return;
        }
        if (c->n_boxes == TIR_READ_LIST) {
            tir_scan_fail(&r->s, "more than %d boxes in a channel", TIR_READ_LIST);
            return;
        }
        c->boxes = tir_read_room(r, c->boxes, c->n_boxes, sizeof(*c->boxes));
        tir_box *box = &c->boxes[c->n_boxes++];
        set_defaults(TREC_box, box);
        read_fields(r, TREC_box, "box", box);
    }
}

// --- Bodies --------------------------------------------------------------------------------------

static int statement_called(const char *word) {
    for (int i = 0; i < TIR_STMT_KINDS; i++) {
        if (word != NULL && strcmp(tir_stmts[i].word, word) == 0) {
            return i;
        }
    }
    return -1;
}

// Statements up to the '}', behind the '{'.
static tir_stmt **read_body(tir_reader *r, int *n, int depth) {
    tir_stmt **body = NULL;
    *n = 0;
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, '}')) {
        const char *word = tir_scan_word(&r->s);
        int kind = statement_called(word);
        if (kind < 0) {
            tir_scan_fail(&r->s, "'%s' is no statement", word != NULL ? word : "");
            break;
        }
        if (*n == TIR_READ_LIST || depth == TIR_READ_NEST) {
            tir_scan_fail(&r->s, "a body has at most %d statements and %d bodies around it",
                          TIR_READ_LIST, TIR_READ_NEST);
            break;
        }
        tir_stmt *s = ARENA_NEW(r->mem, tir_stmt);
        s->kind = (tir_stmt_kind)kind;
        body = tir_read_room(r, body, *n, sizeof(*body));
        body[(*n)++] = s;
        if (tir_stmts[kind].ref != TREF_COUNT) {
            tir_read_ref(r, tir_stmts[kind].ref, &s->ref);
        }
        if (tir_stmts[kind].body) {
            tir_scan_need(&r->s, '{');
            s->body = read_body(r, &s->n_body, depth + 1);
        }
    }
    return body;
}

static void read_record(tir_reader *r, const tir_list *l, tir_kernel *k) {
    void *data = new_record(r, l, k);
    if (!tir_scan_ok(&r->s)) {
        return;
    }
    read_fields(r, l->record, l->name, data);
    if (l->record == TREC_channel && tir_scan_take(&r->s, '{')) {
        read_boxes(r, data);
    } else if (l->record == TREC_role) {
        tir_role *role = data;
        tir_scan_need(&r->s, '{');
        role->body = read_body(r, &role->n_body, 0);
    }
}

// --- The kernel ----------------------------------------------------------------------------------

static const tir_list *list_called(const char *word) {
    for (int i = 0; i < tir_n_lists; i++) {
        if (strcmp(tir_lists[i].name, word) == 0) {
            return &tir_lists[i];
        }
    }
    return NULL;
}

static void read_once(tir_reader *r, bool *seen, const char *word) {
    if (*seen) {
        tir_scan_fail(&r->s, "'%s' stands here twice", word);
    }
    *seen = true;
}

static void read_records(tir_reader *r, tir_kernel *k) {
    bool launch = false;
    bool walk = false;
    while (tir_scan_ok(&r->s) && !tir_scan_take(&r->s, '}')) {
        const char *word = tir_scan_word(&r->s);
        const tir_list *l = word != NULL ? list_called(word) : NULL;
        if (word == NULL) {
            tir_scan_expected(&r->s, "a record or '}'");
        } else if (strcmp(word, "launch") == 0) {
            read_once(r, &launch, word);
            read_fields(r, TREC_launch, word, k);
        } else if (strcmp(word, "walk") == 0) {
            read_once(r, &walk, word);
            read_fields(r, TREC_walk, word, &k->walk);
        } else if (l != NULL) {
            read_record(r, l, k);
        } else {
            tir_scan_fail(&r->s, "'%s' is no record of a kernel", word);
        }
    }
    if (tir_scan_ok(&r->s) && (!launch || !walk)) {
        tir_scan_fail(&r->s, "the kernel lacks '%s'", launch ? "walk" : "launch");
    }
}

static void read_word(tir_reader *r, const char *expected) {
    int next = 0;
    const char *word = tir_scan_peek_word(&r->s, &next);
    if (word == NULL || strcmp(word, expected) != 0) {
        tir_scan_expected(&r->s, arena_printf(r->mem, "'%s'", expected));
        return;
    }
    tir_scan_word(&r->s);
}

tir_kernel *tir_read(const char *text, size_t len, arena *mem, const char **why) {
    tir_reader r = {.s = {.text = text, .len = len, .line = 1, .mem = mem}, .mem = mem};
    tir_kernel *k = ARENA_NEW(mem, tir_kernel);
    set_defaults(TREC_kernel, k);
    set_defaults(TREC_launch, k);
    set_defaults(TREC_walk, &k->walk);
    read_word(&r, "tir");
    tir_scan_int(&r.s, "the version of the text", TIR_VERSION, TIR_VERSION);
    read_word(&r, "kernel");
    if (tir_scan_ok(&r.s)) {
        read_fields(&r, TREC_kernel, "kernel", k);
    }
    tir_scan_need(&r.s, '{');
    read_records(&r, k);
    if (tir_scan_peek(&r.s) >= 0) {
        tir_scan_expected(&r.s, "the end of the text: one kernel a text");
    }
    if (tir_scan_ok(&r.s)) {
        tir_read_resolve(&r, k);
    }
    *why = r.s.why;
    return tir_scan_ok(&r.s) ? k : NULL;
}
