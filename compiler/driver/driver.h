// fp4c: what its commands share.
//
// Exit codes: 0 done; 1 a mistake of the user's, told in a sentence (options, source, a failed
// check); 70 a mistake of ours, with the pass that failed and a folder that reproduces it.
#ifndef FP4_DRIVER_H
#define FP4_DRIVER_H

#include "arch.h"
#include "artefact.h"
#include "cg.h"
#include "lang.h"
#include "plan.h"

enum { EXIT_DONE = 0, EXIT_MISTAKE = 1, EXIT_INTERNAL = 70 };
enum { MAX_ARCHS = 4, MAX_DEFINES = 64, MAX_ASSIGNS = 64, MAX_VALUES = 16, MAX_KERNELS = 256 };

typedef enum { CMD_COMPILE, CMD_RUN, CMD_TUNE, CMD_EXPLAIN, CMD_CHECK, CMD_FMT, CMD_VERIFY } command;

typedef enum {
    EMIT_AST = 1,
    EMIT_TIR = 2,
    EMIT_LLVM = 4,
    EMIT_PTX = 8,
    EMIT_CUBIN = 16,
    EMIT_META = 32,
    EMIT_MODULE = 64,
    EMIT_C = 128,
    EMIT_H = 256,
    EMIT_FFI = 512,
    EMIT_AHEAD = EMIT_C | EMIT_H | EMIT_FFI, // files that belong together
} emit_kind;

typedef struct {
    const char *name;
    int n;
    double values[MAX_VALUES]; // run takes every combination
} assign;

typedef enum { ORDER_EAGER, ORDER_LAZY, ORDER_RANDOM } run_order;

typedef struct {
    command cmd;
    const char *file; // "-": standard input
    int n_archs;
    tir_arch archs[MAX_ARCHS];
    const char *output;
    int emit; // emit_kind bits
    int n_defines;
    lang_define defines[MAX_DEFINES];
    int n_includes;
    const char *includes[MAX_DEFINES];
    const char *kernel;
    const char *dump_dir;
    diag_form form;
    bool color;
    bool deps;
    const char *deps_file;
    const char *deps_of;
    bool werror, verbose, times, check, in_place, json, driver_only;
    uint64_t seed;
    int hazards; // fp4_hazards
    const char *device;
    int sms;
    run_order order;
    int shapes;
    const char *shape_list; // of tune: a file
    const char *use_ptx;
    int n_assigns; // NAME=VALUE of run and tune
    assign assigns[MAX_ASSIGNS];
} options;

// The tables of options (options.def) and commands; both end with an entry of NULLs.
typedef enum { OPT_FLAG, OPT_VALUE, OPT_JOINED } opt_form;

typedef struct {
    const char *id; // "ARCH"
    const char *spelling;
    opt_form form;
    const char *placeholder;
    const char *help;
} option_info;

typedef struct {
    const char *word;
    command cmd;
    const char *args;
    const char *help;
} command_info;

extern const option_info option_infos[];
extern const command_info command_infos[];

// Prints what there is: topic "" in short, "man" a manual page, "bash", "zsh", "fish" completions.
// False: no such topic.
bool print_help(const char *topic);

// Parses the command line. False: a sentence was printed and *code is the exit code (help and
// version end so with 0).
bool options_parse(int argc, char **argv, options *out, int *code);
void options_free(options *o);
// "M=1,16": false after a sentence. The name is allocated.
bool options_assign(const char *text, assign *out);

// --- A compilation unit --------------------------------------------------------------------------

typedef struct {
    const options *opt;
    arena *mem;
    src_map *src;
    diag *d;
    ast_file *file; // NULL for a .tir
    bool checked;
    double front_seconds;
    int n_written;
    const char *written[3 * MAX_KERNELS + 8]; // files, in order: what -MD says depends on the sources
} unit;

// Reads, parses and checks opt->file. False if it cannot be read (told on stderr).
bool unit_open(unit *u, const options *opt);
// Prints the diagnostics; the exit code they amount to.
int unit_report(unit *u);
// Whether no later one of the n schedules is a variant of the same 'tune' as schedule i: a schedule
// is wrong only when all of its variants are.
bool unit_last_variant(const ast_schedule *const *scheds, int n, int i);
// Between these two what is reported is about one variant of 'tune', which may be illegal: the
// second gives its first error, NULL if it has none.
diag *unit_try(unit *u);
const char *unit_tried(unit *u, diag *kept);
void unit_close(unit *u);
// "dir/gemm.tk" -> "gemm"
const char *unit_stem(const unit *u);

// One kernel for one machine, as far as it was made.
typedef struct {
    const ast_kernel *ast;    // NULL: from .tir
    const ast_schedule *sched;
    tir_kernel *tir;
    cg_result code;
    bool assembled;
    ptxas_result report;
    const char *meta;
    double plan_seconds, code_seconds, ptxas_seconds;
} built;

typedef struct {
    int n;
    built at[MAX_KERNELS];
    const char *note; // why there is no cubin, or NULL
} builds;

// How far to go.
typedef enum { STOP_TIR, STOP_LLVM, STOP_PTX, STOP_CUBIN } build_stop;

// Builds every kernel of the unit for every machine asked for. Exit code; diagnostics are in u->d.
int build_all(unit *u, build_stop stop, builds *out);
// The module of what was built; exit code.
int build_module(unit *u, const builds *b, module_image *out);

// measured.c: where measured times lie beside the source (NULL: it is no .tk); the file if
// one is read, or NULL; and what it says of what was built as text of section TUNE, NULL:
// nothing. Exit code.
const char *measured_beside(const unit *u);
const char *measured_path(const unit *u);
int measured_read(unit *u, const builds *b, const char **tune);

// Writes a file whole, or to standard output for "-"; exit code.
int write_out(unit *u, const char *path, const void *bytes, size_t len);
// The C files that 'emit' names (EMIT_AHEAD); exit code.
int emit_ahead(unit *u, const builds *b, int emit);

double now_seconds(void);
// A mistake of ours: prints the pass and leaves a folder to reproduce it. Returns EXIT_INTERNAL.
int internal_error(unit *u, const char *pass, const char *what, const built *b);
bool read_whole(const char *path, arena *mem, char **text, size_t *len, const char **why);

// The commands.
int command_compile(const options *opt);
int command_run(const options *opt);
int command_tune(const options *opt);
int command_explain(const options *opt);
int command_check(const options *opt);
int command_fmt(const options *opt);
int command_verify(const options *opt);

#endif
