// What the simulator refuses, and how it says so: PTX text, launches, faults of kernels, deadlocks.
// Every case names a part of the sentence that must come.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *message, const char *part) {
    if (strstr(message, part) == NULL) {
        fail_msg("'%s' does not contain '%s'", message, part);
    }
}

// ---- text ---------------------------------------------------------------------------------------
#define BODY(text)                                                                                 \
    HEAD ".entry k(.param .u64 out) {\n .reg .pred p; .reg .b32 r<4>; .reg .b64 d<4>;\n" text      \
         "\n ret;\n}\n"

static const struct {
    const char *text, *error;
} refused[] = {
    {"", "ptx:1: the text has no .target"},
    {HEAD ".entry k {", "ptx:4: the text ends where"},
    {HEAD ".entry k(.param .u64 a", "ptx:4: the text ends where ',' or ')'"},
    {HEAD "garbage", "ptx:4: found 'garbage' where a directive"},
    {HEAD "\x01", "ptx:4: found '"},
    {".version 8.8\n.target sm_100a\n.address_size 32\n", "only .address_size 64"},
    {BODY("frobnicate.b32 r1, r2;"), "ptx:6: unsupported instruction: frobnicate.b32 r1, r2"},
    {BODY("add.u32 r1, r2;"), "ptx:6: wrong number of operands: add.u32 r1, r2"},
    {BODY("add.u32 r1, r2, d1;"), "ptx:6: a register has another width"},
    {BODY("add.u32 r1, r2, r9;"), "ptx:6: 'r9' is not declared"},
    {BODY("add.u32 r1, r2, %r9;"), "ptx:6: register '%r9' is not declared"},
    {BODY("add.q7 r1, r2, r3;"), "ptx:6: unsupported: modifier '.q7' of 'add'"},
    {BODY("add.u32.global r1, r2, r3;"), "ptx:6: unsupported modifier '.global'"},
    {BODY("add.pred p, p, p;"), "unsupported predicate instruction"},
    {BODY("bra NOWHERE;"), "ptx:6: label 'NOWHERE' is not defined"},
    {BODY("L: L: bra L;"), "ptx:6: label 'L' is defined twice"},
    {BODY("{ M: bra M; } bra M;"), "ptx:6: label 'M' is not defined"},
    {BODY("mov.b64 d1, {r1, r2, r3};"), "the vector does not fit the type"},
    {BODY("ld.global.v4.u32 {r1, r2}, [d1];"), "the vector has another length"},
    {BODY("st.param.u32 [out], r1;"), "parameters cannot be written"},
    {BODY("mbarrier.try_wait.parity.shared::cta.b64 p, [r1];"), "wrong number of operands"},
    {BODY("cp.async.ca.shared.global [r1], [d1], 5;"), "cp.async copies 4, 8 or 16 bytes"},
    {BODY("mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale.f32.e2m1.e2m1.f32.ue8m0 {r1}, "
          "{r1}, {r1}, {r1};"),
     "the target has no mma.sync with .kind"},
    {BODY("tcgen05.ld.sync.aligned.32x32b.x4.b32 {r1, r2}, [r3];"), "wrong number of registers"},
    {BODY("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r1], 32;\n"
          "tcgen05.dealloc.cta_group::2.sync.aligned.b32 r1, 32;"),
     "ptx:7: the kernel mixes .cta_group::1 and .cta_group::2"},
    {BODY("setmaxnreg.inc.sync.aligned.u32 100;"), "steps of 8"},
    {HEAD ".global .align 3 .u32 a;", ".align 3 is not a power of two"},
    {HEAD ".global .u32 a[2] = {1, 2, 3};", "more initial values"},
    {HEAD ".entry k\n.reqnctapercluster 17, 1, 1\n{ ret; }", "a cluster has at most 16 CTAs"},
    {HEAD ".entry k { .reg .b32 r<99999999>; }", "the number of registers is 99999999"},
};

static void refused_text(void **state) {
    (void)state;
    sim *s = sim_open(NULL);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        sim_module *m;
        int status = sim_module_load(s, refused[i].text, strlen(refused[i].text), &m);
        if (status == SIM_OK) {
            fail_msg("accepted, '%s' expected", refused[i].error);
        }
        assert_null(m);
        expect(sim_last_error(s), refused[i].error);
    }
    assert_int_equal(sim_memory_used(s), 0);
    sim_close(s);
}

// ---- launches -----------------------------------------------------------------------------------
static void refused_launches(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD ".entry k(.param .u64 a)\n.maxntid 64\n.reqnctapercluster 2, 1, 1\n{ ret; }\n", &m);
    const sim_kernel *k = sim_kernel_find(m, "k");
    uint64_t a = 0;
    void *params[] = {&a};
    static const struct {
        sim_launch_config c;
        const char *error;
    } cases[] = {
        {{.grid = {2}, .block = {65}}, "65 threads a CTA, kernel 'k' allows 64"},
        {{.grid = {2}, .block = {2048}}, "2048 threads a CTA, 1024 are possible"},
        {{.grid = {3}, .block = {32}}, "grid size 3 is not a multiple of the cluster size 2"},
        {{.grid = {4}, .block = {32}, .cluster = {4, 1, 1}},
         "cluster size 4, kernel 'k' requires 2"},
        {{.grid = {2}, .block = {32}, .dynamic_smem = 300000},
         "needs 0 bytes of static and 300000 of dynamic"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sim_launch_config c = cases[i].c;
        c.params = params;
        assert_int_equal(sim_launch(s, k, &c), SIM_ERROR_ARGUMENT);
        expect(sim_last_error(s), cases[i].error);
    }
    assert_int_equal(
        sim_launch(s, k,
                   &(sim_launch_config){.grid = {2}, .param_buffer = &a, .param_buffer_bytes = 4}),
        SIM_ERROR_ARGUMENT);
    expect(sim_last_error(s), "takes 8 bytes of parameters, got 4");
    assert_null(sim_kernel_find(m, "other"));
    sim_close(s);
}

static void refused_memory(void **state) {
    (void)state;
    sim *s = sim_open(&(sim_options){.memory_bytes = 4096});
    uint64_t a = sim_alloc(s, 4000);
    assert_true(a != 0);
    assert_int_equal(sim_alloc(s, 100), 0);
    expect(sim_last_error(s), "no room for 100 bytes: 4000 of 4096");
    uint8_t x[8];
    assert_int_equal(sim_copy_from(s, x, a + 3996, 8), SIM_ERROR_ARGUMENT);
    assert_int_equal(sim_free(s, a + 1), SIM_ERROR_ARGUMENT);
    assert_int_equal(sim_free(s, a), SIM_OK);
    assert_int_equal(sim_copy_from(s, x, a, 8), SIM_ERROR_ARGUMENT); // freed addresses stay dead
    uint64_t b = sim_alloc(s, 8);
    assert_true(b > a + 4000);
    sim_close(s);
}

// ---- faults -------------------------------------------------------------------------------------
#define INIT                                                                                       \
    " mov.u32 r3, dyn; setp.ne.u32 p1, r1, 0; @!p1 mbarrier.init.shared::cta.b64 [r3+512], 1; "    \
    "bar.sync 0;\n"
static const struct {
    const char *body, *error;
} faults[] = {
    {"ld.global.u32 r3, [d1+65536];", "ptx:10: global address 0x"},
    {"ld.global.u32 r3, [d1+65536];", "65536 bytes, and the access begins at byte 65536 of it"},
    {"st.global.u32 [d2+-4], r1;", "lanes 0x00000001)\n  st.global.u32 [d2+-4], r1;"},
    {"ld.global.v2.u32 {r3, r4}, [d1+4];", "is not aligned to 8 bytes"},
    {"mov.u32 r3, dyn; ld.shared.u32 r4, [r3+1024];", "outside the CTA's shared memory"},
    {"mov.u32 r3, dyn; or.b32 r3, r3, 0x1000000; ld.shared::cta.u32 r4, [r3];",
     "lies in CTA 1, this is CTA 0"},
    {"mov.u32 r3, dyn; or.b32 r3, r3, 0x5000000; ld.shared::cluster.u32 r4, [r3];",
     "names CTA 5 of a cluster of 1"},
    {"mov.u32 r3, 0; ld.shared.u32 r4, [r3];", "outside the CTA's shared memory"},
    {"mov.u32 r3, dyn; mbarrier.arrive.shared::cta.b64 _, [r3];",
     "no initialised mbarrier at shared address 0x400"},
    {INIT " mbarrier.arrive.shared::cta.b64 _, [r3+512], 2;",
     "2 arrivals on the mbarrier at 0x600, its phase 0 expects only 1 more"},
    {INIT " @!p1 mbarrier.init.shared::cta.b64 [r3+512], 1;", "already initialised, by line 10"},
    {INIT " mov.u32 r4, 1048576; @!p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [r3+512], r4;",
     "beyond 2^20-1"},
    {INIT " @p1 ret; mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [r3+512], 16; "
          "mbarrier.arrive.shared::cta.b64 _, [r3+512];\n"
          " mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [r3+512], 32;",
     "got 16 bytes more than its phase 0 expects"},
    {INIT " mov.u32 r4, 2; mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+512], r4;",
     "parity 2 of a wait"},
    {INIT " @p1 ret; cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3], [d1], 24, "
          "[r3+512];",
     "must be multiples of 16"},
    {INIT " @p1 ret; cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3+512], [d1], "
          "1024, [r3+512];",
     "outside the CTA's shared memory"},
    {INIT " @p1 ret; cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
          "[r3], [d1, {r1, r1}], [r3+512];",
     "not made by this runtime"},
    {"mov.u32 r3, 16; bar.sync r3;", "barrier 16, there are 16"},
    {"mov.u32 r3, 33; bar.sync 0, r3;", "not a multiple of 32"},
    {"setp.lt.u32 p1, r1, 32; @p1 bar.arrive 1, 64; @!p1 bar.sync 1, 32;",
     "earlier arrivals of this phase said"},
    {"barrier.cluster.wait.aligned;", "without an arrive before it"},
    {"shfl.sync.idx.b32 r3, r1, 0, 31, 0xff;", "are not in their mask 0x000000ff"},
    {"trap;", "the kernel executed trap"},
    {"mov.u32 r3, dyn; tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r3], 32;",
     "exits with 64 columns of tensor memory"},
    {"mov.u32 r3, dyn; mov.u32 r4, 48; tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 "
     "[r3], r4;",
     "48 columns: a power of two"},
    {"mov.u32 r3, 0; tcgen05.ld.sync.aligned.32x32b.x1.b32 {r4}, [r3];",
     "columns 0 to 0 are not allocated"},
    {"mov.u32 r3, 0; tcgen05.dealloc.cta_group::1.sync.aligned.b32 r3, 32;",
     "were not allocated by this CTA"},
    {"mov.u32 r3, 1024; mapa.shared::cluster.u32 r4, r3, 7; ld.shared::cluster.u32 r5, [r4];",
     "CTA 7"},
    {"mov.u32 r3, dyn; ld.shared.u32 r4, [r3+2];", "is not aligned to 4 bytes"},
};

static void kernel_faults(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char ptx[4096];
        char *text = replaced(KERNEL " BODY" END, "BODY", faults[i].body);
        strcpy(ptx, text);
        free(text);
        sim_module *m;
        sim *s = open_with(ptx, &m);
        uint64_t in = sim_alloc(s, 65536);
        uint64_t out = sim_alloc(s, 65536);
        void *params[] = {&in, &out};
        int status =
            sim_launch(s, sim_kernel_find(m, "k"),
                       &(sim_launch_config){.block = {64}, .dynamic_smem = 1024, .params = params});
        if (status != SIM_ERROR_FAULT) {
            fail_msg("case %zu ended with %d, a fault is expected: %s", i, status, faults[i].error);
        }
        expect(sim_last_error(s), faults[i].error);
        sim_close(s);
    }
}

// ---- deadlocks ----------------------------------------------------------------------------------
static int try_run(const char *ptx, const sim_options *options, sim_launch_config c,
                   char *message) {
    sim *s = sim_open(options);
    sim_module *m;
    if (sim_module_load(s, ptx, strlen(ptx), &m) != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
    uint64_t in = sim_alloc(s, 4096);
    uint64_t out = sim_alloc(s, 4096);
    void *params[] = {&in, &out};
    c.params = params;
    int status = sim_launch(s, sim_kernel_find(m, "k"), &c);
    strcpy(message, sim_last_error(s));
    sim_close(s);
    return status;
}

static void short_bytes(void **state) {
    (void)state;
    char why[4096];
    // expects 1024 bytes, 512 come: the sentence must give the balance
    int status = try_run(
        KERNEL INIT " @p1 bra W; mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+512], 1024;\n"
                    " cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3], [d1], "
                    "512, [r3+512];\n"
                    "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3+512], 0; @!p2 bra W;" END,
        NULL, (sim_launch_config){.block = {64}, .dynamic_smem = 1024}, why);
    assert_int_equal(status, SIM_ERROR_DEADLOCK);
    expect(why, "deadlock in kernel k");
    expect(why, "ptx:13: CTA 0,0,0 warp 1 lanes 0xffffffff waits on mbarrier 0x600 (init line 10) "
                "for parity 0; "
                "phase 0 is running, 0 of 1 arrivals and 512 bytes are missing");
}

static void exited_peer(void **state) {
    (void)state;
    char why[4096];
    int status = try_run(
        KERNEL INIT
        " mov.u32 r4, %cluster_ctarank; setp.ne.u32 p2, r4, 0; @p2 ret; mov.u32 r5, 0;\n"
        "L: add.u32 r5, r5, 1; setp.lt.u32 p3, r5, 9999; @p3 bra L; mov.u32 r6, 1;\n"
        " mapa.shared::cluster.u32 r7, r3, r6; st.shared::cluster.u32 [r7], r1;" END,
        NULL, (sim_launch_config){.block = {32}, .grid = {2}, .cluster = {2}, .dynamic_smem = 1024},
        why);
    assert_int_equal(status, SIM_ERROR_FAULT);
    expect(why, "CTA 1 of the cluster has already exited");
}

static void missing_warp(void **state) {
    (void)state;
    char why[4096];
    int status =
        try_run(KERNEL " setp.lt.u32 p1, r1, 32; @p1 bra X; bar.sync 2, 96;\nX: bar.sync 0;" END,
                NULL, (sim_launch_config){.block = {96}}, why);
    assert_int_equal(status, SIM_ERROR_DEADLOCK);
    expect(why,
           "warp 1 lanes 0xffffffff waits at barrier 2: 64 threads have arrived, 96 are expected");
    expect(why,
           "warp 0 lanes 0xffffffff waits at barrier 0: 32 threads have arrived, 96 are expected");
}

static void lonely_lanes(void **state) {
    (void)state;
    char why[4096];
    int status = try_run(
        KERNEL
        " mov.u32 r3, dyn; setp.eq.u32 p1, r1, 0; @p1 mbarrier.init.shared::cta.b64 [r3], 1;\n"
        " @!p1 bra S;\nW: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3], 0; @!p2 bra W;\n"
        "S: bar.warp.sync -1;" END,
        NULL, (sim_launch_config){.block = {32}, .dynamic_smem = 64}, why);
    assert_int_equal(status, SIM_ERROR_DEADLOCK);
    expect(why, "waits for lanes 0x00000001 of its warp to reach the same instruction");
}

static void tmem_exhausted(void **state) {
    (void)state;
    char why[4096];
    static const char ptx[] = KERNEL
        " mov.u32 r3, dyn; tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r3], 256;\n"
        " tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r3], 256; ld.shared.u32 r4, "
        "[r3];\n"
        " tcgen05.dealloc.cta_group::1.sync.aligned.b32 r4, 256; mov.u32 r4, 0;\n"
        " tcgen05.dealloc.cta_group::1.sync.aligned.b32 r4, 256;" END;
    // one CTA an SM gets all columns; of two, each gets half and waits for ever
    assert_int_equal(try_run(ptx, &(sim_options){.sms = 1, .ctas_per_sm = 1},
                             (sim_launch_config){.block = {32}, .grid = {4}, .dynamic_smem = 64},
                             why),
                     SIM_OK);
    assert_int_equal(
        try_run(
            ptx, &(sim_options){.sms = 1, .ctas_per_sm = 2},
            (sim_launch_config){.block = {32}, .grid = {4}, .dynamic_smem = 64, .policy = SIM_LAZY},
            why),
        SIM_OK); // the first CTA is done before the second starts
}

static void register_pool(void **state) {
    (void)state;
    char why[4096];
    static const char ptx[] = HEAD ".entry k(.param .u64 in, .param .u64 out)\n.maxnreg 128\n{\n"
                                   " setmaxnreg.inc.sync.aligned.u32 160; ret;\n}\n";
    assert_int_equal(try_run(ptx, NULL, (sim_launch_config){.block = {128}}, why),
                     SIM_ERROR_DEADLOCK);
    expect(why, "setmaxnreg.inc waits for 32 registers a thread, 0 are free");
}

static void endless(void **state) {
    (void)state;
    char why[4096];
    int status = try_run(KERNEL "L: add.u32 r3, r3, 1; bra L;" END, NULL,
                         (sim_launch_config){.block = {32}, .max_steps = 100000}, why);
    assert_int_equal(status, SIM_ERROR_STEPS);
    expect(why, "the launch allows 100000");
}

// What eager hides and lazy shows: reading before the copy is complete.
static void lazy_shows(void **state) {
    (void)state;
    char why[4096];
    int status = try_run(
        KERNEL INIT " @p1 ret; mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+512], 512;\n"
                    " cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3], [d1], "
                    "512, [r3+512];\n"
                    " ld.shared.u32 r4, [r3]; setp.eq.u32 p3, r4, 0xFFFFFFFF; @p3 trap;" END,
        NULL, (sim_launch_config){.block = {32}, .dynamic_smem = 1024, .policy = SIM_LAZY}, why);
    assert_int_equal(status, SIM_ERROR_FAULT);
    expect(why, "executed trap");
    static const char leaves[] =
        KERNEL INIT " @p1 ret; mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+512], 512;\n"
                    " cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3], [d1], "
                    "512, [r3+512];" END;
    const sim_launch_config lazy = {.block = {32}, .dynamic_smem = 1024, .policy = SIM_LAZY};
    assert_int_equal(try_run(leaves, NULL, lazy, why), SIM_ERROR_FAULT);
    expect(why, "exits while this operation still uses its memory");
    sim_options practice = {.hazards = SIM_HAZARDS_PRACTICE}; // where such a copy has been done long since
    assert_int_equal(try_run(leaves, &practice, lazy, why), SIM_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_text),   cmocka_unit_test(refused_launches),
        cmocka_unit_test(refused_memory), cmocka_unit_test(kernel_faults),
        cmocka_unit_test(short_bytes),    cmocka_unit_test(missing_warp),
        cmocka_unit_test(lonely_lanes),   cmocka_unit_test(tmem_exhausted),
        cmocka_unit_test(register_pool),  cmocka_unit_test(endless),
        cmocka_unit_test(exited_peer),    cmocka_unit_test(lazy_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
