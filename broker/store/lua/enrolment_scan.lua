-- A phone has opened the enrolment's URI; C has compared its token. The state stays 'waiting', beside it stands when.
-- KEYS enrolment; ARGV record -> {'ok', {inbox, ...}} who is to be told, nobody where it was scanned before | {'gone'}
--    | {'expired'} it waits for no phone
local enrolment = KEYS[1]

local e = redis.call('HMGET', enrolment, 'record', 'state', 'expires')
if e[1] ~= ARGV[1] then
  return {'gone'}
end
local now = now_ms()
if e[2] ~= 'waiting' then
  return (e[2] == 'to-confirm' or e[2] == 'to-approve' or e[2] == 'done') and {'ok', {}} or {'expired'}
elseif now >= tonumber(e[3]) then
  return {'expired'}
end
if redis.call('HSETNX', enrolment, 'scanned', now) == 0 then
  return {'ok', {}}
end
redis.call('HINCRBY', enrolment, 'revision', 1)
return {'ok', waiters(enrolment)}
