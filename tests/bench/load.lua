-- What wrk asks: `wrk -s load.lua URL -- KIND SECRET ORGS SINCE SALT`. Orgs are called in turn; ids
-- and dates never repeat, for a message that is sent twice is stored once.
local kind, secret, orgs, since, salt, n = "webhook", "", 1, 0, "0", 0
local json = {["Content-Type"] = "application/json"}

function init(args)
  kind, secret, orgs, since, salt = args[1], args[2], tonumber(args[3]), args[4], args[5]
  json["X-Secret-Key"] = kind ~= "webhook" and secret or nil
end

local ask = {}

function ask.webhook(org)
  return wrk.format("POST", "/webhook", json, string.format(
    '{"org_id":"%s","secret_key":"%s","messages":[{"address":"+15551234567",' ..
    '"body":"a text as long as most of those that people write","date":%d,' ..
    '"sim_slot":0,"id":"%s-%d"}]}', org, secret, 1700000000000 + n, salt, n))
end

function ask.send(org)
  return wrk.format("POST", "/send/" .. org, json, string.format(
    '{"to":"+1555%07d","body":"a text as long as most of those that people write"}',
    n % 10000000))
end

function ask.poll(org)
  return wrk.format("GET", "/messages/" .. org .. "?limit=100&since_id=" .. since,
    {["X-Secret-Key"] = secret})
end

function request()
  n = n + 1
  return ask[kind]("bench" .. (n % orgs))
end

function done(summary, latency)
  io.write(string.format(
    '\n{"requests":%d,"seconds":%f,"refused":%d,"lost":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
