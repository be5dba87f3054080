// mbarriers, named and cluster barriers, copies of every kind, tensor memory, matrix instructions,
// cluster launch control: small programs under every policy, with expected values from C.
#include "core_util.h"
#include "num_ref.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t in_words[8192], out_words[8192];

static void go(const char *ptx, struct io io, uint64_t seed) {
    struct rng r = {seed};
    rng_bytes(&r, in_words, sizeof in_words);
    memset(out_words, 0, sizeof out_words);
    io.in = in_words;
    io.in_bytes = sizeof in_words;
    io.out = out_words;
    io.out_bytes = sizeof out_words;
    run_all(ptx, &io);
}

// ---- barriers -----------------------------------------------------------------------------------
// Warp 0 fills a ring of two stages that warps 1 to 3 read: full and empty barriers, 20 rounds.
static void ring(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 8 .b8 s[320]; mov.u32 r3, s; setp.ne.u32 p1, r1, 0; @p1 bra I;\n"
       " mbarrier.init.shared::cta.b64 [r3+256], 32; mbarrier.init.shared::cta.b64 [r3+264], 32;\n"
       " mbarrier.init.shared::cta.b64 [r3+272], 3; mbarrier.init.shared::cta.b64 [r3+280], 3;\n"
       " fence.mbarrier_init.release.cluster;\n"
       "I: bar.warp.sync -1; bar.sync 0; mov.u32 r4, 0; mov.u32 r5, 0; mov.u32 r6, 0; mov.u32 r20, "
       "0;\n"
       " shr.u32 r7, r1, 5; setp.ne.u32 p2, r7, 0; @p2 bra C; xor.b32 r6, r6, 1;\n"
       "P: shl.b32 r8, r5, 3; add.u32 r8, r8, r3;\n"
       "PW: mbarrier.try_wait.parity.shared::cta.b64 p3, [r8+272], r6; @!p3 bra PW;\n"
       " ld.global.u32 r9, [d1]; add.u64 d1, d1, 128; shl.b32 r10, r5, 7; shl.b32 r11, r2, 2; "
       "add.u32 r10, r10, r11;\n"
       " add.u32 r10, r10, r3; st.shared.u32 [r10], r9; mbarrier.arrive.shared::cta.b64 _, "
       "[r8+256];\n"
       " add.u32 r4, r4, 1; xor.b32 r5, r5, 1; setp.eq.u32 p4, r5, 0; @p4 xor.b32 r6, r6, 1;\n"
       " setp.lt.u32 p5, r4, 20; @p5 bra P; bra X;\n"
       "C: shl.b32 r8, r5, 3; add.u32 r8, r8, r3;\n"
       "CW: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p3, [r8+256], r6, 1000; @!p3 bra "
       "CW;\n"
       " shl.b32 r10, r5, 7; shl.b32 r11, r2, 2; add.u32 r10, r10, r11; add.u32 r10, r10, r3; "
       "ld.shared.u32 r9, [r10];\n"
       " mad.lo.u32 r20, r20, 31, r9; bar.warp.sync -1; elect.sync r12|p6, -1;\n"
       " @p6 mbarrier.arrive.release.cta.shared::cta.b64 _, [r8+272];\n"
       " add.u32 r4, r4, 1; xor.b32 r5, r5, 1; setp.eq.u32 p4, r5, 0; @p4 xor.b32 r6, r6, 1;\n"
       " setp.lt.u32 p5, r4, 20; @p5 bra C; st.global.u32 [d2], r20;\nX:" END,
       (struct io){.threads = 128, .grid = 1}, 1);
    for (uint32_t t = 32; t < 128; t++) {
        uint32_t h = 0;
        for (uint32_t n = 0; n < 20; n++) {
            h = h * 31 + in_words[n * 32 + t % 32];
        }
        assert_int_equal(out_words[t], h);
    }
}

// Tokens, counts, expect_tx and complete_tx by hand, drops, test_wait.
static void mbarrier_forms(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 8 .b64 m[4]; mov.u32 r3, m; setp.ne.u32 p1, r1, 0; @p1 bra X;\n"
       " mbarrier.init.shared::cta.b64 [r3], 3; mbarrier.arrive.shared::cta.b64 d3, [r3], 2;\n"
       " mbarrier.test_wait.shared::cta.b64 p2, [r3], d3; selp.u32 r4, 1, 0, p2;\n"
       " mbarrier.arrive.shared::cta.b64 d4, [r3]; mbarrier.test_wait.shared::cta.b64 p2, [r3], "
       "d3; @p2 or.b32 r4, r4, 2;\n"
       " mbarrier.try_wait.shared::cta.b64 p3, [r3], d4; @p3 or.b32 r4, r4, 4;\n"
       " mbarrier.init.shared::cta.b64 [r3+8], 1; mbarrier.expect_tx.relaxed.cta.shared::cta.b64 "
       "[r3+8], 64;\n"
       " mbarrier.arrive.shared::cta.b64 _, [r3+8]; mbarrier.test_wait.parity.shared::cta.b64 p2, "
       "[r3+8], 0; @p2 or.b32 r4, r4, 8;\n"
       " mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [r3+8], 64; "
       "mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+8], 0;\n"
       " @p2 or.b32 r4, r4, 16; mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+8], 1; @p2 "
       "or.b32 r4, r4, 32;\n"
       " mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [r3+8], 16;\n" // early: balance is -16
       " mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+8], 16; "
       "mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+8], 1; @p2 or.b32 r4, r4, 64;\n"
       " mbarrier.init.shared::cta.b64 [r3+16], 2; mbarrier.arrive_drop.shared::cta.b64 _, "
       "[r3+16]; mbarrier.arrive.shared::cta.b64 _, [r3+16];\n"
       " mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+16], 0; @p2 or.b32 r4, r4, 128; "
       "mbarrier.arrive.shared::cta.b64 _, [r3+16];\n"
       " mbarrier.test_wait.parity.shared::cta.b64 p2, [r3+16], 1; @p2 or.b32 r4, r4, 256;\n"
       " mbarrier.inval.shared::cta.b64 [r3]; mbarrier.init.shared::cta.b64 [r3], 1; st.global.u32 "
       "[d2], r4;\nX:" END,
       (struct io){.threads = 32, .grid = 1}, 2);
    // the token of the last arrival belongs to the phase that this arrival completed
    assert_int_equal(out_words[0], 2 | 4 | 16 | 64 | 128 | 256);
}

static uint32_t run_one(const char *ptx, sim_policy policy) {
    sim_module *m;
    sim *s = open_with(ptx, &m);
    uint64_t in = upload(s, in_words, sizeof in_words);
    uint64_t out = upload(s, out_words, sizeof out_words);
    void *params[] = {&in, &out};
    launch(s, m, "k",
           &(sim_launch_config){.block = {64}, .dynamic_smem = 1024, .params = params, .policy = policy});
    uint32_t rounds;
    assert_int_equal(sim_copy_from(s, &rounds, out + 4 * 32, 4), SIM_OK);
    sim_close(s);
    return rounds;
}

// Warp 0 fetches and waits in turn, with nothing that holds it back until warp 1 has seen a phase. Copies take
// longer than warp 1 needs for its wait, so it sees them all.
static void wait_beside_copies(void **state) {
    (void)state;
    static const char ptx[] = KERNEL
        " mov.u32 r3, dyn; setp.ne.u32 p1, r1, 0; @p1 bra I; mbarrier.init.shared::cta.b64 [r3], 1;\n"
        "I: bar.sync 0; mov.u32 r4, 0;\n"
        "L: and.b32 r5, r4, 1; @p1 bra W; mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3], 128;\n"
        " cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r3+16], [d1], 128, [r3];\n"
        "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3], r5; @!p2 bra W;\n"
        " add.u32 r4, r4, 1; setp.lt.u32 p3, r4, 6; @p3 bra L; st.global.u32 [d2], r4;" END;
    assert_int_equal(run_one(ptx, SIM_EAGER), 6);
    assert_int_equal(run_one(ptx, SIM_LAZY), 6);
}

// Warp 1 is suspended when its phase completes, and the next one is over too before it runs.
static void resumed_late(void **state) {
    (void)state;
    static const char ptx[] = KERNEL
        " mov.u32 r3, dyn; setp.ne.u32 p1, r1, 0; @p1 bra I;\n"
        " mbarrier.init.shared::cta.b64 [r3], 1; mbarrier.init.shared::cta.b64 [r3+8], 1;\n"
        "I: bar.sync 0; setp.ne.u32 p2, r2, 0; @p2 ret; setp.ge.u32 p3, r1, 32; @p3 bra T;\n"
        "U: mbarrier.try_wait.parity.shared::cta.b64 p4, [r3], 0; @!p4 bra U;\n"
        " mbarrier.arrive.shared::cta.b64 _, [r3+8]; mbarrier.arrive.shared::cta.b64 _, [r3+8]; ret;\n"
        "T: mbarrier.arrive.shared::cta.b64 _, [r3];\n"
        "W: mbarrier.try_wait.parity.shared::cta.b64 p4, [r3+8], 0; @!p4 bra W;\n"
        " mov.u32 r4, 7; st.global.u32 [d2], r4;" END;
    assert_int_equal(run_one(ptx, SIM_EAGER), 7);
    assert_int_equal(run_one(ptx, SIM_LAZY), 7);
}

// A wait that is no loop gives up after a time, and what comes behind it ends the phase.
static void gives_up(void **state) {
    (void)state;
    static const char ptx[] = KERNEL
        " mov.u32 r3, dyn; setp.ne.u32 p1, r1, 32; @p1 ret; mbarrier.init.shared::cta.b64 [r3], 1; mov.u32 r4, 0;\n"
        "L: and.b32 r5, r4, 1; mbarrier.try_wait.parity.shared::cta.b64 p2, [r3], r5; @p2 trap;\n"
        " mbarrier.arrive.shared::cta.b64 _, [r3];\n"
        "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3], r5; @!p2 bra W;\n"
        " add.u32 r4, r4, 1; setp.lt.u32 p3, r4, 50; @p3 bra L; st.global.u32 [d2], r4;" END;
    assert_int_equal(run_one(ptx, SIM_EAGER), 50);
    assert_int_equal(run_one(ptx, SIM_LAZY), 50);
    assert_int_equal(run_one(ptx, SIM_RANDOM), 50);
}

static void named_barriers(void **state) {
    (void)state;
    go(KERNEL " .shared .u32 s[64]; mov.u32 r3, s; shr.u32 r4, r1, 5; shl.b32 r5, r1, 2; add.u32 "
              "r5, r5, r3;\n"
              " and.b32 r8, r1, 1; setp.eq.u32 p3, r8, 1; setp.lt.u32 p4, r1, 500;\n"
              " bar.red.popc.u32 r9, 0, p3; bar.red.and.pred p5, 0, p4; "
              "barrier.cta.red.or.aligned.pred p6, 0, !p4;\n"
              " setp.ge.u32 p1, r4, 2; @p1 bra C;\n"
              " ld.global.u32 r6, [d1]; st.shared.u32 [r5], r6; membar.cta; bar.arrive 3, 128; "
              "bar.sync 1, 64; bra X;\n"
              "C: bar.sync 3, 128; ld.shared.u32 r6, [r5+-256]; @p5 add.u32 r9, r9, 1000; @p6 "
              "add.u32 r9, r9, 5000;\n"
              " add.u32 r6, r6, r9; st.global.u32 [d2], r6;\nX: barrier.sync 0;" END,
       (struct io){.threads = 128, .grid = 1}, 3);
    for (uint32_t t = 64; t < 128; t++) {
        assert_int_equal(out_words[t], in_words[t - 64] + 64 + 1000);
    }
}

// Four CTAs: each writes into its neighbour's shared memory, arrives remotely, reads another's.
static void cluster_memory(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 8 .b8 s[160]; mov.u32 r3, s; mov.u32 r4, %cluster_ctarank; mov.u32 r5, "
       "%ctaid.x;\n"
       " setp.eq.u32 p1, r1, 0; @p1 mbarrier.init.shared::cta.b64 [r3+128], 32; "
       "fence.mbarrier_init.release.cluster;\n"
       " barrier.cluster.arrive.relaxed.aligned; barrier.cluster.wait.acquire.aligned;\n"
       " add.u32 r6, r4, 1; and.b32 r6, r6, 3; mapa.shared::cluster.u32 r7, r3, r6; shl.b32 r8, "
       "r2, 2; add.u32 r9, r7, r8;\n"
       " mad.lo.u32 r10, r5, 100, r2; st.shared::cluster.u32 [r9], r10;\n"
       " mbarrier.arrive.release.cluster.shared::cluster.b64 _, [r7+128];\n"
       "W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p2, [r3+128], 0; @!p2 bra W;\n"
       " add.u32 r11, r3, r8; ld.shared.u32 r12, [r11]; barrier.cluster.arrive.aligned; "
       "barrier.cluster.wait.aligned;\n"
       " xor.b32 r13, r4, 3; mapa.shared::cluster.u32 r14, r11, r13; ld.shared::cluster.u32 r15, "
       "[r14]; shl.b32 r15, r15, 16;\n"
       " or.b32 r12, r12, r15; getctarank.shared::cluster.u32 r16, r14; add.u32 r12, r12, r16;\n"
       " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; shl.b32 r17, r5, 7; "
       "cvt.u64.u32 d3, r17;\n"
       " add.u64 d2, d2, d3; st.global.u32 [d2], r12;" END,
       (struct io){.threads = 32, .grid = 8, .cluster = 4}, 4);
    for (uint32_t c = 0; c < 8; c++) {
        for (uint32_t l = 0; l < 32; l++) {
            uint32_t base = c & ~3u;
            uint32_t rank = c & 3;
            uint32_t own = (base + (rank + 3) % 4) * 100 + l;
            uint32_t other = (base + ((rank ^ 3) + 3) % 4) * 100 + l;
            assert_int_equal(out_words[c * 32 + l], (own | other << 16) + (rank ^ 3));
        }
    }
}

// ---- copies -------------------------------------------------------------------------------------
static void cp_async(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 16 .b8 s[2064]; mov.u32 r3, s; shl.b32 r4, r1, 4; add.u32 r4, r4, r3; "
       "mul.wide.u32 d3, r1, 12; add.u64 d1, d1, d3;\n"
       " setp.eq.u32 p1, r1, 0; @p1 mbarrier.init.shared::cta.b64 [r3+2048], 64; bar.sync 0;\n"
       " and.b32 r5, r1, 15; cp.async.ca.shared.global [r4], [d1], 16, r5; cp.async.commit_group;\n"
       " cp.async.cg.shared.global.L2::128B [r4+1024], [d1], 16; cp.async.commit_group; "
       "cp.async.wait_group 1;\n"
       " ld.shared.v4.u32 {r6, r7, r8, r9}, [r4]; cp.async.mbarrier.arrive.noinc.shared::cta.b64 "
       "[r3+2048];\n"
       "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3+2048], 0; @!p2 bra W;\n"
       " xor.b32 r10, r4, 16; ld.shared.u32 r11, [r10+1024]; add.u32 r9, r9, r11; mul.wide.u32 d4, "
       "r1, 12; add.u64 d2, d2, d4;\n"
       " cp.async.wait_all; st.global.v4.u32 [d2], {r6, r7, r8, r9};" END,
       (struct io){.threads = 64, .grid = 1}, 5);
    for (uint32_t t = 0; t < 64; t++) {
        uint8_t want[16] = {0};
        memcpy(want, in_words + 4 * t, t & 15);
        uint32_t last;
        memcpy(&last, want + 12, 4);
        last += in_words[4 * (t ^ 1)];
        memcpy(want + 12, &last, 4);
        assert_memory_equal(out_words + 4 * t, want, 16);
    }
}

// Bulk copies: in, across CTAs of a pair, out, and a reduction.
static void bulk_copies(void **state) {
    (void)state;
    go(KERNEL
       ""
       " mov.u32 r3, dyn; mov.u32 r4, %cluster_ctarank; setp.ne.u32 p1, r1, 0; @p1 bra S;\n"
       " mbarrier.init.shared::cta.b64 [r3+4096], 1; mbarrier.init.shared::cta.b64 [r3+4104], 1; "
       "fence.mbarrier_init.release.cluster;\n"
       "S: bar.warp.sync -1; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; @p1 bra "
       "E;\n"
       " ld.param.u64 d5, [in]; mul.wide.u32 d6, r4, 1024; add.u64 d5, d5, d6;\n"
       " mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+4096], 1024; "
       "mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+4104], 512;\n"
       " cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [r3], [d5], 1024, "
       "[r3+4096];\n"
       "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3+4096], 0; @!p2 bra W;\n"
       " xor.b32 r5, r4, 1; mapa.shared::cluster.u32 r6, r3, r5; add.u32 r7, r6, 2048; add.u32 r8, "
       "r6, 4104;\n"
       " cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [r7], [r3+256], "
       "512, [r8];\n"
       "V: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3+4104], 0; @!p2 bra V;\n"
       " ld.param.u64 d7, [out]; mul.wide.u32 d8, r4, 1024; add.u64 d9, d7, d8;\n"
       " cp.async.bulk.global.shared::cta.bulk_group [d9], [r3+2048], 512; "
       "cp.async.bulk.commit_group;\n"
       " cp.async.bulk.wait_group.read 0; mov.u32 r9, 5; st.shared.u32 [r3+3072], r9; "
       "st.shared.u32 [r3+3076], r4; st.shared.u32 [r3+3080], r9; st.shared.u32 [r3+3084], r9;\n"
       " fence.proxy.async.shared::cta; cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 "
       "[d7+4096], [r3+3072], 16;\n"
       " cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n"
       "E: bar.warp.sync -1; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" END,
       (struct io){.threads = 32, .grid = 2, .cluster = 2, .smem = 4224}, 6);
    assert_memory_equal(out_words, in_words + 256 + 64, 512);
    assert_memory_equal(out_words + 256, in_words + 64, 512);
    uint32_t sums[4] = {10, 1, 10, 10};
    assert_memory_equal(out_words + 1024, sums, 16);
}

enum { TW = 40, TH = 24 }; // a tensor of 40 x 24 words, boxes of 32 x 16
static void tma_case(uint32_t x, uint32_t y, sim_policy policy, bool reduce) {
    static const char text[] =
        HEAD ".extern .shared .align 1024 .b8 dyn[];\n"
             ".visible .entry k(.param .align 64 .b8 src[128], .param .align 64 .b8 dst[128], "
             ".param .u32 x, .param .u32 y)\n{\n"
             " .reg .pred p<4>; .reg .b32 r<16>; .reg .b64 d<8>; .reg .b16 h; mov.u32 r1, %tid.x; "
             "mov.u32 r2, dyn; mov.u32 r3, %cluster_ctarank;\n"
             " ld.param.u32 r4, [x]; ld.param.u32 r5, [y]; setp.ne.u32 p1, r1, 0; @p1 bra S;\n"
             " mbarrier.init.shared::cta.b64 [r2+4096], 1; fence.mbarrier_init.release.cluster;\n"
             "S: bar.warp.sync -1; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; "
             "@p1 bra E;\n"
             " mov.b64 d1, src; cvta.param.u64 d1, d1; mov.b64 d2, dst; cvta.param.u64 d2, d2; "
             "prefetch.tensormap [d1];\n"
             " mbarrier.arrive.expect_tx.shared::cta.b64 _, [r2+4096], 2048; setp.ne.u32 p2, r3, "
             "0; @p2 bra W;\n"
             " mov.b32 r6, 3; cvt.u16.u32 h, r6;\n"
             " cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes."
             "multicast::cluster [r2], [d1, {r4, r5}], [r2+4096], h;\n"
             "W: mbarrier.try_wait.parity.shared::cta.b64 p3, [r2+4096], 0; @!p3 bra W;\n"
             " setp.eq.u32 p2, r3, 0; @p2 bra E; max.s32 r4, r4, 0; max.s32 r5, r5, 0; STORE\n"
             " cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n"
             "E: bar.warp.sync -1; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; "
             "ret;\n}\n";
    static const char store[] =
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [d2, {r4, r5}], [r2];";
    static const char add[] = "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_"
                              "group [d2, {r4, r5}], [r2];";
    sim_module *m;
    char *ptx = replaced(text, "STORE", reduce ? add : store);
    sim *s = open_with(ptx, &m);
    free(ptx);
    struct rng r = {x * 77 + y};
    uint32_t src[TH][TW];
    uint32_t dst[TH][TW];
    rng_bytes(&r, src, sizeof src);
    rng_bytes(&r, dst, sizeof dst);
    uint64_t at_src = upload(s, src, sizeof src);
    uint64_t at_dst = upload(s, dst, sizeof dst);
    uint8_t map[2][128];
    uint64_t dim[2] = {TW, TH};
    uint64_t stride[1] = {TW * 4};
    uint32_t box[2] = {32, 16};
    sim_tensormap t = {
        .dtype = 2, .rank = 2, .dim = dim, .stride = stride, .box = box, .swizzle = 3};
    t.address = at_src;
    assert_int_equal(sim_tensormap_encode(s, map[0], &t), SIM_OK);
    t.address = at_dst;
    assert_int_equal(sim_tensormap_encode(s, map[1], &t), SIM_OK);
    void *params[] = {map[0], map[1], &x, &y};
    launch(s, m, "k",
           &(sim_launch_config){.block = {32},
                                .grid = {2},
                                .cluster = {2},
                                .dynamic_smem = 5120,
                                .params = params,
                                .policy = policy});
    uint32_t out[TH][TW];
    assert_int_equal(sim_copy_from(s, out, at_dst, sizeof out), SIM_OK);
    int32_t x0 = (int32_t)x > 0 ? (int32_t)x : 0;
    int32_t y0 = (int32_t)y > 0 ? (int32_t)y : 0;
    for (int32_t j = 0; j < TH; j++) {
        for (int32_t i = 0; i < TW; i++) {
            int32_t sx = i - x0 + (int32_t)x;
            int32_t sy = j - y0 + (int32_t)y;
            bool in_box = i >= x0 && i < x0 + 32 && j >= y0 && j < y0 + 16;
            bool inside = sx >= 0 && sx < TW && sy >= 0 && sy < TH;
            uint32_t got = inside ? src[sy][sx] : 0;
            uint32_t want = !in_box ? dst[j][i] : reduce ? dst[j][i] + got : got;
            assert_int_equal(out[j][i], want);
        }
    }
    sim_close(s);
}

// A multicast load into both CTAs of a pair, also beyond the edges; the second one stores it.
static void tma(void **state) {
    (void)state;
    for (int policy = SIM_EAGER; policy <= SIM_RANDOM; policy++) {
        tma_case(0, 0, (sim_policy)policy, false);
        tma_case(20, 13, (sim_policy)policy, false);
        tma_case((uint32_t)-4, (uint32_t)-3, (sim_policy)policy, false);
        tma_case(8, 9, (sim_policy)policy, true);
    }
}

// ---- cluster launch control ---------------------------------------------------------------------
// Each cluster takes work until the queue is empty; every tile must be done once, whoever does it.
static void launch_control(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 16 .b8 s[32]; .reg .b128 q; mov.u32 r3, s; mov.u32 r4, %ctaid.x; mov.u32 "
       "r5, 0;\n"
       " setp.ne.u32 p1, r1, 0; @!p1 mbarrier.init.shared::cta.b64 [r3+16], 1; bar.sync 0; "
       "ld.param.u64 d5, [out];\n"
       "L: @p1 bra N; mul.wide.u32 d3, r4, 4; add.u64 d3, d5, d3; red.global.add.u32 [d3], 1;\n"
       " mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+16], 16;\n"
       " clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 [r3], "
       "[r3+16];\n"
       "N: mbarrier.try_wait.parity.shared::cta.b64 p2, [r3+16], r5; @!p2 bra N;\n"
       " ld.shared.b128 q, [r3]; clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 p3, q;\n"
       " @p3 clusterlaunchcontrol.query_cancel.get_first_ctaid.v4.b32.b128 {r4, r6, r7, _}, q; "
       "fence.proxy.async.shared::cta;\n"
       " bar.sync 0; xor.b32 r5, r5, 1; @p3 bra L;" END,
       (struct io){.threads = 64, .grid = 700}, 7);
    for (uint32_t t = 0; t < 1024; t++) {
        assert_int_equal(out_words[t], t < 700 ? 1 : 0);
    }
}

// ---- tensor memory and matrices -----------------------------------------------------------------
// A product of zeros: lanes whose bit is set in the vector keep what they had.
static void disabled_lanes(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 1024 .b8 s[8192]; .shared .align 8 .b64 full; .shared .align 4 .u32 col;\n"
       " mov.u32 r3, s; shl.b32 r4, r1, 5; add.u32 r4, r4, r3; mov.b32 r5, 0;\n"
       " setp.ne.u32 p1, r1, 0;\n"
       " st.shared.v4.b32 [r4], {r5, r5, r5, r5}; st.shared.v4.b32 [r4+16], {r5, r5, r5, r5};\n"
       " st.shared.v4.b32 [r4+4096], {r5, r5, r5, r5};\n"
       " st.shared.v4.b32 [r4+4112], {r5, r5, r5, r5};\n"
       " fence.proxy.async.shared::cta; setp.ge.u32 p2, r1, 32; @p2 bra A;\n"
       " tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [col], 32; "
       "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;\n"
       "A: @!p1 mbarrier.init.shared::cta.b64 [full], 1;\n"
       " @!p1 fence.mbarrier_init.release.cluster;\n"
       " bar.sync 0; ld.shared.u32 r6, [col]; shr.u32 r7, r1, 5; shl.b32 r7, r7, 21; "
       "add.u32 r7, r7, r6; ld.global.u32 r8, [d1];\n"
       " tcgen05.st.sync.aligned.32x32b.x1.b32 [r7], {r8}; tcgen05.wait::st.sync.aligned;\n"
       " tcgen05.fence::before_thread_sync; bar.sync 0; tcgen05.fence::after_thread_sync;\n"
       " cvt.u64.u32 d3, r3; shr.u64 d3, d3, 4; or.b64 d3, d3, 0x400000000000; "
       "or.b64 d3, d3, 0x1000080000; add.u64 d4, d3, 256; setp.ne.u32 p3, r1, r1;\n"
       " mov.b32 r10, 0xf0f0f0f1; mov.b32 r11, 0x0000ffff; mov.b32 r12, 0; mov.b32 r13, -1;\n"
       " @!p1 tcgen05.mma.cta_group::1.kind::f16 [r6], d3, d4, 0x08020010, {r10, r11, r12, r13}, "
       "p3;\n"
       " @!p1 tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [full];\n"
       "W: mbarrier.try_wait.parity.shared::cta.b64 p4, [full], 0; @!p4 bra W;\n"
       " tcgen05.fence::after_thread_sync; tcgen05.ld.sync.aligned.32x32b.x1.b32 {r9}, [r7]; "
       "tcgen05.wait::ld.sync.aligned; st.global.u32 [d2], r9;\n"
       " tcgen05.fence::before_thread_sync; bar.sync 0; @p2 bra X;\n"
       " tcgen05.dealloc.cta_group::1.sync.aligned.b32 r6, 32;\nX:" END,
       (struct io){.threads = 128, .grid = 1}, 11);
    static const uint32_t keep[4] = {0xF0F0F0F1, 0x0000FFFF, 0, 0xFFFFFFFF};
    for (uint32_t t = 0; t < 128; t++) {
        bool kept = (keep[t / 32] >> t % 32 & 1) != 0;
        assert_int_equal(out_words[t], kept ? in_words[t] : 0);
    }
}

static void tmem_round_trip(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 4 .u32 s; mov.u32 r3, s; setp.ge.u32 p1, r1, 32; @p1 bra A;\n"
       " tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [r3], 64; "
       "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;\n"
       "A: bar.sync 0; ld.shared.u32 r4, [r3]; shr.u32 r5, r1, 5; shl.b32 r6, r5, 21; add.u32 r7, "
       "r4, r6;\n"
       " ld.global.u32 r10, [d1]; ld.global.u32 r11, [d1+512]; ld.global.u32 r12, [d1+1024]; "
       "ld.global.u32 r13, [d1+1536];\n"
       " tcgen05.st.sync.aligned.32x32b.x4.b32 [r7+8], {r10, r11, r12, r13}; "
       "tcgen05.wait::st.sync.aligned;\n"
       " tcgen05.ld.sync.aligned.16x64b.x2.b32 {r20, r21}, [r7+8]; tcgen05.wait::ld.sync.aligned;\n"
       " tcgen05.ld.sync.aligned.32x32b.x1.b32 {r22}, [r7+11]; tcgen05.wait::ld.sync.aligned;\n"
       " st.global.u32 [d2], r20; st.global.u32 [d2+512], r21; st.global.u32 [d2+1024], r22; "
       "bar.sync 0; @p1 bra X;\n"
       " tcgen05.dealloc.cta_group::1.sync.aligned.b32 r4, 64;\nX:" END,
       (struct io){.threads = 128, .grid = 1}, 8);
    for (uint32_t t = 0; t < 128; t++) {
        uint32_t l = t % 32;
        uint32_t lane =
            t / 32 * 32 + l / 4 + 8 * (l & 1); // 16x64b: lane l/4 + 8*(l&1), column 2r + l/2%2
        assert_int_equal(out_words[t], in_words[lane + 128 * (l / 2 % 2)]);
        assert_int_equal(out_words[t + 128], in_words[lane + 128 * (2 + l / 2 % 2)]);
        assert_int_equal(out_words[t + 256], in_words[t + 384]);
    }
}

// cta_group::2: both CTAs bring half of A and of B by plain stores; the leader's MMA fills both
// TMEMs.
enum { PM = 256, PN = 32, PK = 32 };
static void pair_mma(void **state) {
    (void)state;
    // no swizzle, K-major: 8 x 16 bytes core matrices, LBO (next 16 bytes of K) = rows*16, SBO =
    // 128
    uint64_t idesc = 1u << 4 | (PN / 8) << 17 | (PM / 16) << 24; // D f32, A and B e4m3
    static const char text[] = KERNEL
        " mov.u32 r3, dyn; mov.u32 r4, %cluster_ctarank; shr.u32 r5, r1, 5;\n"
        " ld.param.u64 d3, [in]; mul.wide.u32 d4, r4, 4096; add.u64 d3, d3, d4; mul.wide.u32 d4, "
        "r1, 32; add.u64 d4, d4, d3;\n"
        " ld.global.v4.u32 {r10, r11, r12, r13}, [d4]; ld.global.v4.u32 {r14, r15, r16, r17}, "
        "[d4+16];\n"
        " shl.b32 r6, r1, 4; add.u32 r6, r6, r3; st.shared.v4.u32 [r6], {r10, r11, r12, r13}; "
        "st.shared.v4.u32 [r6+2048], {r14, r15, r16, r17};\n"
        " setp.ge.u32 p1, r1, 16; @p1 bra B; ld.param.u64 d3, [in]; mul.wide.u32 d4, r4, 512; "
        "add.u64 d3, d3, d4; mul.wide.u32 d4, r1, 32; add.u64 d4, d4, d3;\n"
        " ld.global.v4.u32 {r10, r11, r12, r13}, [d4+8192]; ld.global.v4.u32 {r14, r15, r16, r17}, "
        "[d4+8208];\n"
        " st.shared.v4.u32 [r6+4096], {r10, r11, r12, r13}; st.shared.v4.u32 [r6+4352], {r14, r15, "
        "r16, r17};\n"
        "B: bar.warp.sync -1; setp.ne.u32 p2, r1, 0; @!p2 mbarrier.init.shared::cta.b64 [r3+8192], "
        "1; fence.mbarrier_init.release.cluster;\n"
        " fence.proxy.async.shared::cta; setp.ne.u32 p3, r5, 0; @p3 bra C; add.u32 r7, r3, 8200;\n"
        " tcgen05.alloc.cta_group::2.sync.aligned.shared::cta.b32 [r7], 32; "
        "tcgen05.relinquish_alloc_permit.cta_group::2.sync.aligned;\n"
        "C: bar.sync 0; barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; "
        "ld.shared.u32 r20, [r3+8200];\n"
        " setp.ne.u32 p4, r4, 0; or.pred p4, p4, p2; @p4 bra D; shr.u32 r21, r3, 4; and.b32 r21, "
        "r21, 0x3FFF; add.u32 r22, r21, 256;\n"
        " or.b32 r21, r21, 0x800000; or.b32 r22, r22, 0x100000; mov.b64 d5, {r21, 0x4008}; mov.b64 "
        "d6, {r22, 0x4008};\n" // LBO 2048, 256; SBO 128
        " mov.b32 r23, IDESC; setp.ne.u32 p5, r1, r1; tcgen05.mma.cta_group::2.kind::f8f6f4 [r20], "
        "d5, d6, r23, p5;\n"
        " mov.b32 r24, 3; cvt.u16.u32 h1, r24;\n"
        " tcgen05.commit.cta_group::2.mbarrier::arrive::one.shared::cluster.multicast::cluster.b64 "
        "[r3+8192], h1;\n"
        "D: bar.warp.sync -1;\nW: mbarrier.try_wait.parity.shared::cta.b64 p6, [r3+8192], 0; @!p6 "
        "bra W; tcgen05.fence::after_thread_sync;\n"
        " shl.b32 r25, r5, 21; add.u32 r25, r25, r20; mul.wide.u32 d7, r4, 16384; mul.wide.u32 d8, "
        "r1, 124; add.u64 d9, d2, d7; add.u64 d9, d9, d8; mov.u32 r26, 0;\n"
        "E: tcgen05.ld.sync.aligned.32x32b.x1.b32 {r27}, [r25]; tcgen05.wait::ld.sync.aligned; "
        "st.global.u32 [d9], r27;\n"
        " add.u32 r25, r25, 1; add.u64 d9, d9, 4; add.u32 r26, r26, 1; setp.lt.u32 p7, r26, 32; "
        "@p7 bra E;\n"
        " tcgen05.fence::before_thread_sync; barrier.cluster.arrive.aligned; "
        "barrier.cluster.wait.aligned; @p3 bra X;\n"
        " tcgen05.dealloc.cta_group::2.sync.aligned.b32 r20, 32;\nX:" END;
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)idesc);
    char *ptx = replaced(text, "IDESC", number);
    go(ptx, (struct io){.threads = 128, .grid = 2, .cluster = 2, .smem = 9216}, 9);
    free(ptx);
    // rows of A are tid within the CTA; columns of B 0..15 come from CTA 0
    struct ref_dot p = {
        .a = NUM_E4M3, .b = NUM_E4M3, .k = PK, .frac = 25, .floor = -133, .out = NUM_OUT_F32};
    const uint8_t *bytes = (const uint8_t *)in_words;
    for (uint32_t i = 0; i < PM; i++) {
        for (uint32_t j = 0; j < PN; j++) {
            uint32_t a[PK];
            uint32_t b[PK];
            for (uint32_t k = 0; k < PK; k++) {
                a[k] = bytes[i * 32 + k];
                b[k] = bytes[8192 + j * 32 + k];
            }
            assert_int_equal(out_words[i * 32 + j], ref_tfdpa(&p, a, b, 0));
        }
    }
}

static void mma_sync(void **state) {
    (void)state;
    go(KERNEL " ld.global.u32 r10, [d1]; ld.global.u32 r11, [d1+128]; ld.global.u32 r12, [d1+256]; "
              "ld.global.u32 r13, [d1+384];\n"
              " ld.global.u32 r14, [d1+512]; ld.global.u32 r15, [d1+640]; mov.f32 f0, 0f00000000;\n"
              " mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f1, f2, f3, f4}, {r10, r11, "
              "r12, r13}, {r14, r15}, {f0, f0, f0, f0};\n"
              " st.global.f32 [d2], f1; st.global.f32 [d2+128], f2; st.global.f32 [d2+256], f3; "
              "st.global.f32 [d2+384], f4;" END,
       (struct io){.threads = 32, .grid = 1}, 10);
    struct ref_dot p = {
        .a = NUM_BF16, .b = NUM_BF16, .k = 16, .frac = 25, .floor = -133, .out = NUM_OUT_F32};
    for (uint32_t row = 0; row < 16; row++) {
        for (uint32_t col = 0; col < 8; col++) {
            uint32_t a[16];
            uint32_t b[16];
            for (uint32_t k = 0; k < 16;
                 k++) { // register k/8 (+ row/8), lane row%8*4 + k%8/2, half k%2
                uint32_t reg = row / 8 + k / 8 * 2;
                a[k] = in_words[reg * 32 + row % 8 * 4 + k % 8 / 2] >> (k % 2 * 16) & 0xFFFF;
                b[k] = in_words[(4 + k / 8) * 32 + col * 4 + k % 8 / 2] >> (k % 2 * 16) & 0xFFFF;
            }
            uint32_t got = out_words[(row / 8 * 2 + col % 2) * 32 + row % 8 * 4 + col / 2];
            assert_int_equal(got, ref_tfdpa(&p, a, b, 0));
        }
    }
}

static void matrix_moves(void **state) {
    (void)state;
    go(KERNEL " .shared .align 16 .b8 s[1024]; mov.u32 r3, s; shl.b32 r4, r1, 4; add.u32 r4, r4, "
              "r3; mul.wide.u32 d3, r1, 12; add.u64 d1, d1, d3;\n"
              " ld.global.v4.u32 {r10, r11, r12, r13}, [d1]; st.shared.v4.u32 [r4], {r10, r11, "
              "r12, r13}; bar.sync 0;\n"
              " ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r14, r15, r16, r17}, [r4]; "
              "stmatrix.sync.aligned.m8n8.x4.shared.b16 [r4+512], {r17, r16, r15, r14};\n"
              " bar.sync 0; ld.shared.v4.u32 {r20, r21, r22, r23}, [r4+512]; "
              "movmatrix.sync.aligned.m8n8.trans.b16 r24, r14;\n"
              " ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {r25}, [r4]; xor.b32 r24, r24, r25; "
              "mul.wide.u32 d4, r1, 16; add.u64 d2, d2, d4;\n"
              " st.global.u32 [d2], r20; st.global.u32 [d2+4], r21; st.global.u32 [d2+8], r22; "
              "st.global.u32 [d2+12], r23; st.global.u32 [d2+16], r24;" END,
       (struct io){.threads = 32, .grid = 1}, 11);
    for (uint32_t t = 0; t < 32; t++) { // the matrices come back in reverse order
        assert_memory_equal(out_words + 5 * t, in_words + 4 * ((3 - t / 8) * 8 + t % 8), 16);
        assert_int_equal(out_words[5 * t + 4], 0);
    }
}

static void registers(void **state) {
    (void)state;
    go(HEAD ".visible .entry k(.param .u64 in, .param .u64 out)\n.maxntid 256\n.maxnreg 128\n{\n "
            ".reg .b32 r<8>; .reg .b64 d<4>; .reg .pred p;\n"
            " mov.u32 r1, %tid.x; griddepcontrol.wait; setp.ge.u32 p, r1, 128; @p bra C;\n"
            " setmaxnreg.inc.sync.aligned.u32 208; bra X;\nC: nanosleep.u32 100; "
            "setmaxnreg.dec.sync.aligned.u32 40;\n"
            "X: griddepcontrol.launch_dependents; mul.wide.u32 d1, r1, 4; ld.param.u64 d2, [out]; "
            "add.u64 d1, d1, d2; st.global.u32 [d1], r1; ret;\n}\n",
       (struct io){.threads = 256, .grid = 2}, 12);
    assert_int_equal(out_words[255], 255);
}

static void replaced_map(void **state) {
    (void)state;
    static const char text[] =
        HEAD ".visible .entry k(.param .align 64 .b8 map[128], .param .u64 data, .param .u64 "
             "scratch, .param .u64 out)\n.maxntid 32\n{\n"
             " .reg .pred p<4>; .reg .b32 r<16>; .reg .b64 d<8>; .shared .align 128 .b8 s[1024]; "
             "mov.u32 r1, %tid.x; mov.u32 r2, s; mov.b64 d1, map; shl.b32 r3, r1, 2;\n"
             " cvt.u64.u32 d2, r3; add.u64 d2, d2, d1; ld.param.u32 r4, [d2]; add.u32 r5, r2, r3; "
             "st.shared.u32 [r5], r4; bar.warp.sync -1;\n"
             " setp.ne.u32 p1, r1, 0; @p1 bra A; ld.param.u64 d3, [data]; "
             "tensormap.replace.tile.global_address.shared::cta.b1024.b64 [r2], d3;\n"
             " tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [r2], 1, 3; "
             "mbarrier.init.shared::cta.b64 [r2+128], 1;\n"
             "A: bar.warp.sync -1; ld.param.u64 d4, [scratch]; "
             "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync."
             "aligned [d4], [r2], 128;\n"
             " fence.proxy.tensormap::generic.acquire.gpu [d4], 128; @p1 bra W; "
             "mbarrier.arrive.expect_tx.shared::cta.b64 _, [r2+128], 256; mov.u32 r6, 0;\n"
             " cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
             "[r2+256], [d4, {r6, r6}], [r2+128];\n"
             "W: mbarrier.try_wait.parity.shared::cta.b64 p2, [r2+128], 0; @!p2 bra W; "
             "ld.shared.u32 r7, [r5+256]; ld.shared.u32 r8, [r5+384];\n"
             " ld.param.u64 d5, [out]; cvt.u64.u32 d6, r3; add.u64 d5, d5, d6; st.global.u32 [d5], "
             "r7; st.global.u32 [d5+128], r8; ret;\n}\n";
    for (int policy = SIM_EAGER; policy <= SIM_RANDOM; policy++) {
        sim_module *m;
        sim *s = open_with(text, &m);
        uint32_t words[64];
        struct rng r = {5};
        rng_bytes(&r, words, sizeof words);
        uint64_t other = sim_alloc(s, 256);
        uint64_t data = upload(s, words, sizeof words);
        uint64_t scratch = sim_alloc(s, 128);
        uint64_t out = sim_alloc(s, 256);
        uint64_t dim[2] = {16, 4};
        uint64_t stride[1] = {64};
        uint32_t box[2] = {16, 4};
        uint8_t map[128];
        sim_tensormap t = {
            .dtype = 2, .rank = 2, .address = other, .dim = dim, .stride = stride, .box = box};
        assert_int_equal(sim_tensormap_encode(s, map, &t), SIM_OK);
        void *params[] = {map, &data, &scratch, &out};
        launch(s, m, "k",
               &(sim_launch_config){.block = {32}, .params = params, .policy = (sim_policy)policy});
        uint32_t got[64];
        assert_int_equal(sim_copy_from(s, got, out, 256), SIM_OK);
        memset(words + 48, 0, 64); // the fourth row is now outside
        assert_memory_equal(got, words, 256);
        sim_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring),
        cmocka_unit_test(mbarrier_forms),
        cmocka_unit_test(wait_beside_copies),
        cmocka_unit_test(resumed_late),
        cmocka_unit_test(gives_up),
        cmocka_unit_test(named_barriers),
        cmocka_unit_test(cluster_memory),
        cmocka_unit_test(cp_async),
        cmocka_unit_test(bulk_copies),
        cmocka_unit_test(tma),
        cmocka_unit_test(launch_control),
        cmocka_unit_test(disabled_lanes), cmocka_unit_test(tmem_round_trip),
        cmocka_unit_test(pair_mma),
        cmocka_unit_test(mma_sync),
        cmocka_unit_test(matrix_moves),
        cmocka_unit_test(registers),
        cmocka_unit_test(replaced_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
