# The systems that run.sh measures: a function start_NAME each, which starts the
# server in the background under $rights on $server_core, adds its pid to
# servers, and returns 1 where it is not installed. It listens on $port of
# 127.0.0.1, takes CONNECT to any port of 127.0.0.1 and plain requests with
# absolute URIs, and refuses CONNECT to the names on $list, and below them, with
# 403. Its files go into $home, and it writes no access log. small_NAME=yes: the
# list would be too long for it, and it gets $few. without_NAME lists parts that
# it cannot play, relays_NAME those that it plays as a relay of TCP, at $raw,
# which is laid out as the backend is.
# shellcheck shell=bash disable=SC2034,SC2154

# How sallyport keeps its decisions while it is measured: it counts them, and
# writes no entries, as the peers do. AUDIT='audit: {file: /dev/null}' shows
# what the entries cost.
audit=${AUDIT:-'audit: {file: /dev/null, refusals: none}'}

launch() {
  # shellcheck disable=SC2086 # commands with arguments, or nothing
  $rights $server_core "$@" >"$home/output" 2>&1 &
  servers+=($!)
}

# --- what could be ------------------------------------------------------------

without_splice="plain get refuse"
start_splice() {
  [ -x "$tools/splice" ] || return 1
  launch "$tools/splice" "$port"
}

without_relay="plain get refuse"
start_relay() { launch "$tools/relay" -listen "127.0.0.1:$port"; }

# --- sallyport ------------------------------------------------------------------

start_sallyport() {
  cp "$list" "$home/list.txt"
  cat >"$home/policy.yaml" <<Y
version: 1
organisation: {name: Example Rockets, contact: it-help@corp.example}
lists: {big: {file: list.txt}}
rules:
  - name: big
    what: {lists: [big]}
    action: block
    reason: Privacy and security concerns
    message: From today this is switched off on our network. Please move to one of the ways below.
    alternatives: [email, text, phone]
default: allow
Y
  cat >"$home/sallyport.yaml" <<Y
policy: policy.yaml
dns: {listen: ["127.0.0.1:0"], upstreams: ["udp://127.0.0.1:9"]}
proxy: {listen: ["127.0.0.1:$port"], clients: [127.0.0.0/8], deny_networks: none}
admin: {listen: "127.0.0.1:$admin"}
portal: {listen: "127.0.0.1:0"}
$audit
Y
  chmod -R a+rX "$home"
  launch "$tools/sallyport" serve --config "$home/sallyport.yaml"
}

# --- peers ------------------------------------------------------------------------

start_squid() {
  command -v squid >/dev/null || return 1
  sed 's/^/./' "$list" >"$home/list"
  cat >"$home/squid.conf" <<C
http_port 127.0.0.1:$port
pid_filename none
visible_hostname bench
cache deny all
cache_mem 8 MB
access_log none
cache_log $home/cache.log
cache_store_log none
acl refused dstdomain -n "$home/list"
http_access deny refused
http_access allow localhost
http_access deny all
max_filedescriptors $(ulimit -n)
via off
forwarded_for delete
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
coredump_dir $home
C
  chmod -R a+rwX "$home"
  launch squid -N -f "$home/squid.conf"
}

# It compares whole names, not what is below them.
relays_haproxy="connect tls tunnel idle bulk"
start_haproxy() {
  command -v haproxy >/dev/null || return 1
  {
    cat <<C
global
  nbthread 1
  maxconn $(($(ulimit -n) / 3))
defaults
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  option splice-auto
frontend http
  mode http
  bind 127.0.0.1:$port
  http-request deny if { req.hdr(host),field(1,:) -f $list }
  http-request set-uri %[path]
  default_backend page
backend page
  mode http
  server one 127.0.0.1:$((backend + 2))
C
    for place in 0 1 2 3 4; do
      printf 'listen place%s\n  mode tcp\n  bind 127.0.0.1:%s\n  server one 127.0.0.1:%s\n' "$place" $((raw + place)) $((backend + place))
    done
  } >"$home/haproxy.cfg"
  chmod -R a+rX "$home"
  launch haproxy -db -f "$home/haproxy.cfg"
}

small_tinyproxy=yes
start_tinyproxy() {
  command -v tinyproxy >/dev/null || return 1
  sed 's/\./\\./g; s/.*/(^|\\.)&$/' "$few" >"$home/filter"
  cat >"$home/tinyproxy.conf" <<C
Listen 127.0.0.1
Port $port
Timeout 600
MaxClients 20000
LogLevel Critical
LogFile "$home/log"
Filter "$home/filter"
FilterExtended On
DisableViaHeader Yes
C
  chmod -R a+rwX "$home"
  launch tinyproxy -d -c "$home/tinyproxy.conf"
}

small_privoxy=yes
start_privoxy() {
  command -v privoxy >/dev/null || return 1
  { echo '{+block{bench}}'; sed 's/^/./' "$few"; } >"$home/bench.action"
  cat >"$home/config" <<C
confdir /etc/privoxy
logdir $home
listen-address 127.0.0.1:$port
actionsfile $home/bench.action
max-client-connections 10000
listen-backlog 4096
keep-alive-timeout 60
default-server-timeout 60
socket-timeout 600
tolerate-pipelining 1
debug 0
C
  chmod -R a+rwX "$home"
  launch privoxy --no-daemon "$home/config"
}

small_3proxy=yes
start_threeproxy() {
  command -v 3proxy >/dev/null || return 1
  {
    echo 'maxconn 10000'
    echo 'auth iponly'
    echo "deny * * $(sed 's/.*/&,*.&/' "$few" | paste -sd,)"
    echo 'allow *'
    echo "proxy -i127.0.0.1 -p$port -n"
  } >"$home/3proxy.cfg"
  chmod -R a+rX "$home"
  launch 3proxy "$home/3proxy.cfg"
}

start_goproxy() { launch "$tools/goproxy" -listen "127.0.0.1:$port" -list "$list"; }
