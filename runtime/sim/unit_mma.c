// tcgen05.mma: D[tensor memory] = A * B (+ D), one CTA or a pair.
//
// In: qualifiers, descriptors, tensor memory addresses. The operands are fetched into rows of 32
// bytes, turned into codes, and multiplied straight into tensor memory, which is column-major and
// so is the output of num_mm_run. A pair (cta_group::2) is two such products: each CTA has its own
// rows of A and of D, both share B, of which each holds half of N (PTX ISA "Data path layout
// organization"). Everything is validated and read before the first word of D is written.
#include "unit_operand.h"
#include <stdlib.h>

#define SF_ID_SHIFT 30

// D is a set of rectangles: rows m0.. of the CTA and columns n0.. of N, at a lane and column.
struct piece {
    int m0, rows, n0, cols, lane, column;
};
struct placement {
    struct piece piece[4];
    int n;
    int columns; // of tensor memory
};

struct mma_operands {
    uint8_t a[2][UNIT_TMEM_LANES][32];
    uint8_t b[UNIT_MAX_N][32];
    uint8_t wide[UNIT_MAX_N][64]; // b beside a sparse A
    uint64_t indices[2][UNIT_TMEM_LANES];
    uint8_t sa[2][UNIT_TMEM_LANES][4];
    uint8_t sb[2][UNIT_MAX_N][4];
};

static uint32_t lane_of(uint32_t taddr) {
    return taddr >> 16;
}

static uint32_t column_of(uint32_t taddr) {
    return taddr & 0xFFFF;
}

// Rows stacked in lanes with the N columns cut into 'parts' beside each other in lanes.
static void place_split(struct placement *p, int rows, int n, int parts) {
    p->n = parts;
    p->columns = n / parts;
    for (int i = 0; i < parts; i++) {
        p->piece[i] = (struct piece){.rows = rows,
                                     .n0 = i * p->columns,
                                     .cols = p->columns,
                                     .lane = i * (UNIT_TMEM_LANES / parts)};
    }
}

// Layout F: 16 rows in each lane quarter.
static void place_quarters(struct placement *p, int n, int first_lane) {
    p->n = 4;
    p->columns = n;
    for (int i = 0; i < 4; i++) {
        p->piece[i] =
            (struct piece){.m0 = 16 * i, .rows = 16, .cols = n, .lane = 32 * i + first_lane};
    }
}

// Layouts A to G of the manual, for one CTA.
static enum unit_status place(struct placement *p, const struct unit_mma *op,
                              const struct unit_idesc *d) {
    int lane = (int)lane_of(op->d);
    int rows = d->m / op->form.cta_group;
    bool half = rows == 64 && !op->form.ws && (op->form.cta_group == 1 || d->sparse);
    if (half) {
        place_quarters(p, d->n, lane);
    } else if (op->form.ws || op->form.cta_group == 2) {
        place_split(p, rows, d->n, UNIT_TMEM_LANES / rows);
    } else {
        place_split(p, rows, d->n, 1);
    }
    if (lane != 0 && !(half && lane == 16)) {
        return UNIT_TMEM_LANE;
    }
    int column = (int)column_of(op->d);
    if (column + p->columns > UNIT_TMEM_COLS) {
        return UNIT_TMEM_RANGE;
    }
    for (int i = 0; i < p->n; i++) {
        p->piece[i].column = column;
    }
    return UNIT_OK;
}

static bool is_packed(const struct unit_idesc *d) {
    return d->k == 64;
}

static int container_bytes(const struct unit_idesc *d) {
    return d->k == 8 ? 4 : d->k == 16 ? 2 : 1;
}

// MN-major needs the 32-byte-atom swizzle for 32-bit elements, which nothing else may use.
static enum unit_status check_swizzle(const struct unit_desc *d, const struct unit_idesc *i,
                                      bool mn) {
    bool atom32 = d->swizzle == UNIT_SW_128_ATOM32;
    return atom32 == (mn && i->k == 8) ? UNIT_OK : UNIT_DESC_MAJOR;
}

static enum unit_status fetch_smem(uint64_t bits, const struct unit_idesc *d, struct unit_fetch f,
                                   const struct unit_cta *cta, uint8_t (*out)[32]) {
    f.elem_bytes = container_bytes(d);
    enum unit_status s = unit_desc_tcgen05(&f.desc, bits);
    if (s == UNIT_OK) {
        s = check_swizzle(&f.desc, d, f.mn_major);
    }
    return s == UNIT_OK ? unit_fetch_operand(&f, cta, out) : s;
}

// Row m of A lies in the lane of row m of D, its 32 bytes in 8 columns. Where the container of an
// element narrower than a byte puts its bits is not documented: refused.
static enum unit_status fetch_tmem_a(const struct unit_mma *op, const struct unit_idesc *d,
                                     const struct placement *p, const struct unit_cta *cta,
                                     uint8_t (*out)[32]) {
    uint32_t column = column_of((uint32_t)op->a);
    if (!is_packed(d) && num_bits_of(d->a) < 8) {
        return UNIT_UNSUPPORTED;
    }
    if (d->mn_a) {
        return UNIT_DESC_MAJOR;
    }
    if (column + 8 > UNIT_TMEM_COLS) {
        return UNIT_TMEM_RANGE;
    }
    int rows = d->m / op->form.cta_group;
    for (int i = 0; i < p->n; i++) {
        const struct piece *q = &p->piece[i];
        if (q->n0 != 0) {
            continue; // copies of the same rows for other columns of D
        }
        for (int m = q->m0; m < q->m0 + q->rows && m < rows; m++) {
            for (uint32_t w = 0; w < 8; w++) {
                memcpy(&out[m][4 * w], &cta->tmem[column + w][q->lane + m - q->m0], 4);
            }
        }
    }
    return UNIT_OK;
}

static enum unit_status fetch_a(const struct unit_mma *op, const struct unit_idesc *d,
                                const struct placement *p, const struct unit_cta *cta,
                                uint8_t (*out)[32]) {
    int rows = d->m / op->form.cta_group;
    struct unit_fetch f = {.rows = rows, .mn_major = d->mn_a};
    enum unit_status s =
        op->a_in_tmem ? fetch_tmem_a(op, d, p, cta, out) : fetch_smem(op->a, d, f, cta, out);
    if (s == UNIT_OK) {
        unit_unpack_containers(d->a, is_packed(d), out, rows);
        if (d->neg_a) {
            unit_negate(d->a, is_packed(d), out, rows);
        }
    }
    return s;
}

// The rows of B, 32 bytes of K from 'first' on.
static enum unit_status fetch_b(const struct unit_mma *op, const struct unit_idesc *d, int first,
                                const struct unit_cta *const *cta, uint8_t (*out)[32]) {
    int share = d->n / op->form.cta_group;
    struct unit_fetch f = {.rows = share, .mn_major = d->mn_b, .first = first};
    for (int c = 0; c < op->form.cta_group; c++) {
        enum unit_status s = fetch_smem(op->b, d, f, cta[c], out + c * share);
        if (s != UNIT_OK) {
            return s;
        }
    }
    unit_unpack_containers(d->b, is_packed(d), out, d->n);
    if (d->neg_b) {
        unit_negate(d->b, is_packed(d), out, d->n);
    }
    return UNIT_OK;
}

// Metadata of a sparse A, in the lanes of its rows (PTX ISA "Sparsity selector"; how the 16-bit kinds fill them, from
// the layouts that CUTLASS gives its metadata): of bytes 64 bits a row, in two columns. Of two bytes 16 rows share 16
// lanes of one column, which the selector names: lane i % 8 + 8h has half h of the K of rows i and i + 8.
int unit_meta_cols(const struct unit_idesc *d) {
    return d->k <= 16 ? 1 + d->selector : 2;
}

static enum unit_status fetch_metadata(const struct unit_mma *op, const struct unit_idesc *d,
                                       const struct placement *p, const struct unit_cta *cta,
                                       uint64_t *out) {
    uint32_t column = column_of(op->meta);
    bool wide = d->k <= 16;
    if (wide && column % 2 != 0) {
        return UNIT_UNSUPPORTED; // the selector names a column of a pair
    }
    if (lane_of(op->meta) != lane_of(op->d)) {
        return UNIT_TMEM_LANE;
    }
    if (column + (uint32_t)unit_meta_cols(d) > UNIT_TMEM_COLS) {
        return UNIT_TMEM_RANGE;
    }
    uint32_t(*tmem)[UNIT_TMEM_LANES] = cta->tmem + column + (wide ? d->selector : 0);
    for (int n = 0; n < p->n; n++) {
        const struct piece *q = &p->piece[n];
        for (int i = 0; i < q->rows && q->n0 == 0; i++) {
            int lane = q->lane + i / 16 * 16 + i % 8;
            int shift = 16 * (i / 8 % 2);
            out[q->m0 + i] =
                wide ? (tmem[0][lane] >> shift & 0xFFFF) | (tmem[0][lane + 8] >> shift & 0xFFFF) << 16
                     : tmem[0][q->lane + i] | (uint64_t)tmem[1][q->lane + i] << 32;
        }
    }
    return UNIT_OK;
}

static enum unit_status fetch_sparse(const struct unit_mma *op, const struct unit_idesc *d,
                                     const struct placement *p, const struct unit_cta *const *cta,
                                     struct mma_operands *o) {
    enum unit_status s = UNIT_OK;
    for (int first = 0; s == UNIT_OK && first < 64; first += 32) {
        s = fetch_b(op, d, first, cta, o->b);
        for (int n = 0; s == UNIT_OK && n < d->n; n++) {
            memcpy(o->wide[n] + first, o->b[n], 32);
        }
    }
    for (int c = 0; s == UNIT_OK && c < op->form.cta_group; c++) {
        s = fetch_metadata(op, d, p, cta[c], o->indices[c]);
    }
    return s;
}

// Scale of (row, k block): lane row % 32 of column base + row / 32, byte id + block; the other
// three lane quarters hold copies.
struct scale_read {
    const struct unit_cta *cta;
    uint32_t taddr;
    int rows, id, bytes;
    bool check_replicas;
};

static enum unit_status fetch_scales(const struct scale_read *r, uint8_t (*out)[4]) {
    uint32_t taddr = r->taddr & 0x3FFFFFFFu;
    uint32_t column = column_of(taddr);
    if (lane_of(taddr) != 0) {
        return UNIT_TMEM_LANE;
    }
    if (column + (uint32_t)(r->rows + 31) / 32 > UNIT_TMEM_COLS) {
        return UNIT_TMEM_RANGE;
    }
    for (int row = 0; row < r->rows; row++) {
        const uint32_t *lanes = r->cta->tmem[column + (uint32_t)row / 32];
        uint32_t mask = r->bytes == 4 ? ~0u : (1u << 8 * r->bytes) - 1;
        uint32_t word = lanes[row % 32] >> 8 * r->id & mask;
        for (int quarter = 1; r->check_replicas && quarter < 4; quarter++) {
            if ((lanes[32 * quarter + row % 32] >> 8 * r->id & mask) != word) {
                return UNIT_TMEM_REPLICA;
            }
        }
        memcpy(out[row], &word, 4);
    }
    return UNIT_OK;
}

// The id is in the instruction descriptor; libraries also carry it in bits 31:30 of the address.
static int sf_id(int in_descriptor, uint32_t taddr) {
    return in_descriptor ? in_descriptor : (int)(taddr >> SF_ID_SHIFT);
}

static enum unit_status fetch_sf(const struct unit_mma *op, const struct unit_idesc *d,
                                 const struct unit_cta *cta, uint8_t (*sa)[4], uint8_t (*sb)[4]) {
    int bytes = d->k / d->block;
    struct scale_read r = {.cta = cta,
                           .taddr = op->sfa,
                           .rows = d->m / op->form.cta_group,
                           .id = sf_id(d->sfa_id, op->sfa),
                           .bytes = bytes,
                           .check_replicas = op->check_replicas};
    if (r.id % bytes) {
        return UNIT_IDESC_SF_ID;
    }
    enum unit_status s = fetch_scales(&r, sa);
    if (s != UNIT_OK) {
        return s;
    }
    r.taddr = op->sfb;
    r.rows = d->n;
    r.id = sf_id(d->sfb_id, op->sfb);
    return r.id % bytes ? UNIT_IDESC_SF_ID : fetch_scales(&r, sb);
}

static enum unit_status fetch_all(const struct unit_mma *op, const struct unit_idesc *d,
                                  const struct placement *p, const struct unit_cta *const *cta,
                                  struct mma_operands *o) {
    enum unit_status s =
        d->sparse ? fetch_sparse(op, d, p, cta, o) : fetch_b(op, d, 0, cta, o->b);
    for (int c = 0; s == UNIT_OK && c < op->form.cta_group; c++) {
        s = fetch_a(op, d, p, cta[c], o->a[c]);
        if (s == UNIT_OK && d->block) {
            s = fetch_sf(op, d, cta[c], o->sa[c], o->sb[c]);
        }
    }
    return s;
}

// scale-input-d: D * 2^-n before the product is added.
static void scale_input(const struct unit_idesc *d, int by, uint32_t *word) {
    if (d->d == NUM_F16) {
        *word = num_f16_of(ldexpf(num_of_f16((uint16_t)*word), -by), NUM_RN);
    } else {
        *word = num_bits(num_canon(ldexpf(num_f32(*word), -by)));
    }
}

static bool lane_kept(const struct unit_mma *op, int cta, int lane) {
    const uint32_t *mask = op->disable_lanes;
    return mask && mask[4 * cta + lane / 32] >> lane % 32 & 1;
}

static void multiply_piece(const struct unit_mma *op, const struct unit_idesc *d,
                           const struct num_mm *mm, const struct unit_sparse *sparse,
                           const struct piece *q, uint32_t (*tmem)[UNIT_TMEM_LANES]) {
    for (int n = 0; op->enable_d && op->scale_d && n < q->cols; n++) {
        for (int m = 0; m < q->rows; m++) {
            scale_input(d, op->scale_d, &tmem[q->column + n][q->lane + m]);
        }
    }
    if (d->sparse) {
        unit_sparse_run(mm, sparse, &tmem[q->column][q->lane], UNIT_TMEM_LANES);
    } else {
        num_mm_run(mm, &tmem[q->column][q->lane], UNIT_TMEM_LANES);
    }
}

// Columns [first, first + n) of tensor memory, to put back the lanes that must not change.
static uint32_t (*save_columns(const struct unit_cta *cta, int first, int n))[UNIT_TMEM_LANES] {
    uint32_t(*copy)[UNIT_TMEM_LANES] = malloc((size_t)n * sizeof *copy);
    if (copy) {
        memcpy(copy, cta->tmem[first], (size_t)n * sizeof *copy);
    }
    return copy;
}

static void restore_lanes(const struct unit_mma *op, int c, const struct unit_cta *cta,
                          const struct placement *p, uint32_t (*copy)[UNIT_TMEM_LANES]) {
    for (int n = 0; copy && n < p->columns; n++) {
        for (int lane = 0; lane < UNIT_TMEM_LANES; lane++) {
            if (lane_kept(op, c, lane)) {
                cta->tmem[p->piece[0].column + n][lane] = copy[n][lane];
            }
        }
    }
    free(copy);
}

static void multiply(const struct unit_mma *op, const struct unit_idesc *d,
                     const struct placement *p, const struct unit_cta *const *cta,
                     const struct mma_operands *o) {
    struct num_mm mm = unit_arithmetic(d);
    mm.accumulate = op->enable_d;
    for (int c = 0; c < op->form.cta_group; c++) {
        uint32_t(*copy)[UNIT_TMEM_LANES] = NULL;
        if (op->disable_lanes) {
            copy = save_columns(cta[c], p->piece[0].column, p->columns);
        }
        for (int i = 0; i < p->n; i++) {
            const struct piece *q = &p->piece[i];
            mm.m = q->rows;
            mm.n = q->cols;
            mm.a = o->a[c] + q->m0;
            mm.b = o->b + q->n0;
            mm.sa = o->sa[c] + q->m0;
            mm.sb = o->sb[c] + q->n0;
            struct unit_sparse sparse = {o->indices[c] + q->m0, d->k <= 16 ? 2 : 1,
                                         (const uint8_t(*)[64])o->wide + q->n0};
            multiply_piece(op, d, &mm, &sparse, q, cta[c]->tmem);
        }
        restore_lanes(op, c, cta[c], p, copy);
    }
}

enum unit_status unit_mma(const struct unit_mma *op, const struct unit_cta *const cta[2]) {
    struct unit_idesc d;
    struct placement p = {.n = 0};
    enum unit_status s = unit_idesc_decode(&d, &op->form, op->idesc);
    if (s != UNIT_OK) {
        return s;
    }
    // Where a pair of 64 rows finds the scales of B is not known (no shipped kernel uses it).
    if (d.block && op->form.cta_group == 2 && d.m == 128) {
        return UNIT_UNSUPPORTED;
    }
    s = place(&p, op, &d);
    if (s != UNIT_OK) {
        return s;
    }
    struct mma_operands o;
    s = fetch_all(op, &d, &p, cta, &o);
    if (s == UNIT_OK) {
        multiply(op, &d, &p, cta, &o);
    }
    return s;
}
