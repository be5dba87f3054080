// Results on their way out, one sub-tile of one warp at a time, whatever registers hold it.
//
//   evaluate    the expression of the store for every element
//   quantise    scaled formats: largest magnitude of a granule (over registers, and over the four
//               lanes that share a row), scale code, elements divided by the scale; where the
//               scales go: store_scale.c
//   stage       via smem: store_stage.c
//   or scatter  via regs: predicated stores
// A sub-tile is handed over in pieces, each of which goes all this way before the next one is
// begun, so that registers hold one piece and not the sub-tile.
#include "store_int.h"

// --- What a store reads --------------------------------------------------------------------------

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

// An address in a layout of its own, or of elements across bytes, is no base and a constant: it takes registers
// as well.
static int addresses(const tir_kernel *k, int param) {
    const tir_param *p = &k->params[param];
    return tir_laid(p) != LAYOUT_LINEAR || elem_bits(p->elem) == 6 ? 2 : 0;
}

static int count_loads(const tir_kernel *k, const tir_expr *e) {
    int n = e && tir_is_load(e) ? 1 + (e->kind == TX_LOAD ? addresses(k, e->ref) : 2) : 0;
    for (int i = 0; e && i < e->n_args; i++) {
        n += count_loads(k, e->args[i]);
    }
    return n;
}

int cg_store_loads(const cg *c, const tir_store *s) {
    return count_loads(c->k, s->value) + count_loads(c->k, s->divide) + addresses(c->k, s->param);
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

// --- Evaluation ----------------------------------------------------------------------------------

static cg_elem element(const cg_sub *u, const cg_run *r, int i, ll_val *accs) {
    for (int a = 0; a < u->f.n_accs; a++) {
        accs[u->f.accs[a]] = r->acc[a] ? r->acc[a][i] : NULL;
    }
    return (cg_elem){.row = r->row, .col = r->col, .dcol = i, .acc = u->acc, .accs = accs};
}

void cg_store_axes(cg *c, const cg_sub *u, const cg_elem *at, ll_val *out) {
    for (int i = 0; i < u->s->n_axes; i++) {
        out[i] = cg_axis(c, &u->s->axes[i], at);
    }
}

// Elements of a run from its first one to the end of the tensor's last axis, where granules may be
// cut there: those behind are 0, so that they do not count in a scale. NULL: nothing to mask.
static ll_val elements_left(cg *c, const cg_sub *u, const cg_run *run) {
    int last = u->s->n_axes - 1;
    if (u->s->scale == ELEM_NONE || tir_is_whole(c->k, u->p->dims[last], u->s->granule)) {
        return NULL; // granules end where the tensor does
    }
    cg_elem at = {.row = run->row, .col = run->col, .acc = u->acc};
    ll_val axes[8];
    cg_store_axes(c, u, &at, axes);
    return ll_sub(c->b, cg_size(c, u->p->dims[last]), axes[last]);
}

static ll_val value_at(cg *c, const cg_sub *u, const cg_elem *at) {
    ll_val v = cg_expr(c, u->s->value, at);
    if (CG_OK(c) && u->s->divide && u->s->scale != ELEM_UE4M3) {
        v = cg_math2(c, "div.rn.f32", v, cg_expr(c, u->s->divide, at));
    }
    return v;
}

static void evaluate(cg *c, cg_sub *u) {
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    u->x = ARENA_ARRAY(c->mem, ll_val *, u->n_runs);
    for (int r = 0; r < u->n_runs; r++) {
        const cg_run *run = &u->runs[r];
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

// --- Quantising ----------------------------------------------------------------------------------

static ll_val quad_max(cg *c, ll_val v) {
    ll *b = c->b;
    for (int step = 1; step <= 2; step *= 2) {
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.bfly.f32", ll_i32(b, -1), v, ll_i32(b, step),
                               ll_i32(b, 31));
        v = cg_math2(c, "max.f32", v, other);
    }
    return v;
}

// The scale of a granule: where one lane holds whole rows they are gathered until the row is whole.
static void scale_of(cg *c, cg_sub *u, const cg_run *at, ll_val scale) {
    if (u->n_codes == 0) {
        u->code_run = *at;
    } else if (u->n_codes == MAX_CODES) {
        cg_fail(c, "'%s' is stored %d columns at a time: more than %d scales a row", u->p->name,
                u->f.cols, MAX_CODES);
        return;
    }
    u->codes[u->n_codes++] = scale;
}

// Gathered scales in groups of four.
static void flush_scales(cg *c, cg_sub *u) {
    for (int first = 0; first < u->n_codes && CG_OK(c); first += TIR_ATOM_COLS) {
        int n = u->n_codes - first < TIR_ATOM_COLS ? u->n_codes - first : TIR_ATOM_COLS;
        cg_run at = u->code_run;
        at.col = ll_addi(c->b, at.col, (int64_t)first * u->s->granule);
        cg_scales(c, u, &at, u->codes + first, n);
    }
    u->n_codes = 0;
}

// The elements of one row: runs first .. last - 1, granule after granule.
static void quantise_row(cg *c, cg_sub *u, int first, int last) {
    ll *b = c->b;
    const cg_run *run = &u->runs[first];
    int per = run->n, total = (last - first) * per;
    int count = u->f.quad ? u->s->granule / 4 : u->s->granule; // of a granule, in this lane
    ll_val *x = ARENA_ARRAY(c->mem, ll_val, total);
    ll_val *accs = ARENA_ARRAY(c->mem, ll_val, c->k->n_accs + 1);
    for (int i = 0; i < total; i++) {
        x[i] = u->x[first + i / per][i % per];
    }
    for (int g = 0; g < total / count && CG_OK(c); g++) {
        ll_val amax = cg_max_abs(c, count, x + g * count);
        amax = u->f.quad ? quad_max(c, amax) : amax;
        cg_run at_first = u->runs[first + g * count / per];
        cg_elem at = element(u, &at_first, g * count % per, accs);
        bool by = u->s->divide && u->s->scale == ELEM_UE4M3;
        ll_val hs = by ? cg_expr(c, u->s->divide, &at) : ll_f32(b, 1);
        cg_granule q = cg_quantise(c, u->s->elem, u->s->scale, amax, hs);
        for (int i = 0; i < count; i++) {
            int j = g * count + i;
            u->x[first + j / per][j % per] = cg_math2(c, "mul.rn.f32", x[j], q.factor);
        }
        at_first.col = ll_addi(b, at_first.col, g * count % per);
        scale_of(c, u, &at_first, q.scale);
    }
    if (u->f.quad) {
        flush_scales(c, u);
    }
}

static void check_quantised(cg *c, const cg_sub *u) {
    if (u->transposed || u->s->n_axes < 2) {
        cg_fail(c, "'%s' is %s: its granules lie along the rows of the accumulator, across lanes; "
                   "without 'swap' they lie in one row", u->p->name, u->p->format);
    } else if (u->f.cols % u->s->granule) {
        cg_fail(c,
                "'%s' has granules of %d elements, but a warp stores %d columns at once; the store "
                "must cover whole granules",
                u->p->name, u->s->granule, u->f.cols);
    }
}

static void quantise(cg *c, cg_sub *u) {
    for (int first = 0; first < u->n_runs && CG_OK(c);) {
        int last = first + 1;
        while (last < u->n_runs && u->runs[last].row == u->runs[first].row) {
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

// --- Straight from registers ---------------------------------------------------------------------

// Plain elements in rows of their own; two of four bits make a byte.
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

// Two rows of the tile are the halves of a byte: of two columns their lanes swap what the other one stores, the
// lane of the even row the first.
static void scatter_halves(cg *c, const cg_sub *u, const cg_run *r, const ll_val *x) {
    ll *b = c->b;
    int last = u->s->n_axes - 1;
    int partner = u->f.quad ? 4 : 1; // lanes that hold neighbouring rows
    ll_val odd = ll_bini(b, LL_AND, r->row, 1);
    ll_val is_odd = ll_cmpi(b, LL_NE, odd, 0);
    cg_elem own = {.row = r->row, .col = r->col, .acc = u->acc};
    ll_val there = ll_cmp(b, LL_SLT, cg_axis(c, &u->s->axes[last], &own), cg_size(c, u->p->dims[last]));
    for (int i = 0; i < r->n && CG_OK(c); i += 2) {
        ll_val mine = ll_select(b, there, cg_pack(c, u->s->elem, 2, x + i), ll_i32(b, 0));
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.bfly.i32", ll_i32(b, -1), mine, ll_i32(b, partner),
                               ll_i32(b, 31));
        ll_val even = ll_bin(b, LL_OR, ll_bini(b, LL_AND, mine, 15),
                             ll_bini(b, LL_SHL, ll_bini(b, LL_AND, other, 15), 4));
        ll_val second = ll_bin(b, LL_OR, ll_bini(b, LL_LSHR, other, 4), ll_bini(b, LL_AND, mine, 0xF0));
        cg_elem at = {.row = ll_bini(b, LL_AND, r->row, -2),
                      .col = ll_add(b, r->col, odd),
                      .dcol = i,
                      .acc = u->acc};
        ll_val ok;
        ll_val address = cg_element_address(c, u->s->param, u->s->n_axes, u->s->axes, &at, &ok);
        cg_store_global(c, 8, address, ll_select(b, is_odd, second, even), ok);
    }
}

// Four elements of six bits are three bytes; of those behind the row's end bytes are left alone, bits are 0.
// 'mine' has the bytes that this lane stores, as bits.
static void store_sixes(cg *c, const cg_sub *u, const cg_elem *at, ll_val word, int mine) {
    ll *b = c->b;
    int last = u->s->n_axes - 1;
    ll_val ok;
    ll_val address = cg_element_address(c, u->s->param, u->s->n_axes, u->s->axes, at, &ok);
    ll_val left = ll_sub(b, cg_size(c, u->p->dims[last]), cg_axis(c, &u->s->axes[last], at));
    for (int i = 0; i < 3; i++) {
        if (mine >> i & 1) {
            cg_store_global(c, 8, ll_addi(b, address, i), ll_bini(b, LL_LSHR, word, 8 * i),
                            ll_bin(b, LL_AND, ok, ll_cmpi(b, LL_SGT, left, i)));
        }
    }
}

static ll_val sixes(cg *c, const cg_sub *u, const cg_elem *at, int n, const ll_val *x) {
    ll *b = c->b;
    int last = u->s->n_axes - 1;
    ll_val left = ll_sub(b, cg_size(c, u->p->dims[last]), cg_axis(c, &u->s->axes[last], at));
    ll_val word = ll_i32(b, 0);
    for (int i = 0; i < n; i++) {
        ll_val code = ll_select(b, ll_cmpi(b, LL_SGT, left, i), cg_pack(c, u->s->elem, 1, x + i), ll_i32(b, 0));
        word = ll_bin(b, LL_OR, word, ll_bini(b, LL_SHL, code, 6 * i));
    }
    return word;
}

// A lane has four neighbours of a row; or two, and lane ^ 1 the others: the even one stores two of the bytes.
static void scatter_sixes(cg *c, const cg_sub *u, const cg_run *r, const ll_val *x) {
    ll *b = c->b;
    int n = u->f.quad ? 2 : 4;
    for (int i = 0; i < r->n && CG_OK(c); i += n) {
        cg_elem at = {.row = r->row, .col = r->col, .dcol = i, .acc = u->acc};
        ll_val word = sixes(c, u, &at, n, x + i);
        if (!u->f.quad) {
            store_sixes(c, u, &at, word, 7);
            continue;
        }
        ll_val other = LL_INTR(b, "llvm.nvvm.shfl.sync.bfly.i32", ll_i32(b, -1), word, ll_i32(b, 1), ll_i32(b, 31));
        ll_val odd = ll_bini(b, LL_AND, c->lane, 1);
        ll_if second = ll_if_begin(b, ll_cmpi(b, LL_NE, odd, 0));
        cg_elem first = at;
        first.col = ll_addi(b, at.col, -2);
        store_sixes(c, u, &first, ll_bin(b, LL_OR, other, ll_bini(b, LL_SHL, word, 12)), 4);
        ll_if_else(b, &second);
        store_sixes(c, u, &at, ll_bin(b, LL_OR, word, ll_bini(b, LL_SHL, other, 12)), 3);
        ll_if_end(b, second);
    }
}

// What can be packed in registers: columns of six bits begin with a byte, rows of four bits in pairs.
static bool check_halves(cg *c, const cg_sub *u) {
    int bits = elem_bits(u->s->elem);
    const tir_axis *last = &u->s->axes[u->s->n_axes - 1];
    const tir_loop *along = &c->k->loops[u->transposed ? u->acc->row_loop : u->acc->col_loop];
    int unit = bits == 6 ? 4 : 2;
    bool whole = along->tile % unit == 0 && !along->lo && last->add % unit == 0;
    if (bits < 8 && ((bits == 4 && u->transposed && !whole) || (bits == 6 && (u->transposed || !whole)))) {
        cg_fail(c, "'%s' (%s) cannot be stored from registers: its elements lie across bytes", u->p->name,
                u->p->format);
    }
    return CG_OK(c);
}

static void scatter(cg *c, const cg_sub *u) {
    bool halves = elem_bits(u->s->elem) < 8 && u->transposed;
    for (int r = 0; r < u->n_runs && check_halves(c, u); r++) {
        if (tir_laid(u->p) != LAYOUT_LINEAR) {
            cg_layout_store(c, u, &u->runs[r], u->x[r]);
        } else if (elem_bits(u->s->elem) == 6) {
            scatter_sixes(c, u, &u->runs[r], u->x[r]);
        } else if (halves) {
            scatter_halves(c, u, &u->runs[r], u->x[r]);
        } else {
            scatter_run(c, u, &u->runs[r], u->x[r]);
        }
    }
}

// --- One sub-tile --------------------------------------------------------------------------------

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

cg_sub *cg_sub_begin(cg *c, int store, const cg_frag *f) {
    const tir_store *s = &c->k->stores[store];
    cg_sub *u = ARENA_ARRAY(c->mem, cg_sub, 1);
    *u = (cg_sub){.s = s, .p = &c->k->params[s->param], .acc = f->acc, .f = *f};
    if (check_axes(c, u) && s->scale != ELEM_NONE) {
        check_quantised(c, u);
    }
    if (CG_OK(c) && s->via_smem) {
        cg_stage_check(c, u);
    }
    return u;
}

void cg_sub_piece(cg *c, cg_sub *u, int n_runs, const cg_run *runs) {
    u->n_runs = n_runs;
    u->runs = runs;
    if (CG_OK(c)) {
        evaluate(c, u);
    }
    if (CG_OK(c) && u->s->scale != ELEM_NONE) {
        quantise(c, u);
    }
    if (CG_OK(c) && u->s->via_smem) {
        cg_stage_piece(c, u);
    } else if (CG_OK(c)) {
        scatter(c, u);
    }
}

void cg_sub_end(cg *c, cg_sub *u) {
    if (CG_OK(c)) {
        flush_scales(c, u);
    }
    if (CG_OK(c) && u->s->via_smem) {
        cg_stage_end(c, u);
    }
}
