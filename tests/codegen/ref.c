// Plain C references: see ref.h.
#include "ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t ref_random(ref_rng *r, uint32_t below) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((r->state >> 33) % below);
}

double ref_decode(fp4_elem elem, uint32_t code) {
    static const struct {
        fp4_elem elem;
        int exp, man, bias;
        bool sign;
    } shapes[] = {
        {FP4_ELEM_E2M1, 2, 1, 1, true},   {FP4_ELEM_E4M3, 4, 3, 7, true},
        {FP4_ELEM_E5M2, 5, 2, 15, true},  {FP4_ELEM_BF16, 8, 7, 127, true},
        {FP4_ELEM_F16, 5, 10, 15, true},  {FP4_ELEM_UE4M3, 4, 3, 7, false},
        {FP4_ELEM_UE8M0, 8, 0, 127, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].elem == elem) {
            int man = (int)(code & ((1u << shapes[i].man) - 1));
            int exp = (int)(code >> shapes[i].man & ((1u << shapes[i].exp) - 1));
            bool minus = shapes[i].sign && (code >> (shapes[i].man + shapes[i].exp) & 1);
            bool normal = exp > 0 || elem == FP4_ELEM_UE8M0; // ue8m0 0 is 2^-127
            int one = 1 << shapes[i].man;
            double v = ldexp(normal ? one + man : man,
                             (normal ? exp : 1) - shapes[i].bias - shapes[i].man);
            return minus ? -v : v;
        }
    }
    return NAN;
}

uint16_t ref_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if (x != x) {
        return 0x7FFF;
    }
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

// The nearest of the positive codes 0 .. last, ties to the even code; the sign bit above.
static uint32_t nearest(fp4_elem elem, float x, uint32_t last, uint32_t sign) {
    if (x != x) {
        return last + (elem == FP4_ELEM_E4M3);
    }
    double a = fabs((double)x);
    uint32_t best = 0;
    for (uint32_t c = 1; c <= last; c++) {
        double d = fabs(ref_decode(elem, c) - a), old = fabs(ref_decode(elem, best) - a);
        if (d < old || (d == old && c % 2 == 0)) {
            best = c;
        }
    }
    return best | (signbit(x) ? sign : 0);
}

uint32_t ref_e2m1(float x) {
    return nearest(FP4_ELEM_E2M1, x, 7, 8);
}

uint32_t ref_e4m3(float x) {
    return nearest(FP4_ELEM_E4M3, x, 0x7E, 0x80);
}

uint32_t ref_encode(fp4_elem elem, float x) {
    uint32_t bits;
    _Float16 half = (_Float16)x;
    uint16_t half_bits;
    memcpy(&bits, &x, 4);
    memcpy(&half_bits, &half, 2);
    switch (elem) {
    case FP4_ELEM_F32:
        return bits;
    case FP4_ELEM_BF16:
        return ref_bf16(x);
    case FP4_ELEM_F16:
        return half_bits;
    case FP4_ELEM_E4M3:
        return ref_e4m3(x);
    case FP4_ELEM_E5M2:
        return nearest(elem, x, 0x7B, 0x80);
    default:
        return ref_e2m1(x);
    }
}

// Exponent of the power of two at or above x, biased by 127.
static uint32_t ceil_exponent(float x) {
    for (int e = -127; e < 127; e++) {
        if (ldexp(1, e) >= (double)x) {
            return (uint32_t)(e + 127);
        }
    }
    return 254;
}

ref_granule ref_quantise(fp4_elem elem, fp4_elem scale, float amax, float hs) {
    float largest = elem == FP4_ELEM_E2M1 ? 6.0f : elem == FP4_ELEM_E4M3 ? 448.0f : 57344.0f;
    ref_granule g;
    if (scale == FP4_ELEM_UE4M3) {
        float inverse = 1.0f / (largest * hs);
        g.scale = ref_e4m3(amax * inverse) & 0x7F;
        float d = (float)ref_decode(FP4_ELEM_UE4M3, g.scale) * hs;
        g.factor = d == 0 ? 0 : 1.0f / d;
    } else {
        float inverse = (float)(1.0 / (double)largest);
        g.scale = ceil_exponent(amax * inverse);
        g.factor = (float)ldexp(1, 127 - (int)g.scale);
    }
    return g;
}

// What may be drawn: all e2m1 codes; wider formats around 1, so that sums stay exact.
static uint32_t draw(fp4_elem elem, ref_rng *r, double *unit) {
    switch (elem) {
    case FP4_ELEM_E2M1:
        *unit = 0.5;
        return ref_random(r, 16);
    case FP4_ELEM_E4M3: // exponents 2^-2 .. 2^1
        *unit = ldexp(1, -5);
        return ref_random(r, 2) << 7 | (5 + ref_random(r, 4)) << 3 | ref_random(r, 8);
    case FP4_ELEM_E5M2:
        *unit = ldexp(1, -4);
        return ref_random(r, 2) << 7 | (13 + ref_random(r, 4)) << 2 | ref_random(r, 4);
    case FP4_ELEM_BF16: // 4 bits of mantissa
        *unit = ldexp(1, -6);
        return ref_random(r, 2) << 15 | (125 + ref_random(r, 4)) << 7 | ref_random(r, 16) << 3;
    case FP4_ELEM_F16:
        *unit = ldexp(1, -6);
        return ref_random(r, 2) << 15 | (13 + ref_random(r, 4)) << 10 | ref_random(r, 16) << 6;
    case FP4_ELEM_UE4M3: // 1 .. 1.875, 2 .. 3.75
        *unit = ldexp(1, -3);
        return (7 + ref_random(r, 2)) << 3 | ref_random(r, 8);
    case FP4_ELEM_UE8M0: // 2^-1 .. 2
        *unit = 0.5;
        return 126 + ref_random(r, 3);
    default:
        *unit = 1;
        return 0;
    }
}

static void fill(const fp4_host *h, ref_rng *r, ref_matrix *m, double *unit) {
    int granule = h->format.scale == FP4_ELEM_NONE ? m->cols : h->format.granule_cols;
    double elem_unit = 1, scale_unit = 1;
    for (int i = 0; i < m->rows; i++) {
        double scale = 1;
        for (int j = 0; j < m->cols; j++) {
            if (j % granule == 0 && h->format.scale != FP4_ELEM_NONE) {
                uint32_t code = draw(h->format.scale, r, &scale_unit);
                fp4_host_set_scale_code(h, i, j, code);
                scale = ref_decode(h->format.scale, code);
            }
            uint32_t code = draw(h->format.elem, r, &elem_unit);
            fp4_host_set_code(h, i, j, code);
            m->value[(size_t)i * (size_t)m->cols + (size_t)j] =
                scale * ref_decode(h->format.elem, code);
        }
    }
    *unit = elem_unit * scale_unit;
}

bool ref_operand(fp4_ctx *ctx, const char *format, int rows, int cols, ref_rng *r, ref_matrix *out,
                 double *unit) {
    int64_t dims[2] = {rows, cols};
    *out = (ref_matrix){.rows = rows, .cols = cols};
    fp4_host h;
    fp4_storage st = {.size = sizeof st};
    if (fp4_tensor_new(ctx, format, 2, dims, &out->tensor) ||
        fp4_host_init(&h, &out->tensor.format, 2, dims) ||
        fp4_tensor_storage(&out->tensor, &st)) {
        return false;
    }
    h.pitch = st.pitch;
    h.data = calloc(1, (size_t)st.data_bytes + 1);
    h.scale = calloc(1, (size_t)st.scale_bytes + 1);
    out->value = calloc((size_t)rows * (size_t)cols + 1, sizeof out->value[0]);
    fill(&h, r, out, unit);
    bool ok = fp4_tensor_write(ctx, &out->tensor, h.data, st.scale_bytes ? h.scale : NULL, NULL) == 0;
    free(h.data);
    free(h.scale);
    return ok;
}

bool ref_vector(fp4_ctx *ctx, int n, ref_rng *r, ref_matrix *out) {
    int64_t dims[1] = {n};
    *out = (ref_matrix){.rows = 1, .cols = n};
    float *data = calloc((size_t)n + 1, sizeof data[0]);
    out->value = calloc((size_t)n + 1, sizeof out->value[0]);
    for (int i = 0; i < n; i++) {
        data[i] = (float)((int)ref_random(r, 4096) - 2048) / 64.0f;
        out->value[i] = data[i];
    }
    bool ok = fp4_tensor_new(ctx, "f32", 1, dims, &out->tensor) == 0 &&
              fp4_tensor_write(ctx, &out->tensor, data, NULL, NULL) == 0;
    free(data);
    return ok;
}

void ref_free(ref_matrix *m) {
    fp4_tensor_free(&m->tensor);
    free(m->value);
}
