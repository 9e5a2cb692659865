-- One transaction as it is at this moment.
-- KEYS[1] its hash; ARGV 1 what all keys begin with, 2 key of the tombstones, 3 its id,
-- or '' when its tombstone does not matter.
-- Answers {the hash, its branches' hashes, its locks}, {score of its tombstone}, or {}.
local global = redis.call('HGETALL', KEYS[1])
if #global == 0 then
  return {redis.call('ZSCORE', ARGV[2], ARGV[3])}
end
local xid = redis.call('HGET', KEYS[1], 'xid') or ''
local branches = {}
for i, key in ipairs(redis.call('LRANGE', ARGV[1] .. 'SEATA_BRANCHES_' .. xid, 0, -1)) do
  branches[i] = redis.call('HGETALL', key)
  if #branches[i] == 0 then branches[i] = {'qiao_ghost', key} end
end
return {global, branches, redis.call('HGETALL', ARGV[1] .. 'SEATA_GLOBAL_LOCK' .. xid)}
