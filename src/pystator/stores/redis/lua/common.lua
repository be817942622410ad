-- What all scripts share. Laws:
-- * A script reads every key that it may write before it writes any: one of another type, or one
--   that a cluster is just moving elsewhere, is an error while nothing is written.
-- * Its first write is one that a server without memory refuses.
-- * Texts of contexts and rows are never taken apart, and no number above 2^53 is one here.

local call = redis.call

-- The error for the first of the keys that is there and of another type: key, type, key, type, ...
local function foreign(keys)
  for i = 1, #keys, 2 do
    local found = call('TYPE', keys[i]).ok
    if found ~= keys[i + 1] and found ~= 'none' then
      return {err = 'FOREIGN ' .. keys[i] .. ' is a ' .. found .. ', not a ' .. keys[i + 1]}
    end
  end
end

-- The epoch that this data belongs to, false for none, and an error when another one was meant.
local function epoch_of(pre, meant)
  local epoch = call('GET', pre .. 'epoch')
  if meant ~= '' and meant ~= epoch then
    return epoch, {err = 'EPOCH ' .. (epoch or 'none')}
  end
  return epoch
end

-- Append an entry to the feed; the id of the row, 16 hexadecimal digits: 11 of the milliseconds, 5
-- of the number within it.
local function feed_row(pre, id, machine, version)
  local feed = pre .. 'feed'
  local at = call('XADD', feed, '*', 'id', id, 'machine', machine, 'version', version)
  local ms, seq = string.match(at, '^(%d+)-(%d+)$')
  if #seq > 6 and tonumber(seq) > 1048575 then -- the clock stood still for so long
    ms, seq = tonumber(ms) + 1, 0
    call('XADD', feed, string.format('%.0f-0', ms),
      'id', id, 'machine', machine, 'version', version)
    call('XDEL', feed, at)
  end
  return string.format('%011x%05x', ms, seq)
end

-- Append to a key by commands of at most a thousand arguments.
local function in_parts(command, key, arguments)
  for first = 1, #arguments, 1000 do
    call(command, key, unpack(arguments, first, math.min(first + 999, #arguments)))
  end
end
