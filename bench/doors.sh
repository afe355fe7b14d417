#!/usr/bin/env bash
# Where the doors start from, beside a peer in the same run. Server on core 0,
# generators and backends on core 1; needs two cores, dnsperf, unbound, wrk,
# nginx and squid (Debian: dnsperf unbound wrk nginx-light squid-openssl).
#   bench/doors.sh [seconds] [runs]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-4} runs=${2:-3}
work=$(mktemp -d)
chmod 755 "$work"
pids=()
server=
stop_server() {
  [ -n "$server" ] || return 0
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
}
cleanup() {
  stop_server
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
for tool in dnsperf unbound wrk nginx squid taskset; do
  command -v "$tool" >/dev/null || { echo "bench/doors.sh: $tool is not installed" >&2; exit 1; }
done
make -s build
go build -o "$work/connectload" ./bench/connectload
server_core="taskset -c 0" load_core="taskset -c 1"

# --- data: 10,000 refused names, 10,000 allowed ones -------------------------
awk 'BEGIN { for (i = 0; i < 10000; i++) print "refused" i ".example" > "'"$work"'/list.txt"
  for (i = 0; i < 10000; i++) print "www.refused" i ".example A" > "'"$work"'/blocked.q"
  for (i = 0; i < 10000; i++) print "n" i ".allowed.test A" > "'"$work"'/cached.q" }'

# --- backends ----------------------------------------------------------------
cat >"$work/upstream.conf" <<U
server:
 interface: 127.0.0.1@15300
 username: ""
 chroot: ""
 directory: "$work"
 pidfile: ""
 do-daemonize: no
 use-syslog: no
 local-zone: "allowed.test." redirect
 local-data: "allowed.test. 3600 A 192.0.2.1"
U
$load_core unbound -d -c "$work/upstream.conf" >"$work/upstream.log" 2>&1 & pids+=($!)
mkdir "$work/html"
head -c 128 /dev/zero | tr '\0' x >"$work/html/small"
cat >"$work/nginx.conf" <<N
daemon off; master_process off; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err crit;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; root $work/html; server { listen 127.0.0.1:19080; } }
N
$load_core nginx -c "$work/nginx.conf" >/dev/null 2>&1 & pids+=($!)
$load_core "$work/connectload" -serve 127.0.0.1:19001 & pids+=($!)

# --- systems -----------------------------------------------------------------
start_sallyport() {
  cat >"$work/policy.yaml" <<Y
version: 1
default: allow
lists: {refused: {file: list.txt}}
rules: [{name: refused, what: {lists: [refused]}, action: block, reason: a reason of ordinary length}]
Y
  cat >"$work/sallyport.yaml" <<Y
policy: policy.yaml
dns: {listen: ["127.0.0.1:15353"], upstreams: ["udp://127.0.0.1:15300"], clients: [127.0.0.0/8]}
proxy: {listen: ["127.0.0.1:13128"], clients: [127.0.0.0/8], deny_networks: none}
admin: {listen: "127.0.0.1:0"}
portal: {listen: "127.0.0.1:0"}
audit: {file: $work/decisions.jsonl}
Y
  GOMAXPROCS=1 $server_core bin/sallyport serve --config "$work/sallyport.yaml" >"$work/out" 2>"$work/log" & server=$!
}
start_unbound() {
  {
    printf 'server:\n interface: 127.0.0.1@15353\n username: ""\n chroot: ""\n directory: "%s"\n pidfile: ""\n do-daemonize: no\n use-syslog: no\n num-threads: 1\n do-not-query-localhost: no\n module-config: "iterator"\n msg-cache-size: 64m\n rrset-cache-size: 64m\n' "$work"
    awk '{print " local-zone: \"" $1 ".\" always_null"}' "$work/list.txt"
    printf 'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@15300\n'
  } >"$work/unbound.conf"
  $server_core unbound -d -c "$work/unbound.conf" >"$work/out" 2>&1 & server=$!
}
start_squid() {
  sed 's/^/./' "$work/list.txt" >"$work/squid.list"
  cat >"$work/squid.conf" <<S
http_port 127.0.0.1:13128
pid_filename none
cache deny all
access_log none
cache_log $work/squid.log
acl refused dstdomain -n "$work/squid.list"
http_access deny refused
http_access allow localhost
http_access deny all
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
visible_hostname bench
coredump_dir $work
S
  chmod -R a+rwX "$work"
  $server_core squid -N -f "$work/squid.conf" >"$work/out" 2>&1 & server=$!
}

row() { printf '%-10s %-22s %s\n' "$1" "$2" "$3"; }
dns() { # name file
  for _ in $(seq "$runs"); do
    row "$1" "$2" "$($load_core dnsperf -s 127.0.0.1 -p 15353 -d "$work/$3" -c 128 -q 500 -l "$seconds" -t 2 2>/dev/null | awk '/Queries per second/ {q=$4} /Queries lost/ {l=$3} END {printf "%d queries/s, %d lost", q, l}')"
  done
}
tunnels() { # name label proxy target want
  for _ in $(seq "$runs"); do
    row "$1" "$2" "$($load_core "$work/connectload" -proxy "$3" -target "$4" -want "$5" -l "${seconds}s")"
  done
}
cat >"$work/wrk.lua" <<'L'
request = function() return "GET http://127.0.0.1:19080/small HTTP/1.1\r\nHost: 127.0.0.1:19080\r\n\r\n" end
L
plain() { # name url script...
  local name=$1 url=$2
  shift 2
  for _ in $(seq "$runs"); do
    row "$name" 'plain HTTP, kept alive' "$($load_core wrk -t1 -c64 -d"${seconds}s" "$@" "$url" | awk '/Requests\/sec/ {r=$2} /Non-2xx/ {b=$NF} END {printf "%d requests/s, %d bad", r, b}')"
  done
}

for system in sallyport unbound; do
  "start_$system"
  sleep 2
  $load_core dnsperf -s 127.0.0.1 -p 15353 -d "$work/cached.q" -n 1 -c 8 -q 50 >/dev/null 2>&1
  dns "$system" 'dns, all blocked' blocked.q
  dns "$system" 'dns, all cached' cached.q
  stop_server
done
row direct '' "$($load_core "$work/connectload" -target 127.0.0.1:19001 -l "${seconds}s")"
plain direct http://127.0.0.1:19080/small
for system in sallyport squid; do
  "start_$system"
  sleep 2
  tunnels "$system" 'CONNECT tunnels' 127.0.0.1:13128 127.0.0.1:19001 200
  tunnels "$system" 'CONNECT refusals' 127.0.0.1:13128 www.refused7.example:443 403
  plain "$system" http://127.0.0.1:13128 -s "$work/wrk.lua"
  stop_server
done
