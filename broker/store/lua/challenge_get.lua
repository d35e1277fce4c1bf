-- KEYS challenge; ARGV inbox that waits from now on, or ''
-- -> {'ok', now, record, state, revision, created, expires, settled or '', settlement or '',
--     {device id, progress, ...}, attempt} | {'gone'}
local challenge = KEYS[1]

local c = read_hash(challenge)
if not next(c) then
  return {'gone'}
end
local waiter = 'w:' .. ARGV[1]
if ARGV[1] ~= '' and not c[waiter] then
  redis.call('HSET', challenge, waiter, 1)
end
return {'ok', tostring(now_ms()), c.record or '', c.state or '', c.revision or '0', c.created or '0',
  c.expires or '0', c.settled or '', c.settlement or '', progress_of(c), c.attempt or '1'}
