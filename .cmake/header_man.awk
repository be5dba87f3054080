# A public header as a manual page of section 3: its opening comment is the description, what follows is
# shown as it stands, a section of its own for every "// ---- title ---" of the header.
# awk -v name=fp4rt -v header=fp4rt.h -v version=0.1.0 -f header_man.awk fp4rt.h
function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    return text ~ /^[.']/ ? "\\&" text : text
}
function show() { # one .nf block at a time
    if (!shown) {
        print ".nf"
        shown = 1
    }
}
function hide() {
    if (shown) {
        print ".fi"
        shown = 0
    }
}
BEGIN {
    printf ".TH %s 3 \"\" \"fp4c %s\" \"Library Functions\"\n", toupper(name), version
    opening = 1
}
opening && /^\/\// {
    text = substr($0, 4)
    if (NR == 1) {
        sub(/^[a-z0-9_]+: /, "", text)
        title = text
        sub(/[.,:;].*/, "", title)
        printf ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B #include <%s>\n.SH DESCRIPTION\n", name, escaped(title), header
    }
    show()
    print escaped(text)
    next
}
opening {
    opening = 0
    hide()
}
# The frame of a header is no news to its reader.
/^#if/ { depth++ }
/^#if|^#else|^#elif|^#include|^#error/ || /^#define ([A-Z0-9_]+_H|FP4_API.*)$/ || /^extern "C" \{$|^\}$/ {
    cplusplus = /__cplusplus/ ? depth : /^#else/ ? 0 : cplusplus
    next
}
/^#endif/ {
    cplusplus = cplusplus == depth ? 0 : cplusplus
    depth--
    next
}
cplusplus { next }
/^$/ && blank { next }
{ blank = /^$/ }
/^\/\/ ---- / {
    hide()
    title = $0
    section = 1
    gsub(/^\/\/ -+ | -+$/, "", title)
    printf ".SH %s\n", toupper(title)
    next
}
/./ && !section {
    print ".SH INTERFACE"
    section = 1
}
section {
    gsub(/^FP4_API /, "")
    show()
    print escaped($0)
}
END {
    hide()
    print ".SH SEE ALSO\n.BR fp4c (1)"
}
