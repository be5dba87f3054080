// NAME.c that needs libcuda alone: per compiled variant one function that does what fp4_launch does
// with a module's metadata, as straight C.
//
// Sizes are 64-bit and checked, as the runtime's are (runtime/expr.c): every operation is a call
// that sets 'bad' instead of overflowing; comparisons are C's.
#include "arch.h"
#include "args.h"
#include "emit_int.h"
#include "templates.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
    FILE *out;
    emit_text *t;
    const emit_job *job;
    const tir_kernel *k;
    cg_args args;
    emit_names names;
    int index;                  // in the job
    bool used[SZ_SMS + 1]; // operators, over all variants
    bool fits, maps, tensors, pitched;
} writer;

// ---- sizes --------------------------------------------------------------------------------------

static const char *function_of(size_op op) {
    static const char *const names[] = {
        [SZ_ADD] = "add", [SZ_SUB] = "sub",         [SZ_MUL] = "mul", [SZ_DIV] = "divide",
        [SZ_MOD] = "mod", [SZ_CEILDIV] = "ceildiv", [SZ_MIN] = "min", [SZ_MAX] = "max",
    };
    return op < sizeof names / sizeof names[0] ? names[op] : NULL;
}

static const char *compare_of(size_op op) {
    static const char *const text[] = {
        [SZ_EQ] = "==", [SZ_NE] = "!=", [SZ_LT] = "<",
        [SZ_LE] = "<=", [SZ_GT] = ">",  [SZ_GE] = ">=",
    };
    return op < sizeof text / sizeof text[0] ? text[op] : NULL;
}

static void size(writer *w, const tir_size *s) {
    w->used[s->op] = true;
    switch (s->op) {
    case SZ_INT:
        fprintf(w->out,
                s->value > INT32_MAX || s->value < INT32_MIN ? "INT64_C(%" PRId64 ")" : "%" PRId64,
                s->value);
        return;
    case SZ_DIM:
        fputs(w->names.dims[s->dim], w->out);
        return;
    case SZ_PITCH:
        fputs(w->names.pitch[s->dim], w->out);
        return;
    case SZ_SF_BYTES:
        fputs(w->names.sf[s->dim], w->out);
        return;
    case SZ_SMS:
        fputs("kernels->n_sms", w->out);
        return;
    case SZ_AND:
    case SZ_OR:
        fprintf(w->out, "((");
        size(w, s->a);
        fprintf(w->out, ") != 0 %s (", s->op == SZ_AND ? "&&" : "||");
        size(w, s->b);
        fprintf(w->out, ") != 0)");
        return;
    default:
        break;
    }
    const char *function = function_of(s->op);
    if (function != NULL) {
        bool checked = s->op != SZ_MIN && s->op != SZ_MAX;
        fprintf(w->out, "%s(%s", function, checked ? "&bad, " : "");
        size(w, s->a);
        fprintf(w->out, ", ");
        size(w, s->b);
        fprintf(w->out, ")");
        return;
    }
    fprintf(w->out, "(");
    size(w, s->a);
    fprintf(w->out, " %s ", compare_of(s->op));
    size(w, s->b);
    fprintf(w->out, ")");
}

// Whether some variant of the kernel has a cost: then all are asked before one is launched.
static bool is_costed(const writer *w) {
    for (int i = 0; i < w->job->n_kernels; i++) {
        const tir_kernel *k = w->job->kernels[i].tir;
        if (k->cost != NULL && strcmp(k->name, w->k->name) == 0) {
            return true;
        }
    }
    return false;
}

// ---- a variant ----------------------------------------------------------------------------------

static const char *status_type(const writer *w) {
    return arena_printf(w->job->mem, "%s_status", w->t->prefix);
}

static void sentence(writer *w, const char *text) { // inside a C string
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', w->out);
        }
        fputc(*text >= ' ' ? *text : ' ', w->out);
    }
}

// A number for every tensor among the variant's tensors: its place in 'parameters_N'.
static int tensor_number(const tir_kernel *k, int param) {
    int n = 0;
    for (int i = 0; i < param; i++) {
        n += k->params[i].is_tensor;
    }
    return n;
}

static void parameter_table(writer *w) {
    const tir_kernel *k = w->k;
    if (tensor_number(k, k->n_params) == 0) {
        return;
    }
    w->tensors = true;
    fprintf(w->out, "\nstatic const parameter parameters_%d[] = {\n", w->index);
    for (int i = 0; i < k->n_params; i++) {
        const tir_param *p = &k->params[i];
        if (p->is_tensor) {
            bool blocked = p->layout != NULL && strcmp(p->layout, "sf128x4") == 0;
            fprintf(w->out, "    {\"%s\", \"%s\", %d, %d, %d, %d, %d, %d, %d, %d},\n", k->name,
                    p->name, p->n_dims, elem_bits(p->elem), p->scale == ELEM_NONE ? 0 : p->granule,
                    p->granule_rows, p->scale == ELEM_NONE ? 0 : elem_bits(p->scale) / 8, blocked,
                    p->align, emit_is_mapped(k, i));
        }
    }
    fprintf(w->out, "};\n");
}

static void signature(writer *w) {
    const tir_kernel *k = w->k;
    const char *p = w->t->prefix;
    fprintf(w->out, "\n// %s for %s\nstatic %s variant_%d(const %s_kernels *kernels", k->name,
            arch_infos[k->arch].name, status_type(w), w->index, p);
    for (int i = 0; i < k->n_params; i++) {
        const tir_param *q = &k->params[i];
        if (q->is_tensor) {
            fprintf(w->out, ", const %s_tensor *%s", p, w->names.params[i]);
        } else {
            fprintf(w->out, ", %s %s",
                    q->elem == ELEM_F32   ? "float"
                    : q->elem == ELEM_I32 ? "int32_t"
                                          : "int64_t",
                    w->names.params[i]);
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(w->out, ", int64_t %s", w->names.dims[i]);
        }
    }
    fprintf(w->out, ", void *stream, int *taken%s) {\n", is_costed(w) ? ", int64_t *cost" : "");
}

static int count_args(const writer *w, bool maps) {
    int n = 0;
    for (int i = 0; i < w->args.n; i++) {
        n += (w->args.args[i].kind == ARG_MAP) == maps;
    }
    return n;
}

static void locals(writer *w) {
    const tir_kernel *k = w->k;
    FILE *out = w->out;
    int n_maps = count_args(w, true);
    int n_words = count_args(w, false);
    const char *u = w->t->upper;
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i].is_tensor) {
            fprintf(out, "    int64_t %s = 0;\n    int64_t %s = 0;\n", w->names.pitch[i],
                    w->names.sf[i]);
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (!emit_dim_is_free(k, i)) {
            fprintf(out, "    int64_t %s;\n", w->names.dims[i]);
        }
    }
    if (n_maps > 0) {
        fprintf(out,
                "    unsigned char room[64 + %d * 128];\n"
                "    unsigned char *maps = room + (64 - (uintptr_t)room %% 64) %% 64;\n    map_of "
                "map;\n",
                n_maps);
    }
    if (n_words > 0) {
        fprintf(out, "    word words[%d];\n", n_words);
    }
    fprintf(out,
            "    void *pointers[%d];\n    launch_of grid;\n    unsigned blocks = 0;\n    int bad = "
            "0;\n",
            w->args.n > 0 ? w->args.n : 1);
    fprintf(out, "    %s status = %s_OK;\n    *taken = 1;\n", status_type(w), u);
}

static void stop_if_failed(writer *w) {
    fprintf(w->out, "    if (status != %s_OK) {\n        return status;\n    }\n", w->t->upper);
}

static void bind(writer *w) {
    const tir_kernel *k = w->k;
    FILE *out = w->out;
    const char *u = w->t->upper;
    bool any = false;
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i].is_tensor) {
            const char *indent = any ? "        " : "    ";
            if (any) {
                fprintf(out, "    if (status == %s_OK) {\n", u);
            }
            fprintf(out, "%sstatus = check_tensor(&parameters_%d[%d], %s, &%s, &%s);\n", indent,
                    w->index, tensor_number(k, i), w->names.params[i], w->names.pitch[i],
                    w->names.sf[i]);
            fprintf(out, "%s", any ? "    }\n" : "");
            any = true;
        }
    }
    if (any) {
        stop_if_failed(w);
    }
}

// Each size from the first axis that is it alone; then every axis is what the kernel says.
static void shapes(writer *w) {
    const tir_kernel *k = w->k;
    FILE *out = w->out;
    bool *bound = ARENA_ARRAY(w->job->mem, bool, k->n_dims + 1);
    bool *defines = ARENA_ARRAY(w->job->mem, bool, 5 * k->n_params + 1);
    for (int i = 0; i < k->n_params; i++) {
        for (int a = 0; a < k->params[i].n_dims; a++) {
            const tir_size *s = k->params[i].dims[a];
            if (s->op == SZ_DIM && !bound[s->dim]) {
                bound[s->dim] = defines[5 * i + a] = true;
                fprintf(out, "    %s = %s->dims[%d];\n", w->names.dims[s->dim], w->names.params[i],
                        a);
            }
        }
    }
    for (int i = 0; i < k->n_params; i++) {
        for (int a = 0; a < k->params[i].n_dims; a++) {
            if (!defines[5 * i + a]) {
                fprintf(out,
                        "    if (status == %s_OK) {\n        status = equal(&parameters_%d[%d], "
                        "%d, %s->dims[%d], ",
                        w->t->upper, w->index, tensor_number(k, i), a, w->names.params[i], a);
                size(w, k->params[i].dims[a]);
                fprintf(out, ");\n    }\n");
            }
        }
    }
}

// Sizes that no tensor tells.
static void free_sizes(writer *w) {
    for (int i = 0; i < w->k->n_dims; i++) {
        if (emit_dim_is_free(w->k, i)) {
            const char *name = w->names.dims[i];
            fprintf(w->out,
                    "    if (%s < 0) {\n        return fail(%s_ERROR_ARGUMENT, \"%s(): %s = %%lld; "
                    "sizes are not "
                    "negative\", (long long)%s);\n    }\n",
                    name, w->t->upper, w->k->name, w->k->dims[i], name);
        }
    }
}

// With 'cost' the function only answers; what cannot be computed is dearer than all else.
static void price(writer *w) {
    fprintf(w->out, "    if (cost != NULL) {\n");
    if (w->k->cost != NULL) {
        fprintf(w->out, "        bad = 0;\n        *cost = ");
        size(w, w->k->cost);
        fprintf(w->out, ";\n        *cost = bad ? INT64_MAX : *cost;\n");
    } else {
        fprintf(w->out, "        *cost = 0;\n");
    }
    fprintf(w->out, "        return %s_OK;\n    }\n", w->t->upper);
}

static void conditions(writer *w) {
    const tir_kernel *k = w->k;
    FILE *out = w->out;
    const char *u = w->t->upper;
    stop_if_failed(w);
    if (k->when != NULL) {
        fprintf(out, "    if (!");
        size(w, k->when);
        fprintf(out, ") {\n        *taken = 0;\n        return %s_OK;\n    }\n", u);
    }
    if (is_costed(w)) {
        price(w);
    }
    for (int i = 0; i < k->n_where; i++) {
        fprintf(out, "    if (!");
        size(w, k->where[i].cond);
        fprintf(
            out,
            ") {\n        return fail(%s_ERROR_MISMATCH, \"%s(): %%s\",\n                    \"", u,
            k->name);
        sentence(w, arena_printf(w->job->mem, "%s:%d 'where %s' does not hold", w->job->source,
                                 k->where[i].line, k->where[i].text));
        fprintf(out, "\");\n    }\n");
    }
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i].is_tensor && emit_is_mapped(k, i)) {
            w->pitched = true;
            fprintf(out,
                    "    if (status == %s_OK) {\n        status = check_pitch(&parameters_%d[%d], "
                    "%s);\n    }\n",
                    u, w->index, tensor_number(k, i), w->names.pitch[i]);
        }
    }
}

static void tiles(writer *w) {
    const tir_kernel *k = w->k;
    FILE *out = w->out;
    fprintf(out, "    grid.kernel = \"%s\";\n    grid.image = %d;\n    grid.tiles = ", k->name,
            w->index);
    size(w, cg_most_tiles(k, w->job->mem));
    fprintf(out, ";\n");
    fprintf(out,
            "    grid.persistent = %d;\n    grid.cluster = %d;\n    grid.pdl = %d;\n    grid.threads = %d;\n    "
            "grid.smem_bytes = %d;\n",
            k->walk.kind != WALK_CLC ? arch_ctas_per_sm(k) : 0, k->cluster, k->pdl, k->threads,
            k->smem_bytes);
    fprintf(out,
            "    if (status == %s_OK) {\n        status = check_tiles(kernels, &grid, &blocks);\n  "
            "  }\n",
            w->t->upper);
}

static const char *part_of(const writer *w, int param, tir_part part) {
    return arena_printf(w->job->mem, "%s->%s", w->names.params[param],
                        part == PART_DATA ? "data" : "scale");
}

static void map(writer *w, const tir_map *m, int at, int number) {
    FILE *out = w->out;
    w->maps = true;
    fprintf(
        out,
        "    map.dtype = %d;\n    map.rank = %d;\n    map.address = %s;\n    map.swizzle = %d;\n",
        m->dtype, m->rank, part_of(w, m->param, m->part), m->swizzle);
    tir_size *offset = cg_map_offset(m, w->job->mem);
    if (offset != NULL) {
        fprintf(out, "    map.address += (uint64_t)");
        size(w, offset);
        fprintf(out, ";\n");
    }
    for (int i = 0; i < m->rank; i++) {
        fprintf(out, "    map.dims[%d] = ", i);
        size(w, m->dims[i]);
        fprintf(out, ";\n    map.box[%d] = %d;\n", i, m->box[i]);
    }
    for (int i = 1; i < m->rank; i++) {
        fprintf(out, "    map.strides[%d] = ", i - 1);
        size(w, m->strides[i]);
        fprintf(out, ";\n");
    }
    fprintf(out,
            "    if (status == %s_OK && !bad) {\n"
            "        status = encode(kernels, &parameters_%d[%d], &map, maps + %d * 128);\n    }\n"
            "    pointers[%d] = maps + %d * 128;\n",
            w->t->upper, w->index, tensor_number(w->k, m->param), number, at, number);
}

static void value(writer *w, const cg_arg *a, int at, int number) {
    FILE *out = w->out;
    fprintf(out, "    words[%d].", number);
    switch (a->kind) {
    case ARG_POINTER:
        fprintf(out, "u64 = %s", part_of(w, a->ref, a->part));
        break;
    case ARG_PITCH:
        fprintf(out, "i64 = %s", w->names.pitch[a->ref]);
        break;
    case ARG_SF_BYTES:
        fprintf(out, "i64 = %s", w->names.sf[a->ref]);
        break;
    case ARG_DIM:
        w->fits = true;
        fprintf(out, "i32 = fits(&bad, %s)", w->names.dims[a->ref]);
        break;
    default: {
        elem_kind e = w->k->params[a->ref].elem;
        fprintf(out, "%s = %s",
                e == ELEM_F32   ? "f32"
                : e == ELEM_I32 ? "i32"
                                : "i64",
                w->names.params[a->ref]);
        break;
    }
    }
    fprintf(out, ";\n    pointers[%d] = &words[%d];\n", at, number);
}

static void arguments(writer *w) {
    int n_maps = 0;
    int n_words = 0;
    for (int i = 0; i < w->args.n; i++) {
        const cg_arg *a = &w->args.args[i];
        if (a->kind == ARG_MAP) {
            map(w, &w->k->maps[a->ref], i, n_maps++);
        } else {
            value(w, a, i, n_words++);
        }
    }
}

static void variant(writer *w) {
    const char *u = w->t->upper;
    parameter_table(w);
    signature(w);
    locals(w);
    bind(w);
    free_sizes(w);
    shapes(w);
    conditions(w);
    tiles(w);
    fprintf(
        w->out,
        "    if (status == %s_OK && bad) {\n"
        "        status = fail(%s_ERROR_MISMATCH, \"%s(): a size does not fit 64 bits\");\n    }\n",
        u, u, w->k->name);
    fprintf(w->out, "    if (status != %s_OK || blocks == 0) {\n        return status;\n    }\n",
            u);
    fprintf(w->out, "    status = enter(kernels); // the maps are encoded in the context too\n");
    stop_if_failed(w);
    arguments(w);
    fprintf(w->out,
            "    if (status == %s_OK && bad) {\n"
            "        status = fail(%s_ERROR_MISMATCH, \"%s(): a size does not fit its "
            "parameter\");\n    }\n",
            u, u, w->k->name);
    fprintf(w->out,
            "    if (status == %s_OK) {\n        status = launch(kernels, &grid, blocks, pointers, "
            "stream);\n"
            "    }\n    return leave(kernels, status);\n}\n",
            u);
}

// ---- the functions of the header ----------------------------------------------------------------

static void call_variant(writer *w, int index, const char *last) {
    fprintf(w->out, "status = variant_%d(kernels", index);
    for (int i = 0; i < w->k->n_params; i++) {
        fprintf(w->out, ", %s", w->names.params[i]);
    }
    for (int i = 0; i < w->k->n_dims; i++) {
        if (emit_dim_is_free(w->k, i)) {
            fprintf(w->out, ", %s", w->names.dims[i]);
        }
    }
    fprintf(w->out, ", stream, &taken%s);\n", last);
}

// The first variant whose 'when' holds.
static void try_variant(writer *w, int index) {
    fprintf(w->out, "    if (kernels->function[%d] != NULL) {\n        ", index);
    call_variant(w, index, "");
    fprintf(w->out,
            "        if (status != %s_OK || taken) {\n            return status;\n        }\n"
            "        seen = 1;\n    }\n",
            w->t->upper);
}

static void ask_variant(writer *w, int index) {
    fprintf(w->out, "    if (kernels->function[%d] != NULL) {\n        ", index);
    call_variant(w, index, ", &cost");
    fprintf(w->out,
            "        if (status != %s_OK) {\n            return status;\n        }\n"
            "        if (taken && (best < 0 || cost < least)) {\n            best = %d;\n"
            "            least = cost;\n        }\n        seen = 1;\n    }\n",
            w->t->upper, index);
}

static void launch_variant(writer *w, int index) {
    fprintf(w->out, "    if (best == %d) {\n        ", index);
    call_variant(w, index, ", NULL");
    fprintf(w->out, "        return status;\n    }\n");
}

static void each_variant(writer *w, void (*write)(writer *w, int index)) {
    for (int i = 0; i < w->job->n_kernels; i++) {
        if (strcmp(w->job->kernels[i].tir->name, w->k->name) == 0) {
            write(w, i);
        }
    }
}

static void function(writer *w) {
    const char *u = w->t->upper;
    fprintf(w->out, "\n");
    emit_prototype(w->out, w->t, w->k);
    bool costed = is_costed(w);
    fprintf(w->out, " {\n    %s status;\n    int taken = 0;\n    int seen = 0;\n%s", status_type(w),
            costed ? "    int best = -1;\n    int64_t cost = 0;\n    int64_t least = 0;\n" : "");
    fprintf(w->out,
            "    if (kernels == NULL) {\n        return fail(%s_ERROR_ARGUMENT, \"%s(): NULL "
            "argument\");\n    }\n",
            u, w->k->name);
    each_variant(w, costed ? ask_variant : try_variant);
    if (costed) {
        each_variant(w, launch_variant);
    }
    fprintf(w->out,
            "    return seen ? fail(%s_ERROR_MISMATCH, \"%s(): no variant for %%s admits these "
            "sizes\", kernels->arch)\n"
            "                : fail(%s_ERROR_UNAVAILABLE, \"%s(): was not compiled for %%s\", "
            "kernels->arch);\n}\n",
            u, w->k->name, u, w->k->name);
}

// ---- the file -----------------------------------------------------------------------------------

static void code(FILE *out, FILE *table, const emit_kernel *e, int i) {
    const void *bytes = e->cubin != NULL ? e->cubin : e->ptx;
    size_t len = e->cubin != NULL ? e->cubin_len : e->ptx_len + 1; // the driver wants the final 0
    const char *arch = arch_infos[e->tir->arch].name;
    fprintf(out, "// %s of %s for %s\nstatic const uint64_t code_%d[] = {\n",
            e->cubin != NULL ? "cubin" : "PTX", e->tir->name, arch, i);
    emit_words(out, bytes, len);
    fprintf(out, "};\n");
    fprintf(table, "    {\"%s\", \"%s\", code_%d, %d, %d},\n", arch, e->tir->name, i,
            e->tir->smem_bytes, e->tir->cluster);
}

static const char *unsupported(const emit_job *job) {
    for (int i = 0; i < job->n_kernels; i++) {
        const tir_kernel *k = job->kernels[i].tir;
        if (k->walk.stream >= 0) {
            return arena_printf(job->mem,
                                "--driver-only gives streams no workspace, which 'split %s over sms' of %s needs: "
                                "leave it out, libfp4rt has fp4_workspace",
                                k->fors[k->walk.stream].index, k->name);
        }
        for (int p = 0; p < k->n_params; p++) {
            const char *layout = k->params[p].layout;
            bool plain = k->params[p].scale == ELEM_NONE; // only the kernel has to know where they are
            if (layout != NULL && !plain && strcmp(layout, "sf128x4") != 0 && strcmp(layout, "linear") != 0) {
                return arena_printf(
                    job->mem,
                    "--driver-only knows scales in layouts sf128x4 and linear, '%s' of %s has %s: "
                    "leave it out, libfp4rt knows all",
                    k->params[p].name, k->name, layout);
            }
        }
    }
    return NULL;
}

static void set_used(writer *w) {
    static const struct {
        size_op op;
        const char *key;
    } ops[] = {{SZ_ADD, "add"}, {SZ_SUB, "sub"}, {SZ_DIV, "div"},
               {SZ_MOD, "mod"}, {SZ_MIN, "min"}, {SZ_MAX, "max"}};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        emit_set(w->t, ops[i].key, w->used[ops[i].op] ? "" : NULL);
    }
    emit_set(w->t, "fits", w->fits ? "" : NULL);
    emit_set(w->t, "maps", w->maps ? "" : NULL);
    emit_set(w->t, "tensors", w->tensors ? "" : NULL);
    emit_set(w->t, "pitched", w->pitched ? "" : NULL);
}

const char *emit_driver_c(emit_text *t, FILE *out) {
    const emit_job *job = t->job;
    const char *wrong = unsupported(job);
    if (wrong != NULL) {
        return wrong;
    }
    emit_buffer codes, images, variants, functions;
    emit_open(&codes);
    emit_open(&images);
    emit_open(&variants);
    emit_open(&functions);
    writer w = {.t = t, .job = job};
    for (int i = 0; i < job->n_kernels; i++) {
        w.k = job->kernels[i].tir;
        w.args = cg_args_of(w.k, job->mem);
        w.names = emit_names_of(w.k, job->mem);
        w.index = i;
        code(codes.out, images.out, &job->kernels[i], i);
        w.out = variants.out;
        variant(&w);
        if (emit_is_first(job, i)) {
            w.out = functions.out;
            function(&w);
        }
    }
    emit_set(t, "N_IMAGES", arena_printf(job->mem, "%d", job->n_kernels));
    emit_set(t, "CODE", emit_close(&codes, job->mem));
    emit_set(t, "IMAGES", emit_close(&images, job->mem));
    emit_set(t, "VARIANTS", emit_close(&variants, job->mem));
    emit_set(t, "FUNCTIONS", emit_close(&functions, job->mem));
    set_used(&w);
    emit_template(t, template_driver_c, out);
    return NULL;
}
