-- One Batch: nothing is written unless all that it reckons with is so.
--
-- KEYS[1]  the hash of the transaction
-- ARGV[1]  packed: a list of
--          1 key of this node's lease, 2 its token
--          3 the mark that the transaction must have; '' for one that begins,
--            '-' for one without a mark
--          4 the mark that it gets
--          5 its status, 6 the number of its branches, 7 the list of its branches
--          8 key of the tombstones, 9 the XID, 10 the score of its tombstone or ''
--          11 what the key of a transaction's hash begins with
--          12 how many rows must be free or its own, then their keys
--          then each command, with the number of its words before it
-- Answers  0 done, 1 moved on, 2 the lease is gone,
--          {n, transaction's id, branch, XID, status} the n-th row has a holder
local ARGV = cmsgpack.unpack(ARGV[1])
if redis.call('GET', ARGV[1]) ~= ARGV[2] then return 2 end
local now = redis.call('HMGET', KEYS[1], 'qiao_mark', 'status')
local mark, status = now[1], now[2]
local id = string.sub(KEYS[1], #ARGV[11] + 1)
if ARGV[3] == '' then
  if status then
    if mark == ARGV[4] then return 0 end
    return 1
  end
  if redis.call('ZSCORE', ARGV[8], id) then return 1 end
elseif (mark or '-') ~= ARGV[3] or status ~= ARGV[5] or redis.call('LLEN', ARGV[7]) ~= tonumber(ARGV[6]) then
  if mark == ARGV[4] then return 0 end
  if not status and ARGV[10] ~= '' and redis.call('ZSCORE', ARGV[8], id) == ARGV[10] then return 0 end
  return 1
end
local rows = tonumber(ARGV[12])
for i = 13, 12 + rows do
  local holder = redis.call('HGET', ARGV[i], 'xid')
  if holder and holder ~= ARGV[9] then
    local lock = redis.call('HMGET', ARGV[i], 'transactionId', 'branchId')
    return {i - 12, lock[1] or '', lock[2] or '0', holder, redis.call('HGET', ARGV[11] .. (lock[1] or ''), 'status') or '0'}
  end
end
local at, last = 13 + rows, #ARGV
while at < last do
  local stop = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, stop))
  at = stop + 1
end
return 0
