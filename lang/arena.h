// Bump allocation: everything of a compilation lives until its arena is freed.
#ifndef FP4_LANG_ARENA_H
#define FP4_LANG_ARENA_H

#include <stddef.h>

typedef struct arena arena;

arena *arena_new(void);
void arena_free(arena *a);
// Zeroed memory, aligned for any type. Out of memory ends the process with one sentence (exit 70):
// the compiler is a process of its own, never a library in somebody's program.
void *arena_alloc(arena *a, size_t bytes);
char *arena_strdup(arena *a, const char *s);
char *arena_strndup(arena *a, const char *s, size_t n);
char *arena_printf(arena *a, const char *fmt, ...);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))

#endif
