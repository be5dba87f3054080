// Kernels without an accumulator: quantisers and other elementwise programs, one row a lane. The role
// programs are given as text; an accumulator of no channel says which rows and columns the warps cover.
#include "ref.h"
#include "tk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *name, *arch, *format;
    const char *elem; // fields of the store and of the parameter
    const char *scale;
    const char *via;  // fields of a store through shared memory, or ""
    const char *map;
    int warps, cols, sub;
} variant;

#define NVFP4 "scale=ue4m3 granule=16"
#define MX "scale=ue8m0 granule=32"
#define BYTES(bytes, cols)                                                                         \
    "    map param=Y part=data dtype=0 elem_bytes=1 rank=2 dims=[" cols ", M] strides=[_, pitch(Y)]" \
    " box=[" bytes ", 32] swizzle=span" bytes "\n"

static const variant variants[] = {
    {"nvfp4", "sm_100a", "nvfp4", "e2m1", NVFP4, "", "", 4, 128, 64},
    {"nvfp4, whole tile at once", "sm_120a", "nvfp4", "e2m1", NVFP4, "", "", 4, 128, 128},
    {"nvfp4, narrow tile", "sm_120a", "nvfp4", "e2m1", NVFP4, "", "", 2, 48, 48},
    {"nvfp4 through shared memory", "sm_100a", "nvfp4", "e2m1", NVFP4,
     "via_smem map=Y.data stage_offset=1024 stage_bytes=9216 stages=2 scale_offset=8192",
     BYTES("64", "ceildiv(N, 2)"), 4, 256, 128},
    {"mxfp8", "sm_120a", "mxfp8", "e4m3", MX, "", "", 8, 256, 128},
    {"mxfp8", "sm_100a", "mxfp8", "e4m3", MX, "", "", 4, 96, 96},
    {"mxfp4", "sm_120a", "mxfp4", "e2m1", MX, "", "", 4, 64, 32},
    {"bf16", "sm_100a", "bf16", "bf16", "", "", "", 4, 64, 64},
    {"bf16", "sm_120a", "bf16", "bf16", "", "", "", 1, 32, 16},
};

static const char *text_of(const variant *v, arena *mem) {
    bool scaled = v->scale[0] != 0, smem = v->via[0] != 0;
    const char *value = scaled ? "load(X, [m, n])" : "mul(load(X, [m, n]), scalar(s))";
    const char *divide = strstr(v->scale, "ue4m3") ? " divide=scalar(s)" : "";
    return arena_printf(mem,
        "tir 1\n"
        "kernel g arch=%s source=\"q.tk\" {\n"
        "    launch threads=%d entry_regs=128 wg_regs=[0%s] smem_bytes=%d tmem_warp=-1 tmem_slot=0\n"
        "    walk kind=static\n"
        "    dim M\n"
        "    dim N\n"
        "    param X is_tensor format=bf16 elem=bf16 dims=[M, N] align=16\n"
        "    param s format=f32 elem=f32 align=16\n"
        "    param Y is_tensor mode=out format=%s elem=%s %s%s dims=[M, N] align=16\n"
        "%s"
        "    loop m dim=M tile=%d\n"
        "    loop n dim=N tile=%d\n"
        "    acc Y role=math rows=%d cols=%d row_loop=m col_loop=n\n"
        "    store param=Y axes=[m, n] value=%s elem=%s %s%s %s sub_cols=%d warp_cols=%d\n"
        "    role math n_warps=%d regs=128 frag=lane_row warps_m=%d warps_n=1 {\n"
        "        walk {\n"
        "            store Y\n"
        "        }\n"
        "    }\n"
        "}\n",
        v->arch, 32 * v->warps, v->warps > 4 ? ", 0" : "", smem ? 32768 : 1024, v->format, v->elem,
        v->scale, scaled ? " layout=sf128x4" : "", v->map, 32 * v->warps, v->cols, 32 * v->warps,
        v->cols, value, v->elem, v->scale, divide, v->via, v->sub, v->sub, v->warps, v->warps);
}

static void expect(fp4_status status) {
    if (status) {
        fail_msg("%s: %s", fp4_status_name(status), fp4_last_error());
    }
}

static const float SCALE = 0.037f;

static int count_wrong(const fp4_host *h, const ref_matrix *x) {
    int wrong = 0, granule = h->format.scale == FP4_ELEM_NONE ? 1 : h->format.granule_cols;
    for (int i = 0; i < x->rows; i++) {
        for (int j0 = 0; j0 < x->cols; j0 += granule) {
            int last = j0 + granule < x->cols ? j0 + granule : x->cols;
            const double *row = x->value + (size_t)i * (size_t)x->cols;
            ref_granule g = {.factor = SCALE};
            if (h->format.scale != FP4_ELEM_NONE) {
                float amax = 0;
                for (int j = j0; j < last; j++) {
                    amax = fmaxf(amax, fabsf((float)row[j]));
                }
                g = ref_quantise(h->format.elem, h->format.scale, amax,
                                 h->format.scale == FP4_ELEM_UE4M3 ? SCALE : 1);
                wrong += (uint32_t)fp4_host_scale_code(h, i, j0) != g.scale;
            }
            for (int j = j0; j < last; j++) {
                wrong += (uint32_t)fp4_host_code(h, i, j) !=
                         ref_encode(h->format.elem, (float)row[j] * g.factor);
            }
        }
    }
    return wrong;
}

static void run(const variant *v, const tk_artefact *art, int m, int n) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    config.sim_sms = 3;
    fp4_ctx *ctx = NULL;
    fp4_module *module = NULL;
    fp4_kernel *kernel = NULL;
    expect(fp4_open(&config, &ctx));
    expect(fp4_module_load_memory(ctx, art->module.bytes, art->module.len, &module));
    expect(fp4_module_kernel(module, "g", v->arch, &kernel));
    ref_rng rng = {.state = (uint64_t)(m * 1000 + n)};
    ref_matrix x;
    double unit;
    assert_true(ref_operand(ctx, "bf16", m, n, &rng, &x, &unit));
    fp4_tensor y;
    int64_t dims[2] = {m, n};
    expect(fp4_tensor_new(ctx, v->format, 2, dims, &y));
    fp4_arg args[] = {fp4_arg_tensor(&x.tensor), fp4_arg_f32(SCALE), fp4_arg_tensor(&y)};
    expect(fp4_launch(kernel, args, 3, NULL));
    fp4_storage st = {.size = sizeof st};
    fp4_host h;
    expect(fp4_tensor_storage(&y, &st));
    expect(fp4_host_init(&h, &y.format, 2, dims));
    h.pitch = st.pitch;
    h.data = calloc(1, (size_t)st.data_bytes + 1);
    h.scale = calloc(1, (size_t)st.scale_bytes + 1);
    expect(fp4_tensor_read(ctx, &y, h.data, st.scale_bytes ? h.scale : NULL, NULL));
    assert_int_equal(count_wrong(&h, &x), 0);
    free(h.data);
    free(h.scale);
    ref_free(&x);
    fp4_tensor_free(&y);
    fp4_close(ctx);
}

static void elementwise(void **state) {
    const variant *v = *state;
    arena *mem = arena_new();
    const char *why = NULL, *text = text_of(v, mem);
    tk_artefact art = {.kernel = tir_read(text, strlen(text), mem, &why)};
    why = art.kernel ? tk_build(v->arch, mem, &art) : why;
    if (why) {
        fail_msg("%s on %s: %s", v->name, v->arch, why);
    }
    static const int shapes[][2] = {{1, 32}, {130, 288}, {257, 96}, {300, 640}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        run(v, &art, shapes[i][0], shapes[i][1]);
    }
    arena_free(mem);
}

int main(void) {
    enum { N = sizeof(variants) / sizeof(variants[0]) };
    struct CMUnitTest tests[N];
    variant copies[N];
    for (int i = 0; i < N; i++) {
        copies[i] = variants[i];
        tests[i] = (struct CMUnitTest){
            .name = variants[i].name, .test_func = elementwise, .initial_state = &copies[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
