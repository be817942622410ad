-- How many entities of a partition are in each configuration, at one moment.
--
-- KEYS 1 states (in a cluster also 2, which is never there)
-- ARGV 1 what shared keys begin with, 2 '1' for one machine, 3 its name
-- Answers configuration, number, ...

local found = {}
for _, each in ipairs(states_of(ARGV[1], ARGV[2] == '1' and ARGV[3])) do
  found[#found + 1] = each.state
  found[#found + 1] = call('ZCARD', each.key)
end
return found
