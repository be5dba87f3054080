// Matrix instructions of sm_90a: wgmma with both operands in shared memory, and mma.sync. Operands are random
// codes in three styles; where they lie does not matter, as both machines read the same bytes the same way.
// Accumulators are random, not 0.
#include "probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name; // types: wgmma's d.a.b, mma.sync's shape and types
    int bits, exponent; // of an element of A and B, and of its exponent field; 0: integers
    bool half_sum;      // D and C are f16
    int k;              // mma.sync: elements along K
    int ulps;           // known distance: NUMERICS.md
} product;

// --- Operands --------------------------------------------------------------------------------------

typedef enum { ANY_BITS, MODERATE, CANCELLING, N_STYLES } style;
static const char *const style_names[] = {"any bits", "moderate", "cancelling"};

static uint64_t moderate(const product *p, uint64_t v) { // exponents of the middle third of the range
    if (p->exponent == 0) {
        return v;
    }
    int mantissa = p->bits - 1 - p->exponent;
    uint64_t range = (uint64_t)1 << p->exponent;
    uint64_t e = range / 3 + (v >> 40) % (range / 3 > 20 ? 20 : range / 3);
    uint64_t keep = ((uint64_t)1 << (p->bits - 1)) | (((uint64_t)1 << mantissa) - 1);
    return (v & keep) | e << mantissa;
}

// Neighbours along K: x, y, and for CANCELLING y = -x most of the time (B) or y = x (A).
static void elements(const product *p, style s, uint64_t *state, uint8_t *to, size_t bytes, bool negate) {
    size_t elem = (size_t)p->bits / 8;
    uint64_t last = 0;
    for (size_t i = 0; i < bytes / elem; i++) {
        uint64_t v = probe_random(state);
        v = s == ANY_BITS ? v : moderate(p, v);
        if (s == CANCELLING && i % 2 == 1 && probe_random(state) % 16 != 0) {
            v = negate ? last ^ (uint64_t)1 << (p->bits - 1) : last;
        }
        last = v;
        memcpy(to + i * elem, &v, elem);
    }
}

static void sums(const product *p, style s, uint64_t *state, uint8_t *to, size_t bytes) {
    product f32 = {.bits = 32, .exponent = 8}, f16 = {.bits = 16, .exponent = 5};
    elements(p->half_sum ? &f16 : &f32, p->exponent == 0 || s == ANY_BITS ? ANY_BITS : MODERATE, state, to, bytes,
             false);
}

// --- Text ------------------------------------------------------------------------------------------

static void add(char **at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(char **at, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    *at += vsprintf(*at, format, ap);
    va_end(ap);
}

static void list(char **at, char letter, int n) {
    for (int r = 0; r < n; r++) {
        add(at, "%s%c%d", r > 0 ? "," : "{", letter, r);
    }
    add(at, "}");
}

// --- wgmma: m64n256, A and B of 128-byte swizzled K-major tiles, two instructions into one D ----------

enum { WG_N = 256, WG_A = 64 * 128, WG_B = WG_N * 128, WG_TILE = WG_A + WG_B, WG_D = 128 * 128 * 4 };

static char *wgmma_text(const product *p) {
    char *text = malloc(1 << 16), *at = text;
    int n = p->half_sum ? WG_N / 4 : WG_N / 2;
    add(&at, ".version 8.8\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 dyn[];\n"
             ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
             " .reg .pred q; .reg .b32 r<12>; .reg .b64 e<10>; .reg .b32 d<128>;\n"
             " mov.u32 r1, %%tid.x; mov.u32 r0, %%ctaid.x; ld.param.u64 e1, [in]; ld.param.u64 e2, [out];\n");
    add(&at, " mul.wide.u32 e3, r0, %d; add.u64 e1, e1, e3; mul.wide.u32 e3, r0, %d; add.u64 e2, e2, e3;\n",
        WG_TILE + WG_D, WG_D);
    add(&at, " mov.u32 r2, dyn; shl.b32 r3, r1, 4; add.u32 r4, r2, r3; cvt.u64.u32 e3, r3; add.u64 e4, e1, e3;\n"
             " mov.u32 r5, 0;\n"
             "C: ld.global.v4.u32 {r6, r7, r8, r9}, [e4]; st.shared.v4.u32 [r4], {r6, r7, r8, r9};\n"
             " add.u64 e4, e4, 2048; add.u32 r4, r4, 2048; add.u32 r5, r5, 2048; setp.lt.u32 q, r5, %d; @q bra C;\n"
             " fence.proxy.async.shared::cta; bar.sync 0;\n"
             " mul.wide.u32 e5, r1, 512; add.u64 e6, e1, e5; add.u64 e2, e2, e5;\n",
        WG_TILE);
    for (int r = 0; r < n; r++) {
        add(&at, " ld.global.u32 d%d, [e6+%d];\n", r, WG_TILE + 4 * r);
    }
    // Swizzle 128 B, stride of 1024 bytes between groups of 8 rows: PTX ISA "Matrix Descriptor Format".
    unsigned long long descriptor = 1ull << 62 | (unsigned long long)(1024 >> 4) << 32 | 1ull << 16;
    add(&at, " shr.u32 r10, r2, 4; cvt.u64.u32 e7, r10; mov.b64 e8, 0x%llx; add.u64 e8, e8, e7; add.u64 e9, e8, %d;\n"
             " wgmma.fence.sync.aligned;\n",
        descriptor, WG_A >> 4);
    for (int step = 0; step < 2; step++) {
        add(&at, " wgmma.mma_async.sync.aligned.m64n%dk%d.%s ", WG_N, 256 / p->bits, p->name);
        list(&at, 'd', n);
        add(&at, ", e8, e9, 1%s%s;\n", p->exponent > 0 ? ", 1, 1" : "", p->bits == 16 ? ", 0, 0" : "");
        add(&at, " add.u64 e8, e8, 2; add.u64 e9, e9, 2;\n");
    }
    add(&at, " wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n");
    for (int r = 0; r < n; r++) {
        add(&at, " st.global.u32 [e2+%d], d%d;\n", 4 * r, r);
    }
    add(&at, " ret;\n}\n");
    return text;
}

static void probe_wgmma(probe_run *run, const product *p, style s) {
    char name[96];
    snprintf(name, sizeof name, "wgmma.m64n256.%s, %s", p->name, style_names[s]);
    if (!probe_wanted(run, name)) {
        return;
    }
    size_t grid = (run->rows + 64 * WG_N - 1) / (64 * WG_N);
    size_t each = WG_TILE + WG_D;
    uint64_t state = run->seed + (uint64_t)s;
    for (size_t i = 0; i < grid; i++) {
        uint8_t *at = run->in + i * each;
        elements(p, s, &state, at, WG_A, false);
        elements(p, s, &state, at + WG_A, WG_B, true);
        sums(p, s, &state, at + WG_TILE, WG_D);
    }
    char *text = wgmma_text(p);
    probe_compare(run, &(probe){.name = name,
                                .ptx = text,
                                .kernel = "k",
                                .launch = {.grid = (uint32_t)grid, .block = 128, .smem = WG_TILE},
                                .in_bytes = grid * each,
                                .out_bytes = grid * WG_D,
                                .row_bytes = 4});
    free(text);
}

// --- mma.sync: registers of 32 lanes, 64 bytes each ---------------------------------------------------

static char *mma_text(const product *p) {
    char *text = malloc(1 << 14), *at = text;
    int b_regs = p->k * p->bits / 128, a_regs = 2 * b_regs, c_regs = p->half_sum ? 2 : 4;
    add(&at, ".version 8.8\n.target sm_90a\n.address_size 64\n"
             ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
             " .reg .b32 r<4>, a<4>, b<4>, c<4>; .reg .b64 e<4>;\n"
             " mov.u32 r0, %%ctaid.x; mov.u32 r1, %%tid.x; mov.u32 r2, %%ntid.x; mad.lo.u32 r0, r0, r2, r1;\n"
             " ld.param.u64 e0, [in]; ld.param.u64 e1, [out]; mul.wide.u32 e2, r0, 48; add.u64 e0, e0, e2;\n"
             " mul.wide.u32 e2, r0, 16; add.u64 e1, e1, e2;\n"
             " ld.global.v4.u32 {a0, a1, a2, a3}, [e0]; ld.global.v4.u32 {b0, b1, b2, b3}, [e0+16];\n"
             " ld.global.v4.u32 {c0, c1, c2, c3}, [e0+32];\n mma.sync.aligned.%s ",
        p->name);
    list(&at, 'c', c_regs);
    add(&at, ", ");
    list(&at, 'a', a_regs);
    add(&at, ", ");
    list(&at, 'b', b_regs);
    add(&at, ", ");
    list(&at, 'c', c_regs);
    add(&at, ";\n st.global.v4.u32 [e1], {c0, c1, c2, c3};\n ret;\n}\n");
    return text;
}

static void probe_mma(probe_run *run, const product *p, style s) {
    char name[96];
    snprintf(name, sizeof name, "mma.sync.%s, %s", p->name, style_names[s]);
    if (!probe_wanted(run, name)) {
        return;
    }
    size_t threads = (run->rows / 4 + 127) / 128 * 128;
    uint64_t state = run->seed + (uint64_t)s;
    for (size_t i = 0; i < threads; i++) {
        elements(p, s, &state, run->in + i * 48, 16, false);
        elements(p, s, &state, run->in + i * 48 + 16, 16, true);
        sums(p, s, &state, run->in + i * 48 + 32, 16);
    }
    char *text = mma_text(p);
    probe_compare(run, &(probe){.name = name,
                                .ptx = text,
                                .kernel = "k",
                                .launch = {.grid = (uint32_t)(threads / 128), .block = 128},
                                .in_bytes = threads * 48,
                                .out_bytes = threads * 16,
                                .row_bytes = 4,
                                .ulps = p->ulps});
    free(text);
}

void probe_dot(probe_run *run) {
    static const product wide[] = {
        {"f32.e4m3.e4m3", 8, 4, false, 0, 0}, {"f32.e4m3.e5m2", 8, 4, false, 0, 0}, {"f32.e5m2.e4m3", 8, 5, false, 0, 0},
        {"f32.e5m2.e5m2", 8, 5, false, 0, 0}, {"f16.e4m3.e4m3", 8, 4, true, 0, 0},  {"f32.bf16.bf16", 16, 8, false, 0, 0},
        {"f32.f16.f16", 16, 5, false, 0, 0},  {"f16.f16.f16", 16, 5, true, 0, 0},   {"f32.tf32.tf32", 32, 8, false, 0, 0},
        {"s32.s8.s8", 8, 0, false, 0, 0},     {"s32.u8.s8", 8, 0, false, 0, 0},
    };
    static const product warp[] = {
        {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 8, false, 16, 0}, {"m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, false, 8, 0},
        {"m16n8k16.row.col.f32.f16.f16.f32", 16, 5, false, 16, 0},   {"m16n8k16.row.col.f16.f16.f16.f16", 16, 5, true, 16, 0},
        {"m16n8k8.row.col.f32.tf32.tf32.f32", 32, 8, false, 8, 0},   {"m16n8k4.row.col.f32.tf32.tf32.f32", 32, 8, false, 4, 0},
        {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 8, 4, false, 32, 0},  {"m16n8k32.row.col.f32.e5m2.e4m3.f32", 8, 5, false, 32, 1},
        {"m16n8k32.row.col.f16.e4m3.e4m3.f16", 8, 4, true, 32, 0},   {"m16n8k16.row.col.f32.e4m3.e4m3.f32", 8, 4, false, 16, 0},
        {"m16n8k32.row.col.s32.s8.s8.s32", 8, 0, false, 32, 0},      {"m16n8k32.row.col.satfinite.s32.s8.u8.s32", 8, 0, false, 32, 0},
    };
    for (style s = 0; s < N_STYLES; s++) {
        for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
            probe_wgmma(run, &wide[i], s);
        }
        for (size_t i = 0; i < sizeof warp / sizeof *warp; i++) {
            probe_mma(run, &warp[i], s);
        }
    }
}
