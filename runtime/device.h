// The device table: what a device must do for the rest of the runtime. device_sim.c and
// device_cuda.c fill it; nothing else knows which of them is behind a context.
//
// A function that fails returns a status other than FP4_OK and has called rt_fail with the
// sentence. All arguments were checked by the caller (launch.c, tensor.c); a device checks only
// what it alone can know, such as whether an address is one of its own.
#ifndef FP4_RUNTIME_DEVICE_H
#define FP4_RUNTIME_DEVICE_H

#include "fp4rt.h"
#include <stdbool.h>

typedef struct rt_device rt_device;     // a device's own state
typedef struct rt_image rt_image;       // code that it loaded
typedef struct rt_function rt_function; // an entry point of an image
typedef struct rt_mark rt_mark;         // a point in a stream's work

// What cuTensorMapEncodeTiled is told (hardware.md 5.1). The inner axis is first.
typedef struct {
    uint32_t dtype; // CUtensorMapDataType
    uint32_t rank;
    uint64_t address;
    uint64_t dims[5];    // elements
    uint64_t strides[4]; // bytes, axes 1..
    uint32_t box[5];     // elements
    uint32_t swizzle;    // CUtensorMapSwizzle
} rt_tensormap;

enum { RT_TENSORMAP_BYTES = 128, RT_TENSORMAP_ALIGN = 64 };

typedef struct {
    const void *value;
    size_t bytes;
} rt_launch_param;

typedef struct {
    rt_function *function;
    uint32_t grid[3];    // thread blocks
    uint32_t block[3];   // threads
    uint32_t cluster[3]; // thread blocks
    uint32_t smem_bytes; // dynamic
    bool pdl;            // may begin before the stream's last kernel has ended
    bool cooperative;    // refuse unless all thread blocks are resident at once
    void *stream;
    const rt_launch_param *params; // in the order of the kernel's parameters
    int n_params;
} rt_launch;

// Where a kernel's code comes from. PTX is NUL-terminated behind ptx_bytes.
typedef struct {
    const char *ptx; // NULL: none
    size_t ptx_bytes;
    const void *cubin; // NULL: none
    size_t cubin_bytes;
    const char *arch; // "sm_100a"
    const char *name; // of the kernel, for sentences
} rt_code;

// An entry point, and what its launches will ask for.
typedef struct {
    const char *name;
    uint32_t smem_bytes; // dynamic shared memory
    uint32_t cluster;    // thread blocks
} rt_entry;

typedef struct {
    char name[64];
    char arch[16]; // "any", "sm_90a"
    int n_sms;
    bool runs_any_arch;
    bool is_cuda; // its memory has addresses that CUDA programs can use
    int index;    // of the GPU
} rt_properties;

typedef struct {
    const char *name; // "sim", "cuda"
    void (*close)(rt_device *device);
    fp4_status (*alloc)(rt_device *device, uint64_t bytes, uint64_t *address);
    fp4_status (*free)(rt_device *device, uint64_t address);
    fp4_status (*copy_to)(rt_device *device, uint64_t dst, const void *src, uint64_t bytes,
                          void *stream);
    fp4_status (*copy_from)(rt_device *device, void *dst, uint64_t src, uint64_t bytes,
                            void *stream);
    fp4_status (*fill)(rt_device *device, uint64_t dst, uint8_t byte, uint64_t bytes, void *stream);
    fp4_status (*image_load)(rt_device *device, const rt_code *code, rt_image **image);
    void (*image_unload)(rt_device *device, rt_image *image);
    fp4_status (*function_find)(rt_device *device, rt_image *image, const rt_entry *entry,
                                rt_function **function);
    fp4_status (*tensormap_encode)(rt_device *device, const rt_tensormap *map,
                                   uint8_t out[RT_TENSORMAP_BYTES]);
    fp4_status (*launch)(rt_device *device, const rt_launch *launch);
    fp4_status (*sync)(rt_device *device, void *stream);
    // Refuses when the stream's work is being captured in a graph, which cannot hold 'what'.
    fp4_status (*not_captured)(rt_device *device, void *stream, const char *what);
    fp4_status (*mark_new)(rt_device *device, rt_mark **mark);
    void (*mark_free)(rt_device *device, rt_mark *mark);
    fp4_status (*mark_record)(rt_device *device, rt_mark *mark, void *stream);
    fp4_status (*mark_wait)(rt_device *device, rt_mark *mark);
    fp4_status (*mark_elapsed)(rt_device *device, rt_mark *from, rt_mark *to, double *us);
    void (*properties)(const rt_device *device, rt_properties *properties);
    void (*stats)(rt_device *device, fp4_stats *stats); // adds what it counts
} rt_device_ops;

#endif
