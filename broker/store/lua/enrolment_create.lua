-- KEYS user, enrolment, enrolments (what may be open, for user_delete); ARGV record, life ms, kept ms after that, organisation, user name, enrolment id -> {'ok', expiry}
local user, enrolment, enrolments = KEYS[1], KEYS[2], KEYS[3]
local record, life, keep = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local now = now_ms()
-- A user begins with the first enrolment, and stays only if one is completed. Which life of a user an enrolment is for is
-- told by when it was born: one of a life before makes no device.
if redis.call('EXISTS', user) == 0 then
  redis.call('HSET', user, 'organisation', ARGV[4], 'name', ARGV[5], 'born', now .. '-' .. ARGV[6])
  redis.call('EXPIRE', user, 86400)
elseif redis.call('TTL', user) >= 0 then
  redis.call('EXPIRE', user, 86400)
end
if redis.call('HSETNX', enrolment, 'record', record) == 1 then
  redis.call('HSET', enrolment, 'state', 'waiting', 'revision', 1, 'created', now, 'expires', now + life)
  redis.call('PEXPIRE', enrolment, life + keep)
  redis.call('HSET', enrolment, 'born', redis.call('HGET', user, 'born') or '')
  local all = redis.call('HGETALL', enrolments)
  for i = 1, #all, 2 do
    if tonumber(all[i + 1]) <= now then
      redis.call('HDEL', enrolments, all[i])
    end
  end
  redis.call('HSET', enrolments, ARGV[6], string.format('%d', now + life))
  redis.call('PEXPIRE', enrolments, life + keep)
end
return {'ok', redis.call('HGET', enrolment, 'expires')}
