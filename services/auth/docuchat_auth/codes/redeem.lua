-- Takes one guess at the code of an account, in one step.
-- KEYS[1]: hash with "digest" and "guesses_left". ARGV[1]: digest of the guess.
local digest = redis.call('HGET', KEYS[1], 'digest')
if not digest then
  return 'missing'
end
if digest == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 'accepted'
end
if redis.call('HINCRBY', KEYS[1], 'guesses_left', -1) <= 0 then
  redis.call('DEL', KEYS[1])
  return 'exhausted'
end
return 'wrong'
