{{- define "tokensvc.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 45 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tokensvc.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tokensvc.labels" -}}
{{ include "tokensvc.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Those of whoever serves, and not of the job that migrates. */}}
{{- define "tokensvc.serving" -}}
{{ include "tokensvc.selector" . }}
app.kubernetes.io/component: service
{{- end }}

{{- define "tokensvc.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "tokensvc.account" -}}
{{ .Values.serviceAccount.existing | default (include "tokensvc.name" .) }}
{{- end }}

{{/* The file that the service is configured by. */}}
{{- define "tokensvc.config" -}}
{{ toYaml (merge (dict "listen" ":8080" "ops_listen" ":9090") (deepCopy .Values.config)) }}
{{- end }}

{{- define "tokensvc.data" -}}
tokensvc.yaml: |
  {{- include "tokensvc.config" . | nindent 2 }}
{{- range $name, $text := .Values.files }}
{{ $name | quote }}: {{ $text | quote }}
{{- end }}
{{- end }}

{{/*
A hash of what is read only at the start, which replaces the pods when it changes.
Rules are followed while the service runs, and files too, so neither is in it; that
an issuer has rules at all is.
*/}}
{{- define "tokensvc.restarts" -}}
{{- $config := deepCopy .Values.config }}
{{- range $config.issuers }}
{{- if hasKey . "require" }}{{ $_ := set . "require" "followed" }}{{ end }}
{{- if hasKey . "mode" }}{{ $_ := unset . "mode" }}{{ end }}
{{- end }}
{{- with $config.admin }}
{{- if hasKey . "require" }}{{ $_ := set . "require" "followed" }}{{ end }}
{{- end }}
{{- toJson $config | sha256sum }}
{{- end }}

{{- define "tokensvc.secret" -}}
{{ .Values.secrets.existing | default (include "tokensvc.name" .) }}
{{- end }}

{{/* How long all of a pod's end takes: the rest is for what is written at the very end. */}}
{{- define "tokensvc.grace" -}}
{{- $limits := .Values.config.limits }}
{{- add (int .Values.preStopSeconds) (trimSuffix "s" $limits.drain_delay | int) (trimSuffix "s" $limits.drain_timeout | int) 10 }}
{{- end }}

{{/* Kept away from whatever a service needs not: root, capabilities, other system calls. */}}
{{- define "tokensvc.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tokensvc.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Whole folders, since a file that is mounted by itself never changes. */}}
{{- define "tokensvc.mounts" -}}
- {name: config, mountPath: /etc/tokensvc, readOnly: true}
- {name: secrets, mountPath: /run/secrets/tokensvc, readOnly: true}
{{- range $folder, $secret := .Values.secrets.folders }}
- {name: {{ printf "secret-%s" $folder }}, mountPath: {{ printf "/run/secrets/%s" $folder }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes the chart's root, and the names of a ConfigMap and a Secret. */}}
{{- define "tokensvc.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
- name: secrets
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
{{- range $folder, $secret := .root.Values.secrets.folders }}
- name: {{ printf "secret-%s" $folder }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tokensvc.opsScheme" -}}
{{ if .Values.config.ops_tls }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{- define "tokensvc.migrates" -}}
{{ if and .Values.migration.enabled (hasPrefix "postgres" .Values.config.directory) }}yes{{ end }}
{{- end }}

{{/* Takes the chart's root and the name of the Secret to be made. */}}
{{- define "tokensvc.externalSecret" -}}
{{- with .root.Values.secrets.external }}
refreshInterval: {{ .refresh }}
secretStoreRef:
  kind: {{ .store.kind }}
  name: {{ .store.name }}
target:
  name: {{ $.secret }}
  creationPolicy: Owner
data:
  {{- range $file, $at := .files }}
  - secretKey: {{ $file | quote }}
    remoteRef:
      {{- toYaml $at | nindent 6 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Names, and the ports that may be reached, but nowhere where a cloud tells its machines' secrets. */}}
{{- define "tokensvc.egress" -}}
egress:
  - ports:
      - {port: 53, protocol: UDP}
      - {port: 53, protocol: TCP}
  - ports:
      {{- range .Values.networkPolicy.egressPorts }}
      - {port: {{ . }}}
      {{- end }}
    to:
      - ipBlock:
          cidr: 0.0.0.0/0
          except: [169.254.0.0/16]
      - ipBlock:
          cidr: ::/0
          except: ["fd00:ec2::254/128"]
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "tokensvc.checks" -}}
{{- $secrets := .Values.secrets }}
{{- if and $secrets.existing $secrets.external.enabled }}{{ fail "secrets.existing and secrets.external.enabled exclude one another" }}{{ end }}
{{- if not (or $secrets.existing $secrets.external.enabled) }}{{ fail "secrets.existing or secrets.external.enabled is required: the Telnyx API key is in a Secret" }}{{ end }}
{{- if and .Values.ingress.enabled .Values.route.enabled }}{{ fail "ingress.enabled and route.enabled exclude one another" }}{{ end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}{{ fail "autoscaling.minReplicas must be at most autoscaling.maxReplicas" }}{{ end }}
{{- if hasKey .Values.files "tokensvc.yaml" }}{{ fail "files must not hold tokensvc.yaml: that is config" }}{{ end }}
{{- if hasKey $secrets.folders "tokensvc" }}{{ fail "secrets.folders must not hold tokensvc: that is secrets.existing" }}{{ end }}
{{- end }}
