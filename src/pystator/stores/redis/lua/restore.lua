-- An entity and rows of another store, as they are: all of it, or nothing.
--
-- KEYS 1 the entity of the machine that was first, 2 that of this machine if it was not, 3 history,
--      4 event ids (in a cluster also 5, which is never there)
-- ARGV 1 what shared keys begin with, 2 id, 3 machine, 4 epoch, 5 version that the entity has here, 6
--      version and 7 commit id of the newest row here ('' none), 8 the machine in names of indexes, 9
--      state ('' no entity comes), 10 deadline ('-' none, '@' it is archived), 11 number of names
--      and values of the entity, these, and for each row version, event id and text
-- Answers 1 written, 0 something else is here.

local pre, id, machine, state = ARGV[1], ARGV[2], ARGV[3], ARGV[9]
local fields = tonumber(ARGV[11])
local first, last = 12 + fields, #ARGV
local history, known = KEYS[3], KEYS[4]

local epoch = call('GET', pre .. 'epoch')
if ARGV[4] ~= '' and ARGV[4] ~= epoch then
  return {err = 'EPOCH ' .. (epoch or 'none')}
end
local key = KEYS[1]
local was = call('HMGET', key, 'version', 'machine_name', 'state')
if was[2] and was[2] ~= machine then
  key = KEYS[2]
  was = call('HMGET', key, 'version', 'machine_name', 'state')
end
if not was[1] and (was[2] or was[3]) then
  return {err = 'FOREIGN ' .. key .. ' has no version'}
end
local version, was_archived = string.match(was[1] or '0', '^(%d+)(.*)$')
if version ~= ARGV[5] then
  return 0
end
local newest = call('ZRANGE', history, -1, -1)[1]
if newest then
  if string.sub(newest, 1, 12) ~= ARGV[6]
    or cjson.decode(string.sub(newest, 29))[18] ~= ARGV[7] then
    return 0
  end
elseif ARGV[6] ~= '' then
  return 0
end
if any_known(known, first) then
  return 0
end

local comes = state ~= ''
local wrong = foreign({
  history, 'zset', known, 'hash', pre .. 'feed', 'stream', pre .. 'histories', 'zset',
  pre .. 'replication', 'stream',
})
local settle
if comes and not wrong then
  wrong, settle = settling(pre, id, machine, ARGV[8], was_archived ~= '', was[3],
    ARGV[10] == '@', state)
end
if wrong then
  return wrong
end

local rows, members, digits = {}, {}, {}
for i = first, last, 3 do
  local place = ARGV[i] .. feed_row(pre, id, machine, ARGV[i])
  local row = place .. ARGV[i + 2]
  rows[#rows + 1] = row
  members[#members + 1], members[#members + 2] = 0, row
  if ARGV[i + 1] ~= '' then
    digits[#digits + 1], digits[#digits + 2] = ARGV[i + 1], place
  elseif string.sub(ARGV[i + 2], 1, 12) == '["snapshot",' then
    digits[#digits + 1], digits[#digits + 2] = '', place -- see cut.lua
  end
end
local member = id .. '\0' .. machine
in_parts('ZADD', history, members)
in_parts('HSET', known, digits)
if #rows > 0 then
  call('ZADD', pre .. 'histories', 0, member)
end
if comes then
  call('HSET', key, unpack(ARGV, 12, 11 + fields))
  settle(ARGV[10])
end
if epoch then
  local entity = comes and told_of(key) or {}
  call('XADD', pre .. 'replication', '*', 'id', id, 'machine', machine,
    'base', version, 'rows', table.concat(rows, '\n'), unpack(entity))
end
return 1
