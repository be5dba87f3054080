// The metadata of a kernel: a JSON object as runtime/module.h describes it under "kernels".
//
// Everything the runtime needs to check, encode and launch, from the role program alone; the PTX
// parameters come from the same list that the generated code is built from (args.h).
#include "arch.h"
#include "args.h"
#include "artefact.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// cJSON keeps numbers as doubles; integers go out as text so that all 64 bits survive.
static cJSON *number(int64_t v) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, v);
    return cJSON_CreateRaw(text);
}

static void add_number(cJSON *object, const char *name, int64_t v) {
    cJSON_AddItemToObject(object, name, number(v));
}

static cJSON *numbers(const int *v, int n) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < n; i++) {
        cJSON_AddItemToArray(list, number(v[i]));
    }
    return list;
}

static const char *op_text(size_op op) {
    static const char *const text[] = {
        [SZ_ADD] = "+", [SZ_SUB] = "-",           [SZ_MUL] = "*",   [SZ_DIV] = "/",
        [SZ_MOD] = "%", [SZ_CEILDIV] = "ceildiv", [SZ_MIN] = "min", [SZ_MAX] = "max",
        [SZ_EQ] = "==", [SZ_NE] = "!=",           [SZ_LT] = "<",    [SZ_LE] = "<=",
        [SZ_GT] = ">",  [SZ_GE] = ">=",           [SZ_AND] = "and", [SZ_OR] = "or",
    };
    return text[op];
}

static cJSON *property(const tir_kernel *k, int param, const char *what) {
    char text[160];
    snprintf(text, sizeof text, "%s.%s", k->params[param].name, what);
    return cJSON_CreateString(text);
}

static cJSON *size_json(const tir_kernel *k, const tir_size *s) {
    switch (s->op) {
    case SZ_INT:
        return number(s->value);
    case SZ_DIM:
        return cJSON_CreateString(k->dims[s->dim]);
    case SZ_PITCH:
        return property(k, s->dim, "pitch");
    case SZ_SF_BYTES:
        return property(k, s->dim, "sf_bytes");
    case SZ_SMS:
        return cJSON_CreateString("device.sms");
    default:
        break;
    }
    cJSON *list = cJSON_CreateArray();
    cJSON_AddItemToArray(list, cJSON_CreateString(op_text(s->op)));
    cJSON_AddItemToArray(list, size_json(k, s->a));
    cJSON_AddItemToArray(list, size_json(k, s->b));
    return list;
}

static cJSON *sizes_json(const tir_kernel *k, tir_size *const *s, int n) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < n; i++) {
        cJSON_AddItemToArray(list, size_json(k, s[i]));
    }
    return list;
}

static void add_name_or_null(cJSON *object, const char *key, const char *name) {
    if (name) {
        cJSON_AddStringToObject(object, key, name);
    } else {
        cJSON_AddNullToObject(object, key);
    }
}

static const char *mode_name(param_mode m) {
    static const char *const names[] = {
        [MODE_IN] = "in",       [MODE_OUT] = "out",   [MODE_INOUT] = "inout",
        [MODE_CONST] = "const", [MODE_TEMP] = "temp",
    };
    return names[m];
}

// The granule speaks of the last axis and, for f32 scales, of the one before it; other axes have
// one scale an element.
static cJSON *granule_json(const tir_param *p) {
    int v[2] = {p->granule_rows, p->granule};
    if (p->scale == ELEM_NONE) {
        return cJSON_CreateArray();
    }
    return p->n_dims >= 2 ? numbers(v, 2) : numbers(v + 1, 1);
}

static cJSON *param_json(const tir_kernel *k, const tir_param *p) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", p->name);
    cJSON_AddStringToObject(o, "kind", p->is_tensor ? "tensor" : "scalar");
    if (!p->is_tensor) {
        cJSON_AddStringToObject(o, "elem", elem_name(p->elem));
        return o;
    }
    cJSON_AddStringToObject(o, "mode", mode_name(p->mode));
    cJSON_AddStringToObject(o, "format", p->format);
    cJSON_AddStringToObject(o, "elem", elem_name(p->elem));
    add_name_or_null(o, "scale", p->scale == ELEM_NONE ? NULL : elem_name(p->scale));
    cJSON_AddItemToObject(o, "granule", granule_json(p));
    add_name_or_null(o, "layout", p->layout);
    cJSON_AddItemToObject(o, "dims", sizes_json(k, p->dims, p->n_dims));
    add_number(o, "align", p->align);
    if (p->groups) {
        cJSON_AddItemToObject(o, "groups", size_json(k, p->groups));
    }
    return o;
}

static cJSON *params_json(const tir_kernel *k) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < k->n_params; i++) {
        cJSON_AddItemToArray(list, param_json(k, &k->params[i]));
    }
    return list;
}

static cJSON *where_json(const tir_kernel *k) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < k->n_where; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToObject(o, "expr", size_json(k, k->where[i].cond));
        cJSON_AddStringToObject(o, "text", k->where[i].text);
        add_number(o, "line", k->where[i].line);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static const char *part_name(tir_part part) {
    return part == PART_DATA ? "data" : "scale";
}

static void map_json(cJSON *o, const tir_kernel *k, const tir_map *m, arena *mem) {
    cJSON_AddStringToObject(o, "kind", "tensormap");
    cJSON_AddStringToObject(o, "tensor", k->params[m->param].name);
    cJSON_AddStringToObject(o, "part", part_name(m->part));
    add_number(o, "dtype", m->dtype);
    cJSON_AddItemToObject(o, "dims", sizes_json(k, m->dims, m->rank));
    cJSON_AddItemToObject(o, "strides", sizes_json(k, m->strides + 1, m->rank - 1));
    cJSON_AddItemToObject(o, "box", numbers(m->box, m->rank));
    add_number(o, "swizzle", m->swizzle);
    tir_size *offset = cg_map_offset(m, mem);
    if (offset) {
        cJSON_AddItemToObject(o, "offset_bytes", size_json(k, offset));
    }
}

static void dim_json(cJSON *o, cJSON *expr, const char *type) {
    cJSON_AddStringToObject(o, "kind", "dim");
    cJSON_AddItemToObject(o, "expr", expr);
    cJSON_AddStringToObject(o, "type", type);
}

// Nobody writes it while the kernel before runs.
static bool is_early(const tir_kernel *k, const tir_param *p) {
    return k->pdl && !p->previous && (p->mode == MODE_IN || p->mode == MODE_CONST);
}

static cJSON *arg_json(const tir_kernel *k, const cg_arg *a, arena *mem) {
    cJSON *o = cJSON_CreateObject();
    switch (a->kind) {
    case ARG_MAP:
        map_json(o, k, &k->maps[a->ref], mem);
        if (is_early(k, &k->params[k->maps[a->ref].param])) {
            cJSON_AddBoolToObject(o, "early", true);
        }
        break;
    case ARG_POINTER:
        cJSON_AddStringToObject(o, "kind", "pointer");
        cJSON_AddStringToObject(o, "tensor", k->params[a->ref].name);
        cJSON_AddStringToObject(o, "part", part_name(a->part));
        break;
    case ARG_PITCH:
        dim_json(o, property(k, a->ref, "pitch"), "i64");
        break;
    case ARG_SF_BYTES:
        dim_json(o, property(k, a->ref, "sf_bytes"), "i64");
        break;
    case ARG_DIM:
        dim_json(o, cJSON_CreateString(k->dims[a->ref]), "i32");
        break;
    case ARG_SCALAR:
        cJSON_AddStringToObject(o, "kind", "scalar");
        cJSON_AddStringToObject(o, "name", k->params[a->ref].name);
        cJSON_AddStringToObject(o, "type", elem_name(k->params[a->ref].elem));
        break;
    case ARG_WORKSPACE:
        cJSON_AddStringToObject(o, "kind", "workspace");
        break;
    }
    return o;
}

static cJSON *args_json(const tir_kernel *k, arena *mem) {
    cg_args args = cg_args_of(k, mem);
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < args.n; i++) {
        cJSON_AddItemToArray(list, arg_json(k, &args.args[i], mem));
    }
    return list;
}

static cJSON *grid_json(const tir_kernel *k, arena *mem) {
    cJSON *tiles = size_json(k, cg_most_clusters(k, mem));
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "tiles", tiles);
    cJSON_AddBoolToObject(o, "persistent", k->walk.kind != WALK_CLC);
    if (k->walk.kind != WALK_CLC && k->walk.stream < 0 && arch_ctas_per_sm(k) > 1) {
        add_number(o, "per_sm", arch_ctas_per_sm(k));
    }
    return o;
}

static cJSON *launch_json(const tir_kernel *k, arena *mem) {
    int cluster[3] = {k->cluster, 1, 1};
    cJSON *o = cJSON_CreateObject();
    add_number(o, "threads", k->threads);
    add_number(o, "smem", k->smem_bytes);
    cJSON_AddItemToObject(o, "cluster", numbers(cluster, 3));
    cJSON_AddItemToObject(o, "grid", grid_json(k, mem));
    add_number(o, "entry_regs", k->entry_regs);
    if (k->pdl) {
        cJSON_AddBoolToObject(o, "pdl", true);
    }
    if (k->walk.stream >= 0) {
        add_number(o, "workspace", tir_left_bytes(k));
    }
    return o;
}

static cJSON *report_json(const ptxas_result *r) {
    cJSON *o = cJSON_CreateObject();
    add_number(o, "regs", r->regs);
    add_number(o, "spills", (int64_t)r->spill_stores + r->spill_loads);
    add_number(o, "stack", r->stack);
    return o;
}

static cJSON *names_json(const char *const *names, int n) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < n; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateString(names[i]));
    }
    return list;
}

const char *meta_kernel(const tir_kernel *k, const ptxas_result *report, arena *mem,
                        const char **json) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", k->name);
    cJSON_AddStringToObject(o, "arch", arch_infos[k->arch].name);
    cJSON_AddStringToObject(o, "entry", k->name);
    if (k->when) {
        cJSON_AddItemToObject(o, "when", size_json(k, k->when));
    }
    if (k->cost) {
        cJSON_AddItemToObject(o, "cost", size_json(k, k->cost));
    }
    cJSON_AddItemToObject(o, "dims", names_json(k->dims, k->n_dims));
    cJSON *tparams = cJSON_AddObjectToObject(o, "tparams");
    for (int i = 0; i < k->n_tparams; i++) {
        add_number(tparams, k->tparams[i].name, k->tparams[i].value);
    }
    cJSON_AddItemToObject(o, "params", params_json(k));
    cJSON_AddItemToObject(o, "where", where_json(k));
    cJSON_AddItemToObject(o, "args", args_json(k, mem));
    cJSON_AddItemToObject(o, "launch", launch_json(k, mem));
    if (report) {
        cJSON_AddItemToObject(o, "report", report_json(report));
    }
    char *printed = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    if (!printed) {
        return "out of memory";
    }
    *json = arena_strdup(mem, printed);
    free(printed);
    return NULL;
}
