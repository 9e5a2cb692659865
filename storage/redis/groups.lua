-- The transaction groups that a part of all keys has. KEYS[1] any key of the store, so
-- that the shard of that answers; ARGV 1 the cursor, 2 the pattern of the namespaces'
-- keys, 3 how many keys to look at.
-- Answers {next cursor, key, {group, cluster, ...}, key, ...}.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3], 'TYPE', 'hash')
local found = {page[1]}
for _, key in ipairs(page[2]) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('HGETALL', key)
end
return found
