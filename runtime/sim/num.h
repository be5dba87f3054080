// The simulator's arithmetic: number formats, conversions, and what one output element of a tensor
// core is. Pure functions on bit patterns; no memory model, no PTX.
//
// Codes travel as uint32_t in the low bits of the word; tf32 and f32 as the float32 pattern.
// Sources: PTX ISA "Alternate Floating-Point Data Formats", "cvt", "Floating Point Instructions",
// OCP MX 1.0. The fused dot products follow behaviour measured on H100, H200, B200 and RTX parts.
#ifndef FP4_SIM_NUM_H
#define FP4_SIM_NUM_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// NUM_E2M1, NUM_E2M3, NUM_E3M2, NUM_E4M3, NUM_E5M2, NUM_BF16, NUM_F16, NUM_TF32, NUM_F32,
// NUM_UE4M3, NUM_UE8M0, NUM_I32, NUM_I64, NUM_BOOL (ORDER elem.def), then the integers of kind::i8.
enum num_fmt {
#define FP4_ELEM(ID, name, bits, ebits, mbits, bias, class) NUM_##ID,
#include "elem.def"
#undef FP4_ELEM
    NUM_S8,
    NUM_U8,
    NUM_FMT_COUNT
};

enum num_round { NUM_RN, NUM_RZ, NUM_RM, NUM_RP, NUM_RNA }; // RNA: ties away (cvt.rna.tf32)

#define NUM_NAN_F32 0x7FFFFFFFu // the NaN every f32 operation of the GPU produces
#define NUM_NAN_F16 0x7FFFu

static inline float num_f32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline uint32_t num_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

// ---- formats ----------------------------------------------------------------------------------
int num_bits_of(enum num_fmt f); // storage bits of one element
static inline bool num_is_fp8(enum num_fmt f) {
    return f == NUM_E4M3 || f == NUM_E5M2;
}

// The exact value of a code. NaN codes give the canonical NaN. Bits above the format are ignored;
// ue4m3 ignores bit 7 as the MMA does; tf32 drops the low 13 bits before looking at the pattern.
float num_decode(enum num_fmt f, uint32_t code);

// cvt.<round>{.satfinite} of a float to one element. 'sat' is implied (and ignored) for e2m1, e2m3,
// e3m2, e4m3, e5m2, ue4m3, ue8m0. NaN: 0x7F in e4m3/e5m2/ue4m3, +max in e2m1/e2m3/e3m2, 0xFF in
// ue8m0, 0x7FFF in f16/bf16, 0x7FFFFFFF in tf32. Negative sources of ue4m3 and ue8m0 convert as
// their magnitude for ue8m0, as 0 for ue4m3. ue8m0 knows RZ and RP only.
uint32_t num_encode(enum num_fmt f, float x, enum num_round round, bool sat);

// The x2 forms: 'hi' is the first PTX source and lands in the upper half. e2m1 gives 8 bits, the 6-
// and 8-bit formats 16, f16/bf16 32. 'relu' clamps negatives (and NaN in f16/bf16 stays NaN).
uint32_t num_encode_x2(enum num_fmt f, float hi, float lo, enum num_round round, bool sat,
                       bool relu);
// cvt.rn.f16x2.<f>x2 (e4m3, e5m2, e2m3, e3m2, e2m1) and cvt.rn.bf16x2.ue8m0x2: exact.
uint32_t num_narrow_to_f16x2(enum num_fmt f, uint32_t pair);
uint32_t num_ue8m0x2_to_bf16x2(uint32_t pair);

uint16_t num_f16_of(float x, enum num_round round);
uint16_t num_bf16_of(float x, enum num_round round);
uint32_t num_tf32_of(float x, enum num_round round);
float num_of_f16(uint16_t h); // NaN payloads: canonical
static inline float num_of_bf16(uint16_t h) {
    return num_f32((uint32_t)h << 16);
}

// ---- f32 arithmetic ---------------------------------------------------------------------------
static inline float num_canon(float x) {
    return x != x ? num_f32(NUM_NAN_F32) : x;
}
// .ftz: subnormals become zero of the same sign.
static inline float num_ftz(float x) {
    uint32_t u = num_bits(x);
    return (u & 0x7F800000u) == 0 ? num_f32(u & 0x80000000u) : x;
}
static inline float num_add(float a, float b) {
    return num_canon(a + b);
}
static inline float num_mul(float a, float b) {
    return num_canon(a * b);
}
static inline float num_fma(float a, float b, float c) {
    return num_canon(fmaf(a, b, c));
}
static inline float num_div(float a, float b) {
    return num_canon(a / b);
}
// Any rounding mode; RN equals the functions above.
float num_add_r(float a, float b, enum num_round round);
float num_mul_r(float a, float b, enum num_round round);
float num_fma_r(float a, float b, float c, enum num_round round);
float num_div_r(float a, float b, enum num_round round);
float num_sqrt_r(float a, enum num_round round);
// .ftz: results that are subnormal after rounding to 24 bits are flushed (H200), sources by the caller.
float num_mul_ftz(float a, float b, enum num_round round);
float num_fma_ftz(float a, float b, float c, enum num_round round);
// f64 in a rounding mode other than RN; unused sources are 0.
enum num_op_64 { NUM_ADD_64, NUM_SUB_64, NUM_MUL_64, NUM_FMA_64, NUM_DIV_64, NUM_SQRT_64 };
// A NaN result has the payload of the second operand, else of the third, else of the first (H200).
double num_nan_64(double r, const double x[3]);
double num_f64_r(enum num_op_64 op, const double x[3], enum num_round round);
// min/max: one NaN operand is ignored unless nan; -0 < +0.
float num_min(float a, float b, bool nan);
float num_max(float a, float b, bool nan);

// The special function unit (num_mufu.c), bit for bit that of an H200; PTX only bounds its error, and other
// machines were not measured. ftz: the form that flushes subnormal inputs and results.
enum num_mufu { NUM_EX2, NUM_LG2, NUM_RCP, NUM_RSQRT, NUM_SQRT, NUM_TANH, NUM_SIN, NUM_COS };
float num_mufu(enum num_mufu op, float x, bool ftz);
uint32_t num_mufu_half(enum num_mufu op, float x, enum num_fmt f); // ex2, tanh: a code of f16 or bf16
uint64_t num_mufu_64(enum num_mufu op, uint64_t bits);             // rcp, rsqrt: .approx.ftz.f64
float num_div_approx(float a, float b, bool full, bool ftz);       // div.approx, div.full

// ---- one output element of a tensor core ------------------------------------------------------
enum num_out { NUM_OUT_F32, NUM_OUT_E8M13, NUM_OUT_F16 };

// T-FDPA(k, frac, out): truncated fused dot-product-add. All values are codes; c and the result are
// f32 patterns, or f16 when out is NUM_OUT_F16.
struct num_dot {
    enum num_fmt a, b;
    int k;            // products of one instruction
    int frac;         // F: fraction bits kept below the largest exponent
    int floor;        // exponent of a zero term (-133; -22 for mma.sync with an f16 accumulator)
    enum num_out out; // rounding of the result
};
uint32_t num_tfdpa(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c);
// With one ue8m0 scale a side (kind::mxf8f6f4).
uint32_t num_tfdpa_scaled(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c,
                          const uint8_t scale[2]);

// GST-FDPA: 64 e2m1 products in 4 groups (kind::mxf4, mxf4nvf4). Scales sa[i], sb[i] serve elements
// block*i .. block*i + block-1; block is 16 or 32; scale is NUM_UE4M3 or NUM_UE8M0.
struct num_gst {
    enum num_fmt scale;
    int block;
};
uint32_t num_gst_fdpa(const struct num_gst *p, const uint32_t *a, const uint32_t *b, uint32_t c,
                      const uint8_t *sa, const uint8_t *sb);

// mma.sync m16n8k32 e4m3/e5m2 without a kind on sm_90 and sm_100: two 16-product f16 steps.
uint32_t num_legacy_fp8(const struct num_dot *p, const uint32_t *a, const uint32_t *b, uint32_t c);

// kind::i8 and mma.sync s8/u8: exact sum, then wrap or clamp to s32.
int32_t num_idot(const struct num_dot *p, const uint32_t *a, const uint32_t *b, int32_t c,
                 bool sat);

#endif
