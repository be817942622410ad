-- The next keys that have history rows, each with the time of its first row that is no snapshot.
--
-- KEYS 1 histories (in a cluster also 2, which is never there)
-- ARGV 1 what names of histories begin with, 2 the member to go on behind ('' from the start), 3 how
--      many, 4 about so many bytes of rows are read
-- Answers '1' when there are no more, and for each member and time ('' only snapshots).

local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local members = call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[3])
local room, answer = tonumber(ARGV[4]), {#members < tonumber(ARGV[3]) and '1' or ''}

local function oldest(history)
  local place = 0
  while true do
    local row = call('ZRANGE', history, place, place)[1]
    if not row then
      return ''
    end
    room = room - #row
    if string.sub(row, 29, 40) ~= '["snapshot",' then
      return string.match(string.sub(row, -24), ',(%-?%d+)%]$')
    end
    place = place + 1
  end
end

for i, member in ipairs(members) do
  local cut = string.find(member, '\0', 1, true)
  local history = history_of(ARGV[1], string.sub(member, 1, cut - 1), string.sub(member, cut + 1))
  answer[2 * i], answer[2 * i + 1] = member, oldest(history)
  if room < 0 and i < #members then
    answer[1] = ''
    break
  end
end
return answer
