-- Make an inbox. Its name is new with each generation, so nothing can stand there; the first entry is empty.
-- KEYS inbox; ARGV life ms -> id of the first entry
local id = redis.call('XADD', KEYS[1], '*', 'hint', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return id
