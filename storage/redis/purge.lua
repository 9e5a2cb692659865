-- Deletes tombstones that have expired, a bounded number.
-- KEYS[1] the tombstones; ARGV 1 the score below which one has expired, 2 how many.
-- Answers how many went.
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return #gone
