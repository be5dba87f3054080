// Warp and warpgroup matrix instructions: mma.sync and wgmma with random fragments against a plain
// loop, using the element maps of the manual; ldmatrix, stmatrix, movmatrix; cluster launch
// control.
#include "num_ref.h"
#include "units.h"
#include <stdlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

static struct ref_random r = {555};
static uint32_t fa[4][32], fb[4][32], fmeta[32], fc[4][32], fd[4][32], fsa[32], fsb[32];
static uint32_t a[16][64], b[8][64]; // codes
static uint32_t wide[8][128];         // of B beside a sparse A
static int place[16][32];             // in B of what a sparse A holds, in units of 1 or 2 bytes
static uint8_t sa[16][4], sb[8][4];

struct unit_sparse_case {
    int unit, bytes, selector;
    bool tf32, packed;
};

// ---- mma.sync ---------------------------------------------------------------------------------

static int elem_bits(const struct unit_msync *op, enum num_fmt f) {
    return op->k == 64 ? 4 : num_bits_of(f) < 8 ? 8 : num_bits_of(f);
}

// Container of a code: kind::f8f6f4 puts e2m1 in bits 5..2 of a byte.
static uint32_t contained(const struct unit_msync *op, enum num_fmt f, uint32_t code) {
    return op->k == 32 && f == NUM_E2M1 ? code << 2 : code;
}

// A: register r, element j: row g + 8*(r&1), k = per*q + j + 4*per*(r>>1), per = elements a
// register.
static void build_fragments(const struct unit_msync *op) {
    int bits_a = elem_bits(op, op->a);
    int per = 32 / bits_a;
    memset(fa, 0, sizeof fa);
    memset(fb, 0, sizeof fb);
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4;
        int q = lane % 4;
        for (int reg = 0; reg < 4; reg++) {
            for (int j = 0; j < per && per * q + j + 4 * per * (reg >> 1) < op->k; j++) {
                uint32_t code = a[g + 8 * (reg & 1)][per * q + j + 4 * per * (reg >> 1)];
                fa[reg][lane] |= contained(op, op->a, code) << bits_a * j;
            }
        }
        int k = op->sparse ? 2 * op->k : op->k;
        for (int reg = 0; reg < 4; reg++) {
            for (int j = 0; j < per && per * q + j + 4 * per * reg < k; j++) {
                const uint32_t *from = op->sparse ? wide[g] : b[g];
                fb[reg][lane] |= contained(op, op->b, from[per * q + j + 4 * per * reg])
                                 << bits_a * j;
            }
        }
    }
}

static void build_scales(const struct unit_msync *op) {
    int bytes = op->k / op->block;
    for (int lane = 0; lane < 32; lane++) { // what is not selected is garbage
        fsa[lane] = ref_u32(&r);
        fsb[lane] = ref_u32(&r);
    }
    for (int i = 0; i < 16; i++) {
        int lane = 4 * (i % 8) + 2 * op->thread_a + i / 8;
        uint8_t *word = (uint8_t *)&fsa[lane];
        for (int j = 0; j < bytes; j++) {
            uint32_t code = ref_below(&r, 40) ? 0x30 + ref_below(&r, 40) : ref_u32(&r) & 0xFF;
            sa[i][j] = word[op->byte_a + j] = (uint8_t)(op->scale == NUM_UE8M0 ? code + 80 : code);
        }
    }
    for (int i = 0; i < 8; i++) {
        uint8_t *word = (uint8_t *)&fsb[4 * i + op->thread_b];
        for (int j = 0; j < bytes; j++) {
            uint32_t code = ref_below(&r, 40) ? 0x30 + ref_below(&r, 40) : ref_u32(&r) & 0xFF;
            sb[i][j] = word[op->byte_b + j] = (uint8_t)(op->scale == NUM_UE8M0 ? code + 80 : code);
        }
    }
}

// Where the 4 bits of units n and n + 1 of row i lie (the figures of the manual, "Sparse MMA ... metadata layout").
// Bytes: of rows g and g + 8 in lanes 4g + 2h and 4g + 2h + 1, half h of K. Two bytes: of half h in lane 4g + 2s + h,
// rows g and g + 8 in its halves. K of 16 bytes is one half: h is the selector there, or the selector the lane.
static uint32_t *metadata_bits(const struct unit_sparse_case *c, int i, int n, int *shift) {
    int lane = 4 * (i % 8);
    if (c->unit == 1) {
        *shift = 2 * (n % 16);
        return &fmeta[lane + 2 * (c->bytes == 32 ? n / 16 : c->selector) + i / 8];
    }
    *shift = 16 * (i / 8) + 2 * (n % 8);
    return &fmeta[lane + (c->bytes == 32 ? 2 * c->selector + n / 8 : c->selector)];
}

// Two of every four units, in order; of TF32 one element, which is the first or the last two. What is not selected
// is garbage.
static void build_metadata(const struct unit_sparse_case *c) {
    static const int pairs[6][2] = {{0, 1}, {2, 3}, {0, 2}, {0, 3}, {1, 2}, {1, 3}};
    for (int lane = 0; lane < 32; lane++) {
        fmeta[lane] = ref_u32(&r);
    }
    for (int i = 0; i < 16; i++) {
        for (int n = 0; n < c->bytes / c->unit; n += 2) {
            const int *pair = pairs[ref_below(&r, c->tf32 ? 2 : 6)];
            int shift;
            uint32_t *word = metadata_bits(c, i, n, &shift);
            *word = (*word & ~(15u << shift)) | (uint32_t)(pair[0] | pair[1] << 2) << shift;
            place[i][n] = 2 * n + pair[0];
            place[i][n + 1] = 2 * n + pair[1];
        }
    }
}

// The element of B that meets element k of row 'row', when a byte (unit 1) or two hold 'each' elements.
static int partner(const struct unit_sparse_case *c, int row, int k) {
    if (c->tf32) {
        return place[row][2 * k] / 2;
    }
    int each = c->packed ? 2 : 1;
    return each * place[row][k / each] + k % each;
}

static struct unit_sparse_case sparse_case(const struct unit_msync *op) {
    int bits = elem_bits(op, op->a);
    return (struct unit_sparse_case){.unit = bits > 8 ? 2 : 1,
                                     .bytes = op->k * bits / 8,
                                     .selector = op->selector,
                                     .tf32 = bits == 32,
                                     .packed = bits == 4};
}

static void choose(const struct unit_msync *op, int row) {
    struct unit_sparse_case c = sparse_case(op);
    for (int n = 0; n < 8; n++) {
        for (int k = 0; k < op->k; k++) {
            b[n][k] = wide[n][partner(&c, row, k)];
        }
    }
}

// The emulated FP8 instruction: two 16-product steps, C last.
static uint32_t legacy(const struct unit_msync *op, int row, int n, uint32_t c) {
    struct ref_dot p = {op->a,
                        op->b,
                        16,
                        25,
                        op->d == NUM_F16 ? -22 : -133,
                        op->d == NUM_F16 ? NUM_OUT_F16 : NUM_OUT_F32,
                        0};
    uint32_t sum = 0;
    for (int part = 0; part < 2; part++) {
        uint32_t x[16];
        uint32_t y[16];
        int count = 0;
        for (int k = 0; k < 32; k++) {
            if (k / 2 % 2 == part) {
                x[count] = a[row][k];
                y[count++] = b[n][k];
            }
        }
        sum = ref_tfdpa(&p, x, y, sum);
    }
    if (op->d == NUM_F16) {
        double exact = ref_value(NUM_F16, sum) + ref_value(NUM_F16, c);
        return exact != exact ? 0x7FFF : num_encode(NUM_F16, (float)exact, NUM_RN, false);
    }
    float s = num_f32(sum) + num_f32(c);
    return s != s ? NUM_NAN_F32 : num_bits(s);
}

static uint32_t expected(const struct unit_msync *op, int row, int n, uint32_t c) {
    if (op->k == 64) {
        return ref_gst(op->scale, op->block, a[row], b[n], c, sa[row], sb[n]);
    }
    if (op->kind == UNIT_KIND_I8) {
        int64_t sum = (int32_t)c;
        for (int k = 0; k < op->k; k++) {
            int64_t x = op->a == NUM_S8 ? (int8_t)a[row][k] : (int64_t)a[row][k];
            int64_t y = op->b == NUM_S8 ? (int8_t)b[n][k] : (int64_t)b[n][k];
            sum += x * y;
        }
        if (op->saturate) {
            sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
        }
        return (uint32_t)sum;
    }
    if (op->no_kind && !op->native_fp8) {
        return legacy(op, row, n, c);
    }
    struct ref_dot p = {op->a, op->b, op->k, 25, -133, NUM_OUT_F32, 0};
    if (op->d == NUM_F16) {
        p.out = NUM_OUT_F16;
        p.floor = -22;
    }
    if (op->block) {
        if (sa[row][0] == 255 || sb[n][0] == 255) {
            return NUM_NAN_F32;
        }
        p.scale = sa[row][0] + sb[n][0] - 254;
    }
    return ref_tfdpa(&p, a[row], b[n], c);
}

// C and D: register i: (g + 8*(i>>1), 2q + (i&1)); f16: two columns a register.
static uint32_t element(const struct unit_msync *op, uint32_t (*regs)[32], int row, int n) {
    int lane = 4 * (row % 8) + n / 2;
    if (op->d == NUM_F16) {
        return regs[row / 8][lane] >> 16 * (n % 2) & 0xFFFF;
    }
    return regs[2 * (row / 8) + n % 2][lane];
}

static enum unit_status execute(const struct unit_msync *op) {
    struct unit_msync_regs regs = {.d = (uint32_t *[]){fd[0], fd[1], fd[2], fd[3]},
                                   .a = (const uint32_t *[]){fa[0], fa[1], fa[2], fa[3]},
                                   .b = (const uint32_t *[]){fb[0], fb[1], fb[2], fb[3]},
                                   .c = (const uint32_t *[]){fc[0], fc[1], fc[2], fc[3]},
                                   .sfa = op->block ? fsa : NULL,
                                   .sfb = op->block ? fsb : NULL,
                                   .meta = op->sparse ? fmeta : NULL};
    return unit_msync(op, &regs);
}

static void check_msync(const struct unit_msync *op) {
    for (int round = 0; round < 12; round++) {
        bool integer = op->kind == UNIT_KIND_I8;
        for (int i = 0; i < 24; i++) {
            enum ref_style style = integer ? REF_BITS : (enum ref_style)ref_below(&r, REF_STYLES);
            ref_row(&r, i < 16 ? op->a : op->b, style, op->k, i < 16 ? a[i] : b[i - 16]);
        }
        for (int i = 0; i < 128; i++) {
            fc[i / 32][i % 32] = op->d == NUM_F16 || integer ? ref_u32(&r) : ref_f32(&r);
        }
        for (int n = 0; n < 8 && op->sparse; n++) {
            ref_row(&r, op->b, integer ? REF_BITS : REF_MILD, 2 * op->k, wide[n]);
        }
        struct unit_sparse_case c = sparse_case(op);
        build_metadata(&c);
        build_fragments(op);
        if (op->block) {
            build_scales(op);
        }
        enum unit_status s = execute(op);
        if (s != UNIT_OK) {
            fail_msg("kind %d k %d types %d %d: %s", op->kind, op->k, op->a, op->b, unit_reason(s));
        }
        for (int row = 0; row < 16; row++) {
            if (op->sparse) {
                choose(op, row);
            }
            for (int n = 0; n < 8; n++) {
                uint32_t want = expected(op, row, n, element(op, fc, row, n));
                uint32_t got = element(op, fd, row, n);
                if (got != want) {
                    fail_msg("kind %d k %d types %d %d block %d: (%d,%d) is %08X, expected %08X",
                             op->kind, op->k, op->a, op->b, op->block, row, n, got, want);
                }
            }
        }
    }
}

static void test_msync_fp4(void **state) {
    (void)state;
    struct unit_msync op = {.kind = UNIT_KIND_MXF4NVF4,
                            .k = 64,
                            .a = NUM_E2M1,
                            .b = NUM_E2M1,
                            .d = NUM_F32,
                            .block = 16,
                            .scale = NUM_UE4M3};
    for (op.thread_a = 0; op.thread_a < 2; op.thread_a++) {
        for (op.thread_b = 0; op.thread_b < 4; op.thread_b++) {
            op.kind = UNIT_KIND_MXF4NVF4;
            op.block = 16;
            op.scale = NUM_UE4M3;
            op.byte_a = op.byte_b = 0;
            check_msync(&op);
            op.block = 32;
            op.scale = NUM_UE8M0;
            op.byte_a = 2;
            check_msync(&op);
            op.kind = UNIT_KIND_MXF4;
            op.byte_b = 2;
            check_msync(&op);
        }
    }
    op.thread_a = 0;
    op.thread_b = 0;
    op.byte_a = 1;
    assert_int_equal(execute(&op), UNIT_IDESC_SF_ID);
    op.byte_a = 0;
    op.scale = NUM_UE4M3;
    assert_int_equal(execute(&op), UNIT_SHAPE);
}

// With both accumulators, and with block scales, which 'selected' tells where to find.
static void check_byte_forms(struct unit_msync op, struct unit_msync selected) {
    check_msync(&op);
    op.d = NUM_F16;
    check_msync(&op);
    op.d = NUM_F32;
    op.kind = UNIT_KIND_MXF8F6F4;
    op.block = 32;
    op.scale = NUM_UE8M0;
    op.byte_a = selected.byte_a;
    op.byte_b = selected.byte_b;
    op.thread_a = selected.thread_a;
    op.thread_b = selected.thread_b;
    check_msync(&op);
}

static void test_msync_bytes(void **state) {
    (void)state;
    for (int x = NUM_E2M1; x <= NUM_E5M2; x++) {
        for (int y = NUM_E2M1; y <= NUM_E5M2; y++) {
            struct unit_msync op = {.kind = UNIT_KIND_F8F6F4,
                                    .k = 32,
                                    .a = (enum num_fmt)x,
                                    .b = (enum num_fmt)y,
                                    .d = NUM_F32};
            check_byte_forms(op, (struct unit_msync){.byte_a = x % 4, .byte_b = y % 4,
                                                     .thread_a = y % 2, .thread_b = x % 4});
        }
    }
    for (int native = 0; native < 2; native++) {
        struct unit_msync op = {.kind = UNIT_KIND_F8F6F4,
                                .k = 32,
                                .a = NUM_E4M3,
                                .b = NUM_E5M2,
                                .d = NUM_F32,
                                .no_kind = true,
                                .native_fp8 = native};
        check_msync(&op);
        op.d = NUM_F16;
        check_msync(&op);
    }
}

static void test_msync_wide(void **state) {
    (void)state;
    struct unit_msync op = {
        .kind = UNIT_KIND_F16, .k = 16, .a = NUM_BF16, .b = NUM_BF16, .d = NUM_F32};
    check_msync(&op);
    op.k = 8;
    check_msync(&op);
    op.a = op.b = NUM_F16;
    check_msync(&op);
    op.k = 16;
    op.d = NUM_F16;
    check_msync(&op);
    op = (struct unit_msync){
        .kind = UNIT_KIND_TF32, .k = 8, .a = NUM_TF32, .b = NUM_TF32, .d = NUM_F32};
    check_msync(&op);
    op.k = 4;
    check_msync(&op);
    op = (struct unit_msync){.kind = UNIT_KIND_I8, .k = 32, .a = NUM_S8, .b = NUM_U8, .d = NUM_I32};
    check_msync(&op);
    op.k = 16;
    op.saturate = true;
    check_msync(&op);
}

static void test_msync_sparse(void **state) {
    (void)state;
    struct unit_msync op = {.kind = UNIT_KIND_MXF4NVF4, .k = 64, .a = NUM_E2M1, .b = NUM_E2M1, .d = NUM_F32,
                            .block = 16, .scale = NUM_UE4M3, .sparse = true};
    check_msync(&op);
    op.block = 32;
    op.scale = NUM_UE8M0;
    op.byte_a = 2;
    check_msync(&op);
    for (int x = NUM_E2M1; x <= NUM_E5M2; x++) {
        op = (struct unit_msync){.kind = UNIT_KIND_F8F6F4, .k = 32, .a = (enum num_fmt)x,
                                 .b = (enum num_fmt)(NUM_E2M1 + (x + 1 - NUM_E2M1) % 5), .d = NUM_F32, .sparse = true};
        check_byte_forms(op, (struct unit_msync){.thread_b = x % 4});
    }
    op = (struct unit_msync){.kind = UNIT_KIND_I8, .k = 32, .a = NUM_S8, .b = NUM_U8, .d = NUM_I32, .sparse = true};
    check_msync(&op);
    op.selector = 1;
    assert_int_equal(execute(&op), UNIT_SHAPE);
    op.k = 16;
    check_msync(&op);
    for (int half = 0; half < 2; half++) {
        for (int selector = 0; selector < (half ? 4 : 2); selector++) {
            op = (struct unit_msync){.kind = UNIT_KIND_F16, .k = half ? 8 : 16, .a = NUM_BF16,
                                     .b = NUM_BF16, .d = NUM_F32, .sparse = true,
                                     .selector = selector};
            check_msync(&op);
            op.a = op.b = op.d = NUM_F16;
            check_msync(&op);
            op.kind = UNIT_KIND_TF32;
            op.k /= 2;
            op.a = op.b = NUM_TF32;
            op.d = NUM_F32;
            check_msync(&op);
        }
    }
    op.selector = 4;
    assert_int_equal(execute(&op), UNIT_SHAPE);
}

// ---- wgmma ------------------------------------------------------------------------------------

#define WG_SMEM 65536
static uint8_t smem[WG_SMEM];
static struct unit_cta cta = {.smem = smem, .smem_bytes = WG_SMEM};
static uint32_t wa[64][32], wb[256][64], wmeta[4][32];
static int wplace[64][32]; // in wb of what a row of wa holds
static uint32_t wregs[4 * 128][32], wold[4 * 128][32];
static uint32_t wareg[16][32];

struct wg_case {
    enum num_fmt a, b, d;
    int n;
    bool a_in_regs, scale_d, neg_a, sparse;
    int selector;
};

static void lay_row(enum num_fmt f, uint8_t *tile, int row, const uint32_t *codes, int n) {
    int bytes = num_bits_of(f) / 8;
    for (int k = 0; k < n; k++) { // 128-byte swizzle, first K step
        int at = k * bytes;
        int chunk = at / 16 ^ row % 8;
        memcpy(tile + 128 * row + 16 * chunk + at % 16, &codes[k], (size_t)bytes);
    }
}

// D register i of warp w: (16w + g + 8*(i>>1&1), 8*(i>>2) + 2q + (i&1)).
static uint32_t wg_element(const struct wg_case *c, uint32_t (*regs)[32], int row, int n) {
    int lane = 4 * (row % 8) + n % 8 / 2;
    int w = row / 16;
    if (c->d == NUM_F16) {
        return regs[w * c->n / 4 + n / 8 * 2 + row % 16 / 8][lane] >> 16 * (n % 2) & 0xFFFF;
    }
    return regs[w * c->n / 2 + n / 8 * 4 + row % 16 / 8 * 2 + n % 2][lane];
}

// Each warp tells where the elements of its 16 rows lie.
static void build_wgmma_metadata(const struct wg_case *c, int k) {
    int bits = num_bits_of(c->a);
    struct unit_sparse_case s = {
        .unit = bits > 8 ? 2 : 1, .bytes = 32, .selector = c->selector, .tf32 = bits == 32};
    for (int w = 0; w < 4; w++) {
        build_metadata(&s);
        memcpy(wmeta[w], fmeta, sizeof fmeta);
        for (int i = 0; i < 16 * k; i++) {
            wplace[16 * w + i / k][i % k] = c->sparse ? partner(&s, i / k, i % k) : i % k;
        }
    }
}

static void check_wgmma(const struct wg_case *c) {
    bool fp8 = num_bits_of(c->a) == 8;
    int k = 32 * 8 / num_bits_of(c->a);
    for (int i = 0; i < 64; i++) {
        ref_row(&r, c->a, i % 5 ? REF_MILD : REF_BITS, k, wa[i]);
        lay_row(c->a, smem, i, wa[i], k);
    }
    for (int i = 0; i < c->n; i++) {
        ref_row(&r, c->b, REF_MILD, c->sparse ? 2 * k : k, wb[i]);
        lay_row(c->b, smem + 16384, i, wb[i], c->sparse ? 2 * k : k);
    }
    int bits = num_bits_of(c->a);
    int per = 32 / bits;
    memset(wareg, 0, sizeof wareg);
    for (int i = 0; i < 16 * 32; i++) {
        int w = i / 128;
        int reg = i / 32 % 4;
        int row = 16 * w + i % 32 / 4 + 8 * (reg & 1);
        for (int j = 0; j < per; j++) {
            uint32_t code = wa[row][per * (i % 4) + j + 4 * per * (reg >> 1)];
            wareg[4 * w + reg][i % 32] |= code << bits * j;
        }
    }
    uint32_t *d[4 * 128];
    const uint32_t *areg[16];
    for (int i = 0; i < 4 * 128; i++) {
        d[i] = wregs[i];
        areg[i % 16] = wareg[i % 16];
        for (int lane = 0; lane < 32; lane++) {
            wregs[i][lane] = c->d == NUM_F16 ? ref_u32(&r) & 0xBFFFBFFF : ref_f32(&r);
        }
    }
    memcpy(wold, wregs, sizeof wold);
    if (c->a_in_regs) {
        memset(smem, 0, 8192);
    }
    struct unit_wgmma op = {.a = c->a,
                            .b = c->b,
                            .d = c->d,
                            .n = c->n,
                            .a_in_regs = c->a_in_regs,
                            .neg_a = c->neg_a,
                            .scale_d = c->scale_d,
                            .sparse = c->sparse,
                            .selector = c->selector,
                            .adesc = 0x40000040ull << 32,
                            .bdesc = 16384 >> 4 | 0x40000040ull << 32};
    const uint32_t *meta[4] = {wmeta[0], wmeta[1], wmeta[2], wmeta[3]};
    struct unit_wgmma_regs regs = {d, areg, meta};
    build_wgmma_metadata(c, k);
    assert_int_equal(unit_wgmma(&op, &cta, &regs), UNIT_OK);
    struct ref_dot p = {c->a, c->b,
                        k,    fp8 ? 13 : 25,
                        -133, c->d == NUM_F16 ? NUM_OUT_F16 : fp8 ? NUM_OUT_E8M13 : NUM_OUT_F32,
                        0};
    for (int row = 0; row < 64; row++) {
        uint32_t codes[32];
        for (int i = 0; i < k; i++) {
            codes[i] = wa[row][i] ^ (c->neg_a ? 1u << (bits - 1) : 0);
        }
        for (int n = 0; n < c->n; n++) {
            uint32_t old = c->scale_d ? wg_element(c, wold, row, n) : 0;
            uint32_t met[32];
            for (int i = 0; i < k; i++) {
                met[i] = wb[n][wplace[row][i]];
            }
            uint32_t want = ref_tfdpa(&p, codes, met, old);
            if (wg_element(c, wregs, row, n) != want) {
                fail_msg("wgmma %d %d n%d: (%d,%d)", c->a, c->b, c->n, row, n);
            }
        }
    }
}

static void test_wgmma(void **state) {
    (void)state;
    static const struct wg_case cases[] = {
        {NUM_E4M3, NUM_E4M3, NUM_F32, 64, false, true, false, false, 0},
        {NUM_E4M3, NUM_E5M2, NUM_F32, 24, true, true, false, false, 0},
        {NUM_E5M2, NUM_E5M2, NUM_F16, 256, false, true, false, false, 0},
        {NUM_BF16, NUM_BF16, NUM_F32, 128, false, true, true, false, 0},
        {NUM_F16, NUM_F16, NUM_F16, 16, true, true, false, false, 0},
        {NUM_F16, NUM_F16, NUM_F32, 8, true, false, false, false, 0},
        {NUM_TF32, NUM_TF32, NUM_F32, 32, false, true, false, false, 0},
        {NUM_E4M3, NUM_E5M2, NUM_F32, 64, false, true, true, true, 0},
        {NUM_E5M2, NUM_E4M3, NUM_F16, 8, true, false, false, true, 0},
        {NUM_BF16, NUM_BF16, NUM_F32, 256, false, true, false, true, 1},
        {NUM_F16, NUM_F16, NUM_F16, 24, true, true, false, true, 0},
        {NUM_TF32, NUM_TF32, NUM_F32, 40, false, true, true, true, 1},
        {NUM_TF32, NUM_TF32, NUM_F32, 16, true, true, false, true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_wgmma(&cases[i]);
    }
    struct unit_wgmma op = {.a = NUM_E4M3, .b = NUM_E4M3, .d = NUM_F32, .n = 12};
    assert_int_equal(unit_wgmma(&op, &cta, NULL), UNIT_SHAPE);
    op.n = 16;
    op.mn_b = true;
    assert_int_equal(unit_wgmma(&op, &cta, NULL), UNIT_DESC_MAJOR);
}

// ---- ldmatrix and friends ---------------------------------------------------------------------

static uint32_t lm_addr[32];
static uint32_t lm_regs[4][32];
static uint32_t *const lm_rows[4] = {lm_regs[0], lm_regs[1], lm_regs[2], lm_regs[3]};

static void scatter_rows(void) {
    for (size_t i = 0; i < sizeof smem; i++) {
        smem[i] = (uint8_t)ref_u32(&r);
    }
    for (uint32_t i = 0; i < 32; i++) {
        lm_addr[i] = 16 * (i * 37 % 256);
    }
}

static uint32_t half_at(uint32_t address) {
    return smem[address] | (uint32_t)smem[address + 1] << 8;
}

static void test_ldmatrix_b16(void **state) {
    (void)state;
    for (int num = 1; num <= 4; num *= 2) {
        for (int trans = 0; trans < 2; trans++) {
            scatter_rows();
            struct unit_lm op = {.shape = UNIT_M8N8_B16, .num = num, .trans = trans};
            assert_int_equal(unit_lm_regs(&op), num);
            assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_OK);
            for (int i = 0; i < num; i++) {
                for (uint32_t lane = 0; lane < 32; lane++) {
                    uint32_t g = lane / 4;
                    uint32_t q = lane % 4;
                    const uint32_t *at = lm_addr + 8 * i;
                    uint32_t lo = trans ? half_at(at[2 * q] + 2 * g) : half_at(at[g] + 4 * q);
                    uint32_t hi =
                        trans ? half_at(at[2 * q + 1] + 2 * g) : half_at(at[g] + 4 * q + 2);
                    assert_int_equal(lm_regs[i][lane], hi << 16 | lo);
                }
            }
            uint8_t copy[4096];
            memcpy(copy, smem, sizeof copy);
            for (int i = 0; i < 8 * num; i++) {
                memset(smem + lm_addr[i], 0, 16);
            }
            assert_int_equal(unit_stmatrix(&op, &cta, lm_addr, (const uint32_t *const *)lm_rows),
                             0);
            assert_memory_equal(smem, copy, sizeof copy);
        }
    }
}

static void test_matrix_b8(void **state) {
    (void)state;
    scatter_rows();
    struct unit_lm op = {.shape = UNIT_M16N16_B8, .num = 2, .trans = true};
    assert_int_equal(unit_lm_regs(&op), 4);
    assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_OK);
    for (uint32_t lane = 0; lane < 32; lane++) {
        for (uint32_t reg = 0; reg < 4; reg++) {
            for (uint32_t j = 0; j < 4; j++) { // [row 4q + j][col g (+8)] of matrix reg / 2
                uint32_t row = 16 * (reg / 2) + 4 * (lane % 4) + j;
                uint8_t want = smem[lm_addr[row] + lane / 4 + 8 * (reg % 2)];
                assert_int_equal(lm_regs[reg][lane] >> 8 * j & 255, want);
            }
        }
    }
    op.trans = false;
    assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_SHAPE);
    op = (struct unit_lm){.shape = UNIT_M16N8_B8, .num = 4, .trans = true};
    for (int i = 0; i < 128; i++) {
        lm_regs[i / 32][i % 32] = ref_u32(&r);
    }
    assert_int_equal(unit_stmatrix(&op, &cta, lm_addr, (const uint32_t *const *)lm_rows), UNIT_OK);
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t row = 0; row < 8; row++) {
            for (uint32_t col = 0; col < 16; col++) { // the lane and byte that own (row, col)
                uint32_t lane = 4 * (col % 8) + row / 2;
                uint32_t j = row % 2 + 2 * (col / 8);
                assert_int_equal(smem[lm_addr[8 * i + row] + col], lm_regs[i][lane] >> 8 * j & 255);
            }
        }
    }
}

static void test_ldmatrix_expand(void **state) {
    (void)state;
    for (int bits = 4; bits <= 6; bits += 2) {
        scatter_rows();
        struct unit_lm op = {.shape = UNIT_M8N16_B8,
                             .unpack = bits == 4 ? UNIT_UNPACK_B4X16_P64 : UNIT_UNPACK_B6X16_P32,
                             .num = 4};
        assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_OK);
        for (uint32_t i = 0; i < 128; i++) {
            uint32_t lane = i % 32;
            for (uint32_t j = 0; j < 4; j++) {
                uint32_t want = 0;
                for (int bit = 0; bit < bits; bit++) {
                    uint32_t at = (4 * (lane % 4) + j) * (uint32_t)bits + (uint32_t)bit;
                    uint8_t byte = smem[lm_addr[8 * (i / 32) + lane / 4] + at / 8];
                    want |= (uint32_t)(byte >> at % 8 & 1) << bit;
                }
                assert_int_equal(lm_regs[i / 32][lane] >> 8 * j & 255, want);
            }
        }
    }
    lm_addr[3] += 4;
    struct unit_lm op = {.shape = UNIT_M8N8_B16, .num = 1};
    assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_SMEM_ALIGN);
    lm_addr[3] = WG_SMEM;
    assert_int_equal(unit_ldmatrix(&op, &cta, lm_addr, lm_rows), UNIT_SMEM_RANGE);
}

static void test_movmatrix(void **state) {
    (void)state;
    uint32_t in[32];
    uint32_t out[32];
    for (uint32_t lane = 0; lane < 32; lane++) { // element (row, col) is 16 * row + col
        uint32_t first = 16 * (lane / 4) + 2 * (lane % 4);
        in[lane] = first | (first + 1) << 16;
    }
    unit_movmatrix(out, in);
    for (uint32_t lane = 0; lane < 32; lane++) {
        uint32_t row = lane / 4;
        uint32_t col = 2 * (lane % 4);
        assert_int_equal(out[lane], (16 * col + row) | (16 * (col + 1) + row) << 16);
    }
}

static void test_clc(void **state) {
    (void)state;
    uint8_t response[UNIT_CLC_BYTES];
    uint32_t id[3] = {7, 0x10000, 3};
    uint32_t back[3];
    unit_clc_encode(response, true, id);
    assert_true(unit_clc_decode(response, back));
    assert_memory_equal(back, id, sizeof id);
    unit_clc_encode(response, false, id);
    assert_false(unit_clc_decode(response, back));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_msync_fp4),
                                       cmocka_unit_test(test_msync_bytes),
                                       cmocka_unit_test(test_msync_wide),
                                       cmocka_unit_test(test_msync_sparse),
                                       cmocka_unit_test(test_wgmma),
                                       cmocka_unit_test(test_ldmatrix_b16),
                                       cmocka_unit_test(test_matrix_b8),
                                       cmocka_unit_test(test_ldmatrix_expand),
                                       cmocka_unit_test(test_movmatrix),
                                       cmocka_unit_test(test_clc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
