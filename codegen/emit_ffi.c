// NAME_ffi.c: per kernel the list of its arguments, the call of its typed function, and the
// function of the TVM FFI. How DLPack tensors become fp4_tensors is the template's part.
//
// The ABI: include/tvm/ffi/c_api.h and the guide "Compiler Integration" of apache/tvm-ffi,
// dlpack.h 1.1.
#include "arch.h"
#include "emit_int.h"
#include "templates.h"

#include <ctype.h>
#include <string.h>

// Element types in DLPack (DLDataTypeCode); -1: none of its own.
static int dl_code(elem_kind e) {
    switch (e) {
    case ELEM_E2M1:
        return 17;
    case ELEM_E4M3:
    case ELEM_UE4M3:
        return 10;
    case ELEM_E5M2:
        return 12;
    case ELEM_UE8M0:
        return 14;
    case ELEM_BF16:
        return 4;
    case ELEM_F16:
    case ELEM_TF32:
    case ELEM_F32:
        return 2;
    case ELEM_I32:
    case ELEM_I64:
        return 0;
    default:
        return -1;
    }
}

static const char *upper_name(const char *text, arena *mem) {
    char *out = arena_strdup(mem, text);
    for (char *p = out; *p != '\0'; p++) {
        *p = (char)toupper((unsigned char)*p);
    }
    return out;
}

// "sf128x4" -> FP4_SF_128X4; the names are those of runtime/fp4rt.h.
static const char *layout_constant(const tir_param *p, arena *mem) {
    if (p->scale == ELEM_NONE && p->layout == NULL) {
        return "FP4_SF_NONE";
    }
    const char *name = p->layout == NULL ? "linear" : p->layout;
    return arena_printf(mem, "FP4_SF_%s",
                        upper_name(strncmp(name, "sf", 2) == 0 ? name + 2 : name, mem));
}

static void format_of(FILE *out, const tir_param *p, arena *mem) {
    const char *scale = p->scale == ELEM_NONE ? "NONE" : upper_name(elem_name(p->scale), mem);
    fprintf(out, "{FP4_ELEM_%s, FP4_ELEM_%s, %d, %d, %s}", upper_name(elem_name(p->elem), mem),
            scale, p->scale == ELEM_NONE ? 1 : p->granule_rows,
            p->scale == ELEM_NONE ? 1 : p->granule, layout_constant(p, mem));
}

static void tensor_rows(FILE *out, const tir_param *p, arena *mem) {
    bool written = p->mode == MODE_OUT || p->mode == MODE_INOUT || p->mode == MODE_TEMP;
    fprintf(out, "    {\"%s\", A_TENSOR, %d, %d, %d, %d, ", p->name, p->n_dims, written,
            dl_code(p->elem), elem_bits(p->elem));
    format_of(out, p, mem);
    fprintf(out, "},\n");
    if (p->scale != ELEM_NONE) {
        fprintf(out, "    {\"%s_scale\", A_SCALES, 0, %d, %d, %d, ", p->name, written,
                dl_code(p->scale), elem_bits(p->scale));
        format_of(out, p, mem);
        fprintf(out, "},\n");
    }
}

typedef struct {
    int args, tensors, numbers;
} counts;

static counts argument_table(FILE *out, const tir_kernel *k, int index, arena *mem) {
    static const char *const no_format = "{FP4_ELEM_NONE, FP4_ELEM_NONE, 1, 1, FP4_SF_NONE}";
    counts n = {0};
    fprintf(out, "\nstatic const argument arguments_%d[] = {\n", index);
    for (int i = 0; i < k->n_params; i++) {
        const tir_param *p = &k->params[i];
        if (p->is_tensor) {
            tensor_rows(out, p, mem);
            n.tensors++;
            n.args += p->scale == ELEM_NONE ? 1 : 2;
        } else {
            const char *kind = p->elem == ELEM_F32 ? "F32" : p->elem == ELEM_I32 ? "I32" : "I64";
            fprintf(out, "    {\"%s\", A_%s, 0, 0, 0, 0, %s},\n", p->name, kind, no_format);
            n.numbers++;
            n.args++;
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, "    {\"%s\", A_I64, 0, 0, 0, 0, %s},\n", k->dims[i], no_format);
            n.numbers++;
            n.args++;
        }
    }
    fprintf(out, "};\n");
    return n;
}

static void typed_call(FILE *out, const emit_text *t, const tir_kernel *k, int index) {
    int tensors = 0;
    int numbers = 0;
    fprintf(out,
            "\nstatic fp4_status launch_%d(const %s_kernels *kernels, const fp4_tensor *t, const "
            "fp4_arg *n, void *stream) {\n",
            index, t->prefix);
    fprintf(out, "    return %s(kernels", emit_function(t->prefix, k, t->job->mem));
    for (int i = 0; i < k->n_params; i++) {
        const tir_param *p = &k->params[i];
        if (p->is_tensor) {
            fprintf(out, ", &t[%d]", tensors++);
        } else {
            fprintf(out, ", n[%d].v.%s", numbers++,
                    p->elem == ELEM_F32   ? "f32"
                    : p->elem == ELEM_I32 ? "i32"
                                          : "i64");
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, ", n[%d].v.i64", numbers++);
        }
    }
    fprintf(out, ", stream);\n}\n");
}

static void exported(FILE *out, const tir_kernel *k, int index, int n_args) {
    fprintf(
        out,
        "\nEXPORT int __tvm_ffi_%s(void *handle, const ffi_any *args, int32_t n_args, ffi_any "
        "*result);\n"
        "int __tvm_ffi_%s(void *handle, const ffi_any *args, int32_t n_args, ffi_any *result) {\n"
        "    call c;\n    (void)handle;\n    memset(&c, 0, sizeof c);\n    c.kernel = \"%s\";\n"
        "    return take_all(&c, arguments_%d, %d, args, n_args) != 0 ? -1 : run(&c, launch_%d, "
        "result);\n}\n",
        k->name, k->name, k->name, index, n_args, index);
}

static void usage(FILE *out, const tir_kernel *k) {
    fprintf(out, "//   kernels.%s(", k->name);
    const char *comma = "";
    for (int i = 0; i < k->n_params; i++) {
        fprintf(out, "%s%s", comma, k->params[i].name);
        comma = ", ";
        if (k->params[i].is_tensor && k->params[i].scale != ELEM_NONE) {
            fprintf(out, ", %s_scale", k->params[i].name);
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, "%s%s", comma, k->dims[i]);
            comma = ", ";
        }
    }
    fprintf(out, ")\n");
}

// Whether a variant of the kernel's name and target does without a workspace.
static bool runs_without(const emit_job *job, const tir_kernel *k) {
    for (int i = 0; i < job->n_kernels; i++) {
        const tir_kernel *v = job->kernels[i].tir;
        if (v->walk.stream < 0 && v->arch == k->arch && strcmp(v->name, k->name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *unsupported(const emit_job *job) {
    for (int i = 0; i < job->n_kernels; i++) {
        const tir_kernel *k = job->kernels[i].tir;
        bool any = false;
        if (!runs_without(job, k)) {
            return arena_printf(job->mem,
                                "--emit=tvm-ffi gives streams no workspace, which 'split %s over sms' of %s for %s "
                                "needs: add a schedule without it, or call libfp4rt, which has fp4_workspace",
                                k->fors[k->walk.stream].index, k->name, arch_infos[k->arch].name);
        }
        for (int p = 0; p < k->n_params; p++) {
            any |= k->params[p].is_tensor;
            if (k->params[p].is_tensor && dl_code(k->params[p].elem) < 0) {
                return arena_printf(job->mem,
                                    "DLPack has no elements like those of '%s' of %s (%s)",
                                    k->params[p].name, k->name, elem_name(k->params[p].elem));
            }
        }
        if (!any) {
            return arena_printf(
                job->mem, "%s takes no tensor, whose device would tell where to run it", k->name);
        }
    }
    return job->n_kernels == 0 ? "there is no kernel to write C for"
           : job->driver_only  ? "--emit=tvm-ffi is written over libfp4rt: leave out --driver-only"
                               : NULL;
}

const char *emit_ffi(const emit_job *job, FILE *out) {
    const char *wrong = unsupported(job);
    if (wrong != NULL) {
        return wrong;
    }
    emit_text t;
    emit_begin(&t, job);
    emit_buffer functions, uses;
    emit_open(&functions);
    emit_open(&uses);
    counts most = {0, 1, 1};
    for (int i = 0; i < job->n_kernels; i++) {
        const tir_kernel *k = job->kernels[i].tir;
        if (!emit_is_first(job, i)) {
            continue;
        }
        usage(uses.out, k);
        counts n = argument_table(functions.out, k, i, job->mem);
        typed_call(functions.out, &t, k, i);
        exported(functions.out, k, i, n.args);
        most.tensors = n.tensors > most.tensors ? n.tensors : most.tensors;
        most.numbers = n.numbers > most.numbers ? n.numbers : most.numbers;
    }
    emit_set(&t, "FUNCTIONS", emit_close(&functions, job->mem));
    emit_set(&t, "USAGE", emit_close(&uses, job->mem));
    emit_set(&t, "MAX_TENSORS", arena_printf(job->mem, "%d", most.tensors));
    emit_set(&t, "MAX_NUMBERS", arena_printf(job->mem, "%d", most.numbers));
    emit_template(&t, template_ffi_c, out);
    return NULL;
}
