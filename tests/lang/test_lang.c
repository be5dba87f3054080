// Unit tests of the front end: arena, source map, diagnostics, and the [checked] fields that later
// stages read. Expectations are written from the headers' contracts.
#include "lang.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// --- arena ---

static void test_arena(void **state) {
    (void)state;
    arena *a = arena_new();
    for (size_t n = 0; n < 3000; n++) {
        unsigned char *p = arena_alloc(a, n);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(p[i], 0);
        }
        memset(p, 0xff, n);
    }
    unsigned char *large = arena_alloc(a, 1 << 20);
    memset(large, 1, 1 << 20);
    assert_string_equal(arena_strdup(a, "text"), "text");
    assert_string_equal(arena_strndup(a, "text", 2), "te");
    assert_string_equal(arena_printf(a, "%d-%s", 7, "x"), "7-x");
    arena_free(a);
    arena_free(NULL);
}

// --- sources ---

static void expect_place(const src_map *s, uint32_t off, int line, int col) {
    int l;
    int c;
    src_place(s, 0, off, &l, &c);
    assert_int_equal(l, line);
    assert_int_equal(c, col);
}

static void test_places(void **state) {
    (void)state;
    src_map *s = src_new();
    assert_int_equal(src_add_text(s, "a.tk", "ab\n\ncd", 6), 0);
    assert_int_equal(src_add_text(s, "b.tk", "", 0), 1);
    expect_place(s, 0, 1, 1);
    expect_place(s, 2, 1, 3); // the line end belongs to its line
    expect_place(s, 3, 2, 1);
    expect_place(s, 4, 3, 1);
    expect_place(s, 6, 3, 3);
    expect_place(s, 99, 3, 3); // behind the end: the end
    int line;
    int col;
    src_place(s, 1, 0, &line, &col);
    assert_int_equal(line * 10 + col, 11);
    src_place(s, 9, 0, &line, &col);
    assert_int_equal(line * 10 + col, 11);
    size_t len;
    assert_string_equal(src_text(s, 0, &len), "ab\n\ncd");
    assert_int_equal(len, 6);
    assert_string_equal(src_name(s, 1), "b.tk");
    assert_int_equal(src_n_files(s), 2);
    src_free(s);
    src_free(NULL);
}

static void test_files(void **state) {
    (void)state;
    src_map *s = src_new();
    uint32_t file;
    const char *why = NULL;
    assert_false(src_add_file(s, "programs/there_is_none.tk", &file, &why));
    assert_non_null(why);
    assert_true(src_add_file(s, "programs/gemm.tk", &file, &why));
    for (int i = 0; i < 10; i++) {
        char name[8];
        snprintf(name, sizeof name, "d%d", i);
        src_add_include_dir(s, name);
    }
    assert_int_equal(src_n_include_dirs(s), 10);
    assert_string_equal(src_include_dir(s, 9), "d9");
    src_free(s);
}

// --- diagnostics ---

static char *printed(diag *d, diag_form form) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    diag_print(d, out, form, false);
    fclose(out);
    char *copy = strdup(text);
    assert_non_null(copy);
    free(text);
    return copy;
}

static ast_span at(uint32_t off, uint32_t len) {
    return (ast_span){.off = off, .len = len};
}

// The block of the language's description, letter for letter.
static void test_diag_text(void **state) {
    (void)state;
    static const char text[] =
        "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n21\n22\n23\n"
        "    pipe    acc  : 2 in tmem;\n";
    src_map *s = src_new();
    src_add_text(s, "gemm.tk", text, strlen(text));
    diag *d = diag_new(s, 20);
    uint32_t off = (uint32_t)(strstr(text, "acc") - text);
    diag_report(d, DIAG_ERROR, "T201", at(off, 3), "tensor memory over by %d columns on %s", 48,
                "sm_100a");
    diag_label(d, "two accumulators of 256 columns");
    diag_because(d, "scales: A 16 + B 2 x 16 = 48 columns; 2 x 256 + 48 = 560 of 512");
    diag_fix(d, at(off, 3), "pipe acc : 2 in tmem overlap;",
             "share 48 columns (the epilogue reads them first)");
    diag_help(d, "or ask");
    char *got = printed(d, DIAG_TEXT);
    assert_string_equal(
        got,
        "gemm.tk:24:13: error[T201]: tensor memory over by 48 columns on sm_100a\n"
        "   |\n"
        "24 |     pipe    acc  : 2 in tmem;\n"
        "   |             ^^^ two accumulators of 256 columns\n"
        "   = scales: A 16 + B 2 x 16 = 48 columns; 2 x 256 + 48 = 560 of 512\n"
        "help: share 48 columns (the epilogue reads them first):   pipe acc : 2 in tmem overlap;\n"
        "help: or ask\n");
    free(got);
    diag_free(d);
    src_free(s);
}

static size_t place_in(const char *text, const char *part) {
    const char *found = strstr(text, part);
    assert_non_null(found);
    return (size_t)(found - text);
}

static void test_diag_order(void **state) {
    (void)state;
    src_map *s = src_new();
    src_add_text(s, "a.tk", "one two three", 13);
    src_add_text(s, "b.tk", "other", 5);
    diag *d = diag_new(s, 2);
    diag_report(d, DIAG_ERROR, "A1", (ast_span){.file = 1, .len = 1}, "in b");
    diag_report(d, DIAG_ERROR, "A2", at(4, 3), "second");
    diag_report(d, DIAG_WARNING, "A3", at(0, 3), "first");
    diag_report(d, DIAG_ERROR, "A4", at(8, 5), "third");
    diag_report(d, DIAG_ERROR, "A2", at(4, 3), "second"); // a repetition
    diag_help(d, "lost with it");
    assert_int_equal(diag_n_errors(d), 3);
    assert_int_equal(diag_n_warnings(d), 1);
    assert_int_equal(diag_count(d), 4);
    assert_string_equal(diag_code(d, 1), "A2");
    assert_null(diag_code(d, 4));
    char *got = printed(d, DIAG_TEXT);
    assert_true(place_in(got, "a.tk:1:1: warning[A3]: first") <
                place_in(got, "a.tk:1:5: error[A2]: second"));
    assert_true(place_in(got, "a.tk:1:5: error[A2]: second") <
                place_in(got, "a.tk:1:9: error[A4]: third"));
    assert_null(strstr(got, "in b")); // over the limit
    assert_non_null(strstr(got, "1 more error not shown"));
    assert_null(strstr(got, "lost with it"));
    free(got);
    diag_free(d);
    src_free(s);
}

// Counts the letter x: an edit is good when fewer are left.
static int count_x(void *user, const char *text, size_t len) {
    int *calls = user;
    (*calls)++;
    int n = 0;
    for (size_t i = 0; i < len; i++) {
        n += text[i] == 'x';
    }
    return memchr(text, '!', len) != NULL ? -1 : n;
}

static void test_diag_fixes(void **state) {
    (void)state;
    src_map *s = src_new();
    src_add_text(s, "a.tk", "axbxc", 5);
    diag *d = diag_new(s, 20);
    int calls = 0;
    diag_set_verify(d, count_x, &calls);
    diag_report(d, DIAG_ERROR, "A1", at(1, 1), "one");
    diag_fix(d, at(1, 1), "y", "good");
    diag_fix(d, at(1, 1), "x", "useless");
    diag_fix(d, at(1, 1), "xx", "worse");
    diag_fix(d, at(1, 1), "!", "uncompilable");
    diag_fix(d, at(9, 1), "y", "outside");
    diag_fix(d, (ast_span){.file = 1}, "y", "elsewhere");
    diag_report(d, DIAG_ERROR, "A1", at(3, 1), "two");
    diag_fix(d, at(3, 2), "", "deleting");
    diag_report(d, DIAG_WARNING, "W1", at(0, 1), "a warning");
    diag_fix(d, at(0, 0), "z", "harmless");
    char *got = printed(d, DIAG_TEXT);
    assert_non_null(strstr(got, "help: good:   y\n"));
    assert_non_null(strstr(got, "help: deleting\n"));
    assert_non_null(strstr(got, "help: harmless:   z\n"));
    assert_null(strstr(got, "useless"));
    assert_null(strstr(got, "worse"));
    assert_null(strstr(got, "uncompilable"));
    assert_null(strstr(got, "outside"));
    assert_null(strstr(got, "elsewhere"));
    assert_int_equal(calls, 6);
    free(got);
    diag_free(d);
    src_free(s);
}

static const cJSON *get(const cJSON *object, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_non_null(item);
    return item;
}

static void test_diag_json(void **state) {
    (void)state;
    src_map *s = src_new();
    src_add_text(s, "a \"b\".tk", "line\nnext line\n", 15);
    diag *d = diag_new(s, 20);
    diag_report(d, DIAG_ERROR, "D101", at(10, 4), "quotes \" and \\ and \t tab");
    diag_label(d, "label");
    diag_because(d, "reason");
    diag_note(d, at(0, 4), "note");
    diag_fix(d, at(5, 4), "next\n", "fix");
    diag_report(d, DIAG_WARNING, "W101", at(0, 1), "warn");
    char *got = printed(d, DIAG_JSON);
    cJSON *root = cJSON_Parse(got);
    assert_non_null(root);
    assert_int_equal(get(root, "errors")->valueint, 1);
    assert_int_equal(get(root, "warnings")->valueint, 1);
    const cJSON *list = get(root, "diagnostics");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    const cJSON *second = cJSON_GetArrayItem(list, 1);
    assert_string_equal(get(second, "code")->valuestring, "D101");
    assert_string_equal(get(second, "level")->valuestring, "error");
    assert_string_equal(get(second, "message")->valuestring, "quotes \" and \\ and \t tab");
    assert_string_equal(get(second, "file")->valuestring, "a \"b\".tk");
    assert_int_equal(get(second, "line")->valueint, 2);
    assert_int_equal(get(second, "column")->valueint, 6);
    assert_int_equal(get(second, "end_column")->valueint, 10);
    assert_string_equal(get(second, "label")->valuestring, "label");
    assert_string_equal(cJSON_GetArrayItem(get(second, "because"), 0)->valuestring, "reason");
    const cJSON *edit = get(cJSON_GetArrayItem(get(second, "helps"), 0), "edit");
    assert_string_equal(get(edit, "replacement")->valuestring, "next\n");
    assert_int_equal(get(edit, "offset")->valueint, 5);
    assert_int_equal(get(cJSON_GetArrayItem(get(second, "notes"), 0), "line")->valueint, 1);
    cJSON_Delete(root);
    free(got);
    diag_free(d);
    src_free(s);
}

static void test_diag_table(void **state) {
    (void)state;
    for (int i = 0; diag_info_at(i) != NULL; i++) {
        const diag_info *info = diag_info_at(i);
        assert_ptr_equal(diag_explain(info->code), info); // no code twice
        assert_true(strlen(info->explanation) > 20);
    }
    assert_null(diag_explain("Z999"));
}

// --- checked trees ---

typedef struct {
    src_map *src;
    diag *d;
    arena *mem;
    ast_file *file;
    bool ok;
} unit;

static unit open_unit(const char *path, const lang_define *defs, int n_defs) {
    unit u = {.src = src_new(), .mem = arena_new()};
    uint32_t file;
    const char *why;
    assert_true(src_add_file(u.src, path, &file, &why));
    u.d = diag_new(u.src, 20);
    u.file = lang_parse(u.src, u.d, u.mem);
    u.ok = lang_check(u.file, u.d, u.mem, defs, n_defs);
    return u;
}

static unit open_text(const char *text) {
    unit u = {.src = src_new(), .mem = arena_new()};
    src_add_text(u.src, "test.tk", text, strlen(text));
    u.d = diag_new(u.src, 20);
    u.file = lang_parse(u.src, u.d, u.mem);
    u.ok = lang_check(u.file, u.d, u.mem, NULL, 0);
    return u;
}

static void close_unit(unit *u) {
    diag_free(u->d);
    arena_free(u->mem);
    src_free(u->src);
}

static void expect_axes(const ast_expr *e, const char *names) {
    char got[128] = "";
    for (int i = 0; i < e->n_axes; i++) {
        strcat(got, i > 0 ? " " : "");
        strcat(got, e->axes[i]->name);
    }
    assert_string_equal(got, names);
}

static void test_gemm(void **state) {
    (void)state;
    unit u = open_unit("programs/gemm.tk", NULL, 0);
    assert_true(u.ok);
    const ast_kernel *k = u.file->kernels[0];
    assert_int_equal(k->n_dims, 3);
    assert_string_equal(k->dims[0]->name, "M");
    assert_string_equal(k->dims[1]->name, "K");
    assert_string_equal(k->dims[2]->name, "N");
    const ast_format *a = k->params[0]->format;
    assert_int_equal(a->elem, ELEM_E2M1);
    assert_int_equal(a->scale, ELEM_UE4M3);
    assert_int_equal(a->n_granule, 2);
    assert_int_equal(a->granule[0], 1);
    assert_int_equal(a->granule[1], 16);
    assert_string_equal(a->layout, "sf128x4");
    assert_ptr_equal(k->params[1]->format, a);
    assert_ptr_equal(k->params[0]->dims[1]->sym,
                     k->params[1]->dims[1]->sym); // shapes unify by name
    assert_int_equal(k->params[2]->mode, MODE_OUT);
    assert_int_equal(k->params[3]->n_dims, 0);
    assert_int_equal(k->n_indices, 3);
    assert_int_equal(k->n_lets, 1);
    assert_true(k->lets[0]->is_acc);
    const ast_stmt *tile = k->body[0];
    const ast_stmt *add = tile->body[1]->body[0];
    assert_true(add->accumulate);
    assert_int_equal(add->n_contracted, 1);
    assert_ptr_equal(add->contracted[0], k->indices[2]);
    expect_axes(add->value, "m k n");
    expect_axes(add->target, "m n");
    assert_int_equal(add->value->type->elem, ELEM_F32);
    assert_ptr_equal(add->value->a->type, a);
    const ast_stmt *store = tile->body[2];
    expect_axes(store->value, "m n");
    assert_int_equal(store->value->call, CALL_CONVERT);
    assert_int_equal(store->value->format->elem, ELEM_BF16);
    assert_ptr_equal(u.file->schedules[1]->kernel, k);
    assert_string_equal(u.file->schedules[0]->facts[1].toks[1].text, "tcgen05.pair");
    close_unit(&u);
}

static void test_tparams(void **state) {
    (void)state;
    unit u = open_unit("programs/gemm.tk", NULL, 0);
    int64_t vals[3];
    const ast_kernel *k = u.file->kernels[0];
    lang_tparam_values(k, NULL, vals);
    assert_int_equal(vals[0], 256);
    lang_tparam_values(k, u.file->schedules[1], vals);
    assert_int_equal(vals[0], 128);
    assert_int_equal(vals[1], 128);
    assert_int_equal(vals[2], 256);
    close_unit(&u);
    lang_define defs[] = {{"BM", 64}, {"BK", 512}, {"BM", 32}};
    u = open_unit("programs/gemm.tk", defs, 3);
    k = u.file->kernels[0];
    lang_tparam_values(k, u.file->schedules[0], vals);
    assert_int_equal(vals[0], 32); // the last definition
    assert_int_equal(vals[2], 512);
    lang_tparam_values(k, u.file->schedules[1], vals);
    assert_int_equal(vals[0], 128); // 'with' counts before -D
    assert_int_equal(vals[2], 512);
    close_unit(&u);
}

static void test_derived_tparams(void **state) {
    (void)state;
    unit u = open_text("const U = 4;\n"
                       "kernel a<BM = 16, BN = BM * U, BK = BN + 1>(D : out f32[M]) {\n"
                       "    tile m:BM of M\n        D[m] = 1.0;\n}\n"
                       "schedule a on sm_100a with BM = 8, BK = BN * 2 { walk static; }\n");
    assert_true(u.ok);
    int64_t vals[3];
    lang_tparam_values(u.file->kernels[0], u.file->schedules[0], vals);
    assert_int_equal(vals[0], 8);
    assert_int_equal(vals[1], 32);
    assert_int_equal(vals[2], 64);
    int64_t value;
    const ast_sym *bk = u.file->kernels[0]->tparams[2];
    assert_true(lang_const_int(bk->init, NULL, &value));
    assert_int_equal(value, 65);
    assert_true(lang_const_int(bk->init, vals, &value));
    assert_int_equal(value, 33);
    assert_false(lang_const_int(u.file->kernels[0]->params[0]->dims[0], vals, &value));
    close_unit(&u);
}

static void test_ragged(void **state) {
    (void)state;
    unit u = open_unit("programs/moe.tk", NULL, 0);
    assert_true(u.ok);
    const ast_kernel *k = u.file->kernels[0];
    const ast_sym *t = k->indices[1];
    assert_string_equal(t->name, "t");
    assert_ptr_equal(t->group, k->indices[0]);
    assert_non_null(t->ragged);
    assert_string_equal(t->ragged->dim->name, "T");
    assert_ptr_equal(t->ragged->at->sym, k->params[2]);
    const ast_stmt *add = k->body[1]->body[1]->body[0];
    expect_axes(add->value, "t k e n");
    assert_int_equal(add->n_contracted, 1); // k; e is fixed within a group
    assert_string_equal(add->contracted[0]->name, "k");
    close_unit(&u);
}

static void test_reduction(void **state) {
    (void)state;
    unit u = open_unit("programs/mqa.tk", NULL, 0);
    assert_true(u.ok);
    const ast_kernel *k = u.file->kernels[0];
    const ast_stmt *loop = k->body[1]->body[0];
    const ast_sym *t = loop->indices[0];
    assert_int_equal(t->lo->kind, EX_REDUCE);
    expect_axes(t->lo, "");
    assert_int_equal(t->lo->type->elem, ELEM_I32);
    const ast_stmt *add = loop->body[1];
    assert_int_equal(add->n_contracted, 1);
    assert_string_equal(add->contracted[0]->name, "d");
    assert_int_equal(add->contracted[0]->walk, WALK_ALL);
    expect_axes(loop->body[2]->value, "s t");
    close_unit(&u);
}

static void test_records(void **state) {
    (void)state;
    unit u = open_unit("programs/mega.tk", NULL, 0);
    assert_true(u.ok);
    const ast_kernel *k = u.file->kernels[0];
    assert_non_null(k->lets[0]->record);
    assert_int_equal(k->n_temps, 2);
    const ast_stmt *pull = k->body[4]->body[0];
    assert_int_equal(pull->value->n_whole, 1);
    expect_axes(pull->value, "p");
    assert_int_equal(pull->value->a->call, CALL_PEER);
    const ast_stmt *up = k->body[5]->body[2];
    assert_non_null(up->value->args[0]);
    assert_string_equal(up->value->paired->name, "j");
    assert_int_equal(k->n_where, 1); // INT * 2 == INT2, implied by H[p, j / 2]
    assert_int_equal(k->n_where_written, 0);
    close_unit(&u);
}

static void expect_printed(const char *source, const char *want) {
    char text[256];
    snprintf(text, sizeof text, "const x = %s;\n", source);
    unit u = open_text(text);
    char *got = NULL;
    size_t len;
    FILE *out = open_memstream(&got, &len);
    ast_print_expr(out, u.file->syms[0]->init);
    fclose(out);
    assert_string_equal(got, want);
    free(got);
    close_unit(&u);
}

static void test_precedence(void **state) {
    (void)state;
    expect_printed("1+2*3", "1 + 2 * 3");
    expect_printed("(1+2)*3", "(1 + 2) * 3");
    expect_printed("1-(2-3)", "1 - (2 - 3)");
    expect_printed("(1-2)-3", "1 - 2 - 3");
    expect_printed("-(1+2)", "-(1 + 2)");
    expect_printed("(-1)+2", "-1 + 2");
    expect_printed("1<<2+3", "1 << 2 + 3");
    expect_printed("(1<<2)+3", "(1 << 2) + 3");
    expect_printed("1&2==3", "1 & 2 == 3");
    expect_printed("(1&2)==3", "(1 & 2) == 3");
    expect_printed("1?2:3?4:5", "1 ? 2 : 3 ? 4 : 5");
    expect_printed("(1?2:3)?4:5", "(1 ? 2 : 3) ? 4 : 5");
    expect_printed("f((1),g(2),x.y[:,3])", "f(1, g(2), x.y[:, 3])");
    expect_printed("sum[k]((a[k]))", "sum[k](a[k])");
    expect_printed("1.0e-3", "0.001");
    expect_printed("0.1", "0.1");
    expect_printed("3.0", "3.0");
    expect_printed("1e10", "1e+10");
}

static void test_constants(void **state) {
    (void)state;
    unit u = open_text("const a = 7 / 2 * 2 + 7 % 4;\nconst b = -7 / 2;\nconst c = 1 << 3 | 1;\n"
                       "const d = 1.5 + 2;\nconst e = 3 > 2 ? min(4, 9) : 0;\nconst f = "
                       "0x10;\nconst g = a * f;\n");
    assert_true(u.ok);
    static const int64_t want[] = {9, -3, 9, 0, 4, 16, 144};
    for (int i = 0; i < 7; i++) {
        if (i == 3) {
            assert_true(u.file->syms[i]->is_float);
            assert_true(u.file->syms[i]->fvalue == 3.5);
        } else {
            assert_int_equal(u.file->syms[i]->ivalue, want[i]);
        }
    }
    close_unit(&u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_diag_text),
        cmocka_unit_test(test_diag_order),
        cmocka_unit_test(test_diag_fixes),
        cmocka_unit_test(test_diag_json),
        cmocka_unit_test(test_diag_table),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_tparams),
        cmocka_unit_test(test_derived_tparams),
        cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_reduction),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
