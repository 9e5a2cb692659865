-- Takes, keeps or gives back a worker id, by Redis's own clock.
-- KEYS[1] key of the lease; ARGV 1 take, keep or leave, 2 key of the holders, 3 worker,
-- 4 token, 5 address, 6 milliseconds, 7 key of the ids, 8 the latest sequence used.
-- Answers 0 when another has it, 1 when it is this node's, 2 when it was gone and is
-- this node's again. A lease that ended may be taken up as long as nobody has had the
-- worker id since; who gives it back leaves "left" as its holder, and a holder that is
-- missing was lost by Redis.
local holder = redis.call('GET', KEYS[1])
local last = redis.call('HGET', ARGV[2], ARGV[3])
local mine = not last or string.sub(last, 1, #ARGV[4] + 1) == ARGV[4] .. ' '
if ARGV[1] == 'leave' then
  if holder == ARGV[4] then redis.call('DEL', KEYS[1]) end
  if mine then redis.call('HSET', ARGV[2], ARGV[3], 'left') end
  return 1
end
if holder and holder ~= ARGV[4] then return 0 end
if ARGV[1] == 'keep' and not mine then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[6])
redis.call('HSET', ARGV[2], ARGV[3], ARGV[4] .. ' ' .. ARGV[5])
if ARGV[8] ~= '' then redis.call('ZADD', ARGV[7], 'GT', ARGV[8], ARGV[3]) end
if ARGV[1] == 'keep' and not holder then return 2 end
return 1
