// Results on their way out, one sub-tile of one warp at a time, whatever registers hold it.
//
//   evaluate    the expression of the store for every element
//   quantise    scaled formats: largest magnitude of a granule (over registers, and over the four lanes
//               that share a row), scale code, elements divided by the scale; where the scales go:
//               store_scale.c
//   stage       via smem: packed elements into the warp's own box with the swizzle of the tensor map,
//               then fence.proxy.async, and lane 0 issues the bulk store (PTX ISA "Async proxy")
//   or scatter  via regs: predicated stores
// Buffers of the staging ring are free again when the bulk store that used them has read them: lane 0
// waits for its own groups, so no warp waits for another one.
#include "store_int.h"

#include <stdio.h>

// --- What a store reads ----------------------------------------------------------------------------

static void collect(cg *c, const tir_expr *e, int accs[4], int *n) {
    if (!e) {
        return;
    }
    if (e->kind == TX_ACC) {
        for (int i = 0; i < *n; i++) {
            if (accs[i] == e->ref) {
                return;
            }
        }
        if (*n == 4) {
            cg_fail(c, "kernel '%s' stores an expression of more than 4 accumulators", c->k->name);
            return;
        }
        accs[(*n)++] = e->ref;
    }
    for (int i = 0; i < e->n_args; i++) {
        collect(c, e->args[i], accs, n);
    }
}

int cg_store_accs(cg *c, const tir_store *s, int accs[4]) {
    int n = 0;
    collect(c, s->value, accs, &n);
    collect(c, s->divide, accs, &n);
    return n;
}

void cg_store(cg *c, int store) {
    if (c->role->frag == FRAG_LANE_ROW) {
        cg_store_lane(c, store);
    } else if (c->role->frag == FRAG_MMA) {
        cg_wgmma_results(c);
        cg_store_mma(c, store);
    } else {
        cg_fail(c, "role '%s' stores '%s' but holds no tile in registers", c->role->name,
                c->k->params[c->k->stores[store].param].name);
    }
}

// --- Evaluation ------------------------------------------------------------------------------------

static cg_elem element(const cg_sub *u, const cg_run *r, int i, ll_val *accs) {
    for (int a = 0; a < u->f->n_accs; a++) {
        accs[u->f->accs[a]] = r->acc[a] ? r->acc[a][i] : NULL;
    }
    return (cg_elem){.row = r->row, .col = r->col, .dcol = i, .acc = u->acc, .accs = accs};
}

void cg_store_axes(cg *c, const cg_sub *u, const cg_elem *at, ll_val *out) {
    for (int i = 0; i < u->s->n_axes; i++) {
        out[i] = cg_axis(c, &u->s->axes[i], at);
    }
}

// A granule is cut by the end of the tensor unless its extent is known to be whole granules.
static bool whole_granules(const cg *c, const cg_sub *u) {
    const tir_size *dim = u->p->dims[u->s->n_axes - 1];
    if (dim->op == SZ_INT) {
        return dim->value % u->s->granule == 0;
    }
    for (int i = 0; i < c->k->n_where; i++) {
        const tir_size *e = c->k->where[i].cond;
        if (dim->op == SZ_DIM && e->op == SZ_EQ && e->a->op == SZ_MOD && e->a->a->op == SZ_DIM &&
            e->a->a->dim == dim->dim && e->a->b->op == SZ_INT && e->b->op == SZ_INT &&
            e->b->value == 0 && e->a->b->value > 0 && e->a->b->value % u->s->granule == 0) {
            return true;
        }
    }
    return false;
}

// Elements of a run from its first one to the end of the tensor's last axis, where granules may be cut
// there: those behind are 0, so that they do not count in a scale. NULL: nothing to mask.
static ll_val elements_left(cg *c, const cg_sub *u, const cg_run *run) {
    int last = u->s->n_axes - 1;
    if (u->s->scale == ELEM_NONE || whole_granules(c, u)) {
        return NULL;
    }
    cg_elem at = {.row = run->row, .col = run->col, .acc = u->acc};
    ll_val axes[8];
    cg_store_axes(c, u, &at, axes);
    return ll_sub(c->b, cg_size(c, u->p->dims[last]), axes[last]);
}

static ll_val value_at(cg *c, const cg_sub *u, const cg_elem *at) {
    ll_val v = cg_expr(c, u->s->value, at);
    if (CG_OK(c) && u->s->divide && u->s->scale != ELEM_UE4M3) {
        v = cg_math(c, "div.rn.f32", 2, (ll_val[]){v, cg_expr(c, u->s->divide, at)});
    }
    return v;
}

static void evaluate(cg *c, cg_sub *u) {
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    u->x = ARENA_ARRAY(c->mem, ll_val *, u->f->n_runs);
    for (int r = 0; r < u->f->n_runs; r++) {
        const cg_run *run = &u->f->runs[r];
        u->x[r] = ARENA_ARRAY(c->mem, ll_val, run->n);
        ll_val left = elements_left(c, u, run);
        for (int i = 0; i < run->n && CG_OK(c); i++) {
            cg_elem at = element(u, run, i, accs);
            ll_val v = value_at(c, u, &at);
            u->x[r][i] = left ? ll_select(c->b, ll_cmpi(c->b, LL_SGT, left, i), v, ll_f32(c->b, 0))
                              : v;
        }
    }
}

// --- Quantising ------------------------------------------------------------------------------------

static ll_val quad_max(cg *c, ll_val v) {
    ll *b = c->b;
    for (int step = 1; step <= 2; step *= 2) {
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.bfly.f32", ll_i32(b, -1), v, ll_i32(b, step),
                               ll_i32(b, 31));
        v = cg_math(c, "max.f32", 2, (ll_val[]){v, other});
    }
    return v;
}

// The elements of one row: runs first .. last - 1, granule after granule.
static void quantise_row(cg *c, cg_sub *u, int first, int last) {
    ll *b = c->b;
    const cg_run *run = &u->f->runs[first];
    int per = run->n, total = (last - first) * per;
    int count = u->f->quad ? u->s->granule / 4 : u->s->granule; // of a granule, in this lane
    ll_val *x = ARENA_ARRAY(c->mem, ll_val, total);
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    for (int i = 0; i < total; i++) {
        x[i] = u->x[first + i / per][i % per];
    }
    ll_val scales[SF_ATOM_COLS];
    int n = 0;
    for (int g = 0; g < total / count && CG_OK(c); g++) {
        ll_val amax = cg_max_abs(c, count, x + g * count);
        amax = u->f->quad ? quad_max(c, amax) : amax;
        cg_elem at = element(u, &u->f->runs[first + g * count / per], g * count % per, accs);
        bool by = u->s->divide && u->s->scale == ELEM_UE4M3;
        ll_val hs = by ? cg_expr(c, u->s->divide, &at) : ll_f32(b, 1);
        cg_granule q = cg_quantise(c, u->s->elem, u->s->scale, amax, hs);
        for (int i = 0; i < count; i++) {
            int j = g * count + i;
            u->x[first + j / per][j % per] = cg_math(c, "mul.rn.f32", 2, (ll_val[]){x[j], q.factor});
        }
        scales[n++] = q.scale;
        if (n == SF_ATOM_COLS || g == total / count - 1) {
            int start = (g + 1 - n) * count;
            cg_run at_first = u->f->runs[first + start / per];
            at_first.col = ll_addi(b, at_first.col, start % per);
            cg_scales(c, u, &at_first, scales, n);
            n = 0;
        }
    }
}

static void quantise(cg *c, cg_sub *u) {
    const cg_frag *f = u->f;
    if (u->transposed || u->s->n_axes < 2) {
        cg_fail(c, "'%s' is %s: its granules lie along the rows of the accumulator, across lanes; "
                   "without 'swap' they lie in one row", u->p->name, u->p->format);
    } else if (f->cols % u->s->granule) {
        cg_fail(c, "'%s' has granules of %d elements, but a warp stores %d columns at once; the store "
                   "must cover whole granules", u->p->name, u->s->granule, f->cols);
    }
    for (int first = 0; first < f->n_runs && CG_OK(c);) {
        int last = first + 1;
        while (last < f->n_runs && f->runs[last].row == f->runs[first].row) {
            last++;
        }
        quantise_row(c, u, first, last);
        first = last;
    }
}

void cg_store_global(cg *c, int bits, ll_val address, ll_val value, ll_val when) {
    ll_asm a = {.text = arena_printf(c->mem, "@$2 st.global.b%d [$0], $1;", bits),
                .constraints = bits <= 16 ? "l,h,b,~{memory}" : "l,r,b,~{memory}",
                .effect = true};
    LL_ASM(c->b, &a, address, bits <= 16 ? ll_to(c->b, value, LL_I16) : value, when);
}

// --- Straight from registers -----------------------------------------------------------------------

static void scatter_run(cg *c, const cg_sub *u, const cg_run *r, const ll_val *x) {
    int bits = elem_bits(u->s->elem);
    int step = bits == 4 ? 2 : 1; // elements a store
    for (int i = 0; i < r->n; i += step) {
        cg_elem at = {.row = r->row, .col = r->col, .dcol = i, .acc = u->acc};
        ll_val ok;
        ll_val address = cg_element_address(c, u->s->param, u->s->n_axes, u->s->axes, &at, &ok);
        cg_store_global(c, bits * step < 8 ? 8 : bits * step, address,
                        cg_pack(c, u->s->elem, step, x + i), ok);
    }
}

static void scatter(cg *c, const cg_sub *u) {
    if (elem_bits(u->s->elem) < 8 && (u->transposed || elem_bits(u->s->elem) != 4)) {
        cg_fail(c, "'%s' (%s) cannot be stored from registers: its elements are smaller than a byte",
                u->p->name, u->p->format);
    }
    for (int r = 0; r < u->f->n_runs && CG_OK(c); r++) {
        scatter_run(c, u, &u->f->runs[r], u->x[r]);
    }
}

// --- Through shared memory -------------------------------------------------------------------------

typedef struct {
    const tir_map *map;
    int pitch;     // bytes from line to line of a box
    int box_bytes;
    int cols;      // of the tensor's last axis in a box
    int n_boxes;   // of one warp, one after another
    ll_val buffer; // i32: address of the current buffer ...
    ll_val region; // ... and of this warp's first box in it
} staging;

static int swizzle_span(tir_swizzle s) {
    return s == SWZ_NONE ? 0 : 16 << s;
}

// The warps that share a buffer: one, or with gathered scales the group.
static void meet(cg *c, const cg_sub *u) {
    if (cg_scales_staged(u)) {
        cg_scales_meet(c);
    } else {
        cg_warp_sync(c);
    }
}

static staging stage_begin(cg *c, const cg_sub *u) {
    ll *b = c->b;
    const tir_store *s = u->s;
    staging g = {.map = &c->k->maps[s->map]};
    int span = swizzle_span(g.map->swizzle), lines = u->transposed ? s->warp_cols : u->f->box_rows;
    int line = g.map->box[0] * g.map->elem_bytes;
    g.pitch = span ? span : line;
    g.cols = u->transposed ? s->warp_cols : 8 * line / elem_bits(s->elem);
    g.box_bytes = lines * g.pitch;
    g.n_boxes = u->f->cols / g.cols;
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

// Address of byte 'offset' (+ the lane's share) of a line of a box. 16-byte chunks are xored with 1 to
// 3 address bits from 7 on (PTX ISA "swizzling modes"): bits of the line's number, because boxes start
// at multiples of the pattern.
static ll_val stage_address(cg *c, const staging *g, int box, ll_val line, int offset, ll_val share) {
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
static void stage_run(cg *c, const cg_sub *u, const staging *g, const cg_run *r, const ll_val *x) {
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
static void stage_run_across(cg *c, const cg_sub *u, const staging *g, const cg_run *r,
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

// 16-bit elements of matrix fragments: stmatrix writes four 8 x 8 matrices at once, two row halves by
// two column fragments (PTX ISA "stmatrix": lane L gives the address of row L % 8 of matrix L / 8;
// .trans writes columns as rows).
static bool fits_stmatrix(const cg_sub *u) {
    return u->f->quad && elem_bits(u->s->elem) == 16 && u->f->cols % 16 == 0;
}

static void stage_matrices(cg *c, const cg_sub *u, const staging *g, int m, int n) {
    ll *b = c->b;
    int n_n = u->f->cols / 8;
    ll_val args[5];
    for (int i = 0; i < 4; i++) {
        int run = (2 * m + i % 2) * n_n + n + i / 2;
        args[1 + i] = cg_pack(c, u->s->elem, 2, u->x[run]);
    }
    ll_val upper = ll_bini(b, LL_LSHR, c->lane, 4); // column fragment of the lane's matrix
    ll_val half = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, c->lane, 3), 1);
    if (u->transposed) {
        ll_val line = ll_add(b, ll_bini(b, LL_AND, c->lane, 7), ll_bini(b, LL_SHL, upper, 3));
        args[0] = stage_address(c, g, 0, ll_addi(b, line, n * 8), m * 32,
                                ll_bini(b, LL_SHL, half, 4));
    } else {
        ll_val line = ll_addi(b, ll_bini(b, LL_AND, c->lane, 15), m * 16);
        args[0] = stage_address(c, g, n * 8 / g->cols, line, n * 8 % g->cols * 2,
                                ll_bini(b, LL_SHL, upper, 4));
    }
    args[0] = ll_to(b, args[0], LL_SHARED);
    ll_intr(b, u->transposed ? "llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.trans.b16"
                             : "llvm.nvvm.stmatrix.sync.aligned.m8n8.x4.b16",
            LL_SHARED, 5, args);
}

static void stage_elements(cg *c, const cg_sub *u, const staging *g) {
    if (fits_stmatrix(u)) {
        for (int m = 0; m < u->f->box_rows / 16; m++) {
            for (int n = 0; n < u->f->cols / 8; n += 2) {
                stage_matrices(c, u, g, m, n);
            }
        }
        return;
    }
    for (int r = 0; r < u->f->n_runs && CG_OK(c); r++) {
        if (u->transposed) {
            stage_run_across(c, u, g, &u->f->runs[r], u->x[r]);
        } else {
            stage_run(c, u, g, &u->f->runs[r], u->x[r]);
        }
    }
}

// Coordinates of a box: the tensor's axes backwards, in elements of the map.
static void issue_box(cg *c, const cg_sub *u, const staging *g, int box) {
    ll *b = c->b;
    const cg_run *r = &u->f->runs[0];
    ll_val col = r->box_col_lane ? ll_sub(b, r->col, r->box_col_lane) : r->col;
    cg_elem at = {.row = ll_sub(b, r->row, r->box_row),
                  .col = ll_addi(b, col, (int64_t)box * g->cols - r->box_col),
                  .acc = u->acc};
    ll_val axes[8], args[16];
    cg_store_axes(c, u, &at, axes);
    int n = 0, rank = g->map->rank;
    args[n++] = ll_addi(b, g->region, (int64_t)box * g->box_bytes);
    args[n++] = cg_map(c, u->s->map);
    for (int i = 0; i < rank; i++) {
        args[n++] = axes[rank - 1 - i];
    }
    int per = 8 * g->map->elem_bytes / elem_bits(u->s->elem); // elements in one of the map
    args[2] = ll_bini(b, LL_SDIV, args[2], per > 0 ? per : 1);
    args[n++] = ll_i64(b, 0);
    args[n++] = ll_i1(b, false);
    char name[64];
    snprintf(name, sizeof(name), "llvm.nvvm.cp.async.bulk.tensor.s2g.tile.%dd", rank);
    ll_intr(b, name, LL_VOID, n, args);
}

static void stage_end(cg *c, const cg_sub *u, const staging *g) {
    ll *b = c->b;
    cg_fence_async_smem(c);
    meet(c, u);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    for (int box = 0; box < g->n_boxes; box++) {
        issue_box(c, u, g, box);
    }
    if (cg_scales_staged(u)) {
        cg_scales_issue(c, u, g->buffer);
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

static void stage(cg *c, const cg_sub *u) {
    const tir_store *s = u->s;
    int bits = elem_bits(s->elem);
    int pattern = 8 * swizzle_span(c->k->maps[s->map].swizzle);
    if (pattern && (s->stage_offset % pattern || s->stage_bytes % pattern)) {
        cg_fail(c, "'%s' is staged in buffers of %d bytes at %d; both must be multiples of %d, the "
                   "period of the swizzle", u->p->name, s->stage_bytes, s->stage_offset, pattern);
    } else if (c->k->maps[s->map].rank != s->n_axes) {
        cg_fail(c, "internal: the tensor map of '%s' has rank %d for %d axes", u->p->name,
                c->k->maps[s->map].rank, s->n_axes);
    } else if (bits != 4 && bits % 8 != 0) {
        cg_fail(c, "'%s' (%s): elements of %d bits are not packed in memory", u->p->name,
                u->p->format, bits);
    } else if (u->transposed && bits < 8) {
        cg_fail(c, "'%s' (%s) would be stored transposed in pieces smaller than a byte", u->p->name,
                u->p->format);
    }
    if (!CG_OK(c)) {
        return;
    }
    staging g = stage_begin(c, u);
    stage_elements(c, u, &g);
    cg_scales_stage(c, u, g.buffer);
    stage_end(c, u, &g);
}

// --- One sub-tile ------------------------------------------------------------------------------------

static bool check_axes(cg *c, cg_sub *u) {
    const tir_store *s = u->s;
    const tir_axis *last = &s->axes[s->n_axes - 1];
    u->transposed = last->loop >= 0 && last->loop == u->acc->row_loop;
    for (int i = 0; i < s->n_axes; i++) {
        if (s->axes[i].div != 1 || s->axes[i].mul != 1) {
            cg_fail(c, "'%s' is stored at an index that is not a plain one (times %d, over %d)",
                    u->p->name, s->axes[i].mul, s->axes[i].div);
        }
    }
    if (!u->transposed && last->loop != u->acc->col_loop) {
        cg_fail(c, "the last axis of '%s' is walked by neither side of the accumulator '%s'",
                u->p->name, u->acc->name);
    }
    return CG_OK(c);
}

void cg_store_sub(cg *c, int store, const cg_frag *f) {
    const tir_store *s = &c->k->stores[store];
    cg_sub u = {.s = s, .p = &c->k->params[s->param], .acc = &c->k->accs[f->accs[0]], .f = f};
    if (!check_axes(c, &u)) {
        return;
    }
    evaluate(c, &u);
    if (CG_OK(c) && s->scale != ELEM_NONE) {
        quantise(c, &u);
    }
    if (CG_OK(c) && s->via_smem) {
        stage(c, &u);
    } else if (CG_OK(c)) {
        scatter(c, &u);
    }
}
