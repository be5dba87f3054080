#!/bin/sh
# Installs into a scratch prefix and uses it as an outsider does. run.sh BUILD ROOT CMAKE WORK
set -u
export LC_ALL=C
build=$1
root=$2
cmake=$3
mkdir -p "$4"
work=$(cd "$4" && mktemp -d "$4/prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
here=$root/tests/install
prefix=$work/first
bad=0

complain() {
    echo "$*"
    bad=1
}

stop() {
    echo "$*"
    exit 1
}

"$cmake" --install "$build" --prefix "$prefix" >"$work/log" 2>&1 || stop "cmake --install: $(tail -n 5 "$work/log")"
cd "$prefix" || exit 1

# What there is.
lib=$(dirname "$(find . -name fp4.pc)")/..
for file in bin/fp4c bin/fp4-prepack bin/fp4sim include/fp4rt.h include/fp4rt_compile.h include/fp4_gemm.h $lib/libfp4rt.so \
    $lib/libfp4rt.so.0 $lib/libfp4rt.a $lib/libfp4k.a $lib/cmake/fp4/fp4Config.cmake share/fp4/gemm/gemm.tk share/man/man1/fp4c.1 \
    share/man/man3/fp4rt.3 share/bash-completion/completions/fp4c share/zsh/site-functions/_fp4c \
    share/fish/vendor_completions.d/fp4c.fish; do
    [ -s "$file" ] || complain "not installed: $file"
done
grep -rlF "$build" . >"$work/leaks"
grep -vE 'bin/fp4(c|-prepack|sim)$|\.a$|\.so' "$work/leaks" | while read -r f; do echo "the build folder is written in $f"; done | grep . && bad=1

# What the libraries export: only names of ours; all that the headers promise; all that was once promised.
nm -D --defined-only $lib/libfp4rt.so | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/exported"
grep -v '^fp4_' "$work/exported" && complain "exported, but not ours"
sed -n 's/.*FP4_API.*[ *]\(fp4_[a-z0-9_]*\)(.*/\1/p' include/fp4rt*.h include/safetensors.h include/gguf.h | sort -u >"$work/declared"
[ "$(wc -l <"$work/declared")" -ge 60 ] || complain "only $(wc -l <"$work/declared") declarations were found"
comm -13 "$work/exported" "$work/declared" | grep . && complain "declared, but not exported"
comm -23 "$work/exported" "$work/declared" | grep . && complain "exported, but not declared"
comm -13 "$work/exported" "$here/abi.txt" | grep . && complain "of tests/install/abi.txt, but no longer exported: an ABI break"
comm -23 "$work/exported" "$here/abi.txt" | sed 's/^/new, to be added to tests\/install\/abi.txt: /'
for archive in $lib/libfp4rt.a $lib/libfp4k.a; do
    nm -g --defined-only "$archive" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -v '^fp4_' | sed "s#^#$archive: #" |
        grep . && complain "global in a static library, but not ours"
done
readelf -d $lib/libfp4rt.so | grep -q 'SONAME.*libfp4rt\.so\.0\]' || complain "no SONAME with a version"
readelf -d $lib/libfp4rt.so | grep NEEDED | grep -E 'cuda|LLVM|python|stdc' && complain "a library that is needed"

# Headers stand alone in every dialect.
for header in include/*.h; do
    for how in "gcc -std=c99" "gcc -std=c11" "gcc -std=c2x" "g++ -std=c++17 -x c++"; do
        printf '#include "%s"\nextern int none;\n' "$(basename "$header")" >"$work/alone.c"
        $how -Wall -Wextra -Wconversion -Wshadow -pedantic -Werror -Iinclude -fsyntax-only "$work/alone.c" 2>"$work/err" ||
            complain "$how $header: $(head -n 3 "$work/err")"
    done
done

# Completions and pages.
bash -n share/bash-completion/completions/fp4c || complain "bash completion"
if command -v zsh >/dev/null; then
    zsh -n share/zsh/site-functions/_fp4c || complain "zsh completion"
fi
if command -v fish >/dev/null; then
    fish -n share/fish/vendor_completions.d/fp4c.fish || complain "fish completion"
fi
bin/fp4c --help | sed -n 's/^  \(-[A-Za-z-]*\).*/\1/p' | sed 's/^-\([DI]\)[A-Z]*$/-\1/' >"$work/options"
[ "$(wc -l <"$work/options")" -ge 20 ] || complain "options"
while read -r option; do
    grep -qF -- "$option" share/bash-completion/completions/fp4c || complain "$option is not completed"
    grep -qF -- "$(printf %s "$option" | sed 's/-/\\-/g')" share/man/man1/fp4c.1 || complain "$option is not in the manual page"
done <"$work/options"
while read -r function; do
    cat share/man/man3/*.3 | sed 's/\\//g' | grep -q "$function(" || complain "$function is in no manual page"
done <"$work/declared"
if command -v groff >/dev/null; then
    for page in share/man/man*/*; do
        groff -man -Tascii -ww "$page" 2>"$work/err" >/dev/null
        [ ! -s "$work/err" ] || complain "$page: $(head -n 2 "$work/err")"
    done
fi

# The outsider's program, through the CMake package.
export FP4_CACHE="$work/cache"
gemm=$prefix/share/fp4/gemm/gemm.tk
cp -r "$here/project" "$work/project"
"$cmake" -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 ||
    stop "find_package: $(tail -n 12 "$work/log")"
"$cmake" --build "$work/project/build" >"$work/log" 2>&1 || stop "the project: $(grep -iE -A4 'error' "$work/log" | head -n 12)"
"$work/project/build/outside" "$gemm" || complain "outside"
"$work/project/build/outside_static" || complain "outside_static"
"$work/project/build/outside_driver" || complain "outside_driver"
ldd "$work/project/build/outside_static" | grep fp4rt && complain "the static program needs the shared library"
ldd "$work/project/build/outside_driver" | grep -E 'fp4|cuda' && complain "the driver-only program needs a library"
# A file that a kernel uses changes: only then is anything built again.
"$cmake" --build "$work/project/build" | grep -i 'compiling kernels' && complain "built again without a reason"
sed 's/64/32/' "$here/project/shapes.tk" >"$work/project/shapes.tk"
"$cmake" --build "$work/project/build" >"$work/log" 2>&1 || complain "after a change: $(tail -n 5 "$work/log")"
grep -q 'kernels of own.tk' "$work/log" || complain "a change of a used file is not seen"
"$work/project/build/outside" "$gemm" || complain "outside, after a change"

# The same by hand, through pkg-config, from a prefix that was moved.
mv "$prefix" "$work/moved" && prefix=$work/moved
cd "$work" || exit 1
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name fp4.pc)")
export PKG_CONFIG_PATH
if command -v pkg-config >/dev/null; then
    pc() { pkg-config "$@" fp4; }
    fp4c=$(pc --variable=fp4c)
    "$fp4c" "$(pc --variable=kernels)/gemm/gemm.tk" -arch sm_120a --emit=c,h -o gemm || complain "fp4c of the moved prefix"
    "$fp4c" project/own.tk -arch sm_120a --emit=c,h -o own || complain "own.tk"
    libdir=$(pc --variable=libdir)
    # shellcheck disable=SC2046
    gcc -std=c11 -Wall -Wextra -I. $(pc --cflags) project/main.c gemm.c own.c -o by_hand $(pc --libs) -lm \
        -Wl,-rpath,"$libdir" || complain "pkg-config"
    ./by_hand "$(pc --variable=kernels)/gemm/gemm.tk" || complain "by hand"
    # shellcheck disable=SC2046
    gcc -std=c11 -I. $(pc --cflags) -DEMBEDDED_ONLY project/main.c gemm.c own.c -o by_hand_static "$libdir/libfp4rt.a" \
        $(pkg-config --static --libs-only-l fp4 | sed 's/-lfp4[a-z]*//g') || complain "static, by hand"
    ./by_hand_static || complain "static, by hand"
else
    echo "pkg-config is not here: the program by hand is left out"
fi
exit $bad
