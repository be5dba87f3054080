// The safetensors reader: a good file, every kind of bad one, and memory that runs out.
#include "counted.h"
#include "safetensors.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"w\":{\"dtype\":\"F4\",\"shape\":[3,4],\"data_offsets\":[8,14]},"
    "\"w.scale\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,1],\"data_offsets\":[14,17]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"none\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[17,17]},"
    "\"s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[17,18]}}   ";

typedef struct {
    uint8_t *bytes;
    size_t n;
} text_file;

static text_file file_of(const char *json, size_t n_data) {
    uint64_t length = strlen(json);
    text_file f = {malloc(8 + length + n_data + 1), 8 + length + n_data};
    memcpy(f.bytes, &length, 8);
    memcpy(f.bytes + 8, json, length);
    for (size_t i = 0; i < n_data; i++) {
        f.bytes[8 + length + i] = (uint8_t)i;
    }
    return f;
}

static void reads(void **state) {
    (void)state;
    text_file f = file_of(header, 18);
    char name[] = "runtime_safetensors_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f.bytes, f.n), f.n);
    for (int from_file = 0; from_file < 2; from_file++) {
        fp4_safetensors *st;
        fp4_status status = from_file ? fp4_safetensors_open_file(NULL, name, &st)
                                      : fp4_safetensors_open_memory(NULL, f.bytes, f.n, &st);
        if (status != FP4_OK) {
            fail_msg("%s", fp4_last_error());
        }
        assert_int_equal(fp4_safetensors_count(st), 5);
        fp4_safetensor t;
        assert_int_equal(fp4_safetensors_find(st, "w", &t), FP4_OK);
        assert_string_equal(t.dtype, "F4");
        assert_int_equal(t.elem, FP4_ELEM_E2M1);
        assert_int_equal(t.rank, 2);
        assert_int_equal(t.dims[1], 4);
        assert_int_equal(t.bytes, 6);
        assert_int_equal(((const uint8_t *)t.data)[0], 8);
        assert_int_equal(fp4_safetensors_find(st, "w.scale", &t), FP4_OK);
        assert_int_equal(((const uint8_t *)t.data)[2], 16);
        assert_int_equal(fp4_safetensors_at(st, 0, &t), FP4_OK);
        assert_string_equal(t.name, "b");
        assert_int_equal(fp4_safetensors_at(st, 5, &t), FP4_ERROR_ARGUMENT);
        assert_int_equal(fp4_safetensors_find(st, "x", &t), FP4_ERROR_NOT_FOUND);
        assert_string_equal(fp4_safetensors_metadata(st, "format"), "pt");
        assert_null(fp4_safetensors_metadata(st, "w"));
        fp4_safetensors_close(st);
    }
    close(fd);
    unlink(name);
    free(f.bytes);
    fp4_safetensors *st;
    assert_int_equal(fp4_safetensors_open_file(NULL, name, &st), FP4_ERROR_FILE);
    assert_non_null(strstr(fp4_last_error(), "cannot be opened"));
    assert_int_equal(fp4_safetensors_open_file(NULL, ".", &st), FP4_ERROR_FILE);
    fp4_safetensors_close(NULL);
}

static void refuse(const uint8_t *bytes, size_t n, const char *sentence) {
    fp4_safetensors *st = (fp4_safetensors *)&n;
    fp4_status status = fp4_safetensors_open_memory(NULL, bytes, n, &st);
    if (status != FP4_ERROR_FILE || !strstr(fp4_last_error(), sentence)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, fp4_last_error(), sentence);
    }
    assert_null(st);
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *old, *new, *sentence;
    } cases[] = {
        {"{\"__m", "[\"__m", "not a safetensors"},
        {"}}   ", "}}  x", "1 bytes behind its end"},
        {"}}   ", "}    ", "no JSON"},
        {"{\"format\":\"pt\"}", "{\"format\":77}", "no text"},
        {"{\"format\":\"pt\"}", "\"pt\"", "no object"},
        {"\"F4\"", "\"F5\"", "tensor 'w': 'dtype' is missing or not known (F5)"},
        {"\"F4\"", "4", "'dtype' is missing"},
        {"\"shape\":[3,4]", "\"shape\":[3,5]", "does not make the 6 bytes"},
        {"\"shape\":[3,4]", "\"shape\":[3,-4]", "axis 1 of 'shape'"},
        {"\"shape\":[3,4]", "\"shape\":[3,4.5]", "axis 1 of 'shape'"},
        {"\"shape\":[3,4]", "\"shape\":[4e15,4e15]", "does not make"},
        {"\"shape\":[3,4]", "\"shape\":7", "'shape' is missing"},
        {"\"shape\":[3,4]", "\"shape\":[1,1,1,1,1,1,1,1,12]", "more than 8 axes"},
        {"[8,14]", "[14,8]", "lies at 14 .. 8"},
        {"[8,14]", "[8,1400]", "of 18 bytes"},
        {"[8,14]", "[8]", "not [begin, end]"},
        {"[8,14]", "\"x\"", "not [begin, end]"},
        {"[8,14]", "[7,13]", "tensor 'w' begins at byte 7, expected 8"},
        {"[17,18]", "[16,17]", "a hole or an overlap"},
        {"\"w.scale\"", "\"w\"", "two tensors 'w'"},
        {"\"w.scale\"", "\"w\\u0000\"", "two tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[2000];
        const char *at = strstr(header, cases[i].old);
        assert_non_null(at);
        snprintf(json, sizeof json, "%.*s%s%s", (int)(at - header), header, cases[i].new,
                 at + strlen(cases[i].old));
        text_file f = file_of(json, 18);
        refuse(f.bytes, f.n, cases[i].sentence);
        free(f.bytes);
    }
    text_file f = file_of(header, 17);
    refuse(f.bytes, f.n, "17 .. 18 of 17 bytes");
    free(f.bytes);
    f = file_of(header, 19);
    refuse(f.bytes, f.n, "end at byte 18 of 19");
    for (size_t n = 0; n < f.n - 19; n++) {
        uint8_t *bytes = malloc(n + 1); // exactly as long: reading on would be seen
        bytes = realloc(bytes, n ? n : 1);
        memcpy(bytes, f.bytes, n);
        refuse(bytes, n, "not a safetensors");
        free(bytes);
    }
    f.bytes[7] = 1;
    refuse(f.bytes, f.n, "not a safetensors");
    free(f.bytes);
}

static counted memory;

static void *json_malloc(size_t bytes) {
    return counted_fails(&memory) ? NULL : malloc(bytes);
}

static void memory_may_run_out(void **state) {
    (void)state;
    cJSON_Hooks hooks = {json_malloc, free};
    cJSON_InitHooks(&hooks);
    fp4_config config = FP4_CONFIG_INIT;
    config.alloc = counted_alloc;
    config.alloc_user = &memory;
    text_file f = file_of(header, 18);
    int n = 1;
    for (;; n++) {
        fp4_safetensors *st;
        memory.countdown = n;
        fp4_status status = fp4_safetensors_open_memory(&config, f.bytes, f.n, &st);
        fp4_safetensors_close(st);
        if (memory.countdown > 0) {
            assert_int_equal(status, FP4_OK);
            break;
        }
        assert_int_not_equal(status, FP4_OK);
    }
    memory.countdown = 0;
    cJSON_InitHooks(NULL);
    assert_true(n > 40);
    free(f.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
