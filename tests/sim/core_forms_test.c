// The reader takes every line of core_forms.txt for the targets that it names, and refuses those
// that are marked so with the text of the instruction.
//
//   core_forms_test FILE            reads each line as a program of its own
//   core_forms_test FILE --dump N   prints one program with all lines of target N, for ptxas
#include "sim.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char declarations[] = " .reg .pred p<4>; .reg .b16 h<8>; .reg .b32 r<16>; .reg .f32 "
                                   "f<16>; .reg .b64 d<16>; .reg .f64 "
                                   "x<8>; .reg .b128 q<4>; .local .align 16 .b8 loc[64];\n";
static const char before[] = ".global .align 16 .b8 g[64];\n.const .f32 cst = 0f3F800000;\n.extern "
                             ".shared .align 1024 .b8 s[];\n";

static void print_head(FILE *f, const char *kernel) {
    fprintf(f, ".visible .entry %s(.param .align 128 .b8 prm[512])\n{\n%s", kernel, declarations);
}

static bool is_refused(const char *line) {
    return strncmp(line, "refused ", 8) == 0;
}

static bool for_target(const char *line, const char *colon, int target) {
    const char *targets = is_refused(line) ? line + 8 : line;
    char word[8];
    snprintf(word, sizeof word, "%d", target);
    const char *found = strstr(targets, word);
    return strncmp(targets, "all", 3) == 0 ? target != 103 : found != NULL && found < colon;
}

static int read_one(const char *text, int target, int line, bool refused) {
    char *program;
    size_t n;
    FILE *f = open_memstream(&program, &n);
    fprintf(f, ".version 8.8\n.target sm_%da\n.address_size 64\n%s", target, before);
    print_head(f, "k");
    fprintf(f, " %s\n ret;\n}\n", text);
    fclose(f);
    sim *s = sim_open(NULL);
    sim_module *m;
    int bad = sim_module_load(s, program, n, &m) != SIM_OK;
    if (refused) { // "ptx:10: ... : the instruction"
        bad = !bad || strncmp(sim_last_error(s), "ptx:10: ", 8) != 0;
    }
    if (bad) {
        printf("line %d, sm_%d: %s\n", line, target, sim_last_error(s));
    }
    sim_close(s);
    free(program);
    return bad;
}

// What a line for all targets and cta_group::1 shares no kernel with: every line has its own.
static void dump(FILE *in, int target) {
    static char line[2000];
    int number = 0;
    printf(".version 8.8\n.target sm_%da\n.address_size 64\n%s", target, before);
    while (fgets(line, sizeof line, in) != NULL) {
        char *colon = strchr(line, ':');
        number++;
        if (line[0] == '#' || colon == NULL || !for_target(line, colon, target)) {
            continue;
        }
        char name[20];
        snprintf(name, sizeof name, "k%d", number);
        print_head(stdout, name);
        printf(" %s ret;\n}\n", colon + 1);
    }
}

int main(int argc, char **argv) {
    static const int targets[] = {90, 100, 103, 120};
    static char line[2000];
    FILE *in = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (in == NULL) {
        return 2;
    }
    if (argc > 3 && strcmp(argv[2], "--dump") == 0) {
        dump(in, atoi(argv[3]));
        fclose(in);
        return 0;
    }
    int number = 0;
    int bad = 0;
    int read = 0;
    while (fgets(line, sizeof line, in) != NULL) {
        char *colon = strchr(line, ':');
        number++;
        for (int t = 0; t < 4 && line[0] != '#' && colon != NULL; t++) {
            if (for_target(line, colon, targets[t])) {
                bad += read_one(colon + 1, targets[t], number, is_refused(line));
                read++;
            }
        }
    }
    fclose(in);
    printf("%d of %d are not as they should be\n", bad, read);
    return bad > 0 || read < 100;
}
