// libfp4rt: loads the modules that fp4c writes, and launches their kernels.
//
//   fp4_ctx *ctx;                                    // five calls to a result:
//   fp4_open(&config, &ctx);                         // 1 a device: the simulator or a GPU
//   fp4_module_load_file(ctx, "gemm.tkm", &module);  // 2 a module
//   fp4_tensor_new(ctx, "nvfp4", 2, dims, &a);       // 3 tensors (or wrap memory of your own)
//   fp4_launch(kernel, args, 4, stream);             // 4 checked against the module, then launched
//   fp4_tensor_read(ctx, &d, data, NULL, stream);    // 5 the result
//
// Rules that hold for every function:
// * Status: 0 is success. Whatever failed left a sentence for fp4_last_error(), which speaks of the
//   calling thread's last failed call. Nothing is printed, nothing exits, no argument asserts.
// * Structs: the first field 'size' is sizeof the struct as the caller compiled it; an _INIT macro
//   or the function that fills the struct sets it (functions that answer questions are wrapped in a
//   macro for that; who calls them without this header sets it first). Configurations and answers
//   grow at the end and the library takes smaller ones; storage, host and tensor structs stay as
//   they are within a major version.
// * Sizes: dimensions are elements, outermost first, the last axis contiguous. Sums and products
//   are checked; what does not fit 63 bits is refused.
// * Ownership: what a function gives out by '**out' is closed by the matching _free or _close.
//   fp4_close frees everything its context still owns, modules and device memory included.
// * Streams: 'stream' is the device's own stream (CUstream, cudaStream_t); NULL is its default.
//   Work is only enqueued: a launch does not wait and allocates nothing, and a graph may capture it
//   (copies and the first launch of a kernel from fp4_module_kernel_at not). The simulator finishes
//   each call before it returns. Copies from and to host memory have finished with it when they
//   return.
// * Threads: a context and its modules may be used by several threads at once, but for fp4_close
//   and fp4_module_free. A tensor is the caller's plain struct. The simulator runs one launch at a
//   time.
//
// The header is C99 and C++; nothing of CUDA is needed to compile against it.
#ifndef FP4RT_H
#define FP4RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(FP4RT_SHARED) && defined(__GNUC__)
#define FP4_API __attribute__((visibility("default")))
#else
#define FP4_API
#endif

#define FP4RT_VERSION 100 // major * 10000 + minor * 100 + patch

enum {
    FP4_MAX_RANK = 5,  // axes of a tensor
    FP4_MAX_NAME = 64, // bytes of a name, with its final 0
    FP4_MAX_ARGS = 64, // arguments of a kernel
    FP4_MAX_DIMS = 32, // run-time sizes of a kernel
};

// ORDER status: error.c holds the names.
typedef enum {
    FP4_OK = 0,
    FP4_ERROR_ARGUMENT,    // a call that no device could carry out: NULL, a bad size, unknown name
    FP4_ERROR_MEMORY,      // host or device memory is used up
    FP4_ERROR_FILE,        // a file could not be read
    FP4_ERROR_MODULE,      // malformed, of another version, or for another device
    FP4_ERROR_NOT_FOUND,   // no kernel, parameter or format of that name
    FP4_ERROR_MISMATCH,    // arguments that do not fit the kernel's description
    FP4_ERROR_DEVICE,      // the device or its driver refused or failed
    FP4_ERROR_UNAVAILABLE, // no such device here
    FP4_ERROR_UNSUPPORTED, // a form this version does not know
    FP4_STATUS_COUNT
} fp4_status;

FP4_API const char *fp4_status_name(fp4_status status);
// The sentence of this thread's last failed call; "" when none failed. Valid until the next one.
FP4_API const char *fp4_last_error(void);
// For libraries on top of this one: keeps the sentence as this thread's and returns the status.
FP4_API fp4_status fp4_fail(fp4_status status, const char *sentence);
FP4_API int fp4_version(void);

// Answers: the wrapper tells the library how much of the struct this caller knows.
#define FP4_SIZED(type)                                                                            \
    static inline type *type##_sized(type *out) {                                                  \
        if (out) {                                                                                 \
            out->size = (uint32_t)sizeof *out;                                                     \
        }                                                                                          \
        return out;                                                                                \
    }

// ---- formats ------------------------------------------------------------------------------------

typedef enum {
    FP4_ELEM_E2M1,
    FP4_ELEM_E2M3,
    FP4_ELEM_E3M2,
    FP4_ELEM_E4M3,
    FP4_ELEM_E5M2,
    FP4_ELEM_BF16,
    FP4_ELEM_F16,
    FP4_ELEM_TF32,
    FP4_ELEM_F32,
    FP4_ELEM_UE4M3,
    FP4_ELEM_UE8M0,
    FP4_ELEM_I32,
    FP4_ELEM_I64,
    FP4_ELEM_BOOL,
    FP4_ELEM_COUNT,
    FP4_ELEM_NONE = FP4_ELEM_COUNT // no scale
} fp4_elem;                        // ORDER elem: elem.def

// How the scales of one matrix lie in memory: R scale rows, KB scales a row; m, kb count from 0.
// Bytes that belong to no scale are 0, which every scale format reads as a finite number.
typedef enum {
    FP4_SF_NONE,      // "none"       the format has no scales
    FP4_SF_LINEAR,    // "linear"     [R][KB]: ModelOpt, compressed-tensors, gpt-oss, OCP
    FP4_SF_128X4,     // "sf128x4"    blocks of 128 rows x 4: cuBLASLt, CUTLASS, tcgen05 (512 bytes)
    FP4_SF_8X4,       // "sf8x4"      blocks of 8 rows x 4: TensorRT-LLM for small M (32 bytes)
    FP4_SF_MN_PACKED, // "mn_packed"  words of 4 scales along K, [KB/4][R], R padded to 4: DeepGEMM
    FP4_SF_MN_MAJOR,  // "mn_major"   [KB][R], R padded to 4: DeepGEMM's f32 scales on sm_90
    FP4_SF_GGUF,      // "gguf"       inside ggml's blocks, before their elements. On the host only
    FP4_SF_COUNT
} fp4_sf_layout; // ORDER sf_layout: pack.c

// An element type, or elements that share a scale per granule of granule_rows x granule_cols.
typedef struct fp4_format {
    fp4_elem elem;
    fp4_elem scale;       // FP4_ELEM_NONE: not scaled
    int32_t granule_rows; // elements that share a scale along the last axis but one; 1 as a rule
    int32_t granule_cols; // and along the last: 16 (nvfp4), 32 (mx formats)
    fp4_sf_layout layout; // where the scales are; of plain elements: where they are themselves, matrix by
                          // matrix, so that a kernel can read and write scales as numbers ('S : ue8m0[M, G]
                          // @ mn_packed'); FP4_SF_NONE: row by row
} fp4_format;

// "nvfp4", "mxfp4", "mxfp8", "mxfp8_e5m2", the name of an element ("bf16"), or elements, scales and
// granule: "e4m3*f32/1x128", "e4m3*ue8m0/128x128" (DeepSeek). The layout of a scaled one is sf128x4,
// with f32 scales linear; change the field, or write "nvfp4 @ linear", "ue8m0 @ mn_packed", for another.
// Plain elements of a byte lie in any, wider ones in mn_major.
FP4_API fp4_status fp4_format_find(const char *name, fp4_format *format);
// The name of a known format, whatever its layout; else "elem*scale/RxC", in a buffer of the
// caller.
FP4_API const char *fp4_format_name(const fp4_format *format, char buffer[FP4_MAX_NAME]);

FP4_API const char *fp4_elem_name(fp4_elem elem);
FP4_API int fp4_elem_bits(fp4_elem elem); // 4 .. 64; 0 for FP4_ELEM_NONE
FP4_API fp4_status fp4_elem_find(const char *name, fp4_elem *elem);
FP4_API const char *fp4_sf_layout_name(fp4_sf_layout layout);
FP4_API fp4_status fp4_sf_layout_find(const char *name, fp4_sf_layout *layout);

// The value of a code, exact. NaN codes give NaN; the sign bit of UE4M3 is ignored, as the MMA
// does.
FP4_API double fp4_decode(fp4_elem elem, uint64_t code);
// The nearest code, ties to even. E2M1, E2M3, E3M2, E4M3, E5M2, UE4M3 saturate to their largest
// finite number (as cvt.rn.satfinite); BF16, F16, TF32 and F32 overflow to infinity. NaN gives the
// format's NaN, or its positive maximum where it has none. UE4M3 and UE8M0 take negative numbers as
// 0; UE8M0 rounds up (cvt.rp) to a power of two, 2^-127 at least. Integers round to even, saturate.
FP4_API uint64_t fp4_encode(fp4_elem elem, double value);

// ---- shapes and packings, all on the host -------------------------------------------------------

// A tensor's storage. Data: rows of packed elements, element 2i of a 4-bit format in the low
// nibble; a row begins at a byte. Leading axes are batches of matrices [rows, cols], one after the
// other. Scales: for each matrix of the batch its own block in the format's layout, padding
// included. In layout gguf the data are ggml's blocks, scales and elements in one: nvfp4 4 scales
// and 64 elements in 36 bytes, mxfp4 a scale and 32 elements in 17; the low nibbles of a granule
// hold its first half. 'cols' is a multiple of the block, row_bytes counts blocks, scale_bytes is
// 0.
typedef struct fp4_storage {
    uint32_t size;
    int64_t n_matrices;         // product of all axes but the last two
    int64_t rows, cols;         // of a matrix; a tensor of rank 1 has one row
    int64_t row_bytes;          // bytes of a row's elements
    int64_t pitch;              // bytes from one row to the next
    int64_t data_bytes;         // n_matrices * rows * pitch
    int64_t scale_rows;         // ceil(rows / granule_rows)
    int64_t scale_cols;         // ceil(cols / granule_cols)
    int64_t scale_matrix_bytes; // scales of one matrix in the layout, padding included
    int64_t scale_bytes;        // n_matrices * scale_matrix_bytes
} fp4_storage;

// pitch 0 is row_bytes. Dimensions may be 0.
FP4_API fp4_status fp4_storage_of(const fp4_format *format, int rank, const int64_t *dims,
                                  int64_t pitch, fp4_storage *storage);
// Byte offset of a scale inside its matrix's block; -1 when m or kb lies outside.
FP4_API int64_t fp4_scale_offset(fp4_sf_layout layout, int64_t rows, int64_t kblocks, int64_t m,
                                 int64_t kb);
// Bytes of one matrix's scales, padding included; -1 when it does not fit 63 bits.
FP4_API int64_t fp4_scale_bytes(fp4_sf_layout layout, int64_t rows, int64_t kblocks);
// Copies the one-byte scales of one matrix from one layout to another; fills the padding with 0.
// Layout gguf has no scales of its own: fp4_host_repack.
FP4_API fp4_status fp4_relayout(fp4_sf_layout from, const void *src, fp4_sf_layout to, void *dst,
                                int64_t rows, int64_t kblocks);

// A tensor in host memory: what the packing functions work on. data and scale hold the bytes that
// fp4_storage_of(format, rank, dims, pitch) names; scale may be NULL when the format has none.
typedef struct fp4_host {
    uint32_t size;
    int32_t rank;
    int64_t dims[FP4_MAX_RANK];
    fp4_format format;
    int64_t pitch; // 0: dense
    void *data;
    void *scale;
} fp4_host;

FP4_API fp4_status fp4_host_init(fp4_host *host, const fp4_format *format, int rank,
                                 const int64_t *dims);
// One element's code, and the code of the scale that covers it. 'row' counts through the batch.
FP4_API uint64_t fp4_host_code(const fp4_host *host, int64_t row, int64_t col);
FP4_API void fp4_host_set_code(const fp4_host *host, int64_t row, int64_t col, uint64_t code);
FP4_API uint64_t fp4_host_scale_code(const fp4_host *host, int64_t row, int64_t col);
FP4_API void fp4_host_set_scale_code(const fp4_host *host, int64_t row, int64_t col, uint64_t code);
// All values, dense and in order: element times block scale. NaN scales give NaN.
FP4_API fp4_status fp4_host_decode(const fp4_host *host, double *values);
// Each value to the nearest code; for formats without scales (others: fp4_quantize).
FP4_API fp4_status fp4_host_encode(const fp4_host *host, const double *values);

// Copies a tensor into another packing: the shape is the same, pitch and layout (gguf included) as
// each of them says. Elements and scales may be of another type when every number has a code there
// (e2m1 in e4m3, ue8m0 in f32), and several granules may share what one had (128 x 128 to 1 x 32).
// Padding becomes 0. The memories do not overlap.
FP4_API fp4_status fp4_host_repack(const fp4_host *from, const fp4_host *to);

// Ragged tensors: a matrix [rows, cols] whose rows are cut in groups, group g from first[g] to
// first[g + 1] (groups + 1 offsets, ascending, within 0 .. rows). Kernels that say 'ragged' take its
// scales in tiles of layout sf128x4 with every group in tiles of its own: the scales of group g's
// first row are those of row fp4_ragged_row(first[g], g) = (first[g] + 127 g) / 128 * 128 of
// (rows + 127 groups) / 128 * 128 padded ones. Data lie as ever. The host tensor holds the scales of
// a plain matrix in its format's layout; rows of no group have none on the device. 'scale' is host
// memory of fp4_ragged_scale_bytes, in any alignment; pack fills it (0 where no row is), unpack leaves
// the host's scales of rows in no group alone. FP4_ERROR_UNSUPPORTED unless the tensor is a matrix with
// one-byte scales of single rows; FP4_ERROR_ARGUMENT for offsets that descend or lie outside.
FP4_API int64_t fp4_ragged_row(int64_t first, int64_t group);
// Bytes of the scales on the device; -1 when that does not fit 63 bits.
FP4_API int64_t fp4_ragged_scale_bytes(const fp4_format *format, int64_t rows, int64_t cols,
                                       int64_t groups);
FP4_API fp4_status fp4_ragged_pack(const fp4_host *host, const int32_t *first, int64_t groups,
                                   void *scale);
FP4_API fp4_status fp4_ragged_unpack(const void *scale, const int32_t *first, int64_t groups,
                                     const fp4_host *host);

typedef enum {
    FP4_MX_CEIL,  // 2^ceil(log2(amax / largest element)): nothing saturates. DeepGEMM, torchao
    FP4_MX_FLOOR, // 2^(floor(log2(amax)) - largest exponent): OCP MX 1.0 section 6.3
} fp4_mx_rule;

typedef enum {
    FP4_ARITH_DIVIDE, // quotients, each rounded once
    FP4_ARITH_KERNEL, // products with rounded reciprocals, as the kernels of lib/quant and nvfp4(x, hs),
                      // mxfp8(x) inside any kernel: the same bytes. global_scale is hs there, the factor
                      // of the dequantised numbers, and has to be given
} fp4_arith;

// An E2M1 element halfway between two codes.
typedef enum {
    FP4_TIES_EVEN, // to the even code, as cvt.rn
    FP4_TIES_LOW,  // toward zero, and no -0: DeepGEMM's thresholds .25 .75 1.25 1.75 2.5 3.5 5
} fp4_ties;

typedef struct fp4_quantize_options {
    uint32_t size;
    float global_scale;  // nvfp4: x is multiplied by it before all else. 0: 448 * 6 / amax(tensor)
    fp4_mx_rule mx_rule; // scales of type ue8m0
    float amax_floor;    // smallest amax of a block (DeepGEMM: 1e-4); 0: none
    fp4_arith arith;
    fp4_ties ties;
} fp4_quantize_options;

// Quantises a dense row-major array. ue4m3 scales: sf = rn(g * amax / max), q = rn(x * g / sf), 0
// when sf is 0; ue8m0 scales: q = rn(x / sf). options NULL: all zero. *global_scale (if not NULL)
// is the g that was used; a product of dequantised numbers is divided by it.
FP4_API fp4_status fp4_quantize(const fp4_host *host, const float *values,
                                const fp4_quantize_options *options, float *global_scale);

// ---- a device -----------------------------------------------------------------------------------

typedef struct fp4_ctx fp4_ctx;
typedef struct fp4_module fp4_module;
typedef struct fp4_kernel fp4_kernel;
typedef struct fp4_event fp4_event;

// realloc(user, old, old_bytes, new_bytes): new_bytes 0 frees; NULL is out of memory.
typedef void *(*fp4_alloc_fn)(void *user, void *old, size_t old_bytes, size_t new_bytes);

typedef enum {
    FP4_LOG_OFF,
    FP4_LOG_ERROR,
    FP4_LOG_WARN,
    FP4_LOG_INFO,
    FP4_LOG_DEBUG
} fp4_log_level;
// May be called by every thread that uses the context.
typedef void (*fp4_log_fn)(void *user, fp4_log_level level, const char *message);

typedef enum {
    FP4_SCHEDULE_EAGER,  // the simulator runs asynchronous work as soon as it may
    FP4_SCHEDULE_LAZY,   // as late as it may
    FP4_SCHEDULE_RANDOM, // in an order drawn from the seed
} fp4_schedule;

// What the simulator's hazard detector reports; a launch that has such findings fails with them.
typedef enum {
    FP4_HAZARDS_OFF,
    FP4_HAZARDS_PRACTICE, // what is wrong on hardware
    FP4_HAZARDS_STRICT,   // also what kernels in the field do against the manual's text
    FP4_HAZARDS_MANUAL,   // also three rules that nobody keeps because they cost time
} fp4_hazards;

typedef struct fp4_config {
    uint32_t size;
    const char *device; // "sim", "cuda:N" ("cuda" is cuda:0), "auto"; NULL is "auto"
    fp4_alloc_fn alloc; // host memory; NULL: the C library's
    void *alloc_user;
    fp4_log_fn log; // NULL: no log
    void *log_user;
    fp4_log_level log_level;
    int32_t sim_sms; // streaming multiprocessors of the simulated GPU; 0: its default
    fp4_schedule sim_schedule;
    uint64_t sim_seed; // of FP4_SCHEDULE_RANDOM
    const char *arch;  // "auto" takes only a GPU of this target ("sm_90a"); NULL: the first GPU
    fp4_hazards sim_hazards;
} fp4_config;

#ifdef __cplusplus
#define FP4_CONFIG_INIT                                                                            \
    {                                                                                              \
        sizeof(fp4_config), NULL, NULL, NULL, NULL, NULL, FP4_LOG_OFF, 0, FP4_SCHEDULE_EAGER, 0,   \
            NULL, FP4_HAZARDS_OFF                                                                  \
    }
#else
#define FP4_CONFIG_INIT                                                                            \
    { .size = sizeof(fp4_config) }
#endif

// config NULL: all defaults. "auto" takes a GPU if there is one that fits, else the simulator, and
// logs why.
FP4_API fp4_status fp4_open(const fp4_config *config, fp4_ctx **out);
FP4_API void fp4_close(fp4_ctx *ctx); // NULL is allowed

typedef struct fp4_device_info {
    uint32_t size;
    const char *name; // "sim", or the GPU's name
    const char *arch; // "any" (sim), "sm_100a", ...
    int32_t n_sms;
} fp4_device_info;

FP4_API fp4_status fp4_get_device_info(const fp4_ctx *ctx, fp4_device_info *info);
FP4_SIZED(fp4_device_info)
#define fp4_get_device_info(ctx, info) fp4_get_device_info((ctx), fp4_device_info_sized(info))

// Sums since fp4_open. What only the simulator counts is 0 on a GPU.
typedef struct fp4_stats {
    uint32_t size;
    uint64_t n_launches;        // that reached the device (a launch without tiles does not)
    uint64_t device_bytes;      // device memory in use now, of fp4_alloc and tensors
    uint64_t thread_blocks;     // simulator: run
    uint64_t warp_instructions; // simulator: executed
    uint64_t macs;              // simulator: multiply-adds of matrix instructions
    uint64_t tma_bytes;         // simulator: bytes of bulk and tensor copies, both ways
    uint64_t sim_ns;            // simulator: host CPU time of the launches
} fp4_stats;

FP4_API fp4_status fp4_get_stats(fp4_ctx *ctx, fp4_stats *stats);
FP4_SIZED(fp4_stats)
#define fp4_get_stats(ctx, stats) fp4_get_stats((ctx), fp4_stats_sized(stats))

// Waits for the stream's work; reports what a launch did wrong on the device.
FP4_API fp4_status fp4_sync(fp4_ctx *ctx, void *stream);

// Raw device memory. Addresses are multiples of 256; 0 bytes gives address 0.
FP4_API fp4_status fp4_alloc(fp4_ctx *ctx, int64_t bytes, uint64_t *address);
FP4_API fp4_status fp4_free(fp4_ctx *ctx, uint64_t address); // 0 is allowed
FP4_API fp4_status fp4_copy_to(fp4_ctx *ctx, uint64_t dst, const void *src, int64_t bytes,
                               void *stream);
FP4_API fp4_status fp4_copy_from(fp4_ctx *ctx, void *dst, uint64_t src, int64_t bytes,
                                 void *stream);
FP4_API fp4_status fp4_fill(fp4_ctx *ctx, uint64_t dst, uint8_t byte, int64_t bytes, void *stream);

// A point in a stream's work, used by one thread at a time. The simulator's clock is the host CPU
// time of its launches.
FP4_API fp4_status fp4_event_new(fp4_ctx *ctx, fp4_event **out);
FP4_API void fp4_event_free(fp4_event *event); // NULL is allowed
FP4_API fp4_status fp4_event_record(fp4_event *event, void *stream);
FP4_API fp4_status fp4_event_wait(fp4_event *event); // until the work before it is done
// Microseconds from one recorded point to another; both must have been waited for.
FP4_API fp4_status fp4_event_elapsed(const fp4_event *from, const fp4_event *to, double *us);

// ---- tensors ------------------------------------------------------------------------------------

// A tensor in device memory: the caller's, or made by fp4_tensor_new. A plain struct, free to copy.
typedef struct fp4_tensor {
    uint32_t size;
    int32_t rank;               // 0 .. FP4_MAX_RANK
    int64_t dims[FP4_MAX_RANK]; // elements, outermost first
    fp4_format format;
    int64_t pitch;  // bytes from one row to the next; 0: dense
    uint64_t data;  // device address of the elements
    uint64_t scale; // device address of the scales; 0 when the format has none
    fp4_ctx *ctx;   // whose memory this is; NULL: the caller's own
    float global;   // a value is element * block scale * global; launches do not look at it
} fp4_tensor;

// Fills the struct; data and scale are the caller's to set. Allocates nothing.
FP4_API fp4_status fp4_tensor_init(fp4_tensor *tensor, const char *format, int rank,
                                   const int64_t *dims);
// As above, with device memory for data and scales, all bytes 0.
FP4_API fp4_status fp4_tensor_new(fp4_ctx *ctx, const char *format, int rank, const int64_t *dims,
                                  fp4_tensor *tensor);
// Device memory for a tensor that the caller filled in (own format, own pitch).
FP4_API fp4_status fp4_tensor_alloc(fp4_ctx *ctx, fp4_tensor *tensor);
// Frees data and scale of a tensor that fp4_tensor_new or _alloc made; leaves others alone.
FP4_API void fp4_tensor_free(fp4_tensor *tensor);
FP4_API fp4_status fp4_tensor_storage(const fp4_tensor *tensor, fp4_storage *storage);
// New tensors from host memory. A checkpoint's: packed codes and scales in any layout, which become
// sf128x4, or linear when they are f32; dense rows, ggml's blocks taken apart. rule says what the
// file does with its global scale: multiply (ModelOpt, GGUF) or divide (compressed-tensors); a
// tensor without one: 1.
typedef enum { FP4_GLOBAL_MULTIPLY, FP4_GLOBAL_DIVIDE } fp4_global_rule;
FP4_API fp4_status fp4_tensor_import(fp4_ctx *ctx, const fp4_host *host, float global,
                                     fp4_global_rule rule, fp4_tensor *tensor);
// Floats, quantised or converted to the format by the default rules of fp4_quantize.
FP4_API fp4_status fp4_tensor_quantize(fp4_ctx *ctx, const char *format, int rank,
                                       const int64_t *dims, const float *values,
                                       fp4_tensor *tensor);
// All values of a tensor as the numbers they stand for, 'global' included; dense, in order.
FP4_API fp4_status fp4_tensor_values(fp4_ctx *ctx, const fp4_tensor *tensor, double *values);
// All bytes, host to device and back, in the tensor's own storage form (pitch and layout included).
// A NULL part is left out.
FP4_API fp4_status fp4_tensor_write(fp4_ctx *ctx, const fp4_tensor *tensor, const void *data,
                                    const void *scale, void *stream);
FP4_API fp4_status fp4_tensor_read(fp4_ctx *ctx, const fp4_tensor *tensor, void *data, void *scale,
                                   void *stream);

// ---- modules and kernels ------------------------------------------------------------------------

// The bytes are copied as far as they are needed. Files of another version are refused by number.
FP4_API fp4_status fp4_module_load_memory(fp4_ctx *ctx, const void *bytes, size_t n_bytes,
                                          fp4_module **out);
FP4_API fp4_status fp4_module_load_file(fp4_ctx *ctx, const char *path, fp4_module **out);
// fp4_open and fp4_module_load_file in one: "auto" takes a GPU only if the module has code for it.
FP4_API fp4_status fp4_open_module(const fp4_config *config, const char *path, fp4_ctx **ctx,
                                   fp4_module **module);
FP4_API fp4_ctx *fp4_module_ctx(const fp4_module *module);
FP4_API void fp4_module_free(fp4_module *module); // its kernels go with it; NULL is allowed

FP4_API const char *fp4_module_source(const fp4_module *module);
// Every variant in the file, in its order: (name, arch) may occur several times with other 'when'.
FP4_API int fp4_module_count(const fp4_module *module);
FP4_API fp4_status fp4_module_kernel_at(fp4_module *module, int index, fp4_kernel **out);
// The kernel of that name for arch ("sm_100a"); arch NULL: for the module's device, which for the
// simulator is the first in the file. A launch takes the first variant whose 'when' holds.
// name NULL: the module's only kernel. The module owns the kernel. The code is brought onto the
// device here, so that launches allocate nothing (a kernel from fp4_module_kernel_at: at its first
// launch).
FP4_API fp4_status fp4_module_kernel(fp4_module *module, const char *name, const char *arch,
                                     fp4_kernel **out);

typedef enum { FP4_PARAM_TENSOR, FP4_PARAM_SCALAR } fp4_param_kind;
typedef enum { FP4_MODE_IN, FP4_MODE_OUT, FP4_MODE_INOUT, FP4_MODE_CONST, FP4_MODE_TEMP } fp4_mode;

typedef struct fp4_kernel_info {
    uint32_t size;
    const char *name;
    const char *arch;
    const char *entry; // symbol in the PTX
    int32_t n_params;
    int32_t n_dims; // run-time sizes
    int32_t n_where;
    int32_t threads;     // of a thread block
    int32_t cluster;     // thread blocks of a cluster
    int64_t smem_bytes;  // dynamic shared memory of a thread block
    int32_t persistent;  // 1: at most as many clusters as fit the device walk the tiles
    int32_t regs;        // what ptxas reported: registers a thread, bytes of spill stores and
    int32_t spill_bytes; // loads, bytes of stack; -1 when it was not run
    int32_t stack_bytes;
    const char *ptx; // the text, NUL-terminated; NULL when the file has none
    size_t ptx_bytes;
} fp4_kernel_info;

typedef struct fp4_param_info {
    uint32_t size;
    const char *name;
    fp4_param_kind kind;
    fp4_mode mode;     // of a tensor
    fp4_format format; // of a scalar: elem alone
    int32_t rank;
    int32_t align; // bytes that a tensor's addresses must be multiples of
} fp4_param_info;

FP4_API fp4_status fp4_kernel_get_info(const fp4_kernel *kernel, fp4_kernel_info *info);
FP4_SIZED(fp4_kernel_info)
#define fp4_kernel_get_info(kernel, info) fp4_kernel_get_info((kernel), fp4_kernel_info_sized(info))
FP4_API fp4_status fp4_kernel_param(const fp4_kernel *kernel, int index, fp4_param_info *info);
FP4_SIZED(fp4_param_info)
#define fp4_kernel_param(kernel, index, info)                                                      \
    fp4_kernel_param((kernel), (index), fp4_param_info_sized(info))
FP4_API const char *fp4_kernel_dim(const fp4_kernel *kernel, int index);   // NULL beyond the last
FP4_API const char *fp4_kernel_where(const fp4_kernel *kernel, int index); // text; NULL likewise

// A run-time size by name, for the questions below and for sizes that no tensor tells.
typedef struct fp4_dim {
    const char *name;
    int64_t value;
} fp4_dim;

// The shape that parameter 'index' must have for these sizes (a scalar: rank 0).
FP4_API fp4_status fp4_kernel_shape(const fp4_kernel *kernel, int index, const fp4_dim *dims,
                                    int n_dims, int *rank, int64_t shape[FP4_MAX_RANK]);
// Whether 'when' and every 'where' clause admit these sizes; the refusal names the clause.
FP4_API fp4_status fp4_kernel_admits(const fp4_kernel *kernel, const fp4_dim *dims, int n_dims);

// ---- launch -------------------------------------------------------------------------------------

typedef enum { FP4_ARG_TENSOR, FP4_ARG_F32, FP4_ARG_I32, FP4_ARG_I64, FP4_ARG_DIM } fp4_arg_kind;

typedef struct fp4_arg {
    fp4_arg_kind kind;
    const char *name; // FP4_ARG_DIM: which size. Others: NULL, or checked against the parameter's
    union {
        const fp4_tensor *tensor;
        float f32;
        int32_t i32;
        int64_t i64;
    } v;
} fp4_arg;

// Launches the kernel. args: one per parameter in the order of the source; FP4_ARG_DIM entries come
// after them, for sizes that no tensor's shape tells. Before anything reaches the device: number
// and kind of arguments, formats, layouts, ranks, equal names for equal sizes, 'where' clauses,
// alignment, pitches, the module's device. A refused launch has done nothing. A launch with no tile
// succeeds and does nothing.
FP4_API fp4_status fp4_launch(fp4_kernel *kernel, const fp4_arg *args, int n_args, void *stream);

// ---- workspaces ---------------------------------------------------------------------------------

// Variants whose schedule says 'split k over sms' hand partial sums from one thread block to another, through
// memory that the caller gives to each stream on which they may be launched: on other streams they do not serve,
// others of the module do. Launches on one stream share it, on two streams never.
//
// Bytes that the variants of a module need at most on its device; 0: none does.
FP4_API int64_t fp4_module_workspace(const fp4_module *module);
// Gives the stream a workspace of at least so many bytes, which is the context's and goes with it. One that is too
// small is replaced, once the larger one is there (a call that fails leaves the old one); with bytes 0 it is freed;
// both wait for the stream's work. Not while the stream is captured, and not while another thread launches on it.
// CU_STREAM_PER_THREAD, as many streams as threads, is refused: make a stream. Before a stream is destroyed:
// fp4_workspace(ctx, stream, 0). Graphs that were captured on one stream use its workspace: at most one of them may
// run at a time, and the stream not meanwhile; none may be launched after it was replaced or freed.
FP4_API fp4_status fp4_workspace(fp4_ctx *ctx, void *stream, int64_t bytes);

// ---- variants -----------------------------------------------------------------------------------

// A module may hold several variants of (name, target). A launch takes the first one in the file,
// from 'kernel' on, whose 'when' admits the sizes; of a module with measured times the one that
// they favour: nearest to the sizes and the device's number of multiprocessors, then fastest.
// Which one that is for these arguments (on the default stream: fp4_workspace):
FP4_API fp4_status fp4_kernel_variant(fp4_kernel *kernel, const fp4_arg *args, int n_args,
                                      fp4_kernel **out);
// Launches this variant whatever 'when', costs and measured times say: for comparisons of variants. All else is
// as with fp4_launch.
FP4_API fp4_status fp4_launch_variant(fp4_kernel *variant, const fp4_arg *args, int n_args,
                                      void *stream);
// Measures every variant that admits the arguments, 'runs' launches each after a first one, and
// keeps the times in the module. No other thread may use the module meanwhile.
FP4_API fp4_status fp4_tune(fp4_kernel *kernel, const fp4_arg *args, int n_args, int runs,
                            void *stream);
// Writes the times into the module's file, in place of those it had; the file is replaced at once.
FP4_API fp4_status fp4_tune_save(const fp4_module *module, const char *path);

static inline fp4_arg fp4_arg_tensor(const fp4_tensor *tensor) {
    fp4_arg arg;
    arg.kind = FP4_ARG_TENSOR;
    arg.name = NULL;
    arg.v.tensor = tensor;
    return arg;
}

static inline fp4_arg fp4_arg_f32(float value) {
    fp4_arg arg;
    arg.kind = FP4_ARG_F32;
    arg.name = NULL;
    arg.v.f32 = value;
    return arg;
}

static inline fp4_arg fp4_arg_i32(int32_t value) {
    fp4_arg arg;
    arg.kind = FP4_ARG_I32;
    arg.name = NULL;
    arg.v.i32 = value;
    return arg;
}

static inline fp4_arg fp4_arg_i64(int64_t value) {
    fp4_arg arg;
    arg.kind = FP4_ARG_I64;
    arg.name = NULL;
    arg.v.i64 = value;
    return arg;
}

static inline fp4_arg fp4_arg_dim(const char *name, int64_t value) {
    fp4_arg arg;
    arg.kind = FP4_ARG_DIM;
    arg.name = name;
    arg.v.i64 = value;
    return arg;
}

#ifdef __cplusplus
}
#endif

#endif
