// Channels as the roles see them: which slot is next, waiting, loading, signalling.
//
// Instance i of a channel lives in slot i % depth and belongs to pass i / depth. A role keeps the
// slot and the parity of the pass in two variables. Full barriers are waited for with that parity,
// empty ones with the opposite (a fresh mbarrier lets parity 1 pass). A role that takes tiles by
// turns steps over the instances of the other groups' tiles.
#include "cg_int.h"

ll_val cg_slot_times(cg *c, int ch, int bytes) {
    const tir_channel *t = &c->k->channels[ch];
    return t->depth == 1 ? ll_i32(c->b, 0) : ll_muli(c->b, ll_get(c->b, c->chans[ch].slot), bytes);
}

static bool is_mine(const cg *c, const tir_channel *ch) {
    const tir_role *r = c->role;
    return &c->k->roles[ch->from] == r || &c->k->roles[ch->to] == r;
}

// Instances of a channel that one run of these statements goes through.
static ll_val count_instances(cg *c, int n, tir_stmt *const *body, int ch) {
    ll *b = c->b;
    ll_val sum = ll_i32(b, 0);
    for (int i = 0; i < n; i++) {
        const tir_stmt *s = body[i];
        bool steps = (s->kind == TS_PUBLISH || s->kind == TS_RELEASE) && s->ref == ch;
        if (s->kind == TS_STORE && c->k->stores[s->ref].release == ch) {
            steps = true;
        }
        if (steps) {
            sum = ll_addi(b, sum, 1);
        } else if (s->n_body > 0) {
            ll_val inner = count_instances(c, s->n_body, s->body, ch);
            if (s->kind == TS_FOR) {
                inner = ll_mul(b, inner, cg_for_trips(c, s->ref));
            }
            sum = ll_add(b, sum, inner);
        }
    }
    return sum;
}

static void skip(cg *c, int ch, ll_val instances) {
    ll *b = c->b;
    int depth = c->k->channels[ch].depth;
    cg_chan *s = &c->chans[ch];
    ll_val at = ll_add(b, ll_get(b, s->slot), instances);
    ll_val passes = ll_bini(b, LL_UDIV, at, depth);
    ll_set(b, s->slot, depth == 1 ? ll_i32(b, 0) : ll_bini(b, LL_UREM, at, depth));
    ll_val flip = ll_bini(b, LL_AND, passes, 1);
    ll_set(b, s->phase, ll_bin(b, LL_XOR, ll_get(b, s->phase), flip));
}

void cg_channels_begin(cg *c) {
    const tir_kernel *k = c->k;
    ll *b = c->b;
    for (int i = 0; i < k->n_channels; i++) {
        cg_chan *s = &c->chans[i];
        if (!is_mine(c, &k->channels[i])) {
            continue;
        }
        s->used = true;
        s->slot = ll_variable(b, LL_I32, "slot");
        s->phase = ll_variable(b, LL_I32, "phase");
        ll_set(b, s->slot, ll_i32(b, 0));
        ll_set(b, s->phase, ll_i32(b, 0));
    }
}

// At the first tile: stand at the instances of this group's first tile.
void cg_channels_turn(cg *c, const tir_stmt *walk) {
    ll *b = c->b;
    for (int i = 0; i < c->k->n_channels; i++) {
        if (c->chans[i].used) {
            c->chans[i].per_tile = count_instances(c, walk->n_body, walk->body, i);
            skip(c, i, ll_mul(b, c->chans[i].per_tile, c->group));
        }
    }
}

// After a tile: step over the tiles of the other groups.
void cg_channels_skip(cg *c) {
    for (int i = 0; i < c->k->n_channels; i++) {
        if (c->chans[i].used) {
            skip(c, i, ll_muli(c->b, c->chans[i].per_tile, c->role->turns - 1));
        }
    }
}

// Steps over a tile of another group.
void cg_channels_pass(cg *c, const tir_stmt *walk) {
    for (int i = 0; i < c->k->n_channels; i++) {
        if (c->chans[i].used) {
            skip(c, i, count_instances(c, walk->n_body, walk->body, i));
        }
    }
}

// --- Steps by turns ------------------------------------------------------------------------------

// Steps over 'steps' times the instances of a step.
static void skip_steps(cg *c, const tir_stmt *loop, ll_val steps) {
    for (int i = 0; i < c->k->n_channels; i++) {
        if (c->chans[i].used) {
            ll_val each = count_instances(c, loop->n_body, loop->body, i);
            skip(c, i, ll_mul(c->b, each, steps));
        }
    }
}

cg_shared_loop cg_shared_begin(cg *c, const tir_stmt *loop) {
    cg_shared_loop s = {0};
    if (cg_shares_of(c, loop->ref) == 1) {
        return s;
    }
    s.loop = loop;
    s.slots = ARENA_ARRAY(c->mem, ll_val, c->k->n_channels + 1);
    s.phases = ARENA_ARRAY(c->mem, ll_val, c->k->n_channels + 1);
    for (int i = 0; i < c->k->n_channels; i++) {
        if (c->chans[i].used) {
            s.slots[i] = ll_get(c->b, c->chans[i].slot);
            s.phases[i] = ll_get(c->b, c->chans[i].phase);
        }
    }
    skip_steps(c, loop, c->group);
    return s;
}

void cg_shared_step(cg *c, const cg_shared_loop *s) {
    if (s->loop) {
        skip_steps(c, s->loop, ll_i32(c->b, c->role->shares - 1));
    }
}

void cg_shared_end(cg *c, const cg_shared_loop *s) {
    for (int i = 0; i < c->k->n_channels && s->loop; i++) {
        if (c->chans[i].used) {
            ll_set(c->b, c->chans[i].slot, s->slots[i]);
            ll_set(c->b, c->chans[i].phase, s->phases[i]);
        }
    }
    if (s->loop) {
        skip_steps(c, s->loop, cg_for_steps(c, s->loop->ref));
    }
}

ll_val cg_full_bar(cg *c, int ch) {
    return ll_add(c->b, cg_smem_at(c, c->k->channels[ch].full_bar), cg_slot_times(c, ch, 8));
}

ll_val cg_empty_bar(cg *c, int ch) {
    const tir_channel *t = &c->k->channels[ch];
    ll_val base = cg_smem_at(c, t->empty_bar);
    return t->empty_bars == 1 ? base : ll_add(c->b, base, cg_slot_times(c, ch, 8));
}

ll_val cg_slot_addr(cg *c, int ch) {
    const tir_channel *t = &c->k->channels[ch];
    return ll_add(c->b, cg_smem_at(c, t->offset), cg_slot_times(c, ch, t->stride));
}

ll_val cg_factor_slot(cg *c, int ch) {
    const tir_channel *t = &c->k->channels[ch];
    return ll_add(c->b, cg_smem_at(c, t->factors), cg_slot_times(c, ch, t->factor_bytes));
}

void cg_advance(cg *c, int ch) {
    ll *b = c->b;
    cg_chan *s = &c->chans[ch];
    int depth = c->k->channels[ch].depth;
    ll_val phase = ll_get(b, s->phase);
    if (depth == 1) {
        ll_set(b, s->phase, ll_bini(b, LL_XOR, phase, 1));
        return;
    }
    ll_val next = ll_addi(b, ll_get(b, s->slot), 1);
    ll_val wrap = ll_cmpi(b, LL_EQ, next, depth);
    ll_set(b, s->slot, ll_select(b, wrap, ll_i32(b, 0), next));
    ll_set(b, s->phase, ll_bin(b, LL_XOR, phase, ll_to(b, wrap, LL_I32)));
}

// --- Waiting -------------------------------------------------------------------------------------

// Waits acquire at cluster scope where another CTA's accesses are ordered by them (that costs the
// L1 cache). Slots of wgmma are filled and read by asynchronous operations alone, those in shared
// memory that tcgen05 multiplies too.
static bool acquires_cluster(const cg *c) {
    return c->k->cluster_loop >= 0 && c->k->arch != ARCH_SM90A;
}

void cg_acquire(cg *c, int ch) {
    ll *b = c->b;
    const tir_channel *t = &c->k->channels[ch];
    // With one empty barrier for both slots every instance is a phase of its own: instance i waits
    // for the release of instance i - 1, and i & 1 is the slot.
    bool shared = t->empty_bars == 1 && t->depth == 2;
    ll_val of = ll_get(b, shared ? c->chans[ch].slot : c->chans[ch].phase);
    cg_wait(c, cg_empty_bar(c, ch), ll_bini(b, LL_XOR, of, 1), acquires_cluster(c));
    if (tir_is_read_in_part(c->k, ch) && !c->k->pair) { // never waits: the copies have come
        ll_val phase = ll_get(b, c->chans[ch].phase);
        cg_wait(c, cg_full_bar(c, ch), ll_bini(b, LL_XOR, phase, 1), acquires_cluster(c));
    }
    if (t->space == SPACE_TMEM) {
        LL_INTR0(b, "llvm.nvvm.tcgen05.fence.after.thread.sync");
    }
}

void cg_await(cg *c, int ch) {
    bool tmem = c->k->channels[ch].space == SPACE_TMEM;
    cg_wait(c, cg_full_bar(c, ch), ll_get(c->b, c->chans[ch].phase),
            acquires_cluster(c) && (tmem || !cg_is_umma(c)));
    if (tmem || cg_is_umma(c)) {
        LL_INTR0(c->b, "llvm.nvvm.tcgen05.fence.after.thread.sync");
    }
}

// --- Loading -------------------------------------------------------------------------------------

// Without the CTA's share.
static ll_val coord_of_tile(cg *c, const tir_coord *x, ll_val start) {
    ll *b = c->b;
    ll_val v = ll_i32(b, x->add);
    return start ? ll_add(b, ll_bini(b, LL_UDIV, ll_muli(b, start, x->mul), x->div), v) : v;
}

static ll_val coord_at(cg *c, const tir_coord *x, ll_val start) {
    ll *b = c->b;
    ll_val v = coord_of_tile(c, x, start);
    return x->rank_mul ? ll_add(b, v, ll_muli(b, c->rank, x->rank_mul)) : v;
}

ll_val cg_coord(cg *c, const tir_coord *x) {
    return coord_at(c, x, x->loop >= 0 ? c->starts[x->loop] : NULL);
}

ll_val cg_scale_coord(cg *c, const tir_coord *x, int param) {
    if (x->loop < 0 || !c->k->params[param].groups) {
        return cg_coord(c, x);
    }
    return coord_at(c, x, ll_add(c->b, c->starts[x->loop], cg_scale_shift(c, x->loop)));
}

// Who is told of the bytes: with a pair the leader's barrier, by its address with bit 24 cleared
// (PTX ISA "cp.async.bulk.tensor", .cta_group::2; CTA 0 of a pair has that bit clear).
static ll_val transaction_bar(cg *c, int ch) {
    ll_val bar = cg_full_bar(c, ch);
    return c->k->pair ? ll_bini(c->b, LL_AND, bar, 0xFEFFFFFF) : bar;
}

typedef struct {
    ll_val dst, bar, map;
    ll_val coords[5];
    int rank;
    int mask;
    int param;
} copy;

static void emit_copy(cg *c, const copy *x) {
    ll *b = c->b;
    ll_val args[16];
    int n = 0;
    bool own = !c->k->pair && x->mask == 0;
    args[n++] =
        own ? ll_to(b, x->dst, LL_SHARED) : ll_to(b, ll_to(b, x->dst, LL_SHARED), LL_CLUSTER);
    args[n++] = x->bar;
    args[n++] = x->map;
    for (int i = 0; i < x->rank; i++) {
        args[n++] = x->coords[i];
    }
    if (!own) {
        args[n++] = ll_i16(b, x->mask);
    }
    ll_val has_policy;
    args[n++] = cg_policy(c, x->param, &has_policy);
    if (!own) {
        args[n++] = ll_i1(b, x->mask != 0);
    }
    args[n++] = has_policy;
    if (!own) {
        args[n++] = ll_i32(b, c->k->pair ? 2 : 0);
    }
    char name[64];
    snprintf(name, sizeof(name), "llvm.nvvm.cp.async.bulk.tensor.g2s%s.tile.%dd", own ? ".cta" : "",
             x->rank);
    ll_intr(b, name, LL_VOID, n, args);
}

enum {
    SCALE_ROWS = 2
}; // axis of a map of 128x4 scales: words of a tile, tiles along k, tiles of rows

// Lines of a box from 'line' on that lie in the part that a loop walks.
static ll_val lines_inside(cg *c, const tir_map *map, int f, ll_val line) {
    ll *b = c->b;
    ll_val left = ll_sub(b, c->spans[f].hi, line), all = ll_i32(b, map->box[map->window]);
    left = ll_select(b, ll_cmpi(b, LL_SGT, left, 0), left, ll_i32(b, 0));
    return ll_select(b, ll_cmp(b, LL_SLT, left, all), left, all);
}

// A box of a map that cuts lines, from byte 'at' on: the bytes of it that lie in the part.
static void cut_box(cg *c, const tir_map *map, const tir_coord *k, copy *x) {
    ll *b = c->b;
    ll_val at = x->coords[0], all = ll_i32(b, map->box[0]);
    ll_val hi = c->spans[k->loop - c->k->n_loops].hi;
    ll_val n = ll_sub(b, ll_bini(b, LL_UDIV, ll_muli(b, hi, k->mul), k->div), at);
    n = ll_select(b, ll_cmpi(b, LL_SGT, n, 0), n, ll_i32(b, 0));
    n = ll_select(b, ll_cmp(b, LL_SLT, n, all), n, all);
    x->coords[0] = ll_sub(b, all, n);
    x->coords[1] = ll_bini(b, LL_UDIV, ll_add(b, at, n), TIR_CUT_BYTES);
}

// The product of a pair that reads a box as its N side and has only as many columns as are there, or NULL.
static const tir_mma *fitted_product(const cg *c, int ch, const tir_box *box) {
    for (int i = 0; i < c->k->n_mmas && c->k->pair; i++) {
        const tir_mma *m = &c->k->mmas[i];
        const tir_operand *o = &c->k->operands[m->b];
        if (m->fit > 0 && o->channel == ch && &c->k->channels[ch].boxes[o->data] == box) {
            return m;
        }
    }
    return NULL;
}

// Each CTA of a pair has half of the columns of an instruction (PTX ISA "tcgen05 matrix shape", cta_group::2):
// where it has fewer than the tile, CTA 1's half begins so much earlier.
static ll_val fitted_coord(cg *c, const tir_coord *x, const tir_mma *m) {
    ll *b = c->b;
    const tir_acc *a = &c->k->accs[m->acc];
    ll_val v = coord_of_tile(c, x, x->loop >= 0 ? c->starts[x->loop] : NULL);
    ll_val half = ll_bini(b, LL_LSHR, cg_columns_there(c, a, m->fit), 1);
    half = ll_bini(b, LL_UDIV, ll_muli(b, half, 2 * (int64_t)x->rank_mul), a->cols);
    return ll_add(b, v, ll_mul(b, c->rank, half));
}

static void load_box(cg *c, int ch, const tir_box *box, ll_val slot) {
    ll *b = c->b;
    const tir_mma *fitted = fitted_product(c, ch, box);
    const tir_map *map = &c->k->maps[box->map];
    copy x = {.bar = transaction_bar(c, ch), .map = cg_map(c, box->map), .rank = map->rank,
              .mask = box->mask, .param = map->param};
    for (int i = 0; i < map->rank; i++) {
        bool scale_rows = map->part == PART_SCALE && i == SCALE_ROWS;
        x.coords[i] = scale_rows ? cg_scale_coord(c, &box->coords[i], map->param)
                      : fitted && box->coords[i].rank_mul ? fitted_coord(c, &box->coords[i], fitted)
                                                          : cg_coord(c, &box->coords[i]);
    }
    if (map->window > 0) {
        ll_val *at = &x.coords[map->window];
        ll_val n = lines_inside(c, map, box->coords[map->window].loop - c->k->n_loops, at[0]);
        at[0] = ll_sub(b, ll_i32(b, map->box[map->window]), n);
        at[1] = ll_add(b, at[1], n);
    }
    ll_val at = ll_addi(b, slot, box->offset);
    if (box->rank_offset) {
        at = ll_add(b, at, ll_muli(b, c->rank, box->rank_offset));
    }
    ll_val first = x.coords[0];
    for (int i = 0; i < box->n_boxes; i++) {
        x.dst = ll_addi(b, at, (int64_t)i * box->box_pitch);
        x.coords[0] = ll_addi(b, first, (int64_t)i * box->box_step);
        if (map->cuts) {
            cut_box(c, map, &box->coords[0], &x);
        }
        emit_copy(c, &x);
    }
}

void cg_load_run(cg *c, int ch, int map, ll_val to, ll_val at) {
    emit_copy(c, &(copy){.dst = to, .bar = transaction_bar(c, ch), .map = cg_map(c, map),
                         .coords = {at}, .rank = 1, .param = c->k->maps[map].param});
}

void cg_load(cg *c, int ch) {
    ll *b = c->b;
    const tir_channel *t = &c->k->channels[ch];
    ll_if one = {0};
    if (c->lanes) {
        one = ll_if_begin(b, c->one);
    }
    ll_val bytes = ll_i32(b, t->full_bytes);
    if (c->k->pair) { // the leader's barrier counts the bytes of both CTAs
        ll_if leader = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->rank, 0));
        cg_expect(c, cg_full_bar(c, ch), bytes);
        ll_if_end(b, leader);
    } else {
        cg_expect(c, cg_full_bar(c, ch), bytes);
    }
    ll_val slot = cg_slot_addr(c, ch);
    cg_factors_load(c, ch, false); // first: they are short, and the last bytes to come count
    for (int i = 0; i < t->n_boxes; i++) {
        load_box(c, ch, &t->boxes[i], slot);
    }
    if (c->lanes) {
        ll_if_end(b, one);
        cg_warp_sync(c);
    }
    if (tir_lanes_bring(c->k, ch)) {
        cg_factors_load(c, ch, true);
    }
}

// --- Signalling ----------------------------------------------------------------------------------

void cg_publish(cg *c, int ch) {
    if (c->k->channels[ch].space == SPACE_TMEM) {
        cg_tmem_publish(c, ch);
    } // a slot that TMA fills is published by its last byte
    cg_advance(c, ch);
}

// Slots that both CTAs of a cluster fill are free when the warps of both have read them: lane i
// tells CTA i.
void cg_signal_empty(cg *c, int ch, ll_val bar, ll_val when) {
    ll *b = c->b;
    bool both = c->k->channels[ch].release_mask != 0;
    if (both && c->k->cluster == 1) {
        cg_fail(c, "channel '%s' is released in CTAs outside the cluster, which is one CTA",
                c->k->channels[ch].name);
        return;
    }
    ll_val lane = both ? ll_cmpi(b, LL_ULT, c->lane, c->k->cluster) : ll_cmpi(b, LL_EQ, c->lane, 0);
    ll_val sends = when ? ll_bin(b, LL_AND, lane, when) : lane;
    if (both) { // lanes that do not send name a CTA all the same
        ll_val rank = ll_bini(b, LL_AND, c->lane, c->k->cluster - 1);
        cg_arrive_cluster_if(c, bar, rank, sends);
    } else {
        cg_arrive_if(c, bar, sends);
    }
}

// Readers of shared memory: one arrival a warp, after all its lanes have read.
static void release_by_warp(cg *c, int ch) {
    ll_val bar = cg_empty_bar(c, ch);
    cg_wgmma_settle(c);
    cg_warp_sync(c);
    cg_signal_empty(c, ch, bar, NULL);
}

void cg_release(cg *c, int ch) {
    if (c->k->channels[ch].space == SPACE_TMEM) {
        cg_tmem_release(c, ch);
    } else if (cg_is_umma(c)) {
        cg_umma_release(c, ch);
    } else {
        release_by_warp(c, ch);
    }
    cg_advance(c, ch);
}
