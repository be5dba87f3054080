// The source texts of a compilation, and places in them.
#ifndef FP4_LANG_SRC_H
#define FP4_LANG_SRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct src_map src_map;

src_map *src_new(void);
void src_free(src_map *s);
// Adds a text (copied); returns its file number, the first is 0.
uint32_t src_add_text(src_map *s, const char *name, const char *text, size_t len);
// Reads a file; false with a sentence in *why if it cannot be read.
bool src_add_file(src_map *s, const char *path, uint32_t *file, const char **why);
void src_add_include_dir(src_map *s, const char *dir);
int src_n_include_dirs(const src_map *s);
const char *src_include_dir(const src_map *s, int i);
uint32_t src_n_files(const src_map *s);
const char *src_name(const src_map *s, uint32_t file);
const char *src_text(const src_map *s, uint32_t file, size_t *len);
// 1-based line and column (bytes) of an offset.
void src_place(const src_map *s, uint32_t file, uint32_t off, int *line, int *col);

#endif
