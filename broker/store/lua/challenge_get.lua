-- KEYS challenge; ARGV inbox that waits from now on, or ''
-- -> {'ok', record, view of it} | {'gone'}
local challenge = KEYS[1]

local c = read_hash(challenge)
if not next(c) then
  return {'gone'}
end
local waiter = 'w:' .. ARGV[1]
if ARGV[1] ~= '' and not c[waiter] then
  redis.call('HSET', challenge, waiter, 1)
end
return {'ok', c.record or '', view_of(c, now_ms())}
