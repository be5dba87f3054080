// fp4c verify FILE: the static verifier on PTX, on the kernels of a module, or on what a program
// compiles to. With a module or a program the boxes of tensor maps are known, and bytes are counted
// exactly.
#include "driver.h"
#include "v_module.h"

#include <stdio.h>
#include <string.h>

static bool ends_in(const char *path, const char *suffix) {
    size_t n = strlen(path), s = strlen(suffix);
    return n > s && strcmp(path + n - s, suffix) == 0;
}

static int say(const char *file, const verify_report *r, int variant) {
    char which[40] = "";
    if (variant >= 0) {
        snprintf(which, sizeof which, " (kernel %d of the module)", variant);
    }
    if (r->accepted) {
        printf("%s: %s%s: accepted: %d cases, %d warps, %d mbarriers, %d phases, %d copies, %d "
               "instructions\n",
               file, r->kernel, which, r->runs, r->warps, r->barriers, r->phases, r->copies,
               r->instructions);
        return EXIT_DONE;
    }
    fprintf(stderr, "%s:%u: error: %s%s%s%s\n", file, r->line, r->kernel, which,
            r->kernel[0] != '\0' ? ": " : "", r->sentence);
    return EXIT_MISTAKE;
}

static int one_text(const options *opt, const char *file, const verify_job *job, int variant) {
    static verify_report reports[MAX_KERNELS];
    int n = verify_ptx(job, reports, MAX_KERNELS), code = EXIT_DONE;
    for (int i = 0; i < n; i++) {
        int c = say(file, &reports[i], variant);
        code = c > code ? c : code;
    }
    if (n == 0) {
        fprintf(stderr, "fp4c: %s has no kernel '%s'\n", file, opt->kernel);
        return EXIT_MISTAKE;
    }
    return code;
}

// The kernels with their own PTX, or with the one of --use-ptx.
static int kernels(const options *opt, const facts_kernel *k, int n, arena *mem) {
    char *instead = NULL;
    size_t len = 0;
    const char *why;
    if (opt->use_ptx != NULL && !read_whole(opt->use_ptx, mem, &instead, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", opt->use_ptx, why);
        return EXIT_MISTAKE;
    }
    if (instead != NULL && n != 1) {
        fprintf(stderr, "fp4c: --use-ptx stands for one kernel, and %s has %d\n", opt->file, n);
        return EXIT_MISTAKE;
    }
    int code = EXIT_DONE;
    for (int i = 0; i < n; i++) {
        verify_job job = {.ptx = instead != NULL ? instead : k[i].ptx,
                          .len = instead != NULL ? len : k[i].len,
                          .kernel = opt->kernel,
                          .facts = &k[i].facts};
        int c = job.ptx == NULL ? EXIT_DONE
                                : one_text(opt, instead != NULL ? opt->use_ptx : opt->file, &job,
                                           n > 1 ? i : -1);
        code = c > code ? c : code;
    }
    return code;
}

static int of_module(const options *opt, arena *mem) {
    static facts_kernel all[MAX_KERNELS];
    char *bytes;
    size_t len;
    const char *why;
    int n = 0;
    if (!read_whole(opt->file, mem, &bytes, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", opt->file, why);
        return EXIT_MISTAKE;
    }
    why = facts_of_module(bytes, len, all, MAX_KERNELS, &n);
    if (why != NULL) {
        fprintf(stderr, "fp4c: %s: %s\n", opt->file, why);
        return EXIT_MISTAKE;
    }
    return kernels(opt, all, n, mem);
}

static int of_ptx(const options *opt, arena *mem) {
    char *text;
    size_t len;
    const char *why;
    if (!read_whole(opt->file, mem, &text, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", opt->file, why);
        return EXIT_MISTAKE;
    }
    verify_job job = {.ptx = text, .len = len, .kernel = opt->kernel};
    return one_text(opt, opt->file, &job, -1);
}

// A program is compiled as far as its PTX and metadata.
static int of_program(const options *opt) {
    static facts_kernel all[MAX_KERNELS];
    unit u;
    builds b = {0};
    int code = EXIT_MISTAKE;
    if (unit_open(&u, opt)) {
        code = u.file == NULL || u.checked ? build_all(&u, STOP_PTX, &b) : EXIT_MISTAKE;
        int reported = unit_report(&u);
        code = reported > code ? reported : code;
    }
    for (int i = 0; code == EXIT_DONE && i < b.n; i++) {
        const char *json, *wrong = meta_kernel(b.at[i].tir, NULL, u.mem, &json);
        if (wrong == NULL) {
            wrong = facts_of_kernel(json, strlen(json), &all[i]);
        }
        all[i].ptx = b.at[i].code.ptx;
        all[i].len = b.at[i].code.ptx_len;
        code = wrong == NULL ? EXIT_DONE : internal_error(&u, "verify", wrong, &b.at[i]);
    }
    if (code == EXIT_DONE) {
        code = kernels(opt, all, b.n, u.mem);
    }
    unit_close(&u);
    return code;
}

int command_verify(const options *opt) {
    if (ends_in(opt->file, ".tk") || ends_in(opt->file, ".tir")) {
        if (opt->n_archs == 0 && ends_in(opt->file, ".tk")) {
            fprintf(stderr, "fp4c: no target was given: -arch sm_90a, sm_100a or sm_120a\n");
            return EXIT_MISTAKE;
        }
        return of_program(opt);
    }
    arena *mem = arena_new();
    int code = ends_in(opt->file, ".tkm") ? of_module(opt, mem) : of_ptx(opt, mem);
    arena_free(mem);
    return code;
}
