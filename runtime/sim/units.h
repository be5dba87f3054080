// The data-moving and matrix units of the simulated GPU as pure functions on bytes: TMA, tensor
// core operand fetch, tcgen05.mma/cp/ld/st, wgmma, mma.sync, ldmatrix/stmatrix. No scheduling, no
// PTX; the interpreter decides when one of these runs and reports what it returns.
//
// Memory: shared memory is bytes, tensor memory is [column][lane] words. Registers are passed as
// pointers to rows of 32 lanes (regs[r][lane]), so that the caller's register file is used in
// place. A function that does not return UNIT_OK has written nothing, but for UNIT_GMEM_FAULT.
#ifndef FP4_SIM_UNITS_H
#define FP4_SIM_UNITS_H

#include "num.h"
#include <stddef.h>

enum unit_status {
#define UNIT(ID, text) UNIT_##ID,
#include "unit_status.def"
#undef UNIT
    UNIT_STATUS_COUNT
};
const char *unit_reason(enum unit_status s); // a sentence, lower case, no full stop

#define UNIT_TMEM_COLS 512
#define UNIT_TMEM_LANES 128
#define UNIT_MAX_N 256

// What a CTA owns that the units touch. tmem may be NULL where there is none.
struct unit_cta {
    uint8_t *smem;                     // byte 0 = shared address 0 of the CTA
    uint32_t smem_bytes;               // valid addresses are below this
    uint32_t (*tmem)[UNIT_TMEM_LANES]; // [UNIT_TMEM_COLS]
};

// ---- tensor maps and TMA (unit_tmap.c, unit_tma.c) ---------------------------------------------

// dtype codes of cuTensorMapEncodeTiled. ORDER tmap_dtype
enum unit_tmap_dtype {
    TMAP_U8,
    TMAP_U16,
    TMAP_U32,
    TMAP_S32,
    TMAP_U64,
    TMAP_S64,
    TMAP_F16,
    TMAP_F32,
    TMAP_F64,
    TMAP_BF16,
    TMAP_F32_FTZ,
    TMAP_TF32,
    TMAP_TF32_FTZ,
    TMAP_B4X16,     // packed FP4 on both sides
    TMAP_B4X16_P64, // packed FP4 in global, 16-byte containers in shared memory
    TMAP_B6X16_P32, // packed FP6 in global, 16-byte containers in shared memory
    TMAP_DTYPE_COUNT
};
enum unit_tmap_swizzle {
    TMAP_SW_NONE,
    TMAP_SW_32,
    TMAP_SW_64,
    TMAP_SW_128,
    TMAP_SW_128_ATOM32,
    TMAP_SW_128_ATOM32_FLIP8,
    TMAP_SW_128_ATOM64,
    TMAP_SW_COUNT
};

#define SIM_TMAP_MAGIC 0x314D54345046ull // "FP4TM1"
#define SIM_TMAP_BYTES 128

// Our image of a CUtensorMap: the runtime encodes it, only the simulator reads it.
struct sim_tmap {
    uint64_t magic;
    uint64_t address;
    uint64_t dim[5];    // elements, innermost first; unused axes 1
    uint64_t stride[4]; // bytes between neighbours along axis 1..4
    uint16_t box[5];    // elements
    uint8_t elem_stride[5];
    uint8_t dtype; // enum unit_tmap_dtype
    uint8_t rank;
    uint8_t interleave; // 0 none (the only one the simulator copies)
    uint8_t swizzle;    // enum unit_tmap_swizzle
    uint8_t l2;
    uint8_t oob_nan;
    uint8_t pad[12];
};
_Static_assert(sizeof(struct sim_tmap) == SIM_TMAP_BYTES, "a tensor map has 128 bytes");

// The arguments of cuTensorMapEncodeTiled, in its order.
struct unit_tmap_args {
    int dtype;
    uint32_t rank;
    uint64_t address;
    const uint64_t *dim;         // [rank]
    const uint64_t *stride;      // [rank-1]
    const uint32_t *box;         // [rank]
    const uint32_t *elem_stride; // [rank], or NULL for all 1
    int interleave, swizzle, l2, oob_nan;
    bool hopper; // refuse dtypes 13..15 and swizzles 4..6, as the driver does on sm_90
};
// Returns false and a sentence with the numbers in 'reason' when the driver would refuse.
bool unit_tmap_encode(struct sim_tmap *out, const struct unit_tmap_args *in, char *reason,
                      size_t reason_bytes);

// tensormap.replace. 'value' uses the codes of the PTX instruction (element types differ from the
// driver's), 'ord' is the axis operand.
enum unit_tmap_field {
    TMAP_FIELD_GLOBAL_ADDRESS,
    TMAP_FIELD_RANK,
    TMAP_FIELD_BOX_DIM,
    TMAP_FIELD_GLOBAL_DIM,
    TMAP_FIELD_GLOBAL_STRIDE,
    TMAP_FIELD_ELEMENT_STRIDE,
    TMAP_FIELD_ELEMTYPE,
    TMAP_FIELD_INTERLEAVE,
    TMAP_FIELD_SWIZZLE,
    TMAP_FIELD_SWIZZLE_ATOMICITY,
    TMAP_FIELD_FILL_MODE
};
enum unit_status unit_tmap_replace(struct sim_tmap *map, enum unit_tmap_field field, int ord,
                                   uint64_t value);

// Global memory: returns a host pointer to 'bytes' bytes at 'address', or NULL when they are not
// all allocated. Called once a contiguous run (at most one box row).
struct unit_gmem {
    void *(*translate)(void *user, uint64_t address, uint64_t bytes, bool write);
    void *user;
};

enum unit_tma_mode { TMA_TILE, TMA_GATHER4 }; // GATHER4: coord = {column, row0..row3}, rank 2
struct unit_tma {
    const struct sim_tmap *map;
    int rank;             // the .Nd of the instruction (2 for gather4/scatter4)
    const int32_t *coord; // [rank], or [5] for gather4/scatter4
    uint32_t smem;        // shared memory address
    enum unit_tma_mode mode;
};
enum unit_red {
    UNIT_RED_ADD,
    UNIT_RED_MIN,
    UNIT_RED_MAX,
    UNIT_RED_INC,
    UNIT_RED_DEC,
    UNIT_RED_AND,
    UNIT_RED_OR,
    UNIT_RED_XOR
};
enum unit_status unit_tma_load(const struct unit_tma *t, const struct unit_gmem *g,
                               const struct unit_cta *cta);
enum unit_status unit_tma_store(const struct unit_tma *t, const struct unit_gmem *g,
                                const struct unit_cta *cta);
enum unit_status unit_tma_reduce(const struct unit_tma *t, const struct unit_gmem *g,
                                 const struct unit_cta *cta, enum unit_red op);
// Bytes one copy completes on its mbarrier, and bytes from the first to past the last one touched
// in shared memory (they differ for padded pitches and sub-byte containers).
uint32_t unit_tma_tx_bytes(const struct sim_tmap *map, enum unit_tma_mode mode);
uint32_t unit_tma_smem_bytes(const struct sim_tmap *map, enum unit_tma_mode mode);
// Overwrites with 'value' what a load to shared address 'to' will write, and nothing between its rows.
void unit_tma_fill(const struct sim_tmap *map, enum unit_tma_mode mode, uint8_t *smem, uint32_t to,
                   uint8_t value);

// cp.reduce.async.bulk on plain memory: dst[i] = dst[i] op src[i].
enum unit_status unit_bulk_reduce(uint8_t *dst, const uint8_t *src, size_t bytes,
                                  enum unit_tmap_dtype dtype, enum unit_red op);

// ---- shared memory operands (unit_desc.c) ------------------------------------------------------

enum unit_swizzle { UNIT_SW_NONE, UNIT_SW_32, UNIT_SW_64, UNIT_SW_128, UNIT_SW_128_ATOM32 };
struct unit_desc {
    uint32_t start, lbo, sbo; // bytes
    uint32_t base_offset;     // 0..7
    enum unit_swizzle swizzle;
};
enum unit_status unit_desc_tcgen05(struct unit_desc *out, uint64_t bits);
enum unit_status unit_desc_wgmma(struct unit_desc *out, uint64_t bits);

// One instruction's share of an operand: 32 bytes along K a row, in K order. elem_bytes is the
// container (1, 2 or 4; 1 for packed FP4, K-major only).
struct unit_fetch {
    struct unit_desc desc;
    int rows;
    int elem_bytes;
    bool mn_major;
    int first; // byte of K that the rows begin with: 32 for the second half of B beside a sparse A
};
enum unit_status unit_fetch_operand(const struct unit_fetch *f, const struct unit_cta *cta,
                                    uint8_t (*out)[32]);
// Shared address of byte 'kb' from 'first' on of row 'row' after swizzling.
uint32_t unit_operand_address(const struct unit_fetch *f, int row, int kb);

// ---- tcgen05.mma (unit_idesc.c, unit_mma.c) ----------------------------------------------------

enum unit_kind {
    UNIT_KIND_F16,
    UNIT_KIND_TF32,
    UNIT_KIND_F8F6F4,
    UNIT_KIND_I8,
    UNIT_KIND_MXF8F6F4,
    UNIT_KIND_MXF4,
    UNIT_KIND_MXF4NVF4
};
struct unit_idesc {
    int m, n, k;
    enum num_fmt a, b, d, scale; // scale: NUM_UE4M3 or NUM_UE8M0 where the kind has one
    int block;                   // elements a scale serves: 16, 32, or 0
    bool mn_a, mn_b, neg_a, neg_b, saturate;
    int sfa_id, sfb_id;
    bool sparse;  // A holds k elements of the 2k that B has
    int selector; // of the metadata of 16- and 32-bit elements
};
// How the instruction is written: what the qualifiers say.
struct unit_mma_form {
    enum unit_kind kind;
    int cta_group; // 1 or 2
    int block;     // 16, 32; 0 without block_scale (block32 = 1X of mxf8f6f4, 2X of mxf4*; 16 = 4X)
    bool ws, sparse;
};
enum unit_status unit_idesc_decode(struct unit_idesc *out, const struct unit_mma_form *form,
                                   uint32_t bits);

struct unit_mma {
    struct unit_mma_form form;
    bool a_in_tmem;
    bool enable_d;        // enable-input-d
    bool check_replicas;  // report scale factors that differ between lane quarters
    int scale_d;          // scale-input-d: D * 2^-scale_d
    uint64_t a, b;        // descriptors; a is a TMEM address when a_in_tmem
    uint32_t meta;        // TMEM address of the metadata of a sparse A
    uint32_t d, sfa, sfb; // TMEM addresses; bits 31:30 of sfa/sfb may carry the scale factor id
    uint32_t idesc;
    const uint32_t *disable_lanes; // NULL, or 4 (8 for cta_group::2) words, bit = lane kept
};
// cta[0] is the leader (even rank); cta[1] is read for cta_group::2 only.
int unit_meta_cols(const struct unit_idesc *d); // columns of the metadata that one instruction reads
enum unit_status unit_mma(const struct unit_mma *op, const struct unit_cta *const cta[2]);

// ---- tcgen05.cp / ld / st / shift (unit_tmem.c) ------------------------------------------------

enum unit_cp_shape {
    UNIT_CP_32X128B_WARPX4,
    UNIT_CP_64X128B_WARPX2_02_13,
    UNIT_CP_64X128B_WARPX2_01_23,
    UNIT_CP_128X128B,
    UNIT_CP_128X256B,
    UNIT_CP_4X256B
};
enum unit_unpack { UNIT_UNPACK_NONE, UNIT_UNPACK_B4X16_P64, UNIT_UNPACK_B6X16_P32 };
struct unit_cp {
    enum unit_cp_shape shape;
    enum unit_unpack unpack;
    uint32_t taddr;
    uint64_t desc;
};
enum unit_status unit_cp(const struct unit_cp *op, const struct unit_cta *cta); // one CTA's share

enum unit_tmem_shape { UNIT_T32X32B, UNIT_T16X64B, UNIT_T16X128B, UNIT_T16X256B, UNIT_T16X32BX2 };
struct unit_ldst {
    enum unit_tmem_shape shape;
    int num;        // the xN
    int half_split; // 16x32bx2 only
    bool pack;      // ld .pack::16b / st .unpack::16b
    int warp;       // warp index in the CTA: reaches lanes 32 * (warp % 4) .. + 31
    uint32_t taddr;
};
int unit_ldst_regs(
    const struct unit_ldst *op); // registers of the form, 0 when there is no such form
int unit_ldst_cols(const struct unit_ldst *op); // columns from taddr to past the last one touched
enum unit_status unit_tmem_ld(const struct unit_ldst *op, const struct unit_cta *cta,
                              uint32_t *const *regs);
enum unit_status unit_tmem_st(const struct unit_ldst *op, const struct unit_cta *cta,
                              const uint32_t *const *regs);
enum unit_status unit_tmem_shift(uint32_t taddr, const struct unit_cta *cta); // tcgen05.shift.down

// ---- wgmma (unit_wgmma.c) ----------------------------------------------------------------------

struct unit_wgmma {
    enum num_fmt a, b, d; // d: NUM_F32, NUM_F16, NUM_I32
    int n;                // m64nNk(32 bytes)
    bool a_in_regs;
    bool mn_a, mn_b;   // imm-trans
    bool neg_a, neg_b; // imm-scale = -1
    bool scale_d;      // false: D = A*B
    bool saturate;     // integer
    bool sparse;       // A holds half of K, 32 bytes a row
    int selector;      // .sp of 16 and 32 bits: lanes 4g + 2 * selector and the next hold the metadata
    uint64_t adesc, bdesc;
};
struct unit_wgmma_regs {
    uint32_t *const *d;          // d[w * regs + r] is register r of warp w (0..3); regs = unit_wgmma_regs()
    const uint32_t *const *a;    // a[w * 4 + r], with a_in_regs
    const uint32_t *const *meta; // [w], with a sparse A
};
int unit_wgmma_regs(const struct unit_wgmma *op);
bool unit_wgmma_form(const struct unit_wgmma *op); // n and the types exist
enum unit_status unit_wgmma(const struct unit_wgmma *op, const struct unit_cta *cta,
                            const struct unit_wgmma_regs *r);

// ---- mma.sync (unit_msync.c) -------------------------------------------------------------------

// Forms: m16n8k64 mxf4/mxf4nvf4 (block 16, 32), m16n8k32 f8f6f4/mxf8f6f4/legacy FP8/s8/u8,
// m16n8k16 f16/bf16 (and k8), m16n8k8 tf32 (and k4). k tells the form; kind is F16 for f16 and
// bf16. With a sparse A k counts what A holds, half of the form's K.
struct unit_msync {
    enum unit_kind kind;
    int k;
    enum num_fmt a, b, d; // d: NUM_F32, NUM_F16 or NUM_I32
    int block;            // 16 or 32 with block_scale
    enum num_fmt scale;
    bool no_kind;    // FP8 written without .kind: bytes are plain, sm_90/100 emulate it
    bool native_fp8; // sm_120: no_kind is the native instruction
    bool saturate;   // integer .satfinite
    bool sparse;
    int selector;    // of the lanes that hold the metadata
    int byte_a, thread_a, byte_b, thread_b; // selectors
};
struct unit_msync_regs {
    uint32_t *const *d;       // 4 (f32, s32) or 2 (f16)
    const uint32_t *const *a; // 4 (2 for k8 16-bit and k4 tf32)
    const uint32_t *const *b; // 2 (1), 4 (2) with a sparse A
    const uint32_t *const *c;
    const uint32_t *sfa, *sfb; // rows of 32 lanes, or NULL
    const uint32_t *meta;      // of a sparse A, or NULL
};
bool unit_msync_form(const struct unit_msync *op); // types, K and sparsity exist together
enum unit_status unit_msync(const struct unit_msync *op, const struct unit_msync_regs *r);

// ---- ldmatrix / stmatrix / movmatrix (unit_matrix.c) -------------------------------------------

enum unit_lm_shape { UNIT_M8N8_B16, UNIT_M16N16_B8, UNIT_M8N16_B8, UNIT_M16N8_B8 };
struct unit_lm {
    enum unit_lm_shape shape; // M16N8_B8: stmatrix only
    enum unit_unpack unpack;  // b8x16.b4x16_p64 / b6x16_p32
    int num;                  // 1, 2, 4
    bool trans;
};
int unit_lm_regs(const struct unit_lm *op); // 0 when there is no such form
int unit_lm_rows(const struct unit_lm *op); // lanes whose address counts
// addr[lane]: shared memory address of a 16-byte row.
enum unit_status unit_ldmatrix(const struct unit_lm *op, const struct unit_cta *cta,
                               const uint32_t addr[32], uint32_t *const *regs);
enum unit_status unit_stmatrix(const struct unit_lm *op, const struct unit_cta *cta,
                               const uint32_t addr[32], const uint32_t *const *regs);
void unit_movmatrix(uint32_t dst[32], const uint32_t src[32]); // m8n8.trans.b16

// ---- cluster launch control (unit_clc.c) -------------------------------------------------------

#define UNIT_CLC_BYTES 16
void unit_clc_encode(uint8_t out[UNIT_CLC_BYTES], bool canceled, const uint32_t ctaid[3]);
bool unit_clc_decode(const uint8_t in[UNIT_CLC_BYTES], uint32_t ctaid[3]); // false: not canceled

#endif
