# shellcheck shell=bash
# What ./run and its helpers share. Sourced, with the project's root as the current directory.

say() {
    if [ -t 2 ]; then
        printf '\033[1m%s\033[0m\n' "$*" >&2
    else
        printf '%s\n' "$*" >&2
    fi
}

fail() {
    echo "run: $*" >&2
    exit 1
}

# Shows a command and runs it as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        say "+ $*"
        "$@"
    elif command -v sudo >/dev/null; then
        say "+ sudo $*"
        sudo "$@"
    else
        fail "this takes root: $*"
    fi
}

# need SECTION...: installs what is missing of these sections of deploy/packages.txt.
need() {
    local missing
    command -v dpkg-query >/dev/null ||
        fail "this is not Debian; install what deploy/packages.txt names ($*), then use cmake --preset release"
    if missing=$(deploy/packages.sh missing "$@" 2>/dev/null) && [ -z "$missing" ]; then
        return
    fi
    as_root apt-get update -q
    missing=$(deploy/packages.sh missing "$@")
    # shellcheck disable=SC2086 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing
}

# Whether something listens at ADDRESS PORT.
in_use() {
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

# free_port FIRST: the first port from there on at which nothing listens on loopback.
free_port() {
    local port=$1
    while in_use 127.0.0.1 "$port"; do
        port=$((port + 1))
    done
    echo "$port"
}

# configure NAME [cmake's arguments]: makes or changes build/NAME.
configure() {
    local name=$1
    shift
    cmake --log-level=NOTICE -B "build/$name" "$@" >&2
}
