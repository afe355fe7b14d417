#!/usr/bin/env bash
# The proxy door beside its peers, under what the kernel can do and without any
# proxy, in one run; prints the table for docs/performance.md.
#
#   bench/proxy/run.sh [system...]
#
# Systems: direct splice relay sallyport squid haproxy tinyproxy privoxy 3proxy
# goproxy, by default all; those that are not installed are left out. direct is
# no proxy at all; splice (splice.c) and relay (relay/) are what C and Go can do
# without a policy; haproxy is no forward proxy and plays where it can, as a
# relay of TCP and as a reverse proxy. Needs two cores, and gcc for splice
# (Debian: gcc; peers: squid-openssl haproxy tinyproxy privoxy). As root it also
# measures what is left without root's rights. Settings, in the environment:
#
#   RUNS=3          of which the median counts     SECS=4        each
#   NAMES=1000000   on the list                    IDLE=5000     idle tunnels
#   SYSTEMS=        instead of arguments           RESULTS=      a file to keep every figure in
#   PARTS="connect tls tunnel plain get refuse idle bulk"
#   AUDIT=          see systems.sh
#
# The server has core 0 to itself, generator and backend share core 1: figures
# near those of direct say that the generator was the limit. Whatever comes back
# is looked at: a single wrong byte, or one failure in a hundred, and there is no
# figure.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-3} secs=${SECS:-4} names=${NAMES:-1000000} idle=${IDLE:-5000}
parts=${PARTS:-connect tls tunnel plain get refuse idle bulk}
read -ra systems <<<"${*:-${SYSTEMS:-direct splice relay sallyport squid haproxy tinyproxy privoxy 3proxy goproxy}}"
port=13128 admin=13180 backend=19000 raw=19100
work=$(mktemp -d) servers=() system='' origin='' rights=
chmod 755 "$work"
results=${RESULTS:-$work/results}
: >"$results"
tools=$work/tools list=$work/list.txt few=$work/few.txt
server_core='taskset -c 0' load_core='taskset -c 1'
ulimit -n "$(ulimit -Hn)"

end() { # a process that this script started
  [ -n "$1" ] || return 0
  kill "$1" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
stop_servers() {
  for p in "${servers[@]}"; do end "$p"; done
  servers=()
}
trap 'stop_servers; end "$origin"; rm -rf "$work"' EXIT

command -v taskset >/dev/null || { echo "bench/proxy/run.sh: taskset is not installed" >&2; exit 1; }
. bench/proxy/systems.sh

# --- tools and data -----------------------------------------------------------

prepare() {
  mkdir "$tools"
  make -s build
  cp bin/sallyport "$tools/" # where others than its owner may start it
  go build -o "$tools/" ./bench/proxy/load ./bench/proxy/backend ./bench/proxy/relay ./bench/proxy/goproxy
  ! command -v gcc >/dev/null || gcc -O2 -Wall -o "$tools/splice" bench/proxy/splice.c
  awk -v n="$names" -v out="$work" 'BEGIN {
    srand(11); split("com net org example co.uk", tld, " ")
    c = "abcdefghijklmnopqrstuvwxyz0123456789"
    for (i = 0; i < n; i++) {
      s = ""; l = 5 + int(rand() * 8)
      for (j = 0; j < l; j++) s = s substr(c, 1 + int(rand() * 36), 1)
      s = s sprintf("%x", i) "." tld[1 + int(rand() * 5)]
      print s > (out "/list.txt")
      if (i < 100) print s > (out "/few.txt")
      if (rand() < 5000 / n) print s > (out "/refused.txt")
    }
  }'
  $load_core "$tools/backend" -port "$backend" >"$work/backend.out" &
  origin=$!
}

# --- one system -----------------------------------------------------------------

# play is the generator. What is not measured through the proxy's own port is
# given another address: see systems.sh.
play() { # part, arguments
  local part=$1 via="-proxy 127.0.0.1:$port" to=$backend
  shift
  case $part in
  refuse) ;;
  *)
    [ "$system" != direct ] || via=''
    [ -z "$(relayed "$part")" ] || { via='' to=$raw; }
    ;;
  esac
  # shellcheck disable=SC2086
  $load_core "$tools/load" -part "$part" $via -backend "127.0.0.1:$to" "$@"
}

relayed() { # whether the system takes part as a relay of TCP
  local relays=relays_$system
  [[ " ${!relays:-} " != *" $1 "* ]] || echo yes
}

lacks() { # whether a system cannot play a part
  local without=without_$system
  [[ " ${!without:-} " == *" $1 "* ]]
}

start() { # a system, until a tunnel through it carries a byte and back
  system=$1 home=$work/$1
  rm -rf "$home"
  mkdir "$home"
  chmod 777 "$home"
  if [ "$system" = direct ]; then return 0; fi
  "start_${system/3proxy/threeproxy}" || { echo "$system is not installed: left out" >&2; return 1; }
  for _ in $(seq 600); do
    kill -0 "${servers[0]}" 2>/dev/null || break
    [[ "$(play connect -c 1 -l 20ms 2>/dev/null)" != *" failed=0 "* ]] || return 0
    sleep 0.1
  done
  echo "$system opens no tunnel:" >&2
  tail -5 "$home/output" >&2
  stop_servers
  return 1
}

wanted() { [[ " $parts " == *" $1 "* ]]; }
record() { echo "$1|$system|$2" | tee -a "$results" >&2; }
median() { sort -g | awk '{v[NR] = $1} END {if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# figure prints what one run measured, and nothing where it cannot be believed.
figure() { # what is wanted of the report, part, arguments
  local want=$1 line rate=0 n=0 failed=0 wrong=0 p50=0 p99=0 descriptors=0 why=''
  shift
  if ! line=$(play "$@" 2>"$work/trouble"); then
    echo "$system, $1: $(cat "$work/trouble")" >&2
    return 0
  fi
  eval "$line"
  if [ "$wrong" -gt 0 ] || [ $((failed * 100)) -gt "$n" ]; then
    echo "$system, $1: $failed of $((n + failed)) failed, $wrong of them wrong: $why" >&2
    return 0
  fi
  [ "$failed" -eq 0 ] || echo "$system, $1: $failed of $((n + failed)) failed: $why" >&2
  echo "${!want}"
}

measure() { # row, what is wanted of the report, part, arguments
  local row=$1
  shift
  for _ in $(seq "$runs"); do figure "$@"; done >"$work/figures"
  # A run that failed is no run to leave out: then there is no median.
  if [ "$(wc -l <"$work/figures")" -eq "$runs" ]; then record "$row" "$(median <"$work/figures")"; else record "$row" failed; fi
}

names_of() { # the names that a system refuses
  local small=small_$system
  if [ -n "${!small:-}" ]; then echo "$few"; else echo "$work/refused.txt"; fi
}

perform() { # the parts, with root's rights where there are any
  ! wanted connect || lacks connect || measure 'tunnels a second, one byte each' rate connect -c 32 -l "${secs}s"
  ! wanted tls || lacks tls || measure 'the same with TLS and one GET inside' rate tls -c 32 -l "${secs}s"
  ! wanted tunnel || lacks tunnel || measure 'a new tunnel, p50 µs' p50 tunnel -n 2000 -l 30s
  ! wanted plain || lacks plain || measure 'plain GETs a second, 64 kept connections' rate plain -c 64 -l "${secs}s"
  ! wanted get || lacks get || measure 'a GET over a kept connection, p50 µs' p50 get -n 2000 -l 30s
  if wanted refuse && [ "$system" != direct ] && ! lacks refuse; then
    measure 'refusals a second' rate refuse -c 32 -l "${secs}s" -names "$(names_of)"
  fi
  if wanted idle && [ "$system" != direct ] && ! lacks idle; then
    weigh
  fi
  ! wanted bulk || lacks bulk || flood ''
}

weigh() { # once: memory that was given out does not come back
  local line rate=0 n=0 failed=0 wrong=0 descriptors=0 why=''
  line=$(play idle -idle "$idle" -pids "${servers[*]}" 2>"$work/trouble") || { echo "$system, idle: $(cat "$work/trouble")" >&2; line='failed=1'; }
  eval "$line"
  if [ "$failed" -gt 0 ]; then
    echo "$system, idle: $failed failed: $why" >&2
    rate=failed descriptors=failed
  fi
  record 'KB for an idle tunnel' "$rate"
  record 'descriptors for an idle tunnel' "$descriptors"
}

flood() { # with which rights, in words
  measure "GB a second through 1 tunnel$1" rate bulk -c 1 -l "${secs}s"
  measure "GB a second through 16 tunnels$1" rate bulk -c 16 -l "${secs}s"
  measure "GB a second through 16 tunnels beside $idle idle ones$1" rate bulk -c 16 -l "${secs}s" -idle "$idle"
}

# --- table ------------------------------------------------------------------------

table() {
  awk -F'|' '
    !($1 in row) {row[$1]; rows[++R] = $1}
    !($2 in known) {known[$2]; systems[++S] = $2}
    {value[$1, $2] = $3}
    function number(v) {return v ~ /^-?[0-9.]+$/}
    function shown(v) {return !number(v) ? v : v + 0 >= 1000 ? sprintf("%d", v) : sprintf("%.4g", v)}
    function ratio(a, b) {return number(a) && number(b) && b + 0 > 0 ? sprintf("%.2f", a / b) : ""}
    function line(what, added,   s, v, base) {
      printf "| %s", added ? "added by it" : what
      for (s = 1; s <= S; s++) {
        v = value[what, systems[s]]; base = value[what, "direct"]
        printf " | %s", added ? (systems[s] != "direct" && number(v) && number(base) ? shown(v - base) : "") : shown(v)
      }
    }
    END {
      printf "|"
      for (s = 1; s <= S; s++) printf " | %s", systems[s]
      print " | sallyport / direct | / splice | / squid | / best peer |"
      printf "|---|"
      for (s = 1; s <= S + 4; s++) printf "---:|"
      print ""
      for (r = 1; r <= R; r++) {
        what = rows[r]; low = what ~ /(µs|idle tunnel)$/; best = ""
        for (s = 1; s <= S; s++) {
          v = value[what, systems[s]]
          if (systems[s] ~ /^(direct|splice|relay|sallyport)$/ || systems[s] == "haproxy" && what !~ /refusals/ || !number(v)) continue
          if (best == "" || (low ? v + 0 < best + 0 : v + 0 > best + 0)) best = v
        }
        ours = value[what, "sallyport"]
        line(what, 0)
        printf " | %s | %s | %s | %s |\n", ratio(ours, value[what, "direct"]), ratio(ours, value[what, "splice"]), ratio(ours, value[what, "squid"]), ratio(ours, best)
        if (what ~ /µs$/) {
          line(what, 1)
          print " | | | | |"
        }
      }
    }' "$results"
}

read -r busy _ </proc/loadavg
[ "${busy%.*}" -eq 0 ] || echo "The machine is busy (load $busy): figures will be worth little." >&2
prepare
for s in "${systems[@]}"; do
  start "$s" || continue
  perform
  stop_servers
done
if [ "$(id -u)" -eq 0 ] && wanted bulk && command -v setpriv >/dev/null; then
  rights='setpriv --reuid=65534 --regid=65534 --clear-groups'
  for s in "${systems[@]}"; do
    [ "$s" != direct ] && start "$s" || continue
    lacks bulk || flood ', unprivileged'
    stop_servers
  done
  rights=
fi
echo "$(nproc) cores, $(uname -sr), list of $names names (tinyproxy, privoxy and 3proxy: 100), $idle idle tunnels, median of $runs runs of $secs s, audit: $audit"
echo 'haproxy relays TCP without reading a CONNECT, and is a reverse proxy for plain GETs: it counts as a peer where it refuses.'
table
