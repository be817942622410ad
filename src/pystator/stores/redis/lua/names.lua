-- Names of keys, as `layout.py` has them, and rows of history by their places.

local codes = {['%'] = '%25', ['{'] = '%7B', ['}'] = '%7D', [':'] = '%3A'}

local function escaped(name)
  return (string.gsub(name, '[%%{}]', codes))
end

-- A machine in the name of an index.
local function index_of(machine)
  return (string.gsub(machine, '[%%{}:]', codes))
end

local function history_of(opening, id, machine)
  return opening .. escaped(id) .. '}:history:' .. escaped(machine)
end

local function other_of(opening, id, machine)
  return opening .. escaped(id) .. '}:machine:' .. escaped(machine)
end

-- The id of the row that an entry of the feed tells of.
local function row_id(feed, entry)
  return row_number(string.sub(feed, 1, -5), string.match(entry, '^(%d+)-(%d+)$'))
end

-- The row at a place, 28 digits; nil when it is gone.
local function row_at(history, digits)
  return call('ZRANGEBYLEX', history, '[' .. digits, '(' .. digits .. '\255', 'LIMIT', 0, 1)[1]
end

