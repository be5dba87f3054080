#!/bin/sh
# run.sh MODE LANGTOOL LANGDIR: golden tests of the front end; runs in tests/lang.
#   golden    golden/X.tk + X.err (diagnostics) or X.ast (checked tree); -D flags in X.flags
#   expect    golden/X.tk with '// expect CODE' comments
#   programs  the five programs check; the refusals are refused with their fix, or pass the front end
#   identity  print(parse(x)) is a fixed point and the same tree, for every .tk here
#   codes     every code that is reported is in diag_codes.def; those of the front end have a golden
#   bless     rewrites the goldens; the diff is what is reviewed
mode=$1
tool=$2
langdir=$3
bad=0
fail() {
    echo "FAILED: $*"
    bad=1
}

# golden FILE: prints what the tool says now, in the form of the partner that exists, and how it ended:
# 1 when an error was reported, else 0; anything else is a crash
golden() {
    flags=""
    mode=ast
    [ -f "golden/$1.flags" ] && flags=$(cat "golden/$1.flags")
    [ -f "golden/$1.err" ] && mode=check
    status=0
    said=$(cd golden && "$tool" $mode "$1.tk" $flags 2>&1) || status=$?
    [ -z "$said" ] || printf '%s\n' "$said"
    want=0
    printf '%s\n' "$said" | grep -q ': error\[' && want=1
    [ $status -eq $want ] || echo "exit status $status, not $want"
}

partner() {
    if [ -f "golden/$1.ast" ]; then
        echo "golden/$1.ast"
    else
        echo "golden/$1.err"
    fi
}

case $mode in
golden)
    for f in golden/*.tk; do
        name=$(basename "$f" .tk)
        golden "$name" 2>&1 | diff -u "$(partner "$name")" - || fail "$name"
    done
    ;;
bless)
    for f in golden/*.tk; do
        name=$(basename "$f" .tk)
        [ -f "golden/$name.ast" ] || touch "golden/$name.err"
        golden "$name" >golden.new 2>&1
        mv golden.new "$(partner "$name")"
    done
    ;;
expect)
    for f in $(grep -l '// expect ' golden/*.tk); do
        "$tool" expect "$f" || fail "$f"
    done
    ;;
programs)
    for p in gemm gateup moe mqa mega refuse_regs refuse_smem refuse_tmem; do
        "$tool" check programs/$p.tk || fail "$p"
    done
    said=$("$tool" check programs/refuse_dim.tk) && fail "refuse_dim was accepted"
    echo "$said" | grep -q "14:38: error\[D101\]: 'k' walks dimension K, but axis 0 of 'B' is N" || fail "refuse_dim"
    echo "$said" | grep -q 'help:.*B\[n, k\]$' || fail "refuse_dim help"
    said=$("$tool" check programs/refuse_scope.tk) && fail "refuse_scope was accepted"
    echo "$said" | grep -q "14:31: error\[D102\]: 'j' is not declared" || fail "refuse_scope"
    echo "$said" | grep -q 'help:.*   k$' || fail "refuse_scope help"
    ;;
identity)
    for f in programs/*.tk golden/*.tk print/*.tk; do
        case $f in golden/P*) continue ;; esac # does not parse
        "$tool" identity "$f" || fail "$f"
    done
    for f in print/*.tk; do
        "$tool" print "$f" | diff -u "${f%.tk}.out" - || fail "$f"
    done
    ;;
codes)
    for code in $(grep -hoE '"[A-Z][0-9]{3}"' "$langdir"/*.c "$langdir"/*.re | tr -d '"' | sort -u); do
        grep -q "FP4_DIAG(\"$code\"" "$langdir/diag_codes.def" || fail "$code is not in diag_codes.def"
        grep -q "\[$code\]" golden/*.err || fail "$code has no golden"
    done
    for code in $(grep -rhoE '"[A-Z][0-9]{3}"' --include='*.c' --include='*.def' "$langdir/../compiler" \
        "$langdir/../codegen" | tr -d '"' | sort -u); do
        grep -q "FP4_DIAG(\"$code\"" "$langdir/diag_codes.def" || fail "$code is not in diag_codes.def"
    done
    ;;
esac
exit $bad
