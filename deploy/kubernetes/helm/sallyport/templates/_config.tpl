{{/*
sallyport.yaml of a component's pods: `config`, and over it what the chart decides.
Called with (list . component).
*/}}
{{- define "sallyport.config" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $own := dict
  "policy" "/etc/sallyport/policy"
  "state" "/var/lib/sallyport/state"
  "admin" (dict "listen" ":9180")
  "dns" (include "sallyport.configDNS" . | fromJson)
  "proxy" (include "sallyport.configProxy" . | fromJson)
  "portal" (include "sallyport.configPortal" . | fromJson) -}}
{{- if and $v.secrets.coaching (include "sallyport.hasPortal" .) -}}
{{- $_ := set $own "coaching" (dict "key" "/etc/sallyport/secrets/coaching/key") -}}
{{- end -}}
{{- if $v.secrets.pseudonyms -}}
{{- $_ := set $own "audit" (dict "pseudonyms" (dict "key" "/etc/sallyport/secrets/pseudonyms/key")) -}}
{{- end -}}
{{- $given := deepCopy $v.config -}}
{{- /* What clients are told of encrypted listeners, where there can be some. */ -}}
{{- if and (not (include "sallyport.hasDNS" .)) (hasKey $given "dns") -}}
{{- $_ := set $given "dns" (omit $given.dns "designated") -}}
{{- end -}}
{{- mustMergeOverwrite $given $own | toYaml -}}
{{- end -}}

{{- define "sallyport.configDNS" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $own := dict "listen" (list "127.0.0.1:0") -}}
{{- if include "sallyport.hasDNS" . -}}
{{- $on := $v.dns.listeners -}}
{{- $_ := set $own "listen" (list ":1053") -}}
{{- $pair := dict "certificate" "/etc/sallyport/secrets/dns-tls/tls.crt" "key" "/etc/sallyport/secrets/dns-tls/tls.key" -}}
{{- if and (or $on.tls $on.https $on.quic) (not $v.secrets.dnsTLS) -}}
{{- fail "dns.listeners.tls, https and quic need a certificate: name its Secret in secrets.dnsTLS" -}}
{{- end -}}
{{- if and $on.http3 (not $on.https) -}}
{{- fail "dns.listeners.http3 is DNS over HTTPS by another road: set dns.listeners.https too" -}}
{{- end -}}
{{- if $on.tls -}}
{{- $_ := set $own "tls" (merge (dict "listen" (list ":8853")) $pair) -}}
{{- end -}}
{{- if $on.quic -}}
{{- $_ := set $own "quic" (merge (dict "listen" (list ":8853")) $pair) -}}
{{- end -}}
{{- if $on.https -}}
{{- $https := merge (dict "listen" (list ":8443") "http3" $on.http3) $pair -}}
{{- if $v.secrets.deviceKey -}}
{{- $_ := set $https "device_key" "/etc/sallyport/secrets/device-key/device.key" -}}
{{- end -}}
{{- $_ := set $own "https" $https -}}
{{- end -}}
{{- if $v.secrets.cookies -}}
{{- $_ := set $own "cookies" (dict "secret" "/etc/sallyport/secrets/cookies/secret") -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{- define "sallyport.configProxy" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $own := dict "listen" (list "127.0.0.1:0") -}}
{{- if include "sallyport.hasProxy" . -}}
{{- $_ := set $own "listen" (list ":3128") -}}
{{- $_ := set $own "drain" (printf "%ds" (int $v.proxy.drainSeconds)) -}}
{{- with $v.proxy.advertise -}}
{{- $_ := set $own "advertise" . -}}
{{- end -}}
{{- if $v.proxy.listeners.socks -}}
{{- $_ := set $own "socks" (dict "listen" (list ":1080")) -}}
{{- end -}}
{{- if $v.proxy.listeners.tls -}}
{{- if not $v.secrets.proxyTLS -}}
{{- fail "proxy.listeners.tls needs a certificate: name its Secret in secrets.proxyTLS" -}}
{{- end -}}
{{- $_ := set $own "tls" (dict "listen" (list ":3130")
  "certificate" "/etc/sallyport/secrets/proxy-tls/tls.crt" "key" "/etc/sallyport/secrets/proxy-tls/tls.key") -}}
{{- end -}}
{{- if $v.secrets.users -}}
{{- $_ := set $own "users" "/etc/sallyport/secrets/users/users.htpasswd" -}}
{{- end -}}
{{- if $v.secrets.interception -}}
{{- $_ := set $own "interception" (dict
  "ca" "/etc/sallyport/secrets/interception/tls.crt" "key" "/etc/sallyport/secrets/interception/tls.key") -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{- define "sallyport.configPortal" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $own := dict "listen" "" -}}
{{- if include "sallyport.hasPortal" . -}}
{{- $_ := set $own "listen" ":8080" -}}
{{- end -}}
{{- with $v.portal.url -}}{{- $_ := set $own "url" . -}}{{- end -}}
{{- with $v.portal.hosts -}}{{- $_ := set $own "hosts" . -}}{{- end -}}
{{- with $v.portal.addresses -}}{{- $_ := set $own "addresses" . -}}{{- end -}}
{{- with $v.portal.pac -}}{{- $_ := set $own "pac" . -}}{{- end -}}
{{- if and $v.dns.portal (not $v.portal.addresses) -}}
{{- fail "dns.portal needs portal.addresses: the addresses of the load balancer, since a pod's own leads nobody to it" -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}
