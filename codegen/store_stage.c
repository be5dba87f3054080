// Results through shared memory: packed elements into the warp's own box with the swizzle of the
// tensor map, then fence.proxy.async, and lane 0 issues the bulk store or, for '+=', the bulk
// addition (PTX ISA "Async proxy", "cp.reduce.async.bulk.tensor").
//
// Buffers of the staging ring are free again when the bulk store that used them has read them: lane
// 0 waits for its own groups, so no warp waits for another one. Where scales are gathered the warps
// of the role share a buffer and meet (store_scale.c).
#include "store_int.h"

#include <stdio.h>

static int swizzle_span(tir_swizzle s) {
    return s == SWZ_NONE ? 0 : 16 << s;
}

// The warps that share a buffer: one, or with gathered scales the group.
static void meet(cg *c, const cg_sub *u) {
    cg_warp_sync(c); // an aligned barrier too takes a converged warp (PTX ISA "bar": .aligned)
    if (cg_scales_staged(u)) {
        cg_scales_meet(c);
    }
}

static cg_staging stage_begin(cg *c, const cg_sub *u) {
    ll *b = c->b;
    const tir_store *s = u->s;
    cg_staging g = {.map = &c->k->maps[s->map]};
    int span = swizzle_span(g.map->swizzle), lines = u->transposed ? s->warp_cols : u->f.box_rows;
    int line = g.map->box[0] * g.map->elem_bytes;
    g.pitch = span ? span : line;
    g.cols = u->transposed ? s->warp_cols : 8 * line / elem_bits(s->elem);
    g.box_bytes = lines * g.pitch;
    g.n_boxes = u->f.cols / g.cols;
    g.buffer = cg_smem_at(c, s->stage_offset);
    if (s->stages > 1) {
        ll_val number = ll_get(b, c->stage[s - c->k->stores]);
        g.buffer = ll_add(b, g.buffer, ll_muli(b, number, s->stage_bytes));
    }
    g.region = ll_add(b, g.buffer, ll_muli(b, c->role_warp, (int64_t)g.n_boxes * g.box_bytes));
    // Free when at most 'stages - 1' younger groups still read.
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    LL_INTR(b, "llvm.nvvm.cp.async.bulk.wait.group.read", ll_i32(b, s->stages - 1));
    ll_if_end(b, one);
    meet(c, u);
    return g;
}

// Address of byte 'offset' (+ the lane's share) of a line of a box. 16-byte chunks are xored with 1
// to 3 address bits from 7 on (PTX ISA "swizzling modes"): bits of the line's number, because boxes
// start at multiples of the pattern.
static ll_val stage_address(cg *c, const cg_staging *g, int box, ll_val line, int offset,
                            ll_val share) {
    ll *b = c->b;
    int bits = g->map->swizzle;
    ll_val at = ll_addi(b, g->region, (int64_t)box * g->box_bytes);
    at = ll_add(b, at, ll_muli(b, line, g->pitch));
    ll_val in = ll_i32(b, 0);
    if (bits) {
        ll_val part = ll_bini(b, LL_LSHR, line, 3 - bits);
        in = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, part, (1 << bits) - 1), 4);
    }
    in = ll_bini(b, LL_XOR, share ? ll_bin(b, LL_XOR, in, share) : in, offset);
    return ll_add(b, at, in);
}

static void stage_store(cg *c, int bits, ll_val address, ll_val value) {
    ll_type t = bits == 8 ? LL_I8 : bits == 16 ? LL_I16 : LL_I32;
    ll_store(c->b, ll_to(c->b, value, t), address, bits / 8);
}

// A run along the lines of the box.
static void stage_run(cg *c, const cg_sub *u, const cg_staging *g, const cg_run *r,
                      const ll_val *x) {
    ll *b = c->b;
    int bits = elem_bits(u->s->elem), cols = g->cols;
    ll_val share = r->box_col_lane;
    if (share) {
        share = ll_bini(b, LL_LSHR, ll_muli(b, share, bits), 3);
    }
    int piece = r->n * bits >= 128 ? 128 / bits : r->n; // elements stored at once
    for (int i = 0; i < r->n; i += piece) {
        int col = r->box_col + i;
        ll_val at = stage_address(c, g, col / cols, r->box_row, col % cols * bits / 8, share);
        ll_val words[4];
        int per_word = bits == 32 ? 1 : 32 / bits, n = piece / per_word;
        if (n == 0) {
            stage_store(c, piece * bits, at, cg_pack(c, u->s->elem, piece, x + i));
            continue;
        }
        for (int w = 0; w < n; w++) {
            words[w] = cg_pack(c, u->s->elem, per_word, x + i + w * per_word);
        }
        ll_store_words(b, at, n, words);
    }
}

// A run across the lines: column i of the accumulator is line i of the box.
static void stage_run_across(cg *c, const cg_sub *u, const cg_staging *g, const cg_run *r,
                             const ll_val *x) {
    ll *b = c->b;
    int bits = elem_bits(u->s->elem), cols = g->cols;
    ll_val share = ll_bini(b, LL_LSHR, ll_muli(b, r->box_row, bits), 3);
    for (int i = 0; i < r->n; i++) {
        int col = r->box_col + i;
        ll_val line = ll_i32(b, col % cols);
        line = r->box_col_lane ? ll_add(b, line, r->box_col_lane) : line;
        ll_val at = stage_address(c, g, col / cols, line, 0, share);
        stage_store(c, bits, at, cg_pack(c, u->s->elem, 1, x + i));
    }
}

// 16-bit elements of matrix fragments: stmatrix writes four 8 x 8 matrices at once, two row halves
// by two column fragments (PTX ISA "stmatrix": lane L gives the address of row L % 8 of matrix L /
// 8; .trans writes columns as rows).
static bool fits_stmatrix(const cg_sub *u) {
    return u->f.quad && elem_bits(u->s->elem) == 16 && u->f.cols % 16 == 0;
}

// 16 rows by 16 columns of a piece, from column fragment 'n' on.
static void stage_matrices(cg *c, const cg_sub *u, int n) {
    ll *b = c->b;
    const cg_staging *g = &u->g;
    const cg_run *first = &u->runs[n];
    ll_val args[5];
    for (int i = 0; i < 4; i++) {
        int run = i % 2 * (u->n_runs / 2) + n + i / 2;
        args[1 + i] = cg_pack(c, u->s->elem, 2, u->x[run]);
    }
    ll_val upper = ll_bini(b, LL_LSHR, c->lane, 4); // column fragment of the lane's matrix
    ll_val half = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, c->lane, 3), 1);
    if (u->transposed) {
        ll_val line = ll_add(b, ll_bini(b, LL_AND, c->lane, 7), ll_bini(b, LL_SHL, upper, 3));
        args[0] = stage_address(c, g, 0, ll_addi(b, line, first->box_col), first->first_row * 2,
                                ll_bini(b, LL_SHL, half, 4));
    } else {
        ll_val line = ll_addi(b, ll_bini(b, LL_AND, c->lane, 15), first->first_row);
        args[0] = stage_address(c, g, first->box_col / g->cols, line, first->box_col % g->cols * 2,
                                ll_bini(b, LL_SHL, upper, 4));
    }
    args[0] = ll_to(b, args[0], LL_SHARED);
    ll_intr(b, u->transposed ? "llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.trans.b16"
                             : "llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.b16",
            LL_SHARED, 5, args);
}

void cg_stage_piece(cg *c, cg_sub *u) {
    if (!u->staged) {
        u->g = stage_begin(c, u);
        u->staged = true;
    }
    if (fits_stmatrix(u)) {
        for (int n = 0; n < u->n_runs / 2; n += 2) {
            stage_matrices(c, u, n);
        }
        return;
    }
    for (int r = 0; r < u->n_runs && CG_OK(c); r++) {
        if (u->transposed) {
            stage_run_across(c, u, &u->g, &u->runs[r], u->x[r]);
        } else {
            stage_run(c, u, &u->g, &u->runs[r], u->x[r]);
        }
    }
}

// Lines of a box that lie in the loop's part of its dimension: less than none where all lie behind
// it.
static ll_val lines_inside(cg *c, const cg_sub *u, const tir_axis *axis, ll_val line) {
    ll *b = c->b;
    ll_val left = ll_sub(b, ll_addi(b, c->parts[axis->loop].hi, axis->add), line);
    ll_val all = ll_i32(b, u->g.map->box[u->g.map->window]);
    return ll_select(b, ll_cmp(b, LL_SLT, left, all), left, all);
}

// Coordinates of a box: the tensor's axes backwards, in elements of the map.
static void issue_box(cg *c, const cg_sub *u, const cg_staging *g, int box) {
    ll *b = c->b;
    cg_elem at = {
        .row = u->f.row, .col = ll_addi(b, u->f.col, (int64_t)box * g->cols), .acc = u->acc};
    ll_val axes[8], args[16];
    cg_store_axes(c, u, &at, axes);
    int n = 0, rank = g->map->rank;
    args[n++] = ll_addi(b, g->region, (int64_t)box * g->box_bytes);
    args[n++] = cg_map(c, u->s->map);
    for (int i = 0; i < u->s->n_axes; i++) {
        int axis = u->s->n_axes - 1 - i;
        if (i > 0 && i == g->map->window) {
            ll_val lines = lines_inside(c, u, &u->s->axes[axis], axes[axis]);
            args[n++] = ll_sub(b, ll_i32(b, g->map->box[i]), lines);
            axes[axis] = ll_add(b, axes[axis], lines);
        }
        args[n++] = axes[axis];
    }
    int per = 8 * g->map->elem_bytes / elem_bits(u->s->elem); // elements in one of the map
    args[2] = ll_bini(b, LL_SDIV, args[2], per > 0 ? per : 1);
    args[n] = cg_policy(c, u->s->param, &args[n + 1]);
    n += 2;
    char name[64];
    snprintf(name, sizeof(name), "llvm.nvvm.cp.async.bulk.tensor.%s.tile.%dd",
             u->s->add ? "reduce.add" : "s2g", rank);
    ll_intr(b, name, LL_VOID, n, args);
}

void cg_stage_end(cg *c, cg_sub *u) {
    ll *b = c->b;
    cg_scales_stage(c, u, u->g.buffer);
    cg_fence_async_smem(c);
    meet(c, u);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    for (int box = 0; box < u->g.n_boxes; box++) {
        issue_box(c, u, &u->g, box);
    }
    if (cg_scales_staged(u)) {
        cg_scales_issue(c, u, u->g.buffer);
    }
    LL_INTR0(b, "llvm.nvvm.cp.async.bulk.commit.group");
    ll_if_end(b, one);
    if (u->s->stages > 1) {
        ll_var v = c->stage[u->s - c->k->stores];
        ll_val next = ll_addi(b, ll_get(b, v), 1);
        ll_val wrap = ll_cmpi(b, LL_EQ, next, u->s->stages);
        ll_set(b, v, ll_select(b, wrap, ll_i32(b, 0), next));
    }
}

void cg_stage_check(cg *c, const cg_sub *u) {
    const tir_store *s = u->s;
    int bits = elem_bits(s->elem);
    int pattern = 8 * swizzle_span(c->k->maps[s->map].swizzle);
    if (pattern && (s->stage_offset % pattern || s->stage_bytes % pattern)) {
        cg_fail(c, "'%s' is staged in buffers of %d bytes at %d; both must be multiples of %d, the "
                   "period of the swizzle", u->p->name, s->stage_bytes, s->stage_offset, pattern);
    } else if (c->k->maps[s->map].rank != s->n_axes + (c->k->maps[s->map].window > 0)) {
        cg_fail(c, "internal: the tensor map of '%s' has rank %d for %d axes", u->p->name,
                c->k->maps[s->map].rank, s->n_axes);
    } else if (bits != 4 && bits % 8 != 0) {
        cg_fail(c, "'%s' (%s): elements of %d bits are not packed in memory", u->p->name,
                u->p->format, bits);
    } else if (u->transposed && bits < 8) {
        cg_fail(c, "'%s' (%s) would be stored transposed in pieces smaller than a byte", u->p->name,
                u->p->format);
    }
}
