-- Count a machine's entities of a partition that are alive, and delete versions of the machine when
-- there are none.
--
-- KEYS 1 machines, 2 entities (in a cluster also 3, which is never there)
-- ARGV 1 what shared keys begin with, 2 the machine, 3 '1' when only those count that were written
--      last by one version, 4 this version, 5 what names of entities begin with whose machine was not
--      the first, 6 the member of entities to go on behind ('' from the start), 7 so many of them are
--      looked at, 8 how many were found so far, 9 what must be among the versions ('' nothing), 10...
--      what is to be deleted of them
-- Answers how many are alive, the member to go on behind ('' all were looked at), how many versions
-- were deleted (-1: what must be among them is not).

local pre, machine, alive, last = ARGV[1], ARGV[2], tonumber(ARGV[8]), ''
local wrong = foreign({KEYS[1], 'hash', KEYS[2], 'zset'})
if wrong then
  return wrong
end

local function count_all()
  for _, each in ipairs(states_of(pre, {[machine] = true}, false, false)) do
    alive = alive + call('ZCARD', each.key)
  end
end

local function count_of_version()
  local from = ARGV[6] == '' and '-' or '(' .. ARGV[6]
  local members = call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[7])
  for _, member in ipairs(members) do
    local cut = string.find(member, '\0', 1, true)
    if string.sub(member, cut + 1) == machine then
      local id = string.sub(member, 1, cut - 1)
      local was = call('HMGET', pre .. 'entity:' .. escaped(id), 'machine_name', 'machine_version')
      if was[1] ~= machine then
        was = call('HMGET', other_of(ARGV[5], id, machine), 'machine_name', 'machine_version')
      end
      if was[2] == ARGV[4] then
        alive = alive + 1
      end
    end
  end
  last = #members == tonumber(ARGV[7]) and members[#members] or ''
end

if ARGV[3] == '1' then
  count_of_version()
else
  count_all()
end
if last ~= '' or alive > 0 or #ARGV < 10 then
  return {alive, last, 0}
end
if ARGV[9] ~= '' and call('HEXISTS', KEYS[1], ARGV[9]) == 0 then
  return {0, '', -1}
end
local gone = 0
for i = 10, #ARGV do
  gone = gone + call('HDEL', KEYS[1], ARGV[i])
end
return {0, '', gone}
