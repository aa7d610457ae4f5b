#!/usr/bin/env bash
# Builds the project in a root of Debian 13 and runs the rings unit and contract there.
#   run.sh SOURCE CACHE     exit code 77: this machine cannot (not root, or no right to chroot)
# The root stays in CACHE with its packages and its build, so that the next run is quick. Everything
# mounted into it is mounted in a namespace of our own, and gone with this process.
set -euo pipefail

source=$1
cache=$2
suite=trixie
root=$cache/$suite
here=$(dirname "$0")

skip() {
    echo "skipped: $*"
    exit 77
}

unpack() {
    [ -e "$root/.unpacked" ] && return
    bash "$here/make_root.sh" "$suite" "$cache/$suite.tar"
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    tar -C "$root" --numeric-owner -xf "$cache/$suite.tar"
    touch "$root/.unpacked"
}

# Runs its arguments inside: /proc, /dev and the source from here, the build on the root's own disk.
inside() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --propagation private sh -eu -c '
        root=$1 source=$2
        shift 2
        mkdir -p "$root/src" "$root/build"
        mount --rbind /proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind "$source" "$root/src"
        mount -o remount,bind,ro "$root/src"
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
            CI="${CI-}" DEBIAN_FRONTEND=noninteractive "$@"' sh "$root" "$source" "$@"
}

# apt only when the list of packages has changed since the last run.
install_packages() {
    cmp -s "$source/deploy/packages.txt" "$root/.packages" && return
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # Nothing that is installed here may start as a service.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2016
    inside sh -eu -c 'apt-get update -q
        apt-get install -y -q --no-install-recommends \
            $(sh /src/deploy/packages.sh names build runtime unit)
        apt-get clean' >"$cache/$suite-apt.log" 2>&1 || { tail -n 30 "$cache/$suite-apt.log"; exit 1; }
    cp "$source/deploy/packages.txt" "$root/.packages"
}

build_and_test() {
    # shellcheck disable=SC2016
    inside sh -eu -c 'cd /src
        cmake --preset release -B /build
        cmake --build /build
        ctest --test-dir /build -L "^(unit|contract)$" --no-tests=error --output-on-failure -j "$(nproc)"'
}

[ "$(id -u)" = 0 ] || skip "a Debian 13 root takes root"
unshare --mount true 2>/dev/null || skip "no right to make mounts here"
unpack
install_packages
build_and_test
