-- Use the token, whose hash C has compared in the record that comes back here as a fence. The device is made at once, or,
-- where a code is to be confirmed or an old phone to approve, by enrolment_advance: until then no value of it is stored
-- that would pass for a device.
-- KEYS enrolment, devices, user, presence
-- ARGV record, device id, device value, enrolled (sealed), keys (both), may add without asking (1, 0), most devices,
--      a code is to be confirmed (1, 0), capabilities
-- -> {'ok', state, {inbox, ...}, {device id, presence, ...} of old phones to be told of a new one,
--     moved (1, 0)}
--    | {'void', {inbox, ...}, device id or '', presence or '', moved (1, 0)} | {'gone'} | {'expired'} | {'has-device'} | {'too-many'}
local enrolment, devices, user, presence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local record, id, device, enrolled, keys = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local e = redis.call('HMGET', enrolment, 'record', 'state', 'expires', 'keys', 'device', 'holder')
if e[1] ~= record then
  return {'gone'}
end
local over = now_ms() >= tonumber(e[3])
if e[2] == 'done' or e[2] == 'to-confirm' or e[2] == 'to-approve' then
  if e[4] == keys then
    return {'ok', e[2], waiters(enrolment), {}, 0}
  end
  if over then
    return {'expired'}
  end
  -- Two phones scanned one code. Which is the owner's cannot be known, so neither stays.
  local holder = redis.call('HGET', presence, e[5]) or ''
  if e[2] == 'done' then
    redis.call('HDEL', devices, e[5])
    redis.call('HDEL', presence, e[5])
  end
  redis.call('HSET', enrolment, 'state', 'void', 'holder', holder)
  redis.call('HDEL', enrolment, 'enrolled')
  redis.call('HINCRBY', enrolment, 'revision', 1)
  return {'void', waiters(enrolment), e[5], holder, 1}
end
if e[2] == 'void' then
  return {'void', waiters(enrolment), e[5] or '', e[6] or '', 0}
end
if e[2] ~= 'waiting' or over or not is_of_this_life(enrolment, user) then
  return {'expired'}
end
local active = count_active(devices)
if redis.call('HEXISTS', devices, id) == 1 then
  return {'has-device'}
end
if active >= tonumber(ARGV[7]) then
  return {'too-many'}
end
local told, state = {}, 'done'
if ARGV[8] == '1' then
  state = 'to-confirm'
elseif active > 0 and ARGV[6] ~= '1' then
  state = 'to-approve'
end
redis.call('HSET', enrolment, 'state', state, 'enrolled', enrolled, 'keys', keys, 'device', id, 'capabilities', ARGV[9])
if state == 'done' then
  told = device_routes(devices, presence)
  redis.call('HSET', devices, id, device)
  redis.call('HSET', presence, id, '##' .. ARGV[9])
  redis.call('PERSIST', user)
end
redis.call('HINCRBY', enrolment, 'revision', 1)
return {'ok', state, waiters(enrolment), told, 1}
