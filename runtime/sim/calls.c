// Calls at run time: functions that the toolkit's device runtime brings (printf, assert, malloc), and
// calls through registers. PTX ISA "System calls"; CUDA C++ "Formatted output": the arguments lie in
// one buffer, each aligned to its size, integers and pointers as they are, floats as doubles.
#include "call.h"
#include "mem.h"
#include <stdio.h>
#include <stdlib.h>

#define MOST_PRINTED (1u << 20) // the toolkit's default buffer

static void *local_word(const struct warp *w, uint32_t at, int lane) {
    return w->local + (size_t)lane * w->x->k->local_bytes + at;
}

static uint64_t arg_64(const struct warp *w, uint32_t at, int lane) {
    uint64_t v;
    memcpy(&v, local_word(w, at, lane), 8);
    return v;
}

// n bytes at a generic address; NULL after a fault.
static const uint8_t *bytes_at(struct warp *w, const struct uop *u, uint64_t a, int lane,
                               uint32_t n) {
    struct access x = {.space = SP_GENERIC, .bytes = n, .align = 1, .cluster = true};
    return sim_lane_pointer(w, u, a, lane, &x);
}

struct text_room {
    char *text;
    size_t size;
};

// A string of at most 'size' - 1 characters, the rest is cut off; false after a fault.
static bool read_string(struct warp *w, const struct uop *u, uint64_t a, int lane,
                        struct text_room *out) {
    for (size_t n = 0;; n++) {
        const uint8_t *c = bytes_at(w, u, a + n, lane, 1);
        if (c == NULL) {
            return false;
        }
        bool end = *c == 0 || n + 1 == out->size;
        out->text[n] = end ? '\0' : (char)*c;
        if (end) {
            return true;
        }
    }
}

// ---- printf -------------------------------------------------------------------------------------
static void print(struct sim *s, const char *text, size_t n) {
    if (s->n_printed + n > MOST_PRINTED) {
        s->printed_lost += n;
        return;
    }
    if (s->n_printed + n + 1 > s->printed_capacity) {
        size_t more = 2 * (s->n_printed + n + 1);
        char *bigger = realloc(s->printed, more);
        if (bigger == NULL) {
            s->printed_lost += n;
            return;
        }
        s->printed = bigger;
        s->printed_capacity = more;
    }
    memcpy(s->printed + s->n_printed, text, n);
    s->n_printed += n;
    s->printed[s->n_printed] = '\0';
}

struct arguments {
    struct warp *w;
    const struct uop *u;
    int lane;
    uint64_t at; // of the next argument
};

static bool next_argument(struct arguments *a, uint32_t bytes, uint64_t *v) {
    a->at = (a->at + bytes - 1) & ~(uint64_t)(bytes - 1);
    const uint8_t *p = bytes_at(a->w, a->u, a->at, a->lane, bytes);
    *v = 0;
    if (p != NULL) {
        memcpy(v, p, bytes);
    }
    a->at += bytes;
    return p != NULL;
}

// One conversion as the host's printf knows it; integers are widened to long long.
struct conversion {
    char flags[6];
    int n_flags, width, precision; // -1: none
    int bits;   // of an integer
    char what;
};

static bool number_or_star(const char **f, struct arguments *a, int *out) {
    if (**f == '*') {
        uint64_t v;
        (*f)++;
        bool ok = next_argument(a, 4, &v);
        *out = (int)v < 0 ? -1 : (int)v;
        return ok;
    }
    *out = 0;
    for (; **f >= '0' && **f <= '9'; (*f)++) {
        *out = *out < 10000 ? *out * 10 + (**f - '0') : *out;
    }
    return true;
}

static bool read_conversion(const char **f, struct arguments *a, struct conversion *c) {
    *c = (struct conversion){.width = -1, .precision = -1, .bits = 32};
    for (; **f != '\0' && strchr("-+ #0", **f) != NULL; (*f)++) {
        if (c->n_flags < 5 && strchr(c->flags, **f) == NULL) {
            c->flags[c->n_flags++] = **f;
        }
    }
    if (**f == '*' || (**f >= '1' && **f <= '9')) {
        if (!number_or_star(f, a, &c->width)) {
            return false;
        }
    }
    if (**f == '.') {
        (*f)++;
        if (!number_or_star(f, a, &c->precision)) {
            return false;
        }
    }
    for (; **f != '\0' && strchr("hlLzjt", **f) != NULL; (*f)++) {
        c->bits = **f != 'h' ? 64 : c->bits > 16 ? 16 : 8;
    }
    c->what = **f;
    *f += **f != '\0';
    return true;
}

static void spec_of(const struct conversion *c, const char *length, char out[48]) {
    int n = snprintf(out, 32, "%%%s", c->flags);
    if (c->width >= 0) {
        n += snprintf(out + n, 12, "%d", c->width > 4000 ? 4000 : c->width);
    }
    if (c->precision >= 0) {
        n += snprintf(out + n, 12, ".%d", c->precision > 4000 ? 4000 : c->precision);
    }
    snprintf(out + n, 6, "%s%c", length, c->what);
}

// An integer as its length modifier has it.
static long long narrowed(uint64_t v, const struct conversion *c) {
    int unused = 64 - c->bits;
    bool sign = c->what == 'd' || c->what == 'i';
    return sign ? (long long)(v << unused) >> unused : (long long)(v << unused >> unused);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // made by spec_of for exactly this argument
static bool print_one(struct arguments *a, const struct conversion *c) {
    char text[8300];
    char string[4097];
    char spec[48];
    uint64_t v = 0;
    double d;
    if (strchr("diouxXc", c->what) != NULL) {
        if (!next_argument(a, c->bits == 64 && c->what != 'c' ? 8 : 4, &v)) {
            return false;
        }
        spec_of(c, c->what == 'c' ? "" : "ll", spec);
        if (c->what == 'c') {
            snprintf(text, sizeof text, spec, (int)v);
        } else {
            snprintf(text, sizeof text, spec, narrowed(v, c));
        }
    } else if (strchr("eEfFgGaA", c->what) != NULL) {
        if (!next_argument(a, 8, &v)) {
            return false;
        }
        memcpy(&d, &v, 8);
        spec_of(c, "", spec);
        snprintf(text, sizeof text, spec, d);
    } else if (c->what == 's') {
        struct text_room room = {string, sizeof string};
        if (!next_argument(a, 8, &v) || !read_string(a->w, a->u, v, a->lane, &room)) {
            return false;
        }
        spec_of(c, "", spec);
        snprintf(text, sizeof text, spec, string);
    } else {
        if (!next_argument(a, 8, &v)) { // %p
            return false;
        }
        snprintf(text, sizeof text, "0x%llx", (unsigned long long)v);
    }
    print(a->w->x->sim, text, strlen(text));
    return true;
}
#pragma GCC diagnostic pop

// The number of arguments, -1 after a fault.
static int print_lane(struct arguments *a, const char *f) {
    struct sim *s = a->w->x->sim;
    int n = 0;
    while (*f != '\0') {
        const char *percent = strchr(f, '%');
        size_t plain = percent == NULL ? strlen(f) : (size_t)(percent - f);
        print(s, f, plain);
        f += plain;
        if (*f == '\0') {
            return n;
        }
        f++;
        if (*f == '%') {
            print(s, f++, 1);
            continue;
        }
        struct conversion c;
        if (!read_conversion(&f, a, &c)) {
            return -1;
        }
        if (c.what == '\0' || strchr("diouxXceEfFgGaAsp", c.what) == NULL) {
            print(s, "%", 1);
            print(s, &c.what, c.what != '\0');
            continue;
        }
        n++;
        if (!print_one(a, &c)) {
            return -1;
        }
    }
    return n;
}

const struct uop *run_vprintf(struct warp *w, const struct uop *u) {
    const struct builtin_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    FOR_LANES(l, m) {
        char format[4097];
        struct text_room room = {format, sizeof format};
        struct arguments a = {w, u, l, arg_64(w, x->arg[1], l)};
        w->active = 1u << l; // a fault names the lane
        int n = read_string(w, u, arg_64(w, x->arg[0], l), l, &room) ? print_lane(&a, format) : -1;
        if (n < 0) {
            return STOP;
        }
        memcpy(local_word(w, x->ret, l), &n, 4);
    }
    w->active = w->split[w->current].mask;
    return u + 1;
}

// ---- assert -------------------------------------------------------------------------------------
// __assertfail(condition, file, line, function, size of a character)
const struct uop *run_assertfail(struct warp *w, const struct uop *u) {
    const struct builtin_aux *x = u->aux;
    uint32_t m = exec_mask(w, u);
    if (m == 0) {
        return u + 1;
    }
    int l = first_lane(m);
    char text[3][400];
    static const int which[3] = {0, 1, 3};
    for (int n = 0; n < 3; n++) {
        struct text_room room = {text[n], sizeof text[n]};
        uint64_t a = arg_64(w, x->arg[which[n]], l);
        text[n][0] = '\0';
        if (a != 0 && !read_string(w, u, a, l, &room)) {
            return STOP;
        }
    }
    uint32_t line;
    memcpy(&line, local_word(w, x->arg[2], l), 4);
    w->active = m;
    return sim_fault(w, u, "%s:%u: %s: assertion `%s` failed", text[1], line, text[2], text[0]);
}

// ---- the heap -----------------------------------------------------------------------------------
const struct uop *run_heap_alloc(struct warp *w, const struct uop *u) {
    const struct builtin_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        uint64_t a = devmem_heap_alloc(w->x->sim, arg_64(w, x->arg[0], l));
        w->x->hit = NULL; // the list of allocations has moved
        memcpy(local_word(w, x->ret, l), &a, 8);
    }
    return u + 1;
}

const struct uop *run_heap_free(struct warp *w, const struct uop *u) {
    const struct builtin_aux *x = u->aux;
    FOR_LANES(l, exec_mask(w, u)) {
        uint64_t a = arg_64(w, x->arg[0], l);
        w->x->hit = NULL;
        if (a != 0 && !devmem_heap_free(w->x->sim, a)) {
            w->active = 1u << l;
            return sim_fault(w, u, "free of 0x%llx, which malloc has not returned",
                             (unsigned long long)a);
        }
    }
    return u + 1;
}

// ---- calls that cannot be expanded --------------------------------------------------------------
const struct uop *run_recursion(struct warp *w, const struct uop *u) {
    return exec_mask(w, u) == 0
               ? u + 1
               : sim_fault(w, u, "function '%s' calls itself: recursion is not supported",
                           (const char *)u->aux);
}

const struct uop *run_no_function(struct warp *w, const struct uop *u) {
    return exec_mask(w, u) == 0
               ? u + 1
               : sim_fault(w, u, "function '%s' has no body here; give the PTX of the whole program "
                                 "(nvcc without -rdc=true)",
                           (const char *)u->aux);
}

const struct uop *run_call_check(struct warp *w, const struct uop *u) {
    const struct call_targets *t = u->aux;
    const u64 *a = row(w, u->a);
    FOR_LANES(l, exec_mask(w, u)) {
        uint32_t n = 0;
        while (n < t->n && t->address[n] != a[l]) {
            n++;
        }
        if (n == t->n) {
            w->active = 1u << l;
            return sim_fault(w, u, "0x%llx is the address of no function that this call can reach",
                             (unsigned long long)a[l]);
        }
    }
    return u + 1;
}
