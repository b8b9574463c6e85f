-- Only read at the end of the run: requests and answers are untouched, so wrk is as fast as without a script.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "microseconds": %d, "status": %d, "socket": %d}\n',
    summary.requests, summary.bytes, summary.duration, e.status, e.connect + e.read + e.write + e.timeout
  ))
end
