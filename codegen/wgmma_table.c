// Tables of 4-bit weights that are decoded to e4m3 (mma.h, mma_fold): for each code of the scale's type the
// magnitudes that the eight magnitudes of e2m1 become, element times scale times 2^-fold rounded as mach.h
// says, with the sign bit set (wgmma_decode.c takes it off). A warp reads entries of eight rows at once; the
// copy of row g lies g entries into the code's line, so that no two rows meet in a bank whatever their codes.
//
// All threads fill them before the kernel's first barrier.
#include "wgmma_int.h"

#include <math.h>

enum { MAGNITUDES = 8, BF16_FRACTION = 7 };

// PTX ISA "Packing formats": values of e2m1 without sign.
static const double e2m1[MAGNITUDES] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

static void fill_entry(cg *c, elem_kind scale, ll_val code, ll_val address) {
    ll *b = c->b;
    ll_val value = cg_unpack(c, scale, code), words[MMA_TABLE_ENTRY / 4];
    for (int w = 0; w < MMA_TABLE_ENTRY / 4; w++) {
        ll_val four[4];
        for (int i = 0; i < 4; i++) {
            ll_val magnitude = ll_f32(b, ldexp(e2m1[4 * w + i], -mma_fold(scale)));
            four[i] = cg_math(c, "mul.rn.f32", 2, (ll_val[]){value, magnitude}); // exact
        }
        words[w] = ll_bini(b, LL_OR, cg_pack(c, ELEM_E4M3, 4, four), 0x80808080);
    }
    ll_store_words(b, address, MMA_TABLE_ENTRY / 4, words);
}

// Thread t fills entries t, t + threads, ... of the table.
static void fill_table(cg *c, elem_kind scale, int offset) {
    ll *b = c->b;
    ll_var at = ll_variable(b, LL_I32, "entry");
    ll_set(b, at, c->tid);
    ll_loop l = ll_loop_begin(b, "table");
    ll_val i = ll_get(b, at);
    ll_loop_while(b, &l, ll_cmpi(b, LL_ULT, i, (int64_t)mma_table_codes(scale) * MMA_TABLE_COPIES));
    ll_val address = ll_add(b, cg_smem_at(c, offset), ll_muli(b, i, MMA_TABLE_ENTRY));
    fill_entry(c, scale, ll_bini(b, LL_UDIV, i, MMA_TABLE_COPIES), address);
    ll_set(b, at, ll_addi(b, i, c->k->threads));
    ll_loop_end(b, l);
}

void cg_wgmma_tables(cg *c) {
    const tir_kernel *k = c->k;
    for (int i = 0; i < k->n_mmas; i++) {
        bool first = k->mmas[i].table > 0;
        for (int j = 0; j < i; j++) {
            first &= k->mmas[j].table != k->mmas[i].table;
        }
        if (first) {
            fill_table(c, k->params[k->operands[k->mmas[i].a].param].scale, k->mmas[i].table);
        }
    }
}
