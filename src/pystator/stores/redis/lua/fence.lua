-- Put another epoch in the place of one.
--
-- KEYS 1 epoch (in a cluster also 2, which is never there)
-- ARGV 1 the epoch that is expected, 2 the other one
-- Answers 1 done, 0 it is not that one.

if call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
call('SET', KEYS[1], ARGV[2])
return 1
