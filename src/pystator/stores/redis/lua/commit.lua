-- One commit: all of it, or nothing.
--
-- KEYS 1 the entity of the machine that was first, 2 that of this machine if it was not, 3 history,
--      4 event ids (in a cluster also 5, which is never there)
-- ARGV 1 what shared keys begin with, 2 id, 3 machine, 4 epoch, 5 version that is expected ('' only
--      appends), 6 the machine in names of indexes, 7 state ('' stays), 8 deadline ('' stays, '-'
--      none), 9 number of event ids, 10 number of what follows about the entity: version, machine's
--      version, fingerprint, updated_at, commit_id, and names and values of further fields; then
--      for each row version, event id and text
-- Answers 1 written, 0 stale, 2 one of the event ids is known.
--
-- Reads come first and meet the keys of another type; of a feed that is none, it is the first write.

local pre, id, machine, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[5]
local due, first = ARGV[8], 11 + ARGV[10]
local history, known = KEYS[3], KEYS[4]
local changes = expected ~= ''
local key = KEYS[1]
local was = call('HMGET', key, 'version', 'machine_name', 'state')
if was[2] and was[2] ~= machine then
  key = KEYS[2]
  was = call('HMGET', key, 'version', 'machine_name', 'state')
end
local version, before = was[1], was[3]
if not version and (before or was[2]) then
  return {err = 'FOREIGN ' .. key .. ' has no version'}
end
if changes and (version or '0') ~= expected then
  return 0
end
if ARGV[9] ~= '0' and any_known(known, first) then
  return 2
end

local epoch = call('GET', pre .. 'epoch')
if ARGV[4] ~= '' and ARGV[4] ~= epoch then
  return {err = 'EPOCH ' .. (epoch or 'none')}
end
local appears = call('ZCARD', history) == 0
local states = pre .. 'state:' .. ARGV[6] .. ':'
local after, grows, shrinks = ARGV[7], false, false
if after == '' or after == before then
  after = false
else
  grows = call('ZCARD', states .. after) == 0
  shrinks = before and call('ZCARD', states .. before) == 1
end
if appears or not version or due ~= '' or grows or shrinks or epoch then
  local wrong = foreign({
    pre .. 'histories', 'zset', pre .. 'entities', 'zset', pre .. 'due:' .. ARGV[6], 'zset',
    pre .. 'states', 'set', pre .. 'replication', 'stream',
  })
  if wrong then
    return wrong
  end
end

-- Nothing fails from here on, and what a server may refuse it refuses at the first row.
local row
if #ARGV == first + 2 then
  local place = ARGV[first] .. feed_row(pre, id, machine, ARGV[first])
  row = place .. ARGV[first + 2]
  call('ZADD', history, 0, row)
  if ARGV[9] ~= '0' then
    call('HSET', known, ARGV[first + 1], place)
  end
else
  row = add_rows(pre, id, machine, history, known, first)
end
if changes then
  call('HSET', key, 'version', ARGV[11], 'machine_version', ARGV[12], 'fingerprint', ARGV[13],
    'updated_at', ARGV[14], 'commit_id', ARGV[15], unpack(ARGV, 16, first - 1))
  if after then
    call('ZADD', states .. after, 0, id)
    if before then
      call('ZREM', states .. before, id)
    end
    if grows then
      call('SADD', pre .. 'states', machine .. '\0' .. after)
    end
    if shrinks then
      call('SREM', pre .. 'states', machine .. '\0' .. before)
    end
  end
  if due == '-' then
    call('ZREM', pre .. 'due:' .. ARGV[6], id)
  elseif due ~= '' then
    call('ZADD', pre .. 'due:' .. ARGV[6], due, id)
  end
end
if appears or (changes and not version) then
  local member = id .. '\0' .. machine
  if appears then
    call('ZADD', pre .. 'histories', 0, member)
  end
  if changes and not version then
    call('ZADD', pre .. 'entities', 0, member)
  end
end
if epoch then
  local entity = changes and call('HGETALL', key) or {}
  call('XADD', pre .. 'replication', '*', 'id', id, 'machine', machine,
    'base', version or '0', 'rows', row, unpack(entity))
end
return 1
