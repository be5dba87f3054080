// Test support: see refuse.h.
#include "refuse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *arch, *source;
    const refuse_case *c;
} refuse_run;

static void run_case(void **state) {
    const refuse_run *r = *state;
    arena *mem = arena_new();
    const char *why = NULL;
    tir_kernel *k = tk_plan(r->source, r->arch, mem, &why);
    if (!k) {
        fail_msg("%s", why);
    }
    r->c->change(k);
    cg_options opt = {0};
    cg_result out = {0};
    why = cg_compile(k, &opt, mem, &out);
    if (!r->c->part) {
        assert_null(why);
        assert_non_null(out.ptx);
    } else {
        assert_non_null(why);
        assert_string_equal(out.code, "X101");
        if (!strstr(why, r->c->part)) {
            fail_msg("'%s' is not in: %s", r->c->part, why);
        }
    }
    arena_free(mem);
}

int refuse_cases(const char *arch, const char *source, const refuse_case *cases, int n) {
    struct CMUnitTest *tests = calloc((size_t)n, sizeof tests[0]);
    refuse_run *runs = calloc((size_t)n, sizeof runs[0]);
    for (int i = 0; i < n; i++) {
        runs[i] = (refuse_run){.arch = arch, .source = source, .c = &cases[i]};
        tests[i] = (struct CMUnitTest){.name = cases[i].name, .test_func = run_case,
                                       .initial_state = &runs[i]};
    }
    int failed = _cmocka_run_group_tests(arch, tests, (size_t)n, NULL, NULL);
    free(tests);
    free(runs);
    return failed;
}
