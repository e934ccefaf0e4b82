-- Removes a stream. Who reads it hears of that, and nobody begins it anew.
-- KEYS: state, log, aliases, streams of the client, inbox of the store that the writer has.
-- ARGV: how long the inbox is kept, its length, id, retention, how long readers have to hear of it.
local had = redis.call('HMGET', KEYS[1], 'epoch', 'inbox', 'blocks')
if not had[1] then return {'unknown'} end
if had[2] ~= KEYS[5] then return {'moved'} end
redis.call('XTRIM', KEYS[2], 'MAXLEN', 0)
redis.call('XADD', KEYS[2], had[3] .. '-3', 'removed', 1)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HSET', KEYS[1], 'removed', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZREM', KEYS[4], ARGV[3])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[2], '*', 'removed', KEYS[1])
redis.call('PEXPIRE', KEYS[5], ARGV[1])
return 0
