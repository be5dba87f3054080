// Drives the planner for golden tests: plantool tir|explain|diagnose|roundtrip ARCH FILE
//
// roundtrip: the schedules that explain prints take the place of those in the file (or are added);
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

// Explains one kernel on one line, without comments: lines of the rest of the text keep their numbers.
static bool explain_line(FILE *out, unit *u, const plan_request *r) {
    char *text = NULL;
    size_t len = 0;
    FILE *lines = open_memstream(&text, &len);
    bool ok = u->ok && plan_explain(lines, r);
    fclose(lines);
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " ");
        fprintf(out, "%s ", strncmp(line, "//", 2) == 0 ? "" : line);
    }
    free(text);
    return ok;
}

// The kernel whose schedule begins first in the text from 'from' on; -1: none.
static int next_scheduled(unit *u, tir_arch arch, size_t from) {
    int next = -1;
    size_t best = SIZE_MAX;
    for (int i = 0; i < u->file->n_kernels; i++) {
        const ast_schedule *s = request(u, arch, i).sched;
        if (s != NULL && s->span.off >= from && s->span.off < best) {
            best = s->span.off;
            next = i;
        }
    }
    return next;
}

// The text with every kernel's schedule explained in its place, or at the end.
static char *explained_text(unit *u, const char *text, size_t len, tir_arch arch, size_t *n_edited) {
    char *edited = NULL;
    FILE *out = open_memstream(&edited, n_edited);
    size_t done = 0;
    for (int i; (i = next_scheduled(u, arch, done)) >= 0;) {
        plan_request r = request(u, arch, i);
        fwrite(text + done, 1, r.sched->span.off - done, out);
        u->ok &= explain_line(out, u, &r);
        for (done = r.sched->span.off; done < r.sched->span.off + r.sched->span.len; done++) {
            fputs(text[done] == '\n' ? "\n" : "", out);
        }
    }
    fwrite(text + done, 1, len - done, out);
    for (int i = 0; i < u->file->n_kernels; i++) {
        plan_request r = request(u, arch, i);
        u->ok &= r.sched != NULL || explain_line(out, u, &r);
    }
    fclose(out);
    return edited;
}

static int roundtrip(const char *name, const char *text, size_t len, tir_arch arch) {
    unit u = open_text(name, text, len);
    size_t n_first = 0;
    size_t n_edited = 0;
    size_t n_second = 0;
    char *first = render(&u, arch, false, &n_first);
    char *edited = u.ok ? explained_text(&u, text, len, arch, &n_edited) : NULL;
    int bad = !u.ok;
    if (!u.ok) {
        diag_print(u.d, stderr, DIAG_TEXT, false);
    } else {
        unit v = open_text(name, edited, n_edited);
        char *second = render(&v, arch, false, &n_second);
        bad = !v.ok || n_first != n_second || memcmp(first, second, n_first) != 0;
        if (bad) {
            diag_print(v.d, stderr, DIAG_TEXT, false);
            fprintf(stderr, "%s: explained schedules give other role programs\n%s", name, edited);
        }
        close_unit(&v);
        free(second);
    }
    close_unit(&u);
    free(first);
    free(edited);
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
