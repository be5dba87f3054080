// Streamed loops ('split k over sms', stream-K): the steps of all tiles, one tile behind the other,
// are one row of units; a tile without steps has one unit that does nothing. Each of the n clusters
// takes a range of them, all of the same length or one shorter, in order: first what is left of a
// tile that another range begins, then whole tiles, then the beginning of one.
//
// Who has a tile's first step adds up the sums of the ranges behind in the order of their steps, in
// f32, and stores. The others leave theirs in the workspace, for which a CTA has one place: only
// the first tile of a range was begun by another. Lane and register of an element are the same in
// all CTAs, so each warp reads what its like wrote, and each warp has a flag of its own: st.global;
// bar.warp.sync; st.release.gpu by one lane -> ld.acquire.gpu by one lane; bar.warp.sync; ld.global
// (PTX ISA "Memory Consistency Model", causality order). The reader, the only one, sets the flag
// back to zero, so that flags are zero between launches; the next launch on the stream comes behind
// this one (roles that store wait for it with 'pdl').
//
// Nobody waits for ever: a range waits only in its last tile, for the first tiles of the ranges
// behind it, and who leaves sums has waited for nobody's before. So all goes on as soon as all CTAs
// run, of which there are no more than the device has multiprocessors (codegen/meta.c). Cluster i
// has range n - 1 - i: it waits for clusters of lower numbers alone, which begin no later, should
// another kernel hold some multiprocessors.
#include "cg_int.h"

#include "../runtime/module.h"

enum { WORDS = 4, WORD_BYTES = 4, CHUNK_BYTES = WORDS * WORD_BYTES };

// The first unit of a range: as many in each, one more in each of the first ones.
static ll_val first_unit(cg *c, ll_val range) {
    ll *b = c->b;
    const cg_stream *s = &c->stream;
    ll_val fewer = ll_cmp(b, LL_ULT, range, s->longer);
    return ll_add(b, ll_mul(b, range, s->each), ll_select(b, fewer, range, s->longer));
}

static void set_ranges(cg *c) {
    ll *b = c->b;
    cg_stream *s = &c->stream;
    s->steps = cg_for_trips(c, c->k->walk.stream);
    s->units = ll_select(b, ll_cmpi(b, LL_SGT, s->steps, 0), s->steps, ll_i32(b, 1));
    ll_val all = ll_mul(b, cg_n_tiles(c), s->units);
    s->each = ll_bin(b, LL_UDIV, all, c->n_clusters);
    s->longer = ll_bin(b, LL_UREM, all, c->n_clusters);
    s->range = ll_addi(b, ll_sub(b, c->n_clusters, c->cluster_id), -1);
}

// The tile of a unit, and which of its steps the range has.
static ll_val enter(cg *c, ll_val unit, ll_val end) {
    ll *b = c->b;
    cg_stream *s = &c->stream;
    ll_val tile = ll_bin(b, LL_UDIV, unit, s->units), first = ll_mul(b, tile, s->units);
    ll_val left = ll_sub(b, end, first);
    ll_val to = ll_select(b, ll_cmp(b, LL_ULT, left, s->units), left, s->units);
    s->behind = ll_add(b, first, s->units);
    s->first = ll_sub(b, unit, first);
    s->last = ll_select(b, ll_cmp(b, LL_ULT, to, s->steps), to, s->steps);
    cg_tile_starts(c, tile);
    return ll_add(b, first, to);
}

void cg_stream_walk(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    set_ranges(c);
    ll_var unit = ll_variable(b, LL_I32, "unit");
    ll_set(b, unit, first_unit(c, c->stream.range));
    ll_val end = first_unit(c, ll_addi(b, c->stream.range, 1));
    ll_loop l = ll_loop_begin(b, "tiles");
    ll_val at = ll_get(b, unit);
    ll_loop_while(b, &l, ll_cmp(b, LL_ULT, at, end));
    ll_val next = enter(c, at, end);
    cg_tile_begin(c);
    cg_stmts(c, s->n_body, s->body);
    ll_set(b, unit, next);
    ll_loop_end(b, l);
}

// --- The workspace -------------------------------------------------------------------------------

// Address (i64) of a CTA's flag for this warp. Flags of all CTAs come first, whatever kernel it is.
static ll_val flag_of(cg *c, ll_val cta) {
    ll *b = c->b;
    // Not c->warp: ptxas would keep that uniform value through all of the role, in local memory.
    ll_val warp = ll_bini(b, LL_LSHR, c->tid, 5);
    ll_val at = ll_add(b, ll_muli(b, cta, FP4_MODULE_FLAGS), warp);
    return ll_add(b, cg_arg_of(c, ARG_WORKSPACE, 0, PART_DATA), ll_muli(b, ll_to(b, at, LL_I64), WORD_BYTES));
}

static int pitch(const cg *c) {
    return tir_group_warps(c->role) * ARCH_LANES * CHUNK_BYTES;
}

// Address of this thread's registers 4 * chunk and on of an accumulator, in what a CTA left.
static ll_val left_by(cg *c, ll_val cta, int acc, ll_val chunk) {
    ll *b = c->b;
    int role = cg_role_number(c);
    int offset = FP4_MODULE_FLAG_BYTES + tir_left_offset(c->k, role);
    offset += tir_sum_offset(c->k, role, acc);
    ll_val thread = ll_add(b, ll_muli(b, c->role_warp, ARCH_LANES), c->lane);
    ll_val in = ll_add(b, ll_muli(b, thread, CHUNK_BYTES), ll_muli(b, chunk, pitch(c)));
    ll_val at = ll_add(b, cg_arg_of(c, ARG_WORKSPACE, 0, PART_DATA),
                       ll_muli(b, ll_to(b, cta, LL_I64), tir_left_bytes(c->k)));
    return ll_addi(b, ll_add(b, at, ll_to(b, in, LL_I64)), offset);
}

// This CTA's number in the grid, and that of its like in the n-th range behind.
static ll_val cta_behind(cg *c, ll_val n) {
    ll *b = c->b;
    return ll_add(b, ll_muli(b, ll_sub(b, c->cluster_id, n), c->k->cluster), c->rank);
}

void cg_left_put(cg *c, int acc, ll_val chunk, int n, const ll_val *values) {
    ll_val at = left_by(c, cta_behind(c, ll_i32(c->b, 0)), acc, chunk);
    for (int i = 0; i < n; i += WORDS) {
        ll_asm store = {.text = arena_printf(c->mem, "st.global.v4.f32 [$0+%d], {$1, $2, $3, $4};",
                                             i / WORDS * pitch(c)),
                        .constraints = "l,f,f,f,f,~{memory}",
                        .effect = true};
        LL_ASM(c->b, &store, at, values[i], values[i + 1], values[i + 2], values[i + 3]);
    }
}

static void load_chunk(cg *c, ll_val at, int offset, ll_val *values) {
    ll_asm load = {.text = arena_printf(c->mem, "ld.global.v4.f32 {$0, $1, $2, $3}, [$4+%d];", offset),
                   .constraints = "=f,=f,=f,=f,l,~{memory}",
                   .effect = true,
                   .n_out = WORDS,
                   .out = {LL_F32, LL_F32, LL_F32, LL_F32}};
    ll_val r = LL_ASM(c->b, &load, at);
    for (int i = 0; i < WORDS; i++) {
        values[i] = ll_extract(c->b, r, i);
    }
}

// Registers that are read before the first of them is added, so that few parts do not wait one for
// the other: of several parts where a part has few, of a piece of one where it has many.
enum { AHEAD = 64, PIECE = 32, MOST_PARTS = 8 };

typedef struct {
    int acc, n;
    ll_val chunk;
    ll_var *sums;
} left_sums;

// Of 'parts' parts from 'number' on: registers 'first' up to 'last' of each; parts that are not
// there are read as the last one is, and not added.
static void add_piece(cg *c, const left_sums *s, ll_val number, int parts, int first, int last) {
    ll *b = c->b;
    ll_val got[AHEAD], there[MOST_PARTS], end = ll_get(b, c->stream.parts);
    int n = last - first;
    for (int p = 0; p < parts; p++) {
        ll_val part = ll_addi(b, number, p);
        there[p] = ll_cmp(b, LL_ULT, part, end);
        part = ll_select(b, there[p], part, ll_addi(b, end, -1));
        ll_val at = left_by(c, cta_behind(c, part), s->acc, s->chunk);
        for (int i = 0; i < n; i += WORDS) {
            load_chunk(c, at, (first + i) / WORDS * pitch(c), got + p * n + i);
        }
    }
    for (int i = first; i < last; i++) {
        ll_val sum = ll_get(b, s->sums[i]);
        for (int p = 0; p < parts; p++) {
            ll_val more = cg_math2(c, "add.rn.f32", sum, got[p * n + i - first]);
            sum = p == 0 ? more : ll_select(b, there[p], more, sum);
        }
        ll_set(b, s->sums[i], sum);
    }
}

void cg_left_add(cg *c, int acc, ll_val chunk, int n, ll_val *values) {
    ll *b = c->b;
    left_sums s = {acc, n, chunk, ARENA_ARRAY(c->mem, ll_var, n)};
    ll_var part = ll_variable(b, LL_I32, "part");
    for (int i = 0; i < n; i++) {
        s.sums[i] = ll_variable(b, LL_F32, "sum");
        ll_set(b, s.sums[i], values[i]);
    }
    int parts = n > PIECE ? 1 : AHEAD / n < MOST_PARTS ? AHEAD / n : MOST_PARTS;
    ll_set(b, part, ll_i32(b, 1));
    ll_loop l = ll_loop_begin(b, "parts");
    ll_val number = ll_get(b, part);
    ll_loop_while(b, &l, ll_cmp(b, LL_ULT, number, ll_get(b, c->stream.parts)));
    for (int i = 0; i < n; i += PIECE) {
        add_piece(c, &s, number, parts, i, i + PIECE < n ? i + PIECE : n);
    }
    ll_set(b, part, ll_addi(b, number, parts));
    ll_loop_end(b, l);
    for (int i = 0; i < n; i++) {
        values[i] = ll_get(b, s.sums[i]);
    }
}

// --- The meeting ---------------------------------------------------------------------------------

// Until the flag is set; then it is zero again.
static void await_flag(cg *c, ll_val flag) {
    ll *b = c->b;
    ll_asm look = {.text = "ld.acquire.gpu.global.u32 $0, [$1];",
                   .constraints = "=r,l,~{memory}",
                   .effect = true,
                   .n_out = 1,
                   .out = {LL_I32}};
    ll_asm clear = {.text = "st.relaxed.gpu.global.u32 [$0], $1;", .constraints = "l,r,~{memory}", .effect = true};
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    ll_block loop = ll_new_block(b, "flag"), done = ll_new_block(b, "set");
    ll_br(b, loop);
    ll_at(b, loop);
    ll_cond(b, ll_cmpi(b, LL_NE, LL_ASM(b, &look, flag), 0), done, loop);
    ll_at(b, done);
    LL_ASM(b, &clear, flag, ll_i32(b, 0));
    ll_if_end(b, one);
}

// The sums of all ranges behind that have steps of this tile.
static void await_parts(cg *c) {
    ll *b = c->b;
    ll_var part = c->stream.parts;
    ll_set(b, part, ll_i32(b, 1));
    ll_loop l = ll_loop_begin(b, "behind");
    ll_val n = ll_get(b, part);
    ll_loop_while(b, &l, ll_cmp(b, LL_ULT, first_unit(c, ll_add(b, c->stream.range, n)), c->stream.behind));
    await_flag(c, flag_of(c, cta_behind(c, n)));
    ll_set(b, part, ll_addi(b, n, 1));
    ll_loop_end(b, l);
    cg_warp_sync(c);
}

static void leave(cg *c) {
    ll *b = c->b;
    cg_sums_leave(c);
    cg_warp_sync(c);
    ll_asm set = {.text = "st.release.gpu.global.u32 [$0], $1;", .constraints = "l,r,~{memory}", .effect = true};
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    LL_ASM(b, &set, flag_of(c, cta_behind(c, ll_i32(b, 0))), ll_i32(b, 1));
    ll_if_end(b, one);
    cg_warp_sync(c);
}

void cg_stream_combine(cg *c, const tir_stmt *s) {
    ll *b = c->b;
    c->stream.parts = ll_variable(b, LL_I32, "parts");
    ll_if f = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->stream.first, 0));
    await_parts(c);
    cg_sums_gather(c);
    cg_stmts(c, s->n_body, s->body);
    ll_if_else(b, &f);
    leave(c);
    ll_if_end(b, f);
}
