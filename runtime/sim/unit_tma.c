// Tensor copies (cp.async.bulk.tensor, cp.reduce.async.bulk.tensor) of one box between global
// memory and the shared memory of one CTA.
//
// A box is rows along axis 0; each is a run of global memory, clipped to the tensor, and a run of
// shared memory at a fixed pitch whose 16-byte chunks are permuted by the swizzle of their absolute
// address (measured on H200: pitch = swizzle span even for narrower boxes, the whole box counts on
// the mbarrier whatever is out of bounds, stores drop what lies beyond and trap on negative
// starts).
#include "unit_tma.h"

#define SMEM_ALIGN 128
#define MAX_ROW_BYTES 2048
#define CHUNK 16 // bytes that a store takes or leaves together

// Sizes of a box as the copy sees it; of a map that is none nothing.
struct box {
    const struct sim_tmap *map;
    uint32_t gmem_bytes; // of one row
    uint32_t smem_bytes; // of one row
    uint32_t pitch;
    uint32_t rows[4]; // along axes 1..4
    uint32_t n_rows;
};

static struct box box_of(const struct sim_tmap *map, enum unit_tma_mode mode) {
    struct box b = {.map = map};
    if (!unit_tmap_is_sound(map)) {
        return b;
    }
    b.n_rows = 1;
    b.gmem_bytes = map->box[0] * (uint32_t)unit_tmap_elem_bits(map->dtype) / 8;
    b.smem_bytes = unit_tmap_is_padded(map->dtype) ? map->box[0] : b.gmem_bytes;
    uint32_t span = unit_tmap_swizzle_span(map->swizzle);
    b.pitch = span > b.smem_bytes ? span : b.smem_bytes;
    for (uint32_t i = 1; i < 5; i++) {
        uint32_t step = map->elem_stride[i];
        uint32_t n = i < map->rank ? (map->box[i] + step - 1) / step : 1;
        b.rows[i - 1] = mode == TMA_GATHER4 && i == 1 ? 4 : n;
        b.n_rows *= b.rows[i - 1];
    }
    return b;
}

uint32_t unit_tma_tx_bytes(const struct sim_tmap *map, enum unit_tma_mode mode) {
    struct box b = box_of(map, mode);
    return b.gmem_bytes * b.n_rows;
}

uint32_t unit_tma_smem_bytes(const struct sim_tmap *map, enum unit_tma_mode mode) {
    struct box b = box_of(map, mode);
    return b.pitch * b.n_rows;
}

static uint32_t swizzled(int mode, uint32_t a) {
    switch (mode) {
    case TMAP_SW_32:
        return a ^ (a >> 7 & 1) << 4;
    case TMAP_SW_64:
        return a ^ (a >> 7 & 3) << 4;
    case TMAP_SW_128:
        return a ^ (a >> 7 & 7) << 4;
    case TMAP_SW_128_ATOM32:
        return a ^ (a >> 7 & 3) << 5;
    case TMAP_SW_128_ATOM32_FLIP8:
        return a ^ (a >> 7 & 3) << 5 ^ (a >> 7 & 1) << 3;
    case TMAP_SW_128_ATOM64:
        return a ^ (a >> 7 & 1) << 6;
    default:
        return a;
    }
}

// One row between shared memory and a linear buffer.
static void move_smem_row(const struct box *b, uint8_t *smem, uint32_t address, uint8_t *row,
                          bool to_smem) {
    uint32_t chunk = b->map->swizzle == TMAP_SW_NONE               ? b->smem_bytes
                     : b->map->swizzle == TMAP_SW_128_ATOM32_FLIP8 ? 8
                                                                   : 16;
    for (uint32_t i = 0; i < b->smem_bytes; i += chunk) {
        uint8_t *at = smem + swizzled(b->map->swizzle, address + i);
        memcpy(to_smem ? at : row + i, to_smem ? row + i : at, chunk);
    }
}

// Sub-byte containers of 16 elements: packed bytes first, then padding.
static uint32_t container_bytes(const struct sim_tmap *map) {
    return map->dtype == TMAP_B4X16_P64 ? 8 : 12;
}

static void spread(const struct box *b, const uint8_t *packed, uint8_t *row) {
    uint32_t data = container_bytes(b->map);
    memset(row, 0, b->smem_bytes);
    for (uint32_t i = 0; i < b->smem_bytes / 16; i++) {
        memcpy(row + 16 * i, packed + data * i, data);
    }
}

static void gather(const struct box *b, const uint8_t *row, uint8_t *packed) {
    uint32_t data = container_bytes(b->map);
    for (uint32_t i = 0; i < b->smem_bytes / 16; i++) {
        memcpy(packed + data * i, row + 16 * i, data);
    }
}

// What lies outside of the tensor: zeros, or 16-bit words that are NaN in every type (H200).
static void fill_outside(const struct sim_tmap *map, uint8_t *row, uint32_t bytes) {
    memset(row, 0, bytes);
    for (uint32_t i = 0; map->oob_nan && i < bytes; i += 2) {
        row[i] = 0xF7;
        row[i + 1] = 0x7F;
    }
}

// TFLOAT32 elements are rounded on the way; the types with FTZ keep their subnormals (H200).
static void round_loaded(const struct sim_tmap *map, uint8_t *row, uint32_t bytes) {
    if (map->dtype != TMAP_TF32 && map->dtype != TMAP_TF32_FTZ) {
        return;
    }
    for (uint32_t i = 0; i + 4 <= bytes; i += 4) {
        float x;
        memcpy(&x, row + i, 4);
        uint32_t rounded = num_tf32_of(x, NUM_RN);
        memcpy(row + i, &rounded, 4);
    }
}

// The part of row 'index' that is inside the tensor: bytes [first, first + bytes) of the row, at
// 'address'. bytes is 0 when all of it is outside.
struct run {
    uint64_t address;
    uint32_t first, bytes;
};

static struct run run_of(const struct unit_tma *t, const struct box *b, uint32_t index) {
    const struct sim_tmap *map = b->map;
    struct run r = {.address = map->address};
    for (uint32_t axis = 1; axis < map->rank; axis++) {
        uint32_t n = b->rows[axis - 1];
        int64_t at = index % n;
        index /= n;
        int64_t x = t->mode == TMA_GATHER4 ? t->coord[1 + at]
                                           : (int64_t)t->coord[axis] + at * map->elem_stride[axis];
        if (x < 0 || (uint64_t)x >= map->dim[axis]) {
            return r;
        }
        r.address += (uint64_t)x * map->stride[axis - 1];
    }
    int64_t bits = unit_tmap_elem_bits(map->dtype);
    int64_t x0 = t->coord[0];
    int64_t begin = x0 < 0 ? -x0 : 0;
    int64_t end = (int64_t)map->dim[0] - x0;
    end = end > map->box[0] ? map->box[0] : end;
    if (begin < end) {
        r.first = (uint32_t)(begin * bits / 8);
        r.bytes = (uint32_t)((end - begin) * bits / 8);
        r.address += (uint64_t)((x0 + begin) * bits / 8);
    }
    return r;
}

static enum unit_status check(const struct unit_tma *t, const struct unit_cta *cta, struct box *b) {
    const struct sim_tmap *map = t->map;
    if (map->magic != SIM_TMAP_MAGIC) {
        return UNIT_MAP_MAGIC;
    }
    if (map->interleave) {
        return UNIT_UNSUPPORTED;
    }
    bool gather_ok = t->mode != TMA_GATHER4 || (map->rank == 2 && map->box[1] == 1);
    if (map->rank != t->rank || !unit_tmap_is_sound(map) || !gather_ok) {
        return UNIT_MAP_MODE;
    }
    *b = box_of(map, t->mode);
    uint32_t span = unit_tmap_swizzle_span(map->swizzle);
    // A replaced field can break what the encoder guaranteed.
    if (b->smem_bytes % 16 || b->smem_bytes > MAX_ROW_BYTES || (span && b->smem_bytes > span) ||
        (unit_tmap_is_padded(map->dtype) && map->box[0] != 128)) {
        return UNIT_MAP_MODE;
    }
    if (t->smem % SMEM_ALIGN) {
        return UNIT_SMEM_ALIGN;
    }
    // The swizzle permutes inside blocks of span bytes.
    uint64_t end = (uint64_t)t->smem + (uint64_t)b->pitch * b->n_rows;
    if (end > cta->smem_bytes) {
        return UNIT_SMEM_RANGE;
    }
    // Rows begin at whole 16 bytes of the tensor's: anything else is an illegal instruction on H200.
    bool packed = unit_tmap_is_padded(map->dtype) || map->dtype == TMAP_B4X16;
    int32_t step = unit_tmap_is_padded(map->dtype) ? 128
                   : packed                        ? 2
                                                   : CHUNK * 8 / unit_tmap_elem_bits(map->dtype);
    return t->coord[0] % step ? UNIT_COORD : UNIT_OK;
}

enum unit_status unit_tma_load(const struct unit_tma *t, const struct unit_gmem *g,
                               const struct unit_cta *cta) {
    struct box b;
    enum unit_status s = check(t, cta, &b);
    for (uint32_t i = 0; s == UNIT_OK && i < b.n_rows; i++) {
        uint8_t packed[MAX_ROW_BYTES];
        uint8_t row[MAX_ROW_BYTES];
        struct run r = run_of(t, &b, i);
        if (r.bytes < b.gmem_bytes) {
            fill_outside(t->map, packed, b.gmem_bytes);
        }
        if (r.bytes) {
            const uint8_t *src = g->translate(g->user, r.address, r.bytes, false);
            if (!src) {
                return UNIT_GMEM_FAULT;
            }
            memcpy(packed + r.first, src, r.bytes);
            round_loaded(t->map, packed + r.first, r.bytes);
        }
        bool padded = unit_tmap_is_padded(t->map->dtype);
        if (padded) {
            spread(&b, packed, row);
        }
        move_smem_row(&b, cta->smem, t->smem + i * b.pitch, padded ? row : packed, true);
    }
    return s;
}

void unit_tma_fill(const struct sim_tmap *map, enum unit_tma_mode mode, uint8_t *smem, uint32_t to,
                   uint8_t value) {
    struct box b = box_of(map, mode);
    uint8_t row[MAX_ROW_BYTES];
    if (to % SMEM_ALIGN != 0 || b.smem_bytes % 16 != 0 || b.smem_bytes > MAX_ROW_BYTES) {
        return; // the load itself will be refused
    }
    memset(row, value, b.smem_bytes);
    for (uint32_t i = 0; i < b.n_rows; i++) {
        move_smem_row(&b, smem, to + i * b.pitch, row, true);
    }
}

// Rows of a store, or with 'op' of a reduction.
static enum unit_status for_stored_rows(const struct unit_tma *t, const struct unit_gmem *g,
                                        const struct unit_cta *cta, const enum unit_red *op) {
    struct box b;
    enum unit_status s = check(t, cta, &b);
    int coords = t->mode == TMA_GATHER4 ? 5 : t->rank;
    for (int i = 0; s == UNIT_OK && i < coords; i++) {
        s = t->coord[i] < 0 ? UNIT_COORD : UNIT_OK; // an illegal instruction on H200
    }
    for (uint32_t i = 0; s == UNIT_OK && i < b.n_rows; i++) {
        uint8_t packed[MAX_ROW_BYTES];
        uint8_t row[MAX_ROW_BYTES];
        struct run r = run_of(t, &b, i);
        if (r.bytes == 0) {
            continue;
        }
        // The tensor's end is only respected in steps of 16 bytes (H200): the pitch has room for that.
        r.bytes = (r.bytes + CHUNK - 1) / CHUNK * CHUNK;
        r.bytes = r.bytes > b.gmem_bytes ? b.gmem_bytes : r.bytes;
        move_smem_row(&b, cta->smem, t->smem + i * b.pitch, row, false);
        bool padded = unit_tmap_is_padded(t->map->dtype);
        if (padded) {
            gather(&b, row, packed);
        }
        const uint8_t *src = (padded ? packed : row) + r.first;
        uint8_t *dst = g->translate(g->user, r.address, r.bytes, true);
        if (!dst) {
            return UNIT_GMEM_FAULT;
        }
        if (op) {
            s = unit_bulk_reduce(dst, src, r.bytes, (enum unit_tmap_dtype)t->map->dtype, *op);
        } else {
            memcpy(dst, src, r.bytes);
        }
    }
    return s;
}

enum unit_status unit_tma_store(const struct unit_tma *t, const struct unit_gmem *g,
                                const struct unit_cta *cta) {
    // PTX ISA "cp.async.bulk.tensor": .b4x16_p64 has no store.
    return t->map->dtype == TMAP_B4X16_P64 ? UNIT_MAP_MODE : for_stored_rows(t, g, cta, NULL);
}

enum unit_status unit_tma_reduce(const struct unit_tma *t, const struct unit_gmem *g,
                                 const struct unit_cta *cta, enum unit_red op) {
    return unit_tmap_elem_bits(t->map->dtype) < 8 ? UNIT_REDUCE_TYPE
                                                  : for_stored_rows(t, g, cta, &op);
}

void unit_tma_rows(const struct unit_tma *t,
                   void (*row)(void *user, uint64_t address, uint64_t bytes), void *user) {
    struct box b = box_of(t->map, t->mode);
    for (uint32_t i = 0; t->map->rank >= 1 && t->map->rank <= 5 && i < b.n_rows; i++) {
        struct run r = run_of(t, &b, i);
        if (r.bytes > 0) {
            row(user, r.address, r.bytes);
        }
    }
}
