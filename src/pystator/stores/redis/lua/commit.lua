-- One commit: all of it, or nothing.
--
-- KEYS 1 the entity of the machine that was first, 2 that of this machine if it was not, 3 history,
--      4 event ids (in a cluster also 5, which is never there)
-- ARGV 1 what shared keys begin with, 2 id, 3 machine, 4 epoch, 5 version that is expected ('' only
--      appends), 6 what indexes of states begin with, 7 state ('' stays), 8 deadline ('' stays, '-'
--      none), 9 number of names and values of the entity, these, and for each row version, event id
--      and text
-- Answers 1 written, 0 stale, 2 one of the event ids is known.

local pre, id, machine, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local state, due, fields = ARGV[7], ARGV[8], tonumber(ARGV[9])
local first, last = 10 + fields, #ARGV
local history, known = KEYS[3], KEYS[4]
local changes = expected ~= ''

local key = KEYS[1]
local was = call('HMGET', key, 'version', 'machine_name', 'state', 'next_due')
if was[2] and was[2] ~= machine then
  key = KEYS[2]
  was = call('HMGET', key, 'version', 'machine_name', 'state', 'next_due')
end
if not was[1] and (was[2] or was[3]) then
  return {err = 'FOREIGN ' .. key .. ' has no version'}
end
if changes and (was[1] or '0') ~= expected then
  return 0
end

local ids = {}
for i = first, last, 3 do
  if ARGV[i + 1] ~= '' then
    ids[#ids + 1] = ARGV[i + 1]
  end
end
for from = 1, #ids, 1000 do
  for _, found in ipairs(call('HMGET', known, unpack(ids, from, math.min(from + 999, #ids)))) do
    if found then
      return 2
    end
  end
end

local epoch, other = epoch_of(pre, ARGV[4])
if other then
  return other
end
local shared = ARGV[6]
local moves = state ~= '' and state ~= was[3]
local appears = call('EXISTS', history) == 0
local keys = {history, 'zset', pre .. 'feed', 'stream'}
local function also(touched, name, kind)
  if touched then
    keys[#keys + 1], keys[#keys + 2] = name, kind
  end
end
also(epoch, pre .. 'replication', 'stream')
also(appears, pre .. 'histories', 'zset')
also(changes and not was[1], pre .. 'entities', 'zset')
also(due ~= '', pre .. 'due', 'zset')
also(moves, shared .. state, 'zset')
also(moves, pre .. 'states', 'set')
also(moves and was[3], shared .. (was[3] or ''), 'zset')
local wrong = foreign(keys)
if wrong then
  return wrong
end

-- Nothing fails from here on, and what a server may refuse it refuses at the first row.
local rows, members, digits = {}, {}, {}
for i = first, last, 3 do
  local place = ARGV[i] .. feed_row(pre, id, machine, ARGV[i])
  local row = place .. ARGV[i + 2]
  rows[#rows + 1] = row
  members[#members + 1], members[#members + 2] = 0, row
  if ARGV[i + 1] ~= '' then
    digits[#digits + 1], digits[#digits + 2] = ARGV[i + 1], place
  end
end
local member = id .. '\0' .. machine
in_parts('ZADD', history, members)
in_parts('HSET', known, digits)
if appears then
  call('ZADD', pre .. 'histories', 0, member)
end
if changes then
  call('HSET', key, unpack(ARGV, 10, 9 + fields))
  if not was[1] then
    call('ZADD', pre .. 'entities', 0, member)
  end
  if moves then
    call('ZADD', shared .. state, 0, id)
    call('SADD', pre .. 'states', machine .. '\0' .. state)
    if was[3] and call('ZREM', shared .. was[3], id) == 1 and call('EXISTS', shared .. was[3]) == 0 then
      call('SREM', pre .. 'states', machine .. '\0' .. was[3])
    end
  end
  if due == '-' then
    call('ZREM', pre .. 'due', member)
  elseif due ~= '' then
    call('ZADD', pre .. 'due', due, member)
  end
end
if epoch then
  local entity = changes and call('HGETALL', key) or {}
  call('XADD', pre .. 'replication', '*', 'id', id, 'machine', machine,
    'rows', table.concat(rows, '\n'), unpack(entity))
end
return 1
