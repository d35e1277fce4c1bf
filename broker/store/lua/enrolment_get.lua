-- Read an enrolment, register who waits for it, and let it expire when its time is over.
-- KEYS enrolment; ARGV inbox that waits, or ''
-- -> {'ok', now, record, state, revision, created, expires, enrolled or '', moved (1, 0), {inbox, ...},
--     scanned (1, 0)} | {'gone'}
local enrolment = KEYS[1]

local e = redis.call('HMGET', enrolment, 'record', 'state', 'revision', 'created', 'expires', 'enrolled', 'scanned')
if not e[1] then
  return {'gone'}
end
if ARGV[1] ~= '' then
  redis.call('HSET', enrolment, 'w:' .. ARGV[1], 1)
end
local now, moved = now_ms(), 0
local open = e[2] == 'waiting' or e[2] == 'to-confirm' or e[2] == 'to-approve'
if open and now >= tonumber(e[5]) then
  e[2], moved = 'expired', 1
  e[3] = redis.call('HINCRBY', enrolment, 'revision', 1)
  redis.call('HSET', enrolment, 'state', 'expired')
end
return {'ok', tostring(now), e[1], e[2], tostring(e[3]), e[4], e[5], e[6] or '', moved, waiters(enrolment), e[7] and 1 or 0}
