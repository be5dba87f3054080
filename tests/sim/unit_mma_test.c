// tcgen05.mma against a plain triple loop: operands are laid into shared memory by formulas written
// here, scales go the whole way (128x4 tile in shared memory, tcgen05.cp, tensor memory), and D is
// read back from the lane and column that the manual's layout names. All kinds, both cta_groups.
#include "num_ref.h"
#include "units.h"
#include <stdlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#define SMEM_BYTES (96u * 1024)
#define A_AT 1024u
#define B_AT (40u * 1024)
#define SF_AT (80u * 1024)
#define D_COL 16
#define SFA_COL 400
#define SFB_COL 440
#define META_COL 480

struct machine {
    uint8_t smem[2][SMEM_BYTES];
    uint32_t tmem[2][UNIT_TMEM_COLS][UNIT_TMEM_LANES];
    uint32_t a[256][64], b[256][64]; // codes
    uint32_t wide[256][128];         // B beside a sparse A
    int place[256][64];              // in a row of it of what a row of the sparse A holds
    uint8_t sa[256][4], sb[256][4];
    struct unit_cta cta[2];
};
static struct machine *m;
static struct ref_random r = {2024};

static int setup(void **state) {
    (void)state;
    m = calloc(1, sizeof *m);
    for (int c = 0; c < 2; c++) {
        m->cta[c] = (struct unit_cta){m->smem[c], SMEM_BYTES, m->tmem[c]};
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(m);
    return 0;
}

struct job {
    enum unit_kind kind;
    int group, mm, n, block;
    enum num_fmt a, b, d, scale;
    uint32_t type_a, type_b; // codes of the instruction descriptor
    bool ws, accumulate;
    int step; // which of four K steps inside the 128-byte row
    bool sparse;
    int selector;
};

static int k_of(const struct job *j) {
    return j->kind == UNIT_KIND_TF32   ? 8
           : j->kind == UNIT_KIND_F16  ? 16
           : j->kind >= UNIT_KIND_MXF4 ? 64
                                       : 32;
}

static bool packed(const struct job *j) {
    return j->kind >= UNIT_KIND_MXF4;
}

// Byte and bit of element k of a 32-byte step in the containers of the kind.
static void put(const struct job *j, enum num_fmt f, uint8_t step[32], int k, uint32_t code) {
    int bits = num_bits_of(f);
    int at = k * 8; // bit position
    if (packed(j)) {
        at = k * 4;
    } else if (bits >= 16) {
        at = k * bits;
    } else if (bits < 8) { // 16 elements start a 16-byte container
        at = k / 16 * 128 + k % 16 * bits;
    }
    for (int i = 0; i < (f == NUM_TF32 ? 32 : bits); i++) {
        step[(at + i) / 8] |= (uint8_t)((code >> i & 1) << (at + i) % 8);
    }
}

// 128-byte-swizzled K-major tile: 16-byte chunk c of row r at chunk c ^ (r % 8).
static void lay(const struct job *j, enum num_fmt f, uint8_t *tile, int row,
                const uint32_t *codes) {
    uint8_t step[32] = {0};
    for (int k = 0; k < k_of(j); k++) {
        put(j, f, step, k, codes[k]);
    }
    for (int half = 0; half < 2; half++) {
        int chunk = (2 * j->step + half) ^ (row % 8);
        memcpy(tile + 128 * row + 16 * chunk, step + 16 * half, 16);
    }
}

static void random_operands(const struct job *j) {
    int share = j->n / j->group;
    int rows = j->mm / j->group;
    memset(m->smem, 0, sizeof m->smem);
    for (int i = 0; i < j->mm; i++) {
        enum ref_style style = j->d == NUM_I32 || i % 9 == 8 ? REF_BITS : REF_MILD;
        ref_row(&r, j->a, style, k_of(j), m->a[i]);
        lay(j, j->a, m->smem[i / rows] + A_AT, i % rows, m->a[i]);
    }
    for (int i = 0; i < j->n; i++) {
        enum ref_style style = j->d == NUM_I32 ? REF_BITS : i % 7 == 6 ? REF_FINITE : REF_MILD;
        uint32_t *codes = j->sparse ? m->wide[i] : m->b[i];
        ref_row(&r, j->b, style, (j->sparse ? 2 : 1) * k_of(j), codes);
        lay(j, j->b, m->smem[i / share] + B_AT, i % share, codes);
        struct job next = *j;
        next.step++;
        if (j->sparse) {
            lay(&next, j->b, m->smem[i / share] + B_AT, i % share, codes + k_of(j));
        }
    }
}

// Scales of 'rows' rows as 128x4 tiles, copied by tcgen05.cp into 'column'. Every scale byte of the
// word is random; the instruction's share starts at byte 'first'.
static void load_scales(struct unit_cta *cta, uint8_t (*scales)[4], int rows, int first,
                        int column) {
    for (int row = 0; row < rows; row++) {
        uint8_t *word = cta->smem + SF_AT + row / 128 * 512 + row % 32 * 16 + row % 128 / 32 * 4;
        for (int byte = 0; byte < 4; byte++) {
            int kb = byte - first;
            word[byte] = kb >= 0 ? scales[row][kb] : (uint8_t)ref_u32(&r);
        }
    }
    for (int tile = 0; tile * 128 < rows; tile++) {
        uint64_t start = (SF_AT + (uint32_t)tile * 512) >> 4;
        struct unit_cp op = {.taddr = (uint32_t)(column + 4 * tile),
                             .desc = start | (128ull >> 4) << 32 | 1ull << 46};
        assert_int_equal(unit_cp(&op, cta), UNIT_OK);
    }
}

static void random_scales(const struct job *j, int first) {
    for (int i = 0; i < 256 * 4; i++) {
        uint32_t a = j->scale == NUM_UE4M3 ? 0x20 + ref_below(&r, 0x40) : 120 + ref_below(&r, 14);
        uint32_t b = j->scale == NUM_UE4M3 ? 0x20 + ref_below(&r, 0x40) : 120 + ref_below(&r, 14);
        m->sa[i / 4][i % 4] = (uint8_t)a;
        m->sb[i / 4][i % 4] = (uint8_t)b;
    }
    int rows = j->mm / j->group;
    for (int c = 0; c < j->group; c++) {
        load_scales(&m->cta[c], m->sa + c * rows, rows, first, SFA_COL);
        load_scales(&m->cta[c], m->sb, j->n, first, SFB_COL);
    }
}

// Lane and column of D(row, n) in CTA *c, from the table of layouts.
static uint32_t *cell(const struct job *j, int row, int n) {
    int c = 0;
    int lane = row;
    int col = n;
    if (j->group == 2 && j->mm == 256) {
        c = row / 128;
        lane = row % 128;
    } else if (j->group == 2 && j->sparse) {
        c = row / 64;
        lane = row % 16 + 32 * (row % 64 / 16);
    } else if (j->group == 2) {
        c = row / 64;
        lane = row % 64 + (n >= j->n / 2 ? 64 : 0);
        col = n % (j->n / 2);
    } else if (j->ws && j->mm == 64) {
        lane = row + (n >= j->n / 2 ? 64 : 0);
        col = n % (j->n / 2);
    } else if (j->ws && j->mm == 32) {
        lane = row + 32 * (n / (j->n / 4));
        col = n % (j->n / 4);
    } else if (j->mm == 64) {
        lane = row % 16 + 32 * (row / 16);
    }
    return &m->tmem[c][D_COL + col][lane];
}

// Two of every four units of a row, of TF32 one of two elements, which has two units. Units are bytes, or two of them;
// bytes of packed e2m1 hold two elements. The indices lie where the rows of D do: bytes 64 bits in two columns, others
// 16 bits a half of K in one column, halves in lanes 8 apart, rows 8 apart in the halves of a word.
static void random_metadata(const struct job *j) {
    static const int pairs[6][2] = {{0, 1}, {2, 3}, {0, 2}, {0, 3}, {1, 2}, {1, 3}};
    bool wide = k_of(j) <= 16;
    for (int row = 0; row < j->mm; row++) {
        uint32_t *group = cell(j, row / 16 * 16, 0) + (META_COL - D_COL) * UNIT_TMEM_LANES;
        int i = row % 16;
        for (int u = 0; u < (wide ? 16 : 32); u += 2) {
            const int *pair = pairs[ref_below(&r, j->a == NUM_TF32 ? 2 : 6)];
            uint32_t *word = wide ? &group[UNIT_TMEM_LANES * j->selector + i % 8 + 8 * (u / 8)]
                                  : &group[UNIT_TMEM_LANES * (u / 16) + i];
            int shift = wide ? 16 * (i / 8) + 2 * (u % 8) : 2 * (u % 16);
            *word = (*word & ~(15u << shift)) | (uint32_t)(pair[0] | pair[1] << 2) << shift;
            for (int n = 0; n < 2; n++) {
                int at = 2 * u + pair[n];
                if (packed(j)) {
                    m->place[row][2 * (u + n)] = 2 * at;
                    m->place[row][2 * (u + n) + 1] = 2 * at + 1;
                } else if (j->a == NUM_TF32) {
                    m->place[row][u / 2] = at / 2;
                } else {
                    m->place[row][u + n] = at;
                }
            }
        }
    }
}

static uint32_t idesc_of(const struct job *j, int sf_id) {
    uint32_t d = (uint32_t)j->sparse << 2 | (uint32_t)j->selector | (uint32_t)(j->n / 8) << 17 | (uint32_t)(j->mm / 16) << 24 | j->type_a << 7 |
                 j->type_b << 10;
    if (j->block) {
        return d | (uint32_t)(j->scale == NUM_UE8M0) << 23 | (uint32_t)sf_id << 4 |
               (uint32_t)sf_id << 29;
    }
    return d | (j->d == NUM_F16 ? 0u : j->d == NUM_I32 ? 2u : 1u) << 4;
}

static uint32_t expected(const struct job *j, int row, int n, uint32_t c) {
    int k = k_of(j);
    c = j->accumulate ? c : 0;
    for (int i = 0; j->sparse && i < k; i++) {
        m->b[n][i] = m->wide[n][m->place[row][i]];
    }
    if (j->kind >= UNIT_KIND_MXF4) {
        return ref_gst(j->scale, j->block, m->a[row], m->b[n], c, m->sa[row], m->sb[n]);
    }
    if (j->d == NUM_I32) {
        int32_t sum = (int32_t)c;
        for (int i = 0; i < k; i++) {
            int x = j->a == NUM_S8 ? (int8_t)m->a[row][i] : (int)m->a[row][i];
            int y = j->b == NUM_S8 ? (int8_t)m->b[n][i] : (int)m->b[n][i];
            sum = (int32_t)((uint32_t)sum + (uint32_t)(x * y));
        }
        return (uint32_t)sum;
    }
    struct ref_dot p = {j->a, j->b, k, 25, -133, NUM_OUT_F32, 0};
    if (j->d == NUM_F16) {
        p.out = NUM_OUT_F16;
        c &= 0xFFFF;
    }
    if (j->block) {
        p.scale = m->sa[row][0] + m->sb[n][0] - 254;
    }
    return ref_tfdpa(&p, m->a[row], m->b[n], c);
}

static uint64_t operand_desc(uint32_t at, int step) {
    return ((at + 32 * (uint32_t)step) >> 4) | 0x40004040ull << 32;
}

static struct unit_mma instruction(const struct job *j, int sf_id) {
    return (struct unit_mma){.form = {j->kind, j->group, j->block, j->ws, j->sparse},
                             .meta = META_COL,
                             .enable_d = j->accumulate,
                             .check_replicas = true,
                             .a = operand_desc(A_AT, j->step),
                             .b = operand_desc(B_AT, j->step),
                             .d = D_COL,
                             .sfa = SFA_COL,
                             .sfb = SFB_COL,
                             .idesc = idesc_of(j, sf_id)};
}

static const struct unit_cta *const *pair(void) {
    static const struct unit_cta *both[2];
    both[0] = &m->cta[0];
    both[1] = &m->cta[1];
    return both;
}

static void random_d(const struct job *j) {
    for (int c = 0; c < 2 * UNIT_TMEM_COLS; c++) {
        for (int lane = 0; lane < UNIT_TMEM_LANES; lane++) {
            m->tmem[c / UNIT_TMEM_COLS][c % UNIT_TMEM_COLS][lane] =
                j->d == NUM_F16 ? ref_u32(&r) & 0xBFFF : ref_f32(&r);
        }
    }
}

static void run_job(const struct job *j) {
    static uint32_t before[2][UNIT_TMEM_COLS][UNIT_TMEM_LANES];
    int sf_id = j->block ? j->step * (k_of(j) / j->block) % 4 : 0;
    random_operands(j);
    random_d(j);
    if (j->block) {
        random_scales(j, sf_id);
    }
    if (j->sparse) {
        random_metadata(j);
    }
    memcpy(before, m->tmem, sizeof before);
    struct unit_mma op = instruction(j, sf_id);
    enum unit_status s = unit_mma(&op, pair());
    if (s != UNIT_OK) {
        fail_msg("kind %d M %d N %d: %s", j->kind, j->mm, j->n, unit_reason(s));
    }
    for (int row = 0; row < j->mm; row++) {
        for (int n = 0; n < j->n; n++) {
            uint32_t *at = cell(j, row, n);
            uint32_t *old = before[0][0] + (at - m->tmem[0][0]);
            uint32_t want = expected(j, row, n, *old);
            if (*at != want) {
                fail_msg("kind %d group %d M %d N %d step %d: D(%d,%d) is %08X, expected %08X",
                         j->kind, j->group, j->mm, j->n, j->step, row, n, *at, want);
            }
            *at = *old;
        }
    }
    assert_memory_equal(m->tmem, before, sizeof before); // nothing else was written
}

static void test_plain(void **state) {
    (void)state;
    struct job j = {.kind = UNIT_KIND_F16,
                    .group = 1,
                    .mm = 128,
                    .n = 48,
                    .a = NUM_BF16,
                    .b = NUM_BF16,
                    .d = NUM_F32,
                    .type_a = 1,
                    .type_b = 1,
                    .accumulate = true};
    run_job(&j);
    j.accumulate = false;
    j.step = 2;
    run_job(&j);
    j = (struct job){.kind = UNIT_KIND_F16,
                     .group = 1,
                     .mm = 64,
                     .n = 24,
                     .a = NUM_F16,
                     .b = NUM_F16,
                     .d = NUM_F16,
                     .accumulate = true,
                     .step = 1};
    run_job(&j);
    j = (struct job){.kind = UNIT_KIND_TF32,
                     .group = 1,
                     .mm = 128,
                     .n = 16,
                     .a = NUM_TF32,
                     .b = NUM_TF32,
                     .d = NUM_F32,
                     .type_a = 2,
                     .type_b = 2,
                     .accumulate = true};
    run_job(&j);
    j = (struct job){.kind = UNIT_KIND_I8,
                     .group = 1,
                     .mm = 128,
                     .n = 32,
                     .a = NUM_S8,
                     .b = NUM_U8,
                     .d = NUM_I32,
                     .type_a = 1,
                     .type_b = 0,
                     .accumulate = true};
    run_job(&j);
}

static void test_sparse(void **state) {
    (void)state;
    static const struct job jobs[] = {
        {UNIT_KIND_F16, 1, 128, 48, 0, NUM_BF16, NUM_BF16, NUM_F32, 0, 1, 1, false, true, 0, true, 1},
        {UNIT_KIND_F16, 1, 64, 24, 0, NUM_F16, NUM_F16, NUM_F16, 0, 0, 0, false, true, 1, true, 0},
        {UNIT_KIND_F16, 2, 128, 64, 0, NUM_F16, NUM_F16, NUM_F32, 0, 0, 0, false, true, 2, true, 0},
        {UNIT_KIND_TF32, 2, 256, 32, 0, NUM_TF32, NUM_TF32, NUM_F32, 0, 2, 2, false, true, 0, true, 1},
        {UNIT_KIND_I8, 1, 128, 32, 0, NUM_S8, NUM_U8, NUM_I32, 0, 1, 0, false, true, 1, true, 0},
        {UNIT_KIND_F8F6F4, 1, 64, 16, 0, NUM_E2M1, NUM_E3M2, NUM_F32, 0, 5, 4, false, true, 0, true, 0},
        {UNIT_KIND_F8F6F4, 2, 128, 32, 0, NUM_E5M2, NUM_E4M3, NUM_F32, 0, 1, 0, false, false, 2, true, 0},
        {UNIT_KIND_MXF8F6F4, 1, 128, 40, 32, NUM_E4M3, NUM_E2M3, NUM_F32, NUM_UE8M0, 0, 3, false, true, 2, true, 0},
        {UNIT_KIND_MXF4, 1, 128, 16, 32, NUM_E2M1, NUM_E2M1, NUM_F32, NUM_UE8M0, 1, 1, false, true, 1, true, 0},
        {UNIT_KIND_MXF4NVF4, 2, 256, 48, 16, NUM_E2M1, NUM_E2M1, NUM_F32, NUM_UE4M3, 1, 1, false, true, 0, true, 0},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        run_job(&jobs[i]);
    }
    struct unit_mma op = instruction(&jobs[0], 0);
    op.form.sparse = false;
    assert_int_equal(unit_mma(&op, pair()), UNIT_IDESC_SPARSE);
    op.form.sparse = true;
    op.meta = META_COL | 16u << 16;
    assert_int_equal(unit_mma(&op, pair()), UNIT_TMEM_LANE);
    op.meta = 511;
    assert_int_equal(unit_mma(&op, pair()), UNIT_UNSUPPORTED);
}

static void test_f8f6f4(void **state) {
    (void)state;
    static const uint32_t code[5] = {5, 3, 4, 0, 1}; // e2m1 e2m3 e3m2 e4m3 e5m2
    for (uint32_t a = 0; a < 5; a++) {
        for (uint32_t b = 0; b < 5; b++) {
            struct job j = {.kind = UNIT_KIND_F8F6F4,
                            .group = 1,
                            .mm = 64,
                            .n = 16,
                            .a = (enum num_fmt)a,
                            .b = (enum num_fmt)b,
                            .d = NUM_F32,
                            .type_a = code[a],
                            .type_b = code[b],
                            .accumulate = true,
                            .step = (int)(a + b) % 4};
            run_job(&j);
            j.kind = UNIT_KIND_MXF8F6F4;
            j.mm = 128;
            j.block = 32;
            j.scale = NUM_UE8M0;
            run_job(&j);
        }
    }
}

static void test_fp4(void **state) {
    (void)state;
    for (int step = 0; step < 4; step++) {
        struct job j = {.kind = UNIT_KIND_MXF4NVF4,
                        .group = 1,
                        .mm = 128,
                        .n = 128,
                        .block = 16,
                        .a = NUM_E2M1,
                        .b = NUM_E2M1,
                        .d = NUM_F32,
                        .scale = NUM_UE4M3,
                        .type_a = 1,
                        .type_b = 1,
                        .accumulate = step > 0,
                        .step = step};
        run_job(&j);
        j.n = 64 + 32 * step;
        j.scale = NUM_UE8M0;
        run_job(&j);
        j.block = 32;
        run_job(&j);
        j.kind = UNIT_KIND_MXF4;
        run_job(&j);
        j.group = 2;
        j.mm = 256;
        j.n = 256;
        run_job(&j);
    }
}

static void test_layouts(void **state) {
    (void)state;
    struct job j = {.kind = UNIT_KIND_F8F6F4,
                    .group = 2,
                    .mm = 256,
                    .n = 64,
                    .a = NUM_E4M3,
                    .b = NUM_E5M2,
                    .d = NUM_F32,
                    .type_b = 1,
                    .accumulate = true};
    run_job(&j); // A
    j.mm = 128;
    run_job(&j); // B
    j.group = 1;
    j.ws = true;
    run_job(&j); // D
    j.mm = 64;
    run_job(&j); // E
    j.mm = 32;
    run_job(&j); // G
    j.ws = false;
    j.mm = 64;
    run_job(&j); // F
}

// A from tensor memory gives what A from shared memory gives; disabled lanes keep their word; the
// scale factor id may stand in the address.
static void test_variants(void **state) {
    (void)state;
    struct job j = {.kind = UNIT_KIND_MXF4NVF4,
                    .group = 1,
                    .mm = 128,
                    .n = 64,
                    .block = 32,
                    .a = NUM_E2M1,
                    .b = NUM_E2M1,
                    .d = NUM_F32,
                    .scale = NUM_UE8M0,
                    .type_a = 1,
                    .type_b = 1,
                    .accumulate = true};
    random_operands(&j);
    random_d(&j);
    random_scales(&j, 2);
    for (int row = 0; row < 128; row++) {
        for (int w = 0; w < 8; w++) {
            m->tmem[0][300 + w][row] = 0;
            for (int i = 0; i < 8; i++) {
                m->tmem[0][300 + w][row] |= m->a[row][8 * w + i] << 4 * i;
            }
        }
    }
    uint32_t old = m->tmem[0][D_COL + 5][77];
    struct unit_mma op = instruction(&j, 0);
    op.a_in_tmem = true;
    op.a = 300;
    op.sfa |= 2u << 30;
    op.sfb |= 2u << 30;
    assert_int_equal(unit_mma(&op, pair()), UNIT_OK);
    assert_int_equal(m->tmem[0][D_COL + 5][77], expected(&j, 77, 5, old));
    m->tmem[0][SFA_COL][40] ^= 0x10000; // one copy differs
    assert_int_equal(unit_mma(&op, pair()), UNIT_TMEM_REPLICA);

    j = (struct job){.kind = UNIT_KIND_F16,
                     .group = 1,
                     .mm = 128,
                     .n = 16,
                     .a = NUM_F16,
                     .b = NUM_F16,
                     .d = NUM_F32,
                     .accumulate = true};
    random_operands(&j);
    random_d(&j);
    uint32_t keep[4] = {0, 0, 1u << 13, 0};
    uint32_t at77 = m->tmem[0][D_COL + 3][77];
    uint32_t at78 = m->tmem[0][D_COL + 3][78];
    op = instruction(&j, 0);
    op.disable_lanes = keep;
    assert_int_equal(unit_mma(&op, pair()), UNIT_OK);
    assert_int_equal(m->tmem[0][D_COL + 3][77], at77);
    assert_int_equal(m->tmem[0][D_COL + 3][78], expected(&j, 78, 3, at78));
    op.disable_lanes = NULL;
    op.scale_d = 3;
    at77 = m->tmem[0][D_COL + 3][77];
    assert_int_equal(unit_mma(&op, pair()), UNIT_OK);
    uint32_t scaled = num_bits(num_f32(at77) * 0.125f);
    assert_int_equal(m->tmem[0][D_COL + 3][77], expected(&j, 77, 3, scaled));
    op.scale_d = 0;
    op.idesc |= 1u << 13; // negate A
    at77 = m->tmem[0][D_COL + 3][77];
    assert_int_equal(unit_mma(&op, pair()), UNIT_OK);
    for (int k = 0; k < 16; k++) {
        m->a[77][k] ^= 0x8000;
    }
    assert_int_equal(m->tmem[0][D_COL + 3][77], expected(&j, 77, 3, at77));
}

static void test_idesc(void **state) {
    (void)state;
    static const struct {
        struct unit_mma_form form;
        uint32_t bits;
        enum unit_status want;
        int mm, n;
    } rows[] = {
        {{UNIT_KIND_MXF4NVF4, 1, 16, false, false}, 0x08200480, UNIT_OK, 128, 128},
        {{UNIT_KIND_MXF4, 1, 32, false, false}, 0x08A00480, UNIT_OK, 128, 128},
        {{UNIT_KIND_MXF8F6F4, 1, 32, false, false}, 0x08A00000, UNIT_OK, 128, 128},
        {{UNIT_KIND_MXF8F6F4, 1, 32, false, false}, 0x08A00000 | 3 << 4 | 3u << 29, UNIT_OK, 128, 128},
        {{UNIT_KIND_MXF4NVF4, 2, 16, false, false}, 0x10400480, UNIT_OK, 256, 256},
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x08400490, UNIT_OK, 128, 256},
        {{UNIT_KIND_F8F6F4, 1, 0, false, false}, 0x08200010, UNIT_OK, 128, 128},
        {{UNIT_KIND_MXF4, 1, 32, false, false}, 0x08A00680, UNIT_IDESC_TYPE, 0, 0}, // type code 5
        {{UNIT_KIND_MXF4NVF4, 1, 32, false, false}, 0x08200480, UNIT_IDESC_SCALE, 0, 0},
        {{UNIT_KIND_MXF4, 1, 16, false, false}, 0x08A00480, UNIT_IDESC_SCALE, 0, 0},
        {{UNIT_KIND_MXF4, 1, 32, false, false}, 0x08A00490, UNIT_IDESC_SF_ID, 0, 0},
        {{UNIT_KIND_MXF4NVF4, 1, 16, false, false}, 0x08208480, UNIT_IDESC_BITS, 0, 0}, // transpose
        {{UNIT_KIND_MXF4NVF4, 1, 16, false, false}, 0x04200480, UNIT_IDESC_BITS, 0, 0}, // M = 64
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x10400490, UNIT_IDESC_M, 0, 0},
        {{UNIT_KIND_F16, 2, 0, false, false}, 0x08020490, UNIT_IDESC_N, 0, 0},
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x08420490, UNIT_IDESC_N, 0, 0},
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x08400480, UNIT_IDESC_TYPE, 0, 0}, // bf16 into f16
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x08400494, UNIT_IDESC_SPARSE, 0, 0},
        {{UNIT_KIND_F16, 1, 0, false, false}, 0x48400490, UNIT_IDESC_BITS, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct unit_idesc d;
        enum unit_status s = unit_idesc_decode(&d, &rows[i].form, rows[i].bits);
        if (s != rows[i].want) {
            fail_msg("row %zu: %s", i, unit_reason(s));
        }
        assert_true(s != UNIT_OK || (d.m == rows[i].mm && d.n == rows[i].n));
    }
}

static void test_refusals(void **state) {
    (void)state;
    struct job j = {.kind = UNIT_KIND_F16,
                    .group = 1,
                    .mm = 128,
                    .n = 64,
                    .a = NUM_F16,
                    .b = NUM_F16,
                    .d = NUM_F32};
    struct unit_mma op = instruction(&j, 0);
    op.d = 480;
    assert_int_equal(unit_mma(&op, pair()), UNIT_TMEM_RANGE);
    op.d = 16u << 16;
    assert_int_equal(unit_mma(&op, pair()), UNIT_TMEM_LANE);
    op.d = 0;
    op.b = operand_desc(SMEM_BYTES - 1024, 0);
    assert_int_equal(unit_mma(&op, pair()), UNIT_SMEM_RANGE);
    op.b = operand_desc(B_AT, 0) & ~(1ull << 46);
    assert_int_equal(unit_mma(&op, pair()), UNIT_DESC_BITS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_f8f6f4),
        cmocka_unit_test(test_fp4),      cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_variants), cmocka_unit_test(test_idesc),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_sparse)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
