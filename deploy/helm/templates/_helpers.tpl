{{- define "guestfs.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "guestfs.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "guestfs.labels" -}}
{{ include "guestfs.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The headless service, whose names are those of the replicas. */}}
{{- define "guestfs.replicas" -}}
{{ include "guestfs.name" . }}-replicas
{{- end }}

{{/* The pods of the gateway are not those of the server, which its services select. */}}
{{- define "guestfs.gateway" -}}
{{ include "guestfs.name" . }}-gateway
{{- end }}

{{- define "guestfs.gatewaySelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "guestfs.gatewayLabels" -}}
{{ include "guestfs.gatewaySelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* A value of an environment variable. To Helm all numbers are floating-point: large ones would have an exponent. */}}
{{- define "guestfs.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "guestfs.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- define "guestfs.several" -}}
{{- if or (gt (int .Values.replicas) 1) (ne .Values.autoscaling.kind "none") }}true{{ end }}
{{- end }}

{{/* What cannot work is refused here. */}}
{{- define "guestfs.check" -}}
{{- $auth := .Values.auth }}
{{- if and (not $auth.tlsSecret) (not $auth.insecureListen) }}
{{- fail "set auth.tlsSecret, or auth.insecureListen if something else protects the connections" }}
{{- end }}
{{- if and $auth.tlsSecret $auth.insecureListen }}
{{- fail "auth.tlsSecret and auth.insecureListen exclude each other" }}
{{- end }}
{{- if and (include "guestfs.several" .) (not .Values.sessionKeySecret) }}
{{- fail "more than one replica needs sessionKeySecret" }}
{{- end }}
{{- if and (include "guestfs.several" .) $auth.tlsSecret (not .Values.peerIdentities) }}
{{- fail "more than one replica with TLS needs peerIdentities" }}
{{- end }}
{{- if and (include "guestfs.several" .) $auth.tlsSecret (not $auth.clientCertificates) }}
{{- fail "more than one replica with TLS needs auth.clientCertificates: replicas prove to each other who they are" }}
{{- end }}
{{- if and $auth.policySecret (not (or (and $auth.tlsSecret $auth.clientCertificates) $auth.jwt.keysSecret)) }}
{{- fail "auth.policySecret needs client certificates or auth.jwt: roles are for identities" }}
{{- end }}
{{- if and $auth.jwt.keysSecret (not (and $auth.jwt.issuer $auth.jwt.audience)) }}
{{- fail "auth.jwt needs issuer and audience" }}
{{- end }}
{{- if and (eq .Values.autoscaling.kind "keda") (not .Values.autoscaling.prometheusAddress) }}
{{- fail "autoscaling.kind keda needs autoscaling.prometheusAddress" }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled (not $policy.scrapers) (or .Values.metrics.serviceMonitor (ne .Values.autoscaling.kind "none")) }}
{{- fail "metrics.serviceMonitor and autoscaling need networkPolicy.scrapers: nobody may scrape metrics otherwise" }}
{{- end }}
{{- if and $auth.proxyIdentities (not (and $auth.tlsSecret $auth.clientCertificates)) }}
{{- fail "auth.proxyIdentities needs client certificates: by them, proxies prove who they are" }}
{{- end }}
{{- $gateway := .Values.gateway }}
{{- if $gateway.enabled }}
{{- if ne (empty $auth.tlsSecret) (empty $gateway.tlsSecret) }}
{{- fail "gateway.tlsSecret and auth.tlsSecret need each other: with auth.insecureListen, something else protects all connections" }}
{{- end }}
{{- if and $auth.tlsSecret $auth.clientCertificates (not $auth.proxyIdentities) }}
{{- fail "the gateway needs auth.proxyIdentities with the name in its certificate: the server takes it for the client otherwise" }}
{{- end }}
{{- if and $gateway.clientCertificates (not (and $auth.tlsSecret $auth.clientCertificates)) }}
{{- fail "gateway.clientCertificates needs auth.clientCertificates: the server believes only a proxy that it knows who its clients are" }}
{{- end }}
{{- if and (include "guestfs.several" .) (not .Values.forward) }}
{{- fail "the gateway in front of more than one replica needs forward" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The secrets that are mounted, by the names of their volumes. */}}
{{- define "guestfs.secrets" -}}
{{- $secrets := list }}
{{- with .Values.auth.tlsSecret }}{{ $secrets = append $secrets (dict "name" "tls" "secret" .) }}{{ end }}
{{- with .Values.auth.jwt.keysSecret }}{{ $secrets = append $secrets (dict "name" "jwt" "secret" .) }}{{ end }}
{{- with .Values.auth.policySecret }}{{ $secrets = append $secrets (dict "name" "policy" "secret" .) }}{{ end }}
{{- with .Values.sessionKeySecret }}{{ $secrets = append $secrets (dict "name" "session-key" "secret" .) }}{{ end }}
{{- toYaml $secrets }}
{{- end }}
