// Tensor copies: random maps (element type, rank, dimensions, strides, box, swizzle, fill), random coordinates
// with boxes that hang out of the tensor on either side. Loads leave shared memory's image, stores and
// reductions the tensor's.
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE = 32768, TENSOR = 1 << 20, THREADS = 128 };

typedef struct {
    int code, bytes; // CU_TENSOR_MAP_DATA_TYPE_*
    bool real;
} type;

static const type types[] = {{0, 1, false}, {1, 2, false}, {2, 4, false}, {3, 4, false}, {4, 8, false},
                             {6, 2, true},  {7, 4, true},  {8, 8, true},  {9, 2, true},  {10, 4, true},
                             {11, 4, true}, {12, 4, true}};

// What a copy does; a reduction names the types that it takes.
typedef struct {
    const char *name, *text;
    bool load;
    int codes[4]; // types, ended by -1; first -1: all
} action;

static const action actions[] = {
    {"load", NULL, true, {-1}},
    {"store", "cp.async.bulk.tensor.%dd.global.shared::cta.bulk_group", false, {-1}},
    {"add", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.add.bulk_group", false, {2, 7, 6, 9}},
    {"min", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.min.bulk_group", false, {2, 3, 9, 6}},
    {"max", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.max.bulk_group", false, {2, 3, 9, 6}},
    {"and", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.and.bulk_group", false, {2, 2, 2, 2}},
    {"xor", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.xor.bulk_group", false, {2, 2, 2, 2}},
    {"inc", "cp.reduce.async.bulk.tensor.%dd.global.shared::cta.inc.bulk_group", false, {2, 2, 2, 2}},
};

typedef struct {
    const type *t;
    sim_tensormap map;
    uint64_t dim[5], stride[4];
    uint32_t box[5];
    int32_t at[5];
    uint32_t bytes; // of the box
} copy;

static uint64_t below(uint64_t *state, uint64_t n) {
    return probe_random(state) % n;
}

static const type *draw_type(const action *a, uint64_t *state) {
    size_t n = sizeof types / sizeof *types;
    if (a->codes[0] < 0) {
        return &types[below(state, n)];
    }
    int code = a->codes[below(state, 4)];
    for (size_t i = 0; i < n; i++) {
        if (types[i].code == code) {
            return &types[i];
        }
    }
    return &types[0];
}

static void draw_box(copy *c, uint64_t *state) {
    static const uint64_t spans[] = {256, 32, 64, 128}; // bytes of a row; without a swizzle: some
    int swizzle = (int)below(state, 4);
    uint64_t row = swizzle > 0 ? spans[swizzle] / (16 << below(state, 2)) * 16 : 16 * (1 + below(state, 16));
    row = row < 16 ? 16 : row;
    uint64_t most = 256 * (uint64_t)c->t->bytes;
    row = row > most ? most : row;
    c->box[0] = (uint32_t)(row / (uint64_t)c->t->bytes);
    c->bytes = (uint32_t)row;
    uint64_t taken = swizzle > 0 ? spans[swizzle] : row; // a row narrower than the swizzle's span is padded
    for (uint32_t i = 1; i < c->map.rank; i++) {
        uint64_t room = IMAGE / taken;
        c->box[i] = (uint32_t)(1 + below(state, room < 24 ? room : 24));
        c->bytes *= c->box[i];
        taken *= c->box[i];
    }
    c->map.swizzle = swizzle;
}

// Rows do not overlap: every element of a reduction is added to once.
static void draw(copy *c, const action *a, uint64_t *state) {
    memset(c, 0, sizeof *c);
    c->t = draw_type(a, state);
    c->map.rank = (uint32_t)(1 + below(state, 5));
    draw_box(c, state);
    uint64_t size;
    do {
        size = (uint64_t)c->t->bytes;
        for (uint32_t i = 0; i < c->map.rank; i++) {
            uint64_t most = i == 0 ? 300 : i == 1 ? 40 : 8;
            c->dim[i] = 1 + below(state, most);
            size = (size * c->dim[i] + 15) / 16 * 16 + 16 * below(state, 3);
            if (i + 1 < c->map.rank) {
                c->stride[i] = size;
            }
        }
    } while (size > TENSOR);
    for (uint32_t i = 0; i < c->map.rank; i++) {
        // Only loads may begin before the tensor (CUDA Programming Guide, "Tensor Memory Access").
        int64_t lowest = a->load ? -(int64_t)c->box[i] - 1 : 0, span = (int64_t)c->dim[i] + 2 - lowest;
        c->at[i] = below(state, 3) == 0 ? 0 : (int32_t)(lowest + (int64_t)below(state, (uint64_t)span));
        int32_t step = i == 0 ? 16 / c->t->bytes : 1; // rows begin at whole 16 bytes
        c->at[i] = c->at[i] / step * step;
    }
    c->map.dtype = c->t->code;
    c->map.dim = c->dim;
    c->map.stride = c->stride;
    c->map.box = c->box;
    c->map.oob_nan = c->t->real && a->load && below(state, 2);
}

static void text_of(char *text, size_t room, const action *a, const copy *c) {
    char coords[64] = "", op[128] = "";
    for (uint32_t i = 0; i < c->map.rank; i++) {
        snprintf(coords + strlen(coords), sizeof coords - strlen(coords), "%sc%u", i > 0 ? ", " : "", i);
    }
    if (!a->load) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(op, sizeof op, a->text, (int)c->map.rank); // one %d: the rank
#pragma GCC diagnostic pop
    }
    size_t n = (size_t)snprintf(
        text, room,
        ".version 8.8\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 dyn[];\n"
        ".visible .entry k(.param .u64 in, .param .u64 out, .param .align 64 .b8 map[128], .param .u32 c_0, "
        ".param .u32 c_1, .param .u32 c_2, .param .u32 c_3, .param .u32 c_4)\n{\n"
        " .shared .align 8 .b64 bar; .reg .pred p, q; .reg .b32 r<8>, c<5>; .reg .b64 e<6>;\n"
        " ld.param.u32 c0, [c_0]; ld.param.u32 c1, [c_1]; ld.param.u32 c2, [c_2]; ld.param.u32 c3, [c_3];\n"
        " ld.param.u32 c4, [c_4]; mov.b64 e0, map; cvta.param.u64 e0, e0; mov.u32 r0, %%tid.x; mov.u32 r1, bar;\n"
        " mov.u32 r2, dyn; ld.param.u64 e1, [in]; ld.param.u64 e2, [out]; setp.eq.u32 p, r0, 0;\n"
        " @p mbarrier.init.shared::cta.b64 [r1], 1; shl.b32 r3, r0, 2;\n"
        "F: add.u32 r4, r2, r3; cvt.u64.u32 e3, r3; add.u64 e3, e1, e3; ld.global.u32 r5, [e3+%d];\n"
        " st.shared.u32 [r4], r5; add.u32 r3, r3, %d; setp.lt.u32 q, r3, %d; @q bra F;\n"
        " mov.u32 r6, 0; fence.mbarrier_init.release.cluster; fence.proxy.async; bar.sync 0;\n",
        TENSOR, 4 * THREADS, IMAGE);
    if (!a->load) {
        snprintf(text + n, room - n,
                 " @!p bra E; %s [e0, {%s}], [r2]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n"
                 "E: ret;\n}\n",
                 op, coords);
        return;
    }
    snprintf(text + n, room - n,
             " @!p bra W; mbarrier.arrive.expect_tx.shared::cta.b64 _, [r1], %u;\n"
             " cp.async.bulk.tensor.%dd.shared::cluster.global.mbarrier::complete_tx::bytes [r2], [e0, {%s}], [r1];\n"
             "W: mbarrier.try_wait.parity.shared::cta.b64 q, [r1], 0; @q bra V; add.u32 r6, r6, 1;\n"
             " setp.lt.u32 q, r6, 1000000; @q bra W; trap;\n"
             "V: shl.b32 r3, r0, 2;\n"
             "G: add.u32 r4, r2, r3; cvt.u64.u32 e3, r3; add.u64 e3, e2, e3; ld.shared.u32 r5, [r4];\n"
             " st.global.u32 [e3], r5; add.u32 r3, r3, %d; setp.lt.u32 q, r3, %d; @q bra G;\n ret;\n}\n",
             c->bytes, (int)c->map.rank, coords, 4 * THREADS, IMAGE);
}

static void describe(char *text, size_t room, const action *a, const copy *c) {
    size_t n = (size_t)snprintf(text, room, "tma.%s type %d swizzle %d fill %d", a->name, c->t->code, c->map.swizzle,
                                c->map.oob_nan);
    for (uint32_t i = 0; i < c->map.rank; i++) {
        n += (size_t)snprintf(text + n, room - n, "%s%llu/%u@%d", i > 0 ? " x " : " ", (unsigned long long)c->dim[i],
                              c->box[i], c->at[i]);
    }
}

static void one(probe_run *run, const action *a, uint64_t *state) {
    copy c;
    draw(&c, a, state);
    for (size_t i = 0; i < TENSOR + IMAGE; i += 8) { // finite, moderate floats of every width
        uint64_t v = probe_random(state) & 0xBFBFBFBFBFBFBFBF;
        v = below(state, 64) == 0 ? probe_random(state) & 0x8000FFFF800FFFFF : v;
        memcpy(run->in + i, &v, 8);
    }
    char text[8192], name[256];
    text_of(text, sizeof text, a, &c);
    describe(name, sizeof name, a, &c);
    void *at[] = {&c.at[0], &c.at[1], &c.at[2], &c.at[3], &c.at[4]};
    probe_compare(run, &(probe){.name = name,
                                .ptx = text,
                                .kernel = "k",
                                .launch = {.grid = 1, .block = THREADS, .smem = IMAGE + 2048, .params = at},
                                .in_bytes = TENSOR + IMAGE,
                                .out_bytes = a->load ? IMAGE : TENSOR,
                                .out_from_in = !a->load,
                                .row_bytes = 4,
                                .map = &c.map,
                                .map_out = !a->load});
}

void probe_copy(probe_run *run) {
    uint64_t state = run->seed + 1000;
    size_t cases = run->rows / 4096 + 8;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        char name[64];
        snprintf(name, sizeof name, "tma.%s", actions[i].name);
        if (!probe_wanted(run, name)) {
            continue;
        }
        int before = run->bad;
        run->quiet = true;
        for (size_t n = 0; n < cases; n++) {
            one(run, &actions[i], &state);
        }
        run->quiet = false;
        printf("%-44s %9zu random maps, %d differ%s\n", name, cases, run->bad - before,
               run->bad > before ? "  DIFFERENT" : "");
    }
}
