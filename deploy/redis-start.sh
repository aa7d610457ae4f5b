#!/bin/sh
# redis-server with the users of redis-users.acl, which must lie beside this script:
#   redis-start.sh [ARGUMENTS OF redis-server]
# The password of the user chatnode comes from REDIS_PASSWORD, or from the file REDIS_PASSWORD_FILE;
# only its SHA-256 is written, into REDIS_USERS (/tmp/redis-users.acl by default).
set -eu
umask 077

users=${REDIS_USERS:-/tmp/redis-users.acl}
password=${REDIS_PASSWORD-}
if [ -n "${REDIS_PASSWORD_FILE-}" ]; then
    password=$(cat "$REDIS_PASSWORD_FILE")
fi
if [ -z "$password" ]; then
    echo "redis-start.sh: set REDIS_PASSWORD or REDIS_PASSWORD_FILE" >&2
    exit 78
fi
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
sed -e '/^#/d' -e '/^$/d' -e "s/@PASSWORD_SHA256@/$hash/" "$(dirname "$0")/redis-users.acl" >"$users"
unset password REDIS_PASSWORD
exec redis-server "$@" --aclfile "$users"
