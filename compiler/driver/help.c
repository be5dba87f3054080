// What fp4c tells of itself, all from the tables of options and commands: the short help, the
// manual page (man macros), and completions for three shells.
#include "driver.h"

#include <stdio.h>
#include <string.h>

// "-o FILE", "--emit=KIND", "-DNAME=VAL"
static void option_text(const option_info *o, char *out, size_t bytes) {
    const char *between = o->form != OPT_VALUE ? "" : o->spelling[1] == '-' ? "=" : " ";
    snprintf(out, bytes, "%s%s%s", o->spelling, between,
             o->placeholder != NULL ? o->placeholder : "");
}

static void print_short(void) {
    printf("usage: fp4c FILE -arch A [options]      compiles to a module\n");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        printf("       fp4c %s %s   %s\n", c->word, c->args, c->help);
    }
    printf("\noptions:\n");
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        char left[64];
        option_text(o, left, sizeof left);
        printf("  %-24s %s\n", left, o->help);
    }
}

// ---- manual page --------------------------------------------------------------------------------

// Text with what roff would take for its own: '-' that is no hyphen, '\\', a '.' that begins a
// line.
static void roff(const char *text) {
    if (*text == '.' || *text == '\'') {
        fputs("\\&", stdout);
    }
    for (; *text != '\0'; text++) {
        fputs(*text == '-' ? "\\" : "", stdout);
        fputs(*text == '\\' ? "\\e" : (char[]){*text, '\0'}, stdout);
    }
}

static void tagged(const char *tag, const char *text) {
    fputs(".TP\n.B ", stdout);
    roff(tag);
    fputs("\n", stdout);
    roff(text);
    fputs("\n", stdout);
}

static void print_man(void) {
    printf(".TH FP4C 1 \"\" \"fp4c %s\" \"User Commands\"\n", FP4C_VERSION);
    printf(
        ".SH NAME\nfp4c \\- compiler of tile programs for FP4 and FP8 tensor cores\n.SH SYNOPSIS\n"
        ".B fp4c\n.I FILE\n.B \\-arch\n.I A\n.RI [ options ]\n");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        printf(".br\n.B fp4c %s\n", c->word);
        roff(c->args);
        printf("\n");
    }
    printf(".SH DESCRIPTION\n"
           "Compiles a tile program (.tk) to a module (.tkm): metadata, PTX and, where ptxas is "
           "found, a cubin\n"
           "for each kernel and target. A module is what libfp4rt loads and launches, on a GPU or "
           "in its\n"
           "simulator.\nA role program (.tir), as\n.B \\-\\-emit=tir\nprints it, is taken too.\n"
           ".SH COMMANDS\n");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        tagged(c->word, c->help);
    }
    printf(".SH OPTIONS\n");
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        char left[64];
        option_text(o, left, sizeof left);
        tagged(left, o->help);
    }
    printf(".SH FILES WRITTEN BY \\-\\-emit\n");
    tagged("module", "NAME.tkm, the module.");
    tagged("ptx, cubin, llvm",
           "NAME.ptx, NAME.cubin, NAME.ll; of several kernels or targets NAME.KERNEL.TARGET.ptx.");
    tagged("ast, tir", "The checked tree and the role programs as text.");
    tagged(
        "meta",
        "NAME.json: of every kernel its name, target, parameters with shapes, formats, layouts and "
        "alignment, 'where' clauses, the parameters of the PTX entry (tensor maps, pointers, "
        "sizes, "
        "scalars), grid, cluster, threads, shared memory, and what ptxas reported. "
        "runtime/module.h of the sources describes every field.");
    tagged("c, h", "NAME.c and NAME.h: the kernels inside a C program, one typed function each, "
                   "over libfp4rt; "
                   "with --driver-only over libcuda alone. -o names the stem.");
    tagged("tvm-ffi", "NAME_ffi.c, beside NAME.c and NAME.h: functions that PyTorch, JAX and "
                      "others load by tvm_ffi.");
    printf(".SH EXIT STATUS\n");
    tagged("0", "Done.");
    tagged("1", "A mistake in the program, the options or the surroundings, told in a sentence.");
    tagged("70", "A mistake of fp4c; fp4c-crash-*/ holds what reproduces it.");
    printf(".SH ENVIRONMENT\n");
    tagged("FP4_PTXAS, PATH, CUDA_HOME, CUDA_PATH", "Where ptxas is looked for, in this order.");
    tagged("NO_COLOR", "No colours.");
    printf(".SH SEE ALSO\n.BR fp4rt (3)\n");
}

// ---- completions --------------------------------------------------------------------------------

// Words that an option's value can be; "" when it is free.
static const char *values_of(const option_info *o) {
    static const struct {
        const char *id, *words;
    } known[] = {
        {"ARCH", "sm_90a sm_100a sm_120a"},
        {"EMIT", "ast tir llvm ptx cubin meta module c h tvm-ffi"},
        {"DIAG_FORM", "text json"},
        {"COLOR", "auto always never"},
        {"DEVICE", "sim cuda"},
        {"ORDER", "eager lazy random"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].id, o->id) == 0) {
            return known[i].words;
        }
    }
    return "";
}

static bool takes_file(const option_info *o) {
    return o->placeholder != NULL &&
           (strcmp(o->placeholder, "FILE") == 0 || strcmp(o->placeholder, "DIR") == 0);
}

static void print_bash(void) {
    printf("# bash completion of fp4c; made by fp4c --help=bash\n_fp4c() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    # bash cuts words at '='\n"
           "    if [[ $cur == '=' ]]; then cur=; elif [[ $prev == '=' ]]; then "
           "prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
           "    case $prev in\n");
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        if (o->form == OPT_VALUE && values_of(o)[0] != '\0') {
            printf("    %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->spelling,
                   values_of(o));
        } else if (o->form == OPT_VALUE && takes_file(o)) {
            printf("    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", o->spelling);
        }
    }
    printf("    esac\n    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W '");
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        printf("%s%s", o == option_infos ? "" : " ", o->spelling);
    }
    printf("' -- \"$cur\"))\n        return\n    fi\n    COMPREPLY=($(compgen -f -X '!*.t[ki]*' -- "
           "\"$cur\") $(compgen -d -- \"$cur\"))\n"
           "    if [[ $COMP_CWORD == 1 ]]; then\n        COMPREPLY+=($(compgen -W '");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        printf("%s%s", c == command_infos ? "" : " ", c->word);
    }
    printf("' -- \"$cur\"))\n    fi\n}\ncomplete -o filenames -F _fp4c fp4c\n");
}

// Inside of '..' and [..] of zsh's _arguments, and of '..' of fish.
static void quoted(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            fputs(*text == '[' || *text == ']' || *text == ':' || *text == '\\' ? "\\" : "",
                  stdout);
            fputc(*text, stdout);
        }
    }
}

static void print_zsh(void) {
    printf("#compdef fp4c\n# made by fp4c --help=zsh\n_arguments \\\n");
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        printf("    '%s%s[", o->spelling,
               o->form == OPT_FLAG     ? ""
               : o->form == OPT_JOINED ? "-"
               : o->spelling[1] == '-' ? "="
                                       : "");
        quoted(o->help);
        printf("]");
        if (o->form != OPT_FLAG) {
            printf(":value:");
            if (values_of(o)[0] != '\0') {
                printf("(%s)", values_of(o));
            } else if (takes_file(o)) {
                printf("_files");
            }
        }
        printf("' \\\n");
    }
    printf("    '1:command or file:{ _alternative \"commands:command:(");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        printf("%s%s", c == command_infos ? "" : " ", c->word);
    }
    printf(")\" \"files:file:_files\" }' \\\n    '*:file:_files'\n");
}

static void print_fish(void) {
    printf("# fish completion of fp4c; made by fp4c --help=fish\n");
    for (const command_info *c = command_infos; c->word != NULL; c++) {
        printf("complete -c fp4c -n '__fish_is_first_arg' -a %s -d '%s'\n", c->word, c->help);
    }
    for (const option_info *o = option_infos; o->id != NULL; o++) {
        bool is_long = o->spelling[1] == '-';
        bool is_short = !is_long && o->spelling[2] == '\0';
        printf("complete -c fp4c %s %s%s",
               is_long    ? "-l"
               : is_short ? "-s"
                          : "-o",
               o->spelling + (is_long ? 2 : 1),
               o->form == OPT_FLAG       ? ""
               : values_of(o)[0] != '\0' ? " -x"
                                         : " -r");
        if (values_of(o)[0] != '\0') {
            printf(" -a '%s'", values_of(o));
        }
        printf(" -d '");
        for (const char *p = o->help; *p != '\0'; p++) {
            fputs(*p == '\'' || *p == '\\' ? "\\" : "", stdout);
            fputc(*p, stdout);
        }
        printf("'\n");
    }
}

bool print_help(const char *topic) {
    static const struct {
        const char *topic;
        void (*print)(void);
    } topics[] = {{"", print_short},
                  {"man", print_man},
                  {"bash", print_bash},
                  {"zsh", print_zsh},
                  {"fish", print_fish}};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (strcmp(topic, topics[i].topic) == 0) {
            topics[i].print();
            return true;
        }
    }
    return false;
}
