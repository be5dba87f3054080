// Speed of the tensor core arithmetic on one core, in multiply-accumulates a second: tiles as
// tcgen05.mma sees them, and whole mma.sync instructions with their fragments.
#include "num_mm.h"
#include "num_ref.h"
#include "units.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct data {
    uint8_t a[128][32], b[256][32], sa[128][4], sb[256][4];
    uint32_t d[256][128];
};

static void fill(struct data *x, enum num_fmt f, enum num_fmt scale) {
    struct ref_random r = {88172645463325252ull};
    uint8_t *rows = x->a[0];
    size_t bytes = sizeof x->a + sizeof x->b;
    for (size_t i = 0; i < bytes; i++) {
        rows[i] = (uint8_t)(f == NUM_E2M1 ? ref_u32(&r) : ref_code(&r, f, REF_MILD));
    }
    if (num_bits_of(f) == 16) {
        for (size_t i = 0; i < bytes; i += 2) {
            float near_one = (float)(int32_t)ref_u32(&r) * 0x1p-30f;
            uint16_t code = (uint16_t)num_encode(f, near_one, NUM_RN, false);
            memcpy(rows + i, &code, 2);
        }
    }
    uint8_t *scales = x->sa[0];
    for (size_t i = 0; i < sizeof x->sa + sizeof x->sb; i++) {
        scales[i] = (uint8_t)((scale == NUM_UE4M3 ? 0x30 : 120) + ref_below(&r, 14));
    }
    memset(x->d, 0, sizeof x->d);
}

static void bench_tile(const char *name, struct num_mm mm, enum num_fmt f, int k) {
    struct data *x = malloc(sizeof *x);
    fill(x, f, mm.gst.scale);
    mm.m = 128;
    mm.n = 256;
    mm.accumulate = true;
    mm.a = (const uint8_t(*)[32])x->a;
    mm.b = (const uint8_t(*)[32])x->b;
    mm.sa = (const uint8_t(*)[4])x->sa;
    mm.sb = (const uint8_t(*)[4])x->sb;
    int runs = 0;
    double start = now();
    while (now() - start < 0.1) {
        num_mm_run(&mm, &x->d[0][0], 128);
        runs++;
    }
    double rate = (double)runs * 128 * 256 * k / (now() - start);
    printf("%-34s %7.2f GMAC/s\n", name, rate * 1e-9);
    free(x);
}

static void bench_warp(const char *name, struct unit_msync op) {
    static uint32_t rows[14][32];
    struct ref_random r = {88172645463325252ull};
    for (int i = 0; i < 6; i++) {
        for (int lane = 0; lane < 32; lane++) {
            rows[i][lane] = op.k == 64 ? ref_u32(&r) : ref_u32(&r) & 0x3F3F3F3Fu;
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        rows[6][lane] = rows[7][lane] = op.scale == NUM_UE4M3 ? 0x38343036u : 0x7F7E7D80u;
    }
    uint32_t *d[4] = {rows[8], rows[9], rows[10], rows[11]};
    struct unit_msync_regs regs = {.d = d,
                                   .a = (const uint32_t *[]){rows[0], rows[1], rows[2], rows[3]},
                                   .b = (const uint32_t *[]){rows[4], rows[5]},
                                   .c = (const uint32_t *const *)d,
                                   .sfa = rows[6],
                                   .sfb = rows[7]};
    int runs = 0;
    double start = now();
    while (now() - start < 0.1) {
        for (int i = 0; i < 100; i++, runs++) {
            unit_msync(&op, &regs);
        }
    }
    double each = (now() - start) / runs;
    printf("%-34s %7.2f GMAC/s, %.2f us each\n", name, 128.0 * op.k / each * 1e-9, each * 1e6);
}

static struct num_mm dot(enum num_fmt f, int k, int frac, enum num_out out) {
    return (struct num_mm){.op = NUM_MM_DOT, .dot = {f, f, k, frac, -133, out}};
}

int main(void) {
    struct num_mm nv = {.op = NUM_MM_GST, .gst = {NUM_UE4M3, 16}};
    struct num_mm mx = {.op = NUM_MM_GST, .gst = {NUM_UE8M0, 32}};
    bench_tile("nvfp4 128x256x64", nv, NUM_E2M1, 64);
    bench_tile("mxfp4 128x256x64", mx, NUM_E2M1, 64);
    bench_tile("e4m3 F=25 128x256x32", dot(NUM_E4M3, 32, 25, NUM_OUT_F32), NUM_E4M3, 32);
    struct num_mm mx8 = dot(NUM_E4M3, 32, 25, NUM_OUT_F32);
    mx8.op = NUM_MM_SCALED;
    bench_tile("mxf8 128x256x32", mx8, NUM_E4M3, 32);
    bench_tile("e4m3 F=13 128x256x32", dot(NUM_E4M3, 32, 13, NUM_OUT_E8M13), NUM_E4M3, 32);
    bench_tile("f16 128x256x16", dot(NUM_F16, 16, 25, NUM_OUT_F32), NUM_F16, 16);
    bench_tile("bf16 128x256x16", dot(NUM_BF16, 16, 25, NUM_OUT_F32), NUM_BF16, 16);
    bench_warp("mma.sync nvfp4 m16n8k64", (struct unit_msync){.kind = UNIT_KIND_MXF4NVF4,
                                                              .k = 64,
                                                              .a = NUM_E2M1,
                                                              .b = NUM_E2M1,
                                                              .d = NUM_F32,
                                                              .block = 16,
                                                              .scale = NUM_UE4M3});
    bench_warp("mma.sync mxf8f6f4 e4m3 m16n8k32", (struct unit_msync){.kind = UNIT_KIND_MXF8F6F4,
                                                                      .k = 32,
                                                                      .a = NUM_E4M3,
                                                                      .b = NUM_E4M3,
                                                                      .d = NUM_F32,
                                                                      .block = 32,
                                                                      .scale = NUM_UE8M0});
    return 0;
}
