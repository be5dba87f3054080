// Drives the planner for golden tests: plantool tir|explain|diagnose|roundtrip ARCH FILE
//
// roundtrip: the schedule that explain prints takes the place of the one in the file (or is added);
// the role programs of both must be the same text.
#include "arch.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    arena *mem;
    src_map *src;
    diag *d;
    ast_file *file;
    bool ok;
} unit;

static unit open_text(const char *name, const char *text, size_t len) {
    unit u = {.mem = arena_new(), .src = src_new()};
    u.d = diag_new(u.src, 20);
    src_add_text(u.src, name, text, len);
    u.file = lang_parse(u.src, u.d, u.mem);
    u.ok = lang_check(u.file, u.d, u.mem, NULL, 0);
    return u;
}

static void close_unit(unit *u) {
    diag_free(u->d);
    src_free(u->src);
    arena_free(u->mem);
}

static plan_request request(unit *u, tir_arch arch, int kernel) {
    const ast_schedule *s = NULL;
    plan_schedules(u->file, u->file->kernels[kernel], arch, &s, 1);
    return (plan_request){u->file, u->file->kernels[kernel], s, arch, u->src, u->d, u->mem};
}

// All kernels' role programs or schedules as one text.
static char *render(unit *u, tir_arch arch, bool explain, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    for (int i = 0; u->ok && i < u->file->n_kernels; i++) {
        plan_request r = request(u, arch, i);
        if (explain) {
            u->ok &= plan_explain(out, &r);
        } else {
            tir_kernel *k = plan_kernel(&r);
            u->ok &= k != NULL;
            if (k != NULL) {
                const char *wrong = tir_verify(k, u->mem);
                if (wrong != NULL) {
                    fprintf(stderr, "tir_verify: %s\n", wrong);
                    u->ok = false;
                }
                tir_print(out, k);
            }
        }
    }
    fclose(out);
    return text;
}

static tir_arch fix_arch;

static int verify_fix(void *user, const char *text, size_t len) {
    (void)user;
    unit u = open_text("fix", text, len);
    size_t n = 0;
    free(render(&u, fix_arch, false, &n));
    int errors = diag_n_errors(u.d);
    close_unit(&u);
    return errors;
}

static char *read_file(const char *path, size_t *len) {
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        return NULL;
    }
    char *text = malloc(1 << 20);
    *len = fread(text, 1, 1 << 20, in);
    fclose(in);
    return text;
}

static int roundtrip(const char *name, const char *text, size_t len, tir_arch arch) {
    unit u = open_text(name, text, len);
    size_t n_first = 0;
    size_t n_explain = 0;
    char *first = render(&u, arch, false, &n_first);
    char *explained = render(&u, arch, true, &n_explain);
    if (!u.ok) {
        diag_print(u.d, stderr, DIAG_TEXT, false);
        free(first);
        free(explained);
        close_unit(&u);
        return 1;
    }
    plan_request r = request(&u, arch, 0);
    ast_span at = r.sched != NULL ? r.sched->span : (ast_span){0, (uint32_t)len, 0};
    size_t n_edited = 0;
    char *edited = NULL;
    FILE *out = open_memstream(&edited, &n_edited);
    fwrite(text, 1, at.off, out);
    fwrite(explained, 1, n_explain, out);
    fwrite(text + at.off + at.len, 1, len - at.off - at.len, out);
    fclose(out);
    unit v = open_text(name, edited, n_edited);
    size_t n_second = 0;
    char *second = render(&v, arch, false, &n_second);
    int bad = !v.ok || n_first != n_second || memcmp(first, second, n_first) != 0;
    if (bad) {
        diag_print(v.d, stderr, DIAG_TEXT, false);
        fprintf(stderr, "%s: the explained schedule gives other role programs\n%s", name, explained);
    }
    close_unit(&v);
    close_unit(&u);
    free(first);
    free(explained);
    free(edited);
    free(second);
    return bad;
}

int main(int argc, char **argv) {
    int arch = argc == 4 ? arch_find(argv[2]) : -1;
    if (arch < 0) {
        fprintf(stderr, "usage: plantool tir|explain|diagnose|roundtrip ARCH FILE\n");
        return 2;
    }
    size_t len = 0;
    char *text = read_file(argv[3], &len);
    if (text == NULL) {
        fprintf(stderr, "cannot read %s\n", argv[3]);
        return 2;
    }
    const char *slash = strrchr(argv[3], '/');
    const char *name = slash != NULL ? slash + 1 : argv[3];
    int rc = 0;
    if (strcmp(argv[1], "roundtrip") == 0) {
        rc = roundtrip(name, text, len, (tir_arch)arch);
    } else {
        unit u = open_text(name, text, len);
        fix_arch = (tir_arch)arch;
        diag_set_verify(u.d, verify_fix, NULL);
        size_t n = 0;
        char *printed = render(&u, (tir_arch)arch, strcmp(argv[1], "explain") == 0, &n);
        if (u.ok && strcmp(argv[1], "diagnose") != 0) {
            fwrite(printed, 1, n, stdout);
        }
        diag_print(u.d, stdout, DIAG_TEXT, false);
        rc = u.ok ? 0 : 1;
        free(printed);
        close_unit(&u);
    }
    free(text);
    return rc;
}
