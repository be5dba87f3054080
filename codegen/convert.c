// Element formats in registers, bit for bit as compiler/mach.h defines them.
//
// Arithmetic is written as PTX instructions with their rounding named, so that neither LLVM nor
// ptxas contracts a product and a sum ("mul, add": an instruction without .rn may be fused).
// Conversions to two packed elements take the upper one first (PTX ISA "cvt").
#include "cg_int.h"

#include <stdio.h>
#include <string.h>

ll_val cg_math(cg *c, const char *op, int n, const ll_val *args) {
    static const char *const operands[] = {"$0, $1", "$0, $1, $2", "$0, $1, $2, $3"};
    static const char *const constraints[] = {"=f,f", "=f,f,f", "=f,f,f,f"};
    ll_asm a = {.text = arena_printf(c->mem, "%s %s;", op, operands[n - 1]),
                .constraints = constraints[n - 1],
                .n_out = 1,
                .out = {LL_F32}};
    return ll_call_asm(c->b, &a, n, args);
}

ll_val cg_math2(cg *c, const char *op, ll_val x, ll_val y) {
    return cg_math(c, op, 2, (ll_val[]){x, y});
}

ll_val cg_keep(cg *c, ll_val x, ll_type type) {
    ll_asm none = {.text = "",
                   .constraints = type == LL_I64 ? "=l,0" : type == LL_F32 ? "=f,0" : "=r,0",
                   .effect = true,
                   .n_out = 1,
                   .out = {type}};
    return ll_call_asm(c->b, &none, 1, &x);
}

// A piece of assembly with one i32 result and i32 or f32 operands.
static ll_val to_bits(cg *c, const char *text, const char *constraints, int n, const ll_val *args) {
    ll_asm a = {.text = text, .constraints = constraints, .n_out = 1, .out = {LL_I32}};
    return ll_call_asm(c->b, &a, n, args);
}

static ll_val pack_pair(cg *c, elem_kind e, ll_val low, ll_val high);

// cvt.rp.satfinite.ue8m0x2, the lower half.
static ll_val pack_ue8m0(cg *c, ll_val x) {
    if (!cg_has_narrow(c)) {
        return cg_soft_ue8m0(c, x);
    }
    ll_val args[] = {ll_f32(c->b, 0), x};
    ll_val both =
        to_bits(c, "{ .reg .b16 h; cvt.rp.satfinite.ue8m0x2.f32 h, $1, $2; cvt.u32.u16 $0, h; }",
                "=r,f,f", 2, args);
    return ll_bini(c->b, LL_AND, both, 0xFF);
}

// Scale types, one element a byte.
static ll_val pack_scale(cg *c, elem_kind e, ll_val x) {
    ll *b = c->b;
    ll_val negative = ll_cmp(b, LL_FLT, x, ll_f32(b, 0)); // 0; a NaN stays one
    x = ll_select(b, negative, ll_f32(b, 0), x);
    return e == ELEM_UE8M0 ? pack_ue8m0(c, x)
                           : ll_bini(b, LL_AND, pack_pair(c, ELEM_E4M3, x, ll_f32(b, 0)), 0x7F);
}

// Two f32 as two packed elements in the low bits of an i32.
static ll_val pack_pair(cg *c, elem_kind e, ll_val low, ll_val high) {
    ll *b = c->b;
    ll_val args[] = {high, low};
    const char *form = NULL;
    if (e == ELEM_UE8M0 || e == ELEM_UE4M3) {
        return ll_bin(b, LL_OR, pack_scale(c, e, low),
                      ll_bini(b, LL_SHL, pack_scale(c, e, high), 8));
    }
    if (elem_bits(e) < 8 && !cg_has_narrow(c)) {
        ll_val upper = ll_bini(b, LL_SHL, cg_soft_encode(c, e, high), elem_bits(e));
        return ll_bin(b, LL_OR, cg_soft_encode(c, e, low), upper);
    }
    switch (e) {
    case ELEM_BF16:
        return to_bits(c, "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f", 2, args);
    case ELEM_F16:
        return to_bits(c, "cvt.rn.f16x2.f32 $0, $1, $2;", "=r,f,f", 2, args);
    case ELEM_E2M1:
        return to_bits(c,
                       "{ .reg .b8 t; .reg .b16 h; cvt.rn.satfinite.e2m1x2.f32 t, $1, $2; "
                       "cvt.u16.u8 h, t; cvt.u32.u16 $0, h; }",
                       "=r,f,f", 2, args);
    case ELEM_E4M3:
        form = "e4m3x2";
        break;
    case ELEM_E5M2:
        form = "e5m2x2";
        break;
    case ELEM_E2M3:
        form = "e2m3x2";
        break;
    case ELEM_E3M2:
        form = "e3m2x2";
        break;
    default:
        cg_fail(c, "elements cannot be converted to %s in kernel '%s'", elem_name(e), c->k->name);
        return ll_i32(c->b, 0);
    }
    const char *text = arena_printf(c->mem,
                                    "{ .reg .b16 h; cvt.rn.satfinite.%s.f32 h, $1, $2; "
                                    "cvt.u32.u16 $0, h; }",
                                    form);
    return to_bits(c, text, "=r,f,f", 2, args);
}

ll_val cg_pack(cg *c, elem_kind e, int n, const ll_val *values) {
    ll *b = c->b;
    if (e == ELEM_F32 || e == ELEM_I32) {
        return ll_to(b, values[0], LL_I32);
    }
    int bits = elem_bits(e);
    ll_val word = NULL;
    for (int i = 0; i < n; i += 2) {
        ll_val high = i + 1 < n ? values[i + 1] : ll_f32(b, 0);
        ll_val pair = ll_bini(b, LL_SHL, pack_pair(c, e, values[i], high), (int64_t)i * bits);
        word = word ? ll_bin(b, LL_OR, word, pair) : pair;
    }
    return n == 1 && bits < 32 ? ll_bini(b, LL_AND, word, (INT64_C(1) << bits) - 1) : word;
}

static ll_val from_bits(cg *c, const char *text, ll_val bits) {
    ll_asm a = {.text = text, .constraints = "=f,r", .n_out = 1, .out = {LL_F32}};
    return LL_ASM(c->b, &a, bits);
}

ll_val cg_unpack(cg *c, elem_kind e, ll_val bits) {
    ll *b = c->b;
    const char *form = NULL;
    if (elem_bits(e) < 8 && !cg_has_narrow(c)) {
        return cg_soft_decode(c, e, bits);
    }
    switch (e) {
    case ELEM_F32:
        return ll_to(b, bits, LL_F32);
    case ELEM_BF16:
        return ll_to(b, ll_bini(b, LL_SHL, bits, 16), LL_F32);
    case ELEM_F16:
        return from_bits(c, "{ .reg .b16 l, h; mov.b32 {l, h}, $1; cvt.f32.f16 $0, l; }", bits);
    case ELEM_UE8M0: // 2^(bits - 127); 0 is the subnormal 2^-127, 255 is NaN
        return ll_to(b,
                     ll_select(b, ll_cmpi(b, LL_EQ, bits, 0), ll_i32(b, 0x00400000),
                               ll_select(b, ll_cmpi(b, LL_EQ, bits, 255), ll_i32(b, 0x7FFFFFFF),
                                         ll_bini(b, LL_SHL, bits, 23))),
                     LL_F32);
    case ELEM_E2M1:
        return from_bits(c,
                         "{ .reg .b8 t; .reg .b16 s, l, h; .reg .b32 w; cvt.u16.u32 s, $1; "
                         "cvt.u8.u16 t, s; cvt.rn.f16x2.e2m1x2 w, t; mov.b32 {l, h}, w; "
                         "cvt.f32.f16 $0, l; }",
                         bits);
    case ELEM_UE4M3: // no sign, whatever the bit says
        bits = ll_bini(b, LL_AND, bits, 0x7F);
        form = "e4m3x2";
        break;
    case ELEM_E4M3:
        form = "e4m3x2";
        break;
    case ELEM_E5M2:
        form = "e5m2x2";
        break;
    case ELEM_E2M3:
        form = "e2m3x2";
        break;
    case ELEM_E3M2:
        form = "e3m2x2";
        break;
    default:
        cg_fail(c, "elements of type %s cannot be read in kernel '%s'", elem_name(e), c->k->name);
        return ll_f32(b, 0);
    }
    const char *text = arena_printf(c->mem,
                                    "{ .reg .b16 s, l, h; .reg .b32 w; cvt.u16.u32 s, $1; "
                                    "cvt.rn.f16x2.%s w, s; mov.b32 {l, h}, w; cvt.f32.f16 $0, l; }",
                                    form);
    return from_bits(c, text, bits);
}

// --- Quantising ----------------------------------------------------------------------------------

double cg_largest(elem_kind e) {
    switch (e) {
    case ELEM_E2M1:
        return 6;
    case ELEM_E2M3:
        return 7.5;
    case ELEM_E3M2:
        return 28;
    case ELEM_E4M3:
        return 448;
    case ELEM_E5M2:
        return 57344;
    default:
        return 0;
    }
}

ll_val cg_max_abs(cg *c, int n, const ll_val *values) {
    ll_val amax = ll_f32(c->b, 0);
    for (int i = 0; i < n; i++) {
        ll_val abs = cg_math(c, "abs.f32", 1, &values[i]);
        amax = cg_math2(c, "max.f32", amax, abs);
    }
    return amax;
}

static cg_granule quantise_ue4m3(cg *c, elem_kind elem, ll_val amax, ll_val hs) {
    ll *b = c->b;
    ll_val one = ll_f32(b, 1);
    ll_val r =
        cg_math2(c, "div.rn.f32", one, cg_math2(c, "mul.rn.f32", ll_f32(b, cg_largest(elem)), hs));
    ll_val t = cg_math2(c, "mul.rn.f32", amax, r);
    cg_granule g;
    g.scale = ll_bini(b, LL_AND, pack_pair(c, ELEM_E4M3, t, ll_f32(b, 0)), 0x7F);
    ll_val d = cg_math2(c, "mul.rn.f32", cg_unpack(c, ELEM_UE4M3, g.scale), hs);
    ll_val q = cg_math2(c, "div.rn.f32", one, d);
    g.factor = ll_select(b, ll_cmp(b, LL_FEQ, d, ll_f32(b, 0)), ll_f32(b, 0), q);
    return g;
}

static cg_granule quantise_ue8m0(cg *c, elem_kind elem, ll_val amax) {
    ll *b = c->b;
    float inverse = (float)(1.0 / cg_largest(elem));
    ll_val t = cg_math2(c, "mul.rn.f32", amax, ll_f32(b, (double)inverse));
    cg_granule g;
    g.scale = pack_ue8m0(c, t);
    // 2^(127 - e): exponent field 254 - e; for e = 254 the subnormal 2^-127.
    ll_val field = ll_bini(b, LL_SHL, ll_sub(b, ll_i32(b, 254), g.scale), 23);
    ll_val bits = ll_select(b, ll_cmpi(b, LL_EQ, g.scale, 254), ll_i32(b, 0x00400000), field);
    g.factor = ll_to(b, bits, LL_F32);
    return g;
}

cg_granule cg_quantise(cg *c, elem_kind elem, elem_kind scale, ll_val amax, ll_val hs) {
    if (cg_largest(elem) == 0) {
        cg_fail(c, "no scaled format has elements of type %s (kernel '%s')", elem_name(elem),
                c->k->name);
    }
    return scale == ELEM_UE4M3 ? quantise_ue4m3(c, elem, amax, hs) : quantise_ue8m0(c, elem, amax);
}
