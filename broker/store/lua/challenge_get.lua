-- KEYS challenge; ARGV inbox that waits from now on, or ''
-- -> {'ok', now, record, state, revision, created, expires, settled or '', settlement or '',
--     {device id, progress, ...}, attempt} | {'gone'}
local challenge = KEYS[1]

if redis.call('EXISTS', challenge) == 0 then
  return {'gone'}
end
if ARGV[1] ~= '' then
  redis.call('HSET', challenge, 'w:' .. ARGV[1], 1)
end
local c, progress = {}, {}
local all = redis.call('HGETALL', challenge)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'p:' then
    progress[#progress + 1] = string.sub(all[i], 3)
    progress[#progress + 1] = all[i + 1]
  else
    c[all[i]] = all[i + 1]
  end
end
return {'ok', tostring(now_ms()), c.record or '', c.state or '', c.revision or '0', c.created or '0',
  c.expires or '0', c.settled or '', c.settlement or '', progress, c.attempt or '1'}
