// What the machines compute, bit by bit: THE definition that generated code and evaluator share.
//
// Elementwise arithmetic (all in f32, round to nearest even, subnormals kept, nothing contracted):
//   a + b, a - b, a * b    add.rn, sub.rn, mul.rn in the order of the source; a product that is
//                          added stays mul.rn then add.rn, never fma
//   a / b                  div.rn.f32 (IEEE)
//   -x                     neg.f32
//   exp(x)                 ex2(mul.rn(x, 0f3FB8AA3B)) with ex2.approx.f32
//   log(x)                 mul.rn(lg2(x), 0f3F317218) with lg2.approx.f32
//   sqrt(x)                sqrt.rn.f32
//   rsqrt(x), tanh(x)      rsqrt.approx.f32, tanh.approx.f32
//   min, max               min.f32, max.f32: one NaN is ignored, -0 < +0
//   relu(x)                max(x, 0)
//   clamp(x, a, b)         min(max(x, a), b)
//   abs(x)                 abs.f32
//   swiglu(x) at column j  silu(x[2i]) * x[2i+1] with i = j / 2, silu(x) = x / (1 + exp(-x)):
//                          mul.rn(div.rn(x0, add.rn(1, exp(neg(x0)))), x1)
//   sum[i](x)              ((x_0 + x_1) + x_2) + ...: add.rn, ascending i, starting from x_0
//   max[i](x), min[i](x)   max.f32, min.f32 (any order gives the same bits)
//   decoded operands       element * scale as mul.rn of the two decoded values (exact but for a
//                          ue8m0 scale near the ends of the f32 range)
// Constant expressions of floats are folded in double and rounded once. A NaN that arithmetic
// produces is 0x7FFFFFFF. The approx functions are bounded, not defined, by PTX ("Floating Point
// Instructions: ex2, lg2, rsqrt, tanh"); mach_mufu.c has them bit for bit as sm_90 computes them,
// and takes the other targets to do the same, which nobody has measured.
//
// Conversions:
//   f32(x)                 identity on f32
//   bf16(x), f16(x)        cvt.rn.bf16.f32, cvt.rn.f16.f32: overflow gives Inf, NaN gives 0x7FFF
//   e4m3(x), e5m2(x)       cvt.rn.satfinite: overflow gives the largest finite value, NaN 0x7F
//   e2m1(x), e2m3, e3m2    cvt.rn.satfinite: NaN gives +largest
// With a second argument s: convert(div.rn(x, s)).
//
// Quantising conversions. The granule is the elements that share a scale, clipped at the tensor's
// end; amax is the max.f32 of |x| over it (exact; NaN is ignored, a granule of NaNs has amax 0).
// The result means element * scale, and element * scale * hs for nvfp4(x, hs): hs is the global
// DECODE scale.
//   nvfp4(x, hs):  r  = div.rn(1, mul.rn(6, hs))          hs = 1 when not given
//                  sf = cvt.rn.satfinite.e4m3(mul.rn(amax, r)), sign cleared
//                  d  = mul.rn(decode(sf), hs)
//                  q  = d == 0 ? 0 : div.rn(1, d)
//                  element = cvt.rn.satfinite.e2m1(mul.rn(x, q))
//   mxfp8(x):      e  = ue8m0_rp(mul.rn(amax, 0f3B124925))        1/448; largest of e4m3
//                  q  = 2^(127 - e) exactly; 2^127 for e = 0, the subnormal 2^-127 for e = 254
//                  element = cvt.rn.satfinite.e4m3(mul.rn(x, q))
//   mxfp4(x):      the same with 0f3E2AAAAB (1/6) and e2m1; any element type T with a ue8m0 scale:
//                  the same with 1/max(T) rounded to f32. The second argument, when given, divides
//                  first: x' = div.rn(x, s) takes the place of x throughout.
//   formats with a ue4m3 scale over another element than e2m1: 6 is replaced by max(T).
// ue8m0_rp is cvt.rp.satfinite.ue8m0: the exponent rounded towards +Inf, that is scale =
// 2^ceil(log2(amax / max(T))), the "ceil" rule of DeepGEMM and torchao (OCP MX has the floor rule).
// amax = 0 gives e = 0 (2^-127) and elements 0; amax = Inf gives e = 254.
//
// Matrix products: acc[m,n] += A[m,k] * B[n,k] is a chain over K, one step an instruction of K = L
// elements counted from the start of the K tile, missing elements being 0 (mach_choose names L).
// A step is T-FDPA(L, F) or GST-FDPA(F = 35) as PTX "Matrix multiply-accumulate" leaves it to the
// hardware and measurement pins it: exact products, each truncated towards zero to a multiple of
// 2^(emax - F), summed exactly, rounded towards zero to f32.
// 'split k by s': the chains of s ranges of the loop's n steps, r * n / s up to (r + 1) * n / s,
// start from 0 each; their results are added by add.rn.f32 in the order of the ranges. A range of
// no steps is 0. 4-bit weights on sm_90a ('mma wgmma dequant bf16 | f16', as the other operand is):
// element times scale in that type, exact but for a ue8m0 scale at the end of the range; then its
// plain product. By FP8 ('mma wgmma dequant e4m3', the other operand e4m3 or e5m2):
// cvt.rn.satfinite.e4m3 of element times scale times 2^-c, c being mma_fold of the scale's type
// (mma.h); the FP8 chain over these, started from the accumulator times 2^-c; its end times 2^c,
// which is exact. A number w that is not 0 is off by
//   |w| < 2^(c-6): at most 2^(c-10);  else at most 2^-4 |w| with ue4m3 scales, 0 with ue8m0;
//   |w| > 448 * 2^c: |w| - 448 * 2^c, the part that saturates (ue8m0 only: c keeps ue4m3 below).
// f32 operands on sm_90a ('mma wgmma tf32'): TF32, the 13 low bits dropped.
// Operands with f32 scales (e4m3 * f32 per [1, 128] and the like, sm_90a): the chain of one granule
// of K starts from 0; part * (sa * sb) is added by fma.rn.f32(part, mul.rn.f32(sa, sb), acc).
#ifndef FP4_COMPILER_MACH_H
#define FP4_COMPILER_MACH_H

#include "ast.h"

#include <string.h>

// 2^e as a double, for exponents far from its ends.
static inline double mach_power_of_two(int e) {
    uint64_t bits = (uint64_t)(1023 + e) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

typedef enum { MACH_SM90A, MACH_SM100A, MACH_SM120A } mach_target;

const char *mach_target_name(mach_target t);
// "sm_100a" -> MACH_SM100A; false if the name is none of the three.
bool mach_target_parse(const char *name, mach_target *out);

// The value of a code, exactly; scale formats too. Codes stand in the low bits (tf32: a whole word,
// the low 13 bits ignored).
double mach_decode(elem_kind e, uint32_t code);
// The code of a value by the conversion above, rounded once from double; ue8m0 rounds up, ue4m3
// clamps negatives to 0. Integers: round to nearest, saturating.
uint32_t mach_encode(elem_kind e, double x);
double mach_largest(elem_kind e); // largest finite value

// f32 functions of the list above.
float mach_ex2(float x);
float mach_lg2(float x);
float mach_exp(float x);
float mach_log(float x);
float mach_rsqrt(float x);
float mach_tanh(float x);
float mach_min(float a, float b);
float mach_max(float a, float b);

// The scale code of a granule and what its elements are scaled with before rounding. exact: in
// double, |amax / (max(T) * hs)| and x / (decoded scale * hs); otherwise the f32 sequence above.
typedef struct {
    uint8_t scale; // code
    double factor; // machine: the q above; exact: the divisor, decoded scale * hs
} mach_granule;
mach_granule mach_quantise(elem_kind elem, elem_kind scale, double amax, double hs, bool exact);
// One element of it.
uint32_t mach_quantise_elem(elem_kind elem, double x, mach_granule g, bool exact);

// The arithmetic of one tensor-core instruction.
typedef enum {
    MACH_TFDPA, // truncated fused dot-product-add
    MACH_GST,   // the same over four scaled groups of 16 FP4 products
} mach_rule;

typedef struct {
    mach_rule rule;
    const char *name;   // "mxf4nvf4", "f8f6f4", ... as PTX calls the kind
    int k;              // elements of K that one instruction consumes
    int frac;           // F
    int out_frac;       // fraction bits of the result: 23, or 13 (Hopper FP8)
    elem_kind a, b;     // element types
    elem_kind sa, sb;   // scale types; ELEM_NONE: scale 1
    int granule;        // elements of K that share a scale; 0 when unscaled
    bool decode_a, decode_b; // 4-bit elements whose value with the scale, rounded to the type a or
                             // b, is what the instruction multiplies (sa, sb and granule are
                             // theirs)
    int fold;           // decoded to e4m3: the exponent c that the chain is scaled by; else 0
    int promote;        // f32 scales: elements of K that are summed from 0 before fma.rn adds the
                        // sum, times the mul.rn of both scales, to the accumulator; 0: none
    int granule_b;      // of b where it is another than a's; else 0
} mach_instr;

// The instruction that multiplies the two formats on a target. False if there is none.
bool mach_choose(mach_target t, const ast_format *a, const ast_format *b, mach_instr *out);

// Rows of one operand along K, unpacked for many products.
typedef struct mach_panel mach_panel;
mach_panel *mach_panel_new(const mach_instr *in, bool is_a, int64_t rows, int64_t k);
void mach_panel_free(mach_panel *p);
// codes[k], scales[ceil(k / granule)] (NULL: scale 1).
void mach_panel_set(mach_panel *p, int64_t row, const uint32_t *codes, const uint8_t *scales);
// The f32 scales of a row (bits), one for 'promote' elements each; 1 where this is not called.
void mach_panel_factors(mach_panel *p, int64_t row, const uint32_t *factors);
// The chain of all steps of K over row ra of a and row rb of b, from c: bits of an f32.
uint32_t mach_dot(const mach_panel *a, int64_t ra, const mach_panel *b, int64_t rb, uint32_t c);

#endif
