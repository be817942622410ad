-- Rows of a partition's feed. Entries whose rows were pruned, or that are not asked for, are passed over.
--
-- KEYS 1 feed (in a cluster also 2, which is never there)
-- ARGV 1 what names of histories begin with, 2 the entry to go on behind ('-' from the start), 3 how
--      many entries are looked at, 4 how many rows are wanted, 5 about so many bytes, 6 the only
--      entity's id ('' for all), 7 '1' for some machines, 8... their names
-- Answers the last entry looked at ('' none), '1' when it is the last one there, and for each row
-- id, machine, row.

local entries = call('XRANGE', KEYS[1], ARGV[2] == '-' and '-' or '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
local wanted, room, only, machines = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], machines_at(7)
local answer = {'', #entries < tonumber(ARGV[3]) and '1' or ''}
for i, entry in ipairs(entries) do
  local told = entry[2][2]
  local nul = string.find(told, '\0', 13, true)
  local id, machine = string.sub(told, 13, nul - 1), string.sub(told, nul + 1)
  local row = (only == '' or id == only) and (not machines or machines[machine])
    and row_at(history_of(ARGV[1], id, machine), string.sub(told, 1, 12)
      .. row_id(KEYS[1], entry[1]))
  answer[1] = entry[1]
  if row then
    answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = id, machine, row
    wanted, room = wanted - 1, room - #row
    if (wanted == 0 or room < 0) and i < #entries then
      answer[2] = ''
      break
    end
  end
end
return answer
