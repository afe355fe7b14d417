#!/usr/bin/env bash
# The DNS door beside its peers and under the ceiling of the machine, in one
# run; prints the tables for docs/performance.md.
#
#   bench/dns/run.sh [system...]
#
# Systems: limit echo sallyport unbound dnsdist dnsmasq bind9 knot_resolver
# recursor, by default all; those that are not installed are left out. Needs two
# cores, gcc, dig, openssl, perl, curl, dnsperf and h2load (Debian: gcc
# bind9-dnsutils openssl perl curl dnsperf nghttp2-client; peers: unbound dnsdist
# dnsmasq-base bind9 knot-resolver pdns-recursor). Settings, in the environment:
#
#   RUNS=3          of which the median counts      SECS=4     each
#   NAMES=1000000   on the list                     RELOADS=20 seconds with a reload each
#   PLACES="pinned unpinned"                        PARTS="udp streams latency flood memory reload"
#   AUDIT, ENCRYPTED: see systems.sh                RESULTS=   a file to keep every figure in
#
# Mixes: A, all blocked; B, all in the cache, 10,000 names; C, 70 % in the
# cache, 20 % blocked, 10 % never asked before. Pinned: server on core 0 with
# one thread, generator and upstream on core 1. Unpinned: two threads.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${RUNS:-3} secs=${SECS:-4} names=${NAMES:-1000000} reloads=${RELOADS:-20}
places=${PLACES:-pinned unpinned} parts=${PARTS:-udp streams latency flood memory reload}
systems=("$@")
[ $# -gt 0 ] || systems=(limit echo sallyport unbound dnsdist dnsmasq bind9 knot_resolver recursor)
port=15353 dot=15853 doh=15443 admin=15180 upstream=15300
work=$(mktemp -d) servers=() system='' stub='' helper=''
chmod 755 "$work"
results=${RESULTS:-$work/results}
: >"$results"
tools=$work/tools list=$work/list.txt certificate=$work/tls.crt key=$work/tls.key

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
trap 'end "$helper"; stop_servers; end "$stub"; rm -rf "$work"' EXIT

for tool in gcc dig openssl perl dnsperf h2load taskset curl; do
  command -v "$tool" >/dev/null || { echo "bench/dns/run.sh: $tool is not installed" >&2; exit 1; }
done
. bench/dns/systems.sh

# --- tools and data -----------------------------------------------------------

prepare() {
  mkdir "$tools"
  make -s build
  go build -o "$tools/echo" ./bench/dns/echo
  gcc -O2 -Wall -o "$tools/limit" bench/dns/limit.c -lpthread
  gcc -O2 -Wall -o "$tools/blast" bench/dns/blast.c
  (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$key" -out "$certificate" 2>/dev/null)
  awk -v n="$names" -v out="$work" 'BEGIN {
    srand(7); split("com net org example co.uk", tld, " ")
    c = "abcdefghijklmnopqrstuvwxyz0123456789"
    for (i = 0; i < n; i++) {
      s = ""; l = 5 + int(rand() * 8)
      for (j = 0; j < l; j++) s = s substr(c, 1 + int(rand() * 36), 1)
      s = s sprintf("%x", i) "." tld[1 + int(rand() * 5)]
      print s > (out "/list.txt")
      if (rand() < 200000 / n) {
        if (rand() < 0.5) s = "www." s
        blocked[count++] = s
        print s " A" > (out "/A")
      }
    }
    for (i = 0; i < 10000; i++) print "host" i ".cached" (i % 97) ".example A" > (out "/B")
    for (i = 0; i < 200000; i++) {
      r = rand()
      if (r < 0.7) print "host" int(i * 7919 % 10000) ".cached" (int(i * 7919 % 10000) % 97) ".example A" > (out "/C")
      else if (r < 0.9) print blocked[int(rand() * count)] " A" > (out "/C")
      else print "########.missing" (i % 97) ".example A" > (out "/C")
    }
    print "########.distinct.example A" > (out "/distinct")
  }'
  perl -MMIME::Base64 -lane '
    $query = pack("n6", 0, 256, 1, 0, 0, 0) . join("", map {pack("C/a", $_)} split /\./, $F[0]) . pack("Cnn", 0, 1, 1);
    ($text = encode_base64($query, "")) =~ tr{+/=}{-_}d;
    print "https://127.0.0.1:'"$doh"'/dns-query?dns=$text"' "$work/B" >"$work/B.uris"
}

# place sets who runs where.
place() {
  pin='' load='' threads=2
  [ "$1" != pinned ] || pin='taskset -c 0' load='taskset -c 1' threads=1
  end "$stub"
  # shellcheck disable=SC2086
  $load "$tools/limit" "$upstream" 1 answer &
  stub=$!
}

# --- one system -----------------------------------------------------------------

status() { dig @127.0.0.1 -p "$port" +time=1 +tries=1 +noall +comments "$1" A 2>/dev/null | sed -n 's/.*status: \([A-Z]*\).*/\1/p'; }

start() { # a system, until it blocks the last name of the list and resolves
  system=$1 home=$work/$1
  rm -rf "$home"
  mkdir "$home"
  chmod 777 "$home"
  "start_$system" || { echo "$system is not installed: left out" >&2; return 1; }
  local last
  last=$(tail -1 "$list")
  for _ in $(seq 1200); do
    kill -0 "${servers[0]}" 2>/dev/null || break
    case $system in
    limit | echo) [ -z "$(status ready.example)" ] || return 0 ;;
    *) [ "$(status "www.$last")" != NXDOMAIN ] || [ "$(status ready.example)" != NOERROR ] || return 0 ;;
    esac
    sleep 0.1
  done
  echo "$system does not answer:" >&2
  tail -5 "$home/output" >&2
  stop_servers
  return 1
}

ceiling() { [ "$1" = limit ] || [ "$1" = echo ]; }
wanted() { [[ " $parts " == *" $1 "* ]]; }
record() { echo "$1|$system|$2" | tee -a "$results" >&2; }
rss() { for p in "${servers[@]}"; do awk '/^VmRSS/ {print $2}' "/proc/$p/status"; done | awk '{n += $1} END {print int(n / 1024)}'; }
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : int((v[NR / 2] + v[NR / 2 + 1]) / 2)}'; }

serial=1 # of the next name that nobody has asked for
blast() { # arguments of blast: its figures become variables
  local line
  # shellcheck disable=SC2086
  line=$($load "$tools/blast" -p "$port" -u "$serial" "$@") || line="$line lost=all"
  serial=$((serial + 3000000))
  answered=0 qps=0 servfail=0 refused=0 other=0
  eval "$line"
  [ $(((servfail + refused + other) * 200)) -le "$answered" ] || echo "$system answers badly: $line" >&2
}

perf() { # mode of dnsperf, port, file: queries a second
  # shellcheck disable=SC2086
  $load dnsperf -m "$1" -s 127.0.0.1 -p "$2" -d "$3" -c 20 -q 200 -l "$secs" -t 2 2>&1 |
    awk '/Queries per second/ {n = int($4)} END {print n + 0}'
}

# Queries a second over DoH, as many under way as with perf. dnsperf 2.10 loses
# answers that come in one piece with others, so h2load asks: GET, HTTP/2.
https() {
  # shellcheck disable=SC2086
  $load h2load -c 20 -m 10 -D "$secs" -i "$work/B.uris" 2>&1 |
    awk '/^finished in/ {n = int($4)} /^status codes/ {if ($3 + 0 == 0) n = 0} END {print n + 0}'
}

numbered() { # the mix C with its numbers filled in, as dnsperf needs it
  awk -v first="$serial" -v lines=$((secs * 450000)) '
    {line[n++] = $0}
    END {
      for (i = 0; i < lines; i++) {
        q = line[i % n]
        if (substr(q, 1, 1) == "#") q = sprintf("%08d", first++) substr(q, 9)
        print q
      }
    }' "$work/C" >"$work/C.numbered"
  serial=$((serial + secs * 450000))
}

warm() { ceiling "$system" || blast -n 30000 -c 4 -q 8 -l 20 "$work/B"; }

udp() {
  local mix
  for mix in A B C; do
    for _ in $(seq "$runs"); do
      blast -l "$secs" "$work/$mix"
      echo "$qps"
    done >"$work/figures"
    record "$1|UDP, mix $mix, batches" "$(median <"$work/figures")"
    for _ in $(seq "$runs"); do
      [ "$mix" != C ] || numbered
      file=$work/$mix
      [ "$mix" != C ] || file=$work/C.numbered
      perf udp "$port" "$file"
    done >"$work/figures"
    record "$1|UDP, mix $mix, dnsperf" "$(median <"$work/figures")"
  done
}

streams() {
  local supported=streams_$system mode
  for mode in ${!supported:-}; do
    [ "$mode" = tcp ] || [ "$system" != sallyport ] || [ "$encrypted" = yes ] || continue
    for _ in $(seq "$runs"); do
      case $mode in
      tcp) perf tcp "$port" "$work/B" ;;
      dot) perf dot "$dot" "$work/B" ;;
      doh) https ;;
      esac
    done >"$work/figures"
    record "$1|${mode^^}, mix B, kept connections" "$(median <"$work/figures")"
  done
}

memory() {
  record "$1|resident MB, mixes asked" "$(rss)"
  blast -n 1000000 -l 120 -q 8 "$work/distinct"
  record "$1|resident MB, after a million distinct answers" "$(rss)"
}

# flood asks for cached names, few and from another client than the flood's.
flood() {
  local asides=(-l "$secs" -r 2000 -c 4 "$work/B")
  for _ in $(seq "$runs"); do
    blast "${asides[@]}"
    echo "$p99"
  done >"$work/figures"
  record "$1|99 % of cached names within µs, quiet" "$(median <"$work/figures")"
  for _ in $(seq "$runs"); do
    # shellcheck disable=SC2086
    $load "$tools/blast" -p "$port" -u "$serial" -l $((secs + 1)) "$work/distinct" >/dev/null &
    helper=$!
    serial=$((serial + 3000000))
    blast "${asides[@]}"
    wait "$helper"
    helper=''
    echo "$p99"
  done >"$work/figures"
  record "$1|99 % of cached names within µs, beside a flood of random ones" "$(median <"$work/figures")"
}

# reload edits the policy once a second under the full mixed load.
reload() {
  blast -l "$reloads" "$work/C"
  record "$1|UDP, mix C, undisturbed" "$qps"
  local before after
  before=$(reloaded)
  (for i in $(seq "$reloads"); do
    sallyport_policy "$i"
    sleep 1
  done) &
  helper=$!
  blast -l "$reloads" "$work/C"
  wait "$helper"
  helper=''
  after=$(reloaded)
  record "$1|UDP, mix C, a reload a second" "$qps"
  record "$1|queries lost over $((after - before)) reloads" "$lost"
}
reloaded() { curl -s "http://127.0.0.1:$admin/metrics" | awk '/^sallyport_policy_reloads_total\{.*success/ {n = $2} END {print int(n)}'; }

# half of what the best peer makes of mix C
half_load() {
  awk -F'|' -v place="$1" '$1 == place && $2 == "UDP, mix C, batches" && $3 !~ /^(limit|echo|sallyport)$/ && $4 > best {best = $4} END {print int(best / 2)}' "$results"
}

latency() {
  for _ in $(seq "$runs"); do
    blast -l "$secs" -r "$2" "$work/C"
    echo "$p99"
  done >"$work/figures"
  record "$1|99 % of mix C within µs, at $2 a second" "$(median <"$work/figures")"
}

# --- tables -----------------------------------------------------------------------

tables() {
  awk -F'|' '
    !($1 in place) {place[$1]; places[++P] = $1}
    !(($1, $2) in row) {row[$1, $2]; rows[$1, ++R[$1]] = $2}
    !($3 in known) {known[$3]; systems[++S] = $3}
    {value[$1, $2, $3] = $4}
    function ratio(a, b) {return a == "" || b == "" || b == 0 ? "" : sprintf("%.2f", a / b)}
    END {
      for (p = 1; p <= P; p++) {
        printf "\n%s; queries a second where nothing else is said\n\n|", places[p]
        for (s = 1; s <= S; s++) printf " | %s", systems[s]
        print " | sallyport / limit | sallyport / best peer |"
        printf "|---|"
        for (s = 1; s <= S + 2; s++) printf "---:|"
        print ""
        for (r = 1; r <= R[places[p]]; r++) {
          what = rows[places[p], r]; low = what ~ /^(resident|99|queries lost)/; best = ""
          printf "| %s", what
          for (s = 1; s <= S; s++) {
            v = value[places[p], what, systems[s]]
            printf " | %s", v
            if (v != "" && systems[s] !~ /^(limit|echo|sallyport)$/ && (best == "" || (low ? v + 0 < best + 0 : v + 0 > best + 0))) best = v
          }
          ours = value[places[p], what, "sallyport"]
          printf " | %s | %s |\n", low ? "" : ratio(ours, value[places[p], what, "limit"]), ratio(ours, best)
        }
      }
    }' "$results"
}

read -r busy _ </proc/loadavg
[ "${busy%.*}" -eq 0 ] || echo "The machine is busy (load $busy): figures will be worth little." >&2
prepare
for where in $places; do
  place "$where"
  for s in "${systems[@]}"; do
    start "$s" || continue
    warm
    ! wanted udp || udp "$where"
    if ! ceiling "$s" && [ "$where" = pinned ]; then
      ! wanted streams || streams "$where"
      ! wanted flood || flood "$where"
      ! wanted memory || memory "$where"
    fi
    if [ "$s" = sallyport ] && [ "$where" = pinned ] && wanted reload; then reload "$where"; fi
    stop_servers
  done
  rate=$(half_load "$where")
  if wanted latency && [ "$where" = pinned ] && [ "$rate" -gt 0 ]; then
    for s in "${systems[@]}"; do
      ! ceiling "$s" && start "$s" || continue
      warm
      latency "$where" "$rate"
      stop_servers
    done
  fi
done
echo "$(nproc) cores, $(uname -sr), list of $names names, median of $runs runs of $secs s, audit: $audit"
tables
