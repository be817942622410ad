-- Rows of one history by their entries in the feed.
--
-- KEYS 1 feed, 2 history (in a cluster also 3, which is never there)
-- ARGV 1 about so many bytes, 2... entries
-- Answers a row, or '' when it is gone, for each entry; for fewer of them when rows are large.

local room, answer = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  local entry = call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  local row = entry and row_at(KEYS[2], string.sub(entry[2][2], 1, 12) .. row_id(KEYS[1], entry[1])) or ''
  answer[i - 1] = row
  room = room - #row
  if room < 0 then
    break
  end
end
return answer
