// Matrix products on sm_100a: tcgen05.cp of scale factors, tcgen05.mma, tcgen05.commit.
//
// In: operands in slots of shared memory channels, swizzled by TMA (lines along k, or along the
// rows, which the instruction descriptor then transposes), scale factors as 128x4 tiles of 512
// bytes behind them. One elected thread of one CTA (the leader of a pair) issues everything; with a
// pair the same offsets are applied in both CTAs. Out: accumulators in TMEM, row = lane, column = n
// (PTX ISA "tcgen05 data path layout D", pair "layout A").
//
// Order: cp -> mma and mma -> mma of one thread are ordered by hardware (PTX ISA "tcgen05 pipelined
// instructions"); the scale columns are overwritten by the next k tile's cp behind the mma that
// reads them, in issue order of the same thread.
#include "cg_int.h"

enum {
    ATOM_COLUMNS = 4,     // tcgen05.cp.32x128b.warpx4 fills 4 columns
    GROUP_ROWS = 32,      // rows of one scale column
    IDESC_D_F32 = 1 << 4, // only without block scale
    IDESC_UE8M0 = 1 << 23,
    KIND_F16 = 0, // immediates of the intrinsic
    KIND_F8F6F4 = 2,
};

// Set up once a role.
typedef struct {
    bool *copy_a, *copy_b; // per mma: its operands' scales are copied before it
    ll_val memory;         // i32: where shared memory begins, as descriptors have it
} umma_plan;

// --- Descriptors
// -----------------------------------------------------------------------------------

// Shared memory descriptors without address: distance between groups of 8 lines (>> 4) from bit 32
// on, version 1 in bit 46, swizzle in bits 61-63 (PTX ISA "tcgen05 shared memory descriptor").
// 'slabs': bytes between slabs whose lines lie along the rows, the leading dimension from bit 16 on
// ("canonical layouts", MN-major).
static int64_t desc_fields(tir_swizzle swizzle, int line_bytes, int slabs) {
    static const int64_t layout[] = {
        [SWZ_NONE] = 0,
        [SWZ_32B] = 6,
        [SWZ_64B] = 4,
        [SWZ_128B] = 2,
    };
    int64_t high = layout[swizzle] << 29 | 1 << 14 | (8 * line_bytes) >> 4;
    return (int64_t)((uint64_t)high << 32) | (int64_t)(slabs >> 4) << 16;
}

// Descriptor of what lies 'offset' bytes into the current slot of a channel.
static ll_val first_desc(cg *c, int ch, int offset, int64_t fields) {
    ll *b = c->b;
    const tir_channel *t = &c->k->channels[ch];
    const umma_plan *plan = c->umma;
    ll_val slot = ll_add(b, plan->memory, ll_muli(b, ll_get(b, c->chans[ch].slot), t->stride >> 4));
    ll_val low = ll_addi(b, slot, (int64_t)(int32_t)fields + ((t->offset + offset) >> 4));
    return ll_bini(b, LL_OR, ll_to(b, low, LL_I64), (int64_t)((uint64_t)fields >> 32 << 32));
}

// The same 'bytes' further: one 64-bit add in the uniform registers that descriptors are taken
// from. It is spelled out because LLVM 22 folds a sum into tcgen05.mma and tcgen05.cp as if the
// descriptor were an address ("%rd1+128", which is no PTX).
static ll_val advance_desc(cg *c, ll_val desc, int64_t bytes) {
    if (bytes == 0) {
        return desc;
    }
    ll_asm add = {.text = arena_printf(c->mem, "add.s64 $0, $1, %lld;", (long long)(bytes >> 4)),
                  .constraints = "=l,l",
                  .n_out = 1,
                  .out = {LL_I64}};
    return ll_call_asm(c->b, &add, 1, &desc);
}

// The descriptors of one product's tiles. One of an earlier tile's fields in the same slot is the
// earlier one some bytes further: one instruction where a new one takes two, one a half.
enum { MAX_TILES = 4 };
typedef struct {
    struct {
        int ch, offset;
        int64_t fields;
        ll_val desc;
    } made[MAX_TILES];
    int n;
} tile_descs;

static ll_val make_desc(cg *c, tile_descs *t, int ch, int offset, int64_t fields) {
    ll_val desc = NULL;
    for (int i = 0; i < t->n && !desc; i++) {
        if (t->made[i].ch == ch && t->made[i].fields == fields) {
            desc = advance_desc(c, t->made[i].desc, offset - t->made[i].offset);
        }
    }
    desc = desc ? desc : first_desc(c, ch, offset, fields);
    t->made[t->n].ch = ch;
    t->made[t->n].offset = offset;
    t->made[t->n].fields = fields;
    t->made[t->n++].desc = desc;
    return desc;
}

// Instruction descriptor without scale ids and columns (PTX ISA "tcgen05 instruction descriptor").
static int64_t make_idesc(const cg *c, const tir_mma *m, const mma_info *info) {
    int64_t transposed =
        (int64_t)c->k->operands[m->a].mn_major << 15 | (int64_t)c->k->operands[m->b].mn_major << 16;
    int64_t d = transposed | (int64_t)info->type_a << 7 | (int64_t)info->type_b << 10 |
                (int64_t)(m->inst_m >> 4) << 24;
    if (info->scale == ELEM_NONE) {
        return d | IDESC_D_F32;
    }
    return info->scale == ELEM_UE8M0 ? d | IDESC_UE8M0 : d;
}

ll_val cg_columns_there(cg *c, const tir_acc *a, int step) {
    ll *b = c->b;
    const tir_loop *loop = &c->k->loops[a->col_loop];
    ll_val first = ll_add(b, c->starts[a->col_loop], ll_muli(b, c->rank, a->col_rank_step));
    ll_val left = ll_sub(b, loop->hi ? c->parts[a->col_loop].hi : cg_size(c, loop->dim), first);
    left = ll_select(b, ll_cmpi(b, LL_SGT, left, 1), left, ll_i32(b, 1));
    left = ll_select(b, ll_cmpi(b, LL_SLT, left, a->cols), left, ll_i32(b, a->cols));
    return ll_muli(b, ll_bini(b, LL_UDIV, ll_addi(b, left, step - 1), step), step);
}

// The number of columns, in its place of the instruction descriptor: bits 17-22 in units of 8.
static ll_val idesc_columns(cg *c, const tir_mma *m) {
    if (m->fit == 0) {
        return ll_i32(c->b, (int64_t)(m->inst_n >> 3) << 17);
    }
    return ll_muli(c->b, cg_columns_there(c, &c->k->accs[m->acc], m->fit), 1 << (17 - 3));
}

// --- Checks
// -----------------------------------------------------------------------------------------

static void check_operand(cg *c, const tir_operand *o, const char *side) {
    static const int span[] = {[SWZ_NONE] = 0, [SWZ_32B] = 32, [SWZ_64B] = 64, [SWZ_128B] = 128};
    if (o->swizzle == SWZ_NONE || o->row_bytes != span[o->swizzle]) {
        cg_fail(c,
                "%s operand rows of %d bytes with swizzle %d: tcgen05 operands are read from rows "
                "as long as their swizzle, 32, 64 or 128 bytes",
                side, o->row_bytes, o->swizzle);
    } else if (o->scale >= 0 && (o->sf_rows % TIR_ATOM_ROWS != 0 || o->sf_rows < o->rows)) {
        cg_fail(c, "%s operand of %d rows with scales of %d: whole tiles of 128 are copied", side,
                o->rows, o->sf_rows);
    }
}

static void check_granule(cg *c, const tir_operand *o, const mma_info *info) {
    const tir_param *p = &c->k->params[o->param];
    if (!mma_takes(info, p->granule)) {
        cg_fail(c, "'%s' has a scale for %d elements: %s takes one for %d%s", p->name, p->granule,
                info->name, info->granule, info->sf_bytes == 1 ? " or a multiple" : "");
    }
}

static void check_mma(cg *c, const tir_mma *m, const mma_info *info) {
    const tir_acc *acc = &c->k->accs[m->acc];
    const tir_operand *a = &c->k->operands[m->a];
    const tir_operand *b = &c->k->operands[m->b];
    int ctas = c->k->pair ? 2 : 1;
    check_operand(c, a, "M side");
    check_operand(c, b, "N side");
    if (m->inst_m != 128 * ctas || acc->rows != 128 || a->rows != 128) {
        cg_fail(c,
                "%d rows of '%s' a CTA by instructions of %d rows: tcgen05 is used with 128 rows a "
                "CTA",
                acc->rows, acc->name, m->inst_m);
    } else if (m->inst_n != acc->cols || b->rows * ctas != acc->cols || m->inst_n % 16 != 0 ||
               m->inst_n < 16 || m->inst_n > 256) {
        cg_fail(c,
                "%d columns of '%s' by instructions of %d: the N side is one instruction of 16 to "
                "256 columns in steps of 16",
                acc->cols, acc->name, m->inst_n);
    } else if (m->k_elems % info->k != 0) {
        cg_fail(c, "a step of %d along k is not a number of instructions of %d", m->k_elems,
                info->k);
    } else if ((info->scale != ELEM_NONE) != (a->scale >= 0) ||
               (a->scale >= 0) != (b->scale >= 0)) {
        cg_fail(c, "%s needs %s scales of both operands", info->name,
                info->scale != ELEM_NONE ? "the" : "no");
    } else if (info->scale != ELEM_NONE) {
        check_granule(c, a, info);
        check_granule(c, b, info);
    }
}

// --- Scale factors
// ----------------------------------------------------------------------------------

// Columns between the scale words of one k word and of the next: all 128-row tiles side by side.
static int word_columns(const tir_operand *o) {
    return ATOM_COLUMNS * (o->sf_rows / TIR_ATOM_ROWS);
}

static int words_of(const cg *c, const tir_mma *m, const tir_operand *o) {
    return tir_scale_words(m->k_elems, c->k->params[o->param].granule);
}

// Shared memory holds [row tile][k word] of 512 bytes; the copy spreads tile j, word s to 4 columns
// at s * word_columns + 4 * j in all four lane quarters (PTX ISA "tcgen05.cp", 32x128b.warpx4).
static void copy_scales(cg *c, tile_descs *descs, const tir_operand *o, int words) {
    ll *b = c->b;
    const tir_box *box = &c->k->channels[o->channel].boxes[o->scale];
    const char *cp = c->k->pair ? "llvm.nvvm.tcgen05.cp.32x128b_warpx4.cg2"
                                : "llvm.nvvm.tcgen05.cp.32x128b_warpx4.cg1";
    ll_val desc = make_desc(c, descs, o->channel, box->offset, desc_fields(SWZ_NONE, 16, 0));
    ll_val to = ll_addi(b, c->tmem, o->sf_column);
    for (int j = 0; j < o->sf_rows / TIR_ATOM_ROWS; j++) {
        for (int s = 0; s < words; s++) {
            ll_val column = ll_addi(b, to, s * word_columns(o) + ATOM_COLUMNS * j);
            LL_INTR(b, cp, column,
                    advance_desc(c, desc, (int64_t)(j * words + s) * TIR_ATOM_BYTES));
        }
    }
}

// The coordinate of a box along the axis that 'loop' moves.
static bool moved_by(cg *c, const tir_box *box, int loop, tir_coord *out) {
    for (int axis = 0; axis < c->k->maps[box->map].rank; axis++) {
        if (box->coords[axis].loop == loop) {
            *out = box->coords[axis];
            return true;
        }
    }
    cg_fail(c, "the loop of the scales' rows moves no axis of '%s'",
            c->k->params[c->k->maps[box->map].param].name);
    return false;
}

// Rows between the first row whose scales are in the slot and the first row of the operand. The N
// side of a pair multiplies by the scales of both halves, which start with the leader's rows; a box
// that is shared out over the cluster begins where the leader's share does.
static ll_val rows_into_scales(cg *c, const tir_operand *o) {
    const tir_channel *ch = &c->k->channels[o->channel];
    const tir_box *scale = &ch->boxes[o->scale];
    tir_coord row, tile;
    if (!moved_by(c, &ch->boxes[o->data], o->sf_loop, &row) ||
        !moved_by(c, scale, o->sf_loop, &tile)) {
        return ll_i32(c->b, 0);
    }
    row.rank_mul = c->k->pair || ch->boxes[o->data].rank_offset ? 0 : row.rank_mul;
    tile.rank_mul = scale->rank_offset ? 0 : tile.rank_mul;
    int step = c->k->loops[o->sf_loop].tile * row.mul;
    if (row.div != 1 || step % GROUP_ROWS || row.add % GROUP_ROWS || row.rank_mul % GROUP_ROWS) {
        cg_fail(c, "tiles of %d rows start inside a group of 32 scale factors", step);
    }
    ll_val first = ll_muli(c->b, cg_scale_coord(c, &tile, o->param), TIR_ATOM_ROWS);
    return ll_sub(c->b, cg_scale_coord(c, &row, o->param), first);
}

// TMEM address of an operand's scales. A tile that starts in the middle of a 128-row tile of scales
// starts as many columns later (32 rows a column).
static ll_val scale_address(cg *c, const tir_operand *o) {
    ll_val at = ll_addi(c->b, c->tmem, o->sf_column);
    if (o->sf_loop < 0) {
        return at;
    }
    return ll_add(c->b, at, ll_bini(c->b, LL_LSHR, rows_into_scales(c, o), 5));
}

// --- Products
// ---------------------------------------------------------------------------------------

typedef struct {
    const tir_mma *m;
    const mma_info *info;
    ll_val d;
    ll_val a, b; // descriptors of the tiles' first bytes
    ll_val sfa, sfb;
    int64_t idesc;
    ll_val columns; // of the instruction, in the place that its descriptor has for them; and the
                    // first scales
    bool parts;     // a step is a part of a tile of scales
    int group;      // cta_group
} umma_op;

static void issue_plain(cg *c, const umma_op *op, ll_val a, ll_val b, ll_val keep) {
    bool f16 = op->info->a == ELEM_BF16 || op->info->a == ELEM_F16;
    ll_val idesc = ll_bini(c->b, LL_OR, op->columns, op->idesc);
    LL_INTR(c->b, "llvm.nvvm.tcgen05.mma.shared", op->d, a, b, idesc, keep,
            ll_i32(c->b, f16 ? KIND_F16 : KIND_F8F6F4), ll_i32(c->b, op->group), ll_i32(c->b, 0));
}

// Step i uses 4, 2 or 1 bytes of scale word i * bytes / 4, or those of the step before where they
// share them; the byte's number goes into the scale id field of the operand in the instruction
// descriptor, bits 4-5 for B and 29-30 for A (PTX ISA "tcgen05 block scaling", scale factor id). A
// word that the step has a part of begins at a byte that 'columns' has: the fields are added to,
// and never carry, as the step ends inside of the word.
static void issue_scaled(cg *c, const umma_op *op, int step, const ll_val desc[2], ll_val keep) {
    ll *b = c->b;
    const mma_info *info = op->info;
    const char *name =
        info->scale == ELEM_UE4M3 ? "llvm.nvvm.tcgen05.mma.shared.mxf4nvf4.block_scale.block16"
        : info->k == 64           ? "llvm.nvvm.tcgen05.mma.shared.mxf4.block_scale.block32"
                                  : "llvm.nvvm.tcgen05.mma.shared.mxf8f6f4.block_scale.block32";
    const tir_operand *oa = &c->k->operands[op->m->a];
    const tir_operand *ob = &c->k->operands[op->m->b];
    int in_a = cg_scale_number(c, info, oa, step), in_b = cg_scale_number(c, info, ob, step);
    ll_val sfa = ll_addi(b, op->sfa, in_a / TIR_ATOM_COLS * word_columns(oa));
    ll_val sfb = ll_addi(b, op->sfb, in_b / TIR_ATOM_COLS * word_columns(ob));
    int64_t id = (int64_t)(in_b % TIR_ATOM_COLS) << 4 | (int64_t)(in_a % TIR_ATOM_COLS) << 29;
    ll_val idesc = op->parts ? ll_addi(b, op->columns, op->idesc | id)
                             : ll_bini(b, LL_OR, op->columns, op->idesc | id);
    LL_INTR(b, name, op->d, desc[0], desc[1], idesc, keep, sfa, sfb,
            ll_i32(b, op->group), ll_i32(b, 0));
}

// First byte of an operand's tile in the current slot.
static ll_val data_desc(cg *c, tile_descs *descs, const tir_operand *o) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    return make_desc(c, descs, o->channel, box->offset,
                     desc_fields(o->swizzle, o->row_bytes, o->mn_major ? box->box_pitch : 0));
}

// K step i of an operand: 32 bytes further inside a slab, or in the next slab; lines further where
// a line is one k. The hardware swizzles the sum, so adding to the address is all there is to do.
static ll_val step_desc(cg *c, const umma_op *op, bool is_a, int step) {
    const tir_operand *o = &c->k->operands[is_a ? op->m->a : op->m->b];
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    int per_slab = o->row_bytes / MMA_STEP_BYTES;
    int64_t bytes =
        (int64_t)(step / per_slab) * box->box_pitch + (int64_t)(step % per_slab) * MMA_STEP_BYTES;
    if (o->mn_major) {
        bytes = (int64_t)step * op->info->k * o->row_bytes;
    }
    return advance_desc(c, is_a ? op->a : op->b, bytes);
}

static void issue_steps(cg *c, const umma_op *op) {
    for (int i = 0; i < op->m->k_elems / op->info->k; i++) {
        ll_val desc[2] = {step_desc(c, op, true, i), step_desc(c, op, false, i)};
        // The first step after the accumulator was taken overwrites what the columns held.
        ll_val keep = i > 0 ? ll_i1(c->b, true) : ll_not(c->b, ll_get(c->b, c->fresh[op->m->acc]));
        if (op->info->scale == ELEM_NONE) {
            issue_plain(c, op, desc[0], desc[1], keep);
        } else {
            issue_scaled(c, op, i, desc, keep);
        }
    }
}

static ll_val acc_address(cg *c, const tir_acc *acc) {
    const tir_channel *ch = &c->k->channels[acc->channel];
    ll_val slot = ll_get(c->b, c->chans[acc->channel].slot);
    ll_val column = ll_addi(c->b, ll_muli(c->b, slot, ch->stride), ch->offset + acc->column);
    return ll_add(c->b, c->tmem, column);
}

// The byte that an operand's scales begin at, into its field of the instruction descriptor at
// 'bit'.
static void begin_scales(cg *c, umma_op *op, const tir_operand *o, int bit) {
    ll_val k = op->m->loop >= 0 ? c->starts[c->k->n_loops + op->m->loop] : ll_i32(c->b, 0);
    ll_val first = cg_first_scale(c, op->m, o, k);
    if (first) {
        op->parts = true;
        op->columns = ll_add(c->b, op->columns, ll_bini(c->b, LL_SHL, first, bit));
    }
}

void cg_umma(cg *c, const tir_mma *m) {
    const mma_info *info = &mma_kinds[m->kind];
    const tir_operand *a = &c->k->operands[m->a];
    const tir_operand *b = &c->k->operands[m->b];
    const umma_plan *plan = c->umma;
    int number = (int)(m - c->k->mmas);
    check_mma(c, m, info);
    if (!CG_OK(c)) {
        return;
    }
    umma_op op = {
        .m = m, .info = info, .idesc = make_idesc(c, m, info), .group = c->k->pair ? 2 : 1};
    op.columns = idesc_columns(c, m);
    tile_descs descs = {0};
    if (info->scale != ELEM_NONE) {
        if (plan->copy_a[number]) {
            copy_scales(c, &descs, a, words_of(c, m, a));
        }
        if (plan->copy_b[number]) {
            copy_scales(c, &descs, b, words_of(c, m, b));
        }
        begin_scales(c, &op, a, 29);
        begin_scales(c, &op, b, 4);
        op.sfa = scale_address(c, a);
        op.sfb = scale_address(c, b);
    }
    op.d = acc_address(c, &c->k->accs[m->acc]);
    op.a = data_desc(c, &descs, a);
    op.b = data_desc(c, &descs, b);
    issue_steps(c, &op);
    ll_set(c->b, c->fresh[m->acc], ll_i1(c->b, false));
}

// --- The role
// ----------------------------------------------------------------------------------------

typedef enum { SCALES_OUTSIDE, SCALES_WAITING, SCALES_COPIED } scale_state;

// A copy is needed once after the operand's slot was awaited. Where the wait stands in an outer
// body (an operand kept over an inner loop) every product copies: how often the loop runs, if at
// all, is not known here.
static bool take_copy(scale_state *s) {
    bool copy = *s != SCALES_COPIED;
    if (*s == SCALES_WAITING) {
        *s = SCALES_COPIED;
    }
    return copy;
}

static void plan_copies(cg *c, umma_plan *plan, int n, tir_stmt *const *body) {
    const tir_kernel *k = c->k;
    scale_state *state = ARENA_ARRAY(c->mem, scale_state, k->n_operands + 1);
    for (int i = 0; i < n; i++) {
        const tir_stmt *s = body[i];
        if (s->kind == TS_AWAIT) {
            for (int o = 0; o < k->n_operands; o++) {
                state[o] = k->operands[o].channel == s->ref ? SCALES_WAITING : state[o];
            }
        } else if (s->kind == TS_MMA) {
            plan->copy_a[s->ref] = take_copy(&state[k->mmas[s->ref].a]);
            plan->copy_b[s->ref] = take_copy(&state[k->mmas[s->ref].b]);
        } else {
            plan_copies(c, plan, s->n_body, s->body);
        }
    }
}

void cg_umma_begin(cg *c) {
    const tir_kernel *k = c->k;
    umma_plan *plan = ARENA_NEW(c->mem, umma_plan);
    plan->copy_a = ARENA_ARRAY(c->mem, bool, k->n_mmas + 1);
    plan->copy_b = ARENA_ARRAY(c->mem, bool, k->n_mmas + 1);
    plan_copies(c, plan, c->role->n_body, c->role->body);
    // Bits 0-13 are the address >> 4, without the CTA's rank.
    plan->memory = ll_bini(c->b, LL_AND, ll_bini(c->b, LL_LSHR, cg_smem_at(c, 0), 4), 0x3FFF);
    c->umma = plan;
    c->fresh = ARENA_ARRAY(c->mem, ll_var, k->n_accs + 1);
    for (int i = 0; i < k->n_accs; i++) {
        c->fresh[i] = ll_variable(c->b, LL_I1, k->accs[i].name);
        ll_set(c->b, c->fresh[i], ll_i1(c->b, true));
    }
}

// tcgen05.commit: arrives once all earlier mma and cp of this thread are complete, in every CTA of
// the mask (0: the own one only).
static void commit(cg *c, ll_val bar, int mask) {
    bool pair = c->k->pair;
    if (mask) {
        const char *name = pair ? "llvm.nvvm.tcgen05.commit.mc.shared.cg2"
                                : "llvm.nvvm.tcgen05.commit.mc.shared.cg1";
        LL_INTR(c->b, name, bar, ll_i16(c->b, mask));
    } else {
        LL_INTR(c->b,
                pair ? "llvm.nvvm.tcgen05.commit.shared.cg2"
                     : "llvm.nvvm.tcgen05.commit.shared.cg1",
                bar);
    }
}

void cg_umma_release(cg *c, int ch) {
    ll_val bar = cg_empty_bar(c, ch);
    commit(c, bar, c->k->channels[ch].release_mask);
    if (tir_is_read_in_part(c->k, ch) && c->k->pair) { // this thread waited for the copies of both CTAs
        cg_arrive(c, bar);
        cg_arrive_remote(c, bar, ll_i32(c->b, 1));
    }
}

void cg_tmem_publish(cg *c, int ch) {
    commit(c, cg_full_bar(c, ch), c->k->pair ? 3 : 0);
    for (int i = 0; i < c->k->n_accs; i++) {
        if (c->k->accs[i].channel == ch) {
            ll_set(c->b, c->fresh[i], ll_i1(c->b, true));
        }
    }
}

// Commits are asynchronous: the last ones still signal the empty barriers of this CTA after the
// walk. The role that loads waits for all of them, so that nothing arrives at a CTA that has
// exited.
void cg_umma_tail(cg *c) {
    const tir_kernel *k = c->k;
    for (int i = 0; i < k->n_channels && k->tmem_columns > 0; i++) {
        const tir_channel *ch = &k->channels[i];
        if (ch->space != SPACE_SMEM || &k->roles[ch->from] != c->role) {
            continue;
        }
        for (int j = 0; j < ch->depth; j++) {
            cg_acquire(c, i);
            cg_advance(c, i);
        }
    }
}
