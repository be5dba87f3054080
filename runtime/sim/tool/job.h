// fp4sim: what a launch file asks for. job.c reads its top, buffers.c makes the memory, params.c
// packs parameters, hardware.c does the same on a GPU, report.c tells what happened.
#ifndef FP4_SIM_TOOL_JOB_H
#define FP4_SIM_TOOL_JOB_H

#include "sim.h"
#include <cjson/cJSON.h>

struct buffer {
    const char *name;
    uint64_t bytes, count, address;
    int type;                  // of its elements: index in the table of buffers.c
    uint8_t *host;             // what it holds at first, later what it holds at the end
    const char *save, *expect; // files, NULL: none
    const cJSON *fields;       // addresses and tensor maps in it, NULL: none
    bool compared;
    uint64_t differing, first; // elements that differ from 'expect'
    uint8_t *start;            // what it held at first, for the GPU; NULL: there is none
    bool on_gpu, gpu_compared;
    uint64_t gpu_differing, gpu_first; // bytes that differ from the GPU's
};
struct launch_result {
    const char *kernel;
    sim_launch_config config;
    int status;
    char *message; // NULL when it ended
    sim_stats stats;
    struct finding *findings;
    size_t n_findings, n_errors;
    char *printed; // by the kernel, "" when it has printed nothing
    size_t printed_lost;
};
struct finding {
    char *text; // with its severity
    const char *kind, *severity;
    uint32_t line[2];
    uint64_t count;
};
struct job {
    const char *ptx_path, *launch_path, *image_path;
    char *directory; // of the launch file, with a / at its end, or ""
    cJSON *root;
    sim *sim;
    sim_module *module;
    struct buffer *buffers;
    int n_buffers;
    struct launch_result *results;
    int n_results;
    sim_policy policy;
    uint64_t seed;
    int sms;
    sim_hazards hazards;
    uint64_t max_steps;
    sim_decisions replay, record;
    bool replays, records, beside_gpu;
    struct hardware *gpu; // while its launches are made, else NULL
    char gpu_name[64];
    char error[700];
};

// The command line overrides the launch file where it says something.
struct options {
    const char *ptx, *launch, *report, *log, *replay, *out, *image;
    int policy;  // -1: not given
    int hazards; // -1: not given
    bool has_seed, list, quiet, gpu;
    uint64_t seed;
    int sms, threads; // 0: not given
};

// All return false with a sentence in j->error.
bool job_read(struct job *j, const struct options *o);
bool job_run(struct job *j);
// Does 'launch' for every launch of the file, with its parameters packed.
typedef bool (*job_launch)(struct job *j, const char *where, const sim_kernel *k,
                           const sim_launch_config *c);
bool job_launches(struct job *j, job_launch launch);
void job_free(struct job *j);
// A sentence about a place in the launch file.
bool job_fail(struct job *j, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Every key of the object must be in the list (names between blanks).
bool job_keys(struct job *j, const char *where, const cJSON *object, const char *known);
bool job_number(struct job *j, const char *where, const cJSON *v, uint64_t most, uint64_t *out);
char *job_path(const struct job *j, const char *name); // beside the launch file; free it
uint8_t *read_file(const char *path, size_t *bytes);   // NULL: cannot be read; free it

bool buffers_make(struct job *j);
struct buffer *buffer_find(struct job *j, const char *name);
bool buffers_finish(struct job *j, const char *out); // reads back, saves and compares
const char *buffer_type_name(const struct buffer *b);

bool params_pack(struct job *j, const char *where, const cJSON *list, const sim_kernel_info *k,
                 uint8_t *out);
// Values at their offsets in 'room' bytes of memory.
bool fields_pack(struct job *j, const char *where, const cJSON *list, uint8_t *to, uint64_t room);

bool hardware_run(struct job *j); // after the simulated GPU's; compares
bool hardware_map(struct job *j, const char *where, const sim_tensormap *t, uint8_t out[128]);

void report_kernels(const sim_module *m);
void report_text(const struct job *j);
bool report_json(struct job *j, const char *path);
const char *status_word(int status);
const char *policy_word(sim_policy p);
extern const char *const hazard_words[4];

#endif
