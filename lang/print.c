// The tree as source, in one canonical form (fp4c fmt).
//
// In: a parsed tree; whether it was checked does not matter. Out: text that parses to the same
// tree. Comments and single blank lines between statements are kept: before a construct is printed,
// the comments that stand before it in the source are; behind it, those on its last line.
#include "lang.h"
#include "std.h"

#include <math.h>
#include <string.h>

// --- expressions ---

typedef struct {
    const char *text;
    int precedence;
} op_row;

#define UNARY 12
#define POSTFIX 13

static const op_row ops[] = {
#define FP4_BINARY(id, token, text, precedence) [OP_##id] = {text, precedence},
#include "ops.def"
#undef FP4_BINARY
    [OP_NEG] = {"-", UNARY},
    [OP_NOT] = {"!", UNARY},
    [OP_BITNOT] = {"~", UNARY},
};

#define LOWEST 0
#define SIZE 9 // what stands between '<' and '>', and in dims

static void print_at(FILE *out, const ast_expr *e, int least);

static void print_list(FILE *out, ast_expr *const *args, int n) {
    for (int i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_at(out, args[i], LOWEST);
    }
}

// The shortest decimal that reads back as the same number.
static void print_float(FILE *out, double value) {
    if (isinf(value)) {
        fputs(value < 0 ? "-inf" : "inf", out);
        return;
    }
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = 0;
        if (sscanf(text, "%lf", &back) == 1 && back == value) {
            break;
        }
    }
    fputs(text, out);
    if (strpbrk(text, ".e") == NULL) {
        fputs(".0", out);
    }
}

static int precedence_of(const ast_expr *e) {
    switch (e->kind) {
    case EX_BINARY:
        return ops[e->op].precedence;
    case EX_UNARY:
        return UNARY;
    case EX_SELECT:
        return 1;
    default:
        return POSTFIX;
    }
}

static void print_bare(FILE *out, const ast_expr *e) {
    switch (e->kind) {
    case EX_INT:
        fprintf(out, "%lld", (long long)e->ivalue);
        break;
    case EX_FLOAT:
        print_float(out, e->fvalue);
        break;
    case EX_NAME:
        fputs(e->name, out);
        break;
    case EX_MEMBER:
        print_at(out, e->a, POSTFIX);
        fprintf(out, ".%s", e->name);
        break;
    case EX_UNARY:
        fputs(ops[e->op].text, out);
        print_at(out, e->a, UNARY);
        break;
    case EX_BINARY:
        print_at(out, e->a, ops[e->op].precedence);
        fprintf(out, " %s ", ops[e->op].text);
        print_at(out, e->b, ops[e->op].precedence + 1);
        break;
    case EX_CALL:
        print_at(out, e->a, POSTFIX);
        fputc('(', out);
        print_list(out, e->args, e->n_args);
        fputc(')', out);
        break;
    case EX_INDEX:
        print_at(out, e->a, POSTFIX);
        fputc('[', out);
        print_list(out, e->args, e->n_args);
        fputc(']', out);
        break;
    case EX_ALL:
        fputc(':', out);
        break;
    case EX_REDUCE:
        fprintf(out, "%s[%s](", reduce_name(e->reduce), e->index_name);
        print_at(out, e->a, LOWEST);
        fputc(')', out);
        break;
    case EX_ZERO:
        fprintf(out, "zero %s", e->name);
        if (e->n_args > 0) {
            fputc('[', out);
            print_list(out, e->args, e->n_args);
            fputc(']', out);
        }
        break;
    case EX_SELECT:
        print_at(out, e->args[0], 2);
        fputs(" ? ", out);
        print_at(out, e->a, 2);
        fputs(" : ", out);
        print_at(out, e->b, LOWEST);
        break;
    case EX_ERROR:
        fputs("<error>", out);
        break;
    }
}

// Prints e, in parentheses if its operator binds less tightly than 'least'.
static void print_at(FILE *out, const ast_expr *e, int least) {
    bool parens = precedence_of(e) < least;
    fputs(parens ? "(" : "", out);
    print_bare(out, e);
    fputs(parens ? ")" : "", out);
}

void ast_print_expr(FILE *out, const ast_expr *e) {
    print_at(out, e, LOWEST);
}

// --- lines, comments ---

typedef struct {
    FILE *out;
    const ast_file *file;
    const char *text;
    size_t len;
    int next_comment;
    uint32_t behind; // end of the source that was printed; blank lines after it are kept
    bool fresh;      // nothing was printed yet in this block: no blank line first
    int indent;
} printer;

static uint32_t span_end(ast_span s) {
    return s.off + s.len;
}

static void begin_line(printer *p) {
    for (int i = 0; i < p->indent * 4; i++) {
        fputc(' ', p->out);
    }
}

// Number of line ends between two places, 2 standing for more.
static int newlines(const printer *p, uint32_t from, uint32_t to) {
    int n = 0;
    for (uint32_t i = from; i < to && i < p->len && n < 2; i++) {
        n += p->text[i] == '\n';
    }
    return n;
}

static void blank_line(printer *p, uint32_t before) {
    if (!p->fresh && newlines(p, p->behind, before) >= 2) {
        fputc('\n', p->out);
    }
    p->fresh = false;
}

static void print_comment(printer *p, ast_span s) {
    size_t n = s.len;
    while (n > 0 && (p->text[s.off + n - 1] == ' ' || p->text[s.off + n - 1] == '\t')) {
        n--;
    }
    fwrite(p->text + s.off, 1, n, p->out);
    p->behind = span_end(s);
}

static bool has_comment(const printer *p) {
    return p->next_comment < p->file->n_comments;
}

static ast_span take_comment(printer *p) {
    return p->file->comments[p->next_comment++].span;
}

// Comments that stand before a construct, each on a line of its own.
static void comments_before(printer *p, uint32_t off) {
    while (has_comment(p) && p->file->comments[p->next_comment].span.off < off) {
        ast_span s = take_comment(p);
        blank_line(p, s.off);
        begin_line(p);
        print_comment(p, s);
        fputc('\n', p->out);
    }
    blank_line(p, off);
}

// Ends the line of a construct that ends at 'end', with the comments on its last source line that
// begin before 'limit'. The comments inside of it, if it is printed on one line, come here as well.
// A '//' comment ends the line; what is left over is printed before the next construct.
static void end_line_within(printer *p, uint32_t end, uint32_t limit) {
    const char *blanks = "  ";
    if (end > p->behind) {
        p->behind = end;
    }
    while (has_comment(p)) {
        ast_span s = p->file->comments[p->next_comment].span;
        if (s.off >= limit || (s.off >= end && newlines(p, end, s.off) > 0)) {
            break;
        }
        take_comment(p);
        fputs(blanks, p->out);
        print_comment(p, s);
        blanks = " ";
        end = end > span_end(s) ? end : span_end(s);
        p->behind = end;
        if (p->text[s.off + 1] == '/') {
            break;
        }
    }
    fputc('\n', p->out);
}

static void end_line(printer *p, uint32_t end) {
    end_line_within(p, end, UINT32_MAX);
}

static uint32_t past_semicolon(const printer *p, uint32_t off) {
    while (off < p->len && p->text[off] != ';' && p->text[off] != '\n') {
        off++;
    }
    return off < p->len && p->text[off] == ';' ? off + 1 : off;
}

// --- statements ---

static void print_stmt(printer *p, const ast_stmt *s);

static void print_body_lines(printer *p, ast_stmt *const *body, int n, ast_span span) {
    bool braces = p->text[span.off] == '{';
    p->indent++;
    p->fresh = true;
    p->behind = span.off + braces;
    for (int i = 0; i < n; i++) {
        print_stmt(p, body[i]);
    }
    if (braces && span.len > 0) {
        uint32_t close = span_end(span) - 1;
        while (has_comment(p) && p->file->comments[p->next_comment].span.off < close) {
            ast_span c = take_comment(p);
            blank_line(p, c.off);
            begin_line(p);
            print_comment(p, c);
            fputc('\n', p->out);
        }
    }
    p->fresh = false;
    p->indent--;
}

// A comment that begins in [from, to).
static bool comment_between(const printer *p, uint32_t from, uint32_t to) {
    for (int i = p->next_comment; i < p->file->n_comments; i++) {
        uint32_t off = p->file->comments[i].span.off;
        if (off >= from && off < to) {
            return true;
        }
    }
    return false;
}

// A body of one simple statement needs no braces, any other one has them. Comments inside of a pair
// of braces keep it.
static bool needs_braces(const printer *p, ast_stmt *const *body, int n, ast_span span) {
    if (n != 1 || body[0]->kind == ST_TILE || body[0]->kind == ST_FOR || body[0]->kind == ST_IF) {
        return true;
    }
    return p->text[span.off] == '{' && comment_between(p, span.off, span_end(span));
}

// Prints the body of a statement whose head was just printed. Returns true when the line of the
// closing brace is still open.
static bool print_body(printer *p, ast_stmt *const *body, int n, ast_span span) {
    bool braces = needs_braces(p, body, n, span);
    fputs(braces ? " {" : "", p->out);
    if (p->text[span.off] == '{') {
        end_line(p, span.off + 1);
    } else {
        end_line_within(p, span.off, span.off);
    }
    print_body_lines(p, body, n, span);
    if (braces) {
        begin_line(p);
        fputc('}', p->out);
    }
    p->behind = span_end(span);
    return braces;
}

static void print_loop(printer *p, const ast_sym *index) {
    fputs(index->name, p->out);
    if (index->tile != NULL) {
        fputc(':', p->out);
        print_at(p->out, index->tile, SIZE);
    }
    fputs(" of ", p->out);
    print_at(p->out, index->dim, SIZE);
    if (index->group_name != NULL) {
        fprintf(p->out, "[%s]", index->group_name);
    }
    if (index->lo != NULL) {
        fputs(index->at ? " at " : " in ", p->out);
        ast_print_expr(p->out, index->lo);
        if (!index->at) {
            fputs(" .. ", p->out);
            ast_print_expr(p->out, index->hi);
        }
    }
}

static void print_loops(printer *p, const char *word, const ast_stmt *s) {
    fprintf(p->out, "%s ", word);
    for (int i = 0; i < s->n_indices; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        print_loop(p, s->indices[i]);
    }
}

static void print_type(printer *p, const ast_sym *sym) {
    fputs(sym->type_name, p->out);
    if (sym->n_dims > 0) {
        fputc('[', p->out);
        for (int i = 0; i < sym->n_dims; i++) {
            fputs(i > 0 ? ", " : "", p->out);
            print_at(p->out, sym->dims[i], SIZE);
        }
        fputc(']', p->out);
    }
    if (sym->layout != NULL) {
        fprintf(p->out, " @ %s", sym->layout);
    }
    fputs(sym->shared ? " shared" : "", p->out);
}

// 'else if': an else branch of one 'if', with no comment beside it.
static bool is_else_if(const printer *p, const ast_stmt *s) {
    if (s->n_orelse != 1 || s->orelse[0]->kind != ST_IF) {
        return false;
    }
    ast_span inner = s->orelse[0]->span;
    return !comment_between(p, s->orelse_span.off, inner.off) &&
           !comment_between(p, span_end(inner), span_end(s->orelse_span));
}

static void print_if(printer *p, const ast_stmt *s) {
    fputs("if ", p->out);
    ast_print_expr(p->out, s->value);
    bool open = print_body(p, s->body, s->n_body, s->body_span);
    if (s->n_orelse == 0 && s->orelse_span.len == 0) {
        return;
    }
    if (open) {
        fputc(' ', p->out);
    } else {
        begin_line(p);
    }
    fputs("else", p->out);
    if (is_else_if(p, s)) {
        fputc(' ', p->out);
        print_if(p, s->orelse[0]);
        return;
    }
    print_body(p, s->orelse, s->n_orelse, s->orelse_span);
}

static void print_ragged(printer *p, const ast_stmt *s) {
    fprintf(p->out, "ragged %s by ", s->name);
    print_at(p->out, s->ragged->by, SIZE);
    fputs(s->ragged->to ? " to " : " at ", p->out);
    ast_print_expr(p->out, s->ragged->at);
    if (s->ragged->align != NULL) {
        fputs(" align ", p->out);
        print_at(p->out, s->ragged->align, SIZE);
    }
}

// Statements that end with ';'.
static void print_simple(printer *p, const ast_stmt *s) {
    switch (s->kind) {
    case ST_ALL:
        print_loops(p, "all", s);
        break;
    case ST_RAGGED:
        print_ragged(p, s);
        break;
    case ST_TEMP:
        fprintf(p->out, "temp %s : ", s->sym->name);
        print_type(p, s->sym);
        break;
    case ST_LET:
        fprintf(p->out, "let %s = ", s->sym->name);
        ast_print_expr(p->out, s->value);
        break;
    case ST_MEET:
        fprintf(p->out, "meet %s", s->name);
        break;
    default:
        ast_print_expr(p->out, s->target);
        fputs(s->accumulate ? " += " : " = ", p->out);
        ast_print_expr(p->out, s->value);
        break;
    }
    fputc(';', p->out);
}

static bool ends_with_brace(const printer *p, const ast_stmt *s) {
    bool has_else = s->kind == ST_IF && s->orelse_span.len > 0;
    if (has_else && is_else_if(p, s)) {
        return ends_with_brace(p, s->orelse[0]);
    }
    return has_else ? needs_braces(p, s->orelse, s->n_orelse, s->orelse_span)
                    : needs_braces(p, s->body, s->n_body, s->body_span);
}

static void print_stmt(printer *p, const ast_stmt *s) {
    comments_before(p, s->span.off);
    begin_line(p);
    bool open = true;
    if (s->kind == ST_TILE || s->kind == ST_FOR) {
        print_loops(p, s->kind == ST_TILE ? "tile" : "for", s);
        open = print_body(p, s->body, s->n_body, s->body_span);
    } else if (s->kind == ST_IF) {
        open = ends_with_brace(p, s);
        print_if(p, s);
    } else {
        print_simple(p, s);
    }
    if (open) {
        end_line(p, span_end(s->span));
    }
}

// --- declarations ---

static void print_params(printer *p, const ast_kernel *k) {
    static const char *const modes[] = {[MODE_IN] = "",
                                        [MODE_OUT] = "out ",
                                        [MODE_INOUT] = "inout ",
                                        [MODE_CONST] = "const ",
                                        [MODE_TEMP] = "temp "};
    size_t width = 0;
    for (int i = 0; i < k->n_params; i++) {
        size_t n = strlen(k->params[i]->name);
        width = n > width ? n : width;
    }
    p->indent++;
    p->fresh = true;
    for (int i = 0; i < k->n_params; i++) {
        const ast_sym *sym = k->params[i];
        comments_before(p, sym->decl_span.off);
        begin_line(p);
        fprintf(p->out, "%-*s : %s", (int)width, sym->name, modes[sym->mode]);
        print_type(p, sym);
        if (sym->init != NULL) {
            fputs(" = ", p->out);
            ast_print_expr(p->out, sym->init);
        }
        uint32_t end = span_end(sym->decl_span);
        bool last = i + 1 == k->n_params;
        fputs(last ? ")" : ",", p->out);
        uint32_t line_end = end; // past the ',' or ')', whatever blanks stand before it
        while (line_end < p->len && p->text[line_end] != ',' && p->text[line_end] != ')' &&
               p->text[line_end] != '\n' && p->text[line_end] != '/') {
            line_end++;
        }
        end_line(p, line_end < p->len && (p->text[line_end] == ',' || p->text[line_end] == ')')
                        ? line_end + 1
                        : end);
    }
    p->indent--;
}

static void print_kernel(printer *p, const ast_kernel *k) {
    fprintf(p->out, "kernel %s", k->name);
    for (int i = 0; i < k->n_tparams; i++) {
        fprintf(p->out, "%s%s", i == 0 ? "<" : ", ", k->tparams[i]->name);
        if (k->tparams[i]->init != NULL) {
            fputs(" = ", p->out);
            print_at(p->out, k->tparams[i]->init, SIZE);
        }
    }
    fputs(k->n_tparams > 0 ? ">(" : "(", p->out);
    end_line(p, k->name_span.off);
    print_params(p, k);
    for (int i = 0; i < k->n_where_written; i++) {
        fputs(i == 0 ? "where " : ", ", p->out);
        ast_print_expr(p->out, k->where[i]);
    }
    if (k->n_where_written > 0) {
        end_line(p, span_end(k->where[k->n_where_written - 1]->span));
    }
    p->fresh = true;
    comments_before(p, k->body_span.off);
    fputc('{', p->out);
    end_line(p, k->body_span.off + 1);
    print_body_lines(p, k->body, k->n_body, k->body_span);
    fputc('}', p->out);
}

static void print_fact(printer *p, const ast_fact *fact, const char *text) {
    comments_before(p, fact->span.off);
    begin_line(p);
    fprintf(p->out, "%s;", text);
    end_line(p, past_semicolon(p, span_end(fact->span)));
}

static void print_schedule(printer *p, const ast_schedule *s) {
    fprintf(p->out, "schedule %s on %s", s->kernel_name, s->arch);
    if (s->when != NULL) {
        fputs(" when ", p->out);
        ast_print_expr(p->out, s->when);
    }
    for (int i = 0; i < s->n_with; i++) {
        fprintf(p->out, "%s%s = ", i == 0 ? " with " : ", ", s->with[i].name);
        print_at(p->out, s->with[i].value, SIZE);
    }
    fputs(" {", p->out);
    end_line(p, span_end(s->head_span));
    p->indent++;
    p->fresh = true;
    const char **texts = ast_fact_texts(p->file, s);
    for (int i = 0; i < s->n_facts; i++) {
        print_fact(p, &s->facts[i], texts[i]);
    }
    uint32_t close = span_end(s->span) - 1;
    while (has_comment(p) && p->file->comments[p->next_comment].span.off < close) {
        ast_span c = take_comment(p);
        blank_line(p, c.off);
        begin_line(p);
        print_comment(p, c);
        fputc('\n', p->out);
    }
    p->indent--;
    fputc('}', p->out);
}

static void print_format(printer *p, const ast_sym *sym) {
    const ast_format *f = sym->fmt;
    fprintf(p->out, "format %s = %s", sym->name, elem_name(f->elem));
    if (f->scale != ELEM_NONE) {
        fprintf(p->out, " * %s per [", elem_name(f->scale));
        for (int i = 0; i < f->n_granule; i++) {
            fprintf(p->out, "%s%lld", i > 0 ? ", " : "", (long long)f->granule[i]);
        }
        fputc(']', p->out);
    }
    if (f->layout != NULL) {
        fprintf(p->out, " @ %s", f->layout);
    }
    fputc(';', p->out);
}

static void print_sym(printer *p, const ast_sym *sym) {
    if (sym->kind == SYM_FORMAT) {
        print_format(p, sym);
        return;
    }
    fprintf(p->out, "%s %s", sym->kind == SYM_FN ? "fn" : "const", sym->name);
    for (int i = 0; i < sym->n_args; i++) {
        fprintf(p->out, "%s%s", i == 0 ? "(" : ", ", sym->args[i]->name);
    }
    if (sym->kind == SYM_FN) {
        fputs(sym->n_args == 0 ? "()" : ")", p->out);
    }
    fputs(" = ", p->out);
    ast_print_expr(p->out, sym->init);
    fputc(';', p->out);
}

// The declarations of a file in the order of their places: the four lists are sorted already.
typedef struct {
    int use, sym, kernel, schedule;
} cursor;

static bool is_own_decl(const ast_sym *sym) {
    return sym->span.file == 0 && sym->kind != SYM_MODULE;
}

// Prints the declaration that comes next; false when there is none.
static bool print_next(printer *p, cursor *at) {
    const ast_file *f = p->file;
    while (at->sym < f->n_syms && !is_own_decl(f->syms[at->sym])) {
        at->sym++;
    }
    ast_span spans[4];
    bool have[4] = {at->use < f->n_uses, at->sym < f->n_syms, at->kernel < f->n_kernels,
                    at->schedule < f->n_schedules};
    spans[0] = have[0] ? f->uses[at->use].span : (ast_span){0};
    spans[1] = have[1] ? f->syms[at->sym]->decl_span : (ast_span){0};
    spans[2] = have[2] ? f->kernels[at->kernel]->span : (ast_span){0};
    spans[3] = have[3] ? f->schedules[at->schedule]->span : (ast_span){0};
    int first = -1;
    for (int i = 0; i < 4; i++) {
        if (have[i] && (first < 0 || spans[i].off < spans[first].off)) {
            first = i;
        }
    }
    if (first < 0) {
        return false;
    }
    comments_before(p, spans[first].off);
    if (first == 0) {
        fprintf(p->out, "use %s;", f->uses[at->use++].path);
    } else if (first == 1) {
        print_sym(p, f->syms[at->sym++]);
    } else if (first == 2) {
        print_kernel(p, f->kernels[at->kernel++]);
    } else {
        print_schedule(p, f->schedules[at->schedule++]);
    }
    end_line(p, span_end(spans[first]));
    return true;
}

void ast_print_file(FILE *out, const ast_file *file) {
    printer p = {.out = out, .file = file, .fresh = true};
    p.text = src_text(file->src, 0, &p.len);
    cursor at = {0};
    while (print_next(&p, &at)) {
    }
    comments_before(&p, (uint32_t)p.len + 1);
}
