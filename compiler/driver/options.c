// The command line: options.def is the one list of options.
#include "driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum {
#define OPT(id, spelling, form, placeholder, help) OPT_##id,
#include "options.def"
#undef OPT
    OPT_COUNT,
} opt_id;

const option_info option_infos[] = {
#define OPT(id, spelling, form, placeholder, help) {#id, spelling, OPT_##form, placeholder, help},
#include "options.def"
#undef OPT
    {NULL, NULL, OPT_FLAG, NULL, NULL},
};

const command_info command_infos[] = {
    {"run", CMD_RUN, "FILE -arch A M=512 ...", "runs a kernel on random operands"},
    {"tune", CMD_TUNE, "FILE -arch A M=1,512 ...", "measures all schedules of a kernel, writes FILE.tune"},
    {"explain", CMD_EXPLAIN, "FILE -arch A | CODE", "the complete schedule; or what a code means"},
    {"check", CMD_CHECK, "FILE", "reports the mistakes of a program"},
    {"fmt", CMD_FMT, "FILE [-i]", "prints it in canonical form"},
    {"verify", CMD_VERIFY, "FILE.ptx|.tkm|.tk", "proves the synchronisation of PTX, or says what is missing"},
    {NULL, CMD_COMPILE, NULL, NULL},
};

static bool fail(const char *what, const char *value, const char *way_out) {
    fprintf(stderr, "fp4c: %s '%s'%s%s\n", what, value, way_out[0] != '\0' ? ": " : "", way_out);
    return false;
}

static bool number(const char *text, long long least, long long most, long long *out) {
    char *end = NULL;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= least && *out <= most;
}

// Calls 'each' for the parts of a comma list.
static bool for_parts(options *o, const char *list, bool (*each)(options *, const char *)) {
    char part[64];
    while (true) {
        size_t n = strcspn(list, ",");
        if (n == 0 || n >= sizeof part) {
            return fail("empty or overlong part in", list, "");
        }
        memcpy(part, list, n);
        part[n] = '\0';
        if (!each(o, part)) {
            return false;
        }
        if (list[n] == '\0') {
            return true;
        }
        list += n + 1;
    }
}

static bool add_arch(options *o, const char *name) {
    int a = arch_find(name);
    if (a < 0) {
        return fail("unknown target", name, "the targets are sm_90a, sm_100a and sm_120a");
    }
    for (int i = 0; i < o->n_archs; i++) {
        if (o->archs[i] == (tir_arch)a) {
            return true;
        }
    }
    o->archs[o->n_archs++] = (tir_arch)a;
    return true;
}

static bool add_emit(options *o, const char *name) {
    static const char *const names[] = {"ast",    "tir", "llvm", "ptx",    "cubin",
                                        "meta", "module", "c", "h", "tvm-ffi"}; // ORDER emit_kind
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            o->emit |= 1 << i;
            return true;
        }
    }
    return fail("--emit does not know", name, "ast, tir, llvm, ptx, cubin, meta, module, c, h, tvm-ffi");
}

static bool add_define(options *o, const char *text) {
    const char *eq = strchr(text, '=');
    long long v = 0;
    if (eq == NULL || eq == text || !number(eq + 1, INT64_MIN, INT64_MAX, &v)) {
        return fail("malformed definition", text, "-DNAME=INTEGER");
    }
    if (o->n_defines == MAX_DEFINES) {
        return fail("too many definitions at", text, "64 are possible");
    }
    o->defines[o->n_defines++] = (lang_define){strndup(text, (size_t)(eq - text)), v};
    return true;
}

bool options_assign(const char *text, assign *a) {
    const char *eq = strchr(text, '=');
    *a = (assign){0};
    const char *at = eq;
    while (eq != text && at != NULL && *at != '\0' && a->n < MAX_VALUES) {
        char *end = NULL;
        a->values[a->n] = strtod(at + 1, &end);
        if (end == at + 1 || (*end != ',' && *end != '\0')) {
            break;
        }
        a->n++;
        at = end;
    }
    if (at == NULL || *at != '\0' || a->n == 0) {
        return fail(a->n == MAX_VALUES ? "more than 16 values in" : "malformed size or scalar", text,
                    "NAME=NUMBER[,NUMBER..]");
    }
    a->name = strndup(text, (size_t)(eq - text));
    return true;
}

static bool add_assign(options *o, const char *text) {
    if (o->n_assigns == MAX_ASSIGNS) {
        return fail("too many sizes at", text, "64 are possible");
    }
    bool ok = options_assign(text, &o->assigns[o->n_assigns]);
    o->n_assigns += ok;
    return ok;
}

static bool pick(const char *what, const char *value, const char *const *words, int n, int *out) {
    for (int i = 0; i < n; i++) {
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            return true;
        }
    }
    char list[128] = "";
    for (int i = 0; i < n; i++) {
        strcat(strcat(list, i > 0 ? ", " : ""), words[i]);
    }
    return fail(what, value, list);
}

static bool set_color(options *o, const char *value) {
    static const char *const words[] = {"auto", "always", "never"};
    int i = 0;
    if (!pick("--color does not know", value, words, 3, &i)) {
        return false;
    }
    o->color = i == 1 || (i == 0 && o->color);
    return true;
}

static bool set_form(options *o, const char *value) {
    static const char *const words[] = {"text", "json"};
    int i = 0;
    bool ok = pick("--diagnostics does not know", value, words, 2, &i);
    o->form = i == 1 ? DIAG_JSON : DIAG_TEXT;
    return ok;
}

static bool set_order(options *o, const char *value) {
    static const char *const words[] = {"eager", "lazy", "random"};
    int i = 0;
    bool ok = pick("--schedule does not know", value, words, 3, &i);
    o->order = (run_order)i;
    return ok;
}

static bool set_hazards(options *o, const char *value) {
    static const char *const words[] = {"off", "practice", "strict", "manual"}; // ORDER fp4_hazards
    return pick("--hazards does not know", value, words, 4, &o->hazards);
}

static bool set_number(opt_id id, const char *value, options *o) {
    long long v = 0;
    if (id == OPT_SHAPES && o->cmd == CMD_TUNE) {
        o->shape_list = value;
        return true;
    }
    bool ok = number(value, id == OPT_SEED ? 0 : 1, id == OPT_SEED ? INT64_MAX : 1000000, &v);
    if (!ok) {
        return fail("not a number in range:", value, option_infos[id].spelling);
    }
    switch (id) {
    case OPT_SEED:
        o->seed = (uint64_t)v;
        break;
    case OPT_SMS:
        o->sms = (int)v;
        break;
    default:
        o->shapes = (int)v;
        break;
    }
    return true;
}

static bool apply(options *o, opt_id id, const char *value) {
    switch (id) {
    case OPT_ARCH:
        return for_parts(o, value, add_arch);
    case OPT_OUTPUT:
        o->output = value;
        return true;
    case OPT_EMIT:
        return for_parts(o, value, add_emit);
    case OPT_DRIVER_ONLY:
        o->driver_only = true;
        return true;
    case OPT_PTX_ONLY:
        o->emit |= EMIT_PTX;
        return true;
    case OPT_DEFINE:
        return add_define(o, value);
    case OPT_INCLUDE:
        if (o->n_includes == MAX_DEFINES) {
            return fail("too many directories at", value, "64 are possible");
        }
        o->includes[o->n_includes++] = value;
        return true;
    case OPT_KERNEL:
        o->kernel = value;
        return true;
    case OPT_DUMP_DIR:
        o->dump_dir = value;
        return true;
    case OPT_DIAG_FORM:
        return set_form(o, value);
    case OPT_COLOR:
        return set_color(o, value);
    case OPT_DEPS:
        o->deps = true;
        return true;
    case OPT_DEPS_FILE:
        o->deps_file = value;
        return true;
    case OPT_DEPS_OF:
        o->deps_of = value;
        return true;
    case OPT_WERROR:
        o->werror = true;
        return true;
    case OPT_VERBOSE:
        o->verbose = true;
        return true;
    case OPT_TIMES:
        o->times = true;
        return true;
    case OPT_CHECK:
        o->check = true;
        return true;
    case OPT_IN_PLACE:
        o->in_place = true;
        return true;
    case OPT_SEED:
    case OPT_SMS:
    case OPT_SHAPES:
        return set_number(id, value, o);
    case OPT_DEVICE:
        o->device = value;
        return true;
    case OPT_ORDER:
        return set_order(o, value);
    case OPT_HAZARDS:
        return set_hazards(o, value);
    case OPT_USE_PTX:
        o->use_ptx = value;
        return true;
    case OPT_JSON:
        o->json = true;
        return true;
    default:
        return true; // help and version were seen before
    }
}

// One option at argv[*i]; advances over its value.
static bool parse_option(int argc, char **argv, int *i, options *o) {
    const char *arg = argv[*i];
    for (int id = 0; id < OPT_COUNT; id++) {
        size_t n = strlen(option_infos[id].spelling);
        if (strncmp(arg, option_infos[id].spelling, n) != 0) {
            continue;
        }
        if (option_infos[id].form == OPT_JOINED && arg[n] != '\0') {
            return apply(o, (opt_id)id, arg + n);
        }
        if (option_infos[id].form == OPT_VALUE && arg[n] == '=') {
            return apply(o, (opt_id)id, arg + n + 1);
        }
        if (arg[n] != '\0') {
            continue;
        }
        if (option_infos[id].form == OPT_FLAG) {
            return apply(o, (opt_id)id, NULL);
        }
        if (*i + 1 >= argc) {
            return fail("a value must follow", arg, option_infos[id].placeholder);
        }
        *i += 1;
        return apply(o, (opt_id)id, argv[*i]);
    }
    return fail("unknown option", arg, "fp4c --help lists them");
}

static bool parse_positional(const char *arg, options *o) {
    if (o->file == NULL) {
        o->file = arg;
        return true;
    }
    if ((o->cmd == CMD_RUN || o->cmd == CMD_TUNE) && strchr(arg, '=') != NULL) {
        return add_assign(o, arg);
    }
    return fail("unexpected argument", arg, "one file at a time");
}

static bool complete(const options *o) {
    if (o->file == NULL) {
        fprintf(stderr, "fp4c: no file was given; fp4c --help shows what it takes\n");
        return false;
    }
    if (o->in_place && (o->output != NULL || o->check)) {
        return fail("-i and", o->check ? "--check" : "-o", "one of them");
    }
    if (o->cmd != CMD_COMPILE && o->cmd != CMD_TUNE && o->output != NULL) {
        return fail("this command does not know", "-o", "it prints on standard output");
    }
    bool text_only = o->cmd != CMD_COMPILE || (o->emit != 0 && (o->emit & ~EMIT_AST) == 0);
    if (o->n_archs == 0 && (o->cmd == CMD_RUN || o->cmd == CMD_TUNE || !text_only)) {
        const char *dot = strrchr(o->file, '.');
        if (dot == NULL || strcmp(dot, ".tir") != 0) { // a .tir names its target
            fprintf(stderr, "fp4c: no target was given: -arch sm_90a, sm_100a or sm_120a\n");
            return false;
        }
    }
    return true;
}

bool options_parse(int argc, char **argv, options *o, int *code) {
    *o = (options){.seed = 1};
    o->color = isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
    *code = EXIT_MISTAKE;
    int first = 1;
    for (const command_info *c = command_infos; argc > 1 && c->word != NULL; c++) {
        if (strcmp(argv[1], c->word) == 0) {
            o->cmd = c->cmd;
            first = 2;
        }
    }
    for (int i = first; i < argc; i++) {
        bool help = strncmp(argv[i], "--help", 6) == 0 && (argv[i][6] == '\0' || argv[i][6] == '=');
        if (help && !print_help(argv[i][6] == '=' ? argv[i] + 7 : "")) {
            return fail("--help knows no", argv[i] + 7, "man, bash, zsh, fish");
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("fp4c %s\n", FP4C_VERSION);
        }
        if (help || strcmp(argv[i], "--version") == 0) {
            *code = EXIT_DONE;
            return false;
        }
    }
    for (int i = first; i < argc; i++) {
        bool positional = argv[i][0] != '-' || argv[i][1] == '\0';
        if (positional ? !parse_positional(argv[i], o) : !parse_option(argc, argv, &i, o)) {
            return false;
        }
    }
    o->device = o->device != NULL ? o->device : o->cmd == CMD_TUNE ? "cuda" : "sim";
    return complete(o);
}

void options_free(options *o) {
    for (int i = 0; i < o->n_defines; i++) {
        free((char *)o->defines[i].name);
    }
    for (int i = 0; i < o->n_assigns; i++) {
        free((char *)o->assigns[i].name);
    }
}
