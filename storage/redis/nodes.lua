-- The nodes whose lease lasts. KEYS[1] key of the holders; ARGV 1 what the key of a
-- lease begins with. Answers {how many did not leave and have none, worker, address, ...}.
local holders = redis.call('HGETALL', KEYS[1])
local live = {0}
for i = 1, #holders, 2 do
  local token, address = string.match(holders[i + 1], '^(%S+) (.*)$')
  if token and redis.call('GET', ARGV[1] .. holders[i]) == token then
    live[#live + 1] = holders[i]
    live[#live + 1] = address
  elseif token then
    live[1] = live[1] + 1
  end
end
return live
