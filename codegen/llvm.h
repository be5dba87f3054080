// The builder that the recipes speak to: typed values, blocks, variables, intrinsics, inline
// assembly. llvm.c behind it is the only file that includes LLVM.
//
// Values are SSA values of LLVM; a variable (ll_var) is a stack slot of the entry block that the
// passes turn into registers, so that counters and accumulators need no hand-made phi nodes.
// Addresses in shared memory and TMEM are carried as i32 and become pointers at the instruction.
#ifndef FP4_CODEGEN_LLVM_H
#define FP4_CODEGEN_LLVM_H

#include "arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ll ll;
typedef struct LLVMOpaqueValue *ll_val;
typedef struct LLVMOpaqueBasicBlock *ll_block;

typedef enum {
    LL_VOID,
    LL_I1,
    LL_I8,
    LL_I16,
    LL_I32,
    LL_I64,
    LL_I128,
    LL_F32,
    LL_PTR,     // generic address space, the address of a tensor map
    LL_GLOBAL,  // address space 1
    LL_SHARED,  // 3, 32 bits
    LL_CLUSTER, // 7: shared memory of the cluster, 32 bits
    LL_TYPES,
} ll_type;

typedef struct {
    ll_val slot;
    ll_type type;
} ll_var;

typedef enum { LL_ARG_MAP, LL_ARG_PLAIN } ll_arg_kind;
typedef struct {
    ll_arg_kind kind; // LL_ARG_MAP: 128 bytes by value, align 64, grid constant
    ll_type type;     // LL_ARG_PLAIN
    const char *name;
} ll_arg;

typedef struct {
    const char *name; // PTX entry
    int n_args;
    const ll_arg *args;
    int threads;  // .maxntid
    int max_regs; // .maxnreg, 0: none; .minnctapersm 1 is always there
    int cluster;  // .reqnctapercluster, 1: none
} ll_kernel;

// --- Module --------------------------------------------------------------------------------------
// cpu "sm_120a", features "+ptx88". NULL and a sentence if this LLVM has no such target.
ll *ll_new(const char *cpu, const char *features, arena *mem, const char **why);
void ll_free(ll *b);
void ll_begin(ll *b, const ll_kernel *k); // the entry block is current
ll_val ll_param(ll *b, int i);
const char *ll_verify(ll *b); // NULL, or what LLVM finds malformed (a bug of ours)
const char *ll_ir(ll *b, size_t *len);
const char *ll_ptx(ll *b, const char **ptx, size_t *len); // runs the passes; NULL or a sentence

// --- Constants and arithmetic --------------------------------------------------------------------
ll_val ll_i1(ll *b, bool v);
ll_val ll_i16(ll *b, int v);
ll_val ll_i32(ll *b, int64_t v);
ll_val ll_i64(ll *b, int64_t v);
ll_val ll_f32(ll *b, double v); // must be exact in f32
ll_val ll_undef(ll *b, ll_type t); // any value
bool ll_is_const(ll_val v, int64_t *value); // an integer constant
// Address of the dynamic shared memory, 1024-aligned, as i32.
ll_val ll_smem(ll *b);

typedef enum { // ORDER as in llvm.c
    LL_ADD, LL_SUB, LL_MUL, LL_UDIV, LL_UREM, LL_SDIV, LL_SREM,
    LL_AND, LL_OR, LL_XOR, LL_SHL, LL_LSHR, LL_ASHR,
} ll_op;
ll_val ll_bin(ll *b, ll_op op, ll_val x, ll_val y);
ll_val ll_bini(ll *b, ll_op op, ll_val x, int64_t y); // the constant has x's type
static inline ll_val ll_add(ll *b, ll_val x, ll_val y) { return ll_bin(b, LL_ADD, x, y); }
static inline ll_val ll_sub(ll *b, ll_val x, ll_val y) { return ll_bin(b, LL_SUB, x, y); }
static inline ll_val ll_mul(ll *b, ll_val x, ll_val y) { return ll_bin(b, LL_MUL, x, y); }
static inline ll_val ll_addi(ll *b, ll_val x, int64_t y) { return ll_bini(b, LL_ADD, x, y); }
static inline ll_val ll_muli(ll *b, ll_val x, int64_t y) { return ll_bini(b, LL_MUL, x, y); }

typedef enum { // ORDER as in llvm.c; the F ones are ordered comparisons of floats, NE unordered
    LL_EQ, LL_NE, LL_ULT, LL_ULE, LL_UGT, LL_UGE, LL_SLT, LL_SLE, LL_SGT, LL_SGE,
    LL_FEQ, LL_FNE, LL_FLT, LL_FLE, LL_FGT, LL_FGE,
} ll_pred;
ll_val ll_cmp(ll *b, ll_pred p, ll_val x, ll_val y);
ll_val ll_cmpi(ll *b, ll_pred p, ll_val x, int64_t y);
ll_val ll_select(ll *b, ll_val c, ll_val x, ll_val y);
ll_val ll_not(ll *b, ll_val x); // i1

// Integers: zero extension or truncation; i1 to anything zero-extends. Pointers: to and from
// integers, and between address spaces. f32 <-> i32 keeps the bits.
ll_val ll_to(ll *b, ll_val v, ll_type t);
ll_val ll_sext(ll *b, ll_val v, ll_type t);
ll_val ll_sitofp(ll *b, ll_val v);

// --- Variables -----------------------------------------------------------------------------------
ll_var ll_variable(ll *b, ll_type t, const char *name); // undefined until set
ll_val ll_get(ll *b, ll_var v);
void ll_set(ll *b, ll_var v, ll_val x);

// --- Memory --------------------------------------------------------------------------------------
// addr: an i32 (shared memory) or a pointer.
ll_val ll_load(ll *b, ll_type t, ll_val addr, int align, bool is_volatile);
void ll_store(ll *b, ll_val v, ll_val addr, int align);
// n words of 32 bits at once (n 1, 2 or 4), aligned to their size.
void ll_load_words(ll *b, ll_val addr, int n, ll_val *out);
void ll_store_words(ll *b, ll_val addr, int n, const ll_val *words);

// --- Control flow --------------------------------------------------------------------------------
ll_block ll_new_block(ll *b, const char *name);
void ll_at(ll *b, ll_block k); // continue there
void ll_br(ll *b, ll_block k);
void ll_cond(ll *b, ll_val c, ll_block yes, ll_block no);
void ll_ret(ll *b);

// if (c) { ... } [else { ... }]:  ll_if f = ll_if_begin(b, c); ...; ll_if_end(b, f);
typedef struct {
    ll_block other, end;
} ll_if;
ll_if ll_if_begin(ll *b, ll_val c);
void ll_if_else(ll *b, ll_if *f);
void ll_if_end(ll *b, ll_if f);
// Loops test before the body; never unrolled. while: ll_loop l = ll_loop_begin(b);
// c = ...; ll_loop_while(b, l, c); body; ll_loop_end(b, l);
typedef struct {
    ll_block head, body, end;
} ll_loop;
ll_loop ll_loop_begin(ll *b, const char *name);
void ll_loop_while(ll *b, ll_loop *l, ll_val c);
void ll_loop_end(ll *b, ll_loop l);

// --- Calls ---------------------------------------------------------------------------------------
// An intrinsic by its name without the overload suffix. 'over' is the type it is overloaded on
// (LL_VOID: none); arguments are converted to the parameter types with ll_to. Calls are convergent.
ll_val ll_intr(ll *b, const char *name, ll_type over, int n, const ll_val *args);
#define LL_INTR(b, name, ...)                                                                      \
    ll_intr((b), (name), LL_VOID, (int)(sizeof((ll_val[]){__VA_ARGS__}) / sizeof(ll_val)),         \
            (ll_val[]){__VA_ARGS__})
#define LL_INTR0(b, name) ll_intr((b), (name), LL_VOID, 0, NULL)
ll_val ll_extract(ll *b, ll_val aggregate, int i); // member of a struct or element of a vector

typedef struct {
    const char *text;        // "$0, $1" operands, "$$" a dollar
    const char *constraints; // "=r,r,~{memory}"
    bool effect;             // keeps its place among other effects, never deleted, convergent
    int n_out;               // more than one: a struct of them
    ll_type out[8];          // more than 8: all are like the first
} ll_asm;
ll_val ll_call_asm(ll *b, const ll_asm *a, int n, const ll_val *args);
#define LL_ASM(b, a, ...)                                                                          \
    ll_call_asm((b), (a), (int)(sizeof((ll_val[]){__VA_ARGS__}) / sizeof(ll_val)),                 \
                (ll_val[]){__VA_ARGS__})

#endif
