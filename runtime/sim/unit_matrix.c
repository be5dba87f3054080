// ldmatrix, stmatrix and movmatrix of one warp (PTX ISA "Warp-level matrix load instruction" and
// its neighbours). g = lane / 4, q = lane % 4; every row is 16 bytes of shared memory at its own
// address.
#include "unit_operand.h"

#define ROW_BYTES 16

static int rows_per_matrix(const struct unit_lm *op) {
    return op->shape == UNIT_M16N16_B8 ? 16 : 8;
}

int unit_lm_rows(const struct unit_lm *op) {
    return op->num * rows_per_matrix(op);
}

int unit_lm_regs(const struct unit_lm *op) {
    bool power = op->num == 1 || op->num == 2 || op->num == 4;
    switch (op->shape) {
    case UNIT_M8N8_B16:
        return power && op->unpack == UNIT_UNPACK_NONE ? op->num : 0;
    case UNIT_M16N16_B8: // .trans is mandatory, two registers a matrix
        return power && op->trans && op->num <= 2 ? 2 * op->num : 0;
    case UNIT_M8N16_B8: // only with expansion
        return power && !op->trans && op->unpack != UNIT_UNPACK_NONE ? op->num : 0;
    default:
        return power && op->trans && op->unpack == UNIT_UNPACK_NONE ? op->num : 0;
    }
}

static enum unit_status check_rows(const struct unit_lm *op, const struct unit_cta *cta,
                                   const uint32_t addr[32]) {
    if (unit_lm_regs(op) == 0) {
        return UNIT_SHAPE;
    }
    for (int i = 0; i < unit_lm_rows(op); i++) {
        if (addr[i] % ROW_BYTES) {
            return UNIT_SMEM_ALIGN;
        }
        if (addr[i] > cta->smem_bytes || cta->smem_bytes - addr[i] < ROW_BYTES) {
            return UNIT_SMEM_RANGE;
        }
    }
    return UNIT_OK;
}

static uint32_t pair_of(uint8_t (*m)[ROW_BYTES], int row0, int row1, int col0, int col1) {
    uint16_t low;
    uint16_t high;
    memcpy(&low, &m[row0][2 * col0], 2);
    memcpy(&high, &m[row1][2 * col1], 2);
    return low | (uint32_t)high << 16;
}

static uint32_t column_of_bytes(uint8_t (*m)[ROW_BYTES], int row, int col) {
    return m[row][col] | (uint32_t)m[row + 1][col] << 8 | (uint32_t)m[row + 2][col] << 16 |
           (uint32_t)m[row + 3][col] << 24;
}

enum unit_status unit_ldmatrix(const struct unit_lm *op, const struct unit_cta *cta,
                               const uint32_t addr[32], uint32_t *const *regs) {
    enum unit_status s = op->shape == UNIT_M16N8_B8 ? UNIT_SHAPE : check_rows(op, cta, addr);
    if (s != UNIT_OK) {
        return s;
    }
    int rows = rows_per_matrix(op);
    uint8_t m[32][ROW_BYTES];
    for (int i = 0; i < unit_lm_rows(op); i++) {
        unit_expand_16(op->unpack, cta->smem + addr[i], m[i]);
    }
    for (int i = 0; i < op->num; i++) {
        uint8_t(*x)[ROW_BYTES] = m + i * rows;
        for (int lane = 0; lane < 32; lane++) {
            int g = lane / 4;
            int q = lane % 4;
            if (op->shape == UNIT_M16N16_B8) {
                regs[2 * i][lane] = column_of_bytes(x, 4 * q, g);
                regs[2 * i + 1][lane] = column_of_bytes(x, 4 * q, g + 8);
            } else if (op->trans) {
                regs[i][lane] = pair_of(x, 2 * q, 2 * q + 1, g, g);
            } else {
                memcpy(&regs[i][lane], &x[g][4 * q], 4);
            }
        }
    }
    return UNIT_OK;
}

enum unit_status unit_stmatrix(const struct unit_lm *op, const struct unit_cta *cta,
                               const uint32_t addr[32], const uint32_t *const *regs) {
    bool shape_ok = op->shape == UNIT_M8N8_B16 || op->shape == UNIT_M16N8_B8;
    enum unit_status s = shape_ok ? check_rows(op, cta, addr) : UNIT_SHAPE;
    if (s != UNIT_OK) {
        return s;
    }
    for (int i = 0; i < op->num; i++) {
        const uint32_t *at = addr + 8 * i;
        for (int lane = 0; lane < 32; lane++) {
            int g = lane / 4;
            int q = lane % 4;
            uint32_t word = regs[i][lane];
            if (op->shape == UNIT_M16N8_B8) { // byte j: row 2q + (j&1), column g + 8*(j>>1)
                for (int j = 0; j < 4; j++) {
                    cta->smem[at[2 * q + (j & 1)] + (uint32_t)(g + 8 * (j >> 1))] =
                        (uint8_t)(word >> 8 * j);
                }
            } else if (op->trans) {
                uint16_t half[2] = {(uint16_t)word, (uint16_t)(word >> 16)};
                memcpy(cta->smem + at[2 * q] + 2 * g, &half[0], 2);
                memcpy(cta->smem + at[2 * q + 1] + 2 * g, &half[1], 2);
            } else {
                memcpy(cta->smem + at[g] + 4 * q, &word, 4);
            }
        }
    }
    return UNIT_OK;
}

void unit_movmatrix(uint32_t dst[32], const uint32_t src[32]) {
    uint8_t m[8][ROW_BYTES];
    memcpy(m, src, sizeof m); // lane 4g + q holds bytes 4q.. of row g
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4;
        int q = lane % 4;
        dst[lane] = pair_of(m, 2 * q, 2 * q + 1, g, g);
    }
}
