// Matrix products of warps (mma.sync) on sm_120a, accumulators in registers.
//
// A warp owns a rectangle of the CTA's tile, cut in fragments of 16 x 8 (PTX ISA "Matrix fragments for
// mma.m16n8k16/k32/k64"). Operands are read one K step ahead of the products: mma_operand.c.
#include "mma_int.h"

#include <stdio.h>

enum { STEP_BYTES = 32, FRAG_M = FRAG_ROWS_A, FRAG_N = FRAG_ROWS_B };

typedef struct {
    const tir_mma *m;
    const mma_info *kind;
    cg_acc *acc;
    mma_operand a, b;
    int steps; // K steps of the tile
    const char *instruction;
} product;

// --- Accumulators ----------------------------------------------------------------------------------

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

static int sf_word(const product *p, int step) {
    return step * p->kind->sf_bytes / 4;
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
    mma_load_scales(c, &p->a, sf_word(p, step), f->sfa);
    mma_load_scales(c, &p->b, sf_word(p, step), f->sfb);
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

static void begin_slot(cg *c, product *p) {
    mma_operand_begin(c, &p->a, p->m->a, p->acc->rows, true);
    mma_operand_begin(c, &p->b, p->m->b, p->acc->cols, false);
}

static void load_first(cg *c, const product *p, fragments *f) {
    for (int i = 0; i < p->acc->n_m; i++) {
        mma_load_fragment(c, &p->a, 0, i, f->a);
    }
    for (int i = 0; i < p->acc->n_n; i += 2) {
        mma_load_fragment(c, &p->b, 0, i, f->b);
    }
    load_step_scales(c, p, 0, NULL, f);
}

static void multiply_row(cg *c, const product *p, const fragments *f, int step, int m) {
    for (int n = 0; n < p->acc->n_n; n++) {
        multiply(c, p, f, step, m, n);
    }
}

// The products of one K step, row after row. The next step's operands are read where this step's are
// used for the last time: its A after each row, its B along the last row, so that about one step of
// fragments is alive beside the accumulators. ptxas would move all these reads to the front of the K
// tile and run out of registers; a warp barrier, which costs one issue slot, is what it does not move
// reads across.
static void multiply_step(cg *c, const product *p, const fragments *f, int step, fragments *next) {
    int last = p->acc->n_m - 1, n_n = p->acc->n_n;
    for (int m = 0; m < last; m++) {
        multiply_row(c, p, f, step, m);
        if (m == 0) {
            cg_warp_sync(c);
            load_step_scales(c, p, step + 1, f, next);
        }
        mma_load_fragment(c, &p->a, step + 1, m, next->a);
    }
    for (int n = 0; n < n_n; n++) {
        multiply(c, p, f, step, last, n);
        if (n % 2 == 1 || n == n_n - 1) {
            mma_load_fragment(c, &p->b, step + 1, n - n % 2, next->b);
        }
    }
    mma_load_fragment(c, &p->a, step + 1, last, next->a);
    if (last == 0) {
        load_step_scales(c, p, step + 1, f, next);
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

static bool begin_product(cg *c, const tir_mma *m, product *p) {
    *p = (product){.m = m, .kind = &mma_kinds[m->kind], .acc = accumulator(c, m->acc)};
    if (!p->acc || !check_operand(c, p, &c->k->operands[m->a], true) ||
        !check_operand(c, p, &c->k->operands[m->b], false)) {
        return false;
    }
    p->steps = m->k_elems / p->kind->k;
    p->instruction = kind_name(c, p->kind);
    return true;
}

void cg_mma_sync(cg *c, const tir_mma *m, int release) {
    product p;
    if (!begin_product(c, m, &p)) {
        return;
    }
    begin_slot(c, &p);
    fragments f = new_fragments(c, &p);
    load_first(c, &p, &f);
    for (int step = 0; step + 1 < p.steps; step++) {
        fragments next = new_fragments(c, &p);
        multiply_step(c, &p, &f, step, &next);
        f = next;
    }
    if (release >= 0) {
        cg_release(c, release); // all operands are in registers
    }
    for (int i = 0; i < p.acc->n_m; i++) {
        multiply_row(c, &p, &f, p.steps - 1, i);
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
    ll_val row0 = ll_add(b, c->starts[t->row_loop], mma_warp_row(c, first->rows));
    ll_val col0 = ll_add(b, c->starts[t->col_loop], mma_warp_col(c, first->cols));
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
