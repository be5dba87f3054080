// Shared by ptx_parse.c, ptx_scope.c, ptx_operand.c and ptx_call.c only: the token stream and the symbol table.
#ifndef FP4_SIM_PTX_PARSE_H
#define FP4_SIM_PTX_PARSE_H

#include "ptx.h"

void *ptx_new(struct ptx_parser *p, size_t bytes); // until the module is loaded
void ptx_next(struct ptx_parser *p);
_Noreturn void ptx_unexpected(struct ptx_parser *p, const char *wanted);
bool ptx_is(const struct ptx_parser *p, char c);
bool ptx_accept(struct ptx_parser *p, char c);
void ptx_expect(struct ptx_parser *p, char c);

// A register (index is its number in a range) or variable of the scopes around; NULL: unknown.
const struct ptx_symbol *ptx_lookup(struct ptx_parser *p, const char *name, uint32_t length,
                                    uint32_t *index);
uint16_t ptx_read_operand(struct ptx_parser *p);
void ptx_scope_open(struct ptx_parser *p);
void ptx_scope_close(struct ptx_parser *p); // branches to its labels get their targets
struct ptx_symbol *ptx_new_symbol(struct ptx_parser *p, enum ptx_symbol_kind kind); // takes the token
struct ptx_symbol *ptx_find_label(struct ptx_scope *s, const char *name, uint32_t length);
void ptx_block(struct ptx_parser *p); // { statements }
// A formal parameter of a function: .param or .reg, its type, name and extent.
struct ptx_symbol *ptx_formal(struct ptx_parser *p);
void ptx_instruction(struct ptx_parser *p); // [@[!]p] opcode operands ;
void ptx_end_kernel(struct ptx_parser *p);

#endif
