#!/bin/sh
# The command line: exit codes, sentences, nothing half written. cli.sh FP4C ROOT
set -u
fp4c=$(realpath "$1")
root=$(realpath "$2")
gemm=$root/lib/gemm/gemm.tk
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0

complain() {
    echo "$*"
    bad=1
}

# expect CODE PATTERN ARGS...: exit code, and a pattern on either stream
expect() {
    code=$1
    pattern=$2
    shift 2
    "$fp4c" "$@" >out 2>err
    rc=$?
    [ "$rc" = "$code" ] || complain "fp4c $*: exit $rc, expected $code: $(head -n 3 err)"
    [ -z "$pattern" ] || cat out err | grep -q -- "$pattern" || complain "fp4c $*: no '$pattern' in: $(head -n 3 out err)"
}

nothing_written() {
    left=$(ls | grep -vxE 'out|err')
    [ -z "$left" ] || complain "left behind: $left"
    rm -rf $left
}

# Mistakes in options: one sentence, exit 1.
expect 1 "no file" -arch sm_100a
expect 1 "no target" "$gemm"
expect 1 "unknown target 'sm_80'" "$gemm" -arch sm_80
expect 1 "unknown option '--frobnicate'" "$gemm" -arch sm_100a --frobnicate
expect 1 "--emit does not know 'elf'" "$gemm" -arch sm_100a --emit=elf
expect 1 "a value must follow '-o'" "$gemm" -arch sm_100a -o
expect 1 "malformed definition 'BM'" "$gemm" -arch sm_100a -DBM
expect 1 "malformed definition 'BM'" "$gemm" -arch sm_100a -D BM
expect 1 "a value must follow '-D': NAME=VAL" "$gemm" -arch sm_100a -D
expect 1 "cannot read missing.tk" missing.tk -arch sm_100a
expect 1 "cannot read" . -arch sm_100a
expect 1 "no kernel 'other'" "$gemm" -arch sm_100a --kernel other
expect 1 "-o names one file" "$gemm" -arch sm_100a,sm_120a --emit=ptx -o one.ptx
expect 1 "was not given" run "$gemm" -arch sm_100a M=1 N=8
expect 1 "no size or scalar called 'Q'" run "$gemm" -arch sm_100a M=1 N=8 K=32 Q=3
expect 1 "must be a multiple of 8" run "$gemm" -arch sm_100a M=1 N=4 K=32
expect 1 "one target" run "$gemm" -arch sm_100a,sm_120a M=1 N=8 K=32
expect 1 "no code" explain T999
expect 1 "malformed size or scalar" run "$gemm" -arch sm_100a M=1, N=8 K=32
expect 1 "more than 16 values" run "$gemm" -arch sm_100a M=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 N=8 K=32
nothing_written

# Every combination of sizes, every schedule of a kernel whatever its 'when'.
expect 0 "4 shapes, 0 wrong" run "$gemm" -arch sm_120a M=1,17 N=8,16 K=32 --check
expect 0 "all shapes bit-exact" run "$root/lib/fp8/fp8_block.tk" -arch sm_90a M=1,129 N=16 K=0,128 --check
[ "$(grep -c 'all shapes bit-exact' out)" = 9 ] || complain "not all schedules of fp8_block ran"

# What only a launch knows: elements that are padded on the way come 128 at once, whether a 'where' says so or not.
sed '/^where/d' "$root/tests/programs/mixed.tk" >padded.tk
expect 1 "B: 96 elements in a row; a multiple of 128" run padded.tk -arch sm_120a M=5 N=8 K=96 R=128
rm -f padded.tk

# Mistakes in the source: all of them, located, nothing written.
sed 's/B\[n, k\]/B[k, n]/; s/: 5 in smem/: 6 in smem/' "$gemm" >../bad.$$.tk
mv ../bad.$$.tk bad.tk
expect 1 'bad.tk:14:38: error\[D101\]' bad.tk -arch sm_100a
rm bad.tk
nothing_written
printf 'kernel' >torn.tk
expect 1 "error" - -arch sm_100a <torn.tk
printf 'kernel k(A : bf16[M]\0' >torn.tk
expect 1 "error" - -arch sm_100a <torn.tk
printf 'tir 1\nkernel x' >torn.tir
expect 1 "torn.tir" torn.tir
rm torn.tk torn.tir
nothing_written

# JSON diagnostics are JSON.
sed 's/B\[n, k\]/B[k, n]/' "$gemm" | "$fp4c" check - --diagnostics=json >out 2>err
python3 -c 'import json,sys; json.load(open("err"))' || complain "--diagnostics=json is not JSON"

# What is asked for is written, under the names that are expected.
expect 0 "" "$gemm" -arch sm_100a,sm_120a
[ -s gemm.tkm ] || complain "no module"
rm -f gemm.tkm
expect 0 "" "$gemm" -arch sm_120a --emit=ast,tir,llvm,ptx,meta
for ext in ast tir ll ptx json; do
    [ -s gemm.$ext ] || complain "no gemm.$ext"
done
python3 -c 'import json; json.load(open("gemm.json"))' || complain "--emit=meta is not JSON"
rm -f gemm.*
expect 0 "\.target sm_100a" "$gemm" -arch sm_100a -S -o -
expect 0 "" "$gemm" -arch sm_120a -o x.tkm -MD -MF x.d
grep -q "x.tkm: .*gemm.tk" x.d || complain "no dependencies"
first=$(cksum <x.tkm)
"$fp4c" "$gemm" -arch sm_120a -o x.tkm || complain "again"
[ "$first" = "$(cksum <x.tkm)" ] || complain "the same source gives other bytes"
rm -f x.tkm x.d
expect 0 "" "$gemm" -arch sm_120a --emit=ptx,tir -MD -MF x.d
grep -q "gemm.tir gemm.ptx: .*gemm.tk" x.d || complain "not what was written: $(cat x.d)"
rm -f gemm.tir gemm.ptx x.d
expect 1 "no file is written" "$gemm" -arch sm_120a --emit=tir -o - -MD
expect 0 "" "$gemm" -arch sm_120a --emit=tir -o - -MD -MF x.d -MT x
grep -q "^x: .*gemm.tk" x.d || complain "-MT: $(cat x.d)"
rm -f x.d
expect 1 "does not know '-o'" fmt "$gemm" -o out.tk
expect 1 "-i and '--check'" fmt "$gemm" -i --check
cp "$gemm" 'a"b.tk'
expect 0 "" 'a"b.tk' -arch sm_120a --emit=meta
python3 -c 'import json; assert json.load(open("a\"b.json"))["source"] == "a\"b"' || complain "--emit=meta is not JSON"
rm -f a\"b.*
expect 0 "schedule nvfp4_gemm on sm_120a" explain "$gemm" -arch sm_120a
expect 0 "tensor memory" explain T201
expect 0 "usage" --help
expect 0 "fp4c 0" --version
"$fp4c" fmt "$gemm" >canonical.tk
expect 0 "" fmt canonical.tk --check
expect 0 "" check canonical.tk -arch sm_100a
rm canonical.tk
"$fp4c" run "$gemm" -arch sm_120a M=5 N=16 K=64 --check --json >out || complain "run --json"
python3 -c 'import json; assert json.load(open("out"))["differ"] == 0' || complain "run --json is not JSON"
grep -q "$(printf '\033')" out && complain "escape codes in a pipe"
nothing_written

# Sizes and indices counted in 32 bits: a launch that would need more is refused.
echo 'kernel k(X : f32[M], Y : out f32[M]) { tile m:64 of M { Y[m] = X[m] + f32(m * 100000); } }' >wide.tk
expect 0 "bit-exact" run wide.tk -arch sm_120a M=21000 --check
expect 1 "m \* 100000 in 32 bits" run wide.tk -arch sm_120a M=22000
cat >wide.tk <<END
kernel k(X : f32[M], n : const i32[G], Y : inout f32[G, M]) {
    tile g of G, m:64 of M in g * 1048576 .. g * 1048576 + n[g] { Y[g, m] += X[m]; }
}
END
expect 0 "bit-exact" run wide.tk -arch sm_120a G=2047 M=8 --check
expect 1 "g \* 1048576 in 32 bits" run wide.tk -arch sm_120a G=4100 M=8
rm -f wide.tk

# Conditions and costs know all operators of the language on sizes.
cat >which.tk <<END
kernel k(X : f32[M], Y : out f32[M]) { tile m:64 of M { Y[m] = X[m]; } }
schedule k on sm_120a when !(M > 5) || -M == 0 - 8 { cost -M; }
schedule k on sm_120a { cost -6; }
END
expect 0 '"when":\["or",\["==",\[">","M",5\],0\],\["==",\["-",0,"M"\],-8\]\],"cost":\["-",0,"M"\]' which.tk \
    -arch sm_120a --emit=meta -o -
rm -f which.tk

# Registers of derived roles suffice where CTAs divide a tile and for stages with many scales; too few
# for an instruction are the schedule's mistake.
registers() {
    cat >regs.tk <<END
use std.formats;
kernel k<BM = $1, BN = $2, BK = $3>(A : $4[M, K], B : $4[N, K], D : out f32[M, N]) where N % 8 == 0, K % 32 == 0 {
    tile m:BM of M, n:BN of N {
        let acc = zero f32[m, n];
        for k:BK of K { acc[m, n] += A[m, k] * B[n, k]; }
        D[m, n] = acc[m, n];
    }
}
schedule k on $5 { $6 }
END
}
for tile in "16 256 256 mxfp8 sm_120a|split k by 2;" "128 128 64 nvfp4 sm_120a|split k by 4;" \
    "256 64 128 nvfp4 sm_120a|split k over sms;" "128 256 256 mxfp8 sm_100a|walk clc;"; do
    registers ${tile%|*} "${tile#*|}"
    expect 0 "" regs.tk -arch "$(echo "${tile%|*}" | cut -d' ' -f5)" -o /dev/null
done
cat >regs.tk <<'END'
use std.formats;
kernel k<BM = 128, BN = 128, BK = 256>(A : nvfp4[G, M, K], B : nvfp4[G, N, K], count : const i32[G], b : f32[N], D : out bf16[G, M, N])
where N % 8 == 0, K % 32 == 0 {
    tile g of G, m:BM of M in 0 .. count[g], n:BN of N {
        let acc = zero f32[m, n];
        for k:BK of K { acc[m, n] += A[g, m, k] * B[g, n, k]; }
        D[g, m, n] = bf16(acc[m, n] + b[n]);
    }
}
END
expect 0 "" regs.tk -arch sm_120a -o /dev/null
registers 64 192 64 bf16 sm_90a "role load : 4 warps regs 40 { A, B }; role math : 4 warps regs 168 { acc, D };"
expect 1 "R203.*than the 104 of each thread at launch" regs.tk -arch sm_90a -o /dev/null
cat >regs.tk <<'END'
kernel k<BM = 192, BN = 128, BK = 64>(A : f16[M, K], B : f16[N, K], g : f32[M], C : bf16[M, N], D : out e4m3[M, N])
where N % 16 == 0, K % 8 == 0 {
    tile m:BM of M, n:BN of N {
        let p = zero f32[m, n];
        for k:BK of K { p[m, n] += A[m, k] * B[n, k]; }
        D[m, n] = e4m3(p[m, n] + (g[m] + C[m, n] + p[m, n]) / (1 + abs(g[m])));
    }
}
END
expect 1 "232 registers a thread, 192 of them sums" regs.tk -arch sm_90a -o /dev/null
rm -f regs.tk

# The manual: its programs are taken everywhere, and it names every fact and function.
awk '/^```tk$/ { n++; on = 1; next } /^```/ { on = 0 } on { print > ("manual" n ".tk") }' "$root/lang/LANGUAGE.md"
[ -f manual2.tk ] || complain "LANGUAGE.md has no programs"
for program in manual*.tk; do
    for arch in sm_90a sm_100a sm_120a; do
        expect 0 "" check "$program" -arch $arch
    done
done
rm -f manual*.tk
sed -nE 's/^FP4_(FACT|BUILTIN)\(([A-Z]+, *)?"([a-z]+)".*/\3/p' "$root/compiler/facts.def" "$root/lang/builtins.def" |
    while read -r word; do
        grep -qE "\`([a-z]+ )*$word[\` (]" "$root/lang/LANGUAGE.md" || echo "$word"
    done >missing
[ -s missing ] && complain "LANGUAGE.md does not say: $(tr '\n' ' ' <missing)"
rm -f missing
exit $bad
