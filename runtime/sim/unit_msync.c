// mma.sync of one warp on register fragments (PTX ISA "Matrix Fragments for mma" and "Block Scaling
// for mma.sync").
//
// Seen as bytes all shapes share one map: a row of A or B is 32 bytes of K, register r of lane
// (g, q) = (lane / 4, lane % 4) holds bytes 4q + 16*(r / 2) of row g + 8*(r % 2) of A, and bytes
// 4q + 16*r of row g of B. The half-K shapes use the first 16 bytes.
//
// With a sparse A (PTX ISA "mma.sp") A holds half of K and B has twice the bytes a row: unit_sparse.c.
#include "unit_operand.h"

#define M 16
#define N 8

struct warp_rows {
    uint8_t a[M][32];
    uint8_t b[N][32];
    uint8_t wide[N][64]; // B beside a sparse A
    uint8_t sa[M][4];
    uint8_t sb[N][4];
    uint32_t d[N][M];
};

static bool is_narrow(enum num_fmt f) {
    return f <= NUM_E5M2;
}

static bool is_int(enum num_fmt f) {
    return f == NUM_S8 || f == NUM_U8;
}

static int row_bytes(const struct unit_msync *op) {
    int bits = op->k == 64 ? 4 : is_narrow(op->a) ? 8 : num_bits_of(op->a);
    return op->k * bits / 8;
}

static bool scale_allowed(const struct unit_msync *op) {
    bool mx = op->block == 32 && op->scale == NUM_UE8M0;
    switch (op->kind) {
    case UNIT_KIND_MXF8F6F4:
    case UNIT_KIND_MXF4:
        return mx;
    case UNIT_KIND_MXF4NVF4:
        return mx || (op->block == 16 && (op->scale == NUM_UE4M3 || op->scale == NUM_UE8M0));
    default:
        return op->block == 0;
    }
}

static bool types_allowed(const struct unit_msync *op) {
    bool half_d = op->d == NUM_F16;
    switch (op->kind) {
    case UNIT_KIND_F16:
        return (op->a == NUM_F16 || (op->a == NUM_BF16 && !half_d)) && op->b == op->a &&
               (op->k == 16 || op->k == 8) && op->d != NUM_I32;
    case UNIT_KIND_TF32:
        return op->a == NUM_TF32 && op->b == NUM_TF32 && (op->k == 8 || op->k == 4) &&
               op->d == NUM_F32;
    case UNIT_KIND_F8F6F4:
        if (op->no_kind) {
            return num_is_fp8(op->a) && num_is_fp8(op->b) && (op->k == 32 || op->k == 16) &&
                   op->d != NUM_I32;
        }
        return is_narrow(op->a) && is_narrow(op->b) && op->k == 32 && op->d != NUM_I32;
    case UNIT_KIND_I8:
        return is_int(op->a) && is_int(op->b) && (op->k == 32 || op->k == 16) && op->d == NUM_I32;
    case UNIT_KIND_MXF8F6F4:
        return is_narrow(op->a) && is_narrow(op->b) && op->k == 32 && op->d == NUM_F32;
    default:
        return op->a == NUM_E2M1 && op->b == NUM_E2M1 && op->k == 64 && op->d == NUM_F32;
    }
}

bool unit_msync_form(const struct unit_msync *op) {
    if (!types_allowed(op) || !scale_allowed(op)) {
        return false;
    }
    bool short_fp8 = is_narrow(op->a) && row_bytes(op) == 16; // these two exist with a dense A only
    bool emulated = op->no_kind && !op->native_fp8;
    int selectors = is_narrow(op->a) ? 1 : is_int(op->a) ? 32 / row_bytes(op) : 64 / row_bytes(op);
    return !op->sparse ||
           (!short_fp8 && !emulated && op->selector >= 0 && op->selector < selectors);
}

// Selectors: the bytes of a scale register come in aligned groups of one instruction's K blocks.
static enum unit_status check(const struct unit_msync *op, const struct unit_msync_regs *r) {
    if (!unit_msync_form(op)) {
        return UNIT_SHAPE;
    }
    if (op->block == 0) {
        return UNIT_OK;
    }
    int bytes = op->k / op->block;
    bool ids = op->byte_a >= 0 && op->byte_a < 4 && op->byte_a % bytes == 0 && op->byte_b >= 0 &&
               op->byte_b < 4 && op->byte_b % bytes == 0 && op->thread_a >= 0 && op->thread_a < 2 &&
               op->thread_b >= 0 && op->thread_b < 4;
    return ids && r->sfa && r->sfb ? UNIT_OK : UNIT_IDESC_SF_ID;
}

// kind::f8f6f4 containers: e2m1 in bits 5..2 of the byte, e2m3 and e3m2 in bits 5..0.
static void unpack(enum num_fmt f, uint8_t (*rows)[32], int n) {
    int shift = f == NUM_E2M1 ? 2 : 0;
    uint8_t mask = f == NUM_E2M1 ? 0xF : 0x3F;
    if (num_is_fp8(f)) {
        return;
    }
    for (int row = 0; row < n; row++) {
        for (int i = 0; i < 32; i++) {
            rows[row][i] = (uint8_t)(rows[row][i] >> shift & mask);
        }
    }
}

static void read_operands(const struct unit_msync *op, const struct unit_msync_regs *r,
                          struct warp_rows *w) {
    int halves = row_bytes(op) / 16;
    memset(w->wide, 0, op->sparse ? sizeof w->wide : 0);
    for (int g = 0; op->sparse && g < 8; g++) {
        for (int h = 0; h < 2 * halves; h++) {
            memcpy(&w->wide[g][16 * h], r->b[h] + 4 * g, 16);
        }
    }
    for (int h = 0; h < halves; h++) {
        const uint32_t *top = r->a[2 * h];
        const uint32_t *bottom = r->a[2 * h + 1];
        const uint32_t *b = r->b[h];
        for (int g = 0; g < 8; g++) { // four neighbouring lanes are 16 neighbouring bytes
            memcpy(&w->a[g][16 * h], top + 4 * g, 16);
            memcpy(&w->a[g + 8][16 * h], bottom + 4 * g, 16);
            memcpy(&w->b[g][16 * h], b + 4 * g, 16);
        }
    }
    if (is_narrow(op->a) && op->k == 32) {
        unpack(op->a, w->a, M);
        unpack(op->b, op->sparse ? (uint8_t(*)[32])w->wide : w->b, op->sparse ? 2 * N : N);
    }
}

// Lane 4g + 2*thread_a gives row g, the next lane row g + 8; lane 4g + thread_b gives column g.
static void read_scales(const struct unit_msync *op, const struct unit_msync_regs *r,
                        struct warp_rows *w) {
    for (int g = 0; g < 8; g++) {
        uint32_t top = r->sfa[4 * g + 2 * op->thread_a] >> 8 * op->byte_a;
        uint32_t bottom = r->sfa[4 * g + 2 * op->thread_a + 1] >> 8 * op->byte_a;
        uint32_t b = r->sfb[4 * g + op->thread_b] >> 8 * op->byte_b;
        memcpy(w->sa[g], &top, 4);
        memcpy(w->sa[g + 8], &bottom, 4);
        memcpy(w->sb[g], &b, 4);
    }
}

static void read_addend(const struct unit_msync *op, const uint32_t *const *c,
                        struct warp_rows *w) {
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4;
        int n = 2 * (lane % 4);
        for (int h = 0; h < 2; h++) {
            if (op->d == NUM_F16) {
                w->d[n][g + 8 * h] = c[h][lane] & 0xFFFF;
                w->d[n + 1][g + 8 * h] = c[h][lane] >> 16;
            } else {
                w->d[n][g + 8 * h] = c[2 * h][lane];
                w->d[n + 1][g + 8 * h] = c[2 * h + 1][lane];
            }
        }
    }
}

static void write_result(const struct unit_msync *op, const struct warp_rows *w,
                         uint32_t *const *d) {
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4;
        int n = 2 * (lane % 4);
        for (int h = 0; h < 2; h++) {
            if (op->d == NUM_F16) {
                d[h][lane] = w->d[n][g + 8 * h] | w->d[n + 1][g + 8 * h] << 16;
            } else {
                d[2 * h][lane] = w->d[n][g + 8 * h];
                d[2 * h + 1][lane] = w->d[n + 1][g + 8 * h];
            }
        }
    }
}

static struct num_mm arithmetic(const struct unit_msync *op) {
    struct unit_idesc d = {.k = op->k,
                           .a = op->a,
                           .b = op->b,
                           .d = op->d,
                           .scale = op->scale,
                           .block = op->block,
                           .saturate = op->saturate};
    struct num_mm mm = unit_arithmetic(&d);
    if (op->no_kind && op->kind == UNIT_KIND_F8F6F4 && !op->native_fp8) {
        mm.op = NUM_MM_LEGACY;
    }
    if (op->d == NUM_F16) {
        mm.dot.floor = -22; // of a zero term, with an f16 accumulator
    }
    return mm;
}

static void multiply_sparse(const struct unit_msync *op, const struct num_mm *mm,
                            const uint32_t *meta, struct warp_rows *w) {
    uint64_t indices[M];
    struct unit_sparse_form f = {is_narrow(op->a) || is_int(op->a) ? 1 : 2, row_bytes(op),
                                 op->selector};
    struct unit_sparse s = {indices, f.unit, (const uint8_t(*)[64])w->wide};
    for (int m = 0; m < M; m++) {
        indices[m] = unit_sparse_indices(&f, meta, m);
    }
    unit_sparse_run(mm, &s, &w->d[0][0], M);
}

enum unit_status unit_msync(const struct unit_msync *op, const struct unit_msync_regs *r) {
    enum unit_status s = check(op, r);
    if (s != UNIT_OK) {
        return s;
    }
    struct warp_rows w;
    read_operands(op, r, &w);
    if (op->block) {
        read_scales(op, r, &w);
    }
    read_addend(op, r->c, &w);
    struct num_mm mm = arithmetic(op);
    mm.accumulate = true;
    mm.m = M;
    mm.n = N;
    mm.a = (const uint8_t(*)[32])w.a;
    mm.b = (const uint8_t(*)[32])w.b;
    mm.sa = (const uint8_t(*)[4])w.sa;
    mm.sb = (const uint8_t(*)[4])w.sb;
    if (op->sparse) {
        multiply_sparse(op, &mm, r->meta, &w);
    } else {
        num_mm_run(&mm, &w.d[0][0], M);
    }
    write_result(op, &w, r->d);
    return UNIT_OK;
}
