// Instructions of warps: every line of tests/sim/core_alu.def and probe_lanes.def as a kernel whose threads
// take 48 bytes of random operands each and leave 8.
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW = 48, THREADS = 256 };

typedef enum { RESULT_32, RESULT_64 } result_kind;

typedef struct {
    const char *name, *ptx;
    result_kind kind;
} line;

static const line lines[] = {
#define P32(name, ptx, meaning) {name, ptx, RESULT_32},
#define P64(name, ptx, meaning) {name, ptx, RESULT_64},
#include "core_alu.def"
#undef P32
#undef P64
#define L32(name, ptx) {name, ptx, RESULT_32},
#define L64(name, ptx) {name, ptx, RESULT_64},
#include "probe_lanes.def"
#undef L32
#undef L64
};

static const char prologue[] =
    ".version 8.8\n.target sm_90a\n.address_size 64\n"
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
    " .shared .align 128 .b8 shared[4096];\n"
    " .reg .b32 r<4>; .reg .b64 d<4>; .reg .b16 h<3>; .reg .f32 f<4>; .reg .f64 e<4>; .reg .pred p, q;\n"
    " .reg .b32 t0, t1, t2, t3, lane, tid, sm, row, mine; .reg .b64 at, to, from;\n"
    " mov.u32 t0, %ctaid.x; mov.u32 tid, %tid.x; mov.u32 t1, %ntid.x; mad.lo.u32 t0, t0, t1, tid;\n"
    " mul.wide.u32 at, t0, 48; ld.param.u64 from, [in]; add.u64 from, from, at;\n"
    " mul.wide.u32 at, t0, 8; ld.param.u64 to, [out]; add.u64 to, to, at;\n"
    " ld.global.v4.u32 {r1, r2, r3, t0}, [from]; ld.global.v2.u64 {d1, d2}, [from+16]; ld.global.u64 d3, [from+32];\n"
    " mov.b32 f1, r1; mov.b32 f2, r2; mov.b32 f3, r3; mov.b64 e1, d1; mov.b64 e2, d2; mov.b64 e3, d3;\n"
    " cvt.u16.u32 h1, r1; cvt.u16.u32 h2, r2; mov.u32 lane, %laneid;\n"
    " mov.u32 sm, shared; shl.b32 t1, tid, 4; add.u32 mine, sm, t1; st.shared.v2.u64 [mine], {d1, d2};\n"
    " and.b32 t1, t1, 0xE00; add.u32 sm, sm, t1; and.b32 t1, r3, 31; shl.b32 t1, t1, 4; add.u32 row, sm, t1;\n"
    " bar.warp.sync 0xffffffff;\n"
    " and.b32 t1, r1, 1; setp.ne.u32 p, t1, 0; mov.u32 r0, 0; mov.u64 d0, 0; mov.f32 f0, 0f00000000;\n";

static uint64_t corner(uint64_t *state) {
    static const uint32_t words[] = {0,          1,          0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7F800000, 0xFF800000,
                                     0x7FC00001, 0x807FFFFF, 0x3F800000, 0xBF800000, 0x00800000, 0x7F7FFFFF, 0x40600000,
                                     0x3F000000, 0x4F000000, 0xCF000001, 0x00007C00, 0x33000000, 0x7F8000FF};
    return words[probe_random(state) % (sizeof words / sizeof *words)];
}

static void operand(uint64_t *state, void *to, size_t bytes) {
    uint64_t how = probe_random(state) % 8, v = probe_random(state);
    if (how == 0) {
        v = corner(state) | corner(state) << 32;
    } else if (how == 1) {
        v &= 63;
    } else if (how == 2) { // floats near 1
        v = (v & 0x807FFFFF807FFFFF) | (0x3F + (v >> 23 & 1)) << 56 | 0x3F800000;
    } else if (how == 3) {
        double x = (double)(int32_t)v / 1024;
        memcpy(&v, &x, sizeof v);
    } else if (how == 4) {
        float x = (float)(int32_t)v * 0x1p-20f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        v = bits | (uint64_t)bits << 32;
    }
    memcpy(to, &v, bytes);
}

static void fill(probe_run *run, size_t rows) {
    uint64_t state = run->seed;
    for (size_t i = 0; i < rows; i++) {
        uint8_t *at = run->in + i * ROW;
        for (size_t w = 0; w < 4; w++) {
            operand(&state, at + 4 * w, 4);
        }
        for (size_t w = 0; w < 4; w++) {
            operand(&state, at + 16 + 8 * w, 8);
        }
    }
}

void probe_lanes(probe_run *run) {
    static const char *const store[] = {[RESULT_32] = "st.global.u32 [to], r0;",
                                        [RESULT_64] = "st.global.u64 [to], d0;"};
    size_t grid = (run->rows + THREADS - 1) / THREADS;
    grid = grid * THREADS * ROW > PROBE_IN ? PROBE_IN / (THREADS * ROW) : grid;
    fill(run, grid * THREADS);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!probe_wanted(run, lines[i].name)) {
            continue;
        }
        char text[sizeof prologue + 2048];
        snprintf(text, sizeof text, "%s %s\n %s\n ret;\n}\n", prologue, lines[i].ptx, store[lines[i].kind]);
        probe_compare(run, &(probe){.name = lines[i].name,
                                    .ptx = text,
                                    .kernel = "k",
                                    .launch = {.grid = (uint32_t)grid, .block = THREADS},
                                    .in_bytes = grid * THREADS * ROW,
                                    .out_bytes = grid * THREADS * 8,
                                    .row_bytes = 8,
                                    .from_bytes = ROW});
    }
}
