#!/usr/bin/env bash
# What the gateway spends on each thing that it does, for docs/capacity.md: the
# processor time and the memory of its own process, read from the kernel, while
# one kind of work is under way. Not how fast it can go: for that see dns/run.sh
# and proxy/run.sh.
#
#   bench/capacity.sh
#
# As it would run in service: every decision counted, refusals written to the
# decision log, a list of NAMES names. Needs gcc and curl. Settings, in the
# environment: SECS=4 each, NAMES=100000, IDLE=5000 tunnels.
set -euo pipefail
cd "$(dirname "$0")/.."
secs=${SECS:-4} names=${NAMES:-100000} idle=${IDLE:-5000}
dns=15354 proxy=13129 admin=13181 upstream=15301 backend=19100
work=$(mktemp -d) pids=()
ulimit -n "$(ulimit -Hn)"
trap 'for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; rm -rf "$work"' EXIT
for tool in gcc curl; do
  command -v "$tool" >/dev/null || { echo "bench/capacity.sh: $tool is not installed" >&2; exit 1; }
done

make -s build
go build -o "$work/" ./bench/proxy/load ./bench/proxy/backend
gcc -O2 -Wall -o "$work/limit" bench/dns/limit.c -lpthread
gcc -O2 -Wall -o "$work/blast" bench/dns/blast.c
awk -v n="$names" -v out="$work" 'BEGIN {
  for (i = 0; i < n; i++) {
    print "name" i ".refused" (i % 997) ".example" > (out "/list.txt")
    if (i % 50 == 0) print "name" i ".refused" (i % 997) ".example A" > (out "/refused")
    if (i % 50 == 0) print "name" i ".refused" (i % 997) ".example" > (out "/refused.txt")
  }
  for (i = 0; i < 10000; i++) print "host" i ".cached.example A" > (out "/cached")
  print "########.missing.example A" > (out "/missing")
}'
cat >"$work/policy.yaml" <<'Y'
version: 1
lists: {big: {file: list.txt}}
rules:
  - {name: big, what: {lists: [big]}, action: block, reason: Privacy and security concerns, alternatives: [email, text, phone]}
  - {name: no-zoom, what: {apps: [zoom]}, action: block}
  - {name: no-way-round, what: {categories: [bypass]}, action: block}
default: allow
Y
cat >"$work/sallyport.yaml" <<Y
policy: policy.yaml
dns: {listen: ["127.0.0.1:$dns"], upstreams: ["udp://127.0.0.1:$upstream"]}
proxy: {listen: ["127.0.0.1:$proxy"], deny_networks: none}
admin: {listen: "127.0.0.1:$admin"}
portal: {listen: "127.0.0.1:0"}
audit: {file: decisions.jsonl}
Y
"$work/limit" "$upstream" 1 answer & pids+=($!)
"$work/backend" -port "$backend" >/dev/null & pids+=($!)
bin/sallyport serve --config "$work/sallyport.yaml" >/dev/null 2>"$work/log" & gateway=$!
pids+=("$gateway")
for _ in $(seq 100); do
  ! curl -sf "127.0.0.1:$admin/readyz" >/dev/null || break
  kill -0 "$gateway" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done

ticks() { awk '{print $14 + $15}' "/proc/$gateway/stat"; } # hundredths of a second, all threads
resident() { awk '/^VmRSS/ {print $2}' "/proc/$gateway/status"; }
show() { printf '| %s | %s |\n' "$1" "$2"; }

spend() { # row, generator that prints n=… (proxy) or answered=… (DNS)
  local row=$1 before line n=0 answered=0 failed=0
  shift
  before=$(ticks)
  line=$("$@" 2>/dev/null)
  local spent=$(($(ticks) - before))
  n=$(sed -n 's/.*\bn=\([0-9]*\).*/\1/p' <<<"$line")
  answered=$(sed -n 's/.*\banswered=\([0-9]*\).*/\1/p' <<<"$line")
  failed=$(sed -n 's/.*\bfailed=\([0-9]*\).*/\1/p' <<<"$line")
  n=${answered:-${n:-0}}
  if [ "$n" -eq 0 ] || [ "${failed:-0}" -gt $((n / 100)) ]; then
    show "$row" "failed: $line"
    return
  fi
  show "$row" "$(awk -v s="$spent" -v n="$n" 'BEGIN {printf "%.1f µs", s * 1e4 / n}')"
}

show 'resident, doing nothing' "$(resident) KB"
through="-proxy 127.0.0.1:$proxy -backend 127.0.0.1:$backend"
blast() { "$work/blast" -p "$dns" "$@"; }
load() { "$work/load" -part "$@"; }
# Before anything else: memory that was used once is there to be used again.
# shellcheck disable=SC2086
per=$(load idle $through -idle "$idle" -pids "$gateway" | sed -n 's/.*\brate=\([0-9.-]*\).*/\1/p')
show 'an idle tunnel' "${per:-failed} KB"
blast -n 30000 -c 4 -q 8 -l 20 "$work/cached" >/dev/null
spend 'a query answered from the cache' blast -l "$secs" -c 16 -q 16 "$work/cached"
spend 'a query refused, and written to the log' blast -l "$secs" -c 16 -q 16 "$work/refused"
spend 'a query that an upstream has to answer' blast -l "$secs" -u 1 -c 16 -q 16 "$work/missing"
# shellcheck disable=SC2086
{
  spend 'a tunnel opened and closed' load connect $through -c 32 -l "${secs}s"
  spend 'a refusal at the proxy, with its page, and written to the log' load refuse $through -c 32 -l "${secs}s" -names "$work/refused.txt"
  spend 'a plain request on a kept connection' load plain $through -c 64 -l "${secs}s"
  before=$(ticks)
  rate=$(load bulk $through -c 16 -l "${secs}s" | sed -n 's/.*\brate=\([0-9.]*\).*/\1/p')
  show 'a gigabyte through tunnels' "$(awk -v s=$(($(ticks) - before)) -v r="${rate:-0}" -v t="$secs" 'BEGIN {if (r > 0) printf "%.2f s", s / 100 / (r * t); else print "failed"}')"
}
show 'resident, after all that' "$(resident) KB"
show 'entries of the decision log, written and dropped' "$(curl -s "127.0.0.1:$admin/metrics" |
  awk '/^sallyport_audit_entries_total/ {e = $2} /^sallyport_audit_dropped_total/ {d = $2} END {printf "%d, %d", e, d}')"
