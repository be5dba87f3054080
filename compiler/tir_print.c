// Role programs -> text, driven by tir_fields.def. The text reads back to an equal kernel
// (tir_read.c). Requires nothing of the kernel but that its pointers and counts agree: a kernel
// that tir_verify refuses prints too, with "#7" for what has no name.
#include "std.h"
#include "tir_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    FILE *out;
    const tir_kernel *k;
    arena *mem; // of the names
} printer;

static void print_ref(const printer *p, tir_ref_kind kind, int i) {
    fputs(tir_ref_text(p->k, kind, i, p->mem), p->out);
}

static void print_string(FILE *out, const char *s) {
    if (tir_is_word(s)) {
        fputs(s, out);
        return;
    }
    fputc('"', out);
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7F) {
            fprintf(out, "\\x%02x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

static void print_word(FILE *out, const char *word, int number) {
    if (word != NULL) {
        fputs(word, out);
    } else {
        fprintf(out, "#%d", number);
    }
}

// The shortest decimal that reads back to the same double.
static void print_double(FILE *out, double v) {
    char text[40];
    if (isnan(v)) {
        fputs(signbit(v) ? "-nan" : "nan", out);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    fputs(text, out);
}

static void print_size(const printer *p, const tir_size *s) {
    if (s == NULL) {
        fputc('_', p->out);
    } else if (s->op == SZ_INT) {
        fprintf(p->out, "%lld", (long long)s->value);
    } else if (s->op == SZ_DIM) {
        print_ref(p, TREF_DIM, s->dim);
    } else {
        print_word(p->out, tir_size_word(s->op), (int)s->op);
        fputc('(', p->out);
        if (s->op == SZ_PITCH || s->op == SZ_SF_BYTES) {
            print_ref(p, TREF_PARAM, s->dim);
        } else if (s->op != SZ_SMS) {
            print_size(p, s->a);
            fputs(", ", p->out);
            print_size(p, s->b);
        }
        fputc(')', p->out);
    }
}

static void print_sizes(const printer *p, tir_size *const *sizes, int n) {
    fputc('[', p->out);
    for (int i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        print_size(p, sizes[i]);
    }
    fputc(']', p->out);
}

static void print_factors(const printer *p, int mul, int div) {
    if (mul != 1) {
        fprintf(p->out, "*%d", mul);
    }
    if (div != 1) {
        fprintf(p->out, "/%d", div);
    }
}

// m*1/2+64+rank*128
static void print_coord(const printer *p, const tir_coord *c) {
    if (c->loop == -1) {
        fprintf(p->out, "%d", c->add);
    } else {
        print_ref(p, TREF_AXIS, c->loop);
        print_factors(p, c->mul, c->div);
        if (c->add != 0) {
            fprintf(p->out, "%+d", c->add);
        }
    }
    if (c->rank_mul != 0) {
        fprintf(p->out, "+rank*%d", c->rank_mul);
    }
}

// n, (n+1)*2/3, (5)*2, n~64
static void print_axis(const printer *p, const tir_axis *a) {
    bool plain = a->loop != -1 && a->add == 0;
    fputs(plain ? "" : "(", p->out);
    if (a->loop != -1) {
        print_ref(p, TREF_AXIS, a->loop);
    }
    if (!plain) {
        fprintf(p->out, a->loop != -1 ? "%+d)" : "%d)", a->add);
    }
    if (a->floor > 0) {
        fprintf(p->out, "~%d", a->floor);
    }
    if (a->piece > 0) {
        fprintf(p->out, "|%d+%d:%d", a->piece, a->shift, a->gap);
    }
    print_factors(p, a->mul, a->div);
}

static void print_axes(const printer *p, const tir_axis *axes, int n) {
    fputc('[', p->out);
    for (int i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        print_axis(p, &axes[i]);
    }
    fputc(']', p->out);
}

// The word of an expression's node, its type when that is not f32, and what stands before its args.
static void print_expr_head(const printer *p, const tir_expr *e) {
    static const char *const words[] = {
        [TX_SCALAR] = "scalar", [TX_ACC] = "acc",         [TX_LOAD] = "load",
        [TX_INDEX] = "index",   [TX_CONVERT] = "convert", [TX_SELECT] = "select",
        [TX_SIZE] = "size",     [TX_SCALE] = "scale_of",
    };
    if (e->kind == TX_CONST) {
        print_double(p->out, e->value);
    } else if (e->kind == TX_UNARY || e->kind == TX_BINARY) {
        print_word(p->out, tir_op_word(e->op), (int)e->op);
    } else if (e->kind == TX_CALL) {
        fputs("call ", p->out);
        print_word(p->out, tir_builtin_word(e->builtin), (int)e->builtin);
    } else {
        fputs(e->kind == TX_REDUCE ? reduce_name(e->reduce) : words[e->kind], p->out);
    }
    if (e->type != ELEM_F32) {
        fputc(':', p->out);
        print_word(p->out, tir_enum_word(TEN_ELEM, (int)e->type), (int)e->type);
    }
}

static void print_expr(const printer *p, const tir_expr *e) {
    static const tir_ref_kind refs[] = {
        [TX_SCALAR] = TREF_PARAM, [TX_ACC] = TREF_ACC,  [TX_LOAD] = TREF_PARAM,
        [TX_INDEX] = TREF_AXIS,   [TX_SIZE] = TREF_DIM, [TX_REDUCE] = TREF_AXIS,
        [TX_SCALE] = TREF_PARAM,
    };
    print_expr_head(p, e);
    if (e->kind == TX_CONST) {
        return;
    }
    fputc('(', p->out);
    const char *comma = "";
    if (e->kind == TX_CONVERT) {
        print_word(p->out, tir_enum_word(TEN_ELEM, (int)e->elem), (int)e->elem);
        comma = ", ";
    } else if (e->kind == TX_SCALAR || e->kind == TX_ACC || tir_is_load(e) ||
               e->kind == TX_INDEX || e->kind == TX_SIZE || e->kind == TX_REDUCE) {
        print_ref(p, refs[e->kind], e->ref);
        comma = ", ";
    }
    if (tir_is_load(e)) {
        fputs(comma, p->out);
        print_axes(p, e->axes, e->n_axes);
    }
    for (int i = 0; i < e->n_args; i++) {
        fputs(comma, p->out);
        print_expr(p, e->args[i]);
        comma = ", ";
    }
    fputc(')', p->out);
}

static void print_coords(const printer *p, const tir_box *box) {
    bool known = box->map >= 0 && box->map < p->k->n_maps;
    int rank = known ? p->k->maps[box->map].rank : 5;
    fputc('[', p->out);
    for (int i = 0; i < rank && i < 5; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        print_coord(p, &box->coords[i]);
    }
    fputc(']', p->out);
}

static int at_int(const void *at) {
    int v;
    memcpy(&v, at, sizeof(v));
    return v;
}

// What the line leaves out: a value that the reader puts there by itself.
static bool is_left_out(const tir_field *f, const void *record, const void *at) {
    if (tir_is_needed(f)) {
        return false;
    }
    switch (f->kind) {
    case TFK_NAME:
        return *(const char *const *)at == NULL;
    case TFK_INT:
    case TFK_ENUM:
    case TFK_REF:
        return at_int(at) == f->dflt;
    case TFK_I64:
        return false;
    case TFK_FLAG:
        return !*(const bool *)at;
    case TFK_SIZE:
        return *(tir_size *const *)at == NULL;
    case TFK_EXPR:
        return *(tir_expr *const *)at == NULL;
    case TFK_SIZES:
    case TFK_AXES:
        return at_int((const char *)record + f->aux) == 0;
    case TFK_FIXED_SIZES:
        for (size_t i = 0; i < f->aux; i++) {
            if (((tir_size *const *)at)[i] != NULL) {
                return false;
            }
        }
        return true;
    case TFK_INTS:
        for (size_t i = 0; i < f->aux; i++) {
            if (((const int *)at)[i] != 0) {
                return false;
            }
        }
        return true;
    case TFK_COORDS:
        return false;
    }
    return false;
}

static void print_ints(FILE *out, const int *v, int n) {
    while (n > 0 && v[n - 1] == 0) {
        n--;
    }
    fputc('[', out);
    for (int i = 0; i < n; i++) {
        fprintf(out, "%s%d", i > 0 ? ", " : "", v[i]);
    }
    fputc(']', out);
}

static void print_fixed_sizes(const printer *p, tir_size *const *sizes, int n) {
    while (n > 0 && sizes[n - 1] == NULL) {
        n--;
    }
    print_sizes(p, sizes, n);
}

static void print_value(const printer *p, const tir_field *f, const void *record) {
    const void *at = (const char *)record + f->offset;
    switch (f->kind) {
    case TFK_NAME:
        print_string(p->out, *(const char *const *)at);
        break;
    case TFK_INT:
        fprintf(p->out, "%d", at_int(at));
        break;
    case TFK_I64:
        fprintf(p->out, "%lld", (long long)*(const int64_t *)at);
        break;
    case TFK_FLAG:
        break;
    case TFK_ENUM:
        print_word(p->out, tir_enum_word((tir_enum)f->aux, at_int(at)), at_int(at));
        break;
    case TFK_REF:
        print_ref(p, (tir_ref_kind)f->aux, at_int(at));
        break;
    case TFK_SIZE:
        print_size(p, *(tir_size *const *)at);
        break;
    case TFK_SIZES:
        print_sizes(p, *(tir_size **const *)at, at_int((const char *)record + f->aux));
        break;
    case TFK_FIXED_SIZES:
        print_fixed_sizes(p, (tir_size *const *)at, (int)f->aux);
        break;
    case TFK_EXPR:
        print_expr(p, *(tir_expr *const *)at);
        break;
    case TFK_AXES:
        print_axes(p, *(tir_axis *const *)at, at_int((const char *)record + f->aux));
        break;
    case TFK_INTS:
        print_ints(p->out, (const int *)at, (int)f->aux);
        break;
    case TFK_COORDS:
        print_coords(p, (const tir_box *)record);
        break;
    }
}

// The line of a record, without its end.
static void print_record(const printer *p, tir_record record, const char *word, const void *data) {
    fputs(word, p->out);
    for (int i = 0; i < tir_n_fields; i++) {
        const tir_field *f = &tir_fields[i];
        const void *at = (const char *)data + f->offset;
        if (f->record != record || is_left_out(f, data, at)) {
            continue;
        }
        fputc(' ', p->out);
        if (f->kind == TFK_FLAG) {
            fputs(f->name, p->out);
            continue;
        }
        if (f->kind != TFK_NAME || f->aux == 0) {
            fprintf(p->out, "%s=", f->name);
        }
        print_value(p, f, data);
    }
}

static void indent(const printer *p, int depth) {
    fprintf(p->out, "%*s", 4 * depth, "");
}

static void print_body(const printer *p, tir_stmt *const *body, int n, int depth) {
    for (int i = 0; i < n; i++) {
        const tir_stmt *s = body[i];
        const tir_stmt_info *info = &tir_stmts[s->kind];
        indent(p, depth);
        fputs(info->word, p->out);
        if (info->ref != TREF_COUNT) {
            fputc(' ', p->out);
            print_ref(p, info->ref, s->ref);
        }
        if (info->body) {
            fputs(" {\n", p->out);
            print_body(p, s->body, s->n_body, depth + 1);
            indent(p, depth);
            fputc('}', p->out);
        }
        fputc('\n', p->out);
    }
}

static void print_nested(const printer *p, tir_record record, const void *data) {
    if (record == TREC_channel && ((const tir_channel *)data)->n_boxes > 0) {
        const tir_channel *c = data;
        fputs(" {\n", p->out);
        for (int i = 0; i < c->n_boxes; i++) {
            indent(p, 2);
            print_record(p, TREC_box, "box", &c->boxes[i]);
            fputc('\n', p->out);
        }
        indent(p, 1);
        fputc('}', p->out);
    } else if (record == TREC_role) {
        const tir_role *r = data;
        fputs(" {\n", p->out);
        print_body(p, r->body, r->n_body, 2);
        indent(p, 1);
        fputc('}', p->out);
    }
    fputc('\n', p->out);
}

void tir_print(FILE *out, const tir_kernel *k) {
    printer p = {out, k, arena_new()};
    fprintf(out, "tir %d\n", TIR_VERSION);
    print_record(&p, TREC_kernel, "kernel", k);
    fputs(" {\n    ", out);
    print_record(&p, TREC_launch, "launch", k);
    fputs("\n    ", out);
    print_record(&p, TREC_walk, "walk", &k->walk);
    fputc('\n', out);
    for (int i = 0; i < tir_n_lists; i++) {
        const tir_list *l = &tir_lists[i];
        int n = at_int((const char *)k + l->count);
        const char *array;
        memcpy(&array, (const char *)k + l->array, sizeof(array));
        for (int j = 0; j < n; j++) {
            const void *data = array + (size_t)j * l->bytes;
            indent(&p, 1);
            print_record(&p, l->record, l->name, data);
            print_nested(&p, l->record, data);
        }
    }
    fputs("}\n", out);
    arena_free(p.mem);
}
