-- Delete rows of one history, and append the snapshot that stands for them: all of it, or nothing.
--
-- Rows are deleted first. A server whose memory is full lets that happen, and after it the rest.
--
-- KEYS 1 history, 2 event ids, 3 feed, 4 histories (in a cluster also 5, which is never there)
-- ARGV 1 what shared keys begin with, 2 id, 3 machine, 4 the place of the guard ('' none), 5 version
--      and 6 text of the snapshot ('' none), and for each row its place, its entry in the feed and
--      its event id ('' none); the first ARGV[7] of them are counted
-- Answers how many of these were there; -1 when the guard is gone, and then nothing was done.

local pre, id, machine, guard = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local version, text, counted = ARGV[5], ARGV[6], tonumber(ARGV[7])
local history, ids, feed, histories = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wrong = foreign({history, 'zset', ids, 'hash', feed, 'stream', histories, 'zset'})
if wrong then
  return wrong
end

local function forget(place)
  return call('ZREMRANGEBYLEX', history, '[' .. place, '(' .. place .. '\255')
end

if guard ~= '' and not row_at(history, guard) then
  return -1
end
local gone, entries, names = 0, {}, {}
for i = 8, #ARGV, 3 do
  if forget(ARGV[i]) == 1 then
    if (i - 8) / 3 < counted then
      gone = gone + 1
    end
    entries[#entries + 1] = ARGV[i + 1]
    if ARGV[i + 2] ~= '' then
      names[#names + 1] = ARGV[i + 2]
    end
  end
end
in_parts('XDEL', feed, entries)
in_parts('HDEL', ids, names)

-- The newest snapshot stands under an event id that no event has.
local newest = call('HGET', ids, '')
if newest and not row_at(history, newest) then
  call('HDEL', ids, '')
  newest = false
end
if version ~= '' and not (newest and tonumber(string.sub(newest, 1, 12), 16) >= tonumber(version, 16)) then
  local place = version .. feed_row(pre, id, machine, version)
  call('ZADD', history, 0, place .. text)
  call('HSET', ids, '', place)
end
if call('EXISTS', history) == 0 then
  call('ZREM', histories, id .. '\0' .. machine)
end
return gone
