-- KEYS user, enrolment; ARGV record, life ms, kept ms after that, organisation, user name -> {'ok', expiry}
local user, enrolment = KEYS[1], KEYS[2]
local record, life, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local now = now_ms()
if redis.call('HSETNX', enrolment, 'record', record) == 1 then
  redis.call('HSET', enrolment, 'state', 'waiting', 'revision', 1, 'created', now, 'expires', now + life)
  redis.call('PEXPIRE', enrolment, life + keep)
end
-- A user begins with the first enrolment, and stays only if one is completed.
if redis.call('EXISTS', user) == 0 then
  redis.call('HSET', user, 'organisation', ARGV[4], 'name', ARGV[5])
  redis.call('EXPIRE', user, 86400)
elseif redis.call('TTL', user) >= 0 then
  redis.call('EXPIRE', user, 86400)
end
return {'ok', redis.call('HGET', enrolment, 'expires')}
