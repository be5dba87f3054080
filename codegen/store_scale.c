// The scales of quantised results: into the 128 x 4 tiles ("atoms", 512 bytes) that the next
// product reads; runtime packing sf128x4.
//
// Where a lane holds whole rows (TMEM), the four warps of a group gather whole tiles in the staging
// buffer, behind the data, and one lane copies them out in bulk; the warps meet before the buffer
// is overwritten and before it is copied. Otherwise scales are stored one by one, or as words.
//
// Tiles reach past the end of a tensor to the next multiple of 128 rows and 4 scales, which is
// memory that belongs to it; tiles wholly outside are not written.
#include "store_int.h"

bool cg_scales_staged(const cg_sub *u) {
    return u->s->via_smem && u->s->scale != ELEM_NONE && u->s->scale_offset >= 0 && !u->f.quad;
}

// Address of the scale of granule column 'kb' of the row that 'at' lies in; 'ok' is false outside
// the padded scale tensor.
static ll_val scale_address(cg *c, const cg_sub *u, const cg_elem *at, ll_val kb, ll_val *ok) {
    ll *b = c->b;
    int n = u->s->n_axes;
    ll_val axes[8];
    cg_store_axes(c, u, at, axes);
    const tir_axis *rows_of = &u->s->axes[n - 2];
    ll_val row = axes[n - 2];
    ll_val room = ll_i32(b, TIR_ATOM_ROWS - 1);
    if (u->p->groups) {
        row = ll_add(b, row, cg_scale_shift(c, rows_of->loop));
        room = ll_muli(b, cg_size(c, u->p->groups), TIR_ATOM_ROWS - 1);
    }
    ll_val rows =
        ll_bini(b, LL_AND, ll_add(b, cg_size(c, u->p->dims[n - 2]), room), -TIR_ATOM_ROWS);
    int span = u->s->granule * TIR_ATOM_COLS;
    ll_val last = ll_addi(b, cg_size(c, u->p->dims[n - 1]), span - 1);
    ll_val atoms = ll_bini(b, LL_SDIV, last, span);
    *ok = ll_bin(b, LL_AND, ll_cmp(b, LL_ULT, row, rows),
                 ll_cmp(b, LL_ULT, kb, ll_muli(b, atoms, TIR_ATOM_COLS)));
    ll_val base = ll_to(b, cg_arg_of(c, ARG_POINTER, u->s->param, PART_SCALE), LL_I64);
    if (!cg_scales_staged(u)) { // whole tiles belong to the rows that are stored
        *ok = ll_bin(b, LL_AND, *ok, cg_in_bounds(c, at));
    }
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
    return ll_add(b, base, cg_atom_offset(c, row, kb, atoms));
}

static ll_val word_of(cg *c, const ll_val *scales, int n) {
    ll_val all = scales[0];
    for (int i = 1; i < n; i++) {
        all = ll_bin(c->b, LL_OR, all, ll_bini(c->b, LL_SHL, scales[i], 8 * i));
    }
    return all;
}

// A group of scales is always the whole of one word (columns 4j .. 4j + 3 of a tile).
static bool is_word(cg *c, const cg_sub *u, int n) {
    int span = u->s->granule * TIR_ATOM_COLS;
    int warp = u->f.quad ? u->acc->cols / c->role->warps_n : u->acc->cols;
    return n == TIR_ATOM_COLS && u->f.cols % span == 0 && warp % span == 0 &&
           u->s->axes[u->s->n_axes - 1].add % span == 0;
}

// A group of scales and the end of its row. Behind the last scale of a row its group writes zeros
// up to the end of the word: the next product multiplies with them.
typedef struct {
    ll_val kb;   // granule column of the group's first scale
    ll_val
        left; // scales from there to the end of the row; <= 0: the group is outside of the tensor
    ll_val last; // i1: the group has the row's last scale
} scale_group;

static scale_group group_of(cg *c, const cg_sub *u, const cg_run *r, int n) {
    ll *b = c->b;
    cg_elem at = {.row = r->row, .col = r->col, .acc = u->acc};
    if (u->f.quad) {
        at.col = ll_sub(b, r->col, r->box_col_lane);
    }
    ll_val axes[8];
    cg_store_axes(c, u, &at, axes);
    int last = u->s->n_axes - 1, granule = u->s->granule;
    scale_group g = {.kb = ll_bini(b, LL_SDIV, axes[last], granule)};
    ll_val total = ll_addi(b, cg_size(c, u->p->dims[last]), granule - 1);
    g.left = ll_sub(b, ll_bini(b, LL_SDIV, total, granule), g.kb);
    g.last = ll_bin(b, LL_AND, ll_cmpi(b, LL_SGT, g.left, 0), ll_cmpi(b, LL_SLE, g.left, n));
    return g;
}

static void store_byte(cg *c, const cg_sub *u, const cg_run *r, ll_val kb, ll_val value,
                       ll_val when) {
    ll_val ok;
    cg_elem at = {.row = r->row, .col = r->col, .acc = u->acc};
    ll_val address = scale_address(c, u, &at, kb, &ok);
    cg_store_global(c, 8, address, value, ll_bin(c->b, LL_AND, ok, when));
}

// Four lanes share the row: each stores one byte of the scales, and one of the zeros behind.
static void store_quad(cg *c, const cg_sub *u, const cg_run *r, const ll_val *scales, int n) {
    ll *b = c->b;
    scale_group g = group_of(c, u, r, n);
    ll_val q = ll_bini(b, LL_AND, c->lane, 3), mine = scales[0];
    for (int i = 1; i < n; i++) {
        mine = ll_select(b, ll_cmpi(b, LL_EQ, q, i), scales[i], mine);
    }
    mine = ll_select(b, ll_cmp(b, LL_SLT, q, g.left), mine, ll_i32(b, 0));
    ll_val some = ll_cmpi(b, LL_SGT, g.left, 0);
    store_byte(c, u, r, ll_add(b, g.kb, q), mine,
               ll_bin(b, LL_AND, some, ll_cmpi(b, LL_ULT, q, n)));
    if (!is_word(c, u, n)) {
        store_byte(c, u, r, ll_add(b, ll_addi(b, g.kb, n), q), ll_i32(b, 0), g.last);
    }
}

// The scales that the tensor has, and 0 for those behind.
static void clip(cg *c, const scale_group *g, const ll_val *scales, int n, ll_val *out) {
    for (int i = 0; i < n; i++) {
        out[i] = ll_select(c->b, ll_cmpi(c->b, LL_SGT, g->left, i), scales[i], ll_i32(c->b, 0));
    }
}

// One lane holds the row.
static void store_row(cg *c, const cg_sub *u, const cg_run *r, const ll_val *scales, int n) {
    ll *b = c->b;
    scale_group g = group_of(c, u, r, n);
    ll_val clipped[TIR_ATOM_COLS];
    clip(c, &g, scales, n, clipped);
    if (is_word(c, u, n)) {
        ll_val ok;
        cg_elem at = {.row = r->row, .col = r->col, .acc = u->acc};
        ll_val address = scale_address(c, u, &at, g.kb, &ok);
        cg_store_global(c, 32, address, word_of(c, clipped, n), ok);
        return;
    }
    for (int i = 0; i < n; i++) {
        store_byte(c, u, r, ll_addi(b, g.kb, i), clipped[i], ll_cmpi(b, LL_SGT, g.left, 0));
    }
    for (int i = 0; i < TIR_ATOM_COLS - 1; i++) {
        store_byte(c, u, r, ll_addi(b, g.kb, n + i), ll_i32(b, 0), g.last);
    }
}

// --- Whole tiles through shared memory -----------------------------------------------------------

// A lane's word is that of its row only if the CTA's rows start with a tile of scales.
static bool check_staged(cg *c, const cg_sub *u, int n) {
    const tir_axis *row = &u->s->axes[u->s->n_axes - 2];
    int atom = TIR_ATOM_COLS * u->s->granule;
    if (n != TIR_ATOM_COLS || u->f.cols % atom || u->f.cols / atom > SF_MAX_ATOMS) {
        cg_fail(
            c,
            "'%s' is stored %d columns at a time; its scales are gathered in tiles of %d columns",
            u->p->name, u->f.cols, atom);
    } else if (row->loop != u->acc->row_loop || row->add % TIR_ATOM_ROWS ||
               u->acc->rows != TIR_ATOM_ROWS || c->k->loops[row->loop].tile % TIR_ATOM_ROWS) {
        cg_fail(c, "the rows of '%s' do not start at multiples of 128, as tiles of scales do",
                u->p->name);
    }
    return CG_OK(c);
}

void cg_scales(cg *c, cg_sub *u, const cg_run *r, const ll_val *scales, int n) {
    if (u->f.quad) {
        store_quad(c, u, r, scales, n);
    } else if (!cg_scales_staged(u)) {
        store_row(c, u, r, scales, n);
    } else if (check_staged(c, u, n)) {
        scale_group g = group_of(c, u, r, n);
        ll_val clipped[TIR_ATOM_COLS];
        clip(c, &g, scales, n, clipped);
        u->words[u->n_words++] = word_of(c, clipped, n);
    }
}

void cg_scales_meet(cg *c) {
    cg_role_meet(c, true);
}

// A row where a tile of scales begins; ragged rows begin anywhere, their scales with a tile.
static ll_val first_row(cg *c, const cg_sub *u) {
    return u->p->groups ? c->starts[u->acc->row_loop] : ll_i32(c->b, 0);
}

// Row r of a tile: 16 bytes for each r % 32, 4 of them for each r / 32. Staged scales are those of
// lanes that hold a row each.
void cg_scales_stage(cg *c, const cg_sub *u, ll_val buffer) {
    ll *b = c->b;
    ll_val row = ll_add(b, ll_sub(b, u->f.row, first_row(c, u)), c->lane);
    ll_val line = ll_muli(b, ll_bini(b, LL_AND, row, 31), SF_LINE);
    ll_val word = ll_muli(b, ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, row, 5), 3), TIR_ATOM_COLS);
    ll_val at = ll_addi(b, ll_add(b, buffer, ll_add(b, line, word)), u->s->scale_offset);
    for (int i = 0; i < u->n_words; i++) {
        ll_store(b, u->words[i], ll_addi(b, at, (int64_t)i * TIR_ATOM_BYTES), 4);
    }
}

void cg_scales_issue(cg *c, const cg_sub *u, ll_val buffer) {
    ll *b = c->b;
    ll_if first = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->role_warp, 0));
    for (int i = 0; i < u->n_words; i++) {
        ll_val in = ll_bini(b, LL_AND, ll_sub(b, u->f.row, first_row(c, u)), -TIR_ATOM_ROWS);
        cg_elem at = {.row = ll_add(b, first_row(c, u), in), .col = u->f.col, .acc = u->acc};
        ll_val axes[8], ok;
        cg_store_axes(c, u, &at, axes);
        ll_val kb = ll_bini(b, LL_SDIV, axes[u->s->n_axes - 1], u->s->granule);
        ll_val to = scale_address(c, u, &at, ll_addi(b, kb, (int64_t)i * TIR_ATOM_COLS), &ok);
        ll_val from = ll_addi(b, buffer, u->s->scale_offset + (int64_t)i * TIR_ATOM_BYTES);
        ll_if inside = ll_if_begin(b, ok);
        ll_val has_policy;
        ll_val policy = cg_policy(c, u->s->param, &has_policy);
        LL_INTR(b, "llvm.nvvm.cp.async.bulk.shared.cta.to.global", to, from, ll_i32(b, TIR_ATOM_BYTES), policy,
                has_policy);
        ll_if_end(b, inside);
    }
    ll_if_end(b, first);
}
