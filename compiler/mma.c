// The table of matrix instructions, and the search in it.
#include "mma.h"

const mma_info mma_kinds[MMA_KINDS] = {
#define FP4_MMA(id, fam, a, b, s, g, k, sfb, ta, tb)                                               \
    [MMA_##id] = {#id, fam, ELEM_##a, ELEM_##b, ELEM_##s, g, k, sfb, ta, tb},
#include "mma.def"
#undef FP4_MMA
};

int mma_find(elem_kind a, elem_kind b, elem_kind scale, int granule, int family) {
    for (int i = 0; i < MMA_KINDS; i++) {
        const mma_info *kind = &mma_kinds[i];
        if (kind->a == a && kind->b == b && kind->scale == scale && kind->granule == granule &&
            (kind->families & family) != 0) {
            return i;
        }
    }
    return -1;
}

bool mma_takes(const mma_info *kind, int granule) {
    return granule == kind->granule ||
           (kind->sf_bytes == 1 && granule > 0 && granule % kind->granule == 0);
}

int mma_fold(elem_kind scale) {
    return scale == ELEM_UE4M3 ? MMA_FOLD_UE4M3 : MMA_FOLD_UE8M0;
}

bool mma_folds(int kind, bool decode) {
    return decode && mma_kinds[kind].a == ELEM_E4M3;
}

int mma_table_codes(elem_kind scale) {
    return scale == ELEM_UE4M3 ? 128 : 256; // the top bit of ue4m3 means nothing
}

int mma_table_bytes(elem_kind scale) {
    return mma_table_codes(scale) * MMA_TABLE_ENTRY * MMA_TABLE_COPIES;
}
