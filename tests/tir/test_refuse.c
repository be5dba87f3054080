// Each row spoils one number or word of a sound role program: the reader or the verifier must say
// what is wrong. The sentence is matched by a piece of it, so that the right check is seen to act.
#include "planned.h"

#include "arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S100 "gemm.tk sm_100a nvfp4_gemm"
#define S90 "w4a8.tk sm_90a w4a8_gemm"
#define S120 "gemm.tk sm_120a nvfp4_gemm"
#define SPLIT "split.tk sm_120a split"
#define RUNS "fp8_block.tk sm_90a fp8_block_grouped"
#define LANES "fp8_tokens.tk sm_90a fp8_tokens_gemm"

typedef struct {
    const char *program;
    const char *from, *to; // the first 'from' of the text becomes 'to'
    const char *says;
} spoiled;

static const spoiled cases[] = {
#define SPOIL(program, from, to, says) {program, from, to, says},
#include "refuse.def"
#undef SPOIL
};

static char *spoil(const planned *p, const spoiled *c) {
    const char *at = strstr(p->text, c->from);
    if (at == NULL) {
        fail_msg("%s: no '%s' in\n%s", p->name, c->from, p->text);
    }
    size_t head = (size_t)(at - p->text);
    char *text = malloc(p->len + strlen(c->to) + 1);
    sprintf(text, "%.*s%s%s", (int)head, p->text, c->to, at + strlen(c->from));
    return text;
}

static const char *judge(const char *text, arena *mem) {
    const char *why = NULL;
    tir_kernel *k = tir_read(text, strlen(text), mem, &why);
    return k == NULL ? why : tir_verify(k, mem);
}

static void refusals(void **state) {
    (void)state;
    int n = 0;
    int silent = 0;
    planned *all = plan_all(&n);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const spoiled *c = &cases[i];
        char *text = spoil(planned_find(all, n, c->program), c);
        arena *mem = arena_new();
        const char *says = judge(text, mem);
        if (says == NULL || strstr(says, c->says) == NULL) {
            print_message("'%s' -> '%s' (%s): expected \"%s\", got \"%s\"\n", c->from, c->to, c->program,
                          c->says, says != NULL ? says : "nothing");
            silent++;
        }
        arena_free(mem);
        free(text);
    }
    planned_free(all, n);
    assert_int_equal(silent, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
