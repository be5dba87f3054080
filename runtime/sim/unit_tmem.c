// Tensor memory movers: tcgen05.cp (shared memory to tensor memory), tcgen05.ld/st (registers),
// tcgen05.shift. Maps after PTX ISA "Tensor Memory and Register Load/Store" and "tcgen05.cp".
#include "unit_operand.h"

// ---- tcgen05.cp -------------------------------------------------------------------------------

struct cp_form {
    int rows, bytes; // of the shared memory image
    int copies;
    int lane_step; // lane of row r is r * lane_step, before copies
};

static const struct cp_form cp_forms[] = {
    [UNIT_CP_32X128B_WARPX4] = {32, 16, 4, 1},
    [UNIT_CP_64X128B_WARPX2_02_13] = {64, 16, 2, 1},
    [UNIT_CP_64X128B_WARPX2_01_23] = {64, 16, 2, 1},
    [UNIT_CP_128X128B] = {128, 16, 1, 1},
    [UNIT_CP_128X256B] = {128, 32, 1, 1},
    [UNIT_CP_4X256B] = {4, 32, 1, 32},
};

// Lane of copy 'copy' of row 'row'.
static int cp_lane(enum unit_cp_shape shape, int row, int copy) {
    switch (shape) {
    case UNIT_CP_32X128B_WARPX4:
        return row + 32 * copy;
    case UNIT_CP_64X128B_WARPX2_02_13:
        return row + 64 * copy;
    case UNIT_CP_64X128B_WARPX2_01_23:
        return row % 32 + 64 * (row / 32) + 32 * copy;
    default:
        return row * cp_forms[shape].lane_step;
    }
}

// One row of 'bytes' destination bytes. With decompression 16 codes a chunk come from the first 8
// or 12 bytes of the chunk.
static enum unit_status cp_row(const struct unit_cp *op, const struct unit_fetch *f, int row,
                               const struct unit_cta *cta, uint8_t out[32]) {
    for (int kb = 0; kb < cp_forms[op->shape].bytes; kb += 16) {
        uint32_t address = unit_operand_address(f, row, kb);
        if (address + 16 > cta->smem_bytes) {
            return UNIT_SMEM_RANGE;
        }
        unit_expand_16(op->unpack, cta->smem + address, out + kb);
    }
    return UNIT_OK;
}

enum unit_status unit_cp(const struct unit_cp *op, const struct unit_cta *cta) {
    const struct cp_form *form = &cp_forms[op->shape];
    struct unit_fetch f = {.rows = form->rows, .elem_bytes = 1};
    enum unit_status s = unit_desc_tcgen05(&f.desc, op->desc);
    if (s != UNIT_OK) {
        return s;
    }
    uint32_t column = op->taddr & 0xFFFF;
    int words = form->bytes / 4;
    if (op->taddr >> 16) {
        return UNIT_TMEM_LANE;
    }
    if (column + (uint32_t)words > UNIT_TMEM_COLS) {
        return UNIT_TMEM_RANGE;
    }
    uint8_t image[UNIT_TMEM_LANES][32];
    for (int row = 0; row < form->rows && s == UNIT_OK; row++) {
        s = cp_row(op, &f, row, cta, image[row]);
    }
    if (s != UNIT_OK) {
        return s;
    }
    for (int row = 0; row < form->rows; row++) {
        for (int copy = 0; copy < form->copies; copy++) {
            int lane = cp_lane(op->shape, row, copy);
            for (int w = 0; w < words; w++) {
                memcpy(&cta->tmem[column + (uint32_t)w][lane], &image[row][4 * w], 4);
            }
        }
    }
    return UNIT_OK;
}

// ---- tcgen05.ld / st --------------------------------------------------------------------------

struct ldst_form {
    int per_num; // registers a repetition
    int max_num;
    int lanes;
};

static const struct ldst_form ldst_forms[] = {
    [UNIT_T32X32B] = {1, 128, 32}, [UNIT_T16X64B] = {1, 128, 16},   [UNIT_T16X128B] = {2, 64, 16},
    [UNIT_T16X256B] = {4, 32, 16}, [UNIT_T16X32BX2] = {1, 128, 16},
};

int unit_ldst_regs(const struct unit_ldst *op) {
    const struct ldst_form *f = &ldst_forms[op->shape];
    bool power = op->num > 0 && (op->num & (op->num - 1)) == 0;
    return power && op->num <= f->max_num ? op->num * f->per_num : 0;
}

// Where thread t's register r lies, relative to the address. ORDER ldst
static void cell_of(const struct unit_ldst *op, int t, int r, int *lane, int *column) {
    switch (op->shape) {
    case UNIT_T32X32B:
        *lane = t;
        *column = r;
        break;
    case UNIT_T16X64B:
        *lane = t / 4 + 8 * (t & 1);
        *column = 2 * r + (t >> 1 & 1);
        break;
    case UNIT_T16X128B:
        *lane = t / 4 + 8 * (r & 1);
        *column = 4 * (r >> 1) + t % 4;
        break;
    case UNIT_T16X256B:
        *lane = t / 4 + 8 * (r >> 1 & 1);
        *column = 8 * (r >> 2) + 2 * (t % 4) + (r & 1);
        break;
    case UNIT_T16X32BX2:
        *lane = t % 16;
        *column = (t < 16 ? 0 : op->half_split) + r;
        break;
    }
}

int unit_ldst_cols(const struct unit_ldst *op) {
    int regs = unit_ldst_regs(op);
    int last = 0;
    for (int t = 0; regs && t < 32; t++) {
        int lane;
        int column;
        cell_of(op, t, regs - 1, &lane, &column);
        last = column > last ? column : last;
    }
    return op->pack ? 2 * (last + 1) : last + 1;
}

// The warp's lane quarter is forced by hardware: the lane field may be left 0 or carry it. 16-lane
// shapes may add 16.
static enum unit_status ldst_base(const struct unit_ldst *op, int *lane, int *column) {
    if (unit_ldst_regs(op) == 0 || (op->shape == UNIT_T16X32BX2 && op->half_split < 0)) {
        return UNIT_SHAPE;
    }
    int quarter = 32 * (op->warp % 4);
    int field = (int)(op->taddr >> 16);
    int rest = field % 32;
    bool quarter_ok = field - rest == 0 || field - rest == quarter;
    if (!quarter_ok || !(rest == 0 || (rest == 16 && ldst_forms[op->shape].lanes == 16))) {
        return UNIT_TMEM_LANE;
    }
    *lane = quarter + rest;
    *column = (int)(op->taddr & 0xFFFF);
    return *column + unit_ldst_cols(op) > UNIT_TMEM_COLS ? UNIT_TMEM_RANGE : UNIT_OK;
}

enum unit_status unit_tmem_ld(const struct unit_ldst *op, const struct unit_cta *cta,
                              uint32_t *const *regs) {
    int lane0;
    int column0;
    enum unit_status s = ldst_base(op, &lane0, &column0);
    if (s != UNIT_OK) {
        return s;
    }
    int n = unit_ldst_regs(op);
    for (int r = 0; r < n; r++) {
        if (op->shape == UNIT_T32X32B && !op->pack) {
            memcpy(regs[r], &cta->tmem[column0 + r][lane0], 32 * sizeof(uint32_t));
            continue;
        }
        for (int t = 0; t < 32; t++) {
            int lane;
            int column;
            cell_of(op, t, r, &lane, &column);
            lane += lane0;
            if (op->pack) { // two 16-bit columns a register
                uint32_t low = cta->tmem[column0 + 2 * column][lane] & 0xFFFF;
                regs[r][t] = low | cta->tmem[column0 + 2 * column + 1][lane] << 16;
            } else {
                regs[r][t] = cta->tmem[column0 + column][lane];
            }
        }
    }
    return UNIT_OK;
}

enum unit_status unit_tmem_st(const struct unit_ldst *op, const struct unit_cta *cta,
                              const uint32_t *const *regs) {
    int lane0;
    int column0;
    enum unit_status s = ldst_base(op, &lane0, &column0);
    if (s != UNIT_OK) {
        return s;
    }
    int n = unit_ldst_regs(op);
    for (int r = 0; r < n; r++) {
        for (int t = 0; t < 32; t++) {
            int lane;
            int column;
            cell_of(op, t, r, &lane, &column);
            lane += lane0;
            if (op->pack) {
                cta->tmem[column0 + 2 * column][lane] = regs[r][t] & 0xFFFF;
                cta->tmem[column0 + 2 * column + 1][lane] = regs[r][t] >> 16;
            } else {
                cta->tmem[column0 + column][lane] = regs[r][t];
            }
        }
    }
    return UNIT_OK;
}

// tcgen05.shift.down: rows move one lane down (lane i takes lane i + 1) over 32 bytes of columns;
// the last lane stays. The address is that of a quarter's first lane.
enum unit_status unit_tmem_shift(uint32_t taddr, const struct unit_cta *cta) {
    uint32_t lane0 = taddr >> 16;
    uint32_t column = taddr & 0xFFFF;
    if (lane0 % 32) {
        return UNIT_TMEM_LANE;
    }
    if (column + 8 > UNIT_TMEM_COLS || lane0 >= UNIT_TMEM_LANES) {
        return UNIT_TMEM_RANGE;
    }
    for (uint32_t w = 0; w < 8; w++) {
        uint32_t *lanes = cta->tmem[column + w];
        memmove(lanes + lane0, lanes + lane0 + 1, (UNIT_TMEM_LANES - 1 - lane0) * sizeof *lanes);
    }
    return UNIT_OK;
}
