{{/* sidecar is a container beside the controller: (list . name port args). Of each name the holder of its lease works. */}}
{{- define "rds-csi.sidecar" -}}
{{- $ := index . 0 -}}
{{- $name := index . 1 -}}
{{- $s := index $.Values.sidecars $name -}}
- name: {{ $name }}
  image: {{ $s.image | quote }}
  imagePullPolicy: {{ $.Values.sidecars.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - --v={{ $.Values.sidecars.logLevel }}
    - --timeout={{ $s.timeout }}
    - --retry-interval-max={{ $.Values.sidecars.retryIntervalMax }}
    - --kube-api-qps={{ $.Values.sidecars.kubeAPIQPS }}
    - --kube-api-burst={{ $.Values.sidecars.kubeAPIBurst }}
    - --leader-election
    - --http-endpoint=:{{ index . 2 }}
    {{- range index . 3 }}
    - {{ . }}
    {{- end }}
  ports:
    - {name: {{ $name }}, containerPort: {{ index . 2 }}}
  livenessProbe:
    httpGet: {path: /healthz/leader-election, port: {{ $name }}}
    initialDelaySeconds: 20
    periodSeconds: 20
    timeoutSeconds: 5
  {{- if eq $name "provisioner" }}
  env:
    # They name the owner of the CSIStorageCapacity objects: this pod's ReplicaSet's Deployment.
    - name: NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- end }}
  resources: {{- toYaml $.Values.sidecars.resources | nindent 4 }}
  securityContext: {{- include "rds-csi.unprivileged" . | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- end -}}

{{- define "rds-csi.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
