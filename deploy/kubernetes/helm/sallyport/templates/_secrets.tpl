{{/*
The Secrets that a component's pods need, as JSON: the value's name, the folder
under /etc/sallyport/secrets, the Secret. A pod gets none that its doors do not use.

Called with (list . component).
*/}}
{{- define "sallyport.secrets" -}}
{{- $root := index . 0 -}}
{{- $s := $root.Values.secrets -}}
{{- $wanted := list (list "pseudonyms" $s.pseudonyms) -}}
{{- if include "sallyport.hasDNS" . -}}
{{- $wanted = concat $wanted (list (list "cookies" $s.cookies) (list "device-key" $s.deviceKey) (list "dns-tls" $s.dnsTLS)) -}}
{{- end -}}
{{- if include "sallyport.hasProxy" . -}}
{{- $wanted = concat $wanted (list (list "users" $s.users) (list "proxy-tls" $s.proxyTLS) (list "interception" $s.interception)) -}}
{{- end -}}
{{- if include "sallyport.hasPortal" . -}}
{{- $wanted = append $wanted (list "coaching" $s.coaching) -}}
{{- end -}}
{{- $secrets := list -}}
{{- range $wanted -}}
{{- if index . 1 -}}
{{- $secrets = append $secrets (dict "folder" (index . 0) "secret" (index . 1)) -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}
