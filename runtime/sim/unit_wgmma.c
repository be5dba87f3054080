// wgmma.mma_async m64nNk(32 bytes) of a warpgroup: A from shared memory or registers, B from shared
// memory, D in registers (PTX ISA "Asynchronous Warpgroup Level Matrix Operations"; fragment maps
// and descriptors measured on H200). FP8 keeps 13 fraction bits on Hopper, the addend's included.
// With a sparse A ("wgmma.mma_async.sp") B has 64 bytes of K; metadata as for mma.sp, a warp its 16 rows.
#include "unit_operand.h"

#define ROWS 64

static bool is_byte(enum num_fmt f) {
    return num_is_fp8(f) || f == NUM_S8 || f == NUM_U8;
}

static int elem_bytes_of(enum num_fmt f) {
    return num_bits_of(f) / 8;
}

int unit_wgmma_regs(const struct unit_wgmma *op) {
    return op->d == NUM_F16 ? op->n / 4 : op->n / 2;
}

static bool types_allowed(const struct unit_wgmma *op) {
    switch (op->a) {
    case NUM_F16:
        return op->b == NUM_F16 && (op->d == NUM_F32 || op->d == NUM_F16);
    case NUM_BF16:
        return op->b == NUM_BF16 && op->d == NUM_F32;
    case NUM_TF32:
        return op->b == NUM_TF32 && op->d == NUM_F32;
    case NUM_E4M3:
    case NUM_E5M2:
        return num_is_fp8(op->b) && (op->d == NUM_F32 || op->d == NUM_F16);
    case NUM_S8:
    case NUM_U8:
        return (op->b == NUM_S8 || op->b == NUM_U8) && op->d == NUM_I32;
    default:
        return false;
    }
}

bool unit_wgmma_form(const struct unit_wgmma *op) {
    bool n_ok = op->n >= 8 && op->n <= UNIT_MAX_N && op->n % 8 == 0;
    if (op->d == NUM_I32 && op->n > 32) {
        n_ok = n_ok && op->n % 16 == 0;
    }
    return n_ok && types_allowed(op);
}

static enum unit_status check(const struct unit_wgmma *op) {
    if (!unit_wgmma_form(op)) {
        return UNIT_SHAPE;
    }
    bool mn = op->mn_a || op->mn_b;
    return mn && elem_bytes_of(op->a) != 2 ? UNIT_DESC_MAJOR : UNIT_OK;
}

static enum unit_status fetch(uint64_t desc, struct unit_fetch r, const struct unit_cta *cta,
                              uint8_t (*out)[32]) {
    enum unit_status s = unit_desc_wgmma(&r.desc, desc);
    return s == UNIT_OK ? unit_fetch_operand(&r, cta, out) : s;
}

struct operands {
    uint8_t a[ROWS][32];
    uint8_t b[UNIT_MAX_N][32];
    uint8_t wide[UNIT_MAX_N][64]; // B beside a sparse A
};

static enum unit_status fetch_b(const struct unit_wgmma *op, const struct unit_cta *cta,
                                struct operands *o) {
    struct unit_fetch r = {.rows = op->n, .elem_bytes = elem_bytes_of(op->b), .mn_major = op->mn_b};
    if (!op->sparse) {
        return fetch(op->bdesc, r, cta, o->b);
    }
    enum unit_status s = UNIT_OK;
    for (; s == UNIT_OK && r.first < 64; r.first += 32) {
        s = fetch(op->bdesc, r, cta, o->b);
        for (int n = 0; n < op->n; n++) {
            memcpy(o->wide[n] + r.first, o->b[n], 32);
        }
    }
    return s;
}

// Register r of A holds row 16w + g + 8*(r&1), bytes 4q + 16*(r>>1), for every element width.
static void a_from_regs(const uint32_t *const *a, uint8_t (*out)[32]) {
    for (int w = 0; w < 4; w++) {
        for (int r = 0; r < 4; r++) {
            for (int lane = 0; lane < 32; lane++) {
                int row = 16 * w + lane / 4 + 8 * (r & 1);
                memcpy(&out[row][4 * (lane % 4) + 16 * (r >> 1)], &a[4 * w + r][lane], 4);
            }
        }
    }
}

// D between registers and [n][row].
static void move_d(const struct unit_wgmma *op, uint32_t *const *d, uint32_t (*tile)[ROWS],
                   bool out) {
    int regs = unit_wgmma_regs(op);
    for (int w = 0; w < 4; w++) {
        for (int r = 0; r < regs; r++) {
            for (int lane = 0; lane < 32; lane++) {
                int g = lane / 4;
                int q = lane % 4;
                uint32_t *reg = &d[w * regs + r][lane];
                if (op->d != NUM_F16) {
                    uint32_t *cell =
                        &tile[8 * (r >> 2) + 2 * q + (r & 1)][16 * w + g + 8 * (r >> 1 & 1)];
                    *(out ? reg : cell) = out ? *cell : *reg;
                    continue;
                }
                uint32_t *low = &tile[8 * (r >> 1) + 2 * q][16 * w + g + 8 * (r & 1)];
                uint32_t *high = low + ROWS;
                if (out) {
                    *reg = (*low & 0xFFFF) | *high << 16;
                } else {
                    *low = *reg & 0xFFFF;
                    *high = *reg >> 16;
                }
            }
        }
    }
}

static struct num_mm arithmetic(const struct unit_wgmma *op) {
    struct unit_idesc d = {.k = 32 / elem_bytes_of(op->a),
                           .a = op->a,
                           .b = op->b,
                           .d = op->d,
                           .saturate = op->saturate};
    struct num_mm mm = unit_arithmetic(&d);
    if (num_is_fp8(op->a)) {
        mm.dot.frac = 13;
        mm.dot.out = op->d == NUM_F16 ? NUM_OUT_F16 : NUM_OUT_E8M13;
    }
    return mm;
}

static void negate(const struct unit_wgmma *op, struct operands *o) {
    if (op->neg_a && op->d != NUM_I32) {
        unit_negate(op->a, false, o->a, ROWS);
    }
    if (op->neg_b && op->d != NUM_I32) {
        uint8_t(*b)[32] = op->sparse ? (uint8_t(*)[32])o->wide : o->b;
        unit_negate(op->b, false, b, op->sparse ? 2 * op->n : op->n);
    }
}

static void multiply(const struct unit_wgmma *op, const struct operands *o,
                     const uint32_t *const *meta, uint32_t (*tile)[ROWS]) {
    struct num_mm mm = arithmetic(op);
    mm.accumulate = op->scale_d;
    mm.m = ROWS;
    mm.n = op->n;
    mm.a = (const uint8_t(*)[32])o->a;
    mm.b = (const uint8_t(*)[32])o->b;
    if (!op->sparse) {
        num_mm_run(&mm, &tile[0][0], ROWS);
        return;
    }
    uint64_t indices[ROWS];
    struct unit_sparse_form f = {is_byte(op->a) ? 1 : 2, 32, op->selector};
    struct unit_sparse s = {indices, f.unit, (const uint8_t(*)[64])o->wide};
    for (int m = 0; m < ROWS; m++) {
        indices[m] = unit_sparse_indices(&f, meta[m / 16], m % 16);
    }
    unit_sparse_run(&mm, &s, &tile[0][0], ROWS);
}

enum unit_status unit_wgmma(const struct unit_wgmma *op, const struct unit_cta *cta,
                            const struct unit_wgmma_regs *r) {
    struct operands o;
    uint32_t tile[UNIT_MAX_N][ROWS];
    enum unit_status s = check(op);
    if (s == UNIT_OK) {
        s = fetch_b(op, cta, &o);
    }
    if (s == UNIT_OK && !op->a_in_regs) {
        struct unit_fetch f = {
            .rows = ROWS, .elem_bytes = elem_bytes_of(op->a), .mn_major = op->mn_a};
        s = fetch(op->adesc, f, cta, o.a);
    }
    if (s != UNIT_OK) {
        return s;
    }
    if (op->a_in_regs) {
        a_from_regs(r->a, o.a);
    }
    negate(op, &o);
    move_d(op, r->d, tile, false);
    multiply(op, &o, r->meta, tile);
    move_d(op, r->d, tile, true);
    return UNIT_OK;
}
