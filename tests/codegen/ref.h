// Plain C references for kernels under test: number formats after OCP MX 1.0 and IEEE 754, products in
// exact arithmetic. Operands are drawn so that every sum is a multiple of a known unit below 2^24 of
// them: then f32 accumulation is exact in any order, and no model of the tensor core is needed.
#ifndef FP4_TESTS_CODEGEN_REF_H
#define FP4_TESTS_CODEGEN_REF_H

#include "fp4rt.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t state;
} ref_rng;

uint32_t ref_random(ref_rng *r, uint32_t below);

// Value of a code: sign, exponent and mantissa by the widths of the format (no infinities).
double ref_decode(fp4_elem elem, uint32_t code);
// To the nearest code, ties to even.
uint16_t ref_bf16(float x);
uint32_t ref_e2m1(float x); // saturating
uint32_t ref_e4m3(float x); // saturating

// The code of x in any data format (f32: its bits), rounded to nearest even, saturating below 16 bits.
uint32_t ref_encode(fp4_elem elem, float x);

// Scale code of a granule whose largest magnitude is amax, and what its elements are multiplied with
// (the rules of compiler/mach.h; hs is the global scale of ue4m3 formats).
typedef struct {
    uint32_t scale;
    float factor;
} ref_granule;
ref_granule ref_quantise(fp4_elem elem, fp4_elem scale, float amax, float hs);

// A matrix of codes with its decoded values, and its packed image on the device.
typedef struct {
    int rows, cols;
    double *value; // element times scale
    fp4_tensor tensor;
} ref_matrix;

// Random codes and scales of "nvfp4", "mxfp4", "mxfp8", "e4m3", "bf16", "f16". *unit: every value is a
// multiple of it.
bool ref_operand(fp4_ctx *ctx, const char *format, int rows, int cols, ref_rng *r, ref_matrix *out,
                 double *unit);
// A random f32[n] in value and tensor, small multiples of 2^-6.
bool ref_vector(fp4_ctx *ctx, int n, ref_rng *r, ref_matrix *out);
void ref_free(ref_matrix *m);

#endif
