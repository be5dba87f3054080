// Prints the PTX of the first kernel of a file: emit FILE ARCH. For golden tests.
#include "tk.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    if (!in) {
        fprintf(stderr, "usage: emit FILE ARCH\n");
        return 2;
    }
    static char text[1 << 16];
    size_t n = fread(text, 1, sizeof text - 1, in);
    text[n] = 0;
    fclose(in);
    arena *mem = arena_new();
    const char *why = NULL;
    tir_kernel *k = tk_plan(text, argv[2], mem, &why);
    cg_options opt = {0};
    cg_result r = {0};
    why = k ? cg_compile(k, &opt, mem, &r) : why;
    if (why) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    fwrite(r.ptx, 1, r.ptx_len, stdout);
    arena_free(mem);
    return 0;
}
