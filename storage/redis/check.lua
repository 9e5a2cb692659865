-- The first row that another transaction holds.
-- KEYS[1] any key; ARGV 1 what the key of a transaction's hash begins with, 2 the XID,
-- then keys of rows. Answers {} or as apply.lua does.
for i = 3, #ARGV do
  local holder = redis.call('HGET', ARGV[i], 'xid')
  if holder and holder ~= ARGV[2] then
    local lock = redis.call('HMGET', ARGV[i], 'transactionId', 'branchId')
    return {i - 2, lock[1] or '', lock[2] or '0', holder, redis.call('HGET', ARGV[1] .. (lock[1] or ''), 'status') or '0'}
  end
end
return {}
