// 4-bit weights on sm_90a ('mma wgmma dequant bf16 | f16 | e4m3'): a warp reads its rows of the
// tile from shared memory, decodes them and feeds them as operand A from registers.
//
// To a 16-bit type. An element times its scale is exact (2 by 4 significant bits; f16 is allowed
// for ue4m3 scales only), so the products are those of the numbers that the format means. PTX ISA
// "Register Fragments for wgmma.mma_async.m64nNk16", A: register r of lane 4g + q holds elements 2q
// and 2q + 1 (+ 8 for r / 2) of row g (+ 8 for r % 2). Two 4-bit elements are one byte, so two
// registers come from byte q of two words of eight elements, gathered by a byte permutation (prmt).
// Two more, whose selectors are the four elements themselves, look up 0xC0 + 2|x| and 0x3F + 2|x|:
// bit 3 of a selector, the sign, asks for copies of the looked up byte's sign bit instead, 0xFF or
// 0, and is flipped for the second, so that the difference is 0xC0 + 2x. As the low byte of a
// 16-bit number in [64, 128) (bf16) or [512, 1024) (f16) that is x and a constant, which an
// addition takes off; where no scale can overflow, one fma does so and scales.
//
// To e4m3. A register of m64nNk32 holds elements 4q .. 4q + 3 (+ 16 for r / 2): two bytes of the
// row. The eight magnitudes of the granule's scale come from a table (wgmma_table.c) with the sign
// bit set; prmt picks four of them, the elements' own magnitude codes being its selectors, and
// takes the sign bits off again: in its sign-replicating mode, which bit 3 of a selector asks for,
// 0x40 becomes 0, so the elements themselves pick 0x40 where they are positive, and twice that is
// subtracted.
//
// Scales lie as 128 x 4 atoms (hardware manual of the block-scaled MMAs): the word of row r holds
// four.
#include "wgmma_int.h"

enum { STEP = 16, CHUNK = 16, CHUNK_STEPS = 2, FOLD_STEP = 32 };

typedef struct {
    const char *name;
    int64_t high;       // the byte above 0xC0 + 2x, four times
    int64_t centre;     // minus the number that has 0xC0 there, both halves
} wide_type;

static const wide_type to_bf16 = {"bf16x2", 0x42424242, 0xC2C0C2C0}; // -96
static const wide_type to_f16 = {"f16x2", 0x60606060, 0xE0C0E0C0};   // -608

// op "add.rn", "mul.rn" or "fma.rn" on pairs.
static ll_val arith(cg *c, const wide_type *t, const char *op, int n, const ll_val *args) {
    ll_asm a = {.text = arena_printf(c->mem, n == 3 ? "%s.%s $0, $1, $2, $3;" : "%s.%s $0, $1, $2;",
                                     op, t->name),
                .constraints = n == 3 ? "=r,r,r,r" : "=r,r,r",
                .n_out = 1,
                .out = {LL_I32}};
    return ll_call_asm(c->b, &a, n, args);
}

static ll_val permute(cg *c, ll_val x, ll_val y, ll_val select) {
    return LL_INTR(c->b, "llvm.nvvm.prmt", x, y, select);
}

// --- Scales --------------------------------------------------------------------------------------

// Four ue4m3 codes of a word as f16 pairs: elements 0, 1 and 2, 3. The sign bit means nothing.
static void unpack_ue4m3(cg *c, ll_val word, ll_val out[2]) {
    ll *b = c->b;
    ll_asm cvt = {.text = "{ .reg .b16 lo, hi; mov.b32 {lo, hi}, $2; cvt.rn.f16x2.e4m3x2 $0, lo; "
                          "cvt.rn.f16x2.e4m3x2 $1, hi; }",
                  .constraints = "=r,=r,r", .n_out = 2, .out = {LL_I32, LL_I32}};
    ll_val r = LL_ASM(b, &cvt, ll_bini(b, LL_AND, word, 0x7F7F7F7F));
    out[0] = ll_extract(b, r, 0);
    out[1] = ll_extract(b, r, 1);
}

// Element 'high' of an f16 pair in both halves of the wide type.
static ll_val spread_f16(cg *c, const wide_type *t, ll_val pair, bool high) {
    ll *b = c->b;
    if (t == &to_f16) {
        return permute(c, pair, pair, ll_i32(b, high ? 0x3232 : 0x1010));
    }
    // Exact in bf16, which is the high half of an f32.
    ll_asm cvt = {.text = high ? "{ .reg .b16 lo, hi; mov.b32 {lo, hi}, $1; cvt.f32.f16 $0, hi; }"
                               : "{ .reg .b16 lo, hi; mov.b32 {lo, hi}, $1; cvt.f32.f16 $0, lo; }",
                  .constraints = "=r,r", .n_out = 1, .out = {LL_I32}};
    ll_val x = LL_ASM(b, &cvt, pair);
    ll_asm both = {.text = "{ .reg .b16 lo, hi; mov.b32 {lo, hi}, $1; mov.b32 $0, {hi, hi}; }",
                   .constraints = "=r,r", .n_out = 1, .out = {LL_I32}};
    return LL_ASM(b, &both, x);
}

// Code 'byte' of a word of ue8m0 as bf16 in both halves: the exponent field; 2^-127 is subnormal.
static ll_val spread_ue8m0(cg *c, ll_val word, int byte) {
    ll *b = c->b;
    ll_val code = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, word, 8 * byte), 255);
    ll_val v = ll_muli(b, code, 0x00800080);
    v = ll_select(b, ll_cmpi(b, LL_EQ, code, 0), ll_i32(b, 0x00400040), v);
    return ll_select(b, ll_cmpi(b, LL_EQ, code, 255), ll_i32(b, 0x7FFF7FFF), v);
}

// --- Rows ----------------------------------------------------------------------------------------

typedef struct {
    const tir_operand *op;
    const tir_box *data, *scale;
    const wide_type *type; // NULL: e4m3
    elem_kind scale_type;
    int granule;
    ll_val slot;
    ll_val row;     // i32: this lane's first row in the CTA's tile
    ll_val swizzle; // i32: what its chunks are xored with, in bytes
    ll_val into;    // i32: rows from the first row of the scales to the tile's first
    ll_val select;  // byte permutation of the lane
    ll_val above, below, high; // tables of look_up
    ll_val pair;    // e4m3: 2q, the lane's bytes of a half chunk
    ll_val copy;    // e4m3: bytes from a line of the table to the copy of the lane's row
    ll_val table;   // e4m3: address of the table
} rows;

// A slot's scales begin with the 128-row tile that its first row is in.
static ll_val rows_into(cg *c, const rows *r) {
    tir_coord row = r->data->coords[1], tile = r->scale->coords[2];
    row.rank_mul = r->data->rank_offset ? 0 : row.rank_mul;
    tile.rank_mul = r->scale->rank_offset ? 0 : tile.rank_mul;
    ll_val first = ll_muli(c->b, cg_scale_coord(c, &tile, r->op->param), TIR_ATOM_ROWS);
    return ll_sub(c->b, cg_scale_coord(c, &row, r->op->param), first);
}

// A constant in a register: ptxas would move one that it knows there again for every use. It does
// not know how small a row is.
static ll_val kept(cg *c, const rows *r, int64_t value) {
    return ll_bini(c->b, LL_OR, ll_bini(c->b, LL_LSHR, r->row, 24), value);
}

static rows rows_of(cg *c, const tir_mma *m) {
    ll *b = c->b;
    const tir_operand *op = &c->k->operands[m->a];
    const tir_channel *ch = &c->k->channels[op->channel];
    const tir_param *p = &c->k->params[op->param];
    rows r = {.op = op,
              .data = &ch->boxes[op->data],
              .scale = &ch->boxes[op->scale],
              .type = m->table > 0 ? NULL : mma_kinds[m->kind].a == ELEM_BF16 ? &to_bf16 : &to_f16,
              .scale_type = p->scale,
              .granule = p->granule,
              .slot = cg_slot_addr(c, op->channel)};
    ll_val g = ll_bini(b, LL_LSHR, c->lane, 2), q = ll_bini(b, LL_AND, c->lane, 3);
    int span = op->row_bytes, bits = span == 128 ? 3 : span == 64 ? 2 : 1; // 16 << bits bytes
    ll_val part = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, g, 3 - bits), (1 << bits) - 1);
    r.swizzle = ll_bini(b, LL_SHL, part, 4);
    r.row = ll_add(b, mma_warp_row(c, c->accs[m->acc].rows), g);
    r.into = rows_into(c, &r);
    if (m->table > 0) {
        r.copy = ll_muli(b, g, MMA_TABLE_ENTRY);
        r.table = cg_smem_at(c, m->table);
        r.pair = ll_bini(b, LL_SHL, q, 1);
        return r;
    }
    // Byte 0: byte q of the first word; byte 1: of the second.
    r.select = ll_addi(b, ll_muli(b, q, 0x11), 0x40);
    r.above = kept(c, &r, 0xC3C2C1C0);
    r.below = kept(c, &r, 0x4241403F);
    r.high = kept(c, &r, r.type->high);
    return r;
}

// Address of chunk 'chunk' (16 bytes, 32 elements) of the lane's row 8 * group + g.
static ll_val chunk_at(cg *c, const rows *r, int group, int chunk) {
    ll *b = c->b;
    int slab = chunk * CHUNK / r->op->row_bytes, in = chunk * CHUNK % r->op->row_bytes;
    ll_val at = ll_muli(b, ll_addi(b, r->row, (int64_t)8 * group), r->op->row_bytes);
    at = ll_add(b, at, ll_addi(b, r->slot, r->data->offset + (int64_t)slab * r->data->box_pitch));
    return ll_add(b, at, ll_bini(b, LL_XOR, r->swizzle, in));
}

static ll_val load_scales(cg *c, const rows *r, int group, int word) {
    ll *b = c->b;
    int atoms = c->k->maps[r->scale->map].box[1];
    ll_val row = ll_add(b, r->into, ll_addi(b, r->row, (int64_t)8 * group));
    ll_val at = ll_muli(b, ll_bini(b, LL_LSHR, row, 7), (int64_t)atoms * TIR_ATOM_BYTES);
    at = ll_add(b, at, ll_bini(b, LL_SHL, ll_bini(b, LL_AND, row, 31), 4));
    at = ll_add(b, at, ll_bini(b, LL_SHL, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), 2));
    at = ll_add(b, at, ll_addi(b, r->slot, r->scale->offset + (int64_t)word * TIR_ATOM_BYTES));
    ll_val out;
    ll_load_words(b, at, 1, &out);
    return out;
}

// Scales as factors of a register's two elements.
typedef struct {
    ll_val scale;
    ll_val centre; // times the scale; NULL: the product could overflow
} factors;

// 96 times a scale: up to 448 it fits bf16.
static bool is_fused(const rows *r) {
    return r->type == &to_bf16 && r->scale_type == ELEM_UE4M3;
}

static factors factors_of(cg *c, const rows *r, ll_val scale) {
    factors f = {.scale = scale};
    if (is_fused(r)) {
        f.centre = arith(c, r->type, "mul.rn", 2, (ll_val[]){scale, ll_i32(c->b, r->type->centre)});
    }
    return f;
}

// The scales of a row for granules first .. last - 1 of the tile.
static void spread_scales(cg *c, const rows *r, int group, int first, int last, factors *out) {
    for (int word = first / 4; word < (last + 3) / 4; word++) {
        ll_val codes = load_scales(c, r, group, word), pairs[2];
        if (r->scale_type == ELEM_UE4M3) {
            unpack_ue4m3(c, codes, pairs);
        }
        for (int i = 4 * word; i < 4 * word + 4 && i < last; i++) {
            if (i >= first) {
                ll_val scale = r->scale_type == ELEM_UE4M3
                                   ? spread_f16(c, r->type, pairs[i % 4 / 2], i % 2)
                                   : spread_ue8m0(c, codes, i % 4);
                out[i] = factors_of(c, r, scale);
            }
        }
    }
}

// The lane's four elements of two words, two and two, still with the centre.
static void look_up(cg *c, const rows *r, const ll_val words[2], ll_val out[2]) {
    ll *b = c->b;
    ll_val codes = permute(c, words[0], words[1], r->select);
    ll_val above = permute(c, r->above, ll_i32(b, 0xCCC8C6C4), codes);
    ll_val below = permute(c, r->below, ll_i32(b, 0x4B474543), ll_bini(b, LL_XOR, codes, 0x8888));
    ll_val low = ll_sub(b, above, below);
    out[0] = permute(c, low, r->high, ll_i32(b, 0x4140));
    out[1] = permute(c, low, r->high, ll_i32(b, 0x4342));
}

static ll_val scaled(cg *c, const rows *r, ll_val x, const factors *f) {
    if (f->centre) {
        return arith(c, r->type, "fma.rn", 3, (ll_val[]){x, f->scale, f->centre});
    }
    x = arith(c, r->type, "add.rn", 2, (ll_val[]){x, ll_i32(c->b, r->type->centre)});
    return arith(c, r->type, "mul.rn", 2, (ll_val[]){x, f->scale});
}

// --- To e4m3 -------------------------------------------------------------------------------------

// The magnitudes under scale 'byte' of a word.
_Static_assert(MMA_TABLE_ENTRY * MMA_TABLE_COPIES == 64, "lines of the table");
static void load_entry(cg *c, const rows *r, ll_val codes, int byte, ll_val out[2]) {
    ll *b = c->b;
    enum { LOG_SIZE = 6, SIZE = 1 << LOG_SIZE }; // of a line
    int by = 8 * byte - LOG_SIZE;
    ll_val at = by < 0 ? ll_bini(b, LL_SHL, codes, -by) : ll_bini(b, LL_LSHR, codes, by);
    at = ll_bini(b, LL_AND, at, (int64_t)(mma_table_codes(r->scale_type) - 1) * SIZE);
    ll_load_words(b, ll_add(b, r->table, ll_bin(b, LL_OR, at, r->copy)), 2, out);
}

// Four elements in the low half of 'codes'.
static ll_val fold_four(cg *c, ll_val codes, const ll_val entry[2]) {
    ll *b = c->b;
    ll_val v = permute(c, entry[0], entry[1], ll_bini(b, LL_AND, codes, 0x7777));
    ll_val positive = permute(c, c->halves, c->halves, codes);
    return ll_sub(b, v, ll_bini(b, LL_SHL, positive, 1));
}

static void decode_folded(cg *c, const rows *r, const wgmma_decoding *d, int first, int last,
                          ll_val *out) {
    ll *b = c->b;
    int per = d->per_group;
    for (int group = 0; group < 2 * per; group++) {
        ll_val codes = NULL, entry[2];
        for (int half = 2 * first, have = -1, word = -1; half < 2 * last; half++) {
            int granule = half * FOLD_STEP / 2 / r->granule;
            if (granule / 4 != word) {
                word = granule / 4;
                codes = load_scales(c, r, group, word);
            }
            if (granule != have) {
                have = granule;
                load_entry(c, r, codes, granule % 4, entry);
            }
            ll_val at = ll_add(b, chunk_at(c, r, group, half / 2), r->pair);
            ll_val four = ll_load(b, LL_I16, ll_addi(b, at, half % 2 * CHUNK / 2), 2, false);
            out[(half / 2 * per + group % per) * 4 + half % 2 * 2 + group / per] =
                fold_four(c, ll_to(b, four, LL_I32), entry);
        }
    }
}

// --- A tile --------------------------------------------------------------------------------------

static void decode_wide(cg *c, const rows *r, const wgmma_decoding *d, int first, int last,
                        ll_val *out) {
    ll *b = c->b;
    int per = d->per_group;
    factors *scales = ARENA_ARRAY(c->mem, factors, d->m->k_elems / r->granule);
    for (int group = 0; group < 2 * per; group++) {
        int j = group % per, half = group / per;
        spread_scales(c, r, group, first * STEP / r->granule, (last * STEP - 1) / r->granule + 1,
                      scales);
        for (int chunk = first / CHUNK_STEPS; chunk < last / CHUNK_STEPS; chunk++) {
            ll_val words[2 * CHUNK_STEPS], x[2];
            ll_load_words(b, chunk_at(c, r, group, chunk), 2 * CHUNK_STEPS, words);
            for (int i = 0; i < CHUNK_STEPS; i++) {
                int step = chunk * CHUNK_STEPS + i;
                const factors *f = &scales[step * STEP / r->granule];
                look_up(c, r, words + 2 * i, x);
                for (int k = 0; k < 2; k++) {
                    out[(step * per + j) * 4 + 2 * k + half] = scaled(c, r, x[k], f);
                }
            }
        }
    }
}

void wgmma_decode(cg *c, const wgmma_decoding *d, int first, int last, ll_val *out) {
    rows r = rows_of(c, d->m);
    if (d->m->table > 0) {
        decode_folded(c, &r, d, first, last, out);
    } else {
        decode_wide(c, &r, d, first, last, out);
    }
}
