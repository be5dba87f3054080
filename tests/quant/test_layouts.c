// The layout kernels of lib/quant in the simulator, byte by byte against the host's packings, and those against
// formulas written down here from the documents of the layouts' users.
//
//   quant_layouts scales.tkm turn.tkm
//
// Every code of a byte, sizes with tails in both directions, outputs full of a byte that nothing writes: the
// padding of a layout has to become 0 too.
#include "need.h"
#include <stdbool.h>
#include <string.h>

enum { POISON = 0xa5 };

static fp4_ctx *ctx;
static fp4_module *module;

typedef struct {
    fp4_tensor tensor;
    int64_t bytes;
    uint8_t *host;
} buffer;

static buffer new_buffer(const char *format, int rank, const int64_t *dims) {
    buffer b;
    fp4_storage s = {.size = sizeof s};
    NEED(fp4_tensor_new(ctx, format, rank, dims, &b.tensor) == FP4_OK);
    NEED(fp4_tensor_storage(&b.tensor, &s) == FP4_OK);
    b.bytes = s.data_bytes;
    b.host = malloc((size_t)b.bytes + 1);
    NEED(b.host && fp4_fill(ctx, b.tensor.data, POISON, b.bytes, NULL) == FP4_OK);
    return b;
}

static void free_buffer(buffer *b) {
    fp4_tensor_free(&b->tensor);
    free(b->host);
}

static void launch(const char *name, const buffer *x, buffer *y) {
    fp4_kernel *kernel;
    const fp4_arg args[] = {fp4_arg_tensor(&x->tensor), fp4_arg_tensor(&y->tensor)};
    NEED(fp4_tensor_write(ctx, &x->tensor, x->host, NULL, NULL) == FP4_OK);
    NEED(fp4_module_kernel(module, name, NULL, &kernel) == FP4_OK);
    NEED(fp4_launch(kernel, args, 2, NULL) == FP4_OK);
    NEED(fp4_tensor_read(ctx, &y->tensor, y->host, NULL, NULL) == FP4_OK);
}

static void same(const char *what, const uint8_t *have, const uint8_t *want, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (have[i] != want[i]) {
            fprintf(stderr, "%s: byte %lld is %02x, expected %02x\n", what, (long long)i, have[i], want[i]);
            exit(1);
        }
    }
}

// --- Scales --------------------------------------------------------------------------------------

typedef struct {
    const char *kernel, *from, *to;
    int in_rows, in_cols; // elements of the output for one of the input
    bool batched;
} move;

static const move moves[] = {
    {"ue4m3_pack", "ue4m3", "ue4m3 @ sf128x4", 1, 1, false},
    {"ue4m3_unpack", "ue4m3 @ sf128x4", "ue4m3", 1, 1, false},
    {"ue4m3_pack8", "ue4m3 @ sf128x4", "ue4m3 @ sf8x4", 1, 1, false},
    {"ue4m3_unpack8", "ue4m3 @ sf8x4", "ue4m3", 1, 1, false},
    {"ue8m0_pack", "ue8m0", "ue8m0 @ sf128x4", 1, 1, false},
    {"ue8m0_unpack", "ue8m0 @ sf128x4", "ue8m0", 1, 1, false},
    {"ue8m0_words", "ue8m0", "ue8m0 @ mn_packed", 1, 1, true},
    {"words_to_rows", "ue8m0 @ mn_packed", "ue8m0", 1, 1, true},
    {"words_to_blocks", "ue8m0 @ mn_packed", "ue8m0 @ sf128x4", 1, 1, true},
    {"f32_words", "f32", "ue8m0 @ mn_packed", 1, 1, false},
    {"f32_block_words", "f32", "ue8m0 @ mn_packed", 128, 1, false},
    {"f32_split_words", "f32", "ue8m0 @ mn_packed", 1, 4, false},
    {"f32_mn", "f32", "f32 @ mn_major", 1, 1, false},
    {"f32_rows", "f32 @ mn_major", "f32", 1, 1, false},
    {"f32_mn_batch", "f32", "f32 @ mn_major", 1, 1, true},
    {"f32_rows_batch", "f32 @ mn_major", "f32", 1, 1, true},
};

// Place of an element among those of its matrix, as the layouts' users write it.
static int64_t place(fp4_sf_layout layout, int64_t rows, int64_t cols, int64_t m, int64_t g) {
    int64_t r4 = rows + (4 - rows % 4) % 4;
    int64_t words = (cols + 3) / 4;
    switch (layout) {
    case FP4_SF_128X4: // TensorRT-LLM, quantization_utils.cuh
        return (m / 128 * words + g / 4) * 512 + m % 32 * 16 + m % 128 / 32 * 4 + g % 4;
    case FP4_SF_8X4:
        return (m / 8 * words + g / 4) * 32 + m % 8 * 4 + g % 4;
    case FP4_SF_MN_PACKED: // DeepGEMM: int32 [words][rows up to 4], byte 0 the lowest group
        return (g / 4 * r4 + m) * 4 + g % 4;
    case FP4_SF_MN_MAJOR:
        return g * r4 + m;
    default:
        return m * cols + g;
    }
}

// Any byte for ue8m0; ue4m3 has no sign; f32 of all exponents, signs, infinities and NaN.
static void draw(buffer *x) {
    fp4_elem e = x->tensor.format.elem;
    for (int64_t i = 0; i < x->bytes; i++) {
        x->host[i] = (uint8_t)(rand() & (e == FP4_ELEM_UE4M3 ? 0x7f : 0xff));
    }
}

static void want_move(const move *v, const buffer *x, const buffer *y, const int64_t *dims, uint8_t *want) {
    const fp4_format *f = &x->tensor.format;
    int64_t in_rows = (dims[1] + v->in_rows - 1) / v->in_rows;
    int64_t in_cols = (dims[2] + v->in_cols - 1) / v->in_cols;
    int64_t in_width = fp4_elem_bits(f->elem) / 8;
    int64_t width = fp4_elem_bits(y->tensor.format.elem) / 8;
    memset(want, 0, (size_t)y->bytes);
    for (int64_t i = 0; i < dims[0] * dims[1] * dims[2]; i++) {
        int64_t e = i / (dims[1] * dims[2]);
        int64_t m = i / dims[2] % dims[1];
        int64_t g = i % dims[2];
        int64_t from = e * (x->bytes / dims[0]) +
                       in_width * place(f->layout, in_rows, in_cols, m / v->in_rows, g / v->in_cols);
        uint64_t code = 0;
        memcpy(&code, x->host + from, (size_t)in_width);
        if (in_width != width) {
            code = fp4_encode(y->tensor.format.elem, fp4_decode(f->elem, code));
        }
        int64_t to = e * (y->bytes / dims[0]) + width * place(y->tensor.format.layout, dims[1], dims[2], m, g);
        memcpy(want + to, &code, (size_t)width);
    }
}

// The same by the library's own packings.
static void check_library(const move *v, const buffer *x, const uint8_t *want, const buffer *y, const int64_t *dims) {
    fp4_host from = {.size = sizeof from};
    fp4_host to = {.size = sizeof to};
    if (v->in_rows * v->in_cols != 1 || strcmp(v->kernel, "f32_words") == 0) {
        return;
    }
    NEED(fp4_host_init(&from, &x->tensor.format, 3, dims) == FP4_OK);
    NEED(fp4_host_init(&to, &y->tensor.format, 3, dims) == FP4_OK);
    from.data = x->host;
    to.data = malloc((size_t)y->bytes + 1);
    NEED(to.data && fp4_host_repack(&from, &to) == FP4_OK);
    same(v->kernel, to.data, want, y->bytes);
    free(to.data);
}

static void try_move(const move *v, int64_t batch, int64_t rows, int64_t cols) {
    int64_t dims[] = {v->batched ? batch : 1, rows, cols};
    int64_t in[] = {dims[0], (rows + v->in_rows - 1) / v->in_rows, (cols + v->in_cols - 1) / v->in_cols};
    int skip = v->batched ? 0 : 1;
    buffer x = new_buffer(v->from, 3 - skip, in + skip);
    buffer y = new_buffer(v->to, 3 - skip, dims + skip);
    uint8_t *want = malloc((size_t)y.bytes + 1);
    NEED(want);
    draw(&x);
    want_move(v, &x, &y, dims, want);
    check_library(v, &x, want, &y, dims);
    launch(v->kernel, &x, &y);
    same(v->kernel, y.host, want, y.bytes);
    free(want);
    free_buffer(&x);
    free_buffer(&y);
}

// A format that says where its elements lie, and what cannot lie so.
static void refuses(void) {
    fp4_format f;
    fp4_storage s = {.size = sizeof s};
    NEED(fp4_format_find("ue8m0 @ mn_packed", &f) == FP4_OK && f.layout == FP4_SF_MN_PACKED);
    NEED(fp4_storage_of(&f, 2, (int64_t[]){5, 9}, 0, &s) == FP4_OK && s.data_bytes == 8 * 12 && s.scale_bytes == 0);
    NEED(fp4_storage_of(&f, 2, (int64_t[]){5, 9}, 16, &s) == FP4_ERROR_ARGUMENT);
    NEED(strstr(fp4_last_error(), "a pitch of 16 bytes: rows in layout mn_packed have none"));
    NEED(fp4_format_find("f32 @ sf128x4", &f) == FP4_ERROR_ARGUMENT);
    NEED(strstr(fp4_last_error(), "f32 elements cannot lie in layout sf128x4"));
    NEED(fp4_format_find("e2m1 @ mn_major", &f) == FP4_ERROR_ARGUMENT);
    NEED(fp4_format_find("ue8m0 @ gguf", &f) == FP4_ERROR_ARGUMENT);
    NEED(fp4_format_find("ue8m0 @ nowhere", &f) == FP4_ERROR_NOT_FOUND);
    NEED(fp4_format_find("nvfp4 @ linear", &f) == FP4_OK && f.scale == FP4_ELEM_UE4M3 && f.layout == FP4_SF_LINEAR);
    buffer x = new_buffer("ue4m3", 2, (int64_t[]){128, 4});
    const fp4_arg args[] = {fp4_arg_tensor(&x.tensor), fp4_arg_tensor(&x.tensor)};
    fp4_kernel *kernel;
    NEED(fp4_module_kernel(module, "ue4m3_pack", NULL, &kernel) == FP4_OK);
    NEED(fp4_launch(kernel, args, 2, NULL) == FP4_ERROR_MISMATCH);
    NEED(strstr(fp4_last_error(), "Y is ue4m3, expected ue4m3 @ sf128x4"));
    free_buffer(&x);
}

// --- Packed FP4 ----------------------------------------------------------------------------------

static void try_turn(int64_t rows, int64_t cols) {
    buffer x = new_buffer("e2m1", 2, (int64_t[]){rows, cols});
    buffer y = new_buffer("e2m1", 2, (int64_t[]){cols, rows});
    int64_t in_pitch = (cols + 1) / 2;
    int64_t pitch = (rows + 1) / 2;
    uint8_t *want = calloc((size_t)y.bytes + 1, 1);
    NEED(want);
    draw(&x);
    for (int64_t i = 0; i < rows * cols; i++) {
        int64_t m = i / cols;
        int64_t n = i % cols;
        int code = x.host[m * in_pitch + n / 2] >> n % 2 * 4 & 15;
        want[n * pitch + m / 2] |= (uint8_t)(code << m % 2 * 4);
    }
    launch("turn_e2m1", &x, &y);
    same("turn_e2m1", y.host, want, y.bytes);
    free(want);
    free_buffer(&x);
    free_buffer(&y);
}

static void open_module(const char *path) {
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    NEED(fp4_open_module(&config, path, &ctx, &module) == FP4_OK);
}

int main(int argc, char **argv) {
    static const int64_t sizes[][2] = {{0, 4}, {4, 0}, {1, 1}, {7, 3}, {128, 32}, {131, 33}, {260, 70}, {385, 6}};
    NEED(argc == 3);
    open_module(argv[1]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t v = 0; v < sizeof moves / sizeof *moves; v++) {
            try_move(&moves[v], 3, sizes[i][0], sizes[i][1]);
        }
    }
    refuses();
    fp4_close(ctx);
    open_module(argv[2]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        try_turn(sizes[i][0], sizes[i][1]);
        try_turn(sizes[i][1], sizes[i][0]);
    }
    fp4_close(ctx);
    return 0;
}
