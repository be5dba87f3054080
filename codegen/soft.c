// Conversions of elements below 8 bits and of ue8m0 scales on a machine that has none (PTX ISA
// "cvt": .e2m1x2, .e2m3x2, .e3m2x2 and .ue8m0x2 need sm_100a or sm_120a). The codes are those of
// cvt.rn.satfinite and cvt.rp.satfinite, bit for bit, NaN included; no table, no branch.
#include "cg_int.h"

#include <math.h>

typedef struct {
    int exp, man, bias;
} shape;

static shape shape_of(elem_kind e) {
    static const shape shapes[] = {
#define FP4_ELEM(id, name, bits, exp, man, bias, cls) [ELEM_##id] = {exp, man, bias},
#include "../runtime/elem.def"
#undef FP4_ELEM
    };
    return shapes[e];
}

bool cg_has_narrow(const cg *c) {
    return arch_infos[c->k->arch].narrow_cvt;
}

// Magnitudes from the smallest normal number on: the f32's own exponent and mantissa, rebased,
// after adding what rounds the bits that fall off to even. Below it: adding 2^23 smallest
// subnormals leaves their number in the sum's lowest bits, rounded to even by add.rn.
ll_val cg_soft_encode(cg *c, elem_kind e, ll_val x) {
    ll *b = c->b;
    shape s = shape_of(e);
    int shift = 23 - s.man;
    ll_val largest = ll_f32(b, cg_largest(e));
    ll_val most = cg_math2(c, "min.f32", cg_math(c, "abs.f32", 1, &x), largest); // NaN: largest
    ll_val a = ll_to(b, most, LL_I32);
    ll_val odd = ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, a, shift), 1);
    ll_val up = ll_add(b, ll_addi(b, a, (1 << (shift - 1)) - 1), odd);
    ll_val normal = ll_addi(b, ll_bini(b, LL_LSHR, up, shift), -((INT64_C(127) - s.bias) << s.man));
    ll_val magic = ll_f32(b, ldexp(1.0, 1 - s.bias - s.man + 23));
    ll_val sum = cg_math2(c, "add.rn.f32", most, magic);
    ll_val small = ll_sub(b, ll_to(b, sum, LL_I32), ll_to(b, magic, LL_I32));
    ll_val is_small = ll_cmp(b, LL_FLT, most, ll_f32(b, ldexp(1.0, 1 - s.bias)));
    ll_val code = ll_select(b, is_small, small, normal);
    int sign = s.exp + s.man;
    ll_val negative =
        ll_bini(b, LL_AND, ll_bini(b, LL_LSHR, ll_to(b, x, LL_I32), 31 - sign), 1 << sign);
    ll_val is_number = ll_cmp(b, LL_FEQ, x, x);
    return ll_bin(b, LL_OR, code, ll_select(b, is_number, negative, ll_i32(b, 0)));
}

// Exponent and mantissa at the places of f32's name the value over 2^(127 - bias), subnormal or
// not.
ll_val cg_soft_decode(cg *c, elem_kind e, ll_val bits) {
    ll *b = c->b;
    shape s = shape_of(e);
    int sign = s.exp + s.man;
    ll_val magnitude = ll_bini(b, LL_SHL, ll_bini(b, LL_AND, bits, (1 << sign) - 1), 23 - s.man);
    ll_val negative =
        ll_bini(b, LL_SHL, ll_bini(b, LL_LSHR, ll_bini(b, LL_AND, bits, 1 << sign), sign), 31);
    ll_val scaled = ll_to(b, ll_bin(b, LL_OR, magnitude, negative), LL_F32);
    return cg_math2(c, "mul.rn.f32", scaled, ll_f32(b, ldexp(1.0, 127 - s.bias)));
}

// The exponent, one more where the mantissa is not 0; 2^-127, a subnormal f32, and below it: 0.
ll_val cg_soft_ue8m0(cg *c, ll_val x) {
    ll *b = c->b;
    ll_val bits = ll_to(b, x, LL_I32);
    ll_val code = ll_bini(b, LL_LSHR, ll_addi(b, bits, (1 << 23) - 1), 23);
    ll_val tiny = ll_cmpi(b, LL_SLE, bits, 1 << 22); // negative numbers too
    code = ll_select(b, tiny, ll_i32(b, 0), code);
    code = ll_select(b, ll_cmpi(b, LL_SGT, code, 254), ll_i32(b, 254), code);
    return ll_select(b, ll_cmp(b, LL_FEQ, x, x), code, ll_i32(b, 255));
}
