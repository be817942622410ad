-- Delete what is applied of a stream of commits, up to the entry that was applied last.
--
-- KEYS 1 stream, 2 up to where it was trimmed (in a cluster also 3, which is never there)
-- ARGV 1 the entry that was applied last
-- Answers 1 done, 0 it is not there, and nothing was done.

local wrong = foreign({KEYS[1], 'stream', KEYS[2], 'string'})
if wrong then
  return wrong
end
if #call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return 0
end
call('XTRIM', KEYS[1], 'MINID', ARGV[1]) -- first: a server whose memory is full lets it happen
call('SET', KEYS[2], ARGV[1])
return 1
