// Tensor maps and tensor copies: random boxes of every rank, type and swizzle, checked element by
// element against address formulas written out here; the encoder's refusals; reductions.
#include "num_ref.h"
#include "units.h"
#include <stdio.h>
#include <stdlib.h>
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
// clang-format on

#define GMEM_BYTES (1u << 20)
#define GMEM_BASE 0x700000000000ull
#define SMEM_BYTES (192u * 1024)

struct world {
    uint8_t *gmem, *before, *smem;
    uint64_t limit; // bytes of gmem that are allocated
    struct unit_cta cta;
    struct unit_gmem access;
    struct ref_random r;
};

static void *translate(void *user, uint64_t address, uint64_t bytes, bool write) {
    struct world *w = user;
    (void)write;
    if (address < GMEM_BASE || address + bytes > GMEM_BASE + w->limit) {
        return NULL;
    }
    return w->gmem + (address - GMEM_BASE);
}

static void refill(struct world *w) {
    for (uint32_t i = 0; i < GMEM_BYTES; i += 4) {
        uint32_t v = ref_u32(&w->r);
        memcpy(w->gmem + i, &v, 4);
    }
    memcpy(w->before, w->gmem, GMEM_BYTES);
    memset(w->smem, 0xEE, SMEM_BYTES);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    w->gmem = malloc(GMEM_BYTES);
    w->before = malloc(GMEM_BYTES);
    w->smem = malloc(SMEM_BYTES);
    w->limit = GMEM_BYTES;
    w->cta = (struct unit_cta){.smem = w->smem, .smem_bytes = SMEM_BYTES};
    w->access = (struct unit_gmem){translate, w};
    w->r.state = 4242;
    refill(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    free(w->gmem);
    free(w->before);
    free(w->smem);
    free(w);
    return 0;
}

struct shape {
    uint64_t dim[5], stride[4];
    uint32_t box[5], step[5];
    int32_t coord[5];
    int dtype, swizzle, rank, bytes; // bytes of an element
    uint64_t offset;                 // of the tensor in gmem
};

static const int type_bytes[13] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
static const uint32_t span_bytes[7] = {0, 32, 64, 128, 128, 128, 128};

static void random_shape(struct world *w, struct shape *s) {
    struct ref_random *r = &w->r;
    memset(s, 0, sizeof *s);
    s->dtype = (int)ref_below(r, 10); // the types that copy bits as they are
    s->bytes = type_bytes[s->dtype];
    s->swizzle = (int)ref_below(r, 7);
    s->rank = 1 + (int)ref_below(r, 5);
    uint32_t most = s->swizzle ? span_bytes[s->swizzle] / 16 : 16;
    s->box[0] = 16 * (1 + ref_below(r, most)) / (uint32_t)s->bytes;
    s->box[0] = s->box[0] > 256 ? 256 : s->box[0];
    s->dim[0] = s->box[0] / 2 + ref_below(r, 40);
    uint64_t pitch = (s->dim[0] * (uint64_t)s->bytes + 15) / 16 * 16 + 16 * ref_below(r, 3);
    for (int i = 1; i < s->rank; i++) {
        s->dim[i] = 1 + ref_below(r, 6);
        s->box[i] = 1 + ref_below(r, 5);
        s->step[i] = ref_below(r, 3) ? 1 : 1 + ref_below(r, 3);
        s->stride[i - 1] = pitch;
        pitch = pitch * s->dim[i] + 16 * ref_below(r, 2);
    }
    s->step[0] = 1;
    s->offset = 16 * ref_below(r, 64);
    for (int i = 0; i < s->rank; i++) {
        s->coord[i] = (int32_t)ref_below(r, (uint32_t)s->dim[i] + 4) - (int)ref_below(r, 3);
    }
    s->coord[0] = s->coord[0] * s->bytes / 16 * 16 / s->bytes; // what the hardware demands
}

static struct sim_tmap encode(const struct shape *s, bool nan) {
    struct unit_tmap_args in = {.dtype = s->dtype,
                                .rank = (uint32_t)s->rank,
                                .address = GMEM_BASE + s->offset,
                                .dim = s->dim,
                                .stride = s->stride,
                                .box = s->box,
                                .elem_stride = s->step,
                                .swizzle = s->swizzle,
                                .oob_nan = nan};
    struct sim_tmap map;
    char why[200] = "";
    if (!unit_tmap_encode(&map, &in, why, sizeof why)) {
        fail_msg("%s", why);
    }
    return map;
}

// Shared address of byte 'at' of row 'row', written with divisions.
static uint32_t shared_address(const struct shape *s, uint32_t base, uint32_t row, uint32_t at) {
    uint32_t inner = s->box[0] * (uint32_t)s->bytes;
    uint32_t span = span_bytes[s->swizzle];
    uint32_t a = base + row * (span > inner ? span : inner) + at;
    uint32_t line = a / 128;
    uint32_t chunk = a / 16 % 8;
    uint32_t in_chunk = a % 16;
    switch (s->swizzle) {
    case 1:
        chunk ^= line % 2;
        break;
    case 2:
        chunk ^= line % 4;
        break;
    case 3:
        chunk ^= line % 8;
        break;
    case 4:
        chunk ^= 2 * (line % 4);
        break;
    case 5:
        chunk ^= 2 * (line % 4);
        in_chunk ^= 8 * (line % 2);
        break;
    case 6:
        chunk ^= 4 * (line % 2);
        break;
    default:
        return a;
    }
    return line * 128 + chunk * 16 + in_chunk;
}

// Calls 'f' for every element of the box with its row, index in the row and gmem offset (-1
// outside).
typedef void visit(struct world *w, const struct shape *s, uint32_t row, uint32_t i, int64_t at);
static uint32_t for_box(struct world *w, const struct shape *s, visit *f) {
    uint32_t n[5] = {s->box[0], 1, 1, 1, 1};
    for (int i = 1; i < s->rank; i++) {
        n[i] = (s->box[i] + s->step[i] - 1) / s->step[i];
    }
    uint32_t rows = n[1] * n[2] * n[3] * n[4];
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t index[5] = {0, row % n[1], row / n[1] % n[2], row / n[1] / n[2] % n[3],
                             row / n[1] / n[2] / n[3]};
        for (index[0] = 0; index[0] < n[0]; index[0]++) {
            int64_t at = (int64_t)s->offset;
            bool inside = true;
            for (int i = 0; i < s->rank; i++) {
                int64_t x = s->coord[i] + (int64_t)(index[i] * s->step[i]);
                inside &= x >= 0 && x < (int64_t)s->dim[i];
                at += x * (i ? (int64_t)s->stride[i - 1] : s->bytes);
            }
            f(w, s, row, index[0], inside ? at : -1);
        }
    }
    return rows;
}

static uint32_t smem_base;
static bool fill_nan;

static void expect_loaded(struct world *w, const struct shape *s, uint32_t row, uint32_t i,
                          int64_t at) {
    uint32_t a = shared_address(s, smem_base, row, i * (uint32_t)s->bytes);
    static const uint8_t zero[8], nan[8] = {0xF7, 0x7F, 0xF7, 0x7F, 0xF7, 0x7F, 0xF7, 0x7F};
    const uint8_t *outside = fill_nan ? nan : zero;
    const uint8_t *want = at < 0 ? outside : w->gmem + at;
    if (memcmp(w->smem + a, want, (size_t)s->bytes)) {
        fail_msg("type %d swizzle %d: row %u element %u (gmem %lld)", s->dtype, s->swizzle, row, i,
                 (long long)at);
    }
}

static void test_load(void **state) {
    struct world *w = *state;
    for (int n = 0; n < 3000; n++) {
        struct shape s;
        random_shape(w, &s);
        fill_nan = s.dtype >= TMAP_F16 && ref_below(&w->r, 2);
        struct sim_tmap map = encode(&s, fill_nan);
        smem_base = 128 * ref_below(&w->r, 16);
        struct unit_tma t = {.map = &map, .rank = s.rank, .coord = s.coord, .smem = smem_base};
        uint32_t end = smem_base + unit_tma_smem_bytes(&map, TMA_TILE);
        if (end > SMEM_BYTES) {
            assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_SMEM_RANGE);
            continue;
        }
        memset(w->smem, 0xEE, end + 1024);
        assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_OK);
        uint32_t rows = for_box(w, &s, expect_loaded);
        assert_int_equal(unit_tma_tx_bytes(&map, TMA_TILE), rows * s.box[0] * (uint32_t)s.bytes);
        for (uint32_t i = 0; i < smem_base; i++) {
            assert_int_equal(w->smem[i], 0xEE);
        }
        for (uint32_t i = (end + 127) / 128 * 128; i < (end + 1024) / 128 * 128; i++) {
            assert_int_equal(w->smem[i], 0xEE);
        }
    }
}

static void apply_store(struct world *w, const struct shape *s, uint32_t row, uint32_t i,
                        int64_t at) {
    uint32_t a = shared_address(s, smem_base, row, i * (uint32_t)s->bytes);
    if (at >= 0) {
        memcpy(w->before + at, w->smem + a, (size_t)s->bytes);
    }
}

static void test_store(void **state) {
    struct world *w = *state;
    for (int n = 0; n < 150; n++) {
        struct shape s;
        random_shape(w, &s);
        struct sim_tmap map = encode(&s, false);
        smem_base = 128 * ref_below(&w->r, 16);
        for (uint32_t i = 0; i < SMEM_BYTES; i += 4) {
            uint32_t v = ref_u32(&w->r);
            memcpy(w->smem + i, &v, 4);
        }
        bool negative = false;
        for (int i = 0; i < s.rank; i++) {
            negative |= s.coord[i] < 0;
        }
        struct unit_tma t = {.map = &map, .rank = s.rank, .coord = s.coord, .smem = smem_base};
        if (smem_base + unit_tma_smem_bytes(&map, TMA_TILE) > SMEM_BYTES) {
            continue;
        }
        assert_int_equal(unit_tma_store(&t, &w->access, &w->cta), negative ? UNIT_COORD : UNIT_OK);
        if (!negative) {
            s.dim[0] = ((s.dim[0] * (uint64_t)s.bytes + 15) / 16 * 16) / (uint64_t)s.bytes; // whole 16 bytes
            for_box(w, &s, apply_store);
        }
        assert_memory_equal(w->gmem, w->before, GMEM_BYTES); // nothing else was touched
    }
}

static struct shape plain_2d(int dtype, uint32_t cols, uint32_t rows) {
    struct shape s = {.dtype = dtype, .rank = 2, .bytes = type_bytes[dtype % 13]};
    s.dim[0] = cols;
    s.dim[1] = rows;
    s.box[0] = cols;
    s.box[1] = rows;
    s.step[0] = s.step[1] = 1;
    s.stride[0] = cols * (uint64_t)s.bytes;
    return s;
}

static void test_reduce(void **state) {
    struct world *w = *state;
    struct shape s = plain_2d(TMAP_F32, 32, 4);
    s.dim[1] = 3; // the last row is outside
    struct sim_tmap map = encode(&s, false);
    for (int i = 0; i < 128; i++) {
        float x = (float)i * 0.25f;
        float y = 3.0f - (float)i;
        memcpy(w->gmem + 4 * i, &x, 4);
        memcpy(w->smem + 4 * i, &y, 4);
    }
    struct unit_tma t = {.map = &map, .rank = 2, .coord = s.coord};
    assert_int_equal(unit_tma_reduce(&t, &w->access, &w->cta, UNIT_RED_ADD), UNIT_OK);
    for (int i = 0; i < 128; i++) {
        float got;
        memcpy(&got, w->gmem + 4 * i, 4);
        float x = (float)i * 0.25f;
        assert_true(got == (i < 96 ? x + (3.0f - (float)i) : x));
    }
    assert_int_equal(unit_tma_reduce(&t, &w->access, &w->cta, UNIT_RED_XOR), UNIT_REDUCE_TYPE);
    struct {
        enum unit_tmap_dtype t;
        enum unit_red op;
        uint64_t a, b, want;
    } rows[] = {{TMAP_U32, UNIT_RED_ADD, 0xFFFFFFFF, 2, 1},
                {TMAP_S32, UNIT_RED_MIN, 5, 0xFFFFFFFF, 0xFFFFFFFF},
                {TMAP_U32, UNIT_RED_MIN, 5, 0xFFFFFFFF, 5},
                {TMAP_U64, UNIT_RED_MAX, 1ull << 40, 3, 1ull << 40},
                {TMAP_U32, UNIT_RED_INC, 7, 7, 0},
                {TMAP_U32, UNIT_RED_INC, 6, 7, 7},
                {TMAP_U32, UNIT_RED_DEC, 0, 7, 7},
                {TMAP_U32, UNIT_RED_AND, 0xF0, 0x3C, 0x30},
                {TMAP_BF16, UNIT_RED_ADD, 0x3F80, 0x3B80, 0x3F80}, // tie to even
                {TMAP_BF16, UNIT_RED_ADD, 0x3F81, 0x3B80, 0x3F82}, // tie to even
                {TMAP_F16, UNIT_RED_MAX, 0xBC00, 0x3C00, 0x3C00},
                {TMAP_F16, UNIT_RED_ADD, 0x0001, 0x0001, 0x0002}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int bytes = type_bytes[rows[i].t];
        assert_int_equal(unit_bulk_reduce((uint8_t *)&rows[i].a, (uint8_t *)&rows[i].b,
                                          (size_t)bytes, rows[i].t, rows[i].op),
                         UNIT_OK);
        assert_int_equal(rows[i].a, rows[i].want);
    }
}

static void test_gather4(void **state) {
    struct world *w = *state;
    struct shape s = plain_2d(TMAP_U8, 256, 40);
    s.box[0] = 64;
    s.box[1] = 1;
    s.swizzle = TMAP_SW_64;
    struct sim_tmap map = encode(&s, false);
    int32_t coord[5] = {32, 7, 39, 0, 40}; // the last row is outside
    struct unit_tma t = {.map = &map, .rank = 2, .coord = coord, .smem = 1024, .mode = TMA_GATHER4};
    assert_int_equal(unit_tma_tx_bytes(&map, TMA_GATHER4), 256);
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_OK);
    for (uint32_t row = 0; row < 4; row++) {
        for (uint32_t i = 0; i < 64; i++) {
            uint8_t want = row == 3 ? 0 : w->gmem[coord[1 + row] * 256 + 32 + (int)i];
            assert_int_equal(w->smem[shared_address(&s, 1024, row, i)], want);
        }
    }
}

// Packed FP4 and FP6 spread to 16-byte containers; the mbarrier counts packed bytes.
static void test_padded_types(void **state) {
    struct world *w = *state;
    for (int dtype = TMAP_B4X16_P64; dtype <= TMAP_B6X16_P32; dtype++) {
        uint32_t data = dtype == TMAP_B4X16_P64 ? 8 : 12;
        struct shape s = plain_2d(TMAP_U8, 128, 8);
        s.dtype = dtype;
        s.dim[0] = 256;
        s.dim[1] = 6;
        s.stride[0] = 256 * data / 16;
        s.swizzle = TMAP_SW_128;
        s.coord[0] = 128;
        struct sim_tmap map = encode(&s, false);
        struct unit_tma t = {.map = &map, .rank = 2, .coord = s.coord, .smem = 1024};
        assert_int_equal(unit_tma_tx_bytes(&map, TMA_TILE), 8 * 8 * data);
        assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_OK);
        for (uint32_t row = 0; row < 8; row++) {
            for (uint32_t i = 0; i < 128; i++) {
                uint32_t at = row * (uint32_t)s.stride[0] + 8 * data + i / 16 * data + i % 16;
                uint8_t want = row < 6 && i % 16 < data ? w->gmem[at] : 0;
                assert_int_equal(w->smem[shared_address(&s, 1024, row, i)], want);
            }
        }
        s.coord[0] = 64;
        assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_COORD);
        s.coord[0] = 0;
        assert_int_equal(unit_tma_store(&t, &w->access, &w->cta),
                         dtype == TMAP_B4X16_P64 ? UNIT_MAP_MODE : UNIT_OK);
    }
    struct shape s = plain_2d(TMAP_U8, 64, 2); // type 13: the bytes as they are
    s.dtype = TMAP_B4X16;
    s.dim[0] = 128;
    s.stride[0] = 64;
    s.coord[0] = 32;
    struct sim_tmap map = encode(&s, false);
    struct unit_tma t = {.map = &map, .rank = 2, .coord = s.coord};
    assert_int_equal(unit_tma_tx_bytes(&map, TMA_TILE), 64);
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_OK);
    assert_memory_equal(w->smem + 32, w->gmem + 64 + 16, 32);
}

static void test_faults(void **state) {
    struct world *w = *state;
    struct shape s = plain_2d(TMAP_U8, 64, 8);
    struct sim_tmap map = encode(&s, false);
    struct unit_tma t = {.map = &map, .rank = 2, .coord = s.coord, .smem = 64};
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_SMEM_ALIGN);
    t.smem = 0;
    s.coord[0] = 8;
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_COORD);
    assert_int_equal(unit_tma_store(&t, &w->access, &w->cta), UNIT_COORD);
    s.coord[0] = 0;
    w->limit = 100;
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_GMEM_FAULT);
    assert_int_equal(unit_tma_store(&t, &w->access, &w->cta), UNIT_GMEM_FAULT);
    t.rank = 3;
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_MAP_MODE);
    t.rank = 2;
    map.magic = 0;
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_MAP_MAGIC);
}

static void test_replace(void **state) {
    struct world *w = *state;
    struct shape s = plain_2d(TMAP_U8, 64, 8);
    struct sim_tmap map = encode(&s, false);
    assert_int_equal(unit_tmap_replace(&map, TMAP_FIELD_GLOBAL_ADDRESS, 0, GMEM_BASE + 4096), 0);
    assert_int_equal(unit_tmap_replace(&map, TMAP_FIELD_GLOBAL_DIM, 1, 3), 0);
    assert_int_equal(unit_tmap_replace(&map, TMAP_FIELD_GLOBAL_STRIDE, 0, 128), 0);
    assert_int_equal(unit_tmap_replace(&map, TMAP_FIELD_GLOBAL_STRIDE, 0, 24), UNIT_MAP_MODE);
    struct unit_tma t = {.map = &map, .rank = 2, .coord = s.coord};
    assert_int_equal(unit_tma_load(&t, &w->access, &w->cta), UNIT_OK);
    assert_memory_equal(w->smem + 128, w->gmem + 4096 + 256, 64);
    assert_int_equal(w->smem[3 * 64], 0);
    assert_int_equal(unit_tmap_replace(&map, TMAP_FIELD_ELEMTYPE, 0, 9), 0);
    assert_int_equal(map.dtype, TMAP_F64);
    // made from 128 zero bytes, field by field, it is what the encoder makes
    struct sim_tmap made, want = encode(&s, false);
    memset(&made, 0, sizeof made);
    assert_int_equal(unit_tmap_replace(&made, TMAP_FIELD_GLOBAL_ADDRESS, 0, want.address), 0);
    assert_int_equal(unit_tmap_replace(&made, TMAP_FIELD_RANK, 0, 1), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unit_tmap_replace(&made, TMAP_FIELD_BOX_DIM, i, want.box[i]), 0);
        assert_int_equal(unit_tmap_replace(&made, TMAP_FIELD_GLOBAL_DIM, i, want.dim[i]), 0);
    }
    assert_int_equal(unit_tmap_replace(&made, TMAP_FIELD_GLOBAL_STRIDE, 0, want.stride[0]), 0);
    made.l2 = want.l2;
    assert_memory_equal(&made, &want, sizeof made);
}

// Each row breaks one rule of an otherwise good map; the sentence must name the number.
static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *part;
        int dtype, swizzle, interleave, rank, nan;
        uint64_t address, dim0, stride0;
        uint32_t box0, box1, step1;
    } rows[] = {
        {"code 16", 16, 0, 0, 2, 0, 0, 256, 256, 64, 8, 1},
        {"code 13", 13, 0, 0, 2, 0, 0, 256, 256, 64, 8, 1},
        {"swizzle code 7", 0, 7, 0, 2, 0, 0, 256, 256, 64, 8, 1},
        {"rank 0", 0, 0, 0, 0, 0, 0, 256, 256, 64, 8, 1},
        {"rank 2 is not one of 3", 0, 0, 1, 2, 0, 0, 256, 256, 64, 8, 1},
        {"NaN fill", 0, 0, 0, 2, 1, 0, 256, 256, 64, 8, 1},
        {"address 0x700000000008", 0, 0, 0, 2, 0, 8, 256, 256, 64, 8, 1},
        {"size 0 of axis 0", 0, 0, 0, 2, 0, 0, 0, 256, 64, 8, 1},
        {"stride 264", 0, 0, 0, 2, 0, 0, 256, 264, 64, 8, 1},
        {"box size 257", 0, 0, 0, 2, 0, 0, 256, 256, 64, 257, 1},
        {"element stride 9", 0, 0, 0, 2, 0, 0, 256, 256, 64, 8, 9},
        {"320 bits", 0, 0, 0, 2, 0, 0, 256, 256, 40, 8, 1},
        {"64 bytes, more than the 32", 0, 1, 0, 2, 0, 0, 256, 256, 64, 8, 1},
        {"must be 128", 14, 0, 0, 2, 0, 0, 256, 256, 64, 8, 1},
        {"multiple of 128", 14, 0, 0, 2, 0, 0, 192, 256, 128, 8, 1},
        {"swizzle code 2", 15, 2, 0, 2, 0, 0, 256, 256, 128, 8, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t dim[2] = {rows[i].dim0, 8};
        uint64_t stride[1] = {rows[i].stride0};
        uint32_t box[2] = {rows[i].box0, rows[i].box1};
        uint32_t step[2] = {1, rows[i].step1};
        struct unit_tmap_args in = {.dtype = rows[i].dtype,
                                    .rank = (uint32_t)rows[i].rank,
                                    .address = GMEM_BASE + rows[i].address,
                                    .dim = dim,
                                    .stride = stride,
                                    .box = box,
                                    .elem_stride = step,
                                    .swizzle = rows[i].swizzle,
                                    .interleave = rows[i].interleave,
                                    .oob_nan = rows[i].nan,
                                    .hopper = i == 1};
        struct sim_tmap map;
        char why[200] = "accepted";
        assert_false(unit_tmap_encode(&map, &in, why, sizeof why));
        if (!strstr(why, rows[i].part)) {
            fail_msg("'%s' does not contain '%s'", why, rows[i].part);
        }
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_load),    T(test_store),        T(test_reduce),
                                       T(test_gather4), T(test_padded_types), T(test_faults),
                                       T(test_replace), T(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
