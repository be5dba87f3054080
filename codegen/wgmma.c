// Matrix products of warpgroups (wgmma.mma_async) on sm_90a: accumulators in registers, B in shared
// memory, A in shared memory or, decoded from 4 bits, in registers.
//
// A warpgroup owns 64 * R rows of the CTA's tile and multiplies them with R instructions a K step.
// The descriptor of A steps R groups of 8 rows at a time, so that the 16 rows which an instruction
// gives a warp ("wgmma.mma_async" register fragments: rows g and g + 8 of the warp's 16) are 8 rows
// of either half of the warp's 16 * R consecutive rows: what a warp holds is a rectangle, as with
// mma.sync, and leaves the same way. Where the rows of A lie along the last axis its lines cannot
// be stepped over: R is 1.
//
// Products are asynchronous. In a loop of steps one step stays in flight: a slot is released one
// step later, when wgmma.wait_group 1 says that its products are done; results are waited for when
// they are read. Operands with f32 scales are summed a granule of k at a time into registers of
// their own, then scaled and added (wgmma_scale.c); the other warpgroup's products fill the time.
// ptxas serialises products whose accumulators are touched in between (advisory C7514), so
// registers change hands only behind a wait: the accumulators pass through an empty asm there.
#include "wgmma_int.h"

#include <stdio.h>
#include <string.h>

enum { WG_ROWS = 64, GROUP_ROWS = 8, DESC_STEP = MMA_STEP_BYTES >> 4 };

// What the products of a role leave to be done later.
struct cg_wgmma {
    bool open;      // accumulators are not settled: their registers may not be read
    bool reads;     // lanes read slots themselves, to decode: see settle
    ll_var *last;   // per channel: i32, empty barrier of the slot that was read last ...
    ll_var *unsent; // ... and i1: it was not told yet
    ll_var **parts; // per accumulator that is promoted: sums of one granule; else NULL
};

static struct cg_wgmma *state(cg *c) {
    if (!c->wgmma) {
        int n = c->k->n_channels + 1;
        c->wgmma = ARENA_NEW(c->mem, struct cg_wgmma);
        c->wgmma->last = ARENA_ARRAY(c->mem, ll_var, n);
        c->wgmma->unsent = ARENA_ARRAY(c->mem, ll_var, n);
        c->wgmma->parts = ARENA_ARRAY(c->mem, ll_var *, c->k->n_accs + 1);
        for (int i = 0; i < n; i++) {
            c->wgmma->last[i] = ll_variable(c->b, LL_I32, "last");
            c->wgmma->unsent[i] = ll_variable(c->b, LL_I1, "unsent");
            ll_set(c->b, c->wgmma->unsent[i], ll_i1(c->b, false));
        }
    }
    return c->wgmma;
}

static void wait_group(cg *c, int newest) {
    LL_INTR(c->b, "llvm.nvvm.wgmma.wait_group.sync.aligned", ll_i64(c->b, newest));
}

// --- Accumulators --------------------------------------------------------------------------------

// Of one instruction: 64 rows of a warpgroup.
static int part_registers(const cg_acc *a) {
    return a->n_n * 4;
}

// An accumulator that warps add to starts at zero, beside it stand registers for a granule's sums
// of one instruction's rows.
static void begin_promoted(cg *c, int acc, const cg_acc *a) {
    ll_var *parts = state(c)->parts[acc];
    if (!parts) {
        parts = state(c)->parts[acc] = ARENA_ARRAY(c->mem, ll_var, part_registers(a));
        for (int i = 0; i < part_registers(a); i++) {
            parts[i] = ll_variable(c->b, LL_F32, "part");
        }
    }
    for (int i = 0; i < cg_registers(a); i++) {
        ll_set(c->b, a->regs[i], ll_f32(c->b, 0));
    }
}

// Otherwise nothing is written at the start of a tile: the first product overwrites.
void cg_wgmma_begin(cg *c, int acc) {
    cg_acc *a = cg_accumulator(c, acc);
    if (!a) {
        return;
    }
    if (tir_is_promoted(c->k, acc)) {
        begin_promoted(c, acc, a);
        return;
    }
    if (!c->fresh[acc].slot) {
        c->fresh[acc] = ll_variable(c->b, LL_I1, "fresh");
    }
    ll_set(c->b, c->fresh[acc], ll_i1(c->b, true));
    for (int i = 0; i < cg_registers(a); i++) {
        ll_set(c->b, a->regs[i], ll_undef(c->b, LL_F32));
    }
    state(c)->open = true;
}

// "=f" for every register, then the same registers as inputs.
static const char *tied(cg *c, int n, const char *more) {
    char *text = ARENA_ARRAY(c->mem, char, (size_t)n * 8 + strlen(more) + 1), *at = text;
    for (int i = 0; i < n; i++) {
        at += sprintf(at, "%s=f", i ? "," : "");
    }
    for (int i = 0; i < n; i++) {
        at += sprintf(at, ",%d", i);
    }
    strcpy(at, more);
    return text;
}

// What stands behind this reads the registers as they are now, not earlier.
static void fence_registers(cg *c, int n, const ll_var *regs) {
    ll_val *args = ARENA_ARRAY(c->mem, ll_val, n);
    for (int i = 0; i < n; i++) {
        args[i] = ll_get(c->b, regs[i]);
    }
    ll_asm none = {.text = "", .constraints = tied(c, n, ""), .effect = true, .n_out = n,
                   .out = {LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32}};
    ll_val r = ll_call_asm(c->b, &none, n, args);
    for (int i = 0; i < n; i++) {
        ll_set(c->b, regs[i], ll_extract(c->b, r, i));
    }
}

// All products are done; slots that they read last are free.
static void settle(cg *c) {
    struct cg_wgmma *w = state(c);
    wait_group(c, 0);
    if (w->reads) {
        cg_warp_sync(c); // all lanes have read the slots that are freed now
    }
    for (int ch = 0; ch < c->k->n_channels; ch++) {
        if (&c->k->roles[c->k->channels[ch].to] == c->role) {
            cg_signal_empty(c, ch, ll_get(c->b, w->last[ch]), ll_get(c->b, w->unsent[ch]));
            ll_set(c->b, w->unsent[ch], ll_i1(c->b, false));
        }
    }
}

void cg_wgmma_settle(cg *c) {
    if (c->wgmma && c->wgmma->open) {
        settle(c);
    }
}

void cg_wgmma_results(cg *c) {
    if (!c->wgmma || !c->wgmma->open) {
        return;
    }
    settle(c);
    for (int i = 0; i < c->k->n_accs; i++) {
        cg_acc *a = &c->accs[i];
        if (!cg_is_mine(c, i) || !a->used || c->wgmma->parts[i]) {
            continue;
        }
        fence_registers(c, cg_registers(a), a->regs);
        ll_if none = ll_if_begin(c->b, ll_get(c->b, c->fresh[i])); // no K at all
        for (int r = 0; r < cg_registers(a); r++) {
            ll_set(c->b, a->regs[r], ll_f32(c->b, 0));
        }
        ll_if_end(c->b, none);
    }
    c->wgmma->open = false;
}

// --- One step ------------------------------------------------------------------------------------

// Matrix descriptors ("wgmma matrix descriptor") without address: stride between groups of 8 lines
// >> 4 in bits 32-45, swizzle in bits 62-63; where lines are k (MN-major), bits 16-29 have the
// distance of slabs >> 4.
static int64_t desc_fields(const cg *c, const tir_operand *o, int groups) {
    static const int64_t layout[] = {[SWZ_NONE] = 0, [SWZ_32B] = 3, [SWZ_64B] = 2, [SWZ_128B] = 1};
    int slabs = o->mn_major ? c->k->channels[o->channel].boxes[o->data].box_pitch : 0;
    int64_t high = layout[o->swizzle] << 30 | (int64_t)(groups * GROUP_ROWS * o->row_bytes) >> 4;
    return (int64_t)((uint64_t)high << 32) | (int64_t)(slabs >> 4) << 16;
}

typedef struct {
    const tir_mma *m;
    const mma_info *kind;
    cg_acc *acc;
    int per_group;      // instructions of 64 rows that a warpgroup issues a step ...
    int from, to;       // ... and which of them are meant: all of them but where sums are promoted
    const ll_var *regs; // what they add to: the accumulator's, or a granule's sums
    bool again;         // the sums before stand there: ptxas must not issue into others while they are read
    ll_val *decoded;    // operand A in registers (wgmma_decode), or NULL
    ll_var tiles[2];    // promoted: low words of the descriptors of the step's tiles of A and B ...
    ll_val firsts[2];   // ... and of those of slot 0
    const char *text[3];
    const char *constraints[2]; // without and with a predicate
} product;

// The first instruction on an accumulator overwrites it.
typedef enum { OVERWRITE, ADD, ADD_UNLESS_FRESH } add_mode;

static const char *instruction(cg *c, const product *p, add_mode mode) {
    int n = 4 * p->acc->n_n;
    char *text = ARENA_ARRAY(c->mem, char, (size_t)n * 6 + 256), *at = text;
    at += sprintf(at, "wgmma.mma_async.sync.aligned.m64n%dk%d.f32.%s.%s {", p->acc->cols,
                  p->kind->k, elem_name(p->kind->a), elem_name(p->kind->b));
    for (int i = 0; i < n; i++) {
        at += sprintf(at, "%s$%d", i ? "," : "", i);
    }
    int in = 2 * n; // number of the next input
    if (p->decoded) {
        at += sprintf(at, "}, {$%d,$%d,$%d,$%d}, ", in, in + 1, in + 2, in + 3);
        in += 4;
    } else {
        at += sprintf(at, "}, $%d, ", in++);
    }
    at += sprintf(at, "$%d, ", in++);
    at += mode == ADD_UNLESS_FRESH ? sprintf(at, "$%d", in) : sprintf(at, "%d", mode == ADD);
    int trans_a = c->k->operands[p->m->a].mn_major, trans_b = c->k->operands[p->m->b].mn_major;
    if (p->kind->k != 16) { // only 16-bit elements have a transposed form
        sprintf(at, ", 1, 1;");
    } else if (p->decoded) { // A in registers has none either
        sprintf(at, ", 1, 1, %d;", trans_b);
    } else {
        sprintf(at, ", 1, 1, %d, %d;", trans_a, trans_b);
    }
    return text;
}

static bool begin_product(cg *c, const tir_mma *m, product *p) {
    *p = (product){.m = m, .kind = &mma_kinds[m->kind], .acc = cg_accumulator(c, m->acc)};
    const tir_operand *sides[] = {&c->k->operands[m->a], &c->k->operands[m->b]};
    for (int i = 0; i < 2; i++) {
        const tir_box *data = &c->k->channels[sides[i]->channel].boxes[sides[i]->data];
        int bytes = m->k_elems * elem_bits(c->k->params[sides[i]->param].elem) / 8;
        bool whole = sides[i]->mn_major || bytes == data->n_boxes * sides[i]->row_bytes;
        if (sides[i]->swizzle == SWZ_NONE || !whole) {
            cg_fail(c, "'%s' brings %d slabs of %d bytes a row for a K tile of %d bytes",
                    c->k->params[sides[i]->param].name, data->n_boxes, sides[i]->row_bytes, bytes);
        }
    }
    if (!(p->kind->families & MMA_WGMMA)) {
        cg_fail(c, "sm_90a has no %s", p->kind->name);
    } else if (c->role->warps_m % ARCH_WG_WARPS) {
        cg_fail(c, "role '%s' multiplies with %d warps below each other: wgmma takes warpgroups",
                c->role->name, c->role->warps_m);
    }
    if (!p->acc || !CG_OK(c)) {
        return false;
    }
    int groups = c->role->warps_m / ARCH_WG_WARPS;
    p->per_group = p->to = c->k->accs[m->acc].rows / (WG_ROWS * groups);
    if (c->role->warps_n != 1 || p->acc->rows != 16 * p->per_group || p->acc->cols % GROUP_ROWS) {
        cg_fail(
            c,
            "accumulator '%s' of %d x %d over %d x %d warps: a warpgroup of 'mma wgmma' holds a "
            "multiple of 64 rows and of 8 columns",
            c->k->accs[m->acc].name, c->k->accs[m->acc].rows, c->k->accs[m->acc].cols,
            c->role->warps_m, c->role->warps_n);
    }
    if (sides[0]->mn_major && (p->per_group != 1 || sides[0]->row_bytes != 2 * WG_ROWS)) {
        cg_fail(c, "'%s' lies along its rows in memory: a warpgroup takes 64 of them, not %d",
                c->k->params[sides[0]->param].name, WG_ROWS * p->per_group);
    }
    if (m->decode) {
        int steps = m->k_elems / p->kind->k;
        p->decoded = ARENA_ARRAY(c->mem, ll_val, steps * p->per_group * 4);
    }
    for (int i = 0; i < 2; i++) {
        p->tiles[i] = ll_variable(c->b, LL_I32, "tile");
    }
    p->regs = m->promote > 0 ? state(c)->parts[m->acc] : p->acc->regs;
    for (int i = 0; i < 3; i++) {
        p->text[i] = instruction(c, p, (add_mode)i);
    }
    p->constraints[0] = tied(c, 4 * p->acc->n_n, p->decoded ? ",r,r,r,r,l" : ",l,l");
    p->constraints[1] = tied(c, 4 * p->acc->n_n, p->decoded ? ",r,r,r,r,l,b" : ",l,l,b");
    return CG_OK(c);
}

// Low word of the descriptor of an operand's tile in the slot at 'slot', 'row' rows down.
static ll_val tile_at(cg *c, const tir_operand *o, ll_val slot, ll_val row) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    ll_val at = ll_addi(c->b, slot, box->offset);
    if (row) {
        // Along the last axis 64 rows of 16 bits are one slab.
        int row_bytes = o->mn_major ? box->box_pitch / WG_ROWS : o->row_bytes;
        at = ll_add(c->b, at, ll_muli(c->b, row, row_bytes));
    }
    return ll_bini(c->b, LL_AND, ll_bini(c->b, LL_LSHR, at, 4), 0x3FFF); // without the CTA's rank
}

// K step i: 32 bytes further inside a slab, or in the next slab; 16 lines where a line is one k.
// The hardware swizzles the sum.
static ll_val step_at(cg *c, const tir_operand *o, ll_val tile, int step) {
    const tir_box *box = &c->k->channels[o->channel].boxes[o->data];
    if (o->mn_major) {
        return ll_addi(c->b, tile, (int64_t)step * (MMA_STEP_BYTES / 2) * o->row_bytes >> 4);
    }
    int per_slab = o->row_bytes / MMA_STEP_BYTES;
    int bytes = step / per_slab * box->box_pitch;
    return ll_addi(c->b, tile, (bytes >> 4) + step % per_slab * DESC_STEP);
}

static ll_val descriptor(cg *c, ll_val low, int64_t fields) {
    return ll_bini(c->b, LL_OR, ll_to(c->b, low, LL_I64), fields);
}

// Register i of column fragment n of instruction j. The instruction's row half h is row group
// R * h + j of the warp's 2 * R groups.
static ll_var result(const product *p, int j, int i) {
    if (p->m->promote > 0) {
        return p->regs[i];
    }
    int n = i / 4, group = p->per_group * (i / 2 % 2) + j;
    return p->regs[(group / 2 * p->acc->n_n + n) * 4 + group % 2 * 2 + i % 2];
}

static void issue(cg *c, const product *p, int j, int step, ll_val a, ll_val b, add_mode mode) {
    int n = 4 * p->acc->n_n, n_args = n;
    ll_val *args = ARENA_ARRAY(c->mem, ll_val, n + 6);
    for (int i = 0; i < n; i++) {
        args[i] = mode == OVERWRITE && !p->again ? ll_undef(c->b, LL_F32) : ll_get(c->b, result(p, j, i));
    }
    for (int i = 0; i < 4 && p->decoded; i++) {
        args[n_args++] = p->decoded[(step * p->per_group + j) * 4 + i];
    }
    if (!p->decoded) {
        ll_val group =
            ll_addi(c->b, a, (int64_t)j * GROUP_ROWS * c->k->operands[p->m->a].row_bytes >> 4);
        args[n_args++] =
            descriptor(c, group, desc_fields(c, &c->k->operands[p->m->a], p->per_group));
    }
    args[n_args++] = descriptor(c, b, desc_fields(c, &c->k->operands[p->m->b], 1));
    if (mode == ADD_UNLESS_FRESH) {
        args[n_args++] = ll_not(c->b, ll_get(c->b, c->fresh[p->m->acc]));
    }
    ll_asm mma = {.text = p->text[mode], .constraints = p->constraints[mode == ADD_UNLESS_FRESH],
                  .effect = true, .n_out = n,
                  .out = {LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32, LL_F32}};
    ll_val r = ll_call_asm(c->b, &mma, n_args, args);
    for (int i = 0; i < n; i++) {
        ll_set(c->b, result(p, j, i), ll_extract(c->b, r, i));
    }
}

// Number of this warpgroup in its group, the same in all lanes.
static ll_val warpgroup(cg *c) {
    ll_val warp = ll_addi(c->b, c->warp, -c->role->first_warp);
    ll_val wg = ll_bini(c->b, LL_UDIV, warp, ARCH_WG_WARPS);
    int groups = c->role->warps_m / ARCH_WG_WARPS;
    bool several = tir_group_warps(c->role) < c->role->n_warps;
    return several ? ll_bini(c->b, LL_UREM, wg, groups) : wg;
}

// First row of the warpgroup in operand 'side' of the CTA, or NULL: 0.
static ll_val side_row(cg *c, const product *p, int side) {
    bool several = side == 0 && c->role->warps_m > ARCH_WG_WARPS;
    return several ? ll_muli(c->b, warpgroup(c), (int64_t)WG_ROWS * p->per_group) : NULL;
}

// Low words of the descriptors of the warpgroup's tiles in the current slots.
static void find_tiles(cg *c, const product *p) {
    for (int i = 0; i < 2; i++) {
        const tir_operand *o = &c->k->operands[i == 0 ? p->m->a : p->m->b];
        ll_set(c->b, p->tiles[i], tile_at(c, o, cg_slot_addr(c, o->channel), side_row(c, p, i)));
    }
}

// Instructions first .. last - 1 of a K tile.
static void issue_steps(cg *c, const product *p, int first, int last) {
    ll *b = c->b;
    const tir_operand *oa = &c->k->operands[p->m->a], *ob = &c->k->operands[p->m->b];
    ll_val tile_a = ll_get(b, p->tiles[0]), tile_b = ll_get(b, p->tiles[1]);
    add_mode start = p->m->promote > 0 ? OVERWRITE : first > 0 ? ADD : ADD_UNLESS_FRESH;
    for (int step = first; step < last; step++) {
        ll_val at_a = p->decoded ? NULL : step_at(c, oa, tile_a, step),
               at_b = step_at(c, ob, tile_b, step);
        for (int j = p->from; j < p->to; j++) {
            issue(c, p, j, step, at_a, at_b, step > first ? ADD : start);
        }
    }
    state(c)->open = true;
}

static void issue_product(cg *c, const product *p) {
    find_tiles(c, p);
    issue_steps(c, p, 0, p->m->k_elems / p->kind->k);
    ll_set(c->b, c->fresh[p->m->acc], ll_i1(c->b, false));
}

static void begin_batch(cg *c) {
    LL_INTR0(c->b, "llvm.nvvm.wgmma.fence.sync.aligned");
}

static void end_batch(cg *c) {
    LL_INTR0(c->b, "llvm.nvvm.wgmma.commit_group.sync.aligned");
}

static void decode_steps(cg *c, const product *p, int first, int last) {
    if (p->decoded) {
        wgmma_decode(c, &(wgmma_decoding){p->m, p->per_group}, first, last, p->decoded);
    }
}

// --- Promoted sums -------------------------------------------------------------------------------

// The f32 scales of all granules of the K tile.
static wgmma_factors *load_factors(cg *c, const tir_mma *m) {
    int n = m->k_elems / m->promote;
    wgmma_factors *f = ARENA_ARRAY(c->mem, wgmma_factors, n);
    for (int i = 0; i < n; i++) {
        f[i] = wgmma_begin_factors(c, m);
        wgmma_load_factors(c, m, i, &f[i]);
    }
    return f;
}

// Granule i of instruction j.
static void issue_granule(cg *c, const product *p, int i, int j) {
    int steps = p->m->promote / p->kind->k;
    product one = *p;
    one.from = j;
    one.to = j + 1;
    one.again = i + j > 0;
    begin_batch(c);
    issue_steps(c, &one, i * steps, (i + 1) * steps);
    end_batch(c);
}

// The sums are complete: scale and add.
static void add_granule(cg *c, const product *p, const wgmma_factors *f, int j) {
    fence_registers(c, part_registers(p->acc), p->regs);
    wgmma_promote(c, f, p->acc, &(wgmma_part){p->regs, p->per_group, j});
}

static void promote_tile(cg *c, const product *p) {
    wgmma_factors *f = load_factors(c, p->m);
    find_tiles(c, p);
    for (int i = 0; i < p->m->k_elems / p->m->promote; i++) {
        for (int j = 0; j < p->per_group; j++) {
            issue_granule(c, p, i, j);
            wait_group(c, 0);
            add_granule(c, p, &f[i], j);
        }
    }
}

void cg_wgmma(cg *c, const tir_mma *m) {
    product p;
    if (!begin_product(c, m, &p)) {
        return;
    }
    if (m->promote > 0) {
        promote_tile(c, &p);
        return;
    }
    decode_steps(c, &p, 0, m->k_elems / p.kind->k);
    begin_batch(c);
    issue_product(c, &p);
    end_batch(c);
    settle(c);
}

// --- The K loop ----------------------------------------------------------------------------------

// Steps of a loop overlap if it only awaits slots, multiplies them and releases them, in this
// order.
static bool is_plain(const cg *c, const tir_stmt *s) {
    int phase = 0;
    for (int i = 0; i < s->n_body; i++) {
        const tir_stmt *t = s->body[i];
        int now = t->kind == TS_AWAIT ? 0 : t->kind == TS_MMA ? 1 : t->kind == TS_RELEASE ? 2 : -1;
        if (now < phase || (t->kind != TS_MMA && c->k->channels[t->ref].space != SPACE_SMEM)) {
            return false;
        }
        phase = now;
    }
    return phase == 2;
}

// A step that overlaps with the next one keeps its slots meanwhile: there must be others, of each
// group that takes steps by turns.
static bool has_more_slots(const cg *c, const tir_stmt *s) {
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_RELEASE && c->k->channels[s->body[i]->ref].depth < 2 * cg_shares_of(c, s->ref)) {
            return false;
        }
    }
    return true;
}

// Weights of one half of a K tile are decoded while those of the half before are multiplied:
// registers of operand A may change only when their products are done ("wgmma.wait_group"), and
// either half has its own.
static void decoded_half(cg *c, const tir_stmt *s, const product *products, int half) {
    state(c)->reads = true;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            begin_batch(c);
        }
        for (int i = 0; i < s->n_body; i++) {
            if (s->body[i]->kind != TS_MMA) {
                continue;
            }
            const product *p = &products[i];
            int steps = p->m->k_elems / p->kind->k, first = half * (steps / 2);
            int last = half ? steps : steps / 2;
            if (pass == 0) {
                decode_steps(c, p, first, last);
            } else {
                find_tiles(c, p);
                issue_steps(c, p, first, last);
                ll_set(c->b, c->fresh[p->m->acc], ll_i1(c->b, false));
            }
        }
    }
    end_batch(c);
    wait_group(c, 1);
}

static void issue_step(cg *c, const tir_stmt *s, const product *products) {
    begin_batch(c);
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_MMA) {
            issue_product(c, &products[i]);
        }
    }
    end_batch(c);
}

// The slots of the step before are free ...
static void free_last(cg *c, const tir_stmt *s) {
    struct cg_wgmma *w = state(c);
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_RELEASE) {
            int ch = s->body[i]->ref;
            cg_signal_empty(c, ch, ll_get(c->b, w->last[ch]), ll_get(c->b, w->unsent[ch]));
        }
    }
}

// ... and those of this step come next.
static void keep_slots(cg *c, const tir_stmt *s) {
    struct cg_wgmma *w = state(c);
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_RELEASE) {
            int ch = s->body[i]->ref;
            ll_set(c->b, w->last[ch], cg_empty_bar(c, ch));
            ll_set(c->b, w->unsent[ch], ll_i1(c->b, true));
            cg_advance(c, ch);
        }
    }
}

static void await_slots(cg *c, const tir_stmt *s) {
    for (int i = 0; i < s->n_body && s->body[i]->kind == TS_AWAIT; i++) {
        cg_await(c, s->body[i]->ref);
    }
}

// All products of the step are promoted, or none: returns their number.
static int promoted_in(const cg *c, const tir_stmt *s, int *n_mmas) {
    int promoted = 0;
    *n_mmas = 0;
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_MMA) {
            ++*n_mmas;
            promoted += c->k->mmas[s->body[i]->ref].promote > 0;
        }
    }
    return promoted;
}

// A loop of promoted products: nothing but adding its sums stands between a step's last products
// and the next one's, as the tensor core may wait for those. All else is done while products are in
// flight, behind a step's last ones and never between them.
typedef struct {
    const tir_stmt *s;
    const product *products;
    bool ahead;  // the slots of the next step are waited for in a step
    ll_val more; // i1: there is a next step
} promoted_loop;

// The tiles in slot 0 are found once, those of a step are so many slots further.
static void find_first_tiles(cg *c, product *p) {
    for (int i = 0; i < 2; i++) {
        const tir_operand *o = &c->k->operands[i == 0 ? p->m->a : p->m->b];
        ll_val slot = cg_smem_at(c, c->k->channels[o->channel].offset);
        p->firsts[i] = cg_keep(c, tile_at(c, o, slot, side_row(c, p, i)), LL_I32);
    }
}

static void find_all_tiles(cg *c, const promoted_loop *l) {
    for (int i = 0; i < l->s->n_body; i++) {
        const product *p = &l->products[i];
        for (int side = 0; side < 2 && l->s->body[i]->kind == TS_MMA; side++) {
            int ch = c->k->operands[side == 0 ? p->m->a : p->m->b].channel;
            ll_val slot = cg_slot_times(c, ch, c->k->channels[ch].stride >> 4);
            ll_val tile = cg_keep(c, ll_add(c->b, p->firsts[side], slot), LL_I32);
            ll_set(c->b, p->tiles[side], tile);
        }
    }
}

// The products of the step are in flight: waits for them and for the slots of the next step, and
// frees its own.
static void finish_step(cg *c, const promoted_loop *l) {
    const tir_stmt *s = l->s;
    ll_val *empty = ARENA_ARRAY(c->mem, ll_val, s->n_body);
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_RELEASE) {
            empty[i] = cg_empty_bar(c, s->body[i]->ref);
            cg_advance(c, s->body[i]->ref);
        }
    }
    if (l->ahead) {
        find_all_tiles(c, l);
        ll_if more = ll_if_begin(c->b, l->more);
        await_slots(c, s);
        ll_if_end(c->b, more);
    }
    wait_group(c, 0);
    cg_warp_sync(c); // all lanes have read their scales
    for (int i = 0; i < s->n_body; i++) {
        if (s->body[i]->kind == TS_RELEASE) {
            cg_signal_empty(c, s->body[i]->ref, empty[i], NULL);
        }
    }
}

// Scales of blocks are few and read behind the first products; where every column has its own their
// reads, behind products, would queue behind those of the tensor core, and the sums with them.
static void promoted_product(cg *c, const promoted_loop *l, const product *p, bool last) {
    int n = p->m->k_elems / p->m->promote * p->per_group;
    wgmma_factors *f = wgmma_begin_factors(c, p->m).n_blocks == 0 ? load_factors(c, p->m) : NULL;
    for (int i = 0; i < n; i++) {
        int granule = i / p->per_group, j = i % p->per_group;
        issue_granule(c, p, granule, j);
        if (!f) {
            cg_warp_sync(c); // else ptxas may read between the products: 7 to 19 % slower (H200)
            f = load_factors(c, p->m);
        }
        if (last && i == n - 1) {
            finish_step(c, l);
        } else {
            wait_group(c, 0);
        }
        add_granule(c, p, &f[granule], j);
    }
}

static void promoted_step(cg *c, const promoted_loop *l, int n) {
    if (!l->ahead) {
        await_slots(c, l->s);
        find_all_tiles(c, l);
    }
    for (int i = 0, done = 0; i < l->s->n_body; i++) {
        if (l->s->body[i]->kind == TS_MMA) {
            done++;
            promoted_product(c, l, &l->products[i], done == n);
        }
    }
}

// In front of the steps.
static void promoted_begin(cg *c, const promoted_loop *l, const cg_range *steps) {
    if (l->ahead) {
        find_all_tiles(c, l);
        ll_if some = ll_if_begin(c->b, ll_cmp(c->b, LL_SLT, steps->from, steps->to));
        await_slots(c, l->s);
        ll_if_end(c->b, some);
    }
}

bool cg_wgmma_loop(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    int n_mmas = 0, promoted = promoted_in(c, s, &n_mmas);
    if (!is_plain(c, s) || (promoted != 0 && promoted != n_mmas) ||
        (promoted == 0 && !has_more_slots(c, s))) {
        return false;
    }
    product *products = ARENA_ARRAY(c->mem, product, s->n_body);
    for (int i = 0; i < s->n_body; i++) {
        const tir_stmt *t = s->body[i];
        if (t->kind == TS_MMA && !begin_product(c, &c->k->mmas[t->ref], &products[i])) {
            return true;
        }
    }
    cg_range steps = cg_for_range(c, s->ref);
    bool decoding = false;
    for (int i = 0; i < s->n_body; i++) {
        decoding |= s->body[i]->kind == TS_MMA && products[i].decoded;
    }
    cg_shared_loop shared = cg_shared_begin(c, s);
    promoted_loop sums = {.s = s, .products = products};
    ll_val **outer = c->lines;
    if (promoted) {
        for (int i = 0; i < s->n_body; i++) {
            if (s->body[i]->kind == TS_MMA) {
                find_first_tiles(c, &products[i]);
            }
        }
        cg_factors_begin(c, s->ref);
        sums.ahead = cg_shares_of(c, s->ref) == 1 && has_more_slots(c, s);
        promoted_begin(c, &sums, &steps);
    }
    ll_var at = ll_variable(b, LL_I32, c->k->fors[s->ref].index);
    ll_set(b, at, steps.from);
    ll_loop l = ll_loop_begin(b, "steps");
    ll_val i = ll_get(b, at);
    ll_loop_while(b, &l, ll_cmp(b, LL_SLT, i, steps.to));
    c->starts[c->k->n_loops + s->ref] = i;
    if (promoted) {
        sums.more = ll_cmp(b, LL_SLT, ll_addi(b, i, steps.by), steps.to);
        promoted_step(c, &sums, n_mmas);
    } else if (decoding) {
        await_slots(c, s);
        decoded_half(c, s, products, 0);
        cg_warp_sync(c); // all lanes have read the slot that is freed now
        free_last(c, s);
        decoded_half(c, s, products, 1);
        keep_slots(c, s);
    } else {
        await_slots(c, s);
        issue_step(c, s, products);
        wait_group(c, 1);
        free_last(c, s);
        keep_slots(c, s);
    }
    c->starts[c->k->n_loops + s->ref] = NULL;
    cg_shared_step(c, &shared);
    ll_set(b, at, ll_addi(b, i, steps.by));
    ll_loop_end(b, l);
    cg_shared_end(c, &shared);
    c->lines = outer;
    return true;
}
