// What the fake libcuda.so.1 records and how its failures are asked for. The test finds the one
// object of this type by dlsym("fake_cuda").
#ifndef FP4_TESTS_FAKE_CUDA_H
#define FP4_TESTS_FAKE_CUDA_H

#include "cuda_driver.h"

typedef struct {
    int n_calls;
    int fail_at; // > 0: the call that counts it down to 0 returns fail_with
    int fail_with;
    int n_devices;
    int retained;    // primary contexts
    int pushed;      // contexts on the stack
    int n_memory;    // blocks alive
    int n_libraries; // loaded
    int n_events;    // alive
    int n_records;
    void *record_stream; // of the last record
    void *waited;        // event of the last wait
    int n_syncs;
    int n_swept; // blocks and libraries that only the end of the context took away
    int push_failed;
    int n_hidden;        // failures of calls whose result nobody needs
    int without_context; // calls that need a current context and had none
    int misaligned_maps;
    char attributes[200];                 // "8=200000;" for every cuFuncSetAttribute
    cu_launch_config launch;              // of the last launch
    cu_launch_attribute attributes_of[3]; // of the last launch
    int capture;                          // what cuStreamIsCapturing says
    int spoiled;                          // waits and loads during a capture
    void *function;                       // that was launched
    int n_params; // how many parameters the next launch has, and their sizes
    size_t param_bytes[16];
    unsigned char params[16][128];
    const char *jit_log; // written when a library cannot be loaded
} fake_cuda_state;

#endif
