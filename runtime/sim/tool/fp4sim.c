// fp4sim: runs a kernel given as PTX text on the simulated GPU, as a launch file says (fp4sim.md).
// Exit status: 0 the launches ended without a hazard of severity error, every expected buffer is equal,
// and with --gpu every buffer; 1 otherwise; 2 bad usage.
#include "job.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: fp4sim KERNEL.ptx --launch LAUNCH.json [options]\n"
    "       fp4sim KERNEL.ptx --list\n"
    "\n"
    "  --launch FILE    what to run: grid, buffers, parameters (see fp4sim.md)\n"
    "  --list           the kernels of the text and what they take\n"
    "  --policy P       eager, lazy or random: when asynchronous work takes effect\n"
    "  --seed N         of random\n"
    "  --sms N          multiprocessors of the simulated GPU (8)\n"
    "  --threads N      of this machine; the result does not depend on it (as many as processors)\n"
    "  --hazards H      off, practice, strict or manual: reports races and broken protocols\n"
    "  --log FILE       writes the scheduling decisions of a random run\n"
    "  --replay FILE    takes them from there\n"
    "  --out DIR        directory of saved buffers\n"
    "  --gpu            makes the launches on a GPU of this machine too and compares all buffers\n"
    "  --image FILE     what the GPU loads instead of the PTX: a cubin of the same kernels\n"
    "  --report FILE    the report as JSON; - is standard output\n"
    "  --quiet          no report as text\n";

static bool parse_number(const char *s, uint64_t *out) {
    char *end;
    *out = strtoull(s, &end, 0);
    return *s >= '0' && *s <= '9' && *end == '\0';
}

static bool set_option(struct options *o, const char *name, const char *value) {
    uint64_t n = 0;
    if (strcmp(name, "launch") == 0) {
        o->launch = value;
    } else if (strcmp(name, "report") == 0) {
        o->report = value;
    } else if (strcmp(name, "log") == 0) {
        o->log = value;
    } else if (strcmp(name, "replay") == 0) {
        o->replay = value;
    } else if (strcmp(name, "out") == 0) {
        o->out = value;
    } else if (strcmp(name, "image") == 0) {
        o->image = value;
    } else if (strcmp(name, "policy") == 0) {
        o->policy = strcmp(value, "eager") == 0    ? SIM_EAGER
                    : strcmp(value, "lazy") == 0   ? SIM_LAZY
                    : strcmp(value, "random") == 0 ? SIM_RANDOM
                                                   : -1;
        return o->policy >= 0;
    } else if (strcmp(name, "hazards") == 0) {
        for (int k = 0; k < 4; k++) {
            o->hazards = strcmp(value, hazard_words[k]) == 0 ? k : o->hazards;
        }
        return o->hazards >= 0;
    } else if (strcmp(name, "seed") == 0) {
        o->has_seed = true;
        return parse_number(value, &o->seed);
    } else if (strcmp(name, "sms") == 0) {
        bool ok = parse_number(value, &n) && n > 0 && n <= 1024;
        o->sms = (int)n;
        return ok;
    } else if (strcmp(name, "threads") == 0) {
        bool ok = parse_number(value, &n) && n > 0 && n <= 1024;
        o->threads = (int)n;
        return ok;
    } else {
        return false;
    }
    return true;
}

static bool parse_options(int argc, char **argv, struct options *o) {
    o->policy = -1;
    o->hazards = -1;
    for (int n = 1; n < argc; n++) {
        const char *a = argv[n];
        if (strcmp(a, "--list") == 0) {
            o->list = true;
        } else if (strcmp(a, "--quiet") == 0) {
            o->quiet = true;
        } else if (strcmp(a, "--gpu") == 0) {
            o->gpu = true;
        } else if (strncmp(a, "--", 2) == 0) {
            char name[20];
            const char *eq = strchr(a, '=');
            snprintf(name, sizeof name, "%.*s", eq == NULL ? 18 : (int)(eq - a - 2), a + 2);
            const char *value = eq != NULL ? eq + 1 : n + 1 < argc ? argv[++n] : NULL;
            if (value == NULL || !set_option(o, name, value)) {
                fprintf(stderr, "fp4sim: bad option '%s'\n%s", a, usage);
                return false;
            }
        } else if (o->ptx == NULL) {
            o->ptx = a;
        } else {
            fprintf(stderr, "fp4sim: one PTX file is expected\n%s", usage);
            return false;
        }
    }
    if (o->ptx == NULL || (o->launch == NULL && !o->list)) {
        fputs(usage, stderr);
        return false;
    }
    return true;
}

static bool write_log(struct job *j, const char *path) {
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL;
    for (size_t n = 0; ok && n < j->record.count; n++) {
        ok = fprintf(f, "%u%c", j->record.list[n], n % 20 == 19 ? '\n' : ' ') > 0;
    }
    if (f != NULL) {
        fputc('\n', f);
        ok = fclose(f) == 0 && ok;
    }
    if (!ok) {
        snprintf(j->error, sizeof j->error, "cannot write '%s'", path);
    }
    return ok;
}

// 0 when everything went as it should; prints.
static int run(struct job *j, const struct options *o) {
    if (!buffers_make(j) || !job_run(j) || !buffers_finish(j, o->out)) {
        return 1;
    }
    int status = 0;
    bool all_ended = true;
    for (int n = 0; n < j->n_results; n++) {
        all_ended &= j->results[n].status == SIM_OK;
        status |= j->results[n].status != SIM_OK || j->results[n].n_errors > 0;
    }
    status |= o->gpu && all_ended && !hardware_run(j);
    for (int n = 0; n < j->n_buffers; n++) {
        status |= j->buffers[n].differing > 0 || j->buffers[n].gpu_differing > 0;
    }
    if (!o->quiet) {
        report_text(j);
    }
    if ((o->log != NULL && !write_log(j, o->log)) ||
        (o->report != NULL && !report_json(j, o->report))) {
        return 1;
    }
    return status;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    struct options o = {.ptx = NULL};
    struct job j = {.error = ""};
    if (!parse_options(argc, argv, &o)) {
        return 2;
    }
    int status = 1;
    if (job_read(&j, &o)) {
        if (o.list) {
            report_kernels(j.module);
            status = 0;
        } else {
            status = run(&j, &o);
        }
    }
    if (j.error[0] != '\0') {
        fprintf(stderr, "fp4sim: %s\n", j.error);
    }
    job_free(&j);
    return status;
}
