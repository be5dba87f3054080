// Matrix products of warps (mma.sync) on sm_120a: operand fragments out of swizzled shared memory,
// scale words, accumulators in registers.
//
// A warp owns a rectangle of the CTA's tile, cut in fragments of 16 x 8. One K step is 32 bytes of a
// row for every kind (FP4 k64, FP8 k32, 16-bit k16), so one ldmatrix schedule serves all (PTX ISA
// "Matrix fragments for mma.m16n8k16/k32/k64"; "ldmatrix"):
//   A  x4: lane L gives row L % 16, chunk L / 16 of a 16-row fragment: registers a0 .. a3
//   B  x4: lane L gives row L % 8 + 8 * (L / 16), chunk (L / 8) % 2: b0, b1 of two 8-row fragments
// Tiles are TMA images: 16-byte chunks of a row xored with bits 7.. of the address. The rows of a
// fragment start at multiples of 8, so the xor depends on the lane alone, and a K step is an xor of
// its byte offset.
//
// Scales lie as 128 x 4 atoms: the word of row r and K atom j at atom + (r % 32) * 16 +
// ((r % 128) / 32) * 4; rows 32 apart are neighbours, so a lane reads the words of 2 or 4 fragments at
// once. Lane 4g + q supplies row g + 8 * (q & 1) of A and row g of B, selectors 0 (PTX ISA "mma with
// block scaling", thread-id selects lanes, byte-id the bytes of the word).
#include "cg_int.h"

#include <stdio.h>

enum { CHUNK = 16, STEP_BYTES = 32, ATOM_BYTES = 512, ATOM_ROWS = 128, FRAG_M = 16, FRAG_N = 8 };

// Where a warp reads one operand, prepared once a K tile.
typedef struct {
    const tir_operand *op;
    const tir_box *data, *scale;
    int rows;         // rows of the warp's tile
    int frag_rows;    // 16 or 8
    ll_val first_row; // of the warp in the CTA's tile
    ll_val lane_row;  // i32: address of the lane's row in slab 0
    ll_val lane_xor;  // i32: the lane's chunk with its swizzle, in bytes
    ll_val sf_base;   // i32: address of the lane's scale word in fragment 0, K atom 0
    int sf_vec;       // words a lane reads at once: fragments 32 rows apart
} operand;

typedef struct {
    const tir_mma *m;
    const mma_info *kind;
    cg_acc *acc;
    operand a, b;
    int steps; // K steps of the tile
    const char *instruction;
} product;

// --- Accumulators ----------------------------------------------------------------------------------

static ll_val warp_row(cg *c, int rows) {
    return ll_muli(c->b, ll_bini(c->b, LL_UDIV, c->role_warp, c->role->warps_n), rows);
}

static ll_val warp_col(cg *c, int cols) {
    return ll_muli(c->b, ll_bini(c->b, LL_UREM, c->role_warp, c->role->warps_n), cols);
}

// The registers of an accumulator; made when it is first met.
static cg_acc *accumulator(cg *c, int acc) {
    cg_acc *a = &c->accs[acc];
    const tir_acc *t = &c->k->accs[acc];
    if (a->used) {
        return a;
    }
    const tir_role *r = c->role;
    a->rows = t->rows / r->warps_m;
    a->cols = t->cols / r->warps_n;
    if (t->channel >= 0 || t->rows % (FRAG_M * r->warps_m) || t->cols % (FRAG_N * r->warps_n)) {
        cg_fail(c, "accumulator '%s' of %d x %d over %d x %d warps: a warp of 'mma sync' holds a "
                   "multiple of 16 rows and of 8 columns", t->name, t->rows, t->cols, r->warps_m,
                r->warps_n);
        return NULL;
    }
    a->used = true;
    a->n_m = a->rows / FRAG_M;
    a->n_n = a->cols / FRAG_N;
    int n = a->n_m * a->n_n * 4;
    a->regs = ARENA_ARRAY(c->mem, ll_var, n);
    for (int i = 0; i < n; i++) {
        a->regs[i] = ll_variable(c->b, LL_F32, t->name);
    }
    return a;
}

void cg_mma_sync_zero(cg *c, int acc) {
    cg_acc *a = accumulator(c, acc);
    for (int i = 0; a && i < a->n_m * a->n_n * 4; i++) {
        ll_set(c->b, a->regs[i], ll_f32(c->b, 0));
    }
}

// --- Addresses -------------------------------------------------------------------------------------

// The xor of a row's chunks: address bits 7.. of the row, moved to bit 4 (swizzle spans 32, 64, 128).
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

static void lane_addresses(cg *c, operand *o, ll_val slot, ll_val row, ll_val chunk) {
    ll *b = c->b;
    ll_val first = ll_muli(b, ll_add(b, o->first_row, row), o->op->row_bytes);
    o->lane_row = ll_add(b, ll_addi(b, slot, o->data->offset), first);
    o->lane_xor = ll_bin(b, LL_XOR, ll_bini(b, LL_SHL, chunk, 4), swizzle_of_row(c, o->op, row));
}

// Offset of row r of the scales in K atom 0 of a slab: row blocks are 'atoms' * 512 bytes apart.
static ll_val scale_row(cg *c, const operand *o, ll_val row) {
    ll *b = c->b;
    int atoms = o->scale->box_bytes / ATOM_BYTES / (o->op->sf_rows / ATOM_ROWS);
    ll_val block = ll_muli(b, ll_bini(b, LL_LSHR, row, 7), (int64_t)atoms * ATOM_BYTES);
    ll_val line = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, row, 31), 4);
    ll_val word = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), 2);
    return ll_add(b, block, ll_bin(b, LL_OR, line, word));
}

static bool is_pow2(int x) {
    return (x & (x - 1)) == 0;
}

// Rows of a warp whose tile is a power of two up to 128 (or whole atoms) never carry from one field of
// the scale address into another: fragments lie at constant distances.
static bool scales_are_regular(const operand *o) {
    return o->rows % ATOM_ROWS == 0 || (is_pow2(o->rows) && o->rows < ATOM_ROWS);
}

static ll_val scale_first_row(cg *c, const operand *o, ll_val lane_part) {
    ll *b = c->b;
    ll_val row = ll_add(b, o->first_row, lane_part);
    if (o->op->sf_loop >= 0) {
        row = ll_add(b, row, ll_bini(b, LL_AND, c->starts[o->op->sf_loop], ATOM_ROWS - 1));
    }
    return row;
}

static void scale_addresses(cg *c, operand *o, ll_val slot, ll_val lane_part) {
    ll *b = c->b;
    o->sf_vec = 1;
    if (scales_are_regular(o) && o->rows >= 64) {
        o->sf_vec = o->rows >= ATOM_ROWS ? 4 : o->rows / 32;
    }
    ll_val row = scale_first_row(c, o, lane_part);
    o->sf_base = ll_add(b, ll_addi(b, slot, o->scale->offset), scale_row(c, o, row));
}

static ll_val lane_scale_row(cg *c, bool is_a) {
    ll *b = c->b;
    ll_val g = ll_bini(b, LL_LSHR, c->lane, 2);
    ll_val half = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 1), 3);
    return is_a ? ll_add(b, g, half) : g;
}

static void begin_operand(cg *c, operand *o, int index, int rows, bool is_a) {
    ll *b = c->b;
    o->op = &c->k->operands[index];
    const tir_channel *ch = &c->k->channels[o->op->channel];
    o->data = &ch->boxes[o->op->data];
    o->scale = o->op->scale >= 0 ? &ch->boxes[o->op->scale] : NULL;
    o->rows = rows;
    o->frag_rows = is_a ? FRAG_M : FRAG_N;
    o->first_row = is_a ? warp_row(c, rows) : warp_col(c, rows);
    ll_val slot = cg_slot_addr(c, o->op->channel);
    ll_val row = ll_bini(b, LL_AND, c->lane, is_a ? 15 : 7);
    ll_val chunk = ll_bini(b, LL_LSHR, c->lane, 4);
    if (!is_a) {
        row = ll_add(b, row, ll_bini(b, LL_SHL, chunk, 3));
        chunk = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, c->lane, 3), 1);
    }
    lane_addresses(c, o, slot, row, chunk);
    if (o->scale) {
        scale_addresses(c, o, slot, lane_scale_row(c, is_a));
    }
}

// --- Fragments -------------------------------------------------------------------------------------

// One K step of 'n' neighbouring fragments (16 rows in all, or 8) into out: four registers a fragment
// of A, two a fragment of B.
static void load_fragment(cg *c, const operand *o, int step, int frag, ll_val *out) {
    ll *b = c->b;
    int per_slab = o->op->row_bytes / STEP_BYTES;
    int slab = step / per_slab, in = step % per_slab, row = frag * o->frag_rows;
    ll_val at = ll_add(b, o->lane_row, ll_bini(b, LL_XOR, o->lane_xor, (int64_t)in * STEP_BYTES));
    at = ll_addi(b, at, (int64_t)slab * o->data->box_pitch + (int64_t)row * o->op->row_bytes);
    bool four = o->rows - row >= 16;
    ll_val p = ll_to(b, at, LL_SHARED);
    ll_val v = ll_intr(b, four ? "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16"
                               : "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x2.b16",
                       LL_SHARED, 1, &p);
    int first = frag * (o->frag_rows == FRAG_M ? 4 : 2);
    for (int i = 0; i < (four ? 4 : 2); i++) {
        out[first + i] = ll_extract(b, v, i);
    }
}

static int sf_word(const product *p, int step) {
    return step * p->kind->sf_bytes / 4;
}

// Distance of fragment 'f' from fragment 0, for regular tiles.
static int scale_delta(const operand *o, int f, int atoms) {
    int row = f * o->frag_rows;
    return row / ATOM_ROWS * atoms * ATOM_BYTES + (row % 32) * 16 + (row % ATOM_ROWS) / 32 * 4;
}

// Scale words of all fragments for K atom 'word'.
static void load_scales(cg *c, const operand *o, int word, ll_val *out) {
    ll *b = c->b;
    int atoms = o->scale->box_bytes / ATOM_BYTES / (o->op->sf_rows / ATOM_ROWS);
    int slab = word / atoms;
    int64_t at = (int64_t)slab * o->scale->box_pitch + (int64_t)(word % atoms) * ATOM_BYTES;
    int n = o->rows / o->frag_rows, apart = 32 / o->frag_rows;
    bool is_a = o->frag_rows == FRAG_M;
    for (int f = 0; f < n; f++) {
        if (!scales_are_regular(o)) {
            ll_val row = ll_addi(b, lane_scale_row(c, is_a), (int64_t)f * o->frag_rows);
            ll_val base = ll_addi(b, cg_slot_addr(c, o->op->channel), o->scale->offset + at);
            row = scale_first_row(c, o, row);
            ll_load_words(b, ll_add(b, base, scale_row(c, o, row)), 1, &out[f]);
        } else if (f / apart % o->sf_vec == 0) {
            ll_val words[4];
            ll_load_words(b, ll_addi(b, o->sf_base, at + scale_delta(o, f, atoms)), o->sf_vec, words);
            for (int i = 0; i < o->sf_vec; i++) {
                out[f + i * apart] = words[i];
            }
        }
    }
}

// --- Products --------------------------------------------------------------------------------------

static const char *kind_name(cg *c, const mma_info *k) {
    if (k->scale == ELEM_NONE && k->k == 32) {
        return arena_printf(c->mem, "llvm.nvvm.mma.m16n8k32.row.col.kind.f8f6f4.f32.%s.%s.f32",
                            elem_name(k->a), elem_name(k->b));
    }
    if (k->scale == ELEM_NONE) {
        return k->a == ELEM_BF16 ? "llvm.nvvm.mma.m16n8k16.row.col.bf16"
                                 : "llvm.nvvm.mma.m16n8k16.row.col.f32.f32";
    }
    if (k->k == 32) {
        return arena_printf(c->mem,
                            "llvm.nvvm.mma.block.scale.m16n8k32.row.col.mxf8f6f4.scale.1x.f32.%s.%s."
                            "f32.ue8m0", elem_name(k->a), elem_name(k->b));
    }
    return k->granule == 16
               ? "llvm.nvvm.mma.block.scale.m16n8k64.row.col.mxf4nvf4.scale.4x.f32.e2m1.e2m1.f32.ue4m3"
               : "llvm.nvvm.mma.block.scale.m16n8k64.row.col.mxf4.scale.2x.f32.e2m1.e2m1.f32.ue8m0";
}

// Registers of one K step.
typedef struct {
    ll_val *a, *b;     // 4 and 2 a fragment
    ll_val *sfa, *sfb; // one a fragment
} fragments;

static fragments new_fragments(cg *c, const product *p) {
    return (fragments){.a = ARENA_ARRAY(c->mem, ll_val, 4 * p->acc->n_m),
                       .b = ARENA_ARRAY(c->mem, ll_val, 2 * p->acc->n_n + 2),
                       .sfa = ARENA_ARRAY(c->mem, ll_val, p->acc->n_m),
                       .sfb = ARENA_ARRAY(c->mem, ll_val, p->acc->n_n)};
}

// A scale word serves the K steps that its four bytes cover.
static void load_step_scales(cg *c, const product *p, int step, const fragments *before,
                             fragments *f) {
    if (p->kind->scale == ELEM_NONE) {
        return;
    }
    if (before && sf_word(p, step) == sf_word(p, step - 1)) {
        f->sfa = before->sfa;
        f->sfb = before->sfb;
        return;
    }
    load_scales(c, &p->a, sf_word(p, step), f->sfa);
    load_scales(c, &p->b, sf_word(p, step), f->sfb);
}

static void multiply(cg *c, const product *p, const fragments *f, int step, int m, int n) {
    ll *b = c->b;
    ll_val byte = ll_i16(b, step * p->kind->sf_bytes % 4), zero = ll_i16(b, 0);
    ll_var *d = &p->acc->regs[(m * p->acc->n_n + n) * 4];
    ll_val args[16] = {f->a[4 * m],     f->a[4 * m + 1], f->a[4 * m + 2], f->a[4 * m + 3],
                       f->b[2 * n],     f->b[2 * n + 1], ll_get(b, d[0]), ll_get(b, d[1]),
                       ll_get(b, d[2]), ll_get(b, d[3])};
    int n_args = 10;
    if (p->kind->scale != ELEM_NONE) {
        ll_val scales[] = {f->sfa[m], byte, zero, f->sfb[n], byte, zero};
        for (int i = 0; i < 6; i++) {
            args[n_args++] = scales[i];
        }
    }
    ll_val r = ll_intr(b, p->instruction, LL_VOID, n_args, args);
    for (int i = 0; i < 4; i++) {
        ll_set(b, d[i], ll_extract(b, r, i));
    }
}

// The products of one K step, row after row. The next step's operands are read where this step's are
// used for the last time: its A after each row, its B along the last row, so that about one step of
// fragments is alive beside the accumulators. ptxas would move all these reads to the front of the K
// tile and run out of registers; a warp barrier, which costs one issue slot, is what it does not move
// reads across.
static void multiply_step(cg *c, const product *p, const fragments *f, int step, fragments *next) {
    int n_m = p->acc->n_m, n_n = p->acc->n_n;
    for (int m = 0; m < n_m; m++) {
        for (int n = 0; n < n_n; n++) {
            multiply(c, p, f, step, m, n);
            if (next && m == n_m - 1 && (n % 2 == 1 || n == n_n - 1)) {
                load_fragment(c, &p->b, step + 1, n - n % 2, next->b);
            }
        }
        if (next && m == 0) {
            cg_warp_sync(c);
        }
        if (next) {
            load_fragment(c, &p->a, step + 1, m, next->a);
        }
        if (next && m == 0) {
            load_step_scales(c, p, step + 1, f, next);
        }
    }
}

static bool check_operand(cg *c, const product *p, const tir_operand *op, bool is_a) {
    const char *name = c->k->params[op->param].name;
    const tir_box *data = &c->k->channels[op->channel].boxes[op->data];
    int bytes = p->m->k_elems * elem_bits(is_a ? p->kind->a : p->kind->b) / 8;
    if (p->m->k_elems % p->kind->k) {
        cg_fail(c, "the K tile of '%s' has %d elements; %s takes %d at once", name, p->m->k_elems,
                p->kind->name, p->kind->k);
    } else if (op->row_bytes % STEP_BYTES || bytes != data->n_boxes * op->row_bytes) {
        cg_fail(c, "'%s' brings %d slabs of %d bytes a row for a K tile of %d bytes; 'mma sync' reads "
                   "32 bytes a step", name, data->n_boxes, op->row_bytes, bytes);
    } else if (p->kind->scale != ELEM_NONE && op->scale < 0) {
        cg_fail(c, "'%s' is loaded without the scales that %s needs", name, p->kind->name);
    }
    return CG_OK(c);
}

void cg_mma_sync(cg *c, const tir_mma *m, int release) {
    product p = {.m = m, .kind = &mma_kinds[m->kind], .acc = accumulator(c, m->acc)};
    if (!p.acc || !check_operand(c, &p, &c->k->operands[m->a], true) ||
        !check_operand(c, &p, &c->k->operands[m->b], false)) {
        return;
    }
    p.steps = m->k_elems / p.kind->k;
    begin_operand(c, &p.a, m->a, p.acc->rows, true);
    begin_operand(c, &p.b, m->b, p.acc->cols, false);
    p.instruction = kind_name(c, p.kind);
    fragments f = new_fragments(c, &p);
    for (int i = 0; i < p.acc->n_m; i++) {
        load_fragment(c, &p.a, 0, i, f.a);
    }
    for (int i = 0; i < p.acc->n_n; i += 2) {
        load_fragment(c, &p.b, 0, i, f.b);
    }
    load_step_scales(c, &p, 0, NULL, &f);
    for (int step = 0; step < p.steps; step++) {
        bool last = step + 1 == p.steps;
        fragments next = new_fragments(c, &p);
        if (last && release >= 0) {
            cg_release(c, release); // all operands are in registers
        }
        multiply_step(c, &p, &f, step, last ? NULL : &next);
        f = next;
    }
}

// --- Results ---------------------------------------------------------------------------------------

// The runs of one sub-tile: per row fragment and half (8 rows), a pair of columns of each column
// fragment (PTX ISA "Matrix fragments", C and D: row g + 8 * (i / 2), column 2q + i % 2).
static void fill_runs(cg *c, const tir_acc *t, int sub, cg_frag *f) {
    ll *b = c->b;
    int n_m = f->box_rows / FRAG_M, n_n = f->cols / FRAG_N;
    ll_val g = ll_bini(b, LL_LSHR, c->lane, 2);
    ll_val q2 = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, c->lane, 3), 1);
    const cg_acc *first = &c->accs[f->accs[0]];
    ll_val row0 = ll_add(b, c->starts[t->row_loop], warp_row(c, first->rows));
    ll_val col0 = ll_add(b, c->starts[t->col_loop], warp_col(c, first->cols));
    col0 = ll_add(b, ll_addi(b, col0, (int64_t)sub * f->cols), q2);
    for (int m = 0; m < n_m; m++) {
        for (int half = 0; half < 2; half++) {
            ll_val box_row = ll_addi(b, g, m * FRAG_M + half * 8);
            ll_val row = ll_add(b, row0, box_row);
            for (int n = 0; n < n_n; n++) {
                cg_run *r = &f->runs[f->n_runs++];
                *r = (cg_run){.row = row, .col = ll_addi(b, col0, n * FRAG_N), .box_row = box_row,
                              .box_col = n * FRAG_N, .box_col_lane = q2, .n = 2};
                for (int a = 0; a < f->n_accs; a++) {
                    const cg_acc *acc = &c->accs[f->accs[a]];
                    int at = (m * acc->n_n + sub * n_n + n) * 4 + half * 2;
                    r->acc[a] = ARENA_ARRAY(c->mem, ll_val, 2);
                    r->acc[a][0] = ll_get(b, acc->regs[at]);
                    r->acc[a][1] = ll_get(b, acc->regs[at + 1]);
                }
            }
        }
    }
}

void cg_store_mma(cg *c, int store) {
    const tir_store *s = &c->k->stores[store];
    const char *name = c->k->params[s->param].name;
    cg_frag f = {.quad = true};
    f.n_accs = cg_store_accs(c, s, f.accs);
    if (CG_OK(c) && f.n_accs == 0) {
        cg_fail(c, "'%s' is made of no accumulator: a role with 'mma sync' stores what it multiplied",
                name);
    }
    if (!CG_OK(c)) {
        return;
    }
    const cg_acc *first = accumulator(c, f.accs[0]);
    int cols = s->warp_cols > 0 ? s->warp_cols : FRAG_N;
    for (int i = 0; i < f.n_accs; i++) {
        const cg_acc *a = accumulator(c, f.accs[i]);
        if (!a || a->rows != first->rows || a->cols != first->cols || a->cols % cols ||
            cols % FRAG_N) {
            cg_fail(c, "'%s' is stored in pieces of %d columns from accumulators whose warps hold "
                       "other shapes", name, cols);
            return;
        }
    }
    f.cols = cols;
    f.box_rows = first->rows;
    f.runs = ARENA_ARRAY(c->mem, cg_run, first->n_m * 2 * (cols / FRAG_N));
    for (int sub = 0; sub < first->cols / cols && CG_OK(c); sub++) {
        f.n_runs = 0;
        fill_runs(c, &c->k->accs[f.accs[0]], sub, &f);
        cg_store_sub(c, store, &f);
    }
}
