-- Alert the phones again: a new attempt, at most 3 and 10 s apart; the number of it alerts once on each phone.
-- KEYS challenge, devices, presence; ARGV record (fence), capability that a phone needs
-- -> {'ok', now, attempt, {device id, presence, ...}, {inbox, ...}} | {'gone'} | {'final'} | {'too-many'} | {'early', until}
local RESENDS_MAX, APART_MS = 3, 10000
local challenge, devices, presence = KEYS[1], KEYS[2], KEYS[3]

local c = redis.call('HMGET', challenge, 'record', 'state', 'attempt', 'sent', 'expires')
local now = now_ms()
if c[1] ~= ARGV[1] then
  return {'gone'}
elseif c[2] ~= 'pending' or now >= tonumber(c[5]) then
  return {'final'}
elseif tonumber(c[3]) > RESENDS_MAX then
  return {'too-many'}
elseif now < tonumber(c[4]) + APART_MS then
  return {'early', string.format('%d', tonumber(c[4]) + APART_MS)}
end
local attempt = redis.call('HINCRBY', challenge, 'attempt', 1)
redis.call('HSET', challenge, 'sent', now)
redis.call('HINCRBY', challenge, 'revision', 1)
return {'ok', tostring(now), attempt, device_routes(devices, presence, tonumber(ARGV[2])), waiters(challenge)}
