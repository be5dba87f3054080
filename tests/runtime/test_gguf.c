// The GGUF reader: a good file, every kind of bad one, and memory that runs out.
#include "counted.h"
#include "fake_device.h"
#include "gguf.h"
#include "gguf_sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void reads(void **state) {
    (void)state;
    gguf_sample f = gguf_make();
    char name[] = "runtime_gguf_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f.bytes, f.n), f.n);
    for (int from_file = 0; from_file < 2; from_file++) {
        fp4_gguf *g;
        fp4_status status = from_file ? fp4_gguf_open_file(NULL, name, &g)
                                      : fp4_gguf_open_memory(NULL, f.bytes, f.n, &g);
        if (status != FP4_OK) {
            fail_msg("%s", fp4_last_error());
        }
        assert_int_equal(fp4_gguf_count(g), 4);
        fp4_gguf_tensor t;
        assert_int_equal(fp4_gguf_find(g, "x", &t), FP4_OK);
        assert_string_equal(t.type, "MXFP4");
        assert_int_equal(t.format.layout, FP4_SF_GGUF);
        assert_int_equal(t.format.granule_cols, 32);
        assert_int_equal(t.rank, 2);
        assert_int_equal(t.dims[0], 2);
        assert_int_equal(t.dims[1], 32);
        assert_int_equal(t.bytes, 34);
        assert_int_equal(((const uint8_t *)t.data)[1], 129);
        fp4_host host;
        assert_int_equal(fp4_gguf_host(&t, &host), FP4_OK);
        assert_int_equal(fp4_host_scale_code(&host, 1, 0), 128 + 17);
        assert_int_equal(fp4_host_code(&host, 1, 1), (128 + 17 + 2) & 15);
        assert_int_equal(fp4_host_code(&host, 1, 17), (128 + 17 + 2) >> 4);
        assert_int_equal(fp4_gguf_at(g, 2, &t), FP4_OK);
        assert_string_equal(t.name, "s");
        assert_int_equal(t.format.elem, FP4_ELEM_F32);
        assert_int_equal(t.bytes, 4);
        assert_int_equal(fp4_gguf_at(g, 3, &t), FP4_OK);
        assert_string_equal(t.type, "Q4_0");
        assert_int_equal(fp4_gguf_host(&t, &host), FP4_ERROR_UNSUPPORTED);
        assert_string_equal(fp4_last_error(), "tensor 'q': there is no format for type Q4_0");
        assert_int_equal(fp4_gguf_at(g, 4, &t), FP4_ERROR_ARGUMENT);
        assert_int_equal(fp4_gguf_find(g, "y", &t), FP4_ERROR_NOT_FOUND);
        const char *text;
        size_t n;
        double number;
        assert_int_equal(fp4_gguf_text(g, "general.name", &text, &n), FP4_OK);
        assert_int_equal(n, 6);
        assert_memory_equal(text, "sample", 6);
        assert_int_equal(fp4_gguf_text(g, "flag", &text, &n), FP4_ERROR_MISMATCH);
        assert_int_equal(fp4_gguf_number(g, "flag", &number), FP4_OK);
        assert_true(number == 1);
        assert_int_equal(fp4_gguf_number(g, "less", &number), FP4_OK);
        assert_true(number == -7);
        assert_int_equal(fp4_gguf_number(g, "words", &number), FP4_ERROR_MISMATCH);
        assert_int_equal(fp4_gguf_number(g, "none", &number), FP4_ERROR_NOT_FOUND);
        fp4_gguf_close(g);
    }
    close(fd);
    unlink(name);
    fp4_gguf *g;
    assert_int_equal(fp4_gguf_open_file(NULL, name, &g), FP4_ERROR_FILE);
    assert_non_null(strstr(fp4_last_error(), "cannot be opened"));
    assert_null(g);
    assert_int_equal(fp4_gguf_open_memory(NULL, NULL, 1, &g), FP4_ERROR_ARGUMENT);
    fp4_gguf_close(NULL);
}

static void refuse(const uint8_t *bytes, size_t n, const char *sentence) {
    uint8_t *copy = malloc(n ? n : 1); // exactly as long: reading on would be seen
    memcpy(copy, bytes, n);
    fp4_gguf *g = (fp4_gguf *)&n;
    fp4_status status = fp4_gguf_open_memory(NULL, copy, n, &g);
    if (status != FP4_ERROR_FILE || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
    assert_null(g);
    free(copy);
}

// The place of a text in the file; the bytes behind it are what the test changes.
static size_t behind(const gguf_sample *f, const char *text) {
    for (size_t i = 0; i < f->n; i++) {
        if (memcmp(f->bytes + i, text, strlen(text)) == 0) {
            return i + strlen(text);
        }
    }
    fail();
    return 0;
}

// The sample with a number of so many bytes put where it was found.
static void refuse_with(size_t at, uint64_t value, size_t bytes, const char *sentence) {
    gguf_sample f = gguf_make();
    size_t n = f.n;
    f.n = at;
    gguf_put(&f, value, bytes);
    refuse(f.bytes, n, sentence);
}

static void refuses(void **state) {
    (void)state;
    gguf_sample f = gguf_make();
    refuse_with(0, 'X', 1, "does not begin with 'GGUF'");
    refuse_with(4, 1, 4, "another version than 2 and 3");
    refuse_with(4, 3u << 24, 4, "another version");
    refuse_with(8, UINT64_MAX, 8, "do not fit");
    refuse_with(8, 1 << 20, 8, "1048576 tensors do not fit");
    refuse_with(16, 1 << 19, 8, "524288 metadata pairs");
    refuse_with(behind(&f, "general.alignment"), 5, 4, "no power of two of type u32");
    refuse_with(behind(&f, "general.alignment") + 4, 48, 4, "no power of two");
    refuse_with(behind(&f, "general.alignment") + 4, 0, 4, "no power of two");
    refuse_with(behind(&f, "general.alignment") + 4, 32, 4,
                "tensor 'q' begins at byte 256, expected 224");
    refuse_with(behind(&f, "general.alignment") + 4, 1u << 31, 4, "before the data");
    refuse_with(behind(&f, "general.name"), 13, 4, "pair 1 has the unknown type 13");
    refuse_with(behind(&f, "general.name") + 4, UINT64_MAX, 8, "the value of metadata pair 1");
    refuse_with(behind(&f, "words") + 4, 9, 4, "the value of metadata pair 2"); // nested
    refuse_with(behind(&f, "words") + 8, UINT64_MAX, 8, "the value of metadata pair 2");
    refuse_with(behind(&f, "numbers") + 8, UINT64_MAX / 2, 8, "the value of metadata pair 3");
    refuse_with(behind(&f, "flag") - 4, 0x7373656c, 4, "key is there twice"); // "less"
    size_t w = behind(&f, "less") + 8 + 8;                                    // the name "w"
    refuse_with(w - 8, 64, 8, "longer than 63 bytes");
    refuse_with(w, 0, 1, "not text");
    refuse_with(w, 'x', 1, "same name");
    refuse_with(w + 1, 5, 4, "tensor 'w' has 5 dimensions, at most 4");
    refuse_with(w + 5, 63, 8, "rows of 63 do not fill the blocks of 64");
    refuse_with(w + 5, UINT64_MAX, 8, "does not fit 63 bits");
    refuse_with(w + 13, UINT64_C(1) << 62, 8, "its size does not fit 63 bits");
    refuse_with(w + 13, 1000000, 8, "of 36000000 bytes ends behind the file");
    refuse_with(w + 13, 4, 8, "begins at byte 128, expected 192");
    refuse_with(w + 21, 41, 4, "unknown type 41");
    refuse_with(w + 25, 64, 8, "tensor 'w' begins at byte 64, expected 0");
    gguf_put(&f, 0, 47); // a file may be padded to the alignment, not beyond
    refuse(f.bytes, f.n, "1 bytes behind the last tensor");
    fp4_gguf *g;
    assert_int_equal(fp4_gguf_open_memory(NULL, f.bytes, f.n - 1, &g), FP4_OK);
    fp4_gguf_close(g);
    f = gguf_make();
    for (size_t n = 0; n < f.n; n++) {
        refuse(f.bytes, n, n < 4 ? "GGUF" : "");
    }
}

static counted memory;

static void memory_may_run_out(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.alloc = counted_alloc;
    config.alloc_user = &memory;
    gguf_sample f = gguf_make();
    for (int n = 1;; n++) {
        fp4_gguf *g;
        memory.countdown = n;
        fp4_status status = fp4_gguf_open_memory(&config, f.bytes, f.n, &g);
        fp4_gguf_close(g);
        if (memory.countdown > 0) {
            memory.countdown = 0;
            assert_int_equal(status, FP4_OK);
            assert_int_equal(n, 6);
            break;
        }
        assert_int_equal(status, FP4_ERROR_MEMORY);
    }
}

// A block tensor on a device: the blocks taken apart, the same numbers.
static void reaches_a_device(void **state) {
    (void)state;
    fake_device fake = {.properties = {.name = "fake", .arch = "any", .n_sms = 1}};
    fp4_ctx *ctx;
    assert_int_equal(fake_open(&fake, NULL, &ctx), FP4_OK);
    gguf_sample f = gguf_make();
    fp4_gguf *g;
    fp4_gguf_tensor t;
    fp4_host host;
    fp4_tensor w;
    assert_int_equal(fp4_gguf_open_memory(NULL, f.bytes, f.n, &g), FP4_OK);
    assert_int_equal(fp4_gguf_find(g, "w", &t), FP4_OK);
    assert_int_equal(fp4_gguf_host(&t, &host), FP4_OK);
    assert_int_equal(fp4_tensor_import(ctx, &host, 0.5f, FP4_GLOBAL_MULTIPLY, &w), FP4_OK);
    assert_int_equal(w.format.layout, FP4_SF_128X4);
    double want[3 * 64];
    double have[3 * 64];
    assert_int_equal(fp4_host_decode(&host, want), FP4_OK);
    assert_int_equal(fp4_tensor_values(ctx, &w, have), FP4_OK);
    for (int i = 0; i < 3 * 64; i++) {
        assert_true(have[i] == want[i] / 2);
    }
    fp4_gguf_close(g);
    fp4_close(ctx);
    assert_int_equal(fake.n_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(reaches_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
