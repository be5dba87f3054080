// From a checked unit to code: plan, LLVM, ptxas, metadata, module.
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void dump(unit *u, const built *b, const char *ext, const char *text, size_t len) {
    if (u->opt->dump_dir == NULL) {
        return;
    }
    mkdir(u->opt->dump_dir, 0777);
    const char *path = arena_printf(u->mem, "%s/%s.%s.%s", u->opt->dump_dir, b->tir->name,
                                    arch_infos[b->tir->arch].name, ext);
    const char *wrong = module_write(path, text, len, u->mem);
    if (wrong != NULL) {
        fprintf(stderr, "fp4c: %s\n", wrong);
    }
}

static char *tir_text(const tir_kernel *k, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    tir_print(out, k);
    fclose(out);
    return text;
}

static ast_span place_of(const built *b) {
    return b->sched != NULL ? b->sched->head_span : b->ast != NULL ? b->ast->name_span : (ast_span){0};
}

static int generate(unit *u, built *b, build_stop stop) {
    const char *wrong = tir_verify(b->tir, u->mem);
    if (wrong != NULL) {
        if (u->file == NULL) { // the author of a .tir made the mistake
            fprintf(stderr, "%s: error: %s\n", u->opt->file, wrong);
            return EXIT_MISTAKE;
        }
        return internal_error(u, "plan", wrong, b);
    }
    size_t len = 0;
    char *text = tir_text(b->tir, &len);
    dump(u, b, "20-roles.tir", text, len);
    free(text);
    if (stop == STOP_TIR) {
        return EXIT_DONE;
    }
    double start = now_seconds();
    cg_options opt = {.emit_ir = u->opt->dump_dir != NULL || (u->opt->emit & EMIT_LLVM) != 0,
                      .no_ptx = stop == STOP_LLVM};
    wrong = cg_compile(b->tir, &opt, u->mem, &b->code);
    b->code_seconds = now_seconds() - start;
    if (wrong != NULL && b->code.code == NULL) {
        return internal_error(u, "codegen", wrong, b);
    }
    if (wrong != NULL) {
        diag_report(u->d, DIAG_ERROR, b->code.code, place_of(b), "%s: %s", arch_infos[b->tir->arch].name, wrong);
        return EXIT_MISTAKE;
    }
    if (b->code.ir != NULL) {
        dump(u, b, "90-scalar.ll", b->code.ir, b->code.ir_len);
    }
    if (b->code.ptx != NULL) {
        dump(u, b, "95-kernel.ptx", b->code.ptx, b->code.ptx_len);
    }
    return EXIT_DONE;
}

// Whether all warps of a role that takes tiles by turns could hold one: of wgmma's, each 16 rows.
static bool can_share(const tir_kernel *k, int role) {
    bool whole = true;
    for (int i = 0; i < k->n_accs; i++) {
        bool own = k->accs[i].role == role && arch_infos[k->arch].family == MMA_WGMMA;
        whole = whole && (!own || k->accs[i].rows % (16 * k->roles[role].n_warps) == 0);
    }
    return whole;
}

// What a schedule asks too much of registers is its author's to mend.
static bool spills(unit *u, const built *b) {
    const ptxas_result *r = &b->report;
    const char *arch = arch_infos[b->tir->arch].name;
    if (r->short_of > 0) {
        diag_report(u->d, DIAG_ERROR, "R203", place_of(b),
                    "an instruction of '%s' needs more registers on %s than the %d of each thread at launch",
                    b->tir->name, arch, r->short_of);
    } else if (r->stack > 0 || r->spill_stores > 0 || r->spill_loads > 0) {
        diag_report(u->d, DIAG_ERROR, "R203", place_of(b),
                    "'%s' needs local memory on %s: %d bytes of stack, %d of spill stores, %d of spill loads",
                    b->tir->name, arch, r->stack, r->spill_stores, r->spill_loads);
    } else {
        return false;
    }
    const tir_role *by_turns = NULL;
    for (int i = 0; i < b->tir->n_roles; i++) {
        const tir_role *role = &b->tir->roles[i];
        int sums = tir_sum_registers(b->tir, i);
        diag_because(u->d, "role %s: %d warp%s, %d registers a thread%s", role->name, role->n_warps,
                     role->n_warps == 1 ? "" : "s", role->regs,
                     sums > 0 ? arena_printf(u->mem, ", %d of them sums", sums) : "");
        by_turns = sums > 0 && role->turns > 1 && can_share(b->tir, i) ? role : by_turns;
    }
    diag_help(u->d, "more registers for the role that is short of them, or a smaller tile");
    if (by_turns != NULL) {
        diag_help(u->d, "or 'role %s : %d warps ...' without 'pingpong %d': its warps share each tile",
                  by_turns->name, by_turns->n_warps, by_turns->turns);
    }
    return true;
}

static int assemble(unit *u, built *b, builds *all) {
    if (ptxas_find(u->mem) == NULL) {
        all->note = "ptxas was not found: the module holds PTX only, which the simulator and a driver's JIT take";
        return EXIT_DONE;
    }
    double start = now_seconds();
    ptxas_job job = {.arch = arch_infos[b->tir->arch].name,
                     .entry = b->tir->name,
                     .ptx = b->code.ptx,
                     .ptx_len = b->code.ptx_len,
                     .allow_spills = true};
    const char *wrong = ptxas_run(&job, &b->report, u->mem);
    b->ptxas_seconds = now_seconds() - start;
    if (wrong != NULL && b->report.short_of <= 0) {
        return internal_error(u, "ptxas", wrong, b);
    }
    b->assembled = wrong == NULL;
    return spills(u, b) ? EXIT_MISTAKE : EXIT_DONE;
}

static int make(unit *u, built b, build_stop stop, builds *out) {
    if (out->n == MAX_KERNELS) {
        fprintf(stderr, "fp4c: more than %d kernels in one module\n", MAX_KERNELS);
        return EXIT_MISTAKE;
    }
    int code = generate(u, &b, stop);
    if (code == EXIT_DONE && stop == STOP_CUBIN) {
        code = assemble(u, &b, out);
        const char *wrong = code == EXIT_DONE
                                ? meta_kernel(b.tir, b.assembled ? &b.report : NULL, u->mem, &b.meta)
                                : NULL;
        if (wrong != NULL) {
            code = internal_error(u, "meta", wrong, &b);
        }
    }
    out->at[out->n++] = b;
    return code;
}

static int make_schedule(unit *u, const plan_request *r, build_stop stop, builds *out) {
    built b = {.ast = r->kernel, .sched = r->sched};
    plan_request request = *r;
    request.d = u->d;
    double start = now_seconds();
    b.tir = plan_kernel(&request);
    b.plan_seconds = now_seconds() - start;
    if (b.tir != NULL && u->opt->cmd == CMD_RUN) {
        b.tir->when = NULL; // a matter of speed, like 'cost': a run tries every schedule at every size
    }
    return b.tir != NULL ? make(u, b, stop, out) : EXIT_MISTAKE;
}

// A variant of 'tune' that budgets refuse is left out; *good tells whether it was made. What only ptxas
// can tell is said, the rest by 'explain'.
static int make_variant(unit *u, const plan_request *r, build_stop stop, builds *out, bool *good) {
    int n = out->n;
    diag *kept = unit_try(u);
    int code = make_schedule(u, r, stop, out);
    bool planned = out->n > n;
    const char *why = unit_tried(u, kept);
    *good = code == EXIT_DONE;
    if (code != EXIT_MISTAKE || why == NULL) {
        return code;
    }
    if (planned) {
        diag_report(u->d, DIAG_WARNING, "W102", r->sched->head_span, "%s is left out: %s", r->sched->tuned, why);
    }
    out->n = n;
    return EXIT_DONE;
}

static int make_kernel(unit *u, const ast_kernel *k, tir_arch arch, build_stop stop, builds *out) {
    const ast_schedule *scheds[MAX_KERNELS] = {NULL};
    int n = plan_schedules(u->file, k, arch, scheds, MAX_KERNELS);
    int code = EXIT_DONE;
    bool any = false; // of the variants of one schedule
    for (int i = 0; i < (n > 0 ? n : 1); i++) { // without a schedule everything is derived
        plan_request r = {u->file, k, scheds[i], arch, u->src, u->d, u->mem};
        bool variant = scheds[i] != NULL && scheds[i]->of != NULL;
        bool good = true;
        int c = variant ? make_variant(u, &r, stop, out, &good) : make_schedule(u, &r, stop, out);
        any = any || good;
        code = c > code ? c : code;
        bool last = unit_last_variant(scheds, n, i);
        if (last && !any) { // all are illegal: what is wrong with the last one
            c = make_schedule(u, &r, stop, out);
            code = c > code ? c : code;
        }
        any = any && !last;
    }
    return code;
}

static int make_tir(unit *u, build_stop stop, builds *out) {
    size_t len = 0;
    const char *text = src_text(u->src, 0, &len);
    const char *why = NULL;
    built b = {.tir = tir_read(text, len, u->mem, &why)};
    if (b.tir == NULL) {
        fprintf(stderr, "%s: error: %s\n", u->opt->file, why);
        return EXIT_MISTAKE;
    }
    return make(u, b, stop, out);
}

int build_all(unit *u, build_stop stop, builds *out) {
    *out = (builds){0};
    if (u->file == NULL) {
        return make_tir(u, stop, out);
    }
    int code = EXIT_DONE;
    int found = 0;
    for (int a = 0; a < u->opt->n_archs; a++) {
        for (int i = 0; i < u->file->n_kernels; i++) {
            const ast_kernel *k = u->file->kernels[i];
            if (u->opt->kernel == NULL || strcmp(u->opt->kernel, k->name) == 0) {
                found++;
                int c = make_kernel(u, k, u->opt->archs[a], stop, out);
                code = c > code ? c : code;
            }
        }
    }
    if (found == 0 && u->opt->n_archs > 0) {
        fprintf(stderr, u->opt->kernel != NULL ? "fp4c: %s has no kernel '%s'\n" : "fp4c: %s has no kernel\n",
                u->opt->file, u->opt->kernel);
        code = EXIT_MISTAKE;
    }
    return code;
}

int build_module(unit *u, const builds *b, module_image *out) {
    module_kernel kernels[MAX_KERNELS];
    for (int i = 0; i < b->n; i++) {
        const built *k = &b->at[i];
        kernels[i] = (module_kernel){.meta = k->meta,
                                     .ptx = k->code.ptx,
                                     .ptx_len = k->code.ptx_len,
                                     .cubin = k->assembled ? k->report.cubin : NULL,
                                     .cubin_len = k->report.cubin_len};
    }
    const char *slash = strrchr(u->opt->file, '/');
    module_source source = {.name = slash != NULL ? slash + 1 : u->opt->file};
    int code = measured_read(u, b, &source.tune);
    if (code != EXIT_DONE) {
        return code;
    }
    const char *wrong = module_build(&source, kernels, b->n, u->mem, out);
    return wrong == NULL ? EXIT_DONE : internal_error(u, "module", wrong, NULL);
}
