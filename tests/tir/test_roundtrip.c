// Every program's role programs: the verifier accepts them, and the text reads back to a kernel that
// prints as the same bytes.
#include "planned.h"

#include "arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LEAST = 15 }; // programs by machines: fewer means that the planner refuses what it planned

static void check_text(const char *name, const char *text, size_t len, const planned *p) {
    arena *mem = arena_new();
    const char *why = NULL;
    tir_kernel *k = tir_read(text, len, mem, &why);
    if (k == NULL) {
        fail_msg("%s: %s\n%s", name, why, text);
    }
    const char *wrong = tir_verify(k, mem);
    if (wrong != NULL) {
        fail_msg("%s: %s\n%s", name, wrong, text);
    }
    size_t n = 0;
    char *again = print_text(k, &n);
    if (n != p->len || memcmp(again, p->text, n) != 0) {
        fail_msg("%s: read and printed again it differs:\n%s\n%s", name, p->text, again);
    }
    free(again);
    arena_free(mem);
}

static void same_bytes(void **state) {
    (void)state;
    int n = 0;
    planned *all = plan_all(&n);
    assert_true(n >= LEAST);
    for (int i = 0; i < n; i++) {
        check_text(all[i].name, all[i].text, all[i].len, &all[i]);
    }
    print_message("%d role programs\n", n);
    planned_free(all, n);
}

// White space and comments are free: every blank outside strings becomes a comment, then every line
// break a blank.
static void free_layout(void **state) {
    (void)state;
    int n = 0;
    planned *all = plan_all(&n);
    for (int i = 0; i < n; i++) {
        char *wide = calloc(all[i].len + 1, 16);
        char *flat = calloc(all[i].len + 1, 1);
        size_t at = 0;
        bool quoted = false;
        for (size_t j = 0; j < all[i].len; j++) {
            char c = all[i].text[j];
            quoted ^= c == '"';
            flat[j] = c == '\n' ? ' ' : c;
            if (c == ' ' && !quoted) {
                at += (size_t)sprintf(wide + at, "\t// {x=1\r\n");
            } else {
                wide[at++] = c;
            }
        }
        check_text(all[i].name, wide, at, &all[i]);
        check_text(all[i].name, flat, all[i].len, &all[i]);
        free(wide);
        free(flat);
    }
    planned_free(all, n);
}

// A text cut off anywhere is refused, never read as a shorter kernel.
static void cut_off(void **state) {
    (void)state;
    int n = 0;
    planned *all = plan_all(&n);
    for (int i = 0; i < n; i++) {
        for (size_t len = 0; len + 2 < all[i].len; len += len < 64 ? 1 : 37) {
            arena *mem = arena_new();
            char *part = malloc(len + 1); // its own block, so that reading past the end is seen
            memcpy(part, all[i].text, len);
            const char *why = NULL;
            assert_null(tir_read(part, len, mem, &why));
            assert_non_null(why);
            assert_memory_equal(why, "line ", 5);
            free(part);
            arena_free(mem);
        }
    }
    planned_free(all, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(free_layout),
        cmocka_unit_test(cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
