// The checked tree as text (--emit=ast): every symbol, every statement, and for expressions their
// types and axes. For people and for golden tests; nothing reads it back.
#include "lang.h"
#include "std.h"

typedef struct {
    FILE *out;
    int indent;
} dumper;

static const char *const modes[] = {
    [MODE_IN] = "in",       [MODE_OUT] = "out",   [MODE_INOUT] = "inout",
    [MODE_CONST] = "const", [MODE_TEMP] = "temp",
};

static void line(dumper *p, const char *word) {
    fprintf(p->out, "%*s%s", p->indent * 2, "", word);
}

static void dump_names(dumper *p, ast_sym *const *syms, int n) {
    for (int i = 0; i < n; i++) {
        fprintf(p->out, "%s%s", i > 0 ? ", " : "", syms[i]->name);
    }
}

// "f32 over m, n, ':' K"
static void dump_type(dumper *p, const ast_expr *e) {
    if (e->record != NULL && e->type == NULL) {
        fprintf(p->out, "record %s", e->record->name);
        return;
    }
    fputs(e->type == NULL ? "untyped" : e->type->name, p->out);
    if (e->n_axes > 0) {
        fputs(" over ", p->out);
        dump_names(p, e->axes, e->n_axes);
    }
    if (e->paired != NULL) {
        fprintf(p->out, ", pairs of %s", e->paired->name);
    }
    for (int i = 0; i < e->n_whole; i++) {
        fputs(", whole ", p->out);
        ast_print_expr(p->out, e->whole[i]);
    }
    if (e->is_const && e->type != NULL && elem_is_float(e->type->elem)) {
        fprintf(p->out, " = %.9g", e->fvalue);
    } else if (e->is_const) {
        fprintf(p->out, " = %lld", (long long)e->ivalue);
    }
}

static void dump_expr(dumper *p, const char *role, const ast_expr *e);

static const char *call_word(const ast_expr *e) {
    static const char *const words[] = {[CALL_FN] = "call fn",
                                        [CALL_BUILTIN] = "call builtin",
                                        [CALL_CONVERT] = "convert",
                                        [CALL_PEER] = "peer",
                                        [CALL_MODULE] = "call module"};
    return words[e->call];
}

static void dump_children(dumper *p, const ast_expr *e) {
    p->indent++;
    if (e->kind == EX_SELECT) {
        dump_expr(p, "if", e->args[0]);
    }
    if (e->a != NULL && e->kind != EX_CALL && e->kind != EX_MEMBER && e->kind != EX_INDEX) {
        dump_expr(p, "a", e->a);
    }
    if (e->b != NULL) {
        dump_expr(p, "b", e->b);
    }
    if (e->kind == EX_CALL && e->call != CALL_MODULE && e->call != CALL_PEER) {
        for (int i = 0; i < e->n_args; i++) {
            dump_expr(p, "arg", e->args[i]);
        }
    }
    p->indent--;
}

static void dump_expr(dumper *p, const char *role, const ast_expr *e) {
    line(p, role);
    fputc(' ', p->out);
    if (e->kind == EX_CALL) {
        fprintf(p->out, "%s ", call_word(e));
    }
    ast_print_expr(p->out, e);
    fputs(" : ", p->out);
    dump_type(p, e);
    fputc('\n', p->out);
    dump_children(p, e);
}

static void dump_format(dumper *p, const ast_format *f) {
    fputs(f->name, p->out);
    if (f->scale == ELEM_NONE) {
        return;
    }
    fprintf(p->out, " (%s * %s per [", elem_name(f->elem), elem_name(f->scale));
    for (int i = 0; i < f->n_granule; i++) {
        fprintf(p->out, "%s%lld", i > 0 ? ", " : "", (long long)f->granule[i]);
    }
    fprintf(p->out, "]%s%s)", f->layout == NULL ? "" : " @ ", f->layout == NULL ? "" : f->layout);
}

static void dump_tensor(dumper *p, const char *word, const ast_sym *sym) {
    line(p, word);
    fprintf(p->out, " %d %s %s ", sym->id, sym->name, modes[sym->mode]);
    dump_format(p, sym->format);
    for (int i = 0; i < sym->n_dims; i++) {
        fputs(i == 0 ? " [" : ", ", p->out);
        ast_print_expr(p->out, sym->dims[i]);
    }
    fprintf(p->out, "%s%s\n", sym->n_dims > 0 ? "]" : "", sym->shared ? " shared" : "");
}

static void dump_index(dumper *p, const ast_sym *sym) {
    static const char *const walks[] = {
        [WALK_TILE] = "tile", [WALK_FOR] = "for", [WALK_ALL] = "all"};
    line(p, "index");
    fprintf(p->out, " %d %s %s of ", sym->id, sym->name, walks[sym->walk]);
    ast_print_expr(p->out, sym->dim);
    if (sym->tile != NULL) {
        fputs(" by ", p->out);
        ast_print_expr(p->out, sym->tile);
    }
    if (sym->group != NULL) {
        fprintf(p->out, " in group %s", sym->group->name);
    }
    fputc('\n', p->out);
    if (sym->lo != NULL) {
        p->indent++;
        dump_expr(p, sym->at ? "at" : "from", sym->lo);
        if (!sym->at) {
            dump_expr(p, "to", sym->hi);
        }
        p->indent--;
    }
}

static void dump_body(dumper *p, ast_stmt *const *body, int n);

static void dump_assign(dumper *p, const ast_stmt *s) {
    line(p, s->accumulate ? "add" : "assign");
    if (s->n_contracted > 0) {
        fputs(" summed over ", p->out);
        dump_names(p, s->contracted, s->n_contracted);
    }
    fputc('\n', p->out);
    p->indent++;
    dump_expr(p, "target", s->target);
    dump_expr(p, "value", s->value);
    p->indent--;
}

static void dump_loop(dumper *p, const ast_stmt *s) {
    line(p, s->kind == ST_TILE ? "tile\n" : s->kind == ST_FOR ? "for\n" : "all\n");
    p->indent++;
    for (int i = 0; i < s->n_indices; i++) {
        dump_index(p, s->indices[i]);
    }
    dump_body(p, s->body, s->n_body);
    p->indent--;
}

static void dump_if(dumper *p, const ast_stmt *s) {
    dump_expr(p, "if", s->value);
    p->indent++;
    dump_body(p, s->body, s->n_body);
    p->indent--;
    if (s->n_orelse > 0) {
        line(p, "else\n");
        p->indent++;
        dump_body(p, s->orelse, s->n_orelse);
        p->indent--;
    }
}

static void dump_stmt(dumper *p, const ast_stmt *s) {
    switch (s->kind) {
    case ST_TILE:
    case ST_FOR:
    case ST_ALL:
        dump_loop(p, s);
        break;
    case ST_RAGGED:
        line(p, "ragged");
        fprintf(p->out, " %s by ", s->ragged->dim->name);
        ast_print_expr(p->out, s->ragged->by);
        fputs(s->ragged->to ? " to " : " at ", p->out);
        ast_print_expr(p->out, s->ragged->at);
        if (s->ragged->align != NULL) {
            fputs(" align ", p->out);
            ast_print_expr(p->out, s->ragged->align);
        }
        fputc('\n', p->out);
        break;
    case ST_TEMP:
        dump_tensor(p, "temp", s->sym);
        break;
    case ST_LET:
        line(p, s->sym->is_acc ? "accumulator" : "let");
        fprintf(p->out, " %d %s\n", s->sym->id, s->sym->name);
        p->indent++;
        dump_expr(p, "value", s->value);
        p->indent--;
        break;
    case ST_IF:
        dump_if(p, s);
        break;
    case ST_MEET:
        line(p, "meet ");
        fprintf(p->out, "%s\n", s->name);
        break;
    case ST_ASSIGN:
        dump_assign(p, s);
        break;
    }
}

static void dump_body(dumper *p, ast_stmt *const *body, int n) {
    for (int i = 0; i < n; i++) {
        dump_stmt(p, body[i]);
    }
}

static void dump_kernel(dumper *p, const ast_kernel *k) {
    line(p, "kernel ");
    fprintf(p->out, "%s\n", k->name);
    p->indent++;
    for (int i = 0; i < k->n_tparams; i++) {
        line(p, "tparam");
        fprintf(p->out, " %d %s = %lld\n", i, k->tparams[i]->name,
                (long long)k->tparams[i]->ivalue);
    }
    for (int i = 0; i < k->n_dims; i++) {
        line(p, "dim");
        fprintf(p->out, " %d %s\n", i, k->dims[i]->name);
    }
    for (int i = 0; i < k->n_params; i++) {
        dump_tensor(p, "param", k->params[i]);
    }
    for (int i = 0; i < k->n_where; i++) {
        line(p, i < k->n_where_written ? "where " : "where (implied) ");
        ast_print_expr(p->out, k->where[i]);
        fputc('\n', p->out);
    }
    dump_body(p, k->body, k->n_body);
    p->indent--;
}

static void dump_schedule(dumper *p, const ast_schedule *s) {
    for (int i = 0; i < s->n_variants; i++) {
        dump_schedule(p, s->variants[i]);
    }
    if (s->n_variants > 0) {
        return;
    }
    line(p, "schedule ");
    fprintf(p->out, "%s on %s\n", s->kernel_name, s->arch);
    p->indent++;
    if (s->when != NULL) {
        dump_expr(p, "when", s->when);
    }
    for (int i = 0; i < s->n_with; i++) {
        line(p, "with");
        fprintf(p->out, " %s = ", s->with[i].name);
        ast_print_expr(p->out, s->with[i].value);
        fputc('\n', p->out);
    }
    for (int i = 0; i < s->n_facts; i++) {
        line(p, "fact");
        for (int t = 0; t < s->facts[i].n_toks; t++) {
            fprintf(p->out, " %s", s->facts[i].toks[t].text);
        }
        fputc('\n', p->out);
    }
    p->indent--;
}

static void dump_sym(dumper *p, const ast_sym *sym) {
    switch (sym->kind) {
    case SYM_FORMAT:
        line(p, "format ");
        dump_format(p, sym->fmt);
        fputc('\n', p->out);
        break;
    case SYM_CONST:
    case SYM_FN:
        line(p, sym->kind == SYM_FN ? "fn " : "const ");
        dump_expr(p, sym->name, sym->init);
        break;
    default:
        line(p, "module ");
        fprintf(p->out, "%s\n", sym->name);
        break;
    }
}

void ast_dump(FILE *out, const ast_file *file) {
    dumper p = {.out = out};
    for (int i = 0; i < file->n_syms; i++) {
        if (file->syms[i]->span.file == 0) { // what the file itself declares
            dump_sym(&p, file->syms[i]);
        }
    }
    for (int i = 0; i < file->n_kernels; i++) {
        dump_kernel(&p, file->kernels[i]);
    }
    for (int i = 0; i < file->n_schedules; i++) {
        dump_schedule(&p, file->schedules[i]);
    }
}
