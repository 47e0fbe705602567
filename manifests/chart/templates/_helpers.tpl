{{/* fullname is the prefix of all names: the release's, with the chart's where that does not say it. */}}
{{- define "rds-csi.fullname" -}}
{{- if contains "rds-csi-driver" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-rds-csi-driver" (.Release.Name | trunc 25 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* selector finds the pods of a component: (list . "controller"). Monitors, rules and dashboards rely on name and component. */}}
{{- define "rds-csi.selector" -}}
app.kubernetes.io/name: rds-csi-driver
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* labels are those of an object of a component. */}}
{{- define "rds-csi.labels" -}}
{{ include "rds-csi.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* nodeSelector is of a role's own, on Linux. */}}
{{- define "rds-csi.nodeSelector" -}}
{{ merge (deepCopy .nodeSelector) (dict "kubernetes.io/os" "linux") | toYaml }}
{{- end -}}

{{- define "rds-csi.image" -}}
{{- $digest := .Values.image.digest | empty | ternary "" (printf "@%s" .Values.image.digest) -}}
{{ printf "%s:%s%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) $digest | quote }}
{{- end -}}

{{/* common are the driver's flags for both roles: (list . port). */}}
{{- define "rds-csi.commonArgs" -}}
{{- $ := index . 0 -}}
- --endpoint=unix:///csi/csi.sock
- {{ printf "--driver-name=%s" $.Values.driver.name | quote }}
- {{ printf "--array-name=%s" $.Values.array.name | quote }}
{{- with $.Values.driver.clusterID }}
- {{ printf "--cluster-id=%s" . | quote }}
{{- end }}
- --log-level={{ $.Values.driver.logLevel }}
- --log-format={{ $.Values.driver.logFormat }}
- --metrics-address=:{{ index . 1 }}
{{- if $.Values.metrics.tlsSecretName }}
- --metrics-tls-cert=/etc/rds-csi/tls/tls.crt
- --metrics-tls-key=/etc/rds-csi/tls/tls.key
{{- end }}
{{- end -}}

{{/* env is the environment of the driver in both roles. */}}
{{- define "rds-csi.env" -}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
{{- with .Values.telemetry }}
{{- if .otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .otlpEndpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .otlpProtocol }}
- name: OTEL_TRACES_EXPORTER
  value: {{ ternary "otlp" "none" .traces }}
- name: OTEL_METRICS_EXPORTER
  value: {{ ternary "otlp" "none" .metrics }}
- name: OTEL_LOGS_EXPORTER
  value: {{ ternary "otlp" "none" .logs }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplingRatio | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)
{{- with .headersSecretName }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: headers}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* probes: /livez is of the process only, so an array that is away restarts nothing; /readyz tells of the array. */}}
{{- define "rds-csi.probes" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (ne .Values.metrics.tlsSecretName "") -}}
livenessProbe:
  httpGet: {path: /livez, port: metrics, scheme: {{ $scheme }}}
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}
