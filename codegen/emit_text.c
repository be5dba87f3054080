// Templates, and bytes as C data.
#include "emit_int.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void emit_set(emit_text *t, const char *key, const char *value) {
    t->slots[t->n_slots++] = (emit_slot){key, value};
}

static const char *upper(const char *text, arena *mem) {
    char *out = arena_strdup(mem, text);
    for (char *p = out; *p != '\0'; p++) {
        *p = (char)toupper((unsigned char)*p);
    }
    return out;
}

void emit_begin(emit_text *t, const emit_job *job) {
    *t = (emit_text){.job = job, .prefix = emit_identifier(job->stem, job->mem)};
    t->upper = upper(t->prefix, job->mem);
    emit_set(t, "P", t->prefix);
    emit_set(t, "U", t->upper);
    emit_set(t, "STEM", job->stem);
    emit_set(t, "SOURCE", job->source);
    emit_set(t, "VERSION", FP4C_VERSION);
}

static const char *slot_of(const emit_text *t, const char *key, size_t len) {
    for (int i = 0; i < t->n_slots; i++) {
        if (strlen(t->slots[i].key) == len && memcmp(t->slots[i].key, key, len) == 0) {
            return t->slots[i].value;
        }
    }
    return NULL;
}

// One line with its slots filled in; an '@' that encloses no slot's key stays.
static void fill_line(const emit_text *t, const char *line, size_t len, FILE *out) {
    for (size_t i = 0; i < len;) {
        const char *end = line[i] == '@' ? memchr(line + i + 1, '@', len - i - 1) : NULL;
        const char *value =
            end != NULL ? slot_of(t, line + i + 1, (size_t)(end - line) - i - 1) : NULL;
        if (value != NULL) {
            fputs(value, out);
            i = (size_t)(end - line) + 1;
        } else {
            fputc(line[i++], out);
        }
    }
    fputc('\n', out);
}

void emit_template(const emit_text *t, const char *text, FILE *out) {
    bool wanted = true;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (strncmp(text, "@@if ", 5) == 0) {
            wanted = slot_of(t, text + 5, len - 5) != NULL;
        } else if (strncmp(text, "@@end", 5) == 0) {
            wanted = true;
        } else if (wanted) {
            fill_line(t, text, len, out);
        }
        text += len + (text[len] == '\n');
    }
}

void emit_words(FILE *out, const void *bytes, size_t len) {
    const unsigned char *b = bytes;
    size_t n = (len + 7) / 8;
    for (size_t i = 0; i < n; i++) {
        uint64_t word = 0;
        for (size_t j = 0; j < 8 && 8 * i + j < len; j++) {
            word |= (uint64_t)b[8 * i + j] << (8 * j);
        }
        fprintf(out, "%s0x%016" PRIx64 ",%s", i % 5 == 0 ? "    " : "", word,
                i % 5 == 4 || i + 1 == n ? "\n" : " ");
    }
}

FILE *emit_open(emit_buffer *b) {
    *b = (emit_buffer){0};
    b->out = open_memstream(&b->text, &b->len);
    return b->out;
}

const char *emit_close(emit_buffer *b, arena *mem) {
    fclose(b->out);
    const char *text = arena_strndup(mem, b->text, b->len);
    free(b->text);
    return text;
}
