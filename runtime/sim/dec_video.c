// SIMD video instructions (PTX ISA "SIMD Video Instructions": v<op>2 on halves, v<op>4 on bytes) and
// the few scalar leftovers slct and szext. Selectors and masks of the video instructions have no
// spelling in what compilers write; they are refused.
#include "alu.h"
#include "ptx.h"

enum video_op { V_ADD, V_SUB, V_AVRG, V_ABSDIFF, V_MIN, V_MAX };
struct video {
    enum video_op op;
    int width; // bits of an element
    bool sa, sb, sd, sat, sum;
};

static int64_t element(uint32_t v, int at, int width, bool sign) {
    uint32_t e = v >> at & ((1u << width) - 1);
    return sign && (e >> (width - 1)) != 0 ? (int64_t)e - (1 << width) : (int64_t)e;
}

static int64_t apply(const struct video *x, int64_t a, int64_t b) {
    switch (x->op) {
    case V_ADD:
        return a + b;
    case V_SUB:
        return a - b;
    case V_AVRG:
        return (a + b + (a + b >= 0 ? 1 : 0)) >> 1;
    case V_ABSDIFF:
        return a > b ? a - b : b - a;
    case V_MIN:
        return a < b ? a : b;
    default:
        return a > b ? a : b;
    }
}

static int64_t saturated(const struct video *x, int64_t v) {
    int64_t low = x->sd ? -(1ll << (x->width - 1)) : 0;
    int64_t high = x->sd ? (1ll << (x->width - 1)) - 1 : (1ll << x->width) - 1;
    return v < low ? low : v > high ? high : v;
}

static const struct uop *run_video(struct warp *w, const struct uop *u) {
    const struct video *x = u->aux;
    const u32 *a = row(w, u->a);
    const u32 *b = row(w, u->b);
    const u32 *c = row(w, u->c);
    u32 *d = row(w, u->d);
    FOR_LANES(l, exec_mask(w, u)) {
        uint32_t packed = 0;
        uint32_t sum = c[l];
        for (int at = 0; at < 32; at += x->width) {
            int64_t v = apply(x, element(a[l], at, x->width, x->sa), element(b[l], at, x->width, x->sb));
            v = x->sat ? saturated(x, v) : v;
            packed |= ((uint32_t)v & ((1u << x->width) - 1)) << at;
            sum += (uint32_t)v;
        }
        d[l] = x->sum ? sum : packed;
    }
    return u + 1;
}

// v<op>{2,4}.dtype.atype.btype[.sat][.add] d, a, b, c
void dec_video(struct ptx_parser *p, struct ptx_ins *i) {
    static const char *const names[] = {"vadd", "vsub", "vavrg", "vabsdiff", "vmin", "vmax"};
    struct video *x = ptx_aux_alloc(p, sizeof *x);
    for (int n = 0; n < 6; n++) {
        if (strlen(names[n]) + 1 == i->opcode_length &&
            memcmp(names[n], i->opcode, i->opcode_length - 1) == 0) {
            x->op = (enum video_op)n;
        }
    }
    x->width = i->opcode[i->opcode_length - 1] == '2' ? 16 : 8;
    x->sd = ptx_is_signed(ptx_need_type(p));
    x->sa = ptx_is_signed(ptx_need_type(p));
    x->sb = ptx_is_signed(ptx_need_type(p));
    x->sat = ptx_take(i, W_SAT);
    x->sum = ptx_take(i, W_ADD);
    ptx_need_args(p, 4, 4);
    uint32_t r[3];
    for (int n = 0; n < 3; n++) {
        r[n] = ptx_row_src(p, ptx_arg(i, n + 1), W_U32);
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_U32);
    ptx_emit_rows(p, run_video, d, r)->aux = x;
}

// slct.dtype.s32 d, a, b, c: a where c >= 0; of f32 a NaN is not, and -0 is
static const struct uop *run_slct(struct warp *w, const struct uop *u) {
    FOR_LANES(l, exec_mask(w, u)) {
        uint32_t c = ((const u32 *)row(w, u->c))[l];
        float f = (u->flag & 4) != 0 ? num_ftz(num_f32(c)) : num_f32(c);
        bool first = (u->flag & 1) == 0 ? (int32_t)c >= 0 : f >= 0.0f;
        uint32_t from = first ? u->a : u->b;
        if ((u->flag & 2) != 0) {
            ((u64 *)row(w, u->d))[l] = ((const u64 *)row(w, from))[l];
        } else {
            ((u32 *)row(w, u->d))[l] = ((const u32 *)row(w, from))[l];
        }
    }
    return u + 1;
}

void dec_slct(struct ptx_parser *p, struct ptx_ins *i) {
    bool ftz = ptx_take(i, W_FTZ);
    enum ptx_word type = ptx_need_type(p);
    enum ptx_word by = ptx_need_type(p);
    ptx_need_args(p, 4, 4);
    if ((by != W_S32 && by != W_F32) || ptx_type_bits(type) > 64) {
        ptx_refuse(p, "unsupported types of slct");
    }
    uint32_t r[3];
    for (int n = 0; n < 3; n++) {
        r[n] = ptx_row_src(p, ptx_arg(i, n + 1), n == 2 ? by : type);
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    struct uop *u = ptx_emit_rows(p, run_slct, d, r);
    u->flag = (uint8_t)((by == W_F32) | (ptx_type_bits(type) == 64) << 1 | ftz << 2);
}

// szext.mode.type d, a, b: the low b bits of a, extended
static const struct uop *run_szext(struct warp *w, const struct uop *u) {
    const u32 *a = row(w, u->a);
    const u32 *b = row(w, u->b);
    u32 *d = row(w, u->d);
    FOR_LANES(l, exec_mask(w, u)) {
        uint32_t n = (u->flag & 2) != 0 ? b[l] & 31 : b[l] > 32 ? 32 : b[l];
        uint32_t low = n >= 32 ? a[l] : a[l] & ((1u << n) - 1);
        bool sign = (u->flag & 1) != 0 && n > 0 && n < 32 && (a[l] >> (n - 1) & 1) != 0;
        d[l] = sign ? low | (0xFFFFFFFFu << n) : low;
    }
    return u + 1;
}

void dec_szext(struct ptx_parser *p, struct ptx_ins *i) {
    bool wrap = ptx_take(i, W_WRAP);
    if (!wrap && !ptx_take(i, W_CLAMP)) {
        ptx_refuse(p, "szext needs .wrap or .clamp");
    }
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 3, 3);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), type);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), W_U32);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), type);
    struct uop *u = ptx_emit(p, run_szext);
    u->d = d;
    u->a = a;
    u->b = b;
    u->flag = (uint8_t)(ptx_is_signed(type) | wrap << 1);
}
