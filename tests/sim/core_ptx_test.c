// Every line of core_alu.def as a kernel of its own: 32 lanes, random operands and corner cases,
// with all lanes and with a divergent half, compared with the expression in C beside it.
// "--dump FILE" writes the module instead, for ptxas to accept.
#include "core_util.h"
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- the C side ---------------------------------------------------------------------------------
static float as_float(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static uint32_t bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static double as_double(uint64_t u) {
    double x;
    memcpy(&x, &u, 8);
    return x;
}
static uint64_t bits64(double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}
static uint64_t same_nan64(double x) { // payloads of f64 NaNs are not compared
    return x != x ? 0x7FF8000000000000u : bits64(x);
}
static float canon(float x) {
    return x != x ? as_float(0x7FFFFFFF) : x;
}

// x * y + z by the host in one of its rounding modes
static float directed(int mode, float x, float y, float z) {
    volatile float a = x, b = y, c = z;
    fesetround(mode);
    volatile float r = fmaf(a, b, c);
    fesetround(FE_TONEAREST);
    return r;
}

static const int host_modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
static uint32_t f32_of_int(int mode, uint64_t v, bool sign) {
    volatile int64_t s = (int64_t)v;
    volatile uint64_t u = v;
    fesetround(host_modes[mode]);
    volatile float f = sign ? (float)s : (float)u;
    fesetround(FE_TONEAREST);
    return bits(f);
}
static uint64_t f64_of_int(int mode, uint64_t v, bool sign) {
    volatile int64_t s = (int64_t)v;
    volatile uint64_t u = v;
    fesetround(host_modes[mode]);
    volatile double f = sign ? (double)s : (double)u;
    fesetround(FE_TONEAREST);
    return bits64(f);
}
// Elementwise: absolute difference of unsigned elements (0), its sum (1), saturating sum (2), average
// (3), least (4), greatest unsigned (5), greatest but not below 0 (6)
static uint32_t video(uint32_t a, uint32_t b, int width, int op) {
    uint32_t all = 0;
    uint32_t sum = 0;
    for (int at = 0; at < 32; at += width) {
        bool sign = op > 1 && op != 5;
        int x = (int)(a >> at & ((1u << width) - 1));
        int y = (int)(b >> at & ((1u << width) - 1));
        x -= sign && x >> (width - 1) != 0 ? 1 << width : 0;
        y -= sign && y >> (width - 1) != 0 ? 1 << width : 0;
        int s = x + y;
        int r = op < 2    ? abs(x - y)
                : op == 2 ? (s > 32767 ? 32767 : s < -32768 ? -32768 : s)
                : op == 3 ? (s + (s >= 0)) >> 1
                : op == 4 ? (x < y ? x : y)
                          : (x > y ? x : y);
        r = op == 6 && r < 0 ? 0 : r;
        sum += (uint32_t)r;
        all |= ((uint32_t)r & ((1u << width) - 1)) << at;
    }
    return op == 1 ? sum : all;
}
static int64_t low24(uint32_t a, bool sign) {
    int64_t v = a & 0xFFFFFF;
    return sign && v >= 1 << 23 ? v - (1 << 24) : v;
}
// .xorsign.abs: least or greatest magnitude, the signs multiplied
static float signed_magnitude(float x, float y, bool max, bool nan) {
    float a = fabsf(x), b = fabsf(y);
    if ((x != x && y != y) || (nan && (x != x || y != y))) {
        return canon(NAN);
    }
    float m = x != x ? b : y != y ? a : (a < b) != max ? a : b;
    return !signbit(x) != !signbit(y) ? -m : m;
}
static uint32_t nan_cut(uint64_t v) { // sign and upper payload of a double that is NaN
    return (uint32_t)(v >> 63) << 31 | 0x7FC00000 | ((uint32_t)(v >> 29) & 0x3FFFFF);
}

static uint32_t negated_half(uint32_t h) {
    return (h & 0x7FFF) > 0x7C00 ? 0x7FFF : h ^ 0x8000;
}

static uint32_t flushed_half(uint32_t h) {
    return (h & 0x7FFF) > 0x7C00 ? 0x7FFF : (h & 0x7C00) == 0 ? h & 0x8000 : h;
}
static float flush(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}
static float max_num(float x, float y) {
    if (x != x || y != y) {
        return canon(x != x ? y : x);
    }
    return x > y || (x == y && !signbit(x)) ? x : y;
}
static float lo(uint64_t v) {
    return as_float((uint32_t)v);
}
static float hi(uint64_t v) {
    return as_float((uint32_t)(v >> 32));
}
static uint64_t two_f32(float x, float y) {
    return (uint64_t)bits(y) << 32 | bits(x);
}
static uint32_t sat32(int64_t v) {
    return (uint32_t)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v);
}
static uint32_t reverse(uint32_t a) {
    uint32_t r = 0;
    for (int i = 0; i < 32; i++) {
        r = r << 1 | (a >> i & 1);
    }
    return r;
}
static uint32_t nth_set(uint32_t a, int base, int n) {
    for (int i = base; i < 32; i++) {
        n -= (int)(a >> i & 1);
        if (n == 0) {
            return (uint32_t)i;
        }
    }
    return 0xFFFFFFFF;
}
static uint32_t to_s32(float x, double rounded) {
    return x != x                    ? 0
           : rounded > 2147483647.0  ? 0x7FFFFFFFu
           : rounded < -2147483648.0 ? 0x80000000u
                                     : (uint32_t)(int32_t)rounded;
}
static uint32_t to_u32(float x, double rounded) {
    return x != x || rounded <= 0 ? 0 : rounded > 4294967295.0 ? 0xFFFFFFFFu : (uint32_t)rounded;
}
static float toward_zero(uint32_t a) {
    int top = a == 0 ? 0 : 31 - __builtin_clz(a);
    return (float)(top > 23 ? a & ~((1u << (top - 23)) - 1) : a);
}
// Round a finite double to 'm' fraction bits with least exponent 'emin', ties to even.
static double rounded_to(double x, int m, int emin) {
    int e;
    if (x == 0 || x - x != 0) {
        return x;
    }
    frexp(x, &e);
    e = e - 1 < emin ? emin : e - 1;
    return ldexp(rint(ldexp(x, m - e)), e - m);
}
static double of_half16(uint32_t h) {
    int e = (int)(h >> 10 & 31);
    double f = h & 1023;
    double v = e == 31  ? (f != 0 ? (double)NAN : (double)INFINITY)
               : e == 0 ? ldexp(f, -24)
                        : ldexp(1024 + f, e - 25);
    return (h & 0x8000) != 0 ? -v : v;
}
static float of_half(uint32_t h) {
    return (float)of_half16(h);
}
static uint32_t half_of_double(double x) {
    if (x != x) {
        return 0x7FFF;
    }
    uint32_t sign = signbit(x) ? 0x8000 : 0;
    double v = fabs(rounded_to(x, 10, -14));
    if (v > 65504) {
        return sign | 0x7C00;
    }
    if (v < 0x1p-14) {
        return sign | (uint32_t)ldexp(v, 24);
    }
    int e;
    frexp(v, &e);
    return sign | (((uint32_t)(e + 14) << 10) + ((uint32_t)ldexp(v, 11 - e) - 1024));
}
static uint32_t half_of(float x) {
    return half_of_double((double)x);
}
static uint32_t half_of_sum(uint32_t a, uint32_t b) {
    return half_of_double(of_half16(a) + of_half16(b)); // the sum is exact in double
}
static uint32_t bf16_of_double(double x) {
    if (x != x) {
        return 0x7FFF;
    }
    double v = rounded_to(x, 7, -126);
    return bits((float)v) >> 16;
}
static uint32_t bf16_of(float x) {
    return bf16_of_double((double)x);
}
static uint32_t bf16_product(uint32_t a, uint32_t b) {
    return bf16_of_double((double)as_float(a << 16) * (double)as_float(b << 16));
}
static uint32_t e2m1_of(float x) {
    static const float values[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    uint32_t sign = signbit(x) ? 8 : 0;
    float v = fabsf(x);
    if (x != x) {
        return 7;
    }
    uint32_t best = 0;
    for (uint32_t c = 1; c < 8; c++) { // nearest; a tie goes to the even code
        double d = fabs((double)v - (double)values[c]);
        double old = fabs((double)v - (double)values[best]);
        best = d < old || (d == old && c % 2 == 0) ? c : best;
    }
    return sign | (v >= 6 ? 7 : best);
}
static uint32_t ue8m0_of(float x) { // of |x|, up
    x = fabsf(x);
    if (x != x) {
        return 255;
    }
    for (int e = 0; e < 254; e++) {
        if ((double)x <= ldexp(1.0, e - 127)) {
            return (uint32_t)e;
        }
    }
    return 254;
}

struct lane_in {
    uint32_t a, b, c, pad;
    uint64_t A, B, C, pad2;
};
#define ARGS                                                                                       \
    uint32_t a = in->a, b = in->b, c = in->c;                                                      \
    uint64_t A = in->A, B = in->B, C = in->C;                                                      \
    float x = as_float(a), y = as_float(b), z = as_float(c);                                       \
    double X = as_double(A), Y = as_double(B), Z = as_double(C);                                   \
    (void)a, (void)b, (void)c, (void)A, (void)B, (void)C, (void)x, (void)y, (void)z, (void)X,      \
        (void)Y, (void)Z, (void)lane

typedef uint64_t reference(const struct lane_in *in, uint32_t lane);
#define CAT2(x, y) x##y
#define CAT(x, y) CAT2(x, y)
#define P32(name, ptx, expr)                                                                       \
    static uint64_t CAT(ref_, __LINE__)(const struct lane_in *in, uint32_t lane) {                 \
        ARGS;                                                                                      \
        return (uint32_t)(expr);                                                                   \
    }
#define P64(name, ptx, expr)                                                                       \
    static uint64_t CAT(ref_, __LINE__)(const struct lane_in *in, uint32_t lane) {                 \
        ARGS;                                                                                      \
        return (uint64_t)(expr);                                                                   \
    }
#include "core_alu.def"
#undef P32
#undef P64

static const struct program {
    const char *name, *ptx;
    reference *ref;
    bool wide;
} programs[] = {
#define P32(name, ptx, expr) {name, ptx, CAT(ref_, __LINE__), false},
#define P64(name, ptx, expr) {name, ptx, CAT(ref_, __LINE__), true},
#include "core_alu.def"
#undef P32
#undef P64
};
enum { COUNT = sizeof programs / sizeof *programs };

// ---- the module ---------------------------------------------------------------------------------
static char *module_text(void) {
    size_t room = 256 + COUNT * 2600;
    char *text = malloc(room);
    size_t n = (size_t)snprintf(text, room, ".version 8.8\n.target sm_100a\n.address_size 64\n");
    for (int i = 0; i < COUNT; i++) {
        n += (size_t)snprintf(
            text + n, room - n,
            ".visible .entry k%d(.param .u64 in, .param .u64 out, .param .u32 half)\n{\n"
            " .reg .b32 r<4>; .reg .b64 d<4>; .reg .b16 h<3>; .reg .f32 f<4>; .reg .f64 e<4>;\n"
            " .reg .pred p, q; .reg .b32 t0, t1, lane; .reg .b64 at, to;\n"
            " mov.u32 lane, %%laneid; mul.wide.u32 at, lane, 48; ld.param.u64 to, [in];\n"
            " add.u64 at, at, to;\n"
            " ld.global.v4.u32 {r1, r2, r3, t0}, [at]; ld.global.v2.u64 {d1, d2}, [at+16];\n"
            " ld.global.u64 d3, [at+32];\n"
            " mov.b32 f1, r1; mov.b32 f2, r2; mov.b32 f3, r3; mov.b64 e1, d1; mov.b64 e2, d2;\n"
            " mov.b64 e3, d3; cvt.u16.u32 h1, r1; cvt.u16.u32 h2, r2;\n"
            " and.b32 t0, r1, 1; setp.ne.u32 p, t0, 0; mov.u32 r0, 0; mov.u64 d0, 0;\n"
            " ld.param.u32 t0, [half]; shr.u32 t1, lane, 2; and.b32 t1, t1, t0; setp.ne.u32 q, t1, "
            "0;\n"
            " @q bra END;\n"
            " %s\n"
            " mul.wide.u32 at, lane, 8; ld.param.u64 to, [out]; add.u64 at, at, to;\n"
            " %s\n"
            "END: ret;\n}\n",
            i, programs[i].ptx,
            programs[i].wide ? "st.global.u64 [at], d0;"
                             : "cvt.u64.u32 d0, r0; st.global.u64 [at], d0;");
    }
    return text;
}

static uint64_t corner(struct rng *r) {
    static const uint32_t words[] = {0,          1,          0xFFFFFFFF, 0x80000000, 0x7FFFFFFF,
                                     0x7F800000, 0xFF800000, 0x7FC00001, 0x00000001, 0x807FFFFF,
                                     0x3F800000, 0xBF800000, 0x00800000, 0x7F7FFFFF, 0x40600000,
                                     0x3F000000, 0x4F000000, 0xCF000001, 0x00007C00, 0x33000000};
    return words[rng_below(r, sizeof words / sizeof *words)];
}

static uint64_t operand(struct rng *r, bool wide) {
    uint32_t how = rng_below(r, 8);
    uint64_t v = rng_next(r);
    if (how == 0) {
        v = corner(r) | corner(r) << 32;
    } else if (how == 1) {
        v = rng_below(r, 64);
    } else if (how == 2) { // floats near 1
        v = (v & 0x807FFFFF807FFFFF) | (uint64_t)(0x3F + rng_below(r, 2)) << 56 | 0x3F800000;
    } else if (how == 3) {
        v = bits64((double)(int32_t)v / 1024);
    } else if (how == 4) {
        v = bits(ldexpf((float)(int32_t)v, -20));
    }
    return wide ? v : (uint32_t)v;
}

static void run_program(sim *s, const sim_module *m, int i) {
    struct rng r = {(uint64_t)i + 1};
    char name[16];
    snprintf(name, sizeof name, "k%d", i);
    uint64_t in_at = sim_alloc(s, 32 * 48);
    uint64_t out_at = sim_alloc(s, 256);
    for (uint32_t round = 0; round < 24; round++) {
        struct lane_in in[32];
        uint8_t image[32 * 48];
        for (int l = 0; l < 32; l++) {
            in[l] = (struct lane_in){(uint32_t)operand(&r, false),
                                     (uint32_t)operand(&r, false),
                                     (uint32_t)operand(&r, false),
                                     0,
                                     operand(&r, true),
                                     operand(&r, true),
                                     operand(&r, true),
                                     0};
            memcpy(image + 48 * l, &in[l], 16);
            memcpy(image + 48 * l + 16, &in[l].A, 24);
            memset(image + 48 * l + 40, 0, 8);
        }
        uint64_t out[32];
        uint32_t half = round & 1;
        assert_int_equal(sim_copy_to(s, in_at, image, sizeof image), SIM_OK);
        assert_int_equal(sim_fill(s, out_at, 0xEE, 256), SIM_OK);
        void *params[] = {&in_at, &out_at, &half};
        launch(s, m, name, &(sim_launch_config){.block = {32}, .params = params});
        assert_int_equal(sim_copy_from(s, out, out_at, 256), SIM_OK);
        for (uint32_t l = 0; l < 32; l++) {
            bool skipped = (l >> 2 & half) != 0;
            uint64_t want = skipped ? 0xEEEEEEEEEEEEEEEE : programs[i].ref(&in[l], l);
            bool nan = want == 0x7FF8000000000000u && as_double(out[l]) != as_double(out[l]);
            if (out[l] != want && !nan) {
                fail_msg("%s: lane %u: a %08x b %08x c %08x A %016llx B %016llx C %016llx -> %llx, "
                         "%llx expected",
                         programs[i].name, l, in[l].a, in[l].b, in[l].c,
                         (unsigned long long)in[l].A, (unsigned long long)in[l].B,
                         (unsigned long long)in[l].C, (unsigned long long)out[l],
                         (unsigned long long)want);
            }
        }
    }
}

static void all_programs(void **state) {
    (void)state;
    char *text = module_text();
    sim_module *m;
    sim *s = open_with(text, &m);
    free(text);
    for (int i = 0; i < COUNT; i++) {
        run_program(s, m, i);
    }
    sim_close(s);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--dump") == 0) {
        FILE *f = fopen(argv[2], "w");
        char *text = module_text();
        bool ok = f != NULL && fputs(text, f) >= 0 && fclose(f) == 0;
        free(text);
        return ok ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
