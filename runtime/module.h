// The module file (.tkm): what the compiler writes and the runtime reads.
//
// A file is a header, a section table and sections; all integers little-endian, sections
// 16-aligned.
//
//   offset 0   8 bytes  magic "FP4TKM\r\n"
//          8   u32      version (FP4_MODULE_VERSION)
//         12   u32      number of sections
//         16   u64      total file bytes
//         24   u64      FNV-1a 64 of all bytes from 32 to the end
//         32   section table: per section  u32 kind, u32 index, u64 offset, u64 bytes
//
// Section META (one): the JSON text below. Sections PTX and CUBIN (one each per entry of
// "kernels", matched by 'index' = position in that array; CUBIN may be missing). Section TUNE (one,
// may be missing): measured times, a line each: position of the kernel, multiprocessors of the
// device, nanoseconds, the kernel's "dims" in order; decimal numbers with one space between.
//
// META:
// { "fp4c": "0.1.0", "source": "gemm.tk",
//   "kernels": [ {
//     "name": "nvfp4_gemm", "arch": "sm_100a", "entry": "nvfp4_gemm",   entry: PTX symbol
//     "when": EXPR (optional: true), "cost": EXPR (optional: 0),        which variant serves, below
//     "dims": ["M","N","K"],                                             run-time sizes
//     "tparams": {"BM":256,...},
//     "params": [                                                        as in the source, in order
//        {"name":"A","kind":"tensor","mode":"in|out|inout|const|temp","format":"nvfp4",
//         "elem":"e2m1","scale":"ue4m3"|null,"granule":[1,16],"layout":"sf128x4"|null,
//         "dims":[EXPR,...], "align":16,
//         "groups":EXPR (optional: its rows are ragged, the number of groups; fp4_ragged_pack)},
//        {"name":"alpha","kind":"scalar","elem":"f32"} ],
//     "where": [ {"expr":EXPR,"text":"N % 8 == 0","line":9} ],
//     "args": [ ARG, ... ],                                              PTX parameters, in order
//     "launch": {"threads":256, "smem":228352, "cluster":[2,1,1],
//                "grid": GRID, "entry_regs":128,
//                "pdl":true, "cooperative":true, "workspace":65536 },    all optional: the kernel
//       waits by griddepcontrol for the one before it (programmatic dependent launch); all thread
//       blocks must be resident at once; bytes of workspace a thread block, below
//     "report": { "regs":..., "spills":..., "stack":... }                from ptxas, if run
//   } ] }
//
// EXPR: a number, a dim's name, or [op, a, b]: op in + - * / % ceildiv min max == != < <= > >= and
// or
//       (64-bit signed; '/' and '%' by zero make the launch refused).
//       "when" and "cost" may use "device.sms", the multiprocessors of the device.
// Choice: kernels of one "name" and "arch" are variants of one kernel. A call is served by the one whose
//       "when" is not 0 and whose "cost" is least, the first of the list among equals; a cost that cannot
//       be computed (it overflows, or divides by 0) is greater than all others. Measured times (TUNE) go
//       before costs: the variant of the nearest measurement serves, of equally near ones the fastest. How
//       far a measurement is: the sum of |log2((1 + a) / (1 + b))| over all sizes and the multiprocessors;
//       in a module with costs those further than 1 (one doubling) do not count.
// GRID: {"tiles": EXPR, "persistent": true|false, "per_sm": 1}: number of cluster tiles; thread blocks that an
//       SM holds at once (1 when it is not there). A persistent kernel gets
//       min(tiles, SMs * per_sm / cluster size) clusters, otherwise one cluster a tile. gridDim.x = clusters
//       * cluster size, y = z = 1. Nothing is launched when tiles = 0.
// ARG:  {"kind":"tensormap","tensor":"A","part":"data"|"scale","dtype":<cuTensorMapEncodeTiled
// code>,
//        "dims":[EXPR,...] innermost first, "strides":[EXPR,...] bytes for axes 1..,
//        "box":[...], "swizzle":0|1|2|3, "offset_bytes":EXPR (optional),   128 bytes, align 64
//        "early":true (optional: with "pdl", the kernel before does not write it)}
//       {"kind":"pointer","tensor":"D","part":"data"|"scale"}              u64 device address
//       {"kind":"dim","expr":EXPR,"type":"i32"|"i64"}
//       {"kind":"scalar","name":"alpha","type":"f32"|"i32"|"i64"}
//       {"kind":"workspace"}                                               u64 device address
// Workspace: memory in which the thread blocks of one launch hand partial results to each other, of one stream: the
//       launches on it come one behind the other. It begins with FP4_MODULE_FLAGS words for each of
//       FP4_MODULE_FLAG_BLOCKS thread blocks, zero between launches (a kernel that sets one sets it back), then comes
//       what "workspace" says for each thread block of the launch. Such a launch has no more thread blocks than that;
//       its grid is persistent, with one thread block a multiprocessor.
//       Stride and size expressions may use the pitch of a tensor: the name "A.pitch" is the bytes
//       from one row of the innermost matrix to the next; "A.sf_bytes" the bytes of the scales of
//       one innermost matrix (sf128x4: rows padded to 128, scale columns padded to 4).
#ifndef FP4_MODULE_H
#define FP4_MODULE_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#define FP4_MODULE_MAGIC "FP4TKM\r\n"
#define FP4_MODULE_VERSION 1u
#define FP4_MODULE_HEADER_BYTES 32u
#define FP4_MODULE_SECTION_BYTES 24u
#define FP4_MODULE_META 1u
#define FP4_MODULE_PTX 2u
#define FP4_MODULE_CUBIN 3u
#define FP4_MODULE_TUNE 4u

#define FP4_MODULE_FLAGS 32u // a word a warp
#define FP4_MODULE_FLAG_BLOCKS 1024u
#define FP4_MODULE_FLAG_BYTES (FP4_MODULE_FLAGS * 4u * FP4_MODULE_FLAG_BLOCKS)

// FNV-1a 64: the sum in the header, and what says of which code a line of measured times speaks.
static inline uint64_t fp4_module_hash(const void *bytes, size_t n) {
    const unsigned char *p = (const unsigned char *)bytes;
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ p[i]) * 0x100000001B3u;
    }
    return hash;
}

// A line of a file of measured times (.tune): kernel, machine, fp4_module_hash of the PTX that was
// measured, multiprocessors, nanoseconds; then every size.
#define FP4_MODULE_TIME "%s %s %016" PRIx64 " %d %.0f"
#define FP4_MODULE_TIME_SIZE " %s=%" PRId64

#endif
