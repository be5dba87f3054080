// One matrix instruction's worth of arithmetic: D[m][n] = A[m][:] . B[n][:] + D[m][n], where a row
// is the 32 bytes of K that every tensor core instruction takes. The tensor units fetch rows and
// scales and call num_mm_run; which code runs (AVX2 or portable) does not change a bit of the
// result.
#ifndef FP4_SIM_NUM_MM_H
#define FP4_SIM_NUM_MM_H

#include "num.h"
#include <stddef.h>

enum num_mm_op {
    NUM_MM_DOT,    // T-FDPA, formats of 'dot'
    NUM_MM_SCALED, // T-FDPA with one ue8m0 scale a row: sa[m][0], sb[n][0]
    NUM_MM_GST,    // e2m1 packed, scales of 'gst'
    NUM_MM_LEGACY, // num_legacy_fp8
    NUM_MM_INT
};

#define NUM_MM_MAX_N 256

// The exponent of a largest term above which a sum may overflow or the addend is special: those elements go to
// the reference.
#define NUM_LIMIT_HIGH 110

struct num_mm {
    enum num_mm_op op;
    struct num_dot dot;
    struct num_gst gst;
    bool saturate;   // NUM_MM_INT
    bool accumulate; // false: the addend is zero
    int m, n;        // n <= NUM_MM_MAX_N
    // Rows of codes: one byte an element (packed nibbles, low first, for NUM_MM_GST; little-endian
    // words for 16- and 32-bit formats).
    const uint8_t (*a)[32], (*b)[32];
    const uint8_t (*sa)[4], (*sb)[4]; // scales in K order
};

// d[n * ldd + m] is D[m][n]; an f16 D sits in the low half, the high half is written zero.
void num_mm_run(const struct num_mm *p, uint32_t *d, size_t ldd);

// The same with the reference alone.
void num_mm_portable(const struct num_mm *p, uint32_t *d, size_t ldd);

// For the fast paths: the addend that a stored D stands for, and the reference for one element.
uint32_t num_mm_element(const struct num_mm *p, int m, int n, uint32_t c);
uint32_t num_mm_addend(const struct num_mm *p, uint32_t d);

// num_avx2_dot.c, num_avx2_gst.c; only called when the processor has AVX2 and FMA.
void num_avx2_dot(const struct num_mm *p, uint32_t *d, size_t ldd);
void num_avx2_gst(const struct num_mm *p, uint32_t *d, size_t ldd);

// Decoding for the fast path: an element as float value and raw exponent. Zero has exponent NUM_DEAD;
// so has a special, which counts as zero and has 'special' set. 'wide': the exponent is beyond
// +-NUM_NEAR, within which products stay inside 2^+-100.
#define NUM_DEAD (-512)
#define NUM_NEAR 50
struct num_lane {
    float value;
    int16_t exponent;
    bool special, wide;
};
const struct num_lane *num_lane_table(enum num_fmt f); // [256] for byte formats, else NULL
void num_lanes_of_row(enum num_fmt f, const uint8_t row[32], int k, struct num_lane *out);

#endif
