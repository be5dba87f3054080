// Stores and reductions across the CTAs of a cluster that complete on an mbarrier, st.bulk, and the
// smaller forms beside them, against C.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint32_t in_words[4096], out_words[1024];

static void go(const char *ptx, struct io io) {
    struct rng r = {io.threads};
    rng_bytes(&r, in_words, sizeof in_words);
    io.in = in_words;
    io.in_bytes = sizeof in_words;
    io.out = out_words;
    io.out_bytes = sizeof out_words;
    run_all(ptx, &io);
}

// Every lane stores two words and adds one in the other CTA of its pair; that one waits for the
// bytes.
#define PAIR                                                                                       \
    KERNEL                                                                                         \
    " .shared .align 16 .b8 s[2048]; mov.u32 r3, s; mov.u32 r4, %cluster_ctarank; shl.b32 r5, "    \
    "r1, 3; add.u32 r6, r3, r5;\n"                                                                 \
    " setp.ne.u32 p1, r1, 0; @p1 bra I; mbarrier.init.shared::cta.b64 [r3+2040], 1; "              \
    "fence.mbarrier_init.release.cluster;\n"                                                       \
    "I: bar.warp.sync -1; mov.u32 r7, 0; st.shared.v2.u32 [r6+1024], {r7, r7};\n"                  \
    " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; xor.b32 r8, r4, 1;\n"          \
    " mapa.shared::cluster.u32 r9, r6, r8; mapa.shared::cluster.u32 r10, r3, r8; add.u32 r10, "    \
    "r10, 2040;\n"                                                                                 \
    " mul.wide.u32 d5, r4, 128; add.u64 d1, d1, d5; mul.wide.u32 d6, r4, 512; add.u64 d2, d2, "    \
    "d6; ld.global.u32 r11, [d1]; ld.global.u32 r12, [d1+256];\n"

static void remote_stores(void **state) {
    (void)state;
    go(PAIR
       " @!p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [r3+2040], 512;\n"
       " st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [r9], {r11, r12}, [r10];\n"
       " and.b32 r13, r2, 3; shl.b32 r13, r13, 3; mapa.shared::cluster.u32 r14, r3, r8; add.u32 "
       "r14, r14, r13;\n"
       " red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 "
       "[r14+1024], r11, [r10];\n"
       " mov.u32 r16, -5; red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes."
       "max.s32 [r14+1028], r12, [r10];\n"
       "W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p2, [r3+2040], 0; @!p2 bra W;\n"
       " ld.shared.v2.u32 {r17, r18}, [r6]; ld.shared.v2.u32 {r19, r20}, [r6+1024]; mul.wide.u32 "
       "d7, r2, 12; add.u64 d2, d2, d7;\n"
       " st.global.v4.u32 [d2], {r17, r18, r19, r20};\n"
       " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" END,
       (struct io){.threads = 32, .grid = 2, .cluster = 2});
    for (uint32_t c = 0; c < 2; c++) {
        const uint32_t *a = in_words + 32 * (c ^ 1);
        uint32_t sum[32] = {0};
        int32_t most[32] = {0};
        for (uint32_t l = 0; l < 32; l++) {
            int32_t v = (int32_t)a[64 + l];
            sum[l & 3] += a[l];
            most[l & 3] = v > most[l & 3] ? v : most[l & 3];
        }
        for (uint32_t l = 0; l < 32; l++) {
            const uint32_t *got = out_words + 128 * c + 4 * l;
            assert_int_equal(got[0], a[l]);
            assert_int_equal(got[1], a[64 + l]);
            assert_int_equal(got[2], l < 4 ? sum[l] : 0);
            assert_int_equal(got[3], l < 4 ? (uint32_t)most[l] : 0);
        }
    }
}

// A reduction of a piece of shared memory into the other CTA's.
static void remote_reduction(void **state) {
    (void)state;
    go(PAIR
       " st.shared.v2.u32 [r6], {r11, r12}; st.shared.v2.u32 [r6+1024], {r12, r12}; "
       "fence.proxy.async.shared::cta; @!p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, "
       "[r3+2040], 128;\n"
       " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned; @p1 bra W;\n"
       " cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 "
       "[r9+1024], [r3+64], 128, [r10];\n"
       "W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p2, [r3+2040], 0; @!p2 bra W;\n"
       " ld.shared.v2.u32 {r19, r20}, [r6+1024]; mul.wide.u32 d7, r2, 4; add.u64 d2, d2, d7;\n"
       " st.global.v2.u32 [d2], {r19, r20};\n"
       " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;" END,
       (struct io){.threads = 32, .grid = 2, .cluster = 2});
    for (uint32_t c = 0; c < 2; c++) {
        const uint32_t *mine = in_words + 32 * c;
        const uint32_t *other = in_words + 32 * (c ^ 1);
        for (uint32_t l = 0; l < 32; l++) {
            uint32_t add[2] = {l < 16 ? other[l + 8] : 0, l < 16 ? other[64 + l + 8] : 0};
            assert_int_equal(out_words[128 * c + 2 * l], mine[64 + l] + add[0]);
            assert_int_equal(out_words[128 * c + 2 * l + 1], mine[64 + l] + add[1]);
        }
    }
}

static void small_forms(void **state) {
    (void)state;
    go(KERNEL
       " .shared .align 16 .b8 s[2048]; mov.u32 r3, s; shl.b32 r4, r1, 4; add.u32 r5, r3, r4; "
       "mul.wide.u32 d3, r1, 12; add.u64 d1, d1, d3; add.u64 d2, d2, d3;\n"
       " mov.u32 r6, 77; st.shared.v4.u32 [r5], {r6, r6, r6, r6}; st.shared.v4.u32 [r5+512], {r6, "
       "r6, r6, r6}; and.b32 r7, r1, 1; setp.ne.u32 p1, r7, 0;\n"
       " cp.async.ca.shared.global [r5], [d1], 16, p1; cp.async.wait_all; bar.sync 0;\n"
       " setp.ne.u32 p2, r1, 0; @!p2 st.bulk.weak.shared::cta [r3+528], 64, 0; bar.sync 0;\n"
       " @!p2 mbarrier.init.shared::cta.b64 [r3+1024], 40; bar.sync 0;\n"
       " mbarrier.arrive.shared::cta.b64 d5, [r3+1024]; mbarrier.pending_count.b64 r8, d5;\n"
       " ld.shared.v2.u32 {r10, r11}, [r5+8]; ld.shared.u32 r12, [r5+516]; add.u32 r8, r8, r2; "
       "st.global.v4.u32 [d2], {r10, r11, r12, r8};" END,
       (struct io){.threads = 32, .grid = 1});
    for (uint32_t l = 0; l < 32; l++) {
        const uint32_t *got = out_words + 4 * l;
        assert_int_equal(got[0], l % 2 != 0 ? 0 : in_words[4 * l + 2]);
        assert_int_equal(got[1], l % 2 != 0 ? 0 : in_words[4 * l + 3]);
        assert_int_equal(got[2], l >= 1 && l < 5 ? 0 : 77);
        assert_int_equal(got[3], 40); // arrivals in the order of the lanes
    }
}

// A tensor map in memory that is overwritten once its copy has been issued: the copy takes the old
// one.
static void map_overwritten(void **state) {
    (void)state;
    static const char text[] = HEAD
        ".extern .shared .align 1024 .b8 dyn[];\n.visible .entry k(.param .align 64 .b8 m[128], "
        ".param .u64 room, .param .u64 out)\n{\n .reg .pred p<4>; .reg .b32 r<8>; .reg .b64 d<20>; "
        "mov.u32 r1, %tid.x; mov.u32 r2, dyn; setp.ne.u32 p1, r1, 0; @p1 ret;\n"
        " ld.param.u64 d1, [room]; ld.param.u64 d3, [out]; mov.u32 r3, 0; mov.b64 d2, m;\n"
        "C: cvt.u64.u32 d4, r3; add.u64 d5, d2, d4; add.u64 d6, d1, d4; ld.param.u64 d7, [d5]; "
        "st.global.u64 [d6], d7; add.u32 r3, r3, 8; setp.lt.u32 p2, r3, 128; @p2 bra C;\n"
        " fence.proxy.tensormap::generic.release.gpu; fence.proxy.tensormap::generic.acquire.gpu "
        "[d1], 128; mbarrier.init.shared::cta.b64 [r2+1024], 1; fence.proxy.async.shared::cta;\n"
        " mbarrier.arrive.expect_tx.shared::cta.b64 _, [r2+1024], 512; mov.u32 r4, 0;\n"
        " cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [r2], [d1, "
        "{r4, r4}], [r2+1024]; mov.b64 d8, 0; st.global.u64 [d1+16], d8; st.global.u64 [d1], d8;\n"
        "W: mbarrier.try_wait.parity.shared::cta.b64 p3, [r2+1024], 0; @!p3 bra W;\n"
        " ld.shared.u32 r5, [r2+300]; st.global.u32 [d3], r5; ret;\n}\n";
    uint32_t data[128];
    struct rng r = {3};
    rng_bytes(&r, data, sizeof data);
    for (int policy = SIM_EAGER; policy <= SIM_RANDOM; policy++) {
        sim_module *m;
        sim *s = open_with(text, &m);
        uint64_t dim[2] = {16, 8};
        uint64_t stride[1] = {64};
        uint32_t box[2] = {16, 8};
        uint8_t map[128];
        sim_tensormap t = {.dtype = 2, .rank = 2, .dim = dim, .stride = stride, .box = box};
        t.address = upload(s, data, sizeof data);
        assert_int_equal(sim_tensormap_encode(s, map, &t), SIM_OK);
        uint64_t room = sim_alloc(s, 128);
        uint64_t out = sim_alloc(s, 4);
        void *params[] = {map, &room, &out};
        launch(s, m, "k",
               &(sim_launch_config){.block = {32},
                                    .grid = {1},
                                    .dynamic_smem = 2048,
                                    .params = params,
                                    .policy = (sim_policy)policy});
        uint32_t got;
        assert_int_equal(sim_copy_from(s, &got, out, 4), SIM_OK);
        assert_int_equal(got, data[75]);
        sim_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remote_stores),
        cmocka_unit_test(remote_reduction),
        cmocka_unit_test(small_forms),
        cmocka_unit_test(map_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
