-- Archived entities have indexes of their own, so that nothing that is asked about the others meets
-- them:
--
--   entities   states            state:<machine>:<state>      due:<machine>
--   archived   archived-states   archived:<machine>:<state>   (none: their timers do not fire)
--
-- and the version in their hash is followed by when they were archived: 5@1764289465000000. So a
-- commit that does not know finds another version than it expects, and all others pay nothing.

-- What puts an entity into the indexes it belongs to, out of those it was in; or the error for a key
-- of another type, while nothing is written. States: before (nil: it is new), and after. The deadline
-- is '' or '-' when there is none.
local function settling(pre, id, machine, index, was_archived, before, is_archived, after)
  local member, due = id .. '\0' .. machine, pre .. 'due:' .. index
  local function homes(archived, state)
    return pre .. (archived and 'archived' or 'entities'),
      pre .. (archived and 'archived-states' or 'states'),
      pre .. (archived and 'archived:' or 'state:') .. index .. ':' .. state
  end
  local all, names, those = homes(is_archived, after)
  local keys = {all, 'zset', names, 'set', those, 'zset', due, 'zset'}
  local old_all, old_names, old_those
  if before then
    old_all, old_names, old_those = homes(was_archived, before)
    for i, key in ipairs({old_all, 'zset', old_names, 'set', old_those, 'zset'}) do
      keys[8 + i] = key
    end
  end
  local wrong = foreign(keys)
  if wrong then
    return wrong
  end
  return nil, function(deadline)
    call('ZADD', all, 0, member)
    call('ZADD', those, 0, id)
    call('SADD', names, machine .. '\0' .. after)
    if before and old_all ~= all then
      call('ZREM', old_all, member)
    end
    if before and old_those ~= those and call('ZREM', old_those, id) == 1
      and call('EXISTS', old_those) == 0 then
      call('SREM', old_names, machine .. '\0' .. before)
    end
    if is_archived or not deadline or deadline == '' or deadline == '-' then
      call('ZREM', due, id)
    else
      call('ZADD', due, deadline, id)
    end
  end
end

