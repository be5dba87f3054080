// Source texts and places in them (src.h).
//
// Every text is copied with a NUL behind it, so that the lexer can run without bounds checks, and
// the offsets of its lines are found once.
#include "src.h"
#include "arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES ((size_t)64 << 20) // spans hold 32-bit offsets; nobody writes such a kernel

typedef struct {
    const char *name;
    const char *text; // len bytes and a NUL
    size_t len;
    uint32_t n_lines;
    uint32_t *line_start; // offset of the first byte of each line
} src_file;

struct src_map {
    arena *mem;
    uint32_t n_files, cap_files;
    src_file *files;
    int n_dirs, cap_dirs;
    const char **dirs;
};

src_map *src_new(void) {
    arena *mem = arena_new();
    src_map *s = ARENA_NEW(mem, src_map);
    s->mem = mem;
    return s;
}

void src_free(src_map *s) {
    if (s != NULL) {
        arena_free(s->mem);
    }
}

static void find_lines(src_map *s, src_file *f) {
    uint32_t n = 1;
    for (size_t i = 0; i < f->len; i++) {
        n += f->text[i] == '\n';
    }
    f->n_lines = n;
    f->line_start = ARENA_ARRAY(s->mem, uint32_t, n);
    uint32_t line = 1;
    for (size_t i = 0; i < f->len; i++) {
        if (f->text[i] == '\n') {
            f->line_start[line++] = (uint32_t)(i + 1);
        }
    }
}

uint32_t src_add_text(src_map *s, const char *name, const char *text, size_t len) {
    if (s->n_files == s->cap_files) {
        uint32_t cap = s->cap_files == 0 ? 4 : s->cap_files * 2;
        src_file *files = ARENA_ARRAY(s->mem, src_file, cap);
        if (s->n_files > 0) {
            memcpy(files, s->files, s->n_files * sizeof *files);
        }
        s->files = files;
        s->cap_files = cap;
    }
    src_file *f = &s->files[s->n_files];
    f->name = arena_strdup(s->mem, name);
    f->len = len > MAX_TEXT_BYTES ? MAX_TEXT_BYTES : len;
    f->text = arena_strndup(s->mem, text, f->len);
    find_lines(s, f);
    return s->n_files++;
}

// Reads all of a stream; NULL and a sentence in *why when that fails.
static char *read_all(src_map *s, FILE *in, size_t *len, const char **why) {
    size_t cap = 1 << 14;
    size_t n = 0;
    char *text = malloc(cap);
    while (text != NULL) {
        size_t got = fread(text + n, 1, cap - n, in);
        n += got;
        if (got == 0) {
            break;
        }
        if (n > MAX_TEXT_BYTES) {
            *why = arena_printf(s->mem, "is larger than %zu MiB", MAX_TEXT_BYTES >> 20);
            free(text);
            return NULL;
        }
        if (n == cap) {
            cap *= 2;
            char *larger = realloc(text, cap);
            if (larger == NULL) {
                free(text);
            }
            text = larger;
        }
    }
    if (text == NULL) {
        *why = "does not fit in memory";
        return NULL;
    }
    if (ferror(in)) {
        *why = arena_strdup(s->mem, strerror(errno));
        free(text);
        return NULL;
    }
    *len = n;
    return text;
}

bool src_add_file(src_map *s, const char *path, uint32_t *file, const char **why) {
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        *why = arena_strdup(s->mem, strerror(errno));
        return false;
    }
    size_t len = 0;
    char *text = read_all(s, in, &len, why);
    fclose(in);
    if (text == NULL) {
        return false;
    }
    *file = src_add_text(s, path, text, len);
    free(text);
    return true;
}

void src_add_include_dir(src_map *s, const char *dir) {
    if (s->n_dirs == s->cap_dirs) {
        int cap = s->cap_dirs == 0 ? 4 : s->cap_dirs * 2;
        const char **dirs = ARENA_ARRAY(s->mem, const char *, cap);
        for (int i = 0; i < s->n_dirs; i++) {
            dirs[i] = s->dirs[i];
        }
        s->dirs = dirs;
        s->cap_dirs = cap;
    }
    s->dirs[s->n_dirs++] = arena_strdup(s->mem, dir);
}

int src_n_include_dirs(const src_map *s) {
    return s->n_dirs;
}

const char *src_include_dir(const src_map *s, int i) {
    return s->dirs[i];
}

uint32_t src_n_files(const src_map *s) {
    return s->n_files;
}

const char *src_name(const src_map *s, uint32_t file) {
    return file < s->n_files ? s->files[file].name : "<none>";
}

const char *src_text(const src_map *s, uint32_t file, size_t *len) {
    if (file >= s->n_files) {
        *len = 0;
        return "";
    }
    *len = s->files[file].len;
    return s->files[file].text;
}

void src_place(const src_map *s, uint32_t file, uint32_t off, int *line, int *col) {
    *line = 1;
    *col = 1;
    if (file >= s->n_files) {
        return;
    }
    const src_file *f = &s->files[file];
    if (off > f->len) {
        off = (uint32_t)f->len;
    }
    uint32_t lo = 0;
    uint32_t hi = f->n_lines; // line_start[lo] <= off, and off < line_start[hi] if there is one
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (f->line_start[mid] <= off) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    *line = (int)lo + 1;
    *col = (int)(off - f->line_start[lo]) + 1;
}
