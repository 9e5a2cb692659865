-- The transactions of a page of Seata's lists that this program has not left as they
-- are. KEYS[1] the list; ARGV 1 first and 2 last place, 3 what all keys begin with.
-- Answers {length of the page, XID, XID, ...}.
local page = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
local found = {#page}
for _, xid in ipairs(page) do
  local key = ARGV[3] .. 'SEATA_GLOBAL_' .. (string.match(xid, '[^:]*$'))
  local global = redis.call('HMGET', key, 'qiao_mark', 'status')
  if global[2] then
    local status, branches = string.match(global[1] or '', ' (%d+) (%d+)$')
    if status ~= global[2] or tonumber(branches) ~= redis.call('LLEN', ARGV[3] .. 'SEATA_BRANCHES_' .. xid) then
      found[#found + 1] = xid
    end
  end
end
return found
