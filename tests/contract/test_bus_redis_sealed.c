// SPDX-License-Identifier: MIT
// The bus over a Redis to which others write as well: the contract with seals, what is forged, keys
// that change, notices.
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/bus_contract.h"
#include "support/bus_probe.h"
#include "support/redis_server.h"

#include "chatnode/seal.h"

#define OLD_KEY   "an-old-key-of-more-than-32-bytes-"
#define NEW_KEY   "a-new-key-of-more-than-32-bytes--"
#define OTHER_KEY "the-key-of-somebody-else-entirely"

static struct redis_server shared;

static void prepare(struct cn_bus_options *options)
{
    static char prefixes[64][24];
    static unsigned count;
    char *prefix = prefixes[count++ % 64];
    snprintf(prefix, sizeof(prefixes[0]), "chatnode:s%u:", count);
    options->url = shared.url;
    options->prefix = prefix;
    options->keys = OLD_KEY;
}

static struct cn_bus_options sealed(void)
{
    struct cn_bus_options options = probe_options();
    prepare(&options);
    return options;
}

// ---- A hand in Redis ----

struct bytes {
    const char *ptr;
    size_t len;
};

static struct bytes text(const char *format, ...) CN_PRINTF(1, 2);

// Up to 16 texts live at a time.
static struct bytes text(const char *format, ...)
{
    static char texts[16][4096];
    static unsigned next;
    char *out = texts[next++ % 16];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out, sizeof(texts[0]), format, args);
    va_end(args);
    return (struct bytes){out, (size_t)len};
}

// One command of up to five words, bytes and all; its integer.
static long long command(const struct bytes *words, int count)
{
    const char *argv[5];
    size_t lens[5];
    for (int i = 0; i < count; i++) {
        argv[i] = words[i].ptr;
        lens[i] = words[i].len;
    }
    redisContext *context = redisConnectUnix(shared.socket);
    assert_non_null(context);
    redisReply *reply = redisCommandArgv(context, count, argv, lens);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    long long value = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    redisFree(context);
    return value;
}

static long long add(const char *prefix, const char *room, struct bytes id, const char *field,
                     struct bytes entry)
{
    const struct bytes words[] = {text("XADD"), text("%s{r:%s}log", prefix, room), id,
                                  text("%s", field), entry};
    return command(words, 5);
}

static long long tell(const char *prefix, const char *room, struct bytes message)
{
    const struct bytes words[] = {text("PUBLISH"), text("%s{r:%s}", prefix, room), message};
    return command(words, 3);
}

static long long run(struct bytes a, struct bytes b, struct bytes c)
{
    const struct bytes words[] = {a, b, c};
    return command(words, 3);
}

// The newest entry as it is stored: from "ts" to its seal.
static void stored(const char *prefix, const char *room, char *out, size_t size)
{
    const struct bytes key = text("%s{r:%s}log", prefix, room);
    const char *argv[] = {"XREVRANGE", key.ptr, "+", "-", "COUNT", "1"};
    redisContext *context = redisConnectUnix(shared.socket);
    redisReply *reply = redisCommandArgv(context, 6, argv, NULL);
    assert_true(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1);
    snprintf(out, size, "%s", reply->element[0]->element[1]->element[1]->str);
    freeReplyObject(reply);
    redisFree(context);
}

// ---- What is forged reaches nobody ----

struct scene {
    struct cn_bus_options options;
    struct probe probe;
    struct cn_pos last; // of the newest true entry of the lobby
    size_t told;        // true entries
    char real[4096];    // the first one as it is stored
};

static uint64_t bad(const struct scene *scene, enum cn_seal_fault fault)
{
    return cn_bus_stats(scene->probe.bus)->bad[fault];
}

// A true message comes through, whatever was done before.
static void say(struct scene *scene)
{
    char id[16];
    snprintf(id, sizeof(id), "true%zu", scene->told);
    struct cn_published result = probe_store(&scene->probe, "lobby", "ann", id);
    assert_int_equal(result.err, CN_OK);
    scene->told++;
    scene->last = result.pos;
    WAIT_UNTIL(&scene->probe, scene->probe.entries == scene->told);
    const struct probe_event *event =
        probe_event(&scene->probe, PROBE_ENTRY, "lobby", scene->told - 1);
    assert_pos(event->pos, result.pos);
    assert_non_null(strstr(event->text, id));
    assert_int_equal(event->text[strlen(event->text) - 1], '}'); // without its seal
}

static void open_scene(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    scene->options = sealed();
    probe_open(&scene->probe, NULL, &scene->options);
    WAIT_UNTIL(&scene->probe, probe_is_up(&scene->probe));
    probe_subscribe(&scene->probe, "lobby");
    WAIT_UNTIL(&scene->probe, scene->probe.count == 1);
    say(scene);
    stored(scene->options.prefix, "lobby", scene->real, sizeof(scene->real));
    say(scene);
}

static void close_scene(struct scene *scene)
{
    say(scene);
    assert_true(probe_is_up(&scene->probe));
    assert_int_equal(cn_bus_stats(scene->probe.bus)->reconnects, 0);
    assert_int_equal(probe_count(&scene->probe, PROBE_RESET, "lobby"), 0);
    struct probe_page page;
    probe_read(&scene->probe, "lobby", CN_READ_NEWEST, (struct cn_pos){0, 0}, 512, &page);
    assert_int_equal(page.page.count, scene->told);
    probe_page_fini(&page);
    probe_close(&scene->probe);
}

// Told live, right behind the last one, and put into the log too; both are dropped for `fault`.
static void forge(struct scene *scene, struct bytes entry, enum cn_seal_fault fault)
{
    const char *prefix = scene->options.prefix;
    uint64_t before = bad(scene, fault);
    static char message[16 << 20];
    int head =
        snprintf(message, sizeof(message), "{\"pos\":\"%llu-%llu\",",
                 (unsigned long long)scene->last.gen, (unsigned long long)scene->last.seq + 1);
    memcpy(message + head, entry.ptr, entry.len);
    assert_int_equal(tell(prefix, "lobby", (struct bytes){message, (size_t)head + entry.len}), 1);
    WAIT_UNTIL(&scene->probe, bad(scene, fault) == before + 1);
    add(prefix, "lobby", text("%llu-*", (unsigned long long)scene->last.gen), "d", entry);
    say(scene); // it leaves a hole, so the log is read
    assert_true(bad(scene, fault) >= before + 2);
}

static void test_an_entry_without_a_seal(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    forge(&scene, text("\"ts\":1,\"type\":\"message\",\"room\":\"lobby\",\"from\":\"ann\"}"),
          CN_SEAL_FAULT_UNSEALED);
    close_scene(&scene);
}

static void test_an_entry_with_another_content(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    char *content = strstr(scene.real, "true0");
    memcpy(content, "false", 5);
    forge(&scene, text("%s", scene.real), CN_SEAL_FAULT_SEAL);
    close_scene(&scene);
}

static void test_an_entry_of_another_user(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    memcpy(strstr(scene.real, "\"ann\""), "\"bob\"", 5);
    forge(&scene, text("%s", scene.real), CN_SEAL_FAULT_SEAL);
    close_scene(&scene);
}

static void test_an_entry_of_another_channel(void **state)
{
    (void)state;
    struct scene scene;
    struct probe_page page;
    open_scene(&scene);
    assert_int_equal(probe_store(&scene.probe, "secrets", "eve", "e1").err, CN_OK);
    char moved[4096];
    stored(scene.options.prefix, "secrets", moved, sizeof(moved));
    forge(&scene, text("%s", moved), CN_SEAL_FAULT_SEAL);
    // And the other way, into a room that nobody has begun.
    add(scene.options.prefix, "empty", text("%s", "17-0"), "d", text("%s", scene.real));
    probe_read(&scene.probe, "empty", CN_READ_NEWEST, (struct cn_pos){0, 0}, 10, &page);
    assert_int_equal(page.page.count, 0);
    assert_pos(page.page.edge, (struct cn_pos){17, 0});
    close_scene(&scene);
}

static void test_an_entry_sealed_by_somebody_else(void **state)
{
    (void)state;
    struct scene scene;
    struct cn_sealer *sealer;
    const char *why;
    char seal[CN_SEAL_BYTES];
    open_scene(&scene);
    const struct cn_seal_subject subject = {'e', CN_STR_LITERAL("r:lobby"),
                                            CN_STR_LITERAL("\"type\":\"message\"}")};
    assert_int_equal(cn_sealer_new(CN_STR_LITERAL(OTHER_KEY), &sealer, &why), CN_OK);
    assert_int_equal(cn_seal_make(sealer, &subject, seal), CN_OK);
    cn_sealer_free(sealer);
    forge(&scene, text("\"ts\":1,\"type\":\"message\"}%.*s", CN_SEAL_BYTES, seal),
          CN_SEAL_FAULT_UNKNOWN_KEY);
    close_scene(&scene);
}

static void test_an_entry_of_a_version_to_come(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    scene.real[strlen(scene.real) - CN_SEAL_BYTES + 1] = '3';
    forge(&scene, text("%s", scene.real), CN_SEAL_FAULT_VERSION);
    close_scene(&scene);
}

static void test_what_is_no_entry_at_all(void **state)
{
    (void)state;
    static const struct bytes garbage[] = {{"garbage", 7},
                                           {"\0\1\2\xff\xfe~2", 7},
                                           {"~", 1},
                                           {"\"ts\":1}", 7},
                                           {"\"ts\":1,\"type\":\"\xff\"}", 17}};
    struct scene scene;
    open_scene(&scene);
    for (size_t i = 0; i < CN_COUNT(garbage); i++)
        forge(&scene, garbage[i], CN_SEAL_FAULT_FORM);
    // Another field, and none of the head.
    add(scene.options.prefix, "lobby", text("%llu-*", (unsigned long long)scene.last.gen), "x",
        text("%s", scene.real));
    uint64_t before = bad(&scene, CN_SEAL_FAULT_FORM);
    assert_int_equal(tell(scene.options.prefix, "lobby", text("%s", "")), 1);
    WAIT_UNTIL(&scene.probe, bad(&scene, CN_SEAL_FAULT_SIZE) == 1);
    say(&scene);
    assert_int_equal(bad(&scene, CN_SEAL_FAULT_FORM), before + 1);
    close_scene(&scene);
}

static void test_a_huge_entry(void **state)
{
    (void)state;
    enum { HUGE = 8 << 20 };
    struct scene scene;
    open_scene(&scene);
    char *huge = malloc(HUGE);
    assert_non_null(huge);
    memset(huge, 'x', HUGE);
    memcpy(huge, "\"ts\":1,\"type\":\"", 15);
    huge[HUGE - 1] = '}';
    forge(&scene, (struct bytes){huge, HUGE}, CN_SEAL_FAULT_SIZE);
    free(huge);
    close_scene(&scene);
}

// More of them than a page holds, between true ones: history goes on behind them.
static void test_a_flood_of_forged_entries(void **state)
{
    (void)state;
    enum { FLOOD = 700 };
    struct scene scene;
    struct probe_page page;
    open_scene(&scene);
    for (int i = 0; i < FLOOD; i++)
        add(scene.options.prefix, "lobby", text("%llu-*", (unsigned long long)scene.last.gen), "d",
            text("\"ts\":1,\"type\":\"message\"}"));
    say(&scene);
    struct cn_pos from = scene.last;
    size_t found = 0, pages = 0;
    do {
        probe_read(&scene.probe, "lobby", CN_READ_BEFORE, from, 100, &page);
        assert_true(cn_pos_compare(page.page.edge, from) < 0);
        from = page.page.edge;
        found += page.page.count;
        probe_page_fini(&page);
        pages++;
    } while (page.page.more);
    assert_int_equal(found, scene.told - 1);
    assert_true(pages >= FLOOD / 100);
    say(&scene);
    assert_int_equal(probe_count(&scene.probe, PROBE_RESET, "lobby"), 0);
    probe_close(&scene.probe);
}

// A position that leaves no room behind it costs the log, not the channel.
static void test_a_position_beyond_all_others(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    add(scene.options.prefix, "lobby", text("%s", "18446744073709551615-18446744073709551615"), "d",
        text("%s", scene.real));
    struct probe_answer answer = {0};
    probe_publish(&scene.probe, "lobby", "ann", "after", &answer);
    WAIT_UNTIL(&scene.probe, answer.calls == 1);
    assert_int_equal(answer.result.err, CN_OK);
    WAIT_UNTIL(&scene.probe, scene.probe.entries == scene.told + 1);
    assert_int_equal(probe_store(&scene.probe, "lobby", "ann", "more").err, CN_OK);
    WAIT_UNTIL(&scene.probe, scene.probe.entries == scene.told + 2);
    assert_true(probe_is_up(&scene.probe));
    probe_close(&scene.probe);
}

static void test_a_meta_of_somebody_else(void **state)
{
    (void)state;
    static const char *const metas[] = {"garbage", "", "abc:1:99999999999999999999:1",
                                        "abc:99999999999999:17:1", "abc:1:17:1\n"};
    struct scene scene;
    open_scene(&scene);
    for (size_t i = 0; i < CN_COUNT(metas); i++) {
        run(text("SET"), text("%s{r:lobby}meta", scene.options.prefix), text("%s", metas[i]));
        say(&scene);
    }
    close_scene(&scene);
}

// What seals cannot show: an entry that is put into its own channel once more.
static void test_what_a_seal_does_not_show(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    add(scene.options.prefix, "lobby", text("%llu-*", (unsigned long long)scene.last.gen), "d",
        text("%s", scene.real));
    assert_int_equal(probe_store(&scene.probe, "lobby", "ann", "next").err, CN_OK);
    WAIT_UNTIL(&scene.probe, scene.probe.entries == scene.told + 2);
    probe_close(&scene.probe);
}

// ---- Keys ----

struct pair {
    struct probe one, two;
};

static void open_pair(struct pair *pair, struct cn_bus_options one, struct cn_bus_options two)
{
    probe_open(&pair->one, NULL, &one);
    probe_open(&pair->two, pair->one.reactor, &two);
    WAIT_UNTIL(&pair->one, probe_is_up(&pair->one) && probe_is_up(&pair->two));
    probe_subscribe(&pair->two, "lobby");
    WAIT_UNTIL(&pair->one, pair->two.count == 1);
}

static void close_pair(struct pair *pair)
{
    probe_close(&pair->two);
    probe_close(&pair->one);
}

// What the first one says reaches the second one.
static void assert_reaches(struct pair *pair, const char *id)
{
    size_t before = pair->two.entries;
    assert_int_equal(probe_store(&pair->one, "lobby", "ann", id).err, CN_OK);
    WAIT_UNTIL(&pair->one, pair->two.entries == before + 1);
}

static size_t count_read(struct probe *probe)
{
    struct probe_page page;
    probe_read(probe, "lobby", CN_READ_NEWEST, (struct cn_pos){0, 0}, 512, &page);
    size_t count = page.page.count;
    probe_page_fini(&page);
    return count;
}

static void rekey(struct probe *probe, const char *keys, bool takes_unsealed)
{
    const char *why = NULL;
    assert_int_equal(cn_bus_rekey(probe->bus, keys, takes_unsealed, &why), CN_OK);
}

static void test_a_key_is_rotated(void **state)
{
    (void)state;
    struct pair pair;
    struct cn_bus_options options = sealed();
    open_pair(&pair, options, options);
    assert_reaches(&pair, "m1");
    rekey(&pair.one, OLD_KEY "," NEW_KEY, false);
    assert_reaches(&pair, "m2");
    rekey(&pair.two, OLD_KEY "," NEW_KEY, false);
    assert_reaches(&pair, "m3");
    rekey(&pair.one, NEW_KEY "\n" OLD_KEY "\n", false);
    assert_reaches(&pair, "m4");
    rekey(&pair.two, NEW_KEY " " OLD_KEY, false);
    assert_reaches(&pair, "m5");
    assert_int_equal(count_read(&pair.two), 5);
    rekey(&pair.one, NEW_KEY, false);
    assert_reaches(&pair, "m6");
    assert_int_equal(cn_bus_stats(pair.two.bus)->bad_entries, 0);
    rekey(&pair.two, NEW_KEY, false);
    assert_reaches(&pair, "m7");
    assert_int_equal(count_read(&pair.two), 4); // since m4
    assert_int_equal(cn_bus_stats(pair.two.bus)->bad[CN_SEAL_FAULT_UNKNOWN_KEY], 3);
    close_pair(&pair);
}

static void test_a_key_is_introduced(void **state)
{
    (void)state;
    struct pair pair;
    struct cn_bus_options with = sealed();
    struct cn_bus_options without = with;
    without.keys = NULL;
    open_pair(&pair, without, without);
    assert_reaches(&pair, "m1");
    rekey(&pair.one, OLD_KEY, true);
    assert_reaches(&pair, "m2"); // a node without keys cuts seals off
    rekey(&pair.one, NULL, false);
    rekey(&pair.two, OLD_KEY, true);
    assert_reaches(&pair, "m3");
    assert_int_equal(count_read(&pair.two), 3);
    rekey(&pair.two, OTHER_KEY, true); // a wrong seal is dropped all the same
    assert_int_equal(count_read(&pair.two), 2);
    rekey(&pair.one, OLD_KEY, false);
    rekey(&pair.two, OLD_KEY, false);
    assert_reaches(&pair, "m4");
    assert_int_equal(count_read(&pair.two), 2);
    close_pair(&pair);
}

// ---- Notices ----

#define NOTICE "{\"v\":\"1\"}"

static int64_t soon(void)
{
    return cn_clock_wall_ms() + 60000;
}

static void test_notices_reach_every_node_and_are_kept(void **state)
{
    (void)state;
    struct pair pair;
    struct probe late;
    struct cn_bus_options options = sealed();
    open_pair(&pair, options, options);
    assert_int_equal(probe_notify(&pair.one, NOTICE, soon()), CN_OK);
    assert_int_equal(probe_notify(&pair.one, "{\"fleeting\":1}", 0), CN_OK);
    assert_int_equal(probe_notify(&pair.one, "{\"over\":1}", cn_clock_wall_ms() - 5000), CN_OK);
    WAIT_UNTIL(&pair.one, pair.one.notices == 3 && pair.two.notices == 3);
    probe_open(&late, pair.one.reactor, &options);
    WAIT_UNTIL(&late, late.boards == 1);
    assert_int_equal(late.notices, 1);
    assert_int_equal(late.again, 1);
    assert_string_equal(late.notice, NOTICE);
    redis_server_command(&shared, "CLIENT KILL TYPE pubsub");
    WAIT_UNTIL(&late, late.boards == 2 && pair.one.boards == 2 && pair.two.boards == 2);
    assert_int_equal(pair.two.notices, 4);
    assert_int_equal(pair.two.again, 1);
    probe_close(&late);
    close_pair(&pair);
}

static void test_forged_notices_are_dropped(void **state)
{
    (void)state;
    struct pair pair;
    struct cn_bus_options options = sealed();
    open_pair(&pair, options, options);
    const struct bytes channel = text("%snotices", options.prefix);
    run(text("PUBLISH"), channel, text(NOTICE));
    run(text("PUBLISH"), channel, text("garbage"));
    run(text("PUBLISH"), channel, text("~2"));
    const struct cn_bus_stats *stats = cn_bus_stats(pair.two.bus);
    WAIT_UNTIL(&pair.one, stats->bad_entries == 3);
    const struct bytes forged[] = {text("ZADD"), channel, text("%lld", (long long)soon()),
                                   text(NOTICE)};
    assert_int_equal(command(forged, 4), 1);
    static char huge[1 << 20];
    memset(huge, '}', sizeof(huge));
    const struct bytes large[] = {forged[0], channel, forged[2], {huge, sizeof(huge)}};
    assert_int_equal(command(large, 4), 1);
    redis_server_command(&shared, "CLIENT KILL TYPE pubsub");
    WAIT_UNTIL(&pair.one, pair.two.boards == 2);
    assert_int_equal(stats->bad[CN_SEAL_FAULT_UNSEALED], 2);
    assert_int_equal(stats->bad[CN_SEAL_FAULT_SIZE], 1);
    assert_int_equal(pair.two.notices, 0);
    assert_int_equal(probe_notify(&pair.one, NOTICE, soon()), CN_OK);
    WAIT_UNTIL(&pair.one, pair.two.notices == 1);
    close_pair(&pair);
}

// An entry's seal is none of a notice, and what is no set is refused.
static void test_a_board_that_is_none(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = sealed();
    run(text("SET"), text("%snotices", options.prefix), text("x"));
    probe_open(&probe, NULL, &options);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    assert_int_equal(probe_notify(&probe, NOTICE, soon()), CN_REFUSED);
    assert_int_equal(probe_notify(&probe, NOTICE, 0), CN_OK);
    assert_int_equal(probe_store(&probe, "lobby", "ann", "a").err, CN_OK);
    const struct bytes words[] = {text("DEL"), text("%snotices", options.prefix)};
    assert_int_equal(command(words, 2), 1);
    WAIT_UNTIL(&probe, probe.boards == 1); // it was tried again
    probe_close(&probe);
}

static void test_a_full_board_says_so(void **state)
{
    (void)state;
    struct probe probe;
    struct cn_bus_options options = sealed();
    char lua[256];
    probe_open(&probe, NULL, &options);
    WAIT_UNTIL(&probe, probe_is_up(&probe));
    snprintf(lua, sizeof(lua),
             "for i = 1, %d do redis.call('ZADD', '%snotices', '%lld', i) end return 1",
             CN_NOTICES_MAX, options.prefix, (long long)soon());
    run(text("EVAL"), text("%s", lua), text("0"));
    assert_int_equal(probe_notify(&probe, NOTICE, soon()), CN_NOSPACE);
    run(text("ZREM"), text("%snotices", options.prefix), text("17"));
    assert_int_equal(probe_notify(&probe, NOTICE, soon()), CN_OK);
    assert_int_equal(probe_notify(&probe, NOTICE, soon()), CN_OK); // it is there already
    probe_close(&probe);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_without_a_seal),
        cmocka_unit_test(test_an_entry_with_another_content),
        cmocka_unit_test(test_an_entry_of_another_user),
        cmocka_unit_test(test_an_entry_of_another_channel),
        cmocka_unit_test(test_an_entry_sealed_by_somebody_else),
        cmocka_unit_test(test_an_entry_of_a_version_to_come),
        cmocka_unit_test(test_what_is_no_entry_at_all),
        cmocka_unit_test(test_a_huge_entry),
        cmocka_unit_test(test_a_flood_of_forged_entries),
        cmocka_unit_test(test_a_position_beyond_all_others),
        cmocka_unit_test(test_a_meta_of_somebody_else),
        cmocka_unit_test(test_what_a_seal_does_not_show),
        cmocka_unit_test(test_a_key_is_rotated),
        cmocka_unit_test(test_a_key_is_introduced),
        cmocka_unit_test(test_notices_reach_every_node_and_are_kept),
        cmocka_unit_test(test_forged_notices_are_dropped),
        cmocka_unit_test(test_a_board_that_is_none),
        cmocka_unit_test(test_a_full_board_says_so),
    };
    redis_server_start(&shared, false, NULL);
    int failed = bus_contract_run("sealed redis", prepare);
    failed += cmocka_run_group_tests_name("bus with seals", tests, NULL, NULL);
    redis_server_stop(&shared);
    return failed;
}
