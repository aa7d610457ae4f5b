// SPDX-License-Identifier: MIT
// The scripts that run inside Redis, each one atomic step.
#include "redis_private.h"

// KEYS: log, meta, id. ARGV: channel, body, messages kept, seconds the log lives, seconds the meta
// lives, seconds the id is remembered, 1 if the caller will WAIT. Returns {position, ts, dup}.
// (WAIT looks only at what its own connection wrote, so a known id is then written once more.)
//
// The write that can fail goes first, since a script is atomic but not transactional. A generation
// begins when there is no log, or when master_replid says that another server, or the same one
// started anew, carries on: what it lost may have been told already, so its numbers are not reused.
// A generation is the time in microseconds: after FLUSHALL nothing is left to compare with, and two
// generations within one millisecond have been seen. (Exact in a double until the year 2255.)
static const char publish_text[] =
    "local old = redis.call('GET', KEYS[3])\n"
    "if old then\n"
    "  local pos, ts = string.match(old, '^(%d+%-%d+) (%d+)$')\n"
    "  if pos then\n"
    "    if ARGV[7] == '1' then redis.call('SET', KEYS[3], old, 'KEEPTTL') end\n"
    "    return {pos, ts, 1}\n"
    "  end\n"
    "end\n"
    "local lineage = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')\n"
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local ts = string.format('%.0f', math.floor(now / 1000))\n"
    "local tail = '\"ts\":' .. ts .. ',' .. ARGV[2]\n"
    "local meta = redis.call('HMGET', KEYS[2], 'gen', 'lineage')\n"
    "local gen = meta[1]\n"
    "local function append()\n"
    "  return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], gen .. '-*', 'd', tail)\n"
    "end\n"
    "local function next_gen()\n"
    "  local new = now\n"
    "  if meta[1] and new <= tonumber(meta[1]) then new = tonumber(meta[1]) + 1 end\n"
    "  if redis.call('EXISTS', KEYS[1]) == 1 then\n"
    "    local info = redis.call('XINFO', 'STREAM', KEYS[1])\n"
    "    for i = 1, #info, 2 do\n"
    "      if info[i] == 'last-generated-id' then\n"
    "        local last = tonumber(string.match(info[i + 1], '^(%d+)'))\n"
    "        if new <= last then new = last + 1 end\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  return string.format('%.0f', new)\n"
    "end\n"
    "local fresh = not gen or meta[2] ~= lineage or redis.call('EXISTS', KEYS[1]) == 0\n"
    "if fresh then gen = next_gen() end\n"
    "local pos = append()\n"
    "if type(pos) == 'table' and pos.err and string.find(pos.err, 'equal or smaller', 1, true) "
    "then\n"
    "  fresh = true\n"
    "  gen = next_gen()\n"
    "  pos = append()\n"
    "end\n"
    "if type(pos) == 'table' then return pos end\n"
    "if fresh then redis.call('HSET', KEYS[2], 'gen', gen, 'lineage', lineage) end\n"
    "redis.call('EXPIRE', KEYS[1], ARGV[4])\n"
    "redis.call('EXPIRE', KEYS[2], ARGV[5])\n"
    "redis.call('PUBLISH', ARGV[1], '{\"pos\":\"' .. pos .. '\",' .. tail)\n"
    "redis.call('SET', KEYS[3], pos .. ' ' .. ts, 'EX', ARGV[6])\n"
    "return {pos, ts, 0}\n";

// KEYS: log. ARGV: kind (after, before, newest, tail), position, limit, bytes of text at most.
// Returns {exact, more, tail, pos, text, pos, text...} in rising order. A page holds at least one
// entry, whatever its size.
static const char read_text[] =
    "#!lua flags=no-writes\n"
    "local log, kind, from, limit = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])\n"
    "local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)\n"
    "local tail = newest[1] and newest[1][1] or '0-0'\n"
    "local exact, found = 0, {}\n"
    "local function is_whole()\n"
    "  if redis.call('EXISTS', log) == 0 then return 1 end\n"
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
    "for i = 1, #found do\n"
    "  bytes = bytes + #(found[i][2][2] or '')\n"
    "  if i > limit or (i > 1 and bytes > tonumber(ARGV[4])) then more = 1 break end\n"
    "  count = i\n"
    "end\n"
    "local first, last, step = 1, count, 1\n"
    "if kind ~= 'after' then first, last, step = count, 1, -1 end\n"
    "local page = {exact, more, tail}\n"
    "for i = first, last, step do\n"
    "  page[#page + 1] = found[i][1]\n"
    "  page[#page + 1] = '{\"pos\":\"' .. found[i][1] .. '\",' .. (found[i][2][2] or '')\n"
    "end\n"
    "return page\n";

// KEYS: logs. Returns the newest position of each.
static const char tails_text[] =
    "#!lua flags=no-writes\n"
    "local tails = {}\n"
    "for i = 1, #KEYS do\n"
    "  local newest = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)\n"
    "  tails[i] = newest[1] and newest[1][1] or '0-0'\n"
    "end\n"
    "return tails\n";

struct cn_str cn_redis_script_text(enum cn_redis_script script)
{
    static const struct cn_str texts[CN_REDIS_SCRIPT_COUNT] = {
        [CN_REDIS_SCRIPT_PUBLISH] = {publish_text, sizeof(publish_text) - 1},
        [CN_REDIS_SCRIPT_READ] = {read_text, sizeof(read_text) - 1},
        [CN_REDIS_SCRIPT_TAILS] = {tails_text, sizeof(tails_text) - 1},
    };
    return texts[script];
}
