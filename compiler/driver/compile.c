// fp4c FILE -arch A: writes the module or what --emit asks for. Nothing is written before everything
// was made; every file is written whole or not at all.
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// "dir/gemm.tk" -> "gemm"
const char *unit_stem(const unit *u) {
    const char *slash = strrchr(u->opt->file, '/');
    const char *name = slash != NULL ? slash + 1 : u->opt->file;
    if (strcmp(name, "-") == 0) {
        return "out";
    }
    const char *dot = strrchr(name, '.');
    return arena_strndup(u->mem, name, dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name));
}

int write_out(unit *u, const char *path, const void *bytes, size_t len) {
    if (strcmp(path, "-") == 0) {
        fwrite(bytes, 1, len, stdout);
        return EXIT_DONE;
    }
    const char *wrong = module_write(path, bytes, len, u->mem);
    if (wrong != NULL) {
        fprintf(stderr, "fp4c: %s\n", wrong);
        return EXIT_MISTAKE;
    }
    if (u->n_written < (int)(sizeof u->written / sizeof u->written[0])) {
        u->written[u->n_written++] = path;
    }
    return EXIT_DONE;
}

// The path of one artefact. Several of a kind bear kernel and target in their names.
static const char *path_of(unit *u, const builds *b, const built *one, const char *ext, bool alone) {
    if (u->opt->output != NULL && alone) {
        return u->opt->output;
    }
    if (one == NULL || b->n == 1) {
        return arena_printf(u->mem, "%s.%s", unit_stem(u), ext);
    }
    return arena_printf(u->mem, "%s.%s.%s.%s", unit_stem(u), one->tir->name, arch_infos[one->tir->arch].name,
                        ext);
}

static int emit_code(unit *u, const builds *b, emit_kind kind, const char *ext, bool alone) {
    for (int i = 0; i < b->n; i++) {
        const built *k = &b->at[i];
        const void *bytes = kind == EMIT_PTX ? k->code.ptx : kind == EMIT_LLVM ? k->code.ir : k->report.cubin;
        size_t len = kind == EMIT_PTX    ? k->code.ptx_len
                     : kind == EMIT_LLVM ? k->code.ir_len
                                         : k->report.cubin_len;
        if (kind == EMIT_CUBIN && !k->assembled) {
            fprintf(stderr, "fp4c: a cubin needs ptxas (CUDA 13.0): set FP4_PTXAS, CUDA_HOME or PATH\n");
            return EXIT_MISTAKE;
        }
        int code = write_out(u, path_of(u, b, k, ext, alone), bytes, len);
        if (code != EXIT_DONE) {
            return code;
        }
    }
    return EXIT_DONE;
}

// Text that all kernels share one file of.
static int emit_text(unit *u, const builds *b, emit_kind kind, const char *ext, bool alone) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (kind == EMIT_AST) {
        ast_dump(out, u->file);
    } else if (kind == EMIT_META) {
        fprintf(out, "{\"fp4c\": \"%s\", \"source\": ", FP4C_VERSION);
        diag_json_string(out, unit_stem(u));
        fprintf(out, ", \"kernels\": [\n");
        for (int i = 0; i < b->n; i++) {
            fprintf(out, "%s%s\n", b->at[i].meta, i + 1 < b->n ? "," : "");
        }
        fprintf(out, "]}\n");
    } else {
        for (int i = 0; i < b->n; i++) {
            tir_print(out, b->at[i].tir);
        }
    }
    fclose(out);
    int code = write_out(u, path_of(u, b, NULL, ext, alone), text, len);
    free(text);
    return code;
}

static int emit_module(unit *u, const builds *b, bool alone) {
    module_image image;
    int code = build_module(u, b, &image);
    return code != EXIT_DONE ? code
                             : write_out(u, path_of(u, b, NULL, "tkm", alone), image.bytes, image.len);
}

// A path as make and ninja read it.
static void put_path(FILE *out, const char *path) {
    for (; *path != '\0'; path++) {
        fputs(*path == ' ' ? "\\" : *path == '$' ? "$" : "", out);
        fputc(*path, out);
    }
}

// What was written (or -MT) depends on every file that was read.
static int emit_deps(unit *u) {
    const options *o = u->opt;
    if (!o->deps) {
        return EXIT_DONE;
    }
    if (u->n_written == 0 && (o->deps_of == NULL || o->deps_file == NULL)) {
        fprintf(stderr, "fp4c: -MD, but no file is written: -MF says where to, -MT what depends\n");
        return EXIT_MISTAKE;
    }
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (int i = 0; i < (o->deps_of != NULL ? 1 : u->n_written); i++) {
        fputs(i > 0 ? " " : "", out);
        put_path(out, o->deps_of != NULL ? o->deps_of : u->written[i]);
    }
    fputc(':', out);
    for (uint32_t i = 0; i < src_n_files(u->src); i++) {
        if (src_name(u->src, i)[0] != '<') { // <std.formats>: built in
            fputc(' ', out);
            put_path(out, src_name(u->src, i));
        }
    }
    if (measured_path(u) != NULL) {
        fputc(' ', out);
        put_path(out, measured_path(u));
    }
    fprintf(out, "\n");
    fclose(out);
    const char *path = o->deps_file != NULL ? o->deps_file : arena_printf(u->mem, "%s.d", u->written[0]);
    int code = write_out(u, path, text, len);
    free(text);
    return code;
}

static void print_kernels(const builds *b) {
    for (int i = 0; i < b->n; i++) {
        const built *k = &b->at[i];
        fprintf(stderr, "%s: %s: %d threads, %d bytes shared, %d TMEM columns", k->tir->name,
                arch_infos[k->tir->arch].name, k->tir->threads, k->tir->smem_bytes, k->tir->tmem_columns);
        if (k->assembled) {
            fprintf(stderr, "; ptxas: %d registers, %d bytes spilled, %d bytes stack", k->report.regs,
                    k->report.spill_stores + k->report.spill_loads, k->report.stack);
        }
        fprintf(stderr, "\n");
    }
}

static void print_times(const unit *u, const builds *b) {
    fprintf(stderr, "front end %8.1f ms\n", 1e3 * u->front_seconds);
    for (int i = 0; i < b->n; i++) {
        const built *k = &b->at[i];
        fprintf(stderr, "%s %s: plan %.1f ms, code %.1f ms, ptxas %.1f ms\n", k->tir->name,
                arch_infos[k->tir->arch].name, 1e3 * k->plan_seconds, 1e3 * k->code_seconds,
                1e3 * k->ptxas_seconds);
    }
}

static int emit_all(unit *u, const builds *b, int emit) {
    static const struct {
        emit_kind kind;
        const char *ext;
    } kinds[] = {{EMIT_AST, "ast"}, {EMIT_TIR, "tir"},     {EMIT_LLVM, "ll"},    {EMIT_PTX, "ptx"},
                 {EMIT_CUBIN, "cubin"}, {EMIT_META, "json"}, {EMIT_MODULE, "tkm"}};
    int ahead = emit & EMIT_AHEAD;
    if (ahead == emit) {
        int code = emit_ahead(u, b, emit);
        return code == EXIT_DONE ? emit_deps(u) : code;
    }
    bool one_kind = (emit & (emit - 1)) == 0;
    int per_kernel = EMIT_LLVM | EMIT_PTX | EMIT_CUBIN;
    bool alone = one_kind && ((emit & per_kernel) == 0 || b->n == 1 ||
                              (u->opt->output != NULL && strcmp(u->opt->output, "-") == 0));
    if (u->opt->output != NULL && !alone) {
        fprintf(stderr, "fp4c: -o names one file, but several are asked for: leave it out\n");
        return EXIT_MISTAKE;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((emit & kinds[i].kind) == 0) {
            continue;
        }
        int code = kinds[i].kind == EMIT_MODULE               ? emit_module(u, b, alone)
                   : (kinds[i].kind & per_kernel) != 0        ? emit_code(u, b, kinds[i].kind, kinds[i].ext, alone)
                                                              : emit_text(u, b, kinds[i].kind, kinds[i].ext, alone);
        if (code != EXIT_DONE) {
            return code;
        }
    }
    if (ahead != 0) {
        int code = emit_ahead(u, b, ahead);
        if (code != EXIT_DONE) {
            return code;
        }
    }
    return emit_deps(u);
}

static build_stop stop_for(int emit) {
    if (emit & (EMIT_MODULE | EMIT_CUBIN | EMIT_META | EMIT_AHEAD)) {
        return STOP_CUBIN;
    }
    return emit & EMIT_PTX ? STOP_PTX : emit & EMIT_LLVM ? STOP_LLVM : STOP_TIR;
}

int command_compile(const options *opt) {
    unit u;
    if (!unit_open(&u, opt)) {
        unit_close(&u);
        return EXIT_MISTAKE;
    }
    int emit = opt->emit != 0 ? opt->emit : EMIT_MODULE;
    builds b = {0};
    int code = u.file == NULL || u.checked ? build_all(&u, stop_for(emit), &b) : EXIT_MISTAKE;
    int reported = unit_report(&u);
    code = reported > code ? reported : code;
    if (code == EXIT_DONE && u.file == NULL && (emit & EMIT_AST)) {
        fprintf(stderr, "fp4c: a .tir has no tree to print\n");
        code = EXIT_MISTAKE;
    }
    if (code == EXIT_DONE) {
        code = emit_all(&u, &b, emit);
    }
    if (code == EXIT_DONE && b.note != NULL) {
        fprintf(stderr, "fp4c: note: %s\n", b.note);
    }
    if (code == EXIT_DONE && opt->verbose) {
        print_kernels(&b);
    }
    if (code == EXIT_DONE && opt->times) {
        print_times(&u, &b);
    }
    unit_close(&u);
    return code;
}
