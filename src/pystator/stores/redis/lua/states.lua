-- The indexes of a partition's states: those of some machines, as the keys of a table, and with a leaf
-- or a configuration, if these are not false; of the archived entities, or of all others.
local function states_of(pre, machines, state, is_archived)
  local leaf = state and not string.find(state, '+', 1, true) and '+' .. state .. '+'
  local names = pre .. (is_archived and 'archived-states' or 'states')
  local those = pre .. (is_archived and 'archived:' or 'state:')
  local found = {}
  for _, member in ipairs(call('SMEMBERS', names)) do
    local cut = string.find(member, '\0', 1, true)
    local owner, each = string.sub(member, 1, cut - 1), string.sub(member, cut + 1)
    if (not machines or machines[owner])
      and (not state or each == state
        or (leaf and string.find('+' .. each .. '+', leaf, 1, true))) then
      found[#found + 1] = {machine = owner, state = each, key = those .. index_of(owner) .. ':' .. each}
    end
  end
  return found
end

-- The machines in ARGV from a place on, as states_of takes them; there a '1' says that they are chosen.
local function machines_at(place)
  if ARGV[place] ~= '1' then
    return false
  end
  local chosen = {}
  for i = place + 1, #ARGV do
    chosen[ARGV[i]] = true
  end
  return chosen
end

