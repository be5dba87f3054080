// The hazards of warp-specialised kernels, one small PTX program each (hazards/*.ptx). A line that
// ends in '// bad' stands only in the program with the mistake, '// good' only in the corrected one;
// 'place 1' and 'place 2' mark the lines that must be named. The first must be reported with its
// kind, the second must run without a word. A profile that is 'strict, silent in practice' says that
// the practice profile must have nothing to say about the program with the mistake.
#include "core_util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hazard {
    char *text;
    char expect[120];
    uint32_t block, grid, cluster;
    uint64_t steps;
    sim_hazards profile;
    bool practised; // the practice profile has nothing to say about it
    uint32_t place[2];
};

static void head_line(const char *text, const char *key, char *out, size_t most) {
    const char *at = strstr(text, key);
    assert_non_null(at);
    at += strlen(key);
    size_t n = strcspn(at, "\n");
    assert_true(n < most);
    memcpy(out, at, n);
    out[n] = '\0';
}

static uint32_t word_value(const char *line, const char *word, uint32_t otherwise) {
    const char *at = strstr(line, word);
    return at == NULL ? otherwise : (uint32_t)strtoul(at + strlen(word), NULL, 10);
}

// Blanks the lines of the other variant and finds the marked places.
static void choose(struct hazard *c, bool bad) {
    uint32_t line = 1;
    for (char *at = c->text; *at != '\0'; line++) {
        size_t n = strcspn(at, "\n");
        char *mark = NULL;
        for (size_t i = 0; i + 1 < n && line > 4; i++) {
            mark = at[i] == '/' && at[i + 1] == '/' ? at + i : mark;
        }
        if (mark != NULL) {
            char tag[64];
            size_t length = n - (size_t)(mark - at);
            snprintf(tag, sizeof tag, "%.*s", (int)length, mark);
            bool other = strstr(tag, bad ? "good" : "bad") != NULL;
            for (uint32_t p = 0; p < 2 && !other; p++) {
                c->place[p] = strstr(tag, p == 0 ? "place 1" : "place 2") != NULL ? line
                                                                                  : c->place[p];
            }
            memset(other ? at : mark, ' ', other ? n : length);
        }
        at += n + (at[n] == '\n');
    }
}

static struct hazard read_hazard(const char *path, bool bad) {
    struct hazard c = {.steps = 0};
    size_t length;
    char line[160];
    c.text = read_text(path, &length);
    assert_non_null(c.text);
    head_line(c.text, "// expect: ", c.expect, sizeof c.expect);
    head_line(c.text, "// profile: ", line, sizeof line);
    c.profile = strncmp(line, "manual", 6) == 0     ? SIM_HAZARDS_MANUAL
                : strncmp(line, "practice", 8) == 0 ? SIM_HAZARDS_PRACTICE
                                                    : SIM_HAZARDS_STRICT;
    c.practised = strstr(line, "silent in practice") != NULL;
    head_line(c.text, "// launch: ", line, sizeof line);
    c.block = word_value(line, "block ", 1);
    c.grid = word_value(line, "grid ", 1);
    c.cluster = word_value(line, "cluster ", 1);
    c.steps = word_value(line, "steps ", 0);
    choose(&c, bad);
    return c;
}

// A tensor of 128-byte rows with 32 of them in a box, swizzled; also in the buffer at 4096.
static void make_map(sim *s, uint64_t buffer, uint8_t map[128]) {
    uint64_t dim[2] = {128, 32};
    uint64_t stride[1] = {128};
    uint32_t box[2] = {128, 32};
    sim_tensormap t = {.dtype = 0, .rank = 2, .address = buffer + 16384, .dim = dim,
                       .stride = stride, .box = box, .swizzle = 3};
    assert_int_equal(sim_tensormap_encode(s, map, &t), SIM_OK);
    assert_int_equal(sim_copy_to(s, buffer + 4096, map, 128), SIM_OK);
}

static int run_hazard(sim *s, const struct hazard *c, sim_policy policy) {
    sim_module *m;
    int status = sim_module_load(s, c->text, strlen(c->text), &m);
    if (status != SIM_OK) {
        fail_msg("%s", sim_last_error(s));
    }
    uint64_t buffer = sim_alloc(s, 65536);
    uint8_t map[128];
    assert_int_equal(sim_fill(s, buffer, 0, 65536), SIM_OK);
    make_map(s, buffer, map);
    void *params[] = {&buffer, map};
    sim_launch_config config = {.grid = {c->grid, 1, 1}, .block = {c->block, 1, 1},
                                .cluster = {c->cluster, 1, 1}, .params = params,
                                .policy = policy, .seed = 5, .max_steps = c->steps};
    return sim_launch(s, sim_module_kernel(m, 0), &config);
}

// "fault text" and the like: a launch that fails with this in its sentence; else a kind.
static bool expected(const sim *s, const struct hazard *c, int status) {
    static const struct {
        const char *word;
        int status;
    } fails[] = {{"fault ", SIM_ERROR_FAULT}, {"deadlock ", SIM_ERROR_DEADLOCK},
                 {"steps ", SIM_ERROR_STEPS}};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        size_t n = strlen(fails[i].word);
        if (strncmp(c->expect, fails[i].word, n) == 0) {
            return status == fails[i].status && strstr(sim_last_error(s), c->expect + n) != NULL;
        }
    }
    for (size_t i = 0; sim_finding_at(s, i) != NULL; i++) {
        const sim_finding *f = sim_finding_at(s, i);
        if (strcmp(f->kind, c->expect) == 0 && f->line[0] == c->place[0] &&
            f->line[1] == c->place[1]) {
            return true;
        }
    }
    return false;
}

static int tell(const char *path, const char *variant, const sim *s) {
    printf("%s, %s program: %s\n", path, variant, sim_last_error(s));
    for (size_t i = 0; sim_finding_at(s, i) != NULL; i++) {
        printf("  %s\n", sim_finding_at(s, i)->text);
    }
    return 1;
}

static int try_variant(const char *path, sim_policy policy, bool bad, bool practised) {
    int wrong = 0;
    struct hazard c = read_hazard(path, bad);
    c.profile = practised ? SIM_HAZARDS_PRACTICE : c.profile;
    sim *s = sim_open(&(sim_options){.hazards = c.profile, .sms = 4});
    assert_non_null(s);
    if (c.practised || !practised) {
        int status = run_hazard(s, &c, policy);
        bool silent = status == SIM_OK && sim_finding_count(s, SIM_SEVERITY_INFO) == 0;
        if (bad && !practised && !expected(s, &c, status)) {
            wrong += tell(path, "wrong", s);
        } else if ((!bad || practised) && !silent) {
            wrong += tell(path, bad ? "practised" : "corrected", s);
        }
    }
    sim_close(s);
    free(c.text);
    return wrong;
}

static int try_hazard(const char *path, sim_policy policy) {
    return try_variant(path, policy, false, false) + try_variant(path, policy, true, false) +
           try_variant(path, policy, true, true);
}

int main(int argc, char **argv) {
    int wrong = 0;
    for (int i = 1; i < argc; i++) {
        for (sim_policy p = SIM_EAGER; p <= SIM_RANDOM; p++) {
            wrong += try_hazard(argv[i], p);
        }
    }
    printf("%d programs, %d wrong\n", argc - 1, wrong);
    return wrong > 0 || argc < 2;
}
