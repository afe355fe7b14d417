{{/* Names and labels. */}}

{{- define "sallyport.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: "-dashboard-…" and the controllers' suffixes come behind it. */}}
{{- define "sallyport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "sallyport.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sallyport.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sallyport.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sallyport.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sallyport.policyConfigMap" -}}
{{- default (printf "%s-policy" (include "sallyport.fullname" .)) .Values.policy.existingConfigMap -}}
{{- end -}}

{{/* Labels of an object; called with (list . component). */}}
{{- define "sallyport.labels" -}}
{{- $root := index . 0 -}}
{{ include "sallyport.selector" . }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: sallyport
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What selects the pods of a component; called with (list . component). It can
never change for a Deployment or DaemonSet that is there. */}}
{{- define "sallyport.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "sallyport.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "sallyport.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- with .Values.image.digest -}}
{{ printf "%s:%s@%s" $.Values.image.repository $tag . }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository $tag }}
{{- end -}}
{{- end -}}

{{/* The component whose pods have the DNS door. */}}
{{- define "sallyport.dnsComponent" -}}
{{- if eq .Values.dns.workload "Proxy" -}}proxy{{- else -}}dns{{- end -}}
{{- end -}}
