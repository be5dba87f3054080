// Products: which instruction, which operand is which side, how big the pieces of one CTA are.
//
// Requires: loops. Provides: k->cluster*, pair, accs (shape), mmas; operands' sides.
// Shapes: PTX ISA 9.0 "tcgen05.mma" table of valid shapes, "mma.sync" shapes.
#include "plan_int.h"

#include <stdlib.h>
#include <string.h>

enum { DECODE_GRANULE = 16 }; // elements of a row in half of an FP8 step, or in a 16-bit step

static bool is_fp8(elem_kind e) {
    return e == ELEM_E4M3 || e == ELEM_E5M2;
}

// The decoding that would multiply 4-bit weights by what is beside them.
static void suggest_decoding(planner *p, int operand) {
    const graph *g = p->g;
    elem_kind other = ELEM_NONE;
    for (int i = 0; i < g->n_mmas; i++) {
        int beside = g->mmas[i].left == operand ? g->mmas[i].right : g->mmas[i].left;
        bool mine = g->mmas[i].left == operand || g->mmas[i].right == operand;
        const ast_format *f = g->operands[beside].param->format;
        other = mine && f->scale == ELEM_NONE ? f->elem : other;
    }
    bool fp8 = is_fp8(other);
    bool fits = other == ELEM_F16 && g->operands[operand].param->format->scale == ELEM_UE4M3;
    if (fp8 || fits || other == ELEM_BF16) {
        const char *type = fp8 ? "e4m3" : elem_name(other);
        diag_fix(p->d, plan_fact_span(p, p->f->mma_span),
                 arena_printf(p->mem, "mma wgmma dequant %s;", type),
                 fp8 ? "decode it on the way, element times scale rounded to e4m3"
                     : "decode it on the way, exactly");
    }
}

static bool check_family(planner *p) {
    const facts *f = p->f;
    if (f->has_mma && strcmp(f->mma, p->arch->mma_fact) != 0) {
        PLAN_REFUSE(p, "A110", f->mma_span, "%s has no '%s' instructions", p->arch->name, f->mma);
        diag_fix(p->d, plan_fact_span(p, f->mma_span),
                 arena_printf(p->mem, "mma %s;", p->arch->mma_fact), "its matrix unit");
        return false;
    }
    bool cuts = false, packed = false;
    for (int i = 0; i < p->g->n_operands; i++) {
        elem_kind elem = p->g->operands[i].param->format->elem;
        cuts |= elem == ELEM_F32;
        packed |= elem == ELEM_E2M1;
    }
    if (f->tf32 && !cuts) {
        PLAN_REFUSE(p, "A110", f->mma_span,
                    "no operand is f32: there is nothing to multiply as TF32");
        diag_fix(p->d, plan_fact_span(p, f->mma_span), "mma wgmma;", "as the operands are");
        return false;
    }
    if (f->has_dequant && !packed) {
        PLAN_REFUSE(p, "A110", f->mma_span, "no operand is e2m1: there is nothing to decode");
        diag_fix(p->d, plan_fact_span(p, f->mma_span), "mma wgmma;", "as the operands are");
        return false;
    }
    for (int i = 0; i < p->g->n_operands && p->arch->family == MMA_WGMMA; i++) {
        const ast_format *op = p->g->operands[i].param->format;
        bool scaled = op->scale != ELEM_NONE && op->scale != ELEM_F32;
        bool decodes = f->has_dequant && op->elem == ELEM_E2M1 && scaled;
        if ((scaled || elem_bits(op->elem) < 8) && !decodes) {
            PLAN_REFUSE(p, "A110", f->has_mma ? f->mma_span : p->at,
                        "%s has no block-scaled MMA for %s; nothing is emulated unless asked",
                        p->arch->name, op->name);
            if (op->elem == ELEM_E2M1 && scaled && f->has_mma) {
                suggest_decoding(p, i);
            }
            return false;
        }
    }
    return true;
}

// --- Cluster -------------------------------------------------------------------------------------

static void plan_cluster(planner *p) {
    const facts *f = p->f;
    tir_kernel *k = p->k;
    k->cluster = 1;
    k->cluster_loop = -1;
    k->pair = f->pair;
    for (int i = 0; i < f->cluster_along.n; i++) {
        int size = f->cluster_size[f->n_cluster > 1 ? i : 0];
        int loop = -1;
        for (int j = 0; j < p->g->n_loops; j++) {
            if (strcmp(p->g->loops[j]->name, f->cluster_along.at[i].text) == 0) {
                loop = j;
            }
        }
        if (loop < 0) {
            PLAN_REFUSE(p, "F103", f->cluster_along.at[i].span,
                        "'%s' is not an index of the tile loop", f->cluster_along.at[i].text);
            return;
        }
        if (size == 1) {
            continue;
        }
        if (size != 2 || k->cluster != 1) {
            PLAN_REFUSE(p, "X101", f->cluster_span, "a cluster of %d CTAs has no lowering yet",
                        size * k->cluster);
            diag_help(p->d, "clusters of 2 along one index are possible");
            return;
        }
        k->cluster = size;
        k->cluster_loop = loop;
    }
    if (k->cluster > 1 && p->arch->family == MMA_SYNC) {
        PLAN_REFUSE(p, "A111", f->cluster_span,
                    "%s emulates multicast: a cluster only costs there", p->arch->name);
        diag_fix(p->d, plan_fact_span(p, f->cluster_span), "", "leave the fact out");
        return;
    }
    if (k->cluster > 1 && k->loops[k->cluster_loop].tile % 2 != 0) {
        PLAN_REFUSE(p, "A111", f->cluster_span, "a cluster tile of %d along '%s' does not halve",
                    k->loops[k->cluster_loop].tile, k->loops[k->cluster_loop].index);
    }
}

// --- Sides and shapes ----------------------------------------------------------------------------

static bool has_index(const ast_expr *slice, const ast_sym *index) {
    for (int i = 0; i < slice->n_args; i++) {
        if (slice->args[i]->sym == index) {
            return true;
        }
    }
    return false;
}

static bool is_swapped(const planner *p, const ast_sym *acc) {
    for (int i = 0; i < p->f->swap.n; i++) {
        if (strcmp(p->f->swap.at[i].text, acc->name) == 0) {
            return true;
        }
    }
    return false;
}

static void check_swap(planner *p) {
    for (int i = 0; i < p->f->swap.n; i++) {
        bool found = false;
        for (int j = 0; j < p->g->n_accs; j++) {
            found |= strcmp(p->f->swap.at[i].text, p->g->accs[j]->name) == 0;
        }
        if (!found) {
            PLAN_REFUSE(p, "F103", p->f->swap.at[i].span,
                        "kernel '%s' has no accumulator called '%s'", p->req->kernel->name,
                        p->f->swap.at[i].text);
        }
    }
}

// The loops of an accumulator's two axes: the first feeds the M side, unless it is swapped.
static bool acc_loops(planner *p, int acc, int *row, int *col) {
    const ast_stmt *s = p->g->acc_stmts[acc];
    bool swapped = is_swapped(p, p->g->accs[acc]);
    const ast_expr *zero = s->value;
    if (zero->n_args == 2) {
        *row = graph_loop_of(p->g, zero->args[swapped]->sym);
        *col = graph_loop_of(p->g, zero->args[!swapped]->sym);
    }
    if (zero->n_args != 2 || *row < 0 || *col < 0 || *row == *col) {
        PLAN_REFUSE(p, "X101", s->span,
                    "accumulator '%s' is not a matrix over two tile indices: no lowering yet",
                    p->g->accs[acc]->name);
        return false;
    }
    return true;
}

static int share_of(const planner *p, int loop) {
    int tile = p->k->loops[loop].tile;
    return p->k->cluster_loop == loop ? tile / p->k->cluster : tile;
}

// Where nothing is stated, 256 rows of tcgen05 are the two halves of a pair of CTAs.
static void derive_pair(planner *p) {
    tir_kernel *k = p->k;
    if (p->arch->family != MMA_TCGEN05 || p->f->has_cluster || p->f->has_mma ||
        p->f->split_by > 1) {
        return;
    }
    int rows = -1;
    for (int i = 0; i < p->g->n_accs; i++) {
        int row = -1;
        int col = -1;
        if (!acc_loops(p, i, &row, &col) || (i > 0 && row != rows)) {
            return;
        }
        rows = row;
    }
    if (rows >= 0 && k->loops[rows].tile == 256) {
        k->cluster = 2;
        k->cluster_loop = rows;
        k->pair = true;
    }
}

static void plan_acc_shape(planner *p, int acc) {
    tir_kernel *k = p->k;
    int row = -1;
    int col = -1;
    if (!acc_loops(p, acc, &row, &col)) {
        return;
    }
    tir_acc *a = &k->accs[acc];
    *a = (tir_acc){.name = p->g->accs[acc]->name,
                   .channel = -1,
                   .role = -1,
                   .rows = share_of(p, row),
                   .cols = share_of(p, col),
                   .row_loop = row,
                   .col_loop = col};
    a->row_rank_step = k->cluster_loop == row ? a->rows : 0;
    a->col_rank_step = k->cluster_loop == col ? a->cols : 0;
    ast_span at = p->g->acc_stmts[acc]->span;
    if (k->pair && (k->cluster != 2 || k->cluster_loop != row)) {
        PLAN_REFUSE(
            p, "F105", p->f->mma_span,
            "'tcgen05.pair' splits the M side over two CTAs, but no cluster of 2 runs along '%s'",
            k->loops[row].index);
        const char *fact = arena_printf(p->mem, "cluster 2 along %s;", k->loops[row].index);
        if (p->f->has_cluster) {
            diag_fix(p->d, plan_fact_span(p, p->f->cluster_span), fact, "pair along the M side");
        } else {
            ast_span before = p->f->mma_span;
            before.len = 0;
            diag_fix(p->d, before, arena_printf(p->mem, "%s ", fact), "pair along the M side");
        }
        return;
    }
    if (p->arch->family == MMA_TCGEN05) {
        if (a->rows != 128) {
            PLAN_REFUSE(p, "A111", at, "tcgen05 takes 128 rows a CTA here, tile '%s' gives %d",
                        k->loops[row].index, a->rows);
            plan_help_with(p, p->g->loops[row], 128 * (k->cluster_loop == row ? k->cluster : 1),
                           "the tile that fits the instruction");
        } else if (a->cols % 16 != 0 || a->cols > 256) {
            PLAN_REFUSE(p, "A111", at,
                        "the N side of tcgen05.mma is 16 to 256 in steps of 16, tile '%s' gives %d",
                        k->loops[col].index, a->cols);
            plan_help_with(p, p->g->loops[col], a->cols > 256 ? 256 : round_up(a->cols, 32),
                           "the nearest that is possible");
        }
    } else if (p->arch->family == MMA_WGMMA) {
        // PTX ISA "wgmma.mma_async": m64nNk*, N 8 to 256 in steps of 8; columns
        // leave in pairs of 8.
        if (a->rows % 64 != 0 || a->rows > 256) {
            PLAN_REFUSE(p, "A111", at,
                        "a warpgroup multiplies 64 rows at once, tile '%s' gives %d a CTA",
                        k->loops[row].index, a->rows);
            plan_help_with(p, p->g->loops[row],
                           (a->rows > 256 ? 256 : round_up(a->rows, 64)) *
                               (k->cluster_loop == row ? k->cluster : 1),
                           "whole instructions");
        } else if (a->cols % 16 != 0 || a->cols > 256) {
            PLAN_REFUSE(p, "A111", at,
                        "the N side of wgmma is 16 to 256 in steps of 16, tile '%s' gives %d",
                        k->loops[col].index, a->cols);
            plan_help_with(p, p->g->loops[col], a->cols > 256 ? 256 : round_up(a->cols, 32),
                           "the nearest that is possible");
        }
    } else if (a->rows % 16 != 0 || a->cols % 16 != 0 || a->rows > 256 || a->cols > 256) {
        PLAN_REFUSE(p, "A111", at,
                    "mma.sync tiles are multiples of 16 up to 256, '%s' and '%s' give %d x %d",
                    k->loops[row].index, k->loops[col].index, a->rows, a->cols);
    }
}

// A step along k that is a line in shared memory, or several ('bits' an element there,
// 'packed' in memory).
static bool check_k(planner *p, const graph_mma *m, const mma_info *info, int bits, int packed,
                    int k_elems) {
    int bytes = k_elems * bits / 8;
    const ast_sym *index = m->k;
    if (k_elems % info->k != 0 || (bytes > 128 ? bytes % 128 != 0 : (bytes & (bytes - 1)) != 0)) {
        PLAN_REFUSE(p, "A111", index->span,
                    "a step of %d along '%s' is %d bytes: it must be 32, 64 or a multiple of 128, "
                    "in whole instructions of %d elements",
                    k_elems, index->name, bytes, info->k);
        plan_help_with(p, index, 128 * 8 / bits, "one 128-byte row a step");
        return false;
    }
    // PTX ISA "cp.async.bulk.tensor": boxes of .b4x16_p64 and .b6x16_p32 have 128 elements.
    if (bits > packed && k_elems % TIR_PAD_ELEMS != 0) {
        PLAN_REFUSE(
            p, "A111", index->span,
            "a step of %d along '%s': %d-bit elements that are padded to bytes come %d at once",
            k_elems, index->name, packed, TIR_PAD_ELEMS);
        plan_help_with(p, index, round_up(k_elems, TIR_PAD_ELEMS), "whole boxes a step");
        return false;
    }
    return true;
}

// Scales come as whole 128x4 tiles; a step is some of them, or one of several that share one.
static bool check_scales(planner *p, const graph_mma *m, const tir_param *t, int k_elems) {
    int span = t->granule * TIR_ATOM_COLS;
    if (tir_scale_words(k_elems, t->granule) == 0) {
        PLAN_REFUSE(p, "A111", m->k->span,
                    "a step of %d along '%s' cuts a 128x4 scale tile of '%s', which spans %d "
                    "elements, in other than equal parts of whole scales",
                    k_elems, m->k->name, t->name, span);
        plan_help_with(p, m->k, round_up(k_elems, span), "whole scale tiles a step");
        return false;
    }
    return true;
}

// Why an operand whose last axis is not k cannot be read; NULL if it can. PTX ISA: "tcgen05
// instruction descriptor" (transpose A, B: 8 bits and more), "wgmma.mma_async" (imm-trans: 16
// bits), "ldmatrix" (.trans: b16, m16n16.b8).
static const char *rows_last_wrong(const planner *p, const ast_format *f) {
    if (f->scale != ELEM_NONE) {
        return "its scales are shared along its last axis, which must be the one that is summed "
               "over";
    }
    if (elem_bits(f->elem) < 8) {
        return "elements of less than 8 bits are read along the summed axis only";
    }
    if (elem_bits(f->elem) != 16 && p->arch->family == MMA_WGMMA) {
        return "wgmma transposes 16-bit types only, others are read along the summed axis";
    }
    return NULL;
}

// Which of an operand's axes is contiguous: k, or that of its rows.
static bool set_major(planner *p, const graph_operand *go, plan_operand *o, const ast_sym *k) {
    const ast_sym *last = go->expr->args[go->expr->n_args - 1]->sym;
    o->mn_major = last != k;
    if (!o->mn_major) {
        return true;
    }
    const char *rows = p->k->loops[o->row_loop].index;
    const char *wrong = graph_loop_of(p->g, last) != o->row_loop
                            ? "tiles are read along the tensor's last axis"
                            : rows_last_wrong(p, go->param->format);
    if (wrong != NULL) {
        bool either =
            go->param->format->scale == ELEM_NONE && rows_last_wrong(p, go->param->format) == NULL;
        PLAN_REFUSE(p, "A111", go->expr->span,
                    "'%s' is not K-major: '%s'%s%s%s must be its last axis for %s operands",
                    go->param->name, k->name, either ? " or '" : "", either ? rows : "",
                    either ? "'" : "", go->param->format->name);
        diag_because(p->d, "%s", wrong);
        diag_help(p->d, "transpose '%s' beforehand", go->param->name);
        return false;
    }
    int bytes =
        o->tile_rows * o->container / 8 / (p->k->cluster_loop == o->row_loop ? p->k->cluster : 1);
    bytes /= p->k->pair && !o->is_m_side ? 2 : 1;
    if (bytes % 32 != 0 || o->k_elems > 256) {
        PLAN_REFUSE(p, "A111", go->expr->span,
                    "'%s' comes as %d lines along '%s' of %d bytes along '%s': up to 256 lines of "
                    "whole 32 bytes can be read",
                    go->param->name, o->k_elems, k->name, bytes, rows);
        int shares = bytes > 0 ? o->tile_rows * o->container / 8 / bytes : 1;
        if (bytes % 32 != 0) {
            plan_help_with(p, p->g->loops[o->row_loop],
                           round_up(bytes, 32) * 8 / o->container * shares, "whole lines");
        } else {
            plan_help_with(p, k, 256, "256 lines");
        }
        return false;
    }
    return true;
}

static bool set_side(planner *p, int operand, bool m_side, const tir_mma *m, const graph_mma *gm) {
    const ast_sym *k = gm->k;
    plan_operand *o = &p->operands[operand];
    const graph_operand *go = &p->g->operands[operand];
    const tir_acc *acc = &p->k->accs[m->acc];
    int bits = elem_bits(go->param->format->elem);
    int container = m->decode && m_side ? bits : mma_container(&mma_kinds[m->kind]);
    if (o->k_elems != 0 && (o->is_m_side != m_side || o->k_elems != m->k_elems)) {
        PLAN_REFUSE(p, "X101", go->expr->span, "'%s' feeds both sides of products: no lowering yet",
                    go->param->name);
        return false;
    }
    if (tir_laid(&p->k->params[go->param->id]) != LAYOUT_LINEAR) {
        PLAN_REFUSE(p, "A111", go->expr->span,
                    "'%s' lies as %s: operands of products are read row by row", go->param->name,
                    go->param->format->layout);
        return false;
    }
    if (o->k_elems != 0 && o->container != container) {
        PLAN_REFUSE(
            p, "X101", go->expr->span,
            "'%s' is read packed by one product and padded to bytes by another: no lowering yet",
            go->param->name);
        return false;
    }
    o->scaled = go->param->format->scale != ELEM_NONE && m->promote == 0;
    o->is_m_side = m_side;
    o->k_elems = m->k_elems;
    o->k_loop = p->k->n_loops + graph_for_of(p->g, k);
    o->container = container;
    o->row_loop = m_side ? acc->row_loop : acc->col_loop;
    if (o->scaled && !check_scales(p, gm, &p->k->params[go->param->id], m->k_elems)) {
        return false;
    }
    o->tile_rows = p->k->loops[o->row_loop].tile;
    if (!set_major(p, go, o, k)) {
        return false;
    }
    if (o->scaled && p->arch->family == MMA_TCGEN05 && o->tile_rows % 32 != 0) {
        PLAN_REFUSE(
            p, "A111", go->expr->span,
            "scale factors reach TMEM in groups of 32 rows: tile '%s' of %d would start inside one",
            p->k->loops[o->row_loop].index, o->tile_rows);
        plan_help_with(p, p->g->loops[o->row_loop], round_up(o->tile_rows, 32), "whole groups");
        if (!m_side && p->f->fit_by == 0 && !p->k->pair) {
            diag_because(p->d,
                         "tcgen05.cp fills all 32 lanes of a column; 'fit %s by 16' multiplies "
                         "only the rows that are there of a group",
                         p->k->loops[o->row_loop].index);
        }
        return false;
    }
    return true;
}

static void place_mma(planner *p, const graph_mma *gm, const tir_mma *m) {
    const mma_info *info = &mma_kinds[m->kind];
    int packed_a = elem_bits(p->g->operands[m->a].param->format->elem);
    int packed_b = elem_bits(p->g->operands[m->b].param->format->elem);
    int bits = mma_container(info);
    if (check_k(p, gm, info, m->decode ? packed_a : bits, packed_a, m->k_elems) &&
        (packed_a == packed_b || check_k(p, gm, info, bits, packed_b, m->k_elems)) &&
        set_side(p, m->a, true, m, gm)) {
        set_side(p, m->b, false, m, gm);
    }
}

// The type that weights are decoded to, as stated; ELEM_NONE and a diagnostic if the other operand
// is not multiplied by it.
static elem_kind decoded_type(planner *p, const ast_format *weights, const ast_format *other) {
    static const elem_kind types[] = {ELEM_BF16, ELEM_F16, ELEM_E4M3};
    const fact_name *stated = &p->f->dequant;
    elem_kind to = ELEM_NONE;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        to = strcmp(stated->text, elem_name(types[i])) == 0 ? types[i] : to;
    }
    bool fp8 = is_fp8(other->elem);
    if (to == ELEM_NONE || other->scale != ELEM_NONE ||
        !(to == ELEM_E4M3 ? fp8 : other->elem == to)) {
        PLAN_REFUSE(p, "A110", stated->span, "'%s' is multiplied by %s, which %s cannot be",
                    weights->name, other->name, stated->text);
        diag_because(
            p->d,
            "wgmma multiplies 16-bit types by their own kind and FP8 by FP8: dequant bf16 with "
            "bf16, dequant f16 with f16 (both exact), dequant e4m3 with e4m3 or e5m2 (rounded)");
        if (fp8 && other->scale == ELEM_NONE) {
            diag_because(p->d,
                         "'%s' reaches the instruction from shared memory as it is: no exact form "
                         "multiplies FP8 there",
                         other->name);
            diag_fix(p->d, stated->span, "e4m3", "element times scale rounded to e4m3");
        }
        return ELEM_NONE;
    }
    if (to == ELEM_F16 && weights->scale != ELEM_UE4M3) {
        PLAN_REFUSE(p, "A110", stated->span, "scales of %s do not fit f16", weights->name);
        diag_because(p->d, "a ue8m0 scale is 2^-127 to 2^127; bf16 has that range");
        return ELEM_NONE;
    }
    return to;
}

// The type that an instruction sees of a format's elements.
static elem_kind multiplied(const planner *p, const ast_format *f) {
    return p->f->tf32 && f->elem == ELEM_F32 && f->scale == ELEM_NONE ? ELEM_TF32 : f->elem;
}

// 4-bit weights are decoded in registers, which hold the M side of wgmma only.
static void plan_decoded(planner *p, int number, bool left_rows) {
    const graph *g = p->g;
    const graph_mma *gm = &g->mmas[number];
    int rows = left_rows ? gm->left : gm->right;
    int cols = left_rows ? gm->right : gm->left;
    const ast_format *weights = g->operands[rows].param->format;
    const ast_format *other = g->operands[cols].param->format;
    int acc = graph_acc_of(g, gm->acc);
    if (weights->elem != ELEM_E2M1 || other->elem == ELEM_E2M1) {
        PLAN_REFUSE(p, "A110", gm->stmt->span,
                    "'%s' is decoded in registers: it must be the M side of '%s'",
                    g->operands[cols].param->name, g->accs[acc]->name);
        diag_help(p->d, "swap %s;", g->accs[acc]->name);
        return;
    }
    elem_kind to = decoded_type(p, weights, other);
    if (to == ELEM_NONE) {
        return;
    }
    int granule = (int)weights->granule[weights->n_granule - 1];
    tir_mma *m = &p->k->mmas[number];
    *m = (tir_mma){.acc = acc,
                   .kind = mma_find(to, other->elem, ELEM_NONE, 0, p->arch->family),
                   .a = rows,
                   .b = cols,
                   .k_elems = g->steps[graph_for_of(g, gm->k)],
                   .inst_m = p->k->accs[acc].rows,
                   .inst_n = p->k->accs[acc].cols,
                   .decode = true,
                   .loop = graph_for_of(g, gm->k)};
    if (granule % DECODE_GRANULE != 0) {
        PLAN_REFUSE(p, "A110", gm->stmt->span,
                    "scales of '%s' by %d elements: registers hold pieces of %d", weights->name,
                    granule, DECODE_GRANULE);
        return;
    }
    if (m->k_elems % (granule * TIR_ATOM_COLS) != 0) {
        PLAN_REFUSE(p, "A111", gm->k->span,
                    "a step of %d along '%s' cuts a 128x4 scale tile, which spans %d", m->k_elems,
                    gm->k->name, granule * TIR_ATOM_COLS);
        plan_help_with(p, gm->k, round_up(m->k_elems, granule * TIR_ATOM_COLS),
                       "whole scale tiles a step");
        return;
    }
    place_mma(p, gm, m);
}

// Sums over folded weights stand in their registers times a power of two: all products of one
// accumulator must agree on it.
static void plan_exponents(planner *p) {
    for (int i = 0; i < p->g->n_mmas; i++) {
        const tir_mma *m = &p->k->mmas[i];
        elem_kind scale = p->g->operands[m->a].param->format->scale;
        int exponent = mma_folds(m->kind, m->decode) ? mma_fold(scale) : 0;
        tir_acc *a = &p->k->accs[m->acc];
        bool first = true;
        for (int j = 0; j < i; j++) {
            first &= p->k->mmas[j].acc != m->acc;
        }
        if (!first && exponent != a->exponent) {
            PLAN_REFUSE(p, "X101", p->g->mmas[i].stmt->span,
                        "'%s' holds sums times 2^%d, this product gives them times 2^%d", a->name,
                        -a->exponent, -exponent);
            diag_help(p->d, "an accumulator each, added when they are stored");
            return;
        }
        a->exponent = exponent;
    }
}

// The instruction for two operands that agree in the type of their scales: that of the
// granule that they share, or the one of the least granule, which takes both. 'wide': the
// scales are no instruction's.
static int find_kind(const planner *p, const ast_format *fa, const ast_format *fb, bool wide) {
    elem_kind a = multiplied(p, fa), b = multiplied(p, fb);
    int family = p->arch->family;
    if (wide || fa->scale == ELEM_NONE) {
        return mma_find(a, b, ELEM_NONE, 0, family);
    }
    int ga = (int)fa->granule[fa->n_granule - 1], gb = (int)fb->granule[fb->n_granule - 1];
    int kind = ga == gb ? mma_find(a, b, fa->scale, ga, family) : -1;
    int least = mma_find(a, b, fa->scale, MMA_MX_GRANULE, family);
    return kind >= 0 || least < 0 || !mma_takes(&mma_kinds[least], ga) ||
                   !mma_takes(&mma_kinds[least], gb)
               ? kind
               : least;
}

static void plan_mma(planner *p, int number) {
    const graph *g = p->g;
    const graph_mma *gm = &g->mmas[number];
    const ast_format *l = g->operands[gm->left].param->format;
    const ast_format *r = g->operands[gm->right].param->format;
    int granule = l->scale != ELEM_NONE ? (int)l->granule[l->n_granule - 1] : 0;
    int r_granule = r->scale != ELEM_NONE ? (int)r->granule[r->n_granule - 1] : 0;
    int acc = graph_acc_of(g, gm->acc);
    const tir_acc *a = &p->k->accs[acc];
    bool left_rows = has_index(g->operands[gm->left].expr, g->loops[a->row_loop]);
    bool right_cols = has_index(g->operands[left_rows ? gm->right : gm->left].expr,
                                g->loops[a->col_loop]);
    if (!right_cols ||
        (!left_rows && !has_index(g->operands[gm->right].expr, g->loops[a->row_loop]))) {
        PLAN_REFUSE(p, "X101", gm->stmt->span,
                    "one factor must walk '%s' and the other '%s' for a matrix product",
                    p->k->loops[a->row_loop].index, p->k->loops[a->col_loop].index);
        return;
    }
    const ast_format *fa = left_rows ? l : r;
    const ast_format *fb = left_rows ? r : l;
    if (p->f->has_dequant && (fa->elem == ELEM_E2M1 || fb->elem == ELEM_E2M1)) {
        plan_decoded(p, number, left_rows);
        return;
    }
    // f32 scales are no instruction's: sums of one granule of k are scaled and added outside of it.
    bool wide = l->scale == ELEM_F32 && p->arch->family == MMA_WGMMA && elem_bits(l->elem) == 8;
    int kind =
        l->scale != r->scale || (wide && granule != r_granule) ? -1 : find_kind(p, fa, fb, wide);
    if (kind < 0) {
        PLAN_REFUSE(p, "A110", gm->stmt->span, "no instruction in use on %s multiplies %s by %s",
                    p->arch->name, l->name, r->name);
        diag_because(p->d, "both operands need the same scale type and granule (of FP8, multiples "
                           "of 32), and a pair of element types that one instruction takes");
        if (l->elem == ELEM_F32 && r->elem == ELEM_F32 && p->f->has_mma &&
            p->arch->family == MMA_WGMMA) {
            diag_fix(p->d, plan_fact_span(p, p->f->mma_span), "mma wgmma tf32;",
                     "without their 13 low bits");
        } else if (l->elem == ELEM_F32 && r->elem == ELEM_F32) {
            diag_help(p->d, "pass both as bf16, or compile for sm_90a with 'mma wgmma tf32'");
        } else if (l->scale == ELEM_F32 && p->arch->family != MMA_WGMMA) {
            diag_help(p->d,
                      "f32 scales of FP8 are sm_90a's; here powers of two: format %s = %s * ue8m0 "
                      "per [1, %d] @ sf128x4;",
                      l->name, elem_name(l->elem), granule);
        }
        return;
    }
    tir_mma *m = &p->k->mmas[number];
    *m = (tir_mma){.acc = acc,
                   .kind = kind,
                   .a = left_rows ? gm->left : gm->right,
                   .b = left_rows ? gm->right : gm->left,
                   .k_elems = g->steps[graph_for_of(g, gm->k)],
                   .inst_m = a->rows * (p->k->pair ? 2 : 1),
                   .inst_n = a->cols,
                   .promote = wide ? granule : 0,
                   .loop = graph_for_of(g, gm->k)};
    if (wide && (granule % mma_kinds[kind].k != 0 || m->k_elems % granule != 0)) {
        PLAN_REFUSE(p, "A111", gm->k->span,
                    "a step of %d along '%s' is no whole number of granules of %d", m->k_elems,
                    gm->k->name, granule);
        if (granule % mma_kinds[kind].k != 0) {
            diag_help(p->d, "an instruction sums %d elements, which share a scale: per [1, %d], or a "
                            "vector of scales, multiplied where the sum is stored",
                      mma_kinds[kind].k, round_up(granule, 128));
            return;
        }
        plan_help_with(p, gm->k, round_up(m->k_elems, granule), "whole granules a step");
        return;
    }
    place_mma(p, gm, m);
}

static bool is_added_to(const graph *g, const ast_sym *acc) {
    for (int i = 0; i < g->n_mmas; i++) {
        if (g->mmas[i].acc == acc) {
            return true;
        }
    }
    return false;
}

// PTX ISA "tcgen05 matrix shape": N in steps of 16; of a pair whose N side has 8-bit elements that
// lie along the columns, of 32.
static int fit_step(const planner *p, const tir_mma *m) {
    const plan_operand *b = &p->operands[m->b];
    return p->k->pair && b->mn_major && elem_bits(p->g->operands[m->b].param->format->elem) == 8
               ? 32
               : 16;
}

// 'fit t by 16': the N side of an instruction is a number in its descriptor (PTX ISA "tcgen05
// instruction descriptor"), so that a tile of few rows is multiplied in the time of these. Each CTA
// of a pair brings half of the columns that are there.
static void plan_fit(planner *p) {
    const facts *f = p->f;
    int fitted = 0;
    if (f->fit_by == 0) {
        return;
    }
    if (p->arch->family != MMA_TCGEN05) {
        PLAN_REFUSE(
            p, "X101", f->fit_span,
            "'fit' has no lowering on %s: the size of an instruction is part of its name there",
            p->arch->name);
        return;
    }
    for (int i = 0; i < p->k->n_mmas; i++) {
        tir_mma *m = &p->k->mmas[i];
        const tir_acc *a = &p->k->accs[m->acc];
        if (strcmp(p->k->loops[a->col_loop].index, f->fit.text) != 0) {
            continue;
        }
        int step = fit_step(p, m);
        if (f->fit_by % step != 0 || a->cols % f->fit_by != 0) {
            PLAN_REFUSE(
                p, "A111", f->fit_span,
                "%d columns of '%s' in steps of %d: an instruction has a multiple of %d columns",
                a->cols, a->name, f->fit_by, step);
            if (a->cols % step == 0) {
                diag_help(p->d, "fit %s by %d;", f->fit.text, step);
            }
            return;
        }
        m->fit = f->fit_by;
        fitted++;
    }
    if (fitted == 0) {
        PLAN_REFUSE(p, "F103", f->fit.span, "'%s' is the N side of no product", f->fit.text);
        diag_help(p->d, "with 'swap' the other side is");
    }
}

void plan_products(planner *p) {
    const graph *g = p->g;
    if (!check_family(p)) {
        return;
    }
    check_swap(p);
    plan_cluster(p);
    derive_pair(p);
    p->k->accs = ARENA_ARRAY(p->mem, tir_acc, g->n_accs + 1);
    p->k->mmas = ARENA_ARRAY(p->mem, tir_mma, g->n_mmas + 1);
    for (int i = 0; i < g->n_accs && p->ok; i++) {
        plan_acc_shape(p, i);
    }
    p->k->n_accs = g->n_accs;
    for (int i = 0; i < g->n_mmas && p->ok; i++) {
        plan_mma(p, i);
    }
    p->k->n_mmas = g->n_mmas;
    if (p->ok) {
        plan_fit(p);
    }
    if (p->ok) {
        plan_exponents(p);
    }
    for (int i = 0; i < g->n_accs && p->ok; i++) {
        if (!is_added_to(g, g->accs[i])) {
            PLAN_REFUSE(p, "X101", g->acc_stmts[i]->span,
                        "nothing is ever added to accumulator '%s'", g->accs[i]->name);
        }
    }
}
