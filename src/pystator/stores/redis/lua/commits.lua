-- Commits of entities of one machine in one partition, each of which is written whole or not at all.
--
-- KEYS the entity of each (in a cluster also one that is never there). ARGV: see write.lua; commits
-- stand there one after the other from 6 on.
-- Answers what became of each, up to the first that is an error: who asks sends the rest alone.

local answers, at = {}, 6
for place = 1, #KEYS do
  if not ARGV[at] then
    break
  end
  begun = false
  local is_done, answer = pcall(write, KEYS[place], at)
  if not is_done and begun then
    error(answer) -- nobody foresaw it
  end
  if not is_done or type(answer) ~= 'number' then
    break
  end
  answers[place] = answer
  at = at + 7 + ARGV[at + 5] + ARGV[at + 6]
end
return answers
