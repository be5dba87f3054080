#!/bin/sh
# 'tune': which combinations are made, that explain prints source that means the same, that measured times go
# from fp4-bench into a file beside the source and from there into the module. tune.sh FP4C BENCH TUNE.tk
set -eu
fp4c=$1
bench=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$3" "$dir/tune.tk"
cd "$dir"
fail() {
    echo "FAILED: $*"
    exit 1
}

"$fp4c" explain tune.tk -arch sm_90a >explained
grep -q '^// BN = 40, slots = 2 is left out: C103: ' explained || fail "a division by 0 is not named"
grep -q '^// BN = 128, slots = 8 is left out: S201: ' explained || fail "shared memory is not named"
[ "$(grep -c '^schedule' explained)" = 4 ] || fail "not three combinations and the schedule without"
(sed '/^schedule/,$d' tune.tk; cat explained) >pasted.tk
for f in tune pasted; do
    "$fp4c" $f.tk -arch sm_90a --emit=tir -o $f.tir
    sed -i 's/source=[^ ]*//; s/line=[0-9]*//' $f.tir
done
cmp tune.tir pasted.tir || fail "explain's source means something else"
"$fp4c" fmt tune.tk >formatted.tk
"$fp4c" fmt --check formatted.tk || fail "fmt is no fixed point"

"$fp4c" tune.tk -arch sm_90a -o tune.tkm
"$bench" --device sim --cublas no --flush 1 --rounds 1 --shape 16x64x128 --shape 2x64x16 --tune tune.tune tune.tkm >table
[ "$(grep -c '^product sm_90a [0-9a-f]* 8 [0-9]* M=16 N=64 K=128$' tune.tune)" = 4 ] || fail "$(cat tune.tune)"
[ "$(grep -c 'M=2 N=64 K=16$' tune.tune)" = 1 ] || fail "'when' keeps three out: $(cat tune.tune)"
cp tune.tune before.tune
printf '# sizes\nM=16\nM=2 K=16\n' >list
"$fp4c" tune tune.tk -arch sm_90a --device sim --shapes list N=64 K=128 >said 2>&1 && fail "K is given twice"
printf '# sizes\nM=16\nM=2\n' >list
echo "product sm_90a 0123456789abcdef 132 5 M=1 N=1 K=1" >>tune.tune
"$fp4c" tune tune.tk -arch sm_90a --device sim --shapes list N=64 K=128 >said
[ "$(grep -c '^product sm_90a [0-9a-f]* 8 [0-9]* M=16 K=128 N=64$' tune.tune)" = 4 ] || fail "$(cat tune.tune)"
[ "$(grep -c ' 132 5 M=1 N=1 K=1$\| 8 [0-9]* M=2 K=128 N=64$' tune.tune)" = 2 ] || fail "another device's line: $(cat tune.tune)"
[ "$(wc -l <tune.tune)" = 7 ] || fail "$(cat tune.tune)"
grep -q 'slots = 2: .* us' said || fail "$(cat said)"
"$fp4c" tune tune.tk -arch sm_90a --device cuda:99 M=16 N=64 K=128 >said 2>&1 && fail "a device that is not there"
grep -q 'times are taken where the kernel will run' said || fail "$(cat said)"
cp before.tune tune.tune
"$bench" --device sim --cublas no --flush 1 --rounds 1 --shape 16x64x128 --shape 0x64x16 --tune tune.tune tune.tkm >table 2>said &&
    fail "a shape that nothing can measure"
cmp tune.tune before.tune || fail "times were lost"
[ ! -e tune.tune.new ] || fail "half a file stays"
"$fp4c" tune.tk -arch sm_90a -MD -o tune.tkm 2>said
[ ! -s said ] || fail "$(cat said)"
grep -q ' tune.tune$' tune.tkm.d || fail "-MD does not name the file"
grep -aq '^3 8 [0-9]* 16 128 64$' tune.tkm || fail "the module has no times"
grep -aq '^3 8 [0-9]* 2 16 64$' tune.tkm || fail "the module has no times of the last schedule"

# Schedules whose blocks meet in a workspace are measured too.
(sed '/^schedule/,$d' tune.tk
 echo 'schedule product on sm_90a { mma wgmma; walk static; split k over sms; }') >streamed.tk
"$fp4c" tune streamed.tk -arch sm_90a --device sim M=16 N=64 K=256 >said 2>&1 || fail "$(cat said)"
grep -q '^product sm_90a [0-9a-f]* 8 [0-9]* M=16 K=256 N=64$' streamed.tune || fail "$(cat said)"

# Code that is made no more; lines that say nothing.
"$fp4c" tune.tk -DBK=64 -arch sm_90a -o other.tkm 2>said
grep -q 'tune.tune:2: warning: 5 lines of code that is made no more' said || fail "$(cat said)"
"$fp4c" tune.tk -arch sm_100a --kernel product -o other.tkm 2>said || true
grep -q warning said && fail "another machine's lines count as stale"
code=$(sed -n 2p tune.tune | cut -d' ' -f3)
while read -r line; do
    printf '# one\n%s\n' "$line" | sed "s/CODE/$code/" >tune.tune
    if "$fp4c" tune.tk -arch sm_90a -o other.tkm 2>said; then
        fail "accepted: $line"
    fi
    grep -q '^tune.tune:2: error: ' said || fail "$(cat said)"
done <<'LINES'
product sm_90a
product sm_90a CODE 8 x M=1 N=1 K=1
product sm_90a xyz 8 1 M=1 N=1 K=1
product sm_90a CODE 70000 1 M=1 N=1 K=1
product sm_90a CODE 8 1 M=1 N=1
product sm_90a CODE 8 1 M=1 N=1 L=1
product sm_90a CODE 8 1 M=1 N=1 K=-1
product sm_90a CODE 8 1 M=1 N=1 K=
product sm_90a CODE 8 1 M=1 N=1 K
LINES
echo "tune: all as it should be"
