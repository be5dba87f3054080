// fp4sim on the examples of its page: results against what C computes, reports, logs that replay,
// launch files with mistakes, and --gpu on a driver whose launches do nothing. argv[1] is the program, argv[2] the
// directory of the examples, argv[3] that of the driver.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *program, *examples, *driver;

static int sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *format, ...) {
    char command[2000];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int run(const char *name, const char *options) {
    return sh("'%s' '%s/%s.ptx' --launch '%s/%s.json' --out . %s > fp4sim.txt 2>&1", program,
              examples, name, examples, name, options);
}

static size_t slurp(const char *path, void *to, size_t most) {
    FILE *f = fopen(path, "rb");
    size_t n = f == NULL ? 0 : fread(to, 1, most, f);
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static bool says(const char *path, const char *what) {
    static char text[20000];
    text[slurp(path, text, sizeof text - 1)] = '\0';
    bool found = strstr(text, what) != NULL;
    if (!found) {
        printf("'%s' is not in:\n%s\n", what, text);
    }
    return found;
}

static void scale(void **state) {
    (void)state;
    float y[1000];
    assert_int_equal(run("scale", "--report scale.report --hazards strict"), 0);
    assert_true(says("fp4sim.txt", "0 findings"));
    assert_int_equal(slurp("y.bin", y, sizeof y), sizeof y);
    for (int n = 0; n < 1000; n++) {
        float want = 0.5f * (float)n + 7 + (n < 10 ? 2 * (float)n : 0);
        assert_true(y[n] == want);
    }
    assert_true(says("fp4sim.txt", "nothing that depends on the order"));
    assert_true(says("scale.report", "\"status\":\t\"ended\""));
    assert_true(says("scale.report", "\"order_dependent\":\t[]"));
}

static void tile(void **state) {
    (void)state;
    static const char *const policies[] = {"eager", "lazy", "random"};
    for (int n = 0; n < 3; n++) {
        char option[40];
        snprintf(option, sizeof option, "--policy=%s", policies[n]);
        uint32_t a[960];
        uint32_t b[960];
        assert_int_equal(run("tile", option), 0);
        assert_int_equal(slurp("a.bin", a, sizeof a), sizeof a);
        assert_int_equal(slurp("b.bin", b, sizeof b), sizeof b);
        assert_memory_equal(a, b, sizeof a);
        assert_int_not_equal(a[1], a[2]);
    }
}

// Addresses and tensor maps in buffers.
static void groups(void **state) {
    (void)state;
    uint32_t z[512];
    assert_int_equal(run("groups", "--hazards strict"), 0);
    assert_true(says("fp4sim.txt", "0 findings"));
    assert_int_equal(slurp("z.bin", z, sizeof z), sizeof z);
    for (uint32_t n = 0; n < 512; n++) {
        assert_int_equal(z[n], 1000 + n);
    }
    static const struct {
        const char *edit, *words;
    } mistakes[] = {
        {"s/\"buffer\": \"z\"/\"buffer\": \"w\"/", "buffers.pointers: there is no buffer 'w'"},
        {"s/\"at\": 40/\"at\": 41/", "buffers.pointers: 8 bytes, there is room for 7"},
        {"s/\"at\": 256/\"at\": 385/", "buffers.maps: a whole number from 0 to 384"},
        {"s/\"box\": .32, 8./\"box\": [32]/", "buffers.maps: map: 2 dims need"},
        {"s/\"fields\": ..\"at\": 4, \"u32\": 8../\"fields\": 8/", "buffers.rows: fields: a list"},
    };
    for (size_t n = 0; n < sizeof mistakes / sizeof *mistakes; n++) {
        assert_int_equal(sh("sed '%s' '%s/groups.json' > mistake.json", mistakes[n].edit, examples), 0);
        assert_int_equal(sh("'%s' '%s/groups.ptx' --launch mistake.json --out . > fp4sim.txt 2>&1",
                            program, examples),
                         1);
        assert_true(says("fp4sim.txt", mistakes[n].words));
    }
}

// Without its wait the copy is right by luck when everything completes at once, poison otherwise.
static void no_wait(void **state) {
    (void)state;
    assert_int_equal(sh("sed '/try_wait/d; /bra wait/d' '%s/tile.ptx' > no_wait.ptx && sed "
                        "'s/\"save\": \"b.bin\"/\"expect\": \"a.bin\"/' '%s/tile.json' > "
                        "no_wait.json",
                        examples, examples),
                     0);
    const char *command = "'%s' no_wait.ptx --launch no_wait.json --out . --policy %s > fp4sim.txt "
                          "2>&1";
    char with[600];
    snprintf(with, sizeof with, command, program, "eager");
    assert_int_equal(sh("%s", with), 0);
    assert_true(says("fp4sim.txt", "equals a.bin"));
    snprintf(
        with, sizeof with,
        "'%s' no_wait.ptx --launch no_wait.json --out . --hazards practice --report hazards.report"
        " > fp4sim.txt 2>&1",
        program);
    assert_int_equal(sh("%s", with), 1);
    assert_true(says("fp4sim.txt", "hazards (practice)"));
    assert_true(says("hazards.report", "\"severity\":\t\"error\""));
    snprintf(with, sizeof with, command, program, "lazy");
    assert_int_equal(sh("%s", with), 1);
}

static void order(void **state) {
    (void)state;
    uint32_t first[32];
    uint32_t again[32];
    uint32_t other[32];
    assert_int_equal(run("order", "--log order.log"), 0);
    assert_true(says("fp4sim.txt", "atomic operations that return the old value"));
    assert_int_equal(slurp("list.bin", first, sizeof first), sizeof first);
    assert_int_equal(run("order", "--replay order.log --seed 99"), 0);
    assert_int_equal(slurp("list.bin", again, sizeof again), sizeof again);
    assert_memory_equal(first, again, sizeof first);
    assert_int_equal(run("order", "--seed 99"), 0);
    assert_int_equal(slurp("list.bin", other, sizeof other), sizeof other);
    assert_memory_not_equal(first, other, sizeof first);
    uint32_t seen = 0;
    for (int n = 0; n < 32; n++) {
        assert_true(first[n] < 32);
        seen |= 1u << first[n];
    }
    assert_int_equal(seen, UINT32_MAX);
    // an empty log is the default order: the warps as they stand
    assert_int_equal(sh("echo > empty.log"), 0);
    assert_int_equal(run("order", "--replay empty.log"), 0);
    assert_int_equal(slurp("list.bin", again, sizeof again), sizeof again);
    for (uint32_t n = 0; n < 32; n++) {
        assert_int_equal(again[n], n);
    }
}

// A launch file with one place changed: refused with the words that tell where and why.
static void mistakes(void **state) {
    (void)state;
    static const struct {
        const char *edit, *words;
    } list[] = {
        {"s/\"grid\"/\"gird\"/", "unknown key 'gird'"},
        {"s/\"block\": 32, //", "'block' is missing"},
        {"s/\"type\": \"u32\", \"shape\"/\"type\": \"u31\", \"shape\"/", "buffers.a: unknown type"},
        {"s/\"buffer\": \"a\"/\"buffer\": \"z\"/", "params[0]: there is no buffer 'z'"},
        {"s/\"strides\": .160./\"strides\": [161]/", "params[0]: map:"},
        {"s/\"box\": .32, 16./\"box\": [32]/", "need 1 strides"},
        {"s/\"swizzle\": 128/\"swizzle\": 100/", "unknown type or swizzle"},
        {"s/\"kernel\": \"tile\"/\"kernel\": \"tail\"/", "kernel 'tail'"},
        {"s/\"lazy\"/\"lacy\"/", "\"eager\", \"lazy\" or \"random\""},
        {"s/.24, 40./[24, -40]/", "buffers.a: a whole number"},
        {"s/.24, 40./[2400000, 4000000]/", "larger than 16 GiB"},
        {"s/\"random\"/\"randon\"/", "fill 'randon'"},
        {"s/\"shared\": 3072/\"shared\": 100/", "fault"},
        {"s/.2, 2./[0]/", "fault|ended"},
        {"$d", "this is not JSON"},
    };
    for (size_t n = 0; n < sizeof list / sizeof *list; n++) {
        assert_int_equal(sh("sed '%s' '%s/tile.json' > mistake.json", list[n].edit, examples), 0);
        int status = sh("'%s' '%s/tile.ptx' --launch mistake.json --out . > fp4sim.txt 2>&1",
                        program, examples);
        if (strcmp(list[n].words, "fault|ended") == 0) { // zeros count as one CTA
            assert_int_equal(status, 0);
            continue;
        }
        assert_int_equal(status, 1);
        assert_true(says("fp4sim.txt", list[n].words));
    }
    assert_int_equal(sh("'%s' > /dev/null 2>&1", program), 2);
    assert_int_equal(sh("'%s' nothing.ptx --list > fp4sim.txt 2>&1", program), 1);
    assert_true(says("fp4sim.txt", "cannot read 'nothing.ptx'"));
    assert_int_equal(sh("sed 's/mad.lo.u32/mad.low.u32/' '%s/scale.ptx' > bad.ptx; '%s' bad.ptx "
                        "--list > fp4sim.txt 2>&1",
                        examples, program),
                     1);
    assert_true(says("fp4sim.txt", "bad.ptx:17:"));
    assert_int_equal(sh("'%s' '%s/scale.ptx' --list > fp4sim.txt 2>&1", program, examples), 0);
    assert_true(says("fp4sim.txt", "3 parameters, 32 bytes: 8 at 0, 8 at 8, 16 at 16"));
}

static int on_gpu(const char *library, const char *name, const char *options) {
    return sh("LD_LIBRARY_PATH='%s' '%s' '%s/%s.ptx' --launch '%s/%s.json' --out . --gpu %s > fp4sim.txt 2>&1",
              library, program, examples, name, examples, name, options);
}

// What the kernels do not touch is equal on a GPU that does nothing, what they write is not.
static void gpu(void **state) {
    (void)state;
    assert_int_equal(on_gpu(driver, "scale", "--report scale.report"), 1);
    assert_true(says("fp4sim.txt", "  x: 1000 x f32, hash"));
    assert_true(says("fp4sim.txt", ", equal on the GPU"));
    assert_true(says("fp4sim.txt", "saved as y.bin, "));
    assert_true(says("fp4sim.txt", " bytes differ on the GPU"));
    assert_true(says("scale.report", "\"gpu_differing_bytes\":\t0"));
    assert_int_equal(on_gpu(driver, "tile", ""), 1);
    assert_true(says("fp4sim.txt", " bytes differ on the GPU"));
    assert_int_equal(on_gpu(driver, "groups", ""), 1); // maps and addresses in buffers
    assert_int_equal(on_gpu(driver, "scale", "--image nothing.cubin"), 1);
    assert_true(says("fp4sim.txt", "cannot read 'nothing.cubin'"));
    assert_int_equal(on_gpu("/nowhere", "scale", ""), 1);
    assert_true(says("fp4sim.txt", "no NVIDIA driver"));
    assert_int_equal(sh("sed 's/sm_90/sm_100a/' '%s/scale.ptx' > other.ptx; LD_LIBRARY_PATH='%s' '%s' other.ptx "
                        "--launch '%s/scale.json' --gpu > fp4sim.txt 2>&1",
                        examples, driver, program, examples),
                     1);
    assert_true(says("fp4sim.txt", "compiled for sm_100, the GPU"));
}

int main(int argc, char **argv) {
    if (argc < 4) {
        return 2;
    }
    program = argv[1];
    examples = argv[2];
    driver = argv[3];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale),   cmocka_unit_test(tile),  cmocka_unit_test(groups),
        cmocka_unit_test(no_wait), cmocka_unit_test(order), cmocka_unit_test(mistakes),
        cmocka_unit_test(gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
