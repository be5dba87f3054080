// wgmma in whole programs: shared memory and register operands, every type pair, every swizzle,
// both majors, chains of accumulations in groups, against a plain triple loop that knows the
// element positions of PTX ISA "Asynchronous Warpgroup Level Matrix Shared Memory Layout" and
// "Register Fragments"; also what the reader and the machine refuse.
#include "core_util.h"
#include "num_ref.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 3 }; // instructions that accumulate into one D
struct wcase {
    const char *name; // of the types: d, a, b
    enum num_fmt d, a, b;
    int n;
    int swizzle; // bytes of a row: 0, 32, 64, 128
    bool mn_a, mn_b, regs, neg_a, neg_b, zero;
};

static uint8_t image[65536]; // shared memory from offset 0 of the dynamic part
static uint32_t code_a[STEPS][64][32], code_b[STEPS][256][32];
static uint32_t first_d[64][256];

static int bytes_of(enum num_fmt f) {
    return num_bits_of(f) / 8;
}

// Where element k of a row lies in one operand of one step: eight rows (K-major) or eight K values
// (MN-major) of one pattern are adjacent, patterns follow one another.
struct layout {
    int swizzle, rows, elem;
    bool mn;
};

static uint32_t strides(const struct layout *l, bool leading) {
    int row = l->swizzle == 0 ? 16 : l->swizzle;
    uint32_t block = (uint32_t)(8 * row); // one 8 x row pattern
    if (!l->mn && l->swizzle == 0) {      // core matrices: K halves adjacent, then rows
        return leading ? block : 2 * block;
    }
    if (!l->mn) {
        return leading ? 16 : block;
    }
    int k_groups = 32 / l->elem / 8;
    if (l->swizzle == 0) { // leading goes along K here
        return leading ? block : block * (uint32_t)k_groups;
    }
    return leading ? block * (uint32_t)k_groups : block;
}

static uint32_t place(const struct layout *l, int row, int k) {
    int width = l->swizzle == 0 ? 16 : l->swizzle;
    uint32_t lead = strides(l, true);
    uint32_t stride = strides(l, false);
    uint32_t at;
    if (!l->mn) {
        int kb = k * l->elem;
        at = (uint32_t)(row / 8) * stride + (uint32_t)(row % 8 * width + kb % width);
        if (l->swizzle == 0) {
            at = (uint32_t)(row / 8) * stride + (uint32_t)(row % 8 * 16 + kb % 16) +
                 (uint32_t)(kb / 16) * lead;
        }
    } else {
        int mb = row * l->elem;
        uint32_t outer = (uint32_t)(mb / width);
        uint32_t group = (uint32_t)(k / 8);
        uint32_t far =
            l->swizzle == 0 ? outer * stride + group * lead : outer * lead + group * stride;
        at = far + (uint32_t)(k % 8 * width + mb % width);
    }
    uint32_t line = at >> 7;
    uint32_t bits = l->swizzle == 128 ? line & 7 : l->swizzle == 64 ? line & 3 : line & 1;
    return l->swizzle == 0 ? at : at ^ bits << 4;
}

static uint64_t descriptor(const struct layout *l, uint32_t offset) {
    static const int modes[] = {[0] = 0, [1] = 3, [2] = 2, [4] = 1};
    uint64_t mode = (uint64_t)modes[l->swizzle / 32];
    return (uint64_t)(offset >> 4) | (uint64_t)(strides(l, true) >> 4) << 16 |
           (uint64_t)(strides(l, false) >> 4) << 32 | mode << 62;
}

// ---- the program --------------------------------------------------------------------------------
static void add(char **at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(char **at, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    *at += vsprintf(*at, format, ap);
    va_end(ap);
}

static void list(char **at, char letter, int n) {
    add(at, "{");
    for (int r = 0; r < n; r++) {
        add(at, "%s%%%c%d", r > 0 ? "," : "", letter, r);
    }
    add(at, "}");
}

static int d_regs(const struct wcase *c) {
    return c->d == NUM_F16 ? c->n / 4 : c->n / 2;
}

// in: image of shared memory, then registers of D [128 threads], then those of A by step
static char *program(const struct wcase *c, uint64_t da, uint64_t db) {
    char *text = malloc(1 << 18);
    char *at = text;
    int n = d_regs(c);
    add(&at,
        ".version 8.8\n.target sm_90a\n.address_size 64\n"
        ".extern .shared .align 1024 .b8 dyn[];\n"
        ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
        " .reg .pred p<4>; .reg .b32 r<16>; .reg .b64 e<16>; .reg .b32 %%d<128>; "
        ".reg .b32 %%a<%d>;\n",
        4 * STEPS);
    add(&at, " mov.u32 r1, %%tid.x; ld.param.u64 e1, [in]; ld.param.u64 e2, [out];\n"
             " mov.u32 r2, dyn; shl.b32 r3, r1, 4; add.u32 r4, r2, r3; cvt.u64.u32 e3, r3; "
             "add.u64 e4, e1, e3; mov.u32 r5, 0;\n"
             "C: ld.global.v4.u32 {r6, r7, r8, r9}, [e4]; st.shared.v4.u32 [r4], {r6, r7, r8, "
             "r9};\n"
             " add.u64 e4, e4, 2048; add.u32 r4, r4, 2048; add.u32 r5, r5, 2048; setp.lt.u32 p1, "
             "r5, 65536; @p1 bra C;\n"
             " fence.proxy.async.shared::cta; bar.sync 0;\n"
             " mul.wide.u32 e5, r1, 512; add.u64 e6, e1, e5; add.u64 e2, e2, e5;\n");
    for (int r = 0; r < n; r++) {
        add(&at, " ld.global.u32 %%d%d, [e6+%d];\n", r, 65536 + 4 * r);
    }
    for (int r = 0; r < 4 * STEPS && c->regs; r++) {
        add(&at, " ld.global.u32 %%a%d, [e6+%d];\n", r, 65536 + 65536 + 4 * r);
    }
    add(&at,
        " shr.u32 r10, r2, 4; cvt.u64.u32 e7, r10; mov.b64 e8, 0x%llx; add.u64 e8, e8, e7;\n"
        " mov.b64 e9, 0x%llx; add.u64 e9, e9, e7; setp.ne.u32 p2, r1, r1;\n"
        " wgmma.fence.sync.aligned;\n",
        (unsigned long long)da, (unsigned long long)db);
    bool wide = num_bits_of(c->a) == 16;
    for (int s = 0; s < STEPS; s++) {
        add(&at, " wgmma.mma_async.sync.aligned.m64n%dk%d.%s ", c->n, 256 / num_bits_of(c->a),
            c->name);
        list(&at, 'd', n);
        if (c->regs) {
            add(&at, ", {%%a%d,%%a%d,%%a%d,%%a%d}", 4 * s, 4 * s + 1, 4 * s + 2, 4 * s + 3);
        } else {
            add(&at, ", e8");
        }
        add(&at, ", e9, %s", s > 0 || !c->zero ? "1" : "p2");
        if (c->d != NUM_I32) {
            add(&at, ", %d, %d", c->neg_a ? -1 : 1, c->neg_b ? -1 : 1);
        }
        if (wide && !c->regs) {
            add(&at, ", %d", c->mn_a);
        }
        if (wide) {
            add(&at, ", %d", c->mn_b);
        }
        add(&at, "; wgmma.commit_group.sync.aligned;\n");
        if (s == 1) {
            add(&at, " wgmma.wait_group.sync.aligned 1;\n");
        }
    }
    add(&at, " wgmma.wait_group.sync.aligned 0;\n");
    for (int r = 0; r < n; r++) {
        add(&at, " st.global.u32 [e2+%d], %%d%d;\n", 4 * r, r);
    }
    add(&at, " ret;\n}\n");
    return text;
}

// ---- the reference ------------------------------------------------------------------------------
static uint32_t integer_dot(const struct wcase *c, const uint32_t *a, const uint32_t *b,
                            uint32_t acc) {
    for (int k = 0; k < 32; k++) {
        int32_t x = c->a == NUM_S8 ? (int8_t)a[k] : (uint8_t)a[k];
        int32_t y = c->b == NUM_S8 ? (int8_t)b[k] : (uint8_t)b[k];
        acc += (uint32_t)(x * y);
    }
    return acc;
}

static uint32_t step_dot(const struct wcase *c, const uint32_t *a, const uint32_t *b,
                         uint32_t acc) {
    if (c->d == NUM_I32) {
        return integer_dot(c, a, b, acc);
    }
    bool fp8 = num_bits_of(c->a) == 8;
    int k = 256 / num_bits_of(c->a);
    uint32_t x[32];
    uint32_t y[32];
    for (int i = 0; i < k; i++) {
        x[i] = a[i] ^ (c->neg_a ? 1u << (num_bits_of(c->a) - 1) : 0);
        y[i] = b[i] ^ (c->neg_b ? 1u << (num_bits_of(c->b) - 1) : 0);
    }
    struct ref_dot p = {.a = c->a, .b = c->b, .k = k, .frac = fp8 ? 13 : 25, .floor = -133};
    p.out = c->d == NUM_F16 ? NUM_OUT_F16 : fp8 ? NUM_OUT_E8M13 : NUM_OUT_F32;
    return ref_tfdpa(&p, x, y, acc);
}

// Register r of D of warp w holds row 16w + lane/4 (+ 8), columns 8 j + 2 (lane % 4) (+ 1): PTX ISA
// "Register Fragments for wgmma.mma_async.m64nNk...".
static uint32_t *d_word(const struct wcase *c, uint32_t *all, int row, int col) {
    int lane = row % 8 * 4 + col % 8 / 2;
    uint32_t *mine = all + (row / 16 * 32 + lane) * 128;
    int upper = row % 16 / 8;
    return c->d == NUM_F16 ? &mine[col / 8 * 2 + upper] : &mine[col / 8 * 4 + upper * 2 + col % 2];
}

static uint32_t d_get(const struct wcase *c, uint32_t *all, int row, int col) {
    uint32_t v = *d_word(c, all, row, col);
    return c->d != NUM_F16 ? v : col % 2 ? v >> 16 : v & 0xFFFF;
}

static void lay(const struct wcase *c, const struct layout *l, uint32_t offset, bool is_a) {
    enum num_fmt f = is_a ? c->a : c->b;
    int k = 256 / num_bits_of(f);
    for (int row = 0; row < l->rows; row++) {
        for (int n = 0; n < k; n++) {
            uint32_t at = offset + place(l, row, n);
            assert_true(at + (uint32_t)l->elem <= sizeof image);
            memcpy(image + at, is_a ? code_a[0][row] + n : code_b[0][row] + n, (size_t)l->elem);
        }
    }
}

static void draw(const struct wcase *c, struct ref_random *r) {
    int k = 256 / num_bits_of(c->a);
    enum ref_style style = c->d == NUM_I32 ? REF_BITS : REF_MILD;
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < 256; i++) {
            if (i < 64) {
                ref_row(r, c->a, i % 7 ? style : REF_BITS, k, code_a[s][i]);
            }
            ref_row(r, c->b, i % 5 ? style : REF_TINY, k, code_b[s][i]);
        }
    }
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < 256; j++) {
            first_d[i][j] = c->d == NUM_F16 ? ref_u32(r) & 0xBFFF : ref_f32(r);
        }
    }
}

// Registers of A: element k of row 16w + lane/4 + 8 h lies in register h + 2 (kb / 16), lane
// kb/4%4.
static void put_a(const struct wcase *c, uint32_t *all, int s) {
    int k = 256 / num_bits_of(c->a);
    int elem = bytes_of(c->a);
    for (int row = 0; row < 64; row++) {
        for (int n = 0; n < k; n++) {
            int kb = n * elem;
            uint32_t *mine = all + (row / 16 * 32 + row % 8 * 4 + kb / 4 % 4) * 128;
            memcpy((uint8_t *)&mine[4 * s + row % 16 / 8 + kb / 16 * 2] + kb % 4,
                   &code_a[s][row][n], (size_t)elem);
        }
    }
}

static void check(const struct wcase *c, uint32_t seed) {
    static struct {
        uint8_t image[65536];
        uint32_t d[128 * 128], a[128 * 128];
    } in;
    static uint32_t out[128 * 128];
    struct ref_random r = {seed};
    struct layout la = {c->swizzle, 64, bytes_of(c->a), c->mn_a};
    struct layout lb = {c->swizzle, c->n, bytes_of(c->b), c->mn_b};
    draw(c, &r);
    memset(image, 0x55, sizeof image);
    // all steps read the same operands from shared memory unless A is in registers
    memcpy(code_b[1], code_b[0], sizeof code_b[0]);
    memcpy(code_b[2], code_b[0], sizeof code_b[0]);
    if (!c->regs) {
        memcpy(code_a[1], code_a[0], sizeof code_a[0]);
        memcpy(code_a[2], code_a[0], sizeof code_a[0]);
        lay(c, &la, 0, true);
    }
    lay(c, &lb, 16384, false);
    memcpy(in.image, image, sizeof image);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < c->n; j++) {
            uint32_t *word = d_word(c, in.d, i, j);
            *word = c->d != NUM_F16 ? first_d[i][j]
                    : j % 2         ? (*word & 0xFFFF) | first_d[i][j] << 16
                                    : (*word & ~0xFFFFu) | first_d[i][j];
        }
    }
    for (int s = 0; s < STEPS; s++) {
        put_a(c, in.a, s);
    }
    char *text = program(c, descriptor(&la, 0), descriptor(&lb, 16384));
    run_all(text, &(struct io){.in = &in,
                               .in_bytes = sizeof in,
                               .out = out,
                               .out_bytes = sizeof out,
                               .threads = 128,
                               .grid = 1,
                               .smem = 65536});
    free(text);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < c->n; j++) {
            uint32_t acc = c->zero ? 0 : first_d[i][j];
            for (int s = 0; s < STEPS; s++) {
                acc = step_dot(c, code_a[s][i], code_b[s][j], acc);
            }
            uint32_t got = d_get(c, out, i, j);
            if (got != acc) {
                fail_msg("%s n%d swizzle %d (%d,%d): %08x, not %08x", c->name, c->n, c->swizzle, i,
                         j, got, acc);
            }
        }
    }
}

static void k_major(void **state) {
    (void)state;
    static const struct wcase list[] = {
        {"f32.e4m3.e4m3", NUM_F32, NUM_E4M3, NUM_E4M3, 64, .swizzle = 128, .neg_b = true},
        {"f32.e4m3.e5m2", NUM_F32, NUM_E4M3, NUM_E5M2, 136, .swizzle = 64, .zero = true},
        {"f32.e5m2.e4m3", NUM_F32, NUM_E5M2, NUM_E4M3, 24, .swizzle = 32},
        {"f16.e5m2.e5m2", NUM_F16, NUM_E5M2, NUM_E5M2, 48, .swizzle = 0, .neg_a = true},
        {"f32.bf16.bf16", NUM_F32, NUM_BF16, NUM_BF16, 256, .swizzle = 128},
        {"f32.f16.f16", NUM_F32, NUM_F16, NUM_F16, 8, .swizzle = 0, .neg_a = true, .neg_b = true},
        {"f16.f16.f16", NUM_F16, NUM_F16, NUM_F16, 80, .swizzle = 64},
        {"f32.tf32.tf32", NUM_F32, NUM_TF32, NUM_TF32, 40, .swizzle = 32},
        {"s32.s8.s8", NUM_I32, NUM_S8, NUM_S8, 16, .swizzle = 128},
        {"s32.u8.s8", NUM_I32, NUM_U8, NUM_S8, 96, .swizzle = 0},
    };
    for (uint32_t n = 0; n < sizeof list / sizeof *list; n++) {
        check(&list[n], n);
    }
}

static void mn_major(void **state) {
    (void)state;
    static const int swizzles[] = {0, 32, 64, 128};
    for (uint32_t n = 0; n < 4; n++) {
        check(&(struct wcase){"f32.bf16.bf16", NUM_F32, NUM_BF16, NUM_BF16, 64, swizzles[n],
                              .mn_a = true, .mn_b = true},
              100 + n);
        check(&(struct wcase){"f16.f16.f16", NUM_F16, NUM_F16, NUM_F16, 128, swizzles[n],
                              .mn_b = true},
              110 + n);
        check(&(struct wcase){"f32.f16.f16", NUM_F32, NUM_F16, NUM_F16, 64, swizzles[n],
                              .mn_a = true, .zero = true},
              120 + n);
    }
}

static void from_registers(void **state) {
    (void)state;
    static const struct wcase list[] = {
        {"f32.e4m3.e5m2", NUM_F32, NUM_E4M3, NUM_E5M2, 32, .swizzle = 128, .regs = true},
        {"f16.e4m3.e4m3", NUM_F16, NUM_E4M3, NUM_E4M3, 256, .swizzle = 32, .regs = true,
         .neg_a = true},
        {"f32.bf16.bf16", NUM_F32, NUM_BF16, NUM_BF16, 128, .swizzle = 64, .regs = true,
         .mn_b = true},
        {"f32.tf32.tf32", NUM_F32, NUM_TF32, NUM_TF32, 16, .swizzle = 0, .regs = true},
        {"s32.s8.u8", NUM_I32, NUM_S8, NUM_U8, 64, .swizzle = 64, .regs = true},
    };
    for (uint32_t n = 0; n < sizeof list / sizeof *list; n++) {
        check(&list[n], 200 + n);
    }
}

// ---- what is refused ----------------------------------------------------------------------------
#define WG_HEAD                                                                                    \
    ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 out)\n{\n"      \
    " .reg .pred p; .reg .b32 r<16>; .reg .b64 e<4>; mov.b64 e1, 0x4000004000010040;\n"            \
    " mov.u32 r8, %%tid.x; ld.param.u64 e3, [out];\n"
#define MMA8 "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {r0,r1,r2,r3}, e1, e1, 1, 1, 1;"

static int run_text(const char *text, sim_policy policy, uint32_t threads, char *message) {
    sim *s = sim_open(NULL);
    sim_module *m;
    int status = sim_module_load(s, text, strlen(text), &m);
    if (status == SIM_OK) {
        uint64_t out = sim_alloc(s, 4096);
        void *params[] = {&out};
        status = sim_launch(s, sim_kernel_find(m, "k"),
                            &(sim_launch_config){.grid = {1},
                                                 .block = {threads},
                                                 .dynamic_smem = 8192,
                                                 .params = params,
                                                 .policy = policy});
        if (status == SIM_OK) {
            assert_int_equal(sim_copy_from(s, message, out, 4), SIM_OK);
        }
    }
    if (status != SIM_OK) {
        snprintf(message, 400, "%s", sim_last_error(s));
    }
    sim_close(s);
    return status;
}

static void refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.e4m3.e4m3 {r0,r1,r2,r3}, e1, e1, 1, 1, 1;",
        "wgmma.mma_async.sync.aligned.m64n12k32.f32.e4m3.e4m3 {r0,r1,r2,r3}, e1, e1, 1, 1, 1;",
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e2m1 {r0,r1,r2,r3}, e1, e1, 1, 1, 1;",
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {r0,r1,r2}, e1, e1, 1, 1, 1;",
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {r0,r1,r2,r3}, e1, e1, 1, 2, 1;",
        "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {r0,r1,r2,r3}, e1, e1, 1;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r0,r1,r2,r3}, e1, e1, 1, 1, 1, 0;",
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {r0,r1,r2,r3}, e1, e1, 1, 1, 1, 0, 2;",
        "wgmma.mma_async.sync.aligned.m64n8.f32.f16.f16 {r0,r1,r2,r3}, e1, e1, 1, 1, 1, 0, 0;",
        "wgmma.wait_group.sync.aligned r0;",
        "wgmma.wait_group.sync.aligned;",
        "wgmma.sync.aligned;",
    };
    char text[2000];
    char message[400];
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        snprintf(text, sizeof text, WG_HEAD "%s ret;\n}\n", bad[n]);
        assert_int_equal(run_text(text, SIM_EAGER, 128, message), SIM_ERROR_PTX);
        if (strstr(message, "wgmma") == NULL) {
            fail_msg("%s", message);
        }
    }
    snprintf(text, sizeof text, WG_HEAD "%s ret;\n}\n", MMA8);
    memcpy(strstr(text, "sm_90a"), "sm_90 ", 6);
    assert_int_equal(run_text(text, SIM_EAGER, 128, message), SIM_ERROR_PTX);
}

// Faults: half a warpgroup, differing warps, a missing wait, an exit with work in flight.
static void misused(void **state) {
    (void)state;
    char text[2000];
    char message[400];
    snprintf(text, sizeof text, WG_HEAD MMA8 " ret;\n}\n");
    assert_int_equal(run_text(text, SIM_EAGER, 64, message), SIM_ERROR_FAULT);
    assert_non_null(strstr(message, "warpgroup"));
    snprintf(text, sizeof text,
             WG_HEAD "setp.lt.u32 p, r8, 32; @p add.u64 e1, e1, 2; " MMA8 " ret;\n}\n");
    assert_int_equal(run_text(text, SIM_LAZY, 128, message), SIM_ERROR_FAULT);
    assert_non_null(strstr(message, "differ"));
    snprintf(text, sizeof text, WG_HEAD MMA8 " wgmma.commit_group.sync.aligned; ret;\n}\n");
    assert_int_equal(run_text(text, SIM_LAZY, 128, message), SIM_ERROR_FAULT);
    snprintf(text, sizeof text,
             WG_HEAD "setp.ge.u32 p, r8, 96; @p bra W; " MMA8 "\n wgmma.commit_group.sync.aligned; "
                     "wgmma.wait_group.sync.aligned 0;\nW: bar.sync 0; ret;\n}\n");
    assert_int_equal(run_text(text, SIM_EAGER, 128, message), SIM_ERROR_DEADLOCK);
    assert_non_null(strstr(message, "wgmma"));
}

// ptxas waits where D is read before wait_group; so do we, whoever of the four warps comes first,
// and whether the group has been committed or not.
static void read_early(void **state) {
    (void)state;
    static const char *const reads[] = {"mov.u32 r9, r0;", "add.u32 r9, r0, 0;",
                                        "mov.b64 e2, {r1, r0}; shr.u64 e2, e2, 32;\n"
                                        "cvt.u32.u64 r9, e2;"};
    static const char *const commit[] = {"wgmma.commit_group.sync.aligned;", ""};
    static const sim_policy policies[] = {SIM_EAGER, SIM_LAZY, SIM_RANDOM};
    for (int n = 0; n < 36; n++) {
        char text[2000];
        char message[400];
        uint32_t got;
        snprintf(text, sizeof text,
                 WG_HEAD "shl.b32 r10, r8, 2; mov.b32 r11, 0x38383838; st.shared.b32 [r10+1024], r11;\n"
                         " fence.proxy.async.shared::cta; bar.sync 0; wgmma.fence.sync.aligned;\n"
                         " mov.b32 r0, 0x40e00000; mov.u32 r1, r0; mov.u32 r2, r0; mov.u32 r3, r0;\n" MMA8
                         "\n %s %s setp.eq.u32 p, r8, %d; @p st.global.u32 [e3], r9;\n"
                         " wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n"
                         " @!p bra E; sub.u32 r9, r9, r0; add.u32 r9, r9, 5;\n"
                         " st.global.u32 [e3], r9;\nE: ret;\n}\n",
                 commit[n / 18], reads[n % 3], n % 2 == 0 ? 5 : 127);
        assert_int_equal(run_text(text, policies[n / 3 % 3], 128, message), SIM_OK);
        memcpy(&got, message, 4);
        assert_int_equal(got, 5); // what was read is what is there after the wait
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(k_major), cmocka_unit_test(mn_major), cmocka_unit_test(from_registers),
        cmocka_unit_test(refused), cmocka_unit_test(misused),
        cmocka_unit_test(read_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
