// The front end: text -> checked tree.
#ifndef FP4_LANG_LANG_H
#define FP4_LANG_LANG_H

#include "arena.h"
#include "ast.h"
#include "diag.h"
#include "src.h"

// Parses file 0 of 'src' and, by 'use', the files it names (std.* are built in, others are searched
// relative to the file and in 'src's include directories). Always returns a tree; errors are in d.
ast_file *lang_parse(src_map *src, diag *d, arena *mem);

// A -D definition: replaces the default of a kernel's compile-time parameter.
typedef struct {
    const char *name;
    int64_t value;
} lang_define;

// Resolves names, indices, formats and shapes; fills the [checked] fields. False if any error.
bool lang_check(ast_file *file, diag *d, arena *mem, const lang_define *defs, int n_defs);

// A diag_verify_fn that parses and checks an edited text; 'user' is a lang_verifier.
typedef struct {
    const src_map *src; // of the unedited text: its name and include directories
    const lang_define *defs;
    int n_defs;
} lang_verifier;
int lang_verify_fix(void *user, const char *text, size_t len);

// Integer value of a constant expression of sizes: literals, consts, tparams. 'vals', when given,
// overrides tparams by their id (a schedule's 'with'). False if it is not constant.
bool lang_const_int(const ast_expr *e, const int64_t *vals, int64_t *out);

// a / b rounded up: the least whole number that is not below it. False: b is 0, or it does not fit.
bool lang_ceildiv(int64_t a, int64_t b, int64_t *out);

// Values of a kernel's tparams under a schedule (sched may be NULL): out[sym->id].
void lang_tparam_values(const ast_kernel *k, const ast_schedule *sched, int64_t *out);

// Prints the tree as source, one canonical form; parsing it gives the same tree (fmt).
void ast_print_file(FILE *out, const ast_file *file);
void ast_print_expr(FILE *out, const ast_expr *e);
// The same as a string.
const char *expr_text(arena *mem, const ast_expr *e);
// The facts of a schedule as text without ';', in columns.
const char **ast_fact_texts(const ast_file *file, const ast_schedule *s);
// Prints the checked tree with types, for --emit=ast.
void ast_dump(FILE *out, const ast_file *file);

#endif
