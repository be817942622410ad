-- The indexes of a partition's states: those of a machine, and with a leaf or a configuration, if
-- these are not false.
local function states_of(pre, machine, state)
  local leaf = state and not string.find(state, '+', 1, true) and '+' .. state .. '+'
  local found = {}
  for _, member in ipairs(call('SMEMBERS', pre .. 'states')) do
    local cut = string.find(member, '\0', 1, true)
    local owner, each = string.sub(member, 1, cut - 1), string.sub(member, cut + 1)
    if (not machine or owner == machine)
      and (not state or each == state
        or (leaf and string.find('+' .. each .. '+', leaf, 1, true))) then
      local name = index_of(owner) .. ':' .. each
      found[#found + 1] = {machine = owner, state = each, key = pre .. 'state:' .. name}
    end
  end
  return found
end

