-- Takes one guess at a code, in one step: finds the code, looks whether failures are left, compares, counts.
-- KEYS[1]: prefix of the account. ARGV: name of the challenge ('' for none), digest of the guess, the client's network,
-- failures an hour of known browsers, without challenge, of strangers, of one network's strangers; milliseconds that a
-- browser is known for. Answers the outcome, and the milliseconds to wait where failures are used up, or that a right
-- code had left.
local account, shown, digest, network = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local hour = 3600000
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local names = account .. ':keys' -- what forgets the account finds its keys by them

local challenge, counters, guesses = shown, nil, 'guesses_left'
if shown == '' then
  challenge, guesses = redis.call('GET', account .. ':latest') or '', 'bare_guesses_left'
  counters = {{account .. ':failures:bare', ARGV[5]}}
elseif redis.call('EXISTS', account .. ':' .. shown) == 0 then
  return {'missing', 0} -- made up or over: it can never be right, and uses nothing up
elseif (redis.call('HGET', account .. ':' .. shown, 'browser') or '') ~= '' then
  counters = {{account .. ':failures:known', ARGV[4]}}
else
  counters = {{account .. ':failures:strangers', ARGV[6]}, {account .. ':failures:strangers:' .. network, ARGV[7]}}
end
for _, counter in ipairs(counters) do
  redis.call('ZREMRANGEBYSCORE', counter[1], '-inf', now - hour)
  if redis.call('ZCARD', counter[1]) >= tonumber(counter[2]) then
    local oldest = redis.call('ZRANGE', counter[1], 0, 0, 'WITHSCORES')[2]
    return {'limited', oldest and math.ceil(oldest + hour - now) or hour}
  end
end

local code = account .. ':' .. challenge
local kept = redis.call('HGET', code, 'digest')
local outcome = 'missing'
if kept and tonumber(redis.call('HGET', code, guesses)) > 0 then
  if kept == digest then
    local left = redis.call('PTTL', code)
    redis.call('DEL', code)
    redis.call('SET', code .. ':used', 1, 'PX', 60000)
    note(names, code .. ':used', now, 60000)
    if shown ~= '' then
      redis.call('SET', account .. ':browser:' .. shown, 1, 'PX', ARGV[8])
      note(names, account .. ':browser:' .. shown, now, ARGV[8])
    end
    return {'accepted', left}
  end
  outcome = redis.call('HINCRBY', code, guesses, -1) > 0 and 'wrong' or 'exhausted'
end
-- whoever sends a right code twice did not guess
if not kept and redis.call('EXISTS', code .. ':used') == 1 then return {outcome, 0} end
for _, counter in ipairs(counters) do
  redis.call('ZADD', counter[1], now, clock[1] .. '.' .. clock[2] .. '.' .. redis.call('ZCARD', counter[1]))
  redis.call('PEXPIRE', counter[1], hour)
  note(names, counter[1], now, hour)
end
return {outcome, 0}
