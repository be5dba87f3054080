// Launching: arguments are bound to the kernel's description, every promise of the description is
// checked, the PTX parameters are made, the device is called. In this order, so that a refused
// launch has done nothing; and without allocating, so that a launch can be captured in a graph.
//
//   bind    arguments to parameters: kind, format, storage, alignment
//   unify   one value for each size from all shapes, then the shapes that are expressions
//   choose  the cheapest variant whose 'when' holds, 'where' clauses, number of tiles
//   build   pointers, sizes, scalars and tensor maps
#include "format.h"
#include "kernel.h"
#include "module.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PARAM_BYTES = 4096 }; // of all PTX parameters together: what every driver takes

typedef struct {
    const fp4_kernel *kernel;
    const fp4_arg *args; // one per parameter; NULL in a question without tensors
    rt_env env;
    int bound_by[FP4_MAX_DIMS]; // parameter that gave the size its value; -1: the caller
    void *stream;
    uint64_t workspace; // the stream's when the call began; 0: none, or no kernel of the module takes one
    int64_t workspace_bytes;
    bool lacks; // the kernel's 'when' holds, but the stream's workspace is too small for it
} binding;

__attribute__((format(printf, 2, 3))) static fp4_status refuse(const fp4_kernel *k,
                                                               const char *format, ...) {
    char text[800];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return rt_fail(FP4_ERROR_MISMATCH, "%s(): %s", k->name, text);
}

static void set_var(rt_env *env, int var, int64_t value) {
    env->value[var] = value;
    env->known[var] = true;
}

// ---- bind ---------------------------------------------------------------------------------------

static const char *const arg_kinds[] = {"a tensor", "an f32", "an i32", "an i64", "a size"};

static const char *kind_of(const fp4_arg *arg) {
    return (unsigned)arg->kind <= FP4_ARG_DIM ? arg_kinds[arg->kind] : "of no known kind";
}

static fp4_arg_kind wanted_kind(const rt_param *p) {
    if (p->kind == FP4_PARAM_TENSOR) {
        return FP4_ARG_TENSOR;
    }
    return p->format.elem == FP4_ELEM_F32   ? FP4_ARG_F32
           : p->format.elem == FP4_ELEM_I32 ? FP4_ARG_I32
                                            : FP4_ARG_I64;
}

// An address that the kernel will use: there, and aligned.
static fp4_status check_address(const fp4_kernel *k, const rt_param *p, const char *part,
                                uint64_t address, int64_t bytes) {
    if (bytes == 0) {
        return FP4_OK;
    }
    if (address == 0) {
        return refuse(k, "%s has no memory for its %s (%lld bytes)", p->name, part,
                      (long long)bytes);
    }
    if (address % (uint64_t)p->align != 0) {
        return refuse(k, "%s: the address 0x%llx of its %s must be a multiple of %d", p->name,
                      (unsigned long long)address, part, p->align);
    }
    if (address + (uint64_t)bytes < address) {
        return refuse(k, "%s: its %s ends beyond the address space", p->name, part);
    }
    return FP4_OK;
}

static const char *layout_hint(const fp4_format *format) {
    fp4_elem laid = format->scale != FP4_ELEM_NONE ? format->scale : format->elem;
    return fp4_elem_bits(laid) == 8
               ? "; fp4_relayout carries scales from one layout to another"
               : "; fp4_host_repack carries scales from one layout to another";
}

static fp4_status bind_tensor(binding *b, int index, const fp4_tensor *t) {
    const fp4_kernel *k = b->kernel;
    const rt_param *p = &k->params[index];
    fp4_storage s;
    if (!t) {
        return refuse(k, "argument %d (%s) is a NULL tensor", index + 1, p->name);
    }
    fp4_status status = fp4_tensor_storage(t, &s);
    if (status != FP4_OK) {
        return rt_prefix(status, "%s(): %s: ", k->name, p->name);
    }
    if (t->ctx && t->ctx != k->module->ctx) {
        return refuse(k, "%s lies in another context's memory (device %s)", p->name,
                      t->ctx->properties.name);
    }
    if (!rt_format_equal(&t->format, &p->format)) {
        char have[FP4_MAX_NAME];
        char want[FP4_MAX_NAME];
        bool layout_only = t->format.elem == p->format.elem && t->format.scale == p->format.scale &&
                           t->format.layout != p->format.layout;
        return refuse(k, "%s is %s, expected %s%s", p->name, rt_format_text(&t->format, have),
                      rt_format_text(&p->format, want),
                      layout_only ? layout_hint(&p->format) : "");
    }
    if (t->rank != p->rank) {
        return refuse(k, "%s has %d dimensions, expected %d", p->name, (int)t->rank, p->rank);
    }
    status = check_address(k, p, "data", t->data, s.data_bytes);
    if (status == FP4_OK) {
        status = check_address(k, p, "scales", t->scale, s.scale_bytes);
    }
    set_var(&b->env, rt_param_var(index, RT_VAR_PITCH), s.pitch);
    set_var(&b->env, rt_param_var(index, RT_VAR_SF_BYTES), s.scale_matrix_bytes);
    return status;
}

static fp4_status bind_args(binding *b, int n_args) {
    const fp4_kernel *k = b->kernel;
    if (n_args < k->n_params) {
        return refuse(k, "%d arguments, expected %d (the next one is %s)", n_args, k->n_params,
                      k->params[n_args].name);
    }
    for (int i = 0; i < k->n_params; i++) {
        const rt_param *p = &k->params[i];
        const fp4_arg *arg = &b->args[i];
        if (arg->kind != wanted_kind(p)) {
            return refuse(k, "argument %d is %s, expected %s for %s", i + 1, kind_of(arg),
                          arg_kinds[wanted_kind(p)], p->name);
        }
        if (arg->name && strcmp(arg->name, p->name) != 0) {
            return refuse(k, "argument %d is given as '%.60s', but is %s", i + 1, arg->name,
                          p->name);
        }
        if (arg->kind == FP4_ARG_TENSOR) {
            fp4_status status = bind_tensor(b, i, arg->v.tensor);
            if (status != FP4_OK) {
                return status;
            }
        } else if (arg->kind != FP4_ARG_F32) {
            set_var(&b->env, rt_param_var(i, RT_VAR_VALUE),
                    arg->kind == FP4_ARG_I32 ? arg->v.i32 : arg->v.i64);
        }
    }
    return FP4_OK;
}

// ---- unify --------------------------------------------------------------------------------------

static fp4_status bind_dim(binding *b, int dim, int64_t value, int param) {
    const fp4_kernel *k = b->kernel;
    if (!b->env.known[dim]) {
        set_var(&b->env, dim, value);
        b->bound_by[dim] = param;
        return FP4_OK;
    }
    if (b->env.value[dim] == value) {
        return FP4_OK;
    }
    int first = b->bound_by[dim];
    return refuse(k, "%s = %lld in %s, but %lld in %s", k->dims[dim], (long long)b->env.value[dim],
                  first < 0 ? "the call" : k->params[first].name, (long long)value,
                  param < 0 ? "the call" : k->params[param].name);
}

static fp4_status bind_named(binding *b, const char *name, int64_t value) {
    const fp4_kernel *k = b->kernel;
    for (int i = 0; i < k->n_dims && name; i++) {
        if (strcmp(k->dims[i], name) == 0) {
            if (value < 0) {
                return refuse(k, "%s = %lld; sizes are not negative", name, (long long)value);
            }
            return bind_dim(b, i, value, -1);
        }
    }
    return refuse(k, "there is no size '%.60s'", name ? name : "(NULL)");
}

static fp4_status unify_shapes(binding *b) {
    const fp4_kernel *k = b->kernel;
    for (int i = 0; i < k->n_params; i++) {
        const rt_param *p = &k->params[i];
        for (int axis = 0; axis < p->rank; axis++) {
            const rt_expr *e = p->dims[axis];
            if (e->op == EXPR_VAR && e->var < RT_VAR_PARAMS) {
                int64_t size = b->args[i].v.tensor->dims[axis];
                fp4_status status = bind_dim(b, e->var, size, i);
                if (status != FP4_OK) {
                    return status;
                }
            }
        }
    }
    return FP4_OK;
}

static fp4_status all_known(const binding *b) {
    const fp4_kernel *k = b->kernel;
    for (int i = 0; i < k->n_dims; i++) {
        if (!b->env.known[i]) {
            return refuse(k,
                          "size %s is not known; give it, for example with fp4_arg_dim(\"%s\", n)",
                          k->dims[i], k->dims[i]);
        }
    }
    return FP4_OK;
}

// A size that an expression of the module gives.
static fp4_status eval(binding *b, const rt_expr *e, const char *what, int64_t *out) {
    if (rt_expr_eval(e, &b->env, out)) {
        return FP4_OK;
    }
    return refuse(b->kernel, "%s cannot be computed: %s", what, b->env.why);
}

static fp4_status check_shapes(binding *b) {
    const fp4_kernel *k = b->kernel;
    for (int i = 0; i < k->n_params; i++) {
        const rt_param *p = &k->params[i];
        for (int axis = 0; axis < p->rank; axis++) {
            int64_t want;
            fp4_status status = eval(b, p->dims[axis], p->name, &want);
            if (status != FP4_OK) {
                return status;
            }
            int64_t have = b->args[i].v.tensor->dims[axis];
            if (have != want) {
                return refuse(k, "dimension %d of %s is %lld, expected %lld", axis + 1, p->name,
                              (long long)have, (long long)want);
            }
        }
    }
    return FP4_OK;
}

// ---- choose -------------------------------------------------------------------------------------

// "M = 3, K = 64": the sizes that an expression speaks of, each once.
static void list_sizes(const binding *b, const rt_expr *e, bool *seen, char *text, size_t bytes) {
    if (e->op == EXPR_VAR && !seen[e->var]) {
        size_t used = strlen(text);
        snprintf(text + used, bytes - used, "%s%s = %lld", used ? ", " : "", e->name,
                 (long long)b->env.value[e->var]);
        seen[e->var] = true;
    } else if (e->op < EXPR_N_OPS) {
        list_sizes(b, e->a, seen, text, bytes);
        list_sizes(b, e->b, seen, text, bytes);
    }
}

// x % n == 0, with x a size and n a number: by far the most frequent clause.
static bool is_multiple(const rt_expr *e) {
    return e->op == EXPR_EQ && e->b->op == EXPR_NUMBER && e->b->number == 0 &&
           e->a->op == EXPR_MOD && e->a->a->op == EXPR_VAR && e->a->b->op == EXPR_NUMBER;
}

static fp4_status refuse_where(const binding *b, const rt_where *w) {
    const fp4_kernel *k = b->kernel;
    char place[300];
    snprintf(place, sizeof place, "%.100s:%d 'where %.160s'", k->module->source, w->line, w->text);
    if (is_multiple(w->expr)) {
        const rt_expr *x = w->expr->a->a;
        return refuse(k, "%s = %lld must be a multiple of %lld (%s)", x->name,
                      (long long)b->env.value[x->var], (long long)w->expr->a->b->number, place);
    }
    bool seen[RT_MAX_VARS] = {false};
    char sizes[300] = "";
    list_sizes(b, w->expr, seen, sizes, sizeof sizes);
    return refuse(k, "%s does not hold%s%s", place, sizes[0] ? " for " : "", sizes);
}

static fp4_status check_where(binding *b) {
    for (int i = 0; i < b->kernel->n_where; i++) {
        const rt_where *w = &b->kernel->where[i];
        int64_t holds;
        fp4_status status = eval(b, w->expr, w->text, &holds);
        if (status != FP4_OK) {
            return status;
        }
        if (!holds) {
            return refuse_where(b, w);
        }
    }
    return FP4_OK;
}

// After 'where', whose clauses say the same of a dense tensor in the author's words.
static fp4_status check_pitches(const binding *b) {
    const fp4_kernel *k = b->kernel;
    for (int i = 0; i < k->n_params; i++) {
        int64_t pitch = b->env.value[rt_param_var(i, RT_VAR_PITCH)];
        if (k->params[i].mapped && pitch % k->params[i].align != 0) {
            return refuse(k, "%s: its row pitch of %lld bytes must be a multiple of %d",
                          k->params[i].name, (long long)pitch, k->params[i].align);
        }
    }
    return FP4_OK;
}

// Whether the kernel's 'when' holds; a kernel without one always serves.
static fp4_status check_when(binding *b, bool *holds) {
    int64_t value = 1;
    fp4_status status = FP4_OK;
    if (b->kernel->when) {
        status = eval(b, b->kernel->when, "'when'", &value);
    }
    *holds = value != 0;
    return status;
}

// Of the call, once: whatever another thread does meanwhile, what is judged is what the launch is told.
static void set_stream(binding *b, const fp4_module *module, void *stream) {
    b->stream = stream;
    b->workspace = 0;
    b->workspace_bytes = module->streamed ? rt_workspace_of(module->ctx, stream, &b->workspace) : 0;
}

static void begin(binding *b, const fp4_kernel *kernel, const fp4_arg *args) {
    b->kernel = kernel;
    b->args = args;
    memset(b->env.known, 0, sizeof b->env.known);
    set_var(&b->env, RT_VAR_SMS, kernel->module->ctx->properties.n_sms);
}

static fp4_status bind_call(binding *b, const fp4_arg *args, int n_args) {
    fp4_status status = bind_args(b, n_args);
    for (int i = b->kernel->n_params; i < n_args && status == FP4_OK; i++) {
        if (args[i].kind != FP4_ARG_DIM) {
            return refuse(b->kernel, "%d arguments, expected %d", n_args, b->kernel->n_params);
        }
        status = bind_named(b, args[i].name, args[i].v.i64);
    }
    if (status == FP4_OK) {
        status = unify_shapes(b);
    }
    if (status == FP4_OK) {
        status = all_known(b);
    }
    return status == FP4_OK ? check_shapes(b) : status;
}

// A variant that needs a workspace serves streams that have one.
static bool lacks_workspace(const binding *b) {
    return b->workspace_bytes < rt_workspace_need(b->kernel);
}

static fp4_status refuse_workspace(const binding *b, const fp4_kernel *k) {
    int64_t have = b->workspace_bytes, need = rt_workspace_need(k);
    char what[64] = "none";
    if (have > 0) {
        snprintf(what, sizeof what, "one of %lld", (long long)have);
    }
    return refuse(k, "needs a workspace of %lld bytes on this stream, which has %s: fp4_workspace(ctx, stream, %lld) "
                     "gives it one", (long long)need, what, (long long)need);
}

static fp4_status bind_variant(binding *b, const fp4_kernel *kernel, const fp4_arg *args,
                               int n_args, bool *holds) {
    *holds = false;
    begin(b, kernel, args);
    fp4_status status = bind_call(b, args, n_args);
    if (status == FP4_OK) {
        status = check_when(b, holds);
    }
    b->lacks = status == FP4_OK && *holds && lacks_workspace(b);
    *holds = *holds && !b->lacks;
    return status;
}

fp4_kernel *rt_next_variant(const fp4_kernel *k) {
    fp4_module *module = k->module;
    for (fp4_kernel *v = module->kernels + (k - module->kernels) + 1;
         v < module->kernels + module->n_kernels; v++) {
        if (strcmp(v->name, k->name) == 0 && strcmp(v->arch, k->arch) == 0) {
            return v;
        }
    }
    return NULL;
}

// ---- build --------------------------------------------------------------------------------------

typedef struct {
    _Alignas(RT_TENSORMAP_ALIGN) uint8_t bytes[PARAM_BYTES];
    size_t used;
    rt_launch_param list[FP4_MAX_ARGS];
    int n;
} parameters;

// Kernels round sizes up to whole tiles, in 32 bits.
enum { MOST_SIZE = INT32_MAX - 65535 };

// Room for the next parameter; NULL when there is none left.
static void *next_param(parameters *out, size_t bytes, size_t align) {
    size_t at = (out->used + align - 1) & ~(align - 1);
    if (at + bytes > PARAM_BYTES) {
        return NULL;
    }
    out->used = at + bytes;
    out->list[out->n++] = (rt_launch_param){out->bytes + at, bytes};
    return out->bytes + at;
}

static fp4_status add_word(const binding *b, parameters *out, int64_t value, rt_arg_type type) {
    if (type == RT_I32 && (value > INT32_MAX || value < INT32_MIN)) {
        return refuse(b->kernel, "%lld does not fit the kernel's 32-bit parameter", (long long)value);
    }
    size_t bytes = type == RT_I32 ? 4 : 8;
    void *at = next_param(out, bytes, bytes);
    if (!at) {
        return refuse(b->kernel, "its parameters take more than %d bytes", PARAM_BYTES);
    }
    memcpy(at, &value, bytes); // little-endian: the low half of an i32
    return FP4_OK;
}

static fp4_status add_scalar(parameters *out, const binding *b, const rt_entry_arg *arg) {
    const fp4_arg *given = &b->args[arg->param];
    if (arg->type == RT_F32) {
        int32_t bits;
        memcpy(&bits, &given->v.f32, sizeof bits);
        return add_word(b, out, bits, RT_I32);
    }
    return add_word(b, out, arg->type == RT_I32 ? given->v.i32 : given->v.i64, arg->type);
}

enum {
    MAP_PADDED = 14,        // CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B, then 16U6_ALIGN16B
    MAP_PADDED_ELEMS = 128, // cuda.h: their inner size is a multiple of this
};

// Limits of cuTensorMapEncodeTiled that the caller's shapes can break (hardware.md 5.1). An axis of
// size 0 is described as one element: no kernel reads a tensor without elements, but maps without
// extent do not exist.
static fp4_status fill_map(binding *b, const rt_entry_arg *arg, rt_tensormap *map) {
    const fp4_kernel *k = b->kernel;
    const char *name = k->params[arg->param].name;
    for (uint32_t i = 0; i < arg->rank; i++) {
        int64_t size;
        fp4_status status = eval(b, arg->dims[i], name, &size);
        if (status != FP4_OK) {
            return status;
        }
        // Coordinates are signed words (PTX ISA "cp.async.bulk.tensor").
        if (size < 0 || size > INT64_C(1) << 31) {
            return refuse(k, "%s: axis %u of its tensor map would have %lld elements, at most 2^31",
                          name, (unsigned)i, (long long)size);
        }
        if (i == 0 && arg->dtype >= MAP_PADDED && size % MAP_PADDED_ELEMS != 0) {
            return refuse(k, "%s: %lld elements in a row; a multiple of %d can be padded to bytes on the way",
                          name, (long long)size, MAP_PADDED_ELEMS);
        }
        map->dims[i] = size ? (uint64_t)size : i == 0 && arg->dtype >= MAP_PADDED ? MAP_PADDED_ELEMS : 1;
    }
    int align = arg->scale ? 16 : k->params[arg->param].align;
    for (uint32_t i = 0; i + 1 < arg->rank; i++) {
        int64_t stride;
        fp4_status status = eval(b, arg->strides[i], name, &stride);
        if (status != FP4_OK) {
            return status;
        }
        if (stride % align != 0 || stride < 0 || stride >= INT64_C(1) << 40) {
            return refuse(k, "%s: a stride of %lld bytes must be a multiple of %d below 2^40", name,
                          (long long)stride, align);
        }
        map->strides[i] = stride ? (uint64_t)stride : (uint64_t)align;
    }
    return FP4_OK;
}

static fp4_status add_map(parameters *out, binding *b, const rt_entry_arg *arg) {
    const fp4_kernel *k = b->kernel;
    const rt_param *p = &k->params[arg->param];
    const fp4_tensor *t = b->args[arg->param].v.tensor;
    rt_tensormap map = {.dtype = arg->dtype,
                        .rank = arg->rank,
                        .address = arg->scale ? t->scale : t->data,
                        .swizzle = arg->swizzle};
    memcpy(map.box, arg->box, sizeof map.box);
    int64_t offset = 0;
    fp4_status status = fill_map(b, arg, &map);
    if (status == FP4_OK && arg->expr) {
        status = eval(b, arg->expr, p->name, &offset);
    }
    if (status != FP4_OK) {
        return status;
    }
    map.address += (uint64_t)offset;
    if (map.address % 16 != 0) {
        return refuse(k, "%s: the address 0x%llx of its %s must be a multiple of 16", p->name,
                      (unsigned long long)map.address, arg->scale ? "scales" : "data");
    }
    map.address = map.address ? map.address : 256; // an empty tensor's
    uint8_t *at = next_param(out, RT_TENSORMAP_BYTES, RT_TENSORMAP_ALIGN);
    if (!at) {
        return refuse(k, "its parameters take more than %d bytes", PARAM_BYTES);
    }
    fp4_ctx *ctx = k->module->ctx;
    status = ctx->ops->tensormap_encode(ctx->device, &map, at);
    return status == FP4_OK ? status : rt_prefix(status, "%s(): %s: ", k->name, p->name);
}

static fp4_status add_arg(parameters *out, binding *b, const rt_entry_arg *arg) {
    int64_t value;
    fp4_status status;
    switch (arg->kind) {
    case RT_ARG_TENSORMAP:
        return add_map(out, b, arg);
    case RT_ARG_POINTER: {
        const fp4_tensor *t = b->args[arg->param].v.tensor;
        return add_word(b, out, (int64_t)(arg->scale ? t->scale : t->data), RT_I64);
    }
    case RT_ARG_SCALAR:
        return add_scalar(out, b, arg);
    case RT_ARG_WORKSPACE:
        return add_word(b, out, (int64_t)b->workspace, RT_I64);
    default:
        status = eval(b, arg->expr, "a size", &value);
        if (status == FP4_OK && arg->type == RT_I32 && value > MOST_SIZE) {
            return refuse(b->kernel, "a size of %lld, of at most %d: the kernel rounds it up to its tiles in 32 bits",
                          (long long)value, MOST_SIZE);
        }
        return status == FP4_OK ? add_word(b, out, value, arg->type) : status;
    }
}

// Number of thread blocks along x; 0: nothing to do.
static fp4_status grid_of(binding *b, uint32_t *grid) {
    const fp4_kernel *k = b->kernel;
    int64_t tiles;
    fp4_status status = eval(b, k->tiles, "the number of tiles", &tiles);
    if (status != FP4_OK) {
        return status;
    }
    int64_t cluster = (int64_t)k->cluster[0] * k->cluster[1] * k->cluster[2];
    if (k->persistent && tiles > INT32_MAX) { // blocks that walk count in 32 bits
        return refuse(k, "%lld %s, at most %d are counted", (long long)tiles,
                      k->workspace ? "steps of all tiles together" : "tiles", INT32_MAX);
    }
    if (k->persistent) {
        int64_t fit = (int64_t)k->module->ctx->properties.n_sms * k->per_sm / cluster;
        fit = fit ? fit : 1;
        tiles = tiles < fit ? tiles : fit;
    }
    if (tiles < 0 || tiles > INT32_MAX / cluster) {
        return refuse(k, "%lld tiles, of 0 .. %lld that one launch can have", (long long)tiles,
                      (long long)(INT32_MAX / cluster));
    }
    if (k->workspace && tiles * cluster > FP4_MODULE_FLAG_BLOCKS) {
        return refuse(k, "%lld thread blocks, of at most %u that hand each other partial results; without 'split .. "
                         "over sms' there is no such limit", (long long)(tiles * cluster), FP4_MODULE_FLAG_BLOCKS);
    }
    *grid = (uint32_t)(tiles * cluster);
    return FP4_OK;
}

// After a launch that the simulator broke off: flags may be set that nobody reads any more.
static void clear_flags(const binding *b) {
    char sentence[800];
    fp4_ctx *ctx = b->kernel->module->ctx;
    snprintf(sentence, sizeof sentence, "%s", fp4_last_error());
    ctx->ops->fill(ctx->device, b->workspace, 0, FP4_MODULE_FLAG_BYTES, b->stream);
    rt_fail(FP4_ERROR_DEVICE, "%s", sentence);
}

static fp4_status run(binding *b, fp4_kernel *k, uint32_t grid) {
    parameters params;
    params.used = 0;
    params.n = 0;
    fp4_status status = FP4_OK;
    for (int i = 0; i < k->n_args && status == FP4_OK; i++) {
        status = add_arg(&params, b, &k->args[i]);
    }
    fp4_ctx *ctx = k->module->ctx;
    if (status == FP4_OK && lacks_workspace(b)) {
        return refuse_workspace(b, k);
    }
    if (status == FP4_OK && !atomic_load(&k->function)) {
        status = ctx->ops->not_captured(ctx->device, b->stream,
                                        "the first launch of a kernel that fp4_module_kernel has "
                                        "not loaded");
        if (status == FP4_OK) {
            status = rt_kernel_load(k);
        }
    }
    if (status != FP4_OK) {
        return status;
    }
    rt_launch launch = {.function = atomic_load(&k->function),
                        .grid = {grid, 1, 1},
                        .block = {k->threads, 1, 1},
                        .cluster = {k->cluster[0], k->cluster[1], k->cluster[2]},
                        .smem_bytes = k->smem_bytes,
                        .pdl = k->pdl,
                        .cooperative = k->cooperative,
                        .stream = b->stream,
                        .params = params.list,
                        .n_params = params.n};
    status = ctx->ops->launch(ctx->device, &launch);
    if (status != FP4_OK && k->workspace) {
        clear_flags(b);
    }
    atomic_fetch_add(&ctx->n_launches, status == FP4_OK);
    return status == FP4_OK ? status : rt_prefix(status, "%s(): ", k->name);
}

static fp4_status check_device(const fp4_kernel *k) {
    const rt_properties *device = &k->module->ctx->properties;
    if (!device->runs_any_arch && strcmp(device->arch, k->arch) != 0) {
        return refuse(k, "compiled for %s, the device %s is %s", k->arch, device->name,
                      device->arch);
    }
    return FP4_OK;
}

// What speaks for the bound variant (module.h, Choice): a measurement, else its cost.
static rt_rank rank_of(binding *b) {
    const fp4_kernel *k = b->kernel;
    rt_rank rank = {.distance = INFINITY, .ns = INT64_MAX, .cost = 0};
    if (k->cost && !rt_expr_eval(k->cost, &b->env, &rank.cost)) {
        rank.cost = INT64_MAX;
    }
    if (k->points) {
        rt_tune_judge(k, b->env.value, k->module->ctx->properties.n_sms, &rank);
    }
    return rank;
}

// The variant that serves the call, bound.
static fp4_status choose(binding *b, fp4_kernel *kernel, const fp4_arg *args, int n_args,
                         fp4_kernel **out) {
    fp4_kernel *best = NULL, *lacking = NULL;
    rt_rank best_rank = {0, 0, 0};
    for (fp4_kernel *v = kernel; v; v = rt_next_variant(v)) {
        bool holds;
        fp4_status status = bind_variant(b, v, args, n_args, &holds);
        if (status != FP4_OK) {
            return status;
        }
        if (!holds) {
            lacking = lacking || !b->lacks ? lacking : v;
            continue;
        }
        *out = v;
        if (!kernel->module->tuned && !kernel->module->costed) {
            return FP4_OK; // the first one
        }
        rt_rank rank = rank_of(b);
        if (!best || rt_rank_better(&rank, &best_rank)) {
            best = v;
            best_rank = rank;
        }
    }
    if (!best && lacking) {
        return refuse_workspace(b, lacking);
    }
    if (!best) {
        return refuse(kernel, "no variant for %s admits these sizes", kernel->arch);
    }
    bool holds;
    *out = best;
    return b->kernel == best ? FP4_OK : bind_variant(b, best, args, n_args, &holds);
}

// The clauses and limits of a call that is bound; then it goes to the device.
static fp4_status launch_bound(binding *b, fp4_kernel *variant) {
    uint32_t grid = 0;
    fp4_status status = check_where(b);
    if (status == FP4_OK) {
        status = check_pitches(b);
    }
    if (status == FP4_OK) {
        status = grid_of(b, &grid);
    }
    return status != FP4_OK || grid == 0 ? status : run(b, variant, grid);
}

fp4_status fp4_launch(fp4_kernel *kernel, const fp4_arg *args, int n_args, void *stream) {
    if (!kernel || n_args < 0 || (n_args > 0 && !args)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_launch(): %s",
                       n_args < 0 ? "a negative number of arguments" : "NULL argument");
    }
    fp4_status status = check_device(kernel);
    if (status != FP4_OK) {
        return status;
    }
    binding b;
    set_stream(&b, kernel->module, stream);
    fp4_kernel *variant;
    status = choose(&b, kernel, args, n_args, &variant);
    return status == FP4_OK ? launch_bound(&b, variant) : status;
}

fp4_status rt_launch_one(fp4_kernel *variant, const fp4_arg *args, int n_args, void *stream,
                         rt_outcome *outcome) {
    binding b;
    set_stream(&b, variant->module, stream);
    outcome->holds = false;
    fp4_status status = check_device(variant);
    if (status == FP4_OK) {
        status = bind_variant(&b, variant, args, n_args, &outcome->holds);
    }
    if (status != FP4_OK || !outcome->holds) {
        return status;
    }
    memcpy(outcome->sizes, b.env.value, sizeof outcome->sizes);
    return launch_bound(&b, variant);
}

fp4_status fp4_launch_variant(fp4_kernel *variant, const fp4_arg *args, int n_args, void *stream) {
    if (!variant || n_args < 0 || (n_args > 0 && !args)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_launch_variant(): %s",
                       n_args < 0 ? "a negative number of arguments" : "NULL argument");
    }
    binding b;
    set_stream(&b, variant->module, stream);
    fp4_status status = check_device(variant);
    if (status == FP4_OK) {
        begin(&b, variant, args);
        status = bind_call(&b, args, n_args);
    }
    return status == FP4_OK ? launch_bound(&b, variant) : status;
}

fp4_status fp4_kernel_variant(fp4_kernel *kernel, const fp4_arg *args, int n_args,
                              fp4_kernel **out) {
    if (!kernel || n_args < 0 || (n_args > 0 && !args) || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_kernel_variant(): NULL argument");
    }
    *out = NULL;
    binding b;
    set_stream(&b, kernel->module, NULL);
    fp4_kernel *variant;
    fp4_status status = choose(&b, kernel, args, n_args, &variant);
    *out = status == FP4_OK ? variant : NULL;
    return status;
}

// ---- questions ----------------------------------------------------------------------------------

static fp4_status bind_sizes(binding *b, const fp4_kernel *kernel, const fp4_dim *dims,
                             int n_dims) {
    begin(b, kernel, NULL);
    fp4_status status = FP4_OK;
    for (int i = 0; i < n_dims && status == FP4_OK; i++) {
        status = bind_named(b, dims[i].name, dims[i].value);
    }
    return status == FP4_OK ? all_known(b) : status;
}

fp4_status fp4_kernel_shape(const fp4_kernel *kernel, int index, const fp4_dim *dims, int n_dims,
                            int *rank, int64_t shape[FP4_MAX_RANK]) {
    if (!kernel || (n_dims > 0 && !dims) || !rank || !shape) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_kernel_shape(): NULL argument");
    }
    if (index < 0 || index >= kernel->n_params) {
        return rt_fail(FP4_ERROR_NOT_FOUND, "%s() has %d parameters, there is no number %d",
                       kernel->name, kernel->n_params, index);
    }
    const rt_param *p = &kernel->params[index];
    binding b;
    fp4_status status = bind_sizes(&b, kernel, dims, n_dims);
    for (int axis = 0; axis < p->rank && status == FP4_OK; axis++) {
        status = eval(&b, p->dims[axis], p->name, &shape[axis]);
        if (status == FP4_OK && shape[axis] < 0) {
            status = refuse(kernel, "dimension %d of %s would be %lld", axis + 1, p->name,
                            (long long)shape[axis]);
        }
    }
    *rank = p->rank;
    return status;
}

fp4_status fp4_kernel_admits(const fp4_kernel *kernel, const fp4_dim *dims, int n_dims) {
    if (!kernel || (n_dims > 0 && !dims)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_kernel_admits(): NULL argument");
    }
    binding b;
    bool holds = false;
    fp4_status status = bind_sizes(&b, kernel, dims, n_dims);
    if (status == FP4_OK) {
        status = check_when(&b, &holds);
    }
    if (status == FP4_OK && !holds) {
        return refuse(kernel, "its 'when' does not hold for these sizes");
    }
    return status == FP4_OK ? check_where(&b) : status;
}
