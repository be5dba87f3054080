// Calls: functions with parameters in .param space and in registers, nested, guarded and divergent
// ones, calls through registers, and the functions of the toolkit's runtime: printf, assert, malloc.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t in_words[64], out_words[64];

#define BEGIN                                                                                      \
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"                                      \
    " .reg .pred p<8>; .reg .b32 r<64>; .reg .b64 d<32>; .reg .f64 e<8>;\n"                        \
    " mov.u32 r1, %tid.x; mul.wide.u32 d0, r1, 4; ld.param.u64 d1, [in]; add.u64 d1, d1, d0;\n"    \
    " ld.param.u64 d2, [out]; add.u64 d2, d2, d0; ld.global.u32 r2, [d1];\n"

static void run_words(const char *ptx) {
    struct rng r = {3};
    rng_bytes(&r, in_words, sizeof in_words);
    memset(out_words, 0, sizeof out_words);
    run_all(ptx, &(struct io){in_words, sizeof in_words, out_words, sizeof out_words, 64, 1, 0, 0});
}

// square-and-add; it calls 'twice', which stands behind the kernel
#define FUNCTIONS                                                                                  \
    ".func (.param .b32 r) twice(.param .b32 x);\n"                                                \
    ".func (.param .align 8 .b8 ret[16]) pair(.param .align 8 .b8 in[16], .param .b32 n)\n{\n"     \
    " .reg .b32 a<8>; .reg .pred p; .reg .b64 d;\n"                                                \
    " ld.param.u32 a0, [in]; ld.param.u32 a1, [in+4]; ld.param.u32 a2, [n];\n"                     \
    " mov.b64 d, in; ld.param.u32 a5, [d+8]; setp.gt.s32 p, a2, 40; @p bra BIG;\n"                 \
    " { .param .b32 q; .param .b32 v; st.param.b32 [q], a0; call.uni (v), twice, (q);\n"           \
    "   ld.param.b32 a3, [v]; }\n"                                                                 \
    " add.u32 a4, a1, a2; st.param.b32 [ret], a3; st.param.b32 [ret+4], a4;\n"                     \
    " st.param.b32 [ret+8], a5; ret;\n"                                                            \
    "BIG: mul.lo.u32 a3, a0, 7; st.param.v2.b32 [ret], {a3, a1}; st.param.b32 [ret+8], 5;\n}\n"

static void by_parameters(void **state) {
    (void)state;
    run_words(HEAD FUNCTIONS BEGIN
              " and.b32 r3, r1, 3; setp.ne.u32 p1, r3, 0; mov.u32 r10, r2; mov.u32 r11, 9;\n"
              " mov.u32 r12, 1; { .param .align 8 .b8 a[16]; .param .b32 n; .param .align 8 .b8 b[16];\n"
              "  st.param.v2.b32 [a], {r2, r1}; st.param.b32 [a+8], r3; st.param.b32 [n], r1;\n"
              "  @p1 call (b), pair, (a, n);\n"
              "  @p1 ld.param.v2.b32 {r10, r11}, [b]; @p1 ld.param.b32 r12, [b+8]; }\n"
              " xor.b32 r10, r10, r11; add.u32 r10, r10, r12; st.global.u32 [d2], r10; ret;\n}\n"
              ".func (.param .b32 r) twice(.param .b32 x)\n{\n .reg .b32 a;\n"
              " ld.param.u32 a, [x]; shl.b32 a, a, 1; st.param.b32 [r], a; ret;\n}\n");
    for (uint32_t t = 0; t < 64; t++) {
        uint32_t v = in_words[t];
        uint32_t x = v, y = 9, z = 1;
        if (t % 4 != 0) {
            x = t > 40 ? v * 7 : v * 2;
            y = t > 40 ? t : t + t;
            z = t > 40 ? 5 : t % 4;
        }
        assert_int_equal(out_words[t], (x ^ y) + z);
    }
}

static void by_registers(void **state) {
    (void)state;
    run_words(HEAD ".func (.reg .b32 s, .reg .b64 t) f(.reg .b32 a, .reg .b64 b)\n{\n"
                   " .reg .b64 c; cvt.u64.u32 c, a; add.u32 s, a, 3; mad.lo.u64 t, b, c, 1; ret;\n}\n"
              BEGIN " mul.wide.u32 d3, r1, r1; call (r3, d4), f, (r2, d3); cvt.u32.u64 r4, d4;\n"
                    " call (r5, d4), f, (11, d3); cvt.u32.u64 r6, d4;\n"
                    " xor.b32 r3, r3, r4; xor.b32 r5, r5, r6; sub.u32 r3, r3, r5;\n"
                    " st.global.u32 [d2], r3; ret;\n}\n");
    for (uint32_t t = 0; t < 64; t++) {
        uint32_t v = in_words[t];
        uint32_t want = ((v + 3) ^ (uint32_t)((uint64_t)t * t * v + 1)) - (14u ^ (t * t * 11 + 1));
        assert_int_equal(out_words[t], want);
    }
}

// A return in memory before and one behind the one in a register.
static void mixed_returns(void **state) {
    (void)state;
    run_words(HEAD ".func (.param .b32 m, .reg .b32 s, .param .b32 n) f(.reg .b32 a)\n{\n .reg .b32 b;\n"
                   " add.u32 b, a, 1; st.param.b32 [m], b; add.u32 s, a, 2; add.u32 b, a, 3;\n"
                   " st.param.b32 [n], b; ret;\n}\n" BEGIN
                   " { .param .b32 x; .param .b32 y; call (x, r3, y), f, (r2);\n"
                   "   ld.param.b32 r4, [x]; ld.param.b32 r5, [y]; }\n"
                   " mad.lo.u32 r3, r3, 10, r4; mad.lo.u32 r3, r5, 100, r3; st.global.u32 [d2], r3; ret;\n}\n");
    for (uint32_t t = 0; t < 64; t++) {
        uint32_t v = in_words[t];
        assert_int_equal(out_words[t], (v + 1) + 10 * (v + 2) + 100 * (v + 3));
    }
}

// Targets from a table in memory and from a move, different ones in one warp; functions of other types are none.
static void through_registers(void **state) {
    (void)state;
    run_words(HEAD ".func .attribute(.unified(0xAB, 0xCD)) (.param .b32 r) f0(.param .b32 x)\n"
                   "{ .reg .b32 a; ld.param.u32 a, [x];\n"
                   " add.u32 a, a, 1; st.param.b32 [r], a; ret; }\n"
                   ".func (.param .b32 r) f1(.param .b32 x)\n{ .reg .b32 a; ld.param.u32 a, [x];\n"
                   " mul.lo.u32 a, a, 3; st.param.b32 [r], a; ret; }\n"
                   ".func (.param .b32 r) f2(.param .b32 x)\n{ .reg .b32 a; ld.param.u32 a, [x];\n"
                   " not.b32 a, a; st.param.b32 [r], a; ret; }\n"
                   ".func (.param .b64 r) wide(.param .b64 x) { st.param.b64 [r], 1; ret; }\n"
                   ".func (.param .b32 r) bit(.reg .pred x) { st.param.b32 [r], 1; ret; }\n"
                   ".global .align 8 .u64 table[2] = {f0, f1}, others[2] = {wide, bit};\n"
              BEGIN " and.b32 r3, r1, 1; mul.wide.u32 d3, r3, 8; mov.u64 d4, table; add.u64 d4, d4, d3;\n"
                    " ld.global.u64 d5, [d4]; setp.gt.u32 p1, r1, 50; mov.u64 d6, f2;\n"
                    " selp.b64 d5, d6, d5, p1;\n"
                    " proto: .callprototype (.param .b32 _) _ (.param .b32 _);\n"
                    " { .param .b32 a; .param .b32 b; st.param.b32 [a], r2;\n"
                    "   call (b), d5, (a), proto; ld.param.b32 r4, [b]; }\n"
                    " st.global.u32 [d2], r4; ret;\n}\n");
    for (uint32_t t = 0; t < 64; t++) {
        uint32_t v = in_words[t];
        assert_int_equal(out_words[t], t > 50 ? ~v : t % 2 != 0 ? v * 3 : v + 1);
    }
}

// One launch of 64 threads of kernel k; the status.
static int start(sim *s, const sim_module *m) {
    uint64_t in = upload(s, in_words, sizeof in_words);
    uint64_t out = sim_alloc(s, sizeof out_words);
    void *params[] = {&in, &out};
    int status = sim_launch(s, sim_kernel_find(m, "k"),
                            &(sim_launch_config){.block = {64}, .params = params});
    sim_copy_from(s, out_words, out, sizeof out_words);
    return status;
}

#define PRINTF                                                                                     \
    ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"                       \
    ".global .align 1 .b8 format[50] = {116, 32, 37, 100, 32, 37, 48, 53, 120, 32, 37, 46, 50, "   \
    "102, 32, 37, 115, 32, 37, 108, 108, 100, 32, 37, 37, 32, 37, 45, 42, 100, 124, 37, 99, 32, 37, "   \
    "104, 104, 100, 10};\n" \
    ".global .align 1 .b8 name[5] = {97, 98, 99, 100, 0};\n"

// "t %d %05x %.2f %s %lld %% %-*d|%c %hhd\n"
static void prints(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD PRINTF BEGIN
        " .local .align 8 .b8 buf[56]; .reg .b64 b; setp.eq.u32 p1, r1, 3; setp.eq.or.u32 p1, r1, 40, p1;\n"
        " @!p1 bra E; mov.u64 b, buf; cvta.local.u64 d3, b; mul.lo.u32 r3, r1, -100;\n"
        " st.local.u32 [b], r3; st.local.u32 [b+4], r1; cvt.rn.f64.u32 e1, r1; st.local.f64 [b+8], e1;\n"
        " mov.u64 d4, name; st.local.u64 [b+16], d4; mul.wide.s32 d5, r3, 1000000000;\n"
        " st.local.u64 [b+24], d5; st.local.v2.u32 [b+32], {5, 7}; st.local.u32 [b+40], 33;\n st.local.u32 [b+44], r3;\n"
        " { .param .b64 q0; .param .b64 q1; .param .b32 v; mov.u64 d6, format; st.param.b64 [q0], d6;\n"
        "   st.param.b64 [q1], d3; call.uni (v), vprintf, (q0, q1); ld.param.b32 r4, [v]; }\n"
        " st.global.u32 [d2], r4;\nE: ret;\n}\n",
        &m);
    size_t lost;
    assert_int_equal(start(s, m), SIM_OK);
    assert_string_equal(sim_printed(s, &lost), "t -300 00003 3.00 abcd -300000000000 % 7    |! -44\n"
                                               "t -4000 00028 40.00 abcd -4000000000000 % 7    |! 96\n");
    assert_int_equal(lost, 0);
    assert_int_equal(out_words[3], 8);
    sim_close(s);
}

// The condition and the file come from strings of the module, the address is a fault when it is wrong.
static void assertions(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD ".extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, "
             ".param .b64 e);\n"
             ".global .align 1 .b8 what[4] = {120, 60, 49, 0};\n"
             ".global .align 1 .b8 file[5] = {97, 46, 99, 117, 0};\n"
             BEGIN " setp.ne.u32 p1, r1, 37; @p1 bra E; mov.u64 d3, what; mov.u64 d4, file;\n"
                   " { .param .b64 a; .param .b64 b; .param .b32 c; .param .b64 f; .param .b64 g;\n"
                   " st.param.b64 [a], d3; st.param.b64 [b], d4; st.param.b32 [c], 12;\n"
                   " st.param.b64 [f], d4; st.param.b64 [g], 1;\n"
                   " call.uni __assertfail, (a, b, c, f, g); }\nE: ret;\n}\n",
        &m);
    assert_int_equal(start(s, m), SIM_ERROR_FAULT);
    assert_non_null(strstr(sim_last_error(s), "a.cu:12: a.cu: assertion `x<1` failed"));
    assert_non_null(strstr(sim_last_error(s), "warp 1, lanes 0x00000020"));
    sim_close(s);
}

static void heap(void **state) {
    (void)state;
    run_words(HEAD ".extern .func (.param .b64 r) malloc(.param .b64 n);\n"
                   ".extern .func free(.param .b64 n);\n" BEGIN
                   " { .param .b64 n; .param .b64 v; st.param.b64 [n], 64; call.uni (v), malloc, (n);\n"
                   "   ld.param.b64 d3, [v]; }\n"
                   " st.u32 [d3+60], r2; ld.u32 r3, [d3+60]; add.u32 r3, r3, 1; st.global.u32 [d2], r3;\n"
                   " { .param .b64 n; st.param.b64 [n], d3; call.uni free, (n); }\n ret;\n}\n");
    for (uint32_t t = 0; t < 64; t++) {
        assert_int_equal(out_words[t], in_words[t] + 1);
    }
}

// Blocks are the kernels' own: the heap of 8 MiB ends, what is freed is there again, the host cannot free.
static void heap_bounds(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD ".extern .func (.param .b64 r) malloc(.param .b64 n);\n.extern .func free(.param .b64 n);\n"
             ".func (.reg .b64 a) get(.reg .b64 n)\n{ .param .b64 q; .param .b64 v; st.param.b64 [q], n;\n"
             " call (v), malloc, (q); ld.param.b64 a, [v]; ret; }\n" BEGIN
             " setp.ne.u32 p1, r1, 0; @p1 exit; call (d3), get, (8388609); call (d4), get, (6000000);\n"
             " call (d5), get, (6000000); { .param .b64 q; st.param.b64 [q], d4; call free, (q); }\n"
             " call (d6), get, (8000000); st.global.v2.u64 [d2], {d3, d4};\n"
             " st.global.v2.u64 [d2+16], {d5, d6}; mov.u32 r4, 0;\n"
             "L: call (d7), get, (1); setp.ne.u64 p1, d7, 0; @p1 add.u32 r4, r4, 1; @p1 bra L;\n"
             " st.global.u32 [d2+32], r4; ret;\n}\n",
        &m);
    assert_int_equal(start(s, m), SIM_OK);
    uint64_t got[4];
    memcpy(got, out_words, sizeof got);
    assert_true(got[0] == 0 && got[1] != 0 && got[2] == 0 && got[3] != 0);
    assert_in_range(out_words[8], 1, 388608 / 16);
    assert_int_equal(sim_free(s, got[3]), SIM_ERROR_ARGUMENT);
    assert_non_null(strstr(sim_last_error(s), "not the start of an allocation of the host"));
    sim_close(s);
}

// Variables of a function are the same ones at each of its calls and in each kernel; the shared ones
// belong to one CTA.
static void static_variables(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD ".func (.reg .b32 r) next(.reg .b32 first)\n{\n"
             " .global .align 4 .u32 n = 5; .global .b8 big[200000000]; .shared .u32 s[64];\n"
             " .reg .pred q; .reg .b32 a; .reg .b32 t;\n"
             " mov.u32 t, %tid.x; shl.b32 t, t, 2; mov.u32 a, s; add.u32 t, t, a; mov.u32 r, 0;\n"
             " setp.ne.u32 q, first, 0; @!q ld.shared.u32 r, [t]; add.u32 r, r, 1;\n"
             " st.shared.u32 [t], r; atom.global.add.u32 a, [n], 1; ret;\n}\n" BEGIN
             " call (r3), next, (1); call (r4), next, (0); call (r5), next, (0);\n"
             " call (r6), next, (0); call (r7), next, (0); call (r8), next, (0);\n"
             " mad.lo.u32 r3, r4, 16, r3; mad.lo.u32 r3, r8, 256, r3; st.global.u32 [d2], r3; ret;\n}\n"
             ".visible .entry other(.param .u64 in, .param .u64 out)\n{ .reg .b32 r; .reg .b64 d;\n"
             " call (r), next, (1); ld.param.u64 d, [out]; st.global.u32 [d], r; ret;\n}\n",
        &m);
    assert_int_equal(start(s, m), SIM_OK);
    for (uint32_t t = 0; t < 64; t++) {
        assert_int_equal(out_words[t], 0x621);
    }
    uint64_t out = sim_alloc(s, 4);
    void *params[] = {&out, &out};
    launch(s, m, "other", &(sim_launch_config){.block = {64}, .params = params});
    uint64_t address;
    size_t bytes;
    uint32_t n;
    assert_true(sim_module_global(m, "n", &address, &bytes));
    assert_int_equal(sim_copy_from(s, &n, address, 4), SIM_OK);
    assert_int_equal(n, 5 + 7 * 64);
    sim_close(s);
}

// Forty functions, each of which calls the one before it twice.
static void doubling(void **state) {
    (void)state;
    char ptx[8192];
    int n = snprintf(ptx, sizeof ptx, "%s.func f0 { }\n", HEAD);
    for (int f = 1; f <= 40; f++) {
        n += snprintf(ptx + n, sizeof ptx - (size_t)n, ".func f%d { call f%d; call f%d; }\n", f, f - 1,
                      f - 1);
    }
    snprintf(ptx + n, sizeof ptx - (size_t)n, ".visible .entry k() { call f40; ret; }\n");
    sim *s = sim_open(NULL);
    sim_module *m;
    assert_int_equal(sim_module_load(s, ptx, strlen(ptx), &m), SIM_ERROR_PTX);
    assert_non_null(strstr(sim_last_error(s), "more than 65536 calls"));
    sim_close(s);
}

static const struct {
    const char *head, *body, *error;
    int status;
} wrong[] = {
    {".func f();\n.func g() { call f; ret; }\n.func f() { call g; ret; }\n", "call f;",
     "function 'f' calls itself", SIM_ERROR_FAULT},
    {".extern .func f();\n", "call f;", "function 'f' has no body here", SIM_ERROR_FAULT},
    {".func f() { ret; }\n", "mov.u64 d3, 17; call d3, (), ps; ps: .callprototype _ ();",
     "0x11 is the address of no function", SIM_ERROR_FAULT},
    {".func f(.param .b64 x) { ret; }\n",
     "mov.u64 d3, f; { .param .b32 q; call d3, (q), ps; } ps: .callprototype _ (.param .b32 _);",
     "of no function that this call can reach", SIM_ERROR_FAULT},
    {"", "call someone;", "is no function of the module", SIM_ERROR_PTX},
    {".func f(.param .b64 x) { ret; }\n", "{ .param .b32 q; call f, (q); }", "4 bytes of the call",
     SIM_ERROR_PTX},
    {".func f(.param .b32 x) { ret; }\n", "call f;", "fewer than the function", SIM_ERROR_PTX},
    {".func f() { ret; }\n", "{ .param .b32 q; call f, (q); }", "1 parameters, the function 0",
     SIM_ERROR_PTX},
    {".func f { ret; }\n", "{ .param .b32 q; call f, (q); }", "1 parameters, the function 0",
     SIM_ERROR_PTX},
    {".func f { ret; }\n", "{ .param .b32 q; call (q), f; }", "1 returns, the function 0",
     SIM_ERROR_PTX},
    {".func (.reg .b32 r) f() { ret; }\n", "call f, ();", "0 returns, fewer than the function",
     SIM_ERROR_PTX},
    {".func f(.param .b32 x) { ret; }\n", "{ .param .b32 q[2]; call f, (q+4); }", "a whole variable",
     SIM_ERROR_PTX},
    {".extern .func free(.param .b64 x);\n", "{ .param .b64 q[2]; call free, (q+8); }",
     "not of the type that the function takes", SIM_ERROR_PTX},
    {".extern .func free(.param .b64 x);\n",
     "{ .param .b64 q; st.param.b64 [q], d1; call free, (q); }", "which malloc has not returned",
     SIM_ERROR_FAULT},
    {".shared .u32 s;\n", "mapa.shared::cluster.u32 r3, s, 256; ld.shared::cluster.u32 r4, [r3];",
     "CTA 255", SIM_ERROR_FAULT},
    {".func f() { bra NOWHERE; }\n", "call f;", "'NOWHERE' is not defined", SIM_ERROR_PTX},
    {".func f() {\n", "call f;", "the text ends", SIM_ERROR_PTX},
};

static void mistakes(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        char ptx[4096];
        snprintf(ptx, sizeof ptx, "%s%s%s%s\n ret;\n}\n", HEAD, wrong[n].head, BEGIN, wrong[n].body);
        sim *s = sim_open(NULL);
        sim_module *m;
        int status = sim_module_load(s, ptx, strlen(ptx), &m);
        status = status == SIM_OK ? start(s, m) : status;
        if (status != wrong[n].status || strstr(sim_last_error(s), wrong[n].error) == NULL) {
            fail_msg("case %zu: status %d, '%s'", n, status, sim_last_error(s));
        }
        sim_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_parameters), cmocka_unit_test(by_registers),
        cmocka_unit_test(mixed_returns),
        cmocka_unit_test(through_registers), cmocka_unit_test(prints), cmocka_unit_test(assertions),
        cmocka_unit_test(heap), cmocka_unit_test(heap_bounds),
        cmocka_unit_test(static_variables), cmocka_unit_test(doubling), cmocka_unit_test(mistakes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
