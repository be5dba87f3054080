// Plain elements in the layouts of scale factors (runtime/layout.def; the formulas are those of
// runtime/pack.c), so that kernels read and write scales as numbers, wherever they are.
//
// Blocks reach past the ends of a matrix, in memory that belongs to it: what is stored there is 0, which
// every type of scales reads as a finite number. The planner gave each block to one tile.
#include "store_int.h"

enum { WORD = 4 }; // columns that lie side by side where columns are padded

static ll_val round_to(cg *c, ll_val x, int to) {
    return to == 1 ? x : ll_bini(c->b, LL_AND, ll_addi(c->b, x, to - 1), -to);
}

// --- Addresses -----------------------------------------------------------------------------------

// Every place is that of its row plus that of its column, so that elements of a row or column share a part.
static ll_val wide(cg *c, ll_val x, int64_t times) {
    return ll_mul(c->b, ll_sext(c->b, x, LL_I64), ll_i64(c->b, times));
}

// Blocks of four columns side by side, then the column in its word.
static ll_val word_column(cg *c, ll_val col, int64_t block) {
    ll_val in = ll_sext(c->b, ll_bini(c->b, LL_AND, col, WORD - 1), LL_I64);
    return ll_add(c->b, wide(c, ll_bini(c->b, LL_LSHR, col, 2), block), in);
}

ll_val cg_atom_offset(cg *c, ll_val row, ll_val col, ll_val atoms) {
    ll *b = c->b;
    ll_val line = ll_muli(b, ll_bini(b, LL_AND, row, 31), SF_LINE);
    ll_val word = ll_muli(b, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), TIR_ATOM_COLS);
    ll_val first = wide(c, ll_mul(b, ll_bini(b, LL_LSHR, row, 7), atoms), TIR_ATOM_BYTES);
    ll_val at = ll_add(b, first, ll_sext(b, ll_add(b, line, word), LL_I64));
    return ll_add(b, at, word_column(c, col, TIR_ATOM_BYTES));
}

// (row / 8 * words + col / 4) * 32 + row % 8 * 4 + col % 4
static ll_val offset_8x4(cg *c, ll_val row, ll_val col, ll_val words) {
    ll *b = c->b;
    ll_val first = wide(c, ll_mul(b, ll_bini(b, LL_LSHR, row, 3), words), 8 * WORD);
    ll_val line = ll_sext(b, ll_muli(b, ll_bini(b, LL_AND, row, 7), WORD), LL_I64);
    return ll_add(b, ll_add(b, first, line), word_column(c, col, 8 * WORD));
}

// Columns, or words of four of them, one behind the other; a column has the rows rounded up to 4.
static ll_val offset_mn(cg *c, ll_val row, ll_val col, ll_val rows, int unit) {
    ll *b = c->b;
    ll_val height = ll_sext(b, round_to(c, rows, 4), LL_I64);
    ll_val outer = unit == 1 ? col : ll_bini(b, LL_LSHR, col, 2);
    ll_val first = ll_mul(b, wide(c, outer, unit), height);
    if (unit != 1) {
        first = ll_add(b, first, ll_sext(b, ll_bini(b, LL_AND, col, WORD - 1), LL_I64));
    }
    return ll_add(b, wide(c, row, unit), first);
}

static ll_val in_matrix(cg *c, layout_kind l, ll_val row, ll_val col, ll_val rows, ll_val cols) {
    ll_val words = ll_bini(c->b, LL_LSHR, ll_addi(c->b, cols, WORD - 1), 2);
    switch (l) {
    case LAYOUT_128X4:
        return cg_atom_offset(c, row, col, words);
    case LAYOUT_8X4:
        return offset_8x4(c, row, col, words);
    case LAYOUT_MN_PACKED:
        return offset_mn(c, row, col, rows, WORD);
    default:
        return offset_mn(c, row, col, rows, 1);
    }
}

// The same number, made anew wherever it is used: places of elements are cheaper to compute twice than to
// hold in registers from a read to a store.
static ll_val afresh(cg *c, ll_val x) {
    ll_asm a = {.text = "", .constraints = "=r,0", .effect = true, .n_out = 1, .out = {LL_I32}};
    return LL_ASM(c->b, &a, x);
}

ll_val cg_layout_offset(cg *c, int param, const ll_val *at) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[param];
    layout_kind l = tir_laid(p);
    int n = p->n_dims;
    ll_val rows = cg_size(c, p->dims[n - 2]), cols = cg_size(c, p->dims[n - 1]);
    ll_val offset = in_matrix(c, l, afresh(c, at[n - 2]), afresh(c, at[n - 1]), rows, cols);
    if (n > 2) {
        ll_val matrix = at[0];
        for (int i = 1; i < n - 2; i++) {
            matrix = ll_add(b, ll_mul(b, matrix, cg_size(c, p->dims[i])), at[i]);
        }
        ll_val elems = ll_mul(b, ll_sext(b, round_to(c, rows, layout_rows(l)), LL_I64),
                              ll_sext(b, round_to(c, cols, layout_cols(l)), LL_I64));
        offset = ll_add(b, offset, ll_mul(b, ll_sext(b, matrix, LL_I64), elems));
    }
    return ll_mul(b, offset, ll_i64(b, elem_bits(p->elem) / 8));
}

// Tiles of 128 x 4 for scales of one byte; f32 ones row by row, or column by column where they say
// so, shared down rows as well.
ll_val cg_scale_offset(cg *c, int param, const ll_val *at) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[param];
    int n = p->n_dims;
    layout_kind l = p->layout != NULL ? (layout_kind)layout_find(p->layout) : LAYOUT_LINEAR;
    ll_val row = ll_bini(b, LL_UDIV, at[n - 2], p->granule_rows);
    ll_val col = ll_bini(b, LL_UDIV, at[n - 1], p->granule);
    ll_val rows = ll_bini(b, LL_UDIV, ll_addi(b, cg_size(c, p->dims[n - 2]), p->granule_rows - 1),
                          p->granule_rows);
    ll_val cols = ll_bini(b, LL_UDIV, ll_addi(b, cg_size(c, p->dims[n - 1]), p->granule - 1), p->granule);
    ll_val offset = l == LAYOUT_LINEAR
                        ? ll_add(b, ll_mul(b, ll_sext(b, row, LL_I64), ll_sext(b, cols, LL_I64)),
                                 ll_sext(b, col, LL_I64))
                        : in_matrix(c, l, row, col, rows, cols);
    offset = ll_mul(b, offset, ll_i64(b, elem_bits(p->scale) / 8));
    if (n <= 2) {
        return offset;
    }
    ll_val matrix = at[0];
    for (int i = 1; i < n - 2; i++) {
        matrix = ll_add(b, ll_mul(b, matrix, cg_size(c, p->dims[i])), at[i]);
    }
    ll_val bytes = cg_arg_of(c, ARG_SF_BYTES, param, PART_SCALE);
    return ll_add(b, offset, ll_mul(b, ll_sext(b, matrix, LL_I64), bytes));
}

// --- Stores --------------------------------------------------------------------------------------

typedef struct {
    ll_val address;
    ll_val row_in, col_in; // the element is one of the matrix
    ll_val left;           // columns from it to the end of the matrix
    ll_val ok;             // it lies in the matrix or its padding, and the other axes in the tensor
} place;

static place place_of(cg *c, const tir_store *s, const cg_elem *at) {
    ll *b = c->b;
    const tir_param *p = &c->k->params[s->param];
    layout_kind l = tir_laid(p);
    int n = s->n_axes;
    ll_val axes[8];
    for (int i = 0; i < n; i++) {
        axes[i] = cg_axis(c, &s->axes[i], at);
    }
    ll_val rows = cg_size(c, p->dims[n - 2]), cols = cg_size(c, p->dims[n - 1]);
    place x = {.row_in = ll_cmp(b, LL_ULT, axes[n - 2], rows),
               .col_in = ll_cmp(b, LL_ULT, axes[n - 1], cols),
               .left = ll_sub(b, cols, axes[n - 1])};
    x.ok = ll_bin(b, LL_AND, ll_cmp(b, LL_ULT, axes[n - 2], round_to(c, rows, layout_rows(l))),
                  ll_cmp(b, LL_ULT, axes[n - 1], round_to(c, cols, layout_cols(l))));
    for (int i = 0; i < n - 2; i++) {
        x.ok = ll_bin(b, LL_AND, x.ok, ll_cmp(b, LL_ULT, axes[i], cg_size(c, p->dims[i])));
    }
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, s->param, PART_DATA), LL_I64);
    x.address = ll_add(b, base, cg_layout_offset(c, s->param, axes));
    return x;
}

// Four columns of a row in one word.
static void store_word(cg *c, const cg_sub *u, const cg_elem *at, const ll_val *x) {
    ll *b = c->b;
    place w = place_of(c, u->s, at);
    ll_val word = ll_i32(b, 0);
    for (int i = 0; i < WORD; i++) {
        ll_val in = ll_bin(b, LL_AND, w.row_in, ll_cmpi(b, LL_SGT, w.left, i));
        ll_val code = ll_select(b, in, cg_pack(c, u->s->elem, 1, x + i), ll_i32(b, 0));
        word = ll_bin(b, LL_OR, word, ll_bini(b, LL_SHL, code, 8 * i));
    }
    cg_store_global(c, 8 * WORD, w.address, word, w.ok);
}

void cg_layout_store(cg *c, const cg_sub *u, const cg_run *r, const ll_val *x) {
    ll *b = c->b;
    bool words = layout_cols(tir_laid(u->p)) == WORD && !u->transposed && !u->f.quad && r->n % WORD == 0;
    for (int i = 0; i < r->n; i += words ? WORD : 1) {
        cg_elem at = {.row = r->row, .col = r->col, .dcol = i, .acc = u->acc};
        if (words) {
            store_word(c, u, &at, x + i);
            continue;
        }
        place e = place_of(c, u->s, &at);
        ll_val in = ll_bin(b, LL_AND, e.row_in, e.col_in);
        ll_val code = ll_select(b, in, cg_pack(c, u->s->elem, 1, x + i), ll_i32(b, 0));
        cg_store_global(c, elem_bits(u->s->elem), e.address, code, e.ok);
    }
}

void cg_layout_single(cg *c, const tir_store *s, const cg_elem *at, ll_val code) {
    ll *b = c->b;
    place e = place_of(c, s, at);
    cg_store_global(c, elem_bits(s->elem), e.address, ll_select(b, e.row_in, code, ll_i32(b, 0)),
                    ll_bin(b, LL_AND, e.ok, e.col_in));
    if (layout_cols(tir_laid(&c->k->params[s->param])) != WORD) {
        return;
    }
    for (int i = 1; i < WORD; i++) { // the row's last element: the bytes up to the end of its word
        ll_val end = ll_cmpi(b, LL_EQ, e.left, 1);
        ll_val column = ll_bini(b, LL_AND, ll_sub(b, cg_size(c, c->k->params[s->param].dims[s->n_axes - 1]), e.left),
                                WORD - 1);
        ll_val fits = ll_cmpi(b, LL_SLT, column, WORD - i);
        ll_val when = ll_bin(b, LL_AND, e.ok, ll_bin(b, LL_AND, end, fits));
        cg_store_global(c, 8, ll_addi(b, e.address, i), ll_i32(b, 0), when);
    }
}
