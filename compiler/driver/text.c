// The commands that only read and print: explain, check, fmt.
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int explain_code(const char *code) {
    const diag_info *info = diag_explain(code);
    if (info == NULL) {
        return -1;
    }
    printf("%s: %s\n\n%s\n", info->code, info->title, info->explanation);
    return EXIT_DONE;
}

// What 'tune' leaves out because no launch could use it (lang/tune.c found out).
static void print_left_out(const unit *u, const ast_kernel *k, tir_arch arch) {
    for (int i = 0; i < u->file->n_schedules; i++) {
        const ast_schedule *s = u->file->schedules[i];
        for (int v = 0; v < s->n_variants && s->kernel == k && arch_find(s->arch) == (int)arch; v++) {
            if (s->variants[v]->left_out != NULL) {
                printf("// %s is left out: %s\n", s->variants[v]->tuned, s->variants[v]->left_out);
            }
        }
    }
}

static int explain_kernel(unit *u, const ast_kernel *k, tir_arch arch) {
    const ast_schedule *scheds[MAX_KERNELS] = {NULL};
    int n = plan_schedules(u->file, k, arch, scheds, MAX_KERNELS);
    int code = EXIT_DONE;
    bool any = false; // of the variants of one schedule
    print_left_out(u, k, arch);
    for (int s = 0; s < (n > 0 ? n : 1); s++) {
        bool variant = scheds[s] != NULL && scheds[s]->of != NULL;
        diag *kept = variant ? unit_try(u) : NULL;
        plan_request r = {u->file, k, scheds[s], arch, u->src, u->d, u->mem};
        bool ok = plan_explain(stdout, &r);
        const char *why = variant ? unit_tried(u, kept) : NULL;
        if (why != NULL) {
            printf("// %s is left out: %s\n", scheds[s]->tuned, why);
        }
        any = any || ok;
        bool last = unit_last_variant(scheds, n, s);
        code = last && !any ? EXIT_MISTAKE : code;
        any = any && !last;
    }
    return code;
}

static int explain_unit(unit *u) {
    int code = EXIT_DONE;
    for (int a = 0; a < u->opt->n_archs; a++) {
        for (int i = 0; i < u->file->n_kernels; i++) {
            const ast_kernel *k = u->file->kernels[i];
            if (u->opt->kernel != NULL && strcmp(u->opt->kernel, k->name) != 0) {
                continue;
            }
            int c = explain_kernel(u, k, u->opt->archs[a]);
            code = c > code ? c : code;
        }
    }
    return code;
}

int command_explain(const options *opt) {
    int code = explain_code(opt->file);
    if (code >= 0) {
        return code;
    }
    if (opt->n_archs == 0) {
        fprintf(stderr, "fp4c: '%s' is no code of a diagnostic; to explain a program give its target: "
                        "-arch sm_100a\n",
                opt->file);
        return EXIT_MISTAKE;
    }
    unit u;
    code = EXIT_MISTAKE;
    if (unit_open(&u, opt)) {
        if (u.file == NULL) {
            fprintf(stderr, "fp4c: a .tir is what explain would explain\n");
        } else {
            code = u.checked ? explain_unit(&u) : EXIT_MISTAKE;
            int reported = unit_report(&u);
            code = reported > code ? reported : code;
        }
    }
    unit_close(&u);
    return code;
}

int command_check(const options *opt) {
    unit u;
    int code = EXIT_MISTAKE;
    if (unit_open(&u, opt)) {
        builds b = {0};
        code = u.file == NULL || (u.checked && opt->n_archs > 0) ? build_all(&u, STOP_TIR, &b) : EXIT_DONE;
        int reported = unit_report(&u);
        code = reported > code ? reported : code;
    }
    unit_close(&u);
    return code;
}

int command_fmt(const options *opt) {
    unit u;
    int code = EXIT_MISTAKE;
    if (unit_open(&u, opt) && u.file != NULL) {
        // Only what does not parse is refused: a program under work is formatted too.
        bool parses = true;
        for (int i = 0; i < diag_count(u.d); i++) {
            parses &= diag_code(u.d, i)[0] != 'P';
        }
        code = parses ? EXIT_DONE : unit_report(&u);
    }
    if (code == EXIT_DONE) {
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        ast_print_file(out, u.file);
        fclose(out);
        size_t before_len = 0;
        const char *before = src_text(u.src, 0, &before_len);
        bool same = before_len == len && memcmp(before, text, len) == 0;
        if (opt->check) {
            code = same ? EXIT_DONE : EXIT_MISTAKE;
            if (!same) {
                fprintf(stderr, "fp4c: %s is not in canonical form: fp4c fmt -i %s\n", opt->file, opt->file);
            }
        } else if (opt->in_place) {
            const char *wrong = same ? NULL : module_write(opt->file, text, len, u.mem);
            if (wrong != NULL) {
                fprintf(stderr, "fp4c: %s\n", wrong);
                code = EXIT_MISTAKE;
            }
        } else {
            fwrite(text, 1, len, stdout);
        }
        free(text);
    }
    unit_close(&u);
    return code;
}
