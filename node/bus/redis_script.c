// SPDX-License-Identifier: MIT
// The scripts that run inside Redis, each one atomic step.
#include "redis_private.h"

// KEYS: log, meta, id, and so on for each entry. ARGV: messages kept, seconds the log lives,
// seconds the meta lives, seconds an id is remembered, 1 if the caller will WAIT; then channel and
// body for each entry. Returns "position ts dup" for each, or its error: one does not fail for
// another.
//
// The write that can fail goes first, since a script is atomic but not transactional. A generation
// begins when there is no log, or when master_replid says that another server, or the same one
// started anew, carries on: what it lost may have been told already, so its numbers are not reused.
// A generation is the time in microseconds: after FLUSHALL nothing is left to compare with, and two
// generations within one millisecond have been seen. (Exact in a double until the year 2255: a log
// with a position from beyond is not ours, and given up, as nothing could be added to it.)
//
// The meta is "lineage:due:generation:born": `due` is the second when the log's life is prolonged
// next, which saves two commands of an entry, so an entry lives a 32nd longer than asked for at
// most; one that is of another form was written by somebody else, and counts as none; `born` is 1
// while the log is the first one that the meta knows of, so that nothing was in
// the channel before it. (A known id is written once more for WAIT, which looks at what its own
// connection wrote.)
static const char publish_text[] =
    "local kept, log_ttl, meta_ttl, id_ttl, waits = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]\n"
    "local slack = math.floor(log_ttl / 32)\n"
    "local info = redis.call('INFO', 'replication')\n"
    "local at = string.find(info, 'master_replid:', 1, true)\n"
    "local lineage = string.sub(info, at + 14, at + 53)\n"
    "local time = redis.call('TIME')\n"
    "local micros = string.sub('00000' .. time[2], -6)\n"
    "local ts = time[1] .. string.sub(micros, 1, 3)\n"
    "local function next_gen(log, gen)\n"
    "  local new, old = tonumber(time[1] .. micros), tonumber(gen or '')\n"
    "  if old and new <= old then new = old + 1 end\n"
    "  if redis.call('EXISTS', log) == 1 then\n"
    "    local stream = redis.call('XINFO', 'STREAM', log)\n"
    "    for i = 1, #stream, 2 do\n"
    "      if stream[i] == 'last-generated-id' then\n"
    "        local last = tonumber(string.match(stream[i + 1], '^(%d+)'))\n"
    "        if new <= last then new = last + 1 end\n"
    "        if new <= last then\n"
    "          redis.call('DEL', log)\n"
    "          new = tonumber(time[1] .. micros)\n"
    "        end\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  return string.format('%.0f', new)\n"
    "end\n"
    "local function append(log, was, gen, entry)\n"
    "  if gen and was == lineage then\n"
    "    local pos = redis.pcall('XADD', log, 'NOMKSTREAM', 'MAXLEN', '~', kept, gen .. '-*', 'd', "
    "entry)\n"
    "    local err = type(pos) == 'table' and pos.err or ''\n"
    "    local over = string.find(err, 'equal or smaller', 1, true) or string.find(err, "
    "'exhausted', "
    "1, true)\n"
    "    if pos and not over then return pos, gen, false end\n"
    "  end\n"
    "  gen = next_gen(log, gen)\n"
    "  return redis.pcall('XADD', log, 'MAXLEN', '~', kept, gen .. '-*', 'd', entry), gen, true\n"
    "end\n"
    "local function publish(log, meta, id, channel, body)\n"
    "  local known = redis.call('MGET', id, meta)\n"
    "  if known[1] and string.find(known[1], '^%d+%-%d+ %d+$') then\n"
    "    if waits == '1' then redis.pcall('SET', id, known[1], 'KEEPTTL') end\n"
    "    return known[1] .. ' 1'\n"
    "  end\n"
    "  local entry = '\"ts\":' .. ts .. ',' .. body\n"
    "  local was, due, gen, born = string.match(known[2] or '', '^(%x+):(%d+):(%d+):(%d)$')\n"
    "  if was and (#due > 10 or #gen > 16) then was, due, gen, born = nil, nil, nil, nil end\n"
    "  local pos, now, fresh = append(log, was, gen, entry)\n"
    "  if type(pos) == 'table' then return pos end\n"
    "  redis.call('SET', id, pos .. ' ' .. ts, 'EX', id_ttl)\n"
    "  if fresh or time[1] >= due then\n"
    "    if not born then\n"
    "      born = '1'\n"
    "    elseif fresh and redis.call('XLEN', log) == 1 then\n"
    "      born = '0'\n"
    "    end\n"
    "    due = string.format('%.0f', time[1] + slack)\n"
    "    redis.call('EXPIRE', log, string.format('%.0f', log_ttl + slack))\n"
    "    local about = lineage .. ':' .. due .. ':' .. now .. ':' .. born\n"
    "    redis.call('SET', meta, about, 'EX', string.format('%.0f', meta_ttl + slack))\n"
    "  end\n"
    "  redis.call('PUBLISH', channel, '{\"pos\":\"' .. pos .. '\",' .. entry)\n"
    "  return pos .. ' ' .. ts .. ' 0'\n"
    "end\n"
    "local answers = {}\n"
    "for i = 1, #KEYS / 3 do\n"
    "  local log, meta, id = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]\n"
    "  local good, answer = pcall(publish, log, meta, id, ARGV[2 * i + 4], ARGV[2 * i + 5])\n"
    "  if not good and type(answer) ~= 'table' then answer = {err = tostring(answer)} end\n"
    "  answers[i] = answer\n"
    "end\n"
    "return answers\n";

// KEYS: log, meta. ARGV: kind (after, before, newest, tail), position, limit, bytes of text at
// most, bytes of one entry at most. Returns {exact, more, tail, pos, text, pos, text...} in rising
// order. A page holds at least one entry; the text of one that is too large is empty.
static const char read_text[] =
    "#!lua flags=no-writes\n"
    "local log, kind, from, limit = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])\n"
    "local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)\n"
    "local tail = newest[1] and newest[1][1] or '0-0'\n"
    "local exact, found = 0, {}\n"
    "local function is_whole()\n"
    "  local meta = redis.call('GET', KEYS[2])\n"
    "  if redis.call('EXISTS', log) == 0 then return meta and 0 or 1 end\n"
    "  if not meta or string.sub(meta, -2) ~= ':1' then return 0 end\n"
    "  local length, added = 0, -1\n"
    "  local info = redis.call('XINFO', 'STREAM', log)\n"
    "  for i = 1, #info, 2 do\n"
    "    if info[i] == 'length' then length = info[i + 1] end\n"
    "    if info[i] == 'entries-added' then added = info[i + 1] end\n"
    "  end\n"
    "  return length == added and 1 or 0\n"
    "end\n"
    "if kind == 'after' then\n"
    "  if from == '0-0' then exact = is_whole()\n"
    "  else exact = #redis.call('XRANGE', log, from, from, 'COUNT', 1) end\n"
    "  if from ~= '18446744073709551615-18446744073709551615' then\n"
    "    found = redis.call('XRANGE', log, '(' .. from, '+', 'COUNT', limit + 1)\n"
    "  end\n"
    "elseif kind == 'newest' then\n"
    "  found = redis.call('XREVRANGE', log, '+', '-', 'COUNT', limit + 1)\n"
    "elseif kind == 'before' and from ~= '0-0' then\n"
    "  found = redis.call('XREVRANGE', log, '(' .. from, '-', 'COUNT', limit + 1)\n"
    "end\n"
    "local more, count, bytes = 0, 0, 0\n"
    "local most = tonumber(ARGV[5])\n"
    "local function text_of(entry)\n"
    "  local text = entry[2][1] == 'd' and entry[2][2] or '-'\n"
    "  return #text <= most and text or ''\n"
    "end\n"
    "for i = 1, #found do\n"
    "  bytes = bytes + #text_of(found[i])\n"
    "  if i > limit or (i > 1 and bytes > tonumber(ARGV[4])) then more = 1 break end\n"
    "  count = i\n"
    "end\n"
    "local first, last, step = 1, count, 1\n"
    "if kind ~= 'after' then first, last, step = count, 1, -1 end\n"
    "local page = {exact, more, tail}\n"
    "for i = first, last, step do\n"
    "  page[#page + 1] = found[i][1]\n"
    "  local text = text_of(found[i])\n"
    "  if text ~= '' then text = '{\"pos\":\"' .. found[i][1] .. '\",' .. text end\n"
    "  page[#page + 1] = text\n"
    "end\n"
    "return page\n";

// KEYS: log, meta, and so on for each channel. Returns the newest position of each; nothing for a
// log that has expired, as its meta outlives it.
static const char tails_text[] =
    "#!lua flags=no-writes\n"
    "local tails = {}\n"
    "for i = 1, #KEYS, 2 do\n"
    "  local newest = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)\n"
    "  local expired = not newest[1] and redis.call('EXISTS', KEYS[i + 1]) == 1\n"
    "  tails[#tails + 1] = newest[1] and newest[1][1] or expired and '' or '0-0'\n"
    "end\n"
    "return tails\n";

// KEYS: the sorted set of notices. ARGV: notice, the millisecond until which it is kept (0: it is
// not), how many are kept at most, channel. Returns 1, or 0 when there is no room.
static const char notify_text[] =
    "local board, text, till, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])\n"
    "if till ~= '0' then\n"
    "  local time = redis.call('TIME')\n"
    "  redis.call('ZREMRANGEBYSCORE', board, '-inf', time[1] .. '000')\n"
    "  local known = redis.call('ZSCORE', board, text)\n"
    "  if not known and redis.call('ZCARD', board) >= most then return 0 end\n"
    "  redis.call('ZADD', board, till, text)\n"
    "end\n"
    "redis.call('PUBLISH', ARGV[4], text)\n"
    "return 1\n";

// KEYS: the sorted set of notices. ARGV: how many at most, bytes of one at most. Returns those that
// are not over.
static const char notices_text[] =
    "#!lua flags=no-writes\n"
    "local time, most, notices = redis.call('TIME'), tonumber(ARGV[2]), {}\n"
    "local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. time[1] .. '000', '+inf', 'LIMIT', "
    "'0', ARGV[1])\n"
    "for i = 1, #found do\n"
    "  notices[i] = #found[i] <= most and found[i] or ''\n"
    "end\n"
    "return notices\n";

struct cn_str cn_redis_script_text(enum cn_redis_script script)
{
    static const struct cn_str texts[CN_REDIS_SCRIPT_COUNT] = {
        [CN_REDIS_SCRIPT_PUBLISH] = {publish_text, sizeof(publish_text) - 1},
        [CN_REDIS_SCRIPT_READ] = {read_text, sizeof(read_text) - 1},
        [CN_REDIS_SCRIPT_TAILS] = {tails_text, sizeof(tails_text) - 1},
        [CN_REDIS_SCRIPT_NOTIFY] = {notify_text, sizeof(notify_text) - 1},
        [CN_REDIS_SCRIPT_NOTICES] = {notices_text, sizeof(notices_text) - 1},
    };
    return texts[script];
}
