-- Use the token, whose hash C has compared in the record that comes back here as a fence.
-- KEYS enrolment, devices, user, presence
-- ARGV record, device id, device value, enrolled (sealed), keys (both thumbprints), may_add (1, 0), most devices
-- -> {'ok', replay (1, 0), {inbox, ...}} | {'void', moved (1, 0), {inbox, ...}, device id or '', presence or ''}
--    | {'gone'} | {'expired'} | {'has-device'} | {'too-many'}
local enrolment, devices, user, presence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local record, id, device, enrolled, keys = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local e = redis.call('HMGET', enrolment, 'record', 'state', 'expires', 'keys', 'device')
if e[1] ~= record then
  return {'gone'}
end
local over = now_ms() >= tonumber(e[3])
if e[2] == 'done' then
  if e[4] == keys then
    return {'ok', 1, waiters(enrolment)}
  end
  if over then
    return {'expired'}
  end
  -- Two phones scanned one code. Which is the owner's cannot be known, so neither stays.
  local holder = redis.call('HGET', presence, e[5]) or ''
  redis.call('HDEL', devices, e[5])
  redis.call('HDEL', presence, e[5])
  redis.call('HSET', enrolment, 'state', 'void')
  redis.call('HDEL', enrolment, 'enrolled')
  redis.call('HINCRBY', enrolment, 'revision', 1)
  return {'void', 1, waiters(enrolment), e[5], holder}
end
if e[2] == 'void' then
  return {'void', 0, {}, '', ''}
end
if e[2] ~= 'waiting' or over then
  return {'expired'}
end
local active = 0
for _, other in ipairs(redis.call('HVALS', devices)) do
  if is_active(other) then
    active = active + 1
  end
end
if active > 0 and ARGV[6] ~= '1' or redis.call('HEXISTS', devices, id) == 1 then
  return {'has-device'}
end
if active >= tonumber(ARGV[7]) then
  return {'too-many'}
end
redis.call('HSET', devices, id, device)
redis.call('PERSIST', user)
redis.call('HSET', enrolment, 'state', 'done', 'enrolled', enrolled, 'keys', keys, 'device', id)
redis.call('HINCRBY', enrolment, 'revision', 1)
return {'ok', 0, waiters(enrolment)}
