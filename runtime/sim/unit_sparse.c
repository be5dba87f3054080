// A sparse A (PTX ISA "Sparse matrix storage" of mma.sp, wgmma.mma_async.sp and tcgen05.mma.sp): two of every four
// units of K are kept, a row of 32 bytes meets 32 of the 64 bytes of a row of B. A unit is a byte (for packed e2m1 a
// pair), of 16-bit types two bytes; tf32 keeps one of two elements, whose two units have an index each.
//
// The product of a kept element with the element of B that its index names is all there is: what A leaves out enters
// no sum, as if it did not exist, so each row of A is a dense product with its own choice of B.
#include "unit_operand.h"

// Lanes 4g.. have the metadata of rows g and g + 8. Bytes: lane 4g + 2h + r that of half h of K and of row g + 8r; of
// the short form K is one half and h the selector. Two bytes: lane 4g + 2 * selector + h half h of K, row g in the low
// half of the word; of the short form the selector names the lane.
uint64_t unit_sparse_indices(const struct unit_sparse_form *f, const uint32_t *meta, int row) {
    const uint32_t *group = meta + 4 * (row % 8);
    int high = row / 8;
    if (f->unit == 1) {
        return f->bytes == 32 ? group[high] | (uint64_t)group[2 + high] << 32
                              : group[2 * f->selector + high];
    }
    int lane = f->bytes == 32 ? 2 * f->selector : f->selector;
    uint32_t next = f->bytes == 32 ? group[lane + 1] : 0;
    return (group[lane] >> 16 * high & 0xFFFF) | (next >> 16 * high & 0xFFFF) << 16;
}

void unit_sparse_choose(uint64_t indices, int unit, const uint8_t wide[64], uint8_t out[32]) {
    for (int u = 0; u < 32 / unit; u++) {
        int at = 4 * (u / 2) + (int)(indices >> 2 * u & 3);
        memcpy(out + u * unit, wide + at * unit, (size_t)unit);
    }
}

// One row of A against N choices of B: for the arithmetic, which is symmetric, N rows against one, which is faster.
static void run_row(const struct num_mm *mm, int m, const uint8_t (*chosen)[32], uint32_t *d, size_t ldd) {
    uint32_t row[NUM_MM_MAX_N];
    struct num_mm t = *mm;
    t.dot.a = mm->dot.b;
    t.dot.b = mm->dot.a;
    t.m = mm->n;
    t.n = 1;
    t.a = chosen;
    t.b = mm->a + m;
    t.sa = mm->sb;
    t.sb = mm->sa + m;
    for (int n = 0; n < mm->n; n++) {
        row[n] = d[(size_t)n * ldd + (size_t)m];
    }
    num_mm_run(&t, row, (size_t)mm->n);
    for (int n = 0; n < mm->n; n++) {
        d[(size_t)n * ldd + (size_t)m] = row[n];
    }
}

void unit_sparse_run(const struct num_mm *mm, const struct unit_sparse *s, uint32_t *d, size_t ldd) {
    uint8_t chosen[NUM_MM_MAX_N][32];
    for (int m = 0; m < mm->m; m++) {
        for (int n = 0; n < mm->n; n++) {
            unit_sparse_choose(s->indices[m], s->unit, s->b[n], chosen[n]);
        }
        run_row(mm, m, (const uint8_t(*)[32])chosen, d, ldd);
    }
}
