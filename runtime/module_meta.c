// Section META: JSON text to kernels (module.h describes it). Everything is checked here, so that a
// launch can rely on it: names are identifiers, formats can be stored, expressions speak only of
// known sizes, launch numbers are within the hardware's limits (hardware.md 0.4).
//
// A refusal is built from the inside out: the failing place says ": 'box' is missing", each caller
// puts its own step in front, "kernels[0]" ".args[3]".
#include "format.h"
#include "kernel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_META_BYTES = 16 << 20,
    MAX_KERNELS = 4096,
    MAX_THREADS = 1024,
    MAX_PER_SM = 32, // thread blocks of an SM
    MAX_WORKSPACE = 1 << 24, // bytes a thread block
    MAX_SMEM = 227 * 1024, // a thread block's dynamic shared memory, sm_90 and sm_100
    MAX_CLUSTER = 16,
    MAX_DTYPE = 15, // CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B
    MAX_SWIZZLE = 6,
    MAX_BOX = 256,
};

// ---- values of an object ------------------------------------------------------------------------

static const cJSON *member(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static fp4_status get_text(rt_pool *pool, const cJSON *object, const char *key, const char **out) {
    const cJSON *item = member(object, key);
    if (!cJSON_IsString(item)) {
        return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing or no text", key);
    }
    for (const char *p = item->valuestring; *p; p++) {
        if ((unsigned char)*p < ' ') {
            return rt_fail(FP4_ERROR_MODULE, ": '%s' holds a control character", key);
        }
    }
    *out = rt_pool_text(pool, item->valuestring, strlen(item->valuestring));
    return *out ? FP4_OK : FP4_ERROR_MEMORY;
}

static bool is_name(const char *text) {
    if (!*text || strlen(text) >= FP4_MAX_NAME || (*text >= '0' && *text <= '9')) {
        return false;
    }
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$.") ==
           strlen(text);
}

static fp4_status get_name(rt_pool *pool, const cJSON *object, const char *key, const char **out) {
    fp4_status status = get_text(pool, object, key, out);
    if (status == FP4_OK && !is_name(*out)) {
        return rt_fail(FP4_ERROR_MODULE, ": '%s' is \"%.70s\", expected a name", key, *out);
    }
    return status;
}

static bool is_int(const cJSON *item, int64_t lo, int64_t hi, int64_t *out) {
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
        !(item->valuedouble >= (double)lo) || !(item->valuedouble <= (double)hi)) {
        return false;
    }
    *out = (int64_t)item->valuedouble;
    return true;
}

// An integer in lo .. hi.
static fp4_status as_int(const cJSON *item, const char *key, int64_t lo, int64_t hi, int64_t *out) {
    if (is_int(item, lo, hi, out)) {
        return FP4_OK;
    }
    return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing or no integer in %lld .. %lld", key,
                   (long long)lo, (long long)hi);
}

static fp4_status get_int(const cJSON *object, const char *key, int64_t lo, int64_t hi,
                          int64_t *out) {
    return as_int(member(object, key), key, lo, hi, out);
}

// An array of lo .. hi entries.
static fp4_status get_array(const cJSON *object, const char *key, int lo, int hi, const cJSON **out,
                            int *n) {
    const cJSON *item = member(object, key);
    *out = item;
    *n = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : -1;
    if (*n < lo || *n > hi) {
        return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing or no list of %d .. %d entries", key,
                       lo, hi);
    }
    return FP4_OK;
}

// The position of a text among choices.
static fp4_status get_choice(const cJSON *object, const char *key, const char *const *choices,
                             int n, int *out) {
    const cJSON *item = member(object, key);
    for (int i = 0; i < n && cJSON_IsString(item); i++) {
        if (strcmp(choices[i], item->valuestring) == 0) {
            *out = i;
            return FP4_OK;
        }
    }
    return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing or not known to this version", key);
}

// ---- names of a kernel --------------------------------------------------------------------------

typedef struct {
    rt_scope scope; // first: find() is given its address
    const fp4_kernel *kernel;
    const cJSON *tparams;
    rt_pool *pool;
} kernel_scope;

// "A.pitch", "A.sf_bytes", or a scalar parameter's name.
static bool find_param(const fp4_kernel *k, const char *name, int *var) {
    for (int i = 0; i < k->n_params; i++) {
        const rt_param *p = &k->params[i];
        size_t n = strlen(p->name);
        if (strncmp(p->name, name, n) != 0) {
            continue;
        }
        int which = -1;
        if (p->kind == FP4_PARAM_TENSOR && strcmp(name + n, ".pitch") == 0) {
            which = RT_VAR_PITCH;
        } else if (p->kind == FP4_PARAM_TENSOR && strcmp(name + n, ".sf_bytes") == 0) {
            which = RT_VAR_SF_BYTES;
        } else if (p->kind == FP4_PARAM_SCALAR && name[n] == 0 && p->format.elem != FP4_ELEM_F32) {
            which = RT_VAR_VALUE;
        }
        if (which >= 0) {
            *var = rt_param_var(i, which);
            return true;
        }
    }
    return false;
}

static bool find_name(const rt_scope *scope, const char *name, int *var, int64_t *value) {
    const kernel_scope *s = (const kernel_scope *)scope;
    for (int i = 0; i < s->kernel->n_dims; i++) {
        if (strcmp(s->kernel->dims[i], name) == 0) {
            *var = i;
            return true;
        }
    }
    if (find_param(s->kernel, name, var)) {
        return true;
    }
    if (strcmp(name, "device.sms") == 0) {
        *var = RT_VAR_SMS;
        return true;
    }
    *var = -1;
    const cJSON *constant = cJSON_GetObjectItemCaseSensitive(s->tparams, name);
    return is_int(constant, -(INT64_C(1) << 53), INT64_C(1) << 53, value);
}

static fp4_status as_expr(const kernel_scope *s, const cJSON *item, const rt_expr **out) {
    return rt_expr_parse(s->pool, &s->scope, item, out);
}

static fp4_status get_expr(const kernel_scope *s, const cJSON *object, const char *key,
                           const rt_expr **out) {
    const cJSON *item = member(object, key);
    if (!item) {
        return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing", key);
    }
    fp4_status status = as_expr(s, item, out);
    return status == FP4_OK ? status : rt_prefix(status, ".%s", key);
}

// A list of expressions; *n of lo .. hi.
static fp4_status get_exprs(const kernel_scope *s, const cJSON *object, const char *key, int lo,
                            int hi, const rt_expr **out) {
    const cJSON *list;
    int n;
    fp4_status status = get_array(object, key, lo, hi, &list, &n);
    const cJSON *item = status == FP4_OK ? list->child : NULL;
    for (int i = 0; i < n && status == FP4_OK; i++, item = item->next) {
        status = as_expr(s, item, &out[i]);
        if (status != FP4_OK) {
            rt_prefix(status, ".%s[%d]", key, i);
        }
    }
    return status;
}

// ---- parameters ---------------------------------------------------------------------------------

static fp4_status get_elem(const cJSON *object, const char *key, fp4_elem *out) {
    const cJSON *item = member(object, key);
    if (!cJSON_IsString(item) || fp4_elem_find(item->valuestring, out) != FP4_OK) {
        return rt_fail(FP4_ERROR_MODULE, ": '%s' is missing or no element type", key);
    }
    return FP4_OK;
}

// "granule": the last entries are rows and columns, any before them are 1.
static fp4_status read_granule(const cJSON *object, fp4_format *format) {
    const cJSON *list;
    int n;
    fp4_status status = get_array(object, "granule", 1, FP4_MAX_RANK, &list, &n);
    const cJSON *item = status == FP4_OK ? list->child : NULL;
    for (int i = 0; i < n && status == FP4_OK; i++, item = item->next) {
        int64_t size = 0;
        status = as_int(item, "granule", 1, i < n - 2 ? 1 : 1 << 20, &size);
        if (status == FP4_OK && i == n - 1) {
            format->granule_cols = (int32_t)size;
        } else if (status == FP4_OK && i == n - 2) {
            format->granule_rows = (int32_t)size;
        }
    }
    return status;
}

static fp4_status read_format(const cJSON *object, fp4_format *format) {
    *format = (fp4_format){FP4_ELEM_NONE, FP4_ELEM_NONE, 1, 1, FP4_SF_NONE};
    fp4_status status = get_elem(object, "elem", &format->elem);
    if (status == FP4_OK && member(object, "scale")) {
        format->layout = FP4_SF_LINEAR;
        status = get_elem(object, "scale", &format->scale);
        if (status == FP4_OK) {
            status = read_granule(object, format);
        }
    }
    const cJSON *layout = member(object, "layout");
    if (status == FP4_OK && layout &&
        (!cJSON_IsString(layout) || fp4_sf_layout_find(layout->valuestring, &format->layout) != FP4_OK)) {
        return rt_fail(FP4_ERROR_MODULE, ": 'layout' is no layout this version knows");
    }
    if (status == FP4_OK && (status = rt_format_check(format)) != FP4_OK) {
        rt_prefix(status, ": ");
        status = FP4_ERROR_MODULE;
    }
    return status;
}

// All of a parameter but its dims, which may name any parameter.
static fp4_status read_param(rt_pool *pool, const cJSON *object, rt_param *p) {
    static const char *const kinds[] = {"tensor", "scalar"};                    // ORDER param_kind
    static const char *const modes[] = {"in", "out", "inout", "const", "temp"}; // ORDER mode
    int kind = 0;
    int mode = 0;
    fp4_status status = get_name(pool, object, "name", &p->name);
    if (status == FP4_OK) {
        status = get_choice(object, "kind", kinds, 2, &kind);
    }
    if (status == FP4_OK) {
        status = read_format(object, &p->format);
    }
    p->kind = (fp4_param_kind)kind;
    if (status != FP4_OK) {
        return status;
    }
    if (p->kind == FP4_PARAM_SCALAR) {
        fp4_elem e = p->format.elem;
        if (rt_format_scaled(&p->format) ||
            (e != FP4_ELEM_F32 && e != FP4_ELEM_I32 && e != FP4_ELEM_I64)) {
            return rt_fail(FP4_ERROR_MODULE, ": a scalar is f32, i32 or i64, not %s",
                           fp4_elem_name(e));
        }
        return FP4_OK;
    }
    status = get_choice(object, "mode", modes, 5, &mode);
    p->mode = (fp4_mode)mode;
    p->align = 1;
    int64_t align = 1;
    if (status == FP4_OK && member(object, "align")) {
        status = get_int(object, "align", 1, 4096, &align);
    }
    if (status == FP4_OK && (align & (align - 1)) != 0) {
        status = rt_fail(FP4_ERROR_MODULE, ": 'align' is %lld, no power of two", (long long)align);
    }
    p->align = (int)align;
    return status;
}

static fp4_status read_params(kernel_scope *s, fp4_kernel *k, const cJSON *object) {
    const cJSON *list;
    int n;
    fp4_status status = get_array(object, "params", 0, FP4_MAX_ARGS, &list, &n);
    if (status != FP4_OK) {
        return status;
    }
    k->params = rt_pool_new(s->pool, (size_t)n * sizeof *k->params);
    if (!k->params) {
        return FP4_ERROR_MEMORY;
    }
    const cJSON *item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        status = read_param(s->pool, item, &k->params[i]);
        for (int j = 0; j < i && status == FP4_OK; j++) {
            if (strcmp(k->params[j].name, k->params[i].name) == 0) {
                status = rt_fail(FP4_ERROR_MODULE, ": a second parameter '%s'", k->params[i].name);
            }
        }
        if (status != FP4_OK) {
            return rt_prefix(status, ".params[%d]", i);
        }
        k->n_params = i + 1;
    }
    item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        rt_param *p = &k->params[i];
        if (p->kind == FP4_PARAM_TENSOR) {
            p->rank = cJSON_GetArraySize(member(item, "dims"));
            status = get_exprs(s, item, "dims", 0, FP4_MAX_RANK, p->dims);
        }
        if (status != FP4_OK) {
            return rt_prefix(status, ".params[%d]", i);
        }
    }
    return FP4_OK;
}

static fp4_status read_dims(rt_pool *pool, fp4_kernel *k, const cJSON *object) {
    const cJSON *list;
    int n;
    fp4_status status = get_array(object, "dims", 0, FP4_MAX_DIMS, &list, &n);
    const cJSON *item = status == FP4_OK ? list->child : NULL;
    for (int i = 0; i < n && status == FP4_OK; i++, item = item->next) {
        if (!cJSON_IsString(item) || !is_name(item->valuestring)) {
            return rt_fail(FP4_ERROR_MODULE, ".dims[%d]: expected a name", i);
        }
        k->dims[i] = rt_pool_text(pool, item->valuestring, strlen(item->valuestring));
        if (!k->dims[i]) {
            return FP4_ERROR_MEMORY;
        }
        k->n_dims = i + 1;
    }
    return status;
}

// ---- where, arguments, launch -------------------------------------------------------------------

static fp4_status read_where(const kernel_scope *s, fp4_kernel *k, const cJSON *object) {
    const cJSON *list;
    int n;
    if (!member(object, "where")) {
        return FP4_OK;
    }
    fp4_status status = get_array(object, "where", 0, 4096, &list, &n);
    if (status != FP4_OK) {
        return status;
    }
    k->where = rt_pool_new(s->pool, (size_t)n * sizeof *k->where);
    if (!k->where) {
        return FP4_ERROR_MEMORY;
    }
    const cJSON *item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        rt_where *w = &k->where[i];
        int64_t line = 0;
        status = get_text(s->pool, item, "text", &w->text);
        if (status == FP4_OK) {
            status = get_int(item, "line", 0, INT32_MAX, &line);
        }
        if (status == FP4_OK) {
            status = get_expr(s, item, "expr", &w->expr);
        }
        if (status != FP4_OK) {
            return rt_prefix(status, ".where[%d]", i);
        }
        w->line = (int)line;
        k->n_where = i + 1;
    }
    return FP4_OK;
}

static fp4_status get_param(const fp4_kernel *k, const cJSON *object, const char *key,
                            fp4_param_kind kind, int *out) {
    const cJSON *item = member(object, key);
    for (int i = 0; i < k->n_params && cJSON_IsString(item); i++) {
        if (k->params[i].kind == kind && strcmp(k->params[i].name, item->valuestring) == 0) {
            *out = i;
            return FP4_OK;
        }
    }
    return rt_fail(FP4_ERROR_MODULE, ": '%s' names no %s of the kernel", key,
                   kind == FP4_PARAM_TENSOR ? "tensor" : "scalar");
}

static fp4_status get_part(const fp4_kernel *k, const cJSON *object, rt_entry_arg *arg) {
    static const char *const parts[] = {"data", "scale"};
    int part = 0;
    fp4_status status = get_param(k, object, "tensor", FP4_PARAM_TENSOR, &arg->param);
    if (status == FP4_OK) {
        status = get_choice(object, "part", parts, 2, &part);
    }
    arg->scale = part == 1;
    if (status == FP4_OK && arg->scale && !rt_format_scaled(&k->params[arg->param].format)) {
        return rt_fail(FP4_ERROR_MODULE, ": tensor '%s' has no scales", k->params[arg->param].name);
    }
    return status;
}

static fp4_status read_map(const kernel_scope *s, fp4_kernel *k, const cJSON *object,
                           rt_entry_arg *arg) {
    int64_t dtype = 0;
    int64_t swizzle = 0;
    const cJSON *box = NULL;
    int rank = 0;
    fp4_status status = get_part(k, object, arg);
    if (status == FP4_OK) {
        status = get_int(object, "dtype", 0, MAX_DTYPE, &dtype);
    }
    if (status == FP4_OK) {
        status = get_int(object, "swizzle", 0, MAX_SWIZZLE, &swizzle);
    }
    if (status == FP4_OK) {
        status = get_array(object, "box", 1, 5, &box, &rank);
    }
    if (status == FP4_OK) {
        status = get_exprs(s, object, "dims", rank, rank, arg->dims);
    }
    if (status == FP4_OK) {
        status = get_exprs(s, object, "strides", rank - 1, rank - 1, arg->strides);
    }
    if (status == FP4_OK && member(object, "offset_bytes")) {
        status = get_expr(s, object, "offset_bytes", &arg->expr);
    }
    const cJSON *item = status == FP4_OK ? box->child : NULL;
    for (int i = 0; i < rank && status == FP4_OK; i++, item = item->next) {
        int64_t size = 0;
        status = as_int(item, "box", 1, MAX_BOX, &size);
        arg->box[i] = (uint32_t)size;
    }
    arg->dtype = (uint32_t)dtype;
    arg->swizzle = (uint32_t)swizzle;
    arg->rank = (uint32_t)rank;
    if (status == FP4_OK && !arg->scale && rank > 1) {
        k->params[arg->param].mapped = true;
    }
    return status;
}

static fp4_status get_type(const cJSON *object, rt_arg_type *type) {
    static const char *const types[] = {"i32", "i64", "f32"}; // ORDER rt_arg_type
    int i = 0;
    fp4_status status = get_choice(object, "type", types, 3, &i);
    *type = (rt_arg_type)i;
    return status;
}

static fp4_status read_arg(const kernel_scope *s, fp4_kernel *k, const cJSON *object,
                           rt_entry_arg *arg) {
    static const char *const kinds[] = {"tensormap", "pointer", "dim", "scalar",
                                        "workspace"};                           // ORDER rt_arg_kind
    static const fp4_elem elems[] = {FP4_ELEM_I32, FP4_ELEM_I64, FP4_ELEM_F32}; // ORDER rt_arg_type
    int kind = 0;
    fp4_status status = get_choice(object, "kind", kinds, 5, &kind);
    if (status != FP4_OK) {
        return status;
    }
    arg->kind = (rt_arg_kind)kind;
    if (arg->kind == RT_ARG_TENSORMAP) {
        return read_map(s, k, object, arg);
    }
    if (arg->kind == RT_ARG_POINTER) {
        return get_part(k, object, arg);
    }
    if (arg->kind == RT_ARG_WORKSPACE) {
        return FP4_OK;
    }
    status = get_type(object, &arg->type);
    if (status == FP4_OK && arg->kind == RT_ARG_DIM) {
        if (arg->type == RT_F32) {
            return rt_fail(FP4_ERROR_MODULE, ": a size has type i32 or i64");
        }
        return get_expr(s, object, "expr", &arg->expr);
    }
    if (status == FP4_OK) {
        status = get_param(k, object, "name", FP4_PARAM_SCALAR, &arg->param);
    }
    if (status == FP4_OK && k->params[arg->param].format.elem != elems[arg->type]) {
        return rt_fail(FP4_ERROR_MODULE, ": scalar '%s' has another type than the argument",
                       k->params[arg->param].name);
    }
    return status;
}

static fp4_status read_args(const kernel_scope *s, fp4_kernel *k, const cJSON *object) {
    const cJSON *list;
    int n;
    fp4_status status = get_array(object, "args", 0, FP4_MAX_ARGS, &list, &n);
    if (status != FP4_OK) {
        return status;
    }
    k->args = rt_pool_new(s->pool, (size_t)n * sizeof *k->args);
    if (!k->args) {
        return FP4_ERROR_MEMORY;
    }
    const cJSON *item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        status = read_arg(s, k, item, &k->args[i]);
        if (status != FP4_OK) {
            return rt_prefix(status, ".args[%d]", i);
        }
        k->n_args = i + 1;
    }
    return FP4_OK;
}

static fp4_status read_cluster(fp4_kernel *k, const cJSON *launch) {
    const cJSON *list = NULL;
    int n = 0;
    fp4_status status = get_array(launch, "cluster", 3, 3, &list, &n);
    const cJSON *item = status == FP4_OK ? list->child : NULL;
    int64_t product = 1;
    for (int i = 0; i < 3 && status == FP4_OK; i++, item = item->next) {
        int64_t size = 1;
        status = as_int(item, "cluster", 1, MAX_CLUSTER, &size);
        k->cluster[i] = (uint32_t)size;
        product *= size;
    }
    if (status == FP4_OK && (product > MAX_CLUSTER || k->cluster[1] != 1 || k->cluster[2] != 1)) {
        return rt_fail(
            FP4_ERROR_MODULE, ": 'cluster' is [%u,%u,%u], expected [n,1,1], n at most %d",
            (unsigned)k->cluster[0], (unsigned)k->cluster[1], (unsigned)k->cluster[2], MAX_CLUSTER);
    }
    return status;
}

// A truth value that may be missing: false.
static fp4_status get_flag(const cJSON *object, const char *key, bool *out) {
    const cJSON *item = member(object, key);
    *out = cJSON_IsTrue(item);
    return !item || cJSON_IsBool(item)
               ? FP4_OK
               : rt_fail(FP4_ERROR_MODULE, ": '%s' is neither true nor false", key);
}

static fp4_status read_launch(const kernel_scope *s, fp4_kernel *k, const cJSON *object) {
    const cJSON *launch = member(object, "launch");
    const cJSON *grid = member(launch, "grid");
    const cJSON *persistent = member(grid, "persistent");
    int64_t threads = 0;
    int64_t smem = 0;
    fp4_status status = get_int(launch, "threads", 1, MAX_THREADS, &threads);
    if (status == FP4_OK) {
        status = get_int(launch, "smem", 0, MAX_SMEM, &smem);
    }
    if (status == FP4_OK) {
        status = read_cluster(k, launch);
    }
    if (status == FP4_OK) {
        status = get_expr(s, grid, "tiles", &k->tiles);
    }
    if (status == FP4_OK && !cJSON_IsBool(persistent)) {
        status =
            rt_fail(FP4_ERROR_MODULE, ": 'grid.persistent' is missing or neither true nor false");
    }
    if (status == FP4_OK) {
        status = get_flag(launch, "pdl", &k->pdl);
    }
    if (status == FP4_OK) {
        status = get_flag(launch, "cooperative", &k->cooperative);
    }
    if (status == FP4_OK && member(launch, "workspace")) {
        status = get_int(launch, "workspace", 1, MAX_WORKSPACE, &k->workspace);
    }
    for (int i = 0; i < k->n_args && status == FP4_OK; i++) {
        if (k->args[i].kind == RT_ARG_WORKSPACE && k->workspace == 0) {
            return rt_fail(FP4_ERROR_MODULE, ": args[%d] is a workspace, of which a thread block has 0 bytes", i);
        }
    }
    k->threads = (uint32_t)threads;
    k->smem_bytes = (uint32_t)smem;
    k->persistent = cJSON_IsTrue(persistent);
    int64_t per_sm = 1;
    if (status == FP4_OK && member(grid, "per_sm")) {
        status = get_int(grid, "per_sm", 1, MAX_PER_SM, &per_sm);
    }
    k->per_sm = (int)per_sm;
    if (status == FP4_OK && k->workspace && (!k->persistent || k->per_sm != 1)) {
        return rt_fail(FP4_ERROR_MODULE, ": a workspace without a persistent grid of one thread block a multiprocessor");
    }
    return status;
}

// A number of the report; -1 when it is not there.
static int report_of(const cJSON *object, const char *key) {
    int64_t value;
    return is_int(member(member(object, "report"), key), 0, INT32_MAX, &value) ? (int)value : -1;
}

static fp4_status read_kernel(fp4_module *module, const cJSON *object, fp4_kernel *k) {
    rt_pool *pool = &module->pool;
    kernel_scope s = {
        .scope.find = find_name, .kernel = k, .tparams = member(object, "tparams"), .pool = pool};
    k->module = module;
    fp4_status status = get_name(pool, object, "name", &k->name);
    if (status == FP4_OK) {
        status = get_name(pool, object, "arch", &k->arch);
    }
    if (status == FP4_OK) {
        status = get_name(pool, object, "entry", &k->entry);
    }
    if (status == FP4_OK) {
        status = read_dims(pool, k, object);
    }
    if (status == FP4_OK) {
        status = read_params(&s, k, object);
    }
    if (status == FP4_OK && member(object, "when")) {
        status = get_expr(&s, object, "when", &k->when);
    }
    if (status == FP4_OK && member(object, "cost")) {
        status = get_expr(&s, object, "cost", &k->cost);
        module->costed = true;
    }
    if (status == FP4_OK) {
        status = read_where(&s, k, object);
    }
    if (status == FP4_OK) {
        status = read_args(&s, k, object);
    }
    if (status == FP4_OK && (status = read_launch(&s, k, object)) != FP4_OK) {
        rt_prefix(status, ".launch");
    }
    module->streamed |= k->workspace > 0;
    k->regs = report_of(object, "regs");
    k->spill_bytes = report_of(object, "spills");
    k->stack_bytes = report_of(object, "stack");
    return status;
}

static fp4_status read_root(fp4_module *module, const cJSON *root) {
    const cJSON *list = NULL;
    int n = 0;
    fp4_status status = get_text(&module->pool, root, "source", &module->source);
    if (status == FP4_OK) {
        status = get_array(root, "kernels", 1, MAX_KERNELS, &list, &n);
    }
    if (status != FP4_OK) {
        return status;
    }
    module->kernels = rt_pool_new(&module->pool, (size_t)n * sizeof *module->kernels);
    if (!module->kernels) {
        return FP4_ERROR_MEMORY;
    }
    const cJSON *item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        status = read_kernel(module, item, &module->kernels[i]);
        if (status != FP4_OK) {
            return rt_prefix(status, ": kernels[%d]", i);
        }
        module->n_kernels = i + 1;
    }
    return FP4_OK;
}

fp4_status rt_meta_read(fp4_module *module, const char *text, size_t bytes) {
    if (bytes > MAX_META_BYTES) {
        return rt_fail(FP4_ERROR_MODULE, "META has %zu bytes, more than %d", bytes, MAX_META_BYTES);
    }
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, bytes, &end, false);
    if (!root) {
        return rt_fail(FP4_ERROR_MODULE, "META is no JSON, or memory is used up");
    }
    fp4_status status = FP4_OK;
    while (end < text + bytes && (*end == ' ' || *end == '\n' || *end == '\0')) {
        end++;
    }
    if (end != text + bytes) {
        status = rt_fail(FP4_ERROR_MODULE, "META has %zu bytes behind its end",
                         (size_t)(text + bytes - end));
    } else if ((status = read_root(module, root)) == FP4_ERROR_MODULE) {
        rt_prefix(status, "META");
    }
    cJSON_Delete(root);
    return status;
}
