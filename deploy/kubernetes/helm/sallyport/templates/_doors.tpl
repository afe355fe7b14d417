{{/*
Which doors a component's pods have. One binary has both doors, and neither can
be left out; where clients are not to come in by one, it listens on the pod's own
loopback, on a port of the kernel's choice. The proxy door looks names up by the
DNS door's code in the same process, so it is not idle.

Called with (list . component); "true" or empty.
*/}}
{{- define "sallyport.hasProxy" -}}
{{- if eq (index . 1) "proxy" -}}true{{- end -}}
{{- end -}}

{{- define "sallyport.hasDNS" -}}
{{- $root := index . 0 -}}
{{- if and $root.Values.dns.enabled (eq (index . 1) (include "sallyport.dnsComponent" $root)) -}}true{{- end -}}
{{- end -}}

{{- define "sallyport.hasPortal" -}}
{{- $root := index . 0 -}}
{{- if eq (index . 1) "proxy" -}}
{{- if $root.Values.portal.enabled -}}true{{- end -}}
{{- else if $root.Values.dns.portal -}}true{{- end -}}
{{- end -}}

{{/*
The ports by which clients come in, as JSON: name, port of the pod, port of the
Service, protocol. Ports of the pod are above 1023, so that no capability is needed.
*/}}
{{- define "sallyport.proxyPorts" -}}
{{- $root := index . 0 -}}
{{- $ports := list (dict "name" "proxy" "container" 3128 "service" $root.Values.proxy.service.port "protocol" "TCP") -}}
{{- if $root.Values.proxy.listeners.socks -}}
{{- $ports = append $ports (dict "name" "socks" "container" 1080 "service" 1080 "protocol" "TCP") -}}
{{- end -}}
{{- if $root.Values.proxy.listeners.tls -}}
{{- $ports = append $ports (dict "name" "proxy-tls" "container" 3130 "service" 3130 "protocol" "TCP") -}}
{{- end -}}
{{- if $root.Values.portal.enabled -}}
{{- $ports = append $ports (dict "name" "portal" "container" 8080 "service" 80 "protocol" "TCP") -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{- define "sallyport.dnsPorts" -}}
{{- $root := index . 0 -}}
{{- $on := $root.Values.dns.listeners -}}
{{- $ports := list
  (dict "name" "dns-udp" "container" 1053 "service" 53 "protocol" "UDP")
  (dict "name" "dns-tcp" "container" 1053 "service" 53 "protocol" "TCP") -}}
{{- if $on.tls -}}
{{- $ports = append $ports (dict "name" "dns-tls" "container" 8853 "service" 853 "protocol" "TCP") -}}
{{- end -}}
{{- if $on.https -}}
{{- $ports = append $ports (dict "name" "dns-https" "container" 8443 "service" 443 "protocol" "TCP") -}}
{{- end -}}
{{- if $on.http3 -}}
{{- $ports = append $ports (dict "name" "dns-http3" "container" 8443 "service" 443 "protocol" "UDP") -}}
{{- end -}}
{{- if $on.quic -}}
{{- $ports = append $ports (dict "name" "dns-quic" "container" 8853 "service" 853 "protocol" "UDP") -}}
{{- end -}}
{{- if and $root.Values.dns.portal (ne $root.Values.dns.workload "Proxy") -}}
{{- $ports = append $ports (dict "name" "portal" "container" 8080 "service" 80 "protocol" "TCP") -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Every port of a component's pods by which clients come in, as JSON. */}}
{{- define "sallyport.clientPorts" -}}
{{- $ports := list -}}
{{- if include "sallyport.hasProxy" . -}}
{{- $ports = concat $ports (include "sallyport.proxyPorts" . | fromJsonArray) -}}
{{- end -}}
{{- if include "sallyport.hasDNS" . -}}
{{- $ports = concat $ports (include "sallyport.dnsPorts" . | fromJsonArray) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Whether a component has pods of its own; called with (list . component). */}}
{{- define "sallyport.runs" -}}
{{- $v := (index . 0).Values -}}
{{- if and $v.dns.enabled (eq $v.dns.workload "Proxy") (not $v.proxy.enabled) -}}
{{- fail "dns.workload Proxy puts the DNS door into the proxy's pods: set proxy.enabled, or another workload" -}}
{{- end -}}
{{- if not (or $v.proxy.enabled $v.dns.enabled) -}}
{{- fail "neither door is enabled: set proxy.enabled or dns.enabled" -}}
{{- end -}}
{{- if eq (index . 1) "proxy" -}}
{{- if $v.proxy.enabled -}}true{{- end -}}
{{- else if and $v.dns.enabled (ne $v.dns.workload "Proxy") -}}true{{- end -}}
{{- end -}}
