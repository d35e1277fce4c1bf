-- Put a probe into the inbox of the worker that asks. KEYS inbox; ARGV hint -> 1; 0: it is gone
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 'hint', ARGV[1]) and 1 or 0
