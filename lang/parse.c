// The parser: tokens and declarations. Recursive descent; the rule of the grammar stands above the
// function that reads it.
//
// In: the text of file 0 and of the files that it uses. Out: an ast_file with the syntactic fields
// filled. After a mistake the parser goes on behind the next ';' or '}', so that one run finds the
// mistakes of the whole file; a kernel with syntax errors is marked and not checked.
#include "parse.h"
#include "std.h"

#include <stdlib.h>
#include <string.h>

void ptr_add(arena *mem, ptr_list *list, void *item) {
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        void **more = ARENA_ARRAY(mem, void *, list->cap);
        if (list->n > 0) {
            memcpy(more, list->items, sizeof *more * (size_t)list->n);
        }
        list->items = more;
    }
    list->items[list->n++] = item;
}

// --- tokens ---

const token *ps_peek(const parser *ps) {
    return &ps->in.tokens[ps->pos];
}

const token *ps_peek_at(const parser *ps, int ahead) {
    int i = ps->pos + ahead;
    return &ps->in.tokens[i < ps->in.n_tokens ? i : ps->in.n_tokens - 1];
}

bool ps_at(const parser *ps, tok_kind kind) {
    return ps_peek(ps)->kind == kind;
}

bool ps_at_word(const parser *ps, const char *word) {
    const token *t = ps_peek(ps);
    return t->kind == TOK_NAME && t->span.len == strlen(word) &&
           memcmp(ps->text + t->span.off, word, t->span.len) == 0;
}

const token *ps_next(parser *ps) {
    const token *t = ps_peek(ps);
    if (t->kind != TOK_EOF) {
        ps->pos++;
    }
    return t;
}

bool ps_accept(parser *ps, tok_kind kind) {
    if (!ps_at(ps, kind)) {
        return false;
    }
    ps_next(ps);
    return true;
}

bool ps_accept_word(parser *ps, const char *word) {
    if (!ps_at_word(ps, word)) {
        return false;
    }
    ps_next(ps);
    return true;
}

const char *ps_spelling(const parser *ps, const token *t) {
    return arena_strndup(ps->mem, ps->text + t->span.off, t->span.len);
}

// Reports that 'expected' is not what comes next.
static void report_expected(parser *ps, const char *expected, const char *where) {
    const token *t = ps_peek(ps);
    if (ps->bad) {
        return;
    }
    ps->bad = true;
    ps->failures++;
    if (t->kind == TOK_BAD) {
        return; // the lexer has reported it
    }
    const char *blank = where[0] == '\0' ? "" : " ";
    if (t->kind == TOK_EOF) {
        diag_report(ps->d, DIAG_ERROR, "P101", t->span,
                    "expected %s%s%s, found the end of the file", expected, blank, where);
    } else {
        diag_report(ps->d, DIAG_ERROR, "P101", t->span, "expected %s%s%s, found '%s'", expected,
                    blank, where, ps_spelling(ps, t));
    }
}

void ps_fail(parser *ps, const char *expected) {
    report_expected(ps, expected, "");
}

bool ps_expect(parser *ps, tok_kind kind, const char *where) {
    if (ps->bad) {
        return false;
    }
    if (ps_accept(ps, kind)) {
        return true;
    }
    ast_span behind = ps->pos > 0 ? ps->in.tokens[ps->pos - 1].span : ps_peek(ps)->span;
    bool next_line = ps_peek(ps)->line_start || ps_at(ps, TOK_EOF);
    report_expected(ps, tok_name(kind), where);
    if (kind == TOK_SEMI && next_line && ps_peek(ps)->kind != TOK_BAD) {
        behind.off += behind.len;
        behind.len = 0;
        diag_fix(ps->d, behind, ";", "end the line before with");
    }
    return false;
}

bool ps_expect_word(parser *ps, const char *word, const char *where) {
    if (!ps->bad && ps_accept_word(ps, word)) {
        return true;
    }
    report_expected(ps, arena_printf(ps->mem, "'%s'", word), where);
    return false;
}

const char *ps_name(parser *ps, const char *what, ast_span *span) {
    const token *t = ps_peek(ps);
    *span = t->span;
    if (ps->bad) {
        return NULL;
    }
    if (t->kind == TOK_NAME) {
        ps_next(ps);
        return ps_spelling(ps, t);
    }
    if (tok_is_keyword(t->kind)) {
        diag_report(ps->d, DIAG_ERROR, "P107", t->span,
                    "expected %s, but '%s' is a word of the language", what, ps_spelling(ps, t));
        ps->bad = true;
        return NULL;
    }
    ps_fail(ps, what);
    return NULL;
}

ast_span ps_since(const parser *ps, ast_span begin) {
    if (ps->pos > 0) {
        ast_span last = ps->in.tokens[ps->pos - 1].span;
        if (last.off + last.len > begin.off) {
            begin.len = last.off + last.len - begin.off;
        }
    }
    return begin;
}

static bool at_declaration(const parser *ps) {
    const token *t = ps_peek(ps);
    return t->line_start && t->kind >= TOK_USE && t->kind <= TOK_SCHEDULE; // ORDER tokens.def
}

// A line that begins with a word of a statement begins a statement.
static bool at_statement(const parser *ps) {
    const token *t = ps_peek(ps);
    return t->line_start && t->kind >= TOK_TILE && t->kind <= TOK_MEET && // ORDER tokens.def
           t->kind != TOK_ELSE;
}

void ps_recover(parser *ps) {
    int braces = 0;
    for (; !ps_at(ps, TOK_EOF); ps_next(ps)) {
        if (at_declaration(ps) || (braces == 0 && at_statement(ps))) {
            break;
        }
        if (ps_at(ps, TOK_RBRACE)) {
            if (braces == 0) {
                break;
            }
            if (--braces == 0) {
                ps_next(ps);
                break;
            }
        }
        braces += ps_at(ps, TOK_LBRACE);
        if (braces == 0 && ps_accept(ps, TOK_SEMI)) {
            break;
        }
    }
    ps->bad = false;
}

bool ps_enter(parser *ps) {
    if (ps->depth >= PARSE_MAX_DEPTH) {
        if (!ps->bad && !ps->too_deep) {
            diag_report(ps->d, DIAG_ERROR, "P106", ps_peek(ps)->span,
                        "nested more than %d levels deep", PARSE_MAX_DEPTH);
            ps->too_deep = true;
        }
        ps->bad = true;
        return false;
    }
    ps->depth++;
    return true;
}

void ps_leave(parser *ps) {
    ps->depth--;
    ps->too_deep = ps->too_deep && ps->depth > 0;
}

// --- declarations ---

ast_sym *sym_new(parser *ps, sym_kind kind, const char *name, ast_span span) {
    ast_sym *sym = ARENA_NEW(ps->mem, ast_sym);
    sym->kind = kind;
    sym->name = name;
    sym->span = span;
    sym->decl_span = span;
    return sym;
}

typedef struct {
    ptr_list syms, kernels, schedules, uses;
    ptr_list loaded; // paths of the used files, each read once
} collected;

// type = NAME [ "[" dim {"," dim} "]" ] [ "@" NAME ] .
void parse_type(parser *ps, ast_sym *sym) {
    sym->type_name = ps_name(ps, "a type", &sym->type_span);
    ptr_list dims = {0};
    if (!ps->bad && ps_accept(ps, TOK_LBRACKET)) {
        do {
            ptr_add(ps->mem, &dims, parse_size(ps));
        } while (!ps->bad && ps_accept(ps, TOK_COMMA));
        ps_expect(ps, TOK_RBRACKET, "behind the dimensions");
    }
    sym->n_dims = dims.n;
    sym->dims = (ast_expr **)dims.items;
    ast_span span;
    if (!ps->bad && ps_accept(ps, TOK_AT)) {
        sym->layout = ps_name(ps, "a layout", &span);
    }
}

static param_mode parse_mode(parser *ps) {
    if (ps_accept(ps, TOK_OUT)) {
        return MODE_OUT;
    }
    if (ps_accept(ps, TOK_INOUT)) {
        return MODE_INOUT;
    }
    if (ps_accept(ps, TOK_CONST)) {
        return MODE_CONST;
    }
    return ps_accept(ps, TOK_TEMP) ? MODE_TEMP : MODE_IN;
}

// param = NAME ":" [ "out" | "inout" | "const" | "temp" ] type [ "shared" ] [ "=" expr ] .
static ast_sym *parse_param(parser *ps) {
    ast_span span;
    const char *name = ps_name(ps, "a parameter", &span);
    if (name == NULL) {
        return NULL;
    }
    ast_sym *sym = sym_new(ps, SYM_PARAM, name, span);
    ps_expect(ps, TOK_COLON, "and the type of the parameter");
    if (!ps->bad) {
        sym->mode = parse_mode(ps);
    }
    parse_type(ps, sym);
    sym->shared = !ps->bad && ps_accept_word(ps, "shared");
    if (!ps->bad && ps_accept(ps, TOK_ASSIGN)) {
        sym->init = parse_expr(ps);
    }
    sym->decl_span = ps_since(ps, span);
    return sym;
}

// tparams = "<" NAME [ "=" size ] {"," NAME [ "=" size ]} ">" .
static void parse_tparams(parser *ps, ast_kernel *k) {
    ptr_list list = {0};
    do {
        ast_span span;
        const char *name = ps_name(ps, "a compile-time parameter", &span);
        if (name == NULL) {
            break;
        }
        ast_sym *sym = sym_new(ps, SYM_TPARAM, name, span);
        if (ps_accept(ps, TOK_ASSIGN)) {
            sym->init = parse_size(ps);
        }
        sym->decl_span = ps_since(ps, span);
        ptr_add(ps->mem, &list, sym);
    } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    ps_expect(ps, TOK_GT, "behind the compile-time parameters");
    k->n_tparams = list.n;
    k->tparams = (ast_sym **)list.items;
}

static void parse_params(parser *ps, ast_kernel *k) {
    ptr_list list = {0};
    ps_expect(ps, TOK_LPAREN, "before the parameters");
    while (!ps->bad) {
        ast_sym *sym = parse_param(ps);
        if (sym != NULL) {
            ptr_add(ps->mem, &list, sym);
        }
        if (ps->bad) { // go on with the next parameter
            while (!ps_at(ps, TOK_COMMA) && !ps_at(ps, TOK_RPAREN) && !ps_at(ps, TOK_LBRACE) &&
                   !ps_at(ps, TOK_EOF) && !at_declaration(ps)) {
                ps_next(ps);
            }
            ps->bad = !ps_at(ps, TOK_COMMA) && !ps_at(ps, TOK_RPAREN);
        }
        if (!ps_accept(ps, TOK_COMMA)) {
            break;
        }
    }
    ps_expect(ps, TOK_RPAREN, "behind the parameters");
    k->n_params = list.n;
    k->params = (ast_sym **)list.items;
}

// kernel = "kernel" NAME [ tparams ] "(" param {"," param} ")" [ "where" expr {"," expr} ] block .
static ast_kernel *parse_kernel(parser *ps) {
    ast_kernel *k = ARENA_NEW(ps->mem, ast_kernel);
    ast_span begin = ps_next(ps)->span;
    int errors = diag_n_errors(ps->d);
    int failures = ps->failures;
    k->name = ps_name(ps, "the name of a kernel", &k->name_span);
    if (!ps->bad && ps_accept(ps, TOK_LT)) {
        parse_tparams(ps, k);
    }
    if (!ps->bad) {
        parse_params(ps, k);
    }
    if (!ps->bad && ps_accept(ps, TOK_WHERE)) {
        ptr_list list = {0};
        do {
            ptr_add(ps->mem, &list, parse_expr(ps));
        } while (!ps->bad && ps_accept(ps, TOK_COMMA));
        k->n_where = list.n;
        k->n_where_written = list.n;
        k->where = (ast_expr **)list.items;
    }
    while (ps->bad && !ps_at(ps, TOK_LBRACE) && !ps_at(ps, TOK_EOF) && !at_declaration(ps)) {
        ps_next(ps); // read the body of a kernel with a broken head all the same
    }
    ps->bad = ps->bad && !ps_at(ps, TOK_LBRACE);
    if (!ps->bad) {
        k->body = parse_block(ps, &k->n_body, &k->body_span);
    }
    k->is_bad = diag_n_errors(ps->d) > errors || ps->failures > failures || k->name == NULL;
    k->span = ps_since(ps, begin);
    return k;
}

// const = "const" NAME "=" expr ";" .
static ast_sym *parse_const(parser *ps) {
    ast_span begin = ps_next(ps)->span;
    ast_span span;
    const char *name = ps_name(ps, "the name of a constant", &span);
    ast_sym *sym = sym_new(ps, SYM_CONST, name, span);
    ps_expect(ps, TOK_ASSIGN, "before the value of a constant");
    sym->init = parse_expr(ps);
    ps_expect(ps, TOK_SEMI, "behind the constant");
    sym->decl_span = ps_since(ps, begin);
    return sym;
}

// fn = "fn" NAME "(" names ")" "=" expr ";" .
static ast_sym *parse_fn(parser *ps) {
    ast_span begin = ps_next(ps)->span;
    ast_span span;
    const char *name = ps_name(ps, "the name of a function", &span);
    ast_sym *sym = sym_new(ps, SYM_FN, name, span);
    ps_expect(ps, TOK_LPAREN, "before the arguments");
    ptr_list args = {0};
    if (!ps->bad && !ps_at(ps, TOK_RPAREN)) {
        do {
            ast_span at;
            const char *arg = ps_name(ps, "an argument", &at);
            if (arg != NULL) {
                ptr_add(ps->mem, &args, sym_new(ps, SYM_FNARG, arg, at));
            }
        } while (!ps->bad && ps_accept(ps, TOK_COMMA));
    }
    sym->n_args = args.n;
    sym->args = (ast_sym **)args.items;
    ps_expect(ps, TOK_RPAREN, "behind the arguments");
    ps_expect(ps, TOK_ASSIGN, "before the value of a function");
    sym->init = parse_expr(ps);
    ps_expect(ps, TOK_SEMI, "behind the function");
    sym->decl_span = ps_since(ps, begin);
    return sym;
}

static elem_kind parse_elem(parser *ps) {
    ast_span span;
    const char *name = ps_name(ps, "an element type", &span);
    if (name == NULL) {
        return ELEM_NONE;
    }
    for (int e = 0; e < ELEM_COUNT; e++) {
        if (strcmp(name, elem_name((elem_kind)e)) == 0) {
            return (elem_kind)e;
        }
    }
    diag_report(ps->d, DIAG_ERROR, "E101", span, "'%s' is not an element type", name);
    diag_help(ps->d, "the element types are %s", elem_list(ps->mem));
    return ELEM_NONE;
}

static void parse_granule(parser *ps, ast_format *f) {
    ps_expect(ps, TOK_LBRACKET, "before the granule of the scales");
    do {
        const token *t = ps_peek(ps);
        if (!ps_expect(ps, TOK_INT, "of elements that share a scale")) {
            return;
        }
        if (t->ivalue < 1 || t->ivalue > 65536 || f->n_granule == 4) {
            diag_report(ps->d, DIAG_ERROR, "E102", t->span,
                        "a granule has one to four entries from 1 to 65536");
            ps->bad = true;
            return;
        }
        f->granule[f->n_granule++] = t->ivalue;
    } while (ps_accept(ps, TOK_COMMA));
    ps_expect(ps, TOK_RBRACKET, "behind the granule of the scales");
}

static void check_elems(parser *ps, const ast_format *f, bool scaled) {
    if (f->elem != ELEM_NONE && scaled && (!elem_is_float(f->elem) || elem_is_scale(f->elem))) {
        diag_report(ps->d, DIAG_ERROR, "E102", f->span,
                    "'%s' cannot be scaled: data is a float format", elem_name(f->elem));
    } else if (f->scale != ELEM_NONE && !elem_is_scale(f->scale) && f->scale != ELEM_F32) {
        diag_report(ps->d, DIAG_ERROR, "E102", f->span,
                    "'%s' cannot be a scale: ue4m3, ue8m0 or f32 can", elem_name(f->scale));
    }
}

// format = "format" NAME "=" elem [ "*" elem "per" "[" INT {"," INT} "]" ] [ "@" NAME ] ";" .
static ast_sym *parse_format(parser *ps) {
    ast_span begin = ps_next(ps)->span;
    ast_span span;
    const char *name = ps_name(ps, "the name of a format", &span);
    ast_sym *sym = sym_new(ps, SYM_FORMAT, name, span);
    ast_format *f = ARENA_NEW(ps->mem, ast_format);
    sym->fmt = f;
    f->name = name;
    f->span = span;
    f->scale = ELEM_NONE;
    ps_expect(ps, TOK_ASSIGN, "before the elements of a format");
    f->elem = parse_elem(ps);
    bool scaled = !ps->bad && ps_accept(ps, TOK_STAR);
    if (scaled) {
        f->scale = parse_elem(ps);
        ps_expect_word(ps, "per", "and the elements that share a scale");
        parse_granule(ps, f);
    }
    if (!ps->bad && ps_accept(ps, TOK_AT)) {
        ast_span at;
        f->layout = ps_name(ps, "a layout", &at);
    }
    ps_expect(ps, TOK_SEMI, "behind the format");
    sym->decl_span = ps_since(ps, begin);
    check_elems(ps, f, scaled);
    return sym;
}

// --- files ---

static void parse_file(src_map *src, diag *d, arena *mem, uint32_t file, collected *all,
                       ast_file *out);

static bool is_loaded(parser *ps, collected *all, const char *path) {
    for (int i = 0; i < all->loaded.n; i++) {
        if (strcmp(all->loaded.items[i], path) == 0) {
            return true;
        }
    }
    ptr_add(ps->mem, &all->loaded, (void *)path);
    return false;
}

// "a.b" -> "dir/a/b.tk"
static char *module_file(arena *mem, const char *dir, size_t n_dir, const char *path) {
    char *name = arena_printf(mem, "%.*s%s.tk", (int)n_dir, dir, path);
    for (char *c = name + n_dir; c < name + n_dir + strlen(path); c++) {
        if (*c == '.') {
            *c = '/';
        }
    }
    return name;
}

// Finds and adds the file of a module; false after a report.
static bool find_module(parser *ps, const char *path, ast_span span, uint32_t *file) {
    const char *text = std_module_text(path);
    if (text != NULL) {
        *file = src_add_text(ps->src, arena_printf(ps->mem, "<%s>", path), text, strlen(text));
        return true;
    }
    if (strncmp(path, "std.", 4) == 0) {
        diag_report(ps->d, DIAG_ERROR, "U101", span, "there is no module '%s'", path);
        diag_help(ps->d, "the standard modules are %s", std_module_list(ps->mem));
        return false;
    }
    const char *own = src_name(ps->src, ps->file);
    const char *slash = strrchr(own, '/');
    const char *why = "";
    const char *first =
        module_file(ps->mem, own, slash == NULL ? 0 : (size_t)(slash + 1 - own), path);
    if (src_add_file(ps->src, first, file, &why)) {
        return true;
    }
    for (int i = 0; i < src_n_include_dirs(ps->src); i++) {
        const char *ignored;
        const char *dir = arena_printf(ps->mem, "%s/", src_include_dir(ps->src, i));
        if (src_add_file(ps->src, module_file(ps->mem, dir, strlen(dir), path), file, &ignored)) {
            return true;
        }
    }
    diag_report(ps->d, DIAG_ERROR, "U101", span, "cannot read module '%s'", path);
    diag_because(ps->d, "%s: %s; searched %d more director%s given with -I", first, why,
                 src_n_include_dirs(ps->src), src_n_include_dirs(ps->src) == 1 ? "y" : "ies");
    return false;
}

// use = "use" NAME {"." NAME} ";" .
static void parse_use(parser *ps, collected *all, ast_file *out) {
    ast_span begin = ps_next(ps)->span;
    ast_span span;
    const char *path = ps_name(ps, "a module", &span);
    const char *last = path;
    while (!ps->bad && ps_accept(ps, TOK_DOT)) {
        ast_span part;
        if (ps_at(ps, TOK_FORMAT)) { // a word of the language may be part of a path
            last = ps_spelling(ps, ps_next(ps));
        } else {
            last = ps_name(ps, "a module", &part);
        }
        path = arena_printf(ps->mem, "%s.%s", path, last == NULL ? "" : last);
    }
    ast_span path_span = ps_since(ps, span);
    ps_expect(ps, TOK_SEMI, "behind 'use'");
    if (ps->bad) {
        return;
    }
    ast_use *use = ARENA_NEW(ps->mem, ast_use);
    *use = (ast_use){.path = path, .span = ps_since(ps, begin)};
    if (ps->file == 0) {
        ptr_add(ps->mem, &all->uses, use);
    }
    if (is_loaded(ps, all, path)) {
        return;
    }
    ast_sym *module = sym_new(ps, SYM_MODULE, last, path_span);
    uint32_t file;
    if (find_module(ps, path, path_span, &file)) {
        module->ivalue = file;
        ptr_add(ps->mem, &all->syms, module);
        parse_file(ps->src, ps->d, ps->mem, file, all, out);
    }
}

static void add_sym(parser *ps, collected *all, ast_sym *sym) {
    if (!ps->bad && sym->name != NULL) {
        ptr_add(ps->mem, &all->syms, sym);
    }
}

static void refuse_kernel(parser *ps, ast_span at, const char *what) {
    if (ps->file != 0) {
        diag_report(ps->d, DIAG_ERROR, "U102", at,
                    "a module holds formats, constants and functions, not a %s", what);
    }
}

static void parse_declaration(parser *ps, collected *all, ast_file *out) {
    const token *t = ps_peek(ps);
    switch (t->kind) {
    case TOK_USE:
        parse_use(ps, all, out);
        break;
    case TOK_FORMAT:
        add_sym(ps, all, parse_format(ps));
        break;
    case TOK_CONST:
        add_sym(ps, all, parse_const(ps));
        break;
    case TOK_FN:
        add_sym(ps, all, parse_fn(ps));
        break;
    case TOK_KERNEL: {
        refuse_kernel(ps, t->span, "kernel");
        ast_kernel *k = parse_kernel(ps);
        if (k->name != NULL && ps->file == 0) {
            ptr_add(ps->mem, &all->kernels, k);
        }
        break;
    }
    case TOK_SCHEDULE: {
        refuse_kernel(ps, t->span, "schedule");
        ast_schedule *s = parse_schedule(ps);
        if (!ps->bad && ps->file == 0) {
            ptr_add(ps->mem, &all->schedules, s);
        }
        break;
    }
    default:
        ps_fail(ps, "'use', 'format', 'const', 'fn', 'kernel' or 'schedule'");
        ps_next(ps);
        break;
    }
}

// file = { use | format | const | fn | kernel | schedule } .
static void parse_file(src_map *src, diag *d, arena *mem, uint32_t file, collected *all,
                       ast_file *out) {
    size_t len;
    parser ps = {.src = src, .d = d, .mem = mem, .file = file, .text = src_text(src, file, &len)};
    ps.in = lex_file(src, file, d, mem);
    if (file == 0) {
        out->n_comments = ps.in.n_comments;
        out->comments = ps.in.comments;
    }
    while (!ps_at(&ps, TOK_EOF)) {
        parse_declaration(&ps, all, out);
        if (ps.bad) {
            ps_recover(&ps);
            while (ps_at(&ps, TOK_RBRACE)) {
                ps_next(&ps);
            }
        }
    }
}

ast_file *lang_parse(src_map *src, diag *d, arena *mem) {
    ast_file *out = ARENA_NEW(mem, ast_file);
    out->mem = mem;
    out->src = src;
    collected all = {0};
    parse_file(src, d, mem, 0, &all, out);
    out->n_kernels = all.kernels.n;
    out->kernels = (ast_kernel **)all.kernels.items;
    out->n_schedules = all.schedules.n;
    out->schedules = (ast_schedule **)all.schedules.items;
    out->n_syms = all.syms.n;
    out->syms = (ast_sym **)all.syms.items;
    out->n_uses = all.uses.n;
    out->uses = ARENA_ARRAY(mem, ast_use, all.uses.n);
    for (int i = 0; i < all.uses.n; i++) {
        out->uses[i] = *(ast_use *)all.uses.items[i];
    }
    return out;
}
