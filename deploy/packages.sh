#!/bin/sh
# Reads packages.txt for this Debian release.
#   packages.sh names SECTION...    one name a line: what to give apt-get
#   packages.sh missing SECTION...  the same, without what is installed already
set -eu

list=$(dirname "$0")/packages.txt

fail() {
    echo "packages.sh: $*" >&2
    exit 2
}

# The entries of the sections, one a line, alternatives still joined by `|`.
entries() {
    for section in "$@"; do
        awk -v want="[$section]" '
            /^\[/ { on = ($0 == want); next }
            /^#/ || NF == 0 { next }
            on && !seen[$0]++' "$list"
    done
}

installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# In the release, and not only as a name that others mention.
available() {
    apt-cache show --no-all-versions "$1" 2>/dev/null | grep -q '^Package:'
}

# The first alternative that $1 (a function) accepts.
first() {
    accept=$1
    shift
    for name in "$@"; do
        if [ "$name" != '|' ] && "$accept" "$name"; then
            echo "$name"
            return
        fi
    done
    return 1
}

# shellcheck disable=SC2086 # an entry is meant to fall into its words
pick() {
    case $1 in
    *'|'*) first available $1 || fail "this release has none of: $1" ;;
    *) echo "$1" ;;
    esac
}

# shellcheck disable=SC2086
missing() {
    first installed $1 >/dev/null || pick "$1"
}

[ $# -ge 2 ] || fail "usage: packages.sh names|missing SECTION..."
verb=$1
shift
for section in "$@"; do
    grep -qx "\[$section\]" "$list" || fail "no section $section in $list"
done
case $verb in
names) each=pick ;;
missing) each=missing ;;
*) fail "names or missing, not $verb" ;;
esac
result=$(entries "$@" | while read -r entry; do "$each" "$entry"; done)
[ -z "$result" ] || echo "$result" | sort -u
