// A second reference for the tensor core arithmetic, written apart from runtime/sim: values are
// doubles, exponents come from frexp, alignment is trunc() on long doubles. Slow, and shares no
// code with what it checks. Also the random operands the tests use.
#ifndef FP4_TEST_NUM_REF_H
#define FP4_TEST_NUM_REF_H

#include "num.h"

struct ref_dot {
    enum num_fmt a, b;
    int k, frac, floor;
    enum num_out out;
    int scale; // added to every product's exponent
};
double ref_value(enum num_fmt f, uint32_t code); // NaN and Inf as such
uint32_t ref_tfdpa(const struct ref_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c);
uint32_t ref_gst(enum num_fmt scale, int block, const uint32_t *a, const uint32_t *b, uint32_t c,
                 const uint8_t *sa, const uint8_t *sb);

// Random numbers and operands.
struct ref_random {
    uint64_t state;
};
uint32_t ref_u32(struct ref_random *r);
uint32_t ref_below(struct ref_random *r, uint32_t n);

enum ref_style {
    REF_BITS,   // any code, specials included
    REF_FINITE, // any finite code
    REF_MILD,   // magnitudes near 1
    REF_SPARSE, // three of four are zero
    REF_TINY,   // small and subnormal
    REF_STYLES
};
uint32_t ref_code(struct ref_random *r, enum num_fmt f, enum ref_style style);
// A row of k codes.
void ref_row(struct ref_random *r, enum num_fmt f, enum ref_style style, int k, uint32_t *out);
uint32_t ref_f32(struct ref_random *r); // an addend: any scale, sometimes special
#endif
