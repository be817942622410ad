-- The next keys of a partition's entities in some of its states, at one moment: an entity that moves
-- between them is in one of them.
--
-- KEYS 1 states (in a cluster also 2, which is never there)
-- ARGV 1 what shared keys begin with, 2 '1' for one machine, 3 its name, 4 '1' for one state, 5 the
--      leaf or configuration, 6 the id to go on from ('' from the start), 7 how many are wanted,
--      8 the moment before which they came into their state ('' for any), 9 so few are given at
--      once, 10 so many are looked at
-- Answers a list for each state that fits: machine, how much it tells, id, ids. It tells all that are
-- there ('few', in no order), all from that id on ('all'), or those up to another id ('up', which is
-- the third of the list).
--
-- Texts are never compared here: Lua does that as the server's locale has it.

local pre, id = ARGV[1], ARGV[6]
local since, few, looked = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local fitting = states_of(pre, ARGV[2] == '1' and ARGV[3], ARGV[4] == '1' and ARGV[5])
local share = math.ceil(2 * tonumber(ARGV[7]) / math.max(#fitting, 1)) + 1
looked = math.max(math.floor(looked / math.max(#fitting, 1)), 16)

-- Those of some ids that are long enough in their state.
local function long(key, ids)
  local times = call('ZMSCORE', key, unpack(ids))
  local most, found = tonumber(since), {}
  for i, time in ipairs(times) do
    if time and tonumber(time) <= most then
      found[#found + 1] = ids[i]
    end
  end
  return found
end

local function next_of(each)
  local from = id == '' and '-' or '[' .. id -- itself, for it may be there for a later machine
  if since == '' then
    local ids = call('ZRANGEBYLEX', each.key, from, '+', 'LIMIT', 0, share)
    return {each.machine, #ids < share and 'all' or 'up', ids[#ids] or '', ids}
  end
  local old = call('ZCOUNT', each.since, '-inf', since)
  if old <= few then
    few = few - old
    return {each.machine, 'few', '', call('ZRANGEBYSCORE', each.since, '-inf', since)}
  end
  local ids = call('ZRANGEBYLEX', each.key, from, '+', 'LIMIT', 0, looked)
  local last = ids[#ids] or ''
  return {each.machine, #ids < looked and 'all' or 'up', last, #ids > 0 and long(each.since, ids) or ids}
end

local answer = {}
for i, each in ipairs(fitting) do
  answer[i] = next_of(each)
end
return answer
