// Block-scaled FP4 (GST-FDPA), 8 rows of A at a time.
//
// Bytes: A holds 2a + 12 (0..24, unsigned), B holds 2b; four consecutive k of eight rows fill a
// register, so that maddubs against a broadcast word of B gives the pair sums of eight outputs and
// four of them a group; 12 * sum(2b) is taken off at the start. A group's value, its dot in
// quarters times both scales, is an exact double. Terms are cut to the quantum 2^(emax - 35) by
// adding and subtracting 2^(q+52) under round-toward-zero, and only where a tile's exponents make a
// cut possible. NaN scales, special addends and results near overflow go to the reference.
#if defined(__x86_64__)
#include "num_mm.h"
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define BLOCK 8
#define GROUPS 4
#define BIAS 1024       // of exponents in 16-bit lanes: a live exponent is positive, a dead one 0
#define FLOOR (-139)    // exponent of a dead term
#define NO_EXPONENT 400 // smallest live exponent of a row without a live group

struct panel_a {
    uint8_t bytes[16][BLOCK][4];   // [k / 4][row][k % 4]
    uint16_t live[2][BLOCK][2];    // [group / 2][row][group % 2]: one bit a non-zero element
    int16_t exponent[2][BLOCK][2]; // of the scale, + BIAS
    double scale[GROUPS][BLOCK];
    int least; // smallest exponent of a group that can be live
    bool slow;
};

struct panel_b {
    int8_t bytes[NUM_MM_MAX_N][64];
    int32_t start[NUM_MM_MAX_N][GROUPS]; // -12 * sum(2b) as a 16-bit pair (value, 0)
    uint16_t live[NUM_MM_MAX_N][GROUPS];
    int16_t exponent[NUM_MM_MAX_N][GROUPS];
    double scale[NUM_MM_MAX_N][GROUPS];
    int least[NUM_MM_MAX_N];
    bool slow[NUM_MM_MAX_N];
};

struct gst_scale {
    double value;
    int exponent;
    bool nan, zero;
};

static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static struct gst_scale scale_of(enum num_fmt f, uint8_t code) {
    struct gst_scale r = {.nan = false};
    if (f == NUM_UE8M0) {
        r.nan = code == 0xFF;
        r.exponent = (int)code - 127;
        uint64_t u = (uint64_t)(r.exponent + 1023) << 52;
        memcpy(&r.value, &u, 8);
        return r;
    }
    int field = code >> 3 & 15;
    int frac = code & 7;
    r.nan = (code & 0x7F) == 0x7F;
    r.zero = field == 0 && frac == 0;
    r.exponent = field ? field - 7 : -6;
    uint64_t u = (uint64_t)(r.exponent - 3 + 1023) << 52; // 2^(exponent - 3)
    memcpy(&r.value, &u, 8);
    r.value *= field ? frac + 8 : frac;
    return r;
}

// What a row of either operand says about its groups.
struct row_info {
    uint16_t live[GROUPS];
    struct gst_scale scale[GROUPS];
    int least;
    bool slow;
};

// Codes of a row as 64 bytes: lo and hi hold nibbles of 16 packed bytes in k order.
AVX2 static inline void expand(const uint8_t row[32], __m128i out[4]) {
    __m128i table = _mm_loadu_si128((const __m128i *)twice);
    __m128i low = _mm_set1_epi8(15);
    for (int i = 0; i < 2; i++) {
        __m128i packed = _mm_loadu_si128((const __m128i *)(row + 16 * i));
        __m128i even = _mm_shuffle_epi8(table, _mm_and_si128(packed, low));
        __m128i odd = _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(packed, 4), low));
        out[2 * i] = _mm_unpacklo_epi8(even, odd);
        out[2 * i + 1] = _mm_unpackhi_epi8(even, odd);
    }
}

AVX2 static inline void inspect(struct row_info *r, const struct num_gst *gst,
                                const __m128i codes[4], const uint8_t *scales) {
    r->least = NO_EXPONENT;
    r->slow = false;
    for (int g = 0; g < GROUPS; g++) {
        r->scale[g] = scale_of(gst->scale, scales[16 * g / gst->block]);
        int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(codes[g], _mm_setzero_si128()));
        r->live[g] = r->scale[g].zero ? 0 : (uint16_t)~zeros;
        r->slow |= r->scale[g].nan;
        if (r->live[g] && r->scale[g].exponent < r->least) {
            r->least = r->scale[g].exponent;
        }
    }
}

AVX2 static void pack_a(struct panel_a *out, const struct num_mm *p, int m0, int rows) {
    memset(out, 0, sizeof *out); // missing rows: all groups dead
    out->least = NO_EXPONENT;
    for (int i = 0; i < rows; i++) {
        __m128i codes[4];
        struct row_info r;
        expand(p->a[m0 + i], codes);
        inspect(&r, &p->gst, codes, p->sa[m0 + i]);
        uint32_t words[16];
        for (int g = 0; g < GROUPS; g++) {
            __m128i raised = _mm_add_epi8(codes[g], _mm_set1_epi8(12));
            _mm_storeu_si128((__m128i *)(words + 4 * g), raised);
            out->live[g / 2][i][g % 2] = r.live[g];
            out->exponent[g / 2][i][g % 2] = (int16_t)(r.scale[g].exponent + BIAS);
            out->scale[g][i] = r.scale[g].value;
        }
        for (int w = 0; w < 16; w++) {
            memcpy(out->bytes[w][i], &words[w], 4);
        }
        out->slow |= r.slow;
        out->least = r.least < out->least ? r.least : out->least;
    }
}

AVX2 static void pack_b(struct panel_b *out, const struct num_mm *p) {
    for (int n = 0; n < p->n; n++) {
        __m128i codes[4];
        struct row_info r;
        expand(p->b[n], codes);
        inspect(&r, &p->gst, codes, p->sb[n]);
        for (int g = 0; g < GROUPS; g++) {
            _mm_storeu_si128((__m128i *)(out->bytes[n] + 16 * g), codes[g]);
            __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(12), codes[g]);
            __m128i quads = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
            quads = _mm_add_epi32(quads, _mm_shuffle_epi32(quads, 0x4E));
            int sum = _mm_cvtsi128_si32(quads) + _mm_extract_epi32(quads, 1);
            out->start[n][g] = -sum & 0xFFFF;
            out->live[n][g] = r.live[g];
            out->exponent[n][g] = (int16_t)r.scale[g].exponent;
            // A quarter for both factors of two in the bytes.
            out->scale[n][g] = r.scale[g].value * 0.25;
        }
        out->slow[n] = r.slow;
        out->least[n] = r.least;
    }
}

// The group's dot products of 8 rows, in quarters.
AVX2 static inline __m256i group_dots(const struct panel_a *a, const struct panel_b *b, int n,
                                      int g) {
    __m256i acc = _mm256_set1_epi32(b->start[n][g]);
    for (int w = 4 * g; w < 4 * g + 4; w++) {
        int32_t four;
        memcpy(&four, b->bytes[n] + 4 * w, 4);
        __m256i rows = _mm256_loadu_si256((const __m256i *)a->bytes[w]);
        acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(rows, _mm256_set1_epi32(four)));
    }
    return _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
}

// Largest scale exponent among the live groups, + BIAS; 0 when all are dead.
AVX2 static inline __m256i largest_exponent(const struct panel_a *a, const struct panel_b *b,
                                            int n) {
    __m256i most = _mm256_setzero_si256();
    for (int h = 0; h < 2; h++) {
        int32_t live;
        int32_t exponent;
        memcpy(&live, &b->live[n][2 * h], 4);
        memcpy(&exponent, &b->exponent[n][2 * h], 4);
        __m256i both = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)a->live[h]),
                                        _mm256_set1_epi32(live));
        __m256i dead = _mm256_cmpeq_epi16(both, _mm256_setzero_si256());
        __m256i x = _mm256_add_epi16(_mm256_loadu_si256((const __m256i *)a->exponent[h]),
                                     _mm256_set1_epi32(exponent));
        most = _mm256_max_epi16(most, _mm256_andnot_si256(dead, x));
    }
    __m256i low = _mm256_and_si256(most, _mm256_set1_epi32(0xFFFF));
    return _mm256_max_epi32(low, _mm256_srli_epi32(most, 16));
}

// 2^e of 4 exponents in the normal double range.
AVX2 static inline __m256d pow2_pd(__m128i e) {
    __m256i wide = _mm256_cvtepi32_epi64(_mm_add_epi32(e, _mm_set1_epi32(1023)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(wide, 52));
}

// Cut |x| to multiples of big * 2^-52; needs round-toward-zero and |x| < big.
AVX2 static inline __m256d cut_pd(__m256d x, __m256d big) {
    __m256d sign = _mm256_set1_pd(-0.0);
    __m256d r = _mm256_sub_pd(_mm256_add_pd(_mm256_andnot_pd(sign, x), big), big);
    return _mm256_or_pd(r, _mm256_and_pd(sign, x));
}

struct gst_step {
    const struct num_mm *p;
    const struct panel_a *a;
    const struct panel_b *b;
    int n;
    bool exact; // no group term can lose bits
};

// Sum of the addend and the four group terms of 4 rows.
AVX2 static inline __m256d total_pd(const struct gst_step *s, int half, const __m128i dots[GROUPS],
                                    __m128 c, __m256d big) {
    __m256d sum = cut_pd(_mm256_cvtps_pd(c), big);
    for (int g = 0; g < GROUPS; g++) {
        __m256d scale = _mm256_mul_pd(_mm256_loadu_pd(&s->a->scale[g][half]),
                                      _mm256_broadcast_sd(&s->b->scale[s->n][g]));
        __m256d dot = _mm256_cvtepi32_pd(dots[g]);
        if (s->exact) {
            sum = _mm256_fmadd_pd(dot, scale, sum);
        } else {
            sum = _mm256_add_pd(sum, cut_pd(_mm256_mul_pd(dot, scale), big));
        }
    }
    return sum;
}

AVX2 static inline __m256i exponent_epi32(__m256i c) {
    __m256i magnitude = _mm256_and_si256(c, _mm256_set1_epi32(0x7FFFFFFF));
    __m256i field = _mm256_max_epi32(_mm256_srli_epi32(magnitude, 23), _mm256_set1_epi32(1));
    __m256i zero = _mm256_cmpeq_epi32(magnitude, _mm256_setzero_si256());
    __m256i e = _mm256_sub_epi32(field, _mm256_set1_epi32(127));
    return _mm256_blendv_epi8(e, _mm256_set1_epi32(FLOOR), zero);
}

// 8 rows of one column; false when the reference has to do them.
AVX2 static inline bool gst_8(struct gst_step *s, uint32_t *d) {
    __m256i c = _mm256_setzero_si256();
    if (s->p->accumulate) {
        c = _mm256_loadu_si256((const __m256i *)d);
    }
    __m256i emax = _mm256_sub_epi32(largest_exponent(s->a, s->b, s->n), _mm256_set1_epi32(BIAS));
    emax = _mm256_max_epi32(emax, exponent_epi32(c));
    emax = _mm256_max_epi32(emax, _mm256_set1_epi32(FLOOR));
    if (_mm256_movemask_epi8(_mm256_cmpgt_epi32(emax, _mm256_set1_epi32(NUM_LIMIT_HIGH)))) {
        return false;
    }
    // A term is a multiple of 2^(X - 2 - fraction bits of both scales).
    int spare = s->p->gst.scale == NUM_UE8M0 ? 33 : 27;
    int limit = s->a->least + s->b->least[s->n] + spare;
    s->exact = !_mm256_movemask_epi8(_mm256_cmpgt_epi32(emax, _mm256_set1_epi32(limit)));
    __m256i dots[GROUPS];
    __m128i lo[GROUPS];
    __m128i hi[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        dots[g] = group_dots(s->a, s->b, s->n, g);
        lo[g] = _mm256_castsi256_si128(dots[g]);
        hi[g] = _mm256_extracti128_si256(dots[g], 1);
    }
    __m256i e = _mm256_add_epi32(emax, _mm256_set1_epi32(52 - 35));
    __m256 cf = _mm256_castsi256_ps(c);
    __m256d t0 = total_pd(s, 0, lo, _mm256_castps256_ps128(cf), pow2_pd(_mm256_castsi256_si128(e)));
    __m256d t1 =
        total_pd(s, 4, hi, _mm256_extractf128_ps(cf, 1), pow2_pd(_mm256_extracti128_si256(e, 1)));
    __m256 r = _mm256_set_m128(_mm256_cvtpd_ps(t1), _mm256_cvtpd_ps(t0));
    r = _mm256_add_ps(r, _mm256_setzero_ps()); // -0 becomes +0
    _mm256_storeu_si256((__m256i *)d, _mm256_castps_si256(r));
    return true;
}

// 8 rows against all columns; marks the columns the reference must redo in the ordinary mode.
AVX2 __attribute__((noinline)) static bool gst_block(struct gst_step *s, int rows, uint32_t *d,
                                                     size_t ldd, bool *redo) {
    bool any = false;
    for (int n = 0; n < s->p->n; n++) {
        uint32_t *column = d + (size_t)n * ldd;
        s->n = n;
        if (s->a->slow || s->b->slow[n]) {
            redo[n] = true;
        } else if (rows == BLOCK) {
            redo[n] = !gst_8(s, column);
        } else {
            uint32_t edge[BLOCK] = {0};
            memcpy(edge, column, (size_t)rows * 4);
            redo[n] = !gst_8(s, edge);
            memcpy(column, edge, (size_t)rows * 4);
        }
        any |= redo[n];
    }
    return any;
}

AVX2 void num_avx2_gst(const struct num_mm *p, uint32_t *d, size_t ldd) {
    struct panel_b b;
    struct panel_a a;
    bool redo[NUM_MM_MAX_N];
    pack_b(&b, p);
    struct gst_step s = {.p = p, .a = &a, .b = &b};
    unsigned mode = _mm_getcsr();
    for (int m0 = 0; m0 < p->m; m0 += BLOCK) {
        int rows = p->m - m0 < BLOCK ? p->m - m0 : BLOCK;
        pack_a(&a, p, m0, rows);
        _mm_setcsr(_MM_MASK_MASK | _MM_ROUND_TOWARD_ZERO);
        bool any = gst_block(&s, rows, d + m0, ldd, redo);
        _mm_setcsr(mode);
        for (int n = 0; any && n < p->n; n++) {
            for (int i = 0; redo[n] && i < rows; i++) {
                uint32_t *out = d + (size_t)n * ldd + m0 + i;
                *out = num_mm_element(p, m0 + i, n, num_mm_addend(p, *out));
            }
        }
    }
}
#endif
