// Test support: see tk.h.
#include "tk.h"

#include "arch.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *messages(diag *d, arena *mem) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    diag_print(d, f, DIAG_TEXT, false);
    fclose(f);
    const char *kept = arena_strdup(mem, text);
    free(text);
    return kept;
}

tir_kernel *tk_plan(const char *text, const char *arch, arena *mem, const char **why) {
    src_map *src = src_new();
    diag *d = diag_new(src, 20);
    src_add_text(src, "test.tk", text, strlen(text));
    ast_file *file = lang_parse(src, d, mem);
    tir_kernel *k = NULL;
    if (lang_check(file, d, mem, NULL, 0) && file->n_kernels > 0) {
        int number = arch_find(arch);
        const ast_schedule *s = NULL;
        plan_schedules(file, file->kernels[0], (tir_arch)number, &s, 1);
        plan_request r = {.file = file,
                          .kernel = file->kernels[0],
                          .sched = s,
                          .arch = (tir_arch)number,
                          .src = src,
                          .d = d,
                          .mem = mem};
        k = plan_kernel(&r);
    }
    *why = k ? NULL : messages(d, mem);
    diag_free(d);
    src_free(src);
    return k;
}

const char *tk_compile(const char *text, const char *arch, arena *mem, tk_artefact *out) {
    *out = (tk_artefact){0};
    const char *why = NULL;
    out->kernel = tk_plan(text, arch, mem, &why);
    return out->kernel ? tk_build(arch, mem, out) : why;
}

const char *tk_build(const char *arch, arena *mem, tk_artefact *out) {
    cg_options opt = {0};
    cg_result code;
    const char *why = cg_compile(out->kernel, &opt, mem, &code);
    if (why) {
        return why;
    }
    out->ptx = code.ptx;
    out->ptx_len = code.ptx_len;
    out->assembled = ptxas_find(mem) != NULL;
    if (out->assembled) {
        ptxas_job job = {
            .arch = arch, .entry = out->kernel->name, .ptx = code.ptx, .ptx_len = code.ptx_len};
        why = ptxas_run(&job, &out->report, mem);
        if (why) {
            return why;
        }
    }
    module_kernel m = {.ptx = code.ptx, .ptx_len = code.ptx_len};
    why = meta_kernel(out->kernel, out->assembled ? &out->report : NULL, mem, &m.meta);
    return why ? why : module_build(&(module_source){.name = "test.tk"}, &m, 1, mem, &out->module);
}
