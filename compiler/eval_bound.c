// Elementwise arithmetic at one point. Exact mode computes in double and carries a bound on how far
// the f32 arithmetic of mach.h may be from it; machine mode computes that f32 arithmetic.
//
// The bounds are a running error analysis: an operand is known to within err, an f32 operation adds
// half a unit in the last place (2^-24 relative, 2^-150 absolute), an approximation 2^-21
// (tanh 2^-11, log at least 2^-22).
#include "eval_impl.h"
#include "mma.h"

#include <math.h>

static const double half_ulp = 0x1p-24;
static const double approx_ulp = 0x1p-21;
static const double tanh_ulp = 0x1p-11; // PTX ISA "tanh": relative; "lg2": absolute near 1
static const double log_least = 0x1p-22;
static const double tiny = 0x1p-149;

val val_int(int64_t i) {
    return (val){.v = (double)i, .i = i, .is_int = true};
}

double val_num(val a) {
    return a.is_int ? (double)a.i : a.v;
}

// Rounding of a result whose f32 value is about v, give or take err.
static double rounding(double v, double err) {
    return half_ulp * (fabs(v) + err) + tiny;
}

val val_real(const eval *x, double v) {
    double f = (double)(float)v;
    return (val){.v = x->machine ? f : v, .err = x->bounds && f != v ? fabs(f - v) : 0};
}

// An operand of float arithmetic.
static val as_real(const eval *x, val a) {
    return a.is_int ? val_real(x, (double)a.i) : a;
}

static val make(double v, double err) {
    return (val){.v = v, .err = isnan(err) ? INFINITY : err};
}

static val arith_machine(ast_op op, float a, float b) {
    float r = op == OP_ADD ? a + b : op == OP_SUB ? a - b : op == OP_MUL ? a * b : a / b;
    return (val){.v = (double)r};
}

static val arith_exact(ast_op op, val a, val b) {
    double v, e;
    switch (op) {
    case OP_ADD:
    case OP_SUB:
        v = op == OP_ADD ? a.v + b.v : a.v - b.v;
        e = a.err + b.err;
        break;
    case OP_MUL:
        v = a.v * b.v;
        e = fabs(a.v) * b.err + fabs(b.v) * a.err + a.err * b.err;
        break;
    default:
        v = a.v / b.v;
        e = b.err == 0 && a.err == 0 ? 0
            : b.err >= fabs(b.v)     ? INFINITY
                                     : (a.err + fabs(v) * b.err) / (fabs(b.v) - b.err);
        break;
    }
    if (!isfinite(v)) {
        return make(v, a.err == 0 && b.err == 0 ? 0 : INFINITY);
    }
    // Beyond the f32 range the machine has Inf where we have a number.
    return make(v, fabs(v) + e > 0x1.fffffep127 ? INFINITY : e + rounding(v, e));
}

// 64-bit integers that wrap. The caller has refused a division by zero.
static int64_t arith_int(ast_op op, int64_t a, int64_t b) {
    uint64_t ua = (uint64_t)a;
    uint64_t ub = (uint64_t)b;
    switch (op) {
    case OP_ADD: return (int64_t)(ua + ub);
    case OP_SUB: return (int64_t)(ua - ub);
    case OP_MUL: return (int64_t)(ua * ub);
    case OP_DIV: return b == -1 ? (int64_t)(0 - ua) : a / b;
    case OP_MOD: return b == -1 ? 0 : a % b;
    case OP_BITAND: return a & b;
    case OP_BITOR: return a | b;
    case OP_BITXOR: return a ^ b;
    case OP_SHL: return (int64_t)(ua << (b & 63));
    case OP_SHR: return a >> (b & 63);
    default: return 0;
    }
}

static bool compare(ast_op op, double a, double b) {
    switch (op) {
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_GT: return a > b;
    case OP_GE: return a >= b;
    case OP_EQ: return a == b;
    default: return a != b;
    }
}

static bool is_comparison(ast_op op) {
    return op >= OP_LT && op <= OP_NE;
}

val val_binary(const eval *x, ast_op op, val a, val b) {
    if (is_comparison(op)) {
        bool ints = a.is_int && b.is_int;
        val r = val_int(ints ? compare(op, (a.i > b.i) - (a.i < b.i), 0)
                             : compare(op, val_num(a), val_num(b)));
        r.err = !ints && fabs(val_num(a) - val_num(b)) <= a.err + b.err && a.err + b.err > 0;
        return r;
    }
    if (op == OP_AND || op == OP_OR) {
        bool ta = val_num(a) != 0;
        bool tb = val_num(b) != 0;
        val r = val_int(op == OP_AND ? ta && tb : ta || tb);
        r.err = a.err > 0 || b.err > 0;
        return r;
    }
    if (a.is_int && b.is_int) {
        return val_int(arith_int(op, a.i, b.i));
    }
    a = as_real(x, a);
    b = as_real(x, b);
    if (x->machine) {
        return arith_machine(op, (float)a.v, (float)b.v);
    }
    return arith_exact(op, a, b);
}

val val_neg(val a) {
    if (a.is_int) {
        return val_int(-a.i);
    }
    a.v = -a.v;
    return a;
}

static double rsqrt_exact(double v) {
    return 1 / sqrt(v);
}

// A monotone function: the error is that of its ends, and 'off' relative of the machine's own.
static val monotone(double (*f)(double), val a, double least, double off) {
    double v = f(a.v);
    double lo = f(a.v - a.err < least ? least : a.v - a.err);
    double hi = f(a.v + a.err);
    double e = a.err == 0 ? 0 : fmax(fabs(v - lo), fabs(v - hi));
    if (!isfinite(v)) {
        return make(v, a.err == 0 ? 0 : INFINITY);
    }
    return make(v, e + off * (fabs(v) + e) + tiny);
}

static val exp_exact(val a) {
    val r = monotone(exp, a, -INFINITY, approx_ulp);
    // The rounded product x * log2(e) is off by a relative 2^-23, that is |x| 2^-23 in the
    // exponent.
    r.err += (fabs(r.v) + r.err) * expm1((fabs(a.v) + a.err) * 0x1p-23);
    if (r.v + r.err > 0x1.fffffep127) {
        r.err = INFINITY;
    }
    return make(r.v, r.err);
}

static val builtin_machine(builtin_kind f, const val *args) {
    float a = (float)args[0].v;
    float r = 0;
    switch (f) {
    case BI_EXP: r = mach_exp(a); break;
    case BI_LOG: r = mach_log(a); break;
    case BI_SQRT: r = sqrtf(a); break;
    case BI_RSQRT: r = mach_rsqrt(a); break;
    case BI_TANH: r = mach_tanh(a); break;
    case BI_ABS: r = fabsf(a); break;
    case BI_MIN: r = mach_min(a, (float)args[1].v); break;
    case BI_MAX: r = mach_max(a, (float)args[1].v); break;
    case BI_RELU: r = mach_max(a, 0.0f); break;
    case BI_CLAMP: r = mach_min(mach_max(a, (float)args[1].v), (float)args[2].v); break;
    default: break;
    }
    return (val){.v = (double)r};
}

static val pick(double v, double e0, double e1) {
    return (val){.v = v, .err = fmax(e0, e1)};
}

static double ignore_nan_min(double a, double b) {
    return isnan(a) ? b : isnan(b) || a < b ? a : b;
}

static double ignore_nan_max(double a, double b) {
    return isnan(a) ? b : isnan(b) || a > b ? a : b;
}

static val builtin_exact(builtin_kind f, const val *args) {
    val a = args[0];
    switch (f) {
    case BI_EXP: return exp_exact(a);
    case BI_LOG: {
        val r = monotone(log, a, 0, approx_ulp);
        return make(r.v, r.err + log_least);
    }
    case BI_SQRT: return monotone(sqrt, a, 0, approx_ulp);
    case BI_RSQRT: return monotone(rsqrt_exact, a, 0, approx_ulp);
    case BI_TANH: return monotone(tanh, a, -INFINITY, tanh_ulp);
    case BI_ABS: return pick(fabs(a.v), a.err, 0);
    case BI_MIN: return pick(ignore_nan_min(a.v, args[1].v), a.err, args[1].err);
    case BI_MAX: return pick(ignore_nan_max(a.v, args[1].v), a.err, args[1].err);
    case BI_RELU: return pick(ignore_nan_max(a.v, 0), a.err, 0);
    case BI_CLAMP: {
        double m = ignore_nan_max(a.v, args[1].v);
        return pick(ignore_nan_min(m, args[2].v), a.err, fmax(args[1].err, args[2].err));
    }
    default: return a;
    }
}

static val builtin_int(builtin_kind f, const val *args) {
    int64_t a = args[0].i;
    switch (f) {
    case BI_ABS: return val_int(a < 0 ? -a : a);
    case BI_MIN: return val_int(a < args[1].i ? a : args[1].i);
    case BI_MAX: return val_int(a > args[1].i ? a : args[1].i);
    case BI_RELU: return val_int(a > 0 ? a : 0);
    default: { // clamp
        int64_t m = a > args[1].i ? a : args[1].i;
        return val_int(m < args[2].i ? m : args[2].i);
    }
    }
}

static bool works_on_ints(builtin_kind f) {
    return f == BI_ABS || f == BI_MIN || f == BI_MAX || f == BI_RELU || f == BI_CLAMP;
}

static int builtin_args(builtin_kind f) {
    static const int n[] = {
#define FP4_BUILTIN(id, name, arity) arity,
#include "builtins.def"
#undef FP4_BUILTIN
    };
    return n[f];
}

val val_builtin(const eval *x, builtin_kind f, const val *args) {
    val real[3];
    bool ints = works_on_ints(f);
    for (int i = 0; i < builtin_args(f); i++) {
        ints = ints && args[i].is_int;
        real[i] = as_real(x, args[i]);
    }
    if (ints) {
        return builtin_int(f, args);
    }
    return x->machine ? builtin_machine(f, real) : builtin_exact(f, real);
}

val val_swiglu(const eval *x, val gate, val up) {
    gate = as_real(x, gate);
    val neg = val_neg(gate);
    val one = val_real(x, 1);
    val below = val_binary(x, OP_ADD, one, val_builtin(x, BI_EXP, &neg));
    return val_binary(x, OP_MUL, val_binary(x, OP_DIV, gate, below), as_real(x, up));
}

// One unit in the last place of a type at magnitude v.
static double unit_at(elem_kind e, double v) {
    double top = mach_decode(e, mach_encode(e, fmin(v, mach_largest(e))));
    uint32_t step = e == ELEM_TF32 ? 1u << 13 : 1;
    double next = mach_decode(e, mach_encode(e, top) + step);
    double below = top > 0 ? top - mach_decode(e, mach_encode(e, top) - step) : 0;
    return isfinite(next) ? fmax(next - top, below) : below;
}

val val_round(const eval *x, val a, elem_kind e) {
    if (a.is_int && e == ELEM_I32) {
        return val_int((int32_t)(uint32_t)a.i);
    }
    if (elem_is_int(e) || e == ELEM_BOOL) { // cvt.rni: saturates, NaN gives 0
        return a.is_int ? a : val_int((int32_t)mach_encode(e, a.v));
    }
    if (a.rounded == e + 1) {
        return a;
    }
    double v = val_num(a);
    double r = mach_decode(e, mach_encode(e, v));
    uint8_t rounded = (uint8_t)(e + 1);
    if (x->machine || !x->bounds || a.err == 0) {
        return (val){.v = r, .rounded = rounded};
    }
    double reach = fabs(v) + a.err;
    bool saturates = elem_bits(e) <= 8;
    if (isnan(reach) || (reach > mach_largest(e) && !saturates)) {
        return (val){.v = r, .err = INFINITY, .rounded = rounded};
    }
    return (val){.v = r, .err = a.err + unit_at(e, reach), .rounded = rounded};
}

// ---- operands of products

double bound_least_normal(elem_kind e) {
    switch (e) {
    case ELEM_E4M3:
    case ELEM_UE4M3: return 0x1p-6;
    case ELEM_E5M2:
    case ELEM_F16: return 0x1p-14;
    case ELEM_E3M2: return 0x1p-2;
    case ELEM_E2M1:
    case ELEM_E2M3: return 1;
    case ELEM_UE8M0: return 0x1p-127;
    default: return 0x1p-126;
    }
}

// Products are aligned by the exponents of the codes, which for a subnormal is that of the least
// normal number: an upper bound of 2^exponent of an element that is not zero.
double bound_element_top(const ast_format *f, double elem, double scale) {
    if (elem == 0) {
        return 0;
    }
    double s = f->scale == ELEM_NONE ? 1 : fmax(scale, bound_least_normal(f->scale));
    return fmax(fabs(elem), bound_least_normal(f->elem)) * s;
}

// Weights that the machine rounds to e4m3 after a multiplication by 2^-c (mach.h): how
// far w may be off ...
double bound_fold_error(elem_kind scale, double w) {
    int c = mma_fold(scale);
    double size = fabs(w);
    if (size == 0) {
        return 0;
    }
    double rounded = size < ldexp(1, c - 6) ? ldexp(1, c - 10)
                     : scale == ELEM_UE4M3 ? size * 0x1p-4
                                           : 0;
    return fmax(rounded, size - ldexp(448, c));
}

// ... and the bound of 2^exponent of what it becomes.
double bound_fold_top(elem_kind scale, double w) {
    return w == 0 ? 0 : fmax(fabs(w) + bound_fold_error(scale, w), ldexp(1, mma_fold(scale) - 6));
}
