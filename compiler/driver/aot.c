// --emit=c,h,tvm-ffi: NAME.c, NAME.h and NAME_ffi.c. They belong together: -o names their stem.
#include "driver.h"
#include "emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    emit_kind kind;
    const char *ending;
    const char *(*write)(const emit_job *, FILE *);
} files[] = {
    {EMIT_H, ".h", emit_h},
    {EMIT_C, ".c", emit_c},
    {EMIT_FFI, "_ffi.c", emit_ffi},
};

enum { N_FILES = sizeof files / sizeof files[0] };

// "dir/gemm.c" -> "dir/gemm"
static const char *path_stem(const unit *u) {
    const char *path = u->opt->output != NULL ? u->opt->output : unit_stem(u);
    size_t n = strlen(path);
    bool ending = n > 2 && path[n - 2] == '.' && (path[n - 1] == 'c' || path[n - 1] == 'h');
    return arena_strndup(u->mem, path, ending ? n - 2 : n);
}

static int write_file(unit *u, const emit_job *job, const char *path, int i) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    const char *wrong = files[i].write(job, out);
    fclose(out);
    int code = EXIT_DONE;
    if (wrong != NULL) {
        fprintf(stderr, "fp4c: %s\n", wrong);
        code = EXIT_MISTAKE;
    } else {
        code = write_out(u, path, text, len);
    }
    free(text);
    return code;
}

int emit_ahead(unit *u, const builds *b, int emit) {
    const char *stem = path_stem(u);
    bool to_stdout = strcmp(stem, "-") == 0;
    if (to_stdout && (emit & (emit - 1)) != 0) {
        fprintf(stderr, "fp4c: several files do not fit standard output: -o STEM\n");
        return EXIT_MISTAKE;
    }
    const char *slash = strrchr(stem, '/');
    const char *file = strrchr(u->opt->file, '/');
    emit_job job = {.stem = to_stdout       ? unit_stem(u)
                            : slash != NULL ? slash + 1
                                            : stem,
                    .source = file != NULL ? file + 1 : u->opt->file,
                    .kernels = ARENA_ARRAY(u->mem, emit_kernel, b->n + 1),
                    .n_kernels = b->n,
                    .driver_only = u->opt->driver_only,
                    .mem = u->mem};
    emit_kernel *kernels = (emit_kernel *)job.kernels;
    for (int i = 0; i < b->n; i++) {
        const built *k = &b->at[i];
        kernels[i] = (emit_kernel){k->tir, k->code.ptx, k->code.ptx_len,
                                   k->assembled ? k->report.cubin : NULL, k->report.cubin_len};
    }
    int code = build_module(u, b, &job.image);
    for (int i = 0; i < N_FILES && code == EXIT_DONE; i++) {
        if (emit & files[i].kind) {
            code = write_file(
                u, &job, to_stdout ? "-" : arena_printf(u->mem, "%s%s", stem, files[i].ending), i);
        }
    }
    return code;
}
