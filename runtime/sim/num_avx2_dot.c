// Truncated fused dot products, 8 rows of A at a time.
//
// Pass 1 finds the largest exponent of the non-zero products in 16-bit lanes. Pass 2 multiplies the
// decoded floats (a product of two significands of at most 11 bits is exact), scales by 2^(F -
// emax) and converts with truncation, which is the alignment; every aligned term is below 2^27, so
// sixteen sum in an int32. Operands whose products could leave the float range are multiplied as
// doubles. The rest (addend, final rounding toward zero) is exact in doubles under the
// round-toward-zero mode. Specials and results near overflow go to the reference, element by
// element.
#if defined(__x86_64__)
#include "num_mm.h"
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define BLOCK 16        // rows of A a panel

struct panel_a {
    float value[32][BLOCK];
    int16_t exponent[32][BLOCK];
    int scale[BLOCK]; // ue8m0 exponent
    bool slow;        // a special: the reference decides
    bool wide;        // exponents beyond NUM_NEAR
};

struct panel_b {
    float value[NUM_MM_MAX_N][32];
    int32_t exponent[NUM_MM_MAX_N][32]; // the int16 exponent in both halves
    int scale[NUM_MM_MAX_N];
    bool slow[NUM_MM_MAX_N];
    bool wide[NUM_MM_MAX_N];
};

// A row's lanes: byte formats straight from the table, the others decoded into 'buffer'.
struct row_lanes {
    const struct num_lane *table;
    const uint8_t *codes;
    struct num_lane buffer[32];
};

static void open_row(struct row_lanes *r, enum num_fmt f, const uint8_t row[32], int k) {
    r->table = num_lane_table(f);
    r->codes = row;
    if (!r->table) {
        num_lanes_of_row(f, row, k, r->buffer);
    }
}

static inline struct num_lane lane_at(const struct row_lanes *r, int k) {
    return r->table ? r->table[r->codes[k]] : r->buffer[k];
}

static void pack_a(struct panel_a *out, const struct num_mm *p, int m0, int rows) {
    out->slow = false;
    out->wide = false;
    if (rows < BLOCK) {
        memset(out, 0, sizeof *out); // a missing row is zero: its exponent 0 only raises its own emax
    }
    for (int i = 0; i < rows; i++) {
        struct row_lanes row;
        open_row(&row, p->dot.a, p->a[m0 + i], p->dot.k);
        for (int k = 0; k < p->dot.k; k++) {
            struct num_lane l = lane_at(&row, k);
            out->value[k][i] = l.value;
            out->exponent[k][i] = l.exponent;
            out->slow |= l.special;
            out->wide |= l.wide;
        }
        if (p->op == NUM_MM_SCALED) {
            out->slow |= p->sa[m0 + i][0] == 0xFF;
            out->scale[i] = (int)p->sa[m0 + i][0] - 127;
        }
    }
}

static void pack_b(struct panel_b *out, const struct num_mm *p) {
    for (int n = 0; n < p->n; n++) {
        struct row_lanes row;
        bool slow = false;
        bool wide = false;
        open_row(&row, p->dot.b, p->b[n], p->dot.k);
        for (int k = 0; k < p->dot.k; k++) {
            struct num_lane l = lane_at(&row, k);
            uint16_t e = (uint16_t)l.exponent;
            out->value[n][k] = l.value;
            out->exponent[n][k] = (int32_t)((uint32_t)e << 16 | e);
            slow |= l.special;
            wide |= l.wide;
        }
        out->scale[n] = 0;
        if (p->op == NUM_MM_SCALED) {
            slow |= p->sb[n][0] == 0xFF;
            out->scale[n] = (int)p->sb[n][0] - 127;
        }
        out->slow[n] = slow;
        out->wide[n] = wide;
    }
}

// 2^e of 4 exponents in the normal double range.
AVX2 static inline __m256d pow2_pd(__m128i e) {
    __m256i wide = _mm256_cvtepi32_epi64(_mm_add_epi32(e, _mm_set1_epi32(1023)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(wide, 52));
}

// Half of a block: 4 sums and addends, quantum 2^q. Runs in round-toward-zero mode, where
// |c| + 2^(q+52) drops exactly the bits below 2^q.
AVX2 static inline __m256d total_pd(__m128i s0, __m128i s1, __m128 c, __m128i q) {
    __m256d sum = _mm256_add_pd(_mm256_cvtepi32_pd(s0), _mm256_cvtepi32_pd(s1));
    __m256d big = pow2_pd(_mm_add_epi32(q, _mm_set1_epi32(52)));
    __m256d sign = _mm256_set1_pd(-0.0);
    __m256d wide = _mm256_cvtps_pd(c);
    __m256d cut = _mm256_sub_pd(_mm256_add_pd(_mm256_andnot_pd(sign, wide), big), big);
    cut = _mm256_or_pd(cut, _mm256_and_pd(sign, wide));
    return _mm256_add_pd(_mm256_mul_pd(sum, pow2_pd(q)), cut);
}

// Exact double (a sum of few bits) to f16, nearest even, +0 for every zero.
static uint32_t f16_of_double(double x) {
    uint64_t u;
    memcpy(&u, &x, 8);
    uint32_t sign = (uint32_t)(u >> 63) << 15;
    int e = (int)(u >> 52 & 0x7FF) - 1023;
    uint64_t sig = (u & 0xFFFFFFFFFFFFFull) | 1ull << 52;
    if (e < -26) {
        return 0;
    }
    int quantum = e < -14 ? -14 : e;
    int shift = 42 + quantum - e;
    uint64_t rest = sig & ((1ull << shift) - 1);
    uint64_t half = 1ull << (shift - 1);
    uint64_t r = sig >> shift;
    r += rest > half || (rest == half && (r & 1));
    if (r == 0) {
        return 0;
    }
    uint32_t code = ((uint32_t)(quantum + 14) << 10) + (uint32_t)r;
    return sign | (code > 0x7C00u ? 0x7C00u : code);
}

AVX2 static inline __m256i round_totals(const struct num_mm *p, __m256d lo, __m256d hi) {
    if (p->dot.out == NUM_OUT_F16) {
        double t[8];
        uint32_t h[8];
        _mm256_storeu_pd(t, lo);
        _mm256_storeu_pd(t + 4, hi);
        for (int i = 0; i < 8; i++) {
            h[i] = f16_of_double(t[i]);
        }
        return _mm256_loadu_si256((const __m256i *)h);
    }
    __m256 r = _mm256_set_m128(_mm256_cvtpd_ps(hi), _mm256_cvtpd_ps(lo));
    if (p->dot.out == NUM_OUT_E8M13) {
        r = _mm256_and_ps(r, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xFFFFFC00)));
    }
    return _mm256_castps_si256(_mm256_add_ps(r, _mm256_setzero_ps())); // -0 becomes +0
}

// The addend's exponent, NUM_DEAD for zero; 128 for Inf and NaN.
AVX2 static inline __m256i exponent_epi32(__m256i c) {
    __m256i magnitude = _mm256_and_si256(c, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i field = _mm256_max_epi32(_mm256_srli_epi32(magnitude, 23), _mm256_set1_epi32(1));
    __m256i zero = _mm256_cmpeq_epi32(magnitude, _mm256_setzero_si256());
    __m256i e = _mm256_sub_epi32(field, _mm256_set1_epi32(127));
    return _mm256_blendv_epi8(e, _mm256_set1_epi32(NUM_DEAD), zero);
}

struct dot_step {
    const struct num_mm *p;
    const struct panel_a *a;
    const struct panel_b *b;
    int n;
};

// Products of 8 rows at 'half' with column n, aligned to 2^(ee - F), in two partial sums.
AVX2 static inline void aligned_sums(const struct dot_step *s, int half, __m256i ee,
                                     __m256i sum[2]) {
    // Outside these bounds no product survives (or none is alive): the scale stays a normal float.
    ee = _mm256_min_epi32(_mm256_max_epi32(ee, _mm256_set1_epi32(-100)), _mm256_set1_epi32(150));
    __m256i field = _mm256_sub_epi32(_mm256_set1_epi32(127 + s->p->dot.frac), ee);
    __m256 scale = _mm256_castsi256_ps(_mm256_slli_epi32(field, 23));
    const float *b = s->b->value[s->n];
    int k_half = s->p->dot.k > 16 ? 16 : s->p->dot.k;
    for (int part = 0; part < 2; part++) {
        __m256i acc = _mm256_setzero_si256();
        int end = part == 0 ? k_half : s->p->dot.k;
        for (int k = part * k_half; k < end; k++) {
            __m256 product =
                _mm256_mul_ps(_mm256_loadu_ps(&s->a->value[k][half]), _mm256_broadcast_ss(b + k));
            acc = _mm256_add_epi32(acc, _mm256_cvttps_epi32(_mm256_mul_ps(product, scale)));
        }
        sum[part] = acc;
    }
}

// 4 aligned products in doubles: any exponents fit.
AVX2 static inline __m128i aligned_pd(const float *a, float b, __m256d scale) {
    __m256d product = _mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(a)), _mm256_set1_pd((double)b));
    return _mm256_cvttpd_epi32(_mm256_mul_pd(product, scale));
}

AVX2 static inline void aligned_sums_wide(const struct dot_step *s, int half, __m256i ee,
                                          __m256i sum[2]) {
    __m256i e = _mm256_sub_epi32(_mm256_set1_epi32(s->p->dot.frac), ee);
    __m256d lo = pow2_pd(_mm256_castsi256_si128(e));
    __m256d hi = pow2_pd(_mm256_extracti128_si256(e, 1));
    sum[0] = _mm256_setzero_si256();
    sum[1] = _mm256_setzero_si256();
    for (int k = 0; k < s->p->dot.k; k++) {
        const float *a = &s->a->value[k][half];
        float b = s->b->value[s->n][k];
        __m256i t = _mm256_set_m128i(aligned_pd(a + 4, b, hi), aligned_pd(a, b, lo));
        sum[k / 16] = _mm256_add_epi32(sum[k / 16], t);
    }
}

// The largest exponent of the 16 rows' products with column n.
AVX2 static inline __m256i largest_exponent(const struct dot_step *s) {
    __m256i most = _mm256_set1_epi16(2 * NUM_DEAD);
    const int32_t *b = s->b->exponent[s->n];
    for (int k = 0; k < s->p->dot.k; k++) {
        __m256i a = _mm256_loadu_si256((const __m256i *)s->a->exponent[k]);
        most = _mm256_max_epi16(most, _mm256_add_epi16(a, _mm256_set1_epi32(b[k])));
    }
    return most;
}

AVX2 static inline __m256i addends(const struct num_mm *p, const uint32_t *d) {
    if (!p->accumulate) {
        return _mm256_setzero_si256();
    }
    if (p->dot.out != NUM_OUT_F16) {
        return _mm256_loadu_si256((const __m256i *)d);
    }
    uint32_t c[8];
    for (int i = 0; i < 8; i++) {
        c[i] = num_bits(num_of_f16((uint16_t)d[i]));
    }
    return _mm256_loadu_si256((const __m256i *)c);
}

// 8 rows of one column; false when the reference has to do them.
AVX2 static inline bool dot_8(const struct dot_step *s, int half, __m256i products, uint32_t *d) {
    const struct num_mm *p = s->p;
    __m256i c = addends(p, d);
    __m256i xs = _mm256_setzero_si256();
    if (p->op == NUM_MM_SCALED) {
        xs = _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)&s->a->scale[half]),
                              _mm256_set1_epi32(s->b->scale[s->n]));
    }
    __m256i ec = exponent_epi32(c);
    if (p->dot.out == NUM_OUT_F16) { // an f16 subnormal keeps exponent -14
        __m256i dead = _mm256_cmpeq_epi32(ec, _mm256_set1_epi32(NUM_DEAD));
        ec = _mm256_blendv_epi8(_mm256_max_epi32(ec, _mm256_set1_epi32(-14)), ec, dead);
    }
    __m256i emax = _mm256_max_epi32(_mm256_add_epi32(products, xs), ec);
    emax = _mm256_max_epi32(emax, _mm256_set1_epi32(p->dot.floor));
    int high = p->dot.out == NUM_OUT_F16 ? 40 : NUM_LIMIT_HIGH;
    __m256i over = _mm256_cmpgt_epi32(emax, _mm256_set1_epi32(high));
    if (_mm256_movemask_epi8(over)) {
        return false;
    }
    __m256i sum[2];
    if (s->a->wide || s->b->wide[s->n]) {
        aligned_sums_wide(s, half, _mm256_sub_epi32(emax, xs), sum);
    } else {
        aligned_sums(s, half, _mm256_sub_epi32(emax, xs), sum);
    }
    __m256i q = _mm256_sub_epi32(emax, _mm256_set1_epi32(p->dot.frac));
    __m256 cf = _mm256_castsi256_ps(c);
    __m256d lo = total_pd(_mm256_castsi256_si128(sum[0]), _mm256_castsi256_si128(sum[1]),
                          _mm256_castps256_ps128(cf), _mm256_castsi256_si128(q));
    __m256d hi = total_pd(_mm256_extracti128_si256(sum[0], 1), _mm256_extracti128_si256(sum[1], 1),
                          _mm256_extractf128_ps(cf, 1), _mm256_extracti128_si256(q, 1));
    _mm256_storeu_si256((__m256i *)d, round_totals(p, lo, hi));
    return true;
}

static void by_reference(const struct num_mm *p, int m0, int rows, int n, uint32_t *d) {
    for (int i = 0; i < rows; i++) {
        d[i] = num_mm_element(p, m0 + i, n, num_mm_addend(p, d[i]));
    }
}

// A block of up to 16 rows against all columns. Columns that must go to the reference are marked,
// so that the reference runs in the ordinary rounding mode.
AVX2 __attribute__((noinline)) static void dot_block(struct dot_step *s, int rows, uint32_t *d,
                                                     size_t ldd, uint8_t *redo) {
    for (int n = 0; n < s->p->n; n++) {
        redo[n] = 3;
        if (s->a->slow || s->b->slow[n]) {
            continue;
        }
        s->n = n;
        uint32_t *column = d + (size_t)n * ldd;
        uint32_t edge[BLOCK] = {0};
        uint32_t *out = column;
        if (rows < BLOCK) {
            memcpy(edge, column, (size_t)rows * 4);
            out = edge;
        }
        __m256i most = largest_exponent(s);
        __m256i lo = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(most));
        __m256i hi = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(most, 1));
        redo[n] = dot_8(s, 0, lo, out) ? 0 : 1;
        redo[n] |= dot_8(s, 8, hi, out + 8) ? 0 : 2;
        if (rows < BLOCK) {
            memcpy(column, edge, (size_t)rows * 4);
        }
    }
}

AVX2 void num_avx2_dot(const struct num_mm *p, uint32_t *d, size_t ldd) {
    struct panel_b b;
    struct panel_a a;
    uint8_t redo[NUM_MM_MAX_N];
    pack_b(&b, p);
    struct dot_step s = {.p = p, .a = &a, .b = &b};
    unsigned mode = _mm_getcsr();
    for (int m0 = 0; m0 < p->m; m0 += BLOCK) {
        int rows = p->m - m0 < BLOCK ? p->m - m0 : BLOCK;
        pack_a(&a, p, m0, rows);
        _mm_setcsr(_MM_MASK_MASK | _MM_ROUND_TOWARD_ZERO);
        dot_block(&s, rows, d + m0, ldd, redo);
        _mm_setcsr(mode);
        for (int n = 0; n < p->n; n++) {
            for (int half = 0; half < 2; half++) {
                int first = 8 * half;
                int count = rows - first < 8 ? rows - first : 8;
                if (redo[n] >> half & 1 && count > 0) {
                    by_reference(p, m0 + first, count, n, d + (size_t)n * ldd + m0 + first);
                }
            }
        }
    }
}
#endif
