// fp4_module_compile and its cache on disk. A script stands in for fp4c where the compiler must
// fail or be counted; fp4c itself compiles what is run.
//
//   jit_test FP4C FAKE GEMM.TK
#include "fp4rt_compile.h"
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *fp4c, *fake, *gemm;
static char work[200];
static char cache[300];
static fp4_ctx *ctx;
static char logged[4000];

static void keep_log(void *user, fp4_log_level level, const char *message) {
    (void)user;
    (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", message);
}

// ---- files --------------------------------------------------------------------------------------

// Good for the next seven calls.
static const char *in_work(const char *name) {
    static char paths[8][400];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", work, name);
    return path;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int count_lines(const char *path) {
    FILE *f = fopen(path, "rb");
    int n = 0;
    for (int c = f ? fgetc(f) : EOF; c != EOF; c = fgetc(f)) {
        n += c == '\n';
    }
    if (f) {
        fclose(f);
    }
    return n;
}

static int runs(void) {
    return count_lines(in_work("log"));
}

// The number of entries of a folder; its last one's path.
static int list(const char *path, char last[600]) {
    DIR *dir = opendir(path);
    int n = 0;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            n++;
            if (last) {
                snprintf(last, 600, "%.300s/%.250s", path, e->d_name);
            }
        }
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

// The only entry of the cache; fails when there is none or several.
static const char *only_entry(void) {
    static char entry[600];
    char shard[600] = "";
    DIR *dir = opendir(in_work("cache/v1"));
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] != '.' && strcmp(e->d_name, "tmp") != 0) {
            snprintf(shard, sizeof shard, "%s/%s", in_work("cache/v1"), e->d_name);
            n += list(shard, entry);
        }
    }
    closedir(dir);
    assert_int_equal(n, 1);
    assert_int_equal(list(in_work("cache/v1/tmp"), NULL), 0);
    return entry;
}

static void remove_all(const char *path) {
    char command[500];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

// ---- setting ------------------------------------------------------------------------------------

static void act(const char *how) {
    setenv("FAKE_DO", how, 1);
}

static fp4_compile_options with(const char *compiler) {
    fp4_compile_options o = FP4_COMPILE_OPTIONS_INIT;
    o.compiler = compiler;
    o.cache = cache;
    o.arch = "sm_120a";
    return o;
}

static fp4_status compile(fp4_compile_options o) {
    fp4_module *module = NULL;
    fp4_status status = fp4_module_compile(ctx, in_work("a source.tk"), NULL, &o, &module);
    if (status == FP4_OK) {
        assert_string_equal(fp4_module_source(module), "gemm.tk"); // what the fake hands out
    } else {
        assert_null(module);
        assert_true(strlen(fp4_last_error()) > 0);
    }
    fp4_module_free(module);
    return status;
}

static void assert_compiles(int more) {
    int before = runs();
    if (compile(with(fake)) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    assert_int_equal(runs() - before, more);
}

static int setup_all(void **state) {
    (void)state;
    strcpy(work, "/tmp/fp4-jit-XXXXXX");
    if (!mkdtemp(work)) {
        return 1;
    }
    strcpy(cache, in_work("cache"));
    char command[900];
    snprintf(command, sizeof command, "'%s' '%s' -arch sm_120a -o '%s/module'", fp4c, gemm, work);
    setenv("FAKE_LOG", in_work("log"), 1);
    setenv("FAKE_MODULE", in_work("module"), 1);
    setenv("FAKE_ALSO", "", 1);
    return system(command);
}

static int teardown_all(void **state) {
    (void)state;
    remove_all(work);
    return 0;
}

static int setup(void **state) {
    (void)state;
    remove_all(in_work("cache"));
    remove_all(in_work("log"));
    write_text(in_work("a source.tk"), "the text");
    act("good");
    logged[0] = 0;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    config.log = keep_log;
    config.log_level = FP4_LOG_INFO;
    return fp4_open(&config, &ctx);
}

static int teardown(void **state) {
    (void)state;
    fp4_close(ctx);
    return 0;
}

// ---- the cache ----------------------------------------------------------------------------------

static void serves_what_did_not_change(void **state) {
    (void)state;
    assert_compiles(1);
    assert_compiles(0);
    only_entry();
    write_text(in_work("a source.tk"), "another text");
    assert_compiles(1);
    write_text(in_work("a source.tk"), "the text");
    assert_compiles(0);
    fp4_compile_options o = with(fake);
    const char *const defines[] = {"BM=128", "BN=64"};
    o.defines = defines;
    o.n_defines = 1;
    assert_int_equal(compile(o), FP4_OK);
    o.n_defines = 2;
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 4);
    o.includes = defines;
    o.n_includes = 1;
    assert_int_equal(compile(o), FP4_OK);
    o = with(fake);
    o.arch = "sm_100a";
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 6);
    // Another version of the compiler.
    char command[900];
    snprintf(command, sizeof command, "cp '%s' '%s/fp4c'", fake, work);
    assert_int_equal(system(command), 0);
    o = with(in_work("fp4c"));
    assert_int_equal(compile(o), FP4_OK);
    snprintf(command, sizeof command, "echo '#' >>'%s/fp4c'", work);
    assert_int_equal(system(command), 0);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 8);
    o.cache = "";
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 10);
}

static void serves_while_used_files_do_not_change(void **state) {
    (void)state;
    write_text(in_work("used$1.tk"), "one");
    char also[500];
    snprintf(also, sizeof also, " %s/used$$1.tk", work);
    setenv("FAKE_ALSO", also, 1);
    assert_compiles(1);
    assert_compiles(0);
    write_text(in_work("used$1.tk"), "two");
    assert_compiles(1);
    assert_compiles(0);
    assert_int_equal(remove(in_work("used$1.tk")), 0);
    setenv("FAKE_ALSO", "", 1);
    assert_compiles(1);
    assert_compiles(0);
    only_entry();
}

static void damage(const char *file, long at, const char *with_text) {
    char path[700];
    snprintf(path, sizeof path, "%s/%s", only_entry(), file);
    if (!with_text) {
        assert_int_equal(at < 0 ? remove(path) : truncate(path, at), 0);
        return;
    }
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    fputs(with_text, f);
    fclose(f);
}

static void builds_damaged_entries_again(void **state) {
    (void)state;
    static const struct {
        const char *file;
        long at;
        const char *text;
    } damages[] = {
        {"module.tkm", 5000, "?"}, {"module.tkm", 0, "?"},   {"module.tkm", 0, NULL},
        {"module.tkm", 77, NULL},  {"module.tkm", -1, NULL}, {"key", -1, NULL},
        {"key", 3, NULL},          {"key", 20, "?"},         {"deps", -1, NULL},
        {"deps", 10, NULL},        {"deps", 2, "zz"},        {"deps", 0, "\n\n\n"},
    };
    assert_compiles(1);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        damage(damages[i].file, damages[i].at, damages[i].text);
        assert_compiles(1);
        assert_compiles(0);
    }
    // Something else in the entry's place.
    char entry[600];
    strcpy(entry, only_entry());
    remove_all(entry);
    write_text(entry, "a file");
    assert_compiles(1);
    assert_compiles(0);
    remove_all(entry);
    assert_int_equal(mkdir(entry, 0777), 0);
    assert_compiles(1);
    assert_compiles(0);
}

static void leaves_nothing_after_failures(void **state) {
    (void)state;
    static const struct {
        const char *how;
        const char *sentence;
    } failures[] = {
        {"refuse", "a source.tk:3:7: error[X1]: 'Q' is no size"},
        {"talk", "again and again"},
        {"silent", "fp4c failed with exit code 70 and no word"},
        {"die", "fp4c was ended by signal 9"},
        {"torn", "what fp4c wrote: "},
        {"nothing", "fp4c wrote no module"},
        {"no-deps", "fp4c left no list of files"},
    };
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        act(failures[i].how);
        assert_int_equal(compile(with(fake)), FP4_ERROR_MODULE);
        if (!strstr(fp4_last_error(), failures[i].sentence)) {
            fail_msg("%s: '%s'", failures[i].how, fp4_last_error());
        }
        assert_int_equal(list(in_work("cache/v1/tmp"), NULL), 0);
        assert_int_equal(list(in_work("cache/v1"), NULL), 1); // tmp
    }
    act("good");
    assert_compiles(1);
    // A source that changes while it is compiled gives a module of this moment that is not kept.
    write_text(in_work("a source.tk"), "new");
    act("change");
    assert_compiles(1);
    act("good");
    write_text(in_work("a source.tk"), "new");
    assert_compiles(1);
    assert_compiles(0);
}

// Where a cache cannot be: below a file, and in a folder that may not be written (which root may).
static void works_without_a_cache(void **state) {
    (void)state;
    write_text(in_work("file"), "");
    fp4_compile_options o = with(fake);
    o.cache = in_work("file/cache");
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 2);
    assert_non_null(strstr(logged, "nothing is kept"));
    assert_int_equal(mkdir(in_work("locked"), 0555), 0);
    o.cache = in_work("locked/cache");
    assert_int_equal(compile(o), FP4_OK);
    // A cache that was filled before serves although it cannot be written any more.
    assert_compiles(1);
    assert_int_equal(chmod(in_work("cache/v1"), 0555), 0);
    assert_compiles(0);
    assert_int_equal(chmod(in_work("cache/v1"), 0755), 0);
}

static void environment(void **state) {
    (void)state;
    fp4_compile_options o = with(fake);
    o.cache = NULL;
    setenv("FP4_CACHE", in_work("cache"), 1);
    assert_int_equal(compile(o), FP4_OK);
    only_entry();
    setenv("FP4_CACHE", "", 1);
    assert_int_equal(compile(o), FP4_OK);
    unsetenv("FP4_CACHE");
    setenv("XDG_CACHE_HOME", in_work("xdg"), 1);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(access(in_work("xdg/fp4/v1"), F_OK), 0);
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", in_work("home"), 1);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(access(in_work("home/.cache/fp4/v1"), F_OK), 0);
    assert_int_equal(runs(), 4);
    o.compiler = NULL;
    setenv("FP4C", fake, 1);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 4);
    setenv("FP4C", "no-such-compiler", 1);
    assert_int_equal(compile(o), FP4_ERROR_UNAVAILABLE);
    assert_string_equal(fp4_last_error(),
                        "there is no compiler 'no-such-compiler' (named by FP4C)");
    unsetenv("FP4C");
    char *path = strdup(getenv("PATH"));
    setenv("PATH", work, 1); // nothing beside this program either
    remove(in_work("fp4c"));
    assert_int_equal(compile(o), FP4_ERROR_UNAVAILABLE);
    assert_non_null(strstr(fp4_last_error(), "fp4c was not found"));
    assert_int_equal(symlink(fake, in_work("fp4c")), 0);
    setenv("PATH", path, 1);
    char both[4000];
    snprintf(both, sizeof both, "%s:%s", work, path);
    setenv("PATH", both, 1);
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), 5);
    setenv("PATH", path, 1);
    free(path);
    unsetenv("XDG_CACHE_HOME");
}

// ---- many at once -------------------------------------------------------------------------------

// Processes that compile the same: every one gets a module; one entry is left, and nothing else.
static void crowd(const char *how, int n) {
    pid_t children[64];
    act(how);
    for (int i = 0; i < n; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            fp4_module *module = NULL;
            fp4_compile_options o = with(fake);
            int bad = 0;
            for (int round = 0; round < 3; round++) {
                bad |= fp4_module_compile(ctx, in_work("a source.tk"), NULL, &o, &module) != FP4_OK;
                bad |= module && fp4_module_count(module) != 1;
                fp4_module_free(module);
                module = NULL;
            }
            _exit(bad);
        }
    }
    for (int i = 0; i < n; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

static void many_processes(void **state) {
    (void)state;
    crowd("slow", 24);
    only_entry();
    assert_true(runs() >= 1 && runs() <= 24 * 3);
    int before = runs();
    crowd("slow", 24);
    assert_int_equal(runs(), before);
    // All of them find the same damage.
    damage("module.tkm", 5000, "?");
    crowd("slow", 24);
    only_entry();
    assert_compiles(0);
}

// Builders that are killed at any moment leave at most a folder under construction.
static void killed_builders(void **state) {
    (void)state;
    act("slow");
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            compile(with(fake));
            _exit(0);
        }
        usleep((useconds_t)(i * 8000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    act("good");
    fp4_compile_options o = with(fake);
    assert_int_equal(compile(o), FP4_OK);
    int before = runs();
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(runs(), before);
    // What they left goes when it is old.
    char old[600];
    assert_int_equal(mkdir(in_work("cache/v1/tmp/fp4-oldold"), 0777), 0);
    snprintf(old, sizeof old, "touch -d '3 days ago' '%s'/*", in_work("cache/v1/tmp"));
    usleep(200000); // the children's children end
    assert_int_equal(system(old), 0);
    write_text(in_work("a source.tk"), "another");
    assert_int_equal(compile(o), FP4_OK);
    assert_int_equal(list(in_work("cache/v1/tmp"), NULL), 0);
}

// ---- arguments and memory -----------------------------------------------------------------------

static void bad_arguments(void **state) {
    (void)state;
    fp4_module *module;
    fp4_compile_options o = with(fake);
    const char *const lists[] = {"BM=1", NULL, "a\nb"};
    assert_int_equal(fp4_module_compile(NULL, "x", NULL, &o, &module), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_module_compile(ctx, NULL, NULL, &o, &module), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_module_compile(ctx, "x", NULL, &o, NULL), FP4_ERROR_ARGUMENT);
    assert_int_equal(fp4_module_compile(ctx, in_work("missing.tk"), NULL, &o, &module),
                     FP4_ERROR_FILE);
    assert_int_equal(fp4_module_compile(ctx, work, NULL, &o, &module), FP4_ERROR_FILE);
    o.size = 3;
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o = with(fake);
    o.n_defines = -1;
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o.n_defines = 1;
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o.defines = lists;
    o.n_defines = 2;
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o.defines = lists + 2;
    o.n_defines = 1;
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o = with(fake);
    o.arch = "-o";
    assert_int_equal(compile(o), FP4_ERROR_ARGUMENT);
    o = with(work); // a folder is no program
    assert_int_equal(compile(o), FP4_ERROR_UNAVAILABLE);
    o = with(in_work("a source.tk")); // nor is a text
    assert_int_equal(compile(o), FP4_ERROR_UNAVAILABLE);
    assert_int_equal(runs(), 0);
}

static int fuse; // > 0: counts down to the allocation that fails
static long alive;

static void *fused(void *user, void *old, size_t old_bytes, size_t new_bytes) {
    (void)user;
    if (new_bytes && fuse > 0 && --fuse == 0) {
        return NULL;
    }
    alive += (long)new_bytes - (long)old_bytes;
    if (new_bytes == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, new_bytes);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    fp4_config config = FP4_CONFIG_INIT;
    config.device = "sim";
    config.alloc = fused;
    fp4_ctx *own = ctx;
    assert_int_equal(fp4_open(&config, &ctx), FP4_OK);
    long open = alive;
    for (int pass = 0; pass < 2; pass++) { // a miss, then a hit
        int n = 1;
        for (;; n++) {
            fuse = n;
            fp4_status status = compile(with(fake));
            bool failed = fuse == 0;
            fuse = 0;
            assert_int_equal(alive, open);
            if (!failed) {
                assert_int_equal(status, FP4_OK);
                break;
            }
            // The last ones of a miss may be those of keeping it, which is not the caller's
            // concern.
            assert_true(status == FP4_ERROR_MEMORY || status == FP4_OK);
        }
        assert_true(n > 3);
    }
    fp4_close(ctx);
    assert_int_equal(alive, 0);
    ctx = own;
}

// ---- fp4c itself --------------------------------------------------------------------------------

static void the_real_compiler(void **state) {
    (void)state;
    fp4_module *module;
    fp4_kernel *kernel;
    fp4_compile_options o = with(fp4c);
    if (fp4_module_compile(ctx, gemm, NULL, &o, &module) != FP4_OK) {
        fail_msg("%s", fp4_last_error());
    }
    fp4_tensor a, b, d;
    float ones[16 * 32];
    for (int i = 0; i < 16 * 32; i++) {
        ones[i] = 1;
    }
    assert_int_equal(fp4_module_kernel(module, "nvfp4_gemm", NULL, &kernel), FP4_OK);
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){3, 32}, ones, &a), FP4_OK);
    assert_int_equal(fp4_tensor_quantize(ctx, "nvfp4", 2, (int64_t[]){16, 32}, ones, &b), FP4_OK);
    assert_int_equal(fp4_tensor_new(ctx, "bf16", 2, (int64_t[]){3, 16}, &d), FP4_OK);
    fp4_arg args[] = {fp4_arg_tensor(&a), fp4_arg_tensor(&b), fp4_arg_tensor(&d),
                      fp4_arg_f32(a.global * b.global)};
    assert_int_equal(fp4_launch(kernel, args, 4, NULL), FP4_OK);
    double values[48];
    assert_int_equal(fp4_tensor_values(ctx, &d, values), FP4_OK);
    assert_true(values[0] == 32 && values[47] == 32);
    fp4_module_free(module);
    only_entry();
    // A text, with a parameter that is one and one that is none; places are told under the given
    // name.
    static const char text[] =
        "use std.formats;\n"
        "kernel twice<BM = 128>(A : bf16[M, K], D : out bf16[M, K]) where K % 8 == 0 {\n"
        "    tile m:BM of M, k:64 of K { D[m, k] = bf16(2.0 * A[m, n]); }\n}\n";
    assert_int_equal(fp4_module_compile(ctx, "my/twice.tk", text, &o, &module), FP4_ERROR_MODULE);
    if (strncmp(fp4_last_error(), "twice.tk:3:", 11) != 0) {
        fail_msg("'%s'", fp4_last_error());
    }
    const char *const none[] = {"NO=3"};
    o.defines = none;
    o.n_defines = 1;
    assert_int_equal(fp4_module_compile(ctx, gemm, NULL, &o, &module), FP4_ERROR_MODULE);
    assert_non_null(strstr(fp4_last_error(), "NO"));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(serves_what_did_not_change),
        TEST(serves_while_used_files_do_not_change),
        TEST(builds_damaged_entries_again),
        TEST(leaves_nothing_after_failures),
        TEST(works_without_a_cache),
        TEST(environment),
        TEST(many_processes),
        TEST(killed_builders),
        TEST(bad_arguments),
        TEST(every_allocation_may_fail),
        TEST(the_real_compiler),
    };
    if (argc != 4) {
        fprintf(stderr, "usage: %s fp4c fake_fp4c.sh gemm.tk\n", argv[0]);
        return 2;
    }
    fp4c = argv[1];
    fake = argv[2];
    gemm = argv[3];
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
