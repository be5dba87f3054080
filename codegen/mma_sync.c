// Matrix products of warps (mma.sync) on sm_120a, accumulators in registers.
//
// A warp owns a rectangle of the CTA's tile, cut in fragments of 16 x 8 (PTX ISA "Matrix fragments
// for mma.m16n8k16/k32/k64"). Operands are read one K step ahead of the products: mma_operand.c.
#include "mma_int.h"

#include <stdio.h>

enum { FRAG_M = FRAG_ROWS_A, FRAG_N = FRAG_ROWS_B };

typedef struct {
    const tir_mma *m;
    const mma_info *kind;
    cg_acc *acc;
    mma_operand a, b;
    int steps; // K steps of the tile
    const char *instruction;
} product;

// --- Accumulators --------------------------------------------------------------------------------

cg_acc *cg_accumulator(cg *c, int acc) {
    cg_acc *a = &c->accs[acc];
    const tir_acc *t = &c->k->accs[acc];
    if (a->used) {
        return a;
    }
    const tir_role *r = c->role;
    a->rows = t->rows / r->warps_m;
    a->cols = t->cols / r->warps_n;
    if (t->channel >= 0 || t->rows % (FRAG_M * r->warps_m) || t->cols % (FRAG_N * r->warps_n)) {
        cg_fail(c, "accumulator '%s' of %d x %d over %d x %d warps: a warp holds a "
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
    cg_acc *a = cg_accumulator(c, acc);
    for (int i = 0; a && i < a->n_m * a->n_n * 4; i++) {
        ll_set(c->b, a->regs[i], ll_f32(c->b, 0));
    }
}

static int sf_number(const cg *c, const product *p, const mma_operand *o, int step) {
    return cg_scale_number(c, p->kind, o->op, step);
}

static bool same_words(const cg *c, const product *p, int x, int y) {
    const mma_operand *sides[] = {&p->a, &p->b};
    for (int i = 0; i < 2 && p->kind->scale != ELEM_NONE; i++) {
        int of_x = sf_number(c, p, sides[i], x), of_y = sf_number(c, p, sides[i], y);
        if (of_x / TIR_ATOM_COLS != of_y / TIR_ATOM_COLS) {
            return false;
        }
    }
    return true;
}

// --- Products ------------------------------------------------------------------------------------

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
        return arena_printf(
            c->mem,
            "llvm.nvvm.mma.block.scale.m16n8k32.row.col.mxf8f6f4.scale.1x.f32.%s.%s."
            "f32.ue8m0",
            elem_name(k->a), elem_name(k->b));
    }
    return k->granule == 16
               ? "llvm.nvvm.mma.block.scale.m16n8k64.row.col.mxf4nvf4.scale.4x.f32.e2m1.e2m1.f32."
                 "ue4m3"
               : "llvm.nvvm.mma.block.scale.m16n8k64.row.col.mxf4.scale.2x.f32.e2m1.e2m1.f32.ue8m0";
}

// Registers of one K step.
typedef struct {
    ll_val *a, *b;     // 4 and 2 a fragment
    ll_val *sfa, *sfb; // one for 32 rows
} fragments;

static fragments new_fragments(cg *c, const product *p) {
    return (fragments){.a = ARENA_ARRAY(c->mem, ll_val, 4 * p->acc->n_m),
                       .b = ARENA_ARRAY(c->mem, ll_val, 2 * p->acc->n_n + 2),
                       .sfa = ARENA_ARRAY(c->mem, ll_val, mma_scale_words(p->acc->rows)),
                       .sfb = ARENA_ARRAY(c->mem, ll_val, mma_scale_words(p->acc->cols))};
}

static void multiply(cg *c, const product *p, const fragments *f, int step, int m, int n) {
    ll *b = c->b;
    ll_var *d = &p->acc->regs[(m * p->acc->n_n + n) * 4];
    ll_val args[16] = {f->a[4 * m],     f->a[4 * m + 1], f->a[4 * m + 2], f->a[4 * m + 3],
                       f->b[2 * n],     f->b[2 * n + 1], ll_get(b, d[0]), ll_get(b, d[1]),
                       ll_get(b, d[2]), ll_get(b, d[3])};
    int n_args = 10;
    if (p->kind->scale != ELEM_NONE) {
        mma_scale_place in_a = mma_scale_of(&p->a, m), in_b = mma_scale_of(&p->b, n);
        ll_val byte_a = ll_i16(b, sf_number(c, p, &p->a, step) % TIR_ATOM_COLS);
        ll_val byte_b = ll_i16(b, sf_number(c, p, &p->b, step) % TIR_ATOM_COLS);
        ll_val scales[] = {f->sfa[in_a.word], byte_a, ll_i16(b, in_a.thread),
                           f->sfb[in_b.word], byte_b, ll_i16(b, in_b.thread)};
        for (int i = 0; i < 6; i++) {
            args[n_args++] = scales[i];
        }
    }
    ll_val r = ll_intr(b, p->instruction, LL_VOID, n_args, args);
    for (int i = 0; i < 4; i++) {
        ll_set(b, d[i], ll_extract(b, r, i));
    }
}

static void load_scale(cg *c, const product *p, const mma_operand *o, int step, int frag,
                       ll_val *out) {
    if (p->kind->scale != ELEM_NONE) {
        mma_load_scale(c, o, sf_number(c, p, o, step) / TIR_ATOM_COLS, frag, out);
    }
}

// 'k': the first element of the step in the slots.
static void begin_slots(cg *c, product *p, ll_val slot_a, ll_val slot_b, ll_val k) {
    mma_operand *sides[] = {&p->a, &p->b};
    p->a.frag_rows = FRAG_M;
    p->b.frag_rows = FRAG_N;
    mma_operand_begin(c, &p->a, p->m->a, slot_a, p->acc->rows);
    mma_operand_begin(c, &p->b, p->m->b, slot_b, p->acc->cols);
    for (int i = 0; i < 2 && p->kind->scale != ELEM_NONE; i++) {
        ll_val first = cg_first_scale(c, p->m, sides[i]->op, k);
        sides[i]->sf_shift = first ? ll_bini(c->b, LL_SHL, first, 3) : NULL;
    }
}

static void load_step(cg *c, const product *p, int step, fragments *f) {
    for (int i = 0; i < p->acc->n_m; i++) {
        mma_load_fragment(c, &p->a, step, i, f->a);
        load_scale(c, p, &p->a, step, i, f->sfa);
    }
    for (int i = 0; i < p->acc->n_n; i++) {
        if (i % 2 == 0) {
            mma_load_fragment(c, &p->b, step, i, f->b);
        }
        load_scale(c, p, &p->b, step, i, f->sfb);
    }
}

// The K step whose operands are read during the products of another: of the same slot, or the first
// one of the channel's next slot, if there is a next one.
typedef struct {
    const product *p;
    int step;
    ll_val more;   // i1: wait for the next slot of 'channel' first; NULL: the same slot
    int channel;
    bool same_word; // the scales of this step are those of the next
    fragments out;
} ahead;

// Scale words that serve the next step too are not read again: a word's four bytes cover several
// steps.
static void begin_ahead(cg *c, ahead *next, const fragments *now, int step) {
    if (next->more) {
        ll_if more = ll_if_begin(c->b, next->more);
        cg_await(c, next->channel);
        ll_if_end(c->b, more);
    } else {
        cg_warp_sync(c);
    }
    next->same_word = !next->more && same_words(c, next->p, step, next->step);
    if (next->same_word) {
        next->out.sfa = now->sfa;
        next->out.sfb = now->sfb;
    }
}

static void load_ahead(cg *c, const ahead *next, bool is_a, int frag) {
    const product *p = next->p;
    if (is_a) {
        mma_load_fragment(c, &p->a, next->step, frag, next->out.a);
    } else if (frag % 2 == 1 || frag == p->acc->n_n - 1) {
        mma_load_fragment(c, &p->b, next->step, frag - frag % 2, next->out.b);
    }
    if (!next->same_word) {
        load_scale(c, p, is_a ? &p->a : &p->b, next->step, frag,
                   is_a ? next->out.sfa : next->out.sfb);
    }
}

// The products of one K step, row after row. The next step's operands are read where this step's
// are used for the last time: its A after each row, its B along the last row, each with its scales,
// so that about one step of fragments is alive beside the accumulators and the same registers take
// the next ones. ptxas would move all these reads to the front of the K tile and run out of
// registers; a warp barrier, which costs one issue slot, is what it does not move reads across.
static void multiply_step(cg *c, const product *p, const fragments *f, int step, ahead *next) {
    int last = p->acc->n_m - 1, n_n = p->acc->n_n;
    for (int m = 0; m <= last; m++) {
        if (m == last && m == 0) {
            begin_ahead(c, next, f, step);
        }
        for (int n = 0; n < n_n; n++) {
            multiply(c, p, f, step, m, n);
            if (m == last) {
                load_ahead(c, next, false, n);
            }
        }
        if (m == 0 && m < last) {
            begin_ahead(c, next, f, step);
        }
        load_ahead(c, next, true, m);
    }
}

// All steps of a slot but the last, whose fragments are returned; 'f' has those of the first.
static fragments multiply_slot(cg *c, const product *p, fragments f) {
    for (int step = 0; step + 1 < p->steps; step++) {
        ahead next = {.p = p, .step = step + 1, .out = new_fragments(c, p)};
        multiply_step(c, p, &f, step, &next);
        f = next.out;
    }
    return f;
}

static bool check_operand(cg *c, const product *p, const tir_operand *op, bool is_a) {
    const char *name = c->k->params[op->param].name;
    const tir_box *data = &c->k->channels[op->channel].boxes[op->data];
    int bytes = p->m->k_elems * mma_container(p->kind) / 8,
        rows = is_a ? p->acc->rows : p->acc->cols;
    if (p->m->k_elems % p->kind->k) {
        cg_fail(c, "the K tile of '%s' has %d elements; %s takes %d at once", name, p->m->k_elems,
                p->kind->name, p->kind->k);
    } else if (op->mn_major && mma_container(p->kind) == 8 && rows % FRAG_ROWS_A) {
        cg_fail(c,
                "'%s' lies along its rows in memory, where ldmatrix transposes 16 bytes at once; a "
                "warp has %d",
                name, rows);
    } else if (op->row_bytes % MMA_STEP_BYTES ||
               (!op->mn_major && bytes != data->n_boxes * op->row_bytes)) {
        cg_fail(c,
                "'%s' brings %d slabs of %d bytes a row for a K tile of %d bytes; 'mma sync' reads "
                "32 bytes a step",
                name, data->n_boxes, op->row_bytes, bytes);
    } else if (p->kind->scale != ELEM_NONE && op->scale < 0) {
        cg_fail(c, "'%s' is loaded without the scales that %s needs", name, p->kind->name);
    }
    return CG_OK(c);
}

static bool begin_product(cg *c, const tir_mma *m, product *p) {
    *p = (product){.m = m, .kind = &mma_kinds[m->kind], .acc = cg_accumulator(c, m->acc)};
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
    ll_val k = m->loop >= 0 ? c->starts[c->k->n_loops + m->loop] : ll_i32(c->b, 0);
    begin_slots(c, &p, cg_slot_addr(c, c->k->operands[m->a].channel),
                cg_slot_addr(c, c->k->operands[m->b].channel), k);
    fragments f = new_fragments(c, &p);
    load_step(c, &p, 0, &f);
    f = multiply_slot(c, &p, f);
    if (release >= 0) {
        cg_release(c, release); // all operands are in registers
    }
    for (int row = 0; row < p.acc->n_m; row++) {
        for (int n = 0; n < p.acc->n_n; n++) {
            multiply(c, &p, &f, p.steps - 1, row, n);
        }
    }
}

// --- The K loop ----------------------------------------------------------------------------------

// Registers of a K step that live across iterations.
typedef struct {
    ll_var *vars;
} carried;

// The lists of registers of a K step; returns their total length.
static int parts_of(const product *p, const fragments *f, ll_val *parts[4], int count[4]) {
    bool scaled = p->kind->scale != ELEM_NONE;
    parts[0] = f->a;
    parts[1] = f->b;
    parts[2] = f->sfa;
    parts[3] = f->sfb;
    count[0] = 4 * p->acc->n_m;
    count[1] = 2 * p->acc->n_n;
    count[2] = scaled ? mma_scale_words(p->acc->rows) : 0;
    count[3] = scaled ? mma_scale_words(p->acc->cols) : 0;
    return count[0] + count[1] + count[2] + count[3];
}

static carried new_carried(cg *c, const product *p) {
    fragments none = {0};
    ll_val *parts[4];
    int count[4], n = parts_of(p, &none, parts, count);
    carried v = {.vars = ARENA_ARRAY(c->mem, ll_var, n)};
    for (int i = 0; i < n; i++) {
        v.vars[i] = ll_variable(c->b, LL_I32, "ahead");
    }
    return v;
}

static void carry(cg *c, const product *p, const carried *v, const fragments *f) {
    ll_val *parts[4];
    int count[4];
    parts_of(p, f, parts, count);
    ll_var *next = v->vars;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < count[i]; j++) {
            ll_set(c->b, *next++, parts[i][j]);
        }
    }
}

static fragments taken(cg *c, const product *p, const carried *v) {
    fragments f = new_fragments(c, p);
    ll_val *parts[4];
    int count[4];
    parts_of(p, &f, parts, count);
    const ll_var *next = v->vars;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < count[i]; j++) {
            parts[i][j] = ll_get(c->b, *next++);
        }
    }
    return f;
}

// Registers that reading ahead needs at its peak: accumulators, a K step of fragments and of scale
// words, addresses and loop state, and what an epilogue keeps across the loop (addresses and bounds
// of what it reads and writes). Found with ptxas on the kernels of the tests; too low a number
// shows as spills.
enum { LOOP_REGS = 40, LOAD_REGS = 8, SCATTER_REGS = 16, QUANTISE_REGS = 40 };

static int expr_registers(const tir_expr *e) {
    int n = tir_is_load(e) ? LOAD_REGS : 0;
    for (int i = 0; i < e->n_args; i++) {
        n += expr_registers(e->args[i]);
    }
    return n;
}

static int epilogue_registers(const cg *c, int n_body, tir_stmt *const *body) {
    int n = 0;
    for (int i = 0; i < n_body; i++) {
        if (body[i]->kind == TS_STORE) {
            const tir_store *s = &c->k->stores[body[i]->ref];
            n += expr_registers(s->value) + (s->via_smem ? 0 : SCATTER_REGS) +
                 (s->scale != ELEM_NONE ? QUANTISE_REGS : 0);
        }
        n += epilogue_registers(c, body[i]->n_body, body[i]->body);
    }
    return n;
}

bool cg_mma_sync_ahead(cg *c, const tir_mma *m) {
    const tir_kernel *k = c->k;
    const tir_role *r = c->role;
    int need = LOOP_REGS + epilogue_registers(c, r->n_body, r->body) + cg_role_accs(c);
    int rows = k->accs[m->acc].rows / r->warps_m / FRAG_M;
    int cols = k->accs[m->acc].cols / r->warps_n / FRAG_N;
    bool scaled = mma_kinds[m->kind].scale != ELEM_NONE;
    need += 4 * rows + 2 * cols;
    need += scaled ? mma_scale_words(rows * FRAG_M) + mma_scale_words(cols * FRAG_N) : 0;
    return !c->shallow && need <= cg_role_regs(c);
}

// for (i = 0; i < extent; i += step) { await ch; m; release ch }, where the wait for the next slot
// and the reads of its first step stand between the products of the last step. The last iteration
// has no next slot: it reads its own one again, for nothing, and that is released behind the loop.
// What changes with the slot is carried from where the next one is awaited: its address and its
// barriers', once an iteration. The lane that arrives is known by the number of elements left above
// which it does, as ptxas would find lane 0 anew in every iteration.
void cg_mma_sync_loop(cg *c, int loop, const tir_mma *m, int ch) {
    ll *b = c->b;
    product p;
    if (!begin_product(c, m, &p)) {
        return;
    }
    product next = p;
    carried v = new_carried(c, &p);
    fragments f = new_fragments(c, &p);
    int step = c->k->fors[loop].step;
    cg_range steps = cg_for_range(c, loop);
    ll_var left = ll_variable(b, LL_I32, c->k->fors[loop].index), go = ll_variable(b, LL_I1, "go");
    ll_val length = ll_sub(b, steps.to, steps.from);
    ll_val any = ll_cmpi(b, LL_SGT, length, 0), one = ll_cmpi(b, LL_EQ, c->lane, 0);
    ll_val above = ll_select(b, one, ll_i32(b, step), ll_i32(b, INT32_MAX - 1));
    ll_set(b, left, length);
    ll_set(b, go, any);
    ll_var at = ll_variable(b, LL_I32, "at"), empty = ll_variable(b, LL_I32, "empty");
    ll_set(b, at, cg_slot_addr(c, ch));
    ll_set(b, empty, cg_empty_bar(c, ch));
    ll_if some = ll_if_begin(b, any);
    cg_await(c, ch);
    begin_slots(c, &p, ll_get(b, at), ll_get(b, at), steps.from);
    load_step(c, &p, 0, &f);
    carry(c, &p, &v, &f);
    ll_if_end(b, some);
    ll_loop l = ll_loop_begin(b, "steps");
    ll_loop_while(b, &l, ll_get(b, go));
    ll_val now = ll_get(b, left), slot = ll_get(b, at), bar = ll_get(b, empty);
    ll_set(b, left, ll_addi(b, now, -step));
    ll_val more = ll_cmpi(b, LL_SGT, now, step);
    ll_val k = ll_sub(b, steps.to, now);
    begin_slots(c, &p, slot, slot, k);
    f = multiply_slot(c, &p, taken(c, &p, &v));
    cg_warp_sync(c);
    cg_arrive_if(c, bar, ll_cmp(b, LL_SGT, now, above));
    cg_advance(c, ch);
    ll_set(b, empty, ll_select(b, more, cg_empty_bar(c, ch), bar));
    ll_set(b, at, ll_select(b, more, cg_slot_addr(c, ch), slot));
    begin_slots(c, &next, ll_get(b, at), ll_get(b, at), ll_select(b, more, ll_addi(b, k, step), k));
    ahead then = {.p = &next, .more = more, .channel = ch, .out = new_fragments(c, &p)};
    multiply_step(c, &p, &f, p.steps - 1, &then);
    carry(c, &p, &v, &then.out);
    ll_set(b, go, more);
    ll_loop_end(b, l);
    cg_warp_sync(c);
    cg_arrive_if(c, ll_get(b, empty), ll_bin(b, LL_AND, one, any));
}
