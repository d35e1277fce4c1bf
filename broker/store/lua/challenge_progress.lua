-- KEYS challenge; ARGV how far phones say that they are, as challenge_settle takes it -> {moved (1, 0), {inbox, ...}}
-- What was reached before the challenge was settled, and comes late because another worker settled it, is written all the
-- same; nobody waits for that any more.
local challenge = KEYS[1]

local c = read_hash(challenge)
if not c.state then
  return {0, {}}
end
local now, pending, written = now_ms(), c.state == 'pending', {}
for phone, said in string.gmatch(ARGV[1], SAID) do
  local reached, at = progress_with(c['p:' .. phone], said, now)
  if reached and (pending or at < tonumber(c.settled)) then
    written[#written + 1] = 'p:' .. phone
    written[#written + 1] = reached
  end
end
if #written == 0 then
  return {0, {}}
end
if pending then
  written[#written + 1] = 'revision'
  written[#written + 1] = tonumber(c.revision) + 1
end
redis.call('HSET', challenge, unpack(written))
return {1, pending and waiters_of(c) or {}}
