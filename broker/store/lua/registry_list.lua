-- KEYS index; ARGV id to begin behind ('' for the first), how many -> ids, in the order of their bytes
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[2])
