-- KEYS enrolment; ARGV record -> {'ok', {inbox, ...}} | {'gone'}; one that is final stays as it is.
local enrolment = KEYS[1]

local e = redis.call('HMGET', enrolment, 'record', 'state')
if e[1] ~= ARGV[1] then
  return {'gone'}
end
if e[2] ~= 'waiting' and e[2] ~= 'to-confirm' and e[2] ~= 'to-approve' then
  return {'ok', {}}
end
redis.call('HSET', enrolment, 'state', 'cancelled')
redis.call('HDEL', enrolment, 'enrolled')
redis.call('HINCRBY', enrolment, 'revision', 1)
return {'ok', waiters(enrolment)}
