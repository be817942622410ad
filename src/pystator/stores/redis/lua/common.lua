-- What all scripts share. Laws:
-- * A script reads every key that it may write before it writes any: one of another type is an
--   error while nothing is written.
-- * Its first write is one that a server without memory refuses.
-- * Texts of contexts and rows are never taken apart, and no number above 2^53 is one here.

local call = redis.call
local begun = false -- something of a commit is written

-- The error for the first of the keys that is there and of another type: key, type, key, type, ...
local function foreign(keys)
  for i = 1, #keys, 2 do
    local found = call('TYPE', keys[i]).ok
    if found ~= keys[i + 1] and found ~= 'none' then
      return {err = 'FOREIGN ' .. keys[i] .. ' is a ' .. found .. ', not a ' .. keys[i + 1]}
    end
  end
end

-- The id of the row that an entry of the feed tells of, 16 hexadecimal digits: 11 of the milliseconds,
-- 5 of the number within it. Of a cluster each partition counts apart, and its number comes last.
local function row_number(pre, ms, seq)
  if string.byte(pre, -2) == 125 then -- a brace
    seq = seq * 64 + string.sub(pre, -4, -3)
  end
  return string.format('%011x%05x', ms, seq)
end

-- Append an entry to the feed: version, id, NUL, machine. The id of the row.
local function feed_row(pre, id, machine, version)
  local feed, entry = pre .. 'feed', version .. id .. '\0' .. machine
  local at = call('XADD', feed, '*', 'row', entry)
  begun = true
  local dash = string.find(at, '-', 1, true)
  local ms, seq = string.sub(at, 1, dash - 1), string.sub(at, dash + 1)
  if #seq > 4 and seq + 0 > (string.byte(pre, -2) == 125 and 16383 or 1048575) then
    -- the clock stood still for so long
    ms, seq = ms + 1, 0
    call('XADD', feed, string.format('%.0f-0', ms), 'row', entry)
    call('XDEL', feed, at)
  end
  return row_number(pre, ms, seq)
end

-- Append to a key by commands of at most a thousand arguments.
local function in_parts(command, key, arguments)
  for first = 1, #arguments, 1000 do
    call(command, key, unpack(arguments, first, math.min(first + 999, #arguments)))
  end
end

-- What replication tells of an entity: names and values. Whatever else stands in the hash is not ours.
local ours = {
  'machine_name', 'version', 'state', 'context', 'history', 'timers', 'next_due', 'machine_version',
  'fingerprint', 'created_at', 'updated_at', 'commit_id', 'state_since',
}

local function told_of(key)
  local told = {}
  for i, value in ipairs(call('HMGET', key, unpack(ours))) do
    if value then
      told[#told + 1], told[#told + 2] = ours[i], value
    end
  end
  return told
end

-- Rows stand in ARGV between these places, or up to its end: version, event id, text.

-- One of their event ids is in the hash.
local function any_known(known, first, last)
  local ids = {}
  for i = first + 1, last or #ARGV, 3 do
    if ARGV[i] ~= '' then
      ids[#ids + 1] = ARGV[i]
    end
  end
  for from = 1, #ids, 1000 do
    for _, found in ipairs(call('HMGET', known, unpack(ids, from, math.min(from + 999, #ids)))) do
      if found then
        return true
      end
    end
  end
end

-- Append them; all of them, a line each.
local function add_rows(pre, id, machine, history, known, first, last)
  local rows, members, places = {}, {}, {}
  for i = first, last, 3 do
    local place = ARGV[i] .. feed_row(pre, id, machine, ARGV[i])
    local row = place .. ARGV[i + 2]
    rows[#rows + 1] = row
    members[#members + 1], members[#members + 2] = 0, row
    if ARGV[i + 1] ~= '' then
      places[#places + 1], places[#places + 2] = ARGV[i + 1], place
    end
  end
  in_parts('ZADD', history, members)
  in_parts('HSET', known, places)
  return table.concat(rows, '\n')
end
