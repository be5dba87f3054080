// NAME.h and NAME.c over libfp4rt. A function puts its arguments under their names into the list
// that fp4_launch takes; all checks are there.
#include "emit_int.h"
#include "templates.h"

#include <string.h>

static const char *setter(const tir_param *p) {
    if (p->is_tensor) {
        return "tensor";
    }
    return p->elem == ELEM_F32 ? "f32" : p->elem == ELEM_I32 ? "i32" : "i64";
}

static void function(FILE *out, const emit_text *t, const tir_kernel *k, int index) {
    emit_names n = emit_names_of(k, t->job->mem);
    int n_args = k->n_params;
    for (int i = 0; i < k->n_dims; i++) {
        n_args += emit_dim_is_free(k, i);
    }
    fprintf(out, "\n");
    emit_prototype(out, t, k);
    fprintf(out, " {\n    fp4_arg args[%d];\n    fp4_kernel *kernel = NULL;\n",
            n_args > 0 ? n_args : 1);
    fprintf(out, "    fp4_status status = find(kernels, %d, &kernel);\n", index);
    fprintf(out, "    if (status != FP4_OK) {\n        return status;\n    }\n");
    for (int i = 0; i < k->n_params; i++) {
        fprintf(out, "    args[%d] = fp4_arg_%s(%s);\n", i, setter(&k->params[i]), n.params[i]);
        fprintf(out, "    args[%d].name = \"%s\";\n", i, k->params[i].name);
    }
    int at = k->n_params;
    for (int i = 0; i < k->n_dims; i++) {
        if (emit_dim_is_free(k, i)) {
            fprintf(out, "    args[%d] = fp4_arg_dim(\"%s\", %s);\n", at++, k->dims[i], n.dims[i]);
        }
    }
    fprintf(out, "    return fp4_launch(kernel, args, %d, stream);\n}\n", n_args);
}

static int count_names(const emit_job *job) {
    int n = 0;
    for (int i = 0; i < job->n_kernels; i++) {
        n += emit_is_first(job, i);
    }
    return n;
}

static const char *begin(emit_text *t, const emit_job *job) {
    if (job->n_kernels == 0) {
        return "there is no kernel to write C for";
    }
    emit_begin(t, job);
    emit_set(t, "COUNT", arena_printf(job->mem, "%d", count_names(job)));
    emit_set(t, "INTERFACE", emit_interface(t));
    return NULL;
}

const char *emit_h(const emit_job *job, FILE *out) {
    emit_text t;
    const char *wrong = begin(&t, job);
    if (wrong == NULL) {
        emit_template(&t, job->driver_only ? template_driver_h : template_lib_h, out);
    }
    return wrong;
}

static void lib_c(emit_text *t, FILE *out) {
    const emit_job *job = t->job;
    emit_buffer words, names, functions;
    emit_open(&words);
    emit_words(words.out, job->image.bytes, job->image.len);
    emit_open(&names);
    emit_open(&functions);
    int index = 0;
    for (int i = 0; i < job->n_kernels; i++) {
        if (emit_is_first(job, i)) {
            fprintf(names.out, "    \"%s\",\n", job->kernels[i].tir->name);
            function(functions.out, t, job->kernels[i].tir, index++);
        }
    }
    emit_set(t, "WORDS", emit_close(&words, job->mem));
    emit_set(t, "NAMES", emit_close(&names, job->mem));
    emit_set(t, "FUNCTIONS", emit_close(&functions, job->mem));
    emit_template(t, template_lib_c, out);
}

const char *emit_c(const emit_job *job, FILE *out) {
    emit_text t;
    const char *wrong = begin(&t, job);
    if (wrong == NULL && job->driver_only) {
        return emit_driver_c(&t, out);
    }
    if (wrong == NULL) {
        lib_c(&t, out);
    }
    return wrong;
}
