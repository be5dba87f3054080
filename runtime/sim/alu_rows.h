// The code of alu.def, compiled twice (alu_base.c, alu_avx2.c): every loop runs over the 32 lanes
// of a row, which the compiler turns into vector instructions. TABLE names the table to define.
#include "alu.h"
#include <math.h>

#define LOOP _Pragma("GCC ivdep") for (int i = 0; i < LANES; i++)

// ---- lane functions -----------------------------------------------------------------------------
static inline int32_t s16(uint32_t a) {
    return (int16_t)a;
}
static inline uint32_t relu_s16(uint32_t a) {
    return s16(a) < 0 ? 0 : a & 0xFFFF;
}
static inline int32_t clamp_s32(int64_t v) {
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int32_t)v;
}
static inline uint32_t div_s16(uint32_t a, uint32_t b) {
    return (uint32_t)(s16(b) == 0 ? -1 : s16(a) / s16(b)) & 0xFFFF;
}
static inline uint32_t rem_s16(uint32_t a, uint32_t b) {
    return (uint32_t)(s16(b) == 0 ? s16(a) : s16(a) % s16(b)) & 0xFFFF;
}
static inline int32_t byte_of(uint32_t v, int i, bool sign) {
    return sign ? (int8_t)(v >> 8 * i) : (int32_t)(v >> 8 * i & 255);
}
static inline uint32_t dp4a(uint32_t a, uint32_t b, uint32_t c, bool sa, bool sb) {
    for (int i = 0; i < 4; i++) {
        c += (uint32_t)(byte_of(a, i, sa) * byte_of(b, i, sb));
    }
    return c;
}
// mode: 1 for the two upper bytes of b
static inline uint32_t dp2a(uint32_t a, uint32_t b, uint32_t c, int mode) {
    bool sa = (mode & 4) != 0;
    bool sb = (mode & 2) != 0;
    for (int i = 0; i < 2; i++) {
        int32_t half = sa ? s16(a >> 16 * i) : (int32_t)(a >> 16 * i & 0xFFFF);
        c += (uint32_t)half * (uint32_t)byte_of(b, 2 * (mode & 1) + i, sb);
    }
    return c;
}
static inline int64_t mul24_s(uint32_t a, uint32_t b) {
    return (int64_t)((int32_t)(a << 8) >> 8) * ((int32_t)(b << 8) >> 8);
}
static inline uint64_t mul24_u(uint32_t a, uint32_t b) {
    return (uint64_t)(a & 0xFFFFFF) * (b & 0xFFFFFF);
}
static inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t lut) {
    uint32_t r = 0;
    for (int i = 0; i < 8; i++) {
        uint32_t term = ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
        r |= term & (0u - (lut >> i & 1));
    }
    return r;
}
static inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t c) {
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t s = c >> 4 * i & 15;
        uint32_t v = (uint32_t)(bytes >> (s & 7) * 8) & 255;
        r |= ((s & 8) != 0 ? ((v & 128) != 0 ? 255u : 0u) : v) << 8 * i;
    }
    return r;
}
// modes: f4e b4e rc8 ecl ecr rc16 (PTX ISA "prmt")
static inline uint32_t prmt_mode(uint32_t a, uint32_t b, uint32_t c, int mode) {
    static const uint16_t select[6][4] = {
        {0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
        {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
        {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232}};
    return prmt(a, b, select[mode][c & 3]);
}
static inline uint64_t bfe_u(uint64_t a, uint32_t pos, uint32_t len, uint32_t width) {
    pos &= 255;
    len &= 255;
    if (len == 0 || pos >= width) {
        return 0;
    }
    a >>= pos;
    return len >= 64 ? a : a & ((1ull << len) - 1);
}
// The field is filled up with its top bit, or with the sign of a where it reaches beyond a.
static inline uint64_t bfe_s(uint64_t a, uint32_t pos, uint32_t len, uint32_t width) {
    pos &= 255;
    len &= 255;
    if (len == 0) {
        return 0;
    }
    int64_t v = (int64_t)a >> (pos > 63 ? 63 : pos);
    if (len >= width || pos + len >= width) {
        return (uint64_t)v;
    }
    return (uint64_t)((int64_t)((uint64_t)v << (64 - len)) >> (64 - len));
}
static inline uint32_t bmsk(uint32_t pos, uint32_t len) {
    return (uint32_t)(((1ull << len) - 1) << pos);
}
static inline uint32_t bfind(uint64_t a, int width) {
    (void)width;
    return a == 0 ? 0xFFFFFFFFu : 63u - (uint32_t)__builtin_clzll(a);
}
static inline uint32_t shiftamt(uint32_t found, uint32_t width) {
    return found == 0xFFFFFFFFu ? found : width - 1 - found;
}
static inline uint32_t brev(uint32_t a) {
    a = (a >> 1 & 0x55555555) | (a & 0x55555555) << 1;
    a = (a >> 2 & 0x33333333) | (a & 0x33333333) << 2;
    a = (a >> 4 & 0x0F0F0F0F) | (a & 0x0F0F0F0F) << 4;
    return __builtin_bswap32(a);
}
// The n-th set bit from 'base' on, upwards for n > 0, downwards for n < 0 (PTX ISA "fns").
static inline uint32_t fns(uint32_t mask, uint32_t base, int32_t n) {
    if (n == 0) {
        return base < 32 && (mask >> base & 1) != 0 ? base : 0xFFFFFFFFu;
    }
    int step = n > 0 ? 1 : -1;
    int left = n > 0 ? n : -n;
    for (int i = (int)base; i >= 0 && i < 32; i += step) {
        left -= (int)(mask >> i & 1);
        if (left == 0) {
            return (uint32_t)i;
        }
    }
    return 0xFFFFFFFFu;
}
static inline float lo(uint64_t v) {
    return num_f32((uint32_t)v);
}
static inline float hi(uint64_t v) {
    return num_f32((uint32_t)(v >> 32));
}
static inline uint64_t pair(float x, float y) {
    return (uint64_t)num_bits(y) << 32 | num_bits(x);
}
static inline uint64_t flushed_pair(uint64_t v) {
    return pair(num_ftz(lo(v)), num_ftz(hi(v)));
}
static inline uint64_t add_ftz_x2(uint64_t a, uint64_t b, int round) {
    a = flushed_pair(a);
    b = flushed_pair(b);
    return flushed_pair(pair(num_add_r(lo(a), lo(b), (enum num_round)round),
                             num_add_r(hi(a), hi(b), (enum num_round)round)));
}
static inline uint64_t mul_ftz_x2(uint64_t a, uint64_t b, int round) {
    a = flushed_pair(a);
    b = flushed_pair(b);
    return flushed_pair(pair(num_mul_ftz(lo(a), lo(b), (enum num_round)round),
                             num_mul_ftz(hi(a), hi(b), (enum num_round)round)));
}
static inline uint64_t fma_ftz_x2(uint64_t a, uint64_t b, uint64_t c, int round) {
    a = flushed_pair(a);
    b = flushed_pair(b);
    c = flushed_pair(c);
    return flushed_pair(pair(num_fma_ftz(lo(a), lo(b), lo(c), (enum num_round)round),
                             num_fma_ftz(hi(a), hi(b), hi(c), (enum num_round)round)));
}
// .xorsign.abs: of the magnitudes, with the product's sign (PTX ISA "min", "max"). how: 1 max, 2 NaN
static inline float magnitude(float a, float b, int how) {
    float r = (how & 1) != 0 ? num_max(fabsf(a), fabsf(b), (how & 2) != 0)
                             : num_min(fabsf(a), fabsf(b), (how & 2) != 0);
    return r == r && signbit(a) != signbit(b) ? -r : r;
}
static inline uint32_t two(uint32_t low, uint32_t high) {
    return high << 16 | low;
}
static inline float h_value(uint32_t h, bool bf) {
    return bf ? num_of_bf16((uint16_t)h) : num_of_f16((uint16_t)h);
}
static inline uint32_t h_code(float x, bool bf) {
    return bf ? num_bf16_of(x, NUM_RN) : num_f16_of(x, NUM_RN);
}
// The double nearest to p + c whose last bit tells that something was cut (round to odd): a second
// rounding to a narrower format then equals one rounding of the exact sum.
static inline double odd_sum(double p, double c) {
    double s = p + c;
    double t = s - p;
    double lost = (p - (s - t)) + (c - t);
    uint64_t u;
    memcpy(&u, &s, 8);
    if (lost != 0 && lost == lost && (u & 1) == 0 && s - s == 0) {
        u += (lost > 0) == (s > 0) ? 1 : (uint64_t)-1;
        memcpy(&s, &u, 8);
    }
    return s;
}
static inline float odd_float(double x) {
    float f = (float)x;
    uint32_t u = num_bits(f);
    if ((double)f != x && x == x && (u & 0x7FFFFFFF) < 0x7F800000 && (u & 1) == 0) {
        u += fabs((double)f) < fabs(x) ? 1 : (uint32_t)-1;
        return num_f32(u);
    }
    return f;
}
static inline float float_of(double x, int mode) {
    float f = (float)x;
    double back = (double)f;
    bool down = mode == NUM_RM || (mode == NUM_RZ && x > 0);
    bool up = mode == NUM_RP || (mode == NUM_RZ && x < 0);
    if (down && back > x) {
        return nextafterf(f, -INFINITY);
    }
    return up && back < x ? nextafterf(f, INFINITY) : f;
}
// A NaN keeps its sign and the upper part of its payload (H200).
static inline uint32_t narrowed(double x, int mode) {
    uint64_t u;
    memcpy(&u, &x, 8);
    return x == x ? num_bits(float_of(x, mode))
                  : (uint32_t)(u >> 63) << 31 | 0x7FC00000 | ((uint32_t)(u >> 29) & 0x3FFFFF);
}
// |a| with the sign bit of 'sign'; NaN is the one that arithmetic gives. 'infinity': its code.
static inline uint32_t h_sign(uint32_t a, uint32_t sign, uint32_t infinity) {
    return (a & 0x7FFF) > infinity ? 0x7FFF : (a & 0x7FFF) | (sign & 0x8000);
}
static inline uint32_t h_ftz(uint32_t a) { // f16 only: bf16 instructions have no .ftz
    return (a & 0x7C00) == 0 ? a & 0x8000 : a;
}
static inline uint32_t h_sat(uint32_t a) { // f16: to [0, 1], NaN to 0
    return (a & 0x8000) != 0 || a > 0x7C00 ? 0 : a > 0x3C00 ? 0x3C00 : a;
}
static inline uint32_t h_add(uint32_t a, uint32_t b, bool bf) {
    return h_code(odd_float(odd_sum(h_value(a, bf), h_value(b, bf))), bf);
}
static inline uint32_t h_mul(uint32_t a, uint32_t b, bool bf) {
    return h_code(odd_float((double)h_value(a, bf) * (double)h_value(b, bf)), bf);
}
static inline uint32_t h_fma(uint32_t a, uint32_t b, uint32_t c, bool bf) {
    double p = (double)h_value(a, bf) * (double)h_value(b, bf);
    return h_code(odd_float(odd_sum(p, h_value(c, bf))), bf);
}
// f16 with .ftz: what is below the least normal number after rounding to 11 bits is 0 (H200).
static inline uint32_t h_tiny(double exact, uint32_t code) {
    return fabs(exact) < 0x1p-14 - 0x1p-26 ? code & 0x8000 : code;
}
static inline uint32_t h_mul_ftz(uint32_t a, uint32_t b) {
    return h_tiny((double)h_value(a, false) * (double)h_value(b, false), h_mul(a, b, false));
}
static inline uint32_t h_fma_ftz(uint32_t a, uint32_t b, uint32_t c) {
    double p = (double)h_value(a, false) * (double)h_value(b, false);
    return h_tiny(odd_sum(p, h_value(c, false)), h_fma(a, b, c, false));
}
static inline uint32_t h_min(uint32_t a, uint32_t b, bool nan, bool bf) {
    return h_code(num_min(h_value(a, bf), h_value(b, bf), nan), bf);
}
static inline uint32_t h_max(uint32_t a, uint32_t b, bool nan, bool bf) {
    return h_code(num_max(h_value(a, bf), h_value(b, bf), nan), bf);
}
static inline uint32_t h_magnitude(uint32_t a, uint32_t b, int how, bool bf) {
    float r = magnitude(h_value(a & 0x7FFF, bf), h_value(b & 0x7FFF, bf), how);
    return h_code(r, bf) | (r == r ? (a ^ b) & 0x8000 : 0); // also the sign of a NaN counts
}
static inline uint32_t h_mufu(enum num_mufu op, uint32_t a, bool bf) {
    return num_mufu_half(op, h_value(a, bf), bf ? NUM_BF16 : NUM_F16);
}
static inline uint32_t h_relu(uint32_t a) {
    return a == 0x7FFF || (a & 0x8000) == 0 ? a : 0;
}
static inline uint32_t h_to_bf16(uint32_t a) {
    return num_bf16_of(num_of_f16((uint16_t)a), NUM_RN);
}
static inline uint32_t cvt_x2_f16x2(uint32_t a, int64_t imm) {
    return num_encode_x2((enum num_fmt)(imm & 255), h_value(a >> 16, false),
                         h_value(a & 0xFFFF, false), (enum num_round)(imm >> 8 & 255),
                         (imm >> 16 & 1) != 0, (imm >> 17 & 1) != 0);
}
static inline uint32_t cvt_x2_bf16x2(uint32_t a, int64_t imm) {
    return num_encode_x2((enum num_fmt)(imm & 255), h_value(a >> 16, true),
                         h_value(a & 0xFFFF, true), (enum num_round)(imm >> 8 & 255),
                         (imm >> 16 & 1) != 0, (imm >> 17 & 1) != 0);
}
// An integer as a double in a rounding mode, or in ROUND_ODD, which another rounding may follow.
static inline double double_of(uint64_t m, bool negative, int mode) {
    int shift = m >> 53 == 0 ? 0 : 11 - __builtin_clzll(m);
    uint64_t q = m >> shift;
    uint64_t rest = m & ((1ull << shift) - 1);
    uint64_t half = shift == 0 ? 1 : 1ull << (shift - 1);
    bool up = mode == NUM_RN   ? rest > half || (rest == half && (q & 1) != 0)
              : mode == NUM_RM ? negative && rest != 0
              : mode == NUM_RP ? !negative && rest != 0
                               : false;
    q = mode == ROUND_ODD ? q | (rest != 0) : q + up;
    double v = ldexp((double)q, shift);
    return negative ? -v : v;
}
// To an integral value: 0 nearest even, 1 toward zero, 2 down, 3 up (ORDER num_round).
static inline double round_to(double x, int mode) {
    return mode == NUM_RN   ? rint(x)
           : mode == NUM_RZ ? trunc(x)
           : mode == NUM_RM ? floor(x)
                            : ceil(x);
}
// Float to integer clamps; NaN gives 0 (PTX ISA "cvt"), but in 64 bits the top bit alone (H200).
static inline int64_t int_of(double x, int mode, int bits) {
    double limit = ldexp(1.0, bits - 1);
    x = round_to(x, mode);
    if (x != x) {
        return bits == 64 ? INT64_MIN : 0;
    }
    return x >= limit   ? (int64_t)(UINT64_MAX >> 1 >> (64 - bits))
           : x < -limit ? INT64_MIN >> (64 - bits)
                        : (int64_t)x;
}
static inline uint64_t uint_of(double x, int mode, int bits) {
    x = round_to(x, mode);
    if (x != x && bits == 64) {
        return 1ull << 63;
    }
    if (!(x > 0)) {
        return 0;
    }
    return x >= ldexp(1.0, bits) ? UINT64_MAX >> (64 - bits) : (uint64_t)x;
}
// Clamp to 'bits' bits, signed when bit 8 of how is set; the result is cut to the bits of the type.
static inline uint64_t sat_uint(uint64_t v, int how) {
    int bits = how & 255;
    uint64_t most = UINT64_MAX >> (64 - bits) >> (how >> 8);
    return v > most ? most : v;
}
static inline uint64_t sat_int(int64_t v, int how) {
    int bits = how & 255;
    if (how >> 8 == 0) {
        return v < 0 ? 0 : sat_uint((uint64_t)v, how);
    }
    int64_t most = (int64_t)(UINT64_MAX >> 1 >> (64 - bits));
    int64_t r = v > most ? most : v < -most - 1 ? -most - 1 : v;
    return (uint64_t)r & (UINT64_MAX >> (64 - bits));
}
// testp: 0 finite, 1 infinite, 2 number, 3 notanumber, 4 normal, 5 subnormal
static inline bool testp(float x, int what) {
    uint32_t e = num_bits(x) >> 23 & 255;
    uint32_t m = num_bits(x) & 0x7FFFFF;
    bool is[6] = {e != 255, e == 255 && m == 0, x == x,
                  x != x,   e != 0 && e != 255, e == 0 && m != 0};
    return is[what];
}

// ---- rows ---------------------------------------------------------------------------------------
static const u32 lane_bit[LANES] = {
    1u << 0,  1u << 1,  1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
    1u << 8,  1u << 9,  1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
    1u << 16, 1u << 17, 1u << 18, 1u << 19, 1u << 20, 1u << 21, 1u << 22, 1u << 23,
    1u << 24, 1u << 25, 1u << 26, 1u << 27, 1u << 28, 1u << 29, 1u << 30, 1u << 31};

static void blend_4(void *to, const void *from, uint32_t m) {
    u32 *d = to;
    const u32 *t = from;
    LOOP {
        d[i] = (m & lane_bit[i]) != 0 ? t[i] : d[i];
    }
}
static void blend_8(void *to, const void *from, uint32_t m) {
    u64 *d = to;
    const u64 *t = from;
    for (int i = 0; i < LANES; i++) {
        if ((m >> i & 1) != 0) {
            d[i] = t[i];
        }
    }
}
#define BLEND(to, from, m, D) (sizeof(D) == 4 ? blend_4(to, from, m) : blend_8(to, from, m))

// A result goes straight to its row when all lanes run, else through a copy that is blended in.
#define BODY(D, fetch, expr)                                                                       \
    uint32_t m = exec_mask(w, u);                                                                  \
    int64_t imm = u->imm;                                                                          \
    (void)imm;                                                                                     \
    if (m == FULL) {                                                                               \
        D *d = row(w, u->d);                                                                       \
        LOOP {                                                                                     \
            fetch;                                                                                 \
            d[i] = (expr);                                                                         \
        }                                                                                          \
    } else if (m != 0) {                                                                           \
        D t[LANES] __attribute__((aligned(32)));                                                   \
        LOOP {                                                                                     \
            fetch;                                                                                 \
            t[i] = (expr);                                                                         \
        }                                                                                          \
        BLEND(row(w, u->d), t, m, D);                                                              \
    }                                                                                              \
    return u + 1;

#define ALU1(KEY, D, A, expr)                                                                      \
    static const struct uop *do_##KEY(struct warp *w, const struct uop *u) {                       \
        const A *pa = row(w, u->a);                                                                \
        BODY(D, const A a = pa[i], expr)                                                           \
    }
#define ALU2(KEY, D, A, B, expr)                                                                   \
    static const struct uop *do_##KEY(struct warp *w, const struct uop *u) {                       \
        const A *pa = row(w, u->a);                                                                \
        const B *pb = row(w, u->b);                                                                \
        BODY(D, const A a = pa[i]; const B b = pb[i], expr)                                        \
    }
#define ALU3(KEY, D, A, B, C, expr)                                                                \
    static const struct uop *do_##KEY(struct warp *w, const struct uop *u) {                       \
        const A *pa = row(w, u->a);                                                                \
        const B *pb = row(w, u->b);                                                                \
        const C *pc = row(w, u->c);                                                                \
        BODY(D, const A a = pa[i]; const B b = pb[i]; const C c = pc[i], expr)                     \
    }

#ifdef __AVX2__
static inline uint32_t rows_to_mask(const u32 *t) {
    uint32_t m = 0;
    for (int i = 0; i < 4; i++) {
        __m256 v = _mm256_load_ps((const float *)t + 8 * i);
        m |= (uint32_t)_mm256_movemask_ps(v) << 8 * i;
    }
    return m;
}
#else
static inline uint32_t rows_to_mask(const u32 *t) {
    uint32_t m = 0;
    for (int i = 0; i < LANES; i++) {
        m |= (t[i] >> 31) << i;
    }
    return m;
}
#endif

static inline void put(u32 *p, uint32_t value, uint32_t m) {
    *p = (*p & ~m) | (value & m);
}

static inline const struct uop *set_preds(struct warp *w, const struct uop *u, uint32_t r) {
    struct cmp_out o;
    memcpy(&o, &u->imm, sizeof o);
    uint32_t m = exec_mask(w, u);
    uint32_t c = w->p[o.c] ^ (0u - o.negated);
    uint32_t p = o.op == 0 ? r : o.op == 1 ? r & c : o.op == 2 ? r | c : r ^ c;
    uint32_t q = o.op == 0 ? ~r : o.op == 1 ? ~r & c : o.op == 2 ? ~r | c : ~r ^ c;
    put(&w->p[u->d], p, m);
    put(&w->p[o.q], q, m);
    return u + 1;
}

#define CMP(KEY, T, cond)                                                                          \
    static const struct uop *do_CMP_##KEY(struct warp *w, const struct uop *u) {                   \
        const T *pa = row(w, u->a);                                                                \
        const T *pb = row(w, u->b);                                                                \
        int imm_b = (int)u->c;                                                                     \
        (void)imm_b;                                                                               \
        u32 t[LANES] __attribute__((aligned(32)));                                                 \
        LOOP {                                                                                     \
            const T a = pa[i];                                                                     \
            const T b = pb[i];                                                                     \
            (void)b;                                                                               \
            t[i] = (cond) ? FULL : 0;                                                              \
        }                                                                                          \
        return set_preds(w, u, rows_to_mask(t));                                                   \
    }
#include "alu.def"
#undef ALU1
#undef ALU2
#undef ALU3
#undef CMP

#define SELP(NAME, T)                                                                              \
    static const struct uop *NAME(struct warp *w, const struct uop *u) {                           \
        const T *pa = row(w, u->a);                                                                \
        const T *pb = row(w, u->b);                                                                \
        uint32_t which = w->p[u->c] ^ (0u - u->flag);                                              \
        BODY(T, const T a = pa[i]; const T b = pb[i], (which & lane_bit[i]) != 0 ? a : b)          \
    }
SELP(do_SELP_32, u32)
SELP(do_SELP_64, u64)

uop_fn *const TABLE[ALU_COUNT] = {
#define ALU1(KEY, D, A, expr) [ALU_##KEY] = do_##KEY,
#define ALU2(KEY, D, A, B, expr) [ALU_##KEY] = do_##KEY,
#define ALU3(KEY, D, A, B, C, expr) [ALU_##KEY] = do_##KEY,
#define CMP(KEY, T, cond) [ALU_CMP_##KEY] = do_CMP_##KEY,
#include "alu.def"
#undef ALU1
#undef ALU2
#undef ALU3
#undef CMP
    [ALU_SELP_32] = do_SELP_32,
    [ALU_SELP_64] = do_SELP_64,
};
