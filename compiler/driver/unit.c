// A compilation unit: the source and what the front end makes of it; files; mistakes of ours.
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool read_whole(const char *path, arena *mem, char **text, size_t *len, const char **why) {
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (in == NULL) {
        *why = strerror(errno);
        return false;
    }
    size_t room = 1 << 16;
    char *buf = arena_alloc(mem, room);
    *len = 0;
    while (true) {
        size_t n = fread(buf + *len, 1, room - *len, in);
        *len += n;
        if (n == 0) {
            break;
        }
        if (*len == room) {
            char *more = arena_alloc(mem, 2 * room);
            memcpy(more, buf, room);
            buf = more;
            room *= 2;
        }
    }
    bool ok = ferror(in) == 0;
    *why = ok ? NULL : strerror(errno); // a directory opens, but does not read
    if (in != stdin) {
        fclose(in);
    }
    *text = buf;
    return ok;
}

// Errors of an edited text through the same stages: front end, then plans for the same machines.
static int verify(void *user, const char *text, size_t len) {
    const unit *u = user;
    src_map *src = src_new();
    for (int i = 0; i < u->opt->n_includes; i++) {
        src_add_include_dir(src, u->opt->includes[i]);
    }
    src_add_text(src, src_name(u->src, 0), text, len);
    unit v = {.opt = u->opt, .mem = arena_new(), .src = src};
    v.d = diag_new(src, 0);
    v.file = lang_parse(src, v.d, v.mem);
    v.checked = lang_check(v.file, v.d, v.mem, u->opt->defines, u->opt->n_defines);
    builds b = {0};
    int code = v.checked ? build_all(&v, STOP_TIR, &b) : EXIT_MISTAKE;
    int errors = code == EXIT_INTERNAL ? -1 : diag_n_errors(v.d);
    unit_close(&v);
    return errors;
}

static bool is_tir(const char *path) {
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".tir") == 0;
}

bool unit_open(unit *u, const options *opt) {
    *u = (unit){.opt = opt, .mem = arena_new(), .src = src_new()};
    u->d = diag_new(u->src, 20);
    double start = now_seconds();
    char *text = NULL;
    size_t len = 0;
    const char *why = NULL;
    if (!read_whole(opt->file, u->mem, &text, &len, &why)) {
        fprintf(stderr, "fp4c: cannot read %s: %s\n", opt->file, why);
        return false;
    }
    for (int i = 0; i < opt->n_includes; i++) {
        src_add_include_dir(u->src, opt->includes[i]);
    }
    src_add_text(u->src, strcmp(opt->file, "-") == 0 ? "<stdin>" : opt->file, text, len);
    if (!is_tir(opt->file)) {
        diag_set_verify(u->d, verify, u);
        u->file = lang_parse(u->src, u->d, u->mem);
        u->checked = lang_check(u->file, u->d, u->mem, opt->defines, opt->n_defines);
    }
    u->front_seconds = now_seconds() - start;
    return true;
}

int unit_report(unit *u) {
    if (diag_count(u->d) > 0 || u->opt->form == DIAG_JSON) {
        diag_print(u->d, stderr, u->opt->form, u->opt->color);
    }
    bool bad = diag_n_errors(u->d) > 0 || (u->opt->werror && diag_n_warnings(u->d) > 0);
    return bad ? EXIT_MISTAKE : EXIT_DONE;
}

bool unit_last_variant(const ast_schedule *const *scheds, int n, int i) {
    bool variant = scheds[i] != NULL && scheds[i]->of != NULL;
    return !variant || i + 1 >= n || scheds[i + 1]->of != scheds[i]->of;
}

diag *unit_try(unit *u) {
    diag *kept = u->d;
    u->d = diag_new(u->src, 0);
    return kept;
}

const char *unit_tried(unit *u, diag *kept) {
    const char *why = diag_n_errors(u->d) > 0 ? arena_strdup(u->mem, diag_first(u->d)) : NULL;
    diag_free(u->d);
    u->d = kept;
    return why;
}

void unit_close(unit *u) {
    diag_free(u->d);
    src_free(u->src);
    arena_free(u->mem);
}

// --- Mistakes of ours ------------------------------------------------------------------------------

static void leave(const char *dir, const char *name, const char *text, size_t len) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "wb");
    if (out != NULL) {
        fwrite(text, 1, len, out);
        fclose(out);
    }
}

static uint32_t hash(const char *text, size_t len) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    }
    return h;
}

int internal_error(unit *u, const char *pass, const char *what, const built *b) {
    size_t len = 0;
    const char *text = src_text(u->src, 0, &len);
    char dir[64];
    snprintf(dir, sizeof dir, "fp4c-crash-%08x", hash(text, len));
    fprintf(stderr, "fp4c: internal error in pass '%s': %s\n", pass, what);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return EXIT_INTERNAL;
    }
    leave(dir, "source", text, len);
    leave(dir, "error.txt", what, strlen(what));
    if (b != NULL && b->tir != NULL) {
        char *tir = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&tir, &n);
        tir_print(out, b->tir);
        fclose(out);
        leave(dir, "kernel.tir", tir, n);
        free(tir);
    }
    if (b != NULL && b->code.ptx != NULL) {
        leave(dir, "kernel.ptx", b->code.ptx, b->code.ptx_len);
    }
    fprintf(stderr, "fp4c: what reproduces it is in %s/; this is a mistake of fp4c, not of the program\n",
            dir);
    return EXIT_INTERNAL;
}
