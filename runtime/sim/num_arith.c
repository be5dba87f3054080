// f32 arithmetic beyond round-to-nearest, minimum and maximum.
//
// Directed roundings use the exact error of the double computation: a result is an unevaluated sum
// head + tail with |tail| below half a unit of head, which one comparison turns into any rounding.
#include "num.h"

#include <fenv.h>

// The float that head + tail rounds to. RN is only used where tail == 0 or head is the float
// itself.
static float round_pair(double head, double tail, enum num_round round) {
    float near = (float)head;
    if (head != head || isinf(head)) {
        return num_canon(near);
    }
    double diff = isinf(near) ? (double)near : (double)near - head; // exact: both are close
    bool above = diff > 0 || (diff == 0 && tail < 0);
    bool below = diff < 0 || (diff == 0 && tail > 0);
    bool negative = head < 0;
    bool down = round == NUM_RM || (round == NUM_RZ && !negative);
    bool up = round == NUM_RP || (round == NUM_RZ && negative);
    if (above && down) {
        return nextafterf(near, -INFINITY);
    }
    if (below && up) {
        return nextafterf(near, INFINITY);
    }
    return near;
}

// Knuth's two-sum: a + b = *head + *tail exactly.
static void two_sum(double a, double b, double *head, double *tail) {
    double s = a + b;
    double bb = s - a;
    *head = s;
    *tail = (a - (s - bb)) + (b - bb);
}

// A zero sum of non-zero terms is -0 only when rounding down.
static float zero_sum(float near, bool exact_cancel, enum num_round round) {
    return exact_cancel && round == NUM_RM ? -0.0f : near;
}

float num_add_r(float a, float b, enum num_round round) {
    if (round == NUM_RN) {
        return num_add(a, b);
    }
    double head;
    double tail;
    two_sum((double)a, (double)b, &head, &tail);
    if (head == 0) {
        return zero_sum((float)head, num_bits(a) != num_bits(b), round);
    }
    return round_pair(head, tail, round);
}

float num_mul_r(float a, float b, enum num_round round) {
    if (round == NUM_RN) {
        return num_mul(a, b);
    }
    return round_pair((double)a * (double)b, 0, round); // 48 bits: exact
}

float num_fma_r(float a, float b, float c, enum num_round round) {
    if (round == NUM_RN) {
        return num_fma(a, b, c);
    }
    double p = (double)a * (double)b;
    double head;
    double tail;
    two_sum(p, (double)c, &head, &tail);
    if (head == 0) {
        bool cancel = !(p == 0 && c == 0 && signbit(p) == signbit((double)c));
        return zero_sum((float)head, cancel, round);
    }
    return round_pair(head, tail, round);
}

// 'near' is the rounding of head + tail: 0 with its sign if that is below the least normal number, had
// subnormals 24 bits too (IEEE 754 "tininess after rounding").
static float flush_exact(float near, double head, double tail, enum num_round round) {
    double least = round == NUM_RN ? 0x1p-126 - 0x1p-151 : 0x1p-126;
    bool tiny = head < 0 ? head > -least || (head == -least && tail > 0)
                         : head < least || (head == least && tail < 0);
    return tiny ? copysignf(0.0f, near) : near;
}

float num_mul_ftz(float a, float b, enum num_round round) {
    return flush_exact(num_mul_r(a, b, round), (double)a * (double)b, 0, round);
}

float num_fma_ftz(float a, float b, float c, enum num_round round) {
    double head;
    double tail;
    two_sum((double)a * (double)b, (double)c, &head, &tail);
    return flush_exact(num_fma_r(a, b, c, round), head, tail, round);
}

double num_nan_64(double r, const double x[3]) {
    double from = x[1] != x[1] ? x[1] : x[2] != x[2] ? x[2] : x[0];
    if (r != r && from != from) {
        uint64_t u;
        memcpy(&u, &from, 8);
        u |= 1ull << 51; // quiet
        memcpy(&r, &u, 8);
    }
    return r;
}

// The host's own arithmetic under its rounding mode: volatile keeps it between the two switches.
double num_f64_r(enum num_op_64 op, const double x[3], enum num_round round) {
    static const int modes[] = {
        [NUM_RN] = FE_TONEAREST, [NUM_RZ] = FE_TOWARDZERO, [NUM_RM] = FE_DOWNWARD, [NUM_RP] = FE_UPWARD};
    volatile double a = x[0], b = x[1], c = x[2], r = 0;
    int before = fegetround();
    fesetround(modes[round]);
    switch (op) {
    case NUM_ADD_64:
        r = a + b;
        break;
    case NUM_SUB_64:
        r = a - b;
        break;
    case NUM_MUL_64:
        r = a * b;
        break;
    case NUM_FMA_64:
        r = fma(a, b, c);
        break;
    case NUM_DIV_64:
        r = a / b;
        break;
    case NUM_SQRT_64:
        r = sqrt(a);
        break;
    }
    fesetround(before);
    return num_nan_64(r, x);
}

float num_div_r(float a, float b, enum num_round round) {
    if (round == NUM_RN) {
        return num_div(a, b);
    }
    double q = (double)a / (double)b;
    if (q != q || isinf(q) || q == 0) {
        return num_canon((float)q);
    }
    double rest = fma(-q, (double)b, (double)a); // the sign of a/b - q is that of rest/b
    return round_pair(q, b < 0 ? -rest : rest, round);
}

float num_sqrt_r(float a, enum num_round round) {
    if (round == NUM_RN) {
        return num_canon(sqrtf(a));
    }
    double r = sqrt((double)a);
    if (r != r || isinf(r) || r == 0) {
        return num_canon((float)r);
    }
    return round_pair(r, fma(-r, r, (double)a), round);
}

static float pick(float a, float b, bool nan, bool take_a) {
    if (a != a || b != b) {
        if (nan || (a != a && b != b)) {
            return num_f32(NUM_NAN_F32);
        }
        return a != a ? b : a;
    }
    return take_a ? a : b;
}

float num_min(float a, float b, bool nan) {
    return pick(a, b, nan, a < b || (a == b && signbit(a)));
}

float num_max(float a, float b, bool nan) {
    return pick(a, b, nan, a > b || (a == b && !signbit(a)));
}
