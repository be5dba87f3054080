// Measured times beside the source: 'gemm.tune' of gemm.tk, as 'fp4c tune' and fp4-bench --tune
// write it.
//
// A line: kernel, machine, FNV-1a 64 of the PTX that was measured, multiprocessors, nanoseconds,
// then every size as NAME=VALUE; '#' begins a comment. What is made now gets its lines in the
// module's TUNE section (runtime/module.h); lines of code that is no longer made are counted in a
// warning: they say nothing about what is.
#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    unit *u;
    const builds *b;
    const char *path;
    int line;
    int stale, first_stale;
    FILE *out;
} reader;

const char *measured_beside(const unit *u) {
    size_t n = strlen(u->opt->file);
    bool tk = n > 3 && strcmp(u->opt->file + n - 3, ".tk") == 0;
    return tk ? arena_printf(u->mem, "%.*s.tune", (int)n - 3, u->opt->file) : NULL;
}

const char *measured_path(const unit *u) {
    const char *path = u->opt->cmd != CMD_TUNE ? measured_beside(u) : NULL; // 'tune' measures anew
    return path != NULL && access(path, R_OK) == 0 ? path : NULL;
}

static bool malformed(const reader *r, const char *what) {
    fprintf(stderr, "%s:%d: error: %s; a line is 'kernel machine code multiprocessors ns M=... N=...'\n", r->path,
            r->line, what);
    return false;
}

static bool number(const char *text, int64_t *out) {
    char *end = NULL;
    long long v = text != NULL && *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    *out = v;
    return v >= 0 && v < INT64_MAX && *end == '\0';
}

// The sizes in the order of the kernel's.
static bool read_sizes(const reader *r, const tir_kernel *k, char **rest) {
    int64_t *value = ARENA_ARRAY(r->u->mem, int64_t, k->n_dims + 1);
    for (int i = 0; i < k->n_dims; i++) {
        value[i] = -1;
    }
    for (char *word = strtok_r(NULL, " ", rest); word != NULL; word = strtok_r(NULL, " ", rest)) {
        char *equals = strchr(word, '=');
        size_t n = equals != NULL ? (size_t)(equals - word) : 0;
        int i = 0;
        while (i < k->n_dims && (strlen(k->dims[i]) != n || strncmp(k->dims[i], word, n) != 0)) {
            i++;
        }
        if (i == k->n_dims || !number(equals + 1, &value[i])) {
            return malformed(r, arena_printf(r->u->mem, "'%s' is no size of '%s'", word, k->name));
        }
    }
    for (int i = 0; i < k->n_dims; i++) {
        if (value[i] < 0) {
            return malformed(r, arena_printf(r->u->mem, "size %s of '%s' is missing", k->dims[i], k->name));
        }
        fprintf(r->out, " %" PRId64, value[i]);
    }
    fputc('\n', r->out);
    return true;
}

static bool read_line(reader *r, char *line) {
    char *rest = NULL;
    const char *word[5];
    for (int i = 0; i < 5; i++) {
        word[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
        if (word[i] == NULL) {
            return i == 0 || malformed(r, "the line ends early");
        }
    }
    char *end = NULL;
    uint64_t code = strtoull(word[2], &end, 16);
    int64_t sms;
    int64_t ns;
    if (*end != '\0' || !number(word[3], &sms) || sms > 65535 || !number(word[4], &ns)) {
        return malformed(r, "code, multiprocessors or nanoseconds are no numbers");
    }
    bool made = false;
    for (int i = 0; i < r->b->n; i++) {
        const built *k = &r->b->at[i];
        if (strcmp(k->tir->name, word[0]) != 0 || strcmp(arch_infos[k->tir->arch].name, word[1]) != 0) {
            continue;
        }
        made = true;
        if (module_code_hash(k->code.ptx, k->code.ptx_len) == code) {
            fprintf(r->out, "%d %" PRId64 " %" PRId64, i, sms, ns);
            return read_sizes(r, k->tir, &rest);
        }
    }
    r->first_stale = made && r->stale == 0 ? r->line : r->first_stale;
    r->stale += made; // else it is about a kernel or machine that was not asked for
    return true;
}

int measured_read(unit *u, const builds *b, const char **tune) {
    reader r = {.u = u, .b = b, .path = measured_path(u)};
    char *text = NULL;
    size_t len = 0;
    const char *why = NULL;
    *tune = NULL;
    if (r.path == NULL) {
        return EXIT_DONE;
    }
    if (!read_whole(r.path, u->mem, &text, &len, &why)) {
        fprintf(stderr, "fp4c: %s: %s\n", r.path, why);
        return EXIT_MISTAKE;
    }
    text = arena_strndup(u->mem, text, len);
    char *written = NULL;
    size_t n = 0;
    r.out = open_memstream(&written, &n);
    bool ok = true;
    for (char *at = text; ok && *at != '\0';) {
        size_t width = strcspn(at, "\n");
        char *next = at + width + (at[width] == '\n');
        at[strcspn(at, "#\n")] = '\0';
        r.line++;
        ok = read_line(&r, at);
        at = next;
    }
    fclose(r.out);
    *tune = n > 0 ? arena_strndup(u->mem, written, n) : NULL;
    free(written);
    if (ok && r.stale > 0) {
        fprintf(stderr,
                "%s:%d: warning: %d line%s of code that is made no more: measure again (fp4c tune)\n",
                r.path, r.first_stale, r.stale, r.stale == 1 ? "" : "s");
    }
    return ok ? EXIT_DONE : EXIT_MISTAKE;
}
