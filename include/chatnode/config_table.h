// SPDX-License-Identifier: MIT
// Every setting, once. From this table come the struct, the flags, the environment's names, the
// file's keys, the defaults, --help and docs/config.md.
#ifndef CHATNODE_CONFIG_TABLE_H
#define CHATNODE_CONFIG_TABLE_H

// TEXT(field, key, default, flags, group, value, help)
// NUMBER(field, key, default, min, max, flags, group, value, help); `field`'s suffix is its unit.
// FLAG(field, key, default, flags, group, help)
// `key` is the flag's spelling: --redis-url, CHATNODE_REDIS_URL, redis-url in the file.
// `flags`: CN_SETTING_SECRET (never shown; has a *-file twin), CN_SETTING_RELOAD (SIGHUP applies
// it).
#define CN_CONFIG_TABLE(TEXT, NUMBER, FLAG)                                                        \
    TEXT(listen, "listen", "127.0.0.1:8000", 0, "Listening", "ADDR:PORT",                          \
         "where clients connect; 0.0.0.0:8000 opens it to other machines")                         \
    TEXT(internal_listen, "internal-listen", "127.0.0.1:9000", 0, "Listening", "ADDR:PORT",        \
         "where operators connect: readiness, metrics; empty turns it off")                        \
    TEXT(api_key, "api-key", "", CN_SETTING_SECRET, "Listening", "KEY",                            \
         "what callers of the HTTP API must show; empty: the API serves loopback only")            \
    TEXT(allowed_origins, "allowed-origins", "", 0, "Listening", "LIST",                           \
         "origins of pages that may connect, separated by commas, such as "                        \
         "https://chat.example.org; * for any; empty: only pages of the same host")                \
    TEXT(trusted_proxies, "trusted-proxies", "", 0, "Listening", "LIST",                           \
         "addresses or networks (10.0.0.0/8) whose X-Forwarded-For is believed")                   \
    TEXT(proxy_protocol, "proxy-protocol", "off", 0, "Listening", "WORD",                          \
         "on: each connection must come from one of the trusted-proxies and begin with a header "  \
         "of the PROXY protocol, version 1 or 2; off: there is none")                              \
    FLAG(require_origin, "require-origin", false, 0, "Listening",                                  \
         "clients must say an Origin, so only browsers (and programs that pretend) can connect")   \
    NUMBER(max_connections, "max-connections", 18000, 1, 4000000, 0, "Listening", "N",             \
           "connections at most; more are refused")                                                \
    NUMBER(accept_rate_per_s, "accept-rate", 5000, 0, 1000000, 0, "Listening", "N",                \
           "sessions that may begin in a second, twice as many at once; more are told when to "    \
           "come back, clients that resume come first; 0: no limit")                               \
    FLAG(                                                                                          \
        conformance_echo, "conformance-echo", false, 0, "Listening",                               \
        "/echo sends each message back, for suites that test the WebSocket; never on a node that " \
        "serves people, and not together with redis-url")                                          \
    TEXT(auth, "auth", "open", 0, "Tokens", "WORD",                                                \
         "open: clients say who they are; token: each client must show a signed token")            \
    TEXT(auth_secret, "auth-secret", "", CN_SETTING_SECRET | CN_SETTING_RELOAD, "Tokens",          \
         "SECRET", "key of tokens signed with HS256, 32 bytes at the least")                       \
    TEXT(auth_keys, "auth-keys", "", CN_SETTING_SECRET | CN_SETTING_RELOAD, "Tokens", "KEYS",      \
         "keys of tokens: a JWK set, or public keys in PEM")                                       \
    TEXT(auth_jwks_url, "auth-jwks-url", "", 0, "Tokens", "URL",                                   \
         "where a JWK set is fetched from: https, or http on this machine")                        \
    NUMBER(auth_jwks_refresh_s, "auth-jwks-refresh", 600, 1, 86400, 0, "Tokens", "SECONDS",        \
           "how often that set is fetched again")                                                  \
    TEXT(auth_ca_file, "auth-ca-file", "", 0, "Tokens", "FILE",                                    \
         "certificates in PEM to trust there instead of the system's; also for auth-url")          \
    TEXT(auth_issuer, "auth-issuer", "", 0, "Tokens", "TEXT",                                      \
         "what a token's `iss` must be; empty: it is not looked at")                               \
    TEXT(auth_audience, "auth-audience", "", 0, "Tokens", "TEXT",                                  \
         "what a token's `aud` must be or contain; empty: it is not looked at")                    \
    NUMBER(auth_leeway_s, "auth-leeway", 10, 0, 60, 0, "Tokens", "SECONDS",                        \
           "how far the clock of who signs tokens may differ from ours")                           \
    NUMBER(auth_timeout_ms, "auth-timeout", 5000, 50, 60000, 0, "Tokens", "MS",                    \
           "a client must have shown a valid token within this time, or it is closed with 4500")   \
    NUMBER(auth_warning_ms, "auth-warning", 30000, 0, 3600000, 0, "Tokens", "MS",                  \
           "a client is told `expiring` so long before its token expires, or when half of the "    \
           "time is left if that is later; 0: never")                                              \
    FLAG(auth_query, "auth-query", false, 0, "Tokens",                                             \
         "take a token from the query (`token=`) too: proxies may log it")                         \
    TEXT(auth_url, "auth-url", "", 0, "Tokens", "URL",                                             \
         "an HTTP backend that decides instead of keys")                                           \
    NUMBER(auth_url_timeout_ms, "auth-url-timeout", 2000, 50, 30000, 0, "Tokens", "MS",            \
           "how long that backend may take")                                                       \
    TEXT(tls_cert, "tls-cert", "", CN_SETTING_RELOAD, "TLS", "PATH",                               \
         "PEM file with the certificate for clients and its chain; with tls-key the public "       \
         "listener speaks TLS and nothing else; SIGHUP reads both again")                          \
    TEXT(tls_key, "tls-key", "", CN_SETTING_RELOAD, "TLS", "PATH",                                 \
         "PEM file with the private key of tls-cert, without a passphrase")                        \
    TEXT(tls_min_version, "tls-min-version", "1.2", 0, "TLS", "VERSION",                           \
         "the oldest TLS that either listener speaks: 1.2 or 1.3")                                 \
    TEXT(internal_tls_cert, "internal-tls-cert", "", CN_SETTING_RELOAD, "TLS", "PATH",             \
         "as tls-cert, for the internal listener")                                                 \
    TEXT(internal_tls_key, "internal-tls-key", "", CN_SETTING_RELOAD, "TLS", "PATH",               \
         "as tls-key, for the internal listener")                                                  \
    TEXT(internal_tls_client_ca, "internal-tls-client-ca", "", CN_SETTING_RELOAD, "TLS", "PATH",   \
         "PEM file of authorities: who connects to the internal listener must show a certificate " \
         "of theirs")                                                                              \
    NUMBER(                                                                                        \
        max_connections_per_address, "max-connections-per-address", 1000, 0, 4000000, 0, "Limits", \
        "N",                                                                                       \
        "connections of one IPv4 address or IPv6 /64; not of trusted-proxies and this machine; "   \
        "0: no limit")                                                                             \
    NUMBER(                                                                                        \
        accept_rate_per_address, "accept-rate-per-address", 0, 0, 1000000, 0, "Limits", "N",       \
        "connections of one such address that may begin in a second, twice as many at once; 0: "   \
        "no limit")                                                                                \
    NUMBER(max_connections_per_user, "max-connections-per-user", 256, 0, 4000000, 0, "Limits",     \
           "N", "sessions of one user on this node; more are closed with 4511; 0: no limit")       \
    NUMBER(message_rate, "message-rate", 0, 0, 1000000, 0, "Limits", "N",                          \
           "requests of one session in a second, each for what it costs; more get "                \
           "`rate_limited`; 0: no limit")                                                          \
    NUMBER(message_burst, "message-burst", 0, 0, 1000000, 0, "Limits", "N",                        \
           "how many at once; 0: twice the rate")                                                  \
    NUMBER(byte_rate, "byte-rate", 0, 0, 1073741824, 0, "Limits", "BYTES",                         \
           "bytes of the same in a second, twice as many at once, or one message; 0: no limit")    \
    NUMBER(join_rate, "join-rate", 0, 0, 1000000, 0, "Limits", "N",                                \
           "rooms that one session may join in a second, twice as many at once; 0: no limit")      \
    NUMBER(user_message_rate, "user-message-rate", 0, 0, 1000000, 0, "Limits", "N",                \
           "as message-rate, for all sessions of one user on this node together; 0: no limit")     \
    NUMBER(node_message_rate, "node-message-rate", 0, 0, 100000000, 0, "Limits", "N",              \
           "requests of all sessions in a second; more get `overloaded`; 0: no limit")             \
    NUMBER(flood_limit, "flood-limit", 100, 0, 1000000, 0, "Limits", "N",                          \
           "requests refused as `rate_limited` within 10 s, after which a session is closed with " \
           "4510; 0: never")                                                                       \
    TEXT(node_name, "node-name", "", 0, "Node", "NAME",                                            \
         "this node's name in logs and in welcome; empty: the host's name and the port")           \
    NUMBER(loops, "loops", 0, 0, 64, 0, "Node", "N",                                               \
           "threads that serve clients; 0: one for each processor")                                \
    TEXT(redis_url, "redis-url", "", CN_SETTING_SECRET, "Bus", "URL",                              \
         "redis://[user:pass@]host:port/db, rediss:// for TLS, or unix:///path?db=N; empty: the "  \
         "in-process bus, a single node")                                                          \
    TEXT(redis_ca, "redis-ca", "", 0, "Bus", "PATH",                                               \
         "with rediss://: PEM file of the authorities that Redis' certificate must come from; "    \
         "empty: the system's")                                                                    \
    TEXT(redis_cert, "redis-cert", "", 0, "Bus", "PATH",                                           \
         "with rediss://: PEM file with this node's certificate, where Redis asks for one")        \
    TEXT(redis_key, "redis-key", "", 0, "Bus", "PATH",                                             \
         "with rediss://: PEM file with the private key of redis-cert")                            \
    TEXT(redis_prefix, "redis-prefix", "chatnode:", 0, "Bus", "TEXT",                              \
         "before each key and channel in Redis")                                                   \
    TEXT(bus_key, "bus-key", "", CN_SETTING_SECRET | CN_SETTING_RELOAD, "Bus", "KEYS",             \
         "seals what goes to Redis, so that others who write there are not believed: 1 to 8 keys " \
         "of 32 bytes or more, separated by commas or spaces; the first one seals, all are "       \
         "believed")                                                                               \
    FLAG(bus_unsealed, "bus-unsealed", false, CN_SETTING_RELOAD, "Bus",                            \
         "believe what has no seal in spite of bus-key: while that is introduced")                 \
    NUMBER(revocation_ttl_s, "revocation-ttl", 86400, 60, 31622400, 0, "Bus", "SECONDS",           \
           "how long a revocation is kept if it does not say: as long as tokens live")             \
    TEXT(revocations_file, "revocations-file", "", 0, "Bus", "PATH",                               \
         "without Redis: the file that keeps revocations over a restart; empty: none does")        \
    NUMBER(publish_deadline_ms, "publish-deadline", 1000, 50, 60000, 0, "Bus", "MS",               \
           "how long a publish may wait for the bus before its error")                             \
    NUMBER(read_deadline_ms, "read-deadline", 2000, 50, 60000, 0, "Bus", "MS",                     \
           "how long a read of a log may wait for the bus before it is tried again or fails")      \
    NUMBER(bus_queue, "bus-queue", 65536, 16, 1000000, 0, "Bus", "N",                              \
           "requests to the bus that may wait at once; more get `overloaded`")                     \
    TEXT(require_durability, "require-durability", "none", 0, "Bus", "WORD",                       \
         "what an ack must promise: none, disk, disk-always or replicated; publishes that Redis "  \
         "cannot keep so are refused")                                                             \
    NUMBER(replica_wait_ms, "replica-wait", 300, 10, 60000, 0, "Bus", "MS",                        \
           "with `replicated`: how long an ack waits for a replica at most")                       \
    NUMBER(watchdog_ms, "watchdog", 3000, 100, 60000, 0, "Bus", "MS",                              \
           "a connection to Redis that is silent for so long is made anew")                        \
    NUMBER(held_messages, "held-messages", 1024, 0, 1000000, 0, "Bus", "N",                        \
           "live messages of a channel that wait while its log is read; more: it is read again")   \
    NUMBER(position_check_s, "position-check", 30, 0, 86400, 0, "Bus", "SECONDS",                  \
           "each channel's end is compared with its log this often; 0: never")                     \
    NUMBER(replay_ms, "replay", 10000, 0, 600000, 0, "Bus", "MS",                                  \
           "acked messages of so long are submitted again after a failover; 0: none")              \
    NUMBER(replay_bytes, "replay-bytes", 67108864, 0, 4294967296, 0, "Bus", "BYTES",               \
           "the same in bytes")                                                                    \
    NUMBER(history_messages, "history-messages", 1000, 1, 1000000, 0, "History", "N",              \
           "entries kept of each channel")                                                         \
    NUMBER(history_ttl_s, "history-ttl", 86400, 1, 31536000, 0, "History", "SECONDS",              \
           "how long a channel's entries are kept after the last one")                             \
    NUMBER(dedupe_ttl_s, "dedupe-ttl", 300, 1, 86400, 0, "History", "SECONDS",                     \
           "how long a repeated id is recognised")                                                 \
    TEXT(default_room, "default-room", "lobby", 0, "Sessions", "ROOM",                             \
         "the room of clients that name none, and of plain text")                                  \
    NUMBER(max_message_bytes, "max-message", 65536, 64, 16777216, 0, "Sessions", "BYTES",          \
           "a client's message at most; larger ones close with 1009")                              \
    NUMBER(max_rooms, "max-rooms", 128, 1, 10000, 0, "Sessions", "N",                              \
           "rooms that a session may be in")                                                       \
    NUMBER(max_in_flight, "max-in-flight", 64, 1, 10000, 0, "Sessions", "N",                       \
           "publishes of one session that may wait for their answer; more get `overloaded`")       \
    NUMBER(ping_interval_ms, "ping-interval", 25000, 10, 3600000, 0, "Sessions", "MS",             \
           "a silent session is pinged this often")                                                \
    NUMBER(pong_timeout_ms, "pong-timeout", 8000, 10, 3600000, 0, "Sessions", "MS",                \
           "a ping must be answered within this time")                                             \
    NUMBER(slow_timeout_ms, "slow-timeout", 20000, 10, 3600000, 0, "Sessions", "MS",               \
           "a session that does not take what was written to it within this time is closed with "  \
           "4001")                                                                                 \
    NUMBER(outbox_bytes, "outbox", 262144, 4096, 67108864, 0, "Fan-out", "BYTES",                  \
           "answers waiting for one slow session; beyond it is closed with 4001")                  \
    NUMBER(ring_frames, "ring-frames", 256, 16, 65536, 0, "Fan-out", "N",                          \
           "recent messages of a channel that each loop keeps for lagging and returning sessions") \
    NUMBER(ring_bytes, "ring-bytes", 1048576, 65536, 268435456, 0, "Fan-out", "BYTES",             \
           "the same in bytes")                                                                    \
    NUMBER(flush_max_ms, "flush-max", 10, 0, 1000, 0, "Fan-out", "MS",                             \
           "a busy loop gathers messages at most this long before it writes; 0: never")            \
    NUMBER(mailbox_letters, "mailbox", 65536, 1024, 1000000, 0, "Fan-out", "N",                    \
           "letters that may wait for one loop")                                                   \
    NUMBER(drain_delay_ms, "drain-delay", 2000, 0, 600000, 0, "Node", "MS",                        \
           "after SIGTERM the node still takes connections for so long, until the balancer has "   \
           "seen /readyz")                                                                         \
    NUMBER(drain_ms, "drain", 5000, 0, 600000, 0, "Node", "MS",                                    \
           "after that delay clients are sent away within this time")                              \
    TEXT(log_level, "log-level", "info", CN_SETTING_RELOAD, "Logging", "LEVEL",                    \
         "error, warn, info or debug")                                                             \
    TEXT(log_format, "log-format", "auto", 0, "Logging", "FORMAT",                                 \
         "text, json, or auto: text on a terminal")                                                \
    TEXT(log_file, "log-file", "", 0, "Logging", "PATH",                                           \
         "append to this file (SIGUSR1 reopens it); empty: standard error")

#endif
