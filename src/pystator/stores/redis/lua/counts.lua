-- How many entities of a partition are in each configuration, at one moment.
--
-- KEYS 1 states, or archived-states (in a cluster also 2, which is never there)
-- ARGV 1 what shared keys begin with, 2 '1' for archived ones, 3 '1' for some machines, 4... their names
-- Answers configuration, number, ...

local found = {}
for _, each in ipairs(states_of(ARGV[1], machines_at(3), false, ARGV[2] == '1')) do
  found[#found + 1] = each.state
  found[#found + 1] = call('ZCARD', each.key)
end
return found
