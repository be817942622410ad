-- One commit: all of it, or nothing. It stands in ARGV from a place on:
--
--   id, version that is expected ('' only appends), state ('' stays), deadline ('' stays, '-' none,
--   '@' and when it is archived, '@' alone takes it back), number of event ids, number of what follows
--   about the entity: version, machine's version, fingerprint, updated_at, commit_id, and names and
--   values of further fields; number of what follows about rows: for each version, event id and text
--
-- What commits share is in ARGV 1 what shared keys begin with, 2 epoch, 3 machine, 4 the machine in
-- names of keys, 5 in names of indexes.
--
-- Reads come first and meet the keys of another type; of a feed that is none, it is the first write.

local pre, meant, machine = ARGV[1], ARGV[2], ARGV[3]
local states = pre .. 'state:' .. ARGV[5] .. ':'
local epoch, is_asked
local sizes = {} -- of indexes of states

local function size(name)
  local found = sizes[name]
  if not found then
    found = call('ZCARD', name)
    sizes[name] = found
  end
  return found
end

-- What the other keys of an entity begin with, as layout.py has it.
local function stem_of(key)
  if string.sub(pre, 1, 1) == '{' then
    return pre .. '{' .. string.sub(key, #pre + 1) .. '}:'
  end
  return '{' .. key .. '}:'
end

-- Index of those in a state.
local function move(id, before, after)
  local name = states .. after
  sizes[name] = size(name) + call('ZADD', name, 0, id)
  if sizes[name] == 1 then
    call('SADD', pre .. 'states', machine .. '\0' .. after)
  end
  if before then
    name = states .. before
    sizes[name] = size(name) - call('ZREM', name, id)
    if sizes[name] == 0 then
      call('SREM', pre .. 'states', machine .. '\0' .. before)
    end
  end
end

-- Indexes that few commits touch.
local function enter(id, appears, is_new, due)
  local member = id .. '\0' .. machine
  if appears then
    call('ZADD', pre .. 'histories', 0, member)
  end
  if is_new then
    call('ZADD', pre .. 'entities', 0, member)
  end
  if due == '-' then
    call('ZREM', pre .. 'due:' .. ARGV[5], id)
  elseif due ~= '' then
    call('ZADD', pre .. 'due:' .. ARGV[5], due, id)
  end
end

-- Write the commit that stands there, of the entity with this key.
-- Answers 1 written, 0 stale, 2 one of the event ids is known.
local function write(key, at)
  local id, expected, after, due = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local first = at + 7 + ARGV[at + 5]
  local last = first + ARGV[at + 6] - 1
  local stem = stem_of(key)
  local was = call('HMGET', key, 'version', 'machine_name', 'state')
  if was[2] and was[2] ~= machine then
    key = stem .. 'machine:' .. ARGV[4]
    was = call('HMGET', key, 'version', 'machine_name', 'state')
  end
  local version, before = was[1], was[3]
  if not version and (before or was[2]) then
    return {err = 'FOREIGN ' .. key .. ' has no version'}
  end
  local changes = expected ~= ''
  local archived -- when it was
  if changes and (version or '0') ~= expected then
    local number, since = string.match(version or '', '^(%d+)@(.+)$')
    if number ~= expected then
      return 0
    end
    archived = since
  end
  local known = ARGV[at + 4] ~= '0' and stem .. 'ids:' .. ARGV[4]
  if known and any_known(known, first, last) then
    return 2
  end

  if not is_asked then
    epoch, is_asked = call('GET', pre .. 'epoch'), true
  end
  if meant ~= '' and meant ~= epoch then
    return {err = 'EPOCH ' .. (epoch or 'none')}
  end
  local history = stem .. 'history:' .. ARGV[4]
  local appears = call('ZCARD', history) == 0
  local is_new = changes and not version
  local is_rare = appears or is_new or due ~= '' or epoch
  if after == before then
    after = ''
  elseif after ~= '' then
    is_rare = size(states .. after) == 0 or is_rare
    is_rare = before and size(states .. before) == 1 or is_rare
  end
  local wrong = is_rare and foreign({
    pre .. 'histories', 'zset', pre .. 'entities', 'zset', pre .. 'due:' .. ARGV[5], 'zset',
    pre .. 'states', 'set', pre .. 'replication', 'stream',
  })
  local settle -- for one that is archived, or will be
  local number = ARGV[at + 7]
  if not wrong and (archived or due ~= '' and string.byte(due) == 64) then
    local was = archived
    if string.byte(due) == 64 then
      archived = due ~= '@' and string.sub(due, 2)
    end
    wrong, settle = settling(pre, id, machine, ARGV[5], was, before, archived,
      after == '' and before or after)
    number = archived and number .. '@' .. archived or number
    is_new, due = false, ''
  end
  if wrong then
    return wrong
  end

  -- Nothing fails from here on, and what a server may refuse it refuses at the first row.
  local row
  if first + 2 == last then
    local place = ARGV[first] .. feed_row(pre, id, machine, ARGV[first])
    row = place .. ARGV[last]
    call('ZADD', history, 0, row)
    if known then
      call('HSET', known, ARGV[first + 1], place)
    end
  else
    row = add_rows(pre, id, machine, history, known, first, last)
  end
  if changes then
    call('HSET', key, 'version', number, 'machine_version', ARGV[at + 8],
      'fingerprint', ARGV[at + 9], 'updated_at', ARGV[at + 10], 'commit_id', ARGV[at + 11],
      unpack(ARGV, at + 12, first - 1))
    if settle then
      settle(call('HGET', key, 'next_due'))
      sizes = {}
    elseif after ~= '' then
      move(id, before, after)
    end
  end
  if appears or is_new or due ~= '' then
    enter(id, appears, is_new, due)
  end
  if epoch then
    local entity = changes and told_of(key) or {}
    call('XADD', pre .. 'replication', '*', 'id', id, 'machine', machine,
      'base', version or '0', 'rows', row, unpack(entity))
  end
  return 1
end
