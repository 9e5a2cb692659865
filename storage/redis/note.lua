-- Writes or removes a note.
-- KEYS[1] our hash of notes; ARGV 1 key of this node's lease, 2 its token, 3 the field,
-- 4 the value or '' to remove it. For a transaction group the field lacks the cluster at
-- its end, and 5 is Seata's hash of the namespace, 6 the group, 7 the cluster; else 5 is ''.
-- Answers 0 done, 2 the lease is gone.
-- Seata's hash has room for one cluster of a group, the latest: others go to ours.
if redis.call('GET', ARGV[1]) ~= ARGV[2] then return 2 end
local field, value, namespace, group, cluster = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if namespace == '' then
  if value == '' then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, value)
  end
  return 0
end
local now = redis.call('HGET', namespace, group)
if value ~= '' then
  if now and now ~= cluster then redis.call('HSET', KEYS[1], field .. now, value) end
  redis.call('HSET', namespace, group, cluster)
elseif now == cluster then
  redis.call('HDEL', namespace, group)
end
redis.call('HDEL', KEYS[1], field .. cluster)
return 0
