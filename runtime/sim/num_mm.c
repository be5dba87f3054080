// Matrix instructions: choice of code path, the portable loop over the reference, and the decoded
// view of operand rows that the vector paths start from.
#include "num_mm.h"
#include <pthread.h>

static uint32_t code_at(enum num_fmt f, const uint8_t *row, int k) {
    switch (num_bits_of(f)) {
    case 16: {
        uint16_t h;
        memcpy(&h, row + 2 * k, 2);
        return h;
    }
    case 32: {
        uint32_t w;
        memcpy(&w, row + 4 * k, 4);
        return w;
    }
    default:
        return row[k];
    }
}

static uint32_t gst_element(const struct num_mm *p, int m, int n, uint32_t c) {
    uint32_t a[64];
    uint32_t b[64];
    for (int k = 0; k < 64; k++) {
        a[k] = p->a[m][k / 2] >> 4 * (k % 2) & 0xF;
        b[k] = p->b[n][k / 2] >> 4 * (k % 2) & 0xF;
    }
    return num_gst_fdpa(&p->gst, a, b, c, p->sa[m], p->sb[n]);
}

uint32_t num_mm_element(const struct num_mm *p, int m, int n, uint32_t c) {
    if (p->op == NUM_MM_GST) {
        return gst_element(p, m, n, c);
    }
    uint32_t a[32];
    uint32_t b[32];
    for (int k = 0; k < p->dot.k; k++) {
        a[k] = code_at(p->dot.a, p->a[m], k);
        b[k] = code_at(p->dot.b, p->b[n], k);
    }
    switch (p->op) {
    case NUM_MM_SCALED: {
        uint8_t scale[2] = {p->sa[m][0], p->sb[n][0]};
        return num_tfdpa_scaled(&p->dot, a, b, c, scale);
    }
    case NUM_MM_LEGACY:
        return num_legacy_fp8(&p->dot, a, b, c);
    case NUM_MM_INT:
        return (uint32_t)num_idot(&p->dot, a, b, (int32_t)c, p->saturate);
    default:
        return num_tfdpa(&p->dot, a, b, c);
    }
}

uint32_t num_mm_addend(const struct num_mm *p, uint32_t d) {
    bool half = p->op != NUM_MM_INT && p->op != NUM_MM_GST && p->dot.out == NUM_OUT_F16;
    return !p->accumulate ? 0 : half ? d & 0xFFFF : d;
}

void num_mm_portable(const struct num_mm *p, uint32_t *d, size_t ldd) {
    for (int n = 0; n < p->n; n++) {
        uint32_t *column = d + (size_t)n * ldd;
        for (int m = 0; m < p->m; m++) {
            column[m] = num_mm_element(p, m, n, num_mm_addend(p, column[m]));
        }
    }
}

static bool has_avx2(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

void num_mm_run(const struct num_mm *p, uint32_t *d, size_t ldd) {
#if defined(__x86_64__)
    if (has_avx2() && p->op == NUM_MM_GST) {
        num_avx2_gst(p, d, ldd);
        return;
    }
    if (has_avx2() && (p->op == NUM_MM_DOT || p->op == NUM_MM_SCALED)) {
        num_avx2_dot(p, d, ldd);
        return;
    }
#endif
    num_mm_portable(p, d, ldd);
}

// ---- decoded rows -----------------------------------------------------------------------------

static struct num_lane tables[NUM_E5M2 + 1][256]; // the byte formats come first in the enum
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static int exponent_of(enum num_fmt f, uint32_t code) {
    switch (f) {
    case NUM_E2M1:
        return code >> 1 & 3 ? (int)(code >> 1 & 3) - 1 : 0;
    case NUM_E2M3:
        return code >> 3 & 3 ? (int)(code >> 3 & 3) - 1 : 0;
    case NUM_E3M2:
        return code >> 2 & 7 ? (int)(code >> 2 & 7) - 3 : -2;
    case NUM_E4M3:
        return code >> 3 & 15 ? (int)(code >> 3 & 15) - 7 : -6;
    case NUM_E5M2:
        return code >> 2 & 31 ? (int)(code >> 2 & 31) - 15 : -14;
    case NUM_F16:
        return code >> 10 & 31 ? (int)(code >> 10 & 31) - 15 : -14;
    case NUM_BF16:
        return code >> 7 & 255 ? (int)(code >> 7 & 255) - 127 : -126;
    default:
        return code >> 23 & 255 ? (int)(code >> 23 & 255) - 127 : -126;
    }
}

static struct num_lane lane_of(enum num_fmt f, uint32_t code) {
    float x = num_decode(f, code);
    struct num_lane r = {.value = x, .exponent = NUM_DEAD};
    if (x != x || isinf(x)) {
        r.special = true;
        r.value = 0;
    } else if (x != 0) {
        r.exponent = (int16_t)exponent_of(f, code);
        r.wide = r.exponent > NUM_NEAR || r.exponent < -NUM_NEAR;
    }
    return r;
}

static void fill_tables(void) {
    for (int f = 0; f <= NUM_E5M2; f++) {
        for (uint32_t code = 0; code < 256; code++) {
            tables[f][code] = lane_of((enum num_fmt)f, code);
        }
    }
}

const struct num_lane *num_lane_table(enum num_fmt f) {
    if (f > NUM_E5M2) {
        return NULL;
    }
    pthread_once(&tables_once, fill_tables);
    return tables[f];
}

void num_lanes_of_row(enum num_fmt f, const uint8_t row[32], int k, struct num_lane *out) {
    for (int i = 0; i < k; i++) {
        out[i] = lane_of(f, code_at(f, row, i));
    }
}
