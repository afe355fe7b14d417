#!/usr/bin/env bash
# A block list of a million names: how long from start to the first blocked
# answer, and how much memory. Prints one row a run; peers in the same run.
#   bench/list.sh [names] [runs]
set -euo pipefail
cd "$(dirname "$0")/.."
names=${1:-1000000} runs=${2:-3}
port=15353
work=$(mktemp -d)
pid=
stop() {
  [ -n "$pid" ] || return 0
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=
}
trap 'stop; rm -rf "$work"' EXIT

command -v dig >/dev/null || { echo "bench/list.sh: dig is needed (Debian: bind9-dnsutils)" >&2; exit 1; }
make -s build

# Names of ordinary length, the same in every run.
awk -v n="$names" 'BEGIN {
  srand(7); split("com net org example co.uk", tld, " ")
  c = "abcdefghijklmnopqrstuvwxyz0123456789"
  for (i = 0; i < n; i++) {
    s = ""; l = 5 + int(rand() * 10)
    for (j = 0; j < l; j++) s = s substr(c, 1 + int(rand() * 36), 1)
    print s "." tld[1 + int(rand() * 5)]
  }
}' >"$work/list.txt"
probe=www.$(tail -1 "$work/list.txt")

start_sallyport() {
  cat >"$work/policy.yaml" <<Y
version: 1
lists: {big: {file: list.txt}}
rules: [{name: big, what: {lists: [big]}, action: block}]
Y
  cat >"$work/sallyport.yaml" <<Y
policy: policy.yaml
dns: {listen: ["127.0.0.1:$port"], upstreams: ["udp://127.0.0.1:9"], clients: [127.0.0.0/8]}
proxy: {listen: ["127.0.0.1:0"]}
admin: {listen: "127.0.0.1:0"}
portal: {listen: "127.0.0.1:0"}
Y
  bin/sallyport serve --config "$work/sallyport.yaml" >"$work/out" 2>"$work/log" &
  pid=$!
}

start_unbound() {
  command -v unbound >/dev/null || return 1
  {
    printf 'server:\n interface: 127.0.0.1@%s\n username: ""\n chroot: ""\n directory: "%s"\n pidfile: ""\n do-daemonize: no\n use-syslog: no\n num-threads: 1\n' "$port" "$work"
    awk '{print " local-zone: \"" $1 ".\" always_null"}' "$work/list.txt"
  } >"$work/unbound.conf"
  unbound -d -c "$work/unbound.conf" >"$work/out" 2>&1 &
  pid=$!
}

start_dnsmasq() {
  command -v dnsmasq >/dev/null || return 1
  awk '{print "address=/" $1 "/0.0.0.0"}' "$work/list.txt" >"$work/dnsmasq.conf"
  dnsmasq -k -C "$work/dnsmasq.conf" --port="$port" --listen-address=127.0.0.1 --bind-interfaces --no-resolv --no-hosts --user="$(id -un)" --pid-file="$work/pid" >"$work/out" 2>&1 &
  pid=$!
}

printf '%-10s %4s %22s %8s\n' system run 'first blocked answer ms' 'rss MB'
for system in sallyport unbound dnsmasq; do
  for run in $(seq "$runs"); do
    began=$(date +%s%3N)
    if ! "start_$system"; then
      echo "$system is not installed: left out"
      break
    fi
    until dig @127.0.0.1 -p "$port" +short +time=1 +tries=1 "$probe" A 2>/dev/null | grep -q '^0\.0\.0\.0$'; do
      kill -0 "$pid" 2>/dev/null || { echo "$system did not start:"; tail -5 "$work/out" "$work/log"; exit 1; }
      [ $(($(date +%s%3N) - began)) -lt 120000 ] || { echo "$system did not answer"; exit 1; }
    done
    took=$(($(date +%s%3N) - began))
    sleep 2
    rss=$(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status")
    printf '%-10s %4s %22s %8s\n' "$system" "$run" "$took" "$rss"
    stop
  done
done
