-- The next keys of a partition's entities in some of its states, at one moment: an entity that moves
-- between them is in one of them.
--
-- KEYS 1 states, or archived-states (in a cluster also 2, which is never there)
-- ARGV 1 what shared keys begin with, 2 '1' for archived ones, 3 '1' for one state, 4 the leaf or
--      configuration, 5 the id to go on from ('' from the start), 6 how many are wanted, 7 the moment
--      before which they came into their state ('' for any), 8 so many are looked at to see that,
--      9 what names of entities begin with whose machine was not the first, 10 '1' for some machines,
--      11... their names
-- Answers a list for each state that fits: machine, how much it tells, id, ids. It tells all that are
-- there from that id on ('all'), or those up to another id ('up', which is the third of the list).
--
-- Texts are never compared here: Lua does that as the server's locale has it.

local pre, id = ARGV[1], ARGV[5]
local since, looked = ARGV[7], tonumber(ARGV[8])
local fitting = states_of(pre, machines_at(10), ARGV[3] == '1' and ARGV[4], ARGV[2] == '1')
local share = math.ceil(2 * tonumber(ARGV[6]) / math.max(#fitting, 1)) + 1
looked = math.max(math.floor(looked / math.max(#fitting, 1)), 16)

-- Those of some ids that are long enough in their state, a share of them, and how many were looked at.
local function long(machine, ids)
  local most, found = tonumber(since), {}
  for i, each in ipairs(ids) do
    local was = call('HMGET', pre .. 'entity:' .. escaped(each), 'machine_name', 'state_since')
    if was[1] ~= machine then
      was = call('HMGET', other_of(ARGV[9], each, machine), 'machine_name', 'state_since')
    end
    if was[2] and tonumber(was[2]) <= most then
      found[#found + 1] = each
      if #found == share then
        return found, i
      end
    end
  end
  return found, #ids
end

local function next_of(each)
  local from = id == '' and '-' or '[' .. id -- itself, for it may be there for a later machine
  if since == '' then
    local ids = call('ZRANGEBYLEX', each.key, from, '+', 'LIMIT', 0, share)
    return {each.machine, #ids < share and 'all' or 'up', ids[#ids] or '', ids}
  end
  local ids = call('ZRANGEBYLEX', each.key, from, '+', 'LIMIT', 0, looked)
  local found, seen = long(each.machine, ids)
  local is_all = #ids < looked and seen == #ids
  return {each.machine, is_all and 'all' or 'up', ids[seen] or '', found}
end

local answer = {}
for i, each in ipairs(fitting) do
  answer[i] = next_of(each)
end
return answer
