#!/bin/sh
# Checks the direction of dependencies: lang <- compiler <- codegen; runtime stands alone but for the
# tables of element types, of layouts and of the special function unit, and the module format; LLVM headers
# in one file; CUDA driver types in one.
set -u
cd "$1" || exit 1
bad=$(mktemp) # a file: 'complain' runs in the subshell of its pipe
trap 'rm -f "$bad"' EXIT

# complain NAME, reads offending lines on standard input
complain() {
    lines=$(cat)
    if [ -n "$lines" ]; then
        printf '%s:\n%s\n' "$1" "$lines"
        echo 1 >"$bad"
    fi
}

includes() { # folder pattern
    grep -rnE "^ *# *include *\"[^\"]*($2)" "$1" --include='*.c' --include='*.h' --include='*.re' 2>/dev/null
}

# Headers by folder, to catch includes that rely on the include path.
names_of() {
    find "$1" -name '*.h' -o -name '*.def' | sed 's#.*/##' | sort -u | sed 's/\./\\./g' | paste -sd'|' -
}

uses() { # from-folder headers-of-folder
    grep -rnE "^ *# *include *\"([^\"]*/)?($(names_of "$2"))\"" "$1" --include='*.c' --include='*.h' \
        --include='*.re' 2>/dev/null
}

own() { # drops lines whose header also exists in the including folder itself
    while IFS= read -r line; do
        header=$(printf '%s' "$line" | sed 's/.*"\(.*\)".*/\1/; s#.*/##')
        find "$1" -name "$header" | grep -q . || printf '%s\n' "$line"
    done
}

uses lang compiler | own lang | complain "lang includes compiler"
uses lang codegen | own lang | complain "lang includes codegen"
uses lang runtime | own lang | grep -vE '(elem|layout)\.def' | complain "lang includes runtime"
grep -rnE '^ *# *include *"' compiler --include='*.c' --include='*.h' | grep -v '^compiler/driver/' |
    grep -E "\"([^\"]*/)?($(names_of codegen))\"" | own compiler | complain "compiler includes codegen"
grep -rnE '^ *# *include *"' compiler --include='*.c' --include='*.h' | grep -v '^compiler/driver/' |
    grep -E "\"([^\"]*/)?($(names_of runtime))\"" | own compiler | grep -vE 'elem\.def|mufu\.def' |
    complain "compiler includes runtime"
uses codegen runtime | own codegen | grep -vE 'module\.h|elem\.def' | complain "codegen includes runtime"
for part in lang compiler codegen lib; do
    uses runtime "$part" | own runtime | complain "runtime includes $part"
done
grep -rlE '^ *# *include *<llvm-c/' lang compiler codegen runtime lib tests examples 2>/dev/null |
    grep -v '^codegen/llvm\.c$' | complain "LLVM headers outside codegen/llvm.c"
grep -rlE '^ *# *include *<cuda(_runtime)?\.h>' lang compiler codegen runtime lib 2>/dev/null |
    complain "CUDA headers (the driver's types are declared by us, in one file)"
# The top level is fixed (build folders are not part of it).
ls | grep -vxE 'CMakeLists\.txt|lang|compiler|codegen|runtime|lib|examples|tests|README\.md' |
    while read -r name; do [ -e "$name/CMakeCache.txt" ] || echo "$name"; done |
    complain "unexpected at the top level"
[ ! -s "$bad" ]
