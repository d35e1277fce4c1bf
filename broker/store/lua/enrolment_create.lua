-- KEYS user, devices, enrolment; ARGV record, life ms, kept ms after that, may_add (1, 0), organisation, user name
-- -> {'ok', expiry} | {'has-device'}
local user, devices, enrolment = KEYS[1], KEYS[2], KEYS[3]
local record, life, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if ARGV[4] ~= '1' then
  for _, device in ipairs(redis.call('HVALS', devices)) do
    if is_active(device) then
      return {'has-device'}
    end
  end
end
local now = now_ms()
if redis.call('HSETNX', enrolment, 'record', record) == 1 then
  redis.call('HSET', enrolment, 'state', 'waiting', 'revision', 1, 'created', now, 'expires', now + life)
  redis.call('PEXPIRE', enrolment, life + keep)
end
-- A user begins with the first enrolment, and stays only if one is completed.
if redis.call('EXISTS', user) == 0 then
  redis.call('HSET', user, 'organisation', ARGV[5], 'name', ARGV[6])
  redis.call('EXPIRE', user, 86400)
elseif redis.call('TTL', user) >= 0 then
  redis.call('EXPIRE', user, 86400)
end
return {'ok', redis.call('HGET', enrolment, 'expires')}
