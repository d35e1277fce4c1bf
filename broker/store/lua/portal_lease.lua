-- A token bucket, from which workers take permits in advance.
-- KEYS permits; ARGV permits a second, most that gather, wanted -> {granted, ms until there is one again, 0 where some were}
-- A repeat takes again: what a lost reply granted is lost until the bucket is full again.
local rate, most, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1] or most)
local passed = math.max(0, now - tonumber(kept[2] or now))
tokens = math.min(most, tokens + passed * rate / 1000)
local granted = math.min(wanted, math.floor(tokens))
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - granted), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(most * 1000 / rate) + 1000)
return {granted, granted > 0 and 0 or math.max(1, math.ceil((1 - tokens) * 1000 / rate))}
