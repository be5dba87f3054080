// The front end of the simulator: PTX text -> instructions -> micro-operations (core.h).
//
// ptx_lex.c cuts text into tokens; ptx_parse.c reads directives, scopes and operands; the dec_*.c
// files turn one parsed instruction into one micro-operation. Whatever is not understood is refused
// with the line and the text of the instruction; malformed text never crashes.
#ifndef FP4_SIM_PTX_H
#define FP4_SIM_PTX_H

#include "core.h"
#include <setjmp.h>

enum ptx_word {
    W_NONE,
#define TYPE(ID, text, bits) W_##ID,
#define MOD(ID, text)
#include "words.def"
#undef TYPE
#undef MOD
    W_TYPE_END,
#define TYPE(ID, text, bits)
#define MOD(ID, text) W_##ID,
#include "words.def"
#undef TYPE
#undef MOD
    W_COUNT
};
enum ptx_word ptx_word_find(const char *text, size_t length); // W_NONE: unknown
const char *ptx_word_text(enum ptx_word w);
int ptx_type_bits(enum ptx_word type);
static inline bool ptx_is_float(enum ptx_word t) {
    return t == W_F16 || t == W_BF16 || t == W_F32 || t == W_F64 || t == W_F16X2 || t == W_BF16X2 ||
           t == W_TF32 || t == W_F32X2;
}
static inline bool ptx_is_signed(enum ptx_word t) {
    return t == W_S8 || t == W_S16 || t == W_S32 || t == W_S64;
}

// ---- tokens -------------------------------------------------------------------------------------
enum ptx_token_kind {
    TK_EOF,
    TK_WORD,    // identifier, opcode, %register
    TK_DOT,     // .word or .word::word
    TK_INT,     // value
    TK_FLOAT,   // bits of a double in value (decimal or 0d...)
    TK_FLOAT32, // bits of a float in value (0f...)
    TK_STRING,
    TK_PUNCT, // one character
    TK_BAD
};
struct ptx_token {
    enum ptx_token_kind kind;
    const char *text;
    uint32_t length;
    uint32_t line;
    uint64_t value;
};
struct ptx_lexer {
    const char *at, *end;
    uint32_t line;
};
struct ptx_token ptx_lex(struct ptx_lexer *lx);

// ---- symbols ------------------------------------------------------------------------------------
enum ptx_space { SP_GENERIC, SP_GLOBAL, SP_SHARED, SP_LOCAL, SP_PARAM, SP_CALL_PARAM };

enum ptx_symbol_kind { SYM_REG, SYM_VAR, SYM_LABEL, SYM_FUNC };
struct ptx_symbol {
    struct ptx_symbol *next;
    enum ptx_symbol_kind kind;
    const char *name;
    uint32_t length;
    // SYM_REG: a range prefix<count> when count > 0; rows are given out at the first use
    enum ptx_word type;
    uint32_t count;
    uint32_t vector; // registers of one, 1 but for .v2 and .v4
    uint32_t *rows; // row or predicate number of each, 0 = not used yet
    // SYM_VAR
    enum ptx_space space;
    uint64_t address; // device address, offset in its space
    uint64_t bytes;
    uint32_t align;
    bool is_extern;
    bool placed; // a shared variable that has its offset in the kernel at hand
    struct ptx_symbol *next_static; // of those that bodies of functions declare
    // SYM_LABEL
    uint32_t target;
    bool is_return; // of a function that is being expanded
};
// A .func of the module.
struct ptx_func {
    struct ptx_func *next, *next_named;
    const char *name;
    uint32_t length, number;
    int n_ret, n_arg;        // parameters of its head
    struct ptx_lexer header; // behind '.func' and an '.attribute'
    bool has_body, taken;    // taken: its address is
};
// A branch whose label has not been seen in its scope yet.
struct ptx_fixup {
    struct ptx_fixup *next;
    const char *name;
    uint32_t length, line;
    uint32_t uop;   // index of the branch, or
    uint32_t *slot; // an entry of a branch table
};
struct ptx_scope {
    struct ptx_scope *parent;
    struct ptx_symbol *symbols; // registers and variables
    struct ptx_symbol *labels;
    struct ptx_fixup *fixups;
    bool is_body; // the outermost block of a kernel
};

// ---- instructions -------------------------------------------------------------------------------
enum ptx_operand_kind {
    OP_NONE,
    OP_REG,     // symbol register: row
    OP_PRED,    // predicate register: row, negated
    OP_SREG,    // special register
    OP_INT,     // value
    OP_FLOAT,   // value = bits of a double
    OP_FLOAT32, // value = bits of a float
    OP_VAR,     // symbol + value
    OP_NAME,    // a name that is no register and no variable: a label or function
    OP_SINK,    // _
    OP_VECTOR,  // n operands from first on
    OP_ADDRESS  // [base + value] or [base + value, {vector}]; base is operand 'first'
};
struct ptx_operand {
    enum ptx_operand_kind kind;
    enum ptx_word type; // of a register
    bool negated;       // !p
    bool has_coords;    // OP_ADDRESS: the vector is operand 'second'
    uint16_t first, second, n;
    uint32_t row;
    uint32_t sreg;
    uint64_t value;
    const struct ptx_symbol *symbol;
    const char *name;
    uint32_t length;
    int16_t pair; // d|p: operand number of p, or -1
};

enum { PTX_MAX_MODS = 32, PTX_MAX_OPERANDS = 320, PTX_MAX_ARGS = 16 };
struct ptx_ins {
    const char *text; // of the whole instruction
    uint32_t length, line;
    const char *opcode;
    uint32_t opcode_length;
    uint16_t mods[PTX_MAX_MODS]; // W_NONE once consumed
    int n_mods;
    int shape_n, shape_k; // of W_M64NK
    struct ptx_operand pool[PTX_MAX_OPERANDS];
    int n_pool;
    uint16_t arg[PTX_MAX_ARGS]; // top-level operands, numbers in pool
    int n_args;
    uint32_t guard; // predicate number, 0 always
    bool guard_negated;
};

enum { PTX_FUNC_LISTS = 1024 };
// A module or kernel under construction. Errors leave by longjmp to ptx_load.
struct ptx_parser {
    struct sim *sim;
    struct sim_module *module;
    struct ptx_lexer lx;
    struct ptx_token tok, ahead;
    struct ptx_scope *scope, *module_scope;
    struct sim_kernel *kernel;
    struct arena *arena; // symbols, scopes
    struct ptx_ins *ins;
    uint32_t uop_capacity, const_capacity, use_capacity;
    uint32_t source_line; // of the last .loc
    uint32_t smem_used;   // static shared memory of the kernel at hand
    int depth;            // of nested braces
    struct ptx_func *funcs; // the last one first
    struct ptx_func *func_named[PTX_FUNC_LISTS];
    bool funcs_searched;    // for those whose address is taken
    struct ptx_frame *frame; // the function that is being expanded, or NULL
    struct ptx_symbol *statics; // .global and .shared variables of functions, made once
    uint32_t n_expanded;        // calls of the kernel at hand
    uint64_t read_again;        // bytes of text that they are
    jmp_buf fail;
};

_Noreturn void ptx_fail(struct ptx_parser *p, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// A branch of the kernel at hand to a label that may come later.
void ptx_branch_to(struct ptx_parser *p, const struct ptx_fixup *what);
// A table of branch targets (rows, count); NULL: no such label.
struct ptx_symbol *ptx_find_table(struct ptx_parser *p, const char *name, uint32_t length);
_Noreturn void ptx_refuse(struct ptx_parser *p, const char *why); // the instruction at hand

// ---- what decoders use (dec_util.c) -------------------------------------------------------------
typedef void ptx_decoder(struct ptx_parser *p, struct ptx_ins *i);

bool ptx_take(struct ptx_ins *i, enum ptx_word w); // consume a modifier if it is there
enum ptx_word ptx_take_type(struct ptx_ins *i);    // the first type left, W_NONE when none
enum ptx_word ptx_need_type(struct ptx_parser *p); // refuse when there is none
// The first of words[0..n-1] that is there (consumed); -1 when none is.
int ptx_take_one(struct ptx_ins *i, const uint16_t *words, int n);
void ptx_take_all(struct ptx_ins *i, const uint16_t *words, int n); // ignore these
void ptx_take_order(struct ptx_ins *i); // .relaxed .gpu ... of memory operations
void ptx_take_cache(struct ptx_ins *i); // cache hints without operands
void ptx_need_args(struct ptx_parser *p, int least, int most);
struct ptx_operand *ptx_arg(struct ptx_ins *i, int n);
struct ptx_operand *ptx_part(struct ptx_ins *i, const struct ptx_operand *v, int n); // of a vector

struct uop *ptx_emit(struct ptx_parser *p, uop_fn *fn);                 // with guard and line set
struct uop *ptx_emit_rows(struct ptx_parser *p, uop_fn *fn, uint32_t d, const uint32_t source[3]);
uint32_t ptx_row_const(struct ptx_parser *p, uint64_t bits, int width); // 32, 64 or 128
uint32_t ptx_row_src(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type);
uint32_t ptx_row_dst(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type);
// Loads and stores let the register be wider than the type; *bits is the register's width.
uint32_t ptx_row_wide(struct ptx_parser *p, const struct ptx_operand *o, enum ptx_word type,
                      int *bits, bool dst);
uint32_t ptx_pred_src(struct ptx_parser *p, const struct ptx_operand *o, bool *negated);
uint32_t ptx_pred_dst(struct ptx_parser *p, const struct ptx_operand *o);
void ptx_note_guard(struct ptx_parser *p, const struct ptx_operand *o);
// Row of the base of an address operand, 64 bits; *offset is what to add. Space as written.
uint32_t ptx_row_address(struct ptx_parser *p, const struct ptx_operand *o, int64_t *offset);
uint64_t ptx_need_int(struct ptx_parser *p, const struct ptx_operand *o);
void *ptx_aux_alloc(struct ptx_parser *p, size_t bytes); // lives as long as the module, zeroed
uint32_t ptx_new_row(struct ptx_parser *p, int bits);
uint32_t ptx_new_pred(struct ptx_parser *p);
enum ptx_space ptx_take_space(struct ptx_ins *i, bool *cluster);

// Functions (ptx_call.c).
void ptx_find_functions(struct ptx_parser *p); // all of the text
struct ptx_func *ptx_find_func(struct ptx_parser *p, const char *name, uint32_t length);
uint64_t ptx_func_address(const struct ptx_func *f);
void ptx_call(struct ptx_parser *p);   // behind the modifiers of a call
void ptx_return(struct ptx_parser *p); // ret, of a function
void ptx_emit_mov(struct ptx_parser *p, uint32_t d, uint32_t a, int bits);

ptx_decoder *ptx_find_decoder(const char *opcode, size_t length);
void ptx_finish_ins(struct ptx_parser *p);          // refuse when modifiers are left
int ptx_find_sreg(const char *name, size_t length); // -1: none

// A matrix element type; a fragment of 'regs' 32-bit registers, argument n (dec_tensor.c).
enum num_fmt ptx_need_format(struct ptx_parser *p);
void ptx_fragment(struct ptx_parser *p, int n, int regs, uint32_t *rows, bool dst);

void dec_mixed(struct ptx_parser *p, struct ptx_ins *i, enum ptx_word type, enum ptx_word narrow);

// dec_*.c, one entry of ops.def each
#define OPCODE(text, decoder) void decoder(struct ptx_parser *p, struct ptx_ins *i);
#include "ops.def"
#undef OPCODE

#endif
