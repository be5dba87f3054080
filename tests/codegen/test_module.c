// Metadata, module file and the ptxas child process, each against its description: the JSON is read
// back with cJSON, the file's bytes are taken apart by hand after runtime/module.h, and ptxas gets
// programs that it must accept, refuse or complain about.
#include "../../runtime/module.h"
#include "artefact.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static tir_size dim_m = {.op = SZ_DIM, .dim = 0};
static tir_size dim_n = {.op = SZ_DIM, .dim = 1};
static tir_size eight = {.op = SZ_INT, .value = 8};
static tir_size zero = {.op = SZ_INT};
static tir_size big = {.op = SZ_INT, .value = 4611686018427387905};
static tir_size n_mod_8 = {.op = SZ_MOD, .a = &dim_n, .b = &eight};
static tir_size n_is_8s = {.op = SZ_EQ, .a = &n_mod_8, .b = &zero};
static tir_size m_small = {.op = SZ_LT, .a = &dim_m, .b = &big};
static tir_size pitch_a = {.op = SZ_PITCH, .dim = 0};
static tir_size sf_a = {.op = SZ_SF_BYTES, .dim = 0};

// D[m, n] (quantised) = s * A[m, n] + w[n]: maps, both pointer kinds, pitch, dims, a scalar.
static tir_kernel *sample(arena *mem) {
    static tir_size *a_dims[] = {&dim_m, &dim_n};
    static tir_size *w_dims[] = {&dim_n};
    static const char *dims[] = {"M", "N"};
    tir_param *p = ARENA_ARRAY(mem, tir_param, 4);
    p[0] = (tir_param){.name = "A",
                       .is_tensor = true,
                       .mode = MODE_IN,
                       .format = "nvfp4",
                       .elem = ELEM_E2M1,
                       .scale = ELEM_UE4M3,
                       .granule = 16,
                       .granule_rows = 1,
                       .layout = "sf128x4",
                       .n_dims = 2,
                       .dims = a_dims,
                       .align = 16};
    p[1] = (tir_param){.name = "w",
                       .is_tensor = true,
                       .mode = MODE_CONST,
                       .format = "f32",
                       .elem = ELEM_F32,
                       .scale = ELEM_NONE,
                       .n_dims = 1,
                       .dims = w_dims,
                       .align = 4};
    p[2] = (tir_param){.name = "s", .elem = ELEM_F32, .scale = ELEM_NONE};
    p[3] = p[0];
    p[3].name = "D";
    p[3].mode = MODE_OUT;
    tir_map *map = ARENA_NEW(mem, tir_map);
    *map = (tir_map){.param = 0,
                     .part = PART_DATA,
                     .dtype = 0,
                     .elem_bytes = 1,
                     .rank = 2,
                     .dims = {&dim_n, &dim_m},
                     .strides = {NULL, &pitch_a},
                     .box = {128, 64},
                     .swizzle = SWZ_128B};
    tir_axis *axis = ARENA_NEW(mem, tir_axis);
    *axis = (tir_axis){.loop = 1, .mul = 1, .div = 1};
    tir_expr *load = ARENA_NEW(mem, tir_expr);
    *load = (tir_expr){.kind = TX_LOAD, .type = ELEM_F32, .ref = 1, .n_axes = 1, .axes = axis};
    tir_expr *neg = ARENA_NEW(mem, tir_expr);
    *neg = (tir_expr){
        .kind = TX_UNARY, .op = OP_NEG, .n_args = 1, .args = ARENA_ARRAY(mem, tir_expr *, 1)};
    neg->args[0] = load;
    tir_store *store = ARENA_NEW(mem, tir_store);
    *store = (tir_store){.param = 3,
                         .value = neg,
                         .elem = ELEM_E2M1,
                         .scale = ELEM_UE4M3,
                         .granule = 16,
                         .via_smem = true,
                         .release = -1};
    tir_loop *loops = ARENA_ARRAY(mem, tir_loop, 2);
    loops[0] = (tir_loop){.index = "m", .dim = &dim_m, .tile = 128};
    loops[1] = (tir_loop){.index = "n", .dim = &dim_n, .tile = 1};
    tir_where *where = ARENA_ARRAY(mem, tir_where, 1);
    where[0] = (tir_where){.cond = &n_is_8s, .text = "N % 8 == 0", .line = 9};
    tir_tparam *tparam = ARENA_NEW(mem, tir_tparam);
    *tparam = (tir_tparam){.name = "BM", .value = 128};
    tir_kernel *k = ARENA_NEW(mem, tir_kernel);
    *k = (tir_kernel){.name = "sample",
                      .source = "sample.tk",
                      .arch = ARCH_SM100A,
                      .when = &m_small,
                      .n_tparams = 1,
                      .tparams = tparam,
                      .n_dims = 2,
                      .dims = dims,
                      .n_params = 4,
                      .params = p,
                      .n_where = 1,
                      .where = where,
                      .n_maps = 1,
                      .maps = map,
                      .n_loops = 2,
                      .loops = loops,
                      .walk = {.kind = WALK_STATIC, .raster = -1, .stream = -1},
                      .cluster = 2,
                      .n_stores = 1,
                      .stores = store,
                      .threads = 192,
                      .entry_regs = 168,
                      .smem_bytes = 4096};
    return k;
}

static const char *text_at(const cJSON *o, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(o, key));
}

static int int_at(const cJSON *o, const char *key) {
    return cJSON_GetObjectItem(o, key)->valueint;
}

static char *flat(const cJSON *o, const char *key) {
    return cJSON_PrintUnformatted(cJSON_GetObjectItem(o, key));
}

static void expect_flat(const cJSON *o, const char *key, const char *want) {
    char *got = flat(o, key);
    assert_string_equal(got, want);
    free(got);
}

static cJSON *sample_json(arena *mem, const ptxas_result *report) {
    const char *json = NULL;
    assert_null(meta_kernel(sample(mem), report, mem, &json));
    cJSON *o = cJSON_Parse(json);
    assert_non_null(o);
    return o;
}

static void test_meta_says_what_the_kernel_is(void **state) {
    (void)state;
    arena *mem = arena_new();
    ptxas_result report = {.regs = 40, .stack = 8, .spill_stores = 4, .spill_loads = 12};
    cJSON *o = sample_json(mem, &report);
    assert_string_equal(text_at(o, "name"), "sample");
    assert_string_equal(text_at(o, "arch"), "sm_100a");
    assert_string_equal(text_at(o, "entry"), "sample");
    expect_flat(o, "dims", "[\"M\",\"N\"]");
    expect_flat(o, "tparams", "{\"BM\":128}");
    // All 64 bits of a number survive: a double would round it. cJSON itself reads doubles, so the
    // text is looked at.
    const char *json = NULL;
    assert_null(meta_kernel(sample(mem), NULL, mem, &json));
    assert_non_null(strstr(json, "\"when\":[\"<\",\"M\",4611686018427387905]"));
    assert_null(strstr(json, "\"report\""));
    expect_flat(o, "where",
                "[{\"expr\":[\"==\",[\"%\",\"N\",8],0],\"text\":\"N % 8 == 0\",\"line\":9}]");
    const cJSON *launch = cJSON_GetObjectItem(o, "launch");
    assert_int_equal(int_at(launch, "threads"), 192);
    assert_int_equal(int_at(launch, "smem"), 4096);
    assert_int_equal(int_at(launch, "entry_regs"), 168);
    expect_flat(launch, "cluster", "[2,1,1]");
    expect_flat(launch, "grid",
                "{\"tiles\":[\"*\",[\"ceildiv\",\"M\",128],\"N\"],\"persistent\":true,\"per_sm\":2}");
    expect_flat(o, "report", "{\"regs\":40,\"spills\":16,\"stack\":8}");
    cJSON_Delete(o);
    arena_free(mem);
}

static void test_meta_lists_params(void **state) {
    (void)state;
    arena *mem = arena_new();
    cJSON *o = sample_json(mem, NULL);
    const cJSON *params = cJSON_GetObjectItem(o, "params");
    assert_int_equal(cJSON_GetArraySize(params), 4);
    const cJSON *a = cJSON_GetArrayItem(params, 0);
    assert_string_equal(text_at(a, "kind"), "tensor");
    assert_string_equal(text_at(a, "mode"), "in");
    assert_string_equal(text_at(a, "elem"), "e2m1");
    assert_string_equal(text_at(a, "scale"), "ue4m3");
    assert_string_equal(text_at(a, "layout"), "sf128x4");
    expect_flat(a, "granule", "[1,16]");
    expect_flat(a, "dims", "[\"M\",\"N\"]");
    const cJSON *w = cJSON_GetArrayItem(params, 1);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(w, "scale")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(w, "layout")));
    const cJSON *s = cJSON_GetArrayItem(params, 2);
    assert_string_equal(text_at(s, "kind"), "scalar");
    assert_string_equal(text_at(s, "elem"), "f32");
    cJSON_Delete(o);
    arena_free(mem);
}

// Maps, then pointers with pitch per tensor, dims, scalars. A vector has no pitch.
static void test_meta_lists_arguments_in_order(void **state) {
    (void)state;
    arena *mem = arena_new();
    cJSON *o = sample_json(mem, NULL);
    expect_flat(o, "args",
                "[{\"kind\":\"tensormap\",\"tensor\":\"A\",\"part\":\"data\",\"dtype\":0,"
                "\"dims\":[\"N\",\"M\"],\"strides\":[\"A.pitch\"],\"box\":[128,64],\"swizzle\":3},"
                "{\"kind\":\"pointer\",\"tensor\":\"w\",\"part\":\"data\"},"
                "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"scale\"},"
                "{\"kind\":\"dim\",\"expr\":\"M\",\"type\":\"i32\"},"
                "{\"kind\":\"dim\",\"expr\":\"N\",\"type\":\"i32\"},"
                "{\"kind\":\"scalar\",\"name\":\"s\",\"type\":\"f32\"}]");
    cJSON_Delete(o);
    tir_kernel *k = sample(mem);
    k->stores[0].via_smem = false;
    k->maps[0].strides[1] = &sf_a;
    const char *json = NULL;
    assert_null(meta_kernel(k, NULL, mem, &json));
    assert_non_null(strstr(json, "\"strides\":[\"A.sf_bytes\"]"));
    assert_non_null(strstr(json, "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"},"
                                 "{\"kind\":\"dim\",\"expr\":\"D.pitch\",\"type\":\"i64\"},"));
    arena_free(mem);
}

static uint64_t get(const unsigned char *at, int bytes) {
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        v = v << 8 | at[i];
    }
    return v;
}

static const module_kernel two_kernels[] = {
    {.meta = "{\"name\":\"a\"}",
     .ptx = "ptx of a",
     .ptx_len = 8,
     .cubin = "\1\2\3",
     .cubin_len = 3},
    {.meta = "{\"name\":\"b\"}", .ptx = "ptx of b!", .ptx_len = 9},
};

static module_image two_images(arena *mem) {
    module_image image;
    assert_null(module_build(&(module_source){.name = "two.tk"}, two_kernels, 2, mem, &image));
    return image;
}

static void test_module_layout(void **state) {
    (void)state;
    arena *mem = arena_new();
    module_image m = two_images(mem);
    assert_memory_equal(m.bytes, "FP4TKM\r\n", 8);
    assert_int_equal(get(m.bytes + 8, 4), FP4_MODULE_VERSION);
    assert_int_equal(get(m.bytes + 12, 4), 4);
    assert_int_equal(get(m.bytes + 16, 8), m.len);
    uint64_t h = 14695981039346656037u; // FNV-1a 64, offset basis and prime in decimal
    for (size_t i = 32; i < m.len; i++) {
        h ^= m.bytes[i];
        h *= 1099511628211u;
    }
    assert_true(get(m.bytes + 24, 8) == h);
    static const struct {
        uint32_t kind, index;
        const char *text;
        size_t len;
    } want[] = {
        {1, 0,
         "{\"fp4c\":\"" FP4C_VERSION "\",\"source\":\"two.tk\",\"kernels\":"
         "[{\"name\":\"a\"},{\"name\":\"b\"}]}",
         0},
        {2, 0, "ptx of a", 8},
        {3, 0, "\1\2\3", 3},
        {2, 1, "ptx of b!", 9},
    };
    for (size_t i = 0; i < 4; i++) {
        const unsigned char *row = m.bytes + 32 + 24 * i;
        size_t len = want[i].len ? want[i].len : strlen(want[i].text);
        assert_int_equal(get(row, 4), want[i].kind);
        assert_int_equal(get(row + 4, 4), want[i].index);
        uint64_t offset = get(row + 8, 8);
        assert_int_equal(offset % 16, 0);
        assert_int_equal(get(row + 16, 8), len);
        assert_true(offset + len <= m.len);
        assert_memory_equal(m.bytes + offset, want[i].text, len);
    }
    module_image again = two_images(mem);
    assert_int_equal(again.len, m.len);
    assert_memory_equal(again.bytes, m.bytes, m.len);
    arena_free(mem);
}

static int entries(const char *dir) {
    DIR *d = opendir(dir);
    int n = 0;
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n - 2;
}

static void test_write_is_whole_or_nothing(void **state) {
    (void)state;
    arena *mem = arena_new();
    char *dir = arena_strdup(mem, "module-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    const char *path = arena_printf(mem, "%s/k.tkm", dir);
    assert_null(module_write(path, "old", 3, mem));
    assert_null(module_write(path, "newer", 5, mem));
    assert_int_equal(entries(dir), 1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
    mode_t mask = umask(022);
    umask(mask);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
    // A directory in the way: a sentence with the name, and nothing left beside it.
    const char *block = arena_printf(mem, "%s/d", dir);
    assert_int_equal(mkdir(block, 0700), 0);
    const char *why = module_write(block, "x", 1, mem);
    assert_non_null(why);
    assert_non_null(strstr(why, block));
    why = module_write(arena_printf(mem, "%s/none/k.tkm", dir), "x", 1, mem);
    assert_non_null(strstr(why, "none/k.tkm"));
    assert_int_equal(entries(dir), 2);
    assert_null(module_write("/dev/null", "x", 1, mem));
    rmdir(block);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    arena_free(mem);
}

static const char header[] = ".version 8.8\n.target sm_100a\n.address_size 64\n";

static ptxas_job job_of(const char *ptx) {
    return (ptxas_job){.arch = "sm_100a", .entry = "k", .ptx = ptx, .ptx_len = strlen(ptx)};
}

static void test_ptxas_accepts(void **state) {
    (void)state;
    arena *mem = arena_new();
    if (!ptxas_find(mem)) {
        skip();
    }
    const char *ptx = arena_printf(mem,
                                   "%s.visible .entry other() { ret; }\n.visible .entry k("
                                   ".param .u64 p) .maxntid 32 { bar.sync 3; ret; }\n",
                                   header);
    ptxas_job job = job_of(ptx);
    ptxas_result a, b;
    assert_null(ptxas_run(&job, &a, mem));
    assert_true(a.regs > 0 && a.regs < 40);
    assert_int_equal(a.barriers, 4);
    assert_int_equal(a.stack, 0);
    assert_true(a.cubin_len > 64);
    assert_memory_equal(a.cubin, "\177ELF", 4);
    assert_null(ptxas_run(&job, &b, mem));
    assert_int_equal(a.cubin_len, b.cubin_len);
    assert_memory_equal(a.cubin, b.cubin, a.cubin_len);
    arena_free(mem);
}

static void expect_refusal(const char *ptx, const char *part, arena *mem) {
    ptxas_job job = job_of(ptx);
    ptxas_result r;
    const char *why = ptxas_run(&job, &r, mem);
    assert_non_null(why);
    if (!strstr(why, part)) {
        fail_msg("'%s' is not in: %s", part, why);
    }
}

static void test_ptxas_refuses(void **state) {
    (void)state;
    arena *mem = arena_new();
    if (!ptxas_find(mem)) {
        skip();
    }
    expect_refusal("nonsense", "exit", mem);
    expect_refusal(arena_printf(mem, "%s.visible .entry other() { ret; }\n", header),
                   "nothing about 'k'", mem);
    expect_refusal(arena_printf(mem,
                                "%s.visible .entry k() { setmaxnreg.inc.sync.aligned.u32 "
                                "232; ret; }\n",
                                header),
                   "C7508", mem);
    expect_refusal(arena_printf(mem,
                                "%s.visible .entry k(.param .u64 p) { .local .b8 x[400];"
                                " .reg .b64 a, b; .reg .b32 i;\n"
                                "ld.param.u64 a, [p]; ld.global.u32 i, [a]; mov.u64 b, x;"
                                " cvt.u64.u32 a, i; add.u64 b, b, a;\n"
                                "st.local.u32 [b], i; st.local.u32 [b+16], i;"
                                " ld.local.u32 i, [x+32];\n"
                                "ld.param.u64 a, [p]; st.global.u32 [a], i; ret; }\n",
                                header),
                   "400 bytes of stack", mem);
    ptxas_job job = job_of("");
    job.program = "no-such-ptxas";
    ptxas_result r;
    assert_non_null(strstr(ptxas_run(&job, &r, mem), "no-such-ptxas"));
    arena_free(mem);
}

// Messages that a small program cannot provoke, as ptxas 13.0 prints them.
static void test_log_messages(void **state) {
    (void)state;
    arena *mem = arena_new();
    static const char good[] =
        "ptxas info    : Function properties for k2\n"
        "    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
        "ptxas info    : Used 99 registers, used 1 barriers\n"
        "ptxas info    : Function properties for k\n"
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 168 registers\n";
    static const char *const codes[] = {"C7504", "C7506", "C7508", "C7510",
                                        "C7514", "C7517", "C7519"};
    ptxas_job job = job_of("");
    ptxas_result r = {.log = good};
    assert_null(ptxas_read_log(&job, &r, mem));
    assert_int_equal(r.regs, 168);
    assert_int_equal(r.barriers, 0);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        r.log = arena_printf(mem, "ptxas info    : (%s) Potential loss\n%s", codes[i], good);
        const char *why = ptxas_read_log(&job, &r, mem);
        assert_non_null(why);
        assert_non_null(strstr(why, codes[i]));
    }
    job.entry = "k2";
    r.log = good;
    assert_non_null(strstr(ptxas_read_log(&job, &r, mem), "99 registers"));
    job.allow_spills = true;
    assert_null(ptxas_read_log(&job, &r, mem));
    assert_int_equal(r.spill_loads, 4);
    arena_free(mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meta_says_what_the_kernel_is),
        cmocka_unit_test(test_meta_lists_params),
        cmocka_unit_test(test_meta_lists_arguments_in_order),
        cmocka_unit_test(test_module_layout),
        cmocka_unit_test(test_write_is_whole_or_nothing),
        cmocka_unit_test(test_ptxas_accepts),
        cmocka_unit_test(test_ptxas_refuses),
        cmocka_unit_test(test_log_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
