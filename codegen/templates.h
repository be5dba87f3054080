// The texts of templates/, as the build made them part of the program.
#ifndef FP4_CODEGEN_TEMPLATES_H
#define FP4_CODEGEN_TEMPLATES_H

extern const char template_lib_h[];
extern const char template_lib_c[];
extern const char template_driver_h[];
extern const char template_driver_c[];
extern const char template_ffi_c[];

#endif
