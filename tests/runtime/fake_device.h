// A device for tests: memory is host memory, a launch records what it was told, and every call can
// be made to fail.
#ifndef FP4_TESTS_FAKE_DEVICE_H
#define FP4_TESTS_FAKE_DEVICE_H

#include "rt.h"

typedef struct {
    rt_properties properties;
    int fail_at;  // > 0: the call that counts it down to 0 fails
    int n_blocks; // device memory blocks alive
    int n_images; // loaded and not unloaded
    int n_maps;   // tensor maps encoded
    int n_launches;
    bool capturing;                    // the stream is being captured in a graph
    rt_launch launch;                  // the last one
    uint8_t params[FP4_MAX_ARGS][128]; // its parameters
    rt_tensormap map[FP4_MAX_ARGS];    // tensor maps since the last launch, in order
} fake_device;

// A context on it; the device belongs to the caller and must outlive the context.
fp4_status fake_open(fake_device *fake, const fp4_config *config, fp4_ctx **out);

#endif
