// The tests' own tensor core arithmetic. See num_ref.h.
#include "num_ref.h"

struct shape {
    int ebits, mbits, emin;
};

static struct shape shape_of(enum num_fmt f) {
    switch (f) {
    case NUM_E2M1:
        return (struct shape){2, 1, 0};
    case NUM_E2M3:
        return (struct shape){2, 3, 0};
    case NUM_E3M2:
        return (struct shape){3, 2, -2};
    case NUM_E4M3:
    case NUM_UE4M3:
        return (struct shape){4, 3, -6};
    case NUM_E5M2:
        return (struct shape){5, 2, -14};
    case NUM_F16:
        return (struct shape){5, 10, -14};
    case NUM_BF16:
        return (struct shape){8, 7, -126};
    case NUM_TF32:
        return (struct shape){8, 10, -126};
    default:
        return (struct shape){8, 23, -126};
    }
}

double ref_value(enum num_fmt f, uint32_t code) {
    if (f == NUM_UE8M0) {
        return (code & 255) == 255 ? (double)NAN : ldexp(1, (int)(code & 255) - 127);
    }
    if (f == NUM_TF32) {
        code >>= 13;
    }
    struct shape s = shape_of(f);
    uint32_t scale = 1u << s.mbits;
    uint32_t rest = code % (scale << s.ebits);
    double sign = code / scale >> s.ebits & 1 ? -1 : 1;
    uint32_t field = rest / scale;
    uint32_t frac = rest % scale;
    if (f == NUM_UE4M3) {
        sign = 1;
    }
    if ((f == NUM_E4M3 || f == NUM_UE4M3) && rest == 0x7F) {
        return (double)NAN;
    }
    bool ieee = f == NUM_E5M2 || f >= NUM_BF16;
    if (ieee && f != NUM_UE4M3 && field == (1u << s.ebits) - 1) {
        return frac ? (double)NAN : sign * INFINITY;
    }
    if (field == 0) {
        return sign * ldexp((double)frac / scale, s.emin);
    }
    return sign * ldexp(1 + (double)frac / scale, s.emin + (int)field - 1);
}

// The exponent of a format's encoding of x: that of the leading bit, not below emin.
static int exponent_in(enum num_fmt f, double x) {
    int e;
    frexp(x, &e);
    int emin = shape_of(f).emin;
    return e - 1 < emin ? emin : e - 1;
}

static long double cut(long double x, int q) {
    return ldexpl(truncl(ldexpl(x, -q)), q);
}

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static uint32_t out_f32(long double x, int keep) {
    if (x == 0) {
        return 0;
    }
    int e;
    frexpl(x, &e);
    if (e > 128) {
        return x < 0 ? 0xFF800000u : 0x7F800000u;
    }
    int q = (e - 1 < -126 ? -126 : e - 1) - keep;
    x = cut(x, q);
    return x == 0 ? 0 : bits_of((float)x);
}

static uint32_t out_f16(long double x) {
    if (x == 0) {
        return 0;
    }
    int e;
    frexpl(x, &e);
    int q = (e - 1 < -14 ? -14 : e - 1) - 10;
    long double units = rintl(ldexpl(x, -q)); // the host rounds to nearest even
    long double magnitude = ldexpl(fabsl(units), q);
    if (magnitude == 0) {
        return 0;
    }
    uint32_t sign = x < 0 ? 0x8000 : 0;
    if (magnitude >= 65536) {
        return sign | 0x7C00;
    }
    if (magnitude < ldexpl(1, -14)) {
        return sign | (uint32_t)ldexpl(magnitude, 24);
    }
    frexpl(magnitude, &e);
    return sign | (uint32_t)(e - 1 + 15) << 10 | ((uint32_t)ldexpl(magnitude, 11 - e) & 1023);
}

static uint32_t special(double sum, enum num_out out) {
    if (sum != sum) {
        return out == NUM_OUT_F16 ? 0x7FFF : 0x7FFFFFFF;
    }
    return out == NUM_OUT_F16 ? (sum < 0 ? 0xFC00 : 0x7C00) : (sum < 0 ? 0xFF800000u : 0x7F800000u);
}

static uint32_t output(long double sum, enum num_out out) {
    return out == NUM_OUT_F16 ? out_f16(sum) : out_f32(sum, out == NUM_OUT_F32 ? 23 : 13);
}

uint32_t ref_tfdpa(const struct ref_dot *p, const uint32_t *a, const uint32_t *b, uint32_t cbits) {
    enum num_fmt cf = p->out == NUM_OUT_F16 ? NUM_F16 : NUM_F32;
    double c = ref_value(cf, cbits);
    double loose = 0; // only to let IEEE arithmetic decide the specials
    int emax = p->floor;
    for (int k = 0; k < p->k; k++) {
        double x = ref_value(p->a, a[k]);
        double y = ref_value(p->b, b[k]);
        loose += isfinite(x) && isfinite(y) ? 0 : x * y;
        if (isfinite(x * y) && x != 0 && y != 0) {
            int e = exponent_in(p->a, x) + exponent_in(p->b, y) + p->scale;
            emax = e > emax ? e : emax;
        }
    }
    loose += isfinite(c) ? 0 : c;
    if (!isfinite(loose)) {
        return special(loose, p->out);
    }
    if (c != 0 && exponent_in(cf, c) > emax) {
        emax = exponent_in(cf, c);
    }
    long double sum = cut((long double)c, emax - p->frac);
    for (int k = 0; k < p->k; k++) {
        long double t = (long double)ref_value(p->a, a[k]) * (long double)ref_value(p->b, b[k]);
        sum += cut(ldexpl(t, p->scale), emax - p->frac);
    }
    return output(sum, p->out);
}

uint32_t ref_gst(enum num_fmt scale, int block, const uint32_t *a, const uint32_t *b,
                 uint32_t cbits, const uint8_t *sa, const uint8_t *sb) {
    double c = ref_value(NUM_F32, cbits);
    double loose = isfinite(c) ? 0 : c;
    int emax = -139;
    long double term[4] = {0};
    for (int g = 0; g < 4; g++) {
        double x = ref_value(scale, sa[g * 16 / block]);
        double y = ref_value(scale, sb[g * 16 / block]);
        loose += x != x || y != y ? (double)NAN : 0;
        bool live = false;
        for (int k = 16 * g; k < 16 * g + 16; k++) {
            double t = ref_value(NUM_E2M1, a[k]) * ref_value(NUM_E2M1, b[k]);
            live |= t != 0;
            term[g] += (long double)t;
        }
        live &= x != 0 && y != 0 && x == x && y == y;
        term[g] *= live ? (long double)x * (long double)y : 0;
        if (live) {
            int ex = scale == NUM_UE8M0 ? (int)sa[g * 16 / block] - 127 : exponent_in(scale, x);
            int ey = scale == NUM_UE8M0 ? (int)sb[g * 16 / block] - 127 : exponent_in(scale, y);
            emax = ex + ey > emax ? ex + ey : emax;
        }
    }
    if (!isfinite(loose)) {
        return special(loose, NUM_OUT_F32);
    }
    if (c != 0 && exponent_in(NUM_F32, c) > emax) {
        emax = exponent_in(NUM_F32, c);
    }
    long double sum = cut((long double)c, emax - 35);
    for (int g = 0; g < 4; g++) {
        sum += cut(term[g], emax - 35);
    }
    return output(sum, NUM_OUT_F32);
}

uint32_t ref_u32(struct ref_random *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (uint32_t)(r->state * 0x2545F4914F6CDD1Dull >> 32);
}

uint32_t ref_below(struct ref_random *r, uint32_t n) {
    return (uint32_t)((uint64_t)ref_u32(r) * n >> 32);
}

static uint32_t random_code(struct ref_random *r, enum num_fmt f) {
    int bits = num_bits_of(f);
    return bits == 32 ? ref_u32(r) : ref_u32(r) & ((1u << bits) - 1);
}

uint32_t ref_code(struct ref_random *r, enum num_fmt f, enum ref_style style) {
    for (;;) {
        uint32_t code = random_code(r, f);
        double x = ref_value(f, code);
        double m = fabs(x);
        switch (style) {
        case REF_BITS:
            return code;
        case REF_FINITE:
            break;
        case REF_MILD:
            if (m != 0 && (m < 0.01 || m > 64) && ref_below(r, 4)) {
                struct shape s = shape_of(f);
                uint32_t near = (uint32_t)(1 - s.emin) + ref_below(r, 3) - 1;
                code = (code & ((1u << s.mbits) - 1)) | near << s.mbits |
                       ref_below(r, 2) << (s.mbits + s.ebits);
                code = f == NUM_TF32 ? code << 13 : code;
                x = ref_value(f, code);
            }
            break;
        case REF_SPARSE:
            code = ref_below(r, 4) ? 0 : code;
            x = ref_value(f, code);
            break;
        default: { // the lowest three exponents
            struct shape s = shape_of(f);
            uint32_t low = ref_below(r, 3u << s.mbits);
            code = low | ref_below(r, 2) << (s.mbits + s.ebits);
            code = f == NUM_TF32 ? code << 13 : code;
            x = ref_value(f, code);
            break;
        }
        }
        if (isfinite(x)) {
            return code;
        }
    }
}

void ref_row(struct ref_random *r, enum num_fmt f, enum ref_style style, int k, uint32_t *out) {
    for (int i = 0; i < k; i++) {
        out[i] = ref_code(r, f, style);
    }
}

uint32_t ref_f32(struct ref_random *r) {
    uint32_t bits = ref_u32(r);
    uint32_t exponent;
    switch (ref_below(r, 8)) {
    case 0:
        return ref_below(r, 2) << 31;
    case 1:
        return ref_below(r, 4) ? bits & 0x807FFFFFu : bits;
    case 2:
        exponent = 60 + ref_below(r, 130);
        break;
    default:
        exponent = 110 + ref_below(r, 34);
        break;
    }
    return (bits & 0x807FFFFFu) | exponent << 23;
}
