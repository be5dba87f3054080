// Plans the programs under tests/programs and lib. FP4_ROOT is the top of the source tree.
#include "planned.h"

#include "arch.h"
#include "plan.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 512, MOST_BYTES = 1 << 20, MOST_SCHEDULES = 16 };

typedef struct {
    int n;
    planned *at;
} list;

char *print_text(const tir_kernel *k, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    tir_print(out, k);
    fclose(out);
    return text;
}

typedef struct {
    arena *mem;
    src_map *src;
    diag *d;
    ast_file *file;
    const char *name;
} unit;

static void plan_one(list *l, const unit *u, int kernel, tir_arch arch, const ast_schedule *s) {
    plan_request r = {u->file, u->file->kernels[kernel], s, arch, u->src, u->d, u->mem};
    tir_kernel *k = plan_kernel(&r);
    if (k == NULL || l->n == MOST) {
        return;
    }
    planned *p = &l->at[l->n++];
    snprintf(p->name, sizeof p->name, "%s %s %s", u->name, arch_infos[arch].name, k->name);
    p->text = print_text(k, &p->len);
}

static void plan_file(list *l, const char *path) {
    static const tir_arch archs[] = {ARCH_SM100A, ARCH_SM120A, ARCH_SM90A};
    FILE *in = fopen(path, "rb");
    char *text = malloc(MOST_BYTES);
    size_t len = in != NULL ? fread(text, 1, MOST_BYTES, in) : 0;
    if (in != NULL) {
        fclose(in);
    }
    const char *slash = strrchr(path, '/');
    unit u = {.mem = arena_new(), .src = src_new(), .name = slash != NULL ? slash + 1 : path};
    u.d = diag_new(u.src, 20);
    src_add_text(u.src, u.name, text, len);
    u.file = lang_parse(u.src, u.d, u.mem);
    bool ok = lang_check(u.file, u.d, u.mem, NULL, 0);
    for (int i = 0; ok && i < u.file->n_kernels; i++) {
        for (size_t a = 0; a < sizeof archs / sizeof archs[0]; a++) {
            const ast_schedule *scheds[MOST_SCHEDULES] = {NULL};
            int n = plan_schedules(u.file, u.file->kernels[i], archs[a], scheds, MOST_SCHEDULES);
            for (int s = 0; s < (n > 0 ? n : 1); s++) {
                plan_one(l, &u, i, archs[a], scheds[s]);
            }
        }
    }
    diag_free(u.d);
    src_free(u.src);
    arena_free(u.mem);
    free(text);
}

planned *plan_all(int *n) {
    list l = {.at = calloc(MOST, sizeof(planned))};
    glob_t files = {0};
    glob(FP4_ROOT "/tests/programs/*.tk", 0, NULL, &files);
    glob(FP4_ROOT "/lib/*/*.tk", GLOB_APPEND, NULL, &files);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        plan_file(&l, files.gl_pathv[i]);
    }
    globfree(&files);
    *n = l.n;
    return l.at;
}

void planned_free(planned *p, int n) {
    for (int i = 0; i < n; i++) {
        free(p[i].text);
    }
    free(p);
}

const planned *planned_find(const planned *p, int n, const char *name) {
    for (int i = 0; i < n; i++) {
        if (strcmp(p[i].name, name) == 0) {
            return &p[i];
        }
    }
    fprintf(stderr, "no role program '%s'\n", name);
    exit(2);
}
