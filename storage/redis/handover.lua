-- Lists a page of live transactions where a Java coordinator looks for them.
-- KEYS[1] the live ones; ARGV 1 key of this node's lease, 2 its token, 3 what all keys
-- begin with, 4 the member after which the page begins, 5 how many.
-- Answers the last member of the page, '' when there are no more, false without the lease.
if redis.call('GET', ARGV[1]) ~= ARGV[2] then return false end
local page = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. ARGV[4], '+', 'LIMIT', 0, ARGV[5])
for _, member in ipairs(page) do
  local key = ARGV[3] .. 'SEATA_GLOBAL_' .. string.match(member, '^0*(%d+)$')
  local global = redis.call('HMGET', key, 'xid', 'status', 'beginTime', 'timeout')
  if global[2] then
    redis.call('RPUSH', ARGV[3] .. 'SEATA_STATUS_' .. global[2], global[1])
    if global[2] == '1' then
      redis.call('ZADD', ARGV[3] .. 'SEATA_BEGIN_TRANSACTIONS', (global[3] or 0) + (global[4] or 0), key)
    end
  end
end
return page[#page] or ''
