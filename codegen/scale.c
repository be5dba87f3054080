// Which scales of a 128x4 tile a step of k uses: in, where it begins; out, numbers of scales. Both families that
// multiply with scales read them from such tiles (tcgen05 and mma.sync).
#include "cg_int.h"

ll_val cg_first_scale(cg *c, const tir_mma *m, const tir_operand *o, ll_val k) {
    int granule = c->k->params[o->param].granule;
    if (m->k_elems % (TIR_ATOM_COLS * granule) == 0) {
        return NULL;
    }
    return ll_bini(c->b, LL_AND, ll_bini(c->b, LL_UDIV, k, granule), TIR_ATOM_COLS - 1);
}

int cg_scale_number(const cg *c, const mma_info *info, const tir_operand *o, int step) {
    return step * info->sf_bytes / (c->k->params[o->param].granule / info->granule);
}
