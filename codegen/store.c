// Results on their way out, one sub-tile of one warp at a time, whatever registers hold it.
//
//   evaluate    the expression of the store for every element
//   quantise    scaled formats: largest magnitude of a granule (over registers, and over the four lanes
//               that share a row), scale code, elements divided by the scale; scales go straight to
//               global memory, into the 128 x 4 atoms of the tensor
//   stage       via smem: packed elements into the warp's own box with the swizzle of the tensor map,
//               then fence.proxy.async, and lane 0 issues the bulk store (PTX ISA "Async proxy")
//   or scatter  via regs: predicated stores
// Buffers of the staging ring are free again when the bulk store that used them has read them: lane 0
// waits for its own groups, so no warp waits for another one.
#include "cg_int.h"

#include <stdio.h>

enum { ATOM_ROWS = 128, ATOM_COLS = 4, ATOM_BYTES = 512, LINE = 16 };

typedef struct {
    const tir_store *s;
    const tir_param *p;
    const tir_acc *acc;
    const cg_frag *f;
    bool transposed; // the tensor's last axis runs along the accumulator's rows
    ll_val **x;      // [run][element]
} sub;

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
        cg_store_mma(c, store);
    } else {
        cg_fail(c, "role '%s' stores '%s' but holds no tile in registers", c->role->name,
                c->k->params[c->k->stores[store].param].name);
    }
}

// --- Evaluation ------------------------------------------------------------------------------------

static cg_elem element(cg *c, const sub *u, const cg_run *r, int i, ll_val *accs) {
    for (int a = 0; a < u->f->n_accs; a++) {
        accs[u->f->accs[a]] = r->acc[a] ? r->acc[a][i] : NULL;
    }
    return (cg_elem){.row = r->row, .col = ll_addi(c->b, r->col, i), .acc = u->acc, .accs = accs};
}

static void coordinates(cg *c, const sub *u, const cg_elem *at, ll_val *out) {
    for (int i = 0; i < u->s->n_axes; i++) {
        out[i] = cg_axis(c, &u->s->axes[i], at);
    }
}

static ll_val inside(cg *c, const sub *u, const cg_elem *at) {
    ll_val axes[8], yes = ll_i1(c->b, true);
    coordinates(c, u, at, axes);
    for (int i = 0; i < u->s->n_axes; i++) {
        yes = ll_bin(c->b, LL_AND, yes, ll_cmp(c->b, LL_ULT, axes[i], cg_size(c, u->p->dims[i])));
    }
    return yes;
}

// Elements outside the tensor are 0, so that they do not count in the scale of a granule.
static ll_val value_at(cg *c, const sub *u, const cg_elem *at) {
    ll *b = c->b;
    ll_val v = cg_expr(c, u->s->value, at);
    bool divides = u->s->divide && u->s->scale != ELEM_UE4M3;
    if (CG_OK(c) && divides) {
        v = cg_math(c, "div.rn.f32", 2, (ll_val[]){v, cg_expr(c, u->s->divide, at)});
    }
    if (!CG_OK(c) || u->s->scale == ELEM_NONE) {
        return v;
    }
    return ll_select(b, inside(c, u, at), v, ll_f32(b, 0));
}

static void evaluate(cg *c, sub *u) {
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    u->x = ARENA_ARRAY(c->mem, ll_val *, u->f->n_runs);
    for (int r = 0; r < u->f->n_runs; r++) {
        const cg_run *run = &u->f->runs[r];
        u->x[r] = ARENA_ARRAY(c->mem, ll_val, run->n);
        for (int i = 0; i < run->n && CG_OK(c); i++) {
            cg_elem at = element(c, u, run, i, accs);
            u->x[r][i] = value_at(c, u, &at);
        }
    }
}

// --- Quantising ------------------------------------------------------------------------------------

// Address of the scale of granule column 'kb' of the row that 'at' lies in; 'ok' is false outside the
// padded scale tensor.
static ll_val scale_address(cg *c, const sub *u, const cg_elem *at, ll_val kb, ll_val *ok) {
    ll *b = c->b;
    int n = u->s->n_axes;
    ll_val axes[8];
    coordinates(c, u, at, axes);
    ll_val row = axes[n - 2];
    ll_val rows = ll_addi(b, cg_size(c, u->p->dims[n - 2]), ATOM_ROWS - 1);
    rows = ll_bini(b, LL_AND, rows, -ATOM_ROWS);
    int span = u->s->granule * ATOM_COLS;
    ll_val last = ll_addi(b, cg_size(c, u->p->dims[n - 1]), span - 1);
    ll_val atoms = ll_bini(b, LL_SDIV, last, span);
    *ok = ll_bin(b, LL_AND, ll_cmp(b, LL_ULT, row, rows),
                 ll_cmp(b, LL_ULT, kb, ll_muli(b, atoms, ATOM_COLS)));
    ll_val atom = ll_mul(b, ll_bini(b, LL_LSHR, row, 7), atoms);
    atom = ll_add(b, atom, ll_bini(b, LL_LSHR, kb, 2));
    ll_val line = ll_muli(b, ll_bini(b, LL_AND, row, 31), LINE);
    ll_val word = ll_muli(b, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), ATOM_COLS);
    ll_val in = ll_add(b, ll_add(b, line, word), ll_bini(b, LL_AND, kb, ATOM_COLS - 1));
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, u->s->param, PART_SCALE), LL_I64);
    for (int i = 0; i < n - 2; i++) {
        *ok = ll_bin(b, LL_AND, *ok, ll_cmp(b, LL_ULT, axes[i], cg_size(c, u->p->dims[i])));
    }
    if (n >= 3) {
        ll_val matrix = axes[0];
        for (int i = 1; i < n - 2; i++) {
            matrix = ll_add(b, ll_mul(b, matrix, cg_size(c, u->p->dims[i])), axes[i]);
        }
        ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, u->s->param, PART_SCALE);
        base = ll_add(b, base, ll_mul(b, ll_to(b, matrix, LL_I64), bytes));
    }
    ll_val offset = ll_mul(b, ll_to(b, atom, LL_I64), ll_i64(b, ATOM_BYTES));
    return ll_add(b, ll_add(b, base, offset), ll_to(b, in, LL_I64));
}

static void store_global(cg *c, int bits, ll_val address, ll_val value, ll_val when) {
    ll_asm a = {.text = arena_printf(c->mem, "@$2 st.global.b%d [$0], $1;", bits),
                .constraints = bits <= 16 ? "l,h,b,~{memory}" : "l,r,b,~{memory}",
                .effect = true};
    LL_ASM(c->b, &a, address, bits <= 16 ? ll_to(c->b, value, LL_I16) : value, when);
}

// The scales of granules 4j .. 4j + 3 of one row: where four lanes share the row each stores one byte,
// else one lane stores them all, as a word if they are the whole of one.
static void store_scales(cg *c, const sub *u, const cg_run *r, const ll_val *scales, int n) {
    ll *b = c->b;
    bool word = n == ATOM_COLS && u->f->cols % (u->s->granule * ATOM_COLS) == 0 &&
                u->acc->cols % (u->s->granule * ATOM_COLS) == 0;
    ll_val q = ll_bini(b, LL_AND, c->lane, 3), ok;
    cg_elem at = {.row = r->row, .col = r->col, .acc = u->acc};
    if (u->f->quad) {
        at.col = ll_sub(b, r->col, r->box_col_lane);
    }
    ll_val axes[8];
    coordinates(c, u, &at, axes);
    ll_val kb = ll_bini(b, LL_SDIV, axes[u->s->n_axes - 1], u->s->granule);
    if (u->f->quad) {
        ll_val mine = scales[0];
        for (int i = 1; i < n; i++) {
            mine = ll_select(b, ll_cmpi(b, LL_EQ, q, i), scales[i], mine);
        }
        ll_val address = scale_address(c, u, &at, ll_add(b, kb, q), &ok);
        store_global(c, 8, address, mine, ll_bin(b, LL_AND, ok, ll_cmpi(b, LL_ULT, q, n)));
    } else if (word) {
        ll_val all = scales[0];
        for (int i = 1; i < n; i++) {
            all = ll_bin(b, LL_OR, all, ll_bini(b, LL_SHL, scales[i], 8 * i));
        }
        ll_val address = scale_address(c, u, &at, kb, &ok);
        store_global(c, 32, address, all, ok);
    } else {
        for (int i = 0; i < n; i++) {
            ll_val address = scale_address(c, u, &at, ll_addi(b, kb, i), &ok);
            store_global(c, 8, address, scales[i], ok);
        }
    }
}

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
static void quantise_row(cg *c, sub *u, int first, int last) {
    ll *b = c->b;
    const cg_run *run = &u->f->runs[first];
    int per = run->n, total = (last - first) * per;
    int count = u->f->quad ? u->s->granule / 4 : u->s->granule; // of a granule, in this lane
    ll_val *x = ARENA_ARRAY(c->mem, ll_val, total);
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    for (int i = 0; i < total; i++) {
        x[i] = u->x[first + i / per][i % per];
    }
    ll_val scales[ATOM_COLS];
    int n = 0;
    for (int g = 0; g < total / count && CG_OK(c); g++) {
        ll_val amax = cg_max_abs(c, count, x + g * count);
        amax = u->f->quad ? quad_max(c, amax) : amax;
        cg_elem at = element(c, u, &u->f->runs[first + g * count / per], g * count % per, accs);
        bool by = u->s->divide && u->s->scale == ELEM_UE4M3;
        ll_val hs = by ? cg_expr(c, u->s->divide, &at) : ll_f32(b, 1);
        cg_granule q = cg_quantise(c, u->s->elem, u->s->scale, amax, hs);
        for (int i = 0; i < count; i++) {
            int j = g * count + i;
            u->x[first + j / per][j % per] = cg_math(c, "mul.rn.f32", 2, (ll_val[]){x[j], q.factor});
        }
        scales[n++] = q.scale;
        if (n == ATOM_COLS || g == total / count - 1) {
            int start = (g + 1 - n) * count;
            cg_run at_first = u->f->runs[first + start / per];
            at_first.col = ll_addi(b, at_first.col, start % per);
            store_scales(c, u, &at_first, scales, n);
            n = 0;
        }
    }
}

static void quantise(cg *c, sub *u) {
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

// --- Straight from registers -----------------------------------------------------------------------

static void scatter_run(cg *c, const sub *u, const cg_run *r, const ll_val *x) {
    ll *b = c->b;
    int bits = elem_bits(u->s->elem);
    int step = bits == 4 ? 2 : 1; // elements a store
    ll_val axes[8], ok, base = NULL;
    for (int i = 0; i < r->n; i += step) {
        cg_elem at = {.row = r->row, .col = ll_addi(b, r->col, i), .acc = u->acc};
        coordinates(c, u, &at, axes);
        ll_val address = cg_global_address(c, u->s->param, u->s->n_axes, axes, &ok);
        if (base && !u->transposed) {
            address = ll_addi(b, base, (int64_t)i * bits / 8);
        }
        base = base ? base : address;
        store_global(c, bits * step < 8 ? 8 : bits * step, address,
                     cg_pack(c, u->s->elem, step, x + i), ok);
    }
}

static void scatter(cg *c, const sub *u) {
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
    int n_boxes;   // of one warp, one after another
    ll_val region; // i32: address of this warp's first box in the current buffer
} staging;

static int swizzle_span(tir_swizzle s) {
    return s == SWZ_NONE ? 0 : 16 << s;
}

static staging stage_begin(cg *c, const sub *u) {
    ll *b = c->b;
    const tir_store *s = u->s;
    staging g = {.map = &c->k->maps[s->map]};
    int span = swizzle_span(g.map->swizzle), lines = u->transposed ? s->warp_cols : u->f->box_rows;
    g.pitch = span ? span : g.map->box[0] * g.map->elem_bytes;
    g.box_bytes = lines * g.pitch;
    g.n_boxes = u->f->cols / s->warp_cols;
    ll_val at = ll_muli(b, c->role_warp, (int64_t)g.n_boxes * g.box_bytes);
    if (s->stages > 1) {
        at = ll_add(b, at, ll_muli(b, ll_get(b, c->stage[s - c->k->stores]), s->stage_bytes));
    }
    g.region = ll_add(b, cg_smem_at(c, s->stage_offset), at);
    // Free when at most 'stages - 1' younger groups still read.
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    LL_INTR(b, "llvm.nvvm.cp.async.bulk.wait.group.read", ll_i32(b, s->stages - 1));
    ll_if_end(b, one);
    cg_warp_sync(c);
    return g;
}

// The xor that a line's 16-byte chunks get, in bytes. Regions start at multiples of the pattern.
static ll_val line_swizzle(cg *c, const staging *g, ll_val line) {
    ll *b = c->b;
    int bits = g->map->swizzle; // 1, 2, 3 bits of the chunk number, from address bit 7
    if (bits == 0) {
        return ll_i32(b, 0);
    }
    ll_val part = ll_bini(b, LL_LSHR, line, 3 - bits);
    return ll_bini(b, LL_SHL, ll_bini(b, LL_AND, part, (1 << bits) - 1), 4);
}

// Address of byte 'offset' (+ the lane's share) of a line of a box. The two have no bits in common.
static ll_val stage_address(cg *c, const staging *g, int box, ll_val line, int offset, ll_val share) {
    ll *b = c->b;
    ll_val in = line_swizzle(c, g, line);
    in = ll_bini(b, LL_XOR, share ? ll_bin(b, LL_XOR, in, share) : in, offset);
    ll_val at = ll_addi(b, g->region, (int64_t)box * g->box_bytes);
    return ll_add(b, ll_add(b, at, ll_muli(b, line, g->pitch)), in);
}

static void stage_store(cg *c, int bits, ll_val address, ll_val value) {
    ll_type t = bits == 8 ? LL_I8 : bits == 16 ? LL_I16 : LL_I32;
    ll_store(c->b, ll_to(c->b, value, t), address, bits / 8);
}

// A run along the lines of the box.
static void stage_run(cg *c, const sub *u, const staging *g, const cg_run *r, const ll_val *x) {
    ll *b = c->b;
    int bits = elem_bits(u->s->elem), cols = u->s->warp_cols;
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
static void stage_run_across(cg *c, const sub *u, const staging *g, const cg_run *r,
                             const ll_val *x) {
    ll *b = c->b;
    int bits = elem_bits(u->s->elem), cols = u->s->warp_cols;
    ll_val share = ll_bini(b, LL_LSHR, ll_muli(b, r->box_row, bits), 3);
    for (int i = 0; i < r->n; i++) {
        int col = r->box_col + i;
        ll_val line = ll_i32(b, col % cols);
        line = r->box_col_lane ? ll_add(b, line, r->box_col_lane) : line;
        ll_val at = stage_address(c, g, col / cols, line, 0, share);
        stage_store(c, bits, at, cg_pack(c, u->s->elem, 1, x + i));
    }
}

// Coordinates of a box: the tensor's axes backwards, in elements of the map.
static void issue_box(cg *c, const sub *u, const staging *g, int box) {
    ll *b = c->b;
    const cg_run *r = &u->f->runs[0];
    ll_val col = r->box_col_lane ? ll_sub(b, r->col, r->box_col_lane) : r->col;
    cg_elem at = {.row = ll_sub(b, r->row, r->box_row),
                  .col = ll_addi(b, col, (int64_t)box * u->s->warp_cols - r->box_col),
                  .acc = u->acc};
    ll_val axes[8], args[16];
    coordinates(c, u, &at, axes);
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

static void stage_end(cg *c, const sub *u, const staging *g) {
    ll *b = c->b;
    cg_fence_async_smem(c);
    cg_warp_sync(c);
    ll_if one = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->lane, 0));
    for (int box = 0; box < g->n_boxes; box++) {
        issue_box(c, u, g, box);
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

static void stage(cg *c, const sub *u) {
    const tir_store *s = u->s;
    int bits = elem_bits(s->elem);
    if (c->k->maps[s->map].rank != s->n_axes) {
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
    for (int r = 0; r < u->f->n_runs && CG_OK(c); r++) {
        if (u->transposed) {
            stage_run_across(c, u, &g, &u->f->runs[r], u->x[r]);
        } else {
            stage_run(c, u, &g, &u->f->runs[r], u->x[r]);
        }
    }
    stage_end(c, u, &g);
}

// --- One sub-tile ------------------------------------------------------------------------------------

static bool check_axes(cg *c, sub *u) {
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
    sub u = {.s = s, .p = &c->k->params[s->param], .acc = &c->k->accs[f->accs[0]], .f = f};
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
