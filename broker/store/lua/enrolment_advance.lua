-- The next step of an enrolment whose phone has scanned: its code was confirmed, or an old phone has approved it.
-- KEYS enrolment, devices, user, presence
-- ARGV record, state that it must be in, good (1; 0: wrong code, or refused: void), may add without asking (1, 0),
--      most devices, device id, device value. One that is a device by now (the same keys used another token) stays as it is, and this is void.
-- -> {'ok', state, {inbox, ...}, {device id, presence, ...} of old phones to be told, 1} | {'gone'} | {'other', state}
local enrolment, devices, user, presence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local e = redis.call('HMGET', enrolment, 'record', 'state', 'expires', 'capabilities')
if e[1] ~= ARGV[1] then
  return {'gone'}
end
if e[2] ~= ARGV[2] or now_ms() >= tonumber(e[3]) then
  return {'other', e[2]}
end
local told, state = {}, 'done'
local active = count_active(devices)
if ARGV[3] ~= '1' or not is_of_this_life(enrolment, user) or active >= tonumber(ARGV[5]) or redis.call('HEXISTS', devices, ARGV[6]) == 1 then
  state = 'void'
elseif e[2] == 'to-confirm' and active > 0 and ARGV[4] ~= '1' then
  state = 'to-approve'
end
if state == 'done' then
  told = device_routes(devices, presence)
  redis.call('HSET', devices, ARGV[6], ARGV[7])
  redis.call('HSET', presence, ARGV[6], '##' .. (e[4] or '0'))
  redis.call('PERSIST', user)
end
redis.call('HSET', enrolment, 'state', state)
if state == 'void' then
  redis.call('HDEL', enrolment, 'enrolled')
end
redis.call('HINCRBY', enrolment, 'revision', 1)
return {'ok', state, waiters(enrolment), told, 1}
