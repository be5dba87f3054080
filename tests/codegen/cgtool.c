// Prints what the compiler makes of a .tk file: cgtool ptx|tir ARCH FILE. The golden tests pipe it
// into FileCheck.
#include "tk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path) {
    FILE *in = fopen(path, "rb");
    if (!in) {
        return NULL;
    }
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (int ch = fgetc(in); ch != EOF; ch = fgetc(in)) {
        fputc(ch, out);
    }
    fclose(out);
    fclose(in);
    return text;
}

static const char *print(const char *what, const char *arch, const char *text, arena *mem) {
    const char *why = NULL;
    tir_kernel *k = tk_plan(text, arch, mem, &why);
    if (!k) {
        return why;
    }
    if (strcmp(what, "tir") == 0) {
        tir_print(stdout, k);
        return NULL;
    }
    cg_options opt = {0};
    cg_result r;
    why = cg_compile(k, &opt, mem, &r);
    if (!why) {
        fwrite(r.ptx, 1, r.ptx_len, stdout);
    }
    return why;
}

int main(int argc, char **argv) {
    char *text = argc == 4 ? read_text(argv[3]) : NULL;
    if (!text) {
        fprintf(stderr, "usage: cgtool ptx|tir ARCH FILE\n");
        return 2;
    }
    arena *mem = arena_new();
    const char *why = print(argv[1], argv[2], text, mem);
    if (why) {
        fprintf(stderr, "%s\n", why);
    }
    arena_free(mem);
    free(text);
    return why != NULL;
}
