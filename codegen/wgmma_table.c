// Tables of 4-bit weights that are decoded to e4m3 (mma.h, mma_fold): for each code of the scale's
// type the magnitudes that the eight magnitudes of e2m1 become, element times scale times 2^-fold
// rounded as mach.h says, with the sign bit set (wgmma_decode.c takes it off). A warp reads entries
// of eight rows at once; the copy of row g lies g entries into the code's line, so that no two rows
// meet in a bank whatever their codes.
//
// The warps that read them fill them, before their first tile: copies are under way meanwhile.
#include "wgmma_int.h"

#include <math.h>

enum { MAGNITUDES = 8, STORE_WORDS = 4, ENTRY_WORDS = MMA_TABLE_ENTRY / 4 };

// PTX ISA "Packing formats": values of e2m1 without sign.
static const double e2m1[MAGNITUDES] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

// The entry of a code, and all its copies.
static void fill_line(cg *c, elem_kind scale, ll_val code, ll_val address) {
    ll *b = c->b;
    ll_val value = cg_unpack(c, scale, code), words[STORE_WORDS];
    for (int w = 0; w < STORE_WORDS; w++) {
        ll_val four[4];
        for (int i = 0; i < 4 && w < ENTRY_WORDS; i++) {
            ll_val magnitude = ll_f32(b, ldexp(e2m1[4 * w + i], -mma_fold(scale)));
            four[i] = cg_math2(c, "mul.rn.f32", value, magnitude); // exact
        }
        words[w] = w < ENTRY_WORDS ? ll_bini(b, LL_OR, cg_pack(c, ELEM_E4M3, 4, four), 0x80808080)
                                   : words[w - ENTRY_WORDS];
    }
    for (int i = 0; i < MMA_TABLE_ENTRY * MMA_TABLE_COPIES; i += 4 * STORE_WORDS) {
        ll_store_words(b, ll_addi(b, address, i), STORE_WORDS, words);
    }
}

// Thread t of the role fills the lines of codes t, t + threads, ...
static void fill_table(cg *c, elem_kind scale, int offset) {
    ll *b = c->b;
    ll_var at = ll_variable(b, LL_I32, "code");
    ll_set(b, at, ll_addi(b, c->tid, -ARCH_LANES * c->role->first_warp));
    ll_loop l = ll_loop_begin(b, "table");
    ll_val code = ll_get(b, at);
    ll_loop_while(b, &l, ll_cmpi(b, LL_ULT, code, mma_table_codes(scale)));
    ll_val line = ll_muli(b, code, MMA_TABLE_ENTRY * MMA_TABLE_COPIES);
    fill_line(c, scale, code, ll_add(b, cg_smem_at(c, offset), line));
    ll_set(b, at, ll_addi(b, code, ARCH_LANES * c->role->n_warps));
    ll_loop_end(b, l);
}

void cg_wgmma_tables(cg *c) {
    const tir_kernel *k = c->k;
    int filled = 0, table = 0;
    for (int i = 0; i < k->n_mmas; i++) {
        const tir_mma *m = &k->mmas[i];
        bool first = m->table > 0 && cg_is_mine(c, m->acc);
        for (int j = 0; j < i; j++) {
            first &= k->mmas[j].table != m->table; // a role's tables are its own
        }
        if (first) {
            fill_table(c, k->params[k->operands[m->a].param].scale, m->table);
            filled++;
            table = m->table;
        }
    }
    if (filled > 0) {
        cg_role_meet(c, false);
        // The entry of code 0, which is zeros with sign bits. As a constant ptxas would move it to
        // a register for each of its uses.
        ll_val zeros;
        ll_load_words(c->b, cg_smem_at(c, table), 1, &zeros);
        c->halves = ll_bini(c->b, LL_LSHR, zeros, 1);
    }
}
