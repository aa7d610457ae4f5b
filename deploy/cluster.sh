#!/usr/bin/env bash
# `./run cluster`: Redis, N nodes and HAProxy on loopback, from packages. Ctrl-C ends all of it.
#   cluster.sh N     PUBLISH=ADDR:PORT is where the balancer listens, 127.0.0.1:8000 by default;
#                    CHATNODE is the program, build/release/chatnode by default
# shellcheck disable=SC2317 # functions that are called by name: by await and by traps
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/common.sh

count=$1
node=${CHATNODE:-build/release/chatnode}
publish=${PUBLISH:-127.0.0.1:8000}
dir=$(mktemp -d "${TMPDIR:-/tmp}/chatnode-cluster.XXXXXX")
declare -A pid_of=()
started=()
ports=()
internal_ports=()
next_port=$((${publish##*:} + 1))
next_internal=9000

# launch NAME COMMAND...: in the background, with its log in $dir/NAME.log. In a session of its own,
# so that the terminal's Ctrl-C reaches only us, and we end things in order.
launch() {
    local name=$1
    shift
    setsid "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pid_of[$name]=$!
    started+=("$name")
}

alive() {
    kill -0 "${pid_of[$1]}" 2>/dev/null
}

# await NAME COMMAND...: until the command succeeds; gives up when NAME ends or after 15 s.
await() {
    local name=$1 end=$((SECONDS + 15))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! alive "$name" || [ $SECONDS -ge $end ]; then
            tail -n 20 "$dir/$name.log" >&2
            fail "$name does not start; its log is $dir/$name.log"
        fi
        sleep 0.1
    done
}

# The first lines of an HTTP answer from loopback say 200.
healthy() {
    timeout 1 bash -c "exec 3<>/dev/tcp/127.0.0.1/$1 && printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3 &&
        head -n 1 <&3 | grep -q ' 200 '"
}

start_redis() {
    redis_port=$(free_port 6380)
    mkdir "$dir/redis"
    # A password for this run alone; $dir is ours alone.
    password=$(od -An -N 16 -t x1 /dev/urandom | tr -d ' \n')
    echo "$password" >"$dir/redis-password"
    echo "redis://chatnode:$password@127.0.0.1:$redis_port/0" >"$dir/redis-url"
    launch redis env REDIS_PASSWORD_FILE="$dir/redis-password" REDIS_USERS="$dir/redis/users.acl" \
        deploy/redis-start.sh "$PWD/deploy/redis.conf" --bind 127.0.0.1 --protected-mode yes \
        --port "$redis_port" --dir "$dir/redis"
    export REDISCLI_AUTH=$password
    await redis redis-cli -e --user chatnode -p "$redis_port" ping
    unset REDISCLI_AUTH
}

# start_node NUMBER
start_node() {
    local name=node-$1 port internal
    port=$(free_port "$next_port")
    internal=$(free_port "$next_internal")
    next_port=$((port + 1)) next_internal=$((internal + 1))
    launch "$name" env CHATNODE_TRUSTED_PROXIES=127.0.0.1 "$node" --node-name "$name" \
        --listen "127.0.0.1:$port" --internal-listen "127.0.0.1:$internal" \
        --redis-url-file "$dir/redis-url"
    await "$name" healthy "$port"
    ports+=("$port")
    internal_ports+=("$internal")
}

# deploy/haproxy.cfg with our nodes in the place of Docker's.
balancer_config() {
    sed '/# nodes: begin/,/# nodes: end/d' deploy/haproxy.cfg | while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in
        *default-server*) server_lines ;;
        esac
    done
}

server_lines() {
    local number
    for number in "${!ports[@]}"; do
        echo "    server node-$((number + 1)) 127.0.0.1:${ports[number]} port ${internal_ports[number]}"
    done
}

start_balancer() {
    local health
    health=$(free_port 8405)
    balancer_config >"$dir/haproxy.cfg"
    launch haproxy env BALANCER_BIND="$publish" BALANCER_HEALTH="127.0.0.1:$health" \
        haproxy -db -f "$dir/haproxy.cfg"
    await haproxy healthy "$health"
}

end() {
    local name=$1 signal=${2-TERM}
    ! alive "$name" || kill "-$signal" "${pid_of[$name]}"
}

# In the order that lets the nodes say goodbye to their clients: nodes, balancer, Redis.
stop_all() {
    local status=$? name
    trap '' INT TERM
    trap - EXIT
    say "stopping"
    for name in "${started[@]}"; do
        case $name in node-*) end "$name" ;; esac
    done
    for name in "${started[@]}"; do
        case $name in node-*) wait "${pid_of[$name]}" || true ;; esac
    done
    for name in haproxy redis; do
        [ -z "${pid_of[$name]-}" ] || { end "$name"; wait "${pid_of[$name]}" || true; }
    done
    # After a failure the logs are of use.
    [ "$status" != 0 ] || rm -rf "$dir"
    exit "$status"
}

show() {
    local number
    say "chat page    http://localhost:${publish##*:}/     (the balancer: open it in two windows)"
    say "WebSocket    ws://localhost:${publish##*:}/ws"
    for number in "${!ports[@]}"; do
        say "node-$((number + 1))       http://localhost:${ports[number]}/  operations" \
            "http://localhost:${internal_ports[number]}/metrics  pid ${pid_of[node-$((number + 1))]}"
    done
    say "Redis        127.0.0.1:$redis_port; one more node: chatnode --redis-url-file $dir/redis-url"
    say "logs         $dir/*.log"
    say "Kill a node (kill -9 PID): its clients go on on another. Ctrl-C ends everything."
}

# The names of what runs, into `living`; says of each other once that it has ended.
take_stock() {
    local name
    living=()
    for name in "${started[@]}"; do
        if alive "$name"; then
            living+=("$name")
        elif [ -z "${told[$name]-}" ]; then
            told[$name]=1
            say "$name has ended"
        fi
    done
}

# Until Ctrl-C. Nodes may die, that is what the cluster is for; without the other two it is none.
watch() {
    local -A told=()
    local living=() pids
    take_stock
    while alive redis && alive haproxy; do
        pids=()
        for name in "${living[@]}"; do pids+=("${pid_of[$name]}"); done
        wait -n "${pids[@]}" 2>/dev/null || true
        take_stock
    done
    fail "redis or haproxy has ended; the logs are in $dir"
}

[[ $count =~ ^[1-9][0-9]?$ ]] || fail "cluster N: 1 to 99 nodes, not $count"
! in_use "${publish%:*}" "${publish##*:}" ||
    fail "port ${publish##*:} is in use; choose another: PUBLISH=127.0.0.1:$(free_port "${publish##*:}") ./run cluster $count"
trap stop_all EXIT
trap 'exit 0' INT TERM
start_redis
for ((number = 1; number <= count; number++)); do
    start_node "$number"
done
start_balancer
show
watch
