// Operands of mma.sync on sm_120a: out of swizzled shared memory into registers.
//
// One K step is 32 bytes of a row for every kind (FP4 k64, FP8 k32, 16-bit k16), so one ldmatrix
// schedule serves all (PTX ISA "Matrix fragments for mma.m16n8k16/k32/k64"; "ldmatrix"):
//   A  x4: lane L gives row L % 16, chunk L / 16 of a 16-row fragment: registers a0 .. a3
//   B  x4: lane L gives row L % 8 + 8 * (L / 16), chunk (L / 8) % 2: b0, b1 of two 8-row fragments
// Tiles are TMA images: 16-byte chunks of a line xored with bits 7.. of the address. The lines of a
// fragment start at multiples of 8, so the xor depends on the lane alone, and a K step is an xor of
// its byte offset.
//
// Elements of 4 and 6 bits that are multiplied as bytes lie 16 to a chunk; ldmatrix expands them to
// the same registers, 4 bits to the low half of a byte, where the product wants them 2 bits higher
// (PTX ISA "mma .kind::mxf8f6f4": e2m1 in bits 2-5).
//
// Where the rows lie along the last axis (mn_major) a line is one k, and ldmatrix transposes:
//   16 bits  A x4: lane L gives k L % 8 + 8 * (L / 16), chunk (L / 8) % 2;
//            B x4: lane L gives k L % 8 + 8 * (L / 8 % 2), chunk L / 16
//   8 bits   m16n16 x2: lane L gives k L: registers a0 .. a3 of A, b0 b0' b1 b1' of two fragments
//            of B
// and a fragment is an xor of its byte offset, as long as the warp's rows start at a multiple of
// theirs.
//
// Scales lie as 128 x 4 atoms: the word of row r and K atom j at atom + (r % 32) * 16 +
// ((r % 128) / 32) * 4. A register has the words of 32 rows, lane 4g + q that of row 8q + g: it serves
// two fragments of A, whose rows the lanes with q / 2 = thread-id supply, and four of B, q = thread-id
// (PTX ISA "mma with block scaling": thread-id selects lanes, byte-id the bytes of the word). Rows 32
// apart are neighbours, so a lane reads 2 or 4 such words at once.
#include "mma_int.h"

ll_val mma_warp_row(cg *c, int rows) {
    return ll_muli(c->b, ll_bini(c->b, LL_UDIV, c->role_warp, c->role->warps_n), rows);
}

ll_val mma_warp_col(cg *c, int cols) {
    return ll_muli(c->b, ll_bini(c->b, LL_UREM, c->role_warp, c->role->warps_n), cols);
}

// The xor of a row's chunks: address bits 7.. of the row, moved to bit 4 (swizzle spans 32, 64,
// 128).
static ll_val swizzle_of_row(cg *c, const tir_operand *op, ll_val row) {
    ll *b = c->b;
    switch (op->swizzle) {
    case SWZ_128B:
        return ll_bini(b, LL_SHL, ll_bini(b, LL_AND, row, 7), 4);
    case SWZ_64B:
        return ll_bini(b, LL_SHL, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 1), 3), 4);
    case SWZ_32B:
        return ll_bini(b, LL_SHL, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 2), 1), 4);
    case SWZ_NONE:
        break;
    }
    return ll_i32(b, 0);
}

static void lane_addresses(cg *c, mma_operand *o, ll_val row, ll_val chunk) {
    ll *b = c->b;
    ll_val first = ll_muli(b, ll_add(b, o->first_row, row), o->op->row_bytes);
    o->lane_line = first;
    o->lane_xor = ll_bin(b, LL_XOR, ll_bini(b, LL_SHL, chunk, 4), swizzle_of_row(c, o->op, row));
}

// The same where lines are k: 'row' is where the fragments begin in the CTA's tile.
static void transposed_addresses(cg *c, mma_operand *o, ll_val row) {
    ll *b = c->b;
    bool is_a = o->frag_rows == FRAG_ROWS_A;
    ll_val line = c->lane, chunk = ll_i32(b, 0);
    if (o->elem == 2) {
        ll_val upper = ll_bini(b, LL_LSHR, c->lane, 4),
               odd = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, c->lane, 3), 1);
        line = ll_add(b, ll_bini(b, LL_AND, c->lane, 7), ll_bini(b, LL_SHL, is_a ? upper : odd, 3));
        chunk = is_a ? odd : upper;
    }
    ll_val at = ll_muli(b, row, o->elem), slab = ll_bini(b, LL_UDIV, at, o->op->row_bytes);
    ll_val in = ll_bini(b, LL_AND, at, o->op->row_bytes - 1);
    ll_val first =
        ll_add(b, ll_muli(b, slab, o->data->box_pitch), ll_muli(b, line, o->op->row_bytes));
    o->lane_line = first;
    in = ll_add(b, in, ll_bini(b, LL_SHL, chunk, 4));
    o->lane_xor = ll_bin(b, LL_XOR, in, swizzle_of_row(c, o->op, line));
}

// Offset of row r of the scales in K atom 0 of a slab: row blocks are 'atoms' * 512 bytes apart.
static ll_val scale_row(cg *c, const mma_operand *o, ll_val row) {
    ll *b = c->b;
    int atoms = o->scale->box_bytes / TIR_ATOM_BYTES / (o->op->sf_rows / TIR_ATOM_ROWS);
    ll_val block = ll_muli(b, ll_bini(b, LL_LSHR, row, 7), (int64_t)atoms * TIR_ATOM_BYTES);
    ll_val line = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, row, 31), 4);
    ll_val word = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), 2);
    return ll_add(b, block, ll_bin(b, LL_OR, line, word));
}

static bool is_pow2(int x) {
    return (x & (x - 1)) == 0;
}

// Rows of a warp whose tile is a power of two up to 128 (or whole atoms) never carry from one field
// of the scale address into another: fragments lie at constant distances.
static bool scales_are_regular(const mma_operand *o) {
    return o->rows % TIR_ATOM_ROWS == 0 || (is_pow2(o->rows) && o->rows < TIR_ATOM_ROWS);
}

// Row of the scales that this lane reads for the rows from 'row' of the warp's tile on: of 32, or of
// those that are left, whose fragments' lanes are the only ones that count.
static ll_val scale_lane_row(cg *c, const mma_operand *o, int row) {
    ll *b = c->b;
    int left = (o->rows - row) / 8;
    ll_val q = ll_bini(b, LL_AND, c->lane, 3);
    if (left < 3) {
        q = ll_bini(b, LL_AND, q, left - 1);
    } else if (left == 3) {
        q = ll_select(b, ll_cmpi(b, LL_EQ, q, 3), ll_i32(b, 2), q);
    }
    ll_val lane_row = ll_add(b, ll_bini(b, LL_LSHR, c->lane, 2), ll_bini(b, LL_SHL, q, 3));
    ll_val at = ll_add(b, o->first_row, ll_addi(b, lane_row, row));
    if (o->op->sf_loop >= 0) {
        ll_val start = c->starts[o->op->sf_loop];
        if (c->k->params[o->op->param].groups) {
            start = ll_add(b, start, cg_scale_shift(c, o->op->sf_loop));
        }
        at = ll_add(b, at, ll_bini(b, LL_AND, start, TIR_ATOM_ROWS - 1));
    }
    return at;
}

static void scale_addresses(cg *c, mma_operand *o, ll_val slot) {
    ll *b = c->b;
    o->sf_vec = 1;
    if (scales_are_regular(o) && o->rows >= 64) {
        o->sf_vec = o->rows >= TIR_ATOM_ROWS ? 4 : o->rows / 32;
    }
    ll_val at = scale_row(c, o, scale_lane_row(c, o, 0));
    o->sf_base = ll_addi(b, ll_add(b, slot, at), o->scale->offset);
}

static void plain_addresses(cg *c, mma_operand *o) {
    ll *b = c->b;
    bool is_a = o->frag_rows == FRAG_ROWS_A;
    ll_val row = ll_bini(b, LL_AND, c->lane, is_a ? 15 : 7);
    ll_val chunk = ll_bini(b, LL_LSHR, c->lane, 4);
    if (!is_a) {
        row = ll_add(b, row, ll_bini(b, LL_SHL, chunk, 3));
        chunk = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, c->lane, 3), 1);
    }
    lane_addresses(c, o, row, chunk);
}

void mma_operand_begin(cg *c, mma_operand *o, int index, ll_val slot, int rows) {
    bool is_a = o->frag_rows == FRAG_ROWS_A;
    o->op = &c->k->operands[index];
    o->slot = slot;
    const tir_channel *ch = &c->k->channels[o->op->channel];
    o->data = &ch->boxes[o->op->data];
    o->scale = o->op->scale >= 0 ? &ch->boxes[o->op->scale] : NULL;
    o->rows = rows;
    o->first_row = is_a ? mma_warp_row(c, rows) : mma_warp_col(c, rows);
    int dtype = c->k->maps[o->data->map].dtype;
    o->padded = dtype == TIR_PAD4 ? 4 : dtype == TIR_PAD6 ? 6 : 0;
    o->elem = o->op->mn_major ? elem_bits(c->k->params[o->op->param].elem) / 8 : 0;
    if (o->elem) {
        transposed_addresses(c, o, o->first_row);
    } else {
        plain_addresses(c, o);
    }
    if (o->scale) {
        scale_addresses(c, o, slot);
    }
}

// --- Fragments -----------------------------------------------------------------------------------

// The lane's address for a K step of the fragments from row 'row' of the warp's on.
static ll_val fragment_address(cg *c, const mma_operand *o, int step, int row) {
    ll *b = c->b;
    int line = o->op->row_bytes;
    int64_t flip, far;
    mma_operand here = *o;
    if (o->elem) {
        int bytes = o->rows * o->elem, at = row * o->elem;
        bool aligned = bytes % line == 0 || is_pow2(bytes); // no carry out of the warp's own bytes
        if (!aligned) {
            transposed_addresses(c, &here, ll_addi(b, o->first_row, row));
        }
        flip = aligned ? at % line : 0;
        far = (aligned ? (int64_t)(at / line) * o->data->box_pitch : 0) +
              (int64_t)step * MMA_STEP_BYTES / o->elem * line;
    } else {
        flip = (int64_t)step * MMA_STEP_BYTES % line;
        far = (int64_t)step * MMA_STEP_BYTES / line * o->data->box_pitch + (int64_t)row * line;
    }
    // What the lane adds is the same in every slot: [register + uniform register + constant].
    ll_val lane = ll_add(b, here.lane_line, ll_bini(b, LL_XOR, here.lane_xor, flip));
    return ll_addi(b, ll_add(b, o->slot, lane), o->data->offset + far);
}

// How the fragments of 16 rows (8 at the end of an odd B) are read.
static const char *load_name(cg *c, const mma_operand *o, bool four) {
    if (o->elem == 1) {
        return "llvm.nvvm.ldmatrix.sync.aligned.m16n16.x2.trans.b8";
    }
    const char *form = o->elem          ? "trans.b16"
                       : o->padded == 4 ? "b8x16.b4x16_p64"
                       : o->padded      ? "b8x16.b6x16_p32"
                                        : "b16";
    return arena_printf(c->mem, "llvm.nvvm.ldmatrix.sync.aligned.%s.x%d.%s",
                        o->padded ? "m8n16" : "m8n8", four ? 4 : 2, form);
}

// One K step of 'n' neighbouring fragments (16 rows in all, or 8) into out: four registers a
// fragment of A, two a fragment of B.
void mma_load_fragment(cg *c, const mma_operand *o, int step, int frag, ll_val *out) {
    ll *b = c->b;
    int row = frag * o->frag_rows;
    bool four = o->rows - row >= 16, is_a = o->frag_rows == FRAG_ROWS_A;
    ll_val p = ll_to(b, fragment_address(c, o, step, row), LL_SHARED);
    ll_val v = ll_intr(b, load_name(c, o, four), LL_SHARED, 1, &p);
    int first = frag * (is_a ? 4 : 2);
    for (int i = 0; i < (four ? 4 : 2); i++) {
        int from = o->elem == 1 && !is_a ? i % 2 * 2 + i / 2 : i; // by k first, then by fragment
        ll_val word = ll_extract(b, v, from);
        out[first + i] = o->padded == 4 ? ll_bini(b, LL_SHL, word, 2) : word;
    }
}

int mma_scale_words(int rows) {
    return (rows + 31) / 32;
}

mma_scale_place mma_scale_of(const mma_operand *o, int frag) {
    int row = frag * o->frag_rows;
    return (mma_scale_place){.word = row / 32, .thread = row % 32 / o->frag_rows};
}

// First of the words that are read together when 'frag' is the last fragment that uses them; else -1.
static int scale_group(const mma_operand *o, int frag) {
    int word = frag * o->frag_rows / 32, next = (frag + 1) * o->frag_rows;
    bool last = next >= o->rows || next / 32 != word;
    return last && (word + 1) % o->sf_vec == 0 ? word + 1 - o->sf_vec : -1;
}

void mma_load_scale(cg *c, const mma_operand *o, int word, int frag, ll_val *out) {
    ll *b = c->b;
    int atoms = o->scale->box_bytes / TIR_ATOM_BYTES / (o->op->sf_rows / TIR_ATOM_ROWS);
    int slab = word / atoms, first = scale_group(o, frag);
    int64_t at = (int64_t)slab * o->scale->box_pitch + (int64_t)(word % atoms) * TIR_ATOM_BYTES;
    if (first < 0) {
        return;
    }
    ll_val from;
    if (scales_are_regular(o)) { // 4 words a line, lines of one atom further
        from = ll_addi(b, o->sf_base, at + (int64_t)(first / 4) * atoms * TIR_ATOM_BYTES + first % 4 * 4);
    } else {
        ll_val row = scale_row(c, o, scale_lane_row(c, o, 32 * first));
        from = ll_add(b, ll_addi(b, o->slot, o->scale->offset + at), row);
    }
    ll_load_words(b, from, o->sf_vec, &out[first]);
    for (int i = 0; o->sf_shift && i < o->sf_vec; i++) {
        out[first + i] = ll_bin(b, LL_LSHR, out[first + i], o->sf_shift);
    }
}
