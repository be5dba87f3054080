// What comes with the language (std.h): tables only.
//
// The standard modules are .tk source that the parser reads like any other file. What the language
// cannot say about itself, the records that a module's functions give, stands in a table here.
#include "std.h"

#include <string.h>

typedef enum { CLASS_F, CLASS_S, CLASS_I, CLASS_B } elem_class;

typedef struct {
    const char *name;
    int bits;
    elem_class class;
} elem_row;

static const elem_row elems[ELEM_COUNT] = {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls) [ELEM_##id] = {name, bits, CLASS_##cls},
#include "../runtime/elem.def"
#undef FP4_ELEM
};

static const ast_format plain[ELEM_COUNT] = {
#define FP4_ELEM(id, ename, bits, exp, man, bias, cls)                                             \
    [ELEM_##id] = {.name = ename, .elem = ELEM_##id, .scale = ELEM_NONE},
#include "../runtime/elem.def"
#undef FP4_ELEM
};

const char *elem_name(elem_kind e) {
    return e < ELEM_COUNT ? elems[e].name : "none";
}

int elem_bits(elem_kind e) {
    return e < ELEM_COUNT ? elems[e].bits : 0;
}

bool elem_is_float(elem_kind e) {
    return e < ELEM_COUNT && (elems[e].class == CLASS_F || elems[e].class == CLASS_S);
}

bool elem_is_int(elem_kind e) {
    return e < ELEM_COUNT && elems[e].class == CLASS_I;
}

bool elem_is_scale(elem_kind e) {
    return e < ELEM_COUNT && elems[e].class == CLASS_S;
}

static const struct {
    const char *name;
    int rows, cols, bytes;
} layouts[LAYOUT_COUNT] = {
#define FP4_LAYOUT(id, name, rows, cols, bytes) [LAYOUT_##id] = {name, rows, cols, bytes},
#include "../runtime/layout.def"
#undef FP4_LAYOUT
};

layout_kind layout_find(const char *name) {
    int l = 0;
    while (l < LAYOUT_COUNT && strcmp(layouts[l].name, name) != 0) {
        l++;
    }
    return (layout_kind)l;
}

int layout_rows(layout_kind l) {
    return layouts[l].rows;
}

int layout_cols(layout_kind l) {
    return layouts[l].cols;
}

bool layout_holds(layout_kind l, elem_kind e) {
    bool memory = l == LAYOUT_LINEAR || l == LAYOUT_128X4 || l == LAYOUT_8X4 ||
                  l == LAYOUT_MN_PACKED || l == LAYOUT_MN_MAJOR;
    return memory && (l == LAYOUT_LINEAR || elem_bits(e) >= 8) &&
           (layouts[l].bytes == 0 || layouts[l].bytes * 8 == elem_bits(e));
}

const ast_format *std_plain_format(elem_kind e) {
    return e < ELEM_COUNT ? &plain[e] : NULL;
}

const char *elem_list(arena *mem) {
    const char *list = elems[0].name;
    for (int e = 1; e < ELEM_COUNT; e++) {
        list = arena_printf(mem, "%s, %s", list, elems[e].name);
    }
    return list;
}

// --- modules ---

typedef struct {
    const char *path;
    const char *text;
} std_module;

static const std_module modules[] = {
    {"std.formats", "// Block-scaled formats that tensor cores read: OCP MX 1.0, and NVFP4 (PTX "
                    "ISA 9.0 \"Block scaling\").\n"
                    "// Scales lie in 512-byte blocks of 128 rows by 4 granules, as tcgen05.cp and "
                    "mma read them.\n"
                    "format nvfp4 = e2m1 * ue4m3 per [1, 16] @ sf128x4;\n"
                    "format mxfp4 = e2m1 * ue8m0 per [1, 32] @ sf128x4;\n"
                    "format mxfp6 = e2m3 * ue8m0 per [1, 32] @ sf128x4;\n"
                    "format mxfp6_e3m2 = e3m2 * ue8m0 per [1, 32] @ sf128x4;\n"
                    "format mxfp8 = e4m3 * ue8m0 per [1, 32] @ sf128x4;\n"
                    "format mxfp8_e5m2 = e5m2 * ue8m0 per [1, 32] @ sf128x4;\n"},
    {"std.moe",
     "// Routing of tokens to experts over ranks. 'moe.route(route)' gives a plan with the fields\n"
     "// first (offsets of the experts' rows) and rank, row, slot, gate (one entry a row).\n"},
};

const char *std_module_text(const char *path) {
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        if (strcmp(path, modules[i].path) == 0) {
            return modules[i].text;
        }
    }
    return NULL;
}

const char *std_module_list(arena *mem) {
    const char *list = modules[0].path;
    for (size_t i = 1; i < sizeof modules / sizeof modules[0]; i++) {
        list = arena_printf(mem, "%s, %s", list, modules[i].path);
    }
    return list;
}

static const ast_record_field route_fields[] = {
    {"first", ELEM_I32, OVER_GROUPS}, // rows of expert e are first[e] .. first[e + 1]
    {"rank", ELEM_I32, OVER_ROWS},    // where the row's token lives
    {"row", ELEM_I32, OVER_ROWS},     // the token's row there
    {"slot", ELEM_I32, OVER_ROWS},    // which of the token's choices this is
    {"gate", ELEM_F32, OVER_ROWS},    // the token's weight for the expert
};

static const ast_record records[] = {
    {.name = "moe.route", .n_args = 1, .n_fields = 5, .fields = route_fields},
};

const ast_record *std_record(const char *module, const char *name) {
    size_t n = strlen(module);
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        const char *full = records[i].name;
        if (strncmp(full, module, n) == 0 && full[n] == '.' && strcmp(full + n + 1, name) == 0) {
            return &records[i];
        }
    }
    return NULL;
}

// --- built-in functions ---

typedef struct {
    const char *name;
    int arity;
} builtin_row;

static const builtin_row builtins[BI_COUNT] = {
#define FP4_BUILTIN(id, name, arity) [BI_##id] = {name, arity},
#include "builtins.def"
#undef FP4_BUILTIN
};

const char *builtin_name(builtin_kind b) {
    return builtins[b].name;
}

int builtin_arity(builtin_kind b) {
    return builtins[b].arity;
}

bool builtin_find(const char *name, builtin_kind *b) {
    for (int i = 0; i < BI_COUNT; i++) {
        if (strcmp(name, builtins[i].name) == 0) {
            *b = (builtin_kind)i;
            return true;
        }
    }
    return false;
}

static const char *const reductions[] = {[RED_SUM] = "sum", [RED_MAX] = "max", [RED_MIN] = "min"};

const char *reduce_name(reduce_kind r) {
    return reductions[r];
}

bool reduce_find(const char *name, reduce_kind *r) {
    for (size_t i = 0; i < sizeof(reductions) / sizeof(reductions[0]); i++) {
        if (strcmp(name, reductions[i]) == 0) {
            *r = (reduce_kind)i;
            return true;
        }
    }
    return false;
}
