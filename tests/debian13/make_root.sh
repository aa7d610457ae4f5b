#!/usr/bin/env bash
# Makes a minimal Debian as a tar file, from the mirror and with the apt settings of this machine.
#   make_root.sh SUITE OUT.tar      does nothing when OUT.tar is there already; takes root
set -euo pipefail

suite=$1
out=$2

# The mirror that this machine installs Debian itself from.
mirror() {
    # shellcheck disable=SC2016 # a format of apt's, not a variable of ours
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

# How this machine reaches its mirror, as lines for apt.conf.
apt_settings() {
    apt-config dump | grep -E '^Acquire::(Retries|Check|ForceIPv4|https?::(Proxy|Timeout|Verify))' || true
}

# A mirror behind a private certificate authority needs its certificates inside too.
carry_certificates() {
    local bundle=/etc/ssl/certs/ca-certificates.crt
    case $1 in
    https:*) install -D -m 644 "$bundle" "$root$bundle" ;;
    esac
}

make_root() {
    local from
    from=$(mirror)
    [ -n "$from" ] || { echo "make_root.sh: apt knows no mirror of Debian; try apt-get update" >&2; exit 1; }
    debootstrap --variant=minbase "$suite" "$root" "$from" >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; exit 1; }
    apt_settings >"$root/etc/apt/apt.conf.d/90machine"
    echo 'Acquire::Languages "none";' >>"$root/etc/apt/apt.conf.d/90machine"
    carry_certificates "$from"
    chroot "$root" apt-get clean
    rm -rf "$root"/var/lib/apt/lists/*
}

[ -s "$out" ] && exit 0
mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/root.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
make_root
tar -C "$root" --numeric-owner -cf "$work/tar" .
mv "$work/tar" "$out"
