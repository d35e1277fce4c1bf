-- KEYS inbox; ARGV life ms, id up to which its worker has read -> 1; 0: it is gone, make another
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
