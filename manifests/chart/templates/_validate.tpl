{{/* validate fails with a sentence where values.schema.json cannot say what is wrong in words. */}}
{{- define "rds-csi.validate" -}}
{{- $a := .Values.array -}}
{{- if not $a.address -}}
{{- fail "array.address is missing: give the host name or IP address of the array's SSH service (--set array.address=ADDRESS)" -}}
{{- end -}}
{{- $isIP := or (regexMatch "^[0-9.]+$" $a.address) (regexMatch "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$" $a.address) -}}
{{- if and (not $isIP) (not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$" $a.address)) -}}
{{- fail (printf "array.address %q: give a host name or an IP address alone; the port goes to array.port" $a.address) -}}
{{- end -}}
{{- if and (not $isIP) (not $a.nvmeAddresses) -}}
{{- fail (printf "array.nvmeAddresses is missing: array.address %q is a host name, and the nodes' kernels resolve none; give the array's IP addresses for NVMe/TCP" $a.address) -}}
{{- end -}}
{{- range $a.nvmeAddresses -}}
{{- if not (or (regexMatch "^[0-9]+(\\.[0-9]+){3}$" .) (regexMatch "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$" .)) -}}
{{- fail (printf "array.nvmeAddresses: %q is no IP address; the nodes' kernels resolve no names" .) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$" $a.name) -}}
{{- fail (printf "array.name %q: use at most 32 letters, digits, dots, hyphens and underscores, a letter or digit first and last" $a.name) -}}
{{- end -}}
{{- if not $a.secretName -}}
{{- fail "array.secretName is missing: name the Secret with the array's ssh-key and host-key" -}}
{{- end -}}
{{- if not $a.pool -}}
{{- fail "array.pool is missing: give the mount point of the pool for new volumes, as /disk/print shows it" -}}
{{- end -}}
{{- with .Values.driver.clusterID -}}
{{- if not (regexMatch "^[A-Za-z0-9.-]{1,63}$" .) -}}
{{- fail (printf "driver.clusterID %q: use at most 63 letters, digits, dots and hyphens" .) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$" .Values.driver.name) -}}
{{- fail (printf "driver.name %q: use a domain name of at most 63 lower case characters, such as rds.csi.srvlab.io" .Values.driver.name) -}}
{{- end -}}
{{- range $name, $dir := dict "node.kubeletDir" .Values.node.kubeletDir "dev.loopDir" (.Values.dev.loopDir | default "/") -}}
{{- if or (not (hasPrefix "/" $dir)) (and (ne $dir "/") (hasSuffix "/" $dir)) -}}
{{- fail (printf "%s %q: use an absolute path without a slash at its end" $name $dir) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.node.kubeletDir "/" -}}
{{- fail "node.kubeletDir \"/\": give the kubelet's own directory, such as /var/lib/kubelet; the plugin would get the whole host" -}}
{{- end -}}
{{- if regexMatch "^0+%?$" (toString .Values.node.maxUnavailable) -}}
{{- fail (printf "node.maxUnavailable %v: give 1 or more, or a share such as 10%%; with none away no plugin could ever be replaced" .Values.node.maxUnavailable) -}}
{{- end -}}
{{- $socket := printf "%s/plugins/%s/csi.sock" .Values.node.kubeletDir .Values.driver.name -}}
{{- if gt (len $socket) 107 -}}
{{- fail (printf "node.kubeletDir %q: the socket's path %s has %d bytes, and a unix socket's has 107 at most" .Values.node.kubeletDir $socket (len $socket)) -}}
{{- end -}}
{{- with .Values.telemetry.otlpEndpoint -}}
{{- if not (regexMatch "^(https?|unix)://." .) -}}
{{- fail (printf "telemetry.otlpEndpoint %q: give a URL, such as http://collector.observability:4317" .) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" .Values.image.digest) -}}
{{- fail (printf "image.digest %q: give sha256: and 64 hexadecimal digits, or nothing" .Values.image.digest) -}}
{{- end -}}
{{- include "rds-csi.validateRunning" . -}}
{{- include "rds-csi.validateClasses" . -}}
{{- end -}}

{{/* validateRunning is about how the pods run. */}}
{{- define "rds-csi.validateRunning" -}}
{{- if has (int .Values.controller.metricsPort) (list 9810 9811 9812) -}}
{{- fail (printf "controller.metricsPort %v: the sidecars have 9810, 9811 and 9812 in the same pod" .Values.controller.metricsPort) -}}
{{- end -}}
{{- range $role := list "controller" "node" -}}
{{- range (index $.Values $role).extraArgs -}}
{{- if not (hasPrefix "--" .) -}}
{{- fail (printf "%s.extraArgs: %q is no flag; give each as --name=value" $role .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $sidecar := .Values.sidecars -}}
{{- if kindIs "map" $sidecar -}}
{{- with $sidecar.image -}}
{{- if not (regexMatch "^[^ ]+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$" .) -}}
{{- fail (printf "sidecars.%s.image %q: pin it with a tag or a digest" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.sidecars -}}
{{- range $name, $value := dict "retryIntervalMax" .retryIntervalMax "provisioner.timeout" .provisioner.timeout "attacher.timeout" .attacher.timeout
      "resizer.timeout" .resizer.timeout "provisioner.capacityPollInterval" .provisioner.capacityPollInterval "attacher.reconcileSync" .attacher.reconcileSync -}}
{{- include "rds-csi.validateDuration" (list (printf "sidecars.%s" $name) $value) -}}
{{- end -}}
{{- end -}}
{{- include "rds-csi.validateDuration" (list "monitoring.interval" .Values.monitoring.interval) -}}
{{- end -}}

{{/* validateDuration wants more than no time: (list name value). A time-out of 0 ends each call before it begins. */}}
{{- define "rds-csi.validateDuration" -}}
{{- $value := index . 1 | default "" -}}
{{- if not (and (regexMatch "^([0-9]+(h|m|s))+$" $value) (regexMatch "[1-9]" $value)) -}}
{{- fail (printf "%s %q: give a duration, such as 60s or 1m" (index . 0) $value) -}}
{{- end -}}
{{- end -}}

{{- define "rds-csi.validateClasses" -}}
{{- $defaults := list -}}
{{- $names := list -}}
{{- range .Values.storageClasses -}}
{{- if has .name $names -}}
{{- fail (printf "storageClasses: the name %q is given twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if .default -}}{{- $defaults = append $defaults .name -}}{{- end -}}
{{- end -}}
{{- if gt (len $defaults) 1 -}}
{{- fail (printf "storageClasses: %s are all the default; a cluster has one" (join " and " $defaults)) -}}
{{- end -}}
{{- end -}}
