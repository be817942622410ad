-- Which command on which key the user may not use, '' if there is none.
--
-- KEYS an entity, one of a machine that was not the first, history, event ids (in a cluster also one
--      that is never there)
-- ARGV 1 what shared keys begin with
--
-- A right that is missing in the middle of a script would leave a half of it done.

local pre = ARGV[1]
local missing = ''

local function need(key, ...)
  for _, command in ipairs({...}) do
    if missing == '' and not redis.acl_check_cmd(command[1], key, unpack(command, 2)) then
      missing = command[1] .. ' on ' .. key
    end
  end
end

if not redis.acl_check_cmd then -- a server before 7 cannot say
  return missing
end
for i = 1, 2 do
  need(KEYS[i], {'HMGET', 'f'}, {'HSET', 'f', 'v'})
end
need(KEYS[3], {'ZCARD'}, {'ZADD', '0', 'm'}, {'ZREM', 'm'}, {'ZRANGEBYLEX', '-', '+'}, {'TYPE'})
need(KEYS[4], {'HMGET', 'f'}, {'HSET', 'f', 'v'}, {'HDEL', 'f'})
for _, name in ipairs({'entities', 'archived', 'histories', 'due', 'state:m:s', 'archived:m:s'}) do
  need(pre .. name, {'TYPE'}, {'ZCARD'}, {'ZADD', '0', 'm'}, {'ZREM', 'm'})
end
for _, name in ipairs({'feed', 'replication'}) do
  need(pre .. name, {'TYPE'}, {'XADD', '*', 'f', 'v'}, {'XDEL', '1-1'}, {'XRANGE', '-', '+'})
end
for _, name in ipairs({'states', 'archived-states'}) do
  need(pre .. name, {'TYPE'}, {'SADD', 'm'}, {'SREM', 'm'}, {'SMEMBERS'})
end
need(pre .. 'machines', {'TYPE'}, {'HGET', 'f'}, {'HSET', 'f', 'v'})
need(pre .. 'epoch', {'GET'})
return missing
