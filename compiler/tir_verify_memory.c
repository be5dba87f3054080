// Checks of channels, their boxes and barriers, and of everything's place in shared memory and
// TMEM.
//
// The counts are worked out here again from who produces and who reads, not taken from the planner.
#include "tir_verify_int.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH_SLOTS = 256,
    MAX_BOXES = 64,
    MAX_TX_BYTES = (1 << 20) - 1, // PTX ISA "mbarrier": range of the transaction count
    TMA_ALIGN = 128,              // PTX ISA "cp.async.bulk.tensor": shared memory address
};

int verify_shares(const tir_kernel *k, const tir_box *b) {
    return b->mask != 0 ? k->cluster : 1;
}

// Bytes after which a swizzle's pattern repeats: 8 rows of its span.
static int pattern_of(tir_swizzle s) {
    return s == SWZ_NONE ? TMA_ALIGN : 8 * verify_span(s);
}

// --- Boxes ---------------------------------------------------------------------------------------

static bool verify_coords(verifier *v, const tir_box *b, const tir_map *m, const char *name) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < m->rank; i++) {
        const tir_coord *c = &b->coords[i];
        VERIFY(v, tir_in(c->loop, -1, k->n_loops + k->n_fors - 1),
               "%s: coordinate %d follows no loop", name, i);
        VERIFY(v, c->loop < 0 || (tir_in(c->mul, 1, 1 << 10) && tir_in(c->div, 1, 1 << 20)),
               "%s: coordinate %d: times %d, over %d", name, i, c->mul, c->div);
        for (int j = 0; j < i && c->loop >= 0; j++) {
            bool window = tir_has_window(m) && j == m->window && i == j + 1;
            VERIFY(v, window || b->coords[j].loop != c->loop,
                   "%s: coordinates %d and %d follow the same loop", name, j, i);
        }
        VERIFY(v, tir_in(c->rank_mul, 0, 1 << 20) && (k->cluster > 1 || c->rank_mul == 0),
               "%s: coordinate %d: %d a rank in a cluster of %d", name, i, c->rank_mul, k->cluster);
    }
    return true;
}

static int64_t box_volume(const tir_map *m) {
    int64_t n = m->elem_bytes;
    for (int i = 0; i < m->rank; i++) {
        n = n > INT32_MAX ? n : n * m->box[i];
    }
    return n;
}

// Bytes of a slot that a box and its repetitions reach over, from its offset.
static int64_t box_reach(const tir_kernel *k, const tir_box *b) {
    return (int64_t)(b->n_boxes - 1) * b->box_pitch +
           (int64_t)(verify_shares(k, b) - 1) * b->rank_offset + b->box_bytes;
}

static bool verify_box_shares(verifier *v, const tir_box *b, const char *name) {
    const tir_kernel *k = v->k;
    int all = (1 << k->cluster) - 1;
    VERIFY(v, b->mask == 0 || (k->cluster > 1 && b->mask == all),
           "%s: multicast to mask %d in a cluster of %d", name, b->mask, k->cluster);
    VERIFY(v, b->mask != 0 ? b->rank_offset >= b->box_bytes : b->rank_offset == 0,
           "%s: %d bytes a rank for boxes of %d %s multicast", name, b->rank_offset, b->box_bytes,
           b->mask != 0 ? "with" : "without");
    int64_t least = (int64_t)verify_shares(k, b) * (b->mask != 0 ? b->rank_offset : b->box_bytes);
    VERIFY(v, b->n_boxes == 1 || b->box_pitch >= least, "%s: boxes %d bytes apart hold %lld", name,
           b->box_pitch, (long long)least);
    return true;
}

static bool verify_box(verifier *v, const tir_channel *c, int number) {
    const tir_kernel *k = v->k;
    const tir_box *b = &c->boxes[number];
    const char *name = arena_printf(v->mem, "channel '%s' box %d", c->name, number);
    VERIFY(v, tir_in(b->map, 0, k->n_maps - 1), "%s: no map #%d", name, b->map);
    const tir_map *m = &k->maps[b->map];
    const tir_coord *lines = &b->coords[m->window];
    int loop = lines->loop - k->n_loops;
    VERIFY(v, !tir_has_window(m) || (tir_in(loop, 0, k->n_fors - 1) && k->fors[loop].hi != NULL &&
                                 memcmp(lines, lines + 1, sizeof *lines) == 0),
           "%s: a window on a loop that has no bounds", name);
    VERIFY(v, tir_in(b->n_boxes, 1, MAX_BOXES), "%s: %d boxes; 1 to %d", name, b->n_boxes,
           MAX_BOXES);
    VERIFY(v,
           tir_in(b->offset, 0, v->arch->smem_bytes) &&
               tir_in(b->box_pitch, 0, v->arch->smem_bytes) &&
               tir_in(b->rank_offset, 0, v->arch->smem_bytes),
           "%s: offset %d, pitch %d, %d a rank: outside shared memory", name, b->offset,
           b->box_pitch, b->rank_offset);
    VERIFY(v, b->box_bytes == box_volume(m), "%s: box_bytes is %d, but a box of its map has %lld",
           name, b->box_bytes, (long long)box_volume(m));
    VERIFY(v, b->n_boxes == 1 || b->box_step == m->box[0],
           "%s: boxes %d elements apart along axis 0 are %d long", name, b->box_step, m->box[0]);
    int pattern = pattern_of(m->swizzle);
    VERIFY(v, b->offset % pattern == 0 && b->rank_offset % pattern == 0 &&
                  (b->n_boxes == 1 || b->box_pitch % pattern == 0),
           "%s: offset %d, pitch %d, %d a rank: its swizzle wants multiples of %d", name, b->offset,
           b->box_pitch, b->rank_offset, pattern);
    VERIFY(v, m->swizzle == SWZ_NONE || m->box[0] * m->elem_bytes == verify_span(m->swizzle),
           "%s: rows of %d bytes in a swizzle of %d", name, m->box[0] * m->elem_bytes,
           verify_span(m->swizzle));
    return verify_coords(v, b, m, name) && verify_box_shares(v, b, name);
}

// Boxes lie inside the slot and apart from each other, and slots keep the swizzle's alignment.
static bool verify_slot(verifier *v, const tir_channel *c) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < c->n_boxes; i++) {
        const tir_box *b = &c->boxes[i];
        int64_t end = b->offset + box_reach(k, b);
        int pattern = pattern_of(k->maps[b->map].swizzle);
        VERIFY(v, end <= c->stride, "channel '%s' box %d ends at byte %lld of a slot of %d",
               c->name, i, (long long)end, c->stride);
        VERIFY(v, c->offset % pattern == 0 && c->stride % pattern == 0,
               "channel '%s': slots of %d bytes at %d, box %d wants multiples of %d", c->name,
               c->stride, c->offset, i, pattern);
        for (int j = 0; j < i; j++) {
            const tir_box *o = &c->boxes[j];
            VERIFY(v, b->offset >= o->offset + box_reach(k, o) || o->offset >= end,
                   "channel '%s': boxes %d (at %d) and %d (at %d) overlap", c->name, j, o->offset,
                   i, b->offset);
        }
    }
    return true;
}

// --- Channels ------------------------------------------------------------------------------------

static bool has_multicast(const tir_channel *c) {
    for (int i = 0; i < c->n_boxes; i++) {
        if (c->boxes[i].mask != 0) {
            return true;
        }
    }
    return false;
}

// Transaction bytes of a phase: of a pair the leader's barrier counts what reaches both CTAs, and a
// multicast box is issued by each CTA of the cluster with its share.
static int64_t bytes_arriving(const tir_kernel *k, const tir_channel *c) {
    int64_t bytes = 0;
    for (int i = 0; i < c->n_boxes; i++) {
        const tir_box *b = &c->boxes[i];
        int copies = b->mask != 0 ? k->cluster : 1;
        int box = tir_arriving(&k->maps[b->map], b->box_bytes);
        bytes += (int64_t)b->n_boxes * box * copies * (k->pair ? 2 : 1);
    }
    for (int i = 0; i < k->n_operands; i++) { // runs of f32 scales: each CTA's own
        const tir_operand *o = &k->operands[i];
        if (o->channel == c - k->channels && o->factor_map >= 0) {
            int run = k->maps[o->factor_map].box[0] * TIR_SCALE_BYTES;
            bytes += (int64_t)tir_factors(k, i).runs * run;
        }
    }
    return bytes;
}

// Arrivals that free a slot of shared memory: the commits of the CTAs that read a multicast box (of
// a pair only the leader commits, and arrives too where it reads a part), or one of every warp that
// takes the tile, in every CTA that reads it.
static int arrivals_that_free(const verifier *v, const tir_channel *c) {
    const tir_kernel *k = v->k;
    const tir_role *to = &k->roles[c->to];
    if (v->arch->family == MMA_TCGEN05) {
        int part = k->pair && tir_is_read_in_part(k, (int)(c - k->channels));
        return (has_multicast(c) && !k->pair ? k->cluster : 1) + part;
    }
    return tir_group_warps(to) * (has_multicast(c) ? k->cluster : 1);
}

static bool verify_smem_channel(verifier *v, const tir_channel *c) {
    const tir_kernel *k = v->k;
    VERIFY(v, c->n_boxes >= 1, "channel '%s' brings nothing", c->name);
    VERIFY(v, c->shared == 0, "channel '%s': slots in shared memory do not overlap", c->name);
    VERIFY(
        v,
        tir_in(c->factor_bytes, 0, v->arch->smem_bytes) &&
            c->factor_bytes % TIR_FACTOR_ALIGN == 0 && tir_in(c->factors, 0, v->arch->smem_bytes),
        "channel '%s': f32 scales of %d bytes a slot at %d", c->name, c->factor_bytes, c->factors);
    VERIFY(v, c->depth % k->roles[c->to].shares == 0,
           "channel '%s': %d slots for %d shares of role '%s'", c->name, c->depth,
           k->roles[c->to].shares, k->roles[c->to].name);
    VERIFY(v,
           tir_in(c->stride, 1, v->arch->smem_bytes) && tir_in(c->offset, 0, v->arch->smem_bytes),
           "channel '%s': slots of %d bytes at %d", c->name, c->stride, c->offset);
    for (int i = 0; i < c->n_boxes; i++) {
        if (!verify_box(v, c, i)) {
            return false;
        }
    }
    if (!verify_slot(v, c)) {
        return false;
    }
    int arrivals = arrivals_that_free(v, c);
    VERIFY(v, c->empty_count == arrivals,
           "channel '%s': empty_count is %d, but %d arrivals free a slot", c->name, c->empty_count,
           arrivals);
    int mask = k->pair || has_multicast(c) ? (1 << k->cluster) - 1 : 0;
    VERIFY(v, c->release_mask == mask, "channel '%s': release_mask is %d, the readers are %d",
           c->name, c->release_mask, mask);
    return true;
}

static bool verify_tmem_channel(verifier *v, const tir_channel *c) {
    const tir_kernel *k = v->k;
    const tir_role *to = &k->roles[c->to];
    VERIFY(v, v->arch->family == MMA_TCGEN05, "channel '%s': %s has no TMEM", c->name,
           v->arch->name);
    VERIFY(v, c->n_boxes == 0 && c->full_bytes == 0 && c->release_mask == 0 && c->factor_bytes == 0,
           "channel '%s': boxes, bytes, release masks and f32 scales are of shared memory",
           c->name);
    VERIFY(v, c->shared == 0 || (c->depth == 2 && c->shared > 0),
           "channel '%s': %d slots share %d columns; 2 can", c->name, c->depth, c->shared);
    VERIFY(v,
           tir_in(c->offset, 0, k->tmem_columns) && tir_in(c->stride, 0, k->tmem_columns) &&
               tir_in(c->shared, 0, k->tmem_columns),
           "channel '%s': slots of %d columns at %d, %d shared, of %d", c->name, c->stride,
           c->offset, c->shared, k->tmem_columns);
    VERIFY(v, to->frag == FRAG_LANE_ROW, "channel '%s': role '%s' does not read lanes", c->name,
           to->name);
    int arrivals = to->n_warps * (k->pair ? 2 : 1);
    VERIFY(v, c->empty_count == arrivals,
           "channel '%s': empty_count is %d, but %d warps of role '%s' free a slot", c->name,
           c->empty_count, arrivals, to->name);
    return true;
}

bool verify_memory(verifier *v) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_channels; i++) {
        const tir_channel *c = &k->channels[i];
        VERIFY(v, c->name != NULL, "channel #%d has no name", i);
        VERIFY(v, (unsigned)c->space <= SPACE_TMEM, "channel '%s': no such memory", c->name);
        VERIFY(v, tir_in(c->depth, 1, MAX_DEPTH_SLOTS), "channel '%s': %d slots", c->name,
               c->depth);
        VERIFY(v, tir_in(c->from, 0, k->n_roles - 1) && tir_in(c->to, 0, k->n_roles - 1) &&
                      c->from != c->to,
               "channel '%s' leads from role #%d to role #%d", c->name, c->from, c->to);
        int bars = c->shared > 0 ? 1 : c->depth;
        VERIFY(v, c->empty_bars == bars,
               "channel '%s': %d empty barriers for %d slots, %d columns shared", c->name,
               c->empty_bars, c->depth, c->shared);
        bool fine = c->space == SPACE_SMEM ? verify_smem_channel(v, c) : verify_tmem_channel(v, c);
        if (!fine) {
            return false;
        }
    }
    return true;
}

bool verify_arrivals(verifier *v) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_channels; i++) {
        const tir_channel *c = &k->channels[i];
        int arrivals = 1 + (tir_lanes_bring(k, i) ? ARCH_LANES : 0);
        VERIFY(v, c->full_count == arrivals,
               "channel '%s': full_count is %d, but %d arrival%s a slot", c->name, c->full_count,
               arrivals, arrivals == 1 ? " fills" : "s fill");
        int64_t bytes = bytes_arriving(k, c);
        VERIFY(v, c->full_bytes == bytes, "channel '%s': full_bytes is %d, but %lld bytes arrive",
               c->name, c->full_bytes, (long long)bytes);
        VERIFY(v, bytes <= MAX_TX_BYTES, "channel '%s': %lld bytes a phase; a barrier counts %d",
               c->name, (long long)bytes, MAX_TX_BYTES);
    }
    return true;
}

// --- Places --------------------------------------------------------------------------------------

typedef struct {
    int64_t at, end;
    const char *what;
} place;

typedef struct {
    verifier *v;
    int64_t limit;
    const char *memory;
    int n;
    place *places;
} layout;

static bool put(layout *l, int64_t at, int64_t bytes, int align, const char *what) {
    VERIFY(l->v, at >= 0 && at + bytes <= l->limit, "%s: %lld..%lld of %lld %s", what,
           (long long)at, (long long)(at + bytes - 1), (long long)l->limit, l->memory);
    VERIFY(l->v, at % align == 0, "%s at %lld: a multiple of %d", what, (long long)at, align);
    l->places[l->n++] = (place){at, at + bytes, what};
    return true;
}

static int by_address(const void *a, const void *b) {
    const place *x = a;
    const place *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static bool apart(layout *l) {
    qsort(l->places, (size_t)l->n, sizeof(l->places[0]), by_address);
    for (int i = 1; i < l->n; i++) {
        const place *a = &l->places[i - 1];
        const place *b = &l->places[i];
        VERIFY(l->v, a->end <= b->at, "%s (%lld..%lld) and %s (%lld..%lld) overlap in %s", a->what,
               (long long)a->at, (long long)(a->end - 1), b->what, (long long)b->at,
               (long long)(b->end - 1), l->memory);
    }
    return true;
}

static bool put_channel(layout *l, const tir_channel *c) {
    arena *mem = l->v->mem;
    return (c->factor_bytes == 0 ||
            put(l, c->factors, (int64_t)c->depth * c->factor_bytes, TIR_FACTOR_ALIGN,
                arena_printf(mem, "channel '%s' f32 scales", c->name))) &&
           put(l, c->full_bar, 8 * (int64_t)c->depth, 8,
               arena_printf(mem, "channel '%s' full barriers", c->name)) &&
           put(l, c->empty_bar, 8 * (int64_t)c->empty_bars, 8,
               arena_printf(mem, "channel '%s' empty barriers", c->name)) &&
           (c->space != SPACE_SMEM || put(l, c->offset, (int64_t)c->depth * c->stride, TMA_ALIGN,
                                          arena_printf(mem, "channel '%s' slots", c->name)));
}

static bool put_walk(layout *l, const tir_kernel *k) {
    const tir_walk *w = &k->walk;
    int64_t responses = tir_response_bytes(k) * (int64_t)w->depth;
    return !tir_has_scheduler(k) ||
           (put(l, w->full_bar, 8 * (int64_t)w->depth, 8, "walk full barriers") &&
            put(l, w->empty_bar, 8 * (int64_t)w->depth, 8, "walk empty barriers") &&
            put(l, w->resp_offset, responses, 16, "walk responses"));
}

static bool put_sums(layout *l, int role) {
    const tir_kernel *k = l->v->k;
    const tir_role *r = &k->roles[role];
    int64_t bytes = (int64_t)tir_sum_bytes(k, role) * tir_sums(k, r);
    arena *mem = l->v->mem;
    bool bars = r->sum_bar < 0 ||
                put(l, r->sum_bar, 16, 8, arena_printf(mem, "role '%s' barriers of sums", r->name));
    return bars &&
           put(l, r->sum_offset, bytes, 16, arena_printf(mem, "role '%s' partial sums", r->name));
}

// Tables of scales, each of which may serve several products of one role.
static bool put_tables(layout *l) {
    const tir_kernel *k = l->v->k;
    for (int i = 0; i < k->n_mmas; i++) {
        const tir_mma *m = &k->mmas[i];
        elem_kind scale = k->params[k->operands[m->a].param].scale;
        bool met = m->table == 0;
        for (int j = 0; j < i && !met; j++) {
            const tir_mma *other = &k->mmas[j];
            met = other->table == m->table && k->accs[other->acc].role == k->accs[m->acc].role &&
                  k->params[k->operands[other->a].param].scale == scale;
        }
        if (!met && !put(l, m->table, mma_table_bytes(scale), TMA_ALIGN, "a table of scales")) {
            return false;
        }
    }
    return true;
}

static bool place_smem(verifier *v) {
    const tir_kernel *k = v->k;
    layout l = {.v = v, .limit = k->smem_bytes, .memory = "shared memory"};
    l.places = ARENA_ARRAY(v->mem, place,
                           4 * k->n_channels + 3 * k->n_roles + k->n_stores + k->n_mmas + 4);
    for (int i = 0; i < k->n_channels; i++) {
        if (!put_channel(&l, &k->channels[i])) {
            return false;
        }
    }
    for (int i = 0; i < k->n_roles; i++) {
        const tir_role *r = &k->roles[i];
        VERIFY(v, r->turn_bar >= -1, "role '%s': turn barriers at %d", r->name, r->turn_bar);
        VERIFY(v, r->sum_bar >= -1, "role '%s': barriers of sums at %d", r->name, r->sum_bar);
        if ((r->sum_bar >= 0 || r->shares > 1) && !put_sums(&l, i)) {
            return false;
        }
        if (r->turn_bar >= 0 && !put(&l, r->turn_bar, 8 * (int64_t)r->turns, 8,
                                     arena_printf(v->mem, "role '%s' turn barriers", r->name))) {
            return false;
        }
    }
    for (int i = 0; i < k->n_stores; i++) {
        const tir_store *s = &k->stores[i];
        const char *what =
            arena_printf(v->mem, "store '%s' staging", verify_param_name(k, s->param));
        if (s->via_smem &&
            !put(&l, s->stage_offset, (int64_t)s->stages * s->stage_bytes, TMA_ALIGN, what)) {
            return false;
        }
    }
    if (k->tmem_columns > 0 && !put(&l, k->tmem_slot, 4, 4, "the TMEM address")) {
        return false;
    }
    return put_tables(&l) && put_walk(&l, k) && apart(&l);
}

int verify_slot_columns(const tir_kernel *k, int channel) {
    int64_t columns = 0;
    for (int i = 0; i < k->n_accs; i++) {
        const tir_acc *a = &k->accs[i];
        if (a->channel == channel && (int64_t)a->column + a->cols > columns) {
            columns = (int64_t)a->column + a->cols;
        }
    }
    return columns > INT32_MAX ? INT32_MAX : (int)columns;
}

// Columns of an operand's scales: 4 a tile of 128 rows by 4 scales.
static int64_t scale_columns(const tir_kernel *k, int operand) {
    const tir_operand *o = &k->operands[operand];
    for (int i = 0; i < k->n_mmas; i++) {
        if (k->mmas[i].a == operand || k->mmas[i].b == operand) {
            int words = tir_scale_words(k->mmas[i].k_elems, k->params[o->param].granule);
            return (int64_t)o->sf_rows / TIR_ATOM_ROWS * TIR_ATOM_COLS * words;
        }
    }
    return 0;
}

static bool place_acc_channel(layout *l, int number) {
    verifier *v = l->v;
    const tir_channel *c = &v->k->channels[number];
    int columns = verify_slot_columns(v->k, number);
    VERIFY(v, columns > 0, "channel '%s' holds no accumulator", c->name);
    VERIFY(v, c->depth == 1 || c->stride == columns - c->shared,
           "channel '%s': slots %d columns apart hold %d, %d shared", c->name, c->stride, columns,
           c->shared);
    return put(l, c->offset, (int64_t)(c->depth - 1) * c->stride + columns, 1,
               arena_printf(v->mem, "channel '%s' columns", c->name));
}

static bool place_tmem(verifier *v) {
    const tir_kernel *k = v->k;
    layout l = {.v = v, .limit = k->tmem_columns, .memory = "TMEM"};
    l.places = ARENA_ARRAY(v->mem, place, k->n_channels + k->n_operands + 1);
    for (int i = 0; i < k->n_channels; i++) {
        if (k->channels[i].space == SPACE_TMEM && !place_acc_channel(&l, i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_operands; i++) {
        const tir_operand *o = &k->operands[i];
        int64_t columns = o->scale >= 0 && v->arch->family == MMA_TCGEN05 ? scale_columns(k, i) : 0;
        const char *what =
            arena_printf(v->mem, "operand '%s' scale columns", verify_param_name(k, o->param));
        if (columns > 0 && !put(&l, o->sf_column, columns, TIR_ATOM_COLS, what)) {
            return false;
        }
    }
    return apart(&l);
}

bool verify_places(verifier *v) {
    return place_smem(v) && place_tmem(v);
}
