// ptxas as a child process: PTX text in, cubin and numbers out.
//
// The text goes through a private temporary directory that is removed on every way out. A cubin
// records the options but no file name, so equal PTX gives equal bytes as long as the options stay
// the same: they are a constant here. 'ptxas -v' tells registers, stack and spills; some of its
// advisories mean that the machine code ignores what the kernel says, and those fail the build.
#include "artefact.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Advisories of ptxas 13.0 that change the meaning or the speed of the code silently.
static const struct {
    const char *code, *meaning;
} fatal_messages[] = {
    {"(C7504)", "'setmaxnreg' is ignored because of an unknown external function"},
    {"(C7506)", "'setmaxnreg' is ignored because the kernel calls a helper function"},
    {"(C7508)", "'setmaxnreg' is ignored because the registers at entry are unknown"},
    {"(C7510)", "matrix instructions are serialised by a function call"},
    {"(C7514)", "matrix instructions are serialised: accumulators are touched before the wait"},
    {"(C7517)", "a warpgroup.wait was injected"},
    {"(C7519)", "a warpgroup.arrive was injected"},
    {"substantially reduced performance", "an instruction is emulated on this target"},
};

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static const char *find_in(const char *dir, size_t len, const char *rest, arena *mem) {
    if (len == 0) {
        return NULL;
    }
    const char *path = arena_printf(mem, "%.*s%s/ptxas", (int)len, dir, rest);
    return is_program(path) ? path : NULL;
}

static const char *find_in_path(arena *mem) {
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        const char *hit = find_in(path, len, "", mem);
        if (hit) {
            return hit;
        }
        path += len + (path[len] == ':');
    }
    return NULL;
}

const char *ptxas_find(arena *mem) {
    const char *named = getenv("FP4_PTXAS");
    if (named && *named) {
        return named;
    }
    const char *hit = find_in_path(mem);
    static const char *const homes[] = {"CUDA_HOME", "CUDA_PATH"};
    for (size_t i = 0; !hit && i < sizeof homes / sizeof homes[0]; i++) {
        const char *home = getenv(homes[i]);
        hit = home ? find_in(home, strlen(home), "/bin", mem) : NULL;
    }
#ifdef FP4_PTXAS_FOUND
    if (!hit && is_program(FP4_PTXAS_FOUND)) {
        hit = FP4_PTXAS_FOUND;
    }
#endif
    return hit;
}

static bool write_whole(const char *path, const void *bytes, size_t len) {
    FILE *f = fopen(path, "wb");
    if (!f) {
        return false;
    }
    bool ok = fwrite(bytes, 1, len, f) == len;
    return (fclose(f) == 0) && ok;
}

// NULL if the file cannot be read. The bytes are followed by a 0.
static char *read_whole(const char *path, size_t *len, arena *mem) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        return NULL;
    }
    char *bytes = NULL;
    struct stat st;
    if (fstat(fileno(f), &st) == 0) {
        bytes = arena_alloc(mem, (size_t)st.st_size + 1);
        *len = fread(bytes, 1, (size_t)st.st_size, f);
        bytes[*len] = 0;
    }
    fclose(f);
    return bytes;
}

typedef struct {
    char *dir, *ptx, *cubin, *log;
} scratch;

static bool scratch_open(scratch *s, arena *mem) {
    const char *tmp = getenv("TMPDIR");
    s->dir = arena_printf(mem, "%s/fp4c-XXXXXX", tmp && *tmp ? tmp : P_tmpdir);
    if (!mkdtemp(s->dir)) {
        return false;
    }
    s->ptx = arena_printf(mem, "%s/kernel.ptx", s->dir);
    s->cubin = arena_printf(mem, "%s/kernel.cubin", s->dir);
    s->log = arena_printf(mem, "%s/log", s->dir);
    return true;
}

static void scratch_close(const scratch *s) {
    unlink(s->ptx);
    unlink(s->cubin);
    unlink(s->log);
    rmdir(s->dir);
}

// Runs the program with both outputs in the log; its wait status, or -1 with errno.
static int run_child(const char *program, const char *arch, const scratch *s, arena *mem) {
    char *argv[] = {
        (char *)"ptxas", (char *)"-v", arena_printf(mem, "-arch=%s", arch), s->ptx, (char *)"-o",
        s->cubin,        NULL};
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, s->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&fa, 1, 2);
    pid_t pid = 0;
    int err = posix_spawn(&pid, program, &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    if (err) {
        errno = err;
        return -1;
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return status;
}

// The text after "label" in the log from 'from', up to the end of the line; NULL if it is not
// there.
static const char *after(const char *from, const char *label) {
    const char *at = from ? strstr(from, label) : NULL;
    return at ? at + strlen(label) : NULL;
}

// The number that stands before 'word' in the line at 'line'; -1 if there is none.
static int number_before(const char *line, const char *word) {
    const char *end = line ? strchr(line, '\n') : NULL;
    const char *at = line ? strstr(line, word) : NULL;
    if (!at || (end && at > end)) {
        return -1;
    }
    const char *p = at;
    while (p > line && p[-1] == ' ') {
        p--;
    }
    while (p > line && isdigit((unsigned char)p[-1])) {
        p--;
    }
    return isdigit((unsigned char)*p) ? atoi(p) : -1;
}

// First line of the log that holds 'needle', without "ptxas " and blanks.
static const char *line_with(const char *log, const char *needle, arena *mem) {
    const char *at = strstr(log, needle);
    const char *start = at;
    while (start > log && start[-1] != '\n') {
        start--;
    }
    return arena_strndup(mem, start, strcspn(start, "\n"));
}

static const char *check_messages(const char *log, arena *mem) {
    for (size_t i = 0; i < sizeof fatal_messages / sizeof fatal_messages[0]; i++) {
        if (strstr(log, fatal_messages[i].code)) {
            return arena_printf(mem, "%s; ptxas says: %s", fatal_messages[i].meaning,
                                line_with(log, fatal_messages[i].code, mem));
        }
    }
    return NULL;
}

const char *ptxas_read_log(const ptxas_job *job, ptxas_result *out, arena *mem) {
    const char *bad = check_messages(out->log, mem);
    if (bad) {
        return bad;
    }
    const char *label = arena_printf(mem, "Function properties for %s\n", job->entry);
    const char *props = after(out->log, label);
    const char *used = after(props, "Used ");
    if (!used) {
        return arena_printf(mem, "ptxas -v said nothing about '%s': %s", job->entry, out->log);
    }
    out->stack = number_before(props, "bytes stack frame");
    out->spill_stores = number_before(props, "bytes spill stores");
    out->spill_loads = number_before(props, "bytes spill loads");
    out->regs = number_before(used, "registers");
    out->barriers = number_before(used, "barriers");
    out->barriers = out->barriers < 0 ? 0 : out->barriers;
    if (out->stack < 0 || out->spill_stores < 0 || out->spill_loads < 0 || out->regs < 0) {
        return arena_printf(mem, "the numbers of ptxas -v could not be read: %s", out->log);
    }
    if (!job->allow_spills && (out->stack || out->spill_stores || out->spill_loads)) {
        return arena_printf(mem,
                            "'%s' needs local memory: %d bytes of stack, %d of spill stores, %d of "
                            "spill loads with %d registers",
                            job->entry, out->stack, out->spill_stores, out->spill_loads, out->regs);
    }
    return NULL;
}

static const char *collect(const ptxas_job *job, int status, const scratch *s, ptxas_result *out,
                           arena *mem) {
    size_t len = 0;
    out->log = read_whole(s->log, &len, mem);
    out->log = out->log ? out->log : "";
    if (!WIFEXITED(status)) {
        return arena_printf(mem, "ptxas was ended by signal %d", WTERMSIG(status));
    }
    if (WEXITSTATUS(status) != 0) {
        out->short_of = number_before(strstr(out->log, "Insufficient registers ("), ") to compile");
        return arena_printf(mem, "ptxas refuses the code of '%s' (exit %d): %s", job->entry,
                            WEXITSTATUS(status), out->log);
    }
    const char *bad = ptxas_read_log(job, out, mem);
    if (bad) {
        return bad;
    }
    out->cubin = read_whole(s->cubin, &out->cubin_len, mem);
    return out->cubin ? NULL : "ptxas wrote no cubin";
}

const char *ptxas_run(const ptxas_job *job, ptxas_result *out, arena *mem) {
    *out = (ptxas_result){.log = ""};
    const char *program = job->program ? job->program : ptxas_find(mem);
    if (!program) {
        return "ptxas was not found: set FP4_PTXAS, CUDA_HOME or PATH (CUDA 13.0 toolkit)";
    }
    scratch s;
    if (!scratch_open(&s, mem)) {
        return arena_printf(mem, "no temporary directory '%s': %s", s.dir, strerror(errno));
    }
    const char *bad = NULL;
    if (!write_whole(s.ptx, job->ptx, job->ptx_len)) {
        bad = arena_printf(mem, "'%s' could not be written: %s", s.ptx, strerror(errno));
    } else {
        int status = run_child(program, job->arch, &s, mem);
        bad = status < 0 ? arena_printf(mem, "'%s' could not be run: %s", program, strerror(errno))
                         : collect(job, status, &s, out, mem);
    }
    scratch_close(&s);
    return bad;
}
