-- Read an organisation's events, and note who watches.
-- KEYS events, state; ARGV after ('' for the oldest, '$' for none), most, inbox or ''
-- -> {newest '<ms>-<number>' or '', {id, record, ...}}
local events, state, after = KEYS[1], KEYS[2], ARGV[1]

if ARGV[3] ~= '' then
  redis.call('HSET', state, 'w:' .. ARGV[3], string.format('%d', now_ms()))
end
local newest, found = redis.call('HMGET', state, 'ms', 'number'), {}
if after ~= '$' then
  local from = after == '' and '-' or '(' .. after
  for _, entry in ipairs(redis.call('XRANGE', events, from, '+', 'COUNT', ARGV[2])) do
    found[#found + 1] = entry[1]
    found[#found + 1] = entry[2][2]
  end
end
return {newest[2] and newest[1] .. '-' .. newest[2] or '', found}
