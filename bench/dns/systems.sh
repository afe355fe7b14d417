# The systems that run.sh measures: a function start_NAME each, which starts
# the server in the background under $pin with $threads threads, adds its pids
# to servers, and returns 1 where it is not installed. It listens on $port (UDP
# and TCP), asks $upstream, caches, and answers names on $list and below them
# with NXDOMAIN. Its files go into $home. streams_NAME says what else it
# serves: DoT is on $dot, DoH on $doh, with $certificate and $key.
# shellcheck shell=bash disable=SC2034,SC2154

# How sallyport keeps its decisions while it is measured: it counts them, and
# writes no entries, as the peers do. AUDIT='audit: {file: /dev/null}' shows
# what the entries cost.
audit=${AUDIT:-'audit: {file: /dev/null, refusals: none}'}
# ENCRYPTED=no measures a sallyport without DoT and DoH.
encrypted=${ENCRYPTED:-yes}

launch() {
  # shellcheck disable=SC2086 # pin is a command with arguments, or nothing
  $pin "$@" >"$home/output" 2>&1 &
  servers+=($!)
}

# --- ceilings: no names, no upstream ----------------------------------------

start_limit() { launch "$tools/limit" "$port" "$threads"; }
start_echo() { launch "$tools/echo" "127.0.0.1:$port"; }

# --- sallyport ---------------------------------------------------------------

streams_sallyport="tcp dot doh"
start_sallyport() {
  ln -sf "$list" "$home/list.txt"
  sallyport_policy 0
  {
    echo "policy: policy.yaml"
    echo "dns:"
    echo "  listen: [\"127.0.0.1:$port\"]"
    echo "  upstreams: [\"udp://127.0.0.1:$upstream\"]"
    echo "  block: {answer: nxdomain}"
    if [ "$encrypted" = yes ]; then
      echo "  tls: {listen: [\"127.0.0.1:$dot\"], certificate: $certificate, key: $key}"
      echo "  https: {listen: [\"127.0.0.1:$doh\"], certificate: $certificate, key: $key}"
    fi
    echo "proxy: {listen: [\"127.0.0.1:0\"]}"
    echo "admin: {listen: \"127.0.0.1:$admin\"}"
    echo "portal: {listen: \"127.0.0.1:0\"}"
    echo "$audit"
  } >"$home/sallyport.yaml"
  launch bin/sallyport serve --config "$home/sallyport.yaml"
}

# sallyport_policy N writes the policy with a rule that N names, as an editor
# does: whole, and then renamed.
sallyport_policy() {
  cat >"$home/policy.yaml.new" <<Y
version: 1
lists: {big: {file: list.txt}}
rules:
  - {name: big, what: {lists: [big]}, action: block}
  - {name: edited, what: {domains: [edited-$1.example]}, action: block}
default: allow
Y
  mv "$home/policy.yaml.new" "$home/policy.yaml"
}

# --- peers, from Debian --------------------------------------------------------

streams_unbound="tcp dot doh"
start_unbound() {
  command -v unbound >/dev/null || return 1
  awk '{print "local-zone: \"" $1 ".\" always_nxdomain"}' "$list" >"$home/list.conf"
  cat >"$home/unbound.conf" <<C
server:
  interface: 127.0.0.1@$port
  interface: 127.0.0.1@$dot
  interface: 127.0.0.1@$doh
  tls-port: $dot
  https-port: $doh
  tls-service-pem: "$certificate"
  tls-service-key: "$key"
  username: ""
  chroot: ""
  directory: "$home"
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  num-threads: $threads
  so-reuseport: yes
  so-rcvbuf: 4m
  msg-cache-size: 256m
  rrset-cache-size: 256m
  outgoing-range: 4096
  num-queries-per-thread: 4096
  incoming-num-tcp: 1000
  minimal-responses: yes
  include: "$home/list.conf"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@$upstream
remote-control:
  control-enable: no
C
  launch unbound -d -c "$home/unbound.conf"
}

streams_dnsdist="tcp dot doh"
start_dnsdist() {
  command -v dnsdist >/dev/null || return 1
  {
    echo "setLocal('127.0.0.1:$port', {reusePort=true})"
    for _ in $(seq 2 "$threads"); do echo "addLocal('127.0.0.1:$port', {reusePort=true})"; done
    cat <<L
addTLSLocal('127.0.0.1:$dot', '$certificate', '$key')
addDOHLocal('127.0.0.1:$doh', '$certificate', '$key', '/dns-query')
setACL({'127.0.0.0/8'})
newServer({address='127.0.0.1:$upstream', checkName='health.example.'})
getPool(''):setCache(newPacketCache(2000000, {maxTTL=86400, numberOfShards=20}))
setMaxUDPOutstanding(65535)
blocked = newSuffixMatchNode()
for name in io.lines('$list') do blocked:add(name) end
addAction(SuffixMatchNodeRule(blocked, true), RCodeAction(DNSRCode.NXDOMAIN))
L
  } >"$home/dnsdist.conf"
  launch dnsdist --supervised --disable-syslog -C "$home/dnsdist.conf"
}

streams_dnsmasq="tcp"
start_dnsmasq() {
  command -v dnsmasq >/dev/null || return 1
  awk '{print "local=/" $1 "/"}' "$list" >"$home/list.conf"
  launch dnsmasq -k -C "$home/list.conf" --port="$port" --listen-address=127.0.0.1 --bind-interfaces \
    --no-resolv --no-hosts --server="127.0.0.1#$upstream" --cache-size=100000 --dns-forward-max=10000 \
    --user="$(id -un)" --pid-file="$home/pid"
}

# The list as a response policy zone, for those who read one.
zone() {
  printf '$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n@ NS localhost.\n'
  awk '{print $1 " CNAME ."; print "*." $1 " CNAME ."}' "$list"
}

streams_bind9="tcp dot doh"
start_bind9() {
  command -v named >/dev/null || return 1
  zone >"$home/list.zone"
  cat >"$home/named.conf" <<C
tls bench { cert-file "$certificate"; key-file "$key"; };
options {
  directory "$home";
  pid-file none;
  session-keyfile "$home/session.key";
  listen-on port $port { 127.0.0.1; };
  listen-on port $dot tls bench { 127.0.0.1; };
  listen-on port $doh tls bench http default { 127.0.0.1; };
  listen-on-v6 { none; };
  forwarders { 127.0.0.1 port $upstream; };
  forward only;
  recursion yes;
  recursive-clients 50000;
  tcp-clients 1000;
  dnssec-validation no;
  max-cache-size 1g;
  minimal-responses yes;
  querylog no;
  response-policy { zone "list"; } qname-wait-recurse no;
};
zone "list" { type primary; file "$home/list.zone"; };
controls { };
C
  launch named -g -n "$threads" -c "$home/named.conf"
}

streams_knot_resolver="tcp dot doh"
start_knot_resolver() {
  command -v kresd >/dev/null || return 1
  zone >"$home/list.zone"
  mkdir "$home/cache"
  cat >"$home/kresd.conf" <<L
net.listen('127.0.0.1', $port, { kind = 'dns' })
net.listen('127.0.0.1', $dot, { kind = 'tls' })
net.listen('127.0.0.1', $doh, { kind = 'doh2' })
net.tls('$certificate', '$key')
cache.open(1000 * MB, 'lmdb://$home/cache')
modules.unload('ta_update') modules.unload('ta_signal_query') modules.unload('priming')
modules.unload('detect_time_skew') modules.unload('detect_time_jump')
trust_anchors.remove('.')
policy.add(policy.rpz(policy.DENY, '$home/list.zone', false))
policy.add(policy.all(policy.STUB('127.0.0.1@$upstream')))
L
  for _ in $(seq "$threads"); do launch kresd -n -c "$home/kresd.conf" "$home"; done
}

streams_recursor="tcp"
start_recursor() {
  command -v pdns_recursor >/dev/null || return 1
  zone >"$home/list.zone"
  mkdir "$home/etc"
  : >"$home/etc/recursor.conf"
  echo "rpzFile('$home/list.zone', {policyName='list', zoneSizeHint=2000000})" >"$home/list.lua"
  launch pdns_recursor --config-dir="$home/etc" --socket-dir="$home" --local-address=127.0.0.1 --local-port="$port" \
    --forward-zones-recurse=".=127.0.0.1:$upstream" --dont-query= --dnssec=off --security-poll-suffix= \
    --threads="$threads" --distributor-threads=0 --pdns-distributes-queries=no --reuseport=yes \
    --lua-config-file="$home/list.lua" --max-cache-entries=2000000 --max-packetcache-entries=1000000 \
    --max-mthreads=4096 --daemon=no --disable-syslog --quiet --loglevel=3
}
