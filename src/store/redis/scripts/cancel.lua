-- Asks the writer to stop.
-- KEYS: state, inbox of the store that the writer has. ARGV: how long the inbox is kept, its length.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'inbox')
if not had[1] then return {'unknown'} end
if had[2] ~= KEYS[2] then return {'moved'} end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'cancel', KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 0
