#!/bin/sh
# Stands in for fp4c: notes that it ran, then does what $FAKE_DO says with the real module $FAKE_MODULE.
# Called as: SOURCE -arch A -o MODULE -MD -MF DEPS ...
printf '%s\n' "$*" >>"$FAKE_LOG"
source=$1
module=$5
deps=$8
good() {
    cp "$FAKE_MODULE" "$module"
    printf '%s: %s%s\n' "$module" "$(printf %s "$source" | sed 's/ /\\ /g')" "$FAKE_ALSO" >"$deps"
}
case $FAKE_DO in
good) good ;;
slow)
    sleep 0.1
    good
    ;;
refuse)
    echo "$source:3:7: error[X1]: 'Q' is no size" >&2
    exit 1
    ;;
talk)
    yes "$source:1:1: error: again and again" | head -n 20000
    exit 1
    ;;
silent) exit 70 ;;
die)
    printf 'FP4TKM' >"$module"
    kill -9 $$
    ;;
torn)
    good
    head -c 100 "$FAKE_MODULE" >"$module"
    ;;
nothing) : ;;
no-deps)
    good
    rm "$deps"
    ;;
change)
    good
    echo '// changed meanwhile' >>"$source"
    ;;
esac
