#!/bin/sh
# Asks the gateway as an office does: mostly for what is allowed, now and then
# for what is not, at both doors. Needs busybox and nothing else.
#
#   employee.sh GATEWAY
set -u
gateway=$1

# An upstream that cannot be reached is as much to see as one that answers.
look_up() {
  nslookup "$1" "$gateway:1053" >/dev/null 2>&1
}

fetch() {
  http_proxy="http://$gateway:3128" timeout 5 wget -q -O /dev/null "http://$1/" 2>/dev/null
}

# A container's first process gets no signal that it does not ask for.
trap 'exit 0' TERM INT

round=0
while :; do
  for name in example.com www.iana.org teams.microsoft.com www.webex.com; do
    look_up "$name"
    fetch "$name"
  done
  case $((round % 3)) in
    0) look_up us04web.zoom.us; fetch zoom.us ;;
    1) look_up meet.google.com; fetch www.gotomeeting.com ;;
    2) look_up web.whatsapp.com; look_up cloudflare-dns.com; fetch discord.com ;;
  esac
  round=$((round + 1))
  # In the background, so that a signal need not wait for its end.
  sleep 2 &
  wait $!
done
