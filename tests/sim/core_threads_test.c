// Launches on several threads: results, statistics and faults are those of one thread.
#include "core_util.h"
#include <stdio.h>
#include <string.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

enum { CTAS = 37, THREADS = 64, COUNT = CTAS * THREADS };

struct outcome {
    int status;
    sim_stats stats;
    char error[2400];
    uint32_t out[COUNT], ticket[2];
};

static void run(const char *text, int threads, uint32_t cluster, struct outcome *o) {
    sim *s = sim_open(&(sim_options){.sms = 6, .threads = threads});
    sim_module *m;
    assert_non_null(s);
    if (sim_module_load(s, text, strlen(text), &m) != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
    memset(o, 0, sizeof *o);
    uint64_t out = upload(s, o->out, sizeof o->out),
             ticket = upload(s, o->ticket, sizeof o->ticket);
    o->status = sim_launch(s, sim_kernel_find(m, "k"),
                           &(sim_launch_config){.grid = {CTAS / cluster * cluster},
                                                .block = {THREADS},
                                                .cluster = {cluster},
                                                .params = (void *[]){&out, &ticket}});
    snprintf(o->error, sizeof o->error, "%s", sim_last_error(s));
    sim_get_stats(s, &o->stats);
    o->stats.ns = 0;
    assert_int_equal(sim_copy_from(s, o->out, out, sizeof o->out), SIM_OK);
    assert_int_equal(sim_copy_from(s, o->ticket, ticket, sizeof o->ticket), SIM_OK);
    sim_close(s);
}

#define START                                                                                      \
    HEAD ".visible .entry k(.param .u64 out, .param .u64 ticket)\n{\n"                             \
         " .reg .pred p<4>; .reg .b32 r<32>; .reg .b64 d<8>; .shared .align 8 .b8 s[1024];\n"      \
         " mov.u32 r1, %ctaid.x; mov.u32 r2, %tid.x; mad.lo.u32 r3, r1, 64, r2;\n"                 \
         " ld.param.u64 d1, [out]; mul.wide.u32 d2, r3, 4; add.u64 d1, d1, d2;\n"                  \
         " ld.param.u64 d3, [ticket]; mov.u32 r4, s; shl.b32 r5, r2, 2; add.u32 r5, r5, r4;\n"

// Each thread adds its neighbour's value, which goes through shared memory, ctaid + 1 times.
static const char rounds[] =
    START " mov.u32 r6, r3; mov.u32 r7, r1; xor.b32 r8, r5, 4;\n"
          "L: st.shared.u32 [r5], r6; bar.sync 0; ld.shared.u32 r9, [r8]; bar.sync 0;\n"
          " mad.lo.u32 r6, r6, 3, r9; sub.u32 r7, r7, 1; setp.ge.s32 p1, r7, 0; @p1 bra L;\n"
          " st.global.u32 [d1], r6;" END;

static uint32_t rounds_of(uint32_t cta, uint32_t thread) {
    uint32_t v[2] = {cta * 64 + thread, cta * 64 + (thread ^ 1)};
    for (uint32_t n = 0; n <= cta; n++) {
        uint32_t mine = v[0] * 3 + v[1], other = v[1] * 3 + v[0];
        v[0] = mine;
        v[1] = other;
    }
    return v[0];
}

static void test_results(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 5, 0, 64};
    for (uint32_t cluster = 1; cluster <= 3; cluster++) {
        struct outcome first, now;
        run(rounds, 1, cluster, &first);
        assert_int_equal(first.status, SIM_OK);
        assert_int_equal(first.stats.ctas, CTAS / cluster * cluster);
        for (uint32_t i = 0; i < CTAS / cluster * cluster * THREADS; i++) {
            assert_int_equal(first.out[i], rounds_of(i / THREADS, i % THREADS));
        }
        for (size_t n = 0; n < sizeof threads / sizeof *threads; n++) {
            run(rounds, threads[n], cluster, &now);
            assert_memory_equal(&first, &now, sizeof now);
        }
    }
}

// CTAs 9, 20, 31 fault, each with an address of its own; the sentence is the same every time.
static void test_faults(void **state) {
    (void)state;
    static const char text[] =
        START " rem.u32 r6, r1, 11; setp.eq.u32 p1, r6, 9; mul.wide.u32 d4, r1, 4096;\n"
              " @p1 add.u64 d1, d3, d4; st.global.u32 [d1], r3;" END;
    struct outcome first, now;
    run(text, 1, 1, &first);
    assert_int_equal(first.status, SIM_ERROR_FAULT);
    for (int n = 0; n < 20; n++) {
        run(text, 1 + n % 6, 1, &now);
        assert_string_equal(first.error, now.error);
        assert_memory_equal(&first.stats, &now.stats, sizeof now.stats);
    }
}

static void same_with_any(const char *text, struct outcome *first) {
    struct outcome now;
    run(text, 1, 1, first);
    assert_int_equal(first->status, SIM_OK);
    for (int n = 0; n < 6; n++) {
        run(text, n, 1, &now);
        assert_memory_equal(first, &now, sizeof now);
    }
}

// Clusters that meet in device memory keep their order: every thread draws a ticket ...
static void test_tickets(void **state) {
    (void)state;
    struct outcome first;
    same_with_any(START " atom.global.add.u32 r6, [d3], 1; st.global.u32 [d1], r6;" END, &first);
    assert_int_equal(first.ticket[0], COUNT);
    assert_true((first.stats.order & SIM_ORDER_ATOMIC) != 0);
}

// ... and CTA 0 waits for all others.
static void test_waiting(void **state) {
    (void)state;
    struct outcome first;
    same_with_any(
        START " setp.ne.u32 p1, r2, 0; @p1 bra E; setp.ne.u32 p2, r1, 0; @p2 bra S;\n"
              "W: ld.acquire.gpu.global.u32 r7, [d3+4]; setp.lt.u32 p3, r7, 36; @p3 bra W; bra E;\n"
              "S: red.release.gpu.global.add.u32 [d3+4], 1;\nE:" END,
        &first);
    assert_int_equal(first.ticket[1], CTAS - 1);
    assert_true((first.stats.order & SIM_ORDER_FLAG) != 0);
}

// CTA 0 waits for one of another group by words that are no strong load: one that fetches again, a fence, a
// store that releases.
static void test_polling(void **state) {
    (void)state;
#define POLLS(load, store)                                                                         \
    START " setp.ne.u32 p1, r2, 0; @p1 bra E; setp.ne.u32 p2, r1, 0; @p2 bra S;\n"                \
          "W: " load " setp.lt.u32 p3, r7, 35; @p3 bra W; bra E;\n"                               \
          "S: setp.ne.u32 p1, r1, 35; @p1 bra E; " store "\nE:" END
    static const char *const texts[] = {
        POLLS("ld.global.cv.u32 r7, [d3+4];", "st.global.u32 [d3+4], 35;"),
        POLLS("membar.gl; ld.global.u32 r7, [d3+4];", "st.global.u32 [d3+4], 35;"),
        POLLS("ld.global.u32 r7, [d3+4];", "st.release.gpu.global.u32 [d3+4], 35;"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct outcome first;
        same_with_any(texts[i], &first);
        assert_int_equal(first.ticket[1], 35);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_polling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
