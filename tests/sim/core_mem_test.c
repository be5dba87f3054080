// Loads, stores, atomics, address spaces, control flow and warp collectives: small programs with
// expected values from C.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t in_words[256], out_words[1024];

static void fill_in(uint64_t seed) {
    struct rng r = {seed};
    rng_bytes(&r, in_words, sizeof in_words);
}

static void run_words(const char *ptx, uint32_t threads) {
    memset(out_words, 0, sizeof out_words);
    run_all(ptx,
            &(struct io){in_words, sizeof in_words, out_words, sizeof out_words, threads, 1, 0, 0});
}

// ---- memory -------------------------------------------------------------------------------------
// Device to device: apart, overlapping both ways, nothing, out of range.
static void copies(void **state) {
    (void)state;
    sim *s = sim_open(NULL);
    uint8_t from[256];
    uint8_t to[256];
    for (int i = 0; i < 256; i++) {
        from[i] = (uint8_t)(i * 7);
    }
    uint64_t a = upload(s, from, 256);
    uint64_t b = sim_alloc(s, 256);
    assert_int_equal(sim_copy(s, b, a, 256), SIM_OK);
    assert_int_equal(sim_copy(s, b + 16, b, 200), SIM_OK);
    memmove(from + 16, from, 200);
    assert_int_equal(sim_copy(s, b, b + 5, 100), SIM_OK);
    memmove(from, from + 5, 100);
    assert_int_equal(sim_copy(s, 1, 2, 0), SIM_OK);
    assert_int_equal(sim_copy_from(s, to, b, 256), SIM_OK);
    assert_memory_equal(to, from, 256);
    assert_int_equal(sim_copy(s, b + 1, a, 256), SIM_ERROR_ARGUMENT);
    assert_int_equal(sim_copy(s, b, a + 1, 256), SIM_ERROR_ARGUMENT);
    assert_non_null(strstr(sim_last_error(s), "is not within one allocation"));
    sim_close(s);
}

static void narrow_loads(void **state) {
    (void)state;
    fill_in(1);
    run_words(
        KERNEL
        " ld.global.s8 r3, [d1+1]; ld.global.u8 r4, [d1+2]; ld.global.s16 r5, [d1+2];\n"
        " ld.global.u16 h1, [d1]; cvt.u32.u16 r6, h1; add.u32 r3, r3, r4; sub.u32 r3, r3, r5;\n"
        " xor.b32 r3, r3, r6; st.global.u16 [d2], r3; shr.u32 r3, r3, 16;\n"
        " st.global.u8 [d2+3], r3;" END,
        64);
    for (int t = 0; t < 64; t++) {
        const uint8_t *p = (const uint8_t *)&in_words[t];
        int16_t s16;
        uint16_t u16;
        memcpy(&s16, p + 2, 2);
        memcpy(&u16, p, 2);
        uint32_t v = ((uint32_t)((int8_t)p[1] + p[2]) - (uint32_t)s16) ^ u16;
        assert_int_equal(out_words[t], (v & 0xFFFF) | (v >> 16 & 255) << 24);
    }
}

static void vectors(void **state) {
    (void)state;
    fill_in(2);
    run_words(KERNEL
              " mul.wide.u32 d0, r1, 28; add.u64 d1, d1, d0;\n" // 32 bytes a thread
              " ld.global.v4.u32 {r3, r4, r5, _}, [d1]; ld.global.v2.u64 {d3, d4}, [d1+16];\n"
              " mov.b64 {r6, r7}, d4; ld.global.v2.u16 {h1, h2}, [d1+12]; mov.b32 r8, {h2, h1};\n"
              " add.u64 d2, d2, d0; st.global.v8.u32 [d2], {r7, r6, r5, r4, r3, r8, 77, r3};" END,
              32);
    for (int t = 0; t < 32; t++) {
        const uint32_t *w = in_words + 8 * t;
        uint32_t want[8] = {w[7], w[6], w[2], w[1], w[0], w[3] << 16 | w[3] >> 16, 77, w[0]};
        assert_memory_equal(out_words + 8 * t, want, 32);
    }
}

static void shared_b128(void **state) {
    (void)state;
    fill_in(3);
    run_words(
        KERNEL
        " .shared .align 16 .b8 s[2048]; .reg .b128 q; ld.global.u32 r3, [d1]; mov.u32 r4, s;\n"
        " shl.b32 r5, r1, 2; add.u32 r5, r5, r4; st.shared.u32 [r5], r3; bar.sync 0;\n"
        " and.b32 r6, r1, 3; xor.b32 r7, r1, r6; shl.b32 r7, r7, 2; add.u32 r7, r7, r4;\n"
        " ld.shared.b128 q, [r7]; mov.b128 {d3, d4}, q; shl.b32 r8, r6, 5; shr.u64 d5, d3, r8;\n"
        " sub.u32 r9, r8, 64; shr.u64 d6, d4, r9; setp.lt.u32 p1, r6, 2; selp.b64 d5, d5, d6, p1;\n"
        " cvt.u32.u64 r10, d5; st.global.u32 [d2], r10;" END,
        64);
    assert_memory_equal(out_words, in_words, 256);
}

static void generic_spaces(void **state) {
    (void)state;
    fill_in(4);
    run_words(
        KERNEL
        " .shared .align 4 .u32 s[64]; .local .align 4 .b8 l[16]; ld.global.u32 r3, [d1];\n"
        " cvta.shared.u64 d3, 0; mov.u64 d4, s; cvta.shared.u64 d4, d4; add.u64 d4, d4, d0;\n"
        " st.u32 [d4], r3; ld.u32 r4, [d4]; cvta.to.shared.u64 d5, d4; ld.shared.u32 r5, [d5];\n"
        " mov.u64 d6, l; cvta.local.u64 d7, d6; st.u32 [d7+4], r5; ld.local.u32 r6, [d6+4];\n"
        " isspacep.shared p1, d4; isspacep.local p2, d7; isspacep.global p3, d1;\n"
        " and.pred p1, p1, p2; and.pred p1, p1, p3; cvta.global.u64 d8, d2;\n"
        " @p1 st.u32 [d8], r6;" END,
        64);
    assert_memory_equal(out_words, in_words, 256);
}

static void params_and_globals(void **state) {
    (void)state;
    sim_module *m;
    sim *s = open_with(
        HEAD
        ".global .align 4 .u32 table[4] = {3, 5, 0x10, -1};\n.const .align 8 .b8 c[8] = "
        "{1,2,3,4,5,6,7,8};\n"
        ".global .u64 where = generic(table);\n.global .f32 half = 0f3F000000;\n"
        ".visible .entry k(.param .u32 n, .param .align 64 .b8 big[80], .param .u64 .ptr .global "
        "out)\n{\n"
        " .reg .b32 r<16>; .reg .b64 d<16>; mov.b64 d1, big; ld.param.u32 r1, [d1+76]; "
        "cvta.param.u64 d2, d1;\n"
        " ld.u32 r2, [d2+4]; mov.b32 r10, big; cvt.u64.u32 d5, r10; cvta.param.u64 d5, d5;\n"
        " ld.u32 r10, [d5+4]; sub.u32 r10, r10, r2; add.u32 r2, r2, r10;\n" // by 32 bits: the same
        " ld.param.u32 r3, [n]; ld.param.v2.u32 {r4, r5}, [big+8]; ld.param.u64 "
        "d3, [out];\n"
        " ld.global.u64 d4, [where]; ld.global.u32 r6, [d4+8]; ld.global.u32 r7, [table+4];\n"
        " ld.const.u32 r8, [c+4]; ld.global.u32 r9, [half];\n"
        " st.global.v4.u32 [d3], {r1, r2, r3, r4}; st.global.v4.u32 [d3+16], {r5, r6, r7, r8};\n"
        " st.global.u32 [d3+32], r9; ret;\n}\n",
        &m);
    sim_kernel_info info;
    sim_kernel_get_info(sim_kernel_find(m, "k"), &info);
    assert_int_equal(info.n_params, 3);
    assert_int_equal(info.params[1].offset, 64);
    assert_int_equal(info.params[2].offset, 144);
    uint32_t n = 42;
    uint32_t big[20];
    uint32_t out[9];
    for (uint32_t i = 0; i < 20; i++) {
        big[i] = 100 + i;
    }
    uint64_t at = sim_alloc(s, sizeof out);
    void *params[] = {&n, big, &at};
    launch(s, m, "k", &(sim_launch_config){.params = params});
    assert_int_equal(sim_copy_from(s, out, at, sizeof out), SIM_OK);
    uint32_t want[9] = {119, 101, 42, 102, 103, 0x10, 5, 0x08070605, 0x3F000000};
    assert_memory_equal(out, want, sizeof want);
    uint64_t address;
    size_t bytes;
    assert_true(sim_module_global(m, "table", &address, &bytes));
    assert_int_equal(bytes, 16);
    sim_close(s);
}

static void atomics(void **state) {
    (void)state;
    fill_in(5);
    // out[256..]: add, min, max.s32, and, or, xor, inc, dec, cas, exch-sum, f32 add, u64 add,
    // bf16x2
    run_words(
        KERNEL
        " ld.param.u64 d3, [out]; add.u64 d3, d3, 1024; ld.global.u32 r3, [d1];\n"
        " atom.global.add.u32 r4, [d3], 3; red.global.min.u32 [d3+64], r3; red.global.max.s32 "
        "[d3+8], r3;\n"
        " or.b32 r5, r3, 0xFFFF; red.global.or.b32 [d3+16], r3; atom.global.xor.b32 r6, [d3+20], "
        "r3;\n"
        " atom.global.inc.u32 r7, [d3+24], 40; atom.global.dec.u32 r8, [d3+28], 70;\n"
        " atom.global.cas.b32 r9, [d3+32], r1, 63; setp.eq.u32 p1, r1, 0; mov.f32 f1, 0f3F800000;\n"
        " red.global.add.f32 [d3+40], f1; cvt.u64.u32 d4, r3; red.global.add.u64 [d3+48], d4;\n"
        " mov.b32 r10, 0x3F803F80; red.global.add.noftz.bf16x2 [d3+56], r10;\n"
        " rem.u32 r4, r4, 3; sub.u32 r4, 7, r4; st.global.u32 [d2], r4;" END,
        64);
    uint32_t min = 0;
    uint32_t or = 0;
    uint32_t xor = 0;
    int32_t max = 0;
    uint64_t sum = 0;
    for (int t = 0; t < 64; t++) {
        max = (int32_t)in_words[t] > max ? (int32_t)in_words[t] : max;
        or |= in_words[t];
        xor ^= in_words[t];
        sum += in_words[t];
        assert_int_equal(out_words[t], 7);
    }
    const uint32_t *g = out_words + 256;
    assert_int_equal(g[0], 192);
    assert_int_equal(g[16], min);
    assert_int_equal(g[2], max);
    assert_int_equal(g[4], or);
    assert_int_equal(g[5], xor);
    assert_int_equal(g[6], 64 % 41);
    assert_int_equal(g[7], 71 - 64);
    assert_int_equal(g[8], 63);
    assert_int_equal(g[10], 0x42800000);
    uint64_t total;
    memcpy(&total, g + 12, 8);
    assert_int_equal(total, sum);
    assert_int_equal(g[14], 0x42804280);
}

// ---- control ------------------------------------------------------------------------------------
static uint32_t collatz(uint32_t v) {
    uint32_t n = 0;
    while (v != 1 && n < 500) {
        v = v % 2 != 0 ? 3 * v + 1 : v / 2;
        n++;
    }
    return n;
}

static void divergent_loops(void **state) {
    (void)state;
    run_words(
        KERNEL
        " add.u32 r3, r1, 1; mov.u32 r4, 0;\n"
        "L: setp.eq.u32 p1, r3, 1; @p1 bra D; setp.ge.u32 p2, r4, 500; @p2 bra D;\n"
        " and.b32 r5, r3, 1; setp.eq.u32 p3, r5, 0; @p3 bra E; mad.lo.u32 r3, r3, 3, 1; bra N;\n"
        "E: shr.u32 r3, r3, 1;\nN: add.u32 r4, r4, 1; bra L;\nD: bar.warp.sync 0xffffffff;\n"
        " shfl.sync.idx.b32 r6, r4, 5, 31, 0xffffffff; shl.b32 r6, r6, 16; or.b32 r4, r4, r6;\n"
        " st.global.u32 [d2], r4;" END,
        64);
    for (uint32_t t = 0; t < 64; t++) {
        assert_int_equal(out_words[t], collatz(t + 1) | collatz(t / 32 * 32 + 6) << 16);
    }
}

static void branch_table(void **state) {
    (void)state;
    run_words(
        KERNEL
        " rem.u32 r3, r1, 5; mov.u32 r4, 1000;\n"
        "T: .branchtargets A, B, C, A, B;\n brx.idx r3, T;\n"
        "A: add.u32 r4, r4, r1; bra X;\nB: sub.u32 r4, r4, r1; bra X;\nC: shl.b32 r4, r4, 1;\n"
        "X: st.global.u32 [d2], r4;" END,
        64);
    for (uint32_t t = 0; t < 64; t++) {
        uint32_t c = t % 5;
        assert_int_equal(out_words[t], c == 2 ? 2000 : c == 0 || c == 3 ? 1000 + t : 1000 - t);
    }
}

// Lanes of one warp take a lock in turn: the holder must make progress while the others spin.
static void spin_lock(void **state) {
    (void)state;
    run_words(KERNEL " ld.param.u64 d3, [out]; add.u64 d3, d3, 1024;\n"
                     "L: atom.global.cas.b32 r3, [d3], 0, 1; setp.ne.u32 p1, r3, 0; @p1 bra L;\n"
                     " ld.volatile.global.u32 r4, [d3+4]; add.u32 r4, r4, 1; "
                     "st.volatile.global.u32 [d3+4], r4;\n"
                     " membar.gl; atom.global.exch.b32 r5, [d3], 0; st.global.u32 [d2], r4;" END,
              96);
    assert_int_equal(out_words[256], 0);
    assert_int_equal(out_words[257], 96);
}

static void early_exit(void **state) {
    (void)state;
    run_words(KERNEL " setp.ge.u32 p1, r1, 40; @p1 ret; bar.sync 0; activemask.b32 r3;\n"
                     " st.global.u32 [d2], r3;" END,
              64);
    for (uint32_t t = 0; t < 64; t++) {
        assert_int_equal(out_words[t], t < 32 ? 0xFFFFFFFF : t < 40 ? 0xFF : 0);
    }
}

// ---- collectives --------------------------------------------------------------------------------
static void shuffles(void **state) {
    (void)state;
    fill_in(8);
    run_words(
        KERNEL
        " ld.global.u32 r3, [d1]; shfl.sync.up.b32 r4|p1, r3, 3, 0, -1; shfl.sync.down.b32 r5|p2, "
        "r3, 7, 0x1f, -1;\n"
        " shfl.sync.bfly.b32 r6, r3, 9, 0x1f, -1; shfl.sync.idx.b32 r7|p3, r3, 2, 0x181f, -1;\n"
        " selp.b32 r8, 1, 0, p1; @p2 or.b32 r8, r8, 2; @p3 or.b32 r8, r8, 4; xor.b32 r9, r4, r5; "
        "xor.b32 r9, r9, r6;\n"
        " xor.b32 r9, r9, r7; xor.b32 r9, r9, r8; st.global.u32 [d2], r9;" END,
        32);
    for (uint32_t l = 0; l < 32; l++) {
        uint32_t up = l >= 3 ? l - 3 : l;
        uint32_t down = l + 7 < 32 ? l + 7 : l;
        uint32_t idx = (l & 24) | 2; // segments of 8
        uint32_t flags = (l >= 3) | (uint32_t)(l + 7 < 32) << 1 | 4;
        assert_int_equal(out_words[l],
                         in_words[up] ^ in_words[down] ^ in_words[l ^ 9] ^ in_words[idx] ^ flags);
    }
}

// Lanes that execute a collective together with member masks of their own: each mask is a group.
static void tiles(void **state) {
    (void)state;
    fill_in(9);
    run_words(KERNEL
              " ld.global.u32 r3, [d1]; and.b32 r4, r2, 24; shl.b32 r5, 255, r4; and.b32 r6, r2, 1;\n"
              " setp.eq.u32 p1, r6, 1; @p1 bra ODD; mov.u32 r7, 5; bra.uni JOIN;\n"
              "ODD: mov.u32 r7, 6;\n" // no lane of a tile may go on before the others have come
              "JOIN: shfl.sync.bfly.b32 r8, r3, 3, 0x181f, r5; redux.sync.add.u32 r9, r3, r5;\n"
              " setp.gt.s32 p2, r3, 0; vote.sync.ballot.b32 r10, p2, r5; match.any.sync.b32 r11, r7, r5;\n"
              " elect.sync r12|p3, r5; selp.b32 r13, 1, 0, p3; bar.warp.sync r5;\n"
              " xor.b32 r8, r8, r9; xor.b32 r8, r8, r10; sub.u32 r8, r8, r11; shl.b32 r13, r13, 7;\n"
              " xor.b32 r8, r8, r13; st.global.u32 [d2], r8;" END,
              32);
    for (uint32_t l = 0; l < 32; l++) {
        uint32_t sum = 0, ballot = 0, same = 0;
        for (uint32_t o = l & 24; o < (l & 24) + 8; o++) {
            sum += in_words[o];
            ballot |= (uint32_t)((int32_t)in_words[o] > 0) << o;
            same |= (uint32_t)(o % 2 == l % 2) << o;
        }
        uint32_t want = (in_words[l ^ 3] ^ sum ^ ballot) - same;
        assert_int_equal(out_words[l], want ^ (uint32_t)(l % 8 == 0) << 7);
    }
}

static void votes(void **state) {
    (void)state;
    run_words(
        KERNEL
        " and.b32 r3, r2, 3; setp.eq.u32 p1, r3, 1; vote.sync.ballot.b32 r4, p1, -1; "
        "vote.sync.any.pred p2, p1, -1;\n"
        " vote.sync.all.pred p3, !p1, -1; setp.lt.u32 p4, r2, 16; selp.b32 r5, 1, 0, p2; @p3 "
        "add.u32 r5, r5, 2;\n"
        " @p4 bra LOW; vote.sync.uni.pred p5, p4, 0xffff0000; elect.sync r6|p6, 0xffff0000; bra "
        "J;\n"
        "LOW: vote.sync.uni.pred p5, p1, 0x0000ffff; elect.sync r6|p6, 0x0000ffff;\n"
        "J: bar.warp.sync -1; @p5 add.u32 r5, r5, 4; @p6 add.u32 r5, r5, 8; shl.b32 r6, r6, 8; "
        "or.b32 r5, r5, r6;\n"
        " match.any.sync.b32 r7, r3, -1; match.all.sync.b32 r8|p7, r3, -1; redux.sync.add.u32 r9, "
        "r2, -1;\n"
        " redux.sync.max.s32 r10, r2, -1; add.u32 r9, r9, r10; shl.b32 r9, r9, 16; add.u32 r5, r5, "
        "r9;\n"
        " add.u32 r5, r5, r8; xor.b32 r4, r4, r7; xor.b32 r4, r4, r5; st.global.u32 [d2], r4;" END,
        32);
    for (uint32_t l = 0; l < 32; l++) {
        uint32_t r5 = 1 + (l >= 16 ? 4 : 0) + (l == 0 || l == 16 ? 8 : 0);
        r5 |= (l >= 16 ? 16u : 0u) << 8;
        r5 += (496u + 31u) << 16;
        uint32_t same = 0x11111111u << (l & 3);
        assert_int_equal(out_words[l], 0x22222222u ^ same ^ r5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies),
        cmocka_unit_test(narrow_loads),       cmocka_unit_test(vectors),
        cmocka_unit_test(shared_b128),        cmocka_unit_test(generic_spaces),
        cmocka_unit_test(params_and_globals), cmocka_unit_test(atomics),
        cmocka_unit_test(divergent_loops),    cmocka_unit_test(branch_table),
        cmocka_unit_test(spin_lock),          cmocka_unit_test(early_exit),
        cmocka_unit_test(tiles), cmocka_unit_test(shuffles),           cmocka_unit_test(votes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
