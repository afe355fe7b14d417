{{/*
The pod template of a component; called with (list . component).
*/}}
{{- define "sallyport.podTemplate" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $v := $root.Values -}}
{{- $own := index $v $component -}}
{{- $drain := ternary (int $v.proxy.drainSeconds) 10 (eq $component "proxy") -}}
metadata:
  labels:
    {{- include "sallyport.labels" . | nindent 4 }}
    {{- with $own.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # sallyport.yaml is read at the start only; the policy needs no such line.
    checksum/config: {{ include "sallyport.config" . | sha256sum }}
    {{- with $own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "sallyport.serviceAccount" $root }}
  # The gateway asks the cluster nothing.
  automountServiceAccountToken: false
  enableServiceLinks: false
  dnsPolicy: {{ $v.dnsPolicy }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  # To serve on while nodes and load balancers learn of it, to drain, to end.
  terminationGracePeriodSeconds: {{ add $own.preStopSeconds $drain 15 }}
  securityContext:
    {{- toYaml $v.podSecurityContext | nindent 4 }}
  containers:
    - name: sallyport
      image: {{ include "sallyport.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args: [serve, --config, /etc/sallyport/config/sallyport.yaml]
      {{- with include "sallyport.goMemLimit" $own.resources }}
      env:
        # Nine tenths of the limit: the collector works harder before the kernel
        # ends the process. The rest is for what is not Go's, such as sockets.
        - {name: GOMEMLIMIT, value: {{ . }}}
      {{- end }}
      ports:
        {{- range include "sallyport.clientPorts" . | fromJsonArray }}
        - name: {{ .name }}
          containerPort: {{ .container }}
          protocol: {{ .protocol }}
          {{- if and (hasPrefix "dns-" .name) (eq .service 53.0) (eq $component "dns") $v.dns.hostPort }}
          hostPort: {{ $v.dns.hostPort }}
          {{- end }}
        {{- end }}
        - name: admin
          containerPort: 9180
          protocol: TCP
      # A first start may have lists to fetch by URL, and listens only then.
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 5
        failureThreshold: 180
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      # 503 from the first moment of a stop. A policy edit that did not load
      # leaves the pod ready: the last good one decides.
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if gt (int $own.preStopSeconds) 0 }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ $own.preStopSeconds }}}
      {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      securityContext:
        {{- toYaml $v.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/sallyport/config, readOnly: true}
        # A folder, not a subPath: that would never hear of an edit.
        - {name: policy, mountPath: /etc/sallyport/policy, readOnly: true}
        - {name: state, mountPath: /var/lib/sallyport}
        {{- range include "sallyport.secrets" . | fromJsonArray }}
        - {name: secret-{{ .folder }}, mountPath: /etc/sallyport/secrets/{{ .folder }}, readOnly: true}
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "sallyport.fullname" $root }}-{{ $component }}}
    - name: policy
      configMap: {name: {{ include "sallyport.policyConfigMap" $root }}}
    - name: state
      {{- toYaml (get $own "state" | default (dict "emptyDir" (dict "sizeLimit" "1Gi"))) | nindent 6 }}
    {{- range include "sallyport.secrets" . | fromJsonArray }}
    - name: secret-{{ .folder }}
      # fsGroup makes it 0440, of that group, and root's.
      secret: {secretName: {{ .secret }}, defaultMode: 0400}
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and $own.topologySpread (ne (include "sallyport.kind" .) "DaemonSet") }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "sallyport.selector" (list $root $component) | nindent 10 }}
      # Each generation is spread by itself, or a rollout would upset it.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Deployment or DaemonSet; called with (list . component). */}}
{{- define "sallyport.kind" -}}
{{- $root := index . 0 -}}
{{- if and (eq (index . 1) "dns") (eq $root.Values.dns.workload "DaemonSet") -}}DaemonSet{{- else -}}Deployment{{- end -}}
{{- end -}}

{{/* Nine tenths of a memory limit in Mi or Gi, as Go reads it; empty for others. */}}
{{- define "sallyport.goMemLimit" -}}
{{- $limit := toString (dig "limits" "memory" "" .) -}}
{{- if regexMatch "^[1-9][0-9]*Gi$" $limit -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Gi" $limit | atoi) 1024 9) 10) -}}
{{- else if regexMatch "^[1-9][0-9]*Mi$" $limit -}}
{{- printf "%dMiB" (div (mul (trimSuffix "Mi" $limit | atoi) 9) 10) -}}
{{- end -}}
{{- end -}}
