// fp4_module_compile: from the text of a program to a module, by fp4c or from the cache.
//
//   read     the source, the options, the environment
//   find     fp4c and ptxas, whose size and time stand for their versions
//   look up  the key in the cache: a module that loads is the answer
//   build    fp4c as a child, in a folder of its own; load; publish the folder
#define _GNU_SOURCE // dladdr
#include "cache.h"
#include "fp4rt_compile.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LIST = 256 };

typedef struct {
    fp4_ctx *ctx;
    rt_pool pool;
    fp4_compile_options how;
    const char *path; // as the caller gave it
    bool given_text;
    rt_text source;
    const char *arch;
    const char *compiler;
    rt_cache cache;
} job;

// ---- what there is ------------------------------------------------------------------------------

static fp4_status check_list(const char *what, const char *const *list, int32_t n) {
    if (n < 0 || n > MAX_LIST || (n > 0 && !list)) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_compile(): %d %s", (int)n, what);
    }
    for (int32_t i = 0; i < n; i++) {
        if (!list[i] || strchr(list[i], '\n')) {
            return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_compile(): entry %d of the %s is %s",
                           (int)i, what, list[i] ? "of several lines" : "NULL");
        }
    }
    return FP4_OK;
}

static fp4_status read_options(job *j, const fp4_compile_options *options) {
    j->how = (fp4_compile_options)FP4_COMPILE_OPTIONS_INIT;
    fp4_status status = FP4_OK;
    if (options) {
        status = rt_check_size("fp4_compile_options", options->size, sizeof j->how, sizeof j->how);
    }
    if (status == FP4_OK && options) {
        j->how = *options;
        status = check_list("defines", j->how.defines, j->how.n_defines);
    }
    if (status == FP4_OK) {
        status = check_list("includes", j->how.includes, j->how.n_includes);
    }
    const rt_properties *device = &j->ctx->properties;
    j->arch = j->how.arch ? j->how.arch : device->runs_any_arch ? "sm_100a" : device->arch;
    if (status == FP4_OK && j->arch[strspn(j->arch, "abcdefghijklmnopqrstuvwxyz_0123456789,")]) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_compile(): '%.60s' is no target", j->arch);
    }
    return status;
}

static fp4_status read_source(job *j, const char *text) {
    fp4_status status = FP4_OK;
    if (text) {
        j->source.n = strlen(text);
        j->source.bytes = rt_pool_text(&j->pool, text, j->source.n);
        return j->source.bytes ? FP4_OK : FP4_ERROR_MEMORY;
    }
    if (!rt_read_file(&j->pool, AT_FDCWD, j->path, &j->source, &status) && status == FP4_OK) {
        return rt_fail(FP4_ERROR_FILE, "%s: cannot be read: %s", j->path, strerror(errno));
    }
    return status;
}

static bool can_run(const char *path) {
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

// A program on the PATH; NULL: none, or out of memory.
static const char *on_path(rt_pool *pool, const char *name) {
    const char *list = getenv("PATH");
    while (list && *list) {
        size_t n = strcspn(list, ":");
        const char *path = rt_pool_printf(pool, "%.*s/%s", (int)n, list, name);
        if (n > 0 && can_run(path)) {
            return path;
        }
        list += n + (list[n] == ':');
    }
    return NULL;
}

// fp4c as it lies in an installation or a build: beside this library, or in bin/ above it.
static const char *beside_library(rt_pool *pool) {
    static const char *const places[] = {"", "../bin/", "../../bin/"};
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)fp4_module_compile, &info) || !info.dli_fname) {
        return NULL;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    int n = slash ? (int)(slash + 1 - info.dli_fname) : 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *path = rt_pool_printf(pool, "%.*s%sfp4c", n, info.dli_fname, places[i]);
        if (can_run(path)) {
            return path;
        }
    }
    return NULL;
}

static fp4_status find_compiler(job *j) {
    const char *named = j->how.compiler ? j->how.compiler : getenv("FP4C");
    if (named && *named) {
        j->compiler = strchr(named, '/') ? named : on_path(&j->pool, named);
        if (!can_run(j->compiler)) {
            return rt_fail(FP4_ERROR_UNAVAILABLE, "there is no compiler '%.200s' (named by %s)",
                           named, j->how.compiler ? "the options" : "FP4C");
        }
        return FP4_OK;
    }
    j->compiler = beside_library(&j->pool);
    j->compiler = j->compiler ? j->compiler : on_path(&j->pool, "fp4c");
    return j->compiler
               ? FP4_OK
               : rt_fail(FP4_ERROR_UNAVAILABLE,
                         "fp4c was not found: beside libfp4rt, in its ../bin, on the PATH; name it "
                         "by FP4C or in the options");
}

// ptxas as fp4c looks for it; NULL: none.
static const char *find_ptxas(job *j) {
    const char *named = getenv("FP4_PTXAS");
    if (named && *named) {
        return named;
    }
    const char *found = on_path(&j->pool, "ptxas");
    static const char *const homes[] = {"CUDA_HOME", "CUDA_PATH"};
    for (size_t i = 0; i < 2 && !found; i++) {
        const char *home = getenv(homes[i]);
        const char *path = home ? rt_pool_printf(&j->pool, "%s/bin/ptxas", home) : NULL;
        found = can_run(path) ? path : NULL;
    }
    return found;
}

// ---- the key ------------------------------------------------------------------------------------

// "name path bytes time": another version of the program is another line.
static void put_program(FILE *out, const char *name, const char *path) {
    struct stat st = {0};
    if (!path || stat(path, &st) != 0) {
        fprintf(out, "%s none\n", name);
        return;
    }
    fprintf(out, "%s %s %lld %lld.%09ld\n", name, path, (long long)st.st_size,
            (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void put_key(FILE *out, job *j, const char *place) {
    fprintf(out, "fp4 module 1\nlibrary %d\n", FP4RT_VERSION);
    put_program(out, "compiler", j->compiler);
    put_program(out, "ptxas", find_ptxas(j));
    fprintf(out, "arch %s\n", j->arch);
    for (int32_t i = 0; i < j->how.n_defines; i++) {
        fprintf(out, "define %s\n", j->how.defines[i]);
    }
    for (int32_t i = 0; i < j->how.n_includes; i++) {
        fprintf(out, "include %s\n", j->how.includes[i]);
    }
    fprintf(out, "%s %s\nsource %zu\n", j->given_text ? "name" : "path", place, j->source.n);
    fwrite(j->source.bytes, 1, j->source.n, out);
}

static fp4_status make_key(job *j) {
    char *place = j->given_text ? NULL : realpath(j->path, NULL);
    char *bytes = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&bytes, &n);
    if (out) {
        put_key(out, j, place ? place : j->path);
        fclose(out);
    }
    free(place);
    j->cache.key.n = n;
    j->cache.key.bytes = bytes ? rt_pool_text(&j->pool, bytes, n) : NULL;
    free(bytes);
    return j->cache.key.bytes ? FP4_OK : rt_fail(FP4_ERROR_MEMORY, "out of host memory");
}

static const char *cache_folder(job *j) {
    const char *folder = j->how.cache ? j->how.cache : getenv("FP4_CACHE");
    if (folder) {
        return *folder ? folder : NULL;
    }
    const char *xdg = getenv("XDG_CACHE_HOME");
    if (xdg && *xdg == '/') { // the specification ignores relative ones
        return rt_pool_printf(&j->pool, "%s/fp4", xdg);
    }
    const char *home = getenv("HOME");
    return home && *home ? rt_pool_printf(&j->pool, "%s/.cache/fp4", home) : NULL;
}

// ---- building -----------------------------------------------------------------------------------

// The name that a text is compiled under: the last part of the caller's, if it can be a file.
static const char *file_name(const job *j) {
    const char *slash = strrchr(j->path, '/');
    const char *name = slash ? slash + 1 : j->path;
    bool plain = *name && *name != '-' && *name != '.' && strlen(name) < 200;
    return plain && strcmp(name, "module.tkm") != 0 && strcmp(name, "deps") != 0 ? name
                                                                                 : "program.tk";
}

static fp4_status run_compiler(job *j, const char *folder, const char *source) {
    int32_t n = j->how.n_defines + j->how.n_includes;
    const char **argv = rt_pool_new(&j->pool, ((size_t)n + 12) * sizeof *argv);
    char *module = rt_pool_printf(&j->pool, "%s/module.tkm", folder);
    char *deps = rt_pool_printf(&j->pool, "%s/deps", folder);
    if (!argv || !module || !deps) {
        return FP4_ERROR_MEMORY;
    }
    int at = 0;
    const char *const fixed[] = {j->compiler, source, "-arch", j->arch, "-o",
                                 module,      "-MD",  "-MF",   deps};
    memcpy(argv, fixed, sizeof fixed);
    at += (int)(sizeof fixed / sizeof fixed[0]);
    for (int32_t i = 0; i < j->how.n_defines; i++) {
        argv[at++] = rt_pool_printf(&j->pool, "-D%s", j->how.defines[i]);
    }
    for (int32_t i = 0; i < j->how.n_includes; i++) {
        argv[at++] = rt_pool_printf(&j->pool, "-I%s", j->how.includes[i]);
    }
    for (int i = 0; i < at; i++) {
        if (!argv[i]) {
            return FP4_ERROR_MEMORY;
        }
    }
    rt_child child;
    fp4_status status = rt_spawn(argv, &child);
    if (status == FP4_OK && child.signal != 0) {
        return rt_fail(FP4_ERROR_MODULE, "%s: fp4c was ended by signal %d", j->path, child.signal);
    }
    if (status == FP4_OK && child.code != 0) {
        // Places of a text given in memory are told without the folder that it lay in.
        size_t in_folder = strlen(folder) + 1;
        bool inside = strncmp(child.said, folder, in_folder - 1) == 0;
        return rt_fail(FP4_ERROR_MODULE, "%s",
                       !child.said[0]
                           ? rt_pool_printf(&j->pool,
                                            "%s: fp4c failed with exit code %d and no word",
                                            j->path, child.code)
                       : inside ? child.said + in_folder
                                : child.said);
    }
    return status;
}

// The next file of a dependency list as make reads it: spaces and '$' are escaped. Writes it to
// 'path'.
static const char *next_file(const char *p, char *path) {
    while (*p == ' ' || *p == '\n' || (*p == '\\' && p[1] == '\n')) {
        p++;
    }
    while (*p && *p != ' ' && *p != '\n') {
        p += (*p == '\\' && p[1] == ' ') || (*p == '$' && p[1] == '$');
        *path++ = *p++;
    }
    *path = 0;
    return p;
}

static fp4_status put_dep(job *j, FILE *out, const char *path, bool *same) {
    fp4_status status = FP4_OK;
    rt_text text;
    if (!rt_read_file(&j->pool, AT_FDCWD, path, &text, &status)) {
        *same = false;
        return status;
    }
    if (strcmp(path, j->path) == 0) {
        *same &= text.n == j->source.n && memcmp(text.bytes, j->source.bytes, text.n) == 0;
    }
    char *full = realpath(path, NULL); // another process may stand elsewhere
    fprintf(out, "%016" PRIx64 " %zu %s\n",
            rt_hash(UINT64_C(0xcbf29ce484222325), text.bytes, text.n), text.n, full ? full : path);
    free(full);
    return FP4_OK;
}

// Turns fp4c's list of files into the entry's, with what they hold. *same: the source did not
// change since it was read.
static fp4_status write_deps(job *j, const char *folder, bool *same) {
    *same = true;
    char *where = rt_pool_printf(&j->pool, "%s/deps", folder);
    rt_text list;
    fp4_status status = where ? FP4_OK : FP4_ERROR_MEMORY;
    if (status != FP4_OK || !rt_read_file(&j->pool, AT_FDCWD, where, &list, &status)) {
        return status != FP4_OK
                   ? status
                   : rt_fail(FP4_ERROR_MODULE, "%s: fp4c left no list of files", j->path);
    }
    char *path = rt_pool_new(&j->pool, list.n + 1);
    char *bytes = NULL;
    size_t n = 0;
    FILE *out = path ? open_memstream(&bytes, &n) : NULL;
    if (!out) {
        return rt_fail(FP4_ERROR_MEMORY, "out of host memory");
    }
    const char *colon = strstr(list.bytes, ": "); // behind the target
    const char *p = colon ? colon + 1 : "";
    size_t in_folder = strlen(folder);
    for (p = next_file(p, path); *path && status == FP4_OK; p = next_file(p, path)) {
        if (strncmp(path, folder, in_folder) != 0 || path[in_folder] != '/') {
            status = put_dep(j, out, path, same);
        }
    }
    fclose(out);
    if (status == FP4_OK && !rt_write_file(where, bytes, n)) {
        status = rt_fail(FP4_ERROR_FILE, "%s: cannot be written: %s", where, strerror(errno));
    }
    free(bytes);
    return status;
}

static fp4_status load_built(job *j, const char *folder, fp4_module **out) {
    char *where = rt_pool_printf(&j->pool, "%s/module.tkm", folder);
    rt_text module;
    fp4_status status = where ? FP4_OK : FP4_ERROR_MEMORY;
    if (status != FP4_OK || !rt_read_file(&j->pool, AT_FDCWD, where, &module, &status)) {
        return status != FP4_OK ? status
                                : rt_fail(FP4_ERROR_MODULE, "%s: fp4c wrote no module", j->path);
    }
    status = fp4_module_load_memory(j->ctx, module.bytes, module.n, out);
    return status == FP4_OK ? status : rt_prefix(status, "%s: what fp4c wrote: ", j->path);
}

static fp4_status build(job *j, fp4_module **out) {
    const char *folder;
    bool in_cache;
    bool same = true;
    fp4_status status = rt_cache_build_in(&j->cache, &folder, &in_cache);
    if (status != FP4_OK) {
        return status;
    }
    const char *source = j->path;
    if (j->given_text) {
        source = rt_pool_printf(&j->pool, "%s/%s", folder, file_name(j));
        if (!source) {
            status = FP4_ERROR_MEMORY;
        } else if (!rt_write_file(source, j->source.bytes, j->source.n)) {
            status = rt_fail(FP4_ERROR_FILE, "%s: cannot be written: %s", source, strerror(errno));
        }
    } else if (*source == '-') { // no option
        source = rt_pool_printf(&j->pool, "./%s", j->path);
        j->path = source ? source : j->path;
        status = source ? FP4_OK : FP4_ERROR_MEMORY;
    }
    if (status == FP4_OK) {
        status = run_compiler(j, folder, source);
    }
    if (status == FP4_OK) {
        status = load_built(j, folder, out);
    }
    if (status == FP4_OK && in_cache) {
        status = write_deps(j, folder, &same);
    }
    if (status == FP4_OK && in_cache && same) {
        rt_cache_publish(&j->cache, folder);
    } else {
        rt_remove_folder(folder);
    }
    if (status != FP4_OK) {
        fp4_module_free(*out);
        *out = NULL;
    }
    return status;
}

static fp4_status find_or_build(job *j, fp4_module **out) {
    rt_text module;
    fp4_status status = rt_cache_open(&j->cache, cache_folder(j));
    if (status == FP4_OK) {
        status = rt_cache_find(&j->cache, &module);
    }
    if (status == FP4_OK && module.bytes) {
        status = fp4_module_load_memory(j->ctx, module.bytes, module.n, out);
        if (status != FP4_ERROR_MODULE) {
            return status;
        }
        rt_log(j->ctx, FP4_LOG_WARN, "%s: built again: %s", j->cache.entry, fp4_last_error());
        status = FP4_OK;
    }
    return status == FP4_OK ? build(j, out) : status;
}

fp4_status fp4_module_compile(fp4_ctx *ctx, const char *path, const char *text,
                              const fp4_compile_options *options, fp4_module **out) {
    if (!ctx || !path || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_module_compile(): NULL argument");
    }
    *out = NULL;
    job j = {.ctx = ctx, .path = path, .given_text = text != NULL};
    rt_pool_init(&j.pool, &ctx->heap);
    j.cache.pool = &j.pool;
    j.cache.ctx = ctx;
    fp4_status status = read_options(&j, options);
    if (status == FP4_OK) {
        status = read_source(&j, text);
    }
    if (status == FP4_OK) {
        status = find_compiler(&j);
    }
    if (status == FP4_OK) {
        status = make_key(&j);
    }
    if (status == FP4_OK) {
        status = find_or_build(&j, out);
    }
    rt_pool_free(&j.pool);
    return status;
}
