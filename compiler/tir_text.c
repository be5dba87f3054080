// Tables of the text form of role programs, and the names of records.
#include "tir_text.h"

#include "arch.h"
#include "mma.h"

#include <ctype.h>
#include <string.h>

const tir_field tir_fields[] = {
#define TIR_FIELD(record, type, kind, field, aux, dflt)                                            \
    {TREC_##record, TFK_##kind, #field, offsetof(type, field), aux, dflt},
#include "tir_fields.def"
};
const int tir_n_fields = (int)(sizeof(tir_fields) / sizeof(tir_fields[0]));

const tir_list tir_lists[] = {
#define TIR_LIST(record, type, count, field)                                                       \
    {TREC_##record, #record, sizeof(type), offsetof(tir_kernel, count),                            \
     offsetof(tir_kernel, field)},
#include "tir_fields.def"
};
const int tir_n_lists = (int)(sizeof(tir_lists) / sizeof(tir_lists[0]));

bool tir_is_needed(const tir_field *f) {
    static const struct {
        tir_record record;
        const char *field;
    } needs[] = {
#define TIR_NEED(record, field) {TREC_##record, #field},
#include "tir_fields.def"
    };
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (needs[i].record == f->record && strcmp(needs[i].field, f->name) == 0) {
            return true;
        }
    }
    return false;
}

_Static_assert(sizeof(tir_dim_name) == sizeof(const char *), "dims[] is read as records");

// ORDER tir_stmt_kind
const tir_stmt_info tir_stmts[TIR_STMT_KINDS] = {
    [TS_WALK] = {"walk", TREF_COUNT, true},
    [TS_FOR] = {"for", TREF_FOR, true},
    [TS_ACQUIRE] = {"acquire", TREF_CHANNEL, false},
    [TS_LOAD] = {"load", TREF_CHANNEL, false},
    [TS_PUBLISH] = {"publish", TREF_CHANNEL, false},
    [TS_AWAIT] = {"await", TREF_CHANNEL, false},
    [TS_RELEASE] = {"release", TREF_CHANNEL, false},
    [TS_MMA] = {"mma", TREF_MMA, false},
    [TS_STORE] = {"store", TREF_STORE, false},
    [TS_COMBINE] = {"combine", TREF_COUNT, true},
    [TS_SCHED] = {"sched", TREF_COUNT, false},
};

const char *tir_size_word(size_op op) {
    static const char *const words[] = {
        [SZ_ADD] = "add", [SZ_SUB] = "sub",         [SZ_MUL] = "mul",
        [SZ_DIV] = "div", [SZ_MOD] = "mod",         [SZ_CEILDIV] = "ceildiv",
        [SZ_MIN] = "min", [SZ_MAX] = "max",         [SZ_EQ] = "eq",
        [SZ_NE] = "ne",   [SZ_LT] = "lt",           [SZ_LE] = "le",
        [SZ_GT] = "gt",   [SZ_GE] = "ge",           [SZ_AND] = "and",
        [SZ_OR] = "or",   [SZ_PITCH] = "pitch",     [SZ_SF_BYTES] = "sf_bytes",
        [SZ_SMS] = "sms",
    };
    return (unsigned)op < sizeof(words) / sizeof(words[0]) ? words[op] : NULL;
}

const char *tir_op_word(ast_op op) {
    static const char *const words[TIR_OPS] = {
        [OP_ADD] = "add",       [OP_SUB] = "sub",     [OP_MUL] = "mul",       [OP_DIV] = "div",
        [OP_MOD] = "mod",       [OP_LT] = "lt",       [OP_LE] = "le",         [OP_GT] = "gt",
        [OP_GE] = "ge",         [OP_EQ] = "eq",       [OP_NE] = "ne",         [OP_AND] = "and",
        [OP_OR] = "or",         [OP_BITAND] = "band", [OP_BITOR] = "bor",     [OP_BITXOR] = "bxor",
        [OP_SHL] = "shl",       [OP_SHR] = "shr",     [OP_NEG] = "neg",       [OP_NOT] = "not",
        [OP_BITNOT] = "bnot",
    };
    return (unsigned)op < TIR_OPS ? words[op] : NULL;
}

const char *tir_builtin_word(builtin_kind b) {
    static const char *const words[BI_COUNT] = {
#define FP4_BUILTIN(id, name, arity) [BI_##id] = name,
#include "../lang/builtins.def"
#undef FP4_BUILTIN
    };
    return (unsigned)b < BI_COUNT ? words[b] : NULL;
}

static const char *const elem_words[] = {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls) name,
#include "../runtime/elem.def"
#undef FP4_ELEM
    "none",
    NULL,
};

const char *tir_enum_word(tir_enum table, int i) {
    static const char *const walks[] = {"static", "clc", "one", NULL};
    static const char *const modes[] = {"in", "out", "inout", "const", "temp", NULL};
    static const char *const parts[] = {"data", "scale", NULL};
    static const char *const swizzles[] = {"none", "span32", "span64", "span128", NULL};
    static const char *const spaces[] = {"smem", "tmem", NULL};
    static const char *const frags[] = {"none", "lane_row", "mma", NULL};
    static const char *const caches[] = {"any", "keep", "stream", NULL};
    static const char *const dependents[] = {"none", "first", "last", NULL};
    if (i < 0) {
        return NULL;
    }
    const char *const *words = NULL;
    switch (table) {
    case TEN_ARCH:
        return i < ARCH_COUNT ? arch_infos[i].name : NULL;
    case TEN_MMA:
        return i < MMA_KINDS ? mma_kinds[i].name : NULL;
    case TEN_WALK:
        words = walks;
        break;
    case TEN_CACHE:
        words = caches;
        break;
    case TEN_DEPENDENTS:
        words = dependents;
        break;
    case TEN_MODE:
        words = modes;
        break;
    case TEN_ELEM:
        words = elem_words;
        break;
    case TEN_PART:
        words = parts;
        break;
    case TEN_SWIZZLE:
        words = swizzles;
        break;
    case TEN_SPACE:
        words = spaces;
        break;
    case TEN_FRAG:
        words = frags;
        break;
    }
    for (int j = 0; j < i; j++) {
        if (words[j] == NULL) {
            return NULL;
        }
    }
    return words[i];
}

int tir_enum_find(tir_enum table, const char *word) {
    const char *w;
    for (int i = 0; (w = tir_enum_word(table, i)) != NULL; i++) {
        if (strcmp(w, word) == 0) {
            return i;
        }
    }
    return -1;
}

bool tir_is_word(const char *s) {
    if (!isalpha((unsigned char)*s) && *s != '_') {
        return false;
    }
    while (isalnum((unsigned char)*s) || *s == '_' || *s == '.') {
        s++;
    }
    return *s == '\0';
}

int tir_ref_count(const tir_kernel *k, tir_ref_kind kind) {
    switch (kind) {
    case TREF_PARAM:
        return k->n_params;
    case TREF_DIM:
        return k->n_dims;
    case TREF_LOOP:
        return k->n_loops;
    case TREF_FOR:
        return k->n_fors;
    case TREF_AXIS:
        return k->n_loops + k->n_fors;
    case TREF_ROLE:
        return k->n_roles;
    case TREF_CHANNEL:
        return k->n_channels;
    case TREF_ACC:
        return k->n_accs;
    case TREF_MAP:
        return k->n_maps;
    case TREF_OPERAND:
        return k->n_operands;
    case TREF_STORE:
        return k->n_stores;
    case TREF_MMA:
        return k->n_mmas;
    case TREF_COUNT:
        break;
    }
    return 0;
}

static const char *param_name(const tir_kernel *k, int param) {
    return param >= 0 && param < k->n_params ? k->params[param].name : NULL;
}

const char *tir_ref_key(const tir_kernel *k, tir_ref_kind kind, int i, arena *mem) {
    switch (kind) {
    case TREF_PARAM:
        return k->params[i].name;
    case TREF_DIM:
        return k->dims[i];
    case TREF_LOOP:
        return k->loops[i].index;
    case TREF_FOR:
        return k->fors[i].index;
    case TREF_AXIS:
        return i < k->n_loops ? k->loops[i].index : k->fors[i - k->n_loops].index;
    case TREF_ROLE:
        return k->roles[i].name;
    case TREF_CHANNEL:
        return k->channels[i].name;
    case TREF_ACC:
        return k->accs[i].name;
    case TREF_MAP: {
        const char *param = param_name(k, k->maps[i].param);
        const char *part = tir_enum_word(TEN_PART, (int)k->maps[i].part);
        return param != NULL && part != NULL ? arena_printf(mem, "%s.%s", param, part) : NULL;
    }
    case TREF_OPERAND:
        return param_name(k, k->operands[i].param);
    case TREF_STORE:
        return param_name(k, k->stores[i].param);
    case TREF_MMA: {
        const tir_mma *m = &k->mmas[i];
        return arena_printf(mem, "%s += %s * %s", tir_ref_text(k, TREF_ACC, m->acc, mem),
                            tir_ref_text(k, TREF_OPERAND, m->a, mem),
                            tir_ref_text(k, TREF_OPERAND, m->b, mem));
    }
    case TREF_COUNT:
        break;
    }
    return NULL;
}

int tir_ref_find(const tir_kernel *k, tir_ref_kind kind, const char *name, arena *mem) {
    int found = -1;
    for (int i = 0; i < tir_ref_count(k, kind); i++) {
        const char *key = tir_ref_key(k, kind, i, mem);
        if (key != NULL && strcmp(key, name) == 0) {
            if (found >= 0) {
                return -2;
            }
            found = i;
        }
    }
    return found;
}

const char *tir_ref_text(const tir_kernel *k, tir_ref_kind kind, int i, arena *mem) {
    if (i == -1) {
        return "none";
    }
    if (i >= 0 && i < tir_ref_count(k, kind)) {
        const char *key = tir_ref_key(k, kind, i, mem);
        if (key != NULL && (kind == TREF_MMA || (tir_is_word(key) && strcmp(key, "none") != 0)) &&
            tir_ref_find(k, kind, key, mem) == i) {
            return key;
        }
    }
    return arena_printf(mem, "#%d", i);
}
