// What comes with the language: element names, the standard modules, the built-in functions,
// reductions.
#ifndef FP4_LANG_STD_H
#define FP4_LANG_STD_H

#include "arena.h"
#include "ast.h"

// A format that is one plain element ("bf16"): the same pointer for the same element.
const ast_format *std_plain_format(elem_kind e);
bool elem_is_scale(elem_kind e);   // class S
const char *elem_list(arena *mem); // "e2m1, e2m3, ..."

// Source text of "std.formats", NULL if there is no such module.
const char *std_module_text(const char *path);
const char *std_module_list(arena *mem);
// What a function of a module gives, when that is a record: std_record("moe", "route").
const ast_record *std_record(const char *module, const char *name);

const char *builtin_name(builtin_kind b);
int builtin_arity(builtin_kind b);
bool builtin_find(const char *name, builtin_kind *b);
const char *reduce_name(reduce_kind r);
bool reduce_find(const char *name, reduce_kind *r);

#endif
