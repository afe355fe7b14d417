{{/*
What the Services of both doors share; called with (list . values-of-the-service).
*/}}
{{- define "sallyport.serviceSpec" -}}
{{- $s := index . 1 -}}
type: {{ $s.type }}
{{- if ne $s.type "ClusterIP" }}
externalTrafficPolicy: {{ $s.externalTrafficPolicy }}
{{- end }}
internalTrafficPolicy: {{ $s.internalTrafficPolicy }}
{{- with $s.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- if eq $s.type "LoadBalancer" }}
{{- with $s.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with $s.loadBalancerSourceRanges }}
loadBalancerSourceRanges:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Ports of a Service, from the JSON of _doors.tpl. */}}
{{- define "sallyport.servicePorts" -}}
{{- range . }}
- name: {{ .name }}
  port: {{ .service }}
  targetPort: {{ .name }}
  protocol: {{ .protocol }}
{{- end }}
{{- end -}}
