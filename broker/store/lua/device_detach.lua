-- Clear presence, fenced: only the connection that stands there may go. What the device can do stays known.
-- KEYS presence; ARGV device id, presence -> 1, or 0 where another one has taken its place
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], '##' .. string.match(ARGV[2], '(%d*)$'))
return 1
