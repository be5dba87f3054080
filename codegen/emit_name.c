// Names of a kernel in generated C, and its sizes as text.
#include "emit_int.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

// Words that a parameter or a size cannot be called: of C and C++, of the headers that the
// generated files include, and of the functions that the templates give them.
static const char *const taken[] = {
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "assert",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "const",
    "constexpr",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
    "BUFSIZ",
    "EOF",
    "FILENAME_MAX",
    "FOPEN_MAX",
    "NULL",
    "RAND_MAX",
    "EXIT_FAILURE",
    "EXIT_SUCCESS",
    "RTLD_LOCAL",
    "RTLD_NOW",
    "RTLD_LAZY",
    "RTLD_GLOBAL",
    // ours
    "add",
    "args",
    "bad",
    "best",
    "blocks",
    "ceildiv",
    "check_address",
    "check_pitch",
    "check_tensor",
    "check_tiles",
    "cost",
    "divide",
    "encode",
    "enter",
    "equal",
    "fail",
    "find",
    "fits",
    "grid",
    "images",
    "kernel",
    "kernels",
    "least",
    "last_error",
    "launch",
    "launch_of",
    "leave",
    "map",
    "map_of",
    "maps",
    "max",
    "memcpy",
    "memset",
    "min",
    "mod",
    "mul",
    "names",
    "parameter",
    "pointers",
    "room",
    "seen",
    "size_t",
    "snprintf",
    "status",
    "stream",
    "sub",
    "taken",
    "word",
    "words",
    // and of the wrappers for the TVM FFI
    "call",
    "context",
    "device",
    "numbers",
    "result",
    "tensors",
};

static bool is_taken(const char *name) {
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (strcmp(taken[i], name) == 0) {
            return true;
        }
    }
    // identifiers of the implementation, of the library, of the standard headers
    return name[0] == '_' || strncmp(name, "fp4_", 4) == 0 || strncmp(name, "FP4_", 4) == 0 ||
           strncmp(name, "INT", 3) == 0 || strncmp(name, "UINT", 4) == 0 ||
           strstr(name, "_MAX") != NULL;
}

typedef struct {
    const char **all;
    int n;
    arena *mem;
} name_set;

static bool known(const name_set *s, const char *name) {
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->all[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *add_name(name_set *s, const char *wish) {
    const char *name = wish;
    if (is_taken(name)) {
        name = arena_printf(s->mem, "the_%s", wish);
    }
    while (known(s, name)) {
        name = arena_printf(s->mem, "%s_", name);
    }
    s->all[s->n++] = name;
    return name;
}

emit_names emit_names_of(const tir_kernel *k, arena *mem) {
    name_set s = {.all = ARENA_ARRAY(mem, const char *, k->n_dims + 3 * k->n_params + 1),
                  .mem = mem};
    emit_names n = {.dims = ARENA_ARRAY(mem, const char *, k->n_dims + 1),
                    .params = ARENA_ARRAY(mem, const char *, k->n_params + 1),
                    .pitch = ARENA_ARRAY(mem, const char *, k->n_params + 1),
                    .sf = ARENA_ARRAY(mem, const char *, k->n_params + 1)};
    for (int i = 0; i < k->n_params; i++) {
        n.params[i] = add_name(&s, k->params[i].name);
    }
    for (int i = 0; i < k->n_dims; i++) {
        n.dims[i] = add_name(&s, k->dims[i]);
    }
    for (int i = 0; i < k->n_params; i++) {
        n.pitch[i] = add_name(&s, arena_printf(mem, "%s_pitch", k->params[i].name));
        n.sf[i] = add_name(&s, arena_printf(mem, "%s_sf_bytes", k->params[i].name));
    }
    return n;
}

const char *emit_identifier(const char *text, arena *mem) {
    char *name = arena_printf(mem, "%s%s",
                              isdigit((unsigned char)text[0]) || text[0] == '\0' ? "k" : "", text);
    for (char *p = name; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p)) {
            *p = '_';
        }
    }
    return name;
}

static const char *infix(size_op op) {
    static const char *const text[] = {
        [SZ_ADD] = "+", [SZ_SUB] = "-",   [SZ_MUL] = "*", [SZ_DIV] = "/", [SZ_MOD] = "%",
        [SZ_EQ] = "==", [SZ_NE] = "!=",   [SZ_LT] = "<",  [SZ_LE] = "<=", [SZ_GT] = ">",
        [SZ_GE] = ">=", [SZ_AND] = "and", [SZ_OR] = "or",
    };
    return op < sizeof text / sizeof text[0] ? text[op] : NULL;
}

static bool is_leaf(const tir_size *s) {
    return s->op <= SZ_DIM || s->op == SZ_SMS;
}

void emit_size_text(FILE *out, const tir_kernel *k, const tir_size *s) {
    switch (s->op) {
    case SZ_INT:
        fprintf(out, "%" PRId64, s->value);
        return;
    case SZ_DIM:
        fputs(k->dims[s->dim], out);
        return;
    case SZ_PITCH:
        fprintf(out, "%s.pitch", k->params[s->dim].name);
        return;
    case SZ_SF_BYTES:
        fprintf(out, "%s.sf_bytes", k->params[s->dim].name);
        return;
    case SZ_SMS:
        fputs("sms", out);
        return;
    default:
        break;
    }
    const char *op = infix(s->op);
    const char *call = s->op == SZ_CEILDIV ? "ceildiv"
                       : s->op == SZ_MIN   ? "min"
                       : s->op == SZ_MAX   ? "max"
                                           : "";
    bool a_simple = op == NULL || is_leaf(s->a);
    bool b_simple = op == NULL || is_leaf(s->b);
    fprintf(out, "%s%s", call, op == NULL ? "(" : "");
    fputs(a_simple ? "" : "(", out);
    emit_size_text(out, k, s->a);
    fputs(a_simple ? "" : ")", out);
    fprintf(out, op == NULL ? "%s " : " %s ", op == NULL ? "," : op);
    fputs(b_simple ? "" : "(", out);
    emit_size_text(out, k, s->b);
    fputs(b_simple ? "" : ")", out);
    fputs(op == NULL ? ")" : "", out);
}

const char *emit_function(const char *prefix, const tir_kernel *k, arena *mem) {
    static const char *const ours[] = {"open",   "close",      "kernels", "tensor",
                                       "status", "last_error", "module"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(ours[i], k->name) == 0) {
            return arena_printf(mem, "%s_the_%s", prefix, k->name);
        }
    }
    return arena_printf(mem, "%s_%s", prefix, k->name);
}

bool emit_is_first(const emit_job *job, int index) {
    for (int i = 0; i < index; i++) {
        if (strcmp(job->kernels[i].tir->name, job->kernels[index].tir->name) == 0) {
            return false;
        }
    }
    return true;
}

bool emit_dim_is_free(const tir_kernel *k, int dim) {
    for (int i = 0; i < k->n_params; i++) {
        for (int axis = 0; axis < k->params[i].n_dims; axis++) {
            const tir_size *s = k->params[i].dims[axis];
            if (s->op == SZ_DIM && s->dim == dim) {
                return false;
            }
        }
    }
    return true;
}

bool emit_is_mapped(const tir_kernel *k, int param) {
    for (int i = 0; i < k->n_maps; i++) {
        if (k->maps[i].param == param && k->maps[i].part == PART_DATA && k->maps[i].rank > 1) {
            return true;
        }
    }
    return false;
}
