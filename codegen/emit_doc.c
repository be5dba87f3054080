// The interface of generated C: what each kernel takes, as a comment and as a prototype.
#include "arch.h"
#include "emit_int.h"

#include <inttypes.h>
#include <string.h>

static const char *mode_text(param_mode m) {
    static const char *const names[] = {
        [MODE_IN] = "in",    [MODE_OUT] = "out",      [MODE_INOUT] = "in and out",
        [MODE_CONST] = "in", [MODE_TEMP] = "scratch",
    };
    return names[m];
}

static void tensor_doc(FILE *out, const tir_kernel *k, int index) {
    const tir_param *p = &k->params[index];
    fprintf(out, "//   %-6s %s: %s[", p->name, mode_text(p->mode), p->format);
    for (int i = 0; i < p->n_dims; i++) {
        fputs(i > 0 ? ", " : "", out);
        emit_size_text(out, k, p->dims[i]);
    }
    fprintf(out, "]");
    if (p->scale != ELEM_NONE) {
        fprintf(
            out,
            ", %s elements with a %s scale for each %d x %d, layout %s%s;\n//          data and "
            "scales",
            elem_name(p->elem), elem_name(p->scale), p->granule_rows, p->granule,
            p->layout != NULL ? p->layout : "linear",
            p->groups != NULL ? " in groups of rows (fp4_ragged_pack)" : "");
    } else {
        fprintf(out, "%s%s; data", p->layout != NULL ? ", layout " : "", p->layout != NULL ? p->layout : "");
    }
    fprintf(out, " at multiples of %d bytes%s\n", p->align,
            emit_is_mapped(k, index) ? ", its rows too" : "");
}

static void variant_doc(FILE *out, const tir_kernel *k) {
    fprintf(out, "// %s: %d threads, %d bytes of shared memory", arch_infos[k->arch].name,
            k->threads, k->smem_bytes);
    if (k->cluster > 1) {
        fprintf(out, ", clusters of %d", k->cluster);
    }
    for (int i = 0; i < k->n_tparams; i++) {
        fprintf(out, "%s%s = %" PRId64, i == 0 ? "; " : ", ", k->tparams[i].name,
                k->tparams[i].value);
    }
    if (k->when != NULL) {
        fprintf(out, "; when ");
        emit_size_text(out, k, k->when);
    }
    if (k->cost != NULL) {
        fprintf(out, "; cost ");
        emit_size_text(out, k, k->cost);
    }
    fprintf(out, "\n");
}

void emit_doc(FILE *out, const emit_job *job, const tir_kernel *k) {
    fprintf(out, "// Kernel '%s'.\n", k->name);
    for (int i = 0; i < k->n_params; i++) {
        if (k->params[i].is_tensor) {
            tensor_doc(out, k, i);
        } else {
            fprintf(out, "//   %-6s %s, by value\n", k->params[i].name,
                    elem_name(k->params[i].elem));
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, "//   %-6s a size that no tensor tells\n", k->dims[i]);
        }
    }
    for (int i = 0; i < k->n_where; i++) {
        fprintf(out, "%s%s%s", i == 0 ? "// Sizes: " : ", ", k->where[i].text,
                i + 1 == k->n_where ? "\n" : "");
    }
    for (int i = 0; i < job->n_kernels; i++) {
        if (strcmp(job->kernels[i].tir->name, k->name) == 0) {
            variant_doc(out, job->kernels[i].tir);
        }
    }
}

static const char *scalar_type(elem_kind e) {
    return e == ELEM_F32 ? "float" : e == ELEM_I32 ? "int32_t" : "int64_t";
}

void emit_prototype(FILE *out, const emit_text *t, const tir_kernel *k) {
    const char *lib = t->job->driver_only ? t->prefix : "fp4";
    emit_names n = emit_names_of(k, t->job->mem);
    fprintf(out, "%s_status %s(const %s_kernels *kernels", lib,
            emit_function(t->prefix, k, t->job->mem), t->prefix);
    for (int i = 0; i < k->n_params; i++) {
        const tir_param *p = &k->params[i];
        if (p->is_tensor) {
            fprintf(out, ",\n    const %s_tensor *%s", lib, n.params[i]);
        } else {
            fprintf(out, ",\n    %s %s", scalar_type(p->elem), n.params[i]);
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, ",\n    int64_t %s", n.dims[i]);
        }
    }
    fprintf(out, ",\n    void *stream)");
}

const char *emit_interface(const emit_text *t) {
    emit_buffer b;
    FILE *out = emit_open(&b);
    for (int i = 0; i < t->job->n_kernels; i++) {
        if (emit_is_first(t->job, i)) {
            emit_doc(out, t->job, t->job->kernels[i].tir);
            emit_prototype(out, t, t->job->kernels[i].tir);
            fprintf(out, ";\n\n");
        }
    }
    return emit_close(&b, t->job->mem);
}
